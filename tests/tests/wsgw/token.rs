//! `wsgw token`, held against a gateway that asks for tokens.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use harness::{Scratch, WsgwDev, repository};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use super::{ANY_PORT, first_push, with_input};

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path in UTF-8")
}

/// Standard output of a command that has to work.
async fn printed(arguments: &[&str], input: &str) -> Result<String> {
    let (code, out, err) = with_input(arguments, input).await?;
    ensure!(code == Some(0), "{arguments:?} ended with {code:?}: {err}");
    Ok(out)
}

#[tokio::test]
async fn a_gateway_accepts_a_token_that_was_made_and_verify_says_the_same_as_it_does() -> Result<()>
{
    let scratch = Scratch::new("token")?;
    let (key, sample) =
        (scratch.join("key.json"), repository().join("manifests/samples/odin-auth.yaml"));
    let (key, sample) = (text(&key)?, text(&sample)?);
    let told = printed(&["token", "key", "--kid", "k1", "--out", key], "").await?;
    ensure!(told.contains("key pair, named k1"), "{told}");
    std::fs::create_dir(scratch.join("odin-jwt"))?;
    let jwks = printed(&["token", "jwks", "--key", key], "").await?;
    scratch.write("odin-jwt/key.pem", jwks)?;
    let new = [
        "token",
        "new",
        "--key",
        key,
        "--sub",
        "ann",
        "--audience",
        "odin",
        "--claim",
        "role=trader",
        "--claim",
        "desk=fx",
    ];
    let token = printed(&new, "").await?.trim().to_owned();

    let folder = text(scratch.path())?;
    let mut arguments = vec!["-f", sample, "--secrets", folder];
    arguments.extend(ANY_PORT);
    let dev = WsgwDev::start(&arguments).await?;
    let channels = ["SOL.trade", "user.ann.a", "user.bob.a", "desk.fx.a", "desk.fx.a.b", ">"];
    let url = format!("{}ws?token={token}", dev.url().replace("http://", "ws://"));
    let subscribe = json!({ "type": "subscribe", "id": 1, "channels": channels });
    let ack = first_push(url.into_client_request()?, &subscribe, "subscription_ack").await?;

    let mut verify = vec!["token", "verify", "--json", "--keys", key, "--manifest", sample, "-"];
    verify.extend(channels.iter().flat_map(|channel| ["--channel", channel]));
    let (code, out, _) = with_input(&verify, &token).await?;
    let told: Value = serde_json::from_str(&out)?;
    let asked = told["asked"].as_array().context("no answers")?;
    let allowed: Vec<&Value> =
        asked.iter().filter(|one| one["allowed"] == true).map(|one| &one["channel"]).collect();
    assert_eq!((code, &told["accepted"]), (Some(1), &json!(true)));
    assert_eq!(json!(allowed), json!(["SOL.trade", "user.ann.a", "desk.fx.a"]));
    let subscribed = ack["subscribed"].as_array().context("nothing subscribed")?;
    // Without an order, and user.ann.a lies within what is subscribed without asking.
    for channel in &allowed {
        ensure!(subscribed.contains(channel), "{channel} in {ack}");
    }
    assert_eq!(ack["rejected"].as_array().map(Vec::len), Some(channels.len() - allowed.len()));
    assert_eq!(dev.interrupt().await?.code, Some(0));
    Ok(())
}

