"""Training speed beside other programs: same items, same network, same mini-batch, one thread, taking turns in one run.

    train_data.py DIR                                    # once: the items
    cargo bench --all-features --bench epochs --no-run   # prints the path of our side
    train.py DIR --ours target/release/deps/epochs-... [--fasttext PATH] [--rounds 5] [W1 W1m W2 W3]

Needs numpy and torch, and for the peer `fbgemm` a fbgemm-gpu-cpu that goes with that torch (measured: torch 2.14.1 with 1.9.0). fastText
is built from source with its own makefile.

- torch: EmbeddingBag(mode="sum", sparse=True), bias, ReLU, Linear, BCEWithLogitsLoss, torch.optim.Adagrad.
- fbgemm: the same with fbgemm_gpu's table, whose AdaGrad is fused into the backward pass.
- fasttext: `supervised -loss ova`, a step an item; another net (the mean of rows, no hidden nonlinearity). Time of one epoch: of 2
  epochs without that of 1, which takes reading and its dictionary out.

Mini-batches of torch and fbgemm are made beforehand, without counting. Ours is counted with everything that an epoch does.
"""
import argparse, json, os, subprocess, sys, time
import numpy as np
import train_data

LR, EPS = 0.05, 1e-8
EPOCHS = {"W1": 2, "W1m": 3, "W2": 2, "W3": 2}


def dense(starts, ids, tags):
    y = np.zeros((len(starts) - 1, tags), np.float32)
    y[np.repeat(np.arange(len(starts) - 1), np.diff(starts)), ids] = 1
    return y


def quality(p, y):
    p = np.clip(p, 1e-6, 1 - 1e-6)
    return round(float(-np.where(y > 0, np.log(p), np.log1p(-p)).mean()), 5)


