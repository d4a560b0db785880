//! Disconnects: whose connections are ended, and who is kept out for a while.
//!
//! The operator takes them from an annotation of the WsGateway and stamps their times, all by its own clock.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ConfigError;

/// Most disconnects that stand at a time: each is compared with every client that comes.
pub const MAX_DISCONNECTS: usize = 64;

/// Longest name of a user, or of a token.
pub const MAX_DISCONNECT_NAME_BYTES: usize = 256;

/// Ends the connections of a user, or of a token, and keeps them out until a time.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Disconnect {
    /// The user, as tokens name it. Either this or `tokenId`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The token's own name (`jti`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_id: Option<String>,
    /// When it began to stand (Unix ms). It tells this disconnect from another one of the same user; no clock is compared
    /// with it.
    pub at: u64,
    /// When the ban ends (Unix ms). Absent: clients may come back at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
}

/// Names are personal: nothing that prints a configuration has them.
impl fmt::Debug for Disconnect {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Disconnect")
            .field("at", &self.at)
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}

/// Refuses a list that a gateway cannot act on. No name is in the error.
pub(super) fn check(disconnects: &[Disconnect]) -> Result<(), ConfigError> {
    if disconnects.len() > MAX_DISCONNECTS {
        let message = format!("at most {MAX_DISCONNECTS}; got {}", disconnects.len());
        return Err(ConfigError::value("disconnects", message));
    }
    for (place, disconnect) in disconnects.iter().enumerate() {
        let path = format!("disconnects[{place}]");
        let name = match (&disconnect.user, &disconnect.token_id) {
            (Some(name), None) | (None, Some(name)) => name,
            _ => return Err(ConfigError::value(path, "must have either user or tokenId")),
        };
        if name.is_empty() || name.len() > MAX_DISCONNECT_NAME_BYTES {
            let message = format!("a name has 1 to {MAX_DISCONNECT_NAME_BYTES} bytes");
            return Err(ConfigError::value(path, message));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{GatewayConfig, MemorySource, Source};

    fn disconnect(user: Option<&str>, token_id: Option<&str>) -> Disconnect {
        let text = |text: &str| text.to_owned();
        Disconnect { user: user.map(text), token_id: token_id.map(text), at: 1, until: None }
    }

    #[test]
    fn a_disconnect_names_a_user_or_a_token_and_the_list_is_bounded() {
        let long = "x".repeat(MAX_DISCONNECT_NAME_BYTES);
        let good = [disconnect(Some("ann"), None), disconnect(None, Some(&long))];
        assert_eq!(check(&good), Ok(()));
        let longer = format!("{long}x");
        for (user, token_id) in [
            (None, None),
            (Some("ann"), Some("j")),
            (Some(""), None),
            (None, Some("")),
            (Some(&*longer), None),
        ] {
            let error = check(&[disconnect(user, token_id)]).unwrap_err().to_string();
            assert!(error.starts_with("disconnects[0]: "), "{error}");
            assert!(!error.contains("ann") && !error.contains("xxx"), "{error}");
        }
        let many = vec![disconnect(Some("ann"), None); MAX_DISCONNECTS + 1];
        assert_eq!(check(&many[1..]), Ok(()));
        assert_eq!(check(&many).unwrap_err().to_string(), "disconnects: at most 64; got 65");
    }

    #[test]
    fn a_name_is_in_nothing_that_is_printed_for_people() {
        let text = format!("{:?}", disconnect(Some("ann"), None));
        assert_eq!(text, "Disconnect { at: 1, until: None, .. }");
    }
    #[test]
    fn names_of_every_kind_come_through_the_file_and_are_none_of_its_syntax() {
        let names = [
            "null",
            "1",
            "~",
            "- a",
            "a: b",
            "a\nb",
            "\u{1}\u{7f}\u{85}\u{2028}",
            "\"'",
            "名前",
            " a ",
        ];
        let source = Source::Memory(MemorySource {});
        let mut config = GatewayConfig::new("a", source);
        config.disconnects = names.map(|name| disconnect(Some(name), None)).to_vec();
        let parts = config.parts().unwrap();
        let read = GatewayConfig::load(&parts.restart, Some(&parts.live)).unwrap();
        assert_eq!((read.config, read.unknown.len()), (config, 0));
    }
}
