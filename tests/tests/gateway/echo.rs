//! The echo server of the conformance suites: the gateway's own data plane, at the ends of its limits.

use std::net::{Ipv4Addr, SocketAddr};

use ::gateway::app::Running;
use ::gateway::echo;
use anyhow::{Context, Result};

use super::deflate::{deflated, inflated};
use super::raw::{Frame, Raw, TEXT, frame};

fn server() -> Result<Running> {
    Ok(echo::start(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0))?)
}

async fn next(raw: &mut Raw) -> Result<Frame> {
    raw.frame().await?.context("the connection ended")
}

#[tokio::test]
async fn text_and_binary_come_back_as_they_were_sent() -> Result<()> {
    let server = server()?;
    let mut raw = Raw::upgrade(server.client_addr, "", &[]).await?;
    for (first, opcode) in [(TEXT, 1), (0x82, 2)] {
        for length in [0, 1, 125, 126, 127, 65_535, 65_536, 1 << 20] {
            let payload = vec![b'x'; length];
            raw.write(&frame(first, &payload)).await;
            assert_eq!(next(&mut raw).await?, Frame { opcode, compressed: false, payload });
        }
    }
    raw.write(&frame(0x88, 3000_u16.to_be_bytes())).await;
    assert_eq!(raw.close_code().await?, Some(3000));
    Ok(())
}

#[tokio::test]
async fn sixteen_mebibytes_and_sixty_five_thousand_fragments_are_within_limits() -> Result<()> {
    let server = server()?;
    let mut raw = Raw::upgrade(server.client_addr, "", &[]).await?;
    let payload: Vec<u8> = (0..echo::MESSAGE_BYTES).map(|n| (n % 251) as u8).collect();
    raw.write(&frame(0x82, &payload)).await;
    assert!(next(&mut raw).await?.payload == payload, "the largest message");

    let pieces = payload.chunks(echo::MESSAGE_BYTES as usize / echo::FRAGMENTS as usize);
    let mut bytes = Vec::new();
    for (place, piece) in pieces.enumerate() {
        let first = match place as u32 + 1 {
            1 => 0x02,
            echo::FRAGMENTS => 0x80,
            _ => 0x00,
        };
        bytes.extend(frame(first, piece));
    }
    raw.write(&bytes).await;
    assert!(next(&mut raw).await?.payload == payload, "the most fragments");

    raw.write(&frame(0x82, vec![0; echo::MESSAGE_BYTES as usize + 1])).await;
    assert_eq!(raw.close_code().await?, Some(1009));
    Ok(())
}

#[tokio::test]
async fn compressed_messages_come_back_compressed() -> Result<()> {
    let server = server()?;
    let offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    let mut raw = Raw::upgrade(server.client_addr, offer, &[]).await?;
    let text = "Lorem ipsum dolor sit amet. ".repeat(1_000);
    raw.write(&frame(TEXT | 0x40, &deflated(text.as_bytes())?)).await;
    let back = next(&mut raw).await?;
    assert!(back.compressed && back.payload.len() < text.len() / 4);
    assert_eq!(inflated(&back.payload, 1 << 20)?, text.as_bytes());
    Ok(())
}
