//! Tables through files and back, and what is said of files that are wrong.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::arrow::array::{
    ArrayRef, BooleanArray, Float32Array, Float64Array, Int32Array, Int64Array, ListArray, ListBuilder, RecordBatch,
    StringArray, StringBuilder,
};
use crate::arrow::datatypes::{Field, Int32Type, Schema};
use crate::error::Result;

const EXTENSIONS: [&str; 8] = ["parquet", "csv", "csv.gz", "csv.zst", "tsv", "arrow", "ipc", "feather"];

type Cells = Vec<Vec<Option<String>>>;

pub(super) fn table(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap()
}

pub(super) fn save(path: &Path, batch: &RecordBatch) {
    let mut writer = Writer::create(path, batch.schema()).unwrap();
    writer.write(batch).unwrap();
    writer.finish().unwrap();
}

pub(super) fn open(path: impl AsRef<Path>) -> Result<Source> {
    Source::open(&[path.as_ref().to_str().unwrap()])
}

/// All cells of all columns, row by row.
fn cells(source: &Source, limit: usize) -> Result<Cells> {
    let columns: Vec<&str> = source.columns().iter().map(String::as_str).collect();
    let mut all = Vec::new();
    for rows in source.rows(&columns, limit) {
        let rows = rows?;
        assert_eq!(rows.first_row as usize, all.len());
        assert!(rows.len() <= limit && !rows.is_empty());
        let start = all.len();
        all.resize(start + rows.len(), Vec::new());
        for name in &columns {
            rows.column(name)?.each_text(|row, text| all[start + row].push(text.map(str::to_string)))?;
        }
    }
    Ok(all)
}

fn owned(rows: &[&[Option<&str>]]) -> Cells {
    rows.iter().map(|row| row.iter().map(|cell| cell.map(str::to_string)).collect()).collect()
}

/// Reads everything, and tells what was said against it.
fn refused(path: impl AsRef<Path>) -> String {
    open(path).and_then(|source| cells(&source, 2)).unwrap_err().to_string()
}

struct Directory(tempfile::TempDir);

impl Directory {
    fn new() -> Directory {
        Directory(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        std::fs::write(self.path(name), contents).unwrap();
        self.path(name)
    }
}

fn sample() -> RecordBatch {
    table(vec![
        ("id", Arc::new(Int64Array::from(vec![Some(7), None, Some(-3), Some(i64::MAX)])) as ArrayRef),
        ("price", Arc::new(Float64Array::from(vec![Some(2.0), Some(0.1), None, Some(1e-7)]))),
        ("name", Arc::new(StringArray::from(vec![Some("a,b"), Some("say \"hi\""), Some("two\nlines"), None]))),
        ("click", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None, Some(true)]))),
    ])
}

#[test]
fn a_table_has_the_same_cells_in_every_format() {
    let directory = Directory::new();
    let expected = owned(&[
        &[Some("7"), Some("2"), Some("a,b"), Some("1")],
        &[None, Some("0.1"), Some("say \"hi\""), Some("0")],
        &[Some("-3"), None, Some("two\nlines"), None],
        &[Some("9223372036854775807"), Some("0.0000001"), None, Some("1")],
    ]);
    for extension in EXTENSIONS {
        let path = directory.path(&format!("t.{extension}"));
        save(&path, &sample());
        let source = open(&path).unwrap();
        for limit in [1, 3, 100] {
            assert_eq!(cells(&source, limit).unwrap(), expected, "{extension}");
        }
        let known = !extension.contains("sv");
        assert_eq!(source.total_rows(), known.then_some(4), "{extension}");
    }
}

#[test]
fn an_ipc_stream_is_read_as_well() {
    let directory = Directory::new();
    let path = directory.path("t.arrow");
    let file = std::fs::File::create(&path).unwrap();
    let mut writer = arrow_ipc::writer::StreamWriter::try_new(file, &sample().schema()).unwrap();
    writer.write(&sample()).unwrap();
    writer.write(&sample().slice(1, 2)).unwrap();
    writer.finish().unwrap();
    let source = open(&path).unwrap();
    assert_eq!(source.total_rows(), None);
    assert_eq!(cells(&source, 3).unwrap().len(), 6);
}

