#!/usr/bin/env bash
# Container images without a daemon and without a registry, by buildah in a storage of its own.
#
#   hack/images.sh fast <out-dir> [target-dir]   the three images from binaries that cargo built (default target/debug)
#   hack/images.sh third-party <out-dir>         images of the real programs of hack/tools that run in pods
#   hack/images.sh full [out-dir]                the Dockerfiles as they are, with a builder made of the toolchain here
#   hack/images.sh base                          only the base image, as a stand-in for gcr.io/distroless/cc-debian12
#   hack/images.sh check <out-dir>               prove what the three images promise; prints a table
#
# Writes <out-dir>/<name>.tar for `ctr -n k8s.io images import`. Everything is kept in METAL3_TOOLS (default
# ~/.cache/metal3-tools) under a key of its content, so nothing is built twice. `fast` takes the last stage of the same
# Dockerfiles: user, entrypoint and labels are what users get. With Docker and a registry at hand nothing of this is
# needed: docker build -f Dockerfile.bmo .
set -euo pipefail
ROOT=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
CACHE=${METAL3_TOOLS:-$HOME/.cache/metal3-tools}
STORE=$CACHE/images
BASE=gcr.io/distroless/cc-debian12:nonroot
BUILDER=docker.io/library/rust:1.95-bookworm
VERSION=v$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml")
BUDGET=60 # MiB that a release image may add to the base

# tar | Dockerfile | binary | cargo package | chart that names the image
IMAGES="
metal3-bmo|Dockerfile.bmo|metal3-bmo|metal3-bmo|metal3-bmo
metal3-capm3|Dockerfile.capm3|metal3-capm3|metal3-capm3|metal3-capm3
ironic-sim|Dockerfile.ironic-sim|ironic-sim|metal3-ironic-sim|metal3-bmo
"
# tar | image | path in the image | tool of hack/tools | user: as numbers where the manifests demand runAsNonRoot
THIRD_PARTY="
pause|registry.k8s.io/pause:3.10.2|/pause||65535:65535
coredns|registry.k8s.io/coredns/coredns:v1.13.2|/coredns|coredns|0:0
cluster-api-controller|registry.k8s.io/cluster-api/cluster-api-controller:v1.14.2|/manager|capi-core-manager|65532:65532
kubeadm-bootstrap-controller|registry.k8s.io/cluster-api/kubeadm-bootstrap-controller:v1.14.2|/manager|capi-kubeadm-bootstrap-manager|65532:65532
kubeadm-control-plane-controller|registry.k8s.io/cluster-api/kubeadm-control-plane-controller:v1.14.2|/manager|capi-kubeadm-control-plane-manager|65532:65532
cert-manager|localhost/metal3/cert-manager:v1.21.2|/cert-manager|tb-certmanager|65532:65532
grpcurl|docker.io/fullstorydev/grpcurl:v1.9.4|/bin/grpcurl|grpcurl|grpcurl
"
BASE_PACKAGES=(base-files ca-certificates libc6 libgcc-s1 netbase)

die() { printf '%s\n' "$*" >&2; exit 1; }
say() { printf '%s\n' "$*" >&2; }
sum() { sha256sum | cut -c1-12; }

setup() {
	local tool
	[ "$(id -u)" = 0 ] || die "root is needed: image layers hold files of several owners. Run it as root, or by sudo -E"
	for tool in buildah:buildah jq:jq dpkg-deb:dpkg apt-get:apt flock:util-linux strip:binutils; do
		command -v "${tool%%:*}" >/dev/null || die "${tool%%:*} is missing: apt-get install ${tool#*:}"
	done
	mkdir -p "$STORE/tmp"
	exec 9>"$STORE/lock"
	# Two runs would build the same images, and one would delete what the other uses.
	flock -n 9 || { say "waiting for another run of hack/images.sh"; flock 9; }
	find "$STORE/tmp" -mindepth 1 -maxdepth 1 ! -name 'buildah-cache*' -exec rm -rf --one-file-system {} + # left by a run that was killed
	# A storage of our own: the containers and images of whoever works on this machine stay as they are. What is mounted
	# is noted under /run, because such notes must not outlive a reboot. Overlay does not stack on overlay.
	local driver=overlay
	[ "$(stat -f -c %T "$STORE")" != overlayfs ] || driver=vfs
	export CONTAINERS_STORAGE_CONF=$STORE/storage.conf TMPDIR=$STORE/tmp
	printf '[storage]\ndriver = "%s"\ngraphroot = "%s"\nrunroot = "/run/metal3-images-%s"\n' \
		$driver "$STORE/storage" "$(sum <<<"$STORE")" >"$CONTAINERS_STORAGE_CONF"
}

