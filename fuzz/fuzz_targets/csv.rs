//! A CSV file that is surveyed, summarised and scored.

#![no_main]

use std::fs;
use std::sync::OnceLock;

use crosstie::artifact;
use crosstie::data::Source;
use crosstie::data::summary::summarise;
use crosstie::data::survey::survey;
use crosstie::feature::Purpose;
use crosstie::scorer::Scorer;
use crosstie_fuzz::{MODEL, directory};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

/// Rows that are read at a time.
const LIMIT: usize = 64;

fuzz_target!(|bytes: &[u8]| {
    static READ: OnceLock<(TempDir, Scorer)> = OnceLock::new();
    let (directory, scorer) =
        READ.get_or_init(|| (directory(), artifact::load(&crosstie_fuzz::artifact("format-3", MODEL)).expect("one")));
    let path = directory.path().join("log.csv");
    fs::write(&path, bytes).expect("a file");
    let Ok(source) = Source::open(&[path.to_str().expect("a text")]) else { return };
    let names: Vec<&str> = source.columns().iter().map(String::as_str).collect();
    let mut rows = 0;
    let read = source.rows(&names, LIMIT).try_for_each(|batch| {
        let batch = batch?;
        rows += batch.len() as u64;
        for name in &names {
            let column = batch.column(name)?;
            column.each_text(|_, _| ())?;
            column.each_list("|", |_, _| ())?;
            // A text that is no number, or no label, is an error; so are most.
            let _ = (column.numbers(), column.labels(), column.weights());
        }
        Ok::<(), crosstie::Error>(())
    });
    // All who read a file find the same rows, or none does.
    match summarise(&source, None) {
        Ok(summary) => assert_eq!((read.is_ok(), summary.rows), (true, rows)),
        Err(error) => assert!(read.is_err(), "{error}"),
    }
    let _ = summarise(&source, Some(scorer.features().schema()));
    let _ = survey(&source);
    let mut workspace = scorer.workspace(LIMIT);
    for rows in source.rows(&scorer.features().columns(Purpose::Scoring), LIMIT) {
        let Ok(scores) = rows.and_then(|rows| scorer.score_rows(&mut workspace, &rows)) else { return };
        assert!(scores.from_impression.iter().all(|p| (0.0..=1.0).contains(p)));
    }
});
