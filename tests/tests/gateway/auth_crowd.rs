//! Users in crowds: one who comes again and again, and many behind one address.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use harness::wait_until;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use wsgateway_config::{AboveLimit, AcceptRate};

use super::client::Client;
use super::http::upgrade_request;
use super::rig::{Rig, SOON};
use super::tokens::{Issuer, token};

const MOST: u32 = 3;

fn shows(user: &str) -> String {
    format!("Authorization: Bearer {}\r\n", token(user, &json!({})))
}

/// Asks for an upgrade; the status of the answer, and the socket.
async fn knock(address: SocketAddr, headers: &str) -> Result<(u16, TcpStream)> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(upgrade_request(headers).as_bytes()).await?;
    let (mut line, mut reader) = (String::new(), BufReader::new(stream));
    timeout(SOON, reader.read_line(&mut line)).await.context("no answer")??;
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.with_context(|| format!("no status: {line:?}"))?, reader.into_inner()))
}

/// Comes 100 times, and leaves each time without a word.
async fn hurry(address: SocketAddr, headers: &str) -> Result<Vec<u16>> {
    let mut statuses = Vec::new();
    for _ in 0..100 {
        statuses.push(knock(address, headers).await?.0);
    }
    Ok(statuses)
}

async fn a_user_in_a_hurry(above: AboveLimit) -> Result<()> {
    let issuer = Issuer::new()?;
    let rig = Rig::start_with(|config| {
        config.auth = Some(issuer.auth());
        config.capacity.connections_per_user = MOST;
        config.capacity.above_connections_per_user = above;
    })
    .await?;
    let (ann, address) = (shows("ann"), rig.client_addr);
    let path = format!("/ws?token={}", token("bob", &json!({})));
    let stream = TcpStream::connect(address).await?;
    let mut bob = Client::open(stream, &path, Some("wsgateway.v1")).await?;
    bob.expect("connection:established").await?;
    bob.subscribe(&["a"]).await?;
    let mut storm = std::pin::pin!(try_join_all((0..4).map(|_| hurry(address, &ann))));
    let mut served = 0;
    let statuses = loop {
        // Bob gets each message while ann comes and goes.
        let serve = async {
            rig.publish("a", "1").await?;
            bob.expect("message").await?;
            rig.metric("wsgateway_connections").await
        };
        tokio::select! {
            statuses = &mut storm => break statuses?,
            connections = serve => {
                served += 1;
                // Bob, and one whose place is free a moment before it is counted out. The oldest ones are told first, and go then.
                let most = match above {
                    AboveLimit::RejectNew => u64::from(MOST) + 2,
                    AboveLimit::CloseOldest => 400,
                };
                ensure!(connections? <= most, "more connections than may be");
            }
        }
    };
    ensure!(served > 0, "bob was not served");
    let (came, others): (Vec<u16>, Vec<u16>) =
        statuses.into_iter().flatten().partition(|status| *status == 101);
    ensure!(!came.is_empty() && others.iter().all(|status| *status == 429), "{others:?}");
    // Nothing is left of it.
    wait_until(SOON, "bob alone", async || {
        rig.metric("wsgateway_connections").await.is_ok_and(|connections| connections == 1)
    })
    .await?;
    let mut held = Vec::new();
    for _ in 0..MOST {
        let (status, stream) = knock(address, &ann).await?;
        assert_eq!(status, 101);
        held.push(stream);
    }
    Ok(())
}

#[tokio::test]
async fn a_user_who_comes_again_and_again_has_no_more_connections_and_others_are_served()
-> Result<()> {
    a_user_in_a_hurry(AboveLimit::RejectNew).await
}

#[tokio::test]
async fn a_user_who_comes_again_and_again_replaces_its_own_connections_and_others_are_served()
-> Result<()> {
    a_user_in_a_hurry(AboveLimit::CloseOldest).await
}

#[tokio::test]
async fn many_users_behind_one_exempt_address_get_in_each_with_its_own_limit() -> Result<()> {
    const USERS: usize = 200;
    let issuer = Issuer::new()?;
    let rig = Rig::start_with(|config| {
        config.auth = Some(issuer.auth());
        config.capacity.connections_per_user = 1;
        config.listener.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
        config.accepts.connections_per_address = 2;
        config.accepts.per_address = AcceptRate { per_second: 1, burst: 2 };
        config.accepts.exempt_networks = vec!["203.0.113.0/24".parse().expect("a network")];
    })
    .await?;
    let from = |address: &str, user: &str| format!("X-Forwarded-For: {address}\r\n{}", shows(user));
    let mut held = Vec::new();
    for user in 0..USERS {
        let headers = from("203.0.113.7", &format!("user-{user}"));
        let (status, stream) = knock(rig.client_addr, &headers).await?;
        assert_eq!(status, 101, "user {user}");
        held.push(stream);
    }
    assert_eq!(rig.metric("wsgateway_connections").await?, USERS as u64);
    let again = knock(rig.client_addr, &from("203.0.113.7", "user-0")).await?;
    assert_eq!(again.0, 429, "what is exempt are addresses, not users");
    // An address that is not exempt has its own limit still.
    let mut outcomes = Vec::new();
    for user in 0..3 {
        let headers = from("198.51.100.7", &format!("other-{user}"));
        let (status, stream) = knock(rig.client_addr, &headers).await?;
        outcomes.push(status);
        held.push(stream);
    }
    assert_eq!(outcomes, [101, 101, 429]);
    Ok(())
}
