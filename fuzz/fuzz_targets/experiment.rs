//! An experiment's file, and the state beside it behind a NUL; a market.

#![no_main]

use crosstie::experiment::{Contract, Evidence, MarketConfig, Ramp, State};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (file, state) = text.split_once('\0').unwrap_or((text, ""));
    let _ = MarketConfig::parse(file);
    let Ok(contract) = Contract::parse(file) else { return };
    let shares: f64 = contract.shares().iter().sum();
    assert!((shares - 1.0).abs() < 1e-6, "{shares}");
    let started = State::started(0);
    let state: State = serde_json::from_str(state).unwrap_or_else(|_| started.clone());
    for unit in ["", "u1", "u2", file] {
        for state in [&started, &state] {
            let place = contract.place(state, unit);
            assert!(place.arm < contract.arms.len());
            assert_eq!(place, contract.place(state, unit));
        }
    }
    for now in [0, 1_000_000_000, u64::MAX] {
        let decision = Ramp::next(&contract, &state, &Evidence::default(), now);
        let after = Ramp::apply(&contract, &state, &decision, now);
        contract.place(&after, "u1");
    }
});
