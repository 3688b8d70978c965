"""Write torch_save.pt with the real torch, for the tests of the reader that replaces it."""

from pathlib import Path

import torch

counted = torch.arange(24, dtype=torch.float32)
module = torch.nn.Linear(3, 2)
with torch.no_grad():
    module.weight.copy_(torch.arange(6).reshape(2, 3))
    module.bias.copy_(torch.tensor([0.5, -0.5]))
state = module.state_dict()  # an OrderedDict with _metadata
state |= {
    "tied": state["weight"],
    "transposed": counted.reshape(4, 6).T,
    "sliced": counted[3:20:4],
    "bfloat16": torch.tensor([1.0, -2.5, 3.140625]).bfloat16(),
    "float16": torch.tensor([1.0, -2.5, 65504.0]).half(),
    "float64": torch.tensor([1e300], dtype=torch.float64),
    "int64": torch.tensor([[-1, 2**40]]),
    "bool": torch.tensor([True, False]),
    "scalar": torch.tensor(7.0),
    "empty": torch.zeros(0, 5),
    "parameter": torch.nn.Parameter(torch.ones(2)),
    "epoch": 3,
}
torch.save(state, Path(__file__).with_name("torch_save.pt"))
