# Sourced by the scripts beside it, which run from anywhere, install what they lack as Debian packages, and may be run again. A second
# compiler is kept in $TARGETS, what is built in target/on-*.
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
TARGETS=${TARGETS:-$HOME/.cache/tagomatic-targets}
toolchain=$TARGETS/rust/usr
export CARGO_TERM_COLOR=never DEBIAN_FRONTEND=noninteractive
sudo=$([ "$(id -u)" = 0 ] || echo sudo)
mkdir -p "$TARGETS"

# What models/movies.md tells: every machine must say the same.
expected=$(grep -oE '\b[0-9a-f]{16}\b' models/movies.md | head -1)

packages() { # installs those that are missing
    local missing
    missing=$(for name; do dpkg-query -Wf '${Status}' "$name" 2>/dev/null | grep -q '^install ok installed' || echo "$name"; done)
    [ -n "$missing" ] || return 0
    $sudo apt-get -qq update
    # shellcheck disable=SC2086
    $sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null
}

set_up() { # what setup.sh does, unless it is done
    for what; do
        [ -e "$TARGETS/ready-$what" ] || tests/targets/setup.sh "$what"
    done
}

emulated() { # MACHINE: cargo links programs for it, and runs them in an emulator; $target is what it calls the machine
    set_up "$1"
    target=$1-unknown-linux-gnu
    local variable=CARGO_TARGET_${target//-/_}
    variable=${variable^^}
    export "${variable}_LINKER=$1-linux-gnu-gcc" "${variable}_RUNNER=qemu-$1-static -L /usr/$1-linux-gnu"
    export CARGO_TARGET_DIR=target/on-$1
}

signatures() { # WHERE COMMAND...: the command prints lines that end in a signature, of which each must be the expected one
    local where=$1 said
    shift
    said=$("$@" 2>&1) || { echo "$where: $said"; exit 1; }
    ! grep -v " $expected\$" <<<"$said" || { echo "$where: expected $expected"; exit 1; }
    echo "$where: $(tr '\n' ' ' <<<"$said")"
}
