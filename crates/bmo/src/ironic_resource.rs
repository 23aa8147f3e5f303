//! Where Ironic is, as an `ironics.ironic.metal3.io` object tells: its state, its certificate and its login.

use std::pin::pin;
use std::time::Duration;

use futures::{Stream, StreamExt as _, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::api::DynamicObject;
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};
use metal3_ironic::{Resource, Target};
use secrecy::SecretString;
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Its Secrets are read again after this time, because they change without it.
const REREAD: Duration = Duration::from_secs(30);

/// Follows one object.
pub(crate) struct Follower {
    client: Client,
    resource: Resource,
    tell: watch::Sender<Target>,
}

/// What an object asks for.
#[derive(Debug, PartialEq, Eq)]
struct Wanted<'a> {
    /// Secret with Ironic's certificate, if it has one.
    certificate: Option<&'a str>,
    /// Secret with its login.
    credentials: &'a str,
}

/// Why there is no target.
enum Trouble {
    /// It is so.
    NotReady(String),
    /// It could not be found out.
    Unknown(String),
}

impl Follower {
    /// A follower, and what it tells.
    pub(crate) fn new(client: Client, resource: Resource) -> (Self, watch::Receiver<Target>) {
        let unread = Target::NotReady(format!("Ironic resource {resource} was not read yet"));
        let (tell, target) = watch::channel(unread);
        let follower = Self {
            client,
            resource,
            tell,
        };
        (follower, target)
    }

    /// Follows until shutdown.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let kind = GroupVersionKind::gvk("ironic.metal3.io", "v1alpha1", "Ironic");
        let kind = ApiResource::from_gvk_with_plural(&kind, "ironics");
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &self.resource.namespace, &kind);
        let only = watcher::Config::default().fields(&format!("metadata.name={}", self.resource.name));
        let mut events = pin!(watcher(api, only).default_backoff());
        let mut again = tokio::time::interval(REREAD);
        let (mut object, mut listed) = (None, false);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = again.tick() => {}
                event = events.next() => match event {
                    Some(Ok(watcher::Event::Init)) => object = None,
                    Some(Ok(watcher::Event::InitDone)) => listed = true,
                    Some(Ok(watcher::Event::Apply(new) | watcher::Event::InitApply(new))) => object = Some(new),
                    Some(Ok(watcher::Event::Delete(_))) => object = None,
                    Some(Err(error)) => {
                        tracing::warn!(resource = %self.resource, %error, "the watch of the Ironic resource was interrupted");
                        self.tell_trouble(Trouble::Unknown(format!(
                            "Ironic resource {} cannot be read ({error}); check that its CRD is installed and that the \
                             role of bmo may get, list and watch ironics",
                            self.resource
                        )));
                        listed = false;
                    }
                    None => return,
                },
            }
            if listed {
                match self.target(object.as_ref()).await {
                    Ok(target) => self.tell(target),
                    Err(trouble) => self.tell_trouble(trouble),
                }
            }
        }
    }

    async fn target(&self, object: Option<&DynamicObject>) -> Result<Target, Trouble> {
        let Resource { namespace, name } = &self.resource;
        let not_ready = |why: String| Trouble::NotReady(format!("Ironic resource {namespace}/{name} {why}"));
        let object =
            object.ok_or_else(|| not_ready("does not exist; create it, or correct IRONIC_NAME".into()))?;
        let wanted = wanted(object.metadata.generation, &object.data).map_err(not_ready)?;
        let login = self.secret(wanted.credentials).await?;
        let credential = |key: &str| {
            text(&login, key).ok_or_else(|| {
                not_ready(format!(
                    "names Secret {} in spec.apiCredentialsName, which has no {key}; give it username and password",
                    wanted.credentials
                ))
            })
        };
        let login = (
            credential("username")?,
            SecretString::from(credential("password")?),
        );
        let (scheme, ca) = match wanted.certificate {
            None => ("http", None),
            Some(certificate) => {
                let secret = self.secret(certificate).await?;
                let mut pem = text(&secret, "tls.crt").ok_or_else(|| {
                    not_ready(format!(
                        "names Secret {certificate} in spec.tls.certificateName, which has no tls.crt"
                    ))
                })?;
                // While Ironic goes over to a new certificate, both are its own.
                if let Some(authority) = text(&secret, "ca.crt") {
                    pem = format!("{pem}\n{authority}");
                }
                ("https", Some(pem.into_bytes()))
            }
        };
        Ok(Target::At {
            endpoint: format!("{scheme}://{name}.{namespace}.svc"),
            login: Some(login),
            ca,
        })
    }

    async fn secret(&self, name: &str) -> Result<Secret, Trouble> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.resource.namespace);
        match api.get_opt(name).await {
            Ok(Some(secret)) => Ok(secret),
            Ok(None) => Err(Trouble::NotReady(format!(
                "Ironic resource {} names Secret {name}, which does not exist",
                self.resource
            ))),
            Err(error) => Err(Trouble::Unknown(format!(
                "Secret {name} of Ironic resource {} cannot be read: {error}",
                self.resource
            ))),
        }
    }

    fn tell(&self, target: Target) {
        self.tell.send_if_modified(|told| {
            let differs = !told.same(&target);
            if differs {
                if let Target::NotReady(why) = &target {
                    tracing::warn!(resource = %self.resource, why, "ironic cannot be used yet");
                }
                *told = target;
            }
            differs
        });
    }

    /// What could not be found out leaves things as they are, if Ironic was known before.
    fn tell_trouble(&self, trouble: Trouble) {
        match trouble {
            Trouble::NotReady(why) => self.tell(Target::NotReady(why)),
            Trouble::Unknown(why) => {
                if matches!(*self.tell.borrow(), Target::NotReady(_)) {
                    self.tell(Target::NotReady(why));
                }
            }
        }
    }
}

