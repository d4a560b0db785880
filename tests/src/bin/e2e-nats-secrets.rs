//! Writes what `hack/e2e` makes Secrets of: a NATS operator with one account, and an authority for certificates.
//!
//! Out, a folder for each Secret:
//! - `server`: `nats.conf` of a server in operator mode that wants to see a certificate, and its own certificate;
//! - `publisher`, `first`, `second`: `nats.creds` of three users, each with its public key in `user`, and a certificate
//!   with its key (`tls.crt`, `tls.key`) and the authority's (`ca.crt`).

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use clap::Parser;
use harness::{Authority, Certified, NatsOperator};

#[derive(Debug, Parser)]
#[command(about = "Writes credentials and certificates for a nats-server and its clients")]
struct Options {
    /// The folder to write to.
    #[arg(long)]
    out: PathBuf,
    /// The server's name, as its clients call it.
    #[arg(long)]
    host: String,
    /// Where the server finds its own files.
    #[arg(long, default_value = "/etc/nats")]
    mounted: String,
}

fn main() -> Result<()> {
    harness::init_tls();
    let Options { out, host, mounted } = Options::parse();
    let (operator, authority) = (NatsOperator::new(), Authority::new("e2e")?);
    let config = format!(
        "{}\ntls {{ cert_file: \"{mounted}/tls.crt\", key_file: \"{mounted}/tls.key\", \
         ca_file: \"{mounted}/ca.crt\", verify: true }}\n",
        operator.server_config()?
    );
    let server = out.join("server");
    certified(&server, &authority, &authority.server_of(&[&host])?)?;
    write(&server, "nats.conf", &config)?;
    for name in ["publisher", "first", "second"] {
        let (user, creds) = operator.user()?;
        let folder = out.join(name);
        certified(&folder, &authority, &authority.client(name)?)?;
        write(&folder, "nats.creds", &creds)?;
        write(&folder, "user", &user)?;
    }
    Ok(())
}

fn certified(folder: &Path, authority: &Authority, certified: &Certified) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    write(folder, "tls.crt", &certified.certificate)?;
    write(folder, "tls.key", &certified.key)?;
    write(folder, "ca.crt", &authority.pem())
}

fn write(folder: &Path, name: &str, text: &str) -> Result<()> {
    let file = folder.join(name);
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
}
