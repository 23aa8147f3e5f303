//! From bootstrap data to a host that runs the image.

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::SecretReference;
use metal3_api::capi::Machine;

use super::ask::{Ask, ClaimRequest, Claimed, Expression, ProvisionSpec, Provisioned, Seen, Wish};
use super::draft::{Draft, Requeue, host_annotation};
use super::{Step, View, link, moving, reuse};
use crate::condition::{Reason, Type, Wait};
use crate::host::{HostKey, HostSummary, describe_rejections};

/// Who waits for a host is woken when there may be one; this is for wakes that were lost.
const LOOK_FOR_HOST: SignedDuration = SignedDuration::from_mins(10);

pub(super) fn plan(view: &View<'_>, owner: &Machine, seen: &Seen, mut draft: Draft) -> Step {
    let spec = match provision_spec(view, owner) {
        Ok(spec) => spec,
        Err(wait) => return draft.wait_for_host(wait),
    };
    record_secrets(view, &spec, &mut draft);
    let (host, reused) = match associate(view, owner, &spec, seen, &draft) {
        Ok(associated) => associated,
        Err(step) => return *step,
    };
    match host.consumer.as_ref() {
        Some(consumer) if *consumer == view.consumer() => {}
        other => {
            let owner = other.map_or_else(
                || "nobody".to_owned(),
                |other| format!("{} {}/{}", other.kind, other.namespace, other.name),
            );
            return draft.wait_for_host(Wait {
                reason: Reason::HostTaken,
                message: format!(
                    "host {} was claimed by this machine but belongs to {owner}",
                    host.key
                ),
                remedy: "delete the Machine to get another host",
            });
        }
    }
    draft.name_host(&host.key, host_annotation(view));
    let reason = if reused {
        Reason::AssociateReused
    } else {
        Reason::AssociateSuccess
    };
    draft.set(Type::Associated, true, reason, format!("host {}", host.key));
    if let Some(step) = moving::resume(view, host, seen, &draft) {
        return *step;
    }
    if !spec.cleaning_mode.is_empty()
        && host.requested
        && host.cleaning_mode != spec.cleaning_mode
        && !seen.cleaned
    {
        let ask = Ask::Cleaning {
            host: host.key.clone(),
            consumer: view.consumer(),
            mode: spec.cleaning_mode,
        };
        return draft.ask(seen, Type::HostProvisioned, ask);
    }
    if host.requested {
        return watch(view, owner, host, seen, draft);
    }
    match &seen.provision {
        None => {
            let ask = Ask::Provision {
                host: host.key.clone(),
                consumer: view.consumer(),
                spec,
            };
            draft.ask(seen, Type::HostProvisioned, ask)
        }
        Some(Provisioned::Accepted(host)) => watch(view, owner, host, seen, draft),
        Some(Provisioned::Missing) => missing(&host.key, draft),
        Some(Provisioned::Foreign(message)) => draft.wait_for_host(Wait {
            reason: Reason::HostTaken,
            message: message.clone(),
            remedy: "delete the Machine to get another host",
        }),
        Some(Provisioned::Different(message)) => draft.wait(
            Type::HostProvisioned,
            Wait {
                reason: Reason::HostRunsOther,
                message: message.clone(),
                remedy: "delete the Machine to get another host",
            },
        ),
    }
}

/// The host of the machine, and whether it was kept for it; otherwise what to do for one.
fn associate<'a>(
    view: &View<'_>,
    owner: &Machine,
    spec: &ProvisionSpec,
    seen: &'a Seen,
    draft: &Draft,
) -> Result<(&'a HostSummary, bool), Box<Step>> {
    let mut draft = draft.clone();
    let known = host_annotation(view).and_then(|value| HostKey::from_annotation(value, view.namespace()));
    if let Some(key) = known {
        return match &seen.host {
            None => Err(Box::new(draft.ask(seen, Type::HostProvisioned, Ask::Host(key)))),
            Some(None) => Err(Box::new(missing(&key, draft))),
            Some(Some(host)) => Ok((host, draft.was_reused())),
        };
    }
    let wait = match &seen.claim {
        None => {
            let request = claim(view, owner, spec.clone(), &draft);
            return Err(Box::new(draft.ask(seen, Type::Associated, Ask::Claim(request))));
        }
        Some(Claimed::Host(host)) => return Ok((host, draft.was_reused())),
        Some(Claimed::Reused(host)) => return Ok((host, true)),
        Some(Claimed::Reserved(message)) => Wait {
            reason: Reason::WaitingForReservedHost,
            message: message.clone(),
            remedy: "",
        },
        Some(Claimed::Several(message)) => Wait {
            reason: Reason::SeveralHosts,
            message: message.clone(),
            remedy: "delete the Machine: all its hosts are given back",
        },
        Some(Claimed::NoHost {
            candidates,
            rejections,
        }) => Wait {
            reason: Reason::AssociateFailed,
            message: describe_rejections(*candidates, rejections),
            remedy: "add hosts, free some, or change spec.hostSelector",
        },
    };
    draft.requeue(Requeue::After(LOOK_FOR_HOST));
    Err(Box::new(draft.wait_for_host(wait)))
}

/// Upstream asks for it for ever without saying so.
fn missing(key: &HostKey, draft: Draft) -> Step {
    draft.wait_for_host(Wait {
        reason: Reason::HostMissing,
        message: format!("host {key} no longer exists"),
        remedy: "delete the Machine to get another host; a MachineHealthCheck does so by itself",
    })
}

