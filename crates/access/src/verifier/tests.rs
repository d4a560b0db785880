use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm as Signature, EncodingKey, Header, encode};
use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256,
};
use serde_json::{Value, json};
use wsgateway_config::{Algorithm, Anonymous, ChannelRule, Jwt, Millis};

use super::*;
use crate::keys::Origin;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const NOW_S: u64 = 1_700_000_000;
const NOW: u64 = NOW_S * 1_000;

fn auth(change: impl Fn(&mut Auth)) -> Auth {
    let mut jwt = Jwt::new(Vec::new(), vec![Algorithm::HS256]);
    jwt.leeway = Millis(5_000);
    let mut auth = Auth { jwt, anonymous: None, channels: Vec::new() };
    change(&mut auth);
    auth
}

fn verifier(change: impl Fn(&mut Auth)) -> Verifier {
    let verifier = Verifier::new(&auth(change), 1 << 20);
    verifier.set_keys(Keys::read(SECRET, None, Origin::File).unwrap());
    verifier
}

fn claims(more: Value) -> Value {
    let mut claims = json!({ "sub": "ann", "exp": NOW_S + 60 });
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    claims
}

fn sign(header: &Header, claims: &Value, key: &EncodingKey) -> String {
    encode(header, claims, key).unwrap()
}

fn token(more: Value) -> String {
    sign(&Header::new(Signature::HS256), &claims(more), &EncodingKey::from_secret(SECRET).unwrap())
}

fn part(json: impl ToString) -> String {
    URL_SAFE_NO_PAD.encode(json.to_string())
}

fn refusal(verifier: &Verifier, token: &str) -> RefusedToken {
    verifier.verify(token, NOW).unwrap_err()
}

#[test]
fn a_good_token_says_who_its_holder_is_and_until_when() {
    let verifier = verifier(|auth| auth.jwt.channels_claim = Some("ch".into()));
    let token = token(json!({ "jti": "t-1", "ch": ["a.*", "b..c", 7, "x y"], "iat": NOW_S }));
    let first = verifier.verify(&token, NOW).unwrap();
    let grant = &first.grant;
    assert_eq!((grant.user.as_deref(), grant.token_id.as_deref()), (Some("ann"), Some("t-1")));
    assert_eq!((grant.expires_at_ms, grant.left_out), (Some(NOW + 65_000), 3));
    assert!(grant.permits.allows("a.b") && !grant.permits.allows("b"));
    let again = verifier.verify(&token, NOW + 64_999).unwrap();
    assert!(!first.was_cached && again.was_cached && again.grant == first.grant);
    assert_eq!(verifier.verify(&token, NOW + 65_000), Err(RefusedToken::Expired));
}

#[test]
fn every_kind_of_key_verifies_its_own_tokens_and_nobody_elses() {
    for (kind, signature, algorithm) in [
        (&PKCS_RSA_SHA256, Signature::RS256, Algorithm::RS256),
        (&PKCS_RSA_SHA256, Signature::PS512, Algorithm::PS512),
        (&PKCS_ECDSA_P256_SHA256, Signature::ES256, Algorithm::ES256),
        (&PKCS_ECDSA_P384_SHA384, Signature::ES384, Algorithm::ES384),
        (&PKCS_ED25519, Signature::EdDSA, Algorithm::EdDSA),
    ] {
        let (ours, theirs) =
            (KeyPair::generate_for(kind).unwrap(), KeyPair::generate_for(kind).unwrap());
        let key = |pair: &KeyPair| {
            let pem = pair.serialize_pem();
            let read = match algorithm {
                Algorithm::RS256 | Algorithm::PS512 => EncodingKey::from_rsa_pem,
                Algorithm::EdDSA => EncodingKey::from_ed_pem,
                _ => EncodingKey::from_ec_pem,
            };
            read(pem.as_bytes()).unwrap()
        };
        let verifier = verifier(|auth| auth.jwt.algorithms = vec![algorithm]);
        let pem = ours.public_key_pem();
        verifier.set_keys(Keys::read(pem.as_bytes(), None, Origin::File).unwrap());
        let (header, said) = (Header::new(signature), claims(json!({})));
        let good = sign(&header, &said, &key(&ours));
        assert!(verifier.verify(&good, NOW).is_ok(), "{signature:?}");
        let forged = sign(&header, &said, &key(&theirs));
        assert_eq!(refusal(&verifier, &forged), RefusedToken::BadSignature, "{signature:?}");
        // The public key as a secret: everybody has it.
        let confused = sign(
            &Header::new(Signature::HS256),
            &said,
            &EncodingKey::from_secret(pem.as_bytes()).unwrap(),
        );
        assert_eq!(refusal(&verifier, &confused), RefusedToken::WrongAlgorithm, "{signature:?}");
        let lax = self::verifier(|auth| auth.jwt.algorithms = Algorithm::ALL.to_vec());
        lax.set_keys(Keys::read(pem.as_bytes(), None, Origin::File).unwrap());
        assert_eq!(refusal(&lax, &confused), RefusedToken::WrongAlgorithm, "{signature:?}");
    }
}

