use metal3_provisioner::HostKey;
use prometheus_client::encoding::EncodeLabelSet;

/// A change of the provisioning state.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Transition {
    pub(super) prev_state: String,
    pub(super) new_state: String,
}

/// A provisioning state.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct State {
    pub(super) state: String,
}

/// A failure recorded on a host, in upstream's words.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct HostError {
    pub(super) error_type: &'static str,
}

/// A failure recorded on a host, and what it means.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Cause {
    pub(super) error_type: &'static str,
    pub(super) cause: &'static str,
}

/// A host.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Host {
    namespace: String,
    host: String,
}

impl Host {
    pub(super) fn of(key: &HostKey) -> Self {
        Self {
            namespace: key.namespace.clone(),
            host: key.name.clone(),
        }
    }
}

/// A change of the power of a host.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct PowerChange {
    namespace: String,
    host: String,
    on_off: &'static str,
}

impl PowerChange {
    pub(super) fn of(key: &HostKey, on: bool) -> Self {
        Self {
            namespace: key.namespace.clone(),
            host: key.name.clone(),
            on_off: if on { "on" } else { "off" },
        }
    }
}

/// A part of the config drive.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct DataType {
    pub(super) host_data_type: &'static str,
}

/// A controller.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Controller {
    pub(super) controller: &'static str,
}

/// The end of a pass.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Result {
    pub(super) controller: &'static str,
    pub(super) result: &'static str,
}

/// A write to Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Write {
    pub(super) kind: &'static str,
}
