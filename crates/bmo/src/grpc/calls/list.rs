//! ListHosts: pages of what the index knows.
//!
//! The token of a page is the host that the page before ended with. Hosts that come and go do not move the others, and any
//! replica can go on.

use std::sync::Arc;

use jiff::Timestamp;
use metal3_api::metal3::host::ProvisioningState;
use metal3_provisioner::HostKey;
use metal3_rpc::v1;
use metal3_rpc::v1::{Consumer, Host};
use prost::Message as _;
use tonic::Status;

use super::super::index::HostIndex;
use super::super::intent::title;
use super::super::request::{invalid, stuck};
use super::super::selector::Matcher;
use super::super::service::Service;

const DEFAULT_PAGE: usize = 500;
const MAX_PAGE: usize = 1000;
/// Bytes of the hosts of a page: a client takes messages of 4 MiB unless told otherwise.
const PAGE_BYTES: usize = 3 << 20;

/// Which hosts are told.
struct Filter<'a> {
    selector: Matcher,
    request: &'a v1::ListHostsRequest,
    now: Timestamp,
}

impl Filter<'_> {
    fn admits(&self, host: &Host) -> bool {
        let request = self.request;
        self.selector.matches(host)
            && (request.states.is_empty() || request.states.contains(&host.provisioning_state))
            && request
                .consumer
                .as_ref()
                .is_none_or(|wanted| host.consumer.as_ref().is_some_and(|found| is_like(found, wanted)))
            && (!request.stuck || stuck(host, self.now))
    }
}

impl Service {
    pub(in super::super) fn list(
        &self,
        request: &v1::ListHostsRequest,
    ) -> Result<v1::ListHostsResponse, Status> {
        list(&self.index, request, Timestamp::now())
    }
}

/// The page of the hosts of an index that is asked for.
///
/// # Errors
/// `INVALID_ARGUMENT` for words and tokens that mean nothing.
pub(in super::super) fn list(
    index: &HostIndex,
    request: &v1::ListHostsRequest,
    now: Timestamp,
) -> Result<v1::ListHostsResponse, Status> {
    let (hosts, revision) = index.list(&request.namespace);
    let (hosts, next_page_token) = page(&hosts, request, now)?;
    Ok(v1::ListHostsResponse {
        hosts,
        next_page_token,
        revision: revision.to_string(),
    })
}

/// A page of hosts that are in order, and the token of the next one.
fn page(
    hosts: &[Arc<Host>],
    request: &v1::ListHostsRequest,
    now: Timestamp,
) -> Result<(Vec<Host>, String), Status> {
    check_states(&request.states)?;
    let selector = Matcher::parse(request.selector.as_ref()).map_err(|error| invalid("selector", &error))?;
    let filter = Filter {
        selector,
        request,
        now,
    };
    let size = page_size(request.page_size)?;
    let after = after(&request.page_token, &request.namespace)?;
    let mut selected = hosts
        .iter()
        .filter(|host| after.as_ref().is_none_or(|after| key(host) > *after))
        .filter(|host| filter.admits(host))
        .peekable();
    let (mut page, mut bytes) = (Vec::<Host>::new(), 0);
    while page.len() < size
        && let Some(host) = selected.peek()
    {
        bytes += host.encoded_len();
        // One alone always fits: Kubernetes stores nothing bigger.
        if bytes > PAGE_BYTES && !page.is_empty() {
            break;
        }
        page.extend(selected.next().map(|host| Host::clone(host)));
    }
    let more = selected.peek().is_some();
    let token = page.last().filter(|_| more).map(title).unwrap_or_default();
    Ok((page, token))
}

fn key(host: &Host) -> HostKey {
    let reference = host.r#ref.clone().unwrap_or_default();
    HostKey::new(reference.namespace, reference.name)
}

fn page_size(wanted: i32) -> Result<usize, Status> {
    match usize::try_from(wanted) {
        Err(_) => Err(invalid("page_size", "page_size must not be negative")),
        Ok(0) => Ok(DEFAULT_PAGE),
        Ok(size) => Ok(size.min(MAX_PAGE)),
    }
}

