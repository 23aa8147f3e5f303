#!/usr/bin/env bash
# Real Ironic + Redfish BMC emulator + simulated agents, loopback only.
#
#   ironic.sh install|up|down|status|env|reset
#
# `install` is the only step that needs the package registries; `up` works without a network.
#
# Settings (environment):
#   TB_DIR        state directory                     (default ./.ironic-testbed)
#   TB_VENV       Python virtual environment          (in the cache of the tools)
#   TB_HOSTS      number of emulated servers          (10)
#   TB_IPMI       number of these that also speak IPMI (10)
#   TB_PORT       first of the 8 TCP ports used; IPMI uses UDP from TB_PORT + 101 (26385)
#   TB_TLS        1: TLS for Ironic, Redfish, files   (0)
#   TB_MODE       single: one "ironic" process, no RPC
#                 split:  ironic-api + ironic-conductor over JSON-RPC (single)
#   TB_AUTH       http_basic or noauth                (http_basic)
#   TB_USER/TB_PASSWORD          Ironic credentials   (admin/ironic-testbed)
#   TB_BMC_USER/TB_BMC_PASSWORD  Redfish credentials  (root/calvin)
#   TB_FAST_TRACK 1: keep the agent running between operations (0)
#   TB_AUTOMATED_CLEAN           true/false           (true)
#   TB_POWER_DELAY               seconds per power change in the emulator (0)
#   TB_FAST_HASH  1: memoize PBKDF2 inside Ironic, which otherwise burns 0.4 s of CPU
#                 on every single Redfish call; 0: completely unmodified Ironic (1)
#   TB_NAME       address that the API listens on, in its URLs (127.0.0.1); all else stays on 127.0.0.1
#   TB_DEBUG      1: debug log of Ironic              (0)
#   TB_CALLBACK_TIMEOUT          seconds to wait for the ramdisk (300)
#   TB_ASYNC_INTERVAL            polling of firmware, RAID and BIOS jobs (5)
#   TB_POWER_SYNC                power state synchronisation interval (30)
#   TB_API_WORKERS               API processes in split mode (2)
#
# Needs from Debian: python3-venv openssl curl mtools dosfstools genisoimage
#                    qemu-utils ipmitool
# Everything else comes from PyPI.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/ironic
IRONIC_VERSION=39.0.0 SUSHY_TOOLS_VERSION=2.2.0 PYGHMI_VERSION=1.6.19
TB_DIR=$(readlink -m "${TB_DIR:-./.ironic-testbed}")
if [[ -f $TB_DIR/settings && ${1:-} != up && ${1:-} != install ]]; then . "$TB_DIR/settings"; fi
: "${TB_VENV:=${METAL3_TOOLS:-$HOME/.cache/metal3-tools}/ironic-$IRONIC_VERSION-$SUSHY_TOOLS_VERSION-$PYGHMI_VERSION}" "${TB_HOSTS:=10}" "${TB_IPMI:=10}" "${TB_PORT:=26385}" "${TB_TLS:=0}"
: "${TB_MODE:=single}" "${TB_AUTH:=http_basic}" "${TB_USER:=admin}" "${TB_PASSWORD:=ironic-testbed}"
: "${TB_BMC_USER:=root}" "${TB_BMC_PASSWORD:=calvin}" "${TB_FAST_TRACK:=0}"
: "${TB_NAME:=127.0.0.1}"
: "${TB_CALLBACK_TIMEOUT:=300}" "${TB_ASYNC_INTERVAL:=5}" "${TB_POWER_SYNC:=30}" "${TB_FAST_HASH:=1}" "${TB_AUTOMATED_CLEAN:=true}" "${TB_POWER_DELAY:=0}" "${TB_DEBUG:=0}" "${TB_API_WORKERS:=2}"

