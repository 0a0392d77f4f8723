//! The ledger through the real SDK against the embedded `DynamoDB`: what a charge costs, that
//! everything happens once, and that tampering shows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use uc_domain::account::{
    Charge, Command, GrantRequest, Origin, RatedItem, Rejection, Settings, Source,
};
use uc_domain::plans::{Interval, Plan};
use uc_domain::ratios::{Conditions, Line, Multiplier, Per, Rate, Ratio};
use uc_domain::{AccountId, Credits, Quantity, Timestamp};
use uc_ledger::store::{
    AttributeValue, Condition, DueKey, Item, Key, Put, Query, Store, StoreError, TransactError,
    item_size,
};
use uc_ledger::{
    Ask, Asked, Clock, DynamoStore, Ledger, LedgerError, NewSubscription, Outcome, Plans, Private,
    SystemClock, VerifyError,
};
use uc_local::emulator::Emulator;

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
    Command::Charge(Charge {
        credits: credits(amount),
        items: Vec::new(),
        ratio_version: None,
        price_group: None,
        max_credits: None,
        occurred_at: None,
    })
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

/// The bar of the design: one read and one write round trip, at most 4 write units with 5 grants
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
    async fn transact(&self, puts: Vec<Put>) -> Result<(), TransactError> {
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
        let store = Spoiled { inner: Arc::clone(&fixture.dynamo), left: 3.into(), how };
        let ledger = ledger(Arc::new(store));
        let opened = execute(&ledger, &ask(&acme, client("a")), &grant("10", 50)).await.unwrap();
        assert!(!opened.replayed, "{how:?}: a lost answer to our own write is no replay");
        assert!(opened.retries >= 1, "{how:?}");
        let charged = execute(&ledger, &ask(&acme, client("b")), &charge("4")).await.unwrap();
        assert_eq!(charged.happened.balance_after.posted, credits("6"), "{how:?}");
        assert_eq!(ledger.verify(&acme).await.unwrap().entries, 2, "{how:?}");
        // The same without an operation item to tell.
        let store = Spoiled { inner: Arc::clone(&fixture.dynamo), left: 1.into(), how };
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
    put(intact).await.unwrap();
    fixture.dynamo.delete(&key).await.unwrap();
    let error = ledger.verify(&acme).await.unwrap_err();
    assert!(matches!(error, VerifyError::Broken { seq: 2, .. }), "{error}");
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
    assert_eq!(state.balance().posted, credits("1000"), "what is over has expired");
    assert_eq!(plans.subscriptions(&acme).await.unwrap()[0].next_period, 4);

    let before = write_units();
    assert_eq!(plans.grant_due(&due[0].key).await.unwrap().granted, 0);
    assert_eq!(write_units(), before, "nothing is due");
    ledger.verify(&acme).await.unwrap();
    fixture.stop().await;
}
