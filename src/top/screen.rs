//! `gunmetal top` on a screen.
//!
//! Owns: where things are, and what is left out where there is no room. Must not know: what they mean.

use std::net::SocketAddr;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

use super::picture::Picture;
use super::table::{self, SORTS};
use super::words::{cut, wrap};

/// A screen of fewer lines does not show who left.
const HEIGHT_FOR_LEFT: u16 = 20;

/// Of so many lines one shows somebody who left; three are shown at least.
const HEIGHT_PER_LEFT: u16 = 6;

/// Draws what was seen of the relay at `admin`, or why nothing was; `sort` is an index of [`SORTS`].
pub fn draw(frame: &mut Frame<'_>, admin: SocketAddr, sort: usize, seen: &Result<Picture, String>) {
    let [main, bottom] =
        Layout::vertical([Constraint::Fill(1), Constraint::Length(1)]).areas(frame.area());
    let (width, height) = (usize::from(main.width), main.height);
    let lines = match seen {
        Ok(picture) => picture_lines(picture, width, height),
        Err(fault) => {
            let fault = wrap(fault, width).into_iter().map(Line::from);
            std::iter::once(Line::from(format!("gunmetal at {admin}"))).chain(fault).collect()
        }
    };
    frame.render_widget(Paragraph::new(lines), main);
    frame.render_widget(Paragraph::new(keys(sort)), bottom);
}

fn picture_lines(picture: &Picture, width: usize, height: u16) -> Vec<Line<'static>> {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let reversed = Style::new().add_modifier(Modifier::REVERSED);
    let mut lines = vec![Line::styled(cut(&picture.title(), width), bold)];
    // What is wrong is read to its end.
    let trouble = picture.trouble();
    lines.extend(
        trouble.iter().flat_map(|line| wrap(line, width)).map(|line| Line::styled(line, reversed)),
    );
    lines.extend(picture.lines().iter().map(|line| Line::from(cut(line, width))));
    let heads = |line: String| Line::styled(format!("{line:width$}"), reversed);
    let mut left = table::left(&picture.peers.left, width).into_iter();
    let left_max = match picture.peers.left.len() {
        0 => 0,
        _ if height < HEIGHT_FOR_LEFT => 0,
        count => count.min(usize::from(height / HEIGHT_PER_LEFT).max(3)) + 1,
    };
    let mut peers = table::peers(&picture.peers.peers, picture.sort, width).into_iter();
    let room = usize::from(height).saturating_sub(lines.len() + left_max);
    lines.extend(peers.next().map(heads));
    lines.extend(peers.take(room.saturating_sub(1)).map(Line::from));
    // Those that left are at the bottom.
    lines.resize_with(usize::from(height).saturating_sub(left_max).max(lines.len()), Line::default);
    if left_max > 0 {
        lines.extend(left.next().map(heads));
        lines.extend(left.take(left_max - 1).map(Line::from));
    }
    lines
}

/// The keys; the order that is shown is in brackets.
fn keys(sort: usize) -> String {
    let key = |(index, (key, _, name)): (usize, &(char, &str, &str))| match index == sort {
        true => format!("[{key} {name}]"),
        false => format!("{key} {name}"),
    };
    let sorts: Vec<_> = SORTS.iter().enumerate().map(key).collect();
    format!("q quit | sort: {}", sorts.join(", "))
}

