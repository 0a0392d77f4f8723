//! What becomes of a payment after it brought its credits: refunds and disputes.
//!
//! Webhooks come late, twice, and in any order. So what is kept of a payment is a state that every
//! event only moves forward (a refund's cumulative amount grows, a dispute that was decided stays
//! decided), and how many credits are taken back follows from the state alone:
//! `credits * min(refunded + disputes not won, amount) / amount`, rounded down. A dispute after a
//! refund so takes only what is left, and one that is won gives back just what it took.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};

use crate::Credits;
use crate::account::Money;

/// Disputes of one payment at most.
pub const MAX_DISPUTES: usize = 16;

/// What a payment brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    /// The credits, above zero.
    pub credits: Credits,
    /// What was paid, where that was said.
    pub paid: Option<Money>,
}

/// Something that happened to a payment. Amounts are money, of the payment's currency; none means
/// all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PaymentEvent {
    /// It was refunded: so much so far, altogether.
    Refunded {
        /// The cumulative amount.
        amount: Option<Money>,
    },
    /// It is disputed.
    Disputed {
        /// The provider's name for the dispute.
        dispute: String,
        /// What is disputed.
        amount: Option<Money>,
    },
    /// A dispute was decided for the merchant.
    DisputeWon {
        /// The dispute.
        dispute: String,
    },
    /// A dispute was decided for the buyer.
    DisputeLost {
        /// The dispute.
        dispute: String,
        /// What was disputed, where nobody said so before.
        amount: Option<Money>,
    },
}

/// Where a dispute stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum DisputeStatus {
    /// Not decided.
    #[n(0)]
    Open,
    /// The money stays.
    #[n(1)]
    Won,
    /// The money is gone.
    #[n(2)]
    Lost,
}

/// A dispute of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Dispute {
    /// Where it stands.
    #[n(0)]
    pub status: DisputeStatus,
    /// What is disputed; none for all of it.
    #[n(1)]
    pub amount: Option<Credits>,
}

/// All that became of a payment so far.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Reversals {
    /// Whether all of it was refunded.
    #[n(0)]
    pub refunded_in_full: bool,
    /// What was refunded so far, not negative.
    #[n(1)]
    pub refunded: Credits,
    /// Its disputes, by the provider's names for them.
    #[n(2)]
    pub disputes: BTreeMap<String, Dispute>,
    /// How many credits are taken back.
    #[n(3)]
    pub taken: Credits,
    /// How many of these a void of its grant had forfeited. What that is the account knows; it is
    /// kept here so that a won dispute gives back only what was taken.
    #[n(4)]
    pub forfeited: Credits,
}

/// Why an event can't be applied. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PaymentEventError {
    /// It names an amount, and what was paid is not known or of another currency.
    #[error("the payment's amount is not known, or in another currency")]
    NotComparable,
    /// An amount below zero.
    #[error("an amount is not negative")]
    Negative,
    /// More disputes than one payment may have.
    #[error("the payment has too many disputes")]
    LimitExceeded,
}

impl Reversals {
    /// The state after an event: the same where the event says nothing new. The difference of
    /// [`Self::taken`] is what is to be taken back, or to be given back where it is negative.
    /// What of it was forfeited only the operation tells.
    ///
    /// # Errors
    /// See [`PaymentEventError`].
    pub fn after(
        &self,
        payment: &Payment,
        event: &PaymentEvent,
    ) -> Result<Self, PaymentEventError> {
        let mut next = self.clone();
        match event {
            PaymentEvent::Refunded { amount: None } => next.refunded_in_full = true,
            PaymentEvent::Refunded { amount: Some(amount) } => {
                next.refunded = next.refunded.max(comparable(payment, amount)?);
            }
            PaymentEvent::Disputed { dispute, amount } => {
                let amount = amount.as_ref().map(|money| comparable(payment, money)).transpose()?;
                let new = Dispute { status: DisputeStatus::Open, amount };
                // What was said first stays: a late or repeated opening undoes no decision.
                next.disputes.entry(dispute.clone()).or_insert(new);
            }
            PaymentEvent::DisputeWon { dispute } => {
                let new = Dispute { status: DisputeStatus::Won, amount: None };
                next.decide(dispute, new);
            }
            PaymentEvent::DisputeLost { dispute, amount } => {
                let amount = amount.as_ref().map(|money| comparable(payment, money)).transpose()?;
                let new = Dispute { status: DisputeStatus::Lost, amount };
                next.decide(dispute, new);
            }
        }
        if next.disputes.len() > MAX_DISPUTES {
            return Err(PaymentEventError::LimitExceeded);
        }
        next.taken = next.target(payment);
        Ok(next)
    }

