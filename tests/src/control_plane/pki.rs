//! The certificates of one control plane: a CA for servers and clients, one for the front proxy, the keys
//! that sign service account tokens, and a client certificate for every identity that is asked for.

use std::path::PathBuf;

use anyhow::{Result, bail};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};

use super::{Identity, servers::Layout};

type Authority = CertifiedIssuer<'static, KeyPair>;

/// The `organizationName` attribute by number. The name's attributes are a map, so this is the way to have
/// two of a kind: Kubernetes reads every organization as a group.
const ORGANIZATION: &[u64] = &[2, 5, 4, 10];

#[derive(Debug)]
pub(super) struct Pki {
    folder: PathBuf,
    ca: AuthorityOf,
}

/// `CertifiedIssuer` has no `Debug`.
struct AuthorityOf(Authority);

impl std::fmt::Debug for AuthorityOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority")
    }
}

impl Pki {
    /// Makes the authorities and the servers' certificates, as files.
    pub(super) fn make(layout: &Layout) -> Result<Self> {
        let folder = layout.pki("");
        let ca = authority("ca")?;
        let front_proxy = authority("front-proxy-ca")?;
        let pki = Self { folder, ca: AuthorityOf(ca) };
        pki.write("ca.crt", &pki.ca.0.pem())?;
        pki.write("front-proxy-ca.crt", &front_proxy.pem())?;

        let names = ["127.0.0.1", "localhost", "kubernetes.default.svc"].map(str::to_owned);
        let mut server = leaf(name("kube-apiserver", &[]), names.to_vec())?;
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        pki.sign("apiserver", &server, &pki.ca.0)?;
        pki.sign("front-proxy", &leaf(name("front-proxy", &[]), Vec::new())?, &front_proxy)?;

        let accounts = KeyPair::generate()?;
        pki.write("sa.key", &accounts.serialize_pem())?;
        pki.write("sa.pub", &accounts.public_key_pem())?;
        Ok(pki)
    }

    /// Paths of a new client certificate and its key.
    pub(super) fn client(&self, who: &Identity) -> Result<(PathBuf, PathBuf)> {
        if who.groups.len() > 2 {
            bail!("{} has {} groups; a test's certificate holds two", who.user, who.groups.len());
        }
        let params = leaf(name(&who.user, &who.groups), Vec::new())?;
        self.sign(&format!("client-{}", who.user.replace(':', ".")), &params, &self.ca.0)
    }

    fn sign(
        &self,
        file: &str,
        params: &CertificateParams,
        issuer: &Authority,
    ) -> Result<(PathBuf, PathBuf)> {
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, issuer)?;
        Ok((
            self.write(&format!("{file}.crt"), &certificate.pem())?,
            self.write(&format!("{file}.key"), &key.serialize_pem())?,
        ))
    }

    fn write(&self, file: &str, pem: &str) -> Result<PathBuf> {
        let path = self.folder.join(file);
        std::fs::write(&path, pem)?;
        Ok(path)
    }
}

fn authority(common_name: &str) -> Result<Authority> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = name(common_name, &[]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

fn leaf(subject: DistinguishedName, names: Vec<String>) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = subject;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    Ok(params)
}

fn name(user: &str, groups: &[String]) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, user);
    let kinds = [DnType::OrganizationName, DnType::CustomDnType(ORGANIZATION.to_vec())];
    for (kind, group) in kinds.into_iter().zip(groups) {
        name.push(kind, group.as_str());
    }
    name
}