#[test]
fn a_token_does_not_choose_how_it_is_verified() {
    let verifier = verifier(|_| {});
    let good = token(json!({}));
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (header, body) = message.split_once('.').unwrap();
    let with = |header: Value| format!("{}.{body}.{signature}", part(header));
    for (bad, want) in [
        (with(json!({ "alg": "none" })), RefusedToken::WrongAlgorithm),
        (with(json!({ "alg": "None" })), RefusedToken::WrongAlgorithm),
        (with(json!({ "alg": "RS256" })), RefusedToken::WrongAlgorithm),
        (with(json!({ "alg": "HS384" })), RefusedToken::WrongAlgorithm),
        (with(json!({ "alg": ["HS256"] })), RefusedToken::Malformed),
        (with(json!({})), RefusedToken::Malformed),
        (with(json!({ "alg": "HS256", "crit": ["exp"] })), RefusedToken::Malformed),
        (with(json!({ "alg": "HS256", "kid": 7 })), RefusedToken::Malformed),
        (with(json!({ "alg": "HS256", "kid": "x".repeat(256) })), RefusedToken::Malformed),
        (with(json!({ "alg": "HS256", "kid": "../../etc/passwd" })), RefusedToken::BadSignature),
        (
            with(json!({ "alg": "HS256", "jwk": { "kty": "oct", "k": "" } })),
            RefusedToken::BadSignature,
        ),
        (format!("{}.{body}.", part(json!({ "alg": "none" }))), RefusedToken::Malformed),
        (format!("{}.{body}.", header), RefusedToken::Malformed),
        (format!("{header}.{body}"), RefusedToken::Malformed),
        (format!("{good}.x.y"), RefusedToken::Malformed),
        (format!("{good}="), RefusedToken::BadSignature),
        (
            format!("{header}.{}.{signature}", part(claims(json!({ "sub": "bob" })))),
            RefusedToken::BadSignature,
        ),
        (format!("{header} .{body}.{signature}"), RefusedToken::Malformed),
        (String::new(), RefusedToken::Malformed),
        (String::from(".."), RefusedToken::Malformed),
        ("ü.ü.ü".to_owned(), RefusedToken::Malformed),
        ("a".repeat(1 << 20), RefusedToken::TooLong),
        (format!("{}.a.a", part("[".repeat(5_000))), RefusedToken::Malformed),
    ] {
        assert_eq!(refusal(&verifier, &bad), want, "{}", &bad[..bad.len().min(80)]);
    }
    assert!(verifier.verify(&good, NOW).is_ok());
}

#[test]
fn a_name_of_a_key_chooses_the_key() {
    let verifier = verifier(|_| {});
    let other = b"another secret with 32 bytes too";
    let mut keys = Keys::read(SECRET, Some("old"), Origin::File).unwrap();
    keys.extend(Keys::read(other, Some("new"), Origin::File).unwrap());
    verifier.set_keys(keys);
    let signed = |kid: Option<&str>, secret: &[u8]| {
        let mut header = Header::new(Signature::HS256);
        header.kid = kid.map(str::to_owned);
        sign(&header, &claims(json!({})), &EncodingKey::from_secret(secret).unwrap())
    };
    assert!(verifier.verify(&signed(Some("old"), SECRET), NOW).is_ok());
    assert!(verifier.verify(&signed(Some("new"), other), NOW).is_ok());
    for (token, want) in [
        (signed(Some("old"), other), RefusedToken::BadSignature),
        (signed(Some("newer"), other), RefusedToken::UnknownKey),
        (signed(None, SECRET), RefusedToken::UnknownKey),
    ] {
        assert_eq!(refusal(&verifier, &token), want);
    }
    // The old key is taken away: what it verified before is worth nothing.
    verifier.set_keys(Keys::read(other, Some("new"), Origin::File).unwrap());
    assert_eq!(refusal(&verifier, &signed(Some("old"), SECRET)), RefusedToken::UnknownKey);
}

