//! Texts as cursors: `list`, a line break, and what was sent as a cursor of it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use uc_http::{decode_cursor, encode_cursor};

fuzz_target!(init: uc_fuzz::write_seeds(seeds()), |bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (list, cursor) = text.split_once('\n').unwrap_or((text, ""));
    if let Ok(position) = decode_cursor(list, cursor) {
        assert_eq!(encode_cursor(list, &position), cursor, "a position has one cursor");
    }
    // Whatever is a position comes back.
    if cursor.len() <= 512 {
        let ours = encode_cursor(list, cursor.as_bytes());
        assert_eq!(decode_cursor(list, &ours).expect("ours"), cursor.as_bytes());
    }
});

fn seeds() -> Vec<Vec<u8>> {
    let lists = ["", "accounts", "transactions acme kind=charge"];
    let seed = |list: &str| {
        let positions: [&[u8]; 3] = [b"", b"acme", &[0; 32]];
        positions.map(|position| format!("{list}\n{}", encode_cursor(list, position)).into_bytes())
    };
    lists.into_iter().flat_map(seed).collect()
}
