//! What a reading changes, and what is known after it.

use super::*;

fn node(uuid: &str, state: &str) -> Node {
    Node {
        uuid: uuid.into(),
        name: Some(format!("ns~{uuid}")),
        provision_state: state.into(),
        ..Node::default()
    }
}

fn keys(changed: Vec<HostKey>) -> Vec<String> {
    changed.into_iter().map(|key| key.name).collect()
}

#[test]
fn only_hosts_whose_node_changed_are_told() {
    let (mirror, _changes) = Mirror::new();
    let all = || vec![node("a", "manageable"), node("b", "manageable")];
    assert!(
        mirror.take(all(), Instant::now()).is_empty(),
        "the first reading is no news"
    );
    assert!(mirror.take(all(), Instant::now()).is_empty());
    let changed = mirror.take(
        vec![node("a", "inspecting"), node("b", "manageable")],
        Instant::now(),
    );
    assert_eq!(keys(changed), ["a"]);
    assert_eq!(
        keys(mirror.take(vec![node("a", "inspecting")], Instant::now())),
        ["b"]
    );
}

#[test]
fn an_own_write_outdates_what_is_known_until_the_next_reading() {
    let (mirror, _changes) = Mirror::new();
    let before = Instant::now();
    mirror.take(vec![node("a", "manageable")], before);
    assert!(mirror.node("a").is_some());
    mirror.wrote("a");
    assert!(mirror.node("a").is_none());
    // A reading that began before the write proves nothing.
    mirror.take(vec![node("a", "manageable")], before);
    assert!(mirror.node("a").is_none());
    // The node looks the same after it went through a transition: the host is told all the same.
    assert_eq!(
        keys(mirror.take(vec![node("a", "manageable")], Instant::now())),
        ["a"]
    );
    assert!(mirror.node("a").is_some());
}

#[test]
fn what_was_read_by_itself_meanwhile_is_newer_than_the_listing() {
    let (mirror, _changes) = Mirror::new();
    let began = Instant::now();
    mirror.take(vec![node("a", "manageable")], began);
    mirror.seen(&node("a", "inspecting"), Instant::now());
    mirror.seen(&node("new", "enroll"), Instant::now());
    let changed = mirror.take(vec![node("a", "manageable")], began);
    assert!(changed.is_empty(), "{changed:?}");
    assert_eq!(mirror.node("a").unwrap().provision_state, "inspecting");
    assert!(
        mirror.node("new").is_some(),
        "it was made after its page was read"
    );
    assert_eq!(mirror.load([]).busy, 1);
    // The next listing shows that it is gone, and what became of the other.
    let changed = mirror.take(vec![node("a", "manageable")], Instant::now());
    assert_eq!(keys(changed), ["a", "new"]);
    assert_eq!((mirror.load([]).busy, mirror.len()), (0, 1));
}

#[test]
fn pages_that_overlap_are_no_news() {
    let (mirror, _changes) = Mirror::new();
    let twice = || vec![node("a", "active"), node("a", "active")];
    mirror.take(twice(), Instant::now());
    assert!(mirror.take(twice(), Instant::now()).is_empty());
    assert_eq!(mirror.len(), 1);
}

#[test]
fn a_wiped_database_is_told_to_all_hosts() {
    let (mirror, _changes) = Mirror::new();
    mirror.take(vec![node("a", "active"), node("b", "deploying")], Instant::now());
    assert_eq!(mirror.load([]).busy, 1);
    let mut gone = keys(mirror.take(Vec::new(), Instant::now()));
    gone.sort();
    assert_eq!(gone, ["a", "b"]);
    assert_eq!((mirror.load([]).busy, mirror.len()), (0, 0));
}

#[test]
fn a_plain_name_is_ruled_out_by_a_listing_only() {
    let (mirror, _changes) = Mirror::new();
    assert!(mirror.may_have_plain("a"), "nothing was listed yet");
    let plain = Node {
        name: Some("a".into()),
        ..node("u", "manageable")
    };
    mirror.take(vec![plain, node("b", "manageable")], Instant::now());
    assert!(mirror.may_have_plain("a"));
    assert!(!mirror.may_have_plain("b"), "that one is named after a host");
    mirror.take(vec![node("b", "manageable")], Instant::now());
    assert!(!mirror.may_have_plain("a"));
}
