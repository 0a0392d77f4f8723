//! Builds the functions for release on this machine and prints what Lambda would load: the size of
//! each binary, the time from its start to its first poll of the runtime API, and the memory that
//! it keeps once it has answered a request with the example table. With a file, `cargo figures
//! table.json`, or a number of models that it makes up, `cargo figures 4500`, also what a first
//! estimate takes from a function that has just started, with the example table and with that one:
//! the difference is loading it, which has a bar too; with `--loading 4500` only that is measured, and
//! only the function that it takes is built.

use std::error::Error;
use std::fs;
use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use uc_local::gateway::AllowedOrigins;
use uc_local::ssm::Quotas;
use uc_local::stack::Options;
use uc_local::{seed, wiring};
use uc_tests::client::Client;

/// Starts of each function that are measured.
const STARTS: usize = 11;
/// A function that does not poll within this time has failed.
const PATIENCE: Duration = Duration::from_secs(10);
/// The bars: milliseconds, and kilobytes. The size of what is deployed (arm64) has its bar in
/// `.ci/run release`.
const LIMITS: (u128, u64) = (10, 15 * 1_024);

/// The bar for loading a table, over what the example takes: milliseconds.
const LOADING: u128 = 30;

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let only_loading = arguments.first().is_some_and(|first| first == "--loading");
    let mut names: Vec<&str> = wiring::descriptions().iter().map(|(name, _)| *name).collect();
    if only_loading {
        arguments.remove(0);
        names = vec!["estimate"];
    }
    let mut build = Command::new("cargo");
    build.args(["build", "--release"]);
    for name in &names {
        build.args(["--package", name]);
    }
    if !build.status()?.success() {
        return Err("the release build failed".into());
    }

    let options =
        Options { port: 0, data: None, origins: AllowedOrigins::Any, quotas: Quotas::Unlimited };
    let (stack, access, _) = wiring::start(&options, wiring::config()).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    if only_loading {
        let [table] = arguments.as_slice() else { return Err("of which table?".into()) };
        loading(table, &stack, &listener, &access).await?;
        return Ok(stack.shutdown().await?);
    }
    println!(
        "{:<14} {:>10} {:>22} {:>14}",
        "function", "bytes", "ms to poll: med (max)", "resident KiB"
    );
    let mut results = Vec::new();
    for name in names {
        let binary = format!("{}/release/{name}", target());
        let bytes = fs::metadata(&binary)?.len();
        let mut starts = Vec::new();
        let mut resident = 0;
        for round in 0..STARTS {
            let started = Instant::now();
            let mut child = spawn(&binary, &stack, &listener)?;
            let polled = timeout(PATIENCE, next_request(&listener)).await;
            starts.push(started.elapsed().as_millis());
            let (mut poll, _) = polled??;
            if round == 0 {
                serve(&mut poll, &listener, name, &access).await?;
                resident = resident_kib(child.id())?;
            }
            child.kill()?;
            child.wait()?;
        }
        starts.sort_unstable();
        let (median, worst) = (starts[STARTS / 2], starts[STARTS - 1]);
        println!("{name:<14} {bytes:>10} {:>22} {resident:>14}", format!("{median} ({worst})"));
        results.push((name, bytes, median, worst, resident));
    }
    let rows: Vec<Value> = results
        .iter()
        .map(|(name, bytes, median, worst, resident)| {
            json!({"function": name, "bytes": bytes, "start_ms": median, "start_ms_max": worst,
                "resident_kib": resident})
        })
        .collect();
    println!("{}", json!(rows));
    if let Some(table) = arguments.first() {
        loading(table, &stack, &listener, &access).await?;
    }
    stack.shutdown().await?;
    let (start, resident) = LIMITS;
    let over = results.iter().any(|r| r.2 > start || r.4 > resident);
    if over { Err("a figure is over its bar".into()) } else { Ok(()) }
}

