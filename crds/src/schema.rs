//! Schemas used by more than one field: strings with a unit, subjects, quantities of resources.
//!
//! Patterns are for tools that read the schema; the CEL rule beside each says in words what to write.

pub(crate) mod auth;
pub(crate) mod expose;

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};
use wsgateway_config::{HOST_HINT, MAX_NETWORKS, MAX_ORIGIN_BYTES, MAX_ORIGINS, ORIGIN_HINT};

use crate::cel::MAX_TOKENS;

/// Units as `time.ParseDuration` and CEL's `duration()` know them.
const DURATION: &str = "[1-9][0-9]{0,8}(ms|s|m|h)";
const SIZE: &str = "[1-9][0-9]{0,11}(Ki|Mi|Gi|Ti)?";
/// First token plain and not one of the server's own (`$JS`, `$SYS`): NATS refuses streams over those.
pub(crate) const SUBJECT: &str = r"^[^\s.*>$][^\s.*>]*(\.([^\s.*>]+|\*))*(\.>)?$";

/// An amount of a resource; the API server has no better message for numbers that may be strings.
const QUANTITY: &str =
    r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][-+]?[0-9]{1,2})?$";

fn matching(pattern: &str, max_length: u32, message: &str) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 1,
        "maxLength": max_length,
        "pattern": pattern,
        "x-kubernetes-validations": [matches_rule(pattern, message)],
    })
}

fn matches_rule(pattern: &str, message: &str) -> Value {
    let escaped = pattern.replace('\\', r"\\");
    json!({ "rule": format!("self.matches('{escaped}')"), "message": message })
}

/// A duration that may be 0 for "unlimited".
pub(crate) fn duration_or_zero(_: &mut SchemaGenerator) -> Schema {
    let message = "write a number and a unit, such as 500ms, 30s, 10m or 24h, or 0 for no limit";
    matching(&format!("^(0|{DURATION})$"), 16, message)
}

/// A duration that may be 0 for "none".
pub(crate) fn duration_or_none(_: &mut SchemaGenerator) -> Schema {
    let message = "write a number and a unit, such as 50ms or 1s, or 0 for none";
    matching(&format!("^(0|{DURATION})$"), 16, message)
}

/// A duration above 0.
pub(crate) fn duration(_: &mut SchemaGenerator) -> Schema {
    matching(
        &format!("^{DURATION}$"),
        16,
        "write a number and a unit, such as 500ms, 30s, 10m or 24h",
    )
}

/// An amount of bytes that may be 0 for "unlimited".
pub(crate) fn size_or_zero(_: &mut SchemaGenerator) -> Schema {
    let message = "write bytes with or without a binary unit, such as 4096, 64Ki, 50Mi or 2Gi, or 0 for no limit";
    matching(&format!("^(0|{SIZE})$"), 16, message)
}

/// An amount of bytes above 0.
pub(crate) fn size(_: &mut SchemaGenerator) -> Schema {
    let message = "write bytes with or without a binary unit, such as 4096, 64Ki or 1Mi";
    matching(&format!("^{SIZE}$"), 16, message)
}

/// Channels of a rule.
pub(crate) fn channel_pattern(_: &mut SchemaGenerator) -> Schema {
    let last = MAX_TOKENS - 1;
    let pattern = format!(r"^(([^\s.*>]+|\*)\.){{0,{last}}}([^\s.*>]+|\*|>)$");
    matching(
        &pattern,
        255,
        "write a channel as clients name it, with * for one token and > only as the last one, such as BTC.price, \
         *.price or log.> (at most 8 tokens)",
    )
}

/// A message type that odin.v1 clients see.
pub(crate) fn message_type(_: &mut SchemaGenerator) -> Schema {
    let message = "write 1 to 64 letters, digits and . : _ - only, such as trade:executed";
    matching("^[-A-Za-z0-9.:_]+$", 64, message)
}

/// Channels of a token.
pub(crate) fn odin_template(_: &mut SchemaGenerator) -> Schema {
    matching(
        r"^(([^\s.:*>{}]+|\*)[.:])*[^\s.:*>{}]*[{]token[}][^\s.:*>{}]*([.:]([^\s.:*>{}]+|\*))*([.:]>)?$",
        255,
        "write a channel or pattern with {token} in it once, such as {token}.> or {token}.update",
    )
}

