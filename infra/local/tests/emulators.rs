//! What the ledger and the ratio tables rely on, asked of the embedded emulators through the real SDKs.

use std::fs;
use std::path::Path;
use std::time::Duration;

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{
    AttributeValue, Put, ReturnConsumedCapacity, ReturnValuesOnConditionCheckFailure,
    TransactWriteItem,
};
use aws_sdk_ssm::error::ProvideErrorMetadata as _;
use aws_sdk_ssm::types::ParameterType;
use uc_local::aws::Endpoints;
use uc_local::emulator::Emulator;
use uc_local::ssm::Quotas;
use uc_local::{dynamodb, schema, ssm};

const TABLE: &str = "credits";

struct Emulators {
    dynamodb: Emulator,
    ssm: Emulator,
    endpoints: Endpoints,
}

impl Emulators {
    async fn start(data: Option<&Path>) -> Self {
        let dynamodb = dynamodb::start(0, data).expect("DynamoDB starts");
        let ssm = ssm::start(0, data, Quotas::Unlimited).expect("SSM starts");
        let endpoints = Endpoints { dynamodb: dynamodb.url(), ssm: ssm.url() };
        schema::create_table(&endpoints.dynamodb_client(), TABLE)
            .await
            .expect("the table is created");
        Self { dynamodb, ssm, endpoints }
    }

    async fn stop(self) {
        self.dynamodb.shutdown().await.expect("DynamoDB ends");
        self.ssm.shutdown().await.expect("SSM ends");
    }
}

fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

/// A Put that fails where the item exists, and then shows it.
fn put_new(pk: &str, sk: &str, body: &[u8]) -> TransactWriteItem {
    let put = Put::builder()
        .table_name(TABLE)
        .item("pk", text(pk))
        .item("sk", text(sk))
        .item("b", AttributeValue::B(Blob::new(body)))
        .condition_expression("attribute_not_exists(pk)")
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
        .build()
        .expect("complete");
    TransactWriteItem::builder().put(put).build()
}

#[tokio::test]
async fn a_refused_transaction_shows_the_items_that_refused_it() {
    let emulators = Emulators::start(None).await;
    let client = emulators.endpoints.dynamodb_client();
    let write = |operation: &'static str, body: &'static [u8]| {
        client
            .transact_write_items()
            .transact_items(put_new(operation, "O", b"operation"))
            .transact_items(put_new("A#a", "E#000000000001", body))
            .return_consumed_capacity(ReturnConsumedCapacity::Indexes)
            .send()
    };

    let written = write("O#a#c#one", b"first").await.expect("both are new");
    let units: f64 =
        written.consumed_capacity().iter().filter_map(|used| used.capacity_units).sum();
    assert!((units - 4.0).abs() < 1e-9, "two items below 1 KB, doubled: {units}");

    let refused = write("O#a#c#two", b"second").await.expect_err("the entry exists");
    let TransactWriteItemsError::TransactionCanceledException(refused) =
        refused.into_service_error()
    else {
        panic!("a cancelled transaction");
    };
    let reasons = refused.cancellation_reasons();
    let codes: Vec<_> = reasons.iter().filter_map(|reason| reason.code()).collect();
    assert_eq!(codes, ["None", "ConditionalCheckFailed"]);
    assert!(reasons[0].item().is_none());
    let old = reasons[1].item().expect("ALL_OLD");
    assert_eq!(old["b"], AttributeValue::B(Blob::new(b"first")));

    let again = write("O#a#c#one", b"first").await.expect_err("both exist");
    let TransactWriteItemsError::TransactionCanceledException(again) = again.into_service_error()
    else {
        panic!("a cancelled transaction");
    };
    assert!(again.cancellation_reasons().iter().all(|reason| reason.item().is_some()));

    let nothing = client
        .get_item()
        .table_name(TABLE)
        .key("pk", text("O#a#c#two"))
        .key("sk", text("O"))
        .send()
        .await
        .expect("a read");
    assert!(nothing.item.is_none(), "a cancelled transaction writes nothing");
    emulators.stop().await;
}

