//! Which arm a unit is in: a hash, so that it is the same on every machine and at every
//! time, and says nothing of its arm in another experiment.
//!
//! Hashes and ranges are those of GrowthBook's SDKs (specification 0.5.4), so units
//! that others assigned stay where they are.

use serde::{Deserialize, Serialize};

/// How a unit and a seed become a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum HashVersion {
    /// A thousand buckets; experiments are not quite independent. For units that are
    /// already assigned so.
    #[serde(rename = "v1")]
    V1,
    /// Ten thousand buckets, hashed twice.
    #[default]
    #[serde(rename = "v2")]
    V2,
}

/// FNV-1a with 32 bits, over the text's characters as GrowthBook takes them: UTF-16.
fn fnv1a(texts: &[&str]) -> u32 {
    let units = texts.iter().flat_map(|text| text.encode_utf16());
    units.fold(0x811c_9dc5, |hash, unit| (hash ^ u32::from(unit)).wrapping_mul(0x0100_0193))
}

/// A unit's bucket in [0, 1).
pub fn bucket(seed: &str, unit: &str, version: HashVersion) -> f64 {
    match version {
        HashVersion::V1 => f64::from(fnv1a(&[unit, seed]) % 1_000) / 1_000.0,
        HashVersion::V2 => f64::from(fnv1a(&[&fnv1a(&[seed, unit]).to_string()]) % 10_000) / 10_000.0,
    }
}

/// The arm of a bucket, where a share `coverage` of all units takes part: each arm has
/// the first part of a range of its own, so a unit that takes part keeps its arm when
/// the coverage grows. `shares` add up to 1.
pub fn choose(bucket: f64, coverage: f64, shares: &[f64]) -> Option<usize> {
    let mut start = 0.0;
    for (arm, share) in shares.iter().enumerate() {
        if (start..start + coverage.clamp(0.0, 1.0) * share).contains(&bucket) {
            return Some(arm);
        }
        start += share;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::statistics::chi_square;

    /// Source: growthbook/growthbook, packages/sdk-js/test/cases.json, specification
    /// 0.5.4: `hash`, and the buckets in `feature` and `stickyBucket`.
    #[test]
    fn buckets_are_growthbooks() {
        use HashVersion::{V1, V2};
        for (seed, unit, version, expected) in [
            ("", "a", V1, 0.22),
            ("", "b", V1, 0.077),
            ("b", "a", V1, 0.946),
            ("ef", "d", V1, 0.652),
            ("asdf", "8952klfjas09ujk", V1, 0.549),
            ("", "123", V1, 0.011),
            ("", "___)((*\":&", V1, 0.563),
            ("feature", "123", V1, 0.863),
            ("feature", "456", V1, 0.178),
            ("feature", "fds", V1, 0.514),
            ("seed", "a", V2, 0.0505),
            ("seed", "b", V2, 0.2696),
            ("foo", "ab", V2, 0.2575),
            ("foo", "def", V2, 0.2019),
            ("89123klj", "8952klfjas09ujkasdf", V2, 0.124),
            ("90850943850283058242805", "123", V2, 0.7516),
            ("()**(%$##$%#$#", "___)((*\":&", V2, 0.0128),
            ("feature", "123", V2, 0.5231),
            ("feature-exp", "d123", V2, 0.6468),
            ("feature-exp", "i123", V2, 0.9943),
        ] {
            assert_eq!(bucket(seed, unit, version), expected, "{seed} {unit} {version:?}");
        }
    }

    /// Source: as above, `getBucketRange`.
    #[test]
    fn ranges_are_growthbooks() {
        let ranges = |coverage: f64, shares: &[f64]| -> Vec<(usize, f64, f64)> {
            let middle = |step: i32| (f64::from(step) + 0.5) / 10_000.0;
            let arms: Vec<Option<usize>> = (0..10_000).map(|step| choose(middle(step), coverage, shares)).collect();
            let range = |arm: usize| {
                let first = arms.iter().position(|found| *found == Some(arm))?;
                let last = arms.iter().rposition(|found| *found == Some(arm))?;
                Some((arm, first as f64 / 10_000.0, (last + 1) as f64 / 10_000.0))
            };
            (0..shares.len()).filter_map(range).collect()
        };
        assert_eq!(ranges(1.0, &[0.5, 0.5]), [(0, 0.0, 0.5), (1, 0.5, 1.0)]);
        assert_eq!(ranges(0.5, &[0.5, 0.5]), [(0, 0.0, 0.25), (1, 0.5, 0.75)]);
        assert_eq!(ranges(0.0, &[0.5, 0.5]), []);
        assert_eq!(ranges(-0.2, &[0.5, 0.5]), []);
        assert_eq!(ranges(1.5, &[0.5, 0.5]), [(0, 0.0, 0.5), (1, 0.5, 1.0)]);
        assert_eq!(ranges(1.0, &[0.4, 0.6]), [(0, 0.0, 0.4), (1, 0.4, 1.0)]);
        assert_eq!(ranges(0.2, &[0.2, 0.3, 0.5]), [(0, 0.0, 0.04), (1, 0.2, 0.26), (2, 0.5, 0.6)]);
    }

    #[test]
    fn a_unit_keeps_its_arm_when_the_coverage_grows() {
        for unit in 0..5_000 {
            let bucket = bucket("ramp", &format!("user-{unit}"), HashVersion::V2);
            let mut arm = None;
            for coverage in [0.05, 0.2, 0.5, 1.0] {
                let now = choose(bucket, coverage, &[0.3, 0.7]);
                assert!(arm.is_none() || now == arm, "unit {unit}: {arm:?}, then {now:?}");
                arm = now;
            }
            assert!(arm.is_some(), "at full coverage every unit takes part");
        }
    }

    /// Chi-square over the four cells of two experiments: with seeds of their own, units
    /// fall into them as often as the shares' products say.
    #[test]
    fn arms_of_two_experiments_have_nothing_to_do_with_each_other() {
        let mut cells = [0; 4];
        for unit in 0..100_000 {
            let unit = format!("user-{unit}");
            let arm = |seed: &str| choose(bucket(seed, &unit, HashVersion::V2), 1.0, &[0.5, 0.5]).unwrap();
            cells[2 * arm("salt/one") + arm("salt/two")] += 1;
        }
        let p = chi_square(&cells, &[0.25; 4]).unwrap();
        assert!(p > 0.001, "{cells:?}: {p}");
    }
}
