//! Fractions of any size, and how they become decimals. Nothing else in this crate rounds.
//!
//! A cost of 28 digits over a margin's share and over a price of 12 digits does not fit into 128
//! bits, and `rust_decimal` would round such a quotient silently.

use num_rational::BigRational;
use rust_decimal::Decimal;
use uc_domain::ratios::{Per, Ratio};

/// A fraction, not always in lowest terms. Finding greatest common divisors would cost more than all
/// else here, and none of what is done with fractions depends on them: what this module makes is
/// left as it comes, and few factors make it.
pub(crate) type Fraction = BigRational;

/// Most significant digits of a ratio.
pub(crate) const DIGITS: i32 = 12;
/// The most credits that a line may come to (the rating refuses more).
const MAX_LINE: i128 = 1_000_000_000;

/// An integer.
pub(crate) fn whole(number: impl Into<i128>) -> Fraction {
    Fraction::from_integer(number.into().into())
}

/// `10^exponent`.
pub(crate) fn ten(exponent: i32) -> Fraction {
    whole(10).pow(exponent)
}

/// `number * 10^-places`, for at most 38 places.
pub(crate) fn scaled(number: impl Into<i128>, places: u32) -> Fraction {
    Fraction::new_raw(number.into().into(), 10_i128.pow(places).into())
}

/// A decimal, exactly.
pub(crate) fn decimal(decimal: Decimal) -> Fraction {
    scaled(decimal.mantissa(), decimal.scale())
}

/// A ratio, exactly.
pub(crate) fn ratio(ratio: Ratio) -> Fraction {
    let (mantissa, places) = ratio.parts();
    scaled(mantissa, u32::from(places))
}

/// The product.
pub(crate) fn times(a: &Fraction, b: &Fraction) -> Fraction {
    Fraction::new_raw(a.numer() * b.numer(), a.denom() * b.denom())
}

/// The quotient of two fractions, the second above zero.
pub(crate) fn over(a: &Fraction, b: &Fraction) -> Fraction {
    Fraction::new_raw(a.numer() * b.denom(), a.denom() * b.numer())
}

/// What is left of one.
pub(crate) fn rest(part: &Fraction) -> Fraction {
    Fraction::new_raw(part.denom() - part.numer(), part.denom().clone())
}

/// The largest exponent of ten that is not above a fraction above zero.
pub(crate) fn magnitude(exact: &Fraction) -> i32 {
    // 2^bits <= exact, so 10^(bits * 0.30103) <= exact; rounded down, also below zero.
    let bits = |number: u64| i64::try_from(number).expect("far fewer bits than that");
    let bits = bits(exact.numer().bits()) - bits(exact.denom().bits()) - 1;
    let least = (bits * 30_103).div_euclid(100_000) - 1;
    let mut magnitude = i32::try_from(least).expect("a small number");
    while *exact >= ten(magnitude + 1) {
        magnitude += 1;
    }
    magnitude
}

/// The least decimal not below a fraction above zero that has at most so many significant digits
/// (up to 18) and decimal places: mantissa and decimal places, negative where the mantissa is to
/// be multiplied.
pub(crate) fn round_up(exact: &Fraction, digits: i32, places: i32) -> (u64, i32) {
    let places = places.min(digits - 1 - magnitude(exact));
    let mantissa = times(exact, &ten(places)).ceil().to_integer();
    (u64::try_from(mantissa).expect("at most 10^digits"), places)
}

/// The least ratio for `per` units that is not below `exact`.
///
/// A ratio has at most 12 significant digits, and its decimal places and the zeros of `per` are
/// together at most 18. So for one unit the steps are 10^-18 at the finest, whatever `per` is:
/// another `per` would not make a ratio more precise.
///
/// # Errors
/// Why no ratio can express it.
pub(crate) fn ratio_up(exact: &Fraction, per: Per) -> Result<Ratio, &'static str> {
    if *exact == whole(0) {
        return Ok(Ratio::from_parts(0, 0).expect("zero is a ratio"));
    }
    if *exact > whole(MAX_LINE * i128::from(per.units())) {
        return Err("one unit would cost more than 10^9 credits, the most that a line may come to");
    }
    let most = i32::from(Ratio::PLACES) - i32::from(per.exponent());
    let (mut mantissa, mut places) = round_up(exact, DIGITS, most);
    while places > 0 && mantissa.is_multiple_of(10) {
        mantissa /= 10;
        places -= 1;
    }
    while places < 0 {
        mantissa = mantissa.checked_mul(10).ok_or(OVER)?;
        places += 1;
    }
    let places = u8::try_from(places).expect("from 0 to 18");
    Ratio::from_parts(mantissa, places).ok_or(OVER)
}

const OVER: &str = "the ratio would be over 10^15: give the cost for fewer units";

/// The least decimal not below `exact` of at most so many significant digits (up to 18) and 28
/// places.
pub(crate) fn decimal_up(exact: &Fraction, digits: i32) -> Decimal {
    if *exact == whole(0) {
        return Decimal::ZERO;
    }
    let (mantissa, places) = round_up(exact, digits, 28);
    let factor = 10_i128.pow(places.min(0).unsigned_abs());
    let places = places.max(0).cast_unsigned();
    Decimal::from_i128_with_scale(i128::from(mantissa) * factor, places).normalize()
}

/// `floor(exact * 10^places)`; `None` where that is no i128.
pub(crate) fn floor(exact: &Fraction, places: i32) -> Option<i128> {
    i128::try_from(times(exact, &ten(places)).floor().to_integer()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_ratio_up() {
        let check = |numerator: i128, denominator: i128, per: u64, expected: Result<&str, &str>| {
            let per = Per::from_units(per).unwrap();
            let exact = whole(numerator) / whole(denominator);
            let found = ratio_up(&exact, per).map(|ratio| ratio.to_string());
            let what = format!("{numerator}/{denominator} for {}", per.units());
            match expected {
                Ok(text) => assert_eq!(found.as_deref(), Ok(text), "{what}"),
                Err(part) => assert!(found.unwrap_err().contains(part), "{what}"),
            }
        };
        check(0, 1, 1, Ok("0"));
        check(5, 4, 1_000_000, Ok("1.25"));
        check(10, 7, 1_000_000, Ok("1.42857142858"));
        check(1, 3, 1, Ok("0.333333333334"));
        // Twelve nines are a ratio; a thirteenth carries into the next power of ten.
        check(999_999_999_999, 1_000_000_000_000, 1, Ok("0.999999999999"));
        check(9_999_999_999_999, 10_000_000_000_000, 1, Ok("1"));
        check(1_000_000_000_001, 1, 1_000_000, Ok("1000000000010"));
        // A unit's steps are 10^-18, whatever `per` is.
        check(1, 3_000_000_000_000_000_000, 1, Ok("0.000000000000000001"));
        check(1, 3_000_000_000_000, 1_000_000, Ok("0.000000000001"));
        check(1, 3_000_000, 1_000_000_000_000, Ok("0.000001"));
        check(4, 3_000_000_000_000, 1_000_000, Ok("0.000000000002"));
        check(1_000_000_000, 1, 1, Ok("1000000000"));
        check(1_000_000_001, 1, 1, Err("10^9"));
        check(1_000_000_000_000_000, 1, 1_000_000, Ok("1000000000000000"));
        check(1_000_000_000_000_001, 1, 1_000_000, Err("10^9"));
        check(1_000_000_000_000_001, 1, 10_000_000, Err("over 10^15"));
        check(i128::MAX, 1, 1_000_000_000_000, Err("10^9"));
    }
}
