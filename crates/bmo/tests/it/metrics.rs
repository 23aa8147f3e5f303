//! Who gets the metrics of a bmo that protects them. Its rights are those of any bmo: it asks the same of callers of the
//! HostService.

use k8s_openapi::api::rbac::v1::PolicyRule;
use metal3_testkit::{ControlPlane, Rules, wait};
use reqwest::{Certificate, Client};

use crate::ironic::Ironic;
use crate::program::Launch;
use crate::world::bmo_account;

#[tokio::test]
async fn metrics_are_for_those_whose_token_may_get_them() {
    let (plane, namespace) = (ControlPlane::shared().await, "metrics");
    let ironic = Ironic::start().await;
    let account = bmo_account(plane, namespace).await;
    let launch = Launch {
        kubeconfig: &account.kubeconfig,
        watch: namespace,
        home: namespace,
        ironic: &ironic.endpoint(),
        leader_election: false,
    };
    let bmo = launch.start_with(&["--metrics-secure"]);
    bmo.ready().await;
    // The certificate of the HostService.
    let ca = Certificate::from_pem(bmo.certificates.ca.as_bytes()).unwrap();
    let client = Client::builder().tls_certs_only([ca]).build().unwrap();
    let url = format!("https://localhost:{}/metrics", bmo.metrics);
    let reader = Rules {
        cluster: vec![PolicyRule {
            non_resource_urls: Some(vec!["/metrics".into()]),
            verbs: vec!["get".into()],
            ..PolicyRule::default()
        }],
        namespace: Vec::new(),
    };
    let stranger = plane
        .account(namespace, "stranger", &Rules::default())
        .await
        .unwrap();
    let scraper = plane.account(namespace, "scraper", &reader).await.unwrap();
    for (token, code, part) in [
        ("", 401, "no token"),
        ("rubbish", 401, "does not accept the token"),
        (&stranger.token, 403, "grant verb get on nonResourceURLs"),
        (&scraper.token, 200, "process_cpu_seconds_total"),
    ] {
        wait::until(part, wait::LONG, async || {
            let request = client.get(&url).bearer_auth(token);
            let answer = request.send().await.map_err(|error| format!("{error:?}"))?;
            let (status, text) = (answer.status(), answer.text().await.unwrap());
            if status == code && text.contains(part) {
                Ok(())
            } else {
                Err(format!("{status} {text}"))
            }
        })
        .await;
    }
    assert_eq!(plane.denied_to(&account.user()).unwrap(), Vec::<String>::new());
}
