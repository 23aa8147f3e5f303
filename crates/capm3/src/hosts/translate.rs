//! The core's words and those of the contract.

use metal3_capm3_core::host::{Consumer, HostKey, HostSummary, HostWait, Rejection};
use metal3_capm3_core::machine::{
    ClaimRequest, Claimed, ProvisionSpec, Reservation, Reservations, Trouble, Wish,
};
use metal3_rpc::client::describe;
use metal3_rpc::reason::{self, Reason};
use metal3_rpc::v1;
use metal3_rpc::v1::failure_domain::Policy;
use metal3_rpc::v1::release_reservations_request::Scope;
use tonic::{Code, Status};

/// Version under which consumers are recorded on hosts, as upstream does.
const VERSION: &str = "v1beta2";

pub(super) fn consumer(consumer: &Consumer, uid: &str) -> v1::Consumer {
    v1::Consumer {
        api_version: format!("{}/{VERSION}", consumer.group),
        kind: consumer.kind.clone(),
        namespace: consumer.namespace.clone(),
        name: consumer.name.clone(),
        uid: uid.to_owned(),
    }
}

/// `seen` is the revision that whoever answers has to know.
pub(super) fn claim(request: ClaimRequest, seen: Option<u64>) -> v1::ClaimHostRequest {
    let ClaimRequest {
        consumer: claimant,
        uid,
        cluster_name,
        wish,
        provision,
    } = request;
    let Wish {
        match_labels,
        expressions,
        failure_domain,
        failure_domain_required,
        reuse_key,
    } = wish;
    let expressions = expressions.into_iter().map(|expression| v1::SelectorExpression {
        key: expression.key,
        operator: expression.operator,
        values: expression.values,
    });
    let policy = if failure_domain_required {
        Policy::Require
    } else {
        Policy::Prefer
    };
    v1::ClaimHostRequest {
        namespace: claimant.namespace.clone(),
        consumer: Some(consumer(&claimant, &uid)),
        cluster_name,
        selector: Some(v1::Selector {
            match_labels: match_labels.into_iter().collect(),
            expressions: expressions.collect(),
        }),
        failure_domain: (!failure_domain.is_empty()).then(|| v1::FailureDomain {
            name: failure_domain,
            policy: policy.into(),
        }),
        reuse_key,
        provision: Some(provision_spec(provision)),
        seen_revision: seen.map(|revision| revision.to_string()).unwrap_or_default(),
    }
}

/// A host that is kept for the successor of its machine.
pub(super) fn reservation(reservation: Reservation) -> v1::release_host_request::Reservation {
    let Reservation {
        key,
        cluster,
        expires,
    } = reservation;
    v1::release_host_request::Reservation {
        reuse_key: key,
        cluster: Some(consumer(&cluster, "")),
        expires: expires.map(|expires| std::time::SystemTime::from(expires).into()),
    }
}

pub(super) fn reservations(reservations: Reservations) -> v1::ReleaseReservationsRequest {
    let (namespace, scope) = match reservations {
        Reservations::Cluster(cluster) => {
            let reference = consumer(&cluster, "");
            (cluster.namespace, Scope::Cluster(reference))
        }
        Reservations::Key { namespace, key } => (namespace, Scope::ReuseKey(key)),
    };
    v1::ReleaseReservationsRequest {
        namespace,
        scope: Some(scope),
    }
}

pub(super) fn cleaning_mode(mode: &str) -> v1::CleaningMode {
    match mode {
        "metadata" => v1::CleaningMode::Metadata,
        "disabled" => v1::CleaningMode::Disabled,
        _ => v1::CleaningMode::Unspecified,
    }
}

/// Why a claim got no host, if the answer is one that time or people change.
pub(super) fn unclaimed(status: &Status) -> Option<Claimed> {
    match Reason::of(status)? {
        Reason::NoHostAvailable => Some(rejections(reason::rejections(status).unwrap_or_default())),
        Reason::ReservedHostNotReady => Some(Claimed::Reserved(status.message().to_owned())),
        Reason::SeveralHosts => Some(Claimed::Several(status.message().to_owned())),
        _ => None,
    }
}

