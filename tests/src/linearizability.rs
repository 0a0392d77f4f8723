//! Histories of few accounts under many clients, recorded over HTTP, and whether they are
//! linearizable: whether each account did everything in one order that agrees with every answer
//! and with the time in which requests and answers went over the wire. The checker is
//! stateright's; the specification is [`account`].
//!
//! A round has accounts of its own, so that histories stay short: a search is exponential at its
//! worst. What clients ask comes from a seed; when, from the machine.

pub mod account;
pub mod history;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::{Value, json};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::client::{self, Client};
use account::{Answer, Ask, Balance, Key, Overuse, Request};
use history::{Event, History, STEPS, Verdict};

/// Clients that ask at the same time.
pub const CLIENTS: usize = 16;
/// How the accounts of a round treat overuse, and their credit lines.
const ACCOUNTS: [(Overuse, i64); 3] =
    [(Overuse::Record, 0), (Overuse::Refuse, 15), (Overuse::Forgive, 0)];
/// Requests of a client and round.
const REQUESTS: usize = 4;
/// What an account has at first.
const CREDITS: i64 = 100;
/// How often a request that was turned away for the crowd is sent again.
const TRIES: usize = 6;

/// What was seen in the rounds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    counts: BTreeMap<String, u64>,
}

impl Tally {
    fn count(&mut self, what: &str, number: u64) {
        *self.counts.entry(what.to_owned()).or_default() += number;
    }

    fn add(&mut self, other: &Self) {
        for (what, number) in &other.counts {
            self.count(what, *number);
        }
    }

    /// How often something was seen.
    pub fn of(&self, what: &str) -> u64 {
        self.counts.get(what).copied().unwrap_or_default()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.counts.iter().try_for_each(|(what, number)| writeln!(f, "{number:>12}  {what}"))
    }
}

/// Why a run ended early: the round's seed, and what was seen there.
#[derive(Debug, thiserror::Error)]
#[error("seed {seed}: {what}")]
pub struct Broken {
    /// The round's seed.
    pub seed: u64,
    /// What is wrong, with the history.
    pub what: String,
}

/// Runs rounds with the seeds from `first` on, until there were `rounds` or `time` is over.
///
/// # Errors
/// The first round whose history is not linearizable, or is not found to be.
pub async fn run(
    api: &Client,
    first: u64,
    rounds: u64,
    time: Option<Duration>,
) -> Result<Tally, Broken> {
    let started = Instant::now();
    let mut tally = Tally::default();
    for seed in first..first.saturating_add(rounds) {
        if time.is_some_and(|time| started.elapsed() >= time) {
            break;
        }
        let histories = record(api, seed, &mut tally).await;
        let histories = histories.map_err(|what| Broken { seed, what })?;
        tally.count("rounds", 1);
        for history in &histories {
            let verdict = history.check(STEPS);
            if verdict != Verdict::Linearizable {
                return Err(Broken { seed, what: format!("{verdict:?}: {history}") });
            }
            tally.count("histories", 1);
        }
    }
    Ok(tally)
}

/// What the clients of a round share about one account.
struct Shared {
    name: String,
    known: Mutex<Known>,
}

/// What may be named in requests.
#[derive(Default)]
struct Known {
    /// Requests that were sent.
    sent: Vec<(Request, Sent)>,
    /// Holds and charges that were answered, and their ids.
    holds: Vec<(Key, String)>,
    charges: Vec<(Key, String)>,
}

/// A request as it goes over the wire.
#[derive(Debug, Clone)]
struct Sent {
    path: String,
    body: Value,
}

