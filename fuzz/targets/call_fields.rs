//! A call of the HostService whose request has each field, one a line: an empty line stands for what is usual, a dash for
//! nothing. The first line chooses the call and the host, by three characters.

#![no_main]

use libfuzzer_sys::fuzz_target;
use metal3_fuzz::{NAME, NAMESPACE, call, host, judge};
use metal3_rpc::call::Call;
use metal3_rpc::v1;
use prost::Message as _;

struct Words<'a>(std::str::Split<'a, char>);

impl Words<'_> {
    fn text(&mut self, usual: &str) -> String {
        match self.0.next() {
            None | Some("") => usual.to_owned(),
            Some("-") => String::new(),
            Some(word) => word.to_owned(),
        }
    }

    fn number<N: std::str::FromStr + Default>(&mut self) -> N {
        self.text("0").parse().unwrap_or_default()
    }

    fn flag(&mut self) -> bool {
        self.text("") == "1"
    }

    /// As many as there are commas between.
    fn list(&mut self, usual: &str) -> Vec<String> {
        let words = self.text(usual);
        let some = (!words.is_empty()).then(|| words.split(',').map(str::to_owned).collect());
        some.unwrap_or_default()
    }

    fn host(&mut self) -> Option<v1::HostRef> {
        Some(v1::HostRef {
            namespace: self.text(NAMESPACE),
            name: self.text(NAME),
            uid: self.text(""),
        })
    }

    fn reference(&mut self, group: &str, kind: &str, name: &str) -> Option<v1::Consumer> {
        Some(v1::Consumer {
            api_version: self.text(&format!("{group}/v1beta2")),
            kind: self.text(kind),
            namespace: self.text(NAMESPACE),
            name: self.text(name),
            uid: self.text(""),
        })
    }

    fn machine(&mut self) -> Option<v1::Consumer> {
        self.reference("infrastructure.cluster.x-k8s.io", "Metal3Machine", "m")
    }

    fn cluster(&mut self) -> Option<v1::Consumer> {
        self.reference("cluster.x-k8s.io", "Cluster", "c")
    }

    fn secret(&mut self) -> Option<v1::SecretRef> {
        Some(v1::SecretRef {
            name: self.text(""),
            namespace: self.text(""),
        })
    }

    fn selector(&mut self) -> Option<v1::Selector> {
        let labels = self.list("").into_iter().map(|label| {
            let (key, value) = label.split_once('=').unwrap_or((&label, ""));
            (key.to_owned(), value.to_owned())
        });
        Some(v1::Selector {
            match_labels: labels.collect(),
            expressions: vec![v1::SelectorExpression {
                key: self.text("rack"),
                operator: self.text("Exists"),
                values: self.list(""),
            }],
        })
    }

    fn spec(&mut self) -> Option<v1::ProvisionSpec> {
        Some(v1::ProvisionSpec {
            image: Some(v1::Image {
                url: self.text("http://i"),
                checksum: self.text("c"),
                checksum_type: self.text(""),
                format: self.text("raw"),
            }),
            custom_deploy_method: self.text(""),
            user_data: self.secret(),
            meta_data: self.secret(),
            network_data: self.secret(),
            cleaning_mode: self.number(),
            power_on: self.flag(),
        })
    }
}

/// The request of the call that these words make.
fn request(call: Call, mut words: Words<'_>) -> Vec<u8> {
    let w = &mut words;
    match call {
        Call::GetHost => v1::GetHostRequest { host: w.host() }.encode_to_vec(),
        Call::ExplainHost => v1::ExplainHostRequest { host: w.host() }.encode_to_vec(),
        Call::GetInventory => v1::GetInventoryRequest {
            host: w.host(),
            label_keys: w.list("rack"),
            annotation_keys: w.list(""),
        }
        .encode_to_vec(),
        Call::ListHosts => v1::ListHostsRequest {
            namespace: w.text(NAMESPACE),
            page_token: w.text(""),
            page_size: w.number(),
            states: w.list(""),
            stuck: w.flag(),
            selector: w.selector(),
            consumer: w.machine(),
        }
        .encode_to_vec(),
        Call::WatchHosts => v1::WatchHostsRequest {
            namespaces: w.list(NAMESPACE),
            consumer_kind: w.text(""),
            label_prefixes: w.list(""),
            from_revision: w.text(""),
        }
        .encode_to_vec(),
        Call::ClaimHost => v1::ClaimHostRequest {
            namespace: w.text(NAMESPACE),
            reuse_key: w.text(""),
            cluster_name: w.text("c"),
            seen_revision: w.text(""),
            failure_domain: Some(v1::FailureDomain {
                name: w.text(""),
                policy: w.number(),
            }),
            selector: w.selector(),
            consumer: w.machine(),
            provision: w.spec(),
        }
        .encode_to_vec(),
        Call::ProvisionHost => v1::ProvisionHostRequest {
            expected_generation: w.number(),
            spec: w.spec(),
            host: w.host(),
            consumer: w.machine(),
        }
        .encode_to_vec(),
        Call::SetCleaningMode => v1::SetCleaningModeRequest {
            mode: w.number(),
            host: w.host(),
            consumer: w.machine(),
        }
        .encode_to_vec(),
        Call::ReleaseHost => v1::ReleaseHostRequest {
            cluster_name: w.text("c"),
            power_policy: w.number(),
            reservation: w.flag().then(|| v1::release_host_request::Reservation {
                reuse_key: w.text("md-x"),
                cluster: w.cluster(),
                expires: Some(prost_types::Timestamp {
                    seconds: w.number(),
                    nanos: w.number(),
                }),
            }),
            host: w.host(),
            consumer: w.machine(),
        }
        .encode_to_vec(),
        Call::ReleaseReservations => v1::ReleaseReservationsRequest {
            namespace: w.text(NAMESPACE),
            scope: if w.flag() {
                w.cluster().map(v1::release_reservations_request::Scope::Cluster)
            } else {
                let key = w.text("md-x");
                Some(v1::release_reservations_request::Scope::ReuseKey(key))
            },
        }
        .encode_to_vec(),
        Call::HoldPowerOff => v1::HoldPowerOffRequest {
            key: w.text("k"),
            mode: w.number(),
            host: w.host(),
            consumer: w.machine(),
        }
        .encode_to_vec(),
        Call::ReleasePowerHold => v1::ReleasePowerHoldRequest {
            key: w.text("k"),
            host: w.host(),
            consumer: w.machine(),
        }
        .encode_to_vec(),
        Call::MarkHealth => v1::MarkHealthRequest {
            unhealthy: w.flag(),
            reason: w.text(""),
            host: w.host(),
            consumer: w.machine(),
        }
        .encode_to_vec(),
        Call::PrepareMove => v1::PrepareMoveRequest {
            token: w.text("metal3.io/capm3"),
            host: w.host(),
            consumer: w.machine(),
        }
        .encode_to_vec(),
        Call::ResumeAfterMove => v1::ResumeAfterMoveRequest {
            token: w.text("metal3.io/capm3"),
            cluster_name: w.text(""),
            host: w.host(),
            consumer: w.machine(),
        }
        .encode_to_vec(),
    }
}

fuzz_target!(|text: &str| {
    let mut words = Words(text.split('\n'));
    // Characters of the first line, counted from the first one that can be printed.
    let first = words.0.next().unwrap_or_default().bytes();
    let mut choice = first.map(|byte| byte.wrapping_sub(b' '));
    let mut next = || choice.next().unwrap_or_default();
    let (call, host) = (call(next()), host(next(), next()));
    judge(call, &request(call, words), &host);
});
