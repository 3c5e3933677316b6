//! What a sample of a table tells of its columns of text: how they are to be read.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::column::Column;
use super::reading::{Cells, Number, Reading, elements, is_nothing};
use super::source::Source;
use super::time::Moment;
use crate::error::Result;

/// Rows of each file that tell what its text columns hold.
const SAMPLE: usize = 10_000;

/// A column whose text is to be read; lists have a separator.
#[derive(Clone, Copy, Debug)]
pub struct TextColumn<'a> {
    /// Its name.
    pub name: &'a str,
    /// What parts several values in a cell of text.
    pub separator: Option<&'a str>,
}

/// What a sample of a column shows.
#[derive(Default)]
struct Seen {
    cells: Option<Cells>,
    /// A list that stands as text, by its brackets.
    list: Option<String>,
    /// A marker of nothing, and how often it stands there.
    nothing: Option<(String, usize)>,
}

impl Seen {
    fn add(&mut self, column: &Column<'_>, separator: Option<&str>, reading: &Reading) -> Result<()> {
        let cells = if column.is_text() { self.look(column, separator, reading)? } else { Some(column.cells()) };
        self.cells = match (self.cells, cells) {
            (Some(one), Some(other)) if one != other => Some(Cells::Text),
            (one, other) => one.or(other),
        };
        Ok(())
    }

    /// What all values of a column of text are; `None` if there are none.
    fn look(&mut self, column: &Column<'_>, separator: Option<&str>, reading: &Reading) -> Result<Option<Cells>> {
        let (mut values, mut numbers, mut times, mut nothing) = (0, 0, 0, None);
        let mut value = |text: &str| {
            let text = text.trim();
            if text.is_empty() || reading.is_null(text) {
                return;
            }
            if is_nothing(text) {
                nothing.get_or_insert_with(|| (text.to_string(), 0)).1 += 1;
                return;
            }
            values += 1;
            numbers += usize::from(Number::of(text).is_some());
            times += usize::from(Moment::parse(text).is_some());
        };
        column.each_text(|_, text| {
            let Some(text) = text else { return };
            match (separator, separator.and_then(|_| elements(text))) {
                (_, Some(elements)) => {
                    self.list.get_or_insert_with(|| text.to_string());
                    elements.iter().for_each(|element| value(element));
                }
                (Some(separator), None) => text.split(separator).for_each(&mut value),
                (None, None) => value(text),
            }
        })?;
        let cells = match values {
            0 => None,
            all if numbers == all => Some(Cells::Number),
            all if times == all => Some(Cells::Time),
            _ => Some(Cells::Text),
        };
        if cells == Some(Cells::Text) && self.nothing.is_none() {
            self.nothing = nothing;
        }
        Ok(cells)
    }
}

