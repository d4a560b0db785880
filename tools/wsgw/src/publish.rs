//! `wsgw pub`: publishes to a subject, or to a channel of a manifest, and waits for the stream's confirmation.

use std::fs::File;
use std::io::{self, Read as _};
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::connection::State;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::publish::PublishAck;
use async_nats::jetstream::{self, Context};
use bytes::Bytes;
use serde_json::json;
use tokio::time::{Instant, sleep_until, timeout};
use wsgateway_config::JetStreamSource;
use wsgateway_crds::ValidSource;
use wsgateway_proto::channel;

use crate::cli::PubArgs;
use crate::error::Error;
use crate::given::{self, Words};
use crate::manifest::Manifest;
use crate::output::print;
use crate::plan::of_manifest;
use crate::server::Server;

/// Largest message that is read: no server takes more.
const LARGEST: u64 = 64 << 20;
const HINT: &str = "give a server that can be reached from here with --nats, after kubectl port-forward for example";

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// Why a message was not published.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PubError {
    #[error(
        "{0:?} is no subject to publish to: write words with dots between, without spaces, * and >"
    )]
    Subject(String),
    #[error(
        "the stream of the manifest takes {subjects}, so that nothing on channel {channel} comes from it: is it written as \
         clients write it, without channels.stripPrefix?"
    )]
    OtherChannel { channel: String, subjects: String },
    #[error(
        "no stream on {url} takes {subject}: does the WsGateway have it in stream.subjects, is it ready (kubectl wsgw status), \
         and is this its server and account? wsgw plan -f MANIFEST --nats URL shows the stream"
    )]
    NoStream { subject: String, url: String },
    #[error("the message has {bytes} bytes, and {url} takes {most} at most (max_payload)")]
    TooLarge { bytes: usize, most: usize, url: String },
    #[error(
        "no stream confirms {subject} on {url} in time: the account may not publish it or not receive the answer, or most \
         servers of the stream are down; it may have been stored"
    )]
    NoAnswer { subject: String, url: String },
    #[error("{subject} is refused: {why}")]
    Refused { subject: String, why: String },
}

/// Publishes what the flags say.
pub(crate) async fn run(options: &PubArgs) -> Result<(), Error> {
    let (subject, source, words) = destination(options)?;
    if !wsgateway_config::is_pattern(&subject)
        || subject.split('.').any(|one| one == "*" || one == ">")
    {
        return Err(PubError::Subject(subject).into());
    }
    let data = Bytes::from(read(&options.data)?);
    let server = Server::connect(&source, "wsgw pub", words, HINT).await?;
    // What the server takes is known once it has greeted.
    if !matches!(timeout(CONNECT, server.client.flush()).await, Ok(Ok(()))) {
        return Err(unreachable(&server));
    }
    let context = jetstream::new(server.client.clone());
    let pace = options.rate.map(|rate| Duration::from_secs_f64(1.0 / rate));
    let begun = Instant::now();
    for n in 0..options.count {
        if let (Some(pace), Ok(passed)) = (pace, u32::try_from(n)) {
            sleep_until(begun + pace.saturating_mul(passed)).await;
        }
        let id = options.id.as_ref().map(|id| match options.count {
            1 => id.clone(),
            _ => format!("{id}-{n}"),
        });
        let sent = publish(&context, &subject, data.clone(), id).await;
        let ack = sent.map_err(|error| failed(&server, &subject, data.len(), &error))?;
        print(&confirmed(&subject, &ack, options.json))?;
    }
    Ok(())
}

/// The subject, and where its server is.
fn destination(options: &PubArgs) -> Result<(String, JetStreamSource, Words), Error> {
    // The name of a stream matters to those who read it.
    let given = given::source("--nats", options.nats.as_deref(), &options.access, "unknown")?;
    let flags = Words::Flags("--nats");
    let Some(file) = &options.manifest else {
        let source = given.ok_or(Error::SecretsElsewhere)?;
        return Ok((options.subject.clone(), source, flags));
    };
    let gateway = Manifest::read(file)?.gateway()?;
    let ValidSource::Nats(nats) = &gateway.source else {
        return Err(Error::OtherSource { flag: "--manifest", from: "Redis" });
    };
    let subject = subject(&options.subject, &gateway.strip_prefix, &nats.stream.subjects)?;
    let (source, words) = match given {
        Some(source) => (source, flags),
        None => (of_manifest(nats)?, Words::Manifest),
    };
    Ok((subject, source, words))
}

