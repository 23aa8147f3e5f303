//! Flags and variables: upstream's, and those of the HostService.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{ArgAction, CommandFactory as _, Parser, Subcommand, ValueEnum};
use jiff::SignedDuration;
use metal3_capm3_core::machine::Policy;
use metal3_kit::client::KubeArgs;
use metal3_kit::lease::{LeaderElectArgs, LeaseArgs};
use metal3_kit::telemetry::{LogFormat, TelemetryArgs};
use metal3_kit::tls::OfferArgs;

use crate::check::CheckArgs;
use crate::hosts::HostServiceArgs;
use crate::migrate::Phase;

/// Lends bare metal hosts to the Machines of Cluster API.
#[derive(Parser, Clone, Debug)]
#[command(
    name = "metal3-capm3",
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
    /// Looks at running webhooks and at the HostService as their callers see them; `helm test` runs it.
    Check(CheckArgs),
}

/// Lends bare metal hosts to the Machines of Cluster API.
#[derive(Parser, Clone, Debug)]
// As with Go's flags, the last one counts: tools append to the arguments of a manifest.
#[command(name = "metal3-capm3", version, args_override_self = true)]
pub struct Args {
    #[command(flatten)]
    pub kube: KubeArgs,
    #[command(flatten)]
    pub log: TelemetryArgs,
    #[command(flatten)]
    pub lease: LeaseArgs,
    #[command(flatten)]
    pub election: LeaderElectArgs,
    #[command(flatten)]
    pub host_service: HostServiceArgs,
    #[command(flatten)]
    pub tls: OfferArgs,
    #[command(flatten)]
    pub unused: UnusedArgs,
    /// Namespace to watch; empty: all.
    #[arg(long, env = "WATCH_NAMESPACE", default_value = "")]
    pub namespace: String,
    /// Only objects whose label cluster.x-k8s.io/watch-filter has this value; empty: all.
    #[arg(long, default_value = "")]
    pub watch_filter: String,
    /// Namespace of this pod: the lease lives there.
    #[arg(long, env = "POD_NAMESPACE", default_value = "capm3-system")]
    pub pod_namespace: String,
    /// Leases by which replicas share the clusters: several for each replica, so that the shares are even; 1: one replica has
    /// them all, as upstream. More than 1 needs --leader-elect.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=MOST_SHARDS))]
    pub shards: u16,
    /// All objects are looked at anew after each such time, besides when something changes; 0s: only then, which is enough, as
    /// nothing depends on it (upstream: 10m).
    #[arg(long, default_value = "0s")]
    pub sync_period: SignedDuration,
    /// Metal3Machines worked on at once.
    #[arg(long, default_value_t = 10)]
    pub metal3machine_concurrency: u16,
    /// Metal3Clusters worked on at once.
    #[arg(long, default_value_t = 10)]
    pub metal3cluster_concurrency: u16,
    /// Metal3Remediations worked on at once.
    #[arg(long, default_value_t = 10)]
    pub metal3remediation_concurrency: u16,
    /// Metal3MachineTemplates whose changes are carried to their machines at once.
    #[arg(long, default_value_t = 10)]
    pub metal3machinetemplate_concurrency: u16,
    /// Metal3Machines whose Nodes are compared with their hosts at once, for labels.
    #[arg(long, default_value_t = 10)]
    pub metal3labelsync_concurrency: u16,
    /// Port of the webhooks; 0 turns them off.
    #[arg(long, default_value_t = 9443)]
    pub webhook_port: u16,
    /// Folder with tls.crt and tls.key of the webhooks.
    #[arg(long, default_value = "/tmp/k8s-webhook-server/serving-certs/")]
    pub webhook_cert_dir: PathBuf,
    /// Secret of this pod's namespace for a certificate that is made and renewed here, with its CA in <name>-ca, which
    /// is written into the webhook configurations and CRDs; empty: somebody else fills --webhook-cert-dir.
    #[arg(long, default_value = "")]
    pub webhook_cert_secret: String,
    /// Service whose names that certificate has.
    #[arg(long, default_value = "capm3-webhook-service")]
    pub webhook_service_name: String,
    /// Address of /healthz and /readyz.
    #[arg(long, visible_alias = "health-probe-bind-address", default_value = ":9440")]
    pub health_addr: String,
    /// Address of /metrics; 0 turns it off. It speaks TLS with the certificate of the webhooks, and callers need a token
    /// that may get /metrics, unless there is --insecure-diagnostics.
    #[arg(long, visible_alias = "metrics-bind-address", default_value = ":8443")]
    pub diagnostics_address: String,
    /// Serve metrics by plain HTTP to everybody.
    #[arg(long, default_value_t = false, num_args = 0..=1, default_missing_value = "true", action = ArgAction::Set)]
    pub insecure_diagnostics: bool,
    /// Hosts that will be cleaned stay powered on when they are released: "true" or anything else.
    #[arg(long, env = "CAPM3_FAST_TRACK", default_value = "false")]
    pub fast_track: String,
    /// Whether a machine with a failure domain takes a host outside of it when there is none inside.
    #[arg(long, value_enum, default_value_t = FailureDomainPolicy::Prefer)]
    pub failure_domain_policy: FailureDomainPolicy,
    /// How long a host is kept for the next machine of the same parent (nodeReuse of its template) before it is anybody's;
    /// 0s: until somebody comes.
    #[arg(long, default_value = "6h")]
    pub node_reuse_timeout: SignedDuration,
    /// Parts of the migration of stored objects to the version of today that are left out, separated by commas.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub skip_crd_migration_phases: Vec<Phase>,
    /// Verbosity as in other Kubernetes programs: 4 is debug, 5 is trace.
    #[arg(short = 'v', long = "v", default_value_t = 0)]
    pub verbosity: u8,
    /// Form of log lines, in klog's words: text or json; wins over --log-format.
    #[arg(long, value_enum)]
    pub logging_format: Option<LogFormat>,
}

