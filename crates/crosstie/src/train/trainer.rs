//! A model under training, one batch at a time.

use std::borrow::Cow;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::average::Average;
use super::best_step::Family;
use super::exchange::{Alone, Exchange};
use super::start::Starts;
use crate::balance::{Balance, Losses, Setting, Shared, TaskGradients};
use crate::batch::{Batch, Layout};
use crate::compute::{Mode, NotFinite, Workspace};
use crate::config::Config;
use crate::embedding::RowGradients;
use crate::error::{Error, Result};
use crate::learned::{Gradients, Learned};
use crate::model::{LossTerm, Network};
use crate::objective::LossWeights;
use crate::optim::Optimizer;
use crate::schema::Schema;
use crate::spec::ModelSpec;
use crate::tensors::Numbers;

/// A model under training, for those who bring their own batches;
/// [`Fit`](super::Fit) is the loop over files.
pub struct Trainer {
    spec: ModelSpec,
    layout: Layout,
    batch_size: usize,
    learned: Learned,
    optimizer: Optimizer,
    steps: Steps,
    gradients: Gradients,
    exchange: Box<dyn Exchange>,
    /// Batches learned from.
    batches: u64,
    /// Where parameters start otherwise than the seed says.
    pub(super) starts: Starts,
    /// Per task: what brings it to the same influence as the others.
    influence: Vec<f64>,
    /// Of the weights, where that is wanted.
    average: Option<Average>,
}

/// How a batch becomes steps of the optimizer.
enum Steps {
    /// One for all tasks.
    Together { workspace: Workspace, balance: Box<dyn Balance> },
    /// One for each task, in their order.
    InTurns(Vec<Turn>),
}

/// The network of one task's loss, over the parameters of all.
struct Turn {
    network: Network,
    workspace: Workspace,
    /// The parameters that the loss reaches. All others stay where they are,
    /// whatever the optimizer remembers of them.
    reached: Vec<Range<usize>>,
}

/// What a batch has taught.
#[derive(Clone, Debug, PartialEq)]
pub struct Taught {
    /// Batches learned from, this one included.
    pub step: u64,
    /// Rows of the batch, over all workers.
    pub rows: usize,
    /// Sum over these rows of each task's loss, in the tasks' order.
    pub losses: Vec<f64>,
    /// The same of each term that the model adds to them
    /// ([`Network::terms`](crate::model::Network::terms)), unweighted; none where tasks
    /// take turns.
    pub terms: Vec<f64>,
    /// The weight that balancing gave each task, beside its fixed one.
    pub weights: Vec<f64>,
}

/// The counts of a trainer, and what balancing remembers. The rest of its state
/// is [numbers](Trainer::numbers).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Counts {
    batches: u64,
    optimizer_steps: u64,
    balance: Value,
}

impl Counts {
    /// Batches learned from.
    pub fn batches(&self) -> u64 {
        self.batches
    }
}

/// A copy of what learning changes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Weights {
    parameters: Vec<f32>,
    tables: Vec<Vec<f32>>,
}

impl Trainer {
    /// The model of a configuration at its start; the configuration's `[data]`
    /// plays no part. Steps run on the calling thread's pool.
    ///
    /// # Errors
    /// [`Error::Config`] for settings that do not fit the schema or the model.
    pub fn new(config: &Config, schema: &Schema, layout: &Layout) -> Result<Trainer> {
        Trainer::of(config, schema, layout, config.spec().start(schema, layout)?)
    }

    /// A model that has learned before, with an optimizer that remembers nothing
    /// of it. `learned` is of a network of this configuration.
    ///
    /// # Errors
    /// As of [`Trainer::new`].
    pub fn of(config: &Config, schema: &Schema, layout: &Layout, mut learned: Learned) -> Result<Trainer> {
        if config.objective.weights == LossWeights::Auto {
            let message = "objective.weights = \"auto\" follows from training files, and a trainer of batches has none; \
                           name the weights";
            return Err(Error::Config(message.into()));
        }
        let spec = config.spec();
        learned.prepare(true);
        let mut optimizer = Optimizer::new(&config.optimizer, &learned);
        let steps = match spec.model.model().lottery() {
            Some(lottery) if lottery.alternate || lottery.rounds > 0 => {
                let turn = |task| {
                    let network = spec.network_of_task(schema, layout, task)?;
                    let parameters = learned.network().program.parameters();
                    assert_eq!(network.program.parameters(), parameters, "one vector serves all networks");
                    let workspace = network.program.workspace(0, true);
                    Ok(Turn { reached: network.program.reached(), network, workspace })
                };
                Steps::InTurns((0..schema.tasks.len()).map(turn).collect::<Result<_>>()?)
            }
            _ => Steps::together(config, schema, layout, &learned, &mut optimizer)?,
        };
        Ok(Trainer {
            spec,
            layout: layout.clone(),
            batch_size: config.train.rows_of_step(None),
            average: config.train.average.then(|| Average::new(&learned)),
            learned,
            optimizer,
            steps,
            gradients: Gradients::default(),
            exchange: Box::new(Alone),
            batches: 0,
            starts: Starts::new(),
            influence: vec![1.0; schema.tasks.len()],
        })
    }

