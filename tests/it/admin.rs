//! The interface for those who operate: who may do what, and what comes of it.

use std::time::Duration;

use futures::{Stream, StreamExt};
use larder::admin::{Access, Admin};
use larder::{CachedPool, EventKind, Sessions, SqlitePool};
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};

const READ: &str = "to-look-at-it-all";
const OPERATE: &str = "to-order-whatever";

async fn pool() -> SqlitePool {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(crate::support::file()).create_if_missing(true);
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    sqlx::raw_sql("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER); CREATE TABLE u (n INTEGER); INSERT INTO t VALUES (1, 10), (2, 20)")
        .execute(&pool)
        .await
        .unwrap();
    CachedPool::builder(pool, Sessions::Uniform).sole_writer().build().await.unwrap()
}

async fn read(pool: &SqlitePool) -> i64 {
    sqlx::query_scalar("SELECT n FROM t WHERE id = 1").fetch_one(pool).await.unwrap()
}

/// The interface of one pool, named `shop`.
struct Operated {
    pool: SqlitePool,
    at: String,
    client: Client,
}

impl Operated {
    async fn start(access: Access) -> Self {
        let pool = pool().await;
        let admin = Admin::new(access).pool("shop", &pool).host("ops.example").metrics(|| "# nothing\n".into());
        Self::serve(admin, pool).await
    }

