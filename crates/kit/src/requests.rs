//! Requests to the Kubernetes API, counted under the name that client-go made known.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use tower::{Layer, Service};

use crate::metrics::Metrics;

/// A request and its answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    /// `<error>` when there was none.
    code: String,
    method: String,
    host: String,
}

/// Counts the requests of a client.
#[derive(Clone, Debug)]
pub(crate) struct Counted {
    host: String,
    requests: Family<Answered, Counter>,
}

impl Counted {
    /// `host` is where the client sends them.
    pub(crate) fn new(metrics: &Metrics, host: &str) -> Self {
        let requests = Family::default();
        metrics.register(|registry| {
            registry.register(
                "rest_client_requests",
                "Requests to Kubernetes by their answer",
                requests.clone(),
            );
        });
        Self {
            host: host.to_owned(),
            requests,
        }
    }

    fn count(&self, method: String, code: String) {
        let host = self.host.clone();
        self.requests
            .get_or_create(&Answered { code, method, host })
            .inc();
    }
}

impl<S> Layer<S> for Counted {
    type Service = Counting<S>;

    fn layer(&self, inner: S) -> Counting<S> {
        Counting {
            inner,
            counted: self.clone(),
        }
    }
}

/// The service that counts.
#[derive(Clone, Debug)]
pub(crate) struct Counting<S> {
    inner: S,
    counted: Counted,
}

impl<S, A, B> Service<Request<A>> for Counting<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let (method, counted) = (request.method().to_string(), self.counted.clone());
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            let code = answer.as_ref().map_or_else(
                |_| "<error>".to_owned(),
                |answer| answer.status().as_u16().to_string(),
            );
            counted.count(method, code);
            answer
        })
    }
}

#[cfg(test)]
mod tests {
    use tower::{ServiceExt as _, service_fn};

    use super::*;

    #[tokio::test]
    async fn answers_and_their_lack_are_counted() {
        let metrics = Metrics::default();
        let counted = Counted::new(&metrics, "api:6443");
        let service = counted.layer(service_fn(async |request: Request<()>| {
            let found = request.uri().path() == "/found";
            let answer = Response::builder().status(if found { 200 } else { 404 }).body(());
            if request.uri().path() == "/down" {
                return Err("no route");
            }
            Ok(answer.unwrap())
        }));
        for path in ["/found", "/lost", "/lost", "/down"] {
            let request = Request::get(path).body(()).unwrap();
            service.clone().oneshot(request).await.ok();
        }
        let text = metrics.text().unwrap();
        for line in [
            r#"rest_client_requests_total{code="200",method="GET",host="api:6443"} 1"#,
            r#"rest_client_requests_total{code="404",method="GET",host="api:6443"} 2"#,
            r#"rest_client_requests_total{code="<error>",method="GET",host="api:6443"} 1"#,
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}
