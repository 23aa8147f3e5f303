//! Wiring.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use kube::Client;
use kube::runtime::reflector;
use metal3_kit::caller::Authority;
use metal3_kit::lease::{self, Election, Leadership};
use metal3_kit::metrics::Metrics;
use metal3_kit::probes::{self, Readiness};
use metal3_kit::shutdown::TaskSet;
use metal3_kit::tls::{Certificate, Offer, Protocol, Source, TlsListener};
use metal3_rpc::client::HostClient;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::commit::{Committer, Kind};
use crate::hosts::{self, Counting, HostView, Hosts, Link};
use crate::interruptions::Interruptions;
use crate::metrics::{Capm3Metrics, Lease};
use crate::migrate::Migration;
use crate::objects::Objects;
use crate::queue::{Queue, Reconcile};
use crate::wake::Wakes;
use crate::watch::{Watch, Watched};
use crate::workload::Workloads;
use crate::{Args, cluster, label_sync, machine, remediation, template, webhook};

/// Upstream's name, so that a rolling upgrade never has two leaders.
const LEASE: &str = "controller-leader-election-capm3";

/// Runs until shutdown, or until a part fails.
///
/// # Errors
/// When the configuration is wrong, an address is taken, or leadership is lost.
pub async fn run(args: Args, shutdown: CancellationToken) -> Result<()> {
    args.report_unused();
    let offer = args.tls.offer()?;
    let (metrics, readiness) = (Metrics::default(), Readiness::default());
    let agent = concat!("cluster-api-provider-metal3-manager/", env!("CARGO_PKG_VERSION"));
    let client = args.kube.counted_client(agent, &metrics).await?;
    let capm3 = Capm3Metrics::register(&metrics);
    let counting = Arc::new(Counting(capm3.clone()));
    let host_client = HostClient::new(&args.host_service.config(counting)?)?;
    let mut tasks = TaskSet::new(shutdown.clone());

    let certificate = webhooks(&args, &client, &offer, &readiness, &mut tasks, &shutdown).await?;
    let authority = Authority::new(client.clone(), None);
    let measuring = measure(&args, authority, metrics, certificate, offer, shutdown.clone());
    tasks.spawn("metrics", measuring);
    let leadership = elect(&args, &client, &capm3, &mut tasks, &shutdown)?;
    let (wakes, woken) = Wakes::new(leadership.clone());
    let objects = watch_all(&args, &client, &wakes, &readiness, &mut tasks, &shutdown);

    // Shown, but no condition of readiness: webhooks must go on answering while the host service is away.
    let link = Link::new(readiness.note("host-service"), capm3.connected.clone());
    let hosts = Hosts::new(host_client, link);
    let namespace = args.namespace.clone();
    let following = hosts::follow(hosts.clone(), namespace, wakes.clone(), shutdown.clone());
    tasks.spawn("host watch", async move {
        following.await;
        Ok(())
    });
    let workloads = Workloads::new(client.clone(), wakes.clone());
    tasks.spawn("workload clusters", workloads.clone().sweep(shutdown.clone()));

    let common = Common {
        client: client.clone(),
        leadership: leadership.clone(),
        metrics: capm3,
        objects: objects.clone(),
        watch_filter: args.watch_filter.clone(),
        sync_period: args.sync_period(),
    };
    let controller = remediation::Controller {
        committer: common.committer("metal3remediation"),
        objects: objects.clone(),
        hosts: hosts.clone(),
        workloads: workloads.clone(),
        following: Arc::clone(&wakes.following),
    };
    let queue = common.queue(controller, args.metal3remediation_concurrency);
    tasks.spawn(queue.name(), queue.run(woken.remediations, shutdown.clone()));
    let machines = Arc::new(common.committer("metal3machine"));
    let controller = template::Controller {
        committer: common.committer("metal3machinetemplate"),
        machines: Arc::clone(&machines),
        objects: objects.clone(),
        watch_filter: args.watch_filter.clone(),
    };
    let queue = common.queue(controller, args.metal3machinetemplate_concurrency);
    tasks.spawn(queue.name(), queue.run(woken.templates, shutdown.clone()));
    let controller = common.label_sync(hosts.view.clone(), workloads.clone());
    let queue = common.queue(controller, args.metal3labelsync_concurrency);
    tasks.spawn(queue.name(), queue.run(woken.labels, shutdown.clone()));
    let controller = machine::Controller {
        committer: machines,
        objects: objects.clone(),
        hosts: hosts.clone(),
        workloads,
        wakes: wakes.clone(),
        policy: args.policy(),
    };
    let queue = common.queue(controller, args.metal3machine_concurrency);
    tasks.spawn(queue.name(), queue.run(woken.machines, shutdown.clone()));
    let controller = cluster::Controller {
        committer: common.committer("metal3cluster"),
        objects,
        hosts,
        waiting: Arc::clone(&wakes.waiting),
    };
    let queue = common.queue(controller, args.metal3cluster_concurrency);
    tasks.spawn(queue.name(), queue.run(woken.clusters, shutdown.clone()));
    migrate(&args, &client, &leadership, &mut tasks, &shutdown);

    let probing = (args.health_addr.clone(), shutdown);
    tasks.spawn("probes", async move {
        probes::serve(&probing.0, readiness, probing.1).await
    });
    tasks.join().await
}

