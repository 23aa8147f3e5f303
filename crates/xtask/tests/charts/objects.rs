//! What must hold in every render.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{cases, helm, pods};

/// Names that clusterctl, the tests and people's scripts refer to: none may go.
const NAMES: [&str; 19] = [
    "ServiceAccount capm3-system/baremetal-operator-controller-manager",
    "ServiceAccount capm3-system/capm3-manager",
    "Deployment capm3-system/baremetal-operator-controller-manager",
    "Deployment capm3-system/capm3-controller-manager",
    "Service capm3-system/baremetal-operator-host-service",
    "Service capm3-system/baremetal-operator-host-service-headless",
    "Service capm3-system/baremetal-operator-webhook-service",
    "Service capm3-system/capm3-webhook-service",
    "ConfigMap capm3-system/ironic",
    "ClusterRole baremetal-operator-manager-role",
    "ClusterRole capm3-manager-role",
    "Role capm3-system/baremetal-operator-leader-election-role",
    "Role capm3-system/capm3-leader-election-role",
    "Certificate capm3-system/baremetal-operator-host-service-cert",
    "Certificate capm3-system/baremetal-operator-serving-cert",
    "Certificate capm3-system/capm3-serving-cert",
    "MutatingWebhookConfiguration capm3-mutating-webhook-configuration",
    "ValidatingWebhookConfiguration baremetal-operator-validating-webhook-configuration",
    "ValidatingWebhookConfiguration capm3-validating-webhook-configuration",
];

#[test]
fn names_and_selectors_stay() {
    for (case, objects) in cases::all() {
        for name in NAMES {
            let elsewhere = match *case {
                "namespaced" => name == "ClusterRole capm3-manager-role",
                "self-signed" | "secret" | "sim" => name.starts_with("Certificate"),
                _ => false,
            };
            if !elsewhere {
                helm::find(objects, name);
            }
        }
        for (name, app) in [("baremetal-operator", "metal3-bmo"), ("capm3", "metal3-capm3")] {
            let deployment = helm::find(
                objects,
                &format!("Deployment capm3-system/{name}-controller-manager"),
            );
            // Kubernetes lets nobody change it, so that an upgrade would fail.
            let selector = &deployment["spec"]["selector"];
            assert_eq!(*selector, json!({"matchLabels": {"app.kubernetes.io/name": app}}));
            assert_eq!(
                deployment["spec"]["template"]["spec"]["containers"][0]["name"],
                "manager"
            );
        }
    }
}

#[test]
fn pods_are_restricted_and_hold_no_secret_outside_of_volumes() {
    let mut seen = BTreeSet::new();
    for (case, objects) in cases::all() {
        for (id, spec) in objects.iter().flat_map(pods::specs) {
            assert_eq!(pods::faults(&spec), Vec::<String>::new(), "{case}: {id}");
            seen.insert(id);
        }
        for object in objects.iter().filter(|object| object["kind"] != "Secret") {
            assert!(
                !object.to_string().contains(cases::PASSWORD),
                "{case}: the password is in {}",
                helm::id(object)
            );
        }
    }
    // bmo, capm3, ironic-sim, and the two pods of helm test.
    assert_eq!(seen.len(), 5, "{seen:?}");
}

#[test]
fn a_service_reaches_the_pods_it_is_meant_for_and_no_others() {
    for (case, objects) in cases::all() {
        for service in objects.iter().filter(|object| object["kind"] == "Service") {
            let selector = service["spec"]["selector"].as_object().unwrap();
            let matches = |labels: &Value| selector.iter().all(|(name, value)| labels[name] == *value);
            let chosen: Vec<&Value> = objects
                .iter()
                .filter(|object| {
                    matches(&object["spec"]["template"]["metadata"]["labels"])
                        || (object["kind"] == "Pod" && matches(&object["metadata"]["labels"]))
                })
                .collect();
            assert_eq!(chosen.len(), 1, "{case}: {}", helm::id(service));
            let ports = chosen[0]["spec"]["template"]["spec"]["containers"][0]["ports"]
                .as_array()
                .unwrap()
                .clone();
            for port in service["spec"]["ports"].as_array().unwrap() {
                let target = &port["targetPort"];
                assert!(
                    ports.iter().any(|port| port["name"] == *target),
                    "{case}: {} {target}",
                    helm::id(service)
                );
            }
        }
        // A ServiceMonitor selects one Service by its labels.
        for monitor in objects.iter().filter(|object| object["kind"] == "ServiceMonitor") {
            let wanted = monitor["spec"]["selector"]["matchLabels"].as_object().unwrap();
            let found = objects.iter().filter(|object| {
                let labels = &object["metadata"]["labels"];
                object["kind"] == "Service" && wanted.iter().all(|(name, value)| labels[name] == *value)
            });
            assert_eq!(found.count(), 1, "{case}: {}", helm::id(monitor));
        }
    }
}

