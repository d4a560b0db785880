//! The certificate by which the API server knows this API: self-signed, its own authority, renewed long before it ends.
//! During a renewal the old one is trusted, too, since each operator serves what it has read last.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use x509_parser::pem::Pem;

/// From begin to end.
const LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);
/// It is renewed when less than so much of it is left.
const LEFT: Duration = Duration::from_secs(120 * 24 * 3600);
/// Clocks of others may be late.
const EARLIER: Duration = Duration::from_secs(3600);

/// A certificate with its key, and what the API server is to trust. All are PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Certificate {
    pub(super) certificate: String,
    pub(super) key: String,
    pub(super) trusted: String,
}

/// Why none can be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make a certificate: {0}")]
pub(super) struct NotMade(String);

impl Certificate {
    /// A new one for a host; certificates of before stay trusted while they are valid.
    pub(super) fn make(host: &str, before: Option<&Self>, now: Timestamp) -> Result<Self, NotMade> {
        let failed = |error: &dyn std::error::Error| NotMade(error.to_string());
        let mut parameters =
            CertificateParams::new(vec![host.to_owned()]).map_err(|error| failed(&error))?;
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, host.chars().take(64).collect::<String>());
        parameters.distinguished_name = name;
        let at = |time: Timestamp| std::time::SystemTime::from(time).into();
        parameters.not_before = at(now.saturating_sub(EARLIER).map_err(|error| failed(&error))?);
        parameters.not_after = at(now.saturating_add(LIFETIME).map_err(|error| failed(&error))?);
        let key = KeyPair::generate().map_err(|error| failed(&error))?;
        let certificate = parameters.self_signed(&key).map_err(|error| failed(&error))?.pem();
        let old = before
            .filter(|before| is_valid(&before.certificate, now, Duration::ZERO))
            .map_or("", |before| before.certificate.as_str());
        let trusted = format!("{certificate}{old}");
        Ok(Self { certificate, key: key.serialize_pem(), trusted })
    }

    /// Whether it can be used and has long enough to go.
    pub(super) fn is_good(&self, host: &str, now: Timestamp) -> bool {
        is_valid(&self.certificate, now, LEFT)
            && names(&self.certificate).iter().any(|name| name == host)
    }

    /// Whether it can be used at this moment.
    pub(super) fn is_usable(&self, now: Timestamp) -> bool {
        is_valid(&self.certificate, now, Duration::ZERO)
    }

    /// When it expires (Unix time, s), if it is a certificate.
    pub(super) fn expires(&self) -> Option<i64> {
        let pem = first(&self.certificate)?;
        Some(pem.parse_x509().ok()?.validity().not_after.timestamp())
    }
}

/// Whether a certificate is valid now and for so long.
fn is_valid(pem: &str, now: Timestamp, left: Duration) -> bool {
    let Some(pem) = first(pem) else { return false };
    let Ok(certificate) = pem.parse_x509() else { return false };
    let validity = certificate.validity();
    let left = i64::try_from(left.as_secs()).unwrap_or(i64::MAX);
    let now = now.as_second();
    validity.not_before.timestamp() <= now
        && now.saturating_add(left) < validity.not_after.timestamp()
}

fn names(pem: &str) -> Vec<String> {
    let Some(pem) = first(pem) else { return Vec::new() };
    let Ok(certificate) = pem.parse_x509() else { return Vec::new() };
    let Ok(Some(alternatives)) = certificate.subject_alternative_name() else { return Vec::new() };
    let names = alternatives.value.general_names.iter();
    names
        .filter_map(|name| match name {
            x509_parser::extensions::GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        })
        .collect()
}

fn first(pem: &str) -> Option<Pem> {
    Pem::iter_from_buffer(pem.as_bytes()).next()?.ok()
}

/// The common name of a certificate in DER.
pub(super) fn common_name(der: &[u8]) -> Option<String> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    let name = certificate.subject().iter_common_name().next()?;
    name.as_str().ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "metrics.wsgateway-system.svc";

    fn day(number: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + number * 86_400).unwrap()
    }

    #[test]
    fn it_is_good_for_eight_months_and_for_its_host_alone() {
        let made = Certificate::make(HOST, None, day(0)).unwrap();
        assert!(made.is_good(HOST, day(0)) && made.is_good(HOST, day(244)));
        assert!(!made.is_good(HOST, day(246)) && !made.is_good(HOST, day(400)));
        assert!(!made.is_good("elsewhere.svc", day(0)));
        assert!(!made.is_good(HOST, day(-2)), "not yet");
        assert!(made.is_usable(day(364)) && !made.is_usable(day(366)));
        assert_eq!(made.expires(), Some(day(365).as_second()));
        let der = first(&made.certificate).unwrap().contents;
        assert_eq!(common_name(&der).as_deref(), Some(HOST));
    }

    #[test]
    fn the_one_before_is_trusted_until_it_ends() {
        let trusted = |certificate: &Certificate| {
            Pem::iter_from_buffer(certificate.trusted.as_bytes()).count()
        };
        let first = Certificate::make(HOST, None, day(0)).unwrap();
        let second = Certificate::make(HOST, Some(&first), day(250)).unwrap();
        assert_eq!((trusted(&first), trusted(&second)), (1, 2));
        assert!(second.trusted.contains(&first.certificate));
        let third = Certificate::make(HOST, Some(&second), day(500)).unwrap();
        assert!(trusted(&third) == 2 && !third.trusted.contains(&first.certificate));
        let late = Certificate::make(HOST, Some(&third), day(1_000)).unwrap();
        assert_eq!(trusted(&late), 1);
    }

    #[test]
    fn what_is_no_certificate_is_not_good() {
        for certificate in
            ["", "PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
        {
            let odd = Certificate {
                certificate: certificate.to_owned(),
                key: String::new(),
                trusted: String::new(),
            };
            assert!(!odd.is_good(HOST, day(0)), "{certificate}");
            assert!(!odd.is_usable(day(0)) && odd.expires().is_none());
            assert!(Certificate::make(HOST, Some(&odd), day(0)).is_ok());
        }
        assert_eq!(common_name(b"no DER"), None);
    }
}
