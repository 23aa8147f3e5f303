//! What holds for every Ironic.

mod drift;
mod on_real;
mod on_sim;
mod probes;
mod traces;

use metal3_api::metal3::host::ProvisioningState;
use metal3_provisioner::{
    AdoptArgs, CleaningMode, Credentials, DeployImage, DeprovisionArgs, DetachArgs, Force, InspectArgs, Kind,
    OnFailure, PowerTarget, Progress, ProvisionArgs, Provisioner as _, RegisterArgs,
};
use metal3_testkit::wait::{LONG, until};

use crate::bed::{Bed, Machine, Scheme, Trouble};
use crate::host::{Adapter, Host, deployment, power};

async fn begin(bed: &Bed, machine: u8) -> (Adapter, Host) {
    let adapter = Adapter::new(bed.settings());
    let host = Host::new(bed, &adapter, Machine(machine));
    host.remove_leftovers(bed).await;
    (adapter, host)
}

/// From nothing to a deployed host and back, each step twice.
async fn a_host_is_deployed_and_removed(bed: &Bed) {
    let (_adapter, mut host) = begin(bed, 1).await;
    host.register().await;
    let id = host.id();
    host.register().await;
    assert_eq!(host.id(), id, "a repeated registration finds the same node");
    // A crash before the identifier was recorded.
    host.host.node = None;
    host.register().await;
    assert_eq!(host.id(), id);

    for repetition in ["first", "second"] {
        let hardware = host.inspect(InspectArgs::default()).await.unwrap();
        assert!(hardware.cpu.unwrap().count.unwrap() > 0, "{repetition}");
        assert!(!hardware.storage.is_empty());
        let boot = hardware
            .nics
            .iter()
            .find(|nic| nic.mac.as_deref() == Some(&host.machine.mac()));
        assert_eq!(boot.unwrap().pxe, Some(true));
    }
    assert_eq!(host.prepare().await.failure, None);

    let args = deployment(bed.image());
    let end = host.provision(&args).await;
    assert_eq!(end.failure, None);
    assert_eq!(end.notices, ["ProvisioningStarted", "ProvisioningComplete"]);
    assert_eq!(host.is_on().await, Some(true));
    assert_eq!(host.provision(&args).await.failure, None);
    assert_eq!(
        bed.image_on(host.machine, host.node()).await,
        Some(bed.image().url)
    );
    for text in [
        "hostname: of-the-user",
        "turquoise",
        "conformance-1",
        &host.host.uid,
    ] {
        assert!(
            bed.config_drive_has(host.machine, host.node(), text).await,
            "{text} is not in the config drive"
        );
    }

    let args = DeprovisionArgs::default();
    let end = host.deprovision(&args).await;
    assert_eq!(end.failure, None);
    assert_eq!(end.notices, ["DeprovisioningStarted", "DeprovisioningComplete"]);
    assert_eq!(host.deprovision(&args).await.failure, None);
    assert_eq!(
        bed.image_on(host.machine, host.node()).await,
        None,
        "cleaning leaves no image"
    );

    assert_eq!(host.delete().await.failure, None);
    assert_eq!(host.delete().await.failure, None);
    let gone = host.ironic.hardware(&host.host).await.unwrap_err();
    assert_eq!(gone.kind(), Kind::NotRegistered);
}

/// The way of hosts without virtual media: the ramdisk comes from the network, with Redfish or IPMI for power.
async fn a_host_is_deployed_by_network_boot(bed: &Bed, machine: u8, scheme: Scheme) {
    let (_adapter, mut host) = begin(bed, machine).await;
    host.host.bmc = Some(bed.access_by(host.machine, scheme));
    host.register().await;
    let hardware = host.inspect(InspectArgs::default()).await.unwrap();
    assert!(!hardware.nics.is_empty(), "{scheme:?}");
    assert_eq!(host.prepare().await.failure, None);
    assert_eq!(host.provision(&deployment(bed.image())).await.failure, None);
    assert_eq!(host.is_on().await, Some(true));
    assert_eq!(
        bed.image_on(host.machine, host.node()).await,
        Some(bed.image().url)
    );
    assert_eq!(host.deprovision(&DeprovisionArgs::default()).await.failure, None);
    assert_eq!(host.delete().await.failure, None);
}