/// What every controller gets.
struct Common {
    client: Client,
    leadership: Leadership,
    metrics: Capm3Metrics,
    objects: Objects,
    watch_filter: String,
    sync_period: Option<Duration>,
}

impl Common {
    fn committer<K: Kind>(&self, name: &'static str) -> Committer<K> {
        Committer::new(
            self.client.clone(),
            self.leadership.clone(),
            self.metrics.clone(),
            name,
        )
    }

    fn label_sync(&self, hosts: HostView, workloads: Workloads) -> label_sync::Controller {
        label_sync::Controller::new(
            self.committer("metal3labelsync"),
            self.committer("metal3labelsync"),
            self.objects.clone(),
            hosts,
            workloads,
        )
    }

    fn queue<C: Reconcile>(&self, controller: C, concurrency: u16) -> Queue<C> {
        Queue {
            controller,
            objects: self.objects.clone(),
            watch_filter: self.watch_filter.clone(),
            sync_period: self.sync_period,
            concurrency,
        }
    }
}

/// Definitions are of the whole cluster, and so is the right to migrate: who looks at one namespace cannot.
fn migrate(
    args: &Args,
    client: &Client,
    leadership: &Leadership,
    tasks: &mut TaskSet,
    shutdown: &CancellationToken,
) {
    if !args.namespace.is_empty() {
        return;
    }
    let migration = Migration {
        client: client.clone(),
        leadership: leadership.first(),
        definitions: webhook::definitions().collect(),
        skipped: args.skip_crd_migration_phases.clone(),
    };
    let shutdown = shutdown.clone();
    tasks.spawn("migration of stored objects", async move {
        migration.run(shutdown.clone()).await;
        // A part that ends is taken for one that failed.
        shutdown.cancelled().await;
        Ok(())
    });
}

/// Metrics as the flags say; with the certificate of the webhooks, so that scrapers can verify it.
fn measure(
    args: &Args,
    authority: Authority,
    metrics: Metrics,
    certificate: Option<Arc<Certificate>>,
    offer: Offer,
    shutdown: CancellationToken,
) -> impl Future<Output = Result<()>> + Send + 'static {
    let (address, insecure) = (args.diagnostics_address.clone(), args.insecure_diagnostics);
    async move {
        if insecure {
            return metrics.serve(&address, shutdown).await;
        }
        let certificate = certificate.map_or_else(|| Certificate::throwaway(&["localhost"]), Ok)?;
        metrics
            .serve_protected(&address, certificate, authority, &offer, shutdown)
            .await
    }
}

/// All replicas convert and admit, whoever leads. Answers the certificate, if there are webhooks.
async fn webhooks(
    args: &Args,
    client: &Client,
    offer: &Offer,
    readiness: &Readiness,
    tasks: &mut TaskSet,
    shutdown: &CancellationToken,
) -> Result<Option<Arc<Certificate>>> {
    if args.webhook_port == 0 {
        tracing::warn!("no webhooks are served; v1beta1 objects cannot be read");
        return Ok(None);
    }
    let ready = readiness.condition("webhooks");
    let certificate = certificate(args).open(client, tasks, shutdown).await?;
    let address = format!(":{}", args.webhook_port);
    let listener = TlsListener::bind_with(&address, Arc::clone(&certificate), Protocol::Http1, offer).await?;
    tracing::info!(address = %listener.local_addr(), "webhooks listen");
    ready.set(true);
    tasks.spawn("webhooks", webhook::all().serve(listener, shutdown.clone()));
    Ok(Some(certificate))
}

