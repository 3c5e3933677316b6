//! Census-Income (KDD), from the UCI repository: the data of the MMoE and PLE
//! papers.

use std::path::Path;
use std::sync::Arc;

use super::table::{Column, Kind, PIECE, arrow_schema, batch_of, columns, fields, finish, write_schema};
use super::{PrepareReport, find, need};
use crate::arrow::array::{ArrayRef, Float64Array, Int8Array, Int64Array, StringArray};
use crate::data::format::Compression;
use crate::data::{Split, Splits};
use crate::error::{Error, Result};
use crate::random::Stream;

/// The columns in the files' order, named after census-income.names; the files
/// have no header.
const COLUMNS: [&str; 42] = [
    "age",
    "class_worker",
    "det_ind_code",
    "det_occ_code",
    "education",
    "wage_per_hour",
    "hs_college",
    "marital_stat",
    "major_ind_code",
    "major_occ_code",
    "race",
    "hisp_origin",
    "sex",
    "union_member",
    "unemp_reason",
    "full_or_part_emp",
    "capital_gains",
    "capital_losses",
    "dividends",
    "tax_filer_stat",
    "region_prev_res",
    "state_prev_res",
    "det_hh_fam_stat",
    "det_hh_summ",
    "instance_weight",
    "mig_chg_msa",
    "mig_chg_reg",
    "mig_move_reg",
    "mig_same",
    "mig_prev_sunbelt",
    "num_emp",
    "fam_under_18",
    "country_father",
    "country_mother",
    "country_self",
    "citizenship",
    "own_or_self",
    "vet_question",
    "vet_benefits",
    "weeks_worked",
    "year",
    "income_50k",
];
/// Amounts: mostly zero, and long-tailed.
const AMOUNTS: [&str; 4] = ["wage_per_hour", "capital_gains", "capital_losses", "dividends"];
const COUNTS: [&str; 3] = ["age", "num_emp", "weeks_worked"];
const WEIGHT: &str = "instance_weight";
const INCOME: &str = "income_50k";
const MARITAL: &str = "marital_stat";
const NEVER_MARRIED: &str = "Never married";

pub(super) fn prepare(from: &Path, to: &Path, seed: u64, report: &mut PrepareReport) -> Result<()> {
    let test_path = need(from, "census-income.test")?;
    let test = read(&test_path)?;
    report.say(format!("read {} rows from {}", test.len(), test_path.display()));
    let mut wanted = columns(Kind::Label, &["income", "never_married"]);
    wanted.extend(COLUMNS.iter().map(|name| (name.to_string(), kind(name))));
    let schema = arrow_schema(&wanted);

    let official = match find(from, "census-income.data") {
        Some(path) => {
            let rows = read(&path)?;
            report.say(format!("read {} rows from {}", rows.len(), path.display()));
            Some(rows)
        }
        None => None,
    };
    let mut splits = Splits::create(to, &schema)?;
    let order = shuffled(test.len(), seed);
    if let Some(train) = official {
        deal(&mut splits, &train, &wanted, &vec![Split::Train; train.len()])?;
        let mut chosen = vec![Split::Test; test.len()];
        order[..test.len() / 2].iter().for_each(|row| chosen[*row] = Split::Valid);
        deal(&mut splits, &test, &wanted, &chosen)?;
        report.say(format!("split: the official one; half of the test file, drawn with seed {seed}, validates"));
    } else {
        let first = test.len() * 2 / 3;
        let mut chosen = vec![Split::Test; test.len()];
        order[..first].iter().for_each(|row| chosen[*row] = Split::Train);
        order[..first / 10].iter().for_each(|row| chosen[*row] = Split::Valid);
        deal(&mut splits, &test, &wanted, &chosen)?;
        report.say(format!(
            "split: census-income.data is not there, so the test file alone, 2:1 at random with seed {seed}; \
             a tenth of the first part validates"
        ));
    }
    finish(splits, report)?;
    write_schema(to, "schema.toml", &schema_text(), report)
}

/// All row numbers in random order.
fn shuffled(rows: usize, seed: u64) -> Vec<usize> {
    let draw = Stream::new(seed, "split");
    let mut order: Vec<usize> = (0..rows).collect();
    order.sort_by_key(|row| draw.bits(*row as u64));
    order
}

fn kind(column: &str) -> Kind {
    match column {
        WEIGHT => Kind::Number,
        _ if AMOUNTS.contains(&column) || COUNTS.contains(&column) => Kind::Integer,
        _ => Kind::Text,
    }
}

/// The rows of a published file, column by column.
struct Table {
    path: std::path::PathBuf,
    columns: Vec<Vec<String>>,
}

impl Table {
    fn len(&self) -> usize {
        self.columns[0].len()
    }