/// Each Lease is asked for by each replica every few seconds.
const MOST_SHARDS: i64 = 64;

/// What a failure domain means.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureDomainPolicy {
    /// Any host will do when there is none inside, as upstream.
    Prefer,
    /// The machine waits, as the contract of Cluster API has it.
    Require,
}

/// Upstream's flags that have no effect here, or none yet; they are accepted so that manifests go on working.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct UnusedArgs {
    /// Accepted for compatibility: requests are few, because changes are watched, and the API server's own fairness bounds
    /// them.
    #[arg(long)]
    pub kube_api_qps: Option<f32>,
    /// Accepted for compatibility, as the rate.
    #[arg(long)]
    pub kube_api_burst: Option<i32>,
    /// Accepted for compatibility: a workload cluster gets one watch of its Nodes, and a request for each that is linked.
    #[arg(long)]
    pub clustercache_client_qps: Option<f32>,
    /// Accepted for compatibility, as the rate.
    #[arg(long)]
    pub clustercache_client_burst: Option<i32>,
    /// Accepted for compatibility: files of Go are meant; --log-filter takes targets, for example info,metal3_capm3=debug.
    #[arg(long)]
    pub vmodule: Option<String>,
    /// Accepted for compatibility: each line is written at once.
    #[arg(long)]
    pub log_flush_frequency: Option<String>,
    /// Accepted for compatibility: all lines go to one stream, in the order of time.
    #[arg(long, default_value_t = false, num_args = 0..=1, default_missing_value = "true", action = ArgAction::Set)]
    pub log_json_split_stream: bool,
    /// Accepted for compatibility, as for JSON.
    #[arg(long, default_value_t = false, num_args = 0..=1, default_missing_value = "true", action = ArgAction::Set)]
    pub log_text_split_stream: bool,
    /// Accepted for compatibility: each line is written at once.
    #[arg(long)]
    pub log_json_info_buffer_size: Option<String>,
    /// Accepted for compatibility, as for JSON.
    #[arg(long)]
    pub log_text_info_buffer_size: Option<String>,
    /// Accepted for compatibility; data templates come with a later release.
    #[arg(long)]
    pub metal3datatemplate_concurrency: Option<u16>,
    /// Accepted for compatibility; data come with a later release.
    #[arg(long)]
    pub metal3data_concurrency: Option<u16>,
    /// Accepted for compatibility; address pools come with a later release.
    #[arg(long, default_value_t = false, num_args = 0..=1, default_missing_value = "true", action = ArgAction::Set)]
    pub enable_bmh_name_based_preallocation: bool,
}

