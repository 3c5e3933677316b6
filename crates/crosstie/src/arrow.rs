//! The parts of Apache Arrow that tables are handed over in, at the paths of
//! the crate `arrow`, which itself would take minutes longer to build.
//!
//! [`Rows`](crate::data::Rows) hold a [`RecordBatch`](array::RecordBatch). The
//! types are those of the crate `arrow` of the same version.

/// Arrays, their builders and casts to their own types.
pub mod array {
    pub use arrow_array::builder::*;
    pub use arrow_array::cast::*;
    pub use arrow_array::*;
    pub use arrow_data::ArrayData;
}

/// Types of columns, with their Rust types, and schemas.
pub mod datatypes {
    pub use arrow_array::ArrowPrimitiveType;
    pub use arrow_array::types::*;
    pub use arrow_schema::{
        DataType, Field, FieldRef, Fields, IntervalUnit, Schema, SchemaRef, TimeUnit, UnionFields, UnionMode,
    };
}

pub use arrow_buffer as buffer;

/// What Arrow returns instead of a value.
pub mod error {
    pub use arrow_schema::ArrowError;
}
