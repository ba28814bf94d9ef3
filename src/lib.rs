//! gunmetal is a relay for [Gun.js](https://gun.eco) applications: any Gun peer (browser, node,
//! another relay) connects to `ws://HOST:8765/gun` and nothing on its side changes. It speaks
//! Gun's own network stack, DAM over WebSocket, on every core of the machine and with bounded
//! memory.
//!
//! This page is the architecture. [`config`] has every knob; the README tells how to run it.
//!
//! # Map
//!
//! ```text
//!             reactor threads (one mio Poll each, one per core)             writer threads
//!  socket ──► read ─► frames ─► JSON ─► dedup ─► route ──► crossbeam ──► drain ─► batch ─► writev ──► sockets
//!              net     ws       dam      dam      dam       net/queue     one batch per turn, shared by all peers
//! ```
//!
//! | module | owns | must not know |
//! |---|---|---|
//! | [`ws`] | RFC 6455 and the HTTP upgrade, as bytes in and events out | Gun, sockets |
//! | [`dam`] | Gun's mesh: messages, their memory, their routes | sockets, clocks, threads |
//! | [`net`] | all I/O, clocks and threads | what messages mean |
//! | [`tls`] | certificates, keys and roots | connections, threads |
//! | [`config`] | settings: flags, environment, file, and which of them wins | everything else |
//! | [`cli`] | what the program was asked to do | how it is done |
//! | [`service`] | the life of the process: signals, reload, drain, hand-over | how the relay works |
//! | [`logs`], [`health`] | log lines; asking a relay from outside | each other |
//! | [`metrics`] | what is counted | who counts |
//! | [`admin`] | what the operator sees: metrics, health, the live page | how the relay works |
//! | [`top`] | `gunmetal top`: what `admin` tells, in a terminal | how the relay works |
//! | [`ebb`] | when a table that was full gives back room | what it holds |
//! | [`http_thread`] | HTTP apart from the data path: hyper on a thread of its own | what it serves |
//! | [`www`] | which files of `--www` may be seen, and how they are answered | connections |
//!
//! `ws` and `dam` are sans-I/O: bytes go in, decisions come out. That is what makes tests,
//! simulation and fuzzing cheap. They know neither each other nor `net`.
//!
//! # The life of a message
//!
//! 1. [`net::reactor`] reads a ready socket into one buffer that belongs to the thread.
//! 2. [`net::hear`] looks at the starts of the next texts, up to sixteen, and has [`dam::dedup`] fetch
//!    what their ids will need: a wait for memory costs as much as the check of the whole text. Where
//!    duplicates are common it also asks how the texts of these ids are known.
//!    [`ws::reader`] unmasks the frame where it lies and checks its UTF-8.
//! 3. [`dam::batch`] checks the text and finds the spans of each message's envelope
//!    (`#`, `@`, `##`, `><`, …); [`dam::lenient`] takes over for what only JavaScript accepts.
//!    What [`dam::recall`] knows by its bytes was checked before, and is passed over: it is a duplicate.
//! 4. [`dam::mesh`] asks [`dam::dedup`] whether the message is new and decides on a
//!    [`Route`](dam::mesh::Route): to all but a few, to the peer that asked, a reply, or nowhere.
//! 5. [`net::queue`] collects what a turn of the reactor produced, and pushes it, as one shared
//!    [`Turn`](net::queue::Turn), to each [`net::writer`] it concerns. This is the only place
//!    where threads meet.
//! 6. The writer drains its queue, [`net::coalesce`] encodes all broadcast messages once, as
//!    frames of up to Gun's pack size, and each peer's [`net::remote`] writes them with one call;
//!    a peer that sent some of them gets slices of the same bytes around those.
//!
//! A message is parsed once, encoded once and referenced by as many peers as there are. The
//! original text is what is forwarded; only `><`, a missing `#`, the hop budget in `ok` and an
//! internal `_` are changed. A message of 16 KiB and more is passed on as slices of the frame it
//! came in; one that lay whole in the reactor's buffer is moved out of it once, for all peers.
//!
//! Before all that a connection has to be let in: [`net::admission`] knows who its client is, behind
//! proxies too, and how many and how often; and a peer that says more than it may is not read for a
//! while. Each step in the life of a connection has a file beneath [`net::reactor`]: it is admitted,
//! heard for its request, joined to the mesh, closed.
//!
//! # Invariants
//!
//! - A peer is bound to one reactor and one writer for life, so the order from one source to one
//!   target is the order of arrival.
//! - Reactors push to writers and never the other way. A full queue blocks the reactor, TCP then
//!   slows the senders down; writers block on nothing. So there is no deadlock and no silent loss.
//! - A writer that must end a connection shuts the socket down; the reactor sees the hang-up and
//!   cleans up. Only reactors free connections.
//! - A new peer is known to its writer before its upgrade is answered, so it misses nothing that is
//!   said after it saw the answer.
//! - No peer can make the relay dial, run or write anything.
//! - Everything is bounded, by a limit with a name: see the table in the README.
//! - What grows with what peers do is counted in [`net::memory`], and the sum has a limit as well. What a spike
//!   leaves free goes back to the system: [`net::memory::give_back`], the one place with unsafe code.
//!
//! With `--www` a reactor that has read a plain request for a file hands the connection and what it has
//! read to [`net::web`], a thread of its own, where [`net::pipe`] makes the socket, TLS included, a
//! stream for hyper. One request, one answer, and the connection ends there.
//!
//! # TLS
//!
//! A reactor that accepts a connection for TLS passes it to [`net::handshake`], a few threads of
//! their own, for handshakes cost signatures and must not hold up messages. It comes back through
//! the reactor's commands as a socket with a [`net::session`]. From there on everything is as
//! without TLS: the same reactor reads, the same writer writes, and the lock around the state of
//! rustls is known to that module alone. A plain socket has no session, and takes no lock.
//!
//! What a writer gave to a session is written as far as its peer's backlog goes, though the kernel
//! may not have it yet: at most four records are held back so, and [`net::remote`] treats a socket
//! that holds some as full. Certificates are [`tls`]'s; [`net::renewal`] has them looked at.
//!
//! # Lexicon
//!
//! peer: a connected Gun node · conn: its read side · remote: its write side · message: one DAM
//! object · frame: one WebSocket frame · batch: messages in one frame · via: the peer a message
//! came from · turn: one iteration of a loop · link: a connection this relay dialled · bridge: the
//! connection between a process and the one that takes over from it.
//!
//! | Gun | here | | Gun | here |
//! |---|---|---|---|---|
//! | `mesh.hear` | [`receive`](dam::mesh::Router::receive) | | `#` `@` `##` `><` | `id` `ack` `hash` `skip` |
//! | `mesh.say`, `flush` | [`Writer`](net::writer::Writer) | | `dup` | [`Dedup`](dam::dedup::Dedup) |
//! | `mesh.hi`, `mesh.bye` | [`Open`](net::queue::Outbound::Open), [`Close`](net::queue::Outbound::Close) | | `opt.max` `pack` `gap` | `message_bytes_max` `batch_bytes_max` `batch_gap` |
//!
//! # Why not …
//!
//! PERF.md has the figures behind this.
//!
//! **tungstenite's `WebSocketContext`** for reading? It takes more than twice the time for a frame of
//! 200 bytes (`cargo bench --bench reader`), though not for one of 1 MiB. It also holds 1.1 KiB for
//! an idle connection, and after one message of 1 MiB it keeps that much for every connection that
//! ever sent one. tungstenite is the oracle in the reader's tests, and its handshake keys are used.
//!
//! **simd-json** for parsing? Routing needs whether a text is JSON and where the members of its
//! messages are; a tape has every value, unescaped, and up to 30 bytes for each byte of text. The tape
//! alone takes longer than [`dam::scan`] takes for both (`cargo bench --bench batch`), then it has to
//! be walked; and it refuses half an emoji, which JavaScript accepts.
//!
//! **dashmap** for the memory of ids? Two generations are two maps there: two locks, and up to five
//! looks for an id at places that are far apart, while a table of millions is in no cache. In
//! [`dam::dedup`]'s own table a new id is two neighbouring cache lines under one lock. `cargo bench
//! --bench dedup` has a dashmap beside it, which forgets an id for each new one. Names of peers are in one.
//!
//! **One generation in the dedup table, with a sweep?** Gun sweeps all ids every 9 s. Two
//! generations that rotate give the same life (9 to 18 s after the last touch), and what is two
//! rotations old is room.
//!
//! **OpenSSL's way to write**, where the caller keeps the bytes and repeats them until they are
//! out? A peer that is closed for its backlog gives up frames that were not begun; one that is
//! encrypted is begun, and only TLS would know.
//!
//! **A channel per peer?** A broadcast would be as many pushes as there are peers. It is one push
//! per writer.
#![deny(unsafe_code)]

pub mod admin;
pub mod cli;
pub mod config;
pub mod dam;
pub mod ebb;
pub mod health;
pub mod http_thread;
pub mod logs;
pub mod metrics;
pub mod net;
pub mod service;
pub mod tls;
pub mod top;
pub mod ws;
pub mod www;
