//! How subjects become channels, and how their messages reach clients that read slowly.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How subjects become channels, and how their messages are treated.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Channels {
    /// Beginning of a subject that is left out of its channel's name: with odin.token. the subject odin.token.BTC.price
    /// is the channel BTC.price. Ends with a dot. Subjects that do not begin with it keep their full name. Default
    /// empty: a channel is named as its subject.
    #[serde(default)]
    #[schemars(length(max = 255))]
    #[x_kube(validation = Rule::new(r"self == '' || self.matches('^[^\\s.*>$][^\\s.*>]*(\\.[^\\s.*>]+)*\\.$')").message(
        "channels.stripPrefix must be whole tokens without wildcards and end with a dot, such as odin.token."
    ))]
    pub strip_prefix: String,
    /// How messages are treated on their way to clients, by channel; the first rule that matches decides (at most 64).
    /// Without one every message is delivered at once, and a client too slow for that is closed with a code that tells
    /// it to come back.
    #[serde(default)]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new(crate::cel::rules_get_their_turn()).message(
        "channels.rules: a rule never gets its turn, since an earlier one matches all of its channels and the first \
         match wins: put narrow rules (BTC.price) before broad ones (*.price, then >)"
    ))]
    pub rules: Vec<ChannelRule>,
}

/// How messages of some channels are treated on their way to clients.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.maxRate) || self.delivery == 'Latest'").message(
    "channels.rules[].maxRate needs delivery: Latest, since what comes faster is left out: set it, or leave maxRate out"
))]
pub struct ChannelRule {
    /// Channels that the rule is for, as clients name them (without stripPrefix); wildcards as in a subscription: * is
    /// one token, > is all that follow, such as BTC.price, *.price or log.> (at most 8 tokens).
    #[serde(rename = "match")]
    #[schemars(schema_with = "crate::schema::channel_pattern")]
    pub pattern: String,
    /// What a client gets that reads slowly, that is: for which more than half of capacity.outboxPerConnection waits.
    /// Every: every message, or it is closed with 4008. Latest: the newest message of each channel, before it a gap
    /// that tells which offsets were skipped. Clients that keep up get every message either way. Default Every.
    #[serde(default)]
    pub delivery: Delivery,
    /// Time that a message may wait for others of the same client, to leave with them in one write, such as 50ms; at
    /// most 1s. It saves CPU, and bytes for clients that ask for batches, and delays each message by up to as much.
    /// Default 0: messages leave at once.
    #[serde(default = "at_once")]
    #[schemars(schema_with = "crate::schema::duration_or_none")]
    #[x_kube(validation = Rule::new("self == '0' || duration(self) <= duration('1s')").message(
        "channels.rules[].batchWindow must be at most 1s, or prices are stale before they leave: 50ms to 250ms saves \
         most of what there is to save"
    ))]
    pub batch_window: String,
    /// The type that odin.v1 clients see on messages whose payload names none of that protocol's (price:update,
    /// trade:executed, volume:update, batch:update, market:stats, heartbeat): letters, digits and . : _ -. Absent:
    /// price:update.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::message_type")]
    pub message_type: Option<String>,
    /// Time in which a message whose payload has a nonce that was there before on the same channel is dropped, such as
    /// 30s; at most 10m. Publishers that send the nonce as Nats-Msg-Id need it not: see stream.duplicateWindow. Default
    /// 0: payloads are not looked at.
    #[serde(default = "at_once")]
    #[schemars(schema_with = "crate::schema::duration_or_none")]
    #[x_kube(validation = Rule::new("self == '0' || duration(self) <= duration('10m')").message(
        "channels.rules[].dedupeWindow must be at most 10m: every nonce is remembered as long"
    ))]
    pub dedupe_window: String,
    /// Most messages of each channel that a client gets in a second, such as 5; 1 to 100, with delivery Latest alone. What
    /// comes faster waits for the end of the interval (200ms with 5), and the newest message then stands for all that were
    /// left out, which a gap before it tells. What a client asks for from before (snapshot, resume, replay) is not slowed
    /// down. Absent: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub max_rate: Option<i32>,
    /// Whether odin.v1 clients get the fields of a payload that is a JSON object in the message itself, beside seq, instead
    /// of under data: for pages of the first Odin servers, which read message.price. What the payload has counts, where
    /// both have a field. Default false.
    #[serde(default)]
    pub flat: bool,
}

/// What a client gets that reads slowly.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// Every message, or the end of the connection.
    #[default]
    Every,
    /// The newest message of each channel, and what was skipped.
    Latest,
}

fn at_once() -> String {
    "0".to_owned()
}
