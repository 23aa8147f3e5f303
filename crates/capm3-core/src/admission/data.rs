//! What the admission webhooks refuse of data templates, claims and data.

use metal3_api::infra::v1beta2::{
    MetaDataHostInterface, Metal3DataClaimSpec, Metal3DataSpec, Metal3DataTemplateSpec, NetworkAnnotationRef,
    NetworkData, PoolRef,
};

/// Why a Metal3DataTemplate is refused. Data that were rendered before would not be rendered again, so that the machines
/// of one template would differ: neither part can change.
pub fn data_template(spec: &Metal3DataTemplateSpec, old: Option<&Metal3DataTemplateSpec>) -> Vec<String> {
    let mut errors = Vec::new();
    if let Some(old) = old {
        let remedy = "make another Metal3DataTemplate and name it in a new Metal3MachineTemplate";
        if spec.meta_data != old.meta_data {
            errors.push(immutable("spec.metaData", remedy));
        }
        if spec.network_data != old.network_data {
            errors.push(immutable("spec.networkData", remedy));
        }
    }
    let interfaces = spec
        .meta_data
        .iter()
        .flat_map(|meta_data| &meta_data.from_host_interfaces);
    errors.extend(
        interfaces
            .enumerate()
            .filter_map(|(index, source)| host_interface(index, source)),
    );
    errors.extend(spec.network_data.iter().flat_map(networks));
    errors
}

/// What the writer of a Metal3DataTemplate should know.
pub fn data_template_warnings(spec: &Metal3DataTemplateSpec) -> Vec<String> {
    let named = spec.cluster_name.as_deref().is_some_and(|name| !name.is_empty());
    let warning = "spec.clusterName is deprecated and has no effect: Clusters may share a Metal3DataTemplate";
    named.then(|| warning.to_owned()).into_iter().collect()
}

fn host_interface(index: usize, source: &MetaDataHostInterface) -> Option<String> {
    let path = format!("spec.metaData.fromHostInterfaces[{index}].interface");
    let named = source.interface.as_deref().is_some_and(|name| !name.is_empty());
    match (source.from_boot_mac.unwrap_or(false), named) {
        (false, false) => Some(format!(
            "{path}: Required value: name an interface of the host, or set fromBootMAC: true"
        )),
        (true, true) => Some(format!(
            "{path}: Invalid value: {:?}: must be empty with fromBootMAC: true, which names the interface",
            source.interface.as_deref().unwrap_or_default()
        )),
        (false, true) | (true, false) => None,
    }
}

/// Each static network needs somebody who gives its addresses.
fn networks(data: &NetworkData) -> Vec<String> {
    let Some(networks) = &data.networks else {
        return Vec::new();
    };
    let four = networks.ipv4.iter().map(|network| {
        sourced(
            network.ip_address_from_ip_pool.as_deref(),
            network.from_pool_ref.as_ref(),
            network.from_pool_annotation.as_ref(),
        )
    });
    let six = networks.ipv6.iter().map(|network| {
        sourced(
            network.ip_address_from_ip_pool.as_deref(),
            network.from_pool_ref.as_ref(),
            network.from_pool_annotation.as_ref(),
        )
    });
    let four = four.enumerate().map(|(index, sourced)| ("ipv4", index, sourced));
    let six = six.enumerate().map(|(index, sourced)| ("ipv6", index, sourced));
    four.chain(six)
        .filter(|(_, _, sourced)| !sourced)
        .map(|(family, index, _)| {
            format!(
                "spec.networkData.networks.{family}[{index}]: Required value: one of fromPoolRef.name, \
                 ipAddressFromIPPool and fromPoolAnnotation has to name a pool; use {family}DHCP for addresses without one"
            )
        })
        .collect()
}

fn sourced(
    pool: Option<&str>,
    reference: Option<&PoolRef>,
    annotation: Option<&NetworkAnnotationRef>,
) -> bool {
    pool.is_some_and(|name| !name.is_empty())
        || reference.is_some_and(|reference| !reference.name.is_empty())
        || annotation.is_some_and(|annotation| !annotation.object.is_empty())
}