/// One round: what 16 clients saw of three new accounts.
///
/// # Errors
/// An answer that no request gets.
pub async fn record(api: &Client, seed: u64, tally: &mut Tally) -> Result<Vec<History>, String> {
    let run = fastrand::u64(..);
    let mut accounts = Vec::new();
    for (index, (overuse, credit_line)) in ACCOUNTS.into_iter().enumerate() {
        let name = format!("history-{run:016x}-{index}");
        open(api, &name, overuse, credit_line).await?;
        accounts.push(Shared { name, known: Mutex::default() });
    }
    let accounts = Arc::new(accounts);
    let start = Arc::new(Barrier::new(CLIENTS));
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let mut asking = Asking {
            api: api.clone(),
            accounts: Arc::clone(&accounts),
            client,
            rng: Rng::with_seed(seed.wrapping_mul(1_000).wrapping_add(client as u64)),
            next_key: Key::try_from(client * 1_000).expect("few clients"),
            seen: Vec::new(),
            tally: Tally::default(),
        };
        let start = Arc::clone(&start);
        clients.spawn(async move {
            start.wait().await;
            asking.ask_all().await?;
            Ok::<_, String>((asking.seen, asking.tally))
        });
    }
    let mut histories: Vec<_> = ACCOUNTS
        .into_iter()
        .map(|(overuse, credit_line)| History {
            overuse,
            credit_line,
            credits: CREDITS,
            events: Vec::new(),
        })
        .collect();
    for finished in clients.join_all().await {
        let (seen, counted) = finished?;
        tally.add(&counted);
        for (account, event) in seen {
            histories[account].events.push(event);
        }
    }
    Ok(histories)
}

async fn open(api: &Client, name: &str, overuse: Overuse, credit_line: i64) -> Result<(), String> {
    let overuse = format!("{overuse:?}").to_lowercase();
    let credit_line = credit_line.to_string();
    let settings = json!({"overuse": overuse, "credit_line": credit_line, "reason": "a test"});
    let path = format!("/v1/accounts/{name}");
    let answer = api.put(&path).json(&settings).send().await;
    let grant = json!({"credits": CREDITS.to_string(), "source": "promo", "reason": "a history"});
    let granting = api.post(&format!("{path}/grants")).key("first").json(&grant);
    let granted = granting.send().await;
    if answer.status == 200 && granted.status == 201 {
        return Ok(());
    }
    Err(format!("no account: {} {}", answer.text(), granted.text()))
}

/// One client of a round.
struct Asking {
    api: Client,
    accounts: Arc<Vec<Shared>>,
    client: usize,
    rng: Rng,
    next_key: Key,
    /// What it saw, of which account.
    seen: Vec<(usize, Event)>,
    tally: Tally,
}

impl Asking {
    async fn ask_all(&mut self) -> Result<(), String> {
        for _ in 0..REQUESTS {
            let account = self.rng.usize(0..self.accounts.len());
            let (request, wire) = self.choose(account);
            let sent = Instant::now();
            let Some(answer) = self.send(&request, &wire).await else {
                self.tally.count("requests without an answer", 1);
                if request.ask == Ask::Read {
                    continue;
                }
                // It may still happen. Who asks one thing after the other asks no more.
                self.seen
                    .push((account, Event { client: self.client, request, sent, answered: None }));
                return Ok(());
            };
            let at = Instant::now();
            let seen = read(request.ask, &answer)
                .ok_or_else(|| format!("{request:?}: {} {}", answer.status, answer.text()))?;
            self.note(account, &request, &seen, &answer);
            let answered = Some((at, seen));
            self.seen.push((account, Event { client: self.client, request, sent, answered }));
        }
        Ok(())
    }

    /// The answer, unless the crowd is too large for one.
    async fn send(&self, request: &Request, wire: &Sent) -> Option<client::Answer> {
        let call = match request.ask {
            Ask::Read => self.api.get(&wire.path),
            _ => self.api.post(&wire.path).key(&format!("k{}", request.key)).json(&wire.body),
        };
        for _ in 0..TRIES {
            let answer = call.clone().send().await;
            if answer.status != 503 {
                return Some(answer);
            }
        }
        None
    }

