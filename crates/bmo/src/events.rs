//! Events on hosts, from the controller and from the HostService. What repeats within minutes raises the count of the
//! Event that is there instead of making another.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use metal3_host_core::EventKind;
use metal3_provisioner::HostKey;
use serde_json::json;

use crate::metrics::HostMetrics;

/// A repeat is joined with an event that was last told no longer ago than this.
const JOINED_FOR: SignedDuration = SignedDuration::from_mins(30);
/// Warnings that come faster are counted and told together.
const TOLD_EVERY: SignedDuration = SignedDuration::from_mins(1);
/// Events remembered, of all hosts.
const REMEMBERED: usize = 4096;

/// An event, before it is known when it is told.
pub(crate) struct Told {
    pub(crate) about: ObjectReference,
    pub(crate) related: Option<ObjectReference>,
    pub(crate) kind: EventKind,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl Told {
    fn host(&self) -> HostKey {
        let part = |part: &Option<String>| part.clone().unwrap_or_default();
        HostKey::new(part(&self.about.namespace), part(&self.about.name))
    }
}

/// Tells events; clones share what was told.
#[derive(Clone)]
pub(crate) struct Events {
    client: Client,
    metrics: HostMetrics,
    /// The pod, or the machine.
    instance: String,
    recent: Arc<Mutex<Recent>>,
}

impl Events {
    pub(crate) fn new(client: Client, metrics: HostMetrics) -> Self {
        let named = |variable: &str| std::env::var(variable).ok().filter(|name| !name.is_empty());
        Self {
            client,
            metrics,
            instance: named("POD_NAME")
                .or_else(|| named("HOSTNAME"))
                .unwrap_or_default(),
            recent: Arc::default(),
        }
    }

    /// Events are told, not guaranteed: a failure is logged only.
    pub(crate) async fn tell(&self, told: Told) {
        let (host, reason) = (told.host(), told.reason);
        let api: Api<Event> = Api::namespaced(self.client.clone(), &host.namespace);
        let now = Timestamp::now();
        let identity = self.recent().identity(&told);
        let repeat = self.recent().repeat(identity, told.kind, now);
        let published = match repeat {
            Repeat::Counted => {
                self.metrics.events_joined.inc();
                return;
            }
            Repeat::Tell { name, count } => match self.raise(&api, &name, count, now).await {
                // It expired, or the role is one of an earlier release, which knew no repeats.
                Err(kube::Error::Api(error)) if matches!(error.code, 403 | 404) => {
                    self.create(&api, told, identity, now).await
                }
                published => published,
            },
            Repeat::No => self.create(&api, told, identity, now).await,
        };
        if let Err(error) = published {
            tracing::warn!(%host, reason, %error, "event not published");
        }
    }

    async fn raise(
        &self,
        api: &Api<Event>,
        name: &str,
        count: i32,
        now: Timestamp,
    ) -> Result<(), kube::Error> {
        let patch = json!({"count": count, "lastTimestamp": Time(now)});
        self.metrics.wrote("event");
        api.patch(name, &PatchParams::default(), &Patch::Merge(&patch))
            .await?;
        self.metrics.events_joined.inc();
        Ok(())
    }

    async fn create(
        &self,
        api: &Api<Event>,
        told: Told,
        identity: u64,
        now: Timestamp,
    ) -> Result<(), kube::Error> {
        let object = self.object(told, now);
        self.metrics.wrote("event");
        let created = api.create(&PostParams::default(), &object).await?;
        self.recent().remember(identity, created.name_any(), now);
        Ok(())
    }

    fn object(&self, told: Told, now: Timestamp) -> Event {
        let host = told.host();
        Event {
            metadata: ObjectMeta {
                generate_name: Some(format!("{}-", host.name)),
                namespace: Some(host.namespace),
                ..ObjectMeta::default()
            },
            involved_object: ObjectReference {
                resource_version: None,
                ..told.about
            },
            related: told.related,
            reason: Some(told.reason.to_owned()),
            message: Some(told.message),
            type_: Some(match told.kind {
                EventKind::Normal => "Normal".to_owned(),
                EventKind::Warning => "Warning".to_owned(),
            }),
            count: Some(1),
            // No eventTime: with one, the API server wants a series instead of a count, which kubectl does not show.
            first_timestamp: Some(Time(now)),
            last_timestamp: Some(Time(now)),
            source: Some(EventSource {
                component: Some("metal3-baremetal-controller".to_owned()),
                ..EventSource::default()
            }),
            reporting_component: Some("metal3.io/baremetal-controller".to_owned()),
            reporting_instance: Some(self.instance.clone()).filter(|name| !name.is_empty()),
            ..Event::default()
        }
    }

