"""From whatever holds rows to something that the library reads, and back with scores."""

from __future__ import annotations

import datetime
import os
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from . import _native
from ._native import CrosstieError, Data, Stream

#: How errors call what was handed over in memory.
NAME = "the frame"

EXPECTED = (
    "a frame of pandas, polars, pyarrow or DuckDB, anything else with __arrow_c_stream__, "
    "a dict of NumPy arrays, or names of files"
)


def to_data(given: Any, columns: Iterable[str] | None = None, name: str = NAME) -> Data:
    """Something to read rows from. Nothing is copied but texts of NumPy and pandas.

    With `columns`, no other ones need to be converted.
    """
    if isinstance(given, Data):
        return given
    if isinstance(given, (str, os.PathLike)):
        return Data.files([os.fspath(given)])
    if isinstance(given, Mapping):
        return _of_arrays({str(key): value for key, value in given.items()}, columns, name)
    if _package(given) == "pandas":
        return _of_pandas(given, columns, name)
    if hasattr(given, "__arrow_c_stream__"):
        return Data.table(name, given)
    if isinstance(given, Sequence) and given and all(isinstance(one, (str, os.PathLike)) for one in given):
        return Data.files([os.fspath(one) for one in given])
    if hasattr(given, "collect"):
        raise TypeError(f"found a {type(given).__name__}, which holds no rows yet: collect() it")
    if hasattr(given, "ndim"):
        raise TypeError(f"an array has no names for its columns; give a dict of them, or another of: {EXPECTED}")
    raise TypeError(f"found a {type(given).__name__}, expected {EXPECTED}")


def to_frame(scores: Stream, like: Any) -> Any:
    """Scores as the kind of frame that the rows came in: of pandas (with its index), polars
    or pyarrow; else a dict of NumPy arrays. What is not known is NaN, of polars and pyarrow
    null."""
    package = _package(like)
    if package == "polars":
        import polars

        return polars.DataFrame(scores)
    if package == "pyarrow":
        import pyarrow

        return pyarrow.table(scores)
    try:
        import numpy
    except ImportError as error:
        raise CrosstieError(
            "scores of files come back as arrays of NumPy, which is not installed: pip install numpy, or hand over "
            "a frame of polars or pyarrow"
        ) from error

    arrays = {name: numpy.frombuffer(values) for name, values in scores.arrays()}
    if package == "pandas":
        import pandas

        return pandas.DataFrame(arrays, index=like.index)
    return arrays


def names_of(given: Any) -> list[str] | None:
    """The names of a frame's columns; None of files, whose columns are the library's to know."""
    if isinstance(given, Mapping):
        return [str(name) for name in given]
    columns = getattr(given, "column_names", None) or getattr(given, "columns", None)
    try:
        return [name for name in columns if isinstance(name, str)] if columns is not None else None
    except TypeError:
        return None


def _package(given: Any) -> str:
    """The package whose frame this is. It is loaded, if something of it is here."""
    package = type(given).__module__.partition(".")[0]
    return package if hasattr(given, "__arrow_c_stream__") or hasattr(given, "to_numpy") else ""


def _of_pandas(frame: Any, columns: Iterable[str] | None, name: str) -> Data:
    wanted = set(frame.columns if columns is None else columns)
    # By place, since two columns may have one name, which the library refuses.
    places = [place for place, column in enumerate(frame.columns) if column in wanted]
    frame = frame if len(places) == len(frame.columns) else frame.iloc[:, places]
    try:
        import pyarrow
    except ImportError:
        return _columns(name, len(frame), [(column, _series(frame.iloc[:, place])) for place, column in enumerate(frame)])
    try:
        return Data.table(name, pyarrow.Table.from_pandas(frame, preserve_index=False))
    except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError) as error:
        # It names the column, and what it could not read in it.
        raise CrosstieError(f"{name}: {'; '.join(map(str, error.args))}") from error


def _series(series: Any) -> Any:
    """The values of a pandas column as an array."""
    kind = getattr(series.dtype, "kind", "O")
    if kind in "iufb" and not hasattr(series.dtype, "numpy_dtype"):
        return series.to_numpy()
    if kind in "iufb":
        # Nullable numbers: in their own type, since as floats ids above 2^53 would meet.
        import numpy

        values = series.to_numpy(series.dtype.numpy_dtype, na_value=0)
        return numpy.ma.MaskedArray(values, series.isna().to_numpy()) if series.hasnans else values
    if kind == "M":
        return series.dt.tz_convert(None).to_numpy() if getattr(series.dtype, "tz", None) else series.to_numpy()
    return series.to_numpy(dtype=object, na_value=None)


def _of_arrays(arrays: Mapping[str, Any], columns: Iterable[str] | None, name: str) -> Data:
    import numpy

    wanted = set(arrays if columns is None else columns)
    # As they are, so that a mask stays; only lists become arrays.
    chosen = [(column, numpy.asanyarray(array)) for column, array in arrays.items() if column in wanted]
    if not chosen:
        raise CrosstieError(f"{name} has none of the columns that are needed: {', '.join(sorted(wanted)) or 'it is empty'}")
    for column, array in chosen:
        if array.ndim != 1:
            raise CrosstieError(f"column `{column}` of {name} has {array.ndim} dimensions, expected one value per row")
    first, rows = chosen[0][0], len(chosen[0][1])
    for column, array in chosen:
        if len(array) != rows:
            raise CrosstieError(f"column `{column}` of {name} has {len(array)} rows, `{first}` has {rows}")
    return _columns(name, rows, chosen)


