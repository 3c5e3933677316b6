"""Every model on three data sets, with ablations: the tables of docs/results/models.md.

    cargo build --release
    target/release/crosstie prepare kuairand-pure --from DIR --out OUT/kuairand
    target/release/crosstie prepare census-income --from DIR --out OUT/census
    python3 docs/results/models.py target/release/crosstie OUT [synth kuairand refit census ablations relation]

Needs Python's standard library only. OUT is a directory for data and runs; synthetic logs are made there. Runs
that are there already are not made again, so that the script can be stopped and started. It writes every figure
into docs/results/models.json, and the tables into the marked parts of docs/results/models.md.
"""
import csv, json, pathlib, re, statistics, subprocess, sys
from concurrent.futures import ThreadPoolExecutor

from expected import expected_auc

HERE = pathlib.Path(__file__).parent
SEEDS = [1, 2, 3]
# Tried with the first seed by every model on every data set; the best on validation is kept for the other seeds.
TRIALS = {
    "dropout .1": ["network.dropout=0.1"],
    "dropout .3": ["network.dropout=0.3"],
}
COMMON = ["train.monitor=mean.from_impression.auc", "optimizer.dense.l2=0.00001", "train.threads=1"]
GRADNORM = ["balance.name=gradnorm", 'balance.shared=["shared_expert.1.weight"]', "balance.every=10", "balance.learning_rate=0.02"]

# Per data set: its embedding width, settings of all runs, and sizes that give all models about as many dense parameters.
DATA = {
    "synth": {
        "title": "Synthetic log, 1,000,000 rows",
        "width": 16,
        "settings": ["train.epochs=2", "train.patience=8", "train.batch_size=2048"],
        "models": {
            "single-task": ["model.units=[128, 64]"],
            "shared-bottom": ["model.bottom_units=[320, 192]"],
            "esmm": ["model.units=[128, 64]"],
            "mmoe": ["model.experts=5", "model.expert_units=[128, 64]"],
            "cgc": ["model.expert_units=[96, 48]"],
            "ple": ["model.levels=[[80], [64]]"],
            "esm2": ["model.action=cart", "model.units=[96, 64]"],
            "aitm": ["model.bottom_units=[112, 64, 32]"],
            # Its tasks take turns, so an epoch has a step for each: one epoch is five of others.
            "ncs4cvr": ["model.units=[416, 176]", "model.interaction=false", "model.rounds=1", "model.keep=0.5", "train.epochs=1"],
            "calibration": ["model.units=[112, 64]"],
            "aem2tl": ["model.action=cart", "model.expert_units=[56, 32]", "model.task_expert_units=[32]", "model.tower_units=[16]", "model.gate_units=24", *GRADNORM],
            "ektm": ["model.bottom_units=[128, 64]"],
        },
    },
    "kuairand": {
        "title": "KuaiRand-Pure",
        "width": 8,
        "settings": ["train.epochs=8", "train.patience=8", "train.batch_size=1024"],
        "models": {
            "single-task": ["model.units=[48, 24]"],
            "shared-bottom": ["model.bottom_units=[320, 128]"],
            "esmm": ["model.units=[48, 24]"],
            "mmoe": ["model.experts=7", "model.expert_units=[64, 32]"],
            "cgc": ["model.expert_units=[40, 24]", "model.tower_units=[16]"],
            "ple": ["model.levels=[[36], [20]]", "model.tower_units=[16]"],
            "esm2": ["model.action=long_view", "model.units=[32, 24]"],
            "aitm": ["model.bottom_units=[40, 24]"],
            "ncs4cvr": ["model.units=[336, 264]", "model.interaction=false", "model.rounds=1", "model.keep=0.5", "train.epochs=4"],
            "calibration": ["model.units=[80, 32]"],
            "aem2tl": ["model.action=long_view", "model.expert_units=[32, 16]", "model.task_expert_units=[16]", "model.tower_units=[16]", "model.gate_units=16", *GRADNORM],
            "ektm": ["model.bottom_units=[48, 24]"],
        },
    },
    "census": {
        "title": "Census-Income",
        "width": 8,
        "settings": ["train.epochs=12", "train.patience=8", "train.batch_size=512"],
        "models": {
            "single-task": ["model.units=[128, 64]"],
            "shared-bottom": ["model.bottom_units=[208, 128]"],
            "esmm": ["model.units=[128, 64]"],
            "mmoe": ["model.experts=4", "model.expert_units=[64, 32]"],
            "cgc": ["model.expert_units=[64, 32]"],
            "ple": ["model.levels=[[64], [48]]"],
            "esm2": ["model.units=[128, 64]"],
            "aitm": ["model.bottom_units=[128, 64, 32]"],
            "ncs4cvr": ["model.units=[192, 128]", "model.interaction=false"],
            "calibration": ["model.units=[128, 64]"],
            "aem2tl": ["model.expert_units=[56, 32]", "model.task_expert_units=[32]", "model.tower_units=[16]", "model.gate_units=24", *GRADNORM],
            "ektm": ["model.bottom_units=[128, 64]"],
        },
    },
}
# Variants keep the settings that were chosen for their model.
ABLATIONS = {
    "ektm": {
        "w/o router": ["model.router.enabled=false"],
        "w/o transmitter": ["model.transmitter.enabled=false"],
        "w/o enhancement": ["model.enhanced.enabled=false"],
    },
    "aem2tl": {
        "w/o Scenario-CGC": ["model.scenario_cgc=false", 'balance.shared=["embedding"]'],
        "w/o Task-CGC": ["model.task_cgc=false"],
        "w/o personalised gating": ["model.personalised_gating=false"],
        "w/o entire-space module": ["model.entire_space=false"],
        "w/o adaptive weights": ["balance.name=fixed"],
    },
    "calibration": {
        "ctr": ["model.structure=ctr"],
        "ctr-scaled": ["model.structure=ctr-scaled"],
        "cvr-concat": ["model.structure=cvr-concat"],
        "mix 1:1": ["train.mix.parent_rows=1.0"],
        "mix 1:2": ["train.mix.parent_rows=2.0"],
        "mix 2:1": ["train.mix.parent_rows=0.5"],
    },
}

