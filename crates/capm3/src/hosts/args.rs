//! Flags and variables: where the HostService is, and how long to wait for it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use jiff::SignedDuration;
use metal3_kit::telemetry;
use metal3_rpc::client::{Config, IdentityFiles, Observer, Patience};

/// Where the HostService is.
#[derive(clap::Args, Clone, Debug)]
pub struct HostServiceArgs {
    /// Address of the HostService of the bare-metal operator. When its name has several addresses, as that of a headless
    /// Service has, calls are spread over them.
    #[arg(
        long,
        env = "HOST_SERVICE_ADDRESS",
        default_value = "https://baremetal-operator-host-service.capm3-system.svc:8443"
    )]
    pub host_service_address: String,
    /// Name that its certificate is made for; empty: the host of the address.
    #[arg(long, env = "HOST_SERVICE_SERVER_NAME", default_value = "")]
    pub host_service_server_name: String,
    /// PEM file of the CA that signed its certificate; needed with https.
    #[arg(long, env = "HOST_SERVICE_CA_FILE")]
    pub host_service_ca_file: Option<PathBuf>,
    /// File with the ServiceAccount token for it, audience metal3-host-service.
    #[arg(long, env = "HOST_SERVICE_TOKEN_FILE")]
    pub host_service_token_file: Option<PathBuf>,
    /// PEM file of a client certificate, if the HostService asks for one; read again when it is renewed.
    #[arg(long, env = "HOST_SERVICE_CERT_FILE", requires = "host_service_key_file")]
    pub host_service_cert_file: Option<PathBuf>,
    /// PEM file of its key.
    #[arg(long, env = "HOST_SERVICE_KEY_FILE", requires = "host_service_cert_file")]
    pub host_service_key_file: Option<PathBuf>,
    /// Upper bound of one call, retries included.
    #[arg(long, default_value = "20s", value_parser = duration)]
    pub host_service_timeout: Duration,
    /// A connection that is silent for so long is asked whether it lives, and given up when it does not answer within half
    /// of it.
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub host_service_keepalive: Duration,
}

impl HostServiceArgs {
    /// How to reach the HostService.
    ///
    /// # Errors
    /// When the flags do not go together.
    pub(crate) fn config(&self, observer: Arc<dyn Observer>) -> Result<Config> {
        let Self {
            host_service_address: address,
            host_service_server_name: server_name,
            host_service_ca_file: ca_file,
            host_service_token_file: token_file,
            host_service_cert_file: certificate,
            host_service_key_file: key,
            host_service_timeout: call,
            host_service_keepalive: keepalive,
        } = self.clone();
        ensure!(
            !address.starts_with("https:") || ca_file.is_some(),
            "--host-service-address {address} needs --host-service-ca-file: without it the server cannot be verified"
        );
        Ok(Config {
            address,
            server_name: Some(server_name).filter(|name| !name.is_empty()),
            ca_file,
            identity: identity(certificate, key),
            token_file,
            propagate: telemetry::inject,
            patience: Patience {
                call,
                keepalive,
                keepalive_answer: keepalive / 2,
                ..Patience::default()
            },
            observer,
        })
    }
}

/// Both or none.
pub(crate) fn identity(certificate: Option<PathBuf>, key: Option<PathBuf>) -> Option<IdentityFiles> {
    let (certificate, key) = certificate.zip(key)?;
    Some(IdentityFiles { certificate, key })
}

/// As Go writes durations.
fn duration(text: &str) -> Result<Duration, String> {
    let duration: SignedDuration = text.parse().map_err(|error| format!("{error}"))?;
    match Duration::try_from(duration) {
        Ok(duration) if duration > Duration::ZERO => Ok(duration),
        _ => Err("not longer than nothing".into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser, Debug)]
    struct Flags {
        #[command(flatten)]
        host_service: HostServiceArgs,
    }

    fn parse(args: &[&str]) -> Result<HostServiceArgs, clap::Error> {
        Flags::try_parse_from(["x"].iter().chain(args)).map(|flags| flags.host_service)
    }

    fn config(args: &[&str]) -> Result<Config> {
        parse(args).unwrap().config(Arc::new(()))
    }

    #[test]
    fn an_unverifiable_host_service_is_refused() {
        let error = config(&["--host-service-address=https://bmo:8443"]).unwrap_err();
        assert!(error.to_string().contains("--host-service-ca-file"), "{error}");
        let plain = config(&["--host-service-address=http://127.0.0.1:1"]).unwrap();
        assert_eq!((plain.server_name, plain.identity), (None, None));
    }

    #[test]
    fn a_client_certificate_comes_with_its_key() {
        assert!(parse(&["--host-service-cert-file=c"]).is_err());
        assert!(parse(&["--host-service-key-file=k"]).is_err());
        let both = [
            "--host-service-address=http://h",
            "--host-service-cert-file=c",
            "--host-service-key-file=k",
        ];
        let files = config(&both).unwrap().identity.unwrap();
        assert_eq!((files.certificate, files.key), ("c".into(), "k".into()));
    }

    #[test]
    fn durations_are_written_as_in_go() {
        let patience = config(&[
            "--host-service-address=http://h",
            "--host-service-timeout=1m30s",
            "--host-service-keepalive=500ms",
        ])
        .unwrap()
        .patience;
        assert_eq!(patience.call, Duration::from_secs(90));
        assert_eq!(patience.keepalive_answer, Duration::from_millis(250));
        for wrong in ["0s", "-1s", "soon"] {
            assert!(parse(&["--host-service-timeout", wrong]).is_err(), "{wrong}");
        }
    }
}
