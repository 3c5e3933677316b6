//! Which tasks are at their best in the same step.
//!
//! Tasks that learn something in common are: the network that is kept is that of one
//! step. A task that learns nothing in common with others is best at a step of its own,
//! and what it alone learns is kept as it was then. What a model lets all tasks learn
//! together, beside what is their own, is kept as it was at its own best in the mean over tasks;
//! of several networks whose logits are averaged, all as they were at the best of the average.

use std::ops::Range;

use crate::error::Result;
use crate::metric::FigureName;
use crate::model::{Network, touched};

/// Tasks that learn something in common, directly or by way of others, and what they
/// alone learn.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Family {
    /// The tasks, ascending; none where no task's own loss, but a loss beside them, teaches
    /// it.
    pub tasks: Vec<usize>,
    /// Places of the flat vector of parameters.
    pub parameters: Vec<Range<usize>>,
    /// The tables, by their places among all.
    pub tables: Vec<usize>,
}

/// For each loss the first of those that it is joined with.
struct Joined(Vec<usize>);

impl Joined {
    /// Joins all of them.
    fn join(&mut self, mut losses: impl Iterator<Item = usize>) {
        let Some(first) = losses.next() else { return };
        for other in losses {
            let (one, other) = (self.0[first], self.0[other]);
            if one != other {
                let (low, high) = (one.min(other), one.max(other));
                self.0.iter_mut().filter(|joined| **joined == high).for_each(|joined| *joined = low);
            }
        }
    }
}

impl Family {
    /// The families of a network with `tables` tables in each set, by their first
    /// losses. A loss that is about several tasks joins those whose numbers it changes;
    /// what nothing changes goes with its neighbours, or else with the first family.
    pub fn find(network: &Network, tables: usize) -> Result<Vec<Family>> {
        let program = &network.program;
        let (tasks, losses) = (network.objective.funnel().tasks(), program.losses().len());
        let alone = |loss| (0..losses).map(|other| f32::from(u8::from(other == loss))).collect();
        let touched = &touched(network, &(0..losses).map(alone).collect::<Vec<Vec<f32>>>())?;
        let task_of = |loss: usize| loss.checked_sub(tasks).and_then(|term| network.terms[term].task).unwrap_or(loss);
        let changing = |element: usize| (0..losses).filter(move |loss| touched[*loss].dense[element]);
        let looking_up = |set: usize| (0..losses).filter(move |loss| touched[*loss].sets[set]);
        let mut joined = Joined((0..losses).map(task_of).collect());
        (0..program.length()).for_each(|element| joined.join(changing(element)));
        (0..network.sets.len()).for_each(|set| joined.join(looking_up(set)));

        let firsts: Vec<usize> = (0..losses).filter(|loss| joined.0[*loss] == *loss).collect();
        let mut families: Vec<Family> = firsts
            .iter()
            .map(|first| Family {
                tasks: (0..tasks).filter(|task| joined.0[*task] == *first).collect(),
                parameters: Vec::new(),
                tables: Vec::new(),
            })
            .collect();
        let family_of = |loss: usize| firsts.iter().position(|first| *first == joined.0[loss]);
        let places: Vec<Option<usize>> = (0..losses).map(family_of).collect();
        for (index, parameter) in program.parameters().iter().enumerate() {
            // A statistic goes with what the same operation learns.
            let beside = if parameter.learned { Some(parameter) } else { program.learned_beside(index) };
            let elements = beside.filter(|beside| beside.len() == parameter.len()).map(|beside| beside.range().start);
            let known = |place: usize| elements.and_then(|start| changing(start + place).find_map(|loss| places[loss]));
            let mut last = (0..parameter.len()).find_map(known).unwrap_or(0);
            for (place, at) in parameter.range().enumerate() {
                last = known(place).unwrap_or(last);
                match families[last].parameters.last_mut() {
                    Some(run) if run.end == at => run.end += 1,
                    _ => families[last].parameters.push(at..at + 1),
                }
            }
        }
        for set in 0..network.sets.len() {
            let family = looking_up(set).find_map(|loss| places[loss]).unwrap_or(0);
            families[family].tables.extend(set * tables..(set + 1) * tables);
        }
        Ok(families)
    }

    /// The figure that tells this family's best step, of the tasks' own figures, each with
    /// the positives that it is of.
    pub fn figure(&self, tasks: &[Option<(f64, f64)>]) -> Option<f64> {
        let all = mean(tasks.iter().flatten().copied())?;
        let own = || self.tasks.iter().filter_map(|task| tasks[*task]);
        let positives: f64 = own().map(|(_, positives)| positives).sum();
        let figure = mean(own()).unwrap_or(all);
        Some((positives * figure + FEW * all) / (positives + FEW))
    }
}

/// What the mean over all tasks weighs beside a family's own figure, in positives. A
/// figure of few positives is mostly chance, and its best step, too: a rare task goes
/// with the others.
const FEW: f64 = 500.0;

/// The mean of figures, each with the positives that it is of: the fewer they are, the less
/// it counts, or the chance of one rare task would choose the step of all.
pub(super) fn mean(figures: impl Iterator<Item = (f64, f64)>) -> Option<f64> {
    let (sum, weights) = figures.fold((0.0, 0.0), |(sum, weights), (figure, positives)| {
        // A log-loss is defined without positives, too.
        let weight = (positives + 1.0) / (positives + 1.0 + FEW);
        (sum + weight * figure, weights + weight)
    });
    (weights > 0.0).then(|| sum / weights)
}

