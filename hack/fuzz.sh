#!/usr/bin/env bash
# Feeds odd input to what reads the data of users and of Ironic (fuzz/targets), FUZZ_SECONDS for each target.
#   hack/fuzz.sh [target...]
# cargo-fuzz is built once into the tool cache, and so are the targets: with coverage, in a folder of their own. What was
# found interesting is kept there, too; fuzz/seeds holds what everybody starts with. A crash leaves its input in
# fuzz/artifacts/<target> and says how to repeat it.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${METAL3_TOOLS:-$HOME/.cache/metal3-tools}
seconds=${FUZZ_SECONDS:-20}
version=0.13.2
export RUSTC_BOOTSTRAP=1 # coverage needs flags that stable Rust hides

if ! command -v c++ >/dev/null; then
	echo "hack/fuzz.sh: libFuzzer is C++: install a compiler (apt-get install g++)" >&2
	exit 1
fi
fuzz=$cache/cargo-fuzz/bin/cargo-fuzz
if ! "$fuzz" --version 2>/dev/null | grep -qF "$version"; then
	cargo install --locked "cargo-fuzz@$version" --root "$cache/cargo-fuzz"
fi
targets=("$@")
if [ ${#targets[@]} = 0 ]; then
	mapfile -t targets < <(sed -n 's#^path = "targets/\(.*\)\.rs"#\1#p' fuzz/Cargo.toml)
fi
# No sanitizer of memory: there is no unsafe code, and without it there are several times as many runs.
build=(--sanitizer none --target-dir "$cache/fuzz-target")
"$fuzz" build "${build[@]}"
for target in "${targets[@]}"; do
	corpus=$cache/fuzz-corpus/$target
	mkdir -p "$corpus"
	echo "== $target, $seconds s"
	"$fuzz" run "${build[@]}" "$target" "$corpus" "fuzz/seeds/$target" -- \
		-max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=1024 -verbosity=0 -print_final_stats=1
done
echo "fuzz: ${#targets[@]} targets survived $seconds s each"
