//! What happens in a client, told to whom it may concern: metrics are none of this crate's business.

use std::fmt::Debug;
use std::time::Duration;

use tonic::Code;

/// Is told what a client does. All methods may be left out, and none may block.
pub trait Observer: Debug + Send + Sync + 'static {
    /// A call ended; `took` has its retries in it. An open stream is a call that took as long as opening it.
    fn called(&self, _method: &'static str, _code: Code, _took: Duration) {}

    /// An attempt failed for this cause and is made again.
    fn retried(&self, _method: &'static str, _cause: &'static str) {}

    /// So many replicas are known, and so many of them are not set aside because they failed last.
    fn replicas(&self, _known: usize, _usable: usize) {}

    /// A stream of hosts broke, or could not be opened, and is opened again.
    fn stream_lost(&self, _code: Code) {}
}

/// Nobody listens.
impl Observer for () {}
