//! Records of event files: the framing of TFRecord, and the messages in it as far as
//! they are written. Numbers of fields and of types are those of `event.proto`,
//! `summary.proto`, `tensor.proto` and `types.proto` of TensorFlow.

use prost::{Message, Oneof};

/// The version of event files.
const VERSION: &str = "brain.Event:2";
/// The type of elements that are texts.
const STRING: i32 = 7;
/// The class of data that are tensors.
const TENSOR: i32 = 2;

/// What is told at one moment.
pub struct Event {
    /// Since the beginning of 1970, in seconds.
    pub time: f64,
    pub step: u64,
    pub what: What,
}

pub enum What {
    /// That this is an event file, which its first record says.
    Version,
    /// Numbers, each with its tag. Tags with the same part before a `/` stand together.
    Scalars(Vec<(String, f64)>),
    /// A tag, and a text in Markdown.
    Text(String, String),
}

impl What {
    pub fn at(self, time: f64, step: u64) -> Event {
        Event { time, step, what: self }
    }
}

impl Event {
    /// The event as it stands in the file.
    pub fn record(self) -> Vec<u8> {
        let what = match self.what {
            What::Version => Content::FileVersion(VERSION.into()),
            What::Scalars(scalars) => {
                let value = |(tag, number)| Value { tag, metadata: None, is: Some(Is::Number(number as f32)) };
                Content::Summary(Summary { value: scalars.into_iter().map(value).collect() })
            }
            What::Text(tag, text) => {
                let tensor = Tensor { dtype: STRING, shape: Some(Shape {}), strings: vec![text.into_bytes()] };
                let plugin = Some(Plugin { name: "text".into() });
                let metadata = Some(Metadata { plugin, data_class: TENSOR });
                Content::Summary(Summary { value: vec![Value { tag, metadata, is: Some(Is::Tensor(tensor)) }] })
            }
        };
        framed(&EventMessage { wall_time: self.time, step: self.step as i64, what: Some(what) }.encode_to_vec())
    }
}

/// A record: its length and that one's checksum, its bytes and theirs.
fn framed(bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u64).to_le_bytes();
    let checksums = [&length, bytes].map(|bytes| masked_checksum(bytes).to_le_bytes());
    [&length, &checksums[0][..], bytes, &checksums[1]].concat()
}

/// CRC-32C, masked: records that hold checksums would else have weak ones.
fn masked_checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[derive(Clone, PartialEq, Message)]
struct EventMessage {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(oneof = "Content", tags = "3, 5")]
    what: Option<Content>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Content {
    #[prost(string, tag = "3")]
    FileVersion(String),
    #[prost(message, tag = "5")]
    Summary(Summary),
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(message, optional, tag = "9")]
    metadata: Option<Metadata>,
    #[prost(oneof = "Is", tags = "2, 8")]
    is: Option<Is>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Is {
    #[prost(float, tag = "2")]
    Number(f32),
    #[prost(message, tag = "8")]
    Tensor(Tensor),
}

#[derive(Clone, PartialEq, Message)]
struct Metadata {
    #[prost(message, optional, tag = "1")]
    plugin: Option<Plugin>,
    #[prost(int32, tag = "4")]
    data_class: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Plugin {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct Tensor {
    #[prost(int32, tag = "1")]
    dtype: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<Shape>,
    #[prost(bytes = "vec", repeated, tag = "8")]
    strings: Vec<Vec<u8>>,
}

/// Of a single element, which has no dimensions.
#[derive(Clone, PartialEq, Message)]
struct Shape {}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3720, appendix B.4, and the check value of CRC-32C in the catalogue of CRCs
    /// (`123456789`).
    #[test]
    fn checksums_are_those_of_the_standard() {
        let ascending: Vec<u8> = (0..32).collect();
        for (bytes, expected) in [
            (&[0; 32][..], 0x8a91_36aa_u32),
            (&[0xff; 32], 0x62a8_ab43),
            (&ascending, 0x46dd_794e),
            (b"123456789", 0xe306_9283),
        ] {
            assert_eq!(crc32c::crc32c(bytes), expected);
        }
        // With these bytes event files begin whose first record has 24 bytes, as those of
        // TensorFlow and PyTorch.
        assert_eq!(framed(&[0; 24])[..12], *b"\x18\0\0\0\0\0\0\0\xa3\x7f\x4b\x22");
    }

    /// The first record that PyTorch's and TensorFlow's writers make, but for its time
    /// (here 0, which is not written): 15 bytes, `1a 0d` and the version.
    #[test]
    fn a_record_is_length_checksum_bytes_checksum() {
        let record = What::Version.at(0.0, 0).record();
        assert_eq!(record[..8], 15u64.to_le_bytes());
        assert_eq!(record[12..27], *b"\x1a\x0dbrain.Event:2");
        assert_eq!(record.len(), 8 + 4 + 15 + 4);
    }
}
