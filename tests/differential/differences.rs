//! What gunmetal does differently on purpose: shown on both sides, and listed.

use std::collections::BTreeSet;

use crate::relays::{self, Options, Package};
use crate::scenarios::{Difference, different};
use crate::script;
use crate::{links, sockets, time};

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/differences.md");

#[test]
fn what_differs_differs_as_the_table_says() {
    let mut wrong = Vec::new();
    for difference in different() {
        eprintln!("{}:{}", difference.row, difference.script);
        // One of them changes the prototype of all objects, so each has a process of its own.
        let Some(mesh) = Package::mesh() else { return };
        let gun = script::play(&difference.script, mesh.relay(Options::default()));
        let relay = relays::gunmetal(Options::default());
        let gunmetal = script::play(&difference.script, relay.port);
        wrong.extend(contradiction(&difference, &gun, &gunmetal));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_lists_what_is_tested_and_nothing_else() {
    let text = std::fs::read_to_string(TABLE).expect("the table of differences");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| **")?.split_once("** |"));
    let listed: BTreeSet<_> = rows.map(|(row, _)| row.to_owned()).collect();
    let scenarios = different();
    let by_hand = [links::DIFFERENCES, sockets::DIFFERENCES, time::DIFFERENCES].concat();
    let tested: BTreeSet<_> = scenarios
        .iter()
        .map(|difference| difference.row)
        .chain(by_hand)
        .map(str::to_owned)
        .collect();
    assert_eq!(listed, tested);
}

fn contradiction(difference: &Difference, gun: &[String], gunmetal: &[String]) -> Option<String> {
    let (only_gun, only_gunmetal) = (without(gun, gunmetal), without(gunmetal, gun));
    let agrees = matches(&only_gun, difference.gun) && matches(&only_gunmetal, difference.gunmetal);
    let sides =
        format!("Gun only:\n{}\ngunmetal only:\n{}", only_gun.join("\n"), only_gunmetal.join("\n"));
    (!agrees).then(|| format!("== {}\n{sides}\n", difference.row))
}

/// The lines of `of` that are not among `others`, each as often as it is missing there.
fn without(of: &[String], others: &[String]) -> Vec<String> {
    let mut others: Vec<_> = others.iter().map(|line| unnumbered(line)).collect();
    let mut rest = Vec::new();
    for line in of.iter().map(|line| unnumbered(line)) {
        match others.iter().position(|other| *other == line) {
            Some(at) => drop(others.remove(at)),
            None => rest.push(line),
        }
    }
    rest
}

/// Invented names without their numbers, which depend on what else was heard.
fn unnumbered(line: &str) -> String {
    let mut out = line.trim_start().to_owned();
    for kind in ["id", "inner"] {
        let mut parts = out.split(&format!("<{kind} ")).map(str::to_owned).collect::<Vec<_>>();
        for part in &mut parts[1..] {
            *part = format!("<{kind}{}", part.trim_start_matches(|c: char| c.is_ascii_digit()));
        }
        out = parts.concat();
    }
    out
}

fn matches(lines: &[String], wanted: &[&str]) -> bool {
    let fits = |line: &String, wanted: &&str| match wanted.strip_suffix('…') {
        Some(start) => line.starts_with(start),
        None => line == wanted,
    };
    lines.len() == wanted.len() && lines.iter().zip(wanted).all(|(line, wanted)| fits(line, wanted))
}
