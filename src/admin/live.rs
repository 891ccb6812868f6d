//! Keeps pages new by server-sent events.
//!
//! A viewer gets each section of the page once, and again when it has changed; every second it hears something, so that it notices when it
//! does not.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::extract::{Extension, Query, State};
use axum::http::StatusCode;
use axum::response::sse::{Event as Sent, KeepAlive, Sse};
use futures_util::stream::{self, Stream};
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;

use super::Shared;
use super::access::Caller;
use super::api::Which;
use super::problem::Problem;
use super::sections::{self, Section};

/// Between looks.
const PAUSE: Duration = Duration::from_secs(1);

type Stop = Result<Sent, Infallible>;

fn seat(shared: &Shared) -> Result<OwnedSemaphorePermit, Problem> {
    let full = |_| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many pages are open already");
    shared.viewers.clone().try_acquire_owned().map_err(full)
}

/// The sections of the page.
pub(super) async fn page(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Query(which): Query<Which>,
) -> Result<Sse<impl Stream<Item = Stop>>, Problem> {
    let seat = seat(&shared)?;
    let (name, _) = shared
        .pool(which.pool.as_deref())
        .ok_or_else(|| Problem::unknown("pool", which.pool.as_deref().unwrap_or_default()))?;
    let name = name.to_owned();
    let seen: HashMap<&'static str, blake3::Hash> = HashMap::new();
    let begun = (shared, caller, name, seen, 0_u64, seat);
    let looks = stream::unfold(begun, |(shared, caller, name, mut seen, look, seat)| async move {
        if look > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        let changed: Vec<_> = match shared.pool(Some(&name)) {
            None => Vec::new(),
            Some((_, pool)) => sections::all(&name, &**pool, &caller, look)
                .into_iter()
                .filter(|Section { id, html }| {
                    let now = blake3::hash(html.0.as_bytes());
                    seen.insert(id, now) != Some(now)
                })
                .map(|Section { id, html }| json!({"id": id, "html": html.0}))
                .collect(),
        };
        let sent = Sent::default().event("look").data(json!(changed).to_string());
        Some((Ok(sent), (shared, caller, name, seen, look + 1, seat)))
    });
    Ok(Sse::new(looks).keep_alive(KeepAlive::default()))
}

/// Events of all pools, or of one, from now on.
pub(super) async fn events(
    State(shared): State<Arc<Shared>>,
    Query(which): Query<Which>,
) -> Result<Sse<impl Stream<Item = Stop>>, Problem> {
    let seat = seat(&shared)?;
    if let Some(name) = &which.pool {
        shared.named(name)?;
    }
    let begun = (shared, which, SystemTime::now(), seat);
    let batches = stream::unfold(begun, |(shared, which, since, seat)| async move {
        tokio::time::sleep(PAUSE / 2).await;
        let mut last = since;
        let mut batch = Vec::new();
        for (name, pool) in
            shared.pools.iter().filter(|(name, _)| which.pool.as_ref().is_none_or(|asked| asked == name))
        {
            for event in pool.events().into_iter().filter(|event| event.at > since) {
                last = last.max(event.at);
                let told = json!({"pool": name, "event": event});
                batch.push(Ok(Sent::default().event("event").data(told.to_string())));
            }
        }
        Some((stream::iter(batch), (shared, which, last, seat)))
    });
    Ok(Sse::new(futures_util::StreamExt::flatten(batches)).keep_alive(KeepAlive::default()))
}
