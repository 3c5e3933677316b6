//! From the JSON of a request to the columns that a model reads, without a tree
//! of values in between.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use crosstie::arrow::array::{ArrayRef, DictionaryArray, RecordBatch, RecordBatchOptions};
use crosstie::arrow::datatypes::{Field, Int32Type, Schema};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::Request;
use super::cell::{Cell, Cells};
use super::id::Id;
use crate::failure::Failure;
use crate::object;
use crate::repository::{Input, Kind};

/// The key under which a candidate says what it is called.
const ID: &str = "id";
/// Different names that no field has, of which the answer tells.
const STRANGERS: usize = 20;

/// The columns that a model reads.
#[derive(Debug)]
pub struct Plan<'a> {
    inputs: &'a [Input],
    places: HashMap<&'a str, usize>,
    /// The column that has the name of a candidate's name.
    id: Option<usize>,
}

impl<'a> Plan<'a> {
    /// Of a model's inputs.
    pub fn new(inputs: &'a [Input]) -> Plan<'a> {
        let places: HashMap<_, _> =
            inputs.iter().enumerate().map(|(place, input)| (input.name.as_str(), place)).collect();
        let id = places.get(ID).copied();
        Plan { inputs, places, id }
    }

    /// Number of columns.
    pub fn len(&self) -> usize {
        self.inputs.len()
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &'a str> {
        self.inputs.iter().map(|input| input.name.as_str())
    }

    /// Where a column stands.
    pub fn place(&self, name: &str) -> Option<usize> {
        self.places.get(name).copied()
    }
}

/// The candidates of one request as rows.
#[derive(Debug)]
pub struct Candidates {
    /// The columns of the plan, and those that the formula asked for besides.
    pub arrays: Vec<ArrayRef>,
    /// Who gives each column; `None` if nobody does.
    pub givers: Vec<Option<Giver>>,
    /// What candidates are called, if they are.
    pub ids: Vec<Option<Id>>,
    /// Per column, the candidates that do not have it though candidates give it.
    pub absent: Vec<usize>,
    /// Names that are of no column, as far as they are remembered.
    pub strangers: Vec<String>,
    /// Whether there are more of them.
    pub more_strangers: bool,
}

/// Who gives a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Giver {
    /// The object `user`.
    User,
    /// The object `context`.
    Context,
    /// Some or all of `candidates`.
    Candidates,
}

impl fmt::Display for Giver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Giver::User => "user",
            Giver::Context => "context",
            Giver::Candidates => "candidates",
        })
    }
}

impl Candidates {
    /// Reads a request's objects. `extras` are columns of numbers besides the plan's.
    ///
    /// # Errors
    /// The candidate and field, what was found and what was expected.
    pub fn read(plan: &Plan<'_>, extras: &[&str], request: &Request, most: usize) -> Result<Candidates, Failure> {
        let mut shared = Reader::new(plan, extras, Vec::new(), 1);
        for (giver, object) in [(Giver::User, &request.user), (Giver::Context, &request.context)] {
            if let Some(object) = object {
                shared.giver = giver;
                shared.read(object, |reader, object| reader.deserialize(object))?;
            }
        }
        let Reader { columns: shared, strangers, more_strangers, .. } = shared;
        let taken = shared.iter().map(|column| column.giver).collect();
        let mut reader = Reader::new(plan, extras, taken, 64);
        (reader.strangers, reader.more_strangers) = (strangers, more_strangers);
        let read = reader.read(&request.candidates, |reader, array| All { reader, most }.deserialize(array));
        if reader.rows > most {
            return Err(Failure::TooLarge { what: "candidates", limit: most, setting: "limits.candidates" });
        }
        read?;
        Ok(reader.finish(shared))
    }

    /// Number of candidates.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Where a cell stands in the request.
    pub fn path(&self, column: usize, row: usize, name: &str) -> String {
        match self.givers.get(column).copied().flatten() {
            Some(giver @ (Giver::User | Giver::Context)) => format!("{giver}.{name}"),
            _ => format!("candidates[{row}].{name}"),
        }
    }

    /// The columns of the plan, for [`Rows`](crosstie::data::Rows).
    ///
    /// # Errors
    /// None that a request could cause.
    pub fn batch(&self, plan: &Plan<'_>) -> Result<RecordBatch, Failure> {
        let arrays = self.arrays[..plan.len()].to_vec();
        let fields: Vec<Field> =
            plan.names().zip(&arrays).map(|(name, array)| Field::new(name, array.data_type().clone(), true)).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.len()));
        RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)
            .map_err(|error| Failure::Internal(format!("the candidates make no table: {error}")))
    }
}

