"""What a person should know, though nothing is wrong."""

from __future__ import annotations

import warnings
from collections.abc import Iterable


class CrosstieWarning(UserWarning):
    """About data or a training: what the binary prints behind `warning:`."""


def warn(messages: Iterable[str], stacklevel: int = 3) -> None:
    """Says each sentence, as of the line that called what calls this."""
    for message in messages:
        warnings.warn(message, CrosstieWarning, stacklevel=stacklevel)
