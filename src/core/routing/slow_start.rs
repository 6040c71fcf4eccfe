//! Slow start: what becomes of a choice that fell on a target which is still warming up.
//!
//! The balance rule chooses as if there were no slow start. A target with less than its whole
//! share then takes the request with the probability of that share; the others take what it does
//! not, each in proportion to its own share. So a target alone takes all, targets that warm up
//! together share alike, and no request is left without a target.

use std::sync::Arc;

use crate::core::model::Weight;

use super::{LiveTarget, SideRoute};

impl SideRoute {
    /// The target that takes a request for which the balance rule chose `chosen`; `draw` is the
    /// same that it used.
    pub(super) fn warmed<'a>(
        &'a self,
        chosen: &'a Arc<LiveTarget>,
        draw: u64,
        may: impl Fn(&LiveTarget) -> bool,
    ) -> &'a Arc<LiveTarget> {
        let share = chosen.share_bp();
        if share >= Weight::FULL.bp() {
            return chosen;
        }
        let mixed = mix(draw);
        if scaled(mixed >> 32, Weight::FULL.bp().into()) < u64::from(share) {
            return chosen;
        }
        let other = |t: &&Arc<LiveTarget>| may(t) && !Arc::ptr_eq(t, chosen);
        let shares = self.targets.iter().filter(other).map(|t| u64::from(t.share_bp()));
        let whole: u64 = shares.sum();
        let mut point = scaled(mixed & u64::from(u32::MAX), whole);
        for target in self.targets.iter().filter(other) {
            let share = u64::from(target.share_bp());
            if point < share {
                return target;
            }
            point -= share;
        }
        // There is no other, or the shares changed while we looked.
        chosen
    }
}

/// A number below `whole` from one that is uniform over 32 bits.
fn scaled(bits: u64, whole: u64) -> u64 {
    (bits * whole) >> 32
}

/// Makes another draw of a draw: the output function of SplitMix64 (Steele, Lea and Flood 2014).
/// The balance rule has used the bits of the first one.
fn mix(draw: u64) -> u64 {
    let z = draw.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::super::side::tests::service;
    use super::*;
    use crate::core::model::{Balance, Side};
    use crate::core::routing::ServiceRoute;

    const DRAWS: u64 = 200_000;

    fn route(balance: Balance, shares: &[u16]) -> ServiceRoute {
        let addresses: Vec<String> =
            (1..=shares.len()).map(|port| format!("127.0.0.1:{port}")).collect();
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        let mut route = service(Weight::ZERO, &addresses);
        route.balance = balance;
        for (target, share) in route.blue.targets.iter().zip(shares) {
            target.set_share(Weight::from_bp(*share).expect("in range"));
        }
        route
    }

    /// How often each target was chosen.
    fn counts(route: &ServiceRoute) -> Vec<u64> {
        let mut counts = vec![0; route.blue.targets.len()];
        // Hashes of a counter, salted, so that they are not the very numbers that are mixed.
        for draw in (0..DRAWS).map(|i| mix(i ^ 0x5bd1_e995_0000_0000)) {
            let target = route.pick(Side::Blue, draw, None).expect("a target");
            counts[usize::from(target.address().socket_addr().port()) - 1] += 1;
        }
        counts
    }

    /// What the module's words come to: an even choice, kept with the share's probability, else
    /// given on in proportion to the shares of the others.
    fn expected(shares: &[u16]) -> Vec<f64> {
        let even = 1.0 / shares.len() as f64;
        let all: f64 = shares.iter().map(|share| f64::from(*share)).sum();
        let part = |i: usize| {
            let own = f64::from(shares[i]);
            let given = |(j, share): (usize, &u16)| {
                let share = f64::from(*share);
                if i == j { 0.0 } else { (1.0 - share / 10_000.0) * own / (all - share) }
            };
            even * (own / 10_000.0 + shares.iter().enumerate().map(given).sum::<f64>())
        };
        (0..shares.len()).map(part).collect()
    }

    #[test]
    fn shares_are_within_four_standard_deviations() {
        let check = |balance: Balance, shares: &[u16]| {
            for (count, part) in counts(&route(balance, shares)).iter().zip(expected(shares)) {
                let draws = DRAWS as f64;
                let deviation = (draws * part * (1.0 - part)).sqrt();
                let off = (*count as f64 - draws * part).abs();
                assert!(off <= 4.0 * deviation, "{balance:?} {shares:?}: {count}, {part}");
            }
        };
        for balance in [Balance::LeastOfTwo, Balance::RoundRobin] {
            check(balance, &[10_000, 1_000]);
            check(balance, &[10_000, 5_500, 10_000]);
            check(balance, &[1_000, 9_000]);
            check(balance, &[10_000, 1_000, 1_000, 1_000]);
            check(balance, &[10_000, 10_000, 10_000]);
        }
    }

    #[test]
    fn a_target_alone_takes_everything() {
        assert_eq!(counts(&route(Balance::LeastOfTwo, &[1_000])), [DRAWS]);
        let route = route(Balance::LeastOfTwo, &[1_000, 10_000]);
        route.blue.targets[1].eject();
        assert_eq!(counts(&route), [DRAWS, 0]);
    }

    #[test]
    fn the_same_draw_gives_the_same_target() {
        let route = route(Balance::LeastOfTwo, &[10_000, 2_000, 10_000]);
        assert_eq!(counts(&route), counts(&route));
    }
}
