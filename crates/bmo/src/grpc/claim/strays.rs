//! Second hosts that claims left behind, see the module above.
//!
//! Only what nobody can miss is freed: a host of a Metal3Machine, which never has two, on which nothing was ever asked to run,
//! while the same machine uses another. Both are looked at anew, the one in use first; the write compares and swaps, so that
//! whoever is still at work on the second host wins or loses as a whole.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use metal3_provisioner::HostKey;
use metal3_rpc::v1::{Consumer, Host};
use tokio::time::Instant;
use tonic::Status;

use super::super::intent::{self, Seen, title};
use super::super::pool::Holding;
use super::allocator::{Allocator, owns};
use super::settle::{Kept, kept};
use super::{Records, key};

/// Since when second hosts are known.
#[derive(Default)]
pub(super) struct Strays(Mutex<HashMap<(HostKey, String), Instant>>);

impl Strays {
    /// Those that are known for so long; what is no stray any more is forgotten.
    fn due(&self, strays: Vec<Stray>, now: Instant, after: Duration) -> Vec<Stray> {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::take(&mut *since);
        let mut due = Vec::new();
        for stray in strays {
            let name = stray.name();
            let first = before.get(&name).copied().unwrap_or(now);
            since.insert(name, first);
            if now.saturating_duration_since(first) >= after {
                due.push(stray);
            }
        }
        due
    }
}

/// A second host.
#[derive(Debug, PartialEq)]
struct Stray {
    consumer: Consumer,
    /// The one that the consumer uses.
    used: Host,
    second: Host,
}

impl Stray {
    /// Another object of the same name is another stray, and so is one that came to another consumer.
    fn name(&self) -> (HostKey, String) {
        let uid = |host: &Host| {
            host.r#ref
                .as_ref()
                .map(|host| host.uid.clone())
                .unwrap_or_default()
        };
        (
            key(&self.second),
            format!("{} {}", uid(&self.second), self.consumer.name),
        )
    }
}

/// The second hosts among those of one consumer.
fn strays(holdings: &[Holding]) -> Vec<Stray> {
    let Some(Kept::One(one, rest)) = kept(holdings) else {
        return Vec::new();
    };
    let machine = one.host.consumer.as_ref().filter(|consumer| is_machine(consumer));
    let Some(consumer) = machine.filter(|_| intent::is_used(&one.host)) else {
        return Vec::new();
    };
    let second = rest.into_iter().filter(|other| owns(consumer, &other.host));
    second
        .map(|other| Stray {
            consumer: consumer.clone(),
            used: Host::clone(&one.host),
            second: Host::clone(&other.host),
        })
        .collect()
}

/// Others may give one consumer many hosts on purpose, by hand.
fn is_machine(consumer: &Consumer) -> bool {
    consumer.kind == "Metal3Machine" && consumer.group() == "infrastructure.cluster.x-k8s.io"
}

/// Whether the second host is still one, as both are now.
fn is_stray(consumer: &Consumer, used: &Seen, second: &Seen) -> bool {
    owns(consumer, &used.host)
        && intent::is_used(&used.host)
        && owns(consumer, &second.host)
        && !intent::is_used(&second.host)
        && !second.arriving()
        && second.host.paused_by.is_none()
}

impl<R: Records> Allocator<R> {
    /// Frees second hosts that are known for so long.
    pub(super) async fn tidy(&self, after: Duration) {
        let doubles = self.index.doubles();
        let strays = doubles.iter().flat_map(|holdings| strays(holdings)).collect();
        for stray in self.strays.due(strays, Instant::now(), after) {
            let (host, machine) = (title(&stray.second), &stray.consumer.name);
            match self.free_stray(&stray).await {
                Ok(true) => {
                    tracing::warn!(%host, used = %title(&stray.used), consumer = %machine, "a second host is freed");
                }
                Ok(false) => {}
                Err(status) => {
                    let error = status.message();
                    tracing::warn!(%host, consumer = %machine, error, "a second host could not be freed");
                }
            }
        }
    }

