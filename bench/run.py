"""Runs the benchmarks and writes docs/performance/<name>.json and <name>.md.

    python3 bench/run.py NAME... [--rounds N] [--peers PYTHON] [--rows N] [--before CROSSTIE]

NAME is one of: step, models, products, shapes, table, scenarios, request, load, bulk, train, quality, memory; `all`
runs them all.
PYTHON is an interpreter that has bench/peers/requirements.txt installed; without it crosstie is measured alone.
CROSSTIE is the binary of an earlier commit, which `load` then measures too.
Needs cargo and Python's standard library; `memory` needs Linux. Data goes to target/bench.

The commands of one benchmark run in turns, every round each of them once, so that a machine that gets slower
gets slower for all. The tables show medians over the rounds; the JSON has every run.
"""
import argparse, functools, json, math, os, pathlib, platform, resource, shutil, statistics, subprocess, sys, time

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
DATA = TARGET / "bench"
PAGES = ROOT / "docs" / "performance"
PROBE = TARGET / "release" / "crosstie-bench"
CROSSTIE = TARGET / "release" / "crosstie"
PEERS = ROOT / "bench" / "peers" / "peers.py"
OPENBLAS = ROOT / "bench" / "peers" / "openblas.py"
LIBRARIES = ("torch-rechub", "deepctr-torch", "fuxictr")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", choices=[*BENCHMARKS, "all"], metavar="NAME")
    parser.add_argument("--rounds", type=int, help="how often every command runs")
    parser.add_argument("--peers", help="a Python with the peers' libraries")
    parser.add_argument("--rows", type=int, default=5_000_000, help="rows of the log of `train` and `quality`")
    parser.add_argument("--before", help="an earlier crosstie, for `load`")
    options = parser.parse_args()
    subprocess.run(["cargo", "build", "--release", "--workspace"], cwd=ROOT, check=True)
    names = list(BENCHMARKS) if "all" in options.names else options.names
    for name in names:
        BENCHMARKS[name](options)


# Running


def probe(*arguments):
    """One of crosstie's own measurements."""
    return [str(PROBE), *map(str, arguments)]


def peer(options, *arguments, as_installed=False):
    """One of the peers' measurements, its products as fast as they can be; None without an interpreter for it."""
    before = [] if as_installed else mkl_as_on_intel()
    return [*before, options.peers, str(PEERS), *map(str, arguments)] if options.peers else None


@functools.cache
def mkl_as_on_intel():
    """MKL, which PyTorch multiplies with, asks for the maker of the processor before it takes its fast path. What to
    put before a command so that it is told Intel; nothing on Intel."""
    if machine().get("maker") != "AuthenticAMD":
        return []
    DATA.mkdir(parents=True, exist_ok=True)
    source, library = DATA / "mkl.c", DATA / "mkl.so"
    source.write_text("int mkl_serv_intel_cpu_true(void) { return 1; }\n")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    return ["env", f"LD_PRELOAD={library}"]


