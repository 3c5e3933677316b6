//! `crosstie demo`.

mod truth;

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Result;
use clap::Args;
use crosstie::config::Config;
use crosstie::data::Source;
use crosstie::data::synth::Synth;
use crosstie::durable::write_file;
use crosstie::metric::Divergence;

use crate::command::{predict, synth};
use crate::run::Run;
use crate::session::Session;
use crate::{files, interrupt, message, output, table, training};
use truth::Truth;

/// The models compared, simplest first.
const MODELS: [&str; 6] = ["single-task", "shared-bottom", "esmm", "mmoe", "ple", "ektm"];

/// See the whole way: make a log, train and compare six models, predict
///
/// The log is synthetic, so the best possible AUC is known and stands in the
/// first line of the table. It is also known what would have happened on rows
/// that nobody clicked: the second table tells how well each model judges all
/// impressions, not the clicked ones only.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  crosstie demo\n  crosstie demo --rows 300000 --out runs/large-demo")]
pub struct Demo {
    /// Impressions in all
    #[arg(long, value_name = "N", default_value_t = 60_000)]
    pub rows: u64,
    /// Directory for everything [default: runs/demo, numbered if taken]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Where all randomness comes from
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
}

/// A trained model beside the truth.
struct Line {
    model: &'static str,
    /// Per task, given the parent.
    aucs: Vec<Option<f64>>,
    /// Per task, on all impressions.
    divergences: Vec<Option<Divergence>>,
    took: String,
}

impl Demo {
    pub fn execute(&self, session: &Session) -> Result<()> {
        interrupt::listen()?;
        let directory = match &self.out {
            Some(out) => {
                files::make_empty(out, "; name another directory with --out")?;
                out.clone()
            }
            None => files::claim(&Path::new("runs").join("demo"))?,
        };

        let data = directory.join("data");
        tracing::info!("making a log of {} impressions in {}", table::count(self.rows), data.display());
        let log = Synth { rows: self.rows, seed: self.seed, ..Synth::default() };
        output::print(synth::actions(&synth::write(&log, &data)?))?;
        let test = data.join("test.parquet");
        let source = Source::open(&[test.to_string_lossy()])?;
        let truth = Truth::read(&log.schema(), &source)?;

        let mut lines = Vec::new();
        for model in MODELS {
            interrupt::check()?;
            tracing::info!("training {model}");
            let start = SystemTime::now();
            let config = directory.join(format!("{model}.toml"));
            write_file(&config, self.config(model, &data))?;
            let settings = Config::read(&config, &[])?;
            let run = Run::create(Some(&directory.join(model)), &config, model, false)?;
            let finished = training::run(session, &settings, &training::Data::open(&settings)?, &run, None)?;
            let aucs = finished.report.tasks.values().map(|meanings| meanings.given_parent.auc).collect();
            let divergences = truth.divergences(&finished.scorer, &source)?;
            lines.push(Line { model, aucs, divergences, took: message::since(start) });
            if model == MODELS[MODELS.len() - 1] {
                let out = directory.join("predictions.csv");
                let keep = ["user_id", "item_id"].map(String::from);
                predict::predict(session, &finished.scorer, &source, &keep, &out)?;
            }
        }
        interrupt::check()?;
        output::print(compare(&truth, &lines))?;
        output::print(next(&directory))
    }

    /// A config as somebody would write it: the data and the model's name.
    fn config(&self, model: &str, data: &Path) -> String {
        // A JSON string is a TOML string.
        let data = serde_json::Value::from(data.to_string_lossy());
        format!(
            "[data]\ndir = {data}\n\n[model]\nname = \"{model}\"\n\n[train]\nseed = {}\n\
             # The log is small: small batches make enough steps of it.\nbatch_size = 512\n",
            self.seed
        )
    }
}

fn compare(truth: &Truth, lines: &[Line]) -> String {
    let names: Vec<String> = truth.tasks.iter().map(|task| format!(">{}", task.name)).collect();
    let mut header = vec!["model"];
    header.extend(names.iter().map(String::as_str));
    header.push(">time");
    let ceiling = ["best possible".to_string()]
        .into_iter()
        .chain(truth.tasks.iter().map(|task| table::figure(task.ceiling)))
        .chain(["".into()]);
    let rows = lines.iter().map(|line| {
        let aucs = line.aucs.iter().map(|auc| table::figure(*auc));
        [line.model.to_string()].into_iter().chain(aucs).chain([line.took.clone()]).collect()
    });
    let aucs = table::table(&header, [ceiling.collect()].into_iter().chain(rows));

    let conversions: Vec<usize> = (0..truth.tasks.len()).filter(|task| truth.tasks[*task].after.is_some()).collect();
    let mut header = vec!["model"];
    header.extend(conversions.iter().map(|task| names[*task].as_str()));
    let row = |name: &str, figures: &dyn Fn(usize) -> Option<f64>| {
        [name.to_string()].into_iter().chain(conversions.iter().map(|task| table::figure(figures(*task)))).collect()
    };
    let entropy = row("best possible", &|task| truth.tasks[task].entropy);
    let rows = lines.iter().map(|line| row(line.model, &|task| Some(line.divergences[task]?.cross_entropy)));
    let losses = table::table(&header, [entropy].into_iter().chain(rows));
    format!(
        "\nAUC on the {} test rows, of each task given its parent action (higher is\nbetter):\n\n{aucs}\n\n\
         Log-loss of the same probabilities against the true ones on all test rows, where\n\
         the parent action happened and where it did not (lower is better; no real log\n\
         can tell this):\n\n{losses}",
        table::count(truth.rows)
    )
}

fn next(directory: &Path) -> String {
    let place = directory.display();
    format!(
        "\n{place}/predictions.csv holds what ektm predicts for the test rows.\n\
         What to do next:\n\
         \x20 crosstie inspect {place}/data/train.parquet\n\
         \x20 crosstie inspect {place}/mmoe\n\
         \x20 crosstie evaluate {place}/esmm\n\
         \x20 crosstie compare {place}/single-task {place}/mmoe {place}/ektm\n\
         \x20 look at {place}/ektm/report.html in a browser\n\
         \x20 crosstie train {place}/mmoe.toml --print-config\n\
         \x20 crosstie train {place}/mmoe.toml --set model.experts=4 --set train.epochs=5\n\
         \x20 crosstie predict {place}/ektm --data {place}/data/test.parquet --out {place}/scores.parquet"
    )
}
