#!/usr/bin/env bash
# One real Kubernetes node with pods: containerd, runc, kubelet, kube-proxy and CoreDNS, for the control plane of capi.sh.
#
#   node.sh possible           can this machine run one? says why not
#   node.sh needs              Debian packages that are missing
#   node.sh prepare <tar>...   start containerd, with these images; needs no control plane yet
#   node.sh up                 start the rest; returns when Services can be resolved by name
#   node.sh load <tar>...      more images
#   node.sh kill <service>     kill -9 containerd, kubelet or kube-proxy; it starts again, as under systemd
#   node.sh crash <program>    kill -9 a program in a container, by its name
#   node.sh down               end everything, leave no cgroup behind
#
# The node is a "box": private mount, PID, UTS, IPC and cgroup namespaces inside the network namespace of the bed. Its PID 1
# keeps the services running; killing it ends every process and every mount of the node at once. No sysctl, mount, firewall
# rule or service of the machine itself is changed.
#
# Environment: TB_DIR (state), TB_BIN (binaries), TB_NETNS, TB_IP, as in capi.sh
set -euo pipefail
: "${TB_DIR:?}" "${TB_BIN:?}" "${TB_NETNS:?}" "${TB_IP:?}"
SELF=$(readlink -f "${BASH_SOURCE[0]}")
NODE=management
N=$TB_DIR/node
SOCKET=$N/containerd.sock
POD_CIDR=10.244.0.0/16
SERVICE_CIDR=10.96.0.0/16
DNS_IP=10.96.0.10
PAUSE=registry.k8s.io/pause:3.10.2
CNI_BIN=${CNI_BIN:-/usr/lib/cni}
CONTROLLERS="cpu cpuacct cpuset memory devices freezer blkio pids systemd"
TAG=${TAG:-metal3-$(cksum <<<"$TB_DIR" | cut -d' ' -f1)}       # the cgroup of this bed
export TAG PATH="$TB_BIN:$PATH:/usr/sbin:/sbin" KUBECONFIG=$TB_DIR/pki/admin.kubeconfig

die() { printf '[node] %s\n' "$*" >&2; exit 1; }
ctr() { command ctr -a "$SOCKET" -n k8s.io "$@"; }
waitfor() {                         # waitfor <seconds> <what> <cmd...>
  local end=$((SECONDS + $1)) what=$2; shift 2
  while [ $SECONDS -le $end ]; do "$@" >/dev/null 2>&1 && return 0; sleep 0.1; done
  die "timeout: $what; see $TB_DIR/log"
}

needs() {
  local missing=()
  command -v runc >/dev/null || missing+=(runc)
  command -v containerd >/dev/null || missing+=(containerd)
  [ -x "$CNI_BIN/bridge" ] || missing+=(containernetworking-plugins)
  command -v nft >/dev/null || missing+=(nftables)
  command -v iptables >/dev/null || missing+=(iptables)       # the CNI plugins masquerade and map ports by it
  command -v conntrack >/dev/null || missing+=(conntrack)
  echo "${missing[*]}"
}

# ---------------------------------------------------------------- cgroups (v1)
# One child per hierarchy, below the cgroup of the caller: limits that apply to the caller go on applying. The script works on
# mounts of its own, because `ip netns exec` hides those of the machine.
mounted() {                         # mounted <function>: that one of this script, with all hierarchies mounted in $N/cg, for itself only
  mkdir -p "$N/cg"; unshare -m --propagation private "$SELF" in-mounts "$@"
}
in_mounts() {
  local c
  mount -t tmpfs -o mode=755 cgroup "$N/cg"
  for c in $CONTROLLERS; do mkdir "$N/cg/$c"; mount -t cgroup -o "$(hierarchy "$c")" cgroup "$N/cg/$c"; done
  "$@"
}
hierarchy() { if [ "$1" = systemd ]; then echo none,name=systemd; else echo "$1"; fi; }
cgroup() {                          # cgroup <controller>: the folder of this bed
  local own; own=$(awk -F: -v c="$1" '{n = split($2, a, ","); for (i = 1; i <= n; i++) if (a[i] == c || a[i] == "name=" c) {print $3; exit}}' /proc/self/cgroup)
  own=${own%%/metal3-*}; echo "$N/cg/$1${own%/}/$TAG"
}

