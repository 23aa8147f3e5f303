//! A machine with the adapter that drives it, as the host's controller would.

use std::sync::Arc;

use metal3_api::metal3::hardware_data::HardwareDetails;
use metal3_ironic::{IronicProvisioner, Settings};
use metal3_provisioner::{
    AdoptArgs, ConfigDrive, DeployImage, DeprovisionArgs, DetachArgs, Error, Force, HostKey, HostRef,
    InspectArgs, NodeId, Outcome, PowerArgs, PowerTarget, PrepareArgs, Progress, ProvisionArgs, Provisioner,
    RegisterArgs, Registration,
};
use metal3_testkit::wait::{LONG, until};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::bed::{Bed, Machine};

/// An adapter with its mirror running.
pub(crate) struct Adapter {
    pub(crate) ironic: Arc<IronicProvisioner>,
    pub(crate) changes: mpsc::Receiver<HostKey>,
    _stop: DropGuard,
}

impl Adapter {
    pub(crate) fn new(settings: Settings) -> Self {
        let (ironic, changes) = IronicProvisioner::new(settings).unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(Arc::clone(&ironic).mirror(stop.clone()));
        Self {
            ironic,
            changes,
            _stop: stop.drop_guard(),
        }
    }
}

/// A host as its controller knows it.
pub(crate) struct Host {
    pub(crate) ironic: Arc<IronicProvisioner>,
    pub(crate) host: HostRef,
    pub(crate) machine: Machine,
}

/// The final answer of an operation, and the events of all calls on the way.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) failure: Option<String>,
    pub(crate) notices: Vec<&'static str>,
}

impl Host {
    pub(crate) fn new(bed: &Bed, adapter: &Adapter, machine: Machine) -> Self {
        let name = format!("conformance-{}", machine.0);
        Self {
            ironic: Arc::clone(&adapter.ironic),
            host: HostRef {
                key: HostKey::new("test", &name),
                uid: format!("5eed0000-0000-4000-8000-0000000000{:02}", machine.0),
                node: None,
                bmc: Some(bed.access(machine)),
                boot_mac_address: Some(machine.mac()),
            },
            machine,
        }
    }

    pub(crate) fn node(&self) -> &str {
        &self.host.node.as_ref().unwrap().0
    }

    pub(crate) fn id(&self) -> Option<NodeId> {
        self.host.node.clone()
    }

    /// Repeats a call until the host is done or has failed. Infrastructure trouble is retried, as the controller does.
    pub(crate) async fn end(&self, what: &str, call: impl AsyncFn() -> Result<Outcome, Error>) -> End {
        let mut notices = Vec::new();
        let failure = until(what, LONG, async || {
            let outcome = call().await.map_err(|error| error.to_string())?;
            notices.extend(outcome.notices.iter().map(|notice| notice.reason));
            match outcome.progress {
                Progress::Done => Ok(None),
                Progress::Failed { message, .. } => Ok(Some(message)),
                Progress::Working { reason, .. } => Err(reason.code().to_owned()),
            }
        })
        .await;
        End { failure, notices }
    }

    pub(crate) async fn register_once(&mut self, args: &RegisterArgs) -> Result<Registration, Error> {
        let registration = self.ironic.register(&self.host, args).await?;
        if registration.node.is_some() {
            self.host.node.clone_from(&registration.node);
        }
        Ok(registration)
    }

    /// Registers; answers the failure if there is one.
    pub(crate) async fn try_register(&mut self, args: RegisterArgs) -> Option<String> {
        let mut args = args;
        until("registration", LONG, async || {
            let registration = self
                .register_once(&args)
                .await
                .map_err(|error| error.to_string())?;
            // Written once, they are no news any more.
            args.credentials_changed = false;
            match registration.outcome.progress {
                Progress::Done => Ok(None),
                Progress::Failed { message, .. } => Ok(Some(message)),
                Progress::Working { reason, .. } => Err(reason.code().to_owned()),
            }
        })
        .await
    }

    pub(crate) async fn register(&mut self) {
        let failure = self.try_register(RegisterArgs::default()).await;
        assert_eq!(failure, None);
    }

    pub(crate) async fn inspect(&self, args: InspectArgs) -> Result<HardwareDetails, String> {
        until("inspection", LONG, async || {
            let inspection = self
                .ironic
                .inspect(&self.host, &args)
                .await
                .map_err(|error| error.to_string())?;
            match inspection.outcome.progress {
                Progress::Done => Ok(Ok(*inspection.details.unwrap())),
                Progress::Failed { message, .. } => Ok(Err(message)),
                Progress::Working { reason, .. } => Err(reason.code().to_owned()),
            }
        })
        .await
    }

    pub(crate) async fn prepare(&self) -> End {
        let args = PrepareArgs::default();
        self.end("preparation", async || {
            self.ironic.prepare(&self.host, &args).await
        })
        .await
    }

    pub(crate) async fn adopt(&self) -> End {
        let args = AdoptArgs::default();
        self.end("adoption", async || self.ironic.adopt(&self.host, &args).await)
            .await
    }

    pub(crate) async fn provision(&self, args: &ProvisionArgs) -> End {
        self.end("provisioning", async || {
            self.ironic.provision(&self.host, args).await
        })
        .await
    }

    pub(crate) async fn deprovision(&self, args: &DeprovisionArgs) -> End {
        self.end("deprovisioning", async || {
            self.ironic.deprovision(&self.host, args).await
        })
        .await
    }

    pub(crate) async fn power(&self, target: PowerTarget) -> End {
        let args = power(target);
        self.end(&format!("power {target:?}"), async || {
            self.ironic.set_power(&self.host, &args).await
        })
        .await
    }

    /// Power as Ironic sees it.
    pub(crate) async fn is_on(&self) -> Option<bool> {
        self.ironic.hardware(&self.host).await.unwrap().powered_on
    }

    pub(crate) async fn delete(&self) -> End {
        self.end("removal", async || self.ironic.delete(&self.host).await)
            .await
    }

    /// Leaves nothing of an earlier run, whatever state it was in.
    pub(crate) async fn remove_leftovers(&self, bed: &Bed) {
        bed.trouble(self.machine, None).await;
        let args = DetachArgs { force: Force::Yes };
        let end = self
            .end("removal of leftovers", async || {
                self.ironic.detach(&self.host, &args).await
            })
            .await;
        assert_eq!(end.failure, None);
    }
}

pub(crate) fn power(target: PowerTarget) -> PowerArgs {
    PowerArgs {
        target,
        on_failure: metal3_provisioner::OnFailure::Report,
        cleaning: metal3_provisioner::CleaningMode::Metadata,
    }
}

/// Deploys an image with user data and a network.
pub(crate) fn deployment(image: metal3_api::metal3::host::Image) -> ProvisionArgs {
    ProvisionArgs {
        deploy: DeployImage {
            image: Some(image),
            ..DeployImage::default()
        },
        config_drive: ConfigDrive {
            user_data: Some("#cloud-config\nhostname: of-the-user\n".into()),
            meta_data: Some("colour: turquoise\n".into()),
            network_data: Some("{\"links\": [], \"networks\": [], \"services\": []}".into()),
        },
        ..ProvisionArgs::default()
    }
}
