//! `wsgw render`: the file that the operator would mount.

use std::io::Write as _;

use crate::cli::Render;
use crate::error::Error;
use crate::manifest::Manifest;

pub(crate) fn run(options: &Render) -> Result<(), Error> {
    let gateway = Manifest::read(&options.file)?.gateway()?;
    let config = wsgateway_crds::gateway_config(&gateway).render()?;
    std::io::stdout().write_all(config.as_bytes())?;
    Ok(())
}