impl Cli {
    /// The arguments of the process. Wrong ones end it with code 2.
    #[must_use]
    pub fn read() -> Self {
        Self::from_args(std::env::args_os()).unwrap_or_else(|error| error.exit())
    }

    fn from_args(args: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let cli = Self::try_parse_from(args)?;
        let wrong = |error| Self::command().error(ErrorKind::ValueValidation, error);
        if cli.args.shards > 1 && !cli.args.lease.leader_elect {
            return Err(wrong(anyhow::anyhow!("--shards above 1 needs --leader-elect")));
        }
        match cli.args.election.timing() {
            Ok(_) => Ok(cli),
            Err(error) => Err(wrong(error)),
        }
    }
}

impl Args {
    /// How to log, with klog's flags taken into account.
    pub fn telemetry(&self) -> TelemetryArgs {
        let level = match self.verbosity {
            0..=3 => None,
            4 => Some("debug"),
            5.. => Some("trace"),
        };
        TelemetryArgs {
            log_filter: level.map_or_else(
                || self.log.log_filter.clone(),
                |level| format!("{},metal3_capm3={level}", self.log.log_filter),
            ),
            log_format: self.logging_format.unwrap_or(self.log.log_format),
            otlp_endpoint: self.log.otlp_endpoint.clone(),
        }
    }

    /// What the flags say about all machines.
    pub(crate) fn policy(&self) -> Policy {
        let timeout = self.node_reuse_timeout;
        Policy {
            fast_track: self.fast_track == "true",
            failure_domain_required: self.failure_domain_policy == FailureDomainPolicy::Require,
            reuse_timeout: timeout.is_positive().then_some(timeout),
        }
    }

    /// How often everything is looked at anew.
    pub(crate) fn sync_period(&self) -> Option<Duration> {
        let period = Duration::try_from(self.sync_period).ok()?;
        (!period.is_zero()).then_some(period)
    }

