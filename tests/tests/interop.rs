//! Our WebSocket codec against others: Node's ws, Python's websockets and Chromium as clients and as servers, and a
//! table of what RFC 6455 and RFC 7692 say, byte by byte.
//!
//! In: the echo server on the gateway's own data plane, and the gateway itself on a real nats-server. Judged: what
//! comes back. The programs of the other side lie in `tests/interop`; `hack/interop` installs what they need.

/// The files of the folder `interop/`.
mod interop {
    // What the suites share.
    mod peers;
    mod servers;
    mod table;
    mod wire;

    // The suites, by who is on the other side.
    mod browser;
    mod client_role;
    mod clients;
    mod closing;
    mod compressed;
    mod framing;
    mod messages;
    mod sizes;
    mod utf8;
}
