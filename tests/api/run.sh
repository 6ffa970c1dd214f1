#!/usr/bin/env bash
# The public interface of the library beside its listing, or listed anew: tests/api/run.sh [--renew]
# Needs a nightly compiler, since only that tells what is public as data.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${CARGO_TARGET_DIR:-target}/api
if ! cargo +nightly --version >/dev/null 2>&1; then
    echo "skipped: no nightly compiler"
    exit 0
fi
cargo +nightly rustdoc --quiet --lib --all-features --target-dir "$out" -- -Zunstable-options --output-format json --cap-lints allow
cargo run --quiet --locked --manifest-path tests/api/Cargo.toml --target-dir "$out" -- "$out/doc/tagomatic.json" "$@"
