use std::fs;
use std::path::Path;

use super::*;
use crate::tls::identity::PairFiles;

/// A certificate and its key, as PEM.
fn pair() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

/// A directory of this test's own.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("gunmetal-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn files(&self) -> PairFiles {
        PairFiles { cert: self.0.join("cert.pem"), key: self.0.join("key.pem") }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.0);
    }
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
}

fn reloader(name: &str) -> (Folder, Reloader) {
    let folder = Folder::new(name);
    let (cert, key) = pair();
    write(&folder.files().cert, &cert);
    write(&folder.files().key, &key);
    let identity = Identity::load(folder.files()).unwrap();
    (folder, Reloader::new(Arc::new(identity)))
}

fn is_kept(reloader: &Reloader, before: &Arc<rustls::ServerConfig>) -> bool {
    Arc::ptr_eq(&reloader.identity.current(), before)
}

#[test]
fn what_did_not_change_stays() {
    let (_folder, mut reloader) = reloader("unchanged");
    let before = reloader.identity.current();
    for _ in 0..3 {
        assert!(matches!(reloader.look(), Outcome::Unchanged));
    }
    assert!(is_kept(&reloader, &before));
}

#[test]
fn a_new_pair_is_taken_when_it_looks_the_same_twice() {
    let (folder, mut reloader) = reloader("settles");
    let before = reloader.identity.current();
    let (cert, key) = pair();
    write(&folder.files().cert, &cert);
    assert!(matches!(reloader.look(), Outcome::Unchanged), "half of it is there");
    write(&folder.files().key, &key);
    assert!(matches!(reloader.look(), Outcome::Unchanged), "it just came");
    assert!(is_kept(&reloader, &before));
    assert!(matches!(reloader.look(), Outcome::Replaced));
    assert!(!is_kept(&reloader, &before));
    assert!(matches!(reloader.look(), Outcome::Unchanged));
}

#[test]
fn a_broken_pair_is_refused_once_and_the_old_one_stays() {
    let (folder, mut reloader) = reloader("broken");
    let before = reloader.identity.current();
    let good = fs::read_to_string(folder.files().key).unwrap();
    for (broken, complaint) in [
        (pair().1, "the key does not belong to the certificate"),
        ("no key at all".to_owned(), "holds no private key in PEM form"),
    ] {
        write(&folder.files().key, &broken);
        assert!(matches!(reloader.look(), Outcome::Unchanged));
        let Outcome::Refused(error) = reloader.look() else { panic!("it is refused") };
        assert!(error.to_string().contains(complaint), "{error}");
        assert!(matches!(reloader.look(), Outcome::Unchanged), "it was said");
        assert!(is_kept(&reloader, &before));
    }
    fs::remove_file(folder.files().key).unwrap();
    reloader.look();
    let Outcome::Refused(error) = reloader.look() else { panic!("it is refused") };
    assert!(error.to_string().contains("cannot read"), "{error}");
    write(&folder.files().key, &good);
    reloader.look();
    assert!(matches!(reloader.look(), Outcome::Replaced));
}

#[test]
fn who_asks_for_it_gets_it_at_once() {
    let (folder, mut reloader) = reloader("asked");
    let before = reloader.identity.current();
    let (cert, key) = pair();
    write(&folder.files().cert, &cert);
    assert!(matches!(reloader.reload(), Outcome::Refused(_)));
    assert!(is_kept(&reloader, &before));
    write(&folder.files().key, &key);
    assert!(matches!(reloader.reload(), Outcome::Replaced));
    assert!(!is_kept(&reloader, &before));
}
