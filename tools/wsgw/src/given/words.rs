//! What the user calls the settings of NATS: fields of a manifest, or flags.
//!
//! The client for NATS names fields of the manifest, since mostly the operator or a pod reports. Whoever gave flags has no
//! such fields.

use wsgateway_config::{JetStreamSource, NatsAuth};

/// Flags that say who we are, for a server that asks and was not told.
const WHO: &str =
    "--creds, --nats-token-file, --nats-nkey-file, or --nats-user and --nats-password-file";

/// The flags of fields of a manifest; what contains another field comes before it.
const FLAGS: [(&str, &str); 9] = [
    ("spec.nats.tls.handshakeFirst", "--nats-handshake-first"),
    ("spec.nats.tls.caSecret", "--nats-ca"),
    ("spec.nats.tls.clientSecret", "--nats-cert and --nats-key"),
    ("spec.nats.tls", "--nats-ca, --nats-cert, --nats-handshake-first"),
    ("spec.nats.domain and apiPrefix", "--nats-api-prefix"),
    ("spec.nats.domain", "--nats-api-prefix"),
    ("nats.domain or nats.apiPrefix say", "--nats-api-prefix says"),
    ("nats.domain or nats.apiPrefix", "--nats-api-prefix"),
    ("nats.inboxPrefix", "--nats-inbox-prefix"),
];

/// Whose words a message has.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Words {
    /// Those of a manifest.
    Manifest,
    /// Flags; this one gives the address of the server.
    Flags(&'static str),
}

impl Words {
    /// A message about a connection to `source` in these words.
    pub(crate) fn say(self, source: &JetStreamSource, message: &str) -> String {
        let Self::Flags(address) = self else { return message.to_owned() };
        let who = match &source.auth {
            None => WHO,
            Some(NatsAuth::Creds(_)) => "--creds",
            Some(NatsAuth::Nkey(_)) => "--nats-nkey-file",
            Some(NatsAuth::Token(_)) => "--nats-token-file",
            Some(NatsAuth::Password { .. }) => "--nats-user and --nats-password-file",
        };
        let others = [
            ("spec.nats.credentials", who),
            ("spec.nats.servers", address),
            ("nats.servers", address),
        ];
        FLAGS
            .into_iter()
            .chain(others)
            .fold(message.to_owned(), |message, (field, flag)| message.replace(field, flag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every text of the client that names a field of the manifest.
    const CLIENT: [&str; 3] = [
        include_str!("../../../../crates/nats/src/connect/failure.rs"),
        include_str!("../../../../crates/nats/src/jetstream.rs"),
        include_str!("../../../../crates/nats/src/error.rs"),
    ];

    #[test]
    fn no_field_of_the_manifest_that_the_client_names_is_left_where_flags_were_given() {
        let source = JetStreamSource::new(vec!["nats://n".to_owned()], "S");
        for text in CLIENT {
            let said = Words::Flags("--publish").say(&source, text);
            let names = |line: &&str| {
                ["spec.nats", "nats.servers", "nats.domain", "nats.apiPrefix", "nats.inboxPrefix"]
                    .iter()
                    .any(|field| line.contains(field))
            };
            assert!(text.lines().any(|line| names(&line)));
            assert_eq!(said.lines().filter(names).collect::<Vec<_>>(), [""; 0]);
            assert_eq!(Words::Manifest.say(&source, text), text);
        }
    }

    #[test]
    fn of_the_ways_to_say_who_we_are_the_one_that_was_taken_is_named() {
        let token = NatsAuth::Token("/t".into());
        let source = JetStreamSource {
            auth: Some(token),
            ..JetStreamSource::new(vec!["nats://n".to_owned()], "S")
        };
        let said = Words::Flags("--nats").say(&source, "check spec.nats.credentials: no");
        assert_eq!(said, "check --nats-token-file: no");
    }
}
