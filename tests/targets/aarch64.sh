#!/usr/bin/env bash
# tests/targets/aarch64.sh [test arguments] - the signature and the tests on emulated ARM: with nothing but NEON (cortex-a53), with dot
# products and fp16 (neoverse-n1), with all that the emulator knows (max). CPUS chooses CPUs, --signature leaves the tests out.
set -euo pipefail
. "$(dirname "$0")/common.sh"
set_up aarch64
target=aarch64-unknown-linux-gnu
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64-static -L /usr/aarch64-linux-gnu"
export CARGO_TARGET_DIR=target/on-aarch64
for cpu in ${CPUS:-cortex-a53 neoverse-n1 max}; do
    export QEMU_CPU=$cpu
    signatures "aarch64 $cpu" cargo +targets run --quiet --release --target $target --manifest-path tests/targets/signature/Cargo.toml
    [ "${1:-}" = --signature ] ||
        cargo +targets test --quiet --target $target --no-default-features --features train,mmap,live --lib --test suite -- "$@"
done
