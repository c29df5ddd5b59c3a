//! `zookeeper.connect`: servers, and the node below which everything of this cluster lies
//! (ZooKeeper: `ConnectStringParser`).

use crate::store::path;

/// Where a server that names no port listens.
const DEFAULT_PORT: u16 = 2181;

/// A server of an ensemble.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Server {
    pub(super) host: String,
    pub(super) port: u16,
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Servers and chroot of `host:port,host:port/a/b`; the chroot is empty where there is none.
///
/// # Errors
/// What is wrong with it, in words.
pub(super) fn parse(text: &str) -> Result<(Vec<Server>, String), String> {
    let text = text.trim();
    let (servers, chroot) = match text.find('/') {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let chroot = if chroot == "/" { "" } else { chroot };
    if !chroot.is_empty() && !path::is_valid(chroot) {
        return Err(format!("{chroot} is no path of a node"));
    }
    let servers = servers
        .split(',')
        .map(str::trim)
        .filter(|server| !server.is_empty())
        .map(server)
        .collect::<Result<Vec<_>, _>>()?;
    if servers.is_empty() {
        return Err("it names no server".to_owned());
    }
    Ok((servers, chroot.to_owned()))
}

fn server(text: &str) -> Result<Server, String> {
    // An IPv6 address is in brackets where a port follows it.
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or_else(|| format!("{text} lacks a ]"))?;
            (host, rest.strip_prefix(':'))
        }
        None => match text.split_once(':') {
            Some((host, port)) if !port.contains(':') => (host, Some(port)),
            _ => (text, None),
        },
    };
    let port = match port {
        None => DEFAULT_PORT,
        Some(port) => port
            .parse()
            .ok()
            .filter(|port| *port != 0)
            .ok_or_else(|| format!("{port} is no port"))?,
    };
    if host.is_empty() {
        return Err(format!("{text} names no host"));
    }
    Ok(Server {
        host: host.to_owned(),
        port,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (Vec<String>, String) {
        let (servers, chroot) = parse(text).unwrap();
        (servers.iter().map(Server::to_string).collect(), chroot)
    }

    #[test]
    fn servers_and_chroot_come_apart() {
        let one = |text: &str, server: &str, chroot: &str| {
            assert_eq!(
                parsed(text),
                (vec![server.to_owned()], chroot.to_owned()),
                "{text}"
            );
        };
        one("zk", "zk:2181", "");
        one(" zk:99/ ", "zk:99", "");
        one("zk:99/a/b", "zk:99", "/a/b");
        one("[::1]:99/a", "[::1]:99", "/a");
        one("::1", "[::1]:2181", "");
        let (servers, chroot) = parsed("a:1, b,c:3/kafka");
        assert_eq!(servers, ["a:1", "b:2181", "c:3"]);
        assert_eq!(chroot, "/kafka");
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in [
            "", "/a", ",", "a:b", "a:0", "a:65536", ":1", "a/b/", "a//b", "[::1",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
