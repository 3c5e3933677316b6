//! Synthetic impression logs whose true probabilities are known.
//!
//! A real log hides two things: how good a model could be at best, and what
//! would have happened on rows that nobody clicked. Here both are columns. A
//! log has a funnel (click; after it like and follow in parallel, and cart,
//! then buy in sequence), users and items with features, scenarios of unequal
//! size with their own behaviour, and selection bias: what makes people click
//! also moves what they do next.

mod crowd;
mod world;

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use crate::arrow::array::{ArrayRef, Float32Array, Float64Array, Int8Array, Int64Array, RecordBatch, StringArray};
use crate::arrow::datatypes::SchemaRef;
use crate::data::Writer;
use crate::error::{Error, Result};
use crate::schema::Schema;
use crate::spelling;

use world::{DEVICES, TASKS, Truth, World};

pub use crowd::Crowd;
pub use world::Impression;

/// How the conversions' true preferences relate to each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Relation {
    /// One direction for all, and a small part of their own: sharing helps.
    #[default]
    Related,
    /// Independent directions: sharing cannot help, and may hurt.
    Unrelated,
    /// Like and follow share one direction, cart and buy another.
    TwoGroups,
}

impl Relation {
    /// Every relation, in the order of their names' use.
    pub const ALL: [Relation; 3] = [Relation::Related, Relation::Unrelated, Relation::TwoGroups];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Relation::Related => "related",
            Relation::Unrelated => "unrelated",
            Relation::TwoGroups => "two-groups",
        }
    }
}

impl fmt::Display for Relation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Relation {
    type Err = Error;

    /// # Errors
    /// [`Error::Config`] with the nearest name.
    fn from_str(name: &str) -> Result<Relation> {
        Relation::ALL.into_iter().find(|relation| relation.name() == name).ok_or_else(|| {
            let names = Relation::ALL.map(Relation::name);
            Error::Config(format!("there is no relation `{name}`{}", spelling::hint(name, names)))
        })
    }
}

/// A synthetic log. The same values give the same files, byte for byte.
#[derive(Clone, Debug, PartialEq)]
pub struct Synth {
    /// Impressions in all: 80 % go to training, 10 % to validation, the rest
    /// to the test. Users are a fiftieth of it, items a two-hundredth.
    pub rows: u64,
    /// Where all randomness comes from.
    pub seed: u64,
    /// Number of scenarios, from 1 to 1,000; each has 0.6 times the traffic of
    /// the one before, down to a thousandth of the first.
    pub scenarios: usize,
    /// How the conversions' preferences relate.
    pub relation: Relation,
    /// Share of the likes and follows that happen without a click, from 0 to 0.9.
    pub direct_rate: f64,
    /// How much of what draws a click also moves the conversions, from 0 to 1.
    /// With 0 nothing but their preferences relates them: the relation is all
    /// there is to know.
    pub selection: f64,
}

impl Default for Synth {
    fn default() -> Synth {
        Synth { rows: 1_000_000, seed: 1, scenarios: 4, relation: Relation::Related, direct_rate: 0.0, selection: 1.0 }
    }
}

/// The columns that hold the generator's own probabilities of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TruthColumns {
    /// Given that the parent action happened; on a row where it did not, what
    /// would have been the probability if it had.
    pub given_parent: String,
    /// From the impression, over every path.
    pub from_impression: String,
}

/// The columns of a synthetic log that hold a task's true probabilities. The
/// AUC of such a column against the labels is the ceiling of any model's.
pub fn truth_columns(task: &str) -> TruthColumns {
    TruthColumns { given_parent: format!("true_{task}"), from_impression: format!("true_joint_{task}") }
}

/// What was written.
#[derive(Clone, Debug, PartialEq)]
pub struct SynthReport {
    /// Rows of the training, validation and test files.
    pub rows: [u64; 3],
    /// Number of users.
    pub users: usize,
    /// Number of items.
    pub items: usize,
    /// What happened, per task.
    pub tasks: Vec<SynthTask>,
}

/// How often an action happened in the whole log.
#[derive(Clone, Debug, PartialEq)]
pub struct SynthTask {
    /// The task.
    pub name: String,
    /// Rows where the parent action happened; all rows for a task without one.
    pub sample_space: u64,
    /// Positives on the sample space.
    pub positives: u64,
    /// Positives without the parent action.
    pub direct: u64,
}

