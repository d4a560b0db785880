//! Networks in CIDR notation.

use std::fmt::{Display, Formatter};
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A network, written as an address, a slash and a number of bits: `10.0.0.0/8`, `fd00::/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// A text that is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "write an address, a slash and a number of bits, such as 10.0.0.0/8 or fd00::/8; an address alone is 192.0.2.7/32"
)]
pub struct BadNetwork;

impl Network {
    /// Whether an address is one of the network's. An IPv4 address that is written as one of IPv6 is one of IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let host = u32::MAX.checked_shr(self.bits.into()).unwrap_or(0);
                own.to_bits() | host == other.to_bits() | host
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let host = u128::MAX.checked_shr(self.bits.into()).unwrap_or(0);
                own.to_bits() | host == other.to_bits() | host
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = BadNetwork;

    fn from_str(text: &str) -> Result<Self, BadNetwork> {
        let (address, bits) = text.split_once('/').ok_or(BadNetwork)?;
        let address: IpAddr = address.parse().map_err(|_| BadNetwork)?;
        let plain = (1..=3).contains(&bits.len()) && bits.bytes().all(|byte| byte.is_ascii_digit());
        let bits: u8 = bits.parse().ok().filter(|_| plain).ok_or(BadNetwork)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        if bits <= most { Ok(Self { address, bits }) } else { Err(BadNetwork) }
    }
}

impl Display for Network {
    fn fmt(&self, out: &mut Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}/{}", self.address, self.bits)
    }
}

impl TryFrom<String> for Network {
    type Error = BadNetwork;

    fn try_from(text: String) -> Result<Self, BadNetwork> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_an_address_and_its_bits() {
        for good in ["10.0.0.0/8", "0.0.0.0/0", "192.168.1.1/32", "fd00::/8", "::/0", "::1/128"] {
            assert_eq!(good.parse::<Network>().map(String::from), Ok(good.to_owned()));
        }
        for bad in [
            "",
            "10.0.0.0",
            "10.0.0.0/33",
            "10.0.0/8",
            "999.0.0.0/8",
            "::/129",
            "::/+1",
            "a/8",
            "/8",
            "::/",
            "10.0.0.0/0008",
        ] {
            assert_eq!(bad.parse::<Network>(), Err(BadNetwork), "{bad}");
        }
    }

    #[test]
    fn a_network_contains_the_addresses_that_begin_as_it_does() {
        let contains = |network: &str, address: &str| {
            network.parse::<Network>().unwrap().contains(address.parse().unwrap())
        };
        assert!(contains("10.1.2.3/8", "10.255.255.255") && !contains("10.0.0.0/8", "11.0.0.0"));
        assert!(contains("0.0.0.0/0", "192.0.2.1") && !contains("0.0.0.0/0", "::1"));
        assert!(contains("192.0.2.1/32", "192.0.2.1") && !contains("192.0.2.1/32", "192.0.2.2"));
        assert!(contains("192.0.2.0/24", "::ffff:192.0.2.9"), "IPv4 on a socket of IPv6");
        assert!(contains("2001:db8::/33", "2001:db8:7fff::1"));
        assert!(!contains("2001:db8::/33", "2001:db8:8000::1"));
        assert!(contains("::1/128", "::1") && contains("::/0", "ff::"));
    }
}
