//! The ledger through the real SDK against the embedded `DynamoDB`: what a charge costs, that
//! everything happens once, and that tampering shows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use async_trait::async_trait;
use uc_domain::account::{
    Capture, Charge, Command, Detail, GrantId, GrantRequest, GrantTerms, HoldId, HoldRequest,
    Operation, OperationId, Origin, PaymentChange, RatedItem, RefundRequest, Rejection, Settings,
    Source, Status,
};
use uc_domain::journal::Entry;
use uc_domain::payments::{Payment, PaymentEvent, Reversals};
use uc_domain::plans::{Interval, Plan, PlanRollover};
use uc_domain::ratios::{Conditions, Line, Multiplier, Per, Rate, Ratio};
use uc_domain::{AccountId, Credits, Quantity, Timestamp};
use uc_ledger::store::{
    AttributeValue, Condition, DueKey, Item, Key, Put, Query, Store, StoreError, TransactError,
    item_size, transaction_write_units,
};
use uc_ledger::{
    Ask, Asked, Batched, Clock, DynamoStore, Filter, Ledger, LedgerError, NewSubscription, Outcome,
    Parking, Plans, Private, SystemClock, Unrated, UnratedItem, UnratedRequest, VerifyError,
    evidence, keys,
};
use uc_local::emulator::Emulator;
use uc_tests::MemoryStore;

/// A table of its own for each test.
struct Fixture {
    emulator: Emulator,
    dynamo: Arc<DynamoStore>,
}

impl Fixture {
    async fn start() -> Self {
        let emulator = uc_local::dynamodb::start(0, None).expect("starts");
        let endpoints = uc_local::aws::Endpoints { dynamodb: emulator.url(), ssm: String::new() };
        uc_local::schema::create_table(&endpoints.dynamodb_client(), "ledger").await.unwrap();
        let config = endpoints.dynamodb_config();
        let dynamo =
            Arc::new(DynamoStore::new(&config, "ledger".to_owned(), Arc::new(SystemClock)));
        Self { emulator, dynamo }
    }

    fn ledger(&self) -> Ledger {
        ledger(Arc::clone(&self.dynamo) as Arc<dyn Store>)
    }

    async fn stop(self) {
        self.emulator.shutdown().await.unwrap();
    }
}

fn ledger(store: Arc<dyn Store>) -> Ledger {
    Ledger::new(store, Arc::new(SystemClock), Settings::default())
}

fn credits(text: &str) -> Credits {
    text.parse().unwrap()
}

fn account(text: &str) -> AccountId {
    text.parse().unwrap()
}

fn client(key: &str) -> Origin {
    Origin::Client { key: key.to_owned() }
}

fn ask(account: &AccountId, origin: Origin) -> Ask<'_> {
    Ask {
        account,
        origin,
        fingerprint: [7; 16],
        private: Private::default(),
        opens: true,
        extra: &|_| Vec::new(),
    }
}

fn grant(amount: &str, priority: u8) -> Command {
    Command::Grant(GrantRequest {
        amount: credits(amount),
        source: Source::Promo,
        priority: Some(priority),
        effective_at: None,
        expires_at: Some(SystemClock.now().saturating_add_millis(30 * 86_400_000)),
        paid: None,
        rollover: None,
    })
}

fn charge(amount: &str) -> Command {
    Command::Charge(Charge::fixed(credits(amount)))
}

async fn execute(
    ledger: &Ledger,
    ask: &Ask<'_>,
    command: &Command,
) -> Result<Outcome, Asked<std::convert::Infallible>> {
    ledger.execute(ask, |_| Ok(command.clone())).await
}

