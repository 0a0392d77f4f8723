//! The keys of every item in the table. `#` is in no id, so parts can be joined with it.

use ring::digest;
use uc_domain::account::{Detail, GrantId, HoldId, Operation, OperationId, Origin, ReleaseCause};
use uc_domain::{AccountId, Timestamp};

use crate::store::Key;
use crate::unrated::UnratedId;

/// Shards of the account directory.
pub const DIRECTORY_SHARDS: u8 = 8;
/// Shards of the due index and of each day's expiries.
pub const DUE_SHARDS: u8 = 8;
/// Shards of the usage that no ratio priced: at most 16, as their number is one digit.
pub const UNRATED_SHARDS: u8 = 8;
/// Digits of an entry's sequence number: with zeros in front, text compares like numbers.
const SEQ_DIGITS: usize = 12;
/// Digits of the number of a refund, or of a change of a payment.
const NUMBER_DIGITS: usize = 6;

/// The partition of an account's journal.
pub fn journal(account: &AccountId) -> String {
    format!("A#{account}")
}

/// The sort key of a journal entry.
pub fn seq(seq: u64) -> String {
    format!("E#{seq:0SEQ_DIGITS$}")
}

/// The lowest and the highest sort key an entry can have.
pub fn seq_range() -> (String, String) {
    (seq(0), "E#9".to_owned() + &"9".repeat(SEQ_DIGITS - 1))
}

/// The sequence number in an entry's sort key.
pub fn parse_seq(sk: &str) -> Option<u64> {
    sk.strip_prefix("E#")?.parse().ok()
}

/// The operation item of an origin; none for what the ledger does by itself.
pub fn operation(account: &AccountId, origin: &Origin) -> Option<Key> {
    let path = match origin {
        Origin::Client { key } => format!("c#{key}"),
        Origin::Subscription { id, period } => format!("sub:{id}#{period}"),
        Origin::Payment { provider, payment } => format!("pay:{provider}#{payment}"),
        Origin::PaymentChange { provider, mode, payment, number } => {
            format!("change:{provider}:{mode}:{payment}#{number}")
        }
        Origin::System => return None,
    };
    Some(Key::new(format!("O#{account}#{path}"), "O"))
}

/// The modes in which providers take payments. An origin does not tell it.
pub const PAYMENT_MODES: [&str; 2] = ["live", "test"];

/// The one item of a payment, whatever account it is said to be for.
pub fn payment(provider: &str, mode: &str, payment: &str) -> Key {
    Key::new(format!("P#{provider}#{mode}#{payment}"), "P")
}

/// What became of a payment later, the `number`th time from 1.
pub fn payment_change(provider: &str, mode: &str, payment: &str, number: u32) -> Key {
    Key::new(format!("P#{provider}#{mode}#{payment}"), format!("C#{number:0NUMBER_DIGITS$}"))
}

/// The mark that a hold was voided, so that later requests hear so.
pub fn voided_hold(account: &AccountId, hold: HoldId) -> Key {
    Key::new(format!("O#{account}#hold#{hold}"), "O")
}

/// The mark that a grant was voided.
pub fn voided_grant(account: &AccountId, grant: GrantId) -> Key {
    Key::new(format!("O#{account}#grant#{grant}"), "O")
}

/// The mark that must be there with an operation, if one must.
pub fn mark(account: &AccountId, operation: &Operation) -> Option<Key> {
    match operation.detail {
        Detail::Release { hold, cause: ReleaseCause::Voided, .. } => {
            Some(voided_hold(account, hold))
        }
        Detail::GrantVoid { grant, .. } => Some(voided_grant(account, grant)),
        _ => None,
    }
}

/// The partition of the refunds of a charge.
pub fn refunds(account: &AccountId, charge: OperationId) -> String {
    format!("F#{account}#{charge}")
}

/// The `number`th refund of a charge, from 1.
pub fn refund(account: &AccountId, charge: OperationId, number: u32) -> Key {
    Key::new(refunds(account, charge), format!("{number:0NUMBER_DIGITS$}"))
}

/// A partition of the account directory.
pub fn directory_shard(shard: u8) -> String {
    format!("D#{shard}")
}

/// The directory item of an account.
pub fn directory(account: &AccountId) -> Key {
    Key::new(directory_shard(shard(account, DIRECTORY_SHARDS)), account.as_str())
}

/// A partition of the accounts with a grant that ends within the UTC day of `expires_at`.
pub fn expiry_day(expires_at: Timestamp, shard: u8) -> String {
    format!("X#{}#{shard}", expires_at.to_utc().date())
}

/// The expiry item of an account for the UTC day in which a grant ends.
pub fn expiry(account: &AccountId, expires_at: Timestamp) -> Key {
    Key::new(expiry_day(expires_at, shard(account, DUE_SHARDS)), account.as_str())
}

/// A partition of the usage that no ratio priced.
pub fn unrated_shard(shard: u8) -> String {
    format!("U#{shard:x}")
}

/// The shard of an account's unrated usage.
pub fn unrated_shard_of(account: &AccountId) -> u8 {
    shard(account, UNRATED_SHARDS)
}

/// Usage that no ratio priced.
pub fn unrated(id: &UnratedId) -> Key {
    Key::new(unrated_shard(id.shard()), id.as_str())
}

/// What unrated usage has become.
pub fn rated(id: &UnratedId) -> Key {
    Key::new(format!("U#{id}"), "U")
}

/// The partition of an account's subscriptions.
pub fn subscriptions(account: &AccountId) -> String {
    format!("S#{account}")
}

/// A subscription.
pub fn subscription(account: &AccountId, id: &str) -> Key {
    Key::new(subscriptions(account), format!("S#{id}"))
}

/// A subscription's copy of its plan.
pub fn snapshot(account: &AccountId, id: &str) -> Key {
    Key::new(subscriptions(account), format!("P#{id}"))
}

/// The shard of the due index that an account's subscriptions are in.
pub fn due_shard(account: &AccountId) -> String {
    shard(account, DUE_SHARDS).to_string()
}

/// A time as the due index sorts it: milliseconds since 1970, 15 digits.
pub fn due_at(at: Timestamp) -> String {
    format!("{:015}", at.millis())
}

/// The partition of an account's checkpoints; its items are days.
pub fn checkpoints(account: &AccountId) -> String {
    format!("C#{account}")
}

/// The partition of the daily digests over the checkpoints of a shard of the directory. No
/// account's, whose ids have no `#`.
pub fn checkpoint_digests(shard: u8) -> String {
    format!("C#digest#{shard}")
}

/// How far the checkpoints of a shard of the directory are.
pub fn checkpoint_progress(shard: u8) -> Key {
    Key::new(format!("C#progress#{shard}"), "P")
}

/// The shard of the directory that an account is in.
pub fn directory_shard_of(account: &AccountId) -> u8 {
    shard(account, DIRECTORY_SHARDS)
}

/// The partition of all plans.
pub const PLANS: &str = "N#plans";
/// The partition of all API keys.
pub const API_KEYS: &str = "K#api";
/// The partition of the public keys that verify account tokens.
pub const TOKEN_KEYS: &str = "K#token";
/// The partition of the public keys that verify checkpoints.
pub const CHECKPOINT_KEYS: &str = "K#checkpoint";

/// A small fixed number from a hash of the account's id.
fn shard(account: &AccountId, shards: u8) -> u8 {
    digest::digest(&digest::SHA256, account.as_str().as_bytes()).as_ref()[0] % shards
}