def once(command):
    """Runs a command that ends its output with a line of JSON."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def timed(command, limit=None):
    """Runs a command to its end: wall and processor seconds, peak memory, exit code."""
    def limits():
        if limit:
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, preexec_fn=limits, text=True)
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_mib": usage.ru_maxrss / 1024,
        "exit_code": process.returncode,
        **({"stderr": errors[-500:]} if process.returncode else {}),
    }


def in_turns(commands, rounds, run=once):
    """Every command once a round; the runs of each by its name."""
    runs = {name: [] for name, command in commands.items() if command}
    for number in range(rounds):
        for name in runs:
            print(f"{number + 1}/{rounds} {name}", file=sys.stderr)
            runs[name].append(run(commands[name]))
    return runs


def median(runs, *path):
    """The median over the runs of one figure."""
    values = []
    for value in runs:
        for key in path:
            value = value.get(key) if value else None
        if value is not None:
            values.append(value)
    return statistics.median(values) if values else None


# Writing


def machine():
    """What the figures were measured on."""
    found = {"system": platform.platform(), "cores": os.cpu_count()}
    try:
        info = pathlib.Path("/proc/cpuinfo").read_text()
        lines = [line.split(":", 1) for line in info.splitlines() if ":" in line]
        for name, field in [("processor", "model name"), ("maker", "vendor_id")]:
            found[name] = next(value.strip() for key, value in lines if key.strip() == field)
        flags = next(value for key, value in lines if key.strip() == "flags").split()
        found["vectors"] = "AVX-512" if "avx512f" in flags else "AVX2" if "avx2" in flags else "less than AVX2"
        found["matrix unit"] = "AMX" if "amx_tile" in flags else "no matrix unit"
    except (OSError, StopIteration):
        pass
    return found


def number(value, digits=0):
    return "" if value is None else f"{value:,.{digits}f}"


def write(name, title, command, runs, header, rows):
    """The JSON with every run, and the Markdown table."""
    PAGES.mkdir(parents=True, exist_ok=True)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    about = {"command": command, "machine": machine(), "commit": commit, "date": time.strftime("%Y-%m-%d")}
    (PAGES / f"{name}.json").write_text(json.dumps({**about, "runs": runs}, indent=1) + "\n")
    where = about["machine"]
    place = f"{where.get('processor', 'unknown processor')}, {where['cores']} cores"
    place += "".join(f", {where[what]}" for what in ("vectors", "matrix unit") if what in where)
    lines = [
        f"# {title}", "", f"`{command}`; {about['date']}, commit {commit}, {place}. Written by bench/run.py.", "",
        "| " + " | ".join(header) + " |", "|" + "---|" * len(header),
        *("| " + " | ".join(row) + " |" for row in rows),
    ]
    (PAGES / f"{name}.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def asked(options, name):
    """The command that makes the page again."""
    rounds = f" --rounds {options.rounds}" if options.rounds else ""
    rows = f" --rows {options.rows}" if name in ("train", "quality") and options.rows != 5_000_000 else ""
    others = (" --peers PYTHON" if options.peers and name != "load" else "") + (
        " --before CROSSTIE" if options.before and name == "load" else "")
    return f"python3 bench/run.py {name}{rounds}{rows}{others}"


# Data


def step_log():
    """The log of the step workload, made if it is not there."""
    place = DATA / "step"
    if not (place / "values.parquet").exists():
        subprocess.run(probe("log", "--out", place, "--rows", 1_000_000), check=True, stdout=subprocess.DEVNULL)
    return place


def synth_log(options):
    """A synthetic log, made if it is not there; as CSV, too, where there are peers to write it."""
    place = DATA / f"synth-{options.rows}"
    if not (place / "schema.toml").exists():
        subprocess.run([CROSSTIE, "synth", "--rows", str(options.rows), "--out", place], check=True, stderr=subprocess.DEVNULL)
    if options.peers and not (place / "test.csv").exists():
        copy = (
            "import sys, pyarrow.parquet as p, pyarrow.csv as c\n"
            "for name in ('train', 'valid', 'test'):\n"
            "    file = p.ParquetFile(f'{sys.argv[1]}/{name}.parquet')\n"
            "    writer = c.CSVWriter(f'{sys.argv[1]}/{name}.csv', file.schema_arrow)\n"
            "    [writer.write(batch) for batch in file.iter_batches()]\n"
            "    writer.close()\n"
        )
        subprocess.run([options.peers, "-c", copy, str(place)], check=True)
    return place


# Benchmarks


def step(options):
    """Training steps of MMoE beside PyTorch, in batches of 4096 and 512, and on one thread."""
    data = step_log()
    cases = [(4096, 300_000, 2), (512, 100_000, 2), (4096, 150_000, 1)]
    runs, rows = {}, []
    for batch, count, threads in cases:
        common = ["--data", data, "--batch", batch, "--threads", threads, "--rows", count]
        commands = {"crosstie": probe("step", *common), "crosstie, bfloat16": probe("step", "--products", "bfloat16", *common)}
        if threads == 2:
            commands |= {f"PyTorch, {name}": peer(options, "step", "--peer", name, *common) for name in ("tuned", "plain", "dense")}
            stacked = peer(options, "step", "--peer", "tuned", "--experts", "stacked", *common)
            commands["PyTorch, tuned, experts stacked"] = stacked
            commands["PyTorch, tuned, bfloat16"] = peer(options, "step", "--peer", "tuned", "--bfloat16", *common)
            commands["PyTorch, tuned, experts stacked, bfloat16"] = stacked and [*stacked, "--bfloat16"]
            for name in ("tuned", "plain") if mkl_as_on_intel() else ():
                commands[f"PyTorch, {name}, as installed"] = peer(options, "step", "--peer", name, *common, as_installed=True)
        found = in_turns(commands, options.rounds or 3)
        runs[f"batch {batch}, {threads} threads"] = found
        ours = median(found["crosstie"], "median_step_ms")
        for name, some in found.items():
            time = median(some, "median_step_ms")
            auc = " / ".join(number(median(some, "auc", task), 4) for task in ("click", "like"))
            sizes = f"{number(median(some, 'parameters'))} + {number(median(some, 'table_weights'))}"
            rows.append([str(batch), str(threads), name, number(batch / time * 1e3), number(time / ours, 2), auc, sizes, number(median(some, "peak_mib"))])
    header = ["batch", "threads", "what", "rows/s", "time against crosstie's", "AUC click / like after as many rows", "parameters, dense + tables", "peak MiB"]
    write("step", "Training steps of MMoE", asked(options, "step"), runs, header, rows)


def models(options):
    """Training steps of other models on the same input."""
    data = step_log()
    commands = {}
    for threads in (2, 1):
        for model, scenarios in [("single-task", 1), ("shared-bottom", 1), ("mmoe", 1), ("ple", 1), ("ektm", 1), ("aem2tl", 6)]:
            arguments = ["--data", data, "--model", model, "--rows", 200_000, "--scenarios", scenarios, "--threads", threads]
            commands[f"{model}, {threads} threads"] = probe("step", *arguments)
    runs = in_turns(commands, options.rounds or 2)
    rows = []
    for name, some in runs.items():
        model, threads = name.split(", ")
        speed = 4096 / median(some, "median_step_ms") * 1e3
        billion = number(1e9 / speed / 3600, 1)
        rows.append([model, str(some[0]["scenarios"]), threads.split()[0], number(median(some, "parameters")), number(speed), billion])
    header = ["model", "scenarios", "threads", "dense parameters", "rows/s", "hours for a billion rows"]
    write("models", "Training steps of other models, batches of 4096", asked(options, "models"), runs, header, rows)


def products(options):
    """A training step beside its matrix products alone, by the vector kernel."""
    data = step_log()
    cases = [(batch, threads) for batch in (4096, 512) for threads in (2, 1)]
    commands = {
        f"{batch}, {threads}": probe("products", "--data", data, "--batch", batch, "--threads", threads, "--steps", 400_000 // batch // 3)
        for batch, threads in cases
    }
    runs = in_turns(commands, options.rounds or 5)
    rows = []
    for (batch, threads), some in zip(cases, runs.values()):
        figures = [number(median(some, key), 1) for key in ("step_ms", "products_ms", "products_gflop_per_s")]
        rows.append([str(batch), str(threads), *figures, number(median(some, "share"), 3)])
    header = ["batch", "threads", "step, ms", "its products alone by vectors, ms", "these, GFLOP/s", "products / step"]
    write("products", "A training step of MMoE and its matrix products alone", asked(options, "products"), runs, header, rows)


def shapes(options):
    """The products of a step one by one on one thread, beside OpenBLAS with the kernel that it chooses and with AVX2's."""
    common = ["--batch", 4096]
    commands = {"crosstie": probe("products", "--data", step_log(), *common, "--threads", 1, "--steps", 5)}
    for core in ("SkylakeX", "Zen"):
        told = ["env", "OPENBLAS_NUM_THREADS=1", f"OPENBLAS_CORETYPE={core}"]
        commands[core] = options.peers and [*told, options.peers, str(OPENBLAS), *map(str, common)]
    runs = in_turns(commands, options.rounds or 5)
    kernels = [some[0]["kernel"] for some in runs.values()]
    rows, seconds = [], [0.0] * len(runs)
    for place, shape in enumerate(runs["crosstie"][0]["shapes_on_one_thread"]):
        chunk, groups, inputs, outputs = shape["shape"]
        speeds = [statistics.median(run["shapes_on_one_thread"][place]["gflop_per_s"] for run in some) for some in runs.values()]
        flop = 2e-9 * chunk * groups * inputs * outputs
        seconds = [so_far + flop / speed for so_far, speed in zip(seconds, speeds)]
        rows.append([f"{groups} × {inputs} → {outputs}", shape["pass"], *beside(speeds)])
    whole = sum(2e-9 * math.prod(shape["shape"]) for shape in runs["crosstie"][0]["shapes_on_one_thread"])
    rows.append(["all of a step", "", *beside([whole / some for some in seconds])])
    header = ["groups × inputs → outputs", "pass", f"crosstie, {kernels[0]}"]
    header += [text for kernel in kernels[1:] for text in (f"OpenBLAS, {kernel}", "crosstie / OpenBLAS")]
    write("shapes", "Products of a step of MMoE, GFLOP/s on one thread", asked(options, "shapes"), runs, header, rows)


