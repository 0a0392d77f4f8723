//! Plans, subscriptions, and the schedule that grants what is due.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Extension, State};
use axum::response::Response;
use axum::{Json, Router};
use lambda_http::LambdaEvent;
use lambda_http::request::LambdaRequest;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uc_domain::plans::{Interval, Plan, PlanId, PlanRollover};
use uc_domain::{AccountId, Credits, Timestamp};
use uc_http::scope::{Grant, PlansAdmin, Read};
use uc_http::views::{self, BalanceView, MoneyView, OperationView};
use uc_http::{
    Access, AccountAccess, Code, Deployment, IdempotencyKey, Metric, Metrics, Page, PageQuery,
    PathParams, Problem, RequestLog, StrictJson, StrictQuery, fingerprint, labels, openapi,
    page_of, problems, refusals,
};
use uc_ledger::store::DueKey;
use uc_ledger::{
    CheckpointKey, Checkpoints, Ledger, NewSubscription, PlanItem, Plans, Subscription,
    SubscriptionError, keys,
};
use uc_ratios::SecretReader;
use utoipa::ToSchema;

/// Plans of one deployment, and subscriptions of one account, at most.
const MAX_PLANS: usize = 200;
const MAX_SUBSCRIPTIONS: usize = 100;
/// Of those the ones whose credits roll over: each has two grants that do, the present period's
/// and the one granted ahead, and an account has at most
/// [`MAX_ROLLOVERS`](uc_domain::account::MAX_ROLLOVERS) of them.
const MAX_ROLLING: usize = uc_domain::account::MAX_ROLLOVERS / 2;
/// Subscriptions that one query of the schedule reads.
const PAGE: u32 = 50;
/// What the schedule leaves of the function's time, so that it can say what it did.
const RESERVE: Duration = Duration::from_secs(10);
/// Days before today whose expiries are still looked for, and a day in milliseconds.
const EXPIRY_DAYS: i64 = 35;
const DAY_MILLIS: i64 = 86_400_000;
/// How far a subscription's beginning may lie from now, in milliseconds: 366 days.
const FURTHEST_START: i64 = 366 * 86_400_000;

/// What the function works with.
#[derive(Clone)]
pub struct Deps {
    /// The accounts.
    pub ledger: Ledger,
    /// The private key of checkpoints.
    pub secrets: Arc<SecretReader>,
}

impl Deps {
    fn plans(&self) -> Plans {
        Plans::new(self.ledger.clone())
    }
}

/// How often something happens.
#[derive(ToSchema)]
#[schema(as = Interval, rename_all = "snake_case")]
#[expect(dead_code, reason = "describes the domain's type in the OpenAPI document")]
enum IntervalSchema {
    Month,
    Year,
}

/// What is sold: so many credits at each renewal.
#[derive(ToSchema)]
#[schema(as = Plan)]
#[expect(dead_code, reason = "describes the domain's type in the OpenAPI document")]
struct PlanSchema {
    /// What buyers read, 1 to 128 characters.
    name: String,
    /// How often it is billed.
    interval: IntervalSchema,
    /// How often credits come; at least as often as it is billed.
    credits_interval: IntervalSchema,
    /// How many come each time, above zero, at most 10^12.
    #[schema(value_type = openapi::Decimal)]
    credits: String,
    /// What one billing interval costs. A label.
    price: Option<MoneyView>,
    /// What becomes of credits that a period leaves; they expire with it where not given.
    rollover: Option<PlanRolloverSchema>,
}

/// What rolls over when a period ends: `min(max, max(min, what is left))`, as a grant of its own
/// that ends with the period that follows.
#[derive(ToSchema)]
#[schema(as = PlanRollover)]
#[expect(dead_code, reason = "describes the domain's type in the OpenAPI document")]
struct PlanRolloverSchema {
    /// So much rolls over even where less is left; from 0 to `max`, 0 where not given.
    #[schema(value_type = Option<openapi::Decimal>)]
    min: String,
    /// At most so much rolls over, at most 10^12.
    #[schema(value_type = openapi::Decimal)]
    max: String,
}

