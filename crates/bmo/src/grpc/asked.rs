//! What every request tells alike: where it acts, on what, for whom; and whether it has the form that the contract wants.
//!
//! The form is looked at before the permission: it says nothing of what exists, and names of any length would otherwise go
//! to Kubernetes and into caches.

use metal3_rpc::v1;
use metal3_rpc::v1::{Consumer, HostRef};
use tonic::Status;

use super::call::Call;
use super::names;
use super::request::{consumer, host_key, invalid, missing};

/// Entries of lists that are short in earnest.
const FEW: usize = 100;
/// Values of all requirements of a selector, which is compared with every host.
const VALUES: usize = 1000;
/// URLs and other long words.
const LONG: usize = 4096;
/// Words for people.
const TEXT: usize = 1024;
/// The name of something, where no better rule is known.
const SHORT: usize = 253;

/// A request of the contract.
pub(super) trait Asked: Send {
    /// Which call it belongs to.
    const CALL: Call;

    /// The namespaces that it is about; an empty name means all of them.
    fn namespaces(&self) -> Vec<&str>;

    /// The host that it names.
    fn host(&self) -> Option<&HostRef> {
        None
    }

    /// For whom.
    fn consumer(&self) -> Option<&Consumer> {
        None
    }

    /// Whether it has the right form.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` with the field.
    fn check(&self) -> Result<(), Status>;
}

/// The many requests that name a host and mostly a consumer.
macro_rules! about_a_host {
    ($request:ident, $call:ident, |$it:ident| $rest:expr) => {
        impl Asked for v1::$request {
            const CALL: Call = Call::$call;

            fn namespaces(&self) -> Vec<&str> {
                vec![self.host.as_ref().map_or("", |host| &host.namespace)]
            }

            fn host(&self) -> Option<&HostRef> {
                self.host.as_ref()
            }

            fn check(&self) -> Result<(), Status> {
                check_host(self.host.as_ref())?;
                let $it = self;
                $rest
            }
        }
    };
    ($request:ident of a consumer, $call:ident, |$it:ident| $rest:expr) => {
        impl Asked for v1::$request {
            const CALL: Call = Call::$call;

            fn namespaces(&self) -> Vec<&str> {
                vec![self.host.as_ref().map_or("", |host| &host.namespace)]
            }

            fn host(&self) -> Option<&HostRef> {
                self.host.as_ref()
            }

            fn consumer(&self) -> Option<&Consumer> {
                self.consumer.as_ref()
            }

            fn check(&self) -> Result<(), Status> {
                check_host(self.host.as_ref())?;
                check_consumer("consumer", consumer(self.consumer.as_ref())?)?;
                let $it = self;
                $rest
            }
        }
    };
}

about_a_host!(GetHostRequest, GetHost, |_it| Ok(()));
about_a_host!(ExplainHostRequest, ExplainHost, |_it| Ok(()));
about_a_host!(GetInventoryRequest, GetInventory, |it| {
    check_keys("label_keys", &it.label_keys)?;
    check_keys("annotation_keys", &it.annotation_keys)
});
about_a_host!(ProvisionHostRequest of a consumer, ProvisionHost, |it| {
    if it.expected_generation < 0 {
        return Err(invalid(
            "expected_generation",
            "expected_generation must not be negative",
        ));
    }
    check_provision("spec", it.spec.as_ref().ok_or_else(|| missing("spec"))?)
});
about_a_host!(SetCleaningModeRequest of a consumer, SetCleaningMode, |it| {
    known::<v1::CleaningMode>("mode", it.mode)
});
about_a_host!(ReleaseHostRequest of a consumer, ReleaseHost, |it| {
    names::value("cluster_name", &it.cluster_name)?;
    known::<v1::release_host_request::PowerPolicy>("power_policy", it.power_policy)?;
    let Some(reservation) = &it.reservation else {
        return Ok(());
    };
    names::value("reservation.reuse_key", &reservation.reuse_key)?;
    if let Some(cluster) = &reservation.cluster {
        check_consumer("reservation.cluster", cluster)?;
    }
    match &reservation.expires {
        Some(time) if jiff::Timestamp::new(time.seconds, time.nanos).is_err() || time.nanos < 0 => Err(invalid(
            "reservation.expires",
            "reservation.expires is not a time",
        )),
        _ => Ok(()),
    }
});
about_a_host!(HoldPowerOffRequest of a consumer, HoldPowerOff, |it| {
    check_hold(&it.key)?;
    known::<v1::hold_power_off_request::Mode>("mode", it.mode)
});
about_a_host!(ReleasePowerHoldRequest of a consumer, ReleasePowerHold, |it| check_hold(&it.key));
about_a_host!(MarkHealthRequest of a consumer, MarkHealth, |it| {
    names::line("reason", &it.reason, TEXT)
});
about_a_host!(PrepareMoveRequest of a consumer, PrepareMove, |it| {
    names::line("token", &it.token, SHORT)
});
about_a_host!(ResumeAfterMoveRequest of a consumer, ResumeAfterMove, |it| {
    names::value("cluster_name", &it.cluster_name)?;
    names::line("token", &it.token, SHORT)
});

