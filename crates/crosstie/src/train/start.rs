//! Where the heads start: at their task's log-odds. Otherwise the first steps of a
//! training are spent on how rare an action is, and bend everything else while they
//! are (Lin et al., ICCV 2017, section 3.3, start a rare class's bias like this).

use std::ops::Range;

use crate::compute::Mode;
use crate::error::Result;
use crate::feature::BaseRates;
use crate::model::{Input, Network};
use crate::objective::Condition;

/// Places of the flat vector of parameters, and what they hold at the start.
pub(super) type Starts = Vec<(usize, f32)>;

/// What each head's bias starts with. `heads` is the network of which every head is
/// a loss ([`Network::of_heads`]); a head that has no bias of its own starts at 0.
///
/// A head's bias is what its logit, and no other's, moves with one to one in every
/// row. With scenarios that have weights of their own, each has such a bias.
pub(super) fn starts(heads: &Network, rates: &[BaseRates]) -> Result<Starts> {
    let program = &heads.program;
    let parameters = program.initial(0)?;
    let scenarios = program.scenarios();
    let segments: Vec<Range<usize>> = (0..scenarios).map(|scenario| scenario..scenario + 1).collect();
    let fill = |source: usize, _: Range<usize>, into: &mut [f32]| {
        into.fill(if let Input::Weights = heads.sources[source] { 1.0 } else { 0.0 });
    };
    let mut workspace = program.workspace(scenarios, true);
    let mode = Mode::Train { seed: 0, step: 0 };
    let count = program.losses().len();
    let mut gradients = vec![vec![0.0; program.length()]; count];
    for (head, gradients) in gradients.iter_mut().enumerate() {
        let seeds: Vec<f32> = (0..count).map(|other| if other == head { 1.0 } else { 0.0 }).collect();
        if head == 0 {
            program.train(&mut workspace, &parameters, scenarios, &segments, &seeds, mode, &fill);
        } else {
            program.backward(&mut workspace, &parameters, &seeds, mode);
        }
        program.parameter_gradients(&workspace, &parameters, gradients);
    }
    let mut starts = Vec::new();
    for (head, about) in heads.objective.heads().iter().cycle().take(count).enumerate() {
        let own = |index: usize| (0..count).all(|other| other == head || gradients[other][index] == 0.0);
        let biases = program.parameters().iter().rev().filter(|it| it.learned && it.name.ends_with(".bias"));
        // Of one for all scenarios the gradient is one per row, else one in its own.
        let found = biases.map(|bias| bias.range()).find_map(|range| {
            let moved = |index: &usize| own(*index) && gradients[head][*index] != 0.0;
            let places: Vec<usize> = range.filter(moved).collect();
            let sum: f32 = places.iter().map(|index| gradients[head][*index]).sum();
            let alike = places.windows(2).all(|two| gradients[head][two[0]] == gradients[head][two[1]]);
            (!places.is_empty() && alike && sum == scenarios as f32).then_some(places)
        });
        let rates = &rates[about.task];
        let [ones, zeros] = match about.condition {
            Condition::WithoutParent => rates.without_parent,
            Condition::FromImpression => rates.from_impression,
            _ => rates.given_parent,
        };
        // One row more of each, so that it is finite without any.
        let log_odds = ((ones as f64 + 1.0) / (zeros as f64 + 1.0)).ln() as f32;
        starts.extend(found.into_iter().flatten().map(|place| (place, log_odds)));
    }
    Ok(starts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Dense, Embedded, Layout, Table};
    use crate::model::{MODELS, ModelConfig};
    use crate::schema::{Pooling, Role, Schema, Side};
    use crate::spec::ModelSpec;

    #[test]
    fn every_head_of_every_model_starts_at_its_log_odds() {
        let schema = Schema::parse(
            "scenario = \"tab\"\n[[task]]\nname = \"click\"\n[[task]]\nname = \"cart\"\nafter = \"click\"\n\
             [[task]]\nname = \"buy\"\nafter = \"cart\"\n[[field]]\nname = \"user\"\nkind = \"categorical\"\n\
             side = \"user\"\n[[field]]\nname = \"item\"\nkind = \"categorical\"\nside = \"item\"\n\
             [[field]]\nname = \"x\"\nkind = \"numeric\"\ntransform = \"standard\"\n",
        )
        .unwrap();
        let embedded = |name: &str, table, side| Embedded {
            name: name.into(),
            table,
            pooling: Pooling::Mean,
            side,
            role: Role::Main,
        };
        let layout = Layout {
            tasks: vec!["click".into(), "cart".into(), "buy".into()],
            tables: ["user", "item"].map(|name| Table { name: name.into(), rows: 4, width: 3 }).to_vec(),
            embedded: vec![embedded("user", 0, Side::User), embedded("item", 1, Side::Item)],
            dense: vec![Dense { name: "x".into(), width: 1, side: Side::Context, role: Role::Main }],
            scenarios: vec!["other".into(), "home".into()],
            ..Layout::default()
        };
        let rates: Vec<BaseRates> =
            [9, 99, 999].map(|zeros| BaseRates { given_parent: [0, zeros], ..BaseRates::default() }).to_vec();
        let mut models = Vec::new();
        for name in MODELS.iter().map(|about| about.name) {
            models.push((name, ModelSpec::new(ModelConfig::named(name).unwrap())));
        }
        let separate = "seed = 1\n[model]\nname = \"aem2tl\"\nscenario_weights = \"separate\"\n";
        models.push(("aem2tl, separate", ModelSpec::parse(separate).unwrap()));
        for (name, spec) in models {
            let heads = spec.network_of_heads(&schema, &layout).unwrap();
            let starts = starts(&heads, &rates).unwrap();
            for (head, about) in heads.objective.heads().iter().enumerate() {
                if about.condition == Condition::GivenParent {
                    let expected = -((10f32.powi(about.task as i32 + 1)).ln());
                    let found = starts.iter().filter(|(_, x)| (x - expected).abs() < 1e-4).count();
                    assert!(found == 1 || found == 2, "{name}, head {head} ({}): {starts:?}", about.name);
                }
            }
        }
    }
}
