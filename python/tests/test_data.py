"""What rows may come in, and what scores go out as."""

import datetime
import enum
import logging
import sys
import uuid

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest
from conftest import SCHEMA, new_model, some

import crosstie as ct

COLUMNS = ["p_click", "joint_click", "p_buy", "joint_buy"]


@pytest.fixture(scope="module")
def scores(model, log):
    return model.predict(log)


def assert_equal(found, scores):
    assert list(found) == COLUMNS
    for name in COLUMNS:
        np.testing.assert_array_equal(np.asarray(found[name]), scores[name])


def test_a_dict_of_arrays_is_answered_by_one(scores, log):
    assert list(scores) == COLUMNS
    for values in scores.values():
        assert values.shape == log["day"].shape and ((0 < values) & (values < 1)).all()
    np.testing.assert_allclose(scores["joint_buy"], scores["p_click"] * scores["p_buy"])


def test_a_frame_of_pandas_is_answered_by_one_with_its_index(model, log, scores):
    frame = pd.DataFrame(log, index=np.arange(len(log["day"])) * 3 + 1)
    found = model.predict(frame)
    assert isinstance(found, pd.DataFrame)
    assert found.index.equals(frame.index)
    assert_equal({name: found[name].to_numpy() for name in found}, scores)


def test_a_frame_of_polars_is_answered_by_one(model, log, scores):
    found = model.predict(pl.DataFrame(log))
    assert isinstance(found, pl.DataFrame) and found.columns == COLUMNS
    assert_equal({name: found[name].to_numpy() for name in found.columns}, scores)


def test_a_table_of_pyarrow_is_answered_by_one(model, log, scores):
    found = model.predict(pa.table(log))
    assert isinstance(found, pa.Table)
    assert_equal({name: found[name].to_numpy() for name in found.column_names}, scores)


def test_duckdb_and_files_are_answered_by_arrays(model, log, scores, tmp_path):
    table = pa.table(log)
    assert_equal(model.predict(duckdb.from_arrow(table)), scores)
    pyarrow.parquet.write_table(table.slice(0, 1000), tmp_path / "day-1.parquet")
    pyarrow.parquet.write_table(table.slice(1000), tmp_path / "day-2.parquet")
    assert_equal(model.predict(str(tmp_path / "day-*.parquet")), scores)
    assert_equal(model.predict([tmp_path / "day-1.parquet", tmp_path / "day-2.parquet"]), scores)
    pd.DataFrame(log).to_csv(tmp_path / "log.csv", index=False)
    assert_equal(model.predict(tmp_path / "log.csv"), scores)


def test_pandas_is_read_without_pyarrow(model, log, scores, monkeypatch):
    frame = pd.DataFrame({name: list(values) if values.dtype == object else values for name, values in log.items()})
    frame = frame.astype({"device": "category", "item": "Int32", "price": "Float64"})
    frame["user"] = frame["user"].astype(object)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    found = model.predict(frame)
    assert_equal({name: found[name].to_numpy() for name in found}, scores)


@pytest.mark.parametrize("kind", ["category", "string", "object"])
def test_texts_of_pandas_are_read_however_they_are_held(model, log, scores, kind):
    frame = pd.DataFrame(log).astype({"user": kind, "device": kind})
    found = model.predict(frame)
    assert_equal({name: found[name].to_numpy() for name in found}, scores)


def test_the_order_of_columns_does_not_matter(model, log, scores):
    turned = {name: log[name] for name in reversed(log)}
    assert_equal(model.predict(turned), scores)
    found = model.predict(pl.DataFrame(turned))
    assert_equal({name: found[name].to_numpy() for name in found.columns}, scores)


def test_training_takes_the_same_rows_in_any_order_of_columns_to_the_same_model(model, parts, scores, log):
    turned = [{name: part[name] for name in reversed(part)} for part in parts]
    assert_equal(new_model().fit(*turned).predict(log), scores)


def test_training_on_a_frame_or_on_arrays_gives_the_same_model(parts, scores, log):
    for frame in (pd.DataFrame, pl.DataFrame, pa.table):
        assert_equal(new_model().fit(*map(frame, parts)).predict(log), scores)


@pytest.mark.parametrize("frame", [dict, pd.DataFrame, pl.DataFrame])
def test_a_missing_column_is_named(model, log, frame):
    rows = frame({name: values for name, values in log.items() if name != "price"} | {"prise": log["price"]})
    with pytest.raises(ct.CrosstieError, match="`price`") as caught:
        model.predict(rows)
    assert "the rows to score" in str(caught.value)


