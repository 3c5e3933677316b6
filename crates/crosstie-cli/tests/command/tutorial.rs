//! The tutorial in the documents does what it says.

use std::path::Path;
use std::process::Command;

use crate::place::{Place, Ran, csv};

/// The fenced blocks of a page, each with its language.
fn blocks(page: &str) -> Vec<(&str, &str)> {
    let fenced = page.split("\n```").skip(1).step_by(2);
    fenced.filter_map(|block| block.split_once('\n')).collect()
}

#[test]
fn every_command_of_the_tutorial_runs() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/your-own-log.md");
    let page = std::fs::read_to_string(page).unwrap();
    let place = Place::new();
    let binary = Path::new(env!("CARGO_BIN_EXE_crosstie")).parent().unwrap();
    let path = std::env::join_paths(
        [binary.to_path_buf()].into_iter().chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    );
    let path = path.unwrap();
    let mut commands = 0;
    for (language, text) in blocks(&page) {
        match (language, text.lines().next().and_then(|line| line.strip_prefix("# "))) {
            ("toml", Some(name)) => place.write(name, text),
            ("sh", _) => {
                let mut shell = Command::new("sh");
                shell.args(["-ec", text]).current_dir(place.path(".")).env("PATH", &path);
                Ran::new(text, shell.output().unwrap()).exit(0);
                commands += 1;
            }
            _ => {}
        }
    }
    assert!(commands >= 7, "{commands} blocks of commands");
    assert_eq!(csv(&place.path("log.csv")).len(), 20_001);
    let scores = csv(&place.path("scores.csv"));
    assert_eq!(scores[0], ["user", "product", "p_click", "joint_click", "p_buy", "joint_buy"]);
    let shown = "user,product,p_click,joint_click,p_buy,joint_buy";
    assert!(page.contains(shown) && !page.contains("\nTRAIN\n"), "the page shows what the commands print");
}
