//! What corrects what happened: refunds, clawbacks, voids of grants, write-offs.

use std::cmp::Reverse;

use super::{Draft, OVER_RANGE, difference, end_millis, post};
use crate::Credits;
use crate::account::{
    Detail, Grant, GrantId, GrantTerms, MAX_VOIDED, OperationId, Origin, PaymentChange, Posting,
    RefundRequest, Rejection, Source, Target, VoidedGrant,
};

impl Draft {
    pub(super) fn refund(
        &mut self,
        origin: Origin,
        request: &RefundRequest,
    ) -> Result<OperationId, Rejection> {
        if request.credits.is_some_and(|credits| !credits.is_positive()) {
            return Err(Rejection::Invalid("a refund is above zero"));
        }
        let taken = request.postings.iter().map(|posting| -posting.credits.micros()).sum::<i128>();
        let left = Credits::from_micros(taken - request.refunded.micros())
            .filter(|left| !left.is_negative())
            .ok_or(Rejection::Invalid("more was refunded than was taken"))?;
        let credits = request.credits.unwrap_or(left);
        if credits > left || left.is_zero() {
            return Err(Rejection::RefundExceedsCharge { left });
        }
        let mut postings = Vec::new();
        let mut homeless = 0;
        for (target, part) in parts_to_refund(&request.postings, request.refunded, credits) {
            // What becomes spendable pays debt first.
            let rest = self.pay_debt(part, &mut postings);
            let home = match target {
                Target::Grant(id) => request.terms.iter().find(|terms| terms.id == id),
                Target::Debt => None,
            };
            let placed = match home {
                Some(terms) if rest.is_positive() => self.give_to(terms, rest, &mut postings)?,
                _ => None,
            };
            if placed.is_none() {
                homeless += rest.micros();
            }
        }
        let homeless = Credits::from_micros(homeless).expect("at most what was taken");
        let grant = self.house(homeless, &mut postings)?;
        self.check_range()?;
        let refunded = request.refunded.checked_add(credits).expect("at most what was taken");
        let charge = request.charge;
        Ok(self.push(origin, postings, Detail::Refund { charge, credits, refunded, grant }))
    }

    /// Opens a refund grant for what has no grant to go back to.
    fn house(
        &mut self,
        credits: Credits,
        postings: &mut Vec<Posting>,
    ) -> Result<Option<GrantId>, Rejection> {
        if credits.is_zero() {
            return Ok(None);
        }
        let terms = GrantTerms::of_refund(GrantId(self.next_id()), self.state.settled_at);
        self.insert(Grant::on(terms, credits), postings).map(Some)
    }

    /// Gives credits back to a grant, which may be opened again for it, and rolls over again where
    /// there is room for that. Returns where they are: where there are too many grants, those of
    /// sources that merge are merged. `None` where its time is over, or it has no place.
    ///
    /// One of bought credits that was voided is opened again as a refund, which nobody voids: had its
    /// credits another end than it, a refund of its payment would take once more what had expired.
    fn give_to(
        &mut self,
        terms: &GrantTerms,
        credits: Credits,
        postings: &mut Vec<Posting>,
    ) -> Result<Option<GrantId>, Rejection> {
        let now = self.state.settled_at;
        let is_voided = self.state.voided.iter().any(|voided| voided.grant == terms.id);
        let terms = &if is_voided { terms.as_refund() } else { *terms };
        let there = self.state.grants.iter_mut().find(|grant| grant.id == terms.id);
        if let Some(grant) = there {
            // It may have other terms than when it was opened: others were merged into it.
            // A pending one has no part in the balance, which is what gets the credits.
            let counts = grant.effective_at <= now && !grant.has_ended(now);
            let Some(sum) = grant.remaining.checked_add(credits).filter(|_| counts) else {
                return Ok(None);
            };
            grant.remaining = sum;
            post(postings, Target::Grant(terms.id), credits);
            return Ok(Some(terms.id));
        }
        if let Some(grant) = self.merged_with(terms)
            && let Some(sum) = grant.remaining.checked_add(credits)
        {
            grant.remaining = sum;
            let id = grant.id;
            post(postings, Target::Grant(id), credits);
            return Ok(Some(id));
        }
        let over = terms.expires_at.is_some_and(|expires_at| expires_at <= now);
        let has_place = terms.source.merges() || self.has_place(terms.source);
        if over || terms.effective_at > now || !has_place {
            return Ok(None);
        }
        let rollover = terms.rollover.filter(|_| self.may_roll_over());
        self.insert(Grant { rollover, ..Grant::on(*terms, credits) }, postings).map(Some)
    }

