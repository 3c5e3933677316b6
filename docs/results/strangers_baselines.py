"""LightGBM and logistic regression, a model per label, on the logs of strangers_logs.py: `baselines` of strangers.py.

Everything is chosen by the log-loss on the validation rows. Of a task after another the product is predicted: both
happened. Needs numpy, pandas, pyarrow, scikit-learn and LightGBM.
"""
import json, tomllib, warnings
import lightgbm
import numpy as np
import pandas as pd
from scipy import sparse
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder

FEW = 200  # A column of more values than this is one of ids: LightGBM may take it in several ways.
WAYS = ["native", "rates", "without"]
TREES = dict(objective="binary", num_threads=1, deterministic=True, force_row_wise=True, seed=7, verbosity=-1, min_data_in_leaf=20)
GRID = [(rate, leaves) for rate in (0.03, 0.1) for leaves in (7, 31, 127)]


def figures(label, score):
    """AUC with its standard error (Hanley and McNeil 1982), predicted over observed, log-loss."""
    positives, rows = int(label.sum()), len(label)
    negatives = rows - positives
    auc = (rankdata(score)[label == 1].sum() - positives * (positives + 1) / 2) / (positives * negatives)
    one, two = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    error = np.sqrt((auc * (1 - auc) + (positives - 1) * (one - auc**2) + (negatives - 1) * (two - auc**2)) / (positives * negatives))
    score = np.clip(score, 1e-7, 1 - 1e-7)
    loss = -np.mean(label * np.log(score) + (1 - label) * np.log(1 - score))
    return {"rows": rows, "positives": positives, "auc": float(auc), "se": float(error), "pcoc": float(score.sum() / positives), "logloss": float(loss)}


class Data:
    def __init__(self, where, parts):
        self.schema = tomllib.loads((where / "schema.toml").read_text())
        self.frames = {part: pd.read_parquet(where / f"{part}.parquet") for part in parts}
        kinds = {kind: [field["name"] for field in self.schema["field"] if field["kind"] == kind] for kind in ("categorical", "multi", "numeric")}
        self.numeric, self.multi = kinds["numeric"], kinds["multi"]
        texts = {part: frame[kinds["categorical"]].astype(object).where(lambda cells: cells.notna(), "missing").astype(str) for part, frame in self.frames.items()}
        distinct = texts["train"].nunique()
        self.ids = [name for name in kinds["categorical"] if distinct[name] > FEW]
        self.few = [name for name in kinds["categorical"] if distinct[name] <= FEW]
        self.texts = texts
        self.lists = {part: {name: self.listed(frame[name]) for name in self.multi} for part, frame in self.frames.items()}

    @staticmethod
    def listed(column):
        return [[] if cell is None or cell is np.nan else cell.split(",") if isinstance(cell, str) else [str(one) for one in np.atleast_1d(cell)] for cell in column]

    def label(self, task, part):
        """Whether the task and all it comes after happened; NaN where that is not known."""
        about = {one["name"]: one for one in self.schema["task"]}
        found = self.frames[part][about[task].get("label", task)].to_numpy(dtype=float)
        while "after" in about[task] and not about[task].get("direct"):
            task = about[task]["after"]
            found = found * self.frames[part][about[task].get("label", task)].to_numpy(dtype=float)
        return found

    def many_hot(self, part, least):
        """A column per value that is in at least so many training rows."""
        blocks = []
        for name in self.multi:
            counts = pd.Series([value for cell in self.lists["train"][name] for value in set(cell)]).value_counts()
            known = {value: index for index, value in enumerate(sorted(counts.index[counts >= least]))}
            at = [(row, known[value]) for row, cell in enumerate(self.lists[part][name]) for value in set(cell) if value in known]
            rows, columns = zip(*at) if at else ((), ())
            blocks.append(sparse.csr_matrix((np.ones(len(at)), (rows, columns)), (len(self.frames[part]), len(known))))
        return sparse.hstack(blocks).tocsr() if blocks else None

    def rates(self, name, task):
        """A value's smoothed rate of the task and its rows: of training rows out of fold, rows of a group in one fold."""
        text, label = self.texts["train"][name], pd.Series(self.label(task, "train"), self.texts["train"].index)
        group = self.schema.get("group")
        unit = pd.factorize(self.frames["train"][group])[0] if group and group != name else np.arange(len(text))
        fold = np.random.default_rng(7).integers(0, 5, unit.max() + 1)[unit]
        mean, found = label.mean(), {}

        def table(kept):
            sums = label[kept].groupby(text[kept]).agg(["sum", "count"])
            return (sums["sum"] + 20 * mean) / (sums["count"] + 20), sums["count"] / kept.mean()

        inside = np.full((len(text), 2), np.nan)
        for one in range(5):
            rate, count = table(fold != one)
            here = fold == one
            inside[here] = np.column_stack([text[here].map(rate).fillna(mean), np.log1p(text[here].map(count).fillna(0))])
        rate, count = table(np.ones(len(text), bool))
        for part, texts in self.texts.items():
            found[part] = inside if part == "train" else np.column_stack([texts[name].map(rate).fillna(mean), np.log1p(texts[name].map(count).fillna(0))])
        return found

    def trees(self, task, way):
        """For LightGBM: numbers as they are, categories as categories, values of lists as flags, ids in one of WAYS."""
        native = self.few + (self.ids if way == "native" else [])
        blocks = {part: [frame[self.numeric].to_numpy(dtype=float)] for part, frame in self.frames.items()}
        for name in native:
            counts = self.texts["train"][name].value_counts()
            known = {value: code for code, value in enumerate(counts.index[counts >= (20 if name in self.ids else 1)], 1)}
            for part in blocks:
                blocks[part].append(self.texts[part][name].map(known).fillna(0).to_numpy()[:, None])
        if way == "rates":
            for name in self.ids:
                for part, columns in self.rates(name, task).items():
                    blocks[part].append(columns)
        if self.multi:
            for part in blocks:
                blocks[part].append(self.many_hot(part, 50).toarray())
        return {part: np.hstack(columns) for part, columns in blocks.items()}, list(range(len(self.numeric), len(self.numeric) + len(native)))

    def one_hot(self, binned):
        """For logistic regression: a column per value with 20 training rows, rarer ones together; numbers standardised
        with a flag where they are missing, or binned too."""
        blocks = {part: [] for part in self.frames}
        if self.few + self.ids:
            encoder = OneHotEncoder(min_frequency=20, handle_unknown="infrequent_if_exist").fit(self.texts["train"][self.few + self.ids])
            for part in blocks:
                blocks[part].append(encoder.transform(self.texts[part][self.few + self.ids]))
        if self.numeric:
            numbers = {part: frame[self.numeric].to_numpy(dtype=float) for part, frame in self.frames.items()}
            mean, spread = np.nanmean(numbers["train"], 0), np.nanstd(numbers["train"], 0)
            bins = KBinsDiscretizer(20, encode="onehot", quantile_method="averaged_inverted_cdf").fit(np.where(np.isnan(numbers["train"]), mean, numbers["train"]))
            for part, values in numbers.items():
                filled = np.where(np.isnan(values), mean, values)
                blocks[part] += [sparse.csr_matrix((filled - mean) / np.maximum(spread, 1e-9)), sparse.csr_matrix(np.isnan(values).astype(float))]
                if binned:
                    blocks[part].append(bins.transform(filled))
        if self.multi:
            for part in blocks:
                blocks[part].append(self.many_hot(part, 10))
        return {part: sparse.hstack(columns).tocsr() for part, columns in blocks.items()}


