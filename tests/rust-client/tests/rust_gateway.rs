//! The client with a real gateway and a real nats-server: kills, drains, cuts, tokens, gaps and last values.

/// The files of the folder `rust_gateway/`.
#[cfg(test)]
mod rust_gateway {
    mod channels;
    mod compression;
    mod examples;
    mod faults;
    mod recorder;
    mod servers;
    mod tls;
    mod tokens;
}
