//! The conditions of a host: upstream's with upstream's meaning, and some of our own.

use jiff::Timestamp;
use metal3_api::conditions::{self, New, Status};
use metal3_api::metal3::host::{BareMetalHostStatus, ErrorType, ProvisioningState};
use metal3_api::metal3::state::OperationalStatus;
use metal3_provisioner::{Hardware, WaitReason};

/// Says what the host waits for: reason, since when (its transition time), until when, and what to do about it.
pub(crate) const WAITING: &str = "Waiting";

/// Says how far a deletion is; its transition time is when the stage named by the reason began.
pub(crate) const DELETING: &str = "Deleting";

/// Says which annotations are not understood.
const INVALID_ANNOTATION: &str = "InvalidAnnotation";

/// Lists the reboot requests that were served although their annotations stay: a host that is never powered off does not
/// show it.
pub(crate) const REBOOT_SERVED: &str = "RebootServed";

/// Lists the reboot requests that failed: another one is tried at once.
pub(crate) const REBOOT_FAILED: &str = "RebootFailed";

/// Names the custom deploy method that was tried last; `lastAttemptedImage` is for images only.
pub(crate) const METHOD_ATTEMPTED: &str = "CustomDeployAttempted";

const POWER_FAILURE: &str = "PowerFailure";

