//! TLS as another implementation sees it: OpenSSL.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use metal3_testkit::wait::try_until;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;

use super::super::Context;
use crate::stack::NAMESPACE;

const HOST_SERVICE: &str = "baremetal-operator-host-service";
/// Its webhooks have another CA than the HostService.
const CAPM3_WEBHOOKS: &str = "capm3-webhook-service";
/// kubelet looks for new content of a Secret that is mounted about once a minute.
const RENEWAL: Duration = Duration::from_secs(180);
/// How an HTTP/2 client begins: a preface and its empty settings.
const PLAINTEXT: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

pub(super) async fn check(context: &Context) -> Result<()> {
    let folder = context.bed.dir.join("tls");
    std::fs::create_dir_all(&folder)?;
    let bundles = bundles(context).await?;
    let other = bundles
        .iter()
        .find(|bundle| bundle.service == CAPM3_WEBHOOKS)
        .context("no webhook of capm3 is configured")?;
    let other_ca = file(&folder, "webhook.crt", &other.ca)?;
    host_service(context, &folder, &other_ca).await?;

    let mut verified = BTreeMap::<&str, usize>::new();
    for Bundle { of, service, ca } in &bundles {
        let ca = file(&folder, "bundle.crt", ca)?;
        let server = Server::new(service, 443);
        // Issued anew, it is in the bundle before kubelet gives it to the pod.
        let what = format!("the caBundle of {of} to verify {}", server.name);
        let renewed = async || {
            let verified = server.verify(&ca, &[]).await;
            verified.map_err(|error| format!("{error:#}"))
        };
        try_until(&what, RENEWAL, renewed).await?;
        *verified.entry(service).or_default() += 1;
    }
    for (service, count) in verified {
        context.progress.line(&format!(
            "{service}: its certificate verifies with each of {count} caBundles of webhooks and CRDs"
        ));
    }
    ironic(context).await
}

/// With what the API server verifies a Service.
struct Bundle {
    /// The webhook, or the CRD that is converted.
    of: String,
    service: String,
    ca: Vec<u8>,
}

impl Bundle {
    fn new(of: String, service: String, ca: Option<ByteString>) -> Self {
        Self {
            of,
            service,
            ca: ca.map(|ca| ca.0).unwrap_or_default(),
        }
    }
}

/// A Service as a client dials it.
struct Server {
    name: String,
    port: u16,
}

impl Server {
    fn new(service: &str, port: u16) -> Self {
        Self {
            name: format!("{service}.{NAMESPACE}.svc"),
            port,
        }
    }

    /// A handshake that checks the name and the CA.
    ///
    /// # Errors
    /// What OpenSSL said.
    async fn verify(&self, ca: &Path, flags: &[&str]) -> Result<()> {
        self.handshake(&self.name, ca, flags).await
    }

    async fn handshake(&self, name: &str, ca: &Path, flags: &[&str]) -> Result<()> {
        let mut openssl = Command::new("openssl");
        openssl
            .args(["s_client", "-connect", &format!("{}:{}", self.name, self.port)])
            .args(["-servername", name, "-verify_hostname", name])
            .args(["-verify_return_error", "-CAfile"])
            .arg(ca)
            .args(["-no-CApath", "-no-CAstore"])
            .args(flags)
            .stdin(std::process::Stdio::null());
        let output = openssl.output().await.context("openssl cannot be started")?;
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        // A client that ends right after the handshake is a success, too.
        if output.status.success() && text.contains("Verify return code: 0 (ok)") {
            return Ok(());
        }
        let telling = |line: &&str| line.contains("rror") || line.contains("alert");
        let told: Vec<&str> = text.lines().filter(telling).take(3).collect();
        bail!("{}", told.join("; "))
    }

    /// What the server answers to a client that speaks no TLS.
    async fn plaintext(&self) -> Result<Vec<u8>> {
        let mut stream = TcpStream::connect((self.name.as_str(), self.port)).await?;
        stream.write_all(PLAINTEXT).await?;
        let mut answer = Vec::new();
        // A reset says no as well as an end.
        let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer));
        drop(read.await.context("the server keeps the connection open")?);
        Ok(answer)
    }
}

fn refused(what: &str, answer: Result<()>, word: &str) -> Result<()> {
    let Err(error) = answer else {
        bail!("{HOST_SERVICE} {what}");
    };
    let text = format!("{error:#}").to_lowercase();
    ensure!(
        text.contains(word),
        "{HOST_SERVICE}: expected a refusal for {word:?}, got: {text}"
    );
    Ok(())
}