# wait_all: ends with the first failure of the jobs in the background, after all of them have ended.
wait_all() {
	local job status=0
	for job in $(jobs -p); do wait "$job" || status=1; done
	return $status
}

# label <image> <label>: of an image in the storage; nothing when there is none.
label() { buildah inspect --type image --format "{{index .OCIv1.Config.Labels \"$2\"}}" "$1" 2>/dev/null || true; }

# commit <container> <image>: in place of the image that had the name before.
commit() {
	buildah rmi -f "$2" >/dev/null 2>&1 || true
	buildah commit -q --rm "$1" "$2" >/dev/null
}

# deliver <name> <key> <out-dir>: a hard link survives pruning the cache; old tars of the same image go.
deliver() {
	mkdir -p "$3"
	ln -f "$STORE/$1-$2.tar" "$3/$1.tar" 2>/dev/null || cp "$STORE/$1-$2.tar" "$3/$1.tar"
	touch "$STORE/$1-$2.tar"
	find "$STORE" -maxdepth 1 -name "$1-????????????.tar" -printf '%T@ %p\n' | sort -rn | tail -n +4 | cut -d' ' -f2- | xargs -r rm -f
}

# build <tar> <image> <buildah arguments...>: the image itself would only fill the storage.
build() {
	local tar=$1 image=$2 log=$STORE/tmp/${1##*/}.log; shift 2
	rm -f "$tar.tmp"
	if ! { buildah bud --isolation chroot --pull-never --tag "$image" "$@" && buildah push -q "$image" "docker-archive:$tar.tmp:$image"; } >"$log" 2>&1; then
		say "building $image failed:"
		cat "$log" >&2
		return 1
	fi
	buildah rmi "$image" >/dev/null
	mv "$tar.tmp" "$tar"
}

# ---------------------------------------------------------------- base

packages() { apt-cache show --no-all-versions "${BASE_PACKAGES[@]}" 2>/dev/null | grep -E '^(Package|Version|SHA256):'; }

# The base is made of the machine's own Debian packages: the binaries that `fast` takes are linked to that very glibc.
base_key() {
	local list memo
	# apt-cache reads all that Debian has; its answer can only change with its lists.
	memo=$STORE/base-key-$({ stat -c '%n %s %Y' /var/lib/apt/lists/* || true; declare -f base base_key; } 2>/dev/null | sum)
	if [ ! -s "$memo" ]; then
		list=$(packages) || { apt-get update -q >/dev/null && list=$(packages); } || die "apt-cache does not know all of ${BASE_PACKAGES[*]}: is this a Debian?"
		rm -f "$STORE"/base-key-*
		sum <<<"$list $(declare -f base)" >"$memo"
	fi
	cat "$memo"
}

base() {
	local key=$1 work c
	[ "$(label $BASE metal3.key)" != "$key" ] || return 0
	say "making the base image of ${BASE_PACKAGES[*]}"
	work=$(mktemp -d)
	mkdir "$work/debs" "$work/root"
	fetch() { (cd "$work/debs" && apt-get -q -o APT::Sandbox::User=root download "${BASE_PACKAGES[@]}") >"$work/log" 2>&1; }
	fetch || { apt-get update -q >/dev/null && fetch; } || { cat "$work/log" >&2; die "the packages of the base image cannot be fetched"; }
	for deb in "$work"/debs/*.deb; do dpkg-deb -x "$deb" "$work/root"; done
	cd "$work/root"
	mkdir -p etc/ssl/certs home/nonroot
	find usr/share/ca-certificates -name '*.crt' | LC_ALL=C sort | xargs cat >etc/ssl/certs/ca-certificates.crt
	printf '%s\n' root:x:0:0:root:/root:/sbin/nologin nobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin \
		nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin >etc/passwd
	printf '%s\n' root:x:0: nogroup:x:65534: nonroot:x:65532: >etc/group
	echo 'hosts: files dns' >etc/nsswitch.conf
	# Neither documents nor character sets, and no program at all but the dynamic linker.
	rm -rf usr/{share,games,include,bin,sbin} bin sbin etc/{update-motd.d,profile.d,skel}
	find . -type d -name gconv -prune -exec rm -rf {} +
	chown -R 65532:65532 home/nonroot
	chmod 700 home/nonroot
	chmod 1777 tmp
	cd "$ROOT"
	c=$(buildah from -q scratch)
	buildah add -q "$c" "$work/root" / >/dev/null
	buildah config --user 65532:65532 --workingdir /home/nonroot --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
		--env SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt --label metal3.key="$key" "$c"
	commit "$c" $BASE
	rm -rf "$work"
}

# ---------------------------------------------------------------- our images

image_of() { echo "ghcr.io/metal3-io/metal3-${1#metal3-}:$VERSION"; }

# A chart that names another image than we make would only show as pods that cannot pull.
agree() {
	local chart name dockerfile image tag
	while IFS='|' read -r name dockerfile _ _ chart; do
		[ -n "$name" ] || continue
		image=$(image_of "$name")
		grep -qx "ARG VERSION=$VERSION" "$ROOT/$dockerfile" || die "$dockerfile: ARG VERSION is not $VERSION, the version in Cargo.toml"
		grep -q "^ *repository: ${image%:*}\$" "$ROOT/charts/$chart/values.yaml" || die "charts/$chart/values.yaml does not name ${image%:*}"
		tag=$(sed -n "\\|repository: ${image%:*}\$|,/tag:/{s/.*tag: *\"\?\([^\"]*\)\"\?/\1/p}" "$ROOT/charts/$chart/values.yaml")
		: "${tag:=v$(sed -n 's/^appVersion: *"\?\([^"]*\)"\?/\1/p' "$ROOT/charts/$chart/Chart.yaml")}" # as the charts say
		[ "$tag" = "$VERSION" ] || die "charts/$chart wants ${image%:*}:$tag, not $image"
	done <<<"$IMAGES"
}

revision() {
	local rev
	rev=$(git -C "$ROOT" rev-parse HEAD 2>/dev/null) || { echo unknown; return; }
	git -C "$ROOT" diff --quiet HEAD -- Cargo.toml Cargo.lock crates || rev+=-dirty
	echo "$rev"
}

fast_one() {   # fast_one <base key> <revision> <target-dir> <out-dir> <name> <Dockerfile> <binary>
	local base_key=$1 revision=$2 target=$3 out=$4 name=$5 dockerfile=$6 binary=$7 key work
	# The revision is no part of the key: the same binary is the same image, whatever was committed since.
	key=$({ echo "$base_key $VERSION ${target##*/}"; declare -f fast_one build; cat "$ROOT/$dockerfile" "$target/$binary"; } | sum)
	if [ ! -s "$STORE/$name-$key.tar" ]; then
		work=$(mktemp -d)
		mkdir -p "$work/build/out" "$work/context"
		strip -o "$work/build/out/$binary" "$target/$binary"
		# The build stage needs Rust and minutes, and buildah 1.28 runs stages that nothing needs too: a folder takes its place.
		sed '/ AS build$/,/^FROM \${BASE}/{/^FROM \${BASE}/!d}' "$ROOT/$dockerfile" >"$work/Dockerfile"
		build "$STORE/$name-$key.tar" "$(image_of "$name")" -f "$work/Dockerfile" --build-context "build=$work/build" \
			--build-arg VERSION="$VERSION" --build-arg REVISION="$revision" --label metal3.profile="${target##*/}" "$work/context"
		rm -rf "$work"
	fi
	deliver "$name" "$key" "$out"
}

fast() {
	local out=$1 target=$2 name dockerfile binary package base_key revision
	agree
	base_key=$(base_key)
	revision=$(revision)
	while IFS='|' read -r name dockerfile binary package _; do
		[ -z "$name" ] || [ -x "$target/$binary" ] || die "$target/$binary is missing: cargo build --locked -p $package"
	done <<<"$IMAGES"
	base "$base_key"
	while IFS='|' read -r name dockerfile binary _; do
		[ -z "$name" ] || fast_one "$base_key" "$revision" "$target" "$out" "$name" "$dockerfile" "$binary" &
	done <<<"$IMAGES"
	wait_all || die "not all images were made"
}

# ---------------------------------------------------------------- images of other programs

# What holds a pod's namespaces. C, because one runs in each pod; who can build Metal³ has a C compiler, ring needs it.
pause() {
	cat >"$1.c" <<-'C'
		#include <signal.h>
		#include <sys/wait.h>
		#include <unistd.h>
		static void stop(int s) { (void)s; _exit(0); }
		static void reap(int s) { (void)s; while (waitpid(-1, 0, WNOHANG) > 0) {} }
		int main(void) { signal(SIGINT, stop); signal(SIGTERM, stop); signal(SIGCHLD, reap); for (;;) pause(); }
	C
	cc -Os -static -s -o "$1" "$1.c"
}

third_party_one() {   # third_party_one <out-dir> <name> <image> <path> <tool> <user>
	local out=$1 name=$2 image=$3 path=$4 tool=$5 user=$6 store key work
	# The name in the store already carries the key of what the tool was built from.
	if [ -n "$tool" ]; then store=$(readlink "$CACHE/bin/$tool"); else store=$(declare -f pause); fi
	key=$(sum <<<"$store $image $path $user $(declare -f third_party_one build)")
	if [ ! -s "$STORE/$name-$key.tar" ]; then
		work=$(mktemp -d)
		mkdir -p "$work/root/tmp" "$work/root${path%/*}"
		chmod 1777 "$work/root/tmp"
		if [ -n "$tool" ]; then cp "$store" "$work/root$path"; else pause "$work$path" && mv "$work$path" "$work/root$path"; fi
		printf '%s\n' 'FROM scratch' 'COPY root /' "USER $user" "ENTRYPOINT [\"$path\"]" >"$work/Dockerfile"
		build "$STORE/$name-$key.tar" "$image" -f "$work/Dockerfile" "$work"
		rm -rf "$work"
	fi
	deliver "$name" "$key" "$out"
}

third_party() {
	local out=$1 name image path tool user missing=
	while IFS='|' read -r name image path tool user; do
		[ -z "$tool" ] || [ -x "$CACHE/bin/$tool" ] || missing+=" $tool"
	done <<<"$THIRD_PARTY"
	[ -z "$missing" ] || die "not built yet: hack/tools/build.sh$missing"
	while IFS='|' read -r name image path tool user; do
		[ -z "$name" ] || third_party_one "$out" "$name" "$image" "$path" "$tool" "$user" &
	done <<<"$THIRD_PARTY"
	wait_all || die "not all images were made"
}

# ---------------------------------------------------------------- the whole Dockerfiles

# A stand-in for the official Rust image: a small Debian, a C compiler and the toolchain that is installed here.
builder() {
	local rust key work c codename
	rust=$(cd "$ROOT" && rustc -vV)
	[[ $rust == "rustc $(cut -d: -f2 <<<"${BUILDER%-*}")."* ]] || die "the builder is $BUILDER, but here is ${rust%%$'\n'*}"
	codename=$(sed -n s/^VERSION_CODENAME=//p /etc/os-release)
	key=$(sum <<<"$rust $codename $(declare -f builder)")
	[ "$(label $BUILDER metal3.key)" != "$key" ] || return 0
	command -v debootstrap >/dev/null || die "debootstrap is missing: apt-get install debootstrap"
	say "making the builder of Debian $codename and the Rust toolchain of this machine"
	work=$(mktemp -d)
	# In mounts of its own: it mounts /proc, and would leave that when it is killed.
	unshare -m debootstrap --variant=minbase --include=ca-certificates,gcc,libc6-dev "$codename" "$work/root" >"$STORE/tmp/debootstrap.log" 2>&1 ||
		{ tail -20 "$STORE/tmp/debootstrap.log" >&2; die "debootstrap failed"; }
	rm -rf "$work"/root/var/{cache/apt,lib/apt/lists}/* "$work"/root/usr/share/{doc,man,locale,info}/*
	mkdir -p "$work/root/usr/local/bin" "$work/root/usr/local/cargo"
	cp -a "$(cd "$ROOT" && rustc --print sysroot)"/{bin,lib} "$work/root/usr/local"
	c=$(buildah from -q scratch)
	buildah add -q "$c" "$work/root" / >/dev/null
	buildah config --env CARGO_HOME=/usr/local/cargo --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin --label metal3.key="$key" "$c"
	commit "$c" $BUILDER
	rm -rf "$work"
}

full() {
	local out=$1 name dockerfile start revision crates=${CARGO_HOME:-$HOME/.cargo}/registry volume=()
	agree
	base "$(base_key)"
	builder
	revision=$(revision)
	mkdir -p "$out"
	# What this machine has downloaded already takes the place of the cache mount.
	[ ! -d "$crates" ] || volume=(-v "$crates:/usr/local/cargo/registry")
	# One after the other: the first compiles what all need.
	while IFS='|' read -r name dockerfile _; do
		[ -n "$name" ] || continue
		start=$SECONDS
		build "$out/$name.tar" "$(image_of "$name")" -f "$ROOT/$dockerfile" "${volume[@]}" \
			--build-arg VERSION="$VERSION" --build-arg REVISION="$revision" "$ROOT"
		say "built $(image_of "$name") in $((SECONDS - start)) s"
	done <<<"$IMAGES"
}

# ---------------------------------------------------------------- check

# check_one <tar> <name> <binary>: prints a row of the table, and a line on fd 3 for all that is wrong.
check_one() {
	local tar=$1 name=$2 binary=$3 work config layer top user profile said
	bad() { printf '%s: %s\n' "$name" "$*" >&3; }
	conf() { jq -r "$1 // \"\"" "$work/$config"; }
	[ -s "$tar" ] || { bad "$tar is missing"; return; }
	work=$(mktemp -d)
	mkdir "$work/root"
	tar -xf "$tar" -C "$work"
	config=$(jq -r '.[0].Config' "$work/manifest.json")
	[ "$(jq -c '.[0].RepoTags' "$work/manifest.json")" = "[\"$(image_of "$name")\"]" ] || bad "its name is not $(image_of "$name")"
	[ "$(jq -r .architecture "$work/$config")" = "$(dpkg --print-architecture)" ] || bad "it is not made for this machine"

	user=$(conf .config.User)
	[[ $user =~ ^[1-9][0-9]*:[1-9][0-9]*$ ]] || bad "user is '$user', not a number above 0: runAsNonRoot cannot be checked"
	[ "$(jq -c '[.config.Entrypoint, .config.Cmd]' "$work/$config")" = "[[\"/usr/local/bin/$binary\"],null]" ] ||
		bad "entrypoint is $(jq -c '[.config.Entrypoint, .config.Cmd]' "$work/$config"), not the binary alone"
	[ -n "$(conf '.config.ExposedPorts | keys? | .[0]')" ] || bad "no port is exposed"
	for label in title description source licenses version revision; do
		[ -n "$(conf ".config.Labels[\"org.opencontainers.image.$label\"]")" ] || bad "label org.opencontainers.image.$label is missing"
	done
	[ "$(conf '.config.Labels["org.opencontainers.image.version"]')" = "$VERSION" ] || bad "label version is not $VERSION, the version in Cargo.toml"

	while read -r layer; do tar -xf "$work/$layer" -C "$work/root"; done < <(jq -r '.[0].Layers[]' "$work/manifest.json")
	layer=$(jq -r '.[0].Layers[-1]' "$work/manifest.json")
	[ "$(tar -tf "$work/$layer" | grep -v '/$')" = "usr/local/bin/$binary" ] || bad "the last layer holds more than the binary"
	[ "$(stat -c %U:%a "$work/root/usr/local/bin/$binary")" = root:755 ] || bad "the binary can be changed by others than root"
	[ -z "$(find "$work/root" -type f -perm /6000)" ] || bad "there are programs that change the user"
	[ -z "$(find "$work/root" -regex '.*/\(ba\|da\|a\|z\|\)sh\|.*/busybox')" ] || bad "there is a shell"
	[ -s "$work/root/etc/ssl/certs/ca-certificates.crt" ] || bad "there are no certificates of authorities"
	grep -q ":x:${user%:*}:${user#*:}:" "$work/root/etc/passwd" || bad "user $user is not in /etc/passwd"

	# As a pod runs it: that user, a root that cannot be written, nothing of this machine.
	said=$(unshare -m sh -ec 'mount --bind "$1" "$1"; mount -o remount,bind,ro "$1"; exec env -i /usr/sbin/chroot --userspec="$2" "$1" "$3" --version' \
		sh "$work/root" "$user" "/usr/local/bin/$binary" 2>&1) || true
	[ "$said" = "$binary ${VERSION#v}" ] || bad "--version says '$said', not '$binary ${VERSION#v}'"

	profile=$(conf '.config.Labels["metal3.profile"]')
	top=$(stat -c %s "$work/$layer")
	[ "${profile:-release}" != release ] || [ "$top" -le $((BUDGET << 20)) ] || bad "it adds $((top >> 20)) MiB to the base, more than $BUDGET"
	printf '%-44s %-8s %-12s %8s MiB %8s MiB   %s\n' "$(image_of "$name")" "${profile:-release}" "$user" \
		"$(mib "$top")" "$(mib $(($(stat -c %s "$tar") - top)))" "$said"
	rm -rf "$work"
}

mib() { awk "BEGIN {printf \"%.1f\", $1 / 1048576}"; }

check() {
	local out=$1 name binary problems=$STORE/tmp/problems
	: >"$problems"
	printf '%-44s %-8s %-12s %12s %12s   %s\n' image profile user "adds" "base" "--version"
	while IFS='|' read -r name _ binary _; do
		[ -z "$name" ] || check_one "$out/$name.tar" "$name" "$binary" 3>>"$problems"
	done <<<"$IMAGES"
	[ ! -s "$problems" ] || die "$(cat "$problems")"
}

# ---------------------------------------------------------------- commands

command=${1:-}
case $command in
fast | third-party | check) [ $# -ge 2 ] || die "usage: hack/images.sh $command <out-dir>" ;;
base | full) ;;
*) sed -n '2,13p' "${BASH_SOURCE[0]}" | sed 's/^# \{0,1\}//'; exit 1 ;;
esac
[ -z "${2:-}" ] || out=$(readlink -m "$2")
# Its minutes must not hold up `fast`, and its gigabytes can be deleted alone.
[ "$command" != full ] || STORE=$CACHE/images-full
setup
case $command in
fast) fast "$out" "$(readlink -m "${3:-${CARGO_TARGET_DIR:-$ROOT/target}/debug}")" ;;
third-party) third_party "$out" ;;
base) base "$(base_key)" ;;
full) full "${out:-$ROOT/dist/images}" ;;
check) check "$out" ;;
esac
