//! One thread that writes all texts, in one session: requests join it as there is room, and leave it when they are written, too
//! late, or nobody listens any longer.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use blip2::{Blip2, Blip2Error, Event, Generated, GenerationError, Request, RowId, Session, Token};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::error::Refusal;

/// A step that reads all weights costs a few rows as much as many: it waits this long, since the one before, for pictures that are
/// being encoded and whose texts could share it.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often it looks whether they are still being encoded.
const GLANCE: Duration = Duration::from_millis(5);

/// What becomes of a request.
pub(crate) enum Heard {
    /// A token of its text; of the first, where there are several.
    Token(Token),
    /// Its texts.
    Done(Vec<Generated>),
    /// Why there are none.
    Failed(Refusal),
}

struct Job {
    request: Request,
    deadline: Instant,
    listener: UnboundedSender<Heard>,
}

/// What the engine does now.
#[derive(Default)]
pub(crate) struct Load {
    /// Rows of the model in use.
    pub(crate) rows: AtomicUsize,
    /// Requests that wait for room.
    pub(crate) waiting: AtomicUsize,
    /// Pictures that are being encoded for texts.
    expected: AtomicUsize,
    /// Tokens of prompts read and of texts written.
    pub(crate) read: AtomicUsize,
    pub(crate) written: AtomicUsize,
    /// Whether it runs.
    pub(crate) runs: AtomicBool,
}

/// A picture that is being encoded, until it is dropped.
pub(crate) struct Expected(Arc<Load>);

impl Drop for Expected {
    fn drop(&mut self) {
        self.0.expected.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The way to the thread.
pub(crate) struct Engine {
    jobs: RwLock<Option<Sender<Job>>>,
    load: Arc<Load>,
}

impl Engine {
    /// Starts it over `model`, with up to `rows` at a time and `remembered` bytes of beginnings. It ends once [`Engine::close`] was
    /// called and all is written.
    pub(crate) fn start(model: Arc<Blip2>, rows: usize, remembered: usize) -> (Self, JoinHandle<()>) {
        let (jobs, queue) = channel();
        let load = Arc::new(Load::default());
        load.runs.store(true, Ordering::Relaxed);
        let engine = Self {
            jobs: RwLock::new(Some(jobs)),
            load: load.clone(),
        };
        let thread = thread::spawn(move || {
            // Also where it panics.
            let _ends = Ends(load.clone());
            match model.session(remembered) {
                Ok(session) => Writer::new(session, rows, &load).run(&queue),
                // Without a language model nothing gets here.
                Err(error) => tracing::debug!("no texts are written: {error}"),
            }
        });
        (engine, thread)
    }

    /// Lets `request` join; what becomes of it is heard from what is returned, and it is given up when that is dropped.
    pub(crate) fn write(
        &self,
        request: Request,
        deadline: Instant,
    ) -> Result<UnboundedReceiver<Heard>, Refusal> {
        let (listener, heard) = unbounded_channel();
        let jobs = self.jobs.read().unwrap_or_else(PoisonError::into_inner);
        let job = Job {
            request,
            deadline,
            listener,
        };
        let sent = jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok());
        match sent {
            true => Ok(heard),
            false => Err(Refusal::ours()),
        }
    }

    /// Says that a picture is being encoded, about which a text is to be written then.
    pub(crate) fn expect(&self) -> Expected {
        self.load.expected.fetch_add(1, Ordering::Relaxed);
        Expected(self.load.clone())
    }

    pub(crate) fn load(&self) -> &Load {
        &self.load
    }

    /// Takes no more requests.
    pub(crate) fn close(&self) {
        self.jobs.write().unwrap_or_else(PoisonError::into_inner).take();
    }
}

struct Ends(Arc<Load>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.runs.store(false, Ordering::Relaxed);
    }
}

/// The thread's own.
struct Writer<'a> {
    session: Session<'a>,
    /// Rows at a time.
    most: usize,
    load: &'a Load,
    waiting: VecDeque<Job>,
    writing: HashMap<RowId, Listener>,
    /// When the last step was over.
    stepped: Instant,
}

struct Listener {
    deadline: Instant,
    heard: UnboundedSender<Heard>,
    /// Rows that it takes at most: beams begin as one.
    rows: usize,
}

impl<'a> Writer<'a> {
    fn new(session: Session<'a>, most: usize, load: &'a Load) -> Self {
        Self {
            session,
            most,
            load,
            waiting: VecDeque::new(),
            writing: HashMap::new(),
            stepped: Instant::now(),
        }
    }

    /// Until the queue is closed and all is written.
    fn run(mut self, queue: &Receiver<Job>) {
        while self.collect(queue) {
            self.let_go();
            self.admit();
            if self.gives_way(queue) {
                continue;
            }
            self.step();
            self.stepped = Instant::now();
            self.load.rows.store(self.session.rows(), Ordering::Relaxed);
            self.load.waiting.store(self.waiting.len(), Ordering::Relaxed);
        }
    }

