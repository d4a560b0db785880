//! Disconnects: whose connections are to end, and who is kept out for a while.
//!
//! In: the list of the configuration that runs. Out: who may not come in now, for the front door and for tokens that are
//! shown later, and which connections end when the list changes. What must hold: a disconnect ends each connection that is
//! there when it is seen for the first time, and no later one; no clock is compared but that of the end of a ban, which is
//! trusted as with the end of a token; and no name is in anything that is written.

use wsgateway_access::Grant;
use wsgateway_config::Disconnect;

/// The disconnects that stand.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Disconnects(Vec<Disconnect>);

/// How a connection is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Its client may come back at once, with a token.
    Disconnected,
    /// Its client is kept out.
    Banned,
}

/// A client is kept out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Banned {
    /// Time until that ends (ms).
    pub left_ms: u64,
}

impl Ending {
    /// The close code, and the reason that goes with it.
    pub(crate) fn close(self) -> (u16, &'static str) {
        match self {
            Self::Disconnected => (4012, "disconnected: come back with a token"),
            Self::Banned => (4013, "banned"),
        }
    }
}

impl Disconnects {
    /// The list of a configuration.
    pub(crate) fn new(disconnects: &[Disconnect]) -> Self {
        Self(disconnects.to_vec())
    }

    /// How many stand.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the holder of a grant is kept out at a time (Unix ms).
    pub(crate) fn ban(&self, grant: &Grant, now_ms: u64) -> Option<Banned> {
        let bans = self.0.iter().filter(|one| names(one, grant));
        let until = bans.filter_map(|one| one.until).max()?;
        (until > now_ms).then(|| Banned { left_ms: until - now_ms })
    }

    /// Those of them that another list did not have.
    pub(crate) fn since(&self, before: &Self) -> Self {
        Self(self.0.iter().filter(|one| !before.0.contains(one)).cloned().collect())
    }

    /// How the connection of a grant ends that was there when this list came, if it does.
    pub(crate) fn ending(&self, grant: &Grant, now_ms: u64) -> Option<Ending> {
        let named = self.0.iter().any(|one| names(one, grant));
        named.then(|| match self.ban(grant, now_ms) {
            Some(_) => Ending::Banned,
            None => Ending::Disconnected,
        })
    }
}

/// Whether a disconnect is for the holder of a grant.
fn names(disconnect: &Disconnect, grant: &Grant) -> bool {
    let is = |wanted: &Option<String>, name: &Option<Box<str>>| {
        wanted.is_some() && wanted.as_deref() == name.as_deref()
    };
    is(&disconnect.user, &grant.user) || is(&disconnect.token_id, &grant.token_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(user: Option<&str>, token_id: Option<&str>) -> Grant {
        Grant { user: user.map(Into::into), token_id: token_id.map(Into::into), ..Grant::default() }
    }

    fn user(name: &str, at: u64, until: Option<u64>) -> Disconnect {
        Disconnect { user: Some(name.to_owned()), token_id: None, at, until }
    }

    fn token(id: &str, at: u64, until: Option<u64>) -> Disconnect {
        Disconnect { user: None, token_id: Some(id.to_owned()), at, until }
    }

    #[test]
    fn a_ban_is_for_those_it_names_until_it_is_over_and_the_longest_one_holds() {
        let list = Disconnects::new(&[
            user("ann", 1, Some(100)),
            user("ann", 2, Some(200)),
            token("j", 3, Some(150)),
            user("bob", 4, None),
        ]);
        let left = |grant: &Grant, now| list.ban(grant, now).map(|ban| ban.left_ms);
        let ann = grant(Some("ann"), Some("k"));
        assert_eq!(
            [0, 150, 199, 200].map(|now| left(&ann, now)),
            [Some(200), Some(50), Some(1), None]
        );
        assert_eq!(left(&grant(Some("eve"), Some("j")), 100), Some(50));
        for other in [grant(Some("bob"), None), grant(None, None), grant(Some("j"), Some("ann"))] {
            assert_eq!(left(&other, 0), None, "{other:?}");
        }
    }

    #[test]
    fn what_is_new_in_a_list_ends_connections_and_what_stood_before_does_not() {
        let before = Disconnects::new(&[user("ann", 1, None), token("j", 2, Some(100))]);
        let list = [
            user("ann", 1, None),
            token("j", 2, Some(100)),
            user("ann", 3, Some(90)),
            user("bob", 4, None),
        ];
        let now = Disconnects::new(&list);
        let fresh = now.since(&before);
        let ending = |name, id, at| fresh.ending(&grant(Some(name), id), at);
        assert_eq!(ending("ann", None, 10), Some(Ending::Banned));
        assert_eq!(ending("ann", None, 90), Some(Ending::Disconnected), "its ban is over");
        assert_eq!(ending("bob", None, 10), Some(Ending::Disconnected));
        assert_eq!(ending("eve", Some("j"), 10), None, "it was seen before");
        assert_eq!(now.since(&now), Disconnects::default());
        assert_eq!(before.since(&now).len(), 0, "lifting ends nothing");
    }
}
