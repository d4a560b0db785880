//! `wsgw dev` with a certificate: the manifest names a Secret, which is a folder here.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use futures_util::{SinkExt as _, StreamExt as _};
use harness::{Authority, Scratch, WsgwDev, init_tls};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use super::{ANY_PORT, SOON, demo};

/// The first message on a channel over TLS, by a client that trusts this authority alone.
async fn first_message(authority: &Authority, host: &str, channel: &str) -> Result<Value> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes())?)?;
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(host).await?;
    let name = ServerName::try_from("localhost")?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    let mut request = format!("wss://{host}/ws").into_client_request()?;
    request.headers_mut().insert("Sec-WebSocket-Protocol", "wsgateway.v1".parse()?);
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await?;
    let subscribe = json!({ "type": "subscribe", "id": 1, "channels": [channel] });
    socket.send(Message::text(subscribe.to_string())).await?;
    loop {
        let frame = tokio::time::timeout(SOON, socket.next()).await?.context("closed")??;
        let Message::Text(text) = frame else { continue };
        let push: Value = serde_json::from_str(&text)?;
        if push["type"] == "message" {
            return Ok(push);
        }
    }
}

#[tokio::test]
async fn dev_speaks_tls_with_the_certificate_of_a_folder_and_names_the_file_that_is_missing()
-> Result<()> {
    init_tls();
    let authority = Authority::new("dev-ca")?;
    let certified = authority.server()?;
    let folder = Scratch::new("dev-tls")?;
    let tls = "  listener: { tls: { secret: { name: odin-tls } } }\n  capacity:\n";
    let manifest = demo()?.replacen("  capacity:\n", tls, 1);
    let file = folder.write("odin.yaml", manifest)?.display().to_string();
    let secrets = folder.path().display().to_string();
    let mut arguments = vec!["-f", file.as_str()];
    arguments.extend(ANY_PORT);
    let error = WsgwDev::start(&arguments).await.unwrap_err().to_string();
    assert!(error.contains("spec.listener.tls") && error.contains("--secrets"), "{error}");
    arguments.extend(["--secrets", &secrets]);
    std::fs::create_dir(folder.path().join("odin-tls"))?;
    folder.write("odin-tls/tls.crt", &certified.certificate)?;
    let error = WsgwDev::start(&arguments).await.unwrap_err().to_string();
    assert!(error.contains("odin-tls/tls.key"), "{error}");

    folder.write("odin-tls/tls.key", &certified.key)?;
    let dev = WsgwDev::start(&arguments).await?;
    let host = dev.url().strip_prefix("https://").context("no https")?.trim_end_matches('/');
    let message = first_message(&authority, host, "BTC.price").await?;
    assert_eq!(message["channel"], "BTC.price");
    assert!(dev.output().contains(&format!("wss://{host}/ws")), "{}", dev.output());
    let ended = dev.interrupt().await?;
    assert_eq!(ended.code, Some(0));
    assert!(!ended.output.contains("PRIVATE KEY"), "{}", ended.output);
    Ok(())
}
