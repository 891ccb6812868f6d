//! The shop on Larder: pages asked for again cost the database nothing, and no answer is older than the writes before it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::tests::{Shop, product};

#[tokio::test]
async fn the_second_look_at_a_page_is_free() {
    let shop = Shop::open().await;
    let (sencha, ada) = (shop.product("Sencha", 1150, 50).await, shop.customer("Ada").await);
    shop.order(ada, &[(sencha, 1)]).await;
    let pages = [
        "/products",
        "/products?search=sen&in_stock=true&sort=dearest",
        "/products/1",
        "/categories",
        "/customers",
        "/customers/1",
        "/orders",
        "/orders?status=placed",
        "/orders/1",
        "/reports/sales",
    ];
    for page in pages {
        let first = shop.get(page).await;
        let before = shop.pool.stats();
        assert_eq!(shop.get(page).await, first);
        let after = shop.pool.stats();
        assert!(after.hits > before.hits, "{page}: {after}");
        assert_eq!((after.misses, after.bypasses), (before.misses, before.bypasses), "{page}: {after}");
    }
    // A price changes nothing about the customers: their list is still a hit.
    let before = shop.pool.stats();
    let (status, _) = shop.send(Method::PUT, "/products/1", Some(product("Sencha", 990, 49))).await;
    assert_eq!(status, StatusCode::OK);
    shop.get("/customers").await;
    assert_eq!(shop.pool.stats().misses, before.misses, "{}", shop.pool.stats());
    assert_eq!(shop.get("/products").await["items"][0]["price_cents"], 990);
}

/// A number that only grows: what was sent, and what was answered.
#[derive(Default)]
struct Growing {
    sent: AtomicI64,
    answered: AtomicI64,
}

impl Growing {
    /// Sends the next number, and waits until it is answered.
    async fn raise<T>(&self, by: i64, request: impl Future<Output = T>) -> T {
        self.sent.fetch_add(by, SeqCst);
        let answer = request.await;
        self.answered.fetch_add(by, SeqCst);
        answer
    }

    /// What a request that begins now may be told at least.
    fn least(&self) -> i64 {
        self.answered.load(SeqCst)
    }

    /// What a request that has just ended may have been told at most.
    fn most(&self) -> i64 {
        self.sent.load(SeqCst)
    }
}

/// What the writers did, for the readers to compare with.
#[derive(Default)]
struct Model {
    /// The prices of products 1, 2, 3, each with a writer of its own.
    prices: [Growing; 3],
    placed: Growing,
    cancelled: Growing,
    created: Growing,
    deleted: Growing,
}

/// Pieces of product 4 that are in stock or sold.
const PIECES: i64 = 100;

/// Writers change prices, create and delete products, place and cancel orders, and ask for what they wrote at once.
/// Readers ask for anything meanwhile. Every answer must lie between what was answered before it was asked for and what was
/// sent before it came.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_is_one_that_may_be_true() {
    let seed = rand::random::<u64>();
    println!("seed {seed}");
    let shop = Arc::new(Shop::open().await);
    let model = Arc::new(Model::default());
    for (name, price) in ["Assam", "Sencha", "Matcha"].into_iter().zip(&model.prices) {
        price.raise(1, shop.product(name, 1, 5)).await;
    }
    assert_eq!(shop.product("Pot", 1_000_000, PIECES).await, 4);
    let ada = shop.customer("Ada").await;

    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..model.prices.len() {
        tasks.spawn(change_prices(shop.clone(), model.clone(), writer));
    }
    tasks.spawn(create_and_delete(shop.clone(), model.clone()));
    for _ in 0..2 {
        tasks.spawn(order_and_cancel(shop.clone(), model.clone(), ada));
    }
    for reader in 0..6 {
        tasks.spawn(read(shop.clone(), model.clone(), StdRng::seed_from_u64(seed.wrapping_add(reader))));
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    let stats = shop.pool.stats();
    assert!(stats.hits + stats.coalesced > 50, "{stats}");
    assert!(stats.invalidations > 100, "{stats}");
}

