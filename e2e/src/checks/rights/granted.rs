//! What roles that are bound grant.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};

use super::super::Context;
use super::Deed;
use crate::stack::NAMESPACE;

/// A right of a role that is bound.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Right {
    /// Where; everywhere when there is none.
    pub(super) namespace: Option<String>,
    pub(super) group: String,
    pub(super) resource: String,
    pub(super) verb: String,
    /// All objects when there is none.
    pub(super) name: Option<String>,
}

impl Right {
    pub(super) fn title(&self) -> String {
        let mut title = format!("{} {}", self.verb, self.resource);
        if !self.group.is_empty() {
            title.push_str(&format!(".{}", self.group));
        }
        if let Some(name) = &self.name {
            title.push_str(&format!(" {name}"));
        }
        if let Some(namespace) = &self.namespace {
            title.push_str(&format!(" in {namespace}"));
        }
        title
    }

    pub(super) fn used_by(&self, deed: &Deed) -> bool {
        (self.group.as_str(), self.resource.as_str(), self.verb.as_str())
            == (deed.group.as_str(), deed.resource.as_str(), deed.verb)
            && self
                .namespace
                .as_ref()
                .is_none_or(|namespace| *namespace == deed.namespace)
            && self.name.as_ref().is_none_or(|name| *name == deed.name)
    }
}

/// The rights of a ServiceAccount: of all roles that it is bound to by name or by its groups. What every ServiceAccount of
/// every cluster has is not counted.
pub(super) async fn granted(context: &Context, account: &str) -> Result<BTreeSet<Right>> {
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
                    let right = |name: Option<&String>| Right {
                        namespace: namespace.map(str::to_owned),
                        group: group.clone(),
                        resource: resource.clone(),
                        verb: verb.clone(),
                        name: name.cloned(),
                    };
                    // A right on three objects is three rights.
                    match rule.resource_names.as_deref() {
                        Some(names @ [_, ..]) => rights.extend(names.iter().map(|name| right(Some(name)))),
                        _ => rights.extend([right(None)]),
                    }
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

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
