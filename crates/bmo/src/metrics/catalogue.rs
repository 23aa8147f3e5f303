//! Every metric of bmo: what is registered, and what `docs/metrics.md` lists.

use prometheus_client::registry::{Metric as Registered, Registry};

/// A metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Metric {
    /// As it is registered: the encoder adds `_total` to counters.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) labels: &'static [&'static str],
    pub(crate) help: &'static str,
    pub(crate) origin: Origin,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Whose name it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Upstream's, so that its dashboards and alerts work.
    Upstream,
    /// Ours.
    Own,
}

impl Metric {
    /// Registers what collects it.
    pub(super) fn register(&self, registry: &mut Registry, metric: impl Registered) {
        registry.register(self.name, self.help, metric);
    }

    /// The name as Prometheus shows it.
    pub(crate) fn shown(&self) -> String {
        match self.kind {
            Kind::Counter => format!("{}_total", self.name),
            Kind::Gauge | Kind::Histogram => self.name.to_owned(),
        }
    }
}

const HOST: &[&str] = &["namespace", "host"];

macro_rules! metrics {
    ($($id:ident = $kind:ident $origin:ident $name:literal $labels:expr, $help:literal;)*) => {
        $(pub(crate) const $id: Metric = Metric {
            name: $name,
            kind: Kind::$kind,
            labels: $labels,
            help: $help,
            origin: Origin::$origin,
        };)*

        /// All of them, in the order of the page.
        pub(crate) const ALL: &[Metric] = &[$($id),*];
    };
}

metrics! {
    RECONCILES = Counter Upstream "metal3_reconcile" HOST, "Passes over hosts";
    RECONCILE_ERRORS = Counter Upstream "metal3_reconcile_error" &[], "Passes that failed";
    HOST_ERRORS = Counter Upstream "metal3_host_error" &["error_type"], "Failures recorded on hosts";
    STATE_CHANGES = Counter Upstream "metal3_provisioning_state_change" &["prev_state", "new_state"],
        "Changes of the provisioning state";
    POWER_CHANGES = Counter Upstream "metal3_operation_power_change" &["namespace", "host", "on_off"],
        "Changes of power that were asked for";
    DELAYED_PROVISIONING_ODD = Counter Upstream "metal3_delayed__provisioning" HOST,
        "Passes that ended without room in Ironic for another busy host";
    DELAYED_PROVISIONING = Counter Own "metal3_delayed_provisioning" HOST,
        "As metal3_delayed__provisioning_total, under a name that is right";
    DELAYED_DEPROVISIONING_ODD = Counter Upstream "metal3_delayed__deprovisioning" HOST,
        "Passes that ended without room in Ironic to deprovision a host";
    DELAYED_DEPROVISIONING = Counter Own "metal3_delayed_deprovisioning" HOST,
        "As metal3_delayed__deprovisioning_total, under a name that is right";
    REGISTER_SECONDS = Histogram Upstream "metal3_operation_register_duration_seconds" HOST,
        "Length of registrations";
    INSPECT_SECONDS = Histogram Upstream "metal3_operation_inspect_duration_seconds" HOST, "Length of inspections";
    PROVISION_SECONDS = Histogram Upstream "metal3_operation_provision_duration_seconds" HOST,
        "Length of deployments";
    DEPROVISION_SECONDS = Histogram Upstream "metal3_operation_deprovision_duration_seconds" HOST,
        "Length of deprovisionings";
    CREDENTIALS_MISSING = Counter Upstream "metal3_credentials_missing" &[],
        "Passes without the Secret of the BMC credentials";
    CREDENTIALS_INVALID = Counter Upstream "metal3_credentials_invalid" &[],
        "Passes with an incomplete BMC address or Secret";
    CREDENTIALS_UNHANDLED = Counter Upstream "metal3_credentials_unhandled_error" &[],
        "Passes in which the Secret of the BMC credentials could not be read";
    CREDENTIALS_UPDATED = Counter Upstream "metal3_credentials_updated" &[],
        "BMC credentials that were verified anew";
    NO_MANAGEMENT_ACCESS = Counter Upstream "metal3_credentials_no_management_access" &[],
        "Failures to get access to a BMC";
    CONFIG_DATA_ERRORS = Counter Upstream "metal3_host_config_data_error" &["host_data_type"],
        "Passes in which a Secret for the config drive could not be used";
    REGISTRATION_REQUIRED = Counter Upstream "metal3_host_registration_required" &[],
        "Hosts that were registered because Ironic did not know them";
    UNMANAGED = Counter Upstream "metal3_host_unmanaged" &[], "Passes over hosts without a BMC";
    DELETED_UNCLEAN = Counter Upstream "metal3_delete_without_deprovisioning" &[],
        "Deletions that gave up deprovisioning";
    DELETED_POWERED = Counter Upstream "metal3_delete_without_powering_off" &[],
        "Deletions that gave up powering off";
    DELETION_DELAYED = Counter Upstream "metal3_delete_delayed_for_detached" &[],
        "Passes over hosts whose deletion waits until they are attached again";
    NOT_READY = Counter Upstream "metal3_provisioner_not_ready" &[], "Passes without a backend";
    WAITING_FOR_IMAGE = Counter Upstream "metal3_waiting_for_preprov_image" &[],
        "Passes that ended without the PreprovisioningImage of the host";
    RUNTIME_RECONCILES = Counter Upstream "controller_runtime_reconcile" &["controller", "result"],
        "Passes by result";
    RUNTIME_ERRORS = Counter Upstream "controller_runtime_reconcile_errors" &["controller"], "Passes that failed";
    RUNTIME_SECONDS = Histogram Upstream "controller_runtime_reconcile_time_seconds" &["controller"],
        "Length of passes";
    RUNTIME_ACTIVE = Gauge Upstream "controller_runtime_active_workers" &["controller"], "Hosts worked on now";
    RUNTIME_WORKERS = Gauge Upstream "controller_runtime_max_concurrent_reconciles" &["controller"],
        "Hosts worked on at once, at most";
    LEADING = Gauge Upstream "leader_election_master_status" &["name"], "1 when this replica leads";
    HOSTS = Gauge Own "metal3_hosts" &["state"], "Hosts by provisioning state; told by the replica that leads";
    HOSTS_WAITING = Gauge Own "metal3_hosts_waiting" &["reason"],
        "Hosts that wait, by reason; told by the replica that leads";
    HOSTS_LATE = Gauge Own "metal3_hosts_over_deadline" &["reason"],
        "Hosts that wait for longer than the reason should take; told by the replica that leads";
    HOSTS_FAILED = Gauge Own "metal3_hosts_failed" &["error_type", "cause"],
        "Hosts with a failure recorded, by what failed and why; told by the replica that leads";
    STATE_SECONDS = Histogram Own "metal3_host_state_duration_seconds" &["state"],
        "How long hosts were in a state in which something is done, told when they leave it";
    FAILURES = Counter Own "metal3_host_failures" &["error_type", "cause"],
        "Failures recorded on hosts, by what failed and why";
    WRITES = Counter Own "metal3_kubernetes_writes" &["kind"], "Writes to Kubernetes";
    EVENTS_JOINED = Counter Own "metal3_events_joined" &[],
        "Events that were told by raising the count of an earlier one";
}