#[test]
fn a_parquet_file_has_a_block_per_row_group() {
    let directory = Directory::new();
    let path = directory.path("t.parquet");
    let ids = Int32Array::from_iter_values(0..150_000);
    save(&path, &table(vec![("id", Arc::new(ids.clone()) as ArrayRef), ("same", Arc::new(ids))]));
    let source = open(&path).unwrap();
    let [first, second] = source.blocks() else { panic!("{:?}", source.blocks()) };
    assert_eq!((first.rows, second.rows), (Some(131_072), Some(18_928)));
    assert_eq!(second.first_row, 131_072);
    let rows = source.read(1, &["id"], 10).unwrap().nth(1).unwrap().unwrap();
    assert_eq!((rows.first_row, rows.number(0)), (131_082, 131_083));
    assert_eq!(rows.column("id").unwrap().numbers().unwrap()[0], Some(131_082.0));
    assert_eq!(rows.batch.num_columns(), 1);
}

#[test]
fn columns_come_in_the_order_of_the_request_and_once() {
    let directory = Directory::new();
    for extension in ["csv", "parquet", "arrow"] {
        let path = directory.path(&format!("t.{extension}"));
        save(&path, &sample());
        let source = open(&path).unwrap();
        let rows = source.rows(&["click", "id", "click"], 10).next().unwrap().unwrap();
        let names: Vec<_> = rows.batch.schema().fields().iter().map(|field| field.name().clone()).collect();
        assert_eq!(names, ["click", "id"], "{extension}");
        let rows = source.rows(&[], 10).next().unwrap().unwrap();
        assert_eq!(rows.len(), 4, "{extension}: rows without any column still count");
    }
}

#[test]
fn several_files_and_globs_are_read_in_order() {
    let directory = Directory::new();
    for (name, value) in [("b.csv", 1), ("a.csv", 2), ("z.tsv", 3)] {
        directory.file(name, format!("x\n{value}\n"));
    }
    let patterns = [directory.path("z.tsv"), directory.path("*.csv")];
    let source = Source::open(&patterns.map(|path| path.to_str().unwrap().to_string())).unwrap();
    assert_eq!(source.files(), [directory.path("z.tsv"), directory.path("a.csv"), directory.path("b.csv")]);
    let values: Vec<_> =
        source.rows(&["x"], 10).map(|rows| rows.unwrap().column("x").unwrap().numbers().unwrap()[0].unwrap()).collect();
    assert_eq!(values, [3.0, 2.0, 1.0]);
}

#[test]
fn a_later_file_that_lacks_a_column_is_named_before_anything_is_read() {
    let directory = Directory::new();
    directory.file("a.csv", "click,user\n1,ann\n");
    directory.file("b.csv", "clicks,user\n1,ann\n");
    let source = open(directory.path("*.csv")).unwrap();
    assert!(source.rows(&["user"], 10).all(|rows| rows.is_ok()));
    let mut rows = source.rows(&["click"], 10);
    let said = rows.next().unwrap().unwrap_err().to_string();
    assert!(said.ends_with("b.csv: there is no column `click`; did you mean `clicks`?"), "{said}");
    assert!(rows.next().is_none());
}

#[test]
fn names_of_files_that_cannot_be_opened_are_told() {
    let directory = Directory::new();
    let said = |path: &Path| open(path).unwrap_err().to_string();
    assert!(said(&directory.path("no.csv")).contains("no.csv: No such file"));
    assert!(said(&directory.path("no*.csv")).contains("no file matches"));
    assert!(said(directory.0.path()).contains("is a directory"));
    assert!(said(&directory.file("t.parqet", "")).contains("did you mean `parquet`?"));
    assert!(said(&directory.file("t.parquet.gz", "")).contains("only .csv and .tsv"));
    assert!(Source::open::<&str>(&[]).unwrap_err().to_string().contains("no data file"));
}

#[test]
fn csv_with_bom_crlf_quotes_and_blank_last_line() {
    let directory = Directory::new();
    let path = directory.file("t.csv", "\u{feff}user,\"a \"\"b\"\"\"\r\n\"x,\r\ny\",1\r\nz,\r\n\r\n");
    let source = open(path).unwrap();
    assert_eq!(source.columns(), ["user", "a \"b\""]);
    assert_eq!(cells(&source, 10).unwrap(), owned(&[&[Some("x,\r\ny"), Some("1")], &[Some("z"), None]]));
}

#[test]
fn csv_without_a_line_break_at_the_end() {
    let directory = Directory::new();
    let source = open(directory.file("t.csv", "a,b\n1,\"2\"")).unwrap();
    assert_eq!(cells(&source, 10).unwrap(), owned(&[&[Some("1"), Some("2")]]));
}

#[test]
fn a_csv_of_only_a_header_has_no_rows() {
    let directory = Directory::new();
    for contents in ["a,b", "a,b\n"] {
        assert!(cells(&open(directory.file("t.csv", contents)).unwrap(), 10).unwrap().is_empty());
    }
}

