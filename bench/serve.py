"""Measures the server under load, and writes docs/performance/serving.json and the tables of serving.md.

    python3 bench/serve.py NAME... --oha OHA [--peers PYTHON] [--seconds N]

NAME is one of: load, first, swap, reload; `all` measures them all. OHA is the load generator of that name. PYTHON is an
interpreter that has bench/peers/serving/requirements.txt installed; without it crosstie is measured alone. Needs cargo,
Linux with two cores, and Python's standard library.

On a machine without cargo, with a binary and the models of another machine (the folder PLACE, by default
target/bench/serve, of which run-1/artifact is needed and for `swap` run-2/artifact, too), and back:

    python3 bench/serve.py NAME... --oha OHA --crosstie CROSSTIE --place PLACE --json FOUND
    python3 bench/serve.py --found FOUND

The first of two cores is for what computes, the other for all else: the generator and crosstie's network thread. Of
more, each of the three has its own.
"""
import argparse, contextlib, http.client, json, multiprocessing, os, pathlib, random, shutil, socket, sqlite3
import statistics, struct, subprocess, sys, tempfile, threading, time

from run import CROSSTIE, DATA, PAGES, PROBE, ROOT, machine, number

PLACE = DATA / "serve"
PEERS = ROOT / "bench" / "peers" / "serving"
PAGE, RUNS = PAGES / "serving.md", PAGES / "serving.json"
CANDIDATES, FIELDS, USER_FIELDS = 200, 20, 12
PATH = "/v2/models/ranker/infer"
CLOSED = 4  # connections that ask again at once, to find the capacity
OPEN = 128  # connections that wait for their time


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--oha", type=pathlib.Path, help="the load generator")
    parser.add_argument("--peers", help="a Python with the other servers")
    parser.add_argument("--rounds", type=int, default=5, help="how often capacity, load and overload are measured")
    parser.add_argument("--seconds", type=int, default=15, help="how long each load lasts")
    parser.add_argument("--crosstie", type=pathlib.Path, help="the server; nothing is built then")
    parser.add_argument("--place", type=pathlib.Path, default=DATA / "serve", help="models and requests")
    parser.add_argument("--json", type=pathlib.Path, help="where figures go, in place of the page")
    parser.add_argument("--found", type=pathlib.Path, help="figures of another machine, for the page")
    options = parser.parse_args()
    if options.found:
        for name, run in json.loads(options.found.read_text()).items():
            publish(name, run)
        return
    names = list(PARTS) if "all" in options.names else options.names
    if not names or not set(names) <= set(PARTS) or not options.oha:
        parser.error(f"what is to be measured ({', '.join(PARTS)}, all), and --oha")
    global PLACE, CROSSTIE
    options.oha, PLACE = options.oha.resolve(), options.place.resolve()
    if options.crosstie:
        CROSSTIE = options.crosstie.resolve()
    else:
        subprocess.run(["cargo", "build", "--release", "--workspace"], cwd=ROOT, check=True)
        train()
    write_requests()
    os.sched_setaffinity(0, GENERATOR)
    for name in names:
        run = measured(name, options)
        if options.json:
            keep(options.json, name, run)
        else:
            publish(name, run)


def cores():
    """Those of what computes, of the network thread, and of the generator: of two cores the last two share one."""
    allowed, apart = sorted(os.sched_getaffinity(0)), {}
    for core in allowed:
        siblings = pathlib.Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
        apart.setdefault(siblings.read_text() if siblings.exists() else core, core)
    first, second, *others = apart.values() if len(apart) > 2 else allowed
    return {first}, {second}, set(others) or {second}


COMPUTE, NETWORK, GENERATOR = cores()


# Model and requests


SCHEMA = """[[task]]
name = "click"
[[task]]
name = "cart"
after = "click"
[[task]]
name = "buy"
after = "cart"
"""
CONFIG = """[data]
schema = "{place}/schema.toml"
train = ["{place}/log/train.parquet"]
valid = ["{place}/log/test.parquet"]
test = ["{place}/log/test.parquet"]
[model]
name = "mmoe"
experts = 8
expert_units = [320, 128]
tower_units = [64]
[network]
dropout = 0.0
[train]
epochs = 1
batch_size = 512
seed = {seed}
"""


