//! Label sync: whose labels go where, and what a Node is changed to.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use metal3_api::capi::{Cluster, Machine, MachineNodeReference, MachineStatus};
use metal3_api::infra::v1beta2::{Metal3Cluster, Metal3Machine};
use metal3_api::names;
use metal3_capm3_core::host::HostKey;
use metal3_capm3_core::label_sync::{Labels, NodeLabels, Plan, Prefixes, View, changes, plan};
use metal3_capm3_core::remediation::NodeName;
use proptest::prelude::*;

type Map = BTreeMap<String, String>;

const LABELS_FROM_MACHINE: &str = "cluster.x-k8s.io/labels-from-machine";
const PAUSED: &str = "cluster.x-k8s.io/paused";
const MOVED: &str = "clusterctl.cluster.x-k8s.io/delete-for-move";

fn map(pairs: &[(&str, &str)]) -> Map {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

/// A host and a Node in memory, and what is asked for.
fn changed(host: &Map, node: &Map, annotations: &Map, asked: &str) -> BTreeMap<String, Option<String>> {
    let (prefixes, _) = Prefixes::read(asked);
    let host = Labels::with_prefix(host);
    changes(&host, &NodeLabels::of(node, annotations, &prefixes), &prefixes)
}

/// What the API server makes of a merge patch.
fn apply(node: &mut Map, changes: BTreeMap<String, Option<String>>) {
    for (key, value) in changes {
        match value {
            Some(value) => node.insert(key, value),
            None => node.remove(&key),
        };
    }
}

#[test]
fn a_node_gets_what_it_lacks_and_loses_what_the_host_has_lost() {
    let host = map(&[
        ("a.io/rack", "7"),
        ("a.io/row", "2"),
        ("b.io/x", "1"),
        ("rack", "7"),
    ]);
    let node = map(&[("a.io/row", "1"), ("a.io/old", ""), ("b.io/y", "1"), ("row", "1")]);
    let wanted = BTreeMap::from([
        ("a.io/rack".to_owned(), Some("7".to_owned())),
        ("a.io/row".to_owned(), Some("2".to_owned())),
        ("a.io/old".to_owned(), None),
    ]);
    assert_eq!(changed(&host, &node, &Map::new(), "a.io"), wanted);
    assert_eq!(changed(&host, &node, &Map::new(), "io,sub.a.io"), BTreeMap::new());
}

#[test]
fn labels_by_which_a_node_is_known_are_nobodys_to_change() {
    let host = map(&[
        ("kubernetes.io/hostname", "liar"),
        ("kubernetes.io/rack", "7"),
        ("node-role.kubernetes.io/worker", ""),
    ]);
    let mut node = map(&[
        ("kubernetes.io/hostname", "n"),
        ("kubernetes.io/os", "linux"),
        ("metal3.io/uuid", "u"),
        ("node-role.kubernetes.io/control-plane", ""),
    ]);
    let before = node.clone();
    let asked = "kubernetes.io,metal3.io,node-role.kubernetes.io";
    apply(&mut node, changed(&host, &before, &Map::new(), asked));
    for (key, value) in &before {
        assert_eq!(node.get(key), Some(value), "{key}");
    }
    assert_eq!(node.len(), before.len() + 2, "{node:?}");
}

#[test]
fn what_cluster_api_sets_from_the_machine_is_the_machines() {
    let host = map(&[("a.io/x", "host"), ("a.io/y", "host")]);
    let node = map(&[("a.io/x", "machine"), ("a.io/z", "machine")]);
    let annotations = map(&[(LABELS_FROM_MACHINE, "a.io/x,a.io/z,b.io/x")]);
    let wanted = BTreeMap::from([("a.io/y".to_owned(), Some("host".to_owned()))]);
    assert_eq!(changed(&host, &node, &annotations, "a.io"), wanted);
}

fn key() -> impl Strategy<Value = String> {
    let prefix = prop::sample::select(vec![
        "",
        "a.io/",
        "b.io/",
        "sub.a.io/",
        "kubernetes.io/",
        "metal3.io/",
    ]);
    let name = prop::sample::select(vec!["x", "y", "hostname", "uuid"]);
    (prefix, name).prop_map(|(prefix, name)| format!("{prefix}{name}"))
}

fn labels() -> impl Strategy<Value = Map> {
    prop::collection::btree_map(
        key(),
        prop::sample::select(vec!["", "1", "2"]).prop_map(str::to_owned),
        0..9,
    )
}

fn asked() -> impl Strategy<Value = BTreeSet<&'static str>> {
    let prefixes = vec!["a.io", "b.io", "sub.a.io", "kubernetes.io", "metal3.io"];
    prop::collection::btree_set(prop::sample::select(prefixes), 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_node_ends_up_with_the_labels_of_its_host_and_all_else_as_it_was(
        host in labels(),
        before in labels(),
        of_machine in prop::collection::btree_set(key(), 0..3),
        asked in asked(),
    ) {
        let annotations = Map::from([(
            LABELS_FROM_MACHINE.to_owned(),
            of_machine.iter().cloned().collect::<Vec<_>>().join(","),
        )]);
        let list = asked.iter().copied().collect::<Vec<_>>().join(",");
        let mut node = before.clone();
        apply(&mut node, changed(&host, &before, &annotations, &list));
        let ours = |key: &String| {
            let prefix = key.split_once('/').map(|(prefix, _)| prefix);
            prefix.is_some_and(|prefix| asked.contains(prefix))
                && !["kubernetes.io/hostname", "metal3.io/uuid"].contains(&key.as_str())
                && !of_machine.contains(key)
        };
        for key in host.keys().chain(before.keys()) {
            let wanted = if ours(key) { &host } else { &before };
            prop_assert_eq!(node.get(key), wanted.get(key), "{}", key);
        }
        prop_assert_eq!(changed(&host, &node, &annotations, &list), BTreeMap::new(), "not once and for all");
    }
}

/// A machine that runs, and what surrounds it.
#[derive(Clone, Default)]
struct Fixture {
    machine: Metal3Machine,
    owner: Option<Machine>,
    cluster: Option<Cluster>,
    infra: Option<Metal3Cluster>,
}

impl Fixture {
    fn running() -> Self {
        let annotated = |key: &str, value: &str| ObjectMeta {
            name: Some("m".into()),
            namespace: Some("ns".into()),
            annotations: Some(map(&[(key, value)])),
            ..ObjectMeta::default()
        };
        let mut machine = Metal3Machine::new("m", Default::default());
        machine.metadata = annotated(names::ANNOTATION_HOST, "ns/h");
        let mut infra = Metal3Cluster::new("c", Default::default());
        infra.metadata = annotated(names::ANNOTATION_LABEL_SYNC_PREFIXES, "a.io,No/");
        let mut owner = Machine::new("m", Default::default());
        owner.spec.cluster_name = "c".into();
        owner.status = Some(MachineStatus {
            node_ref: Some(MachineNodeReference { name: "n".into() }),
            ..MachineStatus::default()
        });
        Self {
            machine,
            owner: Some(owner),
            cluster: Some(Cluster::new("c", Default::default())),
            infra: Some(infra),
        }
    }

    fn plan(&self) -> Option<Plan> {
        plan(&View {
            machine: &self.machine,
            owner: self.owner.as_ref(),
            cluster: self.cluster.as_ref(),
            infra: self.infra.as_ref(),
        })
    }

    fn pair_after(change: impl FnOnce(&mut Self)) -> bool {
        let mut fixture = Self::running();
        change(&mut fixture);
        fixture.plan().and_then(|plan| plan.pair).is_some()
    }
}

#[test]
fn the_labels_of_the_machines_host_go_to_the_machines_node() {
    let plan = Fixture::running().plan().unwrap();
    assert_eq!((plan.prefixes, plan.malformed), Prefixes::read("a.io,No/"));
    let pair = plan.pair.unwrap();
    assert_eq!(
        pair.host,
        HostKey {
            namespace: "ns".into(),
            name: "h".into()
        }
    );
    assert_eq!(
        pair.node,
        NodeName {
            namespace: "ns".into(),
            cluster: "c".into(),
            name: "n".into()
        }
    );
}

#[test]
fn nothing_is_synced_that_nobody_asks_for_or_that_is_not_there() {
    fn note(metadata: &mut ObjectMeta, key: &str) {
        metadata
            .annotations
            .get_or_insert_default()
            .insert(key.to_owned(), String::new());
    }
    assert!(Fixture::pair_after(|_| {}));
    for stop in [PAUSED, MOVED] {
        assert!(
            !Fixture::pair_after(|f| note(&mut f.machine.metadata, stop)),
            "{stop}"
        );
        assert!(
            !Fixture::pair_after(|f| note(&mut f.infra.as_mut().unwrap().metadata, stop)),
            "{stop}"
        );
    }
    assert!(!Fixture::pair_after(|f| f
        .cluster
        .as_mut()
        .unwrap()
        .spec
        .paused = Some(true)));
    assert!(Fixture::pair_after(
        |f| f.cluster.as_mut().unwrap().spec.paused = Some(false)
    ));
    assert!(!Fixture::pair_after(|f| f.cluster = None));
    assert!(!Fixture::pair_after(|f| f.infra = None));
    assert!(!Fixture::pair_after(|f| f
        .infra
        .as_mut()
        .unwrap()
        .metadata
        .annotations = None));
    assert!(!Fixture::pair_after(|f| note(
        &mut f.infra.as_mut().unwrap().metadata,
        names::ANNOTATION_LABEL_SYNC_PREFIXES
    )));
    assert!(!Fixture::pair_after(|f| f.owner = None));
    assert!(!Fixture::pair_after(|f| f.owner.as_mut().unwrap().status = None));
    assert!(!Fixture::pair_after(|f| f.machine.metadata.annotations = None));
    let now = Time(jiff::Timestamp::UNIX_EPOCH);
    assert!(!Fixture::pair_after(
        |f| f.machine.metadata.deletion_timestamp = Some(now)
    ));
}

#[test]
fn a_wrong_prefix_is_told_also_before_there_is_a_node() {
    let mut fixture = Fixture::running();
    fixture.owner = None;
    let plan = fixture.plan().unwrap();
    assert_eq!((plan.pair, plan.malformed), (None, vec!["No/".to_owned()]));
}