type Row = (bool, &'static str);

struct Table {
    manageable: Row,
    available: Row,
    provisioned: Row,
    progressing: Row,
}

fn table(status: &BareMetalHostStatus) -> Table {
    use ProvisioningState as S;
    const NOT_AVAILABLE: Row = (false, "NotAvailable");
    const NOT_PROVISIONED: Row = (false, "NotProvisioned");
    const MANAGEABLE: Row = (true, "Manageable");
    let working = |reason| Table {
        manageable: MANAGEABLE,
        available: NOT_AVAILABLE,
        provisioned: NOT_PROVISIONED,
        progressing: (true, reason),
    };
    match &status.provisioning.state {
        S::None | S::Unmanaged | S::Unknown(_) => Table {
            manageable: (false, "NotManaged"),
            available: NOT_AVAILABLE,
            provisioned: NOT_PROVISIONED,
            progressing: (false, "NotProgressing"),
        },
        S::Registering => {
            let failed = status.operational_status == OperationalStatus::Error;
            Table {
                manageable: (
                    false,
                    if failed {
                        "RegistrationFailed"
                    } else {
                        "Registering"
                    },
                ),
                ..working("Registering")
            }
        }
        S::MatchProfile | S::Inspecting => working("Inspecting"),
        S::Preparing => working("Preparing"),
        S::Provisioning => working("Provisioning"),
        S::Deprovisioning => working("Deprovisioning"),
        S::PoweringOffBeforeDelete => working("PoweringOffBeforeDelete"),
        S::Deleting => working("Deleting"),
        S::Ready | S::Available => Table {
            manageable: MANAGEABLE,
            available: (true, "Available"),
            provisioned: NOT_PROVISIONED,
            progressing: (false, "NotProgressing"),
        },
        S::Provisioned | S::ExternallyProvisioned => Table {
            manageable: MANAGEABLE,
            available: NOT_AVAILABLE,
            provisioned: (true, "Provisioned"),
            progressing: (false, "NotProgressing"),
        },
    }
}

/// Brings all conditions in line with the status. Each is set once to its final value, so that nothing flips and back.
pub(crate) fn refresh(
    status: &mut BareMetalHostStatus,
    hardware: Option<&Hardware>,
    generation: Option<i64>,
    now: Timestamp,
) {
    if status.error_type != Some(ErrorType::PowerManagement) {
        conditions::remove(&mut status.conditions, REBOOT_FAILED);
    }
    let mut table = table(status);
    let mut ready = table.provisioned;
    match status.operational_status {
        OperationalStatus::Error => ready = (false, "Error"),
        OperationalStatus::Servicing => ready = (false, "Servicing"),
        OperationalStatus::Detached => {
            ready = (false, "Detached");
            table.progressing = (false, "Detached");
        }
        OperationalStatus::None
        | OperationalStatus::Ok
        | OperationalStatus::Discovered
        | OperationalStatus::Delayed => {}
    }
    if table.manageable.0 && power_fault(status, hardware) {
        table.manageable = (false, POWER_FAILURE);
    }
    let message = |holds: bool| {
        if holds {
            String::new()
        } else {
            status.error_message.clone()
        }
    };
    let rows = [
        ("Ready", ready, message(ready.0)),
        ("Manageable", table.manageable, String::new()),
        ("AvailableForProvisioning", table.available, unavailable(status)),
        ("Provisioned", table.provisioned, String::new()),
        ("Progressing", table.progressing, String::new()),
    ];
    for (type_, (holds, reason), message) in rows {
        let new = New {
            type_,
            status: holds.into(),
            reason,
            message,
        };
        conditions::set(&mut status.conditions, new, generation, now);
    }
    health(status, hardware, generation, now);
}

/// Why the host cannot be chosen for a deployment; of its state alone, so that it costs no write of its own.
fn unavailable(status: &BareMetalHostStatus) -> String {
    use ProvisioningState as S;
    let why = match &status.provisioning.state {
        S::Ready | S::Available => "",
        S::None => "the host is new",
        S::Unmanaged => "the host is not managed; set spec.bmc to have it managed",
        S::Registering => "the host is being registered",
        S::MatchProfile | S::Inspecting => "the host is being inspected",
        S::Preparing => "the host is being prepared",
        S::Provisioning => "an image is being deployed on the host",
        S::Provisioned => "the host runs the image that was deployed on it",
        S::ExternallyProvisioned => "the host runs what others installed on it",
        S::Deprovisioning => "the host is being deprovisioned",
        S::PoweringOffBeforeDelete | S::Deleting => "the host is being deleted",
        S::Unknown(state) => return format!("the state {state:?} of the host is not known"),
    };
    why.to_owned()
}

/// A pass that ends before the power is looked at knows nothing new.
fn power_fault(status: &BareMetalHostStatus, hardware: Option<&Hardware>) -> bool {
    let steady = matches!(
        status.provisioning.state,
        ProvisioningState::Available
            | ProvisioningState::Ready
            | ProvisioningState::Provisioned
            | ProvisioningState::ExternallyProvisioned
    );
    let known = || {
        steady
            && status.operational_status != OperationalStatus::Detached
            && conditions::find(&status.conditions, "Manageable")
                .is_some_and(|old| old.reason == POWER_FAILURE)
    };
    hardware.map_or_else(known, |hardware| hardware.power_fault)
}

fn health(
    status: &mut BareMetalHostStatus,
    hardware: Option<&Hardware>,
    generation: Option<i64>,
    now: Timestamp,
) {
    // One from before there was a message gets it.
    let known = conditions::find(&status.conditions, "Healthy")
        .is_some_and(|old| old.status != "Unknown" || !old.message.is_empty());
    let (holds, reason, message) = match hardware.and_then(|hardware| hardware.health.as_deref()) {
        Some("OK") => (Status::True, "Healthy", String::new()),
        Some("Warning") => (
            Status::False,
            "Warning",
            "the BMC warns of the hardware; see the BMC's log".to_owned(),
        ),
        Some("Critical") => (
            Status::False,
            "CriticalError",
            "the BMC tells of a critical fault of the hardware; see the BMC's log".to_owned(),
        ),
        None | Some("") if known => return,
        None | Some("") => (
            Status::Unknown,
            "Unknown",
            "the BMC has not told the health of the hardware".to_owned(),
        ),
        Some(other) => (
            Status::Unknown,
            "Unknown",
            format!("the BMC tells a health that is not known: {other}"),
        ),
    };
    let new = New {
        type_: "Healthy",
        status: holds,
        reason,
        message,
    };
    conditions::set(&mut status.conditions, new, generation, now);
}

/// Sets `Deleting`, the clock of the bound of each stage.
pub(crate) fn deleting(status: &mut BareMetalHostStatus, generation: Option<i64>, now: Timestamp) {
    let (_, reason) = table(status).progressing;
    let since = conditions::find(&status.conditions, DELETING)
        .filter(|old| old.reason == reason)
        .map_or_else(|| conditions::time(now), |old| old.last_transition_time.clone());
    conditions::remove(&mut status.conditions, DELETING);
    let new = New {
        type_: DELETING,
        status: Status::True,
        reason,
        message: String::new(),
    };
    conditions::set(&mut status.conditions, new, generation, since.0);
}

/// Whether the last pass ended with this wait: what is told once was told then.
pub(crate) fn waits_for(status: &BareMetalHostStatus, reason: WaitReason) -> bool {
    since(status, reason).is_some()
}

/// Since when the host waits for this, if it does.
pub(crate) fn since(status: &BareMetalHostStatus, reason: WaitReason) -> Option<Timestamp> {
    conditions::find(&status.conditions, WAITING)
        .filter(|old| old.status == "True" && old.reason == reason.code())
        .map(|old| old.last_transition_time.0)
}

/// Says which annotations are not understood, as long as there are any; true when that is news.
pub(crate) fn complain(
    status: &mut BareMetalHostStatus,
    problems: &str,
    generation: Option<i64>,
    now: Timestamp,
) -> bool {
    if problems.is_empty() {
        conditions::remove(&mut status.conditions, INVALID_ANNOTATION);
        return false;
    }
    let told = message(status, INVALID_ANNOTATION) == Some(problems);
    remember(
        status,
        INVALID_ANNOTATION,
        "InvalidAnnotationValue",
        problems,
        generation,
        now,
    );
    !told
}

/// Keeps a fact that the API has no field for.
pub(crate) fn remember(
    status: &mut BareMetalHostStatus,
    type_: &str,
    reason: &str,
    message: &str,
    generation: Option<i64>,
    now: Timestamp,
) {
    let new = New {
        type_,
        status: Status::True,
        reason,
        message: message.to_owned(),
    };
    conditions::set(&mut status.conditions, new, generation, now);
}

/// What is kept by [`remember`].
pub(crate) fn message<'a>(status: &'a BareMetalHostStatus, type_: &str) -> Option<&'a str> {
    conditions::find(&status.conditions, type_).map(|found| found.message.as_str())
}

/// Forgets what is kept by [`remember`].
pub(crate) fn forget(status: &mut BareMetalHostStatus, type_: &str) {
    conditions::remove(&mut status.conditions, type_);
}