def train():
    """Two versions of a model of 20 fields, the first of them for ONNX Runtime, too."""
    if (PLACE / "onnx").exists():
        return
    PLACE.mkdir(parents=True, exist_ok=True)
    quiet = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([PROBE, "log", "--out", PLACE / "log", "--rows", "60000"], **quiet)
    fields = [f'[[field]]\nname = "f{field:02}"\nkind = "categorical"\nmin_count = 1\nside = "{side(field)}"\n'
              for field in range(FIELDS)]
    (PLACE / "schema.toml").write_text(SCHEMA + "".join(fields))
    for seed in (1, 2):
        (PLACE / "config.toml").write_text(CONFIG.format(place=PLACE, seed=seed))
        subprocess.run([CROSSTIE, "train", PLACE / "config.toml", "--out", PLACE / f"run-{seed}", "--overwrite"], **quiet)
    subprocess.run([CROSSTIE, "export", PLACE / "run-1", "--format", "onnx", "--out", PLACE / "onnx"], **quiet)


def write_requests():
    """A request as JSON and with binary tensors."""
    columns = request_columns()
    shape = [CANDIDATES]
    written = {"inputs": [{"name": name, "shape": shape, "datatype": "BYTES", "data": cells}
                          for name, cells in columns.items()]}
    (PLACE / "request.json").write_text(json.dumps(written))
    raw = {name: b"".join(struct.pack("<I", len(cell)) + cell.encode() for cell in cells)
           for name, cells in columns.items()}
    head = {"parameters": {"binary_data_output": True},
            "inputs": [{"name": name, "shape": shape, "datatype": "BYTES",
                        "parameters": {"binary_data_size": len(data)}} for name, data in raw.items()]}
    head = json.dumps(head).encode()
    (PLACE / "request.bin").write_bytes(head + b"".join(raw.values()))


def side(field):
    return "user" if field < USER_FIELDS else "item"


def request_columns():
    """One user and 200 candidates, as texts: ids as frequent as in the log (bench/src/log.rs)."""
    draw = random.Random(7)
    sizes = [500_000] * 2 + [50_000] * 4 + [1000] * 14
    one = lambda size: str(min(int((size + 1) ** draw.random() - 1), size - 1))
    columns = {}
    for field, size in enumerate(sizes):
        user = one(size)
        columns[f"f{field:02}"] = [user if side(field) == "user" else one(size) for _ in range(CANDIDATES)]
    return columns


# Servers


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@contextlib.contextmanager
def crosstie(repository):
    """`crosstie serve` with one compute thread on a core of its own, and a line of the log for every request."""
    ports = {name: free_port() for name in ("http", "grpc", "metrics")}
    config = PLACE / "serve.toml"
    listen = "".join(f'[{name}]\naddress = "127.0.0.1:{port}"\n' for name, port in ports.items())
    config.write_text(
        f'{listen}[repository]\ndirectory = "{repository}"\npoll_seconds = 0\n'
        "[compute]\nthreads = 1\nnetwork_threads = 1\n[timeouts]\ndrain_seconds = 0\n"
    )
    with running([CROSSTIE, "serve", "--config", config, "-v", "--log-format", "json"], ports["http"]) as process:
        for thread in pathlib.Path(f"/proc/{process.pid}/task").iterdir():
            computes = (thread / "comm").read_text().startswith("compute")
            os.sched_setaffinity(int(thread.name), COMPUTE if computes else NETWORK)
        yield process, ports["http"]


@contextlib.contextmanager
def fastapi(python):
    port = free_port()
    with running([python, PEERS / "fastapi_server.py", PLACE / "onnx", str(port)], port, COMPUTE) as process:
        yield process, port


