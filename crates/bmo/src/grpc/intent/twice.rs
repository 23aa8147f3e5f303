//! For every decision: what it wrote makes it write nothing, so that a call may be repeated.

use metal3_api::names;
use metal3_rpc::v1::hold_power_off_request::Mode;
use metal3_rpc::v1::release_host_request::{PowerPolicy, Reservation};
use metal3_rpc::v1::{
    ClaimHostRequest, CleaningMode, Consumer, Image, ProvisionSpec, ReleaseHostRequest, SecretRef,
};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::tests::{after, consumer, seen};
use super::*;

const KEY: &str = "metal3-remediation-1";

/// One of these, or nothing of the kind.
fn perhaps(values: &'static [&'static str]) -> impl Strategy<Value = Option<&'static str>> {
    prop::option::of(select(values))
}

fn annotations() -> impl Strategy<Value = Value> {
    let hold = perhaps(&[
        "",
        r#"{"mode":"hard"}"#,
        r#"{"mode":"soft","force":true}"#,
        "rubbish",
    ]);
    let paused = perhaps(&["", names::PAUSED_BY_CAPM3, "me"]);
    let end = perhaps(&["2026-01-01T00:00:00Z", "rubbish"]);
    let flags = [
        perhaps(&[""]),
        perhaps(&["", "bad"]),
        perhaps(&[""]),
        perhaps(&["{}"]),
    ];
    (hold, paused, end, flags).prop_map(|(hold, paused, end, [guard, unhealthy, legacy, status])| {
        json!({
            "reboot.metal3.io/metal3-remediation-1": hold,
            names::ANNOTATION_PAUSED: paused,
            names::ANNOTATION_RESERVED_UNTIL: end,
            names::ANNOTATION_BLOCK_MOVE: guard,
            names::ANNOTATION_UNHEALTHY: unhealthy,
            names::ANNOTATION_UNHEALTHY_LEGACY: legacy,
            names::ANNOTATION_STATUS: status,
        })
    })
}

fn cluster() -> Consumer {
    Consumer {
        api_version: "cluster.x-k8s.io/v1beta2".into(),
        kind: "Cluster".into(),
        name: "c".into(),
        ..consumer()
    }
}

fn spec() -> impl Strategy<Value = Value> {
    let owner = select(vec![None, Some(consumer()), Some(cluster())]);
    let image = perhaps(&["http://a", "http://b"]);
    let method = perhaps(&["install"]);
    let secrets = [perhaps(&["s"]), perhaps(&["s"]), perhaps(&["s"])];
    let mode = perhaps(&["metadata", "disabled"]);
    let flags = (any::<bool>(), prop::option::of(any::<bool>()));
    (owner, image, method, secrets, mode, flags).prop_map(
        |(owner, image, method, secrets, mode, (online, never_off))| {
            let [user, meta, network] = secrets.map(|name| name.map(|name| json!({"name": name})));
            json!({
                "consumerRef": owner.as_ref().map(reference),
                "image": image.map(|url| json!({"url": url})),
                "customDeploy": method.map(|method| json!({"method": method})),
                "userData": user, "metaData": meta, "networkData": network,
                "automatedCleaningMode": mode, "online": online, "disablePowerOff": never_off,
            })
        },
    )
}

/// Any host that a call may meet.
fn hosts() -> impl Strategy<Value = Seen> {
    let labels = (perhaps(&["c", "other"]), perhaps(&["md-x"]));
    let state = perhaps(&[
        "",
        "available",
        "provisioned",
        "deprovisioning",
        "externally provisioned",
    ]);
    let status = (state, any::<bool>(), any::<bool>());
    let going = perhaps(&["2026-01-01T00:00:00Z"]);
    (annotations(), spec(), labels, status, going).prop_map(|(annotations, spec, labels, status, going)| {
        let (cluster, reuse) = labels;
        let (state, powered_on, begun) = status;
        let status = state.map(|state| {
            let updated = begun.then_some("2026-01-01T00:00:00Z");
            json!({"provisioning": {"state": state}, "poweredOn": powered_on, "lastUpdated": updated})
        });
        let given = json!({
            "metadata": {
                "annotations": annotations, "deletionTimestamp": going,
                "labels": {names::LABEL_CLUSTER_NAME: cluster, names::LABEL_NODE_REUSE: reuse},
            },
            "spec": spec, "status": status,
        });
        after(&seen(&json!({})), &given)
    })
}

