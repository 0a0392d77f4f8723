//! `examples/streaming`: a stream that breaks off is charged as far as it came.

use serde_json::{Value, json};
use streaming_example::{Credits, Error, Turn, answer, provider};

use super::scenario::assert_adds_up;
use super::stack::{balance, credits, journal, open, shared, unique};

const PROMPT: &str = "Explain tides to a child.";

/// Runs the example's turn, which blocks.
async fn turn(
    account: &str,
    name: &str,
    break_after: Option<usize>,
    lose: Option<&'static str>,
) -> Result<Turn, Error> {
    let (account, name) = (account.to_owned(), name.to_owned());
    let run = move || {
        let client = Credits::new(&shared().url, &shared().api_key);
        if let Some(path_end) = lose {
            client.lose_an_answer(path_end);
        }
        let provider = provider::start(break_after).unwrap();
        answer(&client, &provider, &account, &name, PROMPT)
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

fn kinds(operations: &[Value]) -> Vec<&str> {
    operations.iter().map(|operation| operation["kind"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn what_was_used_is_charged_and_the_rest_released() {
    let api = shared().api();
    let account = open(&api, "streams", "100").await;
    let name = unique("turn");

    let broken = turn(&account, &name, Some(12), Some("/capture")).await.unwrap();
    assert!(broken.broken.is_some());
    assert_eq!(broken.text.split_whitespace().count(), 12);
    assert!(broken.replayed, "the first answer got lost");
    let total = &broken.estimate["total"];
    assert_eq!(broken.held["hold"]["credits"], total["max"]);
    assert_eq!(broken.held["balance"]["held"], total["max"]);
    let lines = broken.captured["operation"]["lines"].as_array().unwrap();
    let quantities: Vec<_> = lines.iter().map(|line| &line["quantity"]).collect();
    let input = &broken.estimate["items"][0]["lines"][0]["quantity"];
    assert_eq!(quantities, [input, &json!(12)]);
    // 1562.5 and 12500 credits for a million.
    assert_eq!(lines[1]["credits"], "0.15");
    let taken = -credits(&broken.captured["operation"]["credits"]);
    let now = balance(&api, &account).await;
    assert_eq!(credits(&now["posted"]), credits(&json!("100")).checked_sub(taken).unwrap());
    assert_eq!((&now["held"], &now["available"]), (&json!("0"), &now["posted"]));
    let all = journal(&api, &account).await;
    assert_eq!(kinds(&all), ["grant", "hold", "capture", "hold_release"]);

    // Whoever begins it again gets nothing for nothing: another try is another turn.
    let again = turn(&account, &name, None, None).await;
    assert!(matches!(again, Err(Error::Begun(_))), "{again:?}");

    // To the end: the provider's own count.
    let name = unique("turn");
    let whole = turn(&account, &name, None, Some("/holds")).await.unwrap();
    assert_eq!(whole.broken, None);
    let usage = &whole.used["provider_response"]["usage"];
    assert_eq!(usage["completion_tokens"], whole.text.split_whitespace().count());
    let lines = whole.captured["operation"]["lines"].as_array().unwrap();
    let quantities: Vec<_> = lines.iter().map(|line| &line["quantity"]).collect();
    assert_eq!(quantities, [&usage["prompt_tokens"], &usage["completion_tokens"]]);
    assert_eq!(balance(&api, &account).await["held"], "0");
    let all = journal(&api, &account).await;
    assert_eq!(kinds(&all)[4..], ["hold", "capture", "hold_release"]);

    // A hold that is refused: nothing is asked of the provider, nothing changes.
    let poor = open(&api, "poor", "1").await;
    match turn(&poor, &unique("turn"), None, None).await {
        Err(Error::Refused { status: 402, code, .. }) => assert_eq!(code, "insufficient_credits"),
        other => panic!("{other:?}"),
    }
    // A provider that does not begin: nothing is charged.
    let (client, gone) = (Credits::new(&shared().url, &shared().api_key), account.clone());
    let run = move || answer(&client, "http://127.0.0.1:1", &gone, &unique("turn"), PROMPT);
    let result = tokio::task::spawn_blocking(run).await.unwrap();
    assert!(matches!(result, Err(Error::Provider(_))), "{result:?}");
    let all = journal(&api, &account).await;
    assert_eq!(kinds(&all)[7..], ["hold", "hold_void"]);
    assert_adds_up(&all, &balance(&api, &account).await);
    assert_adds_up(&journal(&api, &poor).await, &balance(&api, &poor).await);
}