P_API=$TB_PORT
P_FILES=$((TB_PORT + 1)) P_BMC=$((TB_PORT + 2)) P_AGENT=$((TB_PORT + 3))
P_CONTROL=$((TB_PORT + 4)) P_RPC=$((TB_PORT + 5))
P_IPMI=$((TB_PORT + 100))       # UDP; system N listens on P_IPMI + N
P_FILES_TLS=$((TB_PORT + 7))
SCHEME=http; [[ $TB_TLS = 1 ]] && SCHEME=https
API=$SCHEME://$TB_NAME:$P_API
BMC=$SCHEME://127.0.0.1:$P_BMC
# Ironic fetches media from, and publishes it at, the URL below.
FILES=http://127.0.0.1:$P_FILES
[[ $TB_TLS = 1 ]] && FILES=https://127.0.0.1:$P_FILES_TLS
BIN=$TB_VENV/bin

say() { printf '%s\n' "$*" >&2; }

needed() {    # what is missing of Debian's packages
    local tool missing=()
    for tool in openssl curl mcopy mkfs.vfat mkisofs qemu-img ipmitool; do
        PATH=$PATH:/usr/sbin:/sbin command -v "$tool" >/dev/null || missing+=("$tool")
    done
    python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
    echo "${missing[*]}"
}

install() {
    local missing; missing=$(needed)
    if [[ -n $missing ]]; then
        say "missing: $missing"
        say "run: apt-get install -y python3-venv openssl curl mtools dosfstools genisoimage qemu-utils ipmitool"
        exit 1
    fi
    [[ -x $BIN/ironic ]] && return
    say "installing Ironic $IRONIC_VERSION and its emulated BMCs from PyPI (once; cached in $TB_VENV)"
    python3 -m venv "$TB_VENV"
    "$BIN/pip" install -q "ironic==$IRONIC_VERSION" "sushy-tools==$SUSHY_TOOLS_VERSION" "pyghmi==$PYGHMI_VERSION"
}

make_certificates() {
    local d=$TB_DIR/certs
    [[ -f $d/server.pem ]] && return
    mkdir -p "$d"
    local san=DNS:localhost
    if [[ $TB_NAME =~ ^[0-9.]+$ ]]; then san+=,IP:$TB_NAME; else san+=,DNS:$TB_NAME; fi
    openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=testbed-ca \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=keyCertSign,cRLSign \
        -keyout "$d/ca.key" -out "$d/ca.pem" 2>/dev/null
    openssl req -newkey rsa:2048 -nodes -subj /CN=localhost \
        -keyout "$d/server.key" -out "$d/server.csr" 2>/dev/null
    openssl x509 -req -in "$d/server.csr" -CA "$d/ca.pem" -CAkey "$d/ca.key" -CAcreateserial \
        -days 3650 -out "$d/server.pem" -extfile <(printf \
        'subjectAltName=IP:127.0.0.1,%s\nextendedKeyUsage=serverAuth\n' "$san") 2>/dev/null
    # The agents use a self-signed certificate of their own, like the real one.
    openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=127.0.0.1 \
        -addext subjectAltName=IP:127.0.0.1 -keyout "$d/agent.key" -out "$d/agent.pem" 2>/dev/null
}

make_images() {
    local d=$TB_DIR/html/images
    mkdir -p "$d" "$TB_DIR/html/master_images"
    # What the fake ramdisk consists of does not matter, only that the files
    # exist; a real test bed puts ironic-python-agent here.
    [[ -f $d/ipa.kernel ]] || head -c 65536 /dev/urandom >"$d/ipa.kernel"
    [[ -f $d/ipa.initramfs ]] || head -c 65536 /dev/urandom >"$d/ipa.initramfs"
    if [[ ! -f $d/esp.img ]]; then
        PATH=$PATH:/usr/sbin:/sbin mkfs.vfat -C "$d/esp.img" 360 >/dev/null
    fi
    if [[ ! -f $d/disk.qcow2 ]]; then
        qemu-img create -q -f raw "$d/disk.raw" 4M
        printf 'testbed image' | dd of="$d/disk.raw" conv=notrunc status=none
        qemu-img convert -q -O qcow2 "$d/disk.raw" "$d/disk.qcow2"
        (cd "$d" && sha256sum disk.raw disk.qcow2 >SHA256SUMS)
    fi
    if [[ ! -f $d/live.iso ]]; then     # ISO with no agent in it: ramdisk deploy
        local t; t=$(mktemp -d); echo live >"$t/marker"
        mkisofs -quiet -r -V LIVE -o "$d/live.iso" "$t"; rm -r "$t"
    fi
    # Pre-built agent ISO, what a PreprovisioningImage of format "iso" is.
    local t; t=$(mktemp -d)
    echo "linux /vmlinuz ipa-api-url=$API ipa-inspection-callback-url=$API/v1/continue_inspection" >"$t/grub.cfg"
    mkisofs -quiet -r -V IPA -o "$d/ipa.iso" "$t"; rm -r "$t"
}