#[tokio::test]
async fn a_gateway_accepts_tokens_of_a_new_rsa_key() -> Result<()> {
    let sample = std::fs::read_to_string(repository().join("manifests/samples/odin-auth.yaml"))?;
    for algorithm in ["RS256", "PS256"] {
        let scratch = Scratch::new("token-rsa")?;
        let (key, manifest) = (scratch.join("key.json"), scratch.join("odin.yaml"));
        let (key, manifest) = (text(&key)?, text(&manifest)?);
        let algorithms = format!("algorithms: [{algorithm}]");
        ensure!(sample.contains("algorithms: [EdDSA]"), "the sample has another algorithm");
        scratch.write("odin.yaml", sample.replace("algorithms: [EdDSA]", &algorithms))?;
        let made = ["token", "key", "--algorithm", algorithm, "--kid", "k1", "--out", key];
        ensure!(printed(&made, "").await?.contains("key pair, named k1"));
        std::fs::create_dir(scratch.join("odin-jwt"))?;
        let jwks = printed(&["token", "jwks", "--key", key], "").await?;
        ensure!(jwks.contains(algorithm) && !jwks.contains("\"d\""), "{jwks}");
        scratch.write("odin-jwt/key.pem", jwks)?;
        let new = ["token", "new", "--key", key, "--sub", "ann", "--audience", "odin"];
        let token = printed(&new, "").await?.trim().to_owned();
        let verify = ["token", "verify", "--keys", key, "--manifest", manifest, "-"];
        ensure!(printed(&verify, &token).await?.starts_with("accepted"));

        let mut arguments = vec!["-f", manifest, "--secrets", text(scratch.path())?];
        arguments.extend(ANY_PORT);
        let dev = WsgwDev::start(&arguments).await?;
        let url = format!("{}ws?token={token}", dev.url().replace("http://", "ws://"));
        let subscribe = json!({ "type": "subscribe", "id": 1, "channels": ["user.ann.a"] });
        let ack = first_push(url.into_client_request()?, &subscribe, "subscription_ack").await?;
        assert_eq!(ack["rejected"].as_array().map(Vec::len), Some(0), "{ack}");
        assert_eq!(dev.interrupt().await?.code, Some(0));
    }
    Ok(())
}

#[tokio::test]
async fn a_private_file_is_for_its_owner_alone_and_is_never_overwritten() -> Result<()> {
    let scratch = Scratch::new("token")?;
    let file = scratch.join("key.json");
    let make = ["token", "key", "--algorithm", "HS256", "--out", text(&file)?];
    let told = printed(&make, "").await?;
    let before = std::fs::read_to_string(&file)?;
    assert_eq!(std::fs::metadata(&file)?.permissions().mode() & 0o777, 0o600);
    let key: Value = serde_json::from_str(&before)?;
    let secret = key["k"].as_str().context("no secret")?;

    let (code, out, err) = with_input(&make, "").await?;
    ensure!(code == Some(1) && err.contains("exists already"), "{out}{err}");
    assert_eq!(std::fs::read_to_string(&file)?, before);

    // Nothing shows the secret, but what asks for it.
    let file = text(&file)?;
    for arguments in [
        &["token", "jwks", "--key", file][..],
        &["token", "secret", "--key", file, "--name", "s"],
        &["token", "new", "--key", file, "--sub", "ann"],
    ] {
        let (_, out, err) = with_input(arguments, "").await?;
        ensure!(!format!("{told}{out}{err}").contains(secret), "{arguments:?} shows the secret");
    }
    let asked = ["token", "secret", "--key", file, "--name", "s", "--with-secrets"];
    let manifest = printed(&asked, "").await?;
    ensure!(manifest.contains("wsgateway.dev/allow: 'true'"), "{manifest}");
    Ok(())
}

#[tokio::test]
async fn a_token_that_nobody_accepts_is_explained_and_ends_with_an_error() -> Result<()> {
    let scratch = Scratch::new("token")?;
    let key = scratch.join("key.json");
    let key = text(&key)?;
    printed(&["token", "key", "--kid", "k1", "--out", key], "").await?;
    let token =
        printed(&["token", "new", "--key", key, "--sub", "ann", "--audience", "a"], "").await?;
    let signature = token.trim().rsplit('.').next().context("no signature")?;
    for (flags, said) in [
        (&["--keys", key, "--audience", "b"][..], r#"it is for "a" (aud), and has to be for "b""#),
        (&["--keys", key, "--issuer", "i"], r#"it is of nobody (iss), and has to be of "i""#),
        (&[], "not verified: give its keys"),
    ] {
        let mut arguments = vec!["token", "verify", "-"];
        arguments.extend(flags);
        let (code, out, err) = with_input(&arguments, &token).await?;
        ensure!(code == Some(1) && out.contains(said), "{out}{err}");
        ensure!(!format!("{out}{err}").contains(signature), "the signature is shown");
    }
    Ok(())
}
