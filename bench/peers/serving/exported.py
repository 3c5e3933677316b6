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
        self.inputs = [(one["name"], *input_of(directory, one)) for one in about["inputs"]]

    def score(self, columns):
        """Every output by its name, from the texts of every column; and the milliseconds in the model."""
        feeds = {}
        for name, column, rows, unknown, numbers in self.inputs:
            row = rows.get
            ids = np.array([row(cell, unknown) for cell in columns[column]], dtype=np.int64)
            feeds[name] = ids if numbers is None else numbers[ids]
        start = time.perf_counter()
        scores = self.session.run(self.outputs, feeds)
        return dict(zip(self.outputs, scores)), 1e3 * (time.perf_counter() - start)


def input_of(directory, about):
    """An input's column, the row of every known value, that of all others; and of rates the numbers of every row."""
    encoding = about["encoding"]
    with open(directory / encoding["file"], newline="", encoding="utf-8") as lines:
        lines = list(csv.reader(lines))[1:]
    if encoding["by"] == "vocabulary":
        return about["column"], {value: int(row) for value, row in lines}, encoding["unknown"], None
    assert encoding["by"] == "rates" and len(encoding["key"]) == 1, encoding
    numbers = np.array([line[1:] for line in lines] + [encoding["unseen"]], dtype=np.float32)
    return encoding["key"][0], {line[0]: row for row, line in enumerate(lines)}, len(lines), numbers
