"""Who is right about all rows, clicked or not: the table of docs/results/synth-1m.md.

    cargo build --release
    python3 docs/results/synth-1m.py target/release/crosstie OUT

Prints, for every model, the click AUC beside its ceiling, and the log-loss of p(conversion | parent action) against
the true probabilities over all impressions. Needs Python's standard library only. OUT is a directory for data and runs.
"""
import csv, json, math, pathlib, subprocess, sys

ROWS, EPOCHS = 1_000_000, 2
TASKS = ["click", "like", "follow", "cart", "buy"]
RUNS = [(name, {}) for name in ["single-task", "shared-bottom", "esmm", "mmoe", "cgc", "ple", "ektm"]]
# The same network as ESMM, with every conversion learned on clicked rows only.
RUNS.insert(3, ("esmm", {"objective.space": "parent"}))

crosstie, out = sys.argv[1], pathlib.Path(sys.argv[2])


def run(*arguments):
    subprocess.run([crosstie, *map(str, arguments), "--quiet"], check=True, stdout=subprocess.DEVNULL)


def auc(labels, scores):
    order = sorted(range(len(scores)), key=scores.__getitem__)
    positives = sum(labels)
    ranks, at = 0.0, 0
    while at < len(order):
        end = at
        while end < len(order) and scores[order[end]] == scores[order[at]]:
            end += 1
        ranks += sum(labels[i] for i in order[at:end]) * (at + 1 + end) / 2
        at = end
    return (ranks - positives * (positives + 1) / 2) / (positives * (len(labels) - positives))


def cross_entropy(truth, predicted):
    return -sum(p * math.log(q) + (1 - p) * math.log1p(-q) for p, q in zip(truth, predicted)) / len(truth)


data, config = out / "data", out / "config.toml"
run("synth", "--rows", ROWS, "--out", data)
config.write_text(f'[data]\ndir = "{data}"\n[model]\nname = "mmoe"\n[train]\nepochs = {EPOCHS}\n')
table, ceiling = [], None
for name, extra in RUNS:
    title = name + "".join(f", {value}" for value in extra.values())
    where = out / title.replace(", ", "-")
    settings = [f"model.name={name}", *(f"{key}={value}" for key, value in extra.items())]
    run("train", config, "--out", where, "--overwrite", *(part for setting in settings for part in ("--set", setting)))
    scores = out / "scores.csv"
    keep = ["click", *(f"true_{task}" for task in TASKS)]
    run("predict", where / "artifact", "--data", data / "test.parquet", "--out", scores, *(p for k in keep for p in ("--keep", k)))
    with open(scores) as file:
        rows = list(csv.DictReader(file))
    column = lambda key: [float(row[key]) for row in rows]
    if ceiling is None:
        ceiling = auc(column("click"), column("true_click"))
        floor = [cross_entropy(column(f"true_{task}"), column(f"true_{task}")) for task in TASKS[1:]]
    reached = json.load(open(where / "metrics.json"))["tasks"]["click"]["from_impression"]["auc"]
    table.append((title, reached, [cross_entropy(column(f"true_{task}"), column(f"p_{task}")) for task in TASKS[1:]]))

print(f"| model | click AUC | below the ceiling | {' | '.join(TASKS[1:])} |")
print("|---" * (2 + len(TASKS)) + "|")
print(f"| the truth itself | {ceiling:.4f} | | {' | '.join(f'{loss:.4f}' for loss in floor)} |")
for title, reached, losses in table:
    print(f"| {title} | {reached:.4f} | {ceiling - reached:.4f} | {' | '.join(f'{loss:.4f}' for loss in losses)} |")
