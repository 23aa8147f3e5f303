//! ListHosts: pages of what the index knows.
//!
//! The token of a page is the host that the page before ended with. Hosts that come and go do not move the others, and any
//! replica can go on.

use jiff::Timestamp;
use metal3_api::metal3::host::ProvisioningState;
use metal3_provisioner::HostKey;
use metal3_rpc::v1;
use metal3_rpc::v1::{Consumer, Host};
use tonic::Status;

use super::super::intent::title;
use super::super::request::{invalid, stuck};
use super::super::selector::Matcher;
use super::super::service::Service;

const DEFAULT_PAGE: usize = 500;
const MAX_PAGE: usize = 1000;

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
        let filter = Filter {
            selector: Matcher::parse(request.selector.as_ref())
                .map_err(|error| invalid("selector", &error))?,
            request,
            now: Timestamp::now(),
        };
        check_states(&request.states)?;
        let size = page_size(request.page_size)?;
        let after = after(&request.page_token, &request.namespace)?;
        let (hosts, revision) = self.index.list(&request.namespace);
        let mut selected = hosts
            .iter()
            .filter(|host| after.as_ref().is_none_or(|after| key(host) > *after))
            .filter(|host| filter.admits(host));
        let page: Vec<Host> = selected
            .by_ref()
            .take(size)
            .map(|host| Host::clone(host))
            .collect();
        let more = selected.next().is_some();
        Ok(v1::ListHostsResponse {
            next_page_token: page.last().filter(|_| more).map(title).unwrap_or_default(),
            hosts: page,
            revision: revision.to_string(),
        })
    }
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
