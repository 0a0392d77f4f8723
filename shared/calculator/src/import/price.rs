//! [`Price`]: what one unit costs, out of the source's own digits.
//!
//! Sources write prices as JSON numbers, with exponents, and often with the noise of a computation
//! in floating point behind them. None of that goes through a float here: the digits are read as
//! an integer and a power of ten.

use rust_decimal::Decimal;
use uc_domain::ratios::Per;

/// What one unit costs: at most 12 significant digits and 18 decimal places, as a ratio, and at
/// most [`Price::MAX`]. In lowest terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Price(Decimal);

/// A price, and whether it had to be rounded up to be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Read {
    pub price: Price,
    pub rounded: bool,
}

/// Why a text is no price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum PriceError {
    #[error("not a number")]
    NotANumber,
    #[error("tiers of another form than a list of a start and a price each")]
    Tiers,
    #[error("a price is not negative")]
    Negative,
    #[error("more than a million for one unit is no price")]
    Absurd,
}

/// Longest text that is looked at.
const MAX_LEN: usize = 64;
/// A price has fewer significant digits than this has.
const SIGNIFICANT: u128 = 1_000_000_000_000;
/// Most decimal places.
const PLACES: i32 = 18;
/// Farthest exponent that is looked at.
const MAX_EXPONENT: i32 = 100;
/// Seconds in an hour.
const HOUR: u128 = 3_600;

impl Price {
    /// No costs.
    pub const ZERO: Self = Self(Decimal::ZERO);
    /// A half, as a multiplier.
    pub const HALF: Self = Self(Decimal::from_parts(5, 0, 0, false, 1));
    /// The most that one unit may cost. More is a slip of the one who wrote it.
    const MAX: Decimal = Decimal::from_parts(1_000_000, 0, 0, false, 0);

    /// From a JSON number, or a text that holds one, for `10^exponent` units.
    pub fn read(text: &str, exponent: u8) -> Result<Read, PriceError> {
        let (mantissa, scale) = digits(text)?;
        Self::fit(mantissa, scale - i32::from(exponent))
    }

    /// From the price of an hour, for a second.
    pub fn read_hourly(text: &str) -> Result<Read, PriceError> {
        // Rounding up twice, the second time to fewer digits, is rounding up once.
        let hourly = Self::read(text, 0)?;
        let (mantissa, scale) = hourly.price.parts();
        let fine = mantissa * SIGNIFICANT * 1_000;
        let secondly = Self::fit(fine.div_ceil(HOUR), scale - 15)?;
        let exact = fine.is_multiple_of(HOUR);
        Ok(Read { rounded: hourly.rounded || secondly.rounded || !exact, ..secondly })
    }

    /// This many times the price.
    pub fn times(self, factor: Self) -> Result<Read, PriceError> {
        let ((a, a_scale), (b, b_scale)) = (self.parts(), factor.parts());
        Self::fit(a * b, a_scale + b_scale)
    }

    /// The price of this many units at once.
    pub fn of_many(self, units: u32) -> Result<Read, PriceError> {
        let (mantissa, scale) = self.parts();
        Self::fit(mantissa * u128::from(units), scale)
    }

    /// For `per` units.
    pub fn amount(self, per: Per) -> Decimal {
        (self.0 * Decimal::from(per.units())).normalize()
    }

    /// `mantissa * 10^scale`, the mantissa below 10^24.
    fn parts(self) -> (u128, i32) {
        let scale = i32::try_from(self.0.scale()).expect("at most 18 places");
        (self.0.mantissa().unsigned_abs(), -scale)
    }

    /// `mantissa * 10^scale`, rounded up to what a price can be.
    fn fit(mut mantissa: u128, mut scale: i32) -> Result<Read, PriceError> {
        let mut rounded = false;
        while mantissa != 0 && (mantissa >= SIGNIFICANT || scale < -PLACES) {
            rounded |= !mantissa.is_multiple_of(10);
            mantissa = mantissa.div_ceil(10);
            scale += 1;
        }
        while mantissa != 0 && mantissa.is_multiple_of(10) {
            mantissa /= 10;
            scale += 1;
        }
        if mantissa == 0 {
            return Ok(Read { price: Self::ZERO, rounded });
        }
        // 10^6 has 7 digits, so anything with a power of ten over the sixth is more.
        let whole = u32::try_from(scale.max(0)).ok().filter(|s| *s <= 6);
        let mantissa = whole
            .and_then(|zeros| mantissa.checked_mul(10_u128.pow(zeros)))
            .and_then(|mantissa| i128::try_from(mantissa).ok())
            .ok_or(PriceError::Absurd)?;
        let places = u32::try_from((-scale).max(0)).expect("not negative");
        let price = Decimal::from_i128_with_scale(mantissa, places);
        if price > Self::MAX {
            Err(PriceError::Absurd)
        } else {
            Ok(Read { price: Self(price), rounded })
        }
    }
}

