//! One WebSocket: opens it, reads it, and says what its end means.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::header::{
    AUTHORIZATION, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL,
};
use tokio_tungstenite::tungstenite::http::{HeaderValue, Uri};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::backoff::{End, code};
use crate::builder::BuildError;
use crate::deflate::{self, Fault};
use crate::inflated::Inflated;
use crate::upgrade::{PROTOCOL, upgrade};
use crate::wire::Command;

/// Bounds a frame in bytes. NATS allows payloads of 1 MiB unless told otherwise, and base64 adds a third.
const MAX_FRAME: usize = 16 << 20;
/// How long a socket may take for a command.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// An address.
pub(crate) struct Target {
    uri: Uri,
    host: String,
    port: u16,
    pub tls: bool,
}

impl Target {
    pub(crate) fn new(url: &str) -> Result<Self, BuildError> {
        let uri: Uri = url.parse().map_err(|_| BuildError::Url)?;
        let tls = match uri.scheme_str() {
            Some("ws") => false,
            Some("wss") => true,
            _ => return Err(BuildError::Url),
        };
        let authority = uri.authority().ok_or(BuildError::Url)?;
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(BuildError::Url);
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Ok(Self { uri, host, port, tls })
    }
}

trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

pub(crate) struct Line {
    socket: WebSocketStream<Box<dyn Socket>>,
}

impl Line {
    /// Dials, and offers compression if it is wanted; the caller gives the attempt up at `give_up`. Redirects are not followed: the token is for the host that the user
    /// named. The end's text holds no token.
    pub(crate) async fn open(
        target: &Target,
        tls: Option<Arc<ClientConfig>>,
        token: Option<&str>,
        compression: bool,
        give_up: Instant,
    ) -> Result<Self, End> {
        let unsendable = || End::abnormal("the address or the token cannot be sent");
        let mut request = target.uri.clone().into_client_request().map_err(|_| unsendable())?;
        let protocol = HeaderValue::from_static(PROTOCOL);
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, protocol);
        if compression {
            let offer = HeaderValue::from_static(deflate::OFFER);
            request.headers_mut().insert(SEC_WEBSOCKET_EXTENSIONS, offer);
        }
        if let Some(token) = token.filter(|token| !token.is_empty()) {
            let header = HeaderValue::from_str(&format!("Bearer {token}"));
            let mut header = header.map_err(|_| unsendable())?;
            header.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, header);
        }
        let io = |error: std::io::Error| End::abnormal(error.to_string());
        let tcp = TcpStream::connect((target.host.as_str(), target.port)).await.map_err(io)?;
        tcp.set_nodelay(true).map_err(io)?;
        let mut socket: Box<dyn Socket> = match tls.filter(|_| target.tls) {
            Some(config) => {
                let name = ServerName::try_from(target.host.clone());
                let name = name.map_err(|_| End::abnormal("the host is no name for TLS"))?;
                Box::new(TlsConnector::from(config).connect(name, tcp).await.map_err(io)?)
            }
            None => Box::new(tcp),
        };
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_FRAME))
            .max_frame_size(Some(MAX_FRAME));
        let mut upgraded = Box::pin(upgrade(&mut socket, request, give_up)).await?;
        if upgraded.deflate {
            let rest = std::mem::take(&mut upgraded.rest);
            socket = Box::new(Inflated::new(socket, MAX_FRAME, &rest).map_err(end_of_fault)?);
        }
        let (rest, role) = (upgraded.rest, Role::Client);
        let socket = WebSocketStream::from_partially_read(socket, rest, role, Some(config)).await;
        Ok(Self { socket })
    }

    /// The next frame with data.
    pub(crate) async fn next(&mut self) -> Result<Bytes, End> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => return Ok(text.into()),
                Some(Ok(Message::Binary(bytes))) => return Ok(bytes),
                Some(Ok(Message::Close(Some(frame)))) => {
                    return Err(End::new(frame.code.into(), frame.reason.as_str()));
                }
                Some(Ok(Message::Close(None))) | None => {
                    return Err(End::abnormal("closed without a code"));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(end_of(&error)),
            }
        }
    }

    /// Sends a command. A failure shows when the line is read, too.
    pub(crate) async fn send(&mut self, command: &Command) -> Result<(), End> {
        let Ok(text) = serde_json::to_string(command) else {
            return Ok(()); // a command always has a JSON text
        };
        let sending = self.socket.send(Message::text(text));
        match tokio::time::timeout(WRITE_TIMEOUT, sending).await {
            Ok(_) => Ok(()),
            Err(_) => Err(End::abnormal("a command was not taken in time")),
        }
    }
}

fn end_of(error: &Error) -> End {
    match error {
        Error::Capacity(_) => {
            End::new(code::TOO_BIG, format!("a frame of more than {MAX_FRAME} bytes"))
        }
        Error::Io(error) => match error.get_ref().and_then(|error| error.downcast_ref::<Fault>()) {
            Some(fault) => end_of_fault(*fault),
            None => End::abnormal(error.to_string()),
        },
        other => End::abnormal(other.to_string()),
    }
}

fn end_of_fault(fault: Fault) -> End {
    match fault {
        Fault::TooBig(_) => End::new(code::TOO_BIG, fault.to_string()),
        Fault::Broken | Fault::Order => End::garbled(fault.to_string()),
    }
}
