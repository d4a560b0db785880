//! Sessions against a client of rustls without sockets, and pairs in files.

use std::io::{Read as _, Write as _};
use std::path::Path;

use rcgen::{CertificateParams, CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, version};
use tempfile::TempDir;

use super::session::RECORD;
use super::*;

/// A pair of files for `localhost`, and what a client trusts.
struct Certificate {
    folder: TempDir,
    roots: RootCertStore,
}

impl Certificate {
    fn new() -> Self {
        let certificate = Self { folder: TempDir::new().unwrap(), roots: RootCertStore::empty() };
        certificate.renew()
    }

    /// Other files at the same place.
    fn renew(mut self) -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        self.roots.add(CertificateDer::from(cert.der().to_vec())).unwrap();
        self.write("tls.crt", &cert.pem());
        self.write("tls.key", &signing_key.serialize_pem());
        self
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }

    fn files(&self) -> ListenerTls {
        let file = |name: &str| self.folder.path().join(name);
        ListenerTls { cert_file: file("tls.crt"), key_file: file("tls.key") }
    }

    fn tls(&self) -> Tls {
        Tls::new(Some(&self.files()), &Registry::new()).unwrap().unwrap()
    }

    fn client(&self, versions: &[&'static rustls::SupportedProtocolVersion]) -> ClientConnection {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap()
    }
}

/// Gives each side what the other has written, in pieces, until nobody has anything; returns what the server heard.
fn exchange(
    client: &mut ClientConnection,
    session: &mut Session,
    piece: usize,
) -> Result<Vec<u8>, Broken> {
    let mut plain = Vec::new();
    loop {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        let idle = bytes.is_empty() && session.waiting() == 0;
        for piece in bytes.chunks_mut(piece) {
            session.receive(piece, &mut plain)?;
        }
        let mut unsent = session.unsent().to_vec();
        session.sent(unsent.len());
        let mut rest = unsent.as_mut_slice() as &[u8];
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets().unwrap();
        }
        if idle {
            return Ok(plain);
        }
    }
}

/// Everything that a client has decrypted.
fn heard(client: &mut ClientConnection) -> Vec<u8> {
    let mut bytes = Vec::new();
    // It blocks when there is no more.
    let _end = client.reader().read_to_end(&mut bytes);
    bytes
}

/// A client and a session that have shaken hands.
fn connected(
    version: &'static rustls::SupportedProtocolVersion,
) -> (ClientConnection, Box<Session>) {
    let certificate = Certificate::new();
    let mut client = certificate.client(&[version]);
    let mut session = certificate.tls().session().unwrap();
    exchange(&mut client, &mut session, 4_096).unwrap();
    assert!(!client.is_handshaking() && !session.is_handshaking());
    (client, session)
}

const VERSIONS: [&rustls::SupportedProtocolVersion; 2] = [&version::TLS12, &version::TLS13];

#[test]
fn bytes_arrive_whole_in_both_directions_however_they_are_cut_and_an_idle_session_holds_none() {
    for version in VERSIONS {
        for piece in [1, 7, 4_096, 1 << 20] {
            let (mut client, mut session) = connected(version);
            let text: Vec<u8> = (0..50_000_u32).map(|n| n as u8).collect();
            client.writer().write_all(&text[..40_000]).unwrap();
            assert!(exchange(&mut client, &mut session, piece).unwrap() == text[..40_000]);
            let mut all = Vec::new();
            while all.len() < text.len() {
                let count = session.encrypt(&text[all.len()..]).unwrap();
                assert!((1..=RECORD).contains(&count));
                exchange(&mut client, &mut session, piece).unwrap();
                all.extend(heard(&mut client));
            }
            assert!(all == text);
            let (incoming, outgoing) = session.memory();
            assert_eq!((incoming, outgoing), (0, 0));
        }
    }
}

