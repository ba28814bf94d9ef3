use std::net::IpAddr;
use std::num::NonZeroU64;

use super::*;
use crate::config::{self, Config};
use crate::ws::upgrade::{HeadLimits, parse};

fn request(target: &str, headers: &str) -> Request {
    let head = format!("GET {target} HTTP/1.1\r\n{headers}\r\n");
    parse(head.as_bytes(), &HeadLimits::default()).unwrap().unwrap()
}

fn rules(flags: &[&str]) -> config::Admission {
    let args = std::iter::once(&"gunmetal").chain(flags);
    Config::parse_from(args, |_| None).unwrap().admission
}

fn check(flags: &[&str], target: &str, headers: &str) -> Result<(), Rejection> {
    Admission::new(&rules(flags), Instant::now()).check(&request(target, headers))
}

#[test]
fn a_token_comes_in_a_header_or_in_the_query() {
    let with = |target, headers| check(&["--token=s3cret+/=%x"], target, headers);
    for (target, headers) in [
        ("/gun", "Authorization: Bearer s3cret+/=%x\r\n"),
        ("/gun", "authorization: bearer   s3cret+/=%x\r\n"),
        ("/gun?token=s3cret+/=%25x", ""),
        ("/gun?a=b&token=s3cret%2B%2F%3D%x&c", ""),
        ("/gun?token=wrong-one&token=s3cret+/=%x", ""),
        ("/gun?token=s3cret+/=%x", "Authorization: Basic eDp5\r\n"),
    ] {
        assert_eq!(with(target, headers), Ok(()), "{target} {headers}");
    }
    for (target, headers) in [
        ("/gun", ""),
        ("/gun?token=", ""),
        ("/gun?token=s3cret", ""),
        ("/gun?xtoken=s3cret+/=%x", ""),
        ("/gun", "Authorization: s3cret+/=%x\r\n"),
        ("/gun", "Authorization: Basic s3cret+/=%x\r\n"),
        ("/gun", "Authorization: Bearer s3cret+/=%x\r\nAuthorization: Bearer other\r\n"),
    ] {
        assert_eq!(with(target, headers), Err(Rejection::Token), "{target} {headers}");
    }
}

#[test]
fn pages_from_elsewhere_are_refused_and_others_are_no_pages() {
    let from = |headers| check(&["--origins=https://a.example, null"], "/gun", headers);
    assert_eq!(from("Origin: https://a.example\r\n"), Ok(()));
    assert_eq!(from("Origin: null\r\n"), Ok(()));
    assert_eq!(from(""), Ok(()));
    assert_eq!(from("Origin: https://b.example\r\n"), Err(Rejection::Origin));
    assert_eq!(from("Origin:\r\n"), Err(Rejection::Origin));
    let twice = "Origin: https://a.example\r\nOrigin: https://a.example\r\n";
    assert_eq!(from(twice), Err(Rejection::Origin));
    assert_eq!(check(&[], "/gun", "Origin: https://b.example\r\n"), Ok(()));
}

