//! How far predictions come true, what the top of the ranking holds, and how predictions
//! are spread.

use super::figures::meanings;
use crate::metric::{Bin, Bucket, Curves, Meaning};
use crate::page::{Axis, Interval, Page, Plot, count, legend, panels, percent, plain, share_tick, table};
use crate::report::{Calibrated, Findings, TaskFacts};

/// The curves that there are, with what they are called.
fn all(findings: &Findings) -> Vec<(String, Meaning, &TaskFacts, &Calibrated)> {
    let Some(seen) = &findings.seen else { return Vec::new() };
    let of_task = |task| meanings(task).map(move |(meaning, name)| (task, meaning, name));
    let drawn = findings.tasks.iter().flat_map(of_task).filter_map(|(task, meaning, name)| {
        let curves = seen.tasks.get(&task.name)?;
        let curves = match meaning {
            Meaning::GivenParent => curves.given_parent.as_ref(),
            Meaning::FromImpression => curves.from_impression.as_ref(),
        };
        Some((name, meaning, task, curves?))
    });
    drawn.collect()
}

/// The rows that curves are of.
fn rows(findings: &Findings) -> String {
    let on = &findings.on;
    match &findings.seen {
        Some(seen) if seen.drawn < seen.rows => {
            format!("{} rows drawn by lot from the {} of the {on}", count(seen.drawn), count(seen.rows))
        }
        _ => format!("the {} rows of the {on}", count(findings.figures.rows)),
    }
}

pub fn reliability(page: &mut Page, findings: &Findings) {
    // Of rows without a positive there is only the bottom line.
    let all: Vec<_> = all(findings).into_iter().filter(|(_, _, _, curves)| curves.curves.positives > 0).collect();
    if all.is_empty() {
        return;
    }
    page.section("Reliability");
    let calibrated = all.iter().any(|(_, _, _, curves)| curves.uncalibrated.is_some());
    let mut marks = vec![("point", "the model, with 95 % of chance"), ("guide", "as often as predicted")];
    if calibrated {
        marks.insert(1, ("point two", "its network before calibration"));
    }
    page.push(legend(&marks));
    let panel = |(name, _, _, curves): &(String, Meaning, &TaskFacts, &Calibrated)| {
        (name.clone(), drawn_reliability(name, curves))
    };
    let mut lines = Vec::new();
    for (name, _, _, Calibrated { curves, uncalibrated }) in &all {
        let told = |which: &str, curves: &Curves| -> Vec<Vec<String>> {
            let line = |bin: &Bin| {
                let between = format!("{} to {}", percent(Some(bin.low)), percent(Some(bin.high)));
                let numbers = [count(bin.rows), percent(Some(bin.predicted)), percent(Some(bin.happened)), between];
                [name.clone(), which.into()].into_iter().chain(numbers).collect()
            };
            curves.reliability.iter().map(line).collect()
        };
        lines.extend(told("model", curves));
        lines.extend(uncalibrated.iter().flat_map(|curves| told("network", curves)));
    }
    let caption = format!(
        "How often an action happened (up) where it was predicted so often (across), both in per cent of the rows on \
         logarithmic axes, by tenths of {} in the order of their predictions. Bars hold 95 % of what the labels leave \
         open (Wilson); a tenth where nothing happened lies on the bottom.",
        rows(findings)
    );
    let header = ["of", "said by", ">rows", ">predicted", ">happened", ">95 % of chance"];
    page.figure(&caption, &panels(&all.iter().map(panel).collect::<Vec<_>>()), &table(&header, lines));
}

