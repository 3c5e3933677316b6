"""A model, from its settings to its scores."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from . import _native, _schema, _settings
from ._callbacks import Callback
from ._data import names_of, to_data, to_frame
from ._evaluation import Evaluation, flat
from ._native import CrosstieError
from ._report import Report
from ._schema import Field, Task
from ._warning import warn

log = logging.getLogger("crosstie")

#: Parameters that are no settings of the config, with their defaults.
PARAMETERS: dict[str, Any] = {
    "name": "mmoe",
    "tasks": None,
    "scenario": None,
    "group": None,
    "weight": None,
    "fields": None,
    "schema": None,
}


#: How errors call what was handed over.
TRAINING_ROWS, VALIDATION_ROWS = "the training rows", "the validation rows"
LABELLED_ROWS, ROWS_TO_SCORE = "the labelled rows", "the rows to score"


class NotFitted(CrosstieError, AttributeError):
    """A model was asked for something that it has only after `fit`."""


class Model:
    """A multi-task model: how likely every action is after an impression.

    Args:
        name: The model, such as `mmoe`, `ple`, `ektm`; `crosstie models` tells when to use which.
        tasks: The actions to predict: `crosstie.task(...)`, or text such as `"buy after click"`.
        scenario: The column whose values are scenarios; an empty text for none.
        group: The column for grouped AUC, usually the user; an empty text for none.
        weight: A column with a weight of every row.
        fields: The features: names of columns, whose kinds are found out, or `crosstie.field(...)`.
        schema: A schema, as text or the name of a file, in place of all of these.
        **settings: Keys of the config with `__` for the dot: `train__epochs=3`, or as much of
            its end as is not to be mistaken, `epochs=3`. docs/configuration.md explains all.

    What is left out of tasks, scenario, group and fields is found out from the training rows,
    as `crosstie init` does; `crosstie.propose` shows what and why.

    A model is an estimator of scikit-learn as far as one can be that reads columns by name and
    whose labels are columns: `get_params`, `set_params`, `clone`, pickle.
    """

    name: str
    tasks: Iterable[str | Task] | None
    scenario: str | None
    group: str | None
    weight: str | None
    fields: Iterable[str | Field] | None
    schema: str | os.PathLike[str] | None
    settings: dict[str, Any]

    def __init__(
        self,
        name: str = "mmoe",
        tasks: Iterable[str | Task] | None = None,
        scenario: str | None = None,
        group: str | None = None,
        weight: str | None = None,
        fields: Iterable[str | Field] | None = None,
        schema: str | os.PathLike[str] | None = None,
        **settings: Any,
    ) -> None:
        self.name, self.tasks, self.scenario, self.group = name, tasks, scenario, group
        self.weight, self.fields, self.schema, self.settings = weight, fields, schema, settings

    # Training

    def fit(self, train: Any, valid: Any = None, *, callbacks: Iterable[Callback] = ()) -> Model:
        """Trains on rows; early stopping looks at the rows of `valid`.

        Rows are a frame of pandas, polars, pyarrow or DuckDB, a dict of NumPy arrays, or names
        of files, which may be globs. Columns are found by their names. Without `valid` a part
        of `train` is kept for it: the last tenth by time, where there is one, else a random one,
        in which rows of one group are together.

        Ctrl-C ends the training with what was reached. Callbacks are told of every event and
        may return False to end it.

        Raises:
            CrosstieError: for a setting that does not exist, a missing column, a cell that is
                not of its kind, labels that are none. It names what, and the nearest right one.
        """
        settings = self._written()
        given = train
        if self.schema is None:
            # Looked at first, and read only then: what can be read once must last for both.
            train = to_data(train, None, TRAINING_ROWS)
        schema, cut = self._schema_for(train)
        columns = _native.schema_columns(schema)
        # Rows to be cut may be cut by a column that nothing else reads.
        rows = to_data(train, None if valid is None else columns, TRAINING_ROWS)
        if valid is None:
            cut = cut or rows.cut(schema)
            log.info("the rows are cut %s", cut)
            seed = int(self.settings.get("seed", self.settings.get("train__seed", 1)))
            rows, stop_by = cut.split(rows, seed)
        else:
            stop_by = to_data(valid, columns, VALIDATION_ROWS)
        self._tell_of_others(given, columns)
        watching = list(callbacks)

        def observe(text: str) -> bool:
            event = json.loads(text)
            warn(event.get("warnings", ()), 4)
            warn([event["message"]] if "message" in event else (), 4)
            # Every callback hears of it, also where another one has had enough.
            return all([callback(event) is not False for callback in watching])

        training = _native.train("", schema, settings, rows, stop_by, observe)
        if training.interrupted:
            warn(["the training was interrupted; the model is what was reached"])
        self._fitted = training.model
        self._trained_with, self._lines = settings, training.history
        return self

    def _written(self) -> list[str]:
        """The settings as the library reads them."""
        return [f"model.name={_schema.to_toml(self.name)}", *_settings.written(self.settings, self.name)]

    def _schema_for(self, train: Any) -> tuple[str, _native.Cut | None]:
        """The schema that was given, or one that is proposed for the training rows, with
        how these would be cut."""
        described = {name: getattr(self, name) for name in ("tasks", "scenario", "group", "weight", "fields")}
        if self.schema is not None:
            given = [name for name, value in described.items() if value is not None]
            if given:
                raise CrosstieError(f"a schema says it all; {', '.join(given)} cannot stand beside it")
            return _schema.text_of(self.schema), None
        proposal = _schema.propose(train, **described)
        log.info("%s", proposal)
        return proposal.schema, proposal.cut

    def _tell_of_others(self, given: Any, columns: Iterable[str]) -> None:
        read = set(columns)
        others = [name for name in names_of(given) or () if name not in read]
        if others:
            log.info("columns that the model does not read: %s", ", ".join(others))

    # Scoring

    def predict(self, rows: Any, *, threads: int = 0) -> Any:
        """The probabilities of every task, for each row.

        Two columns for each task: `p_<task>`, given that the parent action happened, and
        `joint_<task>`, from the impression. A frame of pandas, polars or pyarrow is answered by
        one of its kind, pandas' with its index; all else by a dict of NumPy arrays. `p_<task>` is
        NaN (null) where the objective does not identify it. Labels are not needed. Values that
        training did not know are scored as unknown, and warned of where they are many.

        `threads` bounds the threads of this process; 0 means all cores.
        """
        model = self._model()
        columns = model.columns(False)
        scores = model.predict(to_data(rows, columns, ROWS_TO_SCORE), threads)
        self._tell_of_others(rows, columns)
        if scores.unknown:
            counts = ", ".join(f"{field} {count:,}" for field, count in scores.unknown.items())
            log.info("values that training did not know, by field: %s", counts)
        warn(scores.warnings)
        return to_frame(scores, rows)

    def evaluate(self, rows: Any, *, threads: int = 0) -> Evaluation:
        """The figures of labelled rows: AUC, log-loss, PCOC and more of every task, given the
        parent action and from the impression, over all and by scenario. Warns of what differs
        from the training rows by more than chance."""
        model = self._model()
        found = json.loads(model.evaluate(to_data(rows, model.columns(True), LABELLED_ROWS), threads))
        warn(found.pop("warnings", ()))
        return Evaluation(found)

    def report(self, rows: Any, *, threads: int = 0) -> Report:
        """A page about the model and labelled rows, best such as it was not trained on: learning
        curves, figures, reliability, scenarios, gain and lift, the importance of fields, what
        differs from the training rows. A notebook shows it; `save(path)` writes it."""
        model = self._model()
        data = to_data(rows, model.columns(True), LABELLED_ROWS)
        return Report(model.report(data, self._trained_with, self._lines, threads))

    def score(self, rows: Any, y: None = None) -> float | None:
        """The mean AUC of the tasks, from the impression, for scikit-learn's searches. The labels
        are columns of `rows`."""
        return self.evaluate(rows).figure("mean.from_impression.auc")

    # What a model is

    @property
    def history(self) -> list[dict[str, Any]]:
        """A row for each evaluation of the validation rows, ready for a data frame: epoch, step,
        losses, and figures by the names of `train.monitor`. Empty for a model that was loaded."""
        self._model()
        return [flat(json.loads(line)) for line in self._lines.splitlines()]

    @property
    def schema_(self) -> str:
        """The schema that the model was trained with."""
        return self._model().schema

    @property
    def config_(self) -> dict[str, Any]:
        """What the model is, with every key: seed, model, network, embedding, objective."""
        return dict(json.loads(self._model().config))

    def explain(self, rows: Any = None) -> dict[str, Any]:
        """What is in the model: fields and what is read of them, scenarios, masks, calibration.
        With labelled rows also, under `diagnosis`, means over these of what the model shows of
        its inside, as EKTM does: how alike tasks are, who takes how much of whom."""
        model = self._model()
        told = dict(json.loads(model.inspect()))
        if rows is not None:
            told["diagnosis"] = json.loads(model.diagnose(to_data(rows, model.columns(True), LABELLED_ROWS), 0))
        return told

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Writes the artifact, a directory: what `load`, every command of the binary, and the
        server read."""
        self._model().save(os.fspath(path), overwrite)

    def export_onnx(self, path: str | os.PathLike[str], *, inputs: str = "ids") -> None:
        """Writes the model for other engines into a new directory. `inputs` is `ids` (whoever calls
        it looks rows of tables up) or `raw` (it reads the columns); docs/onnx.md."""
        warn(self._model().export_onnx(os.fspath(path), inputs))

    def _model(self) -> _native.Model:
        fitted: _native.Model | None = self.__dict__.get("_fitted")
        if fitted is None:
            raise NotFitted(f"this model is not trained yet: call fit, or crosstie.load({self.name!r} ...)")
        return fitted

    # scikit-learn's habits

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The arguments that this model was made of."""
        return {**{name: getattr(self, name) for name in PARAMETERS}, **self.settings}

    def set_params(self, **params: Any) -> Model:
        """Changes arguments; a setting that does not exist is refused."""
        settings = {**self.settings, **{key: value for key, value in params.items() if key not in PARAMETERS}}
        for key in settings.keys() & params.keys():
            _settings.resolve(key, params.get("name", self.name), settings)
        for key in PARAMETERS.keys() & params.keys():
            setattr(self, key, params[key])
        self.settings = settings
        return self

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import InputTags, Tags, TargetTags

        # The rows are no matrix, and the labels are columns of them.
        inputs = InputTags(two_d_array=False, string=True, categorical=True, allow_nan=True)
        return Tags(estimator_type=None, target_tags=TargetTags(required=False), input_tags=inputs)

    def __sklearn_is_fitted__(self) -> bool:
        return "_fitted" in self.__dict__

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in self.__dict__.items() if name != "_fitted"}
        if "_fitted" in self.__dict__:
            state["_artifact"] = _packed(self._fitted)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        artifact = state.pop("_artifact", None)
        self.__dict__.update(state)
        if artifact is not None:
            self._fitted = _unpacked(artifact)

    def __repr__(self) -> str:
        params = {name: value for name, value in self.get_params().items() if value is not None and name != "name"}
        said = [repr(self.name), *(f"{name}={value!r}" for name, value in params.items())]
        return f"Model({', '.join(said)})"


def load(path: str | os.PathLike[str]) -> Model:
    """Loads an artifact, or the one of a run directory, whoever trained it."""
    fitted = _native.Model.load(os.fspath(path))
    config = json.loads(fitted.config)
    model = Model(config["model"]["name"], schema=fitted.schema, **dict(_said(config)))
    model._fitted, model._trained_with, model._lines = fitted, model._written(), ""
    return model


def _said(config: Mapping[str, Any], path: str = "") -> Iterable[tuple[str, Any]]:
    """The keys of a config as keyword arguments."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _said(value, f"{path}{name}__")
        elif (path, name) == ("", "seed"):
            yield "train__seed", value
        elif (path, name) != ("model__", "name"):
            yield path + name, value


def _packed(model: _native.Model) -> dict[str, bytes]:
    """The files of an artifact."""
    with tempfile.TemporaryDirectory(prefix="crosstie-") as directory:
        artifact = Path(directory) / "artifact"
        model.save(os.fspath(artifact), False)
        files = (path for path in artifact.rglob("*") if path.is_file())
        return {path.relative_to(artifact).as_posix(): path.read_bytes() for path in files}


def _unpacked(files: Mapping[str, bytes]) -> _native.Model:
    with tempfile.TemporaryDirectory(prefix="crosstie-") as directory:
        for name, content in files.items():
            path = Path(directory, "artifact", name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return _native.Model.load(os.fspath(Path(directory) / "artifact"))
