//! Who is woken by what.

use metal3_rpc::v1::{self, HostRef};

use super::*;

/// What is changed of a host.
type Change = fn(&mut Host);

fn known(edit: impl FnOnce(&mut Host)) -> Known {
    let mut host = Host {
        r#ref: Some(HostRef::named("ns", "h")),
        provisioning_state: "available".into(),
        revision: "7".into(),
        ..Host::default()
    };
    edit(&mut host);
    Known::of(host).unwrap()
}

fn used_by(name: &'static str) -> impl FnOnce(&mut Host) {
    move |host| {
        host.consumer = Some(v1::Consumer {
            api_version: format!("{GROUP}/v1beta1"),
            kind: "Metal3Machine".into(),
            namespace: "ns".into(),
            name: name.into(),
            uid: String::new(),
        });
    }
}

fn machine(name: &str) -> Wake {
    Wake::Machine(Key::new("ns", name))
}

fn labels(name: &str) -> Wake {
    Wake::Labels(Key::new("ns", name))
}

fn key() -> HostKey {
    HostKey {
        namespace: "ns".into(),
        name: "h".into(),
    }
}

fn offered(reuse_key: &str, revision: u64) -> Wake {
    Wake::Offered {
        host: key(),
        reuse_key: reuse_key.into(),
        revision,
    }
}

fn not_awaited(reuse_key: &str, revision: u64) -> Wake {
    Wake::NotAwaited {
        namespace: "ns".into(),
        reuse_key: reuse_key.into(),
        revision,
    }
}

#[test]
fn a_change_wakes_the_consumer_and_an_unchanged_host_nobody() {
    let used = known(used_by("m"));
    assert_eq!(wakes(None, Some(&used)), [machine("m"), labels("m")]);
    assert_eq!(wakes(Some(&used), Some(&used)), []);
    let provisioned = known(|host| {
        used_by("m")(host);
        host.provisioning_state = "provisioned".into();
    });
    assert_eq!(wakes(Some(&used), Some(&provisioned)), [machine("m")]);
    let on = known(|host| {
        used_by("m")(host);
        host.powered_on = true;
    });
    assert_eq!(wakes(Some(&used), Some(&on)), [machine("m")]);
    assert_eq!(
        wakes(Some(&used), Some(&known(used_by("n")))),
        [machine("m"), machine("n"), labels("n")]
    );
}

#[test]
fn labels_that_a_cluster_could_ask_for_wake_only_label_sync() {
    let labelled = |key: &'static str| {
        known(move |host| {
            used_by("m")(host);
            host.labels.insert(key.into(), "b".into());
        })
    };
    let used = known(used_by("m"));
    assert_eq!(wakes(Some(&used), Some(&labelled("a.io/x"))), [labels("m")]);
    assert_eq!(wakes(Some(&labelled("a.io/x")), Some(&used)), [labels("m")]);
    assert_eq!(labelled("without-prefix"), used, "nobody can ask for it");
    let paused = known(|host| {
        used_by("m")(host);
        host.paused_by = Some(String::new());
    });
    assert_eq!(wakes(Some(&paused), Some(&used)), [labels("m")]);
    let free = known(|host| {
        host.labels.insert("a.io/x".into(), "b".into());
    });
    assert_eq!(free, known(|_| {}), "it has no Node");
}

/// A host to which one thing happened, at a later revision.
fn later(edit: impl FnOnce(&mut Host)) -> Known {
    known(|host| {
        host.revision = "8".into();
        edit(host);
    })
}

#[test]
fn a_host_given_back_wakes_its_former_machine_and_is_offered_to_those_that_wait() {
    let (used, free) = (known(used_by("m")), later(|_| {}));
    assert_eq!(wakes(Some(&used), Some(&free)), [machine("m"), offered("", 8)]);
    assert_eq!(
        wakes(None, Some(&free)),
        [offered("", 8)],
        "it is new, or moved in"
    );
    let claimed = [Wake::Withdrawn(key()), machine("m"), labels("m")];
    let told = wakes(Some(&free), Some(&later(used_by("m"))));
    assert!(
        told.len() == 3 && claimed.iter().all(|wake| told.contains(wake)),
        "{told:?}"
    );
    assert_eq!(wakes(Some(&free), None), [Wake::Withdrawn(key())]);
}

