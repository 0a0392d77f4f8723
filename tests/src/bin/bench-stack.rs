//! Charges a running stack as fast as it can: one client and 16 over 200 accounts; 16 on one
//! account with single requests, in batches, and through the queue. Prints charges a second,
//! latencies, what a charge costs the store, and how much faster batch and queue are, as a table
//! and as JSON. It talks to this machine only and ends by itself.

use std::error::Error;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use uc_domain::Credits;
use uc_local::gateway::COUNTS;
use uc_local::run_file::RunFile;

const USAGE: &str = "usage: cargo bench-stack [--port 9000] [--charges 2000]";
const ACCOUNTS: u32 = 200;
const CLIENTS: u32 = 16;
/// How often a charge that gave up is sent again.
const TIRED: u32 = 20;
/// How long the queue may take.
const QUEUE_PATIENCE: Duration = Duration::from_mins(5);

type Failure = Box<dyn Error + Send + Sync>;

/// One connection to the stack, kept open.
struct Client {
    sender: SendRequest<Full<Bytes>>,
    port: u16,
    key: Arc<str>,
}

impl Client {
    async fn connect(port: u16, key: Arc<str>) -> Result<Self, Failure> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { sender, port, key })
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        idempotency_key: &str,
        body: String,
    ) -> Result<(StatusCode, Bytes), Failure> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", format!("127.0.0.1:{}", self.port))
            .header("authorization", format!("Bearer {}", self.key))
            .header("content-type", "application/json")
            .header("idempotency-key", idempotency_key)
            .header("x-amz-target", "AmazonSQS.SendMessageBatch")
            .body(Full::new(Bytes::from(body)))?;
        self.sender.ready().await?;
        let answer = self.sender.send_request(request).await?;
        let status = answer.status();
        Ok((status, answer.into_body().collect().await?.to_bytes()))
    }
}

/// What the store has cost so far; `None` where the stack does not tell. On a connection of its
/// own: a server closes one that was idle during a long load.
async fn counts(port: u16, key: &Arc<str>) -> Result<Option<Value>, Failure> {
    let mut client = Client::connect(port, Arc::clone(key)).await?;
    let (status, body) = client.send(Method::GET, COUNTS, "-", String::new()).await?;
    Ok(if status.is_success() { serde_json::from_slice(&body).ok() } else { None })
}

/// One way of loading the stack.
struct Load {
    name: &'static str,
    clients: u32,
    accounts: u32,
    by: By,
    /// Charges that are sent together.
    together: u32,
}

/// How charges are sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Request,
    Batch,
    Queue,
}

/// The loads whose charges a second are compared: on one account.
const SINGLE: usize = 2;
const TOGETHER: [usize; 2] = [3, 4];

const LOADS: [Load; 5] = [
    Load {
        name: "1 client, 200 accounts",
        clients: 1,
        accounts: ACCOUNTS,
        by: By::Request,
        together: 1,
    },
    Load {
        name: "16 clients, 200 accounts",
        clients: CLIENTS,
        accounts: ACCOUNTS,
        by: By::Request,
        together: 1,
    },
    Load {
        name: "16 clients, 1 account",
        clients: CLIENTS,
        accounts: 1,
        by: By::Request,
        together: 1,
    },
    Load {
        name: "the same, batches of 96",
        clients: CLIENTS,
        accounts: 1,
        by: By::Batch,
        together: 96,
    },
    Load {
        name: "the same, by the queue",
        clients: CLIENTS,
        accounts: 1,
        by: By::Queue,
        together: 10,
    },
];

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let (port, charges) = arguments()?;
    let key: Arc<str> = RunFile::read(port)?.api_key.into();
    let run = std::process::id();
    let account = |number: u32| format!("bench-{run}-{number}");
    let mut operator = Client::connect(port, Arc::clone(&key)).await?;
    for number in 0..ACCOUNTS {
        let path = format!("/v1/accounts/{}/grants", account(number));
        let body = json!({"credits": "1000000", "source": "promo", "reason": "benchmark"});
        let (status, body) = operator.send(Method::POST, &path, "open", body.to_string()).await?;
        if status != StatusCode::CREATED {
            return Err(format!("{status}: {}", String::from_utf8_lossy(&body)).into());
        }
    }

    let queue = RunFile::read(port)?.queue;
    println!(
        "{:<26} {:>9} {:>8} {:>8} {:>9} {:>12} {:>8}",
        "load", "charges/s", "p50 ms", "p99 ms", "WRU each", "trips each", "retries"
    );
    let mut results = Vec::new();
    for (index, load) in LOADS.iter().enumerate() {
        let queue = match (load.by, &queue) {
            (By::Queue, None) => continue,
            (By::Queue, Some(url)) => Some(url.clone()),
            (By::Request | By::Batch, _) => None,
        };
        let before = counts(port, &key).await?;
        let (elapsed, latencies) = drive(load, index, port, &key, charges, run, queue).await?;
        let after = counts(port, &key).await?;
        let result = report(load, elapsed, &latencies, before.as_ref().zip(after.as_ref()));
        results.push(result);
    }
    let faster = compare(&results);
    println!("{}", json!({"charges": charges, "loads": results, "faster_on_one_account": faster}));
    Ok(())
}

