//! Values that cannot work, and what Helm says about them.

use crate::helm;

const ENDPOINT: &str = "ironic.endpoint=http://ironic/v1";

/// The error of a render with these values.
fn error(chart: &str, sets: &[&str], more: &[&str]) -> String {
    let arguments: Vec<&str> = sets
        .iter()
        .flat_map(|set| ["--set", *set])
        .chain(more.iter().copied())
        .collect();
    match helm::text(chart, "", &arguments) {
        Ok(_) => panic!("{chart} takes {sets:?}"),
        Err(error) => error,
    }
}

#[test]
fn the_schemas_name_the_field() {
    let bmo = [
        ("replicas=two", "/replicas"),
        ("replicas=-1", "/replicas"),
        ("image.tag=a b", "/image/tag"),
        ("image.digest=sha1:00", "/image/digest"),
        ("image.pullPolicy=Sometimes", "/image/pullPolicy"),
        ("image.repo=x", "'repo' not allowed"),
        ("watchNamespaces={Metal3}", "/watchNamespaces/0"),
        ("watchNamespace=metal3", "'watchNamespace' not allowed"),
        ("logFormat=xml", "/logFormat"),
        ("logLevel=", "/logLevel"),
        ("otlpEndpoint=otel:4317", "/otlpEndpoint"),
        ("extraArgs={verbose}", "/extraArgs/0"),
        (
            "extraEnv[0].name=A,extraEnv[0].valueFrom.secretKeyRef.name=s",
            "'secretKeyRef' not allowed",
        ),
        ("tls.source=letsencrypt", "/tls/source"),
        ("tls.certManager.issuer=x", "'issuer' not allowed"),
        ("ironic.endpoint=ironic.example.com", "/ironic/endpoint"),
        ("ironic.insecure=maybe", "/ironic/insecure"),
        ("ironic.clientTimeout=1m", "/ironic/clientTimeout"),
        ("ironic.provisioningLimit=0", "/ironic/provisioningLimit"),
        (
            "ironic.liveIsoForcePersistentBootDevice=always",
            "/ironic/liveIsoForcePersistentBootDevice",
        ),
        ("ironicSim.latency=fast", "/ironicSim/latency"),
        ("ironicSim.speed=-1", "/ironicSim/speed"),
        (
            "probes.liveness.periodSeconds=0",
            "/probes/liveness/periodSeconds",
        ),
        ("probes.liveness.httpGet.path=/", "'httpGet' not allowed"),
        (
            "podDisruptionBudget.maxUnavailable=some",
            "/podDisruptionBudget/maxUnavailable",
        ),
        ("metrics.port=70000", "/metrics/port"),
        (
            "metrics.serviceMonitor.interval=often",
            "/metrics/serviceMonitor/interval",
        ),
        (
            "networkPolicy.apiServerPorts={https}",
            "/networkPolicy/apiServerPorts/0",
        ),
        ("resources.limits=null", "/resources"),
        ("webhooks.timeoutSeconds=60", "/webhooks/timeoutSeconds"),
        ("nodeSelector=linux", "/nodeSelector"),
        ("global.tls.source=none", "/global/tls/source"),
    ];
    let capm3 = [
        ("watchNamespaces={a,b}", "/watchNamespaces"),
        ("fastTrack=sometimes", "/fastTrack"),
        ("shards=0", "/shards"),
        ("failureDomainPolicy=always", "/failureDomainPolicy"),
        ("nodeReuseTimeout=6 hours", "/nodeReuseTimeout"),
        ("hostService.address=bmo:8443", "/hostService/address"),
        ("tls.caBundle=LS0t", "/tls/caBundle"),
        ("metrics.secure=tls", "/metrics/secure"),
        (
            "networkPolicy.workloadClusterPorts={0}",
            "/networkPolicy/workloadClusterPorts/0",
        ),
    ];
    let crds = [
        ("tls.source=no", "/tls/source"),
        ("conversion=off", "'conversion' not allowed"),
    ];
    let umbrella = [
        ("metal3-bmo.ironic.endpont=x", "'endpont' not allowed"),
        ("ironic.endpoint=x", "'ironic' not allowed"),
        ("global.tls.source=none", "/global/tls/source"),
        ("metal3-capm3.replicas=many", "/replicas"),
    ];
    for (chart, cases) in [
        ("metal3-bmo", &bmo[..]),
        ("metal3-capm3", &capm3),
        ("metal3-crds", &crds),
        ("metal3", &umbrella),
    ] {
        for (set, named) in cases {
            let error = error(chart, &[set], &[]);
            assert!(
                error.contains("the schema") && error.contains(named),
                "{chart} {set}: {error}"
            );
        }
    }
}

