//! Each documented path of a machine, as a table of what is there, what is answered and what comes of it.

use crate::common::{Fixture, ID, asked, condition, finished, host, key, running};
use jiff::SignedDuration;
use metal3_api::conditions;
use metal3_api::infra::v1beta2::Metal3ObjectRef;
use metal3_api::names;
use metal3_capm3_core::host::{Consumer, HostSummary, HostWait, Rejection};
use metal3_capm3_core::machine::{
    Answer, Ask, Claimed, Finalizer, NodeAnswer, Provisioned, Released, Requeue, Trouble,
};
use metal3_capm3_core::node::{NodeFacts, NodeMatches};

fn look(host: HostSummary) -> Answer {
    Answer::Host(Some(Box::new(host)))
}

fn nodes(by_uid: &[(&str, &str)]) -> Answer {
    let by_uid = by_uid
        .iter()
        .map(|(name, id)| NodeFacts {
            name: (*name).into(),
            provider_id: (*id).into(),
            ..NodeFacts::default()
        })
        .collect();
    Answer::Nodes(NodeAnswer::Found(NodeMatches {
        by_uid,
        ..NodeMatches::default()
    }))
}

#[test]
fn what_is_missing_around_the_machine_is_named() {
    let table: [(&str, Fixture, &str); 5] = [
        (
            "no owner",
            Fixture::new().with(|f| f.owner = None),
            "False WaitingForMetal3MachineOwnerRef",
        ),
        (
            "no cluster",
            Fixture::new().with(|f| f.cluster = None),
            "False WaitingForClusterInfrastructureReady",
        ),
        (
            "no metal3cluster",
            Fixture::new().with(|f| f.infra = None),
            "False WaitingforMetal3Cluster",
        ),
        (
            "infrastructure not provisioned",
            Fixture::new().with(|f| f.cluster.as_mut().unwrap().status = None),
            "False WaitingForClusterInfrastructureReady",
        ),
        (
            "no bootstrap data",
            Fixture::new()
                .guarded()
                .with(|f| f.owner.as_mut().unwrap().spec.bootstrap.data_secret_name = None),
            "False WaitingForBootstrapData",
        ),
    ];
    for (name, fixture, expected) in table {
        let verdict = finished(&fixture, []);
        let (state, message) = condition(&verdict, "AssociateBareMetalHost");
        assert_eq!(state, expected, "{name}");
        assert!(!message.is_empty(), "{name}");
        assert_eq!(condition(&verdict, "Ready").0, "False NotReady", "{name}");
        assert!(verdict.waiting.is_some(), "{name}");
    }
}

#[test]
fn a_cluster_that_tells_of_its_infrastructure_only_as_v1beta1_did_is_believed() {
    let told = |status: &str, initialization: serde_json::Value| {
        Fixture::new().guarded().with(|f| {
            let status = serde_json::json!({
                "initialization": initialization,
                "deprecated": {"v1beta1": {"conditions": [{
                    "type": "InfrastructureReady", "status": status, "lastTransitionTime": "2026-01-01T00:00:00Z"}]}},
            });
            f.cluster.as_mut().unwrap().status = serde_json::from_value(status).unwrap();
        })
    };
    let nothing = serde_json::json!({});
    assert!(matches!(asked(&told("True", nothing.clone()), []), Ask::Claim(_)));
    let no = serde_json::json!({"infrastructureProvisioned": false});
    for fixture in [told("False", nothing), told("True", no)] {
        let verdict = finished(&fixture, []);
        let reason = verdict.waiting.unwrap().reason;
        assert_eq!(reason.as_str(), "WaitingForClusterInfrastructureReady");
    }
}

#[test]
fn an_owner_that_is_gone_is_told_from_one_that_never_was() {
    let gone = finished(&running().with(|f| f.owner = None), []);
    let message = gone.waiting.unwrap().message;
    assert_eq!(message, "Machine ns/m, the owner, does not exist");
    assert_eq!(gone.status.initialization.unwrap().provisioned, Some(true));
}