/// A charge of one item with four lines, as a text model with caching makes it.
fn four_lines() -> Command {
    let line = |dimension: &str, mantissa, when: Option<&str>| {
        let rate = Rate::new(
            Ratio::from_parts(mantissa, 4).unwrap(),
            Per::from_exponent(6).unwrap(),
            when.map(|when| Conditions::from_text(when).unwrap()),
        );
        Line::new(
            "anthropic/claude-sonnet-4-5".to_owned(),
            dimension.to_owned(),
            Quantity::from_whole(123_456).unwrap(),
            rate.unwrap(),
            Multiplier::from_ten_thousandths(9_000).unwrap(),
        )
        .unwrap()
    };
    let tier = Some(r#"{"prompt_tokens":{"gt":200000}}"#);
    let item = RatedItem {
        lines: vec![
            line("input_tokens", 37_512_345, tier),
            line("cache_read_tokens", 3_751_234, tier),
            line("cache_write_tokens", 46_875_123, tier),
            line("output_tokens", 187_512_345, None),
        ],
        credits: credits("3061.2345"),
        minimum_applied: false,
        matched: None,
        parameters: [("service_class".to_owned(), "priority".to_owned())].into(),
        requests: 1,
        filled_by: None,
        provider: None,
    };
    Command::Charge(Charge {
        credits: item.credits,
        items: vec![item],
        ratio_version: Some(1_234),
        price_group: None,
        max_credits: Some(credits("5000")),
        occurred_at: Some(SystemClock.now()),
    })
}

/// The bar: one read and one write round trip, at most 4 write units with 5 grants
/// and 4 lines; by our own size function and by what the store says it took.
#[tokio::test]
async fn a_charge_costs_two_round_trips_and_four_write_units() {
    let fixture = Fixture::start().await;
    let ledger = fixture.ledger();
    let acme = account("workspace_7f3d9c1e5b2a4860b1c2d3e4f5061728");
    for priority in 1..=5 {
        let key = client(&format!("grant-{priority}"));
        execute(&ledger, &ask(&acme, key), &grant("1000.123456", priority)).await.unwrap();
    }

    let before = fixture.dynamo.counters().read();
    let request = Ask {
        private: Private {
            actor: Some("member_0192f3".to_owned()),
            description: None,
            metadata: BTreeMap::from([(
                "conversation".to_owned(),
                "0192f3a4-7b1c-7def-8a90-123456789abc".to_owned(),
            )]),
        },
        ..ask(&acme, client("0192f3a4-7b1c-7def-8a90-123456789abc"))
    };
    let outcome = execute(&ledger, &request, &four_lines()).await.unwrap();
    let after = fixture.dynamo.counters().read();

    assert_eq!(outcome.happened.balance_after.posted, credits("1939.38278"));
    assert_eq!(after.round_trips - before.round_trips, 2, "one read, one write");
    assert_eq!(after.retries - before.retries, 0);
    assert_eq!(after.write_units_x10 - before.write_units_x10, 40);
    let size = ledger.head(&acme).await.unwrap().unwrap().size(&acme);
    println!("a charge over 5 grants with 4 lines: {size} bytes of an entry");
    assert!(size <= 1_024, "{size} bytes");
    fixture.stop().await;
}

/// A refund is not held up by others' charges: of what decides it only a void changes anything.
#[tokio::test]
async fn only_a_void_makes_what_decides_a_refund_stale() {
    let fixture = Fixture::start().await;
    let ledger = fixture.ledger();
    let acme = account("acme");
    let does = async |key: &str, command: Command| {
        let outcome = execute(&ledger, &ask(&acme, client(key)), &command).await.unwrap();
        outcome.happened.operation.id
    };
    does("used up", grant("10", 1)).await;
    let other = does("other", grant("5", 2)).await;
    let paid = does("paid", charge("10")).await;
    let found = ledger.refund_evidence(&acme, paid).await.unwrap().unwrap();
    let is_stale = async || {
        let ask = ask(&acme, client("refund"));
        match ledger.execute(&ask, |state| Err::<Command, _>(found.is_stale(state))).await {
            Err(Asked::Decided(stale)) => stale,
            answer => panic!("{answer:?}"),
        }
    };
    for key in ["a", "b", "c"] {
        does(key, charge("0.1")).await;
        assert!(!is_stale().await);
    }
    does("void", Command::VoidGrant(GrantId(other))).await;
    assert!(is_stale().await);
    fixture.stop().await;
}

/// What a payment still brings decides whether its grant can be voided: a void writes nothing where
/// more became of the payment since that was asked.
#[tokio::test]
async fn a_dispute_meanwhile_prevents_a_void() {
    let fixture = Fixture::start().await;
    let ledger = fixture.ledger();
    let acme = account("acme");
    let origin = Origin::Payment { provider: "standard".into(), payment: "pay_1".into() };
    let brought = Payment { credits: credits("10"), paid: None };
    let item = keys::payment("standard", "live", "pay_1");
    let put =
        |operation: &Operation| vec![evidence::payment_put(&item, &acme, operation.id, &brought)];
    let paid = execute(&ledger, &Ask { extra: &put, ..ask(&acme, origin) }, &grant("10", 1)).await;
    let paid = GrantId(paid.unwrap().happened.operation.id);
    let void = async |key: &str, seen: evidence::Brought| {
        let puts = |_: &Operation| {
            let mark = evidence::voided_grant_put(&acme, paid);
            std::iter::once(mark).chain(seen.unchanged.clone()).collect()
        };
        let asked = Ask { extra: &puts, ..ask(&acme, client(key)) };
        execute(&ledger, &asked, &Command::VoidGrant(paid)).await
    };

    let seen = ledger.brought(&acme, paid, "live").await.unwrap().unwrap();
    assert_eq!(seen.credits, credits("10"));
    let dispute = PaymentEvent::Disputed { dispute: "dp_1".into(), amount: None };
    let reversals = Reversals::default().after(&brought, &dispute).unwrap();
    let change = keys::payment_change("standard", "live", "pay_1", 1);
    let noted = evidence::payment_change_put(&change, &acme, &reversals);
    assert!(ledger.note_payment_change(noted).await.unwrap());
    match void("too late", seen).await {
        Err(Asked::Prevented(1, _)) => {}
        answer => panic!("{answer:?}"),
    }

    let seen = ledger.brought(&acme, paid, "live").await.unwrap().unwrap();
    assert_eq!(seen.credits, Credits::ZERO);
    void("void", seen).await.unwrap();
    let evidence = ledger.payment_evidence("standard", "live", "pay_1").await.unwrap().unwrap();
    assert_eq!((evidence.number, evidence.reversals), (3, reversals), "the dispute stands");
    fixture.stop().await;
}

/// Holds, extensions and captures cost no more than a charge: 1 read and 1 write, 4 write units.
/// Voids, refunds and clawbacks write one item more.
#[tokio::test]
async fn what_corrects_costs_one_item_more() {
    let fixture = Fixture::start().await;
    let ledger = fixture.ledger();
    let acme = account("workspace_7f3d9c1e5b2a4860b1c2d3e4f5061728");
    let payment = Origin::Payment { provider: "standard".into(), payment: "pay_1001".into() };
    let paid = keys::payment("standard", "live", "pay_1001");
    let brought = Payment { credits: credits("1000.123456"), paid: None };
    let put =
        |operation: &Operation| vec![evidence::payment_put(&paid, &acme, operation.id, &brought)];
    let paying = Ask { extra: &put, ..ask(&acme, payment) };
    execute(&ledger, &paying, &grant("1000.123456", 1)).await.unwrap();
    for priority in 2..=5 {
        let key = client(&format!("grant-{priority}"));
        execute(&ledger, &ask(&acme, key), &grant("1000.123456", priority)).await.unwrap();
    }
    let measured =
        async |name: &str, ask: Ask<'_>, command: Command, round_trips: u64, units: u64| {
            let before = fixture.dynamo.counters().read();
            let outcome = execute(&ledger, &ask, &command).await.unwrap();
            let after = fixture.dynamo.counters().read();
            let seen = (
                after.round_trips - before.round_trips,
                after.write_units_x10 - before.write_units_x10,
            );
            println!("{name}: {} round trips, {} tenths of a write unit", seen.0, seen.1);
            assert_eq!(seen, (round_trips, units * 10), "{name}");
            outcome.happened.operation.id
        };
    let key = |name: &str| client(&format!("0192f3a4-7b1c-7def-8a90-{name:0>12}"));
    let held = |credits: &str| {
        Command::Hold(HoldRequest {
            credits: self::credits(credits),
            millis: 60_000,
            partial: false,
            ratio_version: Some(17),
            price_group: None,
        })
    };
    let hold = |id| HoldId(id);
    let capture = |id, last| {
        let Command::Charge(charge) = four_lines() else { unreachable!() };
        Command::Capture(Capture { hold: hold(id), charge, last })
    };
    let one = measured("hold", ask(&acme, key("h1")), held("3500"), 2, 4).await;
    let two = measured("hold", ask(&acme, key("h2")), held("100"), 2, 4).await;
    let longer = Command::ExtendHold { hold: hold(two), millis: 120_000 };
    measured("extension", ask(&acme, key("e")), longer, 2, 4).await;
    measured("partial capture", ask(&acme, key("c1")), capture(one, false), 2, 4).await;
    let charge = measured("last capture", ask(&acme, key("c2")), capture(one, true), 2, 4).await;
    let mark = |_: &Operation| vec![evidence::voided_hold_put(&acme, hold(two))];
    let void = Ask { extra: &mark, ..ask(&acme, key("v")) };
    measured("void", void, Command::VoidHold(hold(two)), 2, 6).await;

    let found = ledger.refund_evidence(&acme, charge).await.unwrap().unwrap();
    let refund = Command::Refund(RefundRequest {
        charge,
        credits: Some(credits("1.5")),
        postings: found.charge.postings,
        refunded: found.refunded,
        terms: found.terms,
    });
    let number = |operation: &Operation| {
        let Detail::Refund { refunded, .. } = operation.detail else { unreachable!() };
        vec![evidence::refund_put(&acme, charge, found.number, operation.id, refunded)]
    };
    let refunding = Ask { extra: &number, ..ask(&acme, key("r")) };
    measured("refund", refunding, refund, 2, 6).await;

    let opening = OperationId { seq: 1, position: 0 };
    let terms = ledger.refund_evidence(&acme, charge).await.unwrap().unwrap().terms;
    let terms = GrantTerms { id: GrantId(opening), ..terms[0] };
    let (taken, forfeited) = (Credits::ZERO, Credits::ZERO);
    let payment = "pay_1001".into();
    let change = PaymentChange { payment, credits: brought.credits, terms, taken, forfeited };
    let origin = Origin::PaymentChange {
        provider: "standard".into(),
        mode: "live".into(),
        payment: "pay_1001".into(),
        number: 1,
    };
    let taken = brought.credits;
    let reversals = Reversals { refunded_in_full: true, taken, ..Reversals::default() };
    let key = keys::payment_change("standard", "live", "pay_1001", 1);
    let put = |_: &Operation| vec![evidence::payment_change_put(&key, &acme, &reversals)];
    let clawing = Ask { extra: &put, ..ask(&acme, origin) };
    measured("clawback", clawing, Command::Clawback(change), 2, 6).await;
    ledger.verify(&acme).await.unwrap();
    fixture.stop().await;
}