/// The files, in the order of their rows.
const FILES: [&str; 3] = ["train.parquet", "valid.parquet", "test.parquet"];
/// Rows generated and written at a time.
const PIECE: u64 = 1 << 16;

impl Synth {
    /// Writes `train.parquet`, `valid.parquet`, `test.parquet` and
    /// `schema.toml` into the directory, which is made if need be.
    ///
    /// # Errors
    /// [`Error::Config`] for a value out of its range, [`Error::Io`].
    pub fn write(&self, directory: &Path) -> Result<SynthReport> {
        self.check()?;
        std::fs::create_dir_all(directory).map_err(Error::io(directory))?;
        FILES.iter().try_for_each(|file| Writer::check(&directory.join(file)))?;
        let world = self.world();
        let mut tasks: Vec<SynthTask> = TASKS
            .iter()
            .map(|name| SynthTask { name: name.to_string(), sample_space: 0, positives: 0, direct: 0 })
            .collect();
        let ends = [self.rows * 8 / 10, self.rows * 9 / 10, self.rows];
        let columns = Arc::new(arrow_schema());
        let mut row = 0;
        for (file, end) in FILES.iter().zip(ends) {
            let mut writer = Writer::create(&directory.join(file), columns.clone())?;
            while row < end {
                let next = (row + PIECE).min(end);
                writer.write(&piece(&world, &columns, row..next, &mut tasks))?;
                row = next;
            }
            writer.finish()?;
        }
        crate::durable::write_file(&directory.join("schema.toml"), self.schema().to_toml())?;
        Ok(SynthReport {
            rows: [ends[0], ends[1] - ends[0], ends[2] - ends[1]],
            users: world.users.len(),
            items: world.items.len(),
            tasks,
        })
    }

    /// The schema of the log.
    pub fn schema(&self) -> Schema {
        let direct = if self.direct_rate > 0.0 { "direct = true\n" } else { "" };
        let text = SCHEMA.replace("# direct\n", direct);
        let mut schema = Schema::parse(&text).expect("the synthetic log's schema is valid");
        schema.never = TASKS
            .iter()
            .map(|task| truth_columns(task))
            .flat_map(|truth| [truth.given_parent, truth.from_impression])
            .collect();
        schema
    }

    fn check(&self) -> Result<()> {
        let wrong = |message: String| Err(Error::Config(message));
        if self.rows < 10 {
            return wrong(format!("{} rows are too few for three files, at least 10", self.rows));
        }
        if !(1..=1000).contains(&self.scenarios) {
            return wrong(format!("the number of scenarios must be from 1 to 1,000, found {}", self.scenarios));
        }
        if !(0.0..=0.9).contains(&self.direct_rate) {
            return wrong(format!("the direct rate must be from 0 to 0.9, found {}", self.direct_rate));
        }
        if !(0.0..=1.0).contains(&self.selection) {
            return wrong(format!("the selection must be from 0 to 1, found {}", self.selection));
        }
        Ok(())
    }

    fn world(&self) -> World {
        let users = (self.rows / 50).clamp(20, 1_000_000) as usize;
        let items = (self.rows / 200).clamp(20, 1_000_000) as usize;
        World::new(self, users, items)
    }
}

const SCHEMA: &str = r#"
scenario = "scenario"
group = "user_id"

[[task]]
name = "click"

[[task]]
name = "like"
after = "click"
# direct

[[task]]
name = "follow"
after = "click"
# direct

[[task]]
name = "cart"
after = "click"

[[task]]
name = "buy"
after = "cart"

[[field]]
name = "user_id"
kind = "categorical"
side = "user"

[[field]]
name = "segment"
kind = "categorical"
side = "user"

[[field]]
name = "city"
kind = "categorical"
side = "user"

[[field]]
name = "age"
kind = "numeric"
side = "user"

[[field]]
name = "activity"
kind = "numeric"
transform = "log1p"
side = "user"

[[field]]
name = "item_id"
kind = "categorical"
side = "item"

[[field]]
name = "category"
kind = "categorical"
side = "item"

[[field]]
name = "brand"
kind = "categorical"
side = "item"

[[field]]
name = "tags"
kind = "multi"
separator = ","
side = "item"

