//! The choice of a host for a consumer: pure, deterministic, and able to say why nothing fits.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use metal3_rpc::v1::claim_host_response::Reason;
use metal3_rpc::v1::{Consumer, Host, Rejections, rejections};

use super::selector::Matcher;

/// What a consumer asks for.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) consumer: Consumer,
    pub(super) selector: Matcher,
    /// Empty: no preference.
    pub(super) failure_domain: String,
    pub(super) failure_domain_required: bool,
    /// Empty: no reuse.
    pub(super) reuse_key: String,
}

/// The result of a choice.
#[derive(Debug, PartialEq)]
pub(super) enum Choice {
    /// The consumer has this host already.
    Existing(Arc<Host>),
    /// Candidates, best first.
    Candidates(Vec<Arc<Host>>, Reason),
    /// Nothing fits.
    None(Rejections),
}

/// Chooses among all hosts of the namespace.
///
/// The order of candidates is a hash of consumer and host: the same consumer always tries the same hosts in the same
/// order, and different consumers start at different hosts, so that many claims at once rarely collide.
pub(super) fn choose<'a>(wish: &Wish, hosts: impl Iterator<Item = &'a Arc<Host>>) -> Choice {
    let mut table = Table::default();
    let mut free = Vec::new();
    let mut reserved = Vec::new();
    for host in hosts {
        if host
            .consumer
            .as_ref()
            .is_some_and(|consumer| consumer.same_object(&wish.consumer))
        {
            return Choice::Existing(Arc::clone(host));
        }
        table.candidates += 1;
        match reject(wish, host) {
            Some(rule) => table.add(rule, host),
            None if host.reuse_key.is_empty() => free.push(Arc::clone(host)),
            None => reserved.push(Arc::clone(host)),
        }
    }
    if !reserved.is_empty() {
        return Choice::Candidates(ordered(wish, reserved), Reason::Reused);
    }
    if !wish.failure_domain.is_empty() {
        let (inside, outside): (Vec<_>, Vec<_>) = free
            .into_iter()
            .partition(|host| host.failure_domain == wish.failure_domain);
        if !inside.is_empty() {
            return Choice::Candidates(ordered(wish, inside), Reason::Selected);
        }
        free = outside;
        if wish.failure_domain_required {
            free.drain(..).for_each(|host| table.add("failure-domain", &host));
        }
    }
    if free.is_empty() {
        return Choice::None(table.finish());
    }
    Choice::Candidates(ordered(wish, free), Reason::Selected)
}

/// The first rule that speaks against the host.
fn reject(wish: &Wish, host: &Host) -> Option<&'static str> {
    let reused = !host.reuse_key.is_empty() && host.reuse_key == wish.reuse_key;
    if !wish.selector.matches(host) {
        Some("label-mismatch")
    } else if host.deleting {
        Some("deleting")
    } else if !host.reuse_key.is_empty() && !reused {
        Some("reserved")
    } else if host.consumer.is_some() && !reused {
        Some("claimed")
    } else if host.paused_by.is_some() {
        Some("paused")
    } else if host.unhealthy {
        Some("unhealthy")
    } else if !host.error_message.is_empty() {
        Some("error")
    } else if !matches!(host.provisioning_state.as_str(), "available" | "ready") {
        Some("not-available")
    } else {
        None
    }
}

fn ordered(wish: &Wish, mut hosts: Vec<Arc<Host>>) -> Vec<Arc<Host>> {
    let rank = |host: &Arc<Host>| {
        let name = host.r#ref.as_ref().map_or("", |host| host.name.as_str());
        // DefaultHasher::new is unkeyed, hence the same in every replica of one release.
        let mut hasher = DefaultHasher::new();
        (
            &wish.consumer.namespace,
            &wish.consumer.kind,
            &wish.consumer.name,
            name,
        )
            .hash(&mut hasher);
        (hasher.finish(), name.to_owned())
    };
    hosts.sort_by_cached_key(rank);
    hosts
}

#[derive(Default)]
struct Table {
    candidates: u32,
    rules: BTreeMap<&'static str, (u32, Vec<String>)>,
}

impl Table {
    fn add(&mut self, rule: &'static str, host: &Host) {
        let (count, examples) = self.rules.entry(rule).or_default();
        *count += 1;
        if examples.len() < 3 {
            examples.push(
                host.r#ref
                    .as_ref()
                    .map(|host| host.name.clone())
                    .unwrap_or_default(),
            );
        }
    }

    fn finish(self) -> Rejections {
        let rules = self
            .rules
            .into_iter()
            .map(|(rule, (hosts, examples))| rejections::Rule {
                rule: rule.into(),
                hosts,
                examples,
            })
            .collect();
        Rejections {
            rules,
            candidates: self.candidates,
        }
    }
}

