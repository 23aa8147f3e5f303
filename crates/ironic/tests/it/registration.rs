//! Registration: nodes that are found, conflicts, and what repeating costs.

use metal3_api::metal3::hardware_data::{HardwareDetails, NIC};
use metal3_ironic::{Access, IronicProvisioner, Settings};
use metal3_ironic_sim::{Config, Fault, Kind as Trouble};
use metal3_provisioner::{FailureCause, Kind, Progress, Provisioner as _, RegisterArgs, WaitReason};
use metal3_testkit::wait::{LONG, until};
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::bed::{Bed, Machine};
use crate::host::{Adapter, Host};

async fn named(bed: &Bed, name: Option<&str>, mac: &str) -> String {
    let body = json!({"driver": "redfish", "name": name});
    let node = bed.direct(Method::POST, "nodes", &body).await["uuid"]
        .as_str()
        .unwrap()
        .to_owned();
    let port = json!({"node_uuid": node, "address": mac});
    bed.direct(Method::POST, "ports", &port).await;
    node
}

#[tokio::test]
async fn a_discovered_node_without_a_name_becomes_the_hosts() {
    let bed = Bed::sim().await;
    let adapter = Adapter::new(bed.settings());
    let mut host = Host::new(&bed, &adapter, Machine(1));
    let node = named(&bed, None, &host.machine.mac()).await;
    host.register().await;
    assert_eq!(host.node(), node);
    assert_eq!(
        bed.as_sim().machine(&node).unwrap().name.as_deref(),
        Some("test~conformance-1")
    );
}

#[tokio::test]
async fn a_node_with_the_name_of_early_releases_becomes_the_hosts() {
    let bed = Bed::sim().await;
    let node = named(&bed, Some("conformance-1"), "52:54:00:00:00:77").await;
    let adapter = Adapter::new(bed.settings());
    let mut host = Host::new(&bed, &adapter, Machine(1));
    host.register().await;
    assert_eq!(host.node(), node);
    assert_eq!(bed.as_sim().nodes(), 1, "no second node was made");
}

#[tokio::test]
async fn a_mac_address_of_somebody_else_is_told() {
    let bed = Bed::sim().await;
    let adapter = Adapter::new(bed.settings());
    let mut host = Host::new(&bed, &adapter, Machine(1));
    named(&bed, Some("other~host"), &host.machine.mac()).await;
    let failure = host.try_register(RegisterArgs::default()).await.unwrap();
    assert_eq!(
        failure,
        "MAC address 52:54:00:00:00:01 conflicts with existing node other~host"
    );
    assert_eq!(bed.as_sim().nodes(), 1, "no second node was made");
}

#[tokio::test]
async fn a_boot_mac_address_that_is_taken_later_is_told_and_that_of_another_nic_does_not_matter() {
    let bed = Bed::sim().await;
    let adapter = Adapter::new(bed.settings());
    let mut host = Host::new(&bed, &adapter, Machine(1));
    host.register().await;
    let taken = "52:54:00:00:00:77";
    named(&bed, Some("other~host"), taken).await;
    let nic = NIC {
        mac: Some(taken.into()),
        ..NIC::default()
    };
    let args = RegisterArgs {
        hardware: Some(HardwareDetails {
            nics: vec![nic],
            ..HardwareDetails::default()
        }),
        ..RegisterArgs::default()
    };
    assert_eq!(host.try_register(args).await, None);

    host.host.boot_mac_address = Some(taken.into());
    let registration = host.register_once(&RegisterArgs::default()).await.unwrap();
    let Progress::Failed { message, cause } = registration.outcome.progress else {
        panic!("{registration:?}");
    };
    assert_eq!(cause, FailureCause::MacConflict);
    assert_eq!(
        message,
        format!("MAC address {taken} conflicts with existing node other~host")
    );
}

#[tokio::test]
async fn a_lookup_that_fails_makes_no_second_node() {
    let bed = Bed::sim().await;
    let adapter = Adapter::new(bed.settings());
    let mut host = Host::new(&bed, &adapter, Machine(1));
    named(&bed, Some("other~host"), &host.machine.mac()).await;
    let fault = Trouble::Http {
        status: 500,
        request: "GET ports".into(),
    };
    bed.as_sim().set_fault("ports", Fault::new(fault, "*"));
    let error = host.register_once(&RegisterArgs::default()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Transient, "{error}");
    assert_eq!(bed.as_sim().nodes(), 1);
}

#[tokio::test]
async fn a_driver_that_ironic_does_not_have_is_told_on_the_host() {
    let bed = Bed::sim().await;
    let adapter = Adapter::new(bed.settings());
    let mut host = Host::new(&bed, &adapter, Machine(1));
    let refused = Trouble::Http {
        status: 400,
        request: "POST nodes".into(),
    };
    bed.as_sim()
        .set_fault("driver", Fault::new(refused, "*").times(1));
    let failure = host.try_register(RegisterArgs::default()).await.unwrap();
    assert!(
        failure.starts_with("failed to register host in ironic: "),
        "{failure}"
    );
}

