//! A real Kubernetes control plane on loopback: etcd, kube-apiserver, kube-controller-manager. No nodes:
//! pods are API objects that nothing runs, controllers (Deployment, HPA, garbage collection) are real.
//!
//! One plane serves all tests of a test program ([`ControlPlane::shared`]), with a namespace per test. A
//! test that restarts the API server starts a plane of its own. Clients are made per test, because a
//! client belongs to the async runtime that made it.
//!
//! The HPA controller looks kinds up once in 30 s: a CRD applied later than the controller's start is
//! unknown to it for up to that long. Wait for the HPA's condition.

mod audit;
mod objects;
mod pki;
mod servers;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::json;
use tokio::sync::{Mutex, OnceCell};

use crate::{Guarded, Scratch, init_tls, wait_until};
pub use audit::AuditEvent;
use pki::Pki;
use servers::Layout;

/// Ready takes 2.2 s on two idle cores; the rest is for a machine that compiles at the same time.
const START: Duration = Duration::from_secs(90);

static SHARED: OnceCell<ControlPlane> = OnceCell::const_new();

/// Who a client is: the user of its certificate and the user's groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    user: String,
    groups: Vec<String>,
}

impl Identity {
    /// At most two groups fit into a certificate.
    #[must_use]
    pub fn new(user: &str, groups: &[&str]) -> Self {
        Self { user: user.to_owned(), groups: groups.iter().map(|&g| g.to_owned()).collect() }
    }

    /// What a pod with this service account is to RBAC.
    #[must_use]
    pub fn service_account(namespace: &str, name: &str) -> Self {
        let group = format!("system:serviceaccounts:{namespace}");
        Self::new(
            &format!("system:serviceaccount:{namespace}:{name}"),
            &["system:serviceaccounts", &group],
        )
    }

    /// May do everything.
    #[must_use]
    pub fn admin() -> Self {
        Self::new("admin", &["system:masters"])
    }
}

/// A running control plane. Dropping it ends the servers.
#[derive(Debug)]
pub struct ControlPlane {
    // In the order of their end.
    controllers: Guarded,
    apiserver: Mutex<Guarded>,
    etcd: Guarded,
    layout: Layout,
    pki: Pki,
    admin: PathBuf,
    scratch: Scratch,
}

