//! What every request tells alike: where it acts, on what, for whom; and whether it has the form that the contract wants.
//!
//! The form is looked at before the permission: it says nothing of what exists, and names of any length would otherwise go
//! to Kubernetes and into caches.

mod parts;
#[cfg(test)]
mod tests;

use metal3_rpc::call::Call;
use metal3_rpc::v1;
use metal3_rpc::v1::{Consumer, HostRef};
use tonic::Status;

use self::parts::{
    FEW, SHORT, TEXT, check_consumer, check_hold, check_host, check_keys, check_namespace, check_provision,
    check_reservation, check_selector, given, known,
};
use super::names;
use super::request::{consumer, invalid, missing, whole};

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
                vec![namespace(self.host.as_ref())]
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
                vec![namespace(self.host.as_ref())]
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
    let spec = it.spec.as_ref().ok_or_else(|| missing("spec"))?;
    check_provision("spec", spec, namespace(it.host.as_ref()))
});
about_a_host!(SetCleaningModeRequest of a consumer, SetCleaningMode, |it| {
    known::<v1::CleaningMode>("mode", it.mode)?;
    if it.mode() == v1::CleaningMode::Unspecified {
        return Err(missing("mode"));
    }
    Ok(())
});
about_a_host!(ReleaseHostRequest of a consumer, ReleaseHost, |it| {
    names::value("cluster_name", &it.cluster_name)?;
    known::<v1::release_host_request::PowerPolicy>("power_policy", it.power_policy)?;
    match &it.reservation {
        Some(reservation) => check_reservation(reservation, namespace(it.host.as_ref()), it.consumer.as_ref()),
        None => Ok(()),
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
    given("token", &it.token)?;
    names::line("token", &it.token, SHORT)
});
about_a_host!(ResumeAfterMoveRequest of a consumer, ResumeAfterMove, |it| {
    names::value("cluster_name", &it.cluster_name)?;
    given("token", &it.token)?;
    names::line("token", &it.token, SHORT)
});

/// Of a host; without one it is in none.
fn namespace(host: Option<&HostRef>) -> &str {
    host.map_or("", |host| &host.namespace)
}

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
            check_provision("provision", spec, &self.namespace)?;
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
            None => Err(invalid("scope", "cluster or reuse_key is required")),
            Some(Scope::Cluster(cluster)) => check_consumer("cluster", whole("cluster", Some(cluster))?),
            Some(Scope::ReuseKey(key)) => {
                given("reuse_key", key)?;
                names::value("reuse_key", key)
            }
        }
    }
}