#[test]
fn what_does_not_go_together_is_explained() {
    let cases: [(&str, &[&str], &str); 14] = [
        ("metal3-bmo", &[], "set ironic.endpoint (for example https://"),
        (
            "metal3",
            &[],
            "set metal3-bmo.ironic.endpoint (for example https://",
        ),
        ("metal3", &[], "or metal3-bmo.ironicSim.enabled=true"),
        (
            "metal3-bmo",
            &[ENDPOINT, "ironic.deployKernelUrl=http://k"],
            "ironic.deployKernelUrl and ironic.deployRamdiskUrl",
        ),
        (
            "metal3-bmo",
            &[ENDPOINT, "ironic.username=admin"],
            "ironic.username and ironic.password",
        ),
        (
            "metal3-bmo",
            &[ENDPOINT, "ironic.ca.secret=a", "ironic.ca.configMap=b"],
            "ironic.ca.secret and ironic.ca.configMap",
        ),
        (
            "metal3-bmo",
            &[ENDPOINT, "tls.source=secret"],
            "tls.existingSecret: tls.source secret needs",
        ),
        (
            "metal3-bmo",
            &[
                ENDPOINT,
                "tls.source=secret",
                "tls.existingSecret=s",
                "tls.webhookSecret=w",
            ],
            "tls.caBundle: tls.source secret needs",
        ),
        (
            "metal3-bmo",
            &[
                ENDPOINT,
                "tls.source=secret",
                "tls.existingSecret=s",
                "tls.caBundle=-----BEGIN CERTIFICATE-----x",
            ],
            "for baremetal-operator-webhook-service.",
        ),
        (
            "metal3-capm3",
            &["tls.source=secret", "tls.caBundle=-----BEGIN CERTIFICATE-----x"],
            "tls.existingSecret: tls.source secret needs",
        ),
        (
            "metal3-capm3",
            &["tls.source=secret", "tls.existingSecret=s"],
            "tls.caBundle: tls.source secret needs",
        ),
        (
            "metal3-crds",
            &["tls.source=secret"],
            "tls.caBundle: tls.source secret needs",
        ),
        (
            "metal3-bmo",
            &[
                ENDPOINT,
                "metrics.serviceMonitor.enabled=true",
                "metrics.service.enabled=false",
            ],
            "metrics.serviceMonitor.enabled needs metrics.service.enabled",
        ),
        (
            "metal3-capm3",
            &[
                "metrics.serviceMonitor.enabled=true",
                "metrics.service.enabled=false",
            ],
            "metrics.serviceMonitor.enabled needs metrics.service.enabled",
        ),
    ];
    for (chart, sets, said) in cases {
        let error = error(chart, sets, &[]);
        assert!(error.contains(said), "{chart} {sets:?}: {error}");
    }
}

/// `helm template` knows no cluster and must not complain; in a real one apiregistration.k8s.io is always there.
#[test]
fn a_cluster_without_cert_manager_is_told_at_once() {
    let real = ["--api-versions", "apiregistration.k8s.io/v1"];
    let with = [&real[..], &["--api-versions", "cert-manager.io/v1"]].concat();
    for (chart, set) in [("metal3-bmo", ENDPOINT), ("metal3-capm3", "replicas=1")] {
        let said = error(chart, &[set], &real);
        assert!(said.contains("cert-manager is not installed"), "{said}");
        for (sets, versions) in [
            (set.to_owned(), &with[..]),
            (format!("{set},tls.source=self-signed"), &real),
            (format!("{set},tls.certManager.check=false"), &real),
            (set.to_owned(), &[]),
        ] {
            let arguments = [&["--set", &sets], versions].concat();
            helm::text(chart, "", &arguments).unwrap_or_else(|error| panic!("{chart} {sets}: {error}"));
        }
    }
}

/// The commands of the manual, with the values that they need and the reader has.
#[test]
fn the_commands_of_the_manual_are_accepted() {
    let manual = std::fs::read_to_string(helm::root().join("docs/install.md")).unwrap();
    let (_, own) = manual.split_once("cat >values.yaml <<E\n").unwrap();
    let (own, _) = own.split_once("\nE\n").unwrap();
    helm::text("metal3", own, &[]).unwrap();
    let ca = helm::scratch("manual").join("webhooks-ca.crt");
    std::fs::write(&ca, "-----BEGIN CERTIFICATE-----\n").unwrap();
    let commands = manual.replace("\\\n", " ");
    let commands = commands.lines().filter(|line| line.starts_with("helm install "));
    let mut seen = 0;
    for command in commands {
        let words: Vec<String> = command
            .split_whitespace()
            .map(|word| {
                word.replace('\'', "")
                    .replace("webhooks-ca.crt", &ca.to_string_lossy())
            })
            .collect();
        let sets: Vec<&str> = words
            .windows(2)
            .filter(|pair| pair[0].starts_with("--set"))
            .flat_map(|pair| [pair[0].as_str(), pair[1].as_str()])
            .collect();
        let values = if words.iter().any(|word| word == "values.yaml") {
            own
        } else {
            ""
        };
        helm::text("metal3", values, &sets).unwrap_or_else(|error| panic!("{command}: {error}"));
        seen += 1;
    }
    assert_eq!(seen, 4);
}
