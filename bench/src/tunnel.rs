//! The clients' side of TLS: a port of its own behind which everything is carried to a gateway with TLS, so that the same
//! clients measure it. Its handshakes are whole ones: no ticket is used twice.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use wsgateway_config::ListenerTls;

use crate::error::{Error, io};
use crate::process::Scratch;

/// Where to carry everything.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Client port of the gateway
    gateway: SocketAddr,
}

/// A certificate for a gateway: P-256, as usual today.
pub(crate) fn pair(scratch: &Scratch) -> Result<ListenerTls, Error> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])
        .map_err(|error| io("no certificate")(std::io::Error::other(error)))?;
    let write = |name: &str, text: String| {
        let file = scratch.join(name);
        fs::write(&file, text).map_err(io("cannot write a certificate"))?;
        Ok::<_, Error>(file)
    };
    Ok(ListenerTls {
        cert_file: write("tls.crt", made.cert.pem())?,
        key_file: write("tls.key", made.signing_key.serialize_pem())?,
    })
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(io("no runtime"))?;
    let config = config().map_err(io("no TLS"))?;
    runtime.block_on(carry_all(arguments.gateway, config)).map_err(io("cannot listen"))
}

fn config() -> std::io::Result<Arc<ClientConfig>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Arc::new(Anybody(Arc::clone(&provider)));
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(std::io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

async fn carry_all(gateway: SocketAddr, config: Arc<ClientConfig>) -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening {}", listener.local_addr()?);
    loop {
        let (near, _) = listener.accept().await?;
        drop(tokio::spawn(carry(near, gateway, Arc::clone(&config))));
    }
}

async fn carry(
    mut near: TcpStream,
    gateway: SocketAddr,
    config: Arc<ClientConfig>,
) -> std::io::Result<()> {
    near.set_nodelay(true)?;
    let far = TcpStream::connect(gateway).await?;
    far.set_nodelay(true)?;
    let name = ServerName::try_from("localhost").map_err(std::io::Error::other)?;
    let mut far = TlsConnector::from(config).connect(name, far).await?;
    copy_bidirectional(&mut near, &mut far).await.map(drop)
}

/// Takes every certificate: the gateway is one that this program has started. Signatures are checked, as by every client.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
