//! Publishing and reading ratio tables: against stores in memory with every failure that the real
//! ones have, and through the real SDKs against the local stack's emulators.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use uc_domain::ratios::RatioTable;
use uc_ledger::Clock as _;
use uc_ledger::store::{self, AttributeValue};
use uc_ratios::{
    DraftError, Drafts, NewDraft, ParameterStore as _, PublicationState, PublishError,
    PublishOptions, Published, Publisher, ReadError, Reader, SecretError, SecretReader,
};
use uc_tests::{
    Call, CallFault, ManualClock, MemoryParameters, MemoryStore, Operation, StoreFault,
};

const STACK: &str = "test";
const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

/// A table of `models` models that all have the same price: two tables can't be mixed unseen.
fn table_of(models: usize, price: u64) -> RatioTable {
    let mut table = json!({
        "credit": {"scale": 4, "rounding": "up"},
        "groups": {"default": "1", format!("group-{price}"): "0.5"},
        "features": {"text": {"dimensions": ["input_tokens"]}},
        "models": {},
    });
    for n in 0..models {
        // Ids without a pattern, so that few models take several chunks.
        let noise = noise_of(n as u64);
        let row = json!({"dimension": "input_tokens", "credits": price.to_string(), "per": 1});
        table["models"][noise] = json!({"feature": "text", "ratios": [row]});
    }
    RatioTable::from_json(&table).expect("complete")
}

/// Letters without a pattern, the same for the same seed.
fn noise_of(seed: u64) -> String {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..40).map(|_| random.lowercase()).collect()
}

/// A table of several chunks.
fn table(price: u64) -> RatioTable {
    table_of(600, price)
}

/// A stack in memory.
struct Stack {
    store: Arc<MemoryStore>,
    parameters: Arc<MemoryParameters>,
    clock: Arc<ManualClock>,
}

impl Stack {
    fn new(seed: u64, lag: u8) -> Self {
        Self {
            store: Arc::new(MemoryStore::new(seed)),
            parameters: Arc::new(MemoryParameters::new(seed, lag)),
            clock: Arc::default(),
        }
    }

    fn publisher(&self) -> Publisher {
        Publisher::new(self.store.clone(), self.parameters.clone(), self.clock.clone(), STACK)
    }

    fn drafts(&self) -> Drafts {
        Drafts::new(self.store.clone(), self.clock.clone())
    }

    fn reader(&self) -> Reader {
        Reader::new(self.store.clone(), self.parameters.clone(), self.clock.clone(), STACK)
    }

