"""Makes tagger.safetensors as a PyTorch user would, and expected.json: what the net answers, in float64.

    pip install numpy safetensors && python tests/interchange/make.py

The state dict is that of EmbeddingBag and Linear; numpy stands for torch, whose tensors the file cannot tell from these.
"""

import json
import pathlib

import numpy as np
from safetensors.numpy import save_file

here = pathlib.Path(__file__).parent
rng = np.random.default_rng(7)
keywords, hidden, tags = 40, 12, 9
state = {
    "embedding.weight": rng.normal(0, 0.5, (keywords, hidden)).astype(np.float32),
    "hidden_bias": rng.normal(0, 0.1, hidden).astype(np.float32),
    "output.weight": rng.normal(0, 1, (tags, hidden)).astype(np.float32),
    "output.bias": rng.normal(-1, 0.5, tags).astype(np.float32),
}
names = {"keywords": [f"keyword {n}" for n in range(keywords)], "tags": [f"tag {n}" for n in range(tags)]}
save_file(state, here / "tagger.safetensors", metadata={"tagomatic": json.dumps(names)})
save_file({**state, "embedding.weight": state["embedding.weight"].astype(np.float16)}, here / "nameless.safetensors")

items = [sorted(rng.choice(keywords, n, replace=False).tolist()) for n in (0, 1, 2, 5, 17)]
expected = []
for half in (False, True):
    embedding = state["embedding.weight"].astype(np.float16 if half else np.float32).astype(np.float64)
    rows = []
    for item in items:
        h = np.maximum(embedding[item].sum(axis=0) + state["hidden_bias"], 0)
        rows.append((1 / (1 + np.exp(-(state["output.weight"].astype(np.float64) @ h + state["output.bias"])))).tolist())
    expected.append(rows)
(here / "expected.json").write_text(json.dumps({"items": items, "f32": expected[0], "f16": expected[1]}) + "\n")
