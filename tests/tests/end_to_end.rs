//! The product over HTTP, on a whole stack.
//!
//! Plain `cargo test` starts the embedded stack, one for all tests of this binary. With
//! `UC_E2E_URL` they run against the stack at that address instead, whose keys its run file
//! holds: `infra/emulators/run` sets it, for the functions under `cargo lambda watch` on
//! DynamoDB Local. Every test has accounts of its own, so that all run at once and again and
//! again; those that move the clock or take a service away start a stack for themselves.

#[path = "end_to_end/access.rs"]
mod access;
#[path = "end_to_end/audits.rs"]
mod audits;
#[path = "end_to_end/bad_input.rs"]
mod bad_input;
#[path = "end_to_end/batches.rs"]
mod batches;
#[path = "end_to_end/browser.rs"]
mod browser;
#[path = "end_to_end/calculations.rs"]
mod calculations;
#[path = "end_to_end/drafts.rs"]
mod drafts;
#[path = "end_to_end/estimates.rs"]
mod estimates;
#[path = "end_to_end/events.rs"]
mod events;
#[path = "end_to_end/exports.rs"]
mod exports;
#[path = "end_to_end/faults.rs"]
mod faults;
#[path = "end_to_end/histories.rs"]
mod histories;
#[path = "end_to_end/holds.rs"]
mod holds;
#[path = "end_to_end/idempotency.rs"]
mod idempotency;
#[path = "end_to_end/outage.rs"]
mod outage;
#[path = "end_to_end/pages.rs"]
mod pages;
#[path = "end_to_end/ratios.rs"]
mod ratios;
#[path = "end_to_end/scenario.rs"]
mod scenario;
#[path = "end_to_end/stack.rs"]
mod stack;
#[path = "end_to_end/streaming.rs"]
mod streaming;
#[path = "end_to_end/time.rs"]
mod time;
