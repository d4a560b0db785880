use std::fs;
use std::path::{Path, PathBuf};

use wsgateway_config::{Algorithm, Auth, Jwt, KeyFile, MemorySource, Source};

use super::*;

/// A folder of this test alone, deleted with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("wsgateway-{name}-{}", fastrand::u64(..)));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn config(file: &Path) -> GatewayConfig {
    let mut config = GatewayConfig::new("n", Source::Memory(MemorySource {}));
    let keys = vec![KeyFile { file: file.to_owned(), id: None }];
    let jwt = Jwt::new(keys, vec![Algorithm::HS256]);
    config.auth = Some(Auth { jwt, anonymous: None, channels: Vec::new() });
    config
}

fn poll(authentication: &Authentication) -> KeysStatus {
    authentication.lock().as_mut().unwrap().poll();
    authentication.status().unwrap()
}

#[test]
fn keys_that_cannot_be_read_do_not_replace_those_that_could_be() {
    let folder = Folder::new("keys");
    let file = folder.write("key", &"a".repeat(32));
    let authentication = Authentication::new(&config(&file), &Registry::new()).unwrap();
    assert!(authentication.guard().unwrap().verifier.has_keys());
    folder.write("key", "short, and sesame");
    assert!(poll(&authentication).problems.is_empty(), "it may be half written");
    let status = poll(&authentication);
    assert_eq!((status.keys, status.problems.len()), (1, 1));
    assert!(!status.problems[0].contains("sesame"), "{status:?}");
    fs::remove_file(&file).unwrap();
    poll(&authentication);
    assert_eq!(poll(&authentication).keys, 1);
    folder.write("key", &"b".repeat(32));
    poll(&authentication);
    assert_eq!(poll(&authentication), KeysStatus { keys: 1, problems: Vec::new() });
}

#[test]
fn the_same_configuration_keeps_what_was_verified_and_another_one_does_not() {
    let folder = Folder::new("configurations");
    let mut config = config(&folder.write("key", &"a".repeat(32)));
    let authentication = Authentication::new(&config, &Registry::new()).unwrap();
    let first = authentication.guard().unwrap();
    config.capacity.connections += 1;
    authentication.configure(&config);
    assert!(Arc::ptr_eq(&first, &authentication.guard().unwrap()));
    config.auth.as_mut().unwrap().jwt.issuer = Some("us".to_owned());
    authentication.configure(&config);
    assert!(!Arc::ptr_eq(&first, &authentication.guard().unwrap()));
    config.auth = None;
    authentication.configure(&config);
    assert!(authentication.guard().is_none() && authentication.status().is_none());
}
