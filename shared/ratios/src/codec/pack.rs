//! Writing a table as parts.
//!
//! Groups keep their borders from one version to the next: a group that has grown over a part is
//! divided, neighbours that fit into one are joined. So a changed, new or removed model rewrites
//! at most two chunks, besides the manifest, whatever came before. (Borders at hashes of the ids
//! would need no look at the version before, but such groups fill their parts by half: a table of
//! 4,500 models would take twice the parameters.)

use std::collections::BTreeMap;
use std::io::Write as _;
use std::ops::Range;

use flate2::Compression;
use flate2::write::DeflateEncoder;
use minicbor::Encoder;
use uc_domain::ratios::{Model, RatioTable};

use super::{FORMAT, MAX_CHUNKS, PART, Parts, group, hash};

/// What a new group is filled to, and joined groups at most: room for its models to grow.
const TARGET: usize = PART - PART / 12;

/// Chunks up to which borders are kept in any case.
const KEEP_BORDERS: usize = 40;

/// Why a table can't be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PackError {
    /// Its models need more than [`MAX_CHUNKS`] chunks; 10,000 usual ones do not.
    #[error("the table's models need more than {MAX_CHUNKS} parameters")]
    Models,
    /// Price groups and features together do not fit beside the list of chunks.
    #[error("price groups and features need more than one parameter")]
    Head,
}

/// Models from a group's first to before the next's, and the group compressed.
struct Group {
    models: Range<usize>,
    bytes: Vec<u8>,
}

impl Group {
    fn chunks(&self) -> usize {
        self.bytes.len().div_ceil(PART)
    }
}

/// Writes a table as parts. `borders` are the first ids of the groups of the version before, in
/// order; none where there is none.
pub fn pack(table: &RatioTable, borders: &[String]) -> Result<Parts, PackError> {
    let models: Vec<&Model> = table.models().collect();
    let mut groups = regroup(&models, borders);
    let count = |groups: &[Group]| groups.iter().map(Group::chunks).sum::<usize>();
    if count(&groups) > KEEP_BORDERS {
        // Many small changes have left gaps: everything is written once to close them.
        let anew = join(&models, divide(&models, 0..models.len()));
        if count(&anew) * 4 <= count(&groups) * 3 || count(&groups) > MAX_CHUNKS {
            groups = anew;
        }
    }
    if count(&groups) > MAX_CHUNKS {
        return Err(PackError::Models);
    }
    let chunks: Vec<Vec<u8>> =
        groups.iter().flat_map(|group| group.bytes.chunks(PART)).map(<[u8]>::to_vec).collect();

    let manifest = manifest(FORMAT, &deflate(&head(table)), &chunks);
    if manifest.len() > PART {
        return Err(PackError::Head);
    }
    Ok(Parts { manifest, chunks })
}

/// The part that lists the others.
pub(super) fn manifest(format: u8, head: &[u8], chunks: &[Vec<u8>]) -> Vec<u8> {
    let mut hashes = Vec::with_capacity(chunks.len() * 32);
    for chunk in chunks {
        hashes.extend_from_slice(&hash(chunk));
    }
    let mut manifest = Encoder::new(Vec::new());
    manifest
        .u8(format)
        .and_then(|e| e.bytes(head))
        .and_then(|e| e.bytes(&hashes))
        .expect("writing to memory does not fail");
    manifest.into_writer()
}

/// What is not of one model, as JSON.
pub(super) fn head(table: &RatioTable) -> Vec<u8> {
    let features: BTreeMap<_, _> = table
        .features()
        .map(|(name, dimensions)| (name, BTreeMap::from([("dimensions", dimensions)])))
        .collect();
    let mut head = serde_json::json!({
        "credit": table.credit_rule(),
        "groups": table.groups().collect::<BTreeMap<_, _>>(),
        "features": features,
    });
    let parts: BTreeMap<_, _> = table
        .parts()
        .map(|(name, part_of)| (name, BTreeMap::from([("part_of", part_of)])))
        .collect();
    if !parts.is_empty() {
        head["dimensions"] = serde_json::json!(parts);
    }
    head.to_string().into_bytes()
}

/// Groups with the borders of the version before, where their sizes allow it.
fn regroup(models: &[&Model], borders: &[String]) -> Vec<Group> {
    // What sorts before the first border belongs to the first group.
    let mut starts = vec![0];
    for border in borders.iter().skip(1) {
        let start = models.partition_point(|model| model.id() < border.as_str());
        if starts.last().is_some_and(|last| *last < start) && start < models.len() {
            starts.push(start);
        }
    }
    let ends = starts.iter().skip(1).copied().chain([models.len()]);
    let mut groups = Vec::new();
    for range in starts.iter().zip(ends).map(|(start, end)| *start..end) {
        if borders.is_empty() {
            groups.extend(divide(models, range));
        } else if !range.is_empty() {
            let bytes = encode(models, &range);
            if bytes.len() <= PART || range.len() == 1 {
                groups.push(Group { models: range, bytes });
            } else {
                groups.extend(divide(models, range));
            }
        }
    }
    join(models, groups)
}

/// Divides models into groups filled up to [`TARGET`].
fn divide(models: &[&Model], range: Range<usize>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut start = range.start;
    while start < range.end {
        let most = range.end - start;
        let group = |len: usize| {
            let models_of = start..start + len;
            let bytes = encode(models, &models_of);
            Group { models: models_of, bytes }
        };
        // Sizes grow with the number of models, nearly always: good enough for a search, since
        // every group is measured.
        let mut best = group(1);
        let (mut fits, mut step) = (1, groups.last().map_or(64, |last| last.models.len()));
        let mut too_many = most + 1;
        while too_many - fits > 1 {
            let len = (fits + step).min(too_many - 1);
            let tried = group(len);
            if tried.bytes.len() <= TARGET {
                (fits, best) = (len, tried);
            } else {
                too_many = len;
            }
            step = if too_many > most { fits } else { (too_many - fits) / 2 }.max(1);
        }
        start = best.models.end;
        groups.push(best);
    }
    groups
}

/// Joins neighbours that fit into one. Those that did not the last time still don't, so that only
/// what changed is written again.
fn join(models: &[&Model], groups: Vec<Group>) -> Vec<Group> {
    /// What two groups save at most by being one: both write their shapes.
    const SAVING: usize = 1_024;

    let mut joined: Vec<Group> = Vec::with_capacity(groups.len());
    for group in groups {
        if let Some(last) = joined.last_mut()
            && last.bytes.len() + group.bytes.len() <= TARGET + SAVING
        {
            let range = last.models.start..group.models.end;
            let bytes = encode(models, &range);
            if bytes.len() <= TARGET {
                *last = Group { models: range, bytes };
                continue;
            }
        }
        joined.push(group);
    }
    joined
}

fn encode(models: &[&Model], range: &Range<usize>) -> Vec<u8> {
    deflate(&group::encode(&models[range.clone()]))
}

pub(super) fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder
        .write_all(bytes)
        .and_then(|()| encoder.finish())
        .expect("writing to memory does not fail")
}
