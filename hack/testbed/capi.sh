#!/usr/bin/env bash
# A real Cluster API test bed: a management cluster in one private network namespace, and simulated target clusters.
#
# Real etcd, kube-apiserver and kube-controller-manager, real clusterctl, real Cluster API managers and our own services.
# These run as pods of a real node (node.sh) or, where the machine allows no node, as host processes with the identity,
# arguments and volumes of their pods. The programs come from hack/tools/build.sh, the images from hack/images.sh.
#
#   capi.sh repo [dist folder]       write the local clusterctl repository + clusterctl.yaml
#   capi.sh up                       network namespace, etcd, kube-apiserver, kube-controller-manager; with pods: the node
#   capi.sh init [args]              clusterctl init, certificates, Cluster API's managers
#   capi.sh node <args>              node.sh, for this bed
#   capi.sh hostpod <ns> <deployment> <binary> [flags]         without pods: run a Deployment's container, supervised
#   capi.sh target up  <ns> <cluster> [host] [port]            simulated target cluster (real etcd + kube-apiserver)
#   capi.sh target node <ns> <cluster> <node> <providerID|-> [cp|worker] [version]   (TB_NODE_LABELS="a: b, c: d")
#   capi.sh target sicken|stopnode|startnode|rmnode <ns> <cluster> <node>
#   capi.sh target down <ns> <cluster>
#   capi.sh clusterctl ...           clusterctl against the test bed
#   capi.sh exec <cmd...>            run a command inside the test bed (KUBECONFIG set)
#   capi.sh status | down [--purge]  list or stop every process this script started; --purge leaves nothing behind
#
# Environment: TB_DIR (state), TB_BIN (binaries), TB_NETNS (namespace name), TB_IP, TB_PORT_BASE, TB_MODE (pods or processes),
# TB_IMAGES (pods: folder of image tars)
set -euo pipefail

SELF=$(readlink -f "${BASH_SOURCE[0]}")
HERE=$(dirname "$SELF")
CACHE=${METAL3_TOOLS:-$HOME/.cache/metal3-tools}
TB_DIR=$(readlink -m "${TB_DIR:-$PWD/.capi-testbed}")
TB_BIN=$(readlink -m "${TB_BIN:-$CACHE/bin}")
TB_NETNS=${TB_NETNS:-capi-testbed}
TB_IP=${TB_IP:-10.123.0.1}              # lives on "lo" of the namespace; not 127/8 on purpose (EndpointSlice refuses loopback)
TB_PORT_BASE=${TB_PORT_BASE:-20000}     # a second management cluster in the same namespace: other TB_DIR, TB_IP and TB_PORT_BASE
K8S_VERSION=${K8S_VERSION:-1.36.1}
CAPI_VERSION=${CAPI_VERSION:-v1.14.2}
TB_MODE=${TB_MODE:-$(cat "$TB_DIR/mode" 2>/dev/null || echo processes)}
TB_IMAGES=${TB_IMAGES:-$TB_DIR/images}

export TB_DIR TB_BIN TB_NETNS TB_IP TB_PORT_BASE TB_MODE TB_IMAGES
export PATH="$TB_BIN:$PATH"
export KUBECONFIG=${TB_KUBECONFIG:-$TB_DIR/pki/admin.kubeconfig}
cctl() { CLUSTER_TOPOLOGY=${CLUSTER_TOPOLOGY:-true} XDG_CONFIG_HOME="$TB_DIR/xdg" CLUSTERCTL_DISABLE_VERSIONCHECK=true GOPROXY=off clusterctl --config "$TB_DIR/clusterctl.yaml" "$@"; }

log() { printf '\033[36m[testbed]\033[0m %s\n' "$*" >&2; }
die() { printf '[testbed] %s\n' "$*" >&2; exit 1; }

# ---------------------------------------------------------------- network namespace
enter_netns() {                     # re-exec this script inside the namespace
  [ "${TB_INSIDE:-}" = 1 ] && return 0
  if ! ip netns list | awk '{print $1}' | grep -qx "$TB_NETNS"; then
    ip netns add "$TB_NETNS"
    ip -n "$TB_NETNS" link set lo up
  fi
  # `ip netns exec` lays these files over those in /etc. Names of Services are resolved by the cluster's DNS; without pods
  # they are in the hosts file.
  local etc=/etc/netns/$TB_NETNS
  mkdir -p "$etc"
  [ -e "$etc/hosts" ] || printf '127.0.0.1 localhost\n%s %s\n' "$TB_IP" "$(hostname)" >"$etc/hosts"
  if [ "$TB_MODE" = pods ]; then printf 'search cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n' >"$etc/resolv.conf"; fi
  ip -n "$TB_NETNS" addr add "$TB_IP/32" dev lo 2>/dev/null || true
  exec ip netns exec "$TB_NETNS" env TB_INSIDE=1 "$SELF" "$@"
}

