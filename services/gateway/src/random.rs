//! Texts that nobody can guess.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use thiserror::Error;

/// The system has no randomness to give.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("could not get random bytes from the system")]
pub(crate) struct RandomError;

/// Random bytes as base64url without padding.
///
/// # Errors
/// [`NoRandomness`]: then nobody can sign in.
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
    fn texts_are_of_the_length_asked_for_and_differ() {
        let texts: HashSet<_> = (0..1000).map(|_| token::<18>().unwrap()).collect();
        assert_eq!(texts.len(), 1000);
        assert!(texts.iter().all(|text| text.len() == 24));
        assert!(
            texts
                .iter()
                .flat_map(|text| text.bytes())
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        );
    }
}
