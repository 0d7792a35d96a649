use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::super::hash;
use super::*;
use crate::config::AuthConfig;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// `openssl genrsa 2048 | openssl rsa -pubout`; its private half is gone.
const PUBLIC_KEY: &str = include_str!("../../../tests/tokens/rs256.pem");
/// Signed by that private half: role customer, sub ada, valid until the year 2100.
const RS256_TOKEN: &str = include_str!("../../../tests/tokens/rs256.jwt");

fn config(algorithm: JwtAlgorithm) -> JwtConfig {
    JwtConfig {
        algorithm,
        secret: SECRET.into(),
        public_key_file: concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tokens/rs256.pem").into(),
        issuer: "shop".into(),
        audience: "hotstock".into(),
        ..AuthConfig::off().jwt
    }
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn signed(algorithm: &str, claims: &Value, secret: &[u8]) -> String {
    let message = format!(
        "{}.{}",
        part(&json!({ "alg": algorithm, "typ": "JWT" })),
        part(claims)
    );
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))
}

/// Good claims, with some changed; null leaves one out.
fn claims(changed: &Value) -> Value {
    let mut claims = json!({
        "iss": "shop", "aud": "hotstock", "sub": "ada", "role": "customer",
        "exp": get_current_timestamp() + 600, "nbf": get_current_timestamp() - 5,
    });
    for (name, value) in changed.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
        .as_object_mut()
        .unwrap()
        .retain(|_, value| !value.is_null());
    claims
}

fn identify(tokens: &Tokens, token: &str) -> Option<Identity> {
    tokens.identify(token, hash(token))
}

#[test]
fn a_good_token_says_role_and_buyer_also_the_second_time() {
    let tokens = Tokens::new(&config(JwtAlgorithm::HS256)).unwrap();
    let token = signed("HS256", &claims(&json!({ "name": "Ada" })), SECRET.as_bytes());
    for _ in 0..2 {
        let identity = identify(&tokens, &token).unwrap();
        assert_eq!(
            (identity.role, identity.buyer.as_deref()),
            (Role::Customer, Some("ada"))
        );
    }
    let token = signed(
        "HS256",
        &claims(&json!({ "role": "service", "aud": ["x", "hotstock"] })),
        SECRET.as_bytes(),
    );
    let identity = identify(&tokens, &token).unwrap();
    assert_eq!((identity.role, identity.buyer), (Role::Service, None));
}

#[test]
fn a_token_with_anything_wrong_is_refused() {
    let tokens = Tokens::new(&config(JwtAlgorithm::HS256)).unwrap();
    let now = get_current_timestamp();
    for wrong in [
        json!({ "exp": now - 31 }),
        json!({ "exp": null }),
        json!({ "exp": (now + 600).to_string() }),
        json!({ "nbf": now + 60 }),
        json!({ "nbf": "now" }),
        json!({ "iss": "another" }),
        json!({ "iss": null }),
        json!({ "aud": "another" }),
        json!({ "aud": null }),
        json!({ "role": "root" }),
        json!({ "role": null }),
        json!({ "sub": null }),
        json!({ "sub": "" }),
        json!({ "sub": "ada lovelace" }),
        json!({ "sub": "a".repeat(65) }),
    ] {
        let token = signed("HS256", &claims(&wrong), SECRET.as_bytes());
        assert_eq!(identify(&tokens, &token), None, "{wrong}");
    }
    let good = signed("HS256", &claims(&json!({})), SECRET.as_bytes());
    let (message, _) = good.rsplit_once('.').unwrap();
    let none = format!(
        "{}.{}.",
        part(&json!({ "alg": "none" })),
        part(&claims(&json!({})))
    );
    for token in [
        format!("{message}."),
        format!("{good}A"),
        signed(
            "HS256",
            &claims(&json!({})),
            b"another secret, just as long as it",
        ),
        signed("HS384", &claims(&json!({})), SECRET.as_bytes()),
        signed("RS256", &claims(&json!({})), SECRET.as_bytes()),
        none,
        "..".to_owned(),
        "a.b.c".to_owned(),
    ] {
        assert_eq!(identify(&tokens, &token), None, "{token}");
    }
}

#[test]
fn a_token_that_was_good_is_refused_once_it_has_expired() {
    let config = JwtConfig {
        leeway_s: 0,
        ..config(JwtAlgorithm::HS256)
    };
    let tokens = Tokens::new(&config).unwrap();
    let token = signed(
        "HS256",
        &claims(&json!({ "exp": get_current_timestamp() + 600 })),
        SECRET.as_bytes(),
    );
    identify(&tokens, &token).unwrap();
    // As it will be then.
    tokens.good.lock().unwrap().get_mut(&hash(&token)).unwrap().until = get_current_timestamp();
    assert_eq!(identify(&tokens, &token), None);
}

#[test]
fn the_issuers_key_verifies_and_does_not_serve_as_a_secret() {
    let tokens = Tokens::new(&config(JwtAlgorithm::RS256)).unwrap();
    let identity = identify(&tokens, RS256_TOKEN.trim()).unwrap();
    assert_eq!(
        (identity.role, identity.buyer.as_deref()),
        (Role::Customer, Some("ada"))
    );
    let mut forged = RS256_TOKEN.trim().to_owned();
    forged.replace_range(
        forged.len() - 9..forged.len() - 8,
        if forged.as_bytes()[forged.len() - 9] == b'A' {
            "B"
        } else {
            "A"
        },
    );
    assert_eq!(identify(&tokens, &forged), None);
    // The public key is no secret: who knows it must not be able to sign with it.
    for secret in [PUBLIC_KEY, PUBLIC_KEY.trim()] {
        for algorithm in ["HS256", "RS256"] {
            let token = signed(algorithm, &claims(&json!({})), secret.as_bytes());
            assert_eq!(identify(&tokens, &token), None);
        }
    }
    let hs256 = Tokens::new(&config(JwtAlgorithm::HS256)).unwrap();
    assert_eq!(identify(&hs256, RS256_TOKEN.trim()), None);
}

#[test]
fn what_is_remembered_is_bounded() {
    let tokens = Tokens::new(&config(JwtAlgorithm::HS256)).unwrap();
    let identity = Identity {
        role: Role::Service,
        buyer: None,
    };
    for number in 0..REMEMBERED_MAX {
        let good = Good {
            identity: identity.clone(),
            until: u64::MAX,
        };
        tokens
            .good
            .lock()
            .unwrap()
            .insert(hash(&number.to_string()), good);
    }
    let token = signed("HS256", &claims(&json!({})), SECRET.as_bytes());
    identify(&tokens, &token).unwrap();
    assert_eq!(tokens.good.lock().unwrap().len(), 1);
}
