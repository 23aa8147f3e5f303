//! The config drive: user data, network data and meta data as Ironic wants them.

use metal3_provisioner::{ConfigDrive, HostRef};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value, json};

/// The JSON for Ironic, which builds the OpenStack layout from it.
///
/// # Errors
/// Which part is neither YAML nor JSON; never its content.
pub(super) fn build(host: &HostRef, data: &ConfigDrive) -> Result<Value, String> {
    let name = &host.key.name;
    let mut meta: Map<String, Value> = [
        ("uuid", &host.uid),
        ("metal3-namespace", &host.key.namespace),
        ("metal3-name", name),
        ("local-hostname", name),
        ("local_hostname", name),
        ("name", name),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), json!(value)))
    .collect();
    match parse("metaData", data.meta_data.as_ref())? {
        Value::Object(own) => meta.extend(own),
        Value::Null => {}
        _ => return Err("metaData is not a map".into()),
    }
    let mut drive = json!({"meta_data": meta});
    let network = parse("networkData", data.network_data.as_ref())?;
    if !network.is_null() {
        drive["network_data"] = network;
    }
    if let Some(user) = data
        .user_data
        .as_ref()
        .filter(|user| !user.expose_secret().is_empty())
    {
        drive["user_data"] = json!(user.expose_secret());
    }
    Ok(drive)
}

fn parse(what: &str, text: Option<&SecretString>) -> Result<Value, String> {
    let Some(text) = text.filter(|text| !text.expose_secret().trim().is_empty()) else {
        return Ok(Value::Null);
    };
    serde_saphyr::from_str(text.expose_secret()).map_err(|_| format!("{what} is neither YAML nor JSON"))
}

#[cfg(test)]
mod tests {
    use metal3_provisioner::HostKey;

    use super::*;

    fn host() -> HostRef {
        HostRef {
            key: HostKey::new("ns", "a"),
            uid: "u".into(),
            node: None,
            bmc: None,
            boot_mac_address: None,
        }
    }

    #[test]
    fn own_meta_data_lies_over_the_defaults() {
        let data = ConfigDrive {
            user_data: Some("#cloud-config".into()),
            meta_data: Some("name: b\nextra: 1\n".into()),
            network_data: Some("{\"links\": []}".into()),
        };
        let drive = build(&host(), &data).unwrap();
        assert_eq!(drive["meta_data"]["name"], "b");
        assert_eq!(drive["meta_data"]["uuid"], "u");
        assert_eq!(drive["meta_data"]["extra"], 1);
        assert_eq!(drive["user_data"], "#cloud-config");
        assert_eq!(drive["network_data"], json!({"links": []}));
    }

    #[test]
    fn a_broken_part_is_named_but_not_shown() {
        let data = ConfigDrive {
            meta_data: Some("secret: [".into()),
            ..ConfigDrive::default()
        };
        let error = build(&host(), &data).unwrap_err();
        assert!(error.contains("metaData") && !error.contains("secret"), "{error}");
    }
}
