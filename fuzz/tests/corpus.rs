//! What the fuzzer starts from, and what it has found before, in every test run.

use std::path::Path;
use std::{fs, io};

fn replay(name: &str, target: fn(&[u8])) -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let mut replayed = 0;
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        // The name of the input, in case it fails.
        println!("{}", path.display());
        target(&fs::read(&path)?);
        replayed += 1;
    }
    assert!(replayed > 0, "{} is empty", folder.display());
    Ok(())
}

#[test]
fn frames_of_the_corpus_keep_every_promise() -> io::Result<()> {
    replay("frames", wsgateway_fuzz::frames)
}

#[test]
fn deflate_data_of_the_corpus_keeps_every_promise() -> io::Result<()> {
    replay("deflate", wsgateway_fuzz::deflate)
}

#[test]
fn commands_of_the_corpus_keep_every_promise() -> io::Result<()> {
    replay("commands", wsgateway_fuzz::commands)
}

#[test]
fn commands_of_earlier_protocols_in_the_corpus_keep_every_promise() -> io::Result<()> {
    replay("dialects", wsgateway_fuzz::dialects)
}

#[test]
fn what_nats_servers_send_in_the_corpus_keeps_every_promise() -> io::Result<()> {
    replay("nats", wsgateway_fuzz::nats)
}

#[test]
fn heads_of_requests_of_the_corpus_keep_every_promise() -> io::Result<()> {
    replay("heads", wsgateway_fuzz::heads)
}
