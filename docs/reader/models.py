"""The models: from the input of an artifact's rows to a logit per head. The equations stand at
the head of each model's file, crates/crosstie/src/model/<name>.rs.
"""

import numpy as np

from artifact import sigmoid, softmax

def shared_bottom(a, heads):
    return a.towers("tower", a.hidden("bottom", a.x), heads, "bias")


def esmm(a, heads):
    return a.towers("network", a.x, heads, "bias")


def single_task(a, heads):
    logits = []
    for number, task in enumerate(a.tasks):
        a.read_features(number)
        logits.append(a.towers(f"network.{task}", a.x, len(a.heads_of(task)), f"bias.{task}"))
    return np.concatenate(logits, axis=1)


def mmoe(a, heads, of=None, prefix=""):
    count = (of or a.model)["experts"]
    experts = a.hidden(f"{prefix}expert", a.x, count)
    mixed = a.mix(f"{prefix}gate", a.x, experts, [[*range(count)]] * heads)
    return a.towers(f"{prefix}tower", mixed, heads, f"{prefix}bias")


def own_and_shared(heads, own, shared):
    """Per head: its own experts, then the shared ones, which stand behind all heads' own."""
    return [[*range(head * own, (head + 1) * own), *range(heads * own, heads * own + shared)] for head in range(heads)]


def ple(a, heads):
    own, shared = a.model["task_experts"], a.model["shared_experts"]
    levels, every = len(a.model.get("levels", [None])), [[*range(heads * own + shared)]]
    tasks = common = a.x
    for level in (f"level.{level}" for level in range(levels)):
        if level == "level.0":
            experts = a.hidden(f"{level}.expert", a.x, heads * own + shared)
        else:
            of_tasks = a.hidden(f"{level}.task_expert", tasks, heads * own)
            experts = np.concatenate([of_tasks, a.hidden(f"{level}.shared_expert", common, shared)], axis=1)
        tasks = a.mix(f"{level}.gate", tasks, experts, own_and_shared(heads, own, shared))
        if f"{level}.shared_gate.weight" in a.weights:
            common = a.mix(f"{level}.shared_gate", common, experts, every)
    return a.towers("tower", tasks, heads, "bias")


def adatt(a, heads):
    own, of_level = a.model["task_experts"], a.x
    for level in (f"level.{level}" for level in range(len(a.model["levels"]))):
        experts = a.hidden(f"{level}.expert", of_level, heads * own)
        of_level = a.mix(f"{level}.gate", of_level, experts, [[*range(heads * own)]] * heads)
        weights = a.weights.get(f"{level}.native.weight", np.ones((heads, 1)))
        of_level = of_level + np.einsum("ok,nokw->now", weights, experts.reshape(a.rows, heads, own, -1))
    return a.towers("tower", of_level, heads, "bias")


def stem(a, heads):
    of, s, sets = a.model, a.x, {}
    for number, task in enumerate(a.tasks):
        a.read_features(1 + number)
        sets[task] = a.x
    a.read_features(0)
    x = np.stack([sets[task] for task in a.tasks for _ in a.heads_of(task)], axis=1)
    for level in (f"level.{level}" for level in range(len(of["levels"]))):
        of_tasks = a.hidden(f"{level}.task_expert", x, heads * of["task_experts"])
        experts = np.concatenate([of_tasks, a.hidden(f"{level}.shared_expert", s, of["shared_experts"])], axis=1)

        def mixed(name, read, groups):
            hidden = read.reshape(a.rows, -1)
            for layer in range(len(of["gate_units"])):
                hidden = a.finish(a.affine(f"{name}.{layer}", hidden), f"{name}.{layer}", groups)
            return a.mix(f"{name}.{len(of['gate_units'])}", hidden, experts, [[*range(experts.shape[1])]] * groups)

        x = mixed(f"{level}.gate", x + s[:, None], heads)
        s = mixed(f"{level}.shared_gate", s, 1)[:, 0] if f"{level}.shared_gate.0.weight" in a.weights else s
    return a.towers("tower", x, heads, "bias")


