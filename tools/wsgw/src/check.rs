//! `wsgw check`: is this manifest fine?

use std::io::Write as _;

use crate::cli::Check;
use crate::error::Error;
use crate::manifest::Manifest;

pub(crate) fn run(options: &Check) -> Result<(), Error> {
    let manifest = Manifest::read(&options.file)?;
    let gateway = manifest.gateway()?;
    let stream = &gateway.stream;
    writeln!(
        std::io::stdout(),
        "{}: WsGateway {} is valid: stream {} of {}",
        manifest.name,
        gateway.name,
        stream.name,
        stream.subjects.join(", ")
    )?;
    Ok(())
}