/// A plan as it is kept.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PlanItem)]
pub struct PlanView {
    /// Its id.
    id: String,
    /// What buyers read.
    name: String,
    /// How often it is billed.
    #[schema(value_type = IntervalSchema)]
    interval: Interval,
    /// How often credits come.
    #[schema(value_type = IntervalSchema)]
    credits_interval: Interval,
    /// How many come each time.
    #[schema(value_type = openapi::Decimal)]
    credits: Credits,
    /// What one billing interval costs.
    #[serde(skip_serializing_if = "Option::is_none")]
    price: Option<MoneyView>,
    /// What becomes of credits that a period leaves.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<PlanRolloverSchema>)]
    rollover: Option<PlanRollover>,
    /// When it was last edited.
    #[schema(value_type = openapi::Instant)]
    updated_at: Timestamp,
}

impl From<PlanItem> for PlanView {
    fn from(item: PlanItem) -> Self {
        let Plan { name, interval, credits_interval, credits, price, rollover } = item.plan;
        Self {
            id: item.id.to_string(),
            name,
            interval,
            credits_interval,
            credits,
            price: price.map(MoneyView::from),
            rollover,
            updated_at: item.updated_at,
        }
    }
}

problems!(PlanProblems = NotFound);

/// One plan.
#[utoipa::path(
    get,
    path = "/v1/plans/{plan}",
    operation_id = "get_plan",
    tag = "plans",
    params(("plan" = String, Path)),
    security(("bearer" = ["read"])),
    responses((status = 200, description = "The plan", body = PlanView), PlanProblems)
)]
async fn get_plan(
    _: Access<Read>,
    State(deps): State<Deps>,
    path: PathParams,
) -> Result<Json<PlanView>, Problem> {
    let id: PlanId = path.get("plan")?;
    let plan = deps.plans().plan(&id).await?.ok_or_else(|| no_plan(&id))?;
    Ok(Json(plan.into()))
}

problems!(PlanListProblems =);

/// All plans.
#[utoipa::path(
    get,
    path = "/v1/plans",
    operation_id = "list_plans",
    tag = "plans",
    params(PageQuery),
    security(("bearer" = ["read"])),
    responses((status = 200, description = "A page, by id", body = Page<PlanView>), PlanListProblems)
)]
async fn list_plans(
    _: Access<Read>,
    State(deps): State<Deps>,
    StrictQuery(query): StrictQuery<PageQuery>,
) -> Result<Json<Page<PlanView>>, Problem> {
    let all = deps.plans().plans().await?.into_iter().map(PlanView::from).collect();
    page_of("plans", all, &query, |plan| &plan.id).map(Json)
}

problems!(PutPlanProblems = PayloadTooLarge, LimitExceeded);

/// Makes a plan, or edits it: for subscriptions from then on; those that are there keep the plan
/// they were made with.
#[utoipa::path(
    put,
    path = "/v1/plans/{plan}",
    operation_id = "put_plan",
    tag = "plans",
    params(("plan" = String, Path)),
    security(("bearer" = ["plans:admin"])),
    request_body = PlanSchema,
    responses((status = 200, description = "Kept", body = PlanView), PutPlanProblems)
)]
async fn put_plan(
    _: Access<PlansAdmin>,
    State(deps): State<Deps>,
    path: PathParams,
    request: StrictJson<Plan>,
) -> Result<Json<PlanView>, Problem> {
    let id: PlanId = path.get("plan")?;
    let plan = request.body;
    plan.check().map_err(|error| Problem::invalid_field(error.pointer, error.detail))?;
    let all = deps.plans().plans().await?;
    if all.len() >= MAX_PLANS && all.iter().all(|other| other.id != id) {
        return Err(Problem::new(Code::LimitExceeded, "There are 200 plans: edit one of them."));
    }
    Ok(Json(deps.plans().put_plan(&id, plan).await?.into()))
}