    /// Whether this can be what came after `before` of a payment: what is taken back follows from
    /// the events, and these only move forward.
    pub fn follows(&self, before: &Self, payment: &Payment) -> bool {
        let decided = |(dispute, old): (&String, &Dispute)| {
            self.disputes.get(dispute).is_some_and(|new| {
                let stays = new.status == old.status || old.status == DisputeStatus::Open;
                stays && new.amount == old.amount
            })
        };
        self.taken == self.target(payment)
            && (Credits::ZERO..=self.taken).contains(&self.forfeited)
            && (self.taken != before.taken || self.forfeited == before.forfeited)
            && self.refunded_in_full >= before.refunded_in_full
            && self.refunded >= before.refunded
            && self.disputes.len() <= MAX_DISPUTES
            && before.disputes.iter().all(decided)
    }

    fn decide(&mut self, dispute: &str, decided: Dispute) {
        let known = self.disputes.entry(dispute.to_owned()).or_insert(decided);
        if known.status == DisputeStatus::Open {
            known.status = decided.status;
        }
    }

    /// How many credits are to be taken back by now.
    fn target(&self, payment: &Payment) -> Credits {
        let standing =
            || self.disputes.values().filter(|dispute| dispute.status != DisputeStatus::Won);
        let whole = payment.paid.as_ref().map_or(0, |paid| paid.amount.micros());
        let in_full = self.refunded_in_full || standing().any(|dispute| dispute.amount.is_none());
        let gone = self.refunded.micros()
            + standing().filter_map(|dispute| dispute.amount).map(Credits::micros).sum::<i128>();
        if in_full || (gone > 0 && gone >= whole) {
            return payment.credits;
        }
        if gone <= 0 {
            return Credits::ZERO;
        }
        share(payment.credits, gone, whole)
    }
}

/// `credits * part / whole`, rounded down, for `0 < part < whole`.
fn share(credits: Credits, part: i128, whole: i128) -> Credits {
    // All are below 2^70, so that a product of two has too many bits for an i128: in two halves.
    const HALF: i128 = 1 << 35;
    let (high, low) = (credits.micros() / HALF, credits.micros() % HALF);
    let (quotient, rest) = (high * part / whole, high * part % whole);
    let micros = quotient * HALF + (rest * HALF + low * part) / whole;
    Credits::from_micros(micros).expect("less than the credits")
}

