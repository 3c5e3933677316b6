//! Buffers of a batch, and the passes over them.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Range;

use super::buffer::{CHUNK, Chunk, Mode, ROOM, rows_of_chunk};
use super::memory;
use super::node::Node;
use super::op::Job;
use super::parameters::Parameters;
use super::pass::{BackwardPass, BatchView, ForwardPass};
use super::program::{Program, Step};
use super::threads::Threads;
use crate::error::Result;

/// Fills rows `range` of source `index` (`rows × width`, row-major).
pub type Fill<'a> = dyn Fn(usize, Range<usize>, &mut [f32]) + Sync + 'a;

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

/// All buffers that a program needs. They grow with the largest batch; as long
/// as none is larger, a pass asks for no memory for numbers.
#[derive(Debug)]
pub struct Workspace {
    chunks: Vec<Chunk>,
    /// Rows of each chunk but the last.
    rows_of_chunk: usize,
    /// Whether they may be fewer than [`CHUNK`].
    cut_anywhere: bool,
    /// Per buffer: how many numbers a row has there, 0 if nobody asks for them.
    values: Vec<usize>,
    /// The same of the gradients.
    gradients: Vec<usize>,
    scenarios: usize,
    statistics: Vec<Vec<f32>>,
    used: usize,
    rows: usize,
    diagnosis: bool,
    threads: Threads,
}

impl Program {
    /// Buffers with room for `rows` rows, which may be none; with gradients for
    /// training.
    ///
    /// # Panics
    /// If there is no memory for the rows ([`Workspace::reserve`] tells of it as an
    /// error).
    pub fn workspace(&self, rows: usize, training: bool) -> Workspace {
        self.buffers(rows, training, if training { &self.train } else { &self.score })
    }

