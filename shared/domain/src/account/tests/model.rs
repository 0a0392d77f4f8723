//! An account as one would explain it: the list of all that was ever asked, replayed instant by
//! instant after every entry. Slow, and without a line of the state machine.
//!
//! Credits lie about as coins: each belongs to a lot (a grant), and a hold may have its hand on
//! it. What a lot has left, what a hold reserves and in which order are sums over coins. What a
//! charge took is remembered here, so that a refund needs no evidence.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::account::{
    Capture, Charge, Command, GrantId, GrantRequest, HoldId, HoldRequest, OperationId, Origin,
    Overuse, PaymentChange, RefundRequest, Rejection, ReleaseCause, Rollover, Settings, Source,
    Status, Target,
};
use crate::{Credits, Timestamp};

const LARGEST: i128 = 1_000_000_000_000_000_000_000;
const DAY: i64 = 24 * 60 * 60 * 1000;

/// What happened, by kind, with the figures that the journal tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    Grant { grant: GrantId, source: Source, priority: u8, amount: i128, until: Option<Timestamp> },
    Activation(GrantId),
    Expiry(GrantId),
    Charge { requested: i128 },
    Settings,
    Hold { requested: i128, credits: i128, until: Timestamp },
    Extension { hold: HoldId, until: Timestamp },
    Capture { hold: HoldId, requested: i128, from_hold: i128, late: bool, last: bool },
    Release { hold: HoldId, released: i128, cause: ReleaseCause },
    Refund { charge: OperationId, credits: i128, refunded: i128, grant: Option<GrantId> },
    Clawback { credits: i128, forfeited: i128 },
    Reversal { credits: i128, grant: Option<GrantId>, forfeited: i128 },
    Void { grant: GrantId, credits: i128 },
    WriteOff,
}

/// Changes of targets by their names, each once, in the order in which they were first changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes(pub Vec<(String, i128)>);

/// One thing that happened: its name, what, when, and the change of each target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub id: OperationId,
    pub what: What,
    pub at: Timestamp,
    pub changes: Changes,
}

#[derive(Debug, Clone)]
pub struct Model {
    first: Settings,
    /// All that was accepted, with its time, and the ends of entries.
    history: Vec<(Timestamp, Happened)>,
    /// The account after the last of them.
    latest: World,
}

#[derive(Debug, Clone)]
enum Happened {
    Asked(Origin, Box<Command>),
    EntryEnded,
}

/// A grant of the model, but for its credits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lot {
    pub id: GrantId,
    pub source: Source,
    pub priority: u8,
    pub from: Timestamp,
    pub until: Option<Timestamp>,
    pub rollover: Option<Rollover>,
    pub started: bool,
    /// Whether it is there for holds only.
    pub over: bool,
    /// Whether it took others in.
    pub joined: bool,
}

/// Credits of one lot, and the hold that has its hand on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Coin {
    lot: GrantId,
    holder: Option<HoldId>,
    micros: i128,
}

/// A hold, but for the coins that it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hand {
    pub id: HoldId,
    pub opened: Timestamp,
    pub until: Timestamp,
    pub unfunded: i128,
    pub ratio_version: Option<u64>,
}

/// What a charge took, first to last: from which lot, or as debt where from none.
#[derive(Debug, Clone, Default)]
struct Taken {
    parts: Vec<(Option<GrantId>, i128)>,
    refunded: i128,
}

/// Sums over an account's whole life in millionths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    pub granted: i128,
    pub used: i128,
    pub forgiven: i128,
    pub expired: i128,
    pub forfeited: i128,
    pub clawed_back: i128,
    pub given_back: i128,
    pub written_off: i128,
}

/// The account at one time.
#[derive(Debug, Clone)]
pub struct World {
    pub lots: Vec<Lot>,
    coins: Vec<Coin>,
    pub hands: Vec<Hand>,
    /// Holds that expired, oldest first: name, when, ratio version.
    pub late: Vec<(HoldId, Timestamp, Option<u64>)>,
    /// Until when time has passed.
    passed: Option<Timestamp>,
    pub debt: i128,
    pub settings: Settings,
    pub events: Vec<Rc<Event>>,
    pub totals: Totals,
    /// The name of what happens next.
    next: OperationId,
    /// Every grant as it was opened.
    opened: BTreeMap<GrantId, Lot>,
    charges: BTreeMap<OperationId, Taken>,
    /// Voided purchases, oldest first: what they forfeited and no clawback has counted.
    pub voids: Vec<(GrantId, i128)>,
    /// What was taken back of each payment, and how much of that had been forfeited.
    payments: BTreeMap<String, (i128, i128)>,
}

impl Model {
    pub fn new(first: Settings) -> Self {
        Self { latest: World::new(first.clone()), history: Vec::new(), first }
    }

    /// What is asked next, at `now` or at the time of what came before it.
    pub fn ask(
        &self,
        now: Timestamp,
        origin: &Origin,
        command: &Command,
    ) -> Result<World, Rejection> {
        let mut world = self.latest.clone();
        world.let_time_pass(now);
        world.step(now, origin, command)?;
        Ok(world)
    }

    /// That it was accepted, with the world that [`Self::ask`] gave.
    pub fn accept(&mut self, now: Timestamp, origin: Origin, command: Command, world: World) {
        self.history.push((now, Happened::Asked(origin, Box::new(command))));
        self.latest = world;
    }

