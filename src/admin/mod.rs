//! The page and the interface for those who operate an application: what its pools do, and orders to them.
//!
//! In: pools, who may see them and who may give orders. Out: an axum [`Router`] to mount under any path, or a server of its own.
//! Nothing listens unless it is asked to. It shows no value that was bound, no address and no password, and loads nothing from
//! anywhere else.
//!
//! ```no_run
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! use larder::admin::{Access, Admin};
//!
//! let pool = larder::SqlitePool::connect("sqlite:shop.db").await?;
//! let access = Access::tokens(std::env::var("READ_TOKEN")?, std::env::var("OPERATE_TOKEN")?);
//! let admin = Admin::new(access).pool("shop", &pool).host("shop.internal");
//! let app = axum::Router::new().nest("/larder", admin.router());
//! # let _: axum::Router = app;
//! # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
//! ```
//!
//! | file | question |
//! |---|---|
//! | `access` | who may do what, and from where? |
//! | `operated` | what does a pool show, of whatever database? |
//! | `api` | what is asked and ordered, as JSON? |
//! | `page`, `sections` | what does a person see? |
//! | `live` | how does the page stay new? |
//! | `problem` | what does an error look like? |

mod access;
mod api;
mod live;
mod operated;
mod page;
mod problem;
mod sections;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::response::Redirect;
use axum::routing::{get, post};
use sqlx::IntoArguments;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

pub use access::{Access, Operator};
use live::Drawn;
use operated::Operated;

use crate::{Backend, CachedPool};

/// Pages that are kept new at a time, and listeners to events.
const VIEWERS: usize = 64;
/// Most bytes of an order.
const LONGEST: usize = 64 << 10;

/// What those who operate an application get to see, and who they are.
#[must_use = "it shows nothing until it is mounted or served"]
pub struct Admin {
    pools: Vec<(String, Arc<dyn Operated>)>,
    access: Access,
    hosts: Vec<String>,
    metrics: Option<Box<dyn Fn() -> String + Send + Sync>>,
}

/// What all requests share.
struct Shared {
    pools: Vec<(String, Arc<dyn Operated>)>,
    access: Access,
    hosts: Vec<String>,
    metrics: Option<Box<dyn Fn() -> String + Send + Sync>>,
    viewers: Arc<Semaphore>,
    listeners: Arc<Semaphore>,
    drawn: Drawn,
    started: SystemTime,
}

impl Admin {
    /// For those who have `access`; without a pool so far.
    pub fn new(access: Access) -> Self {
        Self { pools: Vec::new(), access, hosts: Vec::new(), metrics: None }
    }

    /// Shows this pool under a name.
    ///
    /// # Panics
    /// For a name that is taken.
    pub fn pool<DB: Backend>(mut self, name: impl Into<String>, pool: &CachedPool<DB>) -> Self
    where
        DB::Arguments: IntoArguments<DB>,
    {
        let name = name.into();
        assert!(self.pools.iter().all(|(taken, _)| *taken != name), "there is a pool named {name:?} already");
        self.pools.push((name, Arc::new(pool.clone())));
        self
    }

    /// Answers under this host name as well, such as `shop.internal` or `shop.internal:8080`. Names of this machine itself and plain
    /// addresses are answered anyway; others are refused, so that no foreign page can have a browser ask under a name of its own.
    pub fn host(mut self, name: impl Into<String>) -> Self {
        self.hosts.push(name.into().to_ascii_lowercase());
        self
    }

    /// Has `/v1/metrics` answer with this text: what an exporter renders, such as `PrometheusHandle::render`.
    pub fn metrics(mut self, render: impl Fn() -> String + Send + Sync + 'static) -> Self {
        self.metrics = Some(Box::new(render));
        self
    }

