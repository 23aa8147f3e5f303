#!/usr/bin/env bash
# The figures of the README: sizes of the release binaries, and bmo with many hosts on ironic-sim.
#   hack/bench.sh            HOSTS=200
set -euo pipefail
cd "$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
hack/tools/build.sh control-plane
cargo build --locked --release -p metal3-bmo -p metal3-capm3 -p metal3-ironic-sim -p metal3-e2e
echo "release binaries"
for program in metal3-bmo metal3-capm3 ironic-sim; do
	printf '  %-16s %6.1f MiB\n' "$program" "$(stat -c %s "$CARGO_TARGET_DIR/release/$program" | awk '{print $1 / 1048576}')"
done
"$CARGO_TARGET_DIR/release/bench" --hosts "${HOSTS:-200}"