impl Asked for v1::ListHostsRequest {
    const CALL: Call = Call::ListHosts;

    fn namespaces(&self) -> Vec<&str> {
        vec![&self.namespace]
    }

    fn check(&self) -> Result<(), Status> {
        if !self.namespace.is_empty() {
            names::namespace("namespace", &self.namespace)?;
        }
        if self.page_size < 0 {
            return Err(invalid("page_size", "page_size must not be negative"));
        }
        names::line("page_token", &self.page_token, TEXT)?;
        names::count("states", self.states.len(), FEW)?;
        for state in &self.states {
            names::line("states", state, SHORT)?;
        }
        if let Some(consumer) = &self.consumer {
            check_consumer("consumer", consumer)?;
        }
        check_selector(self.selector.as_ref())
    }
}

impl Asked for v1::WatchHostsRequest {
    const CALL: Call = Call::WatchHosts;

    fn namespaces(&self) -> Vec<&str> {
        if self.namespaces.is_empty() {
            return vec![""];
        }
        self.namespaces.iter().map(String::as_str).collect()
    }

    fn check(&self) -> Result<(), Status> {
        names::count("namespaces", self.namespaces.len(), FEW)?;
        for namespace in &self.namespaces {
            names::namespace("namespaces", namespace)?;
        }
        names::line("consumer_kind", &self.consumer_kind, SHORT)?;
        names::line("from_revision", &self.from_revision, SHORT)?;
        check_keys("label_prefixes", &self.label_prefixes)
    }
}

impl Asked for v1::ClaimHostRequest {
    const CALL: Call = Call::ClaimHost;

    fn namespaces(&self) -> Vec<&str> {
        vec![&self.namespace]
    }

    fn consumer(&self) -> Option<&Consumer> {
        self.consumer.as_ref()
    }

    fn check(&self) -> Result<(), Status> {
        check_namespace(&self.namespace)?;
        check_consumer("consumer", consumer(self.consumer.as_ref())?)?;
        names::value("cluster_name", &self.cluster_name)?;
        names::value("reuse_key", &self.reuse_key)?;
        if !self.seen_revision.is_empty() && self.seen_revision.parse::<u64>().is_err() {
            let message = "seen_revision is not the revision of a host";
            return Err(invalid("seen_revision", message));
        }
        if let Some(domain) = &self.failure_domain {
            names::value("failure_domain.name", &domain.name)?;
            known::<v1::failure_domain::Policy>("failure_domain.policy", domain.policy)?;
        }
        if let Some(spec) = &self.provision {
            check_provision("provision", spec)?;
        }
        check_selector(self.selector.as_ref())
    }
}

impl Asked for v1::ReleaseReservationsRequest {
    const CALL: Call = Call::ReleaseReservations;

    fn namespaces(&self) -> Vec<&str> {
        vec![&self.namespace]
    }

    fn check(&self) -> Result<(), Status> {
        use v1::release_reservations_request::Scope;
        check_namespace(&self.namespace)?;
        match &self.scope {
            None => Err(missing("cluster or reuse_key")),
            Some(Scope::Cluster(cluster)) => check_consumer("cluster", cluster),
            Some(Scope::ReuseKey(key)) if key.is_empty() => Err(missing("reuse_key")),
            Some(Scope::ReuseKey(key)) => names::value("reuse_key", key),
        }
    }
}

fn check_namespace(namespace: &str) -> Result<(), Status> {
    if namespace.is_empty() {
        return Err(missing("namespace"));
    }
    names::namespace("namespace", namespace)
}

fn check_host(host: Option<&HostRef>) -> Result<(), Status> {
    let key = host_key(host)?;
    names::namespace("host.namespace", &key.namespace)?;
    names::object("host.name", &key.name)?;
    names::line("host.uid", host.map_or("", |host| &host.uid), SHORT)
}