    /// Lets parameters start with other numbers than the seed gives them.
    pub(super) fn start_at(&mut self, starts: Starts) {
        self.starts = starts;
        self.apply_starts();
    }

    /// Weighs what all tasks learn together ([`LossTerm::balanced`]), task by task.
    pub(super) fn balance_terms(&mut self, weights: Vec<f64>) {
        self.influence = weights;
    }

    fn apply_starts(&mut self) {
        let (_, parameters) = self.learned.numbers_mut();
        self.starts.iter().for_each(|(place, value)| parameters[*place] = *value);
        self.learned.prepare(true);
        self.average = self.average.as_ref().map(|_| Average::new(&self.learned));
    }

    /// Makes it one of several workers. All of them have the same configuration.
    pub fn with_exchange(self, exchange: impl Exchange + 'static) -> Trainer {
        Trainer { exchange: Box::new(exchange), ..self }
    }

    /// The model as the last step left it.
    pub fn learned(&self) -> &Learned {
        &self.learned
    }

    /// Ends the training: the average of the way, where `train.average` wants it.
    pub fn into_learned(mut self) -> Learned {
        self.show_average();
        self.learned
    }

    /// Exchanges the weights for their average, or back; nothing where there is none.
    pub(super) fn show_average(&mut self) {
        if let Some(average) = &mut self.average {
            average.exchange(self.optimizer.steps(), &mut self.learned);
            self.learned.prepare(true);
        }
    }

    /// Batches learned from.
    pub fn batches(&self) -> u64 {
        self.batches
    }

    /// Learns from one batch: all tasks at once, or each in its turn. `epoch`
    /// counts from 1, for methods of balancing that look at it.
    ///
    /// # Errors
    /// [`Error::NotFinite`]; [`Error::Batch`] for a batch of another layout,
    /// without labels, or of more rows than `train.batch_size`.
    pub fn step(&mut self, epoch: u64, batch: &Batch) -> Result<Taught> {
        self.check(batch)?;
        self.batches += 1;
        let (batch, order) = self.arranged(batch);
        let tasks = match &self.steps {
            Steps::Together { .. } => return self.learn_together(epoch, &batch, order.as_deref()),
            Steps::InTurns(turns) => turns.len(),
        };
        let rows = self.all_rows(&batch);
        let losses = (0..tasks).map(|task| self.learn_alone(task, &batch, order.as_deref()));
        let losses = losses.collect::<Result<_>>()?;
        Ok(Taught { step: self.batches, rows, losses, terms: Vec::new(), weights: vec![1.0; tasks] })
    }

    /// Learns one task from one batch.
    pub(super) fn step_alone(&mut self, task: usize, batch: &Batch) -> Result<()> {
        self.check(batch)?;
        self.batches += 1;
        let (batch, order) = self.arranged(batch);
        self.learn_alone(task, &batch, order.as_deref()).map(|_| ())
    }

    fn check(&self, batch: &Batch) -> Result<()> {
        batch.check(&self.layout)?;
        if batch.labels.is_empty() {
            return Err(Error::Batch("it has no labels to learn from".into()));
        }
        if batch.rows > self.batch_size {
            let most = self.batch_size;
            return Err(Error::Batch(format!("{} rows, where train.batch_size is {most}", batch.rows)));
        }
        Ok(())
    }

