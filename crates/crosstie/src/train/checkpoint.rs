//! Checkpoints: a training at one moment, whole or not at all.
//!
//! A checkpoint is a directory with two files, written to a temporary sibling,
//! forced to the disk and renamed. `numbers.safetensors` holds weights, what the
//! optimizer remembers, the best weights so far, masks, and the rows that wait for
//! the next window; `checkpoint.json` holds everything else and a checksum of
//! both. Training stops while it is written: a copy to be written beside the
//! training would need the memory of all tables once more.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::event::{Event, Observer};
use super::job::Job;
use super::loader::{Cursor, Window};
use super::search::Search;
use super::state::{Best, BestStep, Evaluation, Progress, State};
use super::trainer::{Counts, Weights};
use crate::batch::{Batch, Ids};
use crate::config::Config;
use crate::data::Source;
use crate::durable::{self, replace_directory};
use crate::error::{Error, Result};
use crate::schema::Schema;
use crate::sealed::{self, FileEntry};
use crate::tensors::{self, Numbers, TensorFile};

/// Version of the format that this library writes, and the only one it reads.
pub const FORMAT: u32 = 2;
/// Checkpoints that are kept.
const KEPT: usize = 2;
const NOTE: &str = "checkpoint.json";
const NUMBERS: &str = "numbers.safetensors";

/// What a training is of: its settings and its data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The configuration, as TOML.
    config: String,
    /// The schema, as TOML.
    schema: String,
    /// The training files.
    train: Vec<DataFile>,
    /// The validation files.
    valid: Vec<DataFile>,
}

/// One data file: where it lay, and what it held.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DataFile {
    path: PathBuf,
    content: FileEntry,
}

/// Settings that may change between a checkpoint and the training that goes on
/// from it: nothing that was computed so far depends on them. Data files are
/// known by what they hold, not by where they lie.
const FREE: [&str; 9] = [
    "data",
    "train.epochs",
    "train.patience",
    "train.threads",
    "train.cache_mib",
    "train.checkpoint_every",
    "train.tensorboard",
    "train.report",
    "calibration",
];

impl Identity {
    /// Reads all data files through.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn new(config: &Config, schema: &Schema, train: &Source, valid: &Source) -> Result<Identity> {
        let files = |source: &Source| -> Result<Vec<DataFile>> {
            let paths = source.files().iter().cloned();
            Ok(paths.zip(source.fingerprint()?).map(|(path, content)| DataFile { path, content }).collect())
        };
        Ok(Identity { config: config.to_toml(), schema: schema.to_toml(), train: files(train)?, valid: files(valid)? })
    }

    /// What is different now, one sentence each; settings that may change are
    /// left out.
    fn changes(&self, now: &Identity) -> Vec<String> {
        let mut changes = Vec::new();
        let (before, after) = (settings(&self.config), settings(&now.config));
        let keys: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let free = |key: &str| FREE.iter().any(|free| key == *free || key.starts_with(&format!("{free}.")));
        for key in keys.into_iter().filter(|key| !free(key) && before.get(*key) != after.get(*key)) {
            let said = |found: Option<&String>| found.map_or("not set".to_string(), String::clone);
            changes.push(format!("{key} is {}, was {}", said(after.get(key)), said(before.get(key))));
        }
        if self.schema != now.schema {
            let differs = self.schema.lines().zip(now.schema.lines()).find(|(before, after)| before != after);
            let differs = differs.map(|(before, after)| format!(": `{after}`, was `{before}`")).unwrap_or_default();
            changes.push(format!("the schema is another{differs}"));
        }
        for (what, before, after) in [("training", &self.train, &now.train), ("validation", &self.valid, &now.valid)] {
            if before.len() != after.len() {
                changes.push(format!("there are {} {what} files, were {}", after.len(), before.len()));
                continue;
            }
            for (before, after) in before.iter().zip(after).filter(|(before, after)| before.content != after.content) {
                let sizes = match (after.content.bytes, before.content.bytes) {
                    (now, before) if now == before => format!("its {now} bytes are others"),
                    (now, before) => format!("{now} bytes, were {before}"),
                };
                changes.push(format!("{} has changed: {sizes}", after.path.display()));
            }
        }
        changes
    }
}