fn crowd(flags: &[&str], now: Instant) -> Crowd {
    Crowd::new(Limits::of(&rules(flags)), now)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn an_address_has_so_many_connections_at_a_time() {
    let now = Instant::now();
    let crowd = crowd(&["--address-connections-max=2"], now);
    let enter = |address| crowd.enter(ip(address), now);
    let (first, _second) = (enter("192.0.2.1").unwrap(), enter("192.0.2.1").unwrap());
    assert_eq!(enter("192.0.2.1").unwrap_err(), Rejection::AddressFull);
    assert_eq!(enter("::ffff:192.0.2.1").unwrap_err(), Rejection::AddressFull);
    let _neighbour = enter("192.0.2.2").unwrap();
    drop(first);
    let _third = enter("192.0.2.1").unwrap();
    let _v6 = [enter("2001:db8::1").unwrap(), enter("2001:db8::ffff:1").unwrap()];
    assert_eq!(enter("2001:db8::2").unwrap_err(), Rejection::AddressFull, "the same /64");
    let _other = enter("2001:db8:0:1::1").unwrap();
}

#[test]
fn an_address_that_comes_too_often_costs_the_others_nothing() {
    let now = Instant::now();
    let crowd = crowd(&["--address-accepts-per-second=1", "--accepts-per-second=2"], now);
    let enter = |address: &str, now| crowd.enter(ip(address), now).map(drop);
    for _ in 0..10 {
        assert_eq!(enter("192.0.2.1", now), Ok(()));
    }
    let second = Duration::from_secs(1);
    for _ in 0..100 {
        assert_eq!(enter("192.0.2.1", now), Err(Rejection::AddressPace(second)));
    }
    for visitor in 1..=10 {
        assert_eq!(enter(&format!("198.51.100.{visitor}"), now), Ok(()));
    }
    assert_eq!(enter("198.51.100.77", now), Err(Rejection::Pace(second / 2)));
    assert_eq!(enter("198.51.100.77", now + second), Ok(()));
}

#[test]
fn addresses_are_forgotten_and_their_table_is_bounded() {
    let mut now = Instant::now();
    let crowd = crowd(&["--address-accepts-per-second=1"], now);
    let address = |n: usize| IpAddr::from(std::net::Ipv4Addr::from_bits(n as u32));
    let stays = crowd.enter(address(0), now).unwrap();
    for n in 1..crowd::NETWORKS_MAX {
        drop(crowd.enter(address(n), now).unwrap());
    }
    assert_eq!(crowd.addresses(), crowd::NETWORKS_MAX);
    let late = address(crowd::NETWORKS_MAX);
    assert!(matches!(crowd.enter(late, now), Err(Rejection::Pace(_))));
    assert!(crowd.enter(address(5), now).is_ok(), "one who is known has a place");
    now += bucket::BURST + Duration::from_secs(1);
    drop(crowd.enter(late, now).unwrap());
    assert_eq!(crowd.addresses(), 2, "who is there and who has just come");
    drop(stays);
}

#[test]
fn a_proxy_has_no_limits_of_an_address() {
    let now = Instant::now();
    let flags = ["--trust=10.0.0.0/8", "--address-connections-max=1"];
    let admission = Admission::new(&rules(&flags), now);
    let enter = |address: &str| admission.enter(SocketAddr::new(ip(address), 1), now);
    let passes: Vec<_> = (0..3).map(|_| enter("10.0.0.1").unwrap()).collect();
    assert!(passes.iter().all(Option::is_none));
    let _one = enter("192.0.2.1").unwrap();
    assert!(enter("192.0.2.1").is_err());
    let nonzero = NonZeroU64::new(100);
    assert_eq!(rules(&["--profile=public"]).address_connections_max, nonzero);
}

#[test]
fn a_crowd_is_counted_on_under_other_rules() {
    let now = Instant::now();
    let open = Admission::new(&rules(&[]), now);
    let enter = |gate: &Admission| gate.enter(SocketAddr::new(ip("192.0.2.1"), 1), now);
    let before = enter(&open).unwrap();
    assert!(before.is_none(), "nobody is counted who has no limit");
    let strict = open.with_rules(&rules(&["--address-connections-max=2"]));
    let passes = [enter(&strict).unwrap(), enter(&strict).unwrap()];
    assert!(enter(&strict).is_err());
    drop(before);
    assert!(enter(&strict).is_err(), "who was not counted leaves no place");
    let wider = strict.with_rules(&rules(&["--address-connections-max=3"]));
    let third = enter(&wider).unwrap();
    assert!(enter(&wider).is_err(), "those who are inside count");
    let none = wider.with_rules(&rules(&[]));
    assert!(enter(&none).unwrap().is_none());
    drop((passes, third));
    let again = none.with_rules(&rules(&["--address-connections-max=1"]));
    let _one = enter(&again).unwrap();
    assert!(enter(&again).is_err());
}
