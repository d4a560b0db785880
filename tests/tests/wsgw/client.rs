//! `wsgw sub` and `wsgw pub`, on a gateway and a stream that are real.

use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use harness::{Nats, Scratch, WsgwDev, repository, wsgw};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use super::{ANY_PORT, SOON, with_input};

/// A gateway without a market, on a server of the test's own.
async fn gateway(nats: &Nats, port: &str) -> Result<WsgwDev> {
    let url = nats.url();
    WsgwDev::start(&["--nats", &url, "--no-market", "--port", port, "--admin-port", "0"]).await
}

async fn published(nats: &Nats, subject: &str, data: &str) -> Result<()> {
    let (code, out, err) = with_input(&["pub", "--nats", &nats.url(), subject, data], "").await?;
    ensure!(code == Some(0) && out.starts_with("stream ODIN_TOKENS, sequence "), "{out}{err}");
    Ok(())
}

/// A running `wsgw sub`.
pub(super) struct Sub {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Sub {
    pub(super) fn start(arguments: &[&str]) -> Result<Self> {
        let mut command: Command = wsgw()?;
        command.arg("sub").args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let out = child.stdout.take().context("no standard output")?;
        Ok(Self { child, lines: BufReader::new(out).lines() })
    }

    pub(super) async fn line(&mut self) -> Result<String> {
        let line = timeout(SOON, self.lines.next_line()).await.context("no line")??;
        line.context("it has ended")
    }