def test_a_missing_label_is_named_where_it_is_needed_and_only_there(model, log):
    rows = {name: values for name, values in log.items() if name != "buy"}
    model.predict(rows)
    with pytest.raises(ct.CrosstieError, match="`buy`"):
        model.evaluate(rows)
    with pytest.raises(ct.CrosstieError, match="`buy`"):
        new_model().fit(rows, rows)


def test_other_columns_are_told_of(model, log, scores, caplog):
    with caplog.at_level(logging.INFO, "crosstie"):
        assert_equal(model.predict({**log, "note": log["day"]}), scores)
    assert "does not read: day, click, buy, note" in caplog.text


def test_unknown_values_are_counted_and_scored(model, log, caplog):
    rows = some(log, slice(0, 100))
    rows["device"] = np.array(["phone"] * 97 + ["watch"] * 3)
    with caplog.at_level(logging.INFO, "crosstie"):
        scores = model.predict(rows)
    assert "device 3" in caplog.text
    assert np.isfinite(scores["p_click"]).all()


def test_where_most_values_are_unknown_there_is_a_warning(model, log):
    rows = some(log, slice(0, 100))
    rows["device"] = np.array(["DESK"] * 100)
    with pytest.warns(ct.CrosstieWarning, match="field `device`: 100 of 100 values"):
        model.predict(rows)


def test_what_is_missing_is_missing_however_it_is_said(model, log):
    rows = some(log, slice(0, 50))
    nothing = np.full(50, np.nan)
    first = model.predict({**rows, "price": nothing, "device": np.array([None] * 50, dtype=object)})
    second = model.predict({**rows, "price": np.array([None] * 50, dtype=object), "device": np.array([""] * 50)})
    frame = pd.DataFrame(rows).assign(price=pd.array([pd.NA] * 50, "Float64"), device=pd.array([pd.NA] * 50, "string"))
    third = model.predict(frame)
    for name in COLUMNS:
        np.testing.assert_array_equal(first[name], second[name])
        np.testing.assert_array_equal(first[name], third[name])


def test_numbers_and_views_of_every_kind_are_read(model, log):
    rows = some(log, slice(0, 50))
    rows["price"] = np.round(np.nan_to_num(rows["price"]))
    expected = model.predict(rows)
    for price in (
        rows["price"].astype(np.int16),
        rows["price"].astype(">f4"),
        rows["price"].astype(np.float16),
        np.repeat(rows["price"], 2)[::2],
        [int(value) for value in rows["price"]],
    ):
        np.testing.assert_array_equal(model.predict({**rows, "price": price})["p_buy"], expected["p_buy"])


def test_large_ids_beside_a_missing_one_are_not_met_as_floats(parts, monkeypatch):
    large = 2**60 + np.arange(40)
    frames = [pd.DataFrame(part).assign(item=pd.array(large[part["item"]], "Int64")) for part in parts]
    frames[0].loc[3, "item"] = pd.NA
    with_pyarrow = ct.Model("shared-bottom", schema=SCHEMA, epochs=1).fit(*frames).predict(frames[1])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    without = ct.Model("shared-bottom", schema=SCHEMA, epochs=1).fit(*frames).predict(frames[1])
    pd.testing.assert_frame_equal(without, with_pyarrow)


def test_what_is_masked_is_missing(model, log):
    rows = some(log, slice(0, 50))
    mask = np.arange(50) % 3 == 0
    masked = {name: np.ma.masked_array(rows[name], mask) for name in ("user", "item", "price")}
    objects = {name: np.array([None if hidden else value for value, hidden in zip(rows[name].tolist(), mask)], dtype=object) for name in masked}
    found, expected = model.predict({**rows, **masked}), model.predict({**rows, **objects})
    for name in COLUMNS:
        np.testing.assert_array_equal(found[name], expected[name])


def test_days_and_ids_of_objects_are_read_without_pyarrow(parts, monkeypatch):
    schema = SCHEMA + '[[field]]\nname = "at"\nkind = "numeric"\n[[field]]\nname = "id"\nkind = "categorical"\n'
    frames = []
    for part in parts:
        rows = range(len(part["item"]))
        frames.append(pd.DataFrame(part).assign(
            at=[datetime.date(2024, 3, 1) + datetime.timedelta(days=int(item)) for item in part["item"]],
            id=[uuid.UUID(int=row % 9) for row in rows],
        ))
    scores = []
    for pyarrow in (pa, None):
        monkeypatch.setitem(sys.modules, "pyarrow", pyarrow)
        scores.append(ct.Model("shared-bottom", schema=schema, epochs=1).fit(*frames).predict(frames[1]))
    pd.testing.assert_frame_equal(scores[0], scores[1])


