//! States in which others left a node: each operation finds a way out, or tells that there is none.

use metal3_ironic_sim::meddling::Change;
use metal3_ironic_sim::{Fault, Kind as Trouble, Operation};
use metal3_provisioner::{
    DeprovisionArgs, DetachArgs, Force, InspectArgs, OnFailure, PowerArgs, PowerTarget, Progress,
    Provisioner as _, ServiceArgs,
};
use metal3_testkit::wait::{LONG, until};

use crate::bed::{Bed, Machine};
use crate::host::{Adapter, Host, deployment, power};

async fn registered(bed: &Bed, adapter: &Adapter, machine: u8) -> Host {
    let mut host = Host::new(bed, adapter, Machine(machine));
    host.register().await;
    host
}

/// Puts the node into a state, as Ironic after something failed.
async fn put(bed: &Bed, host: &Host, change: Change) {
    bed.as_sim().meddle(host.node(), &change).unwrap();
    // The adapter has to see it.
    let wanted = change.provision_state.unwrap();
    until(
        &format!("the state {wanted} to be known"),
        LONG,
        async || match host.ironic.nodes().node(host.node()) {
            Some(node) if node.provision_state == wanted => Ok(()),
            other => Err(format!("{other:?}")),
        },
    )
    .await;
}

fn state(name: &str) -> Change {
    Change {
        provision_state: Some(name.into()),
        last_error: Some("it broke".into()),
        ..Change::default()
    }
}

#[tokio::test]
async fn a_host_is_deprovisioned_from_whatever_state_its_node_is_in() {
    let bed = Bed::sim().await;
    let adapter = Adapter::new(bed.settings());
    let host = registered(&bed, &adapter, 1).await;
    let args = DeprovisionArgs {
        on_failure: OnFailure::Restart,
        ..DeprovisionArgs::default()
    };
    for name in [
        "manageable",
        "inspect wait",
        "inspect failed",
        "clean failed",
        "wait call-back",
        "deploy failed",
        "active",
        "error",
        "adopt failed",
        "service wait",
        "service failed",
    ] {
        put(&bed, &host, state(name)).await;
        let end = host.deprovision(&args).await;
        assert_eq!(end.failure, None, "{name}");
        assert_eq!(end.notices.last(), Some(&"DeprovisioningComplete"), "{name}");
    }
    // Servicing failed in the middle of a step: Ironic put the node into maintenance.
    let change = Change {
        maintenance: Some(true),
        fault: Some("service failure".into()),
        ..state("service failed")
    };
    put(&bed, &host, change).await;
    assert_eq!(host.deprovision(&args).await.failure, None);
}

#[tokio::test]
async fn a_failed_service_is_told_and_then_ended_although_the_node_is_in_maintenance() {
    let bed = Bed::sim().await;
    let adapter = Adapter::new(bed.settings());
    let host = registered(&bed, &adapter, 1).await;
    let change = Change {
        maintenance: Some(true),
        fault: Some("service failure".into()),
        ..state("service failed")
    };
    put(&bed, &host, change).await;
    let end = |args: ServiceArgs| {
        let host = &host;
        async move {
            host.end("service", async || host.ironic.service(&host.host, &args).await)
                .await
        }
    };
    assert_eq!(end(ServiceArgs::default()).await.failure.unwrap(), "it broke");
    let restart = ServiceArgs {
        on_failure: OnFailure::Restart,
    };
    assert_eq!(end(restart).await.failure, None);
}

#[tokio::test]
async fn provisioning_finds_a_way_or_tells_that_there_is_none() {
    let bed = Bed::sim().await;
    let adapter = Adapter::new(bed.settings());
    let host = registered(&bed, &adapter, 1).await;
    let args = deployment(bed.image());
    for name in ["inspect failed", "inspect wait", "adopt failed"] {
        put(&bed, &host, state(name)).await;
        assert_eq!(host.provision(&args).await.failure, None, "{name}");
    }
    for name in ["error", "service failed", "clean failed"] {
        put(&bed, &host, state(name)).await;
        let failure = host.provision(&args).await.failure.unwrap();
        assert!(failure.ends_with(": it broke"), "{name}: {failure}");
    }
}

#[tokio::test]
async fn another_way_of_deployment_replaces_a_failed_one() {
    let bed = Bed::sim().await;
    let adapter = Adapter::new(bed.settings());
    let host = registered(&bed, &adapter, 1).await;
    let failure = host.provision(&deployment(bed.broken_image())).await.failure;
    assert!(failure.is_some());
    // The interface of a live ISO cannot be set where the node is.
    let end = host.provision(&deployment(bed.live_iso())).await;
    assert_eq!(end.failure, None);
}

