//! Where segments are written. A test puts a disk that fails in its place.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::read;

/// Something that holds segments.
pub(super) trait Disk: Send {
    /// A segment that is being written.
    type File: DiskFile;

    /// Begins a segment that was not there. Its name is on the disk when this returns.
    fn create(&mut self, number: u64) -> io::Result<Self::File>;

    /// Removes a segment. It is gone from the disk when this returns; one that was not there
    /// is gone, too.
    fn remove(&mut self, number: u64) -> io::Result<()>;
}

/// A segment that is being written.
pub(super) trait DiskFile: Send {
    /// Writes at the end. Where it fails, any part may have been written.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Waits until all that was written is on the disk.
    fn sync(&mut self) -> io::Result<()>;

    /// Cuts what stands behind so many bytes.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
}

/// A directory of the file system.
pub(super) struct Directory(PathBuf);

impl Directory {
    pub fn new(path: &Path) -> Directory {
        Directory(path.into())
    }
}

impl Disk for Directory {
    type File = File;

    fn create(&mut self, number: u64) -> io::Result<File> {
        let file = File::options().create_new(true).append(true).open(self.0.join(read::file_name(number)))?;
        crosstie::durable::force(&self.0).map_err(io::Error::other)?;
        Ok(file)
    }

    fn remove(&mut self, number: u64) -> io::Result<()> {
        match fs::remove_file(self.0.join(read::file_name(number))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => crosstie::durable::force(&self.0).map_err(io::Error::other),
        }
    }
}

impl DiskFile for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)?;
        self.sync_data()
    }
}
