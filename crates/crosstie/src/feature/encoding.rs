//! How fields are encoded, for those who encode rows elsewhere.

use super::rate::Rates;
use super::{Encoder, Features, Lookup, Number, column_of, key};
use crate::schema::Field;

/// How the cells of one field become ids and numbers.
pub(crate) struct FieldEncoding<'a> {
    pub field: &'a Field,
    /// The column that it reads; of rates alone the first key.
    pub column: &'a str,
    /// What finds its row of a table.
    pub ids: Option<IdEncoding<'a>>,
    /// How the number itself enters.
    pub number: Option<Number>,
    /// The rates of its key.
    pub rates: Option<RateEncoding<'a>>,
}

/// How values find their row of a table.
pub(crate) struct IdEncoding<'a> {
    /// Index into the layout's tables.
    pub table: usize,
    /// What parts several values in a cell of text; `None` where there is one value.
    pub separator: Option<&'a str>,
    pub finder: Finder<'a>,
}

pub(crate) enum Finder<'a> {
    /// Known values, of which the features tell the rows.
    Vocabulary { values: usize },
    /// A hash modulo so many.
    Hash { buckets: u32 },
    /// How many cut points a number reaches.
    Cuts(&'a [f64]),
}

/// The columns of keys.
pub(crate) struct RateEncoding<'a> {
    /// Columns whose cells together are the key.
    pub key: Vec<String>,
    rates: &'a Rates,
}

impl<'a> RateEncoding<'a> {
    /// Number of columns.
    pub fn width(&self) -> usize {
        self.rates.width()
    }

    /// Whether the last column is ln(1 + rows).
    pub fn count(&self) -> bool {
        self.rates.smoothing.count()
    }

    /// The cells of every key; `None` for a missing one.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = Vec<Option<&'a str>>> + use<'a> {
        let keys = &self.rates.keys;
        (0..keys.len() as u32).map(|number| key::parts(keys.token(number)))
    }

    /// The columns of every key, and last those of a key never seen.
    pub fn values(&self) -> &'a [f32] {
        self.rates.values()
    }
}

pub(super) fn encodings(features: &Features) -> impl Iterator<Item = FieldEncoding<'_>> {
    features.schema.fields.iter().zip(&features.encoders).map(|(field, encoder)| {
        let ids = |table: &usize, separator| {
            let finder = match &features.tables[*table] {
                Lookup::Vocabulary(known) => Finder::Vocabulary { values: known.tokens.len() },
                Lookup::Hashed { buckets } => Finder::Hash { buckets: *buckets },
                Lookup::Quantile { cuts } => Finder::Cuts(cuts),
            };
            Some(IdEncoding { table: *table, separator, finder })
        };
        let rate = field.rate();
        let key = rate.map(|rate| rate.key.clone()).unwrap_or_default();
        let rates = |rates| Some(RateEncoding { key: key.clone(), rates });
        let (ids, number, rates) = match encoder {
            Encoder::Token { table, rates: beside } => (ids(table, None), None, beside.as_deref().and_then(rates)),
            Encoder::Tokens { table, separator } => (ids(table, Some(separator.as_str())), None, None),
            Encoder::Bucket { table } => (ids(table, None), None, None),
            Encoder::Number(number) => (None, Some(*number), None),
            Encoder::Binned { table, number } => (ids(table, None), Some(*number), None),
            Encoder::Rates(own) => (None, None, rates(own)),
        };
        FieldEncoding { field, column: column_of(field), ids, number, rates }
    })
}
