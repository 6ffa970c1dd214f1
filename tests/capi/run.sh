#!/usr/bin/env bash
# Builds and installs the library for C, links the programs here with it both ways through pkg-config, and runs them, under valgrind where
# that is installed. Measures what the library adds to a program.
#   tests/capi/run.sh [FOLDER]      the folder for what is built, target/capi unless told otherwise
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${1:-target/capi}
mkdir -p "$out"
out=$(cd "$out" && pwd)

cc=${CC:-cc}
for tool in "$cc" pkg-config; do
    if ! command -v "$tool" >/dev/null; then
        echo "skipped: no $tool"
        exit 0
    fi
done
export CARGO_TARGET_DIR=$out
tests/capi/install.sh "$out/serving"
tests/capi/install.sh "$out/all" train,live

# link NAME INSTALLED PACKAGE: tests/capi/NAME.c with a package of an installation.
link() {
    local flags
    flags=$(PKG_CONFIG_PATH=$out/$2/lib/pkgconfig pkg-config --cflags --libs "$3")
    # shellcheck disable=SC2086 -- flags are words.
    "$cc" -std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror -O1 -g "tests/capi/$1.c" $flags -Wl,-rpath,"$out/$2/lib" -lm -lpthread \
        -o "$out/$1-$3"
}
# run NAME: the program linked both ways says the same, and under valgrind.
run() {
    local expected
    expected=$("$out/$1-tagomatic-static" models/movies.tagm)
    [ -n "$expected" ]
    [ "$("$out/$1-tagomatic" models/movies.tagm)" = "$expected" ]
    if command -v valgrind >/dev/null; then
        # Threads of a pool that is gone may still be ending.
        valgrind --quiet --error-exitcode=1 --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite \
            "$out/$1-tagomatic-static" models/movies.tagm >/dev/null
        echo "$1.c runs, linked both ways, clean under valgrind:"
    else
        echo "$1.c runs, linked both ways (no valgrind here):"
    fi
    echo "$expected"
}
for package in tagomatic tagomatic-static; do
    link serve serving $package
    link learn all $package
done
readelf -d "$out/serve-tagomatic" | grep -q "libtagomatic\.so\.[0-9]"
run serve
run learn

# What the library adds: the program against one that does nothing.
cat >"$out/nothing.c" <<'END'
int main(void) { return 0; }
END
"$cc" -O1 "$out/nothing.c" -Wl,--gc-sections -o "$out/nothing"
cp "$out/serve-tagomatic-static" "$out/serve-stripped"
strip "$out/nothing" "$out/serve-stripped"
size() { stat -c %s "$1"; }
adds=$(($(size "$out/serve-stripped") - $(size "$out/nothing")))
echo "the static library adds $adds bytes to a stripped program"
[ "$adds" -lt 1000000 ] || { echo "expected less than 1,000,000"; exit 1; }
