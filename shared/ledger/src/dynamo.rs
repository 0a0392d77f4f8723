//! [`Store`] on the real service, and the count of what it costs.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{
    AttributeValue, ConsumedCapacity, ReturnConsumedCapacity, ReturnValuesOnConditionCheckFailure,
    TransactWriteItem,
};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use aws_smithy_types::date_time::{DateTime, Format};
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;

use crate::Clock;
use crate::store::{
    Condition, DUE_AT, DUE_INDEX, DUE_SHARD, DueKey, Item, Key, PK, Put, Query, SK, Store,
    StoreError, TransactError,
};

/// What the store has cost since the process began; read by tests, benchmarks and metrics.
#[derive(Debug, Default)]
pub struct Counters {
    round_trips: AtomicU64,
    retries: AtomicU64,
    /// Tenths of units: the service counts in halves.
    read_units_x10: AtomicU64,
    write_units_x10: AtomicU64,
}

/// A reading of [`Counters`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Counts {
    /// Requests sent, repeated ones included.
    pub round_trips: u64,
    /// Requests that the SDK sent again.
    pub retries: u64,
    /// Read units, in tenths.
    pub read_units_x10: u64,
    /// Write units, in tenths.
    pub write_units_x10: u64,
}

impl Counters {
    /// What has been counted so far.
    pub fn read(&self) -> Counts {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            round_trips: load(&self.round_trips),
            retries: load(&self.retries),
            read_units_x10: load(&self.read_units_x10),
            write_units_x10: load(&self.write_units_x10),
        }
    }

    fn add(counter: &AtomicU64, capacity: Option<&ConsumedCapacity>) {
        let units = capacity.and_then(ConsumedCapacity::capacity_units).unwrap_or_default();
        // Units are multiples of a half, far below 2^53.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::float_arithmetic,
            reason = "a statistic that the SDK gives as a float; no credits"
        )]
        counter.fetch_add((units * 10.0).round() as u64, Ordering::Relaxed);
    }
}

/// The table on `DynamoDB`.
#[derive(Clone)]
pub struct DynamoStore {
    client: Client,
    table: String,
    watch: Watch,
}

/// Sees every request and answer on its way.
#[derive(Clone)]
struct Watch {
    counters: Arc<Counters>,
    skew_seconds: Arc<AtomicI64>,
    clock: Arc<dyn Clock>,
}

impl Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("counters", &self.counters).finish_non_exhaustive()
    }
}

impl Intercept for Watch {
    fn name(&self) -> &'static str {
        "unified-credits-watch"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.counters.round_trips.fetch_add(1, Ordering::Relaxed);
        let attempt = cfg.load::<aws_smithy_runtime_api::client::retries::RequestAttempts>();
        if attempt.is_some_and(|attempt| attempt.attempts() > 1) {
            self.counters.retries.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context
            .response()
            .headers()
            .get("date")
            .and_then(|date| DateTime::from_str(date, Format::HttpDate).ok());
        if let Some(date) = date {
            let here = (self.clock.now().millis() - self.clock.offset_millis()) / 1_000;
            self.skew_seconds.store(here - date.secs(), Ordering::Relaxed);
        }
        Ok(())
    }
}

impl DynamoStore {
    /// Opens `table` with the configuration of the environment: region, credentials, endpoint.
    pub fn new(config: &aws_types::SdkConfig, table: String, clock: Arc<dyn Clock>) -> Self {
        let watch = Watch { counters: Arc::default(), skew_seconds: Arc::default(), clock };
        let config = aws_sdk_dynamodb::config::Builder::from(config)
            // The SDK repeats what failed on the way, with jitter; conflicts are the ledger's.
            .retry_config(RetryConfig::standard().with_max_attempts(3))
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(Duration::from_secs(1))
                    .operation_attempt_timeout(Duration::from_secs(3))
                    .operation_timeout(Duration::from_secs(8))
                    .build(),
            )
            .interceptor(watch.clone())
            .build();
        Self { client: Client::from_conf(config), table, watch }
    }

    /// What it has cost so far.
    pub fn counters(&self) -> &Counters {
        &self.watch.counters
    }
}

