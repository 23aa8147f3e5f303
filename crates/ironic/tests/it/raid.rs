//! RAID volumes: made, kept, removed, and refused.

use metal3_api::metal3::raid::{HardwareRAIDVolume, RAIDConfig, SoftwareRAIDVolume};
use metal3_ironic_sim::{Fault, Kind as Trouble, Operation};
use metal3_provisioner::{
    OnFailure, Outcome, PrepareArgs, Progress, Provisioner as _, RegisterArgs, WaitReason,
};
use metal3_testkit::wait::{LONG, until};
use reqwest::Method;
use serde_json::{Value, json};

use crate::bed::{Bed, Machine, Scheme};
use crate::host::{Adapter, End, Host, deployment};

fn hardware(volumes: &[&str]) -> RAIDConfig {
    let volumes = volumes.iter().map(|level| HardwareRAIDVolume {
        level: (*level).to_owned(),
        name: Some(format!("level-{level}")),
        size_gibibytes: Some(10),
        number_of_physical_disks: Some(2),
        ..HardwareRAIDVolume::default()
    });
    RAIDConfig {
        hardware_raid_volumes: Some(volumes.collect()),
        software_raid_volumes: None,
    }
}

fn software(volumes: &[&str]) -> RAIDConfig {
    let volumes = volumes.iter().map(|level| SoftwareRAIDVolume {
        level: (*level).to_owned(),
        ..SoftwareRAIDVolume::default()
    });
    RAIDConfig {
        hardware_raid_volumes: None,
        software_raid_volumes: Some(volumes.collect()),
    }
}

/// Prepares as the host's controller does: the settings count as applied once their cleaning began.
async fn prepare(host: &Host, target: &RAIDConfig, actual: Option<&RAIDConfig>) -> End {
    let mut args = PrepareArgs {
        unprepared: true,
        target_raid: Some(target.clone()),
        actual_raid: actual.cloned(),
        ..PrepareArgs::default()
    };
    let failure = until("preparation", LONG, async || {
        let outcome = host
            .ironic
            .prepare(&host.host, &args)
            .await
            .map_err(|error| error.to_string())?;
        if outcome.started {
            args.unprepared = false;
        }
        match outcome.progress {
            Progress::Done => Ok(None),
            Progress::Failed { message, .. } => Ok(Some(message)),
            Progress::Working { reason, .. } => Err(reason.code().to_owned()),
        }
    })
    .await;
    assert!(
        failure.is_some() || !args.unprepared,
        "the settings count as applied"
    );
    End {
        failure,
        notices: vec![],
    }
}

async fn begin(bed: &Bed, adapter: &Adapter, machine: u8, scheme: Scheme) -> Host {
    let mut host = Host::new(bed, adapter, Machine(machine));
    host.remove_leftovers(bed).await;
    host.host.bmc = Some(bed.access_by(host.machine, scheme));
    host.register().await;
    host
}

/// The volumes that Ironic says there are; only a simulation is asked.
async fn levels(bed: &Bed, host: &Host) -> Vec<String> {
    let states = bed
        .direct(
            Method::GET,
            &format!("nodes/{}/states", host.node()),
            &Value::Null,
        )
        .await;
    states["raid_config"]["logical_disks"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|disk| disk["raid_level"].as_str().unwrap().to_owned())
        .collect()
}

async fn volumes_are_made_changed_and_removed(
    bed: &Bed,
    machine: u8,
    scheme: Scheme,
    config: fn(&[&str]) -> RAIDConfig,
    changed: &[&str],
) {
    let adapter = Adapter::new(bed.settings());
    let host = begin(bed, &adapter, machine, scheme).await;
    let mut applied = None;
    for wanted in [&["1"], changed, &[]] {
        let target = config(wanted);
        assert_eq!(
            prepare(&host, &target, applied.as_ref()).await.failure,
            None,
            "{wanted:?}"
        );
        if matches!(bed, Bed::Sim(_)) {
            assert_eq!(levels(bed, &host).await, wanted, "{wanted:?}");
        }
        applied = Some(target);
    }
    assert_eq!(host.delete().await.failure, None);
}

#[tokio::test]
async fn hardware_volumes_are_made_changed_and_removed() {
    volumes_are_made_changed_and_removed(&Bed::sim().await, 13, Scheme::VirtualMedia, hardware, &["0"]).await;
}

#[tokio::test]
async fn software_volumes_are_made_changed_and_removed() {
    volumes_are_made_changed_and_removed(&Bed::sim().await, 13, Scheme::VirtualMedia, software, &["1", "0"])
        .await;
}

#[tokio::test]
async fn software_volumes_need_no_raid_of_the_driver() {
    volumes_are_made_changed_and_removed(&Bed::sim().await, 13, Scheme::Ipmi, software, &["1", "0"]).await;
}

#[tokio::test]
#[ignore = "needs METAL3_TEST_IRONIC_ENV (a real Ironic, hack/testbed/ironic.sh)"]
async fn hardware_volumes_are_made_changed_and_removed_by_a_real_ironic() {
    volumes_are_made_changed_and_removed(&Bed::real(), 13, Scheme::VirtualMedia, hardware, &["0"]).await;
}

