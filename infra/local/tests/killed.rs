//! `kill -9` under load: what was acknowledged is there once when the stack runs again on its data,
//! and what was not is settled by sending it again.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uc_local::client::send;
use uc_local::run_file::RunFile;

/// Kills of a plain run; `UC_KILLS=50` for more.
const KILLS: u64 = 3;
/// Clients that ask at the same time, and accounts that they ask it of.
const CLIENTS: usize = 12;
const ACCOUNTS: [&str; 3] = ["ada", "bo", "cy"];
/// How long a stack may take until it answers: the first one makes everything.
const START: Duration = Duration::from_mins(2);
/// How often a request is sent again to a stack that is not killed.
const TRIES: usize = 10;

/// A stack as a process of its own; gone with its value, whatever happens.
struct Process {
    child: Child,
    port: u16,
    api_key: String,
}

impl Drop for Process {
    fn drop(&mut self) {
        // SIGKILL: nothing is tidied up. It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    /// Starts one on `data`, its run file beside it, and waits until it says where it is.
    fn start(data: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_uc-local"))
            .args(["--port", "0", "--data"])
            .arg(data)
            .env("XDG_RUNTIME_DIR", data.parent().expect("a directory of its own"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let (tell, told) = mpsc::channel();
        // To the end, so that whatever it prints has somewhere to go.
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let place = line.split_once("http://127.0.0.1:").map(|(_, rest)| rest.to_owned());
                // Nobody listens after the first one.
                let _ = place.map(|place| tell.send(place));
            }
        });
        // In its place from here on: a panic must not leave it running.
        let mut process = Self { child, port: 0, api_key: String::new() };
        let place = told.recv_timeout(START).expect("it says where it is");
        let digits: String = place.chars().take_while(char::is_ascii_digit).collect();
        process.port = digits.parse().expect("a port");
        let file = format!("unified-credits-{}.json", process.port);
        let file = std::fs::read(data.parent().expect("see above").join(file));
        let run: RunFile = serde_json::from_slice(&file.expect("a run file")).expect("JSON");
        process.api_key = run.api_key;
        process
    }
}

/// Something that was asked of an account.
#[derive(Debug, Clone)]
struct Asked {
    account: &'static str,
    key: String,
    /// Below the account's path.
    route: &'static str,
    body: Value,
    /// What it changes the posted balance by.
    credits: i64,
    /// The operation's id, once it was acknowledged.
    acknowledged: Option<String>,
}

/// How a request went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reply {
    /// It has happened.
    Acknowledged,
    /// It has not.
    Refused,
    /// Nobody knows.
    None,
}

impl Asked {
    fn random(client: usize, number: usize) -> Self {
        let amount = fastrand::i64(1..=9);
        let text = amount.to_string();
        let (route, body, credits) = match fastrand::u8(0..10) {
            0 => {
                let body = json!({"credits": text, "source": "promo", "reason": "a test"});
                ("grants", body, amount)
            }
            1 | 2 => ("holds", json!({"credits": text, "ttl_seconds": 86_400}), 0),
            _ => ("charges", json!({"credits": text, "description": "a test"}), -amount),
        };
        let account = ACCOUNTS[fastrand::usize(0..ACCOUNTS.len())];
        let key = format!("k-{client}-{number}");
        Self { account, key, route, body, credits, acknowledged: None }
    }

    /// Sends it once.
    async fn send(&mut self, port: u16, api_key: &str) -> Reply {
        let path = format!("/v1/accounts/{}/{}", self.account, self.route);
        let bearer = format!("Bearer {api_key}");
        let headers = [("authorization", bearer.as_str()), ("idempotency-key", &self.key)];
        let answer = send(port, Method::POST, &path, &headers, self.body.to_string()).await;
        let Ok((status, body)) = answer else { return Reply::None };
        if status == StatusCode::SERVICE_UNAVAILABLE {
            return Reply::None;
        }
        let text = String::from_utf8_lossy(&body);
        if status != StatusCode::CREATED {
            // A hold of nothing where everything is spent; one hold or grant too many.
            let may = self.route != "charges" && [402, 422].contains(&status.as_u16());
            assert!(may && self.acknowledged.is_none(), "{status}: {text}");
            return Reply::Refused;
        }
        let answer: Value = serde_json::from_slice(&body).expect("JSON");
        let id = answer["operation"]["id"].as_str().expect("an id").to_owned();
        if let Some(before) = &self.acknowledged {
            assert_eq!(*before, id, "{}: acknowledged before, and now anew", self.key);
        }
        self.acknowledged = Some(id);
        Reply::Acknowledged
    }
}