#[test]
fn the_finalizer_is_written_before_a_host_is_claimed() {
    let verdict = finished(&Fixture::new(), []);
    assert_eq!(
        (verdict.finalizer, verdict.requeue),
        (Finalizer::Add, Requeue::Now)
    );
    assert!(matches!(asked(&Fixture::new().guarded(), []), Ask::Claim(_)));
}

#[test]
fn a_claim_carries_selector_failure_domain_and_what_to_run() {
    let fixture = Fixture::new().guarded().with(|f| {
        f.owner.as_mut().unwrap().spec.failure_domain = Some("rack-1".into());
        f.machine.spec.meta_data = Some(k8s_openapi::api::core::v1::SecretReference {
            name: Some("meta".into()),
            namespace: None,
        });
    });
    let Ask::Claim(claim) = asked(&fixture, []) else {
        panic!("no claim")
    };
    assert_eq!(claim.wish.failure_domain, "rack-1");
    assert_eq!(claim.cluster_name, "c");
    assert_eq!(claim.provision.user_data, "m-bootstrap");
    assert_eq!(claim.provision.meta_data, "meta");
    assert_eq!(claim.provision.image.unwrap()[0], "http://images/a.qcow2");
}

#[test]
fn a_claimed_host_is_named_and_awaited() {
    let fixture = Fixture::new().guarded();
    let claimed = Answer::Claim(Claimed::Host(Box::new(host("h0", "provisioning"))));
    let verdict = finished(&fixture, [claimed]);
    assert_eq!(verdict.changes.host.as_deref(), Some("ns/h0"));
    assert_eq!(
        condition(&verdict, "AssociateBareMetalHost").0,
        "True AssociateBareMetalHostSuccess"
    );
    assert_eq!(
        condition(&verdict, "HostProvisioned"),
        ("False Provisioning".into(), "host ns/h0 is provisioning")
    );
    assert_eq!(condition(&verdict, "Ready").0, "False NotReady");
    assert_eq!(verdict.status.initialization, None);
    assert_eq!(verdict.status.addresses[0].address, "10.0.0.1");
}

#[test]
fn a_host_without_instructions_is_given_them() {
    let idle = HostSummary {
        requested: false,
        ..host("h0", "available")
    };
    let fixture = Fixture::new().claimed();
    assert!(matches!(
        asked(&fixture, [look(idle.clone())]),
        Ask::Provision { .. }
    ));
    let accepted = Answer::Provision(Provisioned::Accepted(Box::new(host("h0", "available"))));
    let verdict = finished(&fixture, [look(idle), accepted]);
    assert_eq!(condition(&verdict, "HostProvisioned").0, "False Provisioning");
}

#[test]
fn the_table_of_rejected_hosts_reaches_condition_and_event() {
    let none = Answer::Claim(Claimed::NoHost {
        candidates: 2,
        rejections: vec![Rejection {
            rule: "claimed".into(),
            hosts: 2,
            examples: vec!["a".into(), "b".into()],
        }],
    });
    let verdict = finished(&Fixture::new().guarded(), [none]);
    let (state, message) = condition(&verdict, "AssociateBareMetalHost");
    assert_eq!(state, "False AssociateBareMetalHostFailed");
    assert_eq!(
        message,
        "none of 2 hosts can be claimed: 2 claimed (a, b); add hosts, free some, or change spec.hostSelector"
    );
    assert!(verdict.events[0].warning && verdict.events[0].message.contains("claimed (a, b)"));
    let seldom = SignedDuration::from_mins(10);
    assert_eq!(verdict.requeue, Requeue::After(seldom), "it is woken");
}

