//! An artifact whose files were changed in some places by somebody who also made the
//! checksums right. It is loaded or refused, never more.

#![no_main]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crosstie::artifact::{self, Manifest};
use crosstie::sealed::{self, FileEntry};
use crosstie_fuzz::directory;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

const ARTIFACTS: [(&str, &str); 6] = [
    ("format-3", "mmoe"),
    ("format-3", "ektm"),
    ("format-3", "aem2tl"),
    ("format-3", "single-task"),
    ("format-1", "ncs4cvr"),
    ("format-2", "mmoe"),
];
const MANIFEST: &str = "manifest.json";

#[derive(Arbitrary, Debug)]
struct Changes {
    artifact: u8,
    changes: Vec<Change>,
    manifest: Vec<Change>,
}

#[derive(Arbitrary, Debug)]
struct Change {
    file: u8,
    place: u16,
    removed: u16,
    put: Vec<u8>,
}

impl Change {
    fn make(&self, bytes: &mut Vec<u8>) {
        let place = usize::from(self.place) % (bytes.len() + 1);
        // Most changes are small.
        let removed = usize::from(if self.removed % 4 == 0 { self.removed } else { self.removed % 16 });
        let end = (place + removed).min(bytes.len());
        bytes.splice(place..end, self.put.iter().copied());
    }
}

struct Files {
    directory: TempDir,
    /// Per artifact, its files but the manifest, and the manifest.
    whole: Vec<(BTreeMap<String, Vec<u8>>, Manifest)>,
}

fn whole() -> Files {
    let read = |(format, model): (&str, &str)| {
        let path = crosstie_fuzz::artifact(format, model);
        let manifest = Manifest::read(&path.join(MANIFEST)).expect("a manifest");
        let file = |name: &String| (name.clone(), fs::read(path.join(name)).expect("a file"));
        (manifest.files.keys().map(file).collect(), manifest)
    };
    Files { directory: directory(), whole: ARTIFACTS.into_iter().map(read).collect() }
}

/// Panics that the library tells as errors, of foreign readers of Parquet, are none here.
fn let_guarded_panics_pass() {
    let abort = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !crosstie::data::panics_are_errors() {
            abort(panic);
        }
    }));
}

fn put(directory: &Path, name: &str, bytes: &[u8]) {
    let path: PathBuf = directory.join(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("a directory");
    fs::write(path, bytes).expect("a file");
}

fuzz_target!(
    init: let_guarded_panics_pass(),
    |changes: Changes| {
        static FILES: OnceLock<Files> = OnceLock::new();
        let Files { directory, whole } = FILES.get_or_init(whole);
        let (files, manifest) = &whole[usize::from(changes.artifact) % whole.len()];
        let (mut files, mut manifest) = (files.clone(), manifest.clone());
        for change in &changes.changes {
            let file = usize::from(change.file) % files.len();
            change.make(files.values_mut().nth(file).expect("a file"));
        }
        let directory = directory.path().join("artifact");
        let _ = fs::remove_dir_all(&directory);
        for (name, bytes) in &files {
            put(&directory, name, bytes);
            manifest.files.insert(name.clone(), FileEntry::of(&directory.join(name)).expect("a file"));
        }
        let path = directory.join(MANIFEST);
        sealed::write(&path, &manifest).expect("a manifest");
        if !changes.manifest.is_empty() {
            let mut text = fs::read(&path).expect("a manifest");
            changes.manifest.iter().for_each(|change| change.make(&mut text));
            // With its checksum made anew where it is still an object.
            match serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&text) {
                Ok(mut object) => {
                    object.remove("checksum");
                    sealed::write(&path, &object).expect("a manifest");
                }
                Err(_) => fs::write(&path, text).expect("a manifest"),
            }
        }
        if let Ok(scorer) = artifact::load(&directory) {
            let again = artifact::load(&directory).expect("what was loaded before");
            assert_eq!(scorer.tasks(), again.tasks());
        }
    }
);