/// The families that have a best step of their own. A training that follows the figure
/// of one task has one, for all.
pub(super) fn families(network: &Network, tables: usize, monitor: &FigureName) -> Result<Vec<Family>> {
    if monitor.task().is_none() {
        return Family::find(network, tables);
    }
    Ok(vec![Family {
        tasks: (0..network.objective.funnel().tasks()).collect(),
        parameters: std::iter::once(0..network.program.length()).collect(),
        tables: (0..network.sets.len() * tables).collect(),
    }])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Embedded, Layout, Table};
    use crate::model::ModelConfig;
    use crate::objective::Space;
    use crate::schema::{Pooling, Role, Schema, Side};
    use crate::spec::ModelSpec;

    fn families(model: &str, change: impl Fn(&mut ModelSpec)) -> Vec<Family> {
        let schema = "[[task]]\nname = \"click\"\n[[task]]\nname = \"cart\"\nafter = \"click\"\n[[task]]\nname = \"buy\"\n\
                      after = \"cart\"\n[[field]]\nname = \"user\"\nkind = \"categorical\"\n";
        let layout = Layout {
            tasks: ["click", "cart", "buy"].map(str::to_string).to_vec(),
            tables: ["user", "item"].map(|name| Table { name: name.into(), rows: 4, width: 3 }).to_vec(),
            embedded: vec![Embedded {
                name: "user".into(),
                table: 0,
                pooling: Pooling::Mean,
                side: Side::User,
                role: Role::Main,
            }],
            dense: Vec::new(),
            scenarios: vec!["all".into()],
            other_is_empty: false,
        };
        let mut spec = ModelSpec::new(ModelConfig::named(model).unwrap());
        change(&mut spec);
        let network = spec.network(&Schema::parse(schema).unwrap(), &layout).unwrap();
        let found = Family::find(&network, 2).unwrap();
        // Every number is kept by one family, and by one only.
        let mut kept = vec![0; network.program.length()];
        for range in found.iter().flat_map(|family| family.parameters.clone()) {
            kept[range].iter_mut().for_each(|kept| *kept += 1);
        }
        for parameter in network.program.parameters() {
            assert!(kept[parameter.range()].iter().all(|kept| *kept == 1), "{model}: {}", parameter.name);
        }
        let mut tables: Vec<usize> = found.iter().flat_map(|family| family.tables.clone()).collect();
        tables.sort_unstable();
        assert_eq!(tables, (0..2 * network.sets.len()).collect::<Vec<_>>(), "{model}");
        found
    }

    #[test]
    fn tasks_are_of_one_family_where_a_gradient_joins_them() {
        let tasks = |model: &str| families(model, |_| {}).into_iter().map(|family| family.tasks).collect::<Vec<_>>();
        let apart = vec![vec![0], vec![1], vec![2]];
        assert_eq!(tasks("single-task"), apart);
        // And the two networks that all tasks learn together, which no task's own loss teaches.
        assert_eq!(tasks("ektm"), [&apart[..], &[vec![], vec![]]].concat());
        for model in ["shared-bottom", "mmoe", "esmm", "ple", "stem", "aitm", "calibration"] {
            assert_eq!(tasks(model), [vec![0, 1, 2]], "{model}");
        }
        let product = families("single-task", |spec| spec.objective.space = Some(Space::Product));
        assert_eq!(product.len(), 1, "a loss on products joins the tasks on its way");
        let path = families("single-task", |spec| spec.objective.space = Some(Space::Path));
        assert_eq!(path.len(), 1, "and where a label on the path is missing, so does one by paths");
        for norm in [crate::layer::Norm::Layer, crate::layer::Norm::Batch] {
            assert_eq!(families("ektm", |spec| spec.network.norm = norm).len(), 5);
        }
        let own = families("single-task", |_| {});
        assert_eq!(own.iter().map(|family| family.tables.clone()).collect::<Vec<_>>(), [[0, 1], [2, 3], [4, 5]]);
    }

    #[test]
    fn a_figure_of_few_positives_is_drawn_towards_that_of_all_tasks() {
        let family = |task| Family { tasks: vec![task], parameters: Vec::new(), tables: Vec::new() };
        // The first counts 4,500 / 5,000 in the mean of all, the second 1,500 / 2,000.
        let tasks = [Some((0.8, 4_499.0)), Some((0.6, 1_499.0)), None];
        let all = (0.9 * 0.8 + 0.75 * 0.6) / 1.65;
        let drawn = |figure: f64, positives: f64| (positives * figure + 500.0 * all) / (positives + 500.0);
        assert!((family(0).figure(&tasks).unwrap() - drawn(0.8, 4_499.0)).abs() < 1e-12);
        assert!((family(1).figure(&tasks).unwrap() - drawn(0.6, 1_499.0)).abs() < 1e-12);
        let others = family(2).figure(&tasks).unwrap();
        assert!((others - all).abs() < 1e-12, "a task without a figure goes with the others");
        assert_eq!(family(0).figure(&[None, None, None]), None);
    }

    #[test]
    fn a_task_with_three_positives_does_not_choose_the_step_of_all() {
        // From the first evaluation to the second click becomes better and buy, by chance, worse.
        let [before, after] = [[(0.90, 2_000.0), (1.2, 3.0)], [(0.89, 2_000.0), (1.6, 3.0)]];
        let family = Family { tasks: vec![0], parameters: Vec::new(), tables: Vec::new() };
        let of = |tasks: [(f64, f64); 2]| family.figure(&tasks.map(Some)).unwrap();
        assert!(of(after) < of(before));
        assert!(mean(after.into_iter()) < mean(before.into_iter()));
    }
}
