#!/usr/bin/env bash
# Builds the library for C and installs it: header, static and shared library, and what pkg-config asks for.
#   tests/capi/install.sh PREFIX [FEATURES]      FEATURES beside capi, apart by commas: train, live
# Then
#   cc serve.c $(pkg-config --cflags --libs tagomatic) -o serve          # shared
#   cc serve.c $(pkg-config --cflags --libs tagomatic-static) -o serve   # the library in the program
set -euo pipefail
cd "$(dirname "$0")/../.."
prefix=${1:?"expected the folder to install to, found none"}
features=${2:-}
mkdir -p "$prefix"
prefix=$(cd "$prefix" && pwd)
target=${CARGO_TARGET_DIR:-target/capi}

header=src/capi/tagomatic.h
abi=$(sed -n 's/^#define TAGM_ABI_VERSION //p' $header)
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -1)
soname=libtagomatic.so.$abi

# All crates as one: 5 % smaller.
export CARGO_PROFILE_RELEASE_LTO=fat CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1
build() {
    cargo rustc --quiet --release --lib --no-default-features --features "capi${features:+,$features}" --target-dir "$target" \
        --crate-type "$1" -- "${@:2}"
}
build staticlib
build cdylib -C "link-arg=-Wl,-soname,$soname"

mkdir -p "$prefix/include" "$prefix/lib/pkgconfig"
install -m 644 $header "$prefix/include/tagomatic.h"
install -m 644 "$target/release/libtagomatic.a" "$prefix/lib/libtagomatic.a"
install -m 755 "$target/release/libtagomatic.so" "$prefix/lib/libtagomatic.so.$abi.$version"
ln -sf "libtagomatic.so.$abi.$version" "$prefix/lib/$soname"
ln -sf "$soname" "$prefix/lib/libtagomatic.so"

defines=
for feature in ${features//,/ }; do
    defines+=" -DTAGOMATIC_${feature^^}"
done
package() {
    cat >"$prefix/lib/pkgconfig/$1.pc" <<END
prefix=$prefix
includedir=\${prefix}/include
libdir=\${prefix}/lib

Name: $1
Description: Small neural taggers on sparse binary input
Version: $version
Cflags: -I\${includedir}$defines
Libs: $2
END
}
package tagomatic '-L${libdir} -ltagomatic'
package tagomatic-static '${libdir}/libtagomatic.a -Wl,--gc-sections -lm -lpthread -ldl'
echo "installed to $prefix${features:+ with $features}"
