"""A model's arguments, and what can be asked of it."""

import copy
import json
import pickle

import numpy as np
import pandas as pd
import pytest
from conftest import FIELDS, SCHEMA, TASKS, make_log, new_model, some

import crosstie as ct


def test_settings_are_the_keys_of_the_config(parts):
    settings = {"train__batch_size": 512, "expert_units": [16, 8], "experts": 3, "dense__learning_rate": np.float64(0.002)}
    config = new_model(**settings).fit(*parts).config_
    assert config["model"]["expert_units"] == [16, 8] and config["model"]["experts"] == 3


@pytest.mark.parametrize(
    "setting, said",
    [
        ({"epoch": 3}, "there is no setting `epoch` of the model `mmoe`; did you mean `epochs`?"),
        ({"train__epocs": 3}, "did you mean `train__epochs`?"),
        ({"learning_rate": 1}, "`learning_rate` may be `optimizer__dense__learning_rate` or `optimizer__rows__learning_rate`"),
        ({"train": 1}, "`train` is a section; its keys are train__seed"),
        ({"bottom_units": [4]}, "there is no setting `bottom_units` of the model `mmoe`"),
        ({"train__epochs": 3}, "`train__epochs` and `epochs` are the same setting, train.epochs"),
        ({"monitor": object()}, "`monitor`: found <object"),
        ({"experts": "many"}, '"many"'),
        ({"monitor": "clik.auc"}, "clik"),
        ({"data__train": "x.csv"}, "there is no setting `data__train`"),
        ({"tensorboard": True}, "`tensorboard` is about the run directory that the binary writes"),
    ],
)
def test_a_wrong_setting_is_refused_with_the_nearest(parts, setting, said):
    with pytest.raises(ct.CrosstieError) as caught:
        new_model(**setting).fit(*parts)
    assert said in str(caught.value)


def test_a_wrong_model_is_refused_with_the_nearest(parts):
    with pytest.raises(ct.CrosstieError, match="mmoe"):
        new_model("mmoee").fit(*parts)


def test_a_schema_is_made_of_tasks_and_fields(parts, log):
    given = ct.Model("mmoe", TASKS, scenario="tab", group="user", fields=FIELDS, epochs=2, threads=1).fit(*parts)
    written = new_model().fit(*parts)
    np.testing.assert_array_equal(given.predict(log)["joint_buy"], written.predict(log)["joint_buy"])
    assert "is_direct" not in given.schema_ and 'scenario = "tab"' in given.schema_


def test_what_is_left_out_is_found_out(parts):
    model = ct.Model("shared-bottom", epochs=1).fit(*parts)
    assert [line for line in model.schema_.splitlines() if "after" in line] == ['after = "click"']
    assert {row["task"] for row in model.evaluate(parts[1]).table()} == {"click", "buy"}


def test_a_proposal_tells_why_and_can_be_handed_on(log):
    proposal = ct.propose(log, ["buy after click", "click"], scenario="tab", group="")
    assert "after = \"click\"" in proposal.schema and "group" not in proposal.schema.split("[[task]]")[0]
    assert "by the time `day`" in str(proposal)
    assert "# " in proposal.schema
    model = ct.Model("shared-bottom", schema=proposal.schema, epochs=1).fit(log)
    assert model.history


def test_fields_by_name_have_the_proposed_kinds(log):
    schema = ct.propose(log, fields=["price", "device", ct.field("user", "categorical", buckets=64)]).schema
    assert schema.count("[[field]]") == 3
    assert 'name = "user"\nkind = "categorical"\nbuckets = 64' in schema
    with pytest.raises(ct.CrosstieError, match="no column `prize`; did you mean `price`"):
        ct.propose(log, fields=["prize"])
    with pytest.raises(ct.CrosstieError, match="field `day` would be left out .*say its kind"):
        ct.propose(log, fields=["price", "day"])
    with pytest.raises(ct.CrosstieError, match="scenario: there is no column `tap`; did you mean `tab`"):
        ct.propose(log, scenario="tap")


def test_a_task_is_said_in_its_own_words(log):
    renamed = {("is_click" if name == "click" else "order" if name == "buy" else name): values for name, values in log.items()}
    tasks = [ct.task("tap", label="is_click"), ct.task("buy", label="order", after="tap", weight=2.0, direct=True)]
    schema = ct.propose(renamed, tasks).schema
    task = schema.split("[[task]]")[2].split("[[field]]")[0]
    for line in ('name = "buy"', 'label = "order"', 'after = "tap"', "weight = 2.0", "direct = true"):
        assert line in task
    apart = ct.propose(log, [ct.task("click"), ct.task("buy", after="")]).schema
    assert "after" not in apart
    with pytest.raises(ct.CrosstieError, match="clik"):
        ct.propose(log, ["clik"])
    with pytest.raises(TypeError, match="a task is said as"):
        ct.propose(log, [7])


