//! A field as it stands in `schema.toml`: flat keys, of which each kind allows
//! some.

use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::one_or_many::{self, OneOrMany};
use super::{
    Buckets, Categorical, DEFAULT_FOLDS, Encoding, Field, FieldKind, Multi, Pooling, Rate, Role, Side, Transform,
    WIDEST,
};
use crate::spelling;

/// A field as written: flat keys, of which each kind allows some.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawField {
    /// Name in configs, artifacts and reports; also the column, unless `column` says
    /// otherwise.
    name: String,
    /// Column of the data; the field's name if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    column: Option<String>,
    /// What kind of feature it is.
    kind: Option<String>,
    /// Who or what it describes. Models that tell the sides apart use it, and scoring
    /// computes once what rows of one user have in common.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(extend("default" = Side::default()))]
    side: Side,
    /// How it enters a model.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(extend("default" = Role::default()))]
    role: Role,
    /// Values that so many training rows have get a row of their own in the table; all
    /// others share the row of the unknown. If absent, what another field of the same
    /// `table` says, else 10, or 3 where all fields of the table are multi fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    min_count: Option<u64>,
    /// Of a categorical or multi field: rows of the table that values are hashed to, in
    /// place of a vocabulary; values that meet in one share it. Of a numeric field: about so
    /// many buckets of its numbers; up to four times as many where each different number
    /// then has one of its own. If absent, one for every 250 training rows, at least 4 and
    /// at most 16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    buckets: Option<u32>,
    /// Numbers in the vector of a value; the schema's `width` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    width: Option<usize>,
    /// Fields that name the same table share one, as the video shown and the video seen
    /// before do; the field has its own if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    table: Option<String>,
    /// Whether the values' rates, as a `rate` field with this column as its key has
    /// them, stand beside the vector of the value. If absent, they do where the column of a
    /// vocabulary has 50 to 2,000,000 different values. Of a numeric field with buckets they are of each
    /// exact number, unless a field has them already; if absent, they do where the number is mostly one, as an
    /// amount that is mostly 0: in the first 16,384 training rows more than half are one number, the others
    /// have two rows each in the mean, and there are at least 20 different ones and more than buckets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rates: Option<bool>,
    /// What stands between the values in a text cell, as in `red|blue`. List columns need
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    separator: Option<String>,
    /// How the vectors of a cell's values become one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pooling: Option<Pooling>,
    /// What is done to a number before the model sees it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    transform: Option<String>,
    /// Columns whose values together are the key that rates are counted for; the column of
    /// the field's own name if absent.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "one_or_many::some")]
    #[schemars(with = "Option<OneOrMany>")]
    key: Option<Vec<String>>,
    /// How strongly a key with few rows is pulled towards the mean of all, in rows. If
    /// absent it is estimated, for each task, from how well the folds of a key agree;
    /// keys that differ by no more than chance then all have the mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    smoothing: Option<f64>,
    /// Whether ln(1 + rows) of the key, how often it was seen, stands beside its rates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    count: Option<bool>,
    /// A training row's rate is counted on the rows of the other folds, so that it does
    /// not see the row's own label; of a key whose rows are so many that one label weighs
    /// nothing, on all. Not beside `time`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    folds: Option<u32>,
    /// Column with the time, a number or a timestamp: a training row's rate is then counted
    /// on strictly earlier rows, and there are no folds. Scoring does not read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    time: Option<String>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Values seen once or twice in training teach nothing but themselves.
const DEFAULT_MIN_COUNT: u64 = 10;
/// Of several values in a cell each is one of many that say something of the row; so a rare
/// one, a word of a text, is not learned by heart as a rare id is.
const DEFAULT_MIN_COUNT_OF_SEVERAL: u64 = 3;
pub(super) const KINDS: [&str; 4] = ["categorical", "numeric", "multi", "rate"];
pub(super) const TRANSFORMS: [&str; 5] = ["binned", "none", "standard", "log1p", "quantile"];

/// The fields of a schema, those of one table with one `min_count`.
pub(super) fn fields<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Field>, D::Error> {
    let mut fields = Vec::<RawField>::deserialize(deserializer)?;
    let settled: Vec<u64> = fields.iter().map(|field| field.settled_min_count(&fields)).collect();
    for (field, min_count) in fields.iter_mut().zip(settled).filter(|(field, _)| field.is_of_a_vocabulary()) {
        field.min_count = Some(min_count);
    }
    fields.into_iter().map(|field| Field::try_from(field).map_err(D::Error::custom)).collect()
}

