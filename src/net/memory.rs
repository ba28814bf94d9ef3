//! The promise of memory: what is held for peers, and who has to go when it is too much.
//!
//! Owns: the sums, the thresholds, and which thread gives up its worst peer. Must not know: what
//! is held, how a peer is closed.
//!
//! Each thread adds up in a [`Gauge`] of its own what its peers hold, when that changes by more
//! than a message; the sums are looked at once a turn. Counted are: connections at
//! [`CONNECTION_BYTES`], TLS handshakes at [`HANDSHAKE_BYTES`] and what more their clients say,
//! request heads, messages being assembled (by what arrived), the writers' queues, large messages
//! and encoded batches (once each, however many backlogs share them), and in backlogs what a peer
//! alone holds, the list itself, and what a session holds as ciphertext, either way. Set aside are
//! the table of ids at its full size and what the process needs empty. Of the rest a quarter is
//! for what the allocator cannot use. The kernel's buffers of sockets are not counted: they are no
//! memory of the process.
//!
//! When the sum is over, every thread is woken and tells what its worst peer holds. A thread closes
//! its worst if no other thread's holds twice as much, and looks again, until the sum is under.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::config::{BASE_BYTES, Config, DEDUP_ENTRY_BYTES, THREAD_BYTES};

/// What a connection costs that says and hears nothing, in bytes: 1.5 KiB of resident memory with
/// 100,000 of them in 6 relays as with 50,000 in 3 (`loadtest idle`), and a margin.
pub const CONNECTION_BYTES: usize = 2 * 1024;

/// And what its TLS costs besides, in bytes. Resident memory of the process (debug build, 300 peers,
/// rustls 0.23) grew by 9.4 to 9.8 KiB for an idle peer, and by 13.7 to 14.5 KiB after it had said
/// something long, as holes are left where that was; [`CONNECTION_BYTES`] included. The suite `tls`
/// measures both. What a session holds of a record that is not whole, and what it holds back for a full
/// socket, is counted beside it, while it does.
pub const SESSION_BYTES: usize = 12 * 1024;

/// What a connection costs while it shakes hands for TLS, in bytes, of which [`HELLO_BYTES`] are for
/// what the client says. Resident memory (debug build, 300 handshakes in the middle) grew by 9 KiB;
/// the suite `tls` measures it. It is more than the connection counts afterwards, so that the end of a
/// handshake fills no memory. What the client says beyond is counted beside it.
pub const HANDSHAKE_BYTES: usize = 16 * 1024;

const _: () = assert!(HANDSHAKE_BYTES >= CONNECTION_BYTES + SESSION_BYTES);

/// What a client says in a usual handshake fits into this, in bytes.
pub const HELLO_BYTES: usize = 4 * 1024;

/// Handshakes may hold this part of the memory, all together: nobody can be told to go before its
/// handshake is done, so that they must not be what fills it.
const HANDSHAKES_PART: usize = 8;

/// What a connection costs by itself, in bytes.
pub fn connection_bytes(is_secure: bool) -> usize {
    CONNECTION_BYTES + if is_secure { SESSION_BYTES } else { 0 }
}

/// A thread that allocates this much within a turn looks at the sum before the turn ends, in bytes.
pub const LOOK_BYTES: usize = 1 << 20;

/// How soon a thread looks again while the memory is full.
pub const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// How long a thread waits for the others to tell what their worst peers hold: one that waits for
/// room in a queue tells nothing.
const TELL_TIMEOUT: Duration = Duration::from_millis(200);

/// A peer that holds less is never closed for it, in bytes.
const EVICTED_BYTES_MIN: usize = 4 * 1024;

/// The state of the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    /// There is room.
    None,
    /// Nine tenths are in use: nobody new comes in.
    High,
    /// All is in use: the worst peers go.
    Full,
}

/// What one thread's peers hold, in bytes.
#[derive(Debug, Default)]
pub struct Gauge {
    held: AtomicUsize,
    /// What the worst of its peers holds, as it told last.
    worst: AtomicUsize,
    /// In which shortage it told that.
    told: AtomicU64,
}

