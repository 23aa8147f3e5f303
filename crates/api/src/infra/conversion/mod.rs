//! Conversion between v1beta1 and v1beta2, without loss.
//!
//! The `From` impls say how each field maps; they drop what the other version has no place for. So
//! that nothing is lost, an object whose conversion dropped something carries its original in an
//! annotation ([`ANNOTATION_CONVERSION_DATA`] on v1beta1 objects, [`ANNOTATION_V1BETA1_DATA`] on
//! v1beta2 objects), and converting back restores from there whatever the writer did not change
//! meanwhile.

mod cluster;
mod common;
mod data;
mod data_template;
mod ipv4;
mod ipv6;
mod machine;
mod merge;
mod network_data;
mod remediation;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use super::{v1beta1, v1beta2};
use crate::names::{ANNOTATION_CONVERSION_DATA, ANNOTATION_V1BETA1_DATA};
use merge::merge;

const V1BETA1: &str = "infrastructure.cluster.x-k8s.io/v1beta1";
const V1BETA2: &str = "infrastructure.cluster.x-k8s.io/v1beta2";

/// Why an object could not be converted.
#[derive(Debug, thiserror::Error)]
pub enum ConversionError {
    /// The input is not a Kubernetes object.
    #[error("cannot convert an object without {field}: every Kubernetes object has one")]
    NotAnObject {
        /// The field that is missing.
        field: &'static str,
    },
    /// The group has no such kind.
    #[error(
        "cannot convert {object}: {api_version} has no such kind; check the conversion webhook of its CustomResourceDefinition"
    )]
    UnknownKind {
        /// Kind, namespace and name.
        object: String,
        /// The version that was asked for or given.
        api_version: String,
    },
    /// One of the versions is not known.
    #[error("cannot convert {object} from {from} to {to}: only {V1BETA1} and {V1BETA2} are known")]
    UnknownVersion {
        /// Kind, namespace and name.
        object: String,
        /// The version that was given.
        from: String,
        /// The version that was asked for.
        to: String,
    },
    /// The object does not fit the schema of its own version.
    #[error("cannot convert {object}: its {part} does not fit {from}; correct the object in that version")]
    Malformed {
        /// Kind, namespace and name.
        object: String,
        /// `spec` or `status`.
        part: &'static str,
        /// The version that was given.
        from: String,
        /// What does not fit.
        source: serde_json::Error,
    },
}

/// Converts one object of any kind of the group to `desired_api_version`.
///
/// # Errors
/// When the kind or a version is unknown or the object does not fit its own version.
pub fn convert(object: Value, desired_api_version: &str) -> Result<Value, ConversionError> {
    let name = describe(&object);
    let text = |field| {
        let value = object.get(field).and_then(Value::as_str);
        value
            .map(str::to_owned)
            .ok_or(ConversionError::NotAnObject { field })
    };
    let (from, kind) = (text("apiVersion")?, text("kind")?);
    if from == desired_api_version {
        return Ok(object);
    }
    let unknown_version = || ConversionError::UnknownVersion {
        object: name.clone(),
        from: from.clone(),
        to: desired_api_version.to_owned(),
    };
    let way = match (from.as_str(), desired_api_version) {
        (V1BETA1, V1BETA2) => Way::Up,
        (V1BETA2, V1BETA1) => Way::Down,
        _ => return Err(unknown_version()),
    };
    let codec = codec(&kind).ok_or_else(|| ConversionError::UnknownKind {
        object: name.clone(),
        api_version: from.clone(),
    })?;
    codec
        .convert(object, way)
        .map_err(|Misfit { part, source }| ConversionError::Malformed {
            object: name,
            part,
            from,
            source,
        })
}

fn describe(object: &Value) -> String {
    let text = |pointer| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    match (text("/kind"), text("/metadata/namespace"), text("/metadata/name")) {
        (kind, "", name) => format!("{kind} {name}"),
        (kind, namespace, name) => format!("{kind} {namespace}/{name}"),
    }
}

#[derive(Clone, Copy)]
enum Way {
    Up,
    Down,
}

/// A part of an object that does not fit its version.
#[derive(Debug)]
struct Misfit {
    part: &'static str,
    source: serde_json::Error,
}

/// Spec and status of an object, which is all that conversion changes, and the original of the
/// other version that the object carries.
#[derive(Clone, Debug, PartialEq)]
struct Body {
    fields: Value,
    original: Option<String>,
}

type Translation = fn(&Value) -> Result<Value, Misfit>;

/// How the fields of one kind convert, and what that loses.
struct Codec {
    old: Translation,
    new: Translation,
    up: Translation,
    down: Translation,
}

