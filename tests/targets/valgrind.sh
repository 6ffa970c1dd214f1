#!/usr/bin/env bash
# tests/targets/valgrind.sh [test arguments] - tests under valgrind's memcheck, leaks included. It knows no AVX-512 and says so to the
# program, so the kernels of that level are not among them: those are for sanitizers.sh address.
set -euo pipefail
. "$(dirname "$0")/common.sh"
packages valgrind libc6-dbg
[ $# -gt 0 ] || set -- live serving accumulator format::tests kernels layers
export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="valgrind --quiet --error-exitcode=9 --leak-check=full \
--show-leak-kinds=definite --errors-for-leak-kinds=definite"
cargo test --quiet --all-features --lib --test suite -- "$@"
