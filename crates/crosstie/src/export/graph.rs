//! An ONNX graph under way.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufWriter, Seek, Write};
use std::path::Path;

use bytemuck::cast_slice;
use prost::Message;

use super::onnx::{self, Attribute, Dimension, Entry, Length, OperatorSet, Shape, Type, ValueInfo};
use crate::error::{Error, Result};

/// Where tensors of a file of their own begin: engines map pages of it.
const PAGE: u64 = 4096;
/// Tensors of fewer bytes stay in the model in any case.
const SMALL: usize = 1024;
/// The most that one message may hold.
const MOST: usize = i32::MAX as usize;

/// An edge, by its name.
pub type Edge = String;

/// The numbers of a constant.
enum Numbers<'a> {
    Float(Cow<'a, [f32]>),
    Int64(Vec<i64>),
    Double(Vec<f64>),
}

impl Numbers<'_> {
    fn kind(&self) -> i32 {
        match self {
            Numbers::Float(_) => onnx::FLOAT,
            Numbers::Int64(_) => onnx::INT64,
            Numbers::Double(_) => onnx::DOUBLE,
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Numbers::Float(numbers) => cast_slice(numbers),
            Numbers::Int64(numbers) => cast_slice(numbers),
            Numbers::Double(numbers) => cast_slice(numbers),
        }
    }
}

/// A constant.
struct Constant<'a> {
    name: Edge,
    shape: Vec<usize>,
    numbers: Numbers<'a>,
}

/// Nodes, constants, inputs and outputs.
#[derive(Default)]
pub struct Graph<'a> {
    nodes: Vec<onnx::Node>,
    constants: Vec<Constant<'a>>,
    inputs: Vec<ValueInfo>,
    outputs: Vec<ValueInfo>,
}

impl<'a> Graph<'a> {
    /// Adds an input; its first axis is the rows.
    pub fn input(&mut self, name: &str, kind: i32, axes: &[Length]) -> Edge {
        self.inputs.push(value(name, kind, axes));
        name.into()
    }

    /// Adds an output: of an edge of rows × 1 one float for each row.
    pub fn output(&mut self, name: &str, of: &Edge) {
        let shape = self.ints(name, vec![-1]);
        self.nodes.push(onnx::Node {
            input: vec![of.clone(), shape],
            output: vec![name.into()],
            name: name.into(),
            op_type: "Reshape".into(),
            ..onnx::Node::default()
        });
        self.outputs.push(value(name, onnx::FLOAT, &[rows()]));
    }

    /// Adds a node of the standard operators; its output. `of` says what it is a part of.
    pub fn node(&mut self, of: &str, operator: &str, inputs: &[&str], attributes: Vec<Attribute>) -> Edge {
        self.node_of("", of, operator, inputs, attributes)
    }

    /// The same of the operators of a domain.
    pub fn node_of(
        &mut self,
        domain: &str,
        of: &str,
        operator: &str,
        inputs: &[&str],
        attributes: Vec<Attribute>,
    ) -> Edge {
        let name = format!("{of}/{operator} {}", self.nodes.len());
        self.nodes.push(onnx::Node {
            input: inputs.iter().map(|input| (*input).into()).collect(),
            output: vec![name.clone()],
            name: name.clone(),
            op_type: operator.into(),
            attribute: attributes,
            domain: domain.into(),
        });
        name
    }

    fn constant(&mut self, of: &str, shape: &[usize], numbers: Numbers<'a>) -> Edge {
        let name = format!("{of}/constant {}", self.constants.len());
        self.constants.push(Constant { name: name.clone(), shape: shape.to_vec(), numbers });
        name
    }

    /// Adds float32 numbers.
    pub fn floats(&mut self, of: &str, shape: &[usize], numbers: impl Into<Cow<'a, [f32]>>) -> Edge {
        self.constant(of, shape, Numbers::Float(numbers.into()))
    }

