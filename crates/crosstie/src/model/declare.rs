//! What a model is: a network, declared over its inputs.

use std::collections::BTreeMap;

use super::inputs::Inputs;
use crate::compute::Node;
use crate::error::Result;
use crate::layer::Net;
use crate::objective::{Objective, ObjectiveConfig, Space};
use crate::schema::Schema;

/// A network for any list of heads.
pub trait Model {
    /// Declares the network.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for settings that make no sense.
    fn declare(&self, net: &mut Net<'_>, inputs: &mut Inputs<'_>) -> Result<Declared>;

    /// Where the paper counts the tasks' losses.
    fn space(&self) -> Space {
        Space::Parent
    }

    /// Conversions that the paper splits into the ways with and without a
    /// sibling action, as in `[objective.via]`.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for settings that name no such tasks.
    fn via(&self, _schema: &Schema) -> Result<BTreeMap<String, String>> {
        Ok(BTreeMap::new())
    }

    /// Whether scenarios share no weight with each other, so that one without training
    /// rows has learned nothing.
    fn separate_scenarios(&self) -> bool {
        false
    }

    /// How the tasks' masks are found, and how they are trained together, of a
    /// model that has [masks](Inputs::add_masks).
    fn lottery(&self) -> Option<Lottery> {
        None
    }

    /// The objective: what the config says, and where it is silent what the
    /// paper says. A task of which only p(action | impression) is asked has no
    /// ways to be split.
    ///
    /// # Errors
    /// As of [`Objective::new`] and [`Model::via`].
    fn objective(&self, schema: &Schema, config: &ObjectiveConfig) -> Result<Objective> {
        let mut config = config.clone();
        let asked = |config: &ObjectiveConfig, task: &str| config.space_of(task, self.space()) != Space::Impression;
        for (task, action) in self.via(schema)? {
            if asked(&config, &task) && asked(&config, &action) {
                config.via.entry(task).or_insert(action);
            }
        }
        Objective::new(schema, &config, self.space())
    }
}

/// The search for every task's mask (the lottery ticket hypothesis: Frankle and
/// Carbin, ICLR 2019), and the training that follows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lottery {
    /// Share of the masked weights that the last round leaves, in (0, 1].
    pub keep: f64,
    /// Rounds of training and pruning for each task; 0 leaves all masks whole.
    pub rounds: u64,
    /// Passes over the training files in each round.
    pub round_epochs: u64,
    /// Whether every batch then teaches one task after the other, each by a
    /// step of its own; otherwise all at once.
    pub alternate: bool,
}

/// What a model has declared.
#[derive(Clone, Debug)]
pub struct Declared {
    /// One logit per head, rows × heads.
    pub logits: Node,
    /// The tasks' losses, rows × tasks, if they are not the plain ones of the
    /// objective over these logits.
    pub losses: Option<Node>,
    /// Where the logits are put together of those of other heads, which start at the
    /// tasks' log-odds in their place: these, each rows × heads, the first those that the
    /// tasks' losses are about.
    pub bases: Vec<Node>,
}

impl From<Node> for Declared {
    fn from(logits: Node) -> Declared {
        Declared { logits, losses: None, bases: Vec::new() }
    }
}

/// What a user reads about a model.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// Its name in the config.
    pub name: &'static str,
    /// The paper.
    pub paper: &'static str,
    /// When to use it.
    pub when: &'static str,
    /// What of a schema its parts are for.
    pub needs: Needs,
}

/// What a schema must have so that a model's parts do something in it. A model
/// works without it, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// A task.
    Task,
    /// Several tasks, which share something.
    Tasks,
    /// A task that comes after another.
    Parent,
}

impl About {
    /// Says so, if what the model is for is not in a schema.
    pub fn remark(&self, schema: &Schema) -> Option<String> {
        let name = self.name;
        let related = schema.tasks.iter().any(|task| task.after.is_some());
        let lacks = match self.needs {
            Needs::Tasks if schema.tasks.len() < 2 => "has one task, and what `{}` shares between tasks has no use",
            Needs::Parent if !related => "has no task that comes `after` another, which is what `{}` is for",
            _ => return None,
        };
        let lacks = lacks.replace("{}", name);
        Some(format!("the schema {lacks}; model.name = \"{}\" does as well here", self.simpler(schema)))
    }

    fn simpler(&self, schema: &Schema) -> &'static str {
        if schema.tasks.len() < 2 { "single-task" } else { "shared-bottom" }
    }
}
