//! One connection to a Redis server: TCP or TLS, login, subscriptions, and a watch on its silence.

mod tls;

use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use wsgateway_config::{RedisServer, RedisSource};

use super::Ended;
use super::resp::{Decoder, Item, Reply, command};

/// Longest wait for a connection, for an answer, and for the socket to take a command.
const PATIENCE: Duration = Duration::from_secs(5);
/// Silence after which the server is asked whether it is there, and then after which it is taken for gone.
pub(super) const QUIET: Duration = Duration::from_secs(5);
/// Room for what one read brings.
const CHUNK: usize = 64 << 10;
/// Largest password file.
const LONGEST_PASSWORD: u64 = 4 << 10;
/// Longest part of a server's refusal that is told.
const LONGEST_REFUSAL: usize = 200;

trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

/// A connection that is logged in, and has subscribed unless it publishes.
pub(super) struct Connection {
    socket: Box<dyn Socket>,
    decoder: Decoder,
    buffer: BytesMut,
    /// The server owes an answer to a ping.
    asked: bool,
}

impl Connection {
    /// Connects, logs in and subscribes. From its return on, every message of every channel comes.
    pub(super) async fn open(
        source: &RedisSource,
        address: &str,
        name: &str,
    ) -> Result<Self, Ended> {
        let mut connection = Self::log_in(source, address, name).await?;
        connection.subscribe(source, address).await?;
        Ok(connection)
    }

    /// Connects and logs in.
    pub(super) async fn log_in(
        source: &RedisSource,
        address: &str,
        name: &str,
    ) -> Result<Self, Ended> {
        let server = RedisServer::parse(address)
            .ok_or_else(|| Ended::Settings(format!("{address} is no address of a Redis server")))?;
        let mut connection = Self {
            socket: connect(source, &server, address).await?,
            decoder: Decoder::new(source.max_message_bytes),
            buffer: BytesMut::with_capacity(CHUNK),
            asked: false,
        };
        if let Some(file) = &source.password_file {
            let password = password(file)?;
            let words: Vec<&[u8]> = [Some("AUTH"), source.username.as_deref(), Some(&password)]
                .into_iter()
                .flatten()
                .map(str::as_bytes)
                .collect();
            connection.ask(address, "the login", &words).await?;
        }
        connection.set_name(name).await?;
        Ok(connection)
    }

    /// For whoever reads CLIENT LIST. A user without the right to it may read messages all the same.
    async fn set_name(&mut self, name: &str) -> Result<(), Ended> {
        // Redis refuses spaces and what cannot be printed.
        let name: String =
            name.chars().map(|c| if c.is_ascii_graphic() { c } else { '-' }).collect();
        self.write(&command(&[b"CLIENT", b"SETNAME", name.as_bytes()])).await?;
        if let Reply::Error(refusal) = self.answer().await? {
            tracing::debug!(refusal, "Redis does not let us name the connection");
        }
        Ok(())
    }

    async fn subscribe(&mut self, source: &RedisSource, address: &str) -> Result<(), Ended> {
        let (patterns, names): (Vec<&str>, Vec<&str>) = source
            .channels
            .iter()
            .map(String::as_str)
            .partition(|channel| RedisSource::is_pattern(channel));
        let mut bytes = Vec::new();
        for (verb, channels) in [("SUBSCRIBE", names), ("PSUBSCRIBE", patterns)] {
            if !channels.is_empty() {
                let words: Vec<&[u8]> =
                    [verb].into_iter().chain(channels).map(str::as_bytes).collect();
                bytes.extend(command(&words));
            }
        }
        self.write(&bytes).await?;
        let mut missing = source.channels.len();
        while missing > 0 {
            match self.answer().await? {
                Reply::Error(why) => return Err(refused(address, "the subscription", &why)),
                // Messages of channels that stand already are among those that were missed meanwhile.
                Reply::List(items) => missing -= usize::from(is_confirmation(&items)),
                Reply::Single(_) => {}
            }
        }
        Ok(())
    }

    /// Sends a command and waits for a good answer.
    async fn ask(
        &mut self,
        address: &str,
        what: &'static str,
        words: &[&[u8]],
    ) -> Result<(), Ended> {
        self.write(&command(words)).await?;
        match self.answer().await? {
            Reply::Error(why) => Err(refused(address, what, &why)),
            Reply::Single(_) | Reply::List(_) => Ok(()),
        }
    }

    pub(super) async fn answer(&mut self) -> Result<Reply, Ended> {
        timeout(PATIENCE, self.next()).await.map_err(|_| Ended::Silent)?
    }

    /// The next thing that the server says, however long it is silent; a connection that is dead is not waited for.
    pub(super) async fn next(&mut self) -> Result<Reply, Ended> {
        loop {
            if let Some(reply) = self.decoder.next(&mut self.buffer)? {
                return Ok(reply);
            }
            self.buffer.reserve(CHUNK);
            match timeout(QUIET, self.socket.read_buf(&mut self.buffer)).await {
                Ok(Ok(0)) => return Err(Ended::Closed),
                Ok(Ok(_)) => self.asked = false,
                Ok(Err(error)) => return Err(Ended::Broken(error)),
                Err(_) if self.asked => return Err(Ended::Silent),
                Err(_) => {
                    self.write(&command(&[b"PING"])).await?;
                    self.asked = true;
                }
            }
        }
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        let written = async {
            self.socket.write_all(bytes).await?;
            self.socket.flush().await
        };
        timeout(PATIENCE, written).await.map_err(|_| Ended::Silent)?.map_err(Ended::Broken)
    }
}

fn is_confirmation(items: &[Item]) -> bool {
    matches!(items, [Item::Text(kind), ..] if kind == "subscribe" || kind == "psubscribe")
}

pub(super) fn refused(address: &str, what: &'static str, why: &str) -> Ended {
    let why = why.chars().take(LONGEST_REFUSAL).collect();
    Ended::Refused { server: address.to_owned(), what, why }
}

async fn connect(
    source: &RedisSource,
    server: &RedisServer,
    address: &str,
) -> Result<Box<dyn Socket>, Ended> {
    let unreachable = |why: String| Ended::Unreachable { server: address.to_owned(), why };
    let connected = timeout(PATIENCE, TcpStream::connect((server.host.as_str(), server.port)));
    let socket = connected
        .await
        .map_err(|_| unreachable(format!("no answer within {} s", PATIENCE.as_secs())))?
        .map_err(|error| unreachable(error.to_string()))?;
    if !server.tls {
        return Ok(Box::new(socket));
    }
    let (connector, name) = tls::connector(source.ca_file.as_deref(), &server.host)?;
    let shaken = timeout(PATIENCE, connector.connect(name, socket));
    let socket = shaken
        .await
        .map_err(|_| unreachable("no TLS handshake".to_owned()))?
        .map_err(|error| unreachable(format!("TLS: {error}")))?;
    Ok(Box::new(socket))
}

/// Reads the password; a line break at its end is not part of it.
fn password(file: &Path) -> Result<String, Ended> {
    let settings = |why: &dyn std::fmt::Display| {
        Ended::Settings(format!("passwordFile {}: {why}", file.display()))
    };
    let mut text = String::new();
    std::fs::File::open(file)
        .and_then(|opened| opened.take(LONGEST_PASSWORD + 1).read_to_string(&mut text))
        .map_err(|error| settings(&error))?;
    if text.len() as u64 > LONGEST_PASSWORD {
        return Err(settings(&format!("longer than {LONGEST_PASSWORD} bytes")));
    }
    let password = text.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(settings(&"empty"));
    }
    Ok(password.to_owned())
}
