//! `metal3-capm3 check`, as the pod of `helm test` runs it.

use std::path::Path;

use metal3_rpc::reason::Reason;
use metal3_testkit::process::Program;
use metal3_testkit::{certs, port, scratch};

use crate::hosts::Hosts;
use crate::program::Place;
use crate::webhooks::shared;

struct Check<'a> {
    webhook: String,
    webhook_ca: Option<&'a Path>,
    place: &'a Place,
    host_service_ca: &'a Path,
    token: &'a Path,
}

impl Check<'_> {
    async fn run(&self) -> Result<String, String> {
        let mut program = Program::new(env!("CARGO_BIN_EXE_metal3-capm3"))
            .args(["check", "--namespace=lab", "--webhook", &self.webhook])
            .args(["--host-service", &self.place.address()])
            .arg("--host-service-ca-file")
            .arg(self.host_service_ca)
            .arg("--host-service-token-file")
            .arg(self.token);
        if let Some(ca) = self.webhook_ca {
            program = program.arg("--webhook-ca-file").arg(ca);
        }
        program.output().await.map_err(|error| error.to_string())
    }

    async fn fails(&self, parts: &[&str]) {
        let error = self.run().await.unwrap_err();
        for part in parts {
            assert!(error.contains(part), "{part}: {error}");
        }
    }
}

#[tokio::test]
async fn webhooks_and_host_service_are_as_their_callers_need_them() {
    let webhooks = shared().await;
    let (place, hosts) = (Place::new(), Hosts::new("lab"));
    let serving = place.open(&hosts).await;
    let token = scratch::file(&scratch::dir("token").unwrap(), "token", "secret-of-pod").unwrap();
    let foreign = certs::server_dir(&["localhost"]).unwrap().ca_file;
    let check = || Check {
        webhook: webhooks.capm3.webhook(""),
        webhook_ca: Some(&webhooks.capm3.certificates.ca_file),
        place: &place,
        host_service_ca: &place.certificates.ca_file,
        token: &token,
    };

    let said = check().run().await.unwrap();
    let lines: Vec<_> = said.lines().collect();
    for (line, wanted) in lines.iter().zip([
        "by the CA in",
        "converts a Metal3Cluster from v1beta1 to v1beta2",
        "by the CA in",
        "lists the hosts of namespace lab to this ServiceAccount",
    ]) {
        assert!(line.starts_with("ok: ") && line.contains(wanted), "{line}");
    }
    assert_eq!(lines.len(), 4, "{said}");
    assert!(hosts.with(|world| world.bearers.contains("Bearer secret-of-pod")));
    let unsigned = Check {
        webhook_ca: None,
        ..check()
    };
    let said = unsigned.run().await.unwrap();
    assert!(said.contains("who signed it was not checked"), "{said}");

    let wrong = Check {
        webhook_ca: Some(&foreign),
        ..check()
    };
    wrong
        .fails(&["webhook https://localhost", "by another CA than", "renewed"])
        .await;
    let wrong = Check {
        host_service_ca: &foreign,
        ..check()
    };
    wrong
        .fails(&["host service https://localhost", "by another CA than", "renewed"])
        .await;
    let down = Check {
        webhook: format!("https://localhost:{}", port::free().unwrap()),
        ..check()
    };
    down.fails(&[
        "webhook https://localhost",
        "cannot be reached",
        "kubectl get pods",
    ])
    .await;
    let no_webhook = Check {
        webhook: place.address(),
        webhook_ca: Some(&place.certificates.ca_file),
        ..check()
    };
    no_webhook.fails(&["webhook https://localhost"]).await;

    for (reason, message, remedy) in [
        (
            Reason::TokenInvalid,
            "does not accept the token",
            "audience metal3-host-service",
        ),
        (Reason::Forbidden, "may not list hosts", "chart metal3-capm3"),
    ] {
        let status = reason.status(message, []);
        hosts.with(|world| world.failures.insert("ListHosts", status));
        check()
            .fails(&["host service https://localhost", "namespace lab", message, remedy])
            .await;
    }
    hosts.with(|world| world.failures.clear());
    serving.close();
    check()
        .fails(&["host service https://localhost", "cannot be reached"])
        .await;
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused_whoever_signed_it() {
    let webhooks = shared().await;
    let place = Place::new();
    let wrong = Check {
        webhook: webhooks.capm3.webhook("").replace("localhost", "127.0.0.1"),
        webhook_ca: None,
        place: &place,
        host_service_ca: &place.certificates.ca_file,
        token: Path::new("/nonexistent"),
    };
    wrong
        .fails(&["has a certificate that is not for 127.0.0.1", "add the name"])
        .await;
}