    fn recent(&self) -> std::sync::MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was told lately. Pure: time is passed in.
#[derive(Debug, Default)]
struct Recent {
    hasher: RandomState,
    told: HashMap<u64, Known>,
}

/// An event that is in Kubernetes.
#[derive(Debug)]
struct Known {
    name: String,
    count: i32,
    /// When it was last written.
    written: Timestamp,
}

/// What to do about an event.
#[derive(Debug, PartialEq, Eq)]
enum Repeat {
    /// It is new.
    No,
    /// It was told a moment ago: it will be told with the next one.
    Counted,
    /// Raise the count of this Event.
    Tell { name: String, count: i32 },
}

impl Recent {
    /// Two events with the same identity read the same.
    fn identity(&self, told: &Told) -> u64 {
        let about = &told.about;
        let kind = told.kind == EventKind::Warning;
        self.hash(&(
            (&about.uid, &about.namespace, &about.name),
            (kind, told.reason, &told.message),
        ))
    }

    fn hash(&self, identity: &impl Hash) -> u64 {
        self.hasher.hash_one(identity)
    }

    fn repeat(&mut self, identity: u64, kind: EventKind, now: Timestamp) -> Repeat {
        let Some(known) = self.told.get_mut(&identity) else {
            return Repeat::No;
        };
        let age = now.duration_since(known.written);
        if age > JOINED_FOR {
            self.told.remove(&identity);
            return Repeat::No;
        }
        known.count = known.count.saturating_add(1);
        if kind == EventKind::Warning && age < TOLD_EVERY {
            return Repeat::Counted;
        }
        known.written = now;
        Repeat::Tell {
            name: known.name.clone(),
            count: known.count,
        }
    }

