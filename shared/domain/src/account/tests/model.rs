//! An account as one would explain it: the list of all that was ever asked, replayed instant by
//! instant after every entry. Slow, and without a line of the state machine.

use std::collections::{BTreeMap, BTreeSet};

use crate::account::{
    Charge, Command, GrantId, GrantRequest, Overuse, Rejection, Settings, Source, Target,
};
use crate::{Credits, Timestamp};

const LARGEST: i128 = 1_000_000_000_000_000_000_000;

/// What happened, by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    Grant,
    Charge,
    Settings,
    Activation(GrantId),
    Expiry(GrantId),
}

/// One thing that happened: what, when, and the change of each target.
pub type Event = (What, Timestamp, BTreeMap<String, i128>);

#[derive(Debug, Clone)]
pub struct Model {
    first: Settings,
    /// All that was accepted, with its time and the name that it got.
    history: Vec<(Timestamp, GrantId, Command)>,
    /// The account after the last of them.
    latest: World,
}

/// A grant of the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lot {
    pub id: GrantId,
    pub source: Source,
    pub priority: u8,
    pub from: Timestamp,
    pub until: Option<Timestamp>,
    pub left: i128,
    pub started: bool,
}

/// The account at one time, with totals over its whole life in millionths.
#[derive(Debug, Clone)]
pub struct World {
    pub lots: Vec<Lot>,
    pub debt: i128,
    pub settings: Settings,
    pub events: Vec<Event>,
    pub granted: i128,
    pub taken: i128,
    pub forgiven: i128,
    pub expired: i128,
}

impl Model {
    pub fn new(first: Settings) -> Self {
        Self { latest: World::new(first.clone()), history: Vec::new(), first }
    }

    /// What is asked next, at `now` or at the time of what came before it. `id` is the name it
    /// gets if it is accepted.
    pub fn ask(&self, now: Timestamp, id: GrantId, command: &Command) -> Result<World, Rejection> {
        let mut world = self.latest.clone();
        world.let_time_pass(now);
        world.step(now, id, command)?;
        Ok(world)
    }

    /// That it was accepted, with the world that [`Self::ask`] gave.
    pub fn accept(&mut self, now: Timestamp, id: GrantId, command: Command, world: World) {
        self.history.push((now, id, command));
        self.latest = world;
    }

    /// The account at `now`, by replaying all of its history.
    pub fn at(&self, now: Timestamp) -> World {
        let mut world = World::new(self.first.clone());
        for (at, id, command) in &self.history {
            world.let_time_pass(*at);
            world.step(*at, *id, command).expect("it was accepted before");
        }
        world.let_time_pass(now);
        world
    }
}

impl World {
    fn new(settings: Settings) -> Self {
        Self {
            lots: Vec::new(),
            debt: 0,
            settings,
            events: Vec::new(),
            granted: 0,
            taken: 0,
            forgiven: 0,
            expired: 0,
        }
    }

    /// Stops at every instant up to `now` at which some grant begins or ends.
    fn let_time_pass(&mut self, now: Timestamp) {
        let instants: BTreeSet<Timestamp> = self
            .lots
            .iter()
            .flat_map(|lot| [Some(lot.from).filter(|_| !lot.started), lot.until])
            .flatten()
            .filter(|at| *at <= now)
            .collect();
        for at in instants {
            let mut names: Vec<GrantId> = self.lots.iter().map(|lot| lot.id).collect();
            names.sort();
            for name in &names {
                self.expire(*name, at);
            }
            for name in &names {
                self.start(*name, at);
            }
        }
    }

    fn expire(&mut self, name: GrantId, at: Timestamp) {
        if let Some(index) =
            self.lots.iter().position(|lot| lot.id == name && lot.started && lot.until == Some(at))
        {
            let lot = self.lots.remove(index);
            self.expired += lot.left;
            self.events.push((What::Expiry(name), at, changes([(grant(name), -lot.left)])));
        }
    }

