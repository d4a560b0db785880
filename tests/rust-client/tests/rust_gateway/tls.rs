//! A gateway with a certificate of an authority of its own.

use anyhow::Result;
use harness::{Authority, MountedSecret};
use serde_json::json;

use super::recorder::{Recorder, builder};
use super::servers::{Gateway, Source};

#[tokio::test]
async fn messages_come_over_tls_from_a_gateway_whose_authority_is_trusted_and_from_no_other()
-> Result<()> {
    let source = Source::start().await?;
    let authority = Authority::new("clients-ca")?;
    let certified = authority.server()?;
    let secret =
        MountedSecret::new(&[("tls.crt", &certified.certificate), ("tls.key", &certified.key)])?;
    let files = json!({ "certFile": secret.path("tls.crt"), "keyFile": secret.path("tls.key") });
    let tls = json!({ "listener": { "tls": files } });
    let gateway = Gateway::start_with(&source, &tls).await?;
    let url = gateway.url().replace("ws://", "wss://");
    let mut r = Recorder::subscribed(builder(&url).authorities(authority.pem()), &["a"]).await?;
    source.number("a", 1).await?;
    r.complete(1).await?;
    let other = Authority::new("others-ca")?.pem();
    let mut r = Recorder::new(builder(&url).authorities(other), &["a"])?;
    r.until("a refused certificate", |r| {
        r.closed().any(|closed| closed.code == 1006 && closed.reason.contains("certificate"))
    })
    .await
}
