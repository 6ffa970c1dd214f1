#!/usr/bin/env bash
# fuzz/run.sh [SECONDS [TARGET...]]: all targets in turn, or those, for so many seconds each (60); prints what each executed.
#
# Inputs that are new go to target/fuzz/corpus/TARGET, crashes to target/fuzz/artifacts/TARGET, and a line a run to target/fuzz/log.
# FUZZ_SANITIZER=none builds without the address sanitizer, which runs faster and finds less.
# With one argument 0 the targets are built, nothing more.
set -euo pipefail
cd "$(dirname "$0")/.."

missing() { echo "fuzzing needs $1"; exit 3; }
cargo +nightly --version >/dev/null 2>&1 || missing "a nightly compiler: rustup toolchain install nightly"
cargo fuzz --version >/dev/null 2>&1 || missing "cargo-fuzz: cargo install --locked cargo-fuzz"
command -v c++ >/dev/null || missing "a C++ compiler, for libFuzzer"

seconds=${1:-60}
shift || true
targets=("$@")
[ $# -gt 0 ] || mapfile -t targets < <(basename -s .rs -a fuzz/fuzz_targets/*.rs)
sanitizer=${FUZZ_SANITIZER:-address}
out=target/fuzz
bins=$out/$(rustc +nightly -vV | sed -n 's/^host: //p')/release

cargo +nightly fuzz build --sanitizer "$sanitizer" --target-dir "$out" 2>&1 | tail -20
[ "$seconds" != 0 ] || exit 0

# What an input may be long: enough for each part of it to count, short enough to be quick.
longest() {
    case $1 in
        load_model*|map_model) echo 4096;;
        *) echo 512;;
    esac
}

total=0 failed=0
for target in "${targets[@]}"; do
    mkdir -p "$out/corpus/$target" "$out/artifacts/$target" "fuzz/regressions/$target"
    begin=$(date +%s)
    said=$out/$target.out
    "$bins/$target" "$out/corpus/$target" "fuzz/seeds/$target" "fuzz/regressions/$target" -max_total_time="$seconds" \
        -max_len="$(longest "$target")" -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$out/artifacts/$target/" >"$said" 2>&1 && result=ok || result=FAILED
    rmdir "fuzz/regressions/$target" fuzz/regressions 2>/dev/null || true
    # After a crash there are no statistics: the last line that counts is taken.
    executed=$(grep -aoP '(?<=stat::number_of_executed_units: )\d+' "$said" || grep -aoP '^#\d+' "$said" | tail -1 | tr -d '#' || echo 0)
    executed=${executed:-0}
    total=$((total + executed))
    printf '%-30s %12d executions %6d s  %s\n' "$target" "$executed" $(($(date +%s) - begin)) "$result"
    echo "$(date +%FT%T) $target $executed $(($(date +%s) - begin)) $sanitizer $result" >>"$out/log"
    if [ "$result" != ok ]; then
        failed=1
        tail -40 "$said"
    fi
done
printf '%-30s %12d executions\n' all "$total"
exit $failed
