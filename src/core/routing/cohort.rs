//! Cohorts: stickiness without server state.
//!
//! A key is hashed with the rollout's salt (SipHash-2-4, Aumasson and Bernstein 2012) to a
//! position in 0..10 000. Green serves the positions below its weight, so that a ramp moves only
//! the positions that it adds, and a rollback moves everybody back.

use std::hash::Hasher as _;
use std::net::IpAddr;

use siphasher::sip::SipHasher24;

use crate::core::model::{Salt, Side, Weight};

/// The position of a cohort key, 0..10 000, uniform over keys.
#[must_use]
pub fn cohort_position(salt: Salt, key: &[u8]) -> u16 {
    let mut hasher = SipHasher24::new_with_keys(salt.k0, salt.k1);
    hasher.write(key);
    let scaled = (u128::from(hasher.finish()) * 10_000) >> 64;
    u16::try_from(scaled).expect("a 64-bit fraction of 10000 is below 10000")
}

/// The position of a client's address as a cohort key: of its octets, those of the IPv4 address
/// where an IPv6 address stands for one.
#[must_use]
pub fn address_position(salt: Salt, address: IpAddr) -> u16 {
    match address.to_canonical() {
        IpAddr::V4(v4) => cohort_position(salt, &v4.octets()),
        IpAddr::V6(v6) => cohort_position(salt, &v6.octets()),
    }
}

/// The unit of a cohort key: a hash by which a comparison knows a user again. It is independent of
/// the position, so that which units it takes for one tells nothing of their sides.
#[must_use]
pub fn cohort_unit(salt: Salt, key: &[u8]) -> u64 {
    let mut hasher = SipHasher24::new_with_keys(salt.k0 ^ UNIT, salt.k1 ^ UNIT);
    hasher.write(key);
    hasher.finish()
}

/// The unit of a client's address, as [`address_position`] reads it.
#[must_use]
pub fn address_unit(salt: Salt, address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(v4) => cohort_unit(salt, &v4.octets()),
        IpAddr::V6(v6) => cohort_unit(salt, &v6.octets()),
    }
}

/// The side of a position or draw in 0..10 000: green exactly below green's weight.
#[must_use]
pub fn side_at(green: Weight, number: u16) -> Side {
    if number < green.bp() { Side::Green } else { Side::Blue }
}

/// Makes another key of a salt.
const UNIT: u64 = 0x756e_6974_2d69_6473;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_keys_is_within_four_standard_deviations() {
        let salt = Salt { k0: 7, k1: 11 };
        let positions: Vec<u16> = (0..100_000u32)
            .map(|i| cohort_position(salt, format!("user-{i}").as_bytes()))
            .collect();
        for weight in [1u16, 25, 100, 1_000, 2_500, 5_000, 9_000, 9_999] {
            let share = f64::from(weight) / 10_000.0;
            let green = positions.iter().filter(|p| **p < weight).count();
            let expected = 100_000.0 * share;
            let deviation = (100_000.0 * share * (1.0 - share)).sqrt();
            let off = (f64::from(u32::try_from(green).expect("small")) - expected).abs();
            assert!(off <= 4.0 * deviation, "weight {weight}: {green} of {expected}");
        }
    }

    #[test]
    fn a_unit_tells_nothing_of_its_position() {
        let salt = Salt { k0: 7, k1: 11 };
        let keys: Vec<[u8; 4]> = (0..40_000u32).map(u32::to_be_bytes).collect();
        let low = |key: &[u8]| cohort_position(salt, key) < 5_000;
        let even = |key: &[u8]| cohort_unit(salt, key).is_multiple_of(2);
        let both = keys.iter().filter(|key| low(*key) && even(*key)).count();
        assert!((9_600..10_400).contains(&both), "{both} of a quarter");
        let (four, six) = ("192.0.2.1".parse().expect("valid"), "::ffff:192.0.2.1");
        assert_eq!(address_unit(salt, four), address_unit(salt, six.parse().expect("valid")));
        assert_eq!(address_unit(salt, four), cohort_unit(salt, &[192, 0, 2, 1]));
    }

    #[test]
    fn another_salt_gives_another_order() {
        let key = |salt| (0..64u32).map(move |i| cohort_position(salt, &i.to_be_bytes()));
        let (a, b) = (Salt { k0: 1, k1: 2 }, Salt { k0: 1, k1: 3 });
        assert!(key(a).ne(key(b)));
    }
}
