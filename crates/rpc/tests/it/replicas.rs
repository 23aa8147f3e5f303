//! A service of several replicas, each at the end of a wire, and a client that finds them by name.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use metal3_rpc::client::{Config, HostClient, Observer, Patience, Resolve};
use metal3_rpc::v1::{ClaimHostRequest, ClaimHostResponse, Consumer, GetHostRequest, HostRef};
use metal3_testkit::wire::Wire;
use tonic::{Code, Status};

use crate::server::Replica;

/// Short, so that a test that needs an end gets one; nothing that works takes as long.
pub(crate) const SHORT: Patience = Patience {
    call: Duration::from_secs(6),
    connect: Duration::from_secs(1),
    keepalive: Duration::from_millis(300),
    keepalive_answer: Duration::from_millis(700),
    resolve: Duration::from_millis(100),
    silence: Duration::from_secs(60),
};

/// Names as a test writes them.
#[derive(Debug, Default)]
pub(crate) struct Names(pub(crate) Mutex<Vec<SocketAddr>>);

impl Resolve for Names {
    fn resolve<'a>(&'a self, _: &'a str, _: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async { Ok(self.0.lock().unwrap().clone()) })
    }
}

/// What the client said it does.
#[derive(Debug, Default)]
pub(crate) struct Notes(Mutex<Told>);

#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    pub(crate) codes: Vec<Code>,
    pub(crate) retries: Vec<&'static str>,
    pub(crate) replicas: (usize, usize),
    pub(crate) lost: Vec<Code>,
}

impl Notes {
    pub(crate) fn told(&self) -> Told {
        self.0.lock().unwrap().clone()
    }
}

impl Observer for Notes {
    fn called(&self, _: &'static str, code: Code, _: Duration) {
        self.0.lock().unwrap().codes.push(code);
    }

    fn retried(&self, _: &'static str, cause: &'static str) {
        self.0.lock().unwrap().retries.push(cause);
    }

    fn replicas(&self, known: usize, usable: usize) {
        self.0.lock().unwrap().replicas = (known, usable);
    }

    fn stream_lost(&self, code: Code) {
        self.0.lock().unwrap().lost.push(code);
    }
}

pub(crate) struct Service {
    pub(crate) replica: Replica,
    pub(crate) wires: Vec<Wire>,
    pub(crate) names: Arc<Names>,
    pub(crate) notes: Arc<Notes>,
    pub(crate) client: HostClient,
}

impl Service {
    /// So many replicas with so many free hosts, and a client with the patience of production.
    pub(crate) async fn start(replicas: usize, hosts: usize) -> Self {
        Self::patient(replicas, hosts, Patience::default()).await
    }

    pub(crate) async fn patient(replicas: usize, hosts: usize, patience: Patience) -> Self {
        let (replica, names, notes) = (
            Replica::new(hosts),
            Arc::<Names>::default(),
            Arc::<Notes>::default(),
        );
        let config = Config {
            patience,
            observer: Arc::clone(&notes) as Arc<dyn Observer>,
            ..Config::new("http://hosts.test:1")
        };
        let client = HostClient::with_resolver(&config, Arc::clone(&names) as Arc<dyn Resolve>).unwrap();
        let mut service = Self {
            replica,
            wires: Vec::new(),
            names,
            notes,
            client,
        };
        for _ in 0..replicas {
            service.add().await;
        }
        service
    }

    /// One more replica, which the name leads to as well.
    pub(crate) async fn add(&mut self) {
        let address = self.replica.another(self.wires.len()).serve(None).await;
        let wire = Wire::open(address).await.unwrap();
        self.names.0.lock().unwrap().push(wire.address());
        self.wires.push(wire);
    }

    /// The name no longer leads to this replica.
    pub(crate) fn unlist(&self, number: usize) {
        let gone = self.wires[number].address();
        self.names.0.lock().unwrap().retain(|address| *address != gone);
    }

    pub(crate) async fn get(&self) -> Result<(), Status> {
        get(&self.client).await
    }

    pub(crate) async fn claim(&self, machine: &str) -> Result<ClaimHostResponse, Status> {
        let consumer = Consumer {
            api_version: "infrastructure.cluster.x-k8s.io/v1beta2".into(),
            kind: "Metal3Machine".into(),
            namespace: "ns".into(),
            name: machine.into(),
            uid: String::new(),
        };
        let request = ClaimHostRequest {
            namespace: "ns".into(),
            consumer: Some(consumer),
            ..ClaimHostRequest::default()
        };
        self.client.claim_host(request).await
    }
}

pub(crate) async fn get(client: &HostClient) -> Result<(), Status> {
    let host = Some(HostRef::named("ns", "h000"));
    client.get_host(GetHostRequest { host }).await.map(|_| ())
}
