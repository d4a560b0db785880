//! Who is trusted for `wss`.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};

use crate::builder::BuildError;

/// Trusts these authorities, or those of the system when there are none.
pub(crate) fn config(pem: Option<&[u8]>) -> Result<Arc<ClientConfig>, BuildError> {
    let mut roots = RootCertStore::empty();
    match pem {
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|_| BuildError::Authority)?;
                roots.add(certificate).map_err(|_| BuildError::Authority)?;
            }
            if roots.is_empty() {
                return Err(BuildError::Authority);
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    // A provider of its own: the program may have installed another one, or none.
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|_| BuildError::Authority)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
