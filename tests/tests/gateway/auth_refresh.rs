//! Tokens end: clients are told, may show another one, and are closed otherwise, whichever way they came.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use wsgateway_config::ChannelRule;

use super::client::Client;
use super::http::get;
use super::rig::{Rig, SOON};
use super::tokens::{Issuer, allow, now_s, token};

/// A gateway whose clients hear what is theirs, and what their token says besides.
async fn guarded(issuer: &Issuer) -> Result<Rig> {
    Rig::start_with(|config| {
        let mut auth = issuer.auth();
        auth.jwt.channels_claim = Some("channels".to_owned());
        auth.channels = vec![ChannelRule { set: true, ..allow("desk.{claims.desk}") }];
        config.auth = Some(auth);
    })
    .await
}

async fn client(address: SocketAddr, token: &str) -> Result<Client> {
    let path = format!("/ws?token={token}");
    let mut client =
        Client::open(TcpStream::connect(address).await?, &path, Some("wsgateway.v1")).await?;
    client.hello = client.expect("connection:established").await?;
    Ok(client)
}

/// Shows a token; the answer.
async fn show(client: &mut Client, token: &str) -> Result<Value> {
    client.send(&json!({ "type": "auth", "id": 7, "token": token })).await?;
    client.next().await
}

#[tokio::test]
async fn a_client_is_told_before_its_token_ends_and_goes_on_with_another_one() -> Result<()> {
    let issuer = Issuer::new()?;
    let rig = guarded(&issuer).await?;
    let end = now_s() + 6;
    let mut ann =
        client(rig.client_addr, &token("ann", &json!({ "exp": end, "channels": ["a"] }))).await?;
    ann.subscribe(&["a"]).await?;
    assert_eq!(ann.next().await?, json!({ "type": "token_expiring", "expiresAt": end * 1_000 }));
    let later = end + 3_600;
    let next = token("ann", &json!({ "exp": later, "channels": ["a"] }));
    let ack = show(&mut ann, &next).await?;
    assert_eq!(ack, json!({ "type": "auth_ack", "id": 7, "expiresAt": later * 1_000 }));
    // Past the end of the first one, by the clock that it is judged by.
    while now_s() <= end {
        rig.publish("a", "1").await?;
        assert_eq!(ann.expect("message").await?["channel"], "a");
    }
    rig.publish("a", "2").await?;
    assert_eq!(ann.expect("message").await?["data"], 2);
    Ok(())
}

#[tokio::test]
async fn what_another_token_does_not_allow_is_ended_and_what_it_sets_begins() -> Result<()> {
    let issuer = Issuer::new()?;
    let rig = guarded(&issuer).await?;
    let first = token("ann", &json!({ "channels": ["a", "b.*"], "desk": "eu" }));
    let mut ann = client(rig.client_addr, &first).await?;
    ann.subscribe(&["a", "b.*"]).await?;
    let second = token("ann", &json!({ "channels": ["a"], "desk": "us" }));
    let ack = show(&mut ann, &second).await?;
    assert_eq!((&ack["type"], &ack["subscribed"]), (&json!("auth_ack"), &json!(["desk.us"])));
    let mut ended = ann.expect("unsubscribed").await?;
    assert_eq!(ended["reason"], "not_allowed");
    ended["channels"].as_array_mut().context("a list")?.sort_by_key(ToString::to_string);
    assert_eq!(ended["channels"], json!(["b.*", "desk.eu"]));
    for channel in ["b.x", "desk.eu", "a", "desk.us"] {
        rig.publish(channel, "1").await?;
    }
    for channel in ["a", "desk.us"] {
        assert_eq!(ann.expect("message").await?["channel"], channel);
    }
    assert_eq!(ann.subscribe(&["b.x"]).await?["rejected"][0]["code"], "not_allowed");
    Ok(())
}

#[tokio::test]
async fn channels_that_a_claim_sets_come_without_asking_and_go_with_the_next_token() -> Result<()> {
    let issuer = Issuer::new()?;
    let rig = Rig::start_with(|config| {
        let mut auth = issuer.auth();
        auth.jwt.set_channels_claim = Some("tabs".to_owned());
        auth.channels = vec![allow("*")];
        config.auth = Some(auth);
    })
    .await?;
    let with = |tabs: &[&str]| token("ann", &json!({ "tabs": tabs }));
    let mut ann = client(rig.client_addr, &with(&["a", "b", "x.*"])).await?;
    assert_eq!(ann.hello["subscribed"], json!(["a", "b", "x.*"]));
    // Asked for as well: that it is not set any more does not end it.
    ann.subscribe(&["b"]).await?;
    let ack = show(&mut ann, &with(&["c"])).await?;
    assert_eq!((&ack["type"], &ack["subscribed"]), (&json!("auth_ack"), &json!(["c"])));
    for (channel, reason) in [("x.*", "not_allowed"), ("a", "not_set")] {
        let ended = ann.expect("unsubscribed").await?;
        assert_eq!((&ended["channels"], &ended["reason"]), (&json!([channel]), &json!(reason)));
    }
    for channel in ["a", "x.y", "b", "c"] {
        rig.publish(channel, "1").await?;
    }
    for channel in ["b", "c"] {
        assert_eq!(ann.expect("message").await?["channel"], channel);
    }
    let error = show(&mut ann, &with(&["c", "d..e"])).await?;
    assert_eq!(error["code"], "bad_channels", "nothing changes: {error}");
    rig.publish("c", "2").await?;
    assert_eq!(ann.expect("message").await?["data"], 2);
    Ok(())
}

