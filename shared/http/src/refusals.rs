//! What the ledger, the rating and the ratio tables refuse, as problems.

use uc_domain::AccountId;
use uc_domain::account::Rejection;
use uc_domain::providers::ProviderError;
use uc_domain::ratios::RatingError;
use uc_ledger::{Asked, LedgerError};

use crate::observe::Metric;
use crate::problem::{Code, FieldError, Problem};

/// What `Retry-After` says when the store gives no answer, in seconds.
const RETRY_SECONDS: u32 = 2;

impl From<LedgerError> for Problem {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Unavailable(_) | LedgerError::Busy => {
                Self::unavailable(&error, RETRY_SECONDS)
            }
            LedgerError::ClockSkew(_) => {
                Self::unavailable(&error, RETRY_SECONDS).counted(Metric::ClockSkewed)
            }
            LedgerError::Corrupt(_) => Self::unreadable(&error),
            LedgerError::Refused(_) => Self::internal(&error),
        }
    }
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::Invalid(detail) => Self::invalid_request(detail),
            Rejection::InsufficientCredits { available, required, shortfall } => {
                Self::insufficient_credits(available, required, shortfall)
            }
            Rejection::LimitExceeded(detail) => Self::new(Code::LimitExceeded, detail),
            Rejection::AccountStatus(status) => {
                let detail =
                    format!("The account is {}: it can't begin new work.", status.as_str());
                Self::new(Code::AccountSuspended, detail)
            }
            Rejection::HoldGone => Self::new(
                Code::HoldCaptured,
                "The hold ended: it was captured, or its time for late captures is over. Charge the \
                 usage without it.",
            ),
            Rejection::HoldExpired(at) => Self::new(
                Code::HoldExpired,
                format!("The hold expired at {at}. What was used can still be captured."),
            ),
            Rejection::RefundExceedsCharge { left } => {
                let detail = format!("{left} credits of the charge are left to refund.");
                Self::new(Code::RefundExceedsCharge, detail).with("left", left)
            }
            Rejection::GrantGone => Self::new(
                Code::Conflict,
                "Nothing of the grant is left to void: it was used, it has expired, or it has become \
                 one with others.",
            ),
            Rejection::GrantNotVoidable(reason) => {
                Self::new(Code::Conflict, format!("The grant can't be voided: {reason}."))
            }
            Rejection::ExceedsDebt { debt } => {
                let detail =
                    format!("The account owes {debt} credits: no more can be written off.");
                Self::new(Code::Conflict, detail).with("debt", debt)
            }
            Rejection::PriceGroupChanged(_) => Self::internal(&rejection),
        }
    }
}

/// No such account, said to those who may see every account.
pub fn account_not_found(account: &AccountId) -> Problem {
    let detail = format!(
        "There is no account {account}. It opens with its first grant, top-up or subscription, or \
         with PUT."
    );
    Problem::new(Code::AccountNotFound, detail)
}

/// Why an asked operation did not happen, where its further puts had no conditions.
pub fn asked(error: Asked<Problem>, account: &AccountId) -> Problem {
    match error {
        Asked::Decided(problem) => problem,
        Asked::Rejected(rejection) => rejection.into(),
        Asked::KeyReused => Problem::new(
            Code::IdempotencyKeyReused,
            "This Idempotency-Key was used for another request of this account: use a new key.",
        ),
        Asked::AccountNotFound => account_not_found(account),
        Asked::Prevented(..) => {
            Problem::new(Code::Conflict, "What is there already contradicts the request.")
        }
        Asked::Unrated(id) => {
            Problem::new(Code::Conflict, format!("The usage waits to be priced, as {id}."))
        }
        Asked::Ledger(error) => error.into(),
    }
}

/// Why an item can't be rated; `pointer` is where the item stands in the body.
pub fn rating(error: &RatingError, pointer: &str) -> Problem {
    let at = |code, field: String| {
        let error = FieldError { pointer: field, detail: error.to_string() };
        Problem::new(code, error.detail.clone()).with_error(error)
    };
    let dimension = |name: &str| format!("{pointer}/usage/{}", escape(name));
    match error {
        RatingError::UnknownModel { .. } => at(Code::UnknownModel, format!("{pointer}/model")),
        RatingError::UnpricedDimension { dimension: name, .. } => {
            at(Code::UnpricedDimension, dimension(name))
        }
        RatingError::ReservedDimension => {
            at(Code::InvalidRequest, dimension(uc_domain::ratios::PROMPT_TOKENS))
        }
        RatingError::OverLimit { dimension: Some(name), .. } => {
            at(Code::LimitExceeded, dimension(name))
        }
        RatingError::OverLimit { dimension: None, .. } => {
            at(Code::LimitExceeded, format!("{pointer}/usage"))
        }
    }
}

/// Why a provider's response tells no usage; `pointer` is where the item stands in the body.
pub fn provider(error: &ProviderError, pointer: &str) -> Problem {
    let (code, field) = match error {
        ProviderError::UnknownProvider { .. } => (Code::ProviderUnknown, "/provider".to_owned()),
        ProviderError::UsageMissing { .. } => (Code::UsageMissing, "/provider_response".to_owned()),
        ProviderError::Contradictory { pointer, .. } => {
            (Code::UsageContradictory, format!("/provider_response{pointer}"))
        }
    };
    let detail = error.to_string();
    Problem::new(code, detail.clone())
        .with_error(FieldError { pointer: format!("{pointer}{field}"), detail })
}

/// A name as one step of a JSON pointer (RFC 6901).
fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
