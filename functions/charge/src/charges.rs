//! `POST /v1/accounts/{account}/charges`, and what a charge is wherever it comes from.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::response::Response;
use futures_util::future::join_all;
use serde::Deserialize;
use serde_json::Value;
use uc_domain::account::{AccountState, Capture, Charge, Command, HoldId, RatedItem};
use uc_domain::ratios::{Multiplier, PricedBy};
use uc_domain::{AccountId, Credits, Quantity, Timestamp};
use uc_http::items::{self, Item, UsageOf};
use uc_http::scope::Charge as ChargeScope;
use uc_http::views::{self, Moved};
use uc_http::{
    AccountAccess, Code, IdempotencyKey, Metric, Problem, RequestLog, StrictJson, fingerprint,
    labels, openapi, problems, refusals, tables,
};
use uc_ledger::{Ask, Asked, Batched, LedgerError, Outcome, Parking, Private, Unrated};
use uc_ratios::Versioned;
use utoipa::ToSchema;

use crate::Deps;
use crate::unrated::{Parked, UnratedView};

/// Items of one charge at most.
const MAX_ITEMS: usize = 20;
/// Usage may have happened so long ago, and so far ahead by a caller's clock.
const OLDEST_MILLIS: i64 = 7 * 86_400_000;
const AHEAD_MILLIS: i64 = 60_000;
/// What `Retry-After` says where two looks at the store contradict each other, in seconds.
const RETRY_SECONDS: u32 = 1;

/// A charge: by items of usage (`items`, or the fields of one item), or by fixed `credits`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChargeRequest {
    /// 1 to 20 items; each is rounded and has its minimum on its own.
    items: Option<Vec<Item>>,
    /// See `Item`.
    model: Option<String>,
    /// See `Item`.
    #[schema(value_type = Option<BTreeMap<String, openapi::Quantity>>)]
    usage: Option<BTreeMap<String, Quantity>>,
    /// See `Item`.
    parameters: Option<BTreeMap<String, String>>,
    /// See `Item`.
    provider: Option<String>,
    /// See `Item`.
    #[schema(value_type = Option<openapi::ProviderResponse>)]
    provider_response: Option<Value>,
    /// So many credits, for what no ratio prices.
    #[schema(value_type = Option<openapi::Decimal>)]
    credits: Option<Credits>,
    /// What they are for: 1 to 512 characters; with `credits` only.
    description: Option<String>,
    /// The version that an estimate named: its prices hold until 15 minutes after it was
    /// superseded. The current one where none is named.
    ratio_version: Option<u64>,
    /// At most this is taken; the rest is written as forgiven.
    #[schema(value_type = Option<openapi::Decimal>)]
    max_credits: Option<Credits>,
    /// When the usage happened, at most 7 days ago: decides dated prices and times of day.
    #[schema(value_type = Option<openapi::Instant>)]
    occurred_at: Option<Timestamp>,
    /// Who in the account caused it: 1 to 128 characters.
    actor: Option<String>,
    /// The caller's labels: at most 20, together at most 512 bytes.
    metadata: Option<BTreeMap<String, String>>,
    /// What becomes of usage that no ratio prices (`unknown_model`, `unpriced_dimension`,
    /// `unknown_price_group`): it is refused, or kept and priced later. In a request it is refused
    /// where nothing is said, from the queue it is kept.
    on_unpriced: Option<OnUnpriced>,
}

/// What becomes of usage that no ratio prices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OnUnpriced {
    /// The charge is refused.
    Refuse,
    /// The usage is kept as unrated.
    Park,
}

/// What to charge for.
enum Basis {
    Usage(Vec<UsageOf>),
    Fixed(Credits),
}

/// A charge that was read and found to be possible, whatever the account.
pub(crate) struct Prepared {
    key: IdempotencyKey,
    fingerprint: [u8; 16],
    private: Private,
    basis: Basis,
    /// The version that it wants to be priced by.
    version: Option<u64>,
    on_unpriced: OnUnpriced,
    max_credits: Option<Credits>,
    occurred_at: Option<Timestamp>,
    /// By when its usage must have occurred.
    asked_at: Timestamp,
    /// What it is captured from.
    capture: Option<CaptureOf>,
    /// The version that it was to be priced by at last; 0 before that.
    tried: AtomicU64,
}

