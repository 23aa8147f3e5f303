//! Flags and variables: upstream's, and those of the HostService.

use std::path::PathBuf;

use clap::{ArgAction, Parser, Subcommand};
use metal3_kit::client::KubeArgs;
use metal3_kit::lease::LeaseArgs;
use metal3_kit::telemetry::TelemetryArgs;
use metal3_kit::tls::OfferArgs;

use crate::check::CheckArgs;

/// Manages BareMetalHosts through Ironic and lends them to others by gRPC.
#[derive(Parser, Clone, Debug)]
#[command(
    name = "metal3-bmo",
    version,
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true
)]
pub struct Cli {
    /// Something else than the service.
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub args: Args,
}

/// What the program can do besides.
#[derive(Subcommand, Clone, Debug)]
pub enum Command {
    /// Looks at a running HostService as its callers see it; `helm test` runs it.
    Check(CheckArgs),
}

/// Manages BareMetalHosts through Ironic and lends them to others by gRPC.
#[derive(Parser, Clone, Debug)]
// As with Go's flags, the last one counts: values of the chart append to its arguments.
#[command(name = "metal3-bmo", version, args_override_self = true)]
pub struct Args {
    #[command(flatten)]
    pub kube: KubeArgs,
    #[command(flatten)]
    pub telemetry: TelemetryArgs,
    #[command(flatten)]
    pub lease: LeaseArgs,
    /// Namespaces to watch, separated by commas; empty: all.
    #[arg(long, env = "WATCH_NAMESPACE", default_value = "")]
    pub namespace: String,
    /// Namespace of this pod: leases live there.
    #[arg(long, env = "POD_NAMESPACE", default_value = "capm3-system")]
    pub pod_namespace: String,
    /// Address of /metrics; 0 turns it off.
    #[arg(long, visible_alias = "metrics-bind-address", default_value = ":8080")]
    pub metrics_addr: String,
    /// Serve metrics by TLS with the certificate of the HostService, to callers whose token may get /metrics.
    #[arg(long, default_value_t = false, num_args = 0..=1, default_missing_value = "true", action = ArgAction::Set)]
    pub metrics_secure: bool,
    /// Address of /healthz and /readyz.
    #[arg(long, visible_alias = "health-probe-bind-address", default_value = ":9440")]
    pub health_addr: String,
    /// Address of the HostService.
    #[arg(long, default_value = ":8443")]
    pub grpc_bind_address: String,
    /// Folder with tls.crt and tls.key of the HostService.
    #[arg(long, default_value = "/opt/metal3/certs/host-service")]
    pub grpc_cert_dir: PathBuf,
    /// Secret of this pod's namespace for a certificate that is made and renewed here, with its CA in <name>-ca;
    /// empty: somebody else fills --grpc-cert-dir.
    #[arg(long, default_value = "")]
    pub grpc_cert_secret: String,
    /// Service whose names that certificate has.
    #[arg(long, default_value = "baremetal-operator-host-service")]
    pub grpc_service_name: String,
    /// ConfigMap of this pod's namespace whose ca.crt tells callers the CA of that certificate.
    #[arg(long, default_value = "baremetal-operator-host-service-ca")]
    pub grpc_ca_configmap: String,
    /// Hosts worked on at once.
    #[arg(long, env = "BMO_CONCURRENCY", default_value_t = 0)]
    pub controller_concurrency: u16,
    /// Failed deployments of one image before it is given up; 0 means no limit.
    #[arg(long, default_value_t = 5)]
    pub max_provisioning_retries: u32,
    /// What drives the hardware.
    #[arg(long, default_value = "ironic")]
    pub provisioner: String,
    /// Port of the admission webhooks; 0 turns them off.
    #[arg(long, default_value_t = 9443)]
    pub webhook_port: u16,
    /// Folder with tls.crt and tls.key of the webhooks.
    #[arg(long, default_value = "/tmp/k8s-webhook-server/serving-certs")]
    pub webhook_cert_dir: PathBuf,
    /// Secret of this pod's namespace for a certificate that is made and renewed here, with its CA in <name>-ca, which
    /// is written into the webhook configuration; empty: somebody else fills --webhook-cert-dir.
    #[arg(long, default_value = "")]
    pub webhook_cert_secret: String,
    /// Service whose names that certificate has.
    #[arg(long, default_value = "baremetal-operator-webhook-service")]
    pub webhook_service_name: String,
    #[command(flatten)]
    pub tls: OfferArgs,
    /// Accepted for compatibility; preprovisioning images come with a later release.
    #[arg(long)]
    pub build_preprov_image: bool,
    /// Accepted for compatibility; HostClaims come with a later release.
    #[arg(long)]
    pub hostclaims: bool,
    /// Accepted for compatibility: the API server's own fairness bounds our requests.
    #[arg(long)]
    pub kube_api_qps: Option<f32>,
    /// Accepted for compatibility, as the rate.
    #[arg(long)]
    pub kube_api_burst: Option<i32>,
}

impl Args {
    /// The namespaces to watch; empty means all.
    pub(crate) fn namespaces(&self) -> Vec<String> {
        self.namespace
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// Hosts worked on at once. A pass mostly waits for the network, so there are more of them than cores.
    pub(crate) fn concurrency(&self) -> u16 {
        if self.controller_concurrency > 0 {
            self.controller_concurrency
        } else {
            32
        }
    }

    /// Says which accepted flags have no effect.
    pub(crate) fn report_unused(&self) {
        for (flag, given) in [
            ("--build-preprov-image", self.build_preprov_image),
            ("--hostclaims", self.hostclaims),
            ("--kube-api-qps", self.kube_api_qps.is_some()),
            ("--kube-api-burst", self.kube_api_burst.is_some()),
        ] {
            if given {
                tracing::warn!(
                    flag,
                    "flag accepted for compatibility; it has no effect in this release"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(["metal3-bmo"].iter().chain(args))
    }

    #[test]
    fn the_last_of_a_repeated_flag_counts() {
        let cli = parse(&[
            "--namespace=a",
            "--metrics-secure=true",
            "--hostclaims",
            "--namespace=b",
            "--metrics-secure=false",
            "--hostclaims",
        ])
        .unwrap();
        assert_eq!(cli.args.namespace, "b");
        assert!(!cli.args.metrics_secure && cli.args.hostclaims);
    }

    #[test]
    fn without_a_command_it_is_the_service() {
        assert!(parse(&[]).unwrap().command.is_none());
        let cli = parse(&["--namespace", "check"]).unwrap();
        assert!(cli.command.is_none() && cli.args.namespace == "check");
        for wrong in [
            &["--nonsense"][..],
            &["nonsense"],
            &["help"],
            &["check"],
            &[
                "check",
                "--namespace=a",
                "--host-service=https://b",
                "--ca-file=c",
            ],
            &[
                "--namespace=a",
                "check",
                "--host-service=https://b",
                "--ca-file=c",
            ],
        ] {
            assert_eq!(parse(wrong).unwrap_err().exit_code(), 2, "{wrong:?}");
        }
    }
}
