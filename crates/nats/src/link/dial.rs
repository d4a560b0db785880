//! One attempt: TCP, TLS where it is due, INFO, CONNECT, and the first pong.

use std::sync::Arc;
use std::time::Duration;

use async_nats::ServerAddr;
use bytes::BytesMut;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::Socket;
use super::hello::{Answer, Introduction, ServerInfo};
use crate::Access;
use crate::access::Loaded;
use crate::wire::{Op, Parser, command};

/// Longest wait for the whole of it.
const DIAL: Duration = Duration::from_secs(5);

/// Why an attempt failed, in the words that [`super::super::connect::failure`] knows.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    #[error("DNS error: {0}")]
    Dns(std::io::Error),
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("timed out")]
    TimedOut,
    #[error("the server hung up")]
    HungUp,
    #[error("TLS error: {0}")]
    Tls(String),
    #[error("authorization violation: {0}")]
    Refused(String),
    #[error("{0}")]
    Server(String),
}

/// A connection that the server has accepted.
pub(super) struct Dialled {
    pub socket: Socket,
    /// What the server has sent behind its pong.
    pub input: BytesMut,
    pub info: ServerInfo,
}

/// Connects to one server.
pub(super) async fn dial(
    address: &ServerAddr,
    access: &Access,
    loaded: Loaded,
    name: &str,
) -> Result<Dialled, DialError> {
    let attempt = async {
        let host = address.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let Loaded { proof, certificates, .. } = loaded;
        let secure = |socket| {
            let config =
                certificates.into_config().map_err(|error| DialError::Tls(error.to_string()));
            secure(socket, host.clone(), config)
        };
        let mut socket = Socket::Left(tcp(&host, address.port()).await?);
        let mut conversation = Conversation::default();
        let handshake_first = access.handshake_first;
        let mut secured = handshake_first;
        if handshake_first {
            socket = secure(socket).await?;
            conversation.greeting(&mut socket).await?;
        } else {
            conversation.greeting(&mut socket).await?;
            if access.tls.is_some() || address.tls_required() || conversation.info.tls_required {
                secured = true;
                socket = secure(socket).await?;
            }
        }
        let nonce = conversation.info.nonce.clone().unwrap_or_default();
        let proof = match proof {
            Some(proof) => proof.answer(nonce.as_bytes()).map_err(DialError::Server)?,
            None => Answer::default(),
        };
        conversation.introduce(&mut socket, name, secured, proof).await?;
        Ok(Dialled { socket, input: conversation.input, info: conversation.info })
    };
    tokio::time::timeout(DIAL, attempt).await.map_err(|_| DialError::TimedOut)?
}

async fn tcp(host: &str, port: u16) -> Result<TcpStream, DialError> {
    let addresses = tokio::net::lookup_host((host, port)).await.map_err(DialError::Dns)?;
    let mut last = DialError::Dns(std::io::Error::other("the name has no address"));
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}

async fn secure(
    socket: Socket,
    host: String,
    config: Result<rustls::ClientConfig, DialError>,
) -> Result<Socket, DialError> {
    let Socket::Left(stream) = socket else { return Ok(socket) };
    let name = ServerName::try_from(host).map_err(|error| DialError::Tls(error.to_string()))?;
    let secured = TlsConnector::from(Arc::new(config?)).connect(name, stream).await?;
    Ok(Socket::Right(Box::new(secured)))
}

/// What is said before the link is up.
#[derive(Default)]
struct Conversation {
    parser: Parser,
    input: BytesMut,
    info: ServerInfo,
}

impl Conversation {
    async fn greeting(&mut self, socket: &mut Socket) -> Result<(), DialError> {
        match self.hear(socket).await? {
            Op::Info(json) => {
                self.info = ServerInfo::parse(&json)
                    .map_err(|error| DialError::Server(format!("it greets with {error}")))?;
                Ok(())
            }
            Op::Err(text) => Err(refused(&text)),
            _ => Err(DialError::Server("it does not greet as a NATS server does".to_owned())),
        }
    }

    async fn introduce(
        &mut self,
        socket: &mut Socket,
        name: &str,
        tls_required: bool,
        proof: Answer,
    ) -> Result<(), DialError> {
        let options = serde_json::to_vec(&Introduction {
            verbose: false,
            pedantic: false,
            tls_required,
            name,
            lang: "rust",
            version: env!("CARGO_PKG_VERSION"),
            protocol: 1,
            headers: true,
            no_responders: true,
            proof,
        })
        .map_err(std::io::Error::from)?;
        let mut output = BytesMut::new();
        command::connect(&mut output, &options);
        command::ping(&mut output);
        socket.write_all_buf(&mut output).await?;
        socket.flush().await?;
        loop {
            match self.hear(socket).await? {
                Op::Pong => return Ok(()),
                Op::Err(text) => return Err(refused(&text)),
                Op::Ping => {
                    command::pong(&mut output);
                    socket.write_all_buf(&mut output).await?;
                }
                Op::Info(json) => self.info = ServerInfo::parse(&json).unwrap_or_default(),
                Op::Ok | Op::Message(_) => {}
            }
        }
    }

    async fn hear(&mut self, socket: &mut Socket) -> Result<Op, DialError> {
        loop {
            let op = self.parser.next(&mut self.input);
            if let Some(op) = op.map_err(|error| DialError::Server(error.to_string()))? {
                return Ok(op);
            }
            if socket.read_buf(&mut self.input).await? == 0 {
                return Err(DialError::HungUp);
            }
        }
    }
}

/// The server's refusal: of who we are, or of something else, such as one connection too many.
fn refused(text: &[u8]) -> DialError {
    let text = String::from_utf8_lossy(text).into_owned();
    let lower = text.to_lowercase();
    match lower.contains("authorization") || lower.contains("authentication") {
        true => DialError::Refused(text),
        false => DialError::Server(text),
    }
}
