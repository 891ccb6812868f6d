//! The page for those who operate, in a real browser.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use futures::StreamExt;
use larder::admin::{Access, Admin};
use larder::{BreakerOptions, BreakerState, CachedPool, PgPool, Sessions, Window};
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::json;

use crate::servers::{Chromium, Page, Postgres};

const WIDE: (u32, u32) = (1400, 1500);
const ENTER: &str = "\u{e007}";
const SETUP: &str =
    "CREATE TABLE t (id INT PRIMARY KEY, n BIGINT); INSERT INTO t SELECT i, 0 FROM generate_series(1, 100) i";

async fn read(pool: &PgPool, id: i32) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT n FROM t WHERE id = $1").bind(id).fetch_one(pool).await
}

async fn pool_at(url: &str) -> PgPool {
    let options = sqlx::postgres::PgPoolOptions::new().max_connections(4).acquire_timeout(Duration::from_secs(5));
    let pool = options.connect(url).await.unwrap();
    sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
    let breaker = BreakerOptions::new()
        .window(Window::Calls(10))
        .minimum_calls(5)
        .pause(Duration::from_millis(200), Duration::from_millis(400));
    CachedPool::builder(pool, Sessions::Uniform).sole_writer().breaker(breaker).build().await.unwrap()
}

/// A server of the page that can be ended as a process is: with all its connections.
struct Serving(Option<tokio::runtime::Runtime>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.take().unwrap().shutdown_background();
    }
}

/// The page, on a port that is free or was so.
async fn serve(admin: Admin, port: u16) -> (u16, Serving) {
    serve_router(axum::Router::new().nest("/ops/larder", admin.router()), port).await
}

async fn serve_router(router: axum::Router, port: u16) -> (u16, Serving) {
    let listener = loop {
        match std::net::TcpListener::bind(("127.0.0.1", port)) {
            Ok(listener) => break listener,
            Err(_) if port != 0 => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(error) => panic!("{error}"),
        }
    };
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        axum::serve(listener, router).await.unwrap();
    });
    (port, Serving(Some(runtime)))
}

fn page_at(port: u16) -> String {
    format!("http://127.0.0.1:{port}/ops/larder")
}

