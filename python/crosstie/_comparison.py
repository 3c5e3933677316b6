"""Models side by side on the same rows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from . import _native
from ._data import to_data
from ._model import LABELLED_ROWS, Model
from ._native import CrosstieError

#: What a table shows of a figure.
SHOWN = ("auc", "ne")
#: Below this p-value a difference is more than chance.
LEVEL = 0.05


class Comparison(dict[str, Any]):
    """The figures of models beside those of the first: `models` by name, of each its tasks, of each
    `auc`, `logloss` and `ne` with `figure`, `difference`, `difference_error` and `p`
    (docs/formats.md, `crosstie compare --json`), and the `meaning`.

    Printed it is a table, in which `*` is more than chance; `table()` is a list of rows for a
    data frame.
    """

    def table(self) -> list[dict[str, Any]]:
        """A row for each task and model."""
        rows = []
        for task in next(iter(self["models"].values())):
            for name, tasks in self["models"].items():
                if task in tasks:
                    of, row = tasks[task], {"task": task, "model": name}
                    for figure in SHOWN:
                        told = of[figure]
                        row.update({figure: told["figure"], f"{figure}_difference": told["difference"]})
                        row.update({f"{figure}_error": told["difference_error"], f"{figure}_p": told["p"]})
                    rows.append({**row, "pcoc": of["pcoc"]})
        return rows

    def _lines(self) -> list[list[str]]:
        lines = [["task", "model", *(name for figure in SHOWN for name in (figure, "difference")), "pcoc"]]
        for row in self.table():
            told = [text for figure in SHOWN for text in (_figure(row[figure]), _difference(row, figure))]
            lines.append([row["task"], row["model"], *told, _figure(row["pcoc"])])
        return lines

    def __repr__(self) -> str:
        lines = self._lines()
        widths = [max(map(len, column)) for column in zip(*lines)]
        aligned = (
            [cell.ljust(width) if place < 2 or place % 2 else cell.rjust(width) for place, (cell, width) in enumerate(zip(line, widths))]
            for line in lines
        )
        return "\n".join("  ".join(cells).rstrip() for cells in aligned)

    def _repr_html_(self) -> str:
        head, *rows = self._lines()
        return f"<table>{_html('th', head)}{''.join(_html('td', row) for row in rows)}</table>"


def compare(
    models: Mapping[str, Model | Iterable[Model]], rows: Any, *, given_parent: bool = False, threads: int = 0
) -> Comparison:
    """Holds models against the first on the same labelled rows: by how much AUC, log-loss and NE
    differ, and how sure that is.

    `models` are models by name; a list of them is one model trained several times, by different
    seeds, whose figures are means and whose errors hold what another seed would have made of it.
    Rows of one group of the schema, such as a user's, are one observation. `given_parent` compares
    the probabilities given the parent action, on the rows where it happened, in place of those
    from the impression.
    """
    if not models:
        raise CrosstieError("there is no model to compare")
    standings = []
    for name, of in models.items():
        trainings = [of] if isinstance(of, Model) else list(of)
        if not trainings:
            raise CrosstieError(f"there is no model under `{name}`")
        fitted = [training._model() for training in trainings]
        read = [(model, to_data(rows, model.columns(True), LABELLED_ROWS)) for model in fitted]
        standings.append(_native.Standing(read, given_parent, threads))
    found = json.loads(_native.compare(standings, threads))
    meaning = "given_parent" if given_parent else "from_impression"
    return Comparison(meaning=meaning, models=dict(zip(models, found)))


def _html(tag: str, cells: list[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"


def _figure(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.4f}"


def _difference(row: dict[str, Any], figure: str) -> str:
    difference, error, p = (row[f"{figure}_{what}"] for what in ("difference", "error", "p"))
    if difference is None:
        return ""
    told = f"{difference:+.4f}" + ("" if error is None else f" ±{error:.4f}")
    return told + (" *" if p is not None and p < LEVEL else "")
