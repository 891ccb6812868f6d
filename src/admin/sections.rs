//! The sections of the page, each from what the pool shows now. All text of others is escaped by being text.

use std::cmp::Reverse;
use std::time::{Duration, SystemTime};

use maud::{Markup, PreEscaped, html};

use super::access::Role;
use super::operated::Operated;
use super::page::encoded;
use crate::chart::{self, Hue, Line};
use crate::report::html::points;
use crate::wording::{grouped as count, shortened};
use crate::{BreakerState, BreakerStatus, EventKind, FeedStatus, Pressure, QueryStats, Sample, Stats};

/// A part of the page that is renewed as a whole.
#[derive(Debug, Clone)]
pub(super) struct Section {
    pub id: &'static str,
    pub html: PreEscaped<String>,
}

/// Statements that are shown.
const TOP: usize = 12;
/// Letters of a statement in a row.
const IN_A_ROW: usize = 160;
/// Events that are shown.
const EVENTS: usize = 40;
/// Seconds that charts show, and that figures are of: what a pool did in its whole life hides what it does now.
const SHOWN: usize = 300;
/// The same in words.
const LATELY: &str = "in the last 5 minutes";
/// Of fewer calls than these, the median and the slowest of a hundred are not told.
const OF_A_HALF: u64 = 10;
const OF_99: u64 = 100;
/// One hit of so many is timed.
const TIMED: u64 = 256;
/// What costs more to tell is told again after so many looks.
const SELDOM: u64 = 5;

/// Where they are shown, of which pool, to whom.
pub(super) struct Place {
    pub mount: String,
    pub pool: String,
    pub role: Role,
}

/// All of them, in order. What costs much to tell is taken from `before` at most looks.
pub(super) fn all(place: &Place, pool: &dyn Operated, look: u64, before: Option<&[Section]>) -> Vec<Section> {
    let (stats, breakers, feeds, history) = (pool.stats(), pool.breakers(), pool.feeds(), pool.history());
    let recent = &history.seconds[history.seconds.len().saturating_sub(SHOWN)..];
    let kept = before.filter(|_| !look.is_multiple_of(SELDOM));
    let kept = kept.and_then(|before| before.iter().find(|section| section.id == "queries"));
    vec![
        Section { id: "health", html: health(pool, &stats, &breakers, &feeds, recent) },
        Section { id: "breakers", html: guards(place, &breakers) },
        Section { id: "cache", html: cache(&stats, recent) },
        Section { id: "pool", html: connections(pool, recent) },
        Section { id: "latency", html: latency(recent, history.minutes.last()) },
        Section { id: "invalidation", html: invalidation(&stats, &feeds, recent) },
        kept.cloned().unwrap_or_else(|| Section { id: "queries", html: queries(place, &pool.queries()) }),
        Section { id: "events", html: events(pool) },
    ]
}

