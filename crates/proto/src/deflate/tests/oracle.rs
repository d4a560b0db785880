//! Another implementation of deflate, wired up as RFC 7692 says and nothing more.

use miniz_oxide::deflate::core::{CompressorOxide, create_comp_flags_from_zip_params};
use miniz_oxide::inflate::stream::{InflateState, inflate as inflate_some};
use miniz_oxide::{DataFormat, MZFlush, MZStatus};

use crate::deflate::TAIL;

/// The message in `data`, if it is one of at most `limit` bytes.
pub(super) fn inflate(data: &[u8], limit: usize) -> Option<Vec<u8>> {
    if data.is_empty() {
        return Some(Vec::new());
    }
    let all = [data, &TAIL].concat();
    let (mut rest, mut out) = (&all[..], vec![0; limit + 1]);
    let (mut state, mut len) = (InflateState::new_boxed(DataFormat::Raw), 0);
    loop {
        let step = inflate_some(&mut state, rest, &mut out[len..], MZFlush::None);
        rest = &rest[step.bytes_consumed..];
        len += step.bytes_written;
        if len > limit {
            return None;
        }
        match step.status {
            Ok(MZStatus::StreamEnd) if rest.is_empty() => break,
            Ok(MZStatus::StreamEnd) => state = InflateState::new_boxed(DataFormat::Raw),
            // It says so as well where it has read all and would read on.
            _ if rest.is_empty() => break,
            Ok(_) if step.bytes_consumed + step.bytes_written > 0 => {}
            _ => return None,
        }
    }
    out.truncate(len);
    Some(out)
}

/// One message of several pieces, each compressed at its level, ended by a flush or as a stream
/// of its own (BFINAL).
pub(super) fn deflate(pieces: &[(Vec<u8>, u8, bool)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (payload, level, end) in pieces {
        let flags = create_comp_flags_from_zip_params(i32::from(*level), 0, 0);
        let mut stream = CompressorOxide::new(flags);
        let mut room = vec![0; payload.len() * 2 + 1_000];
        let flush = if *end { MZFlush::Finish } else { MZFlush::Sync };
        let step = miniz_oxide::deflate::stream::deflate(&mut stream, payload, &mut room, flush);
        assert_eq!(step.bytes_consumed, payload.len());
        out.extend_from_slice(&room[..step.bytes_written]);
    }
    // Ends with an empty block whatever came before; of that the tail is not sent.
    out.push(0);
    out
}
