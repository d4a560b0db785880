//! Servers that are reached in another way: a JetStream domain, an API under another name, inboxes with another prefix,
//! and TLS before the first line.

use anyhow::{Context, Result, ensure};
use async_nats::connection::State;
use harness::{Authority, Nats, Scratch, wait_until};
use wsgateway_config::{JetStreamSource, NatsAuth, NatsTls, NatsUser};
use wsgateway_nats::{Access, Adoption, Streams, connect};

use harness::keeper::{Keeper, SOON, desired};

async fn keeper(source: &JetStreamSource) -> Result<Keeper> {
    let connection = connect(&Access::from(source), "test", |_| ()).await?;
    let client = connection.client;
    wait_until(SOON, "a connection", async || client.connection_state() == State::Connected)
        .await?;
    let owner = wsgateway_nats::Owner::new("prod", "trading", "odin", "1-2-3");
    Ok(Keeper { streams: Streams::new(client, Some(&source.api_prefix)), owner })
}

#[tokio::test]
async fn a_domain_and_an_inbox_prefix_are_used_by_one_who_may_use_nothing_else() -> Result<()> {
    // A server of the domain itself takes the domain out of a subject before it checks permissions.
    let store = Scratch::new("domain")?;
    let nats = Nats::start_with(&format!(
        "jetstream {{ domain: hub, store_dir: \"{}\" }}\n\
         authorization {{ users: [ {{ user: odin, password: secret, permissions: {{ \
         publish: [\"$JS.API.STREAM.*.ODIN\"], subscribe: [\"_INBOX_odin.>\"] }} }} ] }}",
        store.path().display()
    ))
    .await?;
    let password = store.write("password", "secret")?;
    let source = JetStreamSource {
        auth: Some(NatsAuth::Password { user: NatsUser::Name("odin".into()), password }),
        api_prefix: "$JS.hub.API".into(),
        inbox_prefix: "_INBOX_odin".into(),
        ..JetStreamSource::new(vec![nats.url()], "ODIN")
    };
    keeper(&source).await?.settle(&desired(), Adoption::Fail).await?;

    let other = JetStreamSource { inbox_prefix: "_INBOX".into(), ..source.clone() };
    let error = keeper(&other).await?.plan(&desired(), Adoption::Fail).await.expect_err("no inbox");
    assert_eq!(error.reason(), "JetStreamNoAnswer");
    Ok(())
}

#[tokio::test]
async fn a_domain_that_does_not_exist_is_said_to_be_the_cause() -> Result<()> {
    let nats = Nats::start().await?;
    let source = JetStreamSource {
        api_prefix: "$JS.nowhere.API".into(),
        ..JetStreamSource::new(vec![nats.url()], "ODIN")
    };
    let error = keeper(&source).await?.plan(&desired(), Adoption::Fail).await.expect_err("nobody");
    assert_eq!((error.reason(), error.retry()), ("JetStreamNotEnabled", false));
    ensure!(error.to_string().contains("correct nats.domain or nats.apiPrefix"), "{error}");
    Ok(())
}

#[tokio::test]
async fn an_api_that_an_account_imports_under_another_name_is_used() -> Result<()> {
    let nats = Nats::start_with(
        "accounts {\n\
           JS { jetstream: enabled, users: [ { user: js, password: js } ], \
                exports: [ { service: \"$JS.API.>\", response: stream } ] }\n\
           APP { users: [ { user: app, password: app } ], \
                 imports: [ { service: { account: JS, subject: \"$JS.API.>\" }, to: \"far.API.>\" } ] }\n\
         }\nno_auth_user: app",
    )
    .await?;
    let source = JetStreamSource {
        api_prefix: "far.API".into(),
        ..JetStreamSource::new(vec![nats.url()], "ODIN")
    };
    keeper(&source).await?.settle(&desired(), Adoption::Fail).await?;
    Ok(())
}

#[tokio::test]
async fn tls_before_the_first_line_is_used_where_it_is_asked_for() -> Result<()> {
    let (folder, ca) = (Scratch::new("tls")?, Authority::new("test")?);
    let server = ca.server()?;
    let certificate = folder.write("server.crt", &server.certificate)?;
    let key = folder.write("server.key", &server.key)?;
    let nats = Nats::start_with(&format!(
        "tls {{ cert_file: \"{}\", key_file: \"{}\", handshake_first: true }}",
        certificate.display(),
        key.display()
    ))
    .await?;
    let tls = NatsTls {
        ca_file: Some(folder.write("ca.crt", ca.pem())?),
        handshake_first: true,
        ..NatsTls::default()
    };
    let source =
        JetStreamSource { tls: Some(tls), ..JetStreamSource::new(vec![nats.url()], "ODIN") };
    keeper(&source).await.context("handshake first")?.settle(&desired(), Adoption::Fail).await?;
    Ok(())
}
