//! Programs under test: started with a log file, killed without warning, started again.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, bail};

use crate::{keeper, scratch, wait};

/// How to start a program.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    dir: Option<PathBuf>,
    tail: usize,
}

impl Program {
    /// A program by its path, for example `env!("CARGO_BIN_EXE_metal3-bmo")`. It sees nothing of our environment but
    /// `PATH` and `RUST_BACKTRACE`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            args: Vec::new(),
            env: Vec::new(),
            dir: None,
            tail: 30,
        }
    }

    /// A program of this workspace as `cargo build` left it beside the running test.
    ///
    /// # Errors
    /// When it was not built.
    pub fn built(name: &str) -> Result<Self> {
        let test = std::env::current_exe()?;
        let Some(path) = test
            .ancestors()
            .skip(1)
            .take(2)
            .map(|folder| folder.join(name))
            .find(|path| path.exists())
        else {
            bail!(
                "{name} is not beside {}: run `cargo build -p {name}`",
                test.display()
            );
        };
        Ok(Self::new(path))
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Sets the working folder.
    #[must_use]
    pub fn current_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// How many lines of its log are shown when a test fails; 30 unless told.
    #[must_use]
    pub const fn tail(mut self, lines: usize) -> Self {
        self.tail = lines;
        self
    }

    /// Starts it; output goes to a log file.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(self) -> Result<Process> {
        let name = self
            .path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let log = scratch::dir(&name)?.join("log");
        let child = self.spawn(&log)?;
        let inner = Inner { child, ended: None };
        Ok(Process {
            program: self,
            name,
            log,
            inner: Arc::new(Mutex::new(inner)),
        })
    }

    /// Runs it to its end and answers what it wrote to standard output.
    ///
    /// # Errors
    /// When it cannot be started or fails; the message holds what it wrote.
    pub async fn output(self) -> Result<String> {
        let mut command = keeper::command(&self.path);
        self.configure(&mut command);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child =
            keeper::spawn(command).with_context(|| format!("cannot start {}", self.path.display()))?;
        let output = tokio::task::spawn_blocking(move || child.wait_with_output()).await??;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            bail!(
                "{} ended with {}:\n{text}{errors}",
                self.path.display(),
                output.status
            );
        }
        Ok(text)
    }

    fn configure(&self, command: &mut std::process::Command) {
        command.args(&self.args).env_clear();
        for name in ["PATH", "RUST_BACKTRACE"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
    }

    fn spawn(&self, log: &Path) -> Result<Child> {
        let open = || File::options().create(true).append(true).open(log);
        let mut command = keeper::command(&self.path);
        self.configure(&mut command);
        command.stdin(Stdio::null()).stdout(open()?).stderr(open()?);
        keeper::spawn(command)
            .with_context(|| format!("cannot start {} with setpriv of util-linux", self.path.display()))
    }
}

#[derive(Debug)]
struct Inner {
    child: Child,
    ended: Option<ExitStatus>,
}

impl Inner {
    fn poll(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
        }
        self.ended
    }

    fn kill(&mut self) {
        if self.ended.is_none() {
            // Fails only when it has ended already.
            let _ = self.child.kill();
            self.ended = self.child.wait().ok();
        }
    }
}

/// A running program, killed when dropped. When a test fails meanwhile, the end of the log is shown.
#[derive(Debug)]
pub struct Process {
    program: Program,
    name: String,
    log: PathBuf,
    inner: Arc<Mutex<Inner>>,
}

impl Process {
    /// Kills it at once, as `kill -9` does, and waits for its end.
    pub fn kill(&self) {
        self.lock().kill();
    }

    /// Asks it to end, as Kubernetes does, and waits for its end.
    ///
    /// # Errors
    /// When it does not end within `within`, or had ended before.
    pub async fn terminate(&self, within: std::time::Duration) -> Result<ExitStatus> {
        let pid = self.pid();
        Program::new("kill")
            .args(["-TERM", &pid.to_string()])
            .output()
            .await?;
        let end = format!("the end of {}", self.name);
        Ok(wait::try_until(&end, within, async || self.ended()).await?)
    }

    /// Starts it again with the same arguments; the log goes on.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn restart(&self) -> Result<()> {
        let mut inner = self.lock();
        inner.kill();
        *inner = Inner {
            child: self.program.spawn(&self.log)?,
            ended: None,
        };
        Ok(())
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.lock().child.id()
    }

    /// How it ended, if it did.
    pub fn ended(&self) -> Option<ExitStatus> {
        self.lock().poll()
    }

    /// Everything it wrote so far.
    pub fn log(&self) -> String {
        fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// The last lines it wrote.
    pub fn log_end(&self, lines: usize) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().rev().take(lines).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let ended = self.ended();
        self.kill();
        if std::thread::panicking() {
            let state = ended.map_or_else(
                || "was running".to_owned(),
                |status| format!("had ended with {status}"),
            );
            eprintln!(
                "---- {} {state}; end of its log:\n{}\n----",
                self.name,
                self.log_end(self.program.tail)
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_killed_program_starts_again_and_keeps_its_log() {
        let script = "echo started; exec sleep 1000";
        let process = Program::new("sh").args(["-c", script]).start().unwrap();
        let started = async |times: usize| {
            wait::until("the program to start", wait::LONG, async || {
                let count = process.log().matches("started").count();
                if count == times { Ok(()) } else { Err(count) }
            })
            .await;
        };
        started(1).await;
        let first = process.pid();
        process.kill();
        assert!(process.ended().is_some());
        process.restart().unwrap();
        assert!(process.ended().is_none());
        assert_ne!(process.pid(), first);
        started(2).await;
    }

    #[tokio::test]
    async fn a_failing_program_tells_what_it_wrote() {
        let error = Program::new("sh")
            .args(["-c", "echo why >&2; exit 3"])
            .output()
            .await
            .unwrap_err();
        assert!(error.to_string().contains("why"), "{error}");
    }

    #[test]
    fn programs_outlive_the_thread_that_started_them() {
        let process = std::thread::spawn(|| Program::new("sleep").arg("1000").start().unwrap())
            .join()
            .unwrap();
        assert!(process.ended().is_none());
    }
}