def grown(data, task, way, rate, leaves):
    features, categories = data.trees(task, way)
    label = {part: data.label(task, part) for part in features}
    known = {part: ~np.isnan(values) for part, values in label.items()}
    sets = {part: lightgbm.Dataset(features[part][known[part]], label[part][known[part]], categorical_feature=categories, free_raw_data=False) for part in ("train", "valid")}
    sets["valid"].reference = sets["train"]
    stop = lightgbm.early_stopping(50, verbose=False)
    model = lightgbm.train({**TREES, "learning_rate": rate, "num_leaves": leaves}, sets["train"], 2000, [sets["valid"]], callbacks=[stop])
    return {part: figures(label[part][known[part]], model.predict(values[known[part]])) for part, values in features.items() if part != "train"}, model.best_iteration


def lightgbm_of(data, task, chosen=None):
    """Ids' way first, then learning rate and leaves."""
    if chosen:
        return {**grown(data, task, *chosen["settings"])[0], **chosen}
    tried = {}

    def attempt(*settings):
        if settings not in tried:
            found, rounds = grown(data, task, *settings)
            tried[settings] = {**found, "settings": settings, "rounds": rounds}
        return tried[settings]["valid"]["logloss"]

    way = min(WAYS if data.ids else ["native"], key=lambda way: attempt(way, 0.1, 31))
    best = min(GRID, key=lambda pair: attempt(way, *pair))
    return tried[way, *best]


def logistic(data, task, chosen=None, made={}):
    best = None
    for binned, strength in [chosen["settings"]] if chosen else [(binned, strength) for binned in (False, True) for strength in (0.003, 0.03, 0.3, 3.0)]:
        if (id(data), binned) not in made:
            made.clear() if len(made) > 1 else None
            made[id(data), binned] = data.one_hot(binned)
        features = made[id(data), binned]
        label = {part: data.label(task, part) for part in features}
        known = {part: ~np.isnan(values) for part, values in label.items()}
        model = LogisticRegression(C=strength, max_iter=300).fit(features["train"][known["train"]], label["train"][known["train"]])
        found = {part: figures(label[part][known[part]], model.predict_proba(values[known[part]])[:, 1]) for part, values in features.items() if part != "train"}
        if best is None or found["valid"]["logloss"] < best["valid"]["logloss"]:
            best = {**found, "settings": (binned, strength)}
    return best


def baselines(logs, part, wanted=()):
    """Writes baselines-valid.json, or, with the settings found there, baselines-test.json."""
    warnings.filterwarnings("ignore")
    for where in sorted(logs / log for log in wanted) if wanted else sorted(path.parent for path in logs.glob("*/train.parquet")):
        target = where / f"baselines-{part}.json"
        if target.exists():
            continue
        known = json.loads((where / "baselines-valid.json").read_text()) if part == "test" else {}
        data = Data(where, ["train", "valid"] + (["test"] if part == "test" else []))
        found = {"lightgbm": {}, "logistic regression": {}, "best possible": {}}
        for task in [task["name"] for task in data.schema["task"]]:
            for name, fit in [("lightgbm", lightgbm_of), ("logistic regression", logistic)]:
                made = fit(data, task, known.get(name, {}).get(task))
                found[name][task] = {**made[part], **{key: made[key] for key in ("settings", "rounds") if key in made}}
            if f"true_joint_{task}" in data.frames[part]:
                found["best possible"][task] = figures(data.label(task, part), data.frames[part][f"true_joint_{task}"].to_numpy(dtype=float))
            told = ", ".join(f"{name} {tasks[task]['auc']:.4f} (PCOC {tasks[task]['pcoc']:.2f}, {tasks[task].get('settings', '')})" for name, tasks in found.items() if task in tasks)
            print(f"{where.name} {task}, {found['lightgbm'][task]['positives']} positives: {told}", flush=True)
        target.write_text(json.dumps(found, indent=1) + "\n")
