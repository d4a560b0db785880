//! Whether and when to try again.

use std::time::Duration;

use serde::Deserialize;

use crate::session::milliseconds;

/// Close codes that the client treats in a way of their own.
pub(crate) mod code {
    pub(crate) const NORMAL: u16 = 1000;
    pub(crate) const ABNORMAL: u16 = 1006;
    pub(crate) const TOO_BIG: u16 = 1009;
    pub(crate) const RESTART: u16 = 1012;
    pub(crate) const OVERLOADED: u16 = 1013;
    pub(crate) const UNAUTHORIZED: u16 = 4001;
    pub(crate) const NOT_ALLOWED: u16 = 4003;
    pub(crate) const TOKEN_EXPIRED: u16 = 4004;
    pub(crate) const TOO_MANY_COMMANDS: u16 = 4009;
    pub(crate) const TOO_MANY_CONNECTIONS: u16 = 4010;
    pub(crate) const BANNED: u16 = 4013;
}

/// Bounds for how long a server may put a client to sleep.
pub(crate) const MAX_ADVICE: Duration = Duration::from_secs(120);
/// What the gateway's bucket needs to fill.
const TOO_MANY_COMMANDS_WAIT: Duration = Duration::from_secs(5);
/// Gives the issuer of tokens and their verifier time to agree, after a fresh token was refused, too.
const UNAUTHORIZED_WAIT: Duration = Duration::from_secs(5);
/// Bounds a reason in bytes.
const MAX_REASON: usize = 200;

/// When to try again. Full jitter: a delay is random below `base` doubled with each attempt, at most `cap`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Backoff {
    /// The bound of the first delay, 500 ms by default.
    pub base: Duration,
    /// The bound of every delay, 30 s by default.
    pub cap: Duration,
    /// How long a connection must have been of use for attempts to be forgotten; 10 s by default.
    pub stable: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            base: Duration::from_millis(500),
            cap: Duration::from_secs(30),
            stable: Duration::from_secs(10),
        }
    }
}

/// How a connection ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct End {
    pub code: u16,
    pub reason: String,
    /// What the server asked us to wait.
    pub advised: Option<Duration>,
    /// What was compressed, or agreed on about it, cannot be right: without compression it may be.
    pub garbled: bool,
}

impl End {
    pub(crate) fn new(code: u16, reason: impl Into<String>) -> Self {
        Self { code, reason: cut(reason.into()), advised: None, garbled: false }
    }

    pub(crate) fn abnormal(reason: impl Into<String>) -> Self {
        Self::new(code::ABNORMAL, reason)
    }

    pub(crate) fn garbled(reason: impl Into<String>) -> Self {
        Self { garbled: true, ..Self::abnormal(reason) }
    }

    /// The token is missing, bad, not enough, or expired.
    pub(crate) fn is_token(&self) -> bool {
        matches!(self.code, code::UNAUTHORIZED | code::NOT_ALLOWED | code::TOKEN_EXPIRED)
    }

    /// The same would happen again: wrong commands, messages too big, one connection too many, a ban.
    fn is_final(&self) -> bool {
        matches!(
            self.code,
            code::NORMAL | 1003 | 1007 | code::TOO_BIG | code::TOO_MANY_CONNECTIONS | code::BANNED
        )
    }

    /// The end that a refused upgrade means.
    pub(crate) fn from_http(status: u16, retry_after: Option<&str>, body: &[u8]) -> Self {
        // Other servers answer as they like.
        let answer: Answer = serde_json::from_slice(body).unwrap_or_default();
        let seconds = retry_after.and_then(|text| text.parse::<u32>().ok());
        let header = seconds.map(|seconds| Duration::from_secs(seconds.into()));
        let advised = answer.retry_after_ms.map(milliseconds).or(header);
        let banned = status == 403 && answer.code == "banned";
        let code = match status {
            401 => code::UNAUTHORIZED,
            403 if banned && advised.is_some() => code::OVERLOADED, // a ban that ends soon says when
            403 if banned => code::BANNED,
            403 => code::NOT_ALLOWED,
            429 | 503 => code::OVERLOADED,
            _ => code::ABNORMAL,
        };
        let reason = format!("HTTP {status} {}", answer.code);
        Self { advised, ..Self::new(code, reason.trim_end()) }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Answer {
    code: String,
    retry_after_ms: Option<i64>,
}

fn cut(mut reason: String) -> String {
    reason.truncate(reason.floor_char_boundary(MAX_REASON));
    reason
}

/// How it went so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Attempts {
    /// Useless connections in a row.
    pub useless: u32,
    /// Refused tokens in a row.
    pub refusals: u32,
    /// A function could bring another token.
    pub can_renew: bool,
}

impl Backoff {
    pub(crate) fn ceiling(&self, attempt: u32) -> Duration {
        let factor = 2_u32.checked_pow(attempt).unwrap_or(u32::MAX);
        self.base.saturating_mul(factor).min(self.cap)
    }

    /// The time until the next attempt; none when there is no other attempt. Chance is from 0 to 1.
    pub(crate) fn delay(&self, end: &End, so: Attempts, chance: f64) -> Option<Duration> {
        if end.is_final() || (end.is_token() && !so.can_renew) {
            return None;
        }
        // A fresh token is worth an attempt at once.
        let attempt = if end.is_token() && so.refusals <= 1 { 0 } else { so.useless };
        let jittered = self.ceiling(attempt).mul_f64(chance);
        if end.is_token() {
            let wait = if so.refusals > 1 { UNAUTHORIZED_WAIT } else { Duration::ZERO };
            return Some(wait + jittered);
        }
        if end.code == code::TOO_MANY_COMMANDS {
            return Some(TOO_MANY_COMMANDS_WAIT + jittered);
        }
        let advised = end.advised.map(|advised| advised.min(MAX_ADVICE));
        match advised {
            // A gateway that stops spreads its clients by its advice. Advice that went wrong before is worth less.
            Some(advised) if end.code == code::RESTART && so.useless <= 1 => Some(advised),
            _ => Some(advised.unwrap_or_default() + jittered),
        }
    }
}
