//! Joined exposures as tables to train on.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crosstie::arrow::array::RecordBatch;
use crosstie::arrow::datatypes::{DataType, Field, Schema as Columns, SchemaRef, TimeUnit};
use crosstie::data::Writer;
use crosstie::schema::{Role, Schema};
use crosstie::{Error, Result};
use serde_json::{Map, Value};

use super::cells::array;
use super::{Joined, Outcome, Unmatched};
use crate::log::Time;
use crate::log::event::Exposure;

/// Rows that are held before they are written.
const ROWS: usize = 1 << 13;

/// How exposures become files.
///
/// A file holds one day in UTC, `2026-11-27.parquet`, with one row for each candidate that
/// was answered, by the time of the exposure and then by position. Its columns:
///
/// - for each action, a task or not, `<action>`: 1 if it happened within the window, 0 if the window has
///   passed without it, null until it has passed; where a value was ever told, also
///   `<action>_value`, the sum of the values of all such events, null where there is none;
/// - every feature, under its name and as it was given: truth values, whole numbers,
///   numbers, text, lists of these; text where the values are of several kinds. Where some
///   are lists and others text, lists are text in brackets, `["a","b"]`, which training reads
///   as such, and text is as it was, for the schema to separate;
/// - `request`, `time`, `unit`, `experiment`, `arm`, `model`, `version`, `artifact`;
///   `candidate`, the place in the request from 0, `position`, the place in the answer from
///   1, and `score`; for each task `p_<task>`, given the parent action, and `joint_<task>`,
///   from the impression.
///
/// A task keeps its name: a feature of that name is called `feature_<name>`. A feature keeps
/// its own before all others: one of the last, and the value of an action, is called
/// `logged_<name>` then. An action that is no task, which anybody may have sent, gives way to
/// all of them and is called `action_<name>`. Tasks are those of the schema, or without one
/// those of the models that scored.
#[derive(Clone, Debug)]
pub struct Files<'a> {
    /// How long after an exposure an action counts, in microseconds.
    pub window: i64,
    /// When it is looked at, in place of the newest time in the log.
    pub now: Option<Time>,
    /// The schema to train with: its tasks' labels have the names that it says.
    pub schema: Option<&'a Schema>,
    /// The feature that has the place in the answer, from 1, in place of what the request said:
    /// what a model learns its bias from that knows where a thing was shown.
    pub position: Option<&'a str>,
}

/// What was written.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The files, by day.
    pub files: Vec<PathBuf>,
    /// Files of days of which a part was removed from the log: they were left as they were.
    pub left: Vec<PathBuf>,
    /// Requests.
    pub exposures: u64,
    /// Candidates.
    pub rows: u64,
    /// Candidates whose window has passed.
    pub labelled: u64,
    /// For each action its name, on how many labelled candidates it happened, and the sum of
    /// its values.
    pub actions: Vec<(String, u64, f64)>,
    /// Feedback that belongs to nothing that was shown.
    pub unmatched: Unmatched,
    /// Columns whose name was taken, with the one they have.
    pub renamed: Vec<(String, String)>,
    /// Columns that the schema reads and no exposure has.
    pub missing: Vec<String>,
    /// Bias fields of the schema whose values are those that requests said.
    pub asked: Vec<String>,
}

/// What a column holds.
#[derive(Clone, Debug)]
enum Content {
    Label(usize),
    Value(usize),
    Feature(String),
    Logged(Logged),
    GivenParent(String),
    FromImpression(String),
}

/// What the server knows of an exposure and a candidate.
#[derive(Clone, Copy, Debug)]
enum Logged {
    Request,
    Time,
    Unit,
    Experiment,
    Arm,
    Model,
    Version,
    Artifact,
    Candidate,
    Position,
    Score,
}

