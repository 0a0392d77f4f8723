//! A back end that answers chats with a provider's stream and charges an account for it:
//! estimate, hold, work, capture. Whatever happens to the stream, what was used is charged and the
//! rest of the hold given back.

mod credits;
pub mod provider;

use std::io::{BufRead as _, BufReader};
use std::time::Duration;

use serde_json::{Value, json};

pub use credits::Credits;

/// The model, as the provider calls it.
const MODEL: &str = "gpt-5.1";
/// In whose form the provider answers.
const FORM: &str = "openai";
/// Tokens that an answer has at most.
const MAX_TOKENS: u32 = 800;
/// What the hold lives for, in seconds: longer than an answer takes. Should the back end die, the
/// hold ends by itself.
const TTL_SECONDS: u32 = 300;
/// What the provider has for an answer: after it the stream is as good as broken off.
const LONGEST: Duration = Duration::from_secs(TTL_SECONDS as u64 - 30);

/// Why a turn was not answered, or not charged.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Unified Credits refuses.
    #[error("{status} {code}: {detail}")]
    Refused {
        /// The answer's status.
        status: u16,
        /// What programs go by, such as `insufficient_credits`.
        code: String,
        /// What people read.
        detail: String,
    },
    /// Unified Credits does not answer, though asked several times.
    #[error("no answer from Unified Credits: {0}")]
    NoAnswer(String),
    /// The turn was begun by an earlier call, which charges it or has given it up: another try is a
    /// turn of its own.
    #[error("the turn {0} was begun before")]
    Begun(String),
    /// The provider began nothing.
    #[error("the provider: {0}")]
    Provider(String),
}

/// What became of a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// What the user got to read.
    pub text: String,
    /// Why there is no more of it.
    pub broken: Option<String>,
    /// The answer to the estimate.
    pub estimate: Value,
    /// The answer to the hold.
    pub held: Value,
    /// What the capture was of: usage or a provider's response.
    pub used: Value,
    /// The answer to the capture.
    pub captured: Value,
    /// Whether that was the answer to a capture sent before.
    pub replayed: bool,
}

/// Answers one prompt of an account. `turn` names it in the back end's own database: the keys are
/// made from it, so that whoever finishes a turn, however late and however often, charges it once,
/// and that it is begun once.
///
/// # Errors
/// [`Error`]. Where the work has not begun nothing is charged, and the hold is given back.
pub fn answer(
    credits: &Credits,
    provider: &str,
    account: &str,
    turn: &str,
    prompt: &str,
) -> Result<Turn, Error> {
    // The prices of this estimate hold until the work is done.
    let messages = json!([{"role": "user", "content": prompt}]);
    let request = json!({"messages": messages, "max_output_tokens": MAX_TOKENS});
    let items = json!([{"model": MODEL, "request": request}]);
    let body = json!({"account": account, "items": items});
    let estimate = credits.post("/v1/estimates", None, &body)?.body;

    // Refused with 402 where there is not enough: then the work does not begin.
    let holds = Credits::path(account, "/holds");
    let body = json!({
        "items": items,
        "ratio_version": estimate["ratio_version"],
        "ttl_seconds": TTL_SECONDS,
    });
    let held = match credits.post(&holds, Some(&format!("{turn}-hold")), &body) {
        // The key was used before this call: by the same body or, after prices changed, another.
        Ok(held) if held.replayed && held.attempts == 1 => {
            return Err(Error::Begun(turn.to_owned()));
        }
        Err(Error::Refused { code, .. }) if code == "idempotency_key_reused" => {
            return Err(Error::Begun(turn.to_owned()));
        }
        held => held?.body,
    };
    let hold = format!("{holds}/{}", held["hold"]["id"].as_str().unwrap_or_default());

    let stream = match stream(provider, &messages) {
        Ok(stream) => stream,
        Err(error) => {
            credits.post(&format!("{hold}/void"), Some(&format!("{turn}-void")), &json!({}))?;
            return Err(error);
        }
    };
    let Stream { text, tokens, usage, broken } = stream;
    let used = if let Some(usage) = usage {
        json!({"provider": FORM, "provider_response": usage})
    } else {
        let input = input_tokens(&estimate);
        json!({"model": MODEL, "usage": {"input_tokens": input, "output_tokens": tokens}})
    };
    let mut body = used.clone();
    body["final"] = json!(true);
    let captured =
        credits.post(&format!("{hold}/capture"), Some(&format!("{turn}-capture")), &body)?;
    let (captured, replayed) = (captured.body, captured.replayed);
    Ok(Turn { text, broken, estimate, held, used, captured, replayed })
}

/// How many tokens the prompt has, as the estimate expects: a provider that breaks off does not
/// tell.
fn input_tokens(estimate: &Value) -> Value {
    let mut lines = estimate["items"][0]["lines"].as_array().into_iter().flatten();
    let input = lines.find(|line| line["dimension"] == "input_tokens");
    input.map_or(json!(0), |line| line["quantity"].clone())
}

/// What came of a stream.
struct Stream {
    text: String,
    /// Events with text: this provider sends a token in each. Where yours does not, count with its
    /// tokenizer.
    tokens: u64,
    /// The last event that told the usage. Most providers send one, at the end.
    usage: Option<Value>,
    broken: Option<String>,
}

/// Asks the provider for an answer and reads it as far as it comes.
fn stream(provider: &str, messages: &Value) -> Result<Stream, Error> {
    let body = json!({
        "model": MODEL, "messages": messages, "max_completion_tokens": MAX_TOKENS,
        "stream": true, "stream_options": {"include_usage": true},
    });
    let answer = ureq::post(format!("{provider}/v1/chat/completions"))
        .config()
        .timeout_global(Some(LONGEST))
        .build()
        .header("content-type", "application/json")
        .send(body.to_string())
        .map_err(|error| Error::Provider(error.to_string()))?;
    let mut stream = Stream { text: String::new(), tokens: 0, usage: None, broken: None };
    for line in BufReader::new(answer.into_body().into_reader()).lines() {
        let line = match line {
            Ok(line) => line,
            Err(error) => {
                stream.broken = Some(error.to_string());
                return Ok(stream);
            }
        };
        let Some(data) = line.strip_prefix("data: ") else { continue };
        if data == "[DONE]" {
            return Ok(stream);
        }
        let event: Value = serde_json::from_str(data).unwrap_or_default();
        if let Some(text) = event["choices"][0]["delta"]["content"].as_str()
            && !text.is_empty()
        {
            // Here it would go on to the browser. A browser that leaves is no different from a
            // provider that does: stop reading, charge what was used.
            stream.text.push_str(text);
            stream.tokens += 1;
        }
        if event["usage"].is_object() {
            stream.usage = Some(event);
        }
    }
    stream.broken = Some("the stream ended without its last event".to_owned());
    Ok(stream)
}