#[test]
fn what_a_socket_does_not_take_waits_encrypted_and_is_never_encrypted_again() {
    /// Takes so many bytes in all.
    struct Narrow(usize, Vec<u8>);
    impl std::io::Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let count = bytes.len().min(self.0);
            self.0 -= count;
            self.1.extend_from_slice(&bytes[..count]);
            if count == 0 { Err(std::io::ErrorKind::WouldBlock.into()) } else { Ok(count) }
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let (mut client, mut session) = connected(&version::TLS13);
    let text = vec![b'x'; 3 * RECORD];
    let mut socket = Narrow(100, Vec::new());
    let taken = session.over(&mut socket).write(&text).unwrap();
    assert_eq!(taken, RECORD, "one record and no more");
    assert_eq!(session.waiting() + 100, RECORD + 22);
    let blocked = session.over(&mut socket).write(&text[taken..]).unwrap_err();
    assert_eq!(blocked.kind(), std::io::ErrorKind::WouldBlock);
    socket.0 = usize::MAX;
    let rest = session.over(&mut socket).write(&text[taken..]).unwrap();
    assert_eq!((taken + rest, session.waiting()), (text.len(), 0));
    let mut sent = socket.1.as_slice();
    let mut all = Vec::new();
    while !sent.is_empty() {
        client.read_tls(&mut sent).unwrap();
        client.process_new_packets().unwrap();
        all.extend(heard(&mut client));
    }
    assert!(all == text);
}

#[test]
fn frames_of_one_vectored_write_share_a_record() {
    let (mut client, mut session) = connected(&version::TLS13);
    let mut out = Vec::new();
    let slices = [b"one".as_slice(), b"", b"two"].map(std::io::IoSlice::new);
    assert_eq!(session.over(&mut out).write_vectored(&slices).unwrap(), 6);
    assert_eq!(out.len(), 6 + 22);
    client.read_tls(&mut out.as_slice()).unwrap();
    client.process_new_packets().unwrap();
    assert_eq!(heard(&mut client), b"onetwo");
}

#[test]
fn keys_that_change_lose_nothing_and_a_flood_of_changes_ends_the_session() {
    let (mut client, mut session) = connected(&version::TLS13);
    for _ in 0..10 {
        client.refresh_traffic_keys().unwrap();
        client.writer().write_all(b"after").unwrap();
        assert_eq!(exchange(&mut client, &mut session, 5).unwrap(), b"after");
        session.encrypt(b"answer").unwrap();
        exchange(&mut client, &mut session, 5).unwrap();
        assert_eq!(heard(&mut client), b"answer");
    }
    let flooded = (0..100).find_map(|_| {
        client.refresh_traffic_keys().unwrap();
        exchange(&mut client, &mut session, 4_096).err()
    });
    assert_eq!(flooded, Some(Broken));
}

#[test]
fn a_write_in_the_middle_of_a_record_of_the_client_disturbs_neither() {
    let (mut client, mut session) = connected(&version::TLS13);
    client.writer().write_all(&[b'y'; 1_000]).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    let (begin, end) = bytes.split_at_mut(500);
    let mut plain = Vec::new();
    session.receive(begin, &mut plain).unwrap();
    assert_eq!((plain.len(), session.partial()), (0, 500));
    session.encrypt(b"meanwhile").unwrap();
    session.receive(end, &mut plain).unwrap();
    assert_eq!((plain.len(), session.partial()), (1_000, 0));
    exchange(&mut client, &mut session, 4_096).unwrap();
    assert_eq!(heard(&mut client), b"meanwhile");
}

#[test]
fn garbage_and_records_that_never_end_are_bounded() {
    let tls = Certificate::new().tls();
    let mut session = tls.session().unwrap();
    let mut garbage = b"\x16\x03\x01\xff\xff".to_vec();
    garbage.resize(100_000, 0);
    assert_eq!(session.receive(&mut garbage, &mut Vec::new()), Err(Broken));
    // A ClientHello that claims to be large, in records of one byte each.
    let mut session = tls.session().unwrap();
    let mut ended = false;
    let mut hello = vec![1, 0, 0xff, 0xff];
    hello.resize(60_000, 0);
    for byte in hello {
        let mut record = [22, 3, 1, 0, 1, byte];
        if session.receive(&mut record, &mut Vec::new()).is_err() {
            ended = true;
            break;
        }
        assert!(session.memory().0 < 64 << 10, "{:?}", session.memory());
    }
    assert!(ended);
}

