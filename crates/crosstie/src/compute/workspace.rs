//! Buffers of a batch, and the passes over them.

use std::ops::Range;

use rayon::prelude::*;

use super::graph::{Node, Program};
use super::op::{BackwardPass, BatchView, ForwardPass, Job};
use super::parameters::{Parameters, StepWeights};

/// Rows of a chunk. Small enough that a chunk's numbers stay near the
/// processor and that a batch has work for several threads, large enough for
/// fast products. Fixed, because results must not depend on the machine.
pub const CHUNK: usize = 256;

/// Training or scoring.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    /// Dropout and batch statistics are on; the numbers address the randomness.
    Train {
        /// The run's seed.
        seed: u64,
        /// The optimizer step.
        step: u64,
    },
    /// Every row for itself.
    Score,
}

/// Fills rows `range` of source `index` (`rows × width`, row-major).
pub type Fill<'a> = dyn Fn(usize, Range<usize>, &mut [f32]) + Sync + 'a;

/// The numbers of some consecutive rows of a batch.
#[derive(Debug)]
pub(super) struct Chunk {
    pub rows: usize,
    pub first_row: usize,
    pub segments: Vec<Range<usize>>,
    /// Per buffer with a lead: the rows whose lead differs from that of the row
    /// before. Found for scoring only.
    pub starts: Vec<Vec<usize>>,
    pub values: Vec<Vec<f32>>,
    pub gradients: Vec<Vec<f32>>,
}

/// A loss that is no finite number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NotFinite {
    /// Which loss.
    pub loss: usize,
    /// Its value.
    pub value: f64,
    /// The row of the batch, from 0.
    pub row: usize,
}

/// All buffers that a program needs for batches of up to so many rows.
#[derive(Debug)]
pub struct Workspace {
    chunks: Vec<Chunk>,
    statistics: Vec<Vec<f32>>,
    capacity: usize,
    used: usize,
    rows: usize,
    diagnosis: bool,
}

impl Program {
    /// Buffers for batches of up to `rows` rows; with gradients for training.
    pub fn workspace(&self, rows: usize, training: bool) -> Workspace {
        self.buffers(rows, training, if training { &self.train } else { &self.score })
    }

    /// Buffers for scoring that computes the diagnostics too. They may depend
    /// on labels, which scoring alone never asks for.
    pub fn diagnosis(&self, rows: usize) -> Workspace {
        Workspace { diagnosis: true, ..self.buffers(rows, false, &self.diagnose) }
    }

    fn buffers(&self, rows: usize, training: bool, used: &[bool]) -> Workspace {
        let mut alive = vec![false; self.widths.len()];
        for (index, step) in self.steps.iter().enumerate().filter(|(index, _)| used[*index]) {
            alive[step.output.buffer] = true;
            let inputs = if training { &step.inputs } else { &self.scoring[index] };
            inputs.iter().for_each(|input| alive[input.buffer] = true);
        }
        self.outputs.iter().for_each(|output| alive[output.buffer] = true);
        let buffers = |rows: usize, wanted: &dyn Fn(usize) -> bool| -> Vec<Vec<f32>> {
            let length = |buffer: usize| if wanted(buffer) { rows * self.widths[buffer] } else { 0 };
            (0..self.widths.len()).map(|buffer| vec![0.0; length(buffer)]).collect()
        };
        let chunks = (0..rows.div_ceil(CHUNK))
            .map(|index| {
                let rows = CHUNK.min(rows - index * CHUNK);
                Chunk {
                    rows,
                    first_row: index * CHUNK,
                    segments: vec![0..0; self.scenarios],
                    starts: vec![Vec::new(); self.widths.len()],
                    values: buffers(rows, &|buffer| alive[buffer]),
                    gradients: buffers(rows, &|buffer| training && self.backward.needed[buffer]),
                }
            })
            .collect();
        let statistics: Vec<Vec<f32>> =
            self.steps.iter().map(|step| vec![0.0; if training { step.op.statistics() } else { 0 }]).collect();
        Workspace { chunks, statistics, capacity: rows, used: 0, rows: 0, diagnosis: false }
    }

