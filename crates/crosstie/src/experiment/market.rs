//! A market in which an experiment is tried before anybody risks traffic: the users and
//! items of a synthetic log, who come by the day, see the winners of auctions, and
//! click and buy with probabilities that are known.
//!
//! An advertiser (a brand) bids for a conversion and has a budget for the day, of which
//! each arm gets the share of its units, so arms do not spend each other's money. A
//! candidate's score is bid × predicted probability; the best are shown, and who
//! converts is charged the bid (first price). Conversions come late; those beyond the
//! window are lost, and a row is known when its window has passed.
//!
//! What is measured is what a real ramp would see. Beside it all users meet every arm's
//! model in expectation, which is the true difference.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::contract::Contract;
use super::ramp::{Count, Decision, Evidence, Ramp, State, Status};
use super::study::{Lift, Settings, Shown, Study, StudyReport};
use crate::data::Rows;
use crate::data::synth::{Crowd, Impression, Synth};
use crate::error::{Error, Result};
use crate::random::Stream;

/// What eCPM is called in the report.
const ECPM: &str = "eCPM";

/// Rows scored at a time, about.
const ROWS: usize = 4096;

/// The settings of a market.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MarketConfig {
    /// Where the chance of visits, auctions and conversions comes from.
    pub seed: u64,
    /// Days that are simulated.
    pub days: u64,
    /// What advertisers pay for: a task of the log.
    pub task: String,
    /// Candidates of an auction.
    pub candidates: u64,
    /// How many of them are shown.
    pub slots: u64,
    /// Mean of a bid, as a share of the item's price.
    pub bid: f64,
    /// Standard deviation of a bid's logarithm, from item to item.
    pub bid_spread: f64,
    /// What a brand spends on a day at most, over all users; 0 means any sum.
    pub budget: f64,
    /// Days until a conversion comes, in the mean.
    pub delay_days: f64,
    /// Days after which a conversion is no longer counted, and a row is known.
    pub window_days: u64,
    /// The log whose users and items they are: the settings of `crosstie synth`.
    pub log: LogConfig,
}

impl Default for MarketConfig {
    fn default() -> MarketConfig {
        MarketConfig {
            seed: 1,
            days: 28,
            task: "buy".into(),
            candidates: 20,
            slots: 3,
            bid: 0.1,
            bid_spread: 0.5,
            budget: 0.0,
            delay_days: 0.5,
            window_days: 2,
            log: LogConfig::default(),
        }
    }
}

/// Settings of the synthetic log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// Its `--rows`, which decide how many users and items there are.
    pub rows: u64,
    /// Its `--seed`.
    pub seed: u64,
    /// Its `--scenarios`.
    pub scenarios: usize,
    /// Its `--relation`.
    pub relation: String,
    /// Its `--direct-rate`.
    pub direct_rate: f64,
    /// Its `--selection`.
    pub selection: f64,
}

impl Default for LogConfig {
    fn default() -> LogConfig {
        let Synth { seed, scenarios, relation, direct_rate, selection, .. } = Synth::default();
        LogConfig { rows: 100_000, seed, scenarios, relation: relation.name().into(), direct_rate, selection }
    }
}

impl LogConfig {
    fn synth(&self) -> Result<Synth> {
        let LogConfig { rows, seed, scenarios, direct_rate, selection, .. } = *self;
        Ok(Synth { rows, seed, scenarios, relation: self.relation.parse()?, direct_rate, selection })
    }
}

/// How a day ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MarketDay {
    /// The day, from 0.
    pub day: u64,
    /// Where the ramp was on it.
    pub state: State,
    /// Units of each arm whose rows are known by now.
    pub units: Vec<u64>,
    /// Measured lift of eCPM of each candidate by now.
    pub measured: Vec<Option<Lift>>,
    /// True lift of each candidate on this day.
    pub truth: Vec<f64>,
}

/// What became of an experiment in a market.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MarketReport {
    /// Day by day.
    pub days: Vec<MarketDay>,
    /// What was measured.
    pub measured: StudyReport,
    /// True eCPM of each arm, were it to serve all users, over all days whose rows become
    /// known.
    pub ecpm: Vec<f64>,
    /// True lift of each candidate, over the same days.
    pub truth: Vec<f64>,
    /// Where the ramp is at the end.
    pub state: State,
}