/// Waits for the image, then goes on to the Node.
fn watch(view: &View<'_>, owner: &Machine, host: &HostSummary, seen: &Seen, mut draft: Draft) -> Step {
    draft.status().addresses = host.addresses();
    if host.provisioned() {
        draft.set(
            Type::HostProvisioned,
            true,
            Reason::Provisioned,
            format!("host {}", host.key),
        );
        return link::plan(view, owner, host, seen, draft);
    }
    let state = if host.state.is_empty() {
        "new"
    } else {
        host.state.as_str()
    };
    let mut message = format!("host {} is {state}", host.key);
    let reason = if host.error.is_empty() {
        Reason::Provisioning
    } else {
        message = format!("{message}: {}", host.error);
        Reason::HostError
    };
    if let Some(wait) = &host.wait
        && !wait.message.is_empty()
        && host.error.is_empty()
    {
        message = format!("{message}: {}", wait.message);
        if !wait.remedy.is_empty() {
            message = format!("{message}; {}", wait.remedy);
        }
    }
    let remedy = if reason == Reason::HostError {
        "the operator tries again by itself; see the events of the BareMetalHost"
    } else {
        ""
    };
    draft.wait(
        Type::HostProvisioned,
        Wait {
            reason,
            message,
            remedy,
        },
    )
}

/// What to run, or what is missing for it.
fn provision_spec(view: &View<'_>, owner: &Machine) -> Result<ProvisionSpec, Wait> {
    let spec = &view.machine.spec;
    let invalid = |message: String| Wait {
        reason: Reason::InvalidConfiguration,
        message,
        remedy: "correct the Metal3Machine, or the template it was made from",
    };
    let local = |field: &str, secret: &Option<SecretReference>| match secret {
        None => Ok(String::new()),
        Some(secret) => match secret.namespace.as_deref() {
            Some(other) if !other.is_empty() && other != view.namespace() => Err(invalid(format!(
                "spec.{field} refers to namespace {other}; Secrets of another namespace cannot be used"
            ))),
            _ => Ok(secret.name.clone().unwrap_or_default()),
        },
    };
    let (meta_data, network_data) = (
        local("metaData", &spec.meta_data)?,
        local("networkData", &spec.network_data)?,
    );
    if let Some(template) = spec
        .data_template
        .as_ref()
        .and_then(|template| template.name.as_deref())
    {
        return Err(Wait {
            reason: Reason::WaitingForMetal3Data,
            message: format!("Metal3DataTemplate {template} cannot be rendered by this release"),
            remedy: "remove spec.dataTemplate and name Secrets in spec.metaData and spec.networkData instead",
        });
    }
    let image = spec
        .image
        .as_ref()
        .filter(|image| !image.url.is_empty())
        .map(|image| {
            let text = |value: &Option<String>| value.clone().unwrap_or_default();
            [
                image.url.clone(),
                text(&image.checksum),
                text(&image.checksum_type),
                text(&image.disk_format),
            ]
        });
    let custom_deploy = spec
        .custom_deploy
        .as_ref()
        .map(|deploy| deploy.method.clone())
        .unwrap_or_default();
    if image.is_none() && custom_deploy.is_empty() {
        return Err(invalid(
            "neither spec.image nor spec.customDeploy says what to run".into(),
        ));
    }
    // The first choice stays: a host must come back with the data it was installed with.
    let chosen = view
        .machine
        .status
        .as_ref()
        .and_then(|status| status.user_data.as_ref()?.name.clone());
    let Some(user_data) = chosen.or_else(|| owner.spec.bootstrap.data_secret_name.clone()) else {
        return Err(Wait {
            reason: Reason::WaitingForBootstrapData,
            message: "the bootstrap provider has not made the bootstrap data of the Machine yet".into(),
            remedy: "",
        });
    };
    let cleaning_mode = spec.automated_cleaning_mode.clone().unwrap_or_default();
    Ok(ProvisionSpec {
        image,
        custom_deploy,
        user_data,
        meta_data,
        network_data,
        cleaning_mode,
    })
}

/// The Secrets in effect. Bootstrap data wins over `spec.userData`, as it always did.
fn record_secrets(view: &View<'_>, spec: &ProvisionSpec, draft: &mut Draft) {
    let reference = |name: &str| {
        (!name.is_empty()).then(|| SecretReference {
            name: Some(name.to_owned()),
            namespace: Some(view.namespace().to_owned()),
        })
    };
    let status = draft.status();
    status.user_data = reference(&spec.user_data);
    status.meta_data = reference(&spec.meta_data);
    status.network_data = reference(&spec.network_data);
    draft.set(Type::DataReady, true, Reason::SecretsSetExternally, "");
}

fn claim(view: &View<'_>, owner: &Machine, provision: ProvisionSpec, draft: &Draft) -> ClaimRequest {
    let selector = view.machine.spec.host_selector.clone().unwrap_or_default();
    ClaimRequest {
        consumer: view.consumer(),
        uid: view.machine.metadata.uid.clone().unwrap_or_default(),
        cluster_name: view.cluster_name().to_owned(),
        wish: Wish {
            match_labels: selector.match_labels,
            expressions: selector
                .match_expressions
                .into_iter()
                .map(|expression| Expression {
                    key: expression.key,
                    operator: expression.operator,
                    values: expression.values,
                })
                .collect(),
            failure_domain: draft.failure_domain().to_owned(),
            failure_domain_required: view.policy.failure_domain_required,
            // Also when no template asks for reuse now: one may have when the host was kept.
            reuse_key: reuse::key(owner).unwrap_or_default(),
        },
        provision,
    }
}
