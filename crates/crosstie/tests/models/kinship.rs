//! Models that are special cases of each other.

use crate::trial::{self, Instance, Trial};

/// The columns of a matrix `[inputs, groups · width]` as `[groups, inputs, width]`.
pub fn apart(values: &[f32], groups: usize, width: usize) -> Vec<f32> {
    let rows = || values.chunks_exact(groups * width);
    (0..groups).flat_map(|group| rows().flat_map(move |row| row[group * width..][..width].to_vec())).collect()
}

#[test]
fn mmoe_with_one_expert_is_shared_bottom() {
    let instance = Instance::load();
    let style = "activation = \"tanh\"";
    let shared =
        Trial::new(&instance, &trial::config(("shared-bottom", "bottom_units = [6, 5]\ntower_units = [3]"), style));
    let settings = "experts = 1\nexpert_units = [6, 5]\ntower_units = [3]";
    let mut mmoe = Trial::new(&instance, &trial::config(("mmoe", settings), style));
    let heads = mmoe.network().objective.heads().len();
    for parameter in shared.parameters() {
        let values = &shared.learned.parameters()[parameter.range()];
        let name = parameter.name.replace("bottom.", "expert.");
        if name == "tower.0.weight" {
            // Towers that read one bottom are one matrix; those of mixtures are apart.
            mmoe.set(&name, &[heads, 5, 3], &apart(values, heads, 3));
        } else {
            mmoe.set(&name, &parameter.shape, values);
        }
    }
    let batch = instance.random_batch(300);
    let (one, other) = (shared.logits(&batch), mmoe.logits(&batch));
    for (one, other) in one.iter().zip(&other) {
        assert!((one - other).abs() <= 1e-6, "{one} {other}");
    }
    let (one, other) = (shared.pass(&batch, trial::TRAIN), mmoe.pass(&batch, trial::TRAIN));
    let gradients = mmoe.gradients(&other);
    assert!(gradients["gate.weight"].iter().all(|gradient| *gradient == 0.0), "one expert leaves no choice");
    for (name, gradient) in shared.gradients(&one) {
        let gradient = if name == "tower.0.weight" { apart(&gradient, heads, 3) } else { gradient };
        for (one, other) in gradient.iter().zip(&gradients[&name.replace("bottom.", "expert.")]) {
            assert!((one - other).abs() <= 1e-6, "{name}: {one} {other}");
        }
    }
}

#[test]
fn ple_with_one_level_is_cgc() {
    let instance = Instance::load();
    let experts = "task_experts = 2\nshared_experts = 3\ntower_units = [3]";
    let cgc = Trial::new(&instance, &trial::config(("cgc", &format!("{experts}\nexpert_units = [5, 4]")), ""));
    let ple = Trial::new(&instance, &trial::config(("ple", &format!("{experts}\nlevels = [[5, 4]]")), ""));
    assert_eq!(cgc.tensors(), ple.tensors());
    let batch = instance.random_batch(300);
    assert_eq!(cgc.logits(&batch), ple.logits(&batch));
}

#[test]
fn esm2_without_an_action_is_esmm() {
    let instance = Instance::load();
    let esmm = Trial::new(&instance, &trial::config(("esmm", "units = [5, 4]"), ""));
    let esm2 = Trial::new(&instance, &trial::config(("esm2", "units = [5, 4]\naction = \"\""), ""));
    assert_eq!(esmm.network().objective, esm2.network().objective);
    assert_eq!(esmm.tensors(), esm2.tensors());
    let batch = instance.random_batch(300);
    assert_eq!(esmm.logits(&batch), esm2.logits(&batch));
}
