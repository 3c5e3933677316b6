//! What is known without reading rows again.

use super::findings::{FieldFacts, Findings, Matrix, Shifted, TaskFacts};
use crate::config::Config;
use crate::feature::{Drift, FieldSummary, Kind, Shift};
use crate::metric::Report;
use crate::model::{Diagnosis, Diagnostic};
use crate::schema::Task;
use crate::scorer::Scorer;

impl Findings {
    /// What is known of a trained model without reading rows again. `figures` and
    /// `diagnosis` are of the rows that are called `on`, such as `test files`.
    pub fn new(
        name: &str,
        scorer: &Scorer,
        config: &Config,
        figures: Report,
        diagnosis: &Diagnosis,
        on: &str,
    ) -> Findings {
        let summary = scorer.features().summary();
        let field =
            |field: FieldSummary| FieldFacts { name: field.name, kind: field.kind.into(), encoding: field.encoding };
        Findings {
            name: name.into(),
            model: config.model.name().into(),
            facts: Vec::new(),
            tasks: tasks(scorer),
            fields: summary.fields.into_iter().map(field).collect(),
            scenario: scorer.features().schema().scenario.clone(),
            training_rows: summary.rows,
            parameters: scorer.learned().dense_tensors().map(|tensor| tensor.values.len() as u64).sum(),
            table_weights: scorer.learned().table_tensors().map(|tensor| tensor.values.len() as u64).sum(),
            settings: config.differences(),
            history: None,
            on: on.into(),
            figures,
            inside: Matrix::all(&scorer.network().diagnostics, diagnosis),
            seen: None,
            warnings: Vec::new(),
            missing: Vec::new(),
        }
    }
}

fn tasks(scorer: &Scorer) -> Vec<TaskFacts> {
    let features = scorer.features();
    let schema = features.schema();
    let rate = |kind: Kind, name: &str| {
        let mut described = features.described();
        described.find(|(quantity, _)| quantity.kind == kind && quantity.name == name).map(|(_, rate)| rate)
    };
    let task = |task: &Task| TaskFacts {
        name: task.name.clone(),
        after: task.after.clone(),
        direct: task.direct,
        // Of a task without a parent one of the two is described, since both are the same.
        given_parent: rate(Kind::GivenParent, &task.name).or_else(|| rate(Kind::FromImpression, &task.name)),
        from_impression: rate(Kind::FromImpression, &task.name).or_else(|| rate(Kind::GivenParent, &task.name)),
    };
    schema.tasks.iter().map(task).collect()
}

impl Matrix {
    /// Of diagnostics: those of one kind with the same columns are the rows of one matrix.
    pub(super) fn all(diagnostics: &[Diagnostic], diagnosis: &Diagnosis) -> Vec<Matrix> {
        let mean = |diagnostic: &Diagnostic, column: &String| *diagnosis.get(&diagnostic.name())?.get(column)?;
        let mut matrices: Vec<Matrix> = Vec::new();
        for diagnostic in diagnostics {
            let Diagnostic { kind, row, columns, .. } = diagnostic;
            let row = (row.clone(), columns.iter().map(|column| mean(diagnostic, column)).collect());
            match matrices.iter_mut().find(|matrix| matrix.kind == *kind && matrix.columns == *columns) {
                Some(matrix) => matrix.rows.push(row),
                None => matrices.push(Matrix { kind: kind.clone(), columns: columns.clone(), rows: vec![row] }),
            }
        }
        matrices
    }
}

/// Lines kept of what was compared.
const SHIFTS: usize = 40;

impl Shifted {
    /// What matters most of a comparison.
    pub(super) fn of(drift: &Drift) -> Vec<Shifted> {
        let shifted = |shift: &Shift| Shifted {
            name: shift.quantity.name.clone(),
            what: shift.quantity.what(),
            is_share: shift.quantity.kind.is_share(),
            training: shift.training,
            found: shift.found,
            chance: shift.chance,
            told: shift.told,
        };
        drift.shifts.iter().take(SHIFTS).map(shifted).collect()
    }
}