#[derive(Debug)]
struct Column {
    cells: Cells,
    giver: Option<Giver>,
    /// One more than the row that was given last.
    given: usize,
    absent: usize,
}

/// Reads objects, each as a row.
struct Reader<'a> {
    plan: &'a Plan<'a>,
    extras: &'a [&'a str],
    /// Per column, who gave it already for all rows; nobody, if there are none.
    taken: Vec<Option<Giver>>,
    giver: Giver,
    /// Whether it is the objects of an array that are read.
    many: bool,
    columns: Vec<Column>,
    ids: Vec<Option<Id>>,
    strangers: Vec<String>,
    more_strangers: bool,
    /// Complete rows.
    rows: usize,
    /// The column that the next name is probably of.
    next: usize,
    /// What is read, for errors.
    name: Option<Name>,
    /// The last name that is of no column.
    stranger: String,
}

/// What a name in an object means.
#[derive(Clone, Copy, Debug)]
enum Name {
    Column(usize),
    Id,
    Stranger,
}

impl<'a> Reader<'a> {
    fn new(plan: &'a Plan<'a>, extras: &'a [&'a str], taken: Vec<Option<Giver>>, rows: usize) -> Reader<'a> {
        let kinds = plan.inputs.iter().map(|input| &input.kind).chain(extras.iter().map(|_| &Kind::Number));
        let column = |kind| Column { cells: Cells::new(kind, rows), giver: None, given: 0, absent: 0 };
        Reader {
            plan,
            extras,
            taken,
            giver: Giver::Candidates,
            many: false,
            columns: kinds.map(column).collect(),
            ids: Vec::new(),
            strangers: Vec::new(),
            more_strangers: false,
            rows: 0,
            next: 0,
            name: None,
            stranger: String::new(),
        }
    }

    fn column_name(&self, place: usize) -> &str {
        let extra = || self.extras.get(place - self.plan.len()).copied().unwrap_or_default();
        self.plan.inputs.get(place).map_or_else(extra, |input| &input.name)
    }

    /// Which column a name is of. Objects mostly name them in the same order.
    fn place(&self, name: &str) -> Option<usize> {
        if self.next < self.columns.len() && self.column_name(self.next) == name {
            return Some(self.next);
        }
        let extra = || self.extras.iter().position(|extra| *extra == name);
        self.plan.place(name).or_else(|| Some(self.plan.len() + extra()?))
    }

    fn read<T>(
        &mut self,
        json: &RawValue,
        read: impl FnOnce(&mut Self, &mut serde_json::Deserializer<serde_json::de::StrRead<'_>>) -> serde_json::Result<T>,
    ) -> Result<T, Failure> {
        let mut json = serde_json::Deserializer::from_str(json.get());
        read(self, &mut json).map_err(|error| {
            let message = error.to_string();
            let unreadable = || (object::without_place(&message).to_string(), "a value that can be read".to_string());
            let (found, expected) = object::found_and_expected(&message).unwrap_or_else(unreadable);
            let giver = self.giver;
            let mut path = if self.many { format!("{giver}[{}]", self.rows) } else { giver.to_string() };
            if let Some(name) = self.name {
                let name = match name {
                    Name::Column(place) => self.column_name(place),
                    Name::Id => ID,
                    Name::Stranger => &self.stranger,
                };
                path += &format!(".{name}");
            }
            Failure::field(path, found, expected)
        })
    }

    fn stranger(&mut self, name: &str) {
        self.stranger.clear();
        self.stranger.push_str(name);
        if !self.strangers.iter().any(|known| known == name) {
            match self.strangers.len() < STRANGERS {
                true => self.strangers.push(name.into()),
                false => self.more_strangers = true,
            }
        }
    }

    /// Refuses what was given before.
    fn claim<E: Error>(&mut self, place: usize) -> Result<(), E> {
        let column = &mut self.columns[place];
        let once_more = |giver: Giver| {
            E::custom(format_args!("a second value, expected none, since `{giver}` gives it for all candidates"))
        };
        if let Some(giver) = self.taken.get(place).copied().flatten() {
            return Err(once_more(giver));
        }
        if column.given > self.rows {
            return Err(match column.giver {
                Some(giver) if giver != self.giver => once_more(giver),
                _ => E::custom("a second value, expected one"),
            });
        }
        // Rows from before anybody gave it.
        if column.giver.is_none() {
            (0..self.rows).for_each(|_| column.cells.missing());
            column.absent = self.rows;
        }
        (column.giver, column.given) = (Some(self.giver), self.rows + 1);
        Ok(())
    }

    /// Ends the row of one candidate.
    fn end(&mut self) {
        self.rows += 1;
        for column in self.columns.iter_mut().filter(|column| column.giver.is_some() && column.given < self.rows) {
            column.cells.missing();
            column.absent += 1;
        }
        self.name = None;
    }

    fn finish(self, shared: Vec<Column>) -> Candidates {
        let rows = self.rows;
        let mut candidates = Candidates {
            arrays: Vec::new(),
            givers: Vec::new(),
            ids: self.ids,
            absent: Vec::new(),
            strangers: self.strangers,
            more_strangers: self.more_strangers,
        };
        for (mut own, shared) in self.columns.into_iter().zip(shared) {
            let array = match (own.giver, shared.giver) {
                (None, Some(_)) => repeat(shared.cells.finish(), rows),
                (None, None) => {
                    (0..rows).for_each(|_| own.cells.missing());
                    own.cells.finish()
                }
                _ => own.cells.finish(),
            };
            candidates.arrays.push(array);
            candidates.givers.push(own.giver.or(shared.giver));
            candidates.absent.push(own.absent);
        }
        candidates
    }
}

