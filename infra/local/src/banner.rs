//! What a newcomer reads in the terminal.

use std::path::Path;

use crate::run_file::RunFile;

/// What to paste next, once the stack answers at `url`.
pub fn text(url: &str, keys: &RunFile, data: Option<&Path>) -> String {
    let kept = match data {
        Some(data) => format!("kept in {}", data.display()),
        None => "in memory, gone at the end (--data DIR keeps it)".to_owned(),
    };
    let port = match keys.port {
        9000 => String::new(),
        port => format!(" --port {port}"),
    };
    let key = &keys.api_key;
    let queue = keys.queue.as_deref().unwrap_or("none");
    format!(
        r#"
Unified Credits runs at {url}, {kept}.
  API description   {url}/openapi.json
  API key           {key}   (every scope, this stack only)
  queue of charges  {queue}   (SQS)

What would a request cost? Paste this into another terminal:

  curl -s {url}/v1/estimates -H 'authorization: Bearer {key}' \
    -H 'content-type: application/json' -d '{{"items": [{{"model": "openai/gpt-5.1",
      "usage": {{"input_tokens": 1200, "output_tokens": {{"min": 100, "expected": 400, "max": 800}}}}}}]}}'

It answers with the credits (min, expected, max) and the lines they come from. Then:

  cargo local pay --account acme --credits 100{port}          a signed payment webhook: the account opens
  curl -s {url}/v1/accounts/acme/charges -H 'authorization: Bearer {key}' \
    -H 'content-type: application/json' -H 'idempotency-key: first' \
    -d '{{"model": "openai/gpt-5.1", "usage": {{"input_tokens": 1200, "output_tokens": 350}}}}'
  cargo local journal --account acme{port}                    every movement, hashes verified

The README's tour goes on from here. cargo local --help lists the commands; Ctrl-C ends the stack."#
    )
}
