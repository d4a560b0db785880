//! Any data inflated, any payload there and back.

use std::cell::RefCell;

use wsgateway_proto::decoder::{Event, Violation};
use wsgateway_proto::deflate::{Deflater, Inflater};
use wsgateway_proto::frame::{self, Opcode};

thread_local! {
    /// As in the gateway: one pair for all messages, which must not notice one another.
    static SHARED: RefCell<(Deflater, Inflater)> = RefCell::default();
}

/// The first byte chooses the limit (0 to 16 KiB); the rest is data to inflate, then a payload to
/// deflate.
///
/// Nothing may be held beyond the limit, no message may depend on one before it, and a payload
/// must come back as it was.
pub fn deflate(data: &[u8]) {
    let (flags, data) = crate::split(data);
    let limit = usize::from(flags) * 64;
    SHARED.with_borrow_mut(|(deflater, shared)| {
        let mut fresh = Inflater::new();
        for opcode in [Opcode::Text, Opcode::Binary] {
            let event = fresh.message(opcode, data, limit);
            assert_eq!(event, shared.message(opcode, data, limit), "an earlier message shows");
            match event {
                Ok(Event::Text(text)) => assert!(text.len() <= limit),
                Ok(Event::Binary(bytes)) => assert!(bytes.len() <= limit),
                Ok(other) => unreachable!("{other:?}"),
                Err(Violation { close_code, .. }) => {
                    assert!(matches!(close_code, 1007 | 1009), "{close_code}");
                }
            }
            assert!(fresh.buffered() <= limit, "{} bytes are held", fresh.buffered());
        }
        let mut out = Vec::new();
        if deflater.frame(Opcode::Binary, data, &mut out) {
            assert!(out.len() < data.len() + frame::header(Opcode::Binary, data.len()).len());
            let body = frame::payload(&out);
            assert_eq!(shared.message(Opcode::Binary, body, data.len()), Ok(Event::Binary(data)));
            let less = data.len().saturating_sub(1);
            assert!(shared.message(Opcode::Binary, body, less).is_err(), "beyond the limit");
        } else {
            assert!(out.is_empty());
        }
    });
}
