//! The interface: what is asked and ordered, as JSON.
//!
//! An order is taken down as an event and in the log before it is carried out, with who gave it as far as that is known; and what came of
//! it where it may fail.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Extension, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use wildmatch::WildMatch;

use super::Shared;
use super::access::Caller;
use super::live;
use super::operated::Operated;
use super::problem::{Path, Problem, Query};
use crate::wording::is_sly;
use crate::{Changes, Dependency};

type Told = Result<Json<Value>, Problem>;

pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/health/live", get(|| async { Json(json!({"status": "up"})) }))
        .route("/health/ready", get(ready))
        .route("/info", get(info))
        .route("/config", get(config))
        .route("/metrics", get(metrics))
        .route("/pools", get(pools))
        .route("/caches", get(caches))
        .route("/caches/{pool}/flush", post(flush))
        .route("/caches/{pool}/invalidate", post(invalidate))
        .route("/caches/{pool}/warm", post(warm))
        .route("/breakers", get(breakers))
        .route("/breakers/{pool}/{breaker}", post(force))
        .route("/queries", get(queries))
        .route("/events", get(events))
        .route("/events/stream", get(live::events))
        .route("/history", get(history))
        .route("/reports", get(reports))
        .route("/reports/{pool}", get(report))
        .route("/explain-cache", post(explain))
}

/// Which pool, or all of them.
#[derive(Debug, Deserialize)]
pub(super) struct Which {
    pub pool: Option<String>,
}

impl Shared {
    /// The pool that somebody asks for by name.
    pub(super) fn named(&self, name: &str) -> Result<&Arc<dyn Operated>, Problem> {
        self.pool(Some(name)).map(|(_, pool)| pool).ok_or_else(|| Problem::unknown("pool", name))
    }

    fn each(&self, which: &Which, tell: impl Fn(&dyn Operated) -> Value) -> Told {
        if let Some(name) = &which.pool {
            return Ok(Json(json!({name: tell(&**self.named(name)?)})));
        }
        let all = self.pools.iter().map(|(name, pool)| (name.clone(), tell(&**pool)));
        Ok(Json(Value::Object(all.collect())))
    }
}

/// Ready is who can answer, be it from what is kept alone: to take all nodes out of service while the database is away would make its
/// outage everybody's.
async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    match shared.pools.iter().all(|(_, pool)| !pool.connections().is_closed) {
        true => Json(json!({"status": "ready"})).into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"status": "not ready"}))).into_response(),
    }
}

async fn info(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let pools = shared.pools.iter().map(|(name, pool)| (name.clone(), json!({"database": pool.backend()})));
    let started = shared.started.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Json(json!({
        "name": "larder",
        "version": env!("CARGO_PKG_VERSION"),
        "started": started.as_secs_f64(),
        "pools": Value::Object(pools.collect()),
    }))
}

