//! Networks of one task's loss, over the parameters of all.

use crosstie::model::Network;

use crate::trial::{self, Instance, Trial};

#[test]
fn a_network_of_one_tasks_loss_learns_from_it_what_the_whole_one_does() {
    let instance = Instance::load();
    let batch = instance.random_batch(300);
    let (settings, names) = (("ncs4cvr", "units = [7, 6]"), ["click", "cart", "buy", "like"]);
    for space in [
        "space = \"parent\"",
        "space = \"product\"",
        "space = \"impression\"",
        "space = \"path\"",
        "via = { like = \"cart\" }",
    ] {
        for (task, name) in names.iter().enumerate() {
            let mut config = trial::config(settings, "dropout = 0.3\nnorm = \"batch\"");
            let silent: Vec<String> =
                names.iter().filter(|other| *other != name).map(|other| format!("{other} = 0.0")).collect();
            config.objective = toml::from_str(&format!("{space}\nweights = {{ {} }}", silent.join(", "))).unwrap();
            let mut whole = Trial::new(&instance, &config);
            for masks in whole.network().masks.clone() {
                for (number, mask) in masks.of_task.iter().enumerate() {
                    let range = whole.network().program.parameter(*mask).range();
                    let mask = whole.numbers()[range].iter_mut().enumerate();
                    mask.for_each(|(place, mask)| *mask = f32::from(u8::from((place + number) % 3 != 0)));
                }
            }
            let (model, objective) = (config.model.model(), whole.network().objective.clone());
            let asked = objective.asked_by(task);
            let network = Network::of_task(model, &config.network, &instance.layout(), objective, task).unwrap();
            assert_eq!(network.program.parameters(), whole.parameters());
            let reached = network.program.reached();
            for parameter in network.program.parameters() {
                let owner = names.iter().position(|name| parameter.name.contains(&format!(".{name}")));
                let expected = parameter.learned && owner.is_none_or(|owner| asked[owner]);
                assert_eq!(reached.contains(&parameter.range()), expected, "{space}, {name}: {}", parameter.name);
            }
            let (one, other) = (whole.pass(&batch, trial::TRAIN), whole.pass_of(&network, &batch, trial::TRAIN));
            assert_eq!(one.losses[task], other.losses[task], "{space}, {name}");
            assert_eq!(whole.gradients(&one), whole.gradients(&other), "{space}, {name}");
        }
    }
}
