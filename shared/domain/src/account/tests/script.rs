//! Runs the cases of `cases/`; `cases/README.md` says how to read them.
//!
//! The state machine's own tests run them through [`Draft`](uc_domain::account::Draft), and the
//! ledger's through the real ledger: this file is part of both, and a [`Machine`] is what differs.

use std::fmt::Write as _;

use uc_domain::account::{
    AccountState, Capture, Charge, Command, Detail, GrantId, GrantRequest, GrantTerms, Hold,
    HoldId, HoldRequest, Operation, OperationId, Origin, Overuse, PaymentChange, RatedItem,
    RefundRequest, Rejection, Rollover, Settings, Source, Status, Target,
};
use uc_domain::ratios::{Line, Multiplier, Parameters, Per, Rate};
use uc_domain::{Credits, Quantity, Timestamp};

/// The tables.
const TABLES: [&str; 9] = [
    include_str!("cases/grants.txt"),
    include_str!("cases/charges.txt"),
    include_str!("cases/holds.txt"),
    include_str!("cases/captures.txt"),
    include_str!("cases/refunds.txt"),
    include_str!("cases/corrections.txt"),
    include_str!("cases/rollovers.txt"),
    include_str!("cases/limits.txt"),
    include_str!("cases/precedence.txt"),
];

/// One case: from an account without a journal, an entry a line.
#[derive(Debug, PartialEq, Eq)]
pub struct Case {
    pub name: &'static str,
    pub lines: Vec<&'static str>,
}

/// What carries out the commands of a case.
pub trait Machine {
    /// Begins an entry at `now`.
    fn open(&mut self, now: Timestamp);
    /// The settings in force.
    fn settings(&self) -> Settings;
    /// Applies a command, and says what happened that was not said before: what time brought, then
    /// what the command did. A rejection changes nothing.
    fn apply(&mut self, origin: Origin, command: &Command) -> Result<Vec<Operation>, Rejection>;
    /// Writes what time has brought, and nothing else.
    fn look(&mut self) -> Vec<Operation>;
    /// Ends the entry: where nothing was accepted, nothing is written.
    fn close(&mut self);
    /// The state as it was written last.
    fn state(&self) -> AccountState;
    /// Checks what must hold after a case.
    fn finish(&mut self) {}
}

/// All cases, each with a name and a content of its own.
pub fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let lines = TABLES.iter().flat_map(|table| table.lines());
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with(';')) {
        match line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            Some(name) => {
                assert!(cases.iter().all(|case| case.name != name), "two cases: {name}");
                cases.push(Case { name, lines: Vec::new() });
            }
            None => cases.last_mut().expect("a name comes first").lines.push(line),
        }
    }
    for (index, case) in cases.iter().enumerate() {
        let again = cases[..index].iter().find(|other| other.lines == case.lines);
        assert_eq!(again, None, "the same case: {}", case.name);
    }
    cases
}

/// Runs cases, each with a machine of its own, and says all that is not as expected. `by`: what the
/// machines are, for `cargo evidence`.
pub fn check_all<M: Machine>(by: &str, cases: &[Case], mut machine: impl FnMut(&Case) -> M) {
    let failed = cases.iter().filter_map(|case| check(case, &mut machine(case)).err());
    let failed: Vec<String> = failed.collect();
    assert!(failed.is_empty(), "{} cases failed\n{}", failed.len(), failed.join("\n"));
    let lines = cases.iter().map(|case| case.lines.len()).sum::<usize>();
    println!("evidence: tables: {} cases answered by {by}, {lines} lines", cases.len());
}

/// Runs a case up to the first line that is not as expected.
fn check(case: &Case, machine: &mut dyn Machine) -> Result<(), String> {
    let _named = Named(case.name);
    let mut run = Run { machine, now: timestamp(0), world: World::default() };
    for line in &case.lines {
        let (commands, expected) = line.split_once("->").expect("commands -> outcome = state");
        let (actual, expected) = (run.line(commands), expected.trim());
        if actual != expected {
            let name = case.name;
            return Err(format!("[{name}]\n{commands}\nexpected: {expected}\nactual:   {actual}"));
        }
    }
    run.machine.finish();
    Ok(())
}