#[test]
fn a_ragged_csv_row_is_refused_by_number() {
    let directory = Directory::new();
    let said = refused(directory.file("t.csv", "a,b\n1,2\n3,4\n5\n"));
    assert!(said.ends_with("t.csv: row 3: found 1 cells, expected 2 as in the header"), "{said}");
    let said = refused(directory.file("t.csv", "a,b\n1,2,3\n"));
    assert!(said.ends_with("row 1: found 3 cells, expected 2 as in the header"), "{said}");
}

#[test]
fn csv_that_is_not_utf8_is_refused_with_row_and_column() {
    let directory = Directory::new();
    let said = refused(directory.file("t.csv", b"a,b\n1,2\n3,caf\xe9\n"));
    assert!(said.contains("t.csv: row 2, column `b`: found \"caf\u{fffd}\", expected text in UTF-8"), "{said}");
    let said = refused(directory.file("t.csv", b"a,caf\xe9\n1,2\n"));
    assert!(said.contains("t.csv: the header is not valid UTF-8"), "{said}");
}

#[test]
fn an_empty_csv_and_doubled_columns_are_refused() {
    let directory = Directory::new();
    for contents in ["", "\n\n", "\u{feff}"] {
        let said = refused(directory.file("t.csv", contents));
        assert!(said.contains("t.csv: is empty; expected a header line"), "{contents:?}: {said}");
    }
    let said = refused(directory.file("t.csv", "a,b,a\n1,2,3\n"));
    assert!(said.ends_with("t.csv: two columns are called `a`"), "{said}");
}

#[test]
fn a_quote_that_is_never_closed_does_not_swallow_rows() {
    let directory = Directory::new();
    let said = refused(directory.file("t.csv", "a,b\n1,2\n3,\"4\n5,6\n7,8\n"));
    assert!(said.ends_with("t.csv: row 2 opens a quote that is never closed"), "{said}");
    let said = refused(directory.file("t.csv", "a,\"b\n1,2\n"));
    assert!(said.contains("header opens a quote"), "{said}");
}

#[test]
fn a_row_without_end_does_not_fill_the_memory() {
    let directory = Directory::new();
    let path = directory.path("t.csv.zst");
    let mut file = zstd::Encoder::new(std::fs::File::create(&path).unwrap(), 1).unwrap();
    file.write_all(b"a,b\n1,\"").unwrap();
    let zeros = vec![b'0'; 1 << 20];
    (0..80).for_each(|_| file.write_all(&zeros).unwrap());
    file.finish().unwrap();
    let said = refused(path);
    assert!(said.contains("row 1 cannot be read: it is longer than 64 MiB; is there a quote"), "{said}");
}

#[test]
fn files_cut_short_are_refused_by_name() {
    let directory = Directory::new();
    // Digits that do not repeat, so that compressed files are long enough to be cut.
    let numbers = Int64Array::from_iter_values((0..2000i64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15u64 as i64)));
    let batch = table(vec![("n", Arc::new(numbers) as ArrayRef)]);
    for extension in ["parquet", "csv.gz", "csv.zst", "arrow"] {
        let path = directory.path(&format!("cut.{extension}"));
        save(&path, &batch);
        let whole = std::fs::read(&path).unwrap();
        for keep in [whole.len() * 9 / 10, whole.len() / 2, whole.len() - 5, 7, 0] {
            let said = refused(directory.file(&format!("cut.{extension}"), &whole[..keep]));
            assert!(said.contains(&format!("cut.{extension}: ")), "{keep} of {}: {said}", whole.len());
        }
    }
}

#[test]
fn damaged_binary_files_are_refused_without_panic() {
    let directory = Directory::new();
    for extension in ["parquet", "arrow"] {
        let path = directory.path(&format!("t.{extension}"));
        save(&path, &sample());
        let whole = std::fs::read(&path).unwrap();
        for at in (0..whole.len()).step_by(3) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x55;
            std::fs::write(&path, bytes).unwrap();
            // Not every byte matters, but none may bring the reader down.
            let _ = open(&path).and_then(|source| cells(&source, 3));
        }
    }
}

#[test]
fn bad_cells_are_named_with_file_row_column_and_value() {
    let directory = Directory::new();
    let path = directory.file("t.csv", "n,label,weight\n1,1,1\nabc,2,-1\n");
    let source = open(path).unwrap();
    // One row at a time, so that the row's number is more than its index.
    let rows: Vec<Rows> = source.rows(&["n", "label", "weight"], 1).collect::<Result<_>>().unwrap();
    let column = |name| rows[1].column(name).unwrap();
    let said = column("n").numbers().unwrap_err().to_string();
    assert!(said.ends_with("t.csv: row 2, column `n`: found \"abc\", expected a finite number, or nothing"), "{said}");
    let said = column("label").labels().unwrap_err().to_string();
    assert!(said.contains("row 2, column `label`: found \"2\", expected a label: 0, 1,"), "{said}");
    let said = column("weight").weights().unwrap_err().to_string();
    assert!(said.contains("row 2, column `weight`: found \"-1\", expected a weight"), "{said}");
    let said = rows[0].column("lable").unwrap_err().to_string();
    assert!(said.ends_with("t.csv: there is no column `lable`; did you mean `label`?"), "{said}");
}

