//! ServiceAccounts with exactly the rights of a chart.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, Config};
use rcgen::{KeyPair, SigningKey as _};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::control_plane::{ControlPlane, client, load, write_kubeconfig};
use crate::{scratch, wait, workspace};

/// What a ServiceAccount may do.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Everywhere.
    pub cluster: Vec<PolicyRule>,
    /// In its own namespace.
    pub namespace: Vec<PolicyRule>,
}

impl Rules {
    /// Lists of rules, as the charts keep them.
    ///
    /// # Errors
    /// When a file is missing or is not a list of rules.
    pub fn read(cluster: &Path, namespace: &Path) -> Result<Self> {
        Ok(Self {
            cluster: read(cluster)?,
            namespace: read(namespace)?,
        })
    }

    /// The rules of a chart of this workspace.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn of_chart(chart: &str) -> Result<Self> {
        let folder = workspace().join("charts").join(chart).join("rbac");
        Self::read(
            &folder.join("cluster-rules.yaml"),
            &folder.join("namespace-rules.yaml"),
        )
    }

    /// Adds a rule for the whole cluster.
    #[must_use]
    pub fn everywhere(mut self, group: &str, resource: &str, verbs: &[&str]) -> Self {
        self.cluster.push(rule(group, resource, verbs));
        self
    }

    /// Adds a rule for its namespace.
    #[must_use]
    pub fn inside(mut self, group: &str, resource: &str, verbs: &[&str]) -> Self {
        self.namespace.push(rule(group, resource, verbs));
        self
    }
}

fn rule(group: &str, resource: &str, verbs: &[&str]) -> PolicyRule {
    PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(vec![resource.to_owned()]),
        verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
        ..PolicyRule::default()
    }
}

fn read(path: &Path) -> Result<Vec<PolicyRule>> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_saphyr::from_str(&text).with_context(|| format!("{} is not a list of RBAC rules", path.display()))
}

/// A ServiceAccount.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// A token for the API server.
    pub token: String,
    /// File with that token.
    pub token_file: PathBuf,
    /// Kubeconfig with that token.
    pub kubeconfig: PathBuf,
    config: Config,
}

impl Account {
    /// A client with its rights, for the runtime it is made in.
    pub fn client(&self) -> Client {
        client(&self.config)
    }

    /// A kubeconfig that goes through a [`crate::gate::Gate`].
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn kubeconfig_by(&self, url: &str) -> Result<PathBuf> {
        let path = scratch::dir(&self.name)?.join("kubeconfig");
        write_kubeconfig(&path, url, Path::new(""), &json!({"token": self.token}))?;
        Ok(path)
    }

    /// Its user name, as in audit logs.
    pub fn user(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.namespace, self.name)
    }
}

impl ControlPlane {
    /// A ServiceAccount with these rules, usable when this returns.
    ///
    /// # Errors
    /// When Kubernetes refuses.
    pub async fn account(&self, namespace: &str, name: &str, rules: &Rules) -> Result<Account> {
        let admin = self.client();
        self.namespace(namespace).await?;
        apply::<ServiceAccount>(Api::namespaced(admin.clone(), namespace), name, json!({})).await?;
        let subjects = json!([{"kind": "ServiceAccount", "namespace": namespace, "name": name}]);
        let reference = |kind: &str, role: &str| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role});
        if !rules.cluster.is_empty() {
            let role = format!("{namespace}:{name}");
            apply::<ClusterRole>(Api::all(admin.clone()), &role, json!({"rules": rules.cluster})).await?;
            let binding = json!({"roleRef": reference("ClusterRole", &role), "subjects": subjects});
            apply::<ClusterRoleBinding>(Api::all(admin.clone()), &role, binding).await?;
        }
        if !rules.namespace.is_empty() {
            let roles = Api::namespaced(admin.clone(), namespace);
            apply::<Role>(roles, name, json!({"rules": rules.namespace})).await?;
            let binding = json!({"roleRef": reference("Role", name), "subjects": subjects});
            apply::<RoleBinding>(Api::namespaced(admin.clone(), namespace), name, binding).await?;
        }
        let token = self.token(namespace, name, &[]).await?;
        let dir = scratch::dir(name)?;
        let token_file = scratch::file(&dir, "token", &token)?;
        let kubeconfig = dir.join("kubeconfig");
        write_kubeconfig(&kubeconfig, &self.url, &self.ca_file(), &json!({"token": token}))?;
        let config = load(&kubeconfig).await?;
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        let account = Account {
            namespace,
            name,
            token,
            token_file,
            kubeconfig,
            config,
        };
        for (rule, place) in rules.cluster.iter().map(|rule| (rule, "")).chain(
            rules
                .namespace
                .iter()
                .map(|rule| (rule, account.namespace.as_str())),
        ) {
            in_force(&account, rule, place).await?;
        }
        Ok(account)
    }

    /// A token of a ServiceAccount for these audiences; none means the API server.
    ///
    /// # Errors
    /// When Kubernetes refuses.
    pub async fn token(&self, namespace: &str, name: &str, audiences: &[&str]) -> Result<String> {
        let api: Api<ServiceAccount> = Api::namespaced(self.client(), namespace);
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                audiences: Some(audiences.iter().map(|audience| (*audience).to_owned()).collect()),
                expiration_seconds: Some(24 * 3600),
                ..TokenRequestSpec::default()
            }),
            ..TokenRequest::default()
        };
        let answer = api
            .create_token_request(name, &PostParams::default(), &request)
            .await?;
        answer
            .status
            .and_then(|status| status.token)
            .context("Kubernetes gave no token")
    }

    /// A token for the API server that ends so many seconds from now, or ended that long ago: Kubernetes itself gives none
    /// for less than ten minutes.
    ///
    /// # Errors
    /// When there is no such ServiceAccount.
    pub async fn token_ending(&self, namespace: &str, name: &str, seconds: i64) -> Result<String> {
        let api: Api<ServiceAccount> = Api::namespaced(self.client(), namespace);
        let uid = api.get(name).await?.metadata.uid;
        let key = fs::read_to_string(self.dir.join("accounts.key"))?;
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;
        let issuer = "https://kubernetes.default.svc";
        let claims = json!({
            "iss": issuer,
            "aud": [issuer],
            "sub": format!("system:serviceaccount:{namespace}:{name}"),
            "iat": now - 24 * 3600,
            "nbf": now - 24 * 3600,
            "exp": now + seconds,
            "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": name, "uid": uid}},
        });
        signed(&claims, &KeyPair::from_pem(&key)?)
    }
}

