//! Figures for Prometheus.

use std::sync::atomic::Ordering;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::state::State;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Outcome {
    route: String,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Route {
    route: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Found {
    place: &'static str,
    category: String,
}

type Times = Family<Route, Histogram, fn() -> Histogram>;

pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Outcome, Counter>,
    seconds: Times,
    found: Family<Found, Counter>,
    given_up: Family<Route, Counter>,
    serving: Gauge,
    rows: Gauge,
    waiting: Gauge,
    pictures: Gauge,
    read: Gauge,
    written: Gauge,
}

/// From 10 ms to 5 minutes.
fn times() -> Histogram {
    Histogram::new(exponential_buckets(0.01, 2.0, 16))
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let this = Self {
            registry: Registry::with_prefix("blip2"),
            requests: Family::default(),
            seconds: Family::new_with_constructor(times),
            found: Family::default(),
            given_up: Family::default(),
            serving: Gauge::default(),
            rows: Gauge::default(),
            waiting: Gauge::default(),
            pictures: Gauge::default(),
            read: Gauge::default(),
            written: Gauge::default(),
        };
        this.registered()
    }

    fn registered(mut self) -> Self {
        let registry = &mut self.registry;
        registry.register(
            "requests",
            "Requests answered, by route and status",
            self.requests.clone(),
        );
        registry.register(
            "request_seconds",
            "From the first byte of a request to the last of its answer",
            self.seconds.clone(),
        );
        registry.register(
            "filtered",
            "What the filter found, by place and category",
            self.found.clone(),
        );
        registry.register(
            "given_up",
            "Work that was ended before it was done, for nobody waited for it any longer",
            self.given_up.clone(),
        );
        registry.register("serving", "Requests that are being served", self.serving.clone());
        registry.register("rows", "Rows of the language model in use", self.rows.clone());
        registry.register("waiting", "Requests that wait for a row", self.waiting.clone());
        registry.register(
            "picture_cache_bytes",
            "Image features kept for the next question",
            self.pictures.clone(),
        );
        registry.register(
            "prompt_tokens",
            "Places of prompts read since the start",
            self.read.clone(),
        );
        registry.register(
            "completion_tokens",
            "Tokens written since the start",
            self.written.clone(),
        );
        self
    }

    pub(crate) fn answered(&self, route: &str, status: u16) {
        let outcome = Outcome {
            route: route.to_owned(),
            status,
        };
        self.requests.get_or_create(&outcome).inc();
    }

    pub(crate) fn took(&self, route: &str, time: Duration) {
        let route = Route {
            route: route.to_owned(),
        };
        self.seconds.get_or_create(&route).observe(time.as_secs_f64());
    }

    pub(crate) fn gave_up(&self, route: &str) {
        let route = Route {
            route: route.to_owned(),
        };
        self.given_up.get_or_create(&route).inc();
    }

    pub(crate) fn found(&self, place: &'static str, category: &str) {
        let found = Found {
            place,
            category: category.to_owned(),
        };
        self.found.get_or_create(&found).inc();
    }
}

impl State {
    /// All figures in Prometheus's text form.
    pub(crate) fn figures(&self) -> String {
        let metrics = &self.metrics;
        let set = |gauge: &Gauge, value: usize| {
            gauge.set(value as i64);
        };
        let load = self.engine.load();
        set(&metrics.serving, self.tickets.taken());
        set(&metrics.rows, load.rows.load(Ordering::Relaxed));
        set(&metrics.waiting, load.waiting.load(Ordering::Relaxed));
        set(&metrics.pictures, self.pictures.bytes());
        set(&metrics.read, load.read.load(Ordering::Relaxed));
        set(&metrics.written, load.written.load(Ordering::Relaxed));
        let mut text = String::new();
        encode(&mut text, &metrics.registry).expect("writing to a string does not fail");
        text
    }
}