#[async_trait]
impl Store for DynamoStore {
    async fn get(&self, key: &Key) -> Result<Option<Item>, StoreError> {
        let output = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(key.item()))
            .consistent_read(true)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await
            .map_err(|error| store_error(&error))?;
        Counters::add(&self.watch.counters.read_units_x10, output.consumed_capacity());
        Ok(output.item)
    }

    async fn query(&self, query: &Query) -> Result<Vec<Item>, StoreError> {
        let output = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("#p = :p AND #s BETWEEN :f AND :t")
            .expression_attribute_names("#p", PK)
            .expression_attribute_names("#s", SK)
            .expression_attribute_values(":p", AttributeValue::S(query.pk.clone()))
            .expression_attribute_values(":f", AttributeValue::S(query.from.clone()))
            .expression_attribute_values(":t", AttributeValue::S(query.to.clone()))
            .scan_index_forward(!query.descending)
            .consistent_read(true)
            .limit(i32::try_from(query.limit).unwrap_or(i32::MAX))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await
            .map_err(|error| store_error(&error))?;
        Counters::add(&self.watch.counters.read_units_x10, output.consumed_capacity());
        Ok(output.items.unwrap_or_default())
    }

    async fn query_due(
        &self,
        shard: &str,
        until: &str,
        after: Option<&DueKey>,
        limit: u32,
    ) -> Result<Vec<DueKey>, StoreError> {
        let start = after.map(|after| {
            let mut start = after.key.item();
            start.insert(DUE_SHARD.to_owned(), AttributeValue::S(shard.to_owned()));
            start.insert(DUE_AT.to_owned(), AttributeValue::S(after.due_at.clone()));
            start
        });
        let output = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(DUE_INDEX)
            .key_condition_expression("#h = :h AND #r <= :r")
            .expression_attribute_names("#h", DUE_SHARD)
            .expression_attribute_names("#r", DUE_AT)
            .expression_attribute_values(":h", AttributeValue::S(shard.to_owned()))
            .expression_attribute_values(":r", AttributeValue::S(until.to_owned()))
            .set_exclusive_start_key(start)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await
            .map_err(|error| store_error(&error))?;
        Counters::add(&self.watch.counters.read_units_x10, output.consumed_capacity());
        let due = |item: &Item| {
            Some(DueKey {
                key: Key::new(crate::store::text(item, PK)?, crate::store::text(item, SK)?),
                due_at: crate::store::text(item, DUE_AT)?.to_owned(),
            })
        };
        Ok(output.items().iter().filter_map(due).collect())
    }

    async fn put(&self, put: Put) -> Result<(), StoreError> {
        let condition = Expression::of(put.condition);
        let output = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(put.item))
            .set_condition_expression(condition.text)
            .set_expression_attribute_names(condition.names)
            .set_expression_attribute_values(condition.values)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await;
        match output {
            Ok(output) => {
                Counters::add(&self.watch.counters.write_units_x10, output.consumed_capacity());
                Ok(())
            }
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(PutItemError::is_conditional_check_failed_exception) =>
            {
                Err(StoreError::ConditionFailed)
            }
            Err(error) => Err(store_error(&error)),
        }
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        let output = self
            .client
            .delete_item()
            .table_name(&self.table)
            .set_key(Some(key.item()))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await
            .map_err(|error| store_error(&error))?;
        Counters::add(&self.watch.counters.write_units_x10, output.consumed_capacity());
        Ok(())
    }

    async fn remove(&self, key: &Key, attribute: &'static str) -> Result<(), StoreError> {
        // Names all attributes that it touches, keys included: the right to do it is given for
        // these alone. Returns none, which is part of that right.
        let output = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key.item()))
            .update_expression("REMOVE #a")
            .condition_expression("attribute_exists(#p)")
            .expression_attribute_names("#a", attribute)
            .expression_attribute_names("#p", PK)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await;
        match output {
            Ok(output) => {
                Counters::add(&self.watch.counters.write_units_x10, output.consumed_capacity());
                Ok(())
            }
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(UpdateItemError::is_conditional_check_failed_exception) =>
            {
                Err(StoreError::ConditionFailed)
            }
            Err(error) => Err(store_error(&error)),
        }
    }

    async fn transact(&self, puts: Vec<Put>) -> Result<(), TransactError> {
        let items = puts.into_iter().map(|put| self.transact_item(put)).collect::<Vec<_>>();
        let output = self
            .client
            .transact_write_items()
            .set_transact_items(Some(items))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await
            .map_err(|error| transact_error(&error))?;
        for capacity in output.consumed_capacity() {
            Counters::add(&self.watch.counters.write_units_x10, Some(capacity));
        }
        Ok(())
    }

    fn clock_skew_seconds(&self) -> u64 {
        self.watch.skew_seconds.load(Ordering::Relaxed).unsigned_abs()
    }
}

