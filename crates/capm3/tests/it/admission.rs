//! Admission by the API server itself, with the configurations of the chart.

use metal3_testkit::wait;
use serde_json::{Value, json};

use crate::webhooks::{BEFORE, GROUP, get, path, send, shared};

fn object(version: &str, kind: &str, namespace: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/{version}"), "kind": kind,
        "metadata": {"name": "x", "namespace": namespace}, "spec": spec,
    })
}

#[tokio::test]
async fn bad_objects_are_refused_with_field_and_remedy() {
    let webhooks = shared().await;
    webhooks.plane.namespace("bad").await.unwrap();
    let client = webhooks.plane.client();
    let image = json!({"url": "http://a/i.qcow2", "checksum": "abc"});
    let foreign = json!({"image": image, "userData": {"name": "s", "namespace": "other"}});
    let no_checksum = json!({"image": {"url": "http://a/i.qcow2"}});
    let template = |spec: &Value| json!({"template": {"spec": spec}});
    for (kind, spec, field, remedy) in [
        (
            "Metal3Cluster",
            json!({}),
            "spec.controlPlaneEndpoint.host: Required",
            "set the address that the API server",
        ),
        (
            "Metal3ClusterTemplate",
            template(&json!({})),
            "spec.template.spec.controlPlaneEndpoint.port: Required",
            "usually 6443",
        ),
        (
            "Metal3Machine",
            json!({}),
            "Spec.Image: Required",
            "either image or customDeploy is required",
        ),
        (
            "Metal3Machine",
            no_checksum.clone(),
            "Spec.Image.Checksum: Required",
            "a damaged image would be installed",
        ),
        (
            "Metal3Machine",
            foreign,
            "Spec.UserData.Namespace: Invalid value: \"other\"",
            "must be empty or the namespace of the object",
        ),
        (
            "Metal3MachineTemplate",
            template(&no_checksum),
            "Spec.Template.Spec.Image.Checksum: Required",
            "a damaged image would be installed",
        ),
    ] {
        let plural = format!("{}s", kind.to_lowercase());
        for version in ["v1beta1", "v1beta2"] {
            let bad = object(version, kind, "bad", &spec);
            let objects = path(version, "bad", &plural);
            let error = send(&client, "POST", &objects, &bad)
                .await
                .unwrap_err()
                .to_string();
            assert!(error.contains("denied the request"), "{version} {kind}: {error}");
            assert!(
                error.contains(field) && error.contains(remedy),
                "{version} {kind}: {error}"
            );
            assert_eq!(get(&client, &objects).await.unwrap()["items"], json!([]));
        }
    }
}

#[tokio::test]
async fn a_cluster_gets_its_defaults_in_both_versions() {
    let webhooks = shared().await;
    let client = webhooks.plane.client();
    for (namespace, version) in [("default-old", "v1beta1"), ("default-new", "v1beta2")] {
        webhooks.plane.namespace(namespace).await.unwrap();
        let spec = json!({"controlPlaneEndpoint": {"host": "192.0.2.9"}});
        let cluster = object(version, "Metal3Cluster", namespace, &spec);
        send(
            &client,
            "POST",
            &path(version, namespace, "metal3clusters"),
            &cluster,
        )
        .await
        .unwrap();
        for version in ["v1beta1", "v1beta2"] {
            let path = format!("{}/x", path(version, namespace, "metal3clusters"));
            let spec = get(&client, &path).await.unwrap()["spec"].take();
            assert_eq!(
                spec["controlPlaneEndpoint"],
                json!({"host": "192.0.2.9", "port": 6443})
            );
            assert_eq!(spec["cloudProviderEnabled"], json!(false));
        }
        let path = format!("{}/x", path("v1beta2", namespace, "metal3clusters"));
        let kept = json!({"spec": {"controlPlaneEndpoint": {"port": 443}, "cloudProviderEnabled": true}});
        let spec = send(&client, "PATCH", &path, &kept).await.unwrap()["spec"].take();
        assert_eq!(
            (
                &spec["controlPlaneEndpoint"]["port"],
                &spec["cloudProviderEnabled"]
            ),
            (&json!(443), &json!(true))
        );
    }
}

#[tokio::test]
async fn an_old_object_that_would_be_refused_today_can_be_labelled_corrected_and_deleted() {
    let webhooks = shared().await;
    let client = webhooks.plane.client();
    for version in ["v1beta1", "v1beta2"] {
        let unsound = format!("{}/unsound", path(version, BEFORE, "metal3machines"));
        let label = json!({"metadata": {"labels": {"seen-by": version}}});
        let labelled = send(&client, "PATCH", &unsound, &label).await.unwrap();
        assert_eq!(labelled["metadata"]["labels"]["seen-by"], version);
        let worse = json!({"spec": {"image": {"url": "http://b/i.qcow2"}}});
        let error = send(&client, "PATCH", &unsound, &worse).await.unwrap_err();
        assert!(
            error.to_string().contains("Spec.Image.Checksum: Required"),
            "{error}"
        );
    }
    let unsound = format!("{}/unsound", path("v1beta2", BEFORE, "metal3machines"));
    let keep = json!({"metadata": {"finalizers": ["test.metal3.io/keep"]}});
    send(&client, "PATCH", &unsound, &keep).await.unwrap();
    send(&client, "DELETE", &unsound, &Value::Null).await.unwrap();
    let let_go = json!({"metadata": {"finalizers": null}});
    send(&client, "PATCH", &unsound, &let_go).await.unwrap();
    wait::until("the old object to be gone", wait::LONG, async || {
        match get(&client, &unsound).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}
