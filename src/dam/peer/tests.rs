use super::*;

fn peers() -> Peers {
    Peers::new(Keys::new([3; 192]))
}

fn heads(peers: &Peers) -> Option<String> {
    let mut heads = Heads::default();
    peers.refresh(&mut heads);
    heads.text().map(|text| String::from_utf8(text.to_vec()).unwrap())
}

fn find(peers: &Peers, name: &str) -> Vec<PeerId> {
    let mut found = FewPeers::new();
    peers.find(name.as_bytes(), &mut found);
    found.into_vec()
}

#[test]
fn the_first_seven_are_named_oldest_first() {
    let peers = peers();
    let seats: Vec<_> =
        (0..9).map(|n| peers.join(PeerId::new(n, 0), Name::Id(&format!("p{n}")))).collect();
    assert_eq!(heads(&peers).unwrap(), r#""p0,p1,p2,p3,p4,p5,p6""#);
    peers.leave(seats[8]);
    peers.leave(seats[2]);
    assert_eq!(heads(&peers).unwrap(), r#""p0,p1,p3,p4,p5,p6,p7""#);
    assert_eq!(peers.near(), 7);
}

#[test]
fn a_lone_peer_is_not_named() {
    let peers = peers();
    assert_eq!(heads(&peers), None);
    let seat = peers.join(PeerId::new(0, 0), Name::Id("p0"));
    assert_eq!(heads(&peers), None);
    peers.join(PeerId::new(1, 0), Name::Id("p1"));
    peers.leave(seat);
    assert_eq!(heads(&peers), None);
}

#[test]
fn a_peer_is_shown_by_url_else_pid_else_id_and_found_by_all_of_them() {
    let peers = peers();
    let (a, b) = (PeerId::new(0, 0), PeerId::new(1, 3));
    let inbound = peers.join(a, Name::Id("inner"));
    let outbound = peers.join(b, Name::Url("http://x/gun"));
    assert_eq!(heads(&peers).unwrap(), r#""inner,http://x/gun""#);
    assert_eq!(peers.near(), 2);
    assert!(peers.learn_pid(inbound, b"pa"));
    assert!(peers.learn_pid(inbound, b"later"));
    assert!(peers.learn_pid(outbound, b"pb"));
    assert_eq!(heads(&peers).unwrap(), r#""pa,http://x/gun""#);
    assert_eq!((find(&peers, "pa"), find(&peers, "inner")), (vec![a], vec![a]));
    assert_eq!((find(&peers, "pb"), find(&peers, "http://x/gun")), (vec![b], vec![b]));
    assert!(find(&peers, "later").is_empty() && find(&peers, "undefined").is_empty());
    peers.leave(inbound);
    assert!(find(&peers, "pa").is_empty() && find(&peers, "inner").is_empty());
    assert_eq!(peers.named.len(), 2);
}

#[test]
fn connections_that_share_a_pid_are_all_found() {
    let peers = peers();
    let seats = [0, 1].map(|n| peers.join(PeerId::new(n, 0), Name::Id(&format!("p{n}"))));
    assert_eq!(seats.map(|seat| peers.learn_pid(seat, b"same")), [true, true]);
    assert_eq!(find(&peers, "same").len(), 2);
    peers.leave(seats[0]);
    assert_eq!(find(&peers, "same"), [PeerId::new(1, 0)]);
}

#[test]
fn a_pid_that_is_no_name_is_refused() {
    let peers = peers();
    let seat = peers.join(PeerId::new(0, 0), Name::Id("p0"));
    assert!(!peers.learn_pid(seat, &[b'x'; PID_BYTES_MAX + 1]));
    assert!(!peers.learn_pid(seat, b"\xed\xa0\xbd"));
    assert!(peers.learn_pid(seat, b"good"));
}

#[test]
fn names_are_quoted_as_json() {
    let peers = peers();
    for n in 0..2 {
        let seat = peers.join(PeerId::new(n, 0), Name::Id(&format!("p{n}")));
        peers.learn_pid(seat, format!("q\"\\{n}").as_bytes());
    }
    assert_eq!(heads(&peers).unwrap(), r#""q\"\\0,q\"\\1""#);
}
