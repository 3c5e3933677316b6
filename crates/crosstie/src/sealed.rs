//! Files that can be trusted: lists of files with their checksums, and JSON that
//! carries a checksum of its own.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Size in bytes.
    pub bytes: u64,
    /// BLAKE3 hash of the contents, in hexadecimal.
    pub blake3: String,
}

/// Bytes that are read, then hashed by all threads together: some for each, and
/// little beside the tensors of a model.
const PIECE: usize = 4 << 20;

impl FileEntry {
    /// Reads a file through. It is hashed on the rayon pool that the caller is in;
    /// outside of any, on the global one.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn of(path: &Path) -> Result<FileEntry> {
        let mut file = File::open(path).map_err(Error::io(path))?;
        let mut hasher = blake3::Hasher::new();
        let mut piece = Vec::with_capacity(PIECE);
        while file.by_ref().take(PIECE as u64).read_to_end(&mut piece).map_err(Error::io(path))? > 0 {
            hasher.update_rayon(&piece);
            piece.clear();
        }
        Ok(FileEntry::of_hash(&hasher))
    }

    /// Of what was hashed.
    pub(crate) fn of_hash(hasher: &blake3::Hasher) -> FileEntry {
        FileEntry { bytes: hasher.count(), blake3: hasher.finalize().to_hex().to_string() }
    }
}

/// Lists all files of a directory and its folders, by their paths within it,
/// parts separated by `/`.
///
/// # Errors
/// [`Error::Io`].
pub fn list(directory: &Path) -> Result<BTreeMap<String, FileEntry>> {
    let mut files = BTreeMap::new();
    list_below(directory, "", &mut files)?;
    Ok(files)
}

fn list_below(directory: &Path, prefix: &str, files: &mut BTreeMap<String, FileEntry>) -> Result<()> {
    for entry in fs::read_dir(directory).map_err(Error::io(directory))? {
        let path = entry.map_err(Error::io(directory))?.path();
        let name = format!("{prefix}{}", path.file_name().unwrap_or_default().to_string_lossy());
        if path.is_dir() {
            list_below(&path, &format!("{name}/"), files)?;
        } else {
            files.insert(name, FileEntry::of(&path)?);
        }
    }
    Ok(())
}

/// Compares every listed file with its entry.
///
/// # Errors
/// [`Error::Artifact`] naming the first file that differs or is missing.
pub fn verify(directory: &Path, files: &BTreeMap<String, FileEntry>) -> Result<()> {
    for (name, entry) in files {
        let path = directory.join(name);
        let found = FileEntry::of(&path).map_err(|error| match error {
            Error::Io { source, .. } => {
                Error::artifact(&path, format!("listed in the manifest, but {source}")).because(source)
            }
            other => other,
        })?;
        if found.bytes != entry.bytes {
            let message =
                format!("{} bytes where the manifest says {}: truncated or changed", found.bytes, entry.bytes);
            return Err(Error::artifact(&path, message));
        }
        if found.blake3 != entry.blake3 {
            return Err(Error::artifact(&path, "its checksum is not that of the manifest: damaged or changed"));
        }
    }
    Ok(())
}

/// What stands before the checksum, which is the last key of an object.
const SEAL: &str = ",\n  \"checksum\": \"";
/// What stands behind it.
const END: &str = "\"\n}\n";

/// Writes an object as JSON, with the BLAKE3 hash of the text without that line
/// as its last key, `checksum`.
///
/// # Errors
/// [`Error::Io`].
pub fn write(path: &Path, object: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(object).map_err(|error| Error::io(path)(error.into()))?;
    let body = text.trim_end().trim_end_matches('}').trim_end();
    fs::write(path, format!("{body}{SEAL}{}{END}", checksum(body))).map_err(Error::io(path))
}

fn checksum(body: &str) -> String {
    blake3::hash(body.as_bytes()).to_hex().to_string()
}

/// The text of a file as [`write()`] writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The whole text.
    pub text: String,
    /// Whether it carries a checksum, which is then right.
    pub sealed: bool,
}

/// Reads a file and checks its checksum, if it has one.
///
/// # Errors
/// [`Error::Artifact`] where the checksum is wrong or the text is no UTF-8;
/// [`Error::Io`].
pub fn read(path: &Path) -> Result<Sealed> {
    let bytes = fs::read(path).map_err(Error::io(path))?;
    let damaged = |what: &str| Error::artifact(path, format!("damaged: {what}"));
    let text = String::from_utf8(bytes).map_err(|_| damaged("it is no UTF-8"))?;
    let Some((body, rest)) = text.rsplit_once(SEAL) else { return Ok(Sealed { text, sealed: false }) };
    if rest.strip_suffix(END) != Some(&checksum(body)) {
        return Err(damaged("its checksum is not that of its text"));
    }
    Ok(Sealed { text, sealed: true })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_several_pieces_has_the_hash_of_all_its_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("numbers");
        let bytes: Vec<u8> = (0..2 * PIECE as u32 + 7).map(|index| ((index * 31) >> 8) as u8).collect();
        for length in [0, 1, PIECE - 1, PIECE, PIECE + 1, bytes.len()] {
            fs::write(&path, &bytes[..length]).unwrap();
            let expected = blake3::hash(&bytes[..length]).to_hex().to_string();
            assert_eq!(FileEntry::of(&path).unwrap(), FileEntry { bytes: length as u64, blake3: expected });
        }
    }

    #[test]
    fn a_changed_byte_of_a_sealed_file_is_found_or_takes_the_seal_away() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.json");
        let object = BTreeMap::from([("one", "1"), ("two", "a } and a \" here")]);
        write(&path, &object).unwrap();
        let Sealed { text, sealed } = read(&path).unwrap();
        assert!(sealed && serde_json::from_str::<BTreeMap<String, String>>(&text).unwrap().len() == 3);
        for place in 0..text.len() {
            for mask in [1u8, 0x20, 0xff] {
                let mut bytes = text.clone().into_bytes();
                bytes[place] ^= mask;
                fs::write(&path, &bytes).unwrap();
                assert!(read(&path).is_err() || !read(&path).unwrap().sealed, "byte {place}");
            }
            fs::write(&path, &text[..place]).unwrap();
            assert!(read(&path).is_err() || !read(&path).unwrap().sealed, "{place} bytes");
        }
    }
}