/// The values of a TOML text by their dotted keys.
fn settings(text: &str) -> BTreeMap<String, String> {
    fn walk(value: &toml::Value, key: &str, into: &mut BTreeMap<String, String>) {
        match value {
            toml::Value::Table(table) => {
                let join = |name: &String| if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                table.iter().for_each(|(name, value)| walk(value, &join(name), into));
            }
            other => {
                into.insert(key.into(), other.to_string());
            }
        }
    }
    let mut settings = BTreeMap::new();
    if let Ok(table) = toml::from_str::<toml::Table>(text) {
        walk(&toml::Value::Table(table), "", &mut settings);
    }
    settings
}

/// `checkpoint.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Note {
    format: u32,
    crosstie: String,
    identity: Identity,
    progress: Progress,
    counts: Counts,
    place: Option<Place>,
    search: Option<SearchNote>,
    best: Option<BestNote>,
    files: BTreeMap<String, FileEntry>,
}

/// A [`Cursor`], but for the rows that its window begins with.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    window: u64,
    block: usize,
    pieces: usize,
    batches: usize,
    carry_rows: usize,
}

/// A [`Search`], but for its masks and its place.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SearchNote {
    masks: usize,
    round: u64,
    epoch: u64,
    /// The figure of the best mask so far, if there is one.
    found: Option<Found>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Found {
    figure: Option<f64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BestNote {
    evaluation: Evaluation,
    steps: Vec<BestStep>,
    /// Whether training has gone on from there, so that its weights lie apart.
    has_weights: bool,
}

/// The place for the checkpoints of one training.
pub(super) struct Store {
    directory: PathBuf,
    identity: Identity,
}

impl Store {
    pub fn new(directory: PathBuf, identity: Identity) -> Store {
        Store { directory, identity }
    }

    /// Writes the next checkpoint, and removes what is older than the last two.
    pub fn save(&self, state: &mut State) -> Result<PathBuf> {
        fs::create_dir_all(&self.directory).map_err(Error::io(&self.directory))?;
        let number = numbered(&self.directory)?.last().map_or(1, |(number, _)| number + 1);
        let path = self.directory.join(format!("{number:06}"));
        replace_directory(&path, |directory| self.write(state, directory))?;
        let all = numbered(&self.directory)?;
        for (_, old) in &all[..all.len().saturating_sub(KEPT)] {
            fs::remove_dir_all(old).map_err(Error::io(old))?;
        }
        Ok(path)
    }

    fn write(&self, state: &mut State, directory: &Path) -> Result<()> {
        let State { trainer, progress, search, cursor, best, .. } = state;
        let counts = trainer.counts();
        let mut numbers = trainer.numbers();
        let cursor = match search {
            Some(search) => Some(&search.cursor),
            None => cursor.as_ref(),
        };
        let mut carry = cursor.map(|cursor| cursor.window.carry.clone()).unwrap_or_default();
        let place = cursor.map(|Cursor { window, batches }| Place {
            window: window.number,
            block: window.block,
            pieces: window.pieces,
            batches: *batches,
            carry_rows: window.carry.rows,
        });
        numbers.extend(batch_numbers(&mut carry));
        let mut masks: Vec<(String, Vec<u8>)> = search.as_ref().map(mask_numbers).unwrap_or_default();
        numbers.extend(masks.iter_mut().map(|(name, mask)| (name.clone(), Numbers::U8(mask))));
        let search = search.as_ref().map(|search| SearchNote {
            masks: search.masks.len(),
            round: search.round,
            epoch: search.epoch,
            found: search.found.as_ref().map(|(figure, _)| Found { figure: *figure }),
        });
        let best = best.as_mut().map(|Best { evaluation, steps, weights }| {
            let steps = steps.clone();
            let note = BestNote { evaluation: evaluation.clone(), steps, has_weights: weights.is_some() };
            numbers.extend(weights.iter_mut().flat_map(Weights::numbers));
            note
        });
        let file = directory.join(NUMBERS);
        tensors::write_numbers(&file, &numbers)?;
        // The disk is at work while the processors hash what it is given.
        let (forced, files) = std::thread::scope(|scope| {
            let forced = scope.spawn(|| durable::force(&file));
            let files = sealed::list(directory);
            (forced.join(), files)
        });
        forced.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        let note = Note {
            format: FORMAT,
            crosstie: env!("CARGO_PKG_VERSION").into(),
            identity: self.identity.clone(),
            progress: progress.clone(),
            counts,
            place,
            search,
            best,
            files: files?,
        };
        sealed::write(&directory.join(NOTE), &note)
    }
}

/// The checkpoints in a directory, by number. What is left of one that was never
/// finished has another name.
fn numbered(directory: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io(directory)(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(Error::io(directory))?.path();
        let number = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
        found.extend(number.map(|number: u64| (number, path)));
    }
    found.sort();
    Ok(found)
}

/// A whole checkpoint that can be gone on from.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    note: Note,
}

