//! Rules of who may connect.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::errors::Errors;
use crate::ValidNetwork;
use crate::is_class_name as is_label_of_dns;
use crate::spec::Network;

const MOST: usize = 32;

pub(super) fn network(network: &Network, errors: &mut Errors) -> ValidNetwork {
    let (networks, namespaces) = (&network.client_networks, &network.client_namespaces);
    errors.ensure(
        are_different(networks) && networks.iter().all(|text| is_network(text)),
        "spec.network.clientNetworks",
        "are at most 32 different networks: write an address, a slash and a number of bits, such as 10.0.0.0/8 or fd00::/8",
    );
    errors.ensure(
        are_different(namespaces) && namespaces.iter().all(|name| is_label_of_dns(name)),
        "spec.network.clientNamespaces",
        "are at most 32 different names of namespaces, such as ingress-nginx",
    );
    ValidNetwork { client_networks: networks.clone(), client_namespaces: namespaces.clone() }
}

fn are_different(texts: &[String]) -> bool {
    texts.len() <= MOST && texts.iter().collect::<BTreeSet<_>>().len() == texts.len()
}

fn is_network(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    let plain = !bits.is_empty() && bits.len() <= 3 && bits.chars().all(|c| c.is_ascii_digit());
    match (address.parse(), bits.parse::<u8>()) {
        (Ok(IpAddr::V4(_)), Ok(bits)) => plain && bits <= 32,
        (Ok(IpAddr::V6(_)), Ok(bits)) => plain && bits <= 128,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_an_address_and_its_bits() {
        for good in ["10.0.0.0/8", "0.0.0.0/0", "192.168.1.1/32", "fd00::/8", "::/0", "::1/128"] {
            assert!(is_network(good), "{good}");
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
        ] {
            assert!(!is_network(bad), "{bad}");
        }
    }
}
