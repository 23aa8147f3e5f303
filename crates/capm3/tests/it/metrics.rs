//! Who gets the metrics of a provider that protects them.

use k8s_openapi::api::rbac::v1::PolicyRule;
use metal3_rpc::AUDIENCE;
use metal3_testkit::{Account, ControlPlane, Rules, port, wait};
use reqwest::tls::Version;
use reqwest::{Certificate, Client, Response};

use crate::world::World;

/// The rights besides those of any capm3; the chart gives them by `system:auth-delegator`.
async fn provider(plane: &ControlPlane, namespace: &str) -> Account {
    let rules = Rules::of_chart("metal3-capm3")
        .unwrap()
        .everywhere("authentication.k8s.io", "tokenreviews", &["create"])
        .everywhere("authorization.k8s.io", "subjectaccessreviews", &["create"]);
    plane.account(namespace, "capm3", &rules).await.unwrap()
}

fn reader() -> Rules {
    Rules {
        cluster: vec![PolicyRule {
            non_resource_urls: Some(vec!["/metrics".into()]),
            verbs: vec!["get".into()],
            ..PolicyRule::default()
        }],
        namespace: Vec::new(),
    }
}

#[tokio::test]
async fn metrics_are_for_those_whose_token_may_get_them() {
    let plane = ControlPlane::shared().await;
    let namespace = "metrics";
    let account = provider(plane, namespace).await;
    let address = format!("127.0.0.1:{}", port::free().unwrap());
    let kubeconfig = account.kubeconfig.clone();
    let world = World::by(plane, account, &kubeconfig, &["--diagnostics-address", &address]).await;

    // The certificate of the webhooks, so that scrapers can verify it.
    let ca = Certificate::from_pem(world.capm3.certificates.ca.as_bytes()).unwrap();
    let client = Client::builder().tls_certs_only([ca]).build().unwrap();
    let url = format!("https://{}/metrics", address.replace("127.0.0.1", "localhost"));
    let get = async |token: Option<&str>| -> Response {
        let request = client.get(&url);
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        request.send().await.unwrap()
    };
    wait::until("the metrics to be served", wait::LONG, async || {
        client
            .get(&url)
            .send()
            .await
            .map_err(|error| format!("{error:?}"))
    })
    .await;

    let stranger = plane
        .account(namespace, "stranger", &Rules::default())
        .await
        .unwrap();
    let other = plane.token(namespace, "stranger", &[AUDIENCE]).await.unwrap();
    for (token, part) in [
        (None, "no token"),
        (Some("rubbish"), "does not accept"),
        (Some(other.as_str()), "for another audience"),
    ] {
        let answer = get(token).await;
        assert_eq!(answer.status(), 401, "{part}");
        assert_eq!(answer.headers()["www-authenticate"], "Bearer");
        let text = answer.text().await.unwrap();
        assert!(text.contains(part), "{text}");
    }

    let answer = get(Some(&stranger.token)).await;
    assert_eq!(answer.status(), 403);
    let text = answer.text().await.unwrap();
    for part in [&stranger.user(), "nonResourceURLs /metrics", "ClusterRole"] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }

    let scraper = plane.account(namespace, "scraper", &reader()).await.unwrap();
    let text = wait::until("the role to be in force", wait::LONG, async || {
        let answer = get(Some(&scraper.token)).await;
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        if status == 200 { Ok(text) } else { Err(text) }
    })
    .await;
    for name in ["process_cpu_seconds_total", "rest_client_requests_total{"] {
        assert!(text.contains(name), "{name} is missing in {text}");
    }
    assert_eq!(get(Some(&stranger.token)).await.status(), 403);
    // Nothing for those who do not use TLS.
    assert!(client.get(url.replace("https", "http")).send().await.is_err());
    let log = world.capm3.process.log();
    for token in [&stranger.token, &scraper.token, &other] {
        assert!(!log.contains(token), "a token is in the log");
    }
}

#[tokio::test]
async fn nobody_speaks_an_older_tls_than_the_lowest_that_was_asked_for() {
    let plane = ControlPlane::shared().await;
    let account = provider(plane, "metrics-tls13").await;
    let address = format!("127.0.0.1:{}", port::free().unwrap());
    let kubeconfig = account.kubeconfig.clone();
    let flags = [
        "--diagnostics-address",
        &address,
        "--tls-min-version=VersionTLS13",
        "--tls-curve-preferences=CurveP256",
    ];
    let world = World::by(plane, account, &kubeconfig, &flags).await;
    let certificates = &world.capm3.certificates;
    let by = |version| {
        let ca = Certificate::from_pem(certificates.ca.as_bytes()).unwrap();
        let client = Client::builder().tls_certs_only([ca]);
        client.tls_version_max(version).build().unwrap()
    };
    let (old, new) = (by(Version::TLS_1_2), by(Version::TLS_1_3));
    let metrics = format!("https://{}/metrics", address.replace("127.0.0.1", "localhost"));
    for url in [world.capm3.webhook("/convert"), metrics] {
        let status = wait::until("the listener", wait::LONG, async || {
            let answer = new.get(&url).send().await;
            answer
                .map(|answer| answer.status())
                .map_err(|error| format!("{error:?}"))
        })
        .await;
        assert!(status.is_client_error(), "{url}: {status}");
        let error = old.get(&url).send().await.unwrap_err();
        let error = format!("{error:?}");
        assert!(error.contains("ProtocolVersion"), "{url}: {error}");
    }
}

#[tokio::test]
async fn metrics_are_open_to_everybody_on_demand() {
    let address = format!("127.0.0.1:{}", port::free().unwrap());
    let flags = ["--diagnostics-address", &address, "--insecure-diagnostics"];
    let _world = World::with_flags("metrics-open", &flags).await;
    let url = format!("http://{address}/metrics");
    let text = wait::until(
        "the metrics",
        wait::LONG,
        async || match metal3_testkit::http::get(&url).await {
            Ok((200, text)) => Ok(text),
            other => Err(format!("{other:?}")),
        },
    )
    .await;
    for name in ["process_cpu_seconds_total", "rest_client_requests_total{"] {
        assert!(text.contains(name), "{name} is missing in {text}");
    }
}
