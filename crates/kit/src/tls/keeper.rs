//! Keeps a certificate of our own in two Secrets: `<name>` for the certificate and `<name>-ca` for its authority.
//!
//! Replicas agree by the API server: whoever writes a version that is no longer there reads again. Whoever removes
//! `<name>-ca` gets a new authority at once, which nobody trusts before it was told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::core::ObjectMeta;
use kube::{Api, Client, ResourceExt as _};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::issue::{Authority, Leaf, State, Terms};
use super::{Certificate, LOOK};
use crate::client::brief;

pub(super) const LABEL: (&str, &str) = ("app.kubernetes.io/managed-by", "metal3");
const TYPE: &str = "kubernetes.io/tls";
/// Writes that others may get ahead of before something must be wrong.
const ATTEMPTS: usize = 10;

/// Makes, renews and follows the certificate of a Service.
#[derive(Clone)]
pub struct Keeper {
    api: Api<Secret>,
    namespace: String,
    name: String,
    names: Vec<String>,
    terms: Terms,
    look: Duration,
}

/// A certificate that was obtained.
#[derive(Debug)]
pub struct Kept {
    /// For a listener.
    pub certificate: Arc<Certificate>,
    /// The authorities to trust, PEM; for a [`super::Publisher`].
    pub bundle: watch::Receiver<String>,
    /// The certificate with what leads to its authorities, PEM.
    pub chain: String,
    sender: watch::Sender<String>,
}

impl Keeper {
    /// For the names of a Service of this namespace.
    pub fn new(client: Client, namespace: &str, secret: &str, service: &str) -> Self {
        let host = format!("{service}.{namespace}.svc");
        Self {
            api: Api::namespaced(client, namespace),
            namespace: namespace.to_owned(),
            name: secret.to_owned(),
            names: vec![host.clone(), format!("{host}.cluster.local")],
            terms: Terms::default(),
            look: LOOK,
        }
    }

    /// With other lifetimes, looking at the Secrets this often.
    #[must_use]
    pub fn with_terms(mut self, terms: Terms, look: Duration) -> Self {
        (self.terms, self.look) = (terms, look);
        self
    }

    /// Reads the certificate, or makes it.
    ///
    /// # Errors
    /// When Kubernetes refuses, or a Secret is not ours.
    pub async fn obtain(&self, now: Timestamp) -> Result<Kept> {
        let leaf = self.settle(now).await?;
        let certificate = Certificate::from_pem(leaf.chain.as_bytes(), leaf.key.expose_secret().as_bytes())?;
        let (sender, bundle) = watch::channel(leaf.bundle);
        Ok(Kept {
            certificate,
            bundle,
            sender,
            chain: leaf.chain,
        })
    }