def test_without_validation_rows_the_last_ones_are_kept_for_it(log, tmp_path):
    seen = []
    pd.DataFrame(log).to_csv(tmp_path / "log.csv", index=False)
    # A frame is cut in memory, a file on the disk.
    for rows in (log, tmp_path / "log.csv"):
        ct.Model("shared-bottom", TASKS, fields=FIELDS, epochs=1).fit(rows, callbacks=[seen.append])
    learned = [event["rows"] for event in seen if event["event"] == "learned"]
    assert learned == [int((log["day"] <= 9).sum())] * 2


def test_a_schema_stands_alone(parts):
    with pytest.raises(ct.CrosstieError, match="a schema says it all; tasks cannot stand beside it"):
        ct.Model(schema=SCHEMA, tasks=["click"]).fit(*parts)


def test_a_schema_may_be_a_file(parts, tmp_path):
    (tmp_path / "schema.toml").write_text(SCHEMA)
    for schema in (tmp_path / "schema.toml", str(tmp_path / "schema.toml")):
        assert ct.Model("shared-bottom", schema=schema, epochs=1).fit(*parts).history
    with pytest.raises(ct.CrosstieError, match="nowhere.toml"):
        ct.Model(schema="nowhere.toml").fit(*parts)


def test_history_is_a_table(model):
    frame = pd.DataFrame(model.history)
    assert {"epoch", "step", "figure", "best", "click.loss", "buy.auc", "buy.from_impression.logloss"} <= set(frame)
    assert frame["step"].is_monotonic_increasing and frame["best"].any()


def test_an_evaluation_is_read_by_the_names_of_figures(model, log):
    evaluation = model.evaluate(log)
    both = [evaluation.figure(f"{task}.from_impression.auc") for task in ("click", "buy")]
    assert all(0.5 < auc < 1 for auc in both)
    assert evaluation.figure("from_impression.auc") == pytest.approx(sum(both) / 2)
    assert model.score(log) == pytest.approx(sum(both) / 2)
    assert evaluation["tasks"]["buy"]["given_parent"]["rows"] == int(log["click"].sum())
    assert {"0", "1"} <= set(evaluation["scenarios"])
    frame = pd.DataFrame(evaluation.table(scenarios=True))
    assert len(frame) == (1 + len(evaluation["scenarios"])) * 2 * 2 and {"0", "1"} <= set(frame["scenario"].dropna())
    assert repr(evaluation).splitlines()[0].split()[:3] == ["task", "meaning", "rows"]
    assert "<td>buy</td>" in evaluation._repr_html_()
    with pytest.raises(ct.CrosstieError, match="there is no figure `buy.acu`"):
        evaluation.figure("buy.acu")


def test_models_are_held_against_the_first(model, parts, log):
    again = new_model(seed=2).fit(*parts)
    blind = new_model("shared-bottom", epochs=1, dense__learning_rate=1e-6, rows__learning_rate=0.0).fit(*parts)
    found = ct.compare({"blind": blind, "mmoe": [model, again]}, log)
    for task in ("click", "buy"):
        tasks = {name: of[task] for name, of in found["models"].items()}
        name = f"{task}.from_impression.auc"
        mean = (model.evaluate(log).figure(name) + again.evaluate(log).figure(name)) / 2
        assert tasks["blind"]["auc"]["figure"] == pytest.approx(blind.evaluate(log).figure(name))
        assert tasks["mmoe"]["auc"]["figure"] == pytest.approx(mean)
        assert tasks["mmoe"]["auc"]["difference"] == pytest.approx(mean - tasks["blind"]["auc"]["figure"])
        assert 0 < tasks["mmoe"]["auc"]["difference_error"] < 0.1 and tasks["blind"]["auc"]["difference"] is None
    frame = pd.DataFrame(found.table())
    assert list(frame["model"]) == ["blind", "mmoe"] * 2 and frame["auc_p"].notna().sum() == 2
    assert repr(found).splitlines()[0].split() == ["task", "model", "auc", "difference", "ne", "difference", "pcoc"]
    assert "±" in repr(found) and "<td>mmoe</td>" in found._repr_html_()
    given = ct.compare({"a": model, "b": again}, log, given_parent=True)
    assert given["models"]["a"]["buy"]["rows"] == int(log["click"].sum()) and given["meaning"] == "given_parent"
    # A model for which another column is the purchase.
    odd = [{**part, "odd": part["click"] * (np.arange(len(part["day"])) % 2)} for part in (*parts, log)]
    schema = SCHEMA.replace('name = "buy"', 'name = "buy"\nlabel = "odd"')
    other = ct.Model("shared-bottom", schema=schema, epochs=1).fit(*odd[:2])
    with pytest.raises(ct.CrosstieError, match="read the rows otherwise: for `buy` the label or the weight of row"):
        ct.compare({"a": model, "b": other}, odd[2])
    for wrong in ({}, {"a": []}):
        with pytest.raises(ct.CrosstieError, match="no model"):
            ct.compare(wrong, log)


