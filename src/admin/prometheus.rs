//! `/metrics`: all figures in Prometheus's text format.
//!
//! A counter becomes a series by its name: `dropped_echo` is
//! `gunmetal_messages_dropped_total{reason="echo"}`, and so for each group in `GROUPS`; any other is
//! a series of its own. So whatever is counted is shown.
//!
//! Owns: names and labels of series. Must not know: who asks.

use std::collections::BTreeMap;

use prometheus::TextEncoder;
use prometheus::proto::{
    Bucket, Counter as Count, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};

use super::process::Process;
use super::stats::queued_turns;
use super::survey::{Survey, Surveyor};
use crate::metrics::Counter;
use crate::net::view::View;

/// The format, and the version of it.
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// Bounds of the buckets of the relay's delay, in seconds.
const DELAY_BOUNDS: [f64; 18] = [
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0,
    2.5, 5.0, 10.0, 30.0,
];

/// Counters whose name starts so are one family: its name, the label that tells them apart, its help.
const GROUPS: [(&str, &str, &str, &str); 4] = [
    (
        "rejected_",
        "gunmetal_connections_rejected_total",
        "reason",
        "Connections and requests turned away.",
    ),
    (
        "closed_",
        "gunmetal_connections_closed_total",
        "reason",
        "Connections that ended, of any kind.",
    ),
    ("dropped_", "gunmetal_messages_dropped_total", "reason", "Messages that were not passed on."),
    (
        "refused_",
        "gunmetal_frames_refused_total",
        "reason",
        "Frames whose sender was told that they cannot be read.",
    ),
];

/// All figures of a relay.
pub fn text(view: &View, surveyor: &Surveyor) -> String {
    let mut page = Page::default();
    page.about_relay(view, surveyor);
    Counter::ALL.iter().for_each(|counter| page.counter(*counter, view.metrics().get(*counter)));
    page.about_links(view);
    page.about_threads(view);
    page.about_batches(view);
    if let Some(process) = Process::myself() {
        page.about_process(&process);
    }
    page.into_text()
}

#[derive(Default)]
struct Page {
    families: BTreeMap<String, MetricFamily>,
}

type Labels<'a> = &'a [(&'a str, &'a str)];

impl Page {
    fn about_relay(&mut self, view: &View, surveyor: &Surveyor) {
        let survey = surveyor.survey();
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        self.gauge("gunmetal_build_info", "Always 1.", &version, 1.0);
        let is_ready = f64::from(u8::from(view.unready_reasons().is_empty()));
        self.gauge("gunmetal_ready", "1 if new peers may be sent here.", &[], is_ready);
        let stuck = view.stuck_threads().len() as f64;
        self.gauge("gunmetal_stuck_threads", "Threads stuck in one turn.", &[], stuck);
        let peers = "Connected peers.";
        self.gauge("gunmetal_peers", peers, &[("direction", "inbound")], survey.inbound as f64);
        self.gauge("gunmetal_peers", peers, &[("direction", "outbound")], survey.outbound as f64);
        self.about_limits(view, &survey);
        self.count(
            "gunmetal_dedup_evicted_early_total",
            "Message ids forgotten before their time, for want of room.",
            &[],
            view.mesh().dedup.evicted_early() as f64,
        );
    }

    /// What is in use, beside the limit of it.
    fn about_limits(&mut self, view: &View, survey: &Survey) {
        let config = view.config();
        for (name, help, value) in [
            ("connections_open", "Connections open, of any kind.", view.open_connections() as u64),
            ("connections_max", "Limit of open connections.", config.connections_max as u64),
            (
                "tls_handshakes_open",
                "Connections that shake hands for TLS.",
                view.open_handshakes() as u64,
            ),
            ("backlog_bytes", "Bytes that wait for slow peers.", survey.pending_bytes),
            (
                "backlog_worst_peer_bytes",
                "The most bytes that wait for one peer.",
                survey.pending_bytes_worst,
            ),
            (
                "backlog_max_bytes",
                "Limit of what may wait for one peer.",
                config.backlog_bytes_max as u64,
            ),
            ("backlog_peers", "Peers for which something waits.", survey.pending_peers),
            ("queue_bytes", "Bytes that wait for the writers.", view.queued_bytes() as u64),
            (
                "queue_max_bytes",
                "Limit of what may wait for the writers.",
                config.queue_bytes_max as u64,
            ),
            ("memory_held_bytes", "Memory held for peers.", view.memory().held() as u64),
            (
                "memory_max_bytes",
                "Limit of memory held for peers: what --memory-max leaves for them.",
                view.memory().held_max() as u64,
            ),
            ("dedup_entries", "Message ids that are remembered.", survey.dedup_entries),
            (
                "dedup_entries_max",
                "Limit of remembered message ids.",
                config.dedup_entries_max as u64,
            ),
        ] {
            self.gauge(&format!("gunmetal_{name}"), help, &[], value as f64);
        }
    }

