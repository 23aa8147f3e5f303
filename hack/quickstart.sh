#!/usr/bin/env bash
# The main job of Metal³ on one machine, for real: see README.md.
#
#   hack/quickstart.sh up            set everything up; ends with a table of what runs
#   hack/quickstart.sh exec <cmd>    run kubectl or another command inside; also: clusterctl <args>, grpc <call> [json]
#   hack/quickstart.sh check [what]  look closely at it: rights, secrets, metrics, gRPC recipes, one story in events and logs
#   hack/quickstart.sh cycle         upgrade, remove and install the services under the hosts that are in use
#   hack/quickstart.sh contract [part] scale, upgrade and break the workload cluster, make one from a ClusterClass (SIM=1, HOSTS=6)
#   hack/quickstart.sh down          delete the cluster and the hosts, stop everything, leave nothing behind
#   hack/quickstart.sh setup         only build and install what `up` needs
#
# Settings (environment): SIM=1 ironic-sim instead of Ironic, INSTALL=helm|clusterctl (helm),
# TLS=cert-manager|self-signed (cert-manager; Helm can both), HOSTS (3), WORKERS (2), BMO and CAPM3 pods of each service (1),
# CHAOS=<seed> kill programs at random,
# MODE=pods|processes: pods of a real node, or processes of this machine; unset: pods where the machine allows a node,
# FORCE=1 `down` stops everything without deleting objects first, REPORT=<file> what came out, as JSON,
# QUICKSTART_DIR (.quickstart) state and logs, QUICKSTART_NETNS (metal3) network namespace
set -euo pipefail
ROOT=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
cd "$ROOT"
export QUICKSTART_ROOT=$ROOT QUICKSTART_NETNS=${QUICKSTART_NETNS:-metal3}
QUICKSTART_DIR=$(readlink -m "${QUICKSTART_DIR:-$ROOT/.quickstart}"); export QUICKSTART_DIR
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$ROOT/target}
PACKAGES="jq curl openssl iproute2 util-linux procps genisoimage python3-venv mtools dosfstools qemu-utils ipmitool"
# For the node and its images; named by a program, because Docker's packages may have brought some already.
NODE_PACKAGES="runc:runc containerd:containerd /usr/lib/cni/bridge:containernetworking-plugins nft:nftables iptables:iptables conntrack:conntrack buildah:buildah strip:binutils cc:gcc"

say() { printf '\033[1m%s\033[0m\n' "$*"; }
die() { printf '%s\n' "$*" >&2; exit 1; }
[ "$(id -u)" = 0 ] || { command -v sudo >/dev/null || die "root is needed to make a network namespace: run as root, or install sudo"
	exec sudo -E env "PATH=$PATH" "HOME=$HOME" "${BASH_SOURCE[0]}" "$@"; }
capi() { TB_DIR=$QUICKSTART_DIR/capi TB_NETNS=$QUICKSTART_NETNS hack/testbed/capi.sh "$@"; }
ironic() { TB_DIR=$QUICKSTART_DIR/ironic hack/testbed/ironic.sh "$@"; }

node() { TB_DIR=$QUICKSTART_DIR/capi TB_NETNS=$QUICKSTART_NETNS TB_IP=- TB_BIN=$(hack/tools/build.sh --bin) hack/testbed/node.sh "$@"; }

