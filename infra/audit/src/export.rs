//! Auditing an export of a table.
//!
//! In an export an account's entries are in any order and in any file. So the items are first
//! divided by account among parts, files of some megabytes each; then each part is sorted, in
//! pieces that fit into memory, and its journals are recomputed as they come. However large the
//! table or one journal, what is in memory at once is the buffers of the parts, and a piece for
//! each journal audited at once. The digest of a day is over accounts of all parts: so each shard
//! of the directory has a part more, with its digests and a copy of its accounts' checkpoints.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use flate2::Crc;
use flate2::bufread::MultiGzDecoder;
use serde::{Deserialize, Serialize};
use uc_domain::AccountId;
use uc_domain::account::{Detail, Operation, Origin};
use uc_ledger::audit::operation_items;
use uc_ledger::checkpoint::DayDigest;
use uc_ledger::store::{Item, number, text};
use uc_ledger::{Audit, Checkpoint, Difference, ShardDigests, StoredEntry, UnratedId, keys};

use crate::beside::Beside;
use crate::cli::Options;
use crate::findings::Findings;
use crate::record::{Kind, Place, Read1, Record, read_line};
use crate::sorted;
use crate::{Failure, OTHER_KEYS, beside_path, load, replace};

/// Bytes of the export for one part, and how many parts there are at least and at most.
const PART: u64 = 32 << 20;
const PARTS: std::ops::RangeInclusive<u64> = 8..=512;
/// Bytes of lines that are handed on at once.
const BLOCK: usize = 1 << 20;
/// Bytes of a part that one reader holds back before it writes them.
const HELD: usize = 32 << 10;
/// The longest line: an item has at most 400 KB, base64 and names make more of it.
const MAX_LINE: usize = 1 << 20;

/// The audits of this process so far: each has parts of its own.
static AUDITS: AtomicUsize = AtomicUsize::new(0);

/// How far an audit is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    /// The export, so that no other one is gone on with: its files and their sizes.
    files: Vec<(PathBuf, u64)>,
    /// How many parts of accounts there are, before those of the directory's shards.
    parts: u64,
    /// Whether they are all there.
    is_divided: bool,
    /// What each is, so that no damaged one is gone on with.
    #[serde(default)]
    sums: Vec<Sum>,
    /// Those that are audited.
    done: Vec<u64>,
    /// The keys that the caller trusts: what was compared by other ones is not gone on with.
    #[serde(default)]
    trusted: BTreeMap<String, [u8; 32]>,
    /// Keys of checkpoints that the export holds.
    keys: HashMap<String, [u8; 32]>,
    findings: Findings,
}

/// The length of a part, and its CRC-32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Sum {
    bytes: u64,
    crc: u32,
}

/// Audits an export.
///
/// # Errors
/// A file can't be read or written; or there is no account, where that is not to be expected.
pub fn audit(paths: &[PathBuf], options: &Options) -> Result<Findings, Failure> {
    let mut files = Vec::new();
    for path in paths {
        list(path, &mut files)?;
    }
    // One that was given twice, as itself and in its directory, holds no item twice.
    let mut seen = HashSet::new();
    files.retain(|(path, _)| fs::canonicalize(path).map_or(true, |path| seen.insert(path)));
    if files.is_empty() && !options.allow_empty {
        return Err("there is no file that ends in .json, .jsonl or .gz".into());
    }
    let bytes: u64 = files.iter().map(|(path, size)| inflated(path, *size)).sum();
    let fresh = State {
        parts: (bytes / PART).clamp(*PARTS.start(), *PARTS.end()),
        files,
        is_divided: false,
        sums: Vec::new(),
        done: Vec::new(),
        trusted: options.trusted(),
        keys: HashMap::new(),
        findings: Findings::default(),
    };
    let kept = options.state.as_deref().map(load::<State>).transpose()?.flatten();
    let directory = if let Some(path) = &options.state {
        beside_path(path, ".parts")
    } else {
        let (process, audit) = (std::process::id(), AUDITS.fetch_add(1, Ordering::Relaxed));
        std::env::temp_dir().join(format!("uc-audit-{process}-{audit}"))
    };
    let state = match kept {
        Some(kept) if kept.files != fresh.files => {
            return Err("the state file is of another export: remove it to begin anew".into());
        }
        Some(kept) if kept.trusted != fresh.trusted => return Err(OTHER_KEYS.into()),
        Some(kept) if kept.is_divided && kept.is_whole(&directory)? => kept,
        _ => fresh,
    };
    own_parts(&directory)?;
    fs::create_dir_all(&directory)?;
    let done = run(state, &directory, options);
    // With a state file, what an interrupted or failed run leaves is gone on with.
    if done.is_ok() || options.state.is_none() {
        for part in own_parts(&directory)? {
            fs::remove_file(part)?;
        }
        fs::remove_dir(&directory)?;
    }
    let state = done?;
    // There is nothing left to go on with: the next audit looks at everything again.
    if let Some(path) = &options.state {
        fs::remove_file(path)?;
    }
    state.findings.of_something(options)
}

