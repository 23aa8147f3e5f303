#!/usr/bin/env bash
# Everything that CI runs, on a fresh machine too. Each suite must run: what is missing is installed, or is an error.
#   hack/test.sh [quick]     quick: without the whole path (level 7 of docs/testing.md)
set -euo pipefail
cd "$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target} CARGO_TERM_COLOR=never INSTA_UPDATE=no
# The same cases each time, so that a red run is about the change; explore with another seed.
export PROPTEST_RNG_SEED=${PROPTEST_RNG_SEED:-20261124} METAL3_TEST_SEED=${METAL3_TEST_SEED:-20261124}
[ "$(id -u)" = 0 ] || exec sudo -E env "PATH=$PATH" "HOME=$HOME" "${BASH_SOURCE[0]}" "$@"
logs=$(mktemp -d) bed=$(mktemp -d) begin=$SECONDS beside=()
# shellcheck disable=SC2154
trap 'for job in "${beside[@]}"; do kill -- "-${job%% *}" 2>/dev/null || true; done
	TB_DIR=$bed hack/testbed/ironic.sh down 2>/dev/null; rm -rf "$logs" "$bed"' EXIT

suite() {   # suite <title> <command...>: shows it, keeps it for the count, ends with the first failure
	local title=$1 start=$SECONDS; shift
	printf '\n==== %s\n' "$title"
	"$@" 2>&1 | tee "$logs/$title" || { count; echo "FAILED: $title"; exit 1; }
	printf '==== %s: ok, %d s\n' "$title" $((SECONDS - start))
}
beside() {   # beside <title> <command...>: begins a suite that mostly waits; `joined` shows it
	local title=$1; shift
	set -m   # a process group of its own, to be stopped as one
	(start=$SECONDS; "$@" >"$logs/$title" 2>&1 && echo $((SECONDS - start)) >"$logs/$title, seconds") &
	set +m
	beside+=("$! $title")
	printf '\n==== %s: began beside the others\n' "$title"
}
joined() {   # joined [now]: shows the suites that began beside others, as one block each; now: only those that ended
	local job title left=()
	for job in "${beside[@]}"; do
		title=${job#* }
		if [ "${1:-}" = now ] && kill -0 "${job%% *}" 2>/dev/null; then left+=("$job"); continue; fi
		wait "${job%% *}" || true
		printf '\n==== %s\n' "$title"; cat "$logs/$title"
		[ -e "$logs/$title, seconds" ] || { count; echo "FAILED: $title"; exit 1; }
		printf '==== %s: ok, %d s\n' "$title" "$(cat "$logs/$title, seconds")"
	done
	beside=("${left[@]}")
}
sum() { cat "$logs/$2"* 2>/dev/null | awk -v field="$1" '/^test result:/ {n += $field} END {print n + 0}'; }
count() { printf '\n%d passed, %d failed\n' "$(sum 4 "")" "$(sum 6 "")"; }

hack/quickstart.sh setup
# All suites of the crates select the same of them: with others, features differ, and all is compiled once more.
crates=(cargo test --locked --workspace --exclude metal3-e2e)
suite "build" "${crates[@]}" --no-run
TB_DIR=$bed TB_PORT=${TB_PORT:-27385} TB_HOSTS=42 TB_IPMI=12 hack/testbed/ironic.sh up
export METAL3_TEST_IRONIC_ENV=$bed/env
# Both wait for Ironic most of the time, and have machines of their own.
beside "real Ironic, conformance" "${crates[@]}" --test it -- --ignored --test-threads=16 --skip ironic_real
beside "real Ironic, bmo" "${crates[@]}" --test it -- --ignored --test-threads=8 ironic_real
# Not by `cargo xtask`: cargo tells a program about its package, and build scripts under it run again for that.
suite "format, arrows, purity, drift, contract, parity, lints" "$CARGO_TARGET_DIR/debug/xtask" check fmt arrows purity drift proto parity clippy
joined now
# What needs a real Ironic is ignored here; nothing else may be.
suite "units, properties, adapters, contract, real kube-apiserver" "${crates[@]}"
joined
TB_DIR=$bed hack/testbed/ironic.sh down
ignored=$(sum 8 units) ran=$(sum 4 "real Ironic")
[ "$ran" = "$ignored" ] || { echo "$ignored tests are ignored, but $ran ran on a real Ironic"; exit 1; }
if [ "${1:-}" != quick ]; then
	# Each starts a management cluster and a workload cluster, and waits most of the time: two at once.
	suite "the whole path" cargo test --locked -p metal3-e2e -- --test-threads=2
	[ "$(sum 8 "the whole path")" = 0 ] || { echo "a test of the whole path is ignored"; exit 1; }
fi
printf '\nall suites ran in %d s' $((SECONDS - begin))
count
