"""Makes the JSON files beside it, which tests/models compares with.

    pip install numpy==2.4.6 jax==0.10.2
    python make.py

Every model is written from its paper's equations in float64: experts, gates
and towers one at a time, probabilities multiplied as probabilities. Only where
a network's weights stand in our tensors (`Tensors`) follows the Rust code.

To add a model: a function (tensors, heads, settings) -> one logit column per
head, a line in MODELS, and a line in CASES; if it has losses beside those of
the tasks, or weighs these, a function in LOSSES too.
"""

import itertools
import json
import math
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_enable_x64", True)
HERE = pathlib.Path(__file__).parent

# ---------------------------------------------------------------- the instance

SCHEMA = """
scenario = "tab"
weight = "weight"

[[task]]
name = "click"

[[task]]
name = "cart"
after = "click"
weight = 2.0

[[task]]
name = "buy"
after = "cart"

[[task]]
name = "like"
after = "click"
direct = true
weight = 0.5

[[field]]
name = "item"
kind = "categorical"
table = "items"
side = "item"
width = 2

[[field]]
name = "position"
kind = "categorical"
role = "bias"
width = 1

[[field]]
name = "seen"
kind = "multi"
table = "items"
side = "user"
width = 2

[[field]]
name = "user"
kind = "categorical"
side = "user"
width = 3

[[field]]
name = "price"
kind = "numeric"

[[field]]
name = "age"
kind = "numeric"
side = "user"
"""

LAYOUT = {
    "tasks": ["click", "cart", "buy", "like"],
    "tables": [
        {"name": "items", "rows": 6, "width": 2},
        {"name": "position", "rows": 4, "width": 1},
        {"name": "user", "rows": 5, "width": 3},
    ],
    "embedded": [
        {"name": "item", "table": 0, "pooling": "mean", "side": "item", "role": "main"},
        {"name": "position", "table": 1, "pooling": "mean", "side": "context", "role": "bias"},
        {"name": "seen", "table": 0, "pooling": "mean", "side": "user", "role": "main"},
        {"name": "user", "table": 2, "pooling": "mean", "side": "user", "role": "main"},
    ],
    "dense": [
        {"name": "price", "width": 1, "side": "context", "role": "main"},
        {"name": "age", "width": 1, "side": "user", "role": "main"},
    ],
    "scenarios": ["other", "home", "search"],
}

N = None  # a missing label
ROWS = {
    "item": [[2], [3], [4], [5], [2], [0], [1], [3], [5], [4], [2]],
    "position": [[2], [3], [2], [1], [3], [2], [2], [3], [0], [2], [3]],
    "seen": [[], [2, 3], [4], [5, 5, 2], [3], [], [2, 4, 5], [0], [1], [3, 4], [2]],
    "user": [[2], [3], [4], [2], [0], [3], [4], [2], [1], [3], [2]],
    "price": [0.5, -1.25, 2.0, 0.0, 1.5, -0.75, 0.25, 1.0, -2.0, 0.75, -0.5],
    "age": [-0.5, 1.0, 0.25, -1.5, 2.0, 0.5, -0.25, 1.25, 0.0, -1.0, 0.75],
    # click, cart, buy, like; likes also happen without a click.
    "labels": [
        [1, 1, 1, 1],
        [1, 1, 0, 0],
        [1, 0, 0, 1],
        [0, 0, 0, 1],
        [0, 0, 0, 0],
        [N, 1, 0, 1],
        [1, N, N, N],
        [0, N, N, 0],
        [1, 0, N, 0],
        [1, 1, N, 1],
        [N, N, N, N],
    ],
    "weights": [1.0, 2.0, 0.5, 1.0, 1.5, 1.0, 0.75, 1.0, 0.0, 1.25, 1.0],
    "scenarios": [0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2],
}
COUNT = len(ROWS["labels"])

# (name, parent, weight, direct), parents first
TASKS = [
    ("click", None, 1.0, False),
    ("cart", "click", 2.0, False),
    ("buy", "cart", 1.0, False),
    ("like", "click", 0.5, True),
]

# A forest with two roots, in which an action's label may be missing where what goes by way of it is known.
FOREST = {
    "tasks": [
        ("click", None, 1.0, False),
        ("cart", "click", 2.0, False),
        ("like", "click", 0.5, True),
        ("visit", None, 0.75, False),
        ("share", "visit", 1.5, False),
    ],
    "labels": [
        [1, 1, 1, 1, 1],
        [1, N, 1, 1, 0],
        [1, N, 0, 0, 0],
        [0, 0, 1, 1, 1],
        [0, N, 0, 0, N],
        [N, 1, 1, N, 1],
        [N, N, 1, 1, N],
        [1, 0, N, N, N],
        [1, 1, 0, 0, 0],
        [1, 0, 1, 1, 1],
        [N, N, N, 0, 0],
    ],
}


def plant_forest():
    """From here on the instance has the tasks and labels of the forest."""
    global SCHEMA, TASKS
    TASKS, ROWS["labels"], LAYOUT["tasks"] = FOREST["tasks"], FOREST["labels"], [name for name, *_ in FOREST["tasks"]]
    schema = 'scenario = "tab"\nweight = "weight"\n'
    for name, parent, weight, direct in TASKS:
        schema += f'\n[[task]]\nname = "{name}"\n' + (f'after = "{parent}"\n' if parent else "")
        schema += ("direct = true\n" if direct else "") + (f"weight = {weight}\n" if weight != 1.0 else "")
    SCHEMA = schema + "\n" + SCHEMA[SCHEMA.index("[[field]]") :]


# Spaces that differ from the objective's own.
OBJECTIVES = {
    "parent": {},
    "product": {},
    "impression": {},
    "path": {},
    "mixed": {"cart": "impression", "buy": "product", "like": "product"},
    "by-cart": {},
    "triplet": {},
    "triplet-in-part": {},
}

# Which task goes by way of which sibling action.
BY_CART = {"like": "cart"}

# The triplet term, and which tasks have it.
TRIPLETS = {
    "triplet": {"weight": 0.75, "margin": 1.5, "width": 3},
    "triplet-in-part": {"weight": 0.5, "margin": 0.5, "width": 2, "tasks": ["like"]},
}


def spaces(objective):
    base = {
        "mixed": "parent",
        "by-cart": "product",
        "triplet": "parent",
        "triplet-in-part": "product",
    }.get(objective, objective)
    return {name: OBJECTIVES[objective].get(name, base) for name, *_ in TASKS}


def objective_toml(objective):
    if objective == "by-cart":
        return 'space = "product"\n[via]\nlike = "cart"\n'
    if objective in TRIPLETS:
        settings = "".join(f"{key} = {toml(value)}\n" for key, value in TRIPLETS[objective].items())
        return f'space = "{spaces(objective)["click"]}"\n[triplet]\n{settings}'
    if objective != "mixed":
        return f'space = "{objective}"\n'
    lines = [f'{task} = "{space}"\n' for task, space in OBJECTIVES[objective].items()]
    return 'space = "parent"\n[spaces]\n' + "".join(lines)


# ------------------------------------------------------- tensors and networks


class Tensors:
    """Numbers by tensor name. While the instance is made, an unknown name is
    drawn at random, in steps of 1/32 so that float32 holds it exactly."""

    def __init__(self, style, values=None, training=True):
        self.style, self.training, self.priors = style, training, None
        self.drawing = values is None
        self.values = {} if values is None else values
        self.random = np.random.default_rng(20)

    def get(self, name, shape, positive=False):
        if self.drawing and name not in self.values:
            drawn = self.random.normal(0.0, 0.5, shape)
            # Far from zero, lest batch norm divides by a variance of nothing.
            size = np.ceil(np.abs(drawn) * 32) / 32 + 0.25
            self.values[name] = size if positive else np.sign(drawn) * size
        assert self.values[name].shape == tuple(shape), (name, shape)
        return self.values[name]


    def mask(self, name, shape):
        """Zeros and ones, of which the script learns nothing."""
        if self.drawing:
            self.values[name] = self.random.integers(0, 2, shape).astype(float)
        return self.values[name]


