//! Damaged files are refused by name; whatever they hold, nothing panics.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crosstie::artifact::{self, Manifest};
use crosstie::calibration::Calibration;
use crosstie::data::Source;
use crosstie::schema::Schema;
use proptest::prelude::*;

const MODELS: [&str; 5] = ["aem2tl", "ektm", "mmoe", "ncs4cvr", "single-task"];

fn compat(model: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compat/format-1").join(model)
}

/// What may happen to a file. A place is a share of its length.
#[derive(Clone, Debug)]
enum Damage {
    Flip { place: f64, bits: u8 },
    Insert { place: f64, bytes: Vec<u8> },
    Cut { place: f64 },
    Replace { bytes: Vec<u8> },
}

impl Damage {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let at = |place: &f64| (place * bytes.len() as f64) as usize;
        match self {
            Damage::Flip { place, bits } => {
                let at = at(place);
                bytes[at..].iter_mut().take(1).for_each(|byte| *byte ^= bits);
            }
            Damage::Insert { place, bytes: inserted } => {
                let at = at(place);
                bytes.splice(at..at, inserted.iter().copied());
            }
            Damage::Cut { place } => bytes.truncate(at(place)),
            Damage::Replace { bytes: others } => bytes.clone_from(others),
        }
    }
}

fn damage() -> impl Strategy<Value = Damage> {
    let some = || prop::collection::vec(any::<u8>(), 1..40);
    prop_oneof![
        6 => (0.0..1.0, 1u8..).prop_map(|(place, bits)| Damage::Flip { place, bits }),
        2 => (0.0..1.0, some()).prop_map(|(place, bytes)| Damage::Insert { place, bytes }),
        1 => (0.0..1.0).prop_map(|place| Damage::Cut { place }),
        1 => some().prop_map(|bytes| Damage::Replace { bytes }),
    ]
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the directory can be made");
    for entry in fs::read_dir(from).expect("the directory can be read").flatten() {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() { copy(&from, &to) } else { fs::copy(from, to).map(drop).expect("the file can be copied") }
    }
}

/// A copy of an artifact of which one listed file is damaged, and its name.
fn damaged(model: usize, file: f64, damage: &Damage) -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().expect("there is room");
    copy(&compat(MODELS[model]).join("artifact"), directory.path());
    let manifest = Manifest::read(&directory.path().join("manifest.json")).expect("it is sound");
    let place = (file * manifest.files.len() as f64) as usize;
    let name = manifest.files.into_keys().nth(place).expect("a share is below 1");
    let mut bytes = fs::read(directory.path().join(&name)).expect("it is listed");
    damage.apply(&mut bytes);
    fs::write(directory.path().join(&name), bytes).expect("there is room");
    (directory, name)
}

/// An artifact as this version writes it, and the names of its files.
fn sound(directory: &Path) -> Vec<String> {
    let from = compat("ncs4cvr").join("artifact");
    let scorer = artifact::load(&from).expect("it is sound");
    let scenarios = scorer.features().layout().scenarios.len();
    let calibration = Calibration::identity(&scorer.network().objective, scenarios);
    let scorer = scorer.with_calibration(calibration);
    let rows = Source::open(&[from.join("golden.parquet").to_string_lossy()]).expect("it is sound");
    artifact::save(&scorer, &rows, directory).expect("there is room");
    let manifest = Manifest::read(&directory.join("manifest.json")).expect("it is sound");
    manifest.files.into_keys().chain(["manifest.json".into()]).collect()
}

#[test]
fn a_byte_flipped_or_missing_at_any_offset_of_an_artifact_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("artifact");
    let names = sound(&path);
    assert!(names.contains(&"calibration.json".into()), "{names:?}");
    for name in names {
        let refused = || artifact::load(&path).err().is_some_and(|error| error.to_string().contains(&name));
        let bytes = fs::read(path.join(&name)).unwrap();
        // Changed in place: some systems force a file that is written anew to the disk.
        let mut file = fs::File::options().write(true).open(path.join(&name)).unwrap();
        let mut write = |place: usize, byte: u8| {
            file.seek(SeekFrom::Start(place as u64)).and_then(|_| file.write_all(&[byte])).unwrap();
        };
        for (place, byte) in bytes.iter().enumerate() {
            write(place, byte ^ (1 << (place % 8)));
            assert!(refused(), "{name}: byte {place} flipped");
            write(place, *byte);
        }
        for place in (0..bytes.len()).rev() {
            file.set_len(place as u64).unwrap();
            assert!(refused(), "{name}: {place} bytes left");
        }
        fs::write(path.join(&name), bytes).unwrap();
    }
    assert!(artifact::load(&path).is_ok());
}

proptest! {
    #[test]
    fn a_damaged_schema_is_refused_or_says_what_it_reads(
        model in 0..MODELS.len(),
        damages in prop::collection::vec(damage(), 1..4),
    ) {
        let mut text = fs::read(compat(MODELS[model]).join("schema.toml")).unwrap();
        damages.iter().for_each(|damage| damage.apply(&mut text));
        if let Ok(schema) = Schema::parse(&String::from_utf8_lossy(&text)) {
            prop_assert_eq!(Schema::parse(&schema.to_toml()).unwrap(), schema);
        }
    }

    #[test]
    fn a_damaged_manifest_is_refused_by_name_or_read(model in 0..MODELS.len(), damage in damage()) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("manifest.json");
        let mut bytes = fs::read(compat(MODELS[model]).join("artifact/manifest.json")).unwrap();
        damage.apply(&mut bytes);
        fs::write(&path, bytes).unwrap();
        if let Err(error) = Manifest::read(&path) {
            prop_assert!(error.to_string().contains("manifest.json"), "{}", error);
        }
    }

    #[test]
    fn a_damaged_file_of_an_artifact_is_refused_by_name(
        model in 0..MODELS.len(),
        file in 0.0..1.0,
        damage in damage(),
    ) {
        let (directory, name) = damaged(model, file, &damage);
        let said = artifact::load(directory.path()).err().map(|error| error.to_string());
        prop_assert!(said.as_ref().is_some_and(|said| said.contains(&name)), "{}: {:?}", name, said);
    }

    #[test]
    fn nothing_panics_over_a_damaged_file_with_the_right_checksum(
        model in 0..MODELS.len(),
        file in 0.0..1.0,
        damage in damage(),
    ) {
        let (directory, name) = damaged(model, file, &damage);
        let (path, bytes) = (directory.path().join("manifest.json"), fs::read(directory.path().join(&name)).unwrap());
        let mut manifest: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let entry = serde_json::json!({ "bytes": bytes.len(), "blake3": blake3::hash(&bytes).to_hex().to_string() });
        manifest["files"][&name] = entry;
        fs::write(&path, manifest.to_string()).unwrap();
        if let Err(error) = artifact::load(directory.path()) {
            prop_assert!(!error.to_string().contains("checksum"), "{}", error);
        }
    }
}
