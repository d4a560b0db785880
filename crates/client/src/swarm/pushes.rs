//! Pushes other than data: few, so they are parsed as JSON.

use std::borrow::Cow;

use serde::Deserialize;

use super::hear::Ear;
use super::observer::{Acknowledgement, Gap};
use super::record::Record;
use crate::counters::bounded;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Push<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    offset: Option<u64>,
    recovered: Option<bool>,
    count: Option<u64>,
    after_ms: Option<u64>,
    #[serde(default, borrow)]
    epoch: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    channel: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    reason: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    code: Option<Cow<'a, str>>,
    ts: Option<i64>,
    from: Option<u64>,
    to: Option<u64>,
    #[serde(default)]
    rejected: Vec<serde::de::IgnoredAny>,
    rejected_count: Option<u64>,
}

/// Counts a push, and takes from it what a connection must know.
pub(super) fn count(text: &str, ear: &mut Ear<'_>, record: &mut Record) {
    let Ok(push) = serde_json::from_str::<Push<'_>>(text) else {
        record.counters.other += 1;
        return;
    };
    match push.kind {
        "connection:established" => {
            record.counters.other += 1;
            ear.place.greeted = push.epoch.and_then(|epoch| record.epochs.number(&epoch));
        }
        "subscription_ack" => acknowledged(&push, ear, record),
        "unsubscription_ack" => {
            record.counters.acks += 1;
            ear.tally.acks += 1;
        }
        "error" => {
            record.counters.errors += 1;
            ear.tally.errors += 1;
            let code = push.code.unwrap_or_default();
            bounded(&mut record.counters.error_codes, &code, 1);
            record.last_error = Some(format!("the server says {code}"));
        }
        "gap" => {
            record.counters.admitted_gaps += 1;
            if let Some(observer) = &mut record.observer {
                observer.gap(
                    ear.number,
                    &Gap {
                        channel: push.channel.as_deref().unwrap_or_default(),
                        from: push.from.unwrap_or_default(),
                        to: push.to.unwrap_or_default(),
                        reason: push.reason.as_deref().unwrap_or_default(),
                    },
                );
            }
        }
        "reconnect" => {
            record.counters.reconnects += 1;
            ear.tally.reconnect_after_ms = push.after_ms;
        }
        "pong" => {
            record.counters.other += 1;
            if let (Some(observer), Some(ts)) = (&mut record.observer, push.ts) {
                observer.pong(ear.number, ts);
            }
        }
        _ => record.counters.other += 1,
    }
}

fn acknowledged(push: &Push<'_>, ear: &mut Ear<'_>, record: &mut Record) {
    let rejected = push.rejected_count.unwrap_or(push.rejected.len() as u64);
    record.counters.acks += 1;
    record.counters.rejected += push.rejected.len() as u64;
    ear.tally.acks += 1;
    // From here on the cursor is one of the stream that the greeting named.
    ear.place.cursor = ear.place.greeted;
    match push.offset {
        Some(offset) if push.recovered == Some(false) => ear.ledger.restart(offset),
        Some(offset) => ear.ledger.acknowledge(offset),
        None => {}
    }
    if let Some(observer) = &mut record.observer {
        let Push { offset, recovered, count, .. } = *push;
        let count = count.unwrap_or_default();
        observer.acknowledged(ear.number, &Acknowledgement { offset, recovered, count, rejected });
    }
}
