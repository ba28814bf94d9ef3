//! "As Gun does" as a measured fact: the same scenarios against Gun's own mesh, the relay of the package, and gunmetal.
//!
//! What gunmetal does differently on purpose is listed in `docs/differences.md`, and each row is shown here from both
//! sides. `SCENARIO=text` plays only scenarios whose name contains the text; `SHOW=1` prints what was heard.

#[path = "../support/mod.rs"]
mod support;

mod differences;
mod links;
mod normal;
mod relays;
mod scenarios;
mod script;
mod sockets;
mod time;

use relays::Package;
use scenarios::{Scenario, Stock};

#[test]
fn gunmetal_does_what_guns_mesh_does() {
    let Some(mesh) = Package::mesh() else { return };
    let mut wrong = Vec::new();
    for scenario in chosen() {
        eprintln!("{}", scenario.name);
        let gun = script::play(&scenario.script, mesh.relay(scenario.options));
        let relay = relays::gunmetal(scenario.options);
        let gunmetal = script::play(&scenario.script, relay.port);
        if std::env::var_os("SHOW").is_some() {
            eprintln!("== {}\n{}", scenario.name, gun.join("\n"));
        }
        if gun != gunmetal {
            wrong.push(format!("== {}\n{}", scenario.name, side_by_side(&gun, &gunmetal)));
        }
    }
    assert!(wrong.is_empty(), "- Gun's mesh, + gunmetal\n{}", wrong.join("\n"));
}

#[test]
fn the_stock_relay_does_the_same_where_it_only_relays() {
    let (Some(mesh), Some(stock)) = (Package::mesh(), Package::stock()) else { return };
    let mut wrong = Vec::new();
    for scenario in chosen().filter(|scenario| scenario.stock == Stock::Same) {
        let gun = script::play(&scenario.script, mesh.relay(scenario.options));
        let stock = script::play(&scenario.script, stock.relay(scenario.options));
        if gun != stock {
            wrong.push(format!("== {}\n{}", scenario.name, side_by_side(&gun, &stock)));
        }
    }
    assert!(wrong.is_empty(), "- Gun's mesh, + the stock relay\n{}", wrong.join("\n"));
}

#[test]
fn every_section_has_scenarios() {
    let scenarios = scenarios::same();
    let count = |section: &str| {
        scenarios.iter().filter(|scenario| scenario.name.starts_with(section)).count()
    };
    for section in ["1 ", "2 ", "3 ", "4 ", "5 ", "6 ", "7A ", "7B ", "8 ", "9 ", "10 ", "11 "] {
        assert!(count(section) > 0, "section {section}");
    }
    eprintln!("{} scenarios, {} differences", scenarios.len(), scenarios::different().len());
}

fn chosen() -> impl Iterator<Item = Scenario> {
    let wanted = std::env::var("SCENARIO").unwrap_or_default();
    scenarios::same().into_iter().filter(move |scenario| scenario.name.contains(&wanted))
}

/// The lines of both, those that only one has marked.
fn side_by_side(left: &[String], right: &[String]) -> String {
    let mut out = String::new();
    let (mut left, mut right) = (left, right);
    while let (Some(l), Some(r)) = (left.first(), right.first()) {
        if l == r {
            out += &format!("  {l}\n");
            (left, right) = (&left[1..], &right[1..]);
        } else if l.starts_with("  ")
            && !right.iter().take_while(|line| line.starts_with("  ")).any(|line| line == l)
        {
            out += &format!("- {l}\n");
            left = &left[1..];
        } else {
            out += &format!("+ {r}\n");
            right = &right[1..];
        }
    }
    let rest = left
        .iter()
        .map(|line| format!("- {line}\n"))
        .chain(right.iter().map(|line| format!("+ {line}\n")));
    out + &rest.collect::<String>()
}
