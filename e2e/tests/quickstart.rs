//! The commands of the README, run as a user runs them; what their table shows is asserted, and that nothing is left.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails where it stands, and tells what it runs"
)]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use metal3_e2e::report::Report;

#[test]
fn installed_by_helm_on_a_real_ironic() {
    let run = Run::new("helm", &[("MODE", "pods")]);
    let up = run.quickstart("up");
    run.assert_up(&up, 3);
    assert!(
        up.hosts.iter().all(|host| host.powered_on && host.nics > 0),
        "{up:?}"
    );
    run.assert_pods(&up, 1, 1);
    run.call("check");
    run.call("cycle");
    run.assert_down();
}

#[test]
fn installed_by_clusterctl_with_fifty_hosts_and_three_capm3() {
    let run = Run::new(
        "clusterctl",
        &[
            ("MODE", "pods"),
            ("INSTALL", "clusterctl"),
            ("SIM", "1"),
            ("HOSTS", "50"),
            ("CAPM3", "3"),
        ],
    );
    let up = run.quickstart("up");
    run.assert_up(&up, 50);
    run.assert_pods(&up, 1, 3);
    run.call("check");
    run.call("cycle");
    run.assert_down();
}

#[test]
fn a_leader_and_a_standby_while_pods_and_kubelet_are_killed_at_random() {
    let seed = std::env::var("CHAOS_SEED")
        .unwrap_or_else(|_| (jiff::Timestamp::now().as_second() % 100_000).to_string());
    println!("seed {seed}; repeat with CHAOS_SEED={seed}");
    let run = Run::new(
        "chaos",
        &[
            ("MODE", "pods"),
            ("SIM", "1"),
            ("HOSTS", "6"),
            ("BMO", "2"),
            ("TLS", "self-signed"),
            ("CHAOS", &seed),
        ],
    );
    let up = run.quickstart("up");
    run.assert_up(&up, 6);
    for victim in ["process metal3-bmo", "process metal3-capm3", "kubelet"] {
        assert!(
            up.killed.iter().any(|killed| killed == victim),
            "{victim} was not killed: {:?}",
            up.killed
        );
    }
    run.assert_down();
}

#[test]
fn the_contract_of_cluster_api_holds_on_the_following_days() {
    // By clusterctl: it moves between clusters in whose inventory the provider is.
    let run = Run::new(
        "contract",
        &[
            ("MODE", "processes"),
            ("INSTALL", "clusterctl"),
            ("SIM", "1"),
            ("HOSTS", "6"),
        ],
    );
    let up = run.quickstart("up");
    run.assert_up(&up, 6);
    run.call("contract");
    run.assert_down();
}

#[test]
fn without_a_node_it_runs_as_processes_and_says_so() {
    let run = Run::new("processes", &[("MODE", "processes"), ("SIM", "1")]);
    let up = run.quickstart("up");
    run.assert_up(&up, 3);
    assert!(up.pods.is_empty(), "{:?}", up.pods);
    assert!(run.log("up").contains("NO PODS"));
    run.assert_down();
}

/// What a developer may have set for runs by hand.
const SETTINGS: [&str; 10] = [
    "SIM", "INSTALL", "TLS", "HOSTS", "WORKERS", "BMO", "CAPM3", "CHAOS", "MODE", "FORCE",
];

/// One quickstart of its own: own state folder, own network namespace. Cleared away however the test ends.
struct Run {
    name: &'static str,
    dir: PathBuf,
    env: Vec<(String, String)>,
}

impl Run {
    fn new(name: &'static str, env: &[(&str, &str)]) -> Self {
        let dir = std::env::temp_dir().join(format!("metal3-e2e-{name}-{}", std::process::id()));
        let env = env
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Self { name, dir, env }
    }

    fn netns(&self) -> String {
        format!("m3-{}", self.name)
    }

    /// `hack/quickstart.sh` with its output in a file.
    fn command(&self, verb: &str, log: &File) -> Command {
        let mut command = Command::new(metal3_testkit::workspace().join("hack/quickstart.sh"));
        for setting in SETTINGS {
            command.env_remove(setting);
        }
        // What cargo tells this test of its package would make build scripts, and all above them, run again in `setup`.
        for (variable, _) in std::env::vars_os() {
            let name = variable.to_string_lossy();
            if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
                command.env_remove(&variable);
            }
        }
        command
            .arg(verb)
            .envs(self.env.iter().cloned())
            .env("QUICKSTART_DIR", self.dir.join("state"))
            .env("QUICKSTART_NETNS", self.netns())
            .env("REPORT", self.dir.join("report.json"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log.try_clone().unwrap());
        command
    }

    /// What a verb printed.
    fn log(&self, verb: &str) -> String {
        fs::read_to_string(self.dir.join(format!("{verb}.log"))).unwrap()
    }

