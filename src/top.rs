//! `gunmetal top`: a running relay in a terminal, as its admin listener tells about it.
//!
//! Owns: asking `/stats.json` and `/peers.json`, and when. [`pace`]: what went on between two looks. [`picture`] and
//! [`table`]: what is told, in which [`words`]. [`screen`]: how it is drawn. Must not know: how the relay works.

use std::io::{self, IsTerminal, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use serde::de::DeserializeOwned;

use self::pace::History;
use self::picture::Picture;

pub mod pace;
pub mod picture;
pub mod screen;
pub mod table;
pub mod words;

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// For connecting, and for each part of an answer to arrive.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest answer that is read, in bytes; the peers asked for need far less.
const ANSWER_BYTES_MAX: u64 = 4 << 20;
/// Header lines of an answer.
const HEADERS_MAX: usize = 64;
/// Peers asked for.
const PEERS_MAX: usize = 200;

/// Shows the relay whose admin listens at `admin` until a key ends it; once and as text when that is asked for or
/// nobody would see a screen. That takes a second: rates need two looks.
///
/// # Errors
/// No relay answers, or the terminal cannot be used.
pub fn run(admin: SocketAddr, once: bool) -> io::Result<()> {
    let mut watch = Watch::new(admin);
    let picture = watch.look(0)?;
    if once || !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        thread::sleep(INTERVAL);
        let written = io::stdout().write_all(watch.look(0)?.text().as_bytes());
        // A pipe that is closed has read enough.
        return written.or_else(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Ok(()),
            _ => Err(error),
        });
    }
    ratatui::run(|terminal| {
        let (mut sort, mut seen) = (0, Ok(picture));
        loop {
            terminal.draw(|frame| screen::draw(frame, admin, sort, &seen))?;
            match wait_for_key(&mut sort)? {
                Wish::Look => seen = watch.look(sort).map_err(|error| error.to_string()),
                Wish::Quit => return Ok(()),
            }
        }
    })
}

enum Wish {
    Look,
    Quit,
}

/// Waits until it is time to look again, or a key asks for something.
fn wait_for_key(sort: &mut usize) -> io::Result<Wish> {
    let end = Instant::now() + INTERVAL;
    while event::poll(end.saturating_duration_since(Instant::now()))? {
        match event::read()? {
            Event::Key(key) if key.kind == KeyEventKind::Press => match key.code {
                KeyCode::Char('q') | KeyCode::Esc => return Ok(Wish::Quit),
                KeyCode::Char('c') if key.modifiers == KeyModifiers::CONTROL => {
                    return Ok(Wish::Quit);
                }
                KeyCode::Char(pressed) => {
                    if let Some(found) = table::SORTS.iter().position(|(key, ..)| *key == pressed) {
                        *sort = found;
                        return Ok(Wish::Look);
                    }
                }
                _ => {}
            },
            Event::Resize(..) => return Ok(Wish::Look),
            _ => {}
        }
    }
    Ok(Wish::Look)
}

/// Looks at one relay again and again.
pub struct Watch {
    admin: SocketAddr,
    history: History,
}

impl Watch {
    /// Of the relay whose admin listens at `admin`, which was not looked at yet.
    pub fn new(admin: SocketAddr) -> Watch {
        Watch { admin, history: History::default() }
    }

    /// The relay now, its peers in an order of [`table::SORTS`].
    ///
    /// # Errors
    /// No relay answers.
    pub fn look(&mut self, sort: usize) -> io::Result<Picture> {
        let admin = self.admin;
        let explain = |error: io::Error| {
            let text = format!(
                "no relay answers at http://{admin}/: {error}. Name its admin address: --admin ADDRESS:PORT"
            );
            io::Error::new(error.kind(), text)
        };
        let (_, order, _) = table::SORTS[sort];
        let stats = fetch(admin, "/stats.json").map_err(explain)?;
        let peers = fetch(admin, &format!("/peers.json?sort={order}&limit={PEERS_MAX}"));
        let peers = peers.map_err(explain)?;
        let pace = self.history.pace(&stats);
        Ok(Picture { admin, stats, pace, peers, sort })
    }
}

/// Asks for a path, and reads the JSON that is the answer.
fn fetch<T: DeserializeOwned>(admin: SocketAddr, path: &str) -> io::Result<T> {
    let mut stream = TcpStream::connect_timeout(&admin, ANSWER_TIMEOUT)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(&answer).map_err(io::Error::other)? {
        httparse::Status::Complete(head_bytes) if response.code == Some(200) => {
            serde_json::from_slice(&answer[head_bytes..]).map_err(io::Error::other)
        }
        _ => Err(io::Error::other(match response.code {
            Some(code) => format!("what answers there says {code}, not figures"),
            None => "what answers there speaks no HTTP".to_owned(),
        })),
    }
}
