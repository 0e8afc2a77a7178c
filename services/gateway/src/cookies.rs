//! Reading and writing of cookies.

use std::time::Duration;

use cookie::{Cookie, SameSite};
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

/// Returns the values of a cookie in the order of the request. A browser may send one
/// name more than once, which a cookie jar would not keep.
pub(crate) fn values<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a str> {
    parse_all(headers)
        .filter(move |cookie| cookie.name() == name)
        .filter_map(|cookie| cookie.value_raw())
}

/// Returns the names of the cookies with this prefix in the order of the request: browsers
/// send older cookies first.
pub(crate) fn names<'a>(headers: &'a HeaderMap, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    parse_all(headers)
        .filter_map(|cookie| cookie.name_raw())
        .filter(move |name| name.starts_with(prefix))
}

/// Parses all cookies of a request. The cookie of another app may be invalid, even binary:
/// it must not hide the cookies of the gateway.
fn parse_all(headers: &HeaderMap) -> impl Iterator<Item = Cookie<'_>> {
    headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|header| header.as_bytes().split(|byte| *byte == b';'))
        .filter_map(|pair| Cookie::parse(str::from_utf8(pair).ok()?).ok())
}

/// Returns the `Set-Cookie` header of a cookie for the whole host that is hidden from
/// scripts. `value` is base64url; a lifetime of zero deletes the cookie.
#[must_use]
pub(crate) fn set_cookie_header(
    name: &str,
    value: &str,
    lifetime: Duration,
) -> Option<HeaderValue> {
    let seconds = i64::try_from(lifetime.as_millis().div_ceil(1000)).unwrap_or(i64::MAX);
    let cookie = Cookie::build((name, value))
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax)
        .max_age(cookie::time::Duration::seconds(seconds));
    HeaderValue::from_str(&cookie.to_string()).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        lines
            .iter()
            .map(|line| (COOKIE, HeaderValue::from_str(line).unwrap()))
            .collect()
    }

    #[test]
    fn values_returns_only_cookies_with_exactly_this_name() {
        let headers = headers(&[
            "theme=dark; dmf_session=abc; xdmf_session=no",
            "dmf_session = def ;dmf_session_old=no; dmf_session",
        ]);
        let values: Vec<_> = values(&headers, "dmf_session").collect();
        assert_eq!(values, ["abc", "def"]);
    }

    #[test]
    fn binary_cookie_does_not_hide_other_cookies() {
        let line = HeaderValue::from_bytes(b"theme=\xff\xfe; dmf_session=abc").unwrap();
        let headers = HeaderMap::from_iter([(COOKIE, line)]);
        assert_eq!(values(&headers, "dmf_session").collect::<Vec<_>>(), ["abc"]);
    }

    #[test]
    fn set_cookie_header_has_the_attributes_of_the_contract() {
        assert_eq!(
            set_cookie_header("dmf_session", "abc", Duration::from_millis(1_799_001)).unwrap(),
            "dmf_session=abc; HttpOnly; SameSite=Lax; Path=/; Max-Age=1800"
        );
        assert_eq!(
            set_cookie_header("dmf_session", "", Duration::ZERO).unwrap(),
            "dmf_session=; HttpOnly; SameSite=Lax; Path=/; Max-Age=0"
        );
    }

    proptest! {
        #[test]
        fn cookie_that_was_set_is_read_back(value in "[A-Za-z0-9_-]{1,40}", other in "[a-z]{1,8}=[!-:<-~]{0,20}") {
            let cookie = set_cookie_header("dmf_login", &value, Duration::from_secs(300)).unwrap();
            let pair = cookie.to_str().unwrap().split(';').next().unwrap().to_owned();
            let headers = headers(&[&format!("{other}; {pair}")]);
            prop_assert_eq!(values(&headers, "dmf_login").collect::<Vec<_>>(), [value]);
        }
    }
}
