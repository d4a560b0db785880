//! The front door behind TLS: what comes before a handshake, the handshake, and then the door as everybody knows it.
//!
//! Bounded like requests are: a place of its own kind for each handshake, of which the one that is idle for longest ends for
//! the next one, and ten seconds. It is judged before anything is signed whether a connection may come from there.

use std::io::{self, Read as _};
use std::net::{IpAddr, TcpStream as StdStream};
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::accept::{HEAD_PART, Hall, is_only_early, log_over, serve_http};
use super::door::{Begun, Verdict};
use super::pending::{Pending, Places};
use super::refusal::{Denied, hang_up};
use super::watched::Watched;
use crate::tls::{HANDSHAKE, Outcome, Tls, TlsStream, Wire, into_link};

/// What connections with TLS meet first.
#[derive(Clone, Debug)]
pub(crate) struct Secure {
    pub tls: Tls,
    /// Places of handshakes that have not ended.
    pub handshakes: Arc<Places>,
}

/// A connection whose handshake is done, and where its client is.
type Secured = (Box<TlsStream>, IpAddr);

/// One connection of which some bytes were read.
pub(super) async fn connection(
    stream: StdStream,
    read: Vec<u8>,
    (hall, secure): (Hall, Secure),
    handshake: Arc<Pending>,
) {
    let peer = handshake.caller().connection();
    let metrics = secure.tls.metrics();
    let begun = tokio::select! {
        begun = begin(stream, read, (&hall, &secure), peer) => begun,
        over = handshake.over() => {
            metrics.ended(Outcome::TooSlow);
            return log_over(over);
        }
    };
    drop(handshake);
    match begun {
        Ok(Some((stream, from))) => {
            metrics.ended(Outcome::Completed);
            let pending = hall.places.enter(peer, Instant::now());
            pending.caller().come_from(from);
            serve(stream, from, hall, pending).await;
        }
        Ok(None) => {}
        Err(error) => {
            metrics.ended(Outcome::Failed);
            tracing::debug!(%error, "a TLS handshake failed");
        }
    }
}

/// From the first byte to the end of the handshake; None when the connection was refused.
async fn begin(
    stream: StdStream,
    mut read: Vec<u8>,
    (hall, secure): (&Hall, &Secure),
    peer: IpAddr,
) -> io::Result<Option<Secured>> {
    let stream = TcpStream::from_std(stream)?;
    let from = loop {
        match hall.door.begin(&read, peer) {
            Begun::Refused(answer) => {
                hang_up(&stream.into_std()?, &answer);
                return Ok(None);
            }
            Begun::Of { from, len } if read.len() > len => {
                drop(read.drain(..len));
                break from;
            }
            Begun::Of { .. } | Begun::Wait => {}
        }
        if !more(&stream, &mut read).await? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    if read.first() != Some(&HANDSHAKE) {
        secure.tls.metrics().ended(Outcome::Plain);
        hang_up(&stream.into_std()?, &Denied::Plain.bytes());
        return Ok(None);
    }
    let session = secure.tls.session().map_err(io::Error::other)?;
    let mut stream = Box::new(TlsStream::new(stream, session));
    stream.shake_hands(&mut read).await?;
    Ok(Some((stream, from)))
}

/// Reads what comes next; false at the end.
async fn more(stream: &TcpStream, read: &mut Vec<u8>) -> io::Result<bool> {
    stream.readable().await?;
    read.reserve(HEAD_PART);
    match stream.try_read_buf(read) {
        Ok(0) => Ok(false),
        Err(error) if !is_only_early(&error) => Err(error),
        Ok(_) | Err(_) => Ok(true),
    }
}

/// Serves requests, as without TLS.
async fn serve(stream: Box<TlsStream>, from: IpAddr, hall: Hall, pending: Arc<Pending>) {
    let waited = tokio::select! {
        waited = wait(stream, from, &hall) => waited,
        over = pending.over() => return log_over(over),
    };
    match waited {
        Ok(Some((stream, read))) => {
            let stream = Watched::new(Wire::Right(stream), read.into(), Arc::clone(&pending));
            serve_http(stream, hall.routes, pending).await;
        }
        Ok(None) => {}
        Err(error) => tracing::debug!(%error, "a connection ended before its request"),
    }
}

/// Waits until a connection is upgraded or refused (None), or turns out to be for the HTTP server.
async fn wait(
    mut stream: Box<TlsStream>,
    from: IpAddr,
    hall: &Hall,
) -> io::Result<Option<(Box<TlsStream>, Vec<u8>)>> {
    let mut read = Vec::new();
    loop {
        match hall.door.judge_request(&read, from, 0) {
            Verdict::Http { .. } => return Ok(Some((stream, read))),
            Verdict::Refused(answer) => {
                refuse(*stream, &answer).await?;
                return Ok(None);
            }
            Verdict::Upgrade(upgrade) => {
                let (link, decrypted) = into_link(Wire::Right(stream))?;
                read.extend_from_slice(&decrypted);
                hall.door.let_in(upgrade.into_handover(link, &read));
                return Ok(None);
            }
            Verdict::Wait => {}
        }
        read.reserve(HEAD_PART);
        if stream.read_buf(&mut read).await? == 0 {
            return Ok(None);
        }
    }
}

/// Answers a connection and hangs up.
async fn refuse(mut stream: TlsStream, answer: &[u8]) -> io::Result<()> {
    stream.write_all(answer).await?;
    stream.shutdown().await?;
    let (link, _) = into_link(Wire::Right(Box::new(stream)))?;
    // What is not read would make a reset of the end, which may overtake the answer.
    let _read = (&link.stream).read(&mut [0; 4 << 10]);
    Ok(())
}
