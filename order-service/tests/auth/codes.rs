//! Every error that the documents promise comes up, for each operation and in both languages. What a test cannot bring
//! about has no place in a document; what is answered and not documented fails in [`conformance::send`].

use anyhow::{Context, Result, ensure};
use conformance::{Operation, documents, unseen};
use devstack::proxy::Fault;
use devstack::wait_for;
use futures_util::future::try_join_all;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio_postgres::{Client, NoTls};

use crate::shop::{ADMIN, CUSTOMER, PATIENCE, Reply, SERVICE, Shop};

/// An id that nothing has.
const NOWHERE: i64 = 987_654_321;

#[tokio::test(flavor = "multi_thread")]
async fn every_documented_error_comes_up_in_both_languages() -> Result<()> {
    let shop = Shop::open(&[
        ("HOTSTOCK__ORDERS__VIEWERS_MAX", "1"),
        ("HOTSTOCK__DATABASE__LOCK_TIMEOUT_MS", "1000"),
    ])
    .await?;
    let hot = shop.stocked(5).await?;
    let tour = Tour::of(shop, hot).await?;
    tour.of_callers().await?;
    tour.of_values().await?;
    tour.of_products().await?;
    tour.of_decreases().await?;
    tour.of_orders().await?;
    tour.of_ways().await?;
    tour.shop.settled(tour.hot).await?;
    tour.of_states().await?;
    // From here on nothing works any more.
    tour.of_databases_that_are_late().await?;
    tour.of_databases_that_refuse().await?;
    impatient().await?;
    let unseen = unseen();
    assert!(
        unseen.is_empty(),
        "documented, and never seen:\n{}",
        unseen.join("\n")
    );
    Ok(())
}

struct Tour {
    shop: Shop,
    /// A hot product.
    hot: i64,
    products: Client,
    orders: Client,
}

/// A client may ask once a second.
async fn impatient() -> Result<()> {
    let shop = Shop::open(&[
        ("HOTSTOCK__SERVER__LIMITS__REQUESTS_PER_S", "1"),
        ("HOTSTOCK__SERVER__LIMITS__BURST", "1"),
    ])
    .await?;
    let tour = Tour::of(shop, NOWHERE).await?;
    let all = tour.all();
    let limited = all
        .iter()
        .filter(|(_, operation)| operation.codes().any(|code| code == "TOO_MANY_REQUESTS"));
    try_join_all(limited.map(|place| {
        wait_for("a refusal", PATIENCE, async || {
            let refused = provoke(tour.request(place, &NOWHERE.to_string()), "TOO_MANY_REQUESTS").await;
            refused.map_err(|error| format!("{error:#}"))
        })
    }))
    .await?;
    Ok(())
}

