//! Services that give no answer, or whose answer gets lost on the way.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use uc_local::aws::Endpoints;
use uc_local::gateway::AllowedOrigins;
use uc_local::ssm::Quotas;
use uc_local::stack::{Options, Stack as Running};
use uc_local::wiring;
use uc_tests::client::{Answer, Call};

use super::stack::{Own, balance, charge, journal, open, publish, text_model, unique};

const UP: u8 = 0;
const DOWN: u8 = 1;

/// A wire to an emulator that can be cut.
#[derive(Clone)]
struct Wire {
    url: String,
    state: Arc<AtomicU8>,
    /// How many answers get lost before the next one comes through.
    to_lose: Arc<AtomicU32>,
}

impl Wire {
    async fn to(url: &str) -> Self {
        let target = url.strip_prefix("http://").unwrap().trim_end_matches('/').to_owned();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let wire = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            state: Arc::default(),
            to_lose: Arc::default(),
        };
        let serving = wire.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (wire, target) = (serving.clone(), target.clone());
                tokio::spawn(async move { wire.carry(client, &target).await });
            }
        });
        wire
    }

    /// Carries bytes until the wire is cut; dropping both ends closes them.
    async fn carry(self, mut client: TcpStream, target: &str) {
        if self.is_down() {
            return;
        }
        let Ok(mut server) = TcpStream::connect(target).await else { return };
        let (mut up, mut down) = (vec![0; 16_384], vec![0; 16_384]);
        loop {
            tokio::select! {
                read = client.read(&mut up) => match read {
                    Ok(length) if length > 0 && !self.is_down() => {
                        if server.write_all(&up[..length]).await.is_err() {
                            return;
                        }
                    }
                    _ => return,
                },
                read = server.read(&mut down) => match read {
                    Ok(length) if length > 0 && !self.is_down() && !self.loses() => {
                        if client.write_all(&down[..length]).await.is_err() {
                            return;
                        }
                    }
                    _ => return,
                },
            }
        }
    }

    fn is_down(&self) -> bool {
        self.state.load(Ordering::SeqCst) == DOWN
    }

    fn set(&self, state: u8) {
        self.state.store(state, Ordering::SeqCst);
    }

    /// Whether this answer gets lost.
    fn loses(&self) -> bool {
        let less = |left: u32| left.checked_sub(1);
        self.to_lose.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok()
    }
}

/// A stack whose functions reach the emulators over wires.
struct Wired {
    own: Own,
    dynamodb: Wire,
    ssm: Wire,
}

impl Wired {
    async fn start() -> Self {
        let options = Options {
            port: 0,
            data: None,
            origins: AllowedOrigins::Any,
            quotas: Quotas::Unlimited,
        };
        let mut made = None;
        let running = Running::start(&options, |direct, clock| {
            let made = &mut made;
            async move {
                let (dynamodb, ssm) =
                    (Wire::to(&direct.dynamodb).await, Wire::to(&direct.ssm).await);
                let endpoints = Endpoints { dynamodb: dynamodb.url.clone(), ssm: ssm.url.clone() };
                let (deployment, access, _) =
                    wiring::deploy(&endpoints, clock, wiring::config()).await?;
                *made = Some((access, dynamodb, ssm));
                Ok::<_, String>(deployment)
            }
        });
        let running = running.await.unwrap();
        let (access, dynamodb, ssm) = made.unwrap();
        Self { own: Own::of(running, access), dynamodb, ssm }
    }
}

/// 503, which says when to come back and that nothing has to be changed.
#[track_caller]
fn assert_unavailable(answer: &Answer) {
    assert_eq!((answer.status, &*answer.code()), (503, "unavailable"), "{}", answer.text());
    let seconds: u32 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=30).contains(&seconds));
    assert_eq!(answer.value()["retryable"], true);
}

