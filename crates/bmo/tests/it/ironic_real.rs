//! The whole operator on a real Ironic: emulated BMCs, simulated ramdisks, a real API server.
//!
//! Each test has machines of its own, a namespace and a bmo. The bed is `hack/testbed/ironic.sh`; machines 15 to 18 and
//! 20 to 39 are used here, all others by the tests of the adapter, which may run at the same time.

mod bed;

use kube::ResourceExt as _;
use metal3_api::metal3::host::{AutomatedCleaningMode, InspectionMode, ProvisioningState};
use metal3_testkit::{events, wait};
use serde_json::{Value, json};

use self::bed::Real;
use crate::world::{state, summary};

#[tokio::test]
#[ignore = "needs METAL3_TEST_IRONIC_ENV (a real Ironic, hack/testbed/ironic.sh)"]
async fn a_host_lives_on_a_real_ironic() {
    let real = Real::start("real-life").await;
    let name = real.create(&real.machine(15).await).await;
    let host = real.reaches(&name, ProvisioningState::Available).await;
    assert!(!host.status.unwrap().hardware.unwrap().nics.is_empty());

    real.patch(&name, json!({"spec": {"image": real.image()}})).await;
    real.reaches(&name, ProvisioningState::Provisioned).await;
    assert_eq!(real.disk(15).await["image"], real.bed["IMAGE_URL"].as_str());
    assert_eq!(real.node(&name).await.unwrap()["provision_state"], "active");

    let other = real.other_image().await;
    real.patch(&name, json!({"spec": {"image": other}})).await;
    real.until(&name, "to have the other image", |status| {
        let image = json!(status.provisioning.image);
        status.provisioning.state == ProvisioningState::Provisioned && image["url"] == other["url"]
    })
    .await;
    events::expect(
        &real.plane.client(),
        &real.namespace,
        &name,
        "DeprovisioningComplete",
    )
    .await;

    real.patch(&name, json!({"spec": {"image": null}})).await;
    real.reaches(&name, ProvisioningState::Available).await;
    assert_eq!(
        real.disk(15).await["image"],
        Value::Null,
        "cleaning leaves no image"
    );
    real.delete(&name).await;
    real.is_gone(&name).await;
}

#[tokio::test]
#[ignore = "needs METAL3_TEST_IRONIC_ENV (a real Ironic, hack/testbed/ironic.sh)"]
async fn power_follows_the_host_on_a_real_ironic() {
    let real = Real::start("real-power").await;
    let mut builder = real.machine(16).await;
    builder.spec.inspection_mode = Some(InspectionMode::Disabled);
    builder.spec.externally_provisioned = Some(true);
    let name = real.create(&builder).await;
    real.reaches(&name, ProvisioningState::ExternallyProvisioned)
        .await;
    for on in [true, false, true] {
        real.patch(&name, json!({"spec": {"online": on}})).await;
        real.is_on(&name, on).await;
    }
    for annotation in ["", "{\"mode\": \"hard\"}"] {
        let before = real.until(&name, "to be on", |status| status.powered_on).await;
        let rebooted = before.status.unwrap().last_updated;
        let patch = json!({"metadata": {"annotations": {"reboot.metal3.io": annotation}}});
        real.patch(&name, patch).await;
        real.until(&name, &format!("to reboot by {annotation:?}"), |status| {
            status.last_updated != rebooted && status.powered_on
        })
        .await;
        let hosts = real.hosts();
        wait::until("the request to be served", wait::LONG, async || {
            let host = hosts.get(&name).await.unwrap();
            let asked = host.annotations().contains_key("reboot.metal3.io");
            let on = host.status.as_ref().is_some_and(|status| status.powered_on);
            if asked || !on { Err(summary(&host)) } else { Ok(()) }
        })
        .await;
    }
    real.delete(&name).await;
    real.is_gone(&name).await;
}