    /// Computes the outputs of a batch, and the diagnostics in a workspace for
    /// [diagnosis](Program::diagnosis).
    ///
    /// `segments` are the rows of each scenario; they cover `0..rows` in order.
    pub fn score(
        &self,
        workspace: &mut Workspace,
        parameters: &Parameters,
        rows: usize,
        segments: &[Range<usize>],
        fill: &Fill<'_>,
    ) {
        workspace.load(rows, segments);
        let used = if workspace.diagnosis { &self.diagnose } else { &self.score };
        let (chunks, statistics) = (&mut workspace.chunks[..workspace.used], &workspace.statistics);
        chunks.par_iter_mut().with_max_len(1).for_each(|chunk| {
            self.fill(chunk, fill);
            self.find_starts(chunk);
            self.forward_chunk(chunk, 0..self.steps.len(), used, parameters, statistics, Mode::Score);
        });
    }

    /// Computes the losses of a batch and the gradients of the sources. `seeds`
    /// are the weights of the losses, per row. Follow with
    /// [`Program::parameter_gradients`].
    #[allow(clippy::too_many_arguments)]
    pub fn train(
        &self,
        workspace: &mut Workspace,
        parameters: &Parameters,
        rows: usize,
        segments: &[Range<usize>],
        seeds: &[f32],
        mode: Mode,
        fill: &Fill<'_>,
    ) {
        workspace.load(rows, segments);
        let whole = 0..self.steps.len();
        if self.steps.iter().all(|step| step.op.statistics() == 0) {
            let (chunks, statistics) = (&mut workspace.chunks[..workspace.used], &workspace.statistics);
            chunks.par_iter_mut().with_max_len(1).for_each(|chunk| {
                self.fill(chunk, fill);
                self.forward_chunk(chunk, whole.clone(), &self.train, parameters, statistics, mode);
                self.seed_chunk(chunk, seeds);
                self.backward_chunk(chunk, whole.clone(), parameters, statistics, mode);
            });
            return;
        }
        workspace.each(|chunk, _| self.fill(chunk, fill));
        self.forward_by_stages(workspace, parameters, mode);
        self.backward(workspace, parameters, seeds, mode);
    }

    /// The backward pass alone, for losses weighted anew after
    /// [`Program::train`] on the same batch.
    pub fn backward(&self, workspace: &mut Workspace, parameters: &Parameters, seeds: &[f32], mode: Mode) {
        workspace.each(|chunk, _| self.seed_chunk(chunk, seeds));
        let mut end = self.steps.len();
        for barrier in self.barriers().into_iter().rev() {
            // Everything above the barrier, then what it must know of the batch.
            workspace.each(|chunk, statistics| {
                self.backward_chunk(chunk, barrier + 1..end, parameters, statistics, mode);
            });
            self.reduce(workspace, parameters, barrier, true);
            end = barrier + 1;
        }
        workspace.each(|chunk, statistics| self.backward_chunk(chunk, 0..end, parameters, statistics, mode));
    }

    fn forward_by_stages(&self, workspace: &mut Workspace, parameters: &Parameters, mode: Mode) {
        let mut start = 0;
        for barrier in self.barriers() {
            workspace.each(|chunk, statistics| {
                self.forward_chunk(chunk, start..barrier, &self.train, parameters, statistics, mode);
            });
            self.reduce(workspace, parameters, barrier, false);
            start = barrier;
        }
        workspace.each(|chunk, statistics| {
            self.forward_chunk(chunk, start..self.steps.len(), &self.train, parameters, statistics, mode);
        });
    }

    /// Steps that must know the whole batch before they run.
    fn barriers(&self) -> Vec<usize> {
        (0..self.steps.len()).filter(|step| self.steps[*step].op.statistics() > 0 && self.train[*step]).collect()
    }

    fn reduce(&self, workspace: &mut Workspace, parameters: &Parameters, step: usize, backward: bool) {
        let mut statistics = std::mem::take(&mut workspace.statistics[step]);
        self.steps[step].op.reduce(&self.batch_view(workspace, parameters, step), backward, &mut statistics);
        workspace.statistics[step] = statistics;
    }

