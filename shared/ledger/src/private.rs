//! The personal data of an entry, kept where they can be erased.
//!
//! An entry's body holds only a salted digest of them, so the chain of hashes verifies with and
//! without them. The salt goes with the data: what was erased can't be guessed from the digest.

use std::collections::BTreeMap;

use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};
use ring::digest;
use ring::rand::{SecureRandom, SystemRandom};

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

/// Encodes the private data of one entry with a fresh salt.
pub(crate) fn seal(position: u8, private: &Private) -> Option<Vec<u8>> {
    if private.is_empty() {
        return None;
    }
    let mut salt = [0; 16];
    SystemRandom::new().fill(&mut salt).expect("the system has randomness");
    let sealed =
        Sealed { salt: salt.into(), by_position: BTreeMap::from([(position, private.clone())]) };
    Some(minicbor::to_vec(&sealed).expect("writing to memory does not fail"))
}

/// The private data of the operation at `position`, if it has any.
pub(crate) fn open(sealed: &[u8], position: u8) -> Result<Private, String> {
    let mut sealed: Sealed = minicbor::decode(sealed).map_err(|error| error.to_string())?;
    Ok(sealed.by_position.remove(&position).unwrap_or_default())
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
