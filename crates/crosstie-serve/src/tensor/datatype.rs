//! Types of elements, and their bytes.

use std::sync::Arc;

use axum::body::Bytes;
use crosstie::arrow::array::{Array, ArrayData, ArrayRef, BinaryArray, BooleanArray, Float32Array, make_array};
use crosstie::arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use crosstie::arrow::datatypes::DataType;
use crosstie::spelling;

/// What a tensor's elements are, in the protocol's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datatype {
    /// Truth values.
    Bool,
    /// Whole numbers of 0 or more.
    Uint8,
    /// Whole numbers of 0 or more.
    Uint16,
    /// Whole numbers of 0 or more.
    Uint32,
    /// Whole numbers of 0 or more.
    Uint64,
    /// Whole numbers.
    Int8,
    /// Whole numbers.
    Int16,
    /// Whole numbers.
    Int32,
    /// Whole numbers.
    Int64,
    /// Numbers of 16 bits.
    Fp16,
    /// The first 16 bits of numbers of 32.
    Bf16,
    /// Numbers of 32 bits.
    Fp32,
    /// Numbers of 64 bits.
    Fp64,
    /// Texts.
    Bytes,
}

impl Datatype {
    const ALL: [(&'static str, Datatype); 14] = [
        ("BOOL", Datatype::Bool),
        ("UINT8", Datatype::Uint8),
        ("UINT16", Datatype::Uint16),
        ("UINT32", Datatype::Uint32),
        ("UINT64", Datatype::Uint64),
        ("INT8", Datatype::Int8),
        ("INT16", Datatype::Int16),
        ("INT32", Datatype::Int32),
        ("INT64", Datatype::Int64),
        ("FP16", Datatype::Fp16),
        ("BF16", Datatype::Bf16),
        ("FP32", Datatype::Fp32),
        ("FP64", Datatype::Fp64),
        ("BYTES", Datatype::Bytes),
    ];

    /// The type of a name.
    ///
    /// # Errors
    /// What was expected, with the nearest name.
    pub fn named(name: &str) -> Result<Datatype, String> {
        let found = Datatype::ALL.iter().find(|(known, _)| *known == name);
        found.map(|(_, datatype)| *datatype).ok_or_else(|| {
            format!("a datatype of the protocol{}", spelling::hint(name, Datatype::ALL.map(|(known, _)| known)))
        })
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        Datatype::ALL.iter().find(|(_, datatype)| *datatype == self).map_or("", |(name, _)| name)
    }

    /// Bytes of an element; `None` for texts, each of which has its own.
    fn width(self) -> Option<usize> {
        Some(match self {
            Datatype::Bool | Datatype::Uint8 | Datatype::Int8 => 1,
            Datatype::Uint16 | Datatype::Int16 | Datatype::Fp16 | Datatype::Bf16 => 2,
            Datatype::Uint32 | Datatype::Int32 | Datatype::Fp32 => 4,
            Datatype::Uint64 | Datatype::Int64 | Datatype::Fp64 => 8,
            Datatype::Bytes => return None,
        })
    }

    /// Whether the elements of an array may pass for this type: as what JSON tells apart.
    pub(super) fn admits(self, array: &dyn Array) -> bool {
        use DataType::*;
        let found = array.data_type();
        match self {
            _ if *found == Null => true,
            Datatype::Bool => *found == Boolean,
            Datatype::Bytes => matches!(found, Utf8 | LargeUtf8 | Utf8View | Binary | LargeBinary | BinaryView),
            Datatype::Fp16 | Datatype::Bf16 | Datatype::Fp32 | Datatype::Fp64 => {
                found.is_integer() || found.is_floating()
            }
            _ => found.is_integer(),
        }
    }

    /// So many elements from their bytes.
    ///
    /// # Errors
    /// What was found and what was expected.
    pub(super) fn read(self, raw: Bytes, count: usize) -> Result<ArrayRef, (String, String)> {
        let Some(width) = self.width() else { return read_texts(&raw, count) };
        if Some(raw.len()) != count.checked_mul(width) {
            let expected = format!("{count} elements of {width} bytes, as shape and datatype say");
            return Err((format!("{} bytes", raw.len()), expected));
        }
        let plain = |data_type: DataType| {
            let data =
                ArrayData::builder(data_type).len(count).add_buffer(Buffer::from(raw.clone())).align_buffers(true);
            data.build().map(make_array).map_err(|error| (error.to_string(), format!("elements of {}", self.name())))
        };
        match self {
            Datatype::Bool => Ok(Arc::new(raw.iter().map(|byte| Some(*byte != 0)).collect::<BooleanArray>())),
            Datatype::Bf16 => {
                let wide = |pair: &[u8]| f32::from_bits(u32::from(u16::from_le_bytes([pair[0], pair[1]])) << 16);
                Ok(Arc::new(raw.chunks_exact(2).map(wide).map(Some).collect::<Float32Array>()))
            }
            Datatype::Uint8 => plain(DataType::UInt8),
            Datatype::Uint16 => plain(DataType::UInt16),
            Datatype::Uint32 => plain(DataType::UInt32),
            Datatype::Uint64 => plain(DataType::UInt64),
            Datatype::Int8 => plain(DataType::Int8),
            Datatype::Int16 => plain(DataType::Int16),
            Datatype::Int32 => plain(DataType::Int32),
            Datatype::Int64 => plain(DataType::Int64),
            Datatype::Fp16 => plain(DataType::Float16),
            Datatype::Fp32 => plain(DataType::Float32),
            Datatype::Fp64 | Datatype::Bytes => plain(DataType::Float64),
        }
    }
}

/// Texts, each behind its length. They are checked to be UTF-8 when they are read.
fn read_texts(raw: &[u8], count: usize) -> Result<ArrayRef, (String, String)> {
    const LENGTH: usize = 4;
    let expected = || format!("{count} texts, each behind its length as 32 bits");
    // Each takes four bytes at least, so no memory is asked for that was not sent.
    if raw.len() / LENGTH < count || i32::try_from(raw.len()).is_err() {
        return Err((format!("{} bytes", raw.len()), expected()));
    }
    let (mut offsets, mut bytes) = (Vec::with_capacity(count + 1), Vec::with_capacity(raw.len() - LENGTH * count));
    offsets.push(0i32);
    let mut rest = raw;
    for index in 0..count {
        let text = rest.split_first_chunk::<LENGTH>().and_then(|(length, after)| {
            let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
            after.split_at_checked(length)
        });
        let Some((text, after)) = text else {
            return Err((format!("bytes that end within text {}", index + 1), expected()));
        };
        bytes.extend_from_slice(text);
        offsets.push(bytes.len() as i32);
        rest = after;
    }
    if !rest.is_empty() {
        return Err((format!("{} bytes behind the last text", rest.len()), expected()));
    }
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    Ok(Arc::new(BinaryArray::new(offsets, Buffer::from(bytes), None)))
}