fn health(
    pool: &dyn Operated,
    stats: &Stats,
    breakers: &[BreakerStatus],
    feeds: &[FeedStatus],
    recent: &[Sample],
) -> Markup {
    let database = breakers.iter().find(|status| status.backend == "database");
    let redis = breakers.iter().find(|status| status.backend == "redis");
    let (off, emergencies) = (pool.off(), pool.emergencies());
    let connections = pool.connections();
    // A moment's wait is nothing to act upon.
    let waits = recent.iter().rev().take(5).all(|sample| sample.waiting > 0);
    let todo_about_waits =
        waits.then_some("Look for what takes the database's time, below; then think of more connections.");
    html! {
        h2 #health-title.hidden { "Health" }
        ul.strip {
            @for (what, status) in [("Database", database), ("Redis", redis)] {
                @if let Some(status) = status { (light(what, mood(status.state), &said(status.state), remedy(status))) }
            }
            @if connections.is_closed {
                (light("Pool", "bad", "closed", Some("The application closed it: it answers nothing any more.")))
            }
            @match &off {
                Some(refusal) => (light("Cache", "bad", &format!("off: {}", refusal.sentence), Some("Every read goes to the database until that is mended."))),
                None => (light("Cache", "good", "on", None)),
            }
            @if connections.waiting > 0 {
                (light("Connections", "warn", &format!("{} wait", connections.waiting), todo_about_waits))
            } @else {
                (light("Connections", "good", &format!("{} of {} in use", connections.used, connections.most), None))
            }
            @for feed in feeds {
                @let late = if feed.is_current { "" } else { "late: " };
                @let age = feed.age.map_or("nothing heard yet".into(), |age| format!("{late}heard {} ago", short(age)));
                @let what = format!("Feed {}", feed.feed);
                @if feed.is_current {
                    (light(&what, "good", &age, None))
                } @else if feed.feed == "redis" {
                    (light(&what, "bad", &age, Some("Is Redis up, reachable and quick? Reads go to the database until it is heard.")))
                } @else {
                    (light(&what, "bad", &age, Some("Does it get its connection, and is larder watch status well? Reads go to the database until then.")))
                }
            }
            @if emergencies.is_empty() {
                (light("Emergency", "good", "none", None))
            } @else {
                @for pressure in &emergencies {
                    @let todo = match pressure {
                        Pressure::Database => "Too many wait for a connection: look for what takes the database's time, below.",
                        Pressure::Memory => "Nothing is kept meanwhile: give it more memory, or lower max_bytes.",
                    };
                    (light("Emergency", "bad", &format!("short of {pressure}"), Some(todo)))
                }
            }
            @if stats.audited_stale > 0 {
                (light(
                    "Audit", "bad", &format!("{} of {} answers stale since start", stats.audited_stale, stats.audited),
                    Some("Somebody writes who is not seen: keep the tables out (never_cache), then have them watched (larder watch install)."),
                ))
            } @else if stats.audited > 0 {
                (light("Audit", "good", &format!("{} answers since start, none stale", stats.audited), None))
            } @else {
                (light("Audit", "quiet", "N/A", None))
            }
        }
    }
}

/// What is so, and what to do about it.
fn light(what: &str, mood: &str, text: &str, todo: Option<&str>) -> Markup {
    html! {
        li class=(mood) {
            span.dot aria-hidden="true" {} span.what { (what) } span.text { (text) }
            @if let Some(todo) = todo { span.todo { (todo) } }
        }
    }
}

/// What to do about a breaker that is not as it should be.
fn remedy(status: &BreakerStatus) -> Option<&'static str> {
    match status.state {
        BreakerState::Closed => None,
        BreakerState::Open | BreakerState::HalfOpen if status.backend == "redis" => {
            Some("Is Redis up, reachable and quick? The breaker closes by itself; reads go to the database meanwhile.")
        }
        BreakerState::Open | BreakerState::HalfOpen => {
            Some("Is the database up, reachable, full or slow? The breaker closes by itself.")
        }
        BreakerState::ForcedOpen | BreakerState::ForcedClosed | BreakerState::Disabled => {
            Some("By hand, or by its options: release it when the reason is gone.")
        }
    }
}

fn mood(state: BreakerState) -> &'static str {
    match state {
        BreakerState::Closed => "good",
        BreakerState::HalfOpen | BreakerState::ForcedClosed | BreakerState::Disabled => "warn",
        BreakerState::Open | BreakerState::ForcedOpen => "bad",
    }
}

fn said(state: BreakerState) -> String {
    match state {
        BreakerState::Closed => "closed, well".into(),
        state => state.label().replace('_', " "),
    }
}

fn guards(place: &Place, breakers: &[BreakerStatus]) -> Markup {
    html! {
        h2 #breakers-title { "Breakers" }
        div.breakers {
            @for status in breakers { (guard(place, status)) }
        }
    }
}

