//! Columns of JSON values as columns of a table.

use std::sync::Arc;

use crosstie::arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int8Array, Int64Array, ListArray, StringArray, TimestampMicrosecondArray,
};
use crosstie::arrow::buffer::{NullBuffer, OffsetBuffer};
use crosstie::arrow::datatypes::{DataType, Field, TimeUnit};
use serde_json::Value;

use crate::log::event::text_of_cell;

/// From here on not every whole number is a float64.
const EXACT: u64 = 1 << 53;

/// What a column's values are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    boolean: bool,
    integer: bool,
    float: bool,
    text: bool,
    list: bool,
    /// A text that is no list's element. Where there are several values in it, who trains on
    /// it knows what separates them; nobody here does.
    text_alone: bool,
    /// A whole number that is no float64.
    large: bool,
}

impl Seen {
    pub fn add(&mut self, value: &Value) {
        match value {
            Value::Array(elements) => {
                self.list = true;
                elements.iter().for_each(|element| self.add_single(element));
            }
            value => {
                self.text_alone |= value.is_string();
                self.add_single(value);
            }
        }
    }

    fn add_single(&mut self, value: &Value) {
        match value {
            Value::Null => {}
            Value::Bool(_) => self.boolean = true,
            Value::Number(number) => match (number.as_i64(), number.is_u64()) {
                (Some(number), _) => {
                    self.integer = true;
                    self.large |= number.unsigned_abs() > EXACT;
                }
                (None, true) => self.text = true,
                (None, false) => self.float = true,
            },
            Value::String(_) | Value::Object(_) | Value::Array(_) => self.text = true,
        }
    }

    /// The type that holds all of them: text if they are of several kinds, lists if any is one
    /// and none is a text.
    pub fn data_type(self) -> DataType {
        let Seen { boolean, integer, float, text, list, text_alone, large } = self;
        let single = match (boolean, integer, float) {
            _ if text => DataType::Utf8,
            (true, false, false) => DataType::Boolean,
            (false, true, false) => DataType::Int64,
            (false, _, true) if !large => DataType::Float64,
            _ => DataType::Utf8,
        };
        if list && !text_alone { DataType::List(Arc::new(Field::new("item", single, true))) } else { single }
    }
}

/// Values as an array of a type; null where one is of another.
pub(super) fn array(data_type: &DataType, values: &[Value]) -> ArrayRef {
    match data_type {
        DataType::Boolean => Arc::new(values.iter().map(Value::as_bool).collect::<BooleanArray>()),
        DataType::Int8 => {
            let small = |value: &Value| value.as_i64().and_then(|value| i8::try_from(value).ok());
            Arc::new(values.iter().map(small).collect::<Int8Array>())
        }
        DataType::Int64 => Arc::new(values.iter().map(Value::as_i64).collect::<Int64Array>()),
        DataType::Float64 => Arc::new(values.iter().map(Value::as_f64).collect::<Float64Array>()),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let times = values.iter().map(Value::as_i64).collect::<TimestampMicrosecondArray>();
            Arc::new(times.with_timezone_opt(zone.clone()))
        }
        DataType::List(item) => {
            let elements = |value: &Value| match value {
                Value::Null => Vec::new(),
                Value::Array(elements) => elements.clone(),
                single => vec![single.clone()],
            };
            let lists: Vec<Vec<Value>> = values.iter().map(elements).collect();
            let offsets = OffsetBuffer::from_lengths(lists.iter().map(Vec::len));
            let there = NullBuffer::from_iter(values.iter().map(|value| !value.is_null()));
            let elements = array(item.data_type(), &lists.concat());
            Arc::new(ListArray::new(Arc::clone(item), offsets, elements, Some(there)))
        }
        _ => Arc::new(values.iter().map(text).collect::<StringArray>()),
    }
}

/// The text of a cell; of a list the text that is read as one, in brackets and quotes, and of
/// an object its JSON.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Array(elements) => {
            let quoted = |text: String| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
            let elements: Vec<String> = elements.iter().filter_map(text).map(quoted).collect();
            Some(format!("[{}]", elements.join(",")))
        }
        Value::Object(_) => Some(value.to_string()),
        single => text_of_cell(single),
    }
}

#[cfg(test)]
mod tests {
    use crosstie::arrow::array::{Array, AsArray};
    use crosstie::data::{Rows, Source, TextColumn};
    use serde_json::json;

