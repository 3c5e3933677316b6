//! Tables.

use super::{Strip, escaped};

/// A cell of a table.
#[derive(Clone, Debug)]
pub enum Cell {
    /// Plain text.
    Text(String),
    /// A name, in plain text, which may be long.
    Name(String),
    /// A number, as text.
    Number(String),
    /// A number whose share of the greatest, from 0 to 1, colours the cell.
    Heat(f64, String),
    /// A drawing.
    Drawn(Strip),
}

impl Cell {
    fn markup(&self) -> String {
        match self {
            Cell::Text(text) => format!("<td>{}</td>", escaped(text)),
            Cell::Name(text) => format!("<td class=\"name\">{}</td>", escaped(text)),
            Cell::Number(text) => format!("<td class=\"number\">{}</td>", escaped(text)),
            Cell::Heat(share, text) => {
                format!(
                    "<td class=\"heat\" style=\"--share: {:.2}\">{}</td>",
                    0.6 * share.clamp(0.0, 1.0),
                    escaped(text)
                )
            }
            Cell::Drawn(strip) => format!("<td class=\"drawn\">{}</td>", strip.svg()),
        }
    }
}

/// A table of cells. Columns whose heading, in plain text, begins with `>` hold numbers.
pub fn table_of(header: &[impl AsRef<str>], rows: &[Vec<Cell>]) -> String {
    let heading = |text: &str| match text.strip_prefix('>') {
        Some(text) => format!("<th class=\"number\">{}</th>", escaped(text)),
        None => format!("<th>{}</th>", escaped(text)),
    };
    let header: String = header.iter().map(|text| heading(text.as_ref())).collect();
    let row = |row: &Vec<Cell>| format!("<tr>{}</tr>\n", row.iter().map(Cell::markup).collect::<String>());
    let class = if rows.iter().flatten().any(|cell| matches!(cell, Cell::Drawn(_))) { " class=\"strips\"" } else { "" };
    format!(
        "<div class=\"wide\"><table{class}>\n<tr>{header}</tr>\n{}</table></div>",
        rows.iter().map(row).collect::<String>()
    )
}

/// A table of plain text. Columns whose heading begins with `>` hold numbers; the first one
/// holds names.
pub fn table(header: &[impl AsRef<str>], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let numbers: Vec<bool> = header.iter().map(|text| text.as_ref().starts_with('>')).collect();
    let cell = |(place, text): (usize, String)| match place {
        _ if numbers[place] => Cell::Number(text),
        0 => Cell::Name(text),
        _ => Cell::Text(text),
    };
    let rows: Vec<Vec<Cell>> = rows.into_iter().map(|row| row.into_iter().enumerate().map(cell).collect()).collect();
    table_of(header, &rows)
}