    /// The router, to be mounted with [`Router::nest`]: under `/larder`, the page is at `/larder` and the interface at `/larder/v1`. A
    /// proxy before it has to leave the path as it is.
    ///
    /// | | |
    /// |---|---|
    /// | `GET /` | the page |
    /// | `GET /v1/health/live`, `/v1/health/ready` | for probes; needs no token, and says no more than yes or no |
    /// | `GET /v1/info`, `/v1/config`, `/v1/metrics` | what runs here, how it was set up, and its metrics |
    /// | `GET /v1/pools`, `/v1/caches`, `/v1/breakers`, `/v1/queries`, `/v1/events`, `/v1/history` | what the pools do; `?pool=` for one of them |
    /// | `GET /v1/events/stream` | events as they happen (server-sent) |
    /// | `GET /v1/reports`, `/v1/reports/{pool}` | the report; `?format=json`, `html`, `markdown`, `csv` or `text` |
    /// | `POST /v1/explain-cache` | what would become of a statement |
    /// | `POST /v1/caches/{pool}/flush`, `/invalidate`, `/warm` | orders to a cache |
    /// | `POST /v1/breakers/{pool}/{breaker}` | orders to a breaker |
    ///
    /// Errors are `application/problem+json` (RFC 9457).
    pub fn router(self) -> Router {
        let shared = Arc::new(Shared {
            pools: self.pools,
            access: self.access,
            hosts: self.hosts,
            metrics: self.metrics,
            viewers: Arc::new(Semaphore::new(VIEWERS)),
            listeners: Arc::new(Semaphore::new(VIEWERS)),
            drawn: Drawn::default(),
            started: SystemTime::now(),
        });
        Router::new()
            .route("/", get(page::page))
            .route("/login", get(page::login).post(access::log_in))
            .route("/logout", post(access::log_out))
            .route("/assets/page.css", get(page::style))
            .route("/assets/page.js", get(page::script))
            .route("/live", get(live::page))
            .nest("/v1", api::router())
            .fallback(problem::not_found)
            .method_not_allowed_fallback(problem::wrong_verb)
            .layer(middleware::from_fn_with_state(shared.clone(), access::guard))
            .layer(DefaultBodyLimit::max(LONGEST))
            .with_state(shared)
    }

    /// Serves the router at `/admin` of an address of its own, until the task is dropped: `127.0.0.1:9321`, say.
    ///
    /// # Errors
    /// Those of binding the address. [`io::ErrorKind::InvalidInput`] for an address that others than this machine reach, if
    /// the router itself asks nobody who he is ([`Access::open`], [`Access::own_layer`]).
    pub async fn serve(self, address: &str) -> io::Result<()> {
        let (listener, router) = self.bind(address).await?;
        axum::serve(listener, router).await
    }

    /// Binds the address alone, so that it is known where it listens before it does.
    pub(crate) async fn bind(self, address: &str) -> io::Result<(TcpListener, Router)> {
        let listener = TcpListener::bind(address).await?;
        let bound: SocketAddr = listener.local_addr()?;
        if !bound.ip().is_loopback() && self.access.asks_nobody() {
            let sentence = format!(
                "{bound} is reached by others than this machine, and nobody is asked who he is: use Access::tokens, or an address such as \
                 127.0.0.1"
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, sentence));
        }
        let to_the_page = || get(|| async { Redirect::temporary("/admin") });
        let router =
            Router::new().route("/", to_the_page()).route("/admin/", to_the_page()).nest("/admin", self.router());
        Ok((listener, router))
    }
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let pools: Vec<_> = self.pools.iter().map(|(name, _)| name).collect();
        f.debug_struct("Admin").field("pools", &pools).field("access", &self.access).finish_non_exhaustive()
    }
}

impl Shared {
    /// The pool of this name; without one, the first.
    fn pool(&self, name: Option<&str>) -> Option<(&str, &Arc<dyn Operated>)> {
        let mut pools = self.pools.iter().map(|(name, pool)| (name.as_str(), pool));
        match name {
            Some(name) => pools.find(|(known, _)| *known == name),
            None => pools.next(),
        }
    }
}