/// What a capture is captured from.
struct CaptureOf {
    hold: HoldId,
    /// Whether it ends the hold.
    last: bool,
    /// The version that the hold promised, where its table was not at hand; else 0.
    missing: AtomicU64,
}

impl CaptureOf {
    /// Under which version to look for the table, and which it is that the hold promised.
    fn promised(&self, state: &AccountState) -> Option<u64> {
        let open = state.hold(self.hold).map(|hold| hold.ratio_version);
        let late = || state.expired_holds().iter().find(|hold| hold.id == self.hold);
        open.or_else(|| late().map(|hold| hold.ratio_version)).flatten()
    }
}

/// The ratio tables for some charges, by the version that they want.
pub(crate) type Tables = BTreeMap<Option<u64>, Result<Arc<Versioned>, Problem>>;

/// The versions that some charges want (none: the one in force), and when they were asked for
/// first: their prices must hold then.
pub(crate) type Wanted = BTreeMap<Option<u64>, Timestamp>;

/// What became of a charge.
pub(crate) enum Answer {
    /// It happened.
    Charged(Box<Outcome>),
    /// Its usage is kept; whether it had been before.
    Unrated(Box<UnratedView>, bool),
}

impl Prepared {
    /// Reads a charge. `body` is what it was read from, without what is not of the charge itself;
    /// `now` is when it was asked for.
    pub(crate) fn read(
        account: &AccountId,
        key: IdempotencyKey,
        StrictJson { body: request, value }: StrictJson<ChargeRequest>,
        now: Timestamp,
        on_unpriced: OnUnpriced,
        token_actor: Option<&str>,
    ) -> Result<Self, Problem> {
        // The same one by one, in a batch and through the queue: it happens once.
        let path = format!("/v1/accounts/{account}/charges");
        let fingerprint = fingerprint("POST", &path, &value);
        Self::of(key, fingerprint, request, now, on_unpriced, token_actor)
    }

    /// What is to be captured from a hold: priced by the version that the hold promised.
    pub(crate) fn capture(
        key: IdempotencyKey,
        fingerprint: [u8; 16],
        request: ChargeRequest,
        now: Timestamp,
        hold: HoldId,
        last: bool,
    ) -> Result<Self, Problem> {
        if request.ratio_version.is_some() {
            let detail = "A capture has the prices that its hold promised.";
            return Err(Problem::invalid_field("/ratio_version", detail));
        }
        let capture = Self::of(key, fingerprint, request, now, OnUnpriced::Park, None)?;
        let missing = AtomicU64::new(0);
        Ok(Self { capture: Some(CaptureOf { hold, last, missing }), ..capture })
    }

    fn of(
        key: IdempotencyKey,
        fingerprint: [u8; 16],
        request: ChargeRequest,
        now: Timestamp,
        on_unpriced: OnUnpriced,
        token_actor: Option<&str>,
    ) -> Result<Self, Problem> {
        let private = labels::private(
            token_actor,
            request.actor.as_deref(),
            request.description.as_deref().map(|text| ("/description", text)),
            request.metadata.as_ref(),
        )?;
        Ok(Self {
            key,
            asked_at: now,
            fingerprint,
            private,
            version: request.ratio_version,
            on_unpriced: request.on_unpriced.unwrap_or(on_unpriced),
            max_credits: request.max_credits,
            occurred_at: request.occurred_at,
            basis: basis(request)?,
            capture: None,
            tried: AtomicU64::new(0),
        })
    }

    /// Its idempotency key.
    pub(crate) fn key(&self) -> &str {
        self.key.as_str()
    }

    /// Adds the version that it wants to be priced by, asked for at `at`, where a table prices it.
    pub(crate) fn want(&self, at: Timestamp, wanted: &mut Wanted) {
        if matches!(self.basis, Basis::Usage(_)) {
            let earliest = wanted.entry(self.version).or_insert(at);
            *earliest = at.min(*earliest);
        }
    }

    /// When the usage happened, by the caller's clock; never ahead of when it was told by ours.
    fn occurred(&self) -> Option<Timestamp> {
        self.occurred_at.map(|at| at.min(self.asked_at))
    }