#[test]
fn times_are_those_of_the_token_give_or_take_the_leeway() {
    let plain = verifier(|_| {});
    let bounded = verifier(|auth| auth.jwt.max_lifetime = Some(Millis(100_000)));
    for (verifier, more, want) in [
        (&plain, json!({ "exp": NOW_S - 4 }), None),
        (&plain, json!({ "exp": NOW_S - 5 }), Some(RefusedToken::Expired)),
        (&plain, json!({ "exp": NOW_S as f64 - 4.5 }), None),
        (&plain, json!({ "exp": null }), None),
        (&plain, json!({ "exp": 1e300 }), None),
        (&plain, json!({ "exp": "9999999999" }), Some(RefusedToken::BadClaims)),
        (&plain, json!({ "exp": -1 }), Some(RefusedToken::BadClaims)),
        (&plain, json!({ "exp": [1] }), Some(RefusedToken::BadClaims)),
        (&plain, json!({ "nbf": NOW_S + 5 }), None),
        (&plain, json!({ "nbf": NOW_S + 6 }), Some(RefusedToken::NotYetValid)),
        (&plain, json!({ "iat": NOW_S + 6 }), Some(RefusedToken::NotYetValid)),
        (&plain, json!({ "nbf": true }), Some(RefusedToken::BadClaims)),
        (&bounded, json!({ "exp": NOW_S + 100 }), None),
        (&bounded, json!({ "exp": NOW_S + 101 }), Some(RefusedToken::LivesTooLong)),
        (&bounded, json!({ "iat": NOW_S - 50 }), Some(RefusedToken::LivesTooLong)),
        (&bounded, json!({ "exp": null }), Some(RefusedToken::LivesTooLong)),
        (&bounded, json!({ "exp": u64::MAX }), Some(RefusedToken::LivesTooLong)),
    ] {
        let done = verifier.verify(&token(more.clone()), NOW).err();
        assert_eq!(done, want, "{more}");
    }
}

#[test]
fn a_token_of_others_or_for_others_is_refused() {
    let verifier = verifier(|auth| {
        auth.jwt.issuer = Some("https://us".into());
        auth.jwt.audience = vec!["gateway".into(), "all".into()];
    });
    for (more, want) in [
        (json!({ "iss": "https://us", "aud": "gateway" }), None),
        (json!({ "iss": "https://us", "aud": ["other", "all"] }), None),
        (json!({ "iss": "https://us", "aud": ["other", 7] }), Some(RefusedToken::WrongAudience)),
        (json!({ "iss": "https://us", "aud": [] }), Some(RefusedToken::WrongAudience)),
        (
            json!({ "iss": "https://us", "aud": { "gateway": 1 } }),
            Some(RefusedToken::WrongAudience),
        ),
        (json!({ "iss": "https://us" }), Some(RefusedToken::WrongAudience)),
        (json!({ "iss": "https://us/", "aud": "all" }), Some(RefusedToken::WrongIssuer)),
        (json!({ "iss": ["https://us"], "aud": "all" }), Some(RefusedToken::WrongIssuer)),
        (json!({ "aud": "all" }), Some(RefusedToken::WrongIssuer)),
    ] {
        assert_eq!(verifier.verify(&token(more.clone()), NOW).err(), want, "{more}");
    }
}

