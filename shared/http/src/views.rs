//! How the ledger's things look in answers, the same from every function.

use std::collections::BTreeMap;

use axum::Json;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use uc_domain::account::{
    AccountState, Balance, Detail, Grant, Hold, Money, Operation, Origin, Posting, RatedItem,
    Rollover, Settings, Source, Status, Target,
};
use uc_domain::ratios::{Exact, Line, Matched};
use uc_domain::{Credits, Timestamp};
use uc_ledger::Happened;
use utoipa::ToSchema;

use crate::openapi;

/// An account's balance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Balance)]
pub struct BalanceView {
    /// Remaining of live grants minus debt; may be negative.
    #[schema(value_type = openapi::Decimal)]
    pub posted: Credits,
    /// Posted minus what is held.
    #[schema(value_type = openapi::Decimal)]
    pub available: Credits,
    /// What open holds reserve.
    #[schema(value_type = openapi::Decimal)]
    pub held: Credits,
    /// Overuse not yet paid back.
    #[schema(value_type = openapi::Decimal)]
    pub debt: Credits,
}

impl From<Balance> for BalanceView {
    fn from(balance: Balance) -> Self {
        let Balance { posted, available, held, debt } = balance;
        Self { posted, available, held, debt }
    }
}

/// An amount of money, as a label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Money)]
pub struct MoneyView {
    /// How much.
    #[schema(value_type = openapi::Decimal)]
    pub amount: Credits,
    /// ISO 4217.
    #[schema(example = "USD")]
    pub currency: String,
}

impl From<Money> for MoneyView {
    fn from(money: Money) -> Self {
        Self { amount: money.amount, currency: money.currency }
    }
}

/// The change that an operation made to one grant, or to the debt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Posting)]
pub struct PostingView {
    /// A grant's id, or `debt`.
    #[schema(example = "gr_1_0")]
    pub target: String,
    /// The change of the posted balance.
    #[schema(value_type = openapi::Decimal)]
    pub credits: Credits,
}

impl From<&Posting> for PostingView {
    fn from(posting: &Posting) -> Self {
        let target = match posting.target {
            Target::Grant(grant) => grant.to_string(),
            Target::Debt => "debt".to_owned(),
        };
        Self { target, credits: posting.credits }
    }
}

/// What an operation of kind `grant` brought, on which terms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = GrantTerms)]
pub struct GrantTermsView {
    /// The grant that holds the credits.
    pub id: String,
    /// Where they come from.
    #[schema(value_type = GrantSource)]
    pub source: Source,
    /// Lower is spent first.
    pub priority: u8,
    /// What came in, before debt was paid from it.
    #[schema(value_type = openapi::Decimal)]
    pub credits: Credits,
    /// From when on they count.
    #[schema(value_type = openapi::Instant)]
    pub effective_at: Timestamp,
    /// From when on they are gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<openapi::Instant>)]
    pub expires_at: Option<Timestamp>,
    /// What was paid for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paid: Option<MoneyView>,
    /// What becomes of them when they end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollover: Option<RolloverView>,
}

/// What rolls over when a grant ends: `min(max, max(min, what is left))`, as a grant of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Rollover)]
pub struct RolloverView {
    /// So much at least.
    #[schema(value_type = openapi::Decimal)]
    pub min: Credits,
    /// At most so much.
    #[schema(value_type = openapi::Decimal)]
    pub max: Credits,
    /// When what rolled over ends.
    #[schema(value_type = openapi::Instant)]
    pub expires_at: Timestamp,
}

impl From<Rollover> for RolloverView {
    fn from(rollover: Rollover) -> Self {
        let Rollover { min, max, expires_at } = rollover;
        Self { min, max, expires_at }
    }
}

/// An open hold, or one that just ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Hold)]
pub struct HoldView {
    /// Its id.
    #[schema(example = "hold_2_0")]
    pub id: String,
    /// What it reserves; zero once it ended.
    #[schema(value_type = openapi::Decimal)]
    pub credits: Credits,
    /// From when on it reserves nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<openapi::Instant>)]
    pub expires_at: Option<Timestamp>,
    /// `open`, `captured`, `voided` or `expired`.
    #[schema(example = "open")]
    pub status: &'static str,
    /// The ratio table's version whose prices hold until it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio_version: Option<u64>,
}

