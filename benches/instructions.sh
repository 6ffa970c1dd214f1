#!/usr/bin/env bash
# Counts the instructions of a request, exactly, and compares them with benches/instructions.txt.
#
#     benches/instructions.sh            # fails if a count is more than 2 % above the record
#     benches/instructions.sh record     # writes the file anew
#
# Valgrind knows no AVX-512, so the levels below it are counted. Another compiler makes other instructions: then nothing is compared.
set -euo pipefail
cd "$(dirname "$0")/.."
record=benches/instructions.txt
compiler=$(rustc --version)
if ! command -v valgrind >/dev/null || ! command -v nm >/dev/null; then
    echo "instructions: skipped, there is no valgrind or no nm"
    exit 0
fi
if [ "${1:-}" != record ] && [ "$(head -1 $record)" != "$compiler" ]; then
    echo "instructions: skipped, the record is of $(head -1 $record), this is $compiler"
    exit 0
fi
program=$(cargo bench --all-features --bench instructions --no-run 2>&1 | sed -n 's/.*Executable.*(\(.*\))/\1/p')

# Instructions of so many items, the making of the model included.
total() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" "$@" 2>&1 | sed -n 's/.*refs: *//p' | tr -d ,
}

counts() {
    for workload in w1 w1m w2 w3; do
        for weights in f32 i8; do
            for form in single batch; do
                for level in portable avx2; do
                    few=$(total $workload $weights $form $level 256)
                    many=$(total $workload $weights $form $level 1280)
                    echo "$workload $weights $form $level $(((many - few) / 1024))"
                done
            done
        done
    done
}

# An intrinsic that stands in the program as a function is called by a closure that was compiled without the level's instructions.
if called=$(nm -C "$program" | grep -oE 'core_arch::x86::(avx|fma|f16c)[0-9a-z]*::\w+'); then
    printf 'expected intrinsics to be inlined, found functions:\n%s\n' "$called"
    exit 1
fi

if [ "${1:-}" = record ]; then
    { echo "$compiler" && counts; } >$record.new
    mv $record.new $record
    cat $record
    exit
fi
counts | awk -v record=$record '
    BEGIN { while ((getline line < record) > 0) if (split(line, part, " ") == 5) expected[part[1] " " part[2] " " part[3] " " part[4]] = part[5] }
    {
        was = expected[$1 " " $2 " " $3 " " $4]
        off = was ? 100 * ($5 - was) / was : 100
        failed = failed || off > 2
        note = off > 2 || off < -2 ? ": record it anew if that is meant" : ""
        printf "instructions: %-3s %-3s %-6s %-8s %7d, recorded %7d, %+.1f %%%s\n", $1, $2, $3, $4, $5, was, off, note
    }
    END { exit failed }'
