//! `crosstie reference`.

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use crosstie::reference::{self, Subject};
use crosstie::spelling;

use crate::{output, run};

/// Explain the keys of a schema or of a config
///
/// Every key with what it takes, its default and its meaning; or those of one
/// section, one model or one name. The same text is in docs/schema.md and
/// docs/configuration.md.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  crosstie reference schema\n  \
                        crosstie reference schema rate\n  \
                        crosstie reference config train.monitor\n  \
                        crosstie reference config ektm\n  \
                        crosstie reference schema --json-schema > schema.json")]
pub struct Reference {
    /// The file whose keys are asked for
    pub subject: File,
    /// A section, a key, or a name that chooses keys, such as a model's
    #[arg(conflicts_with = "json_schema")]
    pub name: Option<String>,
    /// Print a JSON Schema, for editors that check and complete TOML
    #[arg(long)]
    pub json_schema: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum File {
    /// schema.toml
    Schema,
    /// The config of a training
    Config,
}

impl Reference {
    pub fn execute(&self) -> Result<()> {
        let subject = match self.subject {
            File::Schema => Subject::Schema,
            File::Config => Subject::Config,
        };
        if self.json_schema {
            return output::print(run::json(&subject.json_schema())?.trim_end());
        }
        let all = reference::Reference::of(subject);
        let Some(name) = &self.name else { return output::print(all.sections_to_markdown().trim_end()) };
        let found = all.about(name);
        if found.sections.is_empty() {
            let names = all.names();
            bail!("`{name}` is no key or section{}", spelling::hint(name, names.iter().map(String::as_str)));
        }
        output::print(found.sections_to_markdown().trim_end())
    }
}
