"""What docs/python.md tells to type works as it stands."""

import re
import warnings
from pathlib import Path

import pytest

import crosstie as ct

PAGE = Path(__file__).resolve().parents[2] / "docs" / "python.md"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.M | re.S)


@pytest.mark.skipif(not PAGE.exists(), reason="the page is not beside the tests")
def test_every_block_of_the_page_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text(encoding="utf-8")
    names = {}
    blocks = [found for found in BLOCK.finditer(text) if "mlflow" not in found[1] and "wandb" not in found[1]]
    assert len(blocks) >= 8
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ct.CrosstieWarning)
        for found in blocks:
            line = text[: found.start()].count("\n") + 2
            # As of the page, so that an error names its line.
            exec(compile("\n" * (line - 1) + found[1], PAGE, "exec"), names)
    told = capsys.readouterr().out
    assert "did you mean `epochs`?" in told and "joint_buy" in told
