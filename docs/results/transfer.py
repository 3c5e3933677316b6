"""Does transfer help, and does it harm? Models on logs whose truth is known: the tables of docs/results/transfer.md.

    cargo build --release
    python3 docs/results/transfer.py target/release/crosstie OUT [models new ablations balancing averages ceiling]

Needs Python's standard library only. OUT is a directory for logs and runs. Runs that are there already are not made
again, so that the script can be stopped and started. It writes every figure into docs/results/transfer.json, and the
tables into the marked parts of docs/results/transfer.md.

Every model has its default settings. A figure is the AUC given the parent action that a model's scores of the test
rows have in the mean over all labels that the truth could have given: there is no label noise in it, however rare
the action. Differences are paired: same log, same training seed.
"""
import csv, json, math, pathlib, statistics, subprocess, sys
from concurrent.futures import ProcessPoolExecutor

from expected import expected_auc

HERE = pathlib.Path(__file__).parent
TASKS = ["click", "like", "follow", "cart", "buy"]
PARENTS = {"like": "click", "follow": "click", "cart": "click", "buy": "cart"}
# What relates the conversions of a log to each other. `--selection 0`: nothing but their preferences does.
KINDS = {
    "default": [],
    "related": ["--selection", 0, "--relation", "related"],
    "two groups": ["--selection", 0, "--relation", "two-groups"],
    "unrelated": ["--selection", 0, "--relation", "unrelated"],
}
ROWS, LOGS, SEEDS = 200_000, [11, 12, 13], [1, 2]
# No choice was ever made by these.
NEW_LOGS = [14]
MODELS = ["single-task", "mmoe", "ple", "stem", "adatt", "ektm"]
# Name: model, settings.
ABLATIONS = {
    "ektm": ("ektm", []),
    "w/o shared network": ("ektm", ["model.shared.enabled=false"]),
    "shared rows at rate 4": ("ektm", ["model.shared.row_rate=4"]),
    "w/o router": ("ektm", ["model.router.enabled=false"]),
    "w/o transmitter": ("ektm", ["model.transmitter.enabled=false"]),
    "w/o enhancement": ("ektm", ["model.enhanced.enabled=false"]),
    "w/o both": ("ektm", ["model.enhanced.enabled=false", "model.shared.enabled=false"]),
    "shared tables": ("ektm", ["model.tables=shared"]),
}
BALANCED = {
    "mmoe": ("mmoe", []),
    "uncertainty": ("mmoe", ["balance.name=uncertainty"]),
    "weights auto": ("mmoe", ["objective.weights=auto"]),
    "multibalance, every 10": ("mmoe", ["balance.name=multibalance", "balance.every=10"]),
    "adatask": ("mmoe", ["balance.name=adatask"]),
}
AVERAGES = {
    "single-task": ("single-task", []),
    "single-task, last weights": ("single-task", ["train.average=false"]),
    "mmoe": ("mmoe", []),
    "mmoe, last weights": ("mmoe", ["train.average=false"]),
}

crosstie, out = sys.argv[1], pathlib.Path(sys.argv[2])
wanted = sys.argv[3:] or ["models", "new", "ablations", "balancing", "averages", "ceiling"]


def call(*arguments):
    done = subprocess.run([crosstie, *map(str, arguments), "--quiet"], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"crosstie {' '.join(map(str, arguments))}\n{done.stderr}")


def log_of(kind, rows, seed):
    where = out / "logs" / f"{kind.replace(' ', '-')}-{rows}-{seed}"
    if not (where / "test.parquet").exists():
        call("synth", "--out", where, "--rows", rows, "--seed", seed, *KINDS[kind])
    return where


def expected_loss(weights, truth, scores):
    clipped = [min(max(score, 1e-12), 1 - 1e-12) for score in scores]
    each = (-w * (t * math.log(p) + (1 - t) * math.log(1 - p)) for w, t, p in zip(weights, truth, clipped))
    return sum(each) / sum(weights)


