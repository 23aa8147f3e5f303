//! What stands before the calls: how long they may take, how they ended, and words of the contract for what the transport
//! says by itself.

use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::{HeaderMap, Request, Response};
use metal3_rpc::call::Call;
use metal3_rpc::reason::Reason;
use tokio::time::{Instant, timeout_at};
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::{Code, Status};
use tower::Service;

use crate::metrics::CallMetrics;

/// Reads answer from memory, or with one look at Kubernetes.
const READ: Duration = Duration::from_secs(10);
/// Changes compete with other writers of a host, some rounds of it.
const CHANGE: Duration = Duration::from_secs(30);
/// The transport begins to count a moment before the door does; an answer needs a moment to the caller.
const AHEAD: Duration = Duration::from_millis(100);

/// A service of the contract, behind its door.
#[derive(Clone, Debug)]
pub(super) struct Door<S> {
    inner: S,
    metrics: CallMetrics,
}

impl<S> Door<S> {
    pub(super) const fn new(inner: S, metrics: CallMetrics) -> Self {
        Self { inner, metrics }
    }
}

impl<S: NamedService> NamedService for Door<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Door<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (begun, metrics) = (Instant::now(), self.metrics.clone());
        let path = request.uri().path();
        let Some(call) = Call::of_path(path) else {
            let message =
                format!("the HostService has no call {path}; see its reflection for those that it has");
            let status = Status::unimplemented(message);
            metrics.answered("", code(&status), "", begun.elapsed());
            return Box::pin(async { Ok(status.into_http()) });
        };
        let asked = deadline(request.headers()).unwrap_or(Duration::MAX);
        let limit = longest(call).min(asked);
        let end = begun + longest(call).min(asked.saturating_sub(ahead(asked)));
        let answer = self.inner.call(request);
        Box::pin(async move {
            let response = match timeout_at(end, answer).await {
                Ok(Ok(response)) => response,
                Err(_) => took_too_long(call, limit).into_http(),
            };
            let response = match response.extensions().get::<Status>().and_then(in_our_words) {
                Some(status) => status.into_http(),
                None => response,
            };
            trace(
                response
                    .extensions()
                    .get::<Status>()
                    .map_or(Code::Ok, Status::code),
            );
            let (code, reason) = match response.extensions().get::<Status>() {
                Some(status) => (code(status), Reason::of(status).map_or("", Reason::as_str)),
                None => ("OK", ""),
            };
            metrics.answered(call.name(), code, reason, begun.elapsed());
            Ok(response)
        })
    }
}

/// Tells the span of the call how it ended. What only the caller did wrong is no failure of ours.
fn trace(code: Code) {
    let span = tracing::Span::current();
    span.record("rpc.grpc.status_code", i32::from(code));
    if matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    ) {
        span.record("otel.status_code", "ERROR");
    }
}

/// The longest it may take to be answered; a stream is answered once it is open.
const fn longest(call: Call) -> Duration {
    if call.changes() { CHANGE } else { READ }
}

/// How long before the end of the caller's own time it is told: later nobody listens any more, and the transport, which counts
/// that time as well, says CANCELLED.
fn ahead(asked: Duration) -> Duration {
    (asked / 10).min(AHEAD)
}

fn took_too_long(call: Call, limit: Duration) -> Status {
    let message = format!(
        "{} was not done within {} s; it may be repeated, as every call of the contract",
        call.name(),
        limit.as_secs_f64()
    );
    Reason::TookTooLong.status(message, [("call", call.name())])
}

/// What is said of a message that cannot be decoded.
pub(super) fn unreadable(why: impl std::fmt::Display) -> Status {
    Reason::InvalidField.status(format!("the request cannot be read: {why}"), [])
}

/// A status of the transport, if the contract has words for it.
fn in_our_words(status: &Status) -> Option<Status> {
    if !status.details().is_empty() {
        return None;
    }
    let message = status.message();
    match status.code() {
        // What cannot be decoded, or is not there at all.
        Code::Internal => Some(unreadable(message)),
        Code::OutOfRange => Some(Reason::MessageTooLarge.status(message, [])),
        _ => None,
    }
}

