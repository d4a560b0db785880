//! Why a token is refused: a closed list, so that a reason can be a label and no token text is in an error.

use thiserror::Error;

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum RefusedToken {
    /// Longer than [`crate::MAX_TOKEN_BYTES`]; nothing of it was read.
    #[error("the token is too long")]
    TooLong,
    /// Not three parts in base64url, or no JSON in them, or an extension that is not known here.
    #[error("the token is no signed JWT")]
    Malformed,
    /// Signed in a way that is not configured, `none` included, or that does not fit the key.
    #[error("the token is signed with an algorithm that is not accepted")]
    WrongAlgorithm,
    /// No key of that name; a newer set of keys may have it.
    #[error("the token is signed with a key that is not known")]
    UnknownKey,
    /// Somebody else made it, or changed it.
    #[error("the token's signature is wrong")]
    BadSignature,
    /// The claims have other types than RFC 7519 gives them, or more than the bounds allow.
    #[error("the token's claims cannot be used")]
    BadClaims,
    /// What it subscribes its holder to is no pattern of channels, or too many are.
    #[error("the channels in the token cannot be used: one is no pattern, or there are too many")]
    BadChannels,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// Its time has not come.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// It lives longer than is accepted, or for ever.
    #[error("the token lives longer than is accepted")]
    LivesTooLong,
    /// Another issuer's.
    #[error("the token is of another issuer")]
    WrongIssuer,
    /// For somebody else.
    #[error("the token is for another audience")]
    WrongAudience,
    /// It does not say whose it is.
    #[error("the token names no user")]
    NoUser,
}

impl RefusedToken {
    /// Every reason.
    pub const ALL: [Self; 13] = [
        Self::TooLong,
        Self::Malformed,
        Self::WrongAlgorithm,
        Self::UnknownKey,
        Self::BadSignature,
        Self::BadClaims,
        Self::BadChannels,
        Self::Expired,
        Self::NotYetValid,
        Self::LivesTooLong,
        Self::WrongIssuer,
        Self::WrongAudience,
        Self::NoUser,
    ];

    /// The reason as a code for clients and a label for metrics.
    pub const fn code(self) -> &'static str {
        match self {
            Self::TooLong => "token_too_long",
            Self::Malformed => "malformed_token",
            Self::WrongAlgorithm => "wrong_algorithm",
            Self::UnknownKey => "unknown_key",
            Self::BadSignature => "bad_signature",
            Self::BadClaims => "bad_claims",
            Self::BadChannels => "bad_channels",
            Self::Expired => "token_expired",
            Self::NotYetValid => "not_yet_valid",
            Self::LivesTooLong => "lives_too_long",
            Self::WrongIssuer => "wrong_issuer",
            Self::WrongAudience => "wrong_audience",
            Self::NoUser => "no_user",
        }
    }
}
