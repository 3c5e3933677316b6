mod evaluation;
mod golden;
mod likeness;
mod names;
mod properties;

/// Whether two figures agree up to rounding: 1e-12, absolute near 0.
fn agree(found: Option<f64>, expected: Option<f64>) -> bool {
    match (found, expected) {
        (Some(found), Some(expected)) => (found - expected).abs() <= 1e-12 * expected.abs().max(1.0),
        (found, expected) => found == expected,
    }
}
