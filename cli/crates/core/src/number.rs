//! Numbers that users type.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// Returns a parser of whole numbers in a range, for the value of an option.
///
/// The parser refuses negative numbers, fractions, words, and numbers outside the range or too
/// large for `N` with one error, which names the range.
pub fn whole_number<N>(
    range: RangeInclusive<N>,
) -> impl Fn(&str) -> Result<N, String> + Clone + Send + Sync + 'static
where
    N: FromStr + PartialOrd + Display + Clone + Send + Sync + 'static,
{
    move |text: &str| {
        let number = text.parse::<N>().ok();
        number
            .filter(|number| range.contains(number))
            .ok_or_else(|| {
                format!(
                    "must be a whole number from {} to {}",
                    range.start(),
                    range.end()
                )
            })
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use super::*;

    #[test]
    fn whole_number_accepts_the_range_with_its_ends() {
        let parse = whole_number::<u32>(1..=100);
        assert_eq!(parse("1"), Ok(1));
        assert_eq!(parse("100"), Ok(100));
    }

    #[test]
    fn whole_number_outside_the_range_names_the_range() {
        let parse = whole_number::<u32>(1..=100);
        for text in ["0", "101", "-1", "99999999999", "1.5", "1,000", "many", ""] {
            let error = parse(text).unwrap_err();
            assert_eq!(error, "must be a whole number from 1 to 100", "{text}");
        }
        let parse = whole_number(NonZeroU16::MIN..=NonZeroU16::MAX);
        assert_eq!(
            parse("0").unwrap_err(),
            "must be a whole number from 1 to 65535"
        );
    }
}
