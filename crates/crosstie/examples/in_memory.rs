//! Trains on a table in memory and ranks candidates for one user.
//!
//!     cargo run --release -p crosstie --example in_memory

use std::sync::Arc;

use crosstie::Result;
use crosstie::arrow::array::{ArrayRef, Float64Array, Int8Array, RecordBatch, StringArray};
use crosstie::compute::Threads;
use crosstie::config::Config;
use crosstie::data::{Rows, Source};
use crosstie::model::ModelConfig;
use crosstie::random::Stream;
use crosstie::schema::Schema;
use crosstie::train::{Event, Next, train};

const SCHEMA: &str = r#"
    group = "user"
    [[task]]
    name = "click"
    [[task]]
    name = "buy"
    after = "click"
    [[field]]
    name = "user"
    kind = "categorical"
    side = "user"
    [[field]]
    name = "item"
    kind = "categorical"
    side = "item"
    [[field]]
    name = "price"
    kind = "numeric"
    transform = "log1p"
    side = "item"
"#;

/// Impressions of 50 users and 40 items: some like what is cheap, some what is dear.
fn log(rows: u64, seed: u64) -> RecordBatch {
    let draws = Stream::new(seed, "log");
    let draw = |row: u64, what: u64| draws.part(row).uniform(what);
    let user = |row: u64| (50.0 * draw(row, 0)) as u64;
    let item = |row: u64| (40.0 * draw(row, 1)) as u64;
    let likes = |row: u64| if (user(row) % 2 == 0) == (item(row) < 20) { 0.6 } else { 0.1 };
    let click = |row: u64| draw(row, 2) < likes(row);
    let buy = |row: u64| click(row) && draw(row, 3) < likes(row);
    let columns: [(&str, ArrayRef); 5] = [
        ("user", Arc::new(StringArray::from_iter_values((0..rows).map(|row| format!("u{}", user(row)))))),
        ("item", Arc::new(StringArray::from_iter_values((0..rows).map(|row| format!("i{}", item(row)))))),
        ("price", Arc::new(Float64Array::from_iter_values((0..rows).map(|row| 1.0 + item(row) as f64)))),
        ("click", Arc::new(Int8Array::from_iter_values((0..rows).map(|row| i8::from(click(row)))))),
        ("buy", Arc::new(Int8Array::from_iter_values((0..rows).map(|row| i8::from(buy(row)))))),
    ];
    RecordBatch::try_from_iter(columns).expect("columns of one length")
}

fn main() -> Result<()> {
    let schema = Schema::parse(SCHEMA)?;
    let training = Source::from_batches("training rows", vec![log(20_000, 1), log(20_000, 2)])?;
    let valid = Source::from_batches("validation rows", vec![log(5_000, 3)])?;

    let mut config = Config::new(ModelConfig::named("mmoe").expect("a model of this name"));
    (config.train.epochs, config.train.batch_size) = (5, 512);
    let trained = train(&config, &schema, &training, &valid, &mut |event| {
        if let Event::Evaluated { epoch, figure: Some(figure), .. } = event {
            println!("epoch {epoch}: mean AUC {figure:.4}");
        }
        Next::GoOn
    })?;
    let scorer = trained.scorer;

    // One user, every item. A small request is done sooner on the thread that asks.
    let items = 0..40;
    let candidates: [(&str, ArrayRef); 3] = [
        ("user", Arc::new(StringArray::from_iter_values(items.clone().map(|_| "u7")))),
        ("item", Arc::new(StringArray::from_iter_values(items.clone().map(|item| format!("i{item}"))))),
        ("price", Arc::new(Float64Array::from_iter_values(items.clone().map(|item| 1.0 + f64::from(item))))),
    ];
    let candidates = RecordBatch::try_from_iter(candidates).expect("columns of one length");
    let mut workspace = scorer.workspace(candidates.num_rows()).on(Threads::Inline);
    let scores = scorer.score_rows(&mut workspace, &Rows::new(candidates, "a request"))?;
    let mut ranked: Vec<(usize, f64)> = scores.from_impression(1).enumerate().collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    for (item, buy) in &ranked[..3] {
        println!("u7 buys i{item} with probability {buy:.3}");
    }
    assert!(ranked[0].0 >= 20, "odd users like what is dear");
    Ok(())
}