    /// Something new to ask, or what somebody has asked already.
    fn choose(&mut self, account: usize) -> (Request, Sent) {
        let shared = &self.accounts[account];
        let mut known = shared.known.lock().expect("no client panics with it");
        let rng = &mut self.rng;
        if !known.sent.is_empty() && rng.u8(0..100) < 15 {
            return known.sent[rng.usize(0..known.sent.len())].clone();
        }
        let path = format!("/v1/accounts/{}", shared.name);
        let credits = rng.i64(1..=45);
        let hold = rng.choice(&known.holds).cloned();
        let charge = rng.choice(&known.charges).cloned();
        let text = credits.to_string();
        let (ask, path, body) = match (rng.u8(0..100), hold, charge) {
            (0..10, _, _) => (Ask::Read, path, Value::Null),
            (10..20, _, _) => {
                let body = json!({"credits": text, "source": "promo", "reason": "a history"});
                (Ask::Grant(credits), format!("{path}/grants"), body)
            }
            (20..45, Some((hold, id)), _) => {
                let last = rng.bool();
                let body = json!({"credits": text, "description": "a history", "final": last});
                let path = format!("{path}/holds/{id}/capture");
                (Ask::Capture { hold, credits, last }, path, body)
            }
            (45..55, Some((hold, id)), _) => {
                (Ask::Void { hold }, format!("{path}/holds/{id}/void"), json!({}))
            }
            (55..70, _, Some((charge, id))) => {
                let path = format!("{path}/charges/{id}/refunds");
                if rng.bool() {
                    let ask = Ask::Refund { charge, credits: Some(credits) };
                    (ask, path, json!({"credits": text, "reason": "a history"}))
                } else {
                    (Ask::Refund { charge, credits: None }, path, json!({"reason": "a history"}))
                }
            }
            (20..60, _, _) => {
                let partial = rng.bool();
                let on_shortfall = if partial { "partial" } else { "refuse" };
                let body = json!({"credits": text, "on_shortfall": on_shortfall});
                (Ask::Hold { credits, partial }, format!("{path}/holds"), body)
            }
            _ => {
                let body = json!({"credits": text, "description": "a history"});
                (Ask::Charge(credits), format!("{path}/charges"), body)
            }
        };
        // Now and then under a key that is used: by the client's own last request.
        if rng.u8(0..100) >= 5 || ask == Ask::Read || self.next_key.is_multiple_of(1_000) {
            self.next_key += 1;
        }
        let chosen = (Request { key: self.next_key, ask }, Sent { path, body });
        if ask != Ask::Read {
            known.sent.push(chosen.clone());
        }
        chosen
    }

    /// What others may name from now on.
    fn note(&mut self, account: usize, request: &Request, seen: &Answer, answer: &client::Answer) {
        let value = answer.value();
        let id = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let mut known = self.accounts[account].known.lock().expect("no client panics with it");
        let kind = match request.ask {
            Ask::Grant(_) => "grants",
            Ask::Charge(_) => "charges",
            Ask::Hold { .. } => "holds",
            Ask::Capture { .. } => "captures",
            Ask::Void { .. } => "voids",
            Ask::Refund { .. } => "refunds",
            Ask::Read => "reads",
        };
        self.tally.count(&format!("requests: {kind}"), 1);
        match (seen, request.ask) {
            (Answer::Done { .. }, Ask::Hold { .. }) => {
                known.holds.extend(id("/hold/id").map(|id| (request.key, id)));
            }
            (Answer::Done { .. }, Ask::Charge(_) | Ask::Capture { .. }) => {
                known.charges.extend(id("/operation/id").map(|id| (request.key, id)));
            }
            (Answer::Refused { code, .. }, _) => self.tally.count(&format!("refused: {code}"), 1),
            _ => {}
        }
        if answer.header("idempotent-replayed").is_some() {
            self.tally.count("replayed", 1);
        }
    }
}

/// What an answer says; nothing where no request of these is answered so.
fn read(ask: Ask, answer: &client::Answer) -> Option<Answer> {
    let value = answer.value();
    let whole = |value: &Value| value.as_str()?.parse::<i64>().ok();
    let balance = || {
        let figure = |name: &str| whole(&value["balance"][name]);
        Some(Balance {
            posted: figure("posted")?,
            available: figure("available")?,
            held: figure("held")?,
            debt: figure("debt")?,
        })
    };
    match answer.status {
        200 if ask == Ask::Read => balance().map(Answer::Seen),
        200 | 201 => {
            let credits = match ask {
                Ask::Hold { .. } => &value["hold"]["credits"],
                _ => &value["operation"]["credits"],
            };
            Some(Answer::Done { credits: whole(credits)?, balance: balance()? })
        }
        402 | 409 | 422 => {
            let figure = whole(&value["available"]).or_else(|| whole(&value["left"]));
            Some(Answer::Refused { code: answer.code(), figure })
        }
        _ => None,
    }
}
