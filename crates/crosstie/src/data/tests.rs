//! Tables through files and back, and what is said of files that are wrong.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::arrow::array::*;
use crate::arrow::datatypes::{DataType, Field, Int32Type, Schema};
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

pub(super) struct Directory(tempfile::TempDir);

impl Directory {
    pub fn new() -> Directory {
        Directory(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn file(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
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
    assert!(said.contains("t.csv: the header is no text in UTF-8"), "{said}");
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

#[test]
fn bytes_behind_compressed_data_are_not_only_called_data_cut_short() {
    let directory = Directory::new();
    let path = directory.path("t.csv.gz");
    save(&path, &table(vec![("a", Arc::new(Int32Array::from(vec![1, 2])) as ArrayRef)]));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.extend(b"more");
    let said = refused(directory.file("more.csv.gz", &bytes));
    assert!(said.contains("the compressed data end within row 3") && said.contains("bytes behind them"), "{said}");
}

#[test]
fn a_blank_line_in_a_table_of_one_column_is_a_row() {
    let directory = Directory::new();
    let rows = |contents: &str| cells(&open(directory.file("t.csv", contents)).unwrap(), 2).unwrap();
    let expected = owned(&[&[Some("1")], &[None], &[Some("3")], &[None]]);
    for contents in ["a\n1\n\n3\n\n", "\n\r\na\r\n1\r\n\r\n3\r\n\r\n", "a\n1\n\"\"\n3\n\n", "a\r1\r\r3\r\r"] {
        assert_eq!(rows(contents), expected, "{contents:?}");
    }
    assert_eq!(rows("a\n\"x\n\n\"\"y\"\n\n\"z\""), owned(&[&[Some("x\n\n\"y")], &[None], &[Some("z")]]));
    assert_eq!(rows("a\nx\"\n\ny"), owned(&[&[Some("x\"")], &[None], &[Some("y")]]), "a quote within a cell");
    // With more columns a blank line has too few cells to be a row.
    assert_eq!(rows("a,b\n1,2\n\n3,4\n").len(), 2);
    let long: String = (0..40_000).map(|row| if row % 3 == 0 { "\n".into() } else { format!("{row}\n") }).collect();
    assert_eq!(rows(&format!("a\n{long}")).len(), 40_000);
}

#[test]
fn a_pipe_is_refused_before_it_is_waited_for() {
    let directory = Directory::new();
    let path = directory.path("p.csv");
    let made = std::process::Command::new("mkfifo").arg(&path).status().is_ok_and(|status| status.success());
    if made {
        let said = open(&path).unwrap_err().to_string();
        assert!(said.contains("p.csv: is a pipe or a device"), "{said}");
    }
    assert!(cfg!(not(unix)) || made, "no pipe could be made");
}

#[test]
fn a_glob_leaves_hidden_files_alone() {
    let directory = Directory::new();
    directory.file("day1.csv", "a\n1\n");
    directory.file("._day1.csv", b"\0\x05\x16\x07Mac OS X");
    assert_eq!(open(directory.path("*.csv")).unwrap().files(), [directory.path("day1.csv")]);
    directory.file(".hidden.csv", "a\n1\n");
    assert_eq!(open(directory.path(".h*.csv")).unwrap().files(), [directory.path(".hidden.csv")]);
}

#[test]
fn parquet_files_of_every_codec_are_read() {
    use ::parquet::basic::Compression;
    let directory = Directory::new();
    let path = directory.path("t.parquet");
    let expected = {
        save(&path, &sample());
        cells(&open(&path).unwrap(), 10).unwrap()
    };
    for codec in [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(Default::default()),
        Compression::BROTLI(Default::default()),
        Compression::LZ4,
        Compression::LZ4_RAW,
        Compression::ZSTD(Default::default()),
    ] {
        let properties = ::parquet::file::properties::WriterProperties::builder().set_compression(codec).build();
        let file = std::fs::File::create(&path).unwrap();
        let mut writer = ::parquet::arrow::ArrowWriter::try_new(file, sample().schema(), Some(properties)).unwrap();
        writer.write(&sample()).unwrap();
        writer.close().unwrap();
        assert_eq!(cells(&open(&path).unwrap(), 10).unwrap(), expected, "{codec:?}");
    }
}

/// Writes a Parquet file that says of its columns that they were dictionaries.
fn save_as_dictionaries(path: &Path, batch: &RecordBatch) {
    use ::parquet::arrow::arrow_writer::ArrowWriterOptions;
    use ::parquet::arrow::{ArrowWriter, add_encoded_arrow_schema_to_metadata};
    use ::parquet::file::properties::WriterProperties;
    let dictionary = |field: &Arc<Field>| {
        let data_type = DataType::Dictionary(Box::new(DataType::Int8), Box::new(field.data_type().clone()));
        Field::new(field.name(), data_type, true)
    };
    let schema = Schema::new(batch.schema().fields().iter().map(dictionary).collect::<Vec<_>>());
    let mut properties = WriterProperties::builder().build();
    add_encoded_arrow_schema_to_metadata(&schema, &mut properties);
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    let file = std::fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new_with_options(file, batch.schema(), options).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
}

#[test]
fn dictionaries_of_every_type_are_read() {
    let directory = Directory::new();
    let decimals = Decimal128Array::from(vec![Some(125), None, Some(-50), Some(700)]);
    let batch = table(vec![
        ("flag", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false), Some(true)])) as ArrayRef),
        ("price", Arc::new(decimals.with_precision_and_scale(5, 2).unwrap())),
        ("day", Arc::new(Date32Array::from(vec![Some(0), None, Some(1), Some(0)]))),
        ("at", Arc::new(TimestampMicrosecondArray::from(vec![Some(0), None, Some(1_500_000), Some(0)]))),
        ("half", Arc::new(Float64Array::from(vec![Some(0.5), None, Some(2.0), Some(0.5)]))),
        ("name", Arc::new(StringArray::from(vec![Some("a"), None, Some("b"), Some("a")]))),
    ]);
    let expected = owned(&[
        &[Some("1"), Some("1.25"), Some("1970-01-01"), Some("1970-01-01T00:00:00"), Some("0.5"), Some("a")],
        &[None; 6],
        &[Some("0"), Some("-0.5"), Some("1970-01-02"), Some("1970-01-01T00:00:01.500"), Some("2"), Some("b")],
        &[Some("1"), Some("7"), Some("1970-01-01"), Some("1970-01-01T00:00:00"), Some("0.5"), Some("a")],
    ]);
    let path = directory.path("t.parquet");
    save_as_dictionaries(&path, &batch);
    assert_eq!(cells(&open(&path).unwrap(), 3).unwrap(), expected);
    // In Arrow IPC they are dictionaries themselves.
    let keys = Int8Array::from(vec![Some(0), None, Some(2), Some(3)]);
    let dictionaries = batch
        .columns()
        .iter()
        .map(|values| -> ArrayRef { Arc::new(DictionaryArray::new(keys.clone(), values.clone())) });
    let names = batch.schema();
    let names = names.fields().iter().map(|field| field.name().as_str());
    let path = directory.path("t.arrow");
    save(&path, &table(names.zip(dictionaries).collect()));
    assert_eq!(cells(&open(&path).unwrap(), 3).unwrap(), expected);
}