fn run(mut state: State, directory: &Path, options: &Options) -> Result<State, Failure> {
    if !state.is_divided {
        divide(&mut state, directory, options)?;
        state.is_divided = true;
        state.save(options.state.as_deref())?;
    }
    let mut keys = state.keys.clone();
    if !options.keys.is_empty() {
        keys = options.keys.iter().map(|key| (key.kid.clone(), key.key)).collect();
    }
    let left: Vec<u64> = (0..state.files()).filter(|part| !state.done.contains(part)).collect();
    let accounts = state.parts;
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let state = Mutex::new(state);
    let work = || -> Result<(), Failure> {
        while !failed.load(Ordering::Relaxed) {
            let Some(part) = left.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
            let path = part_path(directory, *part);
            let found = match part.checked_sub(accounts) {
                None => {
                    let mut journals = Journals::new(&keys);
                    sorted::in_order(&path, |record| journals.take(&record))?;
                    journals.finish()
                }
                Some(shard) => {
                    let mut digests = Digests::new(u8::try_from(shard)?);
                    sorted::in_order(&path, |record| digests.take(&record))?;
                    digests.finish(&keys)
                }
            };
            let mut state = lock(&state);
            state.findings.add(found);
            state.done.push(*part);
            state.save(options.state.as_deref())?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..options.parallel.get())
            .map(|_| scope.spawn(|| work().inspect_err(|_| failed.store(true, Ordering::Relaxed))))
            .collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("no panic"))
    })?;
    Ok(state.into_inner().unwrap_or_else(PoisonError::into_inner))
}

impl State {
    /// How many parts there are in all.
    const fn files(&self) -> u64 {
        self.parts + keys::DIRECTORY_SHARDS as u64
    }

    /// Whether the parts that are left are those that were written. Where they are not, what is
    /// missing would be taken for what the export does not have.
    fn is_whole(&self, directory: &Path) -> Result<bool, Failure> {
        if self.sums.len() as u64 != self.files() {
            return Ok(false);
        }
        for (part, sum) in (0..).zip(&self.sums).filter(|(part, _)| !self.done.contains(part)) {
            let path = part_path(directory, part);
            match Sum::of(&path) {
                Ok(there) if there == *sum => {}
                Ok(_) => return Ok(false),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
                Err(error) => return Err(format!("{}: {error}", path.display()).into()),
            }
        }
        Ok(true)
    }

    fn save(&self, path: Option<&Path>) -> Result<(), Failure> {
        let Some(path) = path else { return Ok(()) };
        replace(path, &serde_json::to_vec(self)?)
    }
}

impl Sum {
    fn of(path: &Path) -> std::io::Result<Self> {
        let mut reader = BufReader::with_capacity(BLOCK, File::open(path)?);
        let (mut bytes, mut crc) = (0, Crc::new());
        loop {
            let read = reader.fill_buf()?;
            if read.is_empty() {
                return Ok(Self { bytes, crc: crc.sum() });
            }
            crc.update(read);
            let length = read.len();
            bytes += length as u64;
            reader.consume(length);
        }
    }
}

