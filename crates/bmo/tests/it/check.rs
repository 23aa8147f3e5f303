//! `metal3-bmo check`, as the pod of `helm test` runs it.

use std::path::Path;

use metal3_testkit::process::Program;
use metal3_testkit::{certs, port};

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
