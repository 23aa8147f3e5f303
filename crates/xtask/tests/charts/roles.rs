//! Who may do what.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use crate::{cases, helm};

fn rules(chart: &str, file: &str) -> Vec<Value> {
    let path = helm::root()
        .join("charts")
        .join(chart)
        .join("rbac")
        .join(format!("{file}.yaml"));
    serde_saphyr::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// The rules of all roles that are bound to a ServiceAccount, as (namespace or "", rules).
fn bound(objects: &[Value], account: &str) -> BTreeSet<(String, String)> {
    let bindings = objects.iter().filter(|object| {
        object["kind"]
            .as_str()
            .is_some_and(|kind| kind.ends_with("RoleBinding"))
    });
    let mut bound = BTreeSet::new();
    for binding in bindings {
        let subjects = json!([{"kind": "ServiceAccount", "name": account, "namespace": helm::NAMESPACE}]);
        let (reference, namespace) = (
            &binding["roleRef"],
            binding["metadata"]["namespace"].as_str().unwrap_or_default(),
        );
        let (kind, name) = (
            reference["kind"].as_str().unwrap(),
            reference["name"].as_str().unwrap(),
        );
        if binding["subjects"] != subjects || name.starts_with("system:") {
            continue;
        }
        let id = match kind {
            "Role" => format!("Role {namespace}/{name}"),
            _ => format!("ClusterRole {name}"),
        };
        bound.insert((
            namespace.to_owned(),
            helm::find(objects, &id)["rules"].to_string(),
        ));
    }
    bound
}

#[test]
fn roles_are_the_lists_that_the_tests_run_under() {
    let (bmo, capm3) = (
        rules("metal3-bmo", "cluster-rules"),
        rules("metal3-capm3", "cluster-rules"),
    );
    let (reviews, rest): (Vec<Value>, Vec<Value>) = bmo.iter().cloned().partition(|rule| {
        rule["apiGroups"] == json!(["authentication.k8s.io"])
            || rule["apiGroups"] == json!(["authorization.k8s.io"])
    });
    assert_eq!(reviews.len(), 2);
    for (case, objects) in cases::all() {
        let mut wanted = [BTreeSet::new(), BTreeSet::new()];
        let mut want = |service: usize, namespace: &str, rules: &[Value]| {
            wanted[service].insert((namespace.to_owned(), json!(rules).to_string()));
        };
        want(0, helm::NAMESPACE, &rules("metal3-bmo", "namespace-rules"));
        want(1, helm::NAMESPACE, &rules("metal3-capm3", "namespace-rules"));
        if *case == "namespaced" {
            want(0, "", &reviews);
            want(0, "metal3", &rest);
            want(0, "edge", &rest);
            want(0, "ironic-system", &rules("metal3-bmo", "ironic-resource-rules"));
            want(1, "metal3", &capm3);
        } else {
            want(0, "", &bmo);
            want(1, "", &capm3);
            want(1, "", &rules("metal3-capm3", "migration-cluster-rules"));
        }
        if matches!(*case, "self-signed" | "sim") {
            want(0, helm::NAMESPACE, &rules("metal3-bmo", "self-signed-rules"));
            want(0, "", &rules("metal3-bmo", "self-signed-cluster-rules"));
            want(1, helm::NAMESPACE, &rules("metal3-capm3", "self-signed-rules"));
            want(1, "", &rules("metal3-capm3", "self-signed-cluster-rules"));
        }
        let found = [
            bound(objects, "baremetal-operator-controller-manager"),
            bound(objects, "capm3-manager"),
        ];
        assert_eq!(found, wanted, "{case}");
        // No role is there that the lists do not know, but for that of `helm test`, which goes with it.
        let roles = objects
            .iter()
            .filter(|object| matches!(object["kind"].as_str(), Some("Role" | "ClusterRole")))
            .filter(|object| object["metadata"]["annotations"]["helm.sh/hook"] != "test")
            // Those for people are nobody's until Kubernetes adds them to its own.
            .filter(|object| {
                object["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-admin"] != "true"
            });
        let known = found.iter().map(BTreeSet::len).sum::<usize>();
        assert_eq!(
            roles.count(),
            known + usize::from(*case == "everything"),
            "{case}"
        );
    }
}