async fn get(process: &Process, path: &str) -> Value {
    let bearer = format!("Bearer {}", process.api_key);
    let headers = [("authorization", bearer.as_str())];
    let answer = send(process.port, Method::GET, path, &headers, "").await;
    let (status, body) = answer.expect("an answer");
    assert_eq!(status, StatusCode::OK, "{}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).expect("JSON")
}

/// Asks until the stack is gone; returns what was asked, the last of it without an answer.
async fn load(client: usize, first: usize, port: u16, api_key: String) -> Vec<Asked> {
    let mut all = Vec::new();
    loop {
        let mut asked = Asked::random(client, first + all.len());
        let reply = asked.send(port, &api_key).await;
        all.push(asked);
        if reply == Reply::None {
            return all;
        }
    }
}

/// Sends everything again, to a stack that stays.
async fn resend(process: &Process, all: &mut [Asked]) {
    for asked in all {
        let mut reply = Reply::None;
        for _ in 0..TRIES {
            reply = asked.send(process.port, &process.api_key).await;
            if reply != Reply::None {
                break;
            }
        }
        assert_ne!(reply, Reply::None, "{asked:?}");
    }
}

/// Every operation of an account: its key, its id and its credits.
async fn operations(process: &Process, account: &str) -> Vec<Value> {
    let path = format!("/v1/accounts/{account}/transactions?limit=100");
    let (mut all, mut next) = (Vec::new(), path.clone());
    loop {
        let page = get(process, &next).await;
        all.extend(page["items"].as_array().expect("a list").iter().cloned());
        let Some(cursor) = page["next_cursor"].as_str() else { return all };
        next = format!("{path}&cursor={cursor}");
    }
}

/// Each acknowledged request is one operation, and there is none that nobody asked for.
async fn audit(process: &Process, all: &[Asked]) {
    for account in ACCOUNTS {
        let of_account: BTreeMap<&str, &Asked> = all
            .iter()
            .filter(|asked| asked.account == account)
            .map(|asked| (asked.key.as_str(), asked))
            .collect();
        let mut seen = BTreeSet::new();
        let mut posted = 0;
        for operation in operations(process, account).await {
            let key = operation["idempotency_key"].as_str().expect("all are asked for").to_owned();
            if key == "first" {
                posted += 1_000;
                continue;
            }
            let asked = of_account.get(key.as_str()).unwrap_or_else(|| panic!("who asked {key}?"));
            assert_eq!(asked.acknowledged.as_deref(), operation["id"].as_str(), "{key}");
            posted += asked.credits;
            assert!(seen.insert(key.clone()), "{key} is there twice");
        }
        let acknowledged = of_account.values().filter(|asked| asked.acknowledged.is_some());
        assert_eq!(seen.len(), acknowledged.count(), "of {account}, some are missing");
        let balance = get(process, &format!("/v1/accounts/{account}")).await["balance"].clone();
        assert_eq!(balance["posted"], posted.to_string(), "{account}");
        let path = format!("/v1/accounts/{account}/audit");
        let mut audit = get(process, &path).await;
        while let Some(cursor) = audit["next_cursor"].as_str() {
            audit = get(process, &format!("{path}?cursor={cursor}")).await;
        }
        assert_eq!(audit["verified"], true, "{audit}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_outlives_a_kill() {
    let kills = std::env::var("UC_KILLS").map_or(KILLS, |text| text.parse().expect("a number"));
    let directory = tempfile::tempdir().expect("a directory");
    let data = directory.path().join("data");
    let mut all: Vec<Asked> = Vec::new();
    let mut process = Process::start(&data);
    for account in ACCOUNTS {
        let body = json!({"credits": "1000", "source": "promo", "reason": "a test"});
        let (key, route) = ("first".to_owned(), "grants");
        let mut asked = Asked { account, key, route, body, credits: 1_000, acknowledged: None };
        let reply = asked.send(process.port, &process.api_key).await;
        assert_eq!(reply, Reply::Acknowledged, "{account} opens");
    }
    for _ in 0..kills {
        let clients: JoinSet<Vec<Asked>> = (0..CLIENTS)
            .map(|client| load(client, all.len(), process.port, process.api_key.clone()))
            .collect();
        // In the middle of whatever happens then.
        tokio::time::sleep(Duration::from_millis(fastrand::u64(800..2_500))).await;
        drop(process);
        let asked = clients.join_all().await.into_iter().flatten();
        let before = all.len();
        all.extend(asked);
        assert!(all.len() - before > CLIENTS, "nothing was acknowledged before it was killed");
        process = Process::start(&data);
        resend(&process, &mut all[before..]).await;
        audit(&process, &all).await;
    }
    // Once more from the first on: also what was acknowledged three kills ago is a replay.
    resend(&process, &mut all).await;
    audit(&process, &all).await;
    let unanswered = kills * CLIENTS as u64;
    println!("evidence: faults: {kills} kills of the stack under load, {} requests", all.len());
    println!("evidence: faults: {unanswered} without an answer when the stack was killed");
}
