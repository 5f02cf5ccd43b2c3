//! Pictures from elsewhere: fetched from public addresses alone, within limits of size and time.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use axum::http::Uri;
use ureq::Agent;
use ureq::config::Config;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

use crate::error::Refusal;

/// For everything: names, connection, all bytes.
const TIME: Duration = Duration::from_secs(10);

/// Names become addresses that may be asked: what is checked is what is connected to.
#[derive(Debug)]
struct Checked {
    resolver: DefaultResolver,
    may_be_asked: fn(IpAddr) -> bool,
}

impl Resolver for Checked {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.resolver.resolve(uri, config, timeout)?;
        let mut left = self.empty();
        for address in found.iter().filter(|address| (self.may_be_asked)(address.ip())) {
            left.push(*address);
        }
        match left.is_empty() {
            true => Err(ureq::Error::HostNotFound),
            false => Ok(left),
        }
    }
}

/// The bytes at `url`, a public address, at most `most`.
///
/// # Errors
/// [`Refusal`] where nothing comes, or too much; why is not told in detail, so that nobody looks around in our network.
pub(crate) fn fetch(url: &str, most: usize) -> Result<Vec<u8>, Refusal> {
    fetch_from(url, most, TIME, is_public)
}

fn fetch_from(
    url: &str,
    most: usize,
    time: Duration,
    may_be_asked: fn(IpAddr) -> bool,
) -> Result<Vec<u8>, Refusal> {
    let config = Config::builder()
        .timeout_global(Some(time))
        // An address elsewhere is resolved, and checked, like the first.
        .max_redirects(3)
        .proxy(None)
        .build();
    let agent = Agent::with_parts(
        config,
        DefaultConnector::default(),
        Checked {
            resolver: DefaultResolver::default(),
            may_be_asked,
        },
    );
    let failed = |_| {
        Refusal::invalid(
            "a picture cannot be fetched from its address: it must be a public one that answers in time; send it as a data URL",
        )
    };
    let mut response = agent.get(url).call().map_err(failed)?;
    // A body that is as long as its limit is refused.
    let body = response.body_mut().with_config().limit(most as u64 + 1);
    body.read_to_vec().map_err(failed)
}

/// Whether everyone on the internet means the same machine by `address`.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(address) => is_public_v4(address),
            None => is_public_v6(address),
        },
    }
}

/// By the registry of special addresses (RFC 6890).
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_broadcast()
        || address.is_documentation()
        || address.is_multicast()
        || a == 0
        || a >= 240
        // Shared by providers, protocol assignments, and benchmarks.
        || a == 100 && (64..128).contains(&b)
        || (a, b, c) == (192, 0, 0)
        || (a, b, c) == (192, 88, 99)
        || a == 198 && (18..20).contains(&b))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    // Only 2000::/3 is given out; in it stand documentation, benchmarks, and tunnels to addresses of version 4.
    (first & 0xe000) == 0x2000
        && !(first == 0x2001 && second < 0x0200)
        && !(first == 0x2001 && second == 0x0db8)
        && first != 0x2002
        && !(first == 0x3fff && second < 0x1000)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener};
    use std::thread;
    use std::time::Instant;

    use super::*;

    const PICTURE: [u8; 500] = [7; 500];

    /// A server on this machine whose pictures are: there; elsewhere on it; on an address that must not be asked; not at an end.
    fn served() -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let answer = move |path: &str| {
            let elsewhere = |host: &str| {
                format!("HTTP/1.1 302 Found\r\nlocation: http://{host}:{port}/there\r\n").into_bytes()
            };
            let head = match path {
                "/there" => b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n".to_vec(),
                "/moved" => elsewhere("127.0.0.1"),
                "/inside" => elsewhere("127.0.0.2"),
                "/slow" => b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n".to_vec(),
                _ => b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n".to_vec(),
            };
            let body: &[u8] = if matches!(path, "/there" | "/slow") {
                &PICTURE
            } else {
                &[]
            };
            [&head, &b"connection: close\r\n\r\n"[..], body].concat()
        };
        thread::spawn(move || {
            for stream in listener.incoming() {
                thread::spawn(move || {
                    let (mut stream, mut request) = (stream.unwrap(), [0; 1000]);
                    let length = stream.read(&mut request).unwrap();
                    let request = String::from_utf8_lossy(&request[..length]);
                    let path = request.split(' ').nth(1).unwrap_or_default();
                    // That of 127.0.0.2 would be the same picture.
                    stream.write_all(&answer(path)).unwrap();
                    if path == "/slow" {
                        thread::sleep(Duration::from_secs(60));
                    }
                });
            }
        });
        port
    }

    #[test]
    fn a_picture_is_fetched_where_it_is_and_where_it_moved_to_within_limits() {
        let port = served();
        let get = |path: &str, most: usize, time: u64| {
            let allowed = |address: IpAddr| address == IpAddr::V4(Ipv4Addr::LOCALHOST);
            fetch_from(
                &format!("http://127.0.0.1:{port}{path}"),
                most,
                Duration::from_millis(time),
                allowed,
            )
        };
        for path in ["/there", "/moved"] {
            assert_eq!(
                get(path, 500, 10_000).ok().as_deref(),
                Some(&PICTURE[..]),
                "{path}"
            );
        }
        assert!(get("/there", 499, 10_000).is_err(), "too much");
        assert!(
            get("/inside", 500, 10_000).is_err(),
            "sent to an address that is not public"
        );
        assert!(get("/nowhere", 500, 10_000).is_err());
        let begun = Instant::now();
        assert!(get("/slow", 1000, 500).is_err(), "never whole");
        assert!(begun.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn addresses_of_ours_are_no_public_ones() {
        for private in [
            "127.0.0.1",
            "127.8.8.8",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "192.0.0.8",
            "198.18.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "192.0.2.1",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "64:ff9b::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:10.1.2.3",
            "2001::1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
        for public in [
            "8.8.8.8",
            "1.1.1.1",
            "172.32.0.1",
            "100.128.0.1",
            "2606:4700::1111",
            "2a00:1450::1",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }

    #[test]
    fn this_machine_is_not_asked() {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let SocketAddr::V4(address) = listener.local_addr().unwrap() else {
            panic!("an address of version 4");
        };
        for host in [
            "127.0.0.1",
            "localhost",
            "[::ffff:127.0.0.1]",
            "2130706433",
            "0x7f.1",
        ] {
            assert!(fetch(&format!("http://{host}:{}/a.png", address.port()), 1000).is_err());
        }
        let error = listener.accept().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "somebody connected");
    }
}