#[cfg(test)]
pub(super) mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use serde_json::json;

    use super::*;
    use crate::admin::process::Process;
    use crate::admin::stats::Stats;
    use crate::top::pace::Pace;

    /// A relay in which there is something of everything.
    pub fn stats() -> Stats {
        let delays = json!({"count": 9, "window_seconds": 9.5, "p50_seconds": 0.00021,
            "p99_seconds": 0.0014, "max_seconds": 0.012});
        let thread = |name: &str, queued: u64| json!({"name": name, "busy_seconds": 1.0, "turns": 5, "queued": queued});
        let process = Process {
            cpu_seconds: 2.0,
            resident_bytes: 125_829_120,
            open_fds: 1240,
            max_fds: 1_048_576,
            ..Process::default()
        };
        let stats = json!({
            "version": "9.9", "pid": "RELAY0001", "uptime_seconds": 65.0, "unready": ["draining"], "stuck": [],
            "connections": 3, "connections_max": 100, "peers_inbound": 2, "peers_outbound": 1,
            "links": [
                {"url": "ws://10.0.0.2:8765/gun", "is_up": true, "opened": 1},
                {"url": "ws://10.0.0.3:8765/gun", "is_up": false, "opened": 4}
            ],
            "pending_bytes": 2048, "pending_bytes_worst": 2048, "pending_bytes_max": 4194304, "pending_peers": 1,
            "memory_held_bytes": 3145728, "memory_max_bytes": 1073741824, "queue_bytes": 0, "queue_bytes_max": 268435456,
            "dedup_entries": 12345, "dedup_entries_max": 2000000, "dedup_evicted_early": 0, "delays": delays,
            "batches": 5, "batch_messages": 9,
            "threads": [thread("reactor-0", 0), thread("reactor-1", 0), thread("writer-0", 2), thread("writer-1", 0)],
            "counters": {"dropped_duplicate_id": 1234, "dropped_echo": 3, "refused_too_big": 1, "closed_peer": 7,
                "closed_memory": 0, "rejected_token": 5, "messages_in": 100},
            "process": process
        });
        serde_json::from_value(stats).unwrap()
    }

    fn picture() -> Picture {
        let peer = json!({
            "id": 1, "pid": "alice\u{1b}", "address": "10.0.0.1:5", "link": null, "age_seconds": 3.0,
            "bytes_in": 2097152, "messages_in": 1500, "bytes_out": 1, "messages_out": 1, "pending_bytes": 2048,
            "bytes_in_rate": 1536.0, "messages_in_rate": 7.0, "bytes_out_rate": 10.0, "messages_out_rate": 8.0
        });
        let link = json!({
            "id": 2, "pid": "RELAY0002", "address": "10.0.0.2:8765", "link": "ws://10.0.0.2:8765/gun",
            "age_seconds": 60.0, "bytes_in": 1, "messages_in": 1, "bytes_out": 1, "messages_out": 1,
            "pending_bytes": 0, "bytes_in_rate": 0.0, "messages_in_rate": 0.0, "bytes_out_rate": 0.0,
            "messages_out_rate": 0.0
        });
        let left = json!({
            "id": 3, "pid": "bob", "address": "10.0.0.9:5", "link": null, "age_seconds": 3600.0, "bytes_in": 1,
            "messages_in": 1, "bytes_out": 1, "messages_out": 1, "left_seconds": 12.0,
            "reason": "the peer reads too slowly"
        });
        let peers = json!({"total": 2, "peers": vec![peer; 30].into_iter().chain([link]).collect::<Vec<_>>(),
            "left": vec![left; 9]});
        let pace = Pace {
            messages_in: 1234.0,
            bytes_in: 348672.0,
            copies_out: 45100.0,
            bytes_out: 12897484.0,
            cores: Some(0.43),
            batch: Some(3.2),
            busy: vec![0.12, 0.11, 0.3, 0.28],
            grown: [("dropped_echo".to_owned(), 3), ("closed_peer".to_owned(), 7)].into(),
            grown_seconds: 10.0,
        };
        Picture {
            admin: "127.0.0.1:9765".parse().unwrap(),
            stats: stats(),
            pace: Some(pace),
            peers: serde_json::from_value(peers).unwrap(),
            sort: 0,
        }
    }

    fn shown(seen: &Result<Picture, String>, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let admin = "127.0.0.1:9765".parse().unwrap();
        let sort = seen.as_ref().map_or(0, |picture| picture.sort);
        terminal.draw(|frame| draw(frame, admin, sort, seen)).unwrap();
        let buffer = terminal.backend().buffer();
        let line = |cells: &[ratatui::buffer::Cell]| {
            cells.iter().map(|cell| cell.symbol()).collect::<String>().trim_end().to_owned()
        };
        buffer.content().chunks(width.into()).map(line).collect()
    }

    #[test]
    fn a_screen_of_80_by_24_shows_all_that_an_operator_needs() {
        let lines = shown(&Ok(picture()), 80, 24);
        let peer =
            "alice?     10.0.0.1:5                 3s    1.5K      10       7       8    2.0K";
        let left = "bob        10.0.0.9:5                12s    1h0m the peer reads too slowly";
        let expected = [
            "gunmetal 9.9 at 127.0.0.1:9765, pid RELAY0001, up 1m5s, NOT READY",
            "NOT READY: draining",
            "peers 2 in, 1 out; connections 3 of 100; memory held 3.0M of 1.0G",
            "in 1.2k messages/s, 340.5K/s; out 45.1k copies/s, 12.3M/s; 3.2 messages a batch",
            "delay p50 210 µs, p99 1.4 ms, worst 12 ms, over 9s",
            "waiting: 2.0K for 1 slow peers, worst 2.0K of 4.0M; 0 of 256.0M for writers",
            "busy: reactor-0 12 %, reactor-1 11 %, writer-0 30 % (2 queued), writer-1 28 %",
            "process: 43 % of a core, 120.0M resident, files 1240 of 1048576, ids 12.3k of 2…",
            "dropped: echo 3 (+0.3/s), duplicate id 1.2k, too big 1",
            "ended: hung up 7 (+0.7/s)",
            "turned away: token 5",
            "links, 1 of 2 up: DOWN ws://10.0.0.3:8765/gun, opened 4×; up ws://10.0.0.2:8765…",
            "PEER       ADDRESS                   AGE    IN/s   OUT/s MSGIN/s  MOUT/s PENDING",
            peer,
            peer,
            peer,
            peer,
            peer,
            peer,
            "LEFT       ADDRESS                   AGO  STAYED WHY",
            left,
            left,
            left,
            "q quit | sort: [p pending], r rate, i in, o out, m msgs in, n msgs out, a age",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn an_order_by_what_went_through_shows_just_that() {
        let mut picture = picture();
        picture.sort = 4;
        let lines = shown(&Ok(picture), 80, 24);
        assert!(lines[12].ends_with("IN     OUT MSGS IN MSG OUT PENDING"), "{}", lines[12]);
        assert!(lines[13].contains("2.0M       1    1.5k       1"), "{}", lines[13]);
        assert!(lines[23].contains("[m msgs in]"), "{}", lines[23]);
    }

    #[test]
    fn a_wide_screen_has_room_for_names_and_a_small_one_for_the_relay() {
        let lines = shown(&Ok(picture()), 160, 60);
        assert!(lines.iter().any(|line| line.starts_with(">RELAY0002 ")), "{lines:#?}");
        assert!(lines.iter().any(|line| line.contains("up ws://10.0.0.2:8765/gun, opened 1×")));
        let small = shown(&Ok(picture()), 60, 10);
        assert_eq!(small[1], "NOT READY: draining");
        assert!(small[9].starts_with("q quit"), "{small:#?}");
    }

    #[test]
    fn a_relay_that_is_gone_is_told_and_the_keys_stay() {
        let fault = format!("no relay answers: {}end", "reason ".repeat(20));
        let lines = shown(&Err(fault.clone()), 80, 8);
        assert_eq!(lines[0], "gunmetal at 127.0.0.1:9765");
        let told = lines[1..7].join(" ");
        assert_eq!(told.trim_end(), fault, "all of it, on as many lines as it needs");
        assert!(lines[7].contains("q quit"));
    }
}