class OfScenario:
    """The tensors of one scenario that has networks of its own: each has a block per scenario, but for the
    norms, which all scenarios share."""

    def __init__(self, tensors, scenario):
        self.tensors, self.scenario = tensors, scenario
        self.style, self.training = tensors.style, tensors.training

    def get(self, name, shape, positive=False):
        if ".norm." in name:
            return self.tensors.get(name, shape, positive)
        return self.tensors.get(name, (len(LAYOUT["scenarios"]), *shape), positive)[self.scenario]


class WithResidual(OfScenario):
    """The tensors of all scenarios, with what the scenario adds to them: to weights a
    product of rank `rank`, a matrix where that has no fewer numbers; to biases a shift."""

    def __init__(self, tensors, scenario, rank):
        super().__init__(tensors, scenario)
        self.rank = rank

    def get(self, name, shape, positive=False):
        common = self.tensors.get(name, shape, positive)
        if ".norm." in name:
            return common
        layer, kind = name.rsplit(".", 1)
        own = lambda part, shape: super(WithResidual, self).get(f"{layer}.residual.{part}", shape)
        if kind == "bias":
            return common + own("shift", shape)
        groups, inputs, outputs = shape
        if self.rank == 0:
            return common
        if self.rank * (inputs + outputs) >= inputs * outputs:
            return common + own("weight", shape)
        down, up = own("down", (groups, inputs, self.rank)), own("up", (groups, self.rank, outputs))
        return common + down @ up


class Place:
    """Which of several networks that stand side by side in one tensor: one of
    `members` that read the same input, in one of `families` of them."""

    def __init__(self, member=0, members=1, family=0, families=1):
        self.member, self.members, self.family, self.families = member, members, family, families

    def of_layer(self, index):
        """(group, groups, slot, slots): the first layers of a family are one
        matrix with a slot of columns each; later layers are matrices apart."""
        if index == 0:
            return self.family, self.families, self.member, self.members
        return self.family * self.members + self.member, self.families * self.members, 0, 1


def affine(tensors, name, x, width, place, index):
    group, groups, slot, slots = place.of_layer(index)
    weight = tensors.get(f"{name}.{index}.weight", (groups, x.shape[1], slots * width))
    bias = tensors.get(f"{name}.{index}.bias", (groups * slots * width,))
    own = slice((group * slots + slot) * width, (group * slots + slot + 1) * width)
    return x @ weight[group][:, slot * width : (slot + 1) * width] + bias[own], own, groups * slots * width


def activation(kind, x):
    return {
        "relu": lambda: jnp.where(x > 0, x, 0.0),
        "leaky-relu": lambda: jnp.where(x > 0, x, 0.01 * x),
        "tanh": lambda: jnp.tanh(x),
        "sigmoid": lambda: 1 / (1 + jnp.exp(-x)),
    }[kind]()


def normalise(tensors, name, x, own, total, moving=None):
    """Ba et al. 2016 over the layer's units; Ioffe and Szegedy 2015 over the batch."""
    kind = tensors.style["norm"]
    if kind == "none":
        return x
    gamma = tensors.get(f"{name}.norm.scale", (total,), positive=True)[own]
    beta = tensors.get(f"{name}.norm.shift", (total,))[own]
    if kind == "layer":
        mean = x.mean(axis=1, keepdims=True)
        variance = ((x - mean) ** 2).mean(axis=1, keepdims=True)
    else:
        moving = moving or f"{name}.norm"
        mean = tensors.get(f"{moving}.mean", (total,))[own]
        variance = tensors.get(f"{moving}.variance", (total,), positive=True)[own]
        if tensors.training:
            mean, variance = x.mean(axis=0), x.var(axis=0)
    return gamma * (x - mean) / jnp.sqrt(variance + 1e-5) + beta


def network(tensors, name, x, units, place):
    for index, width in enumerate(units):
        x, own, total = affine(tensors, name, x, width, place, index)
        x = activation(tensors.style["activation"], normalise(tensors, f"{name}.{index}", x, own, total))
    return x


def tower(tensors, name, x, units, place, gated=True):
    """A network that ends in one logit. Where towers are gated, those that read
    the same input stand apart in our tensors, as others do."""
    if not gated or "gating" not in tensors.style:
        hidden = network(tensors, name, x, units, place)
        return affine(tensors, name, hidden, 1, place, len(units))[0][:, 0]
    place = Place(family=place.family + place.member, families=place.families * place.members)
    for index, width in enumerate(units + [1]):
        x = personal_gate(tensors, name, index, x, [x.shape[1]] * place.families, place.family) * x
        x, own, total = affine(tensors, name, x, width, place, index)
        if index < len(units):
            x = activation(tensors.style["activation"], normalise(tensors, f"{name}.{index}", x, own, total))
    return x[:, 0]


def gate_unit(tensors, name, priors, hidden, width):
    """AEM2TL (10), (11)."""
    h1 = activation("relu", affine(tensors, name, priors, hidden, Place(), 0)[0])
    return 2 * activation("sigmoid", affine(tensors, name, h1, width, Place(), 1)[0])


def personal_gate(tensors, towers, layer, x, widths, which):
    """AEM2TL (12): the factors for one tower's input; `widths` are those of all
    the towers that share a gate unit."""
    gating, priors = tensors.style["gating"], tensors.priors
    vectors = tensors.get(f"{priors['scenario']}.weight", (len(LAYOUT["scenarios"]), gating["scenario_width"]))
    scenario = vectors[jnp.array(ROWS["scenarios"])]
    h0 = jnp.concatenate([priors["user"], priors["item"], scenario, jax.lax.stop_gradient(priors["x"])], axis=1)
    name = f"personal_gate.{layer}" if towers == "tower" else f"{towers}.personal_gate.{layer}"
    start = sum(widths[:which])
    return gate_unit(tensors, name, h0, gating["units"], sum(widths))[:, start : start + widths[which]]


def gate(tensors, name, x, sizes, which, family=0, families=1, bias=False):
    """softmax(x W [+ b]). W holds the gates of `sizes` side by side."""
    weight = tensors.get(f"{name}.weight", (families, x.shape[1], sum(sizes)))[family]
    start = sum(sizes[:which])
    own = slice(start, start + sizes[which])
    exponents = jnp.exp(x @ weight[:, own] + (tensors.get(f"{name}.bias", (sum(sizes),))[own] if bias else 0.0))
    return exponents / exponents.sum(axis=1, keepdims=True)


def family_gate(tensors, name, x, size, family, families):
    """softmax(x W + b) of one of several gates that each read an input of their own."""
    weight = tensors.get(f"{name}.weight", (families, x.shape[1], size))[family]
    bias = tensors.get(f"{name}.bias", (families * size,))[family * size : (family + 1) * size]
    exponents = jnp.exp(x @ weight + bias)
    return exponents / exponents.sum(axis=1, keepdims=True)


def mixture(weights, experts):
    return sum(weights[:, i : i + 1] * expert for i, expert in enumerate(experts))


# ----------------------------------------------------------------- the fields


def embedded(tensors, field, prefix):
    about = next(about for about in LAYOUT["embedded"] if about["name"] == field)
    table = LAYOUT["tables"][about["table"]]
    weights = tensors.get(f"{prefix}.{table['name']}", (table["rows"], table["width"]))
    rows = []
    for ids in ROWS[field]:
        vectors = [weights[i] for i in ids]
        rows.append(sum(vectors) / len(vectors) if vectors else jnp.zeros(table["width"]))
    return jnp.stack(rows)


