//! "Did you mean ...?": the nearest right spelling for a wrong name.

/// The candidate nearest to `found`, if one is near enough to be what was
/// meant (at most a third of the letters differ).
pub fn nearest<'a>(found: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = |candidate: &&'a str| {
        let distance = strsim::damerau_levenshtein(&found.to_lowercase(), &candidate.to_lowercase());
        let length = candidate.chars().count().max(found.chars().count());
        (distance <= (length / 3).max(1) && (distance == 0 || distance < length)).then_some(distance)
    };
    let candidates = candidates.into_iter().filter_map(|candidate| Some((near(&candidate)?, candidate)));
    candidates.min_by_key(|(distance, _)| *distance).map(|(_, candidate)| candidate)
}

/// `"; did you mean `x`?"`, or a list of what there is, or nothing.
pub fn hint<'a>(found: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    let candidates: Vec<&str> = candidates.into_iter().collect();
    match nearest(found, candidates.iter().copied()) {
        Some(name) => format!("; did you mean `{name}`?"),
        None if candidates.is_empty() => String::new(),
        None if candidates.len() <= 40 => format!("; there are: {}", candidates.join(", ")),
        None => format!(
            "; there are {} names, from {} to {}",
            candidates.len(),
            candidates[0],
            candidates[candidates.len() - 1]
        ),
    }
}

/// What serde expects, by Rust's names of types, and in a person's words.
const EXPECTED: [(&[&str], &str); 8] = [
    (&["f64", "f32"], "a number"),
    (&["usize", "u64", "u32", "u16", "u8"], "a whole number that is not negative"),
    (&["i64", "i32"], "a whole number"),
    (&["a boolean"], "true or false"),
    (&["a sequence"], "a list"),
    (&["a map"], "a section"),
    (&["path string"], "a path"),
    (&["socket address"], "an address and a port, as in 127.0.0.1:8000"),
];
/// What serde found, where its name is no person's word.
const FOUND: [(&str, &str); 3] = [
    ("invalid type: map,", "invalid type: a section,"),
    ("invalid type: sequence,", "invalid type: a list,"),
    ("invalid socket address syntax", "no address with a port, expected one as in 127.0.0.1:8000"),
];

/// Says types in a person's words, and adds the nearest spelling to serde's
/// "unknown field/variant" messages, which list what was expected between
/// backticks.
pub fn explain(message: &str) -> String {
    let mut message = message.trim_end().to_string();
    for (found, words) in FOUND {
        message = message.replace(found, words);
    }
    if let Some(start) = message.rfind(", expected ").map(|comma| comma + ", expected ".len()) {
        let name = message[start..].lines().next().unwrap_or_default();
        let said = EXPECTED.iter().find(|(names, _)| names.contains(&name)).map(|(_, words)| *words);
        let end = start + name.len();
        if let Some(words) = said.or(name.starts_with("struct ").then_some("a section")) {
            message.replace_range(start..end, words);
        }
    }
    if let Some(start) = message.find("unknown field `").or_else(|| message.find("unknown variant `")) {
        // What follows is where it stands.
        let said = message[start..].split("\nin `").next().unwrap_or_default();
        let names: Vec<&str> = said.split('`').skip(1).step_by(2).collect();
        let nearest = names.split_first().and_then(|(found, expected)| nearest(found, expected.iter().copied()));
        let hint = nearest.map(|name| format!("\ndid you mean `{name}`?"));
        message.push_str(&hint.unwrap_or_default());
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_finds_typos_and_refuses_strangers() {
        assert_eq!(nearest("clik", ["click", "cart"]), Some("click"));
        assert_eq!(nearest("exprets", ["experts", "expert_units"]), Some("experts"));
        assert_eq!(nearest("zebra", ["click", "cart"]), None);
        assert_eq!(nearest("Click", ["click", "cart"]), Some("click"));
        assert_eq!(nearest("x", ["u", "y"]), None, "no letter is right");
    }

    #[test]
    fn types_are_told_in_a_persons_words() {
        assert_eq!(
            explain("invalid type: string \"six\", expected usize\nin `model.experts`\n"),
            "invalid type: string \"six\", expected a whole number that is not negative\nin `model.experts`"
        );
        assert_eq!(
            explain("invalid type: integer `2`, expected a boolean"),
            "invalid type: integer `2`, expected true or false"
        );
        assert_eq!(explain("invalid type: map, expected a sequence"), "invalid type: a section, expected a list");
        assert_eq!(
            explain("invalid type: integer `4`, expected struct Http\n"),
            "invalid type: integer `4`, expected a section"
        );
        let text = "invalid type: integer `2`, expected a string\nin `model.name`";
        assert_eq!(explain(text), text);
    }

    #[test]
    fn explain_reads_serde_messages() {
        let said = explain("unknown field `epoch`, expected one of `epochs`, `seed`");
        assert!(said.ends_with("did you mean `epochs`?"), "{said}");
        let placed = "unknown field `layers_that_are_hidden`, expected `experts`\nin `model.layers_that_are_hidden`";
        assert_eq!(explain(placed), placed, "where a name stands is no other spelling of it");
    }
}
