//! Who uses a HostNetworkAttachment: asked of the API server, because a watch may lag behind what was just written.

use kube::api::{DynamicObject, ListParams};
use kube::core::ApiResource;
use kube::{Api, Client};
use metal3_admission::{Attachment, Findings, users};
use metal3_api::metal3::host::BareMetalHost;
use metal3_kit::client::brief;
use metal3_kit::webhook::Admission;
use serde_json::{Value, json};

/// Hosts of one answer.
const PAGE: u32 = 500;

/// Looks for the hosts that use an attachment.
#[derive(Clone)]
pub(super) struct Users {
    pub(super) client: Client,
    /// Where hosts are managed; empty: everywhere.
    pub(super) namespaces: Vec<String>,
}

impl Users {
    /// What the users of an attachment have against its change or deletion. Who cannot be asked is taken for a user.
    pub(super) async fn object(&self, request: &Admission) -> Findings {
        let Some((deed, attachment)) = change(request) else {
            return Findings::default();
        };
        let text = |field: &str| attachment["metadata"][field].as_str().unwrap_or_default();
        match self.of(text("namespace"), text("name")).await {
            Ok(users) => Attachment::in_use(deed, &users),
            Err(error) => Findings {
                errors: vec![format!(
                    "spec: whether hosts use the HostNetworkAttachment cannot be found out: {}; try again",
                    brief(&error)
                )],
                warnings: Vec::new(),
            },
        }
    }

    async fn of(&self, namespace: &str, name: &str) -> Result<Vec<String>, kube::Error> {
        let kind = ApiResource::erase::<BareMetalHost>(&());
        let apis: Vec<Api<DynamicObject>> = if self.namespaces.is_empty() {
            vec![Api::all_with(self.client.clone(), &kind)]
        } else {
            let namespaces = self.namespaces.iter();
            namespaces
                .map(|namespace| Api::namespaced_with(self.client.clone(), namespace, &kind))
                .collect()
        };
        let mut found = Vec::new();
        for api in apis {
            let mut params = ListParams::default().limit(PAGE);
            loop {
                let page = api.list(&params).await?;
                found.extend(
                    page.items
                        .iter()
                        .flat_map(|host| users(&json!(host), namespace, name)),
                );
                match page.metadata.continue_.filter(|token| !token.is_empty()) {
                    Some(token) => params = ListParams::default().limit(PAGE).continue_token(&token),
                    None => break,
                }
            }
        }
        Ok(found)
    }
}

/// The deed that users have a say in, and the attachment as it is stored.
fn change(request: &Admission) -> Option<(&'static str, &Value)> {
    let old = request.old_object.as_ref()?;
    if request.object.is_null() {
        return Some(("deleted", old));
    }
    (request.object["spec"] != old["spec"]).then_some(("changed", old))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_asked_about_deletions_and_changes_of_the_spec_only() {
        let object = |vlan: i64, label: &str| json!({"metadata": {"name": "a", "labels": {"l": label}}, "spec": {"nativeVLAN": vlan}});
        let stored = object(1, "x");
        for (new, old, deed) in [
            (object(1, "x"), None, None),
            (object(1, "y"), Some(stored.clone()), None),
            (object(2, "x"), Some(stored.clone()), Some("changed")),
            (Value::Null, Some(stored), Some("deleted")),
        ] {
            let request = Admission {
                operation: String::new(),
                object: new,
                old_object: old,
                dry_run: false,
            };
            assert_eq!(change(&request).map(|(deed, _)| deed), deed);
        }
    }
}
