//! What happens to a message: Gun's `hear.one` and `mesh.say` without the sockets.
//!
//! Owns: [`Mesh`], what all reactors share, and [`Router`], one reactor's way to use it. A frame
//! and the peer it came from go in, [`Route`]s come out. Must not know: sockets, threads, clocks
//! (the table's time is moved by whoever owns the mesh), logs.
//!
//! Invariants:
//! - A message goes back to its source never, and to any other peer at most once per id.
//! - An answer goes to the peer that asked, or nowhere.
//! - Every message ends in exactly one route.

use std::borrow::Cow;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use smallvec::SmallVec;

use super::batch::{Heard, Ignored, Limits, Parser, Refusal};
use super::dedup::{After, Dedup, Entry, FETCH_MAX, Key, Keys, Question, Secret};
use super::message::{Field, Kind, Message, Part, Rewrite};
use super::peer::{FewPeers, Heads, PeerId, Peers, Seat};
use super::recall::{Fingerprint, Foreseen, Recall, Repeats, leading_key};

/// How much of `><` is read, in UTF-16 code units (Gun: `hear.one`).
const SKIP_UNITS_MAX: usize = 99;

/// Characters of a random id, as Gun's `String.random` makes them.
const ID_CHARS: usize = 9;
const ALPHABET: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXZabcdefghijklmnopqrstuvwxyz";

/// What all reactors share: the memory of ids and the list of peers.
pub struct Mesh {
    /// This relay's name, the same for all peers and for the life of the process.
    pub pid: String,
    /// Who is connected.
    pub peers: Peers,
    /// What was heard lately.
    pub dedup: Dedup,
    keys: Keys,
}

impl Mesh {
    /// A mesh without peers. `secret` and `seed` should be random.
    pub fn new(dedup_entries_max: usize, secret: Secret, seed: u64) -> Self {
        let keys = Keys::new(secret);
        Mesh {
            pid: random_id(&mut StdRng::seed_from_u64(seed)),
            peers: Peers::new(keys.clone()),
            dedup: Dedup::new(dedup_entries_max),
            keys,
        }
    }
}

/// A peer as its reactor knows it.
#[derive(Debug)]
pub struct Peer {
    /// Who it is.
    pub id: PeerId,
    /// Where it stands in the list.
    pub seat: Seat,
    /// This relay dialled it.
    pub is_dialled: bool,
    /// The pid it told, which later ones do not change.
    pub pid: Option<Box<[u8]>>,
}

/// What is to be done about a message.
#[derive(Debug)]
pub enum Route<'a> {
    /// To every peer but these.
    Broadcast(Outgoing<'a>, &'a [PeerId]),
    /// To the peer that asked.
    Peer(PeerId, Outgoing<'a>),
    /// This text back to the peer it came from.
    Reply(String),
    /// Nothing. Counted.
    Drop(Dropped),
    /// The peer is this relay itself: the link is of no use and is to be closed.
    Itself,
}

/// Why a message goes nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// Its id was heard before.
    DuplicateId,
    /// The same content answered the same question before.
    DuplicateHash,
    /// It answers something unknown or forgotten.
    LostAck,
    /// It says "not found" where others had data.
    NotFound,
    /// It holds what the asker has already.
    SameHash,
    /// It would go back to the peer it came from.
    Echo,
    /// The asker is in its `><`.
    Skipped,
    /// A verb between neighbours, handled.
    Control,
    /// An error a neighbour reports (`dam: "!"`).
    ErrorReport,
    /// A verb that would have the relay do something for a stranger, or an unknown one.
    UnknownVerb,
    /// No message: the frame was refused and the peer told so.
    Refused(Refusal),
    /// No message: an empty frame, a heartbeat, a number in a batch.
    Ignored(Ignored),
}

/// A message on its way out: the text it came as, with the few changes a relay makes.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    message: &'a Message<'a>,
    rewrite: Rewrite<'a>,
}

impl<'a> Outgoing<'a> {
    /// The text it came as.
    pub fn source(&self) -> &'a [u8] {
        self.message.text
    }

    /// Where [`source`](Self::source) lies in the frame's payload, unless it was unescaped.
    pub fn source_start(&self) -> Option<usize> {
        self.message.start
    }

    /// It has data.
    pub fn has_put(&self) -> bool {
        self.message.put
    }

    /// It asks for something.
    pub fn has_get(&self) -> bool {
        self.message.get
    }

    /// Calls `part` with the pieces of the text to send, in order.
    pub fn parts(&self, mut part: impl FnMut(Part<'a>)) {
        self.message.rewrite(&self.rewrite, &mut part);
    }

    /// Appends the text to send.
    pub fn append_to(&self, out: &mut Vec<u8>) {
        self.message.append(&self.rewrite, out);
    }
}

