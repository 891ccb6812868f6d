//! What one can ask of the shop and do in it, the same straight through sqlx and through Larder.
//!
//! In: a question or a change. Out: the answer, decoded into the structs of an application.
//! It never knows which of the two it speaks to: one macro writes the same code for every pool, since a pool is all that
//! differs.

use std::future::Future;

use super::schema::{self, BestSeller, Customer, OrderLine, Product, Related, Revenue, Review, Stock};

/// A read, with the row it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Question {
    Customer(i32),
    Product(i32),
    Stock(i32),
    /// An order with its lines and their products.
    Order(i32),
    /// The newest reviews of a product.
    Reviews(i32),
    /// Popular products of the same category.
    Related(i32),
    /// Of a category.
    BestSellers(i32),
    /// Per month, since a month.
    Revenue,
}

/// What a [`Question`] is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Customer(Option<Customer>),
    Product(Option<Product>),
    Stock(Option<Stock>),
    Order(Vec<OrderLine>),
    Reviews(Vec<Review>),
    Related(Vec<Related>),
    BestSellers(Vec<BestSeller>),
    Revenue(Vec<Revenue>),
}

/// A write.
#[derive(Debug, Clone)]
pub enum Change {
    /// A transaction of four statements: the order, its lines, and the stock of each product.
    Order {
        id: i32,
        customer: i32,
        month: i32,
        lines: [Line; 2],
    },
    Restock {
        product: i32,
        quantity: i32,
    },
    Review {
        id: i32,
        product: i32,
        customer: i32,
        stars: i32,
        body: String,
    },
    Price {
        product: i32,
        price_cents: i32,
    },
    Move {
        customer: i32,
        city: &'static str,
    },
}

/// A line of a new order.
#[derive(Debug, Clone, Copy)]
pub struct Line {
    pub product: i32,
    pub quantity: i32,
    pub price_cents: i32,
}

/// A pool that leads to the shop's database.
pub trait Shop: Clone + Send + Sync + 'static {
    /// Reads.
    fn ask(&self, question: Question) -> impl Future<Output = sqlx::Result<Answer>> + Send;
    /// Writes. When it returns, the change is committed.
    fn change(&self, change: &Change) -> impl Future<Output = sqlx::Result<()>> + Send;
    /// Closes the connections.
    fn close(&self) -> impl Future<Output = ()> + Send;
}

macro_rules! shop {
    ($pool:ty, $($schema:ident)::+) => {
        impl Shop for $pool {
            async fn ask(&self, question: Question) -> sqlx::Result<Answer> {
                Ok(match question {
                    Question::Customer(id) => {
                        Answer::Customer(sqlx::query_as($($schema)::+::CUSTOMER).bind(id).fetch_optional(self).await?)
                    }
                    Question::Product(id) => {
                        Answer::Product(sqlx::query_as($($schema)::+::PRODUCT).bind(id).fetch_optional(self).await?)
                    }
                    Question::Stock(id) => {
                        Answer::Stock(sqlx::query_as($($schema)::+::STOCK).bind(id).fetch_optional(self).await?)
                    }
                    Question::Order(id) => Answer::Order(sqlx::query_as($($schema)::+::ORDER).bind(id).fetch_all(self).await?),
                    Question::Reviews(product) => {
                        Answer::Reviews(sqlx::query_as($($schema)::+::REVIEWS).bind(product).fetch_all(self).await?)
                    }
                    Question::Related(product) => {
                        Answer::Related(sqlx::query_as($($schema)::+::RELATED).bind(product).fetch_all(self).await?)
                    }
                    Question::BestSellers(category) => {
                        Answer::BestSellers(sqlx::query_as($($schema)::+::BEST_SELLERS).bind(category).fetch_all(self).await?)
                    }
                    Question::Revenue => Answer::Revenue(sqlx::query_as($($schema)::+::REVENUE).fetch_all(self).await?),
                })
            }

            async fn change(&self, change: &Change) -> sqlx::Result<()> {
                match change {
                    Change::Order { id, customer, month, lines: [a, b] } => {
                        let total = a.quantity * a.price_cents + b.quantity * b.price_cents;
                        let mut tx = self.begin().await?;
                        let order = sqlx::query($($schema)::+::ADD_ORDER).bind(id).bind(customer).bind(month).bind(total);
                        order.execute(&mut *tx).await?;
                        let lines = sqlx::query($($schema)::+::ADD_LINES).bind(id);
                        let lines = lines.bind(a.product).bind(a.quantity).bind(a.price_cents).bind(id);
                        let lines = lines.bind(b.product).bind(b.quantity).bind(b.price_cents);
                        lines.execute(&mut *tx).await?;
                        for line in [a, b] {
                            let take = sqlx::query($($schema)::+::TAKE_STOCK).bind(line.quantity).bind(line.product);
                            take.execute(&mut *tx).await?;
                        }
                        return tx.commit().await;
                    }
                    Change::Restock { product, quantity } => {
                        sqlx::query($($schema)::+::RESTOCK).bind(quantity).bind(product).execute(self).await?
                    }
                    Change::Review { id, product, customer, stars, body } => {
                        let review = sqlx::query($($schema)::+::ADD_REVIEW).bind(id).bind(product).bind(customer);
                        review.bind(stars).bind(body).execute(self).await?
                    }
                    Change::Price { product, price_cents } => {
                        sqlx::query($($schema)::+::SET_PRICE).bind(price_cents).bind(product).execute(self).await?
                    }
                    Change::Move { customer, city } => {
                        sqlx::query($($schema)::+::SET_CITY).bind(*city).bind(customer).execute(self).await?
                    }
                };
                Ok(())
            }

            async fn close(&self) {
                <$pool>::close(self).await;
            }
        }
    };
}

shop!(sqlx::PgPool, schema);
shop!(sqlx::MySqlPool, schema::mysql);
shop!(sqlx::SqlitePool, schema);
shop!(crate::PgPool, schema);
shop!(crate::MySqlPool, schema::mysql);
shop!(crate::SqlitePool, schema);