/// Wrong credentials are told, right ones heal.
async fn wrong_credentials_are_told_and_right_ones_heal(bed: &Bed) {
    let (_adapter, mut host) = begin(bed, 2).await;
    let right = bed.access(host.machine).credentials;
    if let Some(bmc) = &mut host.host.bmc {
        bmc.credentials = Credentials {
            username: right.username.clone(),
            password: "wrong".to_owned().into(),
        };
    }
    let failure = host.try_register(RegisterArgs::default()).await.unwrap();
    assert!(failure.contains("401"), "{failure}");
    assert!(!failure.contains("wrong"), "the password is shown: {failure}");
    assert!(
        host.id().is_some(),
        "the node is known although it cannot be reached"
    );
    // The failure is told until something changes.
    assert_eq!(host.try_register(RegisterArgs::default()).await, Some(failure));

    if let Some(bmc) = &mut host.host.bmc {
        bmc.credentials = right;
    }
    let changed = RegisterArgs {
        credentials_changed: true,
        ..RegisterArgs::default()
    };
    assert_eq!(host.try_register(changed).await, None);
    assert_eq!(host.delete().await.failure, None);
}

/// On, soft off, on, hard off; each twice.
async fn power_follows(bed: &Bed) {
    let (_adapter, mut host) = begin(bed, 3).await;
    host.register().await;
    assert_eq!(host.is_on().await, Some(false));
    for (target, on, event) in [
        (PowerTarget::On, true, "PowerOn"),
        (PowerTarget::SoftOff, false, "PowerOff"),
        (PowerTarget::On, true, "PowerOn"),
        (PowerTarget::HardOff, false, "PowerOff"),
    ] {
        let end = host.power(target).await;
        assert_eq!((end.failure, end.notices), (None, vec![event]), "{target:?}");
        assert_eq!(host.is_on().await, Some(on), "{target:?}");
        let end = host.power(target).await;
        assert_eq!((end.failure, end.notices), (None, vec![]), "{target:?} again");
    }
    assert_eq!(host.delete().await.failure, None);
}

/// A host that must never be off is restarted instead.
async fn a_host_that_must_stay_on_is_restarted(bed: &Bed) {
    let (_adapter, mut host) = begin(bed, 4).await;
    let args = RegisterArgs {
        disable_power_off: true,
        ..RegisterArgs::default()
    };
    assert_eq!(host.try_register(args).await, None);
    assert_eq!(host.power(PowerTarget::On).await.failure, None);
    let args = power(PowerTarget::HardOff);
    let started = until("a reboot", LONG, async || {
        let outcome = host.ironic.set_power(&host.host, &args).await;
        let outcome = outcome.map_err(|error| error.to_string())?;
        if outcome.started {
            Ok(outcome)
        } else {
            Err(format!("{:?}", outcome.progress))
        }
    })
    .await;
    assert_eq!(started.notices[0].reason, "Rebooted");
    assert_eq!(host.power(PowerTarget::On).await.failure, None);
    assert_eq!(host.is_on().await, Some(true));
    assert_eq!(host.delete().await.failure, None);
}

/// Powering off in the middle of an inspection ends it; the host is none the worse.
async fn an_inspection_that_hangs_is_ended_by_power_off(bed: &Bed) {
    let (_adapter, mut host) = begin(bed, 5).await;
    host.register().await;
    bed.trouble(host.machine, Some(Trouble::SilentRamdisk)).await;
    until("a ramdisk that is waited for", LONG, async || {
        let inspection = host.ironic.inspect(&host.host, &InspectArgs::default()).await;
        inspection.map_err(|error| error.to_string())?;
        if host.is_on().await == Some(true) {
            Ok(())
        } else {
            Err("off".to_owned())
        }
    })
    .await;
    assert_eq!(host.power(PowerTarget::HardOff).await.failure, None);
    assert_eq!(host.is_on().await, Some(false));
    // The node keeps the error of the aborted inspection, which is none of power's.
    for target in [PowerTarget::On, PowerTarget::HardOff] {
        assert_eq!(host.power(target).await.failure, None, "{target:?}");
    }

    bed.trouble(host.machine, None).await;
    let hardware = host.inspect(InspectArgs::default()).await;
    assert!(
        hardware.is_ok(),
        "an aborted inspection starts again: {hardware:?}"
    );
    assert_eq!(host.delete().await.failure, None);
}

