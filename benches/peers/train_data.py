"""Items with keywords and tags for train.py, made from a seed: `train_data.py DIR W1 W1m W2 W3`.

Keyword ids are ranks by frequency (rank^-1.1), as they are in a vocabulary. An item has a number of different keywords that is
log-normal about the workload's mean. Its tags are drawn from the probabilities of a random network with 24 hidden units.

DIR/NAME.bin: u32 little-endian. A header [keywords, hidden, tags, training items, test items]; then for the training items and for
the test items: starts and ids of keywords, starts and ids of tags (compressed sparse rows).
DIR/NAME.ft: the training items as text for fastText. DIR/NAME.test.ft: the test items.
"""
import os, sys
import numpy as np

WORKLOADS = {  # keywords, mean active, hidden, tags, training items, test items
    "W1": (10_000, 30, 64, 1, 100_000, 10_000),
    "W1m": (10_000, 30, 64, 50, 100_000, 10_000),
    "W2": (100_000, 64, 128, 1000, 40_000, 10_000),
    "W3": (1_000_000, 100, 128, 100, 40_000, 10_000),
}


def bags(rng, items, keywords, mean):
    """`items` sets of ids: starts and ids."""
    cdf = np.cumsum(1.0 / np.arange(1, keywords + 1) ** 1.1)
    sigma = 0.45
    sizes = np.clip(np.rint(rng.lognormal(np.log(mean) - sigma**2 / 2, sigma, items)), 3, 4 * mean).astype(np.int64)
    ids = []
    for size in sizes:
        found = np.empty(0, np.int64)
        while len(found) < size:  # the first `size` different ones of a long enough row of draws
            found = np.concatenate([found, np.searchsorted(cdf, rng.random(2 * size + 8) * cdf[-1], side="right")])
            _, first = np.unique(found, return_index=True)
            found = found[np.sort(first)]
        ids.append(np.sort(found[:size]))
    return np.concatenate([[0], np.cumsum(sizes)]), np.minimum(np.concatenate(ids), keywords - 1)


def make(name):
    keywords, mean, hidden, tags, train, test = WORKLOADS[name]
    rng = np.random.default_rng(20260 + sum(map(ord, name)))
    items = train + test
    starts, ids = bags(rng, items, keywords, mean)
    first = rng.standard_normal((keywords, 24), dtype=np.float32)
    second = rng.standard_normal((24, tags), dtype=np.float32)
    rates = np.full(1, 0.3) if tags == 1 else np.exp(rng.uniform(np.log(0.005), np.log(0.15), tags))
    units = np.concatenate([
        np.add.reduceat(first[ids[starts[a] : starts[b]]], starts[a:b] - starts[a])
        for a, b in ((a, min(a + 5000, items)) for a in range(0, items, 5000))
    ])
    logits = np.maximum(units / np.sqrt(np.diff(starts))[:, None], 0).astype(np.float32) @ second
    at_rate = np.array([np.quantile(logits[:20000, t], 1 - rates[t]) for t in range(tags)], np.float32)
    tag_rows, tag_ids = [], []
    for a in range(0, items, 5000):
        p = 1 / (1 + np.exp(-8 * (logits[a : a + 5000] - at_rate) / logits[:20000].std(0)))
        rows, found = np.nonzero(rng.random(p.shape) < p)
        tag_rows.append(rows + a)
        tag_ids.append(found)
    tag_starts = np.concatenate([[0], np.cumsum(np.bincount(np.concatenate(tag_rows), minlength=items))])
    return starts, ids, tag_starts, np.concatenate(tag_ids)


def write(folder, name):
    starts, ids, tag_starts, tag_ids = make(name)
    keywords, _, hidden, tags, train, test = WORKLOADS[name]
    parts = {"": (0, train), ".test": (train, train + test)}
    with open(os.path.join(folder, name + ".bin"), "wb") as f:
        f.write(np.array([keywords, hidden, tags, train, test], "<u4").tobytes())
        for a, b in parts.values():
            for s, i in ((starts, ids), (tag_starts, tag_ids)):
                f.write((s[a : b + 1] - s[a]).astype("<u4").tobytes() + i[s[a] : s[b]].astype("<u4").tobytes())
    for suffix, (a, b) in parts.items():
        with open(os.path.join(folder, name + suffix + ".ft"), "w") as f:
            for n in range(a, b):
                labels = [f"__label__{t}" for t in tag_ids[tag_starts[n] : tag_starts[n + 1]]] or ["__label__none"]
                f.write(" ".join(labels + [f"w{k}" for k in ids[starts[n] : starts[n + 1]]]) + "\n")


def read(folder, name):
    """The header, and for the training and the test items `(starts, ids, tag starts, tag ids)`."""
    words = np.fromfile(os.path.join(folder, name + ".bin"), "<u4").astype(np.int64)
    header, at, parts = words[:5], 5, []
    for items in header[3:]:
        part = []
        for _ in range(2):
            starts = words[at : at + items + 1]
            at += items + 1
            part += [starts, words[at : at + starts[-1]]]
            at += starts[-1]
        parts.append(part)
    return header, *parts


if __name__ == "__main__":
    os.makedirs(sys.argv[1], exist_ok=True)
    for name in sys.argv[2:] or WORKLOADS:
        write(sys.argv[1], name)
