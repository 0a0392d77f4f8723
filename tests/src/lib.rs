//! What tests of several packages share: stands-in for the services, a clock to move.

pub mod client;
pub mod faulty_http;
pub mod linearizability;
mod manual_clock;
mod memory_parameters;
mod memory_store;
pub mod simulation;
mod table;

pub use manual_clock::ManualClock;
pub use memory_parameters::{Call, CallFault, MemoryParameters};
pub use memory_store::{MemoryStore, Operation, StoreFault};
pub use table::Table;
