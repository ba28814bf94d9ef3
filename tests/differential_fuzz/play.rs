//! Plays a case on gunmetal's router, and writes down what it did.

use std::sync::Arc;

use gunmetal::dam::batch::Limits;
use gunmetal::dam::dedup::GENERATION_MS;
use gunmetal::dam::mesh::{Mesh, Outgoing, Peer, Route, Router};
use gunmetal::dam::peer::{Name, PeerId};
use serde_json::{Value, json};

use crate::generate::{Case, Step};

const DEDUP_ENTRIES_MAX: usize = 10_000;
const DEPTH_MAX: usize = 1000;
/// Reactors share a mesh, so peers of different ones must meet in it.
const ROUTERS: usize = 2;

/// The case and what gunmetal made of it, for the oracle.
pub fn record(case: &Case) -> Value {
    let mut relay = Relay::new(case.message_units_max);
    let steps: Vec<_> = case.steps.iter().map(|step| relay.play(step)).collect();
    json!({"relay": relay.mesh.pid, "max": case.message_units_max, "steps": steps})
}

/// Takes out a step, unless later ones depend on it.
pub fn remove_step(case: &mut Case, at: usize) -> bool {
    if matches!(case.steps[at], Step::Join { .. }) {
        return false;
    }
    case.steps.remove(at);
    true
}

struct Relay {
    mesh: Arc<Mesh>,
    routers: Vec<Router>,
    peers: Vec<Option<Peer>>,
    now_ms: u64,
}

impl Relay {
    fn new(message_units_max: usize) -> Relay {
        let limits = Limits { message_units_max, depth_max: DEPTH_MAX };
        let mesh = Arc::new(Mesh::new(DEDUP_ENTRIES_MAX, [7; 192], 1));
        let router = |seed| Router::new(Arc::clone(&mesh), limits, seed);
        let routers = (0..ROUTERS as u64).map(|n| router(2 + n)).collect();
        Relay { mesh, routers, peers: Vec::new(), now_ms: 0 }
    }

    fn play(&mut self, step: &Step) -> Value {
        match step {
            Step::Join { name, is_link } => {
                self.join(name, *is_link);
                json!({"join": name, "link": is_link})
            }
            Step::Leave { peer } => {
                let gone = self.peers[*peer].take().expect("who leaves is there");
                self.mesh.peers.leave(gone.seat);
                json!({"leave": peer})
            }
            Step::Tick => {
                self.now_ms += GENERATION_MS;
                self.mesh.dedup.expire(self.now_ms);
                json!({"tick": 1})
            }
            Step::Say { peer, text } => {
                json!({"from": peer, "text": text, "heard": self.say(*peer, text)})
            }
        }
    }

    fn join(&mut self, name: &str, is_link: bool) {
        let id = PeerId::new(self.peers.len() as u64, 0);
        let seat = self.mesh.peers.join(id, if is_link { Name::Url(name) } else { Name::Id(name) });
        self.peers.push(Some(Peer { id, seat, is_dialled: is_link, pid: None }));
    }

    /// Who was sent what, in order.
    fn say(&mut self, from: usize, text: &str) -> Vec<(usize, String)> {
        let mut source = self.peers[from].take().expect("who speaks is there");
        let ids: Vec<_> = self.peers.iter().map(|peer| peer.as_ref().map(|peer| peer.id)).collect();
        let connected = |n: usize| n == from || ids[n].is_some();
        let id = |n: usize| PeerId::new(n as u64, 0);
        let mut heard = Vec::new();
        self.routers[from % ROUTERS].receive(
            text.as_bytes(),
            &mut source,
            &mut |route| match route {
                Route::Broadcast(message, except) => {
                    let to = (0..ids.len()).filter(|n| connected(*n) && !except.contains(&id(*n)));
                    heard.extend(to.map(|n| (n, text_of(&message))));
                }
                Route::Peer(to, message) => {
                    let to = (0..ids.len()).filter(|n| connected(*n) && id(*n) == to);
                    heard.extend(to.map(|n| (n, text_of(&message))));
                }
                Route::Reply(text) => heard.push((from, text)),
                Route::Drop(_) => {}
                Route::Itself => panic!("no peer tells the relay's own pid"),
            },
        );
        self.peers[from] = Some(source);
        heard
    }
}

fn text_of(message: &Outgoing<'_>) -> String {
    let mut text = Vec::new();
    message.append_to(&mut text);
    String::from_utf8(text).expect("what is forwarded is UTF-8")
}
