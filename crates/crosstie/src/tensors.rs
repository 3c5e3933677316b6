//! Tensors in safetensors files: written in one go, read by parts.
//!
//! A file is read tensor by tensor straight to where its numbers will live, so
//! reading needs no memory of its own. It is not mapped: a mapping would need
//! `unsafe`, fault on a file that is cut while it is used, and leave the first
//! requests of a server to wait for the disk.

use std::borrow::Cow;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use bytemuck::Pod;
use safetensors::tensor::{Dtype, Metadata, View};

use crate::error::{Error, Result};
use crate::spelling;

/// The longest header that is believed, in bytes; the format's own limit.
const LONGEST_HEADER: u64 = 100_000_000;

/// The numbers of a tensor, to be written to a file or filled from one.
#[derive(Debug)]
pub enum Numbers<'a> {
    /// Single precision.
    F32(&'a mut [f32]),
    /// Counts and ids.
    U32(&'a mut [u32]),
    /// Hashes.
    U64(&'a mut [u64]),
    /// Marks.
    U8(&'a mut [u8]),
}

impl Numbers<'_> {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Numbers::F32(values) => values.len(),
            Numbers::U32(values) => values.len(),
            Numbers::U64(values) => values.len(),
            Numbers::U8(values) => values.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A tensor on its way to a file.
#[derive(Debug)]
struct Stored<'a> {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Cow<'a, [u8]>,
}

impl<'a> Stored<'a> {
    fn new<T: Pod + ToLe>(dtype: Dtype, shape: Vec<usize>, values: &'a [T]) -> Stored<'a> {
        let bytes = if cfg!(target_endian = "little") {
            Cow::Borrowed(bytemuck::cast_slice(values))
        } else {
            let mut values = values.to_vec();
            values.iter_mut().for_each(ToLe::turn);
            Cow::Owned(bytemuck::cast_slice(&values).to_vec())
        };
        Stored { dtype, shape, bytes }
    }
}

impl View for Stored<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// Numbers whose bytes can be put in the order of a file, and back.
trait ToLe {
    fn turn(&mut self);
}

macro_rules! to_le {
    ($($number:ty),*) => {
        $(impl ToLe for $number {
            fn turn(&mut self) {
                *self = <$number>::from_ne_bytes(self.to_le_bytes());
            }
        })*
    };
}

to_le!(f32, u32, u64, u8);

/// Writes tensors of single precision: name, shape, numbers. No metadata, so the
/// same tensors give the same bytes.
///
/// # Errors
/// [`Error::Io`].
pub fn write<'a>(path: &Path, tensors: impl Iterator<Item = (&'a str, Vec<usize>, &'a [f32])>) -> Result<()> {
    serialize(path, tensors.map(|(name, shape, values)| (name.into(), Stored::new(Dtype::F32, shape, values))))
}

/// Writes numbers of any kind as vectors, by name.
///
/// # Errors
/// [`Error::Io`].
pub fn write_numbers(path: &Path, numbers: &[(String, Numbers<'_>)]) -> Result<()> {
    let stored = numbers.iter().map(|(name, numbers)| {
        let shape = vec![numbers.len()];
        let stored = match numbers {
            Numbers::F32(values) => Stored::new(Dtype::F32, shape, values),
            Numbers::U32(values) => Stored::new(Dtype::U32, shape, values),
            Numbers::U64(values) => Stored::new(Dtype::U64, shape, values),
            Numbers::U8(values) => Stored::new(Dtype::U8, shape, values),
        };
        (name.clone(), stored)
    });
    serialize(path, stored)
}

fn serialize<'a>(path: &Path, tensors: impl Iterator<Item = (String, Stored<'a>)>) -> Result<()> {
    // The crate makes a temporary file that nobody else may read, and gives it the
    // name: a server that runs as somebody else could not load it.
    let usual = File::create(path).and_then(|file| file.metadata()).map_err(Error::io(path))?.permissions();
    safetensors::serialize_to_file(tensors, None, path).map_err(|error| {
        let source = match error {
            safetensors::SafeTensorError::IoError(source) => source,
            other => std::io::Error::other(other),
        };
        Error::io(path)(source)
    })?;
    std::fs::set_permissions(path, usual).map_err(Error::io(path))
}

/// A safetensors file, open for reading.
#[derive(Debug)]
pub struct TensorFile {
    path: PathBuf,
    file: File,
    metadata: Metadata,
    /// Where the first tensor's bytes begin.
    start: u64,
}

impl TensorFile {
    /// Reads the header.
    ///
    /// # Errors
    /// [`Error::Artifact`] where the file is damaged; [`Error::Io`].
    pub fn open(path: &Path) -> Result<TensorFile> {
        let damaged = |message: String| Error::artifact(path, format!("damaged: {message}"));
        let mut file = File::open(path).map_err(Error::io(path))?;
        let length = file.metadata().map_err(Error::io(path))?.len();
        let mut size = [0; 8];
        file.read_exact(&mut size).map_err(|_| damaged("there is no header".into()))?;
        let size = u64::from_le_bytes(size);
        if size > LONGEST_HEADER || size > length - 8 {
            return Err(damaged(format!("a header of {size} bytes in a file of {length}")));
        }
        let mut header = vec![0; size as usize];
        file.read_exact(&mut header).map_err(Error::io(path))?;
        let metadata: Metadata =
            serde_json::from_slice(&header).map_err(|error| damaged(error.to_string()).because(error))?;
        let start = 8 + size;
        let expected = start + metadata.data_len() as u64;
        if length != expected {
            return Err(damaged(format!("{length} bytes where its header says {expected}")));
        }
        Ok(TensorFile { path: path.to_path_buf(), file, metadata, start })
    }

    /// Number of elements of a tensor, if there is one of this name.
    pub fn len_of(&self, name: &str) -> Option<usize> {
        self.metadata.info(name).map(|info| info.shape.iter().product())
    }

    /// Fills `into` with the tensor of this name and shape.
    ///
    /// # Errors
    /// [`Error::Artifact`] where there is no such tensor, or one of another type
    /// or shape; [`Error::Io`].
    pub fn read(&mut self, name: &str, shape: &[usize], into: Numbers<'_>) -> Result<()> {
        let wrong = |message: String| Error::artifact(&self.path, message);
        let Some(info) = self.metadata.info(name) else {
            let names = self.metadata.offset_keys();
            let hint = spelling::hint(name, names.iter().map(String::as_str));
            return Err(wrong(format!("tensor `{name}` is missing{hint}")));
        };
        let dtype = match into {
            Numbers::F32(_) => Dtype::F32,
            Numbers::U32(_) => Dtype::U32,
            Numbers::U64(_) => Dtype::U64,
            Numbers::U8(_) => Dtype::U8,
        };
        if info.dtype != dtype || info.shape != shape {
            let (found, has) = (info.dtype, &info.shape);
            return Err(wrong(format!("tensor `{name}` is {found:?} {has:?}, expected {dtype:?} {shape:?}")));
        }
        if into.len() != shape.iter().product::<usize>() {
            return Err(wrong(format!("tensor `{name}` has a shape of {shape:?}, expected {} numbers", into.len())));
        }
        let start = self.start + info.data_offsets.0 as u64;
        self.file.seek(SeekFrom::Start(start)).map_err(Error::io(&self.path))?;
        match into {
            Numbers::F32(values) => self.fill(values),
            Numbers::U32(values) => self.fill(values),
            Numbers::U64(values) => self.fill(values),
            Numbers::U8(values) => self.fill(values),
        }
    }

    fn fill<T: Pod + ToLe>(&mut self, values: &mut [T]) -> Result<()> {
        self.file.read_exact(bytemuck::cast_slice_mut(values)).map_err(Error::io(&self.path))?;
        if cfg!(target_endian = "big") {
            values.iter_mut().for_each(ToLe::turn);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_kind_come_back_to_the_bit() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("numbers.safetensors");
        let (mut floats, mut counts) = ([1.5, -0.0, f32::NAN, f32::INFINITY], [0, 7, u32::MAX]);
        let (mut hashes, mut marks) = ([u64::MAX - 1], [1, 0, 1]);
        let numbers = [
            ("floats".to_string(), Numbers::F32(&mut floats)),
            ("counts".to_string(), Numbers::U32(&mut counts)),
            ("hashes".to_string(), Numbers::U64(&mut hashes)),
            ("marks".to_string(), Numbers::U8(&mut marks)),
            ("nothing".to_string(), Numbers::F32(&mut [])),
        ];
        write_numbers(&path, &numbers).unwrap();
        let mut file = TensorFile::open(&path).unwrap();
        let (mut a, mut b, mut c, mut d) = ([0.0; 4], [0; 3], [0; 1], [0; 3]);
        file.read("marks", &[3], Numbers::U8(&mut d)).unwrap();
        file.read("floats", &[4], Numbers::F32(&mut a)).unwrap();
        file.read("counts", &[3], Numbers::U32(&mut b)).unwrap();
        file.read("hashes", &[1], Numbers::U64(&mut c)).unwrap();
        file.read("nothing", &[0], Numbers::F32(&mut [])).unwrap();
        assert_eq!(a.map(f32::to_bits), floats.map(f32::to_bits));
        assert_eq!((b, c, d), (counts, hashes, marks));
        assert_eq!((file.len_of("counts"), file.len_of("other")), (Some(3), None));
        let said = file.read("count", &[3], Numbers::U32(&mut b)).unwrap_err().to_string();
        assert!(said.contains("did you mean `counts`?"), "{said}");
        let said = file.read("counts", &[4], Numbers::U32(&mut [0; 4])).unwrap_err().to_string();
        assert!(said.contains("[3]") && said.contains("[4]"), "{said}");
        assert!(file.read("counts", &[3], Numbers::F32(&mut [0.0; 3])).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_file_may_be_read_by_whom_other_files_may_be_read() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let mode = |name: &str| std::fs::metadata(directory.path().join(name)).unwrap().permissions().mode();
        std::fs::write(directory.path().join("other"), "").unwrap();
        write(&directory.path().join("a"), [("a", vec![1], &[1.0][..])].into_iter()).unwrap();
        assert_eq!(mode("a"), mode("other"));
    }

    #[test]
    fn a_cut_file_and_a_header_of_any_length_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("numbers.safetensors");
        write(&path, [("a", vec![2], &[1.0, 2.0][..])].into_iter()).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(TensorFile::open(&path).is_err(), "{length} of {} bytes", whole.len());
        }
        for first in [u64::MAX, 1 << 40, whole.len() as u64] {
            let mut changed = whole.clone();
            changed[..8].copy_from_slice(&first.to_le_bytes());
            std::fs::write(&path, &changed).unwrap();
            assert!(TensorFile::open(&path).is_err());
        }
    }
}