#[test]
fn errors_and_waits_of_the_host_are_passed_on() {
    let failed = HostSummary {
        error: "image not found".into(),
        ..host("h0", "provisioning")
    };
    let verdict = finished(&Fixture::new().claimed(), [look(failed)]);
    let (state, message) = condition(&verdict, "HostProvisioned");
    assert_eq!(state, "False HostError");
    assert!(message.contains("image not found"), "{message}");
    assert!(
        verdict
            .events
            .iter()
            .any(|event| event.warning && event.reason == "HostError")
    );

    let waits = HostSummary {
        wait: Some(HostWait {
            message: "cleaning disks".into(),
            remedy: "none".into(),
        }),
        ..host("h0", "preparing")
    };
    let verdict = finished(&Fixture::new().claimed(), [look(waits)]);
    assert_eq!(
        condition(&verdict, "HostProvisioned").1,
        "host ns/h0 is preparing: cleaning disks; none"
    );
}

#[test]
fn a_missing_or_foreign_host_is_reported_and_not_replaced() {
    let fixture = Fixture::new().claimed();
    let verdict = finished(&fixture, [Answer::Host(None)]);
    assert_eq!(
        condition(&verdict, "AssociateBareMetalHost").0,
        "False HostMissing"
    );
    assert_eq!(condition(&verdict, "Ready").0, "False NotReady");
    assert!(verdict.events[0].warning);

    let other = Consumer {
        name: "other".into(),
        ..crate::common::us()
    };
    let foreign = HostSummary {
        consumer: Some(other),
        ..host("h0", "provisioned")
    };
    let verdict = finished(&fixture, [look(foreign)]);
    let (state, message) = condition(&verdict, "AssociateBareMetalHost");
    assert_eq!(state, "False HostTaken");
    assert!(message.contains("Metal3Machine ns/other"), "{message}");
}

#[test]
fn the_node_with_the_hosts_label_gets_the_provider_id_before_cluster_api_hears_of_it() {
    let fixture = Fixture::new().claimed();
    let running = || look(host("h0", "provisioned"));
    assert!(matches!(asked(&fixture, [running()]), Ask::Nodes(_)));
    let Ask::LinkNode { node, query } = asked(&fixture, [running(), nodes(&[("node", "")])]) else {
        panic!("not linked")
    };
    assert_eq!((node.as_str(), query.provider_id.as_str()), ("node", ID));
    let verdict = finished(
        &fixture,
        [running(), nodes(&[("node", "")]), Answer::NodeLinked(None)],
    );
    assert_eq!(verdict.changes.provider_id.as_deref(), Some(ID));
    assert_eq!(
        verdict.status.initialization.as_ref().unwrap().provisioned,
        Some(true)
    );
    assert_eq!(condition(&verdict, "Ready"), ("True Ready".into(), ""));
    let ready = verdict.events.iter().find(|event| event.reason == "Ready");
    let message = format!("host ns/h0 has provider ID {ID}");
    assert_eq!(ready.map(|event| &event.message), Some(&message));
    assert_eq!(verdict.waiting, None);
}

#[test]
fn a_node_that_came_with_its_provider_id_is_recognised() {
    let by_provider_id = vec![NodeFacts {
        provider_id: ID.into(),
        ..NodeFacts::default()
    }];
    let found = Answer::Nodes(NodeAnswer::Found(NodeMatches {
        by_provider_id,
        ..NodeMatches::default()
    }));
    let verdict = finished(
        &Fixture::new().claimed(),
        [look(host("h0", "provisioned")), found],
    );
    assert_eq!(verdict.changes.provider_id.as_deref(), Some(ID));
    assert!(conditions::is_true(&verdict.status.conditions, "Ready"));
}