#[tokio::test]
#[ignore = "needs METAL3_TEST_IRONIC_ENV (a real Ironic, hack/testbed/ironic.sh)"]
async fn software_volumes_are_made_changed_and_removed_by_a_real_ironic() {
    volumes_are_made_changed_and_removed(&Bed::real(), 14, Scheme::VirtualMedia, software, &["1", "0"]).await;
}

fn waits_for(outcome: &Outcome, wanted: WaitReason) {
    let waits = matches!(outcome.progress, Progress::Working { reason, .. } if reason == wanted);
    assert!(waits, "{outcome:?}");
}

fn unprepared(target: &RAIDConfig) -> PrepareArgs {
    PrepareArgs {
        unprepared: true,
        target_raid: Some(target.clone()),
        ..PrepareArgs::default()
    }
}

#[tokio::test]
async fn a_node_that_was_cleaned_already_is_prepared_from_the_start() {
    let bed = Bed::sim().await;
    let adapter = Adapter::new(bed.settings());
    let host = begin(&bed, &adapter, 13, Scheme::VirtualMedia).await;
    assert_eq!(host.provision(&deployment(bed.image())).await.failure, None);
    let deprovision = metal3_provisioner::DeprovisionArgs::default();
    assert_eq!(host.deprovision(&deprovision).await.failure, None);
    let target = hardware(&["1"]);
    let outcome = host
        .ironic
        .prepare(&host.host, &unprepared(&target))
        .await
        .unwrap();
    waits_for(&outcome, WaitReason::BackendTransition);
    assert!(!outcome.started, "nothing is applied yet");
    assert_eq!(prepare(&host, &target, None).await.failure, None);
    assert_eq!(levels(&bed, &host).await, ["1"]);
}

#[tokio::test]
async fn settings_without_work_count_as_applied_at_once() {
    let bed = Bed::sim().await;
    let adapter = Adapter::new(bed.settings());
    let host = begin(&bed, &adapter, 13, Scheme::VirtualMedia).await;
    let args = PrepareArgs {
        unprepared: true,
        ..PrepareArgs::default()
    };
    let outcome = host.ironic.prepare(&host.host, &args).await.unwrap();
    assert_eq!((outcome.progress, outcome.started), (Progress::Done, true));
}

#[tokio::test]
async fn a_failed_step_is_told_and_everything_is_done_anew_on_retry() {
    let bed = Bed::sim().await;
    let adapter = Adapter::new(bed.settings());
    let host = begin(&bed, &adapter, 13, Scheme::VirtualMedia).await;
    let fault = Trouble::Fail {
        operation: Operation::Clean,
        message: Some("disk is on fire".into()),
    };
    bed.as_sim().set_fault("fire", Fault::new(fault, "*").times(1));
    let target = hardware(&["1"]);
    let failure = prepare(&host, &target, None).await.failure.unwrap();
    assert!(failure.contains("disk is on fire"), "{failure}");
    let retry = PrepareArgs {
        on_failure: OnFailure::Restart,
        ..unprepared(&target)
    };
    until("the node to be ready for another cleaning", LONG, async || {
        let outcome = host.ironic.prepare(&host.host, &retry).await;
        match outcome {
            Ok(outcome) if outcome.started => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert_eq!(prepare(&host, &target, Some(&target)).await.failure, None);
    assert_eq!(levels(&bed, &host).await, ["1"]);
}

#[tokio::test]
async fn what_ironic_says_of_the_settings_reaches_the_host() {
    let bed = Bed::sim().await;
    let adapter = Adapter::new(bed.settings());
    let host = begin(&bed, &adapter, 13, Scheme::VirtualMedia).await;
    let target = hardware(&["1"]);
    let answer = |status| {
        let fault = Trouble::Http {
            status,
            request: "PUT nodes/{id}/states/raid".into(),
        };
        bed.as_sim().set_fault("raid", Fault::new(fault, "*").times(1));
    };
    answer(409);
    let outcome = host
        .ironic
        .prepare(&host.host, &unprepared(&target))
        .await
        .unwrap();
    waits_for(&outcome, WaitReason::NodeLocked);
    answer(400);
    let failure = prepare(&host, &target, None).await.failure.unwrap();
    assert!(
        failure.starts_with("Ironic refuses the RAID settings"),
        "{failure}"
    );
}

#[tokio::test]
async fn volumes_that_a_driver_cannot_make_are_told_without_a_request() {
    let bed = Bed::sim().await;
    let adapter = Adapter::new(bed.settings());
    let mut host = Host::new(&bed, &adapter, Machine(13));
    host.host.bmc = Some(bed.access_by(host.machine, Scheme::Ipmi));
    assert_eq!(host.try_register(RegisterArgs::default()).await, None);
    let failure = prepare(&host, &hardware(&["1"]), None).await.failure.unwrap();
    assert_eq!(
        failure,
        "RAID settings are defined, but the node's driver no-raid does not support RAID"
    );
    let node = bed
        .direct(Method::GET, &format!("nodes/{}", host.node()), &Value::Null)
        .await;
    assert_eq!(
        (&node["raid_interface"], &node["target_raid_config"]),
        (&json!("no-raid"), &json!({}))
    );
}
