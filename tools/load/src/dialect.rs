//! How other wires than `wsgateway.v1` are heard and spoken.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use wsgateway_client::envelope::number_after;
use wsgateway_client::{Dialect, Heard};
use wsgateway_proto::{odin, symbols, v1};

use crate::book::{Book, Told, channel_number};
use crate::clock::Clock;
use crate::path;
use crate::plan::{Language, Raw, Wire, WorkerPlan};

/// `Sec-WebSocket-Protocol` of a wire.
pub(crate) fn protocol(wire: &Wire) -> Option<String> {
    match wire.language() {
        _ if wire.is_http() => None,
        Language::V1 => Some(v1::PROTOCOL.to_owned()),
        Language::Odin => Some(odin::PROTOCOL.to_owned()),
        Language::Symbols => Some(symbols::PROTOCOL.to_owned()),
        Language::Raw(raw) => raw.protocol.clone(),
    }
}

/// What a client says first; nothing for `wsgateway.v1`, whose subscription may resume.
pub(crate) fn opening(plan: &WorkerPlan, client: u32) -> Vec<String> {
    let names = plan.channels.names_of(client);
    match plan.wire.language() {
        Language::V1 => Vec::new(),
        Language::Odin => vec![json!({ "type": "subscribe", "channels": names }).to_string()],
        Language::Symbols => vec![json!({ "action": "subscribe", "symbols": names }).to_string()],
        Language::Raw(Raw { subscribe: Some(template), .. }) => {
            let fill = |name: &String| filled(template, name, client);
            names.iter().map(fill).collect()
        }
        Language::Raw(_) => Vec::new(),
    }
}

fn filled(template: &str, channel: &str, client: u32) -> String {
    template.replace("{channel}", channel).replace("{client}", &client.to_string())
}

/// Hears a wire; `None` for `wsgateway.v1`, which the clients know by themselves.
pub(crate) fn dialect(
    plan: &WorkerPlan,
    book: &Arc<Mutex<Book>>,
    clock: Clock,
) -> Option<Box<dyn Dialect>> {
    (!plan.wire.is_v1()).then(|| {
        let ear = Ear { plan: plan.clone(), book: Arc::clone(book), clock };
        Box::new(ear) as Box<dyn Dialect>
    })
}

struct Ear {
    plan: WorkerPlan,
    book: Arc<Mutex<Book>>,
    clock: Clock,
}

impl Dialect for Ear {
    fn acknowledgements(&self) -> u64 {
        u64::from(!matches!(self.plan.wire, Wire::Raw(_)))
    }

    fn hear(&self, bytes: &[u8], heard: &mut Heard<'_>) -> usize {
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        match self.plan.wire.language() {
            Language::V1 => heard.other(),
            Language::Odin => self.odin(text, heard),
            Language::Symbols => self.symbols(text, heard),
            Language::Raw(raw) => self.raw(raw, text, heard),
        }
        bytes.len()
    }
}

impl Ear {
    fn enter(&self, told: &Told<'_>, heard: &mut Heard<'_>) {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        book.message(heard.number(), told, self.clock.now_ns());
        drop(book);
        heard.delivery(told.text.as_bytes());
    }

    fn acknowledged(&self, heard: &mut Heard<'_>) {
        let channels: Vec<u32> = self.plan.channels.of(self.plan.client(heard.number())).collect();
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        book.acknowledged(heard.number(), &channels, self.clock.now_ns());
        drop(book);
        heard.acknowledgement();
    }

    fn odin(&self, text: &str, heard: &mut Heard<'_>) {
        if text.starts_with("{\"seq\":") {
            let sequence = number_after(text, "\"seq\":").map(|number| (0, number));
            let time_ns = number_after(text, "\"ts\":").and_then(|ms| ms.checked_mul(1_000_000));
            self.enter(&Told { text, time_ns, sequence }, heard);
        } else if text.starts_with("{\"type\":\"subscription_ack\"") {
            self.acknowledged(heard);
        } else if text.starts_with("{\"type\":\"error\"") {
            heard.error();
        } else {
            let ts = number_after(text, "\"ts\":").and_then(|ts| i64::try_from(ts).ok());
            if let Some(ts) = ts.filter(|_| text.starts_with("{\"type\":\"pong\"")) {
                let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
                book.pong(ts, self.clock.now_ns());
            }
            heard.other();
        }
    }

    fn symbols(&self, text: &str, heard: &mut Heard<'_>) {
        if text.starts_with("{\"type\":\"trade\"") {
            // The last timestamp is the gateway's; one before it belongs to the payload.
            let at = text.rfind("\"timestamp\":").and_then(|at| text.get(at..));
            let time = at.and_then(|text| number_after(text, "\"timestamp\":"));
            let time_ns = time.and_then(|ms| ms.checked_mul(1_000_000));
            self.enter(&Told { text, time_ns, sequence: None }, heard);
        } else if text.starts_with("{\"type\":\"success\"") {
            self.acknowledged(heard);
        } else if text.starts_with("{\"type\":\"error\"") {
            heard.error();
        } else {
            heard.other();
        }
    }

    fn raw(&self, raw: &Raw, text: &str, heard: &mut Heard<'_>) {
        let mut told = Told { text, ..Told::default() };
        if (raw.sequence.is_some() || raw.time.is_some())
            && let Ok(value) = serde_json::from_str::<Value>(text)
        {
            let channel = raw.channel.as_ref().and_then(|path| path::text(&value, path));
            let channel = channel.map_or(0, |name| channel_number(&name));
            let number = raw.sequence.as_ref().and_then(|path| path::number(&value, path, 1));
            told.sequence = number.map(|number| (channel, number));
            told.time_ns =
                raw.time.as_ref().and_then(|path| path::number(&value, path, raw.unit_ns.max(1)));
        }
        self.enter(&told, heard);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::tests::plan;

    #[test]
    fn each_wire_asks_for_its_channels_in_its_own_words() {
        let said = |wire| opening(&WorkerPlan { wire, ..plan(1) }, 0);
        assert_eq!(said(Wire::Odin), [r#"{"channels":["a"],"type":"subscribe"}"#]);
        assert_eq!(said(Wire::Symbols), [r#"{"action":"subscribe","symbols":["a"]}"#]);
        let template = Some(r#"{"sub":"{channel}","id":{client}}"#.to_owned());
        let raw = Wire::Raw(Raw { subscribe: template, ..Raw::default() });
        assert_eq!(said(raw), [r#"{"sub":"a","id":0}"#]);
        assert!(said(Wire::Raw(Raw::default())).is_empty() && said(Wire::V1).is_empty());
    }
}