    /// The command on an account's state.
    fn decide(
        &self,
        tables: &Tables,
        now: Timestamp,
        state: &AccountState,
    ) -> Result<Command, Problem> {
        // Only here: who sends again what happened is told so, however long that takes.
        check_times(self.occurred_at, self.asked_at)?;
        let occurred_at = self.occurred();
        let charge = Charge {
            credits: Credits::ZERO,
            items: Vec::new(),
            ratio_version: None,
            price_group: None,
            max_credits: self.max_credits,
            occurred_at,
        };
        let charge = match &self.basis {
            Basis::Fixed(credits) => Charge { credits: *credits, ..charge },
            // What the account refuses at any price is no usage to be kept for a later one: at none
            // it is refused with the reason.
            Basis::Usage(_) if !self.may_happen(state) => charge,
            Basis::Usage(usages) => {
                let table = self.table_of(tables, state)?;
                let newest = tables.get(&None).and_then(|newest| newest.as_deref().ok());
                self.tried.store(table.version, Ordering::Relaxed);
                let prices = Prices { table, newest, filled_by: None };
                priced(usages, prices, state, occurred_at.unwrap_or(now), charge)?
            }
        };
        Ok(match &self.capture {
            None => Command::Charge(charge),
            Some(CaptureOf { hold, last, .. }) => {
                Command::Capture(Capture { hold: *hold, charge, last: *last })
            }
        })
    }

    /// Whether the account takes it at some price: a capture needs its hold, anything else an
    /// active account.
    fn may_happen(&self, state: &AccountState) -> bool {
        match &self.capture {
            Some(CaptureOf { hold, .. }) => state.may_capture(*hold),
            None => state.settings().status.is_active(),
        }
    }

    /// The table that prices it: a hold's captures have the prices that it promised.
    fn table_of<'a>(
        &self,
        tables: &'a Tables,
        state: &AccountState,
    ) -> Result<&'a Versioned, Problem> {
        let promised = self.capture.as_ref().and_then(|capture| capture.promised(state));
        if let Some(promised) = promised {
            if let Some(Ok(table)) = tables.get(&Some(promised)) {
                return Ok(table);
            }
            if let Some(Ok(table)) = tables
                .get(&None)
                .filter(|table| matches!(table, Ok(table) if table.version == promised))
            {
                return Ok(table);
            }
            if let Some(capture) = &self.capture {
                capture.missing.store(promised, Ordering::Relaxed);
            }
        }
        let version = promised.or(self.version);
        // A table that is not to be had any more must not hide that this already happened: that is
        // why it may be missing here only.
        match tables.get(&version) {
            Some(Ok(table)) => Ok(table),
            Some(Err(problem)) => Err(problem.clone()),
            None => Err(Problem::invalid_request("There is no such version.")),
        }
    }

    /// The version that its hold promised, where its table was not at hand. Asked for once.
    pub(crate) fn missing(&self) -> Option<u64> {
        let missing = self.capture.as_ref()?.missing.swap(0, Ordering::Relaxed);
        Some(missing).filter(|version| *version > 0)
    }

    /// Whether the newest table has no price for it, and it waits for one.
    fn is_to_be_kept(&self, asked: &Result<Outcome, Asked<Problem>>) -> bool {
        let Err(Asked::Decided(problem)) = asked else { return false };
        is_unpriced(problem) && self.on_unpriced == OnUnpriced::Park && self.version.is_none()
    }

    /// The usage as it is kept where no ratio prices it, for that reason; `None` where it is not
    /// to be kept.
    fn unrated(&self, account: &AccountId, reason: &Problem, now: Timestamp) -> Option<Unrated> {
        let Basis::Usage(usages) = &self.basis else { return None };
        let unpriced = is_unpriced(reason);
        (unpriced && self.on_unpriced == OnUnpriced::Park).then(|| Unrated {
            account: account.clone(),
            key: self.key.as_str().to_owned(),
            fingerprint: self.fingerprint,
            parked_at: now,
            occurred_at: self.occurred(),
            ratio_version: Some(self.tried.load(Ordering::Relaxed)).filter(|version| *version > 0),
            reason: reason.code().as_str().to_owned(),
            detail: reason.detail().to_owned(),
            items: usages.iter().map(UsageOf::kept).collect(),
            max_credits: self.max_credits,
            capture: self.capture.as_ref().map(|capture| (capture.hold, capture.last)),
            private: self.private.clone(),
        })
    }
}

