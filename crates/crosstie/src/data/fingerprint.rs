//! Whether files are still the same.

use arrow_ipc::writer::StreamWriter;
use rayon::prelude::*;

use super::file::Table;
use super::source::{Block, Source};
use crate::error::{Error, Result};
use crate::sealed::FileEntry;

impl Source {
    /// The contents of all files, read whole, in order. A table in memory has
    /// those of an Arrow IPC stream of its blocks.
    ///
    /// # Errors
    /// [`Error::Io`] for a file that cannot be read (any more).
    pub fn fingerprint(&self) -> Result<Vec<FileEntry>> {
        let entry = |(file, table): (usize, &Table)| {
            if !table.is_in_memory() {
                return FileEntry::of(&table.path);
            }
            let wrong = |error| Error::unwritten(&table.path, error);
            let mut writer = StreamWriter::try_new(blake3::Hasher::new(), &table.schema).map_err(wrong)?;
            let columns: Vec<usize> = (0..table.schema.fields().len()).collect();
            for Block { part, .. } in self.blocks().iter().filter(|block| block.file == file) {
                for batch in table.read(*part, &columns, usize::MAX)? {
                    writer.write(&batch?).map_err(wrong)?;
                }
            }
            Ok(FileEntry::of_hash(&writer.into_inner().map_err(wrong)?))
        };
        self.tables().par_iter().enumerate().map(entry).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::arrow::array::{ArrayRef, Int32Array};

    use super::*;
    use crate::data::tests::{Directory, open, table};

    #[test]
    fn a_changed_file_has_another_fingerprint() {
        let directory = Directory::new();
        let path = directory.file("t.csv", "a\n1\n");
        let of = || open(&path).unwrap().fingerprint().unwrap();
        let before = of();
        let blake3 = blake3::hash(b"a\n1\n").to_hex().to_string();
        assert_eq!(before, [FileEntry { bytes: 4, blake3 }]);
        assert_eq!(before, of());
        directory.file("t.csv", "a\n2\n");
        assert_ne!(before, of());
    }

    #[test]
    fn a_table_in_memory_has_a_fingerprint_of_its_cells() {
        let of = |values: Vec<i32>| {
            let batch = table(vec![("a", Arc::new(Int32Array::from(values)) as ArrayRef)]);
            Source::from_batches("made", vec![batch]).unwrap().fingerprint().unwrap()
        };
        assert_eq!(of(vec![1, 2]), of(vec![1, 2]));
        assert_ne!(of(vec![1, 2]), of(vec![1, 3]));
    }
}
