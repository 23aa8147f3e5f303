//! What requests are refused for.

use metal3_rpc::reason::Reason;
use metal3_rpc::v1::release_host_request::Reservation;
use metal3_rpc::v1::{
    ClaimHostRequest, HoldPowerOffRequest, PrepareMoveRequest, ProvisionHostRequest, ReleaseHostRequest,
    ReleaseReservationsRequest, ResumeAfterMoveRequest, SecretRef, SelectorExpression,
    SetCleaningModeRequest,
};

use super::parts::VALUES;
use super::*;

fn machine() -> Consumer {
    Consumer {
        api_version: "infrastructure.cluster.x-k8s.io/v1beta2".into(),
        kind: "Metal3Machine".into(),
        namespace: "ns".into(),
        name: "m".into(),
        uid: "u".into(),
    }
}

fn claim() -> ClaimHostRequest {
    ClaimHostRequest {
        namespace: "ns".into(),
        consumer: Some(machine()),
        ..Default::default()
    }
}

fn field(result: Result<(), Status>) -> String {
    use tonic_types::StatusExt as _;
    let status = result.unwrap_err();
    assert_eq!(Reason::of(&status), Some(Reason::InvalidField), "{status}");
    status.get_details_error_info().unwrap().metadata["field"].clone()
}

#[test]
fn a_malformed_field_is_named() {
    assert!(claim().check().is_ok());
    type Spoil = fn(&mut ClaimHostRequest);
    let cases: [(&str, Spoil); 10] = [
        ("namespace", |claim| claim.namespace = "a".repeat(1_000_000)),
        ("seen_revision", |claim| claim.seen_revision = "soon".into()),
        ("consumer.name", |claim| {
            claim.consumer.as_mut().unwrap().name = "a\nb".into()
        }),
        ("consumer.kind", |claim| {
            claim.consumer.as_mut().unwrap().kind = "a/b".into()
        }),
        ("cluster_name", |claim| claim.cluster_name = "a b".into()),
        ("reuse_key", |claim| claim.reuse_key = "cp/x".into()),
        ("failure_domain.policy", |claim| {
            claim.failure_domain = Some(v1::FailureDomain {
                name: "a".into(),
                policy: 7,
            });
        }),
        ("selector.expressions", |claim| {
            let expressions = vec![
                SelectorExpression {
                    key: "a".into(),
                    ..Default::default()
                };
                FEW + 1
            ];
            claim.selector = Some(v1::Selector {
                expressions,
                ..Default::default()
            });
        }),
        ("selector.expressions.values", |claim| {
            let values = vec![String::new(); VALUES + 1];
            let expressions = vec![SelectorExpression {
                key: "a".into(),
                values,
                ..Default::default()
            }];
            claim.selector = Some(v1::Selector {
                expressions,
                ..Default::default()
            });
        }),
        ("provision.image.url", |claim| {
            let image = Some(v1::Image {
                url: "http://a\u{0}".into(),
                ..Default::default()
            });
            claim.provision = Some(v1::ProvisionSpec {
                image,
                ..Default::default()
            });
        }),
    ];
    for (name, spoil) in cases {
        let mut claim = claim();
        spoil(&mut claim);
        assert_eq!(field(claim.check()), name);
    }
}

#[test]
fn what_a_later_contract_means_is_not_guessed() {
    let hold = HoldPowerOffRequest {
        host: Some(HostRef::named("ns", "a")),
        consumer: Some(machine()),
        key: "k".into(),
        mode: 9,
    };
    assert_eq!(field(hold.check()), "mode");
}