fn drawn_reliability(name: &str, Calibrated { curves, uncalibrated }: &Calibrated) -> String {
    let bins = || curves.reliability.iter().chain(uncalibrated.iter().flat_map(|curves| &curves.reliability));
    let shown = bins().flat_map(|bin| [bin.predicted, bin.happened]).filter(|share| *share > 0.0);
    let Interval { low, high } = Interval::of(shown).unwrap_or(Interval { low: 0.01, high: 1.0 });
    let (low, high) = (low / 1.6, (high * 1.6).min(1.0));
    let axis = |title| Axis::logarithmic(title, low, high, share_tick);
    let mut plot = Plot::new(axis("predicted"), axis("happened"));
    plot.line("guide", [(low, low), (high, high)]);
    for bin in uncalibrated.iter().flat_map(|curves| &curves.reliability) {
        plot.dot("point two", (bin.predicted, bin.happened));
    }
    for bin in &curves.reliability {
        plot.whisker("whisker", bin.predicted, bin.low, bin.high);
        plot.dot("point", (bin.predicted, bin.happened));
    }
    let last = curves.reliability.last();
    let told = last.map(|bin| {
        format!("in the top tenth {} predicted, {} happened", percent(Some(bin.predicted)), percent(Some(bin.happened)))
    });
    plot.svg(&format!("{name}: {}", told.unwrap_or_default()))
}

/// Shares of the rows that the table of lifts tells of.
const TOLD: [f64; 6] = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5];

pub fn ranking(page: &mut Page, findings: &Findings) {
    let all: Vec<_> = all(findings).into_iter().filter(|(_, _, _, curves)| !curves.curves.gain.is_empty()).collect();
    if all.is_empty() {
        return;
    }
    page.section("Gain and lift");
    let at = |curves: &Curves, share: f64| curves.gain.iter().copied().find(|gain| gain.share == share);
    let shares: Vec<String> = TOLD.iter().map(|share| format!(">top {}", share_tick(*share))).collect();
    let header: Vec<&str> =
        ["of", ">rows", ">positives"].into_iter().chain(shares.iter().map(String::as_str)).collect();
    let told = |of: &dyn Fn(crate::metric::Gain) -> String| -> String {
        let row = |(name, _, _, Calibrated { curves, .. }): &(String, Meaning, &TaskFacts, &Calibrated)| {
            let cells = TOLD.map(|share| at(curves, share).map_or("-".into(), of));
            [name.clone(), count(curves.rows), count(curves.positives)].into_iter().chain(cells).collect()
        };
        table(&header, all.iter().map(row))
    };
    page.push(legend(&[("", "by the model's ranking"), ("guide", "by chance")]));
    let gain = |(name, _, _, Calibrated { curves, .. }): &(String, Meaning, &TaskFacts, &Calibrated)| {
        let mut plot = Plot::new(
            Axis::linear("of the rows, from the top", 0.0, 1.0, share_tick),
            Axis::linear("of the positives", 0.0, 1.0, share_tick),
        );
        plot.line("guide", [(0.0, 0.0), (1.0, 1.0)]);
        let points = curves.gain.iter().map(|gain| (gain.share, gain.positives));
        plot.line("line", [(0.0, 0.0)].into_iter().chain(points));
        let tenth = at(curves, 0.1).map(|gain| percent(Some(gain.positives)));
        (name.clone(), plot.svg(&format!("{name}: the top tenth holds {}", tenth.unwrap_or_default())))
    };
    let caption = format!(
        "Gain: which share of the positives the rows with the highest predictions hold, in per cent, on {}; given the \
         parent on those where it happened.",
        rows(findings)
    );
    let drawn: Vec<(String, String)> = all.iter().map(gain).collect();
    page.figure(&caption, &panels(&drawn), &told(&|gain| percent(Some(gain.positives))));
    let lift = |(name, _, _, Calibrated { curves, .. }): &(String, Meaning, &TaskFacts, &Calibrated)| {
        let most = curves.gain.iter().map(crate::metric::Gain::lift).fold(1.0, f64::max);
        let mut plot = Plot::new(
            Axis::logarithmic("of the rows, from the top", 0.01, 1.0, share_tick),
            Axis::linear("times chance", 0.0, 1.05 * most, plain),
        );
        plot.line("guide", [(0.01, 1.0), (1.0, 1.0)]);
        plot.line("line", curves.gain.iter().map(|gain| (gain.share, gain.lift())));
        let tenth = at(curves, 0.1).map(|gain| format!("{:.2}", gain.lift()));
        (name.clone(), plot.svg(&format!("{name}: {} times chance in the top tenth", tenth.unwrap_or_default())))
    };
    let caption = "Lift: how many times as many positives the rows with the highest predictions hold as rows drawn at \
                   random, on the same rows.";
    let drawn: Vec<(String, String)> = all.iter().map(lift).collect();
    page.figure(caption, &panels(&drawn), &told(&|gain| format!("{:.2}", gain.lift())));
}

