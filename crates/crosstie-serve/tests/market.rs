//! An experiment in a market that the server's own code serves.

#![allow(clippy::unwrap_used)]

mod common;

use std::path::{Path, PathBuf};

use crosstie::experiment::{Contract, LogConfig, MarketConfig, MarketReport, Status};
use crosstie_serve::experiments::kept::Kept;
use crosstie_serve::log::join::Joined;
use crosstie_serve::market::{self, MarketError};

use common::artifact;

const CONTRACT: &str = "name = \"t\"\nunit = \"user_id\"\n[[arm]]\nname = \"one\"\nmodel = \"a\"\nshare = 50\n\
                        [[arm]]\nname = \"two\"\nmodel = \"b\"\nshare = 50\n[[step]]\ntraffic = 50\n\
                        minimum_hours = 48\n[[step]]\ntraffic = 100\nminimum_hours = 48\n";

/// A market of the log that the models of these tests are trained on.
fn config(budget: f64) -> MarketConfig {
    let log = LogConfig { rows: 3_000, ..LogConfig::default() };
    let market =
        MarketConfig { days: 6, before_days: 2, auctions: 2, candidates: 6, slots: 2, ..MarketConfig::default() };
    MarketConfig { task: "click".into(), window_days: 1, budget, log, ..market }
}

fn run(config: &MarketConfig, models: [u64; 2], directory: &Path) -> MarketReport {
    let contract = Contract::parse(CONTRACT).unwrap();
    market::run(config, &contract, &models.map(artifact), directory, &mut |_| Ok(())).unwrap()
}

#[test]
fn the_server_assigns_ranks_logs_and_ramps() {
    let place = tempfile::tempdir().unwrap();
    let report = run(&config(0.0), [1, 2], place.path());
    let steps: Vec<(usize, Status)> = report.days.iter().map(|day| (day.state.step, day.state.status)).collect();
    use Status::{Done, Running};
    assert_eq!(steps, [(0, Running), (0, Running), (1, Running), (1, Running), (1, Done), (1, Done)]);
    assert_eq!(report.state, Kept::read(&place.path().join("experiments/t.toml")).unwrap().state().unwrap().unwrap());

    // What is reported is what the log says.
    let contract = Contract::parse(CONTRACT).unwrap();
    let joined = Joined::read(&[place.path().join("log")]).unwrap();
    let (mut shown, mut before) = ([0, 0], 0);
    let unmatched = joined.each(|exposure, outcomes| {
        let place = exposure.arm.as_ref().map(|arm| contract.arm(arm).unwrap());
        if let Some(arm) = place {
            shown[arm] += exposure.candidates.len() as u64;
            assert_eq!(exposure.model, contract.arms[arm].model);
        } else {
            assert_eq!(exposure.model, if exposure.time < begin(4) { "a" } else { "b" }, "the control, or the winner");
        }
        before += usize::from(exposure.experiment.is_none() && exposure.time < begin(0));
        assert!(exposure.candidates.is_sorted_by(|one, next| one.score >= next.score));
        assert!(outcomes.iter().all(|outcome| outcome.time >= exposure.time));
        Ok(())
    });
    assert_eq!((unmatched.unwrap().requests, joined.actions().len()), (0, 5));
    assert!(before > 20, "{before} requests of the days before");
    assert_eq!(report.measured.arms.iter().map(|arm| arm.impressions).collect::<Vec<_>>(), shown);
    let lift = |adjusted: bool| {
        let ecpm = report.measured.differences.iter().find(|difference| difference.measure == "eCPM").unwrap();
        if adjusted { ecpm.adjusted } else { ecpm.plain }
    };
    assert!(lift(true).is_some() && lift(true) != lift(false), "the days before are known of");
    let calibration = report.measured.arms[0].calibration["click"];
    assert!(calibration.rows > 50 && (0.5..2.0).contains(&calibration.pcoc().unwrap()), "{calibration:?}");
}

/// When a day of the experiment begins.
fn begin(day: i64) -> crosstie_serve::log::Time {
    crosstie_serve::log::Time::parse("2026-01-03T00:00:00Z").unwrap().after(day * 86_400_000_000)
}

#[test]
fn equal_models_have_no_true_lift_and_a_market_is_the_same_each_time() {
    let places = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [one, two] = places.each_ref().map(|place| run(&config(0.0), [1, 1], place.path()));
    assert_eq!((&one.truth[..], &one.days[5].truth[..]), (&[0.0][..], &[0.0][..]));
    assert_eq!(one, two);
}

#[test]
fn budgets_bound_what_is_earned() {
    let places = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [rich, poor] =
        [(0.0, &places[0]), (0.2, &places[1])].map(|(budget, place)| run(&config(budget), [1, 1], place.path()));
    assert!(poor.ecpm[0] < rich.ecpm[0], "{:?} {:?}", poor.ecpm, rich.ecpm);
}

#[test]
fn models_that_do_not_fit_the_arms_are_told() {
    let place = tempfile::tempdir().unwrap();
    let fails = |config: &MarketConfig, contract: &str, models: [PathBuf; 2]| {
        let contract = Contract::parse(contract).unwrap();
        let done: Result<_, MarketError> = market::run(config, &contract, &models, place.path(), &mut |_| Ok(()));
        done.unwrap_err().to_string()
    };
    let said = fails(&config(0.0), &CONTRACT.replace("\"b\"", "\"a\""), [1, 2].map(artifact));
    assert!(said.contains("arms `one` and `two` are both served by `a`"), "{said}");
    let said = fails(&config(0.0), &CONTRACT.replace("\"b\"", "\"b:new\""), [1, 2].map(artifact));
    assert!(said.contains("the version in \"b:new\" is no whole number"), "{said}");
}
