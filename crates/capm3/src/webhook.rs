//! Conversion and admission, under upstream's paths.

use metal3_api::infra::conversion::{ConversionError, convert};
use metal3_api::infra::v1beta2::{
    Metal3ClusterSpec, Metal3ClusterTemplateSpec, Metal3DataClaimSpec, Metal3DataSpec,
    Metal3DataTemplateSpec, Metal3MachineSpec, Metal3MachineTemplateSpec, Metal3RemediationSpec,
    Metal3RemediationTemplateSpec, RemediationStrategy,
};
use metal3_api::names;
use metal3_capm3_core::admission;
use metal3_kit::tls::Target;
use metal3_kit::webhook::{Admission, Verdict, Webhooks};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// All webhooks of the provider; `templates/webhooks.yaml` of the chart names them too.
pub(crate) fn all() -> Webhooks {
    Webhooks::default()
        .conversion("/convert", converted)
        .admission(&path("mutate", "metal3cluster"), default_cluster)
        .admission(&path("mutate", "metal3remediationtemplate"), default_remediation)
        .admission(&path("validate", "metal3cluster"), |request| Verdict {
            warnings: cluster_warnings(request),
            ..validate(request, |spec: &Metal3ClusterSpec, _| admission::cluster(spec))
        })
        .admission(&path("validate", "metal3clustertemplate"), |request| {
            validate(request, |spec: &Metal3ClusterTemplateSpec, _| {
                admission::cluster_template(spec)
            })
        })
        .admission(&path("validate", "metal3machine"), |request| {
            validate(request, |spec: &Metal3MachineSpec, object| {
                admission::machine(spec, object.namespace)
            })
        })
        .admission(&path("validate", "metal3machinetemplate"), |request| {
            validate(request, |spec: &Metal3MachineTemplateSpec, object| {
                admission::machine_template(spec, object.namespace)
            })
        })
        .admission(&path("validate", "metal3datatemplate"), |request| Verdict {
            warnings: data_template_warnings(request),
            ..validate(request, |spec: &Metal3DataTemplateSpec, object| {
                admission::data_template(spec, object.old.as_ref())
            })
        })
        .admission(&path("validate", "metal3dataclaim"), |request| {
            validate(request, |spec: &Metal3DataClaimSpec, object| {
                admission::data_claim(spec, object.old.as_ref(), object.namespace)
            })
        })
        .admission(&path("validate", "metal3data"), |request| {
            validate(request, |spec: &Metal3DataSpec, object| {
                admission::data(spec, object.old.as_ref(), object.name)
            })
        })
        .admission(&path("validate", "metal3remediation"), |request| {
            validate(request, |spec: &Metal3RemediationSpec, _| {
                admission::remediation(spec)
            })
        })
        .admission(&path("validate", "metal3remediationtemplate"), |request| {
            validate(request, |spec: &Metal3RemediationTemplateSpec, _| {
                admission::remediation_template(spec)
            })
        })
}

/// Kinds with two versions; the rules in `rbac/` of the chart name them too.
const CONVERTED: [&str; 9] = [
    "metal3clusters",
    "metal3clustertemplates",
    "metal3dataclaims",
    "metal3datas",
    "metal3datatemplates",
    "metal3machines",
    "metal3machinetemplates",
    "metal3remediations",
    "metal3remediationtemplates",
];

/// What makes the API server call the webhooks, and therefore has to know their CA. The names are upstream's.
pub(crate) fn callers() -> Vec<Target> {
    let mut callers = vec![
        Target::Mutating("capm3-mutating-webhook-configuration".into()),
        Target::Validating("capm3-validating-webhook-configuration".into()),
    ];
    callers.extend(definitions().map(Target::Conversion));
    callers
}

/// Names of the definitions of these kinds.
pub(crate) fn definitions() -> impl Iterator<Item = String> {
    CONVERTED
        .into_iter()
        .map(|plural| format!("{plural}.infrastructure.cluster.x-k8s.io"))
}

fn path(verb: &str, kind: &str) -> String {
    format!("/{verb}-infrastructure-cluster-x-k8s-io-v1beta2-{kind}")
}

