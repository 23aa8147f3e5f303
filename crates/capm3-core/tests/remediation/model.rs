//! A remediation in a world that changes, fails and kills the process between any two asks and any two writes.
//!
//! Whatever happens: the host is never rebooted more often than once more than there are retries, no hold and no taint is
//! left when the object is gone, the Machine is given up at most when all attempts are over, and once the world answers the
//! remediation ends within the time of its attempts. A host whose Machine was given up is marked in the end.

use metal3_capm3_core::machine::{Requeue, Trouble};
use metal3_capm3_core::remediation::{
    Answer, Ask, Backup, HostFacts, NodeAnswer, NodeChange, NodeSeen, Seen, Step,
};
use proptest::prelude::*;

use crate::common::{Fixture, KEY, TIMEOUT, host};

const RETRIES: i32 = 2;
/// Passes and asks that a well world needs at most for one step of time.
const ENOUGH: usize = 20;
/// Seconds between looks.
const STEP: i64 = 7;

/// One thing that happens.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// A pass that dies after this many asks and writes; one of the asks fails.
    Pass {
        asks: u8,
        fault: u8,
        writes: u8,
    },
    Time(u16),
    /// The host service answers, or not.
    Service(bool),
    /// The workload cluster answers, or not.
    Workload(bool),
    /// The host goes on and off as it is asked to, or not.
    Obeys(bool),
    /// The Node comes back, or goes.
    Node(bool),
    /// What runs on a Node that is out of service is gone, or not.
    Drained(bool),
    Pause(bool),
    /// The user wants the host off, or on.
    Online(bool),
    Delete,
}

fn pass() -> impl Strategy<Value = Event> {
    (0..8_u8, 0..8_u8, 0..4_u8).prop_map(|(asks, fault, writes)| Event::Pass { asks, fault, writes })
}

fn event() -> impl Strategy<Value = Event> {
    let pass =
        (0..8_u8, 0..8_u8, 0..4_u8).prop_map(|(asks, fault, writes)| Event::Pass { asks, fault, writes });
    prop_oneof![
        14 => pass,
        5 => (1..400_u16).prop_map(Event::Time),
        1 => any::<bool>().prop_map(Event::Service),
        1 => any::<bool>().prop_map(Event::Workload),
        1 => any::<bool>().prop_map(Event::Obeys),
        1 => any::<bool>().prop_map(Event::Node),
        1 => any::<bool>().prop_map(Event::Drained),
        1 => any::<bool>().prop_map(Event::Pause),
    ]
}

struct World {
    fixture: Fixture,
    now: i64,
    host: HostFacts,
    node: Option<NodeSeen>,
    /// Its cluster knows the taint.
    modern: bool,
    service: bool,
    workload: bool,
    obeys: bool,
    drained: bool,
    marked: bool,
    reboots: i32,
    handed_over: Option<i64>,
    /// When the first attempt began.
    begun: Option<i64>,
    gone: bool,
}

