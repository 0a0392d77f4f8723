//! The account state machine.
//!
//! An account is an [`AccountState`]; a [`Command`] asks for one change; a [`Draft`] settles what
//! time has brought, applies commands one after the other and yields the next [`AccountState`] with
//! the [`Operation`]s that led to it. All of it is total and deterministic; a [`Rejection`] leaves
//! the draft as it was.
//!
//! A further kind of operation (a hold, a refund) is a variant of [`Command`] with the evidence it
//! needs, a variant of [`Detail`], and one method of [`Draft`].

mod command;
mod draft;
mod grant;
mod operation;
mod settings;
mod state;
#[cfg(test)]
mod tests;

pub use command::{Charge, Command, GrantRequest, Rejection};
pub use draft::{Applied, Draft, apply};
pub use grant::{Grant, GrantId, Source};
pub use operation::{Detail, Money, Operation, OperationId, Origin, Posting, RatedItem, Target};
pub use settings::{Overuse, Settings};
pub use state::{AccountState, Allowed, Balance};

/// Grants an account holds at most, pending ones included.
pub const MAX_GRANTS: usize = 64;
/// Grants other than paid and refund ones an account holds at most. The difference to
/// [`MAX_GRANTS`] leaves room for bought credits, which are never refused: see
/// [`Command::Grant`].
pub const MAX_OTHER_GRANTS: usize = 60;
/// Commands that one journal entry carries at most.
pub const MAX_COMMANDS: usize = 96;
/// Operations that one journal entry has at most, those that time brought included: as many as
/// [`OperationId`] has positions. One command always fits, however much is to be settled before.
pub const MAX_OPERATIONS: usize = 256;
/// Lines that one charge carries at most.
pub const MAX_LINES: usize = 32;
