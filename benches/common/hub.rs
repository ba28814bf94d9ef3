//! A mesh with peers, without sockets.

use std::hint::black_box;
use std::sync::Arc;

use gunmetal::dam::batch::Limits;
use gunmetal::dam::mesh::{Mesh, Peer, Route, Router};
use gunmetal::dam::peer::{Name, PeerId};

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

    /// Hears a frame from a peer. Returns how many bytes go out, to however many.
    pub fn hear(&mut self, peer: usize, text: &str) -> usize {
        let (out, mut bytes) = (&mut self.out, 0);
        self.router.receive(text.as_bytes(), &mut self.peers[peer], &mut |route| match route {
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
