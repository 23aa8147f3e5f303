//! `ironic-sim ctl`: steers a simulation that runs.

use std::io::Write as _;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use metal3_ironic_sim::Fault;
use metal3_ironic_sim::faults::KNOWN;
use metal3_ironic_sim::meddling::{Change, NewMachine};
use reqwest::Method;
use serde_json::{Value, json};

/// Which simulation, and what to do.
#[derive(Args, Debug)]
pub(crate) struct Ctl {
    /// Where the simulation serves.
    #[arg(
        long,
        env = "IRONIC_SIM_URL",
        default_value = "http://127.0.0.1:6385",
        global = true
    )]
    url: String,
    /// Print the answer as JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Lists the machines, or shows one by node name, node UUID or BMC address.
    Hosts {
        /// Which one.
        id: Option<String>,
    },
    /// Puts a machine into the rack before Ironic knows of it.
    Add {
        /// BMC address with the system's path, for example https://192.0.2.1/redfish/v1/Systems/1.
        bmc_address: String,
        /// Image that is on its disk already.
        #[arg(long)]
        image: Option<String>,
        /// It is switched on.
        #[arg(long)]
        on: bool,
    },
    /// Presses the power button of a machine.
    Power {
        /// Which one.
        id: String,
        /// on, off or reset.
        #[arg(value_parser = ["on", "off", "reset"])]
        power: String,
    },
    /// Changes a node behind the operator's back.
    Node {
        /// Node name or UUID.
        id: String,
        /// true or false; false ends the fault, too.
        #[arg(long)]
        maintenance: Option<bool>,
        /// Why it is in maintenance.
        #[arg(long)]
        reason: Option<String>,
        /// power failure, clean failure, rescue abort failure or service failure.
        #[arg(long)]
        fault: Option<String>,
        /// OK, Warning or Critical.
        #[arg(long)]
        health: Option<String>,
        /// Puts the node into this state.
        #[arg(long)]
        provision_state: Option<String>,
        /// What Ironic says of the last failure; empty for nothing.
        #[arg(long)]
        last_error: Option<String>,
    },
    /// Sets a fault.
    #[command(long_about = format!(
        "Sets a fault, of the form kind[:parameter][@target].\n\nKinds: {KNOWN}\n\nThe target is a node name, node UUID \
         or BMC address, with * for any text."
    ))]
    Fault {
        /// For example fail:clean@ns~host-*, http:503 or power-lost@ns~host-1.
        fault: Fault,
        /// By which name it is removed; its text without --name.
        #[arg(long)]
        name: Option<String>,
        /// Strikes until it is gone; without it stays until it is cleared.
        #[arg(long)]
        times: Option<u32>,
        /// Only requests of this method and route, for example 'PUT nodes/{id}/states/*'; for http, api-slow and api-drop.
        #[arg(long)]
        request: Option<String>,
    },
    /// Lists the faults in force.
    Faults,
    /// Removes one fault, or all.
    Clear {
        /// Which one.
        name: Option<String>,
    },
    /// Changes latencies, for example deploy=5s,clean=0.
    Latency {
        /// The new ones; others stay.
        latency: String,
    },
    /// Ironic loses its database; the machines stay as they are.
    Wipe,
    /// Ironic restarts; what its conductor was doing fails.
    Restart {
        /// How long it does not answer.
        #[arg(long, default_value = "0")]
        down: String,
    },
    /// Shows what was done to all machines, or to one, and who asked for it.
    Actions {
        /// Which one.
        id: Option<String>,
        /// Begins the logs anew.
        #[arg(long, conflicts_with = "id")]
        clear: bool,
    },
}

/// A request to the control API.
#[derive(Debug, PartialEq)]
struct Request {
    method: Method,
    path: Vec<String>,
    body: Option<Value>,
}

fn request(method: Method, path: &[&str], body: Option<Value>) -> Request {
    Request {
        method,
        path: path.iter().map(|&part| part.to_owned()).collect(),
        body,
    }
}

fn one_or_all(method: Method, collection: &str, id: Option<&str>) -> Request {
    let path: Vec<&str> = [Some(collection), id].into_iter().flatten().collect();
    request(method, &path, None)
}

impl Command {
    fn request(&self) -> Result<Request> {
        Ok(match self {
            Self::Hosts { id } => one_or_all(Method::GET, "machines", id.as_deref()),
            Self::Add {
                bmc_address,
                image,
                on,
            } => {
                let new = NewMachine {
                    bmc_address: bmc_address.clone(),
                    image: image.clone(),
                    on: *on,
                };
                request(Method::POST, &["machines"], Some(serde_json::to_value(new)?))
            }
            Self::Power { id, power } => request(
                Method::PUT,
                &["machines", id, "power"],
                Some(json!({"power": power})),
            ),
            Self::Node {
                id,
                maintenance,
                reason,
                fault,
                health,
                provision_state,
                last_error,
            } => {
                let change = Change {
                    maintenance: *maintenance,
                    reason: reason.clone(),
                    fault: fault.clone(),
                    health: health.clone(),
                    provision_state: provision_state.clone(),
                    last_error: last_error.clone(),
                };
                request(Method::PATCH, &["nodes", id], Some(serde_json::to_value(change)?))
            }
            Self::Fault {
                fault,
                name,
                times,
                request: only,
            } => {
                let mut body = serde_json::to_value(fault)?;
                if let Some(times) = times {
                    body["times"] = json!(times);
                }
                if let Some(only) = only {
                    if body.get("request").is_none() {
                        bail!("--request is for the faults http, api-slow and api-drop");
                    }
                    body["request"] = json!(only);
                }
                let kind = body["kind"].as_str().unwrap_or_default().to_owned();
                let name = name.clone().unwrap_or(kind);
                request(Method::PUT, &["faults", &name], Some(body))
            }
            Self::Faults => request(Method::GET, &["faults"], None),
            Self::Clear { name } => one_or_all(Method::DELETE, "faults", name.as_deref()),
            Self::Latency { latency } => {
                request(Method::PATCH, &["latencies"], Some(json!({"latency": latency})))
            }
            Self::Wipe => request(Method::POST, &["wipe"], None),
            Self::Restart { down } => request(Method::POST, &["restart"], Some(json!({"down": down}))),
            Self::Actions { clear: true, .. } => request(Method::DELETE, &["actions"], None),
            Self::Actions { id, .. } => one_or_all(Method::GET, "actions", id.as_deref()),
        })
    }
}

