//! Errors as JavaScript sees them: a message, and a stable `code`.

use napi::{Error, Status};

/// An error whose `code` property is ours. Napi's own conversions fail with its codes, such as `InvalidArg`.
pub(crate) fn coded(code: &str, message: impl AsRef<str>) -> Error<String> {
    Error::new(code.to_owned(), message.as_ref())
}

/// Parses a JSON argument, and names the place of the first mistake.
pub(crate) fn parse<T: serde::de::DeserializeOwned>(
    code: &str,
    what: &str,
    json: &str,
) -> Result<T, Error<String>> {
    serde_json::from_str(json).map_err(|error| coded(code, format!("{what}: {error}")))
}

/// A whole number from 0 to 2^53 - 1, which is what a JavaScript number holds exactly.
pub(crate) fn whole(what: &str, number: f64) -> Result<u64, Error<String>> {
    const MOST: f64 = 9_007_199_254_740_991.0;
    if number.fract() == 0.0 && (0.0..=MOST).contains(&number) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked just now")]
        return Ok(number as u64);
    }
    Err(coded("INVALID_ARGUMENT", format!("{what}: expected a whole number from 0, found {number}")))
}

/// What napi says when a callback cannot be taken.
pub(crate) fn from_napi(error: &Error<Status>) -> Error<String> {
    coded("INVALID_ARGUMENT", &error.reason)
}