/// Why a Metal3DataClaim is refused.
pub fn data_claim(
    spec: &Metal3DataClaimSpec,
    old: Option<&Metal3DataClaimSpec>,
    namespace: &str,
) -> Vec<String> {
    let mut errors = Vec::new();
    let template = spec.template.clone().unwrap_or_default();
    if template.name.unwrap_or_default().is_empty() {
        errors.push("spec.template.name: Required value: name the Metal3DataTemplate to render".to_owned());
    }
    let other = template.namespace.unwrap_or_default();
    if !other.is_empty() && other != namespace {
        errors.push(format!(
            "spec.template.namespace: Invalid value: {other:?}: must be empty or the namespace of the claim; a \
             Metal3DataTemplate of another namespace cannot be used"
        ));
    }
    if old.is_some_and(|old| old.template != spec.template) {
        errors.push(immutable("spec.template", "make another Metal3DataClaim"));
    }
    errors
}

/// Why a Metal3Data is refused.
pub fn data(spec: &Metal3DataSpec, old: Option<&Metal3DataSpec>, name: &str) -> Vec<String> {
    let mut errors = Vec::new();
    let template = spec
        .template
        .as_ref()
        .and_then(|template| template.name.as_deref())
        .unwrap_or_default();
    match spec.index {
        Some(index) if index < 0 => errors.push(format!(
            "spec.index: Invalid value: {index}: must not be negative"
        )),
        Some(index) if !template.is_empty() => {
            // The name is what makes an index of a template unique.
            let wanted = format!("{template}-{index}");
            if name != wanted {
                errors.push(format!(
                    "metadata.name: Invalid value: {name:?}: must be {wanted:?}, from spec.template.name and spec.index"
                ));
            }
        }
        Some(_) | None => {}
    }
    if let Some(old) = old {
        let remedy = "delete the Metal3Data, and its claim gets another one";
        for (field, changed) in [
            ("spec.index", spec.index != old.index),
            ("spec.template", spec.template != old.template),
            ("spec.claim", spec.claim != old.claim),
        ] {
            if changed {
                errors.push(immutable(field, remedy));
            }
        }
    }
    errors
}

fn immutable(field: &str, remedy: &str) -> String {
    format!("{field}: Forbidden: cannot be changed; {remedy}")
}

#[cfg(test)]
mod tests {
    use metal3_api::infra::v1beta2::{Metal3DataClaimSpec, Metal3DataSpec, Metal3DataTemplateSpec};
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    use super::*;

    fn read<S: DeserializeOwned>(value: Value) -> S {
        serde_json::from_value(value).unwrap()
    }

    /// `error` is how the only error begins; empty: there is none.
    fn expect(case: &str, found: &[String], error: &str) {
        match error {
            "" => assert!(found.is_empty(), "{case}: {found:?}"),
            error => assert!(
                found.len() == 1 && found[0].starts_with(error),
                "{case}: {found:?}"
            ),
        }
    }

    #[test]
    fn a_host_interface_is_named_or_is_that_of_the_boot_mac() {
        for (source, error) in [
            (json!({"key": "k", "interface": "eth0"}), ""),
            (json!({"key": "k", "fromBootMAC": true}), ""),
            (
                json!({"key": "k"}),
                "spec.metaData.fromHostInterfaces[1].interface: Required",
            ),
            (
                json!({"key": "k", "fromBootMAC": false}),
                "spec.metaData.fromHostInterfaces[1].interface: Required",
            ),
            (
                json!({"key": "k", "fromBootMAC": true, "interface": "eth0"}),
                "spec.metaData.fromHostInterfaces[1].interface: Invalid",
            ),
        ] {
            let spec: Metal3DataTemplateSpec = read(json!({"metaData": {"fromHostInterfaces": [
                {"key": "right", "interface": "eth1"}, source,
            ]}}));
            expect(&source.to_string(), &data_template(&spec, None), error);
        }
    }

    #[test]
    fn each_static_network_names_its_pool_in_one_of_three_ways() {
        for family in ["ipv4", "ipv6"] {
            for (source, sourced) in [
                (json!({"ipAddressFromIPPool": "p"}), true),
                (json!({"fromPoolRef": {"name": "p"}}), true),
                (
                    json!({"fromPoolAnnotation": {"object": "machine", "annotation": "a"}}),
                    true,
                ),
                (json!({}), false),
                (json!({"ipAddressFromIPPool": ""}), false),
                (json!({"fromPoolRef": {"name": ""}}), false),
                (
                    json!({"fromPoolAnnotation": {"object": "", "annotation": ""}}),
                    false,
                ),
            ] {
                let mut network = source.clone();
                network["id"] = json!("n");
                network["link"] = json!("l");
                let spec: Metal3DataTemplateSpec =
                    read(json!({"networkData": {"networks": {family: [network]}}}));
                let error = format!("spec.networkData.networks.{family}[0]: Required");
                let error = if sourced { "" } else { error.as_str() };
                expect(&format!("{family} {source}"), &data_template(&spec, None), error);
            }
        }
    }

