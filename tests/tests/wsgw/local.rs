//! `wsgw dev` with what the user gives it: keys of tokens, and a Redis of their own.

use anyhow::{Context as _, Result, ensure};
use harness::{Redis, Scratch, WsgwDev, free_port, repository};
use serde_json::json;

use super::{ANY_PORT, PUBLIC_KEY, first_message, publish_again_and_again};

async fn error_of(arguments: &[&str]) -> Result<String> {
    match WsgwDev::start(arguments).await {
        Ok(dev) => anyhow::bail!("it has started: {}", dev.output()),
        Err(error) => Ok(format!("{error:#}")),
    }
}

#[tokio::test]
async fn a_key_of_tokens_that_a_gateway_cannot_use_ends_dev_with_what_to_do() -> Result<()> {
    let scratch = Scratch::new("secrets")?;
    std::fs::create_dir(scratch.join("odin-jwt"))?;
    let file = repository().join("manifests/samples/odin-auth.yaml");
    let (file, folder) = (file.display().to_string(), scratch.path().display().to_string());
    let mut arguments = vec!["-f", &file, "--secrets", &folder];
    arguments.extend(ANY_PORT);
    let private = super::PRIVATE_KEY;
    for (key, said) in [
        ("sesame-sesame-sesame-sesame", "at least 32 bytes"),
        (r#"{"kty":"oct","k":"c2VzYW1l"}"#, "at least 32 bytes"),
        ("\n", "empty"),
        (private, "public key"),
        (r#"{"keys":[]}"#, "none of its keys"),
    ] {
        scratch.write("odin-jwt/key.pem", key)?;
        let error = error_of(&arguments).await?;
        ensure!(error.contains("odin-jwt/key.pem") && error.contains(said), "{key}: {error}");
        ensure!(error.contains("wsgw token key"), "{key}: {error}");
        ensure!(!error.contains("sesame") && !error.contains("c2VzYW1l"), "{error}");
    }
    for good in ["sesame-sesame-sesame-sesame-012345", PUBLIC_KEY] {
        scratch.write("odin-jwt/key.pem", good)?;
        let dev = WsgwDev::start(&arguments).await?;
        assert_eq!(dev.interrupt().await?.code, Some(0));
    }
    Ok(())
}

#[tokio::test]
async fn a_redis_with_a_password_is_read_with_the_one_in_a_file() -> Result<()> {
    let redis = Redis::start_with("requirepass secret-word", ":secret-word@").await?;
    let scratch = Scratch::new("redis-password")?;
    scratch.write("good", "secret-word\n")?;
    scratch.write("bad", "other-word\n")?;
    let (good, bad) = (scratch.join("good"), scratch.join("bad"));
    let (good, bad) = (good.to_str().context("UTF-8")?, bad.to_str().context("UTF-8")?);
    let file = repository().join("manifests/samples/redis.yaml").display().to_string();
    let url = redis.url();
    let mut arguments = vec!["-f", &file, "--redis", &url];
    arguments.extend(ANY_PORT);
    let with = |file| [&arguments[..], &["--redis-password-file", file]].concat();

    for (arguments, said) in [
        (arguments.clone(), "--redis-password-file"),
        (with(bad), "--redis-password-file"),
        (with("/nowhere"), "/nowhere"),
    ] {
        let error = error_of(&arguments).await?;
        ensure!(error.contains(said), "{error}");
        ensure!(!error.contains("-word"), "{error}");
    }
    let dev = WsgwDev::start(&with(good)).await?;
    let message = tokio::select! {
        message = first_message(dev.url(), &["AAPL"]) => message?,
        failed = publish_again_and_again(&redis) => failed?,
    };
    assert_eq!(message["data"]["price"], json!(150.25));
    let ended = dev.interrupt().await?;
    ensure!(!ended.output.contains("secret-word"), "{}", ended.output);
    Ok(())
}

#[tokio::test]
async fn a_redis_that_does_not_answer_is_an_error_with_its_address_and_what_to_do() -> Result<()> {
    let file = repository().join("manifests/samples/redis.yaml").display().to_string();
    let url = format!("redis://127.0.0.1:{}", free_port()?);
    let mut arguments = vec!["-f", &file, "--redis", &url];
    arguments.extend(ANY_PORT);
    let error = error_of(&arguments).await?;
    ensure!(error.contains(&url) && error.contains("redis-server --port"), "{error}");
    Ok(())
}
