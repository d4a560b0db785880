//! When a certificate expires.

/// The end of its validity (Unix time, s); none if it is no certificate.
pub(super) fn not_after(der: &[u8]) -> Option<i64> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    Some(certificate.validity().not_after.timestamp())
}
