//! Pages for a browser, each one file: no scripts, nothing fetched, light and dark, as
//! wide as a phone or a desk. What they are about, others know.
//!
//! Drawings are SVG within the page, coloured by the page's style; so one drawing is
//! right in light, in dark and on paper.

mod number;
mod plot;
mod strip;
mod table;

use std::fmt::Write;

pub use number::{count, figure, percent, plain, signed_percent};
pub use plot::{Axis, Plot, share_tick};
pub use strip::{Interval, Strip};
pub use table::{Cell, table, table_of};

const STYLE: &str = include_str!("style.css");

/// A page that is being written.
#[derive(Debug)]
pub struct Page {
    title: String,
    /// Anchor and heading of each section.
    sections: Vec<(String, String)>,
    head: String,
    body: String,
}

impl Page {
    /// A page of this title, which is plain text.
    pub fn new(title: &str) -> Page {
        Page { title: escaped(title), sections: Vec::new(), head: String::new(), body: String::new() }
    }

    /// Adds markup. Below the title as long as there is no section, else to the last one.
    pub fn push(&mut self, markup: impl AsRef<str>) {
        let into = if self.sections.is_empty() { &mut self.head } else { &mut self.body };
        into.push_str(markup.as_ref());
        into.push('\n');
    }

    /// Adds a paragraph of plain text.
    pub fn say(&mut self, text: &str) {
        self.push(format!("<p>{}</p>", escaped(text)));
    }

    /// Adds a remark, in plain text.
    pub fn remark(&mut self, text: &str) {
        self.push(format!("<p class=\"dim\">{}</p>", escaped(text)));
    }

    /// Adds a warning, in plain text.
    pub fn warn(&mut self, text: &str) {
        self.push(format!("<p class=\"warning\">{}</p>", escaped(text)));
    }

    /// Begins a section. Its anchor is made of the heading, which is plain text.
    pub fn section(&mut self, heading: &str) {
        let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
        let anchor: String = heading.chars().map(letter).collect();
        let heading = escaped(heading);
        let _ = writeln!(self.body, "<h2 id=\"{anchor}\">{heading}</h2>");
        self.sections.push((anchor, heading));
    }

    /// Adds what a drawing shows (plain text), the drawing (markup), and its numbers.
    pub fn figure(&mut self, caption: &str, drawing: &str, numbers: &str) {
        self.push(format!(
            "<figure>\n<figcaption>{}</figcaption>\n{drawing}\n{}</figure>",
            escaped(caption),
            if numbers.is_empty() { String::new() } else { details("Numbers", numbers) + "\n" }
        ));
    }

    /// The whole page. Where there are many sections, links to them come first.
    pub fn finish(self) -> String {
        let Page { title, sections, head, body } = self;
        let links = sections.iter().map(|(anchor, heading)| format!("<a href=\"#{anchor}\">{heading}</a>"));
        let links = match sections.len() {
            0..=5 => String::new(),
            _ => format!("<nav>{}</nav>\n", links.collect::<Vec<_>>().join(" ")),
        };
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
             <style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n{head}{links}{body}</body>\n</html>\n"
        )
    }
}

/// Plain text as markup.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Markup that is shown when asked for.
pub fn details(summary: &str, markup: &str) -> String {
    format!("<details><summary>{}</summary>\n{markup}\n</details>", escaped(summary))
}

/// Panels shown side by side without being asked for.
const PANELS: usize = 8;

/// Drawings side by side, each below its name (plain text); of many, the later ones are
/// shown when asked for.
pub fn panels(panels: &[(String, String)]) -> String {
    let grid = |panels: &[(String, String)]| {
        let panel = |(name, drawing): &(String, String)| {
            format!("<div class=\"panel\"><h3>{}</h3>{drawing}</div>\n", escaped(name))
        };
        format!("<div class=\"panels\">\n{}</div>", panels.iter().map(panel).collect::<String>())
    };
    match panels.split_at_checked(PANELS).filter(|(_, later)| later.len() > 1) {
        Some((first, later)) => {
            format!("{}\n{}", grid(first), details(&format!("{} more", later.len()), &grid(later)))
        }
        None => grid(panels),
    }
}

/// What the colours and lines of drawings stand for: classes of the marks, and plain text.
pub fn legend(marks: &[(&str, &str)]) -> String {
    let mark = |(class, text): &(&str, &str)| format!("<span><i class=\"{class}\"></i>{}</span>", escaped(text));
    format!("<p class=\"legend\">{}</p>", marks.iter().map(mark).collect::<Vec<_>>().join(" "))
}