impl Logged {
    const ALL: [(Logged, &'static str); 11] = [
        (Logged::Request, "request"),
        (Logged::Time, "time"),
        (Logged::Unit, "unit"),
        (Logged::Experiment, "experiment"),
        (Logged::Arm, "arm"),
        (Logged::Model, "model"),
        (Logged::Version, "version"),
        (Logged::Artifact, "artifact"),
        (Logged::Candidate, "candidate"),
        (Logged::Position, "position"),
        (Logged::Score, "score"),
    ];

    fn data_type(self) -> DataType {
        match self {
            Logged::Time => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Logged::Candidate | Logged::Position => DataType::Int64,
            Logged::Score => DataType::Float64,
            _ => DataType::Utf8,
        }
    }

    fn value(self, exposure: &Exposure, candidate: usize) -> Value {
        let of = &exposure.candidates[candidate];
        match self {
            Logged::Request => exposure.request.as_str().into(),
            Logged::Time => exposure.time.0.into(),
            Logged::Unit => exposure.unit.as_deref().into(),
            Logged::Experiment => exposure.experiment.as_deref().into(),
            Logged::Arm => exposure.arm.as_deref().into(),
            Logged::Model => exposure.model.as_str().into(),
            Logged::Version => exposure.version.as_str().into(),
            Logged::Artifact => exposure.artifact.as_str().into(),
            Logged::Candidate => of.index.into(),
            Logged::Position => of.position.into(),
            Logged::Score => of.score.into(),
        }
    }
}

impl Files<'_> {
    /// Writes the files of all days of a log into a directory, made if need be. Each appears
    /// whole, in place of one that was there, unless a part of its day was removed from the
    /// log since: then that one stays.
    ///
    /// # Errors
    /// [`Error::Unfit`] for logs without exposures; those of [`Joined::each`] and [`Writer`].
    pub fn write(&self, joined: &Joined, directory: &Path) -> Result<Report> {
        let now = self.now.or(joined.newest()).filter(|_| joined.exposures() > 0);
        let Some(now) = now else {
            return Err(Error::unfit(directory, "there is nothing to write: the log has no exposure"));
        };
        std::fs::create_dir_all(directory).map_err(Error::io(directory))?;
        let (contents, columns, renamed) = self.columns(joined);
        let (missing, asked) = (self.missing(&columns), self.asked(joined));
        let mut report = Report { renamed, missing, asked, ..Report::default() };
        report.actions = joined.actions().iter().map(|action| (action.clone(), 0, 0.0)).collect();
        let cells = vec![Vec::new(); contents.len()];
        let (day, writer, files, left) = (String::new(), None, Vec::new(), Vec::new());
        let mut days = Days { joined, directory, columns: &columns, cells, day, stays: false, writer, files, left };
        report.unmatched = joined.each(|exposure, outcomes| {
            days.turn(exposure.time)?;
            if days.stays {
                return Ok(());
            }
            report.exposures += 1;
            report.rows += exposure.candidates.len() as u64;
            let within = self.within(&exposure, outcomes, now);
            self.count(&exposure, within.as_deref(), &mut report);
            each_row(&exposure, within.as_deref(), joined.actions().len(), |row| {
                contents.iter().zip(&mut days.cells).for_each(|(content, cells)| cells.push(row.value(content)));
            });
            if days.cells[0].len() >= ROWS { days.write() } else { Ok(()) }
        })?;
        days.end()?;
        (report.files, report.left) = (days.files, days.left);
        Ok(report)
    }

    /// What happened within the window; `None` where it has not passed.
    fn within(&self, exposure: &Exposure, outcomes: &[Outcome], now: Time) -> Option<Vec<Outcome>> {
        let end = exposure.time.after(self.window);
        (now >= end).then(|| outcomes.iter().filter(|outcome| outcome.time <= end).copied().collect())
    }

    fn count(&self, exposure: &Exposure, within: Option<&[Outcome]>, report: &mut Report) {
        let Some(within) = within else { return };
        report.labelled += exposure.candidates.len() as u64;
        let happened: HashSet<(usize, usize)> = within.iter().map(|of| (of.candidate, of.action)).collect();
        happened.into_iter().for_each(|(_, action)| report.actions[action].1 += 1);
        within.iter().for_each(|of| report.actions[of.action].2 += of.value.unwrap_or_default());
    }

