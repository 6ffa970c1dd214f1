#!/usr/bin/env bash
# tests/targets/setup.sh aarch64|wasm|s390x|sanitizers...
#
# A second Rust, unpacked from Debian's packages but not installed, that compiles for other machines; rustup calls it `targets`. Its
# library for aarch64 is Debian's too; those for wasm32 and s390x are compiled here, once, from the source that comes with it.
set -euo pipefail
. "$(dirname "$0")/common.sh"
unset RUSTFLAGS CARGO_TARGET_DIR CARGO_BUILD_TARGET

download() { # PACKAGE... INTO: unpacks packages into a folder
    local into=${*: -1} work
    work=$(mktemp -d)
    (cd "$work" && apt-get -qq -o APT::Sandbox::User=root download "${@:1:$#-1}")
    for package in "$work"/*.deb; do dpkg -x "$package" "$into"; done
    rm -rf "$work"
}

compiler() {
    [ -e "$TARGETS/ready-compiler" ] && return
    $sudo apt-get -qq update
    local std llvm
    std=$(apt-cache show --no-all-versions libstd-rust-web-dev | grep -oE 'libstd-rust-web-[0-9.]+' | head -1)
    llvm=$(apt-cache show --no-all-versions "$std" | grep -oE 'libllvm[0-9]+' | head -1)
    packages gcc libc6-dev patchelf "$llvm"
    rm -rf "$TARGETS/rust"
    download rustc-web rust-web-src libstd-rust-web-dev "$std" "$TARGETS/rust"
    for program in rustc rustdoc; do
        patchelf --set-rpath '$ORIGIN/../lib/x86_64-linux-gnu' "$toolchain/bin/$program"
    done
    ln -sf "$(rustup which --toolchain stable cargo)" "$toolchain/bin/cargo"
    rustup toolchain link targets "$toolchain"
    touch "$TARGETS/ready-compiler"
}

llvm_version() { "$toolchain/bin/rustc" -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p'; }

# TARGET CRATES: compiles the standard library and puts it where a shipped one would be.
library() {
    local libraries=$toolchain/lib/rustlib/$1/lib work=$TARGETS/library
    [ -e "$libraries/ready" ] && return
    mkdir -p "$work/src" "$libraries"
    printf '[package]\nname = "none"\nversion = "0.0.0"\nedition = "2024"\n[workspace]\n' >"$work/Cargo.toml"
    : >"$work/src/lib.rs"
    (cd "$work" && RUSTC_BOOTSTRAP=1 cargo +targets build --quiet --release -Zbuild-std="$2" --target "$1")
    find "$work/target/$1/release/deps" -name '*.rlib' ! -name 'libnone-*' -exec cp {} "$libraries" \;
    rm -rf "$work"
    touch "$libraries/ready"
}

compiler
for target; do
    case $target in
        aarch64)
            packages gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static
            dpkg --print-foreign-architectures | grep -qx arm64 || { $sudo dpkg --add-architecture arm64; $sudo apt-get -qq update; }
            download libstd-rust-web-dev:arm64 "$TARGETS/arm64"
            cp -r "$TARGETS/arm64/usr/lib/rustlib/aarch64-unknown-linux-gnu" "$toolchain/lib/rustlib/"
            rm -rf "$TARGETS/arm64"
            ;;
        wasm)
            llvm=$(llvm_version)
            packages "lld-$llvm" "llvm-$llvm" "clang-$llvm" wasi-libc python3-venv
            mkdir -p "$toolchain/lib/rustlib/x86_64-unknown-linux-gnu/bin"
            ln -sf "/usr/bin/lld-$llvm" "$toolchain/lib/rustlib/x86_64-unknown-linux-gnu/bin/rust-lld"
            library wasm32-unknown-unknown std,panic_abort
            library wasm32-wasip1 std,panic_abort,test
            own=$toolchain/lib/rustlib/wasm32-wasip1/lib/self-contained
            mkdir -p "$own"
            cp /usr/lib/wasm32-wasi/{crt1-command.o,crt1-reactor.o,libc.a} "$own/"
            "clang-$llvm" --target=wasm32-wasip1 -nostdlibinc -isystem /usr/include/wasm32-wasi -O1 -c tests/targets/wasi.c -o "$TARGETS/wasi.o"
            "llvm-ar-$llvm" r "$own/libc.a" "$TARGETS/wasi.o"
            python3 -m venv "$TARGETS/python"
            "$TARGETS/python/bin/pip" install --quiet wasmtime
            ;;
        s390x)
            packages gcc-s390x-linux-gnu libc6-dev-s390x-cross qemu-user-static
            CARGO_TARGET_S390X_UNKNOWN_LINUX_GNU_LINKER=s390x-linux-gnu-gcc \
                library s390x-unknown-linux-gnu std,panic_unwind,panic_abort,test
            ;;
        sanitizers)
            llvm=$(llvm_version)
            packages "clang-$llvm" "libclang-rt-$llvm-dev"
            ;;
        *)
            echo "setup.sh: expected aarch64, wasm, s390x or sanitizers, found $target" >&2
            exit 2
            ;;
    esac
    touch "$TARGETS/ready-$target"
done
