//! What the two ServiceAccounts may do, against what they did: nothing was refused, and no right lies idle without a reason.
//!
//! Granted is what the cluster's own roles say; done is what the audit log of its API server says. Verbs on
//! `hosts.host.metal3.io` are no requests to the API server: bmo asks about them when capm3 calls, so capm3's calls count.

use std::collections::BTreeSet;

use anyhow::{Result, bail, ensure};
use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use metal3_rpc::AUTHORIZATION_GROUP;
use metal3_testkit::audit::{self, Request};

use super::{CAPM3_PODS, Context, metrics};
use crate::stack::{BMO, NAMESPACE};

/// ServiceAccount of capm3; that of bmo is named like its Deployment.
const CAPM3_ACCOUNT: &str = "capm3-manager";

/// Rights that may lie idle: who, group, resource, verb, why.
const IDLE: [(&str, &str, &str, &str, &str); 7] = [
    (
        BMO,
        "metal3.io",
        "baremetalhosts/finalizers",
        "update",
        "asked for by the admission plugin OwnerReferencesPermissionEnforcement, which is off by default",
    ),
    (
        BMO,
        "metal3.io",
        "hardwaredata",
        "get",
        "used when a host is deleted",
    ),
    (
        BMO,
        "",
        "secrets",
        "update",
        "used when a self-signed certificate is renewed",
    ),
    (
        CAPM3_ACCOUNT,
        AUTHORIZATION_GROUP,
        "hosts",
        "list",
        "used when it is unknown which host a machine had",
    ),
    (
        CAPM3_ACCOUNT,
        AUTHORIZATION_GROUP,
        "hosts",
        "provision",
        "used when a claim came without its image",
    ),
    (
        CAPM3_ACCOUNT,
        AUTHORIZATION_GROUP,
        "hosts",
        "release",
        "used when a machine is deleted",
    ),
    (
        CAPM3_ACCOUNT,
        "",
        "secrets",
        "update",
        "used when a self-signed certificate is renewed",
    ),
];

/// A right of a role that is bound.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Right {
    /// Where; everywhere when there is none.
    namespace: Option<String>,
    group: String,
    resource: String,
    verb: String,
    /// All objects when empty.
    names: Vec<String>,
}

impl Right {
    fn title(&self) -> String {
        let Self {
            group,
            resource,
            verb,
            ..
        } = self;
        let place = self
            .namespace
            .as_deref()
            .map_or_else(String::new, |namespace| format!(" in {namespace}"));
        format!("{verb} {resource}.{group}{place}")
    }

