//! Connections that mean no good, beside those that are measured.
//!
//! Owns: which attacks there are, when they begin and that they end. They have threads of their own, and
//! as few as they need, so that what they do costs the swarm little. Nothing of it is counted: what
//! matters is what the well-behaved peers notice.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use gunmetal::ws::upgrade::client_request;
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::plan::{Plan, Target};

mod flood;
mod mixed;
mod slow;
mod stall;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const MASK: [u8; 4] = [9, 8, 7, 6];
/// How long an attacker waits for a server.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often an attacker that is not waiting for a server looks what there is to do.
const TURN: Duration = Duration::from_millis(5);

/// What attackers do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Attack {
    /// Malformed frames, broken JSON, slow requests, oversized claims: so many connections of each kind.
    #[default]
    Mixed,
    /// Requests that come byte by byte and never end.
    Slowloris,
    /// Peers that come, are let in, and are replaced by others.
    ConnFlood,
    /// Peers that say far more than others.
    MessageFlood,
    /// Peers that say far more than others, among many more that read nothing.
    StallSwarm,
}

/// Attackers that go on until this is dropped.
#[derive(Debug)]
pub struct Attackers {
    life: Life,
    threads: Vec<JoinHandle<()>>,
}

/// Whether an attack has begun and is not over.
#[derive(Clone, Debug)]
struct Life {
    is_over: Arc<AtomicBool>,
}

impl Life {
    fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed)
    }
}

/// The attack of a plan, from `starts_ns` of its clock.
pub fn start(plan: &Plan, starts_ns: u64) -> Attackers {
    let life = Life { is_over: Arc::default() };
    let scenario = &plan.scenario;
    if scenario.hostile == 0 {
        return Attackers { life, threads: Vec::new() };
    }
    let (targets, clock) = (plan.targets.clone(), plan.clock);
    let (attack, count, rate) = (scenario.attack, scenario.hostile, scenario.attack_rate);
    let its_life = life.clone();
    let leader = thread::spawn(move || {
        step_back();
        wait_until(starts_ns, clock, &its_life);
        match attack {
            Attack::Mixed => {
                for thread in mixed::start(&targets, count, &its_life) {
                    // A panic there is as good as an end.
                    let _panicked = thread.join();
                }
            }
            Attack::Slowloris => slow::requests(&targets, count, &its_life),
            Attack::ConnFlood => flood::connections(&targets, count, rate, &its_life),
            Attack::MessageFlood => {
                flood::messages(&targets, count, flood::Size::Short, rate, &its_life);
            }
            Attack::StallSwarm => stall::swarm(&targets, count, rate, &its_life),
        }
    });
    Attackers { life, threads: vec![leader] }
}

/// Attackers stand for other machines: what they compute is not to cost the peers they are compared with a
/// core. Threads that are started from here on inherit it.
fn step_back() {
    // On Linux each thread has a priority of its own; where it is the process's, all step back alike.
    #[cfg(target_os = "linux")]
    let _refused = rustix::process::nice(19);
}

fn wait_until(starts_ns: u64, clock: Clock, life: &Life) {
    while life.goes_on() && clock.now_ns() < starts_ns {
        thread::sleep(TURN);
    }
}

impl Drop for Attackers {
    fn drop(&mut self) {
        self.life.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A panic there is as good as an end.
            let _panicked = thread.join();
        }
    }
}

/// How much of something is due that happens so often a second; what could not be done is not made up for.
struct Budget {
    rate: f64,
    start: Instant,
    done: f64,
}

impl Budget {
    fn new(rate: f64) -> Self {
        Budget { rate, start: Instant::now(), done: 0.0 }
    }

    fn take(&mut self) -> usize {
        let due = (self.start.elapsed().as_secs_f64() * self.rate).floor();
        // At most what a tenth of a second brings.
        let count = (due - self.done).min((self.rate / 10.0).ceil());
        self.done = due;
        count as usize
    }
}

fn connect(target: &Target) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&target.address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn open(target: &Target) -> io::Result<TcpStream> {
    let mut stream = connect(target)?;
    stream.write_all(&client_request(&target.host, &target.path, KEY))?;
    let mut answer = [0; 1024];
    if stream.read(&mut answer)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(stream)
}
