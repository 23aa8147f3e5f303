//! Cluster API is not installed yet.

use metal3_testkit::{ControlPlane, wait, workspace};

use crate::hosts::Hosts;
use crate::program::{Launch, Place, token_file};

#[tokio::test]
async fn what_is_missing_is_said_and_the_provider_becomes_ready_when_it_comes() {
    let plane = ControlPlane::start().await.unwrap();
    let crds = workspace().join("charts/metal3-crds/templates");
    plane.install_crds(&crds).await.unwrap();
    // It looks at all namespaces, and therefore migrates.
    let rules = crate::migrate::rules();
    let account = plane.account("capm3-system", "capm3", &rules).await.unwrap();
    let (place, hosts) = (Place::new(), Hosts::new("capm3-system"));
    let _serving = place.open(&hosts).await;
    let capm3 = Launch {
        kubeconfig: &account.kubeconfig,
        token: &token_file(&plane, &account).await,
        watch: "",
        home: "capm3-system",
        place: &place,
        flags: &[],
    }
    .start();
    let listed = || {
        let requests = plane.requests_of(&account.user()).unwrap();
        let absent = |uri: &&str| uri.starts_with("/apis/cluster.x-k8s.io/");
        requests
            .iter()
            .map(|request| request.uri.as_str())
            .filter(absent)
            .count()
    };
    wait::until(
        "the reason in readyz, and some attempts",
        wait::LONG,
        async || {
            let (code, text) = capm3.readyz().await?;
            let told = text.contains(
                "[-]clusters waiting for clusters.cluster.x-k8s.io: install Cluster API (clusterctl init)\n",
            );
            let others = text.contains("[+]metal3clusters ok") && text.contains("[+]webhooks ok");
            if code == 503 && told && others && listed() >= 6 {
                Ok(())
            } else {
                Err(format!("{code} {text} after {} lists", listed()))
            }
        },
    )
    .await;
    let log = capm3.process.log();
    let lines = || {
        log.lines()
            .filter(|line| line.contains("cluster.x-k8s.io") && line.contains("WARN"))
    };
    // Both kinds are missing, and were looked for several times.
    assert_eq!(lines().count(), 1, "{log}");
    assert!(
        lines().all(|line| line.contains("install Cluster API (clusterctl init)")),
        "{log}"
    );

    let process = capm3.process.pid();
    plane.install_capi_crds().await.unwrap();
    capm3.ready().await;
    assert_eq!(capm3.process.pid(), process);
    capm3.was_well(&plane, &account);
}