write_config() {
    local c=$TB_DIR/ironic.conf f=false
    [[ $TB_FAST_TRACK = 1 ]] && f=true
    "$BIN/python" - "$TB_USER" "$TB_PASSWORD" >"$TB_DIR/htpasswd" <<'E'
import bcrypt, sys
# Lowest cost bcrypt allows: the hash is checked on every API request.
print('%s:%s' % (sys.argv[1], bcrypt.hashpw(sys.argv[2].encode(), bcrypt.gensalt(4)).decode()))
E
    mkdir -p "$TB_DIR"/{db,tmp,log,run,tftp,agent-certs,log/deploy,bmc-tmp}
    cat >"$c" <<E
[DEFAULT]
auth_strategy = $TB_AUTH
http_basic_auth_user_file = $TB_DIR/htpasswd
debug = $([[ $TB_DEBUG = 1 ]] && echo true || echo false)
use_stderr = true
my_ip = 127.0.0.1
host = $([[ $TB_MODE = split ]] && echo 127.0.0.1 || echo testbed)
hash_ring_algorithm = sha256
rpc_transport = $([[ $TB_MODE = split ]] && echo json-rpc || echo none)
state_path = $TB_DIR
tempdir = $TB_DIR/tmp
webserver_verify_ca = $TB_DIR/certs/ca.pem
grub_config_path = EFI/testbed/grub.cfg
enabled_hardware_types = redfish,ipmi,idrac,fake-hardware,manual-management
enabled_bios_interfaces = no-bios,redfish,idrac-redfish
enabled_boot_interfaces = ipxe,pxe,fake,redfish-virtual-media,idrac-redfish-virtual-media,redfish-https
enabled_deploy_interfaces = autodetect,direct,fake,ramdisk,custom-agent,bootc
enabled_firmware_interfaces = no-firmware,fake,redfish
enabled_inspect_interfaces = no-inspect,agent,fake,redfish,idrac-redfish
enabled_management_interfaces = ipmitool,fake,redfish,idrac-redfish,noop
enabled_network_interfaces = noop
enabled_power_interfaces = ipmitool,fake,redfish,idrac-redfish
enabled_raid_interfaces = no-raid,agent,fake,redfish,idrac-redfish
enabled_vendor_interfaces = no-vendor,ipmitool,idrac-redfish,redfish,fake
default_deploy_interface = autodetect
autodetect_deploy_interfaces = ramdisk,bootc,direct
default_inspect_interface = agent
default_network_interface = noop

[agent]
certificates_path = $TB_DIR/agent-certs
deploy_logs_collect = always
deploy_logs_local_path = $TB_DIR/log/deploy
max_command_attempts = 3
command_wait_interval = 1
post_deploy_get_power_state_retries = 6
post_deploy_get_power_state_retry_interval = 1

[api]
host_ip = $TB_NAME
port = $P_API
api_workers = $TB_API_WORKERS
ramdisk_heartbeat_timeout = 30
$([[ $TB_TLS = 1 ]] && printf 'enable_ssl_api = true\ncert_file = %s\nkey_file = %s\n' \
    "$TB_DIR/certs/server.pem" "$TB_DIR/certs/server.key")

[conductor]
automated_clean = $TB_AUTOMATED_CLEAN
deploy_kernel = file://$TB_DIR/html/images/ipa.kernel
deploy_ramdisk = file://$TB_DIR/html/images/ipa.initramfs
bootloader = file://$TB_DIR/html/images/esp.img
file_url_allowed_paths = $TB_DIR/html/images
disable_zstandard_decompression = True
verify_step_priority_override = management.clear_job_queue:90
node_history = False
max_concurrent_clean = 250
check_provision_state_interval = 10
sync_power_state_interval = $TB_POWER_SYNC
power_state_change_timeout = 60
soft_power_off_timeout = 30
deploy_callback_timeout = $TB_CALLBACK_TIMEOUT
clean_callback_timeout = $TB_CALLBACK_TIMEOUT
inspect_wait_timeout = $TB_CALLBACK_TIMEOUT
service_callback_timeout = $TB_CALLBACK_TIMEOUT
graceful_shutdown_timeout = 5

[database]
connection = sqlite:///$TB_DIR/db/ironic.sqlite?timeout=30
sqlite_synchronous = False
sqlite_max_wait_for_retry = 120

[deploy]
default_boot_option = local
erase_devices_metadata_priority = 10
erase_devices_priority = 0
http_root = $TB_DIR/html
http_url = $FILES
iso_master_path = $TB_DIR/html/master_iso_images
fast_track = $f

[dhcp]
dhcp_provider = none

[inspector]
require_managed_boot = False
power_off = $([[ $f = true ]] && echo false || echo true)
extra_kernel_params = ipa-inspection-collectors=default,logs
hooks = \$default_hooks,parse-lldp
add_ports = all
keep_ports = present

[pxe]
images_path = $TB_DIR/html/tmp
instance_master_path = $TB_DIR/html/master_images
tftp_master_path = $TB_DIR/tftp/master_images
tftp_root = $TB_DIR/tftp
enable_netboot_fallback = true
boot_retry_timeout = 120
boot_retry_check_interval = 10

[redfish]
use_swift = false
kernel_append_params = nofb vga=normal ipa-insecure=1
firmware_update_status_interval = $TB_ASYNC_INTERVAL
firmware_update_fail_interval = $TB_ASYNC_INTERVAL
firmware_update_reboot_delay = 1
firmware_update_validation_interval = 1
firmware_update_resource_validation_timeout = 10
firmware_update_bmc_version_check_interval = 1
firmware_update_bmc_timeout = 10
raid_config_status_interval = $TB_ASYNC_INTERVAL
raid_config_fail_interval = $TB_ASYNC_INTERVAL
post_boot_retry_delay = 1

[ipmi]
command_retry_timeout = 10
min_command_interval = 1
cipher_suite_versions = 3

[service_catalog]
endpoint_override = $API

[json_rpc]
host_ip = 127.0.0.1
port = $P_RPC
auth_strategy = http_basic
http_basic_auth_user_file = $TB_DIR/htpasswd
username = $TB_USER
password = $TB_PASSWORD

[sensor_data]
send_sensor_data = false
E
    cat >"$TB_DIR/settings" <<E
TB_NAME='$TB_NAME'
TB_VENV='$TB_VENV' TB_HOSTS='$TB_HOSTS' TB_PORT='$TB_PORT' TB_TLS='$TB_TLS' TB_MODE='$TB_MODE'
TB_AUTH='$TB_AUTH' TB_USER='$TB_USER' TB_PASSWORD='$TB_PASSWORD' TB_BMC_USER='$TB_BMC_USER'
TB_BMC_PASSWORD='$TB_BMC_PASSWORD' TB_FAST_TRACK='$TB_FAST_TRACK'
E
    cat >"$TB_DIR/env" <<E
IRONIC_ENDPOINT=$API/v1
IRONIC_USERNAME=$TB_USER
IRONIC_PASSWORD=$TB_PASSWORD
IRONIC_CACERT_FILE=$([[ $TB_TLS = 1 ]] && echo "$TB_DIR/certs/ca.pem")
DEPLOY_KERNEL_URL=file://$TB_DIR/html/images/ipa.kernel
DEPLOY_RAMDISK_URL=file://$TB_DIR/html/images/ipa.initramfs
DEPLOY_ISO_URL=$FILES/images/ipa.iso
IMAGE_URL=http://127.0.0.1:$P_FILES/images/disk.qcow2
IMAGE_SHA256=$(awk '/qcow2/{print $1}' "$TB_DIR/html/images/SHA256SUMS")
LIVE_ISO_URL=$FILES/images/live.iso
BMC_ADDRESS_PREFIX=redfish-virtualmedia+$BMC/redfish/v1/Systems/
BMC_URL=$BMC
IPMI_PORT_BASE=$P_IPMI
BMC_USERNAME=$TB_BMC_USER
BMC_PASSWORD=$TB_BMC_PASSWORD
AGENT_CONTROL=http://127.0.0.1:$P_CONTROL
TESTBED_HOSTS=$TB_HOSTS
E
}

