"""Makes the JSON files beside it, which tests/models compares with: numbers of the
authors' published code.

    pip install numpy==2.4.6 torch==2.15.0 fuxictr==2.1.3
    python make.py STEM.py mtl_lib.py

STEM.py     models/STEM.py of github.com/LiangcaiSu/STEM
            at 3551bcf6b8bf27f0a5d7e60888a2563aa26375b3, a model of FuxiCTR
mtl_lib.py  of github.com/facebookresearch/AdaTT
            at 0efdd821179029bbd599043e353841c1afd3fcfa

Nothing here says how a model computes. The script builds the authors' model, draws
its weights, lets it and torch make probabilities, losses and gradients in float64,
and writes these down under the names and in the shapes of our tensors.
"""

import importlib.util
import json
import pathlib
import sys
import tempfile

import numpy as np
import torch
from torch import nn

torch.set_default_dtype(torch.float64)
HERE = pathlib.Path(__file__).parent

TASKS = ["finish", "like", "share"]
FIELDS = {"user": 4, "item": 5}  # rows of their tables; the user's columns come first
WIDTH = 2
ROWS = {
    "user": [[0], [1], [2], [3], [1], [2], [0], [3]],
    "item": [[4], [0], [1], [3], [2], [2], [1], [0]],
    "labels": [[1, 0, 0], [0, 1, 0], [1, 1, 1], [0, 0, 0], [1, 0, 1], [0, 0, 1], [1, 1, 0], [0, 1, 1]],
}
COUNT = len(ROWS["labels"])
LABELS = torch.tensor(ROWS["labels"], dtype=torch.float64)
IDS = {field: torch.tensor(ROWS[field])[:, 0] for field in FIELDS}


def instance():
    tasks = "".join(f'[[task]]\nname = "{task}"\n' for task in TASKS)
    field = '[[field]]\nname = "{0}"\nkind = "categorical"\nside = "{0}"\nwidth = {1}\n'
    return {
        "schema": tasks + "".join(field.format(name, WIDTH) for name in FIELDS),
        "layout": {
            "tasks": TASKS,
            "tables": [{"name": name, "rows": rows, "width": WIDTH} for name, rows in FIELDS.items()],
            "embedded": [
                {"name": name, "table": table, "pooling": "mean", "side": name, "role": "main"}
                for table, name in enumerate(FIELDS)
            ],
            "dense": [],
            "scenarios": ["other"],
        },
        "rows": ROWS | {"weights": [1.0] * COUNT, "scenarios": [0] * COUNT},
    }


def module(path):
    spec = importlib.util.spec_from_file_location(pathlib.Path(path).stem, path)
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = loaded
    spec.loader.exec_module(loaded)
    return loaded


def draw(model):
    """Weights in steps of 1/32, so that float32 holds them exactly; none near 0."""
    random = np.random.default_rng(20)
    for parameter in model.parameters():
        drawn = random.normal(0.0, 0.5, tuple(parameter.shape))
        size = np.ceil(np.abs(drawn) * 32) / 32 + 0.25
        parameter.data = torch.tensor(np.sign(drawn) * size)


def linears(network):
    return [layer for layer in network.modules() if isinstance(layer, nn.Linear)]


class Ours:
    """What `of` takes of the authors' parameters, by the names of our tensors."""

    def __init__(self, of):
        self.of, self.tensors = of, {}

    def put(self, name, tensor):
        self.tensors[name] = {"shape": list(tensor.shape), "values": rounded(tensor)}

    def networks(self, name, families, layers=True):
        """Families of networks; those of a family read the same input. Their first
        layers stand side by side in one matrix, later ones apart."""
        families = [[linears(network) for network in family] for family in families]
        turned = lambda layer: self.of(layer.weight).T
        for index in range(len(families[0][0])):
            own = f"{name}.{index}" if layers else name
            if index == 0:
                weights = [torch.cat([turned(network[0]) for network in family], dim=1) for family in families]
            else:
                weights = [turned(network[index]) for family in families for network in family]
            self.put(f"{own}.weight", torch.stack(weights))
            biases = [self.of(network[index].bias) for family in families for network in family]
            self.put(f"{own}.bias", torch.cat(biases))


def rounded(values):
    """Eight digits: what float32 tells apart."""
    return [float(f"{value:.8g}") + 0.0 for value in values.detach().flatten().tolist()]


# --------------------------------------------------------------------- STEM-Net


