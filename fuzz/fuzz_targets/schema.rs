//! A schema: what is read is written and read back.

#![no_main]

use crosstie::schema::Schema;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(schema) = Schema::parse(text) {
        let written = schema.to_toml();
        assert_eq!(Schema::parse(&written).expect("what was written"), schema, "{written}");
        schema.funnel();
        schema.feature_columns();
    }
});
