//! Under which names the server may be asked, where this machine alone can reach it.
//!
//! A page of the web may have its own name resolved to this machine (DNS rebinding): then the browser takes the server for that page's
//! own, and lets it ask and read. The name that the browser was told remains in the `Host` of its requests.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State as Shared};
use axum::http::uri::Authority;
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::error::Refusal;
use crate::options::ServerOptions;
use crate::state::State;

/// Refuses requests to names that are not this machine's. Where there are keys, or others may reach the server, any name will do: a
/// foreign page has no key, and nobody here knows by what names a network calls its machines.
pub(crate) async fn known_host(Shared(state): Shared<Arc<State>>, request: Request, next: Next) -> Response {
    let given = request.headers().get(header::HOST);
    // Browsers always send it.
    let known = given.is_none_or(|given| given.to_str().is_ok_and(|given| is_known(&state.options, given)));
    match known {
        true => next.run(request).await,
        false => {
            let message = "without keys this server answers to localhost, 127.0.0.1 and [::1] alone, which the request's Host is not: \
                           allow other names with --allow-host";
            Refusal::new(StatusCode::FORBIDDEN, "unknown_host", message).into_response()
        }
    }
}

/// Whether the server that `options` describe may be asked as `given`, a name or an address with a port or without.
fn is_known(options: &ServerOptions, given: &str) -> bool {
    if !options.host.is_loopback() || options.keys.is_some() {
        return true;
    }
    let Ok(authority) = given.parse::<Authority>() else {
        return false;
    };
    let name = authority.host().trim_end_matches('.');
    let address = name
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>();
    let own = match address {
        Ok(address) => address.is_loopback() || address == options.host,
        Err(_) => name.eq_ignore_ascii_case("localhost"),
    };
    own || options
        .hosts
        .iter()
        .any(|allowed| name.eq_ignore_ascii_case(allowed))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::Keys;

    #[test]
    fn only_names_of_this_machine_are_known() {
        let mut options = ServerOptions::named("model");
        options.hosts = vec!["my.machine".to_owned()];
        for own in [
            "localhost",
            "LocalHost:8080",
            "localhost.",
            "127.0.0.1:8080",
            "127.0.0.2",
            "[::1]:8080",
            "[::1]",
            "My.Machine:80",
        ] {
            assert!(is_known(&options, own), "{own}");
        }
        let foreign = [
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "192.168.0.1",
            "[::2]",
            "",
            "a b",
        ];
        for foreign in foreign {
            assert!(!is_known(&options, foreign), "{foreign}");
        }
        let keys = ServerOptions {
            keys: Some(Keys::new(["secret"])),
            ..options.clone()
        };
        let open = ServerOptions {
            host: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            ..options
        };
        assert!(
            foreign
                .iter()
                .all(|foreign| is_known(&keys, foreign) && is_known(&open, foreign))
        );
    }
}