#[test]
fn waiting_for_the_node_is_explained_and_not_yet_provisioned() {
    let fixture = Fixture::new().claimed();
    let table = [
        (nodes(&[]), "no Node has the label metal3.io/uuid=uid-h0 yet"),
        (
            Answer::Nodes(NodeAnswer::Unreachable("connection refused".into())),
            "the workload cluster cannot be asked for the Node: connection refused",
        ),
    ];
    for (answer, expected) in table {
        let verdict = finished(&fixture, [look(host("h0", "provisioned")), answer]);
        assert_eq!(
            condition(&verdict, "AssociateMetal3MachineMetaData"),
            ("False CreateError".into(), expected)
        );
        assert_eq!(verdict.status.initialization, None);
        assert!(matches!(verdict.requeue, Requeue::After(_)));
    }
}

#[test]
fn with_a_cloud_provider_the_node_is_never_written() {
    let fixture = Fixture::new()
        .claimed()
        .with(|f| f.infra.as_mut().unwrap().spec.cloud_provider_enabled = Some(true));
    let verdict = finished(
        &fixture,
        [look(host("h0", "provisioned")), nodes(&[("node", "")])],
    );
    assert_eq!(
        condition(&verdict, "AssociateMetal3MachineMetaData").0,
        "False CreateError"
    );
}

#[test]
fn without_a_bootstrap_provider_the_machine_is_provisioned_before_its_node_exists() {
    let fixture = Fixture::new()
        .claimed()
        .with(|f| f.owner.as_mut().unwrap().spec.bootstrap.config_ref = None);
    let verdict = finished(&fixture, [look(host("h0", "provisioned")), nodes(&[])]);
    assert_eq!(verdict.changes.provider_id.as_deref(), Some(ID));
    assert_eq!(
        verdict.status.initialization.as_ref().unwrap().provisioned,
        Some(true)
    );
    assert_eq!(
        condition(&verdict, "AssociateMetal3MachineMetaData").0,
        "False UpdateError"
    );
}

#[test]
fn a_running_machine_asks_only_for_its_host_and_writes_nothing_new() {
    let mut fixture = running();
    let first = finished(&fixture, [look(host("h0", "provisioned"))]);
    fixture.apply(&first);
    let second = finished(&fixture, [look(host("h0", "provisioned"))]);
    assert_eq!(Some(&second.status), fixture.machine.status.as_ref());
    assert!(second.changes.is_empty() && second.events.is_empty());
}

#[test]
fn a_running_machine_stays_ready_while_the_host_service_is_away() {
    let mut fixture = running();
    let verdict = finished(&fixture, [look(host("h0", "provisioned"))]);
    fixture.apply(&verdict);
    let away = Answer::Trouble(Trouble::Unavailable("connection refused".into()));
    let verdict = finished(&fixture, [away]);
    assert!(conditions::is_true(&verdict.status.conditions, "Ready"));
    assert_eq!(verdict.requeue, Requeue::Backoff);
}

#[test]
fn an_unreachable_host_service_is_named_with_its_remedy() {
    let away = || Answer::Trouble(Trouble::Unavailable("connection refused".into()));
    for (fixture, type_) in [
        (Fixture::new().guarded(), "AssociateBareMetalHost"),
        (Fixture::new().claimed(), "HostProvisioned"),
        (
            Fixture::new().claimed().deleting(),
            "AssociateMetal3MachineMetaData",
        ),
    ] {
        let verdict = finished(&fixture, [away()]);
        let (state, message) = condition(&verdict, type_);
        assert_eq!(state, "False HostServiceUnavailable");
        assert!(message.contains("--host-service-address"), "{message}");
        assert_eq!(
            (verdict.requeue, verdict.finalizer),
            (Requeue::Backoff, Finalizer::Keep)
        );
        assert!(
            verdict
                .events
                .iter()
                .any(|event| event.reason == "HostServiceUnavailable")
        );
    }
}

#[test]
fn deletion_needs_nothing_around_the_machine() {
    let fixture = Fixture::new().claimed().deleting().with(|f| {
        f.owner = None;
        f.cluster = None;
        f.infra = None;
    });
    let Ask::Release {
        host, cluster_name, ..
    } = asked(&fixture, [])
    else {
        panic!("not released")
    };
    assert_eq!((host, cluster_name.as_str()), (key("h0"), "c"));
}