/// Whether usage has no price, for a reason that another table can mend.
pub(crate) fn is_unpriced(reason: &Problem) -> bool {
    matches!(reason.code(), Code::UnknownModel | Code::UnpricedDimension | Code::UnknownPriceGroup)
}

/// The tables that the charges want, and the newest, which may have the account's price group where an
/// older one has not.
pub(crate) async fn tables_of(deps: &Deps, wanted: Wanted, log: &RequestLog) -> Tables {
    let earliest = wanted.values().min().copied();
    let loaded = wanted.into_iter().map(|(version, at)| async move {
        (version, tables::for_request(&deps.ratios, version, at, log).await)
    });
    let mut tables: Tables = join_all(loaded).await.into_iter().collect();
    if let Some(at) = earliest
        && !tables.contains_key(&None)
    {
        tables.insert(None, tables::for_request(&deps.ratios, None, at, log).await);
    }
    tables
}

/// Charges an account, in the order given, by tables that were asked for `since` then. One that is
/// refused holds up none of the others.
pub(crate) async fn charge_account(
    deps: &Deps,
    account: &AccountId,
    charges: &[&Prepared],
    (tables, since): (&Tables, Timestamp),
    log: &RequestLog,
) -> Vec<Result<Answer, Problem>> {
    let mut asked = ask_all(deps, account, charges, tables).await;
    let lacks_price = |place: &usize| {
        lacks_group(&asked[*place]) || charges[*place].is_to_be_kept(&asked[*place])
    };
    let places: Vec<usize> = (0..asked.len()).filter(lacks_price).collect();
    // Whoever gives an account a new price group has just published it. What is to be kept for a price
    // may have one that was published half a minute ago.
    if !places.is_empty()
        && let Some(Ok(known)) = tables.get(&None)
        && let Some(newest) = if asked.iter().any(lacks_group) {
            tables::news(&deps.ratios, known.version, since, log).await
        } else {
            deps.ratios.at_least(known.version.saturating_add(1)).await.ok()
        }
        && newest.version > known.version
    {
        let mut tables = tables.clone();
        tables.insert(None, Ok(newest));
        let again: Vec<_> = places.iter().map(|place| charges[*place]).collect();
        for (place, answer) in places.into_iter().zip(ask_all(deps, account, &again, &tables).await)
        {
            asked[place] = answer;
        }
    }
    let mut answers = Vec::with_capacity(charges.len());
    for (charge, asked) in charges.iter().zip(asked) {
        answers.push(match asked {
            Ok(outcome) => {
                count(log, &outcome);
                Ok(Answer::Charged(outcome.into()))
            }
            Err(asked) => without_charge(deps, account, charge, asked, log).await,
        });
    }
    answers
}

/// Whether no table that was there has the account's price group.
fn lacks_group(asked: &Result<Outcome, Asked<Problem>>) -> bool {
    let Err(Asked::Decided(problem)) = asked else { return false };
    problem.code() == Code::UnknownPriceGroup
}

/// Asks the ledger for all of them at once.
async fn ask_all(
    deps: &Deps,
    account: &AccountId,
    charges: &[&Prepared],
    tables: &Tables,
) -> Vec<Result<Outcome, Asked<Problem>>> {
    let decisions: Vec<_> = charges
        .iter()
        .map(|charge| move |state: &AccountState| charge.decide(tables, deps.ledger.now(), state))
        .collect();
    let batch: Vec<_> = charges
        .iter()
        .zip(&decisions)
        .map(|(charge, decide)| Batched {
            ask: Ask::by_client(account, charge.key(), charge.fingerprint, charge.private.clone()),
            decide,
        })
        .collect();
    deps.ledger.execute_batch(account, &batch).await
}