impl ControlPlane {
    /// The plane of this test program, started by whoever asks first.
    ///
    /// # Errors
    /// When a server is missing or does not start.
    pub async fn shared() -> Result<&'static Self> {
        SHARED.get_or_try_init(Self::start).await
    }

    /// A plane of one's own.
    ///
    /// # Errors
    /// When a server is missing or does not start, with the end of its log.
    pub async fn start() -> Result<Self> {
        init_tls();
        let scratch = Scratch::new("control-plane")?;
        let layout = Layout::new(scratch.path())?;
        scratch.write("audit-policy.yaml", audit::POLICY)?;
        let pki = Pki::make(&layout)?;
        let etcd = layout.start("etcd", &layout.etcd_arguments())?;
        let apiserver = layout.start("kube-apiserver", &layout.apiserver_arguments())?;
        let admin = kubeconfig(&scratch, &layout, (&pki, &Identity::admin()), &layout.server())?;
        let manager = Identity::new("system:kube-controller-manager", &[]);
        let manager = kubeconfig(&scratch, &layout, (&pki, &manager), &layout.server())?;
        wait_ready(&admin, &[&etcd, &apiserver]).await?;
        let controllers =
            layout.start("kube-controller-manager", &layout.controllers_arguments(&manager))?;
        let apiserver = Mutex::new(apiserver);
        Ok(Self { controllers, apiserver, etcd, layout, pki, admin, scratch })
    }

    /// The administrator's kubeconfig, for `kubectl`, `helm` and programs under test.
    #[must_use]
    pub fn kubeconfig(&self) -> &std::path::Path {
        &self.admin
    }

    /// A kubeconfig file with a client certificate for somebody else.
    ///
    /// # Errors
    /// When the certificate cannot be made.
    pub fn kubeconfig_as(&self, identity: &Identity) -> Result<PathBuf> {
        self.kubeconfig_via(identity, &self.layout.server())
    }

    /// The same, for another way to the API server, such as a [`crate::Cable`] to [`ControlPlane::address`].
    ///
    /// # Errors
    /// When the certificate cannot be made.
    pub fn kubeconfig_via(&self, identity: &Identity, server: &str) -> Result<PathBuf> {
        kubeconfig(&self.scratch, &self.layout, (&self.pki, identity), server)
    }

    /// Where the API server listens.
    #[must_use]
    pub fn address(&self) -> std::net::SocketAddr {
        self.layout.address()
    }

    /// The administrator's client, for the current runtime.
    ///
    /// # Errors
    /// When the kubeconfig cannot be read.
    pub async fn client(&self) -> Result<kube::Client> {
        client(&self.admin).await
    }

    /// The client of a user with certain groups, to whom RBAC applies.
    ///
    /// # Errors
    /// When the certificate cannot be made.
    pub async fn client_as(&self, user: &str, groups: &[&str]) -> Result<kube::Client> {
        client(&self.kubeconfig_as(&Identity::new(user, groups))?).await
    }

    /// Ends the API server and starts it again on the same port and data.
    ///
    /// # Errors
    /// When it does not become ready again.
    pub async fn restart_apiserver(&self) -> Result<()> {
        self.stop_apiserver().await;
        self.start_apiserver().await
    }

    /// Ends the API server at once, as a crash would.
    pub async fn stop_apiserver(&self) {
        let mut apiserver = self.apiserver.lock().await;
        // The graceful end waits for open watches for up to a minute. Killed but not dropped: its port
        // stays known, and `start_apiserver` replaces it.
        drop(apiserver.signal(crate::Signal::Kill));
        let gone =
            wait_until(START, "the end of kube-apiserver", async || !apiserver.alive()).await;
        drop(gone);
    }

    /// Starts the API server after [`ControlPlane::stop_apiserver`].
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn start_apiserver(&self) -> Result<()> {
        let mut apiserver = self.apiserver.lock().await;
        *apiserver = self.layout.start("kube-apiserver", &self.layout.apiserver_arguments())?;
        wait_ready(&self.admin, &[&self.etcd, &apiserver]).await
    }

    /// # Errors
    /// When one of the servers has ended; the error carries the end of its log.
    pub async fn check_alive(&self) -> Result<()> {
        self.etcd.check_alive()?;
        self.apiserver.lock().await.check_alive()?;
        self.controllers.check_alive()
    }
}

async fn client(kubeconfig: &std::path::Path) -> Result<kube::Client> {
    init_tls();
    let file = Kubeconfig::read_from(kubeconfig)?;
    let config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    Ok(kube::Client::try_from(config)?)
}

async fn wait_ready(admin: &std::path::Path, servers: &[&Guarded]) -> Result<()> {
    let client = client(admin).await?;
    wait_until(START, "kube-apiserver", async || {
        servers.iter().any(|server| !server.alive()) || ready(&client).await
    })
    .await
    .with_context(|| servers.iter().map(|s| s.log_tail()).collect::<Vec<_>>().join("\n"))?;
    servers.iter().try_for_each(|server| server.check_alive())
}

async fn ready(client: &kube::Client) -> bool {
    let Ok(request) = http::Request::get("/readyz").body(Vec::new()) else { return false };
    client.request_text(request).await.is_ok_and(|text| text == "ok")
}

/// Writes a kubeconfig that refers to the certificate files beside it.
fn kubeconfig(
    scratch: &Scratch,
    layout: &Layout,
    (pki, who): (&Pki, &Identity),
    server: &str,
) -> Result<PathBuf> {
    let (certificate, key) = pki.client(who)?;
    let name = who.user.replace(':', ".");
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "test" } }],
        "clusters": [{ "name": "test", "cluster": {
            "server": server, "certificate-authority": layout.pki("ca.crt"),
        } }],
        "users": [{ "name": "test", "user": { "client-certificate": certificate, "client-key": key } }],
    });
    scratch.write(&format!("{name}.kubeconfig"), serde_json::to_vec_pretty(&config)?)
}
