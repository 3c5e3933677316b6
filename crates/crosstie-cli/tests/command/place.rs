//! Drives the binary in a temporary directory.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// A directory of its own for one test, and `crosstie` called in it.
pub struct Place(TempDir);

/// As little as trains at all, of the data of [`Place::synth`].
pub const SMALL: &str = r#"
[data]
dir = "data"

[model]
name = "mmoe"
experts = 2
expert_units = [8]
tower_units = [4]

[train]
epochs = 2
batch_size = 256
"#;

impl Place {
    pub fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The command, with arguments separated by spaces.
    pub fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_crosstie"));
        command.args(arguments.split_whitespace()).current_dir(self.0.path());
        command
    }

    pub fn run(&self, arguments: &str) -> Ran {
        Ran::new(arguments, self.command(arguments).output().unwrap())
    }

    /// Runs what must succeed.
    pub fn ok(&self, arguments: &str) -> Ran {
        self.run(arguments).exit(0)
    }

    /// A small log in `data`: enough rows to train on in moments.
    pub fn synth(&self) {
        self.ok("synth --rows 3000 --scenarios 2 --out data");
    }
}

/// What a call left behind.
pub struct Ran {
    pub arguments: String,
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn new(arguments: &str, output: Output) -> Ran {
        Ran {
            arguments: arguments.to_string(),
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    #[track_caller]
    pub fn exit(self, code: i32) -> Ran {
        assert_eq!(self.code, Some(code), "crosstie {}\n{}\n{}", self.arguments, self.stdout, self.stderr);
        self
    }

    /// Requires that every part is in stderr.
    #[track_caller]
    pub fn says(self, parts: &[&str]) -> Ran {
        for part in parts {
            assert!(self.stderr.contains(part), "crosstie {}: no {part:?} in\n{}", self.arguments, self.stderr);
        }
        self
    }

    /// Requires that every part is in stdout.
    #[track_caller]
    pub fn prints(self, parts: &[&str]) -> Ran {
        for part in parts {
            assert!(self.stdout.contains(part), "crosstie {}: no {part:?} in\n{}", self.arguments, self.stdout);
        }
        self
    }
}

/// The cells of a CSV file without quotes, header first.
pub fn csv(path: &Path) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| line.split(',').map(String::from).collect()).collect()
}
