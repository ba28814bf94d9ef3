//! Makes up what happens to a relay: who comes and goes, and who says what.
//!
//! Names, ids and hashes come from small pools, so that messages meet: as duplicates, as answers, as skip lists.

/// xorshift64*: a seed is a case.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        // Neighbouring seeds give unrelated cases (the finaliser of splitmix64).
        let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        Random((z ^ z >> 31) | 1)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % limit
    }

    fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    fn pick<'t>(&mut self, from: &[&'t str]) -> &'t str {
        from[self.below(from.len())]
    }
}

/// One thing that happens to a relay.
#[derive(Clone, Debug)]
pub enum Step {
    Join {
        name: String,
        is_link: bool,
    },
    Leave {
        peer: usize,
    },
    /// About five seconds pass, as far as the memory of ids is concerned.
    Tick,
    Say {
        peer: usize,
        text: String,
    },
}

#[derive(Clone, Debug)]
pub struct Case {
    pub message_units_max: usize,
    pub steps: Vec<Step>,
}

pub fn case(seed: u64) -> Case {
    let mut random = Random::new(seed);
    let mut maker = Maker { peers: Vec::new(), steps: Vec::new() };
    let peers = if random.percent(6) { 8 + random.below(5) } else { 1 + random.below(4) };
    for _ in 0..peers {
        maker.join(&mut random);
    }
    for _ in 0..3 + random.below(12) {
        maker.step(&mut random);
    }
    let message_units_max = if random.percent(4) { 20 + random.below(120) } else { 90_000_000 };
    Case { message_units_max, steps: maker.steps }
}

struct Maker {
    /// Which of those that joined are connected.
    peers: Vec<bool>,
    steps: Vec<Step>,
}

