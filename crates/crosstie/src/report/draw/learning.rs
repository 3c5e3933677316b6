//! Learning curves.

use crate::metric::Meaning;
use crate::page::{Axis, Page, Plot, count, figure, legend, panels, plain, table};
use crate::report::Findings;
use crate::report::history::{History, Reached};

pub fn curves(page: &mut Page, findings: &Findings) {
    let Some(history) = findings.history.as_ref().filter(|history| !history.moments.is_empty()) else { return };
    page.section("Learning curves");
    page.push(legend(&[("", "at each evaluation"), ("kept", "the step whose weights are kept")]));
    let meaning = match history.meaning {
        Meaning::GivenParent => "given the parent action",
        Meaning::FromImpression => "from the impression",
    };
    let monitored = match history.figure.as_str() {
        "ne" => "Normalised entropy",
        "logloss" => "Log-loss (nats per row)",
        "gauc" => "Grouped AUC",
        "ece" => "Expected calibration error",
        _ => "AUC",
    };
    let monitor = &history.monitor;
    let caption = format!("{monitored} {meaning} on the validation rows, by step; early stopping follows {monitor}.");
    draw(page, findings, history, &caption, |reached| reached.figure);
    if monitored != "AUC" {
        let caption = format!("AUC {meaning} on the validation rows, by step.");
        draw(page, findings, history, &caption, |reached| reached.auc);
    }
    let caption = "Mean training loss per row since the evaluation before, by step.";
    draw(page, findings, history, caption, |reached| reached.loss);
}

fn draw(page: &mut Page, findings: &Findings, history: &History, caption: &str, of: fn(&Reached) -> Option<f64>) {
    let last = history.moments.last().map_or(1, |moment| moment.step) as f64;
    let mut drawn = Vec::new();
    for (place, task) in findings.tasks.iter().enumerate() {
        let points: Vec<(f64, f64)> = history
            .moments
            .iter()
            .filter_map(|moment| Some((moment.step as f64, of(moment.tasks.get(&task.name)?)?)))
            .collect();
        if points.is_empty() {
            continue;
        }
        let x = Axis::linear("step", 0.0, last, |step| count(step.max(0.0) as u64));
        let mut plot = Plot::new(x, Axis::around("", points.iter().map(|(_, y)| *y), plain));
        let kept = history.kept.get(place).map(|step| *step as f64);
        kept.iter().for_each(|step| plot.upright("kept", *step));
        plot.line("line", points.iter().copied());
        let at_kept = points.iter().find(|(step, _)| Some(*step) == kept);
        at_kept.iter().for_each(|point| plot.dot("point", **point));
        let kept = at_kept.map(|(step, y)| format!("; kept of step {}: {}", count(*step as u64), figure(Some(*y))));
        let told = format!(
            "{}: from {} to {}",
            task.name,
            figure(points.first().map(|p| p.1)),
            figure(points.last().map(|p| p.1))
        );
        drawn.push((task.name.clone(), plot.svg(&(told + &kept.unwrap_or_default()))));
    }
    if drawn.is_empty() {
        return;
    }
    let names: Vec<String> = findings.tasks.iter().map(|task| format!(">{}", task.name)).collect();
    let header: Vec<&str> = [">step", ">epoch"].into_iter().chain(names.iter().map(String::as_str)).collect();
    let rows = history.moments.iter().map(|moment| {
        let cells = findings.tasks.iter().map(|task| figure(moment.tasks.get(&task.name).and_then(of)));
        [count(moment.step), count(moment.epoch)].into_iter().chain(cells).collect()
    });
    page.figure(caption, &panels(&drawn), &table(&header, rows));
}
