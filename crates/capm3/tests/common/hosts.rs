//! A host service whose answers a test sets; both test programs use it. `hosts/service.rs` has its calls.

#[path = "hosts/service.rs"]
mod service;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use metal3_rpc::reason::{self, Reason};
use metal3_rpc::v1::host_service_server::HostServiceServer;
use metal3_rpc::v1::watch_hosts_response::Type;
use metal3_rpc::v1::*;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

/// When a test steps into a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// The service has not seen the call.
    Before,
    /// The service did what was asked, and the caller does not know.
    After,
}

/// Told of each call by method; true when the caller is dead by now.
pub(crate) type Strike = Arc<dyn Fn(Moment, &str) -> bool + Send + Sync>;

/// What the service knows, and what was asked of it.
#[derive(Default)]
pub(crate) struct World {
    /// Namespace of all hosts.
    namespace: String,
    pub(crate) hosts: BTreeMap<String, Host>,
    pub(crate) revision: u64,
    /// Answers to claims when no host is free.
    pub(crate) rejections: Rejections,
    /// Calls that fail, by method.
    pub(crate) failures: HashMap<&'static str, Status>,
    /// Statuses with which the next streams are refused.
    pub(crate) refused_streams: Vec<Status>,
    pub(crate) resumed_from: Vec<String>,
    /// Hosts for which `clusterctl` would wait; the contract does not tell of it.
    pub(crate) guarded: BTreeSet<String>,
    pub(crate) claims: Vec<ClaimHostRequest>,
    pub(crate) releases: Vec<ReleaseHostRequest>,
    pub(crate) ended_reservations: Vec<ReleaseReservationsRequest>,
    /// Releases take until the host is changed by the test.
    pub(crate) slow_release: bool,
    /// Whoever answers claims knows of a free host only what the caller has seen.
    pub(crate) lags: bool,
    /// Claims take a host, and what it is to run is told by another call.
    pub(crate) bare_claims: bool,
    /// Hosts that do not go off, or not on.
    pub(crate) stuck_on: BTreeSet<String>,
    pub(crate) stuck_off: BTreeSet<String>,
    /// Calls in order: method and, for claims, who claimed and what it got.
    pub(crate) log: Vec<String>,
    /// Hosts that were free until they were given to a consumer, with its name.
    pub(crate) granted: Vec<(String, String)>,
    /// The `authorization` of the calls.
    pub(crate) bearers: BTreeSet<String>,
    pub(crate) strike: Option<Strike>,
}

/// The service; clones share it.
#[derive(Clone)]
pub(crate) struct Hosts {
    pub(crate) world: Arc<Mutex<World>>,
    stream: Arc<Mutex<broadcast::Sender<WatchHostsResponse>>>,
}

impl Hosts {
    pub(crate) fn new(namespace: &str) -> Self {
        let world = World {
            namespace: namespace.to_owned(),
            ..World::default()
        };
        Self {
            world: Arc::new(Mutex::new(world)),
            stream: Arc::new(Mutex::new(broadcast::channel(64).0)),
        }
    }

