#!/usr/bin/env bash
# tests/targets/sanitizers.sh address|thread|memory [test arguments] - the tests with a compiler's sanitizer in them: accesses out of
# bounds, after the end, and leaks, in kernels with intrinsics too (address; needs the nightly Rust); data races (thread); what is read
# and was not written (memory; both with a standard library that is compiled for it).
set -euo pipefail
. "$(dirname "$0")/common.sh"
kind=${1:-}
host=x86_64-unknown-linux-gnu
case $kind in
    address)
        compiler=+nightly
        flags=-Zsanitizer=address
        library=()
        ;;
    thread | memory)
        set_up sanitizers
        compiler=+targets
        llvm=$("$toolchain/bin/rustc" -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
        flags="-Zsanitizer=$kind -Zexternal-clangrt -Clinker=clang-$llvm -Clink-arg=-fsanitize=$kind"
        library=(-Zbuild-std)
        export RUSTC_BOOTSTRAP=1
        ;;
    *)
        echo "sanitizers.sh: expected address, thread or memory, found ${kind:-nothing}" >&2
        exit 2
        ;;
esac
shift
# A test asks for memory that no machine has: it is to be refused, as without a sanitizer, not told as a fault.
for options in ASAN_OPTIONS TSAN_OPTIONS MSAN_OPTIONS; do
    export "$options=allocator_may_return_null=1:${!options:-}"
done
if [ $# = 0 ]; then
    set -- live serving accumulator format:: convert kernels layers capi
    # Single threads over all bytes or levels: a quarter of an hour each with these.
    [ "$kind" = address ] || set -- "$@" --skip every_changed_byte --skip the_header_says --skip every_type_answers --skip no_logit_moves
fi
RUSTFLAGS="$flags" cargo $compiler test "${library[@]}" --quiet --no-fail-fast --target $host --target-dir "target/on-$kind" \
    --features live,capi --lib --test suite -- "$@"
