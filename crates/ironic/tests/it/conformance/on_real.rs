//! On the test bed: a real Ironic, emulated BMCs, simulated ramdisks.
//!
//! Machines 1 to 11, 19, 40 and 41 are used here, 12 to 14 and 42 by `credentials` and `raid`: each test has its own, so
//! that all may run at once, also beside those of bmo.

use crate::bed::{Bed, Scheme};

#[tokio::test]
#[ignore = "needs METAL3_TEST_IRONIC_ENV (a real Ironic, hack/testbed/ironic.sh)"]
async fn a_host_is_deployed_and_removed() {
    super::a_host_is_deployed_and_removed(&Bed::real()).await;
}

#[tokio::test]
#[ignore = "needs METAL3_TEST_IRONIC_ENV (a real Ironic, hack/testbed/ironic.sh)"]
async fn wrong_credentials_are_told_and_right_ones_heal() {
    super::wrong_credentials_are_told_and_right_ones_heal(&Bed::real()).await;
}

#[tokio::test]
#[ignore = "needs METAL3_TEST_IRONIC_ENV (a real Ironic, hack/testbed/ironic.sh)"]
async fn power_follows() {
    super::power_follows(&Bed::real()).await;
}

#[tokio::test]
#[ignore = "needs METAL3_TEST_IRONIC_ENV (a real Ironic, hack/testbed/ironic.sh)"]
async fn a_host_that_must_stay_on_is_restarted() {
    super::a_host_that_must_stay_on_is_restarted(&Bed::real()).await;
}

#[tokio::test]
#[ignore = "needs METAL3_TEST_IRONIC_ENV (a real Ironic, hack/testbed/ironic.sh)"]
async fn an_inspection_that_hangs_is_ended_by_power_off() {
    super::an_inspection_that_hangs_is_ended_by_power_off(&Bed::real()).await;
}

#[tokio::test]
#[ignore = "needs METAL3_TEST_IRONIC_ENV (a real Ironic, hack/testbed/ironic.sh)"]
async fn a_failed_cleaning_is_told_and_retried() {
    super::a_failed_cleaning_is_told_and_retried(&Bed::real()).await;
}

#[tokio::test]
#[ignore = "needs METAL3_TEST_IRONIC_ENV (a real Ironic, hack/testbed/ironic.sh)"]
async fn a_failed_deployment_is_told_and_undone() {
    super::a_failed_deployment_is_told_and_undone(&Bed::real()).await;
}

#[tokio::test]
#[ignore = "needs METAL3_TEST_IRONIC_ENV (a real Ironic, hack/testbed/ironic.sh)"]
async fn live_iso_custom_step_and_disk_image_follow_each_other() {
    super::live_iso_custom_step_and_disk_image_follow_each_other(&Bed::real()).await;
}

#[tokio::test]
#[ignore = "needs METAL3_TEST_IRONIC_ENV (a real Ironic, hack/testbed/ironic.sh)"]
async fn a_running_host_is_adopted_and_detached_untouched() {
    super::a_running_host_is_adopted_and_detached_untouched(&Bed::real()).await;
}

#[tokio::test]
#[ignore = "needs METAL3_TEST_IRONIC_ENV (a real Ironic, hack/testbed/ironic.sh)"]
async fn a_host_is_deployed_by_network_boot_with_redfish() {
    super::a_host_is_deployed_by_network_boot(&Bed::real(), 10, Scheme::Redfish).await;
}

#[tokio::test]
#[ignore = "needs METAL3_TEST_IRONIC_ENV (a real Ironic, hack/testbed/ironic.sh)"]
async fn a_host_is_deployed_by_network_boot_with_ipmi() {
    super::a_host_is_deployed_by_network_boot(&Bed::real(), 11, Scheme::Ipmi).await;
}

#[tokio::test]
#[ignore = "needs METAL3_TEST_IRONIC_ENV (a real Ironic, hack/testbed/ironic.sh)"]
async fn answers_are_those_of_the_table() {
    super::drift::answers_are_those_of_the_table(&Bed::real()).await;
}

#[tokio::test]
#[ignore = "needs METAL3_TEST_IRONIC_ENV (a real Ironic, hack/testbed/ironic.sh)"]
async fn changes_are_asked_for_in_the_words_of_upstream() {
    super::traces::changes_are_asked_for_in_the_words_of_upstream(&Bed::real()).await;
}

#[tokio::test]
#[ignore = "needs METAL3_TEST_IRONIC_ENV (a real Ironic, hack/testbed/ironic.sh)"]
async fn an_external_host_is_forgotten_in_the_words_of_upstream() {
    super::traces::an_external_host_is_forgotten_in_the_words_of_upstream(&Bed::real()).await;
}
