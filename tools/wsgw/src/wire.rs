//! The way to a gateway: its address, DNS, TCP and TLS, each a step of its own.
//!
//! What must hold: each step has an end in time; no query of an address and no token is in an error.

pub(crate) mod socket;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Most addresses of a name that are tried.
const ADDRESSES: usize = 8;

/// Bytes both ways.
pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// An address of a gateway. It shows itself without its query, where a token may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) secure: bool,
    /// Without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// As `Host` has it.
    pub(crate) authority: String,
    pub(crate) path: String,
    query: Option<String>,
}

impl fmt::Display for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "wss" } else { "ws" };
        write!(out, "{scheme}://{}{}", self.authority, self.path)
    }
}

/// Why there is no way to a gateway.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    #[error(
        "{0}: write wss://host/path, ws://host:port/path, or the same with https:// and http://"
    )]
    Address(&'static str),
    #[error("{host} has no address: {why}")]
    Dns { host: String, why: String },
    #[error("{address} does not answer: {why}")]
    Tcp { address: String, why: String },
    #[error("TLS with {host} fails: {why}")]
    Tls { host: String, why: String },
    #[error("{}: {why}", file.display())]
    Authorities { file: std::path::PathBuf, why: String },
}

impl Target {
    pub(crate) fn parse(text: &str) -> Result<Self, WireError> {
        let uri: Uri = text.parse().map_err(|_| WireError::Address("this is no URL"))?;
        let secure = match uri.scheme_str() {
            Some("ws" | "http") => false,
            Some("wss" | "https") => true,
            Some(_) => return Err(WireError::Address("a gateway speaks ws and http only")),
            None => return Err(WireError::Address("the URL has no scheme")),
        };
        let authority = uri.authority().ok_or(WireError::Address("the URL has no host"))?;
        if authority.as_str().contains('@') {
            return Err(WireError::Address("a URL with a user or password is not for gateways"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(WireError::Address("the URL has no host"));
        }
        let path = if uri.path().is_empty() { "/" } else { uri.path() };
        Ok(Self {
            secure,
            host,
            port: authority.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            authority: authority.as_str().to_owned(),
            path: path.to_owned(),
            query: uri.query().map(str::to_owned),
        })
    }

    /// Path and query, as a request has them.
    pub(crate) fn resource(&self) -> String {
        self.query
            .as_ref()
            .map_or_else(|| self.path.clone(), |query| format!("{}?{query}", self.path))
    }

    /// Another path of the same server, next to this one.
    pub(crate) fn sibling(&self, name: &str) -> String {
        let folder = self.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{folder}/{name}")
    }

    /// What stands behind the path; a token may be in it.
    pub(crate) fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// Whether a token is in the query.
    pub(crate) fn has_token(&self) -> bool {
        let parts = self.query.as_deref().unwrap_or_default().split('&');
        parts.into_iter().any(|part| part.starts_with("token=") || part.starts_with("auth="))
    }
}

/// Addresses of the target's name.
pub(crate) async fn resolve(
    target: &Target,
    within: Duration,
) -> Result<Vec<SocketAddr>, WireError> {
    let failed = |why: String| WireError::Dns { host: target.host.clone(), why };
    let found = timeout(within, tokio::net::lookup_host((target.host.as_str(), target.port))).await;
    let found = found.map_err(|_| failed(format!("no answer within {within:?}")))?;
    let all: Vec<_> = found.map_err(|error| failed(error.to_string()))?.take(ADDRESSES).collect();
    if all.is_empty() { Err(failed("the name exists without one".to_owned())) } else { Ok(all) }
}

/// A connection to the first of these that answers.
pub(crate) async fn tcp(
    addresses: &[SocketAddr],
    within: Duration,
) -> Result<TcpStream, WireError> {
    let mut last = WireError::Address("the host has no address");
    for address in addresses {
        let why = match timeout(within, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Small frames, each of which somebody waits for.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => {
                format!("nothing within {within:?}; a firewall drops it, or the machine is off")
            }
        };
        last = WireError::Tcp { address: address.to_string(), why };
    }
    Err(last)
}

/// What a certificate is held against.
pub(crate) fn trust(ca: Option<&Path>) -> Result<Arc<ClientConfig>, WireError> {
    let mut roots = RootCertStore::empty();
    match ca {
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        Some(file) => {
            let failed = |why: String| WireError::Authorities { file: file.to_owned(), why };
            let all = CertificateDer::pem_file_iter(file)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>);
            let all = all.map_err(|error| failed(error.to_string()))?;
            if roots.add_parsable_certificates(all).0 == 0 {
                return Err(failed("it holds no certificate (PEM)".to_owned()));
            }
        }
    }
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let config = ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .map_err(|error| WireError::Tls { host: "everybody".to_owned(), why: error.to_string() })?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    // A load balancer that speaks HTTP/2 would otherwise choose it for an upgrade that only HTTP/1.1 has.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// TLS on a connection.
pub(crate) async fn tls(
    stream: TcpStream,
    target: &Target,
    trust: Arc<ClientConfig>,
    within: Duration,
) -> Result<TlsStream<TcpStream>, (WireError, Option<rustls::Error>)> {
    let failed = |why: String| WireError::Tls { host: target.host.clone(), why };
    let name = ServerName::try_from(target.host.clone()).map_err(|_| {
        (failed("the host is no name that a certificate can have".to_owned()), None)
    })?;
    match timeout(within, TlsConnector::from(trust).connect(name, stream)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => {
            let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
            Err((failed(why(&error)), cause.cloned()))
        }
        Err(_) => Err((failed(format!("the handshake has no end within {within:?}")), None)),
    }
}

fn why(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "the other side hung up during the handshake".to_owned(),
        _ => error.to_string(),
    }
}

/// All of it.
pub(crate) async fn dial(
    target: &Target,
    ca: Option<&Path>,
    within: Duration,
) -> Result<Box<dyn Io>, WireError> {
    let stream = tcp(&resolve(target, within).await?, within).await?;
    if !target.secure {
        return Ok(Box::new(stream));
    }
    let stream = tls(stream, target, trust(ca)?, within).await;
    Ok(Box::new(stream.map_err(|(error, _)| error)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_usual_port_and_shows_no_query() {
        let target = Target::parse("https://push.example.com/live/ws?token=sesame").unwrap();
        assert_eq!(
            (target.secure, target.port, target.host.as_str()),
            (true, 443, "push.example.com")
        );
        assert_eq!(target.to_string(), "wss://push.example.com/live/ws");
        assert_eq!(target.resource(), "/live/ws?token=sesame");
        assert_eq!(target.sibling("sse"), "/live/sse");
        let target = Target::parse("ws://[::1]:8080").unwrap();
        assert_eq!((target.host.as_str(), target.port, target.path.as_str()), ("::1", 8080, "/"));
        assert_eq!(target.sibling("sse"), "/sse");
    }

    #[test]
    fn what_is_no_address_of_a_gateway_is_refused_without_being_shown() {
        for text in ["localhost:8080", "ftp://a/", "http://", "ws://u:sesame@h/", "", "http://a b"]
        {
            let error = Target::parse(text).unwrap_err().to_string();
            assert!(
                error.contains("wss://host/path") && !error.contains("sesame"),
                "{text}: {error}"
            );
        }
    }
}
