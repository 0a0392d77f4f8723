//! The account state machine.
//!
//! An account is an [`AccountState`]; a [`Command`] asks for one change; a [`Draft`] settles what
//! time has brought, applies commands one after the other and yields the next [`AccountState`] with
//! the [`Operation`]s that led to it. All of it is total and deterministic; a [`Rejection`] leaves
//! the draft as it was.
//!
//! A further kind of operation is a variant of [`Command`] with the evidence it
//! needs, a variant of [`Detail`], and one method of [`Draft`].

mod command;
mod draft;
mod grant;
mod hold;
mod operation;
mod settings;
mod state;
#[cfg(test)]
mod tests;

pub use command::{
    Capture, Charge, Command, GrantRequest, HoldRequest, PaymentChange, RefundRequest, Rejection,
};
pub use draft::{Applied, Draft, apply};
pub use grant::{Grant, GrantId, GrantTerms, Rollover, Source, VoidedGrant};
pub use hold::{ExpiredHold, Hold, HoldId, Reservation};
pub use operation::{
    Detail, Money, Operation, OperationId, Origin, Posting, RatedItem, ReleaseCause, Target,
};
pub use settings::{Overuse, Settings, Status};
pub use state::{AccountState, Allowed, Balance};

/// Grants an account holds at most, pending ones included.
pub const MAX_GRANTS: usize = 64;
/// Grants other than paid and refund ones an account holds at most. The difference to
/// [`MAX_GRANTS`] leaves room for bought credits, which are never refused: see
/// [`Command::Grant`].
pub const MAX_OTHER_GRANTS: usize = 60;
/// Grants at most that have ended and live on because holds reserve from them. They count
/// neither to [`MAX_GRANTS`] nor to [`MAX_OTHER_GRANTS`]. Half as many, and no hold is opened:
/// those that there are can add one for each of the other grants.
pub const MAX_LINGERING: usize = 128;
/// Grants with a [`Rollover`] an account holds at most, so that however much time has brought,
/// an entry has room for it.
pub const MAX_ROLLOVERS: usize = 16;
/// Open holds of an account at most, and expired ones at most that may still be captured.
pub const MAX_HOLDS: usize = 64;
/// Grants of bought credits that can be voided on one account at most: a clawback may ask for each.
pub const MAX_VOIDED: usize = 64;
/// Milliseconds that a hold is opened, or extended, for at most: 24 hours.
pub const MAX_HOLD_MILLIS: i64 = 86_400_000;
/// Milliseconds between a hold's opening and its end at most: 7 days.
pub const MAX_HOLD_LIFE_MILLIS: i64 = 7 * 86_400_000;
/// Milliseconds after its expiry in which a hold may still be captured: 7 days, as old as usage
/// may be.
pub const LATE_CAPTURE_MILLIS: i64 = 7 * 86_400_000;
/// Milliseconds that a refund's credits live which have no grant to go back to: 30 days.
pub const REFUND_MILLIS: i64 = 30 * 86_400_000;
/// Commands that one journal entry carries at most.
pub const MAX_COMMANDS: usize = 96;
/// Operations that one journal entry has at most, those that time brought included: as many as
/// [`OperationId`] has positions. One command always fits, however much is to be settled before.
pub const MAX_OPERATIONS: usize = 256;
/// Lines that one charge carries at most.
pub const MAX_LINES: usize = 32;
