//! Schemas of `spec.auth`.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::json;
use wsgateway_config::Algorithm;

use super::{matches_rule, matching};

/// Printable ASCII: what claims, issuers and ids of keys are made of.
const NAME: &str = "^[ -~]+$";

/// Longest value of a condition in characters, each of up to four bytes: 255 bytes at most, as the gateway wants it.
const VALUE: u32 = 63;

/// Up to 16 tokens with wildcards; `{sub}` and `{claims.NAME}` stand in or between their letters.
const TEMPLATE: &str = r"^((([^\s.*>{}]|[{](sub|claims[.][-A-Za-z0-9_:/.]+)[}])+|\*)\.){0,15}(([^\s.*>{}]|[{](sub|claims[.][-A-Za-z0-9_:/.]+)[}])+|\*|>)$";

pub(crate) fn issuer(_: &mut SchemaGenerator) -> Schema {
    matching(
        NAME,
        255,
        "write the iss of your tokens, such as https://login.example.com/: printable ASCII",
    )
}

pub(crate) fn audience(_: &mut SchemaGenerator) -> Schema {
    let item = matching(NAME, 255, "write an aud of your tokens, such as prices: printable ASCII");
    json_schema!({ "type": "array", "maxItems": 16, "items": item, "x-kubernetes-list-type": "set" })
}

pub(crate) fn algorithms(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "minItems": 1,
        "maxItems": Algorithm::ALL.len(),
        "items": {
            "type": "string",
            "description": "How a token is signed (RFC 7518, RFC 8037).",
            "enum": Algorithm::ALL,
        },
    })
}

pub(crate) fn claim(_: &mut SchemaGenerator) -> Schema {
    matching(NAME, 255, "write the name of a claim, such as sub: printable ASCII")
}

pub(crate) fn cookie(_: &mut SchemaGenerator) -> Schema {
    matching(
        r"^[-!#$%&*+.^_`|~0-9A-Za-z]+$",
        64,
        "write the name of a cookie, such as __Host-token: letters, digits and - . _",
    )
}

pub(crate) fn key_id(_: &mut SchemaGenerator) -> Schema {
    matching(NAME, 255, "write the kid of the tokens that this key verifies: printable ASCII")
}

pub(crate) fn jwks_url(_: &mut SchemaGenerator) -> Schema {
    matching(
        r"^https?://([A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?|\[[0-9a-fA-F:.]+\])(:[1-9][0-9]{0,4})?(/[-A-Za-z0-9._~/%:@!$&*+,;=?()]*)?$",
        1024,
        "write the address of the issuer's keys, such as https://login.example.com/.well-known/jwks.json, without user or \
         password",
    )
}

pub(crate) fn anonymous_channels(_: &mut SchemaGenerator) -> Schema {
    let item = matching(
        r"^(([^\s.*>]+|\*)\.){0,15}([^\s.*>]+|\*|>)$",
        255,
        "write a channel as clients name it, with * for one token and > only as the last one, such as public.> (at most \
         16 tokens)",
    );
    json_schema!({ "type": "array", "maxItems": 64, "items": item, "x-kubernetes-list-type": "set" })
}

pub(crate) fn rule_template(_: &mut SchemaGenerator) -> Schema {
    matching(
        TEMPLATE,
        255,
        "write a channel as clients name it, in which {sub} and {claims.NAME} stand for what the token says, such as \
         user.{sub}.> or desk.{claims.desk}.* (at most 16 tokens)",
    )
}

pub(crate) fn conditions(_: &mut SchemaGenerator) -> Schema {
    let message = "write a text of 1 to 63 characters, such as trader";
    json_schema!({
        "type": "object",
        "maxProperties": 8,
        "additionalProperties": {
            "type": "string",
            "minLength": 1,
            "maxLength": VALUE,
            "x-kubernetes-validations": [matches_rule(r"^\P{Cc}+$", message)],
        },
        "x-kubernetes-validations": [json!({
            "rule": format!("self.all(claim, claim.size() <= 255 && claim.matches('{NAME}'))"),
            "message": "auth.channels[].if names claims, such as role: 1 to 255 characters of printable ASCII",
        })],
    })
}
