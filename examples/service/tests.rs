//! The shop as its visitors see it: each test opens one of its own, on a real port with an empty database.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::app;
use crate::db::{self, SqlitePool};

/// A shop that is open while a test runs.
pub struct Shop {
    pub pool: SqlitePool,
    url: String,
    client: reqwest::Client,
    _folder: TempDir,
}

impl Shop {
    pub async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pool = db::open(&folder.path().join("shop.db")).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = app(pool.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { pool, url, client: reqwest::Client::new(), _folder: folder }
    }

    pub async fn send(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let request = self.client.request(method, format!("{}{path}", self.url));
        let request = if let Some(body) = &body { request.json(body) } else { request };
        let response = request.send().await.unwrap();
        let (status, text) = (response.status(), response.text().await.unwrap());
        let body = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).expect(&text) };
        (status, body)
    }

    /// The answer to a request that has to succeed.
    pub async fn get(&self, path: &str) -> Value {
        let (status, body) = self.send(Method::GET, path, None).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body
    }

    pub async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.send(Method::POST, path, Some(body)).await
    }

    /// Makes something, and gives its number.
    pub async fn make(&self, path: &str, body: Value) -> i64 {
        let (status, body) = self.post(path, body).await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
        body["id"].as_i64().unwrap()
    }

    pub async fn product(&self, name: &str, price: i64, stock: i64) -> i64 {
        self.make("/products", product(name, price, stock)).await
    }

    pub async fn customer(&self, name: &str) -> i64 {
        self.make("/customers", json!({ "name": name, "email": format!("{name}@example.org") })).await
    }

    pub async fn order(&self, customer: i64, items: &[(i64, i64)]) -> (StatusCode, Value) {
        self.post("/orders", order(customer, items)).await
    }
}

pub fn product(name: &str, price: i64, stock: i64) -> Value {
    json!({ "sku": name.to_lowercase(), "name": name, "category": "tea", "price_cents": price, "stock": stock })
}

pub fn order(customer: i64, items: &[(i64, i64)]) -> Value {
    let items = items.iter().map(|(product, quantity)| json!({ "product_id": product, "quantity": quantity }));
    json!({ "customer_id": customer, "items": items.collect::<Vec<_>>() })
}

fn column<'v>(list: &'v Value, name: &str) -> Vec<&'v Value> {
    list.as_array().unwrap().iter().map(|item| &item[name]).collect()
}

#[tokio::test]
async fn what_is_made_is_there() {
    let shop = Shop::open().await;
    assert_eq!(shop.get("/products").await, json!({ "items": [], "page": 1, "per_page": 20, "total": 0 }));
    let sencha = shop.product("Sencha", 1150, 5).await;
    let expected = json!({
        "id": sencha, "sku": "sencha", "name": "Sencha", "category": "tea",
        "price_cents": 1150, "stock": 5, "units_sold": 0, "buyers": 0,
    });
    assert_eq!(shop.get(&format!("/products/{sencha}")).await, expected);
    assert_eq!(shop.get("/products").await["total"], 1);
    assert_eq!(
        shop.get("/categories").await,
        json!([{ "name": "tea", "products": 1, "in_stock": 5, "cheapest_cents": 1150 }])
    );
    assert_eq!(shop.send(Method::GET, "/health", None).await, (StatusCode::NO_CONTENT, Value::Null));
}

#[tokio::test]
async fn lists_are_searched_filtered_sorted_and_paged() {
    let shop = Shop::open().await;
    for (name, price, stock) in [("Assam", 700, 1), ("Sencha", 1150, 0), ("Genmaicha", 900, 4), ("Matcha", 2500, 2)] {
        shop.product(name, price, stock).await;
    }
    let names = async |query: &str| {
        let page = shop.get(&format!("/products?{query}")).await;
        let names =
            column(&page["items"], "name").iter().map(|name| name.as_str().unwrap().to_owned()).collect::<Vec<_>>();
        (names.join(" "), page["total"].as_i64().unwrap())
    };
    assert_eq!(names("").await, ("Assam Genmaicha Matcha Sencha".into(), 4));
    assert_eq!(names("search=CHA").await, ("Genmaicha Matcha Sencha".into(), 3));
    assert_eq!(names("search=assam").await, ("Assam".into(), 1));
    assert_eq!(names("search=cha&in_stock=true").await, ("Genmaicha Matcha".into(), 2));
    assert_eq!(names("category=coffee").await, ("".into(), 0));
    assert_eq!(names("sort=dearest&per_page=2").await, ("Matcha Sencha".into(), 4));
    assert_eq!(names("sort=cheapest&per_page=3&page=2").await, ("Matcha".into(), 4));
}

