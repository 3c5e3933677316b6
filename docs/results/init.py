"""What `crosstie init` proposes, trained beside schemas written by hand: docs/results/init.md.

    cargo build --release
    python3 docs/results/strangers.py prepare --logs LOGS --binary target/release/crosstie
    python3 docs/results/init.py run   --logs LOGS --binary target/release/crosstie --out RUNS
    python3 docs/results/init.py table --logs LOGS --out RUNS

`run` puts the three files of each log together into one, lets `init` cut it anew, and trains the config that it writes
three times: with the schema of `init`, with the plain one by hand (`schema.toml` of the log: names, kinds, sides), and
with the careful one (`schema-best.toml`). So all three learn from, stop by and are judged by the same rows, with the
same model and seed. What is there already is not made again. It needs pyarrow; `table` needs the standard library only,
and writes the marked part of init.md.
"""
import argparse, json, pathlib, statistics, subprocess, time

HERE = pathlib.Path(__file__).parent
# Tasks that no name tells; none where `init` is left to find them.
TASKS = {
    "hillstrom": [],
    "adult": ["rich", "single"],
    "shop": [],
    "reviews": ["recommended", "five_stars after recommended"],
    "lectures": ["good", "best"],
    "films": ["good", "best"],
    "census": ["income", "never_married"],
    "groceries": ["discount", "coupon"],
    "flights": ["departs_late", "lands_late", "hour_late"],
    "kuairand": ["is_click", "long_view", "is_like", "is_profile_enter", "is_follow", "is_comment", "is_forward"],
}
# Known beforehand or not, the schema by hand forbids them and no name or figure does: nobody's husband never married.
LEFT_OUT = {"adult": ["relationship"]}
SCHEMAS = {"init": "`init`", "schema": "by hand", "schema-best": "by hand, with care"}


def call(command, **options):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, **options)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}: {done.stderr.strip()[-1000:]}")
    return done.stdout


def run(options):
    import pyarrow as pa, pyarrow.parquet as pq

    options.out.mkdir(parents=True, exist_ok=True)
    for log in options.only or TASKS:
        whole, proposed = options.out / f"{log}.parquet", options.out / log
        if not whole.exists():
            parts = [pq.read_table(options.logs / log / f"{part}.parquet") for part in ("train", "valid", "test")]
            pq.write_table(pa.concat_tables(parts).drop_columns(LEFT_OUT.get(log, [])), whole, compression="zstd")
        if not (proposed / "config.toml").exists():
            tasks = [part for task in TASKS[log] for part in ("--task", task)]
            (options.out / f"{log}.txt").write_text(call([options.binary, "init", whole, *tasks, "--out", proposed]))
        for schema in SCHEMAS:
            at = options.out / f"{log}-{schema}"
            if (at / "metrics.json").exists():
                continue
            begun = time.time()
            by_hand = [] if schema == "init" else ["--set", f"data.schema={options.logs / log / schema}.toml"]
            settings = ["--set", f"train.threads={options.threads}", "--set", f"train.seed={options.seed}"]
            call([options.binary, "train", proposed / "config.toml", *settings, *by_hand, "--out", at, "--overwrite", "--quiet"])
            print(f"{log} {schema}: {', '.join(f'{task} {one:.4f}' for task, one in aucs(at).items())}; {time.time() - begun:.0f} s", flush=True)


def aucs(at):
    tasks = json.loads((at / "metrics.json").read_text())["tasks"]
    return {task: meanings["from_impression"]["auc"] for task, meanings in tasks.items() if meanings["from_impression"]["auc"] is not None}


def figure(value):
    return f"{value:.4f}".replace("0.", ".", 1)


def table(options):
    text = ["| log | cut | task | positives in the test | `init` | by hand | by hand, with care | `init` - by hand |", "|---" * 8 + "|"]
    means = []
    for log in TASKS:
        found = {schema: aucs(options.out / f"{log}-{schema}") for schema in SCHEMAS if (options.out / f"{log}-{schema}/metrics.json").exists()}
        if len(found) < len(SCHEMAS):
            continue
        tasks = json.loads((options.out / f"{log}-init/metrics.json").read_text())["tasks"]
        cut = (options.out / f"{log}.txt").read_text().split("\n  cut ")[1].split("\n  ")[0].split()
        cut = "time" if cut[:2] == ["by", "the"] else "group" if cut[2] == "by" else "rows"
        for task, one in found["init"].items():
            cells = [found[schema].get(task) for schema in SCHEMAS]
            difference = f"{cells[0] - cells[1]:+.4f}" if cells[1] is not None else "–"
            positives = tasks[task]["from_impression"]["positives"]
            text.append(f"| {log} | {cut} | {task} | {positives:,} | " + " | ".join("–" if cell is None else figure(cell) for cell in cells) + f" | {difference} |")
        common = [task for task in found["init"] if task in found["schema"]]
        mean = {schema: statistics.mean(one[task] for task in common) for schema, one in found.items()}
        text.append(f"| **{log}** | {cut} | **mean** | | " + " | ".join(f"**{figure(one)}**" for one in mean.values()) + f" | **{mean['init'] - mean['schema']:+.4f}** |")
        means.append((log, mean))
    page = HERE / "init.md"
    begins, ends = ("<!-- tables %s: made by init.py -->" % word for word in ("begin", "end"))
    before, after = page.read_text().split(begins)[0], page.read_text().split(ends)[1]
    page.write_text(before + begins + "\n\n" + "\n".join(text) + "\n\n" + ends + after)
    print("\n".join(text))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    path = lambda text: pathlib.Path(text).resolve()
    for name in ("run", "table"):
        command = commands.add_parser(name)
        command.add_argument("--logs", type=path, required=True)
        command.add_argument("--out", type=path, required=True)
        command.add_argument("--only", nargs="*", choices=TASKS)
        command.add_argument("--binary", type=path, default="target/release/crosstie")
        command.add_argument("--threads", type=int, default=1)
        command.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    {"run": run, "table": table}[options.command](options)


if __name__ == "__main__":
    main()
