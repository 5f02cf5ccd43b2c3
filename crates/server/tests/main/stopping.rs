//! The end of a server.

use std::io::Read;
use std::net::TcpStream;

use serde_json::json;

use crate::support::{Running, T5, chat};

#[test]
fn what_runs_is_finished_and_nobody_else_is_taken() {
    let mut server = Running::new(T5, |_| {});
    let mut body = chat("what is it?");
    body["max_tokens"] = json!(800);
    body["stream"] = json!(true);
    let mut running = server.begin("POST", "/v1/chat/completions", &[], body.to_string().as_bytes());
    server.wait_for("blip2_rows", 1.0);
    server.stop();
    let mut told = String::new();
    running.read_to_string(&mut told).unwrap();
    assert!(told.contains("[DONE]"), "{told}");
    server.join();
    assert!(TcpStream::connect(server.address).is_err());
}