/// Tells each time that hosts which waited for Ironic would find something else.
///
/// What worked is no news: another login, for example, is taken with the next request.
pub(crate) fn news(target: watch::Receiver<Target>) -> impl Stream<Item = ()> {
    stream::unfold((target, true), async |(mut target, mut waited)| {
        loop {
            target.changed().await.ok()?;
            let waits = matches!(*target.borrow_and_update(), Target::NotReady(_));
            if std::mem::replace(&mut waited, waits) {
                return Some(((), (target, waited)));
            }
        }
    })
}

/// A value of a Secret, without space around it; nothing when it is empty.
fn text(secret: &Secret, key: &str) -> Option<String> {
    let value = secret.data.as_ref()?.get(key)?;
    let text = String::from_utf8_lossy(&value.0).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

/// What the object asks for, once its operator did all that it asks for.
fn wanted(generation: Option<i64>, object: &Value) -> Result<Wanted<'_>, String> {
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    let ready = conditions
        .into_iter()
        .find(|condition| condition["type"] == "Ready");
    let Some(ready) = ready else {
        return Err("is not ready: its operator has not said so yet".to_owned());
    };
    if ready["status"] != "True" {
        let message = ready["message"].as_str().unwrap_or_default();
        return Err(format!("is not ready: {message}"));
    }
    if ready["observedGeneration"].as_i64() != generation {
        return Err("is not ready: its last change is still to be applied".to_owned());
    }
    let name = |value: &'_ Value| value.as_str().is_some_and(|name| !name.is_empty());
    let credentials = &object["spec"]["apiCredentialsName"];
    let certificate = &object["spec"]["tls"]["certificateName"];
    match credentials.as_str().filter(|_| name(credentials)) {
        Some(credentials) => Ok(Wanted {
            certificate: certificate.as_str().filter(|_| name(certificate)),
            credentials,
        }),
        None => Err("has no spec.apiCredentialsName; name a Secret with username and password".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use serde_json::json;

    use super::*;

    fn object(status: &str, observed: i64) -> Value {
        json!({
            "spec": {"apiCredentialsName": "login", "tls": {"certificateName": "cert"}},
            "status": {"conditions": [
                {"type": "Other", "status": "False"},
                {"type": "Ready", "status": status, "observedGeneration": observed, "message": "database is starting"},
            ]},
        })
    }

    #[test]
    fn hosts_that_waited_are_told_of_each_change_and_others_of_none() {
        let at = |login: &str| Target::At {
            endpoint: "http://ironic".into(),
            login: Some((login.into(), "secret".to_owned().into())),
            ca: None,
        };
        let not_ready = |why: &str| Target::NotReady(why.into());
        let (tell, target) = watch::channel(not_ready("not read yet"));
        let mut news = Box::pin(news(target));
        let mut told = || news.next().now_or_never().is_some();
        assert!(!told());
        for (target, expected) in [
            (not_ready("absent"), true),
            (not_ready("starting"), true),
            (at("first"), true),
            (at("second"), false),
            (not_ready("starting"), false),
            (at("second"), true),
        ] {
            tell.send_replace(target.clone());
            assert_eq!(told(), expected, "{target:?}");
        }
    }

    #[test]
    fn only_what_was_applied_is_ready() {
        let expected = Wanted {
            certificate: Some("cert"),
            credentials: "login",
        };
        assert_eq!(wanted(Some(3), &object("True", 3)), Ok(expected));
        for (object, word) in [
            (object("False", 3), "database is starting"),
            (object("True", 2), "still to be applied"),
            (
                json!({"spec": {"apiCredentialsName": "login"}}),
                "not said so yet",
            ),
        ] {
            let error = wanted(Some(3), &object).unwrap_err();
            assert!(error.contains("is not ready") && error.contains(word), "{error}");
        }
    }

    #[test]
    fn without_a_certificate_there_is_no_tls_and_without_a_login_nothing() {
        let mut plain = object("True", 3);
        plain["spec"] = json!({"apiCredentialsName": "login", "tls": {"certificateName": ""}});
        assert_eq!(wanted(Some(3), &plain).unwrap().certificate, None);
        plain["spec"] = json!({"tls": {}});
        let error = wanted(Some(3), &plain).unwrap_err();
        assert!(error.contains("apiCredentialsName"), "{error}");
    }
}