impl Maker {
    fn join(&mut self, random: &mut Random) {
        let n = self.peers.len();
        let is_link = random.percent(12);
        let name = if is_link { format!("ws://r{n}/gun") } else { format!("i{n}") };
        self.steps.push(Step::Join { name, is_link });
        self.peers.push(true);
        if random.percent(70) {
            let text = format!(r##"{{"dam":"?","pid":"P{n}","@":"hello","#":"pid{n}"}}"##);
            self.steps.push(Step::Say { peer: n, text });
        }
    }

    fn step(&mut self, random: &mut Random) {
        let peer = random.below(self.peers.len());
        match random.below(100) {
            0..4 => self.join(random),
            4..7 if self.peers[peer] => {
                self.peers[peer] = false;
                self.steps.push(Step::Leave { peer });
            }
            7..13 => self.steps.push(Step::Tick),
            _ if self.peers[peer] => {
                let text = frame(random, 0);
                self.steps.push(Step::Say { peer, text });
            }
            _ => {}
        }
    }
}

const JUNK: [&str; 26] = [
    "",
    "[]",
    "[ ]",
    " {}",
    "\n[]",
    "\u{feff}{}",
    "{}",
    "{ }",
    "1",
    "null",
    "true",
    "\"{}\"",
    "x",
    "{",
    "[",
    "{]",
    "[{}",
    "{}x",
    "{} {}",
    "[1,]",
    "{\"#\":}",
    "[[]]",
    "[null]",
    "{\"\\x\":1}",
    "{\"#\":\"\\u12\"}",
    "{\"a\":\"\t\"}",
];

/// The text of one frame.
fn frame(random: &mut Random, level: usize) -> String {
    let mut text = match random.below(100) {
        0..4 => random.pick(&JUNK).to_owned(),
        4..30 => batch(random, level),
        _ => message(random),
    };
    if random.percent(8) {
        mutate(random, &mut text);
    }
    if random.percent(5) {
        text.push_str(random.pick(&SPACES));
    }
    text
}

fn batch(random: &mut Random, level: usize) -> String {
    let count = if random.percent(8) { 9 + random.below(12) } else { random.below(5) };
    let items: Vec<_> = (0..count).map(|_| element(random, level)).collect();
    format!("[{}]", items.join(if random.percent(10) { " ,\n" } else { "," }))
}

fn element(random: &mut Random, level: usize) -> String {
    match random.below(100) {
        0..12 if level < 3 => quoted(&frame(random, level + 1)),
        12..18 => random.pick(&SCALARS).to_owned(),
        18..22 => format!("[{}]", message(random)),
        22..24 => r#"["{"]"#.to_owned(),
        24..26 => r#"{"0":"[","x":1}"#.to_owned(),
        _ => message(random),
    }
}

/// A JSON string of this text.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

const SPACES: [&str; 5] = [" ", "\n", "\t ", "\r\n", "  "];
const IDS: [&str; 8] = ["\"a\"", "\"b\"", "\"c\"", "\"d\"", "\"e\"", "\"g1\"", "\"g2\"", "\"m9\""];
const ODD_IDS: [&str; 30] = [
    "5",
    "\"5\"",
    "5.0",
    "0.5e1",
    "true",
    "\"true\"",
    "[\"a\"]",
    "[[\"b\"]]",
    "{}",
    "{\"x\":1}",
    "\"[object Object]\"",
    "\"constructor\"",
    "\"__proto__\"",
    "\"toString\"",
    "\"\\ud83d\"",
    "\"é\"",
    "\"😀\"",
    "\"\\ud83d\\ude00\"",
    "\"a,b\"",
    "[\"a\",\"b\"]",
    "1e21",
    "\"1e+21\"",
    "\"\"",
    "0",
    "null",
    "false",
    "-0",
    "[]",
    "1e400",
    "\"undefined\"",
];
const HASHES: [&str; 16] = [
    "1.5",
    "777",
    "-354517093",
    "777.0",
    "\"777\"",
    "\"h\"",
    "\"h2\"",
    "\"h\"",
    "[777]",
    "{}",
    "true",
    "0",
    "null",
    "\"\"",
    "false",
    "\"\\u0068\"",
];
const SCALARS: [&str; 22] = [
    "null",
    "true",
    "false",
    "0",
    "-0",
    "0.0",
    "1",
    "5.0",
    "1e2",
    "1e400",
    "-1e400",
    "1e-400",
    "12345678901234567890",
    "0.1",
    "1e21",
    "\"\"",
    "\"a\"",
    "\"\\ud83d\"",
    "\"\\u0000\"",
    "\"😀\"",
    "\"\\\"}\"",
    "\"\u{2028}\u{7f}\"",
];
const VALUES: [&str; 12] = [
    "{}",
    "[]",
    "{\"a\":1}",
    "[1,[2,{\"_\":3}]]",
    "{\"_\":{\"#\":\"s\"},\"k\":\"v\"}",
    "{\"k\":{\"k\":[]}}",
    "{\"a\":1,\"a\":2}",
    "{\"__proto__\":1,\"2\":3,\"1\":4}",
    "\"long text with \\\"quotes\\\" and \\\\\"",
    "[{\"#\":\"a\"}]",
    "{\"@\":3,\"/\":9}",
    "{\"@\":\"7\",\"x\":1}",
];
const VERBS: [&str; 18] = [
    "\"?\"",
    "\"?\"",
    "\"?\"",
    "\"!\"",
    "\"hi\"",
    "\"rtc\"",
    "\"mob\"",
    "\"opt\"",
    "\"constructor\"",
    "\"one\"",
    "\"c\"",
    "\"__proto__\"",
    "[\"?\"]",
    "5",
    "true",
    "\"\"",
    "null",
    "{}",
];
const BUDGETS: [&str; 14] = [
    "{\"@\":9,\"/\":1}",
    "{\"@\":1}",
    "{\"@\":0}",
    "{}",
    "{\"@\":\"5\"}",
    "{\"@\":[7]}",
    "{\"@\":{}}",
    "true",
    "\"x\"",
    "[1]",
    "1",
    "{\"@\":1e400}",
    "{\"@\":2,\"\\u0040\":4}",
    "{\"@\":\" 0x10 \"}",
];
const NAMES: [&str; 20] = [
    "P0",
    "P1",
    "P2",
    "P3",
    "i0",
    "i1",
    "i2",
    "ws://r0/gun",
    "ws://r1/gun",
    "undefined",
    "constructor",
    "__proto__",
    "",
    "5",
    "true",
    "[object Object]",
    "é",
    "😀",
    "nobody",
    " P1",
];

fn value(random: &mut Random) -> String {
    let from: &[&str] = if random.percent(50) { &SCALARS } else { &VALUES };
    random.pick(from).to_owned()
}

fn id(random: &mut Random) -> String {
    let from: &[&str] = if random.percent(12) { &ODD_IDS } else { &IDS };
    random.pick(from).to_owned()
}

fn hash(random: &mut Random) -> String {
    random.pick(&HASHES).to_owned()
}

fn data(random: &mut Random) -> String {
    match random.below(12) {
        0 => value(random),
        _ => format!(r##"{{"s":{{"_":{{"#":"s",">":{{"k":{}}}}},"k":1}}}}"##, random.below(3)),
    }
}

fn question(random: &mut Random) -> String {
    match random.below(12) {
        0 => value(random),
        _ => r##"{"#":"s"}"##.to_owned(),
    }
}

fn skip(random: &mut Random) -> String {
    if random.percent(8) {
        return value(random);
    }
    let mut names = String::new();
    if random.percent(12) {
        names.push_str(&random.pick(&["x", "é", "😀", "x,"]).repeat(25 + random.below(80)));
        names.push(',');
    }
    for _ in 0..1 + random.below(3) {
        names.push_str(random.pick(&NAMES));
        names.push(',');
    }
    if random.percent(80) {
        names.pop();
    }
    quoted(&names)
}

/// The text of one message.
fn message(random: &mut Random) -> String {
    let mut members = Vec::new();
    let mut add = |key: &str, value: String| members.push((key.to_owned(), value));
    if random.percent(92) {
        add("#", id(random));
    }
    match random.below(100) {
        0..22 => {
            add("get", question(random));
            if random.percent(35) {
                add("##", hash(random));
            }
        }
        22..58 => {
            add("@", id(random));
            if random.percent(60) {
                add("put", data(random));
            }
            if random.percent(50) {
                add("##", hash(random));
            }
            if random.percent(15) {
                add("ok", value(random));
            }
            if random.percent(10) {
                add("get", question(random));
            }
        }
        58..76 => add("put", data(random)),
        76..88 => {
            add("dam", random.pick(&VERBS).to_owned());
            if random.percent(50) {
                add(
                    "pid",
                    if random.percent(50) { quoted(random.pick(&NAMES)) } else { id(random) },
                );
            }
            if random.percent(30) {
                add("@", id(random));
            }
            if random.percent(15) {
                add("##", hash(random));
            }
        }
        _ => add("x", value(random)),
    }
    if random.percent(25) {
        add("><", skip(random));
    }
    if random.percent(12) {
        add("ok", random.pick(&BUDGETS).to_owned());
    }
    for (key, chance) in [
        ("_", 6),
        ("DBG", 3),
        ("y", 10),
        ("pid", 2),
        ("get", 2),
        ("put", 2),
        ("dam", 1),
        ("err", 1),
        ("#", 2),
    ] {
        if random.percent(chance) {
            add(key, value(random));
        }
    }
    for n in (1..members.len()).rev() {
        members.swap(n, random.below(n + 1));
    }
    object(random, &members)
}

fn object(random: &mut Random, members: &[(String, String)]) -> String {
    let space = if random.percent(10) { random.pick(&SPACES) } else { "" };
    let members: Vec<_> = members
        .iter()
        .map(|(key, value)| {
            let key = if random.percent(4) { escaped(key) } else { quoted(key) };
            let value = match value.as_bytes() {
                [b'"', inner @ .., b'"'] if !inner.contains(&b'\\') && random.percent(4) => {
                    escaped(&value[1..value.len() - 1])
                }
                _ => value.clone(),
            };
            format!("{space}{key}{space}:{space}{value}")
        })
        .collect();
    format!("{{{}{space}}}", members.join(","))
}

/// A JSON string in which every character is escaped.
fn escaped(text: &str) -> String {
    let units: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
    format!("\"{units}\"")
}

const NOISE: [&str; 34] = [
    "\"", "\\", "{", "}", "[", "]", ",", ":", "-", "+", ".", "e", "0", "1", " ", "\n", "\0",
    "\u{b}", "\u{1f}", "\u{a0}", "\u{2028}", "\u{feff}", "u", "n", "t", "'", "/", "#", "@",
    "\\ud83d", "\\ude00", "😀", "null", "\"_\":1,",
];

fn mutate(random: &mut Random, text: &mut String) {
    for _ in 0..=random.below(3) {
        let mut at = random.below(text.len() + 1);
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        match random.below(5) {
            0 => text.truncate(at),
            1 if at < text.len() => drop(text.remove(at)),
            2 if at < text.len() => {
                text.remove(at);
                text.insert_str(at, random.pick(&NOISE));
            }
            _ => text.insert_str(at, random.pick(&NOISE)),
        }
    }
}