#[tokio::test]
#[ignore = "needs METAL3_TEST_IRONIC_ENV (a real Ironic, hack/testbed/ironic.sh)"]
async fn a_live_iso_and_a_custom_deployment_run_on_a_real_ironic() {
    let real = Real::start("real-ways").await;
    let mut builder = real.machine(17).await;
    builder.spec.automated_cleaning_mode = Some(AutomatedCleaningMode::Disabled);
    let name = real.create(&builder).await;
    real.reaches(&name, ProvisioningState::Available).await;
    let live = json!({"url": real.bed["LIVE_ISO_URL"], "format": "live-iso"});
    real.patch(&name, json!({"spec": {"image": live}})).await;
    real.reaches(&name, ProvisioningState::Provisioned).await;
    assert_eq!(real.node(&name).await.unwrap()["deploy_interface"], "ramdisk");
    real.patch(&name, json!({"spec": {"image": null}})).await;
    real.reaches(&name, ProvisioningState::Available).await;
    let custom = json!({"spec": {"customDeploy": {"method": "testbed_install"}}});
    real.patch(&name, custom).await;
    real.reaches(&name, ProvisioningState::Provisioned).await;
    assert_eq!(
        real.node(&name).await.unwrap()["deploy_interface"],
        "custom-agent"
    );
    real.delete(&name).await;
    real.is_gone(&name).await;
}

#[tokio::test]
#[ignore = "needs METAL3_TEST_IRONIC_ENV (a real Ironic, hack/testbed/ironic.sh)"]
async fn a_deployed_host_is_kept_through_losses_detachment_and_new_credentials_of_a_real_ironic() {
    let real = Real::start("real-kept").await;
    let name = real.create(&real.machine(18).await).await;
    real.reaches(&name, ProvisioningState::Available).await;
    real.patch(&name, json!({"spec": {"image": real.image()}})).await;
    let host = real.reaches(&name, ProvisioningState::Provisioned).await;
    let first = host.status.unwrap().provisioning.id;
    real.is_on(&name, true).await;

    // Ironic lost its database.
    real.forget(&name).await;
    let adopted = async |before: &str| {
        let host = real
            .until(&name, "to have another node", |status| {
                status.provisioning.id != before && status.error_type.is_none()
            })
            .await;
        wait::until("the node to be adopted", wait::LONG, async || {
            let node = real.node(&name).await.ok_or("no node")?;
            if node["provision_state"] == "active" {
                Ok(())
            } else {
                Err(node["provision_state"].to_string())
            }
        })
        .await;
        assert_eq!(state(&host), ProvisioningState::Provisioned);
        host.status.unwrap().provisioning.id
    };
    let second = adopted(&first).await;

    // Detached and attached again.
    let detached =
        |value: Value| json!({"metadata": {"annotations": {"baremetalhost.metal3.io/detached": value}}});
    real.patch(&name, detached(json!(""))).await;
    wait::until("the node to be gone", wait::LONG, async || {
        real.node(&name)
            .await
            .map_or(Ok(()), |node| Err(node["provision_state"].to_string()))
    })
    .await;
    real.patch(&name, detached(Value::Null)).await;
    adopted(&second).await;

    // The BMC does not know these.
    real.password(&name, "not-it").await;
    let host = real
        .until(&name, "to tell of wrong credentials", |status| {
            status.error_message.contains("401")
        })
        .await;
    assert_eq!(state(&host), ProvisioningState::Provisioned);
    real.password(&name, &real.bed["BMC_PASSWORD"]).await;
    real.until(&name, "to be without an error", |status| {
        status.error_type.is_none()
    })
    .await;

    let disk = real.disk(18).await;
    assert_eq!(
        disk["image"],
        real.bed["IMAGE_URL"].as_str(),
        "nothing touched the disk"
    );
    real.is_on(&name, true).await;
    real.delete(&name).await;
    real.is_gone(&name).await;
}

#[tokio::test]
#[ignore = "needs METAL3_TEST_IRONIC_ENV (a real Ironic, hack/testbed/ironic.sh)"]
async fn twenty_hosts_at_once_live_on_a_real_ironic() {
    let real = Real::start("real-many").await;
    let mut names = Vec::new();
    for number in 20..40 {
        let builder = real.machine(number).await;
        names.push(real.create(&builder).await);
    }
    for name in &names {
        real.reaches(name, ProvisioningState::Available).await;
    }
    for name in &names {
        real.patch(name, json!({"spec": {"image": real.image()}})).await;
    }
    for name in &names {
        real.reaches(name, ProvisioningState::Provisioned).await;
    }
    for name in &names {
        real.delete(name).await;
    }
    for name in &names {
        real.is_gone(name).await;
    }
}
