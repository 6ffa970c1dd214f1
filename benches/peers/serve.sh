#!/usr/bin/env bash
# Serving beside PyTorch (Python and C++) and ONNX Runtime: the same trained nets, the same requests, scores compared.
#
#     benches/peers/serve.sh DIR [ROUNDS [WORKLOAD...]]
#
# DIR (about 3 GB) keeps the nets, the Python packages and DIR/serve.jsonl, which every round adds to; the table is printed at the
# end. Contenders take turns, so that a busy machine slows all of them. Needs cargo, python3 with venv, g++ and a package registry.
set -euo pipefail
cd "$(dirname "$0")/../.."
dir=${1:?usage: serve.sh DIR [ROUNDS [WORKLOAD...]]} rounds=${2:-3}
workloads=("${@:3}")
[ ${#workloads[@]} -gt 0 ] || workloads=(w1 w1m w2 w3)
mkdir -p "$dir"
python=$dir/venv/bin/python
[ -x "$python" ] || python3 -m venv "$dir/venv"
"$python" -m pip install --quiet numpy onnx onnxruntime torch
site=$("$python" -c 'import os, torch; print(os.path.dirname(torch.__file__))')
g++ -O2 -std=c++20 -I"$site/include" -I"$site/include/torch/csrc/api/include" benches/peers/serve_torch.cc \
    -L"$site/lib" -Wl,--no-as-needed -ltorch_cpu -lc10 -Wl,-rpath,"$site/lib" -Wl,--unresolved-symbols=ignore-in-shared-libs \
    -o "$dir/serve_torch"
libraries=$(find "$site/../nvidia" -type d -name lib 2>/dev/null | paste -sd: || true)

cargo bench --all-features --bench peers --no-run
bench() { cargo bench --quiet --all-features --bench peers -- "$@"; }
for workload in "${workloads[@]}"; do
    [ -e "$dir/$workload.bin" ] || bench make "$dir" "$workload"
done
export OMP_NUM_THREADS=1
for ((round = 0; round < rounds; round++)); do
    for workload in "${workloads[@]}"; do
        bench time "$dir" "$workload"
        LD_LIBRARY_PATH=$libraries "$dir/serve_torch" "$dir" "$workload"
        for peer in torch torch8 onnx; do
            "$python" benches/peers/serve.py "$peer" "$dir" "$workload"
        done
    done
done | tee -a "$dir/serve.jsonl"
"$python" benches/peers/serve_table.py "$dir/serve.jsonl"
