"""Figures of a model on labelled rows."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any

from ._native import CrosstieError

MEANINGS = ("given_parent", "from_impression")
#: What a table shows.
SHOWN = ("rows", "positives", "auc", "auc_error", "gauc", "logloss", "ne", "pcoc", "ece")


class Evaluation(dict[str, Any]):
    """The figures of every task, given the parent action and from the impression, over all
    and by scenario: what `crosstie evaluate --json` writes (docs/formats.md).

    Printed it is a table. `figure("buy.from_impression.auc")` is one figure, `table()` a list
    of rows for a data frame.
    """

    def figure(self, name: str) -> float | None:
        """A figure by its name, `[task.][meaning.]figure` as `train.monitor` has it; without a
        task the mean over tasks, without a meaning given the parent. None where it is not
        defined."""
        parts = name.split(".")
        figure, meaning = parts.pop(), "given_parent"
        if parts and parts[-1] in MEANINGS:
            meaning = parts.pop()
        task = parts[0] if parts and parts != ["mean"] else None
        if len(parts) > 1 or figure not in SHOWN or (task is not None and task not in self["tasks"]):
            raise CrosstieError(
                f"there is no figure `{name}`; it is written [task.][meaning.]figure, with a task of "
                f"{', '.join(self['tasks'])} or mean, a meaning of {', '.join(MEANINGS)}, and a figure of {', '.join(SHOWN)}"
            )
        found = [self["tasks"][one][meaning][figure] for one in ([task] if task else self["tasks"])]
        known = [value for value in found if value is not None]
        return sum(known) / len(known) if known else None

    def table(self, scenarios: bool = False) -> list[dict[str, Any]]:
        """A row for each task and meaning; with `scenarios`, for each of these too."""
        parts = [(None, self)] + ([(name, part) for name, part in self["scenarios"].items()] if scenarios else [])
        return [
            {**({"scenario": scenario} if scenarios else {}), "task": task, "meaning": meaning, **_shown(of[meaning])}
            for scenario, part in parts
            for task, of in part["tasks"].items()
            for meaning in MEANINGS
        ]

    def __repr__(self) -> str:
        lines = [["task", "meaning", *SHOWN]]
        lines += [[str(row["task"]), str(row["meaning"]), *map(_text, _figures(row))] for row in self.table()]
        widths = [max(map(len, column)) for column in zip(*lines)]
        return "\n".join("  ".join(_aligned(cells, widths)).rstrip() for cells in lines)

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{name}</th>" for name in ("task", "meaning", *SHOWN))
        rows = (
            "".join(f"<td>{escape(text)}</td>" for text in (row["task"], row["meaning"], *map(_text, _figures(row))))
            for row in self.table()
        )
        return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def flat(line: dict[str, Any]) -> dict[str, Any]:
    """A line of a history, as a row of a data frame: figures by the names that
    `train.monitor` has for them."""
    row = {name: value for name, value in line.items() if not isinstance(value, dict)}
    for group in ("losses", "terms", "weights"):
        row.update({f"{task}.{group.rstrip('s') if group != 'losses' else 'loss'}": value for task, value in line.get(group, {}).items()})
    for task, of in line.get("report", {}).get("tasks", {}).items():
        for meaning in MEANINGS:
            prefix = task if meaning == "given_parent" else f"{task}.{meaning}"
            row.update({f"{prefix}.{name}": value for name, value in _shown(of[meaning]).items()})
    return row


def _shown(figures: dict[str, Any]) -> dict[str, Any]:
    return {name: figures.get(name) for name in SHOWN}


def _figures(row: dict[str, Any]) -> Iterator[Any]:
    return (row[name] for name in SHOWN)


def _text(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


def _aligned(cells: list[str], widths: list[int]) -> Iterator[str]:
    """Names to the left, figures to the right."""
    for place, (cell, width) in enumerate(zip(cells, widths)):
        yield cell.ljust(width) if place < 2 else cell.rjust(width)