/// Told by collectors of their own, from what others count.
pub(crate) mod ironic {
    use super::{Kind, Metric, Origin};

    metrics! {
        REQUESTS = Counter Own "metal3_ironic_requests" &["method", "route", "code"],
            "Requests to Ironic by their answer; code 0: there was none";
        SECONDS = Histogram Own "metal3_ironic_request_duration_seconds" &["route"], "Length of requests to Ironic";
        RETRIES = Counter Own "metal3_ironic_request_retries" &[], "Requests to Ironic that were sent once more";
        IN_FLIGHT = Gauge Own "metal3_ironic_requests_in_flight" &[], "Requests to Ironic under way";
        CIRCUIT_OPEN = Gauge Own "metal3_ironic_circuit_open" &[],
            "1 while Ironic is asked only now and then because it did not answer";
        NODES = Gauge Own "metal3_ironic_nodes" &[], "Nodes of Ironic as last read";
        ORPHANS = Gauge Own "metal3_ironic_orphan_nodes" &[], "Nodes named after hosts that do not exist";
        QUEUE_WAITING = Gauge Own "metal3_ironic_queue_waiting" &[], "Hosts that wait for room in Ironic";
        QUEUE_USED = Gauge Own "metal3_ironic_queue_used" &[], "Places for busy hosts that are taken";
        QUEUE_LIMIT = Gauge Own "metal3_ironic_queue_limit" &[], "Places for busy hosts that there are";
    }
}

/// Told of the HostService by `calls.rs`.
pub(crate) mod host_service {
    use super::{Kind, Metric, Origin};

    metrics! {
        CALLS = Counter Own "metal3_host_service_calls" &["call", "code", "reason"],
            "Calls of the HostService by their answer; a stream is answered once it is open";
        CALL_SECONDS = Histogram Own "metal3_host_service_call_duration_seconds" &["call"],
            "Length of calls of the HostService";
        WATCHES = Gauge Own "metal3_host_service_watches" &[], "WatchHosts streams that are open";
        REVIEWS = Counter Own "metal3_host_service_reviews" &["review", "result"],
            "Questions about callers: review token or access, result cached, allowed, denied or failed";
    }
}