    fn start(&mut self, name: GrantId, at: Timestamp) {
        if let Some(index) =
            self.lots.iter().position(|lot| lot.id == name && !lot.started && lot.from == at)
        {
            let mut lot = self.lots.remove(index);
            let paid = self.debt.min(lot.left);
            self.debt -= paid;
            lot.left -= paid;
            lot.started = true;
            let change = changes([(debt(), paid), (grant(name), lot.left)]);
            self.events.push((What::Activation(name), at, change));
            if lot.left > 0 {
                self.lots.push(lot);
            }
        }
    }

    fn step(&mut self, now: Timestamp, id: GrantId, command: &Command) -> Result<(), Rejection> {
        match command {
            Command::Grant(request) => self.grant(now, id, request)?,
            Command::Charge(charge) => self.charge(now, charge)?,
            Command::Settings(settings) => {
                self.settings = settings.clone();
                self.events.push((What::Settings, now, BTreeMap::new()));
            }
            _ => unimplemented!(),
        }
        self.let_time_pass(now);
        Ok(())
    }

    fn grant(
        &mut self,
        now: Timestamp,
        id: GrantId,
        request: &GrantRequest,
    ) -> Result<(), Rejection> {
        let amount = request.amount.micros();
        let from = request.effective_at.unwrap_or(now);
        if amount <= 0 || request.expires_at.is_some_and(|until| until <= from) {
            return Err(Rejection::Invalid(""));
        }
        let mut lot = Lot {
            id,
            source: request.source,
            priority: request.priority.unwrap_or(match request.source {
                Source::Paid => 100,
                _ => 50,
            }),
            from,
            until: request.expires_at,
            left: amount,
            started: from <= now,
        };
        let mut change = BTreeMap::new();
        let mut after = self.clone();
        after.granted += amount;
        if lot.started {
            let paid = after.debt.min(amount);
            after.debt -= paid;
            lot.left -= paid;
            add(&mut change, debt(), paid);
            add(&mut change, grant(id), lot.left);
        }
        let over = lot.until.is_some_and(|until| until <= now);
        if lot.left > 0 {
            let others = after.lots.iter().filter(|lot| !always_room(lot.source)).count();
            let full = after.lots.len() == 64;
            if !over && !always_room(lot.source) && (full || others == 60) {
                return Err(Rejection::LimitExceeded(""));
            }
            after.lots.push(lot);
            if !over && full {
                after.join_two(&mut change);
            }
        }
        if after.lots.iter().map(|lot| lot.left).sum::<i128>() > LARGEST {
            return Err(Rejection::LimitExceeded(""));
        }
        change.retain(|_, change| *change != 0);
        after.events.push((What::Grant, now, change));
        *self = after;
        Ok(())
    }

    /// One grant instead of the two that are most alike.
    fn join_two(&mut self, change: &mut BTreeMap<String, i128>) {
        self.lots.sort_by_key(|lot| lot.id);
        let mut best: Option<((u64, u8), usize, usize)> = None;
        for newer in 0..self.lots.len() {
            for older in 0..newer {
                let (a, b) = (&self.lots[older], &self.lots[newer]);
                if !always_room(a.source) || a.source != b.source || a.started != b.started {
                    continue;
                }
                let never = i64::MAX;
                let millis = |lot: &Lot| lot.until.map_or(never, Timestamp::millis);
                let apart = (
                    millis(a).abs_diff(millis(b)),
                    a.priority.max(b.priority) - a.priority.min(b.priority),
                );
                let better = best.is_none_or(|(least, best_older, best_newer)| {
                    (apart, older, newer) < (least, best_older, best_newer)
                });
                if better {
                    best = Some((apart, older, newer));
                }
            }
        }
        let (_, older, newer) = best.expect("four of the places are for bought credits");
        let gone = self.lots.remove(newer);
        let kept = &mut self.lots[older];
        kept.left += gone.left;
        kept.until = match (kept.until, gone.until) {
            (Some(a), Some(b)) => Some(a.max(b)),
            _ => None,
        };
        kept.from = kept.from.min(gone.from);
        kept.priority = kept.priority.max(gone.priority);
        if kept.started {
            let kept = kept.id;
            add(change, grant(kept), gone.left);
            add(change, grant(gone.id), -gone.left);
        }
    }

