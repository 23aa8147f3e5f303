//! What a claim may take: pure rules, the order of those that fit, and the table of why nothing does.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::sync::Arc;

use jiff::Timestamp;
use metal3_rpc::claimable::NOT_AVAILABLE;
use metal3_rpc::v1::claim_host_response::Reason;
use metal3_rpc::v1::{Consumer, Host, Rejections, rejections};

use super::intent::is_over;
use super::selector::Matcher;

/// What a consumer asks for.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) consumer: Consumer,
    pub(super) selector: Matcher,
    /// Empty: no preference.
    pub(super) failure_domain: String,
    pub(super) failure_domain_required: bool,
    /// Empty: no reuse.
    pub(super) reuse_key: String,
}

/// The result of a choice.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Choice {
    /// The best of those that fit.
    Take(Arc<Host>, Reason),
    /// Those that fit are all being taken by others at this moment; this is the best of them.
    Busy(Arc<Host>),
    /// Hosts are reserved for this consumer, and will be available.
    Wait(Vec<Arc<Host>>),
    /// Nothing fits.
    None,
}

/// The first rule that speaks against the host for this consumer.
pub(super) fn reject(wish: &Wish, host: &Host, now: Timestamp) -> Option<&'static str> {
    let reserved = host.is_reserved();
    if !wish.selector.matches(host) {
        Some("label-mismatch")
    } else if reserved && !is_kept_for(wish, host) && !is_over(host, now) {
        Some("reserved")
    } else if host.consumer.is_some() && !reserved {
        Some("claimed")
    } else {
        host.obstacle()
    }
}

/// Whether the host is reserved for this consumer.
pub(super) fn is_kept_for(wish: &Wish, host: &Host) -> bool {
    host.is_reserved() && host.reuse_key == wish.reuse_key
}

/// Whether the host is reserved for this consumer and only has to become available: no other is taken meanwhile, or what
/// its disks keep would be lost. One that is broken, paused or leaves holds nobody up, and neither does one whose time is
/// over.
pub(super) fn is_awaited(wish: &Wish, host: &Host, now: Timestamp) -> bool {
    is_kept_for(wish, host)
        && !is_over(host, now)
        && wish.selector.matches(host)
        && host.obstacle() == Some(NOT_AVAILABLE)
}

/// A number for the consumer, the same for every version of its API and every UID.
pub(super) fn fingerprint(consumer: &Consumer) -> u64 {
    hash(&(
        consumer.group(),
        &consumer.kind,
        &consumer.namespace,
        &consumer.name,
    ))
}

/// The best of some hosts.
///
/// The order is a hash of consumer and host: the same consumer always tries the same hosts in the same order, and different
/// consumers begin with different hosts, so that many claims at once rarely collide.
pub(super) fn best<'a>(
    consumer: &Consumer,
    hosts: impl Iterator<Item = &'a Arc<Host>>,
    busy: impl Fn(&Host) -> bool,
) -> Option<Pick> {
    let consumer = fingerprint(consumer);
    let rank = |host: &'a Arc<Host>| {
        let name = name(host);
        (busy(host), mix(consumer ^ hash(&name)), name)
    };
    let (host, (busy, ..)) = hosts
        .map(|host| (host, rank(host)))
        .min_by_key(|(_, rank)| *rank)?;
    let host = Arc::clone(host);
    Some(if busy { Pick::Busy(host) } else { Pick::Free(host) })
}

/// The best host, and whether somebody is taking it.
pub(super) enum Pick {
    Free(Arc<Host>),
    Busy(Arc<Host>),
}

impl Pick {
    pub(super) fn choice(self, reason: Reason) -> Choice {
        match self {
            Self::Free(host) => Choice::Take(host, reason),
            Self::Busy(host) => Choice::Busy(host),
        }
    }
}

/// The name of a host within its namespace.
pub(super) fn name(host: &Host) -> &str {
    host.r#ref.as_ref().map_or("", |host| host.name.as_str())
}

/// `DefaultHasher::new` is unkeyed, hence the same in every replica of one release.
pub(super) fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// The finalizer of SplitMix64: every bit of the input moves every bit of the output.
const fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// How many hosts each rule turned away, when nothing fits.
pub(super) fn rejections<'a>(
    wish: &Wish,
    hosts: impl Iterator<Item = &'a Arc<Host>>,
    now: Timestamp,
) -> Rejections {
    let mut table = Table::default();
    for host in hosts {
        table.candidates += 1;
        // What fits otherwise is in the wrong place.
        table.add(reject(wish, host, now).unwrap_or("failure-domain"), host);
    }
    table.finish()
}

#[derive(Default)]
struct Table {
    candidates: u32,
    rules: BTreeMap<&'static str, (u32, Vec<String>)>,
}

impl Table {
    fn add(&mut self, rule: &'static str, host: &Host) {
        let (count, examples) = self.rules.entry(rule).or_default();
        *count += 1;
        if examples.len() < 3 {
            examples.push(
                host.r#ref
                    .as_ref()
                    .map(|host| host.name.clone())
                    .unwrap_or_default(),
            );
        }
    }

    fn finish(self) -> Rejections {
        let rules = self
            .rules
            .into_iter()
            .map(|(rule, (hosts, examples))| rejections::Rule {
                rule: rule.into(),
                hosts,
                examples,
            })
            .collect();
        Rejections {
            rules,
            candidates: self.candidates,
        }
    }
}

/// One sentence for people: how many hosts each rule turned away.
pub(super) fn explain(namespace: &str, rejections: &Rejections) -> String {
    if rejections.candidates == 0 {
        return format!("no BareMetalHost exists in namespace {namespace}");
    }
    let parts: Vec<String> = rejections
        .rules
        .iter()
        .map(|rule| {
            format!(
                "{} {} (for example {})",
                rule.hosts,
                rule.rule,
                rule.examples.join(", ")
            )
        })
        .collect();
    format!(
        "none of {} hosts in namespace {namespace} can be claimed: {}",
        rejections.candidates,
        parts.join("; ")
    )
}
