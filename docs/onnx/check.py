"""Holds exported models against what crosstie predicts:

    python3 docs/onnx/check.py ROWS.csv DIRECTORY=SCORES.csv...

SCORES.csv is what `crosstie predict --data ROWS.csv` has written. Every model is checked
by `onnx.checker`, and scores the rows by onnxruntime in batches of 1, 7 and 4096. Needs
the packages numpy, onnx and onnxruntime, and xxhash where fields are hashed.
"""

import csv
import sys
from pathlib import Path

import numpy as np
import onnx

from feed import Model

# Largest difference between two logits.
LARGEST = 1e-4
# How often each size of a batch is tried.
BATCHES = {1: 40, 7: 10, 4096: 2}
PREFIX = {"given_parent": "p", "from_impression": "joint"}


def logit(p):
    return np.log(p) - np.log1p(-p)


def read(path):
    with open(path, newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


rows = read(sys.argv[1])
for argument in sys.argv[2:]:
    directory, scores = map(Path, argument.split("="))
    onnx.checker.check_model(directory / "model.onnx", full_check=True)
    model, expected = Model(directory), read(scores)
    apart = 0.0
    for size, times in BATCHES.items():
        for start in range(0, min(times * size, len(rows)), size):
            found = model.score(rows[start : start + size])
            for output in model.about["outputs"]:
                column = f"{PREFIX[output['means']]}_{output['task']}"
                wanted = np.array([float(row[column]) for row in expected[start : start + size]])
                p = found[output["name"]].astype(float)
                assert p.shape == wanted.shape, f"{directory}: {output['name']} of shape {p.shape}"
                apart = max(apart, np.abs(logit(p) - logit(wanted)).max())
    print(f"{model.about['model']:14} {model.about['form']:4} {apart:.1e}", flush=True)
    assert apart <= LARGEST, f"{directory}: logits {apart} apart"