/// The certificate of the webhooks, from where the flags say.
fn certificate(args: &Args) -> Source<'_> {
    Source {
        missing: "the webhooks have no certificate; see --webhook-cert-dir and --webhook-cert-secret",
        folder: &args.webhook_cert_dir,
        secret: &args.webhook_cert_secret,
        service: &args.webhook_service_name,
        namespace: &args.pod_namespace,
        callers: webhook::callers(),
    }
}

fn elect(
    args: &Args,
    client: &Client,
    metrics: &Capm3Metrics,
    tasks: &mut TaskSet,
    shutdown: &CancellationToken,
) -> Result<Leadership> {
    let leading = |name: &str| {
        let name = name.to_owned();
        metrics.leading.get_or_create(&Lease { name }).clone()
    };
    if !args.lease.leader_elect {
        leading(LEASE).set(1);
        return Ok(Leadership::always());
    }
    let names = leases(args.shards);
    let (elections, leadership) = Election::shared(client, &args.pod_namespace, &names, &lease::identity());
    for (election, name) in elections.into_iter().zip(&names) {
        let gauge = leading(name);
        let election = election.timed(args.election.timing()?).shown(move |held| {
            gauge.set(i64::from(held));
        });
        tasks.spawn("leader election", election.run(shutdown.clone()));
    }
    Ok(leadership)
}

/// The Leases among which the work is shared. Replicas that count differently share nothing, which costs work and nothing else.
fn leases(shards: u16) -> Vec<String> {
    match shards {
        1 => vec![LEASE.to_owned()],
        _ => (0..shards)
            .map(|shard| format!("{LEASE}-{shard}-of-{shards}"))
            .collect(),
    }
}

/// One watch per kind.
fn watch_all(
    args: &Args,
    client: &Client,
    wakes: &Wakes,
    readiness: &Readiness,
    tasks: &mut TaskSet,
    shutdown: &CancellationToken,
) -> Objects {
    let (metal3_machines, metal3_machine_writer) = reflector::store();
    let (metal3_clusters, metal3_cluster_writer) = reflector::store();
    let (remediations, remediation_writer) = reflector::store();
    let (templates, template_writer) = reflector::store();
    let (machines, machine_writer) = reflector::store();
    let (clusters, cluster_writer) = reflector::store();
    let objects = Objects {
        metal3_machines,
        metal3_clusters,
        remediations,
        templates,
        machines,
        clusters,
        listed: watch::Sender::default(),
    };
    let mut watching = Watching {
        args,
        client,
        wakes,
        objects: &objects,
        readiness,
        tasks,
        shutdown,
        interruptions: Interruptions::default(),
    };
    watching.start("metal3machines", metal3_machine_writer);
    watching.start("metal3clusters", metal3_cluster_writer);
    watching.start("metal3remediations", remediation_writer);
    watching.start("metal3machinetemplates", template_writer);
    watching.start("machines", machine_writer);
    watching.start("clusters", cluster_writer);
    objects
}

struct Watching<'a> {
    args: &'a Args,
    client: &'a Client,
    wakes: &'a Wakes,
    objects: &'a Objects,
    readiness: &'a Readiness,
    tasks: &'a mut TaskSet,
    shutdown: &'a CancellationToken,
    interruptions: Interruptions,
}

impl Watching<'_> {
    fn start<K: Watched>(
        &mut self,
        name: &'static str,
        writer: reflector::store::Writer<crate::objects::Guarded<K>>,
    ) {
        let watch = Watch {
            client: self.client.clone(),
            namespace: self.args.namespace.clone(),
            writer,
            objects: self.objects.clone(),
            wakes: self.wakes.clone(),
            synced: self.readiness.condition(name),
            interruptions: self.interruptions.clone(),
        };
        let shutdown = self.shutdown.clone();
        self.tasks.spawn(name, async move {
            watch.run(shutdown).await;
            Ok(())
        });
    }
}