/// The subject of a channel: the prefix is left out of those that have it, and others keep their whole name.
fn subject(name: &str, prefix: &str, subjects: &[String]) -> Result<String, PubError> {
    let both = [format!("{prefix}{name}"), name.to_owned()];
    let taken = |one: &String| subjects.iter().any(|subject| channel::matches(subject, one));
    both.into_iter().find(taken).ok_or_else(|| PubError::OtherChannel {
        channel: name.to_owned(),
        subjects: subjects.join(", "),
    })
}

fn read(data: &str) -> Result<Vec<u8>, Error> {
    let (name, bytes) = match (data, data.strip_prefix('@')) {
        ("-", _) => ("standard input".to_owned(), read_limited(io::stdin().lock())),
        (_, Some(file)) => (file.to_owned(), File::open(file).and_then(read_limited)),
        _ => return Ok(data.as_bytes().to_vec()),
    };
    bytes.map_err(|source| Error::Read { name, source })
}

fn read_limited(source: impl io::Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(io::Error::other(format!("larger than {LARGEST} bytes")));
    }
    Ok(bytes)
}

async fn publish(
    context: &Context,
    subject: &str,
    data: Bytes,
    id: Option<String>,
) -> Result<PublishAck, PublishError> {
    let subject = subject.to_owned();
    let sent = match id {
        Some(id) => {
            let mut headers = HeaderMap::new();
            headers.insert(async_nats::header::NATS_MESSAGE_ID, id.as_str());
            context.publish_with_headers(subject, headers, data).await?
        }
        None => context.publish(subject, data).await?,
    };
    sent.await
}

fn confirmed(subject: &str, ack: &PublishAck, as_json: bool) -> String {
    let PublishAck { stream, sequence, duplicate, .. } = ack;
    if as_json {
        let value = json!({
            "subject": subject, "stream": stream, "sequence": sequence, "duplicate": duplicate,
        });
        return format!("{value}\n");
    }
    let note = if *duplicate { ", dropped: a message with this --id is there already" } else { "" };
    format!("stream {stream}, sequence {sequence}{note}\n")
}

fn unreachable(server: &Server) -> Error {
    match server.trouble() {
        Some(trouble) => Error::Refusing { trouble, hint: HINT },
        None => Error::Unreachable { url: server.url().to_owned(), hint: HINT },
    }
}

fn failed(server: &Server, subject: &str, bytes: usize, error: &PublishError) -> Error {
    let (subject, url) = (subject.to_owned(), server.url().to_owned());
    let most = server.client.server_info().max_payload;
    match error.kind() {
        PublishErrorKind::StreamNotFound => PubError::NoStream { subject, url }.into(),
        PublishErrorKind::MaxPayloadExceeded => PubError::TooLarge { bytes, most, url }.into(),
        PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe => {
            match (server.trouble(), server.client.connection_state()) {
                (Some(trouble), _) => Error::Refusing { trouble, hint: HINT },
                (None, State::Connected) => PubError::NoAnswer { subject, url }.into(),
                (None, _) => Error::Unreachable { url, hint: HINT },
            }
        }
        _ => PubError::Refused { subject, why: error.to_string() }.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_has_the_subject_that_the_gateway_makes_it_from() {
        let subjects = ["odin.token.>".to_owned(), "news.*".to_owned()];
        assert_eq!(subject("BTC.price", "odin.token.", &subjects).unwrap(), "odin.token.BTC.price");
        assert_eq!(subject("news.a", "odin.token.", &subjects[1..]).unwrap(), "news.a");
        let error = subject("other.a.b", "x.", &subjects).unwrap_err().to_string();
        assert!(error.contains("odin.token.>, news.*"), "{error}");
    }
}
