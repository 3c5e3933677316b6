"""The package and the binary train to the same bits, whatever the rows came in."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest

from crosstie import _native

SCHEMA = """
scenario = "tab"
group = "user"
[[task]]
name = "click"
[[task]]
name = "buy"
after = "click"
[[field]]
name = "user"
kind = "categorical"
side = "user"
[[field]]
name = "tags"
kind = "multi"
side = "item"
[[field]]
name = "price"
kind = "numeric"
side = "item"
[[field]]
name = "past"
kind = "rate"
key = ["item"]
time = "moment"
"""
CONFIG = """
[model]
name = "mmoe"
experts = 2
[train]
epochs = 2
seed = 3
threads = 1
"""


def make_log(rows, seed):
    draw = np.random.default_rng(seed)
    user, item = draw.integers(0, 60, rows), draw.integers(0, 30, rows)
    click = draw.random(rows) < 0.15 + 0.5 * ((user % 5) == (item % 5))
    return pa.table(
        {
            "moment": pa.array(np.sort(draw.integers(0, 10**6, rows)) * 10**6, pa.timestamp("us")),
            "user": [f"u{number}" for number in user],
            "item": item,
            "tags": pa.array([[f"t{number % 4}", f"t{number % 7}"] for number in item], pa.list_(pa.string())),
            "tab": ["home" if number % 3 else "search" for number in user],
            "price": [None if number % 11 == 0 else 1.5 * number for number in item],
            "click": click.astype(np.int8),
            "buy": (click & (draw.random(rows) < 0.4)).astype(np.int8),
        }
    )


def find_binary():
    named = os.environ.get("CROSSTIE_BINARY")
    root = Path(__file__).resolve().parents[2]
    target = Path(os.environ.get("CARGO_TARGET_DIR", root / "target"))
    places = [Path(named)] if named else [target / profile / "crosstie" for profile in ("release", "debug")]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        pytest.skip("there is no binary crosstie to compare with: build it, or name it in CROSSTIE_BINARY")
    return found


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    directory = tmp_path_factory.mktemp("log")
    (directory / "schema.toml").write_text(SCHEMA)
    (directory / "config.toml").write_text(f'[data]\ndir = "{directory}"\n{CONFIG}')
    for name, rows, seed in [("train", 3000, 1), ("valid", 800, 2)]:
        pyarrow.parquet.write_table(make_log(rows, seed), directory / f"{name}.parquet")
    return directory


@pytest.fixture(scope="module")
def run(files):
    binary = find_binary()
    command = [binary, "train", files / "config.toml", "--out", files / "run"]
    subprocess.run(command, check=True, capture_output=True)
    return files / "run"


def bits(artifact):
    return {str(path.relative_to(artifact)): path.read_bytes() for path in artifact.rglob("*") if path.is_file()}


def trained(train, valid):
    return _native.train(CONFIG, SCHEMA, [], train, valid, None)


def table(path, read):
    return _native.Data.table(path.name, read(path))


CARRIERS = {
    "pyarrow": pyarrow.parquet.read_table,
    "pyarrow in pieces": lambda path: pa.concat_tables(
        [pyarrow.parquet.read_table(path).slice(0, 7), pyarrow.parquet.read_table(path).slice(7)]
    ),
    "polars": pl.read_parquet,
    "pandas": pd.read_parquet,
    "pandas with categories": lambda path: pd.read_parquet(path).astype({"user": "category", "tab": "category"}),
}


@pytest.mark.parametrize("carrier", ["files", *CARRIERS])
def test_an_artifact_of_the_package_has_the_bits_of_the_binarys(files, run, carrier, tmp_path):
    paths = [files / "train.parquet", files / "valid.parquet"]
    if carrier == "files":
        data = [_native.Data.files([str(path)]) for path in paths]
    else:
        data = [table(path, CARRIERS[carrier]) for path in paths]
    training = trained(*data)
    training.model.save(str(tmp_path / "artifact"), False)
    expected, found = bits(run / "artifact"), bits(tmp_path / "artifact")
    assert found.keys() == expected.keys() and len(found) > 8
    assert [name for name in expected if found[name] != expected[name]] == []
    # Times aside, so is the history.
    histories = training.history, (run / "metrics.jsonl").read_text()
    lines = [[json.loads(line) for line in history.splitlines()] for history in histories]
    for line in lines[0] + lines[1]:
        for key in ("seconds", "time", "rows_per_second"):
            del line[key]
    assert lines[0] == lines[1] and len(lines[0]) > 1


def test_a_table_has_the_blocks_of_the_file_that_crosstie_would_write(files, tmp_path):
    log = make_log(140_000, 4)
    path = tmp_path / "long.parquet"
    pyarrow.parquet.write_table(log, path, row_group_size=131_072)
    valid = table(files / "valid.parquet", pl.read_parquet)
    sources = {
        "file": _native.Data.files([str(path)]),
        "table": _native.Data.table("long.parquet", pa.Table.from_batches(log.to_batches(max_chunksize=50_001))),
    }
    for name, source in sources.items():
        training = _native.train(CONFIG, SCHEMA, ["train.epochs=1", "train.threads=2"], source, valid, None)
        training.model.save(str(tmp_path / name), False)
    assert bits(tmp_path / "table") == bits(tmp_path / "file")


def test_what_was_loaded_is_saved_with_the_same_bits(run, tmp_path):
    _native.Model.load(str(run)).save(str(tmp_path / "again"), False)
    assert bits(tmp_path / "again") == bits(run / "artifact")


def test_predictions_and_figures_are_the_binarys(files, run, tmp_path):
    binary, valid = find_binary(), files / "valid.parquet"
    out = tmp_path / "scores.parquet"
    subprocess.run([binary, "predict", run, "--data", valid, "--out", out], check=True, capture_output=True)
    model = _native.Model.load(str(run))
    scores = pa.table(model.predict(table(valid, pl.read_parquet), 1))
    assert scores.equals(pyarrow.parquet.read_table(out))
    judged = tmp_path / "judged.json"
    subprocess.run([binary, "evaluate", run, "--data", valid, "--json", judged], check=True, capture_output=True)
    found = json.loads(model.evaluate(_native.Data.files([str(valid)]), 2))
    assert found.pop("warnings") == []
    assert found == json.loads(judged.read_text())
