//! Our adapter asks Ironic for the same changes, in the same order and words, as the upstream operator does.
//!
//! It reads less, by design. RAID has traces of its own where it is prepared.

use metal3_api::metal3::host::RootDeviceHints;
use metal3_ironic::Settings;
use metal3_provisioner::Provisioner as _;
use metal3_provisioner::{
    BmcAccess, DeployImage, DeprovisionArgs, DetachArgs, Force, InspectArgs, PowerTarget, ProvisionArgs,
    RegisterArgs,
};

use crate::bed::{Bed, Machine};
use crate::host::{Adapter, Host};
use crate::trace_golden as golden;
use crate::trace_recorder::{Recorder, lines};

/// What the lines of a trace call by placeholders.
struct Trace {
    recorder: Recorder,
    known: Vec<(String, &'static str)>,
}

impl Trace {
    fn compare(&self, what: &str, golden: &[&str]) {
        let known: Vec<(&str, &str)> = self
            .known
            .iter()
            .map(|(text, placeholder)| (text.as_str(), *placeholder))
            .collect();
        assert_eq!(lines(&self.recorder.take(), &known), golden, "{what}");
    }
}

/// A host whose adapter is watched.
async fn watched(bed: &Bed, machine: Machine) -> (Adapter, Host, Trace) {
    let recorder = Recorder::before(&bed.endpoint()).await;
    let settings = bed.settings();
    let or = |url: Option<String>, otherwise: &str| url.unwrap_or_else(|| otherwise.to_owned());
    let kernel = or(settings.deploy_kernel.clone(), "http://images/kernel");
    let ramdisk = or(settings.deploy_ramdisk.clone(), "http://images/ramdisk");
    let adapter = Adapter::new(Settings {
        endpoint: format!("{}/v1", recorder.base),
        deploy_kernel: Some(kernel.clone()),
        deploy_ramdisk: Some(ramdisk.clone()),
        ..settings
    });
    let mut host = Host::new(bed, &adapter, machine);
    host.host.bmc = Some(BmcAccess {
        disable_certificate_verification: false,
        ..bed.access(machine)
    });
    host.remove_leftovers(bed).await;
    recorder.take();
    let image = bed.image();
    let known = vec![
        (
            format!("{}~{}", host.host.key.namespace, host.host.key.name),
            "{name}",
        ),
        (machine.mac(), "{mac}"),
        (kernel, "{kernel}"),
        (ramdisk, "{ramdisk}"),
        (image.url, "{image}"),
        (image.checksum.unwrap_or_default(), "{checksum}"),
        (Bed::custom_step().to_owned(), "{step}"),
    ];
    (adapter, host, Trace { recorder, known })
}

fn register() -> RegisterArgs {
    RegisterArgs {
        architecture: Some("x86_64".to_owned()),
        ..RegisterArgs::default()
    }
}

fn deploy(deploy: DeployImage) -> ProvisionArgs {
    ProvisionArgs {
        deploy,
        root_device_hints: Some(RootDeviceHints {
            device_name: Some("/dev/sda".to_owned()),
            ..RootDeviceHints::default()
        }),
        ..ProvisionArgs::default()
    }
}

/// The life of a host in the words of the upstream operator.
pub(super) async fn changes_are_asked_for_in_the_words_of_upstream(bed: &Bed) {
    let (_adapter, mut host, trace) = watched(bed, Machine(19)).await;
    assert_eq!(host.try_register(register()).await, None);
    trace.compare("registration", golden::OUR_REGISTRATION);
    assert_eq!(host.try_register(register()).await, None);
    trace.compare("a repeated registration", &[]);

    let args = InspectArgs {
        architecture: Some("x86_64".to_owned()),
        ..InspectArgs::default()
    };
    assert!(host.inspect(args).await.is_ok());
    trace.compare("inspection", golden::INSPECTION);

    let image = DeployImage {
        image: Some(bed.image()),
        ..DeployImage::default()
    };
    let args = deploy(image);
    assert_eq!(host.provision(&args).await.failure, None);
    trace.compare("provision", golden::PROVISION);
    assert_eq!(host.provision(&args).await.failure, None);
    trace.compare("a repeated provision", &[]);

    for (off, golden) in [
        (PowerTarget::SoftOff, golden::SOFT_REBOOT),
        (PowerTarget::HardOff, golden::HARD_REBOOT),
    ] {
        for target in [off, PowerTarget::On] {
            assert_eq!(host.power(target).await.failure, None, "{target:?}");
        }
        trace.compare("reboot", golden);
    }

    assert_eq!(host.deprovision(&DeprovisionArgs::default()).await.failure, None);
    trace.compare("deprovision", golden::DEPROVISION);

    let custom = DeployImage {
        image: None,
        custom_deploy_method: Some(Bed::custom_step().to_owned()),
    };
    assert_eq!(host.provision(&deploy(custom)).await.failure, None);
    trace.compare("custom deploy", golden::CUSTOM_DEPLOY);
    assert_eq!(host.deprovision(&DeprovisionArgs::default()).await.failure, None);
    trace.compare("deprovision", golden::DEPROVISION);
    assert_eq!(host.delete().await.failure, None);
    trace.compare("delete", golden::DELETE);
}

/// A host that somebody else provisioned comes and goes.
pub(super) async fn an_external_host_is_forgotten_in_the_words_of_upstream(bed: &Bed) {
    let (_adapter, mut host, trace) = watched(bed, Machine(40)).await;
    assert_eq!(host.try_register(register()).await, None);
    trace.compare("registration", golden::OUR_REGISTRATION);
    assert_eq!(host.adopt().await.failure, None);
    trace.compare("adoption", golden::ADOPTION);
    let args = DetachArgs { force: Force::No };
    let end = host
        .end("detachment", async || host.ironic.detach(&host.host, &args).await)
        .await;
    assert_eq!(end.failure, None);
    trace.compare("detachment", golden::EXTERNAL_DELETE);
}