    fn remember(&mut self, identity: u64, name: String, now: Timestamp) {
        if self.told.len() >= REMEMBERED {
            self.told
                .retain(|_, known| now.duration_since(known.written) <= JOINED_FOR);
        }
        // Still full of what is new: forgetting some only makes another Event of a repeat.
        if self.told.len() >= REMEMBERED {
            let mut times: Vec<_> = self.told.values().map(|known| known.written).collect();
            times.sort_unstable();
            let middle = times.get(times.len() / 2).copied().unwrap_or(now);
            self.told.retain(|_, known| known.written > middle);
        }
        let known = Known {
            name,
            count: 1,
            written: now,
        };
        self.told.insert(identity, known);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use http::{Method, Request, Response};
    use kube::client::Body;
    use serde_json::Value;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn told(reason: &'static str, message: &str) -> Told {
        Told {
            about: ObjectReference {
                namespace: Some("metal3".into()),
                name: Some("a".into()),
                uid: Some("1".into()),
                resource_version: Some("7".into()),
                ..ObjectReference::default()
            },
            related: None,
            kind: EventKind::Warning,
            reason,
            message: message.to_owned(),
        }
    }

    #[test]
    fn a_warning_that_repeats_is_told_once_a_minute_and_what_happened_at_once() {
        let mut recent = Recent::default();
        assert_eq!(recent.repeat(1, EventKind::Warning, at(0)), Repeat::No);
        recent.remember(1, "a-x".into(), at(0));
        assert_eq!(recent.repeat(1, EventKind::Warning, at(30)), Repeat::Counted);
        assert_eq!(recent.repeat(1, EventKind::Warning, at(59)), Repeat::Counted);
        let told = Repeat::Tell {
            name: "a-x".into(),
            count: 4,
        };
        assert_eq!(recent.repeat(1, EventKind::Warning, at(60)), told);
        assert_eq!(recent.repeat(1, EventKind::Warning, at(61)), Repeat::Counted);
        assert_eq!(
            recent.repeat(2, EventKind::Warning, at(61)),
            Repeat::No,
            "another event"
        );
        let told = Repeat::Tell {
            name: "a-x".into(),
            count: 6,
        };
        assert_eq!(recent.repeat(1, EventKind::Normal, at(62)), told);
        assert_eq!(
            recent.repeat(1, EventKind::Warning, at(63 + 30 * 60)),
            Repeat::No,
            "an old one"
        );
    }

    #[test]
    fn what_differs_in_any_part_is_another_event() {
        let recent = Recent::default();
        let same = recent.identity(&told("PowerOn", "Host powered on"));
        assert_eq!(same, recent.identity(&told("PowerOn", "Host powered on")));
        let mut normal = told("PowerOn", "Host powered on");
        normal.kind = EventKind::Normal;
        let mut other = told("PowerOn", "Host powered on");
        other.about.uid = Some("2".into());
        for different in [
            normal,
            other,
            told("PowerOff", "Host powered on"),
            told("PowerOn", "x"),
        ] {
            assert_ne!(same, recent.identity(&different));
        }
    }

    #[test]
    fn memory_is_bounded_and_the_newest_stay() {
        let mut recent = Recent::default();
        let many = 3 * u64::try_from(REMEMBERED).unwrap();
        for identity in 0..many {
            recent.remember(
                identity,
                String::new(),
                at(i64::try_from(identity).unwrap() / 100),
            );
        }
        assert!(recent.told.len() <= REMEMBERED);
        let now = at(i64::try_from(many).unwrap() / 100);
        assert_eq!(recent.repeat(many - 1, EventKind::Warning, now), Repeat::Counted);
    }

    type Sent = Arc<Mutex<Vec<(Method, String, Value)>>>;

    /// An API server that answers everything with an Event named so, and what was sent to it.
    fn api(sent: &Sent, raise: u16) -> Client {
        let sent = Arc::clone(sent);
        let service = tower::service_fn(move |request: Request<Body>| {
            let sent = Arc::clone(&sent);
            async move {
                let (head, body) = request.into_parts();
                let body = serde_json::from_slice(&body.collect_bytes().await.unwrap()).unwrap();
                let code = if head.method == Method::PATCH { raise } else { 201 };
                sent.lock()
                    .unwrap()
                    .push((head.method, head.uri.path().to_owned(), body));
                let answer = if code < 300 {
                    json!({"metadata": {"name": "a-x", "namespace": "metal3"}, "involvedObject": {}})
                } else {
                    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": "NotFound"})
                };
                let body = Body::from(answer.to_string().into_bytes());
                Ok::<_, std::convert::Infallible>(Response::builder().status(code).body(body).unwrap())
            }
        });
        Client::new(service, "metal3")
    }

    #[tokio::test]
    async fn an_event_says_who_tells_it_and_its_repeat_raises_its_count() {
        let sent = Arc::default();
        let mut events = Events::new(api(&sent, 200), HostMetrics::default());
        events.instance = "bmo-0".into();
        events.tell(told("PowerOn", "x")).await;
        for known in events.recent().told.values_mut() {
            known.written -= TOLD_EVERY;
        }
        events.tell(told("PowerOn", "x")).await;
        events.tell(told("PowerOn", "x")).await;
        let sent = sent.lock().unwrap();
        let [(post, _, event), (patch, path, raised)] = sent.as_slice() else {
            panic!("{sent:?}")
        };
        assert_eq!((post, patch), (&Method::POST, &Method::PATCH));
        assert_eq!(
            (&event["type"], &event["reportingInstance"]),
            (&json!("Warning"), &json!("bmo-0"))
        );
        assert!(
            event.get("eventTime").is_none_or(Value::is_null)
                && event["involvedObject"]["resourceVersion"].is_null()
        );
        assert!(path.ends_with("/events/a-x"), "{path}");
        assert_eq!(raised["count"], 2);
        assert!(raised["lastTimestamp"].is_string(), "{raised}");
        assert_eq!(events.metrics.events_joined.get(), 2);
    }

    #[tokio::test]
    async fn an_event_that_expired_meanwhile_is_made_anew() {
        let sent = Arc::default();
        let events = Events::new(api(&sent, 404), HostMetrics::default());
        events.tell(told("PowerOn", "x")).await;
        for known in events.recent().told.values_mut() {
            known.written -= TOLD_EVERY;
        }
        events.tell(told("PowerOn", "x")).await;
        let methods: Vec<_> = sent
            .lock()
            .unwrap()
            .iter()
            .map(|(method, ..)| method.clone())
            .collect();
        assert_eq!(methods, [Method::POST, Method::PATCH, Method::POST]);
    }
}