install_packages() {
	local missing=("$@")
	[ ${#missing[@]} != 0 ] || return 0
	say "Installing Debian packages: ${missing[*]}"
	command -v apt-get >/dev/null || { echo "this is no Debian: install the equivalents of ${missing[*]}" >&2; return 1; }
	apt-get update -q >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" >/dev/null
}

# What the programs of the management cluster run as. A machine that allows no node still shows the main job, and says so.
choose_mode() {
	local why entry missing=()
	export QUICKSTART_MODE=${MODE:-}
	if [ -e "$QUICKSTART_DIR/capi/mode" ]; then
		QUICKSTART_MODE=$(cat "$QUICKSTART_DIR/capi/mode")
	elif [ "$QUICKSTART_MODE" != processes ]; then
		for entry in $NODE_PACKAGES; do PATH=$PATH:/usr/sbin:/sbin command -v "${entry%%:*}" >/dev/null || missing+=("${entry#*:}"); done
		install_packages "${missing[@]}" || true
		why=$(node possible) && QUICKSTART_MODE=pods || {
			[ "$QUICKSTART_MODE" != pods ] || die "this machine cannot run a Kubernetes node: $why"
			QUICKSTART_MODE=processes
			say "NO PODS: this machine cannot run a Kubernetes node ($why)."
			say "Everything below runs as processes of this machine, with the identity that the pods would have."
		}
	fi
}

setup() {
	local tool missing=()
	for tool in go:'Go 1.26 (https://go.dev/dl)' cargo:'Rust 1.95 (https://rustup.rs)' python3:'Python 3.11'; do
		command -v "${tool%%:*}" >/dev/null || missing+=("${tool#*:}")
	done
	[ ${#missing[@]} = 0 ] || die "missing: $(printf '%s, ' "${missing[@]}")please install and run again"
	for tool in $PACKAGES; do dpkg -s "$tool" >/dev/null 2>&1 || missing+=("$tool"); done
	install_packages "${missing[@]}"
	choose_mode
	say "Building the tools (Kubernetes, Cluster API, …); about 20 minutes the first time, nothing later"
	hack/tools/build.sh all
	say "Building Metal³"
	cargo build --locked -p metal3-bmo -p metal3-capm3 -p metal3-ironic-sim -p metal3-e2e -p xtask
	[ "${SIM:-}" = 1 ] || ironic install
}

up() {
	[ ! -e "$QUICKSTART_DIR/plan.json" ] || die "it runs already: use it, or stop it by make quickstart-down"
	setup
	mkdir -p "$QUICKSTART_DIR"
	if [ "$QUICKSTART_MODE" = pods ]; then
		say "Making images"
		hack/images.sh third-party "$QUICKSTART_DIR/images"
		hack/images.sh fast "$QUICKSTART_DIR/images" "$CARGO_TARGET_DIR/debug"
	fi
	"$CARGO_TARGET_DIR/debug/xtask" dist "$QUICKSTART_DIR/dist" >/dev/null
	capi repo "$QUICKSTART_DIR/dist" 2>/dev/null
	local args=(--install "${INSTALL:-helm}" --tls "${TLS:-cert-manager}" --hosts "${HOSTS:-3}" --workers "${WORKERS:-2}" --bmo "${BMO:-1}" --capm3 "${CAPM3:-1}")
	[ "${SIM:-}" != 1 ] || args+=(--sim)
	[ -z "${CHAOS:-}" ] || args+=(--chaos "$CHAOS")
	if ! TB_MODE=$QUICKSTART_MODE capi exec "$CARGO_TARGET_DIR/debug/quickstart" up "${args[@]}"; then
		die "
It did not work. Logs: $QUICKSTART_DIR/capi/log and $QUICKSTART_DIR/ironic/log.
What still runs can be looked at by hack/quickstart.sh exec; FORCE=1 make quickstart-down clears it away."
	fi
	say "It runs now. Try next:"
	[ "$QUICKSTART_MODE" != pods ] || echo "  hack/quickstart.sh exec kubectl get pods -A"
	cat <<-E
		  hack/quickstart.sh exec kubectl get bmh,metal3machines,machines -n metal3
		  hack/quickstart.sh exec kubectl describe bmh host-1 -n metal3       # conditions and events tell what it did
		  hack/quickstart.sh exec kubectl scale machinedeployment demo -n metal3 --replicas=0
		  hack/quickstart.sh grpc ListHosts '{"namespace": "metal3"}'         # more in docs/grpc.md
		  make quickstart-down                                               # give everything back
		Logs: $QUICKSTART_DIR/capi/log
	E
	[ "$QUICKSTART_MODE" = pods ] || say "NO PODS: these programs ran as processes, see above."
}

# One call of the HostService as a user would make it: with a token of a ServiceAccount that may.
grpc() {
	local ns=capm3-system token ca
	token=$(capi exec kubectl create token capm3-manager -n $ns --audience metal3-host-service)
	ca=$(capi exec kubectl get secret baremetal-operator-host-service-cert -n $ns -o 'jsonpath={.data.ca\.crt}' | base64 -d)
	capi exec grpcurl -cacert <(echo "$ca") \
		-H "authorization: Bearer $token" -d "${2:-{\}}" baremetal-operator-host-service.$ns.svc:8443 "metal3.host.v1.HostService/$1"
}

# A newer version for clusterctl to find: the same programs under another number.
cycle() {
	choose_mode
	"$CARGO_TARGET_DIR/debug/xtask" dist "$QUICKSTART_DIR/dist" --version v0.2.0 --image-tag "v$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)" >/dev/null
	capi repo "$QUICKSTART_DIR/dist" 2>/dev/null
	capi exec "$CARGO_TARGET_DIR/debug/quickstart" cycle
}

down() {
	local status=0
	choose_mode
	if [ "${FORCE:-}" != 1 ] && [ -e "$QUICKSTART_DIR/plan.json" ]; then
		capi exec "$CARGO_TARGET_DIR/debug/quickstart" down || status=$?
		[ $status = 0 ] || echo "the objects could not be deleted (see above); stopping everything all the same" >&2
	fi
	if [ -d "$QUICKSTART_DIR/ironic" ]; then ironic down; fi
	capi down --purge 2>/dev/null
	rm -rf "$QUICKSTART_DIR"
	say "Everything is stopped and removed."
	return $status
}

running() { [ -e "$QUICKSTART_DIR/plan.json" ] || die "nothing runs here: start it by make quickstart"; }

case ${1:-} in
up | down | setup) "$1" ;;
cycle) running; cycle ;;
contract) running; choose_mode; shift; capi exec "$CARGO_TARGET_DIR/debug/quickstart" contract "$@" ;;
check) running; choose_mode; shift; capi exec "$CARGO_TARGET_DIR/debug/quickstart" check "$@" ;;
grpc) running; shift; grpc "$@" ;;
exec | clusterctl) running; capi "$@" ;;
*) sed -n '2,17p' "${BASH_SOURCE[0]}" | sed 's/^# \{0,1\}//'; exit 1 ;;
esac