/// Channel of a symbol.
pub(crate) fn symbols_template(_: &mut SchemaGenerator) -> Schema {
    matching(
        r"^([^\s.:*>{}]+[.:])*[^\s.:*>{}]*[{]symbol[}][^\s.:*>{}]*([.:][^\s.:*>{}]+)*$",
        255,
        "write a channel without wildcards and with {symbol} in it once, such as {symbol}.trade",
    )
}

/// Channels that clients have from the start.
pub(crate) fn initial_channels(_: &mut SchemaGenerator) -> Schema {
    let item = matching(
        r"^(([^\s.*>]+|\*)\.)*([^\s.*>]+|\*|>)$",
        255,
        "write a channel as clients name it, with * for one token and > only as the last one, such as *.price or >",
    );
    json_schema!({
        "type": "array",
        "maxItems": 64,
        "items": item,
        "x-kubernetes-list-type": "set",
    })
}

/// Subjects of a stream: a set, none of which swallows another.
pub(crate) fn subjects(_: &mut SchemaGenerator) -> Schema {
    let mut item = matching(
        SUBJECT,
        255,
        "write a NATS subject such as odin.token.>: tokens between dots, * alone as a token, > only as the last one, \
         and a plain first token that does not begin with $",
    );
    item.remove("minLength");
    json_schema!({
        "type": "array",
        "minItems": 1,
        "maxItems": 32,
        "items": item,
        "x-kubernetes-list-type": "set",
        "x-kubernetes-validations": [{
            "rule": "self.all(a, self.all(b, a == b || !a.endsWith('.>') || \
                     !b.startsWith(a.substring(0, a.size() - 1))))",
            "message": "one subject covers another, which NATS refuses: drop the narrower one (odin.> already holds \
                        odin.token.>)",
        }],
    })
}

/// Addresses of NATS servers.
pub(crate) fn servers(_: &mut SchemaGenerator) -> Schema {
    addresses(
        r"^(nats|tls)://([A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?|\[[0-9a-fA-F:.]+\])(:[1-9][0-9]{0,4})?$",
        "write nats://host:port or tls://host:port, such as nats://nats.messaging:4222, without user, password or path",
    )
}

/// Up to 16 addresses, each once.
fn addresses(pattern: &str, message: &str) -> Schema {
    json_schema!({
        "type": "array",
        "minItems": 1,
        "maxItems": 16,
        "items": matching(pattern, 255, message),
        "x-kubernetes-list-type": "set",
    })
}

/// Networks in CIDR notation; whether an address is one is checked by the operator.
pub(crate) fn networks(_: &mut SchemaGenerator) -> Schema {
    set_of(32, network())
}

/// As many as a content delivery network has.
pub(crate) fn entry_networks(_: &mut SchemaGenerator) -> Schema {
    set_of(MAX_NETWORKS, network())
}

fn network() -> Schema {
    matching(
        r"^([0-9]{1,3}([.][0-9]{1,3}){3}/[0-9]{1,2}|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*/[0-9]{1,3})$",
        64,
        "write an address, a slash and a number of bits, such as 10.0.0.0/8 or fd00::/8",
    )
}

/// A host, or every name below a domain.
const HOST: &str = r"(([*][.])?[a-z0-9_-]+([.][a-z0-9_-]+)*|\[[0-9a-f:.]+\])";

/// Origins of pages.
pub(crate) fn origins(_: &mut SchemaGenerator) -> Schema {
    let pattern = format!("^[a-z][a-z0-9+.-]*://{HOST}(:[1-9][0-9]{{0,4}})?$");
    let mut item = matching(&pattern, MAX_ORIGIN_BYTES as u32, ORIGIN_HINT);
    let usual_port = json!({
        "rule": "!(self.startsWith('https://') && self.endsWith(':443')) && \
                 !(self.startsWith('http://') && self.endsWith(':80'))",
        "message": "browsers leave the usual port out: write https://app.example.com without :443, and http:// without :80",
    });
    if let Some(Value::Array(rules)) = item.get_mut("x-kubernetes-validations") {
        rules.push(usual_port);
    }
    set_of(MAX_ORIGINS, item)
}

/// Hosts of requests.
pub(crate) fn hosts(_: &mut SchemaGenerator) -> Schema {
    set_of(MAX_ORIGINS, matching(&format!("^{HOST}$"), MAX_ORIGIN_BYTES as u32, HOST_HINT))
}