def test_figures_are_those_of_scikit_learn(model, log):
    from sklearn.metrics import log_loss, roc_auc_score

    scores, evaluation = model.predict(log), model.evaluate(log)
    assert evaluation.figure("buy.from_impression.auc") == pytest.approx(roc_auc_score(log["buy"], scores["joint_buy"]))
    clicked = log["click"] == 1
    assert evaluation.figure("buy.logloss") == pytest.approx(log_loss(log["buy"][clicked], scores["p_buy"][clicked]), rel=1e-6)


def test_what_is_not_identified_is_nan_or_null(parts, log):
    import polars as pl

    model = ct.Model("esmm", schema=SCHEMA.replace('after = "click"', 'after = "click"\ndirect = true'), epochs=1)
    with pytest.warns(ct.CrosstieWarning, match="buy"):
        model.fit(*parts)
    rows = some(log, slice(0, 20))
    with pytest.warns(ct.CrosstieWarning, match="it is left empty"):
        scores = model.predict(rows)
        assert np.isnan(scores["p_buy"]).all() and np.isfinite(scores["joint_buy"]).all()
        assert model.predict(pl.DataFrame(rows))["p_buy"].is_null().all()


def test_a_saved_model_is_loaded_to_the_bit(model, log, tmp_path):
    model.save(tmp_path / "artifact")
    loaded = ct.load(tmp_path / "artifact")
    np.testing.assert_array_equal(loaded.predict(log)["joint_buy"], model.predict(log)["joint_buy"])
    assert loaded.schema_ == model.schema_ and loaded.config_ == model.config_
    assert loaded.name == "mmoe" and loaded.history == []
    with pytest.raises(ct.CrosstieError, match="overwrite=True"):
        model.save(tmp_path / "artifact")
    model.save(tmp_path / "artifact", overwrite=True)
    (tmp_path / "artifact" / "dense.safetensors").write_bytes(b"")
    with pytest.raises(ct.CrosstieError, match="dense.safetensors"):
        ct.load(tmp_path / "artifact")


def test_a_loaded_model_trains_again_with_what_it_is(model, parts, log, tmp_path):
    model.save(tmp_path / "artifact")
    again = ct.load(tmp_path / "artifact").set_params(epochs=2).fit(*parts)
    np.testing.assert_array_equal(again.predict(log)["joint_buy"], model.predict(log)["joint_buy"])


def test_a_pickled_model_is_the_same(model, log):
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(log)["joint_buy"], model.predict(log)["joint_buy"])
    assert again.history == model.history and again.get_params() == model.get_params()
    assert copy.deepcopy(new_model()).get_params() == new_model().get_params()


def test_an_untrained_model_says_so(log):
    for asked in (lambda model: model.predict(log), lambda model: model.history, lambda model: model.explain()):
        with pytest.raises(ct.CrosstieError, match="not trained yet"):
            asked(new_model())


def test_explain_tells_what_was_learned(model):
    told = model.explain()
    json.dumps(told)
    assert told["model"] == "mmoe" and told["tasks"] == ["click", "buy"]


def test_a_report_is_a_page_of_its_own(model, log, tmp_path):
    page = model.report(log)
    page.save(tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text()
    assert html == page.html and f"{len(log['click']):,} rows of the given rows" in html.replace("\u202f", ",")
    assert "Learning" in html and "<script" not in html and "http" not in html.replace("http://www.w3.org", "")
    assert page._repr_html_().startswith("<iframe") and "<html" not in page._repr_html_()
    model.save(tmp_path / "artifact")
    assert "Learning curves: this model was loaded." in ct.load(tmp_path / "artifact").report(log).html


def test_a_model_is_written_as_it_is_made():
    assert repr(ct.Model("ektm", scenario="tab", epochs=3)) == "Model('ektm', scenario='tab', epochs=3)"
    assert repr(ct.Model()) == "Model('mmoe')"


def test_onnxruntime_scores_alike(model, log, tmp_path):
    import onnx
    import onnxruntime

    model.export_onnx(tmp_path / "onnx", inputs="raw")
    onnx.checker.check_model(tmp_path / "onnx" / "model.onnx", full_check=True)
    about = json.loads((tmp_path / "onnx" / "model.json").read_text())
    rows = some(log, slice(0, 500))
    feeds = {}
    for one in about["inputs"]:
        values = rows[one["column"]]
        feeds[one["name"]] = values.astype(float) if one["type"] == "float64" else np.array([str(value) for value in values], dtype=object)
    session = onnxruntime.InferenceSession(tmp_path / "onnx" / "model.onnx")
    (found,) = session.run(["buy.from_impression"], feeds)
    wanted = model.predict(rows)["joint_buy"]
    np.testing.assert_allclose(np.log(found / (1 - found)), np.log(wanted / (1 - wanted)), atol=1e-4)
