#!/usr/bin/env bash
# tests/targets/s390x.sh [test arguments] - the signature, and the tests of files and of weights of every type, on an emulated big-endian
# machine.
set -euo pipefail
. "$(dirname "$0")/common.sh"
emulated s390x
[ $# -gt 0 ] || set -- format:: kernels convert serving weights vocab codec checkpoint features
signatures s390x cargo +targets run --quiet --release --target $target --manifest-path tests/targets/signature/Cargo.toml
cargo +targets test --quiet --target $target --no-default-features --features train,mmap --lib --test suite -- "$@"
