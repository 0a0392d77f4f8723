//! A provider, made up: it speaks `OpenAI`'s Chat Completions as far as the example needs it.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;

use serde_json::{Value, json};

/// What it answers, whatever is asked. Each word is a token.
const ANSWER: &str = "The moon pulls at the sea, and the sea leans towards it. The earth turns under \
    that bulge, so the water comes to your beach and goes again, twice a day. When sun and moon pull \
    along one line, it comes higher than ever.";
/// What it takes a prompt to be beyond its words.
const PROMPT_TOKENS: usize = 4;
/// The largest request that it reads.
const MAX_BODY: u64 = 1 << 20;

/// Starts the provider on a free port of 127.0.0.1, for one request, and returns its address. It
/// hangs up after `break_after` tokens if that is given.
///
/// # Errors
/// No port can be listened on.
pub fn start(break_after: Option<usize>) -> io::Result<String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let url = format!("http://{}", listener.local_addr()?);
    thread::spawn(move || {
        // A caller that leaves is no fault of the provider's.
        listener.accept().and_then(|(stream, _)| answer(stream, break_after))
    });
    Ok(url)
}

fn answer(mut stream: TcpStream, break_after: Option<usize>) -> io::Result<()> {
    let request = read_request(&stream)?;
    let model = &request["model"];
    let chunk = |choices: Value, usage: Value| {
        json!({
            "id": "chatcmpl-tides", "object": "chat.completion.chunk", "created": 1_795_168_801,
            "model": model, "choices": choices, "usage": usage,
        })
    };
    let choice = |delta: Value, reason: Option<&str>| json!([{"index": 0, "delta": delta, "finish_reason": reason}]);
    stream.write_all(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
    )?;
    let mut send = |data: &str| {
        let event = format!("data: {data}\n\n");
        write!(stream, "{:x}\r\n{event}\r\n", event.len())
    };
    let mut tokens = 0;
    for word in ANSWER.split_inclusive(' ') {
        if break_after == Some(tokens) {
            return Ok(());
        }
        send(&chunk(choice(json!({"content": word}), None), Value::Null).to_string())?;
        tokens += 1;
    }
    send(&chunk(choice(json!({}), Some("stop")), Value::Null).to_string())?;
    let words = |message: &Value| {
        message["content"].as_str().unwrap_or_default().split_whitespace().count()
    };
    let messages = request["messages"].as_array().into_iter().flatten();
    let prompt = PROMPT_TOKENS + messages.map(words).sum::<usize>();
    let usage = json!({
        "prompt_tokens": prompt, "completion_tokens": tokens, "total_tokens": prompt + tokens,
    });
    send(&chunk(json!([]), usage).to_string())?;
    send("[DONE]")?;
    stream.write_all(b"0\r\n\r\n")
}

/// The JSON of a request's body.
fn read_request(stream: &TcpStream) -> io::Result<Value> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or_default();
        }
    }
    let mut body = Vec::new();
    reader.take(MAX_BODY.min(length)).read_to_end(&mut body)?;
    Ok(serde_json::from_slice(&body).unwrap_or_default())
}
