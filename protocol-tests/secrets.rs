//! What is secret reaches no log, at any level and in either form (pitfalls, part 2, row 56): the real binary at its
//! most talkative, and secrets in its configuration, in configs that are changed, in what a client authenticates with,
//! and in records.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods
)]

mod socket;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use barnabas::records::build::{BatchBuilder, BatchOptions};
use barnabas::wire::messages::create_delegation_token::CreateDelegationTokenRequest;
use barnabas::wire::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};
use barnabas::wire::messages::renew_delegation_token::{
    RenewDelegationTokenRequest, RenewDelegationTokenResponse,
};
use barnabas::wire::messages::sasl_handshake::{SaslHandshakeRequest, SaslHandshakeResponse};
use barnabas::wire::{ApiKey, Text};
use bytes::Bytes;
use socket::Client;

const SECRET: &str = "swordfish";
const TOPIC: i8 = 2;
const BROKER: i8 = 4;

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The log of a broker that was told secrets wherever it takes any.
fn log_of_one_who_knows(format: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("server.properties");
    let data = folder.path().join("data");
    let text = format!(
        "listeners=PLAINTEXT://127.0.0.1:0\nlog.dirs={}\npassword.encoder.secret={SECRET}\nunknown.secret={SECRET}\n",
        data.display()
    );
    std::fs::write(&file, text).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_barnabas"))
        .args(["serve", "--log", "trace", "--log-format", format, "--config"])
        .arg(&file)
        .args(["--set", &format!("another.unknown.password={SECRET}")])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut process = Process(child);
    let mut errors = process.0.stderr.take().unwrap();
    // Read all along, so that the pipe never fills.
    let log = std::thread::spawn(move || {
        let mut log = Vec::new();
        errors.read_to_end(&mut log).unwrap();
        String::from_utf8_lossy(&log).into_owned()
    });
    let mut line = String::new();
    BufReader::new(process.0.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let address = line.trim().rsplit("//").next().unwrap();
    let client = || Client::over(TcpStream::connect(address).unwrap());

    // Why a connection is closed is told to who wants to know all.
    let mut closed = TcpStream::connect(address).unwrap();
    closed.write_all(&(-5_i32).to_be_bytes()).unwrap();
    let _ = closed.read_to_end(&mut Vec::new());

    // In configs: of a topic that is created, of a topic and of a broker that are changed, known and unknown.
    assert_ne!(client().create_topic("bad", 1, &[("their.password", SECRET)]), 0);
    assert_eq!(client().create_topic("t", 1, &[]), 0);
    for (resource_type, resource_name, name) in [
        (TOPIC, "t", "their.password"),
        (BROKER, "", "their.password"),
        (BROKER, "0", "listener.name.plaintext.ssl.key.password"),
        (BROKER, "0", "ssl.keystore.password"),
    ] {
        let request = IncrementalAlterConfigsRequest {
            resources: vec![AlterConfigsResource {
                resource_type,
                resource_name: Text::copy(resource_name),
                configs: vec![AlterableConfig {
                    name: Text::copy(name),
                    config_operation: 0,
                    value: Some(Text::copy(SECRET)),
                }],
            }],
            validate_only: false,
        };
        let answer: IncrementalAlterConfigsResponse = client().ask(&request, 1);
        assert_eq!(answer.responses.len(), 1);
    }
    // In what a client authenticates with, though nobody asked for it, and in a delegation token.
    let mut authenticating = client();
    let handshake = SaslHandshakeRequest {
        mechanism: Text::copy("PLAIN"),
    };
    let _: SaslHandshakeResponse = authenticating.ask(&handshake, 1);
    authenticating.send_body(
        ApiKey::SaslAuthenticate,
        1,
        format!("\0user\0{SECRET}").as_bytes(),
    );
    authenticating.assert_closed("there is no SASL");
    let mut raw = client();
    let plain = format!("\0user\0{SECRET}");
    raw.send_raw(&[&(plain.len() as u32).to_be_bytes()[..], plain.as_bytes()].concat());
    raw.assert_closed("it is no request");
    let renewal = RenewDelegationTokenRequest {
        hmac: Bytes::from_static(SECRET.as_bytes()),
        renew_period_ms: 1,
    };
    let _: RenewDelegationTokenResponse = client().ask(&renewal, 1);
    let _ = client().send(&CreateDelegationTokenRequest::default(), 1);
    // In a record, and in a batch that is refused.
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder
        .append(0, Some(SECRET.as_bytes()), Some(SECRET.as_bytes()), &[])
        .unwrap();
    let batch = builder.build().unwrap().1;
    assert_eq!(client().produce("t", 0, batch.clone(), 9).error_code, 0);
    let mut damaged = batch.to_vec();
    damaged[17] ^= 1;
    assert_ne!(client().produce("t", 0, damaged.into(), 9).error_code, 0);
    assert!(client().fetch("t", 0).records.is_some());

    drop(process);
    log.join().unwrap()
}

// row 56
#[test]
fn secrets_reach_no_log() {
    for format in ["text", "json"] {
        let log = log_of_one_who_knows(format);
        assert!(log.lines().count() > 5, "it says something: {log}");
        assert!(log.contains("DEBUG") || log.contains("TRACE"), "all of it: {log}");
        for line in log.lines() {
            assert!(!line.contains(SECRET), "{line}");
            // As a list of bytes, as Debug shows them.
            assert!(!line.contains("115, 119, 111, 114, 100"), "{line}");
        }
    }
}
