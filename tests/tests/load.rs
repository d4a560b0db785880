//! `wsgw load` and `wsgw simulate` as processes: what they say about gateways that work, that are killed, and about servers that refuse, hang, lie
//! or close in the middle.

/// The files of the folder `load/`.
mod load {
    mod arguments;
    mod comparison;
    mod disk;
    mod gateways;
    mod handshakes;
    mod others;
    mod publisher;
    mod rig;
    mod simulate;
    mod terminal;
    mod tls;
}