async fn change_prices(shop: Arc<Shop>, model: Arc<Model>, writer: usize) {
    let name = ["Assam", "Sencha", "Matcha"][writer];
    let path = format!("/products/{}", writer + 1);
    for price in 2..=30 {
        let change = shop.send(Method::PUT, &path, Some(product(name, price, 5)));
        let (status, updated) = model.prices[writer].raise(1, change).await;
        assert_eq!(status, StatusCode::OK, "{updated}");
        assert_eq!(shop.get(&path).await["price_cents"], price);
    }
}

async fn create_and_delete(shop: Arc<Shop>, model: Arc<Model>) {
    for round in 0..15 {
        let name = format!("Blend {round}");
        let id = model.created.raise(1, shop.product(&name, 2_000_000, 1)).await;
        let path = format!("/products/{id}");
        assert_eq!(shop.get(&path).await["name"], name);
        let (status, _) = model.deleted.raise(1, shop.send(Method::DELETE, &path, None)).await;
        assert_eq!(status, StatusCode::NO_CONTENT);
        assert_eq!(shop.send(Method::GET, &path, None).await.0, StatusCode::NOT_FOUND);
    }
}

async fn order_and_cancel(shop: Arc<Shop>, model: Arc<Model>, customer: i64) {
    for _ in 0..15 {
        let (status, order) = model.placed.raise(1, shop.order(customer, &[(4, 2)])).await;
        assert_eq!(status, StatusCode::CREATED, "{order}");
        let path = format!("/orders/{}", order["id"]);
        assert_eq!(shop.get(&path).await["status"], "placed");
        let (status, _) = model.cancelled.raise(1, shop.post(&format!("{path}/cancel"), json!({}))).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(shop.get(&path).await["status"], "cancelled");
    }
}

async fn read(shop: Arc<Shop>, model: Arc<Model>, mut random: StdRng) {
    let within = |what: &str, least: i64, told: &Value, most: i64| {
        let told = told.as_i64().unwrap_or_else(|| panic!("{what}: {told}"));
        assert!(least <= told && told <= most, "{what}: was told {told}, expected {least} to {most}");
    };
    for _ in 0..60 {
        let least: Vec<i64> = model.prices.iter().map(Growing::least).collect();
        let (placed, cancelled) = (model.placed.least(), model.cancelled.least());
        let (created, deleted) = (model.created.least(), model.deleted.least());
        match random.random_range(0..6) {
            0 => {
                let product = random.random_range(0..3);
                let told = shop.get(&format!("/products/{}", product + 1)).await;
                within("price", least[product], &told["price_cents"], model.prices[product].most());
            }
            1 => {
                // The three are the cheapest, in whatever order.
                let told = shop.get("/products?sort=cheapest&per_page=3").await;
                for item in told["items"].as_array().unwrap() {
                    let product = item["id"].as_u64().unwrap() as usize - 1;
                    within("listed price", least[product], &item["price_cents"], model.prices[product].most());
                }
                within(
                    "products",
                    4 + created - model.deleted.most(),
                    &told["total"],
                    4 + model.created.most() - deleted,
                );
            }
            2 => {
                let told = &shop.get("/categories").await[0];
                let most = model.prices.iter().map(Growing::most).min().unwrap();
                within("cheapest", *least.iter().min().unwrap(), &told["cheapest_cents"], most);
            }
            3 => {
                // One query tells both: they must come from one moment.
                let told = shop.get("/products/4").await;
                let (stock, sold) = (told["stock"].as_i64().unwrap(), told["units_sold"].as_i64().unwrap());
                assert_eq!(stock + sold, PIECES, "{told}");
                within(
                    "sold",
                    2 * (placed - model.cancelled.most()),
                    &json!(sold),
                    2 * (model.placed.most() - cancelled),
                );
            }
            4 => {
                let told = shop.get("/orders?per_page=5").await;
                within("orders", placed, &told["total"], model.placed.most());
            }
            _ => {
                let told = shop.get("/reports/sales").await;
                let (least, most) = (placed - model.cancelled.most(), model.placed.most() - cancelled);
                within("orders reported", least, &told["orders"], most);
            }
        }
    }
}
