//! Manifests as users write them are read without loss, and the views of Cluster API objects find their fields.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use metal3_api::{
    capi,
    infra::{conversion::convert, v1beta1, v1beta2},
    ipam,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

fn parse(yaml: &str) -> Value {
    serde_saphyr::from_str(yaml).unwrap()
}

/// Reads a manifest and checks that writing it gives the same JSON.
fn read<T: DeserializeOwned + Serialize>(yaml: &str) -> T {
    let value = parse(yaml);
    let object: T = serde_json::from_value(value.clone()).unwrap();
    assert_eq!(serde_json::to_value(&object).unwrap(), value);
    object
}

const NETWORK: &str = r#"
apiVersion: infrastructure.cluster.x-k8s.io/v1beta2
kind: Metal3DataTemplate
metadata: {name: edge-dt, namespace: lab}
spec:
  metaData:
    strings:            [{key: tier, value: edge}]
    objectNames:        [{key: m, object: machine}, {key: m3m, object: metal3machine}, {key: host, object: baremetalhost}]
    indexes:            [{key: idx}, {key: rackslot, offset: 10, step: 5, prefix: "s", suffix: "-a"}]
    namespaces:         [{key: ns}]
    ipAddressesFromPool: [{key: prov_ip, name: prov}]
    prefixesFromPool:   [{key: prov_len, name: prov}]
    gatewaysFromPool:   [{key: prov_gw, name: prov}]
    dnsServersFromPool: [{key: prov_dns, name: prov}]
    fromHostInterfaces: [{key: boot, fromBootMAC: true}, {key: nic0, interface: eno1}]
    fromLabels:         [{key: rack, object: baremetalhost, label: rack}, {key: absent, object: machine, label: none}]
    fromAnnotations:    [{key: note, object: metal3machine, annotation: example.org/note}]
  networkData:
    links:
      ethernets:
      - {type: phy, id: eno1, mtu: 1500, macAddress: {fromHostInterface: eno1}}
      - {type: phy, id: eno2, name: data0, mtu: 9000, macAddress: {string: "52:54:00:aa:00:02"}}
      bonds:
      - {id: bond0, bondMode: 802.3ad, mtu: 1500, bondLinks: [eno1, eno2], parameters: [{name: miimon, value: 100}],
         macAddress: {fromAnnotation: {object: baremetalhost, annotation: example.org/bondmac}}}
      vlans:
      - {id: vlan40, vlanID: 40, mtu: 1500, vlanLink: bond0, macAddress: {string: "52:54:00:aa:00:02"}}
    networks:
      ipv4:
      - id: prov
        link: vlan40
        ipAddressFromIPPool: prov
        routes:
        - {network: 0.0.0.0, gateway: {fromIPPool: prov}, services: {dns: [192.0.2.53], dnsFromIPPool: prov}}
        - {network: 10.20.0.0, prefix: 16, gateway: {string: 198.51.100.9}}
      ipv6:
      - {id: v6, link: bond0, fromPoolRef: {name: v6pool}, routes: [{network: "::", gateway: {fromPoolRef: {name: v6pool}}}]}
      ipv4DHCP:  [{id: dh, link: eno1}]
      ipv6SLAAC: [{id: sl, link: eno1}]
    services: {dns: [192.0.2.54], dnsFromIPPool: prov}
"#;

#[test]
fn a_data_template_with_every_source_is_read() {
    let template: v1beta2::Metal3DataTemplate = read(NETWORK);
    let network = template.spec.network_data.unwrap();
    let bond = &network.links.as_ref().unwrap().bonds[0];
    assert_eq!(bond.parameters[0].value, Some(json!(100)));
    assert_eq!(network.networks.unwrap().ipv4[0].routes[1].prefix, Some(16));
}

#[test]
fn a_data_template_with_every_source_converts_and_comes_back() {
    let stored = parse(NETWORK);
    let seen = convert(stored.clone(), "infrastructure.cluster.x-k8s.io/v1beta1").unwrap();
    let parameters = json!({"miimon": 100});
    assert_eq!(
        seen["spec"]["networkData"]["links"]["bonds"][0]["parameters"],
        parameters
    );
    assert_eq!(
        convert(seen, "infrastructure.cluster.x-k8s.io/v1beta2").unwrap(),
        stored
    );
}

#[test]
fn a_cluster_and_a_machine_template_are_read() {
    let cluster: v1beta2::Metal3Cluster = read(
        r"
apiVersion: infrastructure.cluster.x-k8s.io/v1beta2
kind: Metal3Cluster
metadata: {name: c, namespace: lab}
spec: {controlPlaneEndpoint: {host: 10.124.0.1, port: 6443}}
",
    );
    assert_eq!(cluster.spec.control_plane_endpoint.unwrap().port, Some(6443));
    let template: v1beta2::Metal3MachineTemplate = read(
        r#"
apiVersion: infrastructure.cluster.x-k8s.io/v1beta2
kind: Metal3MachineTemplate
metadata: {name: c, namespace: lab}
spec: {template: {spec: {image: {url: "http://images/x.qcow2"}}}}
"#,
    );
    assert_eq!(
        template.spec.template.spec.image.unwrap().url,
        "http://images/x.qcow2"
    );
}

