//! Rates on logs of which the truth is known: a key that means nothing does no
//! harm, one that means something helps, however many keys there are.

// A test may panic, and to the lint the helpers here are no tests.
#![allow(clippy::unwrap_used)]

use std::fmt::Write;
use std::path::Path;

use crosstie::config::Config;
use crosstie::data::Source;
use crosstie::feature::Purpose;
use crosstie::random::Stream;
use crosstie::schema::Schema;
use crosstie::train::{Next, train};

/// A log of which the truth is known.
struct Log {
    seed: u64,
    keys: u64,
    /// Standard deviation of the keys' effects on the log-odds.
    effect: f64,
    /// Rows of a session, which share an effect of their own.
    session: u64,
    /// Standard deviation of what is particular to a key in the days of the training.
    fades: f64,
}

const ROWS: [(&str, u64); 3] = [("train", 12_000), ("valid", 4_000), ("test", 16_000)];

impl Log {
    /// Writes the files; the true probabilities of the test rows.
    fn write(&self, directory: &Path) -> Vec<f64> {
        let stream = |name| Stream::new(self.seed, name);
        let (of_key, of_letter, of_session) = (stream("key"), stream("letter"), stream("session"));
        let (keys, letters, labels) = (stream("keys"), stream("letters"), stream("labels"));
        let of_days = stream("days");
        let (mut truth, mut row) = (Vec::new(), 0u64);
        for (name, rows) in ROWS {
            let fades = if name == "train" { self.fades } else { 0.0 };
            let mut text = String::from("letter,key,session,at,click\n");
            for _ in 0..rows {
                let session = row / self.session;
                // Few keys are frequent, many are rare.
                let key = ((self.keys as f64).powf(keys.uniform(row)) as u64).min(self.keys - 1);
                let letter = letters.below(row, 12);
                let of_session = if self.session > 1 { 0.8 * of_session.normal(session) } else { 0.0 };
                let effects = 0.7 * of_letter.normal(letter) + self.effect * of_key.normal(key) + of_session;
                let effects = effects + fades * of_days.normal(key);
                let p = 1.0 / (1.0 + (1.4 - effects).exp());
                let click = u8::from(labels.uniform(row) < p);
                writeln!(text, "{letter},{key},{session},{row},{click}").unwrap();
                if name == "test" {
                    truth.push(p);
                }
                row += 1;
            }
            std::fs::write(directory.join(format!("{name}.csv")), text).unwrap();
        }
        truth
    }
}

const SCHEMA: &str =
    "group = \"session\"\n[[task]]\nname = \"click\"\n[[field]]\nname = \"letter\"\nkind = \"categorical\"\n";
const RATE: &str = "[[field]]\nname = \"past\"\nkind = \"rate\"\nkey = [\"key\"]\n";

/// The expected AUC over all labels that the truth could have given, and the ratio
/// of predicted to expected clicks.
fn judge(directory: &Path, schema: &str, settings: &[String], truth: &[f64]) -> (f64, f64) {
    let file = |name: &str| directory.join(format!("{name}.csv")).to_str().unwrap().to_string();
    let [training, valid, test] = ["train", "valid", "test"].map(|name| Source::open(&[file(name)]).unwrap());
    let config = Config::parse_without_data("[model]\nname = \"single-task\"\n", settings).unwrap();
    let schema = Schema::parse(schema).unwrap();
    let scorer = train(&config, &schema, &training, &valid, &mut |_| Next::GoOn).unwrap().scorer;
    let mut workspace = scorer.workspace(4096);
    let mut scores = Vec::new();
    for rows in test.rows(&scorer.features().columns(Purpose::Scoring), 4096) {
        scores.extend(scorer.score_rows(&mut workspace, &rows.unwrap()).unwrap().from_impression);
    }
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| f64::total_cmp(&scores[*a], &scores[*b]));
    let (mut below, mut right) = (0.0, 0.0);
    for alike in order.chunk_by(|a, b| scores[*a] == scores[*b]) {
        let (ones, zeros) =
            alike.iter().fold((0.0, 0.0), |(ones, zeros), row| (ones + truth[*row], zeros + 1.0 - truth[*row]));
        right += ones * (below + zeros / 2.0);
        below += zeros;
    }
    let ones: f64 = truth.iter().sum();
    (right / (ones * below), scores.iter().sum::<f64>() / ones)
}

