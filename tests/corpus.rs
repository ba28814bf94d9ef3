//! The corpus of the fuzz targets (`fuzz/`), replayed on the stable compiler.

#[path = "../fuzz/src/lib.rs"]
mod targets;

use std::fs;
use std::path::Path;

fn replay(name: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut files: Vec<_> =
        fs::read_dir(&folder).expect("a corpus").map(|file| file.expect("a file").path()).collect();
    files.sort();
    assert!(files.len() > 3, "{name} has a corpus");
    for file in files {
        let input = fs::read(&file).expect("an input");
        eprintln!("{}", file.display());
        target(&input);
        // Also cut short, as half an input is another one.
        for end in 0..input.len().min(300) {
            target(&input[..end]);
        }
    }
}

#[test]
fn frame() {
    replay("frame", targets::frame);
}

#[test]
fn router() {
    replay("router", targets::router);
}

#[test]
fn upgrade() {
    replay("upgrade", targets::upgrade);
}

#[test]
fn reader() {
    replay("reader", targets::reader);
}
