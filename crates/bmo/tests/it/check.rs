//! `metal3-bmo check`, as the pod of `helm test` runs it.

use std::path::Path;

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use kube::Api;
use kube::api::DeleteParams;
use metal3_testkit::certs::{Authority, Pair};
use metal3_testkit::process::Program;
use metal3_testkit::{Account, Rules, certs, port, scratch, wait};
use serde_json::{Value, json};

use crate::webhook::{apply, configured};
use crate::world::World;

async fn check(url: &str, ca: &Path) -> Result<String, String> {
    Program::new(env!("CARGO_BIN_EXE_metal3-bmo"))
        .args(["check", "--host-service", url])
        .arg("--ca-file")
        .arg(ca)
        .output()
        .await
        .map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_running_host_service_is_as_its_callers_need_it() {
    let world = World::start("check").await;
    let (url, ca) = (
        format!("https://{}", world.bmo.address()),
        &world.bmo.certificates.ca_file,
    );
    // At once: a pod that is ready serves.
    let said = check(&url, ca).await.unwrap();
    let lines: Vec<_> = said.lines().collect();
    for (line, wanted) in lines.iter().zip([
        "by the CA in",
        "says SERVING of metal3.host.v1.HostService",
        "lists metal3.host.v1.HostService by reflection",
        "refuses a call without token as UNAUTHENTICATED",
    ]) {
        assert!(
            line.starts_with(&format!("ok: host service {url} ")) && line.contains(wanted),
            "{line}"
        );
    }
    assert_eq!(lines.len(), 4, "{said}");

    // Another authority of the same name.
    let foreign = certs::server_dir(&["localhost"]).unwrap().ca_file;
    let error = check(&url, &foreign).await.unwrap_err();
    assert!(
        error.contains(&format!(
            "{url} has a certificate by another CA than that in {}",
            foreign.display()
        )) && error.contains("restart what has the older one")
            && !error.contains("ok:"),
        "{error}"
    );
    let error = check(&url.replace("localhost", "127.0.0.2"), ca)
        .await
        .unwrap_err();
    assert!(
        error.contains("127.0.0.2") && error.contains("kubectl get pods"),
        "{error}"
    );
    let error = check(&url, Path::new("/nonexistent")).await.unwrap_err();
    assert!(
        error.contains("cannot be read from /nonexistent") && error.contains("ca.crt"),
        "{error}"
    );
    let error = check(&url.replace("https", "http"), ca).await.unwrap_err();
    assert!(error.contains("https://<host>:<port>"), "{error}");
}

/// The flags of a client certificate.
fn shown(name: &str, pair: &Pair) -> [String; 2] {
    let dir = scratch::dir(name).unwrap();
    let [certificate, key] = [("tls.crt", &pair.certificate), ("tls.key", &pair.key)]
        .map(|(name, pem)| scratch::file(&dir, name, pem).unwrap());
    [
        format!("--cert-file={}", certificate.display()),
        format!("--key-file={}", key.display()),
    ]
}

#[tokio::test]
async fn a_host_service_that_wants_certificates_of_its_callers_gets_one_or_the_check_says_what_to_do() {
    let clients = Authority::new("clients").unwrap();
    let dir = scratch::dir("check-clients").unwrap();
    let file = scratch::file(&dir, "ca.crt", &clients.certificate).unwrap();
    let flag = format!("--grpc-client-ca-file={}", file.display());
    let world = World::start_with("check-mtls", &[&flag]).await;
    let url = format!("https://{}", world.bmo.address());
    let check = async |flags: &[String]| {
        Program::new(env!("CARGO_BIN_EXE_metal3-bmo"))
            .args(["check", "--host-service", &url])
            .arg("--ca-file")
            .arg(&world.bmo.certificates.ca_file)
            .args(flags)
            .output()
            .await
            .map_err(|error| error.to_string())
    };
    let mine = shown("check-mine", &clients.user("helm-test", "test").unwrap());
    let said = check(&mine).await.unwrap();
    assert_eq!(
        said.lines().filter(|line| line.starts_with("ok: ")).count(),
        4,
        "{said}"
    );

    let foreign = Authority::new("clients")
        .unwrap()
        .user("helm-test", "test")
        .unwrap();
    let foreign = shown("check-foreign", &foreign);
    let missing = ["--cert-file=/nonexistent".to_owned(), mine[1].clone()];
    let mixed = [mine[0].clone(), foreign[1].clone()];
    let cases: [(&[String], &[&str]); 5] = [
        (
            &[],
            &[
                "asks its callers for a certificate",
                "cert-file",
                "hostService.clientCertSecret",
            ],
        ),
        (
            &foreign,
            &[
                "does not take the certificate",
                &foreign[0]["--cert-file=".len()..],
                "hostService.clientCa",
            ],
        ),
        (
            &missing,
            &["cannot read the certificate of this client from /nonexistent"],
        ),
        (&mixed, &["do not go together"]),
        (&mine[..1], &["--key-file <KEY_FILE>"]),
    ];
    for (flags, parts) in cases {
        let error = check(flags).await.unwrap_err();
        for part in parts {
            assert!(error.contains(part), "{flags:?}: {part:?} is not in {error}");
        }
    }
}

#[tokio::test]
async fn nobody_there_is_told_with_what_to_look_at() {
    let ca = certs::server_dir(&["localhost"]).unwrap().ca_file;
    let url = format!("https://localhost:{}", port::free().unwrap());
    let error = check(&url, &ca).await.unwrap_err();
    for part in [
        url.as_str(),
        "cannot be reached",
        "kubectl get pods",
        "onnection refused",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

/// As the pod does it, with the rights that the chart gives its test.
async fn check_webhook(world: &World, account: &Account) -> Result<String, String> {
    Program::new(env!("CARGO_BIN_EXE_metal3-bmo"))
        .args([
            "check",
            "--host-service",
            &format!("https://{}", world.bmo.address()),
        ])
        .arg("--ca-file")
        .arg(&world.bmo.certificates.ca_file)
        .args(["--webhook-namespace", &world.namespace])
        .arg("--kubeconfig")
        .arg(&account.kubeconfig)
        .output()
        .await
        .map_err(|error| error.to_string())
}

/// Registers the webhooks as reached by this, and waits until the check says so.
async fn says(world: &World, account: &Account, how: impl Fn(&str) -> Value, parts: &[&str]) -> String {
    let mut document = configured(&world.namespace, how).await;
    document["metadata"] = json!({"name": format!("test-{}", world.namespace)});
    apply(world.client(), &document).await;
    told(world, account, parts).await
}

/// The API server learns of configurations by a watch of its own.
async fn told(world: &World, account: &Account, parts: &[&str]) -> String {
    wait::until(&format!("the check to say {parts:?}"), wait::LONG, async || {
        let (Ok(said) | Err(said)) = check_webhook(world, account).await;
        if parts.iter().all(|part| said.contains(part)) {
            Ok(said)
        } else {
            Err(said)
        }
    })
    .await
}

#[tokio::test]
async fn the_webhook_is_proved_by_what_the_api_server_refuses_and_accepts() {
    let world = World::start("check-webhook").await;
    let namespace = world.namespace.clone();
    let rules = Rules::default().inside("metal3.io", "baremetalhosts", &["create"]);
    let account = world.plane.account(&namespace, "tester", &rules).await.unwrap();
    let ca = ByteString(world.bmo.certificates.ca.as_bytes().to_vec());
    let url = |path: &str| format!("https://localhost:{}{path}", world.bmo.webhook);

    told(
        &world,
        &account,
        &["accepts a wrong BareMetalHost", "ValidatingWebhookConfiguration"],
    )
    .await;
    let without = |path: &str| json!({"url": url(path)});
    says(
        &world,
        &account,
        without,
        &["unknown authority", "the caBundle of"],
    )
    .await;
    let foreign = ByteString(certs::server_dir(&["localhost"]).unwrap().ca.into_bytes());
    let other = |path: &str| json!({"url": url(path), "caBundle": foreign});
    says(&world, &account, other, &["x509: ", "the caBundle of"]).await;
    let free = port::free().unwrap();
    let nobody = |path: &str| json!({"url": format!("https://localhost:{free}{path}"), "caBundle": ca});
    says(
        &world,
        &account,
        nobody,
        &["connection refused", "kubectl get pods"],
    )
    .await;
    let service = |path: &str| json!({"service": {"name": "absent", "namespace": namespace, "path": path}, "caBundle": ca});
    says(
        &world,
        &account,
        service,
        &["service \"absent\" not found", "webhooks.enabled"],
    )
    .await;
    let right = |path: &str| json!({"url": url(path), "caBundle": ca});
    let said = says(&world, &account, right, &["lets a right BareMetalHost pass"]).await;
    assert!(
        said.lines().count() == 6
            && said.contains("refuses a wrong BareMetalHost in namespace check-webhook"),
        "{said}"
    );
    // All of this was on trial.
    let hosts = world
        .hosts()
        .list(&kube::api::ListParams::default())
        .await
        .unwrap();
    assert_eq!(hosts.items.len(), 0);

    let nobody = world
        .plane
        .account(&namespace, "nobody", &Rules::default())
        .await
        .unwrap();
    told(&world, &nobody, &["forbidden", "Role of the chart's test"]).await;
    let configurations: Api<ValidatingWebhookConfiguration> = Api::all(world.client());
    configurations
        .delete(&format!("test-{namespace}"), &DeleteParams::default())
        .await
        .unwrap();
}
