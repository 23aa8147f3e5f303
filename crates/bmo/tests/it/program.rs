//! The program under test.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use metal3_rpc::v1::host_service_client::HostServiceClient;
use metal3_testkit::certs::{self, ServerDir};
use metal3_testkit::process::{Process, Program};
use metal3_testkit::{http, port, wait};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Status};

/// A running bmo.
pub(crate) struct Bmo {
    pub(crate) process: Arc<Process>,
    pub(crate) certificates: ServerDir,
    grpc: u16,
    health: u16,
    pub(crate) metrics: u16,
    pub(crate) webhook: u16,
}

/// How to start one.
pub(crate) struct Launch<'a> {
    pub(crate) kubeconfig: &'a Path,
    /// Namespaces to watch; empty: all.
    pub(crate) watch: &'a str,
    /// Where its leases are.
    pub(crate) home: &'a str,
    pub(crate) ironic: &'a str,
    pub(crate) leader_election: bool,
}

impl Launch<'_> {
    pub(crate) fn start(self) -> Bmo {
        self.start_with(&[])
    }

    /// With more flags.
    pub(crate) fn start_with(self, flags: &[&str]) -> Bmo {
        self.start_in(flags, &[])
    }

    /// With more variables, too.
    pub(crate) fn start_in(self, flags: &[&str], variables: &[(&str, &str)]) -> Bmo {
        let Self {
            kubeconfig,
            watch,
            home,
            ironic,
            leader_election,
        } = self;
        let certificates = certs::server_dir(&["localhost", "127.0.0.1"]).unwrap();
        let [grpc, health, metrics, webhook] = [(); 4].map(|()| port::free().unwrap());
        let address = |port: u16| format!("127.0.0.1:{port}");
        let nowhere = PathBuf::from("/nonexistent");
        let program = Program::new(env!("CARGO_BIN_EXE_metal3-bmo"))
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .args(["--namespace", watch, "--pod-namespace", home])
            .args(["--grpc-bind-address", &address(grpc)])
            .args([
                "--health-addr",
                &address(health),
                "--metrics-addr",
                &address(metrics),
            ])
            .arg("--grpc-cert-dir")
            .arg(&certificates.dir)
            .args(["--webhook-port", &webhook.to_string()])
            .arg("--webhook-cert-dir")
            .arg(&certificates.dir)
            .arg(format!("--leader-elect={leader_election}"))
            .args(flags)
            .env("IRONIC_ENDPOINT", ironic)
            .env("METAL3_AUTH_ROOT_DIR", &nowhere)
            .env("IRONIC_CACERT_FILE", &nowhere)
            .env("RUST_LOG", "info,metal3_bmo=debug");
        let process = variables
            .iter()
            .fold(program, |program, (name, value)| program.env(name, value))
            .start()
            .unwrap();
        Bmo {
            process: Arc::new(process),
            certificates,
            grpc,
            health,
            metrics,
            webhook,
        }
    }
}

pub(crate) type Hosts = HostServiceClient<InterceptedService<Channel, Bearer>>;

/// Sends a token with each call.
#[derive(Clone)]
pub(crate) struct Bearer(Option<MetadataValue<Ascii>>);

impl Bearer {
    pub(crate) fn new(token: Option<&str>) -> Self {
        Self(token.map(|token| format!("Bearer {token}").parse().unwrap()))
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

impl Bmo {
    /// Waits until it says so itself.
    pub(crate) async fn ready(&self) {
        let url = format!("http://127.0.0.1:{}/readyz", self.health);
        wait::until("bmo to be ready", wait::LONG, async || {
            if let Some(status) = self.process.ended() {
                panic!("bmo ended with {status}:\n{}", self.process.log_end(20));
            }
            match http::get(&url).await {
                Ok((200, _)) => Ok(()),
                Ok((code, body)) => Err(format!("{code} {body}")),
                Err(error) => Err(format!("{error:#}")),
            }
        })
        .await;
    }

    /// What it says of its readiness.
    pub(crate) async fn readyz(&self) -> String {
        let (_, body) = http::get(&format!("http://127.0.0.1:{}/readyz", self.health))
            .await
            .unwrap();
        body
    }

    pub(crate) async fn metrics(&self) -> String {
        let (code, text) = http::get(&format!("http://127.0.0.1:{}/metrics", self.metrics))
            .await
            .unwrap();
        assert_eq!(code, 200);
        text
    }

    pub(crate) fn address(&self) -> String {
        format!("localhost:{}", self.grpc)
    }

    pub(crate) fn channel(&self) -> Channel {
        self.channel_by(&self.certificates.ca, "localhost")
    }

    /// To a server that shows this name, under this authority.
    pub(crate) fn channel_by(&self, ca: &str, name: &str) -> Channel {
        self.channel_with(ClientTlsConfig::new().domain_name(name), ca)
    }

    /// That speaks TLS in this way.
    pub(crate) fn channel_with(&self, tls: ClientTlsConfig, ca: &str) -> Channel {
        let tls = tls.ca_certificate(Certificate::from_pem(ca));
        let endpoint = Endpoint::from_shared(format!("https://{}", self.address())).unwrap();
        endpoint.tls_config(tls).unwrap().connect_lazy()
    }

    /// A client of the HostService with this token.
    pub(crate) fn hosts(&self, token: Option<&str>) -> Hosts {
        HostServiceClient::with_interceptor(self.channel(), Bearer::new(token))
    }
}
