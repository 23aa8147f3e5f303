//! What the two ServiceAccounts may do, against what they did: nothing was refused, and no right lies idle without a reason.
//!
//! Granted is what the cluster's own roles say; done is what the audit log of its API server says. Verbs on
//! `hosts.host.metal3.io` are no requests to the API server: bmo asks about them when capm3 calls, so capm3's calls count.

mod granted;
mod idle;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail, ensure};
use kube::ResourceExt as _;
use metal3_rpc::AUTHORIZATION_GROUP;
use metal3_rpc::call::Call;
use metal3_testkit::audit::{self, Request};

use self::granted::granted;
use self::idle::until;
use super::{Context, metrics};
use crate::stack::{BMO, CAPM3, NAMESPACE};

/// ServiceAccount of capm3; that of bmo is named like its Deployment.
const CAPM3_ACCOUNT: &str = "capm3-manager";

/// What a request needed a right for.
#[derive(Clone, Debug)]
struct Deed {
    group: String,
    resource: String,
    verb: &'static str,
    namespace: String,
    name: String,
}

pub(super) async fn check(context: &Context) -> Result<()> {
    for account in [BMO, CAPM3_ACCOUNT] {
        let user = format!("system:serviceaccount:{NAMESPACE}:{account}");
        let requests = audit::requests(&context.bed.capi_dir().join("log/audit.log"), &user)?;
        ensure!(!requests.is_empty(), "the audit log knows no request of {user}");
        nothing_was_denied(&user, &requests)?;
        let mut deeds: Vec<Deed> = requests.iter().flat_map(deeds).collect();
        if account == CAPM3_ACCOUNT {
            if let Some(deed) = deeds.iter().find(|deed| deed.group == "metal3.io") {
                bail!(
                    "{user} asked the API server to {} {} of metal3.io, which is bmo's alone",
                    deed.verb,
                    deed.resource
                );
            }
            deeds.extend(calls(context).await?);
        }
        let granted = granted(context, account).await?;
        let (mut idle, mut unexplained) = (BTreeMap::<_, usize>::new(), Vec::new());
        for right in granted
            .iter()
            .filter(|right| !deeds.iter().any(|deed| right.used_by(deed)))
        {
            match until(account, right) {
                Some(when) => *idle.entry(when).or_default() += 1,
                None => unexplained.push(right.title()),
            }
        }
        ensure!(
            unexplained.is_empty(),
            "{user} may, and never did: {}; take it from its role, or say in e2e/src/checks/rights/idle.rs what for",
            unexplained.join(", ")
        );
        context.progress.line(&format!(
            "{account}: {} requests, none denied; {} rights, {} used",
            requests.len(),
            granted.len(),
            granted.len() - idle.values().sum::<usize>()
        ));
        for (when, rights) in idle {
            context.progress.line(&format!("    {rights} idle until {when}"));
        }
    }
    Ok(())
}

fn nothing_was_denied(user: &str, requests: &[Request]) -> Result<()> {
    let denied: Vec<String> = requests
        .iter()
        .filter(|request| request.code() == 403)
        .map(|request| format!("{} {}", request.verb, request.uri))
        .collect();
    ensure!(
        denied.is_empty(),
        "{user} was denied {} requests, first {}",
        denied.len(),
        denied.first().map_or("", String::as_str)
    );
    Ok(())
}

/// An apply that made the object needed the right to create it, too.
fn deeds(request: &Request) -> Vec<Deed> {
    let Some(object) = &request.object_ref else {
        return Vec::new();
    };
    let resource = match object.subresource.as_str() {
        "" => object.resource.clone(),
        subresource => format!("{}/{subresource}", object.resource),
    };
    let verbs: &[&'static str] = match (request.verb.as_str(), request.code()) {
        ("patch", 201) => &["patch", "create"],
        ("get", _) => &["get"],
        ("list", _) => &["list"],
        ("watch", _) => &["watch"],
        ("create", _) => &["create"],
        ("update", _) => &["update"],
        ("patch", _) => &["patch"],
        ("delete", _) => &["delete"],
        ("deletecollection", _) => &["deletecollection"],
        _ => &[],
    };
    verbs
        .iter()
        .map(|verb| Deed {
            group: object.api_group.clone(),
            resource: resource.clone(),
            verb,
            namespace: object.namespace.clone(),
            name: object.name.clone(),
        })
        .collect()
}

/// The calls of the HostService that capm3 counted, and those that objects prove: its counters start over with it.
async fn calls(context: &Context) -> Result<Vec<Deed>> {
    let mut verbs = BTreeSet::new();
    for (_, scraped) in metrics::scrapes(context, CAPM3).await? {
        for sample in scraped.samples() {
            match (sample.name.as_str(), sample.label("method")) {
                ("metal3_host_service_connected", _) if sample.value > 0.0 => verbs.extend(["watch"]),
                ("metal3_host_service_calls_total", Some(method)) => verbs.extend(verb(method)),
                _ => {}
            }
        }
    }
    for machine in context
        .objects("infrastructure.cluster.x-k8s.io", "v1beta2", "Metal3Machine")
        .await?
    {
        if machine.annotations().contains_key("metal3.io/BareMetalHost") {
            verbs.extend(["claim", "get"]);
        }
    }
    Ok(verbs
        .into_iter()
        .map(|verb| Deed {
            group: AUTHORIZATION_GROUP.to_owned(),
            resource: "hosts".to_owned(),
            verb,
            namespace: String::new(),
            name: String::new(),
        })
        .collect())
}

fn verb(method: &str) -> Option<&'static str> {
    Call::named(method).map(|call| call.verb().as_str())
}

#[cfg(test)]
mod tests {
    use super::granted::Right;
    use super::*;

    fn request(verb: &str, code: u16) -> Request {
        let line = format!(
            r#"{{"verb": "{verb}", "requestURI": "/x", "user": {{"username": "u"}}, "responseStatus": {{"code": {code}}},
               "objectRef": {{"apiGroup": "metal3.io", "resource": "hardwaredata", "namespace": "n", "name": "a"}}}}"#
        );
        serde_json::from_str(&line).unwrap()
    }

    fn right(verb: &str, namespace: Option<&str>, name: Option<&str>) -> Right {
        Right {
            namespace: namespace.map(str::to_owned),
            group: "metal3.io".into(),
            resource: "hardwaredata".into(),
            verb: verb.into(),
            name: name.map(str::to_owned),
        }
    }

    #[test]
    fn a_right_is_used_by_what_it_covers_only() {
        let done = deeds(&request("patch", 201));
        for (right, used) in [
            (right("patch", None, None), true),
            (right("create", Some("n"), None), true),
            (right("get", None, None), false),
            (right("patch", Some("other"), None), false),
            (right("patch", None, Some("a")), true),
            (right("patch", None, Some("b")), false),
        ] {
            assert_eq!(done.iter().any(|deed| right.used_by(deed)), used, "{right:?}");
        }
        assert_eq!(deeds(&request("patch", 200)).len(), 1);
    }

    #[test]
    fn a_denial_is_told() {
        assert!(nothing_was_denied("u", &[request("get", 404)]).is_ok());
        let told = nothing_was_denied("u", &[request("get", 403)])
            .unwrap_err()
            .to_string();
        assert!(told.contains("get /x"), "{told}");
    }
}
