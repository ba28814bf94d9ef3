//! `gunmetal top`: a running relay in a terminal, as its admin listener tells about it.
//!
//! Owns: asking `/stats.json` and `/peers.json`, and when. [`table`]: what is told. [`screen`]: how it is drawn. Must
//! not know: how the relay works.

use std::io::{self, IsTerminal, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use serde::de::DeserializeOwned;

use self::table::Picture;

pub mod screen;
pub mod table;

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
/// nobody would see a screen.
///
/// # Errors
/// No relay answers, or the terminal cannot be used.
pub fn run(admin: SocketAddr, once: bool) -> io::Result<()> {
    let mut sort = 0;
    let picture = look(admin, sort)?;
    if once || !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        let written = io::stdout().write_all(picture.text().as_bytes());
        // A pipe that is closed has read enough.
        return written.or_else(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Ok(()),
            _ => Err(error),
        });
    }
    ratatui::run(|terminal| {
        let mut seen = Ok(picture);
        loop {
            terminal.draw(|frame| screen::draw(frame, admin, sort, &seen))?;
            match wait_for_key(&mut sort)? {
                Wish::Look => seen = look(admin, sort).map_err(|error| error.to_string()),
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

fn look(admin: SocketAddr, sort: usize) -> io::Result<Picture> {
    let explain = |error: io::Error| {
        let text = format!(
            "no relay answers at http://{admin}/: {error}. Name its admin address: --admin ADDRESS:PORT"
        );
        io::Error::new(error.kind(), text)
    };
    let (_, sort, _) = table::SORTS[sort];
    let stats = fetch(admin, "/stats.json").map_err(explain)?;
    let peers = fetch(admin, &format!("/peers.json?sort={sort}&limit={PEERS_MAX}"));
    Ok(Picture { stats, peers: peers.map_err(explain)? })
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
