//! The PROXY protocol, versions 1 and 2: who the client of a proxy is, told in front of everything
//! else (the specification is HAProxy's `proxy-protocol.txt`).
//!
//! Owns: the header's format and bounds. Must not know: sockets, who is trusted, what follows.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What version 2 begins with (section 2.2).
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// What version 1 begins with (section 2.1).
const PREFIX: &[u8; 6] = b"PROXY ";
/// The longest header of version 1, line end included (section 2.1).
const LINE_BYTES_MAX: usize = 107;
/// The fixed part of a version 2 header.
const FIXED_BYTES: usize = 16;
/// The longest header of version 2 that is read, in bytes: addresses and what proxies commonly add.
pub const HEADER_BYTES_MAX: usize = 2048;

/// A whole header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The client; none if the proxy speaks for itself or does not know (`LOCAL`, `UNKNOWN`).
    pub client: Option<SocketAddr>,
    /// Length of the header. What follows it is the client's.
    pub bytes: usize,
}

/// The input does not begin with a PROXY header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoHeader;

impl fmt::Display for NoHeader {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("this proxy is to send a PROXY header first, and did not")
    }
}

/// Reads a header from the start of `input`; `None` when it has not ended yet.
///
/// # Errors
/// The input is no header, and more of it cannot change that.
pub fn parse(input: &[u8]) -> Result<Option<Header>, NoHeader> {
    if begins_like(input, SIGNATURE) {
        return parse_binary(input);
    }
    match begins_like(input, PREFIX) {
        true => parse_line(input),
        false => Err(NoHeader),
    }
}

/// Whether one is the beginning of the other.
fn begins_like(input: &[u8], start: &[u8]) -> bool {
    let common = input.len().min(start.len());
    input[..common] == start[..common]
}

/// Version 1: `PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n`.
fn parse_line(input: &[u8]) -> Result<Option<Header>, NoHeader> {
    let window = &input[..input.len().min(LINE_BYTES_MAX)];
    let Some(end) = window.windows(2).position(|bytes| bytes == b"\r\n") else {
        return if window.len() == LINE_BYTES_MAX { Err(NoHeader) } else { Ok(None) };
    };
    let line = std::str::from_utf8(&window[..end]).map_err(|_| NoHeader)?;
    let mut words = line.split(' ').skip(1);
    let client = match words.next() {
        Some("UNKNOWN") => None,
        Some("TCP4") => Some(line_client::<Ipv4Addr>(words)?),
        Some("TCP6") => Some(line_client::<Ipv6Addr>(words)?),
        _ => return Err(NoHeader),
    };
    Ok(Some(Header { client, bytes: end + 2 }))
}

/// The source of a line's two addresses and two ports. All four must be there and be right.
fn line_client<'a, A>(mut words: impl Iterator<Item = &'a str>) -> Result<SocketAddr, NoHeader>
where
    A: std::str::FromStr + Into<IpAddr>,
{
    let mut next = || words.next().ok_or(NoHeader);
    let mut address = || next()?.parse::<A>().map_err(|_| NoHeader);
    let (source, _destination) = (address()?, address()?);
    let mut port = || next()?.parse::<u16>().map_err(|_| NoHeader);
    let (source_port, _destination_port) = (port()?, port()?);
    match words.next() {
        None => Ok(SocketAddr::new(source.into(), source_port)),
        Some(_) => Err(NoHeader),
    }
}

/// Version 2: signature, version and command, family and protocol, length, addresses, extensions.
fn parse_binary(input: &[u8]) -> Result<Option<Header>, NoHeader> {
    let Some((fixed, rest)) = input.split_at_checked(FIXED_BYTES) else { return Ok(None) };
    let announced = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    let bytes = FIXED_BYTES + announced;
    if bytes > HEADER_BYTES_MAX {
        return Err(NoHeader);
    }
    let is_local = match fixed[12] {
        0x20 => true,
        0x21 => false,
        _ => return Err(NoHeader),
    };
    let Some(addresses) = rest.get(..announced) else { return Ok(None) };
    let client = match fixed[13] {
        _ if is_local => None,
        0x11 => Some(binary_client::<4>(addresses)?),
        0x21 => Some(binary_client::<16>(addresses)?),
        // What is not TCP is to be taken as unknown (section 2.2).
        _ => None,
    };
    Ok(Some(Header { client, bytes }))
}

