//! How the Node of a machine is found: the rows of the table in the specification, for each way to bootstrap and to run.

use crate::common::{Fixture, ID, host};
use metal3_api::conditions;
use metal3_api::infra::v1beta2::{Initialization, Metal3MachineStatus};
use metal3_capm3_core::machine::{Answer, Ask, NodeAnswer, Seen, Step};
use metal3_capm3_core::node::{NodeFacts, NodeIndex};

/// Who brings the bootstrap data, and whether a cloud provider sets provider IDs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// A bootstrap provider: kubelet gets the label of the host.
    Provider,
    /// The user: kubelet may get nothing.
    User,
    /// Either, with a cloud provider.
    Cloud,
}

/// What comes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    /// Cluster API is told; the Node had the ID.
    Found,
    /// The Node with this name gets the ID, and Cluster API is told.
    Linked(&'static str),
    /// Waits, and the message has this.
    Waits(&'static str),
    /// As before, but Cluster API was told already, because nothing else tells it which Node to expect.
    ToldAndWaits(&'static str),
}

use Outcome::{Found, Linked, ToldAndWaits, Waits};
use Way::{Cloud, Provider, User};

fn machine(way: Way) -> Fixture {
    Fixture::new().claimed().with(|f| {
        if way == User {
            f.owner.as_mut().unwrap().spec.bootstrap.config_ref = None;
        }
        if way == Cloud {
            f.infra.as_mut().unwrap().spec.cloud_provider_enabled = Some(true);
        }
    })
}

/// Runs the machine against a workload cluster until it finishes.
fn outcome(fixture: &Fixture, nodes: &[NodeFacts]) -> Outcome {
    let mut index = NodeIndex::default();
    for node in nodes {
        index.put(node.clone());
    }
    let (mut seen, mut linked) = (Seen::default(), None);
    let verdict = loop {
        match fixture.plan(&seen) {
            Step::Finish(verdict) => break *verdict,
            Step::Ask(ask) => seen.record(match *ask {
                Ask::Host(_) => Answer::Host(Some(Box::new(host("h0", "provisioned")))),
                Ask::Nodes(query) => Answer::Nodes(NodeAnswer::Found(index.find(&query))),
                Ask::LinkNode { node, query } => {
                    assert_eq!(query.provider_id, ID);
                    linked = Some(node);
                    Answer::NodeLinked(None)
                }
                other => panic!("{other:?}"),
            }),
        }
    };
    let message = conditions::find(&verdict.status.conditions, "AssociateMetal3MachineMetaData")
        .unwrap()
        .message
        .clone();
    let message: &'static str = Box::leak(message.into_boxed_str());
    let told = verdict.status.initialization.is_some();
    assert_eq!(
        told,
        verdict.changes.provider_id.as_deref() == Some(ID),
        "both or none"
    );
    assert_eq!(
        conditions::is_true(&verdict.status.conditions, "Ready"),
        verdict.waiting.is_none()
    );
    match (verdict.waiting.is_some(), linked, told) {
        (false, None, true) => Found,
        (false, Some(node), true) => Linked(Box::leak(node.into_boxed_str())),
        (true, None, false) => Waits(message),
        (true, None, true) => ToldAndWaits(message),
        other => panic!("{other:?}: {message}"),
    }
}

/// Name, provider ID, host UID in the label, host name.
fn node(name: &str, provider_id: &str, host_uid: &str, hostname: &str) -> NodeFacts {
    NodeFacts {
        name: name.into(),
        provider_id: provider_id.into(),
        host_uid: host_uid.into(),
        hostname: hostname.into(),
    }
}

/// The wait says so, whatever else it says.
fn matches(found: &Outcome, expected: &Outcome) -> bool {
    match (found, expected) {
        (Waits(found), Waits(part)) | (ToldAndWaits(found), ToldAndWaits(part)) => found.contains(part),
        (found, expected) => found == expected,
    }
}

/// What there is, and what comes of it with a bootstrap provider, without, and with a cloud provider.
type Row = (&'static str, Vec<NodeFacts>, [Outcome; 3]);

const UID: &str = "uid-h0";

/// At most one Node might be it.
fn plain_rows() -> Vec<Row> {
    vec![
        (
            "no Node at all",
            vec![],
            [
                Waits("no Node has the label metal3.io/uuid=uid-h0"),
                ToldAndWaits("or the host name \"node\""),
                Waits("the cloud provider sets it"),
            ],
        ),
        (
            "kubelet got the provider ID",
            vec![node("n", ID, "", "")],
            [Found, Found, Found],
        ),
        (
            "the provider ID and the label",
            vec![node("n", ID, UID, "node")],
            [Found, Found, Found],
        ),
        (
            "the label only",
            vec![node("n", "", UID, "")],
            [Linked("n"), Linked("n"), Waits("the cloud provider")],
        ),
        (
            "the host name only",
            vec![node("n", "", "", "node")],
            [
                Waits("no Node has the label"),
                Linked("n"),
                Waits("the cloud provider"),
            ],
        ),
    ]
}

/// Several might be it, or one has something else.
fn tangled_rows() -> Vec<Row> {
    vec![
        (
            "the label of two",
            vec![node("n", "", UID, ""), node("o", "", UID, "")],
            [
                Waits("2 Nodes claim to run on this host: n, o"),
                ToldAndWaits("2 Nodes claim to run on this host: n, o"),
                Waits("the cloud provider"),
            ],
        ),
        (
            "the host name of two",
            vec![node("n", "", "", "node"), node("o", "", "", "node")],
            [
                Waits("no Node has the label"),
                ToldAndWaits("2 Nodes claim to run on this host"),
                Waits("the cloud provider"),
            ],
        ),
        (
            "the label of one with the ID of something else",
            vec![node("n", "aws:///i-1", UID, "")],
            [
                Waits("Node n has providerID \"aws:///i-1\""),
                ToldAndWaits("Node n has providerID \"aws:///i-1\""),
                Waits("the cloud provider"),
            ],
        ),
        (
            "the label of one with the ID that releases before 1.14 wrote",
            vec![node("n", "metal3://uid-h0", UID, "")],
            [
                Waits("expected \"metal3://ns/h0/m\""),
                ToldAndWaits("expected \"metal3://ns/h0/m\""),
                Waits("the cloud provider"),
            ],
        ),
        (
            "our ID twice",
            vec![node("n", ID, UID, ""), node("o", ID, "", "")],
            [
                Waits("2 Nodes have the provider ID"),
                ToldAndWaits("2 Nodes have the provider ID"),
                Waits("2 Nodes have the provider ID"),
            ],
        ),
        (
            "other Nodes share an ID, which is none of our business",
            vec![
                node("x", "metal3://ns/h9/z", "", ""),
                node("y", "metal3://ns/h9/z", "", ""),
                node("n", ID, "", ""),
            ],
            [Found, Found, Found],
        ),
        (
            "the Node of a former machine of the same host is left",
            vec![
                node("old", "metal3://ns/h0/former", UID, "node"),
                node("n", "", UID, "node"),
            ],
            [Linked("n"), Linked("n"), Waits("the cloud provider")],
        ),
        (
            "only the Node of a former machine is there",
            vec![node("old", "metal3://ns/h0/former", UID, "node")],
            [
                Waits("no Node has the label"),
                ToldAndWaits("no Node has the label"),
                Waits("the cloud provider"),
            ],
        ),
        (
            "a host whose name begins the same is another one",
            vec![node("n", "metal3://ns/h01/m", "", ""), node("o", ID, "", "")],
            [Found, Found, Found],
        ),
    ]
}

#[test]
fn each_row_of_the_table_holds_for_each_way_to_bootstrap() {
    for (row, nodes, expected) in plain_rows().into_iter().chain(tangled_rows()) {
        for (way, expected) in [Provider, User, Cloud].into_iter().zip(expected) {
            let found = outcome(&machine(way), &nodes);
            assert!(
                matches(&found, &expected),
                "{row}, {way:?}: {found:?} instead of {expected:?}"
            );
        }
    }
}

#[test]
fn a_machine_without_a_host_name_is_found_by_its_label_only() {
    let fixture = machine(User);
    let nameless = || {
        let mut host = host("h0", "provisioned");
        host.hostname.clear();
        Answer::Host(Some(Box::new(host)))
    };
    let mut seen = Seen::default();
    seen.record(nameless());
    seen.record(Answer::Nodes(NodeAnswer::Found(Default::default())));
    let Step::Finish(verdict) = fixture.plan(&seen) else {
        panic!("it asks")
    };
    assert!(
        verdict
            .waiting
            .unwrap()
            .message
            .contains("no host name to recognise its Node by")
    );
}

#[test]
fn a_running_machine_keeps_its_provider_id_whatever_form_it_has() {
    for id in [ID, "metal3://3f1c2a9e-0000-0000-0000-000000000000"] {
        let fixture = machine(Provider).with_node().with(|f| {
            f.machine.spec.provider_id = Some(id.into());
            f.machine.status = Some(Metal3MachineStatus {
                initialization: Some(Initialization {
                    provisioned: Some(true),
                }),
                ..Metal3MachineStatus::default()
            });
        });
        let mut seen = Seen::default();
        seen.record(Answer::Host(Some(Box::new(host("h0", "provisioned")))));
        let Step::Finish(verdict) = fixture.plan(&seen) else {
            panic!("it asks")
        };
        assert!(conditions::is_true(&verdict.status.conditions, "Ready"), "{id}");
        assert_eq!(verdict.changes.provider_id, None, "{id}");
    }
}

#[test]
fn an_externally_provisioned_host_is_not_one_that_runs_the_image() {
    for state in ["externally provisioned", "provisioning", "available", ""] {
        let mut seen = Seen::default();
        seen.record(Answer::Host(Some(Box::new(host("h0", state)))));
        let Step::Finish(verdict) = machine(User).plan(&seen) else {
            panic!("{state}: it asks")
        };
        assert_eq!(verdict.status.initialization, None, "{state}");
        assert_eq!(verdict.changes.provider_id, None, "{state}");
    }
}
