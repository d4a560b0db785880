//! The clients' side of TLS: a port of its own behind which everything is carried to a gateway with TLS, so that the same
//! clients measure it. Its handshakes are whole ones: no ticket is used twice.

use std::fs;
use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use wsgateway_client::swarm::Tls;
use wsgateway_config::ListenerTls;
use wsgateway_load::tls::Trust;

use crate::error::{Error, io};
use crate::process::Scratch;

/// Where to carry everything.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Client port of the gateway
    gateway: SocketAddr,
}

/// A certificate for a gateway: P-256, as usual today.
pub(crate) fn pair(scratch: &Scratch) -> Result<ListenerTls, Error> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])
        .map_err(|error| io("no certificate")(std::io::Error::other(error)))?;
    let write = |name: &str, text: String| {
        let file = scratch.join(name);
        fs::write(&file, text).map_err(io("cannot write a certificate"))?;
        Ok::<_, Error>(file)
    };
    Ok(ListenerTls {
        cert_file: write("tls.crt", made.cert.pem())?,
        key_file: write("tls.key", made.signing_key.serialize_pem())?,
    })
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(io("no runtime"))?;
    // The gateway is one that this program has started.
    let tls = Trust::Anybody.tls("localhost").map_err(std::io::Error::other);
    let tls = tls.map_err(io("no TLS"))?;
    runtime.block_on(carry_all(arguments.gateway, tls)).map_err(io("cannot listen"))
}

async fn carry_all(gateway: SocketAddr, tls: Tls) -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening {}", listener.local_addr()?);
    loop {
        let (near, _) = listener.accept().await?;
        drop(tokio::spawn(carry(near, gateway, tls.clone())));
    }
}

async fn carry(
    mut near: TcpStream,
    gateway: SocketAddr,
    Tls { config, name }: Tls,
) -> std::io::Result<()> {
    near.set_nodelay(true)?;
    let far = TcpStream::connect(gateway).await?;
    far.set_nodelay(true)?;
    let mut far = TlsConnector::from(config).connect(name, far).await?;
    copy_bidirectional(&mut near, &mut far).await.map(drop)
}