/// `mantissa * 10^scale` of `-?digits[.digits][e[+-]digits]`.
fn digits(text: &str) -> Result<(u128, i32), PriceError> {
    use PriceError::NotANumber;

    if text.len() > MAX_LEN {
        return Err(NotANumber);
    }
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (number, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = match number.split_once('.') {
        Some((_, "")) => return Err(NotANumber),
        Some((whole, fraction)) => (whole, fraction),
        None => (number, ""),
    };
    let all_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) {
        return Err(NotANumber);
    }
    let magnitude = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    if magnitude.is_empty() || !all_digits(magnitude) {
        return Err(NotANumber);
    }
    let mantissa: u128 = format!("{whole}{fraction}").parse().map_err(|_| NotANumber)?;
    if mantissa == 0 {
        return Ok((0, 0));
    }
    if negative {
        return Err(PriceError::Negative);
    }
    // What is too long for a number of 32 bits is too far as well.
    let far = if exponent.starts_with('-') { i32::MIN } else { i32::MAX };
    let exponent: i32 = exponent.parse().unwrap_or(far);
    if exponent > MAX_EXPONENT {
        return Err(PriceError::Absurd);
    }
    if exponent < -MAX_EXPONENT {
        // More than nothing, and less than anything that a price can be.
        return Ok((1, -MAX_EXPONENT));
    }
    let fraction = i32::try_from(fraction.len()).expect("at most 64 digits");
    Ok((mantissa, exponent - fraction))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(read: Result<Read, PriceError>) -> String {
        match read {
            Ok(Read { price, rounded }) => {
                format!("{}{}", price.0, if rounded { " up" } else { "" })
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn literals_are_read_digit_by_digit() {
        let check = |text: &str, expected: &str| {
            assert_eq!(shown(Price::read(text, 0)), expected, "{text:?}");
        };
        check("0", "0");
        check("-0.0", "0");
        check("1.25e-06", "0.00000125");
        check("1E+2", "100");
        check("0.10", "0.1");
        check("1000000", "1000000");
        check("1.3e-10", "0.00000000013");
        // Noise of a float, up to 12 digits.
        check("1.0000000000000001e-07", "0.000000100000000001 up");
        check("9.999999999999999e-07", "0.000001 up");
        check("9.99999999999999999e-01", "1 up");
        // Past the 18th place.
        check("1.23456789012e-10", "0.00000000012345679 up");
        check("1e-19", "0.000000000000000001 up");
        check("1e-99999999999", "0.000000000000000001 up");
        check("-1e-06", "a price is not negative");
        check("1000000.1", "more than a million for one unit is no price");
        check("1e7", "more than a million for one unit is no price");
        check("1e99999999999", "more than a million for one unit is no price");
        for bad in ["", "-", "NaN", "inf", "Infinity", "1.", ".5", "1e", "1e+", "+1", "0x1", "1_0"]
        {
            check(bad, "not a number");
        }
        check(&"1".repeat(65), "not a number");
    }

    #[test]
    fn prices_of_many_units() {
        assert_eq!(shown(Price::read("1.25", 6)), "0.00000125");
        assert_eq!(shown(Price::read("10", 3)), "0.01");
        assert_eq!(shown(Price::read_hourly("3.6")), "0.001");
        assert_eq!(shown(Price::read_hourly("0.111")), "0.0000308333333334 up");
        assert_eq!(shown(Price::read_hourly("0")), "0");
        let price = Price::read("1.25e-06", 0).unwrap().price;
        assert_eq!(price.amount(Per::from_exponent(6).unwrap()).to_string(), "1.25");
        assert_eq!(shown(price.times(Price::read("1.1", 0).unwrap().price)), "0.000001375");
    }

    proptest! {
        /// Never under what the text says, and over it by less than one part in 10^11 or 10^-18.
        #[test]
        fn rounding_never_undercuts(mantissa in 1_u64..u64::MAX, places in 14_u32..24) {
            let text = format!("{mantissa}e-{places}");
            let exact = Decimal::from_i128_with_scale(i128::from(mantissa), places);
            let Ok(Read { price, rounded }) = Price::read(&text, 0) else {
                prop_assert!(exact > Price::MAX);
                return Ok(());
            };
            prop_assert!(price.0 >= exact);
            prop_assert_eq!(rounded, price.0 != exact);
            let ulp = (exact * Decimal::new(1, 11)).max(Decimal::new(1, 18));
            prop_assert!(price.0 - exact <= ulp);
        }
    }
}
