//! Signatures of components: Ed25519 over the bytes of the file.

use ring::signature::{ED25519, UnparsedPublicKey};

use crate::core::model::GateKey;

/// The length of a signature in bytes.
pub const SIGNATURE_BYTES: usize = 64;

/// The key that signed these bytes; `None` if none of them did.
#[must_use]
pub fn signer(keys: &[GateKey], bytes: &[u8], signature: &[u8]) -> Option<GateKey> {
    let signed = |key: &&GateKey| {
        UnparsedPublicKey::new(&ED25519, key.as_bytes()).verify(bytes, signature).is_ok()
    };
    keys.iter().find(signed).copied()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use ring::signature::{Ed25519KeyPair, KeyPair as _};

    use super::*;

    fn public(pair: &Ed25519KeyPair) -> GateKey {
        let mut digits = String::new();
        for byte in pair.public_key().as_ref() {
            write!(digits, "{byte:02x}").expect("a string");
        }
        digits.parse().expect("a key")
    }

    #[test]
    fn a_signature_names_its_key_and_covers_every_byte() {
        let pair = |seed| Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("a pair");
        let (other, own) = (pair(1), pair(2));
        let keys = [public(&other), public(&own)];
        let signature = own.sign(b"component");
        assert_eq!(signature.as_ref().len(), SIGNATURE_BYTES);
        assert_eq!(signer(&keys, b"component", signature.as_ref()), Some(keys[1]));
        assert_eq!(signer(&keys[..1], b"component", signature.as_ref()), None);
        assert_eq!(signer(&keys, b"componenT", signature.as_ref()), None);
        assert_eq!(signer(&keys, b"component", &signature.as_ref()[..63]), None);
        assert_eq!(signer(&[], b"component", signature.as_ref()), None);
    }
}