#[test]
fn whatever_stands_against_a_claim_and_ends_offers_the_host_again() {
    let against: [(&str, Change); 10] = [
        ("claimed", |host| used_by("m")(host)),
        ("somebody else's", |host| {
            host.reuse_key = "md-d".into();
            host.consumer = Some(v1::Consumer::default());
        }),
        ("deleting", |host| host.deleting = true),
        ("paused", |host| host.paused_by = Some(String::new())),
        ("unhealthy", |host| host.unhealthy = true),
        ("error", |host| host.error_message = "bmc".into()),
        ("detached", |host| host.operational_status = "detached".into()),
        ("image", |host| host.requested_image = Some(v1::Image::default())),
        ("method", |host| host.requested_custom_deploy_method = "x".into()),
        ("state", |host| host.provisioning_state = "inspecting".into()),
    ];
    for (what, edit) in against {
        let (before, after) = (known(edit), later(|_| {}));
        assert!(
            wakes(Some(&before), Some(&after)).contains(&offered("", 8)),
            "{what}"
        );
        let (before, after) = (known(|_| {}), later(edit));
        assert!(
            wakes(Some(&before), Some(&after)).contains(&Wake::Withdrawn(key())),
            "{what}"
        );
    }
}

#[test]
fn any_news_of_a_host_that_might_be_claimed_offers_it_again() {
    let free = known(|_| {});
    let changes: [(&str, Change); 3] = [
        ("label", |host| drop(host.labels.insert("for".into(), "b".into()))),
        ("failure domain", |host| host.failure_domain = "rack-1".into()),
        ("others had it meanwhile", |_| {}),
    ];
    for (what, edit) in changes {
        assert_eq!(wakes(Some(&free), Some(&later(edit))), [offered("", 8)], "{what}");
    }
    assert_eq!(wakes(Some(&free), Some(&known(|_| {}))), [], "told again");
    let used = |host: &mut Host| used_by("m")(host);
    assert_eq!(known(used), later(used), "nobody can claim it");
}

fn kept(state: &'static str) -> impl Fn(&mut Host) {
    move |host| {
        host.reuse_key = "md-d".into();
        host.consumer = Some(v1::Consumer {
            api_version: "cluster.x-k8s.io/v1beta2".into(),
            kind: "Cluster".into(),
            ..v1::Consumer::default()
        });
        host.provisioning_state = state.into();
    }
}

#[test]
fn a_host_that_is_kept_is_offered_to_those_with_its_key_and_to_all_when_that_ends() {
    let (cleaning, ready) = (known(kept("preparing")), later(kept("available")));
    assert_eq!(wakes(None, Some(&cleaning)), []);
    assert_eq!(
        wakes(Some(&cleaning), Some(&ready)),
        [offered("md-d", 8), not_awaited("md-d", 8)]
    );
    assert_eq!(
        wakes(Some(&known(kept("available"))), Some(&later(|_| {}))),
        [offered("", 8)]
    );
}

#[test]
fn who_waits_for_a_host_that_is_kept_may_have_another_when_it_will_not_come() {
    let cleaning = || known(kept("preparing"));
    let ends: [(&str, Change); 6] = [
        ("error", |host| host.error_message = "bmc".into()),
        ("paused", |host| host.paused_by = Some(String::new())),
        ("deleting", |host| host.deleting = true),
        ("other key", |host| host.reuse_key = "md-e".into()),
        ("other labels", |host| {
            drop(host.labels.insert("for".into(), "b".into()))
        }),
        ("not kept", |host| {
            (host.reuse_key, host.consumer) = (String::new(), None)
        }),
    ];
    for (what, edit) in ends {
        let after = later(|host| {
            kept("preparing")(host);
            edit(host);
        });
        assert_eq!(
            wakes(Some(&cleaning()), Some(&after)),
            [not_awaited("md-d", 8)],
            "{what}"
        );
    }
    assert_eq!(wakes(Some(&cleaning()), None), [not_awaited("md-d", 7)]);
    let still = later(kept("deprovisioning"));
    assert_eq!(wakes(Some(&cleaning()), Some(&still)), [], "it is still awaited");
}

#[test]
fn a_deleted_host_wakes_its_machine() {
    assert_eq!(wakes(Some(&known(used_by("m"))), None), [machine("m")]);
}

#[test]
fn hosts_of_others_wake_nobody() {
    let claimed = known(|host| {
        used_by("m")(host);
        if let Some(consumer) = &mut host.consumer {
            consumer.kind = "HostClaim".into();
        }
    });
    assert_eq!(wakes(None, Some(&claimed)), []);
}
