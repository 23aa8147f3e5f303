//! What happens to an installation while hosts are in use: upgrade, rollback, removal, and installing it again. Hosts,
//! Machines and servers must stay as they are.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};
use metal3_api::metal3::host::BareMetalHost;
use metal3_testkit::wait;

use crate::bed::Bed;
use crate::hardware::{Hardware, Node};
use crate::progress::Progress;
use crate::stack::{self, BMO, CAPM3, Install, NAMESPACE, RELEASE};
use crate::tour::{self, Plan};

/// Goes through it, the way the services were installed.
///
/// # Errors
/// What did not stay as it was.
pub async fn cycle(bed: &Bed) -> Result<()> {
    let plan = Plan::of(bed)?;
    let release = Release {
        bed,
        hardware: Hardware::find(bed, plan.kind(), plan.hosts).await?,
        client: tour::client(&bed.kubeconfig()).await?,
        progress: Progress::default(),
        plan,
    };
    let before = release.state().await?;
    match release.plan.install {
        Install::Helm => release.helm(&before).await,
        Install::Clusterctl => release.clusterctl(&before).await,
    }
}

struct Release<'a> {
    bed: &'a Bed,
    plan: Plan,
    hardware: Hardware,
    client: Client,
    progress: Progress,
}

/// What must not change.
#[derive(Debug, PartialEq)]
struct State {
    hosts: BTreeMap<String, Host>,
    nodes: Vec<Node>,
}

#[derive(Debug, PartialEq)]
struct Host {
    uid: String,
    state: String,
    node: String,
    powered_on: bool,
    image: Option<String>,
    consumer: Option<String>,
}

