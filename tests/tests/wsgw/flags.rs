//! What `wsgw` makes of flags that cannot work: an error that names the flag, and no password anywhere.

use anyhow::Result;
use harness::{Nats, Scratch, WsgwDev, repository};

use super::{ANY_PORT, first_message, with_input};

/// A server that lets nobody in but `me`.
const CONFIG: &str = "authorization { user: me, password: s3cret }";
const TOKEN: &str = "authorization { token: s3cret }";

/// What a command that must fail prints.
async fn refused(arguments: &[&str]) -> Result<String> {
    let (code, output, errors) = with_input(arguments, "").await?;
    assert_eq!((code, output.as_str()), (Some(1), ""), "{arguments:?}: {errors}");
    Ok(errors)
}

#[tokio::test]
async fn a_password_in_an_address_is_refused_by_every_command_and_printed_by_none() -> Result<()> {
    let nats = Nats::start_with(CONFIG).await?;
    let at = nats.url().replace("nats://", "");
    let sample = |name: &str| repository().join(format!("manifests/samples/{name}.yaml"));
    let (odin, redis) =
        (sample("odin").display().to_string(), sample("redis").display().to_string());
    for who in ["me:s3cret@", "s3cret@", "me%3As3cret%40"] {
        let url = format!("nats://{who}{at}");
        let (ws, other) = (format!("ws://{who}127.0.0.1:1/ws"), format!("redis://{who}r"));
        let wss = ws.replace("ws://", "wss://");
        let commands: [(&[&str], &str); 9] = [
            (&["dev", "--nats", &url], "--nats must be nats://host:port"),
            (&["pub", "--nats", &url, "odin.token.a.price", "1"], "--nats must be"),
            (&["plan", "-f", &odin, "--nats", &url], "--nats must be"),
            (&["load", "ws://127.0.0.1:1/ws", "--publish", &url], "--publish must be"),
            (&["dev", "-f", &redis, "--redis", &other], "--redis must be redis://host:port"),
            (&["sub", &ws, "a"], ""),
            (&["doctor", &ws], ""),
            (&["load", &ws], ""),
            (&["load", &wss], ""),
        ];
        for (arguments, expected) in commands {
            // Of the address of a gateway this is the name of a host, which nobody has.
            if expected.is_empty() && who.contains('%') {
                continue;
            }
            let (code, output, errors) = with_input(arguments, "").await?;
            assert!(code.is_some_and(|code| code != 0), "{arguments:?}");
            assert!(errors.contains(expected), "{arguments:?}: {errors}");
            assert!(!format!("{output}{errors}").contains("s3cret"), "{arguments:?}: {errors}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_password_in_the_servers_of_a_manifest_is_refused_and_never_printed() -> Result<()> {
    let demo = std::fs::read_to_string(repository().join("manifests/samples/odin.yaml"))?;
    for servers in ["[\"nats://me:s3cret@n:4222\"]", "nats://me:s3cret@n:4222"] {
        let manifest = demo.replace("[\"nats://nats.messaging:4222\"]", servers);
        assert_ne!(manifest, demo);
        for command in ["check", "render", "dev", "plan"] {
            let (code, output, errors) = with_input(&[command, "-f", "-"], &manifest).await?;
            assert_eq!((code, output.as_str()), (Some(1), ""), "{command}");
            assert!(errors.contains("spec.nats.servers"), "{command}: {errors}");
            assert!(!errors.contains("s3cret"), "{command}: {errors}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_token_and_a_password_in_files_are_used() -> Result<()> {
    let folder = Scratch::new("flags")?;
    let file = folder.write("secret", "s3cret")?.display().to_string();
    let with_password: &[&str] = &["--nats-user", "me", "--nats-password-file", &file];
    let with_token: &[&str] = &["--nats-token-file", &file];
    for (config, access) in [(CONFIG, with_password), (TOKEN, with_token)] {
        let nats = Nats::start_with(config).await?;
        let url = nats.url();
        let arguments = [&["--nats", url.as_str()][..], access, &ANY_PORT].concat();
        let dev = WsgwDev::start(&arguments).await?;
        first_message(dev.url(), &["BTC.price"]).await?;
        let ended = dev.interrupt().await?;
        assert_eq!(ended.code, Some(0));
        assert!(!ended.output.contains("s3cret"), "{}", ended.output);
    }
    Ok(())
}

#[tokio::test]
async fn errors_name_the_flags_that_were_given() -> Result<()> {
    let nats = Nats::start_with(CONFIG).await?;
    let open = Nats::start().await?;
    let (url, open) = (nats.url(), open.url());
    let folder = Scratch::new("flags")?;
    let file = folder.write("secret", "wrong")?.display().to_string();
    let cases: [(&[&str], &[&str]); 8] = [
        (&["--port", "9", "--admin-port", "9"], &["--port and --admin-port are both 9"]),
        (&["--host", "192.0.2.1"], &["192.0.2.1", "with --host"]),
        (&["--nats", "nats://n", "--nats-api-prefix", "a..b"], &["--nats-api-prefix must be"]),
        (&["--nats", "nats://n", "--nats-inbox-prefix", ">"], &["--nats-inbox-prefix must be"]),
        (
            &["--nats", "nats://n", "--nats-user", "", "--nats-password-file", &file],
            &["--nats-user must be"],
        ),
        (&["--nats", &url], &["NATS asks who we are", "--creds", "--nats-token-file"]),
        (
            &["--nats", &url, "--nats-user", "me", "--nats-password-file", &file],
            &["--nats-user and --nats-password-file", "does not accept"],
        ),
        (&["--nats", &open, "--nats-api-prefix", "$JS.none.API"], &["--nats-api-prefix"]),
    ];
    for (arguments, expected) in cases {
        let errors = refused(&[&["dev"][..], arguments].concat()).await?;
        for text in expected {
            assert!(errors.contains(text), "{arguments:?}: {errors}");
        }
        assert!(!errors.contains("spec.") && !errors.contains("source."), "{errors}");
    }
    Ok(())
}