/// A subscription to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SubscriptionRequest {
    /// The plan's id.
    #[schema(example = "starter")]
    plan: String,
    /// When its first period begins, at most 366 days from now in either direction; now where not
    /// given. Periods that are over by then are granted and expire visibly.
    #[schema(value_type = Option<openapi::Instant>)]
    starts_at: Option<Timestamp>,
    /// Who did it: 1 to 128 characters.
    actor: Option<String>,
}

/// `[begin, end)` of a period.
#[derive(Debug, Serialize, ToSchema)]
struct PeriodView {
    /// From then on.
    #[schema(value_type = openapi::Instant)]
    starts_at: Timestamp,
    /// Until before then.
    #[schema(value_type = openapi::Instant)]
    ends_at: Timestamp,
}

/// One account's subscription, with the plan as it was when it was taken.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Subscription)]
pub struct SubscriptionView {
    /// Its id.
    #[schema(example = "sub_1f0c9b7a2e4d68315c0f")]
    id: String,
    /// The plan's id.
    plan: String,
    /// What it brings each time.
    #[schema(value_type = openapi::Decimal)]
    credits: Credits,
    /// How often it is billed.
    #[schema(value_type = IntervalSchema)]
    interval: Interval,
    /// How often credits come.
    #[schema(value_type = IntervalSchema)]
    credits_interval: Interval,
    /// What becomes of credits that a period leaves.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<PlanRolloverSchema>)]
    rollover: Option<PlanRollover>,
    /// When its first period began.
    #[schema(value_type = openapi::Instant)]
    starts_at: Timestamp,
    /// The period that now lies in; the first one where it is still to come.
    #[serde(skip_serializing_if = "Option::is_none")]
    period: Option<PeriodView>,
    /// How many periods are granted.
    periods_granted: u32,
}

impl SubscriptionView {
    fn new(subscription: Subscription, now: Timestamp) -> Self {
        let period = subscription
            .current_period(now)
            .map(|(starts_at, ends_at)| PeriodView { starts_at, ends_at });
        Self {
            plan: subscription.plan_id.to_string(),
            credits: subscription.plan.credits,
            interval: subscription.plan.interval,
            credits_interval: subscription.plan.credits_interval,
            rollover: subscription.plan.rollover,
            starts_at: subscription.anchor,
            period,
            periods_granted: subscription.next_period,
            id: subscription.id,
        }
    }
}

/// A subscription that was made.
#[derive(Debug, Serialize, ToSchema)]
pub struct SubscribedView {
    /// The subscription.
    subscription: SubscriptionView,
    /// The grant of its first period.
    operation: OperationView,
    /// The balance after it.
    balance: BalanceView,
}

problems!(
    SubscribeProblems = IdempotencyKeyMissing,
    AccountSuspended,
    NotFound,
    PayloadTooLarge,
    IdempotencyKeyReused,
    LimitExceeded
);

