//! Fan-out allocates nothing per delivery: counted by this program's allocator on the threads that deliver.
//!
//! A program of its own, because its allocator counts for every gateway in it.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use gateway::app::{self, Options};
use wsgateway_config::{GatewayConfig, MemorySource, Millis, Source};

/// Counts what is allocated on shard threads while counting is on.
mod counting {
    #![expect(
        unsafe_code,
        reason = "an allocator is unsafe by its trait; this one only counts and passes on"
    )]

    use std::alloc::{GlobalAlloc, Layout, System};
    use std::cell::Cell;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

    #[global_allocator]
    static ALLOCATOR: Counting = Counting;
    static ON: AtomicBool = AtomicBool::new(false);
    static COUNT: AtomicU64 = AtomicU64::new(0);

    #[derive(Clone, Copy)]
    enum Thread {
        Unknown,
        Shard,
        Other,
    }

    thread_local! {
        static THREAD: Cell<Thread> = const { Cell::new(Thread::Unknown) };
    }

    struct Counting;

    fn count() {
        if !ON.load(SeqCst) {
            return;
        }
        // Asking for the name may itself allocate: that answer is "other", and it is asked only once. Counting is
        // off while threads start, when a thread does not know its name yet.
        let thread = THREAD.get();
        let is_shard = match thread {
            Thread::Shard => true,
            Thread::Other => false,
            Thread::Unknown => {
                THREAD.set(Thread::Other);
                let current = std::thread::current();
                let shard = current.name().is_some_and(|name| name.starts_with("shard-"));
                THREAD.set(if shard { Thread::Shard } else { Thread::Other });
                shard
            }
        };
        if is_shard {
            COUNT.fetch_add(1, SeqCst);
        }
    }

    // SAFETY: every call is passed on to the system's allocator as it came.
    unsafe impl GlobalAlloc for Counting {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            count();
            // SAFETY: the caller's promises are passed on.
            unsafe { System.alloc(layout) }
        }

        unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
            count();
            // SAFETY: the caller's promises are passed on.
            unsafe { System.realloc(block, layout, size) }
        }

        unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
            // SAFETY: the caller's promises are passed on.
            unsafe { System.dealloc(block, layout) }
        }
    }

    /// Allocations on shard threads while `work` runs.
    pub(crate) fn on_shards<T>(work: impl FnOnce() -> T) -> (T, u64) {
        let before = COUNT.load(SeqCst);
        ON.store(true, SeqCst);
        let result = work();
        ON.store(false, SeqCst);
        (result, COUNT.load(SeqCst) - before)
    }
}

/// How long a read may take on a machine that compiles at the same time.
const SOON: Duration = Duration::from_secs(60);

/// A client that only knows how long a frame is.
struct Client(TcpStream);

impl Client {
    fn subscribe(address: SocketAddr, protocol: &str) -> Result<Self> {
        let mut client = Self(TcpStream::connect(address)?);
        client.0.set_read_timeout(Some(SOON))?;
        let request = format!(
            "GET /ws HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: {protocol}\r\n\r\n"
        );
        client.0.write_all(request.as_bytes())?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            client.0.read_exact(&mut byte)?;
            head.extend(byte);
        }
        client.frame().context("no greeting")?;
        client.command(br#"{"type":"subscribe","channels":["a.*","a.b"]}"#)?;
        Ok(client)
    }

    /// Sends a command and reads its answer.
    fn command(&mut self, text: &[u8]) -> Result<()> {
        // The mask key is zero: the text goes as it is.
        let mut frame = vec![0x81, 0x80 | u8::try_from(text.len())?, 0, 0, 0, 0];
        frame.extend_from_slice(text);
        self.0.write_all(&frame)?;
        self.frame()
    }

    fn frame(&mut self) -> Result<()> {
        let mut bytes = [0; 512];
        self.0.read_exact(&mut bytes[..2])?;
        let length = match bytes[1] {
            126 => {
                self.0.read_exact(&mut bytes[..2])?;
                usize::from(u16::from_be_bytes([bytes[0], bytes[1]]))
            }
            length => usize::from(length),
        };
        Ok(self.0.read_exact(bytes.get_mut(..length).context("a frame of more than 512 bytes")?)?)
    }
}

/// Allocations on shard threads for `MESSAGES` messages, each read by every one of `connections` before the next one
/// is published.
fn allocations(connections: usize, protocol: &str) -> Result<u64> {
    let mut config = GatewayConfig::new("test/alloc", Source::Memory(MemorySource::default()));
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    (config.listener.address, config.listener.port) = (loopback, 0);
    (config.admin.address, config.admin.port) = (loopback, 0);
    config.capacity.shards = 2;
    config.drain.window = Millis(0);
    let gateway = app::start(config, Options { pod: "pod-1".to_owned() })?;
    let publisher = gateway.memory().context("an in-process source")?;
    let deadline = Instant::now() + SOON;
    while !gateway.is_ready() {
        ensure!(Instant::now() < deadline, "the gateway does not become ready");
        std::thread::yield_now();
    }
    let mut clients = Vec::new();
    for _ in 0..connections {
        clients.push(Client::subscribe(gateway.client_addr, protocol)?);
    }
    let mut rounds = |count: usize| -> Result<()> {
        for _ in 0..count {
            publisher.publish("a.b", "{\"price\":1}".into())?;
            clients.iter_mut().try_for_each(Client::frame)?;
        }
        Ok(())
    };
    // Buffers grow to their size once.
    rounds(20)?;
    let (done, count) = counting::on_shards(|| rounds(MESSAGES as usize));
    done?;
    // The counter counts: a command makes a shard allocate.
    let client = clients.first_mut().context("a client")?;
    let (done, some) =
        counting::on_shards(|| client.command(br#"{"type":"subscribe","channels":["x"]}"#));
    done?;
    ensure!(some > 0, "the allocator does not count");
    gateway.abort();
    Ok(count)
}

const MESSAGES: u64 = 200;

#[test]
fn a_delivery_allocates_nothing_however_many_connections_there_are() -> Result<()> {
    for protocol in ["wsgateway.v1", "odin.v1"] {
        for connections in [10, 100, 400] {
            let count = allocations(connections, protocol)?;
            // One per message and shard would be allowed; one per delivery would be 5 to 200 times as many.
            let told = format!(
                "{count} allocations for {MESSAGES} messages to {connections} in {protocol}"
            );
            ensure!(count <= 2 * MESSAGES, told);
        }
    }
    Ok(())
}
