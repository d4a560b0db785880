//! Clients show who they are: on the way in, by which channels they get, and in nothing that is written of them.

use std::net::SocketAddr;

use ::gateway::reload::Given;
use anyhow::{Context as _, Result, ensure};
use harness::{wait_until, wait_until_some};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use wsgateway_config::ChannelRule;

use super::client::Client;
use super::http::{Answer, get, request, upgrade_request};
use super::raw::Raw;
use super::rig::{Rig, SOON, config, nats_with_stream, ready, start};
use super::tokens::{Issuer, allow, anonymous, signed_with, token};

/// A gateway that wants tokens, whose rules allow a client what is its own and what is public.
async fn guarded(issuer: &Issuer) -> Result<Rig> {
    Rig::start_with(|config| {
        let mut auth = issuer.auth();
        auth.channels = vec![
            ChannelRule { set: true, ..allow("user.{sub}.>") },
            allow("public.>"),
            ChannelRule { deny: true, ..allow("public.secret") },
        ];
        config.auth = Some(auth);
    })
    .await
}

/// A client that shows a token in its URL.
async fn client(address: SocketAddr, token: &str) -> Result<Client> {
    let path = format!("/ws?token={token}");
    let stream = TcpStream::connect(address).await?;
    let mut client = Client::open(stream, &path, Some("wsgateway.v1")).await?;
    client.hello = client.expect("connection:established").await?;
    Ok(client)
}

/// The answer to an upgrade that is refused.
async fn refused(address: SocketAddr, query: &str, headers: &str) -> Result<Answer> {
    let text = upgrade_request(&format!("Connection: close\r\n{headers}"))
        .replace("Connection: Upgrade", "Connection: upgrade, close")
        .replace("GET /ws ", &format!("GET /ws{query} "));
    request(address, &text).await
}

#[tokio::test]
async fn a_token_lets_a_client_in_wherever_it_is_shown() -> Result<()> {
    let issuer = Issuer::new()?;
    let rig = guarded(&issuer).await?;
    let good = token("ann", &json!({}));
    for headers in [
        format!("Authorization: Bearer {good}\r\n"),
        format!("Sec-WebSocket-Protocol: wsgateway.v1, bearer.{good}\r\n"),
        format!("Sec-WebSocket-Protocol: bearer.{good}\r\n"),
    ] {
        let raw = Raw::connect_asking(rig.client_addr, &headers).await?;
        ensure!(!raw.head.contains("bearer"), "the token is in the answer: {}", raw.head);
    }
    for query in ["token", "auth"] {
        let stream = TcpStream::connect(rig.client_addr).await?;
        let path = format!("/ws?{query}={good}");
        let mut client = Client::open(stream, &path, None).await?;
        let hello = client.expect("connection:established").await?;
        assert_eq!((&hello["user"], &hello["subscribed"]), (&json!("ann"), &json!(["user.ann.>"])));
        ensure!(hello["expiresAt"].is_u64() && hello["offset"].is_u64(), "{hello}");
    }
    assert_eq!(rig.metric("wsgateway_auth_verified_total{by=\"signature\"}").await?, 1);
    assert_eq!(rig.metric("wsgateway_auth_verified_total{by=\"cache\"}").await?, 4);
    Ok(())
}