possible() {
  local why
  [ "$(id -u)" = 0 ] || { echo "the user is not root"; return 1; }
  grep -qw overlay /proc/filesystems || { echo "the kernel has no overlay file system"; return 1; }
  grep -qE '^[0-9]+:memory:' /proc/self/cgroup || { echo "this machine has no cgroup v1 memory controller, the only kind that this node is proven on"; return 1; }
  [ -z "$(needs)" ] || { echo "missing: $(needs)"; return 1; }
  TB_DIR=$(mktemp -d) N=$TB_DIR/node TAG=$TAG-try       # a bed may be there or not
  why=$(mounted try 2>&1) || { echo "cgroups, overlay mounts or namespaces are forbidden here: $(tail -1 <<<"$why")"; rm -rf "$TB_DIR"; return 1; }
  rm -rf "$TB_DIR"
}
try() {
  local c t; t=$(mktemp -d -p "$N")
  for c in $CONTROLLERS; do mkdir "$(cgroup "$c")"; rmdir "$(cgroup "$c")"; done
  mkdir "$t"/{lower,upper,work,merged}
  mount -t overlay -o "lowerdir=$t/lower,upperdir=$t/upper,workdir=$t/work" overlay "$t/merged"
  unshare -p -u -i -C --fork true
  umount "$t/merged"; rm -rf "$t"
}

# ---------------------------------------------------------------- the box
box() { local p; p=$(cat "$N/box.pid" 2>/dev/null) && grep -qs "$N/init.sh" "/proc/$p/cmdline" && echo "$p"; }

write_init() {
  cat >"$N/init.sh" <<'E'
# PID 1 of the node.
set -e
N=$1 NODE=$2 LOG=$3; shift 3
umount -R "$N/cg"                   # the view of the machine
mount -t proc proc /proc
mountpoint -q /sys || mount -t sysfs sysfs /sys       # `ip netns exec` has mounted the right one
mount -t tmpfs -o mode=755 cgroup /sys/fs/cgroup
for c in "$@"; do mkdir /sys/fs/cgroup/$c
  if [ $c = systemd ]; then o=none,name=systemd; else o=$c; fi
  mount -t cgroup -o $o cgroup /sys/fs/cgroup/$c
done
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock /run/netns
mount --bind "$N/varlog" /var/log
# kubelet insists on these settings of the machine; give it files that hold them
for kv in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1; do
  f=${kv%%=*}; echo "${kv##*=}" >"$N/sysctl/${f//\//.}"; mount --bind "$N/sysctl/${f//\//.}" "/proc/sys/$f"
done
hostname "$NODE"
sysctl -qw net.ipv4.ip_forward=1
mount --make-rshared /
echo $$ >/proc/self/oom_score_adj 2>/dev/null || :
run() { "$N/$1.sh" >>"$LOG/$1.log" 2>&1 & pids[$!]=$1; echo $! >"$N/$1.pid"; }
declare -A pids
run containerd
for s in kubelet kube-proxy; do while [ ! -e "$N/$s.sh" ]; do sleep 0.1; done; run $s; done
while :; do
  wait -n -p ended || :
  [ -n "${ended:-}" ] && [ -n "${pids[$ended]:-}" ] || { sleep 0.2; continue; }
  name=${pids[$ended]}; unset "pids[$ended]"; sleep 1; run "$name"      # as a unit with Restart=always
done
E
}

service() {                         # service <name> <command...>: what PID 1 runs; complete the moment it is there
  local file=$N/$1.sh; shift
  printf '#!/bin/sh\nexec env -u KUBECONFIG PATH=%q %s\n' "$PATH" "$(printf '%q ' "$@")" >"$file.new"
  chmod +x "$file.new"; mv "$file.new" "$file"
}

