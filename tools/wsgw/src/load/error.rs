//! What goes wrong with `wsgw load`.

use std::io;
use std::path::PathBuf;

use wsgateway_load::address::AddressError;
use wsgateway_load::plan::ChannelsError;
use wsgateway_load::tls::TlsError;

use crate::wire::WireError;

/// Why there is no run, or why it has failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error("cannot resolve {host}: {source}")]
    Resolve { host: String, source: io::Error },
    #[error("{host} has no address")]
    NoAddress { host: String },
    #[error("{flag} is for wss:// targets, and there is none")]
    NotSecure { flag: &'static str },
    #[error("cannot read authorities from {}: {source}", path.display())]
    Authorities { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Channels(#[from] ChannelsError),
    #[error("--profile custom needs --connections")]
    Connections,
    #[error("{flag} is for --protocol raw")]
    NotRaw { flag: &'static str },
    #[error(
        "with --publish clients subscribe to channels without wildcards; {channel} has one: leave --channel out, or write \
         such as load.{{}}"
    )]
    Wildcard { channel: String },
    #[error("--subject {subject} does not hold {{channel}}: all channels would be one subject")]
    Subject { subject: String },
    #[error("cannot read tokens from {}: {source}", path.display())]
    Tokens { path: PathBuf, source: io::Error },
    #[error("{}: no line holds a token", path.display())]
    NoToken { path: PathBuf },
    #[error("{}: line {line} is no token", path.display())]
    NotAToken { path: PathBuf, line: usize },
    #[error("cannot write the report to {}: {source}; {}", path.display(), way_out(source))]
    Report { path: PathBuf, source: io::Error },
    #[error(
        "only one of --json and --markdown can go to standard output, and --html cannot: name a file"
    )]
    StandardOutput,
    #[error(
        "{count} connections need more than {limit} open files: raise ulimit -n, or give more --processes"
    )]
    Files { count: u32, limit: u64 },
    #[error("cannot start a worker: {0}")]
    Worker(io::Error),
    #[error("--admin {address}: write HOST:PORT, as a gateway logs it (admin listening)")]
    Admin { address: String },
    #[error("there are more --admin than targets")]
    Admins,
    #[error("no stream on {url} takes {subject}: give --subject, such as 'odin.token.{{channel}}'")]
    NoStream { url: String, subject: String },
    #[error("no connection was opened: {why}")]
    NoConnection { why: String },
    #[error("the run has failed by {failed}")]
    Thresholds { failed: String },
}

/// What helps where a report cannot be written.
fn way_out(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "make room there (1 MiB for each report), or name a file elsewhere"
        }
        io::ErrorKind::NotFound => "create its folder, or name a file elsewhere",
        io::ErrorKind::IsADirectory => "name a file in it",
        _ => "name a file elsewhere",
    }
}