/// An operation, and where it is served.
type Place = (String, &'static Operation);

impl Tour {
    async fn of(shop: Shop, hot: i64) -> Result<Self> {
        Ok(Self {
            hot,
            orders: connect(&shop.orders_url).await?,
            products: connect(&shop.stack.database_url).await?,
            shop,
        })
    }

    fn all(&self) -> Vec<Place> {
        let base = |name: &str| match name {
            "product-service" => self.shop.product.url(),
            "product-service-admin" => self.shop.product.admin_url(),
            "order-service" => self.shop.order.url(),
            _ => self.shop.order.admin_url(),
        };
        let of = |document: &'static conformance::Document| {
            let operations = document.operations.iter();
            operations.map(|operation| (base(document.name), operation))
        };
        documents().iter().flat_map(of).collect()
    }

    fn operation(&self, id: &str) -> Place {
        let mut all = self.all().into_iter();
        all.find(|(_, operation)| operation.id == id)
            .unwrap_or_else(|| panic!("there is no operation {id}"))
    }

    /// A request that is in order, about this product, order or message, shown a key of a role that may.
    fn request(&self, place: &Place, id: &str) -> RequestBuilder {
        self.with_body(place, self.shown(place, id, key_for(place.1)))
    }

    /// The same without a body, with this key.
    fn shown(&self, (base, operation): &Place, id: &str, key: &str) -> RequestBuilder {
        let path = operation.path.replace("{id}", id);
        let request = self.shop.request(base, operation.method.clone(), &path, key);
        match operation.id.as_str() {
            "decreaseByOrder" => request.header("Idempotency-Key", "DEC-none"),
            "increaseByOrder" => request.header("Idempotency-Key", "INC-none"),
            "adjustStock" => request.header("Idempotency-Key", "ADJ-none"),
            _ => request,
        }
    }

    fn with_body(&self, (_, operation): &Place, request: RequestBuilder) -> RequestBuilder {
        match self.body(operation) {
            Value::Null => request,
            body => request.json(&body),
        }
    }

    fn body(&self, operation: &Operation) -> Value {
        match operation.id.as_str() {
            "createProduct" => json!({ "name": "a thing", "price": 4900, "stock": 3 }),
            "patchProduct" => json!({ "price": 5900 }),
            "decreaseByOrder" => json!({ "orderId": 1, "quantity": 1 }),
            "increaseByOrder" => json!({ "orderId": 1, "quantity": 1, "reason": "ORDER_FAILED" }),
            "adjustStock" => json!({ "delta": 1, "reason": "MANUAL" }),
            "placeOrder" | "placeOrderLater" => json!({ "productId": self.hot, "quantity": 1 }),
            _ => Value::Null,
        }
    }

    /// An operation with another body and key, which is refused.
    async fn refused(&self, id: &str, of: i64, body: &Value, key: &str, code: &str) -> Result<()> {
        let place = self.operation(id);
        let (base, operation) = &place;
        let path = operation.path.replace("{id}", &of.to_string());
        let request = self
            .shop
            .request(base, operation.method.clone(), &path, key_for(operation));
        let mut request = request.json(body);
        if !key.is_empty() {
            request = request.header("Idempotency-Key", key);
        }
        provoke(request, code).await
    }

    /// Nobody, somebody of another role, and a page of another site.
    async fn of_callers(&self) -> Result<()> {
        for place in &self.all() {
            let (base, operation) = place;
            let id = NOWHERE.to_string();
            let shown = |key: &str| self.with_body(place, self.shown(place, &id, key));
            for code in operation.codes() {
                match code {
                    "UNAUTHORIZED" => provoke(shown(""), code).await?,
                    "FORBIDDEN" if operation.method != Method::GET => {
                        let request = self.request(place, &id).header("Sec-Fetch-Site", "cross-site");
                        provoke(request, code).await?;
                    }
                    "FORBIDDEN" if operation.id == "listOrders" => {
                        let path = "/v1/orders?buyerId=bob";
                        provoke(self.shop.request(base, Method::GET, path, CUSTOMER), code).await?;
                    }
                    "FORBIDDEN" => provoke(shown(CUSTOMER), code).await?,
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Paths, queries and bodies that cannot be taken, and ids that nothing has.
    async fn of_values(&self) -> Result<()> {
        for place in &self.all() {
            let operation = place.1;
            let nowhere = NOWHERE.to_string();
            let typed = |kind: &'static str, body: String| {
                let request = self.shown(place, &nowhere, key_for(operation));
                request.header("Content-Type", kind).body(body)
            };
            for code in operation.codes() {
                let request = match code {
                    "VALIDATION_ERROR" if operation.path.contains("{id}") => self.request(place, "x"),
                    "VALIDATION_ERROR"
                        if operation.method == Method::GET || self.body(operation).is_null() =>
                    {
                        let query = match operation.id.as_str() {
                            "reconcileStock" => "dryRun=7",
                            letters if letters.ends_with("DeadLetters") => "limit=0",
                            _ => "page=-1",
                        };
                        let path = format!("{}?{query}", operation.path);
                        self.shop
                            .request(&place.0, operation.method.clone(), &path, ADMIN)
                    }
                    "VALIDATION_ERROR" => {
                        let mut body = self.body(operation);
                        body["price"] = json!(-1);
                        body["quantity"] = json!(-1);
                        let fields = body.as_object_mut().context("an object")?;
                        fields.remove(if operation.id == "createProduct" {
                            "quantity"
                        } else {
                            "price"
                        });
                        self.shown(place, "", key_for(operation)).json(&body)
                    }
                    "BAD_REQUEST" => typed("application/json", "{".to_owned()),
                    "PAYLOAD_TOO_LARGE" => typed("application/json", " ".repeat(20_000)),
                    "UNSUPPORTED_MEDIA_TYPE" => typed("text/plain", "{}".to_owned()),
                    "PRODUCT_NOT_FOUND" | "ORDER_NOT_FOUND" | "NOT_FOUND" => self.request(place, &nowhere),
                    _ => continue,
                };
                provoke(request, code).await?;
            }
        }
        Ok(())
    }

    /// Changed meanwhile, and less than nothing.
    async fn of_products(&self) -> Result<()> {
        for id in ["patchProduct", "discontinueProduct"] {
            let place = self.operation(id);
            let request = self.request(&place, &self.hot.to_string());
            provoke(request.header("If-Match", "\"77\""), "PRECONDITION_FAILED").await?;
        }
        let too_much = json!({ "delta": -100, "reason": "MANUAL" });
        self.refused("adjustStock", self.hot, &too_much, "ADJ-1", "INSUFFICIENT_STOCK")
            .await
    }

    /// What keeps an order from getting stock, and keys that were used before.
    async fn of_decreases(&self) -> Result<()> {
        let one = json!({ "orderId": 71, "quantity": 1 });
        let with = async |fields: Value| -> Result<i64> {
            let mut body = json!({ "name": "a thing", "price": 1, "stock": 1 });
            let all = body.as_object_mut().context("an object")?;
            all.extend(fields.as_object().context("an object")?.clone());
            let made = self
                .shop
                .product(Method::POST, "/v1/products", ADMIN, Some(&body))
                .await?;
            made.body["id"].as_i64().with_context(|| format!("{made:?}"))
        };
        let (early, few) = (
            with(json!({ "saleStartsAt": "2999-01-01T00:00:00Z" })).await?,
            with(json!({ "purchaseLimit": 1 })).await?,
        );
        let gone = with(json!({})).await?;
        let path = format!("/v1/products/{gone}");
        let discontinued = self.shop.product(Method::DELETE, &path, ADMIN, None).await?;
        ensure!(discontinued.status == 204, "{discontinued:?}");
        let void = json!({ "orderId": 72, "quantity": 1, "reason": "ORDER_FAILED" });
        let place = self.operation("increaseByOrder");
        let path = place.1.path.replace("{id}", &few.to_string());
        let voided = self.shop.request(&place.0, Method::PATCH, &path, SERVICE);
        let voided = Reply::to(voided.header("Idempotency-Key", "INC-72").json(&void)).await?;
        ensure!(voided.status == 200, "{voided:?}");

        let all = json!({ "orderId": 71, "quantity": 100 });
        let two = json!({ "orderId": 71, "quantity": 2, "buyerId": "ada" });
        let of_voided = json!({ "orderId": 72, "quantity": 1, "buyerId": "ada" });
        for (product, body, key, code) in [
            (self.hot, &all, "DEC-71", "INSUFFICIENT_STOCK"),
            (early, &one, "DEC-71", "SALE_NOT_OPEN"),
            (few, &two, "DEC-71", "PURCHASE_LIMIT_EXCEEDED"),
            (gone, &one, "DEC-71", "PRODUCT_DISCONTINUED"),
            (few, &of_voided, "DEC-72", "ORDER_VOIDED"),
            (self.hot, &one, "INC-72", "IDEMPOTENCY_KEY_REUSED"),
        ] {
            self.refused("decreaseByOrder", product, body, key, code).await?;
        }
        let other = json!({ "orderId": 73, "quantity": 1, "reason": "ORDER_FAILED" });
        self.refused("increaseByOrder", few, &other, "INC-72", "IDEMPOTENCY_KEY_REUSED")
            .await?;
        let adjust = json!({ "delta": 1, "reason": "MANUAL" });
        self.refused("adjustStock", few, &adjust, "INC-72", "IDEMPOTENCY_KEY_REUSED")
            .await
    }

    /// Keys that were used before, and a product that is sold out at the door.
    async fn of_orders(&self) -> Result<()> {
        let product = self.shop.stocked(1).await?;
        let one = json!({ "productId": product, "quantity": 1 });
        for (id, key) in [("placeOrder", "key-1"), ("placeOrderLater", "key-2")] {
            let place = self.operation(id);
            let request = self.request(&place, "").header("Idempotency-Key", key);
            let placed = Reply::to(request).await?;
            ensure!([201, 202].contains(&placed.status), "{placed:?}");
            self.shop.confirmed(&placed, ADMIN).await?;
            self.refused(
                id,
                0,
                &json!({ "productId": self.hot, "quantity": 2 }),
                key,
                "IDEMPOTENCY_KEY_REUSED",
            )
            .await?;
        }
        wait_for("the door to close", PATIENCE, async || {
            for id in ["placeOrder", "placeOrderLater"] {
                let closed = self.refused(id, 0, &one, "", "INSUFFICIENT_STOCK").await;
                closed.map_err(|error| format!("{error:#}"))?;
            }
            Ok(())
        })
        .await
    }

    /// Nobody answers: product-service to order-service, the broker to either.
    async fn of_ways(&self) -> Result<()> {
        let placed = Reply::to(self.request(&self.operation("placeOrder"), "")).await?;
        ensure!(placed.status == 201, "{placed:?}");
        self.shop.way.set(Fault::Refuse);
        provoke(
            self.request(&self.operation("placeOrder"), ""),
            "DEPENDENCY_FAILED",
        )
        .await?;
        let cancel = self.request(&self.operation("cancelOrder"), &placed.body["id"].to_string());
        provoke(cancel, "DEPENDENCY_FAILED").await?;
        self.shop.way.set(Fault::Pass);
        self.shop.way_to_broker.set(Fault::Refuse);
        let all = self.all();
        let of_letters = all
            .iter()
            .filter(|(_, operation)| operation.id.ends_with("DeadLetters"));
        try_join_all(of_letters.map(|place| provoke(self.request(place, ""), "RETRY_LATER"))).await?;
        self.shop.way_to_broker.set(Fault::Pass);
        Ok(())
    }

    /// An order that stays PENDING, which no step is about.
    async fn of_states(&self) -> Result<()> {
        let insert = "INSERT INTO orders (product_id, quantity, flow, idempotency_key) VALUES ($1::bigint, 1, 'SYNC', 'key-3') \
            RETURNING id";
        let row = self.orders.query_one(insert, &[&self.hot]).await?;
        let id: i64 = row.get(0);
        let one = json!({ "productId": self.hot, "quantity": 1 });
        self.refused("placeOrder", 0, &one, "key-3", "IDEMPOTENCY_IN_PROGRESS")
            .await?;
        for operation in ["cancelOrder", "cancelOrderLater", "retryOrder"] {
            provoke(
                self.request(&self.operation(operation), &id.to_string()),
                "INVALID_STATE",
            )
            .await?;
        }
        let message = self
            .orders
            .query_one("SELECT id FROM outbox WHERE status = 'SENT' LIMIT 1", &[])
            .await?;
        let message: i64 = message.get(0);
        let requeue = self.request(&self.operation("requeueMessage"), &message.to_string());
        provoke(requeue, "INVALID_STATE").await?;
        let watch = || self.request(&self.operation("orderEvents"), &id.to_string());
        let watching = watch().send().await?;
        provoke(watch(), "TOO_MANY_REQUESTS").await?;
        drop(watching);
        Ok(())
    }

    /// All operations that say so at once, about something that is there.
    async fn everything(&self, code: &'static str) -> Result<()> {
        let all = self.all();
        let concerned = all.iter().filter(|(_, operation)| {
            operation.codes().any(|known| known == code) && !operation.id.ends_with("DeadLetters")
        });
        try_join_all(concerned.map(|place| provoke(self.request(place, &self.hot.to_string()), code)))
            .await?;
        Ok(())
    }

    async fn of_databases_that_are_late(&self) -> Result<()> {
        self.products
            .batch_execute("BEGIN; LOCK TABLE products, stock_ledger, tombstones")
            .await?;
        self.orders
            .batch_execute("BEGIN; LOCK TABLE orders, saga, outbox")
            .await?;
        self.everything("RETRY_LATER").await?;
        self.products.batch_execute("ROLLBACK").await?;
        self.orders.batch_execute("ROLLBACK").await?;
        Ok(())
    }

    /// In the place of each table is a view that refuses whatever is asked, as if a rule of it were broken.
    async fn of_databases_that_refuse(&self) -> Result<()> {
        let refuses = "CREATE FUNCTION refuses() RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN \
            RAISE EXCEPTION 'refused' USING ERRCODE = 'not_null_violation'; END $$;";
        let hide = |tables: &[&str]| {
            let each = tables.iter().map(|table| {
                format!(
                    "ALTER TABLE {table} RENAME TO hidden_{table}; \
                     CREATE VIEW {table} AS SELECT * FROM hidden_{table} WHERE refuses() WITH CHECK OPTION;"
                )
            });
            format!("BEGIN; {refuses} {} COMMIT", each.collect::<String>())
        };
        self.products
            .batch_execute(&hide(&["products", "stock_ledger"]))
            .await?;
        self.orders
            .batch_execute(&hide(&["orders", "saga", "outbox"]))
            .await?;
        self.everything("INTERNAL_ERROR").await
    }
}

/// A key of a role that may.
fn key_for(operation: &Operation) -> &'static str {
    let roles = operation.description["security"][0]["bearer"].as_array();
    let may = |role: &str| roles.is_some_and(|roles| roles.contains(&json!(role)));
    match roles {
        None => "",
        Some(_) if may("admin") => ADMIN,
        Some(_) => SERVICE,
    }
}

/// Asks in both languages at once; the answers have to be this refusal.
async fn provoke(request: RequestBuilder, code: &str) -> Result<()> {
    let ask = async |language: &str| {
        let request = request.try_clone().context("a body that is there")?;
        let what = format!("{request:?}");
        let answer = conformance::send(request.header("Accept-Language", language)).await?;
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        ensure!(body["error"] == code, "not {code}: {what} {answer:?}");
        Ok(())
    };
    try_join_all(conformance::LANGUAGES.map(ask)).await?;
    Ok(())
}

async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}