impl RawField {
    fn is(&self, kind: &str) -> bool {
        self.kind.as_deref() == Some(kind)
    }

    fn is_of_a_vocabulary(&self) -> bool {
        (self.is("categorical") || self.is("multi")) && self.buckets.is_none()
    }

    /// What it names; else what goes for its table among all `fields`.
    fn settled_min_count(&self, fields: &[RawField]) -> u64 {
        let alone = self.table.is_none();
        let others = fields.iter().filter(|field| !alone && field.table == self.table && field.is_of_a_vocabulary());
        let of_table = || std::iter::once(self).chain(others.clone());
        let several = of_table().all(|field| field.is("multi"));
        let default = if several { DEFAULT_MIN_COUNT_OF_SEVERAL } else { DEFAULT_MIN_COUNT };
        of_table().find_map(|field| field.min_count).unwrap_or(default)
    }

    fn refuse_all_but(&self, kind: &str, allowed: &[&str]) -> Result<(), String> {
        let given = [
            ("column", self.column.is_some()),
            ("min_count", self.min_count.is_some()),
            ("buckets", self.buckets.is_some()),
            ("width", self.width.is_some()),
            ("table", self.table.is_some()),
            ("rates", self.rates.is_some()),
            ("separator", self.separator.is_some()),
            ("pooling", self.pooling.is_some()),
            ("transform", self.transform.is_some()),
            ("key", self.key.is_some()),
            ("smoothing", self.smoothing.is_some()),
            ("count", self.count.is_some()),
            ("folds", self.folds.is_some()),
            ("time", self.time.is_some()),
        ];
        match given.iter().find(|(key, given)| *given && !allowed.contains(key)) {
            Some((key, _)) => Err(format!(
                "field `{}`: `{key}` has no meaning for {kind}, which allows: {}",
                self.name,
                allowed.join(", ")
            )),
            None => Ok(()),
        }
    }

    fn categorical(&self) -> Result<Categorical, String> {
        let encoding = match (self.min_count, self.buckets) {
            (Some(_), Some(_)) => {
                return Err(format!(
                    "field `{}`: `min_count` makes a vocabulary and `buckets` hashes; choose one",
                    self.name
                ));
            }
            (_, Some(0)) => return Err(format!("field `{}`: `buckets` must be at least 1", self.name)),
            (_, Some(buckets)) => Encoding::Hashed { buckets },
            (_, None) => Encoding::Vocabulary { min_count: self.settled_min_count(&[]).max(1) },
        };
        Ok(Categorical { encoding, width: self.width, table: self.table.clone(), rates: self.rates })
    }
}

impl TryFrom<RawField> for Field {
    type Error = String;

