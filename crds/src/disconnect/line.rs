//! One line of the annotation.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use wsgateway_config::{Disconnect, MAX_DISCONNECT_NAME_BYTES, MAX_DISCONNECTS};

use super::{AFTER_BAN, LEAST_STAND};
use crate::units::duration;

/// Longest ban: whoever is to stay out for longer must get no token.
pub const MAX_BAN: Duration = Duration::from_secs(30 * 86_400);

/// Longest line: a name whose every byte is escaped, and times.
const MAX_LINE: usize = 2 << 10;

/// Times so far ahead are a mistake, and no clock that was set back a little.
const CLOCK_STEP: Duration = Duration::from_secs(86_400);

/// Who is disconnected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// A user, as tokens name it.
    User(String),
    /// The holders of a token, by its `jti`.
    Token(String),
}

/// One disconnect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DisconnectEntry {
    /// Who.
    pub whom: Whom,
    /// For how long they are kept out, as it was asked for, until the operator has made a time of it.
    pub ban: Option<Duration>,
    /// When the operator has seen it. Absent: not yet.
    pub at: Option<Timestamp>,
    /// When the ban ends.
    pub until: Option<Timestamp>,
}

/// Why a line is no disconnect, and what would be right. Nothing of the line is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLine {
    /// Not JSON, or of another shape.
    #[error(
        r#"it is no JSON object on one line with user or tokenId, ban, at and until only, such as {{"user":"ann","ban":"10m"}}"#
    )]
    Shape,
    /// Nobody, or two.
    #[error("it must have either user or tokenId")]
    Whom,
    /// A name that no token can have, or one that is too long.
    #[error("a name has 1 to {MAX_DISCONNECT_NAME_BYTES} bytes")]
    Name,
    /// No duration, or one that is out of bounds.
    #[error(
        "ban must be a time from 1s to 720h, such as 10m; who is to stay out for longer must get no token"
    )]
    Ban,
    /// Times that are none, or that do not follow each other.
    #[error("at and until are the operator's: leave them out, and say how long with ban")]
    Times,
    /// It is one too many.
    #[error("at most {MAX_DISCONNECTS} stand at a time: remove those that are not needed")]
    TooMany,
}

/// As it is written.
#[derive(Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Written {
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ban: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
}

impl Whom {
    /// Refuses a name that cannot be one.
    ///
    /// # Errors
    /// [`BadLine::Name`]
    pub fn check(&self) -> Result<(), BadLine> {
        let (Self::User(name) | Self::Token(name)) = self;
        let is_good = !name.is_empty() && name.len() <= MAX_DISCONNECT_NAME_BYTES;
        if is_good { Ok(()) } else { Err(BadLine::Name) }
    }
}

impl DisconnectEntry {
    /// One that the operator has not seen yet.
    ///
    /// # Errors
    /// [`BadLine`], when the name or the ban cannot be one.
    pub fn new(whom: Whom, ban: Option<Duration>) -> Result<Self, BadLine> {
        whom.check()?;
        // Whole milliseconds are what a line can say.
        let is_good = |ban: &Duration| {
            (Duration::from_secs(1)..=MAX_BAN).contains(ban)
                && ban.subsec_nanos().is_multiple_of(1_000_000)
        };
        match ban {
            Some(ban) if !is_good(&ban) => Err(BadLine::Ban),
            ban => Ok(Self { whom, ban, at: None, until: None }),
        }
    }

    pub(super) fn parse(line: &str) -> Result<Self, BadLine> {
        // A list would be read as the fields in order.
        if line.len() > MAX_LINE || !line.starts_with('{') {
            return Err(BadLine::Shape);
        }
        let written: Written = serde_json::from_str(line).map_err(|_| BadLine::Shape)?;
        let whom = match (written.user, written.token_id) {
            (Some(user), None) => Whom::User(user),
            (None, Some(token)) => Whom::Token(token),
            _ => return Err(BadLine::Whom),
        };
        let ban = written.ban.map(|ban| duration(&ban).map(Duration::from));
        let mut entry = Self::new(whom, ban.transpose().map_err(|_| BadLine::Ban)?)?;
        let time = |text: Option<String>| text.map(|text| text.parse::<Timestamp>()).transpose();
        entry.at = time(written.at).map_err(|_| BadLine::Times)?;
        entry.until = time(written.until).map_err(|_| BadLine::Times)?;
        entry.check_times()?;
        Ok(entry)
    }

    /// Only the operator writes times, both at once.
    fn check_times(&self) -> Result<(), BadLine> {
        match (self.at, self.until) {
            (_, None) => Ok(()),
            (Some(at), Some(until))
                if self.ban.is_none()
                    && until >= at
                    && until.duration_since(at).unsigned_abs() <= MAX_BAN =>
            {
                Ok(())
            }
            _ => Err(BadLine::Times),
        }
    }

    pub(super) fn render(&self) -> String {
        let (user, token_id) = match &self.whom {
            Whom::User(user) => (Some(user.clone()), None),
            Whom::Token(token) => (None, Some(token.clone())),
        };
        let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
        let ban = self.ban.map(|ban| match ban.subsec_millis() {
            0 => format!("{}s", ban.as_secs()),
            _ => format!("{}ms", ban.as_millis()),
        });
        let written = Written { user, token_id, ban, at: time(self.at), until: time(self.until) };
        // Strings can always be written.
        serde_json::to_string(&written).unwrap_or_default()
    }

    /// Says when it begins and ends, unless that has been said. Times that only a clock far ahead can have written are
    /// corrected. True: it says something else now.
    pub(super) fn stamp(&mut self, now: Timestamp) -> bool {
        let before = (self.ban, self.at, self.until);
        let at = self.at.filter(|at| *at <= later(now, CLOCK_STEP)).unwrap_or(now);
        self.at = Some(at);
        if let Some(ban) = self.ban.take() {
            self.until = Some(later(at, ban));
        }
        let is_sane = |until: &Timestamp| *until <= later(now, MAX_BAN + CLOCK_STEP);
        self.until =
            self.until.map(|until| Some(until).filter(is_sane).unwrap_or(later(now, MAX_BAN)));
        before != (self.ban, self.at, self.until)
    }

    /// When it may be forgotten; `None` before it is stamped.
    pub(super) fn stands_until(&self) -> Option<Timestamp> {
        // The ban of one whose end nobody has written yet.
        let until = self.until.or_else(|| self.at.zip(self.ban).map(|(at, ban)| later(at, ban)));
        let seen = later(self.at?, LEAST_STAND);
        Some(until.map_or(seen, |until| seen.max(later(until, AFTER_BAN))))
    }

    pub(super) fn config(&self) -> Option<Disconnect> {
        let ms = |time: Timestamp| u64::try_from(time.as_millisecond()).unwrap_or_default();
        let (user, token_id) = match &self.whom {
            Whom::User(user) => (Some(user.clone()), None),
            Whom::Token(token) => (None, Some(token.clone())),
        };
        Some(Disconnect { user, token_id, at: ms(self.at?), until: self.until.map(ms) })
    }
}

fn later(time: Timestamp, span: Duration) -> Timestamp {
    time.checked_add(span).unwrap_or(Timestamp::MAX)
}
