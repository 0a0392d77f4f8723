//! The local stack: every function behind a local gateway, an embedded `DynamoDB`, SSM and SQS, in
//! one process. `cargo local` runs it; tests start it with the same code.

pub mod aws;
pub mod banner;
pub mod cli;
pub mod client;
pub mod clock;
pub mod commands;
pub mod dynamodb;
pub mod emulator;
mod files;
pub mod functions;
pub mod gateway;
pub mod journal;
pub mod queue;
pub mod run_file;
pub mod schedule;
pub mod schema;
pub mod seed;
mod server;
pub mod ssm;
pub mod stack;
pub mod webhook;
pub mod wiring;
