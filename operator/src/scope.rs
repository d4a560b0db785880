//! Which namespaces an operator looks at: all, or some.

use k8s_openapi::NamespaceResourceScope;
use kube::core::{ApiResource, DynamicResourceScope};
use kube::{Api, Client, Resource};

/// Each namespace costs a watch of every kind; whoever has more of them wants all.
const MOST: usize = 64;
/// RFC 1123.
const LONGEST_NAME: usize = 63;

/// Namespaces to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    Cluster,
    /// Without repetitions; at least one.
    Namespaces(Vec<String>),
}

/// A list of namespaces that cannot be watched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ScopeError {
    #[error(
        "--namespace: {0:?} is no name of a namespace: use up to 63 lower-case letters, digits and dashes"
    )]
    Name(String),
    #[error("--namespace: {0} namespaces are more than {MOST}: leave it out to look at all")]
    TooMany(usize),
}

impl Scope {
    /// Nothing, or nothing but empty names: the whole cluster.
    pub(crate) fn new(namespaces: &[String]) -> Result<Self, ScopeError> {
        let mut names: Vec<String> = namespaces.iter().map(|name| name.trim().to_owned()).collect();
        names.retain(|name| !name.is_empty());
        names.sort();
        names.dedup();
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if let Some(bad) =
            names.iter().find(|name| name.len() > LONGEST_NAME || !name.chars().all(plain))
        {
            return Err(ScopeError::Name(bad.clone()));
        }
        match names.len() {
            0 => Ok(Self::Cluster),
            count if count > MOST => Err(ScopeError::TooMany(count)),
            _ => Ok(Self::Namespaces(names)),
        }
    }

    /// What to watch: one `Api` for the cluster, without a name, or one for each namespace.
    pub(crate) fn apis<K>(&self, client: &Client) -> Vec<(String, Api<K>)>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        match self {
            Self::Cluster => vec![(String::new(), Api::all(client.clone()))],
            Self::Namespaces(names) => names
                .iter()
                .map(|name| (name.clone(), Api::namespaced(client.clone(), name)))
                .collect(),
        }
    }

    /// The same of a kind that is named by a value.
    pub(crate) fn apis_of<K>(&self, client: &Client, kind: &ApiResource) -> Vec<(String, Api<K>)>
    where
        K: Resource<Scope = DynamicResourceScope, DynamicType = ApiResource>,
    {
        match self {
            Self::Cluster => vec![(String::new(), Api::all_with(client.clone(), kind))],
            Self::Namespaces(names) => names
                .iter()
                .map(|name| (name.clone(), Api::namespaced_with(client.clone(), name, kind)))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(names: &[&str]) -> Result<Scope, ScopeError> {
        Scope::new(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn no_namespace_is_the_whole_cluster_and_several_are_each_watched_once() {
        assert_eq!(scope(&[]), Ok(Scope::Cluster));
        assert_eq!(scope(&["", " "]), Ok(Scope::Cluster));
        let two = Scope::Namespaces(vec!["a".to_owned(), "b".to_owned()]);
        assert_eq!(scope(&["b", "a", "b", ""]), Ok(two));
    }

    #[test]
    fn what_is_no_namespace_and_what_is_too_many_is_refused() {
        for bad in ["A", "a/b", "a.b", "*", &"a".repeat(64)] {
            assert_eq!(scope(&[bad]), Err(ScopeError::Name(bad.to_owned())));
        }
        let many: Vec<String> = (0..=MOST).map(|number| format!("n{number}")).collect();
        assert_eq!(Scope::new(&many), Err(ScopeError::TooMany(65)));
        assert!(Scope::new(&many[1..]).is_ok());
    }
}