/// A part that is being written.
struct Part {
    file: File,
    bytes: u64,
    crc: Crc,
}

impl Part {
    fn create(path: &Path) -> Result<Self, Failure> {
        let file = File::create(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self { file, bytes: 0, crc: Crc::new() })
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.file.write_all(bytes)?;
        self.bytes += bytes.len() as u64;
        self.crc.update(bytes);
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The files of an export, in order of their names.
fn list(path: &Path, into: &mut Vec<(PathBuf, u64)>) -> Result<(), Failure> {
    let named = |error: std::io::Error| format!("{}: {error}", path.display());
    let metadata = fs::metadata(path).map_err(named)?;
    if !metadata.is_dir() {
        into.push((path.to_owned(), metadata.len()));
        return Ok(());
    }
    let mut paths = fs::read_dir(path)
        .map_err(named)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>, std::io::Error>>()
        .map_err(named)?;
    paths.sort();
    for path in paths {
        // Beside the data there are manifests, which hold no items.
        let ends = |end: &str| path.extension().is_some_and(|extension| extension == end);
        let is_manifest =
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("manifest"));
        if path.is_dir() || (!is_manifest && (ends("gz") || ends("json") || ends("jsonl"))) {
            list(&path, into)?;
        }
    }
    Ok(())
}

fn is_gzip(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "gz")
}

/// About how large a file is when it is unpacked.
fn inflated(path: &Path, size: u64) -> u64 {
    if is_gzip(path) { size.saturating_mul(3) } else { size }
}

/// The parts that an audit has left in a directory.
///
/// # Errors
/// It holds anything else: then it is not an audit's.
fn own_parts(directory: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("{}: {error}", directory.display()).into()),
    };
    let mut parts = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let is_part = path.extension().is_some_and(|end| end == "part")
            && path.file_stem().is_some_and(|stem| {
                stem.len() >= 3 && stem.as_encoded_bytes().iter().all(u8::is_ascii_digit)
            });
        if !is_part {
            let (directory, path) = (directory.display(), path.display());
            return Err(format!("{directory} would be the audit's, and holds {path}").into());
        }
        parts.push(path);
    }
    Ok(parts)
}

fn part_path(directory: &Path, part: u64) -> PathBuf {
    directory.join(format!("{part:03}.part"))
}

/// Divides the items of an export among the parts.
fn divide(state: &mut State, directory: &Path, options: &Options) -> Result<(), Failure> {
    let parallel = options.parallel.get();
    let parts = (0..state.files())
        .map(|part| Part::create(&part_path(directory, part)).map(Mutex::new))
        .collect::<Result<Vec<_>, Failure>>()?;
    let (send, receive) = sync_channel::<Vec<u8>>(2 * parallel);
    let receive = Mutex::new(receive);
    let found = Mutex::new((Findings::default(), HashMap::new()));
    thread::scope(|scope| {
        let workers: Vec<_> =
            (0..parallel).map(|_| scope.spawn(|| sort_out(&receive, &parts, &found))).collect();
        let sent = state.files.iter().try_for_each(|(path, _)| {
            let mut reader = open(path)?;
            loop {
                let block = block(&mut reader, path)?;
                // Whoever is not there to take it says why when it is joined.
                if block.is_empty() || send.send(block).is_err() {
                    return Ok::<_, Failure>(());
                }
            }
        });
        drop(send);
        let sorted = workers.into_iter().try_for_each(|worker| worker.join().expect("no panic"));
        sorted.and(sent)
    })?;
    let (findings, keys) = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    state.findings.add(findings);
    state.keys = keys;
    for part in parts {
        let part = part.into_inner().unwrap_or_else(PoisonError::into_inner);
        if options.state.is_some() {
            // The state says that they are there.
            part.file.sync_all()?;
        }
        state.sums.push(Sum { bytes: part.bytes, crc: part.crc.sum() });
    }
    Ok(())
}

