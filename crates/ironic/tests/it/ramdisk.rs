//! The ramdisk of a host: configured for all, or built for it; and its network.

use metal3_api::metal3::host::ProvisioningState;
use metal3_api::metal3::preprovisioning_image::ImageFormat;
use metal3_ironic::Settings;
use metal3_provisioner::{BuiltRamdisk, FailureCause, Progress, Ramdisk, RegisterArgs, WaitReason};
use reqwest::Method;
use serde_json::{Value, json};

use crate::bed::{Bed, Machine};
use crate::host::{Adapter, Host};

async fn node(bed: &Bed, host: &Host) -> Value {
    bed.direct(Method::GET, &format!("nodes/{}", host.node()), &Value::Null)
        .await
}

fn inspecting(ramdisk: Ramdisk) -> RegisterArgs {
    RegisterArgs {
        state: ProvisioningState::Inspecting,
        ramdisk,
        ..RegisterArgs::default()
    }
}

fn built(format: ImageFormat) -> Ramdisk {
    Ramdisk::Built(BuiltRamdisk {
        url: "http://images/mine".into(),
        kernel_url: None,
        extra_kernel_params: Some("debug=1".into()),
        format,
    })
}

async fn waits_for_image(host: &mut Host) {
    let registration = host.register_once(&inspecting(Ramdisk::Missing)).await.unwrap();
    let waits = matches!(
        registration.outcome.progress,
        Progress::Working {
            reason: WaitReason::PreprovisioningImage,
            ..
        }
    );
    assert!(waits, "{registration:?}");
}

#[tokio::test]
async fn a_host_waits_for_the_ramdisk_that_is_built_for_it() {
    let bed = Bed::sim().await;
    let adapter = Adapter::new(Settings {
        deploy_kernel: Some("http://images/kernel".into()),
        deploy_ramdisk: Some("http://images/ramdisk".into()),
        ..bed.settings()
    });
    let mut host = Host::new(&bed, &adapter, Machine(1));
    let registering = RegisterArgs {
        ramdisk: Ramdisk::Missing,
        ..RegisterArgs::default()
    };
    assert_eq!(
        host.try_register(registering).await,
        None,
        "registration needs none"
    );
    // Twice: it costs nothing the second time, and still waits.
    waits_for_image(&mut host).await;
    waits_for_image(&mut host).await;
    assert_eq!(
        node(&bed, &host).await["driver_info"].get("deploy_kernel"),
        None,
        "the configured ramdisk is for hosts without one of their own"
    );

    let iso = inspecting(built(ImageFormat::Iso));
    assert_eq!(host.try_register(iso).await, None);
    let info = node(&bed, &host).await["driver_info"].clone();
    assert_eq!(info["deploy_iso"], "http://images/mine");
    assert_eq!(info.get("kernel_append_params"), None);

    let initrd = inspecting(built(ImageFormat::Initrd));
    assert_eq!(host.try_register(initrd).await, None);
    let info = node(&bed, &host).await["driver_info"].clone();
    assert_eq!(info.get("deploy_iso"), None, "{info}");
    assert_eq!(info["deploy_kernel"], "http://images/kernel");
    assert_eq!(info["deploy_ramdisk"], "http://images/mine");
    assert_eq!(info["kernel_append_params"], "%default% debug=1");
}

#[tokio::test]
async fn a_ramdisk_that_cannot_boot_is_told() {
    let bed = Bed::sim().await;
    let adapter = Adapter::new(bed.settings());
    let mut host = Host::new(&bed, &adapter, Machine(1));
    host.register().await;
    let failure = host
        .try_register(inspecting(built(ImageFormat::Initrd)))
        .await
        .unwrap();
    assert!(failure.contains("DEPLOY_KERNEL_URL"), "{failure}");
}

#[tokio::test]
async fn the_network_data_of_the_ramdisk_reach_the_node() {
    let bed = Bed::sim().await;
    let adapter = Adapter::new(bed.settings());
    let mut host = Host::new(&bed, &adapter, Machine(1));
    host.register().await;
    let with = |data: &str| RegisterArgs {
        preprovisioning_network_data: Some(data.into()),
        ..RegisterArgs::default()
    };
    let yaml = "links:\n- {id: nic, type: phy, ethernet_mac_address: '52:54:00:00:00:01'}\nnetworks: []\nservices: []\n";
    assert_eq!(host.try_register(with(yaml)).await, None);
    let expected = json!({
        "links": [{"id": "nic", "type": "phy", "ethernet_mac_address": "52:54:00:00:00:01"}],
        "networks": [],
        "services": [],
    });
    assert_eq!(node(&bed, &host).await["network_data"], expected);

    for bad in ["secret-text", "{secret-text: ["] {
        let registration = host.register_once(&with(bad)).await.unwrap();
        let Progress::Failed { message, cause } = registration.outcome.progress else {
            panic!("{registration:?}");
        };
        assert_eq!(cause, FailureCause::ConfigDriveInvalid);
        assert!(
            message.starts_with("the preprovisioning network data cannot be used")
                && !message.contains("secret-text"),
            "{message}"
        );
    }
}

#[tokio::test]
async fn machines_with_an_ipv6_bmc_find_ironic_by_its_ipv6_url() {
    let bed = Bed::sim().await;
    let url = "http://[2001:db8::1]:6180";
    let adapter = Adapter::new(Settings {
        external_url_v6: Some(url.into()),
        ..bed.settings()
    });
    for (machine, address, expected) in [
        (
            1,
            "redfish-virtualmedia+http://[2001:db8::2]/redfish/v1/Systems/1",
            Some(url),
        ),
        (
            2,
            "redfish-virtualmedia+http://192.0.2.2/redfish/v1/Systems/1",
            None,
        ),
    ] {
        let mut host = Host::new(&bed, &adapter, Machine(machine));
        if let Some(bmc) = &mut host.host.bmc {
            bmc.address = address.into();
        }
        host.register().await;
        let info = node(&bed, &host).await["driver_info"].clone();
        assert_eq!(
            info.get("external_http_url").and_then(Value::as_str),
            expected,
            "{address}"
        );
    }
}
