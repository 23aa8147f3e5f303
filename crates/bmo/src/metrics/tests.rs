use std::collections::{BTreeMap, BTreeSet};

use metal3_api::metal3::host::BareMetalHost;
use serde_json::json;

use super::catalogue::{ALL, Kind, ironic as of_ironic};
use super::*;

fn backend() -> Arc<IronicProvisioner> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let endpoint = |name: &str| (name == "IRONIC_ENDPOINT").then(|| "http://ironic.test/v1/".to_owned());
    let settings = metal3_ironic::Settings::from_env(endpoint).unwrap();
    IronicProvisioner::new(settings).unwrap().0
}

fn host(name: &str, status: &serde_json::Value) -> BareMetalHost {
    serde_json::from_value(json!({
        "apiVersion": "metal3.io/v1alpha1", "kind": "BareMetalHost",
        "metadata": {"name": name, "namespace": "metal3"}, "spec": {"online": true}, "status": status,
    }))
    .unwrap()
}

/// One that failed, and has waited for too long to be tried again.
fn overdue() -> BareMetalHost {
    host(
        "late",
        &json!({
            "operationalStatus": "error", "errorType": "inspection error", "errorCount": 1, "poweredOn": false,
            "errorMessage": "timeout reached while inspecting the node", "provisioningFailCount": 0,
            "provisioning": {"state": "inspecting", "ID": "a"},
            "conditions": [{
                "type": "Waiting", "status": "True", "reason": "RetryBackoff", "message": "",
                "lastTransitionTime": "2020-01-01T00:00:00Z",
            }],
        }),
    )
}

/// Does everything that is counted, to this host.
fn live(metrics: &HostMetrics, key: &HostKey) {
    metrics.pass(key);
    metrics.begun().ended("error");
    metrics.workers(3);
    metrics.power_changed(key, true);
    metrics.power_changed(key, false);
    metrics.config_data_error("the userData secret metal3/a does not exist");
    metrics.wrote("status");
    metrics.count(key, &facts::everything());
}

fn told(metrics: &Metrics) -> BTreeMap<String, (String, BTreeSet<String>)> {
    let mut families = BTreeMap::new();
    let text = metrics.text().unwrap();
    for line in text.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            families.insert(name.to_owned(), (kind.to_owned(), BTreeSet::new()));
        } else if let Some((name, labels)) = line.split_once('{') {
            let family = families
                .iter_mut()
                .rev()
                .find(|(family, _)| name.starts_with(family.as_str()))
                .unwrap();
            let labels = labels.split_once('}').unwrap().0;
            let names = labels.split("\",").filter_map(|label| label.split_once('='));
            family
                .1
                .1
                .extend(names.map(|(name, _)| name.to_owned()).filter(|name| name != "le"));
        }
    }
    families
}

#[test]
fn the_catalogue_lists_what_is_told() {
    let metrics = Metrics::default();
    let ours = HostMetrics::register(&metrics, backend());
    HostMetrics::fleet(
        &metrics,
        Arc::new(|each| {
            each(&overdue());
            true
        }),
    );
    live(&ours, &HostKey::new("metal3", "a"));
    let mut told = told(&metrics);
    told.retain(|name, _| !name.starts_with("process_"));
    let kind = |kind: Kind| match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    };
    let listed: BTreeMap<_, _> = ALL
        .iter()
        .chain(of_ironic::ALL)
        // Nothing was asked of Ironic here.
        .filter(|metric| {
            !["metal3_ironic_requests", "metal3_ironic_request_duration_seconds"].contains(&metric.name)
        })
        .map(|metric| {
            let labels = metric.labels.iter().map(|&label| label.to_owned()).collect();
            (metric.name.to_owned(), (kind(metric.kind).to_owned(), labels))
        })
        .collect();
    assert_eq!(told, listed);
}

