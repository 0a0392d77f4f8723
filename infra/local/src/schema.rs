//! The one table, as template.yaml declares it.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{BuildError, SdkError};
use aws_sdk_dynamodb::operation::create_table::CreateTableError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType, StreamSpecification, StreamViewType, TableStatus,
};

/// How long a new table may take to become active. Emulators need no time, AWS some seconds.
const ACTIVE_WITHIN: Duration = Duration::from_secs(30);

/// Why the table is not there.
#[derive(Debug, thiserror::Error)]
#[error("cannot create the table {table}: {reason}")]
pub struct SchemaError {
    /// The table's name.
    pub table: String,
    /// What `DynamoDB` says.
    pub reason: String,
}

/// Creates the table and waits until it is active; does nothing where it already is.
///
/// Keys `pk` and `sk`; the index `due` (keys only) by `due_shard` and `due_at`, in which only items with
/// both attributes are; a stream of new images; on demand.
///
/// # Errors
/// When `DynamoDB` refuses, cannot be reached, or the table is not active within 30 seconds.
pub async fn create_table(dynamodb: &Client, table: &str) -> Result<(), SchemaError> {
    let failed = |reason: String| SchemaError { table: table.to_owned(), reason };
    let built = |error: BuildError| failed(error.to_string());
    let index = GlobalSecondaryIndex::builder()
        .index_name("due")
        .key_schema(key("due_shard", KeyType::Hash).map_err(built)?)
        .key_schema(key("due_at", KeyType::Range).map_err(built)?)
        .projection(Projection::builder().projection_type(ProjectionType::KeysOnly).build())
        .build()
        .map_err(built)?;
    let stream = StreamSpecification::builder()
        .stream_enabled(true)
        .stream_view_type(StreamViewType::NewImage)
        .build()
        .map_err(built)?;
    let mut request = dynamodb
        .create_table()
        .table_name(table)
        .billing_mode(BillingMode::PayPerRequest)
        .key_schema(key("pk", KeyType::Hash).map_err(built)?)
        .key_schema(key("sk", KeyType::Range).map_err(built)?)
        .global_secondary_indexes(index)
        .stream_specification(stream);
    for name in ["pk", "sk", "due_shard", "due_at"] {
        request = request.attribute_definitions(
            AttributeDefinition::builder()
                .attribute_name(name)
                .attribute_type(ScalarAttributeType::S)
                .build()
                .map_err(built)?,
        );
    }
    match request.send().await {
        Ok(_) => {}
        Err(SdkError::ServiceError(error))
            if matches!(error.err(), CreateTableError::ResourceInUseException(_)) => {}
        Err(error) => return Err(failed(causes(&error))),
    }
    let active = async {
        loop {
            let described = dynamodb
                .describe_table()
                .table_name(table)
                .send()
                .await
                .map_err(|error| failed(causes(&error)))?;
            if described.table.and_then(|table| table.table_status) == Some(TableStatus::Active) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(ACTIVE_WITHIN, active)
        .await
        .unwrap_or_else(|_| Err(failed("it is not active after 30 seconds".to_owned())))
}

/// An error with its causes, in one line.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// One part of a key.
fn key(name: &str, kind: KeyType) -> Result<KeySchemaElement, BuildError> {
    KeySchemaElement::builder().attribute_name(name).key_type(kind).build()
}
