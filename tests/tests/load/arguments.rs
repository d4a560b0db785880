//! What is wrong before a run, and a report that cannot be written after it.

use anyhow::Result;
use harness::Scratch;

use super::rig::{load, nats, simulate};

#[tokio::test]
async fn what_makes_no_sense_is_refused_before_the_run() -> Result<()> {
    let scratch = Scratch::new("load-arguments")?;
    let folder = scratch.path().display().to_string();
    let tokens = scratch.write("tokens", "good\nbad one\n")?;
    let tokens = tokens.display();
    for (arguments, expected) in [
        ("ws://127.0.0.1:1 -c 0".to_owned(), "0 is not in 1"),
        ("ws://127.0.0.1:1 --profile custom".to_owned(), "needs --connections"),
        ("wss://127.0.0.1:1 --ca /nonexistent/ca.pem".to_owned(), "/nonexistent/ca.pem"),
        ("wss://127.0.0.1:1 --ca a --insecure".to_owned(), "cannot be used with"),
        ("ws://127.0.0.1:1 --ca a".to_owned(), "for wss://"),
        ("ws://127.0.0.1:1 --insecure".to_owned(), "for wss://"),
        ("ws://127.0.0.1:0".to_owned(), "not an address"),
        ("ws://u:hidden@127.0.0.1:1".to_owned(), "--token-file"),
        ("ws://127.0.0.1:1 --fail-if p99".to_owned(), "p99>50ms"),
        ("ws://127.0.0.1:1 --fail-if p98>1ms".to_owned(), "there is no metric p98"),
        ("ws://127.0.0.1:1 --json /nonexistent/report".to_owned(), "/nonexistent/report"),
        (format!("ws://127.0.0.1:1 --html {folder}"), "cannot write the report"),
        ("ws://127.0.0.1:1 --json - --markdown -".to_owned(), "standard output"),
        ("ws://127.0.0.1:1 --raw-time t".to_owned(), "--protocol raw"),
        ("ws://127.0.0.1:1 --rate 5".to_owned(), "--publish"),
        ("ws://127.0.0.1:1 --publish nats://127.0.0.1:1 --channel a.>".to_owned(), "wildcards"),
        ("ws://127.0.0.1:1 --publish nats://127.0.0.1:1 --subject x".to_owned(), "one subject"),
        (format!("ws://127.0.0.1:1 --token-file {tokens}"), "line 2 is no token"),
        ("ws://127.0.0.1:1 --admin a:1 --admin b:1".to_owned(), "more --admin than targets"),
        ("ws://127.0.0.1:1 --admin nowhere".to_owned(), "HOST:PORT"),
    ] {
        let ended = load(&arguments).await?;
        assert!(matches!(ended.code, Some(1 | 2)), "{arguments}: {ended:?}");
        assert!(ended.stderr.contains(expected), "{arguments}: {ended:?}");
        assert!(ended.stdout.is_empty() && !ended.stderr.contains("hidden"), "{ended:?}");
    }
    let left: Vec<_> = std::fs::read_dir(scratch.path())?.flatten().collect();
    assert_eq!(left.len(), 1, "only the tokens: {left:?}");
    Ok(())
}

#[tokio::test]
async fn a_subject_that_no_stream_takes_is_said_before_the_run() -> Result<()> {
    let nats = nats().await?;
    let ended = load(&format!("ws://127.0.0.1:1 --publish {}", nats.url())).await?;
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("takes load.0: give --subject"), "{ended:?}");
    Ok(())
}

#[tokio::test]
async fn a_run_without_anybody_or_anything_is_refused_at_once() -> Result<()> {
    for flag in ["-c", "--connections", "--processes", "--channels", "--per-client"] {
        let arguments = format!("ws://127.0.0.1:1 {flag} 0");
        for ended in [load(&arguments).await?, simulate(&arguments).await?] {
            assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{flag}: {ended:?}");
            assert!(ended.stderr.contains("0 is not in 1.."), "{flag}: {ended:?}");
        }
    }
    Ok(())
}
