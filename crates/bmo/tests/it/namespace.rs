//! A namespace is deleted with everything in it while its hosts are managed: everything gets its deletion at once, in no
//! order, and nothing new can be made there any more.

use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::Api;
use kube::api::{DeleteParams, ListParams};
use metal3_api::metal3::hardware_data::HardwareData;
use metal3_api::metal3::host::BareMetalHost;
use metal3_testkit::process::{Process, Program};
use metal3_testkit::{ControlPlane, port, tools, wait};
use serde_json::json;

use crate::ironic::Ironic;
use crate::program::Launch;
use crate::world::{bmo_account, new_host, reaches, summary};

/// Where bmo and its rights are; they must outlive the hosts.
const HOME: &str = "namespace-home";
const FLEET: &str = "namespace-fleet";

/// What empties deleted namespaces. It leaves others alone, so that tests beside this one are not disturbed.
fn namespace_controller(plane: &ControlPlane) -> Process {
    Program::new(tools::find("kube-controller-manager").unwrap())
        .arg("--kubeconfig")
        .arg(plane.kubeconfig())
        .args(["--leader-elect=false", "--bind-address=127.0.0.1"])
        .args(["--secure-port", &port::free().unwrap().to_string()])
        .arg("--controllers=namespace-controller")
        .start()
        .unwrap()
}

#[tokio::test]
async fn a_deleted_namespace_takes_its_hosts_along_and_leaves_no_node() {
    let plane = ControlPlane::shared().await;
    let account = bmo_account(plane, HOME).await;
    plane.namespace(FLEET).await.unwrap();
    let ironic = Ironic::start().await;
    let endpoint = ironic.endpoint();
    let launch = Launch {
        kubeconfig: &account.kubeconfig,
        watch: FLEET,
        home: HOME,
        ironic: &endpoint,
        leader_election: false,
    };
    let bmo = launch.start();
    bmo.ready().await;
    let _controller = namespace_controller(plane);

    // One at rest, one that has to be deprovisioned, one that has a node and an error.
    ironic.fault("login", &format!("bmc-unauthorized@{FLEET}~failing"));
    for host in [
        new_host(FLEET, "idle"),
        new_host(FLEET, "running").image("http://images.test/a.qcow2"),
        new_host(FLEET, "failing"),
    ] {
        host.create(&plane.client(), FLEET).await.unwrap();
    }
    let hosts: Api<BareMetalHost> = Api::namespaced(plane.client(), FLEET);
    reaches(&hosts, "idle", "available").await;
    reaches(&hosts, "running", "provisioned").await;
    wait::until("the failing host to tell it", wait::LONG, async || {
        let host = hosts.get("failing").await.map_err(|error| error.to_string())?;
        let failed = host
            .status
            .as_ref()
            .is_some_and(|status| status.error_type.is_some());
        if failed { Ok(()) } else { Err(summary(&host)) }
    })
    .await;
    let data: Api<HardwareData> = Api::namespaced(plane.client(), FLEET);
    assert_eq!(data.list(&ListParams::default()).await.unwrap().items.len(), 2);
    let secrets: Api<Secret> = Api::namespaced(plane.client(), FLEET);
    assert_eq!(secrets.list(&ListParams::default()).await.unwrap().items.len(), 3);
    assert_eq!(ironic.nodes().await.len(), 3);

    let namespaces: Api<Namespace> = Api::all(plane.client());
    namespaces.delete(FLEET, &DeleteParams::default()).await.unwrap();
    // It is there as long as anything is in it.
    wait::until(
        "the namespace to be gone",
        wait::LONG,
        async || match namespaces.get_opt(FLEET).await {
            Ok(None) => Ok(()),
            Ok(Some(namespace)) => Err(json!(namespace.status).to_string()),
            Err(error) => Err(error.to_string()),
        },
    )
    .await;
    let nodes = ironic.nodes().await;
    assert!(nodes.is_empty(), "{nodes:?}");
    assert!(bmo.process.ended().is_none());
    let log = bmo.process.log();
    assert!(!log.contains("panicked at"), "bmo panicked:\n{log}");
}
