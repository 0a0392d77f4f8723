//! The ledger under a seeded schedule of everything that goes wrong: see `uc_tests::simulation`.

use uc_tests::simulation::{self, Event, Fault};

/// Seeds of a plain run; `UC_SEEDS=10000 cargo test` for more.
const SEEDS: u64 = 1_000;

#[test]
fn whatever_goes_wrong_everything_happens_once() {
    let seeds = std::env::var("UC_SEEDS").map_or(SEEDS, |text| text.parse().expect("a number"));
    let report = simulation::run_many(0, seeds, None, false);
    print!("{}{}", report.tally, report.tally.evidence());
    if let Some(broken) = report.broken.first() {
        println!("{}", simulation::trace(broken.seed).0.join("\n"));
        panic!("seed {}: {}", broken.seed, broken.what);
    }
    // A simulation in which nothing goes wrong proves nothing.
    for fault in Fault::ALL {
        assert!(report.tally.faults(*fault) > 0, "never: {}", fault.name());
    }
    for event in Event::ALL {
        assert!(report.tally.events(*event) > 0, "never: {}", event.name());
    }
}

#[test]
fn a_seed_is_a_run_to_the_last_message() {
    for seed in 0..20 {
        let runs = [(); 2].map(|()| simulation::trace(seed));
        assert!(runs[0].0.len() > 20, "seed {seed}");
        assert_eq!(runs[0], runs[1], "seed {seed}");
    }
}