#[test]
fn the_shapes_of_the_upstream_cluster_template_are_read() {
    read::<v1beta1::Metal3Cluster>(
        r"
apiVersion: infrastructure.cluster.x-k8s.io/v1beta1
kind: Metal3Cluster
metadata: {name: c, namespace: lab}
spec: {controlPlaneEndpoint: {host: 192.0.2.10, port: 6443}, cloudProviderEnabled: false}
",
    );
    read::<v1beta1::Metal3MachineTemplate>(
        r#"
apiVersion: infrastructure.cluster.x-k8s.io/v1beta1
kind: Metal3MachineTemplate
metadata: {name: c-workers, namespace: lab}
spec:
  nodeReuse: false
  template:
    spec:
      automatedCleaningMode: metadata
      dataTemplate: {name: c-workers-template}
      image: {checksum: "http://images/x.sha256", checksumType: sha256, format: raw, url: "http://images/x.raw"}
"#,
    );
    read::<v1beta1::Metal3DataTemplate>(
        r"
apiVersion: infrastructure.cluster.x-k8s.io/v1beta1
kind: Metal3DataTemplate
metadata: {name: c-workers-template, namespace: lab}
spec: {clusterName: c}
",
    );
}

#[test]
fn a_pool_its_claim_and_its_address_are_read() {
    let pool: ipam::IPPool = read(
        r"
apiVersion: ipam.metal3.io/v1alpha1
kind: IPPool
metadata: {name: a, namespace: lab}
spec:
  clusterName: edge
  namePrefix: lab
  allocationStrategy: sequential
  prefix: 24
  gateway: 203.0.113.1
  dnsServers: [203.0.113.2]
  preAllocations: {dt-0-a: 203.0.113.20}
  pools:
  - {start: 203.0.113.10, end: 203.0.113.11}
  - {subnet: 203.0.113.16/29, gateway: 203.0.113.17, prefix: 29, dnsServers: [203.0.113.18]}
status: {indexes: {c1: 203.0.113.10}, lastUpdated: 2026-01-02T03:04:05Z}
",
    );
    assert_eq!(pool.spec.pre_allocations["dt-0-a"], "203.0.113.20");
    assert_eq!(pool.status.unwrap().allocations["c1"], "203.0.113.10");
    let claim: ipam::IPClaim = read(
        r"
apiVersion: ipam.metal3.io/v1alpha1
kind: IPClaim
metadata: {name: c1, namespace: lab, annotations: {ipAddress: 203.0.113.10}}
spec: {pool: {name: a, namespace: lab}}
status: {address: {name: lab-203-0-113-10, namespace: lab}, errorMessage: none}
",
    );
    assert_eq!(claim.spec.pool.name.as_deref(), Some("a"));
    let address: ipam::IPAddress = read(
        r"
apiVersion: ipam.metal3.io/v1alpha1
kind: IPAddress
metadata: {name: lab-203-0-113-10, namespace: lab, finalizers: [ipaddress.ipam.metal3.io]}
spec:
  address: 203.0.113.10
  prefix: 24
  gateway: 203.0.113.1
  dnsServers: [203.0.113.2]
  pool: {name: a, namespace: lab}
  claim: {name: c1, namespace: lab}
",
    );
    assert_eq!(address.spec.prefix, Some(24));
}

#[test]
fn the_views_of_cluster_api_objects_find_their_fields_among_others() {
    let cluster: capi::Cluster = serde_json::from_value(parse(
        r#"
apiVersion: cluster.x-k8s.io/v1beta2
kind: Cluster
metadata: {name: edge, namespace: lab}
spec:
  paused: true
  clusterNetwork: {pods: {cidrBlocks: [192.168.0.0/18]}}
  controlPlaneEndpoint: {host: 10.124.0.1, port: 6443}
  controlPlaneRef: {apiGroup: controlplane.cluster.x-k8s.io, kind: KubeadmControlPlane, name: edge}
  infrastructureRef: {apiGroup: infrastructure.cluster.x-k8s.io, kind: Metal3Cluster, name: edge}
status:
  phase: Provisioned
  initialization: {infrastructureProvisioned: true, controlPlaneInitialized: false}
  observedGeneration: 4
  conditions:
  - {type: Available, status: "False", reason: NotAvailable, message: "", lastTransitionTime: "2026-01-02T03:04:05Z"}
"#,
    ))
    .unwrap();
    assert_eq!(cluster.spec.paused, Some(true));
    assert_eq!(cluster.spec.infrastructure_ref.unwrap().kind, "Metal3Cluster");
    let status = cluster.status.unwrap();
    assert_eq!(
        status.initialization.unwrap().infrastructure_provisioned,
        Some(true)
    );
    assert_eq!(status.conditions[0].type_, "Available");

    let machine: capi::Machine = serde_json::from_value(parse(
        r#"
apiVersion: cluster.x-k8s.io/v1beta2
kind: Machine
metadata: {name: edge-md-abc-7x2, namespace: lab, labels: {cluster.x-k8s.io/cluster-name: edge}}
spec:
  clusterName: edge
  version: v1.35.0
  providerID: metal3://lab/node-17/edge-md-7x2
  failureDomain: rack-a
  deletion: {nodeDrainTimeoutSeconds: 10}
  bootstrap:
    configRef: {apiGroup: bootstrap.cluster.x-k8s.io, kind: KubeadmConfig, name: edge-md-abc-7x2}
    dataSecretName: edge-md-abc-7x2
  infrastructureRef: {apiGroup: infrastructure.cluster.x-k8s.io, kind: Metal3Machine, name: edge-md-7x2}
status:
  phase: Running
  nodeRef: {name: node-17}
  initialization: {infrastructureProvisioned: true, bootstrapDataSecretCreated: true}
"#,
    ))
    .unwrap();
    assert_eq!(
        machine.spec.bootstrap.data_secret_name.as_deref(),
        Some("edge-md-abc-7x2")
    );
    assert_eq!(machine.spec.infrastructure_ref.name, "edge-md-7x2");
    assert_eq!(machine.spec.failure_domain.as_deref(), Some("rack-a"));
    let status = machine.status.unwrap();
    assert_eq!(status.node_ref.unwrap().name, "node-17");
    assert_eq!(
        status.initialization.unwrap().bootstrap_data_secret_created,
        Some(true)
    );
}