LOGS = {
    "synth": ["--rows", 1_000_000],
    # Nothing but their preferences relates the conversions.
    "synth-related": ["--rows", 200_000, "--selection", 0, "--relation", "related"],
    "synth-unrelated": ["--rows", 200_000, "--selection", 0, "--relation", "unrelated"],
}
REFIT = ["mmoe", "calibration", "ektm"]
# Here rarer conversions weigh more, and the enhanced heads are held against the original ones.
EKTM = ["model.transfer=representations", "model.transmitter.units=[64]", "model.bottom_units=[128, 64]", "model.enhanced.loss=guard", "objective.weights={like=2,follow=5,cart=2,buy=10}"]
# Of the two logs on which the conversions' relation is known.
KNOWN = {
    "settings": ["train.epochs=10", "train.patience=8", "train.batch_size=512", "train.monitor=auc"],
    "models": {
        "single-task": ("single-task", DATA["synth"]["models"]["single-task"]),
        "ektm": ("ektm", [*EKTM, "model.tables=both"]),
        "ektm, shared tables": ("ektm", [*EKTM, "model.tables=shared"]),
    },
}

crosstie, out = sys.argv[1], pathlib.Path(sys.argv[2])
wanted = sys.argv[3:] or [*DATA, "ablations", "refit", "relation"]
pool = ThreadPoolExecutor(2)
MEANINGS = {"from_impression": "AUC from the impression", "given_parent": "AUC given the parent action"}


def call(*arguments):
    done = subprocess.run([crosstie, *map(str, arguments), "--quiet"], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"crosstie {' '.join(map(str, arguments))}\n{done.stderr}")


def make(data):
    """The directory of a data set, with a schema of the embedding width asked for."""
    where = out / data
    if data.startswith("synth") and not where.exists():
        call("synth", "--out", where, *LOGS[data])
    width = DATA.get(data, DATA["synth"])["width"]
    lines = [line for line in open(where / "schema.toml") if not line.startswith("width =")]
    schema = where / f"schema-{width}.toml"
    text = f"width = {width}\n" + "".join(lines)
    if not schema.exists() or schema.read_text() != text:  # Other runs may be reading it.
        schema.write_text(text)
    return where, schema