def fields(tensors, prefix="embedding"):
    """The user's, the item's and the context's main fields; the bias fields."""
    numbers = {name: jnp.array(ROWS[name])[:, None] for name in ("price", "age")}
    # Tables are drawn in the layout's order.
    item, position, seen, user = (embedded(tensors, name, prefix) for name in ("item", "position", "seen", "user"))
    x = jnp.concatenate([seen, user, numbers["age"], item, numbers["price"]], axis=1)
    # Gates know the fields that their model looked up last.
    index = prefix.removeprefix("embedding").removeprefix(".")
    scenario = f"scenario.{index}" if index not in ("", "0") else "scenario"
    tensors.priors = {"user": x[:, :6], "item": x[:, 6:8], "scenario": scenario, "x": x}
    return x, position


def add_bias(tensors, name, position, logits):
    """Calibration4CVR's baseline: a shallow tower of the bias fields is added."""
    heads = len(logits)
    towers = [tower(tensors, name, position, [16], Place(k, heads), gated=False) for k in range(heads)]
    return [logit + bias for logit, bias in zip(logits, towers)]


# ----------------------------------------------------------------- the models


def single_task(tensors, heads, settings):
    logits = []
    for index, (task, *_) in enumerate(TASKS):
        of_task = [head for head in heads if head["task"] == task]
        e, position = fields(tensors, f"embedding.{index}")
        places = [Place(k, len(of_task)) for k in range(len(of_task))]
        own = [tower(tensors, f"network.{task}", e, settings["units"], place) for place in places]
        logits += add_bias(tensors, f"bias.{task}", position, own)
    return logits


def shared_bottom(tensors, heads, settings):
    e, position = fields(tensors)
    h = network(tensors, "bottom", e, settings["bottom_units"], Place())
    logits = [tower(tensors, "tower", h, settings["tower_units"], Place(k, len(heads))) for k in range(len(heads))]
    return add_bias(tensors, "bias", position, logits)


def esmm(tensors, heads, settings):
    e, position = fields(tensors)
    logits = [tower(tensors, "network", e, settings["units"], Place(k, len(heads))) for k in range(len(heads))]
    return add_bias(tensors, "bias", position, logits)


def mmoe(tensors, heads, settings, table="embedding", prefix=""):
    e, position = fields(tensors, table)
    count, logits = settings["experts"], []
    experts = [network(tensors, prefix + "expert", e, settings["expert_units"], Place(i, count)) for i in range(count)]
    for k in range(len(heads)):
        f = mixture(gate(tensors, prefix + "gate", e, [count] * len(heads), k), experts)
        logits.append(tower(tensors, prefix + "tower", f, settings["tower_units"], Place(family=k, families=len(heads))))
    return add_bias(tensors, prefix + "bias", position, logits)


def ple(tensors, heads, settings):
    e, position = fields(tensors)
    tasks, m, n = len(heads), settings["task_experts"], settings["shared_experts"]
    own_input, shared_input = [e] * tasks, e
    for level, units in enumerate(settings["levels"]):
        name = f"level.{level}."
        own = {}
        for k in range(tasks):
            for i in range(m):
                if level == 0:
                    own[k, i] = network(tensors, name + "expert", e, units, Place(k * m + i, tasks * m + n))
                else:
                    own[k, i] = network(tensors, name + "task_expert", own_input[k], units, Place(i, m, k, tasks))
        if level == 0:
            shared = [network(tensors, name + "expert", e, units, Place(tasks * m + i, tasks * m + n)) for i in range(n)]
        else:
            shared = [network(tensors, name + "shared_expert", shared_input, units, Place(i, n)) for i in range(n)]
        mixed = []
        for k in range(tasks):
            if level == 0:
                g = gate(tensors, name + "gate", e, [m + n] * tasks, k)
            else:
                g = gate(tensors, name + "gate", own_input[k], [m + n], 0, k, tasks)
            mixed.append(mixture(g, [own[k, i] for i in range(m)] + shared))
        if level + 1 < len(settings["levels"]):
            every = [own[k, i] for k in range(tasks) for i in range(m)] + shared
            shared_input = mixture(gate(tensors, name + "shared_gate", shared_input, [len(every)], 0), every)
        own_input = mixed
    units = settings["tower_units"]
    logits = [tower(tensors, "tower", own_input[k], units, Place(family=k, families=tasks)) for k in range(tasks)]
    return add_bias(tensors, "bias", position, logits)


def cgc(tensors, heads, settings):
    return ple(tensors, heads, settings | {"levels": [settings["expert_units"]]})


def adatt(tensors, heads, settings):
    e, position = fields(tensors)
    tasks, m = len(heads), settings["task_experts"]
    x = [e] * tasks
    for level, units in enumerate(settings["levels"]):
        name, experts = f"level.{level}.", {}
        for k in range(tasks):
            for i in range(m):
                # What reads e stands side by side in our tensors.
                place = Place(k * m + i, tasks * m) if level == 0 else Place(i, m, k, tasks)
                experts[k, i] = network(tensors, name + "expert", x[k], units, place)
        fused = []
        for k in range(tasks):
            if level == 0:
                weights = gate(tensors, name + "gate", e, [tasks * m] * tasks, k, bias=True)
            else:
                weights = family_gate(tensors, name + "gate", x[k], tasks * m, k, tasks)
            own = [experts[k, i] for i in range(m)]
            if m > 1:
                v = tensors.get(name + "native.weight", (tasks, m))[k]
                native = sum(v[i] * own[i] for i in range(m))
            else:
                native = own[0]
            fused.append(mixture(weights, list(experts.values())) + native)
        x = fused
    units = settings["tower_units"]
    logits = [tower(tensors, "tower", x[k], units, Place(family=k, families=tasks)) for k in range(tasks)]
    return add_bias(tensors, "bias", position, logits)


def stem(tensors, heads, settings):
    shared, position = fields(tensors, "embedding.0")
    own = {task: fields(tensors, f"embedding.{index + 1}")[0] for index, (task, *_) in enumerate(TASKS)}
    # Gates of towers know the fields that all tasks share.
    fields(tensors, "embedding.0")
    x = [own[head["task"]] for head in heads]
    tasks, m, n = len(heads), settings["task_experts"], settings["shared_experts"]
    stop = jax.lax.stop_gradient if settings.get("stop_gradient", True) else lambda expert: expert

    def gates(name, read, size, k=0, families=1):
        hidden = network(tensors, name, read, settings["gate_units"], Place(family=k, families=families))
        return family_gate(tensors, f"{name}.{len(settings['gate_units'])}", hidden, size, k, families)

    for level, units in enumerate(settings["levels"]):
        name = f"level.{level}."
        of_tasks = [
            [network(tensors, name + "task_expert", x[k], units, Place(i, m, k, tasks)) for i in range(m)]
            for k in range(tasks)
        ]
        of_all = [network(tensors, name + "shared_expert", shared, units, Place(i, n)) for i in range(n)]
        size, mixed = tasks * m + n, []
        for k in range(tasks):
            known = []
            for j in range(tasks):
                same = heads[j]["task"] == heads[k]["task"]
                known += of_tasks[j] if same else [stop(expert) for expert in of_tasks[j]]
            mixed.append(mixture(gates(name + "gate", x[k] + shared, size, k, tasks), known + of_all))
        if level + 1 < len(settings["levels"]):
            shared = mixture(gates(name + "shared_gate", shared, size), sum(of_tasks, []) + of_all)
        x = mixed
    units = settings["tower_units"]
    logits = [tower(tensors, "tower", x[k], units, Place(family=k, families=tasks)) for k in range(tasks)]
    return add_bias(tensors, "bias", position, logits)


def parent_of(task):
    return next(parent for name, parent, *_ in TASKS if name == task)


def depth(task):
    return 0 if parent_of(task) is None else 1 + depth(parent_of(task))