    #[test]
    fn a_data_template_cannot_change_what_it_renders() {
        let spec = |meta: Value, network: Value| -> Metal3DataTemplateSpec {
            read(json!({"clusterName": "c", "metaData": meta, "networkData": network}))
        };
        let before = spec(
            json!({"strings": [{"key": "a", "value": "b"}]}),
            json!({"links": {}}),
        );
        let renamed = Metal3DataTemplateSpec {
            cluster_name: None,
            ..before.clone()
        };
        expect("cluster name", &data_template(&renamed, Some(&before)), "");
        for (case, after, error) in [
            (
                "value",
                spec(
                    json!({"strings": [{"key": "a", "value": "c"}]}),
                    json!({"links": {}}),
                ),
                "spec.metaData: Forbidden",
            ),
            (
                "no metadata",
                spec(Value::Null, json!({"links": {}})),
                "spec.metaData: Forbidden",
            ),
            (
                "no network data",
                spec(json!({"strings": [{"key": "a", "value": "b"}]}), Value::Null),
                "spec.networkData: Forbidden",
            ),
        ] {
            expect(case, &data_template(&after, Some(&before)), error);
        }
        assert!(data_template_warnings(&before)[0].starts_with("spec.clusterName is deprecated"));
        assert!(data_template_warnings(&renamed).is_empty());
    }

    #[test]
    fn a_claim_names_a_template_of_its_namespace_for_ever() {
        let spec = |template: Value| -> Metal3DataClaimSpec { read(json!({"template": template})) };
        for (template, error) in [
            (json!({"name": "t"}), ""),
            (json!({"name": "t", "namespace": "ns"}), ""),
            (json!({"name": "t", "namespace": ""}), ""),
            (Value::Null, "spec.template.name: Required"),
            (json!({"namespace": "ns"}), "spec.template.name: Required"),
            (
                json!({"name": "t", "namespace": "other"}),
                "spec.template.namespace: Invalid value: \"other\"",
            ),
        ] {
            let case = template.to_string();
            expect(&case, &data_claim(&spec(template), None, "ns"), error);
        }
        let before = spec(json!({"name": "t"}));
        expect("same", &data_claim(&before, Some(&before), "ns"), "");
        let after = spec(json!({"name": "u"}));
        expect(
            "other",
            &data_claim(&after, Some(&before), "ns"),
            "spec.template: Forbidden",
        );
    }

    #[test]
    fn data_are_named_by_template_and_index_and_keep_both() {
        let spec = |index: Option<i32>, template: Option<&str>, claim: &str| -> Metal3DataSpec {
            read(json!({
                "index": index, "claim": {"name": claim},
                "template": template.map(|name| json!({"name": name})),
            }))
        };
        for (name, spec, error) in [
            ("t-3", spec(Some(3), Some("t"), "c"), ""),
            ("any", spec(None, Some("t"), "c"), ""),
            ("any", spec(Some(3), None, "c"), ""),
            (
                "t-4",
                spec(Some(3), Some("t"), "c"),
                "metadata.name: Invalid value: \"t-4\"",
            ),
            (
                "t--1",
                spec(Some(-1), Some("t"), "c"),
                "spec.index: Invalid value: -1",
            ),
        ] {
            expect(name, &data(&spec, None, name), error);
        }
        let before = spec(Some(3), None, "c");
        for (after, error) in [
            (spec(Some(3), None, "c"), ""),
            (spec(Some(4), None, "c"), "spec.index: Forbidden"),
            (spec(Some(3), Some("t"), "c"), "spec.template: Forbidden"),
            (spec(Some(3), None, "d"), "spec.claim: Forbidden"),
        ] {
            expect(error, &data(&after, Some(&before), "t-3"), error);
        }
    }
}