write_sitecustomize() {
    # The Redfish driver derives its session cache key with 600000 rounds of
    # PBKDF2-SHA512 each time it touches a BMC.  Remembering the result changes
    # no behaviour and makes a busy test bed several times faster.
    rm -rf "$TB_DIR/site"; mkdir -p "$TB_DIR/site"
    [[ $TB_FAST_HASH = 1 ]] || return 0
    cat >"$TB_DIR/site/sitecustomize.py" <<'E'
import functools
import hashlib
hashlib.pbkdf2_hmac = functools.lru_cache(maxsize=4096)(hashlib.pbkdf2_hmac)
E
}

start() {   # name command...
    local name=$1; shift
    # SSL_CERT_FILE: with the system bundle every TLS connection of the conductor
    # parses some 140 CA certificates first (10 s of CPU per node lifecycle).
    SSL_CERT_FILE=$TB_DIR/certs/ca.pem SSL_CERT_DIR=/nonexistent \
        TMPDIR=$TB_DIR/bmc-tmp PYTHONPATH=$TB_DIR/site setsid "$@" >>"$TB_DIR/log/$name.log" 2>&1 </dev/null &
    echo $! >"$TB_DIR/run/$name.pid"
}

alive() { [[ -f $1 ]] && kill -0 "$(<"$1")" 2>/dev/null; }

