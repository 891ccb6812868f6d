//! Redis or Valkey: a few connections that all requests share, and one more for the feed.
//!
//! In: commands. Out: their answers, in time or not at all. It never waits for a server that is known to be away: those
//! who ask are told at once, and [`Redis::connect`] brings it back.
//!
//! One multiplexed connection serves any number of requests at once; a few of them, so that a large value does not hold up
//! everybody. A connection whose server is no primary any more is as good as lost.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use deadpool_redis::redis::aio::{ConnectionLike, MultiplexedConnection, PubSub};
use deadpool_redis::redis::cluster::ClusterClient;
use deadpool_redis::redis::cluster_async::ClusterConnection;
use deadpool_redis::redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use deadpool_redis::redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, IntoConnectionInfo, Pipeline, RedisError, TlsCertificates,
    TlsMode, Value,
};
use deadpool_redis::{Manager, Pool, Runtime};
use std::sync::Arc;

use super::options::{RedisOptions, Topology};
use crate::guard::{Breaker, Call, Fate};
use crate::observe::{RedisFailure, RedisMeter};

/// A few connections to one Redis.
pub(crate) struct Redis {
    topology: Servers,
    timeout: Duration,
    connections: Box<[ArcSwapOption<Connection>]>,
    next: AtomicUsize,
    is_up: AtomicBool,
    breaker: Arc<Breaker>,
    meter: RedisMeter,
}

enum Servers {
    One(Box<ConnectionInfo>),
    Sentinels { builder: Builder, certificates: Option<Box<TlsCertificates>> },
    Cluster { client: Box<ClusterClient>, nodes: Vec<ConnectionInfo> },
}

/// Sentinels are asked anew each time.
type Builder = Box<dyn Fn() -> Result<SentinelClientBuilder, RedisError> + Send + Sync>;

#[derive(Clone)]
enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// Why there is no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Down {
    #[error("Redis is out of reach")]
    Away,
    #[error("Redis is spared for {0:?}: its breaker is open")]
    Spared(Duration),
    #[error("Redis did not answer within {0:?}")]
    Late(Duration),
    #[error("Redis: {0}")]
    Failed(String),
}

impl Down {
    /// As in metrics.
    const fn cause(&self) -> RedisFailure {
        match self {
            Self::Away => RedisFailure::Away,
            Self::Spared(_) => RedisFailure::Spared,
            Self::Late(_) => RedisFailure::Late,
            Self::Failed(_) => RedisFailure::Failed,
        }
    }

    fn because(error: &RedisError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// To make a connection takes several round trips.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

impl Servers {
    fn of(options: &RedisOptions) -> Result<Self, Down> {
        let because = |error: RedisError| Down::because(&error);
        // Where an application has features of rustls that leave the choice open, somebody has to make it; fails if somebody did.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let secured = |url: &str| -> Result<ConnectionInfo, RedisError> {
            let info = url.into_connection_info()?;
            match options.certificates() {
                Some(certificates) => Ok(Client::build_with_tls(info, certificates)?.get_connection_info().clone()),
                None => Ok(info),
            }
        };
        Ok(match &options.topology {
            Topology::One(url) => Servers::One(Box::new(secured(url).map_err(because)?)),
            Topology::Cluster(urls) => {
                let nodes = urls.iter().map(|url| secured(url)).collect::<Result<Vec<_>, _>>().map_err(because)?;
                let mut builder = ClusterClient::builder(nodes.clone())
                    .connection_timeout(CONNECT_WITHIN)
                    .response_timeout(options.timeout)
                    .retries(1);
                if let Some(certificates) = options.certificates() {
                    builder = builder.certs(certificates);
                }
                Servers::Cluster { client: Box::new(builder.build().map_err(because)?), nodes }
            }
            Topology::Sentinels { urls, master } => {
                let infos = urls.iter().map(|url| secured(url)).collect::<Result<Vec<_>, _>>().map_err(because)?;
                let (master, certificates) = (master.clone(), options.certificates().map(Box::new));
                let Some(first) = infos.first().cloned() else {
                    return Err(Down::Failed("no sentinel was named".into()));
                };
                let builder = move || {
                    let addresses = infos.iter().map(|info| info.addr().clone());
                    let mut builder = SentinelClientBuilder::new(addresses, &master, SentinelServerType::Master)?;
                    let settings = first.redis_settings();
                    builder = builder.set_client_to_redis_db(settings.db());
                    if let Some(password) = settings.password() {
                        builder = builder.set_client_to_redis_password(password);
                    }
                    if let Some(user) = settings.username() {
                        builder = builder.set_client_to_redis_username(user);
                    }
                    if first.addr().is_supported() && format!("{:?}", first.addr()).contains("TcpTls") {
                        builder = builder
                            .set_client_to_redis_tls_mode(TlsMode::Secure)
                            .set_client_to_sentinel_tls_mode(TlsMode::Secure);
                    }
                    Ok(builder)
                };
                Servers::Sentinels { builder: Box::new(builder), certificates }
            }
        })
    }
}

impl Redis {
    /// # Errors
    /// The options make no sense to the client.
    pub fn check(options: &RedisOptions) -> Result<(), Down> {
        Servers::of(options).map(drop)
    }

