//! What the pods of our namespace may do to their node, and what they are given.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, Volume};
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use metal3_rpc::AUDIENCE;

use super::super::{BMO_PODS, CAPM3_PODS, Context};
use crate::stack::NAMESPACE;

/// Where a token for the API server is mounted by itself.
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

pub(super) async fn check(context: &Context) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), NAMESPACE);
    let pods = pods.list(&ListParams::default()).await?;
    let mut names = Vec::new();
    for pod in &pods {
        confined(pod).with_context(|| format!("pod {NAMESPACE}/{}", pod.name_any()))?;
        names.push(
            pod.labels()
                .get("app.kubernetes.io/name")
                .cloned()
                .unwrap_or_default(),
        );
    }
    for name in [BMO_PODS, CAPM3_PODS] {
        ensure!(
            names.iter().any(|known| known == name),
            "{name} has no pod in {NAMESPACE}"
        );
    }
    context.progress.line(&format!(
        "{} pods are confined: own user, read-only root, no privileges, no capabilities, seccomp; tokens where they are needed",
        names.len()
    ));
    Ok(())
}

fn confined(pod: &Pod) -> Result<()> {
    let spec = pod.spec.as_ref().context("has no spec")?;
    for (namespace, shared) in [
        ("network", spec.host_network),
        ("process", spec.host_pid),
        ("IPC", spec.host_ipc),
    ] {
        ensure!(
            shared != Some(true),
            "shares the {namespace} namespace of its node"
        );
    }
    for container in spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten())
    {
        contained(spec, container).with_context(|| format!("container {}", container.name))?;
        given(container).with_context(|| format!("container {}", container.name))?;
    }
    let volumes = spec.volumes.as_deref().unwrap_or_default();
    for volume in volumes {
        ensure!(
            volume.host_path.is_none(),
            "volume {} is a path of the node",
            volume.name
        );
    }
    let name = pod.labels().get("app.kubernetes.io/name").map(String::as_str);
    let mounts: Vec<_> = spec
        .containers
        .iter()
        .flat_map(|container| container.volume_mounts.iter().flatten())
        .collect();
    let token = mounts.iter().any(|mount| mount.mount_path == TOKEN);
    let needed = matches!(name, Some(BMO_PODS | CAPM3_PODS));
    ensure!(
        token == needed,
        "a token of the API server is mounted: {token}, and needed: {needed}"
    );
    if name == Some(CAPM3_PODS) {
        for_host_service(volumes)?;
    }
    Ok(())
}

/// The pod may set what its containers leave open.
fn contained(spec: &PodSpec, container: &Container) -> Result<()> {
    let pod = spec.security_context.clone().unwrap_or_default();
    let own = container.security_context.clone().unwrap_or_default();
    ensure!(
        own.run_as_non_root.or(pod.run_as_non_root) == Some(true),
        "may run as root"
    );
    ensure!(own.run_as_user.or(pod.run_as_user) != Some(0), "runs as root");
    ensure!(
        own.read_only_root_filesystem == Some(true),
        "may write to its root"
    );
    ensure!(
        own.allow_privilege_escalation == Some(false),
        "may gain privileges"
    );
    ensure!(own.privileged != Some(true), "is privileged");
    let capabilities = own.capabilities.unwrap_or_default();
    ensure!(
        capabilities.drop.is_some_and(|drop| drop == ["ALL"])
            && capabilities.add.is_none_or(|add| add.is_empty()),
        "keeps capabilities"
    );
    let seccomp = own
        .seccomp_profile
        .or(pod.seccomp_profile)
        .map(|profile| profile.type_);
    ensure!(
        seccomp.as_deref() == Some("RuntimeDefault"),
        "seccomp is {seccomp:?}, not RuntimeDefault"
    );
    Ok(())
}

/// Secrets are files: an environment is inherited, and shown by crash reports.
fn given(container: &Container) -> Result<()> {
    for from in container.env_from.iter().flatten() {
        ensure!(from.secret_ref.is_none(), "has a Secret in its environment");
    }
    for variable in container.env.iter().flatten() {
        let secret = variable
            .value_from
            .as_ref()
            .is_some_and(|from| from.secret_key_ref.is_some());
        ensure!(!secret, "variable {} comes from a Secret", variable.name);
    }
    Ok(())
}

/// The token that capm3 shows bmo is good for nothing else, and of bmo's Secret it sees the CA alone.
fn for_host_service(volumes: &[Volume]) -> Result<()> {
    let sources = volumes
        .iter()
        .filter_map(|volume| volume.projected.as_ref()?.sources.as_ref());
    let audiences: Vec<String> = sources
        .flatten()
        .filter_map(|source| source.service_account_token.as_ref()?.audience.clone())
        .collect();
    ensure!(
        audiences == [AUDIENCE],
        "tokens are for {audiences:?}, not for {AUDIENCE}"
    );
    for secret in volumes.iter().filter_map(|volume| volume.secret.as_ref()) {
        let name = secret.secret_name.as_deref().unwrap_or_default();
        let keys: Vec<_> = secret
            .items
            .iter()
            .flatten()
            .map(|item| item.key.as_str())
            .collect();
        ensure!(
            !name.starts_with("baremetal-operator") || keys == ["ca.crt"],
            "is given {keys:?} of Secret {name}, and needs ca.crt only"
        );
    }
    Ok(())
}
