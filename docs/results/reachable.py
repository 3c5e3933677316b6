"""How much of the distance to the best possible a synthetic log lets anybody learn.

    crosstie synth --out LOG --rows 1000000 --seed 1
    python3 docs/results/reachable.py LOG

Fits the generator's own form (crates/crosstie/src/data/synth/world.rs) to the training rows of a default log, all
tasks at once: the same tastes, directions and appeal, with the spread that the generator draws them with as their
prior, so that what is unknown are the numbers alone. The most likely numbers are found by Adam over all rows. No
model of a real log could know so much. Prints the AUC given the parent that its scores of the test rows have in the
mean over all labels that the truth could have given, and the best possible.

Needs jax, pandas and pyarrow. Nothing is chosen by the test rows.
"""
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from expected import expected_auc

TASKS = ["click", "like", "follow", "cart", "buy"]
PARENTS = {"like": "click", "follow": "click", "cart": "click", "buy": "cart"}
# Of world.rs.
DIMENSIONS, APPEAL_DIRECTION, OWN_APPEAL = 8, 1, 0.6
APPEAL, PREFERENCE = np.array([0.95, 1.1, 1.1, 1.1, -0.4]), np.array([0.42, 0.65, 0.65, 0.65, 0.75])
LEVELS = {"segment": 16, "city": 40, "category": 24, "brand": 120, "tags": 60}
DIRECTIONS = np.zeros((5, DIMENSIONS))
DIRECTIONS[0, 0] = 1.0
for task in range(1, 5):
    DIRECTIONS[task, 2], DIRECTIONS[task, task + 3] = 0.95, (1 - 0.95**2) ** 0.5
STEPS, RATE = 200, 0.05

files = {part: pd.read_parquet(f"{sys.argv[1]}/{part}.parquet") for part in ("train", "test")}
every = pd.concat(files.values())
numbers = lambda names: names.str.split("-").str[-1].astype(int).to_numpy()
users = every.drop_duplicates("user_id").set_index("user_id").sort_index()
items = every.drop_duplicates("item_id").set_index("item_id").sort_index()
scenarios, devices = sorted(every.scenario.unique()), sorted(every.device.unique())
tags = [[int(tag.split("-")[1]) for tag in some.split(",")] for some in items.tags]
of_user = {"segment": numbers(users.segment), "city": numbers(users.city)}
of_item = {"category": numbers(items.category), "brand": numbers(items.brand)}
age, activity = ((users.age.to_numpy() - 40) / 12)[:, None], np.log(users.activity.to_numpy()) - 1
price, tag_counts = np.log(items.price.to_numpy()) - 3, np.array([len(some) for some in tags])[:, None]
tags = np.array([some + [LEVELS["tags"]] * (3 - len(some)) for some in tags])


def columns(rows):
    """Everything of the rows as places in tables."""
    return {
        "user": users.index.get_indexer(rows.user_id),
        "item": items.index.get_indexer(rows.item_id),
        "scenario": rows.scenario.map(scenarios.index).to_numpy(),
        "device": rows.device.map(devices.index).to_numpy(),
        "hour": rows.hour.to_numpy(),
        "position": rows.position.to_numpy() - 1,
    }


def start():
    """Standard normals in units of their spread, near zero; the rest where the generator has it."""
    draw = np.random.default_rng(0).normal
    spread = lambda *shape: 0.1 * draw(size=shape)
    unknown = {name: spread(levels, DIMENSIONS) for name, levels in LEVELS.items()}
    unknown |= {"age": spread(DIMENSIONS), "user": 0.1 * spread(len(users), DIMENSIONS)}
    unknown |= {"item": 0.1 * spread(len(items), DIMENSIONS), "own appeal": spread(len(items))}
    unknown |= {"drift": np.zeros((len(scenarios), 5, DIMENSIONS)), "offset": np.zeros((len(scenarios), 5))}
    free = {"intercept": np.array([-1.6, -2.6, -4.0, -2.3, -2.0]), "preference": PREFERENCE, "appeal": APPEAL}
    free |= {"price": np.zeros(5), "activity": np.zeros(()), "position": np.zeros(10), "hour": np.zeros(24)}
    return jax.tree.map(lambda some: jnp.array(some, jnp.float32), (unknown, free | {"device": np.zeros(3)}))


