//! A model on a small instance of tests/golden, ready to be tried.

use std::collections::BTreeMap;

use crosstie::batch::{Batch, Dense, Embedded, Ids, Layout, Table};
use crosstie::compute::{Mode, Parameter};
use crosstie::config::Config;
use crosstie::embedding::RowGradients;
use crosstie::learned::{Gradients, Learned};
use crosstie::model::Network;
use crosstie::optim::OptimizerConfig;
use crosstie::random::Stream;
use crosstie::schema::{Pooling, Role, Schema, Side};
use crosstie::spec::ModelSpec;
use crosstie::train::Trainer;
use serde::Deserialize;

/// Each model, small enough for finite differences.
pub const SMALL: &[(&str, &str)] = &[
    ("single-task", "units = [7, 6]"),
    ("shared-bottom", "bottom_units = [8, 7]\ntower_units = [6]"),
    ("esmm", "units = [7, 6]"),
    ("mmoe", "experts = 3\nexpert_units = [7, 6]\ntower_units = [6]"),
    ("cgc", "task_experts = 2\nshared_experts = 2\nexpert_units = [7, 6]\ntower_units = [6]"),
    ("ple", "task_experts = 1\nshared_experts = 2\nlevels = [[7], [6]]\ntower_units = [6]"),
    ("ple", "task_experts = 2\nshared_experts = 1\nlevels = [[8, 7], [6], [6]]\ntower_units = []"),
    ("adatt", "task_experts = 2\nlevels = [[7], [6]]\ntower_units = [6]"),
    ("adatt", "task_experts = 1\nlevels = [[8, 7], [6]]\ntower_units = []"),
    ("stem", STEM),
    ("stem", STEM_LEVELS),
    ("aitm", "bottom_units = [7, 6]\ntower_units = [6]"),
    ("calibration", "structure = \"ctr\"\nunits = [7, 6]\nbias_units = [6]"),
    ("calibration", "structure = \"ctr-scaled\"\nunits = [7, 6]\nlayers = [0, 1]\nbias_units = [6]"),
    ("calibration", "structure = \"cvr\"\nunits = [7, 6]\nlayers = [0, 1]\nreduction = 1"),
    ("calibration", "structure = \"cvr-concat\"\nunits = [7, 6]\nreduction = 1\nbias_layers = []"),
    ("ektm", EKTM),
    ("ektm", EKTM_OWN),
    ("ektm", EKTM_BOTH),
    ("esm2", "units = [7, 6]"),
    ("ncs4cvr", "units = [7, 6]"),
    (
        "aem2tl",
        "scenario_experts = 2\nexpert_units = [7, 6]\ntask_experts = 2\ntask_expert_units = [6]\n\
         tower_units = [6]\ngate_units = 5\nscenario_width = 3",
    ),
    ("aem2tl", "scenario_weights = \"separate\"\nexpert_units = [7]\ntask_expert_units = [6]\ntower_units = []"),
];

/// A style in which the towers of every model are gated.
pub const GATED: &str = "gating = { units = 4, scenario_width = 3 }";

// What stands behind a stop-gradient has no finite difference, so the models
// below have none.

const STEM: &str = "task_experts = 2
shared_experts = 2
levels = [[7, 6]]
gate_units = [5]
tower_units = [6]
stop_gradient = false";
const STEM_LEVELS: &str = "levels = [[7], [6]]
gate_units = []
tower_units = []
stop_gradient = false";