/// Waits until a script says yes.
async fn until(page: &Page, script: &str) -> Duration {
    let begun = Instant::now();
    while page.ask(&format!("return Boolean({script})")).await != json!(true) {
        let seen = page.ask("return document.body.innerText").await;
        assert!(begun.elapsed() < Duration::from_secs(30), "{script}: {seen}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_shows_what_the_metrics_say_and_nothing_that_is_not_its_own() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let url = Postgres::shared().fresh();
    let pool = std::thread::scope(|scope| {
        let build = || {
            let _set = metrics::set_default_local_recorder(&recorder);
            let runtime = tokio::runtime::Handle::current();
            runtime.block_on(pool_at(&url))
        };
        let runtime = tokio::runtime::Handle::current();
        scope
            .spawn(move || {
                let _entered = runtime.enter();
                build()
            })
            .join()
            .unwrap()
    });
    for round in 0..30 {
        for id in 1..=20 + round {
            read(&pool, id).await.unwrap();
        }
    }
    // Markup in a name that is part of the statement, not of its values.
    let hostile = r#"SELECT n AS "<img src=x onerror='window.hacked=1'>" FROM t WHERE id = 1"#;
    for _ in 0..5 {
        sqlx::query(hostile).fetch_all(&pool).await.unwrap();
    }
    sqlx::query("UPDATE t SET n = 1 WHERE id = 1").execute(&pool).await.unwrap();
    let rendered = handle.clone();
    let admin = Admin::new(Access::open()).pool("main", &pool).metrics(move || rendered.render());
    let (port, _serving) = serve(admin, 0).await;
    let chromium = Chromium::start();
    let page = chromium.open(&page_at(port), WIDE, "light").await;
    until(&page, "document.querySelector('.live') && document.querySelector('#queries td.sql')").await;

    // What both tell of connections, they tell once a second: until they say the same.
    let begun = Instant::now();
    loop {
        let metrics = reqwest::get(format!("{}/v1/metrics", page_at(port))).await.unwrap().text().await.unwrap();
        let told = |metric: &str, label: &str| -> u64 {
            let of = |line: &str| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64;
            let is_meant = |line: &&str| line.split(['{', ' ']).next() == Some(metric) && line.contains(label);
            metrics.lines().filter(is_meant).map(of).sum()
        };
        let outcome = |outcome: &str| told("larder_requests_total", &format!("outcome=\"{outcome}\""));
        let state = |state: &str| told("db_client_connection_count", &format!("state=\"{state}\""));
        let rate = (outcome("hit") + outcome("coalesced")) as f64 / told("larder_requests_total", "") as f64;
        let of_requests = [("hits", "hit"), ("misses", "miss"), ("bypasses", "bypass"), ("stale", "stale")];
        let mut expected: Vec<(String, String)> = Vec::new();
        // All of it happened in the last minutes.
        for of_when in ["", "-start"] {
            let counted = |id: &str, count: u64| (format!("{id}{of_when}"), count.to_string());
            expected.extend(of_requests.map(|(id, what)| counted(id, outcome(what))));
            expected.push(counted("writes", told("larder_writes_total", "")));
            expected.push(counted("invalidations", told("larder_invalidations_total", "")));
            expected.push((format!("hit-rate{of_when}"), format!("{:.1} %", rate * 100.0)));
        }
        let now = [("entries", told("larder_entries", "")), ("most", told("db_client_connection_max", ""))];
        let now = now.into_iter().chain(["used", "idle"].map(|id| (id, state(id))));
        expected.extend(now.map(|(id, count)| (id.to_owned(), count.to_string())));
        let shown: Vec<_> = futures::stream::iter(&expected)
            .then(async |(id, _)| (id.clone(), page.text(&format!("#{id}")).await.replace(',', "")))
            .collect()
            .await;
        if shown == expected {
            assert!(outcome("hit") > 500 && outcome("miss") >= 49 && state("idle") > 0, "{shown:?}");
            assert!(told("larder_writes_total", "") > 0 && told("larder_entries", "") > 0, "{shown:?}");
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{shown:?}\n{expected:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }

    // What others wrote is text.
    let shown = page.ask("return document.getElementById('queries').innerText").await.to_string();
    assert!(shown.contains("<img src=x onerror="), "{shown}");
    assert_eq!(
        page.ask("return [document.querySelectorAll('main img').length, window.hacked ?? null]").await,
        json!([0, null])
    );
    // Every 0 % is one: what was not measured says so.
    assert!(page.text("#breakers").await.contains("0.0 % of 50.0 %"), "{}", page.text("#breakers").await);
    pool.breaker().force_closed("to begin anew", None);
    pool.breaker().release();
    until(&page, "document.querySelector('#breakers .na')?.textContent === 'N/A'").await;
    let requests = page.ask("return performance.getEntriesByType('resource').map(entry => entry.name)").await;
    for request in requests.as_array().unwrap() {
        assert!(request.as_str().unwrap().starts_with(&page_at(port)), "{request}");
    }
    assert_eq!(page.complaints().await, Vec::<String>::new());
    // Labels for those who do not see it, and nothing that sticks out for those with small screens.
    let unlabelled = "return [...document.querySelectorAll('main > section')].filter(s => !document.getElementById(s.getAttribute('aria-labelledby'))).length
        + [...document.querySelectorAll('svg.chart')].filter(c => !c.getAttribute('aria-label')).length
        + [...document.querySelectorAll('input:not([type=checkbox]), textarea')].filter(i => !i.closest('label')).length";
    assert_eq!(page.ask(unlabelled).await, json!(0));
    let pictures = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    page.picture(&pictures.join("page-light.png")).await;
    page.close().await;
    for (name, size, scheme) in [("dark", WIDE, "dark"), ("narrow", (320, 900), "light")] {
        let page = chromium.open(&page_at(port), size, scheme).await;
        until(&page, "document.querySelector('.live')").await;
        assert_eq!(page.ask("return document.documentElement.scrollWidth <= innerWidth").await, json!(true), "{name}");
        let dark = page.ask("return getComputedStyle(document.body).backgroundColor").await;
        assert_eq!(dark == json!("rgb(16, 20, 27)"), name == "dark", "{dark}");
        page.picture(&pictures.join(format!("page-{name}.png"))).await;
        assert_eq!(page.complaints().await, Vec::<String>::new());
        page.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_card_turns_within_two_seconds_of_its_breaker_and_buttons_work() {
    let mut server = Postgres::start();
    let pool = pool_at(&server.url(&server.create_database())).await;
    let (port, _serving) = serve(Admin::new(Access::open()).pool("main", &pool), 0).await;
    let chromium = Chromium::start();
    let page = chromium.open(&page_at(port), WIDE, "light").await;
    until(&page, "document.querySelector('.breaker[data-state=closed]')").await;
    let going = Arc::new(std::sync::atomic::AtomicBool::new(true));
    // As a service has it: several callers at a time.
    let traffic: Vec<_> = (0..8)
        .map(|caller| {
            let (pool, going) = (pool.fresh(), going.clone());
            tokio::spawn(async move {
                let mut id = caller * 10;
                while going.load(std::sync::atomic::Ordering::Relaxed) {
                    id += 1;
                    let _ = read(&pool, id % 100 + 1).await;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    // By the clock of the page, which is that of this machine.
    page.ask(
        "const breakers = document.getElementById('breakers');
         const look = () => window.turned ??= breakers.querySelector('.breaker[data-state=closed]') ? undefined : Date.now();
         new MutationObserver(look).observe(breakers, {attributes: true, childList: true, subtree: true}); return 0",
    )
    .await;
    server.kill();
    until(&page, "window.turned").await;
    let turned = page.ask("return window.turned").await.as_u64().unwrap();
    let trouble = pool.breaker().status().trouble.expect("it is open").at;
    let trouble = trouble.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64;
    assert!(turned < trouble + 2_000, "{} ms", turned - trouble);
    until(&page, "document.querySelector('.breaker dl').innerText.includes('in trouble since')").await;
    until(&page, "document.querySelector('.breaker dl time[datetime]')").await;
    // On its own, without a load of the page.
    server.restart();
    until(&page, "document.querySelector('.breaker[data-state=closed]')").await;
    until(&page, "document.querySelector('.timeline').innerText.includes('probes were answered')").await;

    // An order by hand, from the keyboard.
    page.ask("document.querySelector('.breaker [name=reason]').focus(); return 0").await;
    let reason = page.driver.find(thirtyfour::By::Css(".breaker [name=reason]")).await.unwrap();
    reason.send_keys("to change the disk").await.unwrap();
    // While he types, others give orders: he sees that too.
    pool.breaker().disable("by somebody else", None);
    until(&page, "document.querySelector('.breaker[data-state=disabled]')").await;
    pool.breaker().release();
    until(&page, "document.querySelector('.breaker[data-state=closed]')").await;
    assert_eq!(reason.value().await.unwrap().as_deref(), Some("to change the disk"));
    assert_eq!(page.ask("return document.activeElement.name").await, json!("reason"), "the focus stays");
    // Enter in a field is no order, however often it is pressed.
    page.ask("document.addEventListener('submit', () => window.submitted = true, true); return 0").await;
    let minutes = page.driver.find(thirtyfour::By::Css(".breaker [name=minutes]")).await.unwrap();
    minutes.send_keys(ENTER).await.unwrap();
    reason.send_keys(ENTER).await.unwrap();
    assert_eq!(page.ask("return window.submitted ?? false").await, json!(false));
    // A button stays what it is while others give orders.
    page.ask("document.querySelector('button[value=force_closed]').focus(); return 0").await;
    pool.breaker().disable("by somebody else", None);
    until(&page, "!document.querySelector('button[value=release]').disabled").await;
    assert_eq!(page.ask("return document.activeElement.value").await, json!("force_closed"));
    pool.breaker().release();
    until(&page, "document.querySelector('button[value=release]').disabled").await;
    assert_eq!(page.ask("return document.activeElement.value").await, json!("force_closed"));
    // What rejects all calls is asked for twice.
    let force_open = page.driver.find(thirtyfour::By::Css("button[value=force_open]")).await.unwrap();
    force_open.send_keys(ENTER).await.unwrap();
    assert!(page.driver.get_alert_text().await.unwrap().contains("rejected"));
    page.driver.dismiss_alert().await.unwrap();
    assert!(pool.events().iter().all(|event| event.kind != larder::EventKind::Operator), "{:?}", pool.events());
    force_open.send_keys(ENTER).await.unwrap();
    page.driver.accept_alert().await.unwrap();
    until(&page, "document.querySelector('.breaker[data-state=forced_open]')").await;
    assert_eq!(pool.breaker().status().state, BreakerState::ForcedOpen);
    until(&page, "document.getElementById('events').innerText.includes('to change the disk')").await;
    // Its answer is seen wherever the page is scrolled to, and is gone when the next order begins.
    until(&page, "document.getElementById('told').innerText.includes('forced open now')").await;
    let is_seen = "(box => box.top >= 0 && box.height > 0 && box.bottom <= innerHeight)(document.getElementById('told').getBoundingClientRect())";
    for place in ["0", "document.body.scrollHeight"] {
        page.ask(&format!("scrollTo(0, {place}); return 0")).await;
        until(&page, is_seen).await;
    }
    let statement = page.driver.find(thirtyfour::By::Css("[name=sql]")).await.unwrap();
    statement.send_keys("SELECT n FROM t WHERE id = 1").await.unwrap();
    page.ask(
        "window.said = []; const told = document.getElementById('told');
         new MutationObserver(() => window.said.push(told.hidden)).observe(told, {attributes: true}); return 0",
    )
    .await;
    page.driver.find(thirtyfour::By::Css("[data-order=explain-cache] button")).await.unwrap().click().await.unwrap();
    until(&page, "document.getElementById('told').innerText.includes('Cached')").await;
    assert_eq!(page.ask("return window.said[0]").await, json!(true), "the old answer goes first");
    until(&page, is_seen).await;
    page.driver.find(thirtyfour::By::Id("told-close")).await.unwrap().click().await.unwrap();
    until(&page, "document.getElementById('told').hidden").await;
    page.driver.find(thirtyfour::By::Css("button[value=release]")).await.unwrap().click().await.unwrap();
    until(&page, "document.querySelector('.breaker[data-state=closed]')").await;
    going.store(false, std::sync::atomic::Ordering::Relaxed);
    for caller in traffic {
        caller.await.unwrap();
    }
    assert_eq!(page.complaints().await, Vec::<String>::new());
    page.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_says_when_its_figures_are_old_and_comes_back_by_itself() {
    let pool = pool_at(&Postgres::shared().fresh()).await;
    let (port, serving) =
        serve(Admin::new(Access::tokens("to-look-at-it-all", "to-order-whatever")).pool("main", &pool), 0).await;
    let chromium = Chromium::start();
    let page = chromium.open(&page_at(port), WIDE, "light").await;
    // Nobody who has no token sees anything.
    until(&page, "location.pathname.endsWith('/login')").await;
    let token = page.driver.find(thirtyfour::By::Css("#token")).await.unwrap();
    token.send_keys("not-one-of-the-tokens\u{e007}").await.unwrap();
    until(&page, "document.querySelector('.banner.bad')").await;
    let token = page.driver.find(thirtyfour::By::Css("#token")).await.unwrap();
    token.send_keys("to-look-at-it-all\u{e007}").await.unwrap();
    until(&page, "document.querySelector('.live')").await;
    // Who may look alone is shown no button.
    assert_eq!(page.ask("return document.querySelectorAll('main button').length").await, json!(0));
    drop(serving);
    until(&page, "!document.getElementById('old').hidden").await;
    // Another process, with the same tokens: the browser is still known.
    let (_, _serving) =
        serve(Admin::new(Access::tokens("to-look-at-it-all", "to-order-whatever")).pool("main", &pool), port).await;
    until(&page, "document.getElementById('old').hidden && document.querySelector('.live')").await;
    for id in 1..=7 {
        read(&pool, id).await.unwrap();
    }
    until(&page, "document.getElementById('misses').textContent === '7'").await;
    page.close().await;
}

/// A stream ends by design, or because a proxy thinks that it was long enough. Nobody is to be told of that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_ends_is_followed_by_another_before_its_figures_are_old() {
    let pool = pool_at(&Postgres::shared().fresh()).await;
    let begun = Arc::new(AtomicUsize::new(0));
    let streams = begun.clone();
    // Just before the next look, so that as much time as can be is without one.
    let cut = axum::middleware::map_response(move |response: axum::response::Response| {
        let kind = response.headers().get("content-type");
        if kind.is_none_or(|kind| kind != "text/event-stream") {
            return std::future::ready(response);
        }
        streams.fetch_add(1, SeqCst);
        let end = Box::pin(tokio::time::sleep(Duration::from_millis(2_800)));
        std::future::ready(response.map(|body| axum::body::Body::from_stream(body.into_data_stream().take_until(end))))
    });
    let admin = Admin::new(Access::open()).pool("main", &pool);
    let router = axum::Router::new().nest("/ops/larder", admin.router()).layer(cut);
    let (port, _serving) = serve_router(router, 0).await;
    let chromium = Chromium::start();
    let page = chromium.open(&page_at(port), WIDE, "light").await;
    page.ask(
        "window.alarms = 0;
         const old = document.getElementById('old');
         new MutationObserver(() => window.alarms += old.hidden ? 0 : 1).observe(old, {attributes: true}); return 0",
    )
    .await;
    // A machine that has much else to do may be late once, but not each time.
    let (started, mut alarms, mut since) = (Instant::now(), json!(0), begun.load(SeqCst));
    while begun.load(SeqCst) < since + 3 {
        assert!(started.elapsed() < Duration::from_secs(120), "{alarms}");
        let now = page.ask("return window.alarms").await;
        if now != alarms {
            (alarms, since) = (now, begun.load(SeqCst));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    page.close().await;
}

/// A page of somebody else, open in the same browser, can have it send requests, and that is all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_page_can_order_nothing() {
    let pool = pool_at(&Postgres::shared().fresh()).await;
    let (port, _serving) = serve(Admin::new(Access::open()).pool("main", &pool), 0).await;
    let (foreign, _other) =
        serve(Admin::new(Access::open()).pool("other", &pool_at(&Postgres::shared().fresh()).await), 0).await;
    for id in 1..=5 {
        read(&pool, id).await.unwrap();
    }
    let chromium = Chromium::start();
    // Served by a page without a policy of its own, so that nothing but the admin page is in its way.
    let page = chromium.open(&format!("http://localhost:{foreign}/nothing"), WIDE, "light").await;
    let order = format!(
        "const at = '{}/v1/caches/main/flush';
         return Promise.allSettled([
            fetch(at, {{method: 'POST', mode: 'no-cors', body: ''}}),
            fetch(at, {{method: 'POST', headers: {{'x-larder-word': 'guessed'}}}}),
         ]).then(all => all.map(one => one.status === 'fulfilled' ? one.value.type : 'failed'))",
        page_at(port)
    );
    let outcome = page.ask(&order).await;
    assert_eq!(outcome[1], json!("failed"), "{outcome}");
    assert!(pool.events().iter().all(|event| event.kind != larder::EventKind::Operator), "{:?}", pool.events());
    let hits = pool.stats().hits;
    read(&pool, 1).await.unwrap();
    assert_eq!(pool.stats().hits, hits + 1, "nothing was dropped");
    page.close().await;
}
