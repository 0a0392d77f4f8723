//! Bytes as the parts of a ratio table: an error, or a table that is the same again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use uc_domain::ratios::RatioTable;

fuzz_target!(init: uc_fuzz::write_seeds(seeds()), |bytes: &[u8]| uc_ratios::fuzzing::read(bytes));

fn seeds() -> Vec<Vec<u8>> {
    let example = uc_fuzz::read("events/ratios.example.json");
    let example = serde_json::from_str(&example).expect("JSON");
    let table = RatioTable::from_json(&example).expect("the example is valid");
    uc_ratios::fuzzing::seeds(&table)
}
