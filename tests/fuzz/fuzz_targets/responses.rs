//! JSON as the response of every provider: an error, or quantities that are the same again.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use uc_domain::providers::{canonical_name, usage_from_response};

/// All providers' names, as the error that names them has them.
static PROVIDERS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let error = usage_from_response("", &Value::Null).expect_err("no provider").to_string();
    let names = error.strip_prefix("unknown provider; known are ").expect("the error's text");
    names.split(", ").map(str::to_owned).collect()
});

fuzz_target!(init: uc_fuzz::write_seeds(seeds()), |bytes: &[u8]| {
    let Ok(response) = serde_json::from_slice::<Value>(bytes) else { return };
    for provider in &*PROVIDERS {
        assert_eq!(canonical_name(provider), Some(provider.as_str()));
        let read = usage_from_response(provider, &response);
        if let Ok(read) = &read {
            assert!(read.usage.values().all(|quantity| !quantity.is_zero()), "{read:?}");
        }
        assert_eq!(read, usage_from_response(provider, &response));
    }
});

fn seeds() -> Vec<Vec<u8>> {
    let files = uc_fuzz::read_all("events/responses");
    let bodies = files.into_iter().map(|file| {
        let file: Value = serde_json::from_str(&file).expect("JSON");
        file.get("provider_response").unwrap_or(&file).to_string().into_bytes()
    });
    bodies.collect()
}