def train(data, name, model, settings, seed):
    """Figures of a run, from its directory if it is there already."""
    where, schema = make(data)
    run = out / "runs" / data / f"{name}-{seed}"
    if not (run / "metrics.json").exists():
        run.parent.mkdir(parents=True, exist_ok=True)
        config = run.parent / f"{name}-{seed}.toml"
        config.write_text(f'[data]\ndir = "{where}"\nschema = "{schema}"\n[model]\nname = "{model}"\n')
        settings = [*COMMON, *settings, f"train.seed={seed}"]
        call("train", config, "--out", run, "--overwrite", *(part for setting in settings for part in ("--set", setting)))
    log = re.search(r"([\d,]+) dense parameters; ([\d,]+) weights", open(run / "train.log").read())
    history = [json.loads(line) for line in open(run / "metrics.jsonl")]
    test = json.load(open(run / "metrics.json"))
    return {
        "run": run,
        "parameters": int(log[1].replace(",", "")),
        "table_weights": int(log[2].replace(",", "")),
        "valid": max(line["figure"] for line in history if line["best"]),
        "epoch": max(line["epoch"] for line in history if line["best"]),
        "seconds": history[-1]["seconds"],
        "tasks": {t: {m: figures[m]["auc"] for m in MEANINGS} for t, figures in test["tasks"].items()},
    }


def slug(text):
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def tuned(data):
    """Per model: every trial's validation figure, the trial kept, and a run per seed."""
    about = DATA[data]
    make(data)
    jobs = {
        (model, trial): pool.submit(train, data, f"{model}-{slug(trial)}", model, [*about["settings"], *sizes, *settings], SEEDS[0])
        for model, sizes in about["models"].items()
        for trial, settings in TRIALS.items()
    }
    valid = {key: job.result()["valid"] for key, job in jobs.items()}
    found = {}
    for model, sizes in about["models"].items():
        best = max(TRIALS, key=lambda trial: valid[model, trial])
        settings = [*about["settings"], *sizes, *TRIALS[best]]
        others = [pool.submit(train, data, f"{model}-{slug(best)}", model, settings, seed) for seed in SEEDS[1:]]
        found[model] = {"trial": best, "trials": {t: valid[model, t] for t in TRIALS}, "settings": settings, "jobs": [jobs[model, best], *others]}
    for entry in found.values():
        entry["runs"] = [job.result() for job in entry.pop("jobs")]
    return found


def ablated(data, found):
    jobs = {
        (model, name): [pool.submit(train, data, f"{model}-{slug(name)}", model, [*found[model]["settings"], *extra], seed) for seed in SEEDS]
        for model, variants in ABLATIONS.items()
        for name, extra in variants.items()
    }
    return {f"{model}, {name}": {"runs": [job.result() for job in runs]} for (model, name), runs in jobs.items()}


def cell(values):
    return f"{statistics.mean(values):.4f}&nbsp;±{statistics.stdev(values):.4f}".replace("0.", ".")


def line(title, entry, meaning):
    runs = entry["runs"]
    columns = [cell([run["tasks"][task][meaning] for run in runs]) for task in runs[0]["tasks"]]
    return f"| {title} | {runs[0]['parameters']:,} | {entry.get('trial', '')} | {' | '.join(columns)} |"


def tables(entries):
    """A table for each meaning of the AUC."""
    text = []
    tasks = list(next(iter(entries.values()))["runs"][0]["tasks"])
    for meaning, what in MEANINGS.items():
        text += [f"{what}, mean ± standard deviation over seeds {', '.join(map(str, SEEDS))}:", ""]
        text += ["| model | dense parameters | trial kept | " + " | ".join(tasks) + " |", "|---" * (3 + len(tasks)) + "|"]
        text += [line(title, entry, meaning) for title, entry in entries.items()] + [""]
        if all(len({*of_task.values()}) == 1 for run in entries["mmoe" if "mmoe" in entries else "ektm"]["runs"] for of_task in run["tasks"].values()):
            break  # No task has a parent: both are the same.
    return text


def comparison(data, found):
    weights = [found[model]["runs"][0]["table_weights"] for model in ("single-task", "shared-bottom")]
    return [f"Embedding width {DATA[data]['width']}; {weights[0]:,} weights in single-task's tables, {weights[1]:,} in those of all others.", "", *tables(found)]