/// Source address, destination address, source port, destination port; `N` bytes an address.
fn binary_client<const N: usize>(addresses: &[u8]) -> Result<SocketAddr, NoHeader>
where
    [u8; N]: Into<IpAddr>,
{
    let source = *addresses.first_chunk::<N>().ok_or(NoHeader)?;
    let ports = addresses.get(2 * N..2 * N + 4).ok_or(NoHeader)?;
    Ok(SocketAddr::new(source.into(), u16::from_be_bytes([ports[0], ports[1]])))
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: &[u8] = b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n";

    fn binary(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u16).to_be_bytes();
        [SIGNATURE, &[command, family][..], &length, payload].concat()
    }

    fn v4_payload() -> Vec<u8> {
        [&[192, 0, 2, 1, 198, 51, 100, 2][..], &56324u16.to_be_bytes(), &443u16.to_be_bytes()]
            .concat()
    }

    fn client(input: &[u8]) -> Option<SocketAddr> {
        let header = parse(input).expect("a header").expect("a whole one");
        assert_eq!(header.bytes, input.len());
        header.client
    }

    #[test]
    fn both_versions_name_the_client() {
        let v4 = Some("192.0.2.1:56324".parse().unwrap());
        assert_eq!(client(V4), v4);
        assert_eq!(client(&binary(0x21, 0x11, &v4_payload())), v4);
        let v6 = Some("[2001:db8::1]:7".parse().unwrap());
        assert_eq!(client(b"PROXY TCP6 2001:db8::1 2001:db8::2 7 8\r\n"), v6);
        let source = "2001:db8::1".parse::<Ipv6Addr>().unwrap().octets();
        let payload = [&source[..], &[0; 16], &[0, 7, 0, 8]].concat();
        assert_eq!(client(&binary(0x21, 0x21, &payload)), v6);
    }

    #[test]
    fn extensions_are_skipped() {
        let payload = [v4_payload(), vec![0x02, 0, 3, b'a', b'b', b'c']].concat();
        assert_eq!(client(&binary(0x21, 0x11, &payload)), client(V4));
    }

    #[test]
    fn a_proxy_that_speaks_for_itself_names_nobody() {
        assert_eq!(client(b"PROXY UNKNOWN\r\n"), None);
        assert_eq!(client(b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n"), None);
        assert_eq!(client(&binary(0x20, 0x00, &[])), None);
        assert_eq!(client(&binary(0x20, 0x11, &v4_payload())), None, "LOCAL");
        assert_eq!(client(&binary(0x21, 0x31, &[0; 216])), None, "a Unix socket");
    }

    #[test]
    fn a_header_may_be_cut_anywhere() {
        for whole in [V4.to_vec(), binary(0x21, 0x11, &v4_payload())] {
            for end in 0..whole.len() {
                assert_eq!(parse(&whole[..end]), Ok(None), "{end} bytes");
            }
            let followed = [&whole[..], b"GET / HTTP/1.1\r\n"].concat();
            assert_eq!(parse(&followed).unwrap().unwrap().bytes, whole.len());
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let long = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 200]].concat();
        let short_payload = binary(0x21, 0x11, &[192, 0, 2, 1]);
        let too_long = binary(0x21, 0x11, &[0; HEADER_BYTES_MAX]);
        for wrong in [
            &b"GET /gun HTTP/1.1\r\n"[..],
            b"PROXY TCP5 1.1.1.1 2.2.2.2 1 2\r\n",
            b"PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n",
            b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n",
            b"PROXY TCP4 1.1.1.1 2.2.2.2 1 65536\r\n",
            b"PROXY TCP4 ::1 ::1 1 2\r\n",
            b"PROXY TCP4 \xff 2.2.2.2 1 2\r\n",
            b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\0",
            b"\r\n\r\n\0\r\nQUIT\n\x22\x11\0\0",
            &short_payload,
            &too_long[..FIXED_BYTES],
            &long,
        ] {
            assert_eq!(parse(wrong), Err(NoHeader), "{}", String::from_utf8_lossy(wrong));
        }
    }
}