impl DynamoStore {
    fn transact_item(&self, put: Put) -> TransactWriteItem {
        let condition = Expression::of(put.condition);
        let put = aws_sdk_dynamodb::types::Put::builder()
            .table_name(&self.table)
            .set_item(Some(put.item))
            .set_condition_expression(condition.text)
            .set_expression_attribute_names(condition.names)
            .set_expression_attribute_values(condition.values)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .expect("table and item are set");
        TransactWriteItem::builder().put(put).build()
    }
}

/// A condition in the service's language.
struct Expression {
    text: Option<String>,
    names: Option<HashMap<String, String>>,
    values: Option<Item>,
}

impl Expression {
    fn of(condition: Condition) -> Self {
        let names = |name: &str| Some(HashMap::from([("#c".to_owned(), name.to_owned())]));
        match condition {
            Condition::None => Self { text: None, names: None, values: None },
            Condition::NotExists => Self {
                text: Some("attribute_not_exists(#c)".to_owned()),
                names: names(PK),
                values: None,
            },
            Condition::Equals(name, value) => Self {
                text: Some("#c = :c".to_owned()),
                names: names(name),
                values: Some(Item::from([(":c".to_owned(), value)])),
            },
        }
    }
}

fn transact_error(error: &SdkError<TransactWriteItemsError>) -> TransactError {
    let Some(TransactWriteItemsError::TransactionCanceledException(canceled)) =
        error.as_service_error()
    else {
        return store_error(error).into();
    };
    let reasons = canceled.cancellation_reasons();
    let has = |code: &str| reasons.iter().any(|reason| reason.code() == Some(code));
    if has("ConditionalCheckFailed") {
        let in_the_way = reasons
            .iter()
            .map(|reason| {
                (reason.code() == Some("ConditionalCheckFailed"))
                    .then(|| reason.item().cloned().unwrap_or_default())
            })
            .collect();
        return TransactError::Failed(in_the_way);
    }
    if has("TransactionConflict") {
        return TransactError::Conflict;
    }
    let codes = reasons.iter().filter_map(|reason| reason.code()).collect::<Vec<_>>().join(", ");
    if has("ThrottlingError") || has("ProvisionedThroughputExceeded") {
        return StoreError::NoAnswer(codes).into();
    }
    StoreError::Refused(codes).into()
}

/// Whether an error is an answer to trust (the request is at fault) or no answer at all.
fn store_error<E>(error: &SdkError<E>) -> StoreError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    const REFUSALS: [&str; 8] = [
        "ValidationException",
        "IncompleteSignatureException",
        "MissingAuthenticationTokenException",
        "AccessDeniedException",
        "UnrecognizedClientException",
        "ResourceNotFoundException",
        "ItemCollectionSizeLimitExceededException",
        "IdempotentParameterMismatchException",
    ];
    let refused = error
        .as_service_error()
        .and_then(ProvideErrorMetadata::code)
        .is_some_and(|code| REFUSALS.contains(&code));
    let text = aws_sdk_dynamodb::error::DisplayErrorContext(error).to_string();
    if refused { StoreError::Refused(text) } else { StoreError::NoAnswer(text) }
}
