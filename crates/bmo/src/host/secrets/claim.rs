//! What is written on Secrets that hosts need: our label, finalizer and owner reference, and how they are taken back.
//! Pure: from metadata to a patch.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::ObjectMeta;
use metal3_api::names;
use serde_json::{Value, json};

/// How somebody uses a Secret.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    /// Who is woken by its changes, and takes it along when it goes.
    pub(crate) owner: Option<OwnerReference>,
    /// It must not go first.
    pub(crate) protected: bool,
}

/// What is missing on a Secret that is used; `None` when nothing is.
pub(crate) fn claim(secret: &ObjectMeta, claim: &Claim) -> Option<Value> {
    let mut patch = json!({"resourceVersion": secret.resource_version});
    let mut missing = false;
    let labels = secret.labels.as_ref();
    if !labels.is_some_and(|labels| labels.contains_key(names::LABEL_ENVIRONMENT)) {
        patch["labels"] = json!({names::LABEL_ENVIRONMENT: names::LABEL_ENVIRONMENT_VALUE});
        missing = true;
    }
    let owners = secret.owner_references.as_deref().unwrap_or_default();
    if let Some(wanted) = &claim.owner {
        // An old release made itself the controller, of which there can be one only.
        let own = |owner: &&OwnerReference| owner.uid == wanted.uid;
        let good = owners
            .iter()
            .find(own)
            .is_some_and(|owner| owner.controller != Some(true));
        if !good {
            let others = owners.iter().filter(|owner| !own(owner));
            patch["ownerReferences"] = json!(others.chain([wanted]).collect::<Vec<_>>());
            missing = true;
        }
    }
    // An object that goes takes no new finalizers.
    if claim.protected && !protected(secret) && secret.deletion_timestamp.is_none() {
        let others = secret.finalizers.iter().flatten().map(String::as_str);
        patch["finalizers"] = json!(others.chain([names::FINALIZER_SECRET]).collect::<Vec<_>>());
        missing = true;
    }
    missing.then(|| json!({"metadata": patch}))
}

/// Takes our finalizer off unless it is `kept`, and these owners; `None` when nothing changes.
pub(crate) fn release(secret: &ObjectMeta, kept: bool, gone: &[String]) -> Option<Value> {
    let mut patch = json!({"resourceVersion": secret.resource_version});
    let mut changed = false;
    if !kept && protected(secret) {
        let finalizers = secret.finalizers.iter().flatten();
        let others: Vec<_> = finalizers
            .filter(|name| *name != names::FINALIZER_SECRET)
            .collect();
        patch["finalizers"] = json!(others);
        changed = true;
    }
    let owners = secret.owner_references.as_deref().unwrap_or_default();
    let rest: Vec<_> = owners.iter().filter(|owner| !gone.contains(&owner.uid)).collect();
    if rest.len() < owners.len() {
        patch["ownerReferences"] = json!(rest);
        changed = true;
    }
    changed.then(|| json!({"metadata": patch}))
}

/// Whether it has our finalizer.
pub(crate) fn protected(secret: &ObjectMeta) -> bool {
    let mut finalizers = secret.finalizers.iter().flatten();
    finalizers.any(|finalizer| finalizer == names::FINALIZER_SECRET)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(uid: &str) -> OwnerReference {
        OwnerReference {
            api_version: "metal3.io/v1alpha1".into(),
            kind: "BareMetalHost".into(),
            name: uid.into(),
            uid: uid.into(),
            ..OwnerReference::default()
        }
    }

    fn meta(value: Value) -> ObjectMeta {
        serde_json::from_value(value).unwrap()
    }

    fn by(uid: &str) -> Claim {
        Claim {
            owner: Some(owner(uid)),
            protected: true,
        }
    }

    /// What the patch makes of the metadata.
    fn patched(secret: &ObjectMeta, patch: &Value) -> ObjectMeta {
        let mut object = json!({"metadata": secret});
        json_merge(&mut object, patch);
        meta(object["metadata"].take())
    }

    fn json_merge(target: &mut Value, patch: &Value) {
        match (target.as_object_mut(), patch.as_object()) {
            (Some(target), Some(patch)) => {
                for (key, value) in patch {
                    json_merge(target.entry(key).or_insert(Value::Null), value);
                }
            }
            _ => *target = patch.clone(),
        }
    }

    #[test]
    fn what_is_there_is_kept_and_a_second_look_finds_nothing_missing() {
        let secret = meta(json!({
            "resourceVersion": "7", "labels": {"a": "b"}, "finalizers": ["other"], "ownerReferences": [owner("x")],
        }));
        let claimed = patched(&secret, &claim(&secret, &by("u")).unwrap());
        assert_eq!(claimed.resource_version.as_deref(), Some("7"));
        assert_eq!(
            claimed.finalizers.as_ref().unwrap(),
            &["other", names::FINALIZER_SECRET]
        );
        assert_eq!(
            claimed.owner_references.as_ref().unwrap(),
            &[owner("x"), owner("u")]
        );
        assert_eq!(claimed.labels.as_ref().unwrap()["a"], "b");
        assert_eq!(
            claimed.labels.as_ref().unwrap()["environment.metal3.io"],
            "baremetal"
        );
        assert!(claim(&claimed, &by("u")).is_none());
        let freed = patched(&claimed, &release(&claimed, false, &["u".into()]).unwrap());
        assert_eq!(freed.finalizers.as_ref().unwrap(), &["other"]);
        assert_eq!(freed.owner_references.as_ref().unwrap(), &[owner("x")]);
        assert!(release(&freed, false, &["u".into()]).is_none());
    }

    #[test]
    fn a_label_of_the_user_with_another_value_stays() {
        let secret = meta(json!({"labels": {"environment.metal3.io": "mine"}}));
        let patch = claim(&secret, &by("u")).unwrap();
        assert!(patch["metadata"].get("labels").is_none(), "{patch}");
    }

    #[test]
    fn an_old_controller_reference_is_rewritten() {
        let controller = OwnerReference {
            controller: Some(true),
            ..owner("u")
        };
        let secret = meta(json!({"ownerReferences": [controller]}));
        let claimed = patched(&secret, &claim(&secret, &by("u")).unwrap());
        assert_eq!(claimed.owner_references.unwrap(), [owner("u")]);
    }

    #[test]
    fn a_secret_that_goes_gets_no_finalizer() {
        let secret = meta(json!({
            "deletionTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"environment.metal3.io": "baremetal"},
            "ownerReferences": [owner("u")],
        }));
        assert!(claim(&secret, &by("u")).is_none());
    }

    #[test]
    fn without_an_owner_only_label_and_finalizer_are_set() {
        let lone = Claim {
            owner: None,
            protected: true,
        };
        let patch = claim(&ObjectMeta::default(), &lone).unwrap();
        assert!(patch["metadata"].get("ownerReferences").is_none(), "{patch}");
        assert_eq!(patch["metadata"]["finalizers"], json!([names::FINALIZER_SECRET]));
    }

    #[test]
    fn a_secret_that_others_use_loses_only_the_owner() {
        let secret = meta(
            json!({"finalizers": [names::FINALIZER_SECRET], "ownerReferences": [owner("u"), owner("v")]}),
        );
        let left = patched(&secret, &release(&secret, true, &["u".into()]).unwrap());
        assert!(protected(&left));
        assert_eq!(left.owner_references.unwrap(), [owner("v")]);
        assert!(release(&secret, true, &[]).is_none());
    }
}