/// One value, as that of many rows.
fn repeat(value: ArrayRef, rows: usize) -> ArrayRef {
    Arc::new(DictionaryArray::<Int32Type>::new(vec![0; rows].into(), value))
}

/// One object into the row under way.
impl<'de> DeserializeSeed<'de> for &mut Reader<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Reader<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of fields")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        self.next = 0;
        let of_candidate = self.giver == Giver::Candidates;
        let mut id = None;
        while let Some(name) = entries.next_key_seed(NameOf(self))? {
            self.name = Some(name);
            match name {
                Name::Column(place) => {
                    self.claim(place)?;
                    let cells = &mut self.columns[place].cells;
                    if of_candidate && self.plan.id == Some(place) {
                        id = entries.next_value::<Option<Id>>()?;
                        cells.id(id.as_ref());
                    } else {
                        entries.next_value_seed(Cell(cells))?;
                    }
                    self.next = place + 1;
                }
                Name::Id => id = entries.next_value::<Option<Id>>()?,
                Name::Stranger => entries.next_value::<Readable>().map(drop)?,
            }
            self.name = None;
        }
        if of_candidate {
            self.ids.push(id);
        }
        Ok(())
    }
}

/// A value of no column. The model does not look at it, but whoever reads the log does, so
/// what could not be read there is refused here.
struct Readable;

impl<'de> Deserialize<'de> for Readable {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Readable, D::Error> {
        value.deserialize_any(Readable)
    }
}

