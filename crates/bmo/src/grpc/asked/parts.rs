//! The parts that requests share, and the form that each must have.

use metal3_rpc::v1;
use metal3_rpc::v1::release_host_request::Reservation;
use metal3_rpc::v1::{Consumer, HostRef};
use tonic::Status;

use super::super::names;
use super::super::request::{host_key, invalid, missing, whole};

/// Entries of lists that are short in earnest.
pub(super) const FEW: usize = 100;
/// Values of all requirements of a selector, which is compared with every host.
pub(super) const VALUES: usize = 1000;
/// URLs and other long words.
const LONG: usize = 4096;
/// Words for people.
pub(super) const TEXT: usize = 1024;
/// The name of something, where no better rule is known.
pub(super) const SHORT: usize = 253;

pub(super) fn check_namespace(namespace: &str) -> Result<(), Status> {
    given("namespace", namespace)?;
    names::namespace("namespace", namespace)
}

pub(super) fn check_host(host: Option<&HostRef>) -> Result<(), Status> {
    let key = host_key(host)?;
    names::namespace("host.namespace", &key.namespace)?;
    names::object("host.name", &key.name)?;
    names::line("host.uid", host.map_or("", |host| &host.uid), SHORT)
}

/// What is given of it; that all of it is there is asked for where it is needed.
pub(super) fn check_consumer(field: &str, consumer: &Consumer) -> Result<(), Status> {
    type Check = fn(&str, &str) -> Result<(), Status>;
    let parts: [(&str, &str, Check); 4] = [
        ("api_version", &consumer.api_version, names::version),
        ("kind", &consumer.kind, names::kind),
        ("namespace", &consumer.namespace, names::namespace),
        ("name", &consumer.name, names::foreign),
    ];
    for (part, text, check) in parts {
        if !text.is_empty() {
            check(&format!("{field}.{part}"), text)?;
        }
    }
    names::line(&format!("{field}.uid"), &consumer.uid, SHORT)
}

pub(super) fn check_hold(key: &str) -> Result<(), Status> {
    given("key", key)?;
    names::part("key", key)
}

pub(super) fn check_keys(field: &str, keys: &[String]) -> Result<(), Status> {
    names::count(field, keys.len(), FEW)?;
    keys.iter().try_for_each(|key| names::key(field, key))
}

/// How big it is; what it says is judged where it is read.
pub(super) fn check_selector(selector: Option<&v1::Selector>) -> Result<(), Status> {
    let Some(selector) = selector else { return Ok(()) };
    names::count("selector.match_labels", selector.match_labels.len(), FEW)?;
    names::count("selector.expressions", selector.expressions.len(), FEW)?;
    let values = selector.expressions.iter().map(|one| one.values.len()).sum();
    names::count("selector.expressions.values", values, VALUES)?;
    for (key, value) in &selector.match_labels {
        names::key("selector.match_labels", key)?;
        names::value("selector.match_labels", value)?;
    }
    for expression in &selector.expressions {
        names::key("selector.expressions.key", &expression.key)?;
        names::line("selector.expressions.operator", &expression.operator, SHORT)?;
        for value in &expression.values {
            names::value("selector.expressions.values", value)?;
        }
    }
    Ok(())
}

/// What is to run on a host of the namespace.
pub(super) fn check_provision(field: &str, spec: &v1::ProvisionSpec, namespace: &str) -> Result<(), Status> {
    if let Some(image) = &spec.image {
        for (part, text, longest) in [
            ("url", &image.url, LONG),
            ("checksum", &image.checksum, LONG),
            ("checksum_type", &image.checksum_type, SHORT),
            ("format", &image.format, SHORT),
        ] {
            names::line(&format!("{field}.image.{part}"), text, longest)?;
        }
    }
    names::line(
        &format!("{field}.custom_deploy_method"),
        &spec.custom_deploy_method,
        SHORT,
    )?;
    for (part, secret) in [
        ("user_data", &spec.user_data),
        ("meta_data", &spec.meta_data),
        ("network_data", &spec.network_data),
    ] {
        let Some(secret) = secret else { continue };
        for (name, text) in [("name", &secret.name), ("namespace", &secret.namespace)] {
            if !text.is_empty() {
                names::object(&format!("{field}.{part}.{name}"), text)?;
            }
        }
        if !secret.namespace.is_empty() && secret.namespace != namespace {
            return Err(invalid(
                &format!("{field}.{part}.namespace"),
                &format!(
                    "{field}.{part} refers to Secret {}/{}: only Secrets of the host's namespace {namespace} can be used",
                    secret.namespace, secret.name
                ),
            ));
        }
    }
    known::<v1::CleaningMode>(&format!("{field}.cleaning_mode"), spec.cleaning_mode)
}

/// A reservation that says too little would be none, and the host somebody else's.
pub(super) fn check_reservation(
    reservation: &Reservation,
    namespace: &str,
    consumer: Option<&Consumer>,
) -> Result<(), Status> {
    given("reservation.reuse_key", &reservation.reuse_key)?;
    names::value("reservation.reuse_key", &reservation.reuse_key)?;
    let field = "reservation.cluster";
    let cluster = whole(field, reservation.cluster.as_ref())?;
    check_consumer(field, cluster)?;
    if cluster.kind != "Cluster" || cluster.group() != "cluster.x-k8s.io" {
        return Err(invalid(
            field,
            "a host is reserved for a Cluster of cluster.x-k8s.io",
        ));
    }
    if consumer.is_some_and(|consumer| consumer.same_object(cluster)) {
        let message = "a host is kept for somebody who comes later, not for its consumer: do not release it";
        return Err(invalid(field, message));
    }
    if cluster.namespace != namespace {
        return Err(invalid(
            "reservation.cluster.namespace",
            &format!("a host of namespace {namespace} is reserved for a Cluster of that namespace"),
        ));
    }
    match &reservation.expires {
        Some(time) if jiff::Timestamp::new(time.seconds, time.nanos).is_err() || time.nanos < 0 => Err(
            invalid("reservation.expires", "reservation.expires is not a time"),
        ),
        _ => Ok(()),
    }
}

/// Whether there is anything.
pub(super) fn given(field: &str, text: &str) -> Result<(), Status> {
    if text.is_empty() {
        return Err(missing(field));
    }
    Ok(())
}

/// Whether a number stands for a value of the enumeration. One of a later contract must not be taken for "as you like".
pub(super) fn known<E: TryFrom<i32>>(field: &str, number: i32) -> Result<(), Status> {
    match E::try_from(number) {
        Ok(_) => Ok(()),
        Err(_) => Err(invalid(field, &format!("{field} {number} is not known here"))),
    }
}