    use super::*;

    fn typed(values: &[Value]) -> (DataType, ArrayRef) {
        let mut seen = Seen::default();
        values.iter().for_each(|value| seen.add(value));
        let data_type = seen.data_type();
        let array = array(&data_type, values);
        assert_eq!(array.data_type(), &data_type);
        assert_eq!(array.len(), values.len());
        (data_type, array)
    }

    /// What a column of these values says to a model.
    fn texts(values: &[Value]) -> Vec<Option<String>> {
        let batch = crosstie::arrow::array::RecordBatch::try_from_iter([("a", typed(values).1)]).unwrap();
        let rows = Rows::new(batch, "a");
        let mut texts = Vec::new();
        rows.column("a").unwrap().each_text(|_, text| texts.push(text.map(str::to_string))).unwrap();
        texts
    }

    #[test]
    fn values_of_one_kind_keep_it() {
        assert_eq!(typed(&[json!(1), json!(null)]).0, DataType::Int64);
        assert_eq!(typed(&[json!(1), json!(2.5)]).0, DataType::Float64);
        assert_eq!(typed(&[json!(true), json!(null)]).0, DataType::Boolean);
        assert_eq!(typed(&[json!("a"), json!(null)]).0, DataType::Utf8);
        assert_eq!(typed(&[json!(null)]).0, DataType::Utf8);
    }

    #[test]
    fn values_of_several_kinds_are_the_text_that_each_had_alone() {
        let values = [json!("a"), json!(7), json!(7.0), json!(0.1), json!(true), json!(1e21), json!(-0.0), json!(null)];
        assert_eq!(typed(&values).0, DataType::Utf8);
        let alone: Vec<Option<String>> = values.iter().flat_map(|value| texts(std::slice::from_ref(value))).collect();
        assert_eq!(texts(&values), alone);
    }

    #[test]
    fn a_large_id_loses_no_digit() {
        let values = [json!(18_446_744_073_709_551_615u64), json!(9_007_199_254_740_993i64), json!(0.5)];
        let expected = ["18446744073709551615", "9007199254740993", "0.5"].map(|text| Some(text.to_string()));
        assert_eq!(texts(&values), expected);
        assert_eq!(texts(&values[1..]), expected[1..]);
    }

    #[test]
    fn lists_are_lists_and_a_single_value_among_them_is_one_of_one() {
        let (data_type, array) = typed(&[json!(["a", 7]), json!([]), json!(null), json!(8)]);
        assert_eq!(data_type, DataType::List(Arc::new(Field::new("item", DataType::Utf8, true))));
        let lists = array.as_list::<i32>();
        assert!(lists.is_null(2) && lists.is_valid(1));
        assert_eq!((0..4).map(|row| lists.value(row).len()).collect::<Vec<_>>(), [2, 0, 0, 1]);
        assert_eq!(lists.value(0).as_string::<i32>().value(1), "7");
    }

    #[test]
    fn text_with_several_values_has_them_still_where_others_send_lists() {
        let values = [
            json!("tag-0,tag-34"),
            json!(["tag-1", "tag-2"]),
            json!(["a,b", "it's", "say \"no\"", "C:\\", "\\\"", "[x]", "", null]),
            json!([7, 7.0, 0.5, true]),
            json!(9),
            json!([]),
            json!(null),
            json!("one"),
        ];
        let (data_type, array) = typed(&values);
        assert_eq!(data_type, DataType::Utf8);
        let batch = crosstie::arrow::array::RecordBatch::try_from_iter([("a", array)]).unwrap();
        let source = Source::from_batches("a", vec![batch.clone()]).unwrap();
        let column = TextColumn { name: "a", separator: Some(",") };
        let (reading, _) = source.reading(&[column], &[]).unwrap();
        let rows = Rows::new(batch, "a").read_as(&Arc::new(reading));
        let mut found = vec![Vec::new(); values.len()];
        rows.column("a").unwrap().each_list(",", |row, text| found[row].push(text.to_string())).unwrap();
        let expected: [&[&str]; 8] = [
            &["tag-0", "tag-34"],
            &["tag-1", "tag-2"],
            &["a,b", "it's", "say \"no\"", "C:\\", "\\\"", "[x]"],
            &["7", "7", "0.5", "1"],
            &["9"],
            &[],
            &[],
            &["one"],
        ];
        assert_eq!(found, expected);
    }
}
