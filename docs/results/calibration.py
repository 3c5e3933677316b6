"""Calibration compared with others on held-out halves, and before and after on test files.

    cargo build --release
    python3 docs/results/strangers.py prepare --logs LOGS --binary target/release/crosstie
    python3 docs/results/calibration.py target/release/crosstie OUT DIR:MODEL[:KEY=VALUE]...

prints the tables of calibration.md. DIR is a log of LOGS, or any that holds schema.toml, train.parquet,
valid.parquet and test.parquet; OUT is a directory for runs. Needs the packages numpy, pyarrow and
scikit-learn. Every model is trained twice, with its calibration off for the halves. Direct tasks and
what comes after them are compared given the parent alone.
"""
import json, subprocess, sys, tomllib
from pathlib import Path

import numpy as np, pyarrow.parquet
from sklearn.isotonic import IsotonicRegression

METHODS = ["none", "likeliest", "drawn back", "isotonic", "beta"]
SPLITS = 5
crosstie, out = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
sigmoid = lambda z: 1 / (1 + np.exp(-z))
losses = lambda y, p: -np.where(y == 1, np.log(np.maximum(p, 1e-12)), np.log(np.maximum(1 - p, 1e-12)))


def cost(map, z, own, label, way, whole):
    """Minus the log-likelihood: on the rows `own` of p, and with `way` of way · p on all."""
    p = sigmoid(map[0] * z + map[1])
    return losses(label[own], p[own]).sum() + (0 if way is None else losses(whole, way * p).sum())


def likeliest(z, own, label, way, whole):
    centre = z[own].mean()
    log_slope, level = 0.0, centre
    map = lambda log_slope, level: np.array([np.exp(log_slope), level - np.exp(log_slope) * centre])
    now = cost(map(log_slope, level), z, own, label, way, whole)
    for _ in range(50):
        along = np.exp(log_slope) * (z - centre)
        p = sigmoid(along + level)
        slope, curvature = np.where(own, label - p, 0), np.where(own, p * (1 - p), 0)
        if way is not None:
            product = np.maximum(way * p, 1e-300)
            moved = product * (1 - p)
            slope = slope + (whole - product) * moved / (product * (1 - product))
            curvature = curvature + moved**2 / (product * (1 - product))
        x = np.stack([along, np.ones_like(z)])
        step = np.linalg.solve((x * curvature) @ x.T + 1e-12 * np.eye(2), x @ slope)
        for share in 0.5 ** np.arange(30):
            to = np.clip(log_slope + share * step[0], -3, 3), level + share * step[1]
            cost_there = cost(map(*to), z, own, label, way, whole)
            if cost_there < now:
                break
        if not now - cost_there > 1e-10:
            break
        (log_slope, level), now = to, cost_there
    return map(log_slope, level)


def drawn_back(*rows):
    z, own, label, way, whole = rows
    if min(label[own].sum(), own.sum() - label[own].sum()) < 10:
        return np.array([1.0, 0.0])
    found = likeliest(*rows)
    gained = 2 * (cost((1, 0), *rows) - cost(found, *rows))
    return (1, 0) + max(0, 1 - (2 if way is None else 4) / max(gained, 1e-9)) * (found - (1, 0))


def beta(p, y):
    """Kull et al., 2017: three numbers."""
    columns = lambda p: np.stack([np.log(p), -np.log1p(-p), np.ones_like(p)], 1)
    x, w = columns(p), np.array([1.0, 1.0, 0.0])
    for _ in range(60):
        q = sigmoid(x @ w)
        w = w + np.linalg.solve((x * (q * (1 - q))[:, None]).T @ x + 1e-8 * np.eye(3), x.T @ (y - q))
    return lambda p: sigmoid(columns(p) @ w)


def columns(path):
    table = pyarrow.parquet.read_table(path)
    return lambda name: table[name].to_numpy(zero_copy_only=False).astype(float)