/// One sentence for people: how many hosts each rule turned away.
pub(super) fn explain(namespace: &str, rejections: &Rejections) -> String {
    if rejections.candidates == 0 {
        return format!("no BareMetalHost exists in namespace {namespace}");
    }
    let parts: Vec<String> = rejections
        .rules
        .iter()
        .map(|rule| {
            format!(
                "{} {} (for example {})",
                rule.hosts,
                rule.rule,
                rule.examples.join(", ")
            )
        })
        .collect();
    format!(
        "none of {} hosts in namespace {namespace} can be claimed: {}",
        rejections.candidates,
        parts.join("; ")
    )
}

#[cfg(test)]
mod tests {
    use metal3_rpc::v1::HostRef;

    use super::*;

    fn consumer(name: &str) -> Consumer {
        Consumer {
            api_version: "infrastructure.cluster.x-k8s.io/v1beta2".into(),
            kind: "Metal3Machine".into(),
            namespace: "ns".into(),
            name: name.into(),
            uid: String::new(),
        }
    }

    fn wish() -> Wish {
        Wish {
            consumer: consumer("m"),
            selector: Matcher::default(),
            failure_domain: String::new(),
            failure_domain_required: false,
            reuse_key: String::new(),
        }
    }

    fn host(name: &str, edit: impl FnOnce(&mut Host)) -> Arc<Host> {
        let mut host = Host {
            r#ref: Some(HostRef::named("ns", name)),
            provisioning_state: "available".into(),
            ..Default::default()
        };
        edit(&mut host);
        Arc::new(host)
    }

    fn names(choice: &Choice) -> Vec<String> {
        match choice {
            Choice::Candidates(hosts, _) => hosts.iter().map(|h| h.r#ref.clone().unwrap().name).collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn each_reason_against_a_host_is_counted_once() {
        let hosts = [
            host("claimed", |h| h.consumer = Some(consumer("other"))),
            host("busy", |h| h.provisioning_state = "inspecting".into()),
            host("paused", |h| h.paused_by = Some(String::new())),
            host("sick", |h| h.unhealthy = true),
            host("broken", |h| h.error_message = "boom".into()),
            host("leaving", |h| h.deleting = true),
            host("kept", |h| h.reuse_key = "md-x".into()),
        ];
        let Choice::None(table) = choose(&wish(), hosts.iter()) else {
            panic!("nothing fits")
        };
        assert_eq!(table.candidates, 7);
        let rules: Vec<_> = table
            .rules
            .iter()
            .map(|rule| (rule.rule.as_str(), rule.hosts))
            .collect();
        assert_eq!(
            rules,
            [
                ("claimed", 1),
                ("deleting", 1),
                ("error", 1),
                ("not-available", 1),
                ("paused", 1),
                ("reserved", 1),
                ("unhealthy", 1)
            ]
        );
        assert!(explain("ns", &table).contains("1 claimed (for example claimed)"));
    }

    #[test]
    fn a_consumer_with_a_host_gets_that_one_whatever_its_state() {
        let hosts = [
            host("free", |_| {}),
            host("mine", |h| {
                h.consumer = Some(consumer("m"));
                h.provisioning_state = "provisioning".into();
                h.error_message = "boom".into();
            }),
        ];
        assert_eq!(
            choose(&wish(), hosts.iter()),
            Choice::Existing(Arc::clone(&hosts[1]))
        );
    }

    #[test]
    fn the_order_is_stable_and_differs_between_consumers() {
        let hosts: Vec<_> = (0..50).map(|i| host(&format!("h{i}"), |_| {})).collect();
        let first = names(&choose(&wish(), hosts.iter()));
        let again = names(&choose(&wish(), hosts.iter().rev()));
        assert_eq!(first, again);
        let other = Wish {
            consumer: consumer("n"),
            ..wish()
        };
        assert_ne!(first, names(&choose(&other, hosts.iter())));
    }

    #[test]
    fn reserved_hosts_come_first_for_their_key() {
        let hosts = [
            host("free", |_| {}),
            host("kept", |h| {
                h.reuse_key = "md-x".into();
                h.consumer = Some(Consumer {
                    kind: "Cluster".into(),
                    ..consumer("c")
                });
            }),
        ];
        let choice = choose(
            &Wish {
                reuse_key: "md-x".into(),
                ..wish()
            },
            hosts.iter(),
        );
        assert_eq!(names(&choice), ["kept"]);
    }

    #[test]
    fn a_failure_domain_is_preferred_or_required() {
        let hosts = [
            host("a", |h| h.failure_domain = "a".into()),
            host("b", |h| h.failure_domain = "b".into()),
        ];
        let prefer = Wish {
            failure_domain: "b".into(),
            ..wish()
        };
        assert_eq!(names(&choose(&prefer, hosts.iter())), ["b"]);
        let elsewhere = Wish {
            failure_domain: "c".into(),
            ..wish()
        };
        assert_eq!(names(&choose(&elsewhere, hosts.iter())).len(), 2);
        let required = Wish {
            failure_domain_required: true,
            ..elsewhere
        };
        let Choice::None(table) = choose(&required, hosts.iter()) else {
            panic!("domain c has no host")
        };
        assert_eq!(table.rules[0].rule, "failure-domain");
    }
}