# ---------------------------------------------------------------- process keeping
STARTED=()                          # what this run started, and what has to live while it waits
start() {                           # start <name> <cmd...>; pid and log are kept in the state dir
  local name=$1; shift
  mkdir -p "$TB_DIR/run" "$TB_DIR/log"
  if alive "$name"; then log "$name already runs"; return 0; fi
  setsid nohup "$@" >"$TB_DIR/log/$name.log" 2>&1 </dev/null &
  echo $! >"$TB_DIR/run/$name.pid"
  STARTED+=("$name")
}
alive() { [ -s "$TB_DIR/run/$1.pid" ] && kill -0 "$(cat "$TB_DIR/run/$1.pid")" 2>/dev/null; }
stop() {
  local f=$TB_DIR/run/$1.pid p i
  [ -s "$f" ] || return 0
  p=$(cat "$f"); kill "$p" 2>/dev/null || true
  for i in $(seq 1 50); do kill -0 "$p" 2>/dev/null || break; sleep 0.1; done
  kill -9 "$p" 2>/dev/null || true
  rm -f "$f"
}
waitfor() {                         # waitfor <seconds> <what> <cmd...>
  local end=$((SECONDS + $1)) what=$2; shift 2
  while [ $SECONDS -le $end ]; do "$@" >/dev/null 2>&1 && return 0; all_live "$what"; sleep 0.1; done
  die "timeout: $what"
}
all_live() {                        # all_live <what>: ends the wait for it when a program that this run started is dead
  local name last
  for name in "${STARTED[@]}"; do
    # Programs of Deployments are started anew by the supervisor.
    if alive "$name" || [ -e "$TB_DIR/pods/$name/cmd" ]; then continue; fi
    last=$(grep -v '^[[:space:]]*$' "$TB_DIR/log/$name.log" 2>/dev/null | tail -n 1 || true)
    printf '[testbed] %s\n' "$name ended while $1 was waited for: ${last:-it wrote nothing}" >&2
    case $last in
    *"address already in use"*) die "its address is taken: $(remedy "$(strangers)")" ;;
    *) die "see $TB_DIR/log/$name.log" ;;
    esac
  done
}
strangers() {                       # programs that listen on our address and that this bed does not know: an earlier run was not ended
  local pid
  for pid in $(ss -Hltnp src "$TB_IP" 2>/dev/null | grep -o 'pid=[0-9]*' | cut -d= -f2 | sort -un); do
    cat "$TB_DIR"/run/*.pid 2>/dev/null | grep -qx "$pid" || printf '%s %s, ' "$(cat "/proc/$pid/comm" 2>/dev/null || echo process)" "$pid"
  done
}
remedy() {                          # remedy <strangers>
  echo "${1:-a program of this bed, }left by an earlier run in the namespace $TB_NETNS; end it by \`capi.sh down --purge\` with its TB_DIR, or by its process id, or take another TB_NETNS"
}

# ---------------------------------------------------------------- pki helpers (openssl)
mkca() {                            # mkca <basename> <cn>
  [ -s "$1.crt" ] && return 0
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -keyout "$1.key" -out "$1.crt" -subj "/CN=$2" \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign,digitalSignature 2>/dev/null
}
mkcert() {                          # mkcert <basename> <subject> <ca-basename> [san]
  local ext="basicConstraints=CA:FALSE
keyUsage=digitalSignature,keyEncipherment
extendedKeyUsage=serverAuth,clientAuth"
  [ -n "${4:-}" ] && ext="$ext
subjectAltName=$4"
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$1.key" -out "$1.csr" -subj "$2" 2>/dev/null
  openssl x509 -req -in "$1.csr" -CA "$3.crt" -CAkey "$3.key" -set_serial "0x$(openssl rand -hex 8)" -days 365 \
    -extfile <(echo "$ext") -out "$1.crt" 2>/dev/null
}
kubeconfig_cert() {                 # kubeconfig_cert <file> <server> <ca.crt> <crt> <key>
  cat >"$1" <<E
apiVersion: v1
kind: Config
current-context: default
clusters: [{name: default, cluster: {server: "$2", certificate-authority-data: $(base64 -w0 <"$3")}}]
users: [{name: default, user: {client-certificate-data: $(base64 -w0 <"$4"), client-key-data: $(base64 -w0 <"$5")}}]
contexts: [{name: default, context: {cluster: default, user: default}}]
E
}
kubeconfig_token() {                # kubeconfig_token <file> <server> <ca.crt> <token>
  cat >"$1" <<E
apiVersion: v1
kind: Config
current-context: default
clusters: [{name: default, cluster: {server: "$2", certificate-authority-data: $(base64 -w0 <"$3")}}]
users: [{name: default, user: {token: "$4"}}]
contexts: [{name: default, context: {cluster: default, user: default}}]
E
}

# ---------------------------------------------------------------- management cluster
cmd_up() {
  local P=$TB_DIR/pki controllers='*,-deployment-controller,-replicaset-controller,-node-lifecycle-controller,-node-ipam-controller' preparing=
  mkdir -p "$P" "$TB_DIR/data" "$TB_DIR/log"
  ip addr add "$TB_IP/32" dev lo 2>/dev/null || true      # of a second management cluster in the namespace
  echo "$TB_MODE" >"$TB_DIR/mode"
  [ -s "$P/admin.kubeconfig" ] || management_pki
  if [ "$TB_MODE" = pods ]; then
    controllers='*,-node-ipam-controller'
    "$HERE/node.sh" prepare "$TB_IMAGES"/*.tar & preparing=$!
  fi
  local left; left=$(strangers)
  [ -z "$left" ] || log "programs listen on $TB_IP already: $(remedy "$left")"
  start etcd etcd --data-dir "$TB_DIR/data/etcd" --unsafe-no-fsync --log-level error \
    --listen-client-urls "http://$TB_IP:2379" --advertise-client-urls "http://$TB_IP:2379" \
    --listen-peer-urls "http://$TB_IP:2380" --initial-advertise-peer-urls "http://$TB_IP:2380" --initial-cluster "default=http://$TB_IP:2380"
  start kube-apiserver kube-apiserver --etcd-servers "http://$TB_IP:2379" \
    --bind-address "$TB_IP" --advertise-address "$TB_IP" --secure-port 6443 \
    --tls-cert-file "$P/apiserver.crt" --tls-private-key-file "$P/apiserver.key" --client-ca-file "$P/ca.crt" \
    --service-account-key-file "$P/sa.pub" --service-account-signing-key-file "$P/sa.key" --service-account-issuer https://kubernetes.default.svc \
    --service-cluster-ip-range 10.96.0.0/16 --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction --allow-privileged=true \
    --kubelet-client-certificate "$P/kubelet-client.crt" --kubelet-client-key "$P/kubelet-client.key" --kubelet-certificate-authority "$P/ca.crt" \
    --kubelet-preferred-address-types InternalIP --audit-policy-file "$P/audit-policy.yaml" --audit-log-path "$TB_DIR/log/audit.log" \
    --requestheader-client-ca-file "$P/front-proxy-ca.crt" --requestheader-allowed-names front-proxy-client \
    --requestheader-extra-headers-prefix X-Remote-Extra- --requestheader-group-headers X-Remote-Group --requestheader-username-headers X-Remote-User \
    --proxy-client-cert-file "$P/front-proxy-client.crt" --proxy-client-key-file "$P/front-proxy-client.key" \
    --enable-aggregator-routing=true
  waitfor 90 "kube-apiserver" kubectl get --raw /readyz
  # Without a node, Deployment status is written by `hostpod`, so that clusterctl --wait-providers and helm --wait work.
  start kube-controller-manager kube-controller-manager --kubeconfig "$P/admin.kubeconfig" --leader-elect=false \
    --bind-address "$TB_IP" --secure-port 10257 --service-account-private-key-file "$P/sa.key" --root-ca-file "$P/ca.crt" \
    --use-service-account-credentials=true --controllers="$controllers"
  [ "$TB_MODE" != pods ] || start kube-scheduler kube-scheduler --kubeconfig "$P/kube-scheduler.kubeconfig" --leader-elect=false --bind-address "$TB_IP"
  waitfor 60 "default service account" kubectl -n default get serviceaccount default
  if [ "$TB_MODE" = pods ]; then
    wait "$preparing" || die "the node did not start; see $TB_DIR/log"
    "$HERE/node.sh" up
  else
    # resuming an earlier bed: cert-manager first, the supervisor then restarts the managers (target clusters are not resumed)
    if kubectl get crd certificates.cert-manager.io >/dev/null 2>&1; then cmd_certs; fi
    start supervisor "$SELF" supervise
  fi
  log "management cluster up: KUBECONFIG=$KUBECONFIG (netns $TB_NETNS)"
}
management_pki() {
  local P=$TB_DIR/pki name
  mkca "$P/ca" testbed-ca; mkca "$P/front-proxy-ca" testbed-front-proxy
  mkcert "$P/apiserver" /CN=kube-apiserver "$P/ca" "IP:$TB_IP,IP:127.0.0.1,IP:10.96.0.1,DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local"
  mkcert "$P/admin" /O=system:masters/CN=testbed-admin "$P/ca"
  mkcert "$P/front-proxy-client" /CN=front-proxy-client "$P/front-proxy-ca"
  mkcert "$P/kubelet-client" /O=system:masters/CN=kube-apiserver-kubelet-client "$P/ca"
  mkcert "$P/kubelet" /O=system:nodes/CN=system:node:management "$P/ca" "DNS:management,IP:$TB_IP"
  mkcert "$P/kube-proxy" /CN=system:kube-proxy "$P/ca"
  mkcert "$P/kube-scheduler" /CN=system:kube-scheduler "$P/ca"
  openssl genrsa -out "$P/sa.key" 2048 2>/dev/null; openssl rsa -in "$P/sa.key" -pubout -out "$P/sa.pub" 2>/dev/null
  # What our services ask is compared with what they may.
  cat >"$P/audit-policy.yaml" <<E
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: Metadata, userGroups: ["system:serviceaccounts:capm3-system"]}
- {level: None}
E
  for name in kubelet kube-proxy kube-scheduler admin; do kubeconfig_cert "$P/$name.kubeconfig" "https://$TB_IP:6443" "$P/ca.crt" "$P/$name.crt" "$P/$name.key"; done
}

# real cert-manager controllers issue every Certificate and inject every CA
ca_injected() {
  [ "$(kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations,crd -o json | jq '[.items[] | select(.metadata.annotations["cert-manager.io/inject-ca-from"]) |
      (.webhooks // [])[].clientConfig, .spec.conversion.webhook.clientConfig | select(. != null and .caBundle == null)] | length')" = 0 ]
}
cmd_certs() {
  start cert-manager env KUBECONFIG="$TB_DIR/pki/admin.kubeconfig" tb-certmanager
  kubectl wait certificates.cert-manager.io -A --all --for=condition=Ready --timeout=90s >/dev/null
  waitfor 60 "CA injection" ca_injected
}

PORT_NEXT=$TB_DIR/run/next-port
next_port() {                       # managers start side by side
  local p; mkdir -p "$TB_DIR/run"
  (flock 8; p=$(cat "$PORT_NEXT" 2>/dev/null || echo "$TB_PORT_BASE"); echo $((p + 1)) >"$PORT_NEXT"; echo "$p") 8>"$PORT_NEXT.lock"
}

# hostpod <namespace> <deployment> <binary> [flags]: run the container "manager" of a Deployment as a host process, with its
# ServiceAccount, arguments, environment and volumes. Given flags replace those of the manifest; in them @w, @h and @m are
# a free webhook, health and metrics port, @ip the address of the bed and @root what lies under the container's /.
cmd_hostpod() {
  local ns=$1 dep=$2 bin=$3; shift 3
  local name=$ns.$dep d=$TB_DIR/pods/$ns.$dep j wport hport mport sa args envs flags=() i
  alive "$name" && return 0
  mkdir -p "$d/root"; j=$(kubectl -n "$ns" get deploy "$dep" -o json)
  sa=$(jq -r '.spec.template.spec.serviceAccountName // "default"' <<<"$j")
  kubeconfig_token "$d/kubeconfig" "https://$TB_IP:6443" "$TB_DIR/pki/ca.crt" "$(kubectl -n "$ns" create token "$sa" --duration=24h)"
  wport=$(next_port); hport=$(next_port); mport=$(next_port)
  hostpod_volumes "$ns" "$sa" "$d/root" "$j"
  for i in "$@"; do i=${i//@w/$wport}; i=${i//@h/$hport}; i=${i//@m/$mport}; i=${i//@ip/$TB_IP}; flags+=("${i//@root/$d/root}"); done
  mapfile -t args < <(jq -r '.spec.template.spec.containers[] | select(.name == "manager") | .args[]?' <<<"$j" | unless_given "${flags[@]}" --leader-elect)
  mapfile -t envs < <(jq -r --arg ns "$ns" '.spec.template.spec.containers[] | select(.name == "manager") | .env[]? |
    "\(.name)=\(if .valueFrom.fieldRef.fieldPath == "metadata.namespace" then $ns else .value // "" end)"' <<<"$j")
  for i in $(jq -r '.spec.template.spec.containers[] | select(.name == "manager") | .envFrom[]?.configMapRef.name // empty' <<<"$j"); do
    mapfile -t -O "${#envs[@]}" envs < <(kubectl -n "$ns" get configmap "$i" -o json | jq -r '.data | to_entries[] | "\(.key)=\(.value)"')
  done
  for i in "${!args[@]}"; do args[i]=$(rooted "$d/root" "${args[i]}"); done
  for i in "${!envs[@]}"; do envs[i]=$(rooted "$d/root" "${envs[i]}"); done
  hostpod_services "$ns" "$wport" "$j"
  start "$name" env KUBECONFIG="$d/kubeconfig" "${envs[@]}" "$bin" "${args[@]}" "${flags[@]}"
  # from here on the supervisor looks after it
  printf '%s\n' "$ns" "$dep" "$bin" "$@" >"$d/cmd.new"; jq -r '"\(.metadata.uid) \(.metadata.generation)"' <<<"$j" >"$d/generation"; mv "$d/cmd.new" "$d/cmd"
  echo "$mport" >"$d/metrics-port"; echo "$hport" >"$d/health-port"
  waitfor 90 "$name readyz (see $TB_DIR/log/$name.log)" ready "$d"
  kubectl -n "$ns" patch deploy "$dep" --subresource=status --type=merge -p "$(jq -c '{status: {observedGeneration: .metadata.generation, replicas: 1, readyReplicas: 1, availableReplicas: 1, updatedReplicas: 1, conditions: [{type: "Available", status: "True", reason: "MinimumReplicasAvailable", message: "host process"}]}}' <<<"$j")" >/dev/null
  log "$name runs as pid $(cat "$TB_DIR/run/$name.pid"), webhook $TB_IP:$wport, metrics 127.0.0.1:$mport"
}
# The supervisor may have started it anew meanwhile, on other ports.
ready() { curl -sf "http://127.0.0.1:$(cat "$1/health-port")/readyz"; }
unless_given() {                    # unless_given <flags...>: the arguments on stdin that none of the flags replaces
  local names; names=$(printf '%s\n' "$@" | sed 's/=.*//' | paste -sd'|')
  grep -vE -- "^($names)(=|$)" || true
}
rooted() {                          # rooted <root> <name=value>: a path that one of the volumes provides lies under root
  local value=${2#*=}
  if [ "${value#/}" != "$value" ] && [ -e "$1$value" ]; then echo "${2%%=*}=$1$value"; else echo "$2"; fi
}
hostpod_volumes() {                 # Secrets and projected tokens, as kubelet lays them out
  local ns=$1 sa=$2 root=$3 j=$4 path kind what items k v
  jq -r '.spec.template.spec as $s | $s.containers[] | select(.name == "manager") | .volumeMounts[]? | . as $m | $s.volumes[] | select(.name == $m.name) |
      if .secret then [$m.mountPath, (if .secret.optional then "optional" else "secret" end), .secret.secretName, ([.secret.items[]?.key] | join(","))]
      elif .projected then (.projected.sources[] | select(.serviceAccountToken) | [$m.mountPath, "token", .serviceAccountToken.audience, .serviceAccountToken.path])
      else empty end | @tsv' <<<"$j" |
    while IFS=$'\t' read -r path kind what items; do
      if [ "$kind" = token ]; then
        mkdir -p "$root$path"; (umask 077; kubectl -n "$ns" create token "$sa" --audience="$what" --duration=24h >"$root$path/$items")
        continue
      fi
      # The certificate may not be issued yet. A pod starts when it is there.
      [ "$kind" = optional ] || waitfor 60 "Secret $ns/$what" kubectl -n "$ns" get secret "$what"
      if kubectl -n "$ns" get secret "$what" >/dev/null 2>&1; then
        mkdir -p "$root$path"
        kubectl -n "$ns" get secret "$what" -o json | jq -r --arg only "$items" '.data | to_entries[] | select($only == "" or (.key | IN($only | split(",")[]))) | [.key, .value] | @tsv' |
          while IFS=$'\t' read -r k v; do (umask 077; base64 -d <<<"$v" >"$root$path/$k"); done
      fi
    done
}
# Services keep working: aggregator routing dials EndpointSlices directly, and the names are in the hosts file
hostpod_services() {
  local ns=$1 wport=$2 j=$3 s port
  kubectl -n "$ns" get service -o json | jq -c --argjson l "$(jq .spec.template.metadata.labels <<<"$j")" \
    '.items[] | select(.spec.selector != null and (.spec.selector | to_entries | all($l[.key] == .value))) | {n: .metadata.name, p: (.spec.ports[0].name // ""), t: (.spec.ports[0].targetPort | tostring)}' |
    while read -r s; do
      port=$wport; [ "$(jq -r .t <<<"$s")" != grpc ] || port=8443
      kubectl apply -f - >/dev/null <<E
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: testbed-$(jq -r .n <<<"$s"), namespace: $ns, labels: {kubernetes.io/service-name: $(jq -r .n <<<"$s"), endpointslice.kubernetes.io/managed-by: testbed}}
addressType: IPv4
endpoints: [{addresses: ["$TB_IP"], conditions: {ready: true}}]
ports: [{name: "$(jq -r .p <<<"$s")", port: $port, protocol: TCP}]
E
      grep -q " $(jq -r .n <<<"$s").$ns.svc$" /etc/hosts || echo "$TB_IP $(jq -r .n <<<"$s").$ns.svc" >>/etc/hosts
    done
}

