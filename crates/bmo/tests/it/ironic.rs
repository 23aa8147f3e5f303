//! The simulated Ironic of a test: nothing takes time, and faults come and go.

use std::net::SocketAddr;

use metal3_ironic_sim::control::Machine;
use metal3_ironic_sim::{Config, Disk, Login, Running, Runs, Sim};
use metal3_testkit::build::HostBuilder;
use metal3_testkit::http;

pub(crate) struct Ironic {
    sim: Running,
}

/// What Ironic knows of a host.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) uuid: String,
    pub(crate) provision_state: String,
    pub(crate) power_state: Option<String>,
}

impl Ironic {
    pub(crate) async fn start() -> Self {
        // The login of the host builder.
        let login = Login {
            username: "admin".into(),
            password: "password".into(),
        };
        let config = Config {
            bmc_login: Some(login),
            ..Config::default()
        };
        Self {
            sim: Sim::start(config).await.unwrap(),
        }
    }

    pub(crate) fn endpoint(&self) -> String {
        self.sim.endpoint.clone()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.sim
            .endpoint
            .trim_start_matches("http://")
            .trim_end_matches("/v1")
            .parse()
            .unwrap()
    }

    pub(crate) async fn nodes(&self) -> Vec<Node> {
        let url = format!(
            "{}/nodes?fields=uuid,name,provision_state,power_state",
            self.endpoint()
        );
        let answer = http::json(&url, &[("x-openstack-ironic-api-version", "1.95")])
            .await
            .unwrap();
        let text = |node: &serde_json::Value, field: &str| node[field].as_str().map(str::to_owned);
        let nodes = answer["nodes"].as_array().unwrap().iter().map(|node| Node {
            name: text(node, "name").unwrap(),
            uuid: text(node, "uuid").unwrap(),
            provision_state: text(node, "provision_state").unwrap(),
            power_state: text(node, "power_state"),
        });
        nodes.collect()
    }

    pub(crate) async fn node(&self, name: &str) -> Node {
        self.nodes()
            .await
            .into_iter()
            .find(|node| node.name == name)
            .unwrap()
    }

    /// The machine of a host; it outlives its node.
    fn machine(&self, host: &HostBuilder) -> Machine {
        let address = host.spec.bmc.address.split("://").nth(1).unwrap();
        let machines = self.sim.machines();
        let machine = machines
            .iter()
            .find(|machine| machine.bmc_address.ends_with(address))
            .unwrap();
        self.sim.machine(&machine.bmc_address).unwrap()
    }

    /// What ran on it, in order.
    pub(crate) fn history(&self, host: &HostBuilder) -> Vec<Runs> {
        self.machine(host)
            .history
            .into_iter()
            .map(|(_, runs)| runs)
            .collect()
    }

    /// What was deployed to it.
    pub(crate) fn disk(&self, host: &HostBuilder) -> Disk {
        self.machine(host).disk.unwrap()
    }

    /// How often the machine of a host booted what was deployed.
    pub(crate) fn deployments(&self, host: &HostBuilder) -> usize {
        self.history(host)
            .into_iter()
            .filter(|runs| *runs == Runs::Instance)
            .count()
    }

    /// Something goes wrong from now on, for example `bmc-unauthorized@ns~host`.
    pub(crate) fn fault(&self, name: &str, fault: &str) {
        self.sim.set_fault(name, fault.parse().unwrap());
    }

    /// It is all right again.
    pub(crate) fn heal(&self, name: &str) {
        assert!(self.sim.remove_fault(name), "there is no fault {name}");
    }
}
