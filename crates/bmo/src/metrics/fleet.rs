//! What hosts are like, looked at when somebody asks: a count that is kept could drift.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use metal3_api::metal3::host::{BareMetalHost, ProvisioningState};
use metal3_host_core::waits;
use metal3_provisioner::FailureCause;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use super::LEASE;
use super::catalogue::{HOSTS, HOSTS_FAILED, HOSTS_LATE, HOSTS_WAITING, LEADING, Metric};

/// Every state of this release is told, also when no host is in it: alerts need a number.
const STATES: [ProvisioningState; 14] = [
    ProvisioningState::None,
    ProvisioningState::Unmanaged,
    ProvisioningState::Registering,
    ProvisioningState::MatchProfile,
    ProvisioningState::Inspecting,
    ProvisioningState::Preparing,
    ProvisioningState::Ready,
    ProvisioningState::Available,
    ProvisioningState::Provisioning,
    ProvisioningState::Provisioned,
    ProvisioningState::ExternallyProvisioned,
    ProvisioningState::Deprovisioning,
    ProvisioningState::PoweringOffBeforeDelete,
    ProvisioningState::Deleting,
];

/// Calls its argument for each host. `false`: this replica does not lead, and tells nothing, so that nothing is counted
/// twice.
pub(crate) type Each = Arc<dyn Fn(&mut dyn FnMut(&BareMetalHost)) -> bool + Send + Sync>;

/// Gauges of hosts by state, wait and failure, and who leads.
pub(crate) struct Fleet(pub(crate) Each);

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fleet")
    }
}

/// Numbers of hosts.
#[derive(Debug, Default, PartialEq, Eq)]
struct Census {
    states: BTreeMap<&'static str, i64>,
    unknown: i64,
    waiting: BTreeMap<&'static str, i64>,
    late: BTreeMap<&'static str, i64>,
    failed: BTreeMap<(&'static str, &'static str), i64>,
}

impl Census {
    fn count(&mut self, host: &BareMetalHost, now: Timestamp) {
        let status = host.status.as_ref();
        let state = status.map_or(&ProvisioningState::None, |status| &status.provisioning.state);
        match STATES.iter().find(|known| *known == state) {
            Some(known) => *self.states.entry(named(known)).or_default() += 1,
            None => self.unknown += 1,
        }
        if let Some(wait) = waits(host, now) {
            *self.waiting.entry(wait.reason.code()).or_default() += 1;
            if wait.overdue {
                *self.late.entry(wait.reason.code()).or_default() += 1;
            }
        }
        if let Some((type_, status)) = status.and_then(|status| Some((status.error_type?, status))) {
            let cause = FailureCause::of(type_, &status.error_message);
            *self
                .failed
                .entry((type_.event_reason(), cause.code()))
                .or_default() += 1;
        }
    }
}

/// A new host has no word for its state.
fn named(state: &'static ProvisioningState) -> &'static str {
    match state.as_str() {
        "" => "none",
        word => word,
    }
}

impl Collector for Fleet {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let now = Timestamp::now();
        let mut census = Census::default();
        let leads = self.0(&mut |host| census.count(host, now));
        let leading = BTreeMap::from([((), i64::from(leads))]);
        gauge(&mut encoder, LEADING, &leading, |()| [("name", LEASE)])?;
        if !leads {
            return Ok(());
        }
        for state in &STATES {
            census.states.entry(named(state)).or_default();
        }
        if census.unknown > 0 {
            census.states.insert("unknown", census.unknown);
        }
        gauge(&mut encoder, HOSTS, &census.states, |state| [("state", *state)])?;
        gauge(&mut encoder, HOSTS_WAITING, &census.waiting, |reason| {
            [("reason", *reason)]
        })?;
        gauge(&mut encoder, HOSTS_LATE, &census.late, |reason| {
            [("reason", *reason)]
        })?;
        gauge(&mut encoder, HOSTS_FAILED, &census.failed, |(type_, cause)| {
            [("error_type", *type_), ("cause", *cause)]
        })
    }
}

fn gauge<K, const N: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    metric: Metric,
    values: &BTreeMap<K, i64>,
    labels: impl Fn(&K) -> [(&'static str, &'static str); N],
) -> Result<(), fmt::Error> {
    if values.is_empty() {
        return Ok(());
    }
    let mut family = encoder.encode_descriptor(metric.name, metric.help, None, MetricType::Gauge)?;
    for (key, value) in values {
        ConstGauge::new(*value).encode(family.encode_family(&labels(key))?)?;
    }
    Ok(())
}