def refit(found):
    """Some models trained anew on the training and the validation days together, for as many epochs as the runs above
    found best: what LightGBM's reference figures had."""
    where, _ = make("kuairand")
    files = f'data.train=["{where}/train.parquet", "{where}/valid.parquet"]'
    jobs = {
        model: [
            pool.submit(train, "kuairand", f"{model}-refit", model, [*found[model]["settings"], files, f"train.epochs={run['epoch']}", "train.patience=100"], seed)
            for seed, run in zip(SEEDS, found[model]["runs"])
        ]
        for model in REFIT
    }
    return {model: {**found[model], "runs": [job.result() for job in runs]} for model, runs in jobs.items()}


def truths(data, run, task, parent):
    scores = run / "scores.csv"
    if not scores.exists():
        keep = [column for name in ("click", "like", "follow", "cart", "buy") for column in (f"true_{name}", f"true_joint_{name}")]
        call("predict", run / "artifact", "--data", out / data / "test.parquet", "--out", scores, *(p for k in keep for p in ("--keep", k)))
    rows = list(csv.DictReader(open(scores)))
    column = lambda key: [float(row[key]) for row in rows]
    truth, weights = column(f"true_{task}"), column(f"true_joint_{parent}")
    return expected_auc(weights, truth, column(f"p_{task}")), expected_auc(weights, truth, truth)


def relation():
    """EKTM against single-task where the conversions are related and where they are not, by the AUC to be expected
    over all labels that the truth could have given."""
    parents = {"like": "click", "follow": "click", "cart": "click", "buy": "cart"}
    text = ["| log | model | trial kept | " + " | ".join(parents) + " |", "|---" * (3 + len(parents)) + "|"]
    record = {}
    for data in ["synth-related", "synth-unrelated"]:
        make(data)
        jobs = {
            (name, trial, seed): pool.submit(train, data, f"{slug(name)}-{slug(trial)}", model, [*KNOWN["settings"], *sizes, *settings], seed)
            for name, (model, sizes) in KNOWN["models"].items()
            for trial, settings in TRIALS.items()
            for seed in SEEDS
        }
        means, ceiling = {}, {}
        for name in KNOWN["models"]:
            best = max(TRIALS, key=lambda trial: jobs[name, trial, SEEDS[0]].result()["valid"])
            runs = [jobs[name, best, seed].result() for seed in SEEDS]
            aucs = {task: [truths(data, run["run"], task, parent) for run in runs] for task, parent in parents.items()}
            ceiling = {task: pairs[0][1] for task, pairs in aucs.items()}
            means[name] = {task: statistics.mean(auc for auc, _ in pairs) for task, pairs in aucs.items()}
            text.append(f"| {data} | {name} | {best} | " + " | ".join(cell([auc for auc, _ in pairs]) for pairs in aucs.values()) + " |")
            record[f"{data}, {name}"] = {"trial": best, "parameters": runs[0]["parameters"], "expected_auc": {task: [auc for auc, _ in pairs] for task, pairs in aucs.items()}}
            if name != "single-task":
                text.append(f"| | *against single-task* | | " + " | ".join(f"**{means[name][task] - means['single-task'][task]:+.4f}**" for task in parents) + " |")
        text.append(f"| {data} | best possible | | " + " | ".join(f"{auc:.4f}".replace("0.", ".") for auc in ceiling.values()) + " |")
    return text, record


def write(part, text, record):
    page, figures = HERE / "models.md", HERE / "models.json"
    mark = lambda word: f"<!-- {part} {word}: made by models.py -->"
    before, rest = page.read_text().split(mark("begins"))
    _, after = rest.split(mark("ends"))
    page.write_text(before + mark("begins") + "\n" + "\n".join(text) + "\n" + mark("ends") + after)
    known = json.loads(figures.read_text()) if figures.exists() else {}
    known[part] = record
    figures.write_text(json.dumps(known, indent=1, default=lambda path: path.name) + "\n")


found = {}
for data in DATA:
    if data in wanted or data == "synth" and "ablations" in wanted or data == "kuairand" and "refit" in wanted:
        found[data] = tuned(data)
        write(data, comparison(data, found[data]), found[data])
if "ablations" in wanted:
    variants = ablated("synth", found["synth"])
    write("ablations", tables({**{model: found["synth"][model] for model in ABLATIONS}, **variants}), variants)
if "refit" in wanted:
    again = refit(found["kuairand"])
    write("refit", tables(again), again)
if "relation" in wanted:
    write("relation", *relation())