#[test]
fn every_object_has_the_standard_labels() {
    for (case, objects) in cases::all() {
        for object in objects {
            let labels = &object["metadata"]["labels"];
            for (name, value) in [
                ("instance", Some("metal3")),
                ("part-of", Some("metal3")),
                ("managed-by", Some("Helm")),
                ("version", Some(env!("CARGO_PKG_VERSION"))),
                ("name", None),
                ("component", None),
            ] {
                let found = labels[format!("app.kubernetes.io/{name}")].as_str();
                let fine = found.is_some() && value.is_none_or(|value| found == Some(value));
                assert!(fine, "{case}: {} has {name}={found:?}", helm::id(object));
            }
            assert!(
                labels["helm.sh/chart"].is_string(),
                "{case}: {}",
                helm::id(object)
            );
            let namespaced = !matches!(
                object["kind"].as_str().unwrap(),
                "CustomResourceDefinition"
                    | "ClusterRole"
                    | "ClusterRoleBinding"
                    | "MutatingWebhookConfiguration"
                    | "ValidatingWebhookConfiguration"
            );
            assert_eq!(
                object["metadata"]["namespace"].is_string(),
                namespaced,
                "{case}: {}",
                helm::id(object)
            );
        }
    }
}

/// Each replica that is ready has an address; the certificate is for the Service that they have in common.
#[test]
fn capm3_finds_each_replica_of_the_host_service() {
    let (one, all) = (
        "baremetal-operator-host-service",
        "baremetal-operator-host-service-headless",
    );
    for (case, objects) in cases::all() {
        let service = helm::find(objects, &format!("Service capm3-system/{all}"));
        assert_eq!(service["spec"]["clusterIP"], "None", "{case}");
        assert_eq!(service["spec"]["publishNotReadyAddresses"], Value::Null, "{case}");
        let common = helm::find(objects, &format!("Service capm3-system/{one}"));
        assert_eq!(service["spec"]["selector"], common["spec"]["selector"], "{case}");
        if *case == "everything" {
            // Its address is given.
            continue;
        }
        let capm3 = helm::find(objects, "Deployment capm3-system/capm3-controller-manager");
        let text = capm3.to_string();
        for flag in [
            format!("\"--host-service-address=https://{all}.capm3-system.svc:8443\""),
            format!("\"--host-service-server-name={one}.capm3-system.svc\""),
        ] {
            assert!(text.contains(&flag), "{case}: {flag} is missing");
        }
    }
    let elsewhere = helm::render(
        "metal3-capm3",
        "{hostService: {address: 'https://bmo.example.com'}}",
    );
    let text = helm::find(&elsewhere, "Deployment capm3-system/capm3-controller-manager").to_string();
    assert!(
        !text.contains("--host-service-server-name"),
        "its name is in the address"
    );
}

