//! Holds: credits reserved for work in progress, and its charge.

use super::{Draft, clamped, difference, post};
use crate::account::{
    Capture, Detail, Grant, Hold, HoldId, HoldRequest, MAX_HOLD_LIFE_MILLIS, MAX_HOLD_MILLIS,
    MAX_HOLDS, MAX_LINGERING, OperationId, Origin, Posting, Rejection, ReleaseCause, Reservation,
    Target,
};
use crate::{Credits, Timestamp};

impl Draft {
    pub(super) fn hold(
        &mut self,
        origin: Origin,
        request: &HoldRequest,
    ) -> Result<OperationId, Rejection> {
        if request.credits.is_negative() {
            return Err(Rejection::Invalid("a hold is not below zero"));
        }
        check_millis(request.millis)?;
        self.check_active()?;
        self.check_group(request.price_group.as_ref())?;
        let available = self.state.balance().available;
        let spendable = available.micros() + self.state.settings.credit_line.micros();
        // What costs nothing is begun whatever is owed, as it is charged.
        let credits = if request.credits.micros() <= spendable.max(0) {
            request.credits
        } else if request.partial && spendable > 0 {
            clamped(spendable)
        } else {
            return Err(Rejection::InsufficientCredits {
                available,
                required: request.credits,
                shortfall: clamped(request.credits.micros() - spendable),
            });
        };
        if self.state.holds.len() == MAX_HOLDS {
            return Err(Rejection::LimitExceeded("an account has at most 64 open holds"));
        }
        let lingering = self.state.grants.iter().filter(|grant| self.state.is_lingering(grant));
        if lingering.count() >= MAX_LINGERING / 2 {
            return Err(Rejection::LimitExceeded(
                "open holds reserve from 64 grants that have ended: end some of them",
            ));
        }
        let opened_at = self.state.settled_at;
        let expires_at = end(opened_at, request.millis)?;
        let (reserved, unfunded) = self.reserve(credits);
        let id = HoldId(self.next_id());
        let ratio_version = request.ratio_version;
        self.state.holds.push(Hold {
            id,
            opened_at,
            expires_at,
            reserved,
            unfunded,
            ratio_version,
        });
        self.check_range()?;
        let requested = request.credits;
        let detail = Detail::Hold { requested, credits, expires_at, ratio_version };
        Ok(self.push(origin, Vec::new(), detail))
    }

    /// Reserves of live grants in burn order; returns what of which, and what they did not cover.
    fn reserve(&mut self, credits: Credits) -> (Vec<Reservation>, Credits) {
        let settled_at = self.state.settled_at;
        let mut left = credits;
        let mut reserved = Vec::new();
        for grant in &mut self.state.grants {
            let part = grant.unreserved().min(left);
            if part.is_zero() || grant.effective_at > settled_at {
                continue;
            }
            grant.reserved = grant.reserved.checked_add(part).expect("at most what is there");
            left = difference(left, part);
            reserved.push(Reservation { grant: grant.id, credits: part });
        }
        (reserved, left)
    }

    pub(super) fn extend_hold(
        &mut self,
        origin: Origin,
        id: HoldId,
        millis: i64,
    ) -> Result<OperationId, Rejection> {
        check_millis(millis)?;
        let now = self.state.settled_at;
        let index = self.open_hold(id)?;
        let hold = &mut self.state.holds[index];
        let latest = end(hold.opened_at, MAX_HOLD_LIFE_MILLIS)?;
        if hold.expires_at == latest {
            return Err(Rejection::LimitExceeded("a hold ends at most 7 days after it was opened"));
        }
        hold.expires_at = end(now, millis)?.max(hold.expires_at).min(latest);
        let detail = Detail::HoldExtension { hold: id, expires_at: hold.expires_at };
        Ok(self.push(origin, Vec::new(), detail))
    }

