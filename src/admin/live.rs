//! Keeps pages new by server-sent events.
//!
//! A viewer gets each section of the page once, and again when it has changed; every second it hears something, so that it notices when it
//! does not. What all viewers of a pool see is drawn once a second, off the runtime's own threads. A stream ends after two minutes, or
//! with its pool, and the browser begins another: so that a server that waits for its requests to end does not wait for ever.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
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
use crate::Event;

/// Between looks.
const PAUSE: Duration = Duration::from_secs(1);
/// A stream ends after this.
const LIFE: Duration = Duration::from_secs(120);
/// A browser that was told nothing waits for 3 to 5 s before it begins another: long enough to call what it shows old.
const RETRY: Duration = Duration::from_millis(500);
/// A listener that comes back is told again what happened so shortly before the last event that he heard of: breakers tell times to the
/// millisecond only, and pools are asked one after another.
const AGAIN: Duration = Duration::from_secs(2);

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

/// Names an event on a stream: when it was, and a hash that tells it from others of that time.
fn id(at: SystemTime, pool: &str, event: &Event) -> String {
    let text = format!("{pool}\n{}\n{}", event.kind, event.text);
    format!("{}-{}", nanoseconds(at), &blake3::hash(text.as_bytes()).to_hex()[..16])
}

fn nanoseconds(at: SystemTime) -> u128 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()
}

/// What is remembered of the pools that are asked for: each with its name on a stream, and that of its pool.
fn remembered(shared: &Shared, which: &Which) -> Vec<(String, String, Event)> {
    let asked = shared.pools.iter().filter(|(name, _)| which.pool.as_ref().is_none_or(|asked| asked == name));
    let events = asked.flat_map(|(name, pool)| {
        pool.events().into_iter().map(move |event| (id(event.at, name, &event), name.clone(), event))
    });
    events.collect()
}

/// Events of all pools, or of one, from now on, or from that on which a listener heard last.
pub(super) async fn events(
    State(shared): State<Arc<Shared>>,
    Query(which): Query<Which>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let seat = seat(&shared.listeners)?;
    let asked = which.pool.as_deref();
    let (_, first) = shared.pool(asked).ok_or_else(|| Problem::unknown("pool", asked.unwrap_or_default()))?;
    let first = first.clone();
    let heard = headers.get("last-event-id").and_then(|heard| heard.to_str().ok());
    let heard = heard.and_then(|heard| Some((heard, heard.split_once('-')?.0.parse::<u128>().ok()?)));
    // What is remembered and was told: not by its time, which what comes later may have as well.
    let told: HashSet<String> = match heard {
        Some((last, at)) => {
            let before = at.saturating_sub(AGAIN.as_nanos());
            let is_told = |id: &String, event: &Event| id == last || nanoseconds(event.at) < before;
            remembered(&shared, &which)
                .into_iter()
                .filter(|(id, _, event)| is_told(id, event))
                .map(|(id, ..)| id)
                .collect()
        }
        None => remembered(&shared, &which).into_iter().map(|(id, ..)| id).collect(),
    };
    // Without data it is no event, but says from where on to listen, should nothing happen until the stream ends.
    let begins = Sent::default().retry(RETRY).id(match heard {
        Some((last, _)) => last.to_owned(),
        None => format!("{}-", nanoseconds(SystemTime::now())),
    });
    let batches = stream::unfold((shared.clone(), which, told, seat), |(shared, which, told, seat)| async move {
        tokio::time::sleep(PAUSE / 2).await;
        let now = remembered(&shared, &which);
        let mut fresh: Vec<_> = now.iter().filter(|(id, ..)| !told.contains(id)).collect();
        fresh.sort_by_key(|(_, _, event)| event.at);
        let sent = fresh.into_iter().map(|(id, pool, event)| {
            Sent::default().event("event").id(id).data(json!({"pool": pool, "event": event}).to_string())
        });
        let sent: Vec<_> = sent.collect();
        let told: HashSet<String> = now.into_iter().map(|(id, ..)| id).collect();
        Some((stream::iter(sent), (shared, which, told, seat)))
    });
    Ok(sent(stream::iter([begins]).chain(batches.flatten()), &*first))
}
