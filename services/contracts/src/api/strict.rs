//! Fields of requests that accept exactly what the OpenAPI documents describe. By default serde
//! would also accept a list of an object's fields as the object, and would refuse `1.0` as a whole
//! number.

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize as _, Deserializer};
use serde_json::{Number, Value};

/// The first whole number above the range of `i64`. Floating-point numbers represent it exactly.
const ABOVE_I64: f64 = 9_223_372_036_854_775_808.0;

/// Deserializes an optional whole number. JSON can also write it with a fraction of zero: `1.0`.
///
/// # Errors
/// Returns an error for other values, and for a number out of the range of `N`.
pub(super) fn whole_number<'de, D, N>(deserializer: D) -> Result<Option<N>, D::Error>
where
    D: Deserializer<'de>,
    N: TryFrom<i64>,
{
    let Some(number) = Option::<Number>::deserialize(deserializer)? else {
        return Ok(None);
    };
    number
        .as_i64()
        .or_else(|| number.as_f64().and_then(to_whole))
        .and_then(|whole| N::try_from(whole).ok())
        .map(Some)
        .ok_or_else(|| D::Error::custom("the number has a fraction or is out of range"))
}

fn to_whole(number: f64) -> Option<i64> {
    let is_whole = number.fract() == 0.0 && (-ABOVE_I64..ABOVE_I64).contains(&number);
    is_whole.then_some(number as i64)
}

/// Deserializes an optional object.
///
/// # Errors
/// Returns an error for other values.
pub(super) fn object<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    from_object(Value::deserialize(deserializer)?)
}

/// Deserializes an optional list of objects, each of which can be `null`.
///
/// # Errors
/// Returns an error for other values.
pub(super) fn objects<'de, D, T>(deserializer: D) -> Result<Option<Vec<Option<T>>>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let values = Option::<Vec<Value>>::deserialize(deserializer)?;
    let items: Option<Result<_, _>> =
        values.map(|values| values.into_iter().map(from_object).collect());
    items.transpose()
}

fn from_object<T: DeserializeOwned, E: serde::de::Error>(value: Value) -> Result<Option<T>, E> {
    match value {
        Value::Null => Ok(None),
        Value::Object(_) => T::deserialize(value).map(Some).map_err(E::custom),
        _ => Err(E::custom("the value is not an object")),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Body {
        #[serde(deserialize_with = "whole_number")]
        small: Option<i32>,
        #[serde(deserialize_with = "whole_number")]
        large: Option<i64>,
        #[serde(deserialize_with = "object")]
        inner: Option<Inner>,
        #[serde(deserialize_with = "objects")]
        list: Option<Vec<Option<Inner>>>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Inner {
        text: Option<String>,
    }

    fn parse(text: &str) -> Result<Body, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn whole_number_may_have_a_fraction_of_zero() {
        for (text, number) in [
            ("7", 7),
            ("7.0", 7),
            ("70e-1", 7),
            ("-0.0", 0),
            ("1e3", 1000),
        ] {
            let body = parse(&format!(r#"{{"small":{text},"large":{text}}}"#)).unwrap();
            assert_eq!(body.small, Some(number), "{text}");
            assert_eq!(body.large, Some(number.into()), "{text}");
        }
        let largest = parse(r#"{"large":9223372036854775807}"#).unwrap();
        assert_eq!(largest.large, Some(i64::MAX));
        assert_eq!(parse(r#"{"small":null}"#), Ok(Body::default()));
        assert_eq!(parse("{}"), Ok(Body::default()));
    }

    #[test]
    fn other_number_is_rejected() {
        for text in [
            "7.5",
            "2147483648",
            "-2147483649",
            "1e300",
            "\"7\"",
            "true",
            "[7]",
        ] {
            assert!(parse(&format!(r#"{{"small":{text}}}"#)).is_err(), "{text}");
        }
        for text in [
            "9223372036854775808",
            "9223372036854775808.0",
            "-1e19",
            "0.1",
        ] {
            assert!(parse(&format!(r#"{{"large":{text}}}"#)).is_err(), "{text}");
        }
    }

    #[test]
    fn list_of_the_fields_of_an_object_is_no_object() {
        let inner = |text: &str| Inner {
            text: Some(text.to_owned()),
        };
        let body = parse(r#"{"inner":{"text":"a","more":1},"list":[null,{"text":"b"}]}"#).unwrap();
        assert_eq!(body.inner, Some(inner("a")));
        assert_eq!(body.list, Some(vec![None, Some(inner("b"))]));
        assert_eq!(parse(r#"{"inner":null,"list":null}"#), Ok(Body::default()));
        for text in [r#"["a"]"#, "7", "\"a\"", "false"] {
            assert!(parse(&format!(r#"{{"inner":{text}}}"#)).is_err(), "{text}");
            assert!(parse(&format!(r#"{{"list":[{text}]}}"#)).is_err(), "{text}");
        }
        assert!(parse(r#"{"list":{}}"#).is_err());
        assert!(parse(r#"{"list":[{"text":7}]}"#).is_err());
    }
}
