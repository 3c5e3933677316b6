//! Artifacts of earlier formats load and score as they did when they were
//! written; `compat/README.md` says what they are.

use std::path::{Path, PathBuf};

use crosstie::artifact;
use crosstie::data::{Rows, Source};
use crosstie::feature::Purpose;

/// Sums are added in another order on other processors.
const TOLERANCE: f64 = 1e-6;

fn folders(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("the directory can be read").flatten();
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

/// All rows of a file.
fn rows(path: &Path, columns: &[&str]) -> Rows {
    let source = Source::open(&[path.to_string_lossy()]).expect("the file opens");
    source.rows(columns, 1000).next().expect("the file has rows").expect("the rows can be read")
}

/// The columns `p_<task>` or `joint_<task>` of all tasks, row by row.
fn expected(directory: &Path, kind: &str, tasks: &[String]) -> Vec<f64> {
    let names: Vec<String> = tasks.iter().map(|task| format!("{kind}_{task}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let rows = rows(&directory.join("scores.csv"), &names);
    let numbers = |name: &&str| rows.column(name).and_then(|column| column.numbers()).expect("the scores are numbers");
    let columns: Vec<Vec<Option<f64>>> = names.iter().map(numbers).collect();
    (0..rows.len()).flat_map(|row| columns.iter().filter_map(move |column| column[row])).collect()
}

/// Loading checks the golden rows, too.
#[test]
fn artifacts_of_every_format_load_and_score_as_they_did() {
    let mut found = 0;
    let compat = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compat");
    for directory in folders(&compat).iter().flat_map(|format| folders(format)) {
        let scorer = artifact::load(&directory.join("artifact")).unwrap();
        let columns = scorer.features().columns(Purpose::Scoring);
        let input =
            ["input.csv", "input.parquet"].map(|name| directory.join(name)).into_iter().find(|path| path.exists());
        let rows = rows(&input.unwrap(), &columns);
        let scores = scorer.score_rows(&mut scorer.workspace(rows.len()), &rows).unwrap();
        for (kind, scores) in [("p", scores.given_parent), ("joint", scores.from_impression)] {
            let expected = expected(&directory, kind, scorer.tasks());
            assert!(expected.len() >= 30 * scorer.tasks().len(), "{}", directory.display());
            assert_eq!(scores.len(), expected.len(), "{}", directory.display());
            for (place, (score, expected)) in scores.iter().zip(&expected).enumerate() {
                let (row, task) = (place / scorer.tasks().len(), &scorer.tasks()[place % scorer.tasks().len()]);
                let said = format!("{}: row {row}, {kind}_{task}: {score}, was {expected}", directory.display());
                // What is not identified is told no more.
                let told = kind == "joint" || scorer.network().objective.identified(place % scorer.tasks().len());
                assert!(if told { (score - expected).abs() <= TOLERANCE } else { score.is_nan() }, "{said}");
            }
        }
        found += 1;
    }
    assert!(found >= 8, "{found} artifacts");
}