impl HoldView {
    /// All open holds of an account, the oldest first.
    pub fn all(state: &AccountState) -> Vec<Self> {
        state.holds().iter().map(Self::open).collect()
    }

    /// An open hold.
    pub fn open(hold: &Hold) -> Self {
        Self {
            id: hold.id.to_string(),
            credits: hold.credits(),
            expires_at: Some(hold.expires_at),
            status: "open",
            ratio_version: hold.ratio_version,
        }
    }

    /// One that reserves nothing any more.
    pub fn ended(id: uc_domain::account::HoldId, status: &'static str) -> Self {
        let credits = Credits::ZERO;
        Self { id: id.to_string(), credits, expires_at: None, status, ratio_version: None }
    }
}

/// Where credits come from. For `#[schema(value_type = ...)]`.
#[derive(Debug, Clone, Copy, ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum GrantSource {
    /// Bought.
    Paid,
    /// A plan's, for one period.
    Plan,
    /// Given away.
    Promo,
    /// Given for trying.
    Trial,
    /// Left over from a period.
    Rollover,
    /// Given back for a charge.
    Refund,
    /// Brought along from another system.
    Migration,
}

/// What one dimension of a request cost. For `#[schema(value_type = ...)]`.
#[derive(Debug, Clone, ToSchema)]
#[schema(as = Line)]
pub struct LineSchema {
    /// The model in the ratio table.
    pub model: String,
    /// What was counted.
    pub dimension: String,
    /// How much of it.
    #[schema(value_type = openapi::Quantity)]
    pub quantity: String,
    /// What of the quantity was used of other dimensions: the table says that they are parts of
    /// this one, and the model doesn't price them apart.
    #[schema(value_type = Option<BTreeMap<String, openapi::Quantity>>)]
    pub parts: Option<BTreeMap<String, String>>,
    /// The ratio that priced it.
    #[schema(inline)]
    pub rate: RateSchema,
    /// The price group's multiplier.
    #[schema(value_type = openapi::Decimal)]
    pub multiplier: String,
    /// `quantity * credits / per * multiplier`, exactly.
    #[schema(value_type = openapi::Decimal)]
    pub credits: String,
}

/// The row of the ratio table that priced a line.
#[derive(Debug, Clone, ToSchema)]
pub struct RateSchema {
    /// Credits for `per` units.
    #[schema(value_type = openapi::Decimal)]
    pub credits: String,
    /// A power of ten.
    pub per: u64,
    /// The conditions of the row.
    pub when: Option<BTreeMap<String, serde_json::Value>>,
}

/// How an account is treated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Settings)]
pub struct SettingsView {
    /// What happens to a charge that is larger than what is there.
    #[schema(value_type = OveruseSchema)]
    pub overuse: uc_domain::account::Overuse,
    /// How far below zero refused charges may go, and how far new work stays allowed.
    #[schema(value_type = openapi::Decimal)]
    pub credit_line: Credits,
    /// The group of the ratio table that prices the account's usage.
    pub price_group: String,
    /// Whether account tokens see the metadata of operations.
    pub metadata_visible: bool,
    /// Whether it may begin new work.
    #[schema(value_type = StatusSchema)]
    pub status: Status,
}

/// Whether an account may begin new work. For `#[schema(value_type = ...)]`.
#[derive(Debug, Clone, Copy, ToSchema)]
#[schema(as = AccountStatus, rename_all = "snake_case")]
pub enum StatusSchema {
    /// It may.
    Active,
    /// Holds and charges are refused; holds that are open are still captured.
    Suspended,
    /// As suspended, and it gets no grants by hand. Payments still count.
    Closed,
}

/// What happens to a charge that is larger than what is there.
#[derive(Debug, Clone, Copy, ToSchema)]
#[schema(as = Overuse, rename_all = "snake_case")]
pub enum OveruseSchema {
    /// The rest becomes debt.
    Record,
    /// The charge is refused.
    Refuse,
    /// The rest is forgiven.
    Forgive,
}

impl From<&Settings> for SettingsView {
    fn from(settings: &Settings) -> Self {
        Self {
            overuse: settings.overuse,
            credit_line: settings.credit_line,
            price_group: settings.price_group.clone(),
            metadata_visible: settings.metadata_visible,
            status: settings.status,
        }
    }
}

