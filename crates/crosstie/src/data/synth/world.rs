//! The generator's mathematics: people, items, and what the one does with the
//! other.
//!
//! Every user `u` and item `i` has a taste of [`DIMENSIONS`] numbers, each
//! nearly a sum of parts that the log shows (segment and city; category, brand
//! and tags) and a small part of its own. With z and w for the two tastes, a
//! direction p of task t in scenario k, and the appeal
//!
//! ```text
//! h = 0.6 z₁ + 0.7 w₁ + 0.4 z₁w₁
//! ```
//!
//! the log-odds are
//!
//! ```text
//! click       b + s (p·z + p·w + 0.6 (p·z)(p·w)) + 0.95 h + position, hour, device, activity, price
//! conversion  b + s (p·z + p·w + 0.6 (p·z)(p·w)) + c h + price
//! ```
//!
//! The appeal is the selection bias: it decides who clicks and, with the sign
//! and size of c, what they do then, so clicked rows are not like all rows. A
//! log's `selection` scales c.
//! Items have an appeal of their own beside that of their category, brand and
//! tags: what clicks teach of an item is worth knowing for its conversions.

use crate::random::Stream;

use super::{Relation, Synth};

/// The tasks, every parent before its children.
pub(super) const TASKS: [&str; 5] = ["click", "like", "follow", "cart", "buy"];
/// Parent of each task.
pub(super) const PARENTS: [Option<usize>; 5] = [None, Some(0), Some(0), Some(0), Some(3)];
/// Whether each task may happen without its parent where a direct rate is set.
pub(super) const DIRECT: [bool; 5] = [false, true, true, false, false];
/// Mean of each task on its own sample space.
const RATES: [f64; 5] = [0.20, 0.08, 0.02, 0.10, 0.12];
/// What category, brand and tags do not tell of an item's appeal. Clicks are
/// enough to learn it of most items, their few conversions are not.
const OWN_APPEAL: f64 = 0.6;
/// What the appeal does to each task's log-odds; buyers are less easily charmed.
const APPEAL: [f64; 5] = [0.95, 1.1, 1.1, 1.1, -0.4];
/// What the price's logarithm, standardised, does to them.
const PRICE: [f64; 5] = [-0.1, 0.0, 0.0, -0.2, -0.4];
/// Scale of each task's preference.
const PREFERENCE: [f64; 5] = [0.42, 0.65, 0.65, 0.65, 0.75];

/// Numbers in a taste: click's direction, the appeal's, two that conversions
/// may share, and one of its own for each conversion.
pub(super) const DIMENSIONS: usize = 8;
const APPEAL_DIRECTION: usize = 1;
type Taste = [f64; DIMENSIONS];

pub(super) const SEGMENTS: usize = 16;
pub(super) const CITIES: usize = 40;
pub(super) const CATEGORIES: usize = 24;
pub(super) const BRANDS: usize = 120;
pub(super) const TAGS: usize = 60;
/// A tag names one of [`TAGS`]; an item has one to three.
const MOST_TAGS: usize = 3;
pub(super) const DEVICES: [&str; 3] = ["phone", "tablet", "desktop"];
const DEVICE_SHARES: [f64; 3] = [0.75, 0.1, 0.15];
const DEVICE_EFFECT: [f64; 3] = [0.05, 0.1, -0.3];
pub(super) const POSITIONS: u64 = 10;

/// Rows on which the intercepts are found.
const CALIBRATION_ROWS: u64 = 20_000;

pub(super) struct User {
    pub segment: usize,
    pub city: usize,
    pub age: f64,
    /// Sessions a week, which is also how often the user is met in the log.
    pub activity: f64,
    taste: Taste,
}

pub(super) struct Item {
    pub category: usize,
    pub brand: usize,
    pub tags: Vec<usize>,
    pub price: f64,
    taste: Taste,
}

/// Who was shown what, where and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Impression {
    /// The user, from 0.
    pub user: usize,
    /// The item, from 0.
    pub item: usize,
    /// The scenario, from 0.
    pub scenario: usize,
    /// Place in the list, from 1.
    pub position: u64,
    /// Hour of the day.
    pub hour: usize,
    /// The device, from 0.
    pub device: usize,
}

/// The generator's own probabilities of one impression.
#[derive(Clone, Copy, Debug)]
pub(super) struct Truth {
    /// Given that the parent action happened.
    pub given_parent: [f64; 5],
    /// Given that it did not; 0 unless a direct rate is set.
    pub direct: [f64; 5],
}

impl Truth {
    /// From the impression, over every path.
    pub fn joint(&self) -> [f64; 5] {
        let mut joint = self.given_parent;
        for (task, parent) in PARENTS.iter().enumerate() {
            if let Some(parent) = parent {
                joint[task] = joint[*parent] * joint[task] + (1.0 - joint[*parent]) * self.direct[task];
            }
        }
        joint
    }
}

