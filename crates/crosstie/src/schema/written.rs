//! A field as it stands in `schema.toml`: flat keys, of which each kind allows
//! some.

use serde::{Deserialize, Serialize};

use super::{
    Buckets, Categorical, DEFAULT_FOLDS, Encoding, Field, FieldKind, Multi, Pooling, Rate, Role, Side, Transform,
    WIDEST,
};
use crate::spelling;

/// A field as written: flat keys, of which each kind allows some.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawField {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    column: Option<String>,
    kind: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    side: Side,
    #[serde(default, skip_serializing_if = "is_default")]
    role: Role,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    min_count: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    buckets: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    width: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    table: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rates: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    separator: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pooling: Option<Pooling>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    transform: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    smoothing: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    count: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    folds: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    time: Option<String>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Values seen once or twice in training teach nothing but themselves.
const DEFAULT_MIN_COUNT: u64 = 10;
const KINDS: [&str; 4] = ["categorical", "numeric", "multi", "rate"];
const TRANSFORMS: [&str; 5] = ["binned", "none", "standard", "log1p", "quantile"];
const DEFAULT_BUCKETS: u32 = 64;

impl RawField {
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
            (min_count, None) => Encoding::Vocabulary { min_count: min_count.unwrap_or(DEFAULT_MIN_COUNT).max(1) },
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
                    "quantile" | "binned" => &["column", "transform", "buckets", "width"],
                    _ => &["column", "transform"],
                };
                raw.refuse_all_but(&format!("a numeric field with transform {transform}"), allowed)?;
                let buckets = || match raw.buckets.unwrap_or(DEFAULT_BUCKETS) {
                    buckets @ 2.. => Ok(Buckets { buckets, width: raw.width }),
                    few => Err(format!("field `{name}`: {few} `buckets` are too few, at least 2")),
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
                raw.buckets = buckets.map(|buckets| buckets.buckets);
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
