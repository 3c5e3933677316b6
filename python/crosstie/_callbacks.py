"""What may watch a training. A callback is anything that takes an event, a dict:

    model.fit(train, valid, callbacks=[lambda event: print(event["event"])])

`event["event"]` names it: `learned`, `started`, `step`, `evaluated`, `stopped` and so on
(docs/python.md). What returns False ends the training; an exception comes out of `fit`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TextIO

Event = dict[str, Any]
Callback = Callable[[Event], object]


class Progress:
    """Tells how a training goes: by a bar of tqdm where that is installed and the stream
    is a screen or a notebook, else by a line for each evaluation."""

    def __init__(self, file: TextIO | None = None, bar: bool | None = None) -> None:
        self._file, self._bar = file, bar
        self._tqdm: Any = None
        self._shown: Any = None
        self._rows, self._epoch, self._figure = 0, 0, ""

    def __call__(self, event: Event) -> None:
        told = getattr(self, f"_{event['event']}", None)
        if told:
            told(event)

    def _learned(self, event: Event) -> None:
        self._rows, self._epoch, self._figure = event["rows"], 0, ""
        self._tqdm = _tqdm(self._file, self._bar)
        self._say(f"{self._rows:,} training rows")

    def _step(self, event: Event) -> None:
        if not self._tqdm:
            return
        if event["epoch"] != self._epoch:
            self._close()
            self._epoch = event["epoch"]
            self._shown = self._tqdm(
                total=self._rows, desc=f"epoch {self._epoch}", unit=" rows", unit_scale=True, postfix=self._figure, file=self._file
            )
        self._shown.update(event["rows"])

    def _evaluated(self, event: Event) -> None:
        figure = "not defined" if event["figure"] is None else f"{event['figure']:.4f}"
        self._figure = f"{event['monitor']} {figure}{', the best so far' if event['best'] else ''}"
        if self._shown is not None:
            self._shown.set_postfix_str(self._figure)
        self._say(f"epoch {event['epoch']}, step {event['step']}: {self._figure}")

    def _stopped(self, event: Event) -> None:
        self._close()
        self._say(f"stopped: {event['reason']}; the weights of step {event['best_step']} are kept")

    def _close(self) -> None:
        if self._shown is not None:
            self._shown.close()
            self._shown = None

    def _say(self, line: str) -> None:
        if not self._tqdm:
            print(line, file=self._file or sys.stderr, flush=True)


def progress(file: TextIO | None = None, bar: bool | None = None) -> Progress:
    """A callback that tells how a training goes, on stderr unless `file` is given. `bar` asks
    for a bar of tqdm or for plain lines; None means a bar where one can be shown."""
    return Progress(file, bar)


def _tqdm(file: TextIO | None, bar: bool | None) -> Any:
    wanted = bar if bar is not None else (file or sys.stderr).isatty() or "ipykernel" in sys.modules
    if not wanted:
        return None
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return None
    return tqdm
