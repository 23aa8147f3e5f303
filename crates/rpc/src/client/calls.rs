//! Each call of the contract.

use tonic::Status;

use super::HostClient;
use crate::v1;

macro_rules! calls {
    ($($method:ident $name:ident $request:ident $response:ident;)*) => {
        impl HostClient {$(
            #[doc = concat!("`", stringify!($name), "`; the contract says what it does, and which failures have which reason.")]
            ///
            /// # Errors
            /// A status of the service, or `UNAVAILABLE` or `DEADLINE_EXCEEDED` when it cannot be reached.
            pub async fn $method(&self, request: v1::$request) -> Result<v1::$response, Status> {
                let send = |mut client: super::Inner, request| async move { client.$method(request).await };
                self.unary(stringify!($name), request, send).await
            }
        )*}
    };
}

calls! {
    get_host GetHost GetHostRequest GetHostResponse;
    list_hosts ListHosts ListHostsRequest ListHostsResponse;
    get_inventory GetInventory GetInventoryRequest GetInventoryResponse;
    claim_host ClaimHost ClaimHostRequest ClaimHostResponse;
    provision_host ProvisionHost ProvisionHostRequest ProvisionHostResponse;
    set_cleaning_mode SetCleaningMode SetCleaningModeRequest SetCleaningModeResponse;
    release_host ReleaseHost ReleaseHostRequest ReleaseHostResponse;
    release_reservations ReleaseReservations ReleaseReservationsRequest ReleaseReservationsResponse;
    hold_power_off HoldPowerOff HoldPowerOffRequest HoldPowerOffResponse;
    release_power_hold ReleasePowerHold ReleasePowerHoldRequest ReleasePowerHoldResponse;
    mark_health MarkHealth MarkHealthRequest MarkHealthResponse;
    prepare_move PrepareMove PrepareMoveRequest PrepareMoveResponse;
    resume_after_move ResumeAfterMove ResumeAfterMoveRequest ResumeAfterMoveResponse;
    explain_host ExplainHost ExplainHostRequest ExplainHostResponse;
}