    /// Serves on a port until the token is cancelled and the streams are cut.
    pub(crate) async fn serve(&self, port: u16, tls: Option<ServerTlsConfig>) -> CancellationToken {
        let stop = CancellationToken::new();
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
        let (service, stopped) = (HostServiceServer::new(self.clone()), stop.clone());
        let mut server = match tls {
            Some(tls) => Server::builder().tls_config(tls).unwrap(),
            None => Server::builder(),
        };
        tokio::spawn(async move {
            server
                .add_service(service)
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
        self.tell(message);
    }

    /// Name of a host, if it is the consumer's.
    fn held(&self, host: Option<HostRef>, consumer: &Consumer) -> Result<String, Status> {
        let host = self.with(|world| world.find(host));
        match host.filter(|host| held_by(host, consumer)) {
            Some(host) => Ok(host.r#ref.unwrap_or_default().name),
            None => Err(Reason::ForeignConsumer.status("not the consumer of this host", [])),
        }
    }

    pub(crate) fn tell(&self, message: WatchHostsResponse) {
        // Fails only when nobody listens.
        let _ = self.stream.lock().unwrap().send(message);
    }

    /// Ends all streams, as a server that restarts does.
    pub(crate) fn cut(&self) {
        *self.stream.lock().unwrap() = broadcast::channel(64).0;
    }

    /// The beginning of each call.
    fn enter<T>(&self, method: &'static str, request: &Request<T>) -> Result<(), Status> {
        if self.strikes(Moment::Before, method) {
            return Err(Status::unavailable("nobody waits for the answer"));
        }
        self.with(|world| {
            if let Some(bearer) = request.metadata().get("authorization") {
                world.bearers.insert(bearer.to_str().unwrap().to_owned());
            }
            if method != "ClaimHost" {
                world.log.push(method.to_owned());
            }
            world.failures.get(method).cloned().map_or(Ok(()), Err)
        })
    }

    /// The world is not locked meanwhile: the caller may be started again by it.
    fn strikes(&self, moment: Moment, method: &str) -> bool {
        let strike = self.with(|world| world.strike.clone());
        strike.is_some_and(|strike| strike(moment, method))
    }

    /// The end of a call that changed something.
    fn leave<T>(&self, method: &'static str, answer: T) -> Answer<T> {
        self.strikes(Moment::After, method);
        Ok(Response::new(answer))
    }
}

impl World {
    fn change(&mut self, name: &str, edit: impl FnOnce(&mut Host)) -> WatchHostsResponse {
        self.revision += 1;
        let host = self.hosts.entry(name.to_owned()).or_insert_with(|| Host {
            r#ref: Some(HostRef {
                namespace: self.namespace.clone(),
                name: name.to_owned(),
                uid: format!("uid-{}-{name}", self.namespace),
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

    /// The host that the consumer has, one that is kept for it, or a free one with the labels that it wants; the latter two are
    /// news for the streams.
    fn claim(&mut self, request: ClaimHostRequest) -> Result<(Host, Option<WatchHostsResponse>), Status> {
        self.claims.push(request.clone());
        let claimant = request.consumer.unwrap();
        let held = self.hosts.values().find(|host| held_by(host, &claimant));
        if let Some(host) = held {
            return Ok((host.clone(), None));
        }
        let kept = |host: &Host| !host.reuse_key.is_empty() && host.reuse_key == request.reuse_key;
        let kept = self.hosts.iter().find(|(_, host)| kept(host));
        if let Some((name, host)) = kept
            && host.provisioning_state != "available"
        {
            let message = format!(
                "host {name}, which is kept for this machine, is {}",
                host.provisioning_state
            );
            return Err(Reason::ReservedHostNotReady.status(message, []));
        }
        let seen = request.seen_revision.parse().unwrap_or(0);
        let known = |host: &Host| !self.lags || host.revision.parse::<u64>().unwrap() <= seen;
        let labels = request.selector.clone().unwrap_or_default().match_labels;
        let fits = |host: &Host| {
            labels
                .iter()
                .all(|(key, value)| host.labels.get(key) == Some(value))
        };
        let free = |host: &Host| host.consumer.is_none() && known(host) && fits(host);
        let free = kept.or_else(|| self.hosts.iter().find(|(_, host)| free(host)));
        let Some(name) = free.map(|(name, _)| name.clone()) else {
            return Err(reason::no_host_available("no host", &self.rejections));
        };
        self.granted.push((name.clone(), claimant.name.clone()));
        self.guarded.insert(name.clone());
        let bare = self.bare_claims;
        let message = self.change(&name, |host| {
            host.consumer = Some(claimant);
            host.reuse_key.clear();
            if !bare {
                host.requested_image = request.provision.and_then(|provision| provision.image);
            }
        });
        Ok((message.host.clone().unwrap(), Some(message)))
    }
}

fn held_by(host: &Host, consumer: &Consumer) -> bool {
    host.consumer
        .as_ref()
        .is_some_and(|holder| holder.same_object(consumer))
}

type Answer<T> = Result<Response<T>, Status>;
