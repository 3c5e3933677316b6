//! What a synthetic log knows beyond its labels.

use anyhow::Result;
use crosstie::data::synth::truth_columns;
use crosstie::data::{Rows, Source};
use crosstie::feature::Purpose;
use crosstie::metric::{Divergence, auc, divergence};
use crosstie::schema::Schema;
use crosstie::scorer::Scorer;

/// Rows read at a time.
const ROWS: usize = 1 << 14;

/// The true probabilities of a file.
pub struct Truth {
    pub rows: u64,
    pub tasks: Vec<TaskTruth>,
}

/// The true probabilities of a task given its parent action.
pub struct TaskTruth {
    pub name: String,
    pub after: Option<String>,
    /// The AUC of the true probabilities themselves, on the rows where the
    /// parent action happened.
    pub ceiling: Option<f64>,
    /// The log-loss of the true probabilities against themselves, on all rows.
    pub entropy: Option<f64>,
    /// Of every row, whether or not the parent action happened.
    probabilities: Vec<f64>,
}

impl Truth {
    /// Reads a file that `Synth` wrote with this schema.
    pub fn read(schema: &Schema, source: &Source) -> Result<Truth> {
        let funnel = schema.funnel();
        let truths: Vec<String> = schema.tasks.iter().map(|task| truth_columns(&task.name).given_parent).collect();
        let columns: Vec<&str> =
            schema.tasks.iter().map(|task| task.column()).chain(truths.iter().map(String::as_str)).collect();
        let mut probabilities = vec![Vec::new(); truths.len()];
        // Labels and true probabilities on each task's own sample space.
        let mut seen: Vec<(Vec<bool>, Vec<f64>)> = vec![Default::default(); truths.len()];
        for rows in source.rows(&columns, ROWS) {
            let rows = rows?;
            let labels = schema.tasks.iter().map(|task| rows.column(task.column())?.labels());
            let labels = labels.collect::<crosstie::Result<Vec<_>>>()?;
            for (task, column) in truths.iter().enumerate() {
                let truth = numbers(&rows, column)?;
                for (row, probability) in truth.iter().enumerate() {
                    let of_row: Vec<f32> = labels.iter().map(|labels| labels[row]).collect();
                    if let Some(label) = funnel.given_parent(&of_row, task) {
                        seen[task].0.push(label);
                        seen[task].1.push(*probability);
                    }
                }
                probabilities[task].extend(truth);
            }
        }
        let rows = probabilities.first().map_or(0, Vec::len) as u64;
        let tasks = schema.tasks.iter().zip(probabilities).zip(seen);
        let tasks = tasks.map(|((task, probabilities), (labels, truth))| TaskTruth {
            name: task.name.clone(),
            after: task.after.clone(),
            ceiling: auc(&labels, &truth, None),
            entropy: divergence(&probabilities, &probabilities).map(|divergence| divergence.cross_entropy),
            probabilities,
        });
        Ok(Truth { rows, tasks: tasks.collect() })
    }

    /// How far a model's probabilities given the parent are from the true ones
    /// on all rows of the same file, per task.
    pub fn divergences(&self, scorer: &Scorer, source: &Source) -> Result<Vec<Option<Divergence>>> {
        let mut predicted = vec![Vec::new(); self.tasks.len()];
        let mut workspace = scorer.workspace(ROWS);
        for rows in source.rows(&scorer.features().columns(Purpose::Scoring), ROWS) {
            let scores = scorer.score_rows(&mut workspace, &rows?)?;
            for of_row in scores.given_parent.chunks(self.tasks.len()) {
                predicted.iter_mut().zip(of_row).for_each(|(predicted, score)| predicted.push(*score));
            }
        }
        Ok(self
            .tasks
            .iter()
            .zip(predicted)
            .map(|(task, predicted)| divergence(&predicted, &task.probabilities))
            .collect())
    }
}

fn numbers(rows: &Rows, column: &str) -> Result<Vec<f64>> {
    Ok(rows.column(column)?.numbers()?.into_iter().map(|number| number.unwrap_or(f64::NAN)).collect())
}