pub(super) struct World {
    pub users: Vec<User>,
    pub items: Vec<Item>,
    user_weights: Weights,
    item_weights: Weights,
    scenario_weights: Weights,
    device_weights: Weights,
    hour_weights: Weights,
    /// Direction and offset per scenario and task.
    directions: Vec<[Taste; 5]>,
    offsets: Vec<[f64; 5]>,
    intercepts: [f64; 5],
    /// What is added to a direct task's log-odds where its parent did not happen.
    without_parent: [f64; 5],
    /// What the appeal does to each task's log-odds.
    appeal: [f64; 5],
    direct: bool,
    impressions: Stream,
    labels: Stream,
}

impl World {
    /// The world of a log, with so many users and items.
    pub fn new(log: &Synth, users: usize, items: usize) -> World {
        let Synth { seed, scenarios, relation, direct_rate, selection, .. } = *log;
        let users = make_users(seed, users);
        let (items, popularity) = make_items(seed, items);
        let mut world = World {
            user_weights: Weights::new(users.iter().map(|user| user.activity)),
            item_weights: Weights::new(popularity),
            scenario_weights: Weights::new((0..scenarios).map(|scenario| 0.6f64.powi(scenario as i32).max(1e-3))),
            device_weights: Weights::new(DEVICE_SHARES),
            hour_weights: Weights::new((0..24).map(|hour| 1.2 + day_wave(hour))),
            users,
            items,
            directions: (0..scenarios).map(|scenario| directions(seed, scenario, scenarios, relation)).collect(),
            offsets: (0..scenarios).map(|scenario| offsets(seed, scenario, scenarios)).collect(),
            intercepts: [0.0; 5],
            without_parent: [0.0; 5],
            appeal: std::array::from_fn(|task| APPEAL[task] * if task == 0 { 1.0 } else { selection }),
            direct: direct_rate > 0.0,
            impressions: Stream::new(seed, "impression"),
            labels: Stream::new(seed, "label"),
        };
        world.calibrate(direct_rate);
        world
    }

    /// The impression of a row.
    pub fn impression(&self, row: u64) -> Impression {
        self.draw(&self.impressions.part(row))
    }

    /// An impression as they are in the log.
    pub fn draw(&self, draw: &Stream) -> Impression {
        Impression {
            user: self.user_weights.find(draw.uniform(0)),
            item: self.item_weights.find(draw.uniform(1)),
            scenario: self.scenario_weights.find(draw.uniform(2)),
            position: 1 + draw.below(3, POSITIONS),
            hour: self.hour_weights.find(draw.uniform(4)),
            device: self.device_weights.find(draw.uniform(5)),
        }
    }

    pub fn truth(&self, impression: &Impression) -> Truth {
        let logits = self.logits(impression);
        let given_parent = std::array::from_fn(|task| sigmoid(logits[task]));
        let direct = std::array::from_fn(|task| match self.direct && DIRECT[task] {
            true => sigmoid(logits[task] + self.without_parent[task]),
            false => 0.0,
        });
        Truth { given_parent, direct }
    }

    /// What happened on a row: one label per task.
    pub fn labels(&self, row: u64, truth: &Truth) -> [bool; 5] {
        self.outcome(&self.labels.part(row), truth)
    }

    /// What happens of an impression with these probabilities, as a stream draws it.
    pub fn outcome(&self, draw: &Stream, truth: &Truth) -> [bool; 5] {
        let mut labels = [false; 5];
        for task in 0..TASKS.len() {
            let parent = PARENTS[task].is_none_or(|parent| labels[parent]);
            let probability = if parent { truth.given_parent[task] } else { truth.direct[task] };
            labels[task] = draw.uniform(task as u64) < probability;
        }
        labels
    }

    fn logits(&self, impression: &Impression) -> [f64; 5] {
        let user = &self.users[impression.user];
        let item = &self.items[impression.item];
        let appeal = appeal(&user.taste, &item.taste);
        let price = item.price.ln() - 3.0;
        let directions = &self.directions[impression.scenario];
        let mut logits: [f64; 5] = std::array::from_fn(|task| {
            let (z, w) = (dot(&directions[task], &user.taste), dot(&directions[task], &item.taste));
            self.intercepts[task]
                + self.offsets[impression.scenario][task]
                + PREFERENCE[task] * (z + w + 0.6 * z * w)
                + self.appeal[task] * appeal
                + PRICE[task] * price
        });
        logits[0] += 0.15 * (user.activity.ln() - 1.0) - 0.3 * (impression.position as f64).ln()
            + 0.15 * day_wave(impression.hour)
            + DEVICE_EFFECT[impression.device];
        logits
    }

