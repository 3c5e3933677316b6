"""Scores the golden rows of artifacts without crosstie, by docs/formats.md alone:

    python3 docs/reader/score.py ARTIFACT...

and holds them against the scores that the artifact lists. For those who score in another
language, and so that the page stays true. Needs the packages numpy, pyarrow and xxhash.
"""

import json
import sys
from pathlib import Path

import numpy as np

from artifact import Artifact
from models import MODELS

for path in map(Path, sys.argv[1:]):
    artifact = Artifact(path)
    golden = json.loads((path / "golden.json").read_text())
    scores = artifact.probabilities(MODELS[artifact.model["name"]](artifact, len(artifact.heads)))
    # Null, which becomes NaN, is what the objective does not identify.
    listed = {name: np.array(golden[name], dtype=float) for name in scores}
    apart = max(np.nanmax(np.abs(found.ravel() - listed[name])) for name, found in scores.items())
    print(f"{path}: {artifact.rows} rows of {artifact.model['name']}, scores at most {apart:.1e} apart")
    assert apart < 1e-5, f"{path}: other scores than golden.json lists"