impl Codec {
    fn convert(&self, mut object: Value, way: Way) -> Result<Value, Misfit> {
        let (api_version, read_from, write_to) = match way {
            Way::Up => (V1BETA2, ANNOTATION_CONVERSION_DATA, ANNOTATION_V1BETA1_DATA),
            Way::Down => (V1BETA1, ANNOTATION_V1BETA1_DATA, ANNOTATION_CONVERSION_DATA),
        };
        let original = take_annotation(&mut object, read_from);
        let body = match way {
            Way::Up => self.to_hub(&(self.old)(&object)?, original.as_deref())?,
            Way::Down => self.to_spoke(&Body {
                fields: (self.new)(&object)?,
                original,
            })?,
        };
        take_annotation(&mut object, write_to);
        if let Some(original) = body.original {
            put_annotation(&mut object, write_to, &original);
        }
        object["apiVersion"] = json!(api_version);
        for part in ["spec", "status"] {
            match body.fields.get(part) {
                Some(value) => object[part] = value.clone(),
                None => {
                    if let Some(fields) = object.as_object_mut() {
                        fields.remove(part);
                    }
                }
            }
        }
        Ok(object)
    }

    /// What v1beta1 clients see of a v1beta2 object.
    fn to_spoke(&self, hub: &Body) -> Result<Body, Misfit> {
        let fields = self.spoke_fields(hub)?;
        let lossless = self.to_hub(&fields, None)? == *hub;
        let original = (!lossless).then(|| hub.to_json());
        Ok(Body { fields, original })
    }

    /// What is stored of a v1beta1 object, which may carry the v1beta2 object it was made from.
    fn to_hub(&self, spoke: &Value, original: Option<&str>) -> Result<Body, Misfit> {
        let fields = (self.up)(spoke)?;
        if let Some(old_hub) = original.and_then(|json| self.read_hub(json)) {
            let old_spoke = self.spoke_fields(&old_hub)?;
            if old_spoke == *spoke {
                return Ok(old_hub);
            }
            let restored = (self.new)(&merge(&(self.up)(&old_spoke)?, &fields, &old_hub.fields))?;
            let restored = self.hub(restored, spoke)?;
            // What was written must be read back, even at the price of what only v1beta2 can show.
            if self.spoke_fields(&restored)? == *spoke {
                return Ok(restored);
            }
        }
        self.hub(fields, spoke)
    }

    fn hub(&self, fields: Value, spoke: &Value) -> Result<Body, Misfit> {
        let lossless = (self.down)(&fields)? == *spoke;
        Ok(Body {
            fields,
            original: (!lossless).then(|| spoke.to_string()),
        })
    }

    fn spoke_fields(&self, hub: &Body) -> Result<Value, Misfit> {
        let fields = (self.down)(&hub.fields)?;
        match hub.original.as_deref().and_then(|json| self.read_spoke(json)) {
            None => Ok(fields),
            Some(old_spoke) => {
                let base = (self.down)(&(self.up)(&old_spoke)?)?;
                (self.old)(&merge(&base, &fields, &old_spoke))
            }
        }
    }

    /// Anybody can edit an annotation; one that cannot be read restores nothing.
    fn read_spoke(&self, json: &str) -> Option<Value> {
        (self.old)(&serde_json::from_str(json).ok()?).ok()
    }

    fn read_hub(&self, json: &str) -> Option<Body> {
        let mut object: Value = serde_json::from_str(json).ok()?;
        let original = take_annotation(&mut object, ANNOTATION_V1BETA1_DATA);
        Some(Body {
            fields: (self.new)(&object).ok()?,
            original,
        })
    }
}

impl Body {
    fn to_json(&self) -> String {
        let mut object = self.fields.clone();
        if let Some(original) = &self.original {
            put_annotation(&mut object, ANNOTATION_V1BETA1_DATA, original);
        }
        object.to_string()
    }
}

/// Removes an annotation, and with the last one the map.
fn take_annotation(object: &mut Value, key: &str) -> Option<String> {
    let metadata = object.get_mut("metadata")?.as_object_mut()?;
    let annotations = metadata.get_mut("annotations")?.as_object_mut()?;
    let value = annotations.remove(key)?;
    if annotations.is_empty() {
        metadata.remove("annotations");
    }
    value.as_str().map(str::to_owned)
}

fn put_annotation(object: &mut Value, key: &str, value: &str) {
    if !object["metadata"].is_object() {
        object["metadata"] = json!({});
    }
    if !object["metadata"]["annotations"].is_object() {
        object["metadata"]["annotations"] = json!({});
    }
    object["metadata"]["annotations"][key] = json!(value);
}

