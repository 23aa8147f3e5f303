//! A host service whose answers a test sets.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use futures::StreamExt as _;
use futures::stream::BoxStream;
use metal3_rpc::reason::{self, Reason};
use metal3_rpc::v1::host_service_server::{HostService, HostServiceServer};
use metal3_rpc::v1::watch_hosts_response::Type;
use metal3_rpc::v1::{self, *};
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

/// What the service knows, and what was asked of it.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) hosts: BTreeMap<String, Host>,
    pub(crate) revision: u64,
    /// Answers to claims when no host is free.
    pub(crate) rejections: Rejections,
    /// Calls that fail, by method.
    pub(crate) failures: HashMap<&'static str, Status>,
    /// Statuses with which the next streams are refused.
    pub(crate) refused_streams: Vec<Status>,
    pub(crate) resumed_from: Vec<String>,
    pub(crate) claims: Vec<ClaimHostRequest>,
    pub(crate) releases: Vec<ReleaseHostRequest>,
    /// Releases take until the host is changed by the test.
    pub(crate) slow_release: bool,
}

/// The service; clones share it.
#[derive(Clone)]
pub(crate) struct Hosts {
    pub(crate) world: Arc<Mutex<World>>,
    stream: Arc<Mutex<broadcast::Sender<WatchHostsResponse>>>,
}

impl Hosts {
    pub(crate) fn new() -> Self {
        Self {
            world: Arc::default(),
            stream: Arc::new(Mutex::new(broadcast::channel(64).0)),
        }
    }

    /// Serves on a port until the token is cancelled.
    pub(crate) async fn serve(&self, port: u16) -> CancellationToken {
        let stop = CancellationToken::new();
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
        let (service, stopped) = (HostServiceServer::new(self.clone()), stop.clone());
        tokio::spawn(async move {
            let server = Server::builder().add_service(service);
            server
                .serve_with_incoming_shutdown(incoming, stopped.cancelled())
                .await
        });
        stop
    }

    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        act(&mut self.world.lock().unwrap())
    }

    /// Changes a host, or makes it, and tells the streams.
    pub(crate) fn change(&self, name: &str, edit: impl FnOnce(&mut Host)) {
        let message = self.with(|world| world.change(name, edit));
        let _ = self.stream.lock().unwrap().send(message);
    }

    /// Ends all streams, as a server that restarts does.
    pub(crate) fn cut(&self) {
        *self.stream.lock().unwrap() = broadcast::channel(64).0;
    }

    fn fails(&self, method: &'static str) -> Result<(), Status> {
        self.with(|world| world.failures.get(method).cloned().map_or(Ok(()), Err))
    }
}

impl World {
    fn change(&mut self, name: &str, edit: impl FnOnce(&mut Host)) -> WatchHostsResponse {
        self.revision += 1;
        let host = self.hosts.entry(name.to_owned()).or_insert_with(|| Host {
            r#ref: Some(HostRef {
                namespace: "ns".into(),
                name: name.to_owned(),
                uid: format!("uid-{name}"),
            }),
            provisioning_state: "available".into(),
            ..Host::default()
        });
        edit(host);
        host.revision = self.revision.to_string();
        WatchHostsResponse {
            r#type: Type::Modified.into(),
            host: Some(host.clone()),
            revision: host.revision.clone(),
        }
    }

    fn find(&self, host: Option<HostRef>) -> Option<Host> {
        self.hosts.get(&host?.name).cloned()
    }
}

type Answer<T> = Result<Response<T>, Status>;

fn later<T>() -> Answer<T> {
    Err(Reason::NotImplemented.status("not in this test", []))
}

#[tonic::async_trait]
impl HostService for Hosts {
    async fn get_host(&self, request: Request<GetHostRequest>) -> Answer<GetHostResponse> {
        self.fails("GetHost")?;
        let host = self.with(|world| world.find(request.into_inner().host));
        match host {
            Some(host) => Ok(Response::new(GetHostResponse { host: Some(host) })),
            None => Err(Reason::HostNotFound.status("no such host", [])),
        }
    }

    async fn list_hosts(&self, request: Request<ListHostsRequest>) -> Answer<ListHostsResponse> {
        self.fails("ListHosts")?;
        let wanted = request.into_inner().consumer.unwrap();
        let held = |host: &&Host| host.consumer.as_ref().is_some_and(|c| c.same_object(&wanted));
        let hosts = self.with(|world| world.hosts.values().filter(held).cloned().collect());
        Ok(Response::new(ListHostsResponse {
            hosts,
            ..Default::default()
        }))
    }

