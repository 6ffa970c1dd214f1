#!/usr/bin/env bash
# Builds the library for C, links serve.c with it both ways, and runs it, under valgrind where that is installed.
#   tests/capi/run.sh [FOLDER]      the folder for what is built, target/capi unless told otherwise
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${1:-target/capi}
mkdir -p "$out"

cc=${CC:-cc}
if ! command -v "$cc" >/dev/null; then
    echo "skipped: no C compiler"
    exit 0
fi
build() {
    cargo rustc --quiet --release --lib --no-default-features --features capi --target-dir "$out" --crate-type "$1"
}
build staticlib
build cdylib
flags=(-std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror -O1 -g tests/capi/serve.c)
"$cc" "${flags[@]}" "$out/release/libtagomatic.a" -Wl,--gc-sections -lm -lpthread -ldl -o "$out/serve-static"
"$cc" "${flags[@]}" -L "$out/release" -ltagomatic -Wl,-rpath,"$PWD/$out/release" -lm -lpthread -o "$out/serve-shared"

expected=$("$out/serve-static" models/movies.tagm)
[ -n "$expected" ]
[ "$("$out/serve-shared" models/movies.tagm)" = "$expected" ]
if command -v valgrind >/dev/null; then
    valgrind --quiet --error-exitcode=1 --leak-check=full --errors-for-leak-kinds=definite,possible \
        "$out/serve-static" models/movies.tagm >/dev/null
    echo "the C program runs, linked both ways, clean under valgrind:"
else
    echo "the C program runs, linked both ways (no valgrind here):"
fi
echo "$expected"
cp "$out/serve-static" "$out/serve-stripped"
strip "$out/serve-stripped"
echo "stripped, with the library in it: $(stat -c %s "$out/serve-stripped") bytes"
