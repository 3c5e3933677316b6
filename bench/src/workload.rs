//! The step workload: 20 categorical fields and the models that read them.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use crosstie::batch::Batch;
use crosstie::config::Config;
use crosstie::data::Source;
use crosstie::feature::Features;
use crosstie::learned::Learned;
use crosstie::schema::Schema;

/// Distinct values of each field.
pub const VOCABULARIES: [u32; 20] = [
    500_000, 500_000, 50_000, 50_000, 50_000, 50_000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000,
    1000, 1000, 1000,
];
/// The first fields describe the user, the others the candidate.
pub const USER_FIELDS: usize = 12;
/// Numbers of scenarios that the log can be split into.
pub const SCENARIOS: [u32; 3] = [1, 6, 50];
/// Rows encoded at a time.
pub const PIECE: usize = 8192;

pub fn field_name(field: usize) -> String {
    format!("f{field:02}")
}

pub fn scenario_column(count: u32) -> String {
    format!("scenario_{count}")
}

/// A model of the workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Model {
    /// One bottom 320 → 256 → 128, two towers.
    SharedBottom,
    /// 8 experts 320 → 256 → 128, two gates, two towers of 64.
    Mmoe,
    /// Two levels, of 256 and 128.
    Ple,
    /// Default sizes, three tasks.
    SingleTask,
    /// Default sizes, three tasks.
    Ektm,
    /// Default sizes, three tasks.
    Aem2tl,
    /// A small network, to see everything that is not a matrix product.
    Small,
}

impl Model {
    /// The model's settings; every model is trained the same way.
    fn settings(self) -> &'static str {
        match self {
            Model::SharedBottom => "name = 'shared-bottom'\nbottom_units = [256, 128]\ntower_units = [64]",
            Model::Mmoe => "name = 'mmoe'\nexperts = 8\nexpert_units = [256, 128]\ntower_units = [64]",
            Model::Ple => "name = 'ple'\nlevels = [[256], [128]]\ntower_units = [64]",
            Model::SingleTask => "name = 'single-task'",
            Model::Ektm => "name = 'ektm'",
            Model::Aem2tl => "name = 'aem2tl'",
            Model::Small => "name = 'shared-bottom'\nbottom_units = [16]\ntower_units = []",
        }
    }

    /// The tasks, as the schema writes them.
    fn tasks(self) -> &'static str {
        match self {
            Model::SingleTask | Model::Ektm | Model::Aem2tl => {
                "[[task]]\nname = 'click'\n[[task]]\nname = 'cart'\nafter = 'click'\n[[task]]\nname = 'buy'\nafter = 'cart'\n"
            }
            _ => "[[task]]\nname = 'click'\n[[task]]\nname = 'like'\n",
        }
    }

    /// The configuration of a training, with products in float32 or bfloat16.
    pub fn config(self, batch: usize, threads: usize, products: &str) -> Result<Config> {
        let text = format!(
            "[data]\ndir = '.'\n[network]\ndropout = 0.0\nproducts = '{products}'\n[train]\nbatch_size = {batch}\nthreads = {threads}\n[model]\n{}\n\
             [optimizer.dense]\nname = 'adam'\nlearning_rate = 1e-3\n[optimizer.rows]\nname = 'adam'\nlearning_rate = 1e-3\n",
            self.settings()
        );
        Ok(Config::parse(&text, &[])?)
    }

    /// The schema of the log for this model. `buckets` gives the first field a
    /// hashed table of that size.
    pub fn schema(self, scenarios: u32, buckets: Option<u32>) -> Result<Schema> {
        let mut text = format!("scenario = '{}'\n{}", scenario_column(scenarios), self.tasks());
        for field in 0..VOCABULARIES.len() {
            let side = if field < USER_FIELDS { "user" } else { "item" };
            let rows = match buckets.filter(|_| field == 0) {
                Some(buckets) => format!("buckets = {buckets}"),
                // No rates of their values beside the embeddings: the peers have none.
                None => "min_count = 1\nrates = false".into(),
            };
            let name = field_name(field);
            text += &format!("[[field]]\nname = '{name}'\nkind = 'categorical'\n{rows}\nside = '{side}'\n");
        }
        Ok(Schema::parse(&text)?)
    }
}

/// A log in memory.
pub struct Encoded {
    pub features: Arc<Features>,
    pub batches: Vec<Batch>,
}

/// Learns the features from the training file and the file of all values, and
/// encodes the first `rows` of the training file in batches, in its order.
pub fn encode(directory: &Path, schema: &Schema, rows: usize, batch: usize) -> Result<Encoded> {
    let train = directory.join("train.parquet");
    let source = open(&[&train])?;
    let features = Features::learn(schema, &open(&[&train, &directory.join("values.parquet")])?)?;
    let mut window = Batch::default();
    let mut batches = Vec::new();
    let mut left = rows;
    for piece in source.rows(&features.columns(), PIECE) {
        let mut piece = features.encode(&piece?)?;
        if piece.rows > left {
            piece = piece.select(&(0..left).collect::<Vec<_>>());
        }
        left -= piece.rows;
        window.append(&piece);
        let whole = window.rows / batch * batch;
        let order: Vec<usize> = (0..window.rows).collect();
        batches.extend(order[..whole].chunks(batch).map(|rows| window.select(rows)));
        window = window.select(&order[whole..]);
        if left == 0 {
            break;
        }
    }
    Ok(Encoded { features: features.features().clone(), batches })
}

pub fn open(paths: &[&Path]) -> Result<Source> {
    let path = |path: &&Path| Ok(path.to_str().with_context(|| format!("{} is no UTF-8", path.display()))?.to_string());
    Ok(Source::open(&paths.iter().map(path).collect::<Result<Vec<_>>>()?)?)
}

/// Number of learned dense parameters, and of weights in tables.
pub fn sizes(learned: &Learned) -> (usize, usize) {
    let parameters = learned.network().program.parameters().iter().filter(|parameter| parameter.learned);
    let tables = learned.table_tensors().map(|table| table.values.len());
    (parameters.map(|parameter| parameter.len()).sum(), tables.sum())
}
