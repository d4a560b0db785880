//! What is offered and agreed on in `Sec-WebSocket-Extensions`.

use super::*;
use crate::deflate;

fn extensions(lines: &[&str]) -> Result<Option<&'static str>, Refusal> {
    let mut headers = good();
    for line in lines {
        let line = HeaderValue::from_bytes(line.as_bytes()).unwrap();
        headers.append(header::SEC_WEBSOCKET_EXTENSIONS, line);
    }
    let accepted = checked(&headers)?;
    assert_eq!(accepted.deflate, accepted.extensions.is_some());
    let refused = check(&Method::GET, Version::HTTP_11, &headers, OFFERED, "odin.v1", false);
    assert!(refused.is_ok_and(|accepted| !accepted.deflate && accepted.extensions.is_none()));
    Ok(accepted.extensions)
}

#[test]
fn the_first_offer_of_compression_that_can_be_met_is_taken() {
    let (plain, window) = (Some(deflate::RESPONSE), Some(deflate::RESPONSE_WINDOW));
    for (lines, want) in [
        (&[][..], None),
        (&[""], None),
        (&["permessage-deflate"], plain),
        (&["permessage-deflate; client_max_window_bits"], plain),
        (&["permessage-deflate;client_max_window_bits=8"], plain),
        (&["permessage-deflate ; client_max_window_bits = \"10\" "], plain),
        (&["permessage-deflate; client_max_window_bits=\"1\\5\""], plain),
        (&[deflate::OFFER], plain),
        (&["permessage-deflate; server_max_window_bits=15"], window),
        (&["permessage-deflate; server_max_window_bits=12, permessage-deflate"], plain),
        (&["permessage-deflate; server_max_window_bits=15, permessage-deflate"], window),
        (&["permessage-deflate; server_max_window_bits=8"], None),
        (&["x-unknown; a=b; c, permessage-deflate"], plain),
        (&["x-unknown", "permessage-deflate"], plain),
        (&[", ,permessage-deflate,"], plain),
        (&["x-webkit-deflate-frame"], None),
        (&["permessage-deflate-2"], None),
        (&["Permessage-Deflate"], None),
    ] {
        assert_eq!(extensions(lines), Ok(want), "{lines:?}");
    }
}

#[test]
fn an_offer_that_rfc_7692_section_7_1_tells_to_decline_is_passed_over() {
    for parameters in [
        "unknown",
        "server_no_context_takeover=1",
        "client_no_context_takeover=true",
        "server_no_context_takeover; server_no_context_takeover",
        "client_no_context_takeover; client_no_context_takeover",
        "client_max_window_bits; client_max_window_bits=15",
        "server_max_window_bits=15; server_max_window_bits=15",
        "server_max_window_bits",
        "server_max_window_bits=7",
        "server_max_window_bits=16",
        "server_max_window_bits=015",
        "server_max_window_bits=+15",
        "server_max_window_bits=x",
        "client_max_window_bits=7",
        "client_max_window_bits=16",
        "client_max_window_bits=08",
        "client_max_window_bits=99999999999999999999",
    ] {
        let bad = format!("permessage-deflate; {parameters}");
        assert_eq!(extensions(&[&bad]), Ok(None), "{bad}");
        let with_another = format!("{bad}, permessage-deflate");
        assert_eq!(extensions(&[&with_another]), Ok(Some(deflate::RESPONSE)), "{bad}");
    }
}

#[test]
fn what_is_no_list_of_extensions_is_refused() {
    for line in [
        ";",
        "=",
        "permessage-deflate;",
        "permessage-deflate; ;a",
        "permessage-deflate; a=",
        "permessage-deflate; a=\"",
        "permessage-deflate; a=\"\"",
        "permessage-deflate; a=\"b c\"",
        "permessage-deflate; a=\"b\\",
        "permessage-deflate; a=\"b\"c",
        "permessage-deflate a",
        "permessage deflate",
        "permessage-deflate, a/b",
        "perm\u{e9}ssage",
    ] {
        assert_eq!(extensions(&[line]), Err(Refusal::BadExtensions), "{line}");
        assert_eq!(extensions(&[deflate::OFFER, line]), Err(Refusal::BadExtensions), "{line}");
    }
}