    /// That what happened up to `now` was written.
    pub fn end_entry(&mut self, now: Timestamp) {
        self.history.push((now, Happened::EntryEnded));
        self.latest.let_time_pass(now);
        self.latest.end_entry();
    }

    /// The account at `now`.
    pub fn by(&self, now: Timestamp) -> World {
        let mut world = self.latest.clone();
        world.let_time_pass(now);
        world
    }

    /// The account at `now`, by replaying all of its history.
    pub fn at(&self, now: Timestamp) -> World {
        let mut world = World::new(self.first.clone());
        for (at, happened) in &self.history {
            world.let_time_pass(*at);
            match happened {
                Happened::Asked(origin, command) => {
                    world.step(*at, origin, command).expect("it was accepted before");
                }
                Happened::EntryEnded => world.end_entry(),
            }
        }
        world.let_time_pass(now);
        world
    }
}

/// Figures of coins.
impl World {
    /// What is left of a lot.
    pub fn left(&self, lot: GrantId) -> i128 {
        self.sum(|coin| coin.lot == lot)
    }

    /// What no hold has its hand on.
    fn free(&self, lot: GrantId) -> i128 {
        self.sum(|coin| coin.lot == lot && coin.holder.is_none())
    }

    /// What holds have their hands on.
    pub fn reserved(&self, lot: GrantId) -> i128 {
        self.left(lot) - self.free(lot)
    }

    /// What a hold has its hand on, by lot, in the order in which it was reserved.
    pub fn held_parts(&self, hold: HoldId) -> Vec<(GrantId, i128)> {
        let mut parts: Vec<(GrantId, i128)> = Vec::new();
        for coin in self.coins.iter().filter(|coin| coin.holder == Some(hold)) {
            match parts.iter_mut().find(|(lot, _)| *lot == coin.lot) {
                Some((_, micros)) => *micros += coin.micros,
                None => parts.push((coin.lot, coin.micros)),
            }
        }
        parts
    }

    fn sum(&self, of: impl Fn(&Coin) -> bool) -> i128 {
        self.coins.iter().filter(|coin| of(coin)).map(|coin| coin.micros).sum()
    }

    /// What may be spent now.
    pub fn spendable(&self) -> i128 {
        self.lots.iter().filter(|lot| lot.started && !lot.over).map(|lot| self.free(lot.id)).sum()
    }

    fn unfunded(&self) -> i128 {
        self.hands.iter().map(|hand| hand.unfunded).sum()
    }

    pub fn held(&self) -> i128 {
        self.sum(|coin| coin.holder.is_some()) + self.unfunded()
    }

    pub fn posted(&self) -> i128 {
        let started = self.lots.iter().filter(|lot| lot.started);
        started.map(|lot| self.left(lot.id)).sum::<i128>() - self.debt
    }

    /// All credits that are there, now or later.
    pub fn all(&self) -> i128 {
        self.sum(|_| true)
    }

    fn available(&self) -> i128 {
        self.posted() - self.held()
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

    fn lot(&self, id: GrantId) -> Option<&Lot> {
        self.lots.iter().find(|lot| lot.id == id)
    }

    /// Grants that have a place: all but those that are there for holds only.
    fn places(&self) -> Vec<&Lot> {
        self.lots.iter().filter(|lot| !lot.over).collect()
    }

    /// Whether one more grant of this source has a place without merging any.
    fn has_room(&self, source: Source) -> bool {
        let places = self.places();
        let others = places.iter().filter(|lot| !always_room(lot.source)).count();
        places.len() < 64 && (always_room(source) || others < 60)
    }
}

/// Movements of coins.
impl World {
    fn put(&mut self, lot: GrantId, micros: i128) {
        self.coins.push(Coin { lot, holder: None, micros });
    }

    /// Takes up to `micros` from the coins that `of` picks, in order, and says of which lot how
    /// much.
    fn pick(&mut self, micros: i128, of: impl Fn(&Coin) -> bool) -> Vec<(Coin, i128)> {
        let mut missing = micros;
        let mut picked = Vec::new();
        for coin in self.coins.iter_mut().filter(|coin| of(coin)) {
            let taken = coin.micros.min(missing);
            picked.push((*coin, taken));
            coin.micros -= taken;
            missing -= taken;
        }
        picked.retain(|(_, taken)| *taken > 0);
        self.tidy();
        picked
    }

    /// Takes up to `micros` of what may be spent, in burn order.
    fn burn(&mut self, micros: i128) -> Vec<(GrantId, i128)> {
        let mut burnt = Vec::new();
        let mut missing = micros.min(self.spendable());
        while missing > 0 {
            let spendable = |lot: &&Lot| lot.started && !lot.over && self.free(lot.id) > 0;
            let first = self.lots.iter().filter(spendable).reduce(sooner).unwrap().id;
            let taken = self.free(first).min(missing);
            self.pick(taken, |coin| coin.lot == first && coin.holder.is_none());
            missing -= taken;
            burnt.push((first, taken));
        }
        burnt
    }

