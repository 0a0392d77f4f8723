//! Audits of whole tables and of their exports, where a table holds every kind of item that is
//! ever written; and what lies beside a journal must add up.

use std::io::Write as _;
use std::path::PathBuf;

use serde_json::{Value, json};
use uc_audit::{Findings, generate};
use uc_ledger::store::{AttributeValue, Blob, Condition, Item, Key, Put, text};
use uc_local::aws::Endpoints;
use uc_local::seed::TABLE;

use super::stack::{
    Own, Stack, charge, event, from_now, open, priced, publish, text_model, unique,
};

/// All items of a stack's table.
async fn scan(stack: &Stack) -> Vec<Item> {
    let endpoints = Endpoints { dynamodb: stack.dynamodb.clone(), ssm: String::new() };
    let client = endpoints.dynamodb_client();
    let (mut items, mut start) = (Vec::new(), None);
    loop {
        let page = client.scan().table_name(TABLE).set_exclusive_start_key(start.take());
        let page = page.send().await.unwrap();
        items.extend(page.items.unwrap_or_default());
        start = page.last_evaluated_key;
        if start.is_none() {
            return items;
        }
    }
}

/// What the audit of an export with these items finds.
fn audit_export(items: &[Item]) -> Findings {
    let name = format!("uc-tests-{:016x}.json", fastrand::u64(..));
    let path: PathBuf = std::env::temp_dir().join(name);
    let mut lines: Vec<String> =
        items.iter().map(|item| generate::line(item).to_string()).collect();
    fastrand::shuffle(&mut lines);
    std::fs::File::create(&path).unwrap().write_all(lines.join("\n").as_bytes()).unwrap();
    let found = uc_audit::export::audit(std::slice::from_ref(&path), &options()).unwrap();
    std::fs::remove_file(path).unwrap();
    found
}

fn options() -> uc_audit::cli::Options {
    let parallel = std::num::NonZeroUsize::new(2).unwrap();
    uc_audit::cli::Options { state: None, parallel, keys: Vec::new(), allow_empty: false }
}