#[test]
fn the_finalizer_stays_until_the_host_is_given_back() {
    let fixture = Fixture::new().claimed().deleting();
    let release = |released| Answer::Release(key("h0"), released);
    let verdict = finished(&fixture, [release(Released::Waiting("deprovisioning".into()))]);
    assert_eq!(verdict.finalizer, Finalizer::Keep);
    assert_eq!(
        condition(&verdict, "AssociateMetal3MachineMetaData"),
        (
            "False Deleting".into(),
            "host ns/h0 is being given back: deprovisioning"
        )
    );
    assert!(matches!(asked(&fixture, [release(Released::Done)]), Ask::Held(_)));
    let verdict = finished(&fixture, [release(Released::Done), Answer::Held(vec![key("h0")])]);
    assert_eq!(verdict.finalizer, Finalizer::Drop);
}

#[test]
fn a_claim_that_was_never_written_down_is_found_and_given_back() {
    let fixture = Fixture::new().guarded().deleting();
    let held = || Answer::Held(vec![key("h7")]);
    assert!(matches!(asked(&fixture, [held()]), Ask::Release { host, .. } if host == key("h7")));
    let verdict = finished(&fixture, [held(), Answer::Release(key("h7"), Released::Done)]);
    assert_eq!(verdict.finalizer, Finalizer::Drop);
}

#[test]
fn a_paused_machine_is_left_alone_even_when_it_is_deleted() {
    let pause_cluster = |f: &mut Fixture| f.cluster.as_mut().unwrap().spec.paused = Some(true);
    let annotate = |key: &'static str| {
        move |f: &mut Fixture| {
            let annotations = f.machine.metadata.annotations.get_or_insert_default();
            annotations.insert(key.into(), String::new());
        }
    };
    for fixture in [
        Fixture::new().claimed().with(pause_cluster),
        Fixture::new().claimed().deleting().with(pause_cluster),
        Fixture::new()
            .claimed()
            .with(annotate(names::ANNOTATION_CAPI_PAUSED)),
        Fixture::new()
            .claimed()
            .deleting()
            .with(annotate(names::ANNOTATION_DELETE_FOR_MOVE)),
    ] {
        let prepared = Answer::MovePrepared(key("h0"));
        let verdict = finished(&fixture, [prepared, Answer::Host(None)]);
        assert_eq!(condition(&verdict, "Paused").0, "True Paused");
        assert_eq!(verdict.finalizer, Finalizer::Keep);
        assert!(verdict.changes.is_empty());
    }
}

#[test]
fn a_spec_that_cannot_be_carried_out_is_refused_before_a_host_is_taken() {
    let secret = |namespace: &str| k8s_openapi::api::core::v1::SecretReference {
        name: Some("s".into()),
        namespace: Some(namespace.into()),
    };
    let table: [(Fixture, &str); 3] = [
        (
            Fixture::new().guarded().with(|f| f.machine.spec.image = None),
            "False InvalidConfiguration",
        ),
        (
            Fixture::new()
                .guarded()
                .with(|f| f.machine.spec.network_data = Some(secret("other"))),
            "False InvalidConfiguration",
        ),
        (
            Fixture::new().guarded().with(|f| {
                f.machine.spec.data_template = Some(Metal3ObjectRef {
                    name: Some("t".into()),
                    namespace: None,
                });
            }),
            "False WaitingForMetal3Data",
        ),
    ];
    for (fixture, expected) in table {
        let verdict = finished(&fixture, []);
        assert_eq!(condition(&verdict, "AssociateBareMetalHost").0, expected);
    }
}

#[test]
fn the_failure_domain_of_the_machine_is_followed_also_to_none() {
    let fixture = Fixture::new().with(|f| f.machine.spec.failure_domain = Some("old".into()));
    assert_eq!(finished(&fixture, []).changes.failure_domain, Some(None));
}