/// What becomes of a charge that did not happen: kept, or refused.
async fn without_charge(
    deps: &Deps,
    account: &AccountId,
    charge: &Prepared,
    asked: Asked<Problem>,
    log: &RequestLog,
) -> Result<Answer, Problem> {
    let id = match asked {
        Asked::Unrated(id) => id,
        Asked::Decided(reason) => {
            let Some(unrated) = charge.unrated(account, &reason, deps.ledger.now()) else {
                return Err(reason);
            };
            match deps.ledger.park(&unrated).await {
                Ok(Parking::Parked { id, replayed: false }) => {
                    log.count(Metric::Unrated, 1);
                    return Ok(Answer::Unrated(UnratedView::new(&id, unrated).into(), false));
                }
                Ok(Parking::Parked { id, replayed: true }) => id,
                Ok(Parking::Happened(outcome)) => return Ok(Answer::Charged(outcome)),
                Err(asked) => return Err(refusals::asked(asked, account)),
            }
        }
        asked => return Err(refusals::asked(asked, account)),
    };
    if let Some(unrated) = deps.ledger.unrated(&id).await? {
        return Ok(Answer::Unrated(UnratedView::new(&id, unrated).into(), true));
    }
    // It was rated between the two looks.
    let outcome = deps.ledger.rated(&id).await?.ok_or_else(|| {
        Problem::unavailable(&LedgerError::Corrupt(format!("{id} is nowhere")), RETRY_SECONDS)
    })?;
    Ok(Answer::Charged(outcome.into()))
}

/// Counts what a charge did.
pub(crate) fn count(log: &RequestLog, outcome: &Outcome) {
    log.retries(outcome.retries, outcome.conflicts);
    if !outcome.replayed {
        log.debt_made(outcome.happened.operation.debt_change());
    }
}

/// What usage is priced by.
#[derive(Clone, Copy)]
pub(crate) struct Prices<'a> {
    /// The table whose version the charge names.
    pub(crate) table: &'a Versioned,
    /// The newest one, where it may be newer: price groups may be, too.
    pub(crate) newest: Option<&'a Versioned>,
    /// The one that prices what `table` has no price for.
    pub(crate) filled_by: Option<&'a Versioned>,
}

/// What charges usage, as it is priced at `at`; the rest is `charge`'s.
pub(crate) fn priced(
    usages: &[UsageOf],
    Prices { table, newest, filled_by }: Prices<'_>,
    state: &AccountState,
    at: Timestamp,
    charge: Charge,
) -> Result<Charge, Problem> {
    let group = &state.settings().price_group;
    let multiplier = items::multiplier(&table.table, newest.map(|newest| &newest.table), group)?;
    let items = rate(usages, (table, filled_by), multiplier, at)?;
    let micros = items.iter().map(|item| item.credits.micros()).sum();
    let credits = Credits::from_micros(micros).ok_or_else(|| {
        Problem::new(Code::LimitExceeded, "The items cost more than 10^15 credits.")
    })?;
    Ok(Charge {
        credits,
        items,
        ratio_version: Some(table.version),
        price_group: Some(state.settings().price_group.clone()),
        ..charge
    })
}

problems!(
    ChargeProblems = IdempotencyKeyMissing,
    InsufficientCredits,
    AccountSuspended,
    AccountNotFound,
    Conflict,
    PayloadTooLarge,
    IdempotencyKeyReused,
    UnknownModel,
    UnknownPriceGroup,
    UnpricedDimension,
    ProviderUnknown,
    UsageMissing,
    UsageContradictory,
    LimitExceeded
);