    fn column(&self, name: &str) -> &[String] {
        let index = COLUMNS.iter().position(|other| *other == name).unwrap_or_default();
        &self.columns[index]
    }

    fn numbers(&self, name: &str) -> Result<Vec<f64>> {
        let number = |(row, text): (usize, &String)| {
            let number = text.parse().ok().filter(|number: &f64| number.is_finite());
            number.ok_or_else(|| self.wrong(row, name, text, "a number"))
        };
        self.column(name).iter().enumerate().map(number).collect()
    }

    /// Whether the income is above 50,000. The test file ends its lines with a dot.
    fn incomes(&self) -> Result<Vec<bool>> {
        let income = |(row, text): (usize, &String)| match text.trim_end_matches('.') {
            "50000+" => Ok(true),
            "- 50000" => Ok(false),
            _ => Err(self.wrong(row, INCOME, text, "\"50000+\" or \"- 50000\"")),
        };
        self.column(INCOME).iter().enumerate().map(income).collect()
    }

    fn wrong(&self, row: usize, column: &str, found: &str, expected: &str) -> Error {
        Error::Cell {
            path: self.path.clone(),
            row: row as u64 + 1,
            column: column.into(),
            found: format!("\"{found}\""),
            expected: expected.into(),
        }
    }
}

fn read(path: &Path) -> Result<Table> {
    let compressed = path.extension().is_some_and(|extension| extension == "gz");
    let file = if compressed { Compression::Gzip } else { Compression::None }.open(path)?;
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .quoting(false)
        .trim(csv::Trim::All)
        .from_reader(file);
    let mut columns = vec![Vec::new(); COLUMNS.len()];
    for (row, record) in reader.records().enumerate() {
        let record = record.map_err(|error| Error::file(path, format!("row {}: {error}", row + 1)).because(error))?;
        if record.len() != COLUMNS.len() {
            let message = format!("row {}: found {} cells, expected {}", row + 1, record.len(), COLUMNS.len());
            return Err(Error::file(path, message));
        }
        columns.iter_mut().zip(&record).for_each(|(column, cell)| column.push(cell.to_string()));
    }
    Ok(Table { path: path.to_path_buf(), columns })
}

/// Writes a table's rows to the files of their splits.
fn deal(splits: &mut Splits, table: &Table, wanted: &[Column], chosen: &[Split]) -> Result<()> {
    let labels =
        |labels: Vec<bool>| -> ArrayRef { Arc::new(Int8Array::from_iter_values(labels.into_iter().map(i8::from))) };
    let mut arrays = vec![
        labels(table.incomes()?),
        labels(table.column(MARITAL).iter().map(|text| text == NEVER_MARRIED).collect()),
    ];
    for name in COLUMNS {
        arrays.push(match kind(name) {
            Kind::Integer => Arc::new(Int64Array::from_iter_values(table.numbers(name)?.into_iter().map(|n| n as i64))),
            Kind::Number => Arc::new(Float64Array::from(table.numbers(name)?)),
            _ => Arc::new(StringArray::from_iter_values(table.column(name))),
        });
    }
    let batch = batch_of(&table.path, &arrow_schema(wanted), arrays)?;
    for start in (0..batch.num_rows()).step_by(PIECE) {
        let length = PIECE.min(batch.num_rows() - start);
        let chosen: Vec<Option<Split>> = chosen[start..start + length].iter().copied().map(Some).collect();
        splits.write(&batch.slice(start, length), &chosen)?;
    }
    Ok(())
}

fn schema_text() -> String {
    let nominal: Vec<&str> =
        COLUMNS.into_iter().filter(|name| kind(name) == Kind::Text && ![INCOME, MARITAL].contains(name)).collect();
    let mut text = String::from(SCHEMA);
    text += &fields(&nominal, "kind = \"categorical\"");
    text += &fields(&COUNTS, "kind = \"numeric\"");
    text += &fields(&AMOUNTS, "kind = \"numeric\"\ntransform = \"log1p\"");
    // Age and weeks act in steps (school, pension, a full year), amounts
    // through whether there are any: buckets beside the numbers.
    for name in COUNTS.iter().chain(&AMOUNTS) {
        text += &format!(
            "\n[[field]]\nname = \"{name} bucket\"\ncolumn = \"{name}\"\nkind = \"numeric\"\ntransform = \"quantile\"\n"
        );
    }
    text
}

const SCHEMA: &str = r#"# instance_weight corrects the sampling of people; the publisher asks not to
# train on it. marital_stat and income_50k hold the labels.
never = ["instance_weight", "marital_stat", "income_50k"]
width = 8

[[task]]
name = "income"

[[task]]
name = "never_married"
"#;