    fn charge(&mut self, now: Timestamp, charge: &Charge) -> Result<(), Rejection> {
        let asked = charge.credits.micros();
        if asked < 0 || charge.max_credits.is_some_and(|max| max.micros() < 0) {
            return Err(Rejection::Invalid(""));
        }
        if charge.price_group.as_ref().is_some_and(|group| *group != self.settings.price_group) {
            return Err(Rejection::PriceGroupChanged(self.settings.price_group.clone()));
        }
        let due = charge.max_credits.map_or(asked, |max| max.micros().min(asked));
        let there: i128 = self.lots.iter().filter(|lot| lot.started).map(|lot| lot.left).sum();
        let short = (due - there).max(0);
        let line = self.settings.credit_line.micros();
        let owed = match self.settings.overuse {
            Overuse::Forgive => 0,
            Overuse::Refuse if short > 0 && self.debt + short > line => {
                let credits = |micros: i128| Credits::from_micros(micros.min(LARGEST)).unwrap();
                return Err(Rejection::InsufficientCredits {
                    available: credits(there - self.debt),
                    required: credits(due),
                    shortfall: credits(self.debt + short - line),
                });
            }
            Overuse::Refuse | Overuse::Record => short,
        };
        if self.debt + owed > LARGEST {
            return Err(Rejection::LimitExceeded(""));
        }
        let mut postings = BTreeMap::new();
        let mut left = due - short;
        self.taken += left + owed;
        self.forgiven += asked - left - owed;
        while left > 0 {
            let first = self.lots.iter().filter(|lot| lot.started).reduce(sooner).unwrap().id;
            let lot = self.lots.iter_mut().find(|lot| lot.id == first).unwrap();
            let taken = lot.left.min(left);
            lot.left -= taken;
            left -= taken;
            add(&mut postings, grant(first), -taken);
            self.lots.retain(|lot| lot.left > 0);
        }
        self.debt += owed;
        add(&mut postings, debt(), -owed);
        postings.retain(|_, change| *change != 0);
        self.events.push((What::Charge, now, postings));
        Ok(())
    }

    /// All grants in burn order, found one after the other.
    pub fn in_burn_order(&self) -> Vec<Lot> {
        let mut rest: Vec<&Lot> = self.lots.iter().collect();
        let mut sorted = Vec::new();
        while let Some(first) = rest.iter().copied().reduce(sooner) {
            rest.retain(|lot| lot.id != first.id);
            sorted.push(first.clone());
        }
        sorted
    }

    pub fn posted(&self) -> i128 {
        self.lots.iter().filter(|lot| lot.started).map(|lot| lot.left).sum::<i128>() - self.debt
    }
}

/// Which of two is spent first, step by step as the design has it.
fn sooner<'a>(a: &'a Lot, b: &'a Lot) -> &'a Lot {
    if a.priority != b.priority {
        return if a.priority < b.priority { a } else { b };
    }
    match (a.until, b.until) {
        (Some(_), None) => return a,
        (None, Some(_)) => return b,
        (Some(x), Some(y)) if x != y => return if x < y { a } else { b },
        _ => {}
    }
    match (a.source, b.source) {
        (Source::Paid, Source::Paid) => {}
        (Source::Paid, _) => return b,
        (_, Source::Paid) => return a,
        _ => {}
    }
    if a.from != b.from {
        return if a.from < b.from { a } else { b };
    }
    if a.id < b.id { a } else { b }
}

fn always_room(source: Source) -> bool {
    source == Source::Paid || source == Source::Refund
}

/// A target's name, so that changes sort.
pub fn target_name(target: Target) -> String {
    match target {
        Target::Grant(id) => grant(id),
        Target::Debt => debt(),
    }
}

fn grant(id: GrantId) -> String {
    id.to_string()
}

fn debt() -> String {
    "debt".into()
}

fn add(changes: &mut BTreeMap<String, i128>, target: String, change: i128) {
    *changes.entry(target).or_default() += change;
}

fn changes<const N: usize>(list: [(String, i128); N]) -> BTreeMap<String, i128> {
    list.into_iter().filter(|(_, change)| *change != 0).collect()
}