def beside(speeds):
    """The first, and of each other its speed and how much faster the first is."""
    ours, *others = speeds
    return [number(ours), *(text for speed in others for text in (number(speed), number(ours / speed, 2)))]


def table(options):
    """Training steps with one table of growing size, 2,048 distinct rows of it in each batch."""
    data = step_log()
    sizes = [10_000, 1_000_000, 10_000_000, 50_000_000]
    commands = {f"{model} {size}": probe("table", "--data", data, "--model", model, "--rows", size) for model in ("mmoe", "small") for size in sizes}
    runs = in_turns(commands, options.rounds or 2)
    rows = []
    for name, some in runs.items():
        model, size = name.split()
        smallest = median(runs[f"{model} {sizes[0]}"], "median_step_ms")
        time, first, held = (median(some, key) for key in ("median_step_ms", "first_pass_ms", "peak_mib"))
        limit = 1.1 * int(size) * 48 * 4 / 2**20 + 500
        rows.append([model, number(int(size)), number(time, 1), number(time / smallest, 2), number(first, 1), number(held), number(limit)])
    header = ["model", "table rows", "step, ms", "against 10,000 rows", "when rows are met first, ms", "peak MiB", "1.1 × (weights + Adam's state) + 500 MiB"]
    write("table", "Size of a table, batches of 4096", asked(options, "table"), runs, header, rows)


