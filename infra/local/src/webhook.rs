//! Signing a webhook as a payment provider does, by the Standard Webhooks specification.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

/// A secret that is not `whsec_` and Base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a webhook secret is `whsec_` and Base64")]
pub struct SecretError;

/// The `webhook-signature` header for a message: `v1,` and the Base64 of HMAC-SHA256 over
/// `<id>.<timestamp>.<body>`, where the timestamp is in seconds since 1970.
///
/// # Errors
/// [`SecretError`].
pub fn sign(secret: &str, id: &str, timestamp: i64, body: &[u8]) -> Result<String, SecretError> {
    let secret = secret.strip_prefix("whsec_").ok_or(SecretError)?;
    let secret = STANDARD.decode(secret).map_err(|_| SecretError)?;
    let mut signing = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &secret));
    signing.update(format!("{id}.{timestamp}.").as_bytes());
    signing.update(body);
    Ok(format!("v1,{}", STANDARD.encode(signing.sign())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks specification.
    #[test]
    fn the_specifications_example_is_signed_as_it_says() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        let body = br#"{"test": 2432232314}"#;
        let signed = sign(secret, id, 1_614_265_330, body);
        assert_eq!(signed.as_deref(), Ok("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
        assert_eq!(sign("secret", id, 0, body), Err(SecretError));
        assert_eq!(sign("whsec_?", id, 0, body), Err(SecretError));
    }
}
