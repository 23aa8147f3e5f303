//! What users asked for, and whether all that was done to a machine follows from it.
//!
//! Both are lists in order of time. An action that touches a disk is explained by an intent before it, and what is on a
//! disk is taken away at most once for each intent that wants something else. Hosts are seen late and through crashes, so
//! several intents may be served at once: the earliest that explains an action is the one that it is taken to serve.

use jiff::Timestamp;
use metal3_ironic_sim::Operation;
use metal3_ironic_sim::actions::{Action, Deed, Log};

/// What a user asks for that may change what is on a disk, or what Ironic knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// A new host, with this image or none.
    Create(Option<String>),
    /// Another image, or none.
    Image(Option<String>),
    /// The host is to go.
    Delete,
    /// Ironic is to let go of the machine; what is on its disk stays.
    Detach,
}

/// Something asked for; `at` is before the request.
#[derive(Clone, Debug)]
pub(super) struct Intent {
    at: Timestamp,
    pub(super) wish: Wish,
}

impl Intent {
    pub(super) fn now(wish: Wish) -> Self {
        Self {
            at: Timestamp::now(),
            wish,
        }
    }
}

impl Wish {
    fn image(&self) -> Option<&str> {
        match self {
            Self::Create(image) | Self::Image(image) => image.as_deref(),
            Self::Delete | Self::Detach => None,
        }
    }

    /// Whether it takes an image from the disk.
    fn takes(&self, disk: &str) -> bool {
        match self {
            Self::Create(_) | Self::Delete => true,
            Self::Image(image) => image.as_deref() != Some(disk),
            Self::Detach => false,
        }
    }
}

/// The first thing that was done to a machine without an intent, and why it is none of those asked for.
pub(super) fn unexplained(intents: &[Intent], log: &Log) -> Option<String> {
    if log.dropped > 0 {
        return Some(format!(
            "{} actions are not in the log any more: take more hosts",
            log.dropped
        ));
    }
    let mut reading = Reading {
        intents,
        served: 0,
        released: 0,
        disk: None,
        due: true,
    };
    log.actions.iter().find_map(|action| {
        let why = reading.explain(action).err()?;
        Some(format!("{action:?}: {why}"))
    })
}

/// How far the log was explained.
struct Reading<'a> {
    intents: &'a [Intent],
    /// Which intent is served; those before it explain nothing any more.
    served: usize,
    /// Intents before it have had their node removed.
    released: usize,
    /// The image on the disk, unless an intent took it away.
    disk: Option<&'a str>,
    /// A node that is new, or was undeployed, is cleaned once before it is available.
    due: bool,
}

impl<'a> Reading<'a> {
    fn explain(&mut self, action: &'a Action) -> Result<(), &'static str> {
        let at = action.at;
        match action.deed {
            Deed::PowerOn | Deed::PowerOff | Deed::Reboot => {}
            Deed::BootRamdisk if action.operation == Some(Operation::Inspect) => {
                self.take_away(at)?;
                self.serve(at, |wish| matches!(wish, Wish::Create(_)))
                    .ok_or("no host is new")?;
            }
            Deed::BootRamdisk if action.operation == Some(Operation::Deploy) => {
                self.take_away(at)?;
                self.find(self.served, at, |wish| wish.image().is_some())
                    .ok_or("no image is wanted")?;
            }
            Deed::BootRamdisk | Deed::Step | Deed::Erase => {
                self.take_away(at)?;
                if !self.due {
                    return Err("it is clean already");
                }
                self.due = action.deed != Deed::Erase;
            }
            Deed::Deploy => {
                self.take_away(at)?;
                let image = action.detail.as_deref();
                self.serve(at, |wish| image.is_some() && wish.image() == image)
                    .ok_or("this image is not wanted")?;
                self.disk = image;
            }
            Deed::Undeploy => {
                if self.disk.is_some() {
                    self.take_away(at)?;
                } else {
                    // A deployment that failed is cleared away, too.
                    self.find(self.served, at, |wish| wish.image().is_some())
                        .ok_or("nothing was to be deployed")?;
                }
                self.due = true;
            }
            Deed::Delete => {
                let wish = |wish: &Wish| matches!(wish, Wish::Delete | Wish::Detach);
                self.released = self
                    .find(self.released, at, wish)
                    .ok_or("the host is neither deleted nor detached")?
                    + 1;
                self.due = true;
            }
        }
        Ok(())
    }

    /// What is on the disk goes, if there is something.
    fn take_away(&mut self, at: Timestamp) -> Result<(), &'static str> {
        if let Some(disk) = self.disk.take() {
            self.served = self
                .find(self.served + 1, at, |wish| wish.takes(disk))
                .ok_or("what is on the disk is to stay")?;
        }
        Ok(())
    }

    fn serve(&mut self, at: Timestamp, explains: impl Fn(&Wish) -> bool) -> Option<usize> {
        self.served = self.find(self.served, at, explains)?;
        Some(self.served)
    }

