//! `wsgw doctor`: what is wrong between here and a gateway, step by step, and what to do.
//!
//! The thin shell: each step does its I/O within a time of its own and hands what it saw to [`judge`]. Steps that cannot work
//! any more after one that failed are left out. No token and no query of an address is in a report.

mod http;
mod judge;
mod report;

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, timeout};
use tokio_rustls::client::TlsStream;

use crate::cli::DoctorArgs;
use crate::error::Error;
use crate::output::print;
use crate::sub::{SubError, token};
use crate::token::now_ms;
use crate::wire::socket::{Asks, Received, Socket};
use crate::wire::{self, Io, Target, dial};
use http::{Answer, Until};
use report::{Check, Report, Verdict};

/// Heard by nobody: an event stream has to name a channel.
const NOBODYS: &str = "wsgw.doctor";

/// What was found wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DoctorError {
    #[error("{0} of {1} checks failed")]
    Failed(usize, usize),
}

pub(crate) async fn run(options: &DoctorArgs) -> Result<(), Error> {
    let target = Target::parse(&options.connect.url).map_err(SubError::from)?;
    let token = token(&options.connect)?;
    let mut doctor = Doctor { options, target, token, checks: Vec::new() };
    tokio::select! {
        outcome = doctor.examine() => outcome?,
        _ = tokio::signal::ctrl_c() => {}
    }
    let failed = doctor.checks.iter().filter(|check| check.verdict == Verdict::Fail).count();
    if options.json {
        let (url, checks) = (doctor.target.to_string(), doctor.checks.as_slice());
        let report = Report { url, ok: failed == 0, checks };
        let text =
            serde_json::to_string_pretty(&report).map_err(|error| Error::Write(error.into()))?;
        print(&(text + "\n"))?;
    }
    match failed {
        0 => Ok(()),
        failed => Err(DoctorError::Failed(failed, doctor.checks.len()).into()),
    }
}

struct Doctor<'a> {
    options: &'a DoctorArgs,
    target: Target,
    token: Option<String>,
    checks: Vec<Check>,
}

