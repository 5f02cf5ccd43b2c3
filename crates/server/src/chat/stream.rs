//! Answers piece by piece, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::response::sse::{Event, KeepAlive, KeepAliveStream, Sse};
use serde::Serialize;
use tokio::sync::mpsc::{Sender, channel};
use tokio_stream::wrappers::ReceiverStream;

use super::reply::{Choice, Reply, Spoken};
use crate::answer::{Answer, Said};
use crate::error::Refusal;

/// Events that may wait for a client that reads slowly, before its texts wait for it.
const AHEAD: usize = 64;

type Events = Sender<Result<Event, Infallible>>;
type Told = Sse<KeepAliveStream<ReceiverStream<Result<Event, Infallible>>>>;

/// A client that is gone.
struct Gone;

/// The events of `answers`; what was read and written comes last where `counted`.
///
/// # Errors
/// [`Refusal`] where nothing can be written.
pub(super) async fn streamed(reply: Reply, mut answers: Vec<Answer>, counted: bool) -> Result<Told, Refusal> {
    // What is refused is refused before anything is sent.
    let mut firsts = Vec::with_capacity(answers.len());
    for answer in &mut answers {
        firsts.push(answer.next().await?);
    }
    let (events, stream) = channel(AHEAD);
    let reply = Arc::new(reply);
    let written = Arc::new(AtomicUsize::new(0));
    let copies = reply.count / answers.len().max(1);
    let telling: Vec<_> = answers
        .into_iter()
        .zip(firsts)
        .enumerate()
        .map(|(number, (answer, first))| {
            let indices = number * copies..(number + 1) * copies;
            let (reply, events, written) = (reply.clone(), events.clone(), written.clone());
            tokio::spawn(async move {
                let mut teller = Teller {
                    reply: &reply,
                    events: &events,
                    indices: indices.collect(),
                };
                teller.tell(answer, first, &written).await
            })
        })
        .collect();
    tokio::spawn(async move {
        for told in telling {
            if !matches!(told.await, Ok(Ok(()))) {
                return;
            }
        }
        if counted {
            let usage = reply.usage(written.load(Ordering::Relaxed));
            if send(&events, &reply.chunk(Vec::new(), Some(usage)))
                .await
                .is_err()
            {
                return;
            }
        }
        let _ = events.send(Ok(Event::default().data("[DONE]"))).await;
    });
    Ok(Sse::new(ReceiverStream::new(stream)).keep_alive(KeepAlive::default()))
}

async fn send(events: &Events, data: &impl Serialize) -> Result<(), Gone> {
    let text = serde_json::to_string(data).map_err(|_| Gone)?;
    events
        .send(Ok(Event::default().data(text)))
        .await
        .map_err(|_| Gone)
}

/// Tells one answer, in as many choices as have it.
struct Teller<'a> {
    reply: &'a Reply,
    events: &'a Events,
    indices: Vec<usize>,
}

impl Teller<'_> {
    async fn tell(
        &mut self,
        mut answer: Answer,
        first: Option<Said>,
        written: &AtomicUsize,
    ) -> Result<(), Gone> {
        let role = Spoken {
            role: Some("assistant"),
            content: Some(String::new()),
        };
        self.choices(|_| Ok((role.clone(), None)), None).await?;
        let mut next: Result<_, Refusal> = Ok(first);
        loop {
            let said = match next {
                Ok(Some(said)) => said,
                Ok(None) => break,
                Err(refusal) => {
                    send(self.events, &refusal.body()).await?;
                    return Err(Gone);
                }
            };
            if !(said.text.is_empty() && said.tokens.is_empty()) {
                let piece = |reply: &Reply| {
                    let spoken = Spoken {
                        role: None,
                        content: Some(said.text.clone()),
                    };
                    Ok((spoken, reply.logprobs(&said)?))
                };
                self.choices(piece, None).await?;
            }
            next = tokio::select! {
                next = answer.next() => next,
                // A word is told when it is whole: until then nothing else says that nobody listens.
                () = self.events.closed() => return Err(Gone),
            };
        }
        written.fetch_add(answer.tokens(), Ordering::Relaxed);
        self.choices(|_| Ok((Spoken::default(), None)), Some(&answer))
            .await
    }

    /// The same piece of each choice; the last where `over` is given.
    async fn choices(
        &self,
        piece: impl Fn(&Reply) -> Result<(Spoken, Option<super::reply::Logprobs>), Refusal>,
        over: Option<&Answer>,
    ) -> Result<(), Gone> {
        for index in &self.indices {
            let (delta, logprobs) = piece(self.reply).map_err(|_| Gone)?;
            let choice = Choice {
                index: *index,
                message: None,
                delta: Some(delta),
                logprobs,
                finish_reason: over.and_then(Answer::finish),
                filtered: over.and_then(Answer::finding).cloned(),
            };
            send(self.events, &self.reply.chunk(vec![choice], None)).await?;
        }
        Ok(())
    }
}
