"""The defaults on logs that they were not made for, beside LightGBM and logistic regression: docs/results/strangers.md.

    cargo build --release
    python3 docs/results/strangers.py prepare   --logs LOGS --binary target/release/crosstie
    python3 docs/results/strangers.py baselines --logs LOGS --part valid
    python3 docs/results/strangers.py run       --logs LOGS --binary target/release/crosstie --out RUNS --only-valid
    python3 docs/results/strangers.py table     --logs LOGS --in RUNS --part valid
    python3 docs/results/strangers.py expected  --logs LOGS --binary target/release/crosstie --in RUNS

Defaults are chosen by these, on validation files alone. The test files are read once, at the end: `baselines --part
test`, `run` into an empty directory without --only-valid, `table` without --part, which writes strangers.json and the
marked part of strangers.md. `expected` prints, for the logs whose truth is known, the test AUC in the mean over all labels
that the truth could have given: next to no chance is left in it.

`prepare` and `baselines` need what strangers_logs.py and strangers_baselines.py name; `run` and `table` need Python's
standard library only. Whatever is there already is not made again, so that all can be stopped and started; a log that
RUNS lack keeps its part of strangers.json, whose commit the page tells.
"""
import argparse, csv, json, pathlib, statistics, subprocess, time, tomllib
from concurrent.futures import ThreadPoolExecutor

from expected import expected_auc

HERE = pathlib.Path(__file__).parent
ENOUGH = 200  # Positives, for a calibration to be judged.
MODELS = "single-task,shared-bottom,mmoe,ektm"
SCHEMAS = "schema,schema-rates,schema-best"


def of_tasks(report):
    keep = ("rows", "positives", "auc", "gauc", "logloss", "pcoc", "ece")
    return {task: {key: meanings["from_impression"][key] for key in keep} for task, meanings in report["tasks"].items()}


def train(options, log, schema, model, seed):
    """Trains with the defaults, and keeps the figures of the run beside its directory."""
    name = f"{schema}-{model}-{seed}"
    where, run = options.logs / log, options.out / log / name
    kept = run.with_suffix(".json")
    if kept.exists():
        return
    run.parent.mkdir(parents=True, exist_ok=True)
    config = run.with_suffix(".toml")
    config.write_text(f'[data]\ndir = "{where}"\nschema = "{where / schema}.toml"\n[model]\nname = "{model}"\n')
    settings = [f"train.seed={seed}", "train.threads=1", *(["data.test=[]"] if options.only_valid else []), *options.set]
    begun = time.time()
    command = [options.binary, "train", config, "--out", run, "--overwrite", *(part for one in settings for part in ("--set", one))]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode:
        print(f"{log} {name} failed with {done.returncode}: {done.stderr.strip()[-500:]}", flush=True)
        return
    history = [json.loads(line) for line in open(run / "metrics.jsonl")]
    best = [line for line in history if line["best"]][-1]
    figures = {"valid": of_tasks(best["report"])}
    if not options.only_valid:
        figures["test"] = of_tasks(json.loads((run / "metrics.json").read_text()))
    said = [line for line in (run / "train.log").read_text().splitlines() if "warning" in line]
    record = {"log": log, "schema": schema, "model": model, "seed": seed, "commit": options.commit, "settings": options.set, "best_epoch": best["epoch"], "best_step": best["step"]}
    record.update(epochs=history[-1]["epoch"], seconds=round(time.time() - begun, 1), warnings=said, figures=figures)
    kept.write_text(json.dumps(record, indent=1) + "\n")
    of_tasks_told = lambda part: ", ".join(f"{task} {one['auc'] or 0:.4f} ({one['pcoc'] or 0:.2f})" for task, one in figures[part].items())
    told = "; ".join(f"{part} {of_tasks_told(part)}" for part in figures)
    print(f"{log} {name}: {told}; epoch {best['epoch']} of {history[-1]['epoch']}, {record['seconds']} s", flush=True)


def run(options):
    # What the binary is built from.
    options.commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True, check=True).stdout.strip()
    logs = options.only or sorted(path.parent.name for path in options.logs.glob("*/train.parquet"))
    jobs = [
        (log, schema, model, seed)
        for seed in range(1, options.seeds + 1)
        for log in logs
        for schema in options.schemas.split(",")
        for model in options.models.split(",")
        if (options.logs / log / f"{schema}.toml").exists()
    ]
    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(lambda job: train(options, *job), jobs))