#[tokio::test]
async fn without_dynamodb_nothing_is_half_done() {
    let wired = Wired::start().await;
    let api = wired.own.stack.api();
    let account = open(&api, "cut", "100").await;
    let before = journal(&api, &account).await;
    let item = json!({"model": "openai/gpt-5.1", "usage": {"input_tokens": 1_000_000}});
    api.post("/v1/estimates").json(&json!({"items": [item]})).send().await.expect(200);

    wired.dynamodb.set(DOWN);
    let path = format!("/v1/accounts/{account}");
    let body = json!({"plan": "starter"});
    let grant = json!({"credits": "1", "source": "promo", "reason": "a test"});
    let payment = json!({
        "type": "payment.succeeded",
        "data": {"account": account, "payment": unique("pay"), "credits": "7"},
    });
    let usage = api.post(&format!("{path}/charges")).key("usage").json(&item);
    let fixed = charge(&api, &account, "fixed", "1");
    let granted = api.post(&format!("{path}/grants")).key("grant").json(&grant);
    let subscribed = api.post(&format!("{path}/subscriptions")).key("plan").json(&body);
    let paid = wired.own.stack.webhook(super::stack::now(), &payment);
    let calls = [
        usage.clone(),
        fixed.clone(),
        granted.clone(),
        subscribed.clone(),
        paid.clone(),
        api.get(&path),
        // Not known here yet: whose it is can't be told.
        api.with_credential("uc_unknown_key").get(&path),
    ];
    let sent: JoinSet<Answer> = calls.into_iter().map(Call::send).collect();
    for answer in sent.join_all().await {
        assert_unavailable(&answer);
    }
    // What needs no account is priced by the table that is in memory.
    let estimate = api.post("/v1/estimates").json(&json!({"items": [item]})).send().await;
    estimate.expect(200);

    wired.dynamodb.set(UP);
    assert_eq!(journal(&api, &account).await, before);
    // The same requests now happen, for the first time.
    for call in [usage, fixed, granted, subscribed] {
        let answer = call.send().await;
        assert_eq!(answer.header("idempotent-replayed"), None);
        answer.expect(201);
    }
    assert_eq!(paid.send().await.expect(200)["status"], "credited");
    wired.own.stop().await;
}

#[tokio::test]
async fn an_answer_that_gets_lost_does_not_charge_twice() {
    let wired = Wired::start().await;
    let api = wired.own.stack.api();
    let account = open(&api, "lost", "100").await;
    // Of the read, of the write, of both, of the write and what was tried after it.
    for lost in 1..=4 {
        for skipped in 0..2 {
            let key = format!("k-{lost}-{skipped}");
            if skipped == 1 {
                // A first one that comes through, so that another connection's answers get lost.
                balance(&api, &account).await;
            }
            wired.dynamodb.to_lose.store(lost, Ordering::SeqCst);
            let answer = charge(&api, &account, &key, "1").send().await;
            wired.dynamodb.to_lose.store(0, Ordering::SeqCst);
            if answer.status == 503 {
                assert_unavailable(&answer);
                charge(&api, &account, &key, "1").send().await.expect(201);
            } else {
                answer.expect(201);
            }
        }
    }
    assert_eq!(balance(&api, &account).await["posted"], "92");
    assert_eq!(journal(&api, &account).await.len(), 9);
    wired.own.stack.ledger().verify(&account.parse().unwrap()).await.unwrap();
    wired.own.stop().await;
}

#[tokio::test]
async fn without_ssm_charges_go_on_and_publishing_waits() {
    let wired = Wired::start().await;
    let api = wired.own.stack.api();
    let account = open(&api, "no-ssm", "100").await;
    let name = "e2e/no-ssm";
    let charges = async |version: u64| {
        let body = json!({
            "model": name, "usage": {"input_tokens": 1_000_000}, "ratio_version": version,
        });
        let path = format!("/v1/accounts/{account}/charges");
        super::stack::priced(api.post(&path).key(&unique("k")).json(&body)).await.expect(201)
            ["operation"]["credits"]
            .clone()
    };
    let put = |price: &'static str| move |models: &mut Value| models[name] = text_model(price, "1");

    // A new table is read from its copy.
    let first = publish(&api, put("1")).await;
    wired.ssm.set(DOWN);
    assert_eq!(charges(first).await, "-1");

    // Publishing needs it, and leaves the version that is there.
    let current = api.get("/v1/ratios").send().await;
    let etag = current.header("etag").unwrap().to_owned();
    let mut table = current.expect(200);
    put("2")(&mut table["models"]);
    let publishing = api.put("/v1/ratios").header("if-match", &etag).json(&table);
    assert_unavailable(&publishing.clone().send().await);
    let now = api.get("/v1/ratios").send().await;
    assert_eq!(now.header("etag"), Some(&*etag));
    assert_eq!(charges(first).await, "-1");

    // No secret, no token and no webhook.
    let minting =
        api.post(&format!("/v1/accounts/{account}/tokens")).json(&json!({"scopes": ["read"]}));
    assert_unavailable(&minting.clone().send().await);
    let payment = json!({
        "type": "payment.succeeded",
        "data": {"account": account, "payment": unique("pay"), "credits": "10"},
    });
    let webhook = wired.own.stack.webhook(super::stack::now(), &payment);
    assert_unavailable(&webhook.clone().send().await);

    wired.ssm.set(UP);
    minting.send().await.expect(201);
    assert_eq!(webhook.send().await.expect(200)["status"], "credited");
    let second = publishing.send().await.expect(200)["version"].as_u64().unwrap();
    assert_eq!(charges(second).await, "-2");
    wired.own.stop().await;
}
