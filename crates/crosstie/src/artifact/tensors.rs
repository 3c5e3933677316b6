//! Weights as safetensors: float32, little-endian, named.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors, View};

use crate::error::{Error, Result};

struct Tensor<'a> {
    shape: Vec<usize>,
    values: &'a [f32],
}

impl View for Tensor<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        #[cfg(target_endian = "little")]
        return Cow::Borrowed(bytemuck::cast_slice(self.values));
        #[cfg(not(target_endian = "little"))]
        return Cow::Owned(self.values.iter().flat_map(|value| value.to_le_bytes()).collect());
    }

    fn data_len(&self) -> usize {
        size_of_val(self.values)
    }
}

/// Writes tensors given as name, shape and values. No metadata, so the same
/// tensors give the same bytes.
pub(super) fn write<'a>(path: &Path, tensors: impl Iterator<Item = (&'a str, Vec<usize>, &'a [f32])>) -> Result<()> {
    let tensors = tensors.map(|(name, shape, values)| (name, Tensor { shape, values }));
    safetensors::serialize_to_file(tensors, None, path).map_err(|error| Error::artifact(path, error.to_string()))
}

/// The tensors of a file.
pub(super) struct Tensors {
    path: PathBuf,
    bytes: Vec<u8>,
}

/// Reads a file whole.
pub(super) fn read(path: &Path) -> Result<Tensors> {
    Ok(Tensors { path: path.to_path_buf(), bytes: fs::read(path).map_err(Error::io(path))? })
}

impl Tensors {
    /// The values of a tensor of a known shape.
    pub fn take(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let wrong = |message: String| Error::artifact(&self.path, message);
        let tensors = SafeTensors::deserialize(&self.bytes).map_err(|error| wrong(format!("damaged: {error}")))?;
        let tensor = tensors.tensor(name).map_err(|_| {
            let hint = crate::spelling::hint(name, tensors.names());
            wrong(format!("tensor `{name}` is missing{hint}"))
        })?;
        if tensor.dtype() != Dtype::F32 || tensor.shape() != shape {
            let (dtype, found) = (tensor.dtype(), tensor.shape());
            return Err(wrong(format!("tensor `{name}` is {dtype:?} {found:?}, expected F32 {shape:?}")));
        }
        let values = tensor.data().chunks_exact(4);
        Ok(values.map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])).collect())
    }
}