wait_http() {   # name url
    local i
    for ((i = 0; i < 600; i++)); do
        curl -ksf -o /dev/null "$2" && return
        alive "$TB_DIR/run/$1.pid" || break
        sleep 0.1
    done
    say "$1 did not start; see $TB_DIR/log/$1.log"; tail -5 "$TB_DIR/log/$1.log" >&2; exit 1
}

up() {
    if alive "$TB_DIR/run/emulator.pid"; then say "already up"; exit 1; fi
    [[ -x $BIN/ironic ]] || { say "Ironic is not installed: run $0 install"; exit 1; }
    make_certificates
    mkdir -p "$TB_DIR"/{log,run,html}
    make_images
    write_config
    write_sitecustomize
    local tls=() ca=()
    if [[ $TB_TLS = 1 ]]; then
        tls=(--cert "$TB_DIR/certs/server.pem" --key "$TB_DIR/certs/server.key")
        ca=(--ironic-ca "$TB_DIR/certs/ca.pem")
        start files-tls "$BIN/python" "$HERE/static_httpd.py" "$TB_DIR/html" --port "$P_FILES_TLS" "${tls[@]}"
    fi
    start files "$BIN/python" "$HERE/static_httpd.py" "$TB_DIR/html" --port "$P_FILES"
    start emulator "$BIN/python" "$HERE/redfish_emulator.py" --port "$P_BMC" --systems "$TB_HOSTS" \
        --user "$TB_BMC_USER" --password "$TB_BMC_PASSWORD" --power-delay "$TB_POWER_DELAY" \
        --notify "http://127.0.0.1:$P_CONTROL/power" "${tls[@]}"
    start agents "$BIN/python" "$HERE/fake_agent.py" --control-port "$P_CONTROL" --agent-port "$P_AGENT" \
        --cert "$TB_DIR/certs/agent.pem" --key "$TB_DIR/certs/agent.key" --emulator "$BMC" \
        --netboot-url "$FILES" --verify-images --verbose "${ca[@]}" \
        --netboot-fallback "ipa-api-url=$API ipa-inspection-callback-url=$API/v1/continue_inspection"
    ((TB_IPMI <= TB_HOSTS)) || TB_IPMI=$TB_HOSTS
    start ipmi "$BIN/python" "$HERE/ipmi_bmc.py" --emulator "$BMC" --port "$P_IPMI" --count "$TB_IPMI" \
        --user "$TB_BMC_USER" --password "$TB_BMC_PASSWORD"
    if [[ ! -f $TB_DIR/db/ironic.sqlite ]]; then
        "$BIN/ironic-dbsync" --config-file "$TB_DIR/ironic.conf" create_schema >>"$TB_DIR/log/dbsync.log" 2>&1
        # Ironic means to use write-ahead logging, but with current SQLAlchemy its
        # hook does not fire; the mode is stored in the file, so set it here.
        "$BIN/python" -c 'import sqlite3,sys; print(sqlite3.connect(sys.argv[1]).execute("PRAGMA journal_mode=WAL").fetchone())' \
            "$TB_DIR/db/ironic.sqlite" >>"$TB_DIR/log/dbsync.log"
    else
        "$BIN/ironic-dbsync" --config-file "$TB_DIR/ironic.conf" upgrade >>"$TB_DIR/log/dbsync.log" 2>&1
    fi
    if [[ $TB_MODE = split ]]; then
        start ironic "$BIN/ironic-api" --config-file "$TB_DIR/ironic.conf"
        start conductor "$BIN/ironic-conductor" --config-file "$TB_DIR/ironic.conf"
    else
        start ironic "$BIN/ironic" --config-file "$TB_DIR/ironic.conf"
    fi
    wait_http files "http://127.0.0.1:$P_FILES/images/SHA256SUMS"
    wait_http emulator "$BMC/redfish/v1/"
    wait_http agents "http://127.0.0.1:$P_CONTROL/machines"
    wait_http ironic "$API/v1/"
    # The API answers before the conductor has registered its drivers.
    local i
    for ((i = 0; i < 600; i++)); do
        curl -ksf -u "$TB_USER:$TB_PASSWORD" "$API/v1/drivers" | grep -q '"redfish"' && break
        sleep 0.1
    done
    say "up: $API  (source $TB_DIR/env)"
}

