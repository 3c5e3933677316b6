//! Files that people write.

use std::io::ErrorKind;
use std::path::Path;

use crate::error::{Error, Result};

/// Reads a schema, a configuration or the like.
///
/// # Errors
/// [`Error::Unfit`] for what is no text, [`Error::Io`].
pub(crate) fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|error| match error.kind() {
        ErrorKind::InvalidData => Error::unfit(path, "is no text in UTF-8").because(error),
        _ => Error::io(path)(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_data_in_the_place_of_a_schema_is_told_as_no_text() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("train.parquet");
        std::fs::write(&path, [b'P', 0xff, 0xfe]).unwrap();
        let said = crate::schema::Schema::read(&path).unwrap_err().to_string();
        assert!(said.contains("train.parquet: is no text in UTF-8"), "{said}");
        let said = read(&directory.path().join("schema.toml")).unwrap_err().to_string();
        assert!(said.contains("No such file"), "{said}");
    }
}