#[tokio::test]
async fn changes_are_seen_by_the_next_request() {
    let shop = Shop::open().await;
    let id = shop.product("Sencha", 1150, 5).await;
    let path = format!("/products/{id}");
    assert_eq!(shop.get(&path).await["price_cents"], 1150);
    let (status, updated) = shop.send(Method::PUT, &path, Some(product("Sencha", 990, 7))).await;
    assert_eq!((status, &updated["price_cents"]), (StatusCode::OK, &json!(990)));
    assert_eq!(shop.get(&path).await, updated);
    assert_eq!(shop.get("/products").await["items"][0]["stock"], 7);
    assert_eq!(shop.send(Method::DELETE, &path, None).await.0, StatusCode::NO_CONTENT);
    assert_eq!(shop.send(Method::GET, &path, None).await.0, StatusCode::NOT_FOUND);
    assert_eq!(shop.send(Method::DELETE, &path, None).await.0, StatusCode::NOT_FOUND);
    assert_eq!(shop.get("/products").await["total"], 0);
}

#[tokio::test]
async fn an_order_takes_all_its_goods_or_none() {
    let shop = Shop::open().await;
    let (sencha, pot) = (shop.product("Sencha", 1150, 5).await, shop.product("Pot", 4900, 1).await);
    let ada = shop.customer("Ada").await;
    let stock = async || {
        let page = shop.get("/products").await;
        column(&page["items"], "stock").iter().map(|stock| stock.as_i64().unwrap()).collect::<Vec<_>>()
    };
    let (status, placed) = shop.order(ada, &[(sencha, 2), (pot, 1)]).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!((&placed["customer"], &placed["total_cents"]), (&json!("Ada"), &json!(2 * 1150 + 4900)));
    assert_eq!(column(&placed["items"], "product"), ["Sencha", "Pot"]);
    assert_eq!(stock().await, [0, 3]);

    let (status, refused) = shop.order(ada, &[(sencha, 1), (pot, 1)]).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(refused["error"]["message"], "too few left: Pot");
    assert_eq!(stock().await, [0, 3]);
    assert_eq!(shop.get("/orders").await["total"], 1);

    let detail = shop.get(&format!("/products/{sencha}")).await;
    assert_eq!((&detail["units_sold"], &detail["buyers"]), (&json!(2), &json!(1)));
    assert_eq!(shop.send(Method::DELETE, &format!("/products/{pot}"), None).await.0, StatusCode::CONFLICT);
}

#[tokio::test]
async fn a_cancelled_order_gives_its_goods_back_once() {
    let shop = Shop::open().await;
    let (sencha, ada) = (shop.product("Sencha", 1150, 5).await, shop.customer("Ada").await);
    let id = shop.order(ada, &[(sencha, 3)]).await.1["id"].as_i64().unwrap();
    let cancel = format!("/orders/{id}/cancel");
    let (status, cancelled) = shop.post(&cancel, json!({})).await;
    assert_eq!((status, &cancelled["status"]), (StatusCode::OK, &json!("cancelled")));
    assert_eq!(shop.post(&cancel, json!({})).await.0, StatusCode::CONFLICT);
    assert_eq!(shop.post("/orders/99/cancel", json!({})).await.0, StatusCode::NOT_FOUND);
    let detail = shop.get(&format!("/products/{sencha}")).await;
    assert_eq!((&detail["stock"], &detail["units_sold"]), (&json!(5), &json!(0)));
    assert_eq!(shop.get("/orders?status=placed").await["total"], 0);
    assert_eq!(column(&shop.get("/orders?status=cancelled").await["items"], "id"), [id]);
}

#[tokio::test]
async fn reports_add_up() {
    let shop = Shop::open().await;
    let (sencha, assam) = (shop.product("Sencha", 1000, 50).await, shop.product("Assam", 500, 50).await);
    let (ada, grace) = (shop.customer("Ada").await, shop.customer("Grace").await);
    shop.order(ada, &[(sencha, 1)]).await;
    shop.order(grace, &[(sencha, 2), (assam, 2)]).await;
    let cancelled = shop.order(ada, &[(assam, 9)]).await.1["id"].clone();
    shop.post(&format!("/orders/{cancelled}/cancel"), json!({})).await;

    let expected = json!({
        "orders": 2, "units": 5, "revenue_cents": 4000,
        "by_category": [{ "category": "tea", "units": 5, "revenue_cents": 4000 }],
        "best_customers": [
            { "customer_id": grace, "name": "Grace", "orders": 1, "revenue_cents": 3000 },
            { "customer_id": ada, "name": "Ada", "orders": 1, "revenue_cents": 1000 },
        ],
    });
    assert_eq!(shop.get("/reports/sales").await, expected);
    assert_eq!(shop.get("/reports/sales?from=2020-01-01&to=9998-12-31").await, expected);
    assert_eq!(shop.get("/reports/sales?to=2020-01-01").await["orders"], 0);
    let detail = shop.get(&format!("/customers/{ada}")).await;
    assert_eq!(detail["spent_cents"], 1000);
    assert_eq!(column(&detail["orders"], "status"), ["cancelled", "placed"]);
    assert_eq!(column(&shop.get("/customers").await["items"], "name"), ["Ada", "Grace"]);
}

