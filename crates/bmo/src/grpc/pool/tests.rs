use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use metal3_rpc::v1::{HostRef, Image, Selector, SelectorExpression};
use proptest::prelude::*;

use super::super::allocate::{explain, rejections};
use super::super::selector::Matcher;
use super::*;

const NOW: Timestamp = Timestamp::constant(1_767_225_600, 0);

fn consumer(name: &str) -> Consumer {
    Consumer {
        api_version: "infrastructure.cluster.x-k8s.io/v1beta2".into(),
        kind: "Metal3Machine".into(),
        namespace: "ns".into(),
        name: name.into(),
        uid: String::new(),
    }
}

fn cluster() -> Consumer {
    Consumer {
        api_version: "cluster.x-k8s.io/v1beta2".into(),
        kind: "Cluster".into(),
        ..consumer("c")
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

fn reuse(key: &str) -> Wish {
    Wish {
        reuse_key: key.into(),
        ..wish()
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

fn reserved(name: &str, key: &str, edit: impl FnOnce(&mut Host)) -> Arc<Host> {
    host(name, |host| {
        host.reuse_key = key.into();
        host.consumer = Some(cluster());
        edit(host);
    })
}

fn inside(host: &mut Host, domain: &str) {
    host.failure_domain = domain.into();
    host.labels
        .insert(names::LABEL_FAILURE_DOMAIN.into(), domain.into());
}

fn pool(hosts: &[Arc<Host>]) -> Pool {
    let mut pool = Pool::default();
    for host in hosts {
        pool.put(None, host, Since { after: 0, by: 1 });
    }
    pool
}

fn choose(wish: &Wish, hosts: &[Arc<Host>]) -> Choice {
    pool(hosts).choose(wish, NOW, |_| false)
}

fn taken(choice: &Choice) -> Result<(&str, Reason), String> {
    match choice {
        Choice::Take(host, reason) => Ok((name(host), *reason)),
        other => Err(format!("{other:?}")),
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
        host("alone", |h| h.operational_status = "detached".into()),
        host("deployed", |h| h.requested_image = Some(Image::default())),
        reserved("kept", "md-x", |_| {}),
    ];
    assert_eq!(choose(&wish(), &hosts), Choice::None);
    let table = rejections(&wish(), hosts.iter(), NOW);
    assert_eq!(table.candidates, 9);
    let rules: Vec<_> = table
        .rules
        .iter()
        .map(|rule| (rule.rule.as_str(), rule.examples.join(",")))
        .collect();
    let expected = [
        ("claimed", "claimed"),
        ("deleting", "leaving"),
        ("detached", "alone"),
        ("error", "broken"),
        ("in-use", "deployed"),
        ("not-available", "busy"),
        ("paused", "paused"),
        ("reserved", "kept"),
        ("unhealthy", "sick"),
    ];
    assert_eq!(rules, expected.map(|(rule, host)| (rule, host.to_owned())));
    assert!(explain("ns", &table).contains("1 claimed (for example claimed)"));
}

#[test]
fn a_consumer_has_its_host_whatever_the_state_of_that() {
    let hosts = [
        host("free", |_| {}),
        host("mine", |h| {
            h.consumer = Some(consumer("m"));
            h.provisioning_state = "provisioning".into();
            h.error_message = "boom".into();
        }),
        host("other", |h| h.consumer = Some(consumer("n"))),
    ];
    let holdings = pool(&hosts).holdings(&consumer("m"));
    assert_eq!(
        holdings.iter().map(|h| name(&h.host)).collect::<Vec<_>>(),
        ["mine"]
    );
    let kept = pool(&[reserved("kept", "md-x", |_| {})]);
    assert!(
        kept.holdings(&cluster()).is_empty(),
        "a reservation is not a claim"
    );
}

#[test]
fn a_consumer_came_when_it_was_first_seen() {
    let (free, mine) = (host("a", |_| {}), |_: u64| {
        host("a", |h| h.consumer = Some(consumer("m")))
    });
    let mut pool = pool(std::slice::from_ref(&free));
    let since = |after, by| Since { after, by };
    pool.put(Some(&free), &mine(5), since(4, 5));
    pool.put(Some(&mine(5)), &mine(9), since(8, 9));
    assert_eq!(pool.holdings(&consumer("m"))[0].since, since(4, 5));
    let other = host("a", |h| h.consumer = Some(consumer("n")));
    pool.put(Some(&mine(9)), &other, since(11, 12));
    pool.put(Some(&other), &mine(13), since(12, 13));
    assert_eq!(pool.holdings(&consumer("m"))[0].since, since(12, 13));
    let replaced = host("a", |h| {
        h.consumer = Some(consumer("m"));
        h.r#ref.as_mut().unwrap().uid = "new".into();
    });
    pool.put(Some(&mine(13)), &replaced, since(13, 20));
    assert_eq!(pool.holdings(&consumer("m"))[0].since, since(13, 20));
}

#[test]
fn the_order_is_stable_and_differs_between_consumers() {
    let hosts: Vec<_> = (0..50).map(|i| host(&format!("h{i}"), |_| {})).collect();
    let reversed: Vec<_> = hosts.iter().rev().cloned().collect();
    let first = choose(&wish(), &hosts);
    assert_eq!(first, choose(&wish(), &reversed));
    let others = (0..10).map(|number| Wish {
        consumer: consumer(&format!("n{number}")),
        ..wish()
    });
    let chosen: BTreeSet<_> = others
        .map(|wish| taken(&choose(&wish, &hosts)).unwrap().0.to_owned())
        .collect();
    assert!(chosen.len() > 5, "{chosen:?}");
    // A claim of a busy host goes on with the next one, and waits when there is none.
    let Choice::Take(best, _) = first else {
        panic!("{first:?}")
    };
    let busy = |host: &Host| *host == *best;
    assert_ne!(
        name(&best),
        taken(&pool(&hosts).choose(&wish(), NOW, busy)).unwrap().0
    );
    assert_eq!(
        pool(&[Arc::clone(&best)]).choose(&wish(), NOW, busy),
        Choice::Busy(best)
    );
}

#[test]
fn reserved_hosts_come_first_for_their_key_and_the_first_available_one_is_taken() {
    let hosts = [
        host("free", |_| {}),
        reserved("kept", "md-x", |_| {}),
        reserved("sick", "md-x", |h| h.unhealthy = true),
        reserved("late", "md-x", |h| h.provisioning_state = "deprovisioning".into()),
        reserved("other", "md-y", |_| {}),
    ];
    let choice = choose(&reuse("md-x"), &hosts);
    assert_eq!(taken(&choice), Ok(("kept", Reason::Reused)));
    assert_eq!(taken(&choose(&wish(), &hosts)), Ok(("free", Reason::Selected)));
}

#[test]
fn a_reserved_host_that_will_be_available_is_waited_for_and_a_broken_one_is_not() {
    let free = host("free", |_| {});
    let late = |edit: fn(&mut Host)| {
        reserved("late", "md-x", |h| {
            h.provisioning_state = "deprovisioning".into();
            edit(h);
        })
    };
    let chosen = |late: Arc<Host>| choose(&reuse("md-x"), &[Arc::clone(&free), late]);
    assert_eq!(chosen(late(|_| {})), Choice::Wait(vec![late(|_| {})]));
    for edit in [
        (|h| h.paused_by = Some(String::new())) as fn(&mut Host),
        |h| h.error_message = "boom".into(),
        |h| h.deleting = true,
        |h| h.reserved_until = Some(prost_types::Timestamp::default()),
    ] {
        assert_eq!(taken(&chosen(late(edit))), Ok(("free", Reason::Selected)));
    }
}

#[test]
fn a_reservation_whose_time_is_over_holds_nobody_back() {
    let until = |seconds| {
        reserved("kept", "md-x", |h| {
            h.reserved_until = Some(prost_types::Timestamp { seconds, nanos: 0 });
        })
    };
    let now = NOW.as_second();
    assert_eq!(
        taken(&choose(&wish(), &[until(now)])),
        Ok(("kept", Reason::Selected))
    );
    assert_eq!(choose(&wish(), &[until(now + 1)]), Choice::None);
}

#[test]
fn a_failure_domain_is_preferred_or_required() {
    let hosts = [host("a", |h| inside(h, "a")), host("b", |h| inside(h, "b"))];
    let prefer = |domain: &str| Wish {
        failure_domain: domain.into(),
        ..wish()
    };
    assert_eq!(taken(&choose(&prefer("a"), &hosts)).unwrap().0, "a");
    assert_eq!(taken(&choose(&prefer("b"), &hosts)).unwrap().0, "b");
    assert!(taken(&choose(&prefer("c"), &hosts)).is_ok());
    let required = Wish {
        failure_domain_required: true,
        ..prefer("c")
    };
    assert_eq!(choose(&required, &hosts), Choice::None);
    let table = rejections(&required, hosts.iter(), NOW);
    assert_eq!(
        (table.rules[0].rule.as_str(), table.rules[0].hosts),
        ("failure-domain", 2)
    );
}

/// The same choice by a look at every host.
fn naive(wish: &Wish, hosts: &[Arc<Host>]) -> Choice {
    let fit: Vec<_> = hosts
        .iter()
        .filter(|host| reject(wish, host, NOW).is_none())
        .collect();
    let best = |chosen: &dyn Fn(&Host) -> bool, reason| {
        let hosts = fit.iter().copied().filter(|host| chosen(host));
        best(&wish.consumer, hosts, |_| false).map(|pick| pick.choice(reason))
    };
    if let Some(choice) = best(
        &|host| host.is_reserved() && host.reuse_key == wish.reuse_key,
        Reason::Reused,
    ) {
        return choice;
    }
    let awaited: Vec<_> = hosts
        .iter()
        .filter(|host| is_awaited(wish, host, NOW))
        .cloned()
        .collect();
    if !awaited.is_empty() {
        return Choice::Wait(awaited);
    }
    if wish.failure_domain.is_empty() {
        return best(&|_| true, Reason::Selected).unwrap_or(Choice::None);
    }
    let inside = best(
        &|host| host.failure_domain == wish.failure_domain,
        Reason::Selected,
    );
    let outside = || best(&|_| !wish.failure_domain_required, Reason::Selected);
    inside.or_else(outside).unwrap_or(Choice::None)
}

prop_compose! {
    fn any_host()(
        name in 0..8u8,
        state in prop_oneof![4 => Just("available"), 1 => Just("ready"), 1 => Just("deprovisioning")],
        owner in prop_oneof![5 => Just(None), 1 => Just(Some(consumer("m"))), 2 => Just(Some(consumer("n"))), 4 => Just(Some(cluster()))],
        key in prop_oneof![2 => Just(""), 2 => Just("md-x"), 1 => Just("md-y")],
        until in prop_oneof![2 => Just(None), 1 => Just(Some(-1)), 1 => Just(Some(1))],
        rack in prop_oneof![1 => Just(None), 2 => Just(Some("1")), 2 => Just(Some("2"))],
        domain in prop_oneof![1 => Just(None), 2 => Just(Some("a")), 2 => Just(Some("b"))],
        flaw in 0..14u8,
        revision in any::<u16>(),
    ) -> Arc<Host> {
        host(&format!("h{name}"), |host| {
            host.revision = revision.to_string();
            host.provisioning_state = state.into();
            host.consumer = owner.clone();
            host.reuse_key = key.into();
            host.reserved_until = until.map(|seconds: i64| prost_types::Timestamp {
                seconds: NOW.as_second() + seconds,
                nanos: 0,
            });
            host.labels.extend(rack.map(|rack| ("rack".to_owned(), rack.to_owned())));
            if let Some(domain) = domain {
                inside(host, domain);
            }
            match flaw {
                0 => host.paused_by = Some(String::new()),
                1 => host.unhealthy = true,
                2 => host.error_message = "boom".into(),
                3 => host.deleting = true,
                _ => {}
            }
        })
    }
}

fn any_selector() -> impl Strategy<Value = Matcher> {
    let matched = prop_oneof![
        Just(HashMap::new()),
        Just(HashMap::from([("rack".to_owned(), "1".to_owned())]))
    ];
    let expression = prop_oneof![
        2 => Just(None),
        1 => Just(Some(("rack", "in", vec!["1", "2"]))),
        1 => Just(Some(("rack", "notin", vec!["1"]))),
        1 => Just(Some((names::LABEL_FAILURE_DOMAIN, "=", vec!["a"]))),
        1 => Just(Some(("rack", "exists", vec![]))),
    ];
    (matched, expression).prop_map(|(match_labels, expression)| {
        let expressions = expression.map(|(key, operator, values)| SelectorExpression {
            key: key.into(),
            operator: operator.into(),
            values: values.into_iter().map(str::to_owned).collect(),
        });
        Matcher::parse(Some(&Selector {
            match_labels,
            expressions: expressions.into_iter().collect(),
        }))
        .unwrap()
    })
}

prop_compose! {
    fn any_wish()(
        selector in any_selector(),
        failure_domain in prop_oneof![Just(""), Just("a"), Just("c")],
        failure_domain_required in any::<bool>(),
        reuse_key in prop_oneof![Just(""), Just("md-x")],
        consumer in prop_oneof![Just(consumer("m")), Just(consumer("o"))],
    ) -> Wish {
        Wish {
            consumer,
            selector,
            failure_domain: failure_domain.into(),
            failure_domain_required,
            reuse_key: reuse_key.into(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_choice_is_that_of_a_look_at_every_host_after_any_history(
        history in prop::collection::vec((any_host(), prop::bool::weighted(0.9)), 1..24),
        wishes in prop::collection::vec(any_wish(), 1..6),
    ) {
        let (mut pool, mut hosts) = (Pool::default(), BTreeMap::<String, Arc<Host>>::new());
        for (host, there) in history {
            let before = hosts.remove(name(&host));
            if there {
                pool.put(before.as_ref(), &host, Since { after: 0, by: 1 });
                hosts.insert(name(&host).to_owned(), host);
            } else if let Some(before) = before {
                pool.remove(&before);
            }
            let all: Vec<_> = hosts.values().cloned().collect();
            for wish in &wishes {
                prop_assert_eq!(pool.choose(wish, NOW, |_| false), naive(wish, &all));
                let owned: Vec<_> = all
                    .iter()
                    .filter(|host| !host.is_reserved())
                    .filter(|host| host.consumer.as_ref().is_some_and(|owner| owner.same_object(&wish.consumer)))
                    .map(|host| name(host).to_owned())
                    .collect();
                let mut known: Vec<_> = pool.holdings(&wish.consumer).iter().map(|h| name(&h.host).to_owned()).collect();
                known.sort();
                prop_assert_eq!(known, owned);
            }
        }
        for host in hosts.into_values() {
            pool.remove(&host);
        }
        let empty = (pool.owned.len(), pool.reserved.len(), pool.expiring.len(), pool.free.len(), pool.labelled.len());
        prop_assert_eq!(empty, (0, 0, 0, 0, 0), "nothing is kept of hosts that are gone");
    }
}