#[test]
fn claims_of_other_types_grant_nothing() {
    let verifier = verifier(|auth| auth.jwt.channels_claim = Some("ch".into()));
    let bad = RefusedToken::BadClaims;
    for (more, want) in [
        (json!({ "sub": null }), RefusedToken::NoUser),
        (json!({ "sub": "" }), bad),
        (json!({ "sub": "a\nb" }), bad),
        (json!({ "sub": ["ann"] }), bad),
        (json!({ "sub": { "a": 1 } }), bad),
        (json!({ "sub": true }), bad),
        (json!({ "sub": 1.5 }), bad),
        (json!({ "sub": "x".repeat(256) }), bad),
        (json!({ "jti": ["t"] }), bad),
        (json!({ "ch": { ">": true } }), bad),
        (json!({ "ch": 7 }), bad),
        (json!({ "ch": vec!["a"; 65] }), bad),
    ] {
        assert_eq!(refusal(&verifier, &token(more.clone())), want, "{more}");
    }
    let numbered = verifier.verify(&token(json!({ "sub": 42 })), NOW).unwrap();
    assert_eq!(numbered.grant.user.as_deref(), Some("42"));
    let body = json!({ "ch": vec!["a"; 10_000] });
    assert_eq!(refusal(&verifier, &token(body)), RefusedToken::TooLong, "10,000 patterns");
    assert!(!verifier.verify(&token(json!({})), NOW).unwrap().grant.permits.allows("a"));
    let array = sign(
        &Header::new(Signature::HS256),
        &json!(["a"]),
        &EncodingKey::from_secret(SECRET).unwrap(),
    );
    assert_eq!(refusal(&verifier, &array), RefusedToken::Malformed);
}