    /// Forgets what is empty. A grant stays as long as its end brings something.
    fn tidy(&mut self) {
        self.coins.retain(|coin| coin.micros > 0);
        let full: BTreeSet<GrantId> = self.coins.iter().map(|coin| coin.lot).collect();
        self.lots.retain(|lot| {
            full.contains(&lot.id)
                || lot.joined && !lot.over
                || lot.rollover.is_some_and(|rollover| rollover.min > Credits::ZERO)
        });
    }

    /// Pays debt from credits that become spendable, and says what is left of them.
    fn pay_debt(&mut self, micros: i128, changes: &mut Changes) -> i128 {
        let paid = self.debt.min(micros);
        self.debt -= paid;
        changes.add(debt(), paid);
        micros - paid
    }

    /// Puts a new lot there, with what is left of its credits after debt. Two lots become one
    /// where there is no place for it.
    fn open(&mut self, lot: Lot, micros: i128, changes: &mut Changes) {
        let id = lot.id;
        if lot.started {
            changes.add(grant(id), micros);
        }
        let full = self.places().len() == 64;
        self.lots.push(lot);
        self.put(id, micros);
        self.tidy();
        if full && self.lot(id).is_some() {
            self.join_two(changes);
        }
    }

    /// One grant instead of the two that are most alike.
    fn join_two(&mut self, changes: &mut Changes) {
        self.lots.sort_by_key(|lot| lot.id);
        let mut best: Option<((u64, u8), usize, usize)> = None;
        for newer in 0..self.lots.len() {
            for older in 0..newer {
                let (a, b) = (&self.lots[older], &self.lots[newer]);
                if a.over || b.over || !always_room(a.source) {
                    continue;
                }
                if a.source != b.source || a.started != b.started {
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
        let moved = self.left(self.lots[newer].id);
        let gone = self.lots.remove(newer);
        let kept = &mut self.lots[older];
        kept.until = match (kept.until, gone.until) {
            (Some(a), Some(b)) => Some(a.max(b)),
            _ => None,
        };
        kept.from = kept.from.min(gone.from);
        kept.priority = kept.priority.max(gone.priority);
        kept.joined = true;
        let (kept, started) = (kept.id, kept.started);
        for index in 0..self.coins.len() {
            let coin = self.coins[index];
            if coin.lot != gone.id {
                continue;
            }
            self.coins[index].lot = kept;
            // A hold that has its hand on both finds them where the one that stays was.
            let same = |other: &Coin| other.lot == kept && other.holder == coin.holder;
            let other =
                self.coins.iter().enumerate().position(|(at, other)| at != index && same(other));
            if let Some(other) = other.filter(|_| coin.holder.is_some()) {
                self.coins[other].micros += coin.micros;
                self.coins[index].micros = 0;
            }
        }
        self.tidy();
        if started {
            changes.add(grant(gone.id), -moved);
            changes.add(grant(kept), moved);
        }
    }

    /// Where the coins are that were just put into a new lot: it may have been merged.
    fn home_of(&self, lot: GrantId) -> GrantId {
        if self.lot(lot).is_some() { lot } else { self.coins.last().expect("it had a coin").lot }
    }
}

/// What time brings.
impl World {
    fn new(settings: Settings) -> Self {
        Self {
            lots: Vec::new(),
            coins: Vec::new(),
            hands: Vec::new(),
            late: Vec::new(),
            passed: None,
            debt: 0,
            settings,
            events: Vec::new(),
            totals: Totals::default(),
            next: OperationId { seq: 1, position: 0 },
            opened: BTreeMap::new(),
            charges: BTreeMap::new(),
            voids: Vec::new(),
            payments: BTreeMap::new(),
        }
    }

    fn tell(&mut self, what: What, at: Timestamp, mut changes: Changes) {
        changes.0.retain(|(_, change)| *change != 0);
        self.events.push(Rc::new(Event { id: self.next, what, at, changes }));
        self.next.position += 1;
    }

    fn end_entry(&mut self) {
        self.next = OperationId { seq: self.next.seq + 1, position: 0 };
    }

    /// Stops at every instant up to `now` at which some hold or grant begins or ends.
    fn let_time_pass(&mut self, now: Timestamp) {
        while let Some(at) = self.next_instant().filter(|at| *at <= now) {
            let mut hands = self.hands.clone();
            hands.retain(|hand| hand.until == at);
            hands.sort_by_key(|hand| hand.id);
            for hand in hands {
                self.release(hand.id, at, ReleaseCause::Expired);
                self.late.push((hand.id, at, hand.ratio_version));
                if self.late.len() > 64 {
                    self.late.remove(0);
                }
            }
            let mut names: Vec<GrantId> = self.lots.iter().map(|lot| lot.id).collect();
            names.sort();
            for name in &names {
                self.expire(*name, at);
            }
            for name in &names {
                self.start(*name, at);
            }
        }
        self.late.retain(|(_, at, _)| now.millis() - at.millis() < 7 * DAY);
        self.passed = Some(now);
    }

    fn next_instant(&self) -> Option<Timestamp> {
        let lots = self.lots.iter().filter(|lot| !lot.over);
        let instants = lots.filter_map(|lot| if lot.started { lot.until } else { Some(lot.from) });
        instants.chain(self.hands.iter().map(|hand| hand.until)).min()
    }

    fn expire(&mut self, name: GrantId, at: Timestamp) {
        let due = |lot: &&mut Lot| lot.id == name && lot.started && !lot.over;
        let Some(lot) = self.lots.iter_mut().find(due).filter(|lot| lot.until == Some(at)) else {
            return;
        };
        lot.over = true;
        let rollover = lot.rollover.take();
        let gone = self.free(name);
        self.pick(gone, |coin| coin.lot == name && coin.holder.is_none());
        self.tidy();
        // What comes too late ends as it comes.
        let told = self.passed.map_or(at, |passed| passed.max(at));
        if gone > 0 {
            self.totals.expired += gone;
            self.tell(What::Expiry(name), told, changes([(grant(name), -gone)]));
        }
        let Some(Rollover { min, max, expires_at }) = rollover else { return };
        if self.settings.status == Status::Closed {
            return;
        }
        let rolled = max.micros().min(min.micros().max(gone));
        if rolled > 0 && expires_at > at {
            let id = GrantId(self.next);
            let lot = Lot {
                id,
                source: Source::Rollover,
                priority: 50,
                from: at,
                until: Some(expires_at),
                rollover: None,
                started: true,
                over: false,
                joined: false,
            };
            self.opened.insert(id, lot.clone());
            self.totals.granted += rolled;
            let mut changes = Changes::default();
            let rest = self.pay_debt(rolled, &mut changes);
            self.open(lot, rest, &mut changes);
            let what = What::Grant {
                grant: id,
                source: Source::Rollover,
                priority: 50,
                amount: rolled,
                until: Some(expires_at),
            };
            self.tell(what, told, changes);
        }
    }

    fn start(&mut self, name: GrantId, at: Timestamp) {
        let due = |lot: &&mut Lot| lot.id == name && !lot.started && lot.from == at;
        if let Some(lot) = self.lots.iter_mut().find(due) {
            lot.started = true;
            let brought = self.left(name);
            let mut changes = Changes::default();
            let rest = self.pay_debt(brought, &mut changes);
            changes.add(grant(name), rest);
            self.pick(brought - rest, |coin| coin.lot == name);
            self.tell(What::Activation(name), at, changes);
        }
    }

    /// A hold lets go of its coins, one after the other.
    fn release(&mut self, hold: HoldId, at: Timestamp, cause: ReleaseCause) {
        let index = self.hands.iter().position(|hand| hand.id == hold).unwrap();
        let mut released = self.hands.remove(index).unfunded;
        let mut changes = Changes::default();
        let (coins, others) = self.coins.iter().partition(|coin| coin.holder == Some(hold));
        self.coins = others;
        let coins: Vec<Coin> = coins;
        for coin in coins {
            released += coin.micros;
            let lot = self.lot(coin.lot).unwrap();
            if lot.until.is_some_and(|until| until <= at) {
                self.totals.forfeited += coin.micros;
                changes.add(grant(coin.lot), -coin.micros);
            } else {
                let rest = self.pay_debt(coin.micros, &mut changes);
                changes.add(grant(coin.lot), rest - coin.micros);
                self.put(coin.lot, rest);
            }
        }
        self.tidy();
        self.tell(What::Release { hold, released, cause }, at, changes);
    }
}

/// What is asked.
impl World {
    fn step(
        &mut self,
        now: Timestamp,
        origin: &Origin,
        command: &Command,
    ) -> Result<(), Rejection> {
        match command {
            Command::Grant(request) => self.grant(now, origin, request)?,
            Command::Charge(charge) => self.charge(now, charge)?,
            Command::Settings(settings) => {
                if settings.credit_line < Credits::ZERO {
                    return Err(Rejection::Invalid(""));
                }
                self.settings = settings.clone();
                self.tell(What::Settings, now, Changes::default());
            }
            Command::Hold(request) => self.hold(now, request)?,
            Command::ExtendHold { hold, millis } => self.extend(now, *hold, *millis)?,
            Command::Capture(capture) => self.capture(now, capture)?,
            Command::VoidHold(hold) => {
                self.open_hold(*hold)?;
                self.release(*hold, now, ReleaseCause::Voided);
            }
            Command::Refund(request) => self.refund(now, request)?,
            Command::Clawback(change) => self.claw_back(now, change)?,
            Command::ClawbackReversal(change) => self.reverse(now, change)?,
            Command::VoidGrant(grant) => self.void(now, *grant)?,
            Command::WriteOff(credits) => self.write_off(now, *credits)?,
        }
        if self.out_of_range() {
            return Err(Rejection::LimitExceeded(""));
        }
        self.let_time_pass(now);
        Ok(())
    }

    fn out_of_range(&self) -> bool {
        // What holds keep of a grant that has ended lives on beside what rolled over of it.
        let most = |lot: &Lot| {
            let min = lot.rollover.map_or(0, |rollover| rollover.min.micros());
            self.left(lot.id).max(self.reserved(lot.id) + min)
        };
        self.lots.iter().map(most).sum::<i128>() > LARGEST
            || self.debt + self.unfunded() > LARGEST
            || self.held() > LARGEST
    }

    fn grant(
        &mut self,
        now: Timestamp,
        origin: &Origin,
        request: &GrantRequest,
    ) -> Result<(), Rejection> {
        let amount = request.amount.micros();
        let from = request.effective_at.unwrap_or(now);
        if amount <= 0 || request.expires_at.is_some_and(|until| until <= from) {
            return Err(Rejection::Invalid(""));
        }
        if let Some(Rollover { min, max, expires_at }) = request.rollover {
            let after_end = request.expires_at.is_some_and(|end| expires_at > end);
            let in_order = Credits::ZERO <= min && min <= max;
            if always_room(request.source) || !after_end || !in_order {
                return Err(Rejection::Invalid(""));
            }
        }
        if !matches!(origin, Origin::Payment { .. }) && self.settings.status == Status::Closed {
            return Err(Rejection::AccountStatus(Status::Closed));
        }
        let id = GrantId(self.next);
        let lot = Lot {
            id,
            source: request.source,
            priority: request.priority.unwrap_or(match request.source {
                Source::Paid => 100,
                _ => 50,
            }),
            from,
            until: request.expires_at,
            rollover: request.rollover,
            started: from <= now,
            over: false,
            joined: false,
        };
        let mut changes = Changes::default();
        let mut after = self.clone();
        after.totals.granted += amount;
        after.opened.insert(id, lot.clone());
        let rest = if lot.started { after.pay_debt(amount, &mut changes) } else { amount };
        let what = |grant| What::Grant {
            grant,
            source: request.source,
            priority: lot.priority,
            amount,
            until: request.expires_at,
        };
        let brings = |rollover: Rollover| rollover.min > Credits::ZERO;
        if rest == 0 && !request.rollover.is_some_and(brings) {
            after.tell(what(id), now, changes);
            *self = after;
            return Ok(());
        }
        // Of a period that was missed, only what rolls over needs a place.
        let missed = request.expires_at.is_some_and(|until| until <= now);
        let stays = !missed || request.rollover.is_some_and(|rollover| rollover.expires_at > now);
        if stays && !always_room(request.source) && !self.has_room(request.source) {
            return Err(Rejection::LimitExceeded(""));
        }
        let rollovers = self.lots.iter().filter(|lot| lot.rollover.is_some()).count();
        if request.rollover.is_some() && rollovers == 16 {
            return Err(Rejection::LimitExceeded(""));
        }
        if missed {
            changes.add(grant(id), rest);
            after.lots.push(lot.clone());
            after.put(id, rest);
            after.tidy();
            after.tell(what(id), now, changes);
        } else {
            after.open(lot.clone(), rest, &mut changes);
            let home = after.home_of(id);
            after.tell(what(home), now, changes);
        }
        *self = after;
        Ok(())
    }

    fn charge(&mut self, now: Timestamp, charge: &Charge) -> Result<(), Rejection> {
        check_charge(charge)?;
        self.check_active()?;
        self.check_group(charge.price_group.as_ref())?;
        let mut after = self.clone();
        let taken = after.use_up(due(charge))?;
        let requested = charge.credits.micros();
        after.tell_use(What::Charge { requested }, now, requested, taken);
        *self = after;
        Ok(())
    }

    /// Usage that nothing was promised for, by the settings' rule.
    fn use_up(&mut self, due: i128) -> Result<Taken, Rejection> {
        let line = self.settings.credit_line.micros();
        if self.settings.overuse == Overuse::Refuse && due > 0 && due > self.available() + line {
            return Err(insufficient(self.available(), due, line));
        }
        let mut parts: Vec<_> =
            self.burn(due).into_iter().map(|(lot, taken)| (Some(lot), taken)).collect();
        let short = due - parts.iter().map(|(_, taken)| taken).sum::<i128>();
        if self.settings.overuse != Overuse::Forgive {
            self.debt += short;
            parts.push((None, short));
        }
        Ok(Taken { parts, refunded: 0 })
    }

    fn tell_use(&mut self, what: What, now: Timestamp, requested: i128, taken: Taken) {
        let taken = taken.each_target_once();
        let mut changes = Changes::default();
        for (lot, taken) in &taken.parts {
            changes.add(lot.map_or_else(debt, grant), -taken);
        }
        let sum: i128 = taken.parts.iter().map(|(_, taken)| taken).sum();
        self.totals.used += sum;
        self.totals.forgiven += requested - sum;
        self.charges.insert(self.next, taken);
        self.tell(what, now, changes);
    }

    fn check_active(&self) -> Result<(), Rejection> {
        match self.settings.status {
            Status::Active => Ok(()),
            status => Err(Rejection::AccountStatus(status)),
        }
    }

    fn check_group(&self, group: Option<&String>) -> Result<(), Rejection> {
        if group.is_some_and(|group| *group != self.settings.price_group) {
            return Err(Rejection::PriceGroupChanged(self.settings.price_group.clone()));
        }
        Ok(())
    }

    fn open_hold(&mut self, hold: HoldId) -> Result<&mut Hand, Rejection> {
        if let Some((_, at, _)) = self.late.iter().find(|(id, ..)| *id == hold) {
            return Err(Rejection::HoldExpired(*at));
        }
        self.hands.iter_mut().find(|hand| hand.id == hold).ok_or(Rejection::HoldGone)
    }

    fn hold(&mut self, now: Timestamp, request: &HoldRequest) -> Result<(), Rejection> {
        let requested = request.credits.micros();
        if requested < 0 || !(1..=DAY).contains(&request.millis) {
            return Err(Rejection::Invalid(""));
        }
        self.check_active()?;
        self.check_group(request.price_group.as_ref())?;
        let line = self.settings.credit_line.micros();
        let most = (self.available() + line).max(0);
        let credits = if request.partial { requested.min(most) } else { requested };
        if credits > most || (credits == 0 && requested > 0) {
            return Err(insufficient(self.available(), requested, line));
        }
        let lingering = self.lots.iter().filter(|lot| lot.over).count();
        if self.hands.len() >= 64 || lingering >= 64 {
            return Err(Rejection::LimitExceeded(""));
        }
        let mut after = self.clone();
        let id = HoldId(after.next);
        let lots = after.lots.clone();
        let reserved = after.burn(credits);
        // Nothing is used yet: what would burn is put back under the hold's hand.
        after.lots = lots;
        for (lot, micros) in &reserved {
            after.coins.push(Coin { lot: *lot, holder: Some(id), micros: *micros });
        }
        let until = now.saturating_add_millis(request.millis);
        after.hands.push(Hand {
            id,
            opened: now,
            until,
            unfunded: credits - reserved.iter().map(|(_, micros)| micros).sum::<i128>(),
            ratio_version: request.ratio_version,
        });
        after.tell(What::Hold { requested, credits, until }, now, Changes::default());
        if after.out_of_range() {
            return Err(Rejection::LimitExceeded(""));
        }
        *self = after;
        Ok(())
    }

    fn extend(&mut self, now: Timestamp, hold: HoldId, millis: i64) -> Result<(), Rejection> {
        if !(1..=DAY).contains(&millis) {
            return Err(Rejection::Invalid(""));
        }
        let hand = self.open_hold(hold)?;
        let last = hand.opened.saturating_add_millis(7 * DAY);
        if hand.until == last {
            return Err(Rejection::LimitExceeded(""));
        }
        hand.until =
            [hand.until, now.saturating_add_millis(millis).min(last)].into_iter().max().unwrap();
        let until = hand.until;
        self.tell(What::Extension { hold, until }, now, Changes::default());
        Ok(())
    }

    fn capture(&mut self, now: Timestamp, capture: &Capture) -> Result<(), Rejection> {
        let Capture { hold, charge, last } = capture;
        let (hold, last) = (*hold, *last);
        check_charge(charge)?;
        let late = self.late.iter().any(|(id, ..)| *id == hold);
        if !late {
            self.open_hold(hold)?;
        }
        self.check_group(charge.price_group.as_ref())?;
        let requested = charge.credits.micros();
        let mut after = self.clone();
        let mut taken = Taken::default();
        let mut excess = due(charge);
        if !late {
            // First what the hold has its hand on.
            for (coin, micros) in after.pick(excess, |coin| coin.holder == Some(hold)) {
                taken.parts.push((Some(coin.lot), micros));
                excess -= micros;
            }
            // Then what it promised without having it: that is no overuse.
            let hand = after.open_hold(hold)?;
            let promised = hand.unfunded.min(excess);
            hand.unfunded -= promised;
            excess -= promised;
            let burnt = after.burn(promised);
            let owed = promised - burnt.iter().map(|(_, micros)| micros).sum::<i128>();
            taken.parts.extend(burnt.into_iter().map(|(lot, micros)| (Some(lot), micros)));
            taken.parts.push((None, owed));
            after.debt += owed;
        }
        let from_hold = due(charge) - excess;
        taken.parts.extend(after.use_up(excess)?.parts);
        let what = What::Capture { hold, requested, from_hold, late, last };
        after.tell_use(what, now, requested, taken);
        if last && late {
            after.late.retain(|(id, ..)| *id != hold);
        } else if last {
            let nothing_left =
                after.held_parts(hold).is_empty() && after.open_hold(hold)?.unfunded == 0;
            if nothing_left {
                after.hands.retain(|hand| hand.id != hold);
            } else {
                after.release(hold, now, ReleaseCause::Captured);
            }
        }
        *self = after;
        Ok(())
    }

    fn refund(&mut self, now: Timestamp, request: &RefundRequest) -> Result<(), Rejection> {
        let taken = self.charges[&request.charge].clone();
        let all: i128 = taken.parts.iter().map(|(_, micros)| micros).sum();
        let left = all - taken.refunded;
        let credits = request.credits.map_or(left, Credits::micros);
        if request.credits.is_some_and(|credits| credits <= Credits::ZERO) {
            return Err(Rejection::Invalid(""));
        }
        if credits > left || credits == 0 {
            return Err(Rejection::RefundExceedsCharge { left: in_range(left) });
        }
        let mut after = self.clone();
        let mut changes = Changes::default();
        let mut homeless = 0;
        // The last that was taken lies at 0, the first at the far end.
        let (begin, end) = (taken.refunded, taken.refunded + credits);
        let mut at = 0;
        for (lot, micros) in taken.parts.iter().rev() {
            let part = (at + micros).min(end) - at.max(begin);
            at += micros;
            if part > 0 {
                let rest = after.pay_debt(part, &mut changes);
                homeless += match lot {
                    Some(lot) if after.takes_back(now, *lot) => {
                        after.give(now, *lot, rest, &mut changes);
                        0
                    }
                    _ => rest,
                };
            }
        }
        let grant = after.shelter(now, homeless, &mut changes);
        let refunded = taken.refunded + credits;
        after.charges.get_mut(&request.charge).unwrap().refunded = refunded;
        after.totals.given_back += credits;
        let charge = request.charge;
        after.tell(What::Refund { charge, credits, refunded, grant }, now, changes);
        *self = after;
        Ok(())
    }

    /// Whether credits may go back to this grant: it is there, or can be there again.
    fn takes_back(&self, now: Timestamp, lot: GrantId) -> bool {
        if let Some(lot) = self.lot(lot) {
            return lot.started && !lot.over;
        }
        let lot = &self.terms_of(lot);
        if lot.from <= now && self.united_with(now, lot).is_some() {
            return true;
        }
        let is_current = lot.from <= now && lot.until.is_none_or(|until| until > now);
        is_current && (always_room(lot.source) || self.has_room(lot.source))
    }

    /// What it takes to open a grant again. What comes back of bought credits that were voided is a
    /// refund, for as long as they were bought for.
    fn terms_of(&self, lot: GrantId) -> Lot {
        let opened = self.opened[&lot].clone();
        if self.voids.iter().any(|void| void.0 == lot) {
            return Lot { source: Source::Refund, priority: 50, ..opened };
        }
        opened
    }

    /// The grant of several that this one's credits may have come to: that with the last end, if it
    /// is not before this one's, nor before that of a shelter where this one's time is over.
    fn united_with(&self, now: Timestamp, gone: &Lot) -> Option<GrantId> {
        let mut found: Option<&Lot> = None;
        let shelter = now.saturating_add_millis(30 * DAY);
        let is_late = gone.until.is_some_and(|until| until <= now);
        for lot in &self.lots {
            if !lot.joined || lot.source != gone.source || !lot.started || lot.over {
                continue;
            }
            let ends_later = |a: &Lot, b: &Lot| match (a.until, b.until) {
                (None, Some(_)) => true,
                (Some(a), Some(b)) => a > b,
                _ => false,
            };
            if ends_later(gone, lot) || (is_late && lot.until.is_some_and(|end| end < shelter)) {
                continue;
            }
            let better = found.is_none_or(|best| {
                ends_later(lot, best) || (!ends_later(best, lot) && lot.id < best.id)
            });
            if better {
                found = Some(lot);
            }
        }
        found.map(|lot| lot.id)
    }

    /// Gives credits back to a grant, and says where they are.
    fn give(
        &mut self,
        now: Timestamp,
        lot: GrantId,
        micros: i128,
        changes: &mut Changes,
    ) -> GrantId {
        if micros == 0 {
            return lot;
        }
        let lot = match self.lot(lot) {
            None => self.united_with(now, &self.terms_of(lot)).unwrap_or(lot),
            Some(_) => lot,
        };
        if self.lot(lot).is_none() {
            let rollovers = self.lots.iter().filter(|lot| lot.rollover.is_some()).count();
            let opened = self.terms_of(lot);
            let rollover = opened.rollover.filter(|_| rollovers < 16);
            self.open(Lot { rollover, started: true, ..opened }, micros, changes);
            return self.home_of(lot);
        }
        changes.add(grant(lot), micros);
        self.put(lot, micros);
        lot
    }

    /// A grant for what has no other.
    fn shelter(&mut self, now: Timestamp, micros: i128, changes: &mut Changes) -> Option<GrantId> {
        if micros == 0 {
            return None;
        }
        let id = GrantId(self.next);
        let lot = Lot {
            id,
            source: Source::Refund,
            priority: 50,
            from: now,
            until: Some(now.saturating_add_millis(30 * DAY)),
            rollover: None,
            started: true,
            over: false,
            joined: false,
        };
        self.opened.insert(id, lot.clone());
        self.open(lot, micros, changes);
        Some(self.home_of(id))
    }

    fn claw_back(&mut self, now: Timestamp, change: &PaymentChange) -> Result<(), Rejection> {
        let credits = change.credits.micros();
        if credits <= 0 {
            return Err(Rejection::Invalid(""));
        }
        let own = change.terms.id;
        let mut after = self.clone();
        let mut changes = Changes::default();
        // Of what a void has forfeited nothing is taken again.
        let mut missing = credits;
        for void in after.voids.iter_mut().filter(|void| void.0 == own) {
            let counted = missing.min(void.1);
            void.1 -= counted;
            missing -= counted;
        }
        let forfeited = credits - missing;
        let payment = after.payments.entry(change.payment.clone()).or_default();
        *payment = (payment.0 + credits, payment.1 + forfeited);
        if after.lot(own).is_some_and(|lot| lot.started) {
            for (_, taken) in after.pick(missing, |coin| coin.lot == own && coin.holder.is_none()) {
                changes.add(grant(own), -taken);
                missing -= taken;
            }
            for hand in self.hands.iter().map(|hand| hand.id) {
                let its = |coin: &Coin| coin.lot == own && coin.holder == Some(hand);
                for (_, taken) in after.pick(missing, its) {
                    changes.add(grant(own), -taken);
                    missing -= taken;
                    after.open_hold(hand)?.unfunded += taken;
                }
            }
        }
        for (lot, taken) in after.burn(missing) {
            changes.add(grant(lot), -taken);
            missing -= taken;
        }
        after.debt += missing;
        changes.add(debt(), -missing);
        after.totals.clawed_back += credits - forfeited;
        after.tell(What::Clawback { credits, forfeited }, now, changes);
        *self = after;
        Ok(())
    }

    fn reverse(&mut self, now: Timestamp, change: &PaymentChange) -> Result<(), Rejection> {
        let credits = change.credits.micros();
        if credits <= 0 {
            return Err(Rejection::Invalid(""));
        }
        let own = change.terms.id;
        let mut after = self.clone();
        let mut changes = Changes::default();
        let payment = after.payments.entry(change.payment.clone()).or_default();
        if credits > payment.0 {
            return Err(Rejection::Invalid(""));
        }
        let back = credits.min(payment.0 - payment.1);
        let forfeited = credits - back;
        *payment = (payment.0 - credits, payment.1 - forfeited);
        if forfeited > 0 {
            after.voids.iter_mut().find(|void| void.0 == own).unwrap().1 += forfeited;
        }
        let rest = after.pay_debt(back, &mut changes);
        let grant = if rest > 0 && after.takes_back(now, own) {
            Some(after.give(now, own, rest, &mut changes))
        } else {
            after.shelter(now, rest, &mut changes)
        };
        after.totals.given_back += back;
        after.tell(What::Reversal { credits, grant, forfeited }, now, changes);
        *self = after;
        Ok(())
    }

    fn void(&mut self, now: Timestamp, name: GrantId) -> Result<(), Rejection> {
        let held = self.coins.iter().any(|coin| coin.lot == name && coin.holder.is_some());
        let Some(lot) = self.lots.iter_mut().find(|lot| lot.id == name && !lot.over) else {
            return Err(Rejection::GrantGone);
        };
        let is_paid = lot.source == Source::Paid;
        if lot.source == Source::Refund || is_paid && (lot.joined || held) {
            return Err(Rejection::GrantNotVoidable(""));
        }
        if is_paid && self.voids.len() == 64 {
            return Err(Rejection::LimitExceeded(""));
        }
        lot.rollover = None;
        lot.over = true;
        lot.until = Some(now);
        let started = lot.started;
        let credits = self.free(name);
        if is_paid {
            self.voids.push((name, credits));
        }
        self.pick(credits, |coin| coin.lot == name && coin.holder.is_none());
        self.tidy();
        self.totals.forfeited += credits;
        let changes = if started { changes([(grant(name), -credits)]) } else { Changes::default() };
        self.tell(What::Void { grant: name, credits }, now, changes);
        Ok(())
    }

    fn write_off(&mut self, now: Timestamp, credits: Option<Credits>) -> Result<(), Rejection> {
        let waived = credits.map_or(self.debt, Credits::micros);
        if credits.is_some_and(|credits| credits <= Credits::ZERO) {
            return Err(Rejection::Invalid(""));
        }
        if waived > self.debt || self.debt == 0 {
            return Err(Rejection::ExceedsDebt { debt: in_range(self.debt) });
        }
        self.debt -= waived;
        self.totals.written_off += waived;
        self.tell(What::WriteOff, now, changes([(debt(), waived)]));
        Ok(())
    }
}

impl Taken {
    /// The journal names a target once, where it first comes.
    fn each_target_once(self) -> Self {
        let mut parts: Vec<(Option<GrantId>, i128)> = Vec::new();
        for (lot, micros) in self.parts {
            match parts.iter_mut().find(|(known, _)| *known == lot) {
                Some((_, sum)) => *sum += micros,
                None => parts.push((lot, micros)),
            }
        }
        // Debt is what nothing else was there for: the last.
        parts.sort_by_key(|(lot, _)| lot.is_none());
        Self { parts, ..self }
    }
}

fn check_charge(charge: &Charge) -> Result<(), Rejection> {
    let negative = |credits: Credits| credits < Credits::ZERO;
    if negative(charge.credits) || charge.max_credits.is_some_and(negative) {
        return Err(Rejection::Invalid(""));
    }
    Ok(())
}

/// What a charge takes at most.
fn due(charge: &Charge) -> i128 {
    let most = charge.max_credits.unwrap_or(charge.credits);
    charge.credits.micros().min(most.micros())
}

fn insufficient(available: i128, required: i128, line: i128) -> Rejection {
    Rejection::InsufficientCredits {
        available: in_range(available),
        required: in_range(required),
        shortfall: in_range((required - available - line).min(LARGEST)),
    }
}

fn in_range(micros: i128) -> Credits {
    Credits::from_micros(micros).expect("a figure of an account is in range")
}

/// Which of two is spent first, step by step as the first rule has it.
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
        (x, y) if x == y => {}
        (Source::Paid, _) | (_, Source::Rollover) => return b,
        (_, Source::Paid) | (Source::Rollover, _) => return a,
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

impl Changes {
    pub fn add(&mut self, target: String, change: i128) {
        match self.0.iter_mut().find(|(known, _)| *known == target) {
            Some((_, sum)) => *sum += change,
            None => self.0.push((target, change)),
        }
    }
}

fn changes<const N: usize>(list: [(String, i128); N]) -> Changes {
    Changes(list.into())
}
