//! Why an attempt to connect failed, in words that say what to do. Pure: from what the library noted about a server.

use std::collections::HashMap;

use async_nats::Server;

use crate::{Access, Auth, Material};

/// An attempt to connect that failed. The next one follows by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What it is about.
    pub kind: FailureKind,
    /// What happened and what to do; nothing secret.
    pub message: String,
}

/// What a failed attempt is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// What we would prove ourselves with cannot be used: a file is missing, empty, half-written.
    Credentials,
    /// The server does not let us in.
    Authorization,
    /// One side does not trust the other's certificate, or one wants TLS and the other has none.
    Tls,
    /// No server answers.
    Unreachable,
}

impl FailureKind {
    /// Static reason, for conditions and metrics.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Credentials => "CredentialsUnusable",
            Self::Authorization => "NatsUnauthorized",
            Self::Tls => "NatsTlsFailed",
            Self::Unreachable => "NatsUnreachable",
        }
    }
}

/// The failed attempts of each server that have been told.
#[derive(Debug, Default)]
pub(super) struct Told(HashMap<String, usize>);

impl Told {
    /// What has failed since the last look: of several servers the failure that somebody can do most about.
    pub(super) fn newest(&mut self, pool: &[Server], access: &Access) -> Option<Failure> {
        let before = std::mem::take(&mut self.0);
        let mut found: Option<Failure> = None;
        for server in pool {
            let address = server.addr.as_url_str().to_owned();
            let known = before.get(&address).copied().unwrap_or(0);
            if let Some(error) = &server.last_error
                && server.failed_attempts > known
            {
                let failure = classify(&address, error, access);
                if found.as_ref().is_none_or(|other| rank(failure.kind) < rank(other.kind)) {
                    found = Some(failure);
                }
            }
            self.0.insert(address, server.failed_attempts);
        }
        found
    }
}

pub(crate) fn rank(kind: FailureKind) -> u8 {
    match kind {
        FailureKind::Credentials => 0,
        FailureKind::Authorization => 1,
        FailureKind::Tls => 2,
        FailureKind::Unreachable => 3,
    }
}

/// What the library says of a failed attempt, made of its kind, a colon and the cause.
pub(crate) fn classify(server: &str, error: &str, access: &Access) -> Failure {
    if error.starts_with("authorization violation") || error.starts_with("failed signing nonce") {
        return Failure {
            kind: FailureKind::Authorization,
            message: authorization(access.auth.as_ref()),
        };
    }
    if let Some(message) = tls(server, error, access) {
        return Failure { kind: FailureKind::Tls, message };
    }
    let mut message = format!("cannot connect to {server}: {}", cause(error));
    if access.tls.is_some() && !access.handshake_first && is_silence(error) {
        message.push_str(
            "; if it has handshake_first in its configuration, set spec.nats.tls.handshakeFirst",
        );
    }
    Failure { kind: FailureKind::Unreachable, message }
}

/// The server said nothing: of our link, or in the words of the library.
fn is_silence(error: &str) -> bool {
    ["timed out", "hung up", "got nothing"].iter().any(|words| error.contains(words))
}

/// The library's "IO error: nats: …" without its own words.
fn cause(error: &str) -> &str {
    let error = error.strip_prefix("IO error: ").unwrap_or(error);
    error.strip_prefix("nats: ").unwrap_or(error)
}

fn authorization(auth: Option<&Auth>) -> String {
    let Some(auth) = auth else {
        return "authorization violation: NATS asks who we are: set spec.nats.credentials"
            .to_owned();
    };
    let (what, material) = match auth {
        Auth::Creds(material) => ("the user (unknown, expired or revoked)", material),
        Auth::Nkey(material) => ("the nkey", material),
        Auth::Password { password, .. } => ("the user or its password", password),
        Auth::Token(material) => ("the token", material),
    };
    format!(
        "authorization violation: check spec.nats.credentials: NATS does not accept {what} of {material}"
    )
}

fn tls(server: &str, error: &str, access: &Access) -> Option<String> {
    let has = |text: &str| error.contains(text);
    let ca = access.tls.as_ref().and_then(|tls| tls.ca.as_ref());
    let client = access.tls.as_ref().and_then(|tls| tls.client.as_ref());
    let cause = cause(error);
    if has("UnknownIssuer") || has("BadSignature") {
        return Some(match ca {
            Some(ca) => format!(
                "TLS: the certificate of {server} does not come from an authority in {ca}: check \
                 spec.nats.tls.caSecret"
            ),
            None => format!(
                "TLS: {server} asks for TLS, and its certificate comes from no authority that this system trusts: set \
                 spec.nats.tls.caSecret"
            ),
        });
    }
    if has("NotValidForName") || has("certificate not valid for name") {
        return Some(format!(
            "TLS: the certificate of {server} is for other names: write one of them into spec.nats.servers ({cause})"
        ));
    }
    if has("invalid peer certificate") {
        return Some(format!("TLS: the certificate of {server} cannot be trusted ({cause})"));
    }
    let refused = has("received fatal alert");
    if refused || has("reset by peer") || has("roken pipe") {
        // A server that refuses a certificate hangs up, and its alert may be lost on the way.
        return match client.map(|(certificate, _)| certificate) {
            _ if !refused && access.tls.is_none() => None,
            Some(certificate) => Some(refused_certificate(server, certificate, cause)),
            None => Some(format!(
                "TLS: {server} hangs up ({cause}): if it asks for a client certificate, set spec.nats.tls.clientSecret"
            )),
        };
    }
    if has("corrupt message") {
        return Some(format!(
            "TLS: {server} does not speak TLS ({cause}): switch it on there, or leave out spec.nats.tls and tls://"
        ));
    }
    has("TLS error").then(|| format!("TLS with {server} failed: {cause}"))
}