pub fn histograms(page: &mut Page, findings: &Findings) {
    let all = all(findings);
    if all.is_empty() {
        return;
    }
    page.section("Predictions");
    page.push(legend(&[("two", "rows where it happened"), ("", "rows where it did not")]));
    let panel = |(name, _, _, Calibrated { curves, .. }): &(String, Meaning, &TaskFacts, &Calibrated)| {
        (name.clone(), drawn_histogram(name, curves))
    };
    let caption = format!(
        "How predictions are spread: of the rows where an action happened, and of those where it did not, the share \
         whose prediction lies in each interval, in per cent, on {}. Intervals are of one width in log-odds.",
        rows(findings)
    );
    let mut lines = Vec::new();
    for (name, _, _, Calibrated { curves, .. }) in &all {
        let line = |bucket: &Bucket| {
            let between = format!("{} to {}", percent(Some(bucket.low)), percent(Some(bucket.high)));
            vec![name.clone(), between, plain(bucket.positives), plain(bucket.negatives)]
        };
        lines.extend(curves.histogram.iter().map(line));
    }
    let header = ["of", "predicted", ">happened", ">did not"];
    page.figure(&caption, &panels(&all.iter().map(panel).collect::<Vec<_>>()), &table(&header, lines));
}

fn log_odds(p: f64) -> f64 {
    (p / (1.0 - p)).ln()
}

/// Rows of one class in an interval.
type Rows = fn(&Bucket) -> f64;

fn drawn_histogram(name: &str, curves: &Curves) -> String {
    let buckets = &curves.histogram;
    let mass = |of: Rows| buckets.iter().map(of).sum::<f64>();
    let classes: [(&str, Rows); 2] = [("line", |bucket| bucket.negatives), ("line two", |bucket| bucket.positives)];
    let highest = |of: Rows| buckets.iter().map(|bucket| of(bucket) / mass(of).max(1e-9)).fold(0.0, f64::max);
    let most = classes.iter().map(|(_, of)| highest(*of)).fold(0.0, f64::max);
    let (Some(first), Some(last)) = (buckets.first(), buckets.last()) else { return String::new() };
    let (low, high) = (log_odds(first.low), log_odds(last.high));
    let marks = [1e-6, 1e-5, 1e-4, 0.001, 0.01, 0.03, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.97, 0.99, 0.999];
    let inside: Vec<f64> = marks.into_iter().filter(|p| (low..=high).contains(&log_odds(*p))).collect();
    let every = inside.len().div_ceil(5).max(1);
    let mut ticks: Vec<(f64, String)> =
        inside.into_iter().rev().step_by(every).map(|p| (log_odds(p), share_tick(p))).collect();
    ticks.reverse();
    let mut plot = Plot::new(
        Axis::marked("predicted", low, high, ticks),
        Axis::linear("of the rows", 0.0, 1.05 * most, share_tick),
    );
    for (class, of) in classes {
        let all = mass(of);
        if all > 0.0 {
            let step = |bucket: &Bucket| {
                let share = of(bucket) / all;
                [(log_odds(bucket.low), share), (log_odds(bucket.high), share)]
            };
            let ends = [(low, 0.0), (high, 0.0)];
            plot.line(class, [ends[0]].into_iter().chain(buckets.iter().flat_map(step)).chain([ends[1]]));
        }
    }
    let told = format!("{name}: predictions from {} to {}", percent(Some(first.low)), percent(Some(last.high)));
    plot.svg(&told)
}