#[tokio::test]
async fn the_data_of_an_inspection_before_one_that_failed_are_not_taken_for_its_result() {
    let bed = Bed::sim().await;
    let adapter = Adapter::new(bed.settings());
    let host = registered(&bed, &adapter, 1).await;
    host.inspect(InspectArgs::default()).await.unwrap();
    let fail = Trouble::Fail {
        operation: Operation::Inspect,
        message: None,
    };
    bed.as_sim().set_fault("no", Fault::new(fail, "*").times(1));
    let refresh = InspectArgs {
        refresh: true,
        ..InspectArgs::default()
    };
    let started = |what: &'static str, args: InspectArgs| {
        let host = &host;
        async move {
            until(what, LONG, async || {
                let inspection = host.ironic.inspect(&host.host, &args).await.unwrap();
                match inspection.outcome.started {
                    true => Ok(()),
                    false => Err(format!("{inspection:?}")),
                }
            })
            .await;
        }
    };
    started("another inspection", refresh).await;
    // It failed, and somebody else made the node manageable again.
    until("the end of the inspection", LONG, async || {
        match host.ironic.nodes().node(host.node()) {
            Some(node) if node.provision_state == "inspect failed" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let off = power(PowerTarget::HardOff);
    until("the node to be manageable", LONG, async || {
        host.ironic.set_power(&host.host, &off).await.unwrap();
        match host.ironic.nodes().node(host.node()) {
            Some(node) if node.provision_state == "manageable" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    started("a third inspection", InspectArgs::default()).await;
}

#[tokio::test]
async fn a_power_failure_is_told_each_time_although_its_words_are_the_same() {
    let bed = Bed::sim().await;
    let adapter = Adapter::new(bed.settings());
    let host = registered(&bed, &adapter, 1).await;
    // Ironic keeps the error of a failed state.
    put(&bed, &host, state("deploy failed")).await;
    bed.as_sim().set_fault("bmc", "bmc-error@test~*".parse().unwrap());
    let first = host.power(PowerTarget::On).await.failure.unwrap();
    let retry = PowerArgs {
        on_failure: OnFailure::Restart,
        ..power(PowerTarget::On)
    };
    let outcome = host.ironic.set_power(&host.host, &retry).await.unwrap();
    assert!(outcome.started, "{outcome:?}");
    assert_eq!(host.power(PowerTarget::On).await.failure, Some(first));
}

#[tokio::test]
async fn an_error_of_other_work_does_not_keep_a_host_off() {
    let bed = Bed::sim().await;
    let adapter = Adapter::new(bed.settings());
    let host = registered(&bed, &adapter, 1).await;
    put(&bed, &host, state("manageable")).await;
    assert_eq!(host.power(PowerTarget::On).await.failure, None);
    assert_eq!(host.power(PowerTarget::SoftOff).await.failure, None);
}

#[tokio::test]
async fn a_host_without_power_control_can_be_deleted_while_its_ramdisk_is_waited_for() {
    let bed = Bed::sim().await;
    let adapter = Adapter::new(bed.settings());
    for (machine, name) in [
        (1, "inspect wait"),
        (2, "clean wait"),
        (3, "wait call-back"),
        (4, "service wait"),
    ] {
        let host = registered(&bed, &adapter, machine).await;
        let change = Change {
            maintenance: Some(true),
            fault: Some("power failure".into()),
            ..state(name)
        };
        put(&bed, &host, change).await;
        assert_eq!(host.delete().await.failure, None, "{name}");
    }
}

#[tokio::test]
async fn detaching_with_force_aborts_what_waits_and_without_it_waits() {
    let bed = Bed::sim().await;
    let adapter = Adapter::new(bed.settings());
    for (machine, name) in [
        (1, "inspect wait"),
        (2, "clean wait"),
        (3, "wait call-back"),
        (4, "service wait"),
    ] {
        let host = registered(&bed, &adapter, machine).await;
        put(&bed, &host, state(name)).await;
        let waiting = host
            .ironic
            .detach(&host.host, &DetachArgs::default())
            .await
            .unwrap();
        assert!(
            matches!(waiting.progress, Progress::Working { .. }) && !waiting.started,
            "{name}: {waiting:?}"
        );
        let args = DetachArgs { force: Force::Yes };
        let end = host
            .end("detachment", async || host.ironic.detach(&host.host, &args).await)
            .await;
        assert_eq!(end.failure, None, "{name}");
    }
}