/// Which rule of the ratio table led from a name to a model.
#[derive(ToSchema)]
#[schema(as = Matched)]
#[expect(dead_code, reason = "describes the domain's type in the OpenAPI document")]
pub struct MatchedSchema {
    /// The name, as the request or the provider's response gave it.
    name: String,
    /// The alias that it is.
    alias: Option<String>,
    /// The beginning that a `match` rule of the model asks for.
    starts_with: Option<String>,
}

/// What one item of a charge cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ChargedItem {
    /// Its lines' sum, rounded, or the model's minimum.
    #[schema(value_type = openapi::Decimal)]
    pub credits: Credits,
    /// Whether it is the minimum.
    pub minimum_applied: bool,
    /// How many requests it was, each priced by its own prompt and parameters, where these were several.
    #[serde(skip_serializing_if = "is_one")]
    #[schema(value_type = Option<u32>)]
    pub requests: u32,
    /// The version that priced what the operation's `ratio_version` has no price for, where that was so:
    /// usage that was kept until it had one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filled_by: Option<u64>,
    /// How many of the operation's lines are its own.
    pub lines: usize,
    /// By what the name in the request, or in the provider's response, led to the model, where
    /// that was not the model's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<MatchedSchema>)]
    pub matched: Option<Matched>,
    /// Whose response it was read from, where that named the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "openai")]
    pub provider: Option<String>,
}

