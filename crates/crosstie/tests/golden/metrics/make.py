"""Makes metrics.json, which the tests of `metric` compare with.

    pip install numpy==2.4.6 scikit-learn==1.9.1
    python make.py

AUC and log-loss come from scikit-learn; the other figures are written here
with numpy, in another way than in Rust. scikit-learn clips probabilities by
the epsilon of their type (2.2e-16) since version 1.3; they are clipped by
1e-15 here before it sees them.
"""

import json
import pathlib

import numpy as np
from sklearn.metrics import log_loss, roc_auc_score

BINS = 20


def figures(labels, scores, weights, groups):
    """One leaf of metrics.json. Rows of weight 0 do not count."""
    counts = weights > 0
    labels, scores, weights = labels[counts], scores[counts], weights[counts]
    out = {
        "rows": len(labels),
        "positives": int(labels.sum()),
        "auc": None,
        "gauc": None,
        "gauc_groups": 0,
        "gauc_skipped": 0,
        "logloss": None,
        "ne": None,
        "pcoc": None,
        "ece": None,
    }
    if groups is not None:
        out |= grouped(labels, scores, weights, groups[counts])
    if len(labels) == 0:
        return out
    clipped = np.clip(scores, 1e-15, 1 - 1e-15)
    out["logloss"] = log_loss(labels, clipped, sample_weight=weights, labels=[0, 1])
    out["ece"] = ece(labels, scores, weights)
    rate = np.average(labels, weights=weights)
    if rate > 0:
        out["pcoc"] = np.average(scores, weights=weights) / rate
    if 0 < rate < 1:
        out["auc"] = roc_auc_score(labels, scores, sample_weight=weights)
        out["ne"] = out["logloss"] / -(rate * np.log(rate) + (1 - rate) * np.log(1 - rate))
    return out


def grouped(labels, scores, weights, groups):
    aucs, masses, skipped = [], [], 0
    for group in np.unique(groups):
        of = groups == group
        if len(np.unique(labels[of])) < 2:
            skipped += 1
            continue
        aucs.append(roc_auc_score(labels[of], scores[of], sample_weight=weights[of]))
        masses.append(weights[of].sum())
    gauc = np.average(aucs, weights=masses) if aucs else None
    return {"gauc": gauc, "gauc_groups": len(aucs), "gauc_skipped": skipped}


def ece(labels, scores, weights):
    """Each distinct score goes to the bin that holds the middle of its mass."""
    distinct, which = np.unique(scores, return_inverse=True)
    mass = np.bincount(which, weights=weights)
    middle = np.cumsum(mass) - mass / 2
    edges = np.arange(1, BINS) * mass.sum() / BINS
    bins = np.searchsorted(edges, middle, side="right")[which]
    total = 0.0
    for bin in range(BINS):
        of = bins == bin
        if of.any():
            gap = np.average(scores[of], weights=weights[of]) - np.average(labels[of], weights=weights[of])
            total += weights[of].sum() * abs(gap)
    return total / weights.sum()


def case(name, labels, scores, weights=None, groups=None):
    labels, scores = np.asarray(labels, dtype=int), np.asarray(scores, dtype=float)
    ones = np.ones(len(labels))
    return {
        "name": name,
        "labels": labels.tolist(),
        "scores": scores.tolist(),
        "weights": None if weights is None else weights.tolist(),
        "groups": None if groups is None else groups.tolist(),
        "figures": figures(labels, scores, ones if weights is None else weights, groups),
    }


def cases(rng):
    def draw(rows, bias, digits):
        logit = rng.normal(bias, 1.2, rows)
        labels = (rng.random(rows) < 1 / (1 + np.exp(-logit))).astype(int)
        # Noisy and biased predictions, so that no figure is near a round number.
        return labels, np.round(1 / (1 + np.exp(-(0.8 * logit + rng.normal(0.3, 0.7, rows)))), digits)

    yield case("distinct scores", *draw(300, -1, 9))
    yield case("many ties", *draw(300, -1, 1))
    yield case("weights", *draw(300, -1, 2), weights=np.round(rng.gamma(1.0, 2.0, 300), 3))
    yield case("integer weights with zeros", *draw(150, 0, 2), weights=rng.integers(0, 4, 150).astype(float))
    yield case("rare positives", *draw(400, -4, 6))
    groups = rng.geometric(0.05, 400)
    yield case("groups", *draw(400, -1, 2), groups=groups)
    yield case("weighted groups", *draw(400, -1, 2), weights=np.round(rng.gamma(1.0, 2.0, 400), 3), groups=groups)
    yield case("certain and wrong", [0, 1, 0, 1, 1], [0.0, 1.0, 1.0, 0.0, 0.5])
    yield case("one row", [1], [0.3], groups=np.array([7]))
    yield case("one class", [0, 0, 0], [0.1, 0.2, 0.2], groups=np.array([7, 7, 8]))
    yield case("no rows", [], [])