def run(job):
    """Figures of a run, from its directory if it is there already."""
    kind, rows, log_seed, model, settings, seed = job
    where = log_of(kind, rows, log_seed)
    name = "-".join([model, *(setting.replace("model.", "").replace('"', "") for setting in settings), str(seed)])
    directory = out / "runs" / where.name / name.replace("/", "").replace(" ", "")
    found = directory / "expected.json"
    if not found.exists():
        directory.parent.mkdir(parents=True, exist_ok=True)
        config = directory.parent / f"{directory.name}.toml"
        config.write_text(f'[data]\ndir = "{where}"\n[model]\nname = "{model}"\n')
        sets = [*settings, f"train.seed={seed}", "train.threads=1"]
        call("train", config, "--out", directory, "--overwrite", *(part for one in sets for part in ("--set", one)))
        keep = [column for task in TASKS for column in (f"true_{task}", f"true_joint_{task}")]
        scores = directory / "scores.csv"
        call("predict", directory / "artifact", "--data", where / "test.parquet", "--out", scores, *(part for one in keep for part in ("--keep", one)))
        rows_of = list(csv.DictReader(open(scores)))
        column = lambda key: [float(row[key]) for row in rows_of]
        figures = {}
        for task in TASKS:
            weights = column(f"true_joint_{PARENTS[task]}") if task in PARENTS else [1.0] * len(rows_of)
            truth, scored = column(f"true_{task}"), column(f"p_{task}")
            figures[task] = {
                "auc": expected_auc(weights, truth, scored),
                "best possible": expected_auc(weights, truth, truth),
                "logloss": expected_loss(weights, truth, scored),
            }
        scores.unlink()
        found.write_text(json.dumps({"tasks": figures}))
    return json.load(open(found))


def short(number):
    return f"{number:.4f}".replace("0.", ".", 1)


def compared(entries, base, rows=ROWS, logs=LOGS, seeds=SEEDS, kinds=KINDS):
    """A table for each kind of log: means, and differences to `base` with their standard errors over logs and seeds."""
    jobs = [(kind, rows, log, model, settings, seed) for kind in kinds for model, settings in entries.values() for log in logs for seed in seeds]
    for kind in kinds:
        for log in logs:
            log_of(kind, rows, log)
    with ProcessPoolExecutor(2) as pool:
        found = dict(zip(map(repr, jobs), pool.map(run, jobs)))
    text, record = [], {}
    for kind in kinds:
        text += [f"**{kind}**", "", "| | " + " | ".join(TASKS) + " |", "|---" * (len(TASKS) + 1) + "|"]
        of = lambda name, task, figure: [found[repr((kind, rows, log, *entries[name], seed))]["tasks"][task][figure] for log in logs for seed in seeds]
        for name in entries:
            aucs = {task: of(name, task, "auc") for task in TASKS}
            cells = []
            for task in TASKS:
                cell = short(statistics.mean(aucs[task]))
                if name != base:
                    differences = [one - other for one, other in zip(aucs[task], of(base, task, "auc"))]
                    cell += f" ({statistics.mean(differences):+.4f}".replace("0.", ".")
                    if len(differences) > 1:
                        cell += f"&nbsp;±{statistics.stdev(differences) / math.sqrt(len(differences)):.4f}".replace("0.", ".")
                    cell += ")"
                cells.append(cell)
            text.append(f"| {name} | {' | '.join(cells)} |")
            record[f"{kind}, {name}"] = {"auc": aucs, "logloss": {task: of(name, task, "logloss") for task in TASKS}}
        best = {task: statistics.mean(of(base, task, "best possible")) for task in TASKS}
        record[f"{kind}, best possible"] = best
        text += ["| *best possible* | " + " | ".join(short(best[task]) for task in TASKS) + " |", ""]
    return text, record


def write(part, text, record, page="transfer"):
    page, figures, script = HERE / f"{page}.md", HERE / f"{page}.json", f"{page}.py"
    mark = lambda word: f"<!-- {part} {word}: made by {script} -->"
    before, rest = page.read_text().split(mark("begins"))
    _, after = rest.split(mark("ends"))
    page.write_text(before + mark("begins") + "\n" + "\n".join(text) + "\n" + mark("ends") + after)
    known = json.loads(figures.read_text()) if figures.exists() else {}
    known[part] = record
    figures.write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    if "models" in wanted:
        write("models", *compared({name: (name, []) for name in MODELS}, "single-task"))
    if "new" in wanted:
        write("new", *compared({name: (name, []) for name in ["single-task", "mmoe", "ektm"]}, "single-task", logs=NEW_LOGS))
    if "ablations" in wanted:
        write("ablations", *compared(ABLATIONS, "ektm", seeds=[1], kinds=["default", "related", "unrelated"]))
    if "balancing" in wanted:
        write("balancing", *compared(BALANCED, "mmoe", seeds=[1], kinds=["default", "related", "unrelated"]))
    if "averages" in wanted:
        for model in ["single-task", "mmoe"]:
            two = {name: entry for name, entry in AVERAGES.items() if name.startswith(model)}
            write(f"averages of {model}", *compared(two, model, seeds=[1], kinds=["default", "related", "unrelated"]))
    if "ceiling" in wanted:
        entries = {"single-task, last weights": AVERAGES["single-task, last weights"], "single-task": ("single-task", []), "mmoe": ("mmoe", []), "ektm": ("ektm", [])}
        write("ceiling", *compared(entries, "single-task, last weights", rows=1_000_000, logs=[1], seeds=[1], kinds=["default"]))
