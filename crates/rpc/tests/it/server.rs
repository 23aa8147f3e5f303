//! A small host service: several replicas share its hosts, and a test decides how each behaves.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use metal3_rpc::reason::Reason;
use metal3_rpc::v1::claim_host_response::Reason as Chosen;
use metal3_rpc::v1::host_service_server::{HostService, HostServiceServer};
use metal3_rpc::v1::watch_hosts_response::Type;
use metal3_rpc::v1::*;
use tokio::sync::broadcast;
use tokio_stream::wrappers::{BroadcastStream, TcpListenerStream};
use tonic::transport::{Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

/// What all replicas share, as they share Kubernetes.
pub(crate) struct World {
    hosts: BTreeMap<String, Host>,
    revision: u64,
    stream: broadcast::Sender<WatchHostsResponse>,
    /// Replica and method of each call that arrived.
    pub(crate) seen: Vec<(usize, &'static str)>,
    /// Statuses of the next calls, whichever replica they arrive at.
    pub(crate) failures: VecDeque<Status>,
    /// From where streams were resumed.
    pub(crate) resumed_from: Vec<String>,
    /// How long the next calls take.
    pub(crate) delays: VecDeque<Duration>,
}

/// One replica; clones are the same one.
#[derive(Clone)]
pub(crate) struct Replica {
    number: usize,
    pub(crate) world: Arc<Mutex<World>>,
}

impl Replica {
    /// The first one, with so many free hosts.
    pub(crate) fn new(hosts: usize) -> Self {
        let world = World {
            hosts: BTreeMap::new(),
            revision: 0,
            stream: broadcast::channel(64).0,
            seen: Vec::new(),
            failures: VecDeque::new(),
            resumed_from: Vec::new(),
            delays: VecDeque::new(),
        };
        let replica = Self {
            number: 0,
            world: Arc::new(Mutex::new(world)),
        };
        for number in 0..hosts {
            replica.change(&format!("h{number:03}"), |_| {});
        }
        replica
    }

    /// Another one of the same service.
    pub(crate) fn another(&self, number: usize) -> Self {
        Self {
            number,
            world: Arc::clone(&self.world),
        }
    }

    /// Serves for as long as the test goes on.
    pub(crate) async fn serve(&self, tls: Option<ServerTlsConfig>) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut server = match tls {
            Some(tls) => Server::builder().tls_config(tls).unwrap(),
            None => Server::builder(),
        };
        let service = HostServiceServer::new(self.clone());
        tokio::spawn(
            server
                .add_service(service)
                .serve_with_incoming(TcpListenerStream::new(listener)),
        );
        address
    }

    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        act(&mut self.world.lock().unwrap())
    }

    /// How many calls arrived at each of so many replicas.
    pub(crate) fn seen<const N: usize>(&self) -> [usize; N] {
        self.with(|world| {
            std::array::from_fn(|number| {
                world
                    .seen
                    .iter()
                    .filter(|(replica, _)| *replica == number)
                    .count()
            })
        })
    }

    /// Consumers by host.
    pub(crate) fn consumers(&self) -> BTreeMap<String, String> {
        self.with(|world| {
            let held = world.hosts.iter().filter_map(|(name, host)| {
                let consumer = host.consumer.as_ref()?;
                Some((name.clone(), consumer.name.clone()))
            });
            held.collect()
        })
    }

    /// Changes a host, or makes it, and tells the streams.
    pub(crate) fn change(&self, name: &str, edit: impl FnOnce(&mut Host)) -> Host {
        self.with(|world| world.change(name, edit))
    }

    /// The beginning of each call.
    async fn enter(&self, method: &'static str) -> Result<(), Status> {
        let (failure, delay) = self.with(|world| {
            world.seen.push((self.number, method));
            (world.failures.pop_front(), world.delays.pop_front())
        });
        if let Some(delay) = delay {
            tokio::time::sleep(delay).await;
        }
        failure.map_or(Ok(()), Err)
    }
}

impl World {
    fn change(&mut self, name: &str, edit: impl FnOnce(&mut Host)) -> Host {
        self.revision += 1;
        let host = self.hosts.entry(name.to_owned()).or_insert_with(|| Host {
            r#ref: Some(HostRef::named("ns", name)),
            provisioning_state: "available".into(),
            ..Host::default()
        });
        edit(host);
        host.revision = self.revision.to_string();
        let message = WatchHostsResponse {
            r#type: Type::Modified.into(),
            host: Some(host.clone()),
            revision: host.revision.clone(),
        };
        // Fails only when nobody listens.
        let _ = self.stream.send(message);
        host.clone()
    }

