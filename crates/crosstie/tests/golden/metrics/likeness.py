"""Makes likeness.json, which the tests of `metric` compare with.

    pip install numpy==2.4.6 scikit-learn==1.9.1
    python likeness.py

The adjusted Rand index and the nearest neighbours come from scikit-learn.
"""

import json
import pathlib

import numpy as np
from sklearn.metrics import adjusted_rand_score
from sklearn.neighbors import NearestNeighbors


def partition(one, other):
    one, other = np.asarray(one).tolist(), np.asarray(other).tolist()
    return {"one": one, "other": other, "adjusted_rand": adjusted_rand_score(one, other)}


def partitions(rng):
    one = rng.integers(0, 6, 200)
    yield partition(one, rng.integers(0, 4, 200))
    yield partition(one, np.where(rng.random(200) < 0.7, one, rng.integers(0, 6, 200)))
    yield partition(one, (one + 3) % 6)
    yield partition(one, one // 2)
    yield partition([0, 0, 1, 1], [0, 1, 0, 1])
    yield partition([0, 0, 0], [5, 5, 5])
    yield partition([0, 1, 2], [2, 0, 1])
    yield partition([0, 0, 0], [0, 1, 2])


def nearest(points, k):
    """The k nearest by cosine, of a point that is not its own neighbour."""
    return NearestNeighbors(n_neighbors=k, metric="cosine").fit(points).kneighbors(return_distance=False)


def overlap(rng, rows, widths, k, noise):
    # Eighths are exact in float32.
    one = np.round(rng.normal(0.5, 1.0, (rows, widths[0])) * 8) / 8
    other = np.round((one @ rng.normal(size=widths) + noise * rng.normal(size=(rows, widths[1]))) * 8) / 8
    shared = [len(set(a) & set(b)) / k for a, b in zip(nearest(one, k), nearest(other, k))]
    return {
        "k": k,
        "widths": list(widths),
        "one": one.ravel().tolist(),
        "other": other.ravel().tolist(),
        "overlap": float(np.mean(shared)),
    }


if __name__ == "__main__":
    rng = np.random.default_rng(20250102)
    golden = {
        "partitions": list(partitions(rng)),
        "overlaps": [
            overlap(rng, 80, (6, 5), 10, 0.5),
            overlap(rng, 60, (4, 4), 1, 0.0),
            overlap(rng, 40, (5, 8), 7, 100.0),
        ],
    }
    blocks = [f'"{key}": [\n' + ",\n".join(map(json.dumps, cases)) + "\n]" for key, cases in golden.items()]
    pathlib.Path(__file__).with_name("likeness.json").write_text("{" + ",\n".join(blocks) + "}\n")