async fn config(State(shared): State<Arc<Shared>>, Query(which): Query<Which>) -> Told {
    shared.each(&which, |pool| {
        let said = pool.configuration().into_iter().map(|(name, value)| (name.to_owned(), value.into()));
        Value::Object(said.collect())
    })
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Result<Response, Problem> {
    let Some(render) = &shared.metrics else {
        let why = "this application shows no metrics here: give Admin::metrics what its exporter renders";
        return Err(Problem::new(StatusCode::NOT_FOUND, why));
    };
    Ok(typed("text/plain; version=0.0.4; charset=utf-8", render()))
}

fn typed(kind: &'static str, text: String) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static(kind))], text).into_response()
}

async fn pools(State(shared): State<Arc<Shared>>, Query(which): Query<Which>) -> Told {
    shared.each(&which, |pool| {
        json!({
            "database": pool.backend(),
            "connections": pool.connections(),
            "off": pool.off().map(|refusal| json!({"reason": refusal.reason.label(), "sentence": refusal.sentence})),
            "emergencies": pool.emergencies().iter().map(|pressure| pressure.label()).collect::<Vec<_>>(),
            "feeds": pool.feeds(),
        })
    })
}

async fn caches(State(shared): State<Arc<Shared>>, Query(which): Query<Which>) -> Told {
    shared.each(&which, |pool| {
        let stats = pool.stats();
        let rate = stats.hit_rate();
        let mut told = serde_json::to_value(stats).unwrap_or_default();
        told["hit_rate"] = json!(rate);
        told
    })
}

async fn breakers(State(shared): State<Arc<Shared>>, Query(which): Query<Which>) -> Told {
    shared.each(&which, |pool| json!(pool.breakers()))
}

#[derive(Debug, Deserialize)]
struct Top {
    pool: Option<String>,
    #[serde(default = "Top::usual")]
    limit: usize,
}

impl Top {
    fn usual() -> usize {
        100
    }
}

async fn queries(State(shared): State<Arc<Shared>>, Query(top): Query<Top>) -> Told {
    let told = tokio::task::spawn_blocking(move || {
        shared.each(&Which { pool: top.pool }, |pool| {
            let mut queries = pool.queries();
            queries.truncate(top.limit);
            serde_json::to_value(queries).unwrap_or_default()
        })
    });
    told.await
        .unwrap_or_else(|_| Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the statements could not be told")))
}

async fn events(State(shared): State<Arc<Shared>>, Query(which): Query<Which>) -> Told {
    shared.each(&which, |pool| serde_json::to_value(pool.events()).unwrap_or_default())
}

#[derive(Debug, Deserialize)]
struct Past {
    pool: Option<String>,
    format: Option<String>,
}

async fn history(State(shared): State<Arc<Shared>>, Query(past): Query<Past>) -> Result<Response, Problem> {
    match past.format.as_deref() {
        None | Some("json") => {
            let told = shared
                .each(&Which { pool: past.pool }, |pool| serde_json::to_value(pool.history()).unwrap_or_default());
            told.map(IntoResponse::into_response)
        }
        Some("csv") => {
            let (_, pool) = shared
                .pool(past.pool.as_deref())
                .ok_or_else(|| Problem::unknown("pool", past.pool.as_deref().unwrap_or_default()))?;
            Ok(typed("text/csv; charset=utf-8", pool.history().csv()))
        }
        Some(other) => Err(Problem::bad_request(format!("{other:?} is not a format of the history: json or csv"))),
    }
}

async fn reports(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(shared.pools.iter().map(|(name, _)| json!({"pool": name, "path": format!("reports/{name}")})).collect())
}

#[derive(Debug, Deserialize)]
struct Shape {
    format: Option<String>,
}

async fn report(
    State(shared): State<Arc<Shared>>,
    Path(pool): Path<String>,
    Query(shape): Query<Shape>,
) -> Result<Response, Problem> {
    let pool = shared.named(&pool)?.clone();
    // Where statements were asked again and again, to name the places takes a while.
    let report = tokio::task::spawn_blocking(move || pool.report()).await;
    let report = report.map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the report could not be made"))?;
    Ok(match shape.format.as_deref() {
        None | Some("json") => Json(report).into_response(),
        Some("html") => with_style(typed("text/html; charset=utf-8", report.html())),
        Some("csv") => typed("text/csv; charset=utf-8", report.csv()),
        Some("markdown") => typed("text/markdown; charset=utf-8", report.markdown()),
        Some("text") => typed("text/plain; charset=utf-8", report.to_string()),
        Some(other) => {
            let why = format!("{other:?} is not a format of the report: json, html, markdown, csv or text");
            return Err(Problem::bad_request(why));
        }
    })
}

/// The report brings its style along, and needs nothing else.
fn with_style(mut response: Response) -> Response {
    let policy = HeaderValue::from_static(
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'",
    );
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}

/// The body of an order, or what is wrong with it.
fn order<T>(body: Result<Json<T>, JsonRejection>) -> Result<T, Problem> {
    body.map(|Json(order)| order).map_err(|why| Problem::bad_request(why.body_text()))
}

fn take_down(name: &str, pool: &dyn Operated, caller: &Caller, what: &str) {
    let (what, who) = (plain(what), plain(&caller.who));
    tracing::info!(target: "larder::admin", pool = name, role = caller.role.label(), who, what, "an order");
    pool.note(format!("{what} ({who})"));
}

/// As a line of a log has room for, without what would play tricks there.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !is_sly(*c)).take(300).collect()
}

async fn flush(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Told {
    let pool = shared.named(&name)?;
    take_down(&name, &**pool, &caller, "flush: everything is dropped");
    pool.clear();
    Ok(Json(json!({"dropped": "everything"})))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Invalidate {
    #[serde(default)]
    tables: Vec<String>,
    #[serde(default)]
    tags: Vec<String>,
    /// Names of tables with `*` and `?`.
    #[serde(default)]
    patterns: Vec<String>,
    #[serde(default)]
    dry_run: bool,
    /// Whether a name that is not known may drop everything.
    #[serde(default)]
    everything: bool,
}

async fn invalidate(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    body: Result<Json<Invalidate>, JsonRejection>,
) -> Told {
    let pool = shared.named(&name)?;
    let Invalidate { mut tables, tags, patterns, dry_run, everything } = order(body)?;
    if tables.is_empty() && tags.is_empty() && patterns.is_empty() {
        return Err(Problem::bad_request("name tables, tags or patterns; to drop everything, flush"));
    }
    let known = pool.tables().await.map_err(|error| Problem::database(&error))?;
    for pattern in &patterns {
        let matching = WildMatch::new(pattern);
        let found: Vec<_> = known.iter().filter(|table| matching.matches(table)).cloned().collect();
        if found.is_empty() {
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, format!("no table matches {pattern:?}")));
        }
        tables.extend(found);
    }
    tables.sort_unstable();
    tables.dedup();
    // A name without its schema is found by the session; one that is nowhere drops everything, as a write to it would.
    let last = |table: &str| table.rsplit('.').next().unwrap_or_default().to_owned();
    let is_known = |table: &String| known.iter().any(|known| known == table || last(known) == *table);
    let unknown: Vec<_> = tables.iter().filter(|table| !is_known(table)).collect();
    if !unknown.is_empty() && !everything && !dry_run {
        let why = format!(
            "{unknown:?} are not known, so that everything would be dropped: say \"everything\": true if that is meant"
        );
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, why));
    }
    let told = json!({"tables": tables, "tags": tags, "unknown": unknown, "everything": !unknown.is_empty(), "dry_run": dry_run});
    if !dry_run {
        // Tags may name people.
        take_down(&name, &**pool, &caller, &format!("invalidate: tables {}; {} tags", tables.join(", "), tags.len()));
        pool.invalidate(&tables);
        pool.invalidate_tags(&tags);
    }
    Ok(Json(told))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Warm {
    /// Reads without parameters.
    statements: Vec<String>,
}