def softmax(columns):
    exponents = [jnp.exp(column) for column in columns]
    return [exponent / sum(exponents) for exponent in exponents]


def aitm(tensors, heads, settings):
    e, position = fields(tensors)
    units, z = settings["bottom_units"], {}
    k = units[-1]
    for index in sorted(range(len(heads)), key=lambda index: depth(heads[index]["task"])):
        task = heads[index]["task"]
        q = network(tensors, "bottom", e, units, Place(index, len(heads)))
        if parent_of(task) is None:
            z[index] = q
            continue
        # In our tensors the heads of one depth stand side by side.
        level = depth(task)
        peers = [other for other in range(len(heads)) if depth(heads[other]["task"]) == level]
        place, count = peers.index(index), len(peers)
        sender = next(other for other in range(len(heads)) if heads[other]["task"] == parent_of(task))
        p = network(tensors, f"transfer.{level}", z[sender], [k], Place(family=place, families=count))
        maps = [tensors.get(f"attention.{level}.h{i}.weight", (count, k, k))[place] for i in (1, 2, 3)]
        scores = [((u @ maps[0]) * (u @ maps[1])).sum(axis=1) / np.sqrt(k) for u in (p, q)]
        weights = softmax(scores)
        z[index] = weights[0][:, None] * (p @ maps[2]) + weights[1][:, None] * (q @ maps[2])
    count = len(heads)
    places = [Place(family=index, families=count) for index in range(count)]
    logits = [tower(tensors, "tower", z[index], settings["tower_units"], places[index]) for index in range(count)]
    return add_bias(tensors, "bias", position, logits)


def aitm_losses(space, heads, ways, logits, settings):
    asked, _, joint = objective(space, logits, heads, ways)
    terms = []
    for task, parent, _, direct in TASKS:
        if parent is not None and not direct and space[task] == "impression":
            above = jnp.maximum(joint[task] - joint[parent], 0.0)
            terms.append((f"calibrator {task}", settings["calibrator"], above))
    return {task: losses(asked[task]) for task in asked}, terms


class Logits(list):
    """The logits that score, and beside them those of EKTM's original heads and of its shared networks."""

    original, shared = None, ()


def ektm_of_logits(tensors, heads, settings):
    transmitter, count = settings["transmitter"], len(heads)
    original = single_task(tensors, heads, {"units": settings["bottom_units"]})
    known = jax.lax.stop_gradient(jnp.stack(original, axis=1))
    hidden = [network(tensors, "transmitter", known, transmitter["units"], Place(h, count)) for h in range(count)]
    weight = tensors.get("enhanced_tower.weight", (count, transmitter["units"][-1], 1))
    bias = tensors.get("enhanced_tower.bias", (count,))
    shares = tensors.get("shrinkage", (count,))
    gain = settings["enhanced"]["gain"]
    added = [shares[h] * (hidden[h] @ weight[h, :, 0] + bias[h]) for h in range(count)]
    alone = [known[:, h] + gain * added[h] for h in range(count)]
    if not settings["shared"]["enabled"]:
        logits = Logits(alone)
        logits.original = original
        return logits
    shared = settings["shared"]
    several = [
        mmoe(tensors, heads, shared, f"embedding.{len(TASKS) + n}", f"shared.{n + 1}." if shared["networks"] > 1 else "shared.")
        for n in range(shared["networks"])
    ]
    common = [sum(logits[h] for logits in several) / len(several) for h in range(count)]
    taken = tensors.get("share", (count,))
    logits = Logits((1 - taken[h]) * alone[h] + taken[h] * common[h] for h in range(count))
    logits.original, logits.alone, logits.shared = original, alone, several
    return logits


def ektm(tensors, heads, settings):
    if settings["transfer"] == "logits":
        return ektm_of_logits(tensors, heads, settings)
    tables = settings["tables"]
    e, position = fields(tensors, "embedding" if tables == "shared" else "embedding.0")
    router, transmitter, enhanced = settings["router"], settings["transmitter"], settings["enhanced"]
    clicks = [index for index, head in enumerate(heads) if parent_of(head["task"]) is None]
    conversions = [index for index in range(len(heads)) if index not in clicks]
    count, units = len(conversions), settings["tower_units"]
    given = jax.lax.stop_gradient if transmitter["stop_gradient"] else lambda x: x
    norm = lambda x: jnp.sqrt((x * x).sum(axis=1) + 1e-8)

    own = {TASKS[0][0]: e} if tables == "own" else {}

    def bottom(name, index, place):
        if tables == "shared":
            return network(tensors, name, e, settings["bottom_units"], place)
        task = heads[index]["task"]
        if task not in own:
            own[task] = fields(tensors, f"embedding.{len(own) + (tables == 'both')}")[0]
        x = jnp.concatenate([e, own[task]], axis=1) if tables == "both" else own[task]
        return network(tensors, f"{name}.{heads[index]['name']}", x, settings["bottom_units"], Place())

    root = lambda task: root(parent_of(task)) if parent_of(task) else task
    f_ctr = [bottom("ctr_bottom", click, Place(i, len(clicks))) for i, click in enumerate(clicks)]
    f = [bottom("cvr_bottom", conversion, Place(i, count)) for i, conversion in enumerate(conversions)]

    def routed(i):
        if not router["enabled"]:
            return f[i]
        known = [f[j] if j == i else given(f[j]) for j in range(count)]
        if router["similarity"] == "uniform":
            weights = [1.0] * count
        elif router["similarity"] == "cosine":
            cosines = [(f[i] * known[j]).sum(axis=1) / (norm(f[i]) * norm(known[j])) for j in range(count)]
            weights = [weight[:, None] for weight in softmax([cosine / router["temperature"] for cosine in cosines])]
        else:
            matrix = tensors.get("similarity", (count, count))
            weights = softmax([matrix[i, j] / router["temperature"] for j in range(count)])
        above = f_ctr[[heads[click]["task"] for click in clicks].index(root(heads[conversions[i]]["task"]))]
        return (given(above) + sum(weights[j] * known[j] for j in range(count))) / (count + 1)

    def heads_of_kind(kind, inputs):
        places = [Place(family=i, families=len(inputs)) for i in range(len(inputs))]
        towers = [tower(tensors, f"{kind}_tower", x, units, place) for x, place in zip(inputs, places)]
        return add_bias(tensors, f"{kind}_bias", position, towers)

    def in_order(ctr, cvr):
        return Logits(ctr[clicks.index(i)] if i in clicks else cvr[conversions.index(i)] for i in range(len(heads)))

    t = [routed(i) for i in range(count)]
    if transmitter["enabled"]:
        places = [Place(family=i, families=count) for i in range(count)]
        t = [network(tensors, "transmitter", t[i], transmitter["units"], places[i]) for i in range(count)]
    ctr = heads_of_kind("ctr", f_ctr)
    if not enhanced["enabled"]:
        return in_order(ctr, heads_of_kind("original", t))
    original = heads_of_kind("original", f)
    better = heads_of_kind("enhanced", [jnp.concatenate([f[i], t[i]], axis=1) for i in range(count)])
    logits = in_order(ctr, better)
    logits.original = in_order([jax.lax.stop_gradient(column) for column in ctr], original)
    return logits


def ektm_losses(space, heads, ways, logits, settings):
    shared = logits.shared
    asked, *_ = objective(space, logits.alone if shared else logits, heads, ways)
    rows, terms = {task: losses(asked[task]) for task in asked}, []
    if not settings["enhanced"]["enabled"]:
        return rows, terms
    originally, *_ = objective(space, logits.original, heads, ways)
    about = settings["enhanced"]
    for task, parent, weight, _ in TASKS:
        if parent is None and settings["transfer"] == "representations":
            continue
        own = losses(originally[task])
        terms.append((f"original {task}", weight, own))
        if about["loss"] == "hard_example":
            error = jax.lax.stop_gradient(1 - right(originally[task]))
            rows[task] = (1 + about["beta"] * error ** about["gamma"]) * rows[task]
        elif about["loss"] == "guard":
            worse = jnp.maximum(rows[task] - jax.lax.stop_gradient(own), 0.0)
            terms.append((f"guard {task}", about["lambda"] * weight, worse))
    for n, common in enumerate(shared):
        name = f"shared.{n + 1}" if len(shared) > 1 else "shared"
        together, *_ = objective(space, common, heads, ways)
        terms += [(f"{name} {task}", weight, losses(together[task])) for task, _, weight, _ in TASKS]
    return rows, terms


