//! The commands' own requests to the running stack.

use std::net::Ipv4Addr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nothing listens on the port.
    #[error("no local stack answers on port {port}; start one with `cargo local --port {port}`")]
    NotRunning {
        /// The port.
        port: u16,
    },
    /// The connection broke, or what listens there speaks no HTTP.
    #[error("no answer from port {port}: {source}")]
    Http {
        /// The port.
        port: u16,
        /// What went wrong.
        source: hyper::Error,
    },
    /// A header holds a character that headers cannot hold.
    #[error("the request cannot be sent: {0}")]
    Request(#[from] hyper::http::Error),
}

/// Sends one request to 127.0.0.1 and reads the whole answer.
///
/// # Errors
/// [`ClientError`]; an answer with an error status is an answer.
pub async fn send(
    port: u16,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Result<(StatusCode, Bytes), ClientError> {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", format!("127.0.0.1:{port}"))
        .header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body.into()))?;
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
        .await
        .map_err(|_| ClientError::NotRunning { port })?;
    let failed = |source| ClientError::Http { port, source };
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let driving = tokio::spawn(connection);
    let answer = sender.send_request(request).await.map_err(failed)?;
    let status = answer.status();
    let body = answer.into_body().collect().await.map_err(failed)?.to_bytes();
    driving.abort();
    Ok((status, body))
}