impl Ctl {
    /// Does it, and prints the answer.
    pub(crate) async fn run(self) -> Result<()> {
        rustls::crypto::ring::default_provider().install_default().ok();
        let Request { method, path, body } = self.command.request()?;
        let mut url =
            reqwest::Url::parse(&self.url).with_context(|| format!("--url {:?} is no URL", self.url))?;
        url.path_segments_mut()
            .map_err(|()| anyhow::anyhow!("--url {:?} cannot have a path", self.url))?
            .pop_if_empty()
            .extend(["sim", "v1"])
            .extend(&path);
        let mut call = reqwest::Client::new().request(method, url);
        if let Some(body) = body {
            call = call.json(&body);
        }
        let answer = call
            .send()
            .await
            .with_context(|| format!("no simulation answers at {}; is --url right?", self.url))?;
        let status = answer.status();
        let text = answer.text().await.context("the answer broke off")?;
        if !status.is_success() {
            bail!("the simulation refuses: {status} {}", explanation(&text));
        }
        let mut out = std::io::stdout().lock();
        let Ok(value) = serde_json::from_str::<Value>(&text) else {
            return Ok(());
        };
        if self.json {
            writeln!(out, "{value:#}")?;
        } else {
            for line in lines(&self.command, &value) {
                writeln!(out, "{line}")?;
            }
        }
        Ok(())
    }
}

/// The words in Ironic's envelope.
fn explanation(text: &str) -> String {
    serde_json::from_str::<Value>(text)
        .ok()
        .and_then(|body| serde_json::from_str::<Value>(body["error_message"].as_str()?).ok())
        .and_then(|fault| fault["faultstring"].as_str().map(str::to_owned))
        .unwrap_or_else(|| text.to_owned())
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

/// What is shown to people.
fn lines(command: &Command, value: &Value) -> Vec<String> {
    match (command, value) {
        (Command::Hosts { id: None }, Value::Array(machines)) => machines
            .iter()
            .map(|machine| {
                format!(
                    "{:<32} {:<15} {:<10} {:<14} {}",
                    word(&machine["name"]),
                    word(&machine["provision_state"]),
                    word(&machine["power_state"]),
                    word(&machine["state"]),
                    word(&machine["bmc_address"]),
                )
            })
            .collect(),
        (Command::Actions { id: None, .. }, Value::Array(logs)) => logs.iter().flat_map(actions).collect(),
        (Command::Actions { .. }, log) => actions(log),
        (Command::Faults, Value::Object(faults)) => faults
            .iter()
            .map(|(name, fault)| format!("{name}: {fault}"))
            .collect(),
        (_, other) => vec![format!("{other:#}")],
    }
}

fn actions(log: &Value) -> Vec<String> {
    let name = log["name"].as_str().unwrap_or_else(|| word(&log["bmc_address"]));
    let list = log["actions"].as_array().map_or(&[][..], Vec::as_slice);
    list.iter()
        .map(|action| {
            let mut line = format!("{} {name} {}", word(&action["at"]), word(&action["deed"]));
            for key in ["operation", "detail"] {
                if let Some(text) = action[key].as_str() {
                    line.push(' ');
                    line.push_str(text);
                }
            }
            line.push_str("   <- ");
            line.push_str(word(&action["asked"]));
            line
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        ctl: Ctl,
    }

    fn asked(words: &str) -> Request {
        let line = Line::try_parse_from(std::iter::once("ctl").chain(words.split(' ')))
            .unwrap_or_else(|error| panic!("{error}"));
        line.ctl.command.request().unwrap()
    }

    #[test]
    fn commands_become_requests() {
        let fault = asked("fault http:503@ns~a --times 2 --request PUT*");
        assert_eq!(
            (fault.method, fault.path),
            (Method::PUT, vec!["faults".to_owned(), "http".to_owned()])
        );
        assert_eq!(
            fault.body,
            Some(json!({"kind": "http", "status": 503, "request": "PUT*", "target": "ns~a", "times": 2}))
        );
        assert_eq!(
            asked("node ns~a --maintenance true").body,
            Some(json!({"maintenance": true}))
        );
        assert_eq!(asked("actions ns~a").path, ["actions", "ns~a"]);
        assert_eq!(asked("clear").method, Method::DELETE);
        assert_eq!(asked("restart --down 5s").body, Some(json!({"down": "5s"})));
    }

    #[test]
    fn a_request_pattern_is_refused_for_faults_of_machines() {
        let line = Line::try_parse_from(["ctl", "fault", "power-lost", "--request", "PUT*"])
            .unwrap_or_else(|error| panic!("{error}"));
        assert!(line.ctl.command.request().is_err());
    }

    #[test]
    fn actions_are_shown_with_who_asked_for_them() {
        let log = json!({"name": "ns~a", "actions": [
            {"at": "T", "deed": "erase", "operation": "clean", "asked": "PUT states/provision provide by bmo"},
        ]});
        assert_eq!(
            actions(&log),
            ["T ns~a erase clean   <- PUT states/provision provide by bmo"]
        );
    }
}
