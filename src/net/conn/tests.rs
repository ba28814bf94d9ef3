use std::net::{Ipv4Addr, TcpListener};

use mio::{Poll, Token};

use super::*;
use crate::dam::dedup::Keys;
use crate::dam::peer::Name;
use crate::ws::reader::Role;

/// A link whose other end told `pid`.
fn link_to(pid: &[u8], peers: &Peers) -> (Conn, crossbeam_channel::Receiver<LinkEvent>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (stream, poll) = (mio::net::TcpStream::connect(address).unwrap(), Poll::new().unwrap());
    let socket = Socket::watched(stream, address, poll.registry(), Token(0)).unwrap();
    let (events, heard) = crossbeam_channel::unbounded();
    let (id, name) = (PeerId::new(1, 0), "ws://other/gun".to_owned());
    let seat = peers.join(id, Name::Url(&name));
    peers.learn_pid(seat, pid);
    let peer = Peer { id, seat, is_dialled: true, pid: Some(pid.into()) };
    let reader = FrameReader::new(Role::Client, 1_000);
    let conn = Conn {
        socket: Arc::new(socket),
        generation: 0,
        stage: Stage::Open(Box::new(Hearing { reader, peer, messages_in: 0, allowance: None })),
        is_ready: false,
        is_paused: false,
        is_hung_up: false,
        pass: None,
        held: 0,
        link: Some(Arc::new(Link::new(id, name, events))),
        since: Instant::now(),
        bytes_in: 0,
    };
    (conn, heard)
}

#[test]
fn a_link_that_is_gone_has_a_twin_while_the_other_relay_is_connected() {
    for (ending, has_twin, end) in [
        (Ending::Peer, true, LinkEnd::Twin),
        (Ending::Peer, false, LinkEnd::Lost),
        (Ending::Itself, true, LinkEnd::Myself),
    ] {
        let peers = Peers::new(Keys::new([1; 192]));
        let (conn, heard) = link_to(b"other", &peers);
        let twin = has_twin.then(|| peers.join(PeerId::new(2, 0), Name::Id("inner")));
        if let Some(twin) = twin {
            peers.learn_pid(twin, b"other");
        }
        conn.leave(&peers);
        let link = conn.link.as_ref().unwrap();
        link.report(ending, &peers);
        let LinkEvent::Closed { end: told, .. } = heard.try_recv().unwrap() else { panic!() };
        assert_eq!(told, end);
        assert_eq!(link.has_twin(&peers), has_twin);
        if let Some(twin) = twin {
            peers.leave(twin);
            assert!(!link.has_twin(&peers));
        }
    }
}
