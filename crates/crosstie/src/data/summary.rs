//! What is in a table, counted in one pass: `crosstie inspect`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rayon::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

use super::reading::Reading;
use super::rows::Rows;
use super::source::Source;
use crate::error::{Error, Result};
use crate::schema::{Funnel, Schema};

/// Distinct values of a column are counted exactly up to here, by 64-bit hashes.
const MOST_DISTINCT: usize = 1_000_000;
/// Scenarios told one by one.
const MOST_SCENARIOS: usize = 50;
/// More values than this are no scenarios, and would fill the memory.
const TOO_MANY_SCENARIOS: usize = 100_000;
const LIMIT: usize = 1 << 15;

/// What is in the files of a [`Source`].
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Number of files.
    pub files: usize,
    /// Number of rows.
    pub rows: u64,
    /// The columns, as in the first file.
    pub columns: Vec<ColumnSummary>,
    /// The tasks of the schema over all rows; empty without a schema.
    pub tasks: Vec<TaskSummary>,
    /// The scenarios with the most rows, at most 50, in descending order; empty
    /// without a scenario column.
    pub scenarios: Vec<ScenarioSummary>,
    /// Number of scenarios, told or not.
    pub scenario_count: usize,
}

/// What is in a column.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnSummary {
    /// Its name.
    pub name: String,
    /// Its type in the first file: integer, number, boolean, text, time, list
    /// or other. All columns of CSV files are text.
    pub kind: &'static str,
    /// Rows without a value: null, NaN, empty text or empty list.
    pub missing: u64,
    /// Number of distinct values (of a list column: of its elements), counted
    /// up to 1,000,000; `None` where the type cannot be read.
    pub distinct: Option<u64>,
    /// There are more distinct values than that.
    pub distinct_exceeded: bool,
    /// The values as numbers, where all of them are.
    pub numbers: Option<NumberSummary>,
}

/// What is in a column of numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NumberSummary {
    /// The least finite number.
    pub min: f64,
    /// The greatest finite number.
    pub max: f64,
    /// Mean of the finite numbers.
    pub mean: f64,
    /// Infinities, which training refuses.
    pub infinite: u64,
}

/// The label of a task, counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskSummary {
    /// The task's name.
    pub task: String,
    /// Its parent's name.
    pub after: Option<String>,
    /// Rows without a label.
    pub missing: u64,
    /// The action on the task's own sample space: rows whose parent label is 1.
    pub given_parent: LabelCount,
    /// The action and, unless it is direct, all its ancestors, on all rows.
    pub from_impression: LabelCount,
    /// Rows with label 1 although the parent's label is 0: actions that
    /// happened without their parent, or errors in the log.
    pub without_parent: u64,
}

/// How often a label is 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LabelCount {
    /// Rows that count: those of the sample space whose label is known.
    pub rows: u64,
    /// Those among them with label 1.
    pub positives: u64,
}

impl LabelCount {
    /// Share of positives, `None` without rows.
    pub fn rate(&self) -> Option<f64> {
        (self.rows > 0).then(|| self.positives as f64 / self.rows as f64)
    }

    fn add(&mut self, label: Option<bool>) {
        self.rows += u64::from(label.is_some());
        self.positives += u64::from(label == Some(true));
    }
}

/// A scenario, counted.
#[derive(Clone, Debug, PartialEq)]
pub struct ScenarioSummary {
    /// Value of the scenario column, `None` where it is missing.
    pub scenario: Option<String>,
    /// Number of rows.
    pub rows: u64,
    /// The tasks on these rows.
    pub tasks: Vec<TaskSummary>,
}

/// Counts everything in one pass. With a schema, also its tasks and scenarios.
/// Memory grows with the distinct values of the columns, up to some 20 MiB per
/// column, not with the rows.
///
/// # Errors
/// Those of reading; a column of the schema that is not there; a label that is
/// not one; a scenario column with more than 100,000 values.
pub fn summarise(source: &Source, schema: Option<&Schema>) -> Result<Summary> {
    if let Some(schema) = schema {
        let mut needed: Vec<&str> = schema.fields.iter().flat_map(|field| field.columns()).collect();
        needed.extend(schema.tasks.iter().map(|task| task.column()));
        needed.extend([&schema.scenario, &schema.group, &schema.weight].into_iter().flatten().map(String::as_str));
        source.require(&needed)?;
    }
    let names: Vec<&str> = source.columns().iter().map(String::as_str).collect();
    let mut columns: Vec<ColumnCounter> = names.iter().map(|_| ColumnCounter::default()).collect();
    let mut actions = schema.map(ActionCounter::new);
    let mut total = 0;
    let null = schema.map(|schema| Arc::new(Reading { null: schema.null.clone(), ..Reading::default() }));
    for rows in source.rows(&names, LIMIT) {
        let rows = rows?;
        let rows = null.as_ref().map_or_else(|| rows.clone(), |null| rows.read_as(null));
        total += rows.len() as u64;
        columns.par_iter_mut().zip(&names).try_for_each(|(column, name)| column.add(&rows, name))?;
        if let Some(actions) = &mut actions {
            actions.add(&rows)?;
        }
    }
    let mut scenarios = actions.as_mut().map(|actions| std::mem::take(&mut actions.scenarios)).unwrap_or_default();
    let scenario_count = scenarios.len();
    scenarios.sort_by(|a, b| b.rows.cmp(&a.rows).then_with(|| a.scenario.cmp(&b.scenario)));
    scenarios.truncate(MOST_SCENARIOS);
    Ok(Summary {
        files: source.files().len(),
        rows: total,
        columns: columns.into_iter().zip(names).map(|(column, name)| column.finish(name, total)).collect(),
        tasks: actions.map(|actions| actions.tasks).unwrap_or_default(),
        scenarios,
        scenario_count,
    })
}

