//! Files and directories that appear whole or not at all, and survive a crash.
//!
//! Something new is written beside its place under a hidden name, forced to the
//! disk, and renamed. Beside `x` there may be, for a while (a long `x` is shortened there):
//!
//! | name | what it is |
//! |---|---|
//! | `.x.RANDOM.unfinished` | a new `x` under way |
//! | `.x.RANDOM.replaced` | the old directory `x`, while the new one takes its place |
//!
//! Who writes holds a lock on what it has under way, and the system releases the
//! lock when the process ends, however it ends. So one that nobody holds is a
//! leftover: whoever writes `x` next removes it or, where a crash fell between
//! two renames, brings the old directory back. Where a file system has no locks,
//! leftovers stay.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, TempDir};

use crate::error::{Error, Result};

const UNFINISHED: &str = ".unfinished";
const REPLACED: &str = ".replaced";

/// Bytes of a name that its hidden names begin with: with what follows they are longer, and
/// some file systems take 143 bytes.
const NAMED: usize = 100;

/// A file that takes its name only when it is whole. Dropped before
/// [`NewFile::finish`], it leaves nothing, and a file that had the name stays as
/// it was.
///
/// A symbolic link stays one: what it points to is replaced, or made where it is not
/// there. What is no ordinary file, such as a pipe, cannot be replaced and is written to;
/// so is what somebody holds open, such as `/dev/stdout` or `/dev/fd/3`, behind what was
/// written there before, whatever it leads to.
#[derive(Debug)]
pub struct NewFile {
    path: PathBuf,
    file: Under,
}

/// Under which name a file is written.
#[derive(Debug)]
enum Under {
    Hidden {
        file: NamedTempFile,
        place: PathBuf,
    },
    /// What cannot be replaced, or what a directory under way has. Opened only to be written:
    /// opening a pipe waits for its reader.
    ItsOwn,
    /// A descriptor that is open already.
    Open {
        place: PathBuf,
    },
}

impl NewFile {
    /// Begins a file, so that a place where none can be written is told before
    /// the work is done that it is for.
    ///
    /// # Errors
    /// [`Error::File`] where the path is a directory or its directory is
    /// missing; [`Error::Io`].
    pub fn create(path: &Path) -> Result<NewFile> {
        let place = place_of(path)?;
        if place.is_dir() {
            return Err(Error::file(path, "cannot be written: it is a directory"));
        }
        if is_descriptor(&place) {
            // Before the work: who has not opened it will not do so meanwhile.
            fs::metadata(&place).map_err(Error::io(path))?;
            return Ok(NewFile { path: path.into(), file: Under::Open { place } });
        }
        let parent = parent_of(&place);
        if !parent.is_dir() {
            let message = format!("cannot be written: there is no directory {}", parent.display());
            return Err(Error::file(path, message));
        }
        if place.exists() && !place.is_file() {
            return Ok(NewFile { path: path.into(), file: Under::ItsOwn });
        }
        let prefix = hidden(&place)?;
        remove_leftovers(&place, &prefix);
        let file = loop {
            let mut builder = tempfile::Builder::new();
            builder.prefix(&prefix).suffix(UNFINISHED);
            #[cfg(unix)]
            builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
            let file = builder.tempfile_in(parent).map_err(Error::io(path))?;
            if holds(file.as_file(), file.path()) {
                break file;
            }
        };
        Ok(NewFile { path: path.into(), file: Under::Hidden { file, place } })
    }

