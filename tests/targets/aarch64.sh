#!/usr/bin/env bash
# tests/targets/aarch64.sh [test arguments] - the signature and the tests on emulated ARM: with nothing but NEON (cortex-a53), with dot
# products and fp16 (neoverse-n1), with all that the emulator knows (max). CPUS chooses CPUs, --signature leaves the tests out.
set -euo pipefail
. "$(dirname "$0")/common.sh"
emulated aarch64
for cpu in ${CPUS:-cortex-a53 neoverse-n1 max}; do
    export QEMU_CPU=$cpu
    signatures "aarch64 $cpu" cargo +targets run --quiet --release --target $target --manifest-path tests/targets/signature/Cargo.toml
    [ "${1:-}" = --signature ] ||
        cargo +targets test --quiet --target $target --no-default-features --features train,mmap,live --lib --test suite -- "$@"
done