[[field]]
name = "price"
kind = "numeric"
transform = "log1p"
side = "item"

[[field]]
name = "hour"
kind = "categorical"

[[field]]
name = "device"
kind = "categorical"

[[field]]
name = "position"
kind = "categorical"
role = "bias"

[[field]]
name = "scenario"
kind = "categorical"
"#;

fn arrow_schema() -> crate::arrow::datatypes::Schema {
    use crate::arrow::datatypes::{DataType, Field};

    let features = [
        ("user_id", DataType::Int64),
        ("segment", DataType::Utf8),
        ("city", DataType::Utf8),
        ("age", DataType::Int64),
        ("activity", DataType::Float64),
        ("item_id", DataType::Int64),
        ("category", DataType::Utf8),
        ("brand", DataType::Utf8),
        ("tags", DataType::Utf8),
        ("price", DataType::Float64),
        ("hour", DataType::Int64),
        ("device", DataType::Utf8),
        ("position", DataType::Int64),
        ("scenario", DataType::Utf8),
    ];
    let features = features.into_iter().map(|(name, kind)| Field::new(name, kind, false));
    let labels = TASKS.iter().map(|task| Field::new(*task, DataType::Int8, false));
    let truths = TASKS
        .iter()
        .map(|task| truth_columns(task))
        .flat_map(|truth| [truth.given_parent, truth.from_impression])
        .map(|name| Field::new(name, DataType::Float32, false));
    crate::arrow::datatypes::Schema::new(features.chain(labels).chain(truths).collect::<Vec<_>>())
}

/// The rows of one piece, in the order of [`arrow_schema`]; counts what
/// happened on them.
fn piece(world: &World, columns: &SchemaRef, rows: std::ops::Range<u64>, tasks: &mut [SynthTask]) -> RecordBatch {
    let shown: Vec<Impression> = rows.clone().map(|row| world.impression(row)).collect();
    let truths: Vec<Truth> = shown.iter().map(|impression| world.truth(impression)).collect();
    let labels: Vec<[bool; 5]> = rows.zip(&truths).map(|(row, truth)| world.labels(row, truth)).collect();
    for (task, counts) in tasks.iter_mut().enumerate() {
        for labels in &labels {
            let parent = world::PARENTS[task].is_none_or(|parent| labels[parent]);
            counts.sample_space += u64::from(parent);
            counts.positives += u64::from(parent && labels[task]);
            counts.direct += u64::from(!parent && labels[task]);
        }
    }

    let mut arrays = features(world, &shown);
    for task in 0..TASKS.len() {
        arrays.push(Arc::new(Int8Array::from_iter_values(labels.iter().map(|labels| i8::from(labels[task])))));
    }
    for task in 0..TASKS.len() {
        let given_parent = truths.iter().map(|truth| truth.given_parent[task] as f32);
        let from_impression = truths.iter().map(|truth| truth.joint()[task] as f32);
        arrays.push(Arc::new(Float32Array::from_iter_values(given_parent)));
        arrays.push(Arc::new(Float32Array::from_iter_values(from_impression)));
    }
    RecordBatch::try_new(columns.clone(), arrays).expect("every column has its type and one value per row")
}

