//! Who asks (pure): the API server says so in headers, once its certificate has shown that it is the API server. Which
//! authority, which names and which headers, it publishes in a ConfigMap.

use std::collections::BTreeMap;

use http::HeaderMap;
use k8s_openapi::api::core::v1::ConfigMap;

/// Where the API server publishes how it is known.
pub(super) const NAMESPACE: &str = "kube-system";
pub(super) const CONFIG_MAP: &str = "extension-apiserver-authentication";
/// Groups and further facts of one user.
const MOST: usize = 1_000;

/// How the API server is known when it asks for somebody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FrontProxy {
    /// The authority of its certificate, PEM.
    pub(super) authority: String,
    /// Names that its certificate may have; none: any.
    names: Vec<String>,
    user: Vec<String>,
    uid: Vec<String>,
    groups: Vec<String>,
    extra: Vec<String>,
}

/// Somebody who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) uid: Option<String>,
    pub(super) groups: Vec<String>,
    pub(super) extra: BTreeMap<String, Vec<String>>,
}

impl FrontProxy {
    /// What the ConfigMap says; `None` when the API server does not ask for others.
    pub(super) fn parse(map: &ConfigMap) -> Option<Self> {
        let text = |key: &str| map.data.as_ref()?.get(key).cloned();
        let list = |key: &str| -> Vec<String> {
            text(key).and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
        };
        let authority =
            text("requestheader-client-ca-file").filter(|text| !text.trim().is_empty())?;
        let user = list("requestheader-username-headers");
        (!user.is_empty()).then(|| Self {
            authority,
            names: list("requestheader-allowed-names"),
            user,
            uid: list("requestheader-uid-headers"),
            groups: list("requestheader-group-headers"),
            extra: list("requestheader-extra-headers-prefix"),
        })
    }

    /// Whether a certificate of the authority with this name may speak for others.
    pub(super) fn allows(&self, common_name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|name| name == common_name)
    }

    /// Whom the headers name.
    pub(super) fn user(&self, headers: &HeaderMap) -> Option<User> {
        let all = |names: &[String]| -> Vec<String> {
            let values = names.iter().flat_map(|name| headers.get_all(name));
            let values = values.filter_map(|value| Some(value.to_str().ok()?.to_owned()));
            values.take(MOST).collect()
        };
        let first = |names: &[String]| all(names).into_iter().find(|value| !value.is_empty());
        let mut extra = BTreeMap::<String, Vec<String>>::new();
        for (name, value) in headers.iter().take(MOST) {
            let lower = name.as_str();
            let key = self
                .extra
                .iter()
                .find_map(|prefix| lower.strip_prefix(prefix.to_ascii_lowercase().as_str()));
            if let (Some(key), Ok(value)) = (key, value.to_str()) {
                extra.entry(key.to_owned()).or_default().push(value.to_owned());
            }
        }
        Some(User {
            name: first(&self.user)?,
            uid: first(&self.uid),
            groups: all(&self.groups),
            extra,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> ConfigMap {
        let data = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        ConfigMap { data: Some(data.collect()), ..ConfigMap::default() }
    }

    fn usual() -> FrontProxy {
        FrontProxy::parse(&map(&[
            ("requestheader-client-ca-file", "PEM"),
            ("requestheader-allowed-names", r#"["front-proxy-client"]"#),
            ("requestheader-username-headers", r#"["X-Remote-User"]"#),
            ("requestheader-uid-headers", r#"["X-Remote-Uid"]"#),
            ("requestheader-group-headers", r#"["X-Remote-Group"]"#),
            ("requestheader-extra-headers-prefix", r#"["X-Remote-Extra-"]"#),
        ]))
        .unwrap()
    }

    #[test]
    fn the_headers_name_a_user_with_groups_and_more() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-remote-user", "ann"),
            ("x-remote-group", "a"),
            ("x-remote-group", "b"),
            ("x-remote-extra-scopes", "s"),
            ("x-remote-uid", "7"),
        ] {
            headers.append(name, value.parse().unwrap());
        }
        let user = usual().user(&headers).unwrap();
        assert_eq!((user.name.as_str(), user.uid.as_deref()), ("ann", Some("7")));
        assert_eq!(user.groups, ["a", "b"]);
        assert_eq!(user.extra["scopes"], ["s"]);
        headers.remove("x-remote-user");
        assert_eq!(usual().user(&headers), None, "nobody");
    }

    #[test]
    fn only_the_names_that_are_allowed_speak_for_others() {
        assert!(usual().allows("front-proxy-client") && !usual().allows("somebody"));
        let any = FrontProxy::parse(&map(&[
            ("requestheader-client-ca-file", "PEM"),
            ("requestheader-allowed-names", "[]"),
            ("requestheader-username-headers", r#"["X-Remote-User"]"#),
        ]));
        assert!(any.unwrap().allows("anybody"));
    }

    #[test]
    fn without_an_authority_or_a_header_nobody_speaks_for_others() {
        let header = ("requestheader-username-headers", r#"["X-Remote-User"]"#);
        assert_eq!(FrontProxy::parse(&map(&[header])), None);
        assert_eq!(FrontProxy::parse(&map(&[("requestheader-client-ca-file", "PEM")])), None);
        let odd = map(&[
            ("requestheader-client-ca-file", "PEM"),
            ("requestheader-username-headers", "{"),
        ]);
        assert_eq!(FrontProxy::parse(&odd), None);
        assert_eq!(FrontProxy::parse(&ConfigMap::default()), None);
    }
}