/// Says in which case something panicked.
struct Named(&'static str);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("in case [{}]", self.0);
        }
    }
}

/// So many milliseconds after day 0 of the tests, 2026-01-01.
pub fn timestamp(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_767_225_600_000 + millis).unwrap()
}

struct Run<'a> {
    machine: &'a mut dyn Machine,
    now: Timestamp,
    world: World,
}

impl Run<'_> {
    fn line(&mut self, line: &str) -> String {
        let mut commands = line.trim();
        if let Some(rest) = commands.strip_prefix('@') {
            let (time, rest) = rest.split_once(' ').unwrap();
            (self.now, commands) = (parse_time(time), rest);
        }
        if let Some(fill) = commands.strip_prefix("fill ") {
            return self.fill(fill);
        }
        self.machine.open(self.now);
        let mut outcomes = Vec::new();
        if commands == "look" {
            outcomes.extend(self.machine.look().into_iter().map(Ok));
            self.world.learn(&outcomes, false);
        } else {
            for command in commands.split('&').map(str::trim) {
                for _ in 0..repeated(command).0 {
                    let happened = self.apply(repeated(command).1, false);
                    outcomes.extend(happened);
                }
            }
        }
        self.machine.close();
        let state = self.machine.state();
        let told = outcomes.iter().map(|outcome| self.world.outcome(outcome, &state));
        let told = if outcomes.is_empty() { "nothing".into() } else { joined(told, "; ") };
        format!("{told} = {}", self.world.show_state(&state))
    }

    /// Applies one command and learns what happened.
    fn apply(&mut self, command: &str, filler: bool) -> Vec<Result<Operation, Rejection>> {
        let (origin, command) = self.world.parse(command, &self.machine.settings());
        let happened = match self.machine.apply(origin, &command) {
            Ok(operations) => operations.into_iter().map(Ok).collect(),
            Err(rejection) => vec![Err(rejection)],
        };
        self.world.learn(&happened, filler);
        happened
    }

    /// So many grants or holds alike, an entry each.
    fn fill(&mut self, fill: &str) -> String {
        let (count, what) = fill.split_once(' ').unwrap();
        let hold = what.starts_with("hold ");
        let command = if hold { what.to_owned() } else { format!("grant 1 {what}") };
        for _ in 0..count.parse().unwrap() {
            self.machine.open(self.now);
            let happened = self.apply(&command, true);
            assert!(happened.iter().all(Result::is_ok), "{happened:?}");
            self.machine.close();
        }
        format!("filled = {}", self.world.show_state(&self.machine.state()))
    }
}

/// `96* charge 0` is 96 commands.
fn repeated(command: &str) -> (usize, &str) {
    let times = command.split_once("* ");
    times.map_or((1, command), |(times, command)| (times.parse().unwrap(), command))
}

/// One after the other; what is the same several times in a row stands once.
fn joined(outcomes: impl Iterator<Item = String>, separator: &str) -> String {
    let mut runs: Vec<(usize, String)> = Vec::new();
    for outcome in outcomes {
        match runs.last_mut() {
            Some((times, last)) if *last == outcome => *times += 1,
            _ => runs.push((1, outcome)),
        }
    }
    let shown = runs.into_iter().map(|(times, outcome)| match times {
        1 => outcome,
        _ => format!("{times}* {outcome}"),
    });
    shown.collect::<Vec<_>>().join(separator)
}

/// What a case has led to so far: the evidence that commands need, and the names.
#[derive(Default)]
struct World {
    operations: Vec<Operation>,
    /// a, b, c ...
    grants: Vec<GrantId>,
    /// A, B, C ...
    holds: Vec<HoldId>,
    /// #1, #2 ...
    charges: Vec<OperationId>,
    filler: Vec<OperationId>,
    asked: usize,
}