#[test]
fn what_is_required_is_asked_for_by_the_name_of_its_field() {
    let (host, consumer) = (|| Some(HostRef::named("ns", "a")), || Some(machine()));
    let nameless = || Consumer {
        name: String::new(),
        ..machine()
    };
    let scope = |scope| ReleaseReservationsRequest {
        namespace: "ns".into(),
        scope,
    };
    use v1::release_reservations_request::Scope;
    let required: [(&str, Result<(), Status>); 10] = [
        ("host", v1::GetHostRequest::default().check()),
        ("namespace", ClaimHostRequest::default().check()),
        (
            "consumer",
            ClaimHostRequest {
                consumer: Some(nameless()),
                ..claim()
            }
            .check(),
        ),
        (
            "spec",
            ProvisionHostRequest {
                host: host(),
                consumer: consumer(),
                ..Default::default()
            }
            .check(),
        ),
        (
            "mode",
            SetCleaningModeRequest {
                host: host(),
                consumer: consumer(),
                mode: 0,
            }
            .check(),
        ),
        // A pause that names nobody could be anybody's.
        (
            "token",
            PrepareMoveRequest {
                host: host(),
                consumer: consumer(),
                token: String::new(),
            }
            .check(),
        ),
        (
            "token",
            ResumeAfterMoveRequest {
                host: host(),
                consumer: consumer(),
                ..Default::default()
            }
            .check(),
        ),
        ("scope", scope(None).check()),
        ("cluster", scope(Some(Scope::Cluster(nameless()))).check()),
        ("reuse_key", scope(Some(Scope::ReuseKey(String::new()))).check()),
    ];
    for (name, checked) in required {
        assert_eq!(field(checked), name);
    }
}

#[test]
fn a_reservation_names_key_and_cluster() {
    let cluster = || Consumer {
        api_version: "cluster.x-k8s.io/v1beta2".into(),
        kind: "Cluster".into(),
        name: "c".into(),
        ..machine()
    };
    let release = |reservation| ReleaseHostRequest {
        host: Some(HostRef::named("ns", "a")),
        consumer: Some(machine()),
        reservation,
        ..Default::default()
    };
    let right = || Reservation {
        reuse_key: "md-x".into(),
        cluster: Some(cluster()),
        expires: None,
    };
    assert!(release(None).check().is_ok() && release(Some(right())).check().is_ok());
    type Spoil = fn(&mut Reservation);
    let cases: [(&str, Spoil); 7] = [
        ("reuse_key", |it| it.reuse_key.clear()),
        ("reuse_key", |it| it.reuse_key = "cp/x".into()),
        ("cluster", |it| it.cluster = None),
        ("cluster", |it| it.cluster.as_mut().unwrap().name.clear()),
        ("cluster", |it| {
            it.cluster.as_mut().unwrap().kind = "Metal3Machine".into()
        }),
        ("cluster.namespace", |it| {
            it.cluster.as_mut().unwrap().namespace = "other".into()
        }),
        ("expires", |it| {
            it.expires = Some(prost_types::Timestamp {
                seconds: i64::MAX,
                nanos: 0,
            });
        }),
    ];
    for (name, spoil) in cases {
        let mut reservation = right();
        spoil(&mut reservation);
        let checked = release(Some(reservation)).check();
        assert_eq!(field(checked), format!("reservation.{name}"));
    }
    let own = ReleaseHostRequest {
        consumer: Some(cluster()),
        ..release(Some(right()))
    };
    assert_eq!(
        field(own.check()),
        "reservation.cluster",
        "it would be released to itself"
    );
}

#[test]
fn secrets_of_other_namespaces_are_refused() {
    let secret = |namespace: &str| {
        Some(SecretRef {
            name: "s".into(),
            namespace: namespace.into(),
        })
    };
    let spec = |namespace| v1::ProvisionSpec {
        meta_data: secret(namespace),
        ..Default::default()
    };
    let claim = |namespace| ClaimHostRequest {
        provision: Some(spec(namespace)),
        ..claim()
    };
    let provision = |namespace| ProvisionHostRequest {
        host: Some(HostRef::named("ns", "a")),
        consumer: Some(machine()),
        spec: Some(spec(namespace)),
        expected_generation: 0,
    };
    for own in ["", "ns"] {
        assert!(claim(own).check().is_ok() && provision(own).check().is_ok());
    }
    let refused = claim("kube-system").check();
    assert_eq!(field(refused), "provision.meta_data.namespace");
    let refused = provision("kube-system").check();
    assert_eq!(field(refused), "spec.meta_data.namespace");
}

#[test]
fn a_watch_of_nothing_named_is_one_of_all_namespaces() {
    assert_eq!(v1::WatchHostsRequest::default().namespaces(), [""]);
}
