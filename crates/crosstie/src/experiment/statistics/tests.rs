use super::*;
use crate::random::Stream;

fn near(found: f64, expected: f64) {
    assert!((found - expected).abs() <= 1e-4, "found {found}, expected {expected}");
}

fn holds(interval: Interval, low: f64, high: f64) {
    near(interval.low, low);
    near(interval.high, high);
}

// Source of the numbers: growthbook/growthbook, packages/stats/tests/frequentist/test_tests.py
// and packages/back-end/test/util/ssrm.test.ts.

fn control(units: u64) -> Moments {
    Moments::of_mean(units, 1396.87, 52377.9767)
}

fn candidate() -> Moments {
    Moments::of_mean(3461, 2422.7, 134698.29)
}

/// Numbers during and before the experiment: of numerators and denominators.
fn ratio(sums: [f64; 4], squares: [f64; 4], products: [[usize; 2]; 6], values: [f64; 6]) -> Moments {
    let mut table = [[0.0; 4]; 4];
    (0..4).for_each(|place| table[place][place] = squares[place]);
    for ([one, other], value) in products.into_iter().zip(values) {
        (table[one][other], table[other][one]) = (value, value);
    }
    Moments::from_sums(100, sums, table)
}

fn ratios() -> (Moments, Moments) {
    // m before, d before; m and d before; m and d; m and d before; m before and d.
    let products = [[0, 2], [1, 3], [2, 3], [0, 1], [0, 3], [1, 2]];
    let control = ratio(
        [485.112236689623, 679.9093275844917, 192.59138069991536, 290.1398399750233],
        [2715.484666118136, 4939.424001640236, 460.076026390857, 920.9461385038898],
        products,
        [
            1113.6215759318352,
            2130.9404074446747,
            634.239482353647,
            3602.146836776702,
            1559.2878434944676,
            1460.3181079276983,
        ],
    );
    let candidate = ratio(
        [514.7757826608777, 705.4090874383759, 206.94157227402536, 302.54389139107326],
        [2994.897482705013, 5291.36604146392, 514.2903702246757, 994.4506208125663],
        products,
        [
            1237.0953021125997,
            2292.081739775257,
            698.4173425817908,
            3918.1561431600717,
            1701.0287270040265,
            1604.0759503266522,
        ],
    );
    (control, candidate)
}

/// A mean with what is known of the same units before.
fn with_past(units: u64, during: (f64, f64), before: (f64, f64), product: f64) -> Moments {
    let n = units as f64;
    Moments::from_sums(
        units,
        [during.0, n, before.0, n],
        [
            [during.1, during.0, product, during.0],
            [during.0, n, before.0, n],
            [product, before.0, before.1, before.0],
            [during.0, n, before.0, n],
        ],
    )
}

#[test]
fn a_relative_difference_of_means_is_growthbooks() {
    let effect = Effect::of(&control(3407), &candidate(), Scale::Relative).unwrap();
    near(effect.estimate, 0.70732);
    near(effect.standard_error, 0.37879);
    near(effect.p(), 0.06191);
    holds(effect.interval(0.05), -0.03526, 1.44989);
}

#[test]
fn an_absolute_difference_of_means_is_growthbooks() {
    let effect = Effect::of(&control(3407), &candidate(), Scale::Absolute).unwrap();
    near(effect.estimate, 0.29);
    near(effect.standard_error, 0.12478);
    near(effect.p(), 0.02016);
    holds(effect.interval(0.05), 0.04538, 0.53462);
}

#[test]
fn a_difference_of_shares_is_growthbooks() {
    let effect = Effect::of(&Moments::of_share(28, 14), &Moments::of_share(30, 16), Scale::Relative).unwrap();
    near(effect.estimate, 0.06667);
    near(effect.standard_error, 0.2717);
    near(effect.p(), 0.80707);
    holds(effect.interval(0.05), -0.47767, 0.61101);
}

#[test]
fn confidence_sequences_are_growthbooks() {
    let effect = Effect::of(&control(3000), &candidate(), Scale::Relative).unwrap();
    near(effect.estimate, 0.50336);
    near(effect.standard_error, 0.33341);
    holds(effect.sequence(0.05, 1000.0), -0.55844, 1.56516);
    assert_eq!(effect.sequential_p(0.05, 1000.0), 1.0);
    let effect = Effect::of(&Moments::of_share(3000, 1396), &Moments::of_share(3461, 2422), Scale::Relative).unwrap();
    near(effect.estimate, 0.50386);
    near(effect.standard_error, 0.03386);
    holds(effect.sequence(0.05, TUNING), 0.40098, 0.60675);
    near(effect.sequential_p(0.05, TUNING), 0.0);
}