#[tokio::test]
async fn the_head_is_the_highest_entry_and_due_items_come_in_order() {
    let emulators = Emulators::start(None).await;
    let client = emulators.endpoints.dynamodb_client();
    for seq in [1_u32, 9, 10, 11, 2] {
        let written = client
            .put_item()
            .table_name(TABLE)
            .item("pk", text("A#a"))
            .item("sk", text(format!("E#{seq:012}")))
            .item("b", AttributeValue::B(Blob::new(vec![0; 2_000])))
            .send()
            .await;
        written.expect("written");
        let head = client
            .query()
            .table_name(TABLE)
            .key_condition_expression("pk = :pk AND begins_with(sk, :e)")
            .expression_attribute_values(":pk", text("A#a"))
            .expression_attribute_values(":e", text("E#"))
            .consistent_read(true)
            .scan_index_forward(false)
            .limit(1)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await
            .expect("a query");
        assert_eq!(
            head.items()[0]["sk"],
            text(format!("E#{:012}", seq.max(if seq == 2 { 11 } else { seq })))
        );
        let units = head.consumed_capacity.and_then(|used| used.capacity_units).expect("capacity");
        assert!((units - 1.0).abs() < 1e-9, "one item below 4 KB, strongly consistent: {units}");
    }

    for (account, due) in
        [("b", Some("2026-02-01T00:00:00Z")), ("a", Some("2026-01-01T00:00:00Z")), ("c", None)]
    {
        let mut put = client
            .put_item()
            .table_name(TABLE)
            .item("pk", text(format!("S#{account}")))
            .item("sk", text("S"));
        if let Some(due) = due {
            put = put.item("due_shard", text("0")).item("due_at", text(due));
        }
        put.send().await.expect("written");
    }
    let due = client
        .query()
        .table_name(TABLE)
        .index_name("due")
        .key_condition_expression("due_shard = :shard AND due_at <= :now")
        .expression_attribute_values(":shard", text("0"))
        .expression_attribute_values(":now", text("2026-03-01T00:00:00Z"))
        .send()
        .await
        .expect("a query of the index");
    let accounts: Vec<_> = due.items().iter().map(|item| item["pk"].clone()).collect();
    assert_eq!(accounts, [text("S#a"), text("S#b")]);
    emulators.stop().await;
}

#[tokio::test]
async fn parameters_are_put_read_paged_and_deleted() {
    let emulators = Emulators::start(None).await;
    let client = emulators.endpoints.ssm_client();
    let put = |name: &str, value: String, kind: ParameterType| {
        client.put_parameter().name(name).value(value).r#type(kind).send()
    };

    for chunk in 0..12 {
        put(&format!("/stack/ratios/chunks/{chunk:02}"), "x".repeat(4_096), ParameterType::String)
            .await
            .expect("4 KB fit");
    }
    put("/stack/ratios/chunks/large", "x".repeat(4_097), ParameterType::String)
        .await
        .expect_err("one byte over a standard parameter");
    put("/stack/ratios/chunks/00", "y".to_owned(), ParameterType::String)
        .await
        .expect_err("it exists, and Overwrite is not set");
    let overwritten = client
        .put_parameter()
        .name("/stack/ratios/chunks/00")
        .value("y")
        .r#type(ParameterType::String)
        .overwrite(true)
        .send()
        .await
        .expect("overwritten");
    assert_eq!(overwritten.version(), 2);

    let mut names = Vec::new();
    let mut pages = client
        .get_parameters_by_path()
        .path("/stack/ratios")
        .recursive(true)
        .into_paginator()
        .send();
    while let Some(page) = pages.next().await {
        names.extend(
            page.expect("a page")
                .parameters
                .unwrap_or_default()
                .into_iter()
                .filter_map(|found| found.name),
        );
    }
    assert_eq!(names.len(), 12, "two pages");

    put("/stack/secrets/webhook", "whsec_x".to_owned(), ParameterType::SecureString)
        .await
        .expect("a secret");
    for (decrypt, shown) in [(true, true), (false, false)] {
        let read = client
            .get_parameters()
            .names("/stack/secrets/webhook")
            .names("/stack/secrets/absent")
            .with_decryption(decrypt)
            .send()
            .await
            .expect("read");
        assert_eq!(read.parameters()[0].value() == Some("whsec_x"), shown, "decrypt: {decrypt}");
        assert_eq!(read.invalid_parameters(), ["/stack/secrets/absent"]);
    }

    let deleted = client
        .delete_parameters()
        .names("/stack/ratios/chunks/01")
        .names("/stack/ratios/chunks/99")
        .send()
        .await
        .expect("deleted");
    assert_eq!(deleted.deleted_parameters(), ["/stack/ratios/chunks/01"]);
    assert_eq!(deleted.invalid_parameters(), ["/stack/ratios/chunks/99"]);
    emulators.stop().await;
}

