//! The masks of a model whose tasks have subnetworks of one network.

use crosstie::compute::ParameterId;
use crosstie::scorer::Scorer;

use crate::table;

/// Which connections each task has, layer by layer: `[task][layer][connection]`.
fn kept(scorer: &Scorer) -> Vec<Vec<Vec<bool>>> {
    let network = scorer.network();
    let mask = |id: &ParameterId| {
        let mask = &scorer.learned().parameters()[network.program.parameter(*id).range()];
        mask.iter().map(|kept| *kept != 0.0).collect()
    };
    let of_task = |task: usize| network.masks.iter().map(|masks| mask(&masks.of_task[task])).collect();
    (0..scorer.tasks().len()).map(of_task).collect()
}

fn share(count: usize, whole: usize) -> String {
    table::percent((whole > 0).then(|| count as f64 / whole as f64))
}

/// How much of each layer every task keeps, and how much every two of them
/// have in common; nothing for a model without masks.
pub fn tables(scorer: &Scorer) -> Vec<String> {
    let network = scorer.network();
    if network.masks.is_empty() {
        return Vec::new();
    }
    let (tasks, kept) = (scorer.tasks(), kept(scorer));
    let layers = network.masks.iter().map(|masks| network.program.parameter(masks.weight).name.as_str());
    let layers: Vec<String> = layers.map(|name| format!(">{}", name.trim_end_matches(".weight"))).collect();
    let header: Vec<&str> =
        ["kept by", ">connections", ">of all"].into_iter().chain(layers.iter().map(String::as_str)).collect();
    let rows = tasks.iter().zip(&kept).map(|(task, layers)| {
        let count = |layer: &Vec<bool>| layer.iter().filter(|kept| **kept).count();
        let (all, whole) = (layers.iter().map(count).sum(), layers.iter().map(Vec::len).sum());
        let layers = layers.iter().map(|layer| share(count(layer), layer.len()));
        [task.clone(), table::count(all as u64), share(all, whole)].into_iter().chain(layers).collect()
    });
    let mut parts = vec![table::table(&header, rows)];
    let pairs: Vec<Vec<String>> = (0..tasks.len())
        .flat_map(|one| (one + 1..tasks.len()).map(move |other| (one, other)))
        .map(|(one, other)| {
            let connections = || kept[one].iter().flatten().zip(kept[other].iter().flatten());
            let both = connections().filter(|(one, other)| **one && **other).count();
            let either = connections().filter(|(one, other)| **one || **other).count();
            let counts = [both, either].map(|count| table::count(count as u64));
            [tasks[one].clone(), tasks[other].clone()].into_iter().chain(counts).chain([share(both, either)]).collect()
        })
        .collect();
    if !pairs.is_empty() {
        parts.push(table::table(&["kept by", "and by", ">both", ">either", ">overlap"], pairs));
    }
    parts
}