fn codec(kind: &str) -> Option<Codec> {
    use v1beta1 as old;
    use v1beta2 as new;
    Some(match kind {
        "Metal3Cluster" => with_status::<
            old::Metal3ClusterSpec,
            new::Metal3ClusterSpec,
            old::Metal3ClusterStatus,
            new::Metal3ClusterStatus,
        >(),
        "Metal3ClusterTemplate" => {
            spec_only::<old::Metal3ClusterTemplateSpec, new::Metal3ClusterTemplateSpec>()
        }
        "Metal3Machine" => with_status::<
            old::Metal3MachineSpec,
            new::Metal3MachineSpec,
            old::Metal3MachineStatus,
            new::Metal3MachineStatus,
        >(),
        "Metal3MachineTemplate" => {
            spec_only::<old::Metal3MachineTemplateSpec, new::Metal3MachineTemplateSpec>()
        }
        "Metal3DataTemplate" => with_status::<
            old::Metal3DataTemplateSpec,
            new::Metal3DataTemplateSpec,
            old::Metal3DataTemplateStatus,
            new::Metal3DataTemplateStatus,
        >(),
        "Metal3DataClaim" => with_status::<
            old::Metal3DataClaimSpec,
            new::Metal3DataClaimSpec,
            old::Metal3DataClaimStatus,
            new::Metal3DataClaimStatus,
        >(),
        "Metal3Data" => with_status::<
            old::Metal3DataSpec,
            new::Metal3DataSpec,
            old::Metal3DataStatus,
            new::Metal3DataStatus,
        >(),
        "Metal3Remediation" => with_status::<
            old::Metal3RemediationSpec,
            new::Metal3RemediationSpec,
            old::Metal3RemediationStatus,
            new::Metal3RemediationStatus,
        >(),
        "Metal3RemediationTemplate" => with_status::<
            old::Metal3RemediationTemplateSpec,
            new::Metal3RemediationTemplateSpec,
            old::Metal3RemediationTemplateStatus,
            new::Metal3RemediationTemplateStatus,
        >(),
        _ => return None,
    })
}

fn with_status<OldSpec, NewSpec, OldStatus, NewStatus>() -> Codec
where
    OldSpec: From<NewSpec> + DeserializeOwned + Serialize,
    NewSpec: From<OldSpec> + DeserializeOwned + Serialize,
    OldStatus: From<NewStatus> + DeserializeOwned + Serialize,
    NewStatus: From<OldStatus> + DeserializeOwned + Serialize,
{
    Codec {
        old: both::<OldSpec, OldSpec, OldStatus, OldStatus>,
        new: both::<NewSpec, NewSpec, NewStatus, NewStatus>,
        up: both::<OldSpec, NewSpec, OldStatus, NewStatus>,
        down: both::<NewSpec, OldSpec, NewStatus, OldStatus>,
    }
}

fn spec_only<OldSpec, NewSpec>() -> Codec
where
    OldSpec: From<NewSpec> + DeserializeOwned + Serialize,
    NewSpec: From<OldSpec> + DeserializeOwned + Serialize,
{
    Codec {
        old: part::<OldSpec, OldSpec>,
        new: part::<NewSpec, NewSpec>,
        up: part::<OldSpec, NewSpec>,
        down: part::<NewSpec, OldSpec>,
    }
}

fn both<SpecA, SpecB, StatusA, StatusB>(fields: &Value) -> Result<Value, Misfit>
where
    SpecA: DeserializeOwned,
    SpecB: From<SpecA> + Serialize,
    StatusA: DeserializeOwned,
    StatusB: From<StatusA> + Serialize,
{
    let mut out = Map::new();
    translate::<SpecA, SpecB>(fields, "spec", &mut out)?;
    translate::<StatusA, StatusB>(fields, "status", &mut out)?;
    Ok(Value::Object(out))
}

fn part<SpecA, SpecB>(fields: &Value) -> Result<Value, Misfit>
where
    SpecA: DeserializeOwned,
    SpecB: From<SpecA> + Serialize,
{
    let mut out = Map::new();
    translate::<SpecA, SpecB>(fields, "spec", &mut out)?;
    Ok(Value::Object(out))
}

fn translate<A, B>(fields: &Value, part: &'static str, out: &mut Map<String, Value>) -> Result<(), Misfit>
where
    A: DeserializeOwned,
    B: From<A> + Serialize,
{
    let Some(value) = fields.get(part).filter(|value| !value.is_null()) else {
        return Ok(());
    };
    let misfit = |source| Misfit { part, source };
    let read: A = serde_json::from_value(value.clone()).map_err(misfit)?;
    out.insert(
        part.to_owned(),
        serde_json::to_value(B::from(read)).map_err(misfit)?,
    );
    Ok(())
}
