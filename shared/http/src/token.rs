//! Account tokens: short-lived JWTs that a back end mints for one account, made for browsers.
//!
//! One algorithm, `EdDSA` (Ed25519), done by `ring`, which is in every binary for TLS. The token's
//! header chooses a key among ours by `kid`; it has no say in anything else.

use std::fmt;
use std::sync::{LazyLock, Once};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result as JwtResult};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use signature::{Signer, Verifier};
use uc_domain::{AccountId, Timestamp};

use crate::ids::random_id;
use crate::scope::Scopes;

/// The longest that a token may live, in seconds.
pub const MAX_TTL_SECONDS: u32 = 3_600;
/// The longest actor, in characters.
pub const ACTOR_LIMIT: usize = 128;
/// Who issues them.
const ISSUER: &str = "unified-credits";
/// How far ahead the clock of the function that minted a token may be, in seconds. A token that is
/// over is over: its end has no leeway.
const SKEW_SECONDS: u64 = 5;

/// What a token says.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    /// The account.
    sub: String,
    /// The actor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    act: Option<String>,
    /// Separated by spaces.
    scope: String,
    iat: u64,
    exp: u64,
    jti: String,
}

/// Whom a valid token speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TokenIdentity {
    pub(crate) account: AccountId,
    pub(crate) actor: Option<String>,
    pub(crate) scopes: Scopes,
}

/// Why a token is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenError {
    /// Not one of ours, or not as we make them.
    Invalid,
    /// One of ours that is over.
    Expired,
}

/// A token to be minted.
#[derive(Debug, Clone, Copy)]
pub struct TokenRequest<'a> {
    /// The account that it is for.
    pub account: &'a AccountId,
    /// The member of the account who will use it: 1 to 128 characters, none of them a control
    /// character.
    pub actor: Option<&'a str>,
    /// What it allows, at most [`Scopes::OF_ACCOUNT_TOKENS`].
    pub scopes: Scopes,
    /// How long, from 1 to [`MAX_TTL_SECONDS`].
    pub ttl_seconds: u32,
    /// Names the token in logs; [`random_id`] makes one.
    pub id: &'a str,
}

/// Why a token can't be minted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// Too short or too long.
    #[error("a token lives from 1 to {MAX_TTL_SECONDS} seconds")]
    Ttl,
    /// None, or one that no account token may carry.
    #[error("an account token carries one or more of estimate, read, topup")]
    Scopes,
    /// Not a label.
    #[error("an actor has 1 to {ACTOR_LIMIT} characters, none of them a control character")]
    Actor,
    /// The key can't sign.
    #[error("the signing key does not work")]
    Key,
}

/// Why a text is not a [`SigningKey`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a signing key: expected <kid>.<PKCS #8 in base64url>")]
pub struct SigningKeyError;

/// A private key that signs account tokens. Only the `accounts` function reads it, from an SSM
/// `SecureString`.
pub struct SigningKey {
    kid: String,
    public: [u8; 32],
    pair: EncodingKey,
}

