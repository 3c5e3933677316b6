//! The formula language: a text is a formula or an error with a place in it, and a formula
//! is computed for any values.

#![no_main]

use crosstie_serve::formula::{Formula, Values};
use libfuzzer_sys::fuzz_target;

const NUMBERS: [f64; 6] = [0.0, 0.03, 1.0, -2.5, f64::INFINITY, f64::NAN];

fuzz_target!(|text: &str| {
    let tasks = ["click".to_string(), "buy".to_string()];
    match Formula::parse(text, &tasks) {
        Ok(formula) => {
            assert_eq!(Formula::parse(formula.text(), &tasks).as_ref(), Ok(&formula));
            let mut stack = Vec::new();
            for number in NUMBERS {
                let fields = vec![number; formula.fields().len()];
                let values = Values { given_parent: &[number, 0.5], from_impression: &[0.5, number], fields: &fields };
                let first = formula.score(values, &mut stack);
                assert_eq!(first.to_bits(), formula.score(values, &mut stack).to_bits());
            }
        }
        Err(error) => assert!((1..=text.chars().count() + 1).contains(&error.character), "{error}"),
    }
});