    /// The batch, its rows sorted by scenario where the network wants that, and
    /// then their order.
    fn arranged<'b>(&self, batch: &'b Batch) -> (Cow<'b, Batch>, Option<Vec<usize>>) {
        if !self.learned.network().routed {
            return (Cow::Borrowed(batch), None);
        }
        let mut order: Vec<usize> = (0..batch.rows).collect();
        order.sort_by_key(|row| batch.scenarios[*row]);
        (Cow::Owned(batch.select(&order)), Some(order))
    }

    /// Rows of the batch, over all workers.
    fn all_rows(&mut self, batch: &Batch) -> usize {
        let mut rows = [batch.rows as f64];
        self.exchange.sum(&mut rows);
        rows[0] as usize
    }

    /// One step on all losses.
    fn learn_together(&mut self, epoch: u64, batch: &Batch, order: Option<&[usize]>) -> Result<Taught> {
        let rows = self.all_rows(batch);
        let Trainer { spec, learned, optimizer, steps, gradients, exchange, batches, average, influence, .. } = self;
        let Steps::Together { workspace, balance } = steps else { unreachable!("asked of tasks that learn together") };
        let network = learned.network().clone();
        let weights = balance.weights(epoch);
        let fixed = network.objective.weights();
        // An impression is the unit: a task with fewer rows weighs less.
        let of_terms: Vec<f32> = network.terms.iter().map(|term| weight_of(term, influence)).collect();
        let seeds = fixed.iter().zip(&weights).map(|(fixed, weight)| fixed * *weight as f32);
        let seeds = seeds.chain(of_terms.iter().copied());
        let seeds: Vec<f32> = seeds.map(|weight| weight / rows as f32).collect();
        let mode = Mode::Train { seed: spec.seed, step: optimizer.steps() + 1 };
        workspace.reserve(batch.rows)?;
        let passes = learned.passes();
        let mut losses = passes
            .losses(workspace, batch, &seeds, mode)
            .map_err(|broken| not_finite(&network, *batches, broken, order))?;
        passes.gradients(workspace, batch, gradients);
        exchange.sum_dense(&mut gradients.dense);
        exchange.sum_rows(&mut gradients.rows);
        exchange.sum(&mut losses);
        let means = losses[..weights.len()].iter().zip(fixed);
        let means: Vec<f64> = means.map(|(sum, weight)| sum * f64::from(*weight) / rows as f64).collect();
        let seen = Losses { step: *batches, rows, means: &means };
        let exchange = &mut **exchange;
        let (exchange_of_tasks, current) = (&mut *exchange, None);
        let mut tasks =
            SingleTasks { learned, workspace, batch, rows, of_terms, mode, exchange: exchange_of_tasks, current };
        balance.follow(&seen, gradients, &mut tasks);
        let scale = optimizer.config().scale(|| exchange.square(gradients));
        let all = 0..learned.parameters().len();
        if let Some(average) = average {
            average.before(optimizer.steps() + 1, learned, &gradients.rows);
        }
        optimizer.step(learned, gradients, std::slice::from_ref(&all), *batches, scale);
        optimizer.step_apart(learned, &balance.apart(), *batches, scale);
        learned.keep(&network, workspace);
        learned.prepare(true);
        if let Some(average) = average {
            average.after(optimizer.steps(), learned, &gradients.rows);
        }
        let terms = losses.split_off(weights.len());
        Ok(Taught { step: *batches, rows, losses, terms, weights })
    }

    /// One step on one task's loss: this, summed over the rows.
    fn learn_alone(&mut self, task: usize, batch: &Batch, order: Option<&[usize]>) -> Result<f64> {
        let rows = self.all_rows(batch);
        let Trainer { spec, learned, optimizer, steps, gradients, exchange, batches, average, .. } = self;
        let Steps::InTurns(turns) = steps else { unreachable!("asked of tasks that take turns") };
        let Turn { network, workspace, reached } = &mut turns[task];
        let mut seeds = vec![0.0; network.program.losses().len()];
        seeds[task] = network.objective.weights()[task] / rows as f32;
        let mode = Mode::Train { seed: spec.seed, step: optimizer.steps() + 1 };
        workspace.reserve(batch.rows)?;
        let passes = learned.passes_of(network);
        let mut losses = passes
            .losses(workspace, batch, &seeds, mode)
            .map_err(|broken| not_finite(network, *batches, broken, order))?;
        passes.gradients(workspace, batch, gradients);
        exchange.sum_dense(&mut gradients.dense);
        exchange.sum_rows(&mut gradients.rows);
        exchange.sum(&mut losses);
        let scale = optimizer.config().scale(|| exchange.square(gradients));
        if let Some(average) = average {
            average.before(optimizer.steps() + 1, learned, &gradients.rows);
        }
        optimizer.step(learned, gradients, reached, *batches, scale);
        learned.keep(network, workspace);
        if let Some(average) = average {
            average.after(optimizer.steps(), learned, &gradients.rows);
        }
        Ok(losses[task])
    }

    /// Back to the start: parameters, masks, tables, what the optimizer
    /// remembers, the count of batches. The seed addresses the start, so nobody
    /// need have kept it.
    ///
    /// # Errors
    /// [`Error::Config`] if there is no memory for a second start.
    pub(super) fn rewind(&mut self) -> Result<()> {
        let (network, seed, spread) = (self.learned.network().clone(), self.spec.seed, self.spec.embedding.spread);
        self.learned = Learned::new(network, &self.layout, seed, spread)?;
        self.optimizer = Optimizer::new(self.optimizer.config(), &self.learned);
        self.batches = 0;
        self.apply_starts();
        Ok(())
    }

    /// From now on one step is for all tasks.
    ///
    /// # Errors
    /// [`Error::Config`] for a balancing method that does not fit the model.
    pub(super) fn end_turns(&mut self, config: &Config, schema: &Schema) -> Result<()> {
        if let Steps::InTurns(_) = self.steps {
            self.steps = Steps::together(config, schema, &self.layout, &self.learned, &mut self.optimizer)?;
        }
        Ok(())
    }

    /// The network of one task's loss, where tasks take turns.
    pub(super) fn turn(&self, task: usize) -> Option<&Network> {
        match &self.steps {
            Steps::InTurns(turns) => turns.get(task).map(|turn| &turn.network),
            Steps::Together { .. } => None,
        }
    }

    /// The weights that have masks, layer after layer.
    pub(super) fn masked_weights(&self) -> Vec<f32> {
        let network = self.learned.network();
        let ranges = network.masks.iter().map(|masks| network.program.parameter(masks.weight).range());
        ranges.flat_map(|range| &self.learned.parameters()[range]).copied().collect()
    }

    /// Sets a task's mask, in the order of [`Trainer::masked_weights`].
    pub(super) fn set_mask(&mut self, task: usize, kept: &[bool]) {
        let network = self.learned.network().clone();
        let (_, parameters) = self.learned.numbers_mut();
        let mut kept = kept.iter();
        for masks in &network.masks {
            let mask = &mut parameters[network.program.parameter(masks.of_task[task]).range()];
            mask.iter_mut().zip(&mut kept).for_each(|(mask, kept)| *mask = f32::from(u8::from(*kept)));
        }
        self.average = self.average.as_ref().map(|_| Average::new(&self.learned));
    }

    /// What the last evaluation looked at, if no step was made since: the parameters and
    /// every table.
    fn evaluated(&self) -> (&[f32], Vec<&[f32]>) {
        match &self.average {
            Some(average) => average.weights(),
            None => {
                let tables = self.learned.tables().all().iter();
                (self.learned.parameters(), tables.map(|table| &table.weights[..]).collect())
            }
        }
    }

    /// A copy of what the last evaluation looked at, if no step was made since.
    pub(super) fn weights(&self) -> Weights {
        let (parameters, tables) = self.evaluated();
        Weights { parameters: parameters.to_vec(), tables: tables.into_iter().map(<[f32]>::to_vec).collect() }
    }

    /// Ends the training with weights of before.
    pub(super) fn into_learned_with(mut self, weights: Weights) -> Learned {
        let (tables, parameters) = self.learned.numbers_mut();
        parameters.copy_from_slice(&weights.parameters);
        for (table, weights) in tables.all_mut().iter_mut().zip(weights.tables) {
            table.weights = weights;
        }
        self.learned.prepare(true);
        self.learned
    }

    /// Counts and memories, for a checkpoint.
    pub(super) fn counts(&self) -> Counts {
        let balance = match &self.steps {
            Steps::Together { balance, .. } => balance.memory(),
            Steps::InTurns(_) => Value::Null,
        };
        Counts { batches: self.batches, optimizer_steps: self.optimizer.steps(), balance }
    }

    /// Goes on from stored counts.
    pub(super) fn set_counts(&mut self, counts: Counts) -> serde_json::Result<()> {
        self.batches = counts.batches;
        self.optimizer.set_steps(counts.optimizer_steps);
        match &mut self.steps {
            Steps::Together { balance, .. } => balance.remember(counts.balance),
            Steps::InTurns(_) => Ok(()),
        }
    }

    /// All its numbers, by name, to be stored or restored. Call
    /// [`Trainer::prepare`] afterwards.
    pub(super) fn numbers(&mut self) -> Vec<(String, Numbers<'_>)> {
        let (tables, parameters) = self.learned.numbers_mut();
        let mut numbers = vec![("parameters".to_string(), Numbers::F32(parameters))];
        for table in tables.all_mut() {
            numbers.push((table.name.clone(), Numbers::F32(&mut table.weights)));
        }
        numbers.extend(self.optimizer.numbers());
        numbers.extend(self.average.iter_mut().flat_map(Average::numbers));
        numbers
    }

    /// Lays the weights out for the steps that come.
    pub(super) fn prepare(&mut self) {
        self.learned.prepare(true);
    }
}

