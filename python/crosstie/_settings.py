"""Keyword arguments that are the keys of a config.

`train.batch_size` is `train__batch_size`, and as many of its last parts as are not to be
mistaken will do: `batch_size`, `dense__learning_rate`.
"""

from __future__ import annotations

import difflib
import functools
import json
from collections.abc import Iterator, Mapping
from typing import Any

from . import _native
from ._native import CrosstieError
from ._schema import to_toml


@functools.cache
def _paths(model: str) -> tuple[str, ...]:
    """The keys that a config of this model may have, but for its data and the name."""
    keys = json.loads(_native.keys())
    paths = (key["path"] for key in keys if key["of"] in (None, model) or not key["path"].startswith("model."))
    return tuple(dict.fromkeys(path for path in paths if not path.startswith("data.") and path != "model.name"))


def _found(name: str, model: str) -> list[str]:
    """The keys that a keyword may mean."""
    path = "." + name.replace("__", ".")
    paths = _paths(model)
    whole = [one for one in paths if "." + one == path]
    return whole or [one for one in paths if ("." + one).endswith(path)]


def resolve(name: str, model: str) -> str:
    """The key that a keyword means.

    Raises:
        CrosstieError: where there is none, with the nearest one; where there are several.
    """
    found = _found(name, model)
    if len(found) == 1:
        return found[0]
    if found:
        raise CrosstieError(f"`{name}` may be {_either(_keyword(path) for path in found)}")
    path = name.replace("__", ".")
    below = [_keyword(one) for one in _paths(model) if one.startswith(path + ".")]
    if below:
        raise CrosstieError(f"`{name}` is a section; its keys are {', '.join(below)}")
    others = [_shortest(one, model) for one in _paths(model)]
    candidates = {**{_keyword(one): _keyword(one) for one in _paths(model)}, **{one: one for one in others}}
    candidates.update({one.rpartition("__")[2]: one for one in others})
    near = difflib.get_close_matches(name, candidates, 1, 0.6)
    hint = f"; did you mean `{candidates[near[0]]}`?" if near else "; docs/configuration.md lists them all"
    raise CrosstieError(f"there is no setting `{name}` of the model `{model}`{hint}")


def written(settings: Mapping[str, Any], model: str) -> Iterator[str]:
    """The settings as `--set` takes them."""
    seen: dict[str, str] = {}
    for name, value in settings.items():
        path = resolve(name, model)
        if path in seen:
            raise CrosstieError(f"`{name}` and `{seen[path]}` are the same setting, {path}")
        seen[path] = name
        try:
            yield f"{path}={to_toml(value)}"
        except TypeError as error:
            raise CrosstieError(f"`{name}`: {error}") from None


def _keyword(path: str) -> str:
    return path.replace(".", "__")


def _shortest(path: str, model: str) -> str:
    """The shortest keyword for a key."""
    parts = path.split(".")
    keywords = ("__".join(parts[start:]) for start in reversed(range(len(parts))))
    return next((keyword for keyword in keywords if _found(keyword, model) == [path]), _keyword(path))


def _either(names: Iterator[str]) -> str:
    return " or ".join(f"`{name}`" for name in names)