/// What a rate changes: the AUC without it, with it, and the calibration with it.
fn compare(log: &Log, rate: &str) -> (f64, f64, f64) {
    let directory = tempfile::tempdir().unwrap();
    let truth = log.write(directory.path());
    let seed = [format!("train.seed={}", log.seed)];
    let (without, _) = judge(directory.path(), SCHEMA, &seed, &truth);
    let (with, pcoc) = judge(directory.path(), &format!("{SCHEMA}{rate}"), &seed, &truth);
    (without, with, pcoc)
}

#[test]
fn a_rate_of_keys_that_mean_nothing_does_no_harm() {
    for (keys, session, rate) in [
        (3, 1, RATE.to_string()),
        (300, 1, RATE.to_string()),
        (3000, 1, RATE.to_string()),
        (300, 4, RATE.to_string()),
        (300, 1, format!("{RATE}time = \"at\"\n")),
    ] {
        let of_seed = |seed| compare(&Log { seed, keys, effect: 0.0, session, fades: 0.0 }, &rate);
        let all: Vec<(f64, f64, f64)> = (1..=3).map(of_seed).collect();
        let mean = |of: fn(&(f64, f64, f64)) -> f64| all.iter().map(of).sum::<f64>() / all.len() as f64;
        let cost = mean(|it| it.0 - it.1);
        // Trainings on 12,000 rows differ by about .001 from seed to seed.
        assert!(cost < 0.002, "{keys} keys, {session} rows a session: costs {cost}, {all:?}");
        // The share of clicks itself is known to 2 % from so few rows.
        assert!((mean(|it| it.2) - 1.0).abs() < 0.04, "{keys} keys, {session} rows a session: {all:?}");
    }
}

#[test]
fn a_rate_of_keys_that_mean_something_helps() {
    for (keys, least, rate) in [
        (3, 0.02, RATE.to_string()),
        (300, 0.05, RATE.to_string()),
        (3000, 0.03, RATE.to_string()),
        (300, 0.04, format!("{RATE}time = \"at\"\n")),
    ] {
        let (without, with, pcoc) = compare(&Log { seed: 5, keys, effect: 1.0, session: 1, fades: 0.0 }, &rate);
        assert!(with > without + least, "{keys} keys: {without} {with}");
        assert!((pcoc - 1.0).abs() < 0.06, "{keys} keys: {pcoc}");
    }
}

#[test]
fn a_rate_that_fades_counts_less_in_later_rows_and_one_that_lasts_does_not() {
    let gain = |fades: f64, rate: &str| {
        let log = Log { seed: 7, keys: 300, effect: 0.4, session: 1, fades };
        let directory = tempfile::tempdir().unwrap();
        let truth = log.write(directory.path());
        let [with, without] = [true, false].map(|carry| {
            let settings = ["train.seed=7".to_string(), format!("train.carry_rates={carry}")];
            judge(directory.path(), &format!("{SCHEMA}{rate}"), &settings, &truth)
        });
        // What it says is believed too much otherwise, and that drowns what the letter says.
        (with.0 - without.0, with == without)
    };
    for rate in [RATE.to_string(), format!("{RATE}time = \"at\"\n")] {
        let (fading, _) = gain(0.9, &rate);
        assert!(fading > 0.01, "{fading}, {rate}");
        assert_eq!(gain(0.0, &rate), (0.0, true), "{rate}");
    }
}
