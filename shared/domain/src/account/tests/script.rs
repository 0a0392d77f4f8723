//! Runs the cases of `cases.txt`, which says how to read them.

use std::fmt::Write as _;

use super::{check_entry, timestamp};
use crate::account::{
    AccountState, Charge, Command, Detail, Draft, Grant, GrantId, GrantRequest, Operation, Origin,
    Overuse, RatedItem, Rejection, Settings, Source, Target,
};
use crate::ratios::{Line, Multiplier, Parameters, Per, Rate};
use crate::{Credits, Quantity, Timestamp};

/// Runs a case from an account without a journal.
pub fn check(name: &str, lines: &[&str]) {
    let mut run = Run {
        state: AccountState::new(Settings::default()),
        now: timestamp(0),
        names: Vec::new(),
        filler: Vec::new(),
    };
    for line in lines {
        let (commands, expected) = line.split_once("->").expect("commands -> outcome = state");
        let actual = run.line(commands);
        assert_eq!(actual, expected.trim(), "\ncase: {name}\nline: {line}");
    }
}

struct Run {
    state: AccountState,
    now: Timestamp,
    names: Vec<GrantId>,
    filler: Vec<GrantId>,
}

impl Run {
    fn line(&mut self, line: &str) -> String {
        let mut commands = line.trim();
        if let Some(rest) = commands.strip_prefix('@') {
            let (time, rest) = rest.split_once(' ').unwrap();
            (self.now, commands) = (parse_time(time), rest);
        }
        if let Some(fill) = commands.strip_prefix("fill ") {
            let (count, grant) = fill.split_once(' ').unwrap();
            return self.fill(count.parse().unwrap(), grant);
        }
        let mut draft = Draft::open(&self.state, self.now);
        let mut outcomes = Vec::new();
        let mut accepted = commands == "look";
        let mut told = 0;
        for command in commands.split('&').map(str::trim).filter(|text| *text != "look") {
            let before = draft.clone();
            match draft.apply(Origin::System, &parse(command, draft.state().settings())) {
                Ok(id) => {
                    accepted = true;
                    if command.starts_with("grant") {
                        self.names.push(GrantId(id));
                    }
                }
                Err(rejection) => {
                    assert_eq!(format!("{draft:?}"), format!("{before:?}"), "as it was");
                    outcomes.extend(before.finish().operations.drain(told..).map(Ok));
                    told = draft.clone().finish().operations.len();
                    outcomes.push(Err(rejection));
                }
            }
        }
        if accepted {
            let applied = draft.finish();
            outcomes.extend(applied.operations[told..].iter().cloned().map(Ok));
            if !applied.operations.is_empty() {
                check_entry(&self.state, &applied);
                self.state = applied.state;
            }
        } else {
            // Nothing was written, not even what time brought.
            outcomes.retain(Result::is_err);
        }
        let outcomes: Vec<_> = outcomes.iter().map(|outcome| self.outcome(outcome)).collect();
        let outcomes = if outcomes.is_empty() { "nothing".into() } else { outcomes.join("; ") };
        format!("{outcomes} = {}", self.show_state())
    }

    fn fill(&mut self, count: usize, grant: &str) -> String {
        for _ in 0..count {
            let mut draft = Draft::open(&self.state, self.now);
            let command = parse(&format!("grant 1 {grant}"), self.state.settings());
            self.filler.push(GrantId(draft.apply(Origin::System, &command).unwrap()));
            let applied = draft.finish();
            check_entry(&self.state, &applied);
            self.state = applied.state;
        }
        format!("filled = {}", self.show_state())
    }

    fn outcome(&self, outcome: &Result<Operation, Rejection>) -> String {
        match outcome {
            Ok(operation) => self.show_operation(operation),
            Err(Rejection::Invalid(_)) => "!invalid".into(),
            Err(Rejection::LimitExceeded(_)) => "!limit".into(),
            Err(Rejection::PriceGroupChanged(group)) => format!("!group {group}"),
            Err(Rejection::InsufficientCredits { available, required, shortfall }) => {
                format!("!insufficient {available}, {required} needed, {shortfall} short")
            }
            Err(_) => unimplemented!(),
        }
    }

