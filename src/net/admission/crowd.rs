//! How many connections each address has and how often it connects, and how many are there only to ask.
//!
//! Owns: the table of addresses and its bound. Must not know: why somebody wants to know.
//!
//! Invariant: the table holds addresses that have a connection or connected a short while ago, and
//! at most [`NETWORKS_MAX`] of them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Rejection;
use super::bucket::{Bucket, Rate};
use crate::config;

/// Addresses counted at the same time; about 10 MiB. Beyond it strangers have to wait.
pub const NETWORKS_MAX: usize = 131_072;

/// Connections at a time that may ask whether the relay is well though there is no room for them.
const ASKING_MAX: usize = 16;

/// How often a full table is looked through for what can be forgotten.
const PURGE_INTERVAL: Duration = Duration::from_secs(1);

/// The limits; `None`: no such limit.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    accepts: Option<Rate>,
    address_accepts: Option<Rate>,
    address_connections_max: Option<u64>,
}

impl Limits {
    /// Those that are configured.
    pub fn of(rules: &config::Admission) -> Self {
        Limits {
            accepts: rules.accepts_per_second.map(Rate),
            address_accepts: rules.address_accepts_per_second.map(Rate),
            address_connections_max: rules.address_connections_max.map(u64::from),
        }
    }

    fn are_of_addresses(&self) -> bool {
        self.address_accepts.is_some() || self.address_connections_max.is_some()
    }
}

/// See the module's head.
#[derive(Debug)]
pub struct Crowd {
    limits: Limits,
    state: Arc<Mutex<State>>,
    asking: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct State {
    networks: HashMap<IpAddr, Visits>,
    all: Bucket,
    purged: Instant,
}

/// The connections of an address.
#[derive(Debug)]
struct Visits {
    open: u64,
    bucket: Bucket,
}

/// A connection that came in, counted until this is dropped.
#[derive(Debug)]
pub struct Pass(Counted);

#[derive(Debug)]
enum Counted {
    /// With its address.
    Network(IpAddr, Arc<Mutex<State>>),
    /// With those who may only ask, for this reason.
    Asking(Rejection, Arc<AtomicUsize>),
}

impl Pass {
    /// Why its connection may only ask whether the relay is well, if it may not do more.
    pub fn may_only_ask(&self) -> Option<Rejection> {
        match self.0 {
            Counted::Network(..) => None,
            Counted::Asking(rejection, _) => Some(rejection),
        }
    }
}

impl Crowd {
    /// Nobody yet.
    pub fn new(limits: Limits, now: Instant) -> Self {
        let state = State { networks: HashMap::new(), all: Bucket::new(now), purged: now };
        Crowd { limits, state: Arc::new(Mutex::new(state)), asking: Arc::default() }
    }

    /// The same people, with other limits. Who came while addresses had none is not counted.
    pub fn with_limits(&self, limits: Limits) -> Self {
        Crowd { limits, state: self.state.clone(), asking: self.asking.clone() }
    }

    /// One more connection from `address`, and what counts it, if addresses are counted.
    ///
    /// # Errors
    /// The address has too many, comes too often, or all together do.
    pub fn enter(&self, address: IpAddr, now: Instant) -> Result<Option<Pass>, Rejection> {
        if !self.limits.are_of_addresses() {
            return self.enter_unnamed(now).map(|()| None);
        }
        let network = network_of(address);
        let mut state = lock(&self.state);
        state.make_room(network, now)?;
        let visits = state.visits(network, now);
        if self.limits.address_connections_max.is_some_and(|most| visits.open >= most) {
            return Err(Rejection::AddressFull);
        }
        if let Some(rate) = self.limits.address_accepts {
            visits.bucket.try_take(rate, now).map_err(Rejection::AddressPace)?;
        }
        // Only who may come in as far as its own address is concerned uses up what is for all.
        self.take_from_all(&mut state, now)?;
        state.visits(network, now).open += 1;
        Ok(Some(Pass(Counted::Network(network, self.state.clone()))))
    }

    /// One more that may only ask.
    ///
    /// # Errors
    /// Enough do.
    pub fn enter_to_ask(&self, rejection: Rejection) -> Result<Pass, Rejection> {
        let fits = |count: usize| (count < ASKING_MAX).then_some(count + 1);
        let entered = self.asking.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits);
        let pass = || Pass(Counted::Asking(rejection, self.asking.clone()));
        entered.map(|_| pass()).map_err(|_| rejection)
    }

    /// One more connection of somebody whose address has no limits.
    ///
    /// # Errors
    /// All together come too often.
    pub fn enter_unnamed(&self, now: Instant) -> Result<(), Rejection> {
        match self.limits.accepts {
            Some(_) => self.take_from_all(&mut lock(&self.state), now),
            None => Ok(()),
        }
    }

    fn take_from_all(&self, state: &mut State, now: Instant) -> Result<(), Rejection> {
        match self.limits.accepts {
            Some(rate) => state.all.try_take(rate, now).map_err(Rejection::Pace),
            None => Ok(()),
        }
    }

    /// Addresses counted now.
    #[cfg(test)]
    pub fn addresses(&self) -> usize {
        lock(&self.state).networks.len()
    }
}

impl State {
    fn visits(&mut self, network: IpAddr, now: Instant) -> &mut Visits {
        self.networks.entry(network).or_insert_with(|| Visits { open: 0, bucket: Bucket::new(now) })
    }

    /// Forgets addresses that are as good as new ones.
    fn make_room(&mut self, network: IpAddr, now: Instant) -> Result<(), Rejection> {
        let is_due = now.duration_since(self.purged) >= PURGE_INTERVAL;
        if is_due {
            self.purged = now;
            self.networks.retain(|_, visits| visits.open > 0 || !visits.bucket.is_full(now));
            if self.networks.len() < self.networks.capacity() / 4 {
                self.networks.shrink_to_fit();
            }
        }
        match self.networks.len() >= NETWORKS_MAX && !self.networks.contains_key(&network) {
            true => Err(Rejection::Pace(PURGE_INTERVAL)),
            false => Ok(()),
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        match &self.0 {
            Counted::Network(network, state) => {
                if let Some(visits) = lock(state).networks.get_mut(network) {
                    visits.open -= 1;
                }
            }
            Counted::Asking(_, asking) => {
                asking.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What counts as one address: of IPv6 the /64, which is what one subscriber gets.
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}
