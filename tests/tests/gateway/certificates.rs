//! Certificates: a server that verifies its clients, and what is said when one of them does not fit.

use std::path::PathBuf;

use anyhow::Result;
use async_nats::ConnectOptions;
use harness::{Authority, Certified, MountedSecret, Nats, Scratch};
use wsgateway_config::NatsTls;

use super::access::{guarded, told, with};
use super::http::get;
use super::rig::{Rig, ready, start};

/// The certificates of a server that wants to see those of its clients, as files.
struct Pki {
    ca: Authority,
    server: String,
    folder: Scratch,
}

impl Pki {
    fn new() -> Result<Self> {
        let (ca, folder) = (Authority::new("nats-ca")?, Scratch::new("pki")?);
        let Certified { certificate, key } = ca.server()?;
        let path = |name: &str, text: &str| -> Result<String> {
            Ok(folder.write(name, text)?.display().to_string())
        };
        let server = format!(
            "tls {{ cert_file: \"{}\", key_file: \"{}\", ca_file: \"{}\", verify: true }}",
            path("server.crt", &certificate)?,
            path("server.key", &key)?,
            path("ca.crt", &ca.pem())?,
        );
        Ok(Self { ca, server, folder })
    }

    fn file(&self, name: &str, text: &str) -> Result<PathBuf> {
        self.folder.write(name, text)
    }

    /// A publisher that the server accepts.
    fn admin(&self) -> Result<ConnectOptions> {
        let Certified { certificate, key } = self.ca.client("admin")?;
        Ok(ConnectOptions::new()
            .add_root_certificates(self.folder.join("ca.crt"))
            .add_client_certificate(
                self.file("admin.crt", &certificate)?,
                self.file("admin.key", &key)?,
            ))
    }
}

/// The files of a Secret of type kubernetes.io/tls.
fn pair(certified: &Certified) -> [(&str, &str); 2] {
    [("tls.crt", &certified.certificate), ("tls.key", &certified.key)]
}

#[tokio::test]
async fn a_server_that_verifies_clients_takes_one_with_the_right_certificate_and_a_new_one_later()
-> Result<()> {
    let pki = Pki::new()?;
    let (nats, jetstream) = guarded(&pki.server, pki.admin()?).await?;
    let stranger = Authority::new("somebody else")?.client("gateway")?;
    let mut secret = MountedSecret::new(&pair(&stranger))?;
    let tls = NatsTls {
        ca_file: Some(pki.folder.join("ca.crt")),
        cert_file: Some(secret.path("tls.crt")),
        key_file: Some(secret.path("tls.key")),
        handshake_first: false,
    };
    let gateway = start(with(&nats, None, Some(tls)))?;
    told(gateway.admin_addr, "error", "check spec.nats.tls.clientSecret").await?;

    secret.replace(&pair(&pki.ca.client("gateway")?))?;
    ready(gateway.admin_addr).await?;
    let rig = Rig::of(nats, jetstream, gateway);
    let mut client = rig.subscriber(&["a"]).await?;
    rig.publish("a", "1").await?;
    assert_eq!(client.expect("message").await?["offset"], 1);

    // One that is not accepted shows that the connection follows the files.
    secret.replace(&pair(&stranger))?;
    told(rig.admin_addr, "error", "check spec.nats.tls.clientSecret").await?;
    rig.publish("a", "2").await?;
    let right = pki.ca.client("gateway")?;
    let mixed = Certified { key: stranger.key.clone(), ..right.clone() };
    secret.replace(&pair(&mixed))?;
    told(rig.admin_addr, "error", "does not fit the certificate in").await?;
    secret.replace(&pair(&right))?;
    assert_eq!(client.expect("message").await?["offset"], 2);
    Ok(())
}

#[tokio::test]
async fn what_is_missing_or_wrong_in_tls_is_told_with_the_field_to_set() -> Result<()> {
    let pki = Pki::new()?;
    let verifying = Nats::start_with(&pki.server).await?;
    let plain = Nats::start().await?;
    let another = pki.file("another.crt", &Authority::new("somebody else")?.pem())?;
    let ca = |file: PathBuf| Some(NatsTls { ca_file: Some(file), ..NatsTls::default() });
    for (nats, tls, words) in [
        (&verifying, None, "asks for TLS, and its certificate comes from no authority"),
        (&verifying, ca(another), "check spec.nats.tls.caSecret"),
        (&verifying, ca(pki.folder.join("ca.crt")), "set spec.nats.tls.clientSecret"),
        (&verifying, ca(pki.file("no.crt", "hello")?), "no.crt holds no certificate"),
        (&verifying, ca(pki.folder.join("none.crt")), "none.crt cannot be read"),
        (&plain, ca(pki.folder.join("ca.crt")), "does not speak TLS"),
    ] {
        let gateway = start(with(nats, None, tls))?;
        told(gateway.admin_addr, "error", words).await?;
        assert_eq!(get(gateway.admin_addr, "/readyz").await?.status, 503);
    }
    Ok(())
}

#[tokio::test]
async fn tls_before_the_first_line_of_the_server_is_spoken_where_it_is_configured() -> Result<()> {
    let pki = Pki::new()?;
    let server = pki.server.replace("verify: true", "handshake_first: true");
    let admin = ConnectOptions::new().add_root_certificates(pki.folder.join("ca.crt")).tls_first();
    let (nats, jetstream) = guarded(&server, admin).await?;
    let ca_file = Some(pki.folder.join("ca.crt"));
    let late = NatsTls { ca_file: ca_file.clone(), ..NatsTls::default() };
    let gateway = start(with(&nats, None, Some(late)))?;
    told(gateway.admin_addr, "connecting", "handshakeFirst").await?;
    drop(gateway);

    let first = NatsTls { ca_file, handshake_first: true, ..NatsTls::default() };
    let config = with(&nats, None, Some(first));
    let rig = Rig::start_on(nats, jetstream, config).await?;
    let mut client = rig.subscriber(&["a"]).await?;
    rig.publish("a", "1").await?;
    assert_eq!(client.expect("message").await?["offset"], 1);
    Ok(())
}
