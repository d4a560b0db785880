use serde_json::json;
use wsgateway_access::Origin;
use wsgateway_config::{Auth, ChannelRule, Millis};

use super::*;
use crate::cli::NewKey;
use crate::token::key::{SigningKey, generate};

/// 2023-11-14T22:13:20Z.
const NOW_S: u64 = 1_700_000_000;

struct Fixture {
    key: String,
    keys: Keys,
    auth: Auth,
}

impl Fixture {
    fn new() -> Self {
        let key = generate(NewKey::EdDsa, "k1").unwrap();
        let keys = Keys::read(key.as_bytes(), None, Origin::File).unwrap();
        let jwt = Jwt::new(Vec::new(), Algorithm::ALL.to_vec());
        Self { key, keys, auth: Auth { jwt, anonymous: None, channels: Vec::new() } }
    }

    fn sign(&self, claims: Value) -> String {
        let key = SigningKey::read(self.key.as_bytes(), None).unwrap();
        key.sign(claims.as_object().unwrap()).unwrap()
    }

    fn explain(&self, token: &str) -> Explanation {
        let verifier = Verifier::new(&self.auth, 0);
        verifier.set_keys(self.keys.clone());
        let channels = ["user.ann.x".to_owned(), "user.bob.x".to_owned()];
        let against = Against {
            verifier: &verifier,
            keys: Some(&self.keys),
            has_rules: true,
            channels: &channels,
            now_ms: NOW_S * 1_000,
        };
        explain(token, &against)
    }
}

fn with_header(token: &str, header: Value) -> String {
    let (_, rest) = token.split_once('.').unwrap();
    format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header.to_string()))
}

#[test]
fn what_is_wrong_with_a_token_is_said_in_words() {
    let mut fixture = Fixture::new();
    fixture.auth.jwt.audience = vec!["odin".into(), "thor".into()];
    fixture.auth.jwt.issuer = Some("login".into());
    fixture.auth.jwt.max_lifetime = Some(Millis::from_secs(7_200));
    let good =
        json!({ "sub": "ann", "aud": "odin", "iss": "login", "iat": NOW_S, "exp": NOW_S + 60 });
    let but = |change: Value| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        fixture.sign(claims)
    };
    let signed = but(json!({}));
    assert!(fixture.explain(&signed).accepted, "{:?}", fixture.explain(&signed));
    let cut = &signed[..signed.len() - 4];
    for (token, words) in [
        (but(json!({ "exp": NOW_S - 180 })), "it expired 3 min ago, at 2023-11-14T22:10:20Z"),
        (but(json!({ "nbf": NOW_S + 120 })), "it begins in 2 min (nbf)"),
        (but(json!({ "iat": NOW_S + 3_600 })), "it was issued in 1 h (iat)"),
        (
            but(json!({ "exp": NOW_S + 86_400 })),
            "it lives for 1 d, from iat to exp, and may live for 2 h",
        ),
        (but(json!({ "exp": null })), "it never expires, and may live for 2 h"),
        (
            but(json!({ "aud": "else" })),
            r#"it is for "else" (aud), and has to be for "odin" or "thor""#,
        ),
        (but(json!({ "iss": null })), r#"it is of null (iss), and has to be of "login""#),
        (but(json!({ "sub": null })), r#"it has no claim "sub" that names its user"#),
        (but(json!({ "exp": "soon" })), "exp, nbf and iat are numbers"),
        (with_header(&signed, json!({ "alg": "none" })), "it is not signed at all (alg none)"),
        (
            with_header(&signed, json!({ "alg": "HS256", "kid": "k1" })),
            "signed with HS256, which its key is not for",
        ),
        (
            with_header(&signed, json!({ "alg": "XX\u{1b}" })),
            r#"it is signed with "XX\\u001b", which gateways do not know"#,
        ),
        (
            with_header(&signed, json!({ "alg": "EdDSA", "kid": "k9" })),
            r#"it names the key "k9" (kid), and the key here is "k1""#,
        ),
        (
            with_header(&signed, json!({ "alg": "EdDSA" })),
            r#"it names no key (kid), and the key here is "k1""#,
        ),
        (cut.to_owned(), "its signature is wrong"),
        ("a.b".to_owned(), "three parts with dots between, this has 2"),
        ("a.b.c.d.e".to_owned(), "it is encrypted"),
        ("x".repeat(9_000), "it has 9000 bytes, and may have 8192"),
    ] {
        let told = fixture.explain(&token);
        assert!(!told.is_good() && told.verdict.contains(words), "{words}: {}", told.verdict);
        assert!(told.code.is_some());
    }
}

#[test]
fn what_a_token_lets_its_holder_hear_is_what_the_rules_make_of_it() {
    let mut fixture = Fixture::new();
    let rule = |text: &str| ChannelRule { r#match: text.to_owned(), ..ChannelRule::default() };
    fixture.auth.channels = vec![
        ChannelRule { set: true, ..rule("user.{sub}.>") },
        ChannelRule { deny: true, ..rule("user.*.secret") },
    ];
    let token = fixture.sign(json!({ "sub": "ann", "exp": NOW_S + 3_600, "note": "\u{1b}[2J" }));
    let told = fixture.explain(&token);
    assert!(told.accepted && !told.is_good(), "one of the channels is not allowed");
    let page = told.page(NOW_S * 1_000);
    for line in [
        "accepted until 2023-11-14T23:13:50Z, in 1 h",
        "  claim    sub          \"ann\"",
        "  claim    exp          1700003600, 2023-11-14T23:13:20Z, in 1 h",
        "  hears                 user.ann.>",
        "  but not               user.*.secret",
        "  unasked               user.ann.>",
        "  channel  user.ann.x   may be heard",
        "  channel  user.bob.x   NOT allowed",
    ] {
        assert!(page.lines().any(|one| one == line), "{line}\n{page}");
    }
    let (_, signature) = token.rsplit_once('.').unwrap();
    let json = serde_json::to_string(&told).unwrap();
    assert!(!page.contains(signature) && !json.contains(signature) && !page.contains('\u{1b}'));
}
