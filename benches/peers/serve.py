#!/usr/bin/env python3
"""PyTorch and ONNX Runtime on the nets and requests that `cargo bench --bench peers -- make DIR` wrote.

usage: serve.py torch|torch8|onnx DIR [WORKLOAD...]

torch8 is PyTorch with its embedding bag of 8-bit rows, each with a scale and an offset, and the rest in f32.

One thread. Prints a JSON object a line, in the form of `peers.rs`, after the scores have been compared.
"""
import json
import sys
import time

import numpy as np

PASSES = 5
WORKLOADS = ["w1", "w1m", "w2", "w3"]


class Case:
    """A net, its requests, and the scores that it must give."""

    def __init__(self, folder, name):
        data = np.memmap(f"{folder}/{name}.bin", np.uint8, "r")
        place = 0

        def take(kind, *shape):
            nonlocal place
            size = int(np.prod(shape)) * np.dtype(kind).itemsize
            part = np.array(data[place : place + size]).view(kind).reshape(shape)
            place += size
            return part

        self.name = name
        keywords, hidden, tags, items, ids = (int(x) for x in take("<u8", 5))
        self.w1, self.b1 = take("<f4", keywords, hidden), take("<f4", hidden)
        self.w2, self.b2 = take("<f4", hidden, tags), take("<f4", tags)
        self.starts, self.ids = take("<u8", items + 1).astype(np.int64), take("<u4", ids)
        self.scores = take("<f4", items, tags)

    def __len__(self):
        return len(self.starts) - 1

    def batches(self, size):
        """First item, ids and starts of each whole batch."""
        for first in range(0, len(self) - size + 1, size):
            starts = self.starts[first : first + size + 1]
            yield first, self.ids[starts[0] : starts[-1]].astype(np.int64), starts - starts[0]


def torch_calls(case, bits=32):
    import torch

    torch.set_num_threads(1)
    tensors = [torch.from_numpy(x) for x in (case.w1, case.b1, case.w2, case.b2)]
    w1, b1, w2, b2 = tensors
    if bits == 8:
        w1 = torch.ops.quantized.embedding_bag_byte_prepack(w1)
        bag = lambda ids, starts: torch.ops.quantized.embedding_bag_byte_rowwise_offsets(w1, ids, starts, mode=0)
    else:
        bag = lambda ids, starts: torch.nn.functional.embedding_bag(ids, w1, starts, mode="sum")

    def prepare(ids, starts):
        return torch.from_numpy(ids), torch.from_numpy(starts[:-1].copy())

    def call(request):
        with torch.inference_mode():
            hidden = bag(*request)
            return torch.sigmoid(torch.addmm(b2, torch.relu_(hidden.add_(b1)), w2)).numpy()

    return f"PyTorch {torch.__version__}{', 8-bit rows' if bits == 8 else ''}", prepare, call


def onnx_calls(case):
    import onnxruntime as ort
    from onnx import TensorProto, helper, numpy_helper, save

    # Rows are padded with a keyword of zeros: the format has no embedding bag.
    table = np.vstack([case.w1, np.zeros((1, case.w1.shape[1]), np.float32)])
    parts = {"w1": table, "b1": case.b1, "w2": case.w2, "b2": case.b2, "axes": np.array([1], np.int64)}
    nodes = [
        helper.make_node("Gather", ["w1", "ids"], ["rows"]),
        helper.make_node("ReduceSum", ["rows", "axes"], ["sum"], keepdims=0),
        helper.make_node("Add", ["sum", "b1"], ["a"]),
        helper.make_node("Relu", ["a"], ["h"]),
        helper.make_node("Gemm", ["h", "w2", "b2"], ["z"]),
        helper.make_node("Sigmoid", ["z"], ["p"]),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["items", "keywords"])],
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, ["items", case.w2.shape[1]])],
        [numpy_helper.from_array(part, name) for name, part in parts.items()],
    )
    path = f"{sys.argv[2]}/{case.name}.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    padding = len(case.w1)

    def prepare(ids, starts):
        lengths = np.diff(starts)
        padded = np.full((len(lengths), max(lengths.max(), 1)), padding, np.int64)
        padded[np.arange(padded.shape[1])[None] < lengths[:, None]] = ids
        return padded

    return f"ONNX Runtime {ort.__version__}", prepare, lambda request: session.run(None, {"ids": request})[0]


def main():
    runtime, folder = sys.argv[1], sys.argv[2]
    for name in sys.argv[3:] or WORKLOADS:
        case = Case(folder, name)
        calls = {"torch": torch_calls, "torch8": lambda case: torch_calls(case, 8), "onnx": onnx_calls}
        peer, prepare, call = calls[runtime](case)
        # Scores of this crate are clamped to [1e-4, 1 - 1e-4]; rows of 8 bits are rounded.
        limit = 0.05 if runtime == "torch8" else 2e-4

        def figure(form, unit, value):
            line = {"peer": peer, "workload": name, "form": form, unit: round(value, 3)}
            print(json.dumps(line), flush=True)

        for first, ids, starts in case.batches(100):
            error = np.abs(call(prepare(ids, starts)) - np.clip(case.scores[first : first + 100], 1e-4, 1 - 1e-4)).max()
            assert error < limit, f"{peer} differs by {error} on {name}"
        requests = [prepare(ids, starts) for _, ids, starts in case.batches(1)]
        passes = []
        for number in range(PASSES + 1):
            times = np.empty(len(requests))
            for i, request in enumerate(requests):
                start = time.perf_counter_ns()
                call(request)
                times[i] = time.perf_counter_ns() - start
            if number > 0:
                passes.append(times / 1e3)
        for form, share in (("p50", 50), ("p99", 99)):
            figure(form, "us", float(np.median([np.percentile(times, share) for times in passes])))
        for size in (256, 4096):
            batches = [prepare(ids, starts) for _, ids, starts in case.batches(size)]
            rates = []
            for number in range(PASSES + 1):
                start = time.perf_counter()
                for batch in batches:
                    call(batch)
                if number > 0:
                    rates.append(len(batches) * size / (time.perf_counter() - start))
            figure(f"batch {size}", "items_per_second", float(np.median(rates)))


if __name__ == "__main__":
    main()
