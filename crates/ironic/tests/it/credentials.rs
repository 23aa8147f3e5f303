//! Credentials that change on a host which Ironic manages already: believed once its BMC accepted them.

use metal3_ironic_sim::{Fault, Kind as Trouble, Operation};
use metal3_provisioner::{
    Credentials, FailureCause, OnFailure, Outcome, PowerTarget, Progress, Provisioner as _, RegisterArgs,
    WaitReason,
};
use metal3_testkit::wait::{LONG, until};

use crate::bed::{Bed, Machine, Scheme};
use crate::host::{Adapter, Host, deployment};

fn changed() -> RegisterArgs {
    RegisterArgs {
        credentials_changed: true,
        ..RegisterArgs::default()
    }
}

/// A retry after the back-off; the credentials are no news any more.
fn retry() -> RegisterArgs {
    RegisterArgs {
        on_failure: OnFailure::Restart,
        ..RegisterArgs::default()
    }
}

fn set(host: &mut Host, credentials: Credentials) {
    if let Some(bmc) = &mut host.host.bmc {
        bmc.credentials = credentials;
    }
}

fn wrong(right: &Credentials) -> Credentials {
    Credentials {
        username: right.username.clone(),
        password: "not-it".to_owned().into(),
    }
}

/// New credentials of a managed and of a deployed host are tried on the BMC; wrong ones are told, also after a restart
/// of the operator, and nothing happens to the machine.
async fn changed_credentials_are_verified(bed: &Bed, machine: u8, scheme: Scheme) {
    let adapter = Adapter::new(bed.settings());
    let mut host = Host::new(bed, &adapter, Machine(machine));
    host.remove_leftovers(bed).await;
    host.host.bmc = Some(bed.access_by(host.machine, scheme));
    let right = bed.access_by(host.machine, scheme).credentials;
    let uncleaned = RegisterArgs {
        cleaning: metal3_provisioner::CleaningMode::Disabled,
        ..RegisterArgs::default()
    };
    assert_eq!(host.try_register(uncleaned).await, None);
    assert_eq!(host.power(PowerTarget::On).await.failure, None);
    for deployed in [false, true] {
        if deployed {
            assert_eq!(host.adopt().await.failure, None);
        }
        set(&mut host, wrong(&right));
        let failure = host.try_register(changed()).await.unwrap();
        assert!(
            failure.contains("the changed address or credentials of the BMC do not work"),
            "{failure}"
        );
        assert!(!failure.contains("not-it"), "the password is shown: {failure}");
        // Another process knows nothing of what this one tried.
        let other = Adapter::new(bed.settings());
        let mut restarted = Host::new(bed, &other, host.machine);
        restarted.host.clone_from(&host.host);
        assert_eq!(restarted.try_register(retry()).await, Some(failure));

        set(&mut host, right.clone());
        assert_eq!(host.try_register(changed()).await, None);
        assert_eq!(restarted.try_register(retry()).await, None, "it is proven");
        assert_eq!(host.is_on().await, Some(true), "nothing happened to the machine");
    }
    host.remove_leftovers(bed).await;
}

#[tokio::test]
async fn changed_credentials_are_verified_by_redfish() {
    let bed = Bed::sim().await;
    changed_credentials_are_verified(&bed, 12, Scheme::VirtualMedia).await;
    let actions = bed.as_sim().actions_of("http://192.0.2.12/redfish/v1/Systems/1");
    let deeds: Vec<String> = actions
        .unwrap()
        .actions
        .iter()
        .map(|action| format!("{:?}", action.deed))
        .collect();
    assert_eq!(deeds, ["PowerOn", "Delete"]);
}

#[tokio::test]
async fn changed_credentials_are_verified_by_ipmi() {
    changed_credentials_are_verified(&Bed::sim().await, 12, Scheme::Ipmi).await;
}

#[tokio::test]
#[ignore = "needs METAL3_TEST_IRONIC_ENV (a real Ironic, hack/testbed/ironic.sh)"]
async fn changed_credentials_are_verified_by_redfish_of_a_real_ironic() {
    changed_credentials_are_verified(&Bed::real(), 42, Scheme::VirtualMedia).await;
}

#[tokio::test]
#[ignore = "needs METAL3_TEST_IRONIC_ENV (a real Ironic, hack/testbed/ironic.sh)"]
async fn changed_credentials_are_verified_by_ipmi_of_a_real_ironic() {
    changed_credentials_are_verified(&Bed::real(), 12, Scheme::Ipmi).await;
}

fn waits_for(outcome: &Outcome, wanted: WaitReason) {
    let waits = matches!(outcome.progress, Progress::Working { reason, .. } if reason == wanted);
    assert!(waits, "{outcome:?}");
}

#[tokio::test]
async fn credentials_that_ironic_does_not_take_yet_are_written_later_although_they_are_no_news_then() {
    let bed = Bed::sim().await;
    let adapter = Adapter::new(bed.settings());
    let mut host = Host::new(&bed, &adapter, Machine(1));
    host.register().await;
    let hang = Trouble::Hang {
        operation: Operation::Deploy,
    };
    bed.as_sim().set_fault("deploying", Fault::new(hang, "*"));
    let args = deployment(bed.image());
    until("deployment under way", LONG, async || {
        let outcome = host.ironic.provision(&host.host, &args).await;
        match outcome.map(|outcome| outcome.progress) {
            Ok(Progress::Working {
                reason: WaitReason::Deploying,
                ..
            }) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let right = bed.access(host.machine).credentials;
    set(&mut host, wrong(&right));
    let registration = host.register_once(&changed()).await.unwrap();
    waits_for(&registration.outcome, WaitReason::NodeLocked);
    bed.as_sim().clear_faults();
    until("the end of the deployment", LONG, async || {
        let outcome = host.ironic.provision(&host.host, &args).await;
        match outcome.map(|outcome| outcome.progress) {
            Ok(Progress::Done) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let failure = host.try_register(RegisterArgs::default()).await.unwrap();
    assert!(failure.contains("401"), "{failure}");
}

#[tokio::test]
async fn a_bmc_that_does_not_answer_is_told_as_such() {
    let bed = Bed::sim().await;
    let adapter = Adapter::new(bed.settings());
    let mut host = Host::new(&bed, &adapter, Machine(1));
    host.register().await;
    bed.as_sim()
        .set_fault("dead", "bmc-unreachable@test~*".parse().unwrap());
    let registration = host.register_once(&changed()).await.unwrap();
    let Progress::Failed { cause, message } = registration.outcome.progress else {
        panic!("{registration:?}");
    };
    assert_eq!(cause, FailureCause::BmcUnreachable, "{message}");
}

#[tokio::test]
async fn a_node_that_is_worked_on_is_asked_again_later() {
    let bed = Bed::sim().await;
    let adapter = Adapter::new(bed.settings());
    let mut host = Host::new(&bed, &adapter, Machine(1));
    host.register().await;
    let busy = Trouble::Http {
        status: 409,
        request: "GET nodes/{id}/management/boot_device".into(),
    };
    bed.as_sim().set_fault("busy", Fault::new(busy, "*").times(1));
    let registration = host.register_once(&changed()).await.unwrap();
    waits_for(&registration.outcome, WaitReason::VerifyingBmcAccess);
    assert_eq!(host.try_register(RegisterArgs::default()).await, None);
}