    /// Says which accepted flags have no effect.
    pub(crate) fn report_unused(&self) {
        let UnusedArgs {
            kube_api_qps,
            kube_api_burst,
            clustercache_client_qps,
            clustercache_client_burst,
            vmodule,
            log_flush_frequency,
            log_json_split_stream,
            log_text_split_stream,
            log_json_info_buffer_size,
            log_text_info_buffer_size,
            metal3datatemplate_concurrency,
            metal3data_concurrency,
            enable_bmh_name_based_preallocation,
        } = &self.unused;
        for (flag, given) in [
            ("--kube-api-qps", kube_api_qps.is_some()),
            ("--kube-api-burst", kube_api_burst.is_some()),
            ("--clustercache-client-qps", clustercache_client_qps.is_some()),
            ("--clustercache-client-burst", clustercache_client_burst.is_some()),
            ("--vmodule", vmodule.is_some()),
            ("--log-flush-frequency", log_flush_frequency.is_some()),
            ("--log-json-split-stream", *log_json_split_stream),
            ("--log-text-split-stream", *log_text_split_stream),
            ("--log-json-info-buffer-size", log_json_info_buffer_size.is_some()),
            ("--log-text-info-buffer-size", log_text_info_buffer_size.is_some()),
            (
                "--metal3datatemplate-concurrency",
                metal3datatemplate_concurrency.is_some(),
            ),
            ("--metal3data-concurrency", metal3data_concurrency.is_some()),
            (
                "--enable-bmh-name-based-preallocation",
                *enable_bmh_name_based_preallocation,
            ),
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
    use metal3_kit::lease::Timing;

    use super::*;

    fn parse(args: &[&str]) -> Args {
        Cli::parse_from(["metal3-capm3"].iter().chain(args)).args
    }

    #[test]
    fn without_a_command_it_is_the_service() {
        let parse = |args: &[&str]| Cli::try_parse_from(["metal3-capm3"].iter().chain(args));
        assert!(parse(&[]).unwrap().command.is_none());
        let cli = parse(&["--namespace", "check"]).unwrap();
        assert!(cli.command.is_none() && cli.args.namespace == "check");
        for wrong in [
            &["--nonsense"][..],
            &["nonsense"],
            &["help"],
            &["check"],
            &["check", "-v=4"],
        ] {
            assert_eq!(parse(wrong).unwrap_err().exit_code(), 2, "{wrong:?}");
        }
    }

    #[test]
    fn failure_domains_are_preferred_and_hosts_kept_for_hours_unless_flags_say_otherwise() {
        let usual = parse(&[]).policy();
        assert!(!usual.failure_domain_required && !usual.fast_track);
        assert_eq!(usual.reuse_timeout, Some(SignedDuration::from_hours(6)));
        let strict = parse(&["--failure-domain-policy=require", "--node-reuse-timeout=0s"]).policy();
        assert!(strict.failure_domain_required);
        assert_eq!(strict.reuse_timeout, None);
    }

    #[test]
    fn times_of_the_election_that_do_not_go_together_end_the_program_with_code_2() {
        let parse = |args: &[&str]| {
            Cli::from_args(["metal3-capm3"].iter().chain(args).map(OsString::from)).map(|cli| cli.args)
        };
        let args = parse(&[
            "--leader-elect-lease-duration=60s",
            "--leader-elect-renew-deadline=40s",
            "--leader-elect-retry-period=5s",
            "--sync-period=10m",
        ])
        .unwrap();
        assert_ne!(args.election.timing().unwrap(), Timing::default());
        assert_eq!(args.sync_period(), Some(Duration::from_mins(10)));
        assert_eq!(parse(&[]).unwrap().election.timing().unwrap(), Timing::default());
        assert_eq!(parse(&[]).unwrap().sync_period(), None);
        for wrong in [
            "--leader-elect-lease-duration=10s",
            "--leader-elect-renew-deadline=15s",
            "--leader-elect-retry-period=soon",
            "--shards=2",
        ] {
            let error = parse(&[wrong]).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{wrong}");
            assert!(error.to_string().contains("--leader-elect"), "{wrong}: {error}");
        }
        assert_eq!(parse(&["--shards=2", "--leader-elect"]).unwrap().shards, 2);
        for wrong in ["--shards=0", "--shards=65"] {
            assert_eq!(parse(&[wrong]).unwrap_err().exit_code(), 2, "{wrong}");
        }
    }

    #[test]
    fn the_arguments_of_upstreams_manifest_are_accepted() {
        let args = parse(&[
            "--webhook-port=9443",
            "--enable-bmh-name-based-preallocation=false",
            "--diagnostics-address=:8443",
            "--insecure-diagnostics=true",
            "--insecure-diagnostics=false",
            "--leader-elect",
            "--tls-min-version=VersionTLS12",
            "--tls-cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_RSA_WITH_AES_128_CBC_SHA",
            "-v=4",
            "--vmodule=machine=5",
            "--log-flush-frequency=5s",
            "--log-json-split-stream",
            "--logging-format=json",
            "--skip-crd-migration-phases=StorageVersionMigration,CleanupManagedFields",
        ]);
        assert_eq!(args.skip_crd_migration_phases, [Phase::Store, Phase::Clean]);
        assert!(args.lease.leader_elect && !args.insecure_diagnostics);
        assert!(args.tls.offer().is_ok());
        assert_eq!(args.telemetry().log_filter, "info,metal3_capm3=debug");
        assert_eq!(args.telemetry().log_format, LogFormat::Json);
    }
}
