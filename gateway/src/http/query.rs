//! What event streams and long-polls ask for.

use std::sync::Arc;

use axum::extract::Query as UrlQuery;
use axum::extract::rejection::QueryRejection;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;
use wsgateway_access::Grant;

use super::problem;

/// A client's place: `EPOCH:OFFSET`, with `~` behind it while it waits for last values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    pub epoch: String,
    pub offset: u64,
    /// Not all last values that were asked for have been sent. Whoever comes back by an id alone, as browsers do, has no
    /// other way to say so.
    pub owed: bool,
}

/// The query of both routes.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Query {
    #[serde(default)]
    channels: String,
    #[serde(default)]
    pub snapshot: bool,
    cursor: Option<String>,
    /// Longest wait of a long-poll (s).
    pub wait: Option<u64>,
}

/// A query that makes sense: what a client wants to be subscribed to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SubscribeRequest {
    pub channels: Vec<String>,
    pub cursor: Option<Cursor>,
    pub snapshot: bool,
}

impl Cursor {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (epoch, offset) = text.rsplit_once(':')?;
        let known = !epoch.is_empty() && epoch.len() <= 128;
        known.then_some(())?;
        let whole = offset.strip_suffix('~');
        let offset = whole.unwrap_or(offset).parse().ok()?;
        Some(Self { epoch: epoch.to_owned(), offset, owed: whole.is_some() })
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}:{}{}", self.epoch, self.offset, if self.owed { "~" } else { "" })
    }
}

impl Query {
    /// The query of a request; or the refusal.
    pub(super) fn read(
        query: Result<UrlQuery<Self>, QueryRejection>,
    ) -> Result<Self, Box<Response>> {
        query.map(|UrlQuery(query)| query).map_err(|rejection| {
            let message = rejection.body_text();
            Box::new(problem(StatusCode::BAD_REQUEST, "invalid_query", &message, None))
        })
    }

    /// Checks the query: what a WebSocket client could send as a command of at most `command_bytes`. Names of channels
    /// are judged one by one where all of them are. `last_event_id` stands in for a cursor that the query does not have,
    /// or is newer than it: a browser that comes back sends the URL of its first time.
    pub(super) fn check(
        &self,
        last_event_id: Option<&str>,
        command_bytes: usize,
    ) -> Result<SubscribeRequest, Box<Response>> {
        let refuse = |code: &str, message: &str| {
            Box::new(problem(StatusCode::BAD_REQUEST, code, message, None))
        };
        let channels: Vec<String> =
            self.channels.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        if channels.is_empty() {
            let message = "name channels, such as ?channels=BTC.trade,ETH.*";
            return Err(refuse("invalid_channels", message));
        }
        let text = last_event_id.filter(|id| !id.is_empty()).or(self.cursor.as_deref());
        let cursor = text.filter(|text| !text.is_empty()).map(Cursor::parse);
        if cursor == Some(None) {
            let message = "a cursor is EPOCH:OFFSET, as an earlier answer gave it";
            return Err(refuse("invalid_cursor", message));
        }
        let request =
            SubscribeRequest { channels, cursor: cursor.flatten(), snapshot: self.snapshot };
        if request.command().len() > command_bytes {
            let message = "too many channels for one request: ask for them in several";
            return Err(refuse("query_too_long", message));
        }
        Ok(request)
    }
}

impl SubscribeRequest {
    /// Asks for what a client gets without asking as well: its cursor counts for that, too.
    pub(super) fn add_unasked(&mut self, grant: Option<&Arc<Grant>>) {
        for pattern in grant.into_iter().flat_map(|grant| &grant.set) {
            if !self.channels.iter().any(|channel| **channel == **pattern) {
                self.channels.push(pattern.to_string());
            }
        }
    }

    /// The command that a WebSocket client would send.
    pub(super) fn command(&self) -> String {
        let mut command = json!({ "type": "subscribe", "channels": self.channels });
        if let Some(cursor) = &self.cursor {
            command["resume"] = json!({ "epoch": cursor.epoch, "offset": cursor.offset });
        }
        if self.snapshot {
            command["snapshot"] = true.into();
        }
        command.to_string()
    }

    /// The command behind it that asks for last values once more, if they are owed to a client that goes on: with a
    /// cursor it gets none.
    pub(super) fn command_for_values(&self) -> Option<String> {
        let owed = self.snapshot && self.cursor.as_ref().is_some_and(|cursor| cursor.owed);
        let command = json!({ "type": "subscribe", "channels": self.channels, "snapshot": true });
        owed.then(|| command.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(
        channels: &str,
        cursor: Option<&str>,
        last_event_id: Option<&str>,
    ) -> Result<SubscribeRequest, u16> {
        let query = Query {
            channels: channels.to_owned(),
            cursor: cursor.map(str::to_owned),
            ..Query::default()
        };
        query.check(last_event_id, 100).map_err(|refusal| refusal.status().as_u16())
    }

    #[test]
    fn a_cursor_is_an_epoch_and_an_offset() {
        let cursor = Cursor::parse("dd4:x:17").unwrap();
        assert_eq!((cursor.epoch.as_str(), cursor.offset), ("dd4:x", 17));
        assert_eq!(cursor.to_string(), "dd4:x:17");
        let owed = Cursor::parse("e:17~").unwrap();
        assert_eq!((owed.offset, owed.owed, owed.to_string().as_str()), (17, true, "e:17~"));
        for bad in
            ["", "17", "e:~", "e:17~~", ":17", "e:", "e:-1", "e:1.0", "e:99999999999999999999"]
        {
            assert_eq!(Cursor::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_browser_that_comes_back_goes_on_where_it_was_not_where_it_began() {
        let request = checked("a,b.*", Some("e:1"), Some("e:9")).unwrap();
        assert_eq!((request.channels.len(), request.cursor.unwrap().offset), (2, 9));
    }

    #[test]
    fn a_query_that_makes_no_sense_is_refused() {
        let long = "a,".repeat(50);
        for (channels, cursor) in [("", None), (",,", None), ("a", Some("17")), (&long, None)] {
            assert_eq!(checked(channels, cursor, None), Err(400), "{channels} {cursor:?}");
        }
    }

    #[test]
    fn last_values_are_asked_for_again_by_those_who_wait_for_them() {
        let asks = |cursor: Option<&str>, snapshot| {
            let cursor = cursor.and_then(Cursor::parse);
            SubscribeRequest { channels: vec!["a".to_owned()], cursor, snapshot }
                .command_for_values()
                .is_some()
        };
        assert!(asks(Some("e:1~"), true));
        assert!(!asks(Some("e:1~"), false) && !asks(Some("e:1"), true) && !asks(None, true));
    }

    #[test]
    fn bad_names_are_passed_on_to_be_rejected_one_by_one() {
        let request = checked("a,b..c,d e", None, None).unwrap();
        assert_eq!(request.command(), r#"{"channels":["a","b..c","d e"],"type":"subscribe"}"#);
    }
}
