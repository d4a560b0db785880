//! The pair of files: a certificate with its chain, and the key that belongs to it.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::{ServerConfig, version};
use wsgateway_config::ListenerTls;

use super::expiry::not_after;
use crate::settle::Settle;

/// Largest file: a chain of a dozen certificates. Each full handshake sends the chain.
const LARGEST: u64 = 64 << 10;

/// What is spoken after the handshake.
const ALPN: &[u8] = b"http/1.1";

/// A pair that can be used.
#[derive(Debug)]
pub(super) struct Pair {
    pub config: Arc<ServerConfig>,
    /// When its certificate expires (Unix time, s).
    pub not_after: i64,
}

/// Why files hold no pair that can be used. Nothing of what they hold is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PairError {
    /// A file cannot be read.
    #[error("{field} {path}: {why}")]
    Read {
        /// Of the configuration.
        field: &'static str,
        /// The file.
        path: String,
        /// What the system says.
        why: String,
    },
    /// A file holds something else.
    #[error("{field} {path}: {why}")]
    Content {
        /// Of the configuration.
        field: &'static str,
        /// The file.
        path: String,
        /// What is wrong.
        why: &'static str,
    },
    /// They do not belong together, or no client would accept them.
    #[error("{path}: {why}")]
    Unusable {
        /// The file with the certificate.
        path: String,
        /// What is wrong.
        why: &'static str,
    },
}

/// What both files hold. Shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

type Read = Result<Contents, PairError>;

/// The files, read again and again: Secrets change under a running pod.
pub(super) struct PairFiles {
    files: ListenerTls,
    read: Settle<Read>,
}

impl std::fmt::Debug for PairFiles {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("PairFiles").field("files", &self.files).finish_non_exhaustive()
    }
}

impl PairFiles {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// They hold no pair that can be used.
    pub(super) fn open(files: &ListenerTls) -> Result<(Self, Pair), PairError> {
        let contents = read(files)?;
        let pair = pair(&contents, files)?;
        Ok((Self { files: files.clone(), read: Settle::of(Ok(contents)) }, pair))
    }

    /// Reads the files again: another pair, or why there is none, if they say something new. It is `now` (Unix time, s).
    pub(super) fn poll(&mut self, now: i64) -> Option<Result<Pair, PairError>> {
        // One file of a pair alone is seen while somebody writes them.
        let read = self.read.look(read(&self.files))?;
        let fresh = |pair: &Pair| match pair.not_after > now {
            true => Ok(()),
            false => Err(unusable(&self.files, "the certificate has expired")),
        };
        let pair = read.as_ref().map_err(Clone::clone);
        let pair = pair.and_then(|contents| self::pair(contents, &self.files));
        Some(pair.and_then(|pair| fresh(&pair).map(|()| pair)))
    }
}

fn read(files: &ListenerTls) -> Read {
    let certificate = read_file("certFile", &files.cert_file)?;
    Ok(Contents { certificate, key: read_file("keyFile", &files.key_file)? })
}

fn read_file(field: &'static str, path: &Path) -> Result<Vec<u8>, PairError> {
    let mut bytes = Vec::new();
    let whole = File::open(path).and_then(|file| {
        file.take(LARGEST + 1).read_to_end(&mut bytes)?;
        match bytes.len() as u64 > LARGEST {
            true => Err(io::Error::other("it is larger than 64 KiB, so it is something else")),
            false => Ok(()),
        }
    });
    let failed = |error: io::Error| PairError::Read {
        field,
        path: path.display().to_string(),
        why: error.to_string(),
    };
    whole.map(|()| bytes).map_err(failed)
}

fn unusable(files: &ListenerTls, why: &'static str) -> PairError {
    PairError::Unusable { path: files.cert_file.display().to_string(), why }
}

/// What handshakes are made with.
fn pair(contents: &Contents, files: &ListenerTls) -> Result<Pair, PairError> {
    let content = |field, path: &Path, why| PairError::Content {
        field,
        path: path.display().to_string(),
        why,
    };
    let no_certificate = || content("certFile", &files.cert_file, "holds no certificates in PEM");
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&contents.certificate)
        .collect::<Result<_, _>>()
        .map_err(|_| no_certificate())?;
    let first = chain.first().ok_or_else(no_certificate)?;
    let not_after = not_after(first).ok_or_else(no_certificate)?;
    let key = PrivateKeyDer::from_pem_slice(&contents.key)
        .map_err(|_| content("keyFile", &files.key_file, "holds no private key in PEM"))?;
    let config = config(chain, key).map_err(|why| unusable(files, why))?;
    Ok(Pair { config: Arc::new(config), not_after })
}

fn config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, &'static str> {
    // The suites of rustls: AEAD with forward secrecy, nothing else.
    let provider: CryptoProvider = aws_lc_rs::default_provider();
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])
        .map_err(|_| "there is no version of TLS")?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|_| "the certificate and the key do not belong together, or are of no kind that is known")?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    // A ticket is all that a client needs to come back, and is kept by the client: a storm of reconnects signs nothing, and
    // no memory is held for those who are away. Its keys change every six hours, and with the pair.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(|_| "the system has no random numbers")?;
    config.send_tls13_tickets = 1;
    // What comes before the handshake ends can be sent again by anybody.
    config.max_early_data_size = 0;
    Ok(config)
}