/// A market, on the way from day to day.
pub struct Market<'a> {
    config: &'a MarketConfig,
    contract: &'a Contract,
    crowd: Crowd,
    task: usize,
    study: Study,
    /// Rows that become known on a later day.
    open: Vec<(u64, Outcome)>,
    /// Expected earnings and impressions of each arm, were it to serve all users.
    expected: Vec<(f64, f64)>,
}

struct Outcome {
    unit: String,
    arm: usize,
    day: u64,
    scenario: String,
    probability: f64,
    converted: bool,
    paid: f64,
}

/// One user's visit: an auction.
struct Visit {
    user: usize,
    candidates: Vec<Impression>,
}

/// Money spent today by brand, of a budget.
struct Ledger {
    budget: f64,
    spent: HashMap<usize, f64>,
}

impl Ledger {
    fn new(budget: f64) -> Ledger {
        Ledger { budget, spent: HashMap::new() }
    }

    fn has_money(&self, brand: usize) -> bool {
        self.budget <= 0.0 || self.spent.get(&brand).copied().unwrap_or_default() < self.budget
    }

    fn spend(&mut self, brand: usize, money: f64) {
        *self.spent.entry(brand).or_default() += money;
    }
}

impl MarketConfig {
    /// Reads the text of a market.
    ///
    /// # Errors
    /// [`Error::Toml`]; [`Error::Experiment`] for a value out of its range.
    pub fn parse(text: &str) -> Result<MarketConfig> {
        let config: MarketConfig = toml::from_str(text).map_err(|error| Error::toml("market", error))?;
        config.check()?;
        Ok(config)
    }

    /// Whether every value is in its range.
    ///
    /// # Errors
    /// [`Error::Experiment`] with the key.
    pub fn check(&self) -> Result<()> {
        let wrong = |key: &str, found: &dyn std::fmt::Display, expected: &str| {
            Err(Error::Experiment(format!("market: {key}: found {found}, expected {expected}")))
        };
        if !(1..=1000).contains(&self.candidates) {
            return wrong("candidates", &self.candidates, "1 to 1000");
        }
        if !(1..=self.candidates).contains(&self.slots) {
            return wrong("slots", &self.slots, "at least 1 and no more than there are candidates");
        }
        if self.days <= self.window_days {
            return wrong("days", &self.days, "more than window_days");
        }
        for (key, value) in [("bid", self.bid), ("delay_days", self.delay_days)] {
            if !(value > 0.0 && value.is_finite()) {
                return wrong(key, &value, "more than 0");
            }
        }
        for (key, value) in [("budget", self.budget), ("bid_spread", self.bid_spread)] {
            if !(value >= 0.0 && value.is_finite()) {
                return wrong(key, &value, "0 or more");
            }
        }
        Ok(())
    }
}