async fn host_service(context: &Context, folder: &Path, other_ca: &Path) -> Result<()> {
    let server = Server::new(HOST_SERVICE, 8443);
    let ca = file(folder, "host-service.crt", &published_ca(context).await?)?;
    server
        .verify(&ca, &["-tls1_3"])
        .await
        .with_context(|| format!("{} by TLS 1.3 with its published CA", server.name))?;
    let old = server.verify(&ca, &["-tls1_2"]).await;
    refused("speaks TLS 1.2", old, "alert")?;
    let foreign = server.verify(other_ca, &[]).await;
    refused("verifies with a CA that is not its own", foreign, "verify error")?;
    let elsewhere = server.handshake("elsewhere.example.com", &ca, &[]).await;
    refused("has a certificate for any name", elsewhere, "hostname mismatch")?;
    let answer = server.plaintext().await.context(HOST_SERVICE)?;
    // 21 is a TLS alert; the settings of HTTP/2 would begin with their length.
    ensure!(
        answer.first().is_none_or(|first| *first == 21),
        "{HOST_SERVICE} answers {} bytes to a client without TLS",
        answer.len()
    );
    context.progress.line(&format!(
        "{HOST_SERVICE}: TLS 1.3 with its own CA and name; refused: TLS 1.2, another CA, another name, no TLS"
    ));
    Ok(())
}

/// A ConfigMap where bmo makes its certificate itself, and the Secret of cert-manager otherwise.
async fn published_ca(context: &Context) -> Result<Vec<u8>> {
    let maps: Api<ConfigMap> = Api::namespaced(context.client.clone(), NAMESPACE);
    let map = maps.get_opt("baremetal-operator-host-service-ca").await?;
    if let Some(ca) = map.and_then(|map| map.data?.remove("ca.crt")) {
        return Ok(ca.into_bytes());
    }
    let secrets: Api<Secret> = Api::namespaced(context.client.clone(), NAMESPACE);
    let secret = secrets.get("baremetal-operator-host-service-cert").await?;
    let ca = secret.data.and_then(|mut data| data.remove("ca.crt"));
    Ok(ca
        .context("Secret baremetal-operator-host-service-cert has no ca.crt")?
        .0)
}

/// The CA bundles by which the API server knows our webhooks.
async fn bundles(context: &Context) -> Result<Vec<Bundle>> {
    let (client, all) = (context.client.clone(), ListParams::default());
    let mut configs = Vec::new();
    for configuration in Api::<ValidatingWebhookConfiguration>::all(client.clone())
        .list(&all)
        .await?
    {
        let webhooks = configuration.webhooks.into_iter().flatten();
        configs.extend(webhooks.map(|webhook| (webhook.name, webhook.client_config)));
    }
    for configuration in Api::<MutatingWebhookConfiguration>::all(client.clone())
        .list(&all)
        .await?
    {
        let webhooks = configuration.webhooks.into_iter().flatten();
        configs.extend(webhooks.map(|webhook| (webhook.name, webhook.client_config)));
    }
    let mut found: Vec<Bundle> = configs
        .into_iter()
        .filter_map(|(name, to)| {
            let to_service = to.service.filter(|service| service.namespace == NAMESPACE)?;
            Some(Bundle::new(name, to_service.name, to.ca_bundle))
        })
        .collect();
    for crd in Api::<CustomResourceDefinition>::all(client).list(&all).await? {
        let conversion = crd.spec.conversion.as_ref();
        let webhook = conversion.and_then(|conversion| conversion.webhook.as_ref());
        if let Some(to) = webhook.and_then(|webhook| webhook.client_config.as_ref())
            && let Some(service) = &to.service
            && service.namespace == NAMESPACE
        {
            let service = service.name.clone();
            found.push(Bundle::new(crd.name_any(), service, to.ca_bundle.clone()));
        }
    }
    Ok(found)
}

/// The real one is reached by TLS, the simulation needs none.
async fn ironic(context: &Context) -> Result<()> {
    let maps: Api<ConfigMap> = Api::namespaced(context.client.clone(), NAMESPACE);
    let settings = maps.get("ironic").await?.data.unwrap_or_default();
    let setting = |name: &str| settings.get(name).map_or("", String::as_str);
    let endpoint = setting("IRONIC_ENDPOINT");
    let scheme = if context.plan.sim { "http://" } else { "https://" };
    ensure!(
        endpoint.starts_with(scheme),
        "bmo reaches Ironic at {endpoint:?}, expected {scheme}"
    );
    if !context.plan.sim {
        let pods = context.pods(super::super::BMO_PODS).await?;
        let volumes = pods
            .iter()
            .filter_map(|pod| pod.spec.as_ref()?.volumes.as_ref())
            .flatten();
        let ca = volumes
            .filter(|volume| volume.name.ends_with("ca") || volume.name.ends_with("cacert"))
            .count();
        ensure!(ca > 0, "bmo is not given the CA of Ironic");
        ensure!(
            setting("IRONIC_INSECURE") != "true",
            "bmo accepts any certificate of Ironic"
        );
    }
    context.progress.line(&format!("Ironic: {endpoint}"));
    Ok(())
}

fn file(folder: &Path, name: &str, pem: &[u8]) -> Result<PathBuf> {
    let path = folder.join(name);
    std::fs::write(&path, pem)?;
    Ok(path)
}