pub(super) fn provision_spec(spec: ProvisionSpec) -> v1::ProvisionSpec {
    // The host's own namespace is meant: no reference leaves it.
    let secret = |name: String| {
        (!name.is_empty()).then_some(v1::SecretRef {
            name,
            namespace: String::new(),
        })
    };
    let cleaning_mode = cleaning_mode(&spec.cleaning_mode);
    v1::ProvisionSpec {
        image: spec
            .image
            .map(|[url, checksum, checksum_type, format]| v1::Image {
                url,
                checksum,
                checksum_type,
                format,
            }),
        custom_deploy_method: spec.custom_deploy,
        user_data: secret(spec.user_data),
        meta_data: secret(spec.meta_data),
        network_data: secret(spec.network_data),
        cleaning_mode: cleaning_mode.into(),
        power_on: true,
    }
}

/// `None` for a host without a name, which no server sends.
pub(super) fn summary(host: v1::Host) -> Option<HostSummary> {
    let cleaning_mode = match host.cleaning_mode() {
        v1::CleaningMode::Metadata => "metadata",
        v1::CleaningMode::Disabled => "disabled",
        v1::CleaningMode::Unspecified => "",
    };
    let paused_for_move = super::paused_for_move(Some(&host));
    let reference = host.r#ref?;
    let inventory = host.inventory.unwrap_or_default();
    Some(HostSummary {
        key: HostKey {
            namespace: reference.namespace,
            name: reference.name,
        },
        uid: reference.uid,
        consumer: host.consumer.map(|consumer| Consumer {
            group: consumer.group().to_owned(),
            kind: consumer.kind,
            namespace: consumer.namespace,
            name: consumer.name,
        }),
        state: host.provisioning_state,
        requested: host.requested_image.is_some_and(|image| !image.url.is_empty())
            || !host.requested_custom_deploy_method.is_empty(),
        cleaning_mode: cleaning_mode.to_owned(),
        error: host.error_message,
        paused_for_move,
        wait: host.wait.map(|wait| HostWait {
            message: wait.message,
            remedy: wait.remedy,
        }),
        ips: inventory.nics.into_iter().map(|nic| nic.ip).collect(),
        hostname: inventory.hostname,
    })
}

pub(super) fn rejections(table: v1::Rejections) -> Claimed {
    let rules = table.rules.into_iter().map(|rule| Rejection {
        rule: rule.rule,
        hosts: rule.hosts,
        examples: rule.examples,
    });
    Claimed::NoHost {
        candidates: table.candidates,
        rejections: rules.collect(),
    }
}

/// Where a host is on its way back.
pub(super) fn progress(host: Option<v1::Host>) -> String {
    let Some(host) = host.and_then(summary) else {
        return "it is being deprovisioned".into();
    };
    match (host.error.as_str(), host.wait) {
        ("", Some(wait)) if !wait.message.is_empty() => format!("it is {}: {}", host.state, wait.message),
        ("", _) => format!("it is {}", host.state),
        (error, _) => format!("it is {}: {error}", host.state),
    }
}

/// What a failed call means for the machine.
pub(super) fn trouble(status: &Status) -> Trouble {
    let message = format!("the host service: {}", describe(status));
    match status.code() {
        Code::Unauthenticated | Code::PermissionDenied => Trouble::Denied(message),
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => Trouble::Invalid(message),
        Code::Unavailable
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::AlreadyExists
        | Code::Cancelled
        | Code::DataLoss
        | Code::Internal
        | Code::NotFound
        | Code::Ok
        | Code::ResourceExhausted
        | Code::Unimplemented
        | Code::Unknown => Trouble::Unavailable(message),
    }
}

#[cfg(test)]
mod tests {
    use metal3_capm3_core::machine::Expression;
    use metal3_rpc::reason::Reason;

    use super::*;

    fn machine() -> Consumer {
        Consumer {
            group: "infrastructure.cluster.x-k8s.io".into(),
            kind: "Metal3Machine".into(),
            namespace: "ns".into(),
            name: "m".into(),
        }
    }

