//! An Ironic with machines behind it: simulated, or the test bed's.

use std::collections::BTreeMap;

use metal3_api::metal3::host::Image;
use metal3_ironic::{Access, Settings};
use metal3_ironic_sim::{Config, Fault, Kind, Login, Operation, Running, Sim};
use metal3_provisioner::{BmcAccess, Credentials};
use serde_json::{Value, json};

/// Names the file that the test bed's script writes.
const ENV: &str = "METAL3_TEST_IRONIC_ENV";
const USER: &str = "root";
const PASSWORD: &str = "calvin";

/// A machine of a bed; each scenario uses its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Machine(pub u8);

/// How a machine is reached and boots its ramdisk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// `redfish-virtualmedia`: from a virtual CD.
    VirtualMedia,
    /// `redfish`: from the network.
    Redfish,
    /// `ipmi`: from the network.
    Ipmi,
}

/// What a machine does wrong, on every kind of bed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The ramdisk boots, but is never heard of.
    SilentRamdisk,
    /// Erasing metadata fails.
    Clean,
}

pub(crate) enum Bed {
    Sim(Running),
    Real(Real),
}

/// What the script says of the test bed.
pub(crate) struct Real {
    env: BTreeMap<String, String>,
    http: reqwest::Client,
}

impl Bed {
    /// A simulation of its own, whose BMCs accept one login only.
    pub(crate) async fn sim() -> Self {
        Self::sim_with(Config::default()).await
    }

    pub(crate) async fn sim_with(config: Config) -> Self {
        metal3_testkit::init();
        let login = Login {
            username: USER.into(),
            password: PASSWORD.into(),
        };
        let config = Config {
            bmc_login: Some(login),
            ..config
        };
        Self::Sim(Sim::start(config).await.unwrap())
    }

    /// The test bed that is up.
    pub(crate) fn real() -> Self {
        metal3_testkit::init();
        let path = std::env::var(ENV).unwrap_or_else(|_| {
            panic!("{ENV} is not set: start a test bed with hack/testbed/ironic.sh and name its file `env`")
        });
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{ENV}={path}: {error}"));
        let env = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
            .collect();
        Self::Real(Real {
            env,
            http: reqwest::Client::new(),
        })
    }

    /// The simulation, in tests that only it can serve.
    pub(crate) fn as_sim(&self) -> &Running {
        match self {
            Self::Sim(sim) => sim,
            Self::Real(_) => panic!("this test needs a simulation"),
        }
    }

    /// A request to the simulation past the adapter.
    pub(crate) async fn direct(&self, method: reqwest::Method, path: &str, body: &Value) -> Value {
        let answer = reqwest::Client::new()
            .request(method, format!("{}/{path}", self.as_sim().endpoint))
            .header("X-OpenStack-Ironic-API-Version", "1.110")
            .json(body)
            .send()
            .await
            .unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.json().await.unwrap_or_default()
    }

    /// Where Ironic is, with the version.
    pub(crate) fn endpoint(&self) -> String {
        match self {
            Self::Sim(sim) => sim.endpoint.clone(),
            Self::Real(real) => real.get("IRONIC_ENDPOINT").to_owned(),
        }
    }

    pub(crate) fn settings(&self) -> Settings {
        match self {
            Self::Sim(sim) => Settings::new(&sim.endpoint),
            Self::Real(real) => Settings {
                access: Access {
                    login: Some((
                        real.get("IRONIC_USERNAME").to_owned(),
                        real.get("IRONIC_PASSWORD").to_owned().into(),
                    )),
                    ca: real
                        .env
                        .get("IRONIC_CACERT_FILE")
                        .filter(|path| !path.is_empty())
                        .map(|path| std::fs::read(path).unwrap()),
                    identity: None,
                },
                deploy_kernel: Some(real.get("DEPLOY_KERNEL_URL").to_owned()),
                deploy_ramdisk: Some(real.get("DEPLOY_RAMDISK_URL").to_owned()),
                ..Settings::new(real.get("IRONIC_ENDPOINT"))
            },
        }
    }

    pub(crate) fn access(&self, machine: Machine) -> BmcAccess {
        self.access_by(machine, Scheme::VirtualMedia)
    }

    pub(crate) fn access_by(&self, machine: Machine, scheme: Scheme) -> BmcAccess {
        let (redfish, ipmi, username, password) = match self {
            Self::Sim(_) => (
                format!(
                    "redfish-virtualmedia+http://192.0.2.{}/redfish/v1/Systems/1",
                    machine.0
                ),
                format!("ipmi://192.0.2.{}", machine.0),
                USER,
                PASSWORD,
            ),
            Self::Real(real) => {
                let first: u16 = real.get("IPMI_PORT_BASE").parse().unwrap();
                (
                    format!("{}{}", real.get("BMC_ADDRESS_PREFIX"), machine.system()),
                    format!("ipmi://127.0.0.1:{}", first + u16::from(machine.0)),
                    real.get("BMC_USERNAME"),
                    real.get("BMC_PASSWORD"),
                )
            }
        };
        let address = match scheme {
            Scheme::VirtualMedia => redfish,
            Scheme::Redfish => redfish.replace("redfish-virtualmedia", "redfish"),
            Scheme::Ipmi => ipmi,
        };
        BmcAccess {
            address,
            credentials: Credentials {
                username: username.to_owned(),
                password: password.to_owned().into(),
            },
            disable_certificate_verification: true,
        }
    }

