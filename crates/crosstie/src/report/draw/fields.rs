//! How much fields matter, and whether they are as they were in training.

use super::subject;
use crate::metric::Meaning;
use crate::page::{Cell, Interval, Page, Strip, count, details, figure, panels, percent, table, table_of};
use crate::report::{Effect, Findings, Importance, Shifted};

/// Fields drawn of each task; the others are in the table.
const DRAWN: usize = 15;

/// Standard errors on either side that hold 95 %.
const SURE: f64 = 1.96;

pub fn importance(page: &mut Page, findings: &Findings) {
    let Some(importance) = findings.seen.as_ref().and_then(|seen| seen.importance.as_ref()) else { return };
    let shown: Vec<usize> =
        (0..findings.tasks.len()).filter(|task| importance.logloss.get(*task).is_some_and(Option::is_some)).collect();
    if shown.is_empty() {
        return;
    }
    page.section("Fields");
    let name = |task: usize| {
        let meaning = importance.meanings.get(task).copied().unwrap_or(Meaning::FromImpression);
        subject(&findings.tasks[task], meaning)
    };
    let drawn: Vec<(String, String)> = shown
        .iter()
        .map(|task| {
            let rows = count(importance.rows[*task]);
            (format!("{} ({rows} rows)", name(*task)), drawn(importance, *task))
        })
        .collect();
    let names: Vec<String> = shown.iter().map(|task| format!(">{}", name(*task))).collect();
    let header: Vec<&str> = ["field"].into_iter().chain(names.iter().map(String::as_str)).collect();
    let rows = importance.fields.iter().map(|field| {
        let told = |task: &usize| match field.tasks[*task] {
            Some(Effect { change, error }) => format!("{change:+.5} ± {error:.5}"),
            None => "-".into(),
        };
        [field.name.clone()].into_iter().chain(shown.iter().map(told)).collect()
    });
    let more = match importance.fields.len().saturating_sub(DRAWN) {
        0 => String::new(),
        _ => format!(" The {DRAWN} fields that matter most are drawn; all are among the numbers."),
    };
    let caption = format!(
        "Importance of fields: by how much the log-loss grows, in nats per row, when a field's values are handed around \
         among rows drawn by lot from the {}, with 95 % of chance. Fields that tell the same hide each other.{more}",
        findings.on
    );
    page.figure(&caption, &panels(&drawn), &table(&header, rows));
}

fn drawn(importance: &Importance, task: usize) -> String {
    let mut fields: Vec<(&str, Effect)> =
        importance.fields.iter().filter_map(|field| Some((field.name.as_str(), field.tasks[task]?))).collect();
    fields.sort_by(|(_, a), (_, b)| b.change.total_cmp(&a.change));
    fields.truncate(DRAWN);
    let interval = |effect: &Effect| Interval {
        low: effect.change - SURE * effect.error,
        high: effect.change + SURE * effect.error,
    };
    let ends = fields.iter().map(|(_, effect)| interval(effect)).flat_map(|interval| [interval.low, interval.high]);
    let within = Interval::of(ends.chain([0.0])).unwrap_or(Interval { low: 0.0, high: 1.0 });
    let row = |(name, effect): &(&str, Effect)| {
        let strip = Strip {
            within,
            bar_from: Some(0.0),
            value: Some(effect.change),
            interval: Some(interval(effect)),
            rule: Some(0.0),
        };
        vec![Cell::Name((*name).into()), Cell::Drawn(strip), Cell::Number(format!("{:+.4}", effect.change))]
    };
    let whole = format!("log-loss {}", figure(importance.logloss[task]));
    table_of(&["", &whole, ">+"], &fields.iter().map(row).collect::<Vec<_>>())
}

pub fn drift(page: &mut Page, findings: &Findings) {
    let Some(seen) = findings.seen.as_ref().filter(|seen| !seen.shifts.is_empty()) else { return };
    page.section("Drift");
    seen.drift.iter().for_each(|sentence| page.warn(sentence));
    if seen.drift.is_empty() {
        page.say(&format!("The {} are like the training rows, but for what chance explains.", findings.on));
    }
    let row = |shifted: &Shifted| {
        let value = |x: f64| if shifted.is_share { percent(Some(x)) } else { format!("{x:.2}") };
        let told = if shifted.told { "!" } else { "" };
        let numbers = [shifted.training, shifted.found].map(value);
        let [training, found] = numbers;
        vec![
            shifted.name.clone(),
            shifted.what.clone(),
            training,
            found,
            format!("± {}", value(shifted.chance)),
            told.into(),
        ]
    };
    let caption = format!(
        "What was counted of the training rows and of the {}, what matters most first: shares of rows or values \
         in per cent, means in standard deviations of training. ! marks what matters and is more than chance explains.",
        findings.on
    );
    let header = ["of", "what", ">in training", ">here", ">by chance", ""];
    let numbers = table(&header, seen.shifts.iter().map(row));
    page.push(format!("<p class=\"dim\">{}</p>", crate::page::escaped(&caption)));
    page.push(details("Numbers", &numbers));
}
