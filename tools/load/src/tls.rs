//! TLS of the clients: whom they trust.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use serde::{Deserialize, Serialize};
use wsgateway_client::swarm::Tls;

/// Whom clients trust.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Trust {
    /// The authorities of this system.
    System,
    /// These authorities (PEM).
    Authorities(String),
    /// Everybody: certificates are not checked.
    Anybody,
}

/// Why clients cannot speak TLS.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TlsError {
    /// The host is none that a certificate can have.
    #[error("{0} is no name that a certificate can have")]
    Name(String),
    /// No authority.
    #[error("there is no certificate of an authority (PEM) to trust")]
    NoAuthority,
    /// Another fault.
    #[error("no TLS: {0}")]
    Tls(#[from] rustls::Error),
}

impl Trust {
    /// TLS with a host. Sessions are not resumed: each connection is one of somebody who comes for the first time.
    ///
    /// # Errors
    /// When there is nobody to trust, or the host has no name.
    pub fn tls(&self, host: &str) -> Result<Tls, TlsError> {
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|_| TlsError::Name(host.to_owned()))?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let mut config = match self.roots() {
            None => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)))
            }
            Some(roots) if roots.is_empty() => return Err(TlsError::NoAuthority),
            Some(roots) => builder.with_root_certificates(roots),
        }
        .with_no_client_auth();
        config.resumption = Resumption::disabled();
        // A load balancer that speaks HTTP/2 would otherwise choose it for an upgrade that only HTTP/1.1 has.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Tls { config: Arc::new(config), name })
    }

    fn roots(&self) -> Option<RootCertStore> {
        let mut roots = RootCertStore::empty();
        match self {
            Self::System => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
            Self::Authorities(pem) => {
                let certificates = CertificateDer::pem_slice_iter(pem.as_bytes());
                roots.add_parsable_certificates(certificates.filter_map(Result::ok));
            }
            Self::Anybody => return None,
        }
        Some(roots)
    }
}

/// Takes every certificate. Signatures are checked, as by every client.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_an_authority_or_a_name_there_is_no_tls() {
        let nobody = Trust::Authorities("no certificate".to_owned());
        assert_eq!(nobody.tls("a.example").unwrap_err(), TlsError::NoAuthority);
        assert!(matches!(Trust::Anybody.tls("a b"), Err(TlsError::Name(_))));
        let tls = Trust::Anybody.tls("::1").unwrap();
        assert_eq!(tls.name.to_str(), "::1");
    }
}