impl<'de> Visitor<'de> for Readable {
    type Value = Readable;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Readable, E> {
        Ok(self)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Readable, E> {
        Ok(self)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Readable, E> {
        Ok(self)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Readable, E> {
        Ok(self)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Readable, E> {
        Ok(self)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Readable, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Readable, A::Error> {
        while elements.next_element::<Readable>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Readable, A::Error> {
        while entries.next_entry::<Readable, Readable>()?.is_some() {}
        Ok(self)
    }
}

struct NameOf<'a, 'b>(&'a mut Reader<'b>);

impl<'de> DeserializeSeed<'de> for NameOf<'_, '_> {
    type Value = Name;

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<Name, D::Error> {
        value.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for NameOf<'_, '_> {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Name, E> {
        Ok(match self.0.place(name) {
            Some(place) => Name::Column(place),
            None if name == ID && self.0.giver == Giver::Candidates => Name::Id,
            None => {
                self.0.stranger(name);
                Name::Stranger
            }
        })
    }
}

/// The array of candidates.
struct All<'a, 'b> {
    reader: &'a mut Reader<'b>,
    most: usize,
}

impl<'de> DeserializeSeed<'de> for All<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        value.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for All<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of candidates")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        self.reader.many = true;
        while elements.next_element_seed(&mut *self.reader)?.is_some() {
            self.reader.end();
            if self.reader.rows > self.most {
                return Err(A::Error::custom("too many"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crosstie::arrow::array::{Array, AsArray};
    use crosstie::arrow::datatypes::Float64Type;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn inputs() -> Vec<Input> {
        let kinds = [Kind::Value, Kind::Number, Kind::Values { separator: "|".into(), brackets: true }];
        let inputs = ["item", "price", "tags"].into_iter().zip(kinds);
        inputs.map(|(name, kind)| Input { name: name.into(), kind }).collect()
    }

    fn cells() -> impl Strategy<Value = Value> {
        let single = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (-1e6..1e6f64).prop_map(Value::from),
            "[a-c0-9|\"é]{0,4}".prop_map(Value::from),
        ];
        let lists = prop::collection::vec(single.clone(), 0..3).prop_map(Value::from);
        prop_oneof![6 => single, 2 => lists, 1 => Just(json!({})), 1 => Just(json!([[1]]))]
    }

    fn objects() -> impl Strategy<Value = Value> {
        let names = prop::sample::select(vec!["item", "price", "tags", "bid", "id", "prise"]);
        let object = prop::collection::vec((names, cells()), 0..6);
        object.prop_map(|entries| entries.into_iter().map(|(name, cell)| (name.to_string(), cell)).collect())
    }

    /// The text of a single value, as a table would hold it.
    fn text(value: &Value) -> Option<String> {
        match value {
            Value::Null => None,
            Value::Bool(truth) => Some(if *truth { "1" } else { "0" }.into()),
            Value::Number(number) => match number.as_f64() {
                Some(x) if number.is_f64() && x == 0.0 => Some("0".into()),
                Some(x) if number.is_f64() => Some(format!("{x}")),
                _ => Some(number.to_string()),
            },
            Value::String(text) => Some(text.clone()),
            Value::Array(_) | Value::Object(_) => panic!("no single value"),
        }
    }

    proptest! {
        #[test]
        fn columns_hold_what_a_walk_over_the_values_finds(
            user in objects(),
            candidates in prop::collection::vec(objects(), 0..5),
        ) {
            let body = json!({ "user": user, "candidates": candidates }).to_string();
            let request = Request::parse(body.as_bytes()).unwrap();
            let inputs = inputs();
            let plan = Plan::new(&inputs);
            let twice = candidates.iter().any(|one| {
                one.as_object().unwrap().keys().any(|name| !["id", "prise"].contains(&&**name) && user.get(name).is_some())
            });
            let read = match Candidates::read(&plan, &["bid"], &request, 4) {
                Ok(read) => read,
                Err(failure) => {
                    let status = failure.status().as_u16();
                    prop_assert!(status == 400 || status == 413 && candidates.len() > 4, "{failure}");
                    return Ok(());
                }
            };
            prop_assert!(!twice && candidates.len() <= 4);
            prop_assert_eq!(read.batch(&plan).unwrap().num_rows(), candidates.len());
            let bids = super::super::cell::numbers(&read.arrays[3]);
            for (row, candidate) in candidates.iter().enumerate() {
                let cell = |name: &str| user.get(name).or(candidate.get(name)).cloned().unwrap_or_default();
                let plain = crosstie::data::Rows::new(read.batch(&plan).unwrap(), "test");
                let mut found = None;
                plain.column("item").unwrap().each_text(|at, text| {
                    if at == row {
                        found = text.map(String::from);
                    }
                }).unwrap();
                prop_assert_eq!(found, text(&cell("item")).filter(|text| !text.is_empty()));
                let mut found = Vec::new();
                plain.column("tags").unwrap().each_list("|", |at, text| {
                    if at == row {
                        found.push(text.to_string());
                    }
                }).unwrap();
                let pieces = match cell("tags") {
                    Value::Array(all) => all.iter().filter_map(text).collect(),
                    Value::String(text) => text.split('|').map(String::from).collect(),
                    single => text(&single).into_iter().collect::<Vec<_>>(),
                };
                prop_assert_eq!(found, pieces.into_iter().filter(|piece| !piece.is_empty()).collect::<Vec<_>>());
                if let (Ok(bids), Some(bid)) = (&bids, cell("bid").as_f64()) {
                    prop_assert_eq!(bids[row], bid);
                }
                if let Some(prices) = read.arrays[1].as_primitive_opt::<Float64Type>() {
                    let price = cell("price").as_bool().map(|yes| f64::from(u8::from(yes))).or(cell("price").as_f64());
                    prop_assert_eq!(prices.is_valid(row).then(|| prices.value(row)), price);
                }
                let id = candidate.get("id").cloned().unwrap_or_default();
                prop_assert_eq!(serde_json::to_value(&read.ids[row]).unwrap(), id);
            }
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "[\\[\\]{}:,\"a-c0-9.e\\\\ -]{0,40}") {
            for body in [text.clone(), format!("{{\"candidates\": {text}}}"), format!("{{\"candidates\": [{text}]}}")] {
                if let Ok(request) = Request::parse(body.as_bytes()) {
                    let _ = Candidates::read(&Plan::new(&inputs()), &[], &request, 4);
                }
            }
        }
    }
}