impl World {
    fn learn(&mut self, happened: &[Result<Operation, Rejection>], filler: bool) {
        for operation in happened.iter().flatten() {
            if filler && operation.origin != Origin::System {
                self.filler.push(operation.id);
            } else {
                match operation.detail {
                    Detail::Grant { .. } => self.grants.push(GrantId(operation.id)),
                    Detail::Refund { grant, .. } | Detail::ClawbackReversal { grant, .. } => {
                        self.grants.extend(grant.filter(|grant| grant.0 == operation.id));
                    }
                    Detail::Hold { .. } => self.holds.push(HoldId(operation.id)),
                    Detail::Charge { .. } | Detail::Capture { .. } => {
                        self.charges.push(operation.id);
                    }
                    _ => {}
                }
            }
            self.operations.push(operation.clone());
        }
    }

    fn operation(&self, id: OperationId) -> &Operation {
        self.operations.iter().find(|operation| operation.id == id).expect("it happened")
    }

    fn outcome(&self, outcome: &Result<Operation, Rejection>, state: &AccountState) -> String {
        match outcome {
            Ok(operation) => self.show_operation(operation, state),
            Err(rejection) => show_rejection(rejection),
        }
    }

    fn show_operation(&self, operation: &Operation, state: &AccountState) -> String {
        let mut text = operation.detail.kind().to_owned();
        match &operation.detail {
            Detail::Grant { grant, .. }
            | Detail::Activation { grant }
            | Detail::Expiry { grant } => write!(text, " {}", self.grant(*grant)).unwrap(),
            Detail::Charge { requested, .. } => text += &forgiven(operation, *requested),
            Detail::Hold { requested, credits, expires_at, ratio_version } => {
                let name = self.hold(HoldId(operation.id));
                write!(text, " {name} {credits}").unwrap();
                if credits != requested {
                    write!(text, " of {requested}").unwrap();
                }
                write!(text, " until {}", show_time(*expires_at)).unwrap();
                text += &ratio_version.map(|version| format!(" v{version}")).unwrap_or_default();
            }
            Detail::HoldExtension { hold, expires_at } => {
                write!(text, " {} until {}", self.hold(*hold), show_time(*expires_at)).unwrap();
            }
            Detail::Capture { hold, requested, from_hold, late, last, .. } => {
                write!(text, " {}", self.hold(*hold)).unwrap();
                if *late {
                    assert!(from_hold.is_zero());
                    text += " late";
                } else {
                    write!(text, " using {from_hold}").unwrap();
                }
                text += if *last { "" } else { " part" };
                text += &forgiven(operation, *requested);
            }
            Detail::Release { hold, released, .. } => {
                write!(text, " {} {released}", self.hold(*hold)).unwrap();
            }
            Detail::Refund { charge, credits, refunded, grant } => {
                let number = self.charges.iter().position(|known| known == charge).unwrap() + 1;
                write!(text, " #{number} {credits}, in all {refunded}").unwrap();
                text +=
                    &grant.map(|grant| format!(", to {}", self.grant(grant))).unwrap_or_default();
            }
            Detail::Clawback { payment, credits, forfeited } => {
                write!(text, " {payment} {credits}").unwrap();
                text += &forfeited_before(*forfeited);
            }
            Detail::ClawbackReversal { payment, credits, grant, forfeited } => {
                write!(text, " {payment} {credits}").unwrap();
                text += &forfeited_before(*forfeited);
                text +=
                    &grant.map(|grant| format!(", to {}", self.grant(grant))).unwrap_or_default();
            }
            Detail::GrantVoid { grant, credits } => {
                write!(text, " {} {credits}", self.grant(*grant)).unwrap();
            }
            Detail::Settings(_) | Detail::WriteOff => {}
        }
        if operation.at < state.settled_at() {
            write!(text, " @{}", show_time(operation.at)).unwrap();
        }
        let postings = operation.postings.iter().map(|posting| {
            let target = match posting.target {
                Target::Grant(grant) => self.grant(grant),
                Target::Debt => "debt".into(),
            };
            let sign = if posting.credits.is_negative() { "" } else { "+" };
            format!("{target}{sign}{}", posting.credits)
        });
        if operation.postings.is_empty() { text } else { text + ": " + &joined(postings, " ") }
    }

