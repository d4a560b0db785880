//! Secrets that a WsGateway names, read for the operator's own connection to NATS.
//!
//! In: a checked WsGateway. Out: an [`Access`] with the values, or what is missing, by name. What a Secret holds goes
//! nowhere else: pods get theirs from the kubelet. Of the keys of tokens, and of the certificate that clients are shown,
//! nothing is read but whether they exist.
//!
//! Whoever writes a WsGateway chooses the addresses that its Secrets are sent to, and sees which tokens a key accepts. So a
//! Secret is used, by the operator and by the pods that it makes, only if it has the label [`SECRET_ALLOW`]; and a status
//! says of a Secret only what the WsGateway itself names ([ADR 0026](../../docs/adr/0026-who-may-use-what.md),
//! [ADR 0047](../../docs/adr/0047-keys-of-tokens-are-allowed-secrets.md)).

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Container, PodSpec, PodTemplateSpec, Secret};
use kube::Api;
use kube::api::ObjectMeta;
use wsgateway_crds::{
    SECRET_ALLOW, SecretFile, SecretKey, ValidCredentials, ValidGateway, ValidNats,
};
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
    assemble(nats, &fetch_all(&nats.files(), namespace, context).await?)
}

/// Names of the Secrets with the keys of tokens and the certificate that clients are shown, each of which has what is named
/// of it: a pod would wait for a key that does not exist, and say so to the kubelet alone.
pub(crate) async fn of_clients(
    gateway: &ValidGateway,
    context: &Context,
) -> Result<BTreeSet<String>, SecretTrouble> {
    let auth = gateway.auth.as_ref().map(|auth| ("spec.auth", auth.files.clone()));
    let tls = gateway.tls.as_ref().map(|tls| ("spec.listener.tls", tls.files()));
    let mut names = BTreeSet::new();
    for (section, files) in auth.into_iter().chain(tls) {
        let found = fetch_all(&files, &gateway.namespace, context).await?;
        files.iter().try_for_each(|file| value(&file.source, &found, section).map(drop))?;
        names.extend(found.into_keys());
    }
    Ok(names)
}

async fn fetch_all(
    files: &[SecretFile],
    namespace: &str,
    context: &Context,
) -> Result<BTreeMap<String, Data>, SecretTrouble> {
    let api: Api<Secret> = Api::namespaced(context.client.clone(), namespace);
    let mut found: BTreeMap<String, Data> = BTreeMap::new();
    for file in files {
        let name = &file.source.name;
        if let Entry::Vacant(place) = found.entry(name.clone()) {
            place.insert(fetch(&api, name, namespace).await?);
        }
    }
    Ok(found)
}

async fn fetch(api: &Api<Secret>, name: &str, namespace: &str) -> Result<Data, SecretTrouble> {
    let secret = found(api.get_opt(name).await, name, namespace)?;
    check(&secret.metadata, name, namespace)?;
    Ok(secret.data.unwrap_or_default())
}

/// Which of the Secrets that pods would get must not, or cannot, be given to them: the first, with what to do. `proven`
/// are names that need not be asked for again.
pub(crate) async fn withheld(
    template: &PodTemplateSpec,
    proven: &BTreeSet<String>,
    namespace: &str,
    context: &Context,
) -> Option<SecretTrouble> {
    let api: Api<Secret> = Api::namespaced(context.client.clone(), namespace);
    for name in template.spec.iter().flat_map(mounted).filter(|name| !proven.contains(name)) {
        let checked = match found(api.get_metadata_opt(&name).await, &name, namespace) {
            Ok(secret) => check(&secret.metadata, &name, namespace),
            Err(trouble) => Err(trouble),
        };
        if let Err(trouble) = checked {
            return Some(trouble);
        }
    }
    None
}

/// Names of all Secrets whose content reaches the containers of a pod, by whatever way. Those for pulling images do not:
/// the kubelet sends each to its own registry.
fn mounted(pod: &PodSpec) -> BTreeSet<String> {
    let volumes = pod.volumes.iter().flatten().flat_map(|volume| {
        let whole = volume.secret.iter().filter_map(|secret| secret.secret_name.clone());
        let sources =
            volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
        let parts = sources.filter_map(|source| Some(source.secret.as_ref()?.name.clone()));
        let driver = volume.csi.iter().filter_map(|csi| csi.node_publish_secret_ref.as_ref());
        whole.chain(parts).chain(driver.map(|secret| secret.name.clone()))
    });
    let containers = pod.containers.iter().chain(pod.init_containers.iter().flatten());
    volumes.chain(containers.flat_map(in_environment)).collect()
}

fn in_environment(container: &Container) -> impl Iterator<Item = String> {
    let whole = container.env_from.iter().flatten().filter_map(|from| from.secret_ref.as_ref());
    let keys = container.env.iter().flatten().filter_map(|variable| {
        variable.value_from.as_ref()?.secret_key_ref.as_ref().map(|key| key.name.clone())
    });
    whole.map(|secret| secret.name.clone()).chain(keys)
}

