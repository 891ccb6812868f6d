//! Keeps pages new by server-sent events.
//!
//! A viewer gets each section of the page once, and again when it has changed; every second it hears something, so that it notices when it
//! does not. What all viewers of a pool see is drawn once a second, off the runtime's own threads. A stream ends after two minutes, or
//! with its pool, and the browser begins another: so that a server that waits for its requests to end does not wait for ever.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::extract::{Extension, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::sse::{Event as Sent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::future::select;
use futures_util::stream::{self, Stream, StreamExt};
use serde_json::json;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

use super::Shared;
use super::access::{Caller, Role};
use super::api::Which;
use super::operated::Operated;
use super::problem::{Problem, Query};
use super::sections::{self, Section};

/// Between looks.
const PAUSE: Duration = Duration::from_secs(1);
/// A stream ends after this.
const LIFE: Duration = Duration::from_secs(120);
/// A browser that was told nothing waits for 3 to 5 s before it begins another: long enough to call what it shows old.
const RETRY: Duration = Duration::from_millis(500);

type Sections = Arc<Vec<Section>>;

/// What was drawn last, by pool and by what is shown to whom.
#[derive(Default)]
pub(super) struct Drawn(Mutex<HashMap<(String, Role), Drawing>>);

struct Drawing {
    at: Instant,
    look: u64,
    sections: Sections,
}

impl Shared {
    /// The sections of a pool, not much older than a second.
    pub(super) async fn sections(&self, name: &str, pool: &Arc<dyn Operated>, mount: &str, role: Role) -> Sections {
        let mut drawn = self.drawn.0.lock().await;
        let key = (name.to_owned(), role);
        let (look, before) = match drawn.get(&key) {
            Some(last) if last.at.elapsed() < PAUSE * 9 / 10 => return last.sections.clone(),
            Some(last) => (last.look + 1, Some(last.sections.clone())),
            None => (0, None),
        };
        let (pool, place) = (pool.clone(), sections::Place { mount: mount.to_owned(), pool: name.to_owned(), role });
        let drawing = tokio::task::spawn_blocking(move || {
            sections::all(&place, &*pool, look, before.as_deref().map(Vec::as_slice))
        });
        let sections: Sections = Arc::new(drawing.await.unwrap_or_default());
        drawn.insert(key, Drawing { at: Instant::now(), look, sections: sections.clone() });
        sections
    }
}

fn seat(seats: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Problem> {
    let full = |_| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many are listening already; close a page");
    seats.clone().try_acquire_owned().map_err(full)
}

/// Ends with the pool, and in time.
fn sent(events: impl Stream<Item = Sent> + Send + 'static, pool: &dyn Operated) -> Response {
    let ends = select(pool.closed(), Box::pin(tokio::time::sleep(LIFE)));
    let events = events.map(Ok::<_, Infallible>).take_until(ends);
    let mut response = Sse::new(events).keep_alive(KeepAlive::default()).into_response();
    // A proxy that gathers what it passes on would make it old.
    response.headers_mut().insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

/// The sections of the page.
pub(super) async fn page(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    axum::extract::OriginalUri(uri): axum::extract::OriginalUri,
    Query(which): Query<Which>,
) -> Result<Response, Problem> {
    let seat = seat(&shared.viewers)?;
    let mount = uri.path().trim_end_matches("/live").to_owned();
    let asked = which.pool.as_deref();
    let (name, pool) = shared.pool(asked).ok_or_else(|| Problem::unknown("pool", asked.unwrap_or_default()))?;
    let (name, pool) = (name.to_owned(), pool.clone());
    let seen: HashMap<&'static str, blake3::Hash> = HashMap::new();
    let begun = (shared.clone(), pool.clone(), seen, true, seat);
    let looks = stream::unfold(begun, move |(shared, pool, mut seen, is_first, seat)| {
        let (name, mount, role) = (name.clone(), mount.clone(), caller.role);
        async move {
            if !is_first {
                tokio::time::sleep(PAUSE).await;
            }
            let sections = shared.sections(&name, &pool, &mount, role).await;
            let mut changed = Vec::new();
            for Section { id, html } in sections.iter() {
                let now = blake3::hash(html.0.as_bytes());
                if seen.insert(id, now) != Some(now) {
                    changed.push(json!({"id": id, "html": html.0}));
                }
            }
            let sent = Sent::default().event("look").data(json!(changed).to_string());
            let sent = if is_first { sent.retry(RETRY) } else { sent };
            Some((sent, (shared, pool, seen, false, seat)))
        }
    });
    Ok(sent(looks, &*pool))
}

/// Events of all pools, or of one, from now on.
pub(super) async fn events(State(shared): State<Arc<Shared>>, Query(which): Query<Which>) -> Result<Response, Problem> {
    let seat = seat(&shared.listeners)?;
    let asked = which.pool.as_deref();
    let (_, first) = shared.pool(asked).ok_or_else(|| Problem::unknown("pool", asked.unwrap_or_default()))?;
    let first = first.clone();
    let begun = (shared.clone(), which, SystemTime::now(), seat);
    let batches = stream::unfold(begun, |(shared, which, since, seat)| async move {
        tokio::time::sleep(PAUSE / 2).await;
        let mut last = since;
        let mut batch = Vec::new();
        let asked = shared.pools.iter().filter(|(name, _)| which.pool.as_ref().is_none_or(|asked| asked == name));
        for (name, pool) in asked {
            for event in pool.events().into_iter().filter(|event| event.at > since) {
                last = last.max(event.at);
                let told = json!({"pool": name, "event": event});
                batch.push(Sent::default().event("event").data(told.to_string()));
            }
        }
        Some((stream::iter(batch), (shared, which, last, seat)))
    });
    Ok(sent(batches.flatten(), &*first))
}