impl Checkpoint {
    /// The newest whole checkpoint in a directory, if there is one, and what is
    /// wrong with those that are newer.
    ///
    /// # Errors
    /// [`Error::Io`] where the directory cannot be read.
    pub fn newest(directory: &Path) -> Result<(Option<Checkpoint>, Vec<Error>)> {
        let mut damaged = Vec::new();
        for (_, path) in numbered(directory)?.into_iter().rev() {
            match Checkpoint::open(&path) {
                Ok(checkpoint) => return Ok((Some(checkpoint), damaged)),
                Err(error) => damaged.push(error),
            }
        }
        Ok((None, damaged))
    }

    /// Opens one checkpoint and checks all that it holds.
    ///
    /// # Errors
    /// [`Error::Artifact`] naming the file that is damaged or missing.
    pub fn open(path: &Path) -> Result<Checkpoint> {
        let file = path.join(NOTE);
        let damaged = |what: String| Error::artifact(&file, what);
        let sealed::Sealed { text, sealed } = sealed::read(&file).map_err(|error| match error {
            Error::Io { source, .. } => damaged(source.to_string()).because(source),
            other => other,
        })?;
        if !sealed {
            return Err(damaged("damaged: it has no checksum".into()));
        }
        let note: Note = serde_json::from_str(&text).map_err(|error| damaged(error.to_string()).because(error))?;
        if note.format != FORMAT {
            let message = format!(
                "of format {}; this is crosstie {}, which reads {FORMAT}",
                note.format,
                env!("CARGO_PKG_VERSION")
            );
            return Err(damaged(message));
        }
        sealed::verify(path, &note.files)?;
        Ok(Checkpoint { path: path.to_path_buf(), note })
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The configuration of the training, as TOML.
    pub fn config(&self) -> &str {
        &self.note.identity.config
    }

    /// Batches learned from.
    pub fn step(&self) -> u64 {
        self.note.counts.batches()
    }

    /// Evaluations that were told before it.
    pub fn evaluations(&self) -> u64 {
        self.note.progress.evaluations
    }

    /// Masks that were told before it.
    pub fn tried(&self) -> u64 {
        self.note.progress.tried
    }

    /// Refuses to go on with other settings or data than it is of.
    ///
    /// # Errors
    /// [`Error::Config`] with everything that has changed.
    pub fn check(&self, now: &Identity) -> Result<()> {
        let changes = self.note.identity.changes(now);
        if changes.is_empty() {
            return Ok(());
        }
        Err(Error::Config(format!(
            "cannot go on from {}: {}; start a new training, or set it back",
            self.path.display(),
            changes.join("; ")
        )))
    }

    /// Puts a training where this one was.
    pub(super) fn restore(self, job: &Job<'_>, state: &mut State) -> Result<()> {
        let Checkpoint { path, note } = self;
        let Note { progress, counts, place, search, best, .. } = note;
        let epochs = job.config.train.epochs;
        if progress.epoch > epochs {
            let message = format!("train.epochs = {epochs}: {} is in epoch {} already", path.display(), progress.epoch);
            return Err(Error::Config(message));
        }
        let mut file = TensorFile::open(&path.join(NUMBERS))?;
        let cursor = match place {
            Some(place) => Some(read_cursor(&mut file, place)?),
            None => None,
        };
        match search {
            Some(note) => {
                let search = state.search.as_mut();
                let search = search.ok_or_else(|| Error::artifact(&path, "this model has no masks to be found"))?;
                read_search(&mut file, search, note, cursor.unwrap_or_default())?;
                state.cursor = None;
            }
            None => {
                if let Some(search) = state.search.take()
                    && !search.lottery.alternate
                {
                    state.trainer.end_turns(&job.config, job.features.schema())?;
                }
                state.cursor = cursor;
            }
        }
        fill(&mut file, state.trainer.numbers())?;
        state
            .trainer
            .set_counts(counts)
            .map_err(|error| Error::artifact(path.join(NOTE), error.to_string()).because(error))?;
        state.trainer.prepare();
        state.best = match best {
            Some(BestNote { evaluation, steps, has_weights }) => {
                let mut weights = has_weights.then(|| Weights::of(&state.trainer));
                fill(&mut file, weights.iter_mut().flat_map(Weights::numbers).collect())?;
                Some(Best { evaluation, steps, weights })
            }
            None => None,
        };
        state.progress = progress;
        Ok(())
    }
}

/// Reads numbers to where they belong.
fn fill(file: &mut TensorFile, numbers: Vec<(String, Numbers<'_>)>) -> Result<()> {
    numbers.into_iter().try_for_each(|(name, into)| {
        let shape = [into.len()];
        file.read(&name, &shape, into)
    })
}

/// The rows that wait for the next window.
fn batch_numbers(batch: &mut Batch) -> Vec<(String, Numbers<'_>)> {
    let mut numbers = vec![
        ("carry.dense".into(), Numbers::F32(&mut batch.dense)),
        ("carry.labels".into(), Numbers::F32(&mut batch.labels)),
        ("carry.weights".into(), Numbers::F32(&mut batch.weights)),
        ("carry.scenarios".into(), Numbers::U32(&mut batch.scenarios)),
        ("carry.groups".into(), Numbers::U64(&mut batch.groups)),
    ];
    for (field, ids) in batch.ids.iter_mut().enumerate() {
        match ids {
            Ids::One(ids) => numbers.push((format!("carry.ids.{field}"), Numbers::U32(ids))),
            Ids::Many { offsets, values } => {
                numbers.push((format!("carry.ids.{field}.offsets"), Numbers::U32(offsets)));
                numbers.push((format!("carry.ids.{field}.values"), Numbers::U32(values)));
            }
        }
    }
    numbers
}

fn read_cursor(file: &mut TensorFile, place: Place) -> Result<Cursor> {
    let Place { window: number, block, pieces, batches, carry_rows } = place;
    let mut carry = Batch { rows: carry_rows, ..Batch::default() };
    let length = |file: &TensorFile, name: &str| file.len_of(name).unwrap_or(0);
    carry.dense = vec![0.0; length(file, "carry.dense")];
    carry.labels = vec![0.0; length(file, "carry.labels")];
    carry.weights = vec![0.0; length(file, "carry.weights")];
    carry.scenarios = vec![0; length(file, "carry.scenarios")];
    carry.groups = vec![0; length(file, "carry.groups")];
    for field in 0.. {
        let name = format!("carry.ids.{field}");
        let lengths = ["", ".offsets", ".values"].map(|part| file.len_of(&format!("{name}{part}")));
        carry.ids.push(match lengths {
            [Some(ids), ..] => Ids::One(vec![0; ids]),
            [None, Some(offsets), Some(values)] => Ids::Many { offsets: vec![0; offsets], values: vec![0; values] },
            _ => break,
        });
    }
    fill(file, batch_numbers(&mut carry))?;
    Ok(Cursor { window: Arc::new(Window { number, block, pieces, carry }), batches })
}

/// The masks of a search, by name.
fn mask_numbers(search: &Search) -> Vec<(String, Vec<u8>)> {
    let bytes = |mask: &[bool]| mask.iter().map(|kept| u8::from(*kept)).collect();
    let done = search.masks.iter().enumerate().map(|(task, mask)| (format!("search.masks.{task}"), bytes(mask)));
    let found = search.found.iter().map(|(_, mask)| ("search.found".to_string(), bytes(mask)));
    done.chain(found).chain([("search.mask".to_string(), bytes(&search.mask))]).collect()
}

fn read_search(file: &mut TensorFile, search: &mut Search, note: SearchNote, cursor: Cursor) -> Result<()> {
    let mut mask = |name: &str| -> Result<Vec<bool>> {
        let mut bytes = vec![0; search.connections];
        file.read(name, &[search.connections], Numbers::U8(&mut bytes))?;
        Ok(bytes.into_iter().map(|byte| byte != 0).collect())
    };
    search.masks = (0..note.masks).map(|task| mask(&format!("search.masks.{task}"))).collect::<Result<_>>()?;
    search.mask = mask("search.mask")?;
    search.found = match note.found {
        Some(Found { figure }) => Some((figure, mask("search.found")?)),
        None => None,
    };
    (search.round, search.epoch, search.cursor) = (note.round, note.epoch, cursor);
    Ok(())
}

/// Writes a checkpoint, if there is a place for it. A training does not end for
/// want of one.
pub(super) fn save(store: &Option<Store>, state: &mut State, observer: &mut Observer<'_>) {
    let Some(store) = store else { return };
    let event = match store.save(state) {
        Ok(path) => Event::Saved { path },
        Err(error) => Event::NotSaved { message: error.to_string() },
    };
    state.trainer.prepare();
    observer(&event);
}