/// An account with every kind of operation and of item. Returns it and a payment's name.
async fn live_through_everything(own: &Own) -> (String, String) {
    let api = own.stack.api();
    let account = open(&api, "everything", "1000").await;
    let path = format!("/v1/accounts/{account}");
    let post = async |rest: &str, body: Value, status: u16| {
        let call = api.post(&format!("{path}/{rest}")).key(&unique("k")).json(&body);
        priced(call).await.expect(status)
    };
    let reason = json!({"reason": "a test"});
    let promo = json!({"credits": "9", "source": "promo", "expires_at": from_now(3_600),
        "reason": "a test"});
    let promo = post("grants", promo, 201).await["grant"]["id"].as_str().unwrap().to_owned();
    post(&format!("grants/{promo}/void"), reason.clone(), 200).await;
    let expiring = json!({"credits": "2", "source": "promo", "expires_at": from_now(40 * 86_400),
        "reason": "a test"});
    post("grants", expiring, 201).await;

    let void = post("holds", json!({"credits": "5"}), 201).await["hold"]["id"].clone();
    post(&format!("holds/{}/void", void.as_str().unwrap()), json!({}), 200).await;
    let held = post("holds", json!({"credits": "5"}), 201).await["hold"]["id"].clone();
    let captured = format!("holds/{}/capture", held.as_str().unwrap());
    let captured = post(&captured, json!({"credits": "4"}), 201).await["operation"]["id"].clone();
    let charged = post("charges", json!({"credits": "50", "actor": "ada"}), 201).await;
    let charged = charged["operation"]["id"].as_str().unwrap();
    for credits in ["20", "30"] {
        let part = json!({"credits": credits, "reason": "a test"});
        post(&format!("charges/{charged}/refunds"), part, 201).await;
    }
    post(&format!("charges/{}/refunds", captured.as_str().unwrap()), reason, 201).await;

    let payment = unique("pay");
    let send = async |kind: &str, data: Value| {
        let mut body = json!({"type": kind, "data": {"payment": payment}});
        body["data"].as_object_mut().unwrap().extend(data.as_object().unwrap().clone());
        own.stack.webhook(own.now(), &body).send().await.expect(200)["status"].clone()
    };
    let paid = json!({"account": account, "credits": "100", "amount": "10", "currency": "EUR"});
    assert_eq!(send("payment.succeeded", paid).await, "credited");
    let part = json!({"amount": "4", "currency": "EUR"});
    assert_eq!(send("payment.refunded", part).await, "taken_back");
    assert_eq!(send("payment.dispute_won", json!({"dispute": "no"})).await, "noted");
    assert_eq!(send("payment.disputed", json!({"dispute": "d"})).await, "taken_back");
    assert_eq!(send("payment.dispute_won", json!({"dispute": "d"})).await, "given_back");

    let plan = json!({"plan": "starter"});
    post("subscriptions", plan, 201).await;
    for (model, rated) in [("e2e/never", false), ("e2e/later", true)] {
        let used = json!({"model": model, "usage": {"input_tokens": 1_000_000},
            "on_unpriced": "park"});
        let parked = post("charges", used, 202).await["unrated"]["id"].clone();
        if rated {
            let version = publish(&api, |models| models[model] = text_model("1", "1")).await;
            let id = parked.as_str().unwrap();
            let body = json!({"ratio_version": version});
            let call = api.post(&format!("/v1/unrated/{id}/rate")).json(&body);
            priced(call).await.expect(201);
        }
    }
    // Of people there is nothing in what was before.
    api.delete(&format!("{path}/personal-data")).send().await.expect(200);
    let named = json!({"credits": "1", "actor": "bo"});
    post("charges", named, 201).await;
    own.advance(86_400).await;
    loop {
        let report = own.stack.invoke("plan-grant", &event("schedule.json")).await;
        if report["complete"] == true {
            return (account, payment);
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

type Damage<'a> = &'a dyn Fn(&mut Item);

#[tokio::test]
async fn damage_beside_a_journal_shows_in_a_table_and_in_its_export() {
    let own = Own::start().await;
    let (account, payment) = live_through_everything(&own).await;
    let ledger = own.stack.ledger();
    let id: uc_domain::AccountId = account.parse().unwrap();
    let intact = scan(&own.stack).await;
    for kind in ["A#", "O#", "P#", "F#", "D#", "X#", "U#", "S#", "N#", "C#", "K#", "R#"] {
        let is = |item: &&Item| text(item, "pk").is_some_and(|pk| pk.starts_with(kind));
        assert!(intact.iter().any(|item| is(&item)), "nothing is a {kind}");
    }
    let right = audit_export(&intact);
    assert_eq!((right.differing, right.accounts > 0), (0, true), "{right:?}");
    ledger.verify(&id).await.unwrap();

    let set = |name: &'static str, value: AttributeValue| {
        move |item: &mut Item| drop(item.insert(name.to_owned(), value.clone()))
    };
    let string = |text: &str| AttributeValue::S(text.to_owned());
    let number = |text: &str| AttributeValue::N(text.to_owned());
    // That the payment was refunded in full, or not.
    let in_full = |item: &mut Item| {
        let mut bytes = item["s"].as_b().unwrap().clone().into_inner();
        bytes[1] ^= 1;
        item.insert("s".to_owned(), AttributeValue::B(Blob::new(bytes)));
    };
    // The item is taken away.
    let gone: Damage<'_> = &Item::clear;
    let refund = format!("F#{account}#");
    let paid = format!("P#standard#live#{payment}");
    let of = |path: &str| format!("O#{account}#{path}");
    // Where, what, and what is said: of the export, and of the table where it is looked at there.
    let signed = format!("C#{account}");
    let never_waited = format!("U#un_{:029x}", 1);
    let cases: [(&str, &str, Damage<'_>, &str, Option<&str>); 26] = [
        (&refund, "000001", gone, "", Some("")),
        (&refund, "000001", &set("refunded", string("20.5")), "", Some("")),
        (&refund, "000001", &set("refunded", string("x")), "can't be read", Some("can't be read")),
        (&refund, "000001", &set("q", number("9999")), "refund", Some("refund")),
        (&paid, "P", gone, "its payment has no item", Some("its payment has no item")),
        (&paid, "P", &set("credits", string("1000")), "says 1000 credits", Some("says 1000")),
        (&paid, "P", &set("amount", string("1000")), "credits for 1000 EUR", Some("for 1000 EUR")),
        (&paid, "C#000001", gone, "its payment", Some("its payment")),
        (&paid, "C#000004", gone, "its payment", Some("its payment")),
        (&paid, "C#000001", &in_full, "do not follow", Some("do not follow")),
        (&paid, "C#000003", &set("s", AttributeValue::B(Blob::new([1]))), "read", Some("read")),
        (&of("hold#"), "O", gone, "no mark says", Some("no mark says")),
        (&of("grant#"), "O", gone, "no mark says", Some("no mark says")),
        (&of("c#k"), "O", &set("q", string("1")), "is not what it must be", None),
        ("U#un_", "U", &set("q", number("9999")), "which is not there", None),
        ("U#un_", "U", &set("pk", string(&never_waited)), "which is not its own", None),
        ("U#", "un_", gone, "waits, which is not there", None),
        ("D#", &account, gone, "not in the directory", None),
        ("D#", &account, &set("pk", string("D#99")), "is not what it must be", None),
        ("X#", &account, &set("pk", string("X#2026-01-01#99")), "not what it must be", None),
        (&signed, "2", gone, "some were taken away", None),
        ("C#digest#", "2", &set("n", number("99")), "is not signed", None),
        ("C#digest#", "2", &set("h", number("99")), "can't be read", None),
        ("C#digest#", "2", &set("pk", string("C#digest#99")), "is not what it must be", None),
        ("S#", "S#", &set("pk", string("Z#1")), "is not what it must be", None),
        (
            "A#",
            "E#000000000002",
            &set("c", AttributeValue::B(Blob::new([0; 8]))),
            "entry 2",
            Some("entry 2"),
        ),
    ];
    let key = |item: &Item| {
        let part = |name| text(item, name).unwrap_or_default().to_owned();
        Key::new(part("pk"), part("sk"))
    };
    for (pk, sk, damage, in_export, in_table) in cases {
        let is = |item: &Item| {
            let key = key(item);
            let own = pk != "A#" || key.pk == format!("A#{account}");
            // The item of usage that waits names no entry.
            let waits = item.contains_key("u");
            key.pk.starts_with(pk) && key.sk.starts_with(sk) && own && !waits
        };
        let at = intact.iter().position(is).unwrap_or_else(|| panic!("no {pk} {sk}"));
        let before = &intact[at];
        let mut after = before.clone();
        damage(&mut after);
        let is_gone = after.is_empty();
        let mut items = intact.clone();
        items.remove(at);
        items.extend((!is_gone).then(|| after.clone()));
        let found = audit_export(&items);
        let says = |found: &Findings| found.shown.iter().any(|shown| shown.contains(in_export));
        assert!(found.differing > 0 && says(&found), "{pk} {sk} {in_export}: {found:?}");

        let Some(in_table) = in_table else { continue };
        let put = async |item: Item| {
            ledger.store().put(Put { item, condition: Condition::None }).await.unwrap();
        };
        if is_gone {
            ledger.store().delete(&key(before)).await.unwrap();
        } else {
            put(after).await;
        }
        let found = ledger.verify(&id).await.unwrap_err().to_string();
        assert!(found.contains(in_table), "{pk} {sk} {in_table}: {found}");
        put(before.clone()).await;
        ledger.verify(&id).await.unwrap();
    }
    // An account of which nothing is left, and one whose last entries are not there with all that
    // is beside them: only the digests tell.
    let is_of = |item: &Item, what: &str| format!("{item:?}").contains(what);
    let tail: Vec<String> = (2..100).map(|seq| format!("E#{seq:012}")).collect();
    let opened: &dyn Fn(&Item) -> bool = &|item| {
        let Key { pk, sk } = key(item);
        (pk == format!("A#{account}") && !tail.contains(&sk))
            || pk.starts_with("D#")
            || (pk.starts_with(&of("")) && item.get("q") == Some(&number("1")))
    };
    for (what, keeps) in [("all", &(|_: &Item| false) as &dyn Fn(&Item) -> bool), ("tail", opened)]
    {
        let left: Vec<Item> =
            intact.iter().filter(|item| !is_of(item, &account) || keeps(item)).cloned().collect();
        let found = audit_export(&left);
        assert_eq!(found.differing, 1, "{what}: {found:?}");
        assert!(found.shown[0].contains("some were taken away"), "{what}: {found:?}");
    }
    own.stop().await;
}

/// The item that counts a charge's refunds is taken away: the ledger can't know, and gives back
/// once more. The audit does, and where the items were made to fit as well.
#[tokio::test]
async fn an_audit_sees_that_more_was_given_back_than_was_taken() {
    let own = Own::start().await;
    let api = own.stack.api();
    let account = open(&api, "twice", "100").await;
    let charged = charge(&api, &account, "c", "50").send().await.expect(201);
    let charged = charged["operation"]["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/accounts/{account}/charges/{charged}/refunds");
    let refund = async |key: &str| {
        let body = json!({"reason": "a test"});
        api.post(&path).key(key).json(&body).send().await.expect(201)
    };
    refund("one").await;
    let ledger = own.stack.ledger();
    let first = Key::new(format!("F#{account}#{charged}"), "000001");
    let item = ledger.store().get(&first).await.unwrap().unwrap();
    ledger.store().delete(&first).await.unwrap();
    refund("two").await;
    let audit = async |expected: &str| {
        let audited = api.get(&format!("/v1/accounts/{account}/audit")).send().await.expect(200);
        assert_eq!(audited["verified"], false, "{audited}");
        let what = audited["difference"]["what"].as_str().unwrap();
        assert!(what.contains(expected), "{what}");
        let found = audit_export(&scan(&own.stack).await);
        assert!(found.shown.iter().any(|shown| shown.contains(expected)), "{found:?}");
    };
    audit("no item of op_2_0 names its refund op_3_0").await;
    let put = async |item: Item| {
        ledger.store().put(Put { item, condition: Condition::None }).await.unwrap();
    };
    let second = ledger.store().get(&first).await.unwrap().unwrap();
    let numbered = |item: &Item, sk: &str, refunded: &str| {
        let mut item = item.clone();
        item.insert("sk".to_owned(), AttributeValue::S(sk.to_owned()));
        item.insert("refunded".to_owned(), AttributeValue::S(refunded.to_owned()));
        item
    };
    put(item).await;
    audit("no item of op_2_0 names its refund op_4_0").await;
    put(numbered(&second, "000002", "50")).await;
    audit("the refunds of op_2_0 before op_4_0 do not follow each other").await;
    put(numbered(&second, "000002", "100")).await;
    audit("op_4_0 is not what the items of op_2_0 say").await;
    own.stop().await;
}
