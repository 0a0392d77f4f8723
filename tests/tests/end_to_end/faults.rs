//! What can go wrong between the ledger and `DynamoDB`, at the HTTP connector of the real SDK: a
//! charge happens exactly once, or is answered with the right error and happens when it is sent
//! again; and the journal verifies.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::config::Region;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use uc_domain::AccountId;
use uc_domain::account::{Charge, Command, GrantRequest, Origin, Settings, Source};
use uc_ledger::{
    Ask, Asked, Clock, DynamoStore, Ledger, LedgerError, Outcome, Private, SystemClock,
};
use uc_local::aws::Endpoints;
use uc_local::seed::TABLE;
use uc_tests::faulty_http::{Fault, FaultyHttp, Refusal};

use super::stack::{Stack, shared, unique};

/// Twice what the ledger tries for, and a machine that is busy.
const LONGEST: Duration = Duration::from_secs(40);
/// What may not be tried again is answered well before the ledger gives up, after 10 s.
const AT_ONCE: Duration = Duration::from_secs(8);

/// Cases at a time: more would only wait for the emulator.
const AT_A_TIME: usize = 16;

/// How a charge is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// As if nothing had been wrong.
    Done,
    /// `LedgerError::Refused`: it is not tried again.
    Refused,
    /// `LedgerError::Unavailable`.
    Unavailable,
}
use Expected::{Done, Refused, Unavailable};