    /// Publishes a table as the version after `if_match`.
    async fn publish(&self, if_match: u64, table: &RatioTable) {
        let published = self.publisher().publish(if_match, table, &PublishOptions::default()).await;
        let version = if_match + 1;
        assert_eq!(published.expect("nothing is in the way"), Published::Done { version });
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_publishers_one_wins_and_nothing_is_lost() {
    for seed in 0..60 {
        let stack = Stack::new(seed, 3);
        stack.publish(0, &table_of(30, 1)).await;
        let tables = [table_of(30, 2), table_of(30, 3)];
        let options = PublishOptions::default();
        let (first, second) = (stack.publisher(), stack.publisher());
        let answers = tokio::join!(
            first.publish(1, &tables[0], &options),
            second.publish(1, &tables[1], &options),
        );
        let (won, lost, error) = match answers {
            (Ok(Published::Done { version: 2 }), Err(error)) => (&tables[0], &tables[1], error),
            (Err(error), Ok(Published::Done { version: 2 })) => (&tables[1], &tables[0], error),
            other => panic!("seed {seed}: {other:?}"),
        };
        assert!(matches!(error, PublishError::PreconditionFailed { current: 2 }), "{error}");
        let reader = stack.reader();
        assert!(reader.current().await.expect("it can be read").table == *won, "seed {seed}");

        stack.publish(2, lost).await;
        assert!(reader.at_least(3).await.expect("it can be read").table == *lost, "seed {seed}");
        assert!(reader.version(2).await.expect("it can be read").table == *won, "seed {seed}");

        // The same call at the same time is one publication.
        let same = table_of(30, 4);
        let answers =
            tokio::join!(first.publish(3, &same, &options), second.publish(3, &same, &options),);
        for answer in [answers.0, answers.1] {
            let answer = answer.expect("nothing is in the way");
            assert_eq!(answer, Published::Done { version: 4 }, "seed {seed}");
        }
    }
}

/// Publishers and readers at work together while everything that can go wrong does: whatever a
/// reader gets is exactly a table that was published, and it never goes back.
#[tokio::test(start_paused = true)]
async fn no_reader_sees_half_a_table() {
    const VERSIONS: u64 = 8;

    let tables: Arc<Vec<RatioTable>> = Arc::new((1..=VERSIONS).map(table).collect());
    let reads = Arc::new(AtomicUsize::new(0));
    for seed in 0..12 {
        let stack = Stack::new(seed, 6);
        let mut random = fastrand::Rng::with_seed(seed);
        stack.parameters.inject(move |_| match random.u8(..12) {
            0 => Some(CallFault::Throttled),
            1 => Some(CallFault::NotDone),
            2 => Some(CallFault::AnswerLost),
            3 => Some(CallFault::Torn),
            4 => Some(CallFault::Slow(Duration::from_millis(400))),
            _ => None,
        });
        let mut random = fastrand::Rng::with_seed(!seed);
        stack.store.inject(move |operation| match (operation, random.u8(..6)) {
            (Operation::Transact(_), 0) => Some(StoreFault::AnswerLost),
            (Operation::Transact(_), 1) => Some(StoreFault::NotDone),
            (Operation::Transact(_), 2) => Some(StoreFault::Conflict),
            _ => None,
        });
        let readers: Vec<_> = (0..4)
            .map(|n| {
                let (reader, tables, reads) = (stack.reader(), tables.clone(), reads.clone());
                let clock = stack.clock.clone();
                tokio::spawn(async move {
                    let mut last = 0;
                    while last < VERSIONS {
                        // Some find out by time, some by a request.
                        let read = if n < 2 {
                            reader.current().await
                        } else {
                            reader.at_least(last + 1).await
                        };
                        match read {
                            Ok(read) => {
                                let index = usize::try_from(read.version - 1).expect("small");
                                assert!(read.version >= last, "went back");
                                assert!(read.table == tables[index], "version {}", read.version);
                                last = read.version;
                            }
                            Err(error) => assert_eq!(error, ReadError::NotPublished),
                        }
                        reads.fetch_add(1, Ordering::Relaxed);
                        clock.advance(700);
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                })
            })
            .collect();
        let publisher = stack.publisher();
        let options = PublishOptions { budget: Duration::from_secs(2), ..Default::default() };
        for (if_match, table) in (0..).zip(tables.iter()) {
            loop {
                match publisher.publish(if_match, table, &options).await {
                    Ok(Published::Done { version }) => {
                        assert_eq!(version, if_match + 1);
                        break;
                    }
                    Ok(Published::InProgress(_)) | Err(PublishError::Unavailable(_)) => {}
                    other => panic!("seed {seed}: {other:?}"),
                }
            }
        }
        for reader in readers {
            reader.await.expect("no reader failed");
        }
    }
    assert!(reads.load(Ordering::Relaxed) > 12 * 4 * 8, "the readers were at work");
}

#[tokio::test(start_paused = true)]
async fn no_read_fails_for_ssm() {
    type Fault = fn(Call<'_>) -> Option<CallFault>;
    let faults: [(&str, Fault); 4] = [
        ("throttled", |_| Some(CallFault::Throttled)),
        ("unreachable", |_| Some(CallFault::NotDone)),
        ("answers lost", |_| Some(CallFault::AnswerLost)),
        ("slow", |_| Some(CallFault::Slow(Duration::from_mins(1)))),
    ];
    for (what, fault) in faults {
        let stack = Stack::new(1, 0);
        stack.publish(0, &table(1)).await;
        stack.parameters.inject(fault);
        let begin = tokio::time::Instant::now();
        let read = stack.reader().current().await.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(read.table == table(1), "{what}");
        assert!(begin.elapsed() <= Duration::from_millis(260), "{what}: {:?}", begin.elapsed());
    }

    // Parameters gone, damaged, or of others; hot copies damaged.
    let stack = Stack::new(1, 0);
    stack.publish(0, &table(1)).await;
    for name in stack.parameters.names() {
        stack.parameters.set(&name, "AAAA", false);
    }
    assert!(stack.reader().current().await.expect("the copy").table == table(1));
    stack.parameters.delete(&stack.parameters.names()).await.expect("few");
    assert!(stack.reader().current().await.expect("the copy").table == table(1));
    for mut item in stack.store.items() {
        if store::text(&item, store::PK).is_some_and(|pk| pk.starts_with("R#hot#")) {
            item.insert("parts".to_owned(), AttributeValue::B(vec![1, 2, 3].into()));
            stack.store.tamper(item);
        }
    }
    assert!(stack.reader().current().await.expect("the kept copy").table == table(1));
    for mut item in stack.store.items() {
        item.insert("parts".to_owned(), AttributeValue::B(vec![1, 2, 3].into()));
        stack.store.tamper(item);
    }
    assert!(matches!(stack.reader().current().await, Err(ReadError::Corrupt(_))));
    // The next publication mends everything.
    stack.publish(1, &table(2)).await;
    assert!(stack.reader().current().await.expect("mended").table == table(2));
}

#[tokio::test(start_paused = true)]
async fn tables_come_from_ssm_in_two_calls_or_from_the_copy() {
    for (models, from_ssm) in [(1_500, true), (2_500, false)] {
        let stack = Stack::new(1, 0);
        let table = table_of(models, 1);
        stack.publish(0, &table).await;
        let parts = stack.parameters.names().len();
        assert_eq!(parts <= 20, from_ssm, "{parts} parameters: choose other sizes");
        stack.parameters.take_calls();
        let copies = Arc::new(AtomicUsize::new(0));
        let counted = copies.clone();
        stack.store.inject(move |operation| {
            if matches!(operation, Operation::Get(_)) {
                counted.fetch_add(1, Ordering::Relaxed);
            }
            None
        });
        assert!(stack.reader().current().await.expect("it can be read").table == table);
        let calls = stack.parameters.take_calls();
        let copies = copies.load(Ordering::Relaxed);
        assert_eq!((calls > 0, copies > 0), (from_ssm, !from_ssm), "{parts} parts");
        assert!(calls <= 2, "{calls} calls");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stopped_publication_goes_on() {
    let stack = Stack::new(1, 0);
    stack.publish(0, &table(1)).await;
    stack.parameters.take_puts();
    let (publisher, options) = (stack.publisher(), PublishOptions::default());

    let mut left = 3;
    stack.parameters.inject(move |call| {
        if matches!(call, Call::Put(_)) && left == 0 {
            return Some(CallFault::Throttled);
        }
        left -= usize::from(matches!(call, Call::Put(_)));
        None
    });
    let begin = tokio::time::Instant::now();
    let stopped = publisher.publish(1, &table(2), &options).await.expect("it can go on");
    assert!(begin.elapsed() <= options.budget, "{:?}", begin.elapsed());
    let Published::InProgress(publication) = stopped else { panic!("{stopped:?}") };
    let PublicationState::InProgress { done: 3, total } = publication.state else {
        panic!("{publication:?}")
    };
    assert!(total > 4);
    let polled = publisher.publication(&publication.id).await.expect("it can be read");
    assert_eq!(polled.as_ref(), Some(&publication));
    assert_eq!(stack.reader().at_least(2).await.expect("the old one").version, 1);

    stack.parameters.inject(|_| None);
    let done = publisher.publish(1, &table(2), &options).await.expect("nothing is in the way");
    assert_eq!(done, Published::Done { version: 2 });
    let puts = stack.parameters.take_puts();
    assert_eq!(puts.len(), total, "each parameter is written once");
    assert_eq!(puts.iter().collect::<HashSet<_>>().len(), total, "each parameter is written once");
    assert!(puts.last().is_some_and(|name| name.contains("/manifests/")), "the manifest last");
    let polled = publisher.publication(&publication.id).await.expect("it can be read");
    assert_eq!(polled.map(|p| p.state), Some(PublicationState::Done { version: 2 }));

    // Another one is stopped, and overtaken.
    stack.parameters.inject(|call| matches!(call, Call::Put(_)).then_some(CallFault::Throttled));
    let stopped = publisher.publish(2, &table(3), &options).await.expect("it can go on");
    let Published::InProgress(publication) = stopped else { panic!("{stopped:?}") };
    stack.parameters.inject(|_| None);
    stack.publish(2, &table(4)).await;
    let polled = publisher.publication(&publication.id).await.expect("it can be read");
    assert_eq!(polled.map(|p| p.state), Some(PublicationState::Superseded { by: 3 }));
    let late = publisher.publish(2, &table(3), &options).await;
    assert!(matches!(late, Err(PublishError::PreconditionFailed { current: 3 })), "{late:?}");
    for id in ["", "x", "7-", "18446744073709551615-00", "4-1234"] {
        assert_eq!(publisher.publication(id).await.expect("it can be read"), None, "{id:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_call_again_has_the_same_answer() {
    let stack = Stack::new(1, 0);
    let publisher = stack.publisher();
    let lock = PublishOptions::default();
    let no_lock = PublishOptions { lock: false, ..Default::default() };
    let check = async |if_match, price, options: &PublishOptions, expected: Result<_, u64>| {
        let answer = match publisher.publish(if_match, &table_of(9, price), options).await {
            Ok(done) => Ok(done),
            Err(PublishError::PreconditionFailed { current }) => Err(current),
            Err(error) => panic!("{error}"),
        };
        assert_eq!(answer, expected, "If-Match {if_match}, price {price}");
    };
    let done = |version| Ok(Published::Done { version });
    check(1, 1, &lock, Err(0)).await;
    check(0, 1, &lock, done(1)).await;
    check(0, 1, &lock, done(1)).await;
    check(0, 2, &lock, Err(1)).await;
    check(1, 1, &lock, Ok(Published::Unchanged { version: 1 })).await;
    check(1, 2, &lock, done(2)).await;
    check(0, 1, &lock, Err(2)).await;
    // The same content, but it ends what is locked: that is news.
    check(2, 2, &no_lock, done(3)).await;
    check(2, 2, &no_lock, done(3)).await;
    check(2, 2, &lock, Err(3)).await;
    // An answer that is lost on its way.
    let mut lost = false;
    stack.store.inject(move |operation| {
        let first = matches!(operation, Operation::Transact(_)) && !lost;
        lost |= first;
        first.then_some(StoreFault::AnswerLost)
    });
    check(3, 4, &lock, done(4)).await;
    stack.store.inject(|operation| {
        matches!(operation, Operation::Transact(_)).then_some(StoreFault::NotDone)
    });
    let unanswered = publisher.publish(4, &table_of(9, 5), &lock).await;
    assert!(matches!(unanswered, Err(PublishError::Unavailable(_))), "{unanswered:?}");
    stack.store.inject(|_| None);
    check(4, 5, &lock, done(5)).await;
}

#[tokio::test(start_paused = true)]
async fn a_rollback_is_a_new_version() {
    let stack = Stack::new(1, 2);
    let publisher = stack.publisher();
    for price in 1..=3 {
        stack.publish(price - 1, &table(price)).await;
    }
    let options = PublishOptions { author: Some("ann".to_owned()), ..Default::default() };
    let done = publisher.rollback(3, 1, &options).await.expect("nothing is in the way");
    assert_eq!(done, Published::Done { version: 4 });
    let read = stack.reader().current().await.expect("it can be read");
    assert!(read.version == 4 && read.table == table(1));
    let newest = publisher.current().await.expect("it can be read").expect("published");
    assert_eq!((newest.version, newest.restores), (4, Some(1)));
    assert_eq!((newest.author.as_deref(), newest.models), (Some("ann"), 600));
    let unknown = publisher.rollback(4, 9, &options).await;
    assert!(matches!(unknown, Err(PublishError::UnknownVersion(9))), "{unknown:?}");
    let late = publisher.rollback(3, 2, &options).await;
    assert!(matches!(late, Err(PublishError::PreconditionFailed { current: 4 })), "{late:?}");

    let mut listed = Vec::new();
    loop {
        let page = publisher.versions(listed.last().copied(), 3).await.expect("it can be read");
        if page.is_empty() {
            break;
        }
        listed.extend(page.iter().map(|version| version.version));
    }
    assert_eq!(listed, [4, 3, 2, 1]);
    assert!(publisher.version(2).await.expect("it can be read") == table(2));
}

#[tokio::test(start_paused = true)]
async fn chunks_go_only_when_nobody_needs_them() {
    let stack = Stack::new(1, 0);
    let publisher = stack.publisher();
    let options = PublishOptions::default();
    // One that is given up at once.
    stack.parameters.inject(|call| {
        let manifest = matches!(call, Call::Put(name) if name.contains("/manifests/"));
        manifest.then_some(CallFault::Throttled)
    });
    let given_up = publisher.publish(0, &table(999), &options).await.expect("it can go on");
    assert!(matches!(given_up, Published::InProgress(_)));
    stack.parameters.inject(|_| None);
    let orphans = stack.parameters.names();
    assert!(orphans.len() > 3);

    let all_there = |names: &[String], of: &str| {
        let there = stack.parameters.names();
        for name in names {
            assert!(there.contains(name), "{of}: {name} is gone");
        }
    };
    let mut written: Vec<Vec<String>> = Vec::new();
    for version in 1..=70_u64 {
        stack.parameters.take_puts();
        // The same models with other prices: every chunk is new.
        stack.publish(version - 1, &table_of(60, version)).await;
        written.push(stack.parameters.take_puts());
        stack.clock.advance(HOUR);
        if version < 48 {
            all_there(&orphans, "it may go on");
        }
    }
    // 70 hours have passed: of the 20 that are not among the newest 50, most were in force before
    // the last 48 hours; the last publications found 5 each.
    for (version, names) in (1..).zip(&written) {
        let there = stack.parameters.names();
        let kept = names.iter().filter(|name| there.contains(name)).count();
        if version > 20 {
            assert_eq!(kept, names.len(), "version {version} is among the newest 50");
        } else if version <= 15 {
            assert_eq!(kept, 0, "version {version} is old");
        }
    }
    let there = stack.parameters.names();
    assert!(orphans.iter().all(|name| !there.contains(name)), "given up two days ago");
    // Whatever went, every version can be read, for good.
    let reader = stack.reader();
    for version in 1..=70 {
        let read = reader.version(version).await.expect("it can be read");
        assert!(read.table == table_of(60, version), "version {version}");
    }
    // A hundred versions within a day stay, too.
    for version in 71..=170 {
        stack.publish(version - 1, &table_of(60, version)).await;
    }
    for names in &written[30..] {
        all_there(names, "in force within 48 hours");
    }
}

#[tokio::test(start_paused = true)]
async fn chunks_in_use_by_newer_versions_stay() {
    let stack = Stack::new(1, 0);
    // Two prices in turn: the chunks of old versions are those of new ones.
    for version in 1..=60_u64 {
        stack.publish(version - 1, &table_of(60, version % 2 + 1)).await;
        stack.clock.advance(3 * HOUR);
    }
    stack.parameters.take_puts();
    stack.publish(60, &table_of(60, 2)).await;
    assert_eq!(stack.parameters.take_puts(), [""; 0], "all parts were there");
}

#[tokio::test(start_paused = true)]
async fn superseded_versions_are_honoured_for_a_quarter_of_an_hour() {
    let stack = Stack::new(1, 0);
    let reader = stack.reader();
    let check = async |version: u64, expected: bool| {
        let now = stack.clock.now();
        let honoured = reader.honoured(version, now).await.expect("it can be read");
        assert_eq!(honoured, expected, "version {version} at {now}");
    };
    stack.publish(0, &table_of(9, 1)).await;
    check(0, false).await;
    check(1, true).await;
    check(2, false).await;
    stack.clock.advance(30 * MINUTE);
    check(1, true).await;

    stack.publish(1, &table_of(9, 2)).await;
    stack.clock.advance(10 * MINUTE);
    stack.publish(2, &table_of(9, 3)).await;
    stack.clock.advance(5 * MINUTE - 1);
    for version in 1..=3 {
        check(version, true).await;
    }
    stack.clock.advance(1);
    check(1, false).await;
    check(2, true).await;
    stack.clock.advance(10 * MINUTE);
    check(2, false).await;
    check(3, true).await;

    // A wrong price is published and taken back.
    stack.publish(3, &table_of(9, 4)).await;
    let no_lock = PublishOptions { lock: false, ..Default::default() };
    let done = stack.publisher().publish(4, &table_of(9, 5), &no_lock).await.expect("free");
    assert_eq!(done, Published::Done { version: 5 });
    check(5, true).await;
    check(4, false).await;
    check(3, false).await;
    // What came after it is honoured as usual; what was before stays ended.
    stack.publish(5, &table_of(9, 6)).await;
    // Between two forced looks is a second.
    stack.clock.advance(1_000);
    check(6, true).await;
    check(5, true).await;
    check(4, false).await;
    check(7, false).await;
}

#[tokio::test(start_paused = true)]
async fn the_register_is_asked_rarely() {
    let stack = Stack::new(1, 0);
    let reader = stack.reader();
    assert_eq!(reader.current().await, Err(ReadError::NotPublished));
    assert_eq!(reader.age_millis(), None);
    stack.publish(0, &table_of(9, 1)).await;

    let operations = Arc::new(AtomicUsize::new(0));
    let counted = operations.clone();
    stack.store.inject(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        None
    });
    let asked = || operations.swap(0, Ordering::Relaxed);
    let many = async || {
        let reads: [_; 20] = std::array::from_fn(|_| reader.current());
        for read in Box::pin(futures_join(reads)).await {
            read.expect("it can be read");
        }
    };
    Box::pin(many()).await;
    assert_eq!(asked(), 1, "one asks for all");
    stack.clock.advance(23_000);
    Box::pin(many()).await;
    assert_eq!((asked(), reader.age_millis()), (0, Some(23_000)));
    stack.clock.advance(8_000);
    Box::pin(many()).await;
    assert_eq!((asked(), reader.age_millis()), (1, Some(0)));

    // A request that names a newer version forces a look, once a second.
    stack.publish(1, &table_of(9, 2)).await;
    asked();
    assert_eq!(reader.current().await.expect("kept").version, 1);
    assert_eq!(reader.at_least(2).await.expect("looked").version, 2);
    asked();
    for _ in 0..10 {
        assert_eq!(reader.at_least(99).await.expect("it can be read").version, 2);
    }
    assert_eq!(asked(), 0, "only once a second");
    stack.clock.advance(1_000);
    reader.at_least(99).await.expect("it can be read");
    reader.at_least(99).await.expect("it can be read");
    assert_eq!(asked(), 1);

    // Versions are kept.
    reader.version(1).await.expect("it can be read");
    asked();
    reader.version(1).await.expect("it is kept");
    assert_eq!(asked(), 0);
    assert_eq!(reader.version(7).await, Err(ReadError::UnknownVersion(7)));

    // Without answers what is kept serves for five minutes, and nobody waits for each request.
    let unanswered = operations.clone();
    stack.store.inject(move |_| {
        unanswered.fetch_add(1, Ordering::Relaxed);
        Some(StoreFault::NotDone)
    });
    asked();
    stack.clock.advance(4 * MINUTE);
    Box::pin(many()).await;
    assert_eq!(asked(), 1);
    assert_eq!(reader.age_millis(), Some(240_000));
    stack.clock.advance(2 * MINUTE);
    assert!(matches!(reader.current().await, Err(ReadError::Unavailable(_))));
    stack.store.inject(|_| None);
    assert_eq!(reader.current().await.expect("it is back").version, 2);
}

/// Drives futures at once, in one task.
async fn futures_join<T>(futures: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut futures: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        for (future, output) in &mut futures {
            if output.is_none()
                && let std::task::Poll::Ready(ready) = future.as_mut().poll(context)
            {
                *output = Some(ready);
            }
        }
        if futures.iter().all(|(_, output)| output.is_some()) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    futures.into_iter().filter_map(|(_, output)| output).collect()
}

#[tokio::test(start_paused = true)]
async fn tables_that_do_not_fit_are_refused() {
    let stack = Stack::new(1, 0);
    let mut random = fastrand::Rng::with_seed(1);
    let mut noise = |len: usize| -> String { (0..len).map(|_| random.lowercase()).collect() };
    let mut json = table_of(1, 1).to_json();
    let body = json["models"].as_object().and_then(|models| models.values().next().cloned());
    for _ in 0..3_500 {
        json["models"][noise(128)] = body.clone().expect("a model");
    }
    let table = RatioTable::from_json(&json).expect("complete");
    let refused = stack.publisher().publish(0, &table, &PublishOptions::default()).await;
    assert!(matches!(refused, Err(PublishError::TooLarge(_))), "{refused:?}");
    assert_eq!((stack.store.items().len(), stack.parameters.names().len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_ssm_refuses_is_told() {
    let stack = Stack::new(1, 0);
    let (publisher, options) = (stack.publisher(), PublishOptions::default());
    stack.parameters.inject(|_| Some(CallFault::NotDone));
    let down = publisher.publish(0, &table(1), &options).await;
    assert!(matches!(down, Err(PublishError::Unavailable(_))), "{down:?}");
    stack.parameters.inject(|_| Some(CallFault::Throttled));
    let slow = publisher.publish(0, &table(1), &options).await;
    assert!(matches!(slow, Ok(Published::InProgress(_))), "{slow:?}");
    assert_eq!(publisher.current().await.expect("it can be read"), None);
    stack.parameters.inject(|_| None);
    stack.publish(0, &table(1)).await;
}

/// A draft that takes so many parts, all of whose places say the same.
fn draft_of(parts: usize, mark: u64) -> Value {
    // Letters compress to six bits of eight.
    let letters = parts.saturating_sub(1) * 530_000 + 1_000;
    let mut random = fastrand::Rng::with_seed(mark);
    let noise: String = (0..letters).map(|_| random.alphanumeric()).collect();
    json!({"mark": mark, "noise": noise, "again": mark})
}

/// Administrators save and delete over one another, and others read, while everything goes wrong
/// that can: nobody overwrites what they have not seen, and nobody reads half a draft.
#[tokio::test(start_paused = true)]
async fn drafts_are_saved_whole_and_never_over_one_another() {
    let drafts: Arc<Vec<Value>> = Arc::new((1..=3).map(|n| draft_of(n, n as u64)).collect());
    for seed in 0..4 {
        let stack = Stack::new(seed, 0);
        let mut random = fastrand::Rng::with_seed(seed);
        stack.store.inject(move |_| match random.u8(..40) {
            0 => Some(StoreFault::NotDone),
            1 => Some(StoreFault::AnswerLost),
            2 => Some(StoreFault::Conflict),
            _ => None,
        });
        let saves = Arc::new(AtomicUsize::new(0));
        let tasks = (0..4_usize).map(|n| {
            let (store, drafts, saves) = (stack.drafts(), drafts.clone(), saves.clone());
            tokio::spawn(async move {
                let mut random = fastrand::Rng::with_seed(seed * 10 + n as u64);
                for _ in 0..6 {
                    let there = match store.get().await {
                        Ok(there) => there,
                        Err(DraftError::Unavailable(_)) => continue,
                        Err(error) => panic!("seed {seed}: {error}"),
                    };
                    if let Some((info, table)) = &there {
                        assert!(drafts.contains(table), "seed {seed}: {info:?}");
                        assert_eq!(table["mark"], info.base_version, "seed {seed}");
                    }
                    let seen = there.map_or(0, |(info, _)| info.revision);
                    let table = random.choice(&*drafts).unwrap();
                    let base_version = table["mark"].as_u64().unwrap();
                    let new = NewDraft { table, base_version, author: None };
                    let changed = if seen > 0 && random.u8(..4) == 0 {
                        store.delete(seen, None).await.map(|()| None)
                    } else {
                        store.save(seen, &new).await.map(|info| Some(info.revision))
                    };
                    match changed {
                        Ok(Some(revision)) => {
                            assert!(revision > seen, "seed {seed}");
                            saves.fetch_add(1, Ordering::Relaxed);
                        }
                        Ok(None)
                        | Err(DraftError::Unavailable(_) | DraftError::PreconditionFailed { .. }) =>
                            {}
                        Err(error) => panic!("seed {seed}: {error}"),
                    }
                }
            })
        });
        for task in futures_join(tasks).await {
            task.expect("nobody saw anything odd");
        }
        assert!(saves.load(Ordering::Relaxed) > 5, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_draft_is_saved_once_whatever_became_of_the_answer() {
    let stack = Stack::new(1, 0);
    let drafts = stack.drafts();
    let (one, two) = (draft_of(3, 1), draft_of(1, 2));
    let new = |table| NewDraft { table, base_version: 7, author: Some("me") };
    assert!(drafts.get().await.unwrap().is_none());

    // Done, but nobody heard of it; then the same call from the beginning.
    let mut lost = 0;
    stack.store.inject(move |operation| {
        lost += u32::from(matches!(operation, Operation::Transact(_)));
        (lost == 1 && matches!(operation, Operation::Transact(_))).then_some(StoreFault::AnswerLost)
    });
    let saved = drafts.save(0, &new(&one)).await.unwrap();
    assert_eq!((saved.revision, saved.author.as_deref()), (1, Some("me")));
    assert_eq!(drafts.save(0, &new(&one)).await.unwrap(), saved);
    assert_eq!(drafts.get().await.unwrap(), Some((saved, one.clone())));

    // Another draft over the same revision is not saved; a smaller one leaves nothing behind.
    let refused = drafts.save(0, &new(&two)).await.unwrap_err();
    assert!(matches!(refused, DraftError::PreconditionFailed { current: 1 }), "{refused}");
    assert_eq!(drafts.save(1, &new(&two)).await.unwrap().revision, 2);
    let bytes = || -> usize { stack.store.items().iter().map(store::item_size).sum() };
    assert!(bytes() < 3_000, "{}", bytes());
    drafts.delete(2, None).await.unwrap();
    drafts.delete(2, None).await.unwrap();
    assert!(bytes() < 1_000, "{}", bytes());
    let refused = drafts.delete(1, None).await.unwrap_err();
    assert!(matches!(refused, DraftError::PreconditionFailed { current: 0 }), "{refused}");
    assert_eq!(drafts.save(0, &new(&one)).await.unwrap().revision, 4);

    // What somebody has changed behind its back is told, not returned.
    let mut items = stack.store.items();
    let part = items.iter_mut().find(|item| item.contains_key("bytes")).unwrap();
    part.insert("bytes".to_owned(), AttributeValue::B(vec![1, 2, 3].into()));
    stack.store.tamper(part.clone());
    assert!(matches!(drafts.get().await, Err(DraftError::Corrupt(_))));
}

#[tokio::test(start_paused = true)]
async fn secrets() {
    let stack = Stack::new(1, 0);
    let secrets = SecretReader::new(stack.parameters.clone(), stack.clock.clone(), STACK);
    let exposed = async || -> Result<Vec<String>, SecretError> {
        let all = secrets.webhook_secrets().await?;
        Ok(all.iter().map(|secret| secret.expose().to_owned()).collect())
    };
    let current = "/test/secrets/webhook/current";
    assert_eq!(exposed().await, Err(SecretError::Missing(current.to_owned())));
    stack.parameters.set(current, "one", true);
    assert_eq!(exposed().await, Ok(vec!["one".to_owned()]));
    stack.parameters.set("/test/secrets/webhook/previous", "one", true);
    stack.parameters.set(current, "two", true);
    assert_eq!(exposed().await, Ok(vec!["one".to_owned()]), "kept for a minute");
    stack.clock.advance(MINUTE);
    assert_eq!(exposed().await, Ok(vec!["two".to_owned(), "one".to_owned()]));
    stack.parameters.inject(|_| Some(CallFault::NotDone));
    stack.clock.advance(4 * MINUTE);
    assert_eq!(exposed().await.map(|all| all.len()), Ok(2), "used while there is no answer");
    stack.clock.advance(MINUTE);
    assert!(matches!(exposed().await, Err(SecretError::Unavailable(_))));
    stack.parameters.inject(|_| None);
    let printed = format!("{:?}", secrets.webhook_secrets().await.expect("it is back"));
    assert!(!printed.contains("two"), "{printed}");

    let key = async || secrets.token_signing_key().await.map(|key| key.expose().to_owned());
    let name = "/test/secrets/token-key";
    assert_eq!(key().await, Err(SecretError::Missing(name.to_owned())));
    stack.parameters.set(name, "a key", true);
    assert_eq!(key().await, Ok("a key".to_owned()));
}

/// What functions await must be able to move between threads.
#[test]
fn futures_are_send() {
    fn check<T: Send>(_: &T) {}
    let stack = Stack::new(1, 0);
    let (reader, publisher) = (stack.reader(), stack.publisher());
    let secrets = SecretReader::new(stack.parameters.clone(), stack.clock.clone(), STACK);
    let (table, options) = (table_of(1, 1), PublishOptions::default());
    check(&reader.honoured(1, stack.clock.now()));
    check(&reader.version(1));
    check(&publisher.publish(0, &table, &options));
    check(&publisher.rollback(0, 1, &options));
    check(&publisher.publication("x"));
    let (drafts, draft) = (stack.drafts(), json!({}));
    check(&drafts.get());
    check(&drafts.save(0, &NewDraft { table: &draft, base_version: 0, author: None }));
    check(&secrets.webhook_secrets());
    check(&secrets.token_signing_key());
}

/// The same through the real SDKs: limits, encodings and errors are the services' own.
mod emulators {
    use uc_ledger::{DynamoStore, SystemClock};
    use uc_local::aws::Endpoints;
    use uc_ratios::SsmParameters;

    use super::*;

    const TABLE: &str = "unified-credits";

    #[tokio::test(flavor = "multi_thread")]
    async fn publish_and_read() {
        let dynamodb = uc_local::dynamodb::start(0, None).expect("it starts");
        let ssm =
            uc_local::ssm::start(0, None, uc_local::ssm::Quotas::Unlimited).expect("it starts");
        let endpoints = Endpoints { dynamodb: dynamodb.url(), ssm: ssm.url() };
        uc_local::schema::create_table(&endpoints.dynamodb_client(), TABLE).await.expect("a table");
        let clock = Arc::new(SystemClock);
        let store = Arc::new(DynamoStore::new(
            &endpoints.dynamodb_config(),
            TABLE.to_owned(),
            clock.clone(),
        ));
        let patient = Arc::new(SsmParameters::patient(&endpoints.ssm_config()));
        let quick = Arc::new(SsmParameters::new(&endpoints.ssm_config()));
        let publisher = Publisher::new(store.clone(), patient.clone(), clock.clone(), STACK);
        let reader = || Reader::new(store.clone(), quick.clone(), clock.clone(), STACK);
        let options = PublishOptions::default();

        let example =
            std::fs::read_to_string("../events/ratios.example.json").expect("it is there");
        let example: Value = serde_json::from_str(&example).expect("JSON");
        let example = RatioTable::from_json(&example).expect("complete");
        let publish = async |if_match, table: &RatioTable| {
            publisher.publish(if_match, table, &options).await.expect("nothing is in the way")
        };
        assert_eq!(publish(0, &example).await, Published::Done { version: 1 });
        assert_eq!(publish(0, &example).await, Published::Done { version: 1 });

        // It is on SSM, where one call reads it: a copy is not asked for.
        let before = store.counters().read();
        let read = reader().current().await.expect("it can be read");
        assert!(read.version == 1 && read.table == example);
        assert_eq!(store.counters().read().round_trips - before.round_trips, 1, "the register");

        // A large one is written at once here, and read from a copy.
        let large = table_of(2_500, 7);
        assert_eq!(publish(1, &large).await, Published::Done { version: 2 });
        assert!(reader().current().await.expect("it can be read").table == large);
        let refused = publisher.publish(1, &example, &options).await;
        assert!(matches!(refused, Err(PublishError::PreconditionFailed { current: 2 })));

        // Secrets are secure strings.
        endpoints
            .ssm_client()
            .put_parameter()
            .name(format!("/{STACK}/secrets/webhook/current"))
            .r#type(aws_sdk_ssm::types::ParameterType::SecureString)
            .value("whsec_dGVzdA==")
            .send()
            .await
            .expect("it is written");
        let secrets = SecretReader::new(patient, clock.clone(), STACK);
        let all = secrets.webhook_secrets().await.expect("they can be read");
        assert_eq!(
            all.iter().map(uc_ratios::Secret::expose).collect::<Vec<_>>(),
            ["whsec_dGVzdA=="]
        );
        assert!(matches!(secrets.token_signing_key().await, Err(SecretError::Missing(_))));

        // Without SSM nobody reads worse, but nobody publishes.
        ssm.shutdown().await.expect("it stops");
        assert!(reader().current().await.expect("the copy").table == large);
        assert!(reader().version(1).await.expect("the copy").table == example);
        let down = publisher.rollback(2, 1, &options).await;
        assert!(matches!(down, Err(PublishError::Unavailable(_))), "{down:?}");
        dynamodb.shutdown().await.expect("it stops");
        assert!(matches!(reader().current().await, Err(ReadError::Unavailable(_))));
    }
}
