//! `metal3-bmo check`: the HostService and the webhooks as their callers see them.

mod webhook;

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use metal3_kit::check::{ClientFiles, Server, found};
use metal3_kit::client::KubeArgs;
use metal3_rpc::reason::Reason;
use metal3_rpc::v1::ListHostsRequest;
use metal3_rpc::v1::host_service_client::HostServiceClient;
use tonic::Code;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

const SERVICE: &str = "metal3.host.v1.HostService";
const LIMIT: std::time::Duration = std::time::Duration::from_secs(10);

/// Where to look.
#[derive(clap::Args, Clone, Debug)]
pub struct CheckArgs {
    /// URL of the HostService.
    #[arg(long)]
    pub host_service: String,
    /// PEM file of the CA that signed its certificate.
    #[arg(long)]
    pub ca_file: PathBuf,
    /// PEM file of a client certificate, if the HostService asks for one.
    #[arg(long, requires = "key_file")]
    pub cert_file: Option<PathBuf>,
    /// PEM file of its key.
    #[arg(long, requires = "cert_file")]
    pub key_file: Option<PathBuf>,
    /// Namespace where BareMetalHosts are made on trial, by dry run, to see whether the webhook judges them; without it
    /// webhooks are not looked at.
    #[arg(long)]
    pub webhook_namespace: Option<String>,
    #[command(flatten)]
    pub kube: KubeArgs,
}

/// Looks at a running HostService and at the webhooks, and tells what it finds.
///
/// # Errors
/// At the first thing that is not as it should be.
pub async fn check(args: &CheckArgs) -> Result<()> {
    let client = ClientFiles::given(args.cert_file.as_deref(), args.key_file.as_deref());
    let server = Server::new("host service", &args.host_service, Some(&args.ca_file))?.shown(client.clone());
    // A connection of its own, because it knows why a certificate is refused.
    server.verified().await?;
    let pem = std::fs::read(&args.ca_file)
        .with_context(|| format!("cannot read the CA of {server} from {}", args.ca_file.display()))?;
    let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem));
    if let Some(files) = client {
        let (certificate, key) = files.read()?;
        tls = tls.identity(Identity::from_pem(certificate, key));
    }
    let channel = Endpoint::from_shared(args.host_service.clone())
        .and_then(|endpoint| endpoint.timeout(LIMIT).tls_config(tls))
        .with_context(|| format!("{server} has no usable address"))?
        .connect_lazy();
    healthy(&server, channel.clone()).await?;
    reflected(&server, channel.clone()).await?;
    guarded(&server, channel).await?;
    let Some(namespace) = &args.webhook_namespace else {
        return Ok(());
    };
    let client = args
        .kube
        .client(concat!("metal3-bmo-check/", env!("CARGO_PKG_VERSION")))
        .await?;
    webhook::judges(&client, namespace).await
}

async fn healthy(server: &Server, channel: Channel) -> Result<()> {
    let request = HealthCheckRequest {
        service: SERVICE.to_owned(),
    };
    let answer = HealthClient::new(channel).check(request).await.with_context(|| {
        format!("{server} does not answer health checks: see whether the URL is that of bmo")
    })?;
    let status = answer.into_inner().status();
    ensure!(
        status == ServingStatus::Serving,
        "{server} says {} of {SERVICE}: it has not read the hosts yet; see the log of bmo",
        status.as_str_name()
    );
    found(&format!("{server} says SERVING of {SERVICE}"));
    Ok(())
}

async fn reflected(server: &Server, channel: Channel) -> Result<()> {
    let problem = || format!("{server} does not list its services: see whether bmo is of this release");
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers = ServerReflectionClient::new(channel)
        .server_reflection_info(futures::stream::iter([request]))
        .await
        .with_context(problem)?
        .into_inner();
    let answer = answers.message().await.with_context(problem)?;
    let Some(MessageResponse::ListServicesResponse(list)) = answer.and_then(|answer| answer.message_response)
    else {
        bail!(problem());
    };
    let names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    ensure!(
        names.iter().any(|name| name == SERVICE),
        "{server} lists {names:?} without {SERVICE}: see whether the URL is that of bmo"
    );
    found(&format!("{server} lists {SERVICE} by reflection"));
    Ok(())
}

/// Nobody is let in without a token.
async fn guarded(server: &Server, channel: Channel) -> Result<()> {
    let answer = HostServiceClient::new(channel)
        .list_hosts(ListHostsRequest::default())
        .await;
    match answer {
        Err(status)
            if status.code() == Code::Unauthenticated
                && Reason::of(&status) == Some(Reason::TokenInvalid) =>
        {
            found(&format!(
                "{server} refuses a call without token as UNAUTHENTICATED"
            ));
            Ok(())
        }
        Err(status) => bail!(
            "{server} answers a call without token by {:?} {:?} instead of UNAUTHENTICATED: see the log of bmo",
            status.code(),
            status.message()
        ),
        Ok(_) => bail!(
            "{server} lists hosts to callers without a token: take it off the network, and see what is between it and \
             bmo"
        ),
    }
}