#[test]
fn cuped_is_growthbooks() {
    let control = with_past(3000, (1396.87, 52377.9767), (16.87, 527.9767), 1.0);
    let candidate = with_past(3461, (2422.7, 134698.29), (22.7, 1348.29), 1.0);
    let effect = Effect::adjusted(&control, &candidate, Scale::Relative).unwrap();
    near(effect.estimate, 0.50338);
    near(effect.standard_error, 0.33341);
    holds(effect.sequence(0.05, TUNING), -0.50969, 1.51646);
    assert_eq!(effect.sequential_p(0.05, TUNING), 1.0);
}

#[test]
fn cuped_of_ratios_is_growthbooks() {
    let (control, candidate) = ratios();
    let effect = Effect::adjusted(&control, &candidate, Scale::Relative).unwrap();
    near(effect.estimate, -0.0007);
    near(effect.standard_error, 0.00391);
    near(effect.p(), 0.85771);
    holds(effect.interval(0.05), -0.00841, 0.00700);
    holds(effect.sequence(0.05, TUNING), -0.02063, 0.01923);
    near(effect.sequential_p(0.05, TUNING), 1.0);
    let plain = Effect::of(&control, &candidate, Scale::Relative).unwrap();
    assert!(plain.standard_error > 2.0 * effect.standard_error, "what was before explains most");
}

#[test]
fn a_sequence_is_narrowest_where_it_is_tuned_for() {
    let effect = Effect::of(&control(3000), &candidate(), Scale::Relative).unwrap();
    let width = |tuning: f64| effect.sequence(0.05, tuning).high - effect.estimate;
    assert!(width(6461.0) < width(10.0) && width(6461.0) < width(100_000.0));
    assert!(width(6461.0) > effect.interval(0.05).high - effect.estimate);
}

#[test]
fn a_sequential_p_value_crosses_alpha_where_its_interval_crosses_zero() {
    for estimate in [0.1, 0.2, 0.3, 0.4] {
        let effect = Effect { estimate, standard_error: 0.1, freedom: 100.0, units: 4000 };
        let (p, interval) = (effect.sequential_p(0.05, TUNING), effect.sequence(0.05, TUNING));
        assert_eq!(p < 0.05, interval.low > 0.0, "{estimate}: {p}, {interval:?}");
    }
}

#[test]
fn what_has_no_meaning_has_no_effect() {
    let none = Moments::default();
    let same = Moments::of_mean(10, 10.0, 10.0);
    let zero = Moments::of_mean(10, 0.0, 4.0);
    assert_eq!(Effect::of(&none, &candidate(), Scale::Absolute), None, "no units");
    assert_eq!(Effect::of(&same, &same, Scale::Absolute), None, "no variance");
    assert_eq!(Effect::of(&zero, &candidate(), Scale::Relative), None, "nothing to compare with");
    assert!(Effect::of(&zero, &candidate(), Scale::Absolute).is_some());
    let plain = Effect::of(&control(3000), &candidate(), Scale::Relative);
    assert_eq!(Effect::adjusted(&control(3000), &candidate(), Scale::Relative), plain, "nothing is known of before");
}

#[test]
fn moments_merge_and_let_go() {
    let unit = |index: u64| [index as f64, 1.0 + (index % 3) as f64, (index % 5) as f64, 1.0];
    let of = |units: std::ops::Range<u64>| {
        let mut moments = Moments::default();
        units.for_each(|index| moments.add(&unit(index)));
        moments
    };
    assert_eq!(of(0..40).merge(&of(40..100)), of(0..100));
    let mut moments = of(0..100);
    (40..100).for_each(|index| moments.remove(&unit(index)));
    assert_eq!(moments, of(0..40));
    assert_eq!(moments.value(), Some((39.0 * 20.0) / (0..40).map(|index| unit(index)[1]).sum::<f64>()));
}

/// The closed form: with the least detectable difference, power is what was asked for,
/// but for the other tail; four times the units find half of it.
#[test]
fn power_units_and_least_difference_agree() {
    let effect = Effect { estimate: 0.0, standard_error: 0.01, freedom: 1e4, units: 10_000 };
    let least = effect.least_detectable(0.05, 0.8);
    near(least, 0.01 * (1.959964 + 0.841621));
    near(effect.power(least, 0.05), 0.8);
    near(effect.power(0.0, 0.05), 0.05);
    assert_eq!(effect.units_needed(least / 2.0, 0.05, 0.8), 40_000.0);
}