@contextlib.contextmanager
def mlserver(python):
    ports = {name: free_port() for name in ("http_port", "grpc_port", "metrics_port")}
    folder = PLACE / "mlserver"
    folder.mkdir(exist_ok=True)
    (folder / "settings.json").write_text(json.dumps({"host": "127.0.0.1", "parallel_workers": 0, **ports}))
    model = {"name": "ranker", "implementation": "mlserver_runtime.Ranker", "parameters": {"uri": str(PLACE / "onnx")}}
    (folder / "model-settings.json").write_text(json.dumps(model))
    environment = os.environ | {"PYTHONPATH": str(PEERS)}
    command = [pathlib.Path(python).parent / "mlserver", "start", folder]
    with running(command, ports["http_port"], COMPUTE, env=environment) as process:
        yield process, ports["http_port"]


@contextlib.contextmanager
def running(command, port, cores=None, **more):
    """A server, from when it is ready to the end of the block."""
    pin = (lambda: os.sched_setaffinity(0, cores)) if cores else None
    with open(PLACE / "server.log", "w") as log:
        process = subprocess.Popen(list(map(str, command)), stdout=log, stderr=log, preexec_fn=pin, **more)
    try:
        until = time.monotonic() + 60
        while not is_ready(port):
            if process.poll() is not None or time.monotonic() > until:
                sys.exit(f"{command}\n{(PLACE / 'server.log').read_text()[-2000:]}")
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()


def is_ready(port):
    try:
        return ask(http.client.HTTPConnection("127.0.0.1", port), "GET", "/v2/health/ready")[0] == 200
    except OSError:
        return False


def ask(connection, method, path, body=None, headers={}):
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


def log_end():
    """Where the log of the server ends by now."""
    return (PLACE / "server.log").stat().st_size


STAGES = ["queue", "decode", "compute", "encode"]


