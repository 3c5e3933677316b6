"""Scores rows of a log with a model that `crosstie export --format onnx` has written, by
its model.json alone:

    python3 docs/onnx/feed.py DIRECTORY ROWS.csv > scores.csv

Needs the packages numpy and onnxruntime, and xxhash where fields are hashed. Cells are
taken to be written as model.json says (`cells`).
"""

import csv
import json
import math
import sys
from pathlib import Path

import numpy as np
import onnxruntime


class Model:
    """An exported model: `score` takes rows as dicts of texts by column."""

    def __init__(self, directory):
        self.directory = Path(directory)
        self.about = json.loads((self.directory / "model.json").read_text(encoding="utf-8"))
        self.nothing = {"", *self.about["null"]}
        self.tables = {}
        self.session = onnxruntime.InferenceSession(str(self.directory / "model.onnx"))

    def score(self, rows):
        """Every output by its name, one number per row."""
        names = [output["name"] for output in self.about["outputs"]]
        feeds = {one["name"]: self.input(one, rows) for one in self.about["inputs"]}
        return dict(zip(names, self.session.run(names, feeds)))

    def input(self, about, rows):
        by = about["encoding"]["by"]
        if by in ("number", "rates"):
            return np.array([self.numbers(about, row) for row in rows], dtype=np.float32)
        cells = [row[about["column"]] for row in rows]
        if by == "as-it-stands":
            if about["type"] == "string":
                return np.array(cells, dtype=object)
            return np.array([math.nan if cell in self.nothing else float(cell) for cell in cells])
        if by == "scenarios":
            values, unknown = about["encoding"]["values"], about["encoding"]["unknown"]
            return np.array([values.get(cell, unknown) for cell in cells], dtype=np.int64)
        if "separator" not in about:
            return np.array([self.row_of(cell, about["encoding"]) for cell in cells], dtype=np.int64)
        # Several values: as many columns as the longest list has, and -1 behind the others.
        lists = [[value.strip() for value in cell.split(about["separator"])] for cell in cells]
        lists = [[self.row_of(value, about["encoding"]) for value in values if value] for values in lists]
        ids = np.full((len(rows), max(map(len, lists), default=0)), -1, dtype=np.int64)
        for row, values in enumerate(lists):
            ids[row, : len(values)] = values
        return ids

    def row_of(self, cell, encoding):
        """The row of a table."""
        if cell in self.nothing:
            return encoding["missing"]
        if encoding["by"] == "vocabulary":
            return int(self.table(encoding["file"], 1).get((cell,), [encoding["unknown"]])[0])
        if encoding["by"] == "cuts":
            return encoding["first"] + sum(cut <= float(cell) for cut in encoding["cuts"])
        import xxhash

        return encoding["first"] + xxhash.xxh3_64_intdigest(cell.encode()) % encoding["buckets"]

    def numbers(self, about, row):
        """The numbers of a field: of its own cell, or of a key."""
        encoding = about["encoding"]
        if encoding["by"] == "rates":
            key = tuple("" if row[column] in self.nothing else row[column] for column in encoding["key"])
            return self.table(encoding["file"], len(key)).get(key, encoding["unseen"])
        cell, x = row[about["column"]], 0.0
        missing = cell in self.nothing
        if not missing:
            x = float(cell)
            x = math.copysign(math.log1p(abs(x)), x) if encoding["log1p"] else x
            if scale := encoding["scale"]:
                least, most = scale.get("range", (-math.inf, math.inf))
                x = (min(max(x, least), most) - scale["mean"]) / scale["standard_deviation"]
        return [x, float(missing)] if encoding["tells_missing"] else [x]

    def table(self, file, keys):
        """The lines of a CSV file by their first columns."""
        if file not in self.tables:
            with open(self.directory / file, newline="", encoding="utf-8") as lines:
                lines = list(csv.reader(lines))[1:]
            self.tables[file] = {tuple(line[:keys]): [float(x) for x in line[keys:]] for line in lines}
        return self.tables[file]


if __name__ == "__main__":
    with open(sys.argv[2], newline="", encoding="utf-8") as lines:
        scores = Model(sys.argv[1]).score(list(csv.DictReader(lines)))
    writer = csv.writer(sys.stdout)
    writer.writerow(scores)
    writer.writerows(zip(*scores.values()))