const EKTM: &str = "bottom_units = [7, 6]
tower_units = [6]
transfer = \"representations\"
tables = \"shared\"
transmitter = { units = [5], stop_gradient = false }
enhanced = { loss = \"hard-example\", beta = 0.0 }";

const EKTM_OWN: &str = "bottom_units = [7, 6]
tower_units = [6]
transfer = \"representations\"
tables = \"own\"
router = { similarity = \"learned\" }
transmitter = { units = [5], stop_gradient = false }
enhanced = { loss = \"guard\", lambda = 0.0 }";
const EKTM_BOTH: &str = "bottom_units = [7, 6]
tower_units = []
transfer = \"representations\"
tables = \"both\"
transmitter = { units = [5], stop_gradient = false }
enhanced = { loss = \"hard-example\", beta = 0.0 }";

/// A config of a model of [`SMALL`] with a style; without dropout unless the
/// style asks for it.
pub fn config((name, settings): (&str, &str), style: &str) -> Config {
    let style = if style.contains("dropout") { style.to_string() } else { format!("dropout = 0.0\n{style}") };
    parse(&format!("[network]\n{style}\n[model]\nname = \"{name}\"\n{settings}\n"))
}

/// Reads a config that says nothing of data.
pub fn parse(text: &str) -> Config {
    let spec = ModelSpec::parse(&format!("seed = 1\n{text}")).unwrap_or_else(|error| panic!("{text}\n{error}"));
    Config { network: spec.network, objective: spec.objective, ..Config::new(spec.model) }
}

/// instance.json: a schema, its layout and a few rows.
#[derive(Deserialize)]
pub struct Instance {
    schema: String,
    layout: RawLayout,
    rows: serde_json::Map<String, serde_json::Value>,
}

#[derive(Deserialize)]
struct RawLayout {
    tasks: Vec<String>,
    tables: Vec<RawTable>,
    embedded: Vec<RawEmbedded>,
    dense: Vec<RawDense>,
    scenarios: Vec<String>,
    #[serde(default)]
    other_is_empty: bool,
}

#[derive(Deserialize)]
struct RawTable {
    name: String,
    rows: usize,
    width: usize,
}

#[derive(Deserialize)]
struct RawEmbedded {
    name: String,
    table: usize,
    pooling: Pooling,
    side: Side,
    role: Role,
}

#[derive(Deserialize)]
struct RawDense {
    name: String,
    width: usize,
    side: Side,
    role: Role,
}

/// Reads a file of tests/golden.
pub fn golden<T: serde::de::DeserializeOwned>(name: &str) -> T {
    let path = format!("{}/tests/golden/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

impl Instance {
    /// The one that most tests are about.
    pub fn load() -> Instance {
        golden("models/instance")
    }

    /// The same fields under other tasks (`[[task]]` sections), in as many
    /// scenarios, at least one. There are no stored rows for it.
    pub fn with(self, tasks: &str, scenarios: usize) -> Instance {
        let fields = self.schema.find("[[field]]").expect("the instance has fields");
        let schema = format!("{tasks}\n{}", &self.schema[fields..]);
        let tasks = Schema::parse(&schema).unwrap().tasks.into_iter().map(|task| task.name).collect();
        let scenarios = (0..scenarios).map(|scenario| scenario.to_string()).collect();
        Instance { schema, layout: RawLayout { tasks, scenarios, ..self.layout }, rows: serde_json::Map::new() }
    }

    /// The same without a training row of the first scenario.
    pub fn without_other(self) -> Instance {
        Instance { layout: RawLayout { other_is_empty: true, ..self.layout }, ..self }
    }

    /// Its schema.
    pub fn schema(&self) -> Schema {
        Schema::parse(&self.schema).unwrap()
    }

    /// Its layout.
    pub fn layout(&self) -> Layout {
        let raw = &self.layout;
        let table = |t: &RawTable| Table { name: t.name.clone(), rows: t.rows, width: t.width };
        let embedded = |f: &RawEmbedded| Embedded {
            name: f.name.clone(),
            table: f.table,
            pooling: f.pooling,
            side: f.side,
            role: f.role,
        };
        let dense = |f: &RawDense| Dense { name: f.name.clone(), width: f.width, side: f.side, role: f.role };
        Layout {
            tasks: raw.tasks.clone(),
            tables: raw.tables.iter().map(table).collect(),
            embedded: raw.embedded.iter().map(embedded).collect(),
            dense: raw.dense.iter().map(dense).collect(),
            scenarios: raw.scenarios.clone(),
            other_is_empty: raw.other_is_empty,
        }
    }

    /// The stored rows.
    pub fn batch(&self) -> Batch {
        let column = |name: &str| self.rows[name].clone();
        let weights: Vec<f32> = serde_json::from_value(column("weights")).unwrap();
        let labels: Vec<Vec<Option<f32>>> = serde_json::from_value(column("labels")).unwrap();
        let ids = self.layout.embedded.iter().map(|field| {
            let rows: Vec<Vec<u32>> = serde_json::from_value(column(&field.name)).unwrap();
            if rows.iter().all(|row| row.len() == 1) { Ids::One(rows.concat()) } else { many(rows) }
        });
        let dense = self.layout.dense.iter().map(|field| column(&field.name));
        let dense: Vec<Vec<f32>> = dense.map(|column| serde_json::from_value(column).unwrap()).collect();
        Batch {
            rows: weights.len(),
            ids: ids.collect(),
            dense: (0..weights.len()).flat_map(|row| dense.iter().map(move |column| column[row])).collect(),
            labels: labels.concat().into_iter().map(|label| label.unwrap_or(f32::NAN)).collect(),
            scenarios: serde_json::from_value(column("scenarios")).unwrap(),
            weights,
            groups: Vec::new(),
        }
    }

    /// As many rows as wanted, at random: every tenth label missing, all rows
    /// in the first and the last scenario.
    pub fn random_batch(&self, rows: usize) -> Batch {
        let draw = |name: &str, count: usize| -> Vec<f64> {
            let stream = Stream::new(5, name);
            (0..count as u64).map(|index| stream.uniform(index)).collect()
        };
        let below = |uniform: f64, count: usize| (uniform * count as f64) as u32;
        let ids = self.layout.embedded.iter().map(|field| {
            let table = self.layout.tables[field.table].rows;
            if field.name == "seen" {
                let counts = draw("counts", rows);
                let drawn = draw("seen", 4 * rows);
                let row = |row: usize| (0..below(counts[row], 4) as usize).map(move |i| 4 * row + i);
                many((0..rows).map(|r| row(r).map(|place| below(drawn[place], table)).collect()).collect())
            } else {
                Ids::One(draw(&field.name, rows).into_iter().map(|u| below(u, table)).collect())
            }
        });
        let (tasks, last) = (self.layout.tasks.len(), self.layout.scenarios.len() as u32 - 1);
        let label = |(uniform, missing): (f64, f64)| match () {
            () if missing < 0.1 => f32::NAN,
            () => f32::from(u8::from(uniform < 0.45)),
        };
        let drawn = draw("labels", rows * tasks).into_iter().zip(draw("missing", rows * tasks));
        Batch {
            rows,
            ids: ids.collect(),
            dense: draw("dense", rows * self.layout.dense.len()).into_iter().map(|u| (4.0 * u - 2.0) as f32).collect(),
            labels: drawn.map(label).collect(),
            weights: draw("weights", rows).into_iter().map(|u| u as f32).collect(),
            scenarios: (0..rows).map(|row| if row < rows / 3 { 0 } else { last }).collect(),
            groups: Vec::new(),
        }
    }
}

fn many(rows: Vec<Vec<u32>>) -> Ids {
    let ends = rows.iter().scan(0, |end, row| {
        *end += row.len() as u32;
        Some(*end)
    });
    Ids::Many { offsets: std::iter::once(0).chain(ends).collect(), values: rows.concat() }
}

/// A model with its numbers.
pub struct Trial {
    pub learned: Learned,
    config: Config,
    schema: Schema,
    layout: Layout,
}

/// What one backward pass finds.
pub struct Pass {
    /// Sum of each task's loss.
    pub losses: Vec<f64>,
    /// Of the flat parameters.
    pub parameters: Vec<f32>,
    /// Of the tables' rows.
    pub rows: Vec<RowGradients>,
}

/// Training, with the randomness of one step.
pub const TRAIN: Mode = Mode::Train { seed: 3, step: 1 };

impl Trial {
    /// A model at the start of training, but with tables as wide awake as
    /// trained ones.
    pub fn new(instance: &Instance, config: &Config) -> Trial {
        let (schema, layout) = (instance.schema(), instance.layout());
        let mut config = config.clone();
        (config.train.seed, config.embedding.spread) = (3, 0.7);
        let learned = config.spec().start(&schema, &layout).unwrap();
        Trial { learned, config, schema, layout }
    }

    /// The network.
    pub fn network(&self) -> &Network {
        self.learned.network()
    }

    /// What is known of the dense parameters.
    pub fn parameters(&self) -> &[Parameter] {
        self.network().program.parameters()
    }

    /// The dense parameters.
    pub fn numbers(&mut self) -> &mut [f32] {
        self.learned.numbers_mut().1
    }

    /// The loss weights that make the gradient that of Σ weight · loss / rows.
    pub fn seeds(&self, rows: usize) -> Vec<f32> {
        let network = self.network();
        let terms = network.terms.iter().map(|term| term.weight);
        let weights = network.objective.weights().iter().copied().chain(terms);
        weights.map(|weight| weight / rows as f32).collect()
    }

    /// Logits as in scoring, rows × heads.
    pub fn logits(&self, batch: &Batch) -> Vec<f32> {
        let passes = self.learned.passes();
        let mut workspace = self.network().program.workspace(batch.rows, false);
        passes.forward(&mut workspace, batch);
        passes.logits(&workspace).flatten().copied().collect()
    }

    /// Losses, and the gradient of Σ weight · loss / rows.
    pub fn pass(&self, batch: &Batch, mode: Mode) -> Pass {
        self.pass_of(self.network(), batch, mode)
    }

    /// The same by a network that asks another question.
    pub fn pass_of(&self, network: &Network, batch: &Batch, mode: Mode) -> Pass {
        let passes = self.learned.passes_of(network);
        let mut workspace = network.program.workspace(batch.rows, true);
        let losses = passes.losses(&mut workspace, batch, &self.seeds(batch.rows), mode).unwrap();
        // Whatever the passes leave unwritten must show.
        let mut gradients = Gradients { dense: vec![f32::NAN; network.program.length()], rows: Vec::new() };
        passes.gradients(&workspace, batch, &mut gradients);
        Pass { losses, parameters: gradients.dense, rows: gradients.rows }
    }

    /// A few steps of training on one batch, to where the last one ends.
    pub fn train(&mut self, batch: &Batch, steps: u64, optimizer: &OptimizerConfig) {
        let mut config = Config { optimizer: optimizer.clone(), ..self.config.clone() };
        config.train.batch_size = batch.rows;
        config.train.average = false;
        let mut trainer = Trainer::of(&config, &self.schema, &self.layout, self.learned.clone()).unwrap();
        for _ in 0..steps {
            trainer.step(1, batch).unwrap();
        }
        self.learned = trainer.into_learned();
    }

    /// All numbers by tensor name, tables among them.
    pub fn tensors(&self) -> BTreeMap<String, Vec<f32>> {
        self.learned.tensors().map(|tensor| (tensor.name.to_string(), tensor.values.to_vec())).collect()
    }

    /// A pass's gradients by tensor name; unseen rows have zero.
    pub fn gradients(&self, pass: &Pass) -> BTreeMap<String, Vec<f32>> {
        let tables = self.learned.tables().all().iter().zip(&pass.rows).map(|(table, seen)| {
            let mut whole = vec![0.0; table.weights.len()];
            for (row, gradient) in seen.rows.iter().zip(seen.gradients.chunks_exact(table.width)) {
                whole[*row as usize * table.width..][..table.width].copy_from_slice(gradient);
            }
            (table.name.clone(), whole)
        });
        let parameters = self.parameters().iter().filter(|parameter| parameter.learned);
        tables.chain(parameters.map(|p| (p.name.clone(), pass.parameters[p.range()].to_vec()))).collect()
    }

    /// Writes the numbers of a tensor.
    ///
    /// # Panics
    /// If there is none of that name and shape.
    pub fn set(&mut self, name: &str, shape: &[usize], values: &[f32]) {
        let mut found = false;
        let learned = &self.learned;
        let read = |tensor: &str, of: &[usize], into: &mut [f32]| {
            if tensor == name {
                assert_eq!(of, shape, "shape of {name}");
                into.copy_from_slice(values);
                found = true;
            } else {
                into.copy_from_slice(learned.tensors().find(|known| known.name == tensor).unwrap().values);
            }
            Ok(())
        };
        self.learned = Learned::from_tensors(learned.network().clone(), &self.layout, read).unwrap();
        assert!(found, "no tensor {name}");
    }
}
