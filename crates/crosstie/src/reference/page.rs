//! A reference as Markdown in lines that a terminal shows whole.

use std::fmt::Write;

use super::{Key, Reference, Section, Subject};

/// Longest line.
const WIDTH: usize = 80;

const SCHEMA: &str = "\
# The schema

`schema.toml` says what the columns of the data are: which are features, which
are labels, and what the labels mean to each other. Columns that it does not
name are not read. This is all that it needs:

```toml
[[task]]
name = \"buy\"             # a column with 0, 1 or nothing

[[field]]
name = \"country\"         # a column
kind = \"categorical\"

[[field]]
name = \"price\"
kind = \"numeric\"
```

Keys are written in snake_case, values in kebab-case. A key that is unknown, or
that means nothing where it stands, is refused with the nearest right one.
[Your own log](your-own-log.md) goes through a schema step by step;
[formats](formats.md#from-a-cell-to-the-input) tells what becomes of a cell.
`crosstie reference schema` prints what follows.
";

const CONFIG: &str = "\
# The configuration

`crosstie train CONFIG.toml` reads one file. Only the data and the model's name
have no default:

```toml
[data]
dir = \"data/mine\"

[model]
name = \"mmoe\"
```

Keys are written in snake_case, values in kebab-case; the name of a method is
one word, as in `gradnorm`. A key that is unknown, or that does nothing under the
rule, the balancer or the model that is named, is refused with the nearest right
one. One that another key of the same model leaves idle is not, as EKTM's
`tower_units` beside `transfer = \"logits\"`.

`--set KEY.PATH=VALUE` sets a key for one training, as in
`--set train.epochs=3`, `--set model.name=ple` or
`--set model.expert_units=[64,32]`, in any order; of one key the last counts. A
value is taken by the type of its key, so text needs no quotes. A new
`model.name` leaves out what the file says for the old model, a new `data.dir`
the file's paths. `crosstie train CONFIG.toml --print-config` prints the whole
with every default and what each key means; `crosstie reference config` prints what follows.
";

const MADE: &str = "<!-- Made from the comments in the code; CONTRIBUTING.md tells how. -->\n\n";

impl Subject {
    fn about(self) -> &'static str {
        match self {
            Subject::Schema => SCHEMA,
            Subject::Config => CONFIG,
        }
    }
}

impl Reference {
    /// The page in `docs/`: what is described, and every section.
    pub fn to_markdown(&self) -> String {
        format!("{MADE}{}\n{}", self.subject.about(), self.sections_to_markdown())
    }

    /// The sections alone.
    pub fn sections_to_markdown(&self) -> String {
        self.sections.iter().map(section).collect::<Vec<_>>().join("\n")
    }
}

fn section(section: &Section) -> String {
    let brackets = if section.repeated { ("[[", "]]") } else { ("[", "]") };
    let name = match section.path.as_str() {
        "" => "Above all sections".into(),
        path => format!("`{}{path}{}`", brackets.0, brackets.1),
    };
    let mut text = match (&section.choice, &section.of) {
        (Some((key, value)), _) => format!("### {name} with `{key} = \"{value}\"`\n"),
        (None, Some(of)) => format!("#### {name} of `{of}`\n"),
        (None, None) => format!("## {name}\n"),
    };
    for paragraph in section.about.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty()) {
        text += &format!("\n{}", wrapped(paragraph, "", ""));
    }
    let keys: String = section.keys.iter().map(key).collect();
    text += &if keys.is_empty() { "\nNo keys of its own.\n".into() } else { format!("\n{keys}") };
    if let Some(other) = &section.same_as {
        let _ = write!(text, "\nEach of them has the keys that it has under `[{other}]`.\n");
    }
    text
}

fn key(key: &Key) -> String {
    let need = match (&key.default, key.required) {
        (Some(default), _) => format!("default `{default}`"),
        (None, true) => "required".into(),
        (None, false) => "optional".into(),
    };
    let about = key.about.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut text = wrapped(&format!("**`{}`** ({}; {need}) {about}", key.name, key.value), "- ", "  ");
    for (choice, about) in &key.choices {
        text += &wrapped(&format!("`\"{choice}\"`: {about}"), "  - ", "    ");
    }
    text
}

/// A paragraph in lines that begin as told.
pub(super) fn wrapped(text: &str, first: &str, others: &str) -> String {
    let mut lines = String::new();
    let mut line = String::from(first);
    let mut empty = true;
    for word in text.split_whitespace() {
        if !empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines += &format!("{line}\n");
            (line, empty) = (others.into(), true);
        }
        if !empty {
            line.push(' ');
        }
        line += word;
        empty = false;
    }
    lines + &line + "\n"
}
