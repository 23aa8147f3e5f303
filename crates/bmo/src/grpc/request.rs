//! Reading requests, and what is said about those that cannot be served.

use jiff::Timestamp;
use metal3_provisioner::HostKey;
use metal3_rpc::reason::Reason;
use metal3_rpc::v1;
use metal3_rpc::v1::{Consumer, Host, HostRef};
use tonic::Status;

use super::allocate::Wish;
use super::intent;
use super::selector::Matcher;

/// Whether a reference without UID, or with the UID of this very host, was given.
pub(super) fn same_uid(reference: Option<&HostRef>, host: &Host) -> bool {
    let wanted = reference.map_or("", |reference| reference.uid.as_str());
    wanted.is_empty() || host.r#ref.as_ref().is_some_and(|host| host.uid == wanted)
}

/// Whether a host is in error, or waits for longer than it should.
pub(super) fn stuck(host: &Host, now: Timestamp) -> bool {
    let deadline = host.wait.as_ref().and_then(|wait| wait.deadline);
    let now = (now.as_second(), now.subsec_nanosecond());
    !host.error_message.is_empty()
        || deadline.is_some_and(|deadline| (deadline.seconds, deadline.nanos) < now)
}

/// Zero for one that is not a number. Kubernetes guarantees comparable resource versions since 1.35 (KEP-5504); etcd has
/// always provided them.
pub(super) fn revision(host: &Host) -> u64 {
    host.revision.parse().unwrap_or(0)
}

pub(super) fn host_key(host: Option<&HostRef>) -> Result<HostKey, Status> {
    match host {
        Some(host) if !host.namespace.is_empty() && !host.name.is_empty() => {
            Ok(HostKey::new(&host.namespace, &host.name))
        }
        _ => Err(invalid("host", "host with namespace and name is required")),
    }
}

pub(super) fn consumer(consumer: Option<&Consumer>) -> Result<&Consumer, Status> {
    whole("consumer", consumer)
}

/// A reference of which nothing but the UID is left out.
pub(super) fn whole<'a>(field: &str, consumer: Option<&'a Consumer>) -> Result<&'a Consumer, Status> {
    consumer
        .filter(|c| {
            ![&c.api_version, &c.kind, &c.namespace, &c.name]
                .into_iter()
                .any(String::is_empty)
        })
        .ok_or_else(|| {
            let message = format!("{field} with api_version, kind, namespace and name is required");
            invalid(field, &message)
        })
}

pub(super) fn wish(request: &v1::ClaimHostRequest, consumer: &Consumer) -> Result<Wish, Status> {
    if consumer.namespace != request.namespace {
        return Err(invalid(
            "consumer.namespace",
            &format!(
                "a consumer in namespace {} cannot claim hosts of namespace {}",
                consumer.namespace, request.namespace
            ),
        ));
    }
    let domain = request.failure_domain.clone().unwrap_or_default();
    Ok(Wish {
        consumer: consumer.clone(),
        selector: Matcher::parse(request.selector.as_ref()).map_err(|error| invalid("selector", &error))?,
        failure_domain_required: domain.policy() == v1::failure_domain::Policy::Require,
        failure_domain: domain.name,
        reuse_key: request.reuse_key.clone(),
    })
}

pub(super) fn own(host: &Host, consumer: &Consumer) -> Result<(), Status> {
    match &host.consumer {
        Some(current) if current.same_object(consumer) => Ok(()),
        current => {
            let title = intent::title(host);
            let owner = current.as_ref().map_or("nobody", |current| current.name.as_str());
            Err(Reason::ForeignConsumer.status(
                format!(
                    "host {title} belongs to {owner}, not to {}: claim a host first",
                    consumer.name
                ),
                [("host", title.as_str()), ("consumer", owner)],
            ))
        }
    }
}

pub(super) fn missing(field: &str) -> Status {
    invalid(field, &format!("{field} is required"))
}

pub(super) fn invalid(field: &str, message: &str) -> Status {
    Reason::InvalidField.status(message, [("field", field)])
}

pub(super) fn not_found(key: &HostKey) -> Status {
    Reason::HostNotFound.status(
        format!("host {key} does not exist"),
        [("host", key.to_string().as_str())],
    )
}

pub(super) fn conflict(what: &str) -> Status {
    Reason::Conflict.status(format!("{what} changed at the same time; try again"), [])
}