/// Counts what is in a column.
#[derive(Default)]
pub(super) struct ColumnCounter {
    kind: Option<&'static str>,
    present: u64,
    hashes: HashSet<u64>,
    exceeded: bool,
    not_numbers: bool,
    infinite: u64,
    finite: u64,
    sum: f64,
    min: f64,
    max: f64,
}

impl ColumnCounter {
    pub fn add(&mut self, rows: &Rows, name: &str) -> Result<()> {
        let column = rows.column(name)?;
        let kind = *self.kind.get_or_insert(column.kind());
        if column.is_list() {
            let mut last = None;
            column.each_list(",", |row, text| {
                self.value(text);
                self.present += u64::from(last != Some(row));
                last = Some(row);
            })
        } else if kind == "other" {
            self.present += (column.len() - column.nulls()) as u64;
            Ok(())
        } else {
            column.each_text(|_, text| {
                if let Some(text) = text {
                    self.value(text);
                    self.present += 1;
                }
            })
        }
    }

    fn value(&mut self, text: &str) {
        if !self.exceeded {
            self.hashes.insert(xxh3_64(text.as_bytes()));
            if self.hashes.len() > MOST_DISTINCT {
                self.exceeded = true;
                self.hashes = HashSet::new();
            }
        }
        if self.not_numbers {
            return;
        }
        match text.trim().parse::<f64>() {
            Ok(number) if number.is_finite() => {
                (self.min, self.max) = match self.finite {
                    0 => (number, number),
                    _ => (self.min.min(number), self.max.max(number)),
                };
                self.finite += 1;
                self.sum += number;
            }
            Ok(number) if number.is_infinite() => self.infinite += 1,
            Ok(_) => (),
            Err(_) => self.not_numbers = true,
        }
    }

    pub fn finish(self, name: &str, rows: u64) -> ColumnSummary {
        let kind = self.kind.unwrap_or("other");
        let distinct = if self.exceeded { MOST_DISTINCT } else { self.hashes.len() };
        let numbers = (!self.not_numbers && self.finite > 0).then(|| NumberSummary {
            min: self.min,
            max: self.max,
            mean: self.sum / self.finite as f64,
            infinite: self.infinite,
        });
        ColumnSummary {
            name: name.to_string(),
            kind,
            missing: rows - self.present,
            distinct: (kind != "other").then_some(distinct as u64),
            distinct_exceeded: self.exceeded,
            numbers,
        }
    }
}

struct ActionCounter<'a> {
    schema: &'a Schema,
    funnel: Funnel,
    tasks: Vec<TaskSummary>,
    scenarios: Vec<ScenarioSummary>,
    index: HashMap<Option<String>, usize>,
}

