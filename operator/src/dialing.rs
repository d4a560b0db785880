//! What a status says of a connection to NATS that failed: a class, and what to do by what the WsGateway says.
//!
//! Whoever writes a WsGateway makes the operator connect to any address, from inside the cluster. Whether a port there is
//! closed, silent, or speaks something else is for the operator's log, which the people of the cluster read, and not for
//! the status, or a WsGateway would be a port scanner. So a message depends on the class and the specification alone.

use wsgateway_crds::{ValidCredentials, ValidNats};
use wsgateway_nats::{EXPIRED, Failure, FailureKind};

/// Where the rest is.
const DETAILS: &str = "the log of the operator has the details";

/// Reason and message for a status. Without a failure yet: that the first attempt takes long says something, too.
pub(crate) fn in_status(failure: Option<&Failure>, nats: &ValidNats) -> (&'static str, String) {
    let Some(failure) = failure else {
        return (FailureKind::Unreachable.reason(), unreachable(nats));
    };
    (failure.kind.reason(), message(failure, nats))
}

fn message(failure: &Failure, nats: &ValidNats) -> String {
    match failure.kind {
        // About our own files and values, found before any connection.
        FailureKind::Credentials => failure.message.clone(),
        FailureKind::Authorization => {
            // Seen in our own credentials, not on the other side.
            let expired = failure.message.ends_with(EXPIRED);
            refused(nats.credentials.as_ref(), if expired { EXPIRED } else { "" })
        }
        FailureKind::Tls => tls(nats),
        FailureKind::Unreachable => unreachable(nats),
    }
}

fn refused(credentials: Option<&ValidCredentials>, expired: &str) -> String {
    let advice = match credentials {
        None => "NATS asks who we are: set spec.nats.credentials",
        Some(ValidCredentials::Creds(_)) => {
            "check spec.nats.credentials: NATS does not accept the user (unknown, expired or revoked)"
        }
        Some(ValidCredentials::Nkey(_)) => {
            "check spec.nats.credentials: NATS does not accept the nkey"
        }
        Some(ValidCredentials::Token(_)) => {
            "check spec.nats.credentials: NATS does not accept the token"
        }
        Some(ValidCredentials::Password { .. }) => {
            "check spec.nats.credentials: NATS does not accept the user or its password"
        }
    };
    format!("authorization violation: {advice}{expired}; {DETAILS}")
}

fn tls(nats: &ValidNats) -> String {
    let given = nats.tls.as_ref();
    let ca = match given.and_then(|tls| tls.ca.as_ref()) {
        Some(_) => {
            "check spec.nats.tls.caSecret: the servers' certificates must come from an authority in it"
        }
        None => {
            "if the servers' certificates come from an authority of your own, set spec.nats.tls.caSecret"
        }
    };
    let client = match given.and_then(|tls| tls.client.as_ref()) {
        Some(_) => "check spec.nats.tls.clientSecret: the servers must accept its certificate",
        None => "if the servers ask for a client certificate, set spec.nats.tls.clientSecret",
    };
    let names = "their certificates must be for the names in spec.nats.servers";
    let speak = if given.is_some() { "; they must speak TLS" } else { "" };
    format!("TLS with the NATS servers failed: {ca}; {client}; {names}{speak}; {DETAILS}")
}

fn unreachable(nats: &ValidNats) -> String {
    let first = match &nats.tls {
        Some(tls) if !tls.handshake_first => {
            "; if they have handshake_first in their configuration, set spec.nats.tls.handshakeFirst"
        }
        _ => "",
    };
    format!(
        "NATS is not reachable; it is tried again until it is. If this lasts, check spec.nats.servers: on Kubernetes a server's \
         host is SERVICE.NAMESPACE{first}; {DETAILS}"
    )
}

#[cfg(test)]
mod tests {
    use wsgateway_crds::{parse, validate};

    use super::*;

    fn nats(rest: &str) -> ValidNats {
        let text = format!(
            "{{apiVersion: wsgateway.dev/v1alpha1, kind: WsGateway, metadata: {{name: tiny}}, \
             spec: {{nats: {{servers: ['nats://inner:22'], {rest}}}, stream: {{name: TINY, subjects: ['tiny.>']}}}}}}"
        );
        validate(&parse(&text).unwrap()).unwrap().source.nats().unwrap().clone()
    }

    const KINDS: [FailureKind; 3] =
        [FailureKind::Authorization, FailureKind::Tls, FailureKind::Unreachable];

    #[test]
    fn nothing_that_the_other_side_did_changes_the_message() {
        let nats = nats("tls: {caSecret: {name: ca}}");
        for kind in KINDS {
            let said: std::collections::BTreeSet<String> = [
                "cannot connect to nats://inner:22: Connection refused (os error 111)",
                "cannot connect to nats://inner:22: timed out",
                "cannot connect to nats://inner:22: expected INFO, got SSH-2.0-OpenSSH_9.6",
                "TLS: the certificate of nats://inner:22 is for other names: db.internal",
            ]
            .into_iter()
            .map(|text| message(&Failure { kind, message: text.to_owned() }, &nats))
            .collect();
            assert_eq!(said.len(), 1, "{said:?}");
            let text = said.first().unwrap();
            assert!(!text.contains("inner") && text.contains("log of the operator"), "{text}");
        }
    }

    #[test]
    fn a_server_that_has_not_answered_yet_is_one_that_does_not() {
        let nats = nats("domain: hub");
        let failure = Failure { kind: FailureKind::Unreachable, message: "refused".to_owned() };
        assert_eq!(in_status(None, &nats), in_status(Some(&failure), &nats));
    }

    #[test]
    fn the_message_names_the_field_to_set_by_what_is_set_already() {
        let failure = |kind| Failure { kind, message: "unsaid".to_owned() };
        let tls = failure(FailureKind::Tls);
        let bare = message(&tls, &nats("domain: hub"));
        assert!(
            bare.contains("set spec.nats.tls.caSecret")
                && bare.contains("set spec.nats.tls.clientSecret")
        );
        let full = message(&tls, &nats("tls: {caSecret: {name: a}, clientSecret: {name: b}}"));
        assert!(
            full.contains("check spec.nats.tls.caSecret")
                && full.contains("check spec.nats.tls.clientSecret")
        );
        let user = failure(FailureKind::Authorization);
        assert!(message(&user, &nats("domain: hub")).contains("set spec.nats.credentials"));
        let creds = nats("credentials: {name: s}");
        assert!(message(&user, &creds).contains("check spec.nats.credentials"));
        let expired = Failure { message: format!("unsaid{EXPIRED}"), ..user };
        assert!(message(&expired, &creds).contains("its JWT has expired"));
        let silent = failure(FailureKind::Unreachable);
        assert!(message(&silent, &nats("tls: {}")).contains("set spec.nats.tls.handshakeFirst"));
        assert!(!message(&silent, &nats("domain: hub")).contains("handshakeFirst"));
    }
}