fn guard(place: &Place, status: &BreakerStatus) -> Markup {
    let full = status.window_calls.unwrap_or(status.minimum_calls).max(1);
    let fill = match status.window_calls {
        Some(full) => format!("{} of {full} calls", status.calls),
        None => format!("{} calls, judged from {} on", status.calls, status.minimum_calls),
    };
    html! {
        article class={ "breaker " (mood(status.state)) } data-backend=(status.backend) data-state=(status.state.label()) {
            h3 { (status.backend) " " span.state { (said(status.state)) } }
            dl {
                dt { "since" } dd { (clock(status.since)) }
                @if let Some(began) = &status.trouble { dt { "in trouble since" } dd { (clock(began.at)) } }
                dt { "failures" } dd { (rate(status.failure_rate, status.failure_threshold)) }
                @if let Some(threshold) = status.slow_threshold {
                    dt { "slow" } dd { (rate(status.slow_rate, threshold)) }
                }
                dt { "window" } dd { (fill) progress max="1" value=(format!("{:.2}", (f64::from(status.calls) / f64::from(full)).min(1.0))) aria-label="window fill" {} }
                dt { "rejected" } dd { (count(status.rejected)) span.quiet { " since start" } }
                @if let Some(pause) = status.next_probe {
                    dt { "next probe" } dd { "in " (short(pause.as_secs_f64())) }
                }
                @if let Some(forced) = &status.forced {
                    dt { "by hand" } dd { (forced.reason) @if let Some(left) = forced.left { ", for " (short(left.as_secs_f64())) } }
                }
                @if let Some(todo) = remedy(status) { dt { "what to do" } dd.todo { (todo) } }
            }
            (timeline(status))
            @if place.role == Role::Operate {
                form.force data-order=(format!("breakers/{}/{}", encoded(&place.pool), status.backend)) {
                    label { span { "Reason" } input name="reason" maxlength="200" placeholder="why"; }
                    label { span { "Minutes" } input name="minutes" type="number" min="1" max="10080" placeholder="until released"; }
                    // A browser presses the first button for whoever presses Enter in a field: this one does nothing.
                    button type="submit" disabled hidden {}
                    // Always the same ones in the same order, so that none turns into another under somebody's finger.
                    div.buttons {
                        button type="submit" name="order" value="force_open"
                            data-sure=(format!("All calls to {} will be rejected.", backend(status))) { "Force open" }
                        button type="submit" name="order" value="force_closed" { "Force closed" }
                        button type="submit" name="order" value="disable"
                            data-sure=(format!("Nothing will protect {} while it is in trouble.", backend(status))) { "Disable" }
                        button type="submit" name="order" value="release" disabled[status.forced.is_none()] { "Release" }
                    }
                }
            }
        }
    }
}

/// What it stands before, in a sentence.
fn backend(status: &BreakerStatus) -> &'static str {
    if status.backend == "redis" { "Redis" } else { "the database" }
}

/// The last transitions, the newest first, and how the trouble began.
fn timeline(status: &BreakerStatus) -> Markup {
    let last: Vec<_> = status.transitions.iter().rev().take(6).collect();
    let began = status.trouble.as_ref().filter(|began| !last.contains(began));
    html! {
        @if last.is_empty() {
            p.quiet { "It has not turned yet." }
        } @else {
            ol.timeline {
                @for turn in last.into_iter().chain(began) {
                    li class=(mood(turn.to)) {
                        (clock(turn.at)) " " b { (said(turn.to)) } " " span.quiet { (turn.cause) }
                    }
                }
            }
        }
    }
}

fn rate(rate: Option<f64>, threshold: f64) -> Markup {
    match rate {
        Some(rate) => html! {
            (percent(rate)) span.quiet { " of " (percent(threshold)) } (meter(rate / threshold.max(f64::MIN_POSITIVE), "of the threshold"))
        },
        None => html! { span.na title="fewer calls than it judges by" { "N/A" } },
    }
}

fn meter(share: f64, what: &str) -> Markup {
    html! { meter min="0" max="1" low="0.5" high="0.9" optimum="0" value=(format!("{:.2}", share.clamp(0.0, 1.0))) aria-label=(what) {} }
}

fn figure(svg: String) -> Markup {
    html! { figure { (PreEscaped(svg)) } }
}

fn big(what: &str, id: &str, value: &str) -> Markup {
    html! { div.big { span.value id=(id) { (value) } span.what { (what) } } }
}

/// A figure of the last minutes, and that since the pool was built.
fn lately(what: &str, id: &str, value: &str, since_start: &str) -> Markup {
    html! {
        div.big {
            span.value id=(id) { (value) } span.what { (what) }
            span.start { span id=(format!("{id}-start")) { (since_start) } " since start" }
        }
    }
}

/// What was counted in the samples.
fn sum(samples: &[Sample], of: impl Fn(&Sample) -> u64) -> u64 {
    samples.iter().map(of).sum()
}

