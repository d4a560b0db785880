//! What a client asks for.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::handshake::Token;
use crate::read;

/// One command of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// Send the trades of these symbols. Not yet checked by [`crate::template::Template::fill`].
    Subscribe(Vec<Cow<'a, str>>),
    /// Stop sending the trades of these symbols.
    Unsubscribe(Vec<Cow<'a, str>>),
    /// Another token, for the time after the one before; not yet verified. Not known to earlier clients.
    Auth(Token),
    /// Asks for a pong.
    Ping,
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    action: Option<&'a RawValue>,
    #[serde(borrow)]
    symbols: Option<&'a RawValue>,
    #[serde(borrow)]
    token: Option<&'a RawValue>,
}

/// Reads one command.
///
/// # Errors
/// What to answer with [`super::error`].
pub fn parse(text: &str) -> Result<Command<'_>, String> {
    let fields: Fields<'_> = read::fields(text).map_err(|error| match error.code {
        "invalid_json" => format!("Invalid JSON: {}", error.message),
        _ => "Invalid message: send an object with an \"action\", each field once".to_owned(),
    })?;
    let action = read::text(fields.action);
    let action = action.ok_or("Missing action: use subscribe, unsubscribe, auth or ping")?;
    match &*action {
        "subscribe" => Ok(Command::Subscribe(symbols(fields.symbols)?)),
        "unsubscribe" => Ok(Command::Unsubscribe(symbols(fields.symbols)?)),
        "auth" => match read::text(fields.token) {
            Some(token) => Ok(Command::Auth(Token::new(&token))),
            None => Err("Invalid token: send a string".to_owned()),
        },
        "ping" => Ok(Command::Ping),
        unknown => {
            let unknown = read::head(unknown);
            Err(format!("Unknown action {unknown:?}: use subscribe, unsubscribe, auth or ping"))
        }
    }
}

fn symbols(value: Option<&RawValue>) -> Result<Vec<Cow<'_, str>>, String> {
    let symbols = read::list(None, "symbols", value).map_err(|error| match error.code {
        "too_many_channels" => format!("Too many symbols: {}", error.message),
        _ => "Invalid symbols: send a list of strings, such as [\"AAPL\"]".to_owned(),
    })?;
    if symbols.is_empty() {
        return Err("Invalid symbols: the list is empty".to_owned());
    }
    Ok(symbols)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_as_the_earlier_clients_write_them() {
        let list = |symbols: &[&'static str]| symbols.iter().map(|s| Cow::Borrowed(*s)).collect();
        for (text, want) in [
            (
                r#"{"action":"subscribe","symbols":["AAPL","GOOGL"]}"#,
                Command::Subscribe(list(&["AAPL", "GOOGL"])),
            ),
            (
                r#" {"symbols": ["AAPL"], "x":{}, "action": "unsubscribe"} "#,
                Command::Unsubscribe(list(&["AAPL"])),
            ),
            (r#"{"action":"auth","token":"a.b.c"}"#, Command::Auth(Token::new("a.b.c"))),
            (r#"{"action":"ping"}"#, Command::Ping),
        ] {
            assert_eq!(parse(text), Ok(want), "{text}");
        }
    }

    #[test]
    fn whatever_else_is_sent_is_answered_with_what_to_send() {
        let deep = format!(r#"{{"action":"ping","x":{}"#, "[".repeat(1 << 20));
        let many = "\"x\",".repeat(crate::v1::MAX_CHANNELS);
        let many = format!(r#"{{"action":"subscribe","symbols":[{many}"x"]}}"#);
        let unknown = format!(r#"{{"action":"{}"}}"#, "x".repeat(1 << 10));
        for (text, want) in [
            ("", "Invalid JSON"),
            ("hello", "Invalid JSON"),
            (&deep, "Invalid JSON"),
            ("[]", "Invalid message"),
            ("1", "Invalid message"),
            (r#"{"action":"ping","action":"ping"}"#, "Invalid message"),
            ("{}", "Missing action"),
            (r#"{"action":7}"#, "Missing action"),
            (r#"{"type":"ping"}"#, "Missing action"),
            (r#"{"action":"jump"}"#, "Unknown action \"jump\""),
            (&unknown, "Unknown action"),
            (r#"{"action":"subscribe"}"#, "Invalid symbols"),
            (r#"{"action":"subscribe","symbols":"AAPL"}"#, "Invalid symbols"),
            (r#"{"action":"subscribe","symbols":[1]}"#, "Invalid symbols"),
            (r#"{"action":"unsubscribe","symbols":[]}"#, "Invalid symbols"),
            (&many, "Too many symbols"),
            (r#"{"action":"auth"}"#, "Invalid token"),
            (r#"{"action":"auth","token":["sesame"]}"#, "Invalid token"),
        ] {
            let error = parse(text).expect_err(want);
            assert!(error.starts_with(want), "{error}");
            assert!(error.len() < 200, "{} bytes", error.len());
        }
    }
}