impl World {
    fn new(modern: bool) -> Self {
        let fixture = Fixture::new().with(|f| {
            f.remediation.spec.strategy.as_mut().unwrap().retry_limit = Some(RETRIES);
        });
        let mut world = Self {
            fixture,
            now: 1000,
            host: host(),
            node: None,
            modern,
            service: true,
            workload: true,
            obeys: true,
            drained: true,
            marked: false,
            reboots: 0,
            handed_over: None,
            begun: None,
            gone: false,
        };
        world.happen(Event::Node(true));
        world
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Pass { asks, fault, writes } => drop(self.pass(asks.into(), fault, writes)),
            Event::Time(seconds) => self.now += i64::from(seconds),
            Event::Service(answers) => self.service = answers,
            Event::Workload(answers) => self.workload = answers,
            Event::Obeys(obeys) => self.obeys = obeys,
            Event::Node(true) if self.node.is_none() => {
                self.node = Some(NodeSeen {
                    can_be_tainted: self.modern,
                    marks: Backup::default(),
                    ..NodeSeen::default()
                });
            }
            Event::Node(true) => {}
            Event::Node(false) => self.node = None,
            Event::Drained(drained) => self.drained = drained,
            Event::Pause(paused) => {
                self.fixture.cluster.as_mut().unwrap().spec.paused = Some(paused);
            }
            Event::Online(online) => self.host.online = online,
            Event::Delete => self.fixture = self.fixture.clone().deleted(self.now),
        }
        self.operator();
    }

    /// The bare-metal operator does what the holds say.
    fn operator(&mut self) {
        let on = self.host.online && self.host.holds.is_empty();
        if self.obeys && on != self.host.powered_on {
            self.host.powered_on = on;
            self.reboots += i32::from(on);
        }
    }

    /// One pass; when to look again, if it came to its end.
    fn pass(&mut self, asks: usize, fault: u8, writes: u8) -> Option<Requeue> {
        if self.gone {
            return None;
        }
        let mut seen = Seen::default();
        for number in 0..=asks {
            match self.fixture.plan(&seen, self.now) {
                Step::Finish(verdict) => {
                    self.gone = self.fixture.commit(&verdict, writes);
                    let status = self.fixture.remediation.status.as_ref();
                    let begun = status.and_then(|status| status.last_remediated.as_ref());
                    self.begun = self.begun.or_else(|| begun.map(|begun| begun.0.as_second()));
                    return Some(verdict.requeue);
                }
                Step::Ask(ask) => {
                    let lost = number == usize::from(fault);
                    // The service did it and the answer was lost, or it did nothing; the core is told the same.
                    let done = (!lost || asks.is_multiple_of(2)).then(|| self.answer(&ask));
                    self.operator();
                    seen.record(done.filter(|_| !lost).unwrap_or_else(|| failure(&ask)));
                }
            }
        }
        None
    }

    fn answer(&mut self, ask: &Ask) -> Answer {
        let of_service = matches!(
            ask,
            Ask::Host(_) | Ask::Hold(_) | Ask::Release(_) | Ask::Mark { .. }
        );
        let of_workload = matches!(ask, Ask::Node { .. } | Ask::ChangeNode(..));
        if (of_service && !self.service) || (of_workload && !self.workload) {
            return failure(ask);
        }
        match ask {
            Ask::Host(_) => Answer::Host(Some(self.host.clone())),
            Ask::Hold(_) if !self.host.online => Answer::PoweredOffByUser,
            Ask::Hold(hold) => {
                if !self.host.holds.contains(&hold.key) {
                    self.host.holds.push(hold.key.clone());
                }
                self.operator();
                Answer::Held(Some(self.host.clone()))
            }
            Ask::Release(hold) => {
                self.host.holds.retain(|key| *key != hold.key);
                self.operator();
                Answer::Released(Some(self.host.clone()))
            }
            Ask::Mark { .. } => {
                self.marked = true;
                Answer::Marked
            }
            Ask::Node { workloads, .. } => Answer::Node(match self.node.clone() {
                None => NodeAnswer::Missing,
                Some(mut node) => {
                    node.attached = usize::from(*workloads && !self.drained);
                    NodeAnswer::Present(Box::new(node))
                }
            }),
            Ask::ChangeNode(_, change) => {
                assert!(
                    !matches!(change, NodeChange::Taint | NodeChange::Delete) || !self.host.powered_on,
                    "the host is on, and so is what runs on it: {change:?}"
                );
                match (change, &mut self.node) {
                    (NodeChange::Taint, Some(node)) => node.tainted = true,
                    (NodeChange::Untaint, Some(node)) => node.tainted = false,
                    (NodeChange::Restore(lacking), Some(node)) => {
                        node.marks = node.marks.clone().under(lacking);
                    }
                    (NodeChange::Delete, _) => self.node = None,
                    (_, None) => {}
                }
                Answer::NodeChanged(None)
            }
            Ask::Tell(_) => Answer::Told,
            Ask::HandOver(_) => {
                self.handed_over.get_or_insert(self.now);
                Answer::HandedOver
            }
        }
    }

    fn check(&self) {
        assert!(self.reboots <= RETRIES + 1, "{} reboots", self.reboots);
        let earliest = self.begun.map(|begun| begun + TIMEOUT * i64::from(RETRIES + 1));
        if let (Some(given_up), Some(earliest)) = (self.handed_over, earliest) {
            assert!(
                given_up >= earliest,
                "given up at {given_up}, which is before {earliest}"
            );
        }
        if self.gone {
            assert!(self.host.holds.is_empty(), "held by nobody");
        }
    }

    /// Everything answers from now on. Passes until nothing is to be done before the next moment.
    fn settle(&mut self) {
        for _ in 0..ENOUGH {
            match self.pass(usize::from(u8::MAX), u8::MAX, u8::MAX) {
                Some(Requeue::Now | Requeue::Backoff) => {}
                Some(Requeue::After(_) | Requeue::OnChange) => return,
                None => {
                    assert!(self.gone, "it asks without an end");
                    return;
                }
            }
            self.check();
        }
        panic!("it does not come to rest: {:#?}", self.fixture.remediation);
    }
}

/// What the core is told of a call that failed.
fn failure(ask: &Ask) -> Answer {
    match ask {
        Ask::Node { .. } => Answer::Node(NodeAnswer::Unreachable("refused".into())),
        Ask::ChangeNode(..) => Answer::NodeChanged(Some("refused".into())),
        Ask::Tell(_) => Answer::Told,
        // The shell ends the pass; here the next one is as good.
        Ask::HandOver(_) | Ask::Host(_) | Ask::Hold(_) | Ask::Release(_) | Ask::Mark { .. } => {
            Answer::Trouble(Trouble::Unavailable("refused".into()))
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_remediation_keeps_its_promises_whatever_happens(
        events in prop::collection::vec(event(), 1..80),
        last in prop::collection::vec(pass(), 0..8),
        modern in any::<bool>(),
        deleted in any::<bool>(),
        obeys in any::<bool>(),
        workload in any::<bool>(),
        online in any::<bool>(),
    ) {
        let mut world = World::new(modern);
        for event in events {
            world.happen(event);
            world.check();
        }
        world.happen(Event::Pause(false));
        world.happen(Event::Service(true));
        world.happen(Event::Workload(workload || deleted));
        world.happen(Event::Obeys(obeys));
        world.happen(Event::Online(online));
        if deleted {
            world.happen(Event::Delete);
            world.happen(Event::Node(true));
        }
        for event in last {
            world.happen(event);
            world.check();
        }
        // All attempts may be still to come, and each is seen to be over a step late.
        let end = world.now + (TIMEOUT + STEP) * i64::from(RETRIES + 1);
        while world.now <= end {
            world.settle();
            world.now += STEP;
        }
        prop_assert!(!world.host.holds.contains(&KEY.to_owned()), "held: {:#?}", world.fixture.remediation);
        if deleted {
            prop_assert!(world.gone, "still there: {:#?}", world.fixture.remediation);
            prop_assert!(!world.node.is_some_and(|node| node.tainted), "out of service");
        } else {
            let status = world.fixture.remediation.status.clone().unwrap_or_default();
            let phase = status.phase.unwrap_or_default();
            let given_up = phase == "Deleting machine";
            prop_assert!(given_up || phase == "Failed", "{phase}");
            prop_assert!(!given_up || world.handed_over.is_some());
            prop_assert!(!given_up || world.marked, "anybody may claim the host");
        }
    }
}