    /// Its exit code and standard error.
    async fn end(mut self) -> Result<(Option<i32>, String)> {
        drop(self.lines);
        let mut err = String::new();
        let mut stream = self.child.stderr.take().context("no standard error")?;
        timeout(SOON, stream.read_to_string(&mut err)).await.context("it does not end")??;
        Ok((self.child.wait().await?.code(), err))
    }
}

/// What `wsgw sub` says in the end.
fn cursor(err: &str) -> Result<String> {
    let (_, cursor) = err.rsplit_once("--cursor ").context("no cursor")?;
    Ok(cursor.trim().to_owned())
}

#[tokio::test]
async fn a_gateway_that_restarts_loses_nothing_of_what_is_published_meanwhile() -> Result<()> {
    let nats = Nats::start().await?;
    let dev = gateway(&nats, "0").await?;
    let url = dev.url().to_owned();
    published(&nats, "odin.token.BTC.price", "1").await?;
    let first = ["sub", &url, "BTC.*", "--snapshot", "--count", "1"];
    let (code, out, err) = with_input(&first, "").await?;
    assert_eq!((code, out.as_str()), (Some(0), "BTC.price\t1\n"), "{err}");
    let cursor = cursor(&err)?;
    published(&nats, "odin.token.BTC.price", "2").await?;

    let mut sub = Sub::start(&[&url, "BTC.*", "--cursor", &cursor, "--count", "3", "--json"])?;
    let mut heard = vec![sub.line().await?];
    assert_eq!(dev.interrupt().await?.code, Some(0));
    let port = url.trim_end_matches('/').rsplit(':').next().context("no port")?;
    let dev = gateway(&nats, port).await?;
    for data in ["3", "4"] {
        published(&nats, "odin.token.BTC.price", data).await?;
    }
    for _ in 0..2 {
        heard.push(sub.line().await?);
    }
    let (code, err) = sub.end().await?;
    let data = heard.iter().map(|line| Ok(serde_json::from_str::<Value>(line)?["data"].clone()));
    let data: Result<Vec<Value>> = data.collect();
    assert_eq!((code, data?), (Some(0), vec![2.into(), 3.into(), 4.into()]), "{err}");
    ensure!(err.contains("connected again") && !err.contains("gap"), "{err}");
    assert_eq!(dev.interrupt().await?.code, Some(0));
    Ok(())
}

#[tokio::test]
async fn ctrl_c_ends_with_the_cursor_and_a_closed_pipe_without_an_error() -> Result<()> {
    let nats = Nats::start().await?;
    let dev = gateway(&nats, "0").await?;
    published(&nats, "odin.token.BTC.price", "1").await?;
    let mut sub = Sub::start(&[dev.url(), "BTC.*", "--snapshot"])?;
    assert_eq!(sub.line().await?, "BTC.price\t1");
    let pid = sub.child.id().context("it has ended")?.to_string();
    ensure!(Command::new("kill").args(["-s", "INT", &pid]).status().await?.success());
    let (code, err) = sub.end().await?;
    ensure!(code == Some(0) && cursor(&err)?.contains(':'), "{err}");

    let mut sub = Sub::start(&[dev.url(), "BTC.*", "--snapshot"])?;
    sub.line().await?;
    let Sub { mut child, lines } = sub;
    drop(lines);
    published(&nats, "odin.token.BTC.price", "2").await?;
    let status = timeout(SOON, child.wait()).await.context("it does not end")??;
    assert_eq!(status.code(), Some(0));
    assert_eq!(dev.interrupt().await?.code, Some(0));
    Ok(())
}

#[tokio::test]
async fn exit_codes_tell_scripts_what_happened() -> Result<()> {
    let nats = Nats::start().await?;
    let dev = gateway(&nats, "0").await?;
    let url = dev.url();
    for (arguments, code, said) in [
        (&["sub", url, "x", "--count", "1", "--timeout", "300ms"][..], 3, "after 0 of 1"),
        (&["sub", url, "x", "--timeout", "300ms"], 0, ""),
        (&["sub", url, "a..b"], 4, "rejects a..b (invalid_channel)"),
        (&["sub", url, "x", "--cursor", "nonsense"], 1, "is no cursor"),
        (&["sub", "ws://127.0.0.1:1", "x"], 1, "Connection refused"),
        (&["sub", "ws://127.0.0.1:1", "x", "--token", "a\nb: c"], 1, "no token has"),
        (&["sub", url], 2, "CHANNEL"),
    ] {
        let (got, out, err) = with_input(arguments, "").await?;
        ensure!(got == Some(code) && err.contains(said), "{arguments:?}: {got:?} {out}{err}");
    }
    assert_eq!(dev.interrupt().await?.code, Some(0));
    Ok(())
}

#[tokio::test]
async fn a_refused_token_ends_with_its_reason_and_a_good_one_from_a_file_is_shown() -> Result<()> {
    let scratch = Scratch::new("sub")?;
    let path = |name: &str| scratch.join(name).to_string_lossy().into_owned();
    let (key, token) = (path("key.json"), path("ann.token"));
    with_input(&["token", "key", "--out", &key], "").await?;
    std::fs::create_dir(scratch.join("odin-jwt"))?;
    scratch
        .write("odin-jwt/key.pem", with_input(&["token", "jwks", "--key", &key], "").await?.1)?;
    let sample = repository().join("manifests/samples/odin-auth.yaml");
    let (sample, folder) = (sample.to_string_lossy(), scratch.path().to_string_lossy());
    let mut arguments = vec!["-f", &sample, "--secrets", &folder];
    arguments.extend(ANY_PORT);
    let dev = WsgwDev::start(&arguments).await?;

    let new = ["token", "new", "--key", &key, "--sub", "ann", "--audience"];
    let with = |audience| new.iter().copied().chain([audience]).collect::<Vec<_>>();
    scratch.write("ann.token", with_input(&with("else"), "").await?.1)?;
    let hear = ["sub", dev.url(), "*.trade", "--count", "1", "--token-file", &token];
    let (code, _, err) = with_input(&hear, "").await?;
    ensure!(code == Some(4) && err.contains("wrong_audience"), "{err}");
    let wrong = std::fs::read_to_string(&token)?;
    ensure!(!err.contains(wrong.trim()), "the token is shown");

    scratch.write("ann.token", with_input(&with("odin"), "").await?.1)?;
    let (code, out, err) = with_input(&hear, "").await?;
    ensure!(code == Some(0) && out.contains(".trade\t"), "{err}");
    assert_eq!(dev.interrupt().await?.code, Some(0));
    Ok(())
}

#[tokio::test]
async fn a_message_that_no_stream_takes_is_an_error_that_says_what_to_do() -> Result<()> {
    let nats = Nats::start().await?;
    let dev = gateway(&nats, "0").await?;
    let server = nats.url();
    let sample = repository().join("manifests/samples/odin.yaml");
    let sample = sample.to_string_lossy();
    let to = ["pub", "--nats", &server];
    let publish =
        async |more: &[&str], input: &str| with_input(&[&to[..], more].concat(), input).await;
    for (more, said) in [
        (&["other.subject", "1"][..], "takes other.subject: does the WsGateway have it"),
        (&["odin.token.*", "1"], "is no subject to publish to"),
        (&["x", "@/nonexistent"], "cannot read /nonexistent"),
    ] {
        let (code, out, err) = publish(more, "").await?;
        ensure!(code == Some(1) && err.contains(said), "{out}{err}");
    }
    let (code, _, err) = publish(&["odin.token.a", "-"], &"x".repeat(2 << 20)).await?;
    ensure!(code == Some(1) && err.contains("at most (max_payload)"), "{err}");

    let of_channel = ["--manifest", &sample, "NEW.x", "-", "--id", "one", "--json"];
    let (_, first, err) = publish(&of_channel, "hello").await?;
    let (_, again, _) = publish(&of_channel, "hello").await?;
    let (first, again): (Value, Value) =
        (serde_json::from_str(&first).context(err)?, serde_json::from_str(&again)?);
    assert_eq!(first["subject"], "odin.token.NEW.x");
    assert_eq!((&again["duplicate"], &again["sequence"]), (&true.into(), &first["sequence"]));
    assert_eq!(dev.interrupt().await?.code, Some(0));
    Ok(())
}

#[tokio::test]
async fn a_publisher_that_may_not_is_an_error_with_what_the_server_says() -> Result<()> {
    let scratch = Scratch::new("pub")?;
    let password = scratch.write("password", "sesame-sesame")?.display().to_string();
    let nats = Nats::start_with(
        "authorization { users: [{ user: me, password: sesame-sesame, permissions: { publish: { deny: \"secret.>\" } } }] }",
    )
    .await?;
    let url = nats.url();
    let publish = ["pub", "--nats", &url, "--nats-user", "me", "--nats-password-file", &password];
    let (code, out, err) = with_input(&[&publish[..], &["secret.a", "1"]].concat(), "").await?;
    ensure!(code == Some(1) && err.to_lowercase().contains("permissions violation"), "{out}{err}");
    scratch.write("password", "another")?;
    let (code, out, err) = with_input(&[&publish[..], &["open.a", "1"]].concat(), "").await?;
    ensure!(
        code == Some(1) && err.to_lowercase().contains("authorization violation"),
        "{out}{err}"
    );
    ensure!(!err.contains("another"), "the password is shown");
    Ok(())
}
