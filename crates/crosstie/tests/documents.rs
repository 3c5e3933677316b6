//! The documents of the repository hold together: what they link to is there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crosstie::config::Config;
use crosstie::model::{MODELS, ModelConfig};
use crosstie::reference::{Reference, Section, Subject};
use crosstie::schema::Schema;
use toml::{Table, Value};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Files of an extension below a directory, but what is hidden or made.
fn files(directory: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    let made = ["target", "runs", "data"].map(|name| root().join(name));
    for entry in std::fs::read_dir(directory).expect("the directory can be read") {
        let entry = entry.expect("the directory can be read");
        let path = entry.path();
        if entry.file_name().to_string_lossy().starts_with('.') || made.contains(&path) {
            continue;
        }
        if path.is_dir() {
            files(&path, extension, found);
        } else if path.extension().is_some_and(|other| other == extension) {
            found.push(path);
        }
    }
}

/// The lines outside of fenced code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut code = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !code && !fence
    })
}

/// The anchors of a document's headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let heading = |line: &str| line.starts_with('#').then(|| line.trim_start_matches('#').trim().to_lowercase());
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    prose(text)
        .filter_map(heading)
        .map(|text| text.chars().filter(kept).collect::<String>().replace(' ', "-"))
        .collect()
}

/// What a line's links point to.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    let mut documents = Vec::new();
    files(&root(), "md", &mut documents);
    let mut followed = 0;
    for document in &documents {
        let text = std::fs::read_to_string(document).unwrap();
        for link in prose(&text).flat_map(links).filter(|link| !link.contains("://")) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { document.clone() } else { document.parent().unwrap().join(path) };
            assert!(target.exists(), "{}: {link} is not there", document.display());
            if !anchor.is_empty() {
                let anchors = anchors(&std::fs::read_to_string(&target).unwrap());
                assert!(anchors.contains(anchor), "{}: {link}: the headings are {anchors:?}", document.display());
            }
            followed += 1;
        }
    }
    assert!(followed > 10, "{followed} links in {} documents", documents.len());
}

#[test]
fn every_section_that_code_cites_is_a_section_of_the_methods() {
    let page = std::fs::read_to_string(root().join("docs/methods.md")).unwrap();
    let number =
        |line: &str| Some(line.strip_prefix('#')?.trim_start_matches('#').split_whitespace().next()?.to_string());
    let sections: BTreeSet<String> =
        prose(&page).filter_map(number).map(|name| name.trim_end_matches('.').into()).collect();
    let mut sources = Vec::new();
    files(&root().join("crates"), "rs", &mut sources);
    let mut cited = 0;
    for source in sources {
        let text = std::fs::read_to_string(&source).unwrap();
        // Citations may go on in the next line of a comment.
        let words: Vec<&str> = text.split_whitespace().filter(|word| !word.starts_with("//")).collect();
        for (place, _) in words.iter().enumerate().filter(|(_, word)| word.trim_start_matches('(') == "methods") {
            for word in &words[place + 1..] {
                let section = word.trim_end_matches(|c: char| !c.is_ascii_digit());
                if !section.starts_with(|c: char| c.is_ascii_digit()) {
                    break;
                }
                assert!(sections.contains(section), "{}: there is no methods {section}", source.display());
                cited += 1;
                if !word.ends_with(',') {
                    break;
                }
            }
        }
    }
    assert!(cited > 20, "{cited} citations");
}

#[test]
fn headings_become_anchors() {
    let text = "# From a cell to the input\n```\n# no heading\n```\n## 1.4 What, `p_x`?\n";
    assert_eq!(anchors(text).into_iter().collect::<Vec<_>>(), ["14-what-p_x", "from-a-cell-to-the-input"]);
}

/// The rooms that a file of the library speaks of, outside of its tests.
fn rooms_used(text: &str) -> BTreeSet<String> {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = code.lines().map(|line| line.split("//").next().unwrap_or_default());
    let name = |rest: &str| rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect::<String>();
    lines
        .flat_map(|line| line.split("crate::").skip(1).map(name).collect::<Vec<_>>())
        .filter(|room| !room.is_empty())
        .collect()
}

#[test]
fn rooms_know_rooms_on_lower_floors_only() {
    let page = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let floors = page.split("```floors\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a list of floors");
    let floors: Vec<Vec<&str>> = floors.lines().rev().map(|line| line.split_whitespace().collect()).collect();
    let floor = |room: &str| floors.iter().position(|rooms| rooms.contains(&room));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    files(&source, "rs", &mut sources);
    let mut seen = BTreeSet::new();
    for path in &sources {
        let inside = path.strip_prefix(&source).unwrap();
        let names: Vec<String> = inside.iter().map(|part| part.to_string_lossy().replace(".rs", "")).collect();
        // What only tests compile may look anywhere.
        if names[0] == "lib" || names.iter().any(|name| ["tests", "trial"].contains(&name.as_str())) {
            continue;
        }
        let room = names[0].as_str();
        let own = floor(room).unwrap_or_else(|| panic!("{room} is on no floor of ARCHITECTURE.md"));
        seen.insert(room.to_string());
        for used in rooms_used(&std::fs::read_to_string(path).unwrap()).iter().filter(|used| *used != room) {
            // Macros and items of the crate itself are no rooms.
            if let Some(of_used) = floor(used) {
                assert!(of_used < own, "{} uses {used}, which is no floor below {room}", inside.display());
            }
        }
    }
    assert_eq!(seen.len(), floors.iter().flatten().count(), "every room named is there: {seen:?}");
}