/// Subscribes an account to a plan and grants its first period, at once. The account opens where
/// it is new. The periods that follow are granted by the schedule, ahead of their beginning.
#[utoipa::path(
    post,
    path = "/v1/accounts/{account}/subscriptions",
    operation_id = "create_subscription",
    tag = "plans",
    params(
        ("account" = openapi::AccountId, Path),
        ("Idempotency-Key" = String, Header, description = "1 to 255 visible ASCII characters"),
    ),
    security(("bearer" = ["grant"])),
    request_body = SubscriptionRequest,
    responses(
        (status = 201, description = "Subscribed", body = SubscribedView),
        SubscribeProblems
    )
)]
async fn create_subscription(
    access: AccountAccess<Grant>,
    State(deps): State<Deps>,
    Extension(log): Extension<RequestLog>,
    key: IdempotencyKey,
    request: StrictJson<SubscriptionRequest>,
) -> Result<Response, Problem> {
    let account = &access.account;
    let path = format!("/v1/accounts/{account}/subscriptions");
    let fingerprint = fingerprint("POST", &path, &request.value);
    let SubscriptionRequest { plan, starts_at, actor } = request.body;
    let private = labels::private(None, access.caller.operator(actor.as_deref()), None, None)?;
    let plan_id: PlanId =
        plan.parse().map_err(|error| Problem::invalid_field("/plan", format!("{error}")))?;
    let now = deps.ledger.now();
    let plans = deps.plans();
    let id = subscription_id(account, &key);
    // What the first request decided stands: the plan may have been edited since, and now is
    // later.
    let earlier = plans.subscription(account, &id).await?;
    let (plan, anchor) = if let Some(earlier) = earlier {
        (earlier.plan, earlier.anchor)
    } else {
        if starts_at.is_some_and(|at| (at.millis() - now.millis()).abs() > FURTHEST_START) {
            return Err(Problem::invalid_field("/starts_at", "at most 366 days from now"));
        }
        let others = plans.subscriptions(account).await?;
        if others.len() >= MAX_SUBSCRIPTIONS {
            let detail = "The account has 100 subscriptions.";
            return Err(Problem::new(Code::LimitExceeded, detail));
        }
        let plan = plans.plan(&plan_id).await?.ok_or_else(|| no_plan(&plan_id))?;
        let rolling = || others.iter().filter(|other| other.plan.rollover.is_some());
        if plan.plan.rollover.is_some() && rolling().count() >= MAX_ROLLING {
            let detail = "The account has 8 subscriptions whose credits roll over.";
            return Err(Problem::new(Code::LimitExceeded, detail));
        }
        (plan.plan, starts_at.unwrap_or(now))
    };
    let new = NewSubscription { id, plan_id, plan, anchor, fingerprint, private };
    let subscribed = plans.subscribe(account, new).await.map_err(|error| match error {
        SubscriptionError::Grant(error) => {
            refusals::asked(error.map_decided(|never| match never {}), account)
        }
        SubscriptionError::OutOfRange => {
            Problem::invalid_field("/starts_at", "the periods end before the year 3000")
        }
        SubscriptionError::Ledger(error) => error.into(),
    })?;
    let outcome = subscribed.outcome;
    log.retries(outcome.retries, outcome.conflicts);
    let body = SubscribedView {
        subscription: SubscriptionView::new(subscribed.subscription, now),
        balance: outcome.state.balance().into(),
        operation: OperationView::new(outcome.happened, true),
    };
    Ok(views::created(outcome.replayed, body))
}

/// The same request makes the same subscription, whoever runs it.
fn subscription_id(account: &AccountId, key: &IdempotencyKey) -> String {
    let named = Value::from(key.as_str());
    let digest = fingerprint("SUBSCRIPTION", account.as_str(), &named);
    digest[..10].iter().fold("sub_".to_owned(), |id, byte| format!("{id}{byte:02x}"))
}

problems!(SubscriptionListProblems = AccountNotFound);

/// An account's subscriptions.
#[utoipa::path(
    get,
    path = "/v1/accounts/{account}/subscriptions",
    operation_id = "list_subscriptions",
    tag = "plans",
    params(("account" = openapi::AccountId, Path), PageQuery),
    security(("bearer" = ["read"])),
    responses(
        (status = 200, description = "A page, by id", body = Page<SubscriptionView>),
        SubscriptionListProblems
    )
)]
async fn list_subscriptions(
    access: AccountAccess<Read>,
    State(deps): State<Deps>,
    StrictQuery(query): StrictQuery<PageQuery>,
) -> Result<Json<Page<SubscriptionView>>, Problem> {
    let account = &access.account;
    let subscriptions = deps.plans().subscriptions(account).await?;
    if subscriptions.is_empty() && deps.ledger.head(account).await?.is_none() {
        return Err(refusals::account_not_found(account));
    }
    let now = deps.ledger.now();
    let all = subscriptions.into_iter().map(|s| SubscriptionView::new(s, now)).collect();
    page_of(&format!("subscriptions/{account}"), all, &query, |item| &item.id).map(Json)
}

