//! Charges a running stack as fast as it can: one client and 16 over 200 accounts, 16 on one
//! account. Prints charges a second, latencies, and what a charge costs the store, as a table and
//! as JSON. It talks to this machine only and ends by itself.

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
use uc_local::gateway::COUNTS;
use uc_local::run_file::RunFile;

const USAGE: &str = "usage: cargo bench-stack [--port 9000] [--charges 2000]";
const ACCOUNTS: u32 = 200;
const CLIENTS: u32 = 16;

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
}

const LOADS: [Load; 3] = [
    Load { name: "1 client, 200 accounts", clients: 1, accounts: ACCOUNTS },
    Load { name: "16 clients, 200 accounts", clients: CLIENTS, accounts: ACCOUNTS },
    Load { name: "16 clients, 1 account", clients: CLIENTS, accounts: 1 },
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

    println!(
        "{:<26} {:>9} {:>8} {:>8} {:>9} {:>12} {:>8}",
        "load", "charges/s", "p50 ms", "p99 ms", "WRU each", "trips each", "retries"
    );
    let mut results = Vec::new();
    for (index, load) in LOADS.iter().enumerate() {
        let before = counts(port, &key).await?;
        let (elapsed, latencies) = drive(load, index, port, &key, charges, run).await?;
        let after = counts(port, &key).await?;
        let result = report(load, elapsed, &latencies, before.as_ref().zip(after.as_ref()));
        results.push(result);
    }
    println!("{}", json!({"charges": charges, "loads": results}));
    Ok(())
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

/// Sends `charges` charges, and returns how long that took and how long each took.
async fn drive(
    load: &Load,
    index: usize,
    port: u16,
    key: &Arc<str>,
    charges: u32,
    run: u32,
) -> Result<(Duration, Vec<Duration>), Failure> {
    let next = Arc::new(AtomicU32::new(0));
    let started = Instant::now();
    let accounts = load.accounts;
    let tasks: Vec<_> = (0..load.clients)
        .map(|_| {
            let (next, key) = (Arc::clone(&next), Arc::clone(key));
            tokio::spawn(async move {
                let mut client = Client::connect(port, key).await?;
                let mut latencies = Vec::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= charges {
                        return Ok::<_, Failure>(latencies);
                    }
                    let path = format!("/v1/accounts/bench-{run}-{}/charges", number % accounts);
                    let body = json!({"model": "openai/gpt-5.1",
                        "usage": {"input_tokens": 1200, "output_tokens": 350}});
                    let key = format!("{index}-{number}");
                    let sent = Instant::now();
                    let (status, answer) =
                        client.send(Method::POST, &path, &key, body.to_string()).await?;
                    latencies.push(sent.elapsed());
                    if status != StatusCode::CREATED {
                        let answer = String::from_utf8_lossy(&answer).into_owned();
                        return Err(format!("{status}: {answer}").into());
                    }
                }
            })
        })
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await??);
    }
    latencies.sort_unstable();
    Ok((started.elapsed(), latencies))
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
