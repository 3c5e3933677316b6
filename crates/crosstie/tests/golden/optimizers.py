"""Two steps of torch.optim for `optim::rule::tests`.  pip install torch==2.15.0"""
import torch

GRADIENTS = [[0.5, -0.1], [-0.2, -0.3]]
RULES = {
    "sgd": lambda w: torch.optim.SGD([w], lr=0.1),
    "adam": lambda w: torch.optim.Adam([w], lr=0.1),
    "adam l2": lambda w: torch.optim.Adam([w], lr=0.1, weight_decay=0.1),
    "adamw": lambda w: torch.optim.AdamW([w], lr=0.1, weight_decay=0.01),
    # Adagrad of PyTorch adds epsilon outside the root, as here.
    "adagrad": lambda w: torch.optim.Adagrad([w], lr=0.1, initial_accumulator_value=0.1, eps=1e-8),
}
for name, make in RULES.items():
    w = torch.tensor([1.0, -2.0], requires_grad=True)
    optimizer = make(w)
    for gradient in GRADIENTS:
        w.grad = torch.tensor(gradient)
        optimizer.step()
    print(name, [f"{x:.7f}" for x in w.tolist()])
