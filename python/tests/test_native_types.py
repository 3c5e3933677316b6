"""Columns of whatever type: read as what they hold, or refused by name and type."""

import datetime
import decimal

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from test_native_bits import CONFIG, SCHEMA, make_log

from crosstie import _native

LOG = make_log(400, 2)


@pytest.fixture(scope="module")
def model():
    data = _native.Data.table("train", make_log(1500, 1)), _native.Data.table("valid", LOG)
    return _native.train(CONFIG, SCHEMA, ["train.epochs=1"], *data, None).model


def predict(model, table):
    return pa.table(model.predict(_native.Data.table("rows", table), 1))


def put(name, column):
    return LOG.set_column(LOG.schema.get_field_index(name), name, column)


def texts(name):
    return LOG[name].combine_chunks()


SAME = {
    "dictionary": ("user", lambda: texts("user").dictionary_encode()),
    "dictionary of int8 keys": ("user", lambda: texts("user").dictionary_encode().cast(pa.dictionary(pa.int8(), pa.string()))),
    "dictionary in chunks": (
        "user",
        lambda: pa.chunked_array([texts("user")[:100].dictionary_encode(), texts("user")[100:].dictionary_encode()]),
    ),
    "large_utf8": ("user", lambda: texts("user").cast(pa.large_string())),
    "string_view": ("user", lambda: texts("user").cast(pa.string_view())),
    "binary": ("user", lambda: texts("user").cast(pa.binary())),
    "run-end encoded": ("tab", lambda: pc.run_end_encode(texts("tab"))),
    "uint8": ("item", lambda: LOG["item"].cast(pa.uint8())),
    "float64": ("item", lambda: LOG["item"].cast(pa.float64())),
    "float16": ("item", lambda: pa.array(LOG["item"].to_numpy().astype(np.float16))),
    "text of integers": ("item", lambda: LOG["item"].cast(pa.string())),
    "decimal128": ("item", lambda: LOG["item"].cast(pa.decimal128(22, 2))),
    "decimal256": ("item", lambda: LOG["item"].cast(pa.decimal256(30, 2))),
    "decimal of a number": ("price", lambda: LOG["price"].cast(pa.decimal128(12, 1))),
    "float32": ("price", lambda: LOG["price"].cast(pa.float32())),
    "text of a number": ("price", lambda: LOG["price"].cast(pa.string())),
    "large list of views": ("tags", lambda: LOG["tags"].cast(pa.large_list(pa.string_view()))),
    "text for a list": ("tags", lambda: pc.binary_join(LOG["tags"], ",")),
    "list of a dictionary": (
        "tags",
        lambda: pa.ListArray.from_arrays(
            LOG["tags"].combine_chunks().offsets, LOG["tags"].combine_chunks().flatten().dictionary_encode()
        ),
    ),
}


@pytest.mark.parametrize("kind", SAME)
def test_a_column_of_another_type_with_the_same_cells_scores_the_same(model, kind):
    name, column = SAME[kind]
    assert predict(model, put(name, column())).equals(predict(model, LOG))


def test_a_column_of_nulls_is_missing_in_all_rows(model):
    nothing = pa.nulls(len(LOG))
    for name in ["user", "price", "tags"]:
        empty = pa.nulls(len(LOG), LOG.schema.field(name).type)
        found = predict(model, put(name, nothing))
        assert found.equals(predict(model, put(name, empty)))
        assert not found.equals(predict(model, LOG))