/// 16 clients on one account, each charge sent twice: every charge lands exactly once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_charge_lands_once() {
    const CLIENTS: u32 = 16;
    const CHARGES: u32 = 5;
    let fixture = Fixture::start().await;
    let ledger = fixture.ledger();
    let acme = account("acme");
    execute(&ledger, &ask(&acme, client("open")), &grant("100", 50)).await.unwrap();

    let clients = (0..CLIENTS).flat_map(|client| [(client, 0), (client, 1)]).map(|(id, copy)| {
        let (ledger, acme) = (ledger.clone(), acme.clone());
        tokio::spawn(async move {
            let mut replayed = 0;
            for number in 0..CHARGES {
                let request = ask(&acme, client(&format!("{id}-{number}")));
                let outcome = execute(&ledger, &request, &charge("2.5")).await.unwrap();
                replayed += u32::from(outcome.replayed);
            }
            (copy, replayed)
        })
    });
    let mut replayed = 0;
    for task in clients.collect::<Vec<_>>() {
        replayed += task.await.unwrap().1;
    }

    assert_eq!(replayed, CLIENTS * CHARGES, "of each pair one is a replay");
    let state = ledger.account(&acme).await.unwrap().unwrap();
    assert_eq!(state.balance().posted, credits("-100"), "100 - 16 * 5 * 2.5");
    assert_eq!(state.seq(), u64::from(CLIENTS * CHARGES) + 1);
    let mut sum = 0;
    let mut before = None;
    loop {
        let page = ledger.transactions(&acme, before, 30).await.unwrap();
        sum += page.items.iter().map(|h| h.operation.credits().micros()).sum::<i128>();
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(sum, state.balance().posted.micros(), "the balance is the sum of the postings");
    let verified = ledger.verify(&acme).await.unwrap();
    assert_eq!(verified.entries, state.seq());
    fixture.stop().await;
}

#[tokio::test]
async fn a_key_is_good_for_one_request() {
    let fixture = Fixture::start().await;
    let ledger = fixture.ledger();
    let acme = account("acme");
    let closed = Ask { opens: false, ..ask(&acme, client("a")) };
    let nobody = execute(&ledger, &closed, &charge("1")).await;
    assert!(matches!(nobody, Err(Asked::AccountNotFound)));
    let first = execute(&ledger, &ask(&acme, client("a")), &grant("10", 50)).await.unwrap();
    let again = execute(&ledger, &ask(&acme, client("a")), &grant("10", 50)).await.unwrap();
    assert!(again.replayed && !first.replayed);
    assert_eq!(again.happened.operation, first.happened.operation);
    assert_eq!(again.state, first.state);
    let other = Ask { fingerprint: [8; 16], ..ask(&acme, client("a")) };
    assert!(matches!(execute(&ledger, &other, &grant("10", 50)).await, Err(Asked::KeyReused)));

    // Replay comes before refusal: the settings refuse now what they allowed then.
    let spent = execute(&ledger, &ask(&acme, client("b")), &charge("10")).await.unwrap();
    let refuse = Settings { overuse: uc_domain::account::Overuse::Refuse, ..Settings::default() };
    execute(&ledger, &ask(&acme, Origin::System), &Command::Settings(refuse)).await.unwrap();
    let replay = execute(&ledger, &ask(&acme, client("b")), &charge("10")).await.unwrap();
    assert_eq!(replay.state, spent.state);
    let refused = execute(&ledger, &ask(&acme, client("c")), &charge("10")).await;
    assert!(matches!(refused, Err(Asked::Rejected(Rejection::InsufficientCredits { .. }))));
    // A refused request uses up no key.
    execute(&ledger, &ask(&acme, client("c")), &charge("0")).await.unwrap();
    fixture.stop().await;
}

/// Passes everything on, but spoils some transactions.
struct Spoiled {
    inner: Arc<DynamoStore>,
    left: AtomicU32,
    how: How,
    /// Write units of the last transaction.
    units: AtomicUsize,
}

impl Spoiled {
    fn new(inner: &Arc<DynamoStore>, left: u32, how: How) -> Self {
        Self { inner: Arc::clone(inner), left: left.into(), how, units: 0.into() }
    }
}

#[derive(Debug, Clone, Copy)]
enum How {
    /// Written, but the answer is lost.
    AnswerLost,
    /// Not written, and no answer.
    Unreachable,
    /// Another transaction was in the way.
    Conflict,
}