#[test]
fn rules_allow_deny_and_set_channels_by_what_the_token_says() {
    let rule = |text: &str| ChannelRule { r#match: text.to_owned(), ..ChannelRule::default() };
    let verifier = verifier(|auth| {
        auth.jwt.channels_claim = Some("ch".into());
        auth.channels = vec![
            ChannelRule { set: true, ..rule("user.{sub}.>") },
            ChannelRule {
                when: [("role".to_owned(), "trader".to_owned())].into(),
                ..rule("desk.{claims.desk}.*")
            },
            ChannelRule { deny: true, ..rule("desk.*.secret") },
            ChannelRule { set: true, ..rule("desk.eu.secret") },
        ];
    });
    let grant = |more: Value| verifier.verify(&token(more), NOW).unwrap().grant;
    let trader = grant(json!({ "role": ["trader"], "desk": "eu", "ch": ["public.*"] }));
    for (pattern, want) in [
        ("user.ann.orders", true),
        ("user.bob.orders", false),
        ("user.*.orders", false),
        ("desk.eu.trades", true),
        ("desk.eu.secret", false),
        ("desk.eu.*", false),
        ("desk.us.trades", false),
        ("public.*", true),
        (">", false),
    ] {
        assert_eq!(trader.permits.allows(pattern), want, "{pattern}");
    }
    assert_eq!(trader.set, ["user.ann.>".into()].into(), "what is denied is not set");
    let other = grant(json!({ "role": "clerk", "desk": "eu" }));
    assert!(!other.permits.allows("desk.eu.trades") && !other.permits.allows("public.x"));
    let wild = grant(json!({ "role": "trader", "desk": "*" }));
    assert!(!wild.permits.allows("desk.eu.trades") && !wild.permits.allows("desk.*.x"));
}

#[test]
fn a_claim_sets_channels_and_allows_them_unless_they_are_denied_or_it_is_bad() {
    let rule = |text: &str| ChannelRule { r#match: text.to_owned(), ..ChannelRule::default() };
    let setting = verifier(|auth| auth.jwt.set_channels_claim = Some("tabs".into()));
    let ruled = verifier(|auth| {
        auth.jwt.set_channels_claim = Some("tabs".into());
        auth.channels = vec![
            ChannelRule { set: true, ..rule("user.{sub}") },
            ChannelRule { deny: true, ..rule("*.secret") },
        ];
    });
    let set = |verifier: &Verifier, tabs: Value| {
        let grant = verifier.verify(&token(json!({ "tabs": tabs })), NOW).unwrap().grant;
        assert!(grant.set.iter().all(|pattern| grant.permits.allows(pattern)), "{grant:?}");
        assert!(!grant.permits.allows(">"), "a claim that says which channels is all there is");
        grant.set.iter().map(|pattern| pattern.to_string()).collect::<Vec<_>>()
    };
    let none: [&str; 0] = [];
    assert_eq!(set(&setting, json!(["a.>", "b", "a.>"])), ["a.>", "b"]);
    assert_eq!(set(&setting, json!("a")), ["a"]);
    assert_eq!(set(&setting, Value::Null), none);
    assert_eq!(set(&ruled, json!(["a.secret", "user.ann", "a.*"])), ["user.ann"]);
    let many: Vec<String> = (0..33).map(|n| format!("a{n}")).collect();
    assert_eq!(set(&setting, json!(many[..32])).len(), 32);
    for bad in [json!(many), json!(["a", "b..c"]), json!(["a", 7]), json!({ "a": 1 }), json!([""])]
    {
        let token = token(json!({ "tabs": bad }));
        assert_eq!(refusal(&setting, &token), RefusedToken::BadChannels, "{bad}");
    }
    // 64 of one claim, 32 of the other and 64 rules are more than a client can have.
    let full = verifier(|auth| {
        auth.jwt.channels_claim = Some("ch".into());
        auth.jwt.set_channels_claim = Some("tabs".into());
        auth.channels = (0..64).map(|n| rule(&format!("r{n}"))).collect();
    });
    let channels: Vec<String> = (0..64).map(|n| format!("c{n}")).collect();
    let fits = token(json!({ "ch": channels, "tabs": ["r1", "r2"] }));
    assert!(full.verify(&fits, NOW).is_ok());
    let more = token(json!({ "ch": channels, "tabs": ["a"] }));
    assert_eq!(refusal(&full, &more), RefusedToken::BadChannels);
}

#[test]
fn without_rules_a_token_opens_everything_and_no_token_what_is_listed() {
    let verifier = verifier(|auth| {
        auth.anonymous = Some(Anonymous { channels: vec!["public.>".into()] });
    });
    let grant = verifier.verify(&token(json!({})), NOW).unwrap().grant;
    assert!(grant.permits.allows(">"));
    let anonymous = verifier.anonymous().unwrap();
    assert!(anonymous.permits.allows("public.a") && !anonymous.permits.allows("user.a"));
    assert_eq!((anonymous.user.clone(), anonymous.expires_at_ms), (None, None));
    assert!(Verifier::new(&auth(|_| {}), 0).anonymous().is_none());
}

#[test]
fn what_is_shown_of_a_verifier_holds_no_secret_and_no_refusal_any_token() {
    let verifier = verifier(|_| {});
    let good = token(json!({ "sub": "sesame" }));
    let shown = format!("{:?}", verifier.keys);
    assert!(!shown.contains("0123456789"), "{shown}");
    for refusal in RefusedToken::ALL {
        assert!(!refusal.to_string().contains("sesame") && !refusal.code().is_empty());
    }
    verifier.verify(&good, NOW).unwrap();
    let codes: std::collections::HashSet<_> =
        RefusedToken::ALL.iter().map(|one| one.code()).collect();
    assert_eq!(codes.len(), RefusedToken::ALL.len(), "each has a code of its own");
}

#[test]
fn what_a_token_may_hear_is_explained_as_patterns_and_only_of_a_good_one() {
    let rule = |template: &str| ChannelRule { r#match: template.into(), ..ChannelRule::default() };
    let verifier = verifier(|auth| {
        auth.channels = vec![
            ChannelRule { set: true, ..rule("user.{sub}.>") },
            ChannelRule { deny: true, ..rule("user.*.secret") },
        ];
    });
    let channels = verifier.explain(&token(json!({})), NOW).unwrap();
    assert_eq!(
        (channels.allowed, channels.set),
        (vec!["user.ann.>".into()], vec!["user.ann.>".into()])
    );
    assert_eq!(channels.denied, ["user.*.secret"]);
    let expired = token(json!({ "exp": 1 }));
    assert_eq!(verifier.explain(&expired, NOW), Err(RefusedToken::Expired));
    let keys = Keys::read(SECRET, Some("k1"), Origin::File).unwrap();
    assert_eq!(keys.ids().collect::<Vec<_>>(), [Some("k1")]);
}
