#!/usr/bin/env bash
# tests/coverage.sh [test arguments] - which lines of kernels, layers, format and train the tests run, for each room and together; fails
# where a room is under 95 %. Lines of tests do not count. Lines that none ran are told by file.
#
# One run is enough: tests of kernels go through every level that this machine has, so it should have AVX-512.
# Needs cargo-llvm-cov, which is built if it is missing, and Debian's LLVM of the compiler's version. Builds in target/llvm-cov-target.
set -euo pipefail
. "$(dirname "$0")/targets/common.sh"
llvm=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
packages "llvm-$llvm" python3
command -v cargo-llvm-cov >/dev/null || cargo install --quiet --locked cargo-llvm-cov
export LLVM_COV=/usr/bin/llvm-cov-$llvm LLVM_PROFDATA=/usr/bin/llvm-profdata-$llvm
grep -q avx512dq /proc/cpuinfo || echo "this machine has no AVX-512: the lines of that level will be missing"

cargo llvm-cov clean --workspace
cargo llvm-cov --no-report --all-features --lib --bins --tests -- --quiet "$@"
# Tests kill programs, whose counts are then not whole.
cargo llvm-cov report --failure-mode all --lcov --output-path target/coverage.lcov
python3 - target/coverage.lcov <<'PYTHON'
import re, sys
from pathlib import Path

rooms = {room: [0, 0, []] for room in ("kernels", "layers", "format", "train")}
for record in Path(sys.argv[1]).read_text().split("end_of_record\n"):
    path = re.search(r"^SF:.*?/(src/(\w+)/.*)$", record, re.M)
    if not path or path[2] not in rooms or re.search(r"/tests(/|\.rs)", path[1]):
        continue
    source = Path(path[1]).read_text().splitlines()
    # Unit tests stand at the end of their file.
    end = next((at for at, line in enumerate(source, 1) if line.startswith("#[cfg(test)]") and "{" in source[at]), len(source) + 1)
    lines = {int(line): int(count) for line, count in re.findall(r"^DA:(\d+),(\d+)", record, re.M) if int(line) < end}
    missing = sorted(line for line, count in lines.items() if count == 0)
    room = rooms[path[2]]
    room[0] += len(lines)
    room[1] += len(lines) - len(missing)
    if missing:
        room[2].append(f"  {path[1]}: {' '.join(map(str, missing))}")

for room in rooms.values():
    print(*sorted(room[2]), sep="\n", end="\n" if room[2] else "")
low = False
for name, (lines, ran, _) in rooms.items():
    share = 100 * ran / max(lines, 1)
    low |= share < 95
    print(f"{name:8} {share:6.2f} % of {lines} lines")
sys.exit(low)
PYTHON