impl Gauge {
    /// So much more is held.
    pub fn add(&self, bytes: usize) {
        self.held.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So much less.
    pub fn sub(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// What is held.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}

/// Bytes that are counted as long as this lives.
#[derive(Debug)]
pub struct Held {
    gauge: Arc<Gauge>,
    bytes: usize,
}

impl Held {
    /// Counts `bytes`.
    pub fn new(gauge: &Arc<Gauge>, bytes: usize) -> Self {
        gauge.add(bytes);
        Held { gauge: gauge.clone(), bytes }
    }

    /// Counts `bytes` more.
    pub fn grow(&mut self, bytes: usize) {
        self.gauge.add(bytes);
        self.bytes += bytes;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.gauge.sub(self.bytes);
    }
}

/// Memory that is counted until the last slice of it is gone.
struct Counted<T> {
    memory: T,
    _held: Held,
}

impl<T: AsRef<[u8]>> AsRef<[u8]> for Counted<T> {
    fn as_ref(&self) -> &[u8] {
        self.memory.as_ref()
    }
}

/// What an allocation and its reference count cost besides, in bytes.
const ALLOCATION_BYTES: usize = 96;

/// Shares `memory`, of `capacity` bytes, and counts it once for all who will share it.
pub fn counted<T>(memory: T, capacity: usize, gauge: &Arc<Gauge>) -> Bytes
where
    T: AsRef<[u8]> + Send + 'static,
{
    let held = Held::new(gauge, capacity + ALLOCATION_BYTES);
    Bytes::from_owner(Counted { memory, _held: held })
}

/// See the module's head.
#[derive(Debug)]
pub struct Memory {
    held_max: usize,
    /// That of all, then those of the threads.
    gauges: Vec<Arc<Gauge>>,
    /// That of connections that shake hands for TLS.
    handshakes: Arc<Gauge>,
    /// Counts the times the memory became full.
    shortages: AtomicU64,
    /// It is.
    is_short: AtomicBool,
    /// Wakes every thread that has peers; set when they are started.
    alarm: OnceLock<Alarm>,
}

/// Ends the sleep of all threads.
struct Alarm(Box<dyn Fn() + Send + Sync>);

impl std::fmt::Debug for Alarm {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Alarm")
    }
}

impl Memory {
    /// The memory of a relay: one gauge for each of its threads, and one for what they share.
    pub fn new(config: &Config) -> Self {
        let threads = config.reactors + config.writers;
        let shakers = if config.tls.is_some() { config.tls_threads } else { 0 };
        let set_aside = BASE_BYTES
            + (threads + shakers) * THREAD_BYTES
            + config.dedup_entries_max.saturating_mul(DEDUP_ENTRY_BYTES);
        // However small, it is enough for a few connections.
        let free = config.memory_max.saturating_sub(set_aside).max(config.memory_max / 8);
        let gauges = (0..=threads).map(|_| Arc::default()).collect();
        Memory { held_max: free / 4 * 3, gauges, ..Memory::empty() }
    }

    fn empty() -> Self {
        Memory {
            held_max: 0,
            gauges: Vec::new(),
            handshakes: Arc::default(),
            shortages: AtomicU64::new(0),
            is_short: AtomicBool::new(false),
            alarm: OnceLock::new(),
        }
    }

    /// The gauge of a reactor.
    pub fn of_reactor(&self, index: usize) -> Arc<Gauge> {
        self.gauges[1 + index].clone()
    }

    /// The gauge of a writer; there are so many reactors.
    pub fn of_writer(&self, index: usize, reactors: usize) -> Arc<Gauge> {
        self.gauges[1 + reactors + index].clone()
    }

    /// The gauge of what goes from thread to thread.
    pub fn of_all(&self) -> Arc<Gauge> {
        self.gauges[0].clone()
    }

    /// The gauge of those that shake hands.
    pub fn of_handshakes(&self) -> &Arc<Gauge> {
        &self.handshakes
    }

    /// How many may shake hands, if they say no more than others.
    pub fn handshakes_max(&self) -> usize {
        self.held_max / HANDSHAKES_PART / HANDSHAKE_BYTES + 1
    }

    /// Whether those that shake hands hold no more than their part, and others leave room.
    pub fn has_room_for_handshakes(&self) -> bool {
        self.handshakes.held() <= self.held_max / HANDSHAKES_PART
            && self.pressure() < Pressure::High
    }

    /// Sets what wakes all threads.
    pub fn set_alarm(&self, wake_all: impl Fn() + Send + Sync + 'static) {
        // It is set once, when the threads are started.
        let _again = self.alarm.set(Alarm(Box::new(wake_all)));
    }

    /// What is held by all, in bytes.
    pub fn held(&self) -> usize {
        let threads: usize = self.gauges.iter().map(|gauge| gauge.held()).sum();
        threads + self.handshakes.held()
    }

    /// How much may be held, in bytes.
    pub fn held_max(&self) -> usize {
        self.held_max
    }

    /// Whether there is room.
    pub fn pressure(&self) -> Pressure {
        match self.held() {
            held if held >= self.held_max => Pressure::Full,
            held if held >= self.held_max / 10 * 9 => Pressure::High,
            _ => Pressure::None,
        }
    }
}

/// A thread's part in keeping the promise.
#[derive(Debug)]
pub struct Keeper {
    memory: Arc<Memory>,
    gauge: Arc<Gauge>,
    /// Since when the memory is full, as far as this thread has seen.
    full_since: Option<Instant>,
    log: EvictionLog,
}

impl Keeper {
    /// The keeper of the thread whose peers `gauge` counts.
    pub fn new(memory: Arc<Memory>, gauge: Arc<Gauge>) -> Self {
        Keeper { memory, gauge, full_since: None, log: EvictionLog::default() }
    }

    /// This thread's gauge.
    pub fn gauge(&self) -> &Arc<Gauge> {
        &self.gauge
    }

    /// The memory of all.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// The memory was full when this thread last looked.
    pub fn is_full(&self) -> bool {
        self.full_since.is_some()
    }

    /// When this thread is to look again without anything else to do.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        self.full_since.map(|_| now + LOOK_INTERVAL)
    }

    /// Looks at the sum. Says whether it is full, so that [`is_to_go`](Self::is_to_go) is to be
    /// asked.
    pub fn look(&mut self, now: Instant) -> bool {
        let memory = &self.memory;
        if memory.pressure() < Pressure::Full {
            if self.full_since.take().is_some() {
                memory.is_short.store(false, Ordering::Relaxed);
            }
            return false;
        }
        self.full_since.get_or_insert(now);
        if !memory.is_short.swap(true, Ordering::Relaxed) {
            memory.shortages.fetch_add(1, Ordering::Relaxed);
            if let Some(alarm) = memory.alarm.get() {
                (alarm.0)();
            }
        }
        true
    }

    /// Tells all what the worst peer of this thread holds. Says whether it is to go: everybody has
    /// told, and no other thread has one that holds twice as much.
    pub fn is_to_go(&self, worst_bytes: usize, now: Instant) -> bool {
        let shortage = self.memory.shortages.load(Ordering::Relaxed);
        self.gauge.worst.store(worst_bytes, Ordering::Relaxed);
        self.gauge.told.store(shortage, Ordering::Relaxed);
        let threads = &self.memory.gauges[1..];
        let all_told = threads.iter().all(|one| one.told.load(Ordering::Relaxed) == shortage);
        let waited = self.full_since.map_or(Duration::ZERO, |since| now - since);
        let worst = threads.iter().map(|one| one.worst.load(Ordering::Relaxed)).max();
        (all_told || waited >= TELL_TIMEOUT)
            && worst_bytes >= worst.unwrap_or(0).div_ceil(2).max(EVICTED_BYTES_MIN)
    }

    /// Notes that a peer was closed for what it held.
    pub fn note(&mut self, address: Option<std::net::SocketAddr>, bytes: usize, now: Instant) {
        self.log.note(address, bytes, now);
    }
}

/// Between two log lines about peers that had to go.
const LOG_GAP: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
struct EvictionLog {
    last: Option<Instant>,
    more: u64,
}

impl EvictionLog {
    fn note(&mut self, address: Option<std::net::SocketAddr>, bytes: usize, now: Instant) {
        self.more += 1;
        if self.last.is_some_and(|last| now.duration_since(last) < LOG_GAP) {
            return;
        }
        self.last = Some(now);
        let count = std::mem::take(&mut self.more);
        tracing::warn!(
            ?address,
            "memory is full (--memory-max): closed {count} peers that held the most, this one {bytes} bytes"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(memory_max: usize) -> Arc<Memory> {
        Arc::new(Memory::new(&Config {
            memory_max,
            dedup_entries_max: 1000,
            ..Config::for_tests()
        }))
    }

    #[test]
    fn pressure_rises_and_falls_with_what_is_held() {
        let memory = memory(256 << 20);
        let (gauge, max) = (memory.of_reactor(1), memory.held_max());
        assert!(max > 150 << 20 && max < 192 << 20, "{max}");
        assert_eq!(memory.pressure(), Pressure::None);
        let high = Held::new(&gauge, max / 10 * 9);
        assert_eq!(memory.pressure(), Pressure::High);
        let rest = Held::new(&memory.of_writer(1, 2), max / 5);
        assert_eq!(memory.pressure(), Pressure::Full);
        drop(high);
        assert_eq!(memory.pressure(), Pressure::None);
        drop(rest);
        assert_eq!(memory.held(), 0);
    }

    #[test]
    fn handshakes_have_a_part_of_the_memory_and_no_more() {
        let memory = memory(256 << 20);
        let max = memory.held_max();
        let mut held = Held::new(memory.of_handshakes(), max / 8);
        assert!(memory.has_room_for_handshakes());
        assert_eq!(memory.held(), max / 8);
        held.grow(1);
        assert!(!memory.has_room_for_handshakes());
        drop(held);
        let others = Held::new(&memory.of_all(), max / 10 * 9);
        assert!(!memory.has_room_for_handshakes());
        drop(others);
        assert_eq!(memory.held(), 0);
    }

    #[test]
    fn shared_memory_counts_once_and_until_its_last_slice_is_gone() {
        let gauge = Arc::default();
        let whole = counted(vec![7; 1000], 1000, &gauge);
        let slices = [whole.slice(..10), whole.slice(990..), whole.clone()];
        assert_eq!(gauge.held(), 1000 + ALLOCATION_BYTES);
        drop((whole, slices[0].clone()));
        assert_eq!(gauge.held(), 1000 + ALLOCATION_BYTES);
        drop(slices);
        assert_eq!(gauge.held(), 0);
    }

    #[test]
    fn the_thread_with_the_worst_peer_closes_it() {
        let memory = memory(64 << 20);
        let keeper = |gauge| Keeper::new(memory.clone(), gauge);
        let (mut one, mut other) = (keeper(memory.of_reactor(0)), keeper(memory.of_writer(0, 2)));
        let (rung, now) = (Arc::new(AtomicUsize::new(0)), Instant::now());
        let bell = rung.clone();
        memory.set_alarm(move || {
            bell.fetch_add(1, Ordering::Relaxed);
        });
        assert!(!one.look(now) && !other.look(now));
        let held = Held::new(one.gauge(), memory.held_max());
        assert!(one.look(now) && one.look(now) && other.look(now));
        assert_eq!(rung.load(Ordering::Relaxed), 1, "all are woken once");
        assert!(!one.is_to_go(10_000, now), "the others have not told");
        assert!(!other.is_to_go(50_000, now));
        for quiet in [memory.of_reactor(1), memory.of_writer(1, 2)] {
            assert!(!keeper(quiet).is_to_go(0, now));
        }
        assert!(!one.is_to_go(10_000, now), "the other's is far worse");
        assert!(other.is_to_go(50_000, now));
        assert!(one.is_to_go(30_000, now), "as bad as any");
        assert!(!one.is_to_go(EVICTED_BYTES_MIN - 1, now), "as good as nobody");
        drop(held);
        assert!(!other.look(now) && !one.look(now));
        assert_eq!(one.due(now), None);
        let held = Held::new(one.gauge(), memory.held_max());
        assert!(one.look(now) && !one.is_to_go(10_000, now), "a new shortage, nobody has told");
        let late = now + TELL_TIMEOUT;
        assert!(!one.is_to_go(10_000, late), "the other's was far worse");
        assert!(one.is_to_go(60_000, late));
        assert_eq!(rung.load(Ordering::Relaxed), 2);
        drop(held);
    }
}
