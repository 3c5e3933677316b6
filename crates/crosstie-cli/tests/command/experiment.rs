//! Where an experiment stands, and what is decided by hand.

use crate::place::Place;

const FILE: &str = r#"
    name = "trial"
    unit = "user"
    [[arm]]
    name = "before"
    model = "single"
    share = 80
    [[arm]]
    name = "after"
    model = "ektm:3"
    share = 20
    [[step]]
    traffic = 10
    [[step]]
    traffic = 50
"#;

#[test]
fn what_is_decided_by_hand_is_kept_and_told() {
    let place = Place::new();
    place.write("trial.toml", FILE);
    place.ok("experiment status trial.toml").prints(&["trial: not started"]);
    place.run("experiment advance trial.toml").exit(1).says(&["`trial` was not started"]);
    place.write("trial.state.json", r#"{"step":0,"since":7,"status":"running","reason":"started"}"#);
    place.ok("experiment status trial.toml").prints(&[
        "trial: running",
        "step 1 of 2: 10 % take part, by user",
        "before (single): 8 % of all",
        "after (ektm:3): 2 % of all",
    ]);
    place.ok("experiment advance trial.toml").prints(&[
        "running for 0.0 hours",
        "step 2 of 2",
        "(ektm:3): 10 % of all",
    ]);
    place.ok("experiment roll-back trial.toml").prints(&["trial: rolled back for 0.0 hours, by hand"]);
    place.run("experiment advance trial.toml").exit(1).says(&["runs no more (rolled back); `restart` begins anew"]);
    place.ok("experiment restart trial.toml").prints(&["step 1 of 2"]);
    place.ok("experiment stop trial.toml").prints(&["trial: stopped"]);
    place.ok("experiment status trial.toml").prints(&["trial: stopped"]);
}

#[test]
fn a_state_that_is_none_is_named() {
    let place = Place::new();
    place.write("trial.toml", FILE);
    place.write("trial.state.json", "{");
    place.run("experiment status trial.toml").exit(1).says(&["trial.state.json", "no state"]);
    place.run("experiment status trail.toml").exit(1).says(&["trail.toml"]);
    place.run("experiment pause trial.toml").exit(2).says(&["pause", "roll-back"]);
}