fn no_plan(id: &PlanId) -> Problem {
    Problem::new(Code::NotFound, format!("There is no plan {id}."))
}

/// What one run of the schedule did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Report {
    /// Periods granted.
    pub granted: u64,
    /// Accounts in which a grant had ended or begun, and that is written now.
    pub settled: u64,
    /// Subscriptions whose period could not be granted, and accounts that could not be settled:
    /// they stay due. And journals that contradict what was signed of them.
    pub failed: u64,
    /// Accounts whose newest entry was signed for the day.
    pub checkpoints: u64,
    /// Whether everything that was due was looked at.
    pub complete: bool,
}

/// Grants every period that is due, then settles the accounts in which a grant has ended, so that
/// those that sleep show it too, then takes the day's checkpoints. What fails is logged, stays due and holds nobody else up; what is
/// not reached within `time` is left for the next run.
///
/// # Errors
/// The store is unavailable, so that nothing could be looked at.
pub async fn grant_all_due(deps: &Deps, time: Duration) -> Result<Report, uc_ledger::LedgerError> {
    let started = Instant::now();
    let plans = deps.plans();
    let mut report = Report::default();
    let mut metrics = Metrics::default();
    for shard in 0..keys::DUE_SHARDS {
        let mut after: Option<DueKey> = None;
        loop {
            let page = plans.due(shard, after.as_ref(), PAGE).await?;
            let Some(last) = page.last().cloned() else { break };
            for due in &page {
                if started.elapsed() + RESERVE > time {
                    emit(deps, &metrics);
                    return Ok(report);
                }
                grant_one(&plans, due, deps.ledger.now(), &mut report, &mut metrics).await;
            }
            after = Some(last);
        }
    }
    emit(deps, &metrics);
    report.complete = settle_expired(deps, started, time, &mut report).await?;
    if report.complete {
        let mut metrics = Metrics::default();
        report.complete = take_checkpoints(deps, started, time, &mut report, &mut metrics).await;
        emit(deps, &metrics);
    }
    Ok(report)
}

/// Goes on with the day's checkpoints in what is left of the time; the next run goes on where
/// this one stops. Whatever keeps it from that is logged and holds up nothing else. Returns
/// whether the day's are all there.
async fn take_checkpoints(
    deps: &Deps,
    started: Instant,
    time: Duration,
    report: &mut Report,
    metrics: &mut Metrics,
) -> bool {
    let left = time.saturating_sub(RESERVE).saturating_sub(started.elapsed());
    let secret = match deps.secrets.checkpoint_key().await {
        Ok(secret) => secret,
        Err(error) => {
            tracing::error!(%error, "no checkpoints are taken: cargo local bootstrap makes the key");
            metrics.add(Metric::CheckpointFailures, 1);
            return false;
        }
    };
    let taken = match CheckpointKey::from_secret(secret.expose()) {
        Ok(key) => Checkpoints::new(deps.ledger.clone()).run(&key, left).await,
        Err(error) => {
            tracing::error!(%error, "no checkpoints are taken");
            metrics.add(Metric::CheckpointFailures, 1);
            return false;
        }
    };
    match taken {
        Ok(taken) => {
            report.checkpoints = taken.written;
            report.failed += taken.contradicted;
            if taken.contradicted > 0 {
                metrics.add(Metric::Contradictions, taken.contradicted);
            }
            taken.complete
        }
        Err(error) => {
            tracing::error!(%error, "the checkpoints are not complete: the next run goes on");
            metrics.add(Metric::CheckpointFailures, 1);
            false
        }
    }
}