#[test]
fn runs_are_spelled_out() {
    let runs = RunArray::try_new(&Int32Array::from(vec![2, 3, 5]), &StringArray::from(vec!["a", "b", "c"])).unwrap();
    let rows = Rows::new(table(vec![("x", Arc::new(runs.slice(1, 3)) as ArrayRef)]), "made");
    let mut texts = Vec::new();
    rows.column("x").unwrap().each_text(|_, text| texts.push(text.unwrap().to_string())).unwrap();
    assert_eq!(texts, ["a", "b", "c"]);
}

#[test]
fn sixteen_fixed_bytes_are_a_uuid() {
    let bytes: Vec<u8> = (0..16).map(|byte| byte * 17).collect();
    let array = FixedSizeBinaryArray::try_from_iter([bytes].into_iter()).unwrap();
    let directory = Directory::new();
    for extension in ["parquet", "arrow"] {
        let path = directory.path(&format!("t.{extension}"));
        save(&path, &table(vec![("id", Arc::new(array.clone()) as ArrayRef)]));
        let found = cells(&open(path).unwrap(), 10).unwrap();
        assert_eq!(found, owned(&[&[Some("00112233-4455-6677-8899-aabbccddeeff")]]), "{extension}");
    }
}

#[test]
fn moments_beyond_the_calendar_have_a_text() {
    let far = TimestampMicrosecondArray::from(vec![i64::MAX, i64::MIN, 253_402_300_800_000_000]);
    let rows = Rows::new(table(vec![("at", Arc::new(far) as ArrayRef)]), "made");
    let mut texts = Vec::new();
    rows.column("at").unwrap().each_text(|_, text| texts.push(text.unwrap().to_string())).unwrap();
    // As PostgreSQL reckons, which has the same ends.
    assert!(texts[0].starts_with("+294247-01-10T04:00:54.775807"), "{texts:?}");
    assert!(texts[1].starts_with("-290308-12-21T19:59:05.224192"), "{texts:?}");
    assert_eq!(texts[2], "+10000-01-01T00:00:00");
}

