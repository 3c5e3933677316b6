//! Which tasks come to their best moment together.
//!
//! Tasks that learn something in common have one moment: the network that is kept is
//! that of one step. A task that learns nothing in common with others is best at a
//! step of its own, and what it alone learns is kept as it was then.

use std::ops::Range;

use super::fit::Job;
use crate::balance::{Touched, touched};
use crate::error::Result;
use crate::metric::{FigureName, Meaning, Report};
use crate::model::Network;
use crate::objective::{Objective, Space};

/// Tasks that learn something in common, directly or by way of others, and what they
/// alone learn.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Family {
    /// The tasks, ascending.
    pub tasks: Vec<usize>,
    /// Places of the flat vector of parameters.
    pub parameters: Vec<Range<usize>>,
    /// The tables, by their places among all.
    pub tables: Vec<usize>,
}

impl Family {
    /// The families of a network with `tables` tables in each set, by their first
    /// tasks. A loss that is about several tasks joins those whose numbers it changes;
    /// what nothing changes goes with the first family.
    pub fn find(network: &Network, tables: usize) -> Result<Vec<Family>> {
        let program = &network.program;
        let (tasks, losses) = (network.objective.funnel().tasks(), program.losses().len());
        let seeds: Vec<Vec<f32>> =
            (0..losses).map(|loss| (0..losses).map(|other| f32::from(u8::from(other == loss))).collect()).collect();
        let touched = touched(network, &seeds)?;
        // Who learns what: a task, or a loss that is about several.
        let owner = |loss: usize| loss.checked_sub(tasks).and_then(|term| network.terms[term].task).unwrap_or(loss);
        let owners = |reaches: &dyn Fn(&Touched) -> bool| -> Vec<usize> {
            (0..losses).filter(|loss| reaches(&touched[*loss])).map(owner).collect()
        };
        let mut parts: Vec<(Range<usize>, Vec<usize>)> = Vec::new();
        for (index, parameter) in program.parameters().iter().enumerate() {
            // A statistic goes with what the same operation learns.
            let beside = if parameter.learned { Some(parameter) } else { program.learned_beside(index) };
            let range = parameter.range();
            let of_all = || {
                let range = beside.map_or(0..0, |beside| beside.range());
                owners(&|touched| touched.dense[range.clone()].contains(&true))
            };
            let elements = beside.filter(|beside| beside.len() == parameter.len()).map(|beside| beside.range());
            let Some(elements) = elements else {
                parts.push((range, of_all()));
                continue;
            };
            // What no row of the made-up batch has touched goes with its neighbours.
            let (start, mut last) = (parts.len(), None);
            for (place, element) in range.clone().zip(elements) {
                let owners = owners(&|touched| touched.dense[element]);
                if owners.is_empty() || last.as_ref() == Some(&owners) {
                    continue;
                }
                let from = if parts.len() == start { range.start } else { place };
                if let Some((before, _)) = parts[start..].last_mut() {
                    before.end = from;
                }
                parts.push((from..range.end, owners.clone()));
                last = Some(owners);
            }
            if parts.len() == start {
                parts.push((range, Vec::new()));
            }
        }
        let sets: Vec<Vec<usize>> = (0..network.sets.len()).map(|set| owners(&|touched| touched.sets[set])).collect();
        let mut family: Vec<usize> = (0..losses).map(owner).collect();
        for together in parts.iter().map(|(_, owners)| owners).chain(&sets) {
            let joined: Vec<usize> = together.iter().map(|owner| family[*owner]).collect();
            if let Some(first) = joined.iter().min().copied() {
                family.iter_mut().filter(|family| joined.contains(family)).for_each(|family| *family = first);
            }
        }
        let mut families: Vec<Family> = Vec::new();
        for first in (0..tasks).filter(|task| family[*task] == *task) {
            let is = |owners: &Vec<usize>| owners.first().map_or(first == 0, |owner| family[*owner] == first);
            let own_sets = sets.iter().enumerate().filter(|(_, owners)| is(owners));
            families.push(Family {
                tasks: (0..tasks).filter(|task| family[*task] == first).collect(),
                parameters: parts.iter().filter(|(_, owners)| is(owners)).map(|(range, _)| range.clone()).collect(),
                tables: own_sets.flat_map(|(set, _)| set * tables..(set + 1) * tables).collect(),
            });
        }
        Ok(families)
    }