/// One thread's way through the mesh, with its scratch memory.
pub struct Router {
    mesh: Arc<Mesh>,
    parser: Parser,
    judge: Judge,
}

struct Judge {
    mesh: Arc<Mesh>,
    heads: Heads,
    repeats: Repeats,
    random: StdRng,
}

impl Router {
    /// A router of `mesh`. `seed` should be random.
    pub fn new(mesh: Arc<Mesh>, limits: Limits, seed: u64) -> Self {
        let random = StdRng::seed_from_u64(seed);
        let (heads, repeats) = Default::default();
        let judge = Judge { mesh: mesh.clone(), heads, repeats, random };
        Router { mesh, parser: Parser::new(limits), judge }
    }

    /// Hears one frame's text, which is UTF-8, from a peer and says what is to be done, message by message.
    ///
    /// Gun: `mesh.hear`.
    #[doc(alias = "hear")]
    pub fn receive(&mut self, payload: &[u8], from: &mut Peer, route: &mut dyn FnMut(Route<'_>)) {
        self.receive_foreseen(payload, Foreseen::Nothing, from, route);
    }

    /// [`receive`](Self::receive), with what was [foreseen](Self::foresee) of the payload.
    pub fn receive_foreseen(
        &mut self,
        payload: &[u8],
        foreseen: Foreseen,
        from: &mut Peer,
        route: &mut dyn FnMut(Route<'_>),
    ) {
        let Router { mesh, parser, judge } = self;
        mesh.peers.refresh(&mut judge.heads);
        let mut recall = Recall::new(&mesh.keys, &mesh.dedup, foreseen, &judge.repeats);
        parser.hear_new(payload, |text| recall.settled(text), &mut |heard| match heard {
            Heard::Message(message) => judge.route(message, from, route),
            Heard::Duplicate => {
                judge.repeats.saw_duplicate();
                route(Route::Drop(Dropped::DuplicateId));
            }
            Heard::Refused(refusal) => {
                route(Route::Reply(judge.error(refusal)));
                route(Route::Drop(Dropped::Refused(refusal)));
            }
            Heard::Ignored(ignored) => route(Route::Drop(Dropped::Ignored(ignored))),
        });
    }

    /// Says how texts begin that will be [received](Self::receive_foreseen) next, up to [`FETCH_MAX`] of them, so
    /// that the memory of their ids is not waited for one by one. Gun's messages begin with their id; of
    /// others nothing is lost but time. Says what is known of each, if it pays to ask.
    pub fn foresee<'a>(
        &mut self,
        starts: impl Iterator<Item = &'a [u8]>,
    ) -> SmallVec<[Foreseen; FETCH_MAX]> {
        let Mesh { keys, dedup, .. } = &*self.mesh;
        let first = |start: &'a [u8]| start.strip_prefix(b"[").unwrap_or(start);
        let leading: SmallVec<[_; FETCH_MAX]> =
            starts.map(|start| leading_key(first(start), keys)).collect();
        let known = dedup.fetch(&leading, self.judge.repeats.are_common()).into_iter();
        known.map(|known| known.map_or(Foreseen::New, Foreseen::Known)).collect()
    }

    /// The message that greets an inbound peer (Gun: `mesh.hi`).
    pub fn greeting(&mut self) -> String {
        let id = self.random_id();
        format!(r##"{{"dam":"?","pid":"{}","#":"{id}"}}"##, self.mesh.pid)
    }

    /// The first message to a peer that was dialled (Gun: `websocket.js`).
    pub fn first_words(&mut self) -> String {
        format!(r##"{{"dam":"hi","#":"{}"}}"##, self.random_id())
    }

    /// What a peer is told whose frame was refused.
    pub fn error(&mut self, refusal: Refusal) -> String {
        self.judge.error(refusal)
    }

    /// A random name for an inbound peer.
    pub fn random_id(&mut self) -> String {
        random_id(&mut self.judge.random)
    }
}

impl Judge {
    /// Gun: `hear.one`.
    fn route(&mut self, message: &Message<'_>, from: &mut Peer, route: &mut dyn FnMut(Route<'_>)) {
        let invented = (!message.id.truthy).then(|| random_id(&mut self.random));
        let own_id = message.id.text();
        let id = invented.as_deref().map_or(&*own_id, str::as_bytes);
        if let Err(dropped) = self.remember(message, id, from.id) {
            if dropped == Dropped::DuplicateId {
                self.repeats.saw_duplicate();
            }
            return route(Route::Drop(dropped));
        }
        self.repeats.saw_new();
        if message.dam.truthy {
            return route(self.control(message, invented.as_deref(), from));
        }
        let mut except = FewPeers::new();
        self.find_skipped(message, &mut except);

        let quoted_id = invented.map(|id| format!("\"{id}\""));
        let new_ok = self.hop_counted(message);
        let rewrite = Rewrite {
            id: quoted_id.as_deref().map(str::as_bytes),
            ok: new_ok.as_deref().map(str::as_bytes),
            skip: None,
        };
        if message.ack.truthy {
            let to = self.asker(message, from.id, &except);
            return match to {
                Ok(to) => route(Route::Peer(to, Outgoing { message, rewrite })),
                Err(dropped) => route(Route::Drop(dropped)),
            };
        }
        except.push(from.id);
        let rewrite = Rewrite { skip: self.heads.text(), ..rewrite };
        route(Route::Broadcast(Outgoing { message, rewrite }, &except));
    }

    /// Checks and remembers the id, and the question and hash of an answer.
    fn remember(&self, message: &Message<'_>, id: &[u8], from: PeerId) -> Result<(), Dropped> {
        let Mesh { dedup, keys, .. } = &*self.mesh;
        let entry = match message {
            _ if message.dam.truthy => Entry::SEEN,
            _ => Entry { via: Some(from), question: self.question(message) },
        };
        let id_key = keys.of(id);
        if !dedup.first(id_key, entry) {
            return Err(Dropped::DuplicateId);
        }
        let Some(pair) = self.pair(message, id) else { return Ok(()) };
        let is_new = match message.dam.truthy {
            true => !dedup.seen(pair),
            false => dedup.first(pair, Entry::SEEN),
        };
        if !is_new {
            dedup.forget(id_key);
            return Err(Dropped::DuplicateHash);
        }
        Ok(())
    }

    /// What to remember of what it asks, and of its text: an answer goes to one peer, and does not come back as
    /// broadcasts do.
    fn question(&self, message: &Message<'_>) -> Question {
        let question = match message {
            _ if !message.get => Question::NONE,
            _ if message.hash.truthy => has_content(&message.hash),
            _ => Question::OPEN,
        };
        let fingerprint = match message.ack.truthy || !self.repeats.are_common() {
            true => None,
            false => Fingerprint::of(message, &self.mesh.keys),
        };
        fingerprint.map_or(question, |fingerprint| question.of_text(fingerprint))
    }

    /// The key of what is answered (or asked, for a question) together with the hash.
    fn pair(&self, message: &Message<'_>, id: &[u8]) -> Option<Key> {
        if !message.hash.truthy {
            return None;
        }
        let asked = match message {
            _ if message.ack.truthy => message.ack.text(),
            _ if message.get => Cow::Borrowed(id),
            _ => return None,
        };
        Some(self.mesh.keys.of_pair(&asked, &message.hash.text()))
    }

    /// Adds the peers that `><` says have the message.
    fn find_skipped(&self, message: &Message<'_>, peers: &mut FewPeers) {
        if message.skip.kind != Kind::Text || !message.skip.truthy {
            return;
        }
        let names = message.skip.text();
        let names = first_units(&names, SKIP_UNITS_MAX);
        for name in names.split(|byte| *byte == b',') {
            self.mesh.peers.find(name, peers);
        }
    }

    /// The new `ok` of a message that carries data: its hop budget less one, and how many peers
    /// there are (Gun: `mesh.raw`).
    fn hop_counted(&self, message: &Message<'_>) -> Option<String> {
        let counts = message.put && message.ok.truthy;
        let hops = counts.then(|| message.hops())?;
        let hops = String::from_utf8_lossy(&hops);
        Some(format!(r#"{{"@":{hops},"/":{}}}"#, self.mesh.peers.near()))
    }

    /// Who gets an answer (Gun: `mesh.say`, and `mesh.raw` for the hashes).
    fn asker(
        &self,
        answer: &Message<'_>,
        from: PeerId,
        skipped: &[PeerId],
    ) -> Result<PeerId, Dropped> {
        let key = self.mesh.keys.of(&answer.ack.text());
        let verdict = self.mesh.dedup.with(key, |asked| {
            let verdict = judge_answer(answer, asked, from, skipped);
            (if verdict.is_ok() { After::Refresh } else { After::Keep }, verdict)
        });
        verdict.unwrap_or(Err(Dropped::LostAck))
    }

    /// Gun: `mesh.hear[verb]`, for the verbs a relay has a reason to obey.
    fn control(
        &mut self,
        message: &Message<'_>,
        invented: Option<&str>,
        from: &mut Peer,
    ) -> Route<'static> {
        match &*message.dam.text() {
            b"?" => self.hello(message, invented, from),
            b"!" => Route::Drop(Dropped::ErrorReport),
            b"hi" | b"rtc" => Route::Drop(Dropped::Control),
            _ => Route::Drop(Dropped::UnknownVerb),
        }
    }

    /// Gun: `mesh.hear['?']`.
    fn hello(
        &mut self,
        message: &Message<'_>,
        invented: Option<&str>,
        from: &mut Peer,
    ) -> Route<'static> {
        if message.pid.truthy {
            let pid = &*message.pid.text();
            if from.is_dialled && pid == self.mesh.pid.as_bytes() {
                return Route::Itself;
            }
            if from.pid.is_none() && self.mesh.peers.learn_pid(from.seat, pid) {
                from.pid = Some(pid.into());
                // The rest of the frame names the peer by it already.
                self.mesh.peers.refresh(&mut self.heads);
            }
            if message.ack.truthy {
                return Route::Drop(Dropped::Control);
            }
        }
        let asked = match invented {
            Some(id) => format!("\"{id}\""),
            None => String::from_utf8_lossy(message.id.source).into_owned(),
        };
        let (pid, id) = (&self.mesh.pid, random_id(&mut self.random));
        Route::Reply(format!(r##"{{"dam":"?","pid":"{pid}","@":{asked},"#":"{id}"}}"##))
    }

    fn error(&mut self, refusal: Refusal) -> String {
        let id = random_id(&mut self.random);
        format!(r##"{{"dam":"!","err":"{}","#":"{id}"}}"##, error_text(refusal))
    }
}

/// What the peer is told. The first two are Gun's own words.
fn error_text(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::TooBig => "Message too big!",
        Refusal::Broken => "DAM JSON parse error.",
        Refusal::TooDeep => "Message nested too deep!",
    }
}

fn has_content(hash: &Field<'_>) -> Question {
    Question::with_hash(&hash.text(), hash.kind as u64)
}

/// The rules for an answer, against what is known of the message it answers.
fn judge_answer(
    answer: &Message<'_>,
    asked: &mut Entry,
    from: PeerId,
    skipped: &[PeerId],
) -> Result<PeerId, Dropped> {
    let Some(asker) = asked.via else { return Err(Dropped::LostAck) };
    if asked.question.has_hash() && !answer.put && !answer.hash.truthy {
        return Err(Dropped::NotFound);
    }
    if answer.hash.truthy && asked.question.is_asked() {
        let hash = has_content(&answer.hash);
        // JavaScript never takes two objects for the same.
        let is_scalar = !matches!(answer.hash.kind, Kind::Array | Kind::Object);
        if is_scalar && asked.question == hash {
            return Err(Dropped::SameHash);
        }
        if !asked.question.has_hash() {
            asked.question = hash;
        }
    }
    if asker == from {
        return Err(Dropped::Echo);
    }
    if skipped.contains(&asker) {
        return Err(Dropped::Skipped);
    }
    Ok(asker)
}

/// The names in the start of a list, up to `units_max` UTF-16 code units. A name that is cut within a
/// pair ends in half a character, so it is nobody's.
fn first_units(text: &[u8], units_max: usize) -> &[u8] {
    if text.len() <= units_max {
        return text;
    }
    let mut units = 0;
    let end = text.iter().position(|byte| {
        units += match byte {
            0x80..=0xbf => 0,
            0xf0.. => 2,
            _ => 1,
        };
        units > units_max
    });
    let Some(end) = end else { return text };
    let is_halved = text[end] >= 0xf0 && units == units_max + 1;
    let names = &text[..end];
    match is_halved {
        true => &names[..names.iter().rposition(|byte| *byte == b',').unwrap_or(0)],
        false => names,
    }
}

fn random_id(random: &mut impl rand::Rng) -> String {
    (0..ID_CHARS).map(|_| char::from(ALPHABET[random.random_range(..ALPHABET.len())])).collect()
}

#[cfg(test)]
mod tests;