def scenarios(options):
    """AEM2TL on the same rows, split into ever more scenarios."""
    data = step_log()
    counts = [1, 6, 50]
    commands = {count: probe("step", "--data", data, "--model", "aem2tl", "--rows", 200_000, "--scenarios", count) for count in counts}
    runs = in_turns(commands, options.rounds or 3)
    one = median(runs[1], "median_step_ms")
    rows = []
    for count, some in runs.items():
        time = median(some, "median_step_ms")
        rows.append([str(count), number(median(some, "parameters")), number(time, 1), number(time / one, 2)])
    header = ["scenarios", "dense parameters", "step, ms", "against one scenario"]
    write("scenarios", "AEM2TL and the number of scenarios, batches of 4096", asked(options, "scenarios"), runs, header, rows)


def request(options):
    """One user with 200 candidates on one thread."""
    data = step_log()
    commands = {
        "crosstie, one user": probe("request", "--data", data),
        "crosstie, 200 users": probe("request", "--data", data, "--many-users"),
        "crosstie, one user, bfloat16": probe("request", "--data", data, "--products", "bfloat16"),
        "crosstie, one user, from rows of data": probe("request", "--data", data, "--cells"),
        "crosstie, 1 candidate": probe("request", "--data", data, "--candidates", 1, "--requests", 20_000),
        "crosstie, 1 candidate, from a row of data": probe("request", "--data", data, "--candidates", 1, "--requests", 20_000, "--cells"),
        "PyTorch, plain": peer(options, "score", "--data", data, "--peer", "plain", "--rows", 4096, "--repeat", 1000),
        "ONNX Runtime": peer(options, "score", "--data", data, "--peer", "onnx", "--rows", 4096, "--repeat", 1000),
    }
    runs = in_turns(commands, options.rounds or 5)
    ours = median(runs["crosstie, one user"], "request_ms", "p50")
    rows = []
    for name, some in runs.items():
        middle, late = (median(some, "request_ms", key) for key in ("p50", "p99"))
        rows.append([name, number(middle, 3), number(late, 3), number(middle / ours, 2)])
    header = ["what", "median, ms", "99th percentile, ms", "median against crosstie's"]
    write("request", "200 candidates, and one, on one thread, MMoE", asked(options, "request"), runs, header, rows)