#[async_trait]
impl Store for Spoiled {
    async fn get(&self, key: &Key) -> Result<Option<Item>, StoreError> {
        self.inner.get(key).await
    }
    async fn query(&self, query: &Query) -> Result<Vec<Item>, StoreError> {
        self.inner.query(query).await
    }
    async fn query_due(
        &self,
        shard: &str,
        until: &str,
        after: Option<&DueKey>,
        limit: u32,
    ) -> Result<Vec<DueKey>, StoreError> {
        self.inner.query_due(shard, until, after, limit).await
    }
    async fn put(&self, put: Put) -> Result<(), StoreError> {
        self.inner.put(put).await
    }
    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        self.inner.delete(key).await
    }
    async fn remove(&self, key: &Key, attribute: &'static str) -> Result<(), StoreError> {
        self.inner.remove(key, attribute).await
    }
    async fn transact(&self, puts: Vec<Put>) -> Result<(), TransactError> {
        self.units.store(transaction_write_units(&puts), Ordering::Relaxed);
        let spoil = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
            .is_ok();
        let lost = || TransactError::Store(StoreError::NoAnswer("lost".to_owned()));
        match self.how {
            _ if !spoil => self.inner.transact(puts).await,
            How::AnswerLost => {
                self.inner.transact(puts).await?;
                Err(lost())
            }
            How::Unreachable => Err(lost()),
            How::Conflict => Err(TransactError::Conflict),
        }
    }
    fn clock_skew_seconds(&self) -> u64 {
        self.inner.clock_skew_seconds()
    }
}

#[tokio::test]
async fn passing_failures_neither_lose_nor_repeat() {
    let fixture = Fixture::start().await;
    for (how, name) in
        [(How::AnswerLost, "lost"), (How::Unreachable, "down"), (How::Conflict, "conflict")]
    {
        let acme = account(name);
        let store = Spoiled::new(&fixture.dynamo, 3, how);
        let ledger = ledger(Arc::new(store));
        let opened = execute(&ledger, &ask(&acme, client("a")), &grant("10", 50)).await.unwrap();
        assert!(!opened.replayed, "{how:?}: a lost answer to our own write is no replay");
        assert!(opened.retries >= 1, "{how:?}");
        let charged = execute(&ledger, &ask(&acme, client("b")), &charge("4")).await.unwrap();
        assert_eq!(charged.happened.balance_after.posted, credits("6"), "{how:?}");
        assert_eq!(ledger.verify(&acme).await.unwrap().entries, 2, "{how:?}");
        // The same without an operation item to tell.
        let store = Spoiled::new(&fixture.dynamo, 1, how);
        let changed = Command::Settings(Settings { metadata_visible: true, ..Settings::default() });
        let ledger = ledger_on(store);
        let outcome = execute(&ledger, &ask(&acme, Origin::System), &changed).await.unwrap();
        assert!(!outcome.replayed, "{how:?}");
        assert_eq!(ledger.verify(&acme).await.unwrap().entries, 3, "{how:?}");
    }
    fixture.stop().await;
}

fn ledger_on(store: Spoiled) -> Ledger {
    ledger(Arc::new(store))
}

/// A clock that is two minutes slow, as a machine's may be.
struct Slow;

impl Clock for Slow {
    fn now(&self) -> Timestamp {
        SystemClock.now().saturating_add_millis(-120_000)
    }
}

#[tokio::test]
async fn a_machine_with_a_wrong_clock_does_not_write() {
    let fixture = Fixture::start().await;
    let config = uc_local::aws::Endpoints { dynamodb: fixture.emulator.url(), ssm: String::new() }
        .dynamodb_config();
    let store = DynamoStore::new(&config, "ledger".to_owned(), Arc::new(Slow));
    let ledger = Ledger::new(Arc::new(store), Arc::new(Slow), Settings::default());
    let acme = account("acme");
    let result = execute(&ledger, &ask(&acme, client("a")), &grant("10", 50)).await;
    assert!(matches!(result, Err(Asked::Ledger(LedgerError::ClockSkew(119..=121)))), "{result:?}");
    assert_eq!(ledger.account(&acme).await.unwrap(), None);
    fixture.stop().await;
}

#[tokio::test]
async fn tampering_shows() {
    let fixture = Fixture::start().await;
    let ledger = fixture.ledger();
    let acme = account("acme");
    let private = Private { actor: Some("ada".to_owned()), ..Private::default() };
    for key in ["a", "b", "c"] {
        let request = Ask { private: private.clone(), ..ask(&acme, client(key)) };
        execute(&ledger, &request, &grant("10", 50)).await.unwrap();
    }
    let key = Key::new("A#acme", "E#000000000002");
    let intact = fixture.dynamo.get(&key).await.unwrap().unwrap();
    assert!(item_size(&intact) < 1_024);
    let put = async |item: Item| {
        fixture.dynamo.put(Put { item, condition: Condition::None }).await.unwrap();
        ledger.verify(&acme).await
    };

    let mut erased = intact.clone();
    erased.remove("x");
    assert_eq!(put(erased).await.unwrap().entries, 3, "erased personal data leave no gap");

    let change = |name: &str, at: usize| {
        let mut item = intact.clone();
        let mut bytes = item[name].as_b().unwrap().clone().into_inner();
        let at = at.min(bytes.len() - 1);
        bytes[at] ^= 1;
        item.insert(name.to_owned(), AttributeValue::B(bytes.into()));
        item
    };
    for (name, at) in [("b", 0), ("b", 5), ("b", 40), ("b", usize::MAX), ("h", 3), ("x", 25)] {
        let error = put(change(name, at)).await.unwrap_err();
        assert!(
            matches!(error, VerifyError::Broken { seq: 2 | 3, .. }),
            "byte {at} of {name}: {error}"
        );
    }
    put(intact.clone()).await.unwrap();

    // Whoever goes on from an entry, or reads one, sees the same, wherever it was changed.
    let newest = Key::new("A#acme", "E#000000000003");
    let intact_newest = fixture.dynamo.get(&newest).await.unwrap().unwrap();
    let mut readable = 0;
    for name in ["b", "h", "c", "x"] {
        for at in 0..intact_newest[name].as_b().unwrap().as_ref().len() {
            let mut item = intact_newest.clone();
            let mut bytes = item[name].as_b().unwrap().clone().into_inner();
            bytes[at] ^= 1;
            readable += u32::from(name == "b" && Entry::decode(&bytes).is_ok());
            item.insert(name.to_owned(), AttributeValue::B(bytes.into()));
            put(item).await.unwrap_err();
            let error = execute(&ledger, &ask(&acme, client("d")), &charge("1")).await.unwrap_err();
            let Asked::Ledger(LedgerError::Corrupt(what)) = error else { panic!("{error}") };
            assert!(what.contains("entry E#000000000003 of acme"), "byte {at} of {name}: {what}");
        }
    }
    assert!(readable > 10, "most changes of a body can be read: {readable}");
    // Of another account, and without the check.
    let mut elsewhere = intact_newest.clone();
    elsewhere.insert("pk".to_owned(), AttributeValue::S("A#other".to_owned()));
    let mut bare = intact_newest.clone();
    bare.remove("c");
    for (item, of) in [(elsewhere, "other"), (bare, "acme")] {
        fixture.dynamo.put(Put { item, condition: Condition::None }).await.unwrap();
        let read = ledger.account(&account(of)).await;
        assert!(matches!(read, Err(LedgerError::Corrupt(_))), "{read:?}");
    }
    assert_eq!(fixture.dynamo.get(&Key::new("A#acme", "E#000000000004")).await.unwrap(), None);
    assert_eq!(fixture.dynamo.get(&Key::new("O#acme#c#d", "O")).await.unwrap(), None);
    put(intact_newest).await.unwrap();
    execute(&ledger, &ask(&acme, client("d")), &charge("1")).await.unwrap();

    fixture.dynamo.delete(&key).await.unwrap();
    let error = ledger.verify(&acme).await.unwrap_err();
    assert!(matches!(error, VerifyError::Broken { seq: 2, .. }), "{error}");
    fixture.stop().await;
}