async fn warm(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    body: Result<Json<Warm>, JsonRejection>,
) -> Told {
    let pool = shared.named(&name)?;
    let Warm { statements } = order(body)?;
    if statements.len() > MOST_STATEMENTS {
        return Err(Problem::bad_request(format!("at most {MOST_STATEMENTS} statements at a time")));
    }
    take_down(&name, &**pool, &caller, &format!("warm: {} statements", statements.len()));
    let asked = statements.len();
    let told = warmed(&**pool, statements).await;
    let outcome = match &told {
        Ok(told) => format!("{} of {asked} are kept", told.iter().filter(|one| one["kept"] == true).count()),
        Err(_) => "failed, since the database could not be asked".into(),
    };
    take_down(&name, &**pool, &caller, &format!("warm: {outcome}"));
    told.map(|told| Json(Value::Array(told)))
}

async fn warmed(pool: &dyn Operated, statements: Vec<String>) -> Result<Vec<Value>, Problem> {
    let mut told = Vec::new();
    for statement in statements {
        // What the database says of it may hold values of the rows.
        told.push(match tokio::time::timeout(LONGEST_STATEMENT, pool.warm(&statement)).await {
            Ok(Ok(true)) => json!({"kept": true}),
            Ok(Ok(false)) => json!({"kept": false, "why": "its result was not stored: see not_stored_by_reason"}),
            Ok(Err(sqlx::Error::Configuration(why))) => json!({"kept": false, "why": why.to_string()}),
            Ok(Err(sqlx::Error::Database(why))) => {
                json!({"kept": false, "why": format!("the database refused it: {}", why.code().unwrap_or_default())})
            }
            Ok(Err(error)) => return Err(Problem::database(&error)),
            Err(_) => json!({"kept": false, "why": format!("it took longer than {LONGEST_STATEMENT:?}")}),
        });
    }
    Ok(told)
}