#[test]
fn chi_square_finds_a_sample_ratio_that_is_off() {
    // By hand: (5200 - 5000)² / 5000 · 2 = 16, whose tail at one degree of freedom is 6.334e-5.
    near(chi_square(&[5_200, 4_800], &[50.0, 50.0]).unwrap(), 6.334e-5);
    near(chi_square(&[5_000, 5_000], &[0.5, 0.5]).unwrap(), 1.0);
    near(chi_square(&[100, 900, 0], &[0.1, 0.9, 0.0]).unwrap(), 1.0);
    assert_eq!(chi_square(&[0, 0], &[0.5, 0.5]), None);
    assert_eq!(chi_square(&[10], &[1.0]), None);
}

#[test]
fn the_sequential_sample_ratio_is_growthbooks() {
    let after = |shares: &[f64], looks: &[&[u64]]| {
        let mut ratio = SampleRatio::with_concentrations(shares, &[10_000.0]);
        looks
            .iter()
            .map(|units| {
                ratio.add(units);
                ratio.p()
            })
            .collect::<Vec<f64>>()
    };
    let alike = |found: f64, expected: f64| assert!((found / expected - 1.0).abs() < 1e-6, "{found}, {expected}");
    let days = after(&[0.5, 0.5], &[&[500, 500], &[600, 400], &[700, 300], &[800, 200]]);
    assert_eq!(days[0], 1.0);
    alike(days[1], 0.20685901461423034);
    alike(days[2], 1.099173293697608e-6);
    alike(days[3], 5.115536116778213e-23);
    alike(after(&[0.5, 0.5], &[&[800, 200]])[0], 8.126155715401769e-8);
    alike(after(&[0.34, 0.33, 0.33], &[&[600, 200, 200]])[0], 1.4343631225400445e-6);
    alike(after(&[0.5, 0.5], &[&[500, 500], &[0, 0], &[600, 400]])[2], 0.20685901461423034);
    assert_eq!(after(&[40.0, 20.0, 40.0], &[&[400, 200, 400], &[400, 200, 400]]), [1.0, 1.0]);
    let mut near_shares = SampleRatio::with_concentrations(&[0.5, 0.5], &[100.0]);
    near_shares.add(&[800, 200]);
    alike(near_shares.p(), 2.253273013435552e-75);
}

#[test]
fn a_gross_mismatch_of_few_units_passed_for_a_sample_ratio_that_holds() {
    let of = |units: [u64; 2]| {
        let mut ratio = SampleRatio::new(&[0.5, 0.5]);
        ratio.add(&units);
        ratio.p()
    };
    // By chi-square 2e-45, 1e-35 and 4e-19; of a concentration of 10,000 alone .14, .001 and .0014.
    for (units, at_most) in [([0, 200], 1e-40), ([310, 700], 1e-30), ([800, 1_200], 1e-14)] {
        assert!(of(units) < at_most, "{units:?}: {}", of(units));
    }
    // A slight mismatch of many units is found as before: 51 % of 200,000, 3e-19 by chi-square.
    assert!(of([102_000, 98_000]) < 1e-14, "{}", of([102_000, 98_000]));
    assert_eq!(of([5_050, 4_950]), 1.0);
}

/// By Ville's inequality at most 5 % of tests of equal arms ever look like less than .05,
/// though each is looked at 100 times.
#[test]
fn arms_that_get_their_shares_seldom_ever_look_otherwise() {
    let chance = Stream::new(11, "sample ratio");
    let ever = (0..400u64).filter(|test| {
        let mut ratio = SampleRatio::new(&[0.3, 0.7]);
        for look in 0..100 {
            let first = (0..30).filter(|unit| chance.uniform((test * 100 + look) * 30 + unit) < 0.3).count() as u64;
            ratio.add(&[first, 30 - first]);
        }
        ratio.p() < 0.05
    });
    let ever = ever.count();
    assert!((1..=20).contains(&ever), "{ever} of 400");
}

#[test]
fn what_was_seen_of_the_sample_ratio_is_kept_to_the_bit() {
    let mut ratio = SampleRatio::new(&[0.3, 0.7]);
    ratio.add(&[310, 690]);
    let read: SampleRatio = serde_json::from_str(&serde_json::to_string(&ratio).unwrap()).unwrap();
    assert_eq!(read, ratio);
}