box_start() {
  mkdir -p "$N"/{varlog,sysctl,cni,kubelet,manifests} "$TB_DIR/log"
  rm -f "$N/kubelet.sh" "$N/kube-proxy.sh"
  containerd_config
  service containerd containerd --config "$N/containerd.toml"
  write_init
  setsid -f "$SELF" enter >"$TB_DIR/log/node.log" 2>&1 </dev/null
  waitfor 20 "the node's namespaces" test -s "$N/outer.pid"
  waitfor 20 "the node's first process" pgrep -P "$(cat "$N/outer.pid")"
  pgrep -P "$(cat "$N/outer.pid")" | head -1 >"$N/box.pid"
}

# By exec all the way, so that the process whose only child is PID 1 of the box is known.
enter() { mkdir -p "$N/cg"; exec unshare -m --propagation private "$SELF" in-mounts join; }
join() {
  local c d
  for c in $CONTROLLERS; do d=$(cgroup "$c"); mkdir -p "$d"
    if [ "$c" = cpuset ]; then cat "$d/../cpuset.cpus" >"$d/cpuset.cpus"; cat "$d/../cpuset.mems" >"$d/cpuset.mems"; echo 1 >"$d/cgroup.clone_children"; fi
    echo $$ >"$d/cgroup.procs"
    echo "$d" >>"$N/cgroups"        # who stops the node may live in other cgroups than who started it
  done
  echo $$ >"$N/outer.pid"
  # shellcheck disable=SC2086
  exec unshare -p -u -i -C --fork --kill-child bash "$N/init.sh" "$N" "$NODE" "$TB_DIR/log" $CONTROLLERS
}

# ---------------------------------------------------------------- services
containerd_config() {
  cat >"$N/containerd.toml" <<E
version = 2
root = "$N/containerd"
state = "/run/containerd"
[grpc]
  address = "$SOCKET"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "$PAUSE"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "$(command -v runc)"
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "$CNI_BIN"
    conf_dir = "$N/cni"
E
  cat >"$N/cni/10-bridge.conflist" <<E
{"cniVersion": "1.0.0", "name": "metal3", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "/run/cni-ipam", "ranges": [[{"subnet": "$POD_CIDR"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
E
}

kubelet_config() {
  local P=$TB_DIR/pki
  printf 'nameserver 127.0.0.1\n' >"$N/resolv.conf"       # for CoreDNS itself, which asks nobody
  cat >"$N/kubelet.yaml" <<E
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
cgroupDriver: cgroupfs
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: "$P/ca.crt"}}
authorization: {mode: Webhook}
clusterDNS: [$DNS_IP]
clusterDomain: cluster.local
containerRuntimeEndpoint: "unix://$SOCKET"
tlsCertFile: "$P/kubelet.crt"
tlsPrivateKeyFile: "$P/kubelet.key"
resolvConf: "$N/resolv.conf"
staticPodPath: "$N/manifests"
podLogsDir: /var/log/pods
failSwapOn: false
serializeImagePulls: false
# A small cluster on a busy machine: pods follow their Secrets and ConfigMaps soon.
syncFrequency: 10s
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: "100Mi", nodefs.available: "1%", imagefs.available: "1%", nodefs.inodesFree: "1%"}
E
  cat >"$N/kube-proxy.yaml" <<E
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clusterCIDR: $POD_CIDR
hostnameOverride: $NODE
clientConnection: {kubeconfig: "$P/kube-proxy.kubeconfig"}
# Settings of the machine that a network namespace may not change.
conntrack: {maxPerCore: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
E
}

load() {                            # a tar for each image; several at once keep both the disk and the cores busy
  printf '%s\0' "$@" | xargs -0 -r -n 1 -P 2 "$(command -v ctr)" -a "$SOCKET" -n k8s.io images import >/dev/null
}

dns() { kubectl apply --server-side -f - >/dev/null <<E
{apiVersion: v1, kind: ServiceAccount, metadata: {name: coredns, namespace: kube-system}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: system:coredns}
rules:
- {apiGroups: [""], resources: [endpoints, services, pods, namespaces], verbs: [list, watch]}
- {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: system:coredns}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: system:coredns}
subjects: [{kind: ServiceAccount, name: coredns, namespace: kube-system}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: coredns, namespace: kube-system}
data:
  Corefile: |
    cluster.local:53 in-addr.arpa:53 ip6.arpa:53 {
        errors
        health
        ready
        kubernetes cluster.local in-addr.arpa ip6.arpa {
           pods insecure
        }
        cache 5
    }
    .:53 {
        errors
        template ANY ANY . {
           rcode NXDOMAIN
        }
    }
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: coredns, namespace: kube-system}
spec:
  replicas: 1
  selector: {matchLabels: {k8s-app: kube-dns}}
  template:
    metadata: {labels: {k8s-app: kube-dns}}
    spec:
      serviceAccountName: coredns
      dnsPolicy: Default
      containers:
      - name: coredns
        image: $(ctr images list -q | grep -m1 /coredns:)
        imagePullPolicy: Never
        args: [-conf, /etc/coredns/Corefile]
        readinessProbe: {httpGet: {path: /ready, port: 8181}, periodSeconds: 1}
        volumeMounts: [{name: config, mountPath: /etc/coredns, readOnly: true}]
      volumes: [{name: config, configMap: {name: coredns}}]
---
apiVersion: v1
kind: Service
metadata: {name: kube-dns, namespace: kube-system}
spec:
  clusterIP: $DNS_IP
  selector: {k8s-app: kube-dns}
  ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53, protocol: TCP}]