    fn show_state(&self, state: &AccountState) -> String {
        let mut parts = Vec::new();
        let filler = |id: OperationId| self.filler.contains(&id);
        for grant in state.grants().iter().filter(|grant| !filler(grant.id.0)) {
            let text = format!("{} {}", self.grant(grant.id), grant.remaining);
            parts.push(match grant {
                _ if state.is_pending(grant) => format!("({text})"),
                _ if state.is_lingering(grant) => format!("<{text}>"),
                _ => text,
            });
        }
        let grants = state.grants().iter().filter(|grant| filler(grant.id.0)).count();
        parts.extend((grants > 0).then(|| format!("{grants} filler")));
        for hold in state.holds().iter().filter(|hold| !filler(hold.id.0)) {
            parts.push(format!("{}[{}]", self.hold(hold.id), self.show_parts(hold)));
        }
        let holds = state.holds().iter().filter(|hold| filler(hold.id.0)).count();
        parts.extend((holds > 0).then(|| format!("{holds} held")));
        for hold in state.expired_holds().iter().filter(|hold| !filler(hold.id.0)) {
            parts.push(format!("{} expired", self.hold(hold.id)));
        }
        let late = state.expired_holds().iter().filter(|hold| filler(hold.id.0)).count();
        parts.extend((late > 0).then(|| format!("{late} expired")));
        parts.extend(state.debt().is_positive().then(|| format!("debt {}", state.debt())));
        if parts.is_empty() { "-".into() } else { parts.join(", ") }
    }

    fn show_parts(&self, hold: &Hold) -> String {
        let filler = |grant: GrantId| self.filler.contains(&grant.0);
        let reserved = hold.reserved.iter();
        let mut parts: Vec<String> = reserved
            .filter(|part| !filler(part.grant))
            .map(|part| format!("{} {}", self.grant(part.grant), part.credits))
            .collect();
        let of_filler = hold.reserved.iter().filter(|part| filler(part.grant));
        let of_filler = of_filler.map(|part| part.credits.micros()).sum::<i128>();
        let of_filler = Credits::from_micros(of_filler).unwrap();
        parts.extend((!of_filler.is_zero()).then(|| format!("filler {of_filler}")));
        let unfunded = hold.unfunded;
        parts.extend((!unfunded.is_zero()).then(|| format!("line {unfunded}")));
        parts.join(", ")
    }

    fn grant(&self, id: GrantId) -> String {
        let name = ('a'..='z').zip(&self.grants).find(|(_, known)| **known == id);
        name.map_or_else(|| "filler".into(), |(name, _)| name.to_string())
    }

    fn hold(&self, id: HoldId) -> String {
        let name = ('A'..='Z').zip(&self.holds).find(|(_, known)| **known == id);
        name.map_or_else(|| "filler".into(), |(name, _)| name.to_string())
    }

    fn parse_grant(&self, name: &str) -> GrantId {
        let index = ('a'..='z').position(|letter| name == letter.to_string()).expect("a grant");
        self.grants.get(index).copied().unwrap_or(GrantId(NEVER))
    }

    fn parse_hold(&self, name: &str) -> HoldId {
        let index = ('A'..='Z').position(|letter| name == letter.to_string()).expect("a hold");
        self.holds.get(index).copied().unwrap_or(HoldId(NEVER))
    }

    fn was_voided(&self, id: GrantId) -> bool {
        let voids = |operation: &Operation| matches!(operation.detail, Detail::GrantVoid { grant, .. } if grant == id);
        self.operations.iter().any(voids)
    }

    /// The terms on which an operation opened a grant.
    fn terms(&self, id: GrantId) -> Option<GrantTerms> {
        GrantTerms::opened_by(self.operation(id.0))
    }

