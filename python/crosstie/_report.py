"""A page about a model."""

from __future__ import annotations

import os
from html import escape
from pathlib import Path


class Report:
    """A page about a model and labelled rows: what `crosstie report` makes (docs/report.md).

    A notebook shows it. `html` is the page, one file without scripts that fetches nothing.
    """

    def __init__(self, html: str) -> None:
        self.html = html

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the page."""
        Path(path).write_text(self.html, encoding="utf-8")

    def __repr__(self) -> str:
        return f"<a page of {len(self.html) / 1000:.0f} kB; save(path) writes it>"

    def _repr_html_(self) -> str:
        # A frame of its own, so that the styles of page and notebook do not mix.
        return f'<iframe srcdoc="{escape(self.html)}" style="width: 100%; height: 50em; border: 0"></iframe>'
