"""Every model with its default settings on three data sets, and what the parts of some are for: docs/results/models.md.

    cargo build --release
    target/release/crosstie prepare kuairand-pure --from DIR --out OUT/kuairand
    target/release/crosstie prepare census-income --from DIR --out OUT/census
    python3 docs/results/models.py target/release/crosstie OUT [synth kuairand census aem2tl calibration]

Needs Python's standard library only. OUT is a directory for data and runs; synthetic logs are made there. Runs
that are there already are not made again, so that the script can be stopped and started. It writes every figure
into docs/results/models.json, and the tables into the marked parts of docs/results/models.md.
"""
import json, math, re, sys
from concurrent.futures import ThreadPoolExecutor

import transfer
from transfer import call, compared, out, short

# What a model has to be told beside its name: the action between click and conversion.
BETWEEN = {"synth": "cart", "kuairand": "long_view"}
BY_WAY = ["esm2", "aem2tl"]
MODELS = ["single-task", "shared-bottom", "esmm", "mmoe", "cgc", "ple", "adatt", "stem", "esm2", "aitm", "calibration", "aem2tl", "ektm", "ncs4cvr"]
REAL = {"kuairand": ["click", "long_view", "like", "profile_enter", "follow"], "census": ["income", "never_married"]}
SEED = 1
# Of AEM2TL, whose scenarios are KuaiRand's tabs.
AEM2TL = {
    "aem2tl": [],
    "w/o Scenario-CGC": ["model.scenario_cgc=false"],
    "w/o Task-CGC": ["model.task_cgc=false"],
    "w/o personalised gating": ["model.personalised_gating=false"],
    "w/o entire-space module": ["model.entire_space=false"],
    "with adaptive weights": ["balance.name=gradnorm", 'balance.shared=["shared_expert.1.weight"]', "balance.every=10", "balance.learning_rate=0.02"],
    "likelihood by path": ["objective.space=path"],
}
CALIBRATION = {
    "calibration": [],
    "structure ctr": ["model.structure=ctr"],
    "structure ctr-scaled": ["model.structure=ctr-scaled"],
    "structure cvr-concat": ["model.structure=cvr-concat"],
    "impressions once, 1:1": ["train.mix.parent_rows=1.0"],
    "impressions once, 2:1": ["train.mix.parent_rows=0.5"],
    "clicked rows once, 1:1": ["train.mix.parent_rows=1.0", "train.mix.once=parent-rows"],
    "clicked rows once, 2:1": ["train.mix.parent_rows=0.5", "train.mix.once=parent-rows"],
}


def of(model, data):
    return (model, [f"model.action={BETWEEN[data]}"] if model in BY_WAY and data in BETWEEN else [])


def train(data, model, settings):
    """Figures of a run on real data, from its directory if it is there already."""
    where = out / data
    name = "-".join([model, *(re.sub(r"[^a-z0-9.=_-]", "", setting) for setting in settings), str(SEED)])
    run = out / "runs" / data / name
    if not (run / "metrics.json").exists():
        run.parent.mkdir(parents=True, exist_ok=True)
        config = run.parent / f"{name}.toml"
        config.write_text(f'[data]\ndir = "{where}"\n[model]\nname = "{model}"\n')
        settings = [*settings, f"train.seed={SEED}", "train.threads=1"]
        call("train", config, "--out", run, "--overwrite", *(part for setting in settings for part in ("--set", setting)))
    parameters = re.search(r"([\d,]+) dense parameters", open(run / "train.log").read())[1]
    test = json.load(open(run / "metrics.json"))["tasks"]
    figures = {task: {key: test[task]["from_impression"][key] for key in ("auc", "rows", "positives")} for task in REAL[data]}
    return {"parameters": parameters, "tasks": figures}


def label_error(auc, positives, rows):
    """The standard error of an AUC by the labels (Hanley and McNeil, 1982)."""
    negatives = rows - positives
    one, two = auc / (2 - auc), 2 * auc * auc / (1 + auc)
    variance = auc * (1 - auc) + (positives - 1) * (one - auc * auc) + (negatives - 1) * (two - auc * auc)
    return math.sqrt(variance / positives / negatives)


def table(data, entries):
    """AUCs from the impression, and how far chance in the labels may move them."""
    with ThreadPoolExecutor(2) as pool:
        jobs = {name: pool.submit(train, data, *entry) for name, entry in entries.items()}
        found = {name: job.result() for name, job in jobs.items()}
    text = ["| model | dense parameters | " + " | ".join(REAL[data]) + " |", "|---" * (len(REAL[data]) + 2) + "|"]
    for name, run in found.items():
        text.append(f"| {name} | {run['parameters']} | {' | '.join(short(run['tasks'][task]['auc']) for task in REAL[data])} |")
    first = next(iter(found.values()))["tasks"]
    errors = [short(label_error(**{key: first[task][key] for key in ("auc", "positives", "rows")})) for task in REAL[data]]
    return [*text, f"| *standard error by the labels* | | {' | '.join(errors)} |"], found


def write(part, text, record):
    transfer.write(part, text, record, page="models")


if __name__ == "__main__":
    wanted = sys.argv[3:] or ["synth", *REAL, "aem2tl", "calibration"]
    kind = {"seeds": [1], "kinds": ["default"]}
    if "synth" in wanted:
        write("synth", *compared({name: of(name, "synth") for name in MODELS}, "single-task", **kind))
    for data in REAL:
        if data in wanted:
            write(data, *table(data, {name: of(name, data) for name in MODELS}))
    for model, variants in (("aem2tl", AEM2TL), ("calibration", CALIBRATION)):
        if model in wanted:
            entries = lambda data: {name: (model, of(model, data)[1] + settings) for name, settings in variants.items()}
            write(f"{model} on synth", *compared(entries("synth"), model, **kind))
            write(f"{model} on kuairand", *table("kuairand", entries("kuairand")))