/// Settles accounts with a grant that ended today or on one of the days before. Returns whether
/// all were looked at.
async fn settle_expired(
    deps: &Deps,
    started: Instant,
    time: Duration,
    report: &mut Report,
) -> Result<bool, uc_ledger::LedgerError> {
    let now = deps.ledger.now();
    for days_ago in (0..=EXPIRY_DAYS).rev() {
        let day = now.saturating_add_millis(-days_ago * DAY_MILLIS);
        for shard in 0..keys::DUE_SHARDS {
            let mut after = None;
            loop {
                let accounts = deps.ledger.expiring(day, shard, after.as_ref()).await?;
                let Some(last) = accounts.last().cloned() else { break };
                for account in &accounts {
                    if started.elapsed() + RESERVE > time {
                        return Ok(false);
                    }
                    let settled = settle_one(deps, account, day, days_ago > 0).await;
                    match settled {
                        Ok(settled) => report.settled += u64::from(settled),
                        Err(error) => {
                            report.failed += 1;
                            tracing::error!(%account, %error, "an account was not settled");
                        }
                    }
                }
                after = Some(last);
            }
        }
    }
    Ok(true)
}

async fn settle_one(
    deps: &Deps,
    account: &AccountId,
    day: Timestamp,
    is_over: bool,
) -> Result<bool, uc_ledger::LedgerError> {
    let settled = deps.ledger.settle(account).await?;
    if is_over {
        deps.ledger.forget_expiry(day, account).await?;
    }
    Ok(settled)
}

async fn grant_one(
    plans: &Plans,
    due: &DueKey,
    now: Timestamp,
    report: &mut Report,
    metrics: &mut Metrics,
) {
    match plans.grant_due(&due.key).await {
        Ok(outcome) => {
            report.granted += u64::from(outcome.granted);
            if outcome.granted > 0
                && let Some(lag) = due.due_at.parse().ok().map(|at: i64| now.millis() - at)
            {
                metrics.add(Metric::ScheduleLag, u64::try_from(lag).unwrap_or_default());
            }
        }
        Err(error) => {
            report.failed += 1;
            tracing::error!(subscription = %due.key.sk, account = %due.key.pk, %error,
                "a period was not granted and stays due");
        }
    }
}

fn emit(deps: &Deps, metrics: &Metrics) {
    metrics.emit("plan-grant", deps.ledger.now());
}

uc_http::operations!(
    Deps;
    get_plan, list_plans, put_plan, create_subscription, list_subscriptions
);

/// The whole function: the schedule's event and HTTP requests.
#[derive(Clone)]
pub struct Function {
    deps: Deps,
    router: Router,
}

impl Function {
    /// The function in a deployment.
    pub fn new(deployment: &Deployment) -> Self {
        let deps = Deps { ledger: deployment.ledger(), secrets: deployment.secrets() };
        let router =
            uc_http::wrap("plan-grant", routes().with_state(deps.clone()), deployment.auth());
        Self { deps, router }
    }

    /// Handles one event within `time`: a request that came through the gateway, else the
    /// schedule's.
    ///
    /// # Errors
    /// The event is neither, or the store is unavailable; then Lambda tries the schedule again.
    pub async fn handle(
        self,
        event: LambdaEvent<Value>,
        time: Duration,
    ) -> Result<Value, lambda_http::Error> {
        let LambdaEvent { payload, context } = event;
        if payload.get("requestContext").is_some() {
            let request: LambdaRequest = serde_json::from_value(payload)?;
            let Ok(answer) = uc_http::invoke(self.router, LambdaEvent::new(request, context)).await;
            return Ok(serde_json::to_value(answer)?);
        }
        if payload.get("source").and_then(Value::as_str) != Some("aws.events") {
            return Err("neither a request nor the schedule's event".into());
        }
        let report = grant_all_due(&self.deps, time).await?;
        tracing::info!(?report, "the schedule ran");
        Ok(serde_json::to_value(report)?)
    }
}