/// How many times the charges a second of single requests batch and queue have on one account.
#[expect(clippy::float_arithmetic, reason = "statistics")]
fn compare(results: &[Value]) -> Vec<Value> {
    let rate = |result: &Value| result["charges_per_second"].as_f64();
    let Some(single) = results.get(SINGLE).and_then(rate) else { return Vec::new() };
    let mut all = Vec::new();
    for result in TOGETHER.iter().filter_map(|index| results.get(*index)) {
        let Some(together) = rate(result) else { continue };
        let (name, times) = (result["load"].as_str().unwrap_or_default(), together / single);
        println!(
            "{name}: {together:.0} charges/s, {times:.1} times the {single:.0} of single ones"
        );
        all.push(json!({"load": name, "times": times}));
    }
    all
}

fn arguments() -> Result<(u16, u32), Failure> {
    let (mut port, mut charges) = (9000, 2_000);
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or(USAGE)?;
        match name.as_str() {
            "--port" => port = value.parse()?,
            "--charges" => charges = value.parse::<u32>()?.clamp(CLIENTS, 100_000),
            _ => return Err(USAGE.into()),
        }
    }
    Ok((port, charges))
}

/// What is charged.
fn usage() -> Value {
    json!({"model": "openai/gpt-5.1", "usage": {"input_tokens": 1200, "output_tokens": 350}})
}