#[test]
fn columns_of_different_types_in_different_files_become_text() {
    let directory = Directory::new();
    let whole = Int64Array::from(vec![7, 8]);
    save(
        &directory.path("day1.parquet"),
        &table(vec![("user", Arc::new(whole) as ArrayRef), ("same", Arc::new(Int32Array::from(vec![1, 2])))]),
    );
    let floats = Float64Array::from(vec![Some(7.0), None]);
    save(
        &directory.path("day2.parquet"),
        &table(vec![("same", Arc::new(Int32Array::from(vec![3, 4])) as ArrayRef), ("user", Arc::new(floats))]),
    );
    let source = open(directory.path("*.parquet")).unwrap();
    let types = source.types(&["user", "same"]).unwrap();
    assert_eq!((types.field(0).data_type(), types.field(1).data_type()), (&DataType::Utf8, &DataType::Int32));
    let path = directory.path("kept.parquet");
    let mut writer = Writer::create(&path, types.clone()).unwrap();
    for rows in source.rows(&["user", "same"], 10) {
        writer.write(&rows.unwrap().with_types(&types).unwrap()).unwrap();
    }
    writer.finish().unwrap();
    let expected =
        owned(&[&[Some("7"), Some("1")], &[Some("8"), Some("2")], &[Some("7"), Some("3")], &[None, Some("4")]]);
    assert_eq!(cells(&open(path).unwrap(), 10).unwrap(), expected);
}

#[test]
fn batches_in_memory_are_read_like_a_file() {
    let directory = Directory::new();
    let path = directory.path("t.arrow");
    save(&path, &sample());
    let source = Source::from_batches("made", vec![sample().slice(0, 3), sample().slice(3, 1)]).unwrap();
    assert_eq!(source.blocks().iter().map(|block| (block.first_row, block.rows)).collect::<Vec<_>>(), [(0, Some(4))]);
    assert_eq!(source.columns(), ["id", "price", "name", "click"]);
    for limit in [1, 2, 10] {
        assert_eq!(cells(&source, limit).unwrap(), cells(&open(&path).unwrap(), 10).unwrap());
    }
    let rows = source.rows(&["click", "id"], 10).next().unwrap().unwrap();
    assert_eq!((rows.position("id").unwrap(), rows.column_at(0).unwrap().name()), (1, "click"));

    let said = Source::from_batches("made", Vec::new()).unwrap_err().to_string();
    assert_eq!(said, "made: has no batch, and so no columns");
    let other = table(vec![("id", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]);
    let said = Source::from_batches("made", vec![sample(), other]).unwrap_err().to_string();
    assert_eq!(said, "made: batch 1 has other columns than batch 0");
    let said = source.require(&["clicks"]).unwrap_err().to_string();
    assert_eq!(said, "made: there is no column `clicks`; did you mean `click`?");
}

#[test]
fn whose_fault_a_table_is() {
    use crate::error::{Blame, Error};
    let directory = Directory::new();
    let blame = |path: PathBuf, column: &str| -> Blame {
        let read = |error: Error| error.blame();
        match open(path) {
            Err(error) => read(error),
            Ok(source) => read(source.rows(&[column], 10).find_map(Result::err).unwrap()),
        }
    };
    assert_eq!(blame(directory.path("no.csv"), "a"), Blame::Caller);
    assert_eq!(blame(directory.file("t.csv", "a,b\n1,2\n"), "c"), Blame::Caller);
    assert_eq!(blame(directory.file("t.csv", "a,b\n1,2\n3\n"), "a"), Blame::File);
    assert_eq!(blame(directory.file("t.csv.gz", "no gzip"), "a"), Blame::File);
    assert_eq!(blame(directory.file("t.parquet", "PAR1"), "a"), Blame::File);
    assert!(std::error::Error::source(&open(directory.path("t.parquet")).unwrap_err()).is_some());
}

#[test]
fn columns_are_the_same_in_whatever_order_they_are_asked_for() {
    let rows = Rows::new(sample(), "made");
    let names: Vec<String> = rows.batch.schema().fields().iter().map(|field| field.name().clone()).collect();
    let (last, first) = (names.len() - 1, 0);
    for order in [(0..=last).collect(), (0..=last).rev().collect(), vec![1, 1, last, first, last]] {
        let mut columns = rows.in_order();
        for position in order {
            let found = columns.column(&names[position]).unwrap();
            assert_eq!(found.name(), names[position]);
            assert_eq!(found.array(), rows.column_at(position).unwrap().array());
        }
    }
    let mut columns = rows.in_order();
    columns.column(&names[last]).unwrap();
    let said = columns.column(&format!("{}x", names[first])).unwrap_err().to_string();
    assert!(said.contains(&format!("did you mean `{}`?", names[first])), "{said}");
}