    /// A command, and who asks for it.
    fn parse(&mut self, command: &str, settings: &Settings) -> (Origin, Command) {
        self.asked += 1;
        let key = format!("k{}", self.asked);
        let by_hand = command.strip_prefix("hand ");
        let mut words = by_hand.unwrap_or(command).split_whitespace();
        let parsed = self.parse_words(&mut words, settings);
        assert_eq!(words.next(), None, "{command}");
        let origin = match &parsed {
            Command::Grant(_) if by_hand.is_none() => {
                Origin::Payment { provider: "pay".into(), payment: key }
            }
            Command::Clawback(change) | Command::ClawbackReversal(change) => {
                Origin::PaymentChange {
                    provider: "pay".into(),
                    mode: "test".into(),
                    payment: change.payment.clone(),
                    number: u32::try_from(self.asked).unwrap(),
                }
            }
            _ => Origin::Client { key },
        };
        (origin, parsed)
    }

    fn parse_words<'w>(
        &self,
        words: &mut impl Iterator<Item = &'w str>,
        settings: &Settings,
    ) -> Command {
        let kind = words.next().unwrap();
        let mut next = || words.next().expect("one more word");
        match kind {
            "grant" => Command::Grant(parse_grant(words)),
            "charge" => Command::Charge(parse_charge(parse_credits(next()), words)),
            "settings" => Command::Settings(parse_settings(settings.clone(), words)),
            "hold" => Command::Hold(parse_hold_request(words)),
            "extend" => {
                let hold = self.parse_hold(next());
                assert_eq!(next(), "for");
                Command::ExtendHold { hold, millis: parse_millis(next()) }
            }
            "capture" => {
                let hold = self.parse_hold(next());
                let credits = parse_credits(next());
                let mut words = words.peekable();
                let last = words.next_if_eq(&"part").is_none();
                Command::Capture(Capture { hold, charge: parse_charge(credits, &mut words), last })
            }
            "void" => {
                let name = next();
                if name.starts_with(char::is_uppercase) {
                    Command::VoidHold(self.parse_hold(name))
                } else {
                    Command::VoidGrant(self.parse_grant(name))
                }
            }
            "refund" => self.parse_refund(words),
            "clawback" | "reverse" => {
                let payment = next();
                let terms = self.terms(self.parse_grant(payment)).expect("a grant");
                let credits = parse_credits(next());
                let (taken, forfeited) = taken_back(&self.operations, payment);
                let payment = payment.into();
                let change = PaymentChange { payment, credits, terms, taken, forfeited };
                match kind {
                    "clawback" => Command::Clawback(change),
                    _ => Command::ClawbackReversal(change),
                }
            }
            "writeoff" => Command::WriteOff(words.next().map(parse_credits)),
            _ => panic!("{kind}"),
        }
    }

    /// The evidence is gathered as a caller does it, but where a case says otherwise.
    fn parse_refund<'w>(&self, words: &mut impl Iterator<Item = &'w str>) -> Command {
        let number = words.next().and_then(|word| word.strip_prefix('#')).expect("a charge");
        let charge = self.charges[number.parse::<usize>().unwrap() - 1];
        let postings = self.operation(charge).postings.clone();
        let mut refunds = self.operations.iter().filter_map(|operation| match operation.detail {
            Detail::Refund { charge: of, refunded, .. } if of == charge => Some(refunded),
            _ => None,
        });
        let terms = postings.iter().filter_map(|posting| match posting.target {
            Target::Grant(id) => {
                let is_left_out =
                    |terms: &GrantTerms| terms.source != Source::Paid && self.was_voided(id);
                self.terms(id).filter(|terms| !is_left_out(terms))
            }
            Target::Debt => None,
        });
        let mut request = RefundRequest {
            charge,
            credits: None,
            refunded: refunds.next_back().unwrap_or(Credits::ZERO),
            terms: terms.collect(),
            postings,
        };
        while let Some(word) = words.next() {
            match word {
                "after" => request.refunded = parse_credits(words.next().unwrap()),
                "blind" => request.terms.clear(),
                _ => request.credits = Some(parse_credits(word)),
            }
        }
        Command::Refund(request)
    }
}

/// An operation that never happened.
const NEVER: OperationId = OperationId { seq: 1 << 40, position: 0 };

