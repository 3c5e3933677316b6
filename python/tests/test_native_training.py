"""What a training tells, and how it is ended."""

import json
import os
import signal

import pytest
from test_native_bits import CONFIG, SCHEMA, make_log

from crosstie import _native

ENDLESS = ["train.epochs=1000000", "train.patience=1000000"]


@pytest.fixture(scope="module")
def data():
    return _native.Data.table("train", make_log(1500, 1)), _native.Data.table("valid", make_log(400, 2))


def train(data, observer, settings=()):
    return _native.train(CONFIG, SCHEMA, list(settings), *data, observer)


def test_every_event_is_told_and_nothing_changes_by_it(data, tmp_path):
    events = []
    heard = train(data, lambda text: events.append(json.loads(text)))
    names = [event["event"] for event in events]
    assert names.index("learning") < names.index("learned") < names.index("started") < names.index("step")
    assert names[-2:] == ["stopped", "calibrated"]
    steps = [event for event in events if event["event"] == "step"]
    assert [event["step"] for event in steps] == list(range(1, heard.steps + 1))
    assert set(steps[0]["losses"]) == {"click", "buy"}
    lines = [json.loads(line) for line in heard.history.splitlines()]
    told = [event for event in events if event["event"] == "evaluated"]
    assert [line["report"] for line in lines] == [event["report"] for event in told]
    assert (heard.reason, heard.interrupted) == ("epochs", False)
    train(data, None).model.save(str(tmp_path / "alone"), False)
    heard.model.save(str(tmp_path / "heard"), False)
    assert all((tmp_path / "heard" / path.name).read_bytes() == path.read_bytes() for path in (tmp_path / "alone").glob("*.*"))


def test_an_observer_ends_a_training_by_false(data):
    def observer(text):
        event = json.loads(text)
        return not (event["event"] == "step" and event["step"] == 12)

    training = train(data, observer, ENDLESS)
    assert (training.reason, training.interrupted, training.steps) == ("asked", False, 12)


def test_what_an_observer_raises_comes_out_as_it_is(data):
    class Odd(Exception):
        pass

    def observer(text):
        if json.loads(text)["event"] == "evaluated":
            raise Odd("enough")

    with pytest.raises(Odd, match="enough"):
        train(data, observer, ENDLESS)


def test_a_keyboard_interrupt_ends_with_what_was_reached(data):
    def observer(text):
        if json.loads(text)["event"] == "evaluated":
            os.kill(os.getpid(), signal.SIGINT)

    training = train(data, observer, ENDLESS)
    assert training.interrupted and training.reason == "asked" and training.steps > 0
    assert len(training.model.predict(data[1], 1)) == 400


def test_a_keyboard_interrupt_before_there_is_a_model_is_raised(data):
    def observer(text):
        if json.loads(text)["event"] == "learning":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(data, observer)


def test_a_signal_is_heeded_without_an_observer(data):
    class Alarm(Exception):
        pass

    def ring(*_):
        raise Alarm

    before = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(Alarm):
            train(data, None, ENDLESS)
    finally:
        signal.signal(signal.SIGALRM, before)


def test_other_threads_of_python_run_meanwhile(data):
    import threading

    done = threading.Event()

    def observer(text):
        # Held by this very call, the lock is free while the training goes on.
        return not (done.is_set() and json.loads(text)["event"] == "step")

    worker = threading.Thread(target=lambda: [sum(range(100)) for _ in range(1000)] and done.set())
    worker.start()
    assert train(data, observer, ENDLESS).reason == "asked"
    worker.join()


@pytest.mark.parametrize(
    ("config", "settings", "said"),
    [
        ('[model]\nname = "mmeo"\n', [], "did you mean `mmoe`"),
        ('[model]\nname = "mmoe"\n', ["train.epoch=3"], "did you mean `epochs`"),
        ('[model]\nname = "mmoe"\n[train]\nepochs = "x"\n', [], "line 4"),
    ],
)
def test_a_wrong_config_is_told_as_the_binary_tells_it(data, config, settings, said):
    with pytest.raises(_native.CrosstieError, match=said) as raised:
        _native.train(config, SCHEMA, settings, *data, None)
    assert isinstance(raised.value, ValueError)


def test_what_a_config_says_of_data_plays_no_part(data):
    training = _native.train(f'[data]\ndir = "nowhere"\n{CONFIG}', SCHEMA, ["train.epochs=1"], *data, None)
    assert "nowhere" not in training.config


def test_the_keys_are_those_of_the_config():
    keys = {key["path"]: key for key in json.loads(_native.keys())}
    assert keys["train.epochs"]["default"] == "20"
    assert "Most passes" in keys["train.epochs"]["about"]
    assert keys["model.experts"]["choice"]["key"] == "name"
    assert set(_native.schema_columns(SCHEMA)) == set(make_log(1, 1).column_names)