def load(options):
    """Loading an artifact whose tables hold 4 GB: by itself, and in a whole `predict` of one row."""
    place, maker = DATA / "load", options.before or str(CROSSTIE)
    run, log = place / ("run-before" if options.before else "run"), place / "log"
    if not (run / "artifact").exists():
        subprocess.run([maker, "synth", "--rows", "20000", "--out", log], check=True, stderr=subprocess.DEVNULL)
        schema = (log / "schema.toml").read_text()
        by_user = 'name = "user_id"\nkind = "categorical"\nside = "user"\n'
        hashed = schema.replace(f"{by_user}min_count = 10", f"{by_user}buckets = 62_500_000")
        assert hashed != schema, "the log has no field `user_id` any more"
        (place / "schema.toml").write_text(hashed)
        files = "".join(f"{part} = ['{log}/{part}.parquet']\n" for part in ("train", "valid"))
        config = place / "load.toml"
        config.write_text(
            f"[data]\nschema = '{place}/schema.toml'\n{files}[model]\nname = 'mmoe'\n[train]\nepochs = 1\n"
            "[optimizer.rows]\nname = 'adagrad'\nlearning_rate = 1e-2\n"
        )
        subprocess.run([maker, "train", config, "--out", run, "--quiet"], check=True, stdout=subprocess.DEVNULL)
    golden, scores = run / "artifact" / "golden.parquet", place / "scores.parquet"
    predict = ["predict", str(run), "--data", str(golden), "--out", str(scores), "--quiet"]
    commands = {
        "loading alone": probe("load", "--artifact", run / "artifact"),
        "`predict` of 8 rows": [str(CROSSTIE), *predict],
        "`predict` of 8 rows, before": options.before and [options.before, *predict],
    }
    runs = in_turns(commands, options.rounds or 5, lambda command: once(command) if command[0] == str(PROBE) else timed(command))
    tensors, rows = median(runs["loading alone"], "tensors_mib"), []
    for name, some in runs.items():
        seconds, peak = median(some, "seconds"), median(some, "peak_mib")
        processor = number(median(some, "cpu_seconds"), 1)
        rows.append([name, number(seconds, 1), processor, number(peak), number(peak / tensors, 2)])
    header = ["what", "seconds", "processor seconds", "peak MiB", "peak / tensors"]
    title = f"Loading an artifact whose tensors hold {number(tensors)} MiB"
    write("load", title, asked(options, "load"), runs, header, rows)


