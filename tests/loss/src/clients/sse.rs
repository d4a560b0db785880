//! Clients that come by server-sent events, with the same cursor: `GET /sse?channels=…` and `Last-Event-ID`.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};
use wsgateway_client::envelope;

use crate::meter::Shared;

/// Longest wait before the first new attempt, and before any.
const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(5);

/// Longest wait for the acknowledgement of an attempt.
const PATIENCE: Duration = Duration::from_secs(15);

/// Bytes of one event at most.
const MAX_EVENT: usize = 1 << 20;

/// The clients' tasks; dropping it ends them.
#[derive(Debug)]
pub struct Clients {
    _tasks: JoinSet<()>,
}

impl Clients {
    /// Starts a client for each set of patterns; their numbers count from `first`.
    pub fn start(
        address: SocketAddr,
        first: usize,
        patterns: &[Vec<String>],
        resume: bool,
        meter: &Shared,
    ) -> Self {
        let mut tasks = JoinSet::new();
        for (number, patterns) in (first..).zip(patterns) {
            let path = format!("/sse?channels={}", escaped(&patterns.join(",")));
            let meter = meter.clone();
            let client = Client { number, path, resume, meter, cursor: None, advice: None };
            tasks.spawn(client.run(address));
        }
        Self { _tasks: tasks }
    }
}

/// A query value: only what patterns hold beside letters and digits needs it.
fn escaped(text: &str) -> String {
    text.replace('>', "%3E").replace('*', "%2A")
}

struct Client {
    number: usize,
    path: String,
    resume: bool,
    meter: Shared,
    /// The last `id`.
    cursor: Option<String>,
    /// What a `reconnect` event said.
    advice: Option<Duration>,
}

impl Client {
    async fn run(mut self, address: SocketAddr) {
        let mut failures = 0;
        loop {
            let mut live = false;
            // Whatever it was: the next attempt tells.
            drop(self.session(address, &mut live).await);
            self.meter.lock().ended(self.number, live.then_some(1006), Instant::now());
            failures = if live { 0 } else { failures + 1 };
            let limit = FIRST.saturating_mul(1 << failures.min(10)).min(LONGEST);
            let wait = self.advice.take().unwrap_or_else(|| limit.mul_f64(fastrand::f64()));
            sleep(wait).await;
        }
    }

    /// One connection, until it ends.
    async fn session(&mut self, address: SocketAddr, live: &mut bool) -> Result<()> {
        let (mut response, _connection) = timeout(PATIENCE, self.open(address)).await??;
        let mut events = Events::default();
        loop {
            let chunk = match *live {
                true => response.frame().await,
                false => timeout(PATIENCE, response.frame()).await?,
            };
            let Some(chunk) = chunk else { return Ok(()) };
            if let Ok(bytes) = chunk?.into_data() {
                events.push(&bytes)?;
            }
            while let Some(event) = events.next() {
                *live |= self.heard(&event)?;
            }
        }
    }

    async fn open(&self, address: SocketAddr) -> Result<(Response<Incoming>, Connection)> {
        let socket = TcpStream::connect(address).await?;
        let io = TokioIo::new(socket);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
        let connection = Connection(tokio::spawn(async { drop(connection.await) }).abort_handle());
        let mut request = Request::get(&self.path).header("host", address.to_string());
        if let Some(cursor) = self.cursor.as_ref().filter(|_| self.resume) {
            request = request.header("last-event-id", cursor);
        }
        let response = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
        ensure!(response.status() == 200, "refused with {}", response.status());
        Ok((response, connection))
    }

    /// Enters an event; true when it is the acknowledgement.
    fn heard(&mut self, event: &Event) -> Result<bool> {
        let now = Instant::now();
        let mut acknowledged = false;
        match event.kind.as_str() {
            // Only a younger cursor.
            "" if event.data.is_empty() => {}
            "" | "message" => {
                let envelope = envelope::scan(&event.data).context("no message")?;
                let (channel, rest) = (envelope.channel, envelope.rest);
                self.meter.lock().message(self.number, channel, rest, envelope.offset, now);
            }
            kind => {
                let push: Push = serde_json::from_str(&event.data)?;
                match kind {
                    "subscription_ack" => {
                        let rejected = push.rejected.len() as u64;
                        self.meter.lock().acknowledged(self.number, push.offset, rejected, now);
                        acknowledged = true;
                    }
                    "gap" => {
                        let range = (push.from, push.to);
                        self.meter.lock().told(self.number, &push.channel, range, &push.reason);
                    }
                    "reconnect" => self.advice = Some(Duration::from_millis(push.after_ms)),
                    _ => {}
                }
            }
        }
        if event.id.is_some() {
            self.cursor.clone_from(&event.id);
        }
        Ok(acknowledged)
    }
}

/// The task of an HTTP connection.
struct Connection(AbortHandle);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What events other than messages may hold.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Push {
    channel: String,
    offset: u64,
    from: u64,
    to: u64,
    reason: String,
    after_ms: u64,
    rejected: Vec<serde::de::IgnoredAny>,
}

/// One server-sent event.
#[derive(Debug, Default, PartialEq, Eq)]
struct Event {
    kind: String,
    id: Option<String>,
    data: String,
}

/// Bytes that become events at empty lines.
#[derive(Debug, Default)]
struct Events {
    bytes: Vec<u8>,
    done: usize,
    event: Event,
}

impl Events {
    fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes.drain(..std::mem::take(&mut self.done));
        self.bytes.extend_from_slice(bytes);
        ensure!(self.bytes.len() <= MAX_EVENT, "an event of more than {MAX_EVENT} bytes");
        Ok(())
    }

    fn next(&mut self) -> Option<Event> {
        loop {
            let rest = self.bytes.get(self.done..)?;
            let end = rest.iter().position(|byte| *byte == b'\n')?;
            let line = String::from_utf8_lossy(rest.get(..end)?).into_owned();
            self.done += end + 1;
            let line = line.trim_end_matches('\r');
            if line.is_empty() {
                let event = std::mem::take(&mut self.event);
                if event != Event::default() {
                    return Some(event);
                }
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => self.event.kind = value.to_owned(),
                "id" => self.event.id = Some(value.to_owned()),
                "data" => self.event.data.push_str(value),
                // Comments keep the line open; the rest is not ours.
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_put_together_from_bytes_cut_anywhere() {
        let text = ": hello\n\nevent: gap\nid: e:7\ndata: {\"a\":1}\n\ndata: {}\r\n\r\n";
        let gap = Event { kind: "gap".into(), id: Some("e:7".into()), data: "{\"a\":1}".into() };
        let message = Event { data: "{}".into(), ..Event::default() };
        for cut in 1..text.len() {
            let mut events = Events::default();
            let mut got = Vec::new();
            for part in text.as_bytes().chunks(cut) {
                events.push(part).unwrap();
                got.extend(std::iter::from_fn(|| events.next()));
            }
            assert_eq!(
                got,
                [&gap, &message].map(|event| Event {
                    kind: event.kind.clone(),
                    id: event.id.clone(),
                    data: event.data.clone(),
                }),
                "{cut}"
            );
        }
    }

    #[test]
    fn an_id_without_data_is_a_younger_cursor_and_no_message() {
        let meter = Shared::new(vec!["a".into()], &[vec!["a".into()]]);
        let path = String::new();
        let mut client =
            Client { number: 0, path, resume: true, meter, cursor: None, advice: None };
        let id = Some("e:7".to_owned());
        let heard = client.heard(&Event { id: id.clone(), ..Event::default() });
        assert!(!heard.unwrap());
        assert_eq!(client.cursor, id);
    }
}