impl Doctor<'_> {
    /// At once, since later steps wait.
    fn note(&mut self, check: Check) -> Result<(), Error> {
        if !self.options.json {
            print(&check.lines())?;
        }
        self.checks.push(check);
        Ok(())
    }

    async fn examine(&mut self) -> Result<(), Error> {
        if self.target.has_token() {
            self.note(Check::warn(
                "address",
                "the token stands in the address, which proxies and browsers keep in logs",
                "show it with --token-file, and in a browser with the subprotocol bearer.TOKEN",
            ))?;
        }
        if !self.reach().await? {
            return Ok(());
        }
        let clock = self.plain().await?;
        let Some((mut socket, greeting)) = self.upgrade().await? else {
            // A clock that is wrong is a reason for a token that is refused.
            return clock.map_or(Ok(()), |check| self.note(check));
        };
        if let Some(greeting) = &greeting {
            let check = judge::token(greeting, self.token.is_some(), now_ms());
            self.note(check)?;
        }
        self.channel(&mut socket).await?;
        self.events().await?;
        if let Some(idle) = self.options.idle {
            let ended = wait(&mut socket, idle).await;
            self.note(judge::idle(idle, ended))?;
        }
        socket.close().await;
        Ok(())
    }

    /// DNS, TCP and TLS; whether all of it works.
    async fn reach(&mut self) -> Result<bool, Error> {
        let within = self.options.timeout;
        let addresses = match wire::resolve(&self.target, within).await {
            Ok(addresses) => addresses,
            Err(error) => {
                self.note(Check::fail(
                    "dns",
                    error.to_string(),
                    "correct the name, or the resolver of this machine",
                ))?;
                return Ok(false);
            }
        };
        let list: Vec<String> = addresses.iter().map(|one| one.ip().to_string()).collect();
        self.note(Check::ok("dns", format!("{} is {}", self.target.host, list.join(", "))))?;
        let begun = Instant::now();
        let stream = match wire::tcp(&addresses, within).await {
            Ok(stream) => stream,
            Err(error) => {
                let hint =
                    "does the server run, is the port right, and does a firewall let it through?";
                self.note(Check::fail("tcp", error.to_string(), hint))?;
                return Ok(false);
            }
        };
        let took = begun.elapsed().as_millis();
        self.note(Check::ok("tcp", format!("port {} answers within {took} ms", self.target.port)))?;
        if !self.target.secure {
            return Ok(true);
        }
        let trust = match wire::trust(self.options.connect.ca.as_deref()) {
            Ok(trust) => trust,
            Err(error) => return Err(SubError::from(error).into()),
        };
        let check = match wire::tls(stream, &self.target, trust, within).await {
            Ok(stream) => certificate(&stream),
            Err((error, cause)) => judge::no_tls(&error.to_string(), cause.as_ref()),
        };
        let is_good = check.verdict != Verdict::Fail;
        self.note(check)?;
        Ok(is_good)
    }

    async fn get(&self, resource: &str, headers: &str, until: Until) -> Result<Answer, String> {
        let within = self.options.timeout;
        let io: Box<dyn Io> = dial(&self.target, self.options.connect.ca.as_deref(), within)
            .await
            .map_err(|error| error.to_string())?;
        http::get(io, &self.target, resource, headers, (until, within)).await
    }

    fn bearer(&self) -> String {
        let token = self.token.as_ref();
        token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default()
    }

    /// Requests without an upgrade. What their answer says of the clocks, for when there is no better source.
    async fn plain(&mut self) -> Result<Option<Check>, Error> {
        let mut clock = None;
        let hint = "does the port speak HTTP/1.1, and is something alive behind the proxy?";
        let check = match self.get(&self.target.resource(), &self.bearer(), Until::End).await {
            Ok(answer) => {
                clock = judge::date(&answer, now_ms());
                judge::plain(&answer)
            }
            Err(why) => Check::fail("http", why, hint),
        };
        self.note(check)?;
        if let Ok(answer) = self.get("/health", "", Until::End).await {
            self.note(judge::health(&answer))?;
        }
        Ok(clock)
    }

    /// The upgrade, and the greeting if one comes.
    async fn upgrade(&mut self) -> Result<Option<(Socket, Option<Value>)>, Error> {
        let within = self.options.timeout;
        let io = match dial(&self.target, self.options.connect.ca.as_deref(), within).await {
            Ok(io) => io,
            Err(error) => {
                let hint = "it worked before: does something limit connections?";
                self.note(Check::fail("upgrade", error.to_string(), hint))?;
                return Ok(None);
            }
        };
        let begun = Instant::now();
        let asks = Asks { token: self.token.as_deref(), deflate: true };
        let mut socket = match Socket::open(io, &self.target, asks, within).await {
            Ok(socket) => socket,
            Err(error) => {
                self.note(judge::no_upgrade(&error))?;
                return Ok(None);
            }
        };
        self.note(judge::upgraded(&socket.head, begun.elapsed()))?;
        self.note(judge::compression(socket.deflate))?;
        let sent_ms = now_ms();
        let ping = json!({ "type": "ping", "timestamp": sent_ms }).to_string();
        let greeting = push(&mut socket, "connection:established", within).await;
        // The time of an answer lies between that of its question and now.
        let pong = match socket.send(&ping).await {
            Ok(()) => push(&mut socket, "pong", within).await,
            Err(_) => None,
        };
        if greeting.is_none() {
            self.note(Check::fail(
                "greeting",
                format!("the upgrade succeeds, and no frame comes within {within:?}"),
                "a proxy holds frames back: switch off its buffering for this path; or this is another WebSocket server",
            ))?;
        }
        if let Some(theirs) = pong.as_ref().and_then(|pong| pong.get("ts")).and_then(Value::as_u64)
        {
            let now = now_ms();
            self.note(judge::clock(theirs, now, now.saturating_sub(sent_ms)))?;
        }
        Ok(Some((socket, greeting)))
    }

    /// Whether the channel may be heard, if one is given.
    async fn channel(&mut self, socket: &mut Socket) -> Result<(), Error> {
        let Some(channel) = self.options.channel.clone() else { return Ok(()) };
        let command = json!({ "type": "subscribe", "id": 1, "channels": [channel] }).to_string();
        let ack = match socket.send(&command).await {
            Ok(()) => push(socket, "subscription_ack", self.options.timeout).await,
            Err(_) => None,
        };
        let rejected = ack.as_ref().and_then(|ack| ack["rejected"][0]["code"].as_str());
        let check = match (&ack, rejected) {
            (None, _) => Check::fail(
                "channel",
                "no answer to a subscribe",
                "kubectl wsgw status says what is under way",
            ),
            (_, None) => Check::ok("channel", format!("{channel} may be heard")),
            (_, Some(code)) => Check::fail(
                "channel",
                format!("{channel} is rejected: {code}"),
                "wsgw token verify --manifest says what the token may hear",
            ),
        };
        self.note(check)
    }

    /// The event stream that clients fall back to.
    async fn events(&mut self) -> Result<(), Error> {
        let channel = self.options.channel.as_deref().unwrap_or(NOBODYS);
        let resource = format!("{}?channels={}", self.target.sibling("sse"), encoded(channel));
        let resource = match self.target.query() {
            Some(query) => format!("{resource}&{query}"),
            None => resource,
        };
        let headers = format!("Accept: text/event-stream\r\n{}", self.bearer());
        let check = match self.get(&resource, &headers, Until::FirstByte).await {
            Ok(answer) => judge::events(&answer),
            Err(why) => Check::warn("sse", why, "a proxy that buffers may hold back even the head"),
        };
        self.note(check)
    }
}