    async fn serve(admin: Admin, pool: SqlitePool) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = format!("http://{}/deep/down", listener.local_addr().unwrap());
        let router = axum::Router::new().nest("/deep/down", admin.router());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { pool, at, client: Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap() }
    }

    async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Option<Value>) -> Response {
        let mut request = self.client.request(method, format!("{}{path}", self.at));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        request.send().await.unwrap()
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.send(Method::GET, path, &[("authorization", &bearer(READ))], None).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer.json().await.unwrap()
    }

    async fn order(&self, path: &str, body: Value) -> Value {
        let answer = self.send(Method::POST, path, &[("authorization", &bearer(OPERATE))], Some(body)).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer.json().await.unwrap()
    }

    /// A problem, and what it says.
    async fn refused(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> (u16, String) {
        let answer = self.send(method, path, headers, body).await;
        let status = answer.status().as_u16();
        assert_eq!(answer.headers()["content-type"], "application/problem+json", "{path} {status}");
        let problem: Value = answer.json().await.unwrap();
        assert_eq!((&problem["status"], &problem["type"]), (&json!(status), &json!("about:blank")));
        (status, problem["detail"].as_str().unwrap().to_owned())
    }
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

fn operator_events(pool: &SqlitePool) -> Vec<String> {
    pool.events().into_iter().filter(|event| event.kind == EventKind::Operator).map(|event| event.text).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_told_and_nothing_done_without_the_right() {
    let here = Operated::start(Access::tokens(READ, OPERATE)).await;
    let (read, operate) = (bearer(READ), bearer(OPERATE));
    for path in
        ["/v1/info", "/v1/config", "/v1/pools", "/v1/queries", "/v1/events", "/v1/reports/shop", "/v1/metrics", "/live"]
    {
        for shown in [None, Some("Bearer "), Some("Bearer guessed-the-token"), Some("Basic dG8=")] {
            let headers: Vec<_> = shown.map(|shown| ("authorization", shown)).into_iter().collect();
            let (status, _) = here.refused(Method::GET, path, &headers, None).await;
            assert_eq!(status, 401, "{path} {shown:?}");
        }
    }
    // A person is led to where he can say who he is.
    let answer = here.send(Method::GET, "", &[], None).await;
    assert_eq!(
        (answer.status(), &answer.headers()["location"]),
        (StatusCode::SEE_OTHER, &"/deep/down/login".parse().unwrap())
    );
    assert!(answer.headers()["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));

    let flush = "/v1/caches/shop/flush";
    for (headers, expected) in [
        (vec![], 401),
        (vec![("authorization", read.as_str())], 403),
        // A browser of somebody who has the token, on a page of somebody else.
        (vec![("authorization", operate.as_str()), ("origin", "http://evil.example")], 403),
        (vec![("authorization", operate.as_str()), ("host", "evil.example")], 421),
    ] {
        let (status, why) = here.refused(Method::POST, flush, &headers, None).await;
        assert_eq!(status, expected, "{headers:?}: {why}");
    }
    assert_eq!(operator_events(&here.pool), Vec::<String>::new());
    let answer = here.send(Method::POST, flush, &[("authorization", &operate), ("host", "ops.example")], None).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(operator_events(&here.pool), ["flush: everything is dropped (token: operate)"]);

    // A cookie alone is not enough: the browser sends it whoever asked it to.
    let form = here.client.post(format!("{}/login", here.at)).header("origin", here.at.trim_end_matches("/deep/down"));
    let answer = form.form(&[("token", OPERATE)]).send().await.unwrap();
    let cookie = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict") && !cookie.contains(OPERATE), "{cookie}");
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let page = here.send(Method::GET, "", &[("cookie", &cookie)], None).await.text().await.unwrap();
    let word = page.split("data-word=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let origin = here.at.trim_end_matches("/deep/down").to_owned();
    for (headers, expected) in [
        (vec![("cookie", cookie.as_str())], 403),
        (vec![("cookie", cookie.as_str()), ("origin", origin.as_str())], 403),
        (vec![("cookie", cookie.as_str()), ("x-larder-word", word.as_str())], 403),
        (vec![("cookie", cookie.as_str()), ("x-larder-word", word.as_str()), ("origin", "null")], 403),
        (vec![("cookie", "larder_session=00"), ("x-larder-word", word.as_str()), ("origin", origin.as_str())], 401),
    ] {
        assert_eq!(here.refused(Method::POST, flush, &headers, None).await.0, expected, "{headers:?}");
    }
    let all = [("cookie", cookie.as_str()), ("x-larder-word", word.as_str()), ("origin", origin.as_str())];
    assert_eq!(here.send(Method::POST, flush, &all, None).await.status(), StatusCode::OK);
    // Probes have no token, and hear yes or no.
    for probe in ["live", "ready"] {
        for method in [Method::GET, Method::HEAD] {
            assert_eq!(here.send(method, &format!("/v1/health/{probe}"), &[], None).await.status(), StatusCode::OK);
        }
    }
    // Another page can have a browser ask nothing that is kept open.
    let foreign = [("authorization", read.as_str()), ("sec-fetch-site", "cross-site"), ("sec-fetch-dest", "empty")];
    assert_eq!(here.refused(Method::GET, "/live", &foreign, None).await.0, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_and_what_makes_no_sense_is_told_apart() {
    let here = Operated::start(Access::tokens(READ, OPERATE)).await;
    let operate = bearer(OPERATE);
    let headers = [("authorization", operate.as_str())];
    for (method, path, body, expected, says) in [
        (Method::GET, "/v1/nothing", None, 404, "nothing at"),
        (Method::GET, "/v1/reports/nowhere", None, 404, "no pool named \"nowhere\""),
        (Method::GET, "/v1/queries?limit=many", None, 400, "limit"),
        (Method::GET, "/v1/reports/shop?format=pdf", None, 400, "json, html, markdown, csv or text"),
        (Method::POST, "/v1/caches/nowhere/flush", None, 404, "no pool named"),
        (Method::POST, "/v1/breakers/shop/redis", Some(json!({"order": "release"})), 404, "no breaker named"),
        (Method::POST, "/v1/breakers/shop/database", Some(json!({"order": "force_open"})), 400, "for what reason"),
        (Method::POST, "/v1/breakers/shop/database", Some(json!({"order": "smash"})), 400, "unknown variant"),
        (
            Method::POST,
            "/v1/breakers/shop/database",
            Some(json!({"order": "disable", "reason": "x", "seconds": -1.0})),
            400,
            "seconds",
        ),
        (Method::POST, "/v1/caches/shop/invalidate", Some(json!({})), 400, "name tables"),
        (Method::POST, "/v1/caches/shop/invalidate", Some(json!({"table": ["t"]})), 400, "unknown field"),
        (Method::POST, "/v1/caches/shop/invalidate", Some(json!({"patterns": ["zzz*"]})), 422, "no table matches"),
        (Method::POST, "/v1/caches/shop/invalidate", None, 400, ""),
        (Method::DELETE, "/v1/info", None, 405, "does not take DELETE"),
        (Method::GET, "/v1/caches/shop/flush", None, 405, "does not take GET"),
    ] {
        let (status, why) = here.refused(method.clone(), path, &headers, body).await;
        assert_eq!(status, expected, "{method} {path}: {why}");
        assert!(why.contains(says), "{method} {path}: {why}");
    }
    let huge = json!({"tables": [&"x".repeat(100_000)]});
    let answer = here.send(Method::POST, "/v1/caches/shop/invalidate", &headers, Some(huge)).await;
    assert!(answer.status().is_client_error(), "{}", answer.status());
    assert_eq!(operator_events(&here.pool), Vec::<String>::new(), "nothing was done");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_tells_what_the_pool_does() {
    let here = Operated::start(Access::tokens(READ, OPERATE)).await;
    for _ in 0..5 {
        read(&here.pool).await;
    }
    sqlx::query("SELECT n FROM t WHERE id = ?").bind(4_711).fetch_all(&here.pool).await.unwrap();
    let stats = here.pool.stats();
    let told = &here.get("/v1/caches").await["shop"];
    assert_eq!((told["hits"].as_u64(), told["misses"].as_u64()), (Some(stats.hits), Some(stats.misses)));
    assert_eq!(told["hit_rate"].as_f64(), stats.hit_rate());
    assert_eq!(here.get("/v1/info").await["pools"]["shop"]["database"], "SQLite");
    assert_eq!(here.get("/v1/pools?pool=shop").await["shop"]["connections"]["waiting"], 0);
    let breaker = &here.get("/v1/breakers").await["shop"][0];
    assert_eq!((&breaker["backend"], &breaker["state"]), (&json!("database"), &json!("closed")));
    assert_eq!(breaker["failure_rate"], Value::Null, "too few calls to tell");
    let queries = &here.get("/v1/queries?limit=1").await["shop"];
    assert_eq!(queries.as_array().unwrap().len(), 1);
    let reports = here.get("/v1/reports").await;
    assert_eq!(reports[0]["path"], "reports/shop");
    let report = here.get("/v1/reports/shop").await;
    assert_eq!(report["stats"]["hits"].as_u64(), Some(stats.hits));
    tokio::time::sleep(Duration::from_millis(1_300)).await;
    assert!(!here.get("/v1/history").await["shop"]["seconds"].as_array().unwrap().is_empty());
    let read_token = bearer(READ);
    for (path, kind, holds) in [
        ("/v1/metrics", "text/plain", "# nothing"),
        ("/v1/history?format=csv", "text/csv", "at,seconds,hits"),
        ("/v1/reports/shop?format=markdown", "text/markdown", "# "),
        ("/v1/reports/shop?format=text", "text/plain", "hit"),
    ] {
        let answer = here.send(Method::GET, path, &[("authorization", &read_token)], None).await;
        assert!(answer.headers()["content-type"].to_str().unwrap().starts_with(kind), "{path}");
        let text = answer.text().await.unwrap();
        assert!(text.contains(holds) && !text.contains("4711"), "{path}: {text}");
    }
    let config = here.get("/v1/config").await["shop"].clone();
    assert!(config["breaker"].as_str().unwrap().contains("minimum_calls: 20"), "{config}");
    let explained = |sql: &str| {
        let body = json!({"sql": sql});
        let here = &here;
        async move {
            // To look is enough for that.
            let answer =
                here.send(Method::POST, "/v1/explain-cache", &[("authorization", &bearer(READ))], Some(body)).await;
            answer.json::<Value>().await.unwrap()
        }
    };
    let cached = explained("SELECT n FROM t").await;
    assert_eq!((&cached["cached"], &cached["reads"]), (&json!(true), &json!(["main.t"])));
    let volatile = explained("SELECT n, random() FROM t").await;
    assert_eq!((&volatile["cached"], &volatile["reason"]), (&json!(false), &json!("volatile_function")));
    assert_eq!(explained("DELETE FROM t").await["writes"], json!(["main.t"]));
}

/// What is said of a statement is what becomes of it.
#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_to_be_kept_is_what_is_kept() {
    let plain = sqlx::PgPool::connect(&crate::servers::Postgres::shared().fresh()).await.unwrap();
    let setup = "CREATE TABLE t (n INT); INSERT INTO t VALUES (1); CREATE TABLE diary (n INT); CREATE TABLE users (id INT, secret TEXT);
         CREATE TABLE tenants (n INT); ALTER TABLE tenants ENABLE ROW LEVEL SECURITY";
    sqlx::raw_sql(setup).execute(&plain).await.unwrap();
    let config: larder::Config = "[never_cache]\ntables = ['diary']\ncolumns = ['users.secret']".parse().unwrap();
    let builder = CachedPool::builder(plain, Sessions::Uniform).sole_writer().config(config);
    let pool = builder.build().await.unwrap();
    let router = Admin::new(Access::open()).pool("shop", &pool).router();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = format!("http://{}/v1/explain-cache", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    for (sql, is_kept, says) in [
        ("SELECT n FROM t", true, None),
        ("SELECT id FROM users", true, None),
        ("SELECT n FROM diary", false, Some("never_cache")),
        ("SELECT secret FROM users", false, Some("never_cache")),
        ("SELECT n FROM tenants", false, Some("scope")),
    ] {
        let told: Value =
            Client::new().post(&at).json(&json!({"sql": sql})).send().await.unwrap().json().await.unwrap();
        assert_eq!(told["cached"], json!(is_kept), "{sql}: {told}");
        let explained = pool.explain(sql).await.unwrap();
        match says {
            Some("scope") => assert!(told["scope"].is_string() && explained.scope.is_some(), "{sql}: {told}"),
            says => {
                assert_eq!(told["reason"].as_str(), says, "{sql}: {told}");
                assert_eq!(explained.reads.err().map(|refusal| refusal.reason.label()), says, "{sql}");
            }
        }
        let hits = pool.stats().hits;
        for _ in 0..2 {
            sqlx::query(sql).fetch_all(&pool).await.unwrap();
        }
        assert_eq!(pool.stats().hits > hits, is_kept, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_are_carried_out_and_taken_down() {
    let here = Operated::start(Access::tokens(READ, OPERATE)).await;
    let is_kept = async || {
        let hits = here.pool.stats().hits;
        read(&here.pool).await;
        here.pool.stats().hits > hits
    };
    read(&here.pool).await;
    assert!(is_kept().await);
    let said = here.order("/v1/caches/shop/invalidate", json!({"patterns": ["main.?"], "dry_run": true})).await;
    assert_eq!((&said["tables"], &said["everything"]), (&json!(["main.t", "main.u"]), &json!(false)));
    assert!(is_kept().await, "only asked");
    here.order("/v1/caches/shop/invalidate", json!({"tables": ["u"]})).await;
    assert!(is_kept().await, "another table");
    here.order("/v1/caches/shop/invalidate", json!({"patterns": ["*.t"]})).await;
    assert!(!is_kept().await);
    let said = here.order("/v1/caches/shop/invalidate", json!({"tables": ["nowhere"], "dry_run": true})).await;
    assert_eq!((&said["unknown"], &said["everything"]), (&json!(["nowhere"]), &json!(true)));
    let operate = bearer(OPERATE);
    let slip = Some(json!({"tables": ["prodcuts"]}));
    let headers = [("authorization", operate.as_str())];
    let (status, why) = here.refused(Method::POST, "/v1/caches/shop/invalidate", &headers, slip).await;
    assert!(status == 422 && why.contains("prodcuts"), "{status} {why}");
    assert!(is_kept().await, "a slip of the pen drops nothing");
    here.order("/v1/caches/shop/flush", json!(null)).await;
    assert!(!is_kept().await);
    here.order("/v1/caches/shop/flush", json!(null)).await;
    let warmed = here
        .order(
            "/v1/caches/shop/warm",
            json!({"statements": ["SELECT n FROM t WHERE id = 1", "DELETE FROM t", "SELECT random()"]}),
        )
        .await;
    assert_eq!(
        (&warmed[0]["kept"], &warmed[1]["kept"], &warmed[2]["kept"]),
        (&json!(true), &json!(false), &json!(false))
    );
    assert!(is_kept().await, "warm");
    assert_eq!(read(&here.pool).await, 10, "a write was not run");

    let mut stream =
        here.send(Method::GET, "/v1/events/stream", &[("authorization", &bearer(READ))], None).await.bytes_stream();
    let forced = here
        .order(
            "/v1/breakers/shop/database",
            json!({"order": "force_open", "reason": "a\u{1b}[31mdisk", "seconds": 600.0}),
        )
        .await;
    assert_eq!((&forced["state"], &forced["forced"]["reason"]), (&json!("forced_open"), &json!("a[31mdisk")));
    // What is kept is given out: to take all nodes away would make it everybody's outage.
    assert_eq!(here.send(Method::GET, "/v1/health/ready", &[], None).await.status(), StatusCode::OK);
    let mut heard = String::new();
    while !heard.contains("forced_open") {
        let more =
            tokio::time::timeout(Duration::from_secs(10), stream.next()).await.expect("an event").unwrap().unwrap();
        heard.push_str(&String::from_utf8_lossy(&more));
    }
    assert_eq!(here.order("/v1/breakers/shop/database", json!({"order": "release"})).await["state"], "closed");
    let events = operator_events(&here.pool);
    assert_eq!(events.len(), 8, "{events:?}");
    assert!(events.contains(&"warm: 1 of 3 are kept (token: operate)".into()), "{events:?}");
    assert!(events.contains(&"breaker database: force_open for 10m: a[31mdisk (token: operate)".into()), "{events:?}");
    assert!(events.iter().all(|event| event.ends_with("(token: operate)")), "{events:?}");
    assert!(here.get("/v1/events").await["shop"].as_array().unwrap().len() > events.len());
    // An open stream is no reason for a server to wait when it ends.
    here.pool.close().await;
    let ended = async { while stream.next().await.is_some() {} };
    tokio::time::timeout(Duration::from_secs(10), ended).await.expect("the stream ends with its pool");
    assert_eq!(here.send(Method::GET, "/v1/health/ready", &[], None).await.status(), StatusCode::SERVICE_UNAVAILABLE);
}

/// What is heard on a stream until this is in it.
async fn hear(stream: &mut (impl Stream<Item = reqwest::Result<impl AsRef<[u8]>>> + Unpin), what: &str) -> String {
    let mut heard = String::new();
    while !heard.contains(what) {
        let more = tokio::time::timeout(Duration::from_secs(30), stream.next()).await;
        let more = more.unwrap_or_else(|_| panic!("no {what}: {heard}")).unwrap().unwrap();
        heard.push_str(&String::from_utf8_lossy(more.as_ref()));
    }
    heard
}

fn last_id(heard: &str) -> String {
    heard.lines().filter_map(|line| line.strip_prefix("id: ")).next_back().expect("an id").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_listens_again_misses_nothing_of_what_happened_meanwhile() {
    let here = Operated::start(Access::tokens(READ, OPERATE)).await;
    let authorization = bearer(READ);
    let listen = async |last: Option<&str>| {
        let headers: Vec<_> =
            [("authorization", &*authorization)].into_iter().chain(last.map(|last| ("last-event-id", last))).collect();
        here.send(Method::GET, "/v1/events/stream", &headers, None).await.bytes_stream()
    };
    here.pool.note("before anybody listened");
    let mut stream = listen(None).await;
    let begins = hear(&mut stream, "\n\n").await;
    assert!(begins.contains("retry: ") && !begins.contains("data"), "{begins}");
    // Its stream ends before anything happens.
    drop(stream);
    here.pool.note("the first");
    here.pool.breaker().disable("the second", None);
    let heard = hear(&mut listen(Some(&last_id(&begins))).await, "the second").await;
    assert!(heard.contains("the first"), "{heard}");
    here.pool.note("the third");
    let mut stream = listen(Some(&last_id(&heard))).await;
    let heard = hear(&mut stream, "the third").await;
    assert!(!heard.contains("the second"), "{heard}");
    // What says nothing of when it was heard is none of our ids.
    for anew in [None, Some("nonsense"), Some("x-1"), Some("")] {
        let mut stream = listen(anew).await;
        hear(&mut stream, "\n\n").await;
        here.pool.note(format!("after {anew:?}"));
        let heard = hear(&mut stream, &format!("after {anew:?}").replace('"', "\\\"")).await;
        assert!(!heard.contains("the third"), "{heard}");
    }
    here.pool.note("once");
    let heard = hear(&mut stream, "once").await;
    assert!(!heard.contains("the third") && heard.matches("once").count() == 1, "{heard}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_behind_an_own_layer_say_who_gave_them() {
    let pool = pool().await;
    let named = |mut request: axum::extract::Request, next: axum::middleware::Next| {
        let name = request.headers().get("x-user").map(|name| name.to_str().unwrap().to_owned());
        if let Some(name) = name {
            request.extensions_mut().insert(larder::admin::Operator(name));
        }
        next.run(request)
    };
    let router = Admin::new(Access::own_layer()).pool("shop", &pool).router().layer(axum::middleware::from_fn(named));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    for name in [Some("ada"), None] {
        let mut order = Client::new().post(format!("{at}/v1/caches/shop/flush"));
        if let Some(name) = name {
            order = order.header("x-user", name);
        }
        assert_eq!(order.send().await.unwrap().status(), StatusCode::OK);
    }
    assert_eq!(
        operator_events(&pool),
        ["flush: everything is dropped (by ada)", "flush: everything is dropped (no name)"]
    );
}

#[tokio::test]
async fn it_does_not_listen_where_others_reach_it_without_a_token() {
    let pool = pool().await;
    for access in [Access::open(), Access::own_layer()] {
        let refused = Admin::new(access).pool("shop", &pool).serve("0.0.0.0:0").await.unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::InvalidInput);
        assert!(refused.to_string().contains("Access::tokens"), "{refused}");
    }
    let serving = Admin::new(Access::tokens(READ, OPERATE)).pool("shop", &pool);
    let serving = tokio::time::timeout(Duration::from_millis(200), serving.serve("0.0.0.0:0")).await;
    assert!(serving.is_err(), "it serves");
}

/// As many statements as an application that writes its values into its texts would have.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_statements_leave_the_page_small_and_quick() {
    let pool = pool().await;
    // Under each name it is drawn anew, as it is once a second under one.
    let names: Vec<_> = (0..10).map(|n| format!("shop{n}")).collect();
    let admin = names.iter().fold(Admin::new(Access::own_layer()), |admin, name| admin.pool(name, &pool));
    let here = Operated::serve(admin, pool).await;
    for n in 0..10_000 {
        let sql = format!("SELECT n AS a{n} FROM t WHERE id = 1");
        sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(&here.pool).await.unwrap();
    }
    let mut times = Vec::new();
    for name in &names {
        let begun = std::time::Instant::now();
        let page = here.send(Method::GET, &format!("?pool={name}"), &[], None).await.text().await.unwrap();
        times.push(begun.elapsed());
        assert!(page.len() < 100_000 && page.contains("statements are known"), "{}", page.len());
    }
    // A machine that has much else to do is late with some, not with most; and all of this is without optimization.
    times.sort_unstable();
    assert!(times[4] < Duration::from_secs(1), "it has to be drawn once a second: {times:?}");
    let queries = here.get("/v1/queries?limit=1000000").await["shop0"].as_array().unwrap().len();
    assert!(queries <= 5_001, "{queries}");
}