#[test]
fn an_end_is_said_once_and_heard() {
    for version in VERSIONS {
        let (mut client, mut session) = connected(version);
        session.close();
        session.close();
        exchange(&mut client, &mut session, 4_096).unwrap();
        assert!(client.process_new_packets().unwrap().peer_has_closed());
        let (mut client, mut session) = connected(version);
        client.send_close_notify();
        exchange(&mut client, &mut session, 4_096).unwrap();
        assert!(session.has_ended());
        // It may still be told something.
        session.encrypt(b"bye").unwrap();
        exchange(&mut client, &mut session, 4_096).unwrap();
        assert_eq!(heard(&mut client), b"bye");
    }
}

fn outcome(tls: &Tls) -> (Option<String>, i64) {
    // A change counts when it is seen twice.
    tls.poll();
    tls.poll();
    let status = tls.status();
    (status.problem, status.not_after)
}

#[test]
fn a_new_pair_is_taken_up_and_a_bad_one_is_refused_while_the_last_good_one_stays() {
    let certificate = Certificate::new();
    let tls = certificate.tls();
    let shakes = |certificate: &Certificate, tls: &Tls| {
        let mut client = certificate.client(&VERSIONS);
        exchange(&mut client, &mut tls.session().unwrap(), 4_096).unwrap();
        !client.is_handshaking()
    };
    assert!(shakes(&certificate, &tls));
    assert_eq!(outcome(&tls).0, None);
    let certificate = certificate.renew();
    assert_eq!(outcome(&tls).0, None);
    assert!(shakes(&certificate, &tls));
    let good = std::fs::read_to_string(certificate.files().cert_file).unwrap();
    let expired = expired(&certificate);
    let others = Certificate::new();
    let other = std::fs::read_to_string(others.files().cert_file).unwrap();
    for (text, why) in [
        (other.as_str(), "do not belong together"),
        ("", "holds no certificates"),
        (
            "-----BEGIN CERTIFICATE-----\nhidden\n-----END CERTIFICATE-----\n",
            "holds no certificates",
        ),
        (expired.as_str(), "has expired"),
    ] {
        certificate.write("tls.crt", text);
        let problem = outcome(&tls).0.unwrap();
        assert!(problem.contains(why) && !problem.contains("hidden"), "{problem}");
        assert!(shakes(&certificate, &tls), "the last good pair stays");
        assert!(tls.warnings().iter().any(|warning| warning.contains(why)));
    }
    certificate.write("tls.crt", &good);
    assert_eq!(outcome(&tls).0, None);
}

/// A certificate for the key of another one.
fn expired(certificate: &Certificate) -> String {
    let key = std::fs::read_to_string(certificate.files().key_file).unwrap();
    let mut parameters = CertificateParams::new(["localhost".to_owned()]).unwrap();
    parameters.not_before = rcgen::date_time_ymd(2020, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(2020, 2, 1);
    parameters.self_signed(&KeyPair::from_pem(&key).unwrap()).unwrap().pem()
}

#[test]
fn one_file_of_a_new_pair_is_waited_for_while_the_other_is_being_written() {
    let certificate = Certificate::new();
    let tls = certificate.tls();
    certificate.write("tls.crt", "half");
    tls.poll();
    let _renewed = certificate.renew();
    tls.poll();
    tls.poll();
    assert_eq!(tls.status().problem, None);
}

#[test]
fn a_gateway_does_not_start_without_a_pair_and_says_what_is_wrong_and_nothing_of_the_key() {
    let certificate = Certificate::new();
    let start = |files: &ListenerTls| {
        Tls::new(Some(files), &Registry::new()).map(drop).unwrap_err().to_string()
    };
    certificate.write("tls.key", "hidden");
    let error = start(&certificate.files());
    assert!(error.starts_with("listener.tls: keyFile "), "{error}");
    assert!(error.contains("holds no private key") && !error.contains("hidden"), "{error}");
    let missing = ListenerTls { cert_file: Path::new("/nowhere").into(), ..certificate.files() };
    let error = start(&missing);
    assert!(error.starts_with("listener.tls: certFile /nowhere: "), "{error}");
}

#[test]
fn a_session_is_small() {
    // Of the heap are the keys: about as much again.
    assert!(size_of::<Session>() <= 2_048, "{} bytes", size_of::<Session>());
}
