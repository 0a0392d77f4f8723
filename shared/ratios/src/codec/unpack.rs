//! Reading a table from its parts.

use std::io::{BufRead, Read as _};

use flate2::bufread::DeflateDecoder;
use minicbor::Decoder;
use serde_json::Value;
use uc_domain::ratios::{Model, RatioTable};

use super::{FORMAT, Hash, MAX_INFLATED, Parts, group, hash};

/// A table, and the first ids of the groups it was in.
pub struct Unpacked {
    pub table: RatioTable,
    pub borders: Vec<String>,
}

/// Parts are not those of the table that was asked for, or were written by another program.
#[derive(Debug, thiserror::Error)]
#[error("the parts of a ratio table are damaged: {0}")]
pub struct Damaged(String);

impl Damaged {
    fn because(reason: impl std::fmt::Display) -> Self {
        Self(reason.to_string())
    }
}

/// Puts a table together. Every part is checked against its hash, beginning with the manifest's:
/// what comes back is the table that was published with it, or nothing.
pub fn unpack(parts: &Parts, manifest: &Hash) -> Result<Unpacked, Damaged> {
    if hash(&parts.manifest) != *manifest {
        return Err(Damaged::because("another manifest"));
    }
    let mut decoder = Decoder::new(&parts.manifest);
    let mut read = || {
        let format = decoder.u8()?;
        Ok::<_, minicbor::decode::Error>((format, decoder.bytes()?, decoder.bytes()?))
    };
    let (format, head, hashes) = read().map_err(Damaged::because)?;
    if !(1..=FORMAT).contains(&format) {
        return Err(Damaged(format!("format {format}, and this program reads 1 to {FORMAT}")));
    }
    let as_listed = hashes.len() == parts.chunks.len() * size_of::<Hash>()
        && hashes.chunks(size_of::<Hash>()).zip(&parts.chunks).all(|(h, c)| hash(c) == *h);
    if !as_listed {
        return Err(Damaged::because("other chunks"));
    }

    let mut left = MAX_INFLATED;
    let head = inflate(&mut &*head, &mut left)?;
    let head: Value = serde_json::from_slice(&head).map_err(Damaged::because)?;
    let bytes = parts.chunks.concat();
    let mut rest = bytes.as_slice();
    let mut models: Vec<Model> = Vec::new();
    let mut borders = Vec::new();
    let mut known = group::KnownConditions::new();
    while !rest.is_empty() {
        let group = inflate(&mut rest, &mut left)?;
        borders.push(models.len());
        group::decode(&group, format, &mut models, &mut known).map_err(Damaged::because)?;
    }
    let borders = borders.into_iter().map(|first| models[first].id().to_owned()).collect();
    let table = RatioTable::from_published(&head, models).map_err(Damaged::because)?;
    Ok(Unpacked { table, borders })
}

/// Inflates one stream and moves on to what follows it.
fn inflate(input: &mut impl BufRead, left: &mut u64) -> Result<Vec<u8>, Damaged> {
    let mut bytes = Vec::new();
    let mut decoder = DeflateDecoder::new(input).take(*left);
    let read = decoder.read_to_end(&mut bytes).map_err(Damaged::because)?;
    *left = left.saturating_sub(read as u64);
    if *left == 0 {
        return Err(Damaged::because("too large"));
    }
    Ok(bytes)
}
