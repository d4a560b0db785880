use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256,
};
use serde_json::json;

use super::*;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// Public points of no importance: the readers look at their lengths only.
fn jwk(kid: &str, more: Value) -> Value {
    let point = "A".repeat(43);
    let mut jwk = json!({ "kty": "EC", "crv": "P-256", "x": point, "y": point, "kid": kid });
    jwk.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    jwk
}

fn read(text: impl AsRef<[u8]>) -> Result<Keys, KeyError> {
    Keys::read(text.as_ref(), None, Origin::File)
}

fn kinds(keys: &Keys) -> Vec<Kind> {
    keys.keys.iter().map(|key| key.kind).collect()
}

#[test]
fn a_public_key_in_pem_is_of_its_own_kind_and_no_other() {
    for (algorithm, kind) in [
        (&PKCS_RSA_SHA256, Kind::Rsa),
        (&PKCS_ECDSA_P256_SHA256, Kind::P256),
        (&PKCS_ECDSA_P384_SHA384, Kind::P384),
        (&PKCS_ED25519, Kind::Ed25519),
    ] {
        let pair = KeyPair::generate_for(algorithm).unwrap();
        let pem = pair.public_key_pem();
        let keys = read(&pem).unwrap();
        assert_eq!(kinds(&keys), [kind]);
        for algorithm in Algorithm::ALL {
            assert_eq!(
                keys.keys[0].fits(algorithm),
                kind.fits(algorithm),
                "{kind:?} {algorithm:?}"
            );
        }
        assert!(!keys.keys[0].fits(Algorithm::HS256), "a public key is no secret");
        assert_eq!(read(pair.serialize_pem()).unwrap_err(), KeyError::Pem, "a private key");
        assert_eq!(read(format!("{pem}\n{pem}")).unwrap_err(), KeyError::Pem, "two keys");
        assert_eq!(read(format!("comment\n{pem}")).unwrap_err(), KeyError::Pem, "no secret either");
        let bare: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        if bare.starts_with("MII") {
            assert_eq!(read(bare).unwrap_err(), KeyError::Format, "PEM without its lines");
        }
    }
}

#[test]
fn a_secret_is_long_and_its_line_break_no_part_of_it() {
    let line = [SECRET, b"\r\n"].concat();
    let (bare, lined) = (read(SECRET).unwrap(), read(line).unwrap());
    let bytes = |keys: &Keys| keys.keys[0].key.try_get_as_bytes().unwrap().to_vec();
    assert_eq!(kinds(&bare), [Kind::Hmac]);
    assert_eq!((bytes(&bare), bytes(&lined)), (SECRET.to_vec(), SECRET.to_vec()));
    assert_eq!(read(&SECRET[1..]).unwrap_err(), KeyError::ShortSecret);
    assert_eq!(read(" \n").unwrap_err(), KeyError::Empty);
    assert_eq!(read([&[0x30, 0x82][..], SECRET].concat()).unwrap_err(), KeyError::Format);
    assert_eq!(Keys::read(SECRET, None, Origin::Url).unwrap_err(), KeyError::Json);
}

#[test]
fn a_jwk_is_for_what_it_says_and_others_of_its_set_are_left_out() {
    let set = json!({ "keys": [
        jwk("good", json!({ "use": "sig", "alg": "ES256", "key_ops": ["verify"] })),
        jwk("encryption", json!({ "use": "enc" })),
        jwk("signing", json!({ "key_ops": ["sign"] })),
        jwk("other-algorithm", json!({ "alg": "ECDH-ES" })),
        jwk("misfit", json!({ "alg": "ES384" })),
        jwk("rsa-in-name", json!({ "alg": "RS256" })),
        jwk("short", json!({ "x": "AA" })),
        { "kty": "unknown", "kid": "unknown" },
        { "kty": "oct", "k": "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE", "kid": "secret" },
        { "kty": "oct", "k": "QUFB", "kid": "short-secret" },
        { "kty": "OKP", "crv": "X25519", "x": "A".repeat(43), "kid": "exchange" },
        7,
    ]})
    .to_string();
    let names =
        |keys: Keys| keys.keys.iter().map(|key| key.id.clone().unwrap()).collect::<Vec<_>>();
    assert_eq!(names(read(&set).unwrap()), ["good".into(), "secret".into()]);
    let fetched = Keys::read(set.as_bytes(), None, Origin::Url).unwrap();
    assert_eq!(names(fetched), ["good".into()], "a secret that is published is none");
}

#[test]
fn json_that_is_no_set_of_keys_is_never_a_secret() {
    for (text, error) in [
        ("{\"a\": \"0123456789abcdef0123456789abcdef\"}".to_owned(), KeyError::Json),
        ("{ not json, but 32 bytes and more of it }".to_owned(), KeyError::Json),
        (json!({ "keys": 7 }).to_string(), KeyError::Json),
        (json!({ "keys": [] }).to_string(), KeyError::NoUsableKey),
        (json!({ "keys": vec![7; MAX_KEYS + 1] }).to_string(), KeyError::TooMany),
    ] {
        assert_eq!(read(&text).unwrap_err(), error, "{text}");
    }
}

#[test]
fn a_token_is_tried_with_the_key_of_its_name_or_with_those_that_have_none() {
    let named = |id| Keys::read(SECRET, id, Origin::File).unwrap();
    let mut keys = named(None);
    keys.extend(named(Some("a")));
    keys.extend(named(Some("a")));
    let count = |id| keys.candidates(id).count();
    assert_eq!((count(None), count(Some("a")), count(Some("../b"))), (1, 2, 1));
    let mut only_named = named(Some("a"));
    only_named.extend(named(Some("b")));
    assert_eq!(
        (only_named.candidates(None).count(), only_named.candidates(Some("c")).count()),
        (0, 0)
    );
    assert!(!format!("{keys:?}").contains("0123"), "nothing of a key is shown");
}
