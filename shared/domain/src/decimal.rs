//! One strict grammar for every decimal that comes in as text.
//!
//! `rust_decimal` reads `1_000`, `+1`, `.5` and `1.`, and rounds past 28 digits; a price must not
//! depend on such leniency, so the shape is checked before it is asked.

use rust_decimal::Decimal;

/// Why a text is not an acceptable decimal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecimalError {
    /// Not `-?digits[.digits]`: exponents, signs, separators, spaces, superfluous zeros in front.
    #[error("write a plain decimal such as \"12.5\": digits, at most one point, no exponent")]
    Syntax,
    /// More fractional digits than the type holds.
    #[error("at most {0} fractional digits")]
    TooManyPlaces(u32),
    /// The magnitude is over the type's limit.
    #[error("out of range: {0}")]
    OutOfRange(&'static str),
}

/// Longest text that is looked at: 28 digits, a sign and a point. What is longer is out of every
/// type's range, and refusing by length first bounds the work.
const MAX_LEN: usize = 30;

/// Reads `text` as an integer number of `10^-places`.
pub(crate) fn parse_scaled(text: &str, places: u32) -> Result<i128, DecimalError> {
    let decimal = parse(text)?;
    if decimal.scale() > places {
        return Err(DecimalError::TooManyPlaces(places));
    }
    let factor = 10_i128
        .checked_pow(places - decimal.scale())
        .ok_or(DecimalError::OutOfRange("too many digits"))?;
    decimal.mantissa().checked_mul(factor).ok_or(DecimalError::OutOfRange("too many digits"))
}

/// Reads `text` exactly: `0`, `-1`, `12.50`; never rounded.
pub(crate) fn parse(text: &str) -> Result<Decimal, DecimalError> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = match digits.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (digits, None),
    };
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !all_digits(whole)
        || fraction.is_some_and(|f| !all_digits(f))
        || (whole.len() > 1 && whole.starts_with('0'))
    {
        return Err(DecimalError::Syntax);
    }
    if text.len() > MAX_LEN {
        return Err(DecimalError::OutOfRange("at most 28 digits"));
    }
    Decimal::from_str_exact(text).map_err(|_| DecimalError::OutOfRange("at most 28 digits"))
}

/// Writes `value * 10^-places` without superfluous zeros: `1.5`, `-0.000001`, `0`.
pub(crate) fn format_scaled(value: i128, places: u32) -> String {
    let factor = 10_u128.pow(places);
    let magnitude = value.unsigned_abs();
    let (whole, fraction) = (magnitude / factor, magnitude % factor);
    let sign = if value < 0 { "-" } else { "" };
    if fraction == 0 {
        return format!("{sign}{whole}");
    }
    let fraction = format!("{fraction:0width$}", width = places as usize);
    format!("{sign}{whole}.{}", fraction.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let check = |text: &str, expected: Result<i128, DecimalError>| {
            assert_eq!(parse_scaled(text, 6), expected, "{text:?}");
            if let Ok(value) = expected {
                assert_eq!(parse_scaled(&format_scaled(value, 6), 6), Ok(value), "{text:?} again");
            }
        };
        check("0", Ok(0));
        check("12.5", Ok(12_500_000));
        check("-0.000001", Ok(-1));
        check("1000000000000000", Ok(1_000_000_000_000_000_000_000));
        for bad in [
            "", "-", ".5", "1.", "+1", "01", "1e9", "1_000", " 1", "1 ", "NaN", "0x1", "1.2.3",
            "--1", "1,5", "١", "inf",
        ] {
            check(bad, Err(DecimalError::Syntax));
        }
        check("0.0000001", Err(DecimalError::TooManyPlaces(6)));
        check(&"9".repeat(29), Err(DecimalError::OutOfRange("at most 28 digits")));
        check(&"9".repeat(1000), Err(DecimalError::OutOfRange("at most 28 digits")));
    }
}