    /// Begins a file of a directory that is under way itself, such as those that
    /// [`replace_directory`] fills. Such a directory is forced to the disk as a whole before it is
    /// seen, so none of its files waits for the disk by itself.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn within(path: &Path) -> Result<NewFile> {
        File::create(path).map_err(Error::io(path))?;
        Ok(NewFile { path: path.into(), file: Under::ItsOwn })
    }

    /// A handle to write with.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn handle(&self) -> Result<File> {
        let handle = match &self.file {
            Under::Hidden { file, .. } => file.reopen(),
            Under::ItsOwn => File::options().write(true).open(&self.path),
            Under::Open { place } => descriptor(place),
        };
        handle.map_err(Error::io(&self.path))
    }

    /// Writes all there is to write, and finishes.
    ///
    /// # Errors
    /// As of [`NewFile::finish`].
    pub fn write(self, contents: impl AsRef<[u8]>) -> Result<()> {
        self.handle()?.write_all(contents.as_ref()).map_err(Error::io(&self.path))?;
        self.finish()
    }

    /// Waits until the contents are on the disk and gives the file its name,
    /// replacing a file that had it.
    ///
    /// # Errors
    /// [`Error::Io`]; then the old file is as it was.
    pub fn finish(self) -> Result<()> {
        let NewFile { path, file } = self;
        let Under::Hidden { file, place } = file else { return Ok(()) };
        file.as_file().sync_all().map_err(Error::io(&path))?;
        file.persist(&place).map_err(|error| Error::io(&path)(error.error))?;
        force(parent_of(&place))
    }
}

/// Writes a file: under its name only when complete and on the disk.
///
/// # Errors
/// As of [`NewFile`].
pub fn write_file(path: &Path, contents: impl AsRef<[u8]>) -> Result<()> {
    NewFile::create(path)?.write(contents)
}

/// Fills a new directory beside `directory`, forces it to the disk and gives it
/// the name, in place of a directory that had it. Under the name there is the
/// old or the new one at every moment, where the system can exchange two names
/// at once (Linux, on most file systems); elsewhere for an instant neither, and
/// after a crash in that instant [`recover`] brings the old one back.
///
/// # Errors
/// Those of `fill`, [`Error::File`] where `directory` is a file, and
/// [`Error::Io`]; then the old directory is as it was.
pub fn replace_directory(directory: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    replace_by(directory, fill, exchange)
}

fn replace_by(
    directory: &Path,
    fill: impl FnOnce(&Path) -> Result<()>,
    exchange: impl FnOnce(&Path, &Path) -> io::Result<()>,
) -> Result<()> {
    let place = place_of(directory)?;
    let parent = parent_of(&place);
    fs::create_dir_all(parent).map_err(Error::io(parent))?;
    recover(&place)?;
    if place.exists() && !place.is_dir() {
        return Err(Error::file(directory, "cannot be replaced by a directory: it is a file"));
    }
    let new = Unfinished::create(&place)?;
    fill(new.directory.path())?;
    sync(new.directory.path())?;
    if !place.exists() {
        fs::rename(new.directory.path(), &place).map_err(Error::io(directory))?;
        new.now_named();
    } else if exchange(new.directory.path(), &place).is_ok() {
        // What is under the hidden name now, and removed with it, is the old one.
        force(parent)?;
        drop(new);
    } else {
        let old = Aside::put(&place)?;
        if let Err(error) = fs::rename(new.directory.path(), &place) {
            old.back(&place)?;
            return Err(Error::io(directory)(error));
        }
        new.now_named();
        force(parent)?;
        old.remove();
    }
    force(parent)
}

/// Puts the place of a directory in order after a crash: brings the old one back
/// where neither it nor a new one bears the name, and removes what else is left.
///
/// # Errors
/// [`Error::Io`].
pub fn recover(directory: &Path) -> Result<()> {
    let place = place_of(directory)?;
    let prefix = hidden(&place)?;
    let mut replaced = leftovers(&place, &prefix, is_replaced);
    // The newest first: should there be several, it is the one that was there last.
    replaced.sort_by_key(|left| std::cmp::Reverse(fs::metadata(&left.path).and_then(|data| data.modified()).ok()));
    for left in replaced {
        match place.exists() {
            true => left.remove(),
            false => {
                fs::rename(&left.path, &place).map_err(Error::io(directory))?;
                force(parent_of(&place))?;
            }
        }
    }
    remove_leftovers(&place, &prefix);
    Ok(())
}

/// A directory under way, held by a lock; removed where it is dropped.
#[derive(Debug)]
pub struct Unfinished {
    directory: TempDir,
    _held: Option<File>,
}

