//! Machines that wait for a host, in one line for each wish, and the hosts that might be claimed.
//!
//! Whether there is a host depends on the wish and on the hosts, not on who asks. So one machine asks for all that wish the same:
//! a host that is offered calls the machine that waits longest. When that gets it, it is offered to nobody else; when that is told
//! that there is none, the host is offered to the next line.
//!
//! A line rests only when an answer "there is none" was given to one of its machines that asked after the last news of each
//! host that is on offer. Whoever is called and never asks, because it is paused, goes or fails, passes the call on: see
//! [`Lines::leaves`] and [`Lines::unanswered`].

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::Arc;

use crate::machine::Wish;

/// Machines that are called and have no answer yet. More would only queue for those who look at them.
pub const AT_ONCE: usize = 32;

/// The lines of a namespace. `K` names a machine.
///
/// What is answered are the machines that are to look for a host now.
#[derive(Debug)]
pub struct Lines<K> {
    /// Grows with everything that is told and asked.
    clock: u64,
    /// By the time of the last news of each.
    offers: BTreeMap<u64, Offer<K>>,
    /// When there was news of each host, by name.
    told: HashMap<String, u64>,
    lines: HashMap<Arc<Wish>, Line<K>>,
    waiters: HashMap<K, Waiter>,
    /// How many are called.
    called: usize,
}

/// A host that might be claimed.
#[derive(Debug)]
struct Offer<K> {
    /// Kept for machines with this key; empty: for any.
    reuse_key: String,
    /// Who is called because of it.
    caller: Option<K>,
}

#[derive(Debug)]
struct Line<K> {
    /// Who may be called, by the time since when they wait.
    resting: BTreeMap<u64, K>,
    /// All of them.
    members: usize,
    /// A machine that asked at this time was told that there is no host.
    answered: u64,
    /// Somebody has to ask, whatever is on offer.
    anew: bool,
}

#[derive(Debug)]
struct Waiter {
    wish: Arc<Wish>,
    since: u64,
    call: Option<Call>,
    /// When the question was asked that has no answer yet.
    asked: Option<u64>,
    /// It was called, and could not ask.
    failed: bool,
}

/// Why a machine is to ask.
#[derive(Clone, Copy, Debug)]
enum Call {
    /// There was news of a host at this time.
    Offer(u64),
    /// See [`Line::anew`].
    Anew,
}

impl<K> Default for Lines<K> {
    fn default() -> Self {
        Self {
            clock: 0,
            offers: BTreeMap::new(),
            told: HashMap::new(),
            lines: HashMap::new(),
            waiters: HashMap::new(),
            called: 0,
        }
    }
}

impl<K> Default for Line<K> {
    fn default() -> Self {
        Self {
            resting: BTreeMap::new(),
            members: 0,
            answered: 0,
            anew: false,
        }
    }
}

impl<K: Clone + Eq + Hash> Lines<K> {
    /// There is news of a host that might be claimed: by any machine, or by those with this key.
    pub fn offered(&mut self, host: &str, reuse_key: &str) -> Vec<K> {
        self.clock += 1;
        // Who is called because of it asks after this, or else is called again.
        let caller = self.withdraw(host).and_then(|offer| offer.caller);
        if let Some(waiter) = caller.as_ref().and_then(|caller| self.waiters.get_mut(caller)) {
            waiter.call = Some(Call::Offer(self.clock));
        }
        let offer = Offer {
            reuse_key: reuse_key.to_owned(),
            caller,
        };
        self.offers.insert(self.clock, offer);
        self.told.insert(host.to_owned(), self.clock);
        self.call()
    }

    /// A host cannot be claimed, or not any more.
    pub fn withdrawn(&mut self, host: &str) {
        self.withdraw(host);
    }

    /// The lines with this key waited for a host that is kept for them, and may have any other now.
    pub fn not_awaited(&mut self, reuse_key: &str) -> Vec<K> {
        for (wish, line) in &mut self.lines {
            line.anew |= wish.reuse_key == reuse_key;
        }
        self.call()
    }

    /// Nobody knows what is on offer: somebody of each line has to ask.
    pub fn anew(&mut self) -> Vec<K> {
        for line in self.lines.values_mut() {
            line.anew = true;
        }
        self.call()
    }

