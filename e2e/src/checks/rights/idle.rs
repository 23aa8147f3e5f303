//! Rights that the checked run need not use, and what for they are.

use metal3_rpc::AUTHORIZATION_GROUP;

use super::CAPM3_ACCOUNT;
use super::granted::Right;
use crate::stack::BMO;

const CLUSTER: &str = "cluster.x-k8s.io";
const CONTROL_PLANE: &str = "controlplane.cluster.x-k8s.io";
const DEFINITIONS: &str = "apiextensions.k8s.io";
const HOSTS: &str = "metal3.io";
const INFRASTRUCTURE: &str = "infrastructure.cluster.x-k8s.io";

/// Rights on resources of one group, used on one occasion.
struct Idle {
    account: &'static str,
    when: &'static str,
    group: &'static str,
    resources: &'static [&'static str],
    verbs: &'static [&'static str],
}

const IDLE: [Idle; 17] = [
    Idle {
        account: BMO,
        when: "the admission plugin OwnerReferencesPermissionEnforcement is on",
        group: HOSTS,
        resources: &["baremetalhosts/finalizers"],
        verbs: &["update"],
    },
    Idle {
        account: BMO,
        when: "a host is inspected again, or deleted",
        group: HOSTS,
        resources: &["hardwaredata"],
        verbs: &["get", "patch"],
    },
    Idle {
        account: BMO,
        when: "the same is told again",
        group: "",
        resources: &["events"],
        verbs: &["patch"],
    },
    Idle {
        account: BMO,
        when: "a self-signed certificate is renewed",
        group: "",
        resources: &["configmaps"],
        verbs: &["patch"],
    },
    Idle {
        account: BMO,
        when: "a self-signed certificate is renewed",
        group: "",
        resources: &["secrets"],
        verbs: &["update"],
    },
    Idle {
        account: CAPM3_ACCOUNT,
        when: "a self-signed certificate is renewed",
        group: "",
        resources: &["secrets"],
        verbs: &["update"],
    },
    Idle {
        account: CAPM3_ACCOUNT,
        when: "it is unknown which host a machine had",
        group: AUTHORIZATION_GROUP,
        resources: &["hosts"],
        verbs: &["list"],
    },
    Idle {
        account: CAPM3_ACCOUNT,
        when: "a claim came without its image",
        group: AUTHORIZATION_GROUP,
        resources: &["hosts"],
        verbs: &["provision"],
    },
    Idle {
        account: CAPM3_ACCOUNT,
        when: "a machine is deleted",
        group: AUTHORIZATION_GROUP,
        resources: &["hosts"],
        verbs: &["release"],
    },
    Idle {
        account: CAPM3_ACCOUNT,
        when: "a machine is remediated, or clusterctl moves it",
        group: AUTHORIZATION_GROUP,
        resources: &["hosts"],
        verbs: &["health", "move", "power"],
    },
    Idle {
        account: CAPM3_ACCOUNT,
        when: "a machine is remediated",
        group: CLUSTER,
        resources: &["machines", "machines/status"],
        verbs: &["get", "patch"],
    },
    Idle {
        account: CAPM3_ACCOUNT,
        when: "a machine is remediated",
        group: INFRASTRUCTURE,
        resources: &["metal3remediations", "metal3remediations/status"],
        verbs: &["patch", "update"],
    },
    Idle {
        account: CAPM3_ACCOUNT,
        when: "the host of a machine that goes is to be reused",
        group: CLUSTER,
        resources: &["machinedeployments", "machinesets"],
        verbs: &["get"],
    },
    Idle {
        account: CAPM3_ACCOUNT,
        when: "the host of a machine that goes is to be reused",
        group: CONTROL_PLANE,
        resources: &["kubeadmcontrolplanes"],
        verbs: &["get"],
    },
    Idle {
        account: CAPM3_ACCOUNT,
        when: "objects are stored in an API version of an older release",
        group: DEFINITIONS,
        resources: &["customresourcedefinitions/status"],
        verbs: &["patch"],
    },
    Idle {
        account: CAPM3_ACCOUNT,
        when: "objects are stored in an API version of an older release",
        group: INFRASTRUCTURE,
        resources: &[
            "metal3clustertemplates",
            "metal3dataclaims",
            "metal3datas",
            "metal3datatemplates",
            "metal3machinetemplates",
            "metal3remediationtemplates",
        ],
        verbs: &["patch"],
    },
    Idle {
        account: CAPM3_ACCOUNT,
        when: "the host of a machine that goes is to be reused",
        group: INFRASTRUCTURE,
        resources: &["metal3machinetemplates"],
        verbs: &["get"],
    },
];

/// When the right is used, if it may lie idle until then.
pub(super) fn until(account: &str, right: &Right) -> Option<&'static str> {
    IDLE.iter()
        .find(|idle| {
            idle.account == account
                && idle.group == right.group
                && idle.resources.contains(&right.resource.as_str())
                && idle.verbs.contains(&right.verb.as_str())
        })
        .map(|idle| idle.when)
}