def aitm(a, heads):
    z = a.hidden("bottom", a.x, heads)
    task_of = [task for task in a.tasks for _ in a.heads_of(task)]
    for level in range(1, 1 + max(map(a.depth_of, a.tasks))):
        receivers = [head for head in range(heads) if a.depth_of(task_of[head]) == level]
        senders = [task_of.index(a.tasks[task_of[head]]["after"]) for head in receivers]
        count, own = len(receivers), z[:, receivers]
        received = a.hidden(f"transfer.{level}", z[:, senders], count)
        of = lambda name, u: a.affine(f"attention.{level}.{name}", u.reshape(a.rows, -1)).reshape(own.shape)
        h1, h2, h3 = (np.stack([of(name, received), of(name, own)], axis=2) for name in ("h1", "h2", "h3"))
        weights = softmax((h1 * h2).sum(axis=3) / np.sqrt(own.shape[2]))
        z[:, receivers] = (weights[..., None] * h3).sum(axis=2)
    return a.towers("tower", z, heads, "bias")


def calibrated(a, name, parent, own):
    structure = a.model["structure"].replace("-", "_")
    if structure == "none":
        return own
    told = a.finish(a.affine(f"{name}.0", parent), f"{name}.0")
    if structure == "ctr":
        return np.concatenate([own, a.finish(a.affine(f"{name}.1", told), f"{name}.1")], axis=1)
    if structure == "ctr_scaled":
        return np.concatenate([own, told * sigmoid(a.affine(f"{name}.scale", parent))], axis=1)
    scaled = own * sigmoid(a.affine(f"{name}.1", told))
    return scaled if structure == "cvr" else np.concatenate([own, scaled], axis=1)


def calibration(a, heads):
    def networks(name, x, units, layers):
        hidden = [x] * len(a.tasks)
        for layer in range(len(units) + 1):
            joined = a.gated(name, layer, np.concatenate(hidden, axis=1))
            inputs = np.split(joined, np.cumsum([h.shape[1] for h in hidden])[:-1], axis=1)
            names = [f"{name}.{task}.{layer}" for task in a.tasks]
            if layer == len(units):
                return np.concatenate([a.affine(*pair) for pair in zip(names, inputs)], axis=1)
            if layer == 0:
                first = a.weights[f"{name}.0.weight"].shape[0]
                joined = a.affine(f"{name}.0", joined if first > 1 else x)
                hidden = np.split(a.finish(joined, f"{name}.0", len(hidden)), len(hidden), axis=1)
            else:
                hidden = [a.finish(a.affine(*pair), pair[0]) for pair in zip(names, inputs)]
            for child in sorted(a.tasks, key=a.depth_of) if layer in layers else []:
                if "after" in a.tasks[child]:
                    own, parent = ([*a.tasks].index(task) for task in (child, a.tasks[child]["after"]))
                    hidden[own] = calibrated(a, f"{name}.{child}.{layer}.calibration", hidden[parent], hidden[own])

    of = a.model
    logits = networks("network", a.x, of["units"], of["layers"])
    return logits + networks("bias", a.bias, of["bias_units"], of["bias_layers"]) if a.bias.size else logits


def aem2tl(a, heads):
    of = a.model
    x, parts = a.x, []
    for name, count in ("shared", of["shared_experts"]), ("scenario", of["scenario_experts"]):
        if of["scenario_cgc"] and count:
            parts.append(a.mix(f"{name}_gate", x, a.hidden(f"{name}_expert", x, count), [[*range(count)]]))
    x = np.concatenate(parts, axis=2) if parts else x
    if of["task_cgc"]:
        own, shared = of["task_experts"], of["task_shared_experts"]
        experts = a.hidden("task_expert", x, heads * own + shared)
        x = a.mix("task_gate", x, experts, own_and_shared(heads, own, shared))
    return a.towers("tower", x, heads, "bias")


def ncs4cvr(a, heads):
    x, widths = a.x, [vector.shape[1] for vector in a.vectors]
    if a.model["interaction"] and widths:
        width = max(widths, key=lambda width: (widths.count(width), width))
        alike = np.stack([vector for vector in a.vectors if vector.shape[1] == width], axis=1)
        i, j = np.triu_indices(alike.shape[1])
        x = np.concatenate([(alike[:, i] * alike[:, j]).sum(axis=2), x], axis=1)
    logits = []
    for task in a.tasks:
        hidden = x
        for layer in (f"shared.{layer}" for layer in range(a.depth("shared"))):
            kept = a.weights[f"{layer}.weight"] * a.weights[f"{layer}.mask.{task}"]
            hidden = a.finish(hidden @ kept + a.weights[f"{layer}.bias"], layer, 1, f"{task}.")
        logits.append(a.towers(f"head.{task}", hidden, len(a.heads_of(task)), f"bias.{task}"))
    return np.concatenate(logits, axis=1)


