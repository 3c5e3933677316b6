//! What learning and encoding will ask of data files, asked of the first rows of
//! each: what is wrong with a file is told before the work, not after it.

use super::encode::{read_labels, read_times};
use super::key::Keys;
use super::{Purpose, column_of, columns};
use crate::data::{Rows, Source};
use crate::error::{Error, Result};
use crate::schema::{FieldKind, Schema};

/// Rows of a file that are tried.
const ROWS: usize = 1024;

/// Checks that files fit a schema: every file has the columns, its first rows
/// can be read as the schema says, and there is a row at all. What is no
/// ordinary file, such as a pipe, can be read once only and is not tried.
///
/// # Errors
/// [`Error::File`] naming the file and the column that lacks or is of another
/// type, or that there are no rows; [`Error::Cell`] for a cell among the first.
pub fn check(schema: &Schema, source: &Source, purpose: Purpose) -> Result<()> {
    let columns = columns(schema, purpose);
    source.require(&columns)?;
    let mut empty = true;
    for (file, path) in source.files().iter().enumerate() {
        if !path.is_file() {
            empty = false;
            continue;
        }
        let blocks = source.blocks().iter().enumerate().filter(|(_, block)| block.file == file);
        for (block, _) in blocks {
            if let Some(rows) = source.read(block, &columns, ROWS)?.next() {
                let rows = rows?;
                try_rows(schema, &rows, purpose)?;
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

fn try_rows(schema: &Schema, rows: &Rows, purpose: Purpose) -> Result<()> {
    for field in &schema.fields {
        match &field.kind {
            FieldKind::Categorical(_) => rows.column(column_of(field))?.each_text(|_, _| {})?,
            FieldKind::Multi(multi) => rows.column(column_of(field))?.each_list(&multi.separator, |_, _| {})?,
            FieldKind::Numeric(_) => drop(rows.column(column_of(field))?.numbers()?),
            FieldKind::Rate(rate) => {
                Keys::read(rows, &rate.key)?;
                if purpose == Purpose::Training {
                    read_times(rows, rate)?;
                }
            }
        }
    }
    let texts = schema.scenario.iter().chain(schema.group.iter().filter(|_| purpose != Purpose::Scoring));
    for column in texts {
        rows.column(column)?.each_text(|_, _| {})?;
    }
    if purpose != Purpose::Scoring {
        read_labels(schema, rows)?;
        if let Some(weight) = &schema.weight {
            rows.column(weight)?.weights()?;
        }
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

    fn said(files: &[String], purpose: Purpose) -> Option<String> {
        let directory = tempfile::tempdir().unwrap();
        let write = |(index, text): (usize, &String)| {
            let path = directory.path().join(format!("{index}.csv"));
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_string()
        };
        let paths: Vec<String> = files.iter().enumerate().map(write).collect();
        let source = Source::open(&paths).unwrap();
        check(&Schema::parse(SCHEMA).unwrap(), &source, purpose).err().map(|error| error.to_string())
    }

    #[test]
    fn every_file_is_tried_with_its_first_rows() {
        let good = format!("{HEADER}\n{ROW}\n");
        assert_eq!(said(&[good.clone(), good.clone()], Purpose::Training), None);
        for (from, to, told) in [
            (",click", ",clik", "no column `click`"),
            (",2.5,", ",cheap,", "column `price`"),
            (",5,1", ",5,2", "column `click`"),
            (",1,2.5", ",-1,2.5", "column `worth`"),
            (",5,1", ",now,1", "column `moment`"),
            (",5,1", ",,1", "column `moment`"),
        ] {
            let said = said(&[good.clone(), good.replacen(from, to, 1)], Purpose::Training).unwrap_or_default();
            assert!(said.contains(told) && said.contains("1.csv"), "{from} {to}: {said}");
        }
    }

    #[test]
    fn what_a_purpose_does_not_read_is_not_tried() {
        let unlabelled = format!("{HEADER}\n{ROW}\n").replace(",5,1", ",now,2");
        assert!(
            said(std::slice::from_ref(&unlabelled), Purpose::Evaluation).is_some_and(|said| said.contains("`click`"))
        );
        assert_eq!(said(&[unlabelled], Purpose::Scoring), None);
    }

    #[test]
    fn files_without_a_row_are_told() {
        let (header, good) = (format!("{HEADER}\n"), format!("{HEADER}\n{ROW}\n"));
        let said_of = |files: &[String]| said(files, Purpose::Evaluation);
        let told = said_of(&[header.clone(), header.clone()]).unwrap_or_default();
        assert!(told.contains("0.csv: there is not a single row, here and in 1 more"), "{told}");
        assert_eq!(said_of(&[header, good]), None);
    }
}