    /// The first intent from this one on that explains what was done then.
    fn find(&self, from: usize, at: Timestamp, explains: impl Fn(&Wish) -> bool) -> Option<usize> {
        let mut later = self.intents.iter().enumerate().skip(from);
        let found = later.find(|(_, intent)| intent.at <= at && explains(&intent.wish));
        found.map(|(number, _)| number)
    }
}

/// As the simulation tells of these deeds.
fn log(deeds: &[(Deed, Operation, &str)]) -> Log {
    let at = Timestamp::now();
    let actions = deeds
        .iter()
        .zip(0..)
        .map(|((deed, operation, detail), number)| Action {
            number,
            at,
            deed: *deed,
            operation: Some(*operation),
            detail: Some(*detail).filter(|detail| !detail.is_empty()).map(Into::into),
            node: None,
            asked: "a test".into(),
        });
    Log {
        actions: actions.collect(),
        ..Log::default()
    }
}

#[test]
fn what_nobody_asked_for_is_not_explained() {
    const CLEAN: [(Deed, Operation, &str); 2] = [
        (Deed::BootRamdisk, Operation::Clean, ""),
        (Deed::Erase, Operation::Clean, ""),
    ];
    const NEW: (Deed, Operation, &str) = (Deed::BootRamdisk, Operation::Inspect, "");
    const UNDEPLOY: (Deed, Operation, &str) = (Deed::Undeploy, Operation::Undeploy, "");
    const REMOVE: (Deed, Operation, &str) = (Deed::Delete, Operation::Power, "");
    let deploy = |image| (Deed::Deploy, Operation::Deploy, image);
    let image = |letter: &str| Wish::Image(Some(letter.to_owned()));
    let life = |rest: &[(Deed, Operation, &'static str)]| [&[NEW], &CLEAN[..], &[deploy("a")], rest].concat();
    let made = || Wish::Create(Some("a".to_owned()));
    for (wishes, deeds, missed) in [
        (vec![made()], life(&[]), None),
        (vec![made()], life(&[UNDEPLOY]), Some("is to stay")),
        (vec![made()], life(&[CLEAN[0]]), Some("is to stay")),
        (vec![made(), image("a")], life(&[CLEAN[1]]), Some("is to stay")),
        (vec![made(), Wish::Detach], life(&[REMOVE]), None),
        (vec![made()], life(&[REMOVE]), Some("neither")),
        (
            vec![made(), Wish::Detach],
            life(&[REMOVE, REMOVE]),
            Some("neither"),
        ),
        (
            vec![made(), Wish::Detach],
            life(&[REMOVE, UNDEPLOY]),
            Some("is to stay"),
        ),
        (
            vec![made(), Wish::Detach],
            life(&[REMOVE, deploy("a")]),
            Some("is to stay"),
        ),
        (
            vec![made(), image("b")],
            life(&[UNDEPLOY, CLEAN[0], CLEAN[1], deploy("b")]),
            None,
        ),
        (
            vec![made(), image("b")],
            life(&[UNDEPLOY, deploy("c")]),
            Some("not wanted"),
        ),
        (
            vec![made(), image("b")],
            life(&[UNDEPLOY, deploy("b"), UNDEPLOY]),
            Some("is to stay"),
        ),
        (
            vec![made(), Wish::Image(None)],
            life(&[UNDEPLOY, CLEAN[1], CLEAN[0]]),
            Some("clean already"),
        ),
        (
            vec![made(), Wish::Delete, Wish::Create(None)],
            life(&[REMOVE, NEW, CLEAN[1]]),
            None,
        ),
        (
            vec![made(), Wish::Delete, Wish::Create(None)],
            life(&[UNDEPLOY, NEW, CLEAN[1], UNDEPLOY]),
            Some("nothing was to be deployed"),
        ),
        (
            vec![made(), Wish::Image(None)],
            life(&[UNDEPLOY, NEW]),
            Some("no host is new"),
        ),
    ] {
        let intents: Vec<_> = wishes.into_iter().map(Intent::now).collect();
        let why = unexplained(&intents, &log(&deeds));
        match (missed, &why) {
            (None, None) => {}
            (Some(missed), Some(why)) if why.contains(missed) => {}
            _ => panic!("{intents:?}, {deeds:?}: {why:?}"),
        }
    }
}

#[test]
fn what_is_asked_for_afterwards_explains_nothing() {
    let deeds = [
        (Deed::Deploy, Operation::Deploy, "a"),
        (Deed::Undeploy, Operation::Undeploy, ""),
    ];
    let made = Intent::now(Wish::Create(Some("a".to_owned())));
    let log = log(&deeds);
    let late = Intent {
        at: log.actions[1].at + jiff::SignedDuration::from_nanos(1),
        wish: Wish::Delete,
    };
    let why = unexplained(&[made.clone(), late], &log);
    assert!(
        why.as_ref().is_some_and(|why| why.contains("is to stay")),
        "{why:?}"
    );
    let timely = Intent {
        at: log.actions[1].at,
        wish: Wish::Delete,
    };
    assert_eq!(unexplained(&[made, timely], &log), None);
}
