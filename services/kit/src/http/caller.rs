//! The caller of a request.

use axum::extract::FromRequestParts;
use dm_contracts::headers;
use http::HeaderName;
use http::request::Parts;
use utoipa::IntoParams;
use utoipa::openapi::Required;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};

use super::error::ApiError;

/// The header with the id of the signed-in user, which the gateway sets.
const USER_ID: HeaderName = HeaderName::from_static(headers::USER_ID);

pub use dm_contracts::validation::MAX_USER_ID_LENGTH;

/// Id of the signed-in user, from the gateway. Only the gateway can call services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller(pub String);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        parts
            .headers
            .get(USER_ID)
            .map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_owned())
            .filter(|user| !user.is_empty())
            .ok_or_else(|| ApiError::unauthenticated("Missing x-user-id header"))
            .and_then(|user| {
                if user.chars().count() > MAX_USER_ID_LENGTH {
                    Err(ApiError::unauthenticated("Unusable x-user-id header"))
                } else {
                    Ok(Self(user))
                }
            })
    }
}

impl IntoParams for Caller {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let user = ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some(r"\S"))
            .max_length(Some(MAX_USER_ID_LENGTH));
        let header = ParameterBuilder::new()
            .name(headers::USER_ID)
            .parameter_in(ParameterIn::Header)
            .required(Required::True)
            .description(Some("Name of the signed-in user"))
            .schema(Some(user));
        vec![header.build()]
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Request};

    use super::*;

    async fn caller(value: Option<&[u8]>) -> Result<String, String> {
        let (mut parts, ()) = Request::new(()).into_parts();
        if let Some(value) = value {
            let value = HeaderValue::from_bytes(value).unwrap();
            parts.headers.insert(USER_ID, value);
        }
        Caller::from_request_parts(&mut parts, &())
            .await
            .map(|Caller(user)| user)
            .map_err(|error| error.message)
    }

    #[tokio::test]
    async fn caller_is_a_trimmed_user_id_of_limited_length() {
        let missing = Err("Missing x-user-id header".to_owned());
        assert_eq!(caller(None).await, missing);
        assert_eq!(caller(Some(b"  ")).await, missing);
        assert_eq!(caller(Some(b" jhalpert ")).await, Ok("jhalpert".into()));
        assert_eq!(caller(Some("zoë".as_bytes())).await, Ok("zoë".into()));
        let longest = "x".repeat(MAX_USER_ID_LENGTH);
        assert_eq!(caller(Some(longest.as_bytes())).await, Ok(longest.clone()));
        assert_eq!(
            caller(Some(format!("{longest}x").as_bytes())).await,
            Err("Unusable x-user-id header".to_owned())
        );
    }
}
