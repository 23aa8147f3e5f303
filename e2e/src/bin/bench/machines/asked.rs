//! Who asked what of the API server: its audit log, counted while it grows.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use metal3_testkit::ControlPlane;
use serde::Deserialize;
use tokio_util::task::AbortOnDropHandle;

use crate::count::Counts;

/// The log is put aside when it is big; until then it must have been read.
const LOOKS: Duration = Duration::from_millis(500);

/// Requests so far; it goes on counting until it is dropped.
pub(super) struct Asked {
    log: Arc<Mutex<Log>>,
    _reading: AbortOnDropHandle<()>,
}

impl Asked {
    /// Counts what the ServiceAccounts of a namespace ask from now on.
    pub(super) fn start(plane: &ControlPlane, namespace: &str) -> Result<Self> {
        let path = plane.kubeconfig().with_file_name("audit.log");
        let accounts = format!("system:serviceaccount:{namespace}:");
        let log = Arc::new(Mutex::new(Log::open(path, accounts)?));
        let reader = Arc::clone(&log);
        let reading = tokio::spawn(async move {
            loop {
                tokio::time::sleep(LOOKS).await;
                // Whoever wants to know the counts is told what is wrong.
                let _ = reader.lock().unwrap_or_else(PoisonError::into_inner).read();
            }
        });
        Ok(Self {
            log,
            _reading: AbortOnDropHandle::new(reading),
        })
    }

    /// Requests by account, verb and resource.
    pub(super) fn counts(&self) -> Result<Counts> {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.read()?;
        Ok(log.counts.clone())
    }
}

/// The requests of one account, without what is not told of it.
pub(super) fn of(account: &str, counts: &Counts, told: impl Fn(&str) -> bool) -> Counts {
    let prefix = format!("{account} ");
    let own = counts
        .iter()
        .filter_map(|(name, count)| Some((name.strip_prefix(&prefix)?.to_owned(), *count)));
    own.filter(|(name, _)| told(name)).collect()
}

/// Neither a Lease nor a watch, which is opened anew every few minutes.
pub(super) fn is_work(request: &str) -> bool {
    !request.starts_with("watch ") && !request.contains(" leases")
}

struct Log {
    path: PathBuf,
    accounts: String,
    file: BufReader<File>,
    /// A line whose end is not written yet.
    begun: String,
    counts: Counts,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    stage: String,
    verb: String,
    user: User,
    #[serde(default)]
    object_ref: Object,
    #[serde(default)]
    response_status: Status,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Object {
    resource: String,
    subresource: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    code: u16,
}

impl Log {
    fn open(path: PathBuf, accounts: String) -> Result<Self> {
        Ok(Self {
            file: BufReader::new(open(&path)?),
            path,
            accounts,
            begun: String::new(),
            counts: Counts::new(),
        })
    }

    /// Reads what was written meanwhile.
    fn read(&mut self) -> Result<()> {
        loop {
            self.rest()?;
            let newest = std::fs::metadata(&self.path)?;
            if newest.ino() == self.file.get_ref().metadata()?.ino() {
                return Ok(());
            }
            // It was put aside: what came between the last read and that moment is still to be read.
            self.rest()?;
            self.file = BufReader::new(open(&self.path)?);
        }
    }

    fn rest(&mut self) -> Result<()> {
        while self.file.read_line(&mut self.begun)? != 0 {
            if !self.begun.ends_with('\n') {
                return Ok(());
            }
            let line = std::mem::take(&mut self.begun);
            if let Some(request) = request(&line, &self.accounts)? {
                *self.counts.entry(request).or_default() += 1.0;
            }
        }
        Ok(())
    }
}

fn open(path: &Path) -> Result<File> {
    File::open(path).with_context(|| format!("cannot read the audit log {}", path.display()))
}

/// A line of the log in words, if one of the accounts asked.
fn request(line: &str, accounts: &str) -> Result<Option<String>> {
    if !line.contains(accounts) {
        return Ok(None);
    }
    let line: Line = serde_json::from_str(line).with_context(|| format!("odd audit line {line}"))?;
    let Some(account) = line.user.username.strip_prefix(accounts) else {
        return Ok(None);
    };
    // A watch is told when it begins and when it ends.
    if (line.stage == "ResponseStarted") != (line.verb == "watch") {
        return Ok(None);
    }
    let Object {
        resource,
        subresource,
    } = line.object_ref;
    let mut request = match resource.as_str() {
        "" => format!("{account} {} other", line.verb),
        resource => format!("{account} {} {resource}", line.verb),
    };
    if !subresource.is_empty() {
        request.push_str(&format!("/{subresource}"));
    }
    if line.response_status.code >= 400 {
        request.push_str(&format!(" ({})", line.response_status.code));
    }
    Ok(Some(request))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use metal3_testkit::scratch;

    use super::*;

    fn line(user: &str, stage: &str, verb: &str, resource: &str, code: u16) -> String {
        let line = serde_json::json!({
            "stage": stage, "verb": verb, "user": {"username": user},
            "objectRef": {"resource": resource, "subresource": "status"}, "responseStatus": {"code": code},
        });
        format!("{line}\n")
    }

    #[test]
    fn requests_are_told_by_account_and_a_watch_once() {
        let told = |user: &str, stage: &str, verb: &str, code: u16| {
            request(&line(user, stage, verb, "things", code), "sa:ns:").unwrap()
        };
        assert_eq!(
            told("sa:ns:capm3", "ResponseComplete", "patch", 409).as_deref(),
            Some("capm3 patch things/status (409)")
        );
        assert_eq!(
            told("sa:ns:capm3", "ResponseStarted", "watch", 200).as_deref(),
            Some("capm3 watch things/status")
        );
        assert_eq!(told("sa:ns:capm3", "ResponseComplete", "watch", 200), None);
        assert_eq!(told("sa:other:capm3", "ResponseComplete", "get", 200), None);
    }

    #[test]
    fn a_log_that_is_put_aside_is_read_to_its_end() {
        let folder = scratch::dir("audit").unwrap();
        let path = scratch::file(&folder, "audit.log", "").unwrap();
        let write = |text: &str| {
            let mut file = File::options().append(true).create(true).open(&path).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        };
        let mut log = Log::open(path.clone(), "sa:ns:".into()).unwrap();
        let one = line("sa:ns:bmo", "ResponseComplete", "get", "things", 200);
        let (begin, end) = one.split_at(20);
        write(begin);
        log.read().unwrap();
        assert!(log.counts.is_empty(), "a half line is no request yet");
        write(end);
        write(&one);
        std::fs::rename(&path, folder.join("aside")).unwrap();
        write(&one);
        log.read().unwrap();
        assert_eq!(log.counts, [("bmo get things/status".to_owned(), 3.0)].into());
    }

    #[test]
    fn leases_and_watches_are_no_work() {
        let counts: Counts = [
            "capm3 watch machines",
            "capm3 update leases",
            "capm3 get secrets",
            "bmo get hosts",
        ]
        .map(|name| (name.to_owned(), 1.0))
        .into();
        assert_eq!(
            of("capm3", &counts, is_work),
            [("get secrets".to_owned(), 1.0)].into()
        );
    }
}