impl Weights {
    /// Takes over what a family of tasks alone learns, of what the last evaluation
    /// looked at, if no step was made since.
    pub fn take(&mut self, family: &Family, trainer: &Trainer) {
        let (parameters, tables) = trainer.evaluated();
        for range in &family.parameters {
            self.parameters[range.clone()].copy_from_slice(&parameters[range.clone()]);
        }
        for table in &family.tables {
            self.tables[*table].copy_from_slice(tables[*table]);
        }
    }

    /// As many weights as a trainer has, to be filled.
    pub fn of(trainer: &Trainer) -> Weights {
        let tables = trainer.learned.tables().all().iter();
        Weights {
            parameters: vec![0.0; trainer.learned.parameters().len()],
            tables: tables.map(|table| vec![0.0; table.weights.len()]).collect(),
        }
    }

    /// By name, to be stored or restored.
    pub fn numbers(&mut self) -> Vec<(String, Numbers<'_>)> {
        let mut numbers = vec![("best.parameters".to_string(), Numbers::F32(&mut self.parameters))];
        for (place, table) in self.tables.iter_mut().enumerate() {
            numbers.push((format!("best.tables.{place}"), Numbers::F32(table)));
        }
        numbers
    }
}

impl Steps {
    fn together(
        config: &Config,
        schema: &Schema,
        layout: &Layout,
        learned: &Learned,
        optimizer: &mut Optimizer,
    ) -> Result<Steps> {
        let spec = config.spec();
        let shared = || Shared::find(&spec.network_of_heads(schema, layout)?, layout.tables.len());
        let program = &learned.network().program;
        let setting =
            Setting { tasks: schema.tasks.len(), seed: spec.seed, parameters: program.parameters(), shared: &shared };
        // It grows with the batches: there may be fewer rows than `batch_size`.
        let workspace = program.workspace(0, true);
        let balance = config.balance.start(&setting)?;
        if !balance.tables_apart().is_empty() {
            let parts = setting.tasks + usize::from(!learned.network().terms.is_empty());
            optimizer.keep_apart(balance.tables_apart(), parts, learned);
        }
        Ok(Steps::Together { workspace, balance })
    }
}

