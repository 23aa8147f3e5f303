//! What makes Machines: MachineDeployments and control planes, and the template of both.

use kube::api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use metal3_api::capi::Machine;
use metal3_api::infra::v1beta2::Metal3MachineTemplate;
use metal3_api::names;
use serde_json::{Value, json};

use crate::lab::Lab;

const CONTROL_PLANE_GROUP: &str = "controlplane.cluster.x-k8s.io";

/// Who makes a Machine.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Parent {
    Deployment(&'static str),
    ControlPlane(&'static str),
}

impl Lab {
    fn dynamic(&self, group: &str, kind: &str) -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1beta2", kind));
        Api::namespaced_with(self.plane.client(), &self.namespace, &resource)
    }

    async fn make_dynamic(&self, group: &str, kind: &str, name: &str, spec: Value) -> DynamicObject {
        let object = json!({
            "apiVersion": format!("{group}/v1beta2"), "kind": kind, "metadata": {"name": name}, "spec": spec,
        });
        let object = serde_json::from_value(object).unwrap();
        self.dynamic(group, kind)
            .create(&Default::default(), &object)
            .await
            .unwrap()
    }

    /// A template whose hosts are kept.
    pub(crate) async fn reusing_template(&self, name: &str) {
        let image = json!({"url": "http://images.test/node.qcow2", "checksum": "abc"});
        let template = json!({
            "metadata": {"name": name},
            "spec": {"nodeReuse": true, "template": {"spec": {"image": image}}},
        });
        self.create::<Metal3MachineTemplate>(template).await;
    }

    /// A MachineDeployment and its MachineSet.
    pub(crate) async fn deployment(&self, name: &str, template: &str, replicas: u32) {
        let group = "cluster.x-k8s.io";
        self.make_dynamic(group, "MachineDeployment", name, json!({"replicas": replicas}))
            .await;
        let reference = json!({"kind": "Metal3MachineTemplate", "name": template});
        let spec = json!({"template": {"spec": {"infrastructureRef": reference}}});
        self.make_dynamic(group, "MachineSet", &format!("{name}-1"), spec)
            .await;
    }

    /// The MachineSet of a MachineDeployment is deleted.
    pub(crate) async fn machine_set_goes(&self, deployment: &str) {
        self.dynamic("cluster.x-k8s.io", "MachineSet")
            .delete(&format!("{deployment}-1"), &DeleteParams::default())
            .await
            .unwrap();
    }

    pub(crate) async fn control_plane(&self, name: &str, template: &str, replicas: u32) {
        let reference = json!({"kind": "Metal3MachineTemplate", "name": template});
        let spec = json!({
            "replicas": replicas,
            "machineTemplate": {"spec": {"infrastructureRef": reference}},
        });
        self.make_dynamic(CONTROL_PLANE_GROUP, "KubeadmControlPlane", name, spec)
            .await;
    }

    /// What a user does who scales.
    pub(crate) async fn scale(&self, parent: Parent, replicas: u32) {
        let (api, name) = match parent {
            Parent::Deployment(name) => (self.dynamic("cluster.x-k8s.io", "MachineDeployment"), name),
            Parent::ControlPlane(name) => (self.dynamic(CONTROL_PLANE_GROUP, "KubeadmControlPlane"), name),
        };
        let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        api.patch(name, &PatchParams::default(), &patch).await.unwrap();
    }

    /// A Machine with bootstrap data that a parent made, and its Metal3Machine.
    pub(crate) async fn child(&self, name: &str, cluster: &str, parent: Parent) {
        self.bare_machine(name, cluster).await;
        let (group, kind, owner, label) = match parent {
            Parent::Deployment(deployment) => (
                "cluster.x-k8s.io",
                "MachineSet",
                format!("{deployment}-1"),
                json!({names::LABEL_DEPLOYMENT_NAME: deployment}),
            ),
            Parent::ControlPlane(control_plane) => (
                CONTROL_PLANE_GROUP,
                "KubeadmControlPlane",
                control_plane.to_owned(),
                json!({names::LABEL_CONTROL_PLANE: ""}),
            ),
        };
        let uid = self
            .dynamic(group, kind)
            .get(&owner)
            .await
            .unwrap()
            .uid()
            .unwrap();
        // Another version than the one that is served best: it does not count.
        let reference = json!({
            "apiVersion": format!("{group}/v1beta1"), "kind": kind, "name": owner, "uid": uid, "controller": true,
        });
        let patch = json!({"metadata": {"labels": label, "ownerReferences": [reference]}});
        self.patch::<Machine>(name, patch).await;
        self.bootstrap(name).await;
    }
}