impl Unfinished {
    /// Begins a directory beside `place`, which need not become its own.
    ///
    /// # Errors
    /// [`Error::File`] where `place` has no name; [`Error::Io`].
    pub fn create(place: &Path) -> Result<Unfinished> {
        let parent = parent_of(place);
        let prefix = hidden(place)?;
        loop {
            let mut builder = tempfile::Builder::new();
            let directory = builder.prefix(&prefix).suffix(UNFINISHED).tempdir_in(parent).map_err(Error::io(parent))?;
            let held = File::open(directory.path()).ok();
            if held.as_ref().is_none_or(|held| holds(held, directory.path())) {
                return Ok(Unfinished { directory, _held: held });
            }
        }
    }

    /// Where to write.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// It was renamed, and is no temporary directory any more.
    fn now_named(self) {
        let _ = self.directory.keep();
    }
}

/// An old directory under a hidden name, held by a lock.
struct Aside {
    path: PathBuf,
    _held: Option<File>,
}

impl Aside {
    fn put(place: &Path) -> Result<Aside> {
        let held = File::open(place).ok();
        if let Some(held) = &held {
            let _ = held.try_lock();
        }
        let mut builder = tempfile::Builder::new();
        let prefix = hidden(place)?;
        let aside = builder.prefix(&prefix).suffix(REPLACED).make_in(parent_of(place), |path| fs::rename(place, path));
        let (_, path) = aside.map_err(Error::io(place))?.into_parts();
        let path = path.keep().map_err(|error| Error::io(place)(error.error))?;
        Ok(Aside { path, _held: held })
    }

    fn back(self, place: &Path) -> Result<()> {
        fs::rename(&self.path, place).map_err(Error::io(place))
    }

    /// What cannot be removed now is a leftover, and removed by whoever comes next.
    fn remove(self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Exchanges two names at once.
#[cfg(target_os = "linux")]
fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?)
}

