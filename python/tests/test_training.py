"""Trainings: what they tell, what ends them, and what they give."""

import io
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from conftest import SCHEMA, new_model

import crosstie as ct


def test_callbacks_see_every_event_in_order(parts):
    seen = []
    new_model(epochs=1).fit(*parts, callbacks=[seen.append])
    kinds = list(dict.fromkeys(event["event"] for event in seen))
    assert [kind for kind in kinds if kind in ("learned", "started", "step", "evaluated", "stopped", "calibrated")] == [
        "learned", "started", "step", "evaluated", "stopped", "calibrated",
    ]  # fmt: skip
    steps = [event for event in seen if event["event"] == "step"]
    assert sum(event["rows"] for event in steps) == len(parts[0]["day"])
    assert set(steps[0]["losses"]) == {"click", "buy"}
    evaluated = next(event for event in seen if event["event"] == "evaluated")
    assert evaluated["report"]["tasks"]["buy"]["given_parent"]["auc"] is not None


def test_false_ends_a_training_and_every_callback_hears_of_it(parts):
    seen = []
    model = new_model(epochs=50).fit(*parts, callbacks=[lambda event: event["event"] != "evaluated", seen.append])
    kinds = [event["event"] for event in seen]
    assert kinds.count("evaluated") == 1
    assert next(event for event in seen if event["event"] == "stopped")["reason"] == "asked"
    assert len(model.history) == 1


def test_what_a_callback_returns_else_ends_nothing(parts):
    seen = []
    new_model(epochs=1).fit(*parts, callbacks=[lambda event: 0, lambda event: None, seen.append])
    assert next(event for event in seen if event["event"] == "stopped")["reason"] == "epochs"


def test_an_exception_of_a_callback_comes_out_of_fit(parts):
    def fails(event):
        if event["event"] == "step":
            raise ZeroDivisionError("on purpose")

    model = new_model()
    with pytest.raises(ZeroDivisionError, match="on purpose"):
        model.fit(*parts, callbacks=[fails])
    with pytest.raises(ct.CrosstieError, match="not trained yet"):
        model.predict(parts[1])


def test_ctrl_c_ends_with_what_was_reached(parts, log):
    def interrupts(event):
        if event["event"] == "evaluated":
            os.kill(os.getpid(), signal.SIGINT)

    model = new_model(epochs=50)
    with pytest.warns(ct.CrosstieWarning, match="interrupted"):
        model.fit(*parts, callbacks=[interrupts])
    assert np.isfinite(model.predict(log)["joint_buy"]).all()
    assert 1 <= len(model.history) < 50


def test_warnings_of_a_training_are_warnings(parts):
    train = {**parts[0], "leak": parts[0]["click"]}
    valid = {**parts[1], "leak": parts[1]["click"]}
    with pytest.warns(ct.CrosstieWarning, match="leak"):
        ct.Model("shared-bottom", schema=SCHEMA + '[[field]]\nname = "leak"\nkind = "numeric"\n', epochs=1).fit(train, valid)


def test_progress_tells_lines(parts):
    told = io.StringIO()
    new_model(epochs=1).fit(*parts, callbacks=[ct.progress(told)])
    lines = told.getvalue().splitlines()
    assert lines[0] == f"{len(parts[0]['day']):,} training rows"
    assert lines[1].startswith("epoch 1, step ") and "mean.from_impression.ne 0." in lines[1]
    assert lines[-1].startswith("stopped: epochs")


def test_progress_shows_a_bar(parts):
    pytest.importorskip("tqdm")
    told = io.StringIO()
    new_model(epochs=2).fit(*parts, callbacks=[ct.progress(told, bar=True)])
    assert "epoch 1: 100%" in told.getvalue() and "epoch 2: 100%" in told.getvalue()


def test_the_same_seed_gives_the_same_model_at_any_number_of_threads(parts, log):
    one, two, other = (new_model(**settings).fit(*parts).predict(log)["joint_buy"] for settings in ({}, {"threads": 2}, {"seed": 2}))
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)


def scored_in_child(model, log, queue):
    queue.put(model.predict(log, threads=2)["joint_buy"])


def test_a_forked_process_scores_and_trains(model, parts, log):
    expected = model.predict(log, threads=2)["joint_buy"]
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=scored_in_child, args=(model, log, queue))
    child.start()
    found = queue.get(timeout=60)
    child.join(60)
    assert child.exitcode == 0
    np.testing.assert_array_equal(found, expected)


def files_of(directory):
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()}


def test_the_artifact_is_the_binarys_to_the_bit(parts, tmp_path):
    binary = os.environ.get("CROSSTIE_BINARY")
    if not binary:
        pytest.skip("CROSSTIE_BINARY does not name the binary, built from the same source with the same profile")
    for name, part in zip(("train", "valid"), parts):
        pyarrow.parquet.write_table(pa.table(part), tmp_path / f"{name}.parquet")
    (tmp_path / "schema.toml").write_text(SCHEMA)
    (tmp_path / "config.toml").write_text(
        f'[data]\ndir = "{tmp_path}"\n[model]\nname = "mmoe"\nexperts = 3\n[train]\nepochs = 2\ncheckpoint_every = "never"\n'
    )
    subprocess.run([binary, "train", tmp_path / "config.toml", "--out", tmp_path / "run"], check=True, capture_output=True)
    model = new_model(experts=3).fit(tmp_path / "train.parquet", tmp_path / "valid.parquet")
    model.save(tmp_path / "artifact")
    assert files_of(tmp_path / "artifact") == files_of(tmp_path / "run" / "artifact")
    # And the package reads what the binary has written, by its run.
    run = ct.load(tmp_path / "run")
    np.testing.assert_array_equal(run.predict(parts[1])["joint_buy"], model.predict(parts[1])["joint_buy"])


def test_importing_loads_no_other_package(tmp_path):
    code = "import sys, crosstie; print(sorted({'numpy', 'pandas', 'polars', 'pyarrow', 'sklearn', 'tqdm'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.strip() == "[]"