#[tokio::test]
async fn acknowledged_writes_survive_a_restart_and_a_kill() {
    let directory = tempfile::tempdir().expect("a directory");
    let emulators = Emulators::start(Some(directory.path())).await;
    emulators
        .endpoints
        .dynamodb_client()
        .transact_write_items()
        .transact_items(put_new("A#a", "E#000000000001", b"kept"))
        .send()
        .await
        .expect("written");
    for value in ["one", "two"] {
        let put = emulators.endpoints.ssm_client().put_parameter();
        let put = put.name("/stack/secret").value(value).r#type(ParameterType::SecureString);
        put.overwrite(true).send().await.expect("written");
    }

    // What the disk holds now is what a killed process leaves behind.
    let killed = tempfile::tempdir().expect("a directory");
    for file in fs::read_dir(directory.path()).expect("a directory") {
        let file = file.expect("a file");
        fs::copy(file.path(), killed.path().join(file.file_name())).expect("copied");
    }
    emulators.stop().await;

    for data in [directory.path(), killed.path()] {
        let emulators = Emulators::start(Some(data)).await;
        let read = emulators.endpoints.dynamodb_client().get_item().table_name(TABLE);
        let read = read.key("pk", text("A#a")).key("sk", text("E#000000000001"));
        let entry = read.consistent_read(true).send().await.expect("read");
        assert_eq!(entry.item.expect("the entry")["b"], AttributeValue::B(Blob::new(b"kept")));
        let read = emulators.endpoints.ssm_client().get_parameter().name("/stack/secret");
        let secret = read.with_decryption(true).send().await.expect("read");
        let secret = secret.parameter.expect("the parameter");
        assert_eq!((secret.value(), secret.version()), (Some("two"), 2));
        emulators.stop().await;
    }
}

/// Of calls in a burst, some are throttled as AWS does it, and one that waits is answered.
#[tokio::test]
async fn quotas_throttle_what_is_over_them() {
    let ssm = ssm::start(0, None, Quotas::Aws).expect("SSM starts");
    let endpoints = Endpoints { dynamodb: String::new(), ssm: ssm.url() };
    let client = endpoints.ssm_client();
    let put = |n: u32| {
        let put = client.put_parameter().name(format!("/stack/{n}")).value("x");
        put.r#type(ParameterType::String).send()
    };
    let burst = futures_util::future::join_all((0..20).map(put)).await;
    let throttled = burst.iter().filter_map(|put| put.as_ref().err()).inspect(|error| {
        assert_eq!(error.code(), Some("ThrottlingException"), "{error:?}");
    });
    // The SDK tries again by itself, and the bucket is filled all the time.
    assert!((1..=17).contains(&throttled.count()));
    tokio::time::sleep(Duration::from_secs(1)).await;
    put(20).await.expect("after a second, one is answered");
    ssm.shutdown().await.expect("SSM ends");
}