#[test]
fn a_client_agrees_to_nothing_that_its_inflater_cannot_read() {
    let refused = Err(ClientHandshakeError::NotOffered("Sec-WebSocket-Extensions"));
    for (value, want) in [
        (deflate::RESPONSE, Ok(true)),
        (deflate::RESPONSE_WINDOW, Ok(true)),
        ("permessage-deflate; server_no_context_takeover", Ok(true)),
        ("permessage-deflate; server_no_context_takeover; server_max_window_bits=9", Ok(true)),
        ("", Ok(false)),
        ("permessage-deflate", refused.clone()),
        ("permessage-deflate; client_no_context_takeover", refused.clone()),
        (
            "permessage-deflate; server_no_context_takeover; client_max_window_bits=15",
            refused.clone(),
        ),
        ("permessage-deflate; server_no_context_takeover; server_max_window_bits", refused.clone()),
        ("permessage-deflate; server_no_context_takeover; unknown", refused.clone()),
        ("x-unknown", refused.clone()),
        ("permessage-deflate;", refused.clone()),
    ] {
        let line = format!("sec-websocket-extensions: {value}\r\n");
        let deflate = response(&line).map(|upgraded| upgraded.unwrap().deflate);
        assert_eq!(deflate, want, "{value}");
        let head = format!("{SWITCHING}sec-websocket-accept: {ACCEPT}\r\n{line}\r\n");
        let unasked = client_response(head.as_bytes(), &ClientOffer { deflate: false, ..OFFER });
        assert_eq!(unasked.is_ok(), value.is_empty(), "{value}");
    }
    let line = format!("sec-websocket-extensions: {}\r\n", deflate::RESPONSE);
    assert_eq!(response(&line.repeat(2)).map(|_| true), refused, "twice");
}

#[test]
fn browsers_whose_compressor_keeps_its_window_get_no_compression() {
    const WEBKIT: &str = "AppleWebKit/605.1.15 (KHTML, like Gecko)";
    for (system, rest, want) in [
        ("Macintosh; Intel Mac OS X 10_15_7", "Version/15.0 Safari/605.1.15", false),
        ("Macintosh; Intel Mac OS X 10_15_7", "Version/15.6.1 Safari/605.1.15", false),
        (
            "iPhone; CPU iPhone OS 15_1_1 like Mac OS X",
            "Version/15.1 Mobile/15E148 Safari/604.1",
            false,
        ),
        (
            "iPad; CPU OS 15_2 like Mac OS X",
            "CriOS/100.0.4896.56 Mobile/15E148 Safari/604.1",
            false,
        ),
        (
            "iPhone; CPU iPhone OS 15_0 like Mac OS X",
            "FxiOS/38.0 Mobile/15E148 Safari/605.1.15",
            false,
        ),
        ("iPhone; CPU iPhone OS 15_0 like Mac OS X", "Mobile/15E148", false),
        ("Macintosh; Intel Mac OS X 10_15_7", "Version/14.1.2 Safari/605.1.15", true),
        ("Macintosh; Intel Mac OS X 10_15_7", "Version/16.0 Safari/605.1.15", true),
        (
            "iPhone; CPU iPhone OS 16_0 like Mac OS X",
            "Version/16.0 Mobile/15E148 Safari/604.1",
            true,
        ),
        ("iPhone; CPU iPhone OS 15_8 like Mac OS X", "", false),
        ("Macintosh; Intel Mac OS X 10_15_7", "Chrome/150.0.0.0 Safari/537.36", true),
        // Any app on Android may name itself so in front of Chromium's own version.
        ("Linux; Android 15", "Version/15.0 Chrome/130.0.0.0 Mobile Safari/537.36", true),
        ("X11; Linux x86_64", "Version/150.0 Safari/605.1.15", true),
    ] {
        let agent = format!("Mozilla/5.0 ({system}) {WEBKIT} {rest}");
        let mut headers = good();
        headers.append(header::SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static(deflate::OFFER));
        headers.append(header::USER_AGENT, HeaderValue::from_str(&agent).unwrap());
        assert_eq!(checked(&headers).map(|it| it.deflate), Ok(want), "{agent}");
    }
    let plain = "Mozilla/5.0 (X11) Version/15.0 Safari/1";
    let mut headers = good();
    headers.append(header::USER_AGENT, HeaderValue::from_static(plain));
    headers.append(header::SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static(";"));
    assert_eq!(checked(&headers), Err(Refusal::BadExtensions), "whoever sends it");
}

proptest! {
    #[test]
    fn any_list_of_extensions_is_read_or_refused(line in "[ ,;=\"a-d\\\\]{0,30}", tail: String) {
        for line in [&line, &format!("permessage-deflate{line}"), &tail] {
            if let Ok(value) = HeaderValue::from_bytes(line.as_bytes()) {
                let mut headers = good();
                headers.append(header::SEC_WEBSOCKET_EXTENSIONS, value);
                let _ = checked(&headers);
            }
        }
    }
}