    type WatchHostsStream = BoxStream<'static, Result<WatchHostsResponse, Status>>;

    async fn watch_hosts(&self, request: Request<WatchHostsRequest>) -> Answer<Self::WatchHostsStream> {
        self.fails("WatchHosts")?;
        let rest = self.stream.lock().unwrap().subscribe();
        let first = self.with(|world| {
            let from = request.into_inner().from_revision;
            world.resumed_from.push(from.clone());
            if let Some(status) = world.refused_streams.pop() {
                return Err(status);
            }
            let after: u64 = from.parse().unwrap_or(0);
            let missed = world
                .hosts
                .values()
                .filter(|host| host.revision.parse::<u64>().unwrap() > after);
            let mut first: Vec<_> = missed
                .map(|host| WatchHostsResponse {
                    r#type: Type::Added.into(),
                    host: Some(host.clone()),
                    revision: host.revision.clone(),
                })
                .collect();
            first.push(WatchHostsResponse {
                r#type: Type::Synced.into(),
                host: None,
                revision: world.revision.to_string(),
            });
            Ok(first)
        })?;
        let rest = BroadcastStream::new(rest).filter_map(|message| async { message.ok() });
        let stream = futures::stream::iter(first).chain(rest).map(Ok);
        Ok(Response::new(stream.boxed()))
    }

    async fn claim_host(&self, request: Request<ClaimHostRequest>) -> Answer<ClaimHostResponse> {
        self.fails("ClaimHost")?;
        let request = request.into_inner();
        self.with(|world| {
            world.claims.push(request.clone());
            let free = world.hosts.iter().find(|(_, host)| host.consumer.is_none());
            let Some(name) = free.map(|(name, _)| name.clone()) else {
                return Err(reason::no_host_available("no host", &world.rejections));
            };
            let message = world.change(&name, |host| {
                host.consumer = request.consumer;
                host.requested_image = request.provision.and_then(|provision| provision.image);
            });
            Ok(Response::new(ClaimHostResponse {
                host: message.host,
                ..Default::default()
            }))
        })
    }

    async fn release_host(&self, request: Request<ReleaseHostRequest>) -> Answer<ReleaseHostResponse> {
        self.fails("ReleaseHost")?;
        let request = request.into_inner();
        let (slow, host) = self.with(|world| {
            world.releases.push(request.clone());
            (world.slow_release, world.find(request.host.clone()))
        });
        let phase = if slow {
            v1::release_host_response::Phase::Deprovisioning
        } else {
            v1::release_host_response::Phase::Released
        };
        if let (false, Some(host)) = (slow, request.host) {
            self.change(&host.name, |host| host.consumer = None);
        }
        Ok(Response::new(ReleaseHostResponse {
            phase: phase.into(),
            host,
        }))
    }

    async fn provision_host(&self, _: Request<ProvisionHostRequest>) -> Answer<ProvisionHostResponse> {
        later()
    }

    async fn get_inventory(&self, _: Request<GetInventoryRequest>) -> Answer<GetInventoryResponse> {
        later()
    }

    async fn set_cleaning_mode(&self, _: Request<SetCleaningModeRequest>) -> Answer<SetCleaningModeResponse> {
        later()
    }

    async fn release_reservations(
        &self,
        _: Request<ReleaseReservationsRequest>,
    ) -> Answer<ReleaseReservationsResponse> {
        later()
    }

    async fn hold_power_off(&self, _: Request<HoldPowerOffRequest>) -> Answer<HoldPowerOffResponse> {
        later()
    }

    async fn release_power_hold(
        &self,
        _: Request<ReleasePowerHoldRequest>,
    ) -> Answer<ReleasePowerHoldResponse> {
        later()
    }

    async fn mark_health(&self, _: Request<MarkHealthRequest>) -> Answer<MarkHealthResponse> {
        later()
    }

    async fn prepare_move(&self, _: Request<PrepareMoveRequest>) -> Answer<PrepareMoveResponse> {
        later()
    }

    async fn resume_after_move(&self, _: Request<ResumeAfterMoveRequest>) -> Answer<ResumeAfterMoveResponse> {
        later()
    }

    async fn explain_host(&self, _: Request<ExplainHostRequest>) -> Answer<ExplainHostResponse> {
        later()
    }
}