/// A channel in a query (RFC 3986, 2.1).
fn encoded(channel: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let one = |byte: u8| {
        if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }
    };
    channel.bytes().map(one).collect()
}

/// The next push of a type; `None` when the connection ends or nothing comes in time.
async fn push(socket: &mut Socket, kind: &str, within: Duration) -> Option<Value> {
    let found = async {
        loop {
            match socket.next().await {
                Ok(Received::Text(text)) => {
                    let push: Value = serde_json::from_str(&text).unwrap_or_default();
                    if push["type"] == kind {
                        return Some(push);
                    }
                }
                Ok(Received::Ping | Received::Other) => {}
                Ok(Received::Close(..) | Received::End) | Err(_) => return None,
            }
        }
    };
    timeout(within, found).await.ok().flatten()
}

/// Says nothing but pongs; when it ended, and with which close code.
async fn wait(socket: &mut Socket, idle: Duration) -> Option<(Duration, Option<u16>)> {
    let begun = Instant::now();
    let ended = async {
        loop {
            match socket.next().await {
                Ok(Received::Close(code, _)) => return Some(code),
                Ok(Received::End) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    };
    let code = timeout(idle, ended).await.ok()?;
    Some((begun.elapsed(), code))
}

fn certificate(stream: &TlsStream<tokio::net::TcpStream>) -> Check {
    let (_, session) = stream.get_ref();
    let version = match session.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3",
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLS 1.2",
        _ => "TLS",
    };
    let first = session.peer_certificates().and_then(|all| all.first());
    let parsed = first.and_then(|der| x509_parser::parse_x509_certificate(der).ok());
    let end = parsed.map(|(_, certificate)| certificate.validity().not_after.timestamp());
    let end_ms = end.and_then(|seconds| u64::try_from(seconds).ok()).map(|seconds| seconds * 1_000);
    judge::certificate(version, end_ms, now_ms())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_channel_in_a_query_is_nothing_but_itself() {
        assert_eq!(super::encoded("a.b>&x=\u{e9}\r\n"), "a.b%3E%26x%3D%C3%A9%0D%0A");
    }
}