impl Source {
    /// Finds out how the text of columns is to be read: from their types, and
    /// where they are text, from the first 10,000 rows of each file; of a column
    /// that has no value in any of these, from the 10,000 rows in which it first
    /// has one. `null` names texts that mean that nothing is there. Beside it
    /// stands what a person should know, one sentence each.
    ///
    /// # Errors
    /// Those of reading; a column that is not there.
    pub fn reading(&self, columns: &[TextColumn<'_>], null: &[String]) -> Result<(Reading, Vec<String>)> {
        let mut reading = Reading { null: null.to_vec(), columns: BTreeMap::new() };
        let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
        let mut seen: Vec<Seen> = columns.iter().map(|_| Seen::default()).collect();
        let mut last = None;
        for (index, block) in self.blocks().iter().enumerate() {
            if last.replace(block.file) == Some(block.file) {
                continue;
            }
            if let Some(rows) = self.read(index, &names, SAMPLE)?.next() {
                let rows = rows?;
                for (seen, column) in seen.iter_mut().zip(columns) {
                    seen.add(&rows.column(column.name)?, column.separator, &reading)?;
                }
            }
        }
        // A column may begin late in a log, as what was not logged before.
        let mut unseen: Vec<(&mut Seen, &TextColumn<'_>)> =
            seen.iter_mut().zip(columns).filter(|(seen, _)| seen.cells.is_none()).collect();
        let names: Vec<&str> = unseen.iter().map(|(_, column)| column.name).collect();
        let mut all = self.rows(&names, SAMPLE);
        while !unseen.is_empty() {
            let Some(rows) = all.next().transpose()? else { break };
            for (seen, column) in &mut unseen {
                seen.add(&rows.column(column.name)?, column.separator, &reading)?;
            }
            unseen.retain(|(seen, _)| seen.cells.is_none());
        }
        let mut remarks = Vec::new();
        for (seen, column) in seen.into_iter().zip(columns) {
            let name = column.name;
            if let Some(list) = seen.list {
                remarks.push(format!(
                    "column `{name}`: text such as {list:?} is read as a list, without its brackets and quotes"
                ));
            }
            if let Some((nothing, times)) = seen.nothing {
                let mut remark = format!("column `{name}`: `{nothing}` is a value like any other");
                let _ = write!(remark, " ({times} times in the rows looked at); if it means that nothing is there, ");
                let _ = write!(remark, "say `null = [{nothing:?}]` at the top of the schema");
                remarks.push(remark);
            }
            let cells = seen.cells.unwrap_or(Cells::Text);
            let known = reading.columns.entry(name.to_string()).or_insert(cells);
            if *known != cells {
                *known = Cells::Text;
            }
        }
        Ok((reading, remarks))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::arrow::array::{ArrayRef, Int64Array, StringArray};
    use crate::data::tests::table;

    fn texts(values: &[&str]) -> ArrayRef {
        Arc::new(StringArray::from(values.to_vec()))
    }

    fn reading(columns: Vec<(&str, ArrayRef)>, separator: Option<&str>) -> (Reading, Vec<String>) {
        let names: Vec<TextColumn<'_>> = columns.iter().map(|(name, _)| TextColumn { name, separator }).collect();
        Source::from_batches("made", vec![table(columns.clone())]).unwrap().reading(&names, &["-".into()]).unwrap()
    }

    #[test]
    fn what_a_column_of_text_holds_is_seen() {
        let columns = vec![
            ("id", texts(&["7", "8.0", "NULL", "-"])),
            ("flag", texts(&["True", "False", "", "True"])),
            ("day", texts(&["2024-01-02", "2024-01-03 00:00:00", "NaT", ""])),
            ("code", texts(&["7", "007", "8", "9"])),
            ("nothing", texts(&["", "NULL", "", ""])),
            ("typed", Arc::new(Int64Array::from(vec![1, 2, 3, 4])) as ArrayRef),
        ];
        let (reading, remarks) = reading(columns, None);
        let cells = ["id", "flag", "day", "code", "nothing", "typed"].map(|name| reading.cells(name));
        use Cells::*;
        assert_eq!(cells, [Number, Number, Time, Text, Text, Number]);
        assert_eq!(remarks, [""; 0]);
    }

    #[test]
    fn a_column_that_is_blank_in_the_first_rows_is_read_by_its_first_values() {
        let late = |value: &str| {
            let blank = std::iter::repeat_n("", 2 * SAMPLE + 1);
            texts(&blank.chain([value, "", value]).collect::<Vec<_>>())
        };
        let count = late("").len();
        let columns = vec![
            ("launched", late("3.0")),
            ("since", late("2024-01-03 00:00:00")),
            ("word", late("three")),
            ("never", texts(&vec![""; count])),
            ("always", texts(&vec!["7.0"; count])),
        ];
        let (reading, _) = reading(columns, None);
        let cells = ["launched", "since", "word", "never", "always"].map(|name| reading.cells(name));
        assert_eq!(cells, [Cells::Number, Cells::Time, Cells::Text, Cells::Text, Cells::Number]);
    }

    #[test]
    fn what_may_be_nothing_or_a_value_is_told() {
        let (_, remarks) = reading(vec![("city", texts(&["Oslo", "NULL", "Rome", "NULL"]))], None);
        let [remark] = &remarks[..] else { panic!("{remarks:?}") };
        assert!(remark.contains("column `city`: `NULL` is a value like any other (2 times in"), "{remark}");
        assert!(remark.ends_with("say `null = [\"NULL\"]` at the top of the schema"), "{remark}");
    }

    #[test]
    fn lists_in_text_are_told_and_their_elements_looked_at() {
        let (reading, remarks) = reading(vec![("tags", texts(&["[1.0, 2.0]", "[3.0]"]))], Some("|"));
        assert_eq!(reading.cells("tags"), Cells::Number);
        assert!(remarks[0].contains("text such as \"[1.0, 2.0]\" is read as a list"), "{remarks:?}");
    }
}