fn hit_rate(samples: &[Sample]) -> Option<f64> {
    let spared = sum(samples, |sample| sample.hits + sample.coalesced);
    let all = spared + sum(samples, |sample| sample.stale + sample.misses + sample.bypasses);
    (all > 0).then(|| spared as f64 / all as f64)
}

fn or_na(share: Option<f64>) -> String {
    share.map_or("N/A".into(), percent)
}

fn cache(stats: &Stats, recent: &[Sample]) -> Markup {
    let line = |label, hue, value: fn(&Sample) -> u64| Line {
        label,
        hue,
        points: points(recent, |sample| Some(sample.per_second(value(sample)))),
    };
    let lines = [
        line("from the cache", Hue::Cache, |sample| sample.hits + sample.coalesced),
        line("misses", Hue::Database, |sample| sample.misses),
        line("not cached", Hue::Quiet, |sample| sample.bypasses),
        line("stale", Hue::Trouble, |sample| sample.stale),
    ];
    let saved: Duration = recent.iter().map(|sample| sample.saved_time).sum();
    let counted = |what, id, of: fn(&Sample) -> u64, all| lately(what, id, &count(sum(recent, of)), &count(all));
    let mut reasons: Vec<_> = [
        ("not cached", &stats.bypasses_by_reason),
        ("miss", &stats.misses_by_reason),
        ("not stored", &stats.not_stored_by_reason),
    ]
    .into_iter()
    .flat_map(|(what, reasons)| reasons.iter().map(move |(reason, count)| (what, reason.label(), *count)))
    .collect();
    reasons.sort_by_key(|(.., count)| std::cmp::Reverse(*count));
    html! {
        h2 #cache-title { "Cache " span.period { (LATELY) } }
        div.bigs {
            (lately("of reads from the cache", "hit-rate", &or_na(hit_rate(recent)), &or_na(stats.hit_rate())))
            (counted("hits", "hits", |sample| sample.hits, stats.hits))
            (counted("misses", "misses", |sample| sample.misses, stats.misses))
            (counted("not cached", "bypasses", |sample| sample.bypasses, stats.bypasses))
            (counted("stale", "stale", |sample| sample.stale, stats.stale))
            (lately("database time saved", "saved", &short(saved.as_secs_f64()), &short(stats.saved_time.as_secs_f64())))
        }
        (figure(chart::lines("Reads a second", &lines, |value| format!("{}/s", human(value)))))
        (legend(&lines))
        p.quiet { span #entries { (count(stats.entries)) } " results in " (bytes(stats.bytes)) " of memory" }
        @if !reasons.is_empty() {
            details open { summary { "Why reads went to the database, since start" }
                table { thead { tr { th { "what" } th { "reason" } th.number { "times" } } }
                    tbody { @for (what, reason, times) in reasons.iter().take(10) {
                        tr { td { (what) } td { code { (reason) } } td.number { (count(*times)) } }
                    } }
                }
            }
        }
    }
}

fn legend(lines: &[Line]) -> Markup {
    html! {
        ul.legend aria-hidden="true" { @for line in lines { li class=(format!("hue-{}", line.hue.label())) { span.swatch {} (line.label) } } }
    }
}

fn connections(pool: &dyn Operated, recent: &[Sample]) -> Markup {
    let now = pool.connections();
    let lines = [
        Line { label: "in use", hue: Hue::Database, points: points(recent, |sample| Some(sample.used.into())) },
        Line { label: "waiting", hue: Hue::Trouble, points: points(recent, |sample| Some(sample.waiting.into())) },
    ];
    html! {
        h2 #pool-title { "Pool" }
        div.bigs {
            (big("in use", "used", &now.used.to_string()))
            (big("idle", "idle", &now.idle.to_string()))
            (big("at most", "most", &now.most.to_string()))
            (big("waiting", "waiting", &now.waiting.to_string()))
        }
        (figure(chart::lines("Connections", &lines, |value| format!("{value:.0}"))))
        (legend(&lines))
    }
}

fn latency(recent: &[Sample], minute: Option<&Sample>) -> Markup {
    // What was longer ago says nothing of now; but the last minute does, where a second has too few calls.
    let told = |calls: fn(&Sample) -> u64, of: fn(&Sample) -> Option<(Duration, Duration)>| {
        let at = |least: u64, pick: fn((Duration, Duration)) -> Duration| {
            let mut samples = recent.iter().rev().take(10).chain(minute).filter(|sample| calls(sample) >= least);
            samples.find_map(of).map_or("N/A".into(), |times| short(pick(times).as_secs_f64()))
        };
        (at(OF_A_HALF, |(p50, _)| p50), at(OF_99, |(_, p99)| p99))
    };
    let hit = told(|sample| sample.hits / TIMED, |sample| sample.hit_latency);
    let database = told(|sample| sample.misses + sample.bypasses, |sample| sample.database_latency);
    let seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
    let lines = [
        Line {
            label: "hit, p99",
            hue: Hue::Cache,
            points: points(recent, |sample| seconds(sample.hit_latency.map(|(_, p99)| p99))),
        },
        Line {
            label: "database, p50",
            hue: Hue::Quiet,
            points: points(recent, |sample| seconds(sample.database_latency.map(|(p50, _)| p50))),
        },
        Line {
            label: "database, p99",
            hue: Hue::Database,
            points: points(recent, |sample| seconds(sample.database_latency.map(|(_, p99)| p99))),
        },
    ];
    html! {
        h2 #latency-title { "Latency " span.period { "of the last seconds" } }
        div.bigs {
            (big("a hit, half of them", "hit-p50", &hit.0))
            (big("a hit, 99 of 100", "hit-p99", &hit.1))
            (big("the database, half", "database-p50", &database.0))
            (big("the database, 99 of 100", "database-p99", &database.1))
        }
        p.quiet.note { "Of the last minute where a second has fewer than " (OF_A_HALF) " calls, or than " (OF_99) " for 99 of 100; N/A where that has, too." }
        (figure(chart::lines("Latency of reads", &lines, short)))
        (legend(&lines))
    }
}

fn invalidation(stats: &Stats, feeds: &[FeedStatus], recent: &[Sample]) -> Markup {
    let counted = |what, id, of: fn(&Sample) -> u64, all| lately(what, id, &count(sum(recent, of)), &count(all));
    let mut tables: Vec<_> = stats.invalidations_by_table.iter().collect();
    tables.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    html! {
        h2 #invalidation-title { "Invalidation " span.period { (LATELY) } }
        div.bigs {
            (counted("writes", "writes", |sample| sample.writes, stats.writes))
            (counted("voided results", "invalidations", |sample| sample.invalidations, stats.invalidations))
            @for feed in feeds {
                (big(&format!("last heard from {}", feed.feed), &format!("feed-{}", feed.feed), &feed.age.map_or("N/A".into(), short)))
            }
        }
        @if tables.is_empty() {
            p.quiet { "Nothing was written yet." }
        } @else {
            div.scroll tabindex="0" { table { thead { tr { th { "table" } th.number { "writes since start" } } }
                tbody { @for (table, times) in tables.iter().take(10) {
                    tr { td { code { (table) } } td.number { (count(**times)) } }
                } }
            } }
        }
    }
}

fn queries(place: &Place, queries: &[QueryStats]) -> Markup {
    let seconds = |query: &QueryStats| query.recent_time.as_secs_f64();
    let all: f64 = queries.iter().map(seconds).sum();
    let share = |query: &QueryStats| (all > 0.0).then(|| seconds(query) / all);
    // What hurts now, then what did before.
    let mut heaviest: Vec<_> = queries.iter().collect();
    heaviest.sort_by_key(|query| Reverse((query.recent_time, query.database_time)));
    html! {
        h2 #queries-title { "What takes the database's time " span.period { (LATELY) } }
        @if queries.is_empty() {
            p.quiet { "No statement was counted yet." }
        } @else {
            div.scroll tabindex="0" role="region" aria-labelledby="queries-title" {
                table {
                    thead {
                        tr {
                            th.number rowspan="2" scope="col" { "time" }
                            th.number rowspan="2" scope="col" { "asked" }
                            th.number rowspan="2" scope="col" { "each" }
                            th.span colspan="4" scope="colgroup" { "since start" }
                            th rowspan="2" scope="col" { "statement" }
                        }
                        tr {
                            th.number scope="col" { "p50" } th.number scope="col" { "p99" } th.number scope="col" { "calls" } th.number scope="col" { "hit rate" }
                        }
                    }
                    tbody { @for query in heaviest.into_iter().take(TOP) {
                        tr {
                            td.number {
                                (or_na(share(query)))
                                @if let Some(share) = share(query) { (meter(share, "share of database time")) }
                            }
                            td.number { (count(query.recent_timed)) }
                            td.number {
                                @match query.recent_timed {
                                    0 => span.na title="the database was not asked" { "N/A" },
                                    asked => (short(seconds(query) / asked as f64)),
                                }
                            }
                            td.number { (of_enough(query, OF_A_HALF, query.latency.p50)) }
                            td.number { (of_enough(query, OF_99, query.latency.p99)) }
                            td.number { (count(query.calls)) }
                            td.number { (or_na(query.hit_rate())) }
                            td.sql { code title=(query.text) { (shortened(&query.text, IN_A_ROW)) } }
                        }
                    } }
                }
            }
            p.quiet {
                (count(queries.len() as u64)) " statements are known: "
                a href=(format!("{}/v1/reports/{}?format=html", place.mount, encoded(&place.pool))) { "the report says what to do about them" } "."
            }
        }
    }
}

/// How long a statement took, if the database was asked often enough to tell.
fn of_enough(query: &QueryStats, least: u64, time: Duration) -> Markup {
    let asked = query.timed;
    html! {
        @if asked >= least {
            (short(time.as_secs_f64()))
        } @else {
            span.na title=(format!("{asked} calls are too few")) { "N/A" }
        }
    }
}

fn events(pool: &dyn Operated) -> Markup {
    let events = pool.events();
    html! {
        h2 #events-title { "Events" }
        @if events.is_empty() {
            p.quiet { "Nothing to tell." }
        } @else {
            ol.events tabindex="0" aria-labelledby="events-title" {
                @for event in events.iter().rev().take(EVENTS) {
                    li class=(match event.kind { EventKind::Audit => "bad", EventKind::Breaker | EventKind::Emergency => "warn", _ => "quiet" }) {
                        (clock(event.at)) " " b { (event.kind.label()) } " " (event.text)
                    }
                }
            }
        }
    }
}

/// What only those see who may.
pub(super) fn orders(name: &str) -> Markup {
    html! {
        h2 #orders-title { "Orders" }
        div.orders {
            form data-order=(format!("caches/{}/invalidate", encoded(name))) {
                label { span { "Tables, with commas" } input name="tables" required placeholder="shop.products"; }
                label.check { input type="checkbox" name="dry_run"; span { "only say what would be dropped" } }
                button type="submit" { "Drop what rests on them" }
            }
            form data-order=(format!("caches/{}/flush", encoded(name))) data-sure="Everything that is kept will have to be loaded again." {
                button.danger type="submit" { "Drop everything" }
            }
            form data-order="explain-cache" {
                label { span { "Statement" } textarea name="sql" rows="2" required placeholder="SELECT name FROM products WHERE id = $1" {} }
                button type="submit" { "Would it be cached?" }
            }
        }
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn human(value: f64) -> String {
    match value {
        ..1_000.0 => format!("{value:.0}"),
        ..1_000_000.0 => format!("{:.1}k", value / 1e3),
        _ => format!("{:.1}M", value / 1e6),
    }
}

fn bytes(bytes: u64) -> String {
    bytesize::ByteSize(bytes).to_string()
}

/// A time in seconds.
fn short(seconds: f64) -> String {
    match seconds {
        ..1e-6 => format!("{:.0} ns", seconds * 1e9),
        ..1e-3 => format!("{:.1} µs", seconds * 1e6),
        ..1.0 => format!("{:.1} ms", seconds * 1e3),
        ..120.0 => format!("{seconds:.1} s"),
        ..7_200.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3_600.0),
    }
}

/// In UTC, as the servers' logs have it; with its day, unless that is today.
fn clock(at: SystemTime) -> Markup {
    clock_at(at, SystemTime::now())
}

fn clock_at(at: SystemTime, now: SystemTime) -> Markup {
    let [stamp, now] = [at, now].map(|time| humantime::format_rfc3339_seconds(time).to_string());
    let (day, time) = (stamp.get(..10).unwrap_or_default(), stamp.get(11..19).unwrap_or_default());
    html! {
        time datetime=(stamp) title=(stamp) { @if !now.starts_with(day) { (day) " " } (time) " UTC" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(hits: u64, misses: u64) -> Sample {
        let sample = serde_json::json!({
            "at": 0.0, "seconds": 1.0, "hits": hits, "coalesced": 0, "stale": 0, "misses": misses, "bypasses": 0, "writes": 0,
            "invalidations": 0, "rejections": 0, "database_seconds": 0.0, "saved_seconds": 0.0, "hit_seconds": [1e-6, 2e-6],
            "database_read_seconds": [0.001, 0.002], "used": 0, "idle": 0, "waiting": 0, "entries": 0, "bytes": 0,
        });
        serde_json::from_value(sample).unwrap()
    }

    #[test]
    fn a_cache_that_has_ended_to_answer_shows_it_beside_a_good_past() {
        let stats = Stats { hits: 97_000_000, misses: 3_000_000, ..Stats::default() };
        let shown = cache(&stats, &vec![sample(0, 10); SHOWN]).0;
        assert!(shown.contains(r#"id="hit-rate">0.0 %<"#), "{shown}");
        assert!(shown.contains(r#"id="hit-rate-start">97.0 %<"#), "{shown}");
        assert!(
            shown.contains(r#"id="misses">3,000<"#) && shown.contains(r#"id="misses-start">3,000,000<"#),
            "{shown}"
        );
    }

    #[test]
    fn what_hurts_now_stands_before_what_did_once() {
        let report = crate::Report::from_json(include_str!("../../tests/it/reporting/report.json")).unwrap();
        let mut known = report.queries[..2].to_vec();
        for (query, (name, asked, seconds)) in known.iter_mut().zip([("was heavy", 0, 0), ("is heavy", 4, 2)]) {
            (query.text, query.recent_timed, query.recent_time) = (name.into(), asked, Duration::from_secs(seconds));
        }
        assert!(known[0].database_time > known[1].database_time);
        let place = Place { mount: String::new(), pool: "shop".into(), role: Role::Read };
        let shown = queries(&place, &known).0;
        let rows: Vec<_> = shown.split("<tr>").filter(|row| row.contains("heavy")).collect();
        assert!(rows[0].contains("is heavy") && rows[0].contains("100.0 %") && rows[0].contains("500.0 ms"), "{shown}");
        assert!(rows[1].contains("was heavy") && rows[1].contains("0.0 %") && rows[1].contains("N/A"), "{shown}");
        // A share of nothing is none.
        let shown = queries(&place, &known[..1]).0;
        assert!(!shown.contains("0.0 %") && !shown.contains("<meter"), "{shown}");
    }

    #[test]
    fn few_calls_have_no_slowest_of_a_hundred() {
        let shown = |seconds: &[Sample], minute: Option<&Sample>| {
            let shown = latency(seconds, minute).0;
            ["hit-p50", "hit-p99", "database-p50", "database-p99"].map(|id| {
                let (_, rest) = shown.split_once(&format!("id=\"{id}\">")).unwrap();
                rest.split('<').next().unwrap().to_owned()
            })
        };
        assert_eq!(shown(&[sample(1, 1)], None), ["N/A"; 4]);
        assert_eq!(shown(&[sample(0, 10)], Some(&sample(0, 99))), ["N/A", "N/A", "1.0 ms", "N/A"]);
        assert_eq!(shown(&[sample(2_560, 0)], Some(&sample(25_600, 100))), ["1.0 µs", "2.0 µs", "1.0 ms", "2.0 ms"]);
    }

    #[test]
    fn what_is_not_of_today_has_its_day() {
        let at = |stamp| humantime::parse_rfc3339(stamp).unwrap();
        let yesterday = at("2026-02-28T23:59:58Z");
        let text = |now| clock_at(yesterday, at(now)).0;
        assert!(text("2026-02-28T23:59:59Z").ends_with(">23:59:58 UTC</time>"), "{}", text("2026-02-28T23:59:59Z"));
        let tomorrow = text("2026-03-01T00:00:01Z");
        assert!(tomorrow.contains("datetime=\"2026-02-28T23:59:58Z\""), "{tomorrow}");
        assert!(tomorrow.ends_with(">2026-02-28 23:59:58 UTC</time>"), "{tomorrow}");
    }
}
