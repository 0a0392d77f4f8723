//! Ratios that follow from costs.
//!
//! A calculator makes a model's ratios by one division: a cost over what a credit brings after the
//! margin, rounded up to the digits that a ratio may have. Such rows need no ratio beside their
//! cost, which is a third of a large table. A [`Share`] counts as a model's only where it gives
//! every ratio of it exactly, so it says nothing about where a table comes from.

use uc_domain::ratios::{Per, Ratio, Row};

/// Most significant digits of a ratio.
const DIGITS: u32 = 12;
/// A share has at most 9 digits: with a cost of up to 19 nothing here exceeds 128 bits.
const MAX_SHARE: u64 = 1_000_000_000;
/// Most decimal places of a share.
const MAX_PLACES: u8 = 18;

/// What a credit may cost: the divisor between costs and ratios.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    mantissa: u64,
    scale: u8,
}

impl Share {
    /// `mantissa * 10^-scale`, as [`parts`](Self::parts) gave it.
    pub fn from_parts(mantissa: u64, scale: u8) -> Option<Self> {
        ((1..MAX_SHARE).contains(&mantissa) && scale <= MAX_PLACES)
            .then_some(Self { mantissa, scale })
    }

    /// Mantissa and decimal places.
    pub const fn parts(self) -> (u64, u8) {
        (self.mantissa, self.scale)
    }

    /// The share by which all ratios follow from their costs, the likely one if that is it. Rows
    /// without a cost have none.
    pub fn of(rows: &[Row], likely: Option<Self>) -> Option<Self> {
        let fits = |share: &Self| {
            rows.iter().all(|row| {
                let rate = row.rate();
                cost(row).is_some_and(|cost| share.ratio(cost, rate.per()) == Some(rate.credits()))
            })
        };
        if let Some(likely) = likely.filter(fits) {
            return Some(likely);
        }
        // Any row tells it but those that cost nothing.
        let (row, (amount, places)) = rows
            .iter()
            .find_map(|row| Some((row, cost(row).filter(|(amount, _)| *amount > 0)?)))?;
        let (credits, credit_places) = row.rate().credits().parts();
        // The shortest decimal that is not below cost / ratio.
        (0..=MAX_PLACES)
            .map_while(|scale| {
                let shift = i32::from(credit_places) + i32::from(scale) - i32::from(places);
                let mantissa = divided_up(amount.into(), credits.into(), shift)?;
                Self::from_parts(u64::try_from(mantissa).ok()?, scale)
            })
            .find(fits)
    }

    /// What a cost, as mantissa and decimal places, makes of a ratio. `None` where that is none.
    pub fn ratio(self, (amount, places): (u64, u8), per: Per) -> Option<Ratio> {
        let most = i32::from(Ratio::PLACES) - i32::from(per.exponent());
        let shift = i32::from(self.scale) - i32::from(places);
        let digits = |n: u64| n.checked_ilog10().map_or(1, |log| log + 1).cast_signed();
        // With these places it has as many digits as a ratio may have, or one more.
        let mut scale =
            (DIGITS.cast_signed() + digits(self.mantissa) - digits(amount) - shift).min(most);
        let divided = |scale: i32| divided_up(amount.into(), self.mantissa.into(), shift + scale);
        let mut quotient = divided(scale)?;
        if quotient > 10_u128.pow(DIGITS) {
            scale -= 1;
            quotient = divided(scale)?;
        }
        while scale > 0 && quotient.is_multiple_of(10) {
            (quotient, scale) = (quotient / 10, scale - 1);
        }
        // Over 12 digits before the point.
        if scale < 0 {
            (quotient, scale) = (quotient.checked_mul(power(-scale)?)?, 0);
        }
        Ratio::from_parts(quotient.try_into().ok()?, scale.try_into().ok()?)
    }
}

/// Mantissa and decimal places of a row's cost, where they are small enough.
pub fn cost(row: &Row) -> Option<(u64, u8)> {
    let amount = row.cost()?.amount();
    Some((amount.mantissa().try_into().ok()?, amount.scale().try_into().ok()?))
}

/// `dividend / divisor * 10^shift`, rounded up to a whole number.
fn divided_up(dividend: u128, divisor: u128, shift: i32) -> Option<u128> {
    let (dividend, divisor) = if shift < 0 {
        (dividend, divisor.checked_mul(power(-shift)?)?)
    } else {
        (dividend.checked_mul(power(shift)?)?, divisor)
    };
    (divisor > 0).then(|| dividend.div_ceil(divisor))
}

fn power(exponent: i32) -> Option<u128> {
    10_u128.checked_pow(exponent.try_into().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_of_costs() {
        let check = |share: (u64, u8), cost: (u64, u8), per: u8, expected: &str| {
            let per = Per::from_exponent(per).unwrap();
            let ratio = Share::from_parts(share.0, share.1).unwrap().ratio(cost, per);
            let expected = Some(expected).filter(|text| !text.is_empty());
            assert_eq!(ratio.map(|r| r.to_string()).as_deref(), expected, "{cost:?} / {share:?}");
        };
        // 0.1 / 0.0007, and what comes out even.
        check((7, 4), (1, 1), 6, "142.857142858");
        check((8, 4), (3, 0), 6, "3750");
        check((1, 0), (125, 2), 6, "1.25");
        check((7, 4), (0, 0), 6, "0");
        // Few places are left for large numbers of units, and all before the point at last.
        check((7, 0), (1, 18), 12, "0.000001");
        check((7, 0), (1, 0), 6, "0.142857142858");
        check((3, 0), (1_000_000_000_000, 0), 0, "333333333334");
        check((3, 0), (1_000_000_000_000_000, 0), 0, "333333333334000");
        // Rounding up makes a digit more, which is a zero.
        check((1, 0), (9_999_999_999_999, 0), 0, "10000000000000");
        check((1, 0), (u64::MAX, 0), 0, "");
        check((1, 18), (1, 0), 0, "");
        check((999_999_999, 18), (u64::MAX, 28), 6, "1.84467440922");
    }
}
