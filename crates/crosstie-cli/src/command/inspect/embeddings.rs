//! How alike embedding tables are.

use std::path::Path;

use anyhow::Result;
use crosstie::artifact::{MANIFEST, Manifest, load};
use crosstie::comparison::{CLUSTERS, Comparison, Finding, NEIGHBOURS, compare, readers};
use crosstie::scorer::Scorer;

use crate::{output, run, table};

/// A model and the names of its sets of tables.
struct Side {
    scorer: Scorer,
    about: String,
    sets: Vec<String>,
}

impl Side {
    fn load(path: &Path) -> Result<Side> {
        let directory = run::artifact(path)?;
        let scorer = load(&directory)?;
        let Manifest { model, .. } = Manifest::read(&directory.join(MANIFEST))?;
        let about = format!("{model} in {}", directory.display());
        let mut shared = 0;
        let sets = readers(&scorer)?.into_iter().map(|tasks| match tasks.len() {
            // Of networks that all tasks learn together beside their own, and that no task asks alone.
            0 => {
                shared += 1;
                format!("shared {shared}")
            }
            all if all > 1 && all == scorer.tasks().len() => "all tasks".to_string(),
            _ => tasks.join(", "),
        });
        let sets = sets.collect();
        Ok(Side { scorer, about, sets })
    }
}

pub fn inspect(path: &Path, against: Option<&Path>, values: usize) -> Result<()> {
    let one = Side::load(path)?;
    let other = against.map(Side::load).transpose()?;
    if other.is_none() && one.sets.len() == 1 {
        let why = if one.scorer.tasks().len() == 1 { "there is one task" } else { "the tasks share one set of tables" };
        let told = format!("{}: {why}, so there is nothing to compare;", one.about);
        return output::print(table::sentence(&[told, "--against compares it with another model".into()]));
    }
    let about = match &other {
        Some(other) => format!("one: {}\nother: {}", one.about, other.about),
        None => one.about.clone(),
    };
    let names = &other.as_ref().unwrap_or(&one).sets;
    let compared = compare(&one.scorer, other.as_ref().map(|other| &other.scorer), values);
    if compared.is_empty() {
        let why = "no field has a table of values: tables of numbers' buckets are not compared".to_string();
        return output::print(table::sentence(&[format!("{about}:"), why]));
    }
    let rows = compared.iter().map(|Comparison { table: name, sets, values, finding }| {
        let figures = match finding {
            Finding::Likeness { neighbours, chance, clusters } => {
                [*neighbours, *chance, *clusters].map(|figure| table::figure(Some(figure)))
            }
            Finding::TooFew => ["too few", "-", "-"].map(String::from),
            Finding::Constant => ["constant", "-", "-"].map(String::from),
            Finding::Absent => ["not in other", "-", "-"].map(String::from),
        };
        let mut row = vec![name.clone(), one.sets[sets.0].clone(), names[sets.1].clone()];
        row.push(table::count(*values as u64));
        row.extend(figures);
        row
    });
    let header = ["table", "~one", "~other", ">values", ">neighbours", ">by chance", ">clusters"];
    let reading = format!(
        "values: those that both know and have learned, the most frequent ones.\n\
         neighbours: the share of a value's {NEIGHBOURS} nearest, by cosine, that both have; beside it what chance \
         gives.\n\
         clusters: how far both fall into the same clusters (adjusted Rand index of k-means, at most {CLUSTERS}): 1 is \
         the same, 0 as by chance."
    );
    let lines = |text: &str| text.lines().map(|line| table::wrapped(line, 0)).collect::<Vec<_>>().join("\n");
    let mut parts = vec![lines(&about), table::table(&header, rows), lines(&reading)];
    if other.as_ref().is_some_and(|other| started_alike(&one.scorer, &other.scorer)) {
        parts.push(lines(
            "Some tables of both started from the same numbers (train.seed): where training moved them little they are \
             alike for that alone.",
        ));
    }
    output::print(parts.join("\n\n"))
}

/// Whether a table of one started from the numbers of one of the other: they
/// follow from the seed and the tensor's name.
fn started_alike(one: &Scorer, other: &Scorer) -> bool {
    let mut tables = one.learned().table_tensors();
    one.spec().seed == other.spec().seed
        && tables.any(|table| other.learned().table_tensors().any(|other| other.name == table.name))
}