    /// A grant that one which is gone may have been merged into: its end is the later one then, and
    /// that of whatever that was merged into later still, and such grants stay until they end. Whether
    /// the one that is gone was merged or used up the state does not know: in doubt its credits get
    /// the better terms. So where its own end is over, a grant of their own is better than one that
    /// ends before that would.
    fn merged_with(&mut self, terms: &GrantTerms) -> Option<&mut Grant> {
        let now = self.state.settled_at;
        let over = terms.expires_at.filter(|expires_at| *expires_at <= now);
        let least =
            over.map_or(terms.expires_at, |_| GrantTerms::of_refund(terms.id, now).expires_at);
        let may_be = |grant: &&mut Grant| {
            grant.merged
                && grant.source == terms.source
                && terms.effective_at <= now
                && grant.effective_at <= now
                && !grant.has_ended(now)
                && end_millis(grant.expires_at) >= end_millis(least)
        };
        let grants = self.state.grants.iter_mut().filter(may_be);
        grants.max_by_key(|grant| (end_millis(grant.expires_at), Reverse(grant.id)))
    }

    pub(super) fn claw_back(
        &mut self,
        origin: Origin,
        change: &PaymentChange,
    ) -> Result<OperationId, Rejection> {
        if !change.credits.is_positive() {
            return Err(Rejection::Invalid("a clawback is above zero"));
        }
        let mut postings = Vec::new();
        let now = self.state.settled_at;
        let forfeited = self.count_forfeited(change.terms.id, change.credits);
        let mut left = difference(change.credits, forfeited);
        let own = self.state.grants.iter_mut().find(|grant| grant.id == change.terms.id);
        if let Some(grant) = own.filter(|grant| grant.effective_at <= now) {
            let taken = grant.unreserved().min(left);
            grant.remaining = difference(grant.remaining, taken);
            left = difference(left, taken);
            post(&mut postings, Target::Grant(grant.id), -taken);
            left = self.take_reserved(change.terms.id, left, &mut postings);
        }
        let left = self.burn(left, &mut postings);
        self.owe(left, &mut postings)?;
        self.check_range()?;
        let (payment, credits) = (change.payment.clone(), change.credits);
        Ok(self.push(origin, postings, Detail::Clawback { payment, credits, forfeited }))
    }

    /// Takes what holds reserve of a grant: they go on, unfunded. Else, where the grant ends before
    /// they do, the account would lose the credits and owe them as well.
    fn take_reserved(
        &mut self,
        id: GrantId,
        credits: Credits,
        postings: &mut Vec<Posting>,
    ) -> Credits {
        let mut left = credits;
        for hold in &mut self.state.holds {
            for part in hold.reserved.iter_mut().filter(|part| part.grant == id) {
                let taken = part.credits.min(left);
                part.credits = difference(part.credits, taken);
                left = difference(left, taken);
                hold.unfunded = hold.unfunded.checked_add(taken).expect("parts of one hold");
            }
            hold.reserved.retain(|part| part.credits.is_positive());
        }
        let taken = difference(credits, left);
        let of = |grant: &&mut Grant| grant.id == id;
        let grant = self.state.grants.iter_mut().find(of).expect("the caller found it");
        grant.reserved = difference(grant.reserved, taken);
        grant.remaining = difference(grant.remaining, taken);
        post(postings, Target::Grant(id), -taken);
        self.state.grants.retain(Grant::is_kept);
        left
    }

    pub(super) fn reverse_clawback(
        &mut self,
        origin: Origin,
        change: &PaymentChange,
    ) -> Result<OperationId, Rejection> {
        if !change.credits.is_positive() {
            return Err(Rejection::Invalid("a reversal is above zero"));
        }
        // What was taken comes back first, and what a void has forfeited counts again.
        let taken = difference(change.taken, change.forfeited);
        let back = change.credits.min(taken);
        let forfeited = difference(change.credits, back);
        if forfeited > change.forfeited {
            return Err(Rejection::Invalid("more would be given back than was taken"));
        }
        if forfeited.is_positive() {
            // What was counted counts again, for the next clawback.
            let all = self.forfeited(change.terms.id);
            let all = all.ok_or(Rejection::Invalid("no void has forfeited anything of it"))?;
            *all = all.checked_add(forfeited).ok_or(OVER_RANGE)?;
        }
        let mut postings = Vec::new();
        let rest = self.pay_debt(back, &mut postings);
        let placed = if rest.is_positive() {
            self.give_to(&change.terms, rest, &mut postings)?
        } else {
            None
        };
        let grant = match placed {
            Some(id) => Some(id),
            None => self.house(rest, &mut postings)?,
        };
        self.check_range()?;
        let (payment, credits) = (change.payment.clone(), change.credits);
        let detail = Detail::ClawbackReversal { payment, credits, grant, forfeited };
        Ok(self.push(origin, postings, detail))
    }

