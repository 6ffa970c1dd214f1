#!/usr/bin/env bash
# tests/targets/wasm.sh [test arguments] - the signature and the library's tests as WebAssembly, with simd128 and without; then the
# signature in a page, in headless Chromium. --signature leaves the tests out. A test that fails ends the run. Tests of saves are not
# among them: there is no folder for temporary files, to which std answers with a panic.
set -euo pipefail
. "$(dirname "$0")/common.sh"
set_up wasm
packages chromium python3
export CARGO_TARGET_WASM32_WASIP1_RUNNER="$TARGETS/python/bin/python $PWD/tests/targets/wasi.py"

page=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$page"' EXIT
cp tests/targets/signature/index.html "$page"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
python3 -m http.server "$port" --bind 127.0.0.1 --directory "$page" >/dev/null 2>&1 &
server=$!

for simd in +simd128 -simd128; do
    export RUSTFLAGS=-Ctarget-feature=$simd CARGO_TARGET_DIR=target/on-wasm$simd
    package=(--quiet --release --manifest-path tests/targets/signature/Cargo.toml)
    signatures "wasm32 $simd" cargo +targets run "${package[@]}" --target wasm32-wasip1
    [ "${1:-}" = --signature ] || cargo +targets test --quiet --no-default-features --target wasm32-wasip1 --lib -- --skip atomic::tests "$@"

    cargo +targets build "${package[@]}" --lib --target wasm32-unknown-unknown
    cp "$CARGO_TARGET_DIR/wasm32-unknown-unknown/release/signature.wasm" "$page"
    found=$(timeout 120 chromium --headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking \
        --disable-component-update --disable-sync --user-data-dir="$page/browser" --virtual-time-budget=20000 \
        --dump-dom "http://127.0.0.1:$port/" 2>/dev/null)
    grep -q "<p>$expected</p>" <<<"$found" || { echo "a page, $simd: expected $expected, found $found"; exit 1; }
    echo "a page, $simd: $expected, $(stat -c %s "$page/signature.wasm") bytes with the model"
done
