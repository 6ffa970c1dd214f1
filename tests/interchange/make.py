"""Makes tagger.safetensors as a PyTorch user would, and expected.json: what the net answers, in float64.

    pip install numpy safetensors torch && python tests/interchange/make.py
"""

import copy
import json
import pathlib

import torch
from safetensors.torch import save_file


class Tagger(torch.nn.Module):
    def __init__(self, keywords, hidden, tags):
        super().__init__()
        self.embedding = torch.nn.EmbeddingBag(keywords, hidden, mode="sum", include_last_offset=True)
        self.hidden_bias = torch.nn.Parameter(torch.zeros(hidden))
        self.output = torch.nn.Linear(hidden, tags)

    def forward(self, ids, offsets):
        return torch.sigmoid(self.output(torch.relu(self.embedding(ids, offsets) + self.hidden_bias)))


here = pathlib.Path(__file__).parent
torch.manual_seed(7)
keywords, hidden, tags = 40, 12, 9
net = Tagger(keywords, hidden, tags)
items = [sorted(torch.randperm(keywords)[:n].tolist()) for n in (0, 1, 2, 5, 17)]
ids = torch.tensor([id for item in items for id in item])
offsets = torch.tensor([0, *torch.tensor([len(item) for item in items]).cumsum(0).tolist()])

# A few steps, so that its weights are what training leaves.
optimizer = torch.optim.Adagrad(net.parameters(), lr=0.1)
wanted = (torch.rand(len(items), tags) < 0.4).float()
for _ in range(20):
    optimizer.zero_grad()
    torch.nn.functional.binary_cross_entropy(net(ids, offsets), wanted).backward()
    optimizer.step()

names = {"keywords": [f"keyword {n}" for n in range(keywords)], "tags": [f"tag {n}" for n in range(tags)]}
save_file(net.state_dict(), here / "tagger.safetensors", metadata={"tagomatic": json.dumps(names)})
half = {**net.state_dict(), "embedding.weight": net.embedding.weight.detach().half()}
save_file(half, here / "nameless.safetensors")

expected = {"items": items}
for name, state in (("f32", net.state_dict()), ("f16", half)):
    exact = copy.deepcopy(net).double()
    exact.load_state_dict({key: value.double() for key, value in state.items()})
    expected[name] = exact(ids, offsets).tolist()
(here / "expected.json").write_text(json.dumps(expected) + "\n")
print(f"written by PyTorch {torch.__version__}")
