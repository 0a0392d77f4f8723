//! Bytes as journal entries: an error, or an entry that everything works with.

#![no_main]

use std::io::Write as _;

use flate2::Compression;
use flate2::write::DeflateEncoder;
use libfuzzer_sys::fuzz_target;
use uc_domain::account::{Charge, Command, Draft, GrantRequest, Origin, Source};
use uc_domain::journal::{Entry, EntryError};
use uc_domain::{Credits, Timestamp};

fuzz_target!(init: uc_fuzz::write_seeds(goldens()), |bytes: &[u8]| {
    let decoded = Entry::decode(bytes);
    if let [1, cbor @ ..] = bytes {
        // Deflating hides nothing: it is the same entry, or none either.
        let mut deflater = DeflateEncoder::new(vec![2], Compression::fast());
        deflater.write_all(cbor).expect("memory");
        let deflated = Entry::decode(&deflater.finish().expect("memory"));
        match (&decoded, &deflated) {
            (Err(EntryError::Malformed(_)), Err(EntryError::Malformed(_))) => {}
            _ => assert_eq!(decoded, deflated),
        }
    }
    if let Ok(entry) = decoded {
        check(&entry);
    }
});

fn check(entry: &Entry) {
    assert_eq!(Entry::decode(&entry.encode()).as_ref(), Ok(entry));
    assert_eq!(entry.balances().last(), Some(&entry.state.balance()));
    let settled_at = entry.state.settled_at();
    for at in [settled_at, settled_at.saturating_add_millis(40 * 86_400_000), Timestamp::MAX] {
        let _ = entry.state.settled(at).allowed();
        let mut draft = Draft::open(&entry.state, at);
        for command in [grant(), charge()] {
            let _ = draft.apply(Origin::System, &command);
        }
        if draft.is_empty() {
            continue;
        }
        let applied = draft.finish();
        let next = Entry {
            time: applied.state.settled_at(),
            operations: applied.operations,
            state: applied.state,
            private_digest: None,
        };
        assert_eq!(Entry::decode(&next.encode()), Ok(next));
    }
}

fn grant() -> Command {
    Command::Grant(GrantRequest {
        amount: Credits::from_whole(7),
        source: Source::Paid,
        priority: None,
        effective_at: None,
        expires_at: None,
        paid: None,
        rollover: None,
    })
}

fn charge() -> Command {
    Command::Charge(Charge::fixed(Credits::from_whole(9)))
}

/// The bytes that the journal's tests keep for good.
fn goldens() -> Vec<Vec<u8>> {
    let tests = uc_fuzz::read("shared/domain/src/journal/tests.rs");
    let texts = tests.split("const GOLDEN").skip(1).filter_map(|rest| rest.split('"').nth(1));
    let seeds = texts.map(|hex| {
        let digits: String = hex.split_whitespace().collect();
        let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal digits");
        (0..digits.len() / 2).map(|index| byte(2 * index)).collect()
    });
    let seeds: Vec<Vec<u8>> = seeds.collect();
    assert!(seeds.len() >= 3, "the goldens have moved");
    // What was deflated is as good a beginning when it is not.
    let plain = seeds.iter().filter(|seed| seed[0] == 2).map(|seed| {
        let mut plain = vec![1];
        let mut inflater = flate2::write::DeflateDecoder::new(&mut plain);
        inflater.write_all(&seed[1..]).and_then(|()| inflater.try_finish()).expect("a golden");
        drop(inflater);
        plain
    });
    let plain: Vec<_> = plain.collect();
    for seed in seeds.iter().chain(&plain) {
        check(&Entry::decode(seed).expect("a golden"));
    }
    [seeds, plain].concat()
}
