"""Threads after a fork."""

import os
import signal

import pyarrow as pa
import pytest
from test_native_bits import CONFIG, SCHEMA, make_log

from crosstie import _native

# A child that waits for threads of its parent waits for ever.
PATIENCE = 240


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_trains_and_predicts_as_its_parent():
    data = _native.Data.table("train", make_log(1500, 1)), _native.Data.table("valid", make_log(400, 2))
    two = ["train.threads=2"]

    def scores():
        model = _native.train(CONFIG, SCHEMA, two, *data, None).model
        return pa.table(model.predict(data[1], 2))

    before = scores()
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(PATIENCE)
        said = b"different"
        try:
            model = _native.train(CONFIG, SCHEMA, two, *data, None).model
            again = pa.table(model.predict(data[1], 2))
            if again.equals(before) and '"rows":400' in model.evaluate(data[1], 2):
                said = b"equal"
        except BaseException as error:
            said = repr(error).encode()
        finally:
            os.write(writes, said)
            os._exit(0)
    os.close(writes)
    with os.fdopen(reads, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    assert (said, os.waitstatus_to_exitcode(status)) == (b"equal", 0)
    # And the parent is as it was.
    assert scores().equals(before)
