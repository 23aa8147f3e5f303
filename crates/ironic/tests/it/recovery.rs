//! Ironic loses things; the adapter finds a way on.

use std::time::Duration;

use metal3_api::metal3::hardware_data::{HardwareDetails, NIC};
use metal3_ironic_sim::Operation;
use metal3_provisioner::{
    DeprovisionArgs, Force, InspectArgs, Kind, OnFailure, PowerTarget, Provisioner as _, RegisterArgs,
};
use metal3_testkit::wait::{LONG, until};
use reqwest::Method;
use serde_json::json;

use crate::bed::{Bed, Machine, Trouble};
use crate::host::{Adapter, Host, deployment};

#[tokio::test]
async fn a_deployed_host_survives_the_loss_of_the_database() {
    let bed = Bed::sim().await;
    let adapter = Adapter::new(bed.settings());
    let mut host = Host::new(&bed, &adapter, Machine(1));
    host.register().await;
    assert_eq!(host.provision(&deployment(bed.image())).await.failure, None);
    let before = host.id();
    let boots = bed.as_sim().machine(host.node()).unwrap().boots;
    bed.as_sim().wipe();

    let error = until("the loss to be noticed", LONG, async || {
        host.ironic.hardware(&host.host).await.err()
    })
    .await;
    assert_eq!(error.kind(), Kind::NotRegistered);

    let second = "02:00:00:00:00:22";
    let hardware = HardwareDetails {
        nics: [host.machine.mac().as_str(), second]
            .map(|mac| NIC {
                mac: Some(mac.to_owned()),
                ..NIC::default()
            })
            .to_vec(),
        ..HardwareDetails::default()
    };
    let args = RegisterArgs {
        hardware: Some(hardware),
        current_image: Some(bed.image()),
        ..RegisterArgs::default()
    };
    assert_eq!(host.try_register(args).await, None);
    assert_ne!(host.id(), before, "it is a new node");
    assert_eq!(host.adopt().await.failure, None);
    let machine = bed.as_sim().machine(host.node()).unwrap();
    assert_eq!(machine.provision_state, Some("active"));
    assert_eq!(machine.power_state, "power on");
    assert_eq!(machine.image, Some(bed.image().url), "the disk was not touched");
    assert_eq!(machine.boots, boots, "it runs on");
    assert_eq!(machine.mac_addresses, [host.machine.mac(), second.to_owned()]);

    assert_eq!(host.deprovision(&DeprovisionArgs::default()).await.failure, None);
}

#[tokio::test]
async fn a_restart_during_cleaning_is_told_and_retried() {
    let bed = Bed::sim().await;
    let adapter = Adapter::new(bed.settings());
    let mut host = Host::new(&bed, &adapter, Machine(1));
    host.register().await;
    bed.as_sim().set_fault("slow", "bmc-slow:3600s".parse().unwrap());
    let args = DeprovisionArgs::default();
    until("cleaning", LONG, async || {
        let outcome = host.ironic.deprovision(&host.host, &args).await;
        outcome.map_err(|error| error.to_string())?;
        let state = bed.as_sim().machine(host.node()).unwrap().provision_state;
        if state == Some("cleaning") {
            Ok(())
        } else {
            Err(format!("{state:?}"))
        }
    })
    .await;
    bed.as_sim().clear_faults();
    bed.as_sim().restart(Duration::ZERO);
    let failure = host.deprovision(&args).await.failure.unwrap();
    assert!(failure.contains("take over"), "{failure}");
    let args = DeprovisionArgs {
        on_failure: OnFailure::Restart,
        ..args
    };
    assert_eq!(host.deprovision(&args).await.failure, None);
}

#[tokio::test]
async fn lost_power_control_is_a_fault_and_not_a_power_state() {
    let bed = Bed::sim().await;
    let mut adapter = Adapter::new(bed.settings());
    let mut host = Host::new(&bed, &adapter, Machine(1));
    host.register().await;
    assert_eq!(host.power(PowerTarget::On).await.failure, None);
    bed.as_sim().set_fault("lost", "power-lost".parse().unwrap());
    let hardware = until("the fault", LONG, async || {
        let hardware = host.ironic.hardware(&host.host).await.unwrap();
        if hardware.power_fault {
            Ok(hardware)
        } else {
            Err(format!("{hardware:?}"))
        }
    })
    .await;
    assert_eq!(hardware.powered_on, None);
    bed.as_sim().clear_faults();
    until("power control", LONG, async || {
        (host.is_on().await == Some(true)).then_some(())
    })
    .await;
    adapter.changes.close();
}

#[tokio::test]
async fn a_failed_inspection_is_told_and_retried() {
    let bed = Bed::sim().await;
    let adapter = Adapter::new(bed.settings());
    let mut host = Host::new(&bed, &adapter, Machine(1));
    host.register().await;
    bed.as_sim().set_fault("mac", "wrong-mac".parse().unwrap());
    let failure = host.inspect(InspectArgs::default()).await.unwrap_err();
    assert!(failure.contains("Timeout reached"), "{failure}");
    bed.as_sim().clear_faults();
    let args = InspectArgs {
        on_failure: OnFailure::Restart,
        ..InspectArgs::default()
    };
    assert!(host.inspect(args).await.is_ok());
}

