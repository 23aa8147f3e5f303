//! Which hosts need a Secret. Pure: the hosts themselves say so, owner references are only hints.

use std::collections::HashSet;
use std::sync::Arc;

use kube::{Resource as _, ResourceExt as _};
use metal3_api::metal3::host::BareMetalHost;
use metal3_provisioner::HostKey;

use crate::watch::Guarded;

/// Who needs a Secret.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Usage {
    /// It must stay.
    pub(super) needed: bool,
    /// UIDs of hosts that have nothing to do with it.
    pub(super) strangers: Vec<String>,
}

/// Looks through all hosts; those that let go of everything already, `going`, count no more.
pub(super) fn usage(key: &HostKey, hosts: &[Arc<Guarded>], going: &HashSet<String>) -> Usage {
    let mut usage = Usage {
        needed: false,
        strangers: Vec::new(),
    };
    for host in hosts {
        let uid = host.uid().unwrap_or_default();
        if host.namespace().as_deref() != Some(&key.namespace) || going.contains(&uid) {
            continue;
        }
        match &host.0 {
            Ok(host) if needed(host).any(|name| name == key.name) => usage.needed = true,
            Ok(host) if host.meta().deletion_timestamp.is_none() && !mentions(host, &key.name) => {
                usage.strangers.push(uid);
            }
            Ok(_) => {}
            // What it needs is unknown until somebody corrects it.
            Err(_) => usage.needed = true,
        }
    }
    usage
}

/// The Secrets that a host needs as long as it is there.
pub(super) fn needed(host: &BareMetalHost) -> impl Iterator<Item = &str> {
    let network = host.spec.preprovisioning_network_data_name.as_deref();
    [Some(host.spec.bmc.credentials_name.as_str()), network]
        .into_iter()
        .flatten()
        .filter(|name| !name.is_empty())
}

/// Whether any field of the host names this Secret.
fn mentions(host: &BareMetalHost, name: &str) -> bool {
    let spec = &host.spec;
    let references = [&spec.user_data, &spec.meta_data, &spec.network_data];
    let image = spec.image.as_ref();
    needed(host)
        .chain(
            references
                .into_iter()
                .flatten()
                .filter_map(|one| one.name.as_deref()),
        )
        .chain(image.and_then(|image| image.oci_auth_secret_name.as_deref()))
        .any(|named| named == name)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn host(name: &str, spec: &Value) -> Arc<Guarded> {
        let metadata = json!({"namespace": "a", "name": name, "uid": name});
        Arc::new(serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap())
    }

    fn with(secret: &str) -> Value {
        json!({"online": true, "bmc": {"address": "", "credentialsName": secret}})
    }

    fn of(secret: &str, hosts: &[Arc<Guarded>], going: &[&str]) -> (bool, Vec<String>) {
        let going = going.iter().map(|uid| (*uid).to_owned()).collect();
        let usage = usage(&HostKey::new("a", secret), hosts, &going);
        (usage.needed, usage.strangers)
    }

    #[test]
    fn a_shared_secret_is_needed_until_the_last_of_its_hosts_lets_go() {
        let hosts = [host("x", &with("s")), host("y", &with("s"))];
        assert_eq!(of("s", &hosts, &[]), (true, vec![]));
        assert_eq!(of("s", &hosts, &["x"]), (true, vec![]));
        assert_eq!(of("s", &hosts, &["x", "y"]), (false, vec![]));
    }

    #[test]
    fn the_network_data_of_the_ramdisk_is_needed_too() {
        let mut spec = with("s");
        spec["preprovisioningNetworkDataName"] = json!("net");
        assert_eq!(of("net", &[host("x", &spec)], &[]), (true, vec![]));
    }

    #[test]
    fn a_host_that_names_it_nowhere_is_a_stranger() {
        let mut other = with("other");
        let hosts = [host("x", &other), host("y", &with("s"))];
        assert_eq!(of("s", &hosts, &[]), (true, vec!["x".into()]));
        other["userData"] = json!({"name": "s"});
        assert_eq!(of("s", &[host("x", &other)], &[]), (false, vec![]));
    }

    #[test]
    fn hosts_of_other_namespaces_have_nothing_to_do_with_it() {
        let hosts = [host("x", &with("s"))];
        assert_eq!(
            usage(&HostKey::new("b", "s"), &hosts, &HashSet::new()),
            Usage {
                needed: false,
                strangers: vec![]
            }
        );
    }

    #[test]
    fn an_unreadable_host_may_need_anything() {
        assert_eq!(of("s", &[host("x", &json!("a text"))], &[]), (true, vec![]));
    }
}