    /// Adds whole numbers along one axis.
    pub fn ints(&mut self, of: &str, numbers: Vec<i64>) -> Edge {
        self.constant(of, &[numbers.len()], Numbers::Int64(numbers))
    }

    /// Adds float64 numbers along one axis.
    pub fn doubles(&mut self, of: &str, numbers: Vec<f64>) -> Edge {
        self.constant(of, &[numbers.len()], Numbers::Double(numbers))
    }

    /// Writes the model; constants of more than `most` bytes in all go to the file
    /// `weights` beside it. Whether they do.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Unfit`] if the model is too large to be read.
    pub fn write(self, directory: &Path, [model, weights]: [&str; 2], about: &str, most: u64) -> Result<bool> {
        let path = directory.join(model);
        let bytes: u64 = self.constants.iter().map(|constant| constant.numbers.bytes().len() as u64).sum();
        let mut beside = if bytes > most {
            let beside = directory.join(weights);
            Some((BufWriter::new(File::create(&beside).map_err(Error::io(&beside))?), beside))
        } else {
            None
        };
        let mut initializer = Vec::with_capacity(self.constants.len());
        for Constant { name, shape, numbers } in self.constants {
            let dims = shape.iter().map(|length| *length as i64).collect();
            let mut tensor = onnx::Tensor { dims, data_type: numbers.kind(), name, ..onnx::Tensor::default() };
            match beside.as_mut().filter(|_| numbers.bytes().len() >= SMALL) {
                Some((file, path)) => {
                    let offset = append(file, numbers.bytes()).map_err(Error::io(&*path))?;
                    tensor.data_location = Some(onnx::EXTERNAL);
                    tensor.external_data = vec![
                        Entry::new("location", weights),
                        Entry::new("offset", offset),
                        Entry::new("length", numbers.bytes().len()),
                    ];
                }
                None => tensor.raw_data = Some(numbers.bytes().to_vec()),
            }
            initializer.push(tensor);
        }
        let external = beside.is_some();
        if let Some((mut file, path)) = beside {
            file.flush().map_err(Error::io(&path))?;
        }
        let ml = self.nodes.iter().any(|node| node.domain == onnx::ML.0).then_some(onnx::ML);
        let operators = [("", onnx::OPSET)].into_iter().chain(ml);
        let model = onnx::Model {
            ir_version: onnx::IR_VERSION,
            producer_name: "crosstie".into(),
            producer_version: env!("CARGO_PKG_VERSION").into(),
            doc_string: about.into(),
            graph: Some(onnx::Graph {
                node: self.nodes,
                name: "crosstie".into(),
                initializer,
                input: self.inputs,
                output: self.outputs,
            }),
            opset_import: operators
                .map(|(domain, version)| OperatorSet { domain: Some(domain.into()), version })
                .collect(),
            metadata_props: Vec::new(),
        };
        if model.encoded_len() > MOST {
            let message = format!("the model takes {} bytes and no reader takes more than {MOST}", model.encoded_len());
            return Err(Error::unfit(&path, message));
        }
        std::fs::write(&path, model.encode_to_vec()).map_err(Error::io(&path))?;
        Ok(external)
    }
}

/// Appends bytes from the next page on; where they begin.
fn append(file: &mut BufWriter<File>, bytes: &[u8]) -> std::io::Result<u64> {
    let end = file.stream_position()?;
    let offset = end.next_multiple_of(PAGE);
    file.write_all(&vec![0; (offset - end) as usize])?;
    file.write_all(bytes)?;
    Ok(offset)
}

/// The axis of the rows: any number of them.
pub fn rows() -> Length {
    Length::Named("rows".into())
}

fn value(name: &str, kind: i32, axes: &[Length]) -> ValueInfo {
    let dim = axes.iter().map(|length| Dimension { length: Some(length.clone()) }).collect();
    let tensor_type = Some(onnx::TensorType { elem_type: kind, shape: Some(Shape { dim }) });
    ValueInfo { name: name.into(), kind: Some(Type { tensor_type }) }
}