    /// Runs a verb to its end.
    fn call(&self, verb: &str) {
        fs::create_dir_all(&self.dir).unwrap();
        let log = File::create(self.dir.join(format!("{verb}.log"))).unwrap();
        let status = self.command(verb, &log).status().unwrap();
        println!("{}", self.log(verb));
        assert!(status.success(), "quickstart {verb} ended with {status}");
    }

    /// Runs a verb to its end; what it reported.
    fn quickstart(&self, verb: &str) -> Report {
        self.call(verb);
        serde_json::from_slice(&fs::read(self.dir.join("report.json")).unwrap()).unwrap()
    }

    fn assert_up(&self, report: &Report, hosts: usize) {
        assert_eq!(report.hosts.len(), hosts);
        assert_eq!(report.ironic_nodes, hosts, "one node for each host");
        assert_eq!(report.machines.len(), 3);
        assert!(report.cluster_available && report.control_plane_available);
        for machine in &report.machines {
            assert_eq!(machine.phase, "Running", "{machine:?}");
            let (host, node) = (&machine.host, &machine.node);
            assert_eq!(host, node, "a node is named like its host");
            assert!(
                machine
                    .provider_id
                    .starts_with(&format!("metal3://metal3/{host}/")),
                "{machine:?}"
            );
        }
        let used: Vec<_> = report
            .hosts
            .iter()
            .filter(|host| host.consumer.is_some())
            .collect();
        let consumers: BTreeSet<_> = used.iter().map(|host| &host.consumer).collect();
        assert_eq!((used.len(), consumers.len()), (3, 3), "each machine has one host");
        for host in &report.hosts {
            let expected = if host.consumer.is_some() {
                "provisioned"
            } else {
                "available"
            };
            assert_eq!(host.state, expected, "{host:?}");
            assert!(
                host.cpus > 0 && host.memory > 0 && !host.node.is_empty(),
                "{host:?}"
            );
        }
    }

    /// Every program is a pod of its own, and ready; so many are bmo's and capm3's.
    fn assert_pods(&self, report: &Report, bmo: usize, capm3: usize) {
        let count = |image: &str| report.pods.iter().filter(|pod| pod.image.contains(image)).count();
        assert_eq!(
            (count("/metal3-bmo:"), count("/metal3-capm3:")),
            (bmo, capm3),
            "{:?}",
            report.pods
        );
        for image in [
            "cluster-api-controller",
            "kubeadm-bootstrap",
            "kubeadm-control-plane",
            "cert-manager",
            "coredns",
        ] {
            assert_eq!(count(image), 1, "{image}: {:?}", report.pods);
        }
        assert!(report.pods.iter().all(|pod| pod.ready), "{:?}", report.pods);
    }

    /// Goes back, and nothing is left: no node in Ironic, no process, no namespace, no file.
    fn assert_down(&self) {
        let down = self.quickstart("down");
        assert_eq!(down.ironic_nodes, 0);
        assert!(
            down.hosts
                .iter()
                .all(|host| host.state == "available" && host.consumer.is_none()),
            "{down:?}"
        );
        assert!(!self.dir.join("state").exists());
        let namespaces = Command::new("ip").args(["netns", "list"]).output().unwrap();
        assert!(!String::from_utf8_lossy(&namespaces.stdout).contains(&self.netns()));
        let left: Vec<String> = fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| fs::read_to_string(entry.ok()?.path().join("cmdline")).ok())
            .filter(|line| line.contains(&*self.dir.join("state").to_string_lossy()))
            .collect();
        assert!(left.is_empty(), "processes left: {left:?}");
        let mounts = fs::read_to_string("/proc/mounts").unwrap();
        assert!(
            !mounts.contains(&*self.dir.to_string_lossy()),
            "mounts left: {mounts}"
        );
        assert_eq!(cgroups(&self.dir.join("state")), "", "cgroups left");
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if self.dir.join("state").exists()
            && let Ok(log) = File::create(self.dir.join("cleared.log"))
        {
            for folder in ["capi/log", "ironic/log"] {
                copy_logs(&self.dir.join("state").join(folder), &self.dir);
            }
            let mut command = self.command("down", &log);
            command.env("FORCE", "1").status().ok();
            eprintln!("logs: {}", self.dir.display());
        } else {
            fs::remove_dir_all(&self.dir).ok();
        }
    }
}

/// The cgroups of the node whose state is in this folder, in any hierarchy; named as hack/testbed/node.sh does it.
fn cgroups(state: &Path) -> String {
    let script = r#"find /sys/fs/cgroup -type d -name "metal3-$(cksum <<<"$1" | cut -d' ' -f1)" -prune"#;
    let mut command = Command::new("bash");
    command.args(["-c", script, "bash"]).arg(state.join("capi"));
    let output = command.output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn copy_logs(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).into_iter().flatten().flatten() {
        fs::copy(entry.path(), to.join(entry.file_name())).ok();
    }
}
