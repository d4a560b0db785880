//! What goes wrong between a person and a cluster (pure): each message says what to do.

use std::fmt;

/// What was asked of the API server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) verb: &'static str,
    /// As rules name it: `pods/eviction`, `wsgateways.wsgateway.dev`.
    pub(crate) resource: &'static str,
    /// `None`: all of them.
    pub(crate) namespace: Option<&'a str>,
}

/// Why the cluster could not be asked, or what it refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    #[error(
        "no cluster is configured: {0}; name a kubeconfig with --kubeconfig or KUBECONFIG, and see its contexts with \
         kubectl config get-contexts"
    )]
    Config(String),
    #[error(
        "no cluster answers at {server}: {why}; see kubectl cluster-info, or choose another cluster with --context"
    )]
    Unreachable { server: String, why: String },
    #[error("{server} does not know you: log in again, or choose another user with --context")]
    Unauthorized { server: String },
    #[error("{0}")]
    Forbidden(Forbidden),
    #[error(
        "the cluster has no kind WsGateway: install the operator (helm install wsgateway charts/wsgateway), or its CRD alone \
         (kubectl apply --server-side -f crds/wsgateways.yaml)"
    )]
    NoCrd,
    #[error("no {kind} {name} in namespace {namespace}{near}")]
    NotFound { kind: &'static str, name: String, namespace: String, near: Near },
    #[error("more than {most} {resource}: name a namespace with -n, or select some with -l")]
    TooMany { resource: &'static str, most: usize },
    #[error("the API server refused to {what}: {message}")]
    Refused { what: String, message: String },
    #[error("what the API server answered is of another version: {0}; update wsgw")]
    Version(String),
}

/// What is not allowed, and whom to ask for it.
#[derive(Debug)]
pub(crate) struct Forbidden {
    verb: &'static str,
    resource: &'static str,
    namespace: Option<String>,
}

/// Names that may have been meant.
#[derive(Debug)]
pub(crate) struct Near(Vec<String>);

/// Of names that are like the one given, and of others where none is.
const MOST_NEAR: usize = 3;
const ALIKE: f64 = 0.75;

impl Trouble {
    /// What an error means.
    pub(super) fn of(error: kube::Error, asked: Asked<'_>, server: &str) -> Self {
        let server = server.trim_end_matches('/').to_owned();
        let kube::Error::Api(status) = error else {
            return match error {
                kube::Error::SerdeError(error) => Self::Version(error.to_string()),
                error => Self::Unreachable { server, why: innermost(&error) },
            };
        };
        let is_ours = asked.resource.ends_with(wsgateway_crds::GROUP);
        match status.code {
            401 => Self::Unauthorized { server },
            403 => Self::Forbidden(Forbidden {
                verb: asked.verb,
                resource: asked.resource,
                namespace: asked.namespace.map(str::to_owned),
            }),
            // A list that is not found is of a kind that is not there.
            404 if is_ours && matches!(asked.verb, "list" | "watch") => Self::NoCrd,
            _ => Self::Refused {
                what: format!("{} {}", asked.verb, asked.resource),
                message: status.message,
            },
        }
    }

    /// That an object is not there, with names that are.
    pub(crate) fn not_found(
        kind: &'static str,
        name: &str,
        namespace: &str,
        names: Vec<String>,
    ) -> Self {
        let (name, namespace) = (name.to_owned(), namespace.to_owned());
        let near = Near(near(&name, names));
        Self::NotFound { kind, name, namespace, near }
    }

    /// Whether it may pass by itself.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Refused { .. })
    }
}