/// The host after which the page begins. In the order of the index, which is not that of the tokens: `a-b/x` comes after
/// `a/x`, although a dash comes before a slash.
fn after(token: &str, namespace: &str) -> Result<Option<HostKey>, Status> {
    if token.is_empty() {
        return Ok(None);
    }
    match token.split_once('/') {
        Some((of, name)) if !of.is_empty() && !name.is_empty() && !name.contains('/') => {
            if !namespace.is_empty() && of != namespace {
                let message = format!("page_token was given for another namespace than {namespace}");
                return Err(invalid("page_token", &message));
            }
            Ok(Some(HostKey::new(of, name)))
        }
        _ => Err(invalid(
            "page_token",
            "page_token is not one that ListHosts gave; begin without it",
        )),
    }
}

fn check_states(states: &[String]) -> Result<(), Status> {
    let unknown = |state: &&String| {
        let state = ProvisioningState::from(state.as_str());
        matches!(state, ProvisioningState::Unknown(_))
    };
    match states.iter().find(unknown) {
        Some(state) => Err(invalid("states", &format!("no host is ever in state {state:?}"))),
        None => Ok(()),
    }
}

/// Whether all that is given of a consumer is so.
fn is_like(consumer: &Consumer, wanted: &Consumer) -> bool {
    let like = |wanted: &str, found: &str| wanted.is_empty() || wanted == found;
    (wanted.api_version.is_empty() || wanted.group() == consumer.group())
        && like(&wanted.kind, &consumer.kind)
        && like(&wanted.namespace, &consumer.namespace)
        && like(&wanted.name, &consumer.name)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use metal3_rpc::reason::Reason;
    use metal3_rpc::v1::{HostRef, ListHostsRequest, Wait};
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn host(namespace: &str, name: &str) -> Host {
        Host {
            r#ref: Some(HostRef::named(namespace, name)),
            provisioning_state: "available".into(),
            ..Default::default()
        }
    }

    fn names(hosts: &[Host]) -> Vec<String> {
        hosts.iter().map(title).collect()
    }

    /// What a filter leaves of these hosts.
    fn left(hosts: &[Host], request: &ListHostsRequest) -> Vec<String> {
        let hosts: Vec<_> = hosts.iter().cloned().map(Arc::new).collect();
        names(&page(&hosts, request, NOW).unwrap().0)
    }

    #[test]
    fn states_and_consumers_choose() {
        let machine = Consumer {
            api_version: "infrastructure.cluster.x-k8s.io/v1beta2".into(),
            kind: "Metal3Machine".into(),
            namespace: "ns".into(),
            name: "m".into(),
            uid: "u".into(),
        };
        let hosts = [
            host("ns", "free"),
            Host {
                provisioning_state: "provisioned".into(),
                consumer: Some(machine.clone()),
                ..host("ns", "used")
            },
        ];
        let by = |consumer| ListHostsRequest {
            consumer: Some(consumer),
            ..Default::default()
        };
        let kind = Consumer {
            kind: "Metal3Machine".into(),
            ..Default::default()
        };
        let old = Consumer {
            api_version: "infrastructure.cluster.x-k8s.io/v1beta1".into(),
            uid: "before the move".into(),
            ..machine.clone()
        };
        let other = Consumer {
            name: "n".into(),
            ..machine.clone()
        };
        let core = Consumer {
            api_version: "v1".into(),
            ..machine
        };
        assert_eq!(left(&hosts, &by(kind)), ["ns/used"]);
        assert_eq!(left(&hosts, &by(old)), ["ns/used"]);
        assert!(left(&hosts, &by(other)).is_empty() && left(&hosts, &by(core)).is_empty());
        let states = ListHostsRequest {
            states: vec!["available".into(), "ready".into()],
            ..Default::default()
        };
        assert_eq!(left(&hosts, &states), ["ns/free"]);
    }

    #[test]
    fn stuck_are_those_in_error_and_those_past_their_deadline() {
        let wait = |seconds| {
            Some(Wait {
                deadline: Some(prost_types::Timestamp { seconds, nanos: 0 }),
                ..Default::default()
            })
        };
        let hosts = [
            host("ns", "calm"),
            Host {
                wait: wait(1),
                ..host("ns", "in-time")
            },
            Host {
                wait: wait(-1),
                ..host("ns", "late")
            },
            Host {
                wait: Some(Wait::default()),
                ..host("ns", "patient")
            },
            Host {
                error_message: "boom".into(),
                ..host("ns", "sick")
            },
        ];
        let request = ListHostsRequest {
            stuck: true,
            ..Default::default()
        };
        assert_eq!(left(&hosts, &request), ["ns/late", "ns/sick"]);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        type Spoil = fn(&mut ListHostsRequest);
        let cases: [(&str, Spoil); 6] = [
            ("page_size", |request| request.page_size = -1),
            ("states", |request| request.states = vec!["availabel".into()]),
            ("page_token", |request| request.page_token = "a".into()),
            ("page_token", |request| request.page_token = "a/b/c".into()),
            ("page_token", |request| request.page_token = "/".into()),
            ("page_token", |request| {
                request.namespace = "ns".into();
                request.page_token = "other/a".into();
            }),
        ];
        for (field, spoil) in cases {
            let mut request = ListHostsRequest::default();
            spoil(&mut request);
            let status = page(&[], &request, NOW).unwrap_err();
            assert_eq!(Reason::of(&status), Some(Reason::InvalidField), "{field}");
            assert!(status.message().contains(field) || field == "states", "{status}");
        }
    }

    #[test]
    fn pages_are_as_long_as_asked_within_a_bound() {
        for (wanted, size) in [(0, 500), (1, 1), (1000, 1000), (i32::MAX, 1000)] {
            assert_eq!(page_size(wanted).unwrap(), size);
        }
    }

    #[test]
    fn a_page_of_big_hosts_fits_into_a_message_and_leaves_none_out() {
        let big = |number: usize, bytes: usize| Host {
            error_message: "x".repeat(bytes),
            ..host("ns", &format!("h{number:03}"))
        };
        let mut hosts: Vec<_> = (0..100).map(|number| Arc::new(big(number, 100 << 10))).collect();
        hosts.push(Arc::new(big(100, 2 * PAGE_BYTES)));
        hosts.push(Arc::new(host("ns", "h101")));
        let mut request = ListHostsRequest::default();
        let (mut told, mut lengths) = (Vec::new(), Vec::new());
        loop {
            let (page, next) = page(&hosts, &request, NOW).unwrap();
            let bytes: usize = page.iter().map(Host::encoded_len).sum();
            assert!(
                bytes <= PAGE_BYTES || page.len() == 1,
                "{} hosts of {bytes} bytes",
                page.len()
            );
            lengths.push(page.len());
            told.extend(names(&page));
            if next.is_empty() {
                break;
            }
            request.page_token = next;
        }
        assert_eq!(
            told,
            names(&hosts.iter().map(|host| Host::clone(host)).collect::<Vec<_>>())
        );
        assert_eq!(lengths, [30, 30, 30, 10, 1, 1]);
    }

    proptest! {
        /// Namespaces and names that sort differently as text than as pairs.
        #[test]
        fn a_host_that_stays_is_told_once_whatever_comes_and_goes(
            all in prop::collection::btree_set(("(a|a-b|a0|b)", "[a-c0-]{1,3}"), 1..40),
            fates in prop::collection::vec(0..6_usize, 40),
            size in 1..7_i32,
        ) {
            // Fate 0 to 3: comes or goes before that page; otherwise there all the time.
            let fates: BTreeMap<_, _> = all.iter().cloned().zip(fates).collect();
            let there = |at: usize| -> Vec<Arc<Host>> {
                fates
                    .iter()
                    .filter(|(_, fate)| match **fate {
                        change @ (0 | 2) => at >= change,
                        change @ (1 | 3) => at < change,
                        _ => true,
                    })
                    .map(|((namespace, name), _)| Arc::new(host(namespace, name)))
                    .collect()
            };
            let mut request = ListHostsRequest { page_size: size, ..Default::default() };
            let mut told = Vec::new();
            for at in 0.. {
                let (hosts, next) = page(&there(at), &request, NOW).unwrap();
                told.extend(hosts.iter().map(key));
                if next.is_empty() {
                    break;
                }
                request.page_token = next;
            }
            prop_assert!(told.is_sorted_by(|one, other| one < other), "{told:?}");
            let told: BTreeSet<_> = told.iter().collect();
            for ((namespace, name), fate) in &fates {
                let key = HostKey::new(namespace, name);
                prop_assert!(*fate < 4 || told.contains(&key), "{key} is missing");
            }
        }
    }
}