/// An amount that can be compared with what was paid.
fn comparable(payment: &Payment, amount: &Money) -> Result<Credits, PaymentEventError> {
    if amount.amount.is_negative() {
        return Err(PaymentEventError::Negative);
    }
    let paid = payment.paid.as_ref().filter(|paid| paid.currency == amount.currency);
    paid.map(|_| amount.amount).ok_or(PaymentEventError::NotComparable)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn money(text: &str) -> Money {
        let (amount, currency) = text.split_once(' ').unwrap_or((text, "EUR"));
        Money { amount: amount.parse().unwrap(), currency: currency.into() }
    }

    /// `refund 5`, `dispute a 5`, `won a`, `lost a 5`; without an amount: of all.
    fn event(text: &str) -> PaymentEvent {
        let mut words = text.splitn(2, ' ');
        let (kind, rest) = (words.next().unwrap(), words.next().unwrap_or_default());
        let (id, amount) = rest.split_once(' ').unwrap_or((rest, ""));
        let of = |text: &str| Some(text).filter(|text| !text.is_empty()).map(money);
        let dispute = id.to_owned();
        match kind {
            "refund" => PaymentEvent::Refunded { amount: of(rest) },
            "dispute" => PaymentEvent::Disputed { dispute, amount: of(amount) },
            "won" => PaymentEvent::DisputeWon { dispute },
            "lost" => PaymentEvent::DisputeLost { dispute, amount: of(amount) },
            _ => panic!("{text}"),
        }
    }

    /// What a void has forfeited is a part of what was taken back, and changes with it alone.
    #[test]
    fn what_was_forfeited_is_a_part_of_what_is_taken() {
        let payment = Payment { credits: "100".parse().unwrap(), paid: Some(money("10")) };
        let before = Reversals::default().after(&payment, &event("refund 3")).unwrap();
        let after = before.after(&payment, &event("refund 5")).unwrap();
        for (next, forfeited, expected) in [
            (&before, "0", true),
            (&before, "1", false),
            (&after, "0", true),
            (&after, "20", true),
            (&after, "50", true),
            (&after, "50.000001", false),
            (&after, "-1", false),
        ] {
            let next = Reversals { forfeited: forfeited.parse().unwrap(), ..next.clone() };
            assert_eq!(next.follows(&before, &payment), expected, "{forfeited} of {}", next.taken);
        }
    }

    #[test]
    fn what_is_taken_follows_from_the_events() {
        let check = |credits: &str, paid: Option<&str>, steps: &[(&str, &str)]| {
            let payment = Payment { credits: credits.parse().unwrap(), paid: paid.map(money) };
            let mut state = Reversals::default();
            for (text, expected) in steps {
                let taken = match state.after(&payment, &event(text)) {
                    Ok(next) => {
                        assert!(next.follows(&state, &payment), "{text} of {steps:?}");
                        // Not the other way round, where it says anything new.
                        assert_eq!(state.follows(&next, &payment), state == next, "{text}");
                        state = next;
                        state.taken.to_string()
                    }
                    Err(error) => format!("!{error:?}"),
                };
                assert_eq!(taken, *expected, "{text} of {steps:?}");
                // A delivery again says nothing new.
                if !taken.starts_with('!') {
                    assert_eq!(state.after(&payment, &event(text)).as_ref(), Ok(&state));
                }
            }
        };
        let ten = Some("10");
        check("100", ten, &[("refund 3", "30"), ("refund 2", "30"), ("refund 10", "100")]);
        check("100", ten, &[("refund 3", "30"), ("refund", "100"), ("refund 4", "100")]);
        // Rounded down, but exact in full.
        check("100", Some("3"), &[("refund 1", "33.333333"), ("refund 3", "100")]);
        check("100", ten, &[("refund 99", "100")]);
        // A dispute after a refund takes only what is left, and gives back only that.
        check("100", ten, &[("refund 4", "40"), ("dispute a", "100"), ("won a", "40")]);
        check("100", ten, &[("dispute a", "100"), ("refund 4", "100"), ("won a", "40")]);
        check("100", ten, &[("dispute a 4", "40"), ("dispute b 3", "70"), ("won a", "30")]);
        check("100", ten, &[("dispute a 4", "40"), ("lost a", "40"), ("won a", "40")]);
        // Out of order: what was decided stays decided.
        check("100", ten, &[("won a", "0"), ("dispute a", "0"), ("lost a", "0")]);
        check("100", ten, &[("lost a 5", "50"), ("dispute a 7", "50"), ("won a", "50")]);
        check("100", ten, &[("lost a", "100")]);
        // Amounts of another currency, or of a payment without one.
        check("100", ten, &[("refund 3 USD", "!NotComparable"), ("refund -1", "!Negative")]);
        check("100", None, &[("refund 3", "!NotComparable"), ("refund", "100")]);
        check("100", None, &[("dispute a", "100"), ("won a", "0")]);
        check("100", Some("0"), &[("refund 0", "0"), ("dispute a", "100")]);
        check(
            "1000000000000",
            Some("900000000000000"),
            &[
                ("refund 899999999999999", "999999999999.998888"),
                ("refund 1", "999999999999.998888"),
            ],
        );
        check(
            "1000000000000000",
            Some("1000000000000000"),
            &[("refund 999999999999999.999999", "999999999999999.999999")],
        );
    }

    #[test]
    fn a_payment_has_sixteen_disputes_at_most() {
        let payment = Payment { credits: Credits::from_whole(1), paid: None };
        let mut state = Reversals::default();
        for index in 0..MAX_DISPUTES {
            state = state.after(&payment, &event(&format!("dispute d{index}"))).unwrap();
        }
        let one_more = state.after(&payment, &event("dispute x"));
        assert_eq!(one_more, Err(PaymentEventError::LimitExceeded));
        assert_eq!(state.after(&payment, &event("won d3")).map(|s| s.taken), Ok(payment.credits));
    }

    proptest! {
        /// Whatever comes in whatever order: never more than was brought, never below zero, and the
        /// order of events of different disputes and refunds does not matter.
        #[test]
        fn order_does_not_matter(
            events in prop::collection::vec((0..3_u8, 0..3_u8, 0..15_u32), 1..8),
            keys in prop::collection::vec(any::<u32>(), 8),
        ) {
            let payment = Payment { credits: Credits::from_whole(77), paid: Some(money("10")) };
            let mut opened = BTreeMap::new();
            let mut list = Vec::new();
            for (kind, id, amount) in events {
                // One amount a dispute, one decision a dispute: others contradict each other.
                let amount = *opened.entry(id).or_insert(amount);
                list.push(match kind {
                    0 => format!("refund {amount}"),
                    1 => format!("dispute {id} {amount}"),
                    _ if id == 0 => format!("lost {id} {amount}"),
                    _ => format!("won {id}"),
                });
            }
            let run = |list: &[String]| {
                let mut state = Reversals::default();
                for text in list {
                    state = state.after(&payment, &event(text)).unwrap();
                    prop_assert!(!state.taken.is_negative() && state.taken <= payment.credits);
                }
                Ok(state)
            };
            let first = run(&list)?;
            let mut shuffled: Vec<_> = list.into_iter().zip(keys).collect();
            shuffled.sort_by_key(|(_, key)| *key);
            let shuffled: Vec<_> = shuffled.into_iter().map(|(text, _)| text).collect();
            prop_assert_eq!(run(&shuffled)?.taken, first.taken);
        }
    }
}
