//! API keys of back ends: `uc_<id>_<secret>`.

use std::fmt;

use ring::digest;
use subtle::ConstantTimeEq;

use crate::ids::random_bytes;

/// The digits of ids and secrets.
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 62^43 > 2^256.
const SECRET_DIGITS: usize = 43;
/// 62^16 > 2^95: ids don't collide, and are no secret.
const ID_DIGITS: usize = 16;
/// The longest id or secret that is looked at.
const PART_LIMIT: usize = 64;

/// The SHA-256 of an API key's secret: what is stored. A secret has 256 random bits, so a hash
/// without salt and stretching is as hard to turn back as the secret is to guess.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SecretHash(pub [u8; 32]);

impl SecretHash {
    /// Of this secret.
    pub fn of(secret: &str) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, secret.as_bytes()).as_ref());
        Self(hash)
    }

    /// Whether `secret` is the one, in a time that does not tell how much of it is right.
    pub fn matches(&self, secret: &str) -> bool {
        self.0.ct_eq(&Self::of(secret).0).into()
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(..)")
    }
}

/// A new API key. Its secret is shown once and stored nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct NewApiKey {
    /// Names the key in lists and logs: 16 letters and digits.
    pub id: String,
    /// The whole key, `uc_<id>_<secret>`.
    pub key: String,
    /// What to store.
    pub secret_hash: SecretHash,
}

impl fmt::Debug for NewApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewApiKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Makes an API key.
pub fn generate_api_key() -> NewApiKey {
    let (id, secret) = (random_digits(ID_DIGITS), random_digits(SECRET_DIGITS));
    let key = format!("uc_{id}_{secret}");
    NewApiKey { id, key, secret_hash: SecretHash::of(&secret) }
}

/// `length` digits, each as likely as any other.
fn random_digits(length: usize) -> String {
    let mut digits = String::with_capacity(length);
    while digits.len() < length {
        // 248 is the largest multiple of 62 in a byte: the rest would favour the first digits.
        let fair = random_bytes::<64>().into_iter().filter(|byte| *byte < 248);
        let fair = fair.map(|byte| char::from(DIGITS[usize::from(byte % 62)]));
        digits.extend(fair.take(length - digits.len()));
    }
    digits
}

/// The id and the secret of an API key, where `text` has the shape of one.
pub(crate) fn parse(text: &str) -> Option<(&str, &str)> {
    let (id, secret) = text.strip_prefix("uc_")?.split_once('_')?;
    let fits = |part: &str| {
        (1..=PART_LIMIT).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    (fits(id) && fits(secret)).then_some((id, secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes() {
        let check = |text: &str, expected| assert_eq!(parse(text), expected, "{text:?}");
        check("uc_demo_secret", Some(("demo", "secret")));
        for bad in [
            "", "uc_", "uc_a", "uc_a_", "uc__b", "uc_a_b_c", "UC_a_b", "uc_a_b ", "uc_ä_b",
            "uc_a/_b",
        ] {
            check(bad, None);
        }
        check(&format!("uc_{}_b", "a".repeat(65)), None);
        check(&format!("uc_a_{}", "b".repeat(65)), None);
    }

    #[test]
    fn new_keys_are_found_again_and_never_printed() {
        let new = generate_api_key();
        let (id, secret) = parse(&new.key).unwrap();
        assert_eq!((id, secret.len()), (new.id.as_str(), SECRET_DIGITS));
        assert!(new.secret_hash.matches(secret));
        assert!(!new.secret_hash.matches(&secret[1..]));
        assert!(!format!("{new:?}").contains(secret));
        assert_ne!(generate_api_key(), new);
    }
}