def figure(value, digits=4):
    return "–" if value is None else f"{value:.{digits}f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.{digits}f}"


def cell(entries):
    """AUC and PCOC over seeds."""
    aucs, pcocs = [one["auc"] for one in entries], [one["pcoc"] for one in entries]
    spread = f"&nbsp;±{figure(statistics.stdev(aucs))}" if len(aucs) > 1 else ""
    return f"{figure(statistics.mean(aucs))}{spread} ({figure(statistics.mean(pcocs), 2)})"


def mean_auc(runs, part):
    return statistics.mean(statistics.mean(task["auc"] for task in one["figures"][part].values()) for one in runs)


def of_log(log, runs, options):
    """A table of models and tasks, and the line about it for the first table."""
    where, part = options.logs / log, options.part
    about = json.loads((where / "about.json").read_text())
    beside = {name: tasks for name, tasks in json.loads((where / f"baselines-{part}.json").read_text()).items() if tasks}
    tasks = list(beside["lightgbm"])
    means = {name: statistics.mean(one["auc"] for one in found.values()) for name, found in beside.items()}
    ways = {}
    for one in runs:
        ways.setdefault((one["schema"], one["model"]), []).append(one)
    against = lambda mean: f"{figure(mean)} | {mean - means['lightgbm']:+.4f}"
    text = [f"### {log}", "", about["about"], ""]
    seeds, commits = ({one[key] for one in runs} for key in ("seed", "commit"))
    text += [f"{' / '.join(f'{rows:,}' for rows in about['rows'].values())} rows to train, validate and test; {len(seeds)} seed{'s' * (len(seeds) > 1)}, commit {' and '.join(sorted(commits))}.", ""]
    text += ["| schema | model | " + " | ".join(tasks) + " | mean | against LightGBM |", "|---" * (len(tasks) + 4) + "|"]
    text.append("| | *positives, standard error* | " + " | ".join(f"{beside['lightgbm'][task]['positives']:,}, {figure(beside['lightgbm'][task]['se'])}" for task in tasks) + " | | |")
    for name, found in beside.items():
        text.append(f"| | {name} | " + " | ".join(cell([found[task]]) for task in tasks) + f" | {against(means[name])} |")
    for (schema, model), some in sorted(ways.items(), key=lambda way: (SCHEMAS.split(",").index(way[0][0]), MODELS.split(",").index(way[0][1]))):
        cells = [cell([one["figures"][part][task] for one in some]) for task in tasks]
        text.append(f"| {schema} | {model} | " + " | ".join(cells) + f" | {against(mean_auc(some, part))} |")
    best = {}  # By schema, the model that is best on the validation files.
    for schema in {schema for schema, _ in ways}:
        best[schema] = max((way for way in ways if way[0] == schema), key=lambda way: mean_auc(ways[way], "valid"))
    plain = ways[best["schema"]]
    ours, most = mean_auc(plain, part), max(mean_auc(some, part) for (schema, _), some in ways.items() if schema == "schema")
    # The same models with both schemas: which is best by the validation differs by chance.
    by_hand = [mean_auc(some, part) - mean_auc(ways["schema", model], part) for (schema, model), some in ways.items() if schema == "schema-best"]
    pcocs = [statistics.mean(one["figures"][part][task]["pcoc"] for one in plain) for task in tasks if beside["lightgbm"][task]["positives"] >= ENOUGH]
    line = f"| {log} | {best['schema'][1]} | {figure(ours)} | {figure(means['lightgbm'])} | {figure(means['logistic regression'])} | **{ours - means['lightgbm']:+.4f}** | {most - means['lightgbm']:+.4f} | "
    line += f"{statistics.mean(by_hand):+.4f} | " if by_hand else "| "
    line += f"{figure(min(pcocs), 2)} to {figure(max(pcocs), 2)} |" if pcocs else "|"
    record = {"rows": about["rows"], "beside": beside, "best": {schema: way[1] for schema, way in best.items()}}
    record["crosstie"] = [{key: one[key] for key in ("schema", "model", "seed", "commit", "best_epoch", "epochs", "seconds", "figures")} for one in runs]
    return text + [""], line, record