def bulk(options):
    """A million rows from Parquet to Parquet. Of crosstie the whole process is timed; of the peers not their start."""
    data, values = step_log(), step_log() / "values.parquet"
    fields = "".join(f"[[field]]\nname = 'f{n:02}'\nkind = 'categorical'\nmin_count = 1\nrates = false\nside = '{'user' if n < 12 else 'item'}'\n" for n in range(20))
    (data / "schema.toml").write_text(f"[[task]]\nname = 'click'\n[[task]]\nname = 'like'\n{fields}")
    files = "".join(f"{part} = ['{data}/test.parquet']\n" for part in ("valid", "test"))
    rows_in, commands = 1_000_000, {}
    for name, kind in [("crosstie", "float32"), ("crosstie, bfloat16", "bfloat16")]:
        config, run = DATA / f"bulk-{kind}.toml", DATA / f"bulk-{kind}"
        config.write_text(
            f"[data]\nschema = '{data}/schema.toml'\ntrain = ['{data}/train.parquet', '{values}']\n{files}[model]\n"
            "name = 'mmoe'\nexperts = 8\nexpert_units = [256, 128]\ntower_units = [64]\n[train]\nepochs = 1\n"
            f"batch_size = 4096\n[network]\nproducts = '{kind}'\n"
        )
        if not (run / "artifact").exists():
            subprocess.run([CROSSTIE, "train", config, "--out", run, "--quiet"], check=True, stdout=subprocess.DEVNULL)
        scores = str(DATA / "scores.parquet")
        commands[name] = [str(CROSSTIE), "predict", str(run), "--data", f"{data}/train.parquet", "--out", scores]
    for name in ("plain", "onnx"):
        arguments = ["--data", data, "--peer", name, "--rows", rows_in, "--repeat", 20, "--threads", 2]
        commands[{"plain": "PyTorch, plain", "onnx": "ONNX Runtime"}[name]] = peer(options, "score", *arguments)
    runs = in_turns(commands, options.rounds or 3, lambda command: timed(command) if command[0] == str(CROSSTIE) else once(command))
    ours, rows = rows_in / median(runs["crosstie"], "seconds"), []
    for name, some in runs.items():
        speed = rows_in / median(some, "seconds") if name.startswith("crosstie") else median(some, "bulk_rows_per_s")
        rows.append([name, number(speed), number(ours / speed, 2), number(median(some, "score_rows_per_s"))])
    header = ["what", "rows/s, file to file", "crosstie against it", "rows/s of the scoring alone"]
    write("bulk", "Scoring a million rows, MMoE, two threads", asked(options, "bulk"), runs, header, rows)


def training(name, data, files, kind, how):
    """The command that trains the MMoE which the peers have on the synthetic log. `how` ends the section `train`."""
    config = DATA / f"{name}.toml"
    places = "".join(f"{part} = ['{data}/{file}']\n" for part, file in files.items())
    config.write_text(
        f"[data]\nschema = '{data}/schema.toml'\n{places}[model]\nname = 'mmoe'\nexperts = 6\nexpert_units = [128, 64]\n"
        f"tower_units = [32]\n[network]\ndropout = 0.0\nproducts = '{kind}'\n[train]\nbatch_size = 4096\nthreads = 2\n{how}"
    )
    return [str(CROSSTIE), "train", str(config), "--out", str(DATA / name), "--overwrite", "--quiet"]


def aucs(report):
    """Of each task, from the impression."""
    return {task: meanings["from_impression"]["auc"] for task, meanings in report["tasks"].items()}


def train(options):
    """From files to a trained, evaluated, saved model, one epoch, two threads."""
    data = synth_log(options)
    formats = [("parquet", "float32"), ("parquet", "bfloat16")] + ([("csv", "float32")] if options.peers else [])
    commands = {}
    for form, kind in formats:
        name = form if kind == "float32" else f"{form}, {kind}"
        files = {part: f"{part}.{form}" for part in ("train", "valid", "test")}
        commands[f"crosstie, {name}"] = training(f"train-{form}-{kind}", data, files, kind, "epochs = 1\n")
        commands[f"crosstie, reading {form} alone"] = probe("read", "--data", data, "--format", form)
    # Reading is a small part of the peers' time, whatever the format: one is enough.
    for name in LIBRARIES:
        arguments = ["--data", data, "--peer", name, "--threads", 2, "--batch", 4096, "--format", "parquet"]
        commands[f"{name}, parquet"] = peer(options, "train", *arguments)

    def run(command):
        if command[0] != str(CROSSTIE):
            return once(command)
        found = timed(command)
        return {**found, "auc": aucs(json.loads((pathlib.Path(command[4]) / "metrics.json").read_text()))}

    runs = in_turns(commands, options.rounds or 1, run)
    rows = []
    for name, some in runs.items():
        seconds = median(some, "seconds")
        form = "csv" if "csv" in name else "parquet"
        ours = median(runs[f"crosstie, {form}"], "seconds")
        found = " / ".join(number(median(some, "auc", task), 4) for task in ("click", "like", "buy"))
        rows.append([name, number(seconds, 1), number(seconds / ours, 2), found, number(median(some, "peak_mib"))])
    header = ["what", "seconds", "against crosstie's", "test AUC click / like / buy, from the impression", "peak MiB"]
    write("train", f"End to end, a synthetic log of {options.rows:,} rows, one epoch", asked(options, "train"), runs, header, rows)