fn open(path: &Path) -> Result<Box<dyn BufRead>, Failure> {
    let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let file = BufReader::with_capacity(BLOCK, file);
    Ok(if is_gzip(path) {
        Box::new(BufReader::with_capacity(BLOCK, MultiGzDecoder::new(file)))
    } else {
        Box::new(file)
    })
}

/// The next whole lines of a file; none at its end.
fn block(reader: &mut impl BufRead, path: &Path) -> Result<Vec<u8>, Failure> {
    let mut block = Vec::with_capacity(BLOCK + (BLOCK >> 3));
    while block.len() < BLOCK {
        let before = block.len();
        let mut limited = std::io::Read::take(&mut *reader, MAX_LINE as u64);
        let read = limited
            .read_until(b'\n', &mut block)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        if read == 0 {
            break;
        }
        if read == MAX_LINE && block.last() != Some(&b'\n') {
            return Err(format!("{}: a line of over {MAX_LINE} bytes", path.display()).into());
        }
        if block[before..].iter().all(u8::is_ascii_whitespace) {
            block.truncate(before);
        } else if block.last() != Some(&b'\n') {
            block.push(b'\n');
        }
    }
    Ok(block)
}

type Keys = HashMap<String, [u8; 32]>;

/// Writes the records of blocks to their parts.
fn sort_out(
    blocks: &Mutex<Receiver<Vec<u8>>>,
    parts: &[Mutex<Part>],
    found: &Mutex<(Findings, Keys)>,
) -> Result<(), Failure> {
    let mut held: Vec<Vec<u8>> = vec![Vec::new(); parts.len()];
    loop {
        let block = lock(blocks).recv();
        let Ok(block) = block else { break };
        for line in block.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            match read_line(line) {
                Read1::Record(record) => {
                    for part in parts_of(&record.place, parts.len()) {
                        record.write(&mut held[part]);
                        if held[part].len() > HELD {
                            lock(&parts[part]).write(&held[part])?;
                            held[part].clear();
                        }
                    }
                }
                Read1::Key(kid, key) => {
                    lock(found).1.insert(kid, key);
                }
                Read1::Other => {}
                Read1::Wrong(what) => lock(found).0.note(what),
            }
        }
    }
    for (part, held) in parts.iter().zip(&held) {
        lock(part).write(held)?;
    }
    Ok(())
}

/// Where a record goes: to the part of its account, and what digests are compared with to the part
/// of its shard of the directory, which comes behind those.
fn parts_of(place: &Place, parts: usize) -> impl Iterator<Item = usize> {
    let accounts = parts - usize::from(keys::DIRECTORY_SHARDS);
    let shard = match place.kind {
        Kind::Digest => u8::try_from(place.seq).ok(),
        Kind::Checkpoint => {
            place.account.parse().ok().map(|account| keys::directory_shard_of(&account))
        }
        _ => None,
    };
    let own = (place.kind != Kind::Digest).then(|| part_of(&place.account, accounts));
    own.into_iter().chain(shard.map(|shard| accounts + usize::from(shard)))
}

fn part_of(account: &str, parts: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    account.hash(&mut hasher);
    let parts = parts as u64;
    usize::try_from(hasher.finish() % parts).unwrap_or_default()
}

/// Compares the digests of a shard of the directory with the checkpoints that come in order behind
/// them.
struct Digests {
    shard: u8,
    /// Until the first checkpoint.
    digests: Vec<DayDigest>,
    compared: Option<ShardDigests>,
    /// The account whose checkpoints come, and those that came.
    current: Option<(AccountId, Vec<Checkpoint>)>,
    findings: Findings,
}

impl Digests {
    fn new(shard: u8) -> Self {
        Self {
            shard,
            digests: Vec::new(),
            compared: None,
            current: None,
            findings: Findings::default(),
        }
    }