/// The table in a file, or one of so many models: with a few prices each, a third of them with tiers
/// and classes, as the real ones have.
fn table_of(what: &str) -> Result<Value, Failure> {
    let Ok(models) = what.parse::<usize>() else {
        return Ok(serde_json::from_slice(&fs::read(what)?)?);
    };
    let row = |dimension: &str, credits: usize| json!({"dimension": dimension, "credits": credits.to_string(), "per": 1_000_000});
    let model = |n: usize| {
        let dimensions = ["input_tokens", "output_tokens", "cache_read_tokens"];
        let mut rows: Vec<Value> = dimensions.map(|d| row(d, n % 997 + 1)).to_vec();
        for conditions in [
            json!({"service_class": "batch"}),
            json!({"prompt_tokens": {"gt": 200_000}}),
            json!({"service_class": "batch", "prompt_tokens": {"gt": 200_000}}),
        ] {
            for dimension in dimensions.into_iter().filter(|_| n.is_multiple_of(3)) {
                let mut row = row(dimension, n % 991 + 2);
                row["when"] = conditions.clone();
                rows.push(row);
            }
        }
        let (id, alias) = (format!("provider-{}/model-{n}", n % 47), format!("model-{n}"));
        (id, json!({"feature": "text", "aliases": [alias], "ratios": rows}))
    };
    Ok(json!({
        "credit": {"scale": 4, "rounding": "up"},
        "groups": {"default": "1"},
        "features": {"text": {"dimensions": ["input_tokens", "output_tokens"]}},
        "models": (0..models).map(model).collect::<serde_json::Map<_, _>>(),
    }))
}

/// Measures first estimates with the table in force, publishes another (see [`table_of`]), and
/// measures again.
async fn loading(
    what: &str,
    stack: &uc_local::stack::Stack,
    listener: &TcpListener,
    access: &seed::Access,
) -> Result<(), Failure> {
    let client = Client::new(&format!("http://{}", stack.address()));
    let client = client.with_credential(&access.api_key);
    let published = client.get("/v1/ratios").send().await;
    let mut medians = Vec::new();
    for table in [published.value(), table_of(what)?] {
        let models = table["models"].as_object().ok_or("the table has no models")?;
        let in_force = client.get("/v1/ratios").send().await;
        if in_force.value() != table {
            let etag = in_force.header("etag").ok_or("the table has no version")?;
            let mut body = GzEncoder::new(Vec::new(), Compression::default());
            body.write_all(table.to_string().as_bytes())?;
            let put = client.put("/v1/ratios").header("if-match", etag);
            let put = put.header("content-type", "application/json");
            put.header("content-encoding", "gzip").body(body.finish()?).send().await.expect(200);
        }
        let priced = |model: &Value, dimension| {
            let rows = model["ratios"].as_array().into_iter().flatten();
            rows.into_iter().any(|r| r["dimension"] == dimension && r.get("when").is_none())
        };
        let (model, _) = models
            .iter()
            .find(|(_, model)| priced(model, "input_tokens") && model["enabled"] != false)
            .ok_or("no model has an unconditional price for input_tokens")?;
        let body = json!({"items": [{"model": model, "usage": {"input_tokens": 1}}]});
        let event = http_event("estimate", ("POST", "/v1/estimates", body), access)?;
        let mut times = Vec::new();
        for _ in 0..STARTS {
            let mut child = spawn(&format!("{}/release/estimate", target()), stack, listener)?;
            let (mut poll, _) = timeout(PATIENCE, next_request(listener)).await??;
            let started = Instant::now();
            answer(&mut poll, listener, "estimate", &event).await?;
            times.push(started.elapsed().as_micros());
            child.kill()?;
            child.wait()?;
        }
        times.sort_unstable();
        let millis = |micros: u128| format!("{}.{}", micros / 1_000, micros % 1_000 / 100);
        println!(
            "first estimate with {} models: {} ms ({}-{})",
            models.len(),
            millis(times[STARTS / 2]),
            millis(times[0]),
            millis(times[STARTS - 1])
        );
        medians.push(times[STARTS / 2]);
    }
    let loading = medians[1].saturating_sub(medians[0]);
    println!("loading it: {}.{} ms", loading / 1_000, loading % 1_000 / 100);
    if loading > LOADING * 1_000 {
        return Err(format!("loading the table takes more than {LOADING} ms").into());
    }
    Ok(())
}

/// The directory that cargo builds into.
fn target() -> String {
    std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".to_owned())
}

/// Starts a function as Lambda does, with the stack's emulators behind it.
fn spawn(
    binary: &str,
    stack: &uc_local::stack::Stack,
    runtime: &TcpListener,
) -> Result<Child, Failure> {
    let child = Command::new(binary)
        .env_clear()
        .env("AWS_LAMBDA_RUNTIME_API", runtime.local_addr()?.to_string())
        .env("AWS_LAMBDA_FUNCTION_NAME", "measured")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "local")
        .env("AWS_SECRET_ACCESS_KEY", "local")
        .env("AWS_ENDPOINT_URL_DYNAMODB", &stack.endpoints().dynamodb)
        .env("AWS_ENDPOINT_URL_SSM", &stack.endpoints().ssm)
        .env("UC_TABLE", seed::TABLE)
        .env("UC_STACK", seed::STACK)
        .stdout(Stdio::null())
        .spawn()?;
    Ok(child)
}

