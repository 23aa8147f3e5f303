//! Objects of an older release are stored anew, so that its version can go.

use std::collections::BTreeSet;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use metal3_testkit::{Account, ControlPlane, Rules, wait, workspace};
use serde_json::json;

use crate::conversion::samples;
use crate::program::{Launch, Place, token_file};
use crate::webhooks::{GROUP, get, path, send};

const HOME: &str = "capm3-system";
const DONE: &str = "crd-migration.cluster.x-k8s.io/observed-generation";

/// The rights besides those of a capm3 that looks at one namespace.
pub(crate) fn rules() -> Rules {
    let rbac = workspace().join("charts/metal3-capm3/rbac");
    let mut rules = Rules::of_chart("metal3-capm3").unwrap();
    let file = |name: &str| rbac.join(format!("{name}-rules.yaml"));
    let own = Rules::read(&file("migration-cluster"), &file("namespace")).unwrap();
    rules.cluster.extend(own.cluster);
    rules
}

async fn definitions(plane: &ControlPlane) -> Vec<CustomResourceDefinition> {
    let api: Api<CustomResourceDefinition> = Api::all(plane.client());
    let list = api.list(&ListParams::default()).await.unwrap();
    list.into_iter().filter(|crd| crd.spec.group == GROUP).collect()
}

async fn change(plane: &ControlPlane, crd: &CustomResourceDefinition, patch: serde_json::Value) {
    let api: Api<CustomResourceDefinition> = Api::all(plane.client());
    let params = PatchParams::default();
    api.patch(&crd.name_any(), &params, &Patch::Merge(patch))
        .await
        .unwrap();
}

/// One object of each kind, stored in v1beta1.
async fn an_older_release(plane: &ControlPlane) {
    for crd in definitions(plane).await {
        let mut versions = crd.spec.versions.clone();
        for version in &mut versions {
            version.storage = version.name == "v1beta1";
        }
        let spec = json!({"versions": versions, "conversion": {"strategy": "None", "webhook": null}});
        change(plane, &crd, json!({"spec": spec})).await;
    }
    plane.namespace("lab").await.unwrap();
    for (plural, [object, _]) in samples() {
        let objects = path("v1beta1", "lab", &plural);
        let client = plane.client();
        // The API server needs a moment to know which version it stores.
        wait::until("the old version to be stored", wait::LONG, async || {
            send(&client, "POST", &format!("{objects}?dryRun=All"), &object)
                .await
                .map_err(|error| error.to_string())?;
            Ok::<_, String>(())
        })
        .await;
        send(&client, "POST", &objects, &object).await.unwrap();
    }
}

fn needed(account: &Account, plane: &ControlPlane) -> BTreeSet<(String, String)> {
    let requests = plane.requests_of(&account.user()).unwrap();
    let used = requests.into_iter().filter_map(|request| {
        let object = request.object_ref?;
        let resource = match object.subresource.as_str() {
            "" => object.resource,
            part => format!("{}/{part}", object.resource),
        };
        Some((resource, request.verb))
    });
    used.collect()
}

async fn one_version_is_stored(plane: &ControlPlane) {
    wait::until("one version to be stored", wait::LONG, async || {
        let all = definitions(plane).await;
        assert_eq!(all.len(), 9);
        for crd in all {
            let stored = crd
                .status
                .clone()
                .and_then(|status| status.stored_versions)
                .unwrap();
            if stored != ["v1beta2"] || !crd.annotations().contains_key(DONE) {
                return Err(format!("{}: {stored:?}", crd.name_any()));
            }
        }
        Ok(())
    })
    .await;
}

async fn serve_one_version(plane: &ControlPlane) {
    for crd in definitions(plane).await {
        let mut versions = crd.spec.versions.clone();
        for version in &mut versions {
            version.served = version.storage;
        }
        change(plane, &crd, json!({"spec": {"versions": versions}})).await;
    }
}

