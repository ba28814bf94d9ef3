//! Scenarios as data: the parameters of a run, the presets, and what overrides them.
//!
//! Owns: names, units, defaults and validation of every parameter. Must not know how a run is done.
//! Precedence: a flag, then the scenario file, then the default here.

use serde::{Deserialize, Serialize};

use crate::hostile::Attack;
use crate::message::Exchange;

/// The shipped scenarios, by name.
pub const PRESETS: &[(&str, &str)] = &[
    ("fanout", include_str!("../presets/fanout.toml")),
    ("everyone", include_str!("../presets/everyone.toml")),
    ("ask", include_str!("../presets/ask.toml")),
    ("acks", include_str!("../presets/acks.toml")),
    ("chat", include_str!("../presets/chat.toml")),
    ("mesh", include_str!("../presets/mesh.toml")),
    ("churn", include_str!("../presets/churn.toml")),
    ("reconnect", include_str!("../presets/reconnect.toml")),
    ("idle", include_str!("../presets/idle.toml")),
    ("stall", include_str!("../presets/stall.toml")),
    ("large", include_str!("../presets/large.toml")),
    ("hostile", include_str!("../presets/hostile.toml")),
    ("slowloris", include_str!("../presets/slowloris.toml")),
    ("connflood", include_str!("../presets/connflood.toml")),
    ("messageflood", include_str!("../presets/messageflood.toml")),
    ("stallswarm", include_str!("../presets/stallswarm.toml")),
];

/// The scenario that runs when none is named.
pub const DEFAULT: &str = "fanout";

/// Every parameter, what it means, and whether it is a whole number, a size, a number or a word.
pub const PARAMETERS: &[(&str, Unit, &str)] = &[
    ("exchange", Unit::Word, "What is sent: post, ask or ack"),
    ("senders", Unit::Count, "Peers that send; they receive as well"),
    ("receivers", Unit::Count, "Peers that only receive; they answer when something is asked"),
    ("size", Unit::Size, "Bytes of a message, K and M for KiB and MiB"),
    ("rate", Unit::Number, "Messages a second, of all senders together; 0: none are sent"),
    ("window", Unit::Count, "Closed loop: messages in flight instead of a rate; 0: open loop"),
    ("duration", Unit::Number, "Seconds that are measured"),
    ("warmup", Unit::Number, "Seconds before, checked and not measured"),
    ("settle", Unit::Number, "Seconds without a byte after which nothing more is awaited"),
    ("ramp", Unit::Number, "Connections opened a second; 0: as fast as they are accepted"),
    ("rooms", Unit::Count, "Nodes the senders write to"),
    ("zipf", Unit::Number, "How unevenly rooms are liked; 0: evenly"),
    ("burst", Unit::Count, "Messages a sender types in one go; 1: evenly spaced"),
    ("relays", Unit::Count, "Relays that are started, each linked to all"),
    ("repeat", Unit::Count, "Connections that each say every message of a sender"),
    ("churn", Unit::Number, "Further peers that come and go, a second"),
    (
        "rush",
        Unit::Count,
        "Further peers that leave as soon as they are in and come again, at a time",
    ),
    ("stay", Unit::Number, "Seconds that each of those stays"),
    ("reconnect", Unit::Word, "Before sending, all leave at once and come back: true or false"),
    ("stalled", Unit::Count, "Further peers that read nothing"),
    ("hostile", Unit::Count, "Further connections that mean no good"),
    (
        "attack",
        Unit::Word,
        "What those do: mixed, slowloris, connflood, messageflood or stallswarm",
    ),
    (
        "attack-rate",
        Unit::Number,
        "Connections or messages a second of those that flood, all together",
    ),
    ("calm", Unit::Count, "Seconds of the measured ones before attackers and stalled peers begin"),
    ("roll-call", Unit::Count, "Messages of each sender after the measured time"),
    (
        "subscribe",
        Unit::Word,
        "Peers ask for the nodes first, as relays with AXE need: true or false",
    ),
    ("buffer", Unit::Size, "Bytes of a socket's buffers in the kernel, each way; 0: the system's"),
    ("threads", Unit::Count, "Generator threads; 0: half of the cores"),
    ("lag-max", Unit::Number, "Milliseconds the generator may run late before a run is invalid"),
];

/// How a parameter is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A whole number.
    Count,
    /// Bytes, with K or M behind.
    Size,
    /// A number.
    Number,
    /// A word.
    Word,
}

