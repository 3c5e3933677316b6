//! Recipes: public data sets, as downloaded, become `train.parquet`,
//! `valid.parquet`, `test.parquet` and `schema.toml`.

mod ali_ccp;
mod aliexpress;
mod census;
mod kuairand;
mod table;

use std::path::{Path, PathBuf};

use super::{FILES, Writer};
use crate::error::{Error, Result};
use crate::spelling;

/// A data set that [`prepare`] knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// The name to call it by.
    pub name: &'static str,
    /// What it is, in one line.
    pub summary: &'static str,
    /// Where it comes from, and its licence.
    pub source: &'static str,
}

/// The data sets that [`prepare`] knows.
pub const RECIPES: [Recipe; 4] = [
    Recipe {
        name: "kuairand-pure",
        summary: "short videos: click, then long view, like, profile visit, follow, comment, forward; scenarios by tab",
        source: "https://kuairand.com (Gao et al., CIKM 2022), CC BY-SA 4.0",
    },
    Recipe {
        name: "census-income",
        summary: "census records: income above 50,000 and never married",
        source: "https://archive.ics.uci.edu/dataset/117 (T. Lane, R. Kohavi), CC BY 4.0",
    },
    Recipe {
        name: "aliexpress",
        summary: "shop search in several countries: click, then conversion; features joined, as in torch-rechub",
        source: "https://tianchi.aliyun.com/dataset/74690, for research",
    },
    Recipe {
        name: "ali-ccp",
        summary: "shop recommendations: click, then purchase; scenarios by field 301; sampled layout of torch-rechub",
        source: "https://tianchi.aliyun.com/dataset/408, for research",
    },
];

/// What was done, in sentences.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrepareReport {
    /// One sentence per step: rows read, rows dropped and why, rows per file.
    pub lines: Vec<String>,
}

impl PrepareReport {
    fn say(&mut self, line: String) {
        self.lines.push(line);
    }
}

/// Prepares a data set: reads its files, plain or .gz, from the directory
/// `from` (or the folder `data` in it) and writes into the directory `to`,
/// which is made if need be. `seed` decides the splits that are random.
///
/// # Errors
/// [`Error::Config`] for an unknown recipe, with the nearest name;
/// [`Error::Unfit`] where an input is missing, with the names looked for;
/// [`Error::File`] where one is not what it should be; [`Error::Cell`];
/// [`Error::Io`].
pub fn prepare(recipe: &str, from: &Path, to: &Path, seed: u64) -> Result<PrepareReport> {
    let work = match recipe {
        "kuairand-pure" => kuairand::prepare,
        "census-income" => census::prepare,
        "aliexpress" => aliexpress::prepare,
        "ali-ccp" => ali_ccp::prepare,
        _ => {
            let hint = spelling::hint(recipe, RECIPES.map(|recipe| recipe.name));
            return Err(Error::Config(format!("there is no recipe `{recipe}`{hint}")));
        }
    };
    if !from.is_dir() {
        return Err(Error::unfit(from, "is no directory; name the one that holds the downloaded files"));
    }
    std::fs::create_dir_all(to).map_err(Error::io(to))?;
    FILES.iter().try_for_each(|file| Writer::check(&to.join(file)))?;
    let mut report = PrepareReport::default();
    work(from, to, seed, &mut report)?;
    Ok(report)
}

/// A file by its published name, plain or .gz, in `from` or the folder `data`
/// of it; `None` if it is not there.
fn find(from: &Path, name: &str) -> Option<PathBuf> {
    [from.to_path_buf(), from.join("data")]
        .into_iter()
        .flat_map(|directory| [directory.join(name), directory.join(format!("{name}.gz"))])
        .find(|path| path.is_file())
}

/// As [`find`], for a file that must be there.
fn need(from: &Path, name: &str) -> Result<PathBuf> {
    find(from, name).ok_or_else(|| Error::unfit(from, format!("looked for {name} and {name}.gz, found neither")))
}

/// All CSV files whose names hold `word` and whose header has these columns,
/// sorted by name.
fn find_all(from: &Path, word: &str, columns: &[&str]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut others = Vec::new();
    for entry in std::fs::read_dir(from).map_err(Error::io(from))? {
        let path = entry.map_err(Error::io(from))?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
        if !name.contains(word) || !(name.ends_with(".csv") || name.ends_with(".csv.gz")) || !path.is_file() {
            continue;
        }
        let source = table::open(&[&path])?;
        match columns.iter().all(|column| source.columns().iter().any(|other| other == column)) {
            true => found.push(path),
            false => others.push(name),
        }
    }
    found.sort();
    if found.is_empty() {
        let columns = columns.join(", ");
        others.sort();
        let but = if others.is_empty() { String::new() } else { format!("; without them: {}", others.join(", ")) };
        return Err(Error::unfit(
            from,
            format!("looked for *{word}*.csv and *{word}*.csv.gz with the columns {columns}, found none{but}"),
        ));
    }
    Ok(found)
}