    fn claim(&mut self, claimant: Consumer) -> Result<ClaimHostResponse, Status> {
        let held = |host: &&Host| {
            host.consumer
                .as_ref()
                .is_some_and(|held| held.same_object(&claimant))
        };
        if let Some(host) = self.hosts.values().find(held) {
            return Ok(claimed(host.clone(), Chosen::Existing));
        }
        let free = self.hosts.iter().find(|(_, host)| host.consumer.is_none());
        let Some(name) = free.map(|(name, _)| name.clone()) else {
            return Err(Reason::NoHostAvailable.status("no host", []));
        };
        let host = self.change(&name, |host| host.consumer = Some(claimant));
        Ok(claimed(host, Chosen::Selected))
    }
}

fn claimed(host: Host, reason: Chosen) -> ClaimHostResponse {
    ClaimHostResponse {
        host: Some(host),
        reason: reason.into(),
        ..ClaimHostResponse::default()
    }
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl HostService for Replica {
    async fn get_host(&self, request: Request<GetHostRequest>) -> Answer<GetHostResponse> {
        self.enter("GetHost").await?;
        let name = request.into_inner().host.unwrap_or_default().name;
        let host = self.with(|world| world.hosts.get(&name).cloned());
        let host = Some(host.ok_or_else(|| Reason::HostNotFound.status("no such host", []))?);
        Ok(Response::new(GetHostResponse { host }))
    }

    async fn claim_host(&self, request: Request<ClaimHostRequest>) -> Answer<ClaimHostResponse> {
        self.enter("ClaimHost").await?;
        let claimant = request.into_inner().consumer.unwrap_or_default();
        self.with(|world| world.claim(claimant)).map(Response::new)
    }

    type WatchHostsStream = BoxStream<'static, Result<WatchHostsResponse, Status>>;

    async fn watch_hosts(&self, request: Request<WatchHostsRequest>) -> Answer<Self::WatchHostsStream> {
        self.enter("WatchHosts").await?;
        let (first, rest) = self.with(|world| {
            let from = request.into_inner().from_revision;
            let after: u64 = from.parse().unwrap_or(0);
            world.resumed_from.push(from);
            let missed = world
                .hosts
                .values()
                .filter(|host| host.revision.parse::<u64>().unwrap() > after);
            let messages = missed.map(|host| (Type::Added, Some(host.clone()), host.revision.clone()));
            let synced = (Type::Synced, None, world.revision.to_string());
            let first: Vec<_> = messages.chain([synced]).collect();
            (first, world.stream.subscribe())
        });
        let first = first
            .into_iter()
            .map(|(kind, host, revision)| WatchHostsResponse {
                r#type: kind.into(),
                host,
                revision,
            });
        let rest = BroadcastStream::new(rest).filter_map(|message| async { message.ok() });
        Ok(Response::new(
            futures::stream::iter(first).chain(rest).map(Ok).boxed(),
        ))
    }

    async fn list_hosts(&self, _: Request<ListHostsRequest>) -> Answer<ListHostsResponse> {
        self.other("ListHosts").await
    }
    async fn get_inventory(&self, _: Request<GetInventoryRequest>) -> Answer<GetInventoryResponse> {
        self.other("GetInventory").await
    }
    async fn provision_host(&self, _: Request<ProvisionHostRequest>) -> Answer<ProvisionHostResponse> {
        self.other("ProvisionHost").await
    }
    async fn set_cleaning_mode(&self, _: Request<SetCleaningModeRequest>) -> Answer<SetCleaningModeResponse> {
        self.other("SetCleaningMode").await
    }
    async fn release_host(&self, _: Request<ReleaseHostRequest>) -> Answer<ReleaseHostResponse> {
        self.other("ReleaseHost").await
    }
    async fn release_reservations(
        &self,
        _: Request<ReleaseReservationsRequest>,
    ) -> Answer<ReleaseReservationsResponse> {
        self.other("ReleaseReservations").await
    }
    async fn hold_power_off(&self, _: Request<HoldPowerOffRequest>) -> Answer<HoldPowerOffResponse> {
        self.other("HoldPowerOff").await
    }
    async fn release_power_hold(
        &self,
        _: Request<ReleasePowerHoldRequest>,
    ) -> Answer<ReleasePowerHoldResponse> {
        self.other("ReleasePowerHold").await
    }
    async fn mark_health(&self, _: Request<MarkHealthRequest>) -> Answer<MarkHealthResponse> {
        self.other("MarkHealth").await
    }
    async fn prepare_move(&self, _: Request<PrepareMoveRequest>) -> Answer<PrepareMoveResponse> {
        self.other("PrepareMove").await
    }
    async fn resume_after_move(&self, _: Request<ResumeAfterMoveRequest>) -> Answer<ResumeAfterMoveResponse> {
        self.other("ResumeAfterMove").await
    }
    async fn explain_host(&self, _: Request<ExplainHostRequest>) -> Answer<ExplainHostResponse> {
        self.other("ExplainHost").await
    }
}

impl Replica {
    /// Calls whose answer does not matter here.
    async fn other<T: Default>(&self, method: &'static str) -> Answer<T> {
        self.enter(method).await?;
        Ok(Response::new(T::default()))
    }
}
