//! Whom the client trusts, and who it says it is.

use metal3_rpc::client::{Config, ConfigError, HostClient, IdentityFiles};
use metal3_testkit::certs::Authority;
use metal3_testkit::scratch;
use tonic::Code;
use tonic::transport::{Certificate, Identity, ServerTlsConfig};

use crate::replicas::get;
use crate::server::Replica;

/// The name that the server's certificate is for; nothing resolves it.
const NAME: &str = "hosts.ns.svc";

async fn serve(authority: &Authority, clients: Option<&Authority>) -> String {
    metal3_testkit::init();
    let pair = authority.server(&[NAME]).unwrap();
    let tls = ServerTlsConfig::new().identity(Identity::from_pem(pair.certificate, pair.key));
    let tls = match clients {
        Some(clients) => tls.client_ca_root(Certificate::from_pem(&clients.certificate)),
        None => tls,
    };
    let address = Replica::new(1).serve(Some(tls)).await;
    format!("https://{address}")
}

fn config(address: &str, authority: &Authority) -> Config {
    let folder = scratch::dir("client").unwrap();
    let ca_file = scratch::file(&folder, "ca.crt", &authority.certificate).unwrap();
    Config {
        ca_file: Some(ca_file),
        server_name: Some(NAME.into()),
        ..Config::new(address)
    }
}

#[tokio::test]
async fn the_certificate_is_checked_for_the_name_of_the_service_whatever_the_address() {
    let authority = Authority::new("ca").unwrap();
    let address = serve(&authority, None).await;
    let right = config(&address, &authority);
    get(&HostClient::new(&right).unwrap()).await.unwrap();
    let other = Config {
        server_name: Some("other.ns.svc".into()),
        ..right.clone()
    };
    // Without a name it is the host of the address, which is an IP here.
    let none = Config {
        server_name: None,
        ..right
    };
    for wrong in [other, none] {
        let status = get(&HostClient::new(&wrong).unwrap()).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        assert!(status.message().contains("certificate"), "{status}");
    }
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_gets_the_one_that_the_files_hold_now() {
    let (authority, clients) = (Authority::new("ca").unwrap(), Authority::new("clients").unwrap());
    let address = serve(&authority, Some(&clients)).await;
    let nobody = config(&address, &authority);
    assert!(get(&HostClient::new(&nobody).unwrap()).await.is_err());

    let folder = scratch::dir("identity").unwrap();
    let write = |authority: &Authority| {
        let pair = authority.user("capm3", "metal3").unwrap();
        IdentityFiles {
            certificate: scratch::file(&folder, "tls.crt", pair.certificate).unwrap(),
            key: scratch::file(&folder, "tls.key", pair.key).unwrap(),
        }
    };
    let stranger = Config {
        identity: Some(write(&authority)),
        ..nobody
    };
    let client = HostClient::new(&stranger).unwrap();
    assert!(get(&client).await.is_err());
    write(&clients);
    get(&client).await.unwrap();
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let authority = Authority::new("ca").unwrap();
    let right = config("https://h:1", &authority);
    let missing = Config {
        ca_file: Some("/nowhere/ca.crt".into()),
        ..right.clone()
    };
    let error = HostClient::new(&missing).unwrap_err();
    assert!(
        matches!(error, ConfigError::Ca { .. }) && error.to_string().contains("/nowhere/ca.crt"),
        "{error}"
    );
    let files = IdentityFiles {
        certificate: right.ca_file.clone().unwrap(),
        key: right.ca_file.clone().unwrap(),
    };
    let keyless = Config {
        identity: Some(files),
        ..right
    };
    let error = HostClient::new(&keyless).unwrap_err();
    assert!(matches!(error, ConfigError::Identity { .. }), "{error}");
    assert!(matches!(
        HostClient::new(&Config::new("h:1")).unwrap_err(),
        ConfigError::Address { .. }
    ));
}
