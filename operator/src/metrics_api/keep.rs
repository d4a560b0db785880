//! Keeps what the port needs: the certificate, how the API server is known, and the registration.

use std::time::{Duration, Instant};

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::Given;
use super::certificate::Certificate;
use super::front::{self, FrontProxy};
use super::registration::{self, Registered, Service};
use super::serve::Terms;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(30);
/// Between two attempts while it does not work yet.
const SOON: Duration = Duration::from_secs(2);
/// Keys of the Secret, as cert-manager has them.
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
const TRUSTED: &str = "ca.crt";

/// What the port runs with.
type Current = (Certificate, FrontProxy);

/// Looks for ever.
pub(super) async fn run(service: Service, given: Given, terms: watch::Sender<Option<Terms>>) {
    let mut current: Option<Current> = None;
    loop {
        let looked = look(&service, &given, &mut current, &terms).await;
        let registered = looked.unwrap_or_else(|error| {
            tracing::warn!(error, "metrics for autoscalers are not served yet");
            Registered::Unknown(error)
        });
        let pause = if matches!(registered, Registered::Unknown(_)) { SOON } else { EVERY };
        given.registered.send_if_modified(|known| {
            let changed = *known != registered;
            *known = registered;
            changed
        });
        tokio::time::sleep(pause).await;
    }
}

async fn look(
    service: &Service,
    given: &Given,
    current: &mut Option<Current>,
    terms: &watch::Sender<Option<Terms>>,
) -> Result<Registered, String> {
    let text = |what: &str, error: &kube::Error| format!("{what}: {error}");
    let maps: Api<ConfigMap> = Api::namespaced(given.client.clone(), front::NAMESPACE);
    let map = maps.get(front::CONFIG_MAP).await;
    let map = map.map_err(|error| text("how the API server is known", &error))?;
    let front = FrontProxy::parse(&map).ok_or_else(|| {
        format!("{}/{} has no requestheader-client-ca-file", front::NAMESPACE, front::CONFIG_MAP)
    })?;
    let certificate = certificate(service, given).await?;
    let now = (certificate, front);
    if current.as_ref() != Some(&now) {
        terms.send_replace(Some(Terms::new(&now.0, &now.1)?));
        if let Some(expires) = now.0.expires() {
            given.certificates.of_metrics_api(expires);
        }
        *current = Some(now.clone());
    }
    let owner = owner(given).await?;
    registration::register(
        &given.fenced,
        service,
        &now.0.trusted,
        owner.as_ref(),
        given.lead.holds(Instant::now()),
    )
    .await
    .map_err(|error| text("the APIService", &error))
}

/// The certificate of the Secret, which the leader makes and renews unless somebody else does.
async fn certificate(service: &Service, given: &Given) -> Result<Certificate, String> {
    let name = given.options.metrics_api_secret.as_str();
    let failed = |error: &kube::Error| format!("Secret {}/{name}: {error}", given.home);
    let secrets: Api<Secret> = Api::namespaced(given.fenced.clone(), &given.home);
    let found = secrets.get_opt(name).await.map_err(|error| failed(&error))?;
    let stored = found.as_ref().and_then(read);
    let now = Timestamp::now();
    if !given.options.metrics_api_own_certificate {
        return stored.ok_or_else(|| {
            format!("Secret {}/{name} has no {CERTIFICATE}, {KEY} and {TRUSTED}", given.home)
        });
    }
    if let Some(stored) = stored.as_ref().filter(|stored| stored.is_good(&service.host(), now)) {
        return Ok(stored.clone());
    }
    if !given.lead.holds(Instant::now()) {
        // An old one is better than none until the leader has renewed it.
        return stored.ok_or_else(|| "the leading operator makes the certificate".to_owned());
    }
    match renew(&secrets, (found.as_ref(), stored.as_ref()), service, given, now).await {
        // Of one that cannot be renewed the rest is served: its metric and an alert say how much that is.
        Err(error) => match stored.filter(|stored| stored.is_usable(now)) {
            Some(stored) => {
                tracing::warn!(
                    error,
                    "the certificate for the metrics of autoscalers is not renewed"
                );
                Ok(stored)
            }
            None => Err(error),
        },
        made => made,
    }
}

/// Makes a new certificate and writes it into the Secret.
async fn renew(
    secrets: &Api<Secret>,
    (found, stored): (Option<&Secret>, Option<&Certificate>),
    service: &Service,
    given: &Given,
    now: Timestamp,
) -> Result<Certificate, String> {
    let name = given.options.metrics_api_secret.as_str();
    let made =
        Certificate::make(&service.host(), stored, now).map_err(|error| error.to_string())?;
    let secret = write(name, &made, found.and_then(Secret::resource_version));
    let parameters = PostParams::default();
    let written = match found {
        None => secrets.create(&parameters, &secret).await,
        // With the version: another leader's must not be lost.
        Some(_) => secrets.replace(name, &parameters, &secret).await,
    };
    written.map_err(|error| format!("Secret {}/{name}: {error}", given.home))?;
    tracing::info!(name, "a new certificate for the metrics of autoscalers");
    Ok(made)
}

fn read(secret: &Secret) -> Option<Certificate> {
    let text = |key: &str| {
        let bytes = secret.data.as_ref()?.get(key)?;
        String::from_utf8(bytes.0.clone()).ok()
    };
    let certificate = text(CERTIFICATE)?;
    // Of one that is signed by nobody else it is the same.
    let trusted = text(TRUSTED).unwrap_or_else(|| certificate.clone());
    Some(Certificate { key: text(KEY)?, trusted, certificate })
}

fn write(name: &str, certificate: &Certificate, version: Option<String>) -> Secret {
    let data = [
        (CERTIFICATE, &certificate.certificate),
        (KEY, &certificate.key),
        (TRUSTED, &certificate.trusted),
    ];
    let data = data.map(|(key, text)| (key.to_owned(), ByteString(text.clone().into_bytes())));
    Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            resource_version: version,
            ..ObjectMeta::default()
        },
        type_: Some("kubernetes.io/tls".to_owned()),
        data: Some(data.into()),
        ..Secret::default()
    }
}

/// The role with which the registration goes when the operator is removed: one that is left behind would hold up every
/// namespace that is deleted.
async fn owner(given: &Given) -> Result<Option<Value>, String> {
    let name = given.options.metrics_api_owner.as_str();
    if name.is_empty() {
        return Ok(None);
    }
    let roles: Api<ClusterRole> = Api::all(given.client.clone());
    let role = roles.get_metadata(name).await;
    let role = role.map_err(|error| format!("ClusterRole {name}: {error}"))?;
    Ok(Some(json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "name": name,
        "uid": role.uid(),
    })))
}
