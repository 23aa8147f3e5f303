//! The Kubernetes client.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;
use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::metrics::Metrics;
use crate::requests::Counted;

/// Where Kubernetes is.
#[derive(Args, Clone, Debug, Default)]
pub struct KubeArgs {
    /// Kubeconfig file; without it the one of the environment, else that of the pod.
    #[arg(long)]
    pub kubeconfig: Option<PathBuf>,
}

impl KubeArgs {
    /// Connects lazily; nothing is sent yet.
    ///
    /// # Errors
    /// When no configuration is found or it cannot be read.
    pub async fn client(&self, user_agent: &str) -> Result<Client> {
        Ok(Client::try_from(self.config(user_agent).await?)?)
    }

    /// As [`Self::client`], with the requests counted.
    ///
    /// # Errors
    /// As [`Self::client`].
    pub async fn counted_client(&self, user_agent: &str, metrics: &Metrics) -> Result<Client> {
        let config = self.config(user_agent).await?;
        let host = config.cluster_url.authority().map(ToString::to_string);
        let counted = Counted::new(metrics, &host.unwrap_or_default());
        Ok(ClientBuilder::try_from(config)?.with_layer(&counted).build())
    }

    async fn config(&self, user_agent: &str) -> Result<Config> {
        let mut config = match &self.kubeconfig {
            Some(path) => {
                let file = Kubeconfig::read_from(path)
                    .with_context(|| format!("cannot read kubeconfig {}", path.display()))?;
                Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?
            }
            None => Config::infer()
                .await
                .context("no Kubernetes configuration: give --kubeconfig, set KUBECONFIG, or run in a pod")?,
        };
        config.headers.push((
            http::header::USER_AGENT,
            http::HeaderValue::from_str(user_agent).context("invalid user agent")?,
        ));
        Ok(config)
    }
}

/// An error of Kubernetes for people; its own text repeats the whole status in Debug form.
pub fn brief(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => {
            let message = if status.message.is_empty() {
                "no message"
            } else {
                &status.message
            };
            format!("{message} ({} {})", status.code, status.reason)
        }
        other => other.to_string(),
    }
}