/// What happens to requests of which operation, how often.
type Planned = Vec<(&'static str, Fault, u32)>;

const READ: &str = "Query";
const WRITE: &str = "TransactWriteItems";
const ALWAYS: u32 = u32::MAX;

fn cases() -> Vec<(Planned, Expected)> {
    let refused = |status, code| Fault::Refused(Refusal::new(status, code));
    let canceled = |reasons: &[&'static str]| Fault::Refused(Refusal::canceled(reasons));
    let mut cases = Vec::new();

    // It does not end. First, so that the others are done while these are waited for.
    for fault in [Fault::Unreachable, Fault::Lost, canceled(&["None", "TransactionConflict"])] {
        cases.push((vec![(WRITE, fault, ALWAYS)], Unavailable));
    }
    cases.push((vec![(WRITE, refused(500, "InternalServerError"), ALWAYS)], Unavailable));
    cases.push((vec![(READ, refused(400, "ThrottlingException"), ALWAYS)], Unavailable));
    cases.push((vec![(WRITE, refused(400, "AccessDeniedException"), ALWAYS)], Refused));

    // On the way, once.
    for fault in [
        Fault::Unreachable,
        Fault::Lost,
        Fault::Late(Duration::from_millis(500)),
        // Longer than an attempt may take.
        Fault::Late(Duration::from_millis(3_500)),
        Fault::Torn,
        Fault::Garbled,
        Fault::Checksum,
        Fault::Overtaken,
        Fault::DoneAndRefused(Refusal::new(500, "InternalServerError")),
        Fault::DoneAndRefused(Refusal::new(503, "ServiceUnavailable")),
    ] {
        // The SDK sends nothing again whose answer it can't read.
        let unreadable = matches!(fault, Fault::Torn | Fault::Garbled);
        let read = if unreadable { Unavailable } else { Done };
        cases.push((vec![(READ, fault.clone(), 1)], read));
        cases.push((vec![(WRITE, fault.clone(), 1)], Done));
        if !unreadable {
            cases.push((vec![(READ, fault.clone(), 1), (WRITE, fault, 1)], Done));
        }
    }
    cases.push((vec![(WRITE, Fault::Torn, 2)], Done));
    cases.push((vec![(WRITE, Fault::Twice, 1)], Done));
    // The SDK gives up, the ledger does not.
    cases.push((vec![(WRITE, Fault::Lost, 4)], Done));

    // A cancelled transaction: the operation's reason, then the entry's.
    for (reason, expected) in [
        ("ConditionalCheckFailed", Done),
        ("TransactionConflict", Done),
        ("ThrottlingError", Done),
        ("ProvisionedThroughputExceeded", Done),
        ("ItemCollectionSizeLimitExceeded", Refused),
        ("ValidationError", Refused),
        ("None", Refused),
    ] {
        for reasons in [["None", reason], [reason, "None"], [reason, reason]] {
            cases.push((vec![(WRITE, canceled(&reasons), 1)], expected));
        }
    }
    for reasons in
        [["ConditionalCheckFailed", "TransactionConflict"], ["ThrottlingError", "ValidationError"]]
    {
        cases.push((vec![(WRITE, canceled(&reasons), 2)], Done));
    }

    // DynamoDB's errors, by what its developer guide says of trying again.
    for (status, code, expected) in [
        (400, "ProvisionedThroughputExceededException", Done),
        (400, "RequestLimitExceeded", Done),
        (400, "ThrottlingException", Done),
        (400, "TransactionInProgressException", Done),
        (400, "ReplicatedWriteConflictException", Done),
        (500, "InternalServerError", Done),
        (503, "ServiceUnavailable", Done),
        (400, "ValidationException", Refused),
        (400, "AccessDeniedException", Refused),
        (400, "ResourceNotFoundException", Refused),
        (400, "UnrecognizedClientException", Refused),
        (400, "IncompleteSignatureException", Refused),
        (400, "MissingAuthenticationTokenException", Refused),
        (400, "ItemCollectionSizeLimitExceededException", Refused),
        (400, "IdempotentParameterMismatchException", Refused),
    ] {
        cases.push((vec![(WRITE, refused(status, code), 1)], expected));
        if !code.starts_with("Transaction") && !code.starts_with("Replicated") {
            cases.push((vec![(READ, refused(status, code), 1)], expected));
        }
    }
    cases
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_the_way_does_a_charge_happens_once() {
    let running = Arc::new(Semaphore::new(AT_A_TIME));
    let mut checks: JoinSet<BTreeMap<String, u64>> = cases()
        .into_iter()
        .enumerate()
        .map(|(index, (planned, expected))| {
            let running = Arc::clone(&running);
            async move {
                let _permit = running.acquire().await.expect("it is never closed");
                check(shared(), index, planned, expected).await
            }
        })
        .collect();
    let cases = checks.len();
    let mut dealt: BTreeMap<String, u64> = BTreeMap::new();
    let mut failed = 0;
    while let Some(counted) = checks.join_next().await {
        failed += u32::from(counted.is_err());
        for (kind, number) in counted.unwrap_or_default() {
            *dealt.entry(kind).or_default() += number;
        }
    }
    println!("evidence: faults: {cases} cases");
    for (kind, number) in &dealt {
        println!("evidence: faults: {number} {kind}");
    }
    assert_eq!(failed, 0, "cases failed: see above");
}

/// Charges 7 of 100 credits while it goes wrong as planned.
async fn check(
    stack: &Stack,
    index: usize,
    planned: Planned,
    expected: Expected,
) -> BTreeMap<String, u64> {
    let what = format!("{planned:?}");
    let account: AccountId = unique("fault").parse().unwrap();
    let sound = stack.ledger();
    let grant = Command::Grant(GrantRequest {
        amount: "100".parse().unwrap(),
        source: Source::Promo,
        priority: None,
        effective_at: None,
        expires_at: None,
        paid: None,
        rollover: None,
    });
    ask(&sound, &account, "grant", &grant).await.unwrap();

    let rival = (sound.clone(), account.clone());
    let rivals = Arc::new(move || {
        let (ledger, account) = rival.clone();
        let one = async move {
            let key = unique("rival");
            ask(&ledger, &account, &key, &charge("1")).await.unwrap();
        };
        Box::pin(one) as _
    });
    let http = FaultyHttp::new(rivals);
    for (operation, fault, times) in planned {
        http.plan(operation, fault, times);
    }
    let seven = charge("7");
    let started = Instant::now();
    let answer = ask(&faulty(stack, &http, index), &account, "charge", &seven).await;
    let (taken, writes) = (started.elapsed(), http.requests(WRITE));
    let dealt = http.end();
    assert!(!dealt.is_empty(), "{what}: never happened");
    assert!(taken < LONGEST, "{what}: {taken:?}");
    match (&answer, expected) {
        (Ok(outcome), Done) => assert!(!outcome.replayed, "{what}: this call wrote it"),
        (Err(Asked::Ledger(LedgerError::Refused(_))), Refused) => {
            assert!(taken < AT_ONCE && writes <= 1, "{what}: {writes} writes in {taken:?}");
        }
        (Err(Asked::Ledger(LedgerError::Unavailable(_))), Unavailable) => {}
        _ => panic!("{what}: {answer:?}"),
    }

    let again = ask(&sound, &account, "charge", &seven).await.unwrap();
    if let Ok(first) = answer {
        assert!(again.replayed, "{what}");
        assert_eq!(again.happened.operation, first.happened.operation, "{what}");
    }
    let operations = sound.transactions(&account, None, 100).await.unwrap().items;
    let of = |wanted: &str| {
        let named = |origin: &Origin| matches!(origin, Origin::Client { key } if key == wanted);
        operations.iter().filter(|happened| named(&happened.operation.origin)).count()
    };
    assert_eq!((of("grant"), of("charge")), (1, 1), "{what}");
    let rivals = operations.len() - 2;
    let overtaken = dealt.get("overtaken").copied().unwrap_or_default();
    assert_eq!(rivals as u64, overtaken, "{what}");
    let posted = sound.account(&account).await.unwrap().unwrap().balance().posted;
    assert_eq!(posted.to_string(), (93 - rivals).to_string(), "{what}");
    let verified = sound.verify(&account).await.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(verified.entries, operations.len() as u64, "{what}");
    dealt
}

/// A ledger of its own over the SDK's client with these faults. The region has no meaning here but
/// that the SDK counts retries by it: no case uses up another one's.
fn faulty(stack: &Stack, http: &FaultyHttp, index: usize) -> Ledger {
    let endpoints = Endpoints { dynamodb: stack.dynamodb.clone(), ssm: String::new() };
    let config = endpoints.dynamodb_config().into_builder();
    let region = Region::new(format!("us-east-{}", index + 1));
    let config = config.http_client(http.clone()).region(region).build();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = DynamoStore::new(&config, TABLE.to_owned(), Arc::clone(&clock));
    Ledger::new(Arc::new(store), clock, Settings::default())
}

fn charge(credits: &str) -> Command {
    Command::Charge(Charge::fixed(credits.parse().unwrap()))
}

async fn ask(
    ledger: &Ledger,
    account: &AccountId,
    key: &str,
    command: &Command,
) -> Result<Outcome, Asked<Infallible>> {
    let ask = Ask {
        account,
        origin: Origin::Client { key: key.to_owned() },
        fingerprint: [7; 16],
        private: Private::default(),
        opens: true,
        extra: &|_| Vec::new(),
    };
    ledger.execute(&ask, |_| Ok(command.clone())).await
}