def report(rng):
    """A whole evaluation: click, buy after click, like after click or directly."""
    rows = 240
    tasks = ["click", "buy", "like"]
    latent = rng.normal(size=rows)
    given_parent = np.round(1 / (1 + np.exp(-(latent[:, None] + [-0.5, -1, -1.5]))), 3)
    joint = given_parent.copy()
    joint[:, 1] = np.round(given_parent[:, 0] * given_parent[:, 1], 4)
    click = (rng.random(rows) < given_parent[:, 0]).astype(float)
    buy = click * (rng.random(rows) < given_parent[:, 1])
    like = (rng.random(rows) < given_parent[:, 2] * (0.3 + 0.7 * click)).astype(float)
    labels = np.stack([click, buy, like], axis=1)
    labels[rng.random((rows, 3)) < 0.05] = np.nan
    # Quarters are exact in the f32 in which a batch holds its weights.
    weights = rng.integers(1, 9, rows) / 4
    groups = rng.integers(0, 25, rows)
    scenarios = rng.choice([1, 2], p=[0.8, 0.2], size=rows)
    click, buy, like = labels.T

    clicked = click == 1
    samples = {
        "click": [(click, ~np.isnan(click)), (click, ~np.isnan(click))],
        "buy": [
            (buy, clicked & ~np.isnan(buy)),
            # Left out where it is not known whether there was a click, or, after one, a purchase.
            (np.where((buy == 1) & clicked, 1.0, 0.0), (click == 0) | (clicked & ~np.isnan(buy))),
        ],
        "like": [(like, clicked & ~np.isnan(like)), (like, ~np.isnan(like))],
    }

    def leaf(task, meaning, part):
        truth, known = samples[tasks[task]][meaning]
        known = known & part
        scores = (given_parent, joint)[meaning][:, task]
        return figures(truth[known].astype(int), scores[known], weights[known], groups[known])

    def leaves(part):
        return {
            name: {"given_parent": leaf(task, 0, part), "from_impression": leaf(task, 1, part)}
            for task, name in enumerate(tasks)
        }

    return {
        "labels": [None if np.isnan(label) else int(label) for label in labels.ravel()],
        "weights": weights.tolist(),
        "groups": groups.tolist(),
        "scenarios": scenarios.tolist(),
        "given_parent": given_parent.ravel().tolist(),
        "from_impression": joint.ravel().tolist(),
        "report": {
            "rows": rows,
            "tasks": leaves(np.full(rows, True)),
            "scenarios": {
                name: {"rows": int((scenarios == index).sum()), "tasks": leaves(scenarios == index)}
                for index, name in enumerate(["other", "feed", "search"])
            },
        },
    }


def divergence(rng):
    truth, predicted = np.round(rng.random(50), 3), np.round(rng.random(50), 3)
    truth[:3], predicted[:3] = [0.0, 1.0, 0.5], [0.25, 0.75, 0.0]
    clipped = np.clip(predicted, 1e-15, 1 - 1e-15)
    # scikit-learn's log-loss of soft labels: each row once as positive, once as negative.
    cross_entropy = log_loss(np.repeat([1, 0], 50), np.tile(clipped, 2), sample_weight=np.r_[truth, 1 - truth])
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = -np.nan_to_num(truth * np.log(truth)) - np.nan_to_num((1 - truth) * np.log(1 - truth))
    return {
        "predicted": predicted.tolist(),
        "truth": truth.tolist(),
        "cross_entropy": cross_entropy,
        "kl": cross_entropy - entropy.mean(),
    }


if __name__ == "__main__":
    rng = np.random.default_rng(20250101)
    golden = {"cases": list(cases(rng)), "evaluation": report(rng), "divergence": divergence(rng)}
    path = pathlib.Path(__file__).with_name("metrics.json")
    lines = ",\n".join(json.dumps(case, allow_nan=False) for case in golden["cases"])
    rest = ",\n".join(f"{json.dumps(key)}: {json.dumps(golden[key], allow_nan=False)}" for key in list(golden)[1:])
    path.write_text(f'{{"cases": [\n{lines}\n],\n{rest}\n}}\n')