/// Sends `charges` charges, and returns how long that took and how long each took.
async fn drive(
    load: &'static Load,
    index: usize,
    port: u16,
    key: &Arc<str>,
    charges: u32,
    run: u32,
    queue: Option<String>,
) -> Result<(Duration, Vec<Duration>), Failure> {
    let next = Arc::new(AtomicU32::new(0));
    let queue_port = match queue.as_deref().map(|url| url.split([':', '/']).nth(4)) {
        Some(Some(port)) => Some(port.parse()?),
        _ => None,
    };
    let mut waiting = None;
    if queue.is_some() {
        let mut client = Client::connect(port, Arc::clone(key)).await?;
        let all = price(&mut client).await? * i128::from(charges);
        let left = posted(&mut client, run).await? - all;
        waiting = Some((client, left));
    }
    let started = Instant::now();
    let tasks: Vec<_> = (0..load.clients)
        .map(|_| {
            let (next, key, queue) = (Arc::clone(&next), Arc::clone(key), queue.clone());
            tokio::spawn(async move {
                let mut client = Client::connect(queue_port.unwrap_or(port), key).await?;
                let mut latencies = Vec::new();
                loop {
                    let first = next.fetch_add(load.together, Ordering::Relaxed);
                    if first >= charges {
                        return Ok::<_, Failure>(latencies);
                    }
                    let numbers = first..charges.min(first + load.together);
                    let sent = Instant::now();
                    let count = numbers.len();
                    send(load, index, run, numbers, queue.as_deref(), &mut client).await?;
                    latencies.extend(std::iter::repeat_n(sent.elapsed(), count));
                }
            })
        })
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await??);
    }
    if let Some((mut client, left)) = waiting {
        // All were sent: done is when all were charged.
        while posted(&mut client, run).await? > left {
            if started.elapsed() > QUEUE_PATIENCE {
                return Err("the queue's charges are not there".into());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    latencies.sort_unstable();
    Ok((started.elapsed(), latencies))
}

/// Sends some charges at once.
async fn send(
    load: &Load,
    index: usize,
    run: u32,
    numbers: std::ops::Range<u32>,
    queue: Option<&str>,
    client: &mut Client,
) -> Result<(), Failure> {
    let account = |number: u32| format!("bench-{run}-{}", number % load.accounts);
    let operation = |number: u32| {
        let mut operation = usage();
        operation["account"] = json!(account(number));
        operation["idempotency_key"] = json!(format!("{index}-{number}"));
        operation
    };
    let first = numbers.start;
    let (path, expected, body) = match load.by {
        By::Request => {
            let path = format!("/v1/accounts/{}/charges", account(first));
            (path, StatusCode::CREATED, usage())
        }
        By::Batch => {
            let operations: Vec<_> = numbers.map(operation).collect();
            let path = "/v1/charges/batch".to_owned();
            (path, StatusCode::OK, json!({"operations": operations}))
        }
        By::Queue => {
            let entry = |number: u32| {
                let body = operation(number).to_string();
                json!({"Id": number.to_string(), "MessageBody": body})
            };
            let entries: Vec<_> = numbers.map(entry).collect();
            let body = json!({"QueueUrl": queue, "Entries": entries});
            ("/".to_owned(), StatusCode::OK, body)
        }
    };
    let key = format!("{index}-{first}");
    let (mut status, mut answer) = client.send(Method::POST, &path, &key, body.to_string()).await?;
    for _ in 0..TIRED {
        if status != StatusCode::SERVICE_UNAVAILABLE {
            break;
        }
        // It has lost for ten seconds to others: the same again, which counts once.
        (status, answer) = client.send(Method::POST, &path, &key, body.to_string()).await?;
    }
    let failed = || format!("{status}: {}", String::from_utf8_lossy(&answer));
    if status != expected {
        return Err(failed().into());
    }
    if load.by == By::Batch {
        let results: Value = serde_json::from_slice(&answer)?;
        let all = results["results"].as_array().ok_or_else(failed)?;
        if all.iter().any(|result| result["status"] != 201) {
            return Err(failed().into());
        }
    }
    Ok(())
}

/// What the account of the last loads has, in millionths.
async fn posted(client: &mut Client, run: u32) -> Result<i128, Failure> {
    let path = format!("/v1/accounts/bench-{run}-0");
    let (_, answer) = client.send(Method::GET, &path, "-", String::new()).await?;
    micros(&serde_json::from_slice::<Value>(&answer)?["balance"]["posted"])
}

/// What one charge takes, in millionths.
async fn price(client: &mut Client) -> Result<i128, Failure> {
    let body = json!({"items": [usage()]}).to_string();
    let (_, answer) = client.send(Method::POST, "/v1/estimates", "-", body).await?;
    micros(&serde_json::from_slice::<Value>(&answer)?["total"]["max"])
}

fn micros(credits: &Value) -> Result<i128, Failure> {
    let credits: Credits = credits.as_str().ok_or("no credits")?.parse()?;
    Ok(credits.micros())
}

/// Prints one row, and returns it as JSON. Statistics, no credits: floats do.
#[expect(clippy::float_arithmetic, clippy::cast_precision_loss, reason = "statistics")]
fn report(
    load: &Load,
    elapsed: Duration,
    latencies: &[Duration],
    counts: Option<(&Value, &Value)>,
) -> Value {
    let charges = latencies.len() as f64;
    let at = |hundredth: usize| {
        let index = (latencies.len() * hundredth / 100).min(latencies.len() - 1);
        latencies[index].as_secs_f64() * 1_000.0
    };
    let each = |name: &str, scale: f64| {
        counts.and_then(|(before, after)| {
            let change = after[name].as_u64()?.checked_sub(before[name].as_u64()?)?;
            Some(change as f64 / scale / charges)
        })
    };
    let per_second = charges / elapsed.as_secs_f64();
    let (p50, p99) = (at(50), at(99));
    let write_units = each("write_units_x10", 10.0);
    let round_trips = each("round_trips", 1.0);
    let retries = each("retries", 1.0);
    let shown = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.2}"));
    println!(
        "{:<26} {per_second:>9.0} {p50:>8.2} {p99:>8.2} {:>9} {:>12} {:>8}",
        load.name,
        shown(write_units),
        shown(round_trips),
        shown(retries)
    );
    json!({
        "load": load.name,
        "charges_per_second": per_second,
        "p50_ms": p50,
        "p99_ms": p99,
        "write_units": write_units,
        "round_trips": round_trips,
        "sdk_retries": retries,
    })
}
