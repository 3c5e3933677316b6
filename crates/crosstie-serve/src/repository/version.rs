//! One version of a model, ready to score.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crosstie::artifact::{self, GOLDEN};
use crosstie::compute::{CHUNK, Threads, Workspace};
use crosstie::data::{Rows, Source};
use crosstie::feature::Purpose;
use crosstie::schema::FieldKind;
use crosstie::scorer::Scorer;
use crosstie::sealed::FileEntry;

use crate::statistics::Statistics;

/// Rows that buffers have room for where no request tells of more: as many as are computed at once.
pub const ROOM: usize = CHUNK;

/// What a column of the requests is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One value, as text or a number.
    Value,
    /// Several values; in one text they are separated by this.
    Values {
        /// What separates them.
        separator: String,
        /// Whether a text in brackets is a list, as it is in tables but for those of the first
        /// format.
        brackets: bool,
    },
    /// A number.
    Number,
}

/// A column that requests bring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Its name in the schema of the model.
    pub name: String,
    /// What it is.
    pub kind: Kind,
}

/// A model's version: all that answering requests needs. It never changes.
#[derive(Debug)]
pub struct Version {
    model: Arc<str>,
    number: u64,
    path: PathBuf,
    artifact: String,
    scorer: Arc<Scorer>,
    inputs: Vec<Input>,
    outputs: Vec<String>,
    buffers: Mutex<Buffers>,
    statistics: Statistics,
}

impl Version {
    /// Loads an artifact, which verifies its checksums and its golden rows, and scores
    /// those as requests would. Its parts are read and hashed on the rayon pool that the caller
    /// is in.
    ///
    /// Requests find buffers that were written before: one for each of `rooms`, with room for so
    /// many rows. The system gives memory page by page as it is first written, and that takes as
    /// long as scoring 200 candidates does.
    ///
    /// # Errors
    /// Whatever is wrong with the artifact.
    pub fn load(model: &str, number: u64, path: &Path, rooms: &[usize]) -> crosstie::Result<Version> {
        let scorer = Arc::new(artifact::load(path)?);
        // The manifest holds the checksums of all other files.
        let artifact = FileEntry::of(&path.join(artifact::MANIFEST))?.blake3;
        let outputs = scorer.tasks().iter();
        let version = Version {
            model: model.into(),
            number,
            path: path.to_path_buf(),
            artifact,
            inputs: inputs(&scorer),
            outputs: outputs.flat_map(|task| [given_parent(task), from_impression(task)]).collect(),
            scorer,
            buffers: Mutex::default(),
            statistics: Statistics::default(),
        };
        for golden in version.golden()?.iter().filter(|golden| !golden.is_empty()) {
            for room in rooms {
                let rows: Vec<usize> = (0..*room).map(|row| row % golden.len()).collect();
                let mut workspace = version.scorer.workspace(0).on(Threads::Inline);
                version.scorer.score_rows(&mut workspace, &golden.choose(&rows)?)?;
                version.buffers().free.push(workspace);
            }
        }
        Ok(version)
    }

    /// The golden rows that the artifact keeps.
    ///
    /// # Errors
    /// A file that is gone or damaged.
    pub fn golden(&self) -> crosstie::Result<Vec<Rows>> {
        let source = Source::open(&[self.path.join("golden.parquet").to_string_lossy()])?;
        source.rows(&self.scorer.features().columns(Purpose::Scoring), GOLDEN).collect()
    }

    /// The model's name.
    pub fn model(&self) -> &Arc<str> {
        &self.model
    }

    /// The version's number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Where the artifact is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The artifact's identity: the BLAKE3 hash of its manifest, in hexadecimal.
    pub fn artifact(&self) -> &str {
        &self.artifact
    }

    /// The model itself.
    pub fn scorer(&self) -> &Arc<Scorer> {
        &self.scorer
    }

    /// What requests bring: the columns that the features read, in their order.
    pub fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    /// What answers bring: two names per task, [`given_parent`] and [`from_impression`].
    pub fn outputs(&self) -> &[String] {
        &self.outputs
    }

    /// What it has answered so far.
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// Buffers that nobody uses, or new ones.
    pub(crate) fn workspace(&self) -> Workspace {
        let mut buffers = self.buffers();
        buffers.taken += 1;
        let kept = buffers.free.pop();
        drop(buffers);
        kept.unwrap_or_else(|| self.scorer.workspace(0))
    }

    /// Keeps buffers for a later request. As many are kept as threads ever scored at one
    /// time, and go with the version.
    pub(crate) fn keep(&self, workspace: Workspace) {
        let mut buffers = self.buffers();
        buffers.taken = buffers.taken.saturating_sub(1);
        buffers.free.push(workspace);
    }

    /// How many rows each of the buffers has room for: what the version that takes this one's
    /// place should be [loaded](Version::load) with. Those in use now count as of [`ROOM`] rows.
    pub fn rooms(&self) -> Vec<usize> {
        let buffers = self.buffers();
        let free = buffers.free.iter().map(Workspace::room);
        free.chain(std::iter::repeat_n(ROOM, buffers.taken)).collect()
    }

    fn buffers(&self) -> MutexGuard<'_, Buffers> {
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct Buffers {
    free: Vec<Workspace>,
    /// How many requests are being scored.
    taken: usize,
}

/// The output with a task's p(action | parent action).
pub fn given_parent(task: &str) -> String {
    format!("{task}.given_parent")
}

/// The output with a task's p(action and its ancestors | impression).
pub fn from_impression(task: &str) -> String {
    format!("{task}.from_impression")
}

fn inputs(scorer: &Scorer) -> Vec<Input> {
    let (schema, brackets) = (scorer.features().schema(), scorer.features().reading().is_some());
    let kind_of = |column: &str| {
        let of_column = |kind: &Kind, field: &crosstie::schema::Field| match &field.kind {
            FieldKind::Numeric(_) => Kind::Number,
            FieldKind::Multi(multi) => Kind::Values { separator: multi.separator.clone(), brackets },
            FieldKind::Categorical(_) | FieldKind::Rate(_) => kind.clone(),
        };
        let reading = schema.fields.iter().filter(|field| field.columns().contains(&column));
        reading.fold(Kind::Value, |kind, field| of_column(&kind, field))
    };
    let columns = scorer.features().columns(Purpose::Scoring).into_iter();
    columns.map(|column| Input { name: column.into(), kind: kind_of(column) }).collect()
}
