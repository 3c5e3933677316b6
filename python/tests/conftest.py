"""A small log of a shop, and a model of it, for all tests."""

import signal

import numpy as np
import pytest

import crosstie as ct

# A shell that starts tests in the background has them ignore Ctrl-C, which some tests send.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROWS = 6000
TASKS = [ct.task("click"), ct.task("buy", after="click")]
FIELDS = [
    ct.field("user", "categorical", side="user"),
    ct.field("item", "categorical", side="item"),
    ct.field("device", "categorical"),
    ct.field("price", "numeric", side="item"),
]
SCHEMA = """
scenario = "tab"
group = "user"
[[task]]
name = "click"
[[task]]
name = "buy"
after = "click"
[[field]]
name = "user"
kind = "categorical"
side = "user"
[[field]]
name = "item"
kind = "categorical"
side = "item"
[[field]]
name = "device"
kind = "categorical"
[[field]]
name = "price"
kind = "numeric"
side = "item"
"""


def make_log(rows=ROWS, seed=7):
    """Columns by name: texts, integers, numbers of which some are missing, days, labels."""
    draw = np.random.default_rng(seed)
    user, item = draw.integers(0, 150, rows), draw.integers(0, 40, rows)
    price = np.where(draw.random(rows) < 0.1, np.nan, 5 + (item * 53) % 95)
    device = np.where(draw.random(rows) < 0.6, "phone", "desk")
    taste = ((user % 7) == (item % 7)) + item * 37 % 40 / 40
    click = draw.random(rows) < 0.1 + 0.25 * taste * (device == "phone")
    buy = click & (draw.random(rows) < 0.15 + 0.4 * (item < 20))
    return {
        "day": np.sort(draw.integers(1, 11, rows)),
        "user": np.array([f"u{number}" for number in user], dtype=object),
        "item": item.astype(np.int32),
        "device": device,
        "tab": draw.integers(0, 2, rows),
        "price": price,
        "click": click.astype(np.int8),
        "buy": buy,
    }


def some(log, rows):
    """Some rows of a dict of arrays."""
    return {name: values[rows] for name, values in log.items()}


@pytest.fixture(scope="session")
def log():
    return make_log()


@pytest.fixture(scope="session")
def parts(log):
    """Rows to learn from, and to stop by."""
    return some(log, log["day"] <= 8), some(log, log["day"] > 8)


def new_model(name="mmoe", **settings):
    return ct.Model(name, schema=SCHEMA, **{"epochs": 2, "threads": 1, **settings})


@pytest.fixture(scope="session")
def model(parts):
    return new_model().fit(*parts)