/// The weight of a model's term, given what brings each task to the same influence.
fn weight_of(term: &LossTerm, influence: &[f64]) -> f32 {
    term.weight * term.balanced.map_or(1.0, |task| influence[task] as f32)
}

/// Where a loss broke, in rows of the batch as it was given.
fn not_finite(network: &Network, step: u64, broken: NotFinite, order: Option<&[usize]>) -> Error {
    let NotFinite { loss, value, row } = broken;
    let task = network.program.losses().nth(loss).unwrap_or_default().to_string();
    Error::NotFinite { step, task, value, row: order.map_or(row, |order| order[row]) }
}

/// The tasks' own gradients, each by a backward pass over what the last
/// forward pass left.
struct SingleTasks<'a> {
    learned: &'a Learned,
    workspace: &'a mut Workspace,
    batch: &'a Batch,
    /// Of all workers.
    rows: usize,
    /// The weights of the model's terms.
    of_terms: Vec<f32>,
    mode: Mode,
    exchange: &'a mut dyn Exchange,
    /// The task whose gradients the workspace holds.
    current: Option<usize>,
}

impl SingleTasks<'_> {
    fn pass(&mut self, task: usize) {
        if self.current == Some(task) {
            return;
        }
        let network = self.learned.network();
        let mut seeds = vec![0.0; network.program.losses().len()];
        seeds[task] = network.objective.weights()[task] / self.rows as f32;
        self.learned.passes().backward(self.workspace, &seeds, self.mode);
        self.current = Some(task);
    }

    fn gather(&mut self, into: &mut Vec<RowGradients>) {
        self.learned.passes().row_gradients(self.workspace, self.batch, into);
        self.exchange.sum_rows(into);
    }
}

