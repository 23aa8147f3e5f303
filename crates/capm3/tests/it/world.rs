//! What most tests start with: a namespace, a host service and a provider under the role of its chart.

use metal3_testkit::{Account, ControlPlane, Rules};

use crate::hosts::Hosts;
use crate::lab::Lab;
use crate::program::{Capm3, Launch, Place, Serving, token_file};

pub(crate) struct World {
    pub(crate) lab: Lab,
    pub(crate) account: Account,
    pub(crate) capm3: Capm3,
    /// Kubernetes refuses nothing.
    allowed: bool,
    place: Place,
    /// None while the host service is away.
    serving: Option<Serving>,
}

impl World {
    /// `name` is the namespace: no other test may use it.
    pub(crate) async fn start(name: &str) -> Self {
        Self::with_flags(name, &[]).await
    }

    pub(crate) async fn with_flags(name: &str, flags: &[&str]) -> Self {
        let plane = ControlPlane::shared().await;
        let account = account(plane, name, "capm3").await;
        let kubeconfig = account.kubeconfig.clone();
        Self::by(plane, account, &kubeconfig, flags).await
    }

    /// A provider that goes to the API server by this kubeconfig.
    pub(crate) async fn by(
        plane: &'static ControlPlane,
        account: Account,
        kubeconfig: &std::path::Path,
        flags: &[&str],
    ) -> Self {
        let (place, hosts) = (Place::new(), Hosts::new(&account.namespace));
        let serving = place.open(&hosts).await;
        let launch = Launch {
            kubeconfig,
            token: &token_file(plane, &account).await,
            watch: &account.namespace,
            home: &account.namespace,
            place: &place,
            flags,
        };
        let capm3 = launch.start();
        capm3.ready().await;
        Self {
            lab: Lab::new(plane, &account.namespace, hosts),
            account,
            capm3,
            allowed: true,
            place,
            serving: Some(serving),
        }
    }

    /// The host service goes away with all its streams.
    pub(crate) fn service_goes(&mut self) {
        self.serving.take().unwrap().close();
    }

    /// It is back at the same address.
    pub(crate) async fn service_comes(&mut self) {
        self.serving = Some(self.place.open(&self.lab.hosts).await);
    }

    /// As [`Self::by`], for an account that lacks rights.
    pub(crate) async fn refused(
        plane: &'static ControlPlane,
        account: Account,
        kubeconfig: &std::path::Path,
    ) -> Self {
        let mut world = Self::by(plane, account, kubeconfig, &[]).await;
        world.allowed = false;
        world
    }
}

impl Drop for World {
    /// Whatever a test is about.
    fn drop(&mut self) {
        if !std::thread::panicking() && self.allowed {
            self.capm3.was_well(self.lab.plane, &self.account);
        }
    }
}

/// A ServiceAccount with the rules of the chart.
pub(crate) async fn account(plane: &ControlPlane, namespace: &str, name: &str) -> Account {
    let rules = Rules::of_chart("metal3-capm3").unwrap();
    plane.account(namespace, name, &rules).await.unwrap()
}