impl<'a> Market<'a> {
    /// A market before its first day.
    ///
    /// # Errors
    /// [`Error::Experiment`] for a task that the log has not, or a value out of its range;
    /// [`Error::Config`] for a log that cannot be.
    pub fn new(config: &'a MarketConfig, contract: &'a Contract, settings: Settings) -> Result<Market<'a>> {
        config.check()?;
        let crowd = Crowd::new(&config.log.synth()?)?;
        let Some(task) = crowd.task(&config.task) else {
            return Err(Error::Experiment(format!("market: task: the log has no task `{}`", config.task)));
        };
        let measures = [format!("{} rate", config.task), ECPM.to_string()];
        let study = Study::new(&measures, std::slice::from_ref(&config.task), settings);
        let expected = vec![(0.0, 0.0); contract.arms.len()];
        Ok(Market { config, contract, crowd, task, study, open: Vec::new(), expected })
    }

    /// Lets the days pass. `score` gives the probability of the task from the impression,
    /// by an arm's model, of each row.
    ///
    /// # Errors
    /// Those of `score`.
    pub fn run(mut self, score: &mut dyn FnMut(usize, &Rows) -> Result<Vec<f64>>) -> Result<MarketReport> {
        let mut state = State::started(0);
        let mut days = Vec::new();
        let shares: Vec<(String, f64)> =
            self.contract.arms.iter().map(|arm| arm.name.clone()).zip(self.contract.shares()).collect();
        let mut requests = 0;
        for day in 0..self.config.days {
            let visits = self.visits(day);
            requests += visits.len() as u64;
            let truth = self.serve(day, &state, &visits, score)?;
            self.learn(day);
            let report = self.study.report(&shares);
            let candidates = report.differences.iter().filter(|difference| difference.measure == ECPM);
            days.push(MarketDay {
                day,
                state: state.clone(),
                units: report.arms.iter().map(|arm| arm.units).collect(),
                measured: candidates.map(|difference| difference.best().copied()).collect(),
                truth,
            });
            let (evidence, now) = (evidence(&report, requests), (day + 1) * 86_400);
            let decision = Ramp::next(self.contract, &state, &evidence, now);
            state = Ramp::apply(self.contract, &state, &decision, now);
            if let (Decision::Stay(why), Status::Running) = (decision, state.status) {
                state.reason = why;
            }
        }
        let ecpm: Vec<f64> = self.expected.iter().map(|(earned, shown)| 1e3 * earned / shown).collect();
        let truth = lifts(&self.expected);
        Ok(MarketReport { days, measured: self.study.report(&shares), ecpm, truth, state })
    }

    /// Who comes on a day, and what competes for them.
    fn visits(&self, day: u64) -> Vec<Visit> {
        let stream = Stream::new(self.config.seed, "visit").part(day);
        let comes = |user: &usize| stream.uniform(*user as u64) < 1.0 - (-self.crowd.activity(*user) / 7.0).exp();
        let visit = |user: usize| {
            let draw = stream.part(user as u64);
            let first = self.crowd.draw(&draw.part(0));
            let candidate =
                |place: u64| Impression { user, item: self.crowd.draw(&draw.part(place)).item, position: 1, ..first };
            Visit { user, candidates: (0..self.config.candidates).map(candidate).collect() }
        };
        (0..self.crowd.users()).filter(comes).map(visit).collect()
    }

    fn bid(&self, item: usize) -> f64 {
        let spread = self.config.bid_spread;
        let noise = spread * Stream::new(self.config.seed, "bid").normal(item as u64) - spread * spread / 2.0;
        self.config.bid * self.crowd.price(item) * noise.exp()
    }

    /// Serves a day's visits, and gives the true lifts on it.
    fn serve(
        &mut self,
        day: u64,
        state: &State,
        visits: &[Visit],
        score: &mut dyn FnMut(usize, &Rows) -> Result<Vec<f64>>,
    ) -> Result<Vec<f64>> {
        let arms = self.contract.arms.len();
        let traffic = match state.status {
            Status::Running => self.contract.steps[state.step].traffic / 100.0,
            _ => 1.0,
        };
        let shares = self.contract.shares();
        let mut ledgers: Vec<Ledger> =
            shares.iter().map(|share| Ledger::new(self.config.budget * share * traffic)).collect();
        let mut whole: Vec<Ledger> = (0..arms).map(|_| Ledger::new(self.config.budget)).collect();
        let mut today = vec![(0.0, 0.0); arms];
        let a_piece = (ROWS / self.config.candidates as usize).max(1);
        for visits in visits.chunks(a_piece) {
            let all: Vec<Impression> = visits.iter().flat_map(|visit| visit.candidates.iter().copied()).collect();
            let rows = Rows::new(self.crowd.rows(&all), "market");
            let scores = (0..arms).map(|arm| score(arm, &rows)).collect::<Result<Vec<_>>>()?;
            for (place, visit) in visits.iter().enumerate() {
                let from = place * visit.candidates.len();
                let of = |arm: usize| &scores[arm][from..from + visit.candidates.len()];
                for (arm, (today, ledger)) in today.iter_mut().zip(&mut whole).enumerate() {
                    let (earned, shown) = self.expect(visit, of(arm), ledger);
                    *today = (today.0 + earned, today.1 + shown);
                }
                let unit = format!("user-{}", visit.user);
                let place = self.contract.place(state, &unit);
                if place.takes_part {
                    self.show(place.arm, unit, visit, of(place.arm), &mut ledgers[place.arm], day);
                }
            }
        }
        // Days whose rows are never known are not measured.
        if day + self.config.window_days < self.config.days {
            self.expected.iter_mut().zip(&today).for_each(|(sum, today)| *sum = (sum.0 + today.0, sum.1 + today.1));
        }
        Ok(lifts(&today))
    }

    /// The winners of an auction, best first, with their place in the list and in the
    /// candidates.
    fn winners(&self, visit: &Visit, probabilities: &[f64], ledger: &Ledger) -> Vec<(Impression, usize)> {
        let has_money = |place: &usize| ledger.has_money(self.crowd.brand(visit.candidates[*place].item));
        let mut order: Vec<(f64, usize)> = (0..visit.candidates.len())
            .filter(has_money)
            .map(|place| (self.bid(visit.candidates[place].item) * probabilities[place], place))
            .collect();
        order.sort_by(|one, other| other.0.total_cmp(&one.0).then(one.1.cmp(&other.1)));
        let slots = order.into_iter().take(self.config.slots as usize).zip(1..);
        slots.map(|((_, place), position)| (Impression { position, ..visit.candidates[place] }, place)).collect()
    }

    /// The share of conversions that come within the window.
    fn in_time(&self) -> f64 {
        1.0 - (-(self.config.window_days as f64) / self.config.delay_days).exp()
    }

    /// What an arm would earn by a visit, and to how many impressions.
    fn expect(&self, visit: &Visit, probabilities: &[f64], ledger: &mut Ledger) -> (f64, f64) {
        let winners = self.winners(visit, probabilities, ledger);
        let mut sum = 0.0;
        for (shown, _) in &winners {
            let earned = self.bid(shown.item) * self.crowd.truth(shown)[self.task] * self.in_time();
            ledger.spend(self.crowd.brand(shown.item), earned);
            sum += earned;
        }
        (sum, winners.len() as f64)
    }

    /// Shows the winners, and draws what comes of it.
    fn show(&mut self, arm: usize, unit: String, visit: &Visit, probabilities: &[f64], ledger: &mut Ledger, day: u64) {
        let draw = Stream::new(self.config.seed, "outcome").part(day).part(visit.user as u64);
        for (shown, place) in self.winners(visit, probabilities, ledger) {
            // The same for a candidate in every arm, so that arms differ by what they show.
            let draw = draw.part(place as u64);
            let happens = draw.uniform(0) < self.crowd.truth(&shown)[self.task];
            let delay = -self.config.delay_days * draw.uniform(1).ln();
            let converted = happens && delay < self.config.window_days as f64;
            let paid = if converted { self.bid(shown.item) } else { 0.0 };
            ledger.spend(self.crowd.brand(shown.item), paid);
            let scenario = format!("scenario-{}", shown.scenario);
            let probability = probabilities[place];
            let outcome = Outcome { unit: unit.clone(), arm, day, scenario, probability, converted, paid };
            self.open.push((day + self.config.window_days, outcome));
        }
    }

    /// Takes the rows into the study whose window has passed.
    fn learn(&mut self, today: u64) {
        let (known, open) = std::mem::take(&mut self.open).into_iter().partition(|(day, _)| *day <= today);
        self.open = open;
        let known: Vec<(u64, Outcome)> = known;
        for (_, outcome) in known {
            let label = f64::from(u8::from(outcome.converted));
            self.study.add(&Shown {
                unit: &outcome.unit,
                arm: &self.contract.arms[outcome.arm].name,
                day: outcome.day as i64,
                scenario: Some(&outcome.scenario),
                terms: &[(label, 1.0), (1e3 * outcome.paid, 1.0)],
                predicted: &[Some((outcome.probability, outcome.converted))],
            });
        }
    }
}

