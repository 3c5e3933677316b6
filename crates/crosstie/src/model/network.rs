//! A model, its heads and its losses, assembled into one network.

use super::declare::Model;
use super::diagnostic::Diagnostic;
use super::inputs::{Input, Inputs, LossTerm, Masks, Shared, source_of};
use crate::batch::Layout;
use crate::compute::portable::Portable;
use crate::compute::{Graph, Node, ParameterId, Program};
use crate::embedding::Columns;
use crate::error::{Error, Result};
use crate::layer::{Net, Style};
use crate::objective::{Maps, Objective, Probabilities};

/// A model, its heads and its losses, ready to run.
#[derive(Debug)]
pub struct Network {
    /// The compiled graph.
    pub program: Program,
    /// What each source of the graph holds, in order.
    pub sources: Vec<Input>,
    /// The nodes of the feature sets.
    pub sets: Vec<Node>,
    /// Of each feature set: how many times `optimizer.rows.learning_rate` its rows learn at.
    pub row_rates: Vec<f64>,
    /// The logits, rows × heads.
    pub logits: Node,
    /// Whether scenarios have weights of their own, so that the rows of a
    /// batch must be sorted by scenario.
    pub routed: bool,
    /// Whether rows of `other` go through the weights of the largest scenario, because
    /// no training row was of `other` and scenarios share no weights.
    pub other_as_largest: bool,
    /// What the logits mean.
    pub objective: Objective,
    /// Losses beside those of the tasks; they follow them in the program.
    pub terms: Vec<LossTerm>,
    /// What the model shows of its inside.
    pub diagnostics: Vec<Diagnostic>,
    /// The layers with a mask per task.
    pub masks: Vec<Masks>,
    /// How much heads take over from other tasks, where that is chosen at the end: a
    /// parameter of one number per head, 1 in training.
    pub shrinkage: Option<ParameterId>,
    /// What all tasks learn together, of a model that has it beside what is their own.
    pub shared: Option<Shared>,
}

/// What a network is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    /// The losses of all tasks.
    Tasks,
    /// The logits of all heads.
    Heads,
    /// The loss of one task.
    Task(usize),
}

impl Network {
    /// Declares and compiles a model for a layout and an objective.
    ///
    /// # Errors
    /// [`Error::Config`] for settings that make no sense.
    pub fn new(model: &dyn Model, style: &Style, layout: &Layout, objective: Objective) -> Result<Network> {
        Network::build(model, style, layout, objective, Question::Tasks)
    }

    /// The same parameters under another question: every head's logit (where there are
    /// [bases](super::Declared::bases), in its place that of the first, then those of the
    /// others), times the row's weight, is a loss, and nothing else is. The gradients tell
    /// what each head reads.
    ///
    /// # Errors
    /// As of [`Network::new`].
    pub fn of_heads(model: &dyn Model, style: &Style, layout: &Layout, objective: Objective) -> Result<Network> {
        Network::build(model, style, layout, objective, Question::Heads)
    }

    /// The same parameters for the loss of one task: of a model that puts its
    /// logits together by [`Inputs::logits`], what this loss does not ask is
    /// neither computed nor learned. The losses and logits of other tasks are
    /// there, and mean nothing.
    ///
    /// # Errors
    /// As of [`Network::new`].
    pub fn of_task(
        model: &dyn Model,
        style: &Style,
        layout: &Layout,
        objective: Objective,
        task: usize,
    ) -> Result<Network> {
        Network::build(model, style, layout, objective, Question::Task(task))
    }

    /// Name of the program's source of a feature set.
    pub(crate) fn source_of(&self, set: usize) -> String {
        source_of(set)
    }

    /// Tells how the tasks' probabilities are computed, in words that other engines
    /// know, given the numbers of the parameters and the tasks' maps by scenario, if
    /// there are any.
    ///
    /// # Errors
    /// As of [`Program::portable`].
    pub fn portable<'a>(
        &'a self,
        parameters: &'a [f32],
        maps: &[Vec<Maps>],
    ) -> Result<(Portable<'a>, Vec<Probabilities>)> {
        let mut to = Portable::default();
        to.least_scenario(usize::from(self.other_as_largest));
        let logits = self.program.portable(&mut to, parameters, self.logits)?;
        to.least_scenario(0);
        to.name("objective");
        let tasks = self.objective.portable(&mut to, logits, maps);
        Ok((to, tasks))
    }

    fn build(
        model: &dyn Model,
        style: &Style,
        layout: &Layout,
        objective: Objective,
        question: Question,
    ) -> Result<Network> {
        style.check()?;
        let columns = Columns::new(layout);
        if columns.main().is_empty() {
            return Err(Error::Config("every field has the role `bias`: the model has nothing to read".into()));
        }
        let mut graph = Graph::new(layout.scenarios.len());
        graph.set_products(style.products);
        let labels = graph.source("labels", objective.funnel().tasks(), false);
        let weights = graph.source("weights", 1, false);
        let mut inputs = Inputs {
            objective: &objective,
            columns: &columns,
            labels,
            weights,
            sets: Vec::new(),
            row_rates: Vec::new(),
            sources: vec![Input::Labels, Input::Weights],
            terms: Vec::new(),
            diagnostics: Vec::new(),
            masks: Vec::new(),
            shrinkage: None,
            shared: None,
            asked: match question {
                Question::Tasks | Question::Heads => vec![true; objective.names().len()],
                Question::Task(task) => objective.asked_by(task),
            },
        };
        let mut net = Net::new(&mut graph, style);
        let declared = model.declare(&mut net, &mut inputs)?;
        // Last, and in both graphs, so that the model's parameters stand in the same places.
        inputs.add_triplet(&mut net);
        assert_eq!(declared.logits.width(), objective.heads().len(), "one logit per head");
        let losses = match declared.losses {
            _ if question == Question::Heads => {
                let bases = if declared.bases.is_empty() { vec![declared.logits] } else { declared.bases };
                let bases: Vec<Node> = bases.into_iter().map(|base| net.multiply("weighted", base, weights)).collect();
                net.concat("weighted", &bases)
            }
            Some(losses) => losses,
            None => inputs.losses(&mut net, "loss", declared.logits, None),
        };
        let Inputs { sets, row_rates, sources, terms, diagnostics, masks, shrinkage, shared, .. } = inputs;
        let (names, terms): (Vec<&String>, Vec<LossTerm>) = if question == Question::Heads {
            let heads = objective.heads().iter().map(|head| &head.name);
            (heads.cycle().take(losses.width()).collect(), Vec::new())
        } else {
            (objective.names().iter().collect(), terms)
        };
        graph.output(declared.logits);
        shared.iter().for_each(|shared| graph.output(shared.logits));
        for (index, name) in names.into_iter().enumerate() {
            graph.loss(name, losses.columns(index, 1));
        }
        for term in &terms {
            graph.loss(&term.name, term.node);
        }
        diagnostics.iter().for_each(|diagnostic| graph.diagnostic(diagnostic.node));
        let (routed, logits) = (graph.routed(), declared.logits);
        let other_as_largest = layout.other_is_empty && layout.scenarios.len() > 1 && model.separate_scenarios();
        let program = graph.compile()?;
        Ok(Network {
            program,
            sources,
            sets,
            logits,
            routed,
            other_as_largest,
            objective,
            terms,
            diagnostics,
            masks,
            row_rates,
            shrinkage,
            shared,
        })
    }
}
