//! Certificates and keys from PEM, checked before a handshake meets them.

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore};

use super::Material;
use super::load::MaterialError;

/// Who is trusted and who we are, in rustls' words.
#[derive(Debug, Default)]
pub(crate) struct Certificates {
    roots: Option<RootCertStore>,
    client: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

impl Certificates {
    /// From the bytes of the authorities, and of our certificate and its key.
    pub(super) fn parse(
        ca: Option<(&Material, &[u8])>,
        client: Option<[(&Material, &[u8]); 2]>,
    ) -> Result<Self, MaterialError> {
        Ok(Self {
            roots: ca.map(|(material, bytes)| roots(material, bytes)).transpose()?,
            client: client.map(client_certificate).transpose()?,
        })
    }

    /// A configuration that trusts these authorities alone, or the system's if there are none.
    pub(crate) fn into_config(self) -> Result<ClientConfig, rustls::Error> {
        let builder =
            ClientConfig::builder().with_root_certificates(self.roots.unwrap_or_else(system_roots));
        match self.client {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key),
            None => Ok(builder.with_no_client_auth()),
        }
    }
}

/// What cannot be read of them is left out: a server that needs it is refused then, and the error says why.
fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

fn chain(material: &Material, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, MaterialError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(bytes)
        .collect::<Result<_, _>>()
        .map_err(|error| MaterialError::new(material, format!("is no PEM: {error}")))?;
    if chain.is_empty() {
        return Err(MaterialError::new(
            material,
            "holds no certificate: it must begin with -----BEGIN CERTIFICATE-----",
        ));
    }
    Ok(chain)
}

fn roots(material: &Material, bytes: &[u8]) -> Result<RootCertStore, MaterialError> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(material, bytes)? {
        roots.add(certificate).map_err(|error| {
            MaterialError::new(material, format!("holds a certificate that is none: {error}"))
        })?;
    }
    Ok(roots)
}

fn client_certificate(
    [(certificate, chain_bytes), (key, key_bytes)]: [(&Material, &[u8]); 2],
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), MaterialError> {
    let chain = chain(certificate, chain_bytes)?;
    // What the parser says of a key could hold parts of it.
    let private = PrivateKeyDer::from_pem_slice(key_bytes).map_err(|_secret| {
        MaterialError::new(key, "holds no private key in PEM (PKCS #8, SEC1 or PKCS #1)")
    })?;
    CertifiedKey::from_der(chain.clone(), private.clone_key(), &aws_lc_rs::default_provider())
        .map_err(|error| {
            MaterialError::new(
                key,
                format!("does not fit the certificate in {certificate}: {error}"),
            )
        })?;
    Ok((chain, private))
}