impl SigningKey {
    /// A new key, and the text to keep it as. The text is the secret.
    ///
    /// # Errors
    /// When the operating system has no randomness.
    pub fn generate() -> Result<(Self, String), SigningKeyError> {
        let document =
            Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| SigningKeyError)?;
        let secret = format!("{}.{}", random_id("k"), URL_SAFE_NO_PAD.encode(document.as_ref()));
        Ok((Self::from_secret(&secret)?, secret))
    }

    /// The key that [`SigningKey::generate`] gave as a text.
    ///
    /// # Errors
    /// For any other text.
    pub fn from_secret(secret: &str) -> Result<Self, SigningKeyError> {
        let (kid, document) = secret.trim().split_once('.').ok_or(SigningKeyError)?;
        let document = URL_SAFE_NO_PAD.decode(document).map_err(|_| SigningKeyError)?;
        let pair = Ed25519KeyPair::from_pkcs8(&document).map_err(|_| SigningKeyError)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| SigningKeyError)?;
        if !is_kid(kid) {
            return Err(SigningKeyError);
        }
        Ok(Self { kid: kid.to_owned(), public, pair: EncodingKey::from_ed_der(&document) })
    }

    /// Names the key in the tokens that it signs: `A-Z a-z 0-9 _ -`.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// What verifies its tokens. Not a secret.
    pub fn public_key(&self) -> [u8; 32] {
        self.public
    }

    /// Makes a token that is valid from `now` on.
    ///
    /// # Errors
    /// [`MintError`] for a request outside its limits.
    pub fn mint(&self, request: &TokenRequest<'_>, now: Timestamp) -> Result<String, MintError> {
        install_crypto();
        if !(1..=MAX_TTL_SECONDS).contains(&request.ttl_seconds) {
            return Err(MintError::Ttl);
        }
        let allowed = request.scopes.and(Scopes::OF_ACCOUNT_TOKENS);
        if request.scopes.is_empty() || request.scopes != allowed {
            return Err(MintError::Scopes);
        }
        if request.actor.is_some_and(|actor| !is_actor(actor)) {
            return Err(MintError::Actor);
        }
        let iat = seconds(now);
        let claims = Claims {
            iss: ISSUER.to_owned(),
            sub: request.account.to_string(),
            act: request.actor.map(str::to_owned),
            scope: request.scopes.to_string(),
            iat,
            exp: iat + u64::from(request.ttl_seconds),
            jti: request.id.to_owned(),
        };
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(self.kid.clone());
        jsonwebtoken::encode(&header, &claims, &self.pair).map_err(|_| MintError::Key)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// Seconds since 1970; a [`Timestamp`] is after 2000.
fn seconds(at: Timestamp) -> u64 {
    at.millis().unsigned_abs() / 1_000
}

fn is_kid(kid: &str) -> bool {
    (1..=64).contains(&kid.len())
        && kid.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

fn is_actor(actor: &str) -> bool {
    (1..=ACTOR_LIMIT).contains(&actor.chars().count()) && !actor.chars().any(char::is_control)
}

/// Which key a token claims to be signed with; `None` where it is not a token of ours at all, so
/// that nothing is looked up for it.
pub(crate) fn kid_of(token: &str) -> Option<String> {
    let header = jsonwebtoken::decode_header(token).ok()?;
    let ours = header.alg == Algorithm::EdDSA
        && header.typ.is_none_or(|typ| typ.eq_ignore_ascii_case("JWT"))
        && header.crit.is_none();
    header.kid.filter(|kid| ours && is_kid(kid))
}

/// Checks a token against the key that its `kid` names. Scopes that no account token may carry are
/// dropped, whatever it claims.
pub(crate) fn verify(
    token: &str,
    key: &[u8; 32],
    now: Timestamp,
) -> Result<TokenIdentity, TokenError> {
    static VALIDATION: LazyLock<Validation> = LazyLock::new(|| {
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[ISSUER]);
        validation.set_required_spec_claims(&["exp", "iss", "sub"]);
        // By the system's clock; the clock here is an argument, see below.
        validation.validate_exp = false;
        validation
    });
    install_crypto();
    let claims = jsonwebtoken::decode::<Claims>(token, &DecodingKey::from_ed_der(key), &VALIDATION)
        .map_err(|_| TokenError::Invalid)?
        .claims;
    let now = seconds(now);
    let lifetime = claims.exp.checked_sub(claims.iat).ok_or(TokenError::Invalid)?;
    if lifetime > u64::from(MAX_TTL_SECONDS) || claims.iat > now + SKEW_SECONDS {
        return Err(TokenError::Invalid);
    }
    if claims.exp <= now {
        return Err(TokenError::Expired);
    }
    if claims.act.as_deref().is_some_and(|actor| !is_actor(actor)) {
        return Err(TokenError::Invalid);
    }
    Ok(TokenIdentity {
        account: claims.sub.parse().map_err(|_| TokenError::Invalid)?,
        actor: claims.act,
        scopes: Scopes::known_in(&claims.scope).and(Scopes::OF_ACCOUNT_TOKENS),
    })
}

/// `jsonwebtoken` takes its cryptography from one provider a process.
fn install_crypto() {
    static PROVIDER: CryptoProvider = CryptoProvider {
        signer_factory: |algorithm, key| {
            ed25519_only(*algorithm)?;
            let pair = Ed25519KeyPair::from_pkcs8(key.as_bytes())
                .map_err(|_| ErrorKind::InvalidEddsaKey)?;
            Ok(Box::new(Ed25519Signer(pair)))
        },
        verifier_factory: |algorithm, key| {
            ed25519_only(*algorithm)?;
            Ok(Box::new(Ed25519Verifier(key.try_get_as_bytes()?.to_vec())))
        },
        key_utils: KeyUtils::new_unimplemented(),
    };
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Fails where the process has another provider: then that one verifies, and a test of ours
        // in that process would show it if it can't.
        let _ = PROVIDER.install_default();
    });
}

fn ed25519_only(algorithm: Algorithm) -> JwtResult<()> {
    if algorithm == Algorithm::EdDSA { Ok(()) } else { Err(ErrorKind::InvalidAlgorithm.into()) }
}

struct Ed25519Signer(Ed25519KeyPair);

impl Signer<Vec<u8>> for Ed25519Signer {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        Ok(self.0.sign(message).as_ref().to_vec())
    }
}

impl JwtSigner for Ed25519Signer {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

struct Ed25519Verifier(Vec<u8>);

impl Verifier<Vec<u8>> for Ed25519Verifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        UnparsedPublicKey::new(&ED25519, &self.0)
            .verify(message, signature)
            .map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for Ed25519Verifier {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}