    /// Takes what is in the queue, and waits for something where nothing else is to be done. False at the end.
    fn collect(&mut self, queue: &Receiver<Job>) -> bool {
        if self.waiting.is_empty() && self.writing.is_empty() {
            match queue.recv() {
                Ok(job) => self.waiting.push_back(job),
                Err(_) => return false,
            }
        }
        loop {
            match queue.try_recv() {
                Ok(job) => self.waiting.push_back(job),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return true,
            }
        }
    }

    /// Gives up what nobody listens to, and what takes too long.
    fn let_go(&mut self) {
        let now = Instant::now();
        let goes_on = |deadline: Instant, heard: &UnboundedSender<Heard>| {
            if deadline <= now {
                // Who is gone need not hear it.
                let _ = heard.send(Heard::Failed(Refusal::too_slow()));
            }
            deadline > now && !heard.is_closed()
        };
        self.waiting.retain(|job| goes_on(job.deadline, &job.listener));
        let over: Vec<RowId> = self
            .writing
            .iter()
            .filter(|(_, listener)| !goes_on(listener.deadline, &listener.heard))
            .map(|(row, _)| *row)
            .collect();
        for row in over {
            self.writing.remove(&row);
            if let Err(error) = self.session.retire(row) {
                self.fail(&error);
            }
        }
    }

    /// Lets in who waits, the first first, as long as there is room.
    fn admit(&mut self) {
        while let Some(job) = self.waiting.pop_front() {
            let settings = &job.request.settings;
            let rows = settings.num_beams.max(settings.num_return_sequences);
            let taken = self.taken();
            if taken > 0 && taken + rows > self.most {
                self.waiting.push_front(job);
                return;
            }
            let places: usize = job.request.prompt.iter().map(blip2::Segment::places).sum();
            match self.session.admit(job.request) {
                Ok(row) => {
                    self.load.read.fetch_add(places, Ordering::Relaxed);
                    let listener = Listener {
                        deadline: job.deadline,
                        heard: job.listener,
                        rows,
                    };
                    self.writing.insert(row, listener);
                }
                Err(error) => {
                    let _ = job.listener.send(Heard::Failed(error.into()));
                }
            }
        }
    }

    /// Rows that all that is being written may take.
    fn taken(&self) -> usize {
        self.writing.values().map(|listener| listener.rows).sum()
    }

    /// Waits a moment where others could soon share the next step.
    fn gives_way(&mut self, queue: &Receiver<Job>) -> bool {
        let others = self.load.expected.load(Ordering::Relaxed) > 0 && self.taken() < self.most;
        if !others || self.stepped.elapsed() >= PATIENCE {
            return false;
        }
        match queue.recv_timeout(GLANCE) {
            Ok(job) => self.waiting.push_back(job),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return false,
        }
        true
    }

    fn step(&mut self) {
        let (writing, load) = (&mut self.writing, self.load);
        let mut hear = |event| match event {
            Event::Token { row, text, token } => {
                load.written.fetch_add(1, Ordering::Relaxed);
                if let Some(listener) = writing.get(&row).filter(|_| text == 0) {
                    let _ = listener.heard.send(Heard::Token(token));
                }
            }
            Event::Done { row, texts } => {
                if let Some(listener) = writing.remove(&row) {
                    let heard = texts.map_or_else(|error| Heard::Failed(error.into()), Heard::Done);
                    let _ = listener.heard.send(heard);
                }
            }
        };
        if let Err(error) = self.session.step(&mut hear) {
            self.fail(&error);
        }
    }

    /// The model failed: everything that was being written is lost.
    fn fail(&mut self, error: &GenerationError) {
        tracing::error!("texts are lost: {error}");
        for (_, listener) in self.writing.drain() {
            let _ = listener.heard.send(Heard::Failed(Refusal::ours()));
        }
    }
}

/// Whether `model` can write at all; loads its language model.
pub(crate) fn can_write(model: &Blip2) -> Result<(), Blip2Error> {
    model.session(0).map(drop)
}

#[cfg(test)]
mod tests {
    use blip2::{GenerationConfig, Piece};
    use blip2_golden::{device, fixture};

    use super::*;

    #[test]
    fn a_step_waits_for_pictures_but_not_for_ever() {
        let nowhere = "no home is needed".as_ref();
        let model = Arc::new(Blip2::from_pretrained(&fixture("hf/opt-tiny"), nowhere, &device()).unwrap());
        let settings = GenerationConfig {
            max_new_tokens: 1,
            ..GenerationConfig::default()
        };
        let pieces = [Piece::Text("a dog".to_owned())];
        let request = model.request(&pieces, "", &settings, 0, None).unwrap();
        let began = Instant::now();
        let (engine, thread) = Engine::start(model, 2, 0);
        let expected = engine.expect();
        let deadline = began + Duration::from_secs(3600);
        let mut heard = engine.write(request, deadline).unwrap();
        assert!(matches!(heard.blocking_recv(), Some(Heard::Token(_))));
        assert!(began.elapsed() >= PATIENCE, "the step was not put off");
        drop(expected);
        engine.close();
        thread.join().unwrap();
    }
}