/// Each candidate's lift of earnings by impression over the control.
fn lifts(sums: &[(f64, f64)]) -> Vec<f64> {
    let by_impression = |(earned, shown): &(f64, f64)| earned / shown;
    sums[1..].iter().map(|candidate| by_impression(candidate) / by_impression(&sums[0]) - 1.0).collect()
}

/// What a ramp sees. No request fails in a market, and none takes long.
fn evidence(report: &StudyReport, requests: u64) -> Evidence {
    let mut evidence = report.evidence(ECPM);
    for arm in &mut evidence.arms {
        arm.failures = Some(Count { number: 0, of: requests });
        arm.unknown = Some(Count { number: 0, of: requests });
        arm.p99_ms = Some(0.0);
    }
    evidence
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTRACT: &str = "name = \"t\"\nunit = \"user_id\"\n[[arm]]\nname = \"blind\"\nmodel = \"a\"\nshare = 50\n\
                            [[arm]]\nname = \"seeing\"\nmodel = \"b\"\nshare = 50\n[[step]]\ntraffic = 20\n\
                            minimum_hours = 48\n[[step]]\ntraffic = 100\nminimum_hours = 96\n";

    fn config(days: u64, budget: f64) -> MarketConfig {
        let log = LogConfig { rows: 20_000, ..LogConfig::default() };
        MarketConfig { days, budget, candidates: 8, slots: 2, task: "click".into(), log, ..MarketConfig::default() }
    }

    /// Users, items and tasks of the rows, read as a model would.
    fn truth(crowd: &Crowd, rows: &Rows, sees: bool) -> Vec<f64> {
        let number = |name: &str| rows.column(name).unwrap().numbers().unwrap();
        let text = |name: &str| rows.column(name).unwrap().to_text().unwrap();
        let (users, items, hours) = (number("user_id"), number("item_id"), number("hour"));
        let (scenarios, devices) = (text("scenario"), text("device"));
        let row = |row: usize| {
            let scenario = scenarios.value(row).trim_start_matches("scenario-").parse().unwrap();
            let device = ["phone", "tablet", "desktop"].iter().position(|name| *name == devices.value(row)).unwrap();
            let [user, item, hour] = [&users, &items, &hours].map(|column| column[row].unwrap() as usize);
            let shown = Impression { user, item, scenario, position: 1, hour, device };
            if sees { crowd.truth(&shown)[0] } else { 0.2 }
        };
        (0..rows.len()).map(row).collect()
    }

    fn run(config: &MarketConfig, sees: [bool; 2]) -> MarketReport {
        let contract = Contract::parse(CONTRACT).unwrap();
        let crowd = Crowd::new(&config.log.synth().unwrap()).unwrap();
        let market = Market::new(config, &contract, Settings::default()).unwrap();
        market.run(&mut |arm, rows| Ok(truth(&crowd, rows, sees[arm]))).unwrap()
    }

    #[test]
    fn who_knows_the_truth_earns_more_and_is_ramped_up() {
        let report = run(&config(16, 0.0), [false, true]);
        assert!(report.truth[0] > 0.05, "{:?}", report.truth);
        let ecpm = &report.measured.differences[1].plain.unwrap();
        assert!(ecpm.sequence.contains(report.truth[0]), "{ecpm:?} {:?}", report.truth);
        let steps: Vec<usize> = report.days.iter().map(|day| day.state.step).collect();
        assert_eq!(steps[..4], [0, 0, 1, 1], "two days at the first step");
        assert_eq!(report.state.status, Status::Done, "{:?}", report.state);
        assert!(report.days[1].units.iter().all(|units| *units == 0), "no window has passed yet");
        assert!(report.measured.sequential_sample_ratio > 1e-3);
    }

    #[test]
    fn equal_models_have_no_true_lift() {
        let report = run(&config(6, 0.0), [true, true]);
        assert_eq!((&report.truth[..], &report.days[5].truth[..]), (&[0.0][..], &[0.0][..]));
        assert_eq!(report, run(&config(6, 0.0), [true, true]), "a market is the same each time");
    }

    #[test]
    fn budgets_bound_what_is_earned() {
        let (rich, poor) = (run(&config(6, 0.0), [true, true]), run(&config(6, 1.0), [true, true]));
        assert!(poor.ecpm[0] < rich.ecpm[0], "{:?} {:?}", poor.ecpm, rich.ecpm);
    }

    #[test]
    fn what_cannot_be_is_named() {
        for (text, words) in [
            ("candidats = 5", "did you mean `candidates`?"),
            ("slots = 50", "market: slots: found 50"),
            ("days = 2", "market: days: found 2, expected more than window_days"),
            ("bid = 0.0", "market: bid: found 0"),
        ] {
            let said = MarketConfig::parse(text).unwrap_err().to_string();
            assert!(said.contains(words), "{text}: {said}");
        }
        let contract = Contract::parse(CONTRACT).unwrap();
        let config = MarketConfig { task: "bye".into(), ..config(6, 0.0) };
        let said = Market::new(&config, &contract, Settings::default()).err().unwrap().to_string();
        assert!(said.contains("no task `bye`"), "{said}");
    }
}