impl<'a> ActionCounter<'a> {
    fn new(schema: &'a Schema) -> ActionCounter<'a> {
        ActionCounter {
            schema,
            funnel: schema.funnel(),
            tasks: uncounted(schema),
            scenarios: Vec::new(),
            index: HashMap::new(),
        }
    }

    fn add(&mut self, rows: &Rows) -> Result<()> {
        let labels =
            self.schema.tasks.iter().map(|task| rows.column(task.column())?.labels()).collect::<Result<Vec<_>>>()?;
        let scenarios = self.scenarios_of(rows)?;
        let mut row_labels = vec![0.0; labels.len()];
        for row in 0..rows.len() {
            row_labels.iter_mut().zip(&labels).for_each(|(label, labels)| *label = labels[row]);
            count(&mut self.tasks, &self.funnel, &row_labels);
            if let Some(scenario) = scenarios.get(row) {
                let scenario = &mut self.scenarios[*scenario];
                scenario.rows += 1;
                count(&mut scenario.tasks, &self.funnel, &row_labels);
            }
        }
        Ok(())
    }

    /// Index of each row's scenario; empty without a scenario column.
    fn scenarios_of(&mut self, rows: &Rows) -> Result<Vec<usize>> {
        let Some(name) = &self.schema.scenario else { return Ok(Vec::new()) };
        let mut of_rows = Vec::with_capacity(rows.len());
        let mut known: HashMap<u64, usize> = HashMap::new();
        rows.column(name)?.each_text(|_, text| {
            let hash = text.map_or(0, |text| xxh3_64(text.as_bytes()));
            let scenario = *known.entry(hash).or_insert_with(|| {
                *self.index.entry(text.map(str::to_string)).or_insert_with(|| {
                    let scenario = text.map(str::to_string);
                    self.scenarios.push(ScenarioSummary { scenario, rows: 0, tasks: uncounted(self.schema) });
                    self.scenarios.len() - 1
                })
            });
            of_rows.push(scenario);
        })?;
        if self.scenarios.len() > TOO_MANY_SCENARIOS {
            return Err(Error::Schema(format!(
                "the scenario column `{name}` has more than {TOO_MANY_SCENARIOS} values; a scenario is a slice of \
                 traffic, no identity"
            )));
        }
        Ok(of_rows)
    }
}

fn uncounted(schema: &Schema) -> Vec<TaskSummary> {
    let task = |task: &crate::schema::Task| TaskSummary {
        task: task.name.clone(),
        after: task.after.clone(),
        missing: 0,
        given_parent: LabelCount::default(),
        from_impression: LabelCount::default(),
        without_parent: 0,
    };
    schema.tasks.iter().map(task).collect()
}

fn count(tasks: &mut [TaskSummary], funnel: &Funnel, labels: &[f32]) {
    for (index, task) in tasks.iter_mut().enumerate() {
        task.missing += u64::from(labels[index].is_nan());
        task.given_parent.add(funnel.given_parent(labels, index));
        task.from_impression.add(funnel.from_impression(labels, index));
        let orphan = labels[index] == 1.0 && funnel.parents[index].is_some_and(|parent| labels[parent] == 0.0);
        task.without_parent += u64::from(orphan);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::tests::open;

    const SCHEMA: &str = "scenario = \"tab\"\n[[task]]\nname = \"click\"\n[[task]]\nname = \"buy\"\nafter = \"click\"\n\
                          [[field]]\nname = \"price\"\nkind = \"numeric\"\n";
    const LOG: &str = "tab,click,buy,price\nhome,1,1,2\nhome,1,0,4\nhome,0,1,\nfeed,0,0,6\nfeed,,1,x\n,1,,8\n";

    fn summary(log: &str, schema: &str) -> Result<Summary> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.csv");
        std::fs::write(&path, log).unwrap();
        summarise(&open(&path)?, Some(&Schema::parse(schema).unwrap()))
    }

    #[test]
    fn columns_are_counted() {
        let summary = summary(LOG, SCHEMA).unwrap();
        assert_eq!(summary.rows, 6);
        let [tab, click, _, price] = &summary.columns[..] else { panic!("{:?}", summary.columns) };
        assert_eq!((tab.missing, tab.distinct, tab.numbers), (1, Some(2), None));
        assert_eq!((click.missing, click.distinct), (1, Some(2)));
        assert_eq!(click.numbers, Some(NumberSummary { min: 0.0, max: 1.0, mean: 0.6, infinite: 0 }));
        assert_eq!((price.missing, price.distinct, price.numbers), (1, Some(5), None), "`x` is no number");
    }

    #[test]
    fn tasks_are_counted_on_their_sample_space_and_from_the_impression() {
        let summary = summary(LOG, SCHEMA).unwrap();
        let [click, buy] = &summary.tasks[..] else { panic!("{:?}", summary.tasks) };
        assert_eq!((click.given_parent.rows, click.given_parent.positives, click.missing), (5, 3, 1));
        assert_eq!(click.from_impression, click.given_parent);
        // Given a click: rows 1 and 2; row 6 has no label.
        assert_eq!((buy.given_parent.rows, buy.given_parent.positives), (2, 1));
        assert_eq!(buy.given_parent.rate(), Some(0.5));
        // From the impression: rows 1 to 4; rows 5 and 6 stay open.
        assert_eq!((buy.from_impression.rows, buy.from_impression.positives), (4, 1));
        assert_eq!((buy.missing, buy.without_parent), (1, 1));
        assert_eq!(LabelCount::default().rate(), None);
    }

    #[test]
    fn scenarios_are_told_by_size() {
        let summary = summary(LOG, SCHEMA).unwrap();
        let sizes: Vec<_> = summary.scenarios.iter().map(|one| (one.scenario.as_deref(), one.rows)).collect();
        assert_eq!(sizes, [(Some("home"), 3), (Some("feed"), 2), (None, 1)]);
        assert_eq!(summary.scenarios[0].tasks[1].given_parent, LabelCount { rows: 2, positives: 1 });
        assert_eq!(summary.scenario_count, 3);
    }

    #[test]
    fn a_schema_that_does_not_fit_is_refused() {
        let said = summary(LOG, &SCHEMA.replace("price", "prise")).unwrap_err().to_string();
        assert!(said.contains("there is no column `prise`; did you mean `price`?"), "{said}");
        let said = summary(&LOG.replace("home,1,0,4", "home,1,3,4"), SCHEMA).unwrap_err().to_string();
        assert!(said.contains("row 2, column `buy`: found \"3\""), "{said}");
    }
}
