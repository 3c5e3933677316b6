//! The users and items behind a synthetic log, for whoever wants to know what would
//! have happened.

use std::sync::Arc;

use super::world::{Impression, TASKS, World};
use super::{Synth, arrow_schema, features};
use crate::arrow::array::RecordBatch;
use crate::arrow::datatypes::Schema;
use crate::error::Result;
use crate::random::Stream;

/// The users and items of a synthetic log: whatever a log of the same settings taught
/// a model is true of them.
pub struct Crowd {
    world: World,
    schema: Arc<Schema>,
}

impl Crowd {
    /// Those of a log.
    ///
    /// # Errors
    /// As of [`Synth::write`], for a value out of its range.
    pub fn new(log: &Synth) -> Result<Crowd> {
        log.check()?;
        let world = log.world();
        let all = arrow_schema();
        let count = features(&world, &[]).len();
        Ok(Crowd { world, schema: Arc::new(Schema::new(all.fields()[..count].to_vec())) })
    }

    /// Number of users.
    pub fn users(&self) -> usize {
        self.world.users.len()
    }

    /// Number of items.
    pub fn items(&self) -> usize {
        self.world.items.len()
    }

    /// Sessions a week of a user.
    pub fn activity(&self, user: usize) -> f64 {
        self.world.users[user].activity
    }

    /// Whose item it is, from 0.
    pub fn brand(&self, item: usize) -> usize {
        self.world.items[item].brand
    }

    /// The price of an item.
    pub fn price(&self, item: usize) -> f64 {
        self.world.items[item].price
    }

    /// An impression, drawn as those of the log are.
    pub fn draw(&self, stream: &Stream) -> Impression {
        self.world.draw(stream)
    }

    /// The columns of impressions that a model may know.
    pub fn rows(&self, shown: &[Impression]) -> RecordBatch {
        RecordBatch::try_new(self.schema.clone(), features(&self.world, shown))
            .expect("every column has its type and one value per row")
    }

    /// The place of a task in [`Crowd::truth`].
    pub fn task(&self, name: &str) -> Option<usize> {
        TASKS.iter().position(|task| *task == name)
    }

    /// The tasks, every parent before its children.
    pub fn tasks(&self) -> [&'static str; 5] {
        TASKS
    }

    /// What comes of an impression: whether each task happens.
    pub fn outcome(&self, stream: &Stream, impression: &Impression) -> [bool; 5] {
        self.world.outcome(stream, &self.world.truth(impression))
    }

    /// The true probability of each task from the impression.
    pub fn truth(&self, impression: &Impression) -> [f64; 5] {
        self.world.truth(impression).joint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Source;
    use crate::data::synth::truth_columns;

    /// The first row of the log is the first draw of its stream.
    #[test]
    fn the_crowd_is_the_one_behind_the_log() {
        let log = Synth { rows: 1_000, ..Synth::default() };
        let directory = tempfile::tempdir().unwrap();
        log.write(directory.path()).unwrap();
        let source = Source::open(&[directory.path().join("train.parquet").to_str().unwrap()]).unwrap();
        let truth = truth_columns("buy").from_impression;
        let first = source.rows(&["user_id", "brand", "price", &truth], 8).next().unwrap().unwrap();
        let crowd = Crowd::new(&log).unwrap();
        let shown = crowd.draw(&Stream::new(log.seed, "impression").part(0));
        assert_eq!(first.column("user_id").unwrap().numbers().unwrap()[0], Some(shown.user as f64));
        assert_eq!(first.column("price").unwrap().numbers().unwrap()[0], Some(crowd.price(shown.item)));
        let buy = crowd.truth(&shown)[crowd.task("buy").unwrap()];
        let truth = first.column(&truth).unwrap().numbers().unwrap()[0];
        assert_eq!(truth.map(|truth| truth as f32), Some(buy as f32));
        assert_eq!(crowd.rows(&[shown]).column_by_name("user_id").unwrap().len(), 1);
        assert!(crowd.rows(&[shown]).column_by_name("click").is_none());
    }
}