#[tokio::test]
async fn clients_of_the_older_protocols_show_another_token_in_their_own_words() -> Result<()> {
    let issuer = Issuer::new()?;
    let rig = Rig::start_with(|config| {
        let mut auth = issuer.auth();
        auth.jwt.channels_claim = Some("channels".to_owned());
        config.auth = Some(auth);
        config.odin.greeting = false;
    })
    .await?;
    let (first, second) = (["AAPL.trade", "MSFT.trade"], ["AAPL.trade"]);
    let old = token("ann", &json!({ "channels": first }));
    let end = now_s() + 600;
    let new = token("ann", &json!({ "channels": second, "exp": end }));
    let open = async |protocol| {
        let stream = TcpStream::connect(rig.client_addr).await?;
        Client::open(stream, &format!("/ws?token={old}"), Some(protocol)).await
    };
    let mut odin = open("odin.v1").await?;
    odin.subscribe(&first).await?;
    odin.send(&json!({ "type": "auth", "id": "a", "data": { "token": new } })).await?;
    assert_eq!(
        odin.next().await?,
        json!({ "type": "auth_ack", "id": "a", "expiresAt": end * 1_000 })
    );
    let ended = odin.next().await?;
    assert_eq!(
        (&ended["type"], &ended["channels"]),
        (&json!("unsubscribed"), &json!(["MSFT.trade"]))
    );
    odin.send(&json!({ "type": "auth", "token": "x" })).await?;
    assert_eq!(odin.next().await?["code"], "malformed_token");

    let mut symbols = open("symbols.v1").await?;
    symbols.send(&json!({ "action": "subscribe", "symbols": ["AAPL", "MSFT"] })).await?;
    assert_eq!(symbols.next().await?["type"], "success");
    symbols.send(&json!({ "action": "auth", "token": new })).await?;
    let answer = symbols.next().await?;
    assert_eq!(
        (&answer["type"], &answer["data"]),
        (&json!("success"), &json!({ "expiresAt": end * 1_000 }))
    );
    let ended = symbols.next().await?;
    assert_eq!(
        ended["data"],
        json!({ "unsubscribed": ["MSFT"], "currentSubscriptions": ["AAPL"] })
    );
    symbols.send(&json!({ "action": "auth", "token": "x" })).await?;
    let error = symbols.next().await?;
    ensure!(error["type"] == "error" && error.to_string().contains("no signed JWT"), "{error}");
    Ok(())
}

#[tokio::test]
async fn another_users_token_or_a_bad_one_changes_nothing() -> Result<()> {
    let issuer = Issuer::new()?;
    let rig = guarded(&issuer).await?;
    let claims = json!({ "channels": ["a"] });
    let (expired, bob) = (token("ann", &json!({ "exp": 1 })), token("bob", &claims));
    for (bad, code) in
        [(bob.as_str(), "wrong_user"), (&expired, "token_expired"), ("x", "malformed_token")]
    {
        let mut ann = client(rig.client_addr, &token("ann", &claims)).await?;
        ann.subscribe(&["a"]).await?;
        let error = show(&mut ann, bad).await?;
        assert_eq!((&error["code"], &error["id"]), (&json!(code), &json!(7)), "{error}");
        ensure!(!error.to_string().contains(&expired), "{error}");
        // Signatures are not to be had for nothing.
        assert_eq!(show(&mut ann, bad).await?["code"], "too_many_tokens");
        rig.publish("a", "1").await?;
        assert_eq!(ann.expect("message").await?["channel"], "a");
    }
    assert_eq!(rig.metric("wsgateway_auth_refused_total{reason=\"wrong_user\"}").await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_connection_ends_with_its_token_on_every_transport() -> Result<()> {
    let issuer = Issuer::new()?;
    let rig = guarded(&issuer).await?;
    let short = token("ann", &json!({ "exp": now_s() + 4, "channels": ["a"] }));
    let cursor =
        get(rig.client_addr, &format!("/poll?channels=a&token={short}")).await?.json()?["cursor"]
            .clone();
    let cursor = cursor.as_str().context("a cursor")?;
    let socket = async {
        let mut ann = client(rig.client_addr, &short).await?;
        ann.expect("token_expiring").await?;
        let end = ann.next().await.expect_err("the connection ends");
        ensure!(end.to_string().contains("4004"), "{end}");
        Ok(())
    };
    let stream = async {
        let answer = get(rig.client_addr, &format!("/sse?channels=a&token={short}")).await?;
        ensure!(answer.body.contains("event: token_expiring"), "{answer:?}");
        ensure!(answer.body.contains("event: close") && answer.body.contains("4004"), "{answer:?}");
        Ok(())
    };
    let poll = async {
        let path = format!("/poll?channels=a&wait=55&cursor={cursor}&token={short}");
        let answer = get(rig.client_addr, &path).await?;
        ensure!(answer.status == 200, "{answer:?}");
        ensure!(get(rig.client_addr, &path).await?.status == 401);
        Ok::<_, anyhow::Error>(())
    };
    let all = async { tokio::try_join!(socket, stream, poll) };
    timeout(SOON, all).await??;
    Ok(())
}
