//! Numbers for people.

/// A whole number with a comma between thousands.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A figure with four decimals, or a dash where it is not defined.
pub fn figure(value: Option<f64>) -> String {
    value.map_or("-".into(), |value| format!("{value:.4}"))
}

/// A share in per cent, or a dash.
pub fn percent(share: Option<f64>) -> String {
    match share.map(|share| 100.0 * share) {
        None => "-".into(),
        Some(percent) if percent > 0.0 && percent < 0.1 => format!("{percent:.4} %"),
        Some(percent) => format!("{percent:.2} %"),
    }
}

/// A change in per cent, always with its sign.
pub fn signed_percent(share: f64) -> String {
    format!("{:+.2} %", 100.0 * share)
}

/// A number with as few digits as tell it: at most four that count.
pub fn plain(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{}", value + 0.0);
    }
    let digits = 3 - value.abs().log10().floor() as i32;
    if !(0..=9).contains(&digits) {
        return if digits < 0 { format!("{value:.0}") } else { format!("{value:.1e}") };
    }
    let text = format!("{value:.*}", digits as usize);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text }
}
