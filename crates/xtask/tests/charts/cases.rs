//! The renders that are looked at: values of the umbrella chart.

use std::sync::OnceLock;

use serde_json::Value;

use crate::helm;

/// Occurs in the values below as the password; nowhere else but in a Secret may it be found.
pub(crate) const PASSWORD: &str = "correct-horse-battery";

pub(crate) const CASES: [(&str, &str); 6] = [
    (
        "defaults",
        "metal3-bmo: {ironic: {endpoint: 'https://ironic.example.com:6385/v1'}}",
    ),
    (
        "self-signed",
        "
global: {tls: {source: self-signed}}
metal3-bmo: {ironic: {endpoint: 'https://ironic.example.com:6385/v1', username: admin, password: correct-horse-battery}}
",
    ),
    (
        "secret",
        r"
global:
  tls:
    source: secret
    caBundle: |
      -----BEGIN CERTIFICATE-----
      AAAA
      -----END CERTIFICATE-----
metal3-bmo:
  tls: {existingSecret: my-host-service, webhookSecret: my-host-webhooks}
  hostService: {clientCa: {secret: my-clients}, clientCertSecret: my-test-client}
  ironic:
    endpoint: https://ironic.example.com/v1
    existingSecret: my-login
    ca: {configMap: my-ca}
    clientCertSecret: my-client
metal3-capm3:
  tls: {existingSecret: my-webhooks}
  hostService: {caSecret: my-host-service, clientCertSecret: my-capm3-client}
",
    ),
    (
        "namespaced",
        "
metal3-bmo:
  watchNamespaces: [metal3, edge]
  ironic: {resource: {name: ironic, namespace: ironic-system}}
metal3-capm3:
  watchNamespaces: [metal3]
",
    ),
    (
        "everything",
        r"
global: {imagePullSecrets: [{name: registry}]}
metal3-bmo: &common
  replicas: 3
  image: {digest: 'sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef'}
  logLevel: debug
  logFormat: text
  otlpEndpoint: http://otel.observability.svc:4317
  extraArgs: [--kube-api-qps=50]
  extraEnv: [{name: HTTPS_PROXY, value: 'http://proxy.example.com:3128'}]
  nodeSelector: {kubernetes.io/os: linux}
  tolerations: [{key: a, operator: Exists}]
  affinity: {nodeAffinity: {}}
  priorityClassName: system-cluster-critical
  podAnnotations: {a/b: c}
  podLabels: {a/b: c}
  commonLabels: {team: metal}
  serviceAccount: {annotations: {a/b: c}}
  probes: {liveness: {periodSeconds: 20}}
  tls: {minVersion: TLS13, certManager: {issuerRef: {kind: ClusterIssuer, name: corp}}}
  networkPolicy: {enabled: true, metricsFrom: [{podSelector: {}}], extraIngress: [{}], extraEgress: [{}]}
  metrics: {port: 9090, service: {annotations: {a/b: c}}, serviceMonitor: {enabled: true, labels: {release: prometheus}}}
  ironic:
    endpoint: https://ironic.example.com:6385/v1
    username: admin
    password: correct-horse-battery
    insecure: true
    ca: {secret: my-ca, key: tls.crt}
    clientTimeout: 60s
    deployKernelUrl: http://images.example.com/ipa.kernel
    deployRamdiskUrl: http://images.example.com/ipa.initramfs
    deployIsoUrl: http://images.example.com/ipa.iso
    provisioningLimit: 50
    provisioningNetworkDisabled: true
    liveIsoForcePersistentBootDevice: Never
    directDeployForcePersistentBootDevice: Always
metal3-capm3:
  replicas: 2
  shards: 8
  fastTrack: true
  hostService: {address: 'https://bmo.example.com:9443', caConfigMap: bmo-ca}
  metrics: {secure: true, serviceMonitor: {enabled: true}}
  networkPolicy: {enabled: true}
",
    ),
    (
        "sim",
        "
global: {tls: {source: self-signed}}
metal3-bmo:
  ironicSim: {enabled: true, latency: 'power=200ms,deploy=5s', speed: 0.5, extraArgs: ['--fault=fail:clean@ns~host-*']}
  networkPolicy: {enabled: true}
metal3-capm3: {metrics: {service: {enabled: false}}}
",
    ),
];

/// All renders, by name.
pub(crate) fn all() -> &'static [(&'static str, Vec<Value>)] {
    static ALL: OnceLock<Vec<(&str, Vec<Value>)>> = OnceLock::new();
    ALL.get_or_init(|| {
        CASES
            .iter()
            .map(|(name, values)| (*name, helm::render("metal3", values)))
            .collect()
    })
}