    fn take(&mut self, record: &Record) {
        let Place { account, kind, .. } = &record.place;
        if *kind == Kind::Digest {
            if let Some(digest) = DayDigest::from_item(&record.item()) {
                self.digests.push(digest);
            } else {
                self.findings.note(format!("a digest of shard {} can't be read", self.shard));
            }
            return;
        }
        if self.current.as_ref().is_none_or(|(current, _)| current.as_str() != account) {
            self.end();
            self.current = account.parse().ok().map(|account| (account, Vec::new()));
        }
        // One that can't be read is told of with its account.
        let checkpoint = Checkpoint::from_item(&record.item());
        if let (Some((_, checkpoints)), Some(checkpoint)) = (&mut self.current, checkpoint) {
            checkpoints.push(checkpoint);
        }
    }

    /// The current account has no more checkpoints.
    fn end(&mut self) {
        let Some((account, mut checkpoints)) = self.current.take() else { return };
        checkpoints.sort_unstable_by(|a, b| a.day.cmp(&b.day));
        self.compared().add(&account, &checkpoints);
    }

    /// The digests, as all are there now.
    fn compared(&mut self) -> &mut ShardDigests {
        let (shard, digests) = (self.shard, &mut self.digests);
        self.compared.get_or_insert_with(|| {
            digests.sort_unstable_by(|a, b| a.day.cmp(&b.day));
            ShardDigests::new(shard, std::mem::take(digests))
        })
    }

    fn finish(mut self, keys: &Keys) -> Findings {
        self.end();
        for what in self.compared().differences(|kid| keys.get(kid).copied()) {
            self.findings.note(what);
        }
        self.findings
    }
}

/// That an item names an operation that is not there, or has another item.
fn misnaming(pk: &str, (seq, position): (u64, u64), is_there: bool) -> Difference {
    let why = if is_there { "not its own" } else { "not there" };
    Difference { seq, what: format!("the item {pk} names op_{seq}_{position}, which is {why}") }
}

/// Recomputes journals whose records come in order.
struct Journals<'k> {
    keys: &'k Keys,
    findings: Findings,
    current: Option<Journal>,
}

/// The journal that is being recomputed.
struct Journal {
    audit: Audit,
    beside: Beside,
    /// Items that must name an operation of the last entry, with the operation's position.
    unnamed: Vec<(String, u64)>,
    /// Where the first difference was: nothing is looked at behind it.
    differs: bool,
}

impl<'k> Journals<'k> {
    fn new(keys: &'k Keys) -> Self {
        Self { keys, findings: Findings::default(), current: None }
    }

    fn take(&mut self, record: &Record) {
        let Place { account, seq, kind } = &record.place;
        let same = self.current.as_ref().is_some_and(|now| now.audit.account().as_str() == account);
        if !same {
            self.end();
            let Ok(account) = account.parse::<AccountId>() else { return };
            self.findings.accounts += 1;
            self.current = Some(Journal {
                audit: Audit::new(account),
                beside: Beside::default(),
                unnamed: Vec::new(),
                differs: false,
            });
        }
        let Some(journal) = &mut self.current else { return };
        if journal.differs {
            return;
        }
        let taken = match kind {
            Kind::Entry => {
                self.findings.entries += 1;
                journal.entry(record)
            }
            Kind::Operation => journal.operation(*seq, record),
            Kind::Rated => journal.rated(*seq, record),
            Kind::Checkpoint => {
                self.findings.checkpoints += 1;
                journal.checkpoint(self.keys, record)
            }
            Kind::Directory
            | Kind::Parked
            | Kind::Unrated
            | Kind::Change
            | Kind::Mark
            | Kind::Refund
            | Kind::Payment
            | Kind::Digest => {
                let noted = journal.beside.note(journal.audit.account(), record);
                noted.map_err(|what| Difference { seq: *seq, what })
            }
        };
        if let Err(difference) = taken {
            journal.differs = true;
            self.findings.differs(journal.audit.account(), &difference);
        }
    }

    /// The current account has no more records.
    fn end(&mut self) {
        let Some(mut journal) = self.current.take() else { return };
        if journal.differs {
            return;
        }
        if let Err(difference) = journal.ended() {
            self.findings.differs(journal.audit.account(), &difference);
        }
    }

