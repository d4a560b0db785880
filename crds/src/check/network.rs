//! Rules of who may connect.

use std::collections::BTreeSet;

use super::errors::Errors;
use crate::ValidNetwork;
use crate::is_class_name as is_label_of_dns;
use crate::spec::Network;

const MOST: usize = 32;

pub(super) fn network(network: &Network, errors: &mut Errors) -> ValidNetwork {
    let (networks, namespaces) = (&network.client_networks, &network.client_namespaces);
    errors.ensure(
        are_different(networks) && networks.iter().all(|text| text.parse::<wsgateway_config::Network>().is_ok()),
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