    /// All columns: what they hold, how they are called, and which could not be called as they
    /// should. Who comes first keeps its name. What anybody may send by feedback comes last, so
    /// that no event can put its action in the place of a feature or an id.
    fn columns(&self, joined: &Joined) -> (Vec<Content>, SchemaRef, Vec<(String, String)>) {
        let mut columns = Named::default();
        let actions = joined.actions().iter().enumerate();
        let (tasks, others): (Vec<_>, Vec<_>) = actions.partition(|(_, action)| self.is_task(joined, action));
        let label = |columns: &mut Named, (action, name): (usize, &String)| {
            let label = columns.add(Content::Label(action), self.label(name), DataType::Int8, "action");
            (action, label)
        };
        let tasks: Vec<_> = tasks.into_iter().map(|action| label(&mut columns, action)).collect();
        if let Some(name) = self.position {
            columns.add(Content::Logged(Logged::Position), name, Logged::Position.data_type(), "feature");
        }
        for (name, seen) in joined.features.iter().filter(|(name, _)| Some(name.as_str()) != self.position) {
            columns.add(Content::Feature(name.clone()), name, seen.data_type(), "feature");
        }
        for (logged, name) in Logged::ALL {
            // It is there already.
            if matches!(logged, Logged::Position) && self.position == Some(name) {
                continue;
            }
            columns.add(Content::Logged(logged), name, logged.data_type(), "logged");
        }
        for task in joined.tasks() {
            columns.add(Content::GivenParent(task.into()), &format!("p_{task}"), DataType::Float64, "logged");
            columns.add(Content::FromImpression(task.into()), &format!("joint_{task}"), DataType::Float64, "logged");
        }
        let value = |columns: &mut Named, (action, label): (usize, String)| {
            if joined.valued.contains(&(action as u32)) {
                columns.add(Content::Value(action), &format!("{label}_value"), DataType::Float64, "logged");
            }
        };
        tasks.into_iter().for_each(|task| value(&mut columns, task));
        let others: Vec<_> = others.into_iter().map(|action| label(&mut columns, action)).collect();
        others.into_iter().for_each(|other| value(&mut columns, other));
        let Named { contents, fields, renamed, .. } = columns;
        (contents, Arc::new(Columns::new(fields)), renamed)
    }

    /// Whether an action is one to train on: as the schema says, or else the models that scored.
    fn is_task(&self, joined: &Joined, action: &String) -> bool {
        match self.schema {
            Some(schema) => schema.tasks.iter().any(|task| task.name == *action),
            None => joined.tasks.contains(action),
        }
    }

    /// How the label of an action is called.
    fn label<'a>(&'a self, action: &'a str) -> &'a str {
        let task = self.schema.and_then(|schema| schema.tasks.iter().find(|task| task.name == action));
        task.map_or(action, |task| task.column())
    }

    /// Columns of bias fields that hold what requests said, and not the place in the answer.
    fn asked(&self, joined: &Joined) -> Vec<String> {
        let fields = self.schema.iter().flat_map(|schema| &schema.fields);
        let biases = fields
            .filter(|field| field.role == Role::Bias && self.position.is_none())
            .flat_map(|field| field.columns());
        biases.filter(|name| joined.features.contains_key(*name)).map(str::to_string).collect()
    }

    /// Columns that the schema reads and that there are not.
    fn missing(&self, columns: &SchemaRef) -> Vec<String> {
        let Some(schema) = self.schema else { return Vec::new() };
        let labels = schema.tasks.iter().map(|task| task.column());
        let others = [&schema.scenario, &schema.group, &schema.weight].into_iter().flatten().map(String::as_str);
        let read: BTreeSet<&str> = labels.chain(schema.feature_columns()).chain(others).collect();
        read.into_iter().filter(|name| columns.index_of(name).is_err()).map(str::to_string).collect()
    }
}

/// Columns under names of their own.
#[derive(Default)]
struct Named {
    contents: Vec<Content>,
    fields: Vec<Field>,
    taken: HashSet<String>,
    renamed: Vec<(String, String)>,
}

impl Named {
    /// Adds a column and gives its name: the one that is wanted, with as many prefixes as it
    /// takes for no other to have it.
    fn add(&mut self, content: Content, wanted: &str, data_type: DataType, prefix: &str) -> String {
        let mut name = wanted.to_string();
        while !self.taken.insert(name.clone()) {
            name = format!("{prefix}_{name}");
        }
        if name != wanted {
            self.renamed.push((wanted.into(), name.clone()));
        }
        self.contents.push(content);
        self.fields.push(Field::new(&name, data_type, true));
        name
    }
}