    fn used_by(&self, deed: &Deed) -> bool {
        (self.group.as_str(), self.resource.as_str(), self.verb.as_str())
            == (deed.group.as_str(), deed.resource.as_str(), deed.verb)
            && self.namespace.as_ref().is_none_or(|namespace| *namespace == deed.namespace)
            // The API server does not tell the name of what is created.
            && (self.names.is_empty() || self.names.contains(&deed.name))
    }
}

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
        let idle: Vec<&Right> = granted
            .iter()
            .filter(|right| !deeds.iter().any(|deed| right.used_by(deed)))
            .collect();
        for right in &idle {
            let excused = IDLE.iter().any(|(who, group, resource, verb, _)| {
                *who == account && (*group, *resource, *verb) == (&right.group, &right.resource, &right.verb)
            });
            ensure!(
                excused,
                "{user} may {} and never did: take it from its role, or say in e2e/src/checks/rights.rs what for",
                right.title()
            );
        }
        context.progress.line(&format!(
            "{account}: {} requests, none denied; {} rights, {} used{}",
            requests.len(),
            granted.len(),
            granted.len() - idle.len(),
            idle.iter()
                .map(|right| format!(", idle for a reason: {}", right.title()))
                .collect::<String>()
        ));
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
    for pod in context.pods(CAPM3_PODS).await? {
        for sample in metrics::scrape(&pod).await?.samples() {
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
    Some(match method {
        "GetHost" | "GetInventory" => "get",
        "ListHosts" => "list",
        "WatchHosts" => "watch",
        "ClaimHost" => "claim",
        "ProvisionHost" => "provision",
        "ReleaseHost" => "release",
        _ => return None,
    })
}

/// The rights of a ServiceAccount: of all roles that it is bound to by name or by its groups. What every ServiceAccount of
/// every cluster has is not counted.
async fn granted(context: &Context, account: &str) -> Result<BTreeSet<Right>> {
    let (client, all) = (context.client.clone(), ListParams::default());
    let cluster: Api<ClusterRoleBinding> = Api::all(client.clone());
    let namespaced: Api<RoleBinding> = Api::all(client);
    let mut rights = BTreeSet::new();
    for binding in cluster.list(&all).await? {
        if concerns(binding.subjects.as_deref(), account)? {
            add(
                &mut rights,
                None,
                &binding.name_any(),
                rules(context, &binding.role_ref, "").await?,
            )?;
        }
    }
    for binding in namespaced.list(&all).await? {
        if concerns(binding.subjects.as_deref(), account)? {
            let namespace = binding.namespace().unwrap_or_default();
            let rules = rules(context, &binding.role_ref, &namespace).await?;
            add(&mut rights, Some(&namespace), &binding.name_any(), rules)?;
        }
    }
    ensure!(
        !rights.is_empty(),
        "no role is bound to ServiceAccount {NAMESPACE}/{account}"
    );
    Ok(rights)
}

fn concerns(subjects: Option<&[Subject]>, account: &str) -> Result<bool> {
    let own = format!("system:serviceaccounts:{NAMESPACE}");
    for subject in subjects.unwrap_or_default() {
        ensure!(
            subject.kind != "Group" || subject.name != own,
            "a role is bound to all ServiceAccounts of {NAMESPACE}"
        );
        if subject.kind == "ServiceAccount"
            && subject.name == account
            && subject.namespace.as_deref() == Some(NAMESPACE)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn rules(context: &Context, role: &RoleRef, namespace: &str) -> Result<Vec<PolicyRule>> {
    let client = context.client.clone();
    let rules = if role.kind == "ClusterRole" {
        Api::<ClusterRole>::all(client).get(&role.name).await?.rules
    } else {
        Api::<Role>::namespaced(client, namespace)
            .get(&role.name)
            .await?
            .rules
    };
    Ok(rules.unwrap_or_default())
}

fn add(
    rights: &mut BTreeSet<Right>,
    namespace: Option<&str>,
    binding: &str,
    rules: Vec<PolicyRule>,
) -> Result<()> {
    for rule in rules {
        ensure!(
            rule.non_resource_urls.is_none(),
            "{binding} grants paths: {:?}",
            rule.non_resource_urls
        );
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                for verb in &rule.verbs {
                    ensure!(
                        ![group, resource, verb].iter().any(|word| word.contains('*')),
                        "{binding} grants {verb} {resource}.{group}: an asterisk is more than anybody needs"
                    );
                    rights.insert(Right {
                        namespace: namespace.map(str::to_owned),
                        group: group.clone(),
                        resource: resource.clone(),
                        verb: verb.clone(),
                        names: rule.resource_names.clone().unwrap_or_default(),
                    });
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(verb: &str, code: u16) -> Request {
        let line = format!(
            r#"{{"verb": "{verb}", "requestURI": "/x", "user": {{"username": "u"}}, "responseStatus": {{"code": {code}}},
               "objectRef": {{"apiGroup": "metal3.io", "resource": "hardwaredata", "namespace": "n", "name": "a"}}}}"#
        );
        serde_json::from_str(&line).unwrap()
    }

    fn right(verb: &str, namespace: Option<&str>, names: &[&str]) -> Right {
        Right {
            namespace: namespace.map(str::to_owned),
            group: "metal3.io".into(),
            resource: "hardwaredata".into(),
            verb: verb.into(),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    #[test]
    fn a_right_is_used_by_what_it_covers_only() {
        let done = deeds(&request("patch", 201));
        for (right, used) in [
            (right("patch", None, &[]), true),
            (right("create", Some("n"), &[]), true),
            (right("get", None, &[]), false),
            (right("patch", Some("other"), &[]), false),
            (right("patch", None, &["a"]), true),
            (right("patch", None, &["b"]), false),
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

    #[test]
    fn an_asterisk_is_refused() {
        let rule = PolicyRule {
            api_groups: Some(vec![String::new()]),
            resources: Some(vec!["secrets".into()]),
            verbs: vec!["*".into()],
            ..PolicyRule::default()
        };
        assert!(add(&mut BTreeSet::new(), None, "b", vec![rule]).is_err());
    }
}
