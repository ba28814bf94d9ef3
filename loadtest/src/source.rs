//! Where it is read what a server uses: the kernel's word about a process of this machine, or the
//! relay's own on its admin address.
//!
//! Owns: reading both. Must not know when it is read, nor what it is used for. Of processes, nothing can
//! be told elsewhere than on Linux.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use crate::process::Usage;

/// How long an admin address may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest answer that is read.
const ANSWER_BYTES_MAX: u64 = 4 << 20;

/// A process of the server, or what speaks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A process of this machine.
    Process(u32),
    /// `HOST:PORT`, where a relay has `/metrics`.
    Admin(String),
}

impl Source {
    /// The admin address that was written, perhaps as a URL.
    pub fn admin(written: &str) -> Source {
        let address = written.strip_prefix("http://").unwrap_or(written);
        let address = address.split('/').next().unwrap_or(address);
        Source::Admin(address.to_owned())
    }

    /// What it has used up to now.
    ///
    /// # Errors
    /// It is gone, does not answer, or says something else.
    pub fn read(&self) -> Result<Usage, String> {
        match self {
            Source::Process(pid) => {
                process(*pid).ok_or_else(|| format!("process {pid} cannot be read: is it there?"))
            }
            Source::Admin(address) => metrics(address)
                .and_then(|text| usage_in(&text))
                .map_err(|why| format!("http://{address}/metrics: {why}")),
        }
    }
}

/// All of them.
///
/// # Errors
/// What is wrong with the first that cannot be read.
pub fn read_each(sources: &[Source]) -> Result<Vec<Usage>, String> {
    sources.iter().map(Source::read).collect()
}

/// How many cores they may use, all together; `None` where one of them does not tell.
pub fn cores_allowed(sources: &[Source]) -> Option<usize> {
    let each = sources.iter().map(|source| match source {
        Source::Process(pid) => cores_of(*pid),
        Source::Admin(_) => None,
    });
    let mut cores: Vec<u32> = each.collect::<Option<Vec<_>>>()?.concat();
    cores.sort_unstable();
    cores.dedup();
    (!cores.is_empty()).then_some(cores.len())
}

#[cfg(target_os = "linux")]
fn process(pid: u32) -> Option<Usage> {
    let process = procfs::process::Process::new(i32::try_from(pid).ok()?).ok()?;
    let (stat, status) = (process.stat().ok()?, process.status().ok()?);
    // One that ended and that nobody has asked about yet.
    if stat.state == 'Z' {
        return None;
    }
    let ticks = procfs::ticks_per_second() as f64;
    let mut usage = Usage {
        user_s: stat.utime as f64 / ticks,
        system_s: stat.stime as f64 / ticks,
        memory_bytes: status.vmrss.unwrap_or(0) * 1024,
        memory_bytes_max: status.vmhwm.unwrap_or(0) * 1024,
        threads: status.threads,
        ..Usage::default()
    };
    // A thread may end while they are listed.
    for task in process.tasks().ok()?.flatten() {
        if let Ok(status) = task.status() {
            usage.switches_voluntary += status.voluntary_ctxt_switches.unwrap_or(0);
            usage.switches_forced += status.nonvoluntary_ctxt_switches.unwrap_or(0);
        }
    }
    Some(usage)
}

/// The numbers of the cores that a process may use, of those that this machine has.
#[cfg(target_os = "linux")]
fn cores_of(pid: u32) -> Option<Vec<u32>> {
    let process = procfs::process::Process::new(i32::try_from(pid).ok()?).ok()?;
    let allowed = process.status().ok()?.cpus_allowed_list?;
    let online = std::fs::read_to_string("/sys/devices/system/cpu/online").ok();
    let online = online.and_then(|text| ranges(text.trim()));
    let is_there = |core: &u32| match &online {
        Some(online) => online.iter().any(|(first, last)| (first..=last).contains(&core)),
        None => true,
    };
    Some(allowed.into_iter().flat_map(|(first, last)| first..=last).filter(is_there).collect())
}

/// What the kernel writes as `0-3,6`.
#[cfg(target_os = "linux")]
fn ranges(text: &str) -> Option<Vec<(u32, u32)>> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some((first.parse().ok()?, last.parse().ok()?))
    };
    text.split(',').map(range).collect()
}

#[cfg(not(target_os = "linux"))]
fn process(_: u32) -> Option<Usage> {
    None
}

#[cfg(not(target_os = "linux"))]
fn cores_of(_: u32) -> Option<Vec<u32>> {
    None
}

