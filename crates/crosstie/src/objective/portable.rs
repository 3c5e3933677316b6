//! The tasks' probabilities in words that other engines know: p and 1 - p stand side
//! by side, so nothing is lost where one of them is small.

use super::{Condition, Given, Map, Maps, Objective};
use crate::compute::portable::{Function, Portable, Value};

/// A task's probabilities, of each row one number.
#[derive(Clone, Copy, Debug)]
pub struct Probabilities {
    /// p(action | parent action); `None` where it is not
    /// [identified](Objective::identified).
    pub given_parent: Option<Value>,
    /// p(action and its ancestors | impression).
    pub from_impression: Value,
}

/// p and 1 - p.
#[derive(Clone, Copy)]
struct Chance {
    yes: Value,
    no: Value,
}

/// How a task's probabilities are told.
struct Teller<'t, 'a, 'o> {
    to: &'t mut Portable<'a>,
    objective: &'o Objective,
    logits: Value,
    maps: &'o [Vec<Maps>],
}

impl Objective {
    /// Tells every task's probabilities, as [`Objective::calibrated`] computes them, from
    /// logits (rows × heads) and the maps by scenario; without any as the heads say.
    pub fn portable(&self, to: &mut Portable<'_>, logits: Value, maps: &[Vec<Maps>]) -> Vec<Probabilities> {
        let mut teller = Teller { to, objective: self, logits, maps };
        let mut told: Vec<Option<(Option<Chance>, Chance)>> = vec![None; self.names.len()];
        for task in &self.order {
            let parent = self.funnel.parents[*task].and_then(|parent| told[parent]).map(|(_, joint)| joint);
            told[*task] = Some(teller.chances(*task, parent));
        }
        let joint = |task: usize| told[task].map(|(_, joint)| joint);
        let all = told.iter().enumerate().filter_map(|(task, chances)| {
            let (given, own) = (*chances)?;
            let given = match (given, self.funnel.parents[task].and_then(joint)) {
                (Some(given), _) => given.yes,
                (None, Some(parent)) => {
                    let share = teller.to.apply(Function::Divide, &[own.yes, parent.yes]);
                    let one = teller.to.number(1.0);
                    teller.to.apply(Function::Minimum, &[share, one])
                }
                (None, None) => own.yes,
            };
            let given_parent = self.identified(task).then_some(given);
            Some(Probabilities { given_parent, from_impression: own.yes })
        });
        all.collect()
    }
}

impl Teller<'_, '_, '_> {
    /// A task's probabilities given the parent, where heads tell them, and from the
    /// impression; `parent` are its parent's from the impression.
    fn chances(&mut self, task: usize, parent: Option<Chance>) -> (Option<Chance>, Chance) {
        let (heads, direct) = (self.objective.of_task[task], self.objective.funnel.direct[task]);
        let given = match heads.given {
            Some(Given::Head(head)) => Some(self.of_head(head, task, Condition::GivenParent)),
            Some(Given::Via { .. }) => {
                let sum = self.given(task);
                Some(self.mapped(sum, task))
            }
            None => None,
        };
        let joint = match (heads.impression, parent, given) {
            (Some(head), parent, _) => {
                let own = self.of_head(head, task, Condition::FromImpression);
                match parent.filter(|_| !self.maps.is_empty() && !direct) {
                    Some(parent) => Chance {
                        yes: self.to.apply(Function::Minimum, &[own.yes, parent.yes]),
                        no: self.to.apply(Function::Maximum, &[own.no, parent.no]),
                    },
                    None => own,
                }
            }
            (None, Some(parent), Some(given)) => {
                let without = heads.without.map(|head| self.of_head(head, task, Condition::WithoutParent));
                self.total(parent, given, without)
            }
            (None, None, Some(given)) => given,
            (None, _, None) => unreachable!("every task has a head"),
        };
        (given, joint)
    }

    /// What the heads say of p(action | parent action), before any map.
    fn given(&mut self, task: usize) -> Chance {
        match self.objective.of_task[task].given {
            Some(Given::Head(head)) => {
                let logit = self.logit(head);
                self.chance(logit)
            }
            Some(Given::Via { action, with, without }) => {
                let way = self.given(action);
                let [with, without] = [with, without].map(|head| {
                    let logit = self.logit(head);
                    self.chance(logit)
                });
                self.total(way, with, Some(without))
            }
            None => unreachable!("ways are of tasks with a head given the parent"),
        }
    }

    fn logit(&mut self, head: usize) -> Value {
        self.to.columns(self.logits, head, 1)
    }

    fn of_head(&mut self, head: usize, task: usize, condition: Condition) -> Chance {
        let logit = self.logit(head);
        let logit = self.map(logit, task, condition);
        self.chance(logit)
    }

    /// A sum over ways, through its map.
    fn mapped(&mut self, sum: Chance, task: usize) -> Chance {
        if self.maps_of(task, Condition::GivenParent).is_empty() {
            return sum;
        }
        let odds = self.to.apply(Function::Divide, &[sum.yes, sum.no]);
        let logit = self.to.apply(Function::Log, &[odds]);
        let logit = self.map(logit, task, Condition::GivenParent);
        self.chance(logit)
    }

    /// A task's maps by scenario; nothing where all leave everything as it is.
    fn maps_of(&self, task: usize, condition: Condition) -> Vec<Map> {
        let maps: Vec<Map> = self.maps.iter().filter_map(|maps| maps[task].get(condition)).collect();
        if maps.iter().all(|map| *map == Map::IDENTITY) { Vec::new() } else { maps }
    }

    fn map(&mut self, logit: Value, task: usize, condition: Condition) -> Value {
        let maps = self.maps_of(task, condition);
        let Some(first) = maps.first() else { return logit };
        let alike = maps.iter().all(|map| map == first);
        let mut number = |of: &dyn Fn(&Map) -> f64| {
            if alike {
                return self.to.number(of(first) as f32);
            }
            let all = self.to.constant(&[maps.len(), 1], maps.iter().map(|map| of(map) as f32).collect::<Vec<_>>());
            self.to.of_scenario(all)
        };
        let (slope, intercept) = (number(&|map| map.slope), number(&|map| map.intercept));
        let steeper = self.to.multiply(logit, slope);
        self.to.add(steeper, intercept)
    }

    /// By e^x and not by the logistic function, of which engines know but the first
    /// seven decimals: too few of a small probability. And by no quotient: onnxruntime
    /// (1.32) fuses a product of two quotients of 1 into a graph that it then refuses.
    fn chance(&mut self, logit: Value) -> Chance {
        let [no, yes] = [1.0, -1.0].map(|sign| {
            let x = self.to.scale(logit, sign);
            let (power, one) = (self.to.apply(Function::Exp, &[x]), self.to.number(1.0));
            let sum = self.to.add(power, one);
            self.to.apply(Function::Reciprocal, &[sum])
        });
        Chance { yes, no }
    }

    /// Total probability over two ways; none without the way is 0.
    fn total(&mut self, way: Chance, with: Chance, without: Option<Chance>) -> Chance {
        let yes = self.to.multiply(way.yes, with.yes);
        let no = self.to.multiply(way.yes, with.no);
        let Some(without) = without else { return Chance { yes, no: self.to.add(no, way.no) } };
        let [yes, no] = [(yes, without.yes), (no, without.no)].map(|(by_way, without)| {
            let other = self.to.multiply(way.no, without);
            self.to.add(by_way, other)
        });
        Chance { yes, no }
    }
}