    /// Finds the intercepts that give every task its rate on its own sample
    /// space, and the shifts that give the direct tasks their share.
    fn calibrate(&mut self, direct_rate: f64) {
        let rows: Vec<[f64; 5]> = (0..CALIBRATION_ROWS).map(|row| self.logits(&self.impression(row))).collect();
        // Weight of a row in each task's sample space: how likely the parent is there.
        let mut weights = vec![[1.0; 5]; rows.len()];
        for task in 0..TASKS.len() {
            let target = RATES[task] * weights.iter().map(|weight| weight[task]).sum::<f64>();
            self.intercepts[task] = bisect(|shift| {
                let sum: f64 =
                    rows.iter().zip(&weights).map(|(row, weight)| weight[task] * sigmoid(row[task] + shift)).sum();
                sum - target
            });
            for child in (0..TASKS.len()).filter(|child| PARENTS[*child] == Some(task)) {
                for (row, weight) in rows.iter().zip(&mut weights) {
                    weight[child] = weight[task] * sigmoid(row[task] + self.intercepts[task]);
                }
            }
        }
        for task in (0..TASKS.len()).filter(|task| direct_rate > 0.0 && DIRECT[*task]) {
            let after: f64 = rows
                .iter()
                .zip(&weights)
                .map(|(row, weight)| weight[task] * sigmoid(row[task] + self.intercepts[task]))
                .sum();
            let target = after * direct_rate / (1.0 - direct_rate);
            self.without_parent[task] = bisect(|shift| {
                let logit = |row: &[f64; 5]| row[task] + self.intercepts[task] + shift;
                rows.iter().zip(&weights).map(|(row, weight)| (1.0 - weight[task]) * sigmoid(logit(row))).sum::<f64>()
                    - target
            });
        }
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn dot(a: &Taste, b: &Taste) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(to: &mut Taste, scale: f64, taste: &Taste) {
    to.iter_mut().zip(taste).for_each(|(to, taste)| *to += scale * taste);
}

fn appeal(user: &Taste, item: &Taste) -> f64 {
    let (z, w) = (user[APPEAL_DIRECTION], item[APPEAL_DIRECTION]);
    0.6 * z + 0.7 * w + 0.4 * z * w
}

/// From -1 at two at night to 1 at two in the afternoon.
fn day_wave(hour: usize) -> f64 {
    ((hour as f64 - 8.0) * std::f64::consts::TAU / 24.0).sin()
}

/// Where an increasing function crosses 0, between -30 and 30.
fn bisect(function: impl Fn(f64) -> f64) -> f64 {
    let (mut low, mut high) = (-30.0, 30.0);
    for _ in 0..50 {
        let middle = 0.5 * (low + high);
        if function(middle) < 0.0 {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// Shares that fall like those of real categories: the first is the most common.
fn shares(levels: usize) -> Vec<f64> {
    let weights: Vec<f64> = (0..levels).map(|level| 1.0 / (level as f64 + 4.0)).collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}

/// A taste for every level, such that over the levels' shares each dimension
/// has mean 0 and variance 1 and no two are correlated: else a handful of
/// levels would tie the tasks' preferences together by chance.
fn levels(seed: u64, name: &str, shares: &[f64]) -> Vec<Taste> {
    let stream = Stream::new(seed, name);
    let inner =
        |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).zip(shares).map(|((a, b), share)| a * b * share).sum() };
    let mut columns: Vec<Vec<f64>> = vec![vec![1.0; shares.len()]];
    for dimension in 0..DIMENSIONS {
        let draw = stream.part(dimension as u64);
        let mut column: Vec<f64> = (0..shares.len()).map(|level| draw.normal(level as u64)).collect();
        for other in &columns {
            let along = inner(&column, other);
            column.iter_mut().zip(other).for_each(|(value, other)| *value -= along * other);
        }
        let norm = inner(&column, &column).sqrt();
        column.iter_mut().for_each(|value| *value /= norm);
        columns.push(column);
    }
    (0..shares.len()).map(|level| std::array::from_fn(|dimension| columns[dimension + 1][level])).collect()
}

/// A taste of independent normals.
fn own(stream: Stream) -> Taste {
    std::array::from_fn(|dimension| stream.normal(dimension as u64))
}

fn make_users(seed: u64, users: usize) -> Vec<User> {
    let (segment_shares, city_shares) = (shares(SEGMENTS), shares(CITIES));
    let (segments, cities) = (levels(seed, "segment", &segment_shares), levels(seed, "city", &city_shares));
    let (segment_weights, city_weights) = (Weights::new(segment_shares), Weights::new(city_shares));
    let by_age = own(Stream::new(seed, "age"));
    let stream = Stream::new(seed, "user");
    (0..users)
        .map(|user| {
            let draw = stream.part(user as u64);
            let (segment, city) = (segment_weights.find(draw.uniform(0)), city_weights.find(draw.uniform(1)));
            let age = draw.normal(2).clamp(-1.8, 3.0);
            let mut taste = [0.0; DIMENSIONS];
            add(&mut taste, 0.7, &segments[segment]);
            add(&mut taste, 0.5, &cities[city]);
            add(&mut taste, 0.3, &std::array::from_fn(|dimension| age * by_age[dimension]));
            add(&mut taste, 0.15, &own(draw.part(3)));
            User {
                segment,
                city,
                age: (40.0 + 12.0 * age).round(),
                activity: (1.0 + 0.7 * draw.normal(4)).exp(),
                taste,
            }
        })
        .collect()
}

/// The items and how often each is shown, in any unit.
fn make_items(seed: u64, items: usize) -> (Vec<Item>, Vec<f64>) {
    let (category_shares, brand_shares, tag_shares) = (shares(CATEGORIES), shares(BRANDS), shares(TAGS));
    let (categories, brands) = (levels(seed, "category", &category_shares), levels(seed, "brand", &brand_shares));
    let tag_tastes = levels(seed, "tag", &tag_shares);
    let (category_weights, brand_weights) = (Weights::new(category_shares), Weights::new(brand_shares));
    let tag_weights = Weights::new(tag_shares);
    let stream = Stream::new(seed, "item");
    (0..items)
        .map(|item| {
            let draw = stream.part(item as u64);
            let (category, brand) = (category_weights.find(draw.uniform(0)), brand_weights.find(draw.uniform(1)));
            let mut tags: Vec<usize> = (0..1 + draw.below(2, MOST_TAGS as u64))
                .map(|tag| tag_weights.find(draw.part(3).uniform(tag)))
                .collect();
            tags.sort_unstable();
            tags.dedup();
            let mut taste = [0.0; DIMENSIONS];
            add(&mut taste, 0.7, &categories[category]);
            add(&mut taste, 0.5, &brands[brand]);
            tags.iter().for_each(|tag| add(&mut taste, 0.4 / tags.len() as f64, &tag_tastes[*tag]));
            add(&mut taste, 0.15, &own(draw.part(4)));
            taste[APPEAL_DIRECTION] += OWN_APPEAL * draw.normal(7);
            let price = (100.0 * (3.0 + draw.normal(5)).exp()).round() / 100.0;
            (Item { category, brand, tags, price: price.max(0.01), taste }, (0.8 * draw.normal(6)).exp())
        })
        .unzip()
}

/// The direction of each task's preference in one scenario, of length 1.
fn directions(seed: u64, scenario: usize, scenarios: usize, relation: Relation) -> [Taste; 5] {
    // Axis 0 is click's, 2 and 3 are shared, 4 to 7 are the conversions' own.
    let shared = |task: usize| match relation {
        Relation::Related => Some(2),
        Relation::TwoGroups => Some(if task <= 2 { 2 } else { 3 }),
        Relation::Unrelated => None,
    };
    let stream = Stream::new(seed, "scenario preference").part(scenario as u64);
    std::array::from_fn(|task| {
        let mut direction = [0.0; DIMENSIONS];
        let group = match (task, shared(task)) {
            (0, _) => {
                direction[0] = 1.0;
                0
            }
            (_, Some(axis)) => {
                direction[axis] = 0.95;
                direction[task + 3] = (1.0f64 - 0.95 * 0.95).sqrt();
                axis
            }
            (_, None) => {
                direction[task + 3] = 1.0;
                task + 3
            }
        };
        // Tasks that share a preference drift together from scenario to scenario.
        if scenarios > 1 {
            add(&mut direction, 0.15, &own(stream.part(group as u64)));
        }
        let length = dot(&direction, &direction).sqrt();
        direction.map(|value| value / length)
    })
}

/// How much more or less of each action a scenario sees, in log-odds.
fn offsets(seed: u64, scenario: usize, scenarios: usize) -> [f64; 5] {
    let stream = Stream::new(seed, "scenario offset").part(scenario as u64);
    std::array::from_fn(|task| if scenarios > 1 { 0.35 * stream.normal(task as u64) } else { 0.0 })
}

/// Draws an index in proportion to its weight.
struct Weights {
    cumulative: Vec<f64>,
}

impl Weights {
    fn new(weights: impl IntoIterator<Item = f64>) -> Weights {
        let mut sum = 0.0;
        let cumulative = weights
            .into_iter()
            .map(|weight| {
                sum += weight;
                sum
            })
            .collect();
        Weights { cumulative }
    }

    /// The index that a uniform number falls on.
    fn find(&self, uniform: f64) -> usize {
        let last = self.cumulative.len() - 1;
        let at = uniform * self.cumulative[last];
        self.cumulative.partition_point(|sum| *sum <= at).min(last)
    }
}

#[cfg(test)]
mod tests;
