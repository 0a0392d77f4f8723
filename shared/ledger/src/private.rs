//! The personal data of an entry, kept where they can be erased.
//!
//! An entry's body holds only a salted digest of them, so the chain of hashes verifies with and
//! without them. The salt goes with the data: what was erased can't be guessed from the digest.

use std::borrow::Cow;
use std::collections::BTreeMap;

use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};
use ring::digest;
use ring::rand::{SecureRandom, SystemRandom};
use uc_domain::deflate::{deflate, inflate};

/// Who caused an operation, and what was said about it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Private {
    /// The member of the account who caused it.
    #[n(0)]
    pub actor: Option<String>,
    /// Text for people: a description, a reason.
    #[n(1)]
    pub description: Option<String>,
    /// The caller's own labels.
    #[n(2)]
    pub metadata: BTreeMap<String, String>,
}

impl Private {
    /// Whether there is nothing to keep.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The attribute `x` of an entry: a salt, and what belongs to the operation at each position.
#[derive(Debug, Encode, Decode)]
struct Sealed {
    #[n(0)]
    salt: ByteArray<16>,
    #[n(1)]
    by_position: BTreeMap<u8, Private>,
}

/// In front of a [`Sealed`] that is deflated. Others are CBOR arrays, which begin with 0x82.
const DEFLATED: u8 = 2;
/// Shorter ones are not deflated: beside one operation they fit into the same KB as they are.
const DEFLATE_ABOVE: usize = 512;
/// What they may inflate to: an item in the store has at most 400 KB.
const INFLATED_LIMIT: usize = 1 << 20;

/// Encodes the private data of one entry's operations, by their positions, with a fresh salt.
pub(crate) fn seal(privates: &[(u8, &Private)]) -> Option<Vec<u8>> {
    let kept = privates.iter().filter(|(_, private)| !private.is_empty());
    let by_position: BTreeMap<u8, Private> =
        kept.map(|(position, private)| (*position, (*private).clone())).collect();
    if by_position.is_empty() {
        return None;
    }
    let mut salt = [0; 16];
    SystemRandom::new().fill(&mut salt).expect("the system has randomness");
    let sealed = Sealed { salt: salt.into(), by_position };
    let cbor = minicbor::to_vec(&sealed).expect("writing to memory does not fail");
    if (DEFLATE_ABOVE + 1..=INFLATED_LIMIT).contains(&cbor.len()) {
        let deflated = [&[DEFLATED][..], &deflate(&cbor)].concat();
        if deflated.len() < cbor.len() {
            return Some(deflated);
        }
    }
    Some(cbor)
}

/// The private data of an entry's operations, by their positions.
pub(crate) fn open(sealed: &[u8]) -> Result<BTreeMap<u8, Private>, String> {
    let cbor = match sealed.split_first() {
        Some((&DEFLATED, deflated)) => {
            Cow::Owned(inflate(deflated, INFLATED_LIMIT).ok_or("they do not inflate")?)
        }
        _ => Cow::Borrowed(sealed),
    };
    let sealed: Sealed = minicbor::decode(&cbor).map_err(|error| error.to_string())?;
    Ok(sealed.by_position)
}

/// What the entry's body holds in place of the data.
pub(crate) fn digest(sealed: &[u8]) -> [u8; 32] {
    sha256(&[sealed])
}

/// SHA-256 over the parts in order.
pub(crate) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
    }
    context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_and_few_bytes_are_cbor() {
        let private = Private { actor: Some("ada ".repeat(12)), ..Private::default() };
        let none = Private::default();
        assert_eq!(seal(&[(0, &none), (1, &none)]), None);
        for (count, format) in [(1_u8, 0x82), (96, DEFLATED)] {
            let privates: Vec<_> =
                (0..count).map(|at| (at, if at % 5 == 0 { &private } else { &none })).collect();
            let sealed = seal(&privates).unwrap();
            assert_eq!(sealed[0], format);
            let opened = open(&sealed).unwrap();
            assert_eq!(opened.len(), usize::from(count).div_ceil(5));
            assert!(opened.iter().all(|(at, opened)| at % 5 == 0 && *opened == private));
            // What was written before deflating was known is read as it was.
            let cbor = inflate(&sealed[1..], INFLATED_LIMIT).unwrap_or(sealed.clone());
            assert_eq!(open(&cbor), Ok(opened));
            for at in 0..sealed.len() {
                let mut damaged = sealed.clone();
                damaged[at] ^= 0x55;
                let _ = open(&damaged);
                let _ = open(&sealed[..at]);
            }
        }
    }
}
