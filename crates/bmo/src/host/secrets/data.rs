//! What a deployment and a ramdisk are given: config drive, network data, login to a registry. Read when needed, not kept.

use metal3_api::metal3::host::{BareMetalHost, Image};
use metal3_provisioner::ConfigDrive;
use secrecy::SecretString;

use super::beside::Beside;
use super::claim::Claim;
use super::pull::{self, Unusable};
use super::{Secrets, content};
use crate::host::reconcile::Failure;

impl Secrets {
    /// The content of the config drive.
    ///
    /// # Errors
    /// The inner error says which Secret or key is missing.
    pub(crate) async fn config_drive(
        &self,
        host: &BareMetalHost,
    ) -> Result<Result<ConfigDrive, String>, Failure> {
        let spec = &host.spec;
        let beside = Beside::of(&self.client, host);
        let mut drive = ConfigDrive::default();
        for (field, secret, required, slot) in [
            ("userData", &spec.user_data, true, &mut drive.user_data),
            ("metaData", &spec.meta_data, true, &mut drive.meta_data),
            ("networkData", &spec.network_data, false, &mut drive.network_data),
        ] {
            let name = match beside.named(field, secret.as_ref()) {
                Ok(name) => name,
                Err(problem) => return Ok(Err(problem)),
            };
            // What the ramdisk needed to reach the network, the instance needs, too.
            let name = name.or_else(|| ramdisk_network(host).filter(|_| field == "networkData"));
            let Some(name) = name else { continue };
            let key = beside.key(name);
            let Some(secret) = beside.get(name).await? else {
                return Ok(Err(format!("the {field} secret {key} does not exist")));
            };
            match content::text(&key, &secret, field, required) {
                Ok(text) => *slot = text,
                Err(problem) => return Ok(Err(problem)),
            }
        }
        Ok(Ok(drive))
    }

    /// The network data of the ramdisk. Its Secret gets our label and finalizer, and no owner: it is the user's.
    ///
    /// # Errors
    /// The inner error says what is wrong with the Secret.
    pub(crate) async fn network_data(
        &self,
        host: &BareMetalHost,
    ) -> Result<Result<Option<SecretString>, String>, Failure> {
        let Some(name) = ramdisk_network(host) else {
            return Ok(Ok(None));
        };
        let deleting = host.metadata.deletion_timestamp.is_some();
        let claim = (!deleting).then_some(Claim {
            owner: None,
            protected: true,
        });
        let beside = Beside::of(&self.client, host);
        let key = beside.key(name);
        Ok(match self.claimed(&beside, name, claim.as_ref()).await? {
            Some(secret) => match content::text(&key, &secret, "networkData", false) {
                Err(_) if deleting => Ok(None),
                read => read,
            },
            // Nothing must hold up a deletion.
            None if deleting => Ok(None),
            None => Err(format!("the networkData secret {key} does not exist")),
        })
    }

    /// `user:password` for the registry that an image comes from.
    ///
    /// # Errors
    /// The inner error says why the Secret cannot be used.
    pub(crate) async fn pull_secret(
        &self,
        host: &BareMetalHost,
        image: Option<&Image>,
    ) -> Result<Result<Option<SecretString>, Unusable>, Failure> {
        let named = image.and_then(|image| {
            let name = image.oci_auth_secret_name.as_deref()?;
            Some((image, name)).filter(|(image, name)| !name.is_empty() && pull::is_oci(&image.url))
        });
        let Some((image, name)) = named else {
            return Ok(Ok(None));
        };
        let beside = Beside::of(&self.client, host);
        let key = beside.key(name);
        let Some(secret) = beside.get(name).await? else {
            return Ok(Err(Unusable::missing(&key)));
        };
        Ok(pull::login(&key, &secret, &image.url).map(Some))
    }
}

fn ramdisk_network(host: &BareMetalHost) -> Option<&str> {
    let name = host.spec.preprovisioning_network_data_name.as_deref();
    name.filter(|name| !name.is_empty())
}
