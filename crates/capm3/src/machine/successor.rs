//! Whether another machine of the same parent will want the host of one that goes.
//!
//! Read from Kubernetes at that time: nothing else depends on these objects, and machines go seldom.

use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client, discovery};
use metal3_api::infra::v1beta2::Metal3MachineTemplate;
use metal3_capm3_core::machine::{Owner, Parent, Reference, Successor};
use metal3_kit::client::brief;
use serde_json::Value;

use crate::commit::Failure;
use crate::objects::Objects;

/// Why nothing can be said, or nothing is to be said.
enum Ended {
    Known(Successor),
    Failed(Failure),
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Asks the parent and its template.
///
/// # Errors
/// When Kubernetes cannot be asked now. What it refuses is an answer: the host is not kept.
pub(super) async fn successor(
    client: &Client,
    objects: &Objects,
    parent: Parent,
) -> Result<Successor, Failure> {
    match ask(client, objects, parent).await {
        Ok(successor) | Err(Ended::Known(successor)) => Ok(successor),
        Err(Ended::Failed(failure)) => Err(failure),
    }
}

async fn ask(client: &Client, objects: &Objects, parent: Parent) -> Result<Successor, Ended> {
    let Parent {
        namespace,
        key,
        owner,
    } = parent;
    let read = Reader { client, namespace };
    let (template, control_plane) = match &owner {
        Owner::ControlPlane(owner) => {
            let control_plane = read.control_plane(owner).await?;
            (template_of_control_plane(&control_plane)?, Some(control_plane))
        }
        Owner::MachineSet(owner, _) => (read.template_of_set(owner).await?, None),
    };
    if !read.is_wanted(&template).await? {
        return Ok(Successor::Unwanted);
    }
    let parent = match owner {
        Owner::ControlPlane(_) => control_plane,
        Owner::MachineSet(_, deployment) => read.get(&capi("MachineDeployment"), &deployment).await?,
    };
    // Compares the machines that there are to be with those that stay.
    Ok(Successor::Wanted {
        replicas: parent.as_ref().map_or(0, replicas),
        settled: u32::try_from(objects.count_settled(&read.namespace, &key)).unwrap_or(u32::MAX),
    })
}

/// Machines that there are to be; none when the parent goes.
fn replicas(parent: &DynamicObject) -> u32 {
    if parent.metadata.deletion_timestamp.is_some() {
        return 0;
    }
    let replicas = parent.data["spec"]["replicas"].as_u64().unwrap_or(1);
    u32::try_from(replicas).unwrap_or(u32::MAX)
}

/// Both versions of the contract are understood.
fn template_of_control_plane(control_plane: &DynamicObject) -> Result<String, Ended> {
    let template = &control_plane.data["spec"]["machineTemplate"];
    name(&template["spec"]["infrastructureRef"])
        .or_else(|| name(&template["infrastructureRef"]))
        .ok_or(Ended::Known(Successor::Unwanted))
}

fn name(reference: &Value) -> Option<String> {
    let name = reference["name"].as_str()?;
    (reference["kind"] == "Metal3MachineTemplate").then(|| name.to_owned())
}

/// A kind of Cluster API, in the version that we read.
fn capi(kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("cluster.x-k8s.io", "v1beta2", kind))
}

struct Reader<'a> {
    client: &'a Client,
    namespace: String,
}

impl Reader<'_> {
    /// The template of a MachineSet, which is the one of its time: the MachineDeployment may have another by now.
    async fn template_of_set(&self, owner: &Reference) -> Result<String, Ended> {
        let set = self.get(&capi("MachineSet"), &owner.name).await?;
        let set = set.filter(|set| set.metadata.uid.as_deref() == Some(owner.uid.as_str()));
        set.and_then(|set| name(&set.data["spec"]["template"]["spec"]["infrastructureRef"]))
            .ok_or(Ended::Known(Successor::Unwanted))
    }

    /// A control plane of whatever kind and version.
    async fn control_plane(&self, owner: &Reference) -> Result<DynamicObject, Ended> {
        let served = match discovery::group(self.client, &owner.group).await {
            Ok(group) => group.recommended_kind(&owner.kind),
            Err(kube::Error::Discovery(_)) => None,
            Err(error) => return Err(Ended::Failed(error.into())),
        };
        let Some((resource, _)) = served else {
            let why = format!("Kubernetes serves no {} of {}", owner.kind, owner.group);
            return Err(Ended::Known(Successor::Unknown(why)));
        };
        let control_plane = self.get(&resource, &owner.name).await?;
        control_plane.ok_or(Ended::Known(Successor::Unwanted))
    }

    async fn is_wanted(&self, template: &str) -> Result<bool, Ended> {
        let resource = ApiResource::erase::<Metal3MachineTemplate>(&());
        let template = self.get(&resource, template).await?;
        Ok(template.is_some_and(|template| template.data["spec"]["nodeReuse"] == true))
    }

    async fn get(&self, resource: &ApiResource, name: &str) -> Result<Option<DynamicObject>, Ended> {
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &self.namespace, resource);
        match api.get_opt(name).await {
            Ok(object) => Ok(object),
            Err(error) if is_forbidden(&error) => {
                let why = format!(
                    "{} {}/{name} cannot be read: {}; grant the provider's ServiceAccount get on {}.{}",
                    resource.kind,
                    self.namespace,
                    brief(&error),
                    resource.plural,
                    resource.group
                );
                Err(Ended::Known(Successor::Unknown(why)))
            }
            Err(error) => Err(Ended::Failed(error.into())),
        }
    }
}

fn is_forbidden(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 403)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(data: Value) -> DynamicObject {
        let mut object = DynamicObject::new("x", &capi("MachineDeployment"));
        object.data = data;
        object
    }

    #[test]
    fn the_template_of_a_control_plane_is_found_in_both_versions_of_the_contract() {
        let reference = json!({"kind": "Metal3MachineTemplate", "name": "t"});
        for data in [
            json!({"spec": {"machineTemplate": {"spec": {"infrastructureRef": reference}}}}),
            json!({"spec": {"machineTemplate": {"infrastructureRef": reference}}}),
        ] {
            assert!(matches!(template_of_control_plane(&object(data)), Ok(name) if name == "t"));
        }
        let other =
            json!({"spec": {"machineTemplate": {"infrastructureRef": {"kind": "Other", "name": "t"}}}});
        assert!(template_of_control_plane(&object(other)).is_err());
    }

    #[test]
    fn a_parent_that_goes_wants_no_machines() {
        let mut parent = object(json!({"spec": {"replicas": 3}}));
        assert_eq!(replicas(&parent), 3);
        assert_eq!(replicas(&object(json!({"spec": {}}))), 1);
        parent.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
            jiff::Timestamp::UNIX_EPOCH,
        ));
        assert_eq!(replicas(&parent), 0);
    }
}
