//! A host that runs something is serviced: its firmware is changed without what runs on it being removed. What begins a
//! servicing belongs here, too.

use metal3_api::metal3::host::{ErrorType, OperationalStatus};
use metal3_provisioner::{Progress, ServiceArgs};

use crate::Ask;
use crate::pass::{Flow, Pass};
use crate::registration::servicing;

/// Goes on once no servicing is under way: one may come along with a host from another operator.
pub(super) fn finish(pass: &mut Pass<'_>) -> Flow {
    if !servicing(pass) {
        return Ok(());
    }
    let args = ServiceArgs {
        on_failure: pass.on_failure(ErrorType::Servicing),
    };
    let outcome = pass.need(pass.seen.service.as_ref(), || Ask::Service(args))?;
    if let Progress::Working { .. } = outcome.progress {
        pass.clear_error();
        pass.status.operational_status = OperationalStatus::Servicing;
    }
    pass.through(outcome, ErrorType::Servicing)?;
    pass.settle();
    pass.resume();
    Ok(())
}
