"""A market in which a better model is found: the runs of docs/results/experiments.md.

    cargo build --release
    python3 docs/results/market.py target/release/crosstie OUT

Needs pyarrow. OUT is a directory for the log, runs and reports; what is there already is not made again. About five
minutes on one core; each of the two simulations keeps a log of 0.9 GB where temporary files go, as long as it lasts.
"""
import pathlib, subprocess, sys

import pyarrow as pa, pyarrow.parquet as pq

crosstie, out = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2])

# People, items and tastes are those of a log of a million rows. Models see a tenth of it, and follows only in the last
# fifth of that: an action that was offered not long ago.
ROWS, YOUNG = 1_000_000, 20_000
MARKET = f"""days = 28
before_days = 7
check_days = 7
task = "follow"
auctions = 2
bid = 1.0
bid_elasticity = 0.0
bid_spread = 0.3
truth_share = 0.2

[log]
rows = {ROWS}
selection = 0.0
"""
EXPERIMENT = """name = "transfer"
unit = "user_id"

[[arm]]
name = "control"
model = "single"
share = 50

[[arm]]
name = "transfer"
model = "ektm"
share = 50

[[step]]
traffic = 100
minimum_hours = 1000

[guard]
error_rate = 0.01
calibration = { follow = [0.5, 2.0] }
ecpm_lift = -0.1
"""
RUN = """[data]
schema = "data/schema.toml"
train = "young.parquet"
valid = "data/test.parquet"

[model]
name = "{model}"

[train]
threads = 1
"""


def call(*arguments):
    subprocess.run([crosstie, *map(str, arguments)], cwd=out, check=True)


out.mkdir(parents=True, exist_ok=True)
if not (out / "data").exists():
    call("synth", "--rows", ROWS, "--selection", 0, "--out", "data")
table = pq.read_table(out / "data" / "valid.parquet")
place = table.schema.get_field_index("follow")
follows = table["follow"].to_pylist()
known = [None] * (len(follows) - YOUNG) + follows[-YOUNG:]
field = table.schema.field(place).with_nullable(True)
pq.write_table(table.set_column(place, field, pa.array(known, field.type)), out / "young.parquet")
for model in ["single-task", "ektm"]:
    (out / f"{model}.toml").write_text(RUN.format(model=model))
    if not (out / model).exists():
        call("train", f"{model}.toml", "--out", model)
(out / "market.toml").write_text(MARKET)
(out / "transfer.toml").write_text(EXPERIMENT)
for name, candidate in [("equal", "single-task"), ("better", "ektm")]:
    if not (out / f"{name}.json").exists():
        arms = ["--arm", "control=single-task", "--arm", f"transfer={candidate}"]
        call("simulate", "market.toml", "--experiment", "transfer.toml", *arms, "--json", f"{name}.json")