def inside(start):
    """What the server says of the requests that it answered since its log ended there: milliseconds from the head of a
    request to its answer, by its parts, 99 in 100 and in the mean of the slowest hundredth. The network thread has what
    is no part: it reads the body and hands the answer on. None of a server that says nothing."""
    with open(PLACE / "server.log", "rb") as log:
        log.seek(start)
        lines = [json.loads(line)["fields"] for line in log if b'"compute":' in line]
    if not lines:
        return None
    for line in lines:
        line["network"] = line["milliseconds"] - sum(line[stage] for stage in STAGES)
    slowest = sorted(lines, key=lambda line: line["milliseconds"])[-max(len(lines) // 100, 1):]
    parts = ["milliseconds", *STAGES, "network"]
    return {
        "p50": {part: percentile([line[part] for line in lines], 0.5) for part in parts},
        "p99": {part: percentile([line[part] for line in lines], 0.99) for part in parts},
        "slowest": {part: statistics.mean(line[part] for line in slowest) for part in parts},
    }


def resident_mib(process):
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS:")).split()[1]) / 1024


# Load


class Body:
    """A request as a file, and the headers that go with it."""

    def __init__(self, binary):
        self.path = PLACE / ("request.bin" if binary else "request.json")
        self.headers = {"Content-Type": "application/octet-stream" if binary else "application/json"}
        if binary:
            self.headers["Inference-Header-Content-Length"] = str(self.path.read_bytes().index(b"}]}") + 3)


def oha(options, port, body, seconds, rate=None, during=None):
    """Requests for so long: at a constant rate, whatever the answers, or with as many connections as `CLOSED`. Every
    request as (time sent or due, milliseconds, status), and how many got no answer. `during` is done meanwhile."""
    base = PLACE / "requests.sqlite"
    base.unlink(missing_ok=True)
    command = [options.oha, "--no-tui", "--output-format", "json", "-z", f"{seconds}s", "-m", "POST", "-D", body.path,
               "--db-url", base, "-c", OPEN if rate else CLOSED, "--disable-compression"]
    if rate:
        command += ["-q", f"{rate:.1f}", "--latency-correction"]
    for header in body.headers.items():
        command += ["-H", ": ".join(header)]
    command.append(f"http://127.0.0.1:{port}{PATH}")
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if during:
        during(process)
    told, errors = process.communicate()
    if process.returncode:
        sys.exit(f"{command}\n{errors[-2000:]}")
    with contextlib.closing(sqlite3.connect(base)) as rows:
        found = rows.execute("select coalesce(start_latency_correction, start), end, status from oha").fetchall()
    return [(start, 1e3 * (end - start), status) for start, end, status in found], json.loads(told)["errorDistribution"]


def percentile(values, share):
    values = sorted(values)
    return values[min(int(share * len(values)), len(values) - 1)] if values else None


def told(requests, seconds):
    """What a load came to."""
    accepted = [took for _, took, status in requests if status == 200]
    refused = [took for _, took, status in requests if status in (429, 503)]
    return {
        "accepted_per_second": len(accepted) / seconds,
        "p50": percentile(accepted, 0.5), "p99": percentile(accepted, 0.99), "worst": max(accepted, default=None),
        "refused": len(refused), "refused_p99": percentile(refused, 0.99),
        "others": len(requests) - len(accepted) - len(refused),
    }


def alone(port, body, asked=300):
    """Milliseconds of requests one after the other on one connection: median in all, mean in the model."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    content, before, took, computed = body.path.read_bytes(), computed_ns(port), [], []
    for _ in range(asked):
        start = time.perf_counter()
        status, answer = ask(connection, "POST", PATH, content, body.headers)
        took.append(1e3 * (time.perf_counter() - start))
        if status != 200:
            sys.exit(f"{status}: {answer[:500]}")
        if before is None:
            computed.append(json.loads(answer)["parameters"]["compute_ms"])
    if before is not None:
        after = computed_ns(port)
        computed = [(after[0] - before[0]) / (after[1] - before[1]) / 1e6]
    return {"p50": percentile(took, 0.5), "compute_ms": statistics.median(computed)}


def computed_ns(port):
    """Nanoseconds and requests in the model so far, where the server tells."""
    status, answer = ask(http.client.HTTPConnection("127.0.0.1", port), "GET", "/v2/models/ranker/stats")
    if status != 200:
        return None
    told = json.loads(answer)["model_stats"][0]["inference_stats"]["compute_infer"]
    return told["ns"], told["count"]


def repository(*versions):
    """A new repository with runs as versions 1, 2, ... of the model."""
    folder = pathlib.Path(tempfile.mkdtemp(dir=PLACE, prefix="models-"))
    for number, run in enumerate(versions, 1):
        put(folder, run, number)
    return folder


def put(folder, run, number):
    """Puts a run's artifact into a repository, all at once."""
    (folder / "ranker").mkdir(exist_ok=True)
    shutil.copytree(PLACE / run / "artifact", folder / ".new", copy_function=os.link)
    (folder / ".new").rename(folder / "ranker" / str(number))


# What is measured


def load(options):
    """Capacity, 70 % of it, three times it, in rounds, and a second after the last, of every server."""
    folder = repository("run-1")
    cases = {"crosstie, JSON": (lambda: crosstie(folder), False), "crosstie, binary": (lambda: crosstie(folder), True)}
    if options.peers:
        cases["ONNX Runtime, FastAPI"] = (lambda: fastapi(options.peers), False)
        cases["ONNX Runtime, mlserver"] = (lambda: mlserver(options.peers), False)
    found = {name: loaded(options, name, server, Body(binary)) for name, (server, binary) in cases.items()}
    shutil.rmtree(folder)
    return found


def load_table(found):
    def inside(*path):
        return lambda run: number(at(run, "inside", *path), 2) if run.get("inside") else ""

    def slowest(run):
        parts = (run.get("inside") or {}).get("slowest")
        return ", ".join(number(parts[part], 2) for part in [*STAGES, "network"]) if parts else ""

    ms = lambda *path: lambda run: number(at(run, *path), 2)
    lines = [
        ("in the model alone, ms", ms("alone", "compute_ms")),
        ("a request alone, p50, ms", ms("alone", "p50")),
        ("capacity, requests/s", lambda run: number(run["capacity"]["accepted_per_second"])),
        ("capacity in every round, requests/s",
         lambda run: ", ".join(number(one["capacity"]["accepted_per_second"]) for one in run["rounds"])),
        ("at 70 %: p50, ms", ms("seventy", "p50")),
        ("at 70 %: p99, ms", ms("seventy", "p99")),
        ("at 70 %: p99 of every round, ms",
         lambda run: ", ".join(number(one["seventy"]["p99"], 1) for one in run["rounds"])),
        ("at 70 %: p99 by the time in the model",
         lambda run: number(run["seventy"]["p99"] / run["alone"]["compute_ms"], 2)),
        ("at 70 %: p99 inside the server, ms", inside("p99", "milliseconds")),
        ("at 70 %: the slowest hundredth there, ms in the mean", inside("slowest", "milliseconds")),
        (f"of it {', '.join(STAGES)}, network thread", slowest),
        ("at 3 ×: answered, of the capacity", lambda run: f"{run['triple']['answered']:.1%}"),
        ("at 3 ×: the same of every round",
         lambda run: ", ".join(f"{one['triple']['answered']:.1%}" for one in run["rounds"])),
        ("at 3 ×: p99 of the answered, ms", ms("triple", "then", "p99")),
        ("at 3 ×: that by p99 at 70 %", lambda run: number(run["triple"]["then"]["p99"] / run["seventy"]["p99"], 2)),
        ("at 3 ×: the same of the first second, ms", ms("triple", "first_second", "p99")),
        ("at 3 ×: the same of all seconds, ms", ms("triple", "p99")),
        ("at 3 ×: refused, of all", lambda run: f"{run['triple']['refused'] / run['triple']['sent']:.1%}"),
        ("at 3 ×: p99 of the refused, ms", ms("triple", "refused_p99")),
        ("at 3 ×: without an answer, of all", lambda run: f"{run['triple']['unanswered'] / run['triple']['sent']:.1%}"),
        ("memory before and at most at 3 ×, MiB",
         lambda run: f"{number(run['triple']['before_mib'])}, {number(run['triple']['most_mib'])}"),
        ("70 % from a second after: p99, ms", ms("after", "p99")),
    ]
    return ["", *found], [[title, *(line(run) for run in found.values())] for title, line in lines]


def at(run, *path):
    for key in path:
        run = run[key]
    return run


def loaded(options, name, server, body):
    with server() as (process, port):
        print(name, file=sys.stderr)
        oha(options, port, body, 2)
        found = {"alone": alone(port, body)}
        rounds = [round_of(options, process, port, body) for _ in range(options.rounds)]
        # A stall of the machine of ten milliseconds makes the p99 of its round.
        calm = middle(rounds, lambda one: one["seventy"]["p99"])
        found |= {"rounds": rounds, "seventy": calm["seventy"], "inside": calm["inside"]}
        found["capacity"] = middle(rounds, lambda one: one["capacity"]["accepted_per_second"])["capacity"]
        found["triple"] = middle(rounds, lambda one: one["triple"]["answered"])["triple"]
        rate = found["capacity"]["accepted_per_second"]
        time.sleep(1)
        found["after"] = told(oha(options, port, body, 5, 0.7 * rate)[0], 5)
        print(json.dumps(found), file=sys.stderr)
        return found


def middle(rounds, by):
    return sorted(rounds, key=by)[len(rounds) // 2]


def round_of(options, process, port, body):
    """The capacity of these seconds, 70 % of it, and three times it."""
    capacity = told(oha(options, port, body, options.seconds)[0], options.seconds)
    rate, begin = capacity["accepted_per_second"], log_end()
    seventy = told(oha(options, port, body, options.seconds, 0.7 * rate)[0], options.seconds)
    found = {"capacity": capacity, "seventy": seventy, "inside": inside(begin)}
    before, most, done = resident_mib(process), [0.0], threading.Event()

    def watch():
        while not done.wait(0.1):
            most[0] = max(most[0], resident_mib(process))

    watching = threading.Thread(target=watch)
    watching.start()
    requests, errors = oha(options, port, body, options.seconds, 3 * rate)
    done.set()
    watching.join()
    sent, triple = 3 * rate * options.seconds, told(requests, options.seconds)
    # The queue fills and drains once, at the beginning.
    found["triple"] = triple | {
        "answered": triple["accepted_per_second"] / rate,
        "first_second": told([one for one in requests if one[0] < 1], 1),
        "then": told([one for one in requests if one[0] >= 1], options.seconds - 1), "sent": sent,
        "unanswered": max(sent - len(requests), 0), "errors": errors, "before_mib": before, "most_mib": most[0],
    }
    return found


def first(options, starts=10):
    """The first request after the start, on a new connection as all are that it is compared with."""
    folder, body = repository("run-1"), Body(False)
    content, found = body.path.read_bytes(), []
    for _ in range(starts):
        with crosstie(folder) as (_, port):
            took = []
            for _ in range(51):
                connection = http.client.HTTPConnection("127.0.0.1", port)
                start = time.perf_counter()
                status, answer = ask(connection, "POST", PATH, content, body.headers)
                took.append(1e3 * (time.perf_counter() - start))
                if status != 200:
                    sys.exit(f"{status}: {answer}")
            found.append({"first": took[0], "median": statistics.median(took[1:])})
    shutil.rmtree(folder)
    return found


def first_table(found):
    one, all_others = (statistics.median(run[key] for run in found) for key in ("first", "median"))
    header = ["starts", "first request, median, ms", "the next 50, median, ms", "ratio"]
    return header, [[number(len(found)), number(one, 2), number(all_others, 2), number(one / all_others, 2)]]


def swap(options):
    """70 % of the capacity without a load, and while one version after the other is loaded."""
    folder, body, loads = repository("run-1"), Body(False), []

    def swapping(generator):
        # A process of its own: on the generator's core it goes behind whatever else runs there.
        stop, (took, teller) = multiprocessing.Event(), multiprocessing.Pipe(duplex=False)
        process = multiprocessing.Process(target=swap_versions, args=(folder, port, len(loads) + 1, stop, teller))
        process.start()
        teller.close()
        generator.wait()
        stop.set()
        try:
            loads.extend(took.recv())
        except EOFError:
            sys.exit("a version could not be loaded")
        process.join()

    with crosstie(folder) as (_, port):
        oha(options, port, body, 2)
        found = {"before": [], "during": []}
        for _ in range(options.rounds):
            capacity = told(oha(options, port, body, options.seconds)[0], options.seconds)
            for name, during in (("before", None), ("during", swapping)):
                rate = 0.7 * capacity["accepted_per_second"]
                requests, _ = oha(options, port, body, options.seconds, rate, during)
                found[name].append(told(requests, options.seconds))
    shutil.rmtree(folder)
    return found | {"loads_ms": loads}


def swap_versions(folder, port, version, stop, teller):
    """Puts and loads one version after the other until it is told to stop, then says how long loads took."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    connection, loads = http.client.HTTPConnection("127.0.0.1", port), []
    while not stop.is_set():
        version += 1
        put(folder, f"run-{1 + (version + 1) % 2}", version)
        start = time.perf_counter()
        status, answer = ask(connection, "POST", "/v2/repository/models/ranker/load", b"{}")
        if status != 200:
            sys.exit(f"{status}: {answer}")
        loads.append(1e3 * (time.perf_counter() - start))
        shutil.rmtree(folder / "ranker" / str(version - 1))
    teller.send(loads)


def swap_table(found):
    runs, loads = {name: found[name] for name in ("before", "during")}, found["loads_ms"]
    p99 = {name: statistics.median(run["p99"] for run in of) for name, of in runs.items()}
    failed = sum(run["refused"] + run["others"] for of in runs.values() for run in of)
    header = ["swaps", "a load, median, ms", "p99 before, ms", "p99 during, ms", "ratio", "of every round", "failed"]
    each = ", ".join(number(during["p99"] / before["p99"], 2) for before, during in zip(found["before"], found["during"]))
    row = [number(len(loads)), number(statistics.median(loads), 1), number(p99["before"], 2), number(p99["during"], 2),
           number(p99["during"] / p99["before"], 2), each, number(failed)]
    return header, [row]


def reload(options, reloads=200):
    """Memory over 200 reloads, with requests between them."""
    folder, body, asked = repository("run-1"), Body(False), [2, 10, 50, 100, reloads]
    with crosstie(folder) as (process, port):
        connection = http.client.HTTPConnection("127.0.0.1", port)
        content, memory = body.path.read_bytes(), {}
        for count in range(1, reloads + 1):
            for path, sent in (("/v2/repository/models/ranker/load", b"{}"), (PATH, content), (PATH, content)):
                status, answer = ask(connection, "POST", path, sent, body.headers)
                if status != 200:
                    sys.exit(f"{status}: {answer}")
            time.sleep(0.12)  # what is retired is freed within a tenth of a second
            if count in asked:
                time.sleep(1.5)  # and given back to the system a second after
                memory[count] = resident_mib(process)
    shutil.rmtree(folder)
    return {"resident_mib": memory}


def reload_table(found):
    memory = list(found["resident_mib"].values())
    header = ["after so many reloads", *map(str, found["resident_mib"]), "the last by the second"]
    return header, [["resident, MiB", *(number(mib, 1) for mib in memory), number(memory[-1] / memory[0], 3)]]


# What measures, and what makes a table of it.
PARTS = {"load": (load, load_table), "first": (first, first_table), "swap": (swap, swap_table),
         "reload": (reload, reload_table)}


# Writing


def measured(name, options):
    """A measurement, and what it was made with."""
    asked = ["git", "rev-parse", "--short", "HEAD"]
    git = shutil.which("git") and subprocess.run(asked, cwd=ROOT, capture_output=True, text=True)
    commit = git.stdout.strip() if git else ""
    peers = " --peers PYTHON" if options.peers and name == "load" else ""
    command = f"python3 bench/serve.py {name} --oha OHA{peers}"
    command += f" --seconds {options.seconds}" if options.seconds != 15 else ""
    about = {"command": command, "machine": machine(), "commit": commit, "date": time.strftime("%Y-%m-%d")}
    return about | {"found": PARTS[name][0](options)}


def keep(path, key, run):
    """Puts a run among those in the file."""
    runs = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(runs | {key: run}, indent=1) + "\n")


def publish(name, run):
    """Puts a run into the page, in place of the last of its kind and number of cores, and among those in the JSON."""
    where = run["machine"]
    key = name if where["cores"] == 2 else f"{name}, {where['cores']} cores"
    keep(RUNS, key, run)
    header, rows = PARTS[name][1](run["found"])
    commit = f", commit {run['commit']}" if run["commit"] else ""
    table = "\n".join([
        f"`{run['command']}`; {run['date']}{commit}, {where.get('processor')}, {where['cores']} cores, {where.get('vectors')}.",
        "", "| " + " | ".join(header) + " |", "|" + "---|" * len(header), *("| " + " | ".join(row) + " |" for row in rows),
    ])
    print(table)
    page = PAGE.read_text()
    begin, end = f"<!-- {key}: written by bench/serve.py -->", f"<!-- end of {key} -->"
    if begin not in page:
        of_two = f"<!-- end of {name} -->"
        page = page.replace(of_two, f"{of_two}\n\n{begin}\n{end}")
    head, _, rest = page.partition(begin)
    PAGE.write_text(f"{head}{begin}\n{table}\n{end}{rest.partition(end)[2]}")


if __name__ == "__main__":
    main()