/// Names of namespaces.
pub(crate) fn namespaces(_: &mut SchemaGenerator) -> Schema {
    let message = "write the name of a namespace, such as ingress-nginx";
    set_of(32, matching("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", 63, message))
}

/// Up to so many different ones.
fn set_of(most: usize, item: Schema) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": most,
        "items": item,
        "x-kubernetes-list-type": "set",
    })
}

/// A JetStream domain: one token of a subject.
pub(crate) fn jetstream_domain(_: &mut SchemaGenerator) -> Schema {
    matching("^[-_A-Za-z0-9]+$", 64, "write letters, digits, - and _, such as hub")
}

/// What subjects begin with: whole tokens without wildcards, and no dot at the end.
pub(crate) fn subject_prefix(_: &mut SchemaGenerator) -> Schema {
    matching(
        r"^[-_$A-Za-z0-9]+(\.[-_$A-Za-z0-9]+)*$",
        128,
        "write letters, digits, - _ and $ between dots, without a dot at the end, such as $JS.hub.API or _INBOX_odin",
    )
}

/// Name of an object (RFC 1123): labels between dots.
pub(crate) fn object_name(message: &str) -> Schema {
    const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
    matching(&format!(r"^{LABEL}(\.{LABEL})*$"), 253, message)
}

/// Name of a Secret.
pub(crate) fn secret_name(_: &mut SchemaGenerator) -> Schema {
    object_name("write the name of a Secret in this namespace, such as odin-nats")
}

/// Name of a PriorityClass.
pub(crate) fn priority_class(_: &mut SchemaGenerator) -> Schema {
    object_name("write the name of a PriorityClass, such as system-cluster-critical")
}

/// Name of a ServiceAccount.
pub(crate) fn service_account(_: &mut SchemaGenerator) -> Schema {
    object_name("write the name of a ServiceAccount in this namespace, such as odin")
}

/// Key in a Secret.
pub(crate) fn secret_key(_: &mut SchemaGenerator) -> Schema {
    matching(
        "^[.]?[-_a-zA-Z0-9][-._a-zA-Z0-9]*$",
        253,
        "write a key of that Secret, such as nats.creds: letters, digits, - . and _",
    )
}

/// Addresses of Redis servers.
pub(crate) fn redis_servers(_: &mut SchemaGenerator) -> Schema {
    addresses(
        r"^rediss?://([A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?|\[[0-9a-fA-F:.]+\])(:[1-9][0-9]{0,4})?$",
        "write redis://host:port, or rediss://host:port for TLS, such as redis://redis.cache:6379, without user, \
         password, path or database",
    )
}

/// Address of a Prometheus.
pub(crate) fn prometheus_address(_: &mut SchemaGenerator) -> Schema {
    matching(
        r"^https?://([A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?|\[[0-9a-fA-F:.]+\])(:[1-9][0-9]{0,4})?(/[-A-Za-z0-9._~/]*)?$",
        255,
        "write http://host:port, or https://host:port for TLS, with a path if there is one, such as \
         http://prometheus.monitoring:9090, without user, password or query",
    )
}

/// Channels of Redis: any text, since Redis takes any bytes.
pub(crate) fn redis_channels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "minItems": 1,
        "maxItems": 32,
        "items": { "type": "string", "minLength": 1, "maxLength": 255 },
        "x-kubernetes-list-type": "set",
    })
}

/// Replicas of a stream: what a RAFT group can use.
pub(crate) fn stream_replicas(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "format": "int32", "enum": [1, 3, 5] })
}

/// Amounts by resource name, as in a container's `resources`.
pub(crate) fn amounts(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": {
            "x-kubernetes-int-or-string": true,
            "maxLength": 32,
            "pattern": QUANTITY,
        },
    })
}

/// Labels of an object.
pub(crate) fn labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": { "type": "string", "maxLength": 63 },
    })
}

/// Annotations of an object.
pub(crate) fn annotations(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": { "type": "string", "maxLength": 4096 },
    })
}

/// An affinity: its schema would be as large as all the rest, so `validate` reads it.
pub(crate) fn affinity(_: &mut SchemaGenerator) -> Schema {
    open_object(3)
}

/// A part of a pod template.
pub(crate) fn pod_template(_: &mut SchemaGenerator) -> Schema {
    open_object(2)
}

/// An object whose fields the API server keeps as they are.
fn open_object(most_fields: u32) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": most_fields,
        "x-kubernetes-preserve-unknown-fields": true,
    })
}