impl Release<'_> {
    async fn helm(&self, before: &State) -> Result<()> {
        self.progress.step(&format!("helm test {RELEASE}"));
        self.bed
            .helm(&["test", RELEASE, "-n", NAMESPACE, "--timeout", "2m"])
            .await?;

        self.progress.step("helm upgrade: two pods of each service");
        let two = Plan {
            bmo: 2,
            capm3: 2,
            ..self.plan.clone()
        };
        stack::helm(self.bed, &two, &self.hardware, "upgrade").await?;
        self.unchanged(before, "helm upgrade").await?;

        self.progress.step("helm rollback");
        self.bed
            .helm(&["rollback", RELEASE, "-n", NAMESPACE, "--wait", "--timeout", "3m"])
            .await?;
        for deployment in [BMO, CAPM3] {
            self.replicas(deployment, self.plan.bmo).await?;
        }
        self.unchanged(before, "helm rollback").await?;

        self.progress.step("helm uninstall");
        self.bed
            .helm(&["uninstall", RELEASE, "-n", NAMESPACE, "--wait", "--timeout", "3m"])
            .await?;
        self.gone_but_kept(before, "helm uninstall").await?;

        self.progress
            .step("helm install, over the CRDs and hosts that stayed");
        stack::helm(self.bed, &self.plan, &self.hardware, "install").await?;
        self.unchanged(before, "installing again").await
    }

    async fn clusterctl(&self, before: &State) -> Result<()> {
        self.progress.step("clusterctl upgrade plan");
        let plan = self.bed.capi(&["clusterctl", "upgrade", "plan"]).await?;
        let newer = self.newer(&plan)?;
        self.progress
            .step(&format!("clusterctl upgrade apply --infrastructure {newer}"));
        let arguments = [
            "clusterctl",
            "upgrade",
            "apply",
            "--infrastructure",
            &newer,
            "--wait-providers",
        ];
        stack::clusterctl(self.bed, &self.hardware, &arguments).await?;
        self.unchanged(before, "clusterctl upgrade").await?;

        self.progress.step("clusterctl delete --infrastructure metal3");
        self.bed
            .capi(&["clusterctl", "delete", "--infrastructure", "metal3"])
            .await?;
        self.gone_but_kept(before, "clusterctl delete").await?;

        self.progress
            .step("clusterctl init --infrastructure metal3, over the CRDs and hosts that stayed");
        let arguments = [
            "clusterctl",
            "init",
            "--infrastructure",
            "metal3",
            "--wait-providers",
        ];
        stack::clusterctl(self.bed, &self.hardware, &arguments).await?;
        self.unchanged(before, "installing again").await
    }

    /// `capm3-system/infrastructure-metal3 … v0.1.0 v0.2.0` of the plan, as an argument.
    fn newer(&self, plan: &str) -> Result<String> {
        for line in plan.lines() {
            self.progress.line(line);
        }
        let row = plan
            .lines()
            .find(|line| line.starts_with("infrastructure-metal3"));
        let version = row.and_then(|row| row.split_whitespace().last());
        let version = version.filter(|version| version.starts_with('v'));
        let version = version.context(
            "clusterctl upgrade plan offers no newer version: run cargo xtask dist with --version",
        )?;
        Ok(format!("metal3:{version}"))
    }

    async fn state(&self) -> Result<State> {
        let hosts: Api<BareMetalHost> = Api::all(self.client.clone());
        let hosts = hosts.list(&ListParams::default()).await?;
        let mut nodes = self.hardware.nodes().await?;
        nodes.sort();
        Ok(State {
            hosts: hosts.iter().map(|host| (host.name_any(), facts(host))).collect(),
            nodes,
        })
    }

    /// The services run again, lead, and have looked at all hosts; nothing of these changed.
    async fn unchanged(&self, before: &State, after: &str) -> Result<()> {
        for deployment in [BMO, CAPM3] {
            let name = format!("deployment/{deployment}");
            let arguments = ["rollout", "status", &name, "-n", NAMESPACE, "--timeout=120s"];
            self.bed.kubectl(&arguments, None).await?;
        }
        self.led().await?;
        self.same(before, after).await
    }

    async fn same(&self, before: &State, after: &str) -> Result<()> {
        let now = self.state().await?;
        for (name, host) in &before.hosts {
            let found = now.hosts.get(name);
            ensure!(
                found == Some(host),
                "{after} changed host {name}: {found:?} was {host:?}"
            );
        }
        ensure!(
            now.nodes == before.nodes,
            "{after} changed servers: {:?} were {:?}",
            now.nodes,
            before.nodes
        );
        self.progress.line(&format!(
            "{} hosts and {} servers are as before",
            before.hosts.len(),
            before.nodes.len()
        ));
        Ok(())
    }

    /// Both leases are held by pods that exist.
    async fn led(&self) -> Result<()> {
        let held = r#"jsonpath={range .items[*]}{.spec.holderIdentity}{"\n"}{end}"#;
        let names = r#"jsonpath={range .items[*]}{.metadata.name}{"\n"}{end}"#;
        wait::try_until("the leases to be held by pods that run", wait::LONG, async || {
            let (leases, pods) = tokio::try_join!(self.get("leases", held), self.get("pods", names))
                .map_err(|error| format!("{error:#}"))?;
            let orphans: Vec<&str> = leases
                .lines()
                .filter(|holder| !pods.lines().any(|pod| holder.starts_with(pod)))
                .collect();
            if orphans.is_empty() && leases.lines().count() >= 2 {
                Ok(())
            } else {
                Err(format!("held by {leases:?}, pods are {pods:?}"))
            }
        })
        .await?;
        Ok(())
    }

    async fn get(&self, kind: &str, format: &str) -> Result<String> {
        let arguments = ["get", kind, "-n", NAMESPACE, "-o", format];
        self.bed.kubectl(&arguments, None).await
    }

    async fn replicas(&self, deployment: &str, expected: u16) -> Result<()> {
        let name = format!("deployment/{deployment}");
        let found = self.get(&name, "jsonpath={.spec.replicas}").await?;
        ensure!(
            found == expected.to_string(),
            "{name} has {found} replicas, not {expected}"
        );
        Ok(())
    }

    /// No pod of ours runs; CRDs, hosts and servers are there.
    async fn gone_but_kept(&self, before: &State, after: &str) -> Result<()> {
        wait::try_until("the pods to be gone", wait::LONG, async || {
            match self.get("pods", "name").await {
                Ok(pods) if pods.trim().is_empty() => Ok(()),
                Ok(pods) => Err(pods),
                Err(error) => Err(format!("{error:#}")),
            }
        })
        .await?;
        let crds: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        let crds = crds.list(&ListParams::default()).await?;
        let kept: Vec<String> = crds.iter().map(kube::ResourceExt::name_any).collect();
        for crd in metal3_api::crds() {
            ensure!(
                kept.contains(&crd.name_any()),
                "{after} deleted CRD {}",
                crd.name_any()
            );
        }
        self.same(before, after).await
    }
}

fn facts(host: &BareMetalHost) -> Host {
    let status = host.status.clone().unwrap_or_default();
    Host {
        uid: host.uid().unwrap_or_default(),
        state: status.provisioning.state.as_str().to_owned(),
        node: status.provisioning.id,
        powered_on: status.powered_on,
        image: host.spec.image.as_ref().map(|image| image.url.clone()),
        consumer: host
            .spec
            .consumer_ref
            .as_ref()
            .and_then(|consumer| consumer.name.clone()),
    }
}