impl TaskGradients for SingleTasks<'_> {
    fn dense(&mut self, task: usize, into: &mut Vec<f32>) {
        self.pass(task);
        self.learned.passes().dense_gradients(self.workspace, into);
        self.exchange.sum_dense(into);
    }

    fn rows(&mut self, task: usize, into: &mut Vec<RowGradients>) {
        self.pass(task);
        self.gather(into);
    }

    fn features(&mut self, task: usize, sets: &[usize]) -> f64 {
        self.pass(task);
        let mut square = [self.learned.passes().feature_square(self.workspace, sets)];
        self.exchange.sum(&mut square);
        square[0]
    }

    fn rows_of_terms(&mut self, into: &mut Vec<RowGradients>) -> bool {
        let network = self.learned.network();
        if network.terms.is_empty() {
            return false;
        }
        let tasks = network.objective.names().len();
        let seeds = self.of_terms.iter().map(|weight| weight / self.rows as f32);
        let seeds: Vec<f32> = vec![0.0; tasks].into_iter().chain(seeds).collect();
        self.learned.passes().backward(self.workspace, &seeds, self.mode);
        self.current = None;
        self.gather(into);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Dense;
    use crate::model::ModelConfig;
    use crate::schema::{Role, Side};

    fn layout() -> Layout {
        Layout {
            tasks: vec!["click".into()],
            dense: vec![Dense { name: "x".into(), width: 1, side: Side::User, role: Role::Main }],
            scenarios: vec!["other".into(), "home".into(), "feed".into()],
            ..Layout::default()
        }
    }

    fn trainer(model: &str) -> Trainer {
        let schema = "[[task]]\nname = \"click\"\n[[field]]\nname = \"x\"\nkind = \"numeric\"\n";
        let config = Config::new(ModelConfig::named(model).unwrap());
        Trainer::new(&config, &Schema::parse(schema).unwrap(), &layout()).unwrap()
    }

    /// Rows of three scenarios by turns.
    fn batch(rows: usize) -> Batch {
        Batch {
            rows,
            dense: vec![0.5; rows],
            labels: (0..rows).map(|row| f32::from(u8::from(row % 2 == 0))).collect(),
            scenarios: (0..rows as u32).map(|row| row % 3).collect(),
            ..Batch::default()
        }
    }

    #[test]
    fn a_loss_that_is_not_finite_names_the_row_of_the_batch_as_it_was_given() {
        for model in ["shared-bottom", "aem2tl"] {
            for row in [0, 7, 401, 598] {
                let mut batch = Batch { weights: vec![1.0; 600], ..batch(600) };
                batch.weights[row] = f32::INFINITY;
                match trainer(model).step(1, &batch) {
                    Err(Error::NotFinite { row: found, task, .. }) => assert_eq!((found, &*task), (row, "click")),
                    other => panic!("{model}: {other:?}"),
                }
            }
        }
    }

    #[test]
    fn a_trainer_of_batches_has_no_rows_that_weights_could_follow_from() {
        let schema =
            Schema::parse("[[task]]\nname = \"click\"\n[[field]]\nname = \"x\"\nkind = \"numeric\"\n").unwrap();
        let mut config = Config::new(ModelConfig::named("shared-bottom").unwrap());
        config.objective.weights = LossWeights::Auto;
        let said = Trainer::new(&config, &schema, &layout()).err().map(|error| error.to_string());
        assert!(said.is_some_and(|said| said.contains("objective.weights")));
    }

    #[test]
    fn a_batch_that_does_not_fit_is_refused_and_not_a_panic() {
        let mut trainer = trainer("shared-bottom");
        for (wrong, says) in [
            (Batch { labels: Vec::new(), ..batch(9) }, "no labels"),
            (Batch { labels: vec![2.0; 9], ..batch(9) }, "found a label of 2"),
            (Batch { dense: vec![0.0; 8], ..batch(9) }, "8 numbers in 9 rows"),
            (Batch { scenarios: vec![3; 9], ..batch(9) }, "scenario 3 of 3"),
            (batch(2000), "train.batch_size is 1024"),
        ] {
            let said = trainer.step(1, &wrong).unwrap_err().to_string();
            assert!(said.contains(says), "{said}");
        }
        assert_eq!(trainer.step(1, &batch(9)).unwrap().step, 1);
    }
}
