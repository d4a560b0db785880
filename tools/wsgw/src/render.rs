//! `wsgw render`: the file that the operator would mount.

use std::io::Write as _;

use crate::cli::Render;
use crate::error::Error;
use crate::manifest::Manifest;

pub(crate) fn run(options: &Render) -> Result<(), Error> {
    let config = render(&Manifest::read(&options.file)?)?;
    std::io::stdout().write_all(config.as_bytes())?;
    Ok(())
}

fn render(manifest: &Manifest) -> Result<String, Error> {
    Ok(wsgateway_crds::gateway_config(&manifest.gateway()?).render()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every sample, so that a new one cannot be forgotten.
    #[test]
    fn each_sample_renders_to_the_recorded_configuration() {
        let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/../../manifests/samples");
        let mut count = 0;
        for entry in std::fs::read_dir(samples).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let config = render(&Manifest::read(path.to_str().unwrap()).unwrap()).unwrap();
            wsgateway_config::GatewayConfig::parse(&config).unwrap();
            insta::assert_snapshot!(name, config);
            count += 1;
        }
        assert!(count >= 3, "only {count} samples");
    }
}