/// An entry that is not there is not passed over in silence by whoever reads what is beside it.
#[tokio::test]
async fn a_gap_shows_to_every_reader() {
    let acme = account("acme");
    let check = async |gone: &[u64], before: Option<u64>, expected: Result<usize, u64>| {
        let store = Arc::new(MemoryStore::new(1));
        let ledger = ledger(Arc::clone(&store) as Arc<dyn Store>);
        let private = Private { actor: Some("ada".to_owned()), ..Private::default() };
        for key in 1..=5 {
            let request = Ask { private: private.clone(), ..ask(&acme, client(&key.to_string())) };
            execute(&ledger, &request, &grant("10", 50)).await.unwrap();
        }
        ledger.park::<()>(&unrated(&acme, "p")).await.unwrap();
        for seq in gone {
            store.delete(&Key::new("A#acme", keys::seq(*seq))).await.unwrap();
        }
        let before = before.map(|seq| OperationId { seq, position: 0 });
        let grants = Filter { kind: Some("grant".to_owned()), ..Filter::default() };
        let soon = SystemClock.now().saturating_add_millis(86_400_000);
        let until = Filter { to: Some(soon), ..Filter::default() };
        for filter in [&Filter::default(), &grants, &until] {
            for limit in [1, 2, 100] {
                let (mut before, mut listed) = (before, 0);
                let found = loop {
                    match ledger.filtered(&acme, filter, before, limit).await {
                        Ok(page) => {
                            listed += page.items.len();
                            before = page.next;
                            if before.is_none() {
                                break Ok(listed);
                            }
                        }
                        Err(error) => break Err(error.to_string()),
                    }
                };
                let name = format!("without {gone:?}, before {before:?}, {limit} of {filter:?}");
                let gap = |seq| format!("corrupt: entry {seq} of acme is not there");
                assert_eq!(found, expected.map_err(gap), "{name}");
            }
        }
        for seq in 1..=5 {
            let found = ledger.operation_of(&acme, &client(&seq.to_string())).await;
            if gone.contains(&seq) {
                assert!(matches!(found, Err(LedgerError::Corrupt(_))), "{seq}: {found:?}");
            } else {
                assert_eq!(found.unwrap().unwrap().operation.id.seq, seq);
            }
        }
        let with_private =
            |items: Vec<Item>| items.iter().filter(|item| item.contains_key("x")).count();
        let there = with_private(store.items());
        let erased = ledger.erase_private(&acme, 0, u64::MAX).await;
        if gone.iter().all(|seq| *seq == 5) {
            let erased = erased.unwrap();
            assert_eq!((erased.next, erased.unrated), (None, 1));
            assert_eq!(with_private(store.items()), 0);
        } else {
            assert!(matches!(erased, Err(LedgerError::Corrupt(_))), "{gone:?}: {erased:?}");
            assert_eq!(with_private(store.items()), there, "without {gone:?} nothing is erased");
        }
    };
    check(&[], None, Ok(5)).await;
    check(&[], Some(4), Ok(3)).await;
    // A cursor that nobody gave is no gap.
    check(&[], Some(99), Ok(5)).await;
    check(&[], Some(0), Ok(0)).await;
    // Nothing tells it but a checkpoint.
    check(&[5], None, Ok(4)).await;
    check(&[3], None, Err(3)).await;
    check(&[3], Some(5), Err(3)).await;
    check(&[3], Some(3), Err(3)).await;
    check(&[3], Some(2), Ok(1)).await;
    check(&[1], None, Err(1)).await;
    check(&[1], Some(2), Err(1)).await;
    check(&[1], Some(1), Err(1)).await;
    check(&[1, 2, 3], None, Err(3)).await;
    check(&[1, 2, 3], Some(2), Err(2)).await;
}

/// So many random hexadecimal digits: no more than half of their bytes can be saved.
fn random_hex(digits: usize) -> String {
    (0..digits).map(|_| char::from_digit(fastrand::u32(0..16), 16).unwrap()).collect()
}

/// A key as callers choose them: a random UUID.
fn random_key() -> String {
    let part = |digits| random_hex(digits);
    format!("{}-{}-4{}-8{}-{}", part(8), part(4), part(3), part(3), part(12))
}

/// A charge of one item with two lines of random quantities.
fn two_lines() -> Command {
    let line = |dimension: &str, mantissa| {
        let ratio = Ratio::from_parts(mantissa, 2).unwrap();
        let rate = Rate::new(ratio, Per::from_exponent(6).unwrap(), None).unwrap();
        let quantity = Quantity::from_whole(fastrand::u64(1..100_000)).unwrap();
        let model = "openai/gpt-5.1".to_owned();
        Line::new(model, dimension.to_owned(), quantity, rate, Multiplier::ONE).unwrap()
    };
    let item = RatedItem {
        lines: vec![line("input_tokens", 125), line("output_tokens", 1_001)],
        credits: Credits::from_micros(fastrand::i128(1..20_000) * 100).unwrap(),
        minimum_applied: false,
        matched: None,
        parameters: BTreeMap::new(),
        requests: 1,
        filled_by: None,
        provider: None,
    };
    Command::Charge(Charge {
        credits: item.credits,
        items: vec![item],
        ratio_version: Some(12),
        price_group: None,
        max_credits: None,
        occurred_at: Some(SystemClock.now().saturating_add_millis(-fastrand::i64(0..60_000))),
    })
}

