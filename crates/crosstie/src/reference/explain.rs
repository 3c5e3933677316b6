//! A config with a comment above every key.

use super::page::wrapped;
use super::{Key, Reference, Section};

impl Reference {
    /// A TOML text in which every section and key that is described has the first sentence
    /// about it above it, as a comment. Of keys that belong to a choice, such as a model's
    /// name, those of the name that the text gives.
    ///
    /// ```
    /// use crosstie::reference::{Reference, Subject};
    ///
    /// let told = Reference::of(Subject::Config).explain("[train]\nepochs = 20\n");
    /// assert!(told.ends_with("# Most passes over the training files; at least 1.\nepochs = 20\n"), "{told}");
    /// ```
    pub fn explain(&self, toml: &str) -> String {
        let mut told = String::new();
        // Where the keys of the section are described, and the names that were chosen so far.
        let (mut described, mut names) = ("", Vec::new());
        for line in toml.lines() {
            let about = if let Some(header) = line.strip_prefix('[') {
                let path = header.trim_matches(['[', ']']);
                let section = self.sections.iter().find(|section| section.path == path && section.choice.is_none());
                described = section.and_then(|section| section.same_as.as_deref()).unwrap_or(path);
                section.map(|section| &section.about)
            } else if let Some((key, value)) = line.split_once(" = ") {
                let value = value.trim_matches('"');
                let chosen = self.sections.iter().find(|section| {
                    let choice = section.choice.as_ref();
                    section.path == described && choice.is_some_and(|(of, name)| of == key && name == value)
                });
                names.extend(chosen.map(|_| value));
                let key = self.key_of(described, key, &names);
                chosen.map(|section| &section.about).or(key.map(|key| &key.about))
            } else {
                None
            };
            if let Some(about) = about.filter(|about| !about.is_empty()) {
                told += &wrapped(first_sentence(about), "# ", "# ");
            }
            told += line;
            told.push('\n');
        }
        told
    }

    /// The key of a section where these names are chosen.
    fn key_of(&self, path: &str, key: &str, names: &[&str]) -> Option<&Key> {
        let is_chosen = |section: &Section| {
            let own = section.choice.as_ref().map(|(_, value)| value);
            own.or(section.of.as_ref()).is_none_or(|choice| names.iter().any(|name| name == choice))
        };
        let sections = self.sections.iter().filter(|section| section.path == path && is_chosen(section));
        sections.flat_map(|section| &section.keys).find(|found| found.name == key)
    }
}

/// A text up to its first full stop.
fn first_sentence(text: &str) -> &str {
    text.find(". ").map_or(text, |place| &text[..=place])
}
