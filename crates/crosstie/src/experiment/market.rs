//! A market in which an experiment is tried before anybody risks traffic: the users and
//! items of a synthetic log, who come by the day, see the winners of auctions, and
//! click and buy with probabilities that are known.
//!
//! An advertiser (a brand) bids for a conversion and has a budget for the day, of which
//! each arm gets the share of its units, so arms do not spend each other's money; what was
//! spent is looked at by the hour. A candidate's score is bid × predicted probability; the
//! best are shown, and who converts is charged the bid (first price). A click comes at once,
//! what follows it late; what comes beyond the window is lost, and a row is known when its
//! window has passed.
//!
//! [`Market`] says who comes, what competes and what comes of what is shown; who serves
//! them is another's business. What a model would truly earn is [`Market::expect`] of the
//! auctions that its scores decide.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::state::State;
use super::study::{Lift, StudyReport};
use crate::data::synth::{Crowd, Impression, Synth};
use crate::error::{Error, Result};
use crate::random::Stream;
use crate::spelling;

/// The settings of a market.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MarketConfig {
    /// Where the chance of visits, auctions and conversions comes from.
    pub seed: u64,
    /// Days of the experiment.
    pub days: u64,
    /// Days before it, on which the control serves all: what units did then explains part of
    /// what they do later (CUPED).
    pub before_days: u64,
    /// Days from one look of the ramp at the evidence to the next.
    pub check_days: u64,
    /// What advertisers pay for: a task of the log.
    pub task: String,
    /// Auctions in a visit.
    pub auctions: u64,
    /// Candidates of an auction.
    pub candidates: u64,
    /// How many of them are shown.
    pub slots: u64,
    /// Mean of a bid for an item of price 1.
    pub bid: f64,
    /// How bids follow prices: 1 in proportion, 0 not at all, as where a conversion is worth
    /// the same to all who advertise.
    pub bid_elasticity: f64,
    /// Standard deviation of a bid's logarithm, from item to item.
    pub bid_spread: f64,
    /// What a brand spends on a day at most, over all users; 0 means any sum.
    pub budget: f64,
    /// Days until a conversion comes, in the mean.
    pub delay_days: f64,
    /// Days after which a conversion is no longer counted, and a row is known.
    pub window_days: u64,
    /// Of the visits, how many every arm's model scores to tell what is true: 1 for all.
    pub truth_share: f64,
    /// The log whose users and items they are: the settings of `crosstie synth`.
    pub log: LogConfig,
}

