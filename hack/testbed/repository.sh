#!/usr/bin/env bash
# The local clusterctl repository: what release pages would offer, made from the Go modules, once, in the cache of the tools.
#
#   repository.sh write <clusterctl.yaml> [dist folder]     also writes a configuration that points at it (the only step that needs Go)
set -euo pipefail
SELF=$(readlink -f "${BASH_SOURCE[0]}")
TOOLS=$(dirname "$SELF")/../tools
CACHE=${METAL3_TOOLS:-$HOME/.cache/metal3-tools}
CAPI_VERSION=${CAPI_VERSION:-v1.14.2}
CERTMANAGER_VERSION=${CERTMANAGER_VERSION:-v1.21.2}
# A change of this script makes it anew.
R=$CACHE/clusterctl-repository/$CAPI_VERSION-$CERTMANAGER_VERSION-$(sha256sum "$SELF" | cut -c1-8)
export PATH="${TB_BIN:-$CACHE/bin}:$PATH"

module() { (cd "$TOOLS/$1" && go mod download -json "$2" | jq -r .Dir); }   # the version is pinned there

# provider <label> <folder> <image> <file>
provider() {
  local d=$R/$1/$CAPI_VERSION; mkdir -p "$d"
  sed -i -E "s#image: .*#image: registry.k8s.io/cluster-api/$3:$CAPI_VERSION#" "$work/$2/default/manager_image_patch.yaml"
  sed -i -E "s#imagePullPolicy: .*#imagePullPolicy: IfNotPresent#" "$work/$2/default/manager_pull_policy.yaml"
  kubectl kustomize "$work/$2/default" >"$d/$4"
  cp "$src/metadata.yaml" "$d/metadata.yaml"
}

cluster_api() {
  src=$(module capi sigs.k8s.io/cluster-api) work=$(mktemp -d)
  cp -r "$src/core/config" "$work/core"; cp -r "$src/bootstrap/kubeadm/config" "$work/bootstrap"; cp -r "$src/controlplane/kubeadm/config" "$work/controlplane"
  chmod -R u+w "$work"
  provider cluster-api core cluster-api-controller core-components.yaml
  provider bootstrap-kubeadm bootstrap kubeadm-bootstrap-controller bootstrap-components.yaml
  provider control-plane-kubeadm controlplane kubeadm-control-plane-controller control-plane-components.yaml
  rm -rf "$work"
}

# Its CRDs, and one Deployment of its real controllers and CA injector (hack/tools/certmanager); without a node to run on,
# capi.sh runs the same program as a process.
cert_manager() {
  local src d f; src=$(module certmanager github.com/cert-manager/cert-manager); d=$R/cert-manager/$CERTMANAGER_VERSION; mkdir -p "$d"
  { cat <<E
apiVersion: v1
kind: Namespace
metadata: {name: cert-manager}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: cert-manager, namespace: cert-manager}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: cert-manager}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{kind: ServiceAccount, name: cert-manager, namespace: cert-manager}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cert-manager, namespace: cert-manager, labels: {app: cert-manager}}
spec:
  replicas: 1
  selector: {matchLabels: {app: cert-manager}}
  template:
    metadata: {labels: {app: cert-manager}}
    spec:
      serviceAccountName: cert-manager
      terminationGracePeriodSeconds: 1
      containers:
      - name: cert-manager
        image: localhost/metal3/cert-manager:$CERTMANAGER_VERSION
        imagePullPolicy: Never
E
    for f in "$src"/deploy/crds/*.yaml; do echo "---"; sed '/^---$/d' "$f"; done
  } >"$d/cert-manager.yaml"
}

write() {
  local config=$1 dist=${2:-} f
  if [ ! -s "$R/done" ]; then cluster_api; cert_manager; date >"$R/done"; fi
  mkdir -p "$(dirname "$config")"
  { echo "providers:"
    entry() { printf -- '- name: "%s"\n  url: "file://%s"\n  type: "%s"\n' "$1" "$2" "$3"; }
    entry cluster-api "$R/cluster-api/$CAPI_VERSION/core-components.yaml" CoreProvider
    entry kubeadm "$R/bootstrap-kubeadm/$CAPI_VERSION/bootstrap-components.yaml" BootstrapProvider
    entry kubeadm "$R/control-plane-kubeadm/$CAPI_VERSION/control-plane-components.yaml" ControlPlaneProvider
    # One entry is enough for all versions in its folder: the newest is the default.
    [ -z "$dist" ] || f=$(find "$(readlink -f "$dist")/infrastructure-metal3" -name infrastructure-components.yaml | sort -V | tail -1)
    [ -z "${f:-}" ] || entry metal3 "$f" InfrastructureProvider
    printf 'cert-manager:\n  url: "file://%s"\n  version: "%s"\n  timeout: 1m\n' "$R/cert-manager/$CERTMANAGER_VERSION/cert-manager.yaml" "$CERTMANAGER_VERSION"
    printf 'overridesFolder: "%s"\n' "$(dirname "$config")/overrides"
    printf 'CLUSTER_TOPOLOGY: "true"\nEXP_MACHINE_POOL: "false"\n'
  } >"$config"
}

case ${1:-} in
write) "$@" ;;
*) sed -n '2,5p' "$SELF" | sed 's/^# \{0,1\}//'; exit 1 ;;
esac