    fn counter(&mut self, counter: Counter, value: u64) {
        let (received, sent) = ("Frames read, by kind.", "Frames handed to peers, by kind.");
        let routed = "Messages passed on, and answers the relay gave itself.";
        let joined = "Connections that became peers.";
        let read =
            "Bytes read from sockets, of peers and before there is one; under TLS of plaintext.";
        let written = "Bytes written to sockets, to peers and to others; under TLS of plaintext.";
        let handed = "Bytes of frames handed to peers, by kind.";
        let broadcast = "Messages passed on to everybody else, by what they have.";
        let (name, help, label) = match counter {
            // Sums of others.
            Counter::Closed | Counter::BytesIn | Counter::BytesOut => return,
            Counter::Accepted => ("connections_accepted", counter.help(), None),
            Counter::Joined => ("peers_joined", joined, Some(("direction", "inbound"))),
            Counter::LinksUp => ("peers_joined", joined, Some(("direction", "outbound"))),
            Counter::PeerBytesIn => ("received_bytes", read, Some(("kind", "websocket"))),
            Counter::HttpBytesIn => ("received_bytes", read, Some(("kind", "http"))),
            Counter::TextBytesIn => ("received_text_bytes", counter.help(), None),
            Counter::PeerBytesOut => ("sent_bytes", written, Some(("kind", "websocket"))),
            Counter::HttpBytesOut => ("sent_bytes", written, Some(("kind", "http"))),
            Counter::MessageBytesOut => ("sent_frame_bytes", handed, Some(("kind", "messages"))),
            Counter::ControlBytesOut => ("sent_frame_bytes", handed, Some(("kind", "control"))),
            Counter::BroadcastPuts => ("messages_broadcast", broadcast, Some(("kind", "put"))),
            Counter::BroadcastGets => ("messages_broadcast", broadcast, Some(("kind", "get"))),
            Counter::BroadcastOthers => ("messages_broadcast", broadcast, Some(("kind", "other"))),
            Counter::FramesIn => ("received_frames", received, Some(("kind", "text"))),
            Counter::BinaryIn => ("received_frames", received, Some(("kind", "binary"))),
            Counter::PingsIn => ("received_frames", received, Some(("kind", "ping"))),
            Counter::PongsIn => ("received_frames", received, Some(("kind", "pong"))),
            Counter::ClosesIn => ("received_frames", received, Some(("kind", "close"))),
            Counter::FramesOut => ("sent_frames", sent, Some(("kind", "messages"))),
            Counter::HeartbeatsOut => ("sent_frames", sent, Some(("kind", "heartbeat"))),
            Counter::PingsOut => ("sent_frames", sent, Some(("kind", "ping"))),
            Counter::PongsOut => ("sent_frames", sent, Some(("kind", "pong"))),
            Counter::ClosesOut => ("sent_frames", sent, Some(("kind", "close"))),
            Counter::MessagesIn => ("received_messages", counter.help(), None),
            Counter::CopiesOut => ("sent_copies", counter.help(), None),
            Counter::Broadcast => ("messages_routed", routed, Some(("route", "broadcast"))),
            Counter::Routed => ("messages_routed", routed, Some(("route", "answer"))),
            Counter::Replied => ("messages_routed", routed, Some(("route", "reply"))),
            Counter::DroppedLinkDown => ("link_frames_dropped", counter.help(), None),
            _ => return self.grouped(counter, value),
        };
        self.count(&format!("gunmetal_{name}_total"), help, label.as_slice(), value as f64);
    }

    /// A counter of a group, or one by itself.
    fn grouped(&mut self, counter: Counter, value: u64) {
        for (prefix, family, label, help) in GROUPS {
            if let Some(rest) = counter.name().strip_prefix(prefix) {
                return self.count(family, help, &[(label, rest)], value as f64);
            }
        }
        let name = format!("gunmetal_{}_total", counter.name());
        self.count(&name, counter.help(), &[], value as f64);
    }

    fn about_links(&mut self, view: &View) {
        for link in view.links() {
            let peer = [("peer", &*link.name)];
            let is_up = f64::from(u8::from(link.is_up()));
            self.gauge("gunmetal_link_up", "1 if the configured peer is connected.", &peer, is_up);
            self.count(
                "gunmetal_link_opens_total",
                "Connections to the configured peer: the first and all after it.",
                &peer,
                link.opened.get() as f64,
            );
        }
    }