#[tokio::test]
async fn whatever_is_wrong_is_told_in_json() {
    let shop = Shop::open().await;
    let (sencha, ada) = (shop.product("Sencha", 1150, 5).await, shop.customer("Ada").await);
    let post = |path: &str, body: Value| (Method::POST, path.to_owned(), Some(body));
    let get = |path: &str| (Method::GET, path.to_owned(), None);
    let cases = [
        (get("/nowhere"), 404, "not_found", ""),
        (get("/products/99"), 404, "not_found", ""),
        (get("/orders/99"), 404, "not_found", ""),
        (get("/customers/99"), 404, "not_found", ""),
        (get("/products/one"), 400, "unreadable", ""),
        (get("/products?sort=sideways"), 400, "unreadable", ""),
        (get("/products?page=0"), 422, "invalid", "page"),
        (get("/orders?per_page=1000"), 422, "invalid", "per_page"),
        (get("/reports/sales?from=yesterday"), 422, "invalid", "from"),
        (get("/reports/sales?from=2026-02-02&to=2026-02-01"), 422, "invalid", "to"),
        (post("/products", json!({ "sku": "x" })), 422, "unreadable", ""),
        (post("/products", product("", -1, 5)), 422, "invalid", "price_cents"),
        (post("/products", product("Sencha", 1, 1)), 409, "conflict", ""),
        (post("/customers", json!({ "name": "Eve", "email": "nowhere" })), 422, "invalid", "email"),
        (post("/customers", json!({ "name": "Eve", "email": "ADA@example.org" })), 409, "conflict", ""),
        (post("/orders", order(ada, &[])), 422, "invalid", "items"),
        (post("/orders", order(ada, &[(sencha, 1), (sencha, 1)])), 422, "invalid", "items"),
        (post("/orders", order(ada, &[(sencha, 0)])), 422, "invalid", "items"),
        (post("/orders", order(ada, &[(99, 1)])), 422, "invalid", "items"),
        (post("/orders", order(99, &[(sencha, 1)])), 422, "invalid", "customer_id"),
    ];
    for ((method, path, body), status, code, field) in cases {
        let (got, answer) = shop.send(method, &path, body).await;
        assert_eq!((got.as_u16(), &answer["error"]["code"]), (status, &json!(code)), "{path}: {answer}");
        assert!(answer["error"]["message"].as_str().is_some_and(|message| !message.is_empty()), "{path}: {answer}");
        if !field.is_empty() {
            assert!(answer["error"]["fields"][field].is_string(), "{path}: {answer}");
        }
    }
    assert_eq!(shop.get("/orders").await["total"], 0);
    assert_eq!(shop.get("/products").await["total"], 1);
}

#[tokio::test]
async fn the_last_piece_is_sold_once() {
    let shop = Shop::open().await;
    let (pot, ada) = (shop.product("Pot", 4900, 3).await, shop.customer("Ada").await);
    let one = [(pot, 1)];
    let rush = futures::future::join_all((0..12).map(|_| shop.order(ada, &one))).await;
    let count = |wanted: StatusCode| rush.iter().filter(|(status, _)| *status == wanted).count();
    assert_eq!((count(StatusCode::CREATED), count(StatusCode::CONFLICT)), (3, 9), "{rush:?}");
    let detail = shop.get(&format!("/products/{pot}")).await;
    assert_eq!((&detail["stock"], &detail["units_sold"]), (&json!(0), &json!(3)));
}

#[tokio::test]
async fn what_was_sold_is_there_after_opening_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.db");
    for sold in 0..2 {
        let pool = db::open(&file).await.unwrap();
        let orders: i64 = sqlx::query_scalar("SELECT count(*) FROM orders").fetch_one(&pool).await.unwrap();
        assert_eq!(orders, sold * 2);
        if sold == 0 {
            sqlx::raw_sql(include_str!("sample.sql")).execute(&pool).await.unwrap();
        }
        pool.close().await;
    }
}
