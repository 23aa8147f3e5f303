//! A wire between a client and Ironic that writes down what the client asks for.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::{Map, Value};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A request that changes something.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query after `/v1/`, or after `/` where the client leaves `/v1` out.
    pub(crate) path: String,
    pub(crate) body: Value,
}

/// Forwards connections, and keeps the requests in the order in which they were complete.
pub(crate) struct Recorder {
    /// What the client is to use instead of Ironic's own address, without a path.
    pub(crate) base: String,
    seen: Arc<Mutex<Vec<Request>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Recorder {
    /// In front of an Ironic at `endpoint`, for example `http://127.0.0.1:6385/v1`.
    pub(crate) async fn before(endpoint: &str) -> Self {
        let authority = endpoint
            .strip_prefix("http://")
            .unwrap()
            .split('/')
            .next()
            .unwrap();
        let target: SocketAddr = authority.parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(forward(client, target, Arc::clone(&kept)));
            }
        });
        Self { base, seen, task }
    }

    /// Everything since the last call, without what only reads.
    pub(crate) fn take(&self) -> Vec<Request> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

async fn forward(client: TcpStream, target: SocketAddr, seen: Arc<Mutex<Vec<Request>>>) {
    let Ok(server) = TcpStream::connect(target).await else {
        return;
    };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let answers = async move {
        tokio::io::copy(&mut from_server, &mut to_client).await.ok();
    };
    let requests = async move {
        let (mut buffer, mut pending) = (vec![0; 64 << 10], Vec::new());
        while let Ok(count @ 1..) = from_client.read(&mut buffer).await {
            pending.extend_from_slice(&buffer[..count]);
            // Written down before Ironic can answer, so that the order is that of the client.
            while let Some((request, length)) = parse(&pending) {
                pending.drain(..length);
                if request.method != "GET" {
                    seen.lock().unwrap().push(request);
                }
            }
            if to_server.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
        to_server.shutdown().await.ok();
    };
    tokio::join!(answers, requests);
}

/// A request that is complete, and its length. Bodies have a length: no client here sends in chunks.
fn parse(bytes: &[u8]) -> Option<(Request, usize)> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let mut lines = head.lines();
    let mut words = lines.next()?.split(' ');
    let (method, path) = (words.next()?, words.next()?);
    let length = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(0, |(_, value)| value.trim().parse().unwrap());
    let body = bytes.get(end..end + length)?;
    let path = path.trim_start_matches('/').trim_start_matches("v1/");
    let request = Request {
        method: method.to_owned(),
        path: path.to_owned(),
        body: serde_json::from_slice(body).unwrap_or_default(),
    };
    Some((request, end + length))
}

/// The trace as lines that can be compared: UUIDs are `{uuid}`, the operations of a patch are sorted, a config drive shows
/// the names of its parts, and each text of `known` is shown by its placeholder.
pub(crate) fn lines(requests: &[Request], known: &[(&str, &str)]) -> Vec<String> {
    requests.iter().map(|request| line(request, known)).collect()
}

fn line(request: &Request, known: &[(&str, &str)]) -> String {
    let body = match &request.body {
        Value::Null => String::new(),
        Value::Array(operations) => {
            let mut shown: Vec<String> = operations.iter().map(operation).collect();
            shown.sort();
            format!(" [{}]", shown.join(", "))
        }
        Value::Object(map) if request.path == "nodes" => format!(" {}", named(map)),
        Value::Object(map) => {
            let mut map = map.clone();
            if let Some(Value::Object(drive)) = map.get("configdrive") {
                let parts: Vec<&str> = drive.keys().map(String::as_str).collect();
                let parts = Value::from(parts.join(" "));
                map.insert("configdrive".to_owned(), parts);
            }
            format!(" {}", Value::Object(map))
        }
        other => format!(" {other}"),
    };
    let line = format!("{} {}{body}", request.method, request.path);
    let line = known
        .iter()
        .filter(|(text, _)| !text.is_empty())
        .fold(line, |line, (text, placeholder)| line.replace(text, placeholder));
    without_uuids(&line)
}

fn without_uuids(text: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(first) = rest.chars().next() {
        let uuid = rest.get(..36).filter(|word| {
            word.bytes().enumerate().all(|(at, byte)| match at {
                8 | 13 | 18 | 23 => byte == b'-',
                _ => byte.is_ascii_hexdigit(),
            })
        });
        let length = uuid.map_or_else(|| first.len_utf8(), str::len);
        out.push_str(if uuid.is_some() { "{uuid}" } else { &rest[..length] });
        rest = &rest[length..];
    }
    out
}

/// A creation is compared by its fields, and `driver_info` by its keys: values differ from bed to bed.
fn named(map: &Map<String, Value>) -> String {
    let fields: Vec<String> = map
        .iter()
        .map(|(field, value)| match (field.as_str(), value) {
            ("driver_info", Value::Object(info)) => {
                let keys: Vec<&str> = info.keys().map(String::as_str).collect();
                format!("driver_info({})", keys.join(" "))
            }
            _ => format!("{field}={value}"),
        })
        .collect();
    fields.join(" ")
}

fn operation(operation: &Value) -> String {
    let path = operation["path"].as_str().unwrap_or_default();
    match operation["op"].as_str() {
        Some("remove") => format!("-{path}"),
        _ => format!("{path}={}", operation["value"]),
    }
}
