//! A page of a browser, looked at from outside: the Chrome DevTools Protocol over its WebSocket.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

use super::browser::Browser;
use super::wait::{self, SOON};

pub struct Page {
    socket: WebSocket<TcpStream>,
    asked: u64,
}

impl Page {
    /// The page that `browser` was opened with, whose URL starts with `url`.
    pub fn attach(browser: &Browser, url: &str) -> Page {
        let port_file = browser.profile.0.join("DevToolsActivePort");
        let port: u16 = wait::until("the browser to say where its tools are", || {
            fs::read_to_string(&port_file).ok()?.lines().next()?.parse().ok()
        });
        let connect = || TcpStream::connect(("127.0.0.1", port)).expect("connect to the browser");
        let tools = wait::until(format!("a page of {url}"), || {
            let pages = pages(connect()).expect("a list of pages");
            let page = pages.as_array()?.iter().find(|page| {
                page["type"] == "page" && page["url"].as_str().is_some_and(|at| at.starts_with(url))
            })?;
            page["webSocketDebuggerUrl"].as_str().map(str::to_owned)
        });
        let stream = connect();
        stream.set_read_timeout(Some(SOON)).expect("a read timeout");
        let (socket, _) = tungstenite::client(tools, stream).expect("open the browser's tools");
        Page { socket, asked: 0 }
    }

    /// Asks the browser something, and returns its result.
    pub fn ask(&mut self, method: &str, params: Value) -> Value {
        self.asked += 1;
        let question = json!({"id": self.asked, "method": method, "params": params});
        self.socket.send(Message::text(question.to_string())).expect("ask the browser");
        loop {
            let Message::Text(text) = self.socket.read().expect("an answer of the browser") else {
                continue;
            };
            let mut answer: Value = serde_json::from_str(&text).expect("JSON");
            if answer["id"] == self.asked {
                assert!(answer.get("error").is_none(), "{method}: {answer}");
                return answer["result"].take();
            }
        }
    }

    /// The value of a JavaScript expression.
    pub fn value(&mut self, expression: &str) -> Value {
        let params = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut result = self.ask("Runtime.evaluate", params);
        assert!(result.get("exceptionDetails").is_none(), "{expression}: {result}");
        result["result"]["value"].take()
    }

    /// The text that is shown in the element a selector finds.
    pub fn text(&mut self, selector: &str) -> String {
        let value = self.value(&format!("document.querySelector({})?.innerText", json!(selector)));
        value.as_str().unwrap_or_default().to_owned()
    }

    /// Shows the page as on a screen of this width, light or dark.
    pub fn show_at(&mut self, width: u32, height: u32, scheme: &str) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500});
        self.ask("Emulation.setDeviceMetricsOverride", size);
        let scheme = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.ask("Emulation.setEmulatedMedia", scheme);
    }

    /// Stores a picture of the whole page.
    pub fn picture(&mut self, file: &Path) {
        let params = json!({"format": "png", "captureBeyondViewport": true});
        let picture = self.ask("Page.captureScreenshot", params);
        let mut decoder = Command::new("base64")
            .arg("-d")
            .stdin(Stdio::piped())
            .stdout(fs::File::create(file).expect("create the picture"))
            .spawn()
            .expect("run base64");
        let text = picture["data"].as_str().expect("a picture").as_bytes();
        decoder.stdin.take().expect("piped").write_all(text).expect("decode");
        assert!(decoder.wait().expect("wait for base64").success());
    }
}

/// The browser's pages. It keeps the connection, so that only the length says where its answer ends.
fn pages(mut stream: TcpStream) -> io::Result<Value> {
    stream.set_read_timeout(Some(SOON))?;
    stream.write_all(b"GET /json/list HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")?;
    let (mut reader, mut length, mut line) = (BufReader::new(stream), 0, String::new());
    while reader.read_line(&mut line)? > 2 {
        let header = std::mem::take(&mut line).to_ascii_lowercase();
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    serde_json::from_slice(&body).map_err(io::Error::other)
}
