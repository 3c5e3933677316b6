"""An artifact as docs/formats.md describes it: from its rows to the input of a model, the
layers that models are made of, and from a model's logits to probabilities.

Left out: products = "bfloat16", cells that are dates or decimals, and text that is to be
read as numbers, times or lists.
"""

import json
import tomllib

import numpy as np
import pyarrow.parquet
from xxhash import xxh3_64_intdigest

SIDES = ["user", "item", "context"]
ACTIVATIONS = {
    "none": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "leaky-relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
}
sigmoid = ACTIVATIONS["sigmoid"]


def softmax(x):
    x = np.exp(x - x.max(axis=-1, keepdims=True))
    return x / x.sum(axis=-1, keepdims=True)


def tensors(path):
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    read = lambda dtype, shape, data_offsets: np.frombuffer(
        data[start + data_offsets[0] : start + data_offsets[1]], "<f4"
    ).reshape(shape)
    header = json.loads(data[8:start])
    return {name: read(**entry) for name, entry in header.items() if name != "__metadata__"}


def table(path):
    """The columns of a Parquet file. Single precision stays so: its shortest text is another."""
    columns = pyarrow.parquet.read_table(path)
    single = lambda cells: [cell if cell is None else np.float32(cell) for cell in cells]
    read = lambda column: single(column.to_pylist()) if column.type == "float" else column.to_pylist()
    return {name: read(columns[name]) for name in columns.column_names}


def text(cell):
    """A cell's text; None where it is missing."""
    if cell is None or cell == "" or cell != cell:
        return None
    if isinstance(cell, (float, np.floating)) and not float(cell).is_integer():
        return np.format_float_positional(cell, trim="-")
    return cell if isinstance(cell, str) else str(int(cell))


def standard(x, scale):
    x = np.clip(x, *scale["range"]) if "range" in scale else x
    return (x - scale["mean"]) / scale["standard_deviation"]