E
}

prepare() {
  # Processes of this network namespace, too, use Services; they need a route before kube-proxy can redirect.
  ip route replace "$SERVICE_CIDR" dev lo src "$TB_IP"
  [ -n "$(box)" ] || box_start
  waitfor 30 containerd ctr version
  load "$@"
}

up() {
  kubelet_config
  service kubelet kubelet --config="$N/kubelet.yaml" --kubeconfig="$TB_DIR/pki/kubelet.kubeconfig" --root-dir="$N/kubelet" --hostname-override="$NODE" --node-ip="$TB_IP"
  service kube-proxy kube-proxy --config="$N/kube-proxy.yaml"
  dns
  kubectl -n kube-system rollout status deployment/coredns --timeout=120s >/dev/null || die "the node did not start CoreDNS; see $TB_DIR/log"
}

# ---------------------------------------------------------------- commands
kill_service() {
  local p; p=$(box) || die "no node runs"
  nsenter -t "$p" -p -m kill -9 "$(cat "$N/$1.pid")"
}

crash() {
  local p; p=$(box) || die "no node runs"
  nsenter -t "$p" -p -m pkill -9 -x "$1"
}

down() {
  local p
  [ -d "$N" ] || return 0
  if p=$(box); then
    kill -9 "$p" 2>/dev/null || true
    for _ in $(seq 100); do [ -d "/proc/$p" ] || break; sleep 0.05; done
  fi
  mounted drop || true
  rm -rf "$N"
}

drop() {                            # the last processes of pods may still be on their way out
  local d
  while read -r d; do
    for _ in $(seq 50); do
      [ -d "$d" ] || break
      find "$d" -depth -type d -exec rmdir {} + 2>/dev/null || true
      [ ! -d "$d" ] || sleep 0.1
    done
  done <"$N/cgroups"
}

case ${1:-} in
possible | needs | prepare | up | load | crash | down) "$@" ;;
kill) kill_service "$2" ;;
enter) enter ;;                     # these two are called by the script itself
in-mounts) shift; in_mounts "$@" ;;
*) sed -n '2,18p' "${BASH_SOURCE[0]}" | sed 's/^# \{0,1\}//'; exit 1 ;;
esac