#[test]
fn lists_are_joined_in_csv() {
    let directory = Directory::new();
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![Some(vec![Some(3), Some(4)]), None]);
    save(&directory.path("t.csv"), &table(vec![("list", Arc::new(lists))]));
    assert_eq!(std::fs::read_to_string(directory.path("t.csv")).unwrap(), "list\n\"3,4\"\n\"\"\n");
    let mut lists = ListBuilder::new(StringBuilder::new());
    lists.append_value([Some("a"), Some("b,c")]);
    let batch = table(vec![("list", Arc::new(lists.finish()) as ArrayRef)]);
    let mut writer = Writer::create(&directory.path("t.csv"), batch.schema()).unwrap();
    let said = writer.write(&batch).unwrap_err().to_string();
    assert!(said.contains("t.csv: row 1, column `list`") && said.contains("no comma"), "{said}");
}

#[test]
fn an_unfinished_file_leaves_nothing_behind() {
    let directory = Directory::new();
    for extension in EXTENSIONS {
        let mut writer = Writer::create(&directory.path(&format!("t.{extension}")), sample().schema()).unwrap();
        writer.write(&sample()).unwrap();
    }
    assert_eq!(std::fs::read_dir(directory.0.path()).unwrap().count(), 0);
}

#[test]
fn a_file_keeps_its_old_contents_until_the_new_ones_are_finished() {
    let directory = Directory::new();
    let path = directory.file("t.csv", "old\n1\n");
    let mut writer = Writer::create(&path, sample().schema()).unwrap();
    writer.write(&sample()).unwrap();
    assert_eq!(open(&path).unwrap().columns(), ["old"]);
    writer.finish().unwrap();
    assert_eq!(open(&path).unwrap().columns(), ["id", "price", "name", "click"]);
}

#[test]
fn rows_of_another_schema_are_not_written() {
    let directory = Directory::new();
    let schema = Arc::new(Schema::new(vec![Field::new("id", crate::arrow::datatypes::DataType::Utf8, true)]));
    let mut writer = Writer::create(&directory.path("t.csv"), schema).unwrap();
    assert!(writer.write(&sample()).unwrap_err().to_string().contains("do not fit"));
}

#[test]
fn the_same_table_gives_the_same_bytes() {
    let directory = Directory::new();
    for extension in EXTENSIONS {
        let [one, other] = ["one", "other"].map(|name| directory.path(&format!("{name}.{extension}")));
        save(&one, &sample());
        save(&other, &sample());
        assert_eq!(std::fs::read(one).unwrap(), std::fs::read(other).unwrap(), "{extension}");
    }
}

prop_compose! {
    fn any_table()(rows in 0usize..40)(
        ids in prop::collection::vec(any::<Option<i64>>(), rows),
        floats in prop::collection::vec(any::<Option<f64>>(), rows),
        singles in prop::collection::vec(any::<Option<f32>>(), rows),
        texts in prop::collection::vec(any::<Option<String>>(), rows),
        flags in prop::collection::vec(any::<Option<bool>>(), rows),
    ) -> RecordBatch {
        table(vec![
            ("id", Arc::new(Int64Array::from(ids)) as ArrayRef),
            ("float", Arc::new(Float64Array::from(floats))),
            ("single", Arc::new(Float32Array::from(singles))),
            ("text", Arc::new(StringArray::from(texts))),
            ("flag", Arc::new(BooleanArray::from(flags))),
        ])
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn any_table_has_the_same_cells_in_every_format(batch in any_table(), limit in 1usize..50) {
        let directory = Directory::new();
        let mut first = None;
        for extension in EXTENSIONS {
            let path = directory.path(&format!("t.{extension}"));
            save(&path, &batch);
            let cells = cells(&open(&path).unwrap(), limit).unwrap();
            prop_assert_eq!(cells.len(), batch.num_rows());
            prop_assert_eq!(&cells, first.get_or_insert_with(|| cells.clone()), "{}", extension);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused_as_csv(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let directory = Directory::new();
        for extension in ["csv", "csv.gz", "csv.zst", "parquet", "arrow"] {
            let path = directory.file(&format!("t.{extension}"), &bytes);
            let _ = open(&path).and_then(|source| cells(&source, 3));
        }
    }
}
