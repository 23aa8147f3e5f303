//! An Ironic without machines: the HTTP API that operators use, for thousands of simulated servers in one process.
//!
//! Any BMC address is a server. Its hardware follows from the address, any login is right unless one is enforced, and
//! what was deployed is kept with its config drive. Provision states, locks, errors and odd answers are those of a real
//! Ironic 39; `crates/ironic/tests` runs one scenario against both.
//!
//! * [`machine`]: the state machine, pure
//! * [`latency`], [`faults`]: how long things take, and what goes wrong
//! * `world`: nodes, ports, servers, and what is due when; time passes only when somebody looks
//! * `work`: long operations; `api/`: Ironic's resources; [`control`]: the API under `/sim/v1`
//!
//! Start it in a test with [`Sim::start`], or run the binary `ironic-sim`.
//!
//! # Steering
//!
//! `ironic-sim ctl` does from a shell what [`control`] and [`meddling`] do over HTTP: `hosts`, `add`, `power`, `node`, `fault`,
//! `faults`, `clear`, `latency`, `wipe`, `restart` and `actions`. Faults are described in [`faults::Kind`]; each has a name,
//! may be limited to nodes by a pattern, and to a number of strikes. [`actions`] proves that nothing was wiped without intent.
//!
//! # Machines
//!
//! `GET /sim/v1/machines` and `/sim/v1/machines/<id>` can be read by what reads `/machines` and `/machines/<id>` of the
//! test bed's simulated agents. Differences: `<id>` may also be a node's UUID or name, or a BMC address; `configdrive` is
//! what the operator sent, usually an object, where the agents get the compressed ISO that Ironic builds from it; there
//! are no `commands`, `heartbeats`, `params` and `behaviour`; `bmc_address`, `provision_state`, `power_state`, `boots`,
//! `live_iso` and `mac_addresses` are added; `history` holds ISO times.

pub mod actions;
mod api;
mod bmc;
pub mod control;
pub mod faults;
mod hardware;
mod instance;
mod interfaces;
pub mod latency;
pub mod machine;
pub mod meddling;
mod network;
mod node;
mod patch;
mod power;
mod refusal;
mod server;
mod stats;
mod steps;
mod sync;
mod view;
mod work;
mod world;

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anyhow::{Context as _, Result};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use crate::bmc::Login;
pub use crate::faults::{Fault, Kind};
pub use crate::latency::Latencies;
pub use crate::machine::Operation;
pub use crate::server::{Disk, Running as Runs};
pub use crate::stats::Requests;
use crate::stats::Stats;
use crate::world::World;

/// The newest version of the API that real Ironic 39 offers.
pub const MAX_MINOR: u32 = 115;

/// What to simulate.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// How long things take.
    pub latencies: Latencies,
    /// Login to the API by `http_basic`.
    pub auth: Option<(String, String)>,
    /// The only login that BMCs accept.
    pub bmc_login: Option<Login>,
    /// Newest minor version offered.
    pub max_minor: u32,
    /// Faults from the start, by name.
    pub faults: Vec<(String, Fault)>,
}

/// A free port on loopback, everything at once, no login, no faults.
impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            latencies: Latencies::ZERO,
            auth: None,
            bmc_login: None,
            max_minor: MAX_MINOR,
            faults: Vec::new(),
        }
    }
}

/// The simulation, for whoever is in the same process. Its methods are those of the control API.
#[derive(Debug)]
pub struct Sim {
    world: Mutex<World>,
    stats: Stats,
    auth: Option<(String, String)>,
    max_minor: u32,
}

/// A simulation that serves; stops when dropped. Faults and the rest are reached through it as through [`Sim`].
#[derive(Debug)]
pub struct Running {
    /// What clients are configured with, for example `http://127.0.0.1:6385/v1`.
    pub endpoint: String,
    /// Base of the control API, for example `http://127.0.0.1:6385/sim/v1`.
    pub control: String,
    sim: Arc<Sim>,
    server: tokio::task::JoinHandle<std::io::Result<()>>,
    stop: DropGuard,
}

impl Sim {
    /// Serves on the address of the configuration.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start(config: Config) -> Result<Running> {
        let Config {
            listen,
            latencies,
            auth,
            bmc_login,
            max_minor,
            faults,
        } = config;
        let mut world = World::new(latencies, bmc_login, Instant::now(), jiff::Timestamp::now());
        for (name, fault) in faults {
            world.faults.set(name, fault);
        }
        let sim = Arc::new(Self {
            world: Mutex::new(world),
            stats: Stats::default(),
            auth,
            max_minor,
        });
        let listener = TcpListener::bind(listen)
            .await
            .with_context(|| format!("cannot listen on {listen}; is another ironic-sim running?"))?;
        let address = listener.local_addr().context("the listener has no address")?;
        let router = api::router(&sim).merge(control::router(&sim));
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let server = tokio::spawn(
            axum::serve(listener, router)
                .with_graceful_shutdown(stopped)
                .into_future(),
        );
        Ok(Running {
            endpoint: format!("http://{address}/v1"),
            control: format!("http://{address}/sim/v1"),
            sim,
            server,
            stop: stop.drop_guard(),
        })
    }
}

impl Running {
    /// Stops accepting, finishes what is under way, and waits for the end.
    ///
    /// # Errors
    /// When the server failed.
    pub async fn stop(self) -> Result<()> {
        drop(self.stop);
        self.server
            .await
            .context("the server panicked")?
            .context("the server failed")
    }

    /// Waits until the server ends by itself, which only a failure makes it do.
    ///
    /// # Errors
    /// The failure.
    pub async fn failed(&mut self) -> Result<()> {
        (&mut self.server)
            .await
            .context("the server panicked")?
            .context("the server failed")
    }
}

impl Deref for Running {
    type Target = Sim;

    fn deref(&self) -> &Sim {
        &self.sim
    }
}