class Artifact:
    def __init__(self, path):
        self.path, self.manifest = path, json.loads((path / "manifest.json").read_text())
        config = tomllib.loads((path / "config.toml").read_text())
        self.model, self.network, self.heads = config["model"], config["network"], self.manifest["heads"]
        self.schema = tomllib.loads((path / "features/schema.toml").read_text())
        self.tasks = {task["name"]: task for task in self.schema["task"]}
        maps = path / "calibration.json"
        self.calibration = json.loads(maps.read_text())["tasks"] if maps.exists() else {}
        self.learned = json.loads((path / "features/features.json").read_text())
        self.weights = tensors(path / "dense.safetensors") | tensors(path / "embedding.safetensors")
        self.cells = table(path / "golden.parquet")
        self.rows = len(next(iter(self.cells.values())))
        scenarios = {scenario["name"]: 1 + place for place, scenario in enumerate(self.learned["scenarios"])}
        column = self.cells[self.schema["scenario"]] if "scenario" in self.schema else [None] * self.rows
        self.scenario = [scenarios.get(text(cell), 0) for cell in column]
        # The scenario whose weights a row meets.
        self.route, learned = self.scenario, self.learned
        apart = self.model["name"] == "aem2tl" and self.model.get("scenario_weights", "separate") == "separate"
        if apart and scenarios and sum(scenario["rows"] for scenario in learned["scenarios"]) == learned["rows"]:
            self.route = [max(1, scenario) for scenario in self.scenario]
        self.read_features(0)

    # From a cell to the input.

    def ids(self, field, values):
        """Rows of a table."""
        if "buckets" in field:
            hashed = lambda value: 2 + xxh3_64_intdigest(value.encode()) % field["buckets"]
            return [1 if value is None else hashed(value) for value in values]
        known = table(self.path / f"features/vocabulary/{field.get('table', field['name'])}.parquet")["token"]
        ids = {token: 2 + place for place, token in enumerate(known)} | {None: 1}
        return [ids.get(value, 0) for value in values]

    def pooled(self, field, cell, vectors):
        values = cell if isinstance(cell, list) else (text(cell) or "").split(field["separator"])
        values = [(text(value) or "").strip() for value in values]
        values = [value for value in values if value]
        total = vectors[self.ids(field, values)].sum(axis=0)
        return total / len(values) if values and field["pooling"] == "mean" else total

    def rates(self, field):
        """The log-odds of every task, and perhaps ln(1 + rows)."""
        learned = self.learned["rates"][field["name"]]
        of_key = field.get("key", [field.get("column", field["name"])])
        file = table(self.path / f"features/rate/{field['name']}.parquet")
        keys = {key: place for place, key in enumerate(zip(*[file[f"key_{column}"] for column in of_key]))}
        places = [keys.get(key) for key in zip(*[map(text, self.cells[column]) for column in of_key])]
        count = lambda name: np.array([0 if place is None else file[name][place] for place in places])
        columns, means = [], learned["means"]
        for task, mean, smoothing in zip(self.tasks, means, learned.get("smoothing") or [field.get("smoothing")] * len(means)):
            if smoothing is None:  # every key has the mean
                columns.append(np.full(self.rows, np.log(mean / (1 - mean))))
                continue
            labelled = count("rows") - count(f"missing_{task}")
            rate = (count(f"positives_{task}") + smoothing * mean) / (labelled + smoothing)
            columns.append(np.log(rate / (1 - rate)))
        if len(learned["scales"]) > len(means):
            columns.append(np.log1p(count("rows")))
        shares = learned.get("carried", []) + [1.0] * len(columns)
        return np.stack([share * standard(x, scale) for x, scale, share in zip(columns, learned["scales"], shares)], axis=1)

    def columns(self, field, tables):
        """The columns of a field, each part with whether it comes from a table."""
        name, kind, transform = field["name"], field["kind"], field.get("transform")
        cells = self.cells.get(field.get("column", name))
        if kind == "rate":
            return [(self.rates(field), False)]
        if kind == "numeric":
            return self.numbers(field, np.array([np.nan if text(cell) is None else float(cell) for cell in cells]), tables)
        vectors = tables[field.get("table", name)]
        if kind == "multi":
            return [(np.array([self.pooled(field, cell, vectors) for cell in cells]), True)]
        parts = [(vectors[self.ids(field, map(text, cells))], True)]
        return parts + [(self.rates(field), False)] if name in self.learned["rates"] else parts

    def numbers(self, field, x, tables):
        name, transform, parts = field["name"], field["transform"], []
        if transform in ("quantile", "binned"):
            buckets = 2 + np.searchsorted(self.learned["cuts"][name], x, side="right")
            parts.append((tables[name][np.where(np.isnan(x), 1, buckets)], True))
        if transform != "quantile":
            number = np.sign(x) * np.log1p(np.abs(x)) if transform == "log1p" else x
            number = number if transform == "none" else standard(number, self.learned["scales"][name])
            told = [np.isnan(x)] if name in self.learned.get("missing", []) else []
            parts.append((np.stack([np.nan_to_num(number), *told], axis=1), False))
        return parts

    def read_features(self, number):
        """The input, by set `number` of the tables: main fields, bias fields, what gate units read."""
        several = any(name.startswith("embedding.0.") for name in self.weights)
        prefix = f"embedding.{number}." if several else "embedding."
        tables = {name.removeprefix(prefix): w for name, w in self.weights.items() if name.startswith(prefix)}
        place = lambda field: (field.get("role", "main"), field.get("side", "context"))
        parts = [(*place(field), *part) for field in self.schema["field"] for part in self.columns(field, tables)]
        parts.sort(key=lambda part: (SIDES.index(part[1]), not part[3]))
        of = lambda role, sides: [x for its_role, side, x, _ in parts if its_role == role and side in sides]
        side_by_side = lambda columns: np.concatenate([np.zeros((self.rows, 0)), *columns], axis=1)
        self.x, self.bias = side_by_side(of("main", SIDES)), side_by_side(of("bias", SIDES))
        self.vectors = [x for role, _, x, embedded in parts if role == "main" and embedded]
        scenario = self.weights.get(f"scenario.{number}.weight" if number else "scenario.weight", np.zeros((9999, 0)))
        self.priors = side_by_side([*of("main", ["user"]), *of("main", ["item"]), scenario[self.route], self.x])

    # Layers.

    def affine(self, name, x):
        w, b = self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias", 0)
        w, b = (w[self.route], b if isinstance(b, int) else b[self.route]) if w.ndim == 4 else (w[None], b)
        own = {part: self.weights.get(f"{name}.residual.{part}") for part in ("down", "up", "weight", "shift")}
        own = {part: found[self.route] for part, found in own.items() if found is not None}
        w = w + (own["down"] @ own["up"] if "down" in own else own.get("weight", 0))
        b = b + own.get("shift", 0)
        groups, inputs = w.shape[1:3]
        x = x if x.shape[1] == groups * inputs else np.tile(x, groups)
        return np.matmul(x.reshape(-1, groups, 1, inputs), w).reshape(self.rows, -1) + b

    def finish(self, x, name, networks=1, moving=""):
        """Norm and activation of a layer in which so many networks stand side by side."""
        norm, weights = self.network["norm"], self.weights
        if norm == "layer":
            parts = x.reshape(self.rows, networks, -1)
            mean, variance = (of(parts, axis=2, keepdims=True) for of in (np.mean, np.var))
            x = ((parts - mean) / np.sqrt(variance + 1e-5)).reshape(self.rows, -1)
        if norm == "batch":
            mean, variance = weights[f"{name}.norm.{moving}mean"], weights[f"{name}.norm.{moving}variance"]
            x = (x - mean) / np.sqrt(variance + 1e-5)
        x = x if norm == "none" else weights[f"{name}.norm.scale"] * x + weights[f"{name}.norm.shift"]
        return ACTIVATIONS[self.network["activation"]](x)

    def depth(self, name):
        return next(layer for layer in range(999) if f"{name}.{layer}.weight" not in self.weights)

    def hidden(self, name, x, networks=1):
        """Networks of hidden layers, side by side: rows × networks × width."""
        x = x.reshape(self.rows, -1)
        for layer in (f"{name}.{layer}" for layer in range(self.depth(name))):
            x = self.finish(self.affine(layer, x), layer, networks)
        return x.reshape(self.rows, networks, -1)

    def gated(self, name, layer, x):
        unit = f"personal_gate.{layer}" if name == "tower" else f"{name}.personal_gate.{layer}"
        if f"{unit}.0.weight" not in self.weights:
            return x
        factors = 2 * sigmoid(self.affine(f"{unit}.1", np.maximum(self.affine(f"{unit}.0", self.priors), 0)))
        return factors * np.tile(x, factors.shape[1] // x.shape[1])

    def towers(self, name, x, heads, bias):
        """A logit per head, with the bias network's: rows × heads."""
        x, last = x.reshape(self.rows, -1), self.depth(name) - 1
        for layer in range(last):
            x = self.affine(f"{name}.{layer}", self.gated(name, layer, x))
            x = self.finish(x, f"{name}.{layer}", heads)
        x = self.affine(f"{name}.{last}", self.gated(name, last, x))
        return x + self.towers(bias, self.bias, heads, None) if bias and self.bias.size else x

    def mix(self, gate, x, experts, choices):
        """Sums of the chosen experts, weighted by a softmax: rows × outputs × width."""
        gates = self.affine(gate, x.reshape(self.rows, -1)).reshape(self.rows, len(choices), -1)
        return np.einsum("nok,nokw->now", softmax(gates), experts[:, choices])

    # From the logits to probabilities.

    def depth_of(self, task):
        return 1 + self.depth_of(self.tasks[task]["after"]) if "after" in self.tasks[task] else 0

    def heads_of(self, task):
        owner = lambda head: max((name for name in self.tasks if f"{head}_".startswith(f"{name}_")), key=len)
        return [head for head in self.heads if owner(head) == task]

    def mapped(self, task, kind, logits):
        """Through the map of calibration.json, if there is one: that of each row's scenario."""
        common = self.calibration.get(task, {}).get(kind, {"slope": 1, "intercept": 0})
        own, names = common.get("scenarios", {}), self.manifest["scenarios"]
        maps = [own.get(names[scenario], common) for scenario in self.scenario]
        return sigmoid(np.array([of["slope"] for of in maps]) * logits + np.array([of["intercept"] for of in maps]))

    def probabilities(self, logits):
        """Given the parent and from the impression, rows × tasks each."""
        z, given, joint = dict(zip(self.heads, np.float64(logits).T)), {}, {}

        def logit(task):
            for action in self.tasks:
                if f"{task}_with_{action}" in z:
                    way, ways = sigmoid(logit(action)), [sigmoid(z[f"{task}_{of}_{action}"]) for of in ("with", "without")]
                    total = way * ways[0] + (1 - way) * ways[1]
                    return np.log(total) - np.log1p(-total)
            return z.get(task)

        def of_parent(task):
            return None if logit(task) is None else self.mapped(task, "given_parent", logit(task))

        def of_impression(task):
            parent = self.tasks[task].get("after")
            if f"{task}_from_impression" in z:
                own = self.mapped(task, "from_impression", z[f"{task}_from_impression"])
                held = self.calibration and parent and not self.tasks[task].get("direct")
                return np.minimum(own, of_impression(parent)) if held else own
            if parent is None:
                return of_parent(task)
            happens, head = of_impression(parent), f"{task}_without_parent"
            without = self.mapped(task, "without_parent", z[head]) if head in z else 0
            return happens * of_parent(task) + (1 - happens) * without

        for task, about in self.tasks.items():
            given[task], joint[task] = of_parent(task), of_impression(task)
            if given[task] is None:
                given[task] = np.minimum(joint[task] / of_impression(about["after"]), 1)
        return {"given_parent": np.stack([*given.values()], 1), "from_impression": np.stack([*joint.values()], 1)}
