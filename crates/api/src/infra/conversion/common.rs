//! Shapes shared by several kinds.

use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::Condition};

use crate::infra::{
    v1beta1::V1Beta2Status,
    v1beta2::{Initialization, Metal3ObjectRef},
};

/// Converts each element.
pub(super) fn each<A, B: From<A>>(items: Vec<A>) -> Vec<B> {
    items.into_iter().map(B::from).collect()
}

/// v1beta1 writers send empty strings for what they leave out; v1beta2 forbids those.
pub(super) fn filled(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// Go's `int` is wider than the `int32` of v1beta2. No field has a use for numbers beyond it.
pub(super) fn narrow(number: i64) -> i32 {
    i32::try_from(number).unwrap_or(if number < 0 { i32::MIN } else { i32::MAX })
}

/// v1beta2 keeps only what is needed to find an object of a known kind.
pub(super) fn narrow_ref(reference: ObjectReference) -> Metal3ObjectRef {
    Metal3ObjectRef {
        name: filled(reference.name),
        namespace: filled(reference.namespace),
    }
}

/// The reverse of [`narrow_ref`].
pub(super) fn widen_ref(reference: Metal3ObjectRef) -> ObjectReference {
    let Metal3ObjectRef { name, namespace } = reference;
    ObjectReference {
        name,
        namespace,
        ..ObjectReference::default()
    }
}

/// A reference that v1beta1 requires: an empty one stands for none.
pub(super) fn narrow_required(reference: Option<ObjectReference>) -> Option<Metal3ObjectRef> {
    reference
        .map(narrow_ref)
        .filter(|reference| *reference != Metal3ObjectRef::default())
}

/// The reverse of [`narrow_required`].
pub(super) fn widen_required(reference: Option<Metal3ObjectRef>) -> Option<ObjectReference> {
    Some(widen_ref(reference.unwrap_or_default()))
}

/// `ready` of v1beta1 is `initialization.provisioned` of v1beta2.
pub(super) fn initialization(ready: Option<bool>) -> Option<Initialization> {
    ready.map(|ready| Initialization {
        provisioned: Some(ready),
    })
}

/// The reverse of [`initialization`].
pub(super) fn ready(initialization: Option<Initialization>) -> Option<bool> {
    initialization.and_then(|initialization| initialization.provisioned)
}

/// Each version shows the other version's conditions in a corner of its own status.
pub(super) fn conditions(status: Option<V1Beta2Status>) -> Vec<Condition> {
    status.map(|status| status.conditions).unwrap_or_default()
}

/// The reverse of [`conditions`].
pub(super) fn v1beta2_status(conditions: Vec<Condition>) -> Option<V1Beta2Status> {
    (!conditions.is_empty()).then_some(V1Beta2Status { conditions })
}