def logits(model, rows):
    unknown, free = model
    of_tags = jnp.concatenate([unknown["tags"], jnp.zeros((1, DIMENSIONS))])[tags].sum(1) / tag_counts
    z = 0.7 * unknown["segment"][of_user["segment"]] + 0.5 * unknown["city"][of_user["city"]]
    z = z + 0.3 * age * unknown["age"] + 0.15 * unknown["user"]
    w = 0.7 * unknown["category"][of_item["category"]] + 0.5 * unknown["brand"][of_item["brand"]]
    w = (w + 0.4 * of_tags + 0.15 * unknown["item"]).at[:, APPEAL_DIRECTION].add(OWN_APPEAL * unknown["own appeal"])
    directions = DIRECTIONS + 0.15 * unknown["drift"]
    directions = directions / jnp.linalg.norm(directions, axis=-1, keepdims=True)
    user, item, scenario = rows["user"], rows["item"], rows["scenario"]
    liked = lambda tastes, who: jnp.einsum("nd,ktd->nkt", tastes, directions).reshape(-1, 5)[who * len(scenarios) + scenario]
    p, q = liked(z, user), liked(w, item)
    drawn, drawing = z[:, APPEAL_DIRECTION][user], w[:, APPEAL_DIRECTION][item]
    appeal = 0.6 * drawn + 0.7 * drawing + 0.4 * drawn * drawing
    sums = free["intercept"] + 0.35 * unknown["offset"][scenario] + free["preference"] * (p + q + 0.6 * p * q)
    sums = sums + free["appeal"] * appeal[:, None] + free["price"] * price[item][:, None]
    of_click = free["activity"] * activity[user] + sum(free[name][rows[name]] for name in ("position", "hour", "device"))
    return sums.at[:, 0].add(of_click)


rows, labels = columns(files["train"]), jnp.array(files["train"][TASKS].fillna(0).to_numpy(np.float32))
counts = [files["train"][PARENTS[task]].fillna(0) if task in PARENTS else np.ones(len(labels)) for task in TASKS]
counts = jnp.array(np.stack(counts, 1), jnp.float32)


def loss(model):
    said = logits(model, rows)
    square = sum((some**2).sum() for some in model[0].values())
    near = sum(((model[1][name] - start) ** 2).sum() for name, start in (("preference", PREFERENCE), ("appeal", APPEAL)))
    return (counts * (jnp.logaddexp(0.0, said) - labels * said)).sum() + square / 2 + near / 2 / 0.1**2


slope = jax.jit(jax.grad(loss))
model = start()
first, second = (jax.tree.map(jnp.zeros_like, model) for _ in range(2))
for step in range(1, STEPS + 1):
    gradient = slope(model)
    rate = RATE * min(1, step / 10) * (1 + np.cos(np.pi * step / STEPS)) / 2
    first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradient)
    second = jax.tree.map(lambda v, g: 0.99 * v + 0.01 * g * g, second, gradient)
    move = lambda x, m, v: x - rate * (m / (1 - 0.9**step)) / (jnp.sqrt(v / (1 - 0.99**step)) + 1e-8)
    model = jax.tree.map(move, model, first, second)

test, left = files["test"], []
scores = np.array(logits(model, columns(test)), np.float64)
for place, task in enumerate(TASKS):
    weights = test[f"true_joint_{PARENTS[task]}"] if task in PARENTS else pd.Series(1.0, test.index)
    weights, truth = list(weights), list(test[f"true_{task}"])
    found, best = (expected_auc(weights, truth, some) for some in (list(scores[:, place]), truth))
    left.append(best - found)
    print(f"{task:8} {found:.4f} of {best:.4f}")
print(f"left in the mean over tasks: {np.mean(left):.4f}")
