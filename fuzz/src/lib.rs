//! What the targets about the HostService share: hosts to call about, and what must hold of each answer.

mod contract;
mod host;
mod patch;

use jiff::Timestamp;
use metal3_bmo::trial::{Outcome, attempt};
use metal3_rpc::call::Call;
use metal3_rpc::reason::Reason;
use metal3_rpc::v1::watch_hosts_response::Type;
use metal3_rpc::v1::{Host, ListHostsResponse, WatchHostsRequest, WatchHostsResponse};
use prost::Message as _;
use serde_json::Value;
use tonic::Status;
use tonic_types::StatusExt as _;

pub use self::host::{NAME, NAMESPACE, host};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;
/// Bytes of any sentence that a caller is told: it has to fit into a header, with its details.
const SENTENCE: usize = 2048;

/// The call of a number.
pub fn call(number: u8) -> Call {
    Call::ALL[usize::from(number) % Call::ALL.len()]
}

/// Calls, and again as long as something is written.
pub fn judge(call: Call, message: &[u8], host: &Value) {
    let (mut object, mut written) = (host.clone(), 0);
    loop {
        let before = serde_json::from_value(object.clone()).expect("a host");
        match attempt(call, message, &before, NOW) {
            Err(status) => {
                refused(call, &status);
                assert_eq!(written, 0, "{} is refused what it began: {status}", call.name());
                return;
            }
            Ok(outcome) => {
                allowed(call, &outcome);
                let Some(change) = &outcome.patch else {
                    told(call, message, &outcome);
                    return;
                };
                assert!(call.changes(), "{} writes", call.name());
                acts_here(call, &outcome);
                patch::check(change);
                json_patch::merge(&mut object, change);
                written += 1;
                // A claim is recorded by a second write, and a release ends with one.
                let most = match call {
                    Call::ClaimHost | Call::ReleaseHost => 2,
                    _ => 1,
                };
                assert!(written <= most, "{} writes {change} once more", call.name());
            }
        }
    }
}

/// The host was changed, or told of: the caller needs the right for its namespace.
fn acts_here(call: Call, outcome: &Outcome) {
    let asked = &outcome.namespaces;
    let here = asked.iter().any(|asked| asked == NAMESPACE || asked.is_empty());
    assert!(
        here,
        "{} is about {NAMESPACE}, and asks for rights in {asked:?}",
        call.name()
    );
}

/// What a refusal tells: a reason of the contract, and which field of the request is wrong.
fn refused(call: Call, status: &Status) {
    let name = call.name();
    let reason = Reason::of(status).unwrap_or_else(|| panic!("{name} gives no reason: {status}"));
    assert_eq!(status.code(), reason.code(), "{name}: {status}");
    let sentence = status.message();
    assert!(
        !sentence.is_empty() && sentence.len() <= SENTENCE,
        "{name}: {status}"
    );
    assert!(!sentence.chars().any(char::is_control), "{name}: {status}");
    let info = status
        .get_details_error_info()
        .expect("what the reason is read from");
    if reason == Reason::InvalidField && !sentence.starts_with("the request cannot be read: ") {
        let field = info.metadata.get("field").map_or("", String::as_str);
        assert!(
            contract::has(call, field),
            "{name} has no field {field:?}: {status}"
        );
    }
    let others = [
        Reason::Backend,
        Reason::Forbidden,
        Reason::NotSynced,
        Reason::TokenInvalid,
    ];
    assert!(!others.contains(&reason), "nobody was asked: {status}");
}

/// What is asked of Kubernetes about the caller.
fn allowed(call: Call, outcome: &Outcome) {
    let name = call.name();
    assert!(!outcome.namespaces.is_empty(), "{name} asks for no right");
    for namespace in &outcome.namespaces {
        let reads = matches!(call, Call::ListHosts | Call::WatchHosts);
        let all = namespace.is_empty() && reads;
        assert!(all || patch::is_label(namespace), "{name} acts in {namespace:?}");
    }
}

/// What a call that changes nothing answers.
fn told(call: Call, message: &[u8], outcome: &Outcome) {
    assert_eq!(
        outcome.answer.is_some(),
        !call.changes(),
        "{} answers",
        call.name()
    );
    let Some(answer) = outcome.answer.as_deref() else {
        return;
    };
    let hosts = match call {
        Call::ListHosts => {
            let list = ListHostsResponse::decode(answer).expect("an answer");
            assert_eq!(list.next_page_token, "", "there is one host only");
            list.hosts
        }
        Call::WatchHosts => {
            let asked = WatchHostsRequest::decode(message).expect("what was answered");
            let first = WatchHostsResponse::decode(answer).expect("an answer");
            let kind = if first.host.is_some() {
                Type::Added
            } else {
                Type::Synced
            };
            assert_eq!(first.r#type, i32::from(kind));
            let prefixes = &asked.label_prefixes;
            let wanted =
                |key: &String| prefixes.is_empty() || prefixes.iter().any(|prefix| key.starts_with(prefix));
            let labels = first.host.iter().flat_map(|host| host.labels.keys());
            assert!(labels.into_iter().all(wanted), "{first:?}");
            first.host.into_iter().collect()
        }
        // These found the host that they name.
        _ => return acts_here(call, outcome),
    };
    if !hosts.is_empty() {
        acts_here(call, outcome);
    }
    assert!(hosts.iter().all(is_ours), "{hosts:?}");
}

fn is_ours(host: &Host) -> bool {
    let reference = host.r#ref.as_ref();
    reference.is_some_and(|host| host.namespace == NAMESPACE && host.name == NAME)
}