    fn batch_view<'a>(&'a self, workspace: &'a Workspace, numbers: &'a [f32], step: usize) -> BatchView<'a> {
        BatchView {
            chunks: &workspace.chunks[..workspace.used],
            inputs: &self.steps[step].inputs,
            output: self.steps[step].output,
            widths: &self.widths,
            statistics: &workspace.statistics[step],
            slots: &self.steps[step].parameters,
            parameters: &self.parameters,
            numbers,
            products: self.products,
        }
    }

    fn fill(&self, chunk: &mut Chunk, fill: &Fill<'_>) {
        let rows = chunk.first_row..chunk.first_row + chunk.rows;
        for (index, (_, buffer)) in self.sources.iter().enumerate() {
            let width = self.widths[*buffer];
            let values = &mut chunk.values[*buffer];
            if !values.is_empty() {
                fill(index, rows.clone(), &mut values[..chunk.rows * width]);
            }
        }
    }

    fn find_starts(&self, chunk: &mut Chunk) {
        for (buffer, lead) in self.leads.iter().enumerate().filter(|(_, lead)| **lead > 0) {
            let (width, values) = (self.widths[buffer], &chunk.values[buffer]);
            if values.is_empty() {
                continue;
            }
            let lead = |row: usize| bytemuck::cast_slice::<f32, u32>(&values[row * width..][..*lead]);
            chunk.starts[buffer].clear();
            chunk.starts[buffer].extend((0..chunk.rows).filter(|row| *row == 0 || lead(*row) != lead(row - 1)));
        }
    }

    fn forward_chunk(
        &self,
        chunk: &mut Chunk,
        steps: Range<usize>,
        used: &[bool],
        parameters: &Parameters,
        statistics: &[Vec<f32>],
        mode: Mode,
    ) {
        for index in steps.filter(|index| used[*index]) {
            let step = &self.steps[index];
            let mut output = std::mem::take(&mut chunk.values[step.output.buffer]);
            let slots: Vec<&[f32]> =
                step.parameters.iter().map(|id| &parameters[self.parameters[id.0].range()]).collect();
            step.op.forward(&mut ForwardPass {
                rows: chunk.rows,
                first_row: chunk.first_row,
                segments: &chunk.segments,
                mode,
                products: self.products,
                output: &mut output[..chunk.rows * step.output.width],
                step: index,
                inputs: if mode == Mode::Score { &self.scoring[index] } else { &step.inputs },
                buffers: &chunk.values,
                widths: &self.widths,
                leads: &self.leads,
                starts: &chunk.starts,
                parameters: &slots,
                weights: StepWeights::find(self, parameters, index),
                statistics: &statistics[index],
            });
            chunk.values[step.output.buffer] = output;
        }
    }

    fn seed_chunk(&self, chunk: &mut Chunk, seeds: &[f32]) {
        for (buffer, gradient) in chunk.gradients.iter_mut().enumerate() {
            if self.backward.zeroed[buffer] {
                gradient.fill(0.0);
            }
        }
        for ((_, node), seed) in self.losses.iter().zip(seeds) {
            let width = self.widths[node.buffer];
            for row in 0..chunk.rows {
                chunk.gradients[node.buffer][row * width + node.from] += seed;
            }
        }
    }

    fn backward_chunk(
        &self,
        chunk: &mut Chunk,
        steps: Range<usize>,
        parameters: &Parameters,
        statistics: &[Vec<f32>],
        mode: Mode,
    ) {
        for index in steps.rev().filter(|index| self.backward.runs[*index]) {
            let step = &self.steps[index];
            let mut gradient = std::mem::take(&mut chunk.gradients[step.output.buffer]);
            let slots: Vec<&[f32]> =
                step.parameters.iter().map(|id| &parameters[self.parameters[id.0].range()]).collect();
            step.op.backward(&mut BackwardPass {
                rows: chunk.rows,
                first_row: chunk.first_row,
                segments: &chunk.segments,
                mode,
                products: self.products,
                gradient: &mut gradient[..chunk.rows * step.output.width],
                step: index,
                output: step.output,
                inputs: &step.inputs,
                buffers: &chunk.values,
                gradients: &mut chunk.gradients,
                writes: &self.backward.writes[index],
                widths: &self.widths,
                parameters: &slots,
                weights: StepWeights::find(self, parameters, index),
                statistics: &statistics[index],
            });
            chunk.gradients[step.output.buffer] = gradient;
        }
    }

    /// Computes the gradient of every parameter from the passes before. Each
    /// element is written by one job that walks the chunks in order.
    /// `parameters` are those of the passes.
    pub fn parameter_gradients(&self, workspace: &Workspace, parameters: &[f32], gradients: &mut [f32]) {
        let waves = self.users.iter().map(Vec::len).max().unwrap_or(0);
        for wave in 0..waves.max(1) {
            let mut jobs: Vec<(usize, usize, Job<'_>)> = Vec::new();
            let mut rest = &mut gradients[..];
            let mut at = 0;
            for (parameter, users) in self.parameters.iter().zip(&self.users) {
                let (slice, after) = rest.split_at_mut(parameter.offset - at + parameter.len());
                let slice = &mut slice[parameter.offset - at..];
                at = parameter.offset + parameter.len();
                rest = after;
                match users.get(wave) {
                    Some((step, slot)) => {
                        jobs.extend(self.steps[*step].op.jobs(*slot, slice).into_iter().map(|job| (*step, *slot, job)));
                    }
                    None if wave == 0 => slice.fill(0.0),
                    None => {}
                }
            }
            jobs.into_par_iter().with_max_len(1).for_each(|(step, slot, mut job)| {
                let view = self.batch_view(workspace, parameters, step);
                self.steps[step].op.parameter_gradient(slot, &mut job, wave > 0, &view);
            });
        }
    }

    /// Lets ops update what they keep between batches (moving statistics).
    pub fn keep(&self, workspace: &Workspace, parameters: &mut [f32]) {
        for (index, step) in self.steps.iter().enumerate().filter(|(index, _)| self.train[*index]) {
            for (slot, id) in step.parameters.iter().enumerate() {
                let parameter = &self.parameters[id.0];
                if !parameter.learned {
                    step.op.keep(slot, &workspace.statistics[index], &mut parameters[parameter.range()]);
                }
            }
        }
    }
}