/// The bar: at most 2.5 write units an operation at 25, 2.3 at 96, with metadata of
/// 64 bytes; one read and one write round trip for all of them.
#[tokio::test]
async fn a_batch_costs_little_more_than_its_operation_items() {
    let fixture = Fixture::start().await;
    for (count, bar_x10) in [(1, 40), (25, 25), (96, 23)] {
        let store = Arc::new(Spoiled::new(&fixture.dynamo, 0, How::Conflict));
        let ledger = ledger(Arc::clone(&store) as Arc<dyn Store>);
        let acme = account(&format!("workspace_7f3d9c1e5b2a4860b1c2d3e4f50617{count}"));
        for priority in 1..=5 {
            let key = client(&format!("grant-{priority}"));
            execute(&ledger, &ask(&acme, key), &grant("1000.123456", priority)).await.unwrap();
        }
        let commands: Vec<Command> = (0..count).map(|_| two_lines()).collect();
        let decisions: Vec<_> =
            commands.iter().map(|command| move |_: &_| Ok::<_, ()>(command.clone())).collect();
        let batch: Vec<_> = decisions
            .iter()
            .map(|decide| Batched {
                ask: Ask {
                    private: Private {
                        metadata: BTreeMap::from([(
                            "conversation".to_owned(),
                            random_hex(64 - "conversation".len()),
                        )]),
                        ..Private::default()
                    },
                    ..ask(&acme, Origin::Client { key: random_key() })
                },
                decide,
            })
            .collect();
        let before = fixture.dynamo.counters().read();
        let outcomes = ledger.execute_batch(&acme, &batch).await;
        let after = fixture.dynamo.counters().read();

        assert!(outcomes.iter().all(|outcome| outcome.as_ref().is_ok_and(|o| !o.replayed)));
        let head = ledger.head(&acme).await.unwrap().unwrap();
        assert_eq!((head.seq(), head.entry.operations.len()), (6, count));
        assert_eq!(after.round_trips - before.round_trips, 2, "one read, one write");
        let ours = store.units.load(Ordering::Relaxed);
        let theirs = after.write_units_x10 - before.write_units_x10;
        println!(
            "{count} charges: an entry of {} bytes, {}.{:02} write units each",
            head.size(&acme),
            ours / count,
            ours * 100 / count % 100
        );
        assert_eq!(u64::try_from(ours * 10).unwrap(), theirs);
        assert!(ours * 10 <= count * bar_x10, "{ours} write units for {count}");
        // And what was said about each is there again.
        for (batched, outcome) in batch.iter().zip(outcomes) {
            assert_eq!(outcome.unwrap().happened.private, batched.ask.private);
        }
        ledger.verify(&acme).await.unwrap();
    }
    fixture.stop().await;
}

/// What one of a batch asks for, and what became of it, as far as it must be what one request
/// after the other would have come to.
#[derive(Debug, Clone, Copy)]
enum Asks {
    Charge(&'static str),
    /// The caller's own decision is against it.
    Nothing,
}

fn decided(asks: Asks) -> Result<Command, &'static str> {
    match asks {
        Asks::Charge(credits) => Ok(charge(credits)),
        Asks::Nothing => Err("decided against"),
    }
}

fn became(outcome: Result<Outcome, Asked<&'static str>>) -> String {
    match outcome {
        Ok(outcome) => format!(
            "{} {} {}",
            if outcome.replayed { "again" } else { "new" },
            outcome.happened.operation.credits(),
            outcome.happened.balance_after.posted,
        ),
        Err(error) => error.to_string(),
    }
}

/// A batch comes to what its asks come to one after the other: rejections, replays and keys that
/// are used twice, inside the batch and from before.
#[tokio::test]
async fn a_batch_is_its_asks_one_after_the_other() {
    let fixture = Fixture::start().await;
    let ledger = fixture.ledger();
    let (together, apart, nobody) = (account("together"), account("apart"), account("nobody"));
    for acme in [&together, &apart] {
        execute(&ledger, &ask(acme, client("open")), &grant("12", 50)).await.unwrap();
        let refuse =
            Settings { overuse: uc_domain::account::Overuse::Refuse, ..Settings::default() };
        execute(&ledger, &ask(acme, Origin::System), &Command::Settings(refuse)).await.unwrap();
        execute(&ledger, &ask(acme, client("before")), &charge("1")).await.unwrap();
    }
    let mut asked = vec![
        ("a", 7, Asks::Charge("2")),
        // Has happened before; so it does not count against what is there.
        ("before", 7, Asks::Charge("1")),
        ("before", 8, Asks::Charge("1")),
        // Too much; a smaller one behind it is not held up.
        ("b", 7, Asks::Charge("100")),
        ("c", 7, Asks::Charge("3.5")),
        ("a", 7, Asks::Charge("2")),
        ("a", 8, Asks::Charge("2")),
        ("d", 7, Asks::Nothing),
        ("d", 8, Asks::Charge("0.5")),
        ("d", 7, Asks::Nothing),
        // A refused request uses up no key.
        ("b", 9, Asks::Charge("1")),
        ("b", 7, Asks::Charge("100")),
        ("e", 7, Asks::Charge("4.5")),
        ("f", 7, Asks::Charge("-1")),
        ("open", 7, Asks::Charge("0")),
        ("g", 7, Asks::Charge("2")),
    ];
    let more: Vec<String> = (0..100).map(|number| format!("more-{number}")).collect();
    asked.extend(more.iter().map(|key| (&**key, 7, Asks::Charge("0.01"))));

    let all = async |acme: &AccountId, together: bool| {
        let decisions: Vec<_> =
            asked.iter().map(|(_, _, asks)| move |_: &_| decided(*asks)).collect();
        let batch: Vec<_> = asked
            .iter()
            .zip(&decisions)
            .map(|((key, fingerprint, _), decide)| Batched {
                ask: Ask {
                    fingerprint: [*fingerprint; 16],
                    opens: false,
                    ..ask(acme, client(key))
                },
                decide,
            })
            .collect();
        let mut outcomes = Vec::new();
        if together {
            outcomes = ledger.execute_batch(acme, &batch).await;
        } else {
            for Batched { ask, decide } in &batch {
                outcomes.push(ledger.execute(ask, decide).await);
            }
        }
        outcomes.into_iter().map(became).collect::<Vec<_>>()
    };
    let expected = all(&apart, false).await;
    let seq = async |acme: &AccountId| ledger.head(acme).await.unwrap().unwrap().seq();
    assert_eq!(all(&together, true).await, expected);
    // The second pass finds all of it: what happened is a replay, what was refused is refused.
    let before = seq(&together).await;
    let again = all(&together, true).await;
    assert_eq!(again, all(&apart, false).await);
    assert_eq!(seq(&together).await, before, "nothing new");
    assert!(all(&nobody, true).await.iter().all(|became| became == "no such account"));
    let accounts = [&together, &apart].map(|acme| ledger.verify(acme));
    for verified in accounts {
        verified.await.unwrap();
    }
    // Three before, 96 operations an entry.
    assert_eq!(before, 5);
    fixture.stop().await;
}

