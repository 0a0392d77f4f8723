//! What `tests/fuzz` calls: parts are read by their hashes only, so bytes that come from nowhere
//! would never be looked at. Here the hashes are made to fit.

use minicbor::Decoder;
use uc_domain::ratios::{Model, RatioTable};

use super::pack::{deflate, head, manifest};
use super::{Parts, group, hash, pack, unpack};

/// Parts as they are stored follow this byte; any other: what is in them before it is compressed.
const STORED: u8 = 0;

/// Reads bytes as the parts of a table. What comes of it must come back after it was written.
pub fn read(bytes: &[u8]) {
    let parts = match bytes.split_first() {
        Some((&STORED, stored)) => Parts::from_bytes(stored).and_then(listed),
        Some((_, plain)) => Parts::from_bytes(plain).map(compressed),
        None => None,
    };
    let Some(parts) = parts else { return };
    let Ok(read) = unpack(&parts, &hash(&parts.manifest)) else { return };
    let Ok(written) = pack(&read.table, &read.borders) else { return };
    let again = unpack(&written, &hash(&written.manifest)).expect("it was just written");
    assert_eq!(again.table, read.table);
}

/// The parts of a table, in both forms.
pub fn seeds(table: &RatioTable) -> Vec<Vec<u8>> {
    let stored = pack(table, &[]).expect("it fits").to_bytes();
    let models: Vec<&Model> = table.models().collect();
    let chunks = models.chunks(16).map(group::encode).collect();
    let plain = Parts { manifest: head(table), chunks }.to_bytes();
    vec![[&[STORED][..], &stored].concat(), [&[1][..], &plain].concat()]
}

/// Stored parts with a manifest that lists the chunks that are there.
fn listed(parts: Parts) -> Option<Parts> {
    let mut decoder = Decoder::new(&parts.manifest);
    let (format, head) = (decoder.u8().ok()?, decoder.bytes().ok()?);
    Some(Parts { manifest: manifest(format, head, &parts.chunks), chunks: parts.chunks })
}

/// A head and groups, compressed.
fn compressed(plain: Parts) -> Parts {
    let chunks: Vec<_> = plain.chunks.iter().map(|group| deflate(group)).collect();
    Parts { manifest: manifest(super::FORMAT, &deflate(&plain.manifest), &chunks), chunks }
}