/// The text of `/metrics`.
fn metrics(address: &str) -> Result<String, String> {
    let answer = ask(address).map_err(|error| error.to_string())?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("the answer ends too early")?;
    let status = head.lines().next().unwrap_or_default();
    match status.split(' ').nth(1) {
        Some("200") => Ok(body.to_owned()),
        _ => Err(format!("it answers {status}: is this the relay's --admin address?")),
    }
}

/// Asks in a version of HTTP in which the answer ends with the connection, and comes in one piece.
fn ask(address: &str) -> std::io::Result<String> {
    let no_address = || std::io::Error::other("the name has no address");
    let to = address.to_socket_addrs()?.next().ok_or_else(no_address)?;
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(format!("GET /metrics HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    Ok(answer)
}

/// What a relay says of its own process, under the names of Prometheus's client libraries.
fn usage_in(text: &str) -> Result<Usage, String> {
    let value = |series: &str| {
        text.lines().find_map(|line| {
            line.strip_prefix(series)?.strip_prefix(' ')?.trim().parse::<f64>().ok()
        })
    };
    let needed = |series: &str| value(series).ok_or_else(|| format!("there is no {series}"));
    let switches = |kind: &str| {
        let series = format!("process_context_switches_total{{kind=\"{kind}\"}}");
        value(&series).unwrap_or(0.0) as u64
    };
    let memory_bytes = needed("process_resident_memory_bytes")? as u64;
    Ok(Usage {
        either_s: needed("process_cpu_seconds_total")?,
        memory_bytes,
        memory_bytes_max: memory_bytes,
        threads: value("process_threads").unwrap_or(0.0) as u64,
        switches_voluntary: switches("voluntary"),
        switches_forced: switches("forced"),
        ..Usage::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_can_be_read() {
        let me = Source::Process(std::process::id());
        let usage = me.read().unwrap();
        assert!(usage.memory_bytes > 0 && usage.threads > 0);
        assert_eq!(read_each(&[]).unwrap(), []);
        let cores = cores_allowed(&[me.clone(), me]).unwrap();
        assert_eq!(cores, std::thread::available_parallelism().unwrap().get());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_that_ended_uses_nothing_any_more() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let source = Source::Process(child.id());
        let start = std::time::Instant::now();
        // It is not waited for: the kernel keeps its last figures meanwhile.
        while source.read().is_ok() {
            assert!(start.elapsed() < Duration::from_secs(20), "it is still read");
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(source.read().unwrap_err().contains("is it there?"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn lists_of_cores_are_read() {
        assert_eq!(ranges("0-3,6").unwrap(), [(0, 3), (6, 6)]);
        assert_eq!(ranges("0").unwrap(), [(0, 0)]);
        assert_eq!(ranges("all"), None);
    }

    #[test]
    fn what_a_relay_says_of_itself_is_read() {
        let text = "# TYPE process_threads gauge\nprocess_threads 5\nprocess_threads_x 9\n\
                    process_cpu_seconds_total 1.25\nprocess_resident_memory_bytes 8e6\n\
                    process_context_switches_total{kind=\"forced\"} 3\n\
                    process_context_switches_total{kind=\"voluntary\"} 40\n";
        let usage = usage_in(text).unwrap();
        assert_eq!((usage.cpu_s(), usage.memory_bytes, usage.threads), (1.25, 8_000_000, 5));
        assert_eq!((usage.switches_voluntary, usage.switches_forced), (40, 3));
        let fault = usage_in("process_threads 5\nprocess_resident_memory_bytes 1\n").unwrap_err();
        assert!(fault.contains("process_cpu_seconds_total"), "{fault}");
    }

    #[test]
    fn an_admin_address_may_be_written_as_a_url() {
        let address = Source::Admin("127.0.0.1:9765".to_owned());
        for written in ["127.0.0.1:9765", "http://127.0.0.1:9765", "http://127.0.0.1:9765/metrics"]
        {
            assert_eq!(Source::admin(written), address);
        }
    }

    #[test]
    fn who_does_not_answer_is_named() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut room = [0; 1024];
            assert!(stream.read(&mut room).unwrap() > 0);
            stream.write_all(b"HTTP/1.0 404 Not Found\r\n\r\nno").unwrap();
        });
        let fault = Source::Admin(address.clone()).read().unwrap_err();
        assert!(fault.contains(&address) && fault.contains("404"), "{fault}");
        assert_eq!(cores_allowed(&[Source::Admin(address)]), None);
    }
}
