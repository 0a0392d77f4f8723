//! Grants: how they come in, find their place, and merge.

use super::{Draft, OVER_RANGE, end_millis, post};
use crate::account::{
    Detail, Grant, GrantId, GrantRequest, GrantTerms, MAX_GRANTS, MAX_OTHER_GRANTS, MAX_ROLLOVERS,
    OperationId, Origin, Posting, Rejection, Source, Status, Target,
};
use crate::{Credits, Timestamp};

impl Draft {
    pub(super) fn grant(
        &mut self,
        origin: Origin,
        request: &GrantRequest,
    ) -> Result<OperationId, Rejection> {
        let now = self.state.settled_at;
        let effective_at = request.effective_at.unwrap_or(now);
        if !request.amount.is_positive() {
            return Err(Rejection::Invalid("a grant is above zero"));
        }
        if request.expires_at.is_some_and(|expires_at| expires_at <= effective_at) {
            return Err(Rejection::Invalid("a grant expires after it becomes effective"));
        }
        if let Some(rollover) = request.rollover
            && (rollover.min.is_negative()
                || rollover.min > rollover.max
                || !request.source.may_roll_over()
                || request.expires_at.is_none_or(|end| rollover.expires_at <= end))
        {
            return Err(Rejection::Invalid(
                "a rollover has 0 <= min <= max, ends after its grant, and is of no paid or refund one",
            ));
        }
        // A payment has been made, whatever the account's status.
        let is_paid = matches!(origin, Origin::Payment { .. });
        if !is_paid && self.state.settings.status == Status::Closed {
            return Err(Rejection::AccountStatus(Status::Closed));
        }
        let terms = GrantTerms {
            id: GrantId(self.next_id()),
            source: request.source,
            priority: request.priority.unwrap_or(request.source.default_priority()),
            effective_at,
            expires_at: request.expires_at,
            rollover: request.rollover,
        };
        let mut grant = Grant::on(terms, request.amount);
        let mut postings = Vec::new();
        if effective_at <= now {
            grant.remaining = self.pay_debt(request.amount, &mut postings);
        }
        if grant.rollover.is_some() && !self.may_roll_over() {
            return Err(Rejection::LimitExceeded(
                "an account has at most 16 grants that roll over",
            ));
        }
        let holder = if grant.is_kept() { self.insert(grant, &mut postings)? } else { grant.id };
        self.check_range()?;
        Ok(self.push(
            origin,
            postings,
            Detail::Grant {
                grant: holder,
                source: grant.source,
                priority: grant.priority,
                amount: request.amount,
                effective_at,
                expires_at: grant.expires_at,
                paid: request.paid.clone(),
                rollover: request.rollover,
            },
        ))
    }

    /// Whether there is room for one more grant that rolls over.
    pub(super) fn may_roll_over(&self) -> bool {
        let rollovers = self.state.grants.iter().filter(|grant| grant.rollover.is_some());
        rollovers.count() < MAX_ROLLOVERS
    }

    /// Whether one more grant of this source finds a place without merging. Those that live on for
    /// holds need none.
    pub(super) fn has_place(&self, source: Source) -> bool {
        let places = || self.state.grants.iter().filter(|grant| !self.state.is_lingering(grant));
        let others = || places().filter(|grant| !grant.source.merges()).count();
        places().count() < MAX_GRANTS && (source.merges() || others() < MAX_OTHER_GRANTS)
    }

    /// Adds a grant in its place in burn order and returns where its credits are: in itself, or,
    /// where there are too many, in the one it was merged into.
    pub(super) fn insert(
        &mut self,
        grant: Grant,
        postings: &mut Vec<Posting>,
    ) -> Result<GrantId, Rejection> {
        let now = self.state.settled_at;
        let rolls_over = grant.rollover.is_some_and(|rollover| rollover.expires_at > now);
        let needs_place = !grant.has_ended(now) || rolls_over;
        if needs_place && !grant.source.merges() && !self.has_place(grant.source) {
            return Err(Rejection::LimitExceeded(
                "an account holds at most 64 grants, 60 of them neither paid nor refunds",
            ));
        }
        if grant.has_ended(now) {
            // Its period is over. It is settled next, so that but for what rolls over it needs no
            // place, and it must not live on in another grant.
            self.state.grants.push(grant);
            post(postings, Target::Grant(grant.id), grant.remaining);
            return Ok(grant.id);
        }
        self.state.grants.push(grant);
        if !self.state.is_pending(&grant) {
            post(postings, Target::Grant(grant.id), grant.remaining);
        }
        let mut holder = grant.id;
        let places = self.state.grants.iter().filter(|grant| !self.state.is_lingering(grant));
        if places.count() > MAX_GRANTS {
            let (kept, gone) = self.merge(postings)?;
            if gone == grant.id {
                holder = kept;
            }
        }
        self.state.grants.sort_by(Grant::burn_order);
        Ok(holder)
    }

