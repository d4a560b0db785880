//! The three servers: ports, files and flags.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::{Guarded, free_port, tool};

/// Where everything of one control plane is. Made once; a restarted server gets the same flags.
#[derive(Debug)]
pub(super) struct Layout {
    folder: PathBuf,
    etcd: u16,
    etcd_peer: u16,
    apiserver: u16,
}

impl Layout {
    pub(super) fn new(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder.join("pki"))?;
        Ok(Self {
            folder: folder.to_owned(),
            etcd: free_port()?,
            etcd_peer: free_port()?,
            apiserver: free_port()?,
        })
    }

    /// URL of the API server.
    pub(super) fn server(&self) -> String {
        format!("https://{}", self.address())
    }

    /// Where the API server listens.
    pub(super) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.apiserver).into()
    }

    /// What the API server notes of every request.
    pub(super) fn audit_log(&self) -> PathBuf {
        self.folder.join("audit.log")
    }

    /// Path of a certificate or key.
    pub(super) fn pki(&self, name: &str) -> PathBuf {
        self.folder.join("pki").join(name)
    }

    pub(super) fn start(&self, name: &str, arguments: &[String]) -> Result<Guarded> {
        Guarded::start(&tool(name)?, arguments, &self.folder.join(format!("{name}.log")))
    }

    pub(super) fn etcd_arguments(&self) -> Vec<String> {
        let (client, peer) = (url(self.etcd), url(self.etcd_peer));
        let data = self.folder.join("etcd");
        [
            ("data-dir", data.display().to_string()),
            ("listen-client-urls", client.clone()),
            ("advertise-client-urls", client),
            ("listen-peer-urls", peer.clone()),
            ("initial-advertise-peer-urls", peer.clone()),
            ("initial-cluster", format!("default={peer}")),
            // The data need not survive the machine, only a restart of the API server.
            ("unsafe-no-fsync", "true".to_owned()),
            ("log-level", "warn".to_owned()),
        ]
        .map(flag)
        .to_vec()
    }

    pub(super) fn apiserver_arguments(&self) -> Vec<String> {
        let pki = |name| self.pki(name).display().to_string();
        let text = str::to_owned;
        [
            ("etcd-servers", url(self.etcd)),
            ("bind-address", text("127.0.0.1")),
            ("secure-port", self.apiserver.to_string()),
            // Benchmark range: no real network uses it. Endpoints may not be on loopback, so the
            // Service of the API server itself has none.
            ("service-cluster-ip-range", text("198.19.0.0/16")),
            ("endpoint-reconciler-type", text("none")),
            ("authorization-mode", text("RBAC")),
            ("allow-privileged", text("true")),
            ("client-ca-file", pki("ca.crt")),
            ("tls-cert-file", pki("apiserver.crt")),
            ("tls-private-key-file", pki("apiserver.key")),
            ("audit-policy-file", self.folder.join("audit-policy.yaml").display().to_string()),
            ("audit-log-path", self.audit_log().display().to_string()),
            // Megabytes: one file for all.
            ("audit-log-maxsize", text("2000")),
            ("service-account-issuer", text("https://kubernetes.default.svc")),
            ("service-account-key-file", pki("sa.pub")),
            ("service-account-signing-key-file", pki("sa.key")),
            // Aggregated APIs: who speaks for the API server, and in which headers it names the user.
            ("requestheader-client-ca-file", pki("front-proxy-ca.crt")),
            ("requestheader-allowed-names", text("front-proxy")),
            ("requestheader-username-headers", text("X-Remote-User")),
            ("requestheader-group-headers", text("X-Remote-Group")),
            ("requestheader-extra-headers-prefix", text("X-Remote-Extra-")),
            ("proxy-client-cert-file", pki("front-proxy.crt")),
            ("proxy-client-key-file", pki("front-proxy.key")),
        ]
        .map(flag)
        .to_vec()
    }

    pub(super) fn controllers_arguments(&self, kubeconfig: &Path) -> Vec<String> {
        let pki = |name| self.pki(name).display().to_string();
        let text = str::to_owned;
        [
            ("kubeconfig", kubeconfig.display().to_string()),
            ("secure-port", text("0")),
            ("leader-elect", text("false")),
            ("use-service-account-credentials", text("true")),
            ("root-ca-file", pki("ca.crt")),
            ("service-account-private-key-file", pki("sa.key")),
            // There is no kubelet to report for a Node object that a test makes. Pods are on loopback, where endpoints may
            // not be: those controllers would try again for ever.
            (
                "controllers",
                text(
                    "*,-node-lifecycle-controller,-endpoints-controller,-endpointslice-controller",
                ),
            ),
            ("kube-api-qps", text("200")),
            ("kube-api-burst", text("400")),
            // 15 s, 5 min and 30 s by default: more than a test can wait.
            ("horizontal-pod-autoscaler-sync-period", text("2s")),
            ("horizontal-pod-autoscaler-downscale-stabilization", text("4s")),
            ("horizontal-pod-autoscaler-initial-readiness-delay", text("0s")),
            ("flex-volume-plugin-dir", self.folder.join("flex").display().to_string()),
        ]
        .map(flag)
        .to_vec()
    }
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

fn flag((name, value): (&str, String)) -> String {
    format!("--{name}={value}")
}
