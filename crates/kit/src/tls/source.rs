//! Where a service has its certificate from, as its flags say.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use kube::Client;
use tokio_util::sync::CancellationToken;

use super::{Certificate, Folder, Keeper, Publisher, Target};
use crate::shutdown::TaskSet;

/// A folder, or a Secret that the service itself looks after.
#[derive(Debug)]
pub struct Source<'a> {
    /// What there is to say without a certificate: who has none, and which flags to see.
    pub missing: &'static str,
    /// Folder with `tls.crt` and `tls.key`, unless there is a Secret.
    pub folder: &'a Path,
    /// Name of the Secret; empty: the folder.
    pub secret: &'a str,
    /// The Service that the certificate is for.
    pub service: &'a str,
    /// Namespace of the Secret and the Service.
    pub namespace: &'a str,
    /// Who has to be told the authority of a certificate of our own.
    pub callers: Vec<Target>,
}

impl Source<'_> {
    /// Reads or makes the certificate, and spawns what follows or renews it.
    ///
    /// # Errors
    /// When there is none to be had.
    pub async fn open(
        self,
        client: &Client,
        tasks: &mut TaskSet,
        shutdown: &CancellationToken,
    ) -> Result<Arc<Certificate>> {
        if self.secret.is_empty() {
            let folder = Folder::open(self.folder).context(self.missing)?;
            let certificate = folder.certificate();
            tasks.spawn("certificate", folder.follow(shutdown.clone()));
            return Ok(certificate);
        }
        let keeper = Keeper::new(client.clone(), self.namespace, self.secret, self.service);
        let kept = keeper.obtain(Timestamp::now()).await.context(self.missing)?;
        let certificate = Arc::clone(&kept.certificate);
        let publisher = Publisher::new(client.clone(), self.callers);
        tasks.spawn(
            "ca bundle",
            publisher.follow(kept.bundle.clone(), shutdown.clone()),
        );
        tasks.spawn("certificate", keeper.follow(kept, shutdown.clone()));
        Ok(certificate)
    }
}
