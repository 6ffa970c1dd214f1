#!/usr/bin/env bash
# tests/targets/s390x.sh [test arguments] - the signature, and the tests of files and of weights of every type, on an emulated big-endian
# machine; all tests for the argument "".
set -euo pipefail
. "$(dirname "$0")/common.sh"
emulated s390x
[ $# -gt 0 ] || set -- format:: kernels convert serving weights vocab codec checkpoint features
signatures s390x cargo +targets run --quiet --release --target $target --manifest-path tests/targets/signature/Cargo.toml
# The emulator of Debian 12 (7.2) takes 64 bits for the second factor of MDEB, a product of two floats as a double, which these tests
# run into. They pass with that of its backports (10.0).
set -- "$@" --skip gradient_by_hidden_units_is_the_finite_difference --skip initial_weights_are_those_of_their_streams \
    --skip huge_gradients_freeze_a_weight_instead_of_breaking_it
cargo +targets test --quiet --target $target --no-default-features --features train,mmap --lib --test suite -- "$@"