fn show_rejection(rejection: &Rejection) -> String {
    match rejection {
        Rejection::Invalid(_) => "!invalid".into(),
        Rejection::LimitExceeded(text) => format!("!limit {}", which_limit(text)),
        Rejection::PriceGroupChanged(group) => format!("!group {group}"),
        Rejection::InsufficientCredits { available, required, shortfall } => {
            format!("!insufficient {available}, {required} needed, {shortfall} short")
        }
        Rejection::AccountStatus(status) => format!("!{}", status.as_str()),
        Rejection::HoldGone => "!hold gone".into(),
        Rejection::HoldExpired(at) => format!("!hold expired {}", show_time(*at)),
        Rejection::RefundExceedsCharge { left } => format!("!refund exceeds {left}"),
        Rejection::GrantGone => "!grant gone".into(),
        Rejection::GrantNotVoidable(_) => "!not voidable".into(),
        Rejection::ExceedsDebt { debt } => format!("!exceeds debt {debt}"),
    }
}

/// A word for each limit, from the text that says it.
fn which_limit(text: &str) -> &'static str {
    let words = [
        ("an entry carries", "entry"),
        ("32 lines", "lines"),
        ("10^15", "range"),
        ("open holds reserve from 64", "lingering"),
        ("64 open holds", "holds"),
        ("7 days", "life"),
        ("roll over", "rollovers"),
        ("64 grants", "grants"),
    ];
    words.iter().find(|(part, _)| text.contains(part)).expect("a known limit").1
}

fn forgiven(operation: &Operation, requested: Credits) -> String {
    let forgiven = requested.checked_add(operation.credits()).unwrap();
    assert!(!forgiven.is_negative());
    if forgiven.is_zero() { String::new() } else { format!(" forgiving {forgiven}") }
}

fn parse_grant<'w>(words: &mut impl Iterator<Item = &'w str>) -> GrantRequest {
    let mut request = GrantRequest {
        amount: parse_credits(words.next().unwrap()),
        source: parse_source(words.next().unwrap()),
        priority: None,
        effective_at: None,
        expires_at: None,
        paid: None,
        rollover: None,
    };
    while let Some(word) = words.next() {
        match word {
            "from" => request.effective_at = Some(parse_time(words.next().unwrap())),
            "until" => request.expires_at = Some(parse_time(words.next().unwrap())),
            "roll" => {
                let (min, max) = words.next().unwrap().split_once("..").unwrap();
                assert_eq!(words.next(), Some("until"));
                let expires_at = parse_time(words.next().unwrap());
                let (min, max) = (parse_credits(min), parse_credits(max));
                request.rollover = Some(Rollover { min, max, expires_at });
            }
            _ => {
                let priority = word.strip_prefix('p').expect("a priority").parse();
                request.priority = Some(priority.unwrap());
            }
        }
    }
    request
}

fn parse_charge<'w>(credits: Credits, words: &mut impl Iterator<Item = &'w str>) -> Charge {
    let mut charge = Charge::fixed(credits);
    while let (Some(option), Some(value)) = (words.next(), words.next()) {
        match option {
            "max" => charge.max_credits = Some(parse_credits(value)),
            "group" => charge.price_group = Some(value.into()),
            "version" => charge.ratio_version = Some(value.parse().unwrap()),
            "items" => {
                charge.items.extend(value.split(',').map(|credits| item(credits, 1)));
            }
            "lines" => {
                let each = value.split(',').map(|lines| lines.parse().unwrap());
                charge.items.extend(each.map(|lines| item("0", lines)));
            }
            _ => panic!("{option}"),
        }
    }
    charge
}

fn parse_hold_request<'w>(words: &mut impl Iterator<Item = &'w str>) -> HoldRequest {
    let credits = parse_credits(words.next().unwrap());
    assert_eq!(words.next(), Some("for"));
    let millis = parse_millis(words.next().unwrap());
    let mut request =
        HoldRequest { credits, millis, partial: false, ratio_version: None, price_group: None };
    while let Some(word) = words.next() {
        match word {
            "partial" => request.partial = true,
            "group" => request.price_group = words.next().map(Into::into),
            "version" => request.ratio_version = words.next().map(|word| word.parse().unwrap()),
            _ => panic!("{word}"),
        }
    }
    request
}

