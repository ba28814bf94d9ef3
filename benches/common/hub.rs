//! A mesh with peers, without sockets.

use std::hint::black_box;
use std::sync::Arc;

use gunmetal::dam::batch::Limits;
use gunmetal::dam::dedup::FETCH_MAX;
use gunmetal::dam::mesh::{Mesh, Peer, Route, Router};
use gunmetal::dam::peer::{Name, PeerId};
use gunmetal::dam::recall::Foreseen;
use gunmetal::ws::reader::START_BYTES;
use smallvec::SmallVec;

/// A router and the peers it routes for.
pub struct Hub {
    pub mesh: Arc<Mesh>,
    pub router: Router,
    pub peers: Vec<Peer>,
    out: Vec<u8>,
}

impl Hub {
    /// So many inbound peers.
    pub fn new(peers: u64) -> Self {
        let mesh = Arc::new(Mesh::new(2_000_000, [7; 192], 1));
        let limits = Limits { message_units_max: 90_000_000, depth_max: 1_000 };
        let join = |n: u64| {
            let id = PeerId::new(n, 0);
            let seat = mesh.peers.join(id, Name::Id(&format!("peer{n:05}")));
            Peer { id, seat, is_dialled: false, pid: None }
        };
        let peers = (0..peers).map(join).collect();
        let router = Router::new(mesh.clone(), limits, 1);
        Hub { mesh, router, peers, out: Vec::with_capacity(1024) }
    }

    /// Hears frames from a peer that came at once. Returns how many bytes go out, to however many.
    pub fn hear_all(&mut self, peer: usize, texts: &[String]) -> usize {
        let mut bytes = 0;
        for texts in texts.chunks(FETCH_MAX) {
            let start = |text: &'_ String| text.as_bytes().first_chunk::<START_BYTES>().copied();
            let starts: SmallVec<[_; FETCH_MAX]> = texts.iter().filter_map(start).collect();
            let foreseen = self.router.foresee(starts.iter().map(|start| &start[..]));
            let mut foreseen = foreseen.into_iter();
            for text in texts {
                bytes += self.hear_foreseen(peer, text, foreseen.next().unwrap_or_default());
            }
        }
        bytes
    }

    /// Hears a frame from a peer. Returns how many bytes go out, to however many.
    pub fn hear(&mut self, peer: usize, text: &str) -> usize {
        self.hear_foreseen(peer, text, Foreseen::Nothing)
    }

    fn hear_foreseen(&mut self, peer: usize, text: &str, foreseen: Foreseen) -> usize {
        let (out, mut bytes) = (&mut self.out, 0);
        let (text, from) = (text.as_bytes(), &mut self.peers[peer]);
        self.router.receive_foreseen(text, foreseen, from, &mut |route| match route {
            Route::Broadcast(message, except) => {
                black_box(except);
                out.clear();
                message.append_to(out);
                bytes += out.len();
            }
            Route::Peer(_, message) => {
                out.clear();
                message.append_to(out);
                bytes += out.len();
            }
            other => {
                black_box(&other);
            }
        });
        bytes
    }
}