def quality(options):
    """Seconds until crosstie has the test AUC that each peer has after the epoch that is best for it by the validation."""
    data = synth_log(options)
    # So that its history has the figures of the test: nothing is chosen by them, since the run goes on to its end.
    files = {"train": "train.parquet", "valid": "test.parquet"}
    command = training("quality", data, files, "float32", "epochs = 2\npatience = 1000\n")
    commands = {"crosstie": command}
    for name in LIBRARIES:
        arguments = ["--data", data, "--peer", name, "--threads", 2, "--batch", 4096, "--epochs", 5]
        commands[name] = peer(options, "train", *arguments)

    def run(command):
        if command[0] != str(CROSSTIE):
            return once(command)
        found = timed(command)
        lines = map(json.loads, (pathlib.Path(command[4]) / "metrics.jsonl").read_text().splitlines())
        return {**found, "evaluations": [{"seconds": line["seconds"], "auc": aucs(line["report"])} for line in lines]}

    runs = in_turns(commands, options.rounds or 1, run)
    rows = []
    for name, some in runs.items():
        for task in ("click", "buy") if name != "crosstie" else ():
            best = [max(peer["epochs"], key=lambda epoch: epoch["valid_auc"][task]) for peer in some]
            target = statistics.median(epoch["test_auc"][task] for epoch in best)
            seconds = statistics.median(epoch["seconds"] for epoch in best)
            ours = [reached(run["evaluations"], task, target) for run in runs["crosstie"]]
            found = statistics.median(ours) if None not in ours else None
            epochs = " / ".join(str(epoch["epoch"]) for epoch in best)
            rows.append([task, name, number(target, 4), epochs, number(seconds, 1), number(found, 1) or "never", found and number(seconds / found, 1) or ""])
    rows.sort(key=lambda row: row[0], reverse=True)
    header = ["task", "peer", "its test AUC", "after epoch", "peer, s", "crosstie, s", "peer / crosstie"]
    title = f"Seconds to a peer's quality, a synthetic log of {options.rows:,} rows"
    write("quality", title, asked(options, "quality"), runs, header, rows)


def reached(evaluations, task, target):
    """Seconds until the first evaluation with that AUC, from the impression."""
    return next((one["seconds"] for one in evaluations if one["auc"][task] >= target), None)


def memory(options):
    """Training on a file four times as large as the memory the process may map."""
    data, large = synth_log(options), DATA / "memory.csv"
    if not (data / "train.csv").exists():
        sys.exit("memory: needs --peers PYTHON, to write a CSV file")
    if not large.exists():
        with open(large, "wb") as into:
            for copy in range(4):
                with open(data / "train.csv", "rb") as rows:
                    header = rows.readline()
                    into.write(header if copy == 0 else b"")
                    shutil.copyfileobj(rows, into)
    size = large.stat().st_size
    config = DATA / "memory.toml"
    files = "".join(f"{part} = ['{data}/{part}.csv']\n" for part in ("valid", "test"))
    config.write_text(
        f"[data]\nschema = '{data}/schema.toml'\ntrain = ['{large}']\n{files}[model]\nname = 'shared-bottom'\n"
        "[train]\nepochs = 1\nbatch_size = 4096\nthreads = 2\ncache_mib = 0\nshuffle_rows = 65536\n"
    )
    command = [str(CROSSTIE), "train", str(config), "--out", str(DATA / "memory"), "--overwrite", "--quiet"]
    found = timed(command, size // 4)
    outcome = "trained, evaluated, saved" if found["exit_code"] == 0 else f"failed: {found['stderr'].strip()}"
    row = [number(size / 2**20), number(size / 4 / 2**20), number(found["peak_mib"]), number(found["seconds"], 1), outcome]
    header = ["training file, MiB", "limit of the address space, MiB", "peak resident, MiB", "seconds", "outcome"]
    write("memory", "A file four times the memory limit", asked(options, "memory"), {"limited": [found]}, header, [row])


BENCHMARKS = {
    "step": step, "models": models, "products": products, "shapes": shapes, "table": table, "scenarios": scenarios, "request": request,
    "load": load, "bulk": bulk, "train": train, "quality": quality, "memory": memory,
}

if __name__ == "__main__":
    main()
