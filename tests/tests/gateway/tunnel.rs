//! The client's side of TLS, so that clients of every kind can be used with it.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use harness::{Authority, Certified, MountedSecret, init_tls};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use wsgateway_config::{GatewayConfig, ListenerTls};

use super::http::Answer;
use super::rig::SOON;

/// An authority, and a certificate of it that a gateway shows.
pub(super) struct Secured {
    pub authority: Authority,
    pub secret: MountedSecret,
}

/// The files of a Secret of type kubernetes.io/tls.
pub(super) fn pair(certified: &Certified) -> [(&str, &str); 2] {
    [("tls.crt", &certified.certificate), ("tls.key", &certified.key)]
}

impl Secured {
    pub(super) fn new() -> Result<Self> {
        init_tls();
        let authority = Authority::new("clients-ca")?;
        let secret = MountedSecret::new(&pair(&authority.server()?))?;
        Ok(Self { authority, secret })
    }

    /// Has a gateway show it.
    pub(super) fn listen(&self, config: &mut GatewayConfig) {
        config.listener.tls = Some(ListenerTls {
            cert_file: self.secret.path("tls.crt"),
            key_file: self.secret.path("tls.key"),
        });
    }

    /// Another certificate of the same authority, in one step.
    pub(super) fn renew(&mut self) -> Result<()> {
        self.secret.replace(&pair(&self.authority.server()?))
    }

    /// A client that trusts the authority and offers these versions and protocols.
    pub(super) fn client(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        protocols: &[&str],
    ) -> Result<Arc<ClientConfig>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.authority.pem().as_bytes())?)?;
        let mut config = ClientConfig::builder_with_protocol_versions(versions)
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Ok(Arc::new(config))
    }

    /// The usual client.
    pub(super) fn usual(&self) -> Result<Arc<ClientConfig>> {
        self.client(rustls::ALL_VERSIONS, &["http/1.1"])
    }

    /// A port of its own behind which everything is carried to a gateway with TLS.
    pub(super) async fn tunnel(&self, gateway: SocketAddr) -> Result<SocketAddr> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let config = self.usual()?;
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry(near, gateway, Arc::clone(&config)));
            }
        });
        Ok(address)
    }
}

async fn carry(mut near: TcpStream, gateway: SocketAddr, config: Arc<ClientConfig>) {
    let Ok(mut far) = connect(gateway, config).await else { return };
    drop(tokio::io::copy_bidirectional(&mut near, &mut far).await);
}

/// Connects and shakes hands.
pub(super) async fn connect(
    gateway: SocketAddr,
    config: Arc<ClientConfig>,
) -> Result<TlsStream<TcpStream>> {
    over(TcpStream::connect(gateway).await?, config).await
}

/// Shakes hands over a connection that is there already.
pub(super) async fn over(
    stream: TcpStream,
    config: Arc<ClientConfig>,
) -> Result<TlsStream<TcpStream>> {
    stream.set_nodelay(true)?;
    let name = ServerName::try_from("localhost")?;
    let shaking = TlsConnector::from(config).connect(name, stream);
    Ok(timeout(SOON, shaking).await.context("no end of the handshake")??)
}

/// Sends a request over TLS and reads the answer to its end, which the gateway must announce.
pub(super) async fn request(
    gateway: SocketAddr,
    config: Arc<ClientConfig>,
    request: &str,
) -> Result<Answer> {
    let mut stream = connect(gateway, config).await?;
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut bytes = Vec::new();
    timeout(SOON, stream.read_to_end(&mut bytes)).await.context("no end of the answer")??;
    Answer::parse(&String::from_utf8_lossy(&bytes))
}
