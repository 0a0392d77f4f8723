//! Starting and stopping the whole, with small functions in place of the real ones.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::{Method, StatusCode};
use lambda_http::LambdaEvent;
use serde_json::{Value, json};
use uc_local::aws::Endpoints;
use uc_local::client::{ClientError, send};
use uc_local::clock::MovableClock;
use uc_local::functions::Function;
use uc_local::gateway::{AllowedOrigins, Route};
use uc_local::ssm::Quotas;
use uc_local::stack::{Deployment, Options, Stack, StackError};

fn options(port: u16, data: Option<PathBuf>) -> Options {
    Options { port, data, origins: AllowedOrigins::Any, quotas: Quotas::Unlimited }
}

/// One function that answers after a moment.
async fn deploy(_: Endpoints, _: Arc<MovableClock>) -> Result<Deployment, Infallible> {
    let slow = Function::events("slow", |_: LambdaEvent<Value>| async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        Ok::<_, Infallible>(json!({"statusCode": 200, "body": "done"}))
    });
    let route =
        Route { method: Method::GET, template: "/slow".to_owned(), function: "slow".to_owned() };
    Ok(Deployment {
        functions: vec![slow.clone()],
        routes: vec![route],
        scheduled: slow.clone(),
        consumer: slow,
        openapi: Bytes::from_static(b"{}"),
        store: None,
    })
}

async fn start(port: u16, data: Option<PathBuf>) -> Result<Stack, StackError> {
    Stack::start(&options(port, data), deploy).await
}

#[tokio::test]
async fn a_running_request_is_answered_before_the_end() {
    let stack = start(0, None).await.expect("a stack");
    let port = stack.address().port();
    let slow = tokio::spawn(send(port, Method::GET, "/slow", &[], ""));
    tokio::time::sleep(Duration::from_millis(100)).await;
    stack.shutdown().await.expect("a clean end");
    let answer = slow.await.expect("no panic").expect("an answer");
    assert_eq!(answer, (StatusCode::OK, Bytes::from_static(b"done")));
    let refused = send(port, Method::GET, "/slow", &[], "").await;
    assert!(matches!(refused, Err(ClientError::NotRunning { .. })));
}

#[tokio::test]
async fn a_port_and_a_directory_are_used_by_one_stack() {
    let data = tempfile::tempdir().expect("a directory");
    let data = data.path().join("made");
    let stack = start(0, Some(data.clone())).await.expect("a stack");
    let port = stack.address().port();
    let same_port = start(port, None).await.err().expect("refused").to_string();
    let expected = format!("port {port} is already in use; choose another one, or 0 for any");
    assert_eq!(same_port, format!("{expected} free port"));
    let same_data = start(0, Some(data.clone())).await.err().expect("refused").to_string();
    assert!(same_data.ends_with("another `cargo local` is using it"), "{same_data}");

    let moved = stack.clock().advance(86_400).expect("moved");
    stack.shutdown().await.expect("a clean end");
    let stack = start(port, Some(data)).await.expect("the same port and directory again");
    assert!(stack.clock().now() >= moved, "the clock's offset is kept");
    stack.shutdown().await.expect("a clean end");
}