fn wishes() -> impl Strategy<Value = ProvisionSpec> {
    let image = perhaps(&["http://a", "http://b"]);
    let secret = perhaps(&["s", "t"]);
    (image, perhaps(&["install"]), secret, 0..3_i32, any::<bool>()).prop_map(
        |(image, method, secret, cleaning_mode, power_on)| ProvisionSpec {
            image: image.map(|url| Image {
                url: url.into(),
                ..Default::default()
            }),
            custom_deploy_method: method.unwrap_or_default().into(),
            user_data: secret.map(|name| SecretRef {
                name: name.into(),
                namespace: String::new(),
            }),
            cleaning_mode,
            power_on,
            ..Default::default()
        },
    )
}

/// What is decided on the host that the first decision made, if that wrote anything.
fn again<T>(host: &Seen, first: Result<Option<Value>, Status>, decide: impl Fn(&Seen) -> T) -> Option<T> {
    let patch = first.ok().flatten()?;
    Some(decide(&after(host, &patch)))
}

macro_rules! once {
    ($host:expr, $decide:expr) => {
        let decide = $decide;
        if let Some(second) = again(&$host, decide(&$host), &decide) {
            prop_assert_eq!(second.map_err(|status| status.to_string()), Ok(None));
        }
    };
}

proptest! {
    #[test]
    fn a_deployment_is_recorded_once(host in hosts(), spec in wishes()) {
        once!(host, |seen: &Seen| provision(seen, &spec));
    }

    #[test]
    fn a_cleaning_mode_is_set_once(host in hosts(), mode in select(vec![CleaningMode::Metadata, CleaningMode::Disabled])) {
        once!(host, |seen: &Seen| Ok(set_cleaning_mode(seen, mode)));
    }

    #[test]
    fn a_hold_begins_once(host in hosts(), mode in select(vec![Mode::Hard, Mode::Soft, Mode::Unspecified])) {
        once!(host, |seen: &Seen| hold(seen, KEY, mode));
    }

    #[test]
    fn a_hold_ends_once(host in hosts()) {
        once!(host, |seen: &Seen| Ok(unhold(seen, KEY)));
    }

    #[test]
    fn health_is_marked_once(host in hosts(), unhealthy: bool, reason in "[a-z]{0,3}") {
        once!(host, |seen: &Seen| Ok(mark(seen, unhealthy, &reason)));
    }

    #[test]
    fn a_host_is_made_ready_to_move_once_and_resumed_once(host in hosts()) {
        once!(host, |seen: &Seen| Ok(prepare(seen, names::PAUSED_BY_CAPM3)));
        once!(host, |seen: &Seen| resume(seen, names::PAUSED_BY_CAPM3, "c"));
    }

    #[test]
    fn a_claimed_host_is_the_consumers_and_a_second_claim_changes_nothing(host in hosts(), spec in prop::option::of(wishes())) {
        let request = ClaimHostRequest { cluster_name: "c".into(), provision: spec, ..Default::default() };
        if let Ok(patch) = claim(&host.host, &request, &consumer()) {
            let first = after(&host, &patch);
            prop_assert!(first.host.consumer.as_ref().is_some_and(|owner| owner.same_object(&consumer())));
            prop_assert_eq!((first.host.reuse_key.as_str(), first.host.reserved_until), ("", None));
            let patch = claim(&first.host, &request, &consumer()).unwrap();
            prop_assert_eq!(after(&first, &patch).host, first.host);
        }
    }

    /// However far it comes before the controller has to act, one step is enough for each thing to be written.
    #[test]
    fn a_release_starts_once_and_ends_once(
        host in hosts(),
        policy in select(vec![PowerPolicy::Unspecified, PowerPolicy::PowerOff, PowerPolicy::FastTrack]),
        reserved: bool,
    ) {
        let reservation = Reservation { reuse_key: "md-x".into(), cluster: Some(cluster()), expires: None };
        let request = ReleaseHostRequest {
            cluster_name: "c".into(),
            power_policy: policy.into(),
            reservation: reserved.then_some(reservation),
            ..Default::default()
        };
        let mut host = host;
        if let Release::Start(patch) = release(&host, &request, &consumer()) {
            host = after(&host, &patch);
            prop_assert!(!matches!(release(&host, &request, &consumer()), Release::Start(_)));
        }
        if let Release::Finish(patch) = release(&host, &request, &consumer()) {
            host = after(&host, &patch);
            prop_assert_eq!(release(&host, &request, &consumer()), Release::Released);
            let scope = Scope::Key("md-x".into());
            prop_assert_eq!(in_scope(&host.host, &scope), reserved || host.host.reuse_key == "md-x");
            let freed = after(&host, &free());
            prop_assert!(!in_scope(&freed.host, &scope));
        }
    }
}