fn check(secret: &ObjectMeta, name: &str, namespace: &str) -> Result<(), SecretTrouble> {
    let label = secret.labels.as_ref().and_then(|labels| labels.get(SECRET_ALLOW));
    if label.is_some_and(|value| value == "true") {
        return Ok(());
    }
    Err(SecretTrouble {
        reason: "SecretNotAllowed",
        message: format!(
            "Secret {name} is not for WsGateways: whoever may change it allows all WsGateways of its namespace to use it, \
             and to send it to the servers that they name, with: kubectl -n {namespace} label secret {name} \
             {SECRET_ALLOW}=true"
        ),
    })
}

/// What the API server answered when it was asked for a Secret.
fn found<T>(
    answer: kube::Result<Option<T>>,
    name: &str,
    namespace: &str,
) -> Result<T, SecretTrouble> {
    match answer {
        Ok(Some(secret)) => Ok(secret),
        Ok(None) => Err(SecretTrouble {
            reason: "SecretMissing",
            message: format!(
                "there is no Secret {name} in namespace {namespace}: create it there, with the label {SECRET_ALLOW}=true (see \
                 docs/configuration.md), or name another one; it is looked for again"
            ),
        }),
        Err(kube::Error::Api(status)) if status.is_forbidden() => Err(SecretTrouble {
            reason: "SecretForbidden",
            message: format!(
                "the operator may not read Secret {name}: let it get Secrets of namespace {namespace}, as its chart does"
            ),
        }),
        // The error could hold the object.
        Err(_unsaid) => Err(SecretTrouble {
            reason: "SecretUnreadable",
            message: format!("the API server did not give Secret {name}; it is asked again"),
        }),
    }
}

/// What a Secret has under a key; `section` of the specification names both.
fn value<'a>(
    SecretKey { name, key }: &SecretKey,
    found: &'a BTreeMap<String, Data>,
    section: &str,
) -> Result<&'a [u8], SecretTrouble> {
    let bytes = found.get(name).and_then(|data| data.get(key)).map(|bytes| bytes.0.as_slice());
    // The names of its other keys are not for everybody who may read the WsGateway.
    bytes.ok_or_else(|| SecretTrouble {
        reason: "SecretMissing",
        message: format!(
            "Secret {name} has no key {key}: add it, or name another one in {section}"
        ),
    })
}

/// Puts the values in place, each under the name by which a person finds it.
fn assemble(nats: &ValidNats, found: &BTreeMap<String, Data>) -> Result<Access, SecretTrouble> {
    let value = |at: &SecretKey| {
        Ok(Material::Value {
            name: format!("key {} of Secret {}", at.key, at.name),
            bytes: value(at, found, "spec.nats")?.into(),
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
    fn a_key_that_is_missing_is_named_and_nothing_else_of_the_secret_is() {
        let gateway = gateway("credentials: {name: s, key: nats.creds}");
        let trouble = assemble(&gateway, &secrets(&[("unsaid", "hidden")])).unwrap_err();
        assert_eq!(trouble.reason, "SecretMissing");
        assert!(trouble.message.contains("Secret s has no key nats.creds:"), "{trouble}");
        for secret in ["hidden", "unsaid"] {
            assert!(!trouble.message.contains(secret), "{trouble}");
        }
    }

    fn labelled(labels: &[(&str, &str)]) -> ObjectMeta {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        ObjectMeta { labels: Some(labels.collect()), ..ObjectMeta::default() }
    }

    #[test]
    fn a_secret_needs_the_label_and_the_message_is_the_command_that_sets_it() {
        assert_eq!(check(&labelled(&[("wsgateway.dev/allow", "true")]), "s", "trading"), Ok(()));
        for labels in [&[][..], &[("wsgateway.dev/allow", "false")], &[("wsgateway.dev/allow", "")]]
        {
            let trouble = check(&labelled(labels), "s", "trading").unwrap_err();
            assert_eq!(trouble.reason, "SecretNotAllowed");
            let command = "kubectl -n trading label secret s wsgateway.dev/allow=true";
            assert!(trouble.message.ends_with(command), "{trouble}");
        }
        assert!(check(&ObjectMeta::default(), "s", "trading").is_err());
    }

    #[test]
    fn every_way_by_which_a_pod_gets_a_secret_is_known() {
        let pod: PodSpec = serde_json::from_value(serde_json::json!({
            "imagePullSecrets": [{ "name": "registry" }],
            "volumes": [
                { "name": "a", "secret": { "secretName": "whole" } },
                { "name": "b", "projected": { "sources": [
                    { "secret": { "name": "part" } }, { "configMap": { "name": "map" } }] } },
                { "name": "c", "csi": { "driver": "d", "nodePublishSecretRef": { "name": "driver" } } },
                { "name": "d", "emptyDir": {} },
            ],
            "initContainers": [{ "name": "i", "envFrom": [{ "secretRef": { "name": "environment" } }] }],
            "containers": [{ "name": "c", "env": [
                { "name": "X", "value": "x" },
                { "name": "Y", "valueFrom": { "secretKeyRef": { "name": "variable", "key": "k" } } }] }],
        }))
        .unwrap();
        let names: Vec<String> = mounted(&pod).into_iter().collect();
        assert_eq!(names, ["driver", "environment", "part", "variable", "whole"]);
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
