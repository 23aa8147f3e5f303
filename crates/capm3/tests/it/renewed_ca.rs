//! The certificate of the host service is by another CA from now on.

use metal3_rpc::client::{Config, HostClient};
use metal3_rpc::v1::ListHostsRequest;
use metal3_testkit::{certs, wait};
use tonic::Code;

use crate::hosts::Hosts;
use crate::program::Place;

#[tokio::test]
async fn a_client_trusts_the_ca_that_its_file_holds_now() {
    let (place, hosts) = (Place::new(), Hosts::new("lab"));
    let serving = place.open(&hosts).await;
    let client = HostClient::new(&Config {
        ca_file: Some(place.certificates.ca_file.clone()),
        ..Config::new(place.address())
    })
    .unwrap();
    let call = || client.list_hosts(ListHostsRequest::default());
    call().await.unwrap();

    // A file that is just written does not take away what is trusted.
    std::fs::write(&place.certificates.ca_file, "-----BEGIN").unwrap();
    call().await.unwrap();
    std::fs::write(&place.certificates.ca_file, &place.certificates.ca).unwrap();

    // The server gets a certificate by another authority; who trusts it is told later.
    serving.close();
    let renewed = certs::server_dir(&["localhost"]).unwrap();
    for file in ["tls.crt", "tls.key"] {
        std::fs::copy(renewed.dir.join(file), place.certificates.dir.join(file)).unwrap();
    }
    wait::until("the port to be free", wait::LONG, async || {
        let free = std::net::TcpListener::bind(place.address().trim_start_matches("https://")).is_ok();
        free.then_some(())
    })
    .await;
    let _serving = place.open(&hosts).await;
    let refused = call().await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    std::fs::copy(&renewed.ca_file, &place.certificates.ca_file).unwrap();
    call().await.unwrap();
}
