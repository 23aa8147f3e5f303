//! A node in as few bytes as possible: there are thousands, and most of their words are the same.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::Value;

use crate::client::Node;

/// Words that many nodes share.
#[derive(Debug, Default)]
pub(super) struct Words(HashSet<Arc<str>>);

/// What a node was read as, apart from its identifier.
#[derive(Debug, PartialEq)]
pub(super) struct Row {
    pub(super) name: Option<Box<str>>,
    pub(super) provision_state: Arc<str>,
    target_provision_state: Option<Arc<str>>,
    power_state: Option<Arc<str>>,
    target_power_state: Option<Arc<str>>,
    last_error: Option<Box<str>>,
    fault: Option<Arc<str>>,
    reservation: Option<Arc<str>>,
    instance_uuid: Option<Box<str>>,
    boot_interface: Option<Arc<str>>,
    provision_updated_at: Option<Box<str>>,
    health: Option<Arc<str>>,
    maintenance: bool,
}

impl Words {
    fn share(&mut self, word: &str) -> Arc<str> {
        if let Some(word) = self.0.get(word) {
            return Arc::clone(word);
        }
        let word: Arc<str> = word.into();
        self.0.insert(Arc::clone(&word));
        word
    }

    /// Forgets words that nobody uses any more.
    pub(super) fn tidy(&mut self) {
        self.0.retain(|word| Arc::strong_count(word) > 1);
    }

    /// What is kept of a node. What a listing does not have is not kept either: comparing must not show a difference.
    pub(super) fn row(&mut self, node: &Node) -> Row {
        let mut shared = |word: &Option<String>| word.as_deref().map(|word| self.share(word));
        let owned = |word: &Option<String>| word.as_deref().map(Box::from);
        Row {
            name: owned(&node.name),
            target_provision_state: shared(&node.target_provision_state),
            power_state: shared(&node.power_state),
            target_power_state: shared(&node.target_power_state),
            last_error: owned(&node.last_error),
            fault: shared(&node.fault),
            reservation: shared(&node.reservation),
            instance_uuid: owned(&node.instance_uuid),
            boot_interface: shared(&node.boot_interface),
            provision_updated_at: owned(&node.provision_updated_at),
            health: shared(&node.health),
            provision_state: self.share(&node.provision_state),
            maintenance: node.maintenance,
        }
    }
}

impl Row {
    /// The node again, as a listing shows it.
    pub(super) fn node(&self, uuid: &str) -> Node {
        let shared = |word: &Option<Arc<str>>| word.as_deref().map(str::to_owned);
        let owned = |word: &Option<Box<str>>| word.as_deref().map(str::to_owned);
        Node {
            uuid: uuid.to_owned(),
            name: owned(&self.name),
            provision_state: self.provision_state.as_ref().to_owned(),
            target_provision_state: shared(&self.target_provision_state),
            power_state: shared(&self.power_state),
            target_power_state: shared(&self.target_power_state),
            last_error: owned(&self.last_error),
            maintenance: self.maintenance,
            fault: shared(&self.fault),
            reservation: shared(&self.reservation),
            instance_uuid: owned(&self.instance_uuid),
            boot_interface: shared(&self.boot_interface),
            provision_updated_at: owned(&self.provision_updated_at),
            health: shared(&self.health),
            driver_info: Value::Null,
            instance_info: Value::Null,
            properties: Value::Null,
            ..Node::default()
        }
    }

    /// Ironic works on it, so that it will change by itself.
    pub(super) fn in_transition(&self) -> bool {
        self.target_power_state.is_some() || Node::is_transition(&self.provision_state)
    }

    /// It is busy in a way that takes part of what network boot can do at once. Machines that boot an image by
    /// themselves do not.
    pub(super) fn is_busy_on_network(&self) -> bool {
        let boot = self.boot_interface.as_deref().unwrap_or_default();
        let by_itself = boot.contains("virtual-media") || boot.ends_with("https");
        !by_itself
            && matches!(
                self.provision_state.as_ref(),
                "cleaning"
                    | "clean wait"
                    | "inspecting"
                    | "inspect wait"
                    | "deploying"
                    | "wait call-back"
                    | "deleting"
            )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Node {
        let some = |word: &str| Some(word.to_owned());
        Node {
            uuid: "u".into(),
            name: some("ns~a"),
            provision_state: "active".into(),
            target_provision_state: some("deleted"),
            power_state: some("power on"),
            target_power_state: some("power off"),
            last_error: some("it broke"),
            maintenance: true,
            fault: some("power failure"),
            reservation: some("conductor"),
            instance_uuid: some("i"),
            boot_interface: some("ipxe"),
            provision_updated_at: some("2026-11-25T00:00:00+00:00"),
            health: some("OK"),
            ..Node::default()
        }
    }

    #[test]
    fn what_a_listing_shows_is_kept_and_the_rest_makes_no_difference() {
        let mut words = Words::default();
        let row = words.row(&full());
        assert_eq!(row.node("u"), full());
        let whole = Node {
            properties: serde_json::json!({"cpu_arch": "x86_64"}),
            deploy_interface: Some("direct".into()),
            automated_clean: Some(true),
            ..full()
        };
        assert_eq!(words.row(&whole), row);
    }

    #[test]
    fn a_node_is_small_and_words_are_there_once() {
        assert!(size_of::<Row>() <= 208, "{}", size_of::<Row>());
        let mut words = Words::default();
        let rows: Vec<_> = (0..100).map(|_| words.row(&full())).collect();
        assert_eq!(words.0.len(), 8);
        drop(rows);
        words.tidy();
        assert!(words.0.is_empty());
    }

    #[test]
    fn machines_that_boot_by_themselves_are_not_busy_on_the_network() {
        let mut words = Words::default();
        for (state, boot, busy) in [
            ("inspecting", "ipxe", true),
            ("wait call-back", "pxe", true),
            ("deleting", "", true),
            ("inspecting", "redfish-virtual-media", false),
            ("inspecting", "idrac-redfish-virtual-media", false),
            ("inspecting", "redfish-https", false),
            ("available", "ipxe", false),
            ("servicing", "ipxe", false),
        ] {
            let node = Node {
                provision_state: state.into(),
                boot_interface: Some(boot.into()),
                ..Node::default()
            };
            assert_eq!(words.row(&node).is_busy_on_network(), busy, "{state} {boot}");
        }
    }
}
