//! Clients that ask `blip2-server` at the same time, by the model of the size of blip2-opt-2.7b.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use blip2::Blip2;
use blip2_server::{Server, ServerOptions};
use burn::tensor::Device;
use rayon::Yield;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::captions::home;
use crate::frozen::Weights;
use crate::workload::Workload;

/// How the model is asked.
#[derive(Deserialize)]
pub(crate) struct Serve {
    /// That ask at the same time, each once it has its answer again.
    clients: usize,
    /// Of all clients.
    answers: usize,
    /// Of each answer, no fewer and no more.
    tokens: usize,
    #[serde(rename = "precision")]
    weights: Weights,
}

/// How long a thread of the kernels' pool sleeps where it has nothing to do.
const NAP: Duration = Duration::from_micros(100);

impl Serve {
    pub(crate) fn open(self, device: &Device) -> Result<Workload> {
        ensure!(
            self.answers.is_multiple_of(self.clients),
            "{} answers cannot be shared among {} clients",
            self.answers,
            self.clients
        );
        let home = home()?.join("peer");
        let folder = home.join("blip2-opt-2.7b-random");
        let model = Blip2::from_pretrained(&folder, &home, self.weights.plan(device))?;
        let picture = home.join("picture.jpg");
        let picture =
            std::fs::read(&picture).with_context(|| format!("cannot read {}", picture.display()))?;
        let request = json!({"model": "bench", "max_tokens": self.tokens, "messages": [{"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": format!("data:image/jpeg;base64,{}", STANDARD.encode(picture))}},
            {"type": "text", "text": "what is in the picture?"},
        ]}]})
        .to_string();
        let runtime = Runtime::new()?;
        // All ask about the same picture, and it is encoded for each: nothing is kept.
        let options = ServerOptions {
            port: 0,
            remembered: 0,
            pictures: 0,
            ..ServerOptions::named("bench")
        };
        let server = runtime.block_on(Server::bind(Arc::new(model), options))?;
        let address = server.address();
        runtime.spawn(server.run(std::future::pending()));
        let run = move || {
            // Has ended with the workload.
            let _serving = &runtime;
            thread::scope(|scope| {
                let clients: Vec<_> = (0..self.clients)
                    .map(|_| scope.spawn(|| self.ask(address, &request)))
                    .collect();
                // This thread is one of those that kernels share their work in: it takes its part while it waits.
                while clients.iter().any(|client| !client.is_finished()) {
                    if rayon::yield_now() != Some(Yield::Executed) {
                        thread::sleep(NAP);
                    }
                }
                clients
                    .into_iter()
                    .try_for_each(|client| client.join().map_err(|_| anyhow!("a client panicked"))?)
            })
        };
        Ok(Workload {
            phases: Vec::new(),
            run: Box::new(run),
        })
    }

    /// What one client does.
    fn ask(&self, address: SocketAddr, request: &str) -> Result<()> {
        for _ in 0..self.answers / self.clients {
            let answer = post(address, request)?;
            let written = &answer["usage"]["completion_tokens"];
            ensure!(
                *written == self.tokens,
                "{} tokens were to be written: {answer}",
                self.tokens
            );
        }
        Ok(())
    }
}

/// The answer to one request on a connection of its own, as HTTP 1.0 has it: in one piece.
fn post(address: SocketAddr, body: &str) -> Result<Value> {
    let mut stream = TcpStream::connect(address)?;
    write!(
        stream,
        "POST /v1/chat/completions HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, body) = answer
        .split_once("\r\n\r\n")
        .with_context(|| format!("no answer: {answer}"))?;
    serde_json::from_str(body).with_context(|| format!("the server answers {answer}"))
}