    pub(crate) fn image(&self) -> Image {
        let (url, checksum) = match self {
            Self::Sim(_) => ("http://images.example/disk.qcow2", "abcd"),
            Self::Real(real) => (real.get("IMAGE_URL"), real.get("IMAGE_SHA256")),
        };
        Image {
            url: url.to_owned(),
            checksum: Some(checksum.to_owned()),
            checksum_type: Some("sha256".to_owned()),
            format: Some("qcow2".to_owned()),
            ..Image::default()
        }
    }

    /// An image whose deployment fails.
    pub(crate) fn broken_image(&self) -> Image {
        if let Self::Sim(sim) = self {
            // A real Ironic 39 tells no cause.
            let fault = Kind::Fail {
                operation: Operation::Deploy,
                message: Some(String::new()),
            };
            sim.set_fault("broken image", Fault::new(fault, "*").times(1));
        }
        Image {
            checksum: Some("00".repeat(32)),
            ..self.image()
        }
    }

    pub(crate) fn live_iso(&self) -> Image {
        let url = match self {
            Self::Sim(_) => "http://images.example/live.iso",
            Self::Real(real) => real.get("LIVE_ISO_URL"),
        };
        Image {
            url: url.to_owned(),
            format: Some("live-iso".to_owned()),
            ..Image::default()
        }
    }

    /// A deploy step that the ramdisk has.
    pub(crate) const fn custom_step() -> &'static str {
        "testbed_install"
    }

    /// Makes the machine misbehave, or behave again.
    pub(crate) async fn trouble(&self, machine: Machine, trouble: Option<Trouble>) {
        match self {
            Self::Sim(sim) => {
                sim.clear_faults();
                let kinds = match trouble {
                    None => vec![],
                    Some(Trouble::SilentRamdisk) => [
                        Operation::Inspect,
                        Operation::Clean,
                        Operation::Deploy,
                        Operation::Service,
                    ]
                    .map(|operation| Kind::Hang { operation })
                    .to_vec(),
                    Some(Trouble::Clean) => [Operation::Clean, Operation::Service]
                        .map(|operation| Kind::Fail {
                            operation,
                            message: Some("disk is on fire".into()),
                        })
                        .to_vec(),
                };
                for (index, kind) in kinds.into_iter().enumerate() {
                    let target = format!("*192.0.2.{}/*", machine.0);
                    sim.set_fault(&format!("trouble {index}"), Fault::new(kind, target));
                }
            }
            Self::Real(real) => {
                let behaviour = match trouble {
                    None => json!({}),
                    Some(Trouble::SilentRamdisk) => json!({"boot": "hang"}),
                    Some(Trouble::Clean) => {
                        json!({"fail_steps": {"erase_devices_metadata": "disk is on fire"}})
                    }
                };
                let path = format!("machines/{}/behaviour", machine.system());
                let url = format!("{}/{path}", real.get("AGENT_CONTROL"));
                let answer = real.http.put(url).json(&behaviour).send().await.unwrap();
                assert!(answer.status().is_success(), "{path}: {}", answer.status());
            }
        }
    }

    /// The image on the machine's disk.
    pub(crate) async fn image_on(&self, machine: Machine, node: &str) -> Option<String> {
        self.disk(machine, node).await["image"]
            .as_str()
            .map(str::to_owned)
    }

    /// Whether the config drive on the machine's disk holds this text.
    pub(crate) async fn config_drive_has(&self, machine: Machine, node: &str, text: &str) -> bool {
        match &self.disk(machine, node).await["configdrive"] {
            Value::String(iso) => unpacked(iso)
                .windows(text.len())
                .any(|part| part == text.as_bytes()),
            drive => strings(drive).contains(text),
        }
    }

    async fn disk(&self, machine: Machine, node: &str) -> Value {
        match self {
            Self::Sim(sim) => {
                let machine = sim.machine(node).unwrap();
                serde_json::to_value(machine.disk).unwrap()
            }
            Self::Real(real) => {
                let url = format!("{}/machines/{}", real.get("AGENT_CONTROL"), machine.system());
                let machine: Value = real.http.get(url).send().await.unwrap().json().await.unwrap();
                machine["disk"].clone()
            }
        }
    }
}

impl Real {
    fn get(&self, name: &str) -> &str {
        self.env
            .get(name)
            .unwrap_or_else(|| panic!("the file named by {ENV} has no {name}"))
    }
}

impl Machine {
    pub(crate) fn mac(self) -> String {
        format!("52:54:00:00:00:{:02x}", self.0)
    }

    fn system(self) -> String {
        format!("00000000-0000-4000-8000-0000000000{:02x}", self.0)
    }
}

/// All texts in a value, whatever they are called.
fn strings(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(strings).collect::<Vec<_>>().join("\n"),
        Value::Object(map) => map.values().map(strings).collect::<Vec<_>>().join("\n"),
        other => other.to_string(),
    }
}

/// Ironic's config drive: a compressed ISO in base64. Files in it are not compressed any more.
fn unpacked(iso: &str) -> Vec<u8> {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    let mut child = Command::new("sh")
        .args(["-c", "base64 -d | gzip -dc"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let iso = iso.to_owned();
    let writer = std::thread::spawn(move || input.write_all(iso.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(
        output.status.success(),
        "the config drive is no compressed ISO in base64"
    );
    output.stdout
}