def stem(code, settings):
    from fuxictr.features import FeatureMap

    features = FeatureMap("authors", ".")
    features.features.update({name: {"type": "categorical", "vocab_size": rows} for name, rows in FIELDS.items()})
    features.num_fields, features.labels = len(FIELDS), TASKS
    features.column_index = {name: place for place, name in enumerate(FIELDS)}
    (units,) = {tuple(units) for units in settings["levels"]}
    model = code.STEM(
        features,
        task=["binary_classification"] * len(TASKS),
        num_tasks=len(TASKS),
        embedding_dim=WIDTH,
        num_layers=len(settings["levels"]),
        num_shared_experts=settings["shared_experts"],
        num_specific_experts=settings["task_experts"],
        expert_hidden_units=list(units),
        gate_hidden_units=settings["gate_units"],
        tower_hidden_units=settings["tower_units"],
        optimizer="adam",
        loss="binary_crossentropy",
        metrics=["AUC"],
        verbose=0,
        model_root=tempfile.gettempdir(),
    )
    draw(model)
    answers = model(torch.stack([*IDS.values()], dim=1))
    p = torch.cat([answers[f"{task}_pred"] for task in TASKS], dim=1)
    tables = model.embedding_layer.embedding_layer.embedding_layers

    def ours(of):
        tensors = Ours(of)
        for name in FIELDS:
            # Theirs is one table, cut into the tasks' parts and then the shared one.
            *own, shared = of(tables[name].weight).split(WIDTH, dim=1)
            for number, part in enumerate([shared, *own]):
                tensors.put(f"embedding.{number}.{name}", part)
        for level, layer in enumerate(model.stem_layers):
            name = f"level.{level}."
            tensors.networks(name + "task_expert", [list(experts) for experts in layer.specific_experts])
            tensors.networks(name + "shared_expert", [list(layer.shared_experts)])
            *gates, shared_gate = layer.gate
            tensors.networks(name + "gate", [[gate] for gate in gates])
            if level + 1 < len(model.stem_layers):
                tensors.networks(name + "shared_gate", [[shared_gate]])
        tensors.networks("tower", [[tower] for tower in model.tower])
        return tensors.tensors

    return p, ours


# ------------------------------------------------------------------------ AdaTT


def adatt(code, settings):
    configs = code.MtlConfigs(
        mtl_model="att_sp", num_task_experts=settings["task_experts"], expert_out_dims=settings["levels"]
    )
    opts = code.ArchInputs(num_task=len(TASKS), task_mlp=settings["tower_units"], mtl_configs=configs)
    tables = nn.ModuleDict({name: nn.Embedding(rows, WIDTH) for name, rows in FIELDS.items()})
    model = code.CentralTaskArch(configs, opts, WIDTH * len(FIELDS))
    draw(nn.ModuleList([tables, model]))
    embedded = torch.cat([tables[name](ids) for name, ids in IDS.items()], dim=1)
    p = torch.sigmoid(torch.cat(model(embedded), dim=1))

    def ours(of):
        tensors, own = Ours(of), settings["task_experts"]
        for name in FIELDS:
            tensors.put(f"embedding.{name}", of(tables[name].weight))
        for level, (experts, gates) in enumerate(zip(model.mtl_arch.experts, model.mtl_arch.gate_weights)):
            of_tasks = [list(experts)[start : start + own] for start in range(0, len(experts), own)]
            name = f"level.{level}."
            tensors.networks(name + "expert", [list(experts)] if level == 0 else of_tasks)
            gates = [list(gates)] if level == 0 else [[gate] for gate in gates]
            tensors.networks(name + "gate", gates, layers=False)
        for level, weights in enumerate(model.mtl_arch.self_exp_weights):
            tensors.put(f"level.{level}.native.weight", of(weights))
        tensors.networks("tower", [[tower] for tower in model.task_modules])
        return tensors.tensors

    return p, ours


# -------------------------------------------------------------------- the files

CASES = {
    "stem": (
        stem,
        {"task_experts": 2, "shared_experts": 2, "levels": [[3, 2]], "gate_units": [3], "tower_units": [2]},
    ),
    "stem-levels": (
        stem,
        {"task_experts": 1, "shared_experts": 2, "levels": [[3], [3]], "gate_units": [2, 2], "tower_units": [2]},
    ),
    "adatt": (adatt, {"task_experts": 2, "levels": [[3], [3, 2]], "tower_units": [2]}),
    "adatt-single": (adatt, {"task_experts": 1, "levels": [[3], [2]], "tower_units": [2]}),
}


def case(run, code, settings):
    p, ours = run(code, settings)
    losses = nn.functional.binary_cross_entropy(p, LABELS, reduction="none")
    losses.mean(dim=0).sum().backward()
    # A model may have parameters that nothing reads.
    zero = lambda parameter: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
    outcome = {
        "objective": 'space = "parent"\n',
        "heads": TASKS,
        "losses": rounded(losses.sum(dim=0)),
        "given": rounded(p),
        "joint": rounded(p),
        "gradients": {name: tensor["values"] for name, tensor in ours(zero).items()},
    }
    config = f'[network]\nactivation = "relu"\ndropout = 0.0\n[model]\nname = "{run.__name__}"\n'
    return {
        "config": config + "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items()),
        "tensors": ours(lambda parameter: parameter.data),
        "logits": rounded(torch.log(p) - torch.log1p(-p)),
        "objectives": [outcome],
    }


def write(name, content):
    """One key a line, so that a change is seen where it happened."""

    def lines(value, depth):
        if depth == 0 or not isinstance(value, dict):
            return json.dumps(value, separators=(",", ":"))
        return "{\n" + ",\n".join(f"{json.dumps(key)}: {lines(item, depth - 1)}" for key, item in value.items()) + "\n}"

    (HERE / f"{name}.json").write_text(lines(content, 2) + "\n")


if __name__ == "__main__":
    codes = {stem: module(sys.argv[1]), adatt: module(sys.argv[2])}
    write("instance", instance())
    for name, (run, settings) in CASES.items():
        write(name, case(run, codes[run], settings))
