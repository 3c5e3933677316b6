//! Pages, whatever is on them.

use crosstie::page::{Axis, Cell, Interval, Page, Plot, Strip, escaped, legend, panels, plain, table, table_of};

use super::markup::{check, texts};

fn ticks(axis: Axis) -> Vec<String> {
    let plot = Plot::new(axis, Axis::marked("", 0.0, 1.0, Vec::new()));
    texts(&plot.svg(""), "text").into_iter().filter(|text| !text.is_empty()).collect()
}

#[test]
fn ticks_are_round_and_few() {
    assert_eq!(ticks(Axis::linear("", 0.0, 1.0, plain)), ["0", "0.2", "0.4", "0.6", "0.8", "1"]);
    assert_eq!(ticks(Axis::linear("", 0.71, 0.79, plain)), ["0.72", "0.74", "0.76", "0.78"]);
    assert_eq!(ticks(Axis::linear("", -1.0, 3.0, plain)), ["-1", "0", "1", "2", "3"]);
    assert_eq!(ticks(Axis::logarithmic("", 0.003, 0.7, plain)), ["0.005", "0.01", "0.05", "0.1", "0.5"]);
    assert_eq!(ticks(Axis::logarithmic("", 0.1, 0.5, plain)), ["0.1", "0.2", "0.5"]);
}

#[test]
fn an_axis_of_one_number_has_room_around_it() {
    for axis in [Axis::linear("", 2.0, 2.0, plain), Axis::logarithmic("", 2.0, 2.0, plain), Axis::around("", [], plain)]
    {
        let mut plot = Plot::new(axis.clone(), axis);
        plot.dot("point", (2.0, 2.0));
        assert!(!plot.svg("").contains("NaN"), "{}", plot.svg(""));
    }
}

#[test]
fn a_point_lies_where_its_numbers_say() {
    let mut plot = Plot::new(Axis::linear("", 0.0, 10.0, plain), Axis::logarithmic("", 0.01, 1.0, plain));
    plot.dot("point", (5.0, 0.1));
    plot.dot("corner", (0.0, 0.01));
    plot.dot("other", (10.0, 1.0));
    let svg = plot.svg("");
    let at = |class: &str| -> (f64, f64) {
        let dot = svg.split("<circle ").find(|part| part.starts_with(&format!("class=\"{class}\""))).unwrap();
        let number =
            |name: &str| dot.split(&format!("{name}=\"")).nth(1).unwrap().split('"').next().unwrap().parse().unwrap();
        (number("cx"), number("cy"))
    };
    let (middle, first, last) = (at("point"), at("corner"), at("other"));
    // 5 is half of the way from 0 to 10, and 0.1 from 0.01 to 1 in logarithms; up is up.
    assert!((middle.0 - (first.0 + last.0) / 2.0).abs() < 0.11 && (middle.1 - (first.1 + last.1) / 2.0).abs() < 0.11);
    assert!(first.0 < last.0 && first.1 > last.1);
}

#[test]
fn numbers_have_as_few_digits_as_tell_them() {
    let told = [0.5, 120.0, 12_345.6, 0.012_346, -0.25, 0.0, 1e-12, 1.0].map(plain);
    assert_eq!(told, ["0.5", "120", "12346", "0.01235", "-0.25", "0", "1.0e-12", "1"]);
}

#[test]
fn names_are_no_markup() {
    assert_eq!(escaped("<b a=\"1\">&"), "&lt;b a=&quot;1&quot;&gt;&amp;");
    let name = "<script src=\"x\">&'</script>";
    let mut page = Page::new(name);
    page.say(name);
    page.warn(name);
    page.remark(name);
    page.section(name);
    let mut plot = Plot::new(Axis::linear(name, 0.0, 1.0, |_| name.into()), Axis::linear(name, 0.0, 1.0, plain));
    plot.line("line", [(0.0, 0.0), (1.0, 1.0)]);
    page.figure(name, &panels(&vec![(name.into(), plot.svg(name)); 12]), &table(&[name], [vec![name.into()]]));
    let cells =
        vec![Cell::Text(name.into()), Cell::Name(name.into()), Cell::Number(name.into()), Cell::Heat(0.5, name.into())];
    page.push(table_of(&[name, name, name, name], &[cells]));
    page.push(legend(&[("line", name)]));
    let page = page.finish();
    check(&page);
    assert!(page.matches("&lt;script src=&quot;x&quot;&gt;&amp;").count() > 40);
}

#[test]
fn a_name_keeps_what_marks_numbers_in_a_heading() {
    let table = table(&[">>a", "b"], [vec![">1".into(), ">2".into()]]);
    assert_eq!(texts(&table, "th"), ["&gt;a", "b"]);
    assert_eq!(texts(&table, "td"), ["&gt;1", "&gt;2"]);
}

#[test]
fn a_strip_draws_its_number_on_the_stretch_of_all() {
    let within = Interval { low: 0.0, high: 2.0 };
    let interval = Some(Interval { low: 0.5, high: 1.5 });
    let bar = Strip { within, bar_from: Some(0.0), value: Some(1.0), interval, rule: None };
    let drawn = table_of(&[""], &[vec![Cell::Drawn(bar.clone())]]);
    assert!(drawn.contains("<rect class=\"bar\" x=\"0.00\" y=\"2\" width=\"50.00\""), "{drawn}");
    assert!(drawn.contains("<rect class=\"tick\" x=\"25.00\" y=\"4\" width=\"50.00\""), "{drawn}");
    let nothing = table_of(&[""], &[vec![Cell::Drawn(Strip { value: None, ..bar })]]);
    assert_eq!(nothing.matches("<rect").count(), 1, "the stretch alone: {nothing}");
}

#[test]
fn many_panels_are_shown_when_asked_for() {
    let of = |count: usize| panels(&vec![("a".to_string(), "<svg></svg>".to_string()); count]);
    assert!(!of(8).contains("<details>") && !of(9).contains("<details>"));
    assert_eq!(texts(&of(20), "summary"), ["12 more"]);
    assert_eq!(of(20).matches("<svg>").count(), 20);
}