def ektm_of_logits(a, heads):
    of, logits = a.model, []
    for number, task in enumerate(a.tasks):
        if number == 0 or of["tables"] == "own":
            a.read_features(number)
        logits.append(a.towers(f"network.{task}", a.x, len(a.heads_of(task)), f"bias.{task}"))
    alone = original = np.concatenate(logits, axis=1)
    if "shrinkage" in a.weights:
        layers = "transmitter.0.weight" in a.weights
        given = original if layers or not of["router"]["enabled"] else np.tile(original, heads)
        given = a.hidden("transmitter", given, heads) if layers else given
        added = a.affine("enhanced_tower", given.reshape(a.rows, -1))
        alone = original + of["enhanced"]["gain"] * a.weights["shrinkage"] * added
    if "share" not in a.weights:
        return alone
    own, count, common = len(a.tasks) if of["tables"] == "own" else 1, of["shared"].get("networks", 1), []
    for number in range(count):
        a.read_features(own + number)
        prefix = "shared." if count == 1 else f"shared.{number + 1}."
        common.append(mmoe(a, heads, of["shared"].get("network", of["shared"]), prefix))
    return alone + a.weights["share"] * (np.mean(common, axis=0) - alone)


def ektm(a, heads):
    if a.model.get("transfer") == "logits":
        return ektm_of_logits(a, heads)
    of, task_of = a.model, {head: task for task in a.tasks for head in a.heads_of(task)}
    root = lambda task: root(a.tasks[task]["after"]) if "after" in a.tasks[task] else task
    clicks = [head for head in a.heads if root(task_of[head]) == task_of[head]]
    conversions = [head for head in a.heads if head not in clicks]
    sets = list(dict.fromkeys(task_of[head] for head in clicks + conversions))

    def bottoms(name, some):
        if of["tables"] == "shared":
            return a.hidden(name, a.x, len(some))
        first, outputs = [a.x] if of["tables"] == "both" else [], []
        for head in some:
            a.read_features(sets.index(task_of[head]) + len(first))
            outputs.append(a.hidden(f"{name}.{head}", np.concatenate([*first, a.x], axis=1)))
        a.read_features(0)
        return np.concatenate(outputs, axis=1)

    f_ctr, count = bottoms("ctr_bottom", clicks), len(conversions)
    logits = dict(zip(clicks, a.towers("ctr_tower", f_ctr, len(clicks), "ctr_bias").T))
    if conversions:
        f = given = bottoms("cvr_bottom", conversions)
        if of["router"]["enabled"]:
            unit = f / np.sqrt((f * f).sum(axis=2, keepdims=True) + 1e-8)
            like = {"cosine": unit @ unit.swapaxes(1, 2), "learned": a.weights.get("similarity")}
            like = like.get(of["router"]["similarity"])
            like = np.ones((count, count)) if like is None else softmax(like / of["router"]["temperature"])
            given = (f_ctr[:, [clicks.index(root(task_of[head])) for head in conversions]] + like @ f) / (count + 1)
        given = a.hidden("transmitter", given, count) if of["transmitter"]["enabled"] else given
        name = "enhanced" if of["enhanced"]["enabled"] else "original"
        read = np.concatenate([f, given], axis=2) if name == "enhanced" else given
        logits |= dict(zip(conversions, a.towers(f"{name}_tower", read, count, f"{name}_bias").T))
    return np.stack([logits[head] for head in a.heads], axis=1)


MODELS = {
    "single-task": single_task,
    "shared-bottom": shared_bottom,
    "esmm": esmm,
    "mmoe": mmoe,
    "cgc": ple,
    "ple": ple,
    "esm2": esmm,
    "adatt": adatt,
    "stem": stem,
    "aitm": aitm,
    "calibration": calibration,
    "aem2tl": aem2tl,
    "ektm": ektm,
    "ncs4cvr": ncs4cvr,
}
