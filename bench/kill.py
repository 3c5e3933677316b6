"""Kills trainings at random moments, goes on from their checkpoints, and compares
what they leave with a training that was never interrupted.

    python3 bench/kill.py target/release/crosstie [--kills 50] [--rows 60000] [--seed 1]

Every training writes a checkpoint each second and is killed (SIGKILL) within a few
seconds, again and again, until it comes to its end by itself. Its artifact must have
the uninterrupted one's files to the byte and its metrics the same lines, times aside.
Prints one line of JSON; exits with 1 if anything differs. The standard library only.
"""

import argparse
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import time

MODELS = ["mmoe", "ektm", "ncs4cvr", "aem2tl"]


def lines(path):
    """The lines of a history without what a clock has said."""
    if not path.exists():
        return []
    found = [json.loads(line) for line in path.read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in ("seconds", "time", "rows_per_second")} for line in found]


def left(run):
    """What a finished training leaves, to be compared."""
    files = json.loads((run / "artifact" / "manifest.json").read_text())["files"]
    return {
        "files": {name: entry["blake3"] for name, entry in files.items()},
        "metrics": lines(run / "metrics.jsonl"),
        "masks": lines(run / "masks.jsonl"),
        "figures": json.loads((run / "metrics.json").read_text()),
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--rows", type=int, default=60000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    binary, draw = str(pathlib.Path(options.binary).resolve()), random.Random(options.seed)
    place = pathlib.Path(tempfile.mkdtemp(prefix="crosstie-kill-"))
    subprocess.run([binary, "-q", "synth", "--rows", str(options.rows), "--out", "log"], cwd=place, check=True)

    kills, resumed, trainings, differing, unloadable = 0, 0, 0, [], []
    before_any_checkpoint = 0
    started = time.time()
    while kills < options.kills:
        model = MODELS[trainings % len(MODELS)]
        config = place / f"{model}.toml"
        search = "rounds = 1\nround_epochs = 1\n" if model == "ncs4cvr" else ""
        config.write_text(
            f'[data]\ndir = "log"\n[model]\nname = "{model}"\n{search}'
            f'[train]\nbatch_size = 256\nepochs = 4\npatience = 9\neval_every = 50\ncheckpoint_every = "1 second"\n'
        )
        whole = place / f"{model}-whole"
        train = [binary, "-q", "train"]
        if not whole.exists():
            command = train + [str(config), "--out", str(whole), "--set", "train.checkpoint_every=never"]
            subprocess.run(command, cwd=place, check=True, stdout=subprocess.DEVNULL)
        run = place / f"{model}-{trainings}"
        first = train + [str(config), "--out", str(run)]
        again = train + ["--resume", str(run)]
        done = False
        while not done:
            begun = (run / "config.toml").exists()
            before_any_checkpoint += begun and not any((run / "checkpoint").glob("[0-9]*"))
            command = again if begun else first + (["--overwrite"] if run.exists() else [])
            process = subprocess.Popen(command, cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            try:
                _, said = process.communicate(timeout=draw.uniform(0.05, 5.0))
                done = True
                if process.returncode != 0:
                    unloadable.append({"run": run.name, "exit": process.returncode, "said": said.decode()[-500:]})
                    break
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                kills += 1
            resumed += command is again
        if done and not unloadable and left(run) != left(whole):
            differing.append(run.name)
        trainings += 1
        if unloadable:
            break
    result = {
        "kills": kills,
        "trainings": trainings,
        "resumed": resumed,
        "killed_before_any_checkpoint": before_any_checkpoint,
        "models": MODELS,
        "rows": options.rows,
        "seed": options.seed,
        "differing": differing,
        "refused": unloadable,
        "seconds": round(time.time() - started),
    }
    print(json.dumps(result))
    return 1 if differing or unloadable else 0


if __name__ == "__main__":
    sys.exit(main())