impl Default for MarketConfig {
    fn default() -> MarketConfig {
        MarketConfig {
            seed: 1,
            days: 28,
            before_days: 0,
            check_days: 1,
            task: "buy".into(),
            auctions: 1,
            candidates: 20,
            slots: 3,
            bid: 0.1,
            bid_elasticity: 1.0,
            bid_spread: 0.5,
            budget: 0.0,
            delay_days: 0.5,
            window_days: 2,
            truth_share: 1.0,
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
    /// The log's own settings.
    ///
    /// # Errors
    /// [`Error::Config`] for a relation that there is not.
    pub fn synth(&self) -> Result<Synth> {
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

/// Who comes, what competes for them, and what comes of it.
pub struct Market<'a> {
    config: &'a MarketConfig,
    crowd: Crowd,
    task: usize,
    /// By item.
    bids: Vec<f64>,
}

/// An auction for a user's attention.
#[derive(Clone, Debug, PartialEq)]
pub struct Visit {
    /// Whose.
    pub user: usize,
    /// Which of the user's on this day, from 0.
    pub number: u64,
    /// Hour of the day.
    pub hour: usize,
    /// What competes, at the first position.
    pub candidates: Vec<Impression>,
}

/// An action that comes of an impression.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Action {
    /// The task.
    pub task: &'static str,
    /// How many days after the impression.
    pub delay: f64,
    /// What is paid for it, if anything.
    pub paid: Option<f64>,
}

/// Money spent on a day by brand, of a budget.
#[derive(Clone, Debug)]
pub struct Ledger {
    /// `None` for any sum.
    budget: Option<f64>,
    spent: HashMap<usize, f64>,
}

impl Ledger {
    /// Of a share of the market's budgets.
    pub fn new(config: &MarketConfig, share: f64) -> Ledger {
        Ledger { budget: (config.budget > 0.0).then_some(config.budget * share), spent: HashMap::new() }
    }

    fn has_money(&self, brand: usize) -> bool {
        self.budget.is_none_or(|budget| self.spent.get(&brand).copied().unwrap_or_default() < budget)
    }

    /// Takes in what was spent since the last look.
    pub fn spend(&mut self, spent: Vec<(usize, f64)>) {
        spent.into_iter().for_each(|(brand, money)| *self.spent.entry(brand).or_default() += money);
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
        if !(1..=1000).contains(&self.auctions) {
            return wrong("auctions", &self.auctions, "1 to 1000");
        }
        if !(1..=self.candidates).contains(&self.slots) {
            return wrong("slots", &self.slots, "at least 1 and no more than there are candidates");
        }
        if !(self.truth_share > 0.0 && self.truth_share <= 1.0) {
            return wrong("truth_share", &self.truth_share, "more than 0 and at most 1");
        }
        if self.check_days == 0 {
            return wrong("check_days", &self.check_days, "1 or more");
        }
        if self.days <= self.window_days {
            return wrong("days", &self.days, "more than window_days");
        }
        for (key, value) in [("bid", self.bid), ("delay_days", self.delay_days)] {
            if !(value > 0.0 && value.is_finite()) {
                return wrong(key, &value, "more than 0");
            }
        }
        for (key, value) in
            [("budget", self.budget), ("bid_spread", self.bid_spread), ("bid_elasticity", self.bid_elasticity)]
        {
            if !(value >= 0.0 && value.is_finite()) {
                return wrong(key, &value, "0 or more");
            }
        }
        Ok(())
    }
}

impl<'a> Market<'a> {
    /// The market of these settings.
    ///
    /// # Errors
    /// [`Error::Experiment`] for a task that the log has not, or a value out of its range;
    /// [`Error::Config`] for a log that cannot be.
    pub fn new(config: &'a MarketConfig) -> Result<Market<'a>> {
        config.check()?;
        let crowd = Crowd::new(&config.log.synth()?)?;
        let Some(task) = crowd.task(&config.task) else {
            let hint = spelling::hint(&config.task, crowd.tasks());
            return Err(Error::Experiment(format!("market: task: the log has no task `{}`{hint}", config.task)));
        };
        let bid = |item: usize| {
            let spread = config.bid_spread;
            let noise = spread * Stream::new(config.seed, "bid").normal(item as u64) - spread * spread / 2.0;
            config.bid * crowd.price(item).powf(config.bid_elasticity) * noise.exp()
        };
        let bids = (0..crowd.items()).map(bid).collect();
        Ok(Market { config, crowd, task, bids })
    }

    /// The users and items.
    pub fn crowd(&self) -> &Crowd {
        &self.crowd
    }

    /// What is bid for a conversion by an item.
    pub fn bid(&self, item: usize) -> f64 {
        self.bids[item]
    }

    /// Who comes on a day, and what competes for them, by the hour.
    pub fn visits(&self, day: u64) -> Vec<Visit> {
        let stream = Stream::new(self.config.seed, "visit").part(day);
        let comes = |user: &usize| stream.uniform(*user as u64) < 1.0 - (-self.crowd.activity(*user) / 7.0).exp();
        let candidates = self.config.candidates;
        let visit = |user: usize, number: u64| {
            let draw = stream.part(user as u64);
            let from = number * candidates;
            // A user's auctions of a day are in one scenario, hour and device.
            let first = self.crowd.draw(&draw.part(0));
            let candidate =
                |place: u64| Impression { user, item: self.crowd.draw(&draw.part(place)).item, position: 1, ..first };
            Visit { user, number, hour: first.hour, candidates: (from..from + candidates).map(candidate).collect() }
        };
        let of_user = |user: usize| (0..self.config.auctions).map(move |number| (user, number));
        let comers = (0..self.crowd.users()).filter(comes).flat_map(of_user);
        let mut visits: Vec<Visit> = comers.map(|(user, number)| visit(user, number)).collect();
        visits.sort_by_key(|visit| visit.hour);
        visits
    }

    /// Whether a visit on a day is one of those that tell what is true.
    pub fn tells_truth(&self, day: u64, visit: &Visit) -> bool {
        let draw = Stream::new(self.config.seed, "truth").part(day).part(visit.user as u64);
        draw.uniform(visit.number) < self.config.truth_share
    }

    /// The places of those candidates whose brand has money left.
    pub fn open(&self, visit: &Visit, ledger: &Ledger) -> Vec<usize> {
        let has_money = |place: &usize| ledger.has_money(self.crowd.brand(visit.candidates[*place].item));
        (0..visit.candidates.len()).filter(has_money).collect()
    }

    /// The winners of an auction, best first, by what is predicted of each candidate: their
    /// places among them.
    pub fn winners(&self, visit: &Visit, probabilities: &[f64], ledger: &Ledger) -> Vec<usize> {
        let bid = |place: usize| self.bid(visit.candidates[place].item) * probabilities[place];
        let mut order: Vec<(f64, usize)> =
            self.open(visit, ledger).into_iter().map(|place| (bid(place), place)).collect();
        order.sort_by(|one, other| other.0.total_cmp(&one.0).then(one.1.cmp(&other.1)));
        order.into_iter().take(self.config.slots as usize).map(|(_, place)| place).collect()
    }

    /// What winners earn in expectation, with whose money.
    pub fn expect(&self, visit: &Visit, winners: &[usize]) -> Vec<(usize, f64)> {
        let earned = |shown: Impression| {
            let earned = self.bid(shown.item) * self.crowd.truth(&shown)[self.task] * self.in_time();
            (self.crowd.brand(shown.item), earned)
        };
        shown(visit, winners).map(earned).collect()
    }

    /// What comes of what a visit on a day is shown: for each winner its actions. A click
    /// comes at once; what follows it comes later, if at all.
    pub fn outcomes(&self, day: u64, visit: &Visit, winners: &[usize]) -> Vec<Vec<Action>> {
        let draw = Stream::new(self.config.seed, "outcome").part(day).part(visit.user as u64);
        let outcome = |(place, shown): (&usize, Impression)| {
            // The same for a candidate in every arm, so that arms differ by what they show.
            let draw = draw.part(visit.number * self.config.candidates + *place as u64);
            let happens = self.crowd.outcome(&draw, &shown);
            let later = -self.config.delay_days * draw.part(0).uniform(0).ln();
            let action = |(task, name): (usize, &'static str)| Action {
                task: name,
                delay: if task == 0 { 0.0 } else { later },
                paid: (task == self.task).then(|| self.bid(shown.item)),
            };
            self.crowd.tasks().into_iter().enumerate().filter(|(task, _)| happens[*task]).map(action).collect()
        };
        winners.iter().zip(shown(visit, winners)).map(outcome).collect()
    }

    /// The share of conversions that come within the window.
    fn in_time(&self) -> f64 {
        if self.task == 0 { 1.0 } else { 1.0 - (-(self.config.window_days as f64) / self.config.delay_days).exp() }
    }
}

/// Winners as they are shown, each at its position.
fn shown<'a>(visit: &'a Visit, winners: &'a [usize]) -> impl Iterator<Item = Impression> + 'a {
    winners.iter().zip(1..).map(|(place, position)| Impression { position, ..visit.candidates[*place] })
}

/// Each candidate's lift of what is earned by impression over the control, of the first.
pub fn lifts(sums: &[(f64, f64)]) -> Vec<f64> {
    let by_impression = |(earned, shown): &(f64, f64)| earned / shown;
    sums[1..].iter().map(|candidate| by_impression(candidate) / by_impression(&sums[0]) - 1.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(budget: f64) -> MarketConfig {
        let log = LogConfig { rows: 20_000, ..LogConfig::default() };
        MarketConfig { budget, candidates: 8, slots: 2, task: "cart".into(), log, ..MarketConfig::default() }
    }

    /// What is earned by impression on some days where winners are chosen by these scores.
    fn earned(market: &Market<'_>, days: u64, ledger: &Ledger, score: impl Fn(&Impression) -> f64) -> f64 {
        let mut sum = (0.0, 0.0);
        for visit in (0..days).flat_map(|day| market.visits(day)) {
            let scores: Vec<f64> = visit.candidates.iter().map(&score).collect();
            let winners = market.winners(&visit, &scores, ledger);
            let earned = market.expect(&visit, &winners).into_iter().map(|(_, money)| money).sum::<f64>();
            sum = (sum.0 + earned, sum.1 + winners.len() as f64);
        }
        sum.0 / sum.1
    }

    #[test]
    fn who_knows_the_truth_earns_more() {
        let config = config(0.0);
        let market = Market::new(&config).unwrap();
        let ledger = Ledger::new(&config, 1.0);
        let knows = earned(&market, 4, &ledger, |shown| market.crowd().truth(shown)[3]);
        let blind = earned(&market, 4, &ledger, |_| 0.2);
        assert!(knows > 1.05 * blind, "{knows} {blind}");
    }

    #[test]
    fn a_market_is_the_same_each_time_and_goes_by_the_hour() {
        let config = MarketConfig { auctions: 3, ..config(0.0) };
        let visits = |day: u64| Market::new(&config).unwrap().visits(day);
        assert!(visits(1) == visits(1) && visits(1) != visits(2));
        assert!(visits(1).is_sorted_by_key(|visit| visit.hour));
        let of_one: Vec<Visit> = visits(1).into_iter().filter(|visit| visit.user == visits(1)[0].user).collect();
        assert_eq!(of_one.iter().map(|visit| visit.number).collect::<Vec<_>>(), [0, 1, 2]);
        assert!(of_one[0].candidates != of_one[1].candidates && of_one[0].hour == of_one[1].hour);
    }

    #[test]
    fn a_brand_without_money_does_not_compete() {
        let config = config(1.0);
        let market = Market::new(&config).unwrap();
        let visit = &market.visits(0)[0];
        let brand = market.crowd().brand(visit.candidates[3].item);
        let mut ledger = Ledger::new(&config, 0.5);
        assert!(market.open(visit, &ledger).contains(&3));
        ledger.spend(vec![(brand, 0.3)]);
        assert!(market.open(visit, &ledger).contains(&3), "half of a budget of 1 is not spent yet");
        ledger.spend(vec![(brand, 0.2)]);
        assert!(!market.open(visit, &ledger).contains(&3));
        let rich = MarketConfig { budget: 0.0, ..config.clone() };
        let mut ledger = Ledger::new(&rich, 0.5);
        ledger.spend(vec![(brand, 1e9)]);
        assert!(market.open(visit, &ledger).contains(&3));
    }

    /// Of n impressions with probabilities p as many convert as their sum, within four
    /// standard errors; and as many in time as the exponential distribution says.
    #[test]
    fn outcomes_are_as_frequent_as_what_is_expected_of_them() {
        let config = config(0.0);
        let market = Market::new(&config).unwrap();
        let (mut expected, mut variance, mut paid) = (0.0, 0.0, 0.0);
        for day in 0..30 {
            for visit in market.visits(day) {
                let winners = [0, 1];
                let truths = market.expect(&visit, &winners);
                let outcomes = market.outcomes(day, &visit, &winners);
                for ((place, (_, earned)), actions) in winners.into_iter().zip(truths).zip(outcomes) {
                    let bid = market.bid(visit.candidates[place].item);
                    expected += earned / bid;
                    variance += earned / bid * (1.0 - earned / bid);
                    let cart = actions.iter().find(|action| action.task == "cart");
                    assert_eq!(cart.and_then(|cart| cart.paid), cart.map(|_| bid));
                    paid += f64::from(u8::from(cart.is_some_and(|cart| cart.delay <= config.window_days as f64)));
                    assert!(actions.iter().all(|action| (action.delay > 0.0) == (action.task != "click")));
                }
            }
        }
        assert!(paid > 50.0 && (paid - expected).abs() < 4.0 * variance.sqrt(), "{paid} {expected} {variance}");
    }

    #[test]
    fn bids_follow_prices_as_they_are_told_to() {
        let flat = MarketConfig { bid: 2.0, bid_elasticity: 0.0, bid_spread: 0.0, ..config(0.0) };
        let market = Market::new(&flat).unwrap();
        assert!((0..market.crowd().items()).all(|item| market.bid(item) == 2.0));
        let dear = MarketConfig { bid_elasticity: 1.0, ..flat };
        let market = Market::new(&dear).unwrap();
        assert!((market.bid(7) - 2.0 * market.crowd().price(7)).abs() < 1e-12);
    }

    #[test]
    fn what_cannot_be_is_named() {
        for (text, words) in [
            ("candidats = 5", "did you mean `candidates`?"),
            ("slots = 50", "market: slots: found 50"),
            ("days = 2", "market: days: found 2, expected more than window_days"),
            ("bid = 0.0", "market: bid: found 0"),
            ("auctions = 0", "market: auctions: found 0, expected 1 to 1000"),
            ("truth_share = 0.0", "market: truth_share: found 0, expected more than 0 and at most 1"),
            ("check_days = 0", "market: check_days: found 0"),
        ] {
            let said = MarketConfig::parse(text).unwrap_err().to_string();
            assert!(said.contains(words), "{text}: {said}");
        }
        let config = MarketConfig { task: "bye".into(), ..config(0.0) };
        let said = Market::new(&config).err().unwrap().to_string();
        assert!(said.contains("no task `bye`; there are: click, like"), "{said}");
    }
}
