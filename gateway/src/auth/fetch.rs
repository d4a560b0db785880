//! One request for the keys of an issuer, bounded in time and in what is read of its answer.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore, crypto};
use wsgateway_config::Jwks;

/// From the first look at the name to the last byte of the answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Longest answer: a set with hundreds of keys and their certificates.
const LARGEST: usize = 1 << 20;

/// Longest report of what went wrong (bytes).
const LONGEST_PROBLEM: usize = 300;

/// The answer of an issuer, or why there is none. Nothing of an answer is in that.
pub(super) async fn fetch(jwks: &Jwks) -> Result<Vec<u8>, String> {
    let done = tokio::time::timeout(TIMEOUT, Box::pin(exchange(jwks))).await;
    done.unwrap_or_else(|_late| Err(format!("no answer within {} s", TIMEOUT.as_secs())))
}

async fn exchange(jwks: &Jwks) -> Result<Vec<u8>, String> {
    let uri = jwks.url.parse().map_err(|_| "this is no address".to_owned())?;
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    // Made anew each time: the authorities may have changed, and a connection would be kept for nothing.
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(tls(jwks.ca_file.as_deref())?)
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp);
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    let answer = client.get(uri).await.map_err(|error| problem(&error))?;
    if answer.status() != http::StatusCode::OK {
        // Redirects neither: who is asked is configured.
        return Err(format!("the answer is {}", answer.status().as_u16()));
    }
    let mut body = answer.into_body();
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|error| problem(&error))?.into_data() else { continue };
        if whole.len() + data.len() > LARGEST {
            return Err(format!("the answer is longer than {} KiB", LARGEST >> 10));
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole)
}

fn tls(ca_file: Option<&Path>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(file) => {
            let unread =
                |error: &dyn std::fmt::Display| format!("caFile {}: {error}", file.display());
            let certificates =
                CertificateDer::pem_file_iter(file).map_err(|error| unread(&error))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|error| unread(&error))?;
                roots.add(certificate).map_err(|error| unread(&error))?;
            }
        }
        // Everything of the system, as far as it can be read.
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        return Err("no certificate of an authority: name a file with some in caFile".to_owned());
    }
    let provider = crypto::aws_lc_rs::default_provider();
    let builder = ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .map_err(|error| problem(&error))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// The last cause of an error: those before it say that something has failed.
fn problem(error: &dyn Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    let text = last.to_string();
    text[..text.floor_char_boundary(LONGEST_PROBLEM)].to_owned()
}
