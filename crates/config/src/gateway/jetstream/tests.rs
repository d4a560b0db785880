use super::*;
use crate::{GatewayConfig, Source};

fn parsed(source: &str) -> Result<GatewayConfig, String> {
    let text = format!(
        "{{ name: a, source: {{ jetStream: {{ servers: ['nats://n'], stream: S, {source} }} }} }}"
    );
    GatewayConfig::parse(&text).map_err(|error| error.to_string())
}

#[test]
fn each_way_to_prove_who_we_are_is_read_and_rendered_back() {
    for source in [
        "auth: { credsFile: /c/nats.creds }",
        "auth: { nkeyFile: /c/seed }",
        "auth: { user: me, passwordFile: /c/password }",
        "auth: { userFile: /c/user, passwordFile: /c/password }",
        "auth: { tokenFile: /c/token }",
        "tls: {}",
        "tls: { caFile: /c/ca.crt }",
        "tls: { caFile: /c/ca.crt, certFile: /c/tls.crt, keyFile: /c/tls.key }",
        "tls: { handshakeFirst: true }",
    ] {
        let config = parsed(source).unwrap();
        let Source::JetStream(read) = &config.source else { panic!("another source") };
        assert!(read.auth.is_some() || read.tls.is_some(), "{source}");
        assert_eq!(GatewayConfig::parse(&config.render().unwrap()).unwrap(), config);
    }
}

#[test]
fn prefixes_are_read_and_left_out_of_the_file_where_they_are_the_usual_ones() {
    let config = parsed("apiPrefix: $JS.hub.API, inboxPrefix: _INBOX_odin").unwrap();
    let text = config.render().unwrap();
    assert!(text.contains("apiPrefix: $JS.hub.API"), "{text}");
    assert!(text.contains("inboxPrefix: _INBOX_odin"), "{text}");
    assert_eq!(GatewayConfig::parse(&text).unwrap(), config);
    let usual = parsed("apiPrefix: $JS.API, inboxPrefix: _INBOX").unwrap();
    let Source::JetStream(read) = &usual.source else { panic!("another source") };
    assert_eq!(*read, JetStreamSource::new(vec!["nats://n".into()], "S"));
    let text = usual.render().unwrap();
    assert!(!text.contains("apiPrefix") && !text.contains("inboxPrefix"), "{text}");
}

#[test]
fn prefixes_that_are_no_subjects_are_refused() {
    let long = "a".repeat(256);
    for prefix in ["", ".", "a.", ".a", "a..b", "a.*", ">", "a b", "a\u{85}b", "a\tb", &long] {
        for field in ["apiPrefix", "inboxPrefix"] {
            let text = format!("{field}: {}", serde_json::to_string(prefix).unwrap());
            let error = parsed(&text).unwrap_err();
            let start = format!("source.jetStream.{field}: must be tokens between dots");
            assert!(error.starts_with(&start), "{prefix:?}: {error}");
        }
    }
}

#[test]
fn what_cannot_work_is_refused_with_its_path_and_what_to_write() {
    for (source, error) in [
        ("auth: {}", "source.jetStream.auth: must hold exactly one of credsFile"),
        (
            "auth: { credsFile: /c, tokenFile: /t }",
            "source.jetStream.auth: must hold exactly one of credsFile",
        ),
        ("auth: { passwordFile: /p }", "source.jetStream.auth: passwordFile needs user"),
        ("auth: { user: me }", "source.jetStream.auth: a user needs passwordFile"),
        (
            "auth: { user: me, userFile: /u, passwordFile: /p }",
            "source.jetStream.auth: must not hold both",
        ),
        (
            "auth: { user: '', passwordFile: /p }",
            "source.jetStream.auth.user: must be the name of a user",
        ),
        ("auth: { password: p }", "source.jetStream.auth.password: unknown field"),
        (
            "auth: { credsFile: nats.creds }",
            "source.jetStream.auth.credsFile: must be the absolute path",
        ),
        (
            "auth: { user: u, passwordFile: ./p }",
            "source.jetStream.auth.passwordFile: must be the absolute path",
        ),
        ("tls: { caFile: '' }", "source.jetStream.tls.caFile: must be the absolute path"),
        ("tls: { certFile: /c }", "source.jetStream.tls.certFile: needs keyFile"),
        ("tls: { keyFile: /c }", "source.jetStream.tls.keyFile: needs certFile"),
    ] {
        let told = parsed(source).unwrap_err();
        assert!(told.starts_with(error), "{source}: {told}");
    }
}

#[test]
fn credentials_in_an_address_are_refused_without_repeating_them() {
    for server in [
        "nats://me:secret@n",
        "nats://secret@n",
        "me:secret@n:4222",
        "nats:me:secret@n",
        "nats//me:secret@n",
        "nats://me%3Asecret%40n",
        "nats://n/secret",
        "nats://n?password=secret",
        "ws://secret",
    ] {
        let source = JetStreamSource::new(vec!["nats://n".into(), server.into()], "S");
        let error = source.check().unwrap_err().to_string();
        assert!(error.starts_with("source.jetStream.servers[1]: "), "{server}: {error}");
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn addresses_are_hosts_with_or_without_a_port() {
    for server in ["nats://n", "tls://my_nats.x:4222", "n:4222", "nats://[::1]:4222/"] {
        JetStreamSource::new(vec![server.into()], "S").check().unwrap();
    }
}

#[test]
fn a_password_in_a_value_of_the_wrong_type_is_not_repeated() {
    for text in [
        "name: a\nsource: { jetStream: { servers: 'nats://me:secret@n:4222', stream: S } }",
        "name: a\nsource: 'nats://secret@n:4222'",
    ] {
        let error = GatewayConfig::parse(text).unwrap_err().to_string();
        assert!(error.contains("n:4222") && !error.contains("secret"), "{error}");
    }
}
