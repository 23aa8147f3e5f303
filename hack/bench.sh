#!/usr/bin/env bash
# The figures of the README: sizes of the release binaries, and bmo with many hosts on ironic-sim.
#   hack/bench.sh                1000 hosts, medians of three runs
#   HOSTS=10000 hack/bench.sh    one run; compared with the last one of a thousand hosts
#   HOSTS=200 RUNS=1 IDLE=10     something quick
set -euo pipefail
cd "$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
hosts=${HOSTS:-1000}
if [ "$hosts" = 1000 ]; then runs=3; else runs=1; fi
hack/tools/build.sh control-plane
cargo build --locked --release -p metal3-bmo -p metal3-capm3 -p metal3-ironic-sim -p metal3-e2e
echo "release binaries"
for program in metal3-bmo metal3-capm3 ironic-sim; do
	printf '  %-16s %6.1f MiB\n' "$program" "$(stat -c %s "$CARGO_TARGET_DIR/release/$program" | awk '{print $1 / 1048576}')"
done
thousand=$CARGO_TARGET_DIR/bench-1000.json
compare=()
if [ "$hosts" -gt 1000 ] && [ -e "$thousand" ]; then compare=(--compare "$thousand"); fi
"$CARGO_TARGET_DIR/release/bench" --hosts "$hosts" --runs "${RUNS:-$runs}" --idle "${IDLE:-60}" \
	--json "$CARGO_TARGET_DIR/bench-$hosts.json" "${compare[@]}"