LABELS = {
    "booleans": lambda: LOG["click"].cast(pa.bool_()),
    "floats": lambda: LOG["click"].cast(pa.float32()),
    "texts": lambda: LOG["click"].cast(pa.bool_()).cast(pa.string()),
    "decimals": lambda: LOG["click"].cast(pa.decimal128(5, 0)),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_are_judged_alike_whatever_their_type(model, kind):
    def judge(table):
        return model.evaluate(_native.Data.table("rows", table), 1)

    assert judge(put("click", LABELS[kind]())) == judge(LOG)


MOMENTS = {
    "nanoseconds": lambda: LOG["moment"].cast(pa.timestamp("ns")),
    "a zone": lambda: pc.assume_timezone(LOG["moment"], "UTC"),
    "another zone": lambda: pc.assume_timezone(LOG["moment"], "UTC").cast(pa.timestamp("us", "Europe/Oslo")),
    "seconds": lambda: LOG["moment"].cast(pa.timestamp("s"), safe=False),
}


@pytest.mark.parametrize("kind", MOMENTS)
def test_times_train_alike_whatever_their_unit_and_zone(kind, tmp_path):
    def train(table):
        data = _native.Data.table("train", table), _native.Data.table("valid", LOG)
        model = _native.train(CONFIG, SCHEMA, ["train.epochs=1"], *data, None).model
        return pa.table(model.predict(data[1], 1))

    assert train(put("moment", MOMENTS[kind]())).equals(train(LOG))


REFUSED = {
    "struct": ("user", pa.array([{"a": 1}] * len(LOG))),
    "map": ("user", pa.array([[("a", 1)]] * len(LOG), pa.map_(pa.string(), pa.int64()))),
    "list for one value": ("user", pa.array([["a"]] * len(LOG))),
    "list of lists": ("tags", pa.array([[["a"]]] * len(LOG))),
    "list for a number": ("price", pa.array([[1.0]] * len(LOG))),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_column_that_cannot_be_read_is_refused_by_name_and_type(model, kind):
    name, column = REFUSED[kind]
    with pytest.raises(_native.CrosstieError, match=f"rows: column `{name}` is of type .*expected"):
        predict(model, put(name, column))


def test_a_text_where_a_number_was_is_told_with_its_row(model):
    prices = ["cheap" if row == 5 else "1" for row in range(len(LOG))]
    with pytest.raises(_native.CrosstieError, match='rows: row 6, column `price`: found "cheap", expected'):
        predict(model, put("price", pa.array(prices)))


def test_a_missing_column_is_named_with_the_nearest(model):
    with pytest.raises(_native.CrosstieError, match="rows: there is no column `user`; did you mean `usr`"):
        predict(model, LOG.rename_columns(["usr" if name == "user" else name for name in LOG.column_names]))


def test_the_order_of_columns_and_others_beside_them_play_no_part(model):
    names = LOG.column_names[::-1]
    other = LOG.select(names).append_column("other", pa.nulls(len(LOG)))
    assert predict(model, other).equals(predict(model, LOG))


def test_unknown_values_are_counted_by_field(model):
    users = pa.array(["nobody" if row < 300 else "u1" for row in range(len(LOG))])
    scored = model.predict(_native.Data.table("rows", put("user", users)), 1)
    assert scored.unknown == {"user": 300}
    assert any("`user`: 300 of 400 values" in warning for warning in scored.warnings)


def test_frames_of_all_kinds_score_the_same(model):
    expected = predict(model, LOG)
    frame = LOG.to_pandas()
    frames = {
        "pandas": frame,
        "pandas with objects": frame.astype({"user": object, "tab": object}),
        "pandas with categories": frame.astype({"user": "category"}),
        "pandas with nullable numbers": frame.astype({"item": "Int64", "price": "Float64"}),
        "pandas of pyarrow": LOG.to_pandas(types_mapper=pd.ArrowDtype),
        "polars": pl.from_arrow(LOG),
        "polars with categories": pl.from_arrow(LOG).with_columns(pl.col("user").cast(pl.Categorical)),
        "polars with an enum": pl.from_arrow(LOG).with_columns(pl.col("tab").cast(pl.Enum(["search", "home"]))),
        "polars in pieces": pl.concat([pl.from_arrow(LOG)[:3], pl.from_arrow(LOG)[3:]], rechunk=False),
        "a reader": pa.RecordBatchReader.from_batches(LOG.schema, LOG.to_batches(max_chunksize=17)),
    }
    log = LOG
    frames["duckdb"] = duckdb.sql("select * from log")
    assert log is LOG
    for kind, rows in frames.items():
        assert predict(model, rows).equals(expected), kind


def test_scores_are_read_by_every_library(model):
    scores = model.predict(_native.Data.table("rows", LOG), 1)
    table, frame = pa.table(scores), pl.DataFrame(scores)
    assert table.column_names == ["p_click", "joint_click", "p_buy", "joint_buy"]
    assert frame.to_arrow().cast(table.schema).equals(table) and len(scores) == len(LOG)
    np.testing.assert_allclose(table["joint_buy"], pc.multiply(table["p_click"], table["p_buy"]))


def test_what_is_no_table_is_refused():
    for wrong, said in [([1, 2], "found list, expected a data frame"), (datetime.date.today(), "found datetime.date")]:
        with pytest.raises(TypeError, match=said):
            _native.Data.table("rows", wrong)
    with pytest.raises(TypeError, match="gives no capsule"):
        _native.Data.table("rows", type("Odd", (), {"__arrow_c_stream__": lambda self: 1})())
    with pytest.raises(_native.CrosstieError, match="struct|record|schema"):
        _native.Data.table("rows", pa.chunked_array([[1, 2]]))


def test_a_stream_is_taken_once():
    capsule = LOG.__arrow_c_stream__()
    assert _native.Data.table("rows", capsule).rows == len(LOG)
    with pytest.raises(_native.CrosstieError, match="rows: this stream has been read before"):
        _native.Data.table("rows", capsule)


def test_what_a_reader_raises_is_told():
    def batches():
        yield LOG.to_batches()[0]
        raise RuntimeError("the tape is torn")

    with pytest.raises(_native.CrosstieError, match="rows: .*the tape is torn"):
        _native.Data.table("rows", pa.RecordBatchReader.from_batches(LOG.schema, batches()))


def test_bytes_that_are_no_text_are_refused_at_the_door():
    offsets = pa.array([0, 2], pa.int32()).buffers()[1]
    damaged = pa.Array.from_buffers(pa.string(), 1, [None, offsets, pa.py_buffer(b"\xff\xfe")])
    with pytest.raises(_native.CrosstieError, match="rows: column `user` is damaged"):
        _native.Data.table("rows", pa.table({"user": damaged}))


def test_a_table_without_rows_is_scored_and_not_trained_on(model):
    assert len(model.predict(_native.Data.table("rows", LOG.slice(0, 0)), 1)) == 0
    empty = _native.Data.table("train", LOG.slice(0, 0))
    with pytest.raises(_native.CrosstieError, match="train: there is not a single row"):
        _native.train(CONFIG, SCHEMA, [], empty, _native.Data.table("valid", LOG), None)


def test_a_price_in_decimals_is_that_of_floats(model):
    prices = [None if value is None else decimal.Decimal(str(value)) for value in LOG["price"].to_pylist()]
    assert predict(model, put("price", pa.array(prices))).equals(predict(model, LOG))
