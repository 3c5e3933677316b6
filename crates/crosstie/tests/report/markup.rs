//! Markup that a browser need not mend.

/// Refuses a page whose tags do not match, or that fetches anything; the names of all its
/// elements.
///
/// # Panics
/// With the place, where it is not well-formed.
pub fn check(page: &str) -> Vec<String> {
    const VOID: [&str; 2] = ["meta", "br"];
    let (mut open, mut seen): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    let body = page.strip_prefix("<!doctype html>").expect("a page begins with its type");
    for (index, part) in body.split('<').enumerate().skip(1) {
        let near = || part.chars().take(80).collect::<String>();
        let (tag, text) = part.split_once('>').unwrap_or_else(|| panic!("part {index}: no end: {}", near()));
        assert!(!text.contains('>'), "part {index}: {}", near());
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "part {index}: {}", near());
            continue;
        }
        let name = tag.split([' ', '/', '\n']).next().unwrap_or_default().to_string();
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric()), "part {index}: {}", near());
        assert!(tag.matches('"').count().is_multiple_of(2), "part {index}: quotes: {}", near());
        for (place, _) in tag.match_indices("=\"") {
            let attribute = tag[..place].rsplit(' ').next().unwrap_or_default();
            let known = ["lang", "charset", "name", "content", "class", "id", "href", "style", "role"];
            let drawn = ["viewBox", "x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "width", "height", "points"];
            let other = ["text-anchor", "aria-label", "aria-hidden", "preserveAspectRatio"];
            let all = [&known[..], &drawn, &other].concat();
            assert!(all.contains(&attribute), "attribute {attribute}: {}", near());
            assert!(attribute != "href" || tag[place..].starts_with("=\"#"), "a link within the page: {}", near());
        }
        if !tag.ends_with('/') && !VOID.contains(&name.as_str()) {
            open.push(name.clone());
        }
        seen.push(name);
    }
    assert!(open.is_empty(), "not closed: {open:?}");
    assert!(!seen.iter().any(|name| ["script", "link", "iframe", "img", "object"].contains(&name.as_str())));
    assert!(!page.contains("://") && !page.contains("@import") && !page.contains("url("), "nothing is fetched");
    seen
}

/// What stands in all elements of a name.
pub fn texts(page: &str, element: &str) -> Vec<String> {
    let (open, close) = (format!("<{element}"), format!("</{element}>"));
    let parts = page.split(&open).skip(1).filter(|part| part.starts_with([' ', '>']));
    parts.filter_map(|part| Some(part.split_once('>')?.1.split_once(&close)?.0.to_string())).collect()
}