/// The next request to the runtime API: its connection and its text, whole.
async fn next_request(listener: &TcpListener) -> Result<(TcpStream, String), Failure> {
    let (mut connection, _) = listener.accept().await?;
    let text = read_request(&mut connection).await?;
    Ok((connection, text))
}

async fn read_request(connection: &mut TcpStream) -> Result<String, Failure> {
    let mut text = Vec::new();
    let mut buffer = vec![0; 65_536];
    loop {
        let read = connection.read(&mut buffer).await?;
        if read == 0 {
            return Err("the function closed its connection".into());
        }
        text.extend_from_slice(&buffer[..read]);
        let shown = String::from_utf8_lossy(&text);
        if let Some((head, body)) = shown.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
            });
            let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
            let whole = if chunked {
                body.ends_with("0\r\n\r\n")
            } else {
                body.len() >= length.unwrap_or(0)
            };
            if whole {
                return Ok(shown.into_owned());
            }
        }
    }
}

/// Gives the function one event, and waits until it has answered.
async fn serve(
    poll: &mut TcpStream,
    listener: &TcpListener,
    name: &str,
    access: &seed::Access,
) -> Result<(), Failure> {
    answer(poll, listener, name, &event(name, access)?).await
}

async fn answer(
    poll: &mut TcpStream,
    listener: &TcpListener,
    name: &str,
    event: &str,
) -> Result<(), Failure> {
    let deadline = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_millis();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         lambda-runtime-aws-request-id: 1\r\nlambda-runtime-deadline-ms: {}\r\n\
         lambda-runtime-invoked-function-arn: arn:aws:lambda:us-east-1:0:function:f\r\n\r\n",
        event.len(),
        deadline + 30_000,
    );
    poll.write_all(head.as_bytes()).await?;
    poll.write_all(event.as_bytes()).await?;
    // The answer comes on the same connection or on another one.
    let answer = tokio::select! {
        text = read_request(poll) => text?,
        other = next_request(listener) => other?.1,
    };
    if name == "plan-grant" || answer.contains(r#""statusCode":20"#) {
        return Ok(());
    }
    Err(format!("{name} answered {answer}").into())
}

/// A request that makes the function load what it needs.
fn event(name: &str, access: &seed::Access) -> Result<String, Failure> {
    if name == "plan-grant" {
        return Ok(include_str!("../../../events/schedule.json").to_owned());
    }
    let request = match name {
        "estimate" => (
            "POST",
            "/v1/estimates",
            json!({"items": [{"model": "openai/gpt-5.1",
            "usage": {"input_tokens": 1, "output_tokens": 1}}]}),
        ),
        "charge" => (
            "POST",
            "/v1/accounts/measured/charges",
            json!({"model": "openai/gpt-5.1",
            "usage": {"input_tokens": 1, "output_tokens": 1}}),
        ),
        "topup" => (
            "POST",
            "/v1/accounts/measured/grants",
            json!({"credits": "1", "source": "promo", "reason": "measured"}),
        ),
        "ratios-admin" => ("GET", "/v1/ratios", Value::Null),
        _ => ("PUT", "/v1/accounts/measured", json!({"price_group": "pro"})),
    };
    http_event(name, request, access)
}

/// A request as API Gateway hands it over.
fn http_event(
    name: &str,
    (method, path, body): (&str, &str, Value),
    access: &seed::Access,
) -> Result<String, Failure> {
    let mut event: Value =
        serde_json::from_str(include_str!("../../../events/apigw/estimate.json"))?;
    event["rawPath"] = json!(path);
    event["requestContext"]["http"]["path"] = json!(path);
    event["requestContext"]["http"]["method"] = json!(method);
    event["headers"]["authorization"] = json!(format!("Bearer {}", access.api_key));
    event["headers"]["idempotency-key"] = json!(name);
    event["body"] = if body.is_null() { Value::Null } else { json!(body.to_string()) };
    Ok(event.to_string())
}

fn resident_kib(process: u32) -> Result<u64, Failure> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}