#[test]
fn helm_test_asks_the_host_service_unless_it_has_no_certificate_to_show() {
    let test = |host_service: &str| {
        let values = format!("ironic: {{endpoint: 'http://ironic/v1'}}\nhostService: {host_service}");
        let objects = helm::render("metal3-bmo", &values);
        let pods = objects.into_iter().filter(|object| object["kind"] == "Pod");
        pods.map(|pod| pod["spec"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(test("{clientCa: {configMap: clients}}"), Vec::<Value>::new());
    let plain = test("{}");
    assert!(!plain[0].to_string().contains("--cert-file"), "{plain:?}");
    let shows = test("{clientCa: {configMap: clients}, clientCertSecret: mine}");
    let folder = "/opt/metal3/certs/host-service-client";
    let arguments = shows[0]["containers"][0]["args"].as_array().unwrap();
    for argument in [
        format!("--cert-file={folder}/tls.crt"),
        format!("--key-file={folder}/tls.key"),
    ] {
        assert!(arguments.contains(&json!(argument)), "{arguments:?}");
    }
    let volume = json!({"name": "host-service-client", "secret": {"secretName": "mine"}});
    assert!(
        shows[0]["volumes"].as_array().unwrap().contains(&volume),
        "{shows:?}"
    );
}

#[test]
fn secure_metrics_ask_for_a_token() {
    let secure = "metrics: {secure: true, serviceMonitor: {enabled: true}}";
    for (chart, values, name, server, reader) in [
        (
            "metal3-bmo",
            format!("{{ironicSim: {{enabled: true}}, {secure}}}"),
            "baremetal-operator",
            "baremetal-operator-host-service",
            "metal3-bmo-metrics-reader",
        ),
        (
            "metal3-capm3",
            secure.to_owned(),
            "capm3",
            "capm3-webhook-service",
            "metal3-metrics-reader",
        ),
    ] {
        let objects = helm::render(chart, &values);
        let deployment = helm::find(
            &objects,
            &format!("Deployment capm3-system/{name}-controller-manager"),
        );
        let template = &deployment["spec"]["template"];
        assert!(
            template["metadata"]["annotations"]["prometheus.io/scrape"].is_null(),
            "{chart}"
        );
        let arguments = template["spec"]["containers"][0]["args"].to_string();
        // One of them is open unless told otherwise, as upstream's.
        let (has, lacks) = match chart {
            "metal3-bmo" => ("--metrics-secure=true", "insecure"),
            _ => ("--diagnostics-address=:8080", "--insecure-diagnostics"),
        };
        assert!(
            arguments.contains(has) && !arguments.contains(lacks),
            "{chart}: {arguments}"
        );
        let monitor = helm::find(&objects, &format!("ServiceMonitor capm3-system/{name}"));
        let endpoint = &monitor["spec"]["endpoints"][0];
        assert_eq!(endpoint["scheme"], "https", "{chart}");
        assert_eq!(
            endpoint["tlsConfig"]["serverName"],
            format!("{server}.capm3-system.svc"),
            "{chart}"
        );
        let rules = &helm::find(&objects, &format!("ClusterRole {reader}"))["rules"];
        assert_eq!(
            *rules,
            json!([{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}])
        );
    }
    let objects = helm::render("metal3-capm3", secure);
    let binding = helm::find(&objects, "ClusterRoleBinding capm3-metrics-auth-rolebinding");
    assert_eq!(binding["roleRef"]["name"], "system:auth-delegator");
}

#[test]
fn the_ca_of_webhooks_comes_from_where_the_values_say() {
    for (source, annotated, bundled) in [
        ("cert-manager", true, false),
        ("self-signed", false, false),
        ("secret", false, true),
    ] {
        let values = format!(
            "global: {{tls: {{source: {source}, caBundle: '-----BEGIN CERTIFICATE-----x'}}}}\n\
             metal3-bmo: {{ironicSim: {{enabled: true}}, tls: {{existingSecret: a, webhookSecret: c}}}}\n\
             metal3-capm3: {{tls: {{existingSecret: b}}}}"
        );
        let objects = helm::render("metal3", &values);
        let mut seen = 0;
        for object in &objects {
            let mut clients: Vec<&Value> = object["webhooks"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|webhook| &webhook["clientConfig"])
                .collect();
            clients.extend(object.pointer("/spec/conversion/webhook/clientConfig"));
            if clients.is_empty() {
                continue;
            }
            let annotation = &object["metadata"]["annotations"]["cert-manager.io/inject-ca-from"];
            let certificate = match helm::id(object).contains("baremetal-operator") {
                true => "capm3-system/baremetal-operator-serving-cert",
                false => "capm3-system/capm3-serving-cert",
            };
            let wanted = annotated.then_some(certificate);
            assert_eq!(annotation.as_str(), wanted, "{source}: {}", helm::id(object));
            for client in clients {
                seen += 1;
                assert_eq!(
                    client["service"]["namespace"],
                    helm::NAMESPACE,
                    "{source}: {}",
                    helm::id(object)
                );
                assert_eq!(
                    client["caBundle"].is_string(),
                    bundled,
                    "{source}: {}",
                    helm::id(object)
                );
            }
        }
        // Nine kinds of capm3 are converted and validated and two defaulted, and six of bmo are validated.
        assert_eq!(seen, 26, "{source}");
    }
}

#[test]
fn hosts_are_admitted_where_they_are_managed_and_as_upstream_registers_it() {
    let name = "ValidatingWebhookConfiguration baremetal-operator-validating-webhook-configuration";
    let render = |values: &str| {
        helm::render(
            "metal3-bmo",
            &format!("{{ironicSim: {{enabled: true}}, {values}}}"),
        )
    };
    let objects = render("watchNamespaces: [metal3, edge], webhooks: {timeoutSeconds: 5}");
    let webhooks = helm::find(&objects, name)["webhooks"].as_array().unwrap();
    let kinds = [
        "baremetalhost",
        "bmceventsubscription",
        "dataimage",
        "hostclaim",
        "hostfirmwarecomponents",
        "hostnetworkattachment",
    ];
    assert_eq!(webhooks.len(), kinds.len());
    for (webhook, kind) in webhooks.iter().zip(kinds) {
        assert_eq!(webhook["name"], format!("{kind}.metal3.io"));
        assert_eq!(
            webhook["clientConfig"]["service"]["path"],
            format!("/validate-metal3-io-v1alpha1-{kind}")
        );
        for (field, value) in [
            ("failurePolicy", json!("Fail")),
            ("sideEffects", json!("None")),
            ("timeoutSeconds", json!(5)),
        ] {
            assert_eq!(webhook[field], value, "{kind}");
        }
        let deleted = webhook["rules"][0]["operations"]
            .as_array()
            .unwrap()
            .contains(&json!("DELETE"));
        assert_eq!(deleted, kind == "hostnetworkattachment");
        let namespaces = &webhook["namespaceSelector"]["matchExpressions"][0]["values"];
        assert_eq!(*namespaces, json!(["metal3", "edge"]));
    }
    let everywhere = render("");
    assert!(helm::find(&everywhere, name)["webhooks"][0]["namespaceSelector"].is_null());
    let without = render("webhooks: {enabled: false}");
    assert!(without.iter().all(|object| !helm::id(object).contains("webhook")));
    let deployment = helm::find(
        &without,
        "Deployment capm3-system/baremetal-operator-controller-manager",
    );
    assert!(deployment.to_string().contains("--webhook-port=0"));
}

#[test]
fn hosts_survive_the_chart_and_clusterctl_can_move_them() {
    let objects = helm::render("metal3-crds", "");
    assert_eq!(objects.len(), 25);
    for crd in &objects {
        assert_eq!(
            crd["metadata"]["annotations"]["helm.sh/resource-policy"],
            "keep",
            "{}",
            helm::id(crd)
        );
        let labels = &crd["metadata"]["labels"];
        assert_eq!(
            labels["cluster.x-k8s.io/provider"],
            "infrastructure-metal3",
            "{}",
            helm::id(crd)
        );
        assert_eq!(labels["clusterctl.cluster.x-k8s.io"], "", "{}", helm::id(crd));
    }
}

#[test]
fn pods_restart_when_what_they_read_at_the_start_changes() {
    let template = |values: &str| {
        let objects = helm::render("metal3-bmo", values);
        helm::find(
            &objects,
            "Deployment capm3-system/baremetal-operator-controller-manager",
        )["spec"]["template"]
            .clone()
    };
    let first = template("ironic: {endpoint: 'http://a/v1'}");
    assert_eq!(
        first,
        template("{replicas: 1, ironic: {endpoint: 'http://a/v1'}, ironicSim: {enabled: true}}")
    );
    assert_ne!(first, template("ironic: {endpoint: 'http://b/v1'}"));
    assert_ne!(
        first,
        template("ironic: {endpoint: 'http://a/v1', provisioningLimit: 21}")
    );
}

#[test]
fn lint_has_nothing_to_say() {
    for chart in ["metal3-crds", "metal3-bmo", "metal3-capm3", "metal3"] {
        let mut command = helm::helm();
        command.args(["lint", "--strict"]).arg(helm::charts().join(chart));
        let output = helm::run(command, "");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && !said.contains("[WARNING]") && !said.contains("[ERROR]"),
            "{chart}: {said}"
        );
    }
}

#[test]
fn notes_say_what_to_do_next() {
    let notes = |values: &str| {
        let mut command = helm::helm();
        command
            .args([
                "install",
                "metal3",
                "--dry-run=client",
                "--namespace",
                helm::NAMESPACE,
                "-f",
                "-",
            ])
            .arg(helm::charts().join("metal3"));
        let output = helm::run(command, values);
        let text = String::from_utf8(output.stdout).unwrap();
        text.split_once("\nNOTES:\n")
            .map(|(_, notes)| notes.to_owned())
            .unwrap_or_else(|| panic!("{text}"))
    };
    let sim = notes("metal3-bmo: {ironicSim: {enabled: true}}");
    for wanted in [
        "SIMULATED",
        "kind: BareMetalHost",
        "type==\"Waiting\"",
        "--audience metal3-host-service",
        "capm3",
    ] {
        assert!(sim.contains(wanted), "{wanted} is not in {sim}");
    }
    let real = notes(
        "{metal3-bmo: {ironic: {endpoint: 'http://a/v1'}}, metal3-crds: {enabled: false}, metal3-capm3: {enabled: false}}",
    );
    assert!(!real.contains("SIMULATED") && !real.contains("capm3)"), "{real}");
    assert!(
        real.contains("asked without a password") && real.contains("install the chart metal3-crds"),
        "{real}"
    );
}