impl Workspace {
    fn load(&mut self, rows: usize, segments: &[Range<usize>]) {
        assert!(rows <= self.capacity, "{rows} rows do not fit a workspace for {}", self.capacity);
        debug_assert_eq!(segments.last().map_or(0, |last| last.end), rows, "segments cover the batch");
        self.rows = rows;
        self.used = rows.div_ceil(CHUNK);
        for (index, chunk) in self.chunks[..self.used].iter_mut().enumerate() {
            chunk.first_row = index * CHUNK;
            chunk.rows = CHUNK.min(rows - chunk.first_row);
            let inside = |row: usize| row.clamp(chunk.first_row, chunk.first_row + chunk.rows) - chunk.first_row;
            for (segment, whole) in chunk.segments.iter_mut().zip(segments) {
                *segment = inside(whole.start)..inside(whole.end);
            }
        }
    }

    fn each(&mut self, work: impl Fn(&mut Chunk, &[Vec<f32>]) + Sync) {
        let statistics = &self.statistics;
        self.chunks[..self.used].par_iter_mut().with_max_len(1).for_each(|chunk| work(chunk, statistics));
    }

    /// Rows of the batch it holds.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// A node's rows, in order.
    pub fn values<'a>(&'a self, program: &'a Program, node: Node) -> impl Iterator<Item = &'a [f32]> {
        let width = program.widths[node.buffer];
        self.chunks[..self.used].iter().flat_map(move |chunk| {
            let values = chunk.values[node.buffer][..chunk.rows * width].chunks_exact(width);
            values.map(move |row| &row[node.from..node.from + node.width])
        })
    }

    /// The gradient with respect to a source, chunk by chunk: the first row's
    /// place in the batch and `rows × width` numbers.
    pub fn source_gradients<'a>(
        &'a self,
        program: &'a Program,
        source: Node,
    ) -> impl Iterator<Item = (usize, &'a [f32])> + Clone {
        let width = program.widths[source.buffer];
        let chunks = self.chunks[..self.used].iter();
        chunks.map(move |chunk| (chunk.first_row, &chunk.gradients[source.buffer][..chunk.rows * width]))
    }

    /// Sum over the rows of each loss, and the first place where one is not
    /// finite.
    pub fn losses(&self, program: &Program) -> (Vec<f64>, Option<NotFinite>) {
        let mut broken = None;
        let sums = program.losses.iter().enumerate().map(|(index, (_, node))| {
            let width = program.widths[node.buffer];
            let mut sum = 0.0;
            for chunk in &self.chunks[..self.used] {
                let values = chunk.values[node.buffer].iter().skip(node.from).step_by(width).take(chunk.rows);
                let part: f64 = values.clone().map(|value| f64::from(*value)).sum();
                if !part.is_finite() && broken.is_none() {
                    let found = values.enumerate().find(|(_, value)| !value.is_finite());
                    broken = found.map(|(row, value)| NotFinite {
                        loss: index,
                        value: f64::from(*value),
                        row: chunk.first_row + row,
                    });
                }
                sum += part;
            }
            sum
        });
        let sums = sums.collect();
        (sums, broken)
    }
}
