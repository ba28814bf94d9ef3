//! The swarm: threads that open connections, send on schedule, and count and time what arrives.
//!
//! Owns: what the threads of the generator and the one that directs them say to each other. Threads
//! share counters to read and channels of [`Command`]s and [`Report`]s; nothing else.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use mio::{Poll, Waker};

use crate::plan::Plan;
use crate::swarm::tally::{Part, Totals};
use crate::swarm::worker::{BELL, Worker};

pub mod conn;
pub mod dial;
pub mod opening;
pub mod receive;
pub mod seconds;
pub mod send;
pub mod tally;
pub mod worker;

/// When a run does what, on its clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// The first message.
    pub starts_ns: u64,
    /// The first that is measured.
    pub measured_ns: u64,
    /// No message from here on.
    pub ends_ns: u64,
}

/// What a thread is told.
#[derive(Clone, Debug)]
pub enum Command {
    /// Open all connections but guests.
    Open,
    /// Close them, and open them again, all at once.
    Reopen,
    /// Write the first data into the rooms.
    WriteFirst,
    /// Ask for the rooms.
    Subscribe,
    /// Send.
    Go(Times),
    /// Say what is to reach everybody after the measured time.
    RollCall,
    /// Send no more, whatever is due.
    Stop,
    /// Count what is missing, given how much each source sent, and end.
    Finish(Arc<Vec<u32>>),
}

/// What a thread tells.
#[derive(Debug)]
pub enum Report {
    /// What a thread did in a second, the first being 0.
    Second {
        /// Which second.
        number: usize,
        /// Which thread.
        thread: usize,
        /// What it did.
        part: Box<Part>,
    },
    /// All it counted.
    Finished(Box<Totals>),
    /// It could not go on.
    Failed(io::Error),
}

/// How far a thread is; it alone writes.
#[derive(Debug, Default)]
pub struct Gauge {
    /// Messages sent.
    pub sent: AtomicU64,
    /// Copies that count towards the window.
    pub delivered: AtomicU64,
    /// Bytes read.
    pub bytes_in: AtomicU64,
    /// Connections open, guests not counted.
    pub open: AtomicU64,
    /// Messages that are due and not sent.
    pub behind: AtomicU64,
    /// It waits for others' progress.
    pub is_waiting: AtomicBool,
}

/// What all threads can read of each other.
#[derive(Debug)]
pub struct Gauges {
    gauges: Vec<Gauge>,
    wakers: Vec<Waker>,
    /// Messages of each source.
    pub sent: Vec<AtomicU64>,
    /// Messages of the window that were given up waiting for.
    pub forgiven: AtomicU64,
    /// Why a connection could not be opened, the last time.
    failure: Mutex<Option<String>>,
}

impl Gauges {
    /// The gauge of a thread.
    #[inline]
    pub fn of(&self, thread: usize) -> &Gauge {
        &self.gauges[thread]
    }

    /// The sum over all threads.
    #[inline]
    pub fn sum(&self, of: impl Fn(&Gauge) -> &AtomicU64) -> u64 {
        self.gauges.iter().map(|gauge| of(gauge).load(Ordering::Relaxed)).sum()
    }

    /// A connection could not be opened.
    pub fn set_failure(&self, why: &str) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(why.to_owned());
    }

    /// Why a connection could not be opened, the last time.
    pub fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Wakes the other threads that wait for progress.
    pub fn wake_waiting(&self, but: usize) {
        for (thread, gauge) in self.gauges.iter().enumerate() {
            if thread != but && gauge.is_waiting.swap(false, Ordering::AcqRel) {
                self.wake(thread);
            }
        }
    }

    fn wake(&self, thread: usize) {
        // It fails when the poll is gone, and the thread with it.
        let _gone = self.wakers[thread].wake();
    }
}

/// The threads that run.
#[derive(Debug)]
pub struct Swarm {
    /// How far they are.
    pub gauges: Arc<Gauges>,
    /// What they tell.
    pub reports: Receiver<Report>,
    commands: Vec<Sender<Command>>,
    threads: Vec<JoinHandle<()>>,
}

impl Swarm {
    /// Starts the threads of a plan.
    ///
    /// # Errors
    /// The process may not have more files or threads.
    pub fn start(plan: &Arc<Plan>) -> io::Result<Swarm> {
        let (mut polls, mut wakers) = (Vec::new(), Vec::new());
        for _ in 0..plan.threads {
            let poll = Poll::new()?;
            wakers.push(Waker::new(poll.registry(), BELL)?);
            polls.push(poll);
        }
        let gauges = Arc::new(Gauges {
            gauges: (0..plan.threads).map(|_| Gauge::default()).collect(),
            wakers,
            sent: (0..plan.scenario.senders).map(|_| AtomicU64::new(0)).collect(),
            forgiven: AtomicU64::new(0),
            failure: Mutex::new(None),
        });
        let (reporter, reports) = mpsc::channel();
        let (mut commands, mut threads) = (Vec::new(), Vec::new());
        for (index, poll) in polls.into_iter().enumerate() {
            let (commander, orders) = mpsc::channel();
            let worker =
                Worker::new(index, plan.clone(), poll, orders, reporter.clone(), gauges.clone())?;
            commands.push(commander);
            let thread = thread::Builder::new().name(format!("swarm-{index}"));
            threads.push(thread.spawn(move || worker.run())?);
        }
        Ok(Swarm { gauges, reports, commands, threads })
    }

    /// Tells all threads.
    pub fn tell(&self, command: &Command) {
        for (thread, commander) in self.commands.iter().enumerate() {
            // A thread that ended has reported why.
            let _ended = commander.send(command.clone());
            self.gauges.wake(thread);
        }
    }

    /// Waits for the threads, which were told to finish or have failed.
    pub fn join(self) {
        drop(self.commands);
        for thread in self.threads {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    }
}
