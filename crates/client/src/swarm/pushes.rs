//! Pushes other than data: few, so they are parsed as JSON.

use serde::Deserialize;

use super::connection::Tally;
use crate::counters::Counters;
use crate::ledger::Ledger;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Push<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    offset: Option<u64>,
    after_ms: Option<u64>,
    #[serde(default)]
    rejected: Vec<serde::de::IgnoredAny>,
}

/// Counts a push, and takes from it what a connection must know.
pub(super) fn count(text: &str, tally: &mut Tally, ledger: &mut Ledger, counters: &mut Counters) {
    let Ok(push) = serde_json::from_str::<Push<'_>>(text) else {
        counters.other += 1;
        return;
    };
    match push.kind {
        "subscription_ack" => {
            counters.acks += 1;
            counters.rejected += push.rejected.len() as u64;
            tally.acks += 1;
            if let Some(offset) = push.offset {
                ledger.acknowledge(offset);
            }
        }
        "unsubscription_ack" => {
            counters.acks += 1;
            tally.acks += 1;
        }
        "error" => {
            counters.errors += 1;
            tally.errors += 1;
        }
        "gap" => counters.admitted_gaps += 1,
        "reconnect" => {
            counters.reconnects += 1;
            tally.reconnect_after_ms = push.after_ms;
        }
        _ => counters.other += 1,
    }
}