fn parse_settings<'w>(
    mut settings: Settings,
    words: &mut impl Iterator<Item = &'w str>,
) -> Settings {
    while let Some(word) = words.next() {
        match word {
            "record" => settings.overuse = Overuse::Record,
            "refuse" => settings.overuse = Overuse::Refuse,
            "forgive" => settings.overuse = Overuse::Forgive,
            "line" => settings.credit_line = parse_credits(words.next().unwrap()),
            "group" => settings.price_group = words.next().unwrap().into(),
            "active" => settings.status = Status::Active,
            "suspended" => settings.status = Status::Suspended,
            "closed" => settings.status = Status::Closed,
            _ => panic!("{word}"),
        }
    }
    settings
}

fn item(credits: &str, lines: usize) -> RatedItem {
    let rate = Rate::new("1".parse().unwrap(), Per::ONE, None).unwrap();
    let quantity = Quantity::from_whole(1).unwrap();
    let line = Line::new("m".into(), "tokens".into(), quantity, rate, Multiplier::ONE).unwrap();
    RatedItem {
        lines: vec![line; lines],
        credits: parse_credits(credits),
        minimum_applied: false,
        matched: None,
        parameters: Parameters::new(),
        requests: 1,
        filled_by: None,
        provider: None,
    }
}

fn parse_credits(text: &str) -> Credits {
    if text == "max" { Credits::MAX } else { text.parse().unwrap() }
}

fn parse_source(text: &str) -> Source {
    match text {
        "paid" => Source::Paid,
        "plan" => Source::Plan,
        "promo" => Source::Promo,
        "trial" => Source::Trial,
        "rollover" => Source::Rollover,
        "refund" => Source::Refund,
        "migration" => Source::Migration,
        _ => panic!("{text}"),
    }
}

const DAY: i64 = 86_400_000;
const HOUR: i64 = 3_600_000;

fn parse_time(text: &str) -> Timestamp {
    timestamp(parse_millis(text))
}

fn forfeited_before(credits: Credits) -> String {
    if credits.is_zero() { String::new() } else { format!(", {credits} forfeited before") }
}

/// `3d`, `6h`, `1ms`, `3d+6h`, `3d-1ms`.
fn parse_millis(text: &str) -> i64 {
    let units = [("ms", 1), ("d", DAY), ("h", HOUR)];
    let parse = |part: &str| {
        let number = |(unit, millis)| part.strip_suffix(unit).map(|number| (number, millis));
        let (number, millis) = units.into_iter().find_map(number).expect("a unit");
        number.parse::<i64>().unwrap() * millis
    };
    text.split_inclusive(char::is_alphabetic)
        .fold((0, String::new()), |(sum, part), next| {
            let part = part + next;
            // A unit may have two letters.
            if part.ends_with('m') { (sum, part) } else { (sum + parse(&part), String::new()) }
        })
        .0
}

fn show_time(at: Timestamp) -> String {
    let millis = at.millis() - timestamp(0).millis();
    let (days, rest) = (millis.div_euclid(DAY), millis.rem_euclid(DAY));
    match rest {
        0 => format!("{days}d"),
        _ if rest % HOUR == 0 => format!("{days}d+{}h", rest / HOUR),
        _ if rest > DAY / 2 => format!("{}d-{}ms", days + 1, DAY - rest),
        _ => format!("{days}d+{rest}ms"),
    }
}

/// What was taken back of a payment, and how much of that had been forfeited before.
pub fn taken_back(journal: &[Operation], payment: &str) -> (Credits, Credits) {
    let (mut taken, mut gone) = (0, 0);
    for operation in journal {
        match &operation.detail {
            Detail::Clawback { payment: of, credits, forfeited } if of == payment => {
                taken += credits.micros();
                gone += forfeited.micros();
            }
            Detail::ClawbackReversal { payment: of, credits, forfeited, .. } if of == payment => {
                taken -= credits.micros();
                gone -= forfeited.micros();
            }
            _ => {}
        }
    }
    let credits = |micros| Credits::from_micros(micros).unwrap();
    (credits(taken), credits(gone))
}