def test_text_of_an_enumeration_is_text(model, log, scores):
    class Device(str, enum.Enum):
        PHONE = "phone"
        DESK = "desk"

    devices = np.array([Device(str(value)) for value in log["device"]], dtype=object)
    assert_equal(model.predict({**log, "device": devices}), scores)


def test_a_stream_that_can_be_read_once_is_trained_on(parts):
    described = {"tasks": ["click", ct.task("buy", after="click")], "epochs": 1}
    tables = [pa.table(part) for part in parts]
    once = ct.Model("shared-bottom", **described).fit(tables[0].to_reader(), tables[1]).predict(tables[1])
    assert once.equals(ct.Model("shared-bottom", **described).fit(*tables).predict(tables[1]))


def test_moments_of_arrays_are_those_of_pandas(parts):
    schema = SCHEMA + '[[field]]\nname = "at"\nkind = "numeric"\n'
    at = [np.datetime64("2024-03-01") + part["item"].astype("timedelta64[D]") for part in parts]
    at[0][5] = np.datetime64("NaT")
    arrays = [{**part, "at": one} for part, one in zip(parts, at)]
    scores = []
    for rows in (arrays, [pd.DataFrame(one) for one in arrays], [pl.DataFrame(pd.DataFrame(one)) for one in arrays]):
        model = ct.Model("shared-bottom", schema=schema, epochs=1).fit(*rows)
        scores.append(np.asarray(model.predict(rows[1])["p_buy"]))
    np.testing.assert_array_equal(scores[0], scores[1])
    np.testing.assert_array_equal(scores[0], scores[2])


def test_a_cell_of_another_kind_is_told_with_its_place(model, log):
    rows = some(log, slice(0, 10))
    mixed = np.array(["7"] * 9 + [b"x" if False else 3.5], dtype=object)
    with pytest.raises(ct.CrosstieError, match="column `price` of the rows to score: row 10 holds 3.5"):
        model.predict({**rows, "price": mixed})
    with pytest.raises(ct.CrosstieError, match="`price`.*\"cheap\""):
        model.predict({**rows, "price": np.array(["1"] * 9 + ["cheap"])})
    with pytest.raises(ct.CrosstieError, match="column `price` .*complex128"):
        model.predict({**rows, "price": np.ones(10, complex)})
    with pytest.raises(ct.CrosstieError, match="`click`"):
        model.evaluate({**rows, "click": np.full(10, 2)})


def test_what_is_no_table_is_told(model, log):
    rows = some(log, slice(0, 10))
    with pytest.raises(ct.CrosstieError, match="column `price` of the rows to score has 9 rows, `user` has 10"):
        model.predict({**rows, "price": rows["price"][:9]})
    with pytest.raises(ct.CrosstieError, match="column `price` .* has 2 dimensions"):
        model.predict({**rows, "price": np.ones((10, 2))})
    with pytest.raises(TypeError, match="an array has no names for its columns"):
        model.predict(np.ones((10, 4)))
    with pytest.raises(TypeError, match="collect\\(\\) it"):
        model.predict(pl.DataFrame(rows).lazy())
    with pytest.raises(TypeError, match="found a int, expected a frame"):
        model.predict(7)
    with pytest.raises(ct.CrosstieError, match="none of the columns"):
        model.predict({})
    with pytest.raises(ct.CrosstieError, match="no-such.parquet"):
        model.predict("no-such.parquet")


def test_without_numpy_scores_of_files_say_what_to_install(model, log, tmp_path, monkeypatch):
    pd.DataFrame(log).to_csv(tmp_path / "log.csv", index=False)
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(ct.CrosstieError, match="pip install numpy"):
        model.predict(tmp_path / "log.csv")


def test_no_rows_give_no_scores(model, log):
    rows = some(log, slice(0, 0))
    assert len(model.predict(rows)["p_buy"]) == 0
    assert len(model.predict(pl.DataFrame(rows))) == 0


def test_arrays_are_not_copied(log):
    from crosstie._data import _buffers

    for name in ("item", "price", "click", "buy"):
        assert _buffers(name, log[name], "log")[2][1] == log[name].ctypes.data, name