/// Charges an account for what was used. What it does not have becomes debt, is refused or
/// forgiven, as its settings say. The same key and body again is answered again, and nothing is
/// taken twice.
#[utoipa::path(
    post,
    path = "/v1/accounts/{account}/charges",
    operation_id = "create_charge",
    tag = "charge",
    params(
        ("account" = openapi::AccountId, Path),
        ("Idempotency-Key" = String, Header, description = "1 to 255 visible ASCII characters"),
    ),
    security(("bearer" = ["charge"])),
    request_body = ChargeRequest,
    responses(
        (status = 201, description = "Charged", body = Moved),
        (status = 202, description = "No ratio prices it; it is kept as unrated", body = Parked),
        ChargeProblems
    )
)]
async fn create_charge(
    access: AccountAccess<ChargeScope>,
    State(deps): State<Deps>,
    Extension(log): Extension<RequestLog>,
    key: IdempotencyKey,
    request: StrictJson<ChargeRequest>,
) -> Result<Response, Problem> {
    let account = &access.account;
    let (now, actor) = (deps.ledger.now(), access.caller.token_actor());
    // Read before anything else is: what a body says does not depend on the account.
    let charge = Prepared::read(account, key, request, now, OnUnpriced::Refuse, actor)?;
    let mut wanted = Wanted::new();
    charge.want(now, &mut wanted);
    let since = deps.ratios.now();
    let tables = tables_of(&deps, wanted, &log).await;
    let answers = charge_account(&deps, account, &[&charge], (&tables, since), &log).await;
    match answers.into_iter().next().expect("an answer for each charge")? {
        Answer::Charged(outcome) => Ok(views::moved(*outcome)),
        Answer::Unrated(unrated, replayed) => {
            let mut response = views::created(replayed, Parked { unrated: *unrated });
            *response.status_mut() = StatusCode::ACCEPTED;
            Ok(response)
        }
    }
}

fn rate(
    usages: &[UsageOf],
    (table, filled_by): (&Versioned, Option<&Versioned>),
    multiplier: Multiplier,
    at: Timestamp,
) -> Result<Vec<RatedItem>, Problem> {
    usages
        .iter()
        .map(|usage| {
            let (rated, filled_by) = match filled_by {
                None => (usage.rate(&table.table, multiplier, at)?, None),
                Some(newer) => {
                    let tables = (&table.table, &newer.table);
                    let (rated, by) = usage.rate_filled(tables, multiplier, at)?;
                    (rated, Some(newer.version).filter(|_| by != PricedBy::This))
                }
            };
            Ok(RatedItem {
                lines: rated.lines,
                credits: rated.credits,
                minimum_applied: rated.minimum_applied,
                matched: rated.matched,
                parameters: usage.parameters(),
                requests: usage.requests(),
                filled_by,
                provider: usage.provider().map(str::to_owned),
            })
        })
        .collect()
}

fn check_times(occurred_at: Option<Timestamp>, asked_at: Timestamp) -> Result<(), Problem> {
    let Some(at) = occurred_at else { return Ok(()) };
    let behind = asked_at.millis() - at.millis();
    if !(-AHEAD_MILLIS..=OLDEST_MILLIS).contains(&behind) {
        let detail =
            "at most 7 days ago, and not ahead of now, by clocks that differ by a minute at most";
        return Err(Problem::invalid_field("/occurred_at", detail));
    }
    Ok(())
}

/// What the body wants charged.
fn basis(request: ChargeRequest) -> Result<Basis, Problem> {
    let ChargeRequest {
        items,
        model,
        usage,
        parameters,
        provider,
        provider_response,
        credits,
        description,
        ratio_version,
        max_credits,
        ..
    } = request;
    if max_credits.is_some_and(Credits::is_negative) {
        return Err(Problem::invalid_field("/max_credits", "not below zero"));
    }
    let single = Item { model, usage, parameters, provider, provider_response };
    let is_single = single != Item::default();
    match (items, is_single, credits) {
        (None, false, Some(credits)) => {
            if credits.is_negative() {
                let detail = "A charge is not negative; credits come in by a grant.";
                return Err(Problem::invalid_field("/credits", detail));
            }
            if ratio_version.is_some() {
                let detail = "Fixed credits are priced by no version.";
                return Err(Problem::invalid_field("/ratio_version", detail));
            }
            Ok(Basis::Fixed(credits))
        }
        (_, _, None) if description.is_some() => {
            Err(Problem::invalid_field("/description", "goes with fixed credits only"))
        }
        (None, true, None) => Ok(Basis::Usage(vec![single.read(String::new())?])),
        (Some(items), false, None) if (1..=MAX_ITEMS).contains(&items.len()) => items
            .into_iter()
            .enumerate()
            .map(|(index, item)| item.read(format!("/items/{index}")))
            .collect::<Result<_, _>>()
            .map(Basis::Usage),
        (Some(_), false, None) => Err(Problem::invalid_field("/items", "1 to 20 items")),
        _ => Err(Problem::invalid_request(
            "A charge has items, or the fields of one item, or credits: exactly one of them.",
        )),
    }
}

uc_http::operations!(Deps; create_charge);