/// A charge of `0.5` for each key, with something said about it.
async fn charge_all(
    ledger: &Ledger,
    acme: &AccountId,
    keys: &[String],
    description: impl Fn() -> Option<String>,
) -> Vec<Result<Outcome, Asked<()>>> {
    let decide = |_: &_| Ok(charge("0.5"));
    let batched = |key: &String| Batched {
        ask: Ask {
            private: Private { description: description(), ..Private::default() },
            ..ask(acme, client(key))
        },
        decide: &decide,
    };
    ledger.execute_batch(acme, &keys.iter().map(batched).collect::<Vec<_>>()).await
}

#[tokio::test]
async fn passing_failures_neither_lose_nor_repeat_of_a_batch() {
    let fixture = Fixture::start().await;
    let keys: Vec<String> = (0..30).map(|number| format!("k-{number}")).collect();
    for (how, name) in
        [(How::AnswerLost, "lost"), (How::Unreachable, "down"), (How::Conflict, "conflict")]
    {
        let acme = account(name);
        execute(&fixture.ledger(), &ask(&acme, client("a")), &grant("10", 50)).await.unwrap();
        let ledger = ledger_on(Spoiled::new(&fixture.dynamo, 2, how));
        let outcomes = charge_all(&ledger, &acme, &keys, || None).await;
        let outcomes: Vec<_> = outcomes.into_iter().map(Result::unwrap).collect();
        assert!(outcomes.iter().all(|outcome| !outcome.replayed), "{how:?}: all of it is our own");
        assert!(outcomes.iter().map(|outcome| outcome.retries).sum::<u32>() >= 1, "{how:?}");
        let state = ledger.account(&acme).await.unwrap().unwrap();
        assert_eq!(state.balance().posted, credits("-5"), "{how:?}");
        assert_eq!(ledger.verify(&acme).await.unwrap().entries, 2, "{how:?}");
    }
    fixture.stop().await;
}

/// Batches that overlap, sent at once: every key counts once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_race() {
    let fixture = Fixture::start().await;
    let ledger = fixture.ledger();
    let acme = account("acme");
    execute(&ledger, &ask(&acme, client("open")), &grant("100", 50)).await.unwrap();
    let tasks: Vec<_> = (0..6)
        .map(|task| {
            let (ledger, acme) = (ledger.clone(), acme.clone());
            let keys: Vec<_> = (0..40).map(|n| format!("k-{}", task * 20 + n)).collect();
            tokio::spawn(async move { charge_all(&ledger, &acme, &keys, || None).await })
        })
        .collect();
    let mut new = 0;
    for task in tasks {
        for outcome in task.await.unwrap() {
            new += u32::from(!outcome.unwrap().replayed);
        }
    }
    assert_eq!(new, 140, "six batches of 40, each half of the one before");
    let state = ledger.account(&acme).await.unwrap().unwrap();
    assert_eq!(state.balance().posted, credits("30"));
    assert!(ledger.verify(&acme).await.unwrap().entries <= 13);
    fixture.stop().await;
}

fn unrated(account: &AccountId, key: &str) -> Unrated {
    let usage = BTreeMap::from([("input_tokens".to_owned(), Quantity::from_whole(7).unwrap())]);
    Unrated {
        account: account.clone(),
        key: key.to_owned(),
        fingerprint: [7; 16],
        parked_at: SystemClock.now(),
        occurred_at: None,
        ratio_version: Some(1),
        reason: "unknown_model".to_owned(),
        detail: "There is no ratio.".to_owned(),
        items: vec![UnratedItem {
            requests: vec![UnratedRequest {
                names: vec!["new/model".to_owned()],
                is_response: false,
                usage,
                parameters: BTreeMap::new(),
            }],
        }],
        max_credits: None,
        capture: None,
        private: Private { actor: Some("ada".to_owned()), ..Private::default() },
    }
}

/// Usage is parked once, and charged once, whatever is lost on the way and whoever was first.
#[tokio::test]
async fn what_is_parked_is_charged_once() {
    let fixture = Fixture::start().await;
    let sure = fixture.ledger();
    for (how, name) in
        [(How::AnswerLost, "lost"), (How::Unreachable, "down"), (How::Conflict, "conflict")]
    {
        let acme = account(name);
        execute(&sure, &ask(&acme, client("open")), &grant("10", 50)).await.unwrap();
        let spoiled = || ledger_on(Spoiled::new(&fixture.dynamo, 2, how));
        let kept = unrated(&acme, "k");
        let parking = spoiled().park::<()>(&kept).await.unwrap();
        let Parking::Parked { id, replayed: false } = parking else { panic!("{parking:?}") };
        let later = Unrated { parked_at: kept.parked_at.saturating_add_millis(5), ..kept.clone() };
        let again = sure.park::<()>(&later).await.unwrap();
        assert!(matches!(again, Parking::Parked { id: ref first, replayed: true } if *first == id));
        let other = Unrated { fingerprint: [8; 16], ..later };
        assert!(matches!(sure.park::<()>(&other).await, Err(Asked::KeyReused)), "{how:?}");
        assert_eq!(sure.unrated(&id).await.unwrap().as_ref(), Some(&kept));

        // Neither the request itself, nor one of others, charges under its key; in a batch the
        // others go on.
        let charged = execute(&sure, &ask(&acme, client("k")), &charge("1")).await;
        assert!(matches!(charged, Err(Asked::Unrated(ref kept)) if *kept == id), "{how:?}");
        let keys = ["k".to_owned(), format!("l-{name}")];
        let outcomes = charge_all(&sure, &acme, &keys, || None).await;
        assert!(matches!(outcomes[..], [Err(Asked::Unrated(_)), Ok(_)]), "{outcomes:?}");
        assert!(sure.operation_of(&acme, &client("k")).await.unwrap().is_none());

        // What can't be priced yet stays.
        let refused = spoiled().rate_unrated(&id, &kept, |_| Err("no price")).await;
        assert!(matches!(refused, Err(Asked::Decided("no price"))), "{how:?}");
        assert!(sure.rated(&id).await.unwrap().is_none());
        let decide = |_: &_| Ok::<_, ()>(charge("4"));
        let rated = spoiled().rate_unrated(&id, &kept, decide).await.unwrap();
        assert!(!rated.replayed, "{how:?}: a lost answer to our own write is no replay");
        assert_eq!(rated.happened.private, kept.private);
        assert_eq!(sure.unrated(&id).await.unwrap(), None);
        // By somebody who read the list before.
        let late = sure.rate_unrated(&id, &kept, decide).await.unwrap();
        let told = sure.rated(&id).await.unwrap().unwrap();
        let sent = execute(&sure, &ask(&acme, client("k")), &charge("1")).await.unwrap();
        for again in [late, told, sent] {
            assert!(again.replayed, "{how:?}");
            assert_eq!(again.happened.operation, rated.happened.operation);
        }
        let parked = sure.park::<()>(&kept).await.unwrap();
        assert!(matches!(parked, Parking::Happened(outcome) if outcome.replayed));
        let posted = sure.account(&acme).await.unwrap().unwrap().balance().posted;
        assert_eq!(posted, credits("5.5"), "{how:?}");
        sure.verify(&acme).await.unwrap();
    }
    fixture.stop().await;
}

