//! TLS towards Redis, with the process's own cryptography and nobody else's.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, crypto};
use tokio_rustls::TlsConnector;

use super::super::Ended;

/// What is needed for a handshake with `host`. Files are read anew, so that a renewed authority is known at the next
/// connection.
pub(super) fn connector(
    ca_file: Option<&Path>,
    host: &str,
) -> Result<(TlsConnector, ServerName<'static>), Ended> {
    let roots = match ca_file {
        Some(file) => from_file(file)?,
        None => from_system()?,
    };
    let name = ServerName::try_from(host.to_owned())
        .map_err(|error| Ended::Settings(format!("{host}: {error}")))?;
    let config =
        ClientConfig::builder_with_provider(Arc::new(crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| Ended::Settings(format!("TLS: {error}")))?
            .with_root_certificates(roots)
            .with_no_client_auth();
    Ok((TlsConnector::from(Arc::new(config)), name))
}

fn from_file(file: &Path) -> Result<RootCertStore, Ended> {
    let settings =
        |why: &dyn std::fmt::Display| Ended::Settings(format!("caFile {}: {why}", file.display()));
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(file).map_err(|error| settings(&error))?;
    for certificate in certificates {
        roots
            .add(certificate.map_err(|error| settings(&error))?)
            .map_err(|error| settings(&error))?;
    }
    if roots.is_empty() {
        return Err(settings(&"holds no certificate"));
    }
    Ok(roots)
}

fn from_system() -> Result<RootCertStore, Ended> {
    let mut roots = RootCertStore::empty();
    let (added, _) =
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if added == 0 {
        let why = "the system holds no certificates of authorities: name yours in caFile";
        return Err(Ended::Settings(why.to_owned()));
    }
    Ok(roots)
}
