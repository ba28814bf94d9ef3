//! A real browser: headless Chromium, kept on the loopback interface.

use std::path::PathBuf;
use std::process::Command;

use super::node::{self, Scratch};
use super::process::Process;

pub struct Browser {
    _process: Process,
    pub profile: Scratch,
}

/// Finds Chromium; without it the same rule as for node ([`node::missing`]).
pub fn find() -> Option<PathBuf> {
    let found = candidates().find(|path| path.is_file());
    if found.is_none() {
        node::missing("chromium");
    }
    found
}

impl Browser {
    pub fn open(chromium: PathBuf, url: &str) -> Browser {
        let profile = Scratch::new();
        let mut command = Command::new(chromium);
        command
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-dev-shm-usage",
                "--remote-debugging-port=0",
            ])
            .args([
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--no-proxy-server",
            ])
            .arg("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
            .arg(format!("--user-data-dir={}", profile.0.display()))
            .arg(url);
        Browser { _process: Process::spawn("chromium", &mut command), profile }
    }
}

fn candidates() -> impl Iterator<Item = PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> =
        std::env::split_paths(&path).chain([PathBuf::from("/usr/bin")]).collect();
    folders.into_iter().flat_map(|folder| {
        ["chromium", "chromium-browser", "google-chrome"].map(|name| folder.join(name))
    })
}
