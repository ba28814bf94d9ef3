//! HTTP at its smallest: a server for the page a browser loads, and a client that shows every byte.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::peer::read_to_end;
use super::wait::{self, SOON};

/// Serves fixed files and collects the JSON that is sent to `/report`. It ends with the test process.
pub struct PageServer {
    pub port: u16,
    reports: Arc<Mutex<Vec<Value>>>,
}

/// Path → (content type, body).
pub type Files = HashMap<&'static str, (&'static str, String)>;

impl PageServer {
    pub fn start(files: Files) -> PageServer {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind any port");
        let port = listener.local_addr().expect("an address").port();
        let (files, reports) = (Arc::new(files), Arc::default());
        let inbox = Arc::clone(&reports);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (files, inbox) = (Arc::clone(&files), Arc::clone(&inbox));
                thread::spawn(move || serve(stream, &files, &inbox));
            }
        });
        PageServer { port, reports }
    }

    /// Waits for a report that has this field, and returns the field.
    pub fn reported(&self, field: &str) -> Value {
        let found = wait::poll(Duration::from_secs(60), || self.find(field));
        found.unwrap_or_else(|| {
            panic!("waited for the page to report {field}; it reported {:?}", self.all())
        })
    }

    pub fn all(&self) -> Vec<Value> {
        self.reports.lock().expect("reports").clone()
    }

    fn find(&self, field: &str) -> Option<Value> {
        self.all().iter().find_map(|report| report.get(field).cloned())
    }
}

fn serve(mut stream: TcpStream, files: &Files, reports: &Mutex<Vec<Value>>) -> Option<()> {
    stream.set_read_timeout(Some(SOON)).ok()?;
    let (path, body) = read_request(&stream)?;
    let answer = match files.get(path.as_str()) {
        Some((kind, body)) => format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        ),
        None if path == "/report" => {
            reports.lock().expect("reports").extend(serde_json::from_slice(&body));
            "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n".to_owned()
        }
        None => {
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned()
        }
    };
    stream.write_all(answer.as_bytes()).ok()
}

// The path without its query, and the body.
fn read_request(stream: &TcpStream) -> Option<(String, Vec<u8>)> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.split('?').next()?.to_owned();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let header = header.trim().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((path, body))
}

/// An HTTP answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: HashMap<String, String>,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// Sends `head` (lines without the closing empty one) and reads the answer. `Connection: close` is added, so that the
/// end of the answer is the end of the connection.
pub fn request(mut stream: TcpStream, head: &[&str]) -> Answer {
    let text = format!("{}\r\nConnection: close\r\n\r\n", head.join("\r\n"));
    stream.write_all(text.as_bytes()).expect("send a request");
    let answer = read_to_end(&mut stream, SOON)
        .unwrap_or_else(|| panic!("waited {SOON:?} for the end of the answer to {head:?}"));
    parse_answer(&String::from_utf8_lossy(&answer))
        .unwrap_or_else(|| panic!("no HTTP answer to {head:?}: {answer:?}"))
}

pub fn get(stream: TcpStream, path: &str) -> Answer {
    request(stream, &[&format!("GET {path} HTTP/1.1"), "Host: 127.0.0.1"])
}

fn parse_answer(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Some(Answer { status, headers, body: body.to_owned() })
}
