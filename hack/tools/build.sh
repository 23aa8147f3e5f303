#!/usr/bin/env bash
# Builds the real programs that the tests and the quickstart run, once, into a cache outside the tree.
#
#   hack/tools/build.sh all | control-plane | <tool>...    build what is missing
#   hack/tools/build.sh --bin                              print the folder of the binaries
#
# METAL3_TOOLS (default ~/.cache/metal3-tools) holds the cache. A binary is keyed by its module's files and the Go
# version, so nothing is built twice and nothing stale is used; <cache>/bin/<tool> points at the current one.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")"
CACHE=${METAL3_TOOLS:-$HOME/.cache/metal3-tools}
BIN=$CACHE/bin

K8S=v1.36.1
CAPI=v1.14.2
KV="-X k8s.io/component-base/version.gitVersion=$K8S -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36 -X k8s.io/component-base/version.gitTreeState=clean -X k8s.io/component-base/version.gitCommit=proxy"
CV=sigs.k8s.io/cluster-api/version
CV="-X $CV.gitVersion=$CAPI -X $CV.gitMajor=1 -X $CV.gitMinor=14 -X $CV.gitTreeState=clean -X $CV.gitCommit=proxy"

# tool | module folder | package | linker flags
TABLE="
etcd|etcd|go.etcd.io/etcd/server/v3|
etcdctl|etcd|go.etcd.io/etcd/etcdctl/v3|
kube-apiserver|kube|k8s.io/kubernetes/cmd/kube-apiserver|$KV
kubectl|kube|k8s.io/kubernetes/cmd/kubectl|$KV
kube-controller-manager|kube|k8s.io/kubernetes/cmd/kube-controller-manager|$KV
kube-scheduler|kube|k8s.io/kubernetes/cmd/kube-scheduler|$KV
kubelet|kube|k8s.io/kubernetes/cmd/kubelet|$KV
kube-proxy|kube|k8s.io/kubernetes/cmd/kube-proxy|$KV
coredns|coredns|.|
clusterctl|capi|sigs.k8s.io/cluster-api/cmd/clusterctl|$CV
capi-core-manager|capi|sigs.k8s.io/cluster-api/core|$CV
capi-kubeadm-bootstrap-manager|capi|sigs.k8s.io/cluster-api/bootstrap/kubeadm|$CV
capi-kubeadm-control-plane-manager|capi|sigs.k8s.io/cluster-api/controlplane/kubeadm|$CV
baremetal-operator|bmo|github.com/metal3-io/baremetal-operator|
tb-kubelet|kubelet|.|
tb-certmanager|certmanager|.|
grpcurl|grpcurl|github.com/fullstorydev/grpcurl/cmd/grpcurl|-X main.version=v1.9.4
helm|helm|helm.sh/helm/v4/cmd/helm|-X helm.sh/helm/v4/internal/version.version=v4.3.1
"

[ "${1:-}" != --bin ] || { echo "$BIN"; exit 0; }
command -v go >/dev/null || { echo "Go 1.26 is needed to build the tools: https://go.dev/dl/" >&2; exit 1; }
want=""
for arg in "${@:-all}"; do
	case $arg in
	all) want+=" $(cut -d'|' -f1 <<<"$TABLE")" ;;
	control-plane) want+=" etcd kube-apiserver kubectl" ;;
	*) want+=" $arg" ;;
	esac
done

mkdir -p "$CACHE/store" "$BIN"
exec 9>"$CACHE/lock"
flock 9 # two builds side by side would only slow each other down
export CGO_ENABLED=0 GOFLAGS=-mod=readonly
for tool in $want; do
	row=$(grep "^$tool|" <<<"$TABLE") || { echo "unknown tool $tool; known:" $(cut -d'|' -f1 <<<"$TABLE") >&2; exit 1; }
	IFS='|' read -r _ dir pkg flags <<<"$row"
	key=$(cat "$dir"/*.go "$dir"/go.mod "$dir"/go.sum <(go env GOVERSION) <(echo "$pkg $flags") | sha256sum | cut -c1-12)
	out=$CACHE/store/$tool-$key
	if [ ! -x "$out" ]; then
		echo "building $tool (once; cached in $CACHE)" >&2
		start=$SECONDS
		(cd "$dir" && nice -n 10 go build -trimpath -ldflags "-s -w $flags" -o "$out.tmp" "$pkg")
		mv "$out.tmp" "$out"
		echo "built $tool in $((SECONDS - start)) s" >&2
	fi
	ln -sfn "$out" "$BIN/$tool"
done
