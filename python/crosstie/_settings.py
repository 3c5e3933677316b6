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

#: Keys that say what a run directory gets, which the binary writes.
OF_RUNS = ("train.checkpoint_every", "train.report", "train.tensorboard")


@functools.cache
def _keys() -> tuple[tuple[str, str, str | None, str | None], ...]:
    """Every key but those of the data and of runs: its path, its section, the name that it belongs to, its
    default."""
    keys = json.loads(_native.keys())
    told = ((key["path"], key["section"], (key["choice"] or {}).get("value") or key["of"], key["default"]) for key in keys)
    return tuple(key for key in told if not key[0].startswith("data.") and key[0] not in ("model.name", *OF_RUNS))


@functools.cache
def _paths(names: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """The keys that a config may have in which sections have these names."""
    chosen = dict(names)
    # What lies below a section belongs to its name, too.
    name_of = {section: chosen.get(section) or chosen.get(section.partition(".")[0]) for _, section, _, _ in _keys()}
    return tuple(dict.fromkeys(path for path, section, name, _ in _keys() if name in (None, name_of[section])))


def _names(model: str, settings: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The names of the sections that have some: those of the settings, else the defaults."""
    names = {"model": model}
    for path, section, _, default in _keys():
        if path.endswith(".name"):
            said = settings.get(_keyword(path), settings.get(_keyword(path.partition(".")[2])))
            names[section] = said if isinstance(said, str) else (default or "").strip('"')
    return tuple(names.items())


def _found(name: str, paths: tuple[str, ...]) -> list[str]:
    """The keys that a keyword may mean."""
    path = "." + name.replace("__", ".")
    whole = [one for one in paths if "." + one == path]
    return whole or [one for one in paths if ("." + one).endswith(path)]


def resolve(name: str, model: str, settings: Mapping[str, Any]) -> str:
    """The key that a keyword means, of a model with these settings.

    Raises:
        CrosstieError: where there is none, with the nearest one; where there are several.
    """
    paths = _paths(_names(model, settings))
    found = _found(name, paths)
    if len(found) == 1:
        return found[0]
    if found:
        raise CrosstieError(f"`{name}` may be {_either(_keyword(path) for path in found)}")
    if _found(name, OF_RUNS):
        raise CrosstieError(f"`{name}` is about the run directory that the binary writes; here there is none")
    path = name.replace("__", ".")
    below = [_keyword(one) for one in paths if one.startswith(path + ".")]
    if below:
        raise CrosstieError(f"`{name}` is a section; its keys are {', '.join(below)}")
    others = [_shortest(one, paths) for one in paths]
    candidates = {**{_keyword(one): _keyword(one) for one in paths}, **{one: one for one in others}}
    candidates.update({one.rpartition("__")[2]: one for one in others})
    near = difflib.get_close_matches(name, candidates, 1, 0.6)
    hint = f"; did you mean `{candidates[near[0]]}`?" if near else "; docs/configuration.md lists them all"
    raise CrosstieError(f"there is no setting `{name}` of the model `{model}`{hint}")


def written(settings: Mapping[str, Any], model: str) -> Iterator[str]:
    """The settings as `--set` takes them."""
    seen: dict[str, str] = {}
    for name, value in settings.items():
        path = resolve(name, model, settings)
        if path in seen:
            raise CrosstieError(f"`{name}` and `{seen[path]}` are the same setting, {path}")
        seen[path] = name
        try:
            yield f"{path}={to_toml(value)}"
        except TypeError as error:
            raise CrosstieError(f"`{name}`: {error}") from None


def _keyword(path: str) -> str:
    return path.replace(".", "__")


def _shortest(path: str, paths: tuple[str, ...]) -> str:
    """The shortest keyword for a key."""
    parts = path.split(".")
    keywords = ("__".join(parts[start:]) for start in reversed(range(len(parts))))
    return next((keyword for keyword in keywords if _found(keyword, paths) == [path]), _keyword(path))


def _either(names: Iterator[str]) -> str:
    return " or ".join(f"`{name}`" for name in names)
