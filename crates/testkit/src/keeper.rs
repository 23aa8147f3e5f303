//! Starts child processes that cannot outlive this process.
//!
//! The kernel kills a child when the *thread* that started it ends, so a test's own thread must not be the one: a thread
//! that lives as long as the process does it. `setpriv` of util-linux sets the signal, because doing so from Rust needs
//! unsafe code.

use std::io;
use std::process::{Child, Command};
use std::sync::LazyLock;
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};

type Job = (Command, SyncSender<io::Result<Child>>);

static KEEPER: LazyLock<Sender<Job>> = LazyLock::new(|| {
    let (jobs, waiting) = channel::<Job>();
    std::thread::spawn(move || {
        for (mut command, answer) in waiting {
            // Fails only when the caller is gone.
            let _ = answer.send(command.spawn());
        }
    });
    jobs
});

/// A command that dies with this process.
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// Starts it.
pub(crate) fn spawn(command: Command) -> io::Result<Child> {
    let gone = || io::Error::other("the thread that starts processes ended");
    let (answer, answered) = sync_channel(1);
    KEEPER.send((command, answer)).map_err(|_| gone())?;
    answered.recv().map_err(|_| gone())?
}