    fn try_from(raw: RawField) -> Result<Field, String> {
        let name = &raw.name;
        let Some(kind) = raw.kind.as_deref() else {
            return Err(format!("field `{name}` needs a `kind`: {}", KINDS.join(", ")));
        };
        if let Some(width) = raw.width.filter(|width| !(1..=WIDEST).contains(width)) {
            return Err(format!("field `{name}`: `width` must be from 1 to {WIDEST}, found {width}"));
        }
        let kind = match kind {
            "categorical" => {
                raw.refuse_all_but(
                    "a categorical field",
                    &["column", "min_count", "buckets", "width", "table", "rates"],
                )?;
                FieldKind::Categorical(raw.categorical()?)
            }
            "multi" => {
                raw.refuse_all_but(
                    "a multi field",
                    &["column", "min_count", "buckets", "width", "table", "separator", "pooling"],
                )?;
                let separator = raw.separator.clone().unwrap_or_else(|| ",".into());
                if separator.is_empty() {
                    return Err(format!("field `{name}`: `separator` must not be empty"));
                }
                FieldKind::Multi(Multi {
                    categorical: raw.categorical()?,
                    separator,
                    pooling: raw.pooling.unwrap_or_default(),
                })
            }
            "numeric" => {
                let transform = raw.transform.as_deref().unwrap_or("binned");
                let allowed: &[&str] = match transform {
                    "quantile" | "binned" => &["column", "transform", "buckets", "width", "rates"],
                    _ => &["column", "transform"],
                };
                raw.refuse_all_but(&format!("a numeric field with transform {transform}"), allowed)?;
                let buckets = || match raw.buckets {
                    Some(few @ ..2) => Err(format!("field `{name}`: {few} `buckets` are too few, at least 2")),
                    buckets => Ok(Buckets { buckets, width: raw.width, rates: raw.rates }),
                };
                FieldKind::Numeric(match transform {
                    "none" => Transform::None,
                    "standard" => Transform::Standard,
                    "log1p" => Transform::Log1p,
                    "quantile" => Transform::Quantile(buckets()?),
                    "binned" => Transform::Binned(buckets()?),
                    other => {
                        return Err(format!(
                            "field `{name}`: unknown transform `{other}`{}",
                            spelling::hint(other, TRANSFORMS)
                        ));
                    }
                })
            }
            "rate" => {
                raw.refuse_all_but("a rate field", &["key", "smoothing", "count", "folds", "time"])?;
                let key = raw.key.clone().unwrap_or_else(|| vec![name.clone()]);
                let folds = raw.folds.unwrap_or(DEFAULT_FOLDS);
                if key.is_empty() {
                    return Err(format!("field `{name}`: `key` must name at least one column"));
                }
                if let Some((_, twice)) = key.iter().enumerate().find(|(index, part)| key[..*index].contains(part)) {
                    return Err(format!("field `{name}`: `key` names `{twice}` twice"));
                }
                if let Some(smoothing) = raw.smoothing.filter(|smoothing| smoothing.is_nan() || *smoothing <= 0.0) {
                    return Err(format!("field `{name}`: `smoothing` must be above 0, found {smoothing}"));
                }
                if folds < 2 {
                    return Err(format!("field `{name}`: `folds` must be at least 2, found {folds}"));
                }
                if raw.time.is_some() && raw.folds.is_some() {
                    return Err(format!("field `{name}`: `folds` and `time` exclude each other; choose one"));
                }
                let (smoothing, count) = (raw.smoothing, raw.count.unwrap_or(false));
                FieldKind::Rate(Rate { key, smoothing, count, folds, time: raw.time.clone() })
            }
            other => {
                return Err(format!("field `{name}`: unknown kind `{other}`{}", spelling::hint(other, KINDS)));
            }
        };
        Ok(Field { name: raw.name, column: raw.column, side: raw.side, role: raw.role, kind })
    }
}

impl From<Field> for RawField {
    fn from(field: Field) -> RawField {
        let mut raw = RawField {
            name: field.name,
            column: field.column,
            side: field.side,
            role: field.role,
            ..RawField::default()
        };
        let categorical = |raw: &mut RawField, categorical: Categorical| {
            match categorical.encoding {
                Encoding::Vocabulary { min_count } => raw.min_count = Some(min_count),
                Encoding::Hashed { buckets } => raw.buckets = Some(buckets),
            }
            raw.width = categorical.width;
            raw.table = categorical.table;
            raw.rates = categorical.rates;
        };
        let kind = match field.kind {
            FieldKind::Categorical(kind) => {
                categorical(&mut raw, kind);
                "categorical"
            }
            FieldKind::Multi(multi) => {
                categorical(&mut raw, multi.categorical);
                raw.separator = Some(multi.separator);
                raw.pooling = Some(multi.pooling);
                "multi"
            }
            FieldKind::Numeric(transform) => {
                let (name, buckets) = match transform {
                    Transform::None => ("none", None),
                    Transform::Standard => ("standard", None),
                    Transform::Log1p => ("log1p", None),
                    Transform::Quantile(buckets) => ("quantile", Some(buckets)),
                    Transform::Binned(buckets) => ("binned", Some(buckets)),
                };
                raw.transform = Some(name.into());
                raw.width = buckets.as_ref().and_then(|buckets| buckets.width);
                raw.rates = buckets.as_ref().and_then(|buckets| buckets.rates);
                raw.buckets = buckets.and_then(|buckets| buckets.buckets);
                "numeric"
            }
            FieldKind::Rate(rate) => {
                raw.key = Some(rate.key);
                raw.smoothing = rate.smoothing;
                raw.count = Some(rate.count);
                raw.folds = rate.time.is_none().then_some(rate.folds);
                raw.time = rate.time;
                "rate"
            }
        };
        raw.kind = Some(kind.into());
        raw
    }
}
