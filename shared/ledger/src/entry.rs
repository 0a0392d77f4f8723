//! A journal entry as an item, and the chain of hashes over them.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use aws_sdk_dynamodb::primitives::Blob;
use uc_domain::AccountId;
use uc_domain::journal::Entry;

use crate::LedgerError;
use crate::private::{self, Private, sha256};
use crate::store::{AttributeValue, Condition, Item, Key, Put, SK, bytes, text};
use crate::{keys, store};

/// The body.
const BODY: &str = "b";
/// The hash over the previous hash and the body.
const HASH: &str = "h";
/// The check of the item in itself.
const CHECK: &str = "c";
/// Bytes of it.
const CHECK_BYTES: usize = 8;
/// The personal data, which may be erased.
pub(crate) const PRIVATE: &str = "x";

/// An entry as it is stored, read and checked in itself.
#[derive(Debug, Clone)]
pub struct StoredEntry {
    /// The entry.
    pub entry: Entry,
    /// `SHA-256(previous hash, body)`.
    pub hash: [u8; 32],
    body: Vec<u8>,
    sealed: Option<Vec<u8>>,
    /// What is sealed, once somebody has asked for it: an entry may have many operations.
    opened: OnceLock<Result<BTreeMap<u8, Private>, String>>,
}

/// By what who reads an entry alone sees that it is as it was written: the chain's hash needs the
/// entry before. Whoever changes an entry can make the check anew, and only the next entries, a
/// checkpoint and an audit tell then.
fn check(account: &AccountId, hash: &[u8; 32], body: &[u8]) -> [u8; CHECK_BYTES] {
    let account = account.as_str().as_bytes();
    let whole = sha256(&[b"unified-credits entry\n", account, b"\n", hash, body]);
    *whole.first_chunk().expect("32 bytes")
}

/// The hash that the first entry of an account follows: binds a journal to its account.
pub(crate) fn genesis(account: &AccountId) -> [u8; 32] {
    sha256(&[b"unified-credits journal\n", account.as_str().as_bytes()])
}

impl StoredEntry {
    /// Reads an item of `account`'s journal.
    ///
    /// # Errors
    /// What is there is no entry, one that was changed since it was written, or one of a newer
    /// format.
    pub fn from_item(account: &AccountId, item: &Item) -> Result<Self, LedgerError> {
        let sk = text(item, SK).unwrap_or_default();
        let corrupt =
            |detail: String| LedgerError::Corrupt(format!("entry {sk} of {account}: {detail}"));
        let body = bytes(item, BODY).ok_or_else(|| corrupt("no body".into()))?;
        let hash = bytes(item, HASH)
            .and_then(|hash| hash.try_into().ok())
            .ok_or_else(|| corrupt("no hash".into()))?;
        let entry = Entry::decode(body).map_err(|error| corrupt(error.to_string()))?;
        if keys::parse_seq(sk) != Some(entry.state.seq()) {
            return Err(corrupt(format!("the body says {}", entry.state.seq())));
        }
        // Behind the decoding, which says more of an entry of a newer format.
        if bytes(item, CHECK) != Some(check(account, &hash, body).as_slice()) {
            return Err(corrupt("it is not what was written".into()));
        }
        let sealed = bytes(item, PRIVATE).map(<[u8]>::to_vec);
        // Without them they were erased, or never there.
        if sealed.as_deref().is_some_and(|sealed| {
            entry.private_digest.is_none_or(|digest| private::digest(sealed) != digest)
        }) {
            return Err(corrupt("the private data are not those that were written".into()));
        }
        Ok(Self { entry, hash, body: body.to_vec(), sealed, opened: OnceLock::new() })
    }

    /// The entry that follows `previous` (a hash), with the private data of its operations by
    /// position; and the put that writes it if nobody was faster.
    pub(crate) fn compose(
        account: &AccountId,
        previous: [u8; 32],
        mut entry: Entry,
        privates: &[(u8, &Private)],
    ) -> (Self, Put) {
        let sealed = private::seal(privates);
        entry.private_digest = sealed.as_deref().map(private::digest);
        let body = entry.encode();
        let hash = sha256(&[&previous, &body]);
        let blob = |bytes: &[u8]| AttributeValue::B(Blob::new(bytes));
        let mut item = Key::new(keys::journal(account), keys::seq(entry.state.seq())).item();
        item.insert(BODY.to_owned(), blob(&body));
        item.insert(HASH.to_owned(), blob(&hash));
        item.insert(CHECK.to_owned(), blob(&check(account, &hash, &body)));
        if let Some(sealed) = &sealed {
            item.insert(PRIVATE.to_owned(), blob(sealed));
        }
        let put = Put { item, condition: Condition::NotExists };
        (Self { entry, hash, body, sealed, opened: OnceLock::new() }, put)
    }

    /// The private data of the operation at `position`: empty where there never were any, or
    /// where they were erased.
    ///
    /// # Errors
    /// They are there, but not readable.
    pub fn private(&self, position: u8) -> Result<Private, LedgerError> {
        let Some(sealed) = &self.sealed else { return Ok(Private::default()) };
        match self.opened.get_or_init(|| private::open(sealed)) {
            Ok(by_position) => Ok(by_position.get(&position).cloned().unwrap_or_default()),
            Err(error) => {
                let what = format!("private data of entry {}: {error}", self.seq());
                Err(LedgerError::Corrupt(what))
            }
        }
    }

    /// Its sequence number.
    pub fn seq(&self) -> u64 {
        self.entry.state.seq()
    }

    /// Its size in the store, in bytes.
    pub fn size(&self, account: &AccountId) -> usize {
        let keys = Key::new(keys::journal(account), keys::seq(self.seq())).item();
        let private = self.sealed.as_ref().map_or(0, |sealed| PRIVATE.len() + sealed.len());
        let (body, hash) = (BODY.len() + self.body.len(), HASH.len() + self.hash.len());
        store::item_size(&keys) + body + hash + CHECK.len() + CHECK_BYTES + private
    }

    /// Whether its hash follows from the hash before (none for the first entry) and its own body.
    pub(crate) fn chains(&self, account: &AccountId, previous: Option<[u8; 32]>) -> bool {
        let previous = previous.unwrap_or_else(|| genesis(account));
        self.hash == sha256(&[&previous, &self.body])
    }

    /// Checks what this entry says of the one before: the sequence has no gap, the hash chains, the
    /// postings account for the change of the balance. What it says of itself was checked when it
    /// was read.
    pub(crate) fn verify(
        &self,
        account: &AccountId,
        previous: Option<&Self>,
    ) -> Result<(), &'static str> {
        let previous_seq = previous.map_or(0, Self::seq);
        if self.seq() != previous_seq + 1 {
            return Err("the sequence has a gap");
        }
        if !self.chains(account, previous.map(|previous| previous.hash)) {
            return Err("the hash does not follow from the entry before and the body");
        }
        let before = previous.map_or(0, |p| p.entry.state.balance().posted.micros());
        let postings = self.entry.operations.iter().map(|o| o.credits().micros()).sum::<i128>();
        if before + postings != self.entry.state.balance().posted.micros() {
            return Err("the postings do not account for the balance");
        }
        if previous.is_some_and(|previous| previous.entry.time > self.entry.time) {
            return Err("time runs backwards");
        }
        Ok(())
    }
}
