//! A new node.

use std::net::IpAddr;

use metal3_api::metal3::host::{ErrorType, InspectionMode};
use metal3_bmc::{Bmc, Info};
use metal3_provisioner::{BmcAccess, CleaningMode, Error, NodeId, RegisterArgs, Registration};
use reqwest::StatusCode;
use secrecy::ExposeSecret as _;
use serde_json::{Map, Value, json};

use super::find::node_name;
use super::{Request, answer, checks, configure};
use crate::provisioner::IronicProvisioner;
use crate::provisioner::drive::{failed, locked};
use crate::provisioner::patch::capabilities;

pub(super) async fn create(ironic: &IronicProvisioner, request: &Request<'_>) -> Result<Registration, Error> {
    let body = body(ironic, request).await?;
    match ironic.client.create_node(&body).await? {
        Ok(node) => {
            ironic.mirror.wrote(&node.uuid);
            tracing::info!(host = %request.host.key, node = %node.uuid, "node registered in ironic");
            let id = Some(NodeId(node.uuid.clone()));
            let fresh = Request {
                credentials_changed: false,
                fresh: true,
                bmc: request.bmc.clone(),
                ..*request
            };
            // A new node needs its access verified, and its ramdisk and ports; both in the same pass.
            let outcome = configure::configure(ironic, &fresh, node).await?;
            Ok(Registration {
                node: id,
                outcome: outcome.notice("Registered", "Registered new host"),
            })
        }
        // Made by somebody at the same time; the next pass finds it.
        Err(refusal) if refusal.is_conflict() => Ok(Registration {
            node: None,
            outcome: locked(),
        }),
        // For example, a driver or an interface that this Ironic does not have.
        Err(refusal) if refusal.status() == StatusCode::BAD_REQUEST => {
            let words = masked(refusal.message(), request.access);
            let message = format!("failed to register host in ironic: {words}");
            Ok(answer(request.host, failed(ErrorType::Registration, message)))
        }
        Err(refusal) => Err(refusal.into_error(&format!("the new node of host {}", request.host.key))),
    }
}

async fn body(ironic: &IronicProvisioner, request: &Request<'_>) -> Result<Value, Error> {
    let (args, driver) = (request.args, request.bmc.driver);
    let live = args
        .current_image
        .as_ref()
        .is_some_and(|image| image.format.as_deref() == Some("live-iso"));
    let deploy = if live {
        Some("ramdisk")
    } else if args.custom_deploy {
        Some("custom-agent")
    } else {
        None
    };
    let mut body = json!({
        "driver": driver.driver,
        "name": node_name(request.host),
        "boot_interface": driver.boot,
        "raid_interface": driver.raid,
        "inspect_interface": inspect_interface(&request.bmc, args.inspection),
        "driver_info": driver_info(ironic, &request.bmc, request.access).await,
        "properties": properties(args),
        "automated_clean": args.cleaning == CleaningMode::Metadata,
    });
    if checks::can_disable_power_off(ironic).await? {
        body["disable_power_off"] = json!(args.disable_power_off);
    }
    for (field, value) in [
        ("bios_interface", driver.bios),
        ("management_interface", driver.management),
        ("power_interface", driver.management),
        ("vendor_interface", driver.management),
        ("firmware_interface", driver.firmware),
        ("deploy_interface", deploy),
    ] {
        if let Some(value) = value {
            body[field] = json!(value);
        }
    }
    Ok(body)
}

fn properties(args: &RegisterArgs) -> Value {
    let mut properties = json!({"capabilities": capabilities(&Value::Null, args.boot_mode)});
    if let Some(architecture) = &args.architecture {
        properties["cpu_arch"] = json!(architecture);
    }
    properties
}

pub(in crate::provisioner) fn inspect_interface(bmc: &Bmc, mode: Option<InspectionMode>) -> &'static str {
    match (mode, bmc.driver.fast_inspect) {
        (Some(InspectionMode::Fast), Some(interface)) => interface,
        _ => "agent",
    }
}

/// All of `driver_info` that follows from the host.
pub(super) async fn driver_info(
    ironic: &IronicProvisioner,
    bmc: &Bmc,
    access: &BmcAccess,
) -> Map<String, Value> {
    let family = bmc.driver.family;
    let mut info: Map<String, Value> = bmc
        .driver_info(access.disable_certificate_verification)
        .into_iter()
        .map(|(key, value)| {
            let value = match value {
                Info::Text(text) => json!(text),
                Info::Flag(flag) => json!(flag),
            };
            (key.to_owned(), value)
        })
        .collect();
    info.insert(family.key("username").into(), json!(access.credentials.username));
    info.insert(
        family.key("password").into(),
        json!(access.credentials.password.expose_secret()),
    );
    if let Some(url) = &ironic.settings.external_url_v6
        && is_ipv6(&bmc.host).await
    {
        info.insert("external_http_url".into(), json!(url));
    }
    info
}

/// Whether the machine is reached by IPv6: by its literal address, or by what its name resolves to first.
async fn is_ipv6(host: &str) -> bool {
    let literal = host.trim_matches(['[', ']']);
    if let Ok(address) = literal.parse::<IpAddr>() {
        return address.is_ipv6();
    }
    match tokio::net::lookup_host((host, 0)).await {
        Ok(mut addresses) => addresses.next().is_some_and(|address| address.is_ipv6()),
        Err(error) => {
            tracing::debug!(host, %error, "the name of a BMC does not resolve here");
            false
        }
    }
}

/// Ironic quotes what it refuses.
pub(super) fn masked(words: &str, access: &BmcAccess) -> String {
    let password = access.credentials.password.expose_secret();
    if password.is_empty() {
        return words.to_owned();
    }
    words.replace(password, "******")
}

#[cfg(test)]
mod tests {
    use metal3_provisioner::Credentials;

    use super::*;

    #[tokio::test]
    async fn literal_addresses_tell_their_version_without_a_name_server() {
        assert!(is_ipv6("[2001:db8::1]").await);
        assert!(!is_ipv6("192.0.2.1").await);
        assert!(!is_ipv6("no.such.name.invalid").await);
    }

    #[test]
    fn a_password_that_ironic_quotes_is_not_shown() {
        let access = |password: &str| BmcAccess {
            address: "ipmi://192.0.2.1".into(),
            credentials: Credentials {
                username: "root".into(),
                password: password.into(),
            },
            disable_certificate_verification: false,
        };
        assert_eq!(
            masked("'s3cret' is wrong", &access("s3cret")),
            "'******' is wrong"
        );
        assert_eq!(masked("nothing", &access("")), "nothing");
    }
}