    fn show_operation(&self, operation: &Operation) -> String {
        let mut text = operation.detail.kind().to_owned();
        match &operation.detail {
            Detail::Grant { grant, .. }
            | Detail::Activation { grant }
            | Detail::Expiry { grant } => write!(text, " {}", self.name(*grant)).unwrap(),
            Detail::Charge { requested, .. } => {
                let forgiven = requested.checked_add(operation.credits()).unwrap();
                assert!(!forgiven.is_negative());
                if forgiven.is_positive() {
                    write!(text, " forgiving {forgiven}").unwrap();
                }
            }
            Detail::Settings(_) => {}
            _ => unimplemented!(),
        }
        if operation.at < self.state.settled_at() {
            write!(text, " @{}", show_time(operation.at)).unwrap();
        }
        for (index, posting) in operation.postings.iter().enumerate() {
            let target = match posting.target {
                Target::Grant(grant) => self.name(grant),
                Target::Debt => "debt".into(),
            };
            let sign = if posting.credits.is_negative() { "" } else { "+" };
            let colon = if index == 0 { ":" } else { "" };
            write!(text, "{colon} {target}{sign}{}", posting.credits).unwrap();
        }
        text
    }

    fn show_state(&self) -> String {
        let state = &self.state;
        let (filler, grants): (Vec<Grant>, Vec<Grant>) =
            state.grants().iter().partition(|grant| self.filler.contains(&grant.id));
        let mut parts = Vec::new();
        for grant in grants {
            let text = format!("{} {}", self.name(grant.id), grant.remaining);
            parts.push(if state.is_pending(&grant) { format!("({text})") } else { text });
        }
        if !filler.is_empty() {
            parts.push(format!("{} filler", filler.len()));
        }
        if state.debt().is_positive() {
            parts.push(format!("debt {}", state.debt()));
        }
        if parts.is_empty() { "-".into() } else { parts.join(", ") }
    }

    fn name(&self, id: GrantId) -> String {
        let name = ('a'..='z').zip(&self.names).find(|(_, known)| **known == id);
        name.map_or_else(|| "filler".into(), |(name, _)| name.to_string())
    }
}

fn parse(command: &str, settings: &Settings) -> Command {
    let mut words = command.split_whitespace();
    match words.next().unwrap() {
        "grant" => {
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
                    _ => {
                        let priority = word.strip_prefix('p').expect("a priority").parse();
                        request.priority = Some(priority.unwrap());
                    }
                }
            }
            Command::Grant(request)
        }
        "charge" => {
            let mut charge = Charge {
                credits: parse_credits(words.next().unwrap()),
                items: Vec::new(),
                ratio_version: None,
                price_group: None,
                max_credits: None,
                occurred_at: None,
            };
            while let (Some(option), Some(value)) = (words.next(), words.next()) {
                match option {
                    "max" => charge.max_credits = Some(parse_credits(value)),
                    "group" => charge.price_group = Some(value.into()),
                    "items" => {
                        charge.items.extend(value.split(',').map(|credits| item(credits, 1)));
                    }
                    "lines" => {
                        let each = value.split(',').map(|lines| lines.parse().unwrap());
                        charge.items.extend(each.map(|lines| item("0", lines)));
                    }
                    _ => panic!("{command}"),
                }
            }
            Command::Charge(charge)
        }
        "settings" => {
            let mut settings = settings.clone();
            while let Some(word) = words.next() {
                match word {
                    "record" => settings.overuse = Overuse::Record,
                    "refuse" => settings.overuse = Overuse::Refuse,
                    "forgive" => settings.overuse = Overuse::Forgive,
                    "line" => settings.credit_line = parse_credits(words.next().unwrap()),
                    "group" => settings.price_group = words.next().unwrap().into(),
                    _ => panic!("{command}"),
                }
            }
            Command::Settings(settings)
        }
        _ => panic!("{command}"),
    }
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

fn parse_time(text: &str) -> Timestamp {
    let (days, rest) = text.split_once('d').unwrap();
    let millis = rest.strip_suffix("ms").map_or(0, |millis| millis.parse().unwrap());
    timestamp(days.parse::<i64>().unwrap() * DAY + millis)
}

fn show_time(at: Timestamp) -> String {
    let millis = at.millis() - timestamp(0).millis();
    assert_eq!(millis % DAY, 0, "times that are shown are whole days");
    format!("{}d", millis / DAY)
}
