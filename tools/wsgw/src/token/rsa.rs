//! RSA keys between PKCS #8, which the crypto library makes, and the parts of a JWK (pure but for generating one).
//!
//! A JWK has the numbers of RFC 8017's RSAPrivateKey (RFC 7518 section 6.3.2), so all that is needed of DER is a sequence of
//! integers. The crypto library judges the key; nothing of one is in an error.

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};

use super::key::KeyError;

/// Numbers of a key, in the order of RFC 8017: n, e, d, p, q, dp, dq, qi. Big-endian, without zeros before them.
pub(super) type Numbers = [Vec<u8>; 8];

const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const SEQUENCE: u8 = 0x30;
/// The largest modulus that gateways verify with, 8192 bits: no number of a key is longer.
const LONGEST: usize = 1024;

/// A new key of 2048 bits, which gateways want at least, and which signs four times as fast as one of 3072.
pub(super) fn generate() -> Result<Numbers, KeyError> {
    let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| KeyError::Crypto)?;
    let der: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| KeyError::Crypto)?;
    numbers(der.as_ref()).ok_or(KeyError::Crypto)
}

/// The key as a DER RSAPrivateKey; an error if it is none that can sign for a gateway.
pub(super) fn to_der(numbers: &Numbers) -> Result<Vec<u8>, KeyError> {
    if numbers.iter().any(|number| number.is_empty() || number.len() > LONGEST) {
        return Err(KeyError::Rsa);
    }
    let mut content = element(INTEGER, &[0]); // two primes
    for number in numbers {
        let mut bytes = number.clone();
        // A first bit that is set would make it negative.
        if bytes.first().is_some_and(|first| first & 0x80 != 0) {
            bytes.insert(0, 0);
        }
        content.extend(element(INTEGER, &bytes));
    }
    let der = element(SEQUENCE, &content);
    KeyPair::from_der(&der).map_err(|_| KeyError::Rsa)?;
    Ok(der)
}

/// The numbers in a PKCS #8 text: version, algorithm, and the RSAPrivateKey as octets (RFC 5208).
fn numbers(pkcs8: &[u8]) -> Option<Numbers> {
    let (info, _) = take(SEQUENCE, pkcs8)?;
    let (_, rest) = take(INTEGER, info)?;
    let (_, rest) = take(SEQUENCE, rest)?;
    let (key, _) = take(OCTETS, rest)?;
    let (key, _) = take(SEQUENCE, key)?;
    let (_, mut rest) = take(INTEGER, key)?;
    let mut numbers = Numbers::default();
    for number in &mut numbers {
        let (bytes, next) = take(INTEGER, rest)?;
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        *number = bytes.get(zeros..)?.to_vec();
        rest = next;
    }
    Some(numbers)
}

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let zeros = length.iter().take_while(|byte| **byte == 0).count();
    let length = length.get(zeros..).unwrap_or_default();
    let mut out = vec![tag];
    if content.len() >= 0x80 {
        out.push(0x80 | length.len() as u8); // at most 8
    }
    out.extend(if content.is_empty() { &[0] } else { length });
    out.extend(content);
    out
}

/// The content of the first element, which has this tag, and what follows it.
fn take(tag: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (found, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match *first {
        short @ ..=0x7f => (usize::from(short), rest),
        long @ 0x81..=0x83 => {
            let (length, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            (length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    if *found == tag { rest.split_at_checked(length) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_has_2048_bits_and_goes_to_der_and_is_judged_there() {
        let numbers = generate().unwrap();
        let [n, e, ..] = &numbers;
        assert_eq!((n.len(), n[0] & 0x80, e.as_slice()), (256, 0x80, &[1, 0, 1][..]));
        assert!(to_der(&numbers).is_ok());
        for broken in 0..8 {
            for number in [Vec::new(), vec![0], vec![3; 64], vec![0xff; 2000]] {
                let mut numbers = numbers.clone();
                numbers[broken] = number;
                assert_eq!(to_der(&numbers), Err(KeyError::Rsa), "{broken}");
            }
        }
    }

    #[test]
    fn whatever_is_no_pkcs_8_has_no_numbers() {
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
        let der = der.as_ref();
        for end in 0..der.len() {
            assert!(numbers(&der[..end]).is_none(), "{end}");
        }
        for bytes in [&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff][..], &[0x30, 0x80], &[0x30, 0x83, 1]] {
            assert!(numbers(bytes).is_none());
        }
    }
}