/// The causes of a connection error are many, and the last one says it: connection refused.
fn innermost(error: &kube::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

fn near(name: &str, mut names: Vec<String>) -> Vec<String> {
    let likeness = |other: &String| strsim::jaro_winkler(name, other);
    names.sort_by(|one, other| likeness(other).total_cmp(&likeness(one)).then(one.cmp(other)));
    if names.iter().any(|other| likeness(other) >= ALIKE) {
        names.retain(|other| likeness(other) >= ALIKE);
    }
    names.truncate(MOST_NEAR);
    names
}

impl fmt::Display for Near {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            write!(f, ", which has none: name another with -n, or see all with kubectl get wsgw -A")
        } else {
            write!(f, "; there is {}", self.0.join(", "))
        }
    }
}

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verb, resource, namespace } = self;
        let (place, flag) = match namespace {
            Some(namespace) => (format!("namespace {namespace}"), format!("-n {namespace}")),
            None => ("all namespaces".to_owned(), "-A".to_owned()),
        };
        // kubectl auth can-i takes a subresource as a flag.
        let (resource, sub) = resource.split_once('/').unwrap_or((resource, ""));
        let can_i = match sub {
            "" => format!("{verb} {resource} {flag}"),
            sub => format!("{verb} {resource} --subresource={sub} {flag}"),
        };
        let what = if sub.is_empty() { resource.to_owned() } else { format!("{resource}/{sub}") };
        let role = if matches!(*verb, "get" | "list" | "watch") && sub.is_empty() {
            "view"
        } else {
            "edit"
        };
        write!(
            f,
            "you may not {verb} {what} in {place} (kubectl auth can-i {can_i}): ask for the ClusterRole {role}"
        )?;
        match namespace {
            Some(namespace) => write!(
                f,
                " there, which an administrator gives with kubectl create rolebinding NAME --clusterrole={role} \
                 --user=YOU -n {namespace}"
            ),
            None => write!(f, " in the whole cluster, or name a namespace with -n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(code: u16) -> kube::Error {
        kube::Error::Api(Box::new(kube::core::Status { code, ..Default::default() }))
    }

    fn asked(verb: &'static str, resource: &'static str) -> Asked<'static> {
        Asked { verb, resource, namespace: Some("trading") }
    }

    fn message(code: u16, asked: Asked<'_>) -> String {
        Trouble::of(api(code), asked, "https://cluster:6443/").to_string()
    }

    #[test]
    fn what_is_forbidden_is_said_with_the_question_and_the_role() {
        let list = message(403, asked("list", super::super::GATEWAYS));
        assert!(
            list.contains("kubectl auth can-i list wsgateways.wsgateway.dev -n trading"),
            "{list}"
        );
        assert!(list.contains("--clusterrole=view --user=YOU -n trading"), "{list}");
        let evict = message(403, asked("create", "pods/eviction"));
        assert!(evict.contains("can-i create pods --subresource=eviction -n trading"), "{evict}");
        assert!(evict.contains("ClusterRole edit"), "{evict}");
        let all = Asked { namespace: None, ..asked("list", "events") };
        assert!(message(403, all).contains("can-i list events -A"));
    }

    #[test]
    fn a_kind_that_is_not_there_is_told_from_an_object() {
        let no_crd = message(404, asked("list", super::super::GATEWAYS));
        assert!(no_crd.contains("helm install"), "{no_crd}");
        assert!(message(404, asked("get", "pods")).contains("refused to get pods"));
        assert!(
            message(401, asked("get", "pods")).contains("https://cluster:6443 does not know you")
        );
    }

    #[test]
    fn near_names_come_first_and_any_where_none_is_near() {
        let names = ["odin", "prices", "orders", "news"].map(str::to_owned).to_vec();
        let not_found =
            |name| Trouble::not_found("WsGateway", name, "trading", names.clone()).to_string();
        assert_eq!(not_found("odn"), "no WsGateway odn in namespace trading; there is odin");
        assert!(not_found("zzz").ends_with("; there is news, odin, orders"));
        let none = Trouble::not_found("WsGateway", "x", "n", Vec::new()).to_string();
        assert!(none.contains("kubectl get wsgw -A"), "{none}");
    }
}