# follow what happens to Deployments that run as host processes: scaled to 0 or deleted -> stop, changed -> restart
# (clusterctl upgrade and delete scale down first and wait for status.replicas 0)
cmd_supervise() {
  local d name j c g
  while sleep 1; do
    for c in "$TB_DIR"/pods/*/cmd; do
      [ -e "$c" ] || continue
      d=$(dirname "$c"); name=$(basename "$d"); mapfile -t a <"$c"
      j=$(kubectl -n "${a[0]}" get deploy "${a[1]}" -o json --ignore-not-found 2>/dev/null) || continue
      if [ -z "$j" ]; then stop "$name"; continue; fi          # deleted: may come back (clusterctl upgrade re-creates it)
      if [ "$(jq '.spec.replicas // 1' <<<"$j")" = 0 ]; then
        stop "$name"
        kubectl -n "${a[0]}" patch deploy "${a[1]}" --subresource=status --type=merge -p "$(jq -c '{status: {observedGeneration: .metadata.generation, replicas: 0, readyReplicas: 0, availableReplicas: 0, updatedReplicas: 0}}' <<<"$j")" >/dev/null 2>&1 || true
        continue
      fi
      g=$(jq -r '"\(.metadata.uid) \(.metadata.generation)"' <<<"$j")
      if [ "$g" != "$(cat "$d/generation")" ] || ! alive "$name"; then
        stop "$name"; (cmd_hostpod "${a[@]}") || true
      fi
    done
  done
}

cmd_init() {
  local wait=()
  [ "$TB_MODE" != pods ] || wait=(--wait-providers)
  cctl init --core "cluster-api:$CAPI_VERSION" --bootstrap "kubeadm:$CAPI_VERSION" --control-plane "kubeadm:$CAPI_VERSION" "${wait[@]}" "$@"
  [ "$TB_MODE" = pods ] || cmd_managers
}
cmd_managers() {
  cmd_certs
  local ns dep bin pids=() flags=(--webhook-port=@w --webhook-cert-dir=@root/tmp/k8s-webhook-server/serving-certs --health-addr=127.0.0.1:@h --diagnostics-address=127.0.0.1:@m --insecure-diagnostics=true)
  while read -r ns dep bin; do cmd_hostpod "$ns" "$dep" "$TB_BIN/$bin" "${flags[@]}" & pids+=($!); done <<E
capi-system capi-controller-manager capi-core-manager
capi-kubeadm-bootstrap-system capi-kubeadm-bootstrap-controller-manager capi-kubeadm-bootstrap-manager
capi-kubeadm-control-plane-system capi-kubeadm-control-plane-controller-manager capi-kubeadm-control-plane-manager
E
  for bin in "${pids[@]}"; do wait "$bin"; done
}

# ---------------------------------------------------------------- simulated target clusters
# A target cluster is one real etcd + one real kube-apiserver that use the CAs Cluster API generated
# (<cluster>-ca, <cluster>-etcd, <cluster>-sa, <cluster>-proxy), plus a fake kubelet that serves pod port-forward.
tcfg() { T=$TB_DIR/target/$1.$2; mkdir -p "$T/pki"; TK=$T/admin.kubeconfig; N="target-$1.$2"; }
secret_to() { kubectl -n "$1" get secret "$2" -o jsonpath="{.data.tls\.crt}" | base64 -d >"$3.crt"; kubectl -n "$1" get secret "$2" -o jsonpath="{.data.tls\.key}" | base64 -d >"$3.key"; }
tkubectl() { KUBECONFIG=$TK kubectl "$@"; }
tetcdctl() { etcdctl --endpoints "$(sed -n 's#^etcd-.*=\(.*\)$#https://\1#p' "$T/forward.map" | paste -sd,)" --cacert "$T/pki/etcd-ca.crt" --cert "$T/pki/etcd-client.crt" --key "$T/pki/etcd-client.key" "$@"; }

target_etcd() {                     # the member of a control plane node, as it was started first; of a worker: nothing
  local args; [ -s "$T/etcd-$1.args" ] || return 0
  mapfile -t args <"$T/etcd-$1.args"; start "$N-etcd-$1" etcd "${args[@]}"
}
target_ready() {                    # target_ready <node> <status> <reason>: what kubelet, or in its absence the cluster, says of the node
  local now; now=$(date -u +%Y-%m-%dT%H:%M:%SZ)
  [ "$(tkubectl get node "$1" --ignore-not-found -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}')" != "$2" ] || return 0
  tkubectl patch node "$1" --subresource=status -p "{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"$2\",\"reason\":\"$3\",\"message\":\"\",\"lastHeartbeatTime\":\"$now\",\"lastTransitionTime\":\"$now\"}]}}" >/dev/null ||
    [ -z "$(tkubectl get node "$1" --ignore-not-found -o name)" ]    # its Machine was deleted, and the node with it
}

cmd_target() {
  local op=$1 ns=$2 cl=$3; shift 3; tcfg "$ns" "$cl"
  case $op in
  up)
    local host=${1:-$TB_IP} port=${2:-$(next_port)}
    waitfor 60 "CA secrets of $ns/$cl" kubectl -n "$ns" get secret "$cl-ca" "$cl-sa" "$cl-proxy"
    secret_to "$ns" "$cl-ca" "$T/pki/ca"; secret_to "$ns" "$cl-proxy" "$T/pki/proxy"; secret_to "$ns" "$cl-sa" "$T/pki/sa"
    if kubectl -n "$ns" get secret "$cl-etcd" >/dev/null 2>&1; then secret_to "$ns" "$cl-etcd" "$T/pki/etcd-ca"; fi
    [ -s "$T/pki/etcd-ca.key" ] || mkca "$T/pki/etcd-ca" etcd-ca        # external etcd: KCP never looks at it
    ip addr add "$host/32" dev lo 2>/dev/null || true                   # the control plane endpoint (VIP) lives on lo, too
    echo "$host $port $(next_port) $(next_port)" >"$T/endpoint"
    mkcert "$T/pki/apiserver" /CN=kube-apiserver "$T/pki/ca" "IP:$host,IP:127.0.0.1,IP:10.96.0.1,DNS:kubernetes.default.svc"
    mkcert "$T/pki/kubelet-client" /O=system:masters/CN=kube-apiserver-kubelet-client "$T/pki/ca"
    mkcert "$T/pki/kubelet" /CN=tb-kubelet "$T/pki/ca" "IP:127.0.0.1,IP:$TB_IP"
    mkcert "$T/pki/front-proxy-client" /CN=front-proxy-client "$T/pki/proxy"
    mkcert "$T/pki/etcd-client" /O=system:masters/CN=kube-apiserver-etcd-client "$T/pki/etcd-ca"
    mkcert "$T/pki/admin" /O=system:masters/CN=kubernetes-admin "$T/pki/ca"
    kubeconfig_cert "$TK" "https://$host:$port" "$T/pki/ca.crt" "$T/pki/admin.crt" "$T/pki/admin.key"
    : >"$T/forward.map"
    ;;
  node)
    local node=$1 pid=$2 role=${3:-worker} ver=${4:-v$K8S_VERSION} host port kp xp first=0
    read -r host port kp xp <"$T/endpoint"
    if ! alive "$N-apiserver"; then
      [ "$role" = cp ] || die "the first node of a target cluster must be a control plane node"
      first=1
    fi
    if [ "$role" = cp ] && ! alive "$N-etcd-$node"; then      # one etcd member per control plane node, named like the node (KCP compares names)
      local ep pp cluster state=new; ep=$(next_port); pp=$(next_port); cluster="$node=http://127.0.0.1:$pp"
      if [ $first = 0 ]; then
        cluster=$(tetcdctl member add "$node" --peer-urls="http://127.0.0.1:$pp" | sed -n 's/^ETCD_INITIAL_CLUSTER="\(.*\)"$/\1/p'); state=existing
      fi
      mkcert "$T/pki/etcd-$node" "/CN=$node" "$T/pki/etcd-ca" "IP:127.0.0.1,DNS:localhost,DNS:$node"
      printf '%s\n' --name "$node" --data-dir "$T/etcd-$node" --unsafe-no-fsync --log-level error \
        --listen-client-urls "https://127.0.0.1:$ep" --advertise-client-urls "https://127.0.0.1:$ep" \
        --listen-peer-urls "http://127.0.0.1:$pp" --initial-advertise-peer-urls "http://127.0.0.1:$pp" --initial-cluster "$cluster" --initial-cluster-state "$state" \
        --client-cert-auth --trusted-ca-file "$T/pki/etcd-ca.crt" --cert-file "$T/pki/etcd-$node.crt" --key-file "$T/pki/etcd-$node.key" >"$T/etcd-$node.args"
      target_etcd "$node"
      printf 'etcd-%s=127.0.0.1:%s\nkube-apiserver-%s=%s:%s\n' "$node" "$ep" "$node" "$host" "$port" >>"$T/forward.map"
    fi
    if [ $first = 1 ]; then
      start "$N-kubelet" tb-kubelet -listen "127.0.0.1:$kp" -cert "$T/pki/kubelet.crt" -key "$T/pki/kubelet.key" -client-ca "$T/pki/ca.crt" -map "$T/forward.map" -etcd-proxy "127.0.0.1:$xp"
      start "$N-apiserver" kube-apiserver --etcd-servers "https://127.0.0.1:$xp" --etcd-cafile "$T/pki/etcd-ca.crt" --etcd-certfile "$T/pki/etcd-client.crt" --etcd-keyfile "$T/pki/etcd-client.key" \
        --bind-address "$host" --advertise-address "$host" --secure-port "$port" --client-ca-file "$T/pki/ca.crt" \
        --tls-cert-file "$T/pki/apiserver.crt" --tls-private-key-file "$T/pki/apiserver.key" \
        --service-account-key-file "$T/pki/sa.crt" --service-account-signing-key-file "$T/pki/sa.key" --service-account-issuer https://kubernetes.default.svc \
        --kubelet-client-certificate "$T/pki/kubelet-client.crt" --kubelet-client-key "$T/pki/kubelet-client.key" --kubelet-certificate-authority "$T/pki/ca.crt" \
        --kubelet-preferred-address-types InternalIP --service-cluster-ip-range 10.96.0.0/16 --authorization-mode Node,RBAC --enable-bootstrap-token-auth=true \
        --requestheader-client-ca-file "$T/pki/proxy.crt" --requestheader-allowed-names front-proxy-client \
        --requestheader-extra-headers-prefix X-Remote-Extra- --requestheader-group-headers X-Remote-Group --requestheader-username-headers X-Remote-User \
        --proxy-client-cert-file "$T/pki/front-proxy-client.crt" --proxy-client-key-file "$T/pki/front-proxy-client.key" \
        --disable-admission-plugins ServiceAccount,TaintNodesByCondition ${TB_TARGET_FLAGS:-}
      waitfor 90 "target apiserver" env KUBECONFIG="$TK" kubectl get --raw /readyz
      waitfor 30 "kube-system" env KUBECONFIG="$TK" kubectl get ns kube-system
      # what kubeadm leaves behind and KCP reads or edits
      tkubectl apply -f - >/dev/null <<E
apiVersion: v1
kind: ConfigMap
metadata: {name: kubeadm-config, namespace: kube-system}
data: {ClusterConfiguration: "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nclusterName: $cl\nkubernetesVersion: $ver\n"}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: kubelet-config, namespace: kube-system}
data: {kubelet: "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"}
E
    fi
    local labels="kubernetes.io/hostname: $node, kubernetes.io/os: linux, kubernetes.io/arch: amd64" taints="" now; now=$(date -u +%Y-%m-%dT%H:%M:%SZ)
    if [ "$role" = cp ]; then
      labels="$labels, node-role.kubernetes.io/control-plane: ''"; taints=", taints: [{key: node-role.kubernetes.io/control-plane, effect: NoSchedule}]"
    else   # what kubeadm join leaves on a worker; the core Machine controller removes it
      taints=", taints: [{key: node.cluster.x-k8s.io/uninitialized, effect: NoSchedule}]"
    fi
    [ -n "${TB_NODE_LABELS:-}" ] && labels="$labels, $TB_NODE_LABELS"
    [ "$pid" = - ] && pid=""        # "-": a node without cloud provider, the infrastructure provider sets spec.providerID itself
    printf 'apiVersion: v1\nkind: Node\nmetadata: {name: %s, labels: {%s}}\nspec: {providerID: "%s"%s}\n' "$node" "$labels" "$pid" "$taints" | tkubectl apply -f - >/dev/null
    cond() { printf '{"type":"%s","status":"%s","reason":"%s","message":"","lastHeartbeatTime":"%s","lastTransitionTime":"%s"}' "$1" "$2" "$3" "$now" "$now"; }
    tkubectl patch node "$node" --subresource=status --type=merge -p "{\"status\":{\"nodeInfo\":{\"kubeletVersion\":\"$ver\",\"kubeProxyVersion\":\"\",\"machineID\":\"\",\"systemUUID\":\"\",\"bootID\":\"\",\"kernelVersion\":\"\",\"osImage\":\"simulated\",\"containerRuntimeVersion\":\"\",\"operatingSystem\":\"linux\",\"architecture\":\"amd64\"},
      \"addresses\":[{\"type\":\"InternalIP\",\"address\":\"127.0.0.1\"},{\"type\":\"Hostname\",\"address\":\"$node\"}],\"daemonEndpoints\":{\"kubeletEndpoint\":{\"Port\":$kp}},
      \"conditions\":[$(cond Ready True KubeletReady),$(cond MemoryPressure False KubeletHasSufficientMemory),$(cond DiskPressure False KubeletHasNoDiskPressure),$(cond PIDPressure False KubeletHasSufficientPID)]}}" >/dev/null
    if [ "$role" = cp ]; then
      for c in kube-apiserver kube-controller-manager kube-scheduler etcd; do
        tkubectl apply -f - >/dev/null <<E
apiVersion: v1
kind: Pod
metadata: {name: $c-$node, namespace: kube-system, labels: {component: $c, tier: control-plane}, annotations: {kubernetes.io/config.mirror: simulated, kubernetes.io/config.source: file}}
spec: {nodeName: $node, hostNetwork: true, priorityClassName: system-node-critical, containers: [{name: $c, image: "registry.k8s.io/$c:$ver"}], tolerations: [{operator: Exists}]}
E
        tkubectl -n kube-system patch pod "$c-$node" --subresource=status --type=merge -p "{\"status\":{\"phase\":\"Running\",\"podIP\":\"127.0.0.1\",\"hostIP\":\"127.0.0.1\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\",\"lastTransitionTime\":\"$now\"},{\"type\":\"Initialized\",\"status\":\"True\",\"lastTransitionTime\":\"$now\"},{\"type\":\"PodScheduled\",\"status\":\"True\",\"lastTransitionTime\":\"$now\"}]}}" >/dev/null
      done
    fi
    ;;
  sicken) target_ready "$1" Unknown NodeStatusUnknown ;;
  stopnode) target_ready "$1" Unknown NodeStatusUnknown; stop "$N-etcd-$1" ;;
  startnode) target_etcd "$1"; target_ready "$1" True KubeletReady ;;
  rmnode)
    tkubectl delete node "$1" --ignore-not-found
    tkubectl -n kube-system delete pod --field-selector "spec.nodeName=$1" --force --grace-period=0 --ignore-not-found 2>/dev/null || true
    sed -i "/^etcd-$1=/d;/^kube-apiserver-$1=/d" "$T/forward.map"; stop "$N-etcd-$1"; rm -rf "$T/etcd-$1" "$T/etcd-$1.args"
    ;;
  down) for x in "$TB_DIR/run/$N"-*.pid; do [ -e "$x" ] && stop "$(basename "$x" .pid)"; done; rm -rf "$T" ;;
  kubectl) tkubectl "$@" ;;
  *) die "target: up|node|sicken|stopnode|startnode|rmnode|down|kubectl" ;;
  esac
}

cmd_exec() { exec "$@"; }
cmd_clusterctl() { cctl "$@"; }
cmd_status() { for f in "$TB_DIR"/run/*.pid; do [ -e "$f" ] || continue; n=$(basename "$f" .pid); p=$(cat "$f"); printf '%-70s pid %-8s %s\n' "$n" "$p" "$(awk '/VmRSS/{print $2/1024 " MiB"}' "/proc/$p/status" 2>/dev/null || echo dead)"; done; }
cmd_down() {
  "$HERE/node.sh" down
  if [ "${1:-}" = --purge ]; then   # nothing of it is kept, so nobody needs an orderly end
    stop supervisor
    cat "$TB_DIR"/run/*.pid 2>/dev/null | xargs -r kill -9 2>/dev/null || true
  elif [ -d "$TB_DIR/run" ]; then
    stop supervisor
    for f in $(ls -t "$TB_DIR"/run/*.pid 2>/dev/null); do stop "$(basename "$f" .pid)"; done
    rm -f "$PORT_NEXT"
  fi
  if [ "${1:-}" = --purge ]; then
    ip netns pids "$TB_NETNS" 2>/dev/null | xargs -r kill -9 2>/dev/null || true
    rm -rf "$TB_DIR" "/etc/netns/$TB_NETNS"
    ip netns del "$TB_NETNS" 2>/dev/null || true
  fi
  log stopped
}

c=${1:-help}; shift || true
case $c in
repo) "$HERE/repository.sh" write "$TB_DIR/clusterctl.yaml" "$@" ;;
down) cmd_down "$@" ;;
node) [ "${TB_INSIDE:-}" = 1 ] || enter_netns "$c" "$@"; "$HERE/node.sh" "$@" ;;
up | init | managers | certs | hostpod | supervise | target | exec | clusterctl | status) [ "${TB_INSIDE:-}" = 1 ] || enter_netns "$c" "$@"; "cmd_$c" "$@" ;;
*) sed -n '2,22p' "$SELF" | sed 's/^# \{0,1\}//' ;;
esac
