//! Names that become names of tensors, columns and files.

use std::collections::BTreeMap;

use super::{Categorical, Encoding, Field, FieldKind, Multi, table_of};
use crate::error::{Error, Result};

/// Most bytes of a name: with `.parquet` behind it it is the name of a file,
/// for which systems allow 255.
const LONGEST: usize = 255 - ".parquet".len();

/// Refuses a name that would not do where it is used.
pub(super) fn check(what: &str, name: &str) -> Result<()> {
    let fine = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | ' ' | '+');
    let data = "(use `column` or `label` for the data's own name)";
    if name.is_empty() || !name.chars().all(fine) {
        return Err(Error::Schema(format!(
            "{what} name `{name}`: letters, digits, `_`, `-`, `+` and spaces only {data}"
        )));
    }
    if name.len() > LONGEST {
        let begin: String = name.chars().take(30).collect();
        return Err(Error::Schema(format!(
            "{what} name `{begin}...` has {} bytes, at most {LONGEST}: it becomes the name of a file {data}",
            name.len()
        )));
    }
    Ok(())
}

/// Refuses names of files that differ in capitals only: to some systems they
/// are one file.
pub(super) fn check_files(fields: &[Field]) -> Result<()> {
    let vocabularies = fields.iter().filter_map(|field| match &field.kind {
        FieldKind::Categorical(categorical) | FieldKind::Multi(Multi { categorical, .. }) => {
            let vocabulary = matches!(categorical, Categorical { encoding: Encoding::Vocabulary { .. }, .. });
            vocabulary.then(|| table_of(field).unwrap_or(&field.name))
        }
        _ => None,
    });
    let rates = fields.iter().filter(|field| matches!(field.kind, FieldKind::Rate(_))).map(|field| field.name.as_str());
    differ("tables", vocabularies)?;
    differ("fields", rates)
}

fn differ<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> Result<()> {
    let mut seen = BTreeMap::new();
    for name in names {
        if let Some(other) = seen.insert(name.to_lowercase(), name).filter(|other| *other != name) {
            return Err(Error::Schema(format!(
                "{what} `{other}` and `{name}` differ in capitals only, and become files that some systems take for one"
            )));
        }
    }
    Ok(())
}