    /// Whether it was freed.
    async fn free_stray(&self, stray: &Stray) -> Result<bool, Status> {
        let lock = self.locks.consumer(&stray.consumer);
        let _no_claim = lock.lock().await;
        let used = self.records.read(&stray.used).await?;
        let second = self.records.read(&stray.second).await?;
        match used.zip(second) {
            Some((used, second)) if is_stray(&stray.consumer, &used, &second) => {
                let patch = intent::retract(&second.host, None, &used.host.cluster_name);
                Ok(self.records.write(&second.host, patch).await?.is_some())
            }
            _ => Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::super::super::intent::tests::{after, consumer, seen};
    use super::super::super::pool::Since;
    use super::*;

    /// A host of that name of the consumer, with what is given.
    fn host(name: &str, consumer: &Consumer, given: &Value) -> Seen {
        let of = json!({
            "metadata": {"name": name, "uid": name},
            "spec": {"consumerRef": {
                "apiVersion": consumer.api_version, "kind": consumer.kind,
                "namespace": consumer.namespace, "name": consumer.name,
            }},
        });
        after(&seen(&of), given)
    }

    fn found(hosts: &[&Seen]) -> Vec<String> {
        let since = Since { after: 0, by: 0 };
        let holdings: Vec<_> = hosts
            .iter()
            .map(|seen| Holding {
                host: Arc::new(seen.host.clone()),
                since,
            })
            .collect();
        strays(&holdings)
            .iter()
            .map(|stray| stray.name().0.name)
            .collect()
    }

    #[test]
    fn a_second_host_is_a_stray_only_while_its_machine_uses_another() {
        let image = json!({"spec": {"image": {"url": "http://i"}}});
        let machine = consumer();
        let (used, idle) = (host("a", &machine, &image), host("b", &machine, &json!({})));
        assert_eq!(found(&[&used, &idle]), ["b"]);
        assert!(found(&[&idle]).is_empty() && found(&[&used]).is_empty());
        let also_idle = host("c", &machine, &json!({}));
        assert!(
            found(&[&idle, &also_idle]).is_empty(),
            "the next claim knows which one is kept"
        );
        let also_used = host("c", &machine, &image);
        assert!(found(&[&used, &also_used]).is_empty(), "only a user knows");
        // A project that somebody gave two hosts by hand.
        let project = Consumer {
            api_version: "v1".into(),
            kind: "ConfigMap".into(),
            ..consumer()
        };
        let both = [host("a", &project, &image), host("b", &project, &json!({}))];
        assert!(found(&[&both[0], &both[1]]).is_empty());
    }

    #[test]
    fn what_changed_meanwhile_is_no_stray_any_more() {
        let image = json!({"spec": {"image": {"url": "http://i"}}});
        let (machine, other) = (
            consumer(),
            Consumer {
                name: "other".into(),
                ..consumer()
            },
        );
        let (used, idle) = (host("a", &machine, &image), host("b", &machine, &json!({})));
        assert!(is_stray(&machine, &used, &idle));
        for (used, second, what) in [
            (host("a", &machine, &json!({})), idle.clone(), "the other is free"),
            (host("a", &other, &image), idle, "the other is somebody else's"),
            (
                used.clone(),
                host("b", &other, &json!({})),
                "it is somebody else's",
            ),
            (used.clone(), host("b", &machine, &image), "it is used"),
        ] {
            assert!(!is_stray(&machine, &used, &second), "{what}");
        }
        for (annotation, value) in [
            ("baremetalhost.metal3.io/paused", "me"),
            ("baremetalhost.metal3.io/status", "{}"),
        ] {
            let given = json!({
                "metadata": {"annotations": {annotation: value}}, "status": {"lastUpdated": null},
            });
            assert!(
                !is_stray(&machine, &used, &host("b", &machine, &given)),
                "{annotation}"
            );
        }
    }

    #[test]
    fn a_stray_is_due_after_a_time_in_which_it_was_one_all_along() {
        let (strays, begin) = (Strays::default(), Instant::now());
        let stray = || {
            let image = json!({"spec": {"image": {"url": "http://i"}}});
            Stray {
                consumer: consumer(),
                used: host("a", &consumer(), &image).host,
                second: host("b", &consumer(), &json!({})).host,
            }
        };
        let after = Duration::from_secs(60);
        let due = |strays: &Strays, found, seconds| {
            strays
                .due(found, begin + Duration::from_secs(seconds), after)
                .len()
        };
        assert_eq!(due(&strays, vec![stray()], 0), 0);
        assert_eq!(due(&strays, vec![stray()], 59), 0);
        assert_eq!(due(&strays, vec![stray()], 60), 1);
        assert_eq!(due(&strays, vec![], 61), 0);
        assert_eq!(due(&strays, vec![stray()], 62), 0, "it begins anew");
    }
}