    /// What rolled over becomes a grant; it has the place of the one that ended.
    pub(super) fn place_rolled_over(
        &mut self,
        id: GrantId,
        at: Timestamp,
        expires_at: Timestamp,
        credits: Credits,
        postings: &mut Vec<Posting>,
    ) {
        let source = Source::Rollover;
        let priority = source.default_priority();
        let expires_at = Some(expires_at);
        let terms =
            GrantTerms { id, source, priority, effective_at: at, expires_at, rollover: None };
        if credits.is_positive() {
            self.state.grants.push(Grant::on(terms, credits));
            self.state.grants.sort_by(Grant::burn_order);
            post(postings, Target::Grant(id), credits);
        }
    }

    /// Makes one grant of the two mergeable ones that are most alike. Returns the one kept and the
    /// one gone.
    ///
    /// There is always such a pair: at most 60 grants are not mergeable, so of 65 at least 5 are,
    /// and those are of 4 classes (paid or refund, live or pending).
    fn merge(&mut self, postings: &mut Vec<Posting>) -> Result<(GrantId, GrantId), Rejection> {
        let class = |grant: &Grant| (grant.source, self.state.is_pending(grant));
        let mergeable: Vec<Grant> = self
            .state
            .grants
            .iter()
            .filter(|grant| grant.source.merges() && !self.state.is_lingering(grant))
            .copied()
            .collect();
        let (older, newer) = mergeable
            .iter()
            .enumerate()
            .flat_map(|(index, a)| mergeable[index + 1..].iter().map(move |b| (a, b)))
            .filter(|(a, b)| class(a) == class(b))
            .map(|(a, b)| if a.id < b.id { (*a, *b) } else { (*b, *a) })
            .min_by_key(|(a, b)| {
                let apart = end_millis(a.expires_at).abs_diff(end_millis(b.expires_at));
                // Equal terms first; ids make the choice deterministic.
                (apart, a.priority.abs_diff(b.priority), a.id, b.id)
            })
            .expect("five mergeable grants of four classes");
        let pending = self.state.is_pending(&older);
        self.state.grants.retain(|grant| grant.id != newer.id);
        let kept = self
            .state
            .grants
            .iter_mut()
            .find(|grant| grant.id == older.id)
            .expect("it was found above");
        kept.remaining = kept.remaining.checked_add(newer.remaining).ok_or(OVER_RANGE)?;
        kept.reserved = kept.reserved.checked_add(newer.reserved).ok_or(OVER_RANGE)?;
        // The terms that are better for the customer: the later expiry, the earlier start.
        kept.expires_at = older.expires_at.zip(newer.expires_at).map(|(a, b)| a.max(b));
        kept.effective_at = older.effective_at.min(newer.effective_at);
        kept.priority = older.priority.max(newer.priority);
        kept.merged = true;
        if !pending {
            post(postings, Target::Grant(newer.id), -newer.remaining);
            post(postings, Target::Grant(older.id), newer.remaining);
        }
        self.move_reservations(newer.id, older.id);
        Ok((older.id, newer.id))
    }

    /// What holds reserve of one grant they reserve of another from now on.
    fn move_reservations(&mut self, from: GrantId, to: GrantId) {
        for hold in &mut self.state.holds {
            let Some(index) = hold.reserved.iter().position(|part| part.grant == from) else {
                continue;
            };
            match hold.reserved.iter().position(|part| part.grant == to) {
                None => hold.reserved[index].grant = to,
                Some(other) => {
                    let moved = hold.reserved[index].credits;
                    let sum = hold.reserved[other].credits.checked_add(moved);
                    hold.reserved[other].credits = sum.expect("parts of one hold");
                    hold.reserved.remove(index);
                }
            }
        }
    }
}