    fn about_threads(&mut self, view: &View) {
        for one in view.metrics().loops() {
            let thread = [("thread", &*one.name)];
            self.count(
                "gunmetal_thread_busy_seconds_total",
                "Time the thread was not waiting for events.",
                &thread,
                one.busy().as_secs_f64(),
            );
            let turns = one.turns() as f64;
            self.count("gunmetal_thread_turns_total", "Turns of the thread.", &thread, turns);
            if let Some(queued) = queued_turns(view, &one.name) {
                let help = "Turns of readers that wait for the writer.";
                self.gauge("gunmetal_queue_turns", help, &thread, queued as f64);
            }
        }
    }

    fn about_batches(&mut self, view: &View) {
        let batches = view.metrics().batches();
        let mut sizes = BTreeMap::new();
        for (bound, count) in batches.iter().flat_map(|batches| batches.sizes()) {
            *sizes.entry(bound.unwrap_or(u64::MAX)).or_insert(0) += count;
        }
        let mut buckets = Vec::new();
        let mut count = 0;
        for (bound, more) in sizes {
            count += more;
            if bound < u64::MAX {
                buckets.push((bound as f64, count));
            }
        }
        let messages: u64 = batches.iter().map(|batches| batches.messages()).sum();
        let help = "Messages that a writer handed to its peers at a time.";
        self.histogram("gunmetal_batch_messages", help, &buckets, count, messages as f64);

        let (counts, (count, sum)) = view
            .metrics()
            .with_delays(|delays| (delays.cumulative(&DELAY_BOUNDS), delays.count_and_sum()));
        let buckets: Vec<_> = DELAY_BOUNDS.into_iter().zip(counts).collect();
        let help = "From the read of a message until a writer had written to each of its peers that \
            could take it; counted once for each writer.";
        self.histogram("gunmetal_relay_delay_seconds", help, &buckets, count, sum);
    }

    /// The names that Prometheus's client libraries agree on.
    fn about_process(&mut self, process: &Process) {
        let help = "Processor time used, in user mode and in the kernel.";
        self.count("process_cpu_seconds_total", help, &[], process.cpu_seconds);
        let help = "Times a thread had to wait for something, or had its core taken away.";
        for (kind, count) in
            [("voluntary", process.switches_voluntary), ("forced", process.switches_forced)]
        {
            let kind = [("kind", kind)];
            self.count("process_context_switches_total", help, &kind, count as f64);
        }
        for (name, help, value) in [
            ("resident_memory_bytes", "Memory that is resident.", process.resident_bytes as f64),
            ("virtual_memory_bytes", "Address space.", process.virtual_bytes as f64),
            ("open_fds", "Open files and sockets.", process.open_fds as f64),
            ("max_fds", "Limit of open files and sockets.", process.max_fds as f64),
            ("threads", "Threads.", process.threads as f64),
            (
                "start_time_seconds",
                "When the process was started, since 1970.",
                process.start_time_seconds,
            ),
        ] {
            self.gauge(&format!("process_{name}"), help, &[], value);
        }
    }

    fn gauge(&mut self, name: &str, help: &str, labels: Labels<'_>, value: f64) {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        let mut metric = labelled(labels);
        metric.set_gauge(gauge);
        self.add(name, help, MetricType::GAUGE, metric);
    }

    fn count(&mut self, name: &str, help: &str, labels: Labels<'_>, value: f64) {
        let mut count = Count::default();
        count.set_value(value);
        let mut metric = labelled(labels);
        metric.set_counter(count);
        self.add(name, help, MetricType::COUNTER, metric);
    }

    /// `buckets` are upper bounds in ascending order, each with how many are not above it.
    fn histogram(&mut self, name: &str, help: &str, buckets: &[(f64, u64)], count: u64, sum: f64) {
        let bucket = |&(bound, count): &(f64, u64)| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(count);
            bucket
        };
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.iter().map(bucket).collect());
        histogram.set_sample_count(count);
        histogram.set_sample_sum(sum);
        let mut metric = labelled(&[]);
        metric.set_histogram(histogram);
        self.add(name, help, MetricType::HISTOGRAM, metric);
    }

    fn add(&mut self, name: &str, help: &str, kind: MetricType, metric: Metric) {
        let family = self.families.entry(name.to_owned()).or_insert_with(|| {
            let mut family = MetricFamily::default();
            family.set_name(name.to_owned());
            family.set_help(help.to_owned());
            family.set_field_type(kind);
            family
        });
        family.mut_metric().push(metric);
    }

    fn into_text(self) -> String {
        let families: Vec<_> = self.families.into_values().collect();
        TextEncoder::new()
            .encode_to_string(&families)
            .expect("every family has a name and a metric")
    }
}

fn labelled(labels: Labels<'_>) -> Metric {
    let pair = |&(name, value): &(&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.to_owned());
        pair.set_value(value.to_owned());
        pair
    };
    Metric::from_label(labels.iter().map(pair).collect())
}