#[tokio::test]
async fn a_failed_power_change_is_told_once_and_then_retried() {
    let bed = Bed::sim().await;
    let adapter = Adapter::new(bed.settings());
    let mut host = Host::new(&bed, &adapter, Machine(1));
    host.register().await;
    bed.as_sim().set_fault("power", "fail:power".parse().unwrap());
    let failure = host.power(PowerTarget::On).await.failure.unwrap();
    assert!(
        failure.starts_with("PowerOn operation failed: Failed to change power state"),
        "{failure}"
    );
    bed.as_sim().clear_faults();
    let args = metal3_provisioner::PowerArgs {
        on_failure: OnFailure::Restart,
        ..crate::host::power(PowerTarget::On)
    };
    let end = host
        .end("another attempt", async || {
            host.ironic.set_power(&host.host, &args).await
        })
        .await;
    assert_eq!(end.failure, None);
}

#[tokio::test]
async fn what_an_unavailable_ironic_answers_is_not_the_hosts_fault() {
    let bed = Bed::sim().await;
    let adapter = Adapter::new(bed.settings());
    let mut host = Host::new(&bed, &adapter, Machine(1));
    host.register().await;
    bed.as_sim().set_fault("down", "api-unavailable".parse().unwrap());
    let args = deployment(bed.image());
    let error = host.ironic.provision(&host.host, &args).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotReady, "{error}");
    bed.as_sim().clear_faults();
    assert_eq!(host.provision(&args).await.failure, None);
}

#[tokio::test]
async fn deleting_waits_for_a_ramdisk_and_detaching_by_force_does_not() {
    let bed = Bed::sim().await;
    let adapter = Adapter::new(bed.settings());
    let mut host = Host::new(&bed, &adapter, Machine(1));
    host.register().await;
    let hang = metal3_ironic_sim::Kind::Hang {
        operation: Operation::Inspect,
    };
    bed.as_sim()
        .set_fault("hang", metal3_ironic_sim::Fault::new(hang, "*"));
    until("a ramdisk that is waited for", LONG, async || {
        let inspection = host.ironic.inspect(&host.host, &InspectArgs::default()).await;
        inspection.map_err(|error| error.to_string())?;
        let state = bed.as_sim().machine(host.node()).unwrap().provision_state;
        if state == Some("inspect wait") {
            Ok(())
        } else {
            Err(format!("{state:?}"))
        }
    })
    .await;
    host.ironic.delete(&host.host).await.unwrap();
    assert_eq!(bed.as_sim().nodes(), 1);
    host.remove_leftovers(&bed).await;
    assert_eq!(bed.as_sim().nodes(), 0);
}

#[tokio::test]
async fn a_forced_reboot_starts_the_inspection_again() {
    let bed = Bed::sim().await;
    let adapter = Adapter::new(bed.settings());
    let mut host = Host::new(&bed, &adapter, Machine(1));
    host.register().await;
    bed.trouble(host.machine, Some(Trouble::SilentRamdisk)).await;
    let force = InspectArgs {
        force_reboot: Force::Yes,
        ..InspectArgs::default()
    };
    // The first call starts it, another one ends it.
    until("the end of the first inspection", LONG, async || {
        let inspection = host.ironic.inspect(&host.host, &force).await;
        inspection.map_err(|error| error.to_string())?;
        let state = bed.as_sim().machine(host.node()).unwrap().provision_state;
        if state == Some("inspect failed") {
            Ok(())
        } else {
            Err(format!("{state:?}"))
        }
    })
    .await;
    bed.trouble(host.machine, None).await;
    let hardware = host.inspect(InspectArgs::default()).await;
    assert!(hardware.is_ok(), "to be aborted is no failure: {hardware:?}");
}

#[tokio::test]
async fn a_node_with_an_instance_that_was_never_deployed_is_removed() {
    let bed = Bed::sim().await;
    let adapter = Adapter::new(bed.settings());
    let mut host = Host::new(&bed, &adapter, Machine(1));
    host.register().await;
    // As a crash between the settings and the verb of a deployment leaves it.
    let patch = json!([{"op": "add", "path": "/instance_uuid", "value": host.host.uid}]);
    let path = format!("nodes/{}", host.node());
    bed.direct(Method::PATCH, &path, &patch).await;
    assert_eq!(host.delete().await.failure, None);
    assert_eq!(bed.as_sim().nodes(), 0);
}

#[tokio::test]
async fn forgotten_maintenance_is_ended_before_work_begins() {
    let bed = Bed::sim().await;
    let adapter = Adapter::new(bed.settings());
    let mut host = Host::new(&bed, &adapter, Machine(1));
    host.register().await;
    let path = format!("nodes/{}/maintenance", host.node());
    bed.direct(Method::PUT, &path, &json!({"reason": "forgotten"}))
        .await;
    assert_eq!(host.provision(&deployment(bed.image())).await.failure, None);
}

#[tokio::test]
async fn a_verb_to_a_node_that_is_gone_says_so() {
    let bed = Bed::sim().await;
    let adapter = Adapter::new(bed.settings());
    let mut host = Host::new(&bed, &adapter, Machine(1));
    host.register().await;
    bed.as_sim().wipe();
    let args = DeprovisionArgs::default();
    let error = host.ironic.deprovision(&host.host, &args).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotRegistered, "{error}");
}
