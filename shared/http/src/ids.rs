//! Random ids.

use ring::rand::{SecureRandom, SystemRandom};

/// The digits of [`random_id`]: Crockford's base 32, which has no letter that looks like a digit.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// `N` bytes from the operating system.
///
/// # Panics
/// When it has none. A process without randomness must not go on and make a guessable key.
pub(crate) fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// A new id: `prefix` and 128 random bits as 26 lower-case characters.
pub fn random_id(prefix: &str) -> String {
    let bits = u128::from_be_bytes(random_bytes());
    let mut id = String::with_capacity(prefix.len() + 26);
    id.push_str(prefix);
    // 26 digits of 5 bits are 130 bits: the first one has the two that the number lacks.
    for digit in (0..26).rev() {
        let value = (bits >> (digit * 5)) & 31;
        id.push(char::from(DIGITS[usize::try_from(value).unwrap_or(0)]));
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_one_shape_and_differ() {
        let ids: std::collections::HashSet<_> = (0..100).map(|_| random_id("grant_")).collect();
        assert_eq!(ids.len(), 100);
        for id in ids {
            let digits = id.strip_prefix("grant_").unwrap();
            assert_eq!(digits.len(), 26);
            assert!(digits.bytes().all(|digit| DIGITS.contains(&digit)), "{id}");
        }
    }
}
