//! Where Redis is: one URL for a single server, for Sentinels that know the server, and for a
//! cluster.
//!
//! | URL | |
//! | --- | --- |
//! | `redis://[[user]:password@]host[:6379][/database]` | one server |
//! | `redis+sentinel://[[user]:password@]host[:26379],…/service[/database]` | the master of a service |
//! | `redis+cluster://[[user]:password@]host[:6379],…` | a cluster, from any of its nodes |
//!
//! `rediss` in place of `redis` speaks TLS to every one of them.

#[cfg(test)]
mod tests;

use percent_encoding::percent_decode_str;
use secrecy::SecretString;

use super::is_loopback;

/// A URL of Redis, taken apart.
#[derive(Clone, Debug)]
pub struct RedisUrl {
    /// What answers at the hosts.
    pub topology: Topology,
    /// Whether every connection is TLS.
    pub tls: bool,
    /// Host names or addresses, and ports; at least one.
    pub hosts: Vec<(String, u16)>,
    /// Who to log in as, where Redis has users.
    pub username: Option<String>,
    /// What to log in with.
    pub password: Option<SecretString>,
    /// The database's number.
    pub database: i64,
}

/// What answers at the hosts of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topology {
    /// The one server.
    Single,
    /// Sentinels, which know the master of a service.
    Sentinel {
        /// The service's name there.
        service: String,
    },
    /// Nodes of a cluster.
    Cluster,
}

/// Why a text is no URL of Redis. Says nothing of the text, which holds a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedisUrlError {
    /// Unknown or no scheme.
    #[error(
        "begins with none of redis://, redis+sentinel:// and redis+cluster:// (rediss for TLS)"
    )]
    Scheme,
    /// Something follows that nothing reads.
    #[error("has a query or a fragment, which is not read; write `?` and `#` as %3F and %23")]
    Query,
    /// A host or port is none.
    #[error("names no host, or a host or port that is none")]
    Host,
    /// One server cannot be several.
    #[error("names several hosts; that takes redis+sentinel:// or redis+cluster://")]
    SeveralHosts,
    /// A user without a password, or bytes that are no text.
    #[error("has a user or password that cannot be read; write :PASSWORD@ or USER:PASSWORD@")]
    Credentials,
    /// The part after the hosts is not what the scheme takes.
    #[error("ends otherwise than the scheme takes: /DATABASE, /SERVICE/DATABASE, or nothing")]
    Path,
}

impl RedisUrl {
    /// Takes a URL apart.
    ///
    /// # Errors
    /// See [`RedisUrlError`].
    pub fn parse(text: &str) -> Result<Self, RedisUrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(RedisUrlError::Scheme)?;
        let (kind, several) = scheme.split_once('+').unwrap_or((scheme, ""));
        let tls = match kind {
            "redis" => false,
            "rediss" => true,
            _ => return Err(RedisUrlError::Scheme),
        };
        let usual = if several == "sentinel" { 26_379 } else { 6_379 };
        if rest.contains(['?', '#']) {
            return Err(RedisUrlError::Query);
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (credentials, hosts) = match authority.rsplit_once('@') {
            Some((credentials, hosts)) => (Some(credentials), hosts),
            None => (None, authority),
        };
        let (username, password) = credentials.map_or(Ok((None, None)), login)?;
        let hosts = hosts
            .split(',')
            .map(|host| address(host, usual))
            .collect::<Option<Vec<_>>>()
            .ok_or(RedisUrlError::Host)?;
        let path = path.strip_suffix('/').unwrap_or(path);
        let (topology, database) = match several {
            "" if hosts.len() > 1 => return Err(RedisUrlError::SeveralHosts),
            "" => (Topology::Single, path),
            "cluster" if path.is_empty() => (Topology::Cluster, ""),
            "sentinel" => {
                let (service, database) = path.split_once('/').unwrap_or((path, ""));
                let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
                if service.is_empty() || !service.bytes().all(plain) {
                    return Err(RedisUrlError::Path);
                }
                (Topology::Sentinel { service: service.to_owned() }, database)
            }
            "cluster" => return Err(RedisUrlError::Path),
            _ => return Err(RedisUrlError::Scheme),
        };
        let database = match database {
            "" => 0,
            number => number.parse::<u16>().map_err(|_| RedisUrlError::Path)?.into(),
        };
        Ok(Self { topology, tls, hosts, username, password, database })
    }

    /// Whether every host is this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.hosts.iter().all(|(host, _)| is_loopback(host))
    }
}

type Login = (Option<String>, Option<SecretString>);

fn login(text: &str) -> Result<Login, RedisUrlError> {
    let decode = |part: &str| {
        percent_decode_str(part)
            .decode_utf8()
            .map(std::borrow::Cow::into_owned)
            .map_err(|_| RedisUrlError::Credentials)
    };
    let (user, password) = text.split_once(':').ok_or(RedisUrlError::Credentials)?;
    if password.is_empty() {
        return Err(RedisUrlError::Credentials);
    }
    let user = if user.is_empty() { None } else { Some(decode(user)?) };
    Ok((user, Some(decode(password)?.into())))
}

fn address(text: &str, usual: u16) -> Option<(String, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(v6) => {
            let (host, port) = v6.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, if port.is_empty() { None } else { Some(port.strip_prefix(':')?) })
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:".contains(&b);
    if host.is_empty() || host.len() > 253 || !host.bytes().all(plain) {
        return None;
    }
    let port = match port {
        Some(port) => port.parse::<u16>().ok().filter(|port| *port != 0)?,
        None => usual,
    };
    Some((host.to_owned(), port))
}