def table(options):
    kept = HERE / "strangers.json"
    # Of a log that was not run again, what was found before stands.
    runs = {log: record["crosstie"] for log, record in json.loads(kept.read_text()).items()} if options.part == "test" else {}
    found = {}
    for path in sorted(options.runs.glob("*/*.json")):
        one = json.loads(path.read_text())
        if options.part in one["figures"] and all(task["auc"] is not None for task in one["figures"][options.part].values()):
            found.setdefault(one["log"], []).append(one)
    runs = dict(sorted((runs | found).items()))
    ready = {log for log in runs if (options.logs / log / f"baselines-{options.part}.json").exists() and any(one["schema"] == "schema" for one in runs[log])}
    print("".join(f"{log} is left out: no baselines, or no run of `schema`\n" for log in runs if log not in ready), end="")
    made = {log: of_log(log, some, options) for log, some in runs.items() if log in ready and log in (options.only or ready)}
    head = "| log | best model | mean AUC | LightGBM | logistic regression | against LightGBM | the best on the test | with schema-best | PCOC |"
    text = [head, "|---" * 9 + "|", *(line for _, line, _ in made.values()), ""]
    text += [line for lines, _, _ in made.values() for line in lines]
    if options.part == "valid":
        print("\n".join(text))
        return
    page = HERE / "strangers.md"
    begins, ends = ("<!-- tables %s: made by strangers.py -->" % word for word in ("begin", "end"))
    before, after = page.read_text().split(begins)[0], page.read_text().split(ends)[1]
    page.write_text(before + begins + "\n\n" + "\n".join(text) + "\n" + ends + after)
    kept.write_text(json.dumps({log: record for log, (_, _, record) in made.items()}, indent=1) + "\n")


def expected(options):
    """Of each log whose truth is known, the mean over tasks and seeds of the AUC from the impression, by model and schema."""
    for where in sorted(options.logs / log for log in options.only) if options.only else sorted(path.parent for path in options.logs.glob("synth*/test.parquet")):
        tasks = [task["name"] for task in tomllib.loads((where / "schema.toml").read_text())["task"]]
        found = {}
        for kept in sorted((options.runs / where.name).glob("*.json")):
            one, scores = json.loads(kept.read_text()), kept.with_suffix(".csv")
            command = [options.binary, "predict", kept.with_suffix(""), "--data", where / "test.parquet", "--out", scores, "--quiet"]
            subprocess.run(list(map(str, command)) + [part for task in tasks for part in ("--keep", f"true_joint_{task}")], check=True, stdout=subprocess.DEVNULL)
            rows = list(csv.DictReader(open(scores)))
            scores.unlink()
            # A root's probability is that from the impression.
            scored = lambda task: [float(row.get(f"joint_{task}") or row[f"p_{task}"]) for row in rows]
            aucs = [expected_auc([1.0] * len(rows), [float(row[f"true_joint_{task}"]) for row in rows], scored(task)) for task in tasks]
            found.setdefault((one["schema"], one["model"]), []).append(statistics.mean(aucs))
        for (schema, model), aucs in found.items():
            print(f"{where.name} {schema} {model}: {figure(statistics.mean(aucs))}, {len(aucs)} seeds")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    path = lambda text: pathlib.Path(text).resolve()
    for name in ("prepare", "baselines", "run", "table", "expected"):
        command = commands.add_parser(name)
        command.add_argument("--logs", type=path, required=True, help="directory of the prepared logs")
        command.add_argument("--only", nargs="*", help="these logs alone")
        if name in ("prepare", "run", "expected"):
            command.add_argument("--binary", type=path, required=True)
        if name in ("baselines", "table"):
            command.add_argument("--part", choices=["valid", "test"], default="test")
        if name == "run":
            command.add_argument("--out", type=path, required=True)
            command.add_argument("--models", default=MODELS)
            command.add_argument("--schemas", default=SCHEMAS)
            command.add_argument("--seeds", type=int, default=3)
            command.add_argument("--jobs", type=int, default=1)
            command.add_argument("--only-valid", action="store_true", help="the test files are not read")
            command.add_argument("--set", action="append", default=[], help="a setting for all runs, to try one")
        if name in ("table", "expected"):
            command.add_argument("--in", dest="runs", type=path, required=True)
    options = parser.parse_args()
    if options.command == "prepare":
        import strangers_logs

        strangers_logs.prepare(options.logs, options.binary, options.only)
    elif options.command == "baselines":
        import strangers_baselines

        strangers_baselines.baselines(options.logs, options.part, options.only)
    else:
        {"run": run, "table": table, "expected": expected}[options.command](options)


if __name__ == "__main__":
    main()
