//! What is done on this machine: commands, signals to processes of pods, and questions to their admin ports.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use serde::de::DeserializeOwned;
use tokio::process::Command;

/// Kills the processes of a pod.
pub(crate) async fn kill(pod: &Pod) -> Result<()> {
    let pids = pids_of(&pod.uid().unwrap_or_default())?;
    ensure!(!pids.is_empty(), "the processes of pod {} are not on this machine", pod.name_any());
    for pid in pids {
        let status = Command::new("kill").args(["-9", &pid.to_string()]).status().await?;
        ensure!(status.success(), "kill -9 {pid}: {status}");
    }
    Ok(())
}

pub(crate) async fn kubectl(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("kubectl");
    let output = command.args(arguments).stdin(Stdio::null()).output().await;
    let output = output.context("kubectl is needed on PATH")?;
    if !output.status.success() {
        bail!("kubectl {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// The processes of a pod, but for the one that holds its namespaces.
pub(crate) fn pids_of(uid: &str) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let path = entry?.path();
        let Some(pid) = path.file_name().and_then(|name| name.to_str()?.parse().ok()) else {
            continue;
        };
        // Processes end while they are looked at.
        let groups = std::fs::read_to_string(path.join("cgroup")).unwrap_or_default();
        let name = std::fs::read_to_string(path.join("comm")).unwrap_or_default();
        // With systemd as the cgroup driver the dashes of the uid are underscores.
        let is_of_pod = groups.contains(uid) || groups.contains(&uid.replace('-', "_"));
        if is_of_pod && name.trim() != "pause" {
            found.push(pid);
        }
    }
    Ok(found)
}

/// Threads of a process; 0 when it has ended.
pub(crate) fn threads(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count)
}

/// An answer of an admin port.
///
/// # Errors
/// When there is none in time, or another one.
pub async fn get<T: DeserializeOwned>(address: SocketAddr, path: &str) -> Result<T> {
    use http_body_util::{BodyExt as _, Empty, Limited};
    use hyper::body::Bytes;
    use hyper_util::rt::TokioIo;

    /// Far more than a status has.
    const MOST: usize = 1 << 20;
    let ask = async {
        let socket = tokio::net::TcpStream::connect(address).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
        let connection = tokio::spawn(connection);
        let request = hyper::Request::get(path).header("host", address.to_string());
        let response = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
        let body = Limited::new(response.into_body(), MOST).collect().await;
        connection.abort();
        let body = body.map_err(|error| anyhow::anyhow!("{error}"))?.to_bytes();
        Ok(serde_json::from_slice(&body)?)
    };
    tokio::time::timeout(Duration::from_secs(2), ask).await.context("no answer in time")?
}
