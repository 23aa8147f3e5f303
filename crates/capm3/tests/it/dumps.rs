//! What `kubectl get -o yaml` shows of an object in v1beta1 makes the same object again, however little was said in v1beta2.

use serde_json::{Value, json};

use crate::webhooks::{GROUP, get, path, send, shared};

/// The least that v1beta2 takes of each kind.
fn least() -> Vec<(&'static str, &'static str, Value)> {
    let endpoint = json!({"controlPlaneEndpoint": {"host": "192.0.2.9", "port": 6443}});
    let runs = json!({"customDeploy": {"method": "m"}});
    let template = json!({"name": "t"});
    vec![
        ("Metal3Cluster", "metal3clusters", endpoint.clone()),
        (
            "Metal3ClusterTemplate",
            "metal3clustertemplates",
            json!({"template": {"spec": endpoint}}),
        ),
        ("Metal3Machine", "metal3machines", runs.clone()),
        (
            "Metal3MachineTemplate",
            "metal3machinetemplates",
            json!({"template": {"spec": runs}}),
        ),
        ("Metal3DataTemplate", "metal3datatemplates", json!({})),
        (
            "Metal3DataClaim",
            "metal3dataclaims",
            json!({"template": template}),
        ),
        (
            "Metal3Data",
            "metal3datas",
            json!({"index": 0, "template": template, "claim": {"name": "c"}}),
        ),
        ("Metal3Remediation", "metal3remediations", json!({})),
        (
            "Metal3RemediationTemplate",
            "metal3remediationtemplates",
            json!({"template": {"spec": {}}}),
        ),
    ]
}

/// As a user keeps it: without what only this API server knows.
fn kept(mut object: Value) -> Value {
    let metadata = object["metadata"].as_object_mut().unwrap();
    metadata.retain(|key, _| ["name", "namespace", "annotations"].contains(&key.as_str()));
    object
}

#[tokio::test]
async fn the_old_view_of_the_least_of_each_kind_makes_it_again() {
    let webhooks = shared().await;
    webhooks.plane.namespace("dumps").await.unwrap();
    let client = webhooks.plane.client();
    for (kind, plural, spec) in least() {
        let name = if kind == "Metal3Data" { "t-0" } else { "least" };
        let object = json!({
            "apiVersion": format!("{GROUP}/v1beta2"), "kind": kind,
            "metadata": {"name": name, "namespace": "dumps"}, "spec": spec,
        });
        let [old, new] = ["v1beta1", "v1beta2"].map(|version| path(version, "dumps", plural));
        let [old_one, new_one] = [&old, &new].map(|objects| format!("{objects}/{name}"));
        send(&client, "POST", &new, &object)
            .await
            .unwrap_or_else(|error| panic!("{kind}: {error}"));
        let (dump, stored) = (
            get(&client, &old_one).await.unwrap(),
            get(&client, &new_one).await.unwrap(),
        );
        // With what was kept for the way back, and without, as an older release shows it.
        for annotations in [dump["metadata"]["annotations"].clone(), Value::Null] {
            send(&client, "DELETE", &new_one, &Value::Null).await.unwrap();
            let mut dump = kept(dump.clone());
            dump["metadata"]["annotations"] = annotations;
            send(&client, "POST", &old, &dump)
                .await
                .unwrap_or_else(|error| panic!("{kind}: {error}: {dump}"));
            let again = get(&client, &new_one).await.unwrap();
            assert_eq!(again["spec"], stored["spec"], "{kind}");
        }
    }
}
