//! A table as parameters: a manifest and chunks.
//!
//! Every part has at most [`PART`] bytes, so that in Base64 it is the value of one standard
//! parameter, and is named by its SHA-256. The manifest lists the chunks' hashes and has what is
//! not of one model (rounding, price groups, features): its hash stands for the whole table.
//!
//! The models, in order of their ids, are divided into groups; each is encoded and compressed by
//! itself. One after another the compressed groups are the chunks' content. A group is one chunk
//! but where a single model needs more. How groups are chosen is in [`pack`](pack::pack).
//!
//! Compression is DEFLATE: measured on 4,500 models, Brotli saves a tenth of the chunks and Zstandard
//! none, and either would add its decoder to every function.

#[cfg(fuzzing)]
pub mod fuzzing;
mod group;
mod pack;
mod share;
#[cfg(test)]
mod tests;
mod unpack;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest;
use uc_domain::ratios::RatioTable;

pub use pack::PackError;
pub(crate) use pack::pack;
pub(crate) use unpack::{Damaged, Unpacked, unpack};

/// A SHA-256.
pub type Hash = [u8; 32];

/// Most bytes of a part: in Base64 these are the 4,096 of a standard parameter.
const PART: usize = 3_072;

/// Most chunks of a table: the manifest, itself a part, lists their hashes.
pub const MAX_CHUNKS: usize = 80;

/// Most bytes that the parts of a table inflate to; a real one stays far below.
const MAX_INFLATED: u64 = 64 << 20;

/// The encoding that this program writes: the first byte of a manifest. It reads those before, too:
/// format 2 writes a model's names shorter than format 1, format 3 leaves out ratios that follow
/// from costs.
const FORMAT: u8 = 3;

/// A table in parts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Parts {
    pub manifest: Vec<u8>,
    pub chunks: Vec<Vec<u8>>,
}

impl Parts {
    /// All bytes, one after another, each part with its length: what a copy holds.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut encoder = minicbor::Encoder::new(Vec::new());
        for part in std::iter::once(&self.manifest).chain(&self.chunks) {
            encoder.bytes(part).expect("writing to memory does not fail");
        }
        encoder.into_writer()
    }

    /// From the bytes of a copy. Nothing is verified yet.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut decoder = minicbor::Decoder::new(bytes);
        let manifest = decoder.bytes().ok()?.to_vec();
        let mut chunks = Vec::new();
        while decoder.position() < bytes.len() {
            chunks.push(decoder.bytes().ok()?.to_vec());
        }
        Some(Self { manifest, chunks })
    }
}

/// How a table is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storage {
    /// The names of its parameters, the manifest's first.
    pub parameters: Vec<Hash>,
    borders: Vec<String>,
}

impl Storage {
    /// Divides a table into parameters. Of one that replaces another the parts begin where they did
    /// in that one, as far as their sizes allow.
    ///
    /// # Errors
    /// [`PackError`]: it is too large.
    pub fn of(table: &RatioTable, before: Option<&Self>) -> Result<Self, PackError> {
        let parts = pack(table, before.map_or(&[], |before| &before.borders))?;
        let manifest = hash(&parts.manifest);
        let unpacked = unpack(&parts, &manifest).expect("just packed");
        let chunks = parts.chunks.iter().map(|chunk| hash(chunk));
        let parameters = std::iter::once(manifest).chain(chunks).collect();
        Ok(Self { parameters, borders: unpacked.borders })
    }
}

/// The name of a part.
pub(crate) fn hash(bytes: &[u8]) -> Hash {
    let mut hash = Hash::default();
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}

/// A hash in hexadecimal digits.
pub(crate) fn hex(hash: &[u8]) -> String {
    use std::fmt::Write as _;

    hash.iter().fold(String::with_capacity(2 * hash.len()), |mut text, byte| {
        // Writing to a text can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A part as a parameter's value.
pub(crate) fn to_value(part: &[u8]) -> String {
    STANDARD.encode(part)
}

/// A part from a parameter's value, if it is the one with this hash.
pub(crate) fn from_value(value: &str, expected: &Hash) -> Option<Vec<u8>> {
    STANDARD.decode(value).ok().filter(|part| hash(part) == *expected)
}