/// The parameters of a run; see [`PARAMETERS`] for their meaning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
#[allow(missing_docs)] // PARAMETERS says it.
pub struct Scenario {
    pub name: String,
    pub about: String,
    pub exchange: Exchange,
    pub senders: u32,
    pub receivers: u32,
    #[serde(deserialize_with = "size")]
    pub size: usize,
    pub rate: f64,
    pub window: u32,
    pub duration: f64,
    pub warmup: f64,
    pub settle: f64,
    pub ramp: f64,
    pub rooms: u32,
    pub zipf: f64,
    pub burst: u32,
    pub relays: u32,
    pub repeat: u32,
    pub churn: f64,
    pub rush: u32,
    pub stay: f64,
    pub reconnect: bool,
    pub stalled: u32,
    pub hostile: u32,
    pub attack: Attack,
    pub attack_rate: f64,
    pub calm: u32,
    pub roll_call: u32,
    pub subscribe: bool,
    #[serde(deserialize_with = "size")]
    pub buffer: usize,
    pub threads: u32,
    pub lag_max: f64,
}

impl Default for Scenario {
    fn default() -> Self {
        Scenario {
            name: "custom".to_owned(),
            about: String::new(),
            exchange: Exchange::Post,
            senders: 1,
            receivers: 1,
            size: 200,
            rate: 1000.0,
            window: 0,
            duration: 10.0,
            warmup: 1.0,
            settle: 2.0,
            ramp: 0.0,
            rooms: 1,
            zipf: 0.0,
            burst: 1,
            relays: 1,
            repeat: 1,
            churn: 0.0,
            rush: 0,
            stay: 1.0,
            reconnect: false,
            stalled: 0,
            hostile: 0,
            attack: Attack::Mixed,
            attack_rate: 1000.0,
            calm: 0,
            roll_call: 0,
            subscribe: false,
            buffer: 0,
            threads: 0,
            lag_max: 5.0,
        }
    }
}

impl Scenario {
    /// The scenario of a file's text, with overrides as `(name, value)`.
    ///
    /// # Errors
    /// What is wrong, for a human.
    pub fn parse(text: &str, overrides: &[(&str, String)]) -> Result<Scenario, String> {
        let mut table: toml::Table = text.parse().map_err(|error| format!("{error}"))?;
        for (name, value) in overrides {
            table.insert((*name).to_owned(), typed(name, value)?);
        }
        let scenario: Scenario = table.try_into().map_err(|error| format!("{error}"))?;
        scenario.check()?;
        Ok(scenario)
    }

    /// The text of a preset, or of a file when the name is a path.
    ///
    /// # Errors
    /// There is neither.
    pub fn text_of(name: &str) -> Result<String, String> {
        if let Some((_, text)) = PRESETS.iter().find(|(preset, _)| *preset == name) {
            return Ok((*text).to_owned());
        }
        let names: Vec<_> = PRESETS.iter().map(|(name, _)| *name).collect();
        std::fs::read_to_string(name).map_err(|error| {
            format!("{name} is no scenario ({}) and cannot be read: {error}", names.join(", "))
        })
    }

    fn check(&self) -> Result<(), String> {
        let numbers = [
            self.rate,
            self.duration,
            self.warmup,
            self.settle,
            self.ramp,
            self.zipf,
            self.churn,
            self.stay,
            self.attack_rate,
            self.lag_max,
        ];
        if numbers.iter().any(|number| !number.is_finite() || *number < 0.0) {
            return Err("numbers must not be negative".to_owned());
        }
        let is_sending = self.is_sending();
        let faults = [
            (
                self.senders + self.receivers + self.rush == 0,
                "there must be a sender or a receiver",
            ),
            (self.duration == 0.0, "duration must not be 0"),
            (self.relays == 0 || self.repeat == 0, "relays and repeat must be at least 1"),
            (self.rooms == 0 || self.burst == 0, "rooms and burst must be at least 1"),
            (self.size > 64 << 20, "size must be at most 64M"),
            (self.buffer > 64 << 20, "buffer must be at most 64M"),
            (self.window > 0 && self.senders == 0, "a window needs a sender"),
            (
                is_sending && self.exchange != Exchange::Post && self.receivers == 0,
                "ask and ack need a receiver that answers",
            ),
            (self.churn > 0.0 && self.stay == 0.0, "churn needs a stay"),
            (self.churn > 0.0 && self.rush > 0, "there can be churn or a rush"),
            (f64::from(self.calm) >= self.duration, "calm must be shorter than duration"),
            (self.calm > 0 && !is_sending, "calm needs a sender whose latency is compared"),
            (self.roll_call > 0 && self.senders == 0, "a roll call needs a sender"),
        ];
        match faults.iter().find(|(is_wrong, _)| *is_wrong) {
            Some((_, fault)) => Err((*fault).to_owned()),
            None => Ok(()),
        }
    }

