#!/usr/bin/env bash
# The figures of the README: sizes of the release binaries, bmo with many hosts on ironic-sim, Machines of Cluster API on
# them, and the HostService alone.
#   hack/bench.sh                1000 hosts, medians of three runs; 1000 machines on them; the HostService with 10,000 stored hosts
#   hack/bench.sh life           only hosts: from creation to deletion
#   HOSTS=10000 hack/bench.sh life    one run; compared with the last one of a thousand hosts
#   HOSTS=200 RUNS=1 IDLE=10 hack/bench.sh life    something quick
#   hack/bench.sh machines       only Machines of Cluster API on these hosts: of one Cluster, then of a hundred
#   HOSTS=50 CLUSTERS=5 IDLE=10 hack/bench.sh machines    something quick
#   hack/bench.sh claims         only ClaimHost and GetHost of a thousand callers at once
#   hack/bench.sh watches        only changes told to 50 watchers
set -euo pipefail
cd "$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
bench=$CARGO_TARGET_DIR/release/bench

life() {
	local hosts=${HOSTS:-1000} runs=1 compare=() thousand=$CARGO_TARGET_DIR/bench-1000.json
	if [ "$hosts" = 1000 ]; then runs=3; fi
	if [ "$hosts" -gt 1000 ] && [ -e "$thousand" ]; then compare=(--compare "$thousand"); fi
	"$bench" life --hosts "$hosts" --runs "${RUNS:-$runs}" --idle "${IDLE:-60}" \
		--json "$CARGO_TARGET_DIR/bench-$hosts.json" "${compare[@]}"
}
machines() {
	local hosts=${HOSTS:-1000} components clusters config=$CARGO_TARGET_DIR/bench-clusterctl.yaml
	hack/tools/build.sh capi-core-manager helm
	hack/testbed/repository.sh write "$config"
	components=$(sed -n 's|.*"file://\(.*/core-components.yaml\)".*|\1|p' "$config")
	for clusters in ${CLUSTERS:-1 $(((hosts + 9) / 10))}; do
		"$bench" machines --hosts "$hosts" --clusters "$clusters" --components "$components" --runs "${RUNS:-1}" \
			--idle "${IDLE:-60}" --json "$CARGO_TARGET_DIR/bench-machines-$hosts-$clusters.json"
	done
}
claims() { "$bench" claims --runs "${RUNS:-1}" --json "$CARGO_TARGET_DIR/bench-claims.json"; }
watches() { "$bench" watches --runs "${RUNS:-1}" --json "$CARGO_TARGET_DIR/bench-watches.json"; }

wanted=("$@")
if [ ${#wanted[@]} = 0 ]; then wanted=(life machines claims watches); fi
for name in "${wanted[@]}"; do
	case $name in life | machines | claims | watches) ;; *) echo "hack/bench.sh: no bench $name; there are life, machines, claims and watches" >&2; exit 2 ;; esac
done
hack/tools/build.sh control-plane
cargo build --locked --release -p metal3-bmo -p metal3-capm3 -p metal3-ironic-sim -p metal3-e2e
echo "release binaries"
for program in metal3-bmo metal3-capm3 ironic-sim; do
	printf '  %-16s %6.1f MiB\n' "$program" "$(stat -c %s "$CARGO_TARGET_DIR/release/$program" | awk '{print $1 / 1048576}')"
done
for name in "${wanted[@]}"; do "$name"; done
