"""Makes the artifacts of one version of the format: python3 make.py CROSSTIE format-N

CROSSTIE is the program that writes them, format-N a folder that holds a folder
with schema.toml and config.toml for every model. Beside those go the artifact,
rows to score, and the scores that the program gave them. An input is a Parquet
file where the folder's name is in TYPED (needs pyarrow), else a CSV file.
"""

import csv
import math
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

COLUMNS = ["user", "age", "city", "item", "last_item", "tags", "price", "hour", "position", "tab", "time", "weight"]
LABELS = ["click", "cart", "buy", "like"]
CITIES = ["Köln", "Łódź", "東京", "São Paulo, SP", 'the "Hague"']
TAGS = ["red", "blue", "wide", "old", "new", "hand made"]
TYPED = ["ektm", "ncs4cvr"]


def log(seed, rows, days=0):
    """Made-up impressions: some cells missing, labels that follow from the others, and of items from the days."""
    draw = random.Random(seed)
    few = lambda count: int(count * draw.random() ** 2)
    for number in range(rows):
        user, item = few(20), few(15)
        tags = [tag for tag in TAGS if draw.random() < 0.3]
        price = round(math.exp(draw.gauss(2, 1)), 2) * draw.choice([1, 1, 1, 1, -1])
        hour, position, tab = draw.randrange(24), draw.randrange(1, 5), few(4)
        row = [user, 18 + 3 * user, CITIES[user % 5], item, few(15), "|".join(tags), price, hour, position]
        row += [f"tab-{tab}", 60 * number, draw.choice([0.5, 1, 2])]
        row = ["" if place not in (10, 11) and draw.random() < 0.06 else cell for place, cell in enumerate(row)]
        chance = lambda z: draw.random() < 1 / (1 + math.exp(-z))
        click = chance(1.5 * math.sin(user) + math.cos(item + days) - 0.4 * position + 0.3 * tab)
        cart = click and chance(math.sin(3 * item) + ("red" in tags) - 0.2)
        buy = click and chance(1.5 * cart + math.cos(user) - 0.5)
        like = chance(math.cos(2 * item) + 1.5 * click - 1.5)
        labels = ["" if draw.random() < 0.02 else int(label) for label in (click, cart, buy, like)]
        yield row + labels


def edges():
    """Rows to score: plain ones, and what is unknown, missing or far out."""
    rows = [row[: len(COLUMNS)] for row in log(3, 24)]
    usual = ["3", "27", "Köln", "2", "5", "red|blue", "7.5", "12", "2", "tab-1", "", ""]
    change = lambda **cells: [str(cells.get(name, cell)) for name, cell in zip(COLUMNS, usual)]
    rows += [
        usual,
        [""] * len(COLUMNS),
        change(user=999, city="Atlantis", item=999, last_item=999, tags="green", position=99, tab="tab-9"),
        change(user="", city="", item=""),
        change(tags="|"),
        change(tags=" red | blue |red"),
        change(tags="red|green"),
        change(price=0, age=0, hour=0),
        change(price=-1e6, age=-5),
        change(price=1e6, age=1000),
        change(item=2, last_item=2),
        change(item=999, last_item=2),
        change(user=3, city="Łódź"),
    ]
    return rows


def write_csv(path, rows, columns):
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([columns, *rows])


def write_typed(path, rows):
    """The same cells as numbers, dictionaries and lists."""
    import pyarrow as pa
    import pyarrow.parquet

    cells = {name: [row[place] for row in rows] for place, name in enumerate(COLUMNS)}
    none = lambda cells, kind: [kind(cell) if cell != "" else None for cell in cells]
    lists = [[tag.strip() for tag in str(cell).split("|")] if cell != "" else None for cell in cells["tags"]]
    prices = [math.nan if place % 2 and price is None else price for place, price in enumerate(none(cells["price"], float))]
    pa.parquet.write_table(
        pa.table({
            "user": pa.array(none(cells["user"], int), pa.int64()),
            "age": pa.array(none(cells["age"], int), pa.float32()),
            "city": pa.array(none(cells["city"], str)).dictionary_encode(),
            "item": pa.array(none(cells["item"], int), pa.uint16()),
            "last_item": pa.array(none(cells["last_item"], int), pa.int32()),
            "tags": pa.array(lists, pa.list_(pa.string())),
            "price": pa.array(prices, pa.float64()),
            "hour": pa.array(none(cells["hour"], int), pa.int8()),
            "position": pa.array(none(cells["position"], int), pa.int64()),
            "tab": pa.array(none(cells["tab"], str)),
        }),
        path,
    )


def make(crosstie, folder):
    with tempfile.TemporaryDirectory() as work:
        work = Path(work)
        for name in ("schema.toml", "config.toml"):
            shutil.copy(folder / name, work)
        write_csv(work / "train.csv", log(1, 1500), COLUMNS + LABELS)
        write_csv(work / "valid.csv", log(2, 500, days=3), COLUMNS + LABELS)
        run = lambda *arguments: subprocess.run([crosstie, *map(str, arguments)], cwd=work, check=True)
        run("train", "config.toml", "--out", "run", "--quiet")
        shutil.copytree(work / "run" / "artifact", folder / "artifact")
        typed = folder.name in TYPED
        given = folder / ("input.parquet" if typed else "input.csv")
        write_typed(given, edges()) if typed else write_csv(given, edges(), COLUMNS)
        run("predict", folder / "artifact", "--data", given, "--out", folder / "scores.csv", "--quiet")


if __name__ == "__main__":
    crosstie, version = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    for config in sorted(version.glob("*/config.toml")):
        make(crosstie, config.parent)