    /// # Errors
    /// The options make no sense to the client.
    pub fn new(options: &RedisOptions, breaker: Arc<Breaker>) -> Result<Self, Down> {
        Ok(Self {
            topology: Servers::of(options)?,
            timeout: options.timeout,
            connections: (0..options.connections.max(1)).map(|_| ArcSwapOption::empty()).collect(),
            next: AtomicUsize::new(0),
            is_up: AtomicBool::new(false),
            breaker,
            meter: RedisMeter::new(),
        })
    }

    /// What stands before it.
    pub fn breaker(&self) -> &Arc<Breaker> {
        &self.breaker
    }

    /// Whether it is known to answer.
    pub fn is_up(&self) -> bool {
        self.is_up.load(SeqCst)
    }

    /// How many connections lead to it.
    pub fn connected(&self) -> usize {
        let connections = self.connections.iter().filter(|connection| connection.load().is_some());
        if self.is_up() { connections.count() } else { 0 }
    }

    /// Nobody asks it any more, until it is connected again.
    pub fn give_up(&self) {
        self.is_up.store(false, SeqCst);
    }

    /// It was heard again.
    pub fn take_up(&self) {
        self.is_up.store(true, SeqCst);
    }

    /// Makes all connections anew. It is not taken up by that.
    pub async fn connect(&self) -> Result<(), Down> {
        let connecting = async {
            match &self.topology {
                Servers::Cluster { client, .. } => {
                    let connection = client.get_async_connection().await?;
                    for place in &self.connections {
                        place.store(Some(Arc::new(Connection::Cluster(connection.clone()))));
                    }
                }
                Servers::One(_) | Servers::Sentinels { .. } => {
                    let pool = self.pool(self.primary().await?)?;
                    for place in &self.connections {
                        // Taken for good: what the pool is for is done by sharing it.
                        let connection = deadpool_redis::Connection::take(pool.get().await.map_err(of_pool)?);
                        place.store(Some(Arc::new(Connection::One(connection))));
                    }
                }
            }
            Ok::<_, RedisError>(())
        };
        self.anyhow(CONNECT_WITHIN, connecting).await
    }

