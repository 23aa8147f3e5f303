//! Finalizers, labels and annotations; all but those said to be ours are upstream's, so that objects can go back and forth.

/// Finalizer of a BareMetalHost.
pub const FINALIZER_HOST: &str = "baremetalhost.metal3.io";
/// Finalizer of a Secret that a BareMetalHost needs.
pub const FINALIZER_SECRET: &str = "baremetalhost.metal3.io/secret";
/// Finalizer of a HardwareData made by inspection.
pub const FINALIZER_HARDWARE_DATA: &str = "baremetalhost.metal3.io/hardwareData";
/// Finalizer of a PreprovisioningImage that a BareMetalHost needs.
pub const FINALIZER_PREPROVISIONING_IMAGE: &str = "baremetalhost.metal3.io/preprovisioningImage";
/// Finalizer of a PreprovisioningImage that a builder works on.
pub const FINALIZER_IMAGE_BUILDER: &str = "preprovisioningimage.metal3.io";
/// Finalizer of a Metal3Cluster.
pub const FINALIZER_METAL3_CLUSTER: &str = "metal3cluster.infrastructure.cluster.x-k8s.io";
/// Finalizer of a Metal3Machine.
pub const FINALIZER_METAL3_MACHINE: &str = "metal3machine.infrastructure.cluster.x-k8s.io";

/// Label of Secrets that the operator watches.
pub const LABEL_ENVIRONMENT: &str = "environment.metal3.io";
/// Its value.
pub const LABEL_ENVIRONMENT_VALUE: &str = "baremetal";
/// Label with the name of the Cluster.
pub const LABEL_CLUSTER_NAME: &str = "cluster.x-k8s.io/cluster-name";
/// Label of the Machines of a control plane.
pub const LABEL_CONTROL_PLANE: &str = "cluster.x-k8s.io/control-plane";
/// Label of Machines with the name of their MachineDeployment.
pub const LABEL_DEPLOYMENT_NAME: &str = "cluster.x-k8s.io/deployment-name";
/// Label that reserves a host for the successor of its machine.
pub const LABEL_NODE_REUSE: &str = "infrastructure.cluster.x-k8s.io/node-reuse";
/// Label with the failure domain of a host.
pub const LABEL_FAILURE_DOMAIN: &str = "infrastructure.cluster.x-k8s.io/failure-domain";
/// Label of a workload Node: the UID of its host.
pub const LABEL_NODE_UUID: &str = "metal3.io/uuid";
/// Annotation of a Metal3Cluster: prefixes of labels of hosts that their Nodes are to have too, separated by commas.
pub const ANNOTATION_LABEL_SYNC_PREFIXES: &str = "metal3.io/metal3-label-sync-prefixes";

/// Annotation that stops the operator.
pub const ANNOTATION_PAUSED: &str = "baremetalhost.metal3.io/paused";
/// Value of the pause that the provider sets.
pub const PAUSED_BY_CAPM3: &str = "metal3.io/capm3";
/// Annotation with a status to restore.
pub const ANNOTATION_STATUS: &str = "baremetalhost.metal3.io/status";
/// Annotation that detaches a host from Ironic.
pub const ANNOTATION_DETACHED: &str = "baremetalhost.metal3.io/detached";
/// Annotation that asks for a reboot; also the prefix of annotations that hold a host off.
pub const ANNOTATION_REBOOT: &str = "reboot.metal3.io";
/// Annotation that asks for, or disables, inspection.
pub const ANNOTATION_INSPECT: &str = "inspect.metal3.io";
/// Annotation with hardware details instead of inspection.
pub const ANNOTATION_HARDWARE_DETAILS: &str = "inspect.metal3.io/hardwaredetails";
/// Annotation that makes `clusterctl move` wait.
pub const ANNOTATION_BLOCK_MOVE: &str = "clusterctl.cluster.x-k8s.io/block-move";
/// Annotation of objects that `clusterctl move` deletes because it has copied them.
pub const ANNOTATION_DELETE_FOR_MOVE: &str = "clusterctl.cluster.x-k8s.io/delete-for-move";
/// Annotation that keeps a host from being claimed.
pub const ANNOTATION_UNHEALTHY: &str = "capm3.metal3.io/unhealthy";
/// Its old spelling.
pub const ANNOTATION_UNHEALTHY_LEGACY: &str = "capi.metal3.io/unhealthy";
/// Annotation, ours: when a host that is reserved for the successor of a machine is anybody's again, as in RFC 3339.
pub const ANNOTATION_RESERVED_UNTIL: &str = "host.metal3.io/reserved-until";
/// The span of the call that asked last for something, as W3C's `traceparent`; only while traces are recorded.
pub const ANNOTATION_TRACEPARENT: &str = "host.metal3.io/traceparent";
/// Annotation of a Metal3Machine: `<namespace>/<name>` of its host.
pub const ANNOTATION_HOST: &str = "metal3.io/BareMetalHost";
/// Annotation that stops the provider.
pub const ANNOTATION_CAPI_PAUSED: &str = "cluster.x-k8s.io/paused";
/// Annotation of what Cluster API cloned from a template: its name.
pub const ANNOTATION_CLONED_FROM_NAME: &str = "cluster.x-k8s.io/cloned-from-name";
/// Annotation of what Cluster API cloned from a template: its kind and group, as `<kind>.<group>`.
pub const ANNOTATION_CLONED_FROM_GROUP_KIND: &str = "cluster.x-k8s.io/cloned-from-groupkind";
/// Annotation of an infrastructure cluster that somebody else manages.
pub const ANNOTATION_MANAGED_BY: &str = "cluster.x-k8s.io/managed-by";
/// Annotation of v1beta1 objects: the v1beta2 object, as JSON, when v1beta1 cannot show all of it.
pub const ANNOTATION_CONVERSION_DATA: &str = "cluster.x-k8s.io/conversion-data";
/// Annotation of v1beta2 objects: the v1beta1 object, as JSON, when v1beta2 cannot show all of it.
pub const ANNOTATION_V1BETA1_DATA: &str = "infrastructure.cluster.x-k8s.io/v1beta1-conversion-data";
