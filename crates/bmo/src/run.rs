//! Wiring.

use std::sync::Arc;

use anyhow::Result;
use kube::Client;
use kube::runtime::reflector::Store;
use metal3_ironic::IronicProvisioner;
use metal3_kit::caller::Authority;
use metal3_kit::lease::{self, Election, Leadership};
use metal3_kit::metrics::Metrics;
use metal3_kit::probes::{self, Readiness};
use metal3_kit::shutdown::TaskSet;
use metal3_kit::tls::{Certificate, Offer, Protocol, Source, Target, TlsListener};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::events::Events;
use crate::metrics::{Each, HostMetrics, LEASE};
use crate::preprovisioning::Builder;
use crate::{Args, backend, grpc, host, orphans, watch, webhook};

/// Runs until shutdown, or until a part fails.
///
/// # Errors
/// When the configuration is wrong, an address is taken, or leadership is lost.
pub async fn run(args: Args, shutdown: CancellationToken) -> Result<()> {
    args.report_unused();
    let offer = args.tls.offer()?;
    let (metrics, readiness) = (Metrics::default(), Readiness::default());
    let client = args
        .kube
        .counted_client(concat!("metal3-bmo/", env!("CARGO_PKG_VERSION")), &metrics)
        .await?;
    let mut tasks = TaskSet::new(shutdown.clone());
    let (backend, changes) = backend::open(&args, &client, &mut tasks, &shutdown)?;
    let host_metrics = HostMetrics::register(&metrics, Arc::clone(&backend));

    let leadership = elect(&args, &client, &mut tasks, &shutdown)?;
    webhook::start(&args, &offer, &client, &readiness, &mut tasks, &shutdown).await?;
    let index = Arc::<grpc::HostIndex>::default();
    let (reader, writer) = kube::runtime::reflector::store();
    backend.set_known(backend::known(
        reader.clone(),
        Arc::clone(&index),
        args.namespaces(),
    ));
    HostMetrics::fleet(&metrics, fleet(reader.clone(), leadership.clone()));
    let (triggers, triggered) = mpsc::unbounded_channel();
    let written = watch::Written::default();
    let feed = watch::Feed {
        index: Arc::clone(&index),
        writer,
        triggers,
        leadership: leadership.clone(),
        synced: readiness.condition("hosts"),
        written: written.clone(),
        metrics: host_metrics.clone(),
    };
    let watching = watch::run(client.clone(), args.namespaces(), feed, shutdown.clone());
    tasks.spawn("host watch", async move {
        watching.await;
        Ok(())
    });

    let certificate = certificate(&args).open(&client, &mut tasks, &shutdown).await?;
    let listener = listen(&args, Arc::clone(&certificate)).await?;
    let told = grpc::Told {
        all: metrics.clone(),
        hosts: host_metrics.clone(),
    };
    let (serving, guard) = (readiness.condition("host-service"), args.guard.clone());
    let served = grpc::serve(
        client.clone(),
        index,
        told,
        guard,
        listener,
        serving,
        shutdown.clone(),
    );
    tasks.spawn("host service", served);
    let asked = Authority::new(client.clone(), None);
    serve_metrics(&args, metrics, certificate, asked, offer, &mut tasks, &shutdown);

    let mirroring = Arc::clone(&backend).mirror(shutdown.clone());
    tasks.spawn("ironic mirror", async move {
        mirroring.await;
        Ok(())
    });
    assist(
        &args,
        &client,
        &backend,
        &leadership,
        &host_metrics,
        &mut tasks,
        &shutdown,
    );
    let controller = host::Controller {
        client,
        namespaces: args.namespaces(),
        backend,
        leadership,
        metrics: host_metrics,
        settings: host::settings(&args),
        written,
        concurrency: args.concurrency(),
    };
    tasks.spawn(
        "host controller",
        controller.run(reader, triggered, changes, shutdown.clone()),
    );

    let probing = (args.health_addr.clone(), shutdown);
    tasks.spawn("probes", async move {
        probes::serve(&probing.0, readiness, probing.1).await
    });
    tasks.join().await
}

/// Where the HostService listens.
async fn listen(args: &Args, certificate: Arc<Certificate>) -> Result<TlsListener> {
    let (protocol, clients) = (Protocol::Http2, args.guard.client_ca()?);
    let asks = clients.is_some();
    let address = &args.grpc_bind_address;
    let offer = Offer::of(protocol);
    let listener = TlsListener::bind_for(address, certificate, protocol, &offer, clients).await?;
    tracing::info!(address = %listener.local_addr(), client_certificates = asks, "host service listens");
    Ok(listener)
}

/// Takes part in the election, if there is one.
fn elect(
    args: &Args,
    client: &Client,
    tasks: &mut TaskSet,
    shutdown: &CancellationToken,
) -> Result<Leadership> {
    if !args.lease.leader_elect {
        return Ok(Leadership::always());
    }
    let (election, leadership) = Election::new(client.clone(), &args.pod_namespace, LEASE, lease::identity());
    let election = election.timed(args.timing.timing()?);
    tasks.spawn("leader election", election.run(shutdown.clone()));
    Ok(leadership)
}

/// What a leading replica does besides the hosts.
fn assist(
    args: &Args,
    client: &Client,
    backend: &Arc<IronicProvisioner>,
    leadership: &Leadership,
    metrics: &HostMetrics,
    tasks: &mut TaskSet,
    shutdown: &CancellationToken,
) {
    let orphans = orphans::run(
        Arc::clone(backend),
        Events::new(client.clone(), metrics.clone()),
        leadership.clone(),
        shutdown.clone(),
    );
    tasks.spawn("nodes without a host", async move {
        orphans.await;
        Ok(())
    });
    if args.build_preprov_image
        && let Some(builder) = Builder::from_env(client.clone(), args.namespaces(), leadership, metrics)
    {
        tasks.spawn("preprovisioning images", builder.run(shutdown.clone()));
    }
}

fn serve_metrics(
    args: &Args,
    metrics: Metrics,
    certificate: Arc<Certificate>,
    authority: Authority,
    offer: Offer,
    tasks: &mut TaskSet,
    shutdown: &CancellationToken,
) {
    let (address, secure, stop) = (args.metrics_addr.clone(), args.metrics_secure, shutdown.clone());
    tasks.spawn("metrics", async move {
        if secure {
            metrics
                .serve_protected(&address, certificate, authority, &offer, stop)
                .await
        } else {
            metrics.serve(&address, stop).await
        }
    });
}

/// All hosts that can be read, while this replica leads.
fn fleet(hosts: Store<watch::Guarded>, leadership: Leadership) -> Each {
    Arc::new(move |each| {
        let leads = leadership.held();
        if leads {
            let hosts = hosts.state();
            hosts
                .iter()
                .filter_map(|host| host.0.as_ref().ok())
                .for_each(|host| each(host));
        }
        leads
    })
}

/// The certificate of the HostService, from where the flags say.
fn certificate(args: &Args) -> Source<'_> {
    Source {
        missing: "the host service has no certificate; see --grpc-cert-dir and --grpc-cert-secret",
        folder: &args.grpc_cert_dir,
        secret: &args.grpc_cert_secret,
        service: &args.grpc_service_name,
        namespace: &args.pod_namespace,
        callers: vec![Target::ConfigMap {
            namespace: args.pod_namespace.clone(),
            name: args.grpc_ca_configmap.clone(),
        }],
    }
}