def halves(schema, data, scores):
    """Per task and meaning, per method: (log-loss, rows, predicted, happened) of each held-out half."""
    found = {}
    for seed in range(SPLITS):
        half = None
        for fit_first in (True, False):
            for method in METHODS:
                joint, happened, alone = {}, {}, {}
                for task in schema["task"]:
                    name, parent, direct = task["name"], task.get("after"), task.get("direct", False)
                    # From the impression such a task, and what comes after it, is no product of these.
                    alone[name] = direct or alone.get(parent, False)
                    label = data(task.get("label", name))
                    half = np.random.default_rng(seed).permutation(len(label)) < len(label) // 2
                    a = half if fit_first else ~half
                    happened[name] = label if parent is None or direct else label * happened[parent]
                    own = np.isfinite(label) if parent is None else np.isfinite(label) & (happened[parent] == 1)
                    two = parent is not None and not alone[name]
                    p = np.clip(scores(f"p_{name}"), 1e-12, 1 - 1e-12)
                    z = np.log(p) - np.log1p(-p)
                    rows = z[a], own[a], label[a], joint[parent][a] if two else None, happened[name][a]
                    if method in ("likeliest", "drawn back"):
                        slope, intercept = (likeliest if method == "likeliest" else drawn_back)(*rows)
                        p = sigmoid(slope * z + intercept)
                    elif method == "isotonic":
                        fitted = IsotonicRegression(out_of_bounds="clip", y_min=1e-6, y_max=1 - 1e-6)
                        p = fitted.fit(z[a & own], label[a & own]).predict(z)
                    elif method == "beta":
                        p = beta(p[a & own], label[a & own])(p)
                    joint[name] = joint[parent] * p if two else p
                    for on, rows, y, q in [("given parent" if parent else "", ~a & own, label, p)] + (
                        [("from impression", ~a, happened[name], joint[name])] if two else []
                    ):
                        of = found.setdefault((name, on), {}).setdefault(method, [])
                        of.append((losses(y[rows], q[rows]).sum(), rows.sum(), q[rows].sum(), y[rows].sum()))
    return found


def train(name, model, settings, directory, calibrated):
    run = out / "-".join([name, model, *settings, "on" if calibrated else "off"]).replace("=", "-")
    config = Path(f"{run}.toml")
    config.write_text(f"[data]\ndir = {json.dumps(directory)}\n[model]\nname = \"{model}\"\n[train]\n"
                      f"checkpoint_every = \"never\"\n[calibration]\nenabled = {json.dumps(calibrated)}\n")
    more = [part for setting in settings for part in ("--set", setting)]
    call = lambda *arguments: subprocess.run([crosstie, *map(str, arguments), "--quiet"], check=True, capture_output=True)
    if not (run / "metrics.json").exists():
        call("train", config, "--out", run, *more)
    if not calibrated:
        call("predict", run, "--data", f"{directory}/valid.parquet", "--out", Path(f"{run}.parquet"))
    return run


out.mkdir(exist_ok=True)
total, factors, compared, tested = {method: 0 for method in METHODS}, {method: [] for method in METHODS}, [], []
for argument in sys.argv[3:]:
    directory, model, *settings = argument.split(":")
    log = Path(directory).name
    title = ", ".join([log, model, *settings])
    schema = tomllib.loads(Path(directory, "schema.toml").read_text())
    run = train(log, model, settings, directory, False)
    found = halves(schema, columns(f"{directory}/valid.parquet"), columns(Path(f"{run}.parquet")))
    for (task, on), methods in found.items():
        cells = []
        for method, of in methods.items():
            of = np.array(of)
            gain = (of[:, 0] - np.array(methods["none"])[:, 0]).mean()
            factor = np.sqrt(np.mean(np.log(of[:, 2] / np.maximum(of[:, 3], 1)) ** 2))
            total[method] += gain
            factors[method].append(factor)
            cells.append(f"{gain:+.1f} / {np.exp(factor):.2f}")
        positives = np.array(methods["none"])[:, 3].mean()
        compared.append(f"| {title} | {' '.join([task, on]).strip()} | {positives:.0f} | {' | '.join(cells)} |")
    metrics = json.loads((train(log, model, settings, directory, True) / "metrics.json").read_text())
    for task, meanings in metrics["tasks"].items():
        parents = {task["name"]: task.get("after") for task in schema["task"]}
        for meaning, of in meanings.items():
            if of["pcoc"] and (parents[task] or meaning == "from_impression"):
                before = of["uncalibrated"]
                on = meaning.replace("_", " ") if parents[task] else ""
                tested.append(f"| {title} | {' '.join([task, on]).strip()} | {of['positives']:,} | {before['pcoc']:.3f} | "
                              f"{of['pcoc']:.3f} | {before['logloss']:.5f} | {of['logloss']:.5f} |")

row = lambda cells: "| " + " | ".join(cells) + " |"
sums = [f"{total[method]:+.1f} / {np.exp(np.mean(factors[method])):.3f}" for method in METHODS]
print("\n".join([
    row(["log, model", "task", "positives", *METHODS]), "|---" * (3 + len(METHODS)) + "|", *compared,
    row(["**sum / mean**", "", "", *sums]), "",
    row(["log, model", "task", "positives", "PCOC before", "after", "log-loss before", "after"]), "|---" * 7 + "|",
    *tested,
]))