    /// Buffers for scoring that computes the diagnostics too. They may depend
    /// on labels, which scoring alone never asks for.
    ///
    /// # Panics
    /// As [`Program::workspace`].
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
        let widths = |wanted: &dyn Fn(usize) -> bool| {
            self.widths.iter().enumerate().map(|(buffer, width)| if wanted(buffer) { *width } else { 0 }).collect()
        };
        let statistics = |step: &Step| vec![0.0; if training { step.op.statistics() } else { 0 }];
        let mut workspace = Workspace {
            chunks: Vec::new(),
            rows_of_chunk: CHUNK,
            cut_anywhere: self.products.cut_anywhere(),
            values: widths(&|buffer| alive[buffer]),
            gradients: widths(&|buffer| training && self.backward.needed[buffer]),
            scenarios: self.scenarios,
            statistics: self.steps.iter().map(statistics).collect(),
            used: 0,
            rows: 0,
            diagnosis: false,
            threads: Threads::default(),
        };
        workspace.grow(rows);
        workspace
    }

    /// Computes the outputs of a batch, and the diagnostics in a workspace for
    /// [diagnosis](Program::diagnosis).
    ///
    /// `segments` are the rows of each scenario; they cover `0..rows` in order.
    ///
    /// # Panics
    /// As [`Program::workspace`].
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
        workspace.each(|chunk, statistics| {
            self.fill(chunk, fill);
            self.find_starts(chunk);
            self.forward_chunk(chunk, 0..self.steps.len(), used, parameters, statistics, Mode::Score);
        });
    }

    /// Computes the losses of a batch and the gradients of the sources. `seeds`
    /// are the weights of the losses, per row. Follow with
    /// [`Program::parameter_gradients`].
    ///
    /// # Panics
    /// As [`Program::workspace`].
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
            workspace.each(|chunk, statistics| {
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
        // What no gradient comes back to has no gradient to be summed.
        for barrier in self.barriers().into_iter().rev().filter(|barrier| self.backward.runs[*barrier]) {
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
                weights: parameters.weights(&self.weights, index),
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
                weights: parameters.weights(&self.weights, index),
                statistics: &statistics[index],
            });
            chunk.gradients[step.output.buffer] = gradient;
        }
    }

    /// Computes the gradient of every parameter from the passes before. Each
    /// element is written by one job that walks the chunks in order.
    /// `parameters` are those of the passes.
    pub fn parameter_gradients(&self, workspace: &Workspace, parameters: &[f32], gradients: &mut [f32]) {
        let columns = self.products.columns_near(workspace.threads.count());
        let waves = self.users.iter().map(Vec::len).max().unwrap_or(0);
        for wave in 0..waves.max(1) {
            // Of one step, part and column together.
            let mut jobs: BTreeMap<(usize, usize, usize), Vec<Job<'_>>> = BTreeMap::new();
            let mut rest = &mut gradients[..];
            let mut at = 0;
            for (parameter, users) in self.parameters.iter().zip(&self.users) {
                let (slice, after) = rest.split_at_mut(parameter.offset - at + parameter.len());
                let slice = &mut slice[parameter.offset - at..];
                at = parameter.offset + parameter.len();
                rest = after;
                match users.get(wave) {
                    Some((step, slot)) => {
                        for job in self.steps[*step].op.jobs(*slot, slice, columns) {
                            jobs.entry((*step, job.part, job.column)).or_default().push(job);
                        }
                    }
                    None if wave == 0 => slice.fill(0.0),
                    None => {}
                }
            }
            let mut jobs: Vec<(usize, Vec<Job<'_>>)> =
                jobs.into_iter().map(|((step, _, _), jobs)| (step, jobs)).collect();
            let size = |job: &Job<'_>| job.tile.rows * job.tile.columns;
            jobs.sort_by_key(|(_, jobs)| Reverse(jobs.iter().map(size).sum::<usize>()));
            workspace.threads.each_in_turn(&mut jobs, |(step, jobs)| {
                let view = self.batch_view(workspace, parameters, *step);
                self.steps[*step].op.parameter_gradients(jobs, wave > 0, &view);
            });
        }
    }

    /// Lets ops update what they keep between batches (moving statistics).
    pub fn keep(&self, workspace: &Workspace, parameters: &mut [f32]) {
        for (index, step) in self.steps.iter().enumerate().filter(|(index, _)| self.train[*index]) {
            for (slot, id) in step.parameters.iter().enumerate() {
                let parameter = &self.parameters[id.0];
                if !parameter.learned {
                    let statistics = &workspace.statistics[index];
                    step.op.keep(slot, workspace.rows, statistics, &mut parameters[parameter.range()]);
                }
            }
        }
    }
}

impl Workspace {
    /// Says on which threads its passes run; on the caller's pool if nobody does.
    pub fn on(self, threads: Threads) -> Workspace {
        Workspace { threads, ..self }
    }

    /// Makes room for batches of `rows` rows, as every pass does by itself. What the last pass
    /// has left here is gone if chunks have to be cut anew.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) if there is no memory for them. The
    /// workspace then has room for fewer rows.
    pub fn reserve(&mut self, rows: usize) -> Result<()> {
        let rows = rows.max(self.room());
        let rows_of_chunk = if self.cut_anywhere { rows_of_chunk(rows, self.threads.count()) } else { CHUNK };
        if rows_of_chunk != self.rows_of_chunk {
            self.chunks.clear();
            (self.used, self.rows) = (0, 0);
            self.rows_of_chunk = rows_of_chunk;
        }
        let held = self.room();
        if rows > held {
            // The system refuses at once what it could never give; of many small
            // pieces it would promise every one.
            let (what, shape) = (ROOM, [rows - held, self.values.iter().chain(&self.gradients).sum()]);
            let count = memory::count(&shape).ok_or_else(|| memory::too_large(what, &shape))?;
            let mut all: Vec<f32> = Vec::new();
            all.try_reserve_exact(count).map_err(|_| memory::too_large(what, &shape))?;
            // Or the compiler would see that nobody writes there, and not ask.
            std::hint::black_box(&all);
        }
        for (index, first_row) in (0..rows).step_by(rows_of_chunk).enumerate() {
            if index == self.chunks.len() {
                self.chunks.push(Chunk::new(first_row, self.scenarios, self.values.len()));
            }
            let some = rows_of_chunk.min(rows - first_row);
            self.chunks[index].reserve(some, rows_of_chunk, &self.values, &self.gradients)?;
        }
        Ok(())
    }