#[cfg(not(target_os = "linux"))]
fn exchange(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Locks what was just made. False where it was taken for a leftover before it
/// was locked.
fn holds(file: &File, path: &Path) -> bool {
    match file.try_lock() {
        Ok(()) => path.exists(),
        Err(TryLockError::WouldBlock) => false,
        // No locks here, so nobody looks for leftovers.
        Err(TryLockError::Error(_)) => true,
    }
}

/// What a dead process left, held so that nobody else takes it.
struct Leftover {
    path: PathBuf,
    _held: File,
}

impl Leftover {
    fn remove(self) {
        let _ = if self.path.is_dir() { fs::remove_dir_all(&self.path) } else { fs::remove_file(&self.path) };
    }
}

/// What dead processes left beside `place`: what is called by its hidden `prefix` and then
/// something that `is` accepts.
fn leftovers(place: &Path, prefix: &str, is: fn(&str) -> bool) -> Vec<Leftover> {
    let entries = fs::read_dir(parent_of(place)).into_iter().flatten().filter_map(|entry| entry.ok());
    let left = entries.filter_map(|entry| {
        if !entry.file_name().to_str()?.strip_prefix(prefix).is_some_and(is) {
            return None;
        }
        let held = File::open(entry.path()).ok()?;
        held.try_lock().ok()?;
        Some(Leftover { path: entry.path(), _held: held })
    });
    left.collect()
}

fn remove_leftovers(place: &Path, prefix: &str) {
    leftovers(place, prefix, is_unfinished).into_iter().for_each(Leftover::remove);
}

/// What the hidden names beside `place` begin with. They are longer than its own, and may be
/// too long where that is not: so of a long one there is the beginning, and a checksum, lest
/// one place be given what another has left.
fn hidden(place: &Path) -> Result<String> {
    let name = name_of(place)?;
    if name.len() <= NAMED {
        return Ok(format!(".{name}."));
    }
    let end = (0..=NAMED).rfind(|end| name.is_char_boundary(*end)).unwrap_or(0);
    Ok(format!(".{}.{}.", &name[..end], &blake3::hash(name.as_bytes()).to_hex()[..16]))
}

/// Whether a name is that of something under way, of whatever place.
pub fn is_under_way(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(UNFINISHED)
}

fn is_unfinished(rest: &str) -> bool {
    rest.strip_suffix(UNFINISHED).is_some_and(|random| !random.contains('.'))
}

/// Also as versions before 0.2 called it: `replaced-PID`.
fn is_replaced(rest: &str) -> bool {
    rest.strip_suffix(REPLACED).or(rest.strip_prefix("replaced-")).is_some_and(|random| !random.contains('.'))
}

/// Links that are followed one after the other, as many as Linux follows.
const MOST_LINKS: usize = 40;

/// Where a path leads to, through symbolic links, whether anything is there or not. Not
/// beyond a descriptor: what stands in its link need be no path.
fn place_of(path: &Path) -> Result<PathBuf> {
    let mut place = path.to_path_buf();
    for _ in 0..MOST_LINKS {
        if !place.is_symlink() || is_descriptor(&place) {
            return Ok(place);
        }
        let target = fs::read_link(&place).map_err(Error::io(path))?;
        place = parent_of(&place).join(target);
    }
    Err(Error::file(path, "cannot be written: it is a link that leads through more than 40 others"))
}

/// Whether a path names what a process holds open, as `/dev/fd/3` and `/proc/self/fd/3` do.
fn is_descriptor(place: &Path) -> bool {
    fs::canonicalize(parent_of(place)).is_ok_and(|directory| {
        directory == Path::new("/dev/fd") || directory.starts_with("/proc") && directory.ends_with("fd")
    })
}

/// A handle to a descriptor. Those of this process's output share their place with it, so
/// that neither writes over the other; in a file others are written to at its end.
fn descriptor(place: &Path) -> io::Result<File> {
    #[cfg(unix)]
    {
        use std::os::fd::AsFd;
        let directory = fs::canonicalize(parent_of(place))?;
        let own =
            directory == Path::new("/dev/fd") || fs::canonicalize("/proc/self/fd").is_ok_and(|own| own == directory);
        let number = place.file_name().filter(|_| own);
        if number.is_some_and(|number| number == "1") {
            io::stdout().flush()?;
            return Ok(io::stdout().as_fd().try_clone_to_owned()?.into());
        }
        if number.is_some_and(|number| number == "2") {
            return Ok(io::stderr().as_fd().try_clone_to_owned()?.into());
        }
    }
    File::options().append(true).open(place)
}

fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn name_of(path: &Path) -> Result<String> {
    let name = path.file_name().ok_or_else(|| Error::file(path, "is no name that could be given to something new"))?;
    Ok(name.to_string_lossy().into_owned())
}

/// Forces a directory and everything in it to the disk.
fn sync(directory: &Path) -> Result<()> {
    for entry in fs::read_dir(directory).map_err(Error::io(directory))? {
        let path = entry.map_err(Error::io(directory))?.path();
        if path.is_dir() { sync(&path)? } else { force(&path)? }
    }
    force(directory)
}

/// Waits until what was written to a file, or the names in a directory, are on the
/// disk. [`replace_directory`] then has less to wait for.
///
/// # Errors
/// [`Error::Io`].
pub fn force(path: &Path) -> Result<()> {
    // Other systems refuse to open a directory as a file; there is nothing to force there.
    if path.is_dir() && !cfg!(unix) {
        return Ok(());
    }
    File::open(path).and_then(|file| file.sync_all()).map_err(Error::io(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names in a directory, sorted.
    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = entries.collect();
        names.sort();
        names
    }

    fn filled(with: &str) -> impl FnOnce(&Path) -> Result<()> {
        let with = with.to_string();
        move |path| fs::write(path.join("a"), with).map_err(Error::io(path))
    }

    fn unsupported(_: &Path, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// What a directory replaced in either way must be like.
    fn each_way(test: impl Fn(&Path, &dyn Fn(&Path, &str) -> Result<()>)) {
        test(tempfile::tempdir().unwrap().path(), &|target, with| replace_directory(target, filled(with)));
        test(tempfile::tempdir().unwrap().path(), &|target, with| replace_by(target, filled(with), unsupported));
    }

    #[test]
    fn a_failed_write_leaves_the_old_directory_and_nothing_else() {
        each_way(|root, replace| {
            let target = root.join("artifact");
            replace(&target, "old").unwrap();
            let failed = replace_directory(&target, |path| {
                filled("new")(path)?;
                Err(Error::Config("stop".into()))
            });
            assert!(failed.is_err());
            assert_eq!(fs::read_to_string(target.join("a")).unwrap(), "old");
            assert_eq!(names(root), ["artifact"]);
            replace(&target, "new").unwrap();
            assert_eq!(fs::read_to_string(target.join("a")).unwrap(), "new");
            assert_eq!(names(root), ["artifact"]);
        });
    }

    #[test]
    fn a_crash_between_the_renames_is_mended_by_the_next_start() {
        each_way(|root, replace| {
            let target = root.join("artifact");
            replace(&target, "old").unwrap();
            // Here the process dies: the old one is aside, the new one is not yet named.
            let Aside { path, _held } = Aside::put(&target).unwrap();
            drop(_held);
            let new = Unfinished::create(&target).unwrap();
            filled("new")(new.directory.path()).unwrap();
            new.now_named();
            assert!(!target.exists() && path.exists());
            recover(&target).unwrap();
            assert_eq!(fs::read_to_string(target.join("a")).unwrap(), "old");
            assert_eq!(names(root), ["artifact"]);

            drop(Aside::put(&target).unwrap());
            replace(&target, "newer").unwrap();
            assert_eq!(fs::read_to_string(target.join("a")).unwrap(), "newer");
            assert_eq!(names(root), ["artifact"]);
        });
    }

    #[test]
    fn leftovers_of_an_equal_process_number_do_not_stand_in_the_way() {
        each_way(|root, replace| {
            let target = root.join("artifact");
            replace(&target, "old").unwrap();
            let left = root.join(format!(".artifact.replaced-{}", std::process::id()));
            fs::create_dir(&left).unwrap();
            filled("older")(&left).unwrap();
            replace(&target, "new").unwrap();
            assert_eq!(fs::read_to_string(target.join("a")).unwrap(), "new");
            assert_eq!(names(root), ["artifact"]);

            fs::rename(&target, &left).unwrap();
            recover(&target).unwrap();
            assert_eq!(fs::read_to_string(target.join("a")).unwrap(), "new");
        });
    }

    #[test]
    fn what_somebody_else_has_under_way_is_left_alone() {
        each_way(|root, replace| {
            let target = root.join("artifact");
            replace(&target, "old").unwrap();
            let other = Unfinished::create(&target).unwrap();
            replace(&target, "new").unwrap();
            assert!(other.directory.path().is_dir());
            let aside = Aside::put(&target).unwrap();
            recover(&target).unwrap();
            assert!(!target.exists(), "it is held by who is about to replace it");
            aside.back(&target).unwrap();
            // Another directory's, whose name begins like this one's.
            let strange = root.join(".artifact.old.Ab12Cd.unfinished");
            fs::create_dir(&strange).unwrap();
            replace(&target, "newer").unwrap();
            assert!(strange.exists());
        });
    }

    #[test]
    fn a_file_is_not_replaced_by_a_directory() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("artifact");
        fs::write(&target, "a thesis").unwrap();
        assert!(replace_directory(&target, filled("new")).unwrap_err().to_string().contains("it is a file"));
        assert_eq!(fs::read_to_string(&target).unwrap(), "a thesis");
    }

    #[test]
    fn an_unfinished_file_leaves_the_old_one_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("figures.json");
        write_file(&path, "old").unwrap();
        let file = NewFile::create(&path).unwrap();
        file.handle().unwrap().write_all(b"new").unwrap();
        assert_eq!(names(root.path()).len(), 2);
        drop(file);
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(names(root.path()), ["figures.json"]);
    }

    #[test]
    fn files_of_dead_processes_are_removed_and_of_living_ones_not() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("figures.json");
        let living = NewFile::create(&path).unwrap();
        fs::write(root.path().join(".figures.json.Ab12Cd.unfinished"), "").unwrap();
        write_file(&path, "new").unwrap();
        assert_eq!(names(root.path()).len(), 2);
        living.handle().unwrap().write_all(b"later").unwrap();
        living.finish().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "later");
        assert_eq!(names(root.path()), ["figures.json"]);
    }

    #[test]
    fn a_place_where_no_file_can_be_is_told_at_the_beginning() {
        let root = tempfile::tempdir().unwrap();
        let said = NewFile::create(&root.path().join("no/such/x.json")).unwrap_err().to_string();
        assert!(said.contains("no/such/x.json") && said.contains("there is no directory"), "{said}");
        let said = NewFile::create(root.path()).unwrap_err().to_string();
        assert!(said.contains("it is a directory"), "{said}");
    }

    #[test]
    fn a_name_as_long_as_the_system_allows_can_be_written() {
        let root = tempfile::tempdir().unwrap();
        for letter in ["a", "é"] {
            let path = root.path().join(letter.repeat(255 / letter.len()));
            write_file(&path, "old").unwrap();
            write_file(&path, "new").unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        }
        assert_eq!(names(root.path()).len(), 2);
    }

    #[test]
    fn a_directory_of_a_name_as_long_as_the_system_allows_is_written_and_brought_back() {
        each_way(|root, replace| {
            let [one, other] = ["1", "2"].map(|end| root.join("n".repeat(254) + end));
            replace(&one, "old").unwrap();
            replace(&one, "new").unwrap();
            drop(Aside::put(&one).unwrap());
            // What has the same beginning is another's.
            recover(&other).unwrap();
            assert!(!other.exists());
            recover(&one).unwrap();
            assert_eq!(fs::read_to_string(one.join("a")).unwrap(), "new");
            assert_eq!(names(root).len(), 1);
        });
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_one_and_a_device_too() {
        let root = tempfile::tempdir().unwrap();
        let (real, link) = (root.path().join("real.json"), root.path().join("link.json"));
        fs::write(&real, "old").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        write_file(&link, "new").unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read_to_string(&real).unwrap(), "new");
        write_file(Path::new("/dev/null"), "nothing").unwrap();
        assert!(!Path::new("/dev/null").is_file());
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_what_is_not_there_stays_one_and_makes_it() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        fs::create_dir(path("deep")).unwrap();
        std::os::unix::fs::symlink("deep/other.json", path("link.json")).unwrap();
        std::os::unix::fs::symlink("../real.json", path("deep/other.json")).unwrap();
        write_file(&path("link.json"), "new").unwrap();
        assert!(path("link.json").is_symlink() && path("deep/other.json").is_symlink());
        assert_eq!(fs::read_to_string(path("real.json")).unwrap(), "new");

        std::os::unix::fs::symlink("deep/round", path("round")).unwrap();
        std::os::unix::fs::symlink("../round", path("deep/round")).unwrap();
        let said = write_file(&path("round"), "").unwrap_err().to_string();
        assert!(said.contains("round: cannot be written: it is a link"), "{said}");
        std::os::unix::fs::symlink("nowhere/x", path("lost")).unwrap();
        let said = write_file(&path("lost"), "").unwrap_err().to_string();
        assert!(said.contains("there is no directory"), "{said}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_is_held_open_is_written_to_and_not_replaced() {
        use std::os::fd::AsRawFd;
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("both.txt");
        let mut held = File::options().append(true).create(true).open(&path).unwrap();
        held.write_all(b"before\n").unwrap();
        let number = held.as_raw_fd();
        for place in [format!("/dev/fd/{number}"), format!("/proc/self/fd/{number}")] {
            write_file(Path::new(&place), "written\n").unwrap();
        }
        held.write_all(b"after\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "before\nwritten\nwritten\nafter\n");
        drop(held);

        let (mut reader, writer) = io::pipe().unwrap();
        write_file(Path::new(&format!("/dev/fd/{}", writer.as_raw_fd())), "through a pipe").unwrap();
        drop(writer);
        assert_eq!(io::read_to_string(&mut reader).unwrap(), "through a pipe");
    }
}