/// A failed cleaning is told, and retried when asked for. Its old error does not disturb power.
async fn a_failed_cleaning_is_told_and_retried(bed: &Bed) {
    let (_adapter, mut host) = begin(bed, 6).await;
    host.register().await;
    bed.trouble(host.machine, Some(Trouble::Clean)).await;
    let report = DeprovisionArgs::default();
    let failure = host.deprovision(&report).await.failure.unwrap();
    assert!(failure.contains("disk is on fire"), "{failure}");
    assert_eq!(host.deprovision(&report).await.failure, Some(failure));

    bed.trouble(host.machine, None).await;
    let restart = DeprovisionArgs {
        on_failure: OnFailure::Restart,
        ..report
    };
    assert_eq!(host.deprovision(&restart).await.failure, None);
    assert_eq!(host.power(PowerTarget::On).await.failure, None);
    assert_eq!(host.delete().await.failure, None);
}

/// A failed deployment is told even when Ironic does not know why, and undone.
async fn a_failed_deployment_is_told_and_undone(bed: &Bed) {
    let (_adapter, mut host) = begin(bed, 7).await;
    let args = RegisterArgs {
        cleaning: CleaningMode::Disabled,
        ..RegisterArgs::default()
    };
    assert_eq!(host.try_register(args).await, None);
    let args = deployment(bed.broken_image());
    let failure = host.provision(&args).await.failure.unwrap();
    assert!(
        failure.starts_with("Image provisioning failed (url: "),
        "{failure}"
    );
    assert_eq!(host.provision(&args).await.failure, Some(failure));
    // Another image is tried at once.
    let args = deployment(bed.image());
    assert_eq!(host.provision(&args).await.failure, None);
    let args = DeprovisionArgs {
        cleaning: CleaningMode::Disabled,
        ..DeprovisionArgs::default()
    };
    assert_eq!(host.deprovision(&args).await.failure, None);
    assert_eq!(host.delete().await.failure, None);
}

/// The ways of deployment follow each other on one host.
async fn live_iso_custom_step_and_disk_image_follow_each_other(bed: &Bed) {
    let (_adapter, mut host) = begin(bed, 8).await;
    let uncleaned = RegisterArgs {
        cleaning: CleaningMode::Disabled,
        ..RegisterArgs::default()
    };
    assert_eq!(host.try_register(uncleaned).await, None);
    let custom = ProvisionArgs {
        deploy: DeployImage {
            image: None,
            custom_deploy_method: Some(Bed::custom_step().to_owned()),
        },
        ..deployment(bed.image())
    };
    for args in [deployment(bed.live_iso()), custom, deployment(bed.image())] {
        let what = format!("{:?}", args.deploy);
        assert_eq!(host.provision(&args).await.failure, None, "{what}");
        assert_eq!(host.is_on().await, Some(true), "{what}");
        let args = DeprovisionArgs {
            cleaning: CleaningMode::Disabled,
            ..DeprovisionArgs::default()
        };
        assert_eq!(host.deprovision(&args).await.failure, None, "{what}");
    }
    assert_eq!(host.delete().await.failure, None);
}

/// A host that runs already is taken over and given back untouched.
async fn a_running_host_is_adopted_and_detached_untouched(bed: &Bed) {
    let (_adapter, mut host) = begin(bed, 9).await;
    host.register().await;
    assert_eq!(host.power(PowerTarget::On).await.failure, None);
    assert_eq!(host.adopt().await.failure, None);
    assert_eq!(host.adopt().await.failure, None);
    assert_eq!(host.is_on().await, Some(true));
    // Nothing to adopt in a host that is to be removed anyway.
    let args = AdoptArgs {
        state: ProvisioningState::Deprovisioning,
        ..AdoptArgs::default()
    };
    let outcome = host.ironic.adopt(&host.host, &args).await.unwrap();
    assert_eq!(outcome.progress, Progress::Done);

    let args = DetachArgs { force: Force::No };
    let end = host
        .end("detachment", async || host.ironic.detach(&host.host, &args).await)
        .await;
    assert_eq!(end.failure, None);
    // Attached again: the machine was left as it was.
    host.host.node = None;
    host.register().await;
    assert_eq!(host.is_on().await, Some(true), "detaching touched the machine");
    assert_eq!(host.power(PowerTarget::HardOff).await.failure, None);
    assert_eq!(host.delete().await.failure, None);
}
