//! Responses with an image that the caller may keep.

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use data_encoding::HEXLOWER;
use dm_kit::http::has_entity_tag;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use sha2::{Digest as _, Sha256};

/// For one caller, since the gateway requires a session. After a minute, the caller asks whether
/// the image has changed.
const CACHE_CONTROL: HeaderValue = HeaderValue::from_static("private, max-age=60, must-revalidate");

/// An SVG image that is opened as a page loads nothing and executes nothing.
const SVG_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
);

/// An image and its entity tag.
#[derive(Debug)]
pub(super) struct ImageResponse {
    content_type: HeaderValue,
    policy: Option<HeaderValue>,
    /// With quotes.
    etag: String,
    image: Vec<u8>,
}

/// Returns an entity tag as a header value.
pub(super) fn quote_etag(etag: &str) -> String {
    format!("\"{etag}\"")
}

impl ImageResponse {
    /// Returns a PNG image whose entity tag is known.
    pub(super) fn png(image: Vec<u8>, etag: &str) -> Self {
        Self {
            content_type: HeaderValue::from_static("image/png"),
            policy: None,
            etag: quote_etag(etag),
            image,
        }
    }

    /// Returns an SVG image.
    pub(super) fn svg(image: String) -> Self {
        Self {
            content_type: HeaderValue::from_static("image/svg+xml"),
            policy: Some(SVG_POLICY),
            etag: quote_etag(&HEXLOWER.encode(&Sha256::digest(&image))),
            image: image.into_bytes(),
        }
    }

    /// Returns the response to a request: without the image if the caller has it.
    pub(super) fn respond_to(self, request: &HeaderMap) -> Response {
        let is_current = has_entity_tag(request, &self.etag);
        let headers = [
            (header::ETAG, HeaderValue::try_from(&self.etag).ok()),
            (header::CACHE_CONTROL, Some(CACHE_CONTROL)),
            // Also of a 304: its headers replace those that the caller has stored, and a response
            // without a policy gets another one.
            (header::CONTENT_SECURITY_POLICY, self.policy),
            (
                header::CONTENT_TYPE,
                Some(self.content_type).filter(|_| !is_current),
            ),
        ];
        let mut response = if is_current {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            Response::new(Body::from(self.image))
        };
        for (name, value) in headers {
            if let Some(value) = value {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn respond(image: ImageResponse, tags: &[&'static str]) -> Response {
        let tags = tags
            .iter()
            .map(|tag| (header::IF_NONE_MATCH, HeaderValue::from_static(tag)));
        let mut request = HeaderMap::new();
        for (name, value) in tags {
            request.append(name, value);
        }
        image.respond_to(&request)
    }

    fn png() -> ImageResponse {
        ImageResponse::png(vec![1, 2, 3], "ab12")
    }

    #[test]
    fn caller_with_the_entity_tag_gets_304_without_the_image() {
        for tags in [
            &["\"ab12\""][..],
            &["W/\"ab12\""],
            &["*"],
            &["\"x\", \"ab12\""],
            &["\"x\"", "\"ab12\""],
        ] {
            let response = respond(png(), tags);
            assert_eq!(response.status(), StatusCode::NOT_MODIFIED, "{tags:?}");
            assert_eq!(response.headers()[header::ETAG], "\"ab12\"");
            assert_eq!(
                response.headers()[header::CACHE_CONTROL],
                "private, max-age=60, must-revalidate"
            );
            assert!(!response.headers().contains_key(header::CONTENT_TYPE));
        }
        for tags in [&[][..], &[""], &["ab12"], &["\"ab1\""], &["\"AB12\""]] {
            let response = respond(png(), tags);
            assert_eq!(response.status(), StatusCode::OK, "{tags:?}");
            assert_eq!(response.headers()[header::ETAG], "\"ab12\"");
            assert_eq!(response.headers()[header::CONTENT_TYPE], "image/png");
        }
    }

    #[test]
    fn entity_tag_of_an_svg_image_depends_on_its_text() {
        let response = |text: &str| respond(ImageResponse::svg(text.to_owned()), &[]);
        let etag = |text| response(text).headers()[header::ETAG].clone();
        assert_eq!(
            etag("<svg/>"),
            "\"d4dc56669143034f31aa309635d4113d9ad76a02b1739da22c965ed2049be9e6\""
        );
        assert_ne!(etag("<svg/>"), etag("<svg />"));
        let first = response("<svg/>");
        assert_eq!(first.headers()[header::CONTENT_TYPE], "image/svg+xml");
        let policy = first.headers()[header::CONTENT_SECURITY_POLICY].to_str();
        assert!(
            policy
                .unwrap()
                .starts_with("default-src 'none'; style-src 'unsafe-inline'")
        );
    }

    #[test]
    fn response_without_the_image_keeps_the_policy_of_an_svg_image() {
        let response = respond(ImageResponse::svg("<svg/>".to_owned()), &["*"]);
        assert_eq!(response.status(), StatusCode::NOT_MODIFIED);
        let policy = &response.headers()[header::CONTENT_SECURITY_POLICY];
        assert_eq!(*policy, SVG_POLICY);
    }
}
