//! node, and the npm packages of `tests/node` installed under the target directory.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::process::Process;

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/node");
const LOCKFILE: &str = "package-lock.json";

/// node with Gun installed.
pub struct Node {
    packages: PathBuf,
}

/// A release of the npm package. The newest is what everything runs that does not ask for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 0.2020.520: what was the newest for years, before the protocol got hashes and `><` back.
    V520,
    /// 0.2020.1240
    V1240,
    /// 0.2020.1241
    Newest,
}

impl Version {
    /// What to `require`: `tests/node/package.json` installs each release under a name of its own.
    pub fn package(self) -> &'static str {
        match self {
            Version::V520 => "gun-520",
            Version::V1240 => "gun-1240",
            Version::Newest => "gun",
        }
    }
}

/// Finds node and installs the packages once per target directory. Without node: fails where `CI` is set, elsewhere
/// warns, and the calling test is to return.
pub fn ensure() -> Option<&'static Node> {
    static NODE: OnceLock<Option<Node>> = OnceLock::new();
    NODE.get_or_init(|| {
        let found = Command::new("node")
            .arg("--version")
            .output()
            .is_ok_and(|output| output.status.success());
        if !found {
            missing("node");
            return None;
        }
        Some(Node { packages: install() })
    })
    .as_ref()
}

/// A tool the tests need is not there.
pub fn missing(tool: &str) {
    let in_ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty());
    assert!(!in_ci, "{tool} is missing, and in CI no test may be skipped");
    // Straight to stderr: what a passing test prints is not shown.
    let warning = "so tests that need it have tested NOTHING";
    let _ = writeln!(io::stderr(), "\n!!!!!!!! SKIPPED: {tool} is missing, {warning} !!!!!!!!\n");
}

impl Node {
    /// Runs `tests/node/<script>` with `setup` as its argument, in a working directory of its own.
    pub fn run(
        &self,
        name: impl Into<String>,
        script: &str,
        setup: &serde_json::Value,
    ) -> (Process, Scratch) {
        self.run_trusting(None, name, script, setup)
    }

    /// The same, with a root certificate that node trusts besides its own.
    pub fn run_trusting(
        &self,
        root: Option<&Path>,
        name: impl Into<String>,
        script: &str,
        setup: &serde_json::Value,
    ) -> (Process, Scratch) {
        let scratch = Scratch::new();
        let mut command = Command::new("node");
        command
            .arg(Path::new(SCRIPTS).join(script))
            .arg(setup.to_string())
            .current_dir(&scratch.0)
            .env("NODE_PATH", self.packages.join("node_modules"))
            .env_remove("PEERS")
            .env_remove("AXE");
        command.envs(root.map(|root| ("NODE_EXTRA_CA_CERTS", root)));
        (Process::spawn(name, &mut command), scratch)
    }

    /// The text of `gun.js` as a browser loads it.
    pub fn gun_js(&self) -> String {
        fs::read_to_string(self.packages.join("node_modules/gun/gun.js"))
            .expect("gun.js of the package")
    }
}

/// A directory that goes away with its owner.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new() -> Scratch {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("run-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).expect("create a scratch directory");
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

// The lock is for test binaries that run side by side; the copied lockfile says that the installation is complete.
fn install() -> PathBuf {
    let packages = Path::new(env!("CARGO_TARGET_TMPDIR")).join("node");
    fs::create_dir_all(&packages).expect("create the package directory");
    let guard = File::create(packages.join("lock")).expect("create the lock");
    guard.lock().expect("lock the package directory");

    let wanted =
        fs::read_to_string(Path::new(SCRIPTS).join(LOCKFILE)).expect("the committed lockfile");
    let complete = packages.join("complete");
    if fs::read_to_string(&complete).is_ok_and(|installed| installed == wanted) {
        return packages;
    }
    let _ = fs::remove_file(&complete);
    for file in ["package.json", LOCKFILE] {
        fs::copy(Path::new(SCRIPTS).join(file), packages.join(file))
            .expect("copy the package list");
    }
    npm_ci(&packages);
    fs::write(&complete, wanted).expect("mark the installation complete");
    packages
}

fn npm_ci(packages: &Path) {
    let output = Command::new("npm")
        .args([
            "ci",
            "--ignore-scripts",
            // 0.2020.520 names peers for React Native and for faster WebSockets; the lockfile has none of them.
            "--legacy-peer-deps",
            "--no-audit",
            "--no-fund",
            "--fetch-retries=3",
            "--fetch-timeout=60000",
        ])
        .current_dir(packages)
        .output()
        .expect("run npm");
    assert!(output.status.success(), "npm ci failed:\n{}", String::from_utf8_lossy(&output.stderr));
}
