//! What learning and encoding will ask of data files, asked of the first rows of
//! each: what is wrong with a file is told before the work, not after it.

use super::encode::read_times;
use super::{Features, Purpose, training_columns};
use crate::data::{Rows, Source};
use crate::error::{Error, Result};
use crate::schema::{FieldKind, Schema};
use crate::spelling;

/// Rows of a file that are tried.
const ROWS: usize = 1024;

/// Says of a rate without a `key` that it needs one where it has no column of its
/// own name to fall back on.
fn find_keys(schema: &Schema, source: &Source) -> Result<()> {
    let columns = || source.columns().iter().map(String::as_str);
    for field in &schema.fields {
        let FieldKind::Rate(rate) = &field.kind else { continue };
        if rate.is_of_its_own_name(&field.name) && !columns().any(|column| column == field.name) {
            let name = &field.name;
            let message = format!(
                "there is no column `{name}`, which the rate field `{name}` takes for its key since it names none; \
                 key = [\"COLUMN\"] says for which column's values rates are counted{}",
                spelling::hint(name, columns())
            );
            return Err(Error::file(&source.files()[0], message));
        }
    }
    Ok(())
}

/// Checks that files fit a schema: every file has the columns, its first rows
/// can be read as the schema says, and there is a row at all.
///
/// # Errors
/// [`Error::File`] naming the file and the column that lacks or is of another
/// type, or that there are no rows; [`Error::Cell`] for a cell among the first.
pub fn check(schema: &Schema, source: &Source, purpose: Purpose) -> Result<()> {
    let sketch = Features::sketch(schema)?;
    find_keys(schema, source)?;
    try_files(source, &sketch.columns(purpose), |rows| sketch.encode(rows, purpose).map(|_| ()))
}

/// The same of the files to learn from.
///
/// # Errors
/// As of [`check`].
pub fn check_training(schema: &Schema, source: &Source) -> Result<()> {
    let sketch = Features::sketch(schema)?;
    find_keys(schema, source)?;
    try_files(source, &training_columns(schema), |rows| {
        sketch.encode(rows, Purpose::Evaluation)?;
        schema.fields.iter().try_for_each(|field| match &field.kind {
            FieldKind::Rate(rate) => read_times(rows, rate).map(|_| ()),
            _ => Ok(()),
        })
    })
}

fn try_files(source: &Source, columns: &[&str], read: impl Fn(&Rows) -> Result<()>) -> Result<()> {
    source.require(columns)?;
    let mut empty = true;
    for file in 0..source.files().len() {
        let blocks = source.blocks().iter().enumerate().filter(|(_, block)| block.file == file);
        for (block, _) in blocks {
            if let Some(rows) = source.read(block, columns, ROWS)?.next() {
                let rows = rows?;
                read(&rows)?;
                if !rows.is_empty() {
                    empty = false;
                    break;
                }
            }
        }
    }
    if empty {
        let others = source.files().len() - 1;
        let others = if others > 0 { format!(", here and in {others} more") } else { String::new() };
        return Err(Error::file(&source.files()[0], format!("there is not a single row{others}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = "scenario = \"tab\"\ngroup = \"user\"\nweight = \"worth\"\n[[task]]\nname = \"click\"\n\
                          [[field]]\nname = \"user\"\nkind = \"categorical\"\n[[field]]\nname = \"price\"\nkind = \"numeric\"\n\
                          [[field]]\nname = \"tags\"\nkind = \"multi\"\n\
                          [[field]]\nname = \"past\"\nkind = \"rate\"\nkey = [\"item\"]\ntime = \"moment\"\n";
    const HEADER: &str = "tab,user,worth,price,tags,item,moment,click";
    const ROW: &str = "home,ann,1,2.5,a b,i,5,1";

    /// What is said of files for a purpose, or of files to learn from.
    fn said(files: &[String], purpose: Option<Purpose>) -> Option<String> {
        let directory = tempfile::tempdir().unwrap();
        let write = |(index, text): (usize, &String)| {
            let path = directory.path().join(format!("{index}.csv"));
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_string()
        };
        let paths: Vec<String> = files.iter().enumerate().map(write).collect();
        let source = Source::open(&paths).unwrap();
        let schema = Schema::parse(SCHEMA).unwrap();
        let checked = match purpose {
            Some(purpose) => check(&schema, &source, purpose),
            None => check_training(&schema, &source),
        };
        checked.err().map(|error| error.to_string())
    }

    #[test]
    fn every_file_is_tried_with_its_first_rows() {
        let good = format!("{HEADER}\n{ROW}\n");
        assert_eq!(said(&[good.clone(), good.clone()], None), None);
        for (from, to, told) in [
            (",click", ",clik", "no column `click`"),
            (",2.5,", ",cheap,", "column `price`"),
            (",5,1", ",5,2", "column `click`"),
            (",1,2.5", ",-1,2.5", "column `worth`"),
            (",5,1", ",now,1", "column `moment`"),
            (",5,1", ",,1", "column `moment`"),
        ] {
            let said = said(&[good.clone(), good.replacen(from, to, 1)], None).unwrap_or_default();
            assert!(said.contains(told) && said.contains("1.csv"), "{from} {to}: {said}");
        }
    }

    #[test]
    fn what_a_time_may_be_is_told_and_that_it_may_not_be_missing() {
        let good = format!("{HEADER}\n{ROW}\n");
        assert_eq!(said(&[good.replacen(",5,1", ",2024-05-31 12:00:00,1", 1)], None), None);
        for to in [",soon,1", ",,1"] {
            let said = said(&[good.replacen(",5,1", to, 1)], None).unwrap_or_default();
            assert!(said.contains("expected a number or a moment, such as 2024-05-31 12:00:00"), "{said}");
            assert!(!said.contains("or nothing"), "{said}");
        }
    }

    #[test]
    fn what_a_purpose_does_not_read_is_not_tried() {
        let unlabelled = format!("{HEADER}\n{ROW}\n").replace(",5,1", ",now,2");
        assert!(
            said(std::slice::from_ref(&unlabelled), Some(Purpose::Evaluation))
                .is_some_and(|said| said.contains("`click`"))
        );
        assert_eq!(said(&[unlabelled], Some(Purpose::Scoring)), None);
    }

    #[test]
    fn files_without_a_row_are_told() {
        let (header, good) = (format!("{HEADER}\n"), format!("{HEADER}\n{ROW}\n"));
        let said_of = |files: &[String]| said(files, Some(Purpose::Evaluation));
        let told = said_of(&[header.clone(), header.clone()]).unwrap_or_default();
        assert!(told.contains("0.csv: there is not a single row, here and in 1 more"), "{told}");
        assert_eq!(said_of(&[header, good]), None);
    }
}