#[tokio::test]
async fn a_client_without_a_good_token_is_refused_before_the_upgrade_and_told_why() -> Result<()> {
    let issuer = Issuer::new()?;
    let rig = guarded(&issuer).await?;
    let (good, expired) = (token("ann", &json!({})), token("ann", &json!({ "exp": 1 })));
    let forged = signed_with("another secret of 32 bytes, or so", "ann", &json!({}));
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    for (query, headers, status, code) in [
        (String::new(), String::new(), 401, "token_missing"),
        ("?token=".to_owned(), String::new(), 401, "token_missing"),
        (format!("?token={expired}"), String::new(), 401, "token_expired"),
        (String::new(), bearer(&forged), 401, "bad_signature"),
        (String::new(), bearer("x"), 401, "malformed_token"),
        (String::new(), bearer(&"x".repeat(8_193)), 401, "token_too_long"),
        (format!("?auth={good}"), bearer(&forged), 400, "several_tokens"),
    ] {
        let answer = refused(rig.client_addr, &query, &headers).await?;
        assert_eq!(
            (answer.status, answer.json()?["code"].as_str()),
            (status, Some(code)),
            "{code}"
        );
        ensure!(answer.header("access-control-allow-origin") == Some("*"), "{answer:?}");
        ensure!(status != 401 || answer.header("www-authenticate").is_some(), "{answer:?}");
        ensure!(!answer.body.contains(&good) && !answer.body.contains(&forged), "{answer:?}");
        let counted = format!("wsgateway_auth_refused_total{{reason=\"{code}\"}}");
        ensure!(rig.metric(&counted).await? > 0, "{code} is not counted");
    }
    // A page that looks why its WebSocket does not open.
    for (path, status) in
        [("/ws", 401), (&format!("/ws?token={expired}"), 401), (&format!("/ws?token={good}"), 426)]
    {
        assert_eq!(get(rig.client_addr, path).await?.status, status);
    }
    assert_eq!(rig.metric("wsgateway_connections").await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_client_gets_what_its_token_allows_and_learns_nothing_of_the_rest() -> Result<()> {
    let issuer = Issuer::new()?;
    let rig = guarded(&issuer).await?;
    let mut ann = client(rig.client_addr, &token("ann", &json!({}))).await?;
    let asked = ["public.a", "user.bob.x", "user.*.x", "public.secret", "public.*", ">", "nothing"];
    let ack = ann.subscribe(&asked).await?;
    assert_eq!(ack["subscribed"], json!(["public.a"]));
    let rejected: Vec<Value> =
        asked[1..].iter().map(|name| json!({ "channel": name, "code": "not_allowed" })).collect();
    assert_eq!(ack["rejected"], json!(rejected), "whether they exist or not");
    for channel in ["user.bob.x", "public.secret", "user.ann.orders", "public.a"] {
        rig.publish(channel, "1").await?;
    }
    // What is set comes without asking.
    for channel in ["user.ann.orders", "public.a"] {
        assert_eq!(ann.expect("message").await?["channel"], channel);
    }
    ann.send(&json!({ "type": "replay", "id": 2, "channels": ["user.bob.x"], "from": 1 })).await?;
    assert_eq!(ann.expect("error").await?["code"], "not_allowed");
    let resume = json!({ "epoch": ann.epoch(), "offset": 0 });
    for more in [json!({ "snapshot": true }), json!({ "resume": resume })] {
        let mut command = json!({ "type": "subscribe", "channels": ["user.bob.>", ">"] });
        command
            .as_object_mut()
            .context("an object")?
            .extend(more.as_object().context("one")?.clone());
        ann.send(&command).await?;
        assert_eq!(ann.expect("subscription_ack").await?["subscribed"], json!([]), "{command}");
    }
    Ok(())
}

#[tokio::test]
async fn what_came_on_a_set_channel_while_a_client_was_away_comes_with_its_resume() -> Result<()> {
    let issuer = Issuer::new()?;
    let rig = guarded(&issuer).await?;
    let ann = token("ann", &json!({}));
    let mut first = client(rig.client_addr, &ann).await?;
    let offset = rig.publish("user.ann.a", "1").await?;
    first.expect("message").await?;
    let epoch = first.epoch().to_owned();
    drop(first);
    let missed = rig.settle("user.ann.a", "2").await?;
    let mut again = client(rig.client_addr, &ann).await?;
    let resume = json!({ "epoch": epoch, "offset": offset });
    again
        .send(&json!({ "type": "subscribe", "channels": ["user.ann.>"], "resume": resume }))
        .await?;
    assert_eq!(again.expect("subscription_ack").await?["recovered"], true);
    assert_eq!(again.expect("message").await?["offset"], missed);
    let next = rig.publish("user.ann.a", "3").await?;
    assert_eq!(again.expect("message").await?["offset"], next);
    Ok(())
}

#[tokio::test]
async fn clients_of_the_older_protocols_are_told_in_their_own_words() -> Result<()> {
    let issuer = Issuer::new()?;
    let rig = Rig::start_with(|config| {
        let mut auth = issuer.auth();
        auth.channels = vec![allow("AAPL.trade")];
        config.auth = Some(auth);
        config.odin.initial_channels = vec!["AAPL.trade".to_owned(), "MSFT.trade".to_owned()];
    })
    .await?;
    let path = format!("/ws?token={}", token("ann", &json!({})));
    let open = async |protocol| {
        Client::open(TcpStream::connect(rig.client_addr).await?, &path, Some(protocol)).await
    };
    let mut symbols = open("symbols.v1").await?;
    symbols.send(&json!({ "action": "subscribe", "symbols": ["AAPL", "MSFT"] })).await?;
    let error = symbols.next().await?;
    ensure!(error["type"] == "error" && error.to_string().contains("not allowed"), "{error}");
    symbols.send(&json!({ "action": "subscribe", "symbols": ["AAPL"] })).await?;
    assert_eq!(symbols.next().await?["type"], "success");
    let mut odin = open("odin.v1").await?;
    odin.send(&json!({ "type": "subscribe", "channels": ["MSFT.trade"] })).await?;
    let ack = wait_until_some(SOON, "an acknowledgement", async || {
        odin.next().await.ok().filter(|push| push["type"] == "subscription_ack")
    })
    .await?;
    assert_eq!((&ack["subscribed"], &ack["count"]), (&json!([]), &json!(1)), "{ack}");
    rig.publish_all(["MSFT.trade", "AAPL.trade"].map(|name| (name.to_owned(), b"1".to_vec())))
        .await?;
    assert_eq!(odin.next().await?["channel"], "AAPL.trade");
    Ok(())
}

#[tokio::test]
async fn those_without_a_token_get_what_is_listed_for_them() -> Result<()> {
    let issuer = Issuer::new()?;
    let rig = Rig::start_with(|config| {
        let mut auth = issuer.auth();
        auth.anonymous = anonymous(&["public.*"]);
        config.auth = Some(auth);
    })
    .await?;
    let mut stranger = rig.client().await?;
    ensure!(stranger.hello.get("user").is_none() && stranger.hello.get("expiresAt").is_none());
    let ack = stranger.subscribe(&["public.a", "private"]).await?;
    assert_eq!(ack["subscribed"], json!(["public.a"]));
    let bad = token("ann", &json!({ "exp": 1 }));
    let answer = refused(rig.client_addr, &format!("?token={bad}"), "").await?;
    assert_eq!(answer.status, 401, "a bad token is not no token");
    let mut ann = client(rig.client_addr, &token("ann", &json!({}))).await?;
    assert_eq!(ann.subscribe(&[">"]).await?["subscribed"], json!([">"]));
    Ok(())
}

#[tokio::test]
async fn event_streams_and_long_polls_show_tokens_too() -> Result<()> {
    let issuer = Issuer::new()?;
    let rig = guarded(&issuer).await?;
    let good = token("ann", &json!({}));
    for path in ["/sse", "/poll"] {
        let answer = get(rig.client_addr, &format!("{path}?channels=public.a")).await?;
        assert_eq!(
            (answer.status, answer.json()?["code"].as_str()),
            (401, Some("token_missing")),
            "{path}"
        );
    }
    let path = format!("/poll?channels=public.a&token={good}");
    assert_eq!(get(rig.client_addr, &path).await?.status, 200);
    let path = format!("/poll?channels=user.bob.x&token={good}");
    let answer = get(rig.client_addr, &path).await?;
    ensure!(answer.body.contains("not_allowed"), "{answer:?}");
    Ok(())
}

#[tokio::test]
async fn keys_that_change_count_within_seconds_and_bad_ones_not_at_all() -> Result<()> {
    let mut issuer = Issuer::new()?;
    let rig = guarded(&issuer).await?;
    let other = "another secret of 32 bytes, or so";
    let (old, new) = (token("ann", &json!({})), signed_with(other, "ann", &json!({})));
    let mut connected = client(rig.client_addr, &old).await?;
    issuer.secret.replace(&[("key", "short")])?;
    wait_until(SOON, "a problem in /status", async || {
        let status =
            get(rig.admin_addr, "/status").await.ok().and_then(|answer| answer.json().ok());
        status.is_some_and(|status| status["auth"]["problems"][0].is_string())
    })
    .await?;
    client(rig.client_addr, &old).await.context("the last good key stays")?;
    issuer.secret.replace(&[("key", other)])?;
    wait_until(SOON, "the new key", async || client(rig.client_addr, &new).await.is_ok()).await?;
    assert_eq!(refused(rig.client_addr, &format!("?token={old}"), "").await?.status, 401);
    assert_eq!(rig.metric("wsgateway_auth_key_problems").await?, 0);
    // Who is connected stays until its token ends.
    connected.subscribe(&["public.a"]).await?;
    Ok(())
}

#[tokio::test]
async fn a_gateway_that_begins_to_ask_sends_those_away_who_have_shown_nothing() -> Result<()> {
    let issuer = Issuer::new()?;
    let (nats, _jetstream) = nats_with_stream().await?;
    let mut config = config(&nats.url());
    let gateway = start(config.clone())?;
    ready(gateway.admin_addr).await?;
    let mut stranger = Client::connect(gateway.client_addr).await?;
    stranger.subscribe(&[">"]).await?;
    config.auth = Some(issuer.auth());
    assert_eq!(gateway.reload(Given::of(config.clone())?)?.len(), 1);
    assert_eq!(stranger.expect("reconnect").await?["reason"], "auth");
    assert_eq!(refused(gateway.client_addr, "", "").await?.status, 401);
    let good = token("ann", &json!({}));
    let mut ann = client(gateway.client_addr, &good).await?;
    // Another rule: who is here keeps what its token gave it, who comes gets what is allowed now.
    if let Some(auth) = &mut config.auth {
        auth.channels = vec![allow("public.>")];
    }
    gateway.reload(Given::of(config.clone())?)?;
    let mut again = client(gateway.client_addr, &good).await?;
    assert_eq!(again.subscribe(&["private"]).await?["rejected"][0]["code"], "not_allowed");
    assert_eq!(ann.subscribe(&["private"]).await?["subscribed"], json!(["private"]));
    // Nobody is asked any more.
    config.auth = None;
    gateway.reload(Given::of(config)?)?;
    Client::connect(gateway.client_addr).await?.subscribe(&["private"]).await?;
    Ok(())
}