fn refused_certificate(server: &str, certificate: &Material, cause: &str) -> String {
    format!(
        "TLS: {server} hangs up ({cause}): if it does not accept the certificate in {certificate}, check \
         spec.nats.tls.clientSecret"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tls;

    fn file(path: &str) -> Material {
        Material::File(path.into())
    }

    fn server(address: &str, attempts: usize, error: Option<&str>) -> Server {
        Server {
            addr: address.parse().unwrap(),
            failed_attempts: attempts,
            did_connect: false,
            is_discovered: false,
            last_error: error.map(str::to_owned),
        }
    }

    fn access(auth: Option<Auth>, tls: Option<Tls>) -> Access {
        Access { auth, tls, ..Access::open(Vec::new()) }
    }

    #[test]
    fn a_failure_is_told_once_and_an_old_one_of_another_server_never_again() {
        let access = access(None, None);
        let mut told = Told::default();
        let mut pool =
            [server("nats://a:1", 2, Some("IO error: refused")), server("nats://b:1", 0, None)];
        let message = told.newest(&pool, &access).unwrap().message;
        assert_eq!(message, "cannot connect to nats://a:1: refused");
        assert_eq!(told.newest(&pool, &access), None);
        pool[1] = server("nats://b:1", 1, Some("timed out"));
        let message = told.newest(&pool, &access).unwrap().message;
        assert_eq!(message, "cannot connect to nats://b:1: timed out");
    }

    #[test]
    fn of_several_failures_the_one_that_somebody_can_do_most_about_is_told() {
        let pool = [
            server("nats://a:1", 1, Some("timed out")),
            server("nats://b:1", 1, Some("authorization violation: nats: authorization violation")),
            server("nats://c:1", 1, Some("IO error: invalid peer certificate: UnknownIssuer")),
        ];
        let failure = Told::default().newest(&pool, &access(None, None)).unwrap();
        assert_eq!(failure.kind, FailureKind::Authorization);
    }

    type Case = (Access, &'static str, FailureKind, &'static str);

    fn judge(cases: impl IntoIterator<Item = Case>) {
        for (access, error, kind, words) in cases {
            let failure = classify("nats://n:4222", error, &access);
            assert_eq!(failure.kind, kind, "{error}: {failure:?}");
            assert!(failure.message.contains(words), "{words}: {failure:?}");
        }
    }

    const RESET: &str = "IO error: Connection reset by peer (os error 104)";

    #[test]
    fn a_refused_user_is_told_apart_from_a_server_that_is_away() {
        use FailureKind::{Authorization, Unreachable};
        let violation = "authorization violation: nats: authorization violation";
        let creds = Auth::Creds(file("/c/nats.creds"));
        let told = "check spec.nats.credentials: NATS does not accept the user (unknown, expired or revoked) of \
                    /c/nats.creds";
        let none = || access(None, None);
        judge([
            (none(), violation, Authorization, "set spec.nats.credentials"),
            (access(Some(creds), None), violation, Authorization, told),
            (none(), RESET, Unreachable, "cannot connect to nats://n:4222: Connection reset"),
            (
                none(),
                "DNS error: no such host",
                Unreachable,
                "nats://n:4222: DNS error: no such host",
            ),
        ]);
    }

    #[test]
    fn a_server_that_is_silent_where_tls_is_configured_may_want_it_first() {
        use FailureKind::Unreachable;
        let tls = || access(None, Some(Tls::default()));
        let words = "set spec.nats.tls.handshakeFirst";
        judge([
            (tls(), "the server hung up", Unreachable, words),
            (tls(), "IO error: nats: expected INFO, got nothing", Unreachable, words),
            (tls(), "timed out", Unreachable, words),
        ]);
        let first = Access { handshake_first: true, ..tls() };
        for access in [first, access(None, None)] {
            let failure = classify("nats://n:4222", "timed out", &access);
            assert_eq!(failure.message, "cannot connect to nats://n:4222: timed out");
        }
    }

    #[test]
    fn what_is_wrong_with_certificates_names_the_field_to_set() {
        use FailureKind::Tls as Wrong;
        let own_ca = || access(None, Some(Tls { ca: Some(file("/c/ca.crt")), client: None }));
        let client = Some((file("/c/tls.crt"), file("/c/tls.key")));
        let own_certificate = access(None, Some(Tls { ca: None, client }));
        let unknown = "IO error: invalid peer certificate: UnknownIssuer";
        let required = "IO error: received fatal alert: CertificateRequired";
        let refused = "IO error: received fatal alert: UnknownCA";
        let plain = "IO error: received corrupt message of type InvalidContentType";
        judge([
            (access(None, None), unknown, Wrong, "set spec.nats.tls.caSecret"),
            (own_ca(), unknown, Wrong, "authority in /c/ca.crt: check"),
            (own_ca(), required, Wrong, "set spec.nats.tls.clientSecret"),
            (own_ca(), RESET, Wrong, "set spec.nats.tls.clientSecret"),
            (access(None, None), required, Wrong, "set spec.nats.tls.clientSecret"),
            (
                own_certificate,
                refused,
                Wrong,
                "certificate in /c/tls.crt, check spec.nats.tls.clientSecret",
            ),
            (own_ca(), plain, Wrong, "does not speak TLS"),
        ]);
    }
}