impl From<&RatedItem> for ChargedItem {
    fn from(item: &RatedItem) -> Self {
        let RatedItem { credits, minimum_applied, requests, filled_by, .. } = *item;
        let (lines, matched) = (item.lines.len(), item.matched.clone());
        let provider = item.provider.clone();
        Self { credits, minimum_applied, requests, filled_by, lines, matched, provider }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_one(number: &u32) -> bool {
    *number == 1
}

/// One movement of an account.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = Operation)]
pub struct OperationView {
    /// Its id, `op_<seq>_<position>`.
    #[schema(example = "op_3_0")]
    pub id: String,
    /// What it is.
    #[schema(example = "charge")]
    pub kind: &'static str,
    /// The change of the posted balance; a charge is negative.
    #[schema(value_type = openapi::Decimal)]
    pub credits: Credits,
    /// When it took effect.
    #[schema(value_type = openapi::Instant)]
    pub at: Timestamp,
    /// When the usage happened, where that was said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<openapi::Instant>)]
    pub occurred_at: Option<Timestamp>,
    /// The balance right after it.
    pub balance_after: BalanceView,
    /// The ratio table's version that priced it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio_version: Option<u64>,
    /// What each item cost, where there are several, or where one was several requests, had prices of
    /// two versions, or named its model by another name than its id.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<ChargedItem>,
    /// What each dimension cost, before rounding; in the items' order.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<LineSchema>>)]
    pub lines: Option<Vec<Line>>,
    /// The exact sum of the lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<openapi::Decimal>)]
    pub subtotal: Option<Exact>,
    /// Whether a model's minimum counted instead of the sum of its lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum_applied: Option<bool>,
    /// What was asked but not taken: above `max_credits`, or overuse that is forgiven.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<openapi::Decimal>)]
    pub forgiven: Option<Credits>,
    /// What a grant brought.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantTermsView>,
    /// The grant that became effective, expired or was voided, or where credits were given back to
    /// that had no grant to go back to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant_id: Option<String>,
    /// The hold that it opened, changed or ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_id: Option<String>,
    /// The change of what open holds reserve.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<openapi::Decimal>)]
    pub held: Option<Credits>,
    /// When the hold expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<openapi::Instant>)]
    pub expires_at: Option<Timestamp>,
    /// What was asked for, where a hold reserves less.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<openapi::Decimal>)]
    pub requested: Option<Credits>,
    /// Whether the hold had expired before the capture.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub late: bool,
    /// Whether the hold ended with the capture.
    #[serde(rename = "final", skip_serializing_if = "Option::is_none")]
    pub last: Option<bool>,
    /// The charge that was given back.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "op_3_0")]
    pub charge: Option<String>,
    /// What of the charge was given back so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<openapi::Decimal>)]
    pub refunded: Option<Credits>,
    /// What of a clawback, or of its reversal, a void of the payment's grant had forfeited: it is
    /// part of what was claimed, or given back, and moved no credits.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<openapi::Decimal>)]
    pub forfeited: Option<Credits>,
    /// The settings from then on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settings: Option<SettingsView>,
    /// The caller's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// The subscription whose period it grants.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription: Option<String>,
    /// The payment that brought it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payment: Option<String>,
    /// Who in the account caused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// What was said about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The caller's labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// Which grants it changed, and the debt.
    pub postings: Vec<PostingView>,
}

impl OperationView {
    /// As a reader sees it; `with_metadata` where that reader may see metadata.
    pub fn new(happened: Happened, with_metadata: bool) -> Self {
        let Happened { operation, balance_after, private } = happened;
        let credits = operation.credits();
        let postings = operation.postings.iter().map(PostingView::from).collect();
        let held = Some(operation.held_change()).filter(|change| !change.is_zero());
        let Operation { id, origin, at, detail, .. } = operation;
        let mut view = Self {
            id: id.to_string(),
            kind: detail.kind(),
            credits,
            at,
            occurred_at: None,
            balance_after: balance_after.into(),
            ratio_version: None,
            items: Vec::new(),
            lines: None,
            subtotal: None,
            minimum_applied: None,
            forgiven: None,
            grant: None,
            grant_id: None,
            hold_id: None,
            held,
            expires_at: None,
            requested: None,
            late: false,
            last: None,
            charge: None,
            refunded: None,
            forfeited: None,
            settings: None,
            idempotency_key: None,
            subscription: None,
            payment: None,
            actor: private.actor,
            description: private.description,
            metadata: if with_metadata { private.metadata } else { BTreeMap::new() },
            postings,
        };
        match origin {
            Origin::Client { key } => view.idempotency_key = Some(key),
            Origin::Subscription { id, .. } => view.subscription = Some(id),
            Origin::Payment { payment, .. } | Origin::PaymentChange { payment, .. } => {
                view.payment = Some(payment);
            }
            Origin::System => {}
        }
        view.describe(detail);
        view
    }

    fn describe(&mut self, detail: Detail) {
        match detail {
            Detail::Grant {
                grant,
                source,
                priority,
                amount,
                effective_at,
                expires_at,
                paid,
                rollover,
            } => {
                self.grant = Some(GrantTermsView {
                    id: grant.to_string(),
                    source,
                    priority,
                    credits: amount,
                    effective_at,
                    expires_at,
                    paid: paid.map(MoneyView::from),
                    rollover: rollover.map(RolloverView::from),
                });
            }
            Detail::Activation { grant }
            | Detail::Expiry { grant }
            | Detail::GrantVoid { grant, .. } => self.grant_id = Some(grant.to_string()),
            Detail::Charge { requested, items, ratio_version, occurred_at } => {
                self.describe_usage(requested, items, ratio_version, occurred_at);
            }
            Detail::Capture {
                hold,
                requested,
                items,
                ratio_version,
                occurred_at,
                late,
                last,
                ..
            } => {
                self.describe_usage(requested, items, ratio_version, occurred_at);
                self.hold_id = Some(hold.to_string());
                self.late = late;
                self.last = Some(last);
            }
            Detail::Hold { requested, credits, expires_at, ratio_version } => {
                self.requested = Some(requested).filter(|requested| *requested != credits);
                self.expires_at = Some(expires_at);
                self.ratio_version = ratio_version;
                self.hold_id = Some(self.id.replacen("op_", "hold_", 1));
            }
            Detail::HoldExtension { hold, expires_at } => {
                self.hold_id = Some(hold.to_string());
                self.expires_at = Some(expires_at);
            }
            Detail::Release { hold, .. } => self.hold_id = Some(hold.to_string()),
            Detail::Refund { charge, refunded, grant, .. } => {
                self.charge = Some(charge.to_string());
                self.refunded = Some(refunded);
                self.grant_id = grant.map(|grant| grant.to_string());
            }
            Detail::Clawback { forfeited, .. } => {
                self.forfeited = Some(forfeited).filter(|forfeited| !forfeited.is_zero());
            }
            Detail::WriteOff => {}
            Detail::ClawbackReversal { grant, forfeited, .. } => {
                self.forfeited = Some(forfeited).filter(|forfeited| !forfeited.is_zero());
                self.grant_id = grant.map(|grant| grant.to_string());
            }
            Detail::Settings(settings) => self.settings = Some(SettingsView::from(&settings)),
        }
    }
}

impl OperationView {
    fn describe_usage(
        &mut self,
        requested: Credits,
        items: Vec<RatedItem>,
        ratio_version: Option<u64>,
        occurred_at: Option<Timestamp>,
    ) {
        self.occurred_at = occurred_at;
        self.ratio_version = ratio_version;
        self.forgiven = requested.checked_add(self.credits).filter(|c| c.is_positive());
        let is_told = |item: &RatedItem| {
            item.matched.is_some()
                || item.requests > 1
                || item.filled_by.is_some()
                || item.provider.is_some()
        };
        if items.len() > 1 || items.iter().any(is_told) {
            self.items = items.iter().map(ChargedItem::from).collect();
        }
        if !items.is_empty() {
            self.minimum_applied = Some(items.iter().any(|item| item.minimum_applied));
            let lines: Vec<Line> = items.into_iter().flat_map(|item| item.lines).collect();
            let sum: i128 = lines.iter().map(|line| line.credits().scaled()).sum();
            self.subtotal = Exact::from_scaled(sum);
            self.lines = Some(lines);
        }
    }
}

/// One grant of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Grant)]
pub struct GrantView {
    /// Its id.
    #[schema(example = "gr_1_0")]
    pub id: String,
    /// Where it comes from.
    #[schema(value_type = GrantSource)]
    pub source: Source,
    /// Lower is spent first.
    pub priority: u8,
    /// What is left of it.
    #[schema(value_type = openapi::Decimal)]
    pub remaining: Credits,
    /// What of that open holds reserve.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<openapi::Decimal>)]
    pub reserved: Option<Credits>,
    /// Whether it is still to come, and no part of the balance.
    pub pending: bool,
    /// From when on it counts.
    #[schema(value_type = openapi::Instant)]
    pub effective_at: Timestamp,
    /// From when on it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<openapi::Instant>)]
    pub expires_at: Option<Timestamp>,
    /// What becomes of it when it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollover: Option<RolloverView>,
}

impl GrantView {
    /// All grants of an account, in the order in which they are spent.
    pub fn all(state: &AccountState) -> Vec<Self> {
        state.grants().iter().map(|grant| Self::new(state, grant)).collect()
    }

    fn new(state: &AccountState, grant: &Grant) -> Self {
        Self {
            id: grant.id.to_string(),
            source: grant.source,
            priority: grant.priority,
            remaining: grant.remaining,
            reserved: Some(grant.reserved).filter(|reserved| reserved.is_positive()),
            pending: state.is_pending(grant),
            effective_at: grant.effective_at,
            expires_at: grant.expires_at,
            rollover: grant.rollover.map(RolloverView::from),
        }
    }
}

/// What an operation that moved credits is answered with.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Moved {
    /// The operation.
    pub operation: OperationView,
    /// The balance after it.
    pub balance: BalanceView,
    /// Whether new work should start.
    pub allowed: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "debt")]
    pub reason: Option<&'static str>,
    /// The hold that a capture is of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<HoldView>,
}

impl From<uc_ledger::Outcome> for Moved {
    fn from(outcome: uc_ledger::Outcome) -> Self {
        let allowed = outcome.state.allowed().reason();
        let hold = match outcome.happened.operation.detail {
            Detail::Capture { hold, last: false, late: false, .. } => {
                outcome.state.hold(hold).map(HoldView::open)
            }
            Detail::Capture { hold, last, .. } => {
                Some(HoldView::ended(hold, if last { "captured" } else { "expired" }))
            }
            _ => None,
        };
        Self {
            hold,
            balance: outcome.state.balance().into(),
            operation: OperationView::new(outcome.happened, true),
            allowed: allowed.is_none(),
            reason: allowed,
        }
    }
}

/// 201 for an operation that moved credits; a replay says so in a header.
pub fn moved(outcome: uc_ledger::Outcome) -> Response {
    let replayed = outcome.replayed;
    created(replayed, Moved::from(outcome))
}

/// 201 with `body`; a replay says so in a header.
pub fn created(replayed: bool, body: impl Serialize) -> Response {
    let mut response = (StatusCode::CREATED, Json(body)).into_response();
    if replayed {
        response.headers_mut().insert("idempotent-replayed", HeaderValue::from_static("true"));
    }
    response
}
