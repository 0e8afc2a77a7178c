//! Random tokens that cannot be guessed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use thiserror::Error;

/// The system cannot provide random bytes.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("could not get random bytes from the system")]
pub(crate) struct RandomError;

/// Returns random bytes as base64url without padding.
///
/// # Errors
/// Returns [`RandomError`] if the system has no random bytes. Sign-in is impossible then.
pub(crate) fn token<const BYTES: usize>() -> Result<String, RandomError> {
    let mut bytes = [0; BYTES];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| RandomError)?;
    Ok(BASE64URL.encode(bytes))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn tokens_are_distinct_base64url_of_the_requested_length() {
        let tokens: HashSet<_> = (0..1000).map(|_| token::<18>().unwrap()).collect();
        assert_eq!(tokens.len(), 1000);
        assert!(tokens.iter().all(|token| token.len() == 24));
        assert!(
            tokens
                .iter()
                .flat_map(|token| token.bytes())
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        );
    }
}
