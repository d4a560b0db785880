//! A certificate authority for NATS: certificates of servers on loopback and of clients.

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};

/// An authority of its own.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as PEM.
#[derive(Clone, Debug)]
pub struct Certified {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

/// `CertifiedIssuer` has no `Debug`.
impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority")
    }
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn new(name: &str) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        Ok(Self(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?))
    }

    /// Its certificate, as PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// For a server on loopback.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn server(&self) -> Result<Certified> {
        self.server_of(&["127.0.0.1", "localhost"])
    }

    /// For a server with these names and addresses.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn server_of(&self, names: &[&str]) -> Result<Certified> {
        let names = names.iter().map(ToString::to_string).collect();
        self.leaf("server", names, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// For a client.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn client(&self, name: &str) -> Result<Certified> {
        self.leaf(name, vec![name.to_owned()], ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn leaf(
        &self,
        name: &str,
        names: Vec<String>,
        usage: ExtendedKeyUsagePurpose,
    ) -> Result<Certified> {
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.0)?;
        Ok(Certified { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}
