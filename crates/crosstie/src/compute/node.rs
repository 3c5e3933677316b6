//! What a graph is made of: the names of its matrices and of its parameters.

/// A matrix of the graph: some columns of a buffer, one row per row of the
/// batch. Copying it copies the name, not the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    pub(super) buffer: usize,
    pub(super) from: usize,
    pub(super) width: usize,
    pub(super) detached: bool,
}

impl Node {
    /// Number of columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Some of its columns, without copying.
    ///
    /// # Panics
    /// If there are not as many columns.
    pub fn columns(&self, from: usize, width: usize) -> Node {
        assert!(from + width <= self.width, "columns {from}..{} of {}", from + width, self.width);
        Node { from: self.from + from, width, ..*self }
    }

    /// Part `index` of `count` equal parts, without copying.
    pub fn part(&self, index: usize, count: usize) -> Node {
        assert_eq!(self.width % count, 0, "a width of {} has no {count} equal parts", self.width);
        self.columns(index * (self.width / count), self.width / count)
    }

    /// How many of its columns lead, of those that lead in each buffer.
    pub(super) fn lead(&self, leads: &[usize]) -> usize {
        let columns = leads[self.buffer];
        if self.from == 0 && columns <= self.width { columns } else { 0 }
    }

    /// The same numbers, through which no gradient flows.
    pub fn stop_gradient(&self) -> Node {
        Node { detached: true, ..*self }
    }
}

/// A parameter of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ParameterId(pub(super) usize);

/// How a parameter starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// All the same.
    Constant(f32),
    /// Uniform in ± so much.
    Uniform(f64),
    /// Uniform in ± √(6 / (inputs + outputs)) (Glorot and Bengio, AISTATS 2010).
    Glorot {
        /// Numbers read by one output.
        inputs: usize,
        /// Outputs fed by one input.
        outputs: usize,
    },
    /// Uniform in ± √(6 / inputs), for layers followed by a rectifier (He et
    /// al., ICCV 2015).
    He {
        /// Numbers read by one output.
        inputs: usize,
    },
}

/// What is known of a parameter: its numbers live in one flat vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Name of the tensor in the artifact.
    pub name: String,
    /// Shape of the tensor, row-major.
    pub shape: Vec<usize>,
    /// How it starts.
    pub init: Init,
    /// Where its first number stands in the flat vector.
    pub offset: usize,
    /// Learned by gradient; otherwise a statistic that the op keeps itself.
    pub learned: bool,
}

impl Parameter {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its place in the flat vector.
    pub fn range(&self) -> std::ops::Range<usize> {
        self.offset..self.offset + self.len()
    }

    /// A matrix of weights, as opposed to a bias or a scale: what L2 shrinks.
    pub fn is_weight(&self) -> bool {
        self.learned && !matches!(self.init, Init::Constant(_))
    }
}

/// How a step treats the gradient of one of its inputs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Write {
    /// No gradient flows there.
    Skip,
    /// The first to write: overwrites.
    First,
    /// Adds to what is there.
    Add,
}