const MOST_STATEMENTS: usize = 100;
const LONGEST_STATEMENT: Duration = Duration::from_secs(30);

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Order {
    ForceOpen,
    ForceClosed,
    Disable,
    Release,
}

impl Order {
    /// As it is given.
    fn label(&self) -> &'static str {
        match self {
            Self::ForceOpen => "force_open",
            Self::ForceClosed => "force_closed",
            Self::Disable => "disable",
            Self::Release => "release",
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Force {
    order: Order,
    #[serde(default)]
    reason: String,
    /// Until it ends by itself.
    seconds: Option<f64>,
}

async fn force(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Path((name, backend)): Path<(String, String)>,
    body: Result<Json<Force>, JsonRejection>,
) -> Told {
    let pool = shared.named(&name)?;
    let status = || pool.breakers().into_iter().find(|status| status.backend == backend);
    let breaker_of = pool.breaker(&backend).ok_or_else(|| Problem::unknown("breaker", &backend))?;
    let Force { order: what, reason, seconds } = order(body)?;
    let reason = reason.trim();
    if reason.is_empty() && !matches!(what, Order::Release) {
        return Err(Problem::bad_request("say for what reason: others will want to know"));
    }
    let time = seconds.map(Duration::try_from_secs_f64).transpose();
    let time = time.map_err(|why| Problem::bad_request(format!("seconds: {why}")))?;
    let reason = plain(reason);
    let lasts = time.map(|time| format!(" for {}", humantime::format_duration(time))).unwrap_or_default();
    let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    take_down(&name, &**pool, &caller, &format!("breaker {backend}: {}{lasts}{why}", what.label()));
    match what {
        Order::ForceOpen => breaker_of.force_open(reason, time),
        Order::ForceClosed => breaker_of.force_closed(reason, time),
        Order::Disable => breaker_of.disable(reason, time),
        Order::Release => breaker_of.release(),
    }
    Ok(Json(json!(status())))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Explain {
    pool: Option<String>,
    sql: String,
}

async fn explain(State(shared): State<Arc<Shared>>, body: Result<Json<Explain>, JsonRejection>) -> Told {
    let Explain { pool, sql } = order(body)?;
    let found = shared.pool(pool.as_deref());
    let (_, pool) = found.ok_or_else(|| Problem::unknown("pool", pool.as_deref().unwrap_or_default()))?;
    let explanation = pool.explain(&sql).await.map_err(|error| Problem::database(&error))?;
    let names = |tables: &[Dependency]| tables.iter().map(ToString::to_string).collect::<Vec<_>>();
    let refusal = explanation.reads.as_ref().err();
    Ok(Json(json!({
        // Without a scope, what needs one is not kept.
        "cached": refusal.is_none() && explanation.scope.is_none() && explanation.writes == Changes::Nothing,
        "reads": explanation.reads.as_ref().ok().map(|tables| names(tables)),
        "reason": refusal.map(|refusal| refusal.reason.label()),
        "sentence": refusal.map(|refusal| refusal.sentence.clone()),
        "scope": explanation.scope,
        "writes": match &explanation.writes {
            Changes::Nothing => json!([]),
            Changes::Tables(tables) => json!(names(tables)),
            Changes::Everything(why) => json!({"everything": why}),
        },
    })))
}
