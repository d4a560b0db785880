//! Secrets that a WsGateway names, read for the operator's own connection to NATS.
//!
//! In: a checked WsGateway. Out: an [`Access`] with the values, or what is missing, by name. What a Secret holds goes
//! nowhere else: pods get theirs from the kubelet. Changes are noticed by a watch of metadata (`controller.rs`).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use wsgateway_crds::{SecretKey, ValidCredentials, ValidNats};
use wsgateway_nats::{Access, Auth, Material, Tls};

use crate::context::Context;

/// Why the connection to NATS cannot be tried. Looking again soon may help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct SecretTrouble {
    /// Static, for conditions and metrics.
    pub(crate) reason: &'static str,
    message: String,
}

type Data = BTreeMap<String, ByteString>;

/// How to reach the NATS servers of a WsGateway.
pub(crate) async fn access(
    namespace: &str,
    nats: &ValidNats,
    context: &Context,
) -> Result<Access, SecretTrouble> {
    let api: Api<Secret> = Api::namespaced(context.client.clone(), namespace);
    let mut found: BTreeMap<String, Data> = BTreeMap::new();
    for file in nats.files() {
        let name = file.source.name;
        if let Entry::Vacant(place) = found.entry(name.clone()) {
            place.insert(fetch(&api, &name, namespace).await?);
        }
    }
    assemble(nats, &found)
}

async fn fetch(api: &Api<Secret>, name: &str, namespace: &str) -> Result<Data, SecretTrouble> {
    match api.get_opt(name).await {
        Ok(Some(secret)) => Ok(secret.data.unwrap_or_default()),
        Ok(None) => Err(SecretTrouble {
            reason: "SecretMissing",
            message: format!(
                "there is no Secret {name} in namespace {namespace}: create it there (see \"Connecting to NATS\" in \
                 docs/configuration.md), or correct spec.nats; it is looked for again"
            ),
        }),
        Err(kube::Error::Api(status)) if status.is_forbidden() => Err(SecretTrouble {
            reason: "SecretForbidden",
            message: format!(
                "the operator may not read Secret {name}: let it get, list and watch Secrets, as its chart does"
            ),
        }),
        // The error could hold the object.
        Err(_unsaid) => Err(SecretTrouble {
            reason: "SecretUnreadable",
            message: format!("the API server did not give Secret {name}; it is asked again"),
        }),
    }
}

/// Puts the values in place, each under the name by which a person finds it.
fn assemble(nats: &ValidNats, found: &BTreeMap<String, Data>) -> Result<Access, SecretTrouble> {
    let value = |at: &SecretKey| {
        let SecretKey { name, key } = at;
        let data = found.get(name);
        let bytes = data.and_then(|data| data.get(key)).ok_or_else(|| {
            let keys: Vec<&str> = data.into_iter().flatten().map(|(key, _)| key.as_str()).collect();
            SecretTrouble {
                reason: "SecretMissing",
                message: format!(
                    "Secret {name} has no key {key}, only {keys:?}: add it, or name another key in spec.nats"
                ),
            }
        })?;
        Ok(Material::Value {
            name: format!("key {key} of Secret {name}"),
            bytes: bytes.0.as_slice().into(),
        })
    };
    let auth = match &nats.credentials {
        None => None,
        Some(ValidCredentials::Creds(at)) => Some(Auth::Creds(value(at)?)),
        Some(ValidCredentials::Nkey(at)) => Some(Auth::Nkey(value(at)?)),
        Some(ValidCredentials::Token(at)) => Some(Auth::Token(value(at)?)),
        Some(ValidCredentials::Password { user, password }) => {
            Some(Auth::Password { user: value(user)?, password: value(password)? })
        }
    };
    let tls = match &nats.tls {
        None => None,
        Some(tls) => Some(Tls {
            ca: tls.ca.as_ref().map(value).transpose()?,
            client: match &tls.client {
                Some((certificate, key)) => Some((value(certificate)?, value(key)?)),
                None => None,
            },
        }),
    };
    Ok(Access {
        servers: nats.servers.clone(),
        auth,
        tls,
        inbox_prefix: nats.inbox_prefix.clone(),
        handshake_first: nats.tls.as_ref().is_some_and(|tls| tls.handshake_first),
    })
}

#[cfg(test)]
mod tests {
    use wsgateway_crds::{parse, validate};

    use super::*;

    fn gateway(nats: &str) -> ValidNats {
        let text = format!(
            "{{apiVersion: wsgateway.dev/v1alpha1, kind: WsGateway, metadata: {{name: tiny}}, \
             spec: {{nats: {{servers: ['nats://nats'], {nats}}}, stream: {{name: TINY, subjects: ['tiny.>']}}}}}}"
        );
        validate(&parse(&text).unwrap()).unwrap().source.nats().unwrap().clone()
    }

    fn secrets(pairs: &[(&str, &str)]) -> BTreeMap<String, Data> {
        let data = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())));
        [("s".to_owned(), data.collect())].into()
    }

    #[test]
    fn a_key_that_is_missing_is_named_beside_those_that_are_there_and_no_value_is_told() {
        let gateway = gateway("credentials: {name: s, key: nats.creds}");
        let trouble = assemble(&gateway, &secrets(&[("creds", "hidden")])).unwrap_err();
        assert_eq!(trouble.reason, "SecretMissing");
        assert!(trouble.message.contains("no key nats.creds, only [\"creds\"]"), "{trouble}");
        assert!(!trouble.message.contains("hidden"), "{trouble}");
    }

    #[test]
    fn values_get_names_that_a_person_finds_and_are_not_shown() {
        let gateway = gateway(
            "credentials: {userPassword: {name: s}}, tls: {caSecret: {name: s}, clientSecret: {name: s}}",
        );
        let keys = ["username", "password", "ca.crt", "tls.crt", "tls.key"];
        let access = assemble(&gateway, &secrets(&keys.map(|key| (key, "hidden")))).unwrap();
        let shown = format!("{access:?}");
        for key in keys {
            assert!(shown.contains(&format!("key {key} of Secret s")), "{shown}");
        }
        assert!(!shown.contains("hidden"), "{shown}");
    }
}