/// The time that the caller gives itself: at most eight digits and a unit.
fn deadline(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

/// The name of a code, as the documents of gRPC write it.
fn code(status: &Status) -> &'static str {
    match status.code() {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use futures::future::{pending, ready};
    use tower::{ServiceExt as _, service_fn};

    use super::*;

    fn request(path: &str, timeout: Option<&str>) -> Request<Body> {
        let request = Request::post(path);
        let request = match timeout {
            Some(timeout) => request.header("grpc-timeout", timeout),
            None => request,
        };
        request.body(Body::empty()).unwrap()
    }

    fn status(response: &Response<Body>) -> Status {
        Status::from_header_map(response.headers()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn the_shorter_of_both_limits_counts_and_the_answer_says_which_call() {
        for (call, timeout, seconds) in [
            (Call::ClaimHost, None, 30),
            (Call::ClaimHost, Some("2S"), 2),
            (Call::ClaimHost, Some("1H"), 30),
            (Call::ClaimHost, Some("nonsense"), 30),
            (Call::ReleaseReservations, None, 30),
            (Call::ExplainHost, None, 10),
        ] {
            let path = format!("/metal3.host.v1.HostService/{}", call.name());
            let stuck = service_fn(|_| pending::<Result<Response<Body>, Infallible>>());
            let begun = Instant::now();
            let door = Door::new(stuck, CallMetrics::default());
            let status = status(&door.oneshot(request(&path, timeout)).await.unwrap());
            let (took, told) = (begun.elapsed(), Duration::from_secs(seconds));
            let early = timeout == Some("2S");
            assert_eq!(took, if early { told - AHEAD } else { told }, "{timeout:?}");
            assert_eq!(
                (status.code(), Reason::of(&status)),
                (Code::DeadlineExceeded, Some(Reason::TookTooLong))
            );
            assert!(status.message().starts_with(call.name()), "{status}");
        }
    }

    #[tokio::test]
    async fn what_the_transport_says_is_said_in_words_of_the_contract() {
        for (given, reason) in [
            (Status::internal("buffer underflow"), Some(Reason::InvalidField)),
            (Status::out_of_range("too large"), Some(Reason::MessageTooLarge)),
            (
                Reason::RevisionExpired.status("old", []),
                Some(Reason::RevisionExpired),
            ),
            (Status::unimplemented("gzip"), None),
        ] {
            let service = service_fn(|_| ready(Ok::<_, Infallible>(given.clone().into_http())));
            let door = Door::new(service, CallMetrics::default());
            let answer = door.oneshot(request("/metal3.host.v1.HostService/GetHost", None));
            assert_eq!(Reason::of(&status(&answer.await.unwrap())), reason, "{given}");
        }
    }

    #[tokio::test]
    async fn a_call_that_does_not_exist_goes_no_further() {
        let service =
            service_fn(|_| -> std::future::Ready<Result<Response<Body>, Infallible>> { unreachable!() });
        let door = Door::new(service, CallMetrics::default());
        let answer = door
            .oneshot(request("/metal3.host.v1.HostService/Nonsense", None))
            .await;
        let status = status(&answer.unwrap());
        assert_eq!(status.code(), Code::Unimplemented);
        assert!(status.message().contains("Nonsense"), "{status}");
    }

    #[test]
    fn the_time_of_the_caller_is_read_as_grpc_writes_it() {
        for (text, expected) in [
            ("100m", Some(Duration::from_millis(100))),
            ("5S", Some(Duration::from_secs(5))),
            ("2M", Some(Duration::from_secs(120))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("7u", Some(Duration::from_micros(7))),
            ("7n", Some(Duration::from_nanos(7))),
            ("123456789S", None),
            ("-1S", None),
            ("S", None),
            ("", None),
            ("5", None),
            ("5s", None),
        ] {
            let headers = HeaderMap::from_iter([(
                http::HeaderName::from_static("grpc-timeout"),
                text.parse().unwrap(),
            )]);
            assert_eq!(deadline(&headers), expected, "{text:?}");
        }
    }
}
