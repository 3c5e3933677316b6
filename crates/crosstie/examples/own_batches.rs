//! Learns from batches that a program makes itself, one step at a time.
//!
//!     cargo run --release -p crosstie --example own_batches

use std::sync::Arc;

use crosstie::Result;
use crosstie::batch::{Batch, Dense, Embedded, Ids, Layout, Table};
use crosstie::config::Config;
use crosstie::model::ModelConfig;
use crosstie::random::Stream;
use crosstie::schema::{Pooling, Role, Schema, Side};
use crosstie::train::Trainer;

/// Rows of a table of users, and one number; a click follows from both.
fn batch(number: u64) -> Batch {
    let draws = Stream::new(1, "batches").part(number);
    let rows = 256;
    let user = |row: u64| (100.0 * draws.part(row).uniform(0)) as u32;
    let hour = |row: u64| draws.part(row).uniform(1) as f32;
    let click = |row: u64| user(row) % 2 == 0 && hour(row) > 0.3;
    Batch {
        rows: rows as usize,
        ids: vec![Ids::One((0..rows).map(user).collect())],
        dense: (0..rows).map(hour).collect(),
        labels: (0..rows).map(|row| f32::from(u8::from(click(row)))).collect(),
        scenarios: vec![0; rows as usize],
        ..Batch::default()
    }
}

fn main() -> Result<()> {
    let schema = Schema::parse(
        "[[task]]\nname = \"click\"\n[[field]]\nname = \"user\"\nkind = \"categorical\"\n[[field]]\nname = \"hour\"\n\
         kind = \"numeric\"\n",
    )?;
    // What a program that encodes rows itself must say of them.
    let (side, role) = (Side::User, Role::Main);
    let layout = Layout {
        tasks: vec!["click".into()],
        tables: vec![Table { name: "user".into(), rows: 100, width: 8 }],
        embedded: vec![Embedded { name: "user".into(), table: 0, pooling: Pooling::Mean, side, role }],
        dense: vec![Dense { name: "hour".into(), width: 1, side, role }],
        scenarios: vec!["all".into()],
        ..Layout::default()
    };
    let config = Config::new(ModelConfig::named("shared-bottom").expect("a model of this name"));
    let mut trainer = Trainer::new(&config, &schema, &layout)?;
    let mut last = f64::INFINITY;
    for number in 0..400 {
        let taught = trainer.step(1, &batch(number))?;
        if taught.step % 100 == 0 {
            last = taught.losses[0] / taught.rows as f64;
            println!("step {}: a mean loss of {last:.4}", taught.step);
        }
    }
    assert!(last < 0.2);

    let learned = Arc::new(trainer.into_learned());
    let scores = learned.passes().score(&mut learned.workspace(256), &batch(1000));
    println!("the first row is clicked with probability {:.3}", scores.from_impression(0).next().unwrap_or_default());
    Ok(())
}
