//! Whose the group is. Somebody else's adapter may serve it: then it stays that one's, and ours waits until it goes.

use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};
use serde_json::{Value, json};

use super::path::{GROUP, VERSION};
use crate::build::{MANAGED_BY, MANAGED_BY_LABEL};
use crate::{FIELD_MANAGER, unchanged};

/// Versions by which others serve the group.
const VERSIONS: [&str; 2] = ["v1beta1", "v1beta2"];
/// A field by which the API server would trust whoever answers.
const UNSAFE: &str = "insecureSkipTLSVerify";

/// Who serves custom.metrics.k8s.io.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Registered {
    /// This operator is not to serve it.
    #[default]
    Off,
    /// Not known yet, or not reached.
    Unknown(String),
    Ours,
    /// Somebody else's, by name.
    Taken(String),
}

/// The Service through which the API server reaches us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Service {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) port: u16,
}

impl Service {
    /// The name by which the API server knows it.
    pub(super) fn host(&self) -> String {
        format!("{}.{}.svc", self.name, self.namespace)
    }
}

/// What is to be done, from what there is of each version (pure).
#[derive(Clone, Debug, PartialEq, Eq)]
enum Plan {
    Nothing,
    Apply,
    Leave { to: String },
}

fn plan(found: &[(&str, Option<Value>)], wanted: &Value) -> Plan {
    let service = |object: &Value| {
        let part =
            |name: &str| object["spec"]["service"][name].as_str().unwrap_or_default().to_owned();
        (part("namespace"), part("name"))
    };
    let ours = service(wanted);
    let foreign = found.iter().filter_map(|(_, object)| object.as_ref()).map(service);
    if let Some((namespace, name)) = foreign.into_iter().find(|of| *of != ours) {
        let to = if name.is_empty() {
            "the API server itself".to_owned()
        } else {
            format!("Service {namespace}/{name}")
        };
        return Plan::Leave { to };
    }
    let of_ours = found.iter().find(|(version, _)| *version == VERSION);
    let is_as_wanted = of_ours
        .and_then(|(_, object)| object.as_ref())
        .is_some_and(|object| is_as_wanted(object, wanted));
    if is_as_wanted { Plan::Nothing } else { Plan::Apply }
}

fn is_as_wanted(found: &Value, wanted: &Value) -> bool {
    let mut shown = wanted.clone();
    // The API server leaves it out where it is false.
    let skips = shown["spec"].as_object_mut().and_then(|spec| spec.remove(UNSAFE));
    let is_safe = skips.is_none() || found["spec"][UNSAFE] != true;
    is_safe && unchanged::is_as(&shown, found)
}

fn resource() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("apiregistration.k8s.io", "v1", "APIService"))
}

/// The object by which the API server sends the group to us. `owner`: a cluster-wide object with which it is to go.
fn wanted(service: &Service, trusted: &str, owner: Option<&Value>) -> Value {
    use base64::Engine as _;
    let bundle = base64::engine::general_purpose::STANDARD.encode(trusted);
    let mut object = json!({
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
        "metadata": {
            "name": format!("{VERSION}.{GROUP}"),
            "labels": { MANAGED_BY_LABEL: MANAGED_BY },
        },
        "spec": {
            "group": GROUP, "version": VERSION, "groupPriorityMinimum": 100, "versionPriority": 100,
            "caBundle": bundle,
            // What somebody else sets would have the rest refused.
            UNSAFE: false,
            "service": { "namespace": service.namespace, "name": service.name, "port": service.port },
        },
    });
    if let Some(owner) = owner {
        object["metadata"]["ownerReferences"] = json!([owner]);
    }
    object
}

/// Registers the API unless somebody else has the group, and says who serves it. `client` writes only while this operator
/// leads.
pub(super) async fn register(
    client: &Client,
    service: &Service,
    trusted: &str,
    owner: Option<&Value>,
    leads: bool,
) -> Result<Registered, kube::Error> {
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource());
    let mut found = Vec::new();
    for version in VERSIONS {
        let object = api.get_opt(&format!("{version}.{GROUP}")).await?;
        found.push((version, object.and_then(|object| serde_json::to_value(object).ok())));
    }
    let wanted = wanted(service, trusted, owner);
    match plan(&found, &wanted) {
        Plan::Leave { to } => Ok(Registered::Taken(to)),
        Plan::Nothing => Ok(Registered::Ours),
        Plan::Apply if !leads => {
            Ok(Registered::Unknown("the leading operator registers it".to_owned()))
        }
        Plan::Apply => {
            let name = format!("{VERSION}.{GROUP}");
            let parameters = PatchParams::apply(FIELD_MANAGER).force();
            api.patch(&name, &parameters, &Patch::Apply(&wanted)).await?;
            tracing::info!(name, service = service.host(), "registered");
            Ok(Registered::Ours)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str) -> Service {
        Service { namespace: "sys".to_owned(), name: name.to_owned(), port: 443 }
    }

    /// As the API server returns it.
    fn stored(mut object: Value) -> Value {
        object["metadata"]["uid"] = json!("1");
        object["spec"]["added"] = json!(true);
        object["spec"].as_object_mut().unwrap().remove("insecureSkipTLSVerify");
        object
    }

    #[test]
    fn a_free_group_is_taken_and_what_is_ours_is_written_only_when_it_differs() {
        let ours = wanted(&service("ours"), "PEM", None);
        let free = [("v1beta1", None), ("v1beta2", None)];
        assert_eq!(plan(&free, &ours), Plan::Apply);
        let there = [("v1beta1", None), ("v1beta2", Some(stored(ours.clone())))];
        assert_eq!(plan(&there, &ours), Plan::Nothing);
        let mut unsafely = stored(ours.clone());
        unsafely["spec"]["insecureSkipTLSVerify"] = json!(true);
        assert_eq!(plan(&[("v1beta2", Some(unsafely))], &ours), Plan::Apply);
        let renewed = wanted(&service("ours"), "ANOTHER", None);
        assert_eq!(plan(&there, &renewed), Plan::Apply);
        let owned = wanted(&service("ours"), "PEM", Some(&json!({ "uid": "7" })));
        assert_eq!(plan(&there, &owned), Plan::Apply);
    }

    #[test]
    fn somebody_else_s_group_is_left_alone_whichever_version_it_is() {
        let ours = wanted(&service("ours"), "PEM", None);
        let theirs = stored(wanted(&service("adapter"), "PEM", None));
        for version in VERSIONS {
            let found = VERSIONS.map(|one| (one, (one == version).then(|| theirs.clone())));
            let leave = Plan::Leave { to: "Service sys/adapter".to_owned() };
            assert_eq!(plan(&found, &ours), leave, "{version}");
        }
        let local = json!({ "spec": { "group": GROUP } });
        let found = [("v1beta1", Some(local)), ("v1beta2", None)];
        assert!(matches!(plan(&found, &ours), Plan::Leave { .. }));
    }
}