/// One candidate of an exposure.
struct Row<'a> {
    exposure: &'a Exposure,
    candidate: usize,
    /// By action; `None` until the window has passed.
    happened: Option<Vec<Happened>>,
    /// Those of the candidate, of the context, of the user.
    features: [&'a Map<String, Value>; 3],
}

impl Row<'_> {
    fn value(&self, content: &Content) -> Value {
        let Row { exposure, candidate, happened, features } = self;
        let of = &exposure.candidates[*candidate];
        let task = |name: &String| exposure.tasks.iter().position(|task| task == name);
        let probability =
            |all: &[Option<f64>], name: &String| task(name).and_then(|task| all.get(task).copied().flatten()).into();
        match content {
            Content::Label(action) => happened.as_ref().map(|of| u8::from(of[*action].within)).into(),
            Content::Value(action) => happened.as_ref().and_then(|of| of[*action].value).into(),
            Content::Feature(name) => features.iter().find_map(|of| of.get(name)).cloned().unwrap_or_default(),
            Content::Logged(logged) => logged.value(exposure, *candidate),
            Content::GivenParent(name) => probability(&of.given_parent, name),
            Content::FromImpression(name) => probability(&of.from_impression, name),
        }
    }
}

/// What came of one candidate in one action.
#[derive(Clone, Copy, Debug, Default)]
struct Happened {
    /// Whether it was done within the window.
    within: bool,
    /// The sum of the values told.
    value: Option<f64>,
}

/// The candidates of an exposure as they were answered.
fn each_row(exposure: &Exposure, within: Option<&[Outcome]>, actions: usize, mut each: impl FnMut(&Row)) {
    let [user, context] = [&exposure.user, &exposure.context]
        .map(|features| features.as_ref().map(|features| features.values()).unwrap_or_default());
    let mut order: Vec<usize> = (0..exposure.candidates.len()).collect();
    order.sort_by_key(|candidate| exposure.candidates[*candidate].position);
    for candidate in order {
        let happened = within.map(|within| {
            let mut happened = vec![Happened::default(); actions];
            for outcome in within.iter().filter(|outcome| outcome.candidate == candidate) {
                let Happened { within, value } = &mut happened[outcome.action];
                *within = true;
                *value = outcome.value.map(|more| value.unwrap_or_default() + more).or(*value);
            }
            happened
        });
        let own = exposure.candidates[candidate].features.values();
        each(&Row { exposure, candidate, happened, features: [&own, &context, &user] });
    }
}

/// The files, one day after the other.
struct Days<'a> {
    joined: &'a Joined,
    directory: &'a Path,
    columns: &'a SchemaRef,
    /// Rows that are not written yet, by column.
    cells: Vec<Vec<Value>>,
    day: String,
    /// Whether there is a file of the day that knows more.
    stays: bool,
    writer: Option<Writer>,
    files: Vec<PathBuf>,
    left: Vec<PathBuf>,
}

impl Days<'_> {
    /// What comes now is of this time; times never go back.
    fn turn(&mut self, time: Time) -> Result<()> {
        let day = time.day();
        if self.day != day {
            self.end()?;
            self.day = day;
            self.stays = self.joined.is_cut(&self.day) && self.path().exists();
            self.left.extend(self.stays.then(|| self.path()));
        }
        Ok(())
    }

    fn path(&self) -> PathBuf {
        self.directory.join(format!("{}.parquet", self.day))
    }

    fn write(&mut self) -> Result<()> {
        let path = self.path();
        let mut writer = match self.writer.take() {
            Some(writer) => writer,
            None => Writer::create(&path, self.columns.clone())?,
        };
        let fields = self.columns.fields().iter();
        let arrays = fields.zip(&self.cells).map(|(field, cells)| array(field.data_type(), cells)).collect();
        let rows = RecordBatch::try_new(self.columns.clone(), arrays)
            .map_err(|error| Error::unfit(&path, error.to_string()).because(error))?;
        writer.write(&rows)?;
        self.writer = Some(writer);
        self.cells.iter_mut().for_each(Vec::clear);
        Ok(())
    }

    /// Completes the file of the day, if it has rows.
    fn end(&mut self) -> Result<()> {
        if !self.cells[0].is_empty() {
            self.write()?;
        }
        if let Some(writer) = self.writer.take() {
            writer.finish()?;
            self.files.push(self.path());
        }
        Ok(())
    }
}