down() {
    local f pid i
    for f in "$TB_DIR"/run/*.pid; do
        [[ -f $f ]] || continue
        pid=$(<"$f")
        # Only processes whose command line is ours: a PID may have been reused.
        if grep -qzF -e "$TB_DIR" -e "$HERE" "/proc/$pid/cmdline" 2>/dev/null; then
            kill "$pid" 2>/dev/null || true
            for ((i = 0; i < 100; i++)); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
            kill -9 -- "-$pid" 2>/dev/null || true      # its whole process group (setsid)
        fi
        rm -f "$f"
    done
}

status() {
    local f name pid
    printf '%-10s %8s %8s %9s %s\n' SERVICE PID RSS_MB CPU_S THREADS
    for f in "$TB_DIR"/run/*.pid; do
        [[ -f $f ]] || continue
        name=$(basename "$f" .pid) pid=$(<"$f")
        ps -o pid=,rss=,cputimes=,nlwp= -g "$pid" 2>/dev/null | awk -v n="$name" -v p="$pid" \
            '{r+=$2;c+=$3;t+=$4} END {if (NR) printf "%-10s %8d %8d %9d %d (%d proc)\n",n,p,r/1024,c,t,NR; else printf "%-10s %8d not running\n",n,p}'
    done
    curl -ksf -u "$TB_USER:$TB_PASSWORD" -H 'X-OpenStack-Ironic-API-Version: 1.89' "$API/v1/nodes?fields=provision_state&limit=1000" 2>/dev/null |
        "$BIN/python" -c 'import json,sys,collections as c
print("nodes:", dict(c.Counter(n["provision_state"] for n in json.load(sys.stdin)["nodes"])))' || say "Ironic does not answer"
}

case ${1:-} in
    install) install ;;
    up) up ;;
    down) down ;;
    status) status ;;
    env) cat "$TB_DIR/env" ;;
    reset) down; rm -rf "$TB_DIR"/{db,log,run,tmp,bmc-tmp,html/redfish,agent-certs}; ;;
    *) sed -n '2,39p' "${BASH_SOURCE[0]}" | sed 's/^# \{0,1\}//'; exit 1 ;;
esac
