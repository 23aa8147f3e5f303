//! Ports of the loopback interface that nobody else takes.

use std::fs::{self, File};
use std::net::TcpListener;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, bail};

/// Below the range from which the kernel takes ports of outgoing connections.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// Locks of the ports given out; the kernel frees them with the process.
static TAKEN: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// A port that this process may listen on. No other process that asks here gets the same one while this process lives.
///
/// # Errors
/// When the folder of locks in the temporary folder cannot be used, or no port is free.
pub fn free() -> Result<u16> {
    let folder = std::env::temp_dir().join("metal3-test-ports");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    let start = uuid::Uuid::new_v4().as_u64_pair().0;
    for offset in 0..u64::from(COUNT) {
        let port = FIRST + u16::try_from((start % u64::from(COUNT) + offset) % u64::from(COUNT))?;
        let lock = File::options()
            .create(true)
            .append(true)
            .open(folder.join(port.to_string()))?;
        if lock.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            taken.push(lock);
            return Ok(port);
        }
    }
    bail!("no free port between {FIRST} and {}", FIRST + COUNT)
}
