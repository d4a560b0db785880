use wsgateway_access::{Keys, Origin, Verifier};
use wsgateway_config::{Auth, Jwt};

use super::*;

const ALL: [NewKey; 8] = [
    NewKey::EdDsa,
    NewKey::Es256,
    NewKey::Es384,
    NewKey::Rs256,
    NewKey::Ps256,
    NewKey::Hs256,
    NewKey::Hs384,
    NewKey::Hs512,
];

fn verifier(keys: &str) -> Verifier {
    let jwt = Jwt::new(Vec::new(), wsgateway_config::Algorithm::ALL.to_vec());
    let auth = Auth { jwt, anonymous: None, channels: Vec::new() };
    let verifier = Verifier::new(&auth, 0);
    verifier.set_keys(Keys::read(keys.as_bytes(), None, Origin::File).unwrap());
    verifier
}

#[test]
fn a_new_key_of_each_kind_signs_what_a_gateway_verifies_with_its_jwk() {
    let claims = serde_json::from_str(r#"{"sub":"ann"}"#).unwrap();
    for kind in ALL {
        let text = generate(kind, "k1").unwrap();
        let key = SigningKey::read(text.as_bytes(), None).unwrap();
        let token = key.sign(&claims).unwrap();
        let jwk = serde_json::to_string(&key.jwk().unwrap()).unwrap();
        assert!(verifier(&jwk).verify(&token, 1).is_ok(), "{kind:?}");
        // The file itself serves as well.
        assert!(verifier(&text).verify(&token, 1).is_ok(), "{kind:?}");
        let other = generate(kind, "k1").unwrap();
        assert!(verifier(&other).verify(&token, 1).is_err(), "{kind:?}");
    }
}

#[test]
fn nothing_private_is_in_what_is_public() {
    for kind in ALL {
        let text = generate(kind, "k1").unwrap();
        let private: PrivateJwk = serde_json::from_str(&text).unwrap();
        let PrivateJwk { d, k, p, q, dp, dq, qi, .. } = private;
        let private: Vec<String> = [d, k, p, q, dp, dq, qi].into_iter().flatten().collect();
        assert!(!private.is_empty());
        let shows = |text: &str| private.iter().any(|part| text.contains(part));
        let key = SigningKey::read(text.as_bytes(), None).unwrap();
        assert!(!shows(&format!("{key:?}")));
        match key.public() {
            Ok(jwk) => {
                let jwk = serde_json::to_string(&jwk).unwrap();
                assert!(!shows(&jwk) && jwk.contains("\"k1\""), "{jwk}");
            }
            Err(error) => assert_eq!((error, key.is_secret()), (KeyError::Secret, true)),
        }
    }
}

#[test]
fn what_is_no_private_key_is_refused_in_words_without_a_part_of_it() {
    let public = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n";
    for (text, want) in [
        ("sesame-sesame-sesame-sesame-0123", KeyError::NotPrivate),
        (public, KeyError::NotPrivate),
        (r#"{"kty":"OKP","crv":"Ed25519","x":"AAAA"}"#, KeyError::NotPrivate),
        (r#"{"kty":"oct","k":"c2VzYW1l"}"#, KeyError::ShortSecret),
        (r#"{"kty":"RSA","n":"sesame"}"#, KeyError::NotPrivate),
        (
            r#"{"kty":"RSA","n":"c2VzYW1l","e":"AQAB","d":"Aw","p":"Aw","q":"Aw","dp":"Aw","dq":"Aw","qi":"Aw"}"#,
            KeyError::Rsa,
        ),
        (r#"{"kty":"DSA","n":"sesame"}"#, KeyError::Json),
        (r#"{"kty":7,"k":"sesame"}"#, KeyError::Json),
        ("", KeyError::NotPrivate),
    ] {
        let error = SigningKey::read(text.as_bytes(), None).unwrap_err();
        assert_eq!(error, want, "{text}");
        assert!(!error.to_string().contains("sesame"));
    }
}
