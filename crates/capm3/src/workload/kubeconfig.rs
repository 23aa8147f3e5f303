//! The way into a workload cluster: the kubeconfig that Cluster API keeps in a Secret beside the Cluster.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::config::{AuthInfo, Cluster, KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use metal3_kit::client::brief;
use thiserror::Error;

use crate::objects::Key;

/// Type of the Secrets that Cluster API makes.
const SECRET_TYPE: &str = "cluster.x-k8s.io/secret";
const SECRET_KEY: &str = "value";
const CONNECT_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);

/// Why a workload cluster cannot be entered. Nothing here quotes the Secret.
#[derive(Debug, Error)]
pub(super) enum Problem {
    #[error("the management cluster does not give Secret {key}: {error}", key = .0, error = brief(.1))]
    Kubernetes(Key, kube::Error),
    #[error("Secret {0} does not exist yet; the control plane provider makes it")]
    Missing(Key),
    #[error("Secret {0} is not a kubeconfig of Cluster API: {1}")]
    Unusable(Key, String),
}

/// Where the Secret of a Cluster is: in its own namespace, nowhere else.
pub(super) fn secret_key(cluster: &Key) -> Key {
    Key::new(&cluster.namespace, &format!("{}-kubeconfig", cluster.name))
}

/// Reads the Secret.
pub(super) async fn read(management: &Client, cluster: &Key) -> Result<Secret, Problem> {
    let key = secret_key(cluster);
    let api: Api<Secret> = Api::namespaced(management.clone(), &key.namespace);
    match api.get_opt(&key.name).await {
        Ok(Some(secret)) => Ok(secret),
        Ok(None) => Err(Problem::Missing(key)),
        Err(error) => Err(Problem::Kubernetes(key, error)),
    }
}

/// A client of the workload cluster.
pub(super) async fn client(cluster: &Key, secret: &Secret, user_agent: &str) -> Result<Client, Problem> {
    let key = secret_key(cluster);
    let unusable = |why: &str| Problem::Unusable(key.clone(), why.to_owned());
    if secret.type_.as_deref() != Some(SECRET_TYPE) {
        return Err(unusable(&format!("its type must be {SECRET_TYPE}")));
    }
    let value = secret.data.as_ref().and_then(|data| data.get(SECRET_KEY));
    let Some(ByteString(value)) = value else {
        return Err(unusable(&format!("it has no key {SECRET_KEY}")));
    };
    let kubeconfig = std::str::from_utf8(value)
        .ok()
        .and_then(|text| Kubeconfig::from_yaml(text).ok())
        .ok_or_else(|| unusable(&format!("{SECRET_KEY} cannot be parsed")))?;
    if let Some(field) = forbidden(&kubeconfig) {
        return Err(unusable(&format!(
            "it uses {field}, which would act with the rights of this pod; put data into the Secret itself"
        )));
    }
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(|_| unusable("its current context leads to no usable cluster and user"))?;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    if let Ok(value) = http::HeaderValue::from_str(user_agent) {
        config.headers.push((http::header::USER_AGENT, value));
    }
    Client::try_from(config).map_err(|_| unusable("its certificates or address cannot be used"))
}

/// Whoever may write the Secret must not thereby run programs or read files in this pod.
fn forbidden(kubeconfig: &Kubeconfig) -> Option<&'static str> {
    let users = kubeconfig
        .auth_infos
        .iter()
        .filter_map(|user| user.auth_info.as_ref());
    let clusters = kubeconfig
        .clusters
        .iter()
        .filter_map(|cluster| cluster.cluster.as_ref());
    users
        .filter_map(forbidden_user)
        .chain(clusters.filter_map(forbidden_cluster))
        .next()
}

fn forbidden_user(user: &AuthInfo) -> Option<&'static str> {
    [
        ("exec", user.exec.is_some()),
        ("auth-provider", user.auth_provider.is_some()),
        ("tokenFile", user.token_file.is_some()),
        ("client-certificate", user.client_certificate.is_some()),
        ("client-key", user.client_key.is_some()),
    ]
    .into_iter()
    .find_map(|(field, used)| used.then_some(field))
}

fn forbidden_cluster(cluster: &Cluster) -> Option<&'static str> {
    [
        ("certificate-authority", cluster.certificate_authority.is_some()),
        ("proxy-url", cluster.proxy_url.is_some()),
    ]
    .into_iter()
    .find_map(|(field, used)| used.then_some(field))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(user: &str) -> Secret {
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: a\n\
             contexts: [{{name: a, context: {{cluster: a, user: a}}}}]\n\
             clusters: [{{name: a, cluster: {{server: 'https://127.0.0.1:6443'}}}}]\n\
             users: [{{name: a, user: {user}}}]\n"
        );
        Secret {
            type_: Some(SECRET_TYPE.into()),
            data: Some([(SECRET_KEY.to_owned(), ByteString(text.into_bytes()))].into()),
            ..Secret::default()
        }
    }

    async fn problem(secret: &Secret) -> String {
        let cluster = Key::new("ns", "c");
        match client(&cluster, secret, "test").await {
            Ok(_) => String::new(),
            Err(problem) => problem.to_string(),
        }
    }

    #[tokio::test]
    async fn a_kubeconfig_that_would_act_in_this_pod_is_refused() {
        for user in [
            "{exec: {apiVersion: client.authentication.k8s.io/v1, command: sh}}",
            "{tokenFile: /var/run/secrets/kubernetes.io/serviceaccount/token}",
            "{client-key: /etc/passwd}",
        ] {
            let problem = problem(&secret(user)).await;
            assert!(
                problem.contains("ns/c-kubeconfig") && problem.contains("rights of this pod"),
                "{problem}"
            );
        }
        assert_eq!(problem(&secret("{token: abc}")).await, "");
    }

    #[tokio::test]
    async fn what_is_wrong_is_named_without_quoting_the_secret() {
        let wrong_type = Secret {
            type_: Some("Opaque".into()),
            ..secret("{token: hunter2}")
        };
        assert!(problem(&wrong_type).await.contains("its type must be"));
        let broken = Secret {
            data: Some(
                [(
                    SECRET_KEY.to_owned(),
                    ByteString(b"users: [{token: hunter2".to_vec()),
                )]
                .into(),
            ),
            ..secret("{}")
        };
        let problem = problem(&broken).await;
        assert!(
            problem.contains("cannot be parsed") && !problem.contains("hunter2"),
            "{problem}"
        );
    }
}