    pub(super) fn capture(
        &mut self,
        origin: Origin,
        capture: &Capture,
    ) -> Result<OperationId, Rejection> {
        let Capture { hold: id, charge, last } = capture;
        Self::check_charge(charge)?;
        let open = match self.open_hold(*id) {
            Ok(index) => Some(index),
            Err(Rejection::HoldExpired(_)) => None,
            Err(gone) => return Err(gone),
        };
        self.check_group(charge.price_group.as_ref())?;
        let capped = charge.max_credits.map_or(charge.credits, |max| max.min(charge.credits));
        let mut postings = Vec::new();
        let mut from_hold = Credits::ZERO;
        let mut rest = None;
        if let Some(index) = open {
            from_hold = capped.min(self.state.holds[index].credits());
            let unfunded = self.use_up(index, from_hold, &mut postings);
            if *last {
                rest = Some(self.state.holds.remove(index));
            }
            // Promised when the hold was opened: however overuse is treated, it is taken.
            let owed = self.burn(unfunded, &mut postings);
            self.owe(owed, &mut postings)?;
        } else if *last {
            self.state.expired_holds.retain(|hold| hold.id != *id);
        }
        self.take(difference(capped, from_hold), &mut postings)?;
        self.check_range()?;
        let detail = Detail::Capture {
            hold: *id,
            requested: charge.credits,
            items: charge.items.clone(),
            ratio_version: charge.ratio_version,
            occurred_at: charge.occurred_at,
            from_hold,
            late: open.is_none(),
            last: *last,
        };
        let operation = self.push(origin, postings, detail);
        if let Some(hold) = rest.filter(|hold| hold.credits().is_positive()) {
            let now = self.state.settled_at;
            self.release(Origin::System, &hold, now, ReleaseCause::Captured);
        }
        Ok(operation)
    }

    /// Takes what a hold reserves of grants, in its order, and returns the part of `credits` that
    /// it reserved of the credit line.
    fn use_up(&mut self, index: usize, credits: Credits, postings: &mut Vec<Posting>) -> Credits {
        let mut left = credits;
        let mut reserved = std::mem::take(&mut self.state.holds[index].reserved);
        for part in &mut reserved {
            let taken = part.credits.min(left);
            let grant = self.reserved_grant(part);
            grant.reserved = difference(grant.reserved, taken);
            grant.remaining = difference(grant.remaining, taken);
            part.credits = difference(part.credits, taken);
            left = difference(left, taken);
            post(postings, Target::Grant(part.grant), -taken);
        }
        reserved.retain(|part| part.credits.is_positive());
        let hold = &mut self.state.holds[index];
        hold.reserved = reserved;
        hold.unfunded = difference(hold.unfunded, left);
        self.state.grants.retain(Grant::is_kept);
        left
    }

    pub(super) fn void_hold(
        &mut self,
        origin: Origin,
        id: HoldId,
    ) -> Result<OperationId, Rejection> {
        let index = self.open_hold(id)?;
        let hold = self.state.holds.remove(index);
        Ok(self.release(origin, &hold, self.state.settled_at, ReleaseCause::Voided))
    }

    /// Where an open hold is in the state.
    fn open_hold(&self, id: HoldId) -> Result<usize, Rejection> {
        if let Some(index) = self.state.holds.iter().position(|hold| hold.id == id) {
            return Ok(index);
        }
        let expired = self.state.expired_holds.iter().find(|hold| hold.id == id);
        Err(expired.map_or(Rejection::HoldGone, |hold| Rejection::HoldExpired(hold.expired_at)))
    }
}

fn check_millis(millis: i64) -> Result<(), Rejection> {
    if (1..=MAX_HOLD_MILLIS).contains(&millis) {
        return Ok(());
    }
    Err(Rejection::Invalid("a hold is opened or extended for a millisecond to 24 hours"))
}

/// So much later, where time goes on for so long.
fn end(from: Timestamp, millis: i64) -> Result<Timestamp, Rejection> {
    let end = from.saturating_add_millis(millis);
    if end > from { Ok(end) } else { Err(Rejection::Invalid("time ends before the hold")) }
}