    fn pool(&self, primary: ConnectionInfo) -> Result<Pool, RedisError> {
        // The time is kept here, for the connection and for each answer.
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT_WITHIN)).set_response_timeout(None);
        let manager = Manager::new_with_config(primary, config)?;
        let built = Pool::builder(manager).max_size(self.connections.len()).runtime(Runtime::Tokio1).build();
        built.map_err(|error| RedisError::from(std::io::Error::other(error)))
    }

    /// Where writes go now.
    async fn primary(&self) -> Result<ConnectionInfo, RedisError> {
        match &self.topology {
            Servers::One(info) => Ok((**info).clone()),
            Servers::Sentinels { builder, certificates } => {
                let info = builder()?.build()?.async_get_client().await?.get_connection_info().clone();
                match certificates {
                    Some(certificates) => {
                        Ok(Client::build_with_tls(info, (**certificates).clone())?.get_connection_info().clone())
                    }
                    None => Ok(info),
                }
            }
            // Each node passes on what is published on any.
            Servers::Cluster { nodes, .. } => Ok(nodes[self.next.fetch_add(1, Relaxed) % nodes.len()].clone()),
        }
    }

    /// A connection of its own that hears what is published on `channel`.
    pub async fn listen(&self, channel: &str) -> Result<PubSub, Down> {
        let listening = async {
            let mut feed = Client::open(self.primary().await?)?.get_async_pubsub().await?;
            feed.subscribe(channel).await?;
            Ok::<_, RedisError>(feed)
        };
        match tokio::time::timeout(CONNECT_WITHIN, listening).await {
            Ok(listened) => listened.map_err(|error| Down::because(&error)),
            Err(_) => Err(Down::Late(CONNECT_WITHIN)),
        }
    }

    /// Asks what a read wants to know, whether or not it is up, unless the breaker spares it.
    pub async fn ask(&self, command: &Cmd) -> Result<Value, Down> {
        let mut connection = self.connection()?;
        self.in_time(answer(&mut connection, command)).await
    }

    /// Asks what other nodes rely on, whether or not it is up: what is written is announced and told, and what others write is heard, also
    /// while the breaker spares reads.
    pub async fn ask_anyhow(&self, command: &Cmd) -> Result<Value, Down> {
        let mut connection = self.connection()?;
        self.anyhow(self.timeout, answer(&mut connection, command)).await
    }

    /// Asks two things at once, which may lie in different places.
    pub async fn ask_both(&self, one: &Cmd, other: &Cmd) -> Result<(Value, Value), Down> {
        let mut connection = self.connection()?;
        let answers = async {
            match &mut connection {
                Connection::One(connection) => {
                    let mut pipeline = Pipeline::with_capacity(2);
                    pipeline.add_command(one.clone()).add_command(other.clone());
                    let answers = connection.req_packed_commands(&pipeline, 0, 2).await?;
                    let [one, other] = <[Value; 2]>::try_from(answers)
                        .map_err(|_| RedisError::from(std::io::Error::other("two answers were expected")))?;
                    Ok((one.extract_error()?, other.extract_error()?))
                }
                Connection::Cluster(connection) => {
                    let mut second = connection.clone();
                    futures_util::try_join!(connection.req_packed_command(one), second.req_packed_command(other))
                }
            }
        };
        self.in_time(answers).await
    }

    /// Asks many things whose answers do not matter.
    pub async fn tell(&self, commands: &[Cmd]) -> Result<(), Down> {
        let mut connection = self.connection()?;
        let told = async {
            match &mut connection {
                Connection::One(connection) => {
                    let mut pipeline = Pipeline::with_capacity(commands.len());
                    for command in commands {
                        pipeline.add_command(command.clone());
                    }
                    for answer in connection.req_packed_commands(&pipeline, 0, commands.len()).await? {
                        answer.extract_error()?;
                    }
                }
                Connection::Cluster(connection) => {
                    let tell = commands.iter().map(|command| {
                        let mut connection = connection.clone();
                        async move { connection.req_packed_command(command).await }
                    });
                    futures_util::future::try_join_all(tell).await?;
                }
            }
            Ok(())
        };
        self.in_time(told).await
    }

    fn connection(&self) -> Result<Connection, Down> {
        let at = self.next.fetch_add(1, Relaxed) % self.connections.len();
        let connection = self.connections[at].load().as_deref().cloned().ok_or(Down::Away);
        connection.inspect_err(|down| self.meter.failed(down.cause()))
    }

    async fn in_time<T>(&self, answer: impl Future<Output = Result<T, RedisError>>) -> Result<T, Down> {
        let call = self.breaker.admit().map_err(Down::Spared).inspect_err(|down| self.meter.failed(down.cause()))?;
        self.judged(Some(call), self.timeout, answer).await
    }

    async fn anyhow<T>(&self, time: Duration, answer: impl Future<Output = Result<T, RedisError>>) -> Result<T, Down> {
        self.judged(self.breaker.admit_anyhow(), time, answer).await
    }

    async fn judged<T>(
        &self,
        mut call: Option<Call>,
        time: Duration,
        answer: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, Down> {
        if let Some(call) = &mut call {
            call.begins();
        }
        let asking = self.meter.asks();
        let answer = match tokio::time::timeout(time, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) if is_objection(&error) => {
                // It answers, if only that it does not like the question.
                call.into_iter().for_each(|call| call.ends(Fate::Answered, String::new));
                return Err(Down::because(&error)).inspect_err(|down| self.meter.failed(down.cause()));
            }
            Ok(Err(error)) => Err(Down::because(&error)),
            Err(_) => Err(Down::Late(time)),
        };
        drop(asking);
        match (&answer, call) {
            (Ok(_), Some(call)) => call.ends(Fate::Answered, String::new),
            (Err(down), Some(call)) => call.ends(Fate::Failed, || down.to_string()),
            (_, None) => {}
        }
        answer.inspect_err(|down| self.meter.failed(down.cause()))
    }
}

async fn answer(connection: &mut Connection, command: &Cmd) -> Result<Value, RedisError> {
    match connection {
        Connection::One(connection) => connection.req_packed_command(command).await,
        Connection::Cluster(connection) => connection.req_packed_command(command).await,
    }
}

/// Whether a server that is well said this: of a script that it does not know, or of a key of another kind.
fn is_objection(error: &RedisError) -> bool {
    let in_trouble = ["LOADING", "READONLY", "CLUSTERDOWN", "MASTERDOWN", "OOM", "MISCONF", "BUSY", "TRYAGAIN"];
    !error.is_io_error()
        && !error.is_timeout()
        && !error.is_connection_dropped()
        && error.code().is_some_and(|code| !in_trouble.contains(&code))
}

fn of_pool(error: deadpool_redis::PoolError) -> RedisError {
    match error {
        deadpool_redis::PoolError::Backend(error) => error,
        error => RedisError::from(std::io::Error::other(error)),
    }
}

/// Addresses and passwords are not shown.
impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let topology = match &self.topology {
            Servers::One(_) => "one",
            Servers::Sentinels { .. } => "sentinels",
            Servers::Cluster { .. } => "cluster",
        };
        f.debug_struct("Redis").field("topology", &topology).field("is_up", &self.is_up).finish_non_exhaustive()
    }
}