    fn grow(&mut self, rows: usize) {
        self.reserve(rows).unwrap_or_else(|error| panic!("{error}"));
    }

    /// How many rows it has room for.
    pub fn room(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.capacity).sum()
    }

    /// How many numbers it has room for.
    pub fn numbers(&self) -> usize {
        self.chunks.iter().flat_map(|chunk| chunk.values.iter().chain(&chunk.gradients)).map(Vec::len).sum()
    }

    fn load(&mut self, rows: usize, segments: &[Range<usize>]) {
        debug_assert_eq!(segments.last().map_or(0, |last| last.end), rows, "segments cover the batch");
        self.grow(rows);
        self.rows = rows;
        self.used = rows.div_ceil(self.rows_of_chunk);
        for chunk in &mut self.chunks[..self.used] {
            chunk.rows = self.rows_of_chunk.min(rows - chunk.first_row);
            let inside = |row: usize| row.clamp(chunk.first_row, chunk.first_row + chunk.rows) - chunk.first_row;
            for (segment, whole) in chunk.segments.iter_mut().zip(segments) {
                *segment = inside(whole.start)..inside(whole.end);
            }
        }
    }

    fn each(&mut self, work: impl Fn(&mut Chunk, &[Vec<f32>]) + Sync) {
        let statistics = &self.statistics;
        self.threads.each(&mut self.chunks[..self.used], |chunk| work(chunk, statistics));
    }

    /// On which threads its passes run.
    pub(crate) fn threads(&self) -> Threads {
        self.threads
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
            let values = || self.values(program, *node).map(|row| f64::from(row[0]));
            let sum = sum_by_parts(values(), CHUNK);
            if !sum.is_finite() && broken.is_none() {
                let found = values().enumerate().find(|(_, value)| !value.is_finite());
                broken = found.map(|(row, value)| NotFinite { loss: index, value, row });
            }
            sum
        });
        let sums = sums.collect();
        (sums, broken)
    }
}

