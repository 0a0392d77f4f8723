//! The records of a part in order, in bounded memory: sorted by pieces, and merged.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use crate::record::{Place, Record};

/// Bytes of records that are sorted in memory at once.
const PIECE: usize = 24 << 20;

/// Gives every record of the file `path` to `each`, in order.
///
/// # Errors
/// The file, or the sorted pieces of it, can't be read or written. It is named.
pub fn in_order(path: &Path, each: impl FnMut(Record)) -> io::Result<()> {
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    merge(path, each).map_err(named)
}

fn merge(path: &Path, mut each: impl FnMut(Record)) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(1 << 16, File::open(path)?);
    let mut runs = Runs { paths: Vec::new() };
    loop {
        let (piece, ended) = piece(&mut reader)?;
        if ended && runs.paths.is_empty() {
            piece.into_iter().for_each(each);
            return Ok(());
        }
        runs.write(path, &piece)?;
        if ended {
            break;
        }
    }
    let mut readers = Vec::new();
    let mut heads = BinaryHeap::new();
    let mut waiting: Vec<Option<Record>> = Vec::new();
    for (run, path) in runs.paths.iter().enumerate() {
        let mut reader = BufReader::with_capacity(1 << 16, File::open(path)?);
        waiting.push(advance(&mut reader, run, &mut heads)?);
        readers.push(reader);
    }
    while let Some(Reverse((_, run))) = heads.pop() {
        if let Some(record) = waiting[run].take() {
            each(record);
        }
        waiting[run] = advance(&mut readers[run], run, &mut heads)?;
    }
    Ok(())
}

/// As many records as fit into memory, sorted, and whether these were the last.
fn piece(reader: &mut BufReader<File>) -> io::Result<(Vec<Record>, bool)> {
    let mut records = Vec::new();
    let mut weight = 0;
    let mut ended = true;
    while let Some(record) = Record::read(reader)? {
        weight += record.weight();
        records.push(record);
        if weight > PIECE {
            ended = false;
            break;
        }
    }
    records.sort_unstable_by(|a, b| a.place.cmp(&b.place));
    Ok((records, ended))
}

type Heads = BinaryHeap<Reverse<(Place, usize)>>;

fn advance(
    reader: &mut BufReader<File>,
    run: usize,
    heads: &mut Heads,
) -> io::Result<Option<Record>> {
    let record = Record::read(reader)?;
    heads.extend(record.as_ref().map(|record| Reverse((record.place.clone(), run))));
    Ok(record)
}

/// Sorted pieces, as files that go when this does.
struct Runs {
    paths: Vec<PathBuf>,
}

impl Runs {
    fn write(&mut self, of: &Path, records: &[Record]) -> io::Result<()> {
        let path = of.with_extension(format!("run{}", self.paths.len()));
        self.paths.push(path.clone());
        let mut file = BufWriter::new(File::create(path)?);
        let mut bytes = Vec::new();
        for record in records {
            bytes.clear();
            record.write(&mut bytes);
            file.write_all(&bytes)?;
        }
        file.flush()
    }
}

impl Drop for Runs {
    fn drop(&mut self) {
        for path in &self.paths {
            // What can't be removed is in a directory that is removed as a whole.
            let _ = std::fs::remove_file(path);
        }
    }
}
