"""PCGrad of three conflicting gradients by TorchJD, for `balance::tests`.  pip install torch==2.15.0 torchjd==0.18.0

TorchJD draws the order of the other tasks; here every order that there is takes its turn.
The lines are what the test holds: which task meets the later of its two others first, and the sum.
"""
import itertools

import torch
from torchjd.aggregation import PCGrad

torch.set_default_dtype(torch.float64)
G = torch.tensor([[1.0, 2.0, -1.0, 0.5], [-2.0, -0.5, 1.0, 1.0], [0.5, -1.5, -1.5, -1.0]])
assert all(G[i] @ G[j] < 0 for i, j in itertools.combinations(range(3), 2))

for later_first in itertools.product([False, True], repeat=3):
    orders = iter([[2, 1, 0] if later else [0, 1, 2] for later in later_first])
    torch.randperm = lambda count: torch.tensor(next(orders))
    print(list(later_first), [round(x, 9) for x in PCGrad()(G).tolist()])
