//! `gunmetal top` on a screen.
//!
//! Owns: where things are. Must not know: what they mean.

use std::net::SocketAddr;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Paragraph, Row, Table, Wrap};

use super::table::{COLUMNS, Picture, SORTS};

/// Draws what was seen of the relay at `admin`, or why nothing was; `sort` is an index of [`SORTS`].
pub fn draw(frame: &mut Frame<'_>, admin: SocketAddr, sort: usize, seen: &Result<Picture, String>) {
    let (lines, head) = match seen {
        Ok(picture) => {
            let lines = picture.lines();
            let head = Constraint::Length(lines.len() as u16 + 1);
            (lines, head)
        }
        // There is no table, and a fault may take more than a line.
        Err(fault) => (vec![fault.clone()], Constraint::Fill(1)),
    };
    let below = if seen.is_ok() { Constraint::Min(1) } else { Constraint::Length(0) };
    let areas = [head, below, Constraint::Length(1)];
    let [top, middle, bottom] = Layout::vertical(areas).areas(frame.area());
    let lines: Vec<_> = lines.into_iter().map(Line::from).collect();
    let lines = Paragraph::new(lines);
    let lines = if seen.is_ok() { lines } else { lines.wrap(Wrap { trim: true }) };
    frame.render_widget(lines, top);
    if let Ok(picture) = seen {
        let heads = Row::new(COLUMNS.map(|(head, _)| head));
        let widths = COLUMNS.map(|(_, width)| Constraint::Length(width));
        let reversed = Style::new().add_modifier(Modifier::REVERSED);
        let table = Table::new(picture.rows().map(Row::new), widths).header(heads.style(reversed));
        frame.render_widget(table, middle);
    }
    let keys = SORTS.map(|(key, _, name)| format!("{key} {name}")).join(", ");
    let keys = format!("{admin} by {}. q quits; sort: {keys}", SORTS[sort].2);
    frame.render_widget(Paragraph::new(keys), bottom);
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use serde_json::json;

    use super::*;

    fn picture() -> Picture {
        let stats = json!({
            "version": "9.9", "pid": "x", "uptime_seconds": 65.0, "unready": ["draining"], "stuck": [],
            "connections": 3, "connections_max": 100, "peers_inbound": 2, "peers_outbound": 1, "links": [],
            "pending_bytes": 2048, "pending_bytes_worst": 2048, "pending_bytes_max": 4096, "pending_peers": 1,
            "memory_held_bytes": 0, "memory_max_bytes": 1048576, "queue_bytes": 0, "queue_bytes_max": 1048576, "dedup_entries": 0, "dedup_entries_max": 1,
            "dedup_evicted_early": 0, "delays": null, "batches": 0, "batch_messages": 0, "threads": [],
            "counters": {}, "process": null
        });
        let peers = json!({"total": 1, "left": [], "peers": [{
            "id": 1, "pid": "alice\u{1b}", "address": "10.0.0.1:5", "link": null, "age_seconds": 3.0,
            "bytes_in": 1, "messages_in": 1, "bytes_out": 1, "messages_out": 1, "pending_bytes": 2048,
            "bytes_in_rate": 1536.0, "messages_in_rate": 7.0, "bytes_out_rate": 10.0, "messages_out_rate": 8.0
        }]});
        let mut stats = stats;
        stats["delays"] =
            serde_json::to_value(crate::metrics::batches::Quantiles::default()).unwrap();
        Picture {
            stats: serde_json::from_value(stats).unwrap(),
            peers: serde_json::from_value(peers).unwrap(),
        }
    }

    fn shown(seen: &Result<Picture, String>) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(96, 8)).unwrap();
        let admin = "127.0.0.1:9765".parse().unwrap();
        terminal.draw(|frame| draw(frame, admin, 1, seen)).unwrap();
        let buffer = terminal.backend().buffer();
        let line = |cells: &[ratatui::buffer::Cell]| {
            cells.iter().map(|cell| cell.symbol()).collect::<String>().trim_end().to_owned()
        };
        buffer.content().chunks(96).map(line).collect()
    }

    #[test]
    fn the_screen_shows_the_relay_its_peers_and_the_keys() {
        let lines = shown(&Ok(picture()));
        assert_eq!(lines[0], "gunmetal 9.9, up 1m5s, NOT READY: draining");
        assert_eq!(lines[1], "peers 2 in, 1 out; connections 3 of 100");
        assert_eq!(lines[2], "waiting: 2.0K for 1 slow peers, 0 of 1.0M for writers");
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let heads = COLUMNS.map(|(head, _)| head).join(" ");
        assert_eq!(words(&lines[4]), words(&heads));
        assert_eq!(words(&lines[5]).join(" "), "alice? 10.0.0.1:5 3s 1.5K 10 7 8 2.0K");
        assert!(lines[7].starts_with("127.0.0.1:9765 by rate. q quits"), "{}", lines[7]);
    }

    #[test]
    fn a_relay_that_is_gone_is_told_and_the_keys_stay() {
        let fault = format!("no relay answers: {}end", "reason ".repeat(20));
        let lines = shown(&Err(fault.clone()));
        assert_eq!(
            lines[..7].join(" ").trim_end(),
            fault,
            "all of it, on as many lines as it needs"
        );
        assert!(lines[7].contains("q quits"));
    }
}
