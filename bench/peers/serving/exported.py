"""An exported model (`crosstie export --format onnx`) by ONNX Runtime on one thread, and the tensors of a request
of the Open Inference Protocol as its inputs: what both peer servers have in common."""
import csv, json, pathlib, time

import numpy as np
import onnxruntime


class Exported:
    def __init__(self, directory):
        directory = pathlib.Path(directory)
        about = json.loads((directory / "model.json").read_text())
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(directory / "model.onnx", options)
        self.outputs = [output["name"] for output in about["outputs"]]
        self.fields = [(one["name"], one["column"], *rows_of(directory, one["encoding"])) for one in about["inputs"]]

    def score(self, columns):
        """Every output by its name, from the texts of every column; and the milliseconds in the model."""
        feeds = {}
        for name, column, rows, unknown in self.fields:
            row = rows.get
            feeds[name] = np.array([row(cell, unknown) for cell in columns[column]], dtype=np.int64)
        start = time.perf_counter()
        scores = self.session.run(self.outputs, feeds)
        return dict(zip(self.outputs, scores)), 1e3 * (time.perf_counter() - start)


def rows_of(directory, encoding):
    """The row of every known value in its table, and that of all others."""
    assert encoding["by"] == "vocabulary", encoding
    with open(directory / encoding["file"], newline="", encoding="utf-8") as lines:
        return {line["value"]: int(line["row"]) for line in csv.DictReader(lines)}, encoding["unknown"]
