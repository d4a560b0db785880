//! Servers that refuse, hang, close in the middle and send rubbish; and a line that is dead without being closed.

/// The files of the folder `rust_faults/`.
#[cfg(test)]
mod rust_faults {
    mod compression;
    mod lines;
    mod peer;
    mod recorder;
    mod refusals;
}