#[test]
fn upstreams_names_and_buckets_are_kept() {
    let metrics = Metrics::default();
    let ours = HostMetrics::register(&metrics, backend());
    live(&ours, &HostKey::new("metal3", "a"));
    let text = metrics.text().unwrap();
    for line in [
        r#"metal3_reconcile_total{namespace="metal3",host="a"} 1"#,
        r#"metal3_delayed__provisioning_total{namespace="metal3",host="a"} 1"#,
        r#"metal3_delayed_provisioning_total{namespace="metal3",host="a"} 1"#,
        r#"metal3_operation_power_change_total{namespace="metal3",host="a",on_off="off"} 1"#,
        r#"metal3_operation_inspect_duration_seconds_bucket{le="1440.0",namespace="metal3",host="a"} 1"#,
        r#"metal3_operation_register_duration_seconds_bucket{le="0.005",namespace="metal3",host="a"} 0"#,
        r#"metal3_host_error_total{error_type="InspectionError"} 1"#,
        r#"metal3_host_failures_total{error_type="InspectionError",cause="InspectionTimeout"} 1"#,
        r#"metal3_host_config_data_error_total{host_data_type="userData"} 1"#,
        r#"metal3_host_state_duration_seconds_count{state="inspecting"} 1"#,
        "metal3_delete_without_powering_off_total 1",
        "metal3_waiting_for_preprov_image_total 0",
        r#"controller_runtime_reconcile_total{controller="baremetalhost",result="error"} 1"#,
        r#"controller_runtime_active_workers{controller="baremetalhost"} 0"#,
        "metal3_ironic_queue_limit 20",
        "metal3_ironic_circuit_open 0",
    ] {
        assert!(text.lines().any(|told| told == line), "{line} is not in\n{text}");
    }
}

#[test]
fn nothing_is_left_of_a_host_that_is_gone() {
    let metrics = Metrics::default();
    let ours = HostMetrics::register(&metrics, backend());
    let (gone, stays) = (HostKey::new("metal3", "gone"), HostKey::new("metal3", "stays"));
    live(&ours, &gone);
    live(&ours, &stays);
    assert!(metrics.text().unwrap().contains(r#"host="gone""#));
    ours.forget(&gone);
    let text = metrics.text().unwrap();
    assert!(!text.contains(r#"host="gone""#), "{text}");
    assert!(text.contains(r#"host="stays""#), "{text}");
}

#[test]
fn hosts_are_counted_by_who_leads_only() {
    let text = |leads: bool| {
        let metrics = Metrics::default();
        HostMetrics::fleet(
            &metrics,
            Arc::new(move |each| {
                each(&overdue());
                each(&BareMetalHost::default());
                leads
            }),
        );
        metrics.text().unwrap()
    };
    let told = text(true);
    for line in [
        r#"leader_election_master_status{name="baremetal-operator"} 1"#,
        r#"metal3_hosts{state="inspecting"} 1"#,
        r#"metal3_hosts{state="none"} 1"#,
        r#"metal3_hosts{state="provisioned"} 0"#,
        r#"metal3_hosts_waiting{reason="RetryBackoff"} 1"#,
        r#"metal3_hosts_over_deadline{reason="RetryBackoff"} 1"#,
        r#"metal3_hosts_failed{error_type="InspectionError",cause="InspectionTimeout"} 1"#,
    ] {
        assert!(
            told.lines().any(|found| found == line),
            "{line} is not in\n{told}"
        );
    }
    let follower = text(false);
    assert!(!follower.contains("metal3_hosts"), "{follower}");
    assert!(follower.contains(r#"leader_election_master_status{name="baremetal-operator"} 0"#));
}

#[test]
fn the_page_shows_every_name_as_prometheus_does() {
    let page = markdown();
    for metric in ALL.iter().chain(of_ironic::ALL) {
        assert!(
            page.contains(&format!("| `{}` |", metric.shown())),
            "{}",
            metric.name
        );
    }
    assert!(page.contains("`metal3_reconcile_total`") && page.contains("`metal3_hosts`"));
}