    fn finish(mut self) -> Findings {
        self.end();
        self.findings
    }
}

impl Journal {
    fn entry(&mut self, record: &Record) -> Result<(), Difference> {
        self.all_named()?;
        let account = self.audit.account().clone();
        let read = StoredEntry::from_item(&account, &record.item());
        if let Ok(stored) = &read {
            let items = operation_items(&account, &stored.entry).into_iter();
            self.unnamed = items.map(|(key, position)| (key.pk, u64::from(position))).collect();
        }
        self.audit.take(read)?;
        let seq = self.audit.seq();
        let Some(entry) = self.audit.entry() else { return Ok(()) };
        self.beside.take(&account, entry).map_err(|what| Difference { seq, what })
    }

    fn operation(&mut self, seq: u64, record: &Record) -> Result<(), Difference> {
        let item = record.item();
        let pk = text(&item, "pk").unwrap_or_default();
        let (position, there) = self.named(seq, &item);
        let is_there = there.is_some();
        self.beside.named(pk);
        let is_its = |(named, at): &(String, u64)| named == pk && *at == position;
        if let Some(at) = self.unnamed.iter().position(is_its) {
            self.unnamed.swap_remove(at);
            return Ok(());
        }
        Err(misnaming(pk, (seq, position), is_there))
    }

    /// What usage has become that had waited: a charge or capture under the usage's own key.
    fn rated(&self, seq: u64, record: &Record) -> Result<(), Difference> {
        let item = record.item();
        let pk = text(&item, "pk").unwrap_or_default();
        let id: Option<UnratedId> = pk.strip_prefix("U#").and_then(|id| id.parse().ok());
        let (position, there) = self.named(seq, &item);
        let its = there.is_some_and(|operation| {
            let took = matches!(operation.detail, Detail::Charge { .. } | Detail::Capture { .. });
            let Origin::Client { key } = &operation.origin else { return false };
            took && id.is_some_and(|id| id.is_of(self.audit.account(), key))
        });
        if its { Ok(()) } else { Err(misnaming(pk, (seq, position), there.is_some())) }
    }

    /// The position that an item names, and the operation of the last entry there.
    fn named(&self, seq: u64, item: &Item) -> (u64, Option<&Operation>) {
        let position = number(item, "n").unwrap_or(u64::MAX);
        let entry = self.audit.entry().filter(|_| seq == self.audit.seq());
        let mut operations = entry.into_iter().flat_map(|entry| &entry.operations);
        let there = operations.find(|operation| u64::from(operation.id.position) == position);
        (position, there)
    }

    fn checkpoint(&mut self, keys: &Keys, record: &Record) -> Result<(), Difference> {
        let seq = record.place.seq;
        let difference = |what: String| Err(Difference { seq, what });
        let Some(checkpoint) = Checkpoint::from_item(&record.item()) else {
            return difference("a checkpoint of it can't be read".to_owned());
        };
        let Checkpoint { day, kid, .. } = &checkpoint;
        let account = self.audit.account();
        if !keys.get(kid).is_some_and(|key| checkpoint.is_signed_by(account, key)) {
            return difference(format!("the checkpoint of {day} is not signed by the key {kid}"));
        }
        self.audit.compare(&checkpoint)?;
        self.audit.end(Some(&checkpoint))
    }

    /// Nothing is left over at the end.
    fn ended(&mut self) -> Result<(), Difference> {
        self.all_named()?;
        let seq = self.audit.seq();
        self.beside.end(seq).map_err(|what| Difference { seq, what })
    }

    /// Every operation of the last entry was named by its item.
    fn all_named(&mut self) -> Result<(), Difference> {
        match self.unnamed.pop() {
            None => Ok(()),
            Some((pk, position)) => {
                let seq = self.audit.seq();
                let what = format!("op_{seq}_{position} is not named by its item {pk}");
                Err(Difference { seq, what })
            }
        }
    }
}
