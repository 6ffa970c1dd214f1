#!/usr/bin/env bash
# tests/targets/s390x.sh [test arguments] - the signature, and the tests of files and of weights of every type, on an emulated big-endian
# machine.
set -euo pipefail
. "$(dirname "$0")/common.sh"
set_up s390x
target=s390x-unknown-linux-gnu
export CARGO_TARGET_S390X_UNKNOWN_LINUX_GNU_LINKER=s390x-linux-gnu-gcc
export CARGO_TARGET_S390X_UNKNOWN_LINUX_GNU_RUNNER="qemu-s390x-static -L /usr/s390x-linux-gnu"
export CARGO_TARGET_DIR=target/on-s390x
[ $# -gt 0 ] || set -- format:: kernels convert serving weights vocab codec checkpoint features
signatures s390x cargo +targets run --quiet --release --target $target --manifest-path tests/targets/signature/Cargo.toml
cargo +targets test --quiet --target $target --no-default-features --features train,mmap --lib --test suite -- "$@"
