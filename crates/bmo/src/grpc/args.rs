//! Flags that guard the HostService.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use metal3_kit::caller::Keep;
use metal3_kit::tls::ClientCa;

use super::limits::Rate;

/// Who may call the HostService how often.
#[derive(clap::Args, Clone, Debug)]
pub struct GuardArgs {
    /// File with CAs in PEM, read anew for each connection. Callers of the HostService need a certificate that one of them
    /// signed, besides their token; empty: the token alone.
    #[arg(long)]
    pub grpc_client_ca_file: Option<PathBuf>,
    /// Calls a second that each user may make of the HostService; 0: any number.
    #[arg(long, default_value_t = 500)]
    pub grpc_rate_limit: u32,
    /// Calls that each user may make at once, before the rate counts.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..))]
    pub grpc_rate_burst: u32,
    /// WatchHosts streams that each user may have open.
    #[arg(long, default_value_t = 100)]
    pub grpc_watch_limit: u16,
    /// Seconds for which the answers of Kubernetes about callers are kept. A token or right that was withdrawn works for so
    /// long, and open streams end after at most half as long again.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..=3600))]
    pub grpc_access_cache_seconds: u16,
}

impl GuardArgs {
    pub(super) fn rate(&self) -> Option<Rate> {
        (self.grpc_rate_limit > 0).then(|| Rate {
            per_second: self.grpc_rate_limit.into(),
            burst: self.grpc_rate_burst.into(),
        })
    }

    pub(super) fn keep(&self) -> Keep {
        Keep::up_to(Duration::from_secs(self.grpc_access_cache_seconds.into()))
    }

    /// Whose certificates callers must have, if any.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub(crate) fn client_ca(&self) -> Result<Option<Arc<ClientCa>>> {
        let path = self.grpc_client_ca_file.as_deref();
        let path = path.filter(|path| !path.as_os_str().is_empty());
        path.map(ClientCa::open).transpose()
    }
}
