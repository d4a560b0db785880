//! Which of several operators keeps a WsGateway: the one of its class, as it is with IngressClass.

use wsgateway_crds::WsGateway;

/// Whether an operator of class `ours` keeps this WsGateway. An operator without a class keeps those without one.
pub(crate) fn keeps(ours: &str, gateway: &WsGateway) -> bool {
    gateway.spec.class == ours
}

#[cfg(test)]
mod tests {
    use wsgateway_crds::parse;

    use super::*;

    #[test]
    fn every_wsgateway_has_exactly_one_class_of_operators() {
        let sample = include_str!("../../manifests/samples/odin.yaml");
        for (manifest, class) in [
            (sample.to_owned(), ""),
            (sample.replace("spec:\n", "spec:\n  class: internal\n"), "internal"),
            (sample.replace("spec:\n", "spec:\n  class: ''\n"), ""),
        ] {
            let gateway = parse(&manifest).unwrap();
            let keepers =
                ["", "internal", "other"].into_iter().filter(|ours| keeps(ours, &gateway));
            assert_eq!(keepers.collect::<Vec<_>>(), [class]);
        }
    }
}
