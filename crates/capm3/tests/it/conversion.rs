//! Conversion by the API server itself.

use metal3_testkit::{scratch, wait, workspace};
use serde_json::{Value, json};

use crate::webhooks::{BEFORE, GROUP, get, path, send, shared};

/// One object of each kind, in both versions.
pub(crate) fn samples() -> Vec<(String, [Value; 2])> {
    let folder = workspace().join("crates/api/tests/samples");
    let mut samples = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        let text = std::fs::read_to_string(&file).unwrap();
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        let kind = file.file_stem().unwrap().to_string_lossy();
        let plural = match kind.as_ref() {
            "metal3data" => "metal3datas".to_owned(),
            kind => format!("{kind}s"),
        };
        let mut documents = <[Value; 2]>::try_from(documents).unwrap();
        if plural == "metal3datatemplates" {
            // The one default of all schemas.
            for document in &mut documents {
                document["spec"]["metaData"]["indexes"][1]["step"] = json!(1);
            }
        }
        samples.push((plural, documents));
    }
    samples.sort_by(|one, other| one.0.cmp(&other.0));
    samples
}

/// Without what the API server adds.
fn bare(mut object: Value) -> Value {
    let metadata = object["metadata"].as_object_mut().unwrap();
    for key in [
        "uid",
        "creationTimestamp",
        "generation",
        "resourceVersion",
        "managedFields",
    ] {
        metadata.remove(key);
    }
    object
}

#[tokio::test]
async fn each_kind_is_written_and_read_in_both_versions_without_loss() {
    let webhooks = shared().await;
    webhooks.plane.namespace("lab").await.unwrap();
    let client = webhooks.plane.client();
    let samples = samples();
    assert_eq!(samples.len(), 9);
    for (plural, objects) in samples {
        let name = objects[0]["metadata"]["name"].as_str().unwrap();
        let paths = ["v1beta1", "v1beta2"].map(|version| path(version, "lab", &plural));
        let [old, new] = [0, 1].map(|index| format!("{}/{name}", paths[index]));
        // Whichever version it is written in, both read as their samples.
        for written in [0, 1] {
            let object = &objects[written];
            let mut stored = send(&client, "POST", &paths[written], object)
                .await
                .unwrap_or_else(|error| panic!("{plural}: {error}"));
            if !object["status"].is_null() {
                stored["status"] = object["status"].clone();
                let status = format!("{}/{name}/status", paths[written]);
                send(&client, "PUT", &status, &stored)
                    .await
                    .unwrap_or_else(|error| panic!("{plural}: {error}"));
            }
            let read = [
                get(&client, &old).await.unwrap(),
                get(&client, &new).await.unwrap(),
            ];
            for (read, sample) in read.into_iter().zip(&objects) {
                assert_eq!(
                    bare(read),
                    *sample,
                    "{plural}, written as {}",
                    object["apiVersion"]
                );
            }
            for list in &paths {
                let list = get(&client, list).await.unwrap();
                assert_eq!(list["items"].as_array().unwrap().len(), 1, "{plural}");
            }
            // A write that changes nothing changes nothing.
            let before = get(&client, &new).await.unwrap();
            let same = get(&client, &old).await.unwrap();
            send(&client, "PUT", &old, &same).await.unwrap();
            assert_eq!(bare(get(&client, &new).await.unwrap()), bare(before), "{plural}");
            send(&client, "DELETE", &new, &Value::Null).await.unwrap();
        }
    }
}

#[tokio::test]
async fn old_manifests_are_applied_by_kubectl_again_and_again() {
    let webhooks = shared().await;
    let plane = &webhooks.plane;
    plane.namespace("kubectl").await.unwrap();
    let folder = scratch::dir("manifests").unwrap();
    let kubectl = async |args: &[&str]| {
        let program = plane
            .kubectl()
            .unwrap()
            .args(["--namespace", "kubectl"])
            .args(args);
        program.output().await.unwrap()
    };
    for (plural, [mut old, _]) in samples() {
        let name = old["metadata"]["name"].as_str().unwrap().to_owned();
        // Secrets of other namespaces would be refused.
        old = serde_json::from_str(&old.to_string().replace("\"lab\"", "\"kubectl\"")).unwrap();
        old.as_object_mut().unwrap().remove("status");
        let file = scratch::file(&folder, &format!("{plural}.json"), old.to_string()).unwrap();
        let apply = ["apply", "-f", file.to_str().unwrap()];
        let said = kubectl(&apply).await;
        assert!(said.trim().ends_with("created"), "{said}");
        let said = kubectl(&apply).await;
        assert!(said.trim().ends_with("unchanged"), "{plural}: {said}");
        let shown = kubectl(&["get", &format!("{plural}.v1beta2.{GROUP}"), &name, "-o", "json"]).await;
        let shown: Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(shown["apiVersion"], format!("{GROUP}/v1beta2"));
        let shown = kubectl(&["get", &format!("{plural}.v1beta1.{GROUP}"), &name, "-o", "json"]).await;
        let shown: Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(shown["spec"], old["spec"], "{plural}");
    }
}

#[tokio::test]
async fn a_malformed_object_is_refused_with_the_field() {
    let webhooks = shared().await;
    webhooks.plane.namespace("refused").await.unwrap();
    let client = webhooks.plane.client();
    for version in ["v1beta1", "v1beta2"] {
        let object = json!({
            "apiVersion": format!("{GROUP}/{version}"), "kind": "Metal3Machine",
            "metadata": {"name": "bad", "namespace": "refused"}, "spec": {"image": 3},
        });
        let machines = path(version, "refused", "metal3machines");
        let error = send(&client, "POST", &machines, &object).await.unwrap_err();
        assert!(error.to_string().contains("spec.image"), "{error}");
        let list = get(&client, &machines).await.unwrap();
        assert_eq!(list["items"], json!([]));
    }
}

#[tokio::test]
async fn a_malformed_object_in_store_harms_no_other() {
    let webhooks = shared().await;
    let client = webhooks.plane.client();
    for version in ["v1beta1", "v1beta2"] {
        let machines = path(version, BEFORE, "metal3machines");
        let list = get(&client, &machines).await.unwrap();
        let names: Vec<_> = list["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|object| object["metadata"]["name"].as_str().unwrap())
            .collect();
        assert!(
            names.contains(&"malformed") && names.contains(&"sound"),
            "{version}: {names:?}"
        );
        assert_eq!(
            list["items"].as_array().unwrap()[0]["apiVersion"],
            format!("{GROUP}/{version}")
        );
        get(&client, &format!("{machines}/sound")).await.unwrap();
    }
    // It is named in the log, and can be corrected or deleted in any version.
    let log = wait::until("the log to name it", wait::LONG, async || {
        let log = webhooks.capm3.process.log();
        log.contains("before/malformed").then_some(log)
    })
    .await;
    assert!(log.contains("cannot be read"));
    let machine = format!("{}/malformed", path("v1beta1", BEFORE, "metal3machines"));
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    send(&client, "PATCH", &machine, &label).await.unwrap();
    let worse = json!({"spec": {"image": 4}});
    let error = send(&client, "PATCH", &machine, &worse).await.unwrap_err();
    assert!(error.to_string().contains("spec.image"), "{error}");
    let right = json!({"spec": {"image": null, "customDeploy": {"method": "m"}}});
    send(&client, "PATCH", &machine, &right).await.unwrap();
    let cluster = format!("{}/malformed", path("v1beta1", BEFORE, "metal3clusters"));
    send(&client, "DELETE", &cluster, &Value::Null).await.unwrap();
}
