//! Flags and variables: upstream's, and those of the HostService.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{ArgAction, CommandFactory as _, Parser, Subcommand};
use metal3_kit::client::KubeArgs;
use metal3_kit::flags::{boolean, with_two_dashes};
use metal3_kit::lease::{LeaseArgs, TimingArgs};
use metal3_kit::telemetry::{LogFormat, TelemetryArgs};
use metal3_kit::tls::OfferArgs;

use crate::check::CheckArgs;
use crate::grpc::GuardArgs;

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
    /// Looks at a running HostService and at the webhooks as their callers see them; `helm test` runs it.
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
    #[command(flatten)]
    pub timing: TimingArgs,
    /// Log for people, with our own debug lines unless --log-filter says otherwise.
    #[arg(long, default_value_t = false, num_args = 0..=1, default_missing_value = "true", action = ArgAction::Set, value_parser = boolean)]
    pub dev: bool,
    /// Namespaces to watch, separated by commas; empty: all.
    #[arg(long, env = "WATCH_NAMESPACE", default_value = "")]
    pub namespace: String,
    /// Namespace of this pod: leases live there.
    #[arg(long, env = "POD_NAMESPACE", default_value = "capm3-system")]
    pub pod_namespace: String,
    /// Address of /metrics; 0 turns it off. Upstream's default is :8443, where the HostService is here.
    #[arg(long, visible_alias = "metrics-bind-address", default_value = ":8080")]
    pub metrics_addr: String,
    /// Serve metrics by TLS with the certificate of the HostService, to callers whose token may get /metrics.
    #[arg(long, default_value_t = false, num_args = 0..=1, default_missing_value = "true", action = ArgAction::Set, value_parser = boolean)]
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
    #[command(flatten)]
    pub guard: GuardArgs,
    /// Hosts worked on at once; 0 means 32, because they mostly wait for the network (upstream: 2 to 8, by CPUs).
    #[arg(long, env = "BMO_CONCURRENCY", default_value_t = 0)]
    pub controller_concurrency: u16,
    /// Failed deployments of one image before it is given up; 0 means no limit.
    #[arg(long, default_value_t = 5)]
    pub max_provisioning_retries: u32,
    /// What drives the hardware.
    #[arg(long, default_value = "ironic", value_parser = ["ironic"])]
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
    /// Have a ramdisk built for each host, by way of its PreprovisioningImage; by the variables DEPLOY_ISO_URL or
    /// DEPLOY_KERNEL_URL and DEPLOY_RAMDISK_URL, or, without them, by somebody else.
    #[arg(long, default_value_t = false, num_args = 0..=1, default_missing_value = "true", action = ArgAction::Set, value_parser = boolean)]
    pub build_preprov_image: bool,
    /// Accepted for compatibility; HostClaims come with a later release.
    #[arg(long, default_value_t = false, num_args = 0..=1, default_missing_value = "true", action = ArgAction::Set, value_parser = boolean)]
    pub hostclaims: bool,
    /// Accepted for compatibility: the API server's own fairness bounds our requests.
    #[arg(long)]
    pub kube_api_qps: Option<f32>,
    /// Accepted for compatibility, as the rate.
    #[arg(long)]
    pub kube_api_burst: Option<i32>,
}

impl Cli {
    /// The arguments of the process, also with one dash as Go takes them. Wrong ones end it with code 2.
    #[must_use]
    pub fn read() -> Self {
        Self::from_args(std::env::args_os()).unwrap_or_else(|error| error.exit())
    }

    fn from_args(args: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let mut command = Self::command();
        let cli = Self::try_parse_from(with_two_dashes(&command, args))?;
        match cli.args.timing.timing() {
            Ok(_) => Ok(cli),
            Err(error) => Err(command.error(ErrorKind::ValueValidation, error)),
        }
    }
}

impl Args {
    /// How to log.
    #[must_use]
    pub fn telemetry(&self) -> TelemetryArgs {
        let mut telemetry = self.telemetry.clone();
        if self.dev {
            telemetry.log_format = LogFormat::Text;
            if telemetry.log_filter == "info" {
                telemetry.log_filter = "info,metal3=debug".to_owned();
            }
        }
        telemetry
    }

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
        Cli::from_args(["metal3-bmo"].iter().chain(args).map(OsString::from))
    }

    #[test]
    fn a_manifest_of_upstream_is_understood() {
        let cli = parse(&[
            "-namespace=a",
            "-metrics-addr",
            ":8443",
            "-health-addr=:9440",
            "-webhook-port",
            "9443",
            "-enable-leader-election",
            "-lease-duration-seconds=60",
            "-renew-deadline-seconds=40",
            "-retry-period-seconds",
            "5",
            "-build-preprov-image",
            "-hostclaims=T",
            "-provisioner=ironic",
            "-dev",
            "-kube-api-qps=20.5",
            "-kube-api-burst=30",
            "-controller-concurrency=4",
            "-max-provisioning-retries=0",
            "-tls-min-version=TLS12",
            "-tls-max-version=TLS13",
            "-tls-cipher-suites=",
            "-tls-curve-preferences=X25519",
            "-kubeconfig=/x",
        ])
        .unwrap();
        let args = cli.args;
        assert!(args.lease.leader_elect && args.build_preprov_image && args.hostclaims && args.dev);
        assert_eq!((args.concurrency(), args.max_provisioning_retries), (4, 0));
        assert_eq!(args.telemetry().log_format, LogFormat::Text);
        assert!(args.telemetry().log_filter.contains("debug"));
    }

    #[test]
    fn a_wrong_value_names_its_flag_and_ends_with_code_2() {
        for (wrong, flag) in [
            ("-controller-concurrency=-1", "--controller-concurrency"),
            ("-max-provisioning-retries=x", "--max-provisioning-retries"),
            ("-webhook-port=99999", "--webhook-port"),
            ("-lease-duration-seconds=65536", "--lease-duration-seconds"),
            ("-lease-duration-seconds=5", "--lease-duration-seconds"),
            ("-hostclaims=yes", "--hostclaims"),
            ("-provisioner=demo", "--provisioner"),
            ("-kube-api-qps=many", "--kube-api-qps"),
        ] {
            let error = parse(&[wrong]).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{wrong}");
            assert!(error.to_string().contains(flag), "{wrong}: {error}");
        }
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
