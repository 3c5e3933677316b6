"""What the columns mean: a schema, written in Python, or proposed for data."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field as default
from pathlib import Path
from typing import Any

from . import _native
from ._data import to_data

__all__ = ["Field", "Proposal", "Task", "field", "propose", "task"]


@dataclass(frozen=True)
class Task:
    """An action to predict.

    `label` is its column of 0 and 1, or nothing where it is not known; the task's name,
    perhaps with `is_` in front, if absent. `after` names the action that it follows: it is
    defined on rows where that happened. `direct` says that it also happens without; None
    means as the training rows tell. `weight` is the weight of its loss.
    """

    name: str
    after: str | None = None
    label: str | None = None
    direct: bool | None = None
    weight: float = 1.0

    @staticmethod
    def of(given: str | Task) -> Task:
        """A task of what a user says: `"buy"` and `"buy after click"` are tasks, too."""
        if isinstance(given, Task):
            return given
        if not isinstance(given, str):
            raise TypeError(f'a task is said as "buy after click" or by crosstie.task(...), found {given!r}')
        name, _, after = given.partition(" after ")
        return Task(name.strip(), after.strip() or None)


@dataclass(frozen=True)
class Field:
    """An input feature, with the keys of a `[[field]]` in a schema."""

    name: str
    kind: str
    keys: Mapping[str, Any] = default(default_factory=dict)

    def to_toml(self) -> str:
        """Its section of a schema."""
        return _section("field", {"name": self.name, "kind": self.kind, **self.keys})


task = Task


def field(name: str, kind: str, **keys: Any) -> Field:
    """An input feature: `categorical`, `numeric`, `multi` or `rate`.

    `keys` are those of a `[[field]]` in a schema: `side="item"`, `column="video_id"`,
    `key=["author_id", "tab"]`; `crosstie reference schema` explains them.
    """
    return Field(name, kind, {name: value for name, value in keys.items() if value is not None})


@dataclass(frozen=True)
class Proposal:
    """What data seem to be. `schema` is a schema.toml that tells each decision's reason."""

    schema: str
    cut: _native.Cut
    unsure: Sequence[str] = ()

    def __str__(self) -> str:
        told = [f"# The rows are cut {self.cut}", *(f"# Unsure: {sentence}" for sentence in self.unsure)]
        return "\n".join([self.schema.rstrip(), "", *told])


def propose(
    data: Any,
    tasks: Iterable[str | Task] | None = None,
    *,
    scenario: str | None = None,
    group: str | None = None,
    weight: str | None = None,
    fields: Iterable[str | Field] | None = None,
) -> Proposal:
    """Looks at data and proposes a schema, as `crosstie init` does.

    Without `tasks`, columns of 0 and 1 that are named like actions are predicted; without
    `fields`, every column that says something and is known beforehand is a feature.
    `fields` may hold names, whose kinds are proposed, and whole fields. An empty text for
    `scenario` or `group` means none.

    Print what it gives, change what is wrong, and hand it on as `Model(schema=...)`.
    """
    asked = [Task.of(one) for one in tasks or ()]
    given = list(fields) if fields is not None else None
    text, cut, unsure = to_data(data).propose(
        [(one.name, one.label, one.after, one.direct, one.weight) for one in asked],
        scenario,
        group,
        weight,
        None if given is None else [one for one in given if isinstance(one, str)],
        "\n".join(one.to_toml() for one in given or () if isinstance(one, Field)),
    )
    return Proposal(text, cut, unsure)


def text_of(schema: str | os.PathLike[str]) -> str:
    """The text of a schema that was given as text, or as the name of a file."""
    if isinstance(schema, str) and ("\n" in schema or "=" in schema):
        return schema
    try:
        return Path(schema).read_text(encoding="utf-8")
    except OSError as error:
        raise _native.CrosstieError(f"schema {os.fspath(schema)!r}: {error.strerror}") from error


def _section(name: str, keys: Mapping[str, Any]) -> str:
    return "\n".join([f"[[{name}]]", *(f"{key} = {to_toml(value)}" for key, value in keys.items()), ""])


def to_toml(value: Any) -> str:
    """A value as TOML writes it."""
    if hasattr(value, "item"):
        # A number of NumPy, or an array of one.
        value = value.item()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # A text of JSON is one of TOML, too, but for this letter.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, (int, float)):
        # 1e-05 is a number there, too; `inf` and `nan` are spelled alike.
        return repr(value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(to_toml, value))}]"
    raise TypeError(f"found {value!r}, expected text, a number, True or False, or a list of such")