#[test]
fn the_pages_of_keys_are_those_of_the_code() {
    for (subject, page) in [(Subject::Schema, "docs/schema.md"), (Subject::Config, "docs/configuration.md")] {
        let (path, text) = (root().join(page), Reference::of(subject).to_markdown());
        if std::env::var_os("CROSSTIE_WRITE_DOCS").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        let differs = found.lines().zip(text.lines()).find(|(found, made)| found != made);
        assert!(
            found == text,
            "{page} is not what the code says ({differs:?}); \
             make it anew: CROSSTIE_WRITE_DOCS=1 cargo test --workspace --test documents"
        );
    }
}

/// The keys of a TOML table and of those in it, by their paths.
fn keys(table: &Table, path: &str) -> Vec<(String, Value)> {
    let below = |(name, value): (&String, &Value)| match value {
        Value::Table(inner) => keys(inner, &format!("{path}{name}.")),
        value => vec![(format!("{path}{name}"), value.clone())],
    };
    table.iter().flat_map(below).collect()
}

/// Whether a section is one of those that a table with these keys has.
fn is_chosen(section: &Section, table: &Table) -> bool {
    let name = |path: &str| {
        let section = path.split('.').try_fold(table, |table, key| table.get(key)?.as_table());
        section.and_then(|section| section.get("name")?.as_str().map(String::from))
    };
    match (&section.choice, &section.of) {
        (Some((_, value)), _) => name(&section.path).as_ref() == Some(value),
        (None, Some(of)) => {
            let above = std::iter::successors(Some(&*section.path), |path| Some(path.rsplit_once('.')?.0));
            above.skip(1).any(|above| name(above).as_ref() == Some(of))
        }
        (None, None) => true,
    }
}

#[test]
fn every_key_of_a_config_stands_in_the_reference_with_its_default() {
    let reference = Reference::of(Subject::Config);
    let mut compared = 0;
    for about in MODELS {
        let config = Config::new(ModelConfig::named(about.name).unwrap());
        let written: Table = toml::from_str(&config.to_toml()).unwrap();
        for (path, value) in keys(&written, "") {
            // The rules of rows are told with those of dense parameters.
            let told = path.replace("optimizer.rows.", "optimizer.dense.");
            let mut chosen = written.clone();
            if told != path {
                chosen["optimizer"]["dense"] = chosen["optimizer"]["rows"].clone();
            }
            let sections = reference.sections.iter().filter(|section| is_chosen(section, &chosen));
            let mut found =
                sections.flat_map(|section| section.keys.iter().filter(|key| section.path_of(key) == told).cloned());
            let key = found.next().unwrap_or_else(|| panic!("{path} of {} is not explained", about.name));
            if !path.ends_with(".name") {
                let default = key.default.unwrap_or_else(|| panic!("{path} has a default"));
                let default: Table = toml::from_str(&format!("value = {default}")).unwrap();
                assert_eq!(default["value"], value, "{path} of {}", about.name);
                compared += 1;
            }
        }
    }
    assert!(compared > 200, "{compared} keys");
}

#[test]
fn every_key_of_a_field_stands_in_the_reference_with_its_default() {
    let reference = Reference::of(Subject::Schema);
    for kind in ["categorical", "numeric", "multi", "rate"] {
        let text = format!("[[task]]\nname = 'buy'\n[[field]]\nname = 'x'\nkind = '{kind}'");
        let written: Table = toml::from_str(&Schema::parse(&text).unwrap().to_toml()).unwrap();
        let field = written["field"][0].as_table().unwrap();
        let sections = || {
            let of_kind = |section: &&Section| section.choice.as_ref().is_none_or(|(_, value)| value == kind);
            reference.sections.iter().filter(|section| section.path == "field").filter(of_kind)
        };
        for (name, value) in field {
            let key = sections().flat_map(|section| &section.keys).find(|key| key.name == *name);
            let key = key.unwrap_or_else(|| panic!("{name} of {kind} is not explained"));
            assert!(!key.about.is_empty(), "{name} of {kind}");
            if let Some(default) = &key.default {
                let default: Table = toml::from_str(&format!("value = {default}")).unwrap();
                assert_eq!(default["value"], *value, "{name} of {kind}");
            }
        }
    }
}

#[test]
fn the_pages_of_keys_speak_to_users_of_files() {
    for subject in [Subject::Schema, Subject::Config] {
        for Section { path, keys, .. } in Reference::of(subject).sections {
            for key in keys.iter().filter(|key| !["name", "kind"].contains(&key.name.as_str())) {
                assert!(!key.about.is_empty(), "{path}.{}: no comment", key.name);
                assert!(!key.about.contains("[`") && !key.about.contains("::"), "{path}.{}: {}", key.name, key.about);
            }
        }
    }
}