#[tokio::test]
async fn an_unchanged_registration_costs_no_request() {
    let bed = Bed::sim().await;
    let adapter = Adapter::new(bed.settings());
    let mut host = Host::new(&bed, &adapter, Machine(1));
    host.register().await;
    // The mirror reads once more after the last write.
    until("a pass without a request", LONG, async || {
        let before = written_or_read_alone(&bed);
        host.register_once(&RegisterArgs::default())
            .await
            .map_err(|error| error.to_string())?;
        let after = written_or_read_alone(&bed);
        if before == after {
            Ok(())
        } else {
            Err(format!("{before} -> {after}"))
        }
    })
    .await;
    let before = written_or_read_alone(&bed);
    for _ in 0..100 {
        let registration = host.register_once(&RegisterArgs::default()).await.unwrap();
        assert_eq!(registration.outcome.progress, Progress::Done);
        host.ironic.hardware(&host.host).await.unwrap();
    }
    assert_eq!(written_or_read_alone(&bed), before);
}

/// All requests except the mirror's.
fn written_or_read_alone(bed: &Bed) -> u64 {
    bed.as_sim()
        .stats()
        .into_iter()
        .filter(|requests| requests.route != "nodes")
        .map(|requests| requests.count)
        .sum()
}

#[tokio::test]
async fn an_ironic_of_before_disable_power_off_is_used_without_it() {
    let bed = Bed::sim_with(Config {
        max_minor: 94,
        ..Config::default()
    })
    .await;
    let adapter = Adapter::new(bed.settings());
    let mut host = Host::new(&bed, &adapter, Machine(1));
    host.register().await;
    let args = RegisterArgs {
        disable_power_off: true,
        ..RegisterArgs::default()
    };
    let failure = host.try_register(args).await.unwrap();
    assert!(failure.contains("DisablePowerOff"), "{failure}");
}

#[tokio::test]
async fn an_ironic_that_is_too_old_is_not_ready() {
    let bed = Bed::sim_with(Config {
        max_minor: 80,
        ..Config::default()
    })
    .await;
    let (ironic, _changes) = IronicProvisioner::new(bed.settings()).unwrap();
    let error = ironic.client().ready().await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotReady);
    assert!(error.to_string().contains("1.80"), "{error}");
    assert!(error.to_string().contains("1.89"), "{error}");
}

#[tokio::test]
async fn an_ironic_without_a_conductor_is_not_ready_until_it_has_one() {
    let bed = Bed::sim().await;
    bed.as_sim()
        .set_fault("none", Fault::new(Trouble::NoConductor, "*").times(1));
    let (ironic, _changes) = IronicProvisioner::new(bed.settings()).unwrap();
    let error = ironic.client().ready().await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotReady);
    assert!(error.to_string().contains("conductor"), "{error}");
    until("a conductor", LONG, async || ironic.client().ready().await).await;
}

#[tokio::test]
async fn a_wrong_login_to_ironic_is_a_matter_of_configuration() {
    let bed = Bed::sim_with(Config {
        auth: Some(("admin".into(), "secret".into())),
        ..Config::default()
    })
    .await;
    let settings = |login: Option<(&str, &str)>| Settings {
        access: Access {
            login: login.map(|(user, password)| (user.to_owned(), password.into())),
            ..Access::default()
        },
        ..bed.settings()
    };
    for login in [None, Some(("admin", "wrong"))] {
        let settings = settings(login);
        let (ironic, _changes) = IronicProvisioner::new(settings).unwrap();
        let error = ironic.client().ready().await.unwrap_err();
        assert_eq!(error.kind(), Kind::Config, "{error}");
        assert!(!error.to_string().contains("wrong"), "{error}");
    }
    let (ironic, _changes) = IronicProvisioner::new(settings(Some(("admin", "secret")))).unwrap();
    assert_eq!(ironic.client().ready().await.unwrap(), 110);
}

#[tokio::test]
async fn a_locked_node_is_waited_for() {
    let bed = Bed::sim().await;
    let adapter = Adapter::new(bed.settings());
    let mut host = Host::new(&bed, &adapter, Machine(1));
    host.register().await;
    bed.as_sim()
        .set_fault("locked", "node-locked@test~*".parse().unwrap());
    let locked = |progress: &Progress| {
        matches!(
            progress,
            Progress::Working {
                reason: WaitReason::NodeLocked,
                ..
            }
        )
    };
    let args = crate::host::deployment(bed.image());
    let provision = host.ironic.provision(&host.host, &args).await.unwrap();
    assert!(locked(&provision.progress), "{provision:?}");
    let delete = host.ironic.delete(&host.host).await.unwrap();
    assert!(locked(&delete.progress), "{delete:?}");
    let power = crate::host::power(metal3_provisioner::PowerTarget::On);
    let power = host.ironic.set_power(&host.host, &power).await.unwrap();
    assert!(locked(&power.progress), "{power:?}");
    bed.as_sim().clear_faults();
    assert_eq!(host.provision(&args).await.failure, None);
}

#[tokio::test]
async fn statistics_name_routes_and_not_nodes() {
    let bed = Bed::sim().await;
    let adapter = Adapter::new(bed.settings());
    let mut host = Host::new(&bed, &adapter, Machine(1));
    host.register().await;
    let stats = host.ironic.client().stats().snapshot();
    let created = ("POST".to_owned(), "nodes", StatusCode::CREATED.as_u16());
    assert_eq!(stats[&created].0, 1);
    assert!(stats.keys().all(|(_, route, _)| !route.contains(host.node())));
}