/// The features of impressions, in the order of [`arrow_schema`].
fn features(world: &World, shown: &[Impression]) -> Vec<ArrayRef> {
    let user = |impression: &Impression| &world.users[impression.user];
    let item = |impression: &Impression| &world.items[impression.item];
    let integers = |value: &dyn Fn(&Impression) -> usize| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(shown.iter().map(|impression| value(impression) as i64)))
    };
    let names = |prefix: &str, value: &dyn Fn(&Impression) -> usize| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(shown.iter().map(|row| format!("{prefix}{}", value(row)))))
    };
    vec![
        integers(&|row| row.user),
        names("segment-", &|row| user(row).segment),
        names("city-", &|row| user(row).city),
        integers(&|row| user(row).age as usize),
        // Of as many digits as ever, so that a seed gives the numbers that it gave before.
        Arc::new(Float64Array::from_iter_values(shown.iter().map(|row| f64::from(user(row).activity as f32)))),
        integers(&|row| row.item),
        names("category-", &|row| item(row).category),
        names("brand-", &|row| item(row).brand),
        Arc::new(StringArray::from_iter_values(
            shown.iter().map(|row| item(row).tags.iter().map(|tag| format!("tag-{tag}")).collect::<Vec<_>>().join(",")),
        )),
        Arc::new(Float64Array::from_iter_values(shown.iter().map(|row| item(row).price))),
        integers(&|row| row.hour),
        Arc::new(StringArray::from_iter_values(shown.iter().map(|row| DEVICES[row.device]))),
        integers(&|row| row.position as usize),
        names("scenario-", &|row| row.scenario),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Source;

    fn small() -> Synth {
        Synth { rows: 3_000, seed: 7, scenarios: 3, relation: Relation::TwoGroups, direct_rate: 0.2, selection: 1.0 }
    }

    fn files(synth: &Synth) -> Vec<Vec<u8>> {
        let directory = tempfile::tempdir().unwrap();
        synth.write(directory.path()).unwrap();
        FILES.iter().chain(&["schema.toml"]).map(|file| std::fs::read(directory.path().join(file)).unwrap()).collect()
    }

    #[test]
    fn the_same_values_give_the_same_bytes_and_another_seed_others() {
        let first = files(&small());
        assert!(first == files(&small()));
        let other = files(&Synth { seed: 8, ..small() });
        assert!(first[..3].iter().zip(&other[..3]).all(|(one, other)| one != other));
    }

    #[test]
    fn the_files_hold_what_the_schema_and_the_report_say() {
        let directory = tempfile::tempdir().unwrap();
        let report = small().write(directory.path()).unwrap();
        let schema = Schema::read(directory.path().join("schema.toml")).unwrap();
        assert_eq!(schema, small().schema());
        assert_eq!(report.rows, [2_400, 300, 300]);

        let path = |file: &&str| directory.path().join(file).to_str().unwrap().to_string();
        let source = Source::open(&FILES.iter().map(path).collect::<Vec<_>>()).unwrap();
        let mut wanted: Vec<&str> = schema.feature_columns();
        wanted.extend(schema.tasks.iter().map(|task| task.column()));
        wanted.extend(schema.never.iter().map(String::as_str));
        wanted.extend(schema.group.as_deref());
        source.require(&wanted).unwrap();
        let mut positives = vec![0; schema.tasks.len()];
        for rows in source.rows(&wanted, 1000) {
            let rows = rows.unwrap();
            for (task, count) in schema.tasks.iter().zip(&mut positives) {
                *count += rows.column(task.column()).unwrap().labels().unwrap().iter().filter(|l| **l == 1.0).count();
            }
        }
        for (task, count) in report.tasks.iter().zip(positives) {
            assert_eq!(task.positives + task.direct, count as u64, "{}", task.name);
        }
    }

    #[test]
    fn tasks_are_direct_only_where_a_direct_rate_is_set() {
        let direct = |synth: Synth| -> Vec<String> {
            synth.schema().tasks.into_iter().filter(|task| task.direct).map(|task| task.name).collect()
        };
        assert_eq!(direct(small()), ["like", "follow"]);
        assert!(direct(Synth { direct_rate: 0.0, ..small() }).is_empty());
    }

    #[test]
    fn the_truth_is_no_feature() {
        let schema = small().schema();
        for task in &schema.tasks {
            let truth = truth_columns(&task.name);
            assert!(schema.never.contains(&truth.given_parent) && schema.never.contains(&truth.from_impression));
        }
    }

    #[test]
    fn values_out_of_range_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let refused = |synth: Synth| synth.write(directory.path()).unwrap_err().to_string();
        assert!(refused(Synth { rows: 9, ..small() }).contains("at least 10"));
        assert!(refused(Synth { scenarios: 0, ..small() }).contains("found 0"));
        assert!(refused(Synth { direct_rate: 0.95, ..small() }).contains("found 0.95"));
        assert!(refused(Synth { direct_rate: f64::NAN, ..small() }).contains("found NaN"));
        assert!(refused(Synth { selection: 1.5, ..small() }).contains("the selection must be from 0 to 1, found 1.5"));
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_misspelt_relation_is_named_with_the_nearest() {
        assert_eq!("two-groups".parse::<Relation>().unwrap(), Relation::TwoGroups);
        let said = "unrelatd".parse::<Relation>().unwrap_err().to_string();
        assert!(said.contains("did you mean `unrelated`?"), "{said}");
    }
}
