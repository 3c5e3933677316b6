//! Two workers that exchange what they have learn as one worker with all rows.

// A test may panic, and to the lint the helpers here are no tests.
#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Barrier, Mutex};

use crosstie::batch::{Batch, Dense, Embedded, Ids, Layout, Table};
use crosstie::config::Config;
use crosstie::embedding::RowGradients;
use crosstie::model::ModelConfig;
use crosstie::random::Stream;
use crosstie::schema::{Pooling, Role, Schema, Side};
use crosstie::train::{Exchange, Trainer};

/// Two workers in one process: each says what it has, and takes the sum of both.
struct Pair {
    worker: usize,
    barrier: Arc<Barrier>,
    numbers: Arc<Mutex<[Vec<f64>; 2]>>,
    rows: Arc<Mutex<[Vec<RowGradients>; 2]>>,
}

impl Pair {
    fn new() -> [Pair; 2] {
        let barrier = Arc::new(Barrier::new(2));
        let (numbers, rows) = (Arc::default(), Arc::default());
        [0, 1].map(|worker| Pair {
            worker,
            barrier: Arc::clone(&barrier),
            numbers: Arc::clone(&numbers),
            rows: Arc::clone(&rows),
        })
    }

    /// What both have said, in the workers' order.
    fn both<T: Clone>(&self, place: &Mutex<[T; 2]>, own: T) -> [T; 2] {
        place.lock().unwrap()[self.worker] = own;
        self.barrier.wait();
        let both = place.lock().unwrap().clone();
        self.barrier.wait();
        both
    }
}

impl Exchange for Pair {
    fn sum(&mut self, numbers: &mut [f64]) {
        let both = self.both(&self.numbers.clone(), numbers.to_vec());
        numbers.iter_mut().enumerate().for_each(|(place, number)| *number = both[0][place] + both[1][place]);
    }

    fn sum_dense(&mut self, gradients: &mut [f32]) {
        let mut numbers: Vec<f64> = gradients.iter().map(|gradient| f64::from(*gradient)).collect();
        self.sum(&mut numbers);
        gradients.iter_mut().zip(numbers).for_each(|(gradient, sum)| *gradient = sum as f32);
    }

    fn sum_rows(&mut self, gradients: &mut Vec<RowGradients>) {
        let both = self.both(&self.rows.clone(), gradients.clone());
        for (table, into) in gradients.iter_mut().enumerate() {
            let of_both = both.each_ref().map(|tables| &tables[table]);
            let mut rows: Vec<u32> = of_both.iter().flat_map(|seen| seen.rows.iter().copied()).collect();
            rows.sort_unstable();
            rows.dedup();
            let mut sums = vec![0.0; rows.len() * WIDTH];
            for seen in of_both {
                for (row, gradient) in seen.rows.iter().zip(seen.gradients.chunks_exact(WIDTH)) {
                    let place = rows.binary_search(row).unwrap();
                    sums[place * WIDTH..][..WIDTH].iter_mut().zip(gradient).for_each(|(sum, one)| *sum += one);
                }
            }
            *into = RowGradients::new(rows, sums);
        }
    }
}

const WIDTH: usize = 3;

fn layout() -> Layout {
    let (side, role) = (Side::User, Role::Main);
    Layout {
        tasks: vec!["click".into(), "buy".into()],
        tables: vec![Table { name: "user".into(), rows: 12, width: WIDTH }],
        embedded: vec![Embedded { name: "user".into(), table: 0, pooling: Pooling::Mean, side, role }],
        dense: vec![Dense { name: "age".into(), width: 1, side, role }],
        scenarios: vec!["all".into()],
        ..Layout::default()
    }
}

fn schema() -> Schema {
    let tasks = "[[task]]\nname = \"click\"\n[[task]]\nname = \"buy\"\nafter = \"click\"\n";
    let fields = "[[field]]\nname = \"user\"\nkind = \"categorical\"\nwidth = 3\n[[field]]\nname = \"age\"\nkind = \"numeric\"\n";
    Schema::parse(&format!("{tasks}{fields}")).unwrap()
}

fn batch(rows: usize, number: u64) -> Batch {
    let draws = Stream::new(7, "rows").part(number);
    let draw = |row: usize, what: u64| draws.part(what).uniform(row as u64);
    let label = |row: usize, task: u64| f32::from(u8::from(draw(row, 3 + task) < 0.5));
    Batch {
        rows,
        ids: vec![Ids::One((0..rows).map(|row| (12.0 * draw(row, 1)) as u32).collect())],
        dense: (0..rows).map(|row| draw(row, 2) as f32).collect(),
        labels: (0..rows).flat_map(|row| [label(row, 0), label(row, 0) * label(row, 1)]).collect(),
        scenarios: vec![0; rows],
        ..Batch::default()
    }
}

#[test]
fn two_workers_with_half_the_rows_each_learn_as_one_with_all_of_them() {
    for balance in ["uncertainty", "dwa", "gradnorm", "pcgrad", "adatask", "multibalance", "fixed"] {
        let mut config = Config::new(ModelConfig::named("mmoe").unwrap());
        config.network.dropout = 0.0;
        config.optimizer.clip = 0.05;
        config.balance = toml::from_str(&format!("name = \"{balance}\"")).unwrap();
        let (schema, layout) = (schema(), layout());
        let trainer = || Trainer::new(&config, &schema, &layout).unwrap();
        let batches: Vec<Batch> = (0..8).map(|number| batch(70, number)).collect();
        let mut alone = trainer();
        let expected: Vec<_> = batches.iter().map(|batch| alone.step(1, batch).unwrap()).collect();
        // Halves of different sizes: a worker's rows must not count more for being few.
        let half = |worker: usize, batch: &Batch| batch.select(&[0..20, 20..70][worker].clone().collect::<Vec<_>>());
        let pair = Pair::new().map(|pair| trainer().with_exchange(pair));
        let found = std::thread::scope(|scope| {
            let work = pair.into_iter().enumerate().map(|(worker, mut trainer)| {
                let (batches, half) = (&batches, &half);
                scope.spawn(move || {
                    let taught: Vec<_> =
                        batches.iter().map(|batch| trainer.step(1, &half(worker, batch)).unwrap()).collect();
                    (taught, trainer.into_learned())
                })
            });
            let work: Vec<_> = work.collect();
            work.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>()
        });
        let alone = alone.into_learned();
        for (taught, learned) in found {
            for (taught, expected) in taught.iter().zip(&expected) {
                assert_eq!((taught.step, taught.rows), (expected.step, expected.rows));
                let pairs = taught.losses.iter().zip(&expected.losses);
                assert!(
                    pairs.clone().all(|(one, other)| (one - other).abs() < 1e-3),
                    "{balance}: {taught:?} {expected:?}"
                );
            }
            for (one, other) in learned.tensors().zip(alone.tensors()) {
                let largest = one.values.iter().zip(other.values).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(largest < 2e-4, "{balance}, {}: {largest}", one.name);
            }
        }
    }
}
