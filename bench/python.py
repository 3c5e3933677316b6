"""What the Python package costs beside the binary; writes docs/performance/python.json and python.md.

    PYTHON bench/python.py --crosstie CROSSTIE [--wheel WHEEL] [--rows N] [--rounds N]

PYTHON has crosstie, pandas, pyarrow and NumPy; CROSSTIE is the binary of the same commit and profile. A log of
N rows is made by `crosstie synth`; every round trains the same model on it once by the binary, once by the
package from the Parquet file, and once from a frame of pandas that was read before. All give the same weights,
which is checked. Processor seconds are of user code, by the kernel's count, less what Python takes to start, to
import and to read the frame. Needs Linux.
"""

import argparse
import gc
import hashlib
import json
import os
import pathlib
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = ROOT / "docs" / "performance"
SETTINGS = {"model.name": "mmoe", "train.epochs": 1, "train.seed": 1}
#: What the binary writes beside an artifact, and the package does not.
BESIDE = {"train.checkpoint_every": "never", "train.report": False}
#: What is measured: its name, what it is, and the goal.
WAYS = {
    "binary": "`crosstie train`, a Parquet file",
    "file": "the package, the same file",
    "frame": "the package, a frame of pandas",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crosstie", required=True, help="the binary")
    parser.add_argument("--wheel", type=pathlib.Path, help="a wheel of the package, to be weighed")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--one", choices=["file", "frame"], help=argparse.SUPPRESS)
    parser.add_argument("--data", type=pathlib.Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        return trained_here(options)
    with tempfile.TemporaryDirectory(prefix="crosstie-bench-") as directory:
        directory = pathlib.Path(directory)
        data = directory / "data"
        subprocess.run(
            [options.crosstie, "synth", "--out", data, "--rows", str(round(options.rows / 0.8)), "--seed", "1"],
            check=True,
            capture_output=True,
        )
        runs = {name: [] for name in WAYS}
        for _ in range(options.rounds):
            runs["binary"].append(trained_by_binary(options, data, directory / "run"))
            for name in ("file", "frame"):
                command = [sys.executable, __file__, "--one", name, "--data", data, "--crosstie", options.crosstie]
                done = subprocess.run([*command, "--threads", str(options.threads)], check=True, capture_output=True, text=True)
                runs[name].append(json.loads(done.stdout.splitlines()[-1]))
        weights = {one["weights"] for of in runs.values() for one in of}
        assert len(weights) == 1, "the package and the binary gave other weights"
    page(options, runs, imported(), options.wheel.stat().st_size if options.wheel else None)


def settings(options):
    return {**SETTINGS, "train.threads": options.threads}


def trained_by_binary(options, data, run):
    said = [f"--set={key}={str(value).lower()}" for key, value in {**settings(options), **BESIDE}.items()]
    files = [f"--set=data.{name}={data / f'{name}.parquet'}" for name in ("train", "valid")]
    config = data / "bench.toml"
    config.write_text(f'[data]\nschema = "{data / "schema.toml"}"\ntrain = []\nvalid = []\n[model]\nname = "mmoe"\n')
    start = time.perf_counter()
    process = subprocess.Popen(
        [options.crosstie, "train", config, "--out", run, "--overwrite", *said, *files],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    told = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, told
    return {
        "cpu": usage.ru_utime,
        "seconds": time.perf_counter() - start,
        "peak_mib": usage.ru_maxrss / 1024,
        "weights": fingerprint(run / "artifact"),
    }


def trained_here(options):
    """Trains in this process, and tells what it took."""
    import pandas
    import pyarrow

    import crosstie as ct

    files = [options.data / f"{name}.parquet" for name in ("train", "valid")]
    given, frame_mib = files, None
    if options.one == "frame":
        given = [pandas.read_parquet(file) for file in files]
        frame_mib = sum(frame.memory_usage(deep=True).sum() for frame in given) / 2**20
        gc.collect()
        # What reading the file took is not the frame's.
        pyarrow.default_memory_pool().release_unused()
    said = {key.replace(".", "__"): value for key, value in settings(options).items() if key != "model.name"}
    model = ct.Model("mmoe", schema=options.data / "schema.toml", **said)
    before = resident_mib()
    start, cpu = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_utime
    model.fit(*given)
    with tempfile.TemporaryDirectory() as directory:
        artifact = pathlib.Path(directory) / "artifact"
        model.save(artifact)
        usage = resource.getrusage(resource.RUSAGE_SELF)
        print(
            json.dumps(
                {
                    "cpu": usage.ru_utime - cpu,
                    "seconds": time.perf_counter() - start,
                    "peak_mib": usage.ru_maxrss / 1024,
                    "before_mib": before,
                    "frame_mib": frame_mib,
                    "weights": fingerprint(artifact),
                }
            )
        )


def fingerprint(artifact):
    """One text for the weights of an artifact."""
    files = sorted(artifact.glob("*.safetensors"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def resident_mib():
    with open("/proc/self/statm") as numbers:
        return int(numbers.read().split()[1]) * resource.getpagesize() / 2**20


def imported():
    """Milliseconds of `import crosstie` in new processes, the first one left out."""
    code = "import time; start = time.perf_counter(); import crosstie; print(1000 * (time.perf_counter() - start))"
    times = [float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout) for _ in range(11)]
    return times[1:]


def page(options, runs, imports, wheel):
    median = {name: {key: statistics.median(run[key] for run in of) for key in ("cpu", "seconds", "peak_mib")} for name, of in runs.items()}
    frame_mib = runs["frame"][0]["frame_mib"]
    # What training takes by itself, from a frame and from the file: the rest was there before.
    took = {name: statistics.median(run["peak_mib"] - run["before_mib"] for run in runs[name]) for name in ("file", "frame")}
    before = {name: statistics.median(run["before_mib"] for run in runs[name]) for name in ("file", "frame")}
    beside = frame_mib + took["frame"] - took["file"]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
    lines = [
        "# The Python package beside the binary",
        "",
        f"One epoch of MMoE on {options.rows:,} synthetic training rows, {options.rounds} rounds in turn, medians; user "
        "processor seconds, without what Python takes to start, to import and to read the frame. All gave the same "
        "weights to the bit.",
        "",
        f"`python bench/python.py --rows {options.rows} --rounds {options.rounds} --threads {options.threads}`; "
        f"{time.strftime('%Y-%m-%d')}, commit {commit}, {cpu}, {os.cpu_count()} cores, Python {platform.python_version()}. "
        "Written by bench/python.py.",
        "",
        "| | processor seconds | beside the binary | wall seconds | peak MiB |",
        "|---|---|---|---|---|",
        *(
            f"| {WAYS[name]} | {one['cpu']:.1f} | {one['cpu'] / median['binary']['cpu']:.3f} | {one['seconds']:.1f} | {one['peak_mib']:,.0f} |"
            for name, one in median.items()
        ),
        "",
        f"| | found | goal |",
        "|---|---|---|",
        f"| from the file, processor time beside the binary | {100 * (median['file']['cpu'] / median['binary']['cpu'] - 1):+.1f} % | ≤ 2 % |",
        f"| from a frame, processor time beside the binary | {100 * (median['frame']['cpu'] / median['binary']['cpu'] - 1):+.1f} % | ≤ 10 % |",
        f"| the frame of {frame_mib:,.0f} MiB, with the memory that training from it takes more than from the file | "
        f"{beside:,.0f} MiB, {beside / frame_mib:.2f} × the frame | ≤ 1.5 × |",
        f"| `import crosstie` | {statistics.median(imports):.0f} ms | < 300 ms |",
        *([f"| the wheel | {wheel / 1e6:.1f} MB | < 15 MB |"] if wheel else []),
        "",
        f"Before training a process holds {before['file']:,.0f} MiB, Python with pandas and pyarrow, and with the frame "
        f"{before['frame']:,.0f} MiB: what pandas took to read it beside the frame is not given back. Training then takes "
        f"{took['file']:,.0f} MiB from the file, {took['frame']:,.0f} MiB from the frame.",
        "",
    ]
    PAGES.joinpath("python.md").write_text("\n".join(lines))
    PAGES.joinpath("python.json").write_text(json.dumps({"rows": options.rows, "runs": runs, "import_ms": imports, "wheel": wheel}, indent=1) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