    #[test]
    fn a_claim_carries_consumer_selector_and_image() {
        let wanted = ClaimRequest {
            consumer: machine(),
            uid: "u".into(),
            cluster_name: "c".into(),
            wish: Wish {
                match_labels: [("a".to_owned(), "b".to_owned())].into(),
                expressions: vec![Expression {
                    key: "k".into(),
                    operator: "Exists".into(),
                    values: vec![],
                }],
                failure_domain: "rack-1".into(),
                failure_domain_required: false,
                reuse_key: "md-d".into(),
            },
            provision: ProvisionSpec {
                image: Some(["http://i".into(), "sum".into(), "sha256".into(), String::new()]),
                user_data: "boot".into(),
                cleaning_mode: "disabled".into(),
                ..ProvisionSpec::default()
            },
        };
        assert_eq!(claim(wanted.clone(), None).seen_revision, "");
        let request = claim(wanted, Some(7));
        assert_eq!(request.seen_revision, "7");
        let consumer = request.consumer.unwrap();
        assert_eq!(
            (consumer.api_version.as_str(), consumer.uid.as_str()),
            ("infrastructure.cluster.x-k8s.io/v1beta2", "u")
        );
        assert_eq!(request.failure_domain.unwrap().policy(), Policy::Prefer);
        assert_eq!(request.reuse_key, "md-d");
        let provision = request.provision.unwrap();
        assert_eq!(provision.cleaning_mode(), v1::CleaningMode::Disabled);
        assert_eq!(
            provision.user_data.unwrap(),
            v1::SecretRef {
                name: "boot".into(),
                namespace: String::new()
            }
        );
        assert!(provision.power_on && provision.meta_data.is_none());
    }

    #[test]
    fn a_consumer_comes_back_as_it_was_sent() {
        let host = v1::Host {
            r#ref: Some(v1::HostRef::named("ns", "h")),
            consumer: Some(consumer(&machine(), "u")),
            requested_custom_deploy_method: "method".into(),
            ..v1::Host::default()
        };
        let summary = summary(host).unwrap();
        assert_eq!(summary.consumer, Some(machine()));
        assert!(summary.requested);
    }

    #[test]
    fn a_host_that_is_kept_names_its_cluster_and_the_second_at_which_it_is_free() {
        let cluster = Consumer {
            group: "cluster.x-k8s.io".into(),
            kind: "Cluster".into(),
            ..machine()
        };
        let kept = reservation(Reservation {
            key: "cp-x".into(),
            cluster: cluster.clone(),
            expires: jiff::Timestamp::from_millisecond(7_900).ok(),
        });
        let owner = kept.cluster.unwrap();
        assert_eq!(
            (owner.api_version.as_str(), owner.kind.as_str()),
            ("cluster.x-k8s.io/v1beta2", "Cluster")
        );
        assert_eq!(
            (kept.reuse_key.as_str(), kept.expires.unwrap().seconds),
            ("cp-x", 7)
        );
        let ended = reservations(Reservations::Cluster(cluster));
        assert_eq!(ended.namespace, "ns");
        assert!(matches!(ended.scope, Some(Scope::Cluster(cluster)) if cluster.name == "m"));
    }

    #[test]
    fn a_claim_without_a_host_is_no_trouble() {
        let reserved = Reason::ReservedHostNotReady.status("host ns/a is cleaning", []);
        assert_eq!(
            unclaimed(&reserved),
            Some(Claimed::Reserved("host ns/a is cleaning".into()))
        );
        let several = Reason::SeveralHosts.status("a and b", []);
        assert_eq!(unclaimed(&several), Some(Claimed::Several("a and b".into())));
        assert_eq!(unclaimed(&Reason::InvalidField.status("x", [])), None);
    }

    #[test]
    fn each_failure_is_somebody_elses_or_the_users() {
        let denied = Reason::Forbidden.status("no", []);
        assert_eq!(trouble(&denied), Trouble::Denied("the host service: no".into()));
        let invalid = Reason::InvalidField.status("bad selector", []);
        assert!(matches!(trouble(&invalid), Trouble::Invalid(_)));
        for status in [
            Status::unavailable("x"),
            Status::internal("x"),
            Reason::NotSynced.status("x", []),
        ] {
            assert!(matches!(trouble(&status), Trouble::Unavailable(_)));
        }
    }
}
