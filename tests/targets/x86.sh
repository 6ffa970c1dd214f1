#!/usr/bin/env bash
# tests/targets/x86.sh [test arguments] - the program and the tests as they are, on emulated x86-64 that lacks AVX-512 (Haswell), AVX2
# too (SandyBridge), AVX too (Nehalem). An instruction that a CPU lacks ends the process, so every kernel is seen to be behind its check.
# CPUS chooses CPUs, arguments choose tests; those that start the program are not among them, for it would run on this machine's own CPU.
set -euo pipefail
. "$(dirname "$0")/common.sh"
[ "$(uname -m)" = x86_64 ] || { echo "x86.sh: expected an x86-64 machine" >&2; exit 2; }
case "${RUSTFLAGS:-}" in *target-cpu*) echo "x86.sh: expected RUSTFLAGS without target-cpu" >&2; exit 2 ;; esac
packages qemu-user-static
[ $# -gt 0 ] || set -- kernels layers accumulator golden serving live

cargo build --quiet --all-features --bin tagomatic
program=${CARGO_TARGET_DIR:-target}/debug/tagomatic
# The emulator warns of features that nobody here asks for.
quietly() { "$@" 2> >(grep -v "TCG doesn't support" >&2); }
export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER=qemu-x86_64-static
for cpu in ${CPUS:-Nehalem SandyBridge Haswell}; do
    export QEMU_CPU=$cpu
    levels=$([ "$cpu" = Haswell ] && echo "avx2 portable scalar" || echo "portable scalar")
    for level in $levels; do
        said=$(TAGOMATIC_LEVEL=$level quietly qemu-x86_64-static "$program" verify models/movies.tagm --json)
        grep -q "\"$expected\"" <<<"$said" || { echo "x86-64 $cpu, level $level: expected $expected, found $said"; exit 1; }
        echo "x86-64 $cpu, level $level: $expected"
    done
    for level in avx512 $([ "$cpu" = Haswell ] || echo avx2); do
        ! said=$(TAGOMATIC_LEVEL=$level quietly qemu-x86_64-static "$program" verify models/movies.tagm 2>&1)
        grep -q "expected a level of this machine" <<<"$said" || { echo "x86-64 $cpu, level $level: $said"; exit 1; }
        echo "x86-64 $cpu, level $level: refused"
    done
    quietly cargo test --quiet --all-features --lib --test suite -- "$@"
done