/// The API server asks for whole lists at once and fails all of them, and its cache of the version, when one object
/// fails. So one that does not fit its own version is passed on as it is: it harms nobody else, shows what is wrong with
/// it, and can be corrected in either version. Writing such an object is refused by its schema and by admission.
fn converted(object: Value, version: &str) -> Result<Value, String> {
    match convert(object.clone(), version) {
        Ok(object) => Ok(object),
        Err(error @ ConversionError::Malformed { .. }) => {
            tracing::warn!(error = chain(&error), "object is passed on unconverted");
            let mut object = object;
            object["apiVersion"] = json!(version);
            Ok(object)
        }
        Err(error) => Err(chain(&error)),
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// What rules look at besides the spec.
struct Object<'a, S> {
    namespace: &'a str,
    name: &'a str,
    /// The spec as it was. One that cannot be read binds nobody: it has to be corrected.
    old: Option<S>,
}

fn validate<S: DeserializeOwned>(
    request: &Admission,
    rules: impl Fn(&S, &Object<'_, S>) -> Vec<String>,
) -> Verdict {
    let metadata = &request.object["metadata"];
    let spec = &request.object["spec"];
    let unchanged = request
        .old_object
        .as_ref()
        .is_some_and(|old| old["spec"] == *spec);
    // What was accepted before must stay deletable and labelable, even if today's rules refuse it.
    if unchanged || !metadata["deletionTimestamp"].is_null() {
        return Verdict::default();
    }
    let object = Object {
        namespace: metadata["namespace"].as_str().unwrap_or_default(),
        name: metadata["name"].as_str().unwrap_or_default(),
        old: request
            .old_object
            .as_ref()
            .and_then(|old| read(&old["spec"]).ok()),
    };
    let errors = match read(spec) {
        Ok(spec) => rules(&spec, &object),
        Err(error) => vec![format!("spec cannot be read: {error}")],
    };
    Verdict {
        errors,
        ..Verdict::default()
    }
}

/// A spec. The schema lets some kinds go without one.
fn read<S: DeserializeOwned>(spec: &Value) -> Result<S, serde_json::Error> {
    let spec = if spec.is_null() { json!({}) } else { spec.clone() };
    serde_json::from_value(spec)
}

/// Only who writes the annotation is told, and not whoever writes something else.
fn cluster_warnings(request: &Admission) -> Vec<String> {
    let asked = |object: &Value| {
        let annotations = &object["metadata"]["annotations"];
        annotations[names::ANNOTATION_LABEL_SYNC_PREFIXES]
            .as_str()
            .map(str::to_owned)
    };
    let before = request.old_object.as_ref().and_then(asked);
    let changed = asked(&request.object).filter(|now| before.as_ref() != Some(now));
    changed.map_or_else(Vec::new, |asked| admission::label_sync_warnings(&asked))
}

fn data_template_warnings(request: &Admission) -> Vec<String> {
    let spec = read::<Metal3DataTemplateSpec>(&request.object["spec"]);
    spec.map(|spec| admission::data_template_warnings(&spec))
        .unwrap_or_default()
}

fn default_cluster(request: &Admission) -> Verdict {
    let spec = &request.object["spec"];
    let mut patch = Vec::new();
    if spec.is_object() && spec["cloudProviderEnabled"].is_null() {
        patch.push(add("/spec/cloudProviderEnabled", &json!(false)));
    }
    let endpoint = &spec["controlPlaneEndpoint"];
    if endpoint.is_object() && endpoint["port"].as_i64().unwrap_or_default() == 0 {
        patch.push(add(
            "/spec/controlPlaneEndpoint/port",
            &json!(admission::DEFAULT_PORT),
        ));
    }
    Verdict {
        patch,
        ..Verdict::default()
    }
}

/// The whole strategy is written, whatever part of it was left out. What cannot be read is left to the schema.
fn default_remediation(request: &Admission) -> Verdict {
    let spec = &request.object["spec"]["template"]["spec"];
    let given = &spec["strategy"];
    let strategy = if given.is_null() {
        Ok(RemediationStrategy::default())
    } else {
        serde_json::from_value(given.clone())
    };
    let mut patch = Vec::new();
    if let (true, Ok(strategy)) = (spec.is_object(), strategy) {
        let whole = json!(admission::strategy_defaults(strategy));
        if *given != whole {
            patch.push(add("/spec/template/spec/strategy", &whole));
        }
    }
    Verdict {
        patch,
        ..Verdict::default()
    }
}

fn add(path: &str, value: &Value) -> Value {
    json!({"op": "add", "path": path, "value": value})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(object: Value, old: Option<Value>) -> Admission {
        Admission {
            operation: if old.is_some() { "UPDATE" } else { "CREATE" }.into(),
            object,
            old_object: old,
            dry_run: false,
        }
    }

    fn machine(request: &Admission) -> Verdict {
        validate(request, |spec: &Metal3MachineSpec, object| {
            admission::machine(spec, object.namespace)
        })
    }

    #[test]
    fn what_does_not_fit_its_version_is_passed_on_and_what_is_unknown_is_not() {
        let group = "infrastructure.cluster.x-k8s.io";
        let object = |kind: &str| json!({"apiVersion": format!("{group}/v1beta2"), "kind": kind, "metadata": {}, "spec": {"image": 3}});
        let wanted = format!("{group}/v1beta1");
        let passed = converted(object("Metal3Machine"), &wanted).unwrap();
        assert_eq!(
            (&passed["apiVersion"], &passed["spec"]),
            (&json!(wanted), &json!({"image": 3}))
        );
        assert!(converted(object("Metal3Unicorn"), &wanted).is_err());
        assert!(converted(object("Metal3Machine"), "other/v1").is_err());
    }

    #[test]
    fn every_kind_with_two_versions_learns_the_authority() {
        let known = callers();
        let crds = metal3_api::infra::crds();
        assert_eq!(known.len(), crds.len() + 2);
        for crd in crds {
            let name = crd.metadata.name.unwrap();
            assert!(known.contains(&Target::Conversion(name.clone())), "{name}");
        }
    }

    #[test]
    fn a_cluster_gets_its_defaults_once() {
        let object = json!({"spec": {"controlPlaneEndpoint": {"host": "a"}}});
        let verdict = default_cluster(&request(object, None));
        assert_eq!(
            verdict.patch,
            [
                json!({"op": "add", "path": "/spec/cloudProviderEnabled", "value": false}),
                json!({"op": "add", "path": "/spec/controlPlaneEndpoint/port", "value": 6443}),
            ]
        );
        let complete =
            json!({"spec": {"cloudProviderEnabled": true, "controlPlaneEndpoint": {"host": "a", "port": 1}}});
        assert_eq!(default_cluster(&request(complete, None)), Verdict::default());
    }

    #[test]
    fn a_wrong_prefix_is_told_to_whoever_writes_it() {
        let cluster = |asked: &str| json!({"metadata": {"annotations": {names::ANNOTATION_LABEL_SYNC_PREFIXES: asked}}});
        let warnings =
            |now: &str, old: Option<&str>| cluster_warnings(&request(cluster(now), old.map(cluster)));
        let told = warnings("a.io,No/", Some("a.io"));
        assert!(told.len() == 1 && told[0].contains(r#""No/" cannot"#), "{told:?}");
        assert_eq!(warnings("No/", None).len(), 1);
        assert_eq!(warnings("No/", Some("No/")).len(), 0);
        assert_eq!(warnings("a.io", Some("No/")).len(), 0);
        assert_eq!(cluster_warnings(&request(json!({}), None)).len(), 0);
    }

    #[test]
    fn a_template_of_remediations_gets_what_it_leaves_out() {
        let template = |spec: Value| request(json!({"spec": {"template": {"spec": spec}}}), None);
        let whole = json!({"type": "Reboot", "retryLimit": 1, "timeoutSeconds": 600});
        let add = |value: Value| json!({"op": "add", "path": "/spec/template/spec/strategy", "value": value});
        for (spec, patch) in [
            (json!({}), vec![add(whole.clone())]),
            (json!({"strategy": null}), vec![add(whole.clone())]),
            (
                json!({"strategy": {"timeoutSeconds": 300}}),
                vec![add(
                    json!({"type": "Reboot", "retryLimit": 1, "timeoutSeconds": 300}),
                )],
            ),
            (json!({"strategy": whole}), vec![]),
            (json!({"strategy": "Reboot"}), vec![]),
        ] {
            let verdict = default_remediation(&template(spec.clone()));
            assert_eq!(verdict.patch, patch, "{spec}");
        }
        // The schema says what is missing.
        let empty = request(json!({"spec": {}}), None);
        assert_eq!(default_remediation(&empty), Verdict::default());
    }

    #[test]
    fn an_old_spec_that_cannot_be_read_binds_nobody() {
        let claim = |request: &Admission| {
            validate(request, |spec: &Metal3DataClaimSpec, object| {
                admission::data_claim(spec, object.old.as_ref(), object.namespace)
            })
        };
        let object =
            |template: Value| json!({"metadata": {"namespace": "ns"}, "spec": {"template": template}});
        let new = object(json!({"name": "t"}));
        assert_eq!(
            claim(&request(new.clone(), Some(object(json!(3))))),
            Verdict::default()
        );
        let bound = claim(&request(new, Some(object(json!({"name": "u"}))))).errors;
        assert!(bound[0].starts_with("spec.template: Forbidden"), "{bound:?}");
        // Upstream's handler dies of this.
        let bare = claim(&request(json!({"metadata": {"namespace": "ns"}}), None)).errors;
        assert!(bare[0].starts_with("spec.template.name: Required"), "{bare:?}");
    }

    #[test]
    fn what_was_accepted_before_can_still_be_deleted_and_labelled() {
        let bad = json!({"metadata": {"namespace": "ns"}, "spec": {}});
        assert!(!machine(&request(bad.clone(), None)).errors.is_empty());
        assert_eq!(machine(&request(bad.clone(), Some(bad))), Verdict::default());
        let deleting = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "spec": {}});
        let old = json!({"spec": {"providerID": "x"}});
        assert_eq!(machine(&request(deleting, Some(old))), Verdict::default());
    }

    #[test]
    fn a_spec_that_cannot_be_read_is_refused_with_a_reason() {
        let object = json!({"metadata": {"namespace": "ns"}, "spec": {"image": 3}});
        let errors = machine(&request(object, None)).errors;
        assert!(errors[0].contains("spec cannot be read"), "{errors:?}");
    }
}
