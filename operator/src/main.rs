//! The operator's command line.

use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let printed = wsgateway_crds::crd_yaml()
        .map_err(std::io::Error::other)
        .and_then(|yaml| std::io::stdout().write_all(yaml.as_bytes()));
    if printed.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
