//! One line for each change that somebody asked for: who, which call, which host, for whom, and what became of it.
//!
//! The lines have the target `audit`, so that a filter can keep them apart. They name objects and never carry what is in
//! them.

use metal3_rpc::reason::Reason;
use metal3_rpc::v1;
use metal3_rpc::v1::{Consumer, Host, HostRef};
use tonic::{Code, Status};

use super::asked::Asked;

/// What an answer tells of a change.
pub(super) trait Answered: Send {
    /// The host as it is now.
    fn host(&self) -> Option<&Host>;

    /// What was done, in a word of the contract.
    fn word(&self) -> &'static str {
        ""
    }
}

macro_rules! answers_with_a_host {
    ($($answer:ident $(by $word:ident)?),* $(,)?) => {
        $(impl Answered for v1::$answer {
            fn host(&self) -> Option<&Host> {
                self.host.as_ref()
            }

            $(fn word(&self) -> &'static str {
                self.$word().as_str_name()
            })?
        })*
    };
}

answers_with_a_host!(
    GetHostResponse,
    ClaimHostResponse by reason,
    ProvisionHostResponse by result,
    SetCleaningModeResponse,
    ReleaseHostResponse by phase,
    HoldPowerOffResponse,
    ReleasePowerHoldResponse,
    MarkHealthResponse,
    PrepareMoveResponse,
    ResumeAfterMoveResponse,
    ExplainHostResponse,
);

macro_rules! answers_without_one {
    ($($answer:ident),*) => {
        $(impl Answered for v1::$answer {
            fn host(&self) -> Option<&Host> {
                None
            }
        })*
    };
}

answers_without_one!(
    ListHostsResponse,
    GetInventoryResponse,
    ReleaseReservationsResponse
);

/// A change under way. One that is dropped was given up by its caller, or took too long; the host may be changed or not.
pub(super) struct Record {
    user: String,
    call: &'static str,
    /// Where, when no host is named.
    namespace: String,
    host: String,
    consumer: String,
    trace: Option<String>,
    ended: bool,
}

impl Record {
    /// Begins one, if the call changes anything.
    pub(super) fn begin<T: Asked>(user: &str, asked: &T, trace: Option<String>) -> Option<Self> {
        T::CALL.changes().then(|| Self {
            user: user.to_owned(),
            call: T::CALL.name(),
            namespace: asked.namespaces().join(","),
            host: asked.host().map(title).unwrap_or_default(),
            consumer: asked.consumer().map(whom).unwrap_or_default(),
            trace,
            ended: false,
        })
    }

    /// Tells how it ended.
    pub(super) fn end<R: Answered>(mut self, result: &Result<R, Status>) {
        self.ended = true;
        match result {
            Ok(answer) => {
                if let Some(reference) = answer.host().and_then(|host| host.r#ref.as_ref()) {
                    self.host = title(reference);
                }
                self.tell(Code::Ok, answer.word());
            }
            Err(status) => self.tell(status.code(), Reason::of(status).map_or("", Reason::as_str)),
        }
    }

    fn tell(&self, code: Code, reason: &str) {
        tracing::info!(
            target: "audit",
            user = self.user.as_str(),
            call = self.call,
            namespace = self.namespace.as_str(),
            host = self.host.as_str(),
            consumer = self.consumer.as_str(),
            code = format!("{code:?}").as_str(),
            reason,
            trace_id = self.trace.as_deref().unwrap_or_default(),
            "change asked for",
        );
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if !self.ended {
            self.tell(Code::Cancelled, "");
        }
    }
}

fn title(host: &HostRef) -> String {
    format!("{}/{}", host.namespace, host.name)
}

fn whom(consumer: &Consumer) -> String {
    format!("{} {}/{}", consumer.kind, consumer.namespace, consumer.name)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use metal3_rpc::v1::claim_host_response::Reason as Chosen;
    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id};
    use tracing::{Event, Metadata, Subscriber};

    use super::*;

    /// Keeps the lines of the audit log.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<String>>>);

    impl Visit for Lines {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            let mut lines = self.0.lock().unwrap();
            let line = lines.last_mut().unwrap();
            line.push_str(&format!(" {field}={value:?}"));
        }
    }

    impl Subscriber for Lines {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.target() == "audit"
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &tracing::span::Record<'_>) {}

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn event(&self, event: &Event<'_>) {
            self.0.lock().unwrap().push(String::new());
            event.record(&mut self.clone());
        }

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {}
    }

    fn logged(work: impl FnOnce()) -> Vec<String> {
        let lines = Lines::default();
        tracing::subscriber::with_default(lines.clone(), work);
        let lines = lines.0.lock().unwrap();
        lines.clone()
    }

    fn claim() -> v1::ClaimHostRequest {
        v1::ClaimHostRequest {
            namespace: "ns".into(),
            consumer: Some(Consumer {
                kind: "Job".into(),
                namespace: "ns".into(),
                name: "m".into(),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    #[test]
    fn a_change_is_told_once_with_who_what_for_whom_and_how_it_ended() {
        let trace = Some("4bf92f".to_owned());
        let lines = logged(|| {
            let record = Record::begin("eve", &claim(), trace.clone()).unwrap();
            record.end(&Ok(v1::ClaimHostResponse {
                host: Some(Host {
                    r#ref: Some(HostRef::named("ns", "a")),
                    ..Default::default()
                }),
                reason: Chosen::Selected.into(),
                ..Default::default()
            }));
            let record = Record::begin("eve", &claim(), None).unwrap();
            record.end::<v1::ClaimHostResponse>(&Err(Reason::Conflict.status("lost", [])));
        });
        assert_eq!(lines.len(), 2, "{lines:?}");
        for part in [
            r#"user="eve""#,
            r#"call="ClaimHost""#,
            r#"host="ns/a""#,
            r#"consumer="Job ns/m""#,
            r#"code="Ok""#,
            r#"reason="REASON_SELECTED""#,
            r#"trace_id="4bf92f""#,
        ] {
            assert!(lines[0].contains(part), "{part} is missing in {}", lines[0]);
        }
        for part in [r#"host="""#, r#"code="Aborted""#, r#"reason="CONFLICT""#] {
            assert!(lines[1].contains(part), "{part} is missing in {}", lines[1]);
        }
    }

    #[test]
    fn a_change_whose_caller_went_away_is_told_all_the_same() {
        let lines = logged(|| drop(Record::begin("eve", &claim(), None)));
        assert!(
            lines.len() == 1 && lines[0].contains(r#"code="Cancelled""#),
            "{lines:?}"
        );
    }

    #[test]
    fn a_look_leaves_no_line() {
        let get = v1::GetHostRequest::default();
        assert!(logged(|| drop(Record::begin("eve", &get, None))).is_empty());
    }
}
