//! The commands of the README, run as a user runs them; what their table shows is asserted, and that nothing is left.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails where it stands, and tells what it runs"
)]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use metal3_e2e::report::Report;

#[test]
fn the_whole_path_on_a_real_ironic() {
    let run = Run::new("ironic", &[]);
    let up = run.quickstart("up");
    run.assert_up(&up, 3);
    assert!(
        up.hosts.iter().all(|host| host.powered_on && host.nics > 0),
        "{up:?}"
    );
    run.assert_down();
}

#[test]
fn the_whole_path_on_ironic_sim_with_fifty_hosts() {
    let run = Run::new("sim", &[("SIM", "1"), ("HOSTS", "50")]);
    run.assert_up(&run.quickstart("up"), 50);
    run.assert_down();
}

#[test]
fn the_whole_path_while_services_are_killed_at_random() {
    let seed = std::env::var("CHAOS_SEED")
        .unwrap_or_else(|_| (jiff::Timestamp::now().as_second() % 100_000).to_string());
    println!("seed {seed}; repeat with CHAOS_SEED={seed}");
    let run = Run::new("chaos", &[("SIM", "1"), ("HOSTS", "6"), ("CHAOS", &seed)]);
    let up = run.quickstart("up");
    run.assert_up(&up, 6);
    assert!(up.kills > 0, "nothing was killed");
    run.assert_down();
}

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

    /// Runs a verb to its end; what it reported.
    fn quickstart(&self, verb: &str) -> Report {
        fs::create_dir_all(&self.dir).unwrap();
        let path = self.dir.join(format!("{verb}.log"));
        let status = self
            .command(verb, &File::create(&path).unwrap())
            .status()
            .unwrap();
        let log = fs::read_to_string(&path).unwrap();
        println!("{log}");
        assert!(status.success(), "quickstart {verb} ended with {status}");
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

fn copy_logs(from: &std::path::Path, to: &std::path::Path) {
    for entry in fs::read_dir(from).into_iter().flatten().flatten() {
        fs::copy(entry.path(), to.join(entry.file_name())).ok();
    }
}