    /// Renews what was obtained when it is time, and takes over what others renewed, until shutdown.
    ///
    /// # Errors
    /// Never; it has the form of a task.
    pub async fn follow(self, mut kept: Kept, shutdown: CancellationToken) -> Result<()> {
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.look) => {}
                () = shutdown.cancelled() => return Ok(()),
            }
            if let Err(error) = self.refresh(&mut kept, Timestamp::now()).await {
                // The one in use has a third of its life left.
                tracing::warn!(error = format!("{error:#}"), "certificate not looked after");
            }
        }
    }

    /// One look at the Secrets.
    ///
    /// # Errors
    /// As [`Self::obtain`]; the certificate in use stays.
    pub async fn refresh(&self, kept: &mut Kept, now: Timestamp) -> Result<()> {
        let leaf = self.settle(now).await?;
        if leaf.chain != kept.chain {
            kept.certificate
                .replace(leaf.chain.as_bytes(), leaf.key.expose_secret().as_bytes())?;
            tracing::info!(secret = %self.title(&self.name), "certificate exchanged");
            kept.chain = leaf.chain;
        }
        kept.sender.send_if_modified(|bundle| {
            let changed = *bundle != leaf.bundle;
            *bundle = leaf.bundle;
            changed
        });
        Ok(())
    }

    /// Makes the Secrets what they should be, and answers what they are.
    async fn settle(&self, now: Timestamp) -> Result<Leaf> {
        for _ in 0..ATTEMPTS {
            let Some(authority) = self.authority(now).await? else {
                continue;
            };
            if let Some(leaf) = self.leaf(&authority, now).await? {
                return Ok(leaf);
            }
        }
        bail!(
            "Secrets {} and {}-ca are changed by others all the time: see who else writes them",
            self.title(&self.name),
            self.name
        )
    }

    /// `None` when somebody was faster.
    async fn authority(&self, now: Timestamp) -> Result<Option<Authority>> {
        let name = format!("{}-ca", self.name);
        let stored = self.read(&name).await?;
        let (authority, why) = match &stored {
            None => (
                Authority::create(&name, self.terms, now)?,
                "there was none".to_owned(),
            ),
            Some(secret) => {
                let authority = authority(secret);
                match authority.judge(now) {
                    State::Good => return Ok(Some(authority)),
                    State::Due => (
                        authority.succeed(&name, self.terms, now)?,
                        "it was time".to_owned(),
                    ),
                    State::Unusable(why) => (Authority::create(&name, self.terms, now)?, why),
                }
            }
        };
        let mut data = vec![
            ("tls.crt", authority.certificates.as_str()),
            ("tls.key", authority.key.expose_secret()),
        ];
        data.extend(authority.cross.as_deref().map(|cross| ("cross.crt", cross)));
        let written = self.write(&name, stored, &data, &why).await?;
        Ok(written.then_some(authority))
    }

    /// As [`Self::authority`].
    async fn leaf(&self, authority: &Authority, now: Timestamp) -> Result<Option<Leaf>> {
        let stored = self.read(&self.name).await?;
        let bundle = authority.bundle(now)?;
        let issue = || Leaf::issue(authority, &self.names, self.terms, now);
        let (leaf, why) = match &stored {
            None => (issue()?, "there was none".to_owned()),
            Some(secret) => {
                let mut leaf = leaf(secret);
                match leaf.judge(&bundle, &self.names, now) {
                    State::Good if leaf.bundle == bundle => return Ok(Some(leaf)),
                    State::Good => {
                        leaf.bundle = bundle;
                        (leaf, "its authority was renewed".to_owned())
                    }
                    State::Due => (issue()?, "it was time".to_owned()),
                    State::Unusable(why) => (issue()?, why),
                }
            }
        };
        let data = [
            ("tls.crt", leaf.chain.as_str()),
            ("tls.key", leaf.key.expose_secret()),
            ("ca.crt", leaf.bundle.as_str()),
        ];
        let written = self.write(&self.name, stored, &data, &why).await?;
        Ok(written.then_some(leaf))
    }

    /// A Secret of ours; one of somebody else is an error, whatever is in it.
    async fn read(&self, name: &str) -> Result<Option<Secret>> {
        let secret = self.api.get_opt(name).await.map_err(|error| {
            anyhow::anyhow!(
                "cannot read Secret {}: {}; grant get on it by a Role",
                self.title(name),
                brief(&error)
            )
        })?;
        if let Some(secret) = &secret
            && secret.labels().get(LABEL.0).map(String::as_str) != Some(LABEL.1)
        {
            bail!(
                "Secret {} is not ours: it has no label {}={}; remove it, or let us overwrite it by adding the label, \
                 or choose another name",
                self.title(name),
                LABEL.0,
                LABEL.1
            );
        }
        Ok(secret)
    }

    /// Whether it was written; not when somebody was faster.
    async fn write(
        &self,
        name: &str,
        stored: Option<Secret>,
        data: &[(&str, &str)],
        why: &str,
    ) -> Result<bool> {
        let data = data
            .iter()
            .map(|(key, text)| ((*key).to_owned(), ByteString(text.as_bytes().to_vec())));
        let params = PostParams::default();
        let result = match stored {
            None => {
                let secret = Secret {
                    metadata: ObjectMeta {
                        name: Some(name.to_owned()),
                        labels: Some(BTreeMap::from([(LABEL.0.to_owned(), LABEL.1.to_owned())])),
                        ..ObjectMeta::default()
                    },
                    type_: Some(TYPE.to_owned()),
                    data: Some(data.collect()),
                    ..Secret::default()
                };
                self.api.create(&params, &secret).await
            }
            // Guarded by the resourceVersion that was read.
            Some(mut secret) => {
                secret.data = Some(data.collect());
                self.api.replace(name, &params, &secret).await
            }
        };
        match result {
            Ok(_) => {
                tracing::info!(secret = %self.title(name), why, "certificate issued");
                Ok(true)
            }
            // Lost a race, or the Secret was removed since: both show at the next look.
            Err(kube::Error::Api(error)) if matches!(error.code, 404 | 409) => Ok(false),
            Err(error) => bail!(
                "cannot write Secret {}: {}; grant create on Secrets and update on this one by a Role",
                self.title(name),
                brief(&error)
            ),
        }
    }

    fn title(&self, name: &str) -> String {
        format!("{}/{name}", self.namespace)
    }
}

/// Content of a Secret; what is missing or no text becomes empty, and is judged later.
fn text(secret: &Secret, key: &str) -> String {
    let value = secret.data.as_ref().and_then(|data| data.get(key));
    value
        .and_then(|value| std::str::from_utf8(&value.0).ok())
        .unwrap_or_default()
        .to_owned()
}

fn authority(secret: &Secret) -> Authority {
    Authority {
        certificates: text(secret, "tls.crt"),
        key: SecretString::from(text(secret, "tls.key")),
        cross: Some(text(secret, "cross.crt")).filter(|cross| !cross.is_empty()),
    }
}

fn leaf(secret: &Secret) -> Leaf {
    Leaf {
        chain: text(secret, "tls.crt"),
        key: SecretString::from(text(secret, "tls.key")),
        bundle: text(secret, "ca.crt"),
    }
}
