//! Servers whose handshake of TLS does not end.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use harness::Authority;
use rustls::crypto::{CryptoProvider, aws_lc_rs as provider};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ConnectionTrafficSecrets, ServerConfig};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::others::serve;
use super::rig::Running;

const RUN: &str = "--insecure -c 20 --ramp 0s --duration 50s --no-reconnect --json -";
/// What twenty connections and their report may take (KiB); a program without them has thirty MiB.
const MOST_KIB: u64 = 120 << 10;

/// A record of TLS: its type, and what it holds.
fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u16).to_be_bytes();
    [&[kind, 3, 3], &length[..], body].concat()
}

/// Runs against a server; all twenty attempts end by this kind of error, in time and with little memory.
async fn all_fail_by<F: Future<Output = ()> + Send + 'static>(
    kind: &str,
    script: impl Fn(TcpStream) -> F + Send + 'static,
) -> Result<()> {
    let address = serve(script).await?;
    // A server that is late on a busy machine must not count as one that does not answer.
    let timeout = if kind == "no answer in time" { "500ms" } else { "40s" };
    let mut running = Running::start(&format!("wss://{address} --timeout {timeout} {RUN}"))?;
    // Each second it says how many there are so far: long before its end.
    running.says("errors 20").await?;
    running.interrupt().await?;
    let (ended, kib) = running.ended_with_memory().await?;
    let report = ended.report()?;
    assert_eq!(report["totals"]["errors"], serde_json::json!({ kind: 20 }), "{report:#}");
    assert_eq!(ended.code, Some(1), "no connection was opened: {}", ended.stderr);
    assert!(report["notes"].to_string().contains("no message"), "{report:#}");
    assert_eq!(report["end"], "interrupted", "{report:#}");
    assert!(kib < MOST_KIB, "{kib} KiB");
    Ok(())
}

#[tokio::test]
async fn a_server_that_stalls_in_the_handshake_is_given_up_in_time() -> Result<()> {
    all_fail_by("no answer in time", |stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await
}

#[tokio::test]
async fn a_server_that_drips_its_hello_gains_no_time_by_it() -> Result<()> {
    all_fail_by("no answer in time", |mut stream| async move {
        // A hello of 60,000 bytes, each in a record of its own.
        let hello = [2, 0, 0xea, 0x60].into_iter().chain(std::iter::repeat(0));
        for byte in hello {
            if stream.write_all(&record(22, &[byte])).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
}

#[tokio::test]
async fn a_handshake_without_an_end_is_a_failure_of_tls() -> Result<()> {
    // A hello of 16 MiB; and changes of ciphers, each of which is allowed to come once.
    let bodies =
        [record(22, &[&[2, 0xff, 0xff, 0xff], &[0; 16_000][..]].concat()), record(20, &[1])];
    for record in bodies {
        all_fail_by("TLS failed", move |mut stream| {
            let record = record.clone();
            async move { while stream.write_all(&record).await.is_ok() {} }
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn tickets_without_an_end_hold_up_neither_the_deadline_nor_the_other_connections()
-> Result<()> {
    let pair = Authority::new("load")?.server()?;
    let only = vec![provider::cipher_suite::TLS13_AES_128_GCM_SHA256];
    let suites = CryptoProvider { cipher_suites: only, ..provider::default_provider() };
    let certificates = CertificateDer::pem_slice_iter(pair.certificate.as_bytes());
    let mut config = ServerConfig::builder_with_provider(Arc::new(suites))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(
            certificates.collect::<Result<_, _>>()?,
            PrivateKeyDer::from_pem_slice(pair.key.as_bytes())?,
        )?;
    (config.enable_secret_extraction, config.send_tls13_tickets) = (true, 0);
    let acceptor = TlsAcceptor::from(Arc::new(config));
    all_fail_by("no answer in time", move |stream| {
        let acceptor = acceptor.clone();
        // It ends with the connection, which is how it has to end.
        async move { drop(tickets(stream, acceptor).await) }
    })
    .await
}

/// Shakes hands, and then sends nothing but tickets.
async fn tickets(stream: TcpStream, acceptor: TlsAcceptor) -> Result<()> {
    // A lifetime, no nonce, a ticket of one byte, no extensions; 0x16 is the type of the record that is encrypted.
    let ticket = [4, 0, 0, 14, 0, 0, 28, 32, 0, 0, 0, 0, 0, 0, 1, 7, 0, 0];
    let plain = [&ticket.repeat(800)[..], &[0x16]].concat();
    let (mut stream, session) = acceptor.accept(stream).await?.into_inner();
    let (mut number, secrets) = session.dangerous_extract_secrets()?.tx;
    let ConnectionTrafficSecrets::Aes128Gcm { key, iv } = secrets else {
        anyhow::bail!("another cipher")
    };
    let unbound = UnboundKey::new(&AES_128_GCM, key.as_ref()).ok().context("a key")?;
    let key = LessSafeKey::new(unbound);
    loop {
        let mut nonce: [u8; 12] = iv.as_ref().try_into()?;
        nonce.iter_mut().skip(4).zip(number.to_be_bytes()).for_each(|(byte, n)| *byte ^= n);
        let length = (plain.len() as u16 + 16).to_be_bytes();
        let head = [0x17, 3, 3, length[0], length[1]];
        let mut body = plain.clone();
        let nonce = Nonce::assume_unique_for_key(nonce);
        let sealed = key.seal_in_place_append_tag(nonce, Aad::from(head), &mut body);
        sealed.ok().context("a sealed record")?;
        stream.write_all(&[&head[..], &body].concat()).await?;
        number += 1;
    }
}