def worker(peer, folder, name, threads, batch):
    """Trains as told on standard input, see benches/epochs.rs."""
    import torch, torch.nn as nn
    torch.set_num_threads(threads)
    (keywords, hidden, tags, items, _), train, test = train_data.read(folder, name)
    mean = len(train[1]) / items
    loss = nn.BCEWithLogitsLoss(reduction="sum")
    rng = np.random.default_rng(5)
    fused = peer == "fbgemm"
    if fused:
        import fbgemm_gpu  # noqa: F401, loads the operators
        from fbgemm_gpu.split_embedding_configs import EmbOptimType
        from fbgemm_gpu.split_table_batched_embeddings_ops_common import EmbeddingLocation
        from fbgemm_gpu.split_table_batched_embeddings_ops_training import ComputeDevice, SplitTableBatchedEmbeddingBagsCodegen

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            if fused:
                table = [(int(keywords), int(hidden), EmbeddingLocation.HOST, ComputeDevice.CPU)]
                self.bag = SplitTableBatchedEmbeddingBagsCodegen(table, optimizer=EmbOptimType.EXACT_ADAGRAD, learning_rate=LR, eps=EPS)
                rows = self.bag.split_embedding_weights()[0]
            else:
                self.bag = nn.EmbeddingBag(keywords, hidden, mode="sum", sparse=True, include_last_offset=True)
                rows = self.bag.weight
            self.bias, self.out = nn.Parameter(torch.zeros(hidden)), nn.Linear(hidden, tags)
            with torch.no_grad():
                radius = (3 / mean) ** 0.5 * 0.5
                rows.uniform_(-radius, radius)
                self.out.weight.uniform_(-((1 / hidden) ** 0.5), (1 / hidden) ** 0.5)
                self.out.bias.fill_(-2.0)
            own = [self.bias, self.out.weight, self.out.bias] if fused else self.parameters()
            self.optimizer = torch.optim.Adagrad(own, lr=LR, eps=EPS)

        def forward(self, ids, starts):
            return self.out(torch.relu(self.bag(ids, starts) + self.bias))

    def batches(part, order, size):
        starts, ids, tag_starts, tag_ids = part
        for a in range(0, len(order), size):
            rows = order[a : a + size]
            pick = lambda s, i: np.concatenate([i[s[r] : s[r + 1]] for r in rows])
            ends = lambda s: np.concatenate([[0], np.cumsum(s[rows + 1] - s[rows])])
            y = dense(ends(tag_starts), pick(tag_starts, tag_ids), tags)
            yield torch.from_numpy(pick(starts, ids)), torch.from_numpy(ends(starts)), torch.from_numpy(y)

    def step(net, ids, starts, y):
        net.optimizer.zero_grad(set_to_none=True)
        (loss(net(ids, starts), y) / len(y)).backward()
        net.optimizer.step()

    def evaluate(net):
        with torch.no_grad():
            parts = [(torch.sigmoid(net(i, s)).numpy(), y.numpy()) for i, s, y in batches(test, np.arange(len(test[0]) - 1), 1000)]
        p, y = (np.concatenate(x) for x in zip(*parts))
        import resource
        return {"log_loss": quality(p, y), "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10}

    net, ready = Net(), list(batches(train, rng.permutation(items)[: batch * 150], batch))
    for line in sys.stdin:
        command, number = line.split()
        if command == "time":
            start, done = time.perf_counter(), 0
            while time.perf_counter() - start < float(number):
                step(net, *ready[done % len(ready)])
                done += 1
            answer = {"samples_per_second": done * batch / (time.perf_counter() - start)}
        else:
            net = Net()
            for _ in range(int(number)):
                for b in batches(train, rng.permutation(items), batch):
                    step(net, *b)
            answer = evaluate(net)
        print(json.dumps(answer), flush=True)


def fasttext_command(program, folder, name, epochs, model, threads, hidden):
    options = {"-input": f"{folder}/{name}.ft", "-output": model, "-loss": "ova", "-dim": hidden, "-lr": 0.1, "-epoch": epochs,
               "-thread": threads, "-minCount": 1, "-bucket": 0}
    start = time.perf_counter()
    subprocess.run([program, "supervised", *(str(x) for pair in options.items() for x in pair)], check=True, capture_output=True)
    return time.perf_counter() - start


def fasttext_quality(program, folder, name, model, test, tags):
    out = subprocess.run([program, "predict-prob", model + ".bin", f"{folder}/{name}.test.ft", "-1", "0"], check=True, capture_output=True, text=True).stdout
    p = np.full((len(test[0]) - 1, tags), 1e-6)
    for row, line in zip(p, out.splitlines()):
        words = line.split()
        for label, score in zip(words[::2], words[1::2]):
            if label != "__label__none":
                row[int(label[9:])] = float(score)
    return quality(p, dense(test[2], test[3], tags))


def measure(args, name):
    command = lambda peer: [sys.executable, __file__, args.folder, "--worker", peer, name]
    ours = [args.ours, f"{args.folder}/{name}.bin"]
    size = ["--threads", str(args.threads), "--batch", str(args.batch)]
    commands = {"ours": ours} | {peer: command(peer) for peer in args.peers}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    running = {peer: subprocess.Popen(c + size, **pipes) for peer, c in commands.items()}

    def ask(peer, line):
        running[peer].stdin.write(line + "\n")
        running[peer].stdin.flush()
        return json.loads(running[peer].stdout.readline())

    (_, hidden, tags, items, _), _, test = train_data.read(args.folder, name)
    rates = {peer: [] for peer in [*running, *(["fasttext"] if args.fasttext else [])]}
    model = f"{args.folder}/{name}.fasttext"
    for peer in running:
        ask(peer, f"time {args.seconds}")  # warm up
    for _ in range(args.rounds):
        for peer in rates:
            if peer == "fasttext":
                one, two = (fasttext_command(args.fasttext, args.folder, name, n, model, args.threads, hidden) for n in (1, 2))
                rates[peer].append(items / (two - one))
            else:
                rates[peer].append(ask(peer, f"time {args.seconds}")["samples_per_second"])
    for peer, found in rates.items():
        quotients = sorted(a / b for a, b in zip(rates["ours"], found))
        line = {"workload": name, "peer": peer, "threads": args.threads, "batch": args.batch, "samples_per_second": round(float(np.median(found))),
                "best": round(max(found)), "ours_times": round(float(np.median(quotients)), 2), "worst_round": round(quotients[0], 2)}
        if args.quality and peer == "fasttext":
            fasttext_command(args.fasttext, args.folder, name, 5, model, args.threads, hidden)
            line |= {"log_loss": fasttext_quality(args.fasttext, args.folder, name, model, test, tags)}
        elif args.quality:
            # Every training has another seed.
            trained = [ask(peer, f"train {EPOCHS[name]}") for _ in range(args.trainings)]
            losses = np.array([training["log_loss"] for training in trained])
            line |= trained[0] | {"log_loss": round(losses.mean(), 5)}
            if len(losses) > 1:
                line |= {"trainings": len(losses), "standard_error": round(losses.std(ddof=1) / len(losses) ** 0.5, 5)}
        print(json.dumps(line), flush=True)
    for process in running.values():
        process.stdin.close()
        process.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("names", nargs="*", default=list(train_data.WORKLOADS))
    parser.add_argument("--ours")
    parser.add_argument("--fasttext")
    parser.add_argument("--peers", type=lambda text: text.split(","), default=["torch", "fbgemm"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--quality", action="store_true", help="also train some epochs and score the test items")
    parser.add_argument("--trainings", type=int, default=1, help="for --quality, of all but fastText: the log-loss is their mean")
    parser.add_argument("--worker")
    args = parser.parse_intermixed_args()
    for name in args.names:
        if args.worker:
            worker(args.worker, args.folder, name, args.threads, args.batch)
        else:
            measure(args, name)