def aem2tl_scenario(tensors, i, x, tasks, settings):
    """One logit per head of every row, as if all rows were of scenario i."""
    separate = settings["scenario_weights"] == "separate"
    own = OfScenario(tensors, i) if separate else WithResidual(tensors, i, settings["scenario_rank"])
    representation = x
    if settings.get("scenario_cgc", True):
        parts = []
        for of, name, count in [
            (tensors, "shared", settings["shared_experts"]),
            (own, "scenario", settings["scenario_experts"]),
        ]:
            units = settings["expert_units"]
            experts = [network(of, f"{name}_expert", x, units, Place(k, count)) for k in range(count)]
            if experts:
                parts.append(mixture(gate(of, f"{name}_gate", x, [count], 0, bias=True), experts))
        representation = jnp.concatenate(parts, axis=1)
    inputs = [representation] * tasks
    if settings.get("task_cgc", True):
        m, n, units = settings["task_experts"], settings["task_shared_experts"], settings["task_expert_units"]
        expert = lambda k: network(own, "task_expert", representation, units, Place(k, tasks * m + n))
        shared = [expert(tasks * m + k) for k in range(n)]
        for j in range(tasks):
            specific = [expert(j * m + k) for k in range(m)]
            inputs[j] = mixture(gate(own, "task_gate", representation, [m + n] * tasks, j), specific + shared)
    user, item = x[:, :6], x[:, 6:8]
    logits = []
    for j in range(tasks):
        hidden = inputs[j]
        for layer, width in enumerate(settings["tower_units"] + [1]):
            if settings.get("personalised_gating", True):
                vector = tensors.get("scenario.weight", (len(LAYOUT["scenarios"]), settings["scenario_width"]))[i]
                scenario = jnp.broadcast_to(vector, (x.shape[0], len(vector)))
                h0 = jnp.concatenate([user, item, scenario, jax.lax.stop_gradient(x)], axis=1)
                name, units = f"personal_gate.{layer}", settings["gate_units"]
                h2 = gate_unit(tensors, name, h0, units, tasks * hidden.shape[1])
                hidden = h2[:, j * hidden.shape[1] : (j + 1) * hidden.shape[1]] * hidden
            hidden, part, total = affine(own, "tower", hidden, width, Place(family=j, families=tasks), layer)
            if layer < len(settings["tower_units"]):
                hidden = normalise(own, f"tower.{layer}", hidden, part, total)
                hidden = activation(tensors.style["activation"], hidden)
        logits.append(hidden[:, 0])
    return logits


def aem2tl(tensors, heads, settings):
    x, position = fields(tensors)
    scenario = jnp.array(ROWS["scenarios"])
    of = [aem2tl_scenario(tensors, i, x, len(heads), settings) for i in range(len(LAYOUT["scenarios"]))]
    logits = [sum(jnp.where(scenario == i, of[i][j], 0.0) for i in range(len(of))) for j in range(len(heads))]
    return add_bias(tensors, "bias", position, logits)