    /// The figure that tells this family's moment, of the tasks' own figures, each with
    /// the positives that it is of.
    fn figure(&self, tasks: &[Option<(f64, f64)>]) -> Option<f64> {
        let mean = |of: &mut dyn Iterator<Item = f64>| {
            let (sum, count) = of.fold((0.0, 0.0), |(sum, count), figure| (sum + figure, count + 1.0));
            (count > 0.0).then(|| sum / count)
        };
        let all = mean(&mut tasks.iter().flatten().map(|(figure, _)| *figure))?;
        let own = || self.tasks.iter().filter_map(|task| tasks[*task]);
        let positives: f64 = own().map(|(_, positives)| positives).sum();
        let figure = mean(&mut own().map(|(figure, _)| figure)).unwrap_or(all);
        Some((positives * figure + FEW * all) / (positives + FEW))
    }
}

/// What the mean over all tasks weighs beside a family's own figure, in positives. A
/// figure of few positives is mostly chance, and its best moment, too: a rare task goes
/// with the others.
const FEW: f64 = 500.0;

/// The families that have a moment of their own. A training that follows the figure of
/// one task has one moment, for all.
pub(super) fn families(network: &Network, tables: usize, monitor: &FigureName) -> Result<Vec<Family>> {
    let found = Family::find(network, tables)?;
    if found.len() > 1 && monitor.task().is_none() {
        return Ok(found);
    }
    Ok(vec![Family {
        tasks: (0..network.objective.funnel().tasks()).collect(),
        parameters: std::iter::once(0..network.program.length()).collect(),
        tables: (0..network.sets.len() * tables).collect(),
    }])
}

/// Each family's figure in a report.
pub(super) fn figures(job: &Job<'_>, objective: &Objective, report: &Report) -> Vec<Option<f64>> {
    let [_] = job.families.as_slice() else {
        let of = |(name, space): (&String, &Space)| {
            let meaning = match space {
                Space::Parent | Space::Path => Meaning::GivenParent,
                Space::Product | Space::Impression => Meaning::FromImpression,
            };
            let figure = job.monitor.of_task(name, meaning).of(report)?;
            Some((figure, report.tasks[name].get(meaning).positives as f64))
        };
        let tasks: Vec<Option<(f64, f64)>> = objective.names().iter().zip(objective.spaces()).map(of).collect();
        return job.families.iter().map(|family| family.figure(&tasks)).collect();
    };
    vec![job.monitor.of(report)]
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
        assert_eq!((tasks("single-task"), tasks("ektm")), (apart.clone(), apart.clone()));
        for model in ["shared-bottom", "mmoe", "esmm", "ple", "stem", "aitm", "calibration"] {
            assert_eq!(tasks(model), [vec![0, 1, 2]], "{model}");
        }
        let product = families("single-task", |spec| spec.objective.space = Some(Space::Product));
        assert_eq!(product.len(), 1, "a loss on products joins the tasks on its way");
        for norm in [crate::layer::Norm::Layer, crate::layer::Norm::Batch] {
            assert_eq!(families("ektm", |spec| spec.network.norm = norm).len(), 3);
        }
        let own = families("single-task", |_| {});
        assert_eq!(own.iter().map(|family| family.tables.clone()).collect::<Vec<_>>(), [[0, 1], [2, 3], [4, 5]]);
    }

    #[test]
    fn a_figure_of_few_positives_is_drawn_towards_that_of_all_tasks() {
        let family = |task| Family { tasks: vec![task], parameters: Vec::new(), tables: Vec::new() };
        let tasks = [Some((0.8, 4_500.0)), Some((0.6, 0.0)), None];
        assert_eq!(family(1).figure(&tasks), Some(0.7));
        assert!((family(0).figure(&tasks).unwrap() - 0.79).abs() < 1e-12);
        assert_eq!(family(2).figure(&tasks), Some(0.7), "a task without a figure goes with the others");
        assert_eq!(family(0).figure(&[None, None, None]), None);
    }
}