#[tokio::test]
async fn unrated_pages_are_whole() {
    let fixture = Fixture::start().await;
    let ledger = fixture.ledger();
    let mut expected = Vec::new();
    for number in 0..23 {
        let acme = account(&format!("acme-{}", number % 5));
        let kept = unrated(&acme, &format!("k-{number}"));
        let Parking::Parked { id, .. } = ledger.park::<()>(&kept).await.unwrap() else { panic!() };
        assert_eq!(id.as_str().parse(), Ok(id.clone()));
        expected.push((id, kept));
    }
    let all = async |account: Option<&AccountId>, limit| {
        let (mut items, mut after) = (Vec::new(), None);
        loop {
            let page = ledger.unrated_page(account, after.as_ref(), limit).await.unwrap();
            assert!(page.items.len() <= limit as usize);
            items.extend(page.items);
            after = page.next;
            if after.is_none() {
                items.sort_by(|a, b| a.0.cmp(&b.0));
                return items;
            }
        }
    };
    expected.sort_by(|a, b| a.0.cmp(&b.0));
    for limit in [1, 5, 22, 23, 100] {
        assert_eq!(all(None, limit).await, expected, "{limit}");
    }
    let acme = account("acme-3");
    expected.retain(|(_, kept)| kept.account == acme);
    assert_eq!(all(Some(&acme), 2).await, expected);
    assert_eq!(expected.len(), 4);
    fixture.stop().await;
}

/// What does not fit into an item goes into several entries.
#[tokio::test]
async fn a_batch_that_does_not_fit_is_split() {
    let fixture = Fixture::start().await;
    let ledger = fixture.ledger();
    let acme = account("acme");
    execute(&ledger, &ask(&acme, client("open")), &grant("100", 50)).await.unwrap();
    let keys: Vec<String> = (0..96).map(|number| format!("k-{number}")).collect();
    let outcomes = charge_all(&ledger, &acme, &keys, || Some(random_hex(12_000))).await;
    assert!(outcomes.iter().all(Result::is_ok));
    for seq in 2..=ledger.verify(&acme).await.unwrap().entries {
        let stored = ledger.entry(&acme, seq).await.unwrap().unwrap();
        assert!(stored.size(&acme) < 400_000);
    }
    assert_eq!(ledger.account(&acme).await.unwrap().unwrap().seq(), 3, "two halves");
    fixture.stop().await;
}

#[tokio::test]
async fn a_period_is_granted_once_however_many_schedulers_run() {
    let fixture = Fixture::start().await;
    let ledger = fixture.ledger();
    let plans = Plans::new(ledger.clone());
    let acme = account("acme");
    let plan = Plan {
        name: "Starter".to_owned(),
        interval: Interval::Year,
        credits_interval: Interval::Month,
        credits: credits("1000"),
        price: None,
        rollover: Some(PlanRollover { min: credits("30"), max: credits("400") }),
    };
    let id = "starter".parse().unwrap();
    plans.put_plan(&id, plan.clone()).await.unwrap();
    let anchor = SystemClock.now().saturating_add_millis(-100 * 86_400_000);
    let new = NewSubscription {
        id: "sub_1".to_owned(),
        plan_id: id,
        plan,
        anchor,
        fingerprint: [1; 16],
        private: Private::default(),
    };
    let mut other = NewSubscription { id: "sub_2".to_owned(), ..new.clone() };
    let made = plans.subscribe(&acme, new.clone()).await.unwrap();
    assert!(!made.outcome.replayed);
    assert!(plans.subscribe(&acme, new).await.unwrap().outcome.replayed);

    let mut due = Vec::new();
    for shard in 0..uc_ledger::keys::DUE_SHARDS {
        due.extend(plans.due(shard, None, 100).await.unwrap());
    }
    assert_eq!(due.len(), 1);
    let write_units = || fixture.dynamo.counters().read().write_units_x10;
    let schedulers = (0..4).map(|_| {
        let (plans, key) = (plans.clone(), due[0].key.clone());
        tokio::spawn(async move { plans.grant_due(&key).await.unwrap() })
    });
    let mut granted = 0;
    for scheduler in schedulers.collect::<Vec<_>>() {
        granted += scheduler.await.unwrap().granted;
    }
    assert_eq!(granted, 3, "the periods from day 30, 60 and 90");
    let state = ledger.account(&acme).await.unwrap().unwrap();
    assert_eq!(state.balance().posted, credits("1400"), "what is over has expired or rolled over");
    assert_eq!(plans.subscriptions(&acme).await.unwrap()[0].next_period, 4);

    let before = write_units();
    assert_eq!(plans.grant_due(&due[0].key).await.unwrap().granted, 0);
    assert_eq!(write_units(), before, "nothing is due");
    ledger.verify(&acme).await.unwrap();

    // The bar: a renewal is at most 8 write units, with what ends and rolls over.
    other.anchor = SystemClock.now().saturating_add_millis(-40 * 86_400_000);
    let globex = account("globex");
    let closing = other.clone();
    plans.subscribe(&globex, other).await.unwrap();
    let before = write_units();
    let key = uc_ledger::keys::subscription(&globex, "sub_2");
    assert_eq!(plans.grant_due(&key).await.unwrap().granted, 1);
    let units_x10 = write_units() - before;
    assert!(units_x10 <= 80, "{units_x10} tenths of a write unit for a renewal");
    let rolled = ledger.account(&globex).await.unwrap().unwrap().balance().posted;
    assert_eq!(rolled, credits("1400"));

    // Of a closed account the periods pass, until it is opened again.
    let initech = account("initech");
    plans.subscribe(&initech, NewSubscription { id: "sub_3".to_owned(), ..closing }).await.unwrap();
    let closed = Settings { status: Status::Closed, ..Settings::default() };
    execute(&ledger, &ask(&initech, Origin::System), &Command::Settings(closed)).await.unwrap();
    let key = uc_ledger::keys::subscription(&initech, "sub_3");
    let passed = plans.grant_due(&key).await.unwrap();
    assert_eq!((passed.granted, passed.more), (0, false));
    assert_eq!(plans.subscriptions(&initech).await.unwrap()[0].next_period, 2);
    fixture.stop().await;
}
