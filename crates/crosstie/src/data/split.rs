//! A table dealt to three files: to learn from, to stop by, and to judge by.

use std::path::{Path, PathBuf};

use arrow_select::filter::filter_record_batch;

use super::write::Writer;
use crate::arrow::array::{BooleanArray, RecordBatch};
use crate::arrow::datatypes::SchemaRef;
use crate::error::{Error, Result};

/// Which file a row goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// To learn from.
    Train,
    /// To stop by.
    Valid,
    /// To be looked at once, at the end.
    Test,
}

/// The names of the three files.
pub const FILES: [&str; 3] = ["train.parquet", "valid.parquet", "test.parquet"];

/// The three files while they are written.
pub struct Splits {
    to: PathBuf,
    writers: Vec<Writer>,
    rows: [u64; 3],
}

impl Splits {
    /// Begins `train.parquet`, `valid.parquet` and `test.parquet`.
    ///
    /// # Errors
    /// As of [`Writer::create`].
    pub fn create(to: &Path, schema: &SchemaRef) -> Result<Splits> {
        let writers = FILES.iter().map(|name| Writer::create(&to.join(name), schema.clone())).collect::<Result<_>>()?;
        Ok(Splits { to: to.to_path_buf(), writers, rows: [0; 3] })
    }

    /// Deals rows to the files; those without a split are left out.
    ///
    /// # Errors
    /// As of [`Writer::write`].
    pub fn write(&mut self, batch: &RecordBatch, splits: &[Option<Split>]) -> Result<()> {
        for (index, split) in [Split::Train, Split::Valid, Split::Test].into_iter().enumerate() {
            let chosen: BooleanArray = splits.iter().map(|other| Some(*other == Some(split))).collect();
            if chosen.true_count() > 0 {
                let rows = filter_record_batch(batch, &chosen)
                    .map_err(|error| Error::file(&self.to, error.to_string()).because(error))?;
                self.rows[index] += rows.num_rows() as u64;
                self.writers[index].write(&rows)?;
            }
        }
        Ok(())
    }

    /// Completes the files; gives the rows of each.
    ///
    /// # Errors
    /// [`Error::Unfit`] where one of them would have no rows, [`Error::Io`].
    pub fn finish(self) -> Result<[u64; 3]> {
        let [train, valid, test] = self.rows;
        if self.rows.contains(&0) {
            let sizes = format!("train {train}, valid {valid}, test {test} rows");
            return Err(Error::unfit(&self.to, format!("the input has too few rows for three files: {sizes}")));
        }
        self.writers.into_iter().try_for_each(Writer::finish)?;
        Ok(self.rows)
    }
}
