//! The live page, in a browser. `SCREENSHOTS=folder` keeps pictures of it.

use std::path::PathBuf;

use gunmetal::metrics::Counter;
use serde_json::json;

use crate::support::browser::{self, Browser};
use crate::support::devtools::Page;
use crate::support::peer::Peer;
use crate::support::wait;
use crate::{get, watched};

#[test]
fn the_page_loads_nothing_from_elsewhere() {
    let (_relay, admin) = watched(&[]);
    let page = get(admin, "/");
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    let policy = page.header("content-security-policy");
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    for file in ["/", "/page.css", "/page.js"] {
        let text = get(admin, file).body.replace("http://www.w3.org/2000/svg", "");
        assert!(!text.contains("//cdn") && !text.contains("http://") && !text.contains("https://"));
    }
}

#[test]
fn the_page_has_words_for_every_reason() {
    let script = include_str!("../../src/admin/page.js");
    let words = script.split_once("const WORDS = {").and_then(|(_, rest)| rest.split_once("\n};"));
    let words = words.expect("the list").0;
    let starts = ["closed_", "rejected_", "dropped_", "refused_"];
    let reasons = Counter::ALL.iter().map(|counter| counter.name());
    for name in reasons.filter(|name| starts.iter().any(|start| name.starts_with(start))) {
        assert!(words.contains(&format!(" {name}: '")), "there are no words for {name}");
    }
}

#[test]
fn the_page_shows_the_relay_live() {
    let Some(chromium) = browser::find() else { return };
    let (mut relay, admin) = watched(&["--backlog-bytes-max", "64M", "--stall-timeout", "600"]);
    let mut a = Peer::join(&relay, "AAAAAAAAA");
    let mut b = Peer::join(&relay, "BBBBBBBBB");
    let mut evil = Peer::join(&relay, "<b>bold</b><script>document.title='evil'</script>");
    let _slow = Peer::join(&relay, "SLOWSLOW1");
    Peer::join(&relay, "GONEGONE1").vanish();
    for turn in 0..20 {
        a.say(json!({"#": format!("big{turn}"), "x": "x".repeat(1_000_000)}));
        assert_eq!(b.hear()["#"], format!("big{turn}"));
        assert_eq!(evil.hear()["#"], format!("big{turn}"));
    }

    let url = format!("http://{admin}/");
    let browser = Browser::open(chromium, &url);
    let mut page = Page::attach(&browser, &url);
    page.show_at(1280, 800, "light");
    wait::until("the page to say that the relay is ready", || {
        (page.text("#state") == "ready").then_some(())
    });
    let mut turn = 0;
    let mut shows = |page: &mut Page, selector: &str, wanted: &str| {
        wait::until(format!("{wanted:?} in {selector}"), || {
            // Traffic, so that there are rates and delays of this very moment.
            for _ in 0..50 {
                turn += 1;
                a.say(json!({"#": format!("small{turn}")}));
                assert_eq!(b.hear()["#"], format!("small{turn}"));
                assert_eq!(evil.hear()["#"], format!("small{turn}"));
            }
            page.text(selector).contains(wanted).then_some(())
        });
    };
    shows(&mut page, "#about", "version 0.");
    shows(&mut page, "#tiles", "1 slow, worst");
    shows(&mut page, "#peers tbody tr:first-child", "SLOWSLOW1");
    shows(&mut page, "#peers", "<b>bold</b>");
    shows(&mut page, "#left", "GONEGONE1");
    shows(&mut page, "#left", "the peer hung up");
    shows(&mut page, "#threads", "writer-0");
    shows(&mut page, "#tiles", "/s");
    // Charts have lines once there are two rates.
    shows(&mut page, "#charts", "last 5 s");
    let lines = page.value(
        "[...document.querySelectorAll('#charts path')].every(path => path.getAttribute('d'))",
    );
    assert_eq!(lines, true);
    page.value("const sort = document.getElementById('sort'); sort.value = 'messages_in'; sort.dispatchEvent(new Event('change'))");
    shows(&mut page, "#peers tbody tr:first-child", "AAAAAAAAA");
    assert_eq!(page.value("document.title"), "gunmetal");
    for (width, height, scheme) in
        [(390, 844, "dark"), (1280, 800, "light"), (390, 844, "light"), (1280, 800, "dark")]
    {
        page.show_at(width, height, scheme);
        let wider = page.value("document.documentElement.scrollWidth - window.innerWidth");
        assert!(wider.as_i64() <= Some(0), "at {width} the page is {wider} too wide");
        if let Some(folder) = std::env::var_os("SCREENSHOTS") {
            page.picture(&PathBuf::from(folder).join(format!("admin-{width}-{scheme}.png")));
        }
    }

    relay.process.kill();
    wait::until("the page to say that nobody answers", || {
        (page.text("#state") == "no answer").then_some(())
    });
    assert!(page.text("#trouble").contains("what is shown below is old"));
}