    /// Whether messages are sent at all.
    pub fn is_sending(&self) -> bool {
        self.senders > 0 && (self.window > 0 || self.rate > 0.0)
    }

    /// Whether anything is said at all, be it after the measured time.
    pub fn is_saying(&self) -> bool {
        self.is_sending() || self.roll_call > 0
    }

    /// Copies that have to arrive of each message: all peers but its source, or the one that asked.
    pub fn copies(&self) -> u64 {
        match self.exchange {
            Exchange::Post => u64::from(self.senders + self.receivers).saturating_sub(1),
            Exchange::Ask | Exchange::Ack => 1,
        }
    }

    /// Threads of the generator.
    pub fn threads(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        match self.threads {
            0 => (cores / 2).max(1),
            threads => threads as usize,
        }
    }
}

/// The value of a flag as a scenario file would have it.
fn typed(name: &str, value: &str) -> Result<toml::Value, String> {
    let Some((_, unit, _)) = PARAMETERS.iter().find(|(parameter, ..)| *parameter == name) else {
        return Err(format!("there is no parameter {name}"));
    };
    let fault = || format!("--{name} {value} is not {}", unit.describe());
    Ok(match unit {
        Unit::Word if value == "true" || value == "false" => (value == "true").into(),
        Unit::Word | Unit::Size => value.into(),
        Unit::Count => value.parse::<i64>().map_err(|_| fault())?.into(),
        Unit::Number => value.parse::<f64>().map_err(|_| fault())?.into(),
    })
}

impl Unit {
    fn describe(self) -> &'static str {
        match self {
            Unit::Count => "a whole number",
            Unit::Size => "a size",
            Unit::Number => "a number",
            Unit::Word => "a word",
        }
    }

    /// What stands for a value in the help.
    pub fn value_name(self) -> &'static str {
        match self {
            Unit::Count => "COUNT",
            Unit::Size => "SIZE",
            Unit::Number => "NUMBER",
            Unit::Word => "WORD",
        }
    }
}

fn size<'de, D: serde::Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Bytes(usize),
        Text(String),
    }
    match Written::deserialize(from)? {
        Written::Bytes(bytes) => Ok(bytes),
        Written::Text(text) => parse_size(&text)
            .ok_or_else(|| serde::de::Error::custom(format!("{text} is not a size"))),
    }
}

/// Bytes from `200`, `16K` or `1M`.
pub fn parse_size(text: &str) -> Option<usize> {
    let (digits, unit) = match text.char_indices().last()? {
        (at, 'K' | 'k') => (&text[..at], 1 << 10),
        (at, 'M' | 'm') => (&text[..at], 1 << 20),
        _ => (text, 1),
    };
    digits.parse::<usize>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_valid_and_named_as_its_file() {
        for (name, text) in PRESETS {
            let scenario =
                Scenario::parse(text, &[]).unwrap_or_else(|fault| panic!("{name}: {fault}"));
            assert_eq!(scenario.name, *name);
            assert!(!scenario.about.is_empty());
        }
    }

    #[test]
    fn every_field_is_a_parameter() {
        let table = toml::Table::try_from(Scenario::default()).unwrap();
        let names: Vec<_> = PARAMETERS.iter().map(|(name, ..)| *name).collect();
        for field in table.keys().filter(|field| !["name", "about"].contains(&field.as_str())) {
            assert!(names.contains(&field.as_str()), "{field} has no flag");
        }
        assert_eq!(table.len(), names.len() + 2);
    }

    #[test]
    fn a_flag_wins_over_the_file() {
        let overrides = [("rate", "7".to_owned()), ("size", "2K".to_owned())];
        let scenario = Scenario::parse("rate = 5.0\nsize = 1", &overrides).unwrap();
        assert_eq!((scenario.rate, scenario.size), (7.0, 2048));
    }

    #[test]
    fn faults_are_named() {
        for (text, word) in
            [("rat = 1", "rat"), ("size = \"1X\"", "1X"), ("senders = 0\nwindow = 1", "sender")]
        {
            let fault = Scenario::parse(text, &[]).unwrap_err();
            assert!(fault.contains(word), "{fault}");
        }
        let fault = Scenario::parse("", &[("rate", "fast".to_owned())]).unwrap_err();
        assert!(fault.contains("fast"), "{fault}");
    }
}