    /// A machine is about to ask. Told before it does, so that what is told of hosts meanwhile is news.
    pub fn asks(&mut self, machine: &K, wish: &Wish) -> Vec<K> {
        let other = self
            .waiters
            .get(machine)
            .is_some_and(|waiter| *waiter.wish != *wish);
        let woken = if other { self.leaves(machine) } else { Vec::new() };
        self.clock += 1;
        let now = self.clock;
        let waiter = self.waiters.entry(machine.clone()).or_insert_with(|| {
            let wish = match self.lines.get_key_value(wish) {
                Some((wish, _)) => Arc::clone(wish),
                None => Arc::new(wish.clone()),
            };
            self.lines.entry(Arc::clone(&wish)).or_default().members += 1;
            Waiter {
                wish,
                since: now,
                call: None,
                asked: None,
                failed: false,
            }
        });
        waiter.asked = Some(now);
        if let Some(line) = self.lines.get_mut(&waiter.wish) {
            line.resting.remove(&waiter.since);
        }
        woken
    }

    /// A machine was told that there is no host, which is true of its whole line.
    pub fn found_none(&mut self, machine: &K) -> Vec<K> {
        let Some(waiter) = self.waiters.get_mut(machine) else {
            return Vec::new();
        };
        let Some(asked) = waiter.asked.take() else {
            return Vec::new();
        };
        waiter.failed = false;
        let call = waiter.call.take();
        if let Some(line) = self.lines.get_mut(&waiter.wish) {
            line.answered = line.answered.max(asked);
            line.resting.insert(waiter.since, machine.clone());
        }
        self.hang_up(call);
        self.call()
    }

    /// A machine could not ask, and tries again by itself. When that fails as well, somebody else is called: it may be the
    /// machine alone that has no answer.
    pub fn unanswered(&mut self, machine: &K) -> Vec<K> {
        let Some(waiter) = self.waiters.get_mut(machine) else {
            return Vec::new();
        };
        if !std::mem::replace(&mut waiter.failed, true) {
            return Vec::new();
        }
        let (wish, call) = (Arc::clone(&waiter.wish), waiter.call.take());
        self.owe(&wish, call);
        self.call()
    }

    /// A machine has a host, or wants none any more.
    pub fn leaves(&mut self, machine: &K) -> Vec<K> {
        let Some(waiter) = self.waiters.remove(machine) else {
            return Vec::new();
        };
        self.owe(&waiter.wish, waiter.call);
        if let Some(line) = self.lines.get_mut(&waiter.wish) {
            line.resting.remove(&waiter.since);
            line.members -= 1;
            if line.members == 0 {
                self.lines.remove(&waiter.wish);
            }
        }
        self.call()
    }

    /// Who is called has no answer: somebody else has to ask.
    fn owe(&mut self, wish: &Wish, call: Option<Call>) {
        if let Some(Call::Anew) = call
            && let Some(line) = self.lines.get_mut(wish)
        {
            line.anew = true;
        }
        self.hang_up(call);
    }

    fn hang_up(&mut self, call: Option<Call>) {
        let Some(call) = call else { return };
        self.called -= 1;
        if let Call::Offer(told) = call
            && let Some(offer) = self.offers.get_mut(&told)
        {
            offer.caller = None;
        }
    }

    fn withdraw(&mut self, host: &str) -> Option<Offer<K>> {
        self.offers.remove(&self.told.remove(host)?)
    }

    /// Calls whoever is to ask.
    fn call(&mut self) -> Vec<K> {
        let mut woken = Vec::new();
        while self.called < AT_ONCE
            && let Some((wish, call)) = self.next()
            && let Some(line) = self.lines.get_mut(&wish)
            && let Some((_, machine)) = line.resting.pop_first()
        {
            match call {
                Call::Anew => line.anew = false,
                Call::Offer(told) => {
                    if let Some(offer) = self.offers.get_mut(&told) {
                        offer.caller = Some(machine.clone());
                    }
                }
            }
            if let Some(waiter) = self.waiters.get_mut(&machine) {
                waiter.call = Some(call);
                waiter.failed = false;
            }
            self.called += 1;
            woken.push(machine);
        }
        woken
    }

    /// The line to call next, by the machine that waits longest in it, and why.
    fn next(&self) -> Option<(Arc<Wish>, Call)> {
        let due = self.lines.iter().filter_map(|(wish, line)| {
            let (since, _) = line.resting.first_key_value()?;
            Some((since, wish, self.due(wish, line)?))
        });
        let (_, wish, call) = due.min_by_key(|(since, ..)| **since)?;
        Some((Arc::clone(wish), call))
    }

    /// Why somebody of a line has to ask, if so.
    fn due(&self, wish: &Wish, line: &Line<K>) -> Option<Call> {
        if line.anew {
            return Some(Call::Anew);
        }
        let mut news = self.offers.range(line.answered + 1..);
        let (told, _) = news.find(|(_, offer)| {
            let fits = offer.reuse_key.is_empty() || offer.reuse_key == wish.reuse_key;
            fits && offer.caller.is_none()
        })?;
        Some(Call::Offer(*told))
    }
}