def _columns(name: str, rows: int, arrays: Iterable[tuple[str, Any]]) -> Data:
    return Data.arrays(name, rows, [_buffers(column, array, name) for column, array in arrays])


#: Arrow's letters for NumPy's numbers.
_NUMBERS = {"i1": "c", "u1": "C", "i2": "s", "u2": "S", "i4": "i", "u4": "I", "i8": "l", "u8": "L", "f4": "f", "f8": "g"}
#: And for its moments.
_MOMENTS = {"s": "tss:", "ms": "tsm:", "us": "tsu:", "ns": "tsn:"}


def _buffers(column: str, array: Any, name: str) -> tuple[str, str, list[int], object]:
    """A column as Arrow holds one: its type, the addresses of its buffers (what is there,
    then the values), and what must live as long as they."""
    import numpy

    kind, there, address = array.dtype.kind, None, 0
    if isinstance(array, numpy.ma.MaskedArray):
        if kind in "biuf":
            there, address = _there(~numpy.ma.getmaskarray(array))
            array = array.data
        else:
            mask, array = numpy.ma.getmaskarray(array), array.data.astype(array.dtype if kind == "M" else object)
            array[mask] = numpy.datetime64("NaT") if kind == "M" else None
            kind = array.dtype.kind
    if kind == "b":
        array = array.view(numpy.uint8)
    elif kind == "f" and array.dtype.itemsize not in (4, 8):
        array = array.astype(numpy.float64)
    elif kind == "M":
        return _moments(column, array)
    elif kind in "OUST":
        return _objects(column, array, name)
    elif kind not in "iuf":
        raise CrosstieError(f"column `{column}` of {name} has values of type {array.dtype}, expected numbers, text or moments")
    array = _native_order(array)
    return column, _NUMBERS[array.dtype.str[1:]], [address, array.ctypes.data], (array, there)


def _moments(column: str, array: Any) -> tuple[str, str, list[int], object]:
    import numpy

    unit = numpy.datetime_data(array.dtype)
    if unit[1] != 1 or unit[0] not in _MOMENTS:
        array = array.astype("datetime64[us]")
        unit = ("us", 1)
    array = _native_order(array)
    there, address = _there(~numpy.isnat(array))
    return column, _MOMENTS[unit[0]], [address, array.view(numpy.int64).ctypes.data], (array, there)


def _native_order(array: Any) -> Any:
    """The same numbers one behind the other, as the machine has them."""
    import numpy

    return numpy.require(array, array.dtype.newbyteorder("="), ["C", "A"])


def _there(known: Any) -> tuple[Any, int]:
    """A bit for each row: whether something is there. None where all is."""
    import numpy

    if known.all():
        return None, 0
    bits = numpy.packbits(known, bitorder="little")
    return bits, bits.ctypes.data


def _objects(column: str, array: Any, name: str) -> tuple[str, str, list[int], object]:
    """Texts, or Python's own numbers."""
    import numpy

    values = [None if _is_missing(value) else value for value in array.tolist()]
    known = numpy.fromiter((value is not None for value in values), bool, len(values))
    there, address = _there(known)
    kinds = {type(value) for value in values} - {type(None)}
    if not all(issubclass(kind, (str, bytes, bool, int, float, numpy.number, numpy.bool_)) for kind in kinds):
        values = [_plain(value) for value in values]
        kinds = {type(value) for value in values} - {type(None)}
    if all(issubclass(kind, (str, bytes)) for kind in kinds):
        pieces = [b"" if value is None else value if isinstance(value, bytes) else value.encode() for value in values]
        offsets = numpy.zeros(len(pieces) + 1, numpy.int64)
        numpy.cumsum(numpy.fromiter(map(len, pieces), numpy.int64, len(pieces)), out=offsets[1:])
        text = numpy.frombuffer(b"".join(pieces) or b"\0", numpy.uint8)
        return column, "U", [address, offsets.ctypes.data, text.ctypes.data], (there, offsets, text)
    if all(issubclass(kind, (bool, int, float, numpy.number, numpy.bool_)) for kind in kinds):
        whole = all(issubclass(kind, (bool, int, numpy.integer, numpy.bool_)) for kind in kinds)
        numbers = numpy.array([0 if value is None else value for value in values], numpy.int64 if whole else numpy.float64)
        return column, "l" if whole else "g", [address, numbers.ctypes.data], (there, numbers)
    row, value = next((row, value) for row, value in enumerate(values, 1) if value is not None and not isinstance(value, str))
    raise CrosstieError(f"column `{column}` of {name}: row {row} holds {value!r}, expected text or numbers, and one of them in all rows (lists take pyarrow)")


def _plain(value: Any) -> Any:
    """Days, times of day and UUIDs as their text."""
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    return str(value) if isinstance(value, uuid.UUID) else value


def _is_missing(value: Any) -> bool:
    # NaN, NaT and pandas.NA, none of which is equal to itself.
    return value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and value != value)
