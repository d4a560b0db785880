//! A dumb TCP balancer: it spreads connections over the pods and copies bytes, so that whoever reconnects meets another
//! pod. It can reset, stall and refuse, as networks do.
//!
//! It knows nothing of health: a pod that does not accept is passed over, one that hangs is not.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use socket2::SockRef;
use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, watch};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

/// Kernel buffers of each side (bytes): small, so that a client that does not read is soon felt by its pod.
const SOCKET_BYTES: usize = 64 << 10;

/// Bytes copied at once.
const COPY_BYTES: usize = 16 << 10;

/// Longest wait for a pod to accept.
const CONNECT: Duration = Duration::from_secs(2);

/// Between two attempts to accept, when there are too many open files.
const BREATH: Duration = Duration::from_millis(20);

/// How connections are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Way {
    /// Each pod in turn.
    RoundRobin,
    /// Any pod.
    Random,
    /// The pod with the fewest connections.
    Least,
}

/// The running balancer; dropping it ends it with all its connections.
#[derive(Debug)]
pub struct Balancer {
    address: SocketAddr,
    shared: Arc<State>,
    accepting: AbortHandle,
}

#[derive(Debug)]
struct State {
    pods: Vec<Pod>,
    way: Way,
    next: AtomicUsize,
    refuse: AtomicBool,
    /// The share of connections to reset, of 1.
    resets: broadcast::Sender<f64>,
    stalled: watch::Sender<bool>,
}

#[derive(Debug)]
struct Pod {
    address: SocketAddr,
    connections: AtomicUsize,
}

impl Balancer {
    /// Listens on a free port of loopback.
    ///
    /// # Errors
    /// When there is none.
    pub async fn start(pods: &[SocketAddr], way: Way) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("the balancer's port")?;
        let address = listener.local_addr()?;
        let pod = |address: &SocketAddr| Pod { address: *address, connections: 0.into() };
        let shared = Arc::new(State {
            pods: pods.iter().map(pod).collect(),
            way,
            next: AtomicUsize::new(0),
            refuse: AtomicBool::new(false),
            resets: broadcast::channel(16).0,
            stalled: watch::channel(false).0,
        });
        let accepting = tokio::spawn(accept(listener, shared.clone())).abort_handle();
        Ok(Self { address, shared, accepting })
    }

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The pod with the most connections, by its place in the list.
    pub fn busiest(&self) -> usize {
        let load = |at: &usize| self.shared.pods[*at].connections.load(Ordering::Relaxed);
        (0..self.shared.pods.len()).max_by_key(load).unwrap_or(0)
    }

    /// Resets this share of all connections, chosen at random: both ends get RST, and what is under way is gone.
    pub fn reset(&self, share: f64) {
        // An error means that there is no connection.
        drop(self.shared.resets.send(share));
    }

    /// Copies nothing while true; connections stay.
    pub fn stall(&self, stalled: bool) {
        self.shared.stalled.send_replace(stalled);
    }

    /// Resets whoever connects while true.
    pub fn refuse(&self, refuse: bool) {
        self.shared.refuse.store(refuse, Ordering::Relaxed);
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.accepting.abort();
        self.reset(1.0);
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    loop {
        match listener.accept().await {
            Ok((client, _)) if state.refuse.load(Ordering::Relaxed) => abort(&client),
            Ok((client, _)) => drop(tokio::spawn(serve(client, state.clone()))),
            Err(_) => sleep(BREATH).await,
        }
    }
}

async fn serve(mut client: TcpStream, state: Arc<State>) {
    let mut resets = state.resets.subscribe();
    let mut stalled = state.stalled.subscribe();
    let Some((pod, mut server)) = connect(&state).await else { return abort(&client) };
    pod.connections.fetch_add(1, Ordering::Relaxed);
    for socket in [SockRef::from(&client), SockRef::from(&server)] {
        // A socket that is gone already is noticed below.
        drop(socket.set_tcp_nodelay(true));
        drop(socket.set_recv_buffer_size(SOCKET_BYTES));
        drop(socket.set_send_buffer_size(SOCKET_BYTES));
    }
    let broken = {
        let mut pump =
            pin!(copy_bidirectional_with_sizes(&mut client, &mut server, COPY_BYTES, COPY_BYTES));
        loop {
            let still = *stalled.borrow_and_update();
            tokio::select! {
                done = &mut pump, if !still => break done.is_err(),
                share = resets.recv() => {
                    if share.is_ok_and(|share| fastrand::f64() < share) {
                        break true;
                    }
                }
                changed = stalled.changed() => if changed.is_err() { break true },
            }
        }
    };
    pod.connections.fetch_sub(1, Ordering::Relaxed);
    if broken {
        abort(&client);
        abort(&server);
    }
}

/// A connection to the pod whose turn it is, or to the next one that accepts.
async fn connect(state: &State) -> Option<(&Pod, TcpStream)> {
    let count = state.pods.len();
    let first = match state.way {
        Way::RoundRobin => state.next.fetch_add(1, Ordering::Relaxed) % count,
        Way::Random => fastrand::usize(..count),
        Way::Least => {
            let load = |at: &usize| state.pods[*at].connections.load(Ordering::Relaxed);
            (0..count).min_by_key(load).unwrap_or(0)
        }
    };
    for step in 0..count {
        let pod = &state.pods[(first + step) % count];
        if let Ok(Ok(server)) = timeout(CONNECT, TcpStream::connect(pod.address)).await {
            return Some((pod, server));
        }
    }
    None
}

/// Makes the end of this socket a RST.
fn abort(socket: &TcpStream) {
    drop(SockRef::from(socket).set_linger(Some(Duration::ZERO)));
}