def calibrate(tensors, name, g, h, settings):
    """What a task's next layer reads; g is its parent's layer, h its own."""
    sigmoid = lambda x, width, index: activation("sigmoid", affine(tensors, name, x, width, Place(), index)[0])
    mlp = lambda *units: network(tensors, name, g, units, Place())
    structure, width = settings["structure"], h.shape[1]
    if structure == "none":
        return h
    if structure == "ctr":
        return jnp.concatenate([h, mlp(width, width)], axis=1)
    if structure == "ctr_scaled":
        return jnp.concatenate([h, sigmoid(g, 1, "scale") * mlp(width)], axis=1)
    v = sigmoid(mlp(max(1, g.shape[1] // settings["reduction"])), width, 1)
    return v * h if structure == "cvr" else jnp.concatenate([h, v * h], axis=1)


def calibrated_networks(tensors, heads, name, x, units, layers, settings):
    tasks, count = LAYOUT["tasks"], len(TASKS)
    read, gated = {task: x for task in tasks}, name == "network" and "gating" in tensors.style

    def gates(index):
        if not gated:
            return read
        widths = [read[task].shape[1] for task in tasks]
        factors = [personal_gate(tensors, name, index, read[task], widths, k) for k, task in enumerate(tasks)]
        return {task: factor * read[task] for task, factor in zip(tasks, factors)}

    for index, width in enumerate(units):
        inputs = gates(index)
        for k, task in enumerate(tasks):
            # The first layers stand side by side in our tensors.
            first = Place(family=k, families=count) if gated else Place(k, count)
            of, place = (name, first) if index == 0 else (f"{name}.{task}", Place())
            h, own, total = affine(tensors, of, inputs[task], width, place, index)
            read[task] = activation(tensors.style["activation"], normalise(tensors, f"{of}.{index}", h, own, total))
        if index in layers:
            for task, parent, *_ in TASKS:
                if parent is not None:
                    about = f"{name}.{task}.{index}.calibration"
                    read[task] = calibrate(tensors, about, read[parent], read[task], settings)
    logits, inputs = [], gates(len(units))
    for task in tasks:
        count = sum(head["task"] == task for head in heads)
        last = affine(tensors, f"{name}.{task}", inputs[task], count, Place(), len(units))[0]
        logits += [last[:, k] for k in range(count)]
    return logits


def calibration(tensors, heads, settings):
    e, position = fields(tensors)
    main = calibrated_networks(tensors, heads, "network", e, settings["units"], settings["layers"], settings)
    units, layers = settings["bias_units"], settings["bias_layers"]
    bias = calibrated_networks(tensors, heads, "bias", position, units, layers, settings)
    return [one + other for one, other in zip(main, bias)]


def ncs4cvr(tensors, heads, settings):
    e, position = fields(tensors)
    h = e
    if settings.get("interaction", True):
        # The fields of two columns, the most frequent width, as rows of X.
        x = jnp.stack([embedded(tensors, name, "embedding") for name in ("seen", "item")], axis=1)
        products = x @ x.transpose(0, 2, 1)
        h = jnp.concatenate([products[:, *np.triu_indices(x.shape[1])], e], axis=1)
    logits = []
    for task, *_ in TASKS:
        hidden = h
        for index, width in enumerate(settings["units"]):
            name = f"shared.{index}"
            weight = tensors.get(f"{name}.weight", (hidden.shape[1], width))
            kept = weight * tensors.mask(f"{name}.mask.{task}", weight.shape)
            hidden = hidden @ kept + tensors.get(f"{name}.bias", (width,))
            hidden = normalise(tensors, name, hidden, slice(None), width, f"{name}.norm.{task}")
            hidden = activation(tensors.style["activation"], hidden)
        of_task = [head for head in heads if head["task"] == task]
        weight = tensors.get(f"head.{task}.0.weight", (1, hidden.shape[1], len(of_task)))[0]
        bias = tensors.get(f"head.{task}.0.bias", (len(of_task),))
        own = [hidden @ weight[:, k] + bias[k] for k in range(len(of_task))]
        logits += add_bias(tensors, f"bias.{task}", position, own)
    return logits


MODELS = {
    "single-task": single_task,
    "shared-bottom": shared_bottom,
    "esmm": esmm,
    "mmoe": mmoe,
    "cgc": cgc,
    "ple": ple,
    "adatt": adatt,
    "stem": stem,
    "aitm": aitm,
    "calibration": calibration,
    "ektm": ektm,
    "esm2": esmm,
    "aem2tl": aem2tl,
    "ncs4cvr": ncs4cvr,
}

# (space, heads, ways, logits, settings) -> the tasks' losses row by row, and
# further losses as (name, weight, row by row), where they are not the plain ones.
LOSSES = {"aitm": aitm_losses, "ektm": ektm_losses}


def calibration_settings(structure, units, layers, bias_units, bias_layers):
    return {
        "structure": structure,
        "units": units,
        "layers": layers,
        "bias_units": bias_units,
        "bias_layers": bias_layers,
        "reduction": 2,
    }


def ektm_settings(bottom, units, router={}, transmitter={}, enhanced={}, **further):
    return {"transfer": "representations", "tables": "shared", "shared": {"enabled": False}} | further | {
        "bottom_units": bottom,
        "tower_units": [2],
        "router": {"enabled": True, "similarity": "cosine", "temperature": 0.5} | router,
        "transmitter": {"enabled": True, "units": units, "stop_gradient": True} | transmitter,
        "enhanced": {"enabled": True, "loss": "hard_example", "beta": 1.5, "gamma": 2.0, "lambda": 0.7} | enhanced,
    }


def ektm_of_shared(networks):
    """The same of logits, beside so many networks that all tasks learn together."""
    shared = {"enabled": True, "networks": networks, "experts": 2, "expert_units": [3], "tower_units": [2]}
    return ektm_settings([2], [2], enhanced={"loss": "plain", "gain": 1.5}, transfer="logits", tables="own", shared=shared)


def via(model, objective, settings):
    """The ways that a model's paper, or the objective, asks for."""
    entire_space = model in ("esm2", "aem2tl") and settings.get("entire_space", True)
    if objective == "by-cart" or entire_space and objective in ("parent", "product", "path"):
        return BY_CART
    return {}


# file: (model, activation and norm, settings, objectives[, gating]). All gradients are
# kept for the first objective; for the others those of the tables, which every
# path through the network ends in.
CASES = {
    "single-task": ("single-task", ("relu", "none"), {"units": [3, 2]}, ["parent", "product", "impression"]),
    "shared-bottom": (
        "shared-bottom",
        ("tanh", "none"),
        {"bottom_units": [4, 3], "tower_units": [2]},
        ["parent", "product", "impression", "mixed"],
    ),
    "esmm": ("esmm", ("leaky-relu", "none"), {"units": [3]}, ["product", "parent", "impression", "mixed"]),
    "mmoe": (
        "mmoe",
        ("relu", "none"),
        {"experts": 3, "expert_units": [3, 2], "tower_units": [2]},
        ["parent", "product", "impression"],
    ),
    "cgc": (
        "cgc",
        ("tanh", "layer"),
        {"task_experts": 1, "shared_experts": 2, "expert_units": [3], "tower_units": []},
        ["parent", "product", "impression"],
    ),
    "ple-2": (
        "ple",
        ("relu", "none"),
        {"task_experts": 2, "shared_experts": 1, "levels": [[2], [3, 2]], "tower_units": [2]},
        ["parent", "product", "impression"],
    ),
    "ple-3": (
        "ple",
        ("sigmoid", "batch"),
        {"task_experts": 1, "shared_experts": 2, "levels": [[2], [2], [2]], "tower_units": []},
        ["parent", "product", "impression"],
    ),
    "adatt": (
        "adatt",
        ("relu", "none"),
        {"task_experts": 2, "levels": [[2], [3, 2]], "tower_units": [2]},
        ["parent", "product", "impression"],
    ),
    "adatt-single": (
        "adatt",
        ("tanh", "layer"),
        {"task_experts": 1, "levels": [[3], [2]], "tower_units": []},
        ["parent", "product"],
    ),
    "stem": (
        "stem",
        ("relu", "none"),
        {"task_experts": 2, "shared_experts": 2, "levels": [[3, 2]], "gate_units": [2], "tower_units": [2]},
        ["parent", "product", "impression", "mixed"],
    ),
    "stem-levels": (
        "stem",
        ("tanh", "layer"),
        {"task_experts": 1, "shared_experts": 1, "levels": [[2], [2]], "gate_units": [], "tower_units": []},
        ["parent", "impression"],
    ),
    "stem-unstopped": (
        "stem",
        ("tanh", "none"),
        {
            "task_experts": 1,
            "shared_experts": 2,
            "levels": [[2]],
            "gate_units": [2],
            "tower_units": [2],
            "stop_gradient": False,
        },
        ["product"],
    ),
    "aitm": (
        "aitm",
        ("leaky-relu", "none"),
        {"bottom_units": [3, 2], "tower_units": [], "calibrator": 0.6},
        ["impression", "parent", "product", "mixed"],
    ),
    "aitm-towers": (
        "aitm",
        ("tanh", "none"),
        {"bottom_units": [3, 2], "tower_units": [3], "calibrator": 0.4},
        ["impression", "parent"],
    ),
    "aitm-gated": (
        "aitm",
        ("tanh", "layer"),
        {"bottom_units": [3, 2], "tower_units": [2], "calibrator": 0.6},
        ["impression", "product"],
        {"units": 2, "scenario_width": 2},
    ),
    "calibration-ctr": (
        "calibration",
        ("leaky-relu", "none"),
        calibration_settings("ctr", [3, 2], [0, 1], [2], [0]),
        ["parent", "product", "impression", "mixed"],
    ),
    "calibration-ctr-scaled": (
        "calibration",
        ("tanh", "layer"),
        calibration_settings("ctr_scaled", [3, 2], [0], [2, 2], [0, 1]),
        ["parent"],
    ),
    "calibration-cvr": (
        "calibration",
        ("tanh", "none"),
        calibration_settings("cvr", [3, 2], [0, 1], [2], [0]),
        ["parent", "product", "impression"],
    ),
    "calibration-cvr-concat": (
        "calibration",
        ("sigmoid", "batch"),
        calibration_settings("cvr_concat", [3, 3], [0, 1], [], []),
        ["parent"],
    ),
    "ektm": ("ektm", ("tanh", "none"), ektm_settings([3, 2], [2]), ["parent", "product", "impression", "mixed"]),
    "ektm-guard": (
        "ektm",
        ("leaky-relu", "none"),
        ektm_settings([3], [2], {"similarity": "learned"}, {"stop_gradient": False}, {"loss": "guard"}),
        ["parent", "product", "impression"],
    ),
    "ektm-own-tables": ("ektm", ("tanh", "none"), ektm_settings([3], [2], tables="own"), ["parent", "product"]),
    "ektm-both-tables": ("ektm", ("tanh", "layer"), ektm_settings([2], [2], tables="both"), ["parent", "product"]),
    "ektm-logits": (
        "ektm",
        ("tanh", "none"),
        ektm_settings([3], [2], enhanced={"loss": "plain", "gain": 1.5}, transfer="logits", tables="own"),
        ["parent", "product", "impression", "mixed"],
    ),
    "ektm-shared": (
        "ektm",
        ("tanh", "none"),
        ektm_of_shared(2),
        ["parent", "product", "mixed"],
    ),
    "ektm-average": (
        "ektm",
        ("tanh", "none"),
        ektm_settings([2], [2], {"similarity": "uniform"}, {"enabled": False}, {"enabled": False}),
        ["product"],
    ),
    "calibration-triplet": (
        "calibration",
        ("tanh", "none"),
        calibration_settings("cvr", [3, 2], [0], [2], []),
        ["triplet"],
    ),
    "single-task-triplet": ("single-task", ("tanh", "none"), {"units": [2]}, ["triplet-in-part"]),
    "esmm-by-cart": ("esmm", ("tanh", "none"), {"units": [3]}, ["by-cart"]),
    "esm2": ("esm2", ("tanh", "none"), {"units": [3]}, ["product", "parent"]),
    "esm2-path": ("esm2", ("tanh", "none"), {"units": [3]}, ["path"]),
    "shared-bottom-path": ("shared-bottom", ("tanh", "none"), {"bottom_units": [4], "tower_units": [2]}, ["path"]),
    "aem2tl": (
        "aem2tl",
        ("relu", "none"),
        {
            "shared_experts": 2,
            "scenario_experts": 2,
            "expert_units": [3, 2],
            "task_experts": 1,
            "task_shared_experts": 2,
            "task_expert_units": [3],
            "tower_units": [2],
            "gate_units": 3,
            "scenario_width": 2,
            "scenario_weights": "separate",
        },
        ["product", "parent"],
    ),
    "aem2tl-residual": (
        "aem2tl",
        ("relu", "none"),
        {
            "shared_experts": 1,
            "scenario_experts": 2,
            "expert_units": [3, 2],
            "task_experts": 1,
            "task_shared_experts": 1,
            "task_expert_units": [3],
            "tower_units": [2],
            "gate_units": 2,
            "scenario_width": 2,
            "scenario_weights": "residual",
            "scenario_rank": 1,
        },
        ["product", "path"],
    ),
    "aem2tl-shifted": (
        "aem2tl",
        ("tanh", "layer"),
        {
            "personalised_gating": False,
            "shared_experts": 1,
            "scenario_experts": 1,
            "expert_units": [4],
            "task_experts": 1,
            "task_shared_experts": 1,
            "task_expert_units": [4],
            "tower_units": [3],
            "scenario_weights": "residual",
            "scenario_rank": 0,
        },
        ["path"],
    ),
    "aem2tl-in-part": (
        "aem2tl",
        ("tanh", "layer"),
        {
            "task_cgc": False,
            "entire_space": False,
            "shared_experts": 1,
            "scenario_experts": 2,
            "expert_units": [3],
            "tower_units": [2, 2],
            "gate_units": 2,
            "scenario_width": 1,
            "scenario_weights": "separate",
        },
        ["parent", "product", "impression"],
    ),
    "mmoe-gated": (
        "mmoe",
        ("tanh", "layer"),
        {"experts": 2, "expert_units": [3], "tower_units": [2]},
        ["parent", "product"],
        {"units": 3, "scenario_width": 2},
    ),
    "single-task-gated": (
        "single-task",
        ("leaky-relu", "none"),
        {"units": [2]},
        ["parent", "impression"],
        {"units": 2, "scenario_width": 1},
    ),
    "calibration-gated": (
        "calibration",
        ("tanh", "none"),
        calibration_settings("ctr", [3, 2], [0], [2], [0]),
        ["parent"],
        {"units": 2, "scenario_width": 2},
    ),
    "ncs4cvr": ("ncs4cvr", ("tanh", "none"), {"units": [3, 2]}, ["parent", "product", "impression", "mixed"]),
    "ncs4cvr-flat": ("ncs4cvr", ("sigmoid", "batch"), {"units": [4], "interaction": False}, ["by-cart"]),
}

# The same of the forest.
FOREST_CASES = {
    "aitm-forest": (
        "aitm",
        ("tanh", "none"),
        {"bottom_units": [3, 2], "tower_units": [], "calibrator": 0.6},
        ["impression", "parent", "product"],
    ),
    "calibration-forest": (
        "calibration",
        ("tanh", "none"),
        calibration_settings("cvr", [3, 2], [0], [2], [0]),
        ["parent", "impression"],
    ),
    "mmoe-forest": (
        "mmoe",
        ("tanh", "none"),
        {"experts": 2, "expert_units": [3], "tower_units": [2]},
        ["by-cart"],
    ),
    "ektm-forest": (
        "ektm",
        ("tanh", "none"),
        ektm_settings([3], [2], {"similarity": "learned"}, {"stop_gradient": False}, {"loss": "guard"}, tables="own"),
        ["parent", "product"],
    ),
    "ektm-shared-forest": (
        "ektm",
        ("tanh", "none"),
        ektm_of_shared(1),
        ["product"],
    ),
    "esm2-forest": ("esm2", ("tanh", "none"), {"units": [3]}, ["product", "parent"]),
}

# -------------------------------------------------------------- the objective


def heads_of(space, ways):
    heads = []
    for task, parent, _, direct in TASKS:
        if parent is None or space[task] != "impression":
            names = [f"{task}_with_{ways[task]}", f"{task}_without_{ways[task]}"] if task in ways else [task]
            heads += [{"task": task, "name": name} for name in names]
            if direct:
                heads.append({"task": task, "name": f"{task}_without_parent"})
        else:
            heads.append({"task": task, "name": f"{task}_from_impression"})
            if direct:
                heads.append({"task": task, "name": task})
    return heads


def happened(row, task):
    """Whether an action and its ancestors happened: True, False or, where a
    label is missing after ancestors that happened, None. A direct action needs
    no ancestor."""
    name, parent, _, direct = next(about for about in TASKS if about[0] == task)
    own = ROWS["labels"][row][LAYOUT["tasks"].index(name)]
    if parent is None or direct:
        return own if own is None else bool(own)
    above = happened(row, parent)
    if not above:
        return above
    return None if own is None else bool(own)


def right(questions):
    """Row by row the probability given to the labels: the product over the
    questions (p, labels) of which a row has a label."""
    total = jnp.ones(COUNT)
    for p, labels in questions:
        total *= jnp.stack([1.0 if y is None else p[row] if y else 1 - p[row] for row, y in enumerate(labels)])
    return total


def losses(questions):
    """Cross-entropy row by row; 0 where a row has no label."""
    return -jnp.log(right(questions))


def on_path(p, ways, row, task):
    """p(task) given the nearest label before it and, where its parent happened, the
    label of the action by way of which it goes: by enumeration of all that can have
    happened. None where the task cannot have."""
    parents = {name: parent for name, parent, *_ in TASKS}
    direct = {name for name, _, _, free in TASKS if free}
    labels = dict(zip(LAYOUT["tasks"], ROWS["labels"][row]))
    chain = [task]
    while parents[chain[-1]] is not None:
        chain.append(parents[chain[-1]])
    known = next(({name: labels[name]} for name in chain[1:] if labels[name] is not None), {})
    if task in ways and (parents[task] is None or labels[parents[task]] == 1) and labels[ways[task]] is not None:
        known[ways[task]] = labels[ways[task]]
    variables = list(dict.fromkeys(chain + [ways[name] for name in chain if name in ways]))

    def chance(name, values):
        if parents[name] is not None and values[parents[name]] == 0:
            yes = p[f"{name}_without_parent"][row] if name in direct else 0.0
        elif name in ways:
            yes = p[f"{name}_{'with' if values[ways[name]] else 'without'}_{ways[name]}"][row]
        else:
            yes = p[name][row]
        return yes if values[name] else 1 - yes

    sums, possible = [0.0, 0.0], False
    for values in itertools.product([0, 1], repeat=len(variables)):
        values = dict(zip(variables, values))
        if any(values[name] != label for name, label in known.items()):
            continue
        factors = [chance(name, values) for name in variables]
        if any(isinstance(factor, float) and factor == 0.0 for factor in factors):
            continue
        possible |= values[task] == 1
        sums[values[task]] += math.prod(factors)
    return sums[1] / (sums[0] + sums[1]) if possible else None


def objective(space, logits, heads, ways):
    """Per task: the questions (p, labels) that its loss asks, p given the
    parent action, p from the impression."""
    p = {head["name"]: 1 / (1 + jnp.exp(-logit)) for head, logit in zip(heads, logits)}
    asked, given, joint = {}, {}, {}
    column = {task: [row[k] for row in ROWS["labels"]] for k, task in enumerate(LAYOUT["tasks"])}
    for task, parent, _, direct in TASKS:
        if parent is None:
            given[task] = joint[task] = p[task]
            asked[task] = [(p[task], column[task])]
            # By way of another root the path would matter here; no case has that.
            continue
        after_yes = [y if up == 1 else None for y, up in zip(column[task], column[parent])]
        after_no = [y if up == 0 else None for y, up in zip(column[task], column[parent])]
        of_impression = [happened(row, task) for row in range(COUNT)]
        if space[task] == "impression":
            joint[task] = p[f"{task}_from_impression"]
            asked[task] = [(joint[task], of_impression)]
            if direct:
                given[task] = p[task]
                asked[task].append((given[task], after_yes))
            else:
                given[task] = jnp.minimum(joint[task] / joint[parent], 1.0)
            continue
        if task in ways:
            action = ways[task]
            with_action, without = p[f"{task}_with_{action}"], p[f"{task}_without_{action}"]
            given[task] = p[action] * with_action + (1 - p[action]) * without
        else:
            given[task] = p[task]
        joint[task] = joint[parent] * given[task]
        if direct:
            joint[task] += (1 - joint[parent]) * p[f"{task}_without_parent"]
        if space[task] == "product":
            asked[task] = [(joint[task], of_impression)]
        elif space[task] == "path":
            told = [on_path(p, ways, row, task) for row in range(COUNT)]
            labels = [None if q is None else y for q, y in zip(told, column[task])]
            asked[task] = [([0.0 if q is None else q for q in told], labels)]
        else:
            asked[task] = [(given[task], after_yes)]
            if direct:
                asked[task].append((p[f"{task}_without_parent"], after_no))
    return asked, given, joint


def level(row, task):
    """0 without the parent, 1 with the parent alone, 2 with the task; None
    where the labels leave it open."""
    own, parent = happened(row, task), happened(row, parent_of(task))
    if own:
        return 2
    return None if own is None or parent is None else int(parent)


def triplet(tensors, settings):
    """He et al. 2018's triplet-centre loss row by row, over levels."""
    x, _ = fields(tensors, next(key for key in ("embedding", "embedding.0") if f"{key}.items" in tensors.values))
    tasks, k = settings.get("tasks", [name for name, parent, *_ in TASKS if parent is not None]), settings["width"]
    weight = tensors.get("triplet.weight", (1, x.shape[1], len(tasks) * k))[0]
    centres = tensors.get("triplet.centres", (len(tasks), 3, k))
    terms = []
    for index, task in enumerate(tasks):
        z = x @ weight[:, index * k : (index + 1) * k]
        distances = [((z - centre) ** 2).sum(axis=1) for centre in centres[index]]
        rows = []
        for row in range(COUNT):
            own = level(row, task)
            if own is None:
                rows.append(0.0)
                continue
            others = [distance[row] for other, distance in enumerate(distances) if other != own]
            rows.append(jnp.maximum(0.0, settings["margin"] + distances[own][row] - jnp.minimum(*others)))
        terms.append((f"triplet {task}", settings["weight"], jnp.stack(rows)))
    return terms


# ------------------------------------------------------------------- the files


def rounded(values):
    """Eight digits: what float32 tells apart."""
    return [float(f"{float(value):.8g}") + 0.0 for value in np.asarray(values).ravel()]


def toml(value):
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + " }"
    return json.dumps(value)


def case(name):
    model, (kind, norm), settings, objectives, *gating = (CASES | FOREST_CASES)[name]
    style = {"activation": kind, "norm": norm}
    gates = {"gating": gating[0]} if gating else {}
    run = MODELS[model]
    drawn = Tensors(style | gates)
    run(drawn, heads_of(spaces(objectives[0]), via(model, objectives[0], settings)), settings)
    if objectives[0] in TRIPLETS:
        triplet(drawn, TRIPLETS[objectives[0]])
    values = drawn.values
    results = []
    for index, kind_of in enumerate(objectives):
        space = spaces(kind_of)
        ways = via(model, kind_of, settings)
        heads = heads_of(space, ways)

        def loss(values):
            logits = run(Tensors(style | gates, values), heads, settings)
            if model in LOSSES:
                rows, terms = LOSSES[model](space, heads, ways, logits, settings)
            else:
                asked, *_ = objective(space, logits, heads, ways)
                rows, terms = {task: losses(asked[task]) for task in asked}, []
            if kind_of in TRIPLETS:
                terms = terms + triplet(Tensors(style, values), TRIPLETS[kind_of])
            of_rows = lambda column: (jnp.array(ROWS["weights"]) * column).sum()
            sums = {task: of_rows(column) for task, column in rows.items()}
            further = {name: of_rows(column) for name, _, column in terms}
            total = sum(weight * sums[task] for task, _, weight, _ in TASKS)
            total += sum(weight * further[name] for name, weight, _ in terms)
            return total / COUNT, (sums, further)

        (_, (sums, further)), gradients = jax.value_and_grad(loss, has_aux=True)(values)
        logits = run(Tensors(style | gates, values, training=False), heads, settings)
        _, given, joint = objective(space, logits, heads, ways)
        kept = [key for key in values if index == 0 or key.startswith("embedding.")]
        # Moving averages, masks and what is set at the end are kept, not learned.
        statistic = lambda key: ".norm." in key and key.endswith((".mean", ".variance")) or ".mask." in key or key in ("shrinkage", "share")
        kept = [key for key in kept if not statistic(key)]
        results.append(
            {
                "objective": objective_toml(kind_of),
                "heads": [head["name"] for head in heads],
                "losses": rounded([sums[task] for task in LAYOUT["tasks"]]),
                "given": rounded(jnp.stack([given[task] for task in LAYOUT["tasks"]], axis=1)),
                "joint": rounded(jnp.stack([joint[task] for task in LAYOUT["tasks"]], axis=1)),
                "gradients": {key: rounded(gradients[key]) for key in kept},
            }
            | ({"further": {name: rounded([value])[0] for name, value in further.items()}} if further else {})
        )
    lines = [f'{key} = "{value}"' for key, value in style.items()]
    lines += [f"{key} = {toml(value)}" for key, value in gates.items()]
    config = "\n".join(["[network]", *lines, "dropout = 0.0", "[model]", f'name = "{model}"'])
    config += "".join(f"\n{key} = {toml(value)}" for key, value in settings.items()) + "\n"
    if objectives[0] in TRIPLETS:
        settings = "".join(f"{key} = {toml(value)}\n" for key, value in TRIPLETS[objectives[0]].items())
        config += f"[objective.triplet]\n{settings}"
    return {
        "config": config,
        "tensors": {key: {"shape": value.shape, "values": rounded(value)} for key, value in values.items()},
        "logits": rounded(jnp.stack(logits, axis=1)),
        "objectives": results,
    }


def write(name, content):
    """One key a line, so that a change is seen where it happened."""

    def lines(value, depth):
        if depth == 0 or not isinstance(value, (dict, list)) or (isinstance(value, list) and not isinstance(value[0], dict)):
            return json.dumps(value, separators=(",", ":"))
        if isinstance(value, list):
            return "[\n" + ",\n".join(lines(item, depth - 1) for item in value) + "\n]"
        return "{\n" + ",\n".join(f"{json.dumps(key)}: {lines(item, depth - 1)}" for key, item in value.items()) + "\n}"

    (HERE / f"{name}.json").write_text(lines(content, 4) + "\n")


if __name__ == "__main__":
    write("instance", {"schema": SCHEMA, "layout": LAYOUT, "rows": ROWS})
    for name in CASES:
        write(name, case(name))
    plant_forest()
    write("forest", {"schema": SCHEMA, "layout": LAYOUT, "rows": ROWS})
    for name in FOREST_CASES:
        write(name, case(name))