/// The sum of some terms, so many at a time: the same to the bit however rows are cut into chunks.
pub fn sum_by_parts(terms: impl Iterator<Item = f64>, length: usize) -> f64 {
    let (mut whole, mut part, mut left) = (0.0, 0.0, length);
    for term in terms {
        part += term;
        left -= 1;
        if left == 0 {
            whole += part;
            (part, left) = (0.0, length);
        }
    }
    whole + part
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Mutex;
    use std::thread::{self, ThreadId};

    use super::*;
    use crate::compute::op::{Activation, BatchNorm, Linear, Multiply};
    use crate::compute::{Graph, Init};

    const WIDTH: usize = 3;

    /// A layer with batch statistics, so that passes have all their stages.
    fn program() -> Program {
        let mut graph = Graph::new(2);
        let input = graph.source("input", WIDTH, true);
        let init = Init::Glorot { inputs: WIDTH, outputs: 4 };
        let weight = graph.parameter("weight", &[2, 1, WIDTH, 4], init);
        let linear =
            Linear { groups: 1, inputs: WIDTH, outputs: 4, activation: Activation::Tanh, bias: false, routed: true };
        let hidden = graph.push("linear", linear, &[input], &[weight], 4);
        let [scale, shift] =
            [("scale", 1.0), ("shift", 0.0)].map(|(name, start)| graph.parameter(name, &[4], Init::Constant(start)));
        let (mean, variance) = (graph.statistic("mean", &[4], 0.0), graph.statistic("variance", &[4], 1.0));
        let norm = BatchNorm { width: 4, momentum: 0.9 };
        let normal = graph.push("norm", norm, &[hidden], &[scale, shift, mean, variance], 4);
        let square = graph.push("square", Multiply, &[normal, hidden], &[], 4);
        graph.output(square);
        graph.loss("loss", square.columns(1, 1));
        graph.compile().unwrap()
    }

    fn fill(_: usize, rows: Range<usize>, into: &mut [f32]) {
        for (index, value) in (rows.start * WIDTH..).zip(into) {
            *value = (index as f32 * 0.37).sin();
        }
    }

    /// The bits of all that two training passes and a scoring pass leave.
    fn bits(program: &Program, workspaces: [&mut Workspace; 2], rows: usize, fill: &Fill<'_>) -> Vec<u32> {
        let [training, scoring] = workspaces;
        let parameters = program.initial(1).unwrap();
        let (segments, mode) = ([0..rows / 3, rows / 3..rows], Mode::Train { seed: 1, step: 1 });
        program.train(training, &parameters, rows, &segments, &[1.0], mode, fill);
        program.backward(training, &parameters, &[0.5], mode);
        let mut gradients = vec![f32::NAN; program.length()];
        program.parameter_gradients(training, &parameters, &mut gradients);
        program.score(scoring, &parameters, rows, &segments, fill);
        let source = Node { buffer: 0, from: 0, width: WIDTH, detached: false };
        let sources = training.source_gradients(program, source).flat_map(|(_, part)| part.to_vec());
        let outputs = scoring.values(program, program.outputs[0]).flatten().copied();
        let learned = program.parameters.iter().flat_map(|parameter| gradients[parameter.range()].to_vec());
        sources.chain(outputs).chain(learned).map(f32::to_bits).collect()
    }

    /// Bits of fresh workspaces of one kind.
    fn fresh(program: &Program, room: usize, threads: Threads, rows: usize, fill: &Fill<'_>) -> Vec<u32> {
        let [mut training, mut scoring] = [true, false].map(|training| program.workspace(room, training).on(threads));
        bits(program, [&mut training, &mut scoring], rows, fill)
    }

    #[test]
    fn a_last_batch_of_one_row_pulled_the_kept_variance_towards_0() {
        let program = program();
        let kept = |rows: usize| {
            let mut workspace = program.workspace(4, true).on(Threads::Inline);
            let (mut parameters, mode) = (program.initial(1).unwrap(), Mode::Train { seed: 1, step: 1 });
            program.train(&mut workspace, &parameters, rows, &[0..rows, rows..rows], &[1.0], mode, &fill);
            program.keep(&workspace, &mut parameters);
            let variance = program.parameters.iter().find(|parameter| parameter.name == "variance").unwrap();
            parameters[variance.range()].to_vec()
        };
        assert_eq!(kept(1), [1.0; 4]);
        assert!(kept(2).iter().all(|variance| *variance < 0.95), "{:?}", kept(2));
    }

    #[test]
    fn inline_passes_use_the_calling_thread_alone_and_give_the_same_bits() {
        let (program, rows) = (program(), 3 * CHUNK + 5);
        let seen: Mutex<BTreeSet<String>> = Mutex::default();
        let noting = |source: usize, rows: Range<usize>, into: &mut [f32]| {
            let id: ThreadId = thread::current().id();
            seen.lock().unwrap().insert(format!("{id:?}"));
            fill(source, rows, into);
        };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        let inline = pool.install(|| {
            let own = format!("{:?}", thread::current().id());
            let inline = fresh(&program, rows, Threads::Inline, rows, &noting);
            assert_eq!(*seen.lock().unwrap(), BTreeSet::from([own]));
            inline
        });
        assert_eq!(inline, pool.install(|| fresh(&program, rows, Threads::Pool, rows, &fill)));
    }

    #[test]
    fn a_pass_from_no_pool_can_stay_on_its_thread() {
        let (program, here) = (program(), thread::current().id());
        let stays = |_: usize, rows: Range<usize>, into: &mut [f32]| {
            assert_eq!(thread::current().id(), here);
            fill(0, rows, into);
        };
        fresh(&program, 0, Threads::Inline, 2 * CHUNK, &stays);
    }

    #[test]
    fn a_workspace_grows_with_its_batches_and_changes_no_bit() {
        let program = program();
        let [mut training, mut scoring] = [true, false].map(|training| program.workspace(0, training));
        for rows in [1, 2, 0, 200, 90, CHUNK + 40, CHUNK + 41, 3 * CHUNK, 7] {
            let grown = bits(&program, [&mut training, &mut scoring], rows, &fill);
            assert_eq!(grown, fresh(&program, rows, Threads::Pool, rows, &fill), "{rows} rows");
        }
    }

    #[test]
    fn a_workspace_has_room_for_the_rows_that_are_there_and_not_for_a_whole_chunk() {
        let program = program();
        let per_row = program.workspace(1, true).numbers();
        let mut workspace = program.workspace(0, true);
        assert_eq!(workspace.numbers(), 0);
        bits(&program, [&mut workspace, &mut program.workspace(0, false)], 2 * CHUNK + 88, &fill);
        assert_eq!(workspace.numbers(), (2 * CHUNK + 88) * per_row);
    }

    #[test]
    fn batches_that_are_no_larger_than_one_before_ask_for_no_memory() {
        let program = program();
        let [mut training, mut scoring] = [true, false].map(|training| program.workspace(0, training));
        let places = |workspace: &Workspace| -> Vec<*const f32> {
            let chunks = workspace.chunks.iter();
            chunks.flat_map(|chunk| chunk.values.iter().chain(&chunk.gradients).map(|buffer| buffer.as_ptr())).collect()
        };
        bits(&program, [&mut training, &mut scoring], 2 * CHUNK + 88, &fill);
        let before = [places(&training), places(&scoring)];
        for rows in [2 * CHUNK + 88, 5, CHUNK, 2 * CHUNK + 1] {
            bits(&program, [&mut training, &mut scoring], rows, &fill);
            assert_eq!([places(&training), places(&scoring)], before, "{rows} rows");
        }
    }

    /// What training tells of its losses, and what balancing weighs them by.
    #[test]
    fn the_sum_of_a_loss_is_the_same_to_the_bit_however_many_threads_share_the_rows() {
        let (program, rows) = (program(), CHUNK + 70);
        let parameters = program.initial(1).unwrap();
        let of_threads = |threads: usize| {
            rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| {
                let mut workspace = program.workspace(rows, true);
                let (segments, mode) = ([0..7, 7..rows], Mode::Train { seed: 1, step: 1 });
                program.train(&mut workspace, &parameters, rows, &segments, &[1.0], mode, &fill);
                (workspace.rows_of_chunk, workspace.losses(&program).0[0].to_bits())
            })
        };
        let found: Vec<(usize, u64)> = [1, 3, 11].map(of_threads).into();
        let sizes: Vec<usize> = found.iter().map(|(rows, _)| *rows).collect();
        if program.products.cut_anywhere() {
            assert_eq!(sizes, [256, 128, 32]);
        }
        assert!(found.iter().all(|(_, sum)| *sum == found[0].1), "{found:?}");
    }

    #[test]
    fn parts_of_a_sum_end_after_so_many_terms() {
        // 1 is lost beside 2^53, two of them in a part of their own are not.
        let large = (1u64 << 53) as f64;
        let terms = || [large, 0.0, 1.0, 1.0].into_iter();
        assert_eq!(sum_by_parts(terms(), 4), large);
        assert_eq!(sum_by_parts(terms(), 2), large + 2.0);
        assert_eq!(sum_by_parts([].into_iter(), 2), 0.0);
    }

    #[test]
    fn room_for_more_rows_than_there_is_memory_is_refused_and_the_workspace_stays_usable() {
        let program = program();
        let mut workspace = program.workspace(10, true);
        for rows in [1_000_000_000_000_000, usize::MAX] {
            let said = workspace.reserve(rows).unwrap_err().to_string();
            assert!(said.contains("room for the rows of a batch"), "{said}");
        }
        let found = bits(&program, [&mut workspace, &mut program.workspace(0, false)], 40, &fill);
        assert_eq!(found, fresh(&program, 40, Threads::Pool, 40, &fill));
    }
}
