//! How an application says where its Redis is, and what it asks of it.

use std::fmt;
use std::time::Duration;

use deadpool_redis::redis::TlsCertificates;

use crate::guard::{BreakerOptions, Window};

/// What a result from memory or from Redis may miss of what other nodes wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Consistency {
    /// Nothing that was written before the read began: each read asks Redis for the versions of its tables, and a write that
    /// cannot announce itself is refused.
    Strict,
    /// What was written within this time before the read began. Reads from memory ask nobody; without word from Redis for as
    /// long, they go to the database.
    Bounded(Duration),
    /// What was written within the time to live of the result. Without Redis, results go on to be kept and given out.
    Ttl,
}

impl Default for Consistency {
    /// Bounded by one second.
    fn default() -> Self {
        Self::Bounded(Duration::from_secs(1))
    }
}

/// A Redis or Valkey that the nodes of an application share: where it is, and what is asked of it.
///
/// ```
/// use std::time::Duration;
/// use larder::{Consistency, RedisOptions};
///
/// let options = RedisOptions::new("redis://127.0.0.1/")
///     .consistency(Consistency::Bounded(Duration::from_millis(500)))
///     .secret("of all nodes of this application");
/// ```
#[derive(Clone)]
#[must_use = "options do nothing until a pool is built with them"]
pub struct RedisOptions {
    pub(crate) topology: Topology,
    pub(crate) namespace: String,
    pub(crate) consistency: Consistency,
    pub(crate) lease: Duration,
    pub(crate) timeout: Duration,
    pub(crate) connections: usize,
    pub(crate) secret: Option<Vec<u8>>,
    pub(crate) keys: Vec<[u8; 32]>,
    pub(crate) ca: Option<Vec<u8>>,
    pub(crate) breaker: BreakerOptions,
}

#[derive(Clone, PartialEq)]
pub(crate) enum Topology {
    One(String),
    Sentinels { urls: Vec<String>, master: String },
    Cluster(Vec<String>),
}

impl RedisOptions {
    fn with(topology: Topology) -> Self {
        Self {
            topology,
            namespace: String::new(),
            consistency: Consistency::default(),
            lease: Duration::from_secs(30),
            timeout: Duration::from_millis(50),
            connections: 4,
            secret: None,
            keys: Vec::new(),
            ca: None,
            // To find out that a server hangs takes up to four seconds with each attempt: among the calls of a time when it did not, few
            // such would be lost.
            breaker: BreakerOptions::new()
                .window(Window::Calls(10))
                .minimum_calls(5)
                .pause(Duration::from_millis(250), Duration::from_secs(5)),
        }
    }

    /// One server: `redis://[user:password@]host[:port][/db]`, or `rediss://` for TLS.
    pub fn new(url: impl Into<String>) -> Self {
        Self::with(Topology::One(url.into()))
    }

    /// A primary that Sentinels know by the name `master`. User, password and database of the first URL are those of the
    /// primary.
    pub fn sentinels(urls: impl IntoIterator<Item = impl Into<String>>, master: impl Into<String>) -> Self {
        let urls = urls.into_iter().map(Into::into).collect();
        Self::with(Topology::Sentinels { urls, master: master.into() })
    }

    /// A cluster, by some of its nodes.
    pub fn cluster(urls: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::with(Topology::Cluster(urls.into_iter().map(Into::into).collect()))
    }

    /// Keeps applications apart that share a Redis and a database, but not their results. Databases are kept apart anyway.
    pub fn namespace(mut self, name: impl Into<String>) -> Self {
        self.namespace = name.into();
        self
    }

    /// What a read may miss; [`Consistency::Bounded`] by one second by default.
    pub fn consistency(mut self, consistency: Consistency) -> Self {
        self.consistency = consistency;
        self
    }

    /// How long a write stays announced whose node has died; 30 seconds by default. What it writes is cached by nobody until
    /// then, and nothing at all for as long after Redis has lost its data or was replaced.
    ///
    /// It has to be longer than the server lets a statement run (`statement_timeout`): what is committed later than that
    /// by a node that is dead is not seen before the time to live of a result is over.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// How long an answer of Redis is waited for; 50 milliseconds by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// When the breaker before Redis opens: by default when half of the last 10 calls failed, for a quarter of a second
    /// at first and no more than 5. While it is open, reads go to the database, or are answered from memory where
    /// [`Consistency`] allows it. An answer that was not there within [`RedisOptions::timeout`] is a failure.
    pub fn breaker(mut self, options: BreakerOptions) -> Self {
        self.breaker = options;
        self
    }

    /// Number of connections that all requests share; 4 by default.
    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = connections;
        self
    }

    /// Signs what is kept in Redis, so that nobody without this secret can put results there.
    pub fn secret(mut self, secret: impl AsRef<[u8]>) -> Self {
        self.secret = Some(secret.as_ref().to_vec());
        self
    }

    /// Encrypts what is kept in Redis by AES-256-GCM. The first key is written with; all of them are read with, so that keys
    /// can be changed while nodes run.
    pub fn encrypt(mut self, keys: impl IntoIterator<Item = [u8; 32]>) -> Self {
        self.keys = keys.into_iter().collect();
        self
    }

    /// The certificate authority (PEM) that signed the servers' certificates, in place of those that the system knows.
    pub fn certificate_authority(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca = Some(pem.into());
        self
    }

    /// What these ask for that a node which joined with `first` does not do. How fast and over how many connections does not matter.
    pub(crate) fn contradiction(&self, first: &Self) -> Option<&'static str> {
        [
            (self.topology == first.topology, "its address"),
            (self.namespace == first.namespace, "the namespace"),
            (self.consistency == first.consistency, "the consistency"),
            (self.lease == first.lease, "the lease"),
            (self.secret == first.secret, "the secret"),
            (self.keys == first.keys, "the keys"),
        ]
        .into_iter()
        .find_map(|(same, what)| (!same).then_some(what))
    }

    pub(crate) fn certificates(&self) -> Option<TlsCertificates> {
        self.ca.as_ref().map(|ca| TlsCertificates { client_tls: None, root_cert: Some(ca.clone()) })
    }
}

impl From<&str> for RedisOptions {
    fn from(url: &str) -> Self {
        Self::new(url)
    }
}

impl From<String> for RedisOptions {
    fn from(url: String) -> Self {
        Self::new(url)
    }
}

/// Without addresses, which may hold a password, and without secrets.
impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let topology = match &self.topology {
            Topology::One(_) => "one server",
            Topology::Sentinels { .. } => "sentinels",
            Topology::Cluster(_) => "cluster",
        };
        f.debug_struct("RedisOptions")
            .field("topology", &topology)
            .field("namespace", &self.namespace)
            .field("consistency", &self.consistency)
            .field("lease", &self.lease)
            .field("timeout", &self.timeout)
            .field("connections", &self.connections)
            .field("signed", &self.secret.is_some())
            .field("keys", &self.keys.len())
            .finish_non_exhaustive()
    }
}