/// A JSON Web Token.
fn signed(claims: &Value, key: &KeyPair) -> Result<String> {
    let header = json!({"alg": "ES256", "typ": "JWT"});
    let mut token = [header, claims.clone()]
        .map(|part| URL_SAFE_NO_PAD.encode(part.to_string()))
        .join(".");
    let signature = flat(&key.sign(token.as_bytes())?).context("the key is not of P-256")?;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    Ok(token)
}

/// Both numbers of an ECDSA signature in DER, as tokens have them: 32 bytes each.
fn flat(der: &[u8]) -> Option<Vec<u8>> {
    let mut rest = der.get(2..)?;
    let mut flat = Vec::new();
    for _ in 0..2 {
        let (&[_, length], after) = rest.split_first_chunk()?;
        let (number, after) = after.split_at_checked(length.into())?;
        // Shorter ones lack zeros, and one whose first bit is set has one more.
        let number = number.get(number.len().saturating_sub(32)..)?;
        flat.extend(std::iter::repeat_n(0, 32 - number.len()));
        flat.extend(number);
        rest = after;
    }
    Some(flat)
}

async fn apply<K>(api: Api<K>, name: &str, mut object: Value) -> Result<()>
where
    K: kube::Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    object["apiVersion"] = json!(K::api_version(&()));
    object["kind"] = json!(K::kind(&()));
    object["metadata"] = json!({"name": name});
    api.patch(
        name,
        &PatchParams::apply("testkit").force(),
        &Patch::Apply(&object),
    )
    .await
    .with_context(|| format!("cannot apply {} {name}", K::kind(&())))?;
    Ok(())
}

/// The API server learns of roles by a watch of its own.
async fn in_force(account: &Account, rule: &PolicyRule, place: &str) -> Result<()> {
    let first = |list: &Option<Vec<String>>| list.as_ref().and_then(|list| list.first()).cloned();
    let Some(resource) = first(&rule.resources) else {
        return Ok(());
    };
    let (resource, subresource) = match resource.split_once('/') {
        Some((resource, subresource)) => (resource.to_owned(), Some(subresource.to_owned())),
        None => (resource, None),
    };
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                group: first(&rule.api_groups),
                resource: Some(resource),
                subresource,
                name: first(&rule.resource_names),
                namespace: Some(place.to_owned()),
                verb: rule.verbs.first().cloned(),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let api: Api<SelfSubjectAccessReview> = Api::all(account.client());
    wait::try_until("a role to be in force", wait::LONG, async || {
        let answer = api
            .create(&PostParams::default(), &review)
            .await
            .map_err(|error| error.to_string())?;
        match answer.status {
            Some(status) if status.allowed => Ok(()),
            status => Err(format!("{rule:?}: {status:?}")),
        }
    })
    .await?;
    Ok(())
}