async fn nobody_manages_fields_of_the_old_version(plane: &ControlPlane) {
    wait::until("no manager of the old version", wait::LONG, async || {
        for crd in definitions(plane).await {
            let (generation, done) = (crd.metadata.generation, crd.annotations().get(DONE));
            if done != generation.map(|generation| generation.to_string()).as_ref() {
                return Err(format!("{}: {done:?} of {generation:?}", crd.name_any()));
            }
        }
        Ok(())
    })
    .await;
    for (plural, [_, object]) in samples() {
        let name = object["metadata"]["name"].as_str().unwrap();
        let read = get(
            &plane.client(),
            &format!("{}/{name}", path("v1beta2", "lab", &plural)),
        )
        .await;
        let fields = read.unwrap()["metadata"]["managedFields"].to_string();
        assert!(
            !fields.contains("/v1beta1") && fields.contains("/v1beta2"),
            "{plural}: {fields}"
        );
    }
}

/// Of the rights that the migration has.
fn each_right_was_needed(account: &Account, plane: &ControlPlane) {
    let used = needed(account, plane);
    let own = rules().cluster.into_iter().filter(|rule| {
        let resources = rule.resources.as_deref().unwrap_or_default();
        rule.resource_names.is_some() || resources.iter().any(|resource| resource == "metal3datas")
    });
    for rule in own {
        for resource in rule.resources.unwrap_or_default() {
            for verb in &rule.verbs {
                let right = (resource.clone(), verb.clone());
                assert!(used.contains(&right), "{right:?} is not needed");
            }
        }
    }
}

#[tokio::test]
async fn objects_of_an_older_release_are_stored_anew_once() {
    let plane = ControlPlane::start().await.unwrap();
    let crds = workspace().join("charts/metal3-crds/templates");
    plane.install_crds(&crds).await.unwrap();
    plane.install_capi_crds().await.unwrap();
    let todays = definitions(&plane).await;
    an_older_release(&plane).await;
    for crd in todays {
        let spec = json!({"versions": crd.spec.versions, "conversion": crd.spec.conversion});
        change(&plane, &crd, json!({"spec": spec})).await;
    }

    let account = plane.account(HOME, "capm3-manager", &rules()).await.unwrap();
    let place = Place::new();
    let token = token_file(&plane, &account).await;
    let launch = Launch {
        kubeconfig: &account.kubeconfig,
        token: &token,
        watch: "",
        home: HOME,
        place: &place,
        flags: &["--watch-filter", "nobody"],
    };
    let capm3 = launch.start();
    // Nothing can be read in the version of today before this.
    let ca = &capm3.certificates.ca;
    plane
        .convert_by_url(GROUP, &capm3.webhook("/convert"), ca)
        .await
        .unwrap();
    capm3.ready().await;
    one_version_is_stored(&plane).await;
    capm3.was_well(&plane, &account);

    // Later the old version is served no more: without a restart, nobody is told to be a manager of its fields.
    let process = capm3.process.pid();
    serve_one_version(&plane).await;
    nobody_manages_fields_of_the_old_version(&plane).await;
    assert_eq!(capm3.process.pid(), process);
    capm3.was_well(&plane, &account);

    each_right_was_needed(&account, &plane);

    // Without the old version and without webhooks, everything is there.
    for crd in definitions(&plane).await {
        let mut versions = crd.spec.versions.clone();
        versions.retain(|version| version.name == "v1beta2");
        let spec = json!({"versions": versions, "conversion": {"strategy": "None", "webhook": null}});
        change(&plane, &crd, json!({"spec": spec})).await;
    }
    drop(capm3);
    for (plural, [_, object]) in samples() {
        let name = object["metadata"]["name"].as_str().unwrap();
        let object_path = format!("{}/{name}", path("v1beta2", "lab", &plural));
        let read = get(&plane.client(), &object_path)
            .await
            .unwrap_or_else(|error| panic!("{plural}: {error}"));
        assert_eq!(read["spec"], object["spec"], "{plural}");
    }
}