    pub(super) fn void_grant(
        &mut self,
        origin: Origin,
        id: GrantId,
    ) -> Result<OperationId, Rejection> {
        let now = self.state.settled_at;
        let grant = self.state.grants.iter_mut().find(|grant| grant.id == id);
        let grant = grant.filter(|grant| !grant.has_ended(now)).ok_or(Rejection::GrantGone)?;
        let is_bought = grant.source == Source::Paid;
        if let Some(reason) = why_not_voidable(grant) {
            return Err(Rejection::GrantNotVoidable(reason));
        }
        if is_bought && self.state.voided.len() >= MAX_VOIDED {
            return Err(Rejection::LimitExceeded("64 grants of bought credits can be voided"));
        }
        let pending = grant.effective_at > now;
        let credits = grant.unreserved();
        // What holds reserve lives on until they end, and ends with them.
        grant.remaining = grant.reserved;
        grant.rollover = None;
        grant.expires_at = Some(now);
        if is_bought {
            self.state.voided.push(VoidedGrant { grant: id, forfeited: credits });
        }
        self.state.last_void = self.state.seq;
        self.state.grants.retain(Grant::is_kept);
        self.state.grants.sort_by(Grant::burn_order);
        let mut postings = Vec::new();
        if !pending {
            post(&mut postings, Target::Grant(id), -credits);
        }
        Ok(self.push(origin, postings, Detail::GrantVoid { grant: id, credits }))
    }

    /// What a void has forfeited of a payment's grant and no clawback has counted.
    fn forfeited(&mut self, grant: GrantId) -> Option<&mut Credits> {
        let voided = self.state.voided.iter_mut().find(|voided| voided.grant == grant);
        voided.map(|voided| &mut voided.forfeited)
    }

    /// Counts up to so much of what a void has forfeited of a payment's grant, once, and returns it.
    fn count_forfeited(&mut self, grant: GrantId, credits: Credits) -> Credits {
        let Some(forfeited) = self.forfeited(grant) else { return Credits::ZERO };
        let counted = credits.min(*forfeited);
        *forfeited = difference(*forfeited, counted);
        counted
    }

    pub(super) fn write_off(
        &mut self,
        origin: Origin,
        credits: Option<Credits>,
    ) -> Result<OperationId, Rejection> {
        if credits.is_some_and(|credits| !credits.is_positive()) {
            return Err(Rejection::Invalid("a write-off is above zero"));
        }
        let debt = self.state.debt;
        let credits = credits.unwrap_or(debt);
        if debt.is_zero() || credits > debt {
            return Err(Rejection::ExceedsDebt { debt });
        }
        self.state.debt = difference(debt, credits);
        let mut postings = Vec::new();
        post(&mut postings, Target::Debt, credits);
        Ok(self.push(origin, postings, Detail::WriteOff))
    }
}

/// Why a grant is not voided. A refund of its payment must know what a void has forfeited of that
/// payment's credits: so they have to be in a grant of their own, all of them, and for good.
fn why_not_voidable(grant: &Grant) -> Option<&'static str> {
    match grant.source {
        Source::Refund => Some("credits that were given back are not voided: charge them again"),
        Source::Paid if grant.merged => {
            Some("credits of several payments are in the grant: refund a payment, or charge them")
        }
        Source::Paid if grant.reserved.is_positive() => {
            Some("holds reserve of these bought credits: capture or void the holds first")
        }
        _ => None,
    }
}

/// Which targets `credits` of a charge go back to, after `refunded` went back before: the charge's
/// postings from the last to the first, so that debt comes first and then what was burnt last.
fn parts_to_refund(
    postings: &[Posting],
    refunded: Credits,
    credits: Credits,
) -> Vec<(Target, Credits)> {
    let mut skip = refunded.micros();
    let mut left = credits.micros();
    let mut parts = Vec::new();
    for posting in postings.iter().rev() {
        let taken = -posting.credits.micros();
        let skipped = taken.min(skip);
        let part = (taken - skipped).min(left);
        skip -= skipped;
        left -= part;
        if part > 0 {
            parts.push((posting.target, Credits::from_micros(part).expect("a part of a posting")));
        }
    }
    parts
}
