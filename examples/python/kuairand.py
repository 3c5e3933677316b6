"""KuaiRand-Pure from its raw CSV files to a trained EKTM, a picture of its calibration, and
an ONNX model that scores the same:

    python examples/python/kuairand.py --out runs/kuairand            # by pandas
    python examples/python/kuairand.py --frames polars --rows 20000   # by polars, on a cut

The files are looked for in the directory `kuairand-pure` of CROSSTIE_DATA, else of
../shared/data: the log, the users' and the videos' features, plain or .gz. Needs crosstie
and pandas or polars; for the last part numpy and onnxruntime; for the picture matplotlib.
"""

# %% What is read

import argparse
import math
import os
import sys
from pathlib import Path

import crosstie as ct

HERE = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("CROSSTIE_DATA", HERE.parent / "shared" / "data")) / "kuairand-pure"
TABLES = "log_standard_4_25_to_5_08_pure.csv", "user_features_pure.csv", "video_features_basic_pure.csv"

arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
arguments.add_argument("--frames", choices=["pandas", "polars"], default="pandas")
arguments.add_argument("--rows", type=int, help="about so many rows of the log, evenly over its days")
arguments.add_argument("--epochs", type=int, default=20)
arguments.add_argument("--out", type=Path, default=Path("runs/kuairand-python"))
arguments = arguments.parse_args()


def file(name):
    found = [path for path in (DATA / name, DATA / f"{name}.gz") if path.exists()]
    return found[0] if found else sys.exit(f"there is no {DATA / name}, plain or .gz; CROSSTIE_DATA names the directory above")


# %% The log with the features of its users and videos, without exact duplicates
#
# The last three days are the test, the two before them stop the training.


def by_pandas():
    import pandas as pd

    log, users, videos = (pd.read_csv(file(name)) for name in TABLES)
    log = log.drop_duplicates().sort_values("date", kind="stable")
    log = log.iloc[:: max(1, len(log) // arguments.rows)] if arguments.rows else log
    log["hour"] = log["hourmin"] // 100
    log = log.merge(users, "left", "user_id").merge(videos, "left", "video_id")
    days = sorted(log["date"].unique())
    return tuple(log[log["date"].isin(part)] for part in (days[:-5], days[-5:-3], days[-3:]))


def by_polars():
    import polars as pl

    log, users, videos = (pl.read_csv(file(name), infer_schema_length=None) for name in TABLES)
    log = log.unique(maintain_order=True).sort("date", maintain_order=True)
    log = log.gather_every(max(1, len(log) // arguments.rows)) if arguments.rows else log
    log = log.with_columns(hour=pl.col("hourmin") // 100)
    log = log.join(users, "user_id", "left", maintain_order="left").join(videos, "video_id", "left", maintain_order="left")
    days = log["date"].unique().sort().to_list()
    return tuple(log.filter(pl.col("date").is_in(part)) for part in (days[:-5], days[-5:-3], days[-3:]))


train, valid, test = by_pandas() if arguments.frames == "pandas" else by_polars()
print(f"{len(train):,} rows to learn from, {len(valid):,} to stop by, {len(test):,} to judge by, in {arguments.frames}")

# %% A model
#
# Nearly every action also happens without a click. On a log of this size raw ids are learned
# by heart; how often an id's rows had each action is worth more.

tasks = [ct.task("click", label="is_click"), ct.task("long_view", after="click", direct=True)] + [
    ct.task(name, label=f"is_{name}", after="click", direct=True)
    for name in ("like", "profile_enter", "follow", "comment", "forward")
]
rates = {"user_id": "user", "video_id": "item", "author_id": "item", "music_id": "item", "tag": "item"}
codes = ["is_live_streamer", "is_video_author", *(f"onehot_feat{number}" for number in range(18))]
ranges = [f"{what}_range" for what in ("follow_user_num", "fans_user_num", "friend_user_num", "register_days")]
fields = (
    [ct.field(f"{key}_rate", "rate", key=[key], count=True, side=side) for key, side in rates.items()]
    + [ct.field(name, "categorical") for name in ("tab", "hour")]
    + [ct.field(name, "categorical", side="user") for name in ("user_active_degree", *ranges, *codes)]
    + [ct.field(what.removesuffix("_range"), "numeric", transform="log1p", side="user") for what in ranges]
    + [ct.field(name, "categorical", side="item") for name in ("video_type", "upload_type", "music_type")]
    + [ct.field("tag", "multi", min_count=10, side="item"), ct.field("duration_ms", "numeric", transform="log1p", side="item")]
    + [ct.field(name, "numeric", side="item") for name in ("server_width", "server_height")]
)
model = ct.Model(
    "ektm",
    tasks=tasks,
    scenario="tab",
    group="user_id",
    fields=fields,
    epochs=arguments.epochs,
)
model.fit(train, valid, callbacks=[ct.progress(sys.stdout, bar=False)])

evaluation = model.evaluate(test)
print(evaluation)
arguments.out.mkdir(parents=True, exist_ok=True)
model.save(arguments.out / "artifact", overwrite=True)

# %% Is what is predicted what happens? Tenths of the test rows, by what is predicted

tenths = {task: of["from_impression"]["reliability"] for task, of in evaluation["tasks"].items()}
try:
    import matplotlib
except ImportError:
    print("no picture: matplotlib is not installed")
else:
    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 6))
    for task, bins in tenths.items():
        axes.plot([one["predicted"] for one in bins], [one["happened"] for one in bins], marker="o", markersize=3, label=task)
    axes.axline((1e-3, 1e-3), (1, 1), color="grey", linewidth=0.8)
    axes.set(xscale="log", yscale="log", xlabel="predicted, from the impression", ylabel="happened")
    axes.set_title("Share of the test rows with the action, by tenths")
    axes.legend()
    figure.savefig(arguments.out / "calibration.png", dpi=120)
    print(f"written: {arguments.out / 'calibration.png'}")

# %% The same scores by onnxruntime
#
# docs/onnx/feed.py looks up what the network reads; rows are dicts of texts, as in a CSV file.

try:
    import onnxruntime  # noqa: F401
except ImportError:
    sys.exit("no check of ONNX: onnxruntime is not installed")
import shutil

sys.path.insert(0, str(HERE / "docs" / "onnx"))
from feed import Model as Exported  # noqa: E402

shutil.rmtree(arguments.out / "onnx", ignore_errors=True)
model.export_onnx(arguments.out / "onnx")
some = test.head(1000)
rows = some.to_dict("records") if arguments.frames == "pandas" else some.to_dicts()


def cell(value):
    if value is None or value != value:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


exported = Exported(arguments.out / "onnx").score([{name: cell(value) for name, value in row.items()} for row in rows])
scores = model.predict(some)


def logit(p):
    return math.log(p) - math.log1p(-p)


apart = max(
    abs(logit(float(theirs)) - logit(float(ours)))
    for name in tenths
    for theirs, ours in zip(exported[f"{name}.from_impression"], scores[f"joint_{name}"])
)
print(f"onnxruntime scores {len(some):,} test rows alike: logits at most {apart:.1e} apart")
assert apart <= 1e-4, f"logits {apart} apart"