/// What is given of it; that all of it is there is asked for where it is needed.
fn check_consumer(field: &str, consumer: &Consumer) -> Result<(), Status> {
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

fn check_hold(key: &str) -> Result<(), Status> {
    if key.is_empty() {
        return Err(missing("key"));
    }
    names::part("key", key)
}

fn check_keys(field: &str, keys: &[String]) -> Result<(), Status> {
    names::count(field, keys.len(), FEW)?;
    keys.iter().try_for_each(|key| names::key(field, key))
}

/// How big it is; what it says is judged where it is read.
fn check_selector(selector: Option<&v1::Selector>) -> Result<(), Status> {
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

fn check_provision(field: &str, spec: &v1::ProvisionSpec) -> Result<(), Status> {
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
    }
    known::<v1::CleaningMode>(&format!("{field}.cleaning_mode"), spec.cleaning_mode)
}

/// Whether a number stands for a value of the enumeration. One of a later contract must not be taken for "as you like".
fn known<E: TryFrom<i32>>(field: &str, number: i32) -> Result<(), Status> {
    match E::try_from(number) {
        Ok(_) => Ok(()),
        Err(_) => Err(invalid(field, &format!("{field} {number} is not known here"))),
    }
}

#[cfg(test)]
mod tests {
    use metal3_rpc::reason::Reason;
    use metal3_rpc::v1::{ClaimHostRequest, HoldPowerOffRequest, ReleaseHostRequest, SelectorExpression};

    use super::*;

    fn machine() -> Consumer {
        Consumer {
            api_version: "infrastructure.cluster.x-k8s.io/v1beta2".into(),
            kind: "Metal3Machine".into(),
            namespace: "ns".into(),
            name: "m".into(),
            uid: "u".into(),
        }
    }

    fn claim() -> ClaimHostRequest {
        ClaimHostRequest {
            namespace: "ns".into(),
            consumer: Some(machine()),
            ..Default::default()
        }
    }

    fn field(result: Result<(), Status>) -> String {
        use tonic_types::StatusExt as _;
        let status = result.unwrap_err();
        assert_eq!(Reason::of(&status), Some(Reason::InvalidField), "{status}");
        status.get_details_error_info().unwrap().metadata["field"].clone()
    }

    #[test]
    fn a_malformed_field_is_named() {
        assert!(claim().check().is_ok());
        type Spoil = fn(&mut ClaimHostRequest);
        let cases: [(&str, Spoil); 10] = [
            ("namespace", |claim| claim.namespace = "a".repeat(1_000_000)),
            ("seen_revision", |claim| claim.seen_revision = "soon".into()),
            ("consumer.name", |claim| {
                claim.consumer.as_mut().unwrap().name = "a\nb".into()
            }),
            ("consumer.kind", |claim| {
                claim.consumer.as_mut().unwrap().kind = "a/b".into()
            }),
            ("cluster_name", |claim| claim.cluster_name = "a b".into()),
            ("reuse_key", |claim| claim.reuse_key = "cp/x".into()),
            ("failure_domain.policy", |claim| {
                claim.failure_domain = Some(v1::FailureDomain {
                    name: "a".into(),
                    policy: 7,
                });
            }),
            ("selector.expressions", |claim| {
                let expressions = vec![
                    SelectorExpression {
                        key: "a".into(),
                        ..Default::default()
                    };
                    FEW + 1
                ];
                claim.selector = Some(v1::Selector {
                    expressions,
                    ..Default::default()
                });
            }),
            ("selector.expressions.values", |claim| {
                let values = vec![String::new(); VALUES + 1];
                let expressions = vec![SelectorExpression {
                    key: "a".into(),
                    values,
                    ..Default::default()
                }];
                claim.selector = Some(v1::Selector {
                    expressions,
                    ..Default::default()
                });
            }),
            ("provision.image.url", |claim| {
                let image = Some(v1::Image {
                    url: "http://a\u{0}".into(),
                    ..Default::default()
                });
                claim.provision = Some(v1::ProvisionSpec {
                    image,
                    ..Default::default()
                });
            }),
        ];
        for (name, spoil) in cases {
            let mut claim = claim();
            spoil(&mut claim);
            assert_eq!(field(claim.check()), name);
        }
    }

    #[test]
    fn what_a_later_contract_means_is_not_guessed() {
        let hold = HoldPowerOffRequest {
            host: Some(HostRef::named("ns", "a")),
            consumer: Some(machine()),
            key: "k".into(),
            mode: 9,
        };
        assert_eq!(field(hold.check()), "mode");
        let mut release = ReleaseHostRequest {
            host: Some(HostRef::named("ns", "a")),
            consumer: Some(machine()),
            ..Default::default()
        };
        assert!(release.check().is_ok());
        release.reservation = Some(v1::release_host_request::Reservation {
            expires: Some(prost_types::Timestamp {
                seconds: i64::MAX,
                nanos: 0,
            }),
            ..Default::default()
        });
        assert_eq!(field(release.check()), "reservation.expires");
    }

    #[test]
    fn a_watch_of_nothing_named_is_one_of_all_namespaces() {
        assert_eq!(v1::WatchHostsRequest::default().namespaces(), [""]);
    }
}
