//! The port: TLS with a certificate of the API server, then HTTP. Who has none does not get as far as a request.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::certificate::{Certificate, common_name};
use super::front::FrontProxy;
use super::{Api, answer};

/// Handshakes at a time, and connections: API servers keep one or two each.
const MOST: usize = 64;
/// Connections that the kernel completes before they are accepted.
const BACKLOG: i32 = 64;
/// For a handshake, and for the head of a request.
const PATIENCE: Duration = Duration::from_secs(10);

/// How a connection is taken in.
#[derive(Clone)]
pub(super) struct Terms {
    acceptor: TlsAcceptor,
    front: Arc<FrontProxy>,
}

impl Terms {
    /// `None`: what is given is no certificate, key or authority.
    pub(super) fn new(certificate: &Certificate, front: &FrontProxy) -> Result<Self, String> {
        let text = |error: &dyn std::error::Error| error.to_string();
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(front.authority.as_bytes()) {
            roots.add(authority.map_err(|error| text(&error))?).map_err(|error| text(&error))?;
        }
        let verifier =
            WebPkiClientVerifier::builder(Arc::new(roots)).build().map_err(|error| text(&error))?;
        let chain: Result<Vec<CertificateDer<'_>>, _> =
            CertificateDer::pem_slice_iter(certificate.certificate.as_bytes()).collect();
        let chain = chain.map_err(|error| text(&error))?;
        let chain = chain.into_iter().map(CertificateDer::into_owned).collect();
        let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes())
            .map_err(|error| text(&error))?;
        let mut config = ServerConfig::builder()
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(|error| text(&error))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), front: Arc::new(front.clone()) })
    }
}

/// Binds the port.
pub(super) fn bind(address: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let socket = wsgateway_runtime::listen::bind(address, |_| Ok(()))?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Serves until dropped. Without terms a connection is closed: nobody could be told from anybody else.
pub(super) async fn run(
    listener: std::net::TcpListener,
    terms: watch::Receiver<Option<Terms>>,
    api: Arc<Api>,
) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "cannot serve metrics for autoscalers"),
    };
    let (mut handshakes, mut oldest) = (JoinSet::new(), VecDeque::new());
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let known = terms.borrow().clone();
                match (accepted, known) {
                    (Ok((socket, _)), Some(terms)) => {
                        // Whoever connects and says nothing makes way for whoever comes.
                        oldest.retain(|handshake: &AbortHandle| !handshake.is_finished());
                        if oldest.len() >= MOST && let Some(handshake) = oldest.pop_front() {
                            handshake.abort();
                        }
                        oldest.push_back(handshakes.spawn(shake_hands(socket, terms)));
                    }
                    (Ok(_), None) => {}
                    (Err(error), _) => {
                        tracing::debug!(%error, "cannot accept a connection for metrics");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                }
            }
            Some(done) = handshakes.join_next(), if !handshakes.is_empty() => match done {
                Ok(Ok((stream, terms))) if connections.len() < MOST => {
                    connections.spawn(serve(stream, terms, Arc::clone(&api)));
                }
                Ok(Ok(_)) => tracing::debug!("too many connections for metrics"),
                Ok(Err(error)) => tracing::debug!(error, "no connection for metrics"),
                Err(_aborted) => {}
            },
            Some(ended) = connections.join_next(), if !connections.is_empty() => {
                if let Ok(Err(error)) = ended {
                    tracing::debug!(error, "a connection for metrics ended");
                }
            }
        }
    }
}

async fn shake_hands(
    socket: TcpStream,
    terms: Terms,
) -> Result<(TlsStream<TcpStream>, Terms), String> {
    let handshake = tokio::time::timeout(PATIENCE, terms.acceptor.accept(socket)).await;
    let stream = handshake.map_err(|_late| "no handshake in time".to_owned())?;
    Ok((stream.map_err(|error| error.to_string())?, terms))
}

async fn serve(stream: TlsStream<TcpStream>, terms: Terms, api: Arc<Api>) -> Result<(), String> {
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let name = certificate.and_then(|certificate| common_name(certificate.as_ref()));
    let is_proxy = name.as_deref().is_some_and(|name| terms.front.allows(name));
    let service = service_fn(move |request: Request<Incoming>| {
        let (api, front) = (Arc::clone(&api), Arc::clone(&terms.front));
        async move {
            let user = if is_proxy { front.user(request.headers()) } else { None };
            let (code, body) = match user {
                Some(user) => api.answer(request.method(), request.uri(), user).await,
                None => {
                    let why = "only the API server may ask, in the name of a user";
                    (401, answer::status(401, "Unauthorized", why))
                }
            };
            let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
            *response.status_mut() = code;
            let json = header::HeaderValue::from_static("application/json");
            response.headers_mut().insert(header::CONTENT_TYPE, json);
            Ok::<_, Infallible>(response)
        }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(6 * PATIENCE)
        .serve_connection(TokioIo::new(stream), service)
        .await
        .map_err(|error| error.to_string())
}
