//! Products: creating, reading, changing and discontinuing them.

use futures_util::future::try_join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::fixture::{DB_ONLY, REDIS_FIRST, Reply, STRATEGIES, Shop, TestResult, new_order};

#[tokio::test]
async fn a_created_product_is_found_where_location_says() -> TestResult {
    let shop = Shop::shared().await?;
    let body = json!({
        "name": "Limited edition", "price": 4900, "stock": 100, "stockStrategy": "REDIS_FIRST", "purchaseLimit": 2,
        "saleStartsAt": "2020-01-01T00:00:00Z", "saleEndsAt": "2999-01-01T00:00:00Z",
    });
    let created = shop.create(&body).await?;
    assert_eq!(created.status, 201, "{created:?}");
    let id = created.body["id"].as_i64().unwrap();
    assert_eq!(created.header("Location"), format!("/v1/products/{id}"));
    for (field, value) in body.as_object().unwrap() {
        assert_eq!(created.body[field], *value, "{field}");
    }
    let found = shop.get(created.header("Location")).await?;
    assert_eq!((found.status, &found.body), (200, &created.body));
    shop.balanced(id).await?;
    Ok(())
}

#[tokio::test]
async fn what_is_not_given_has_its_default() -> TestResult {
    let shop = Shop::shared().await?;
    let created = shop
        .create(&json!({ "name": "b", "price": 0, "stock": 0 }))
        .await?;
    assert_eq!(created.status, 201, "{created:?}");
    let product = created.body.as_object().unwrap();
    for (field, value) in [
        ("status", json!("ACTIVE")),
        ("stockStrategy", json!("DB_ONLY")),
        ("stock", json!(0)),
        ("stockVersion", json!(0)),
        ("purchaseLimit", Value::Null),
        ("saleStartsAt", Value::Null),
        ("saleEndsAt", Value::Null),
    ] {
        assert_eq!(product.get(field), Some(&value), "{field}");
    }
    assert_eq!(product["createdAt"], product["updatedAt"]);
    let books = shop.balanced(created.body["id"].as_i64().unwrap()).await?;
    assert_eq!(books.movements, 0, "no stock, no movement");
    Ok(())
}

#[tokio::test]
async fn a_product_may_have_the_most_of_everything() -> TestResult {
    let shop = Shop::shared().await?;
    let body = json!({
        "name": "가".repeat(200), "price": 1_000_000_000_000_000_i64, "stock": 1_000_000_000_000_i64,
        "stockStrategy": "REDIS_FIRST", "purchaseLimit": 1_000_000,
    });
    let created = shop.create(&body).await?;
    assert_eq!(created.status, 201, "{created:?}");
    let id = created.body["id"].as_i64().unwrap();
    assert_eq!(shop.counter(id).await?, Some(1_000_000_000_000));
    shop.balanced(id).await?;
    Ok(())
}

/// A valid body with some fields changed, as JSON text.
fn product_but(field: &str, value: &str) -> String {
    let mut fields = vec![("name", "\"x\""), ("price", "1"), ("stock", "1")];
    fields.retain(|(name, _)| *name != field);
    fields.push((field, value));
    let fields: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("\"{name}\":{value}"))
        .collect();
    format!("{{{}}}", fields.join(","))
}

async fn create_text(shop: &Shop, body: String) -> anyhow::Result<Reply> {
    let request = shop.ask(Method::POST, "/v1/products");
    Reply::to(request.header("Content-Type", "application/json").body(body)).await
}

#[tokio::test]
async fn a_field_outside_its_range_is_a_validation_error() -> TestResult {
    let shop = Shop::shared().await?;
    let long = format!("\"{}\"", "x".repeat(201));
    for (field, value) in [
        ("name", "\"\""),
        ("name", "\"  \""),
        ("name", "\"a\\u0000b\""),
        ("name", "\"a\\nb\""),
        ("name", "\"a\\u007fb\""),
        ("name", long.as_str()),
        ("price", "-1"),
        ("price", "1000000000000001"),
        ("stock", "-1"),
        ("stock", "1000000000001"),
        ("purchaseLimit", "0"),
        ("purchaseLimit", "-1"),
        ("purchaseLimit", "1000001"),
    ] {
        let reply = create_text(&shop, product_but(field, value)).await?;
        let message = reply.body["message"].as_str().unwrap_or_default().to_owned();
        reply.refused(400, "VALIDATION_ERROR");
        assert!(message.contains(field), "{field} {value}: {message}");
    }
    Ok(())
}

#[tokio::test]
async fn a_field_of_the_wrong_type_is_a_bad_request() -> TestResult {
    let shop = Shop::shared().await?;
    for (field, value) in [
        ("name", "null"),
        ("name", "7"),
        ("name", "[\"x\"]"),
        ("name", "\"\\ud800\""),
        ("price", "null"),
        ("price", "\"1\""),
        ("price", "1.5"),
        ("price", "1e2"),
        ("price", "9223372036854775808"),
        ("price", "true"),
        ("stock", "null"),
        ("stock", "9223372036854775808"),
        ("stock", "1e400"),
        ("stock", "1.0"),
        ("stockStrategy", "\"redis_first\""),
        ("stockStrategy", "1"),
        ("purchaseLimit", "\"2\""),
        ("purchaseLimit", "9223372036854775808"),
        ("saleStartsAt", "\"tomorrow\""),
        ("saleStartsAt", "1700000000"),
        ("saleEndsAt", "\"2024-02-30T00:00:00Z\""),
        ("saleEndsAt", "\"2024-02-01\""),
        ("status", "\"ACTIVE\""),
        ("id", "7"),
        ("colour", "\"red\""),
    ] {
        let reply = create_text(&shop, product_but(field, value)).await?;
        reply.refused(400, "BAD_REQUEST");
    }
    for body in [
        r#"{"name":"x","name":"y","price":1,"stock":1}"#,
        r#"{"name":"x","price":1}"#,
        r#"{"name":"x","price":1,"stock":1"#,
        r#"{"name":"x","price":1,"stock":1}}"#,
        r#"["x",1,1,null,null,null,null]"#,
        "[]",
        "null",
        "\"x\"",
        "{}",
        "not JSON",
        "\u{feff}{}",
    ] {
        create_text(&shop, body.to_owned())
            .await?
            .refused(400, "BAD_REQUEST");
    }
    Ok(())
}

#[tokio::test]
async fn a_sale_ends_after_it_starts() -> TestResult {
    let shop = Shop::shared().await?;
    for (starts_at, ends_at) in [
        ("2030-01-02T00:00:00Z", "2030-01-01T00:00:00Z"),
        ("2030-01-01T00:00:00Z", "2030-01-01T00:00:00Z"),
        ("2030-01-01T09:00:00+09:00", "2030-01-01T00:00:00Z"),
        // The same microsecond, which is as finely as the database stores it.
        ("2030-01-01T00:00:00.0000001Z", "2030-01-01T00:00:00.0000002Z"),
    ] {
        let body =
            json!({ "name": "x", "price": 1, "stock": 1, "saleStartsAt": starts_at, "saleEndsAt": ends_at });
        shop.create(&body).await?.refused(400, "VALIDATION_ERROR");
    }
    let product = shop
        .product_with(DB_ONLY, 1, &json!({ "saleStartsAt": "2030-01-01T00:00:00Z" }))
        .await?;
    let end = json!({ "saleEndsAt": "2029-01-01T00:00:00Z" });
    shop.patch(product, &end).await?.refused(400, "VALIDATION_ERROR");
    assert_eq!(shop.view(product).await?["saleEndsAt"], Value::Null);
    Ok(())
}

#[tokio::test]
async fn a_moment_the_database_cannot_store_is_no_fault_of_ours() -> TestResult {
    let shop = Shop::shared().await?;
    for moment in [
        "-5000-01-01T00:00:00Z",
        "+262142-01-01T00:00:00Z",
        "-262143-01-01T00:00:00Z",
    ] {
        let body = json!({ "name": "x", "price": 1, "stock": 1, "saleStartsAt": moment });
        let created = shop.create(&body).await?;
        assert!(created.status < 500, "{moment}: {created:?}");
        let product = shop.product(DB_ONLY, 1).await?;
        let patched = shop.patch(product, &json!({ "saleStartsAt": moment })).await?;
        assert!(patched.status < 500, "{moment}: {patched:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_patch_writes_only_what_it_names() -> TestResult {
    let shop = Shop::shared().await?;
    let limits = json!({
        "purchaseLimit": 2, "saleStartsAt": "2020-01-01T00:00:00Z", "saleEndsAt": "2999-01-01T00:00:00Z",
    });
    let product = shop.product_with(DB_ONLY, 5, &limits).await?;
    let mut expected = shop.view(product).await?;
    for change in [
        json!({ "name": "another" }),
        json!({ "price": 1 }),
        json!({ "status": "DISCONTINUED" }),
        json!({ "status": "ACTIVE", "price": 2 }),
        json!({ "purchaseLimit": null }),
        json!({ "saleStartsAt": null }),
        json!({ "saleEndsAt": null }),
        json!({ "purchaseLimit": 7, "saleEndsAt": "2998-01-01T00:00:00Z" }),
        json!({}),
    ] {
        let patched = shop.patch(product, &change).await?;
        assert_eq!(patched.status, 200, "{patched:?}");
        expected
            .as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        expected["updatedAt"] = patched.body["updatedAt"].clone();
        expected["version"] = json!(expected["version"].as_i64().unwrap() + 1);
        assert_eq!(patched.body, expected, "after {change}");
        assert_eq!(shop.view(product).await?, expected, "after {change}");
    }
    shop.balanced(product).await?;
    Ok(())
}

#[tokio::test]
async fn a_patch_cannot_touch_what_is_not_its_business() -> TestResult {
    let shop = Shop::shared().await?;
    let product = shop.product(DB_ONLY, 5).await?;
    let before = shop.view(product).await?;
    for (change, error) in [
        (json!({ "stock": 9 }), "BAD_REQUEST"),
        (json!({ "stockVersion": 9 }), "BAD_REQUEST"),
        (json!({ "stockStrategy": "REDIS_FIRST" }), "BAD_REQUEST"),
        (json!({ "id": 1 }), "BAD_REQUEST"),
        (json!({ "createdAt": "2020-01-01T00:00:00Z" }), "BAD_REQUEST"),
        (json!({ "name": null }), "BAD_REQUEST"),
        (json!({ "price": null }), "BAD_REQUEST"),
        (json!({ "status": null }), "BAD_REQUEST"),
        (json!({ "status": "SOLD" }), "BAD_REQUEST"),
        (json!({ "price": 1.5 }), "BAD_REQUEST"),
        (json!([]), "BAD_REQUEST"),
        (json!(["another"]), "BAD_REQUEST"),
        (json!({ "name": " " }), "VALIDATION_ERROR"),
        (json!({ "price": -1 }), "VALIDATION_ERROR"),
        (json!({ "purchaseLimit": 0 }), "VALIDATION_ERROR"),
    ] {
        shop.patch(product, &change).await?.refused(400, error);
    }
    assert_eq!(shop.view(product).await?, before);
    Ok(())
}

#[tokio::test]
async fn a_product_that_is_not_there_is_not_found() -> TestResult {
    let shop = Shop::shared().await?;
    for id in ["0", "-1", "999999999", "9223372036854775807"] {
        let path = format!("/v1/products/{id}");
        shop.get(&path).await?.refused(404, "PRODUCT_NOT_FOUND");
        let patch = shop.ask(Method::PATCH, &path).json(&json!({ "name": "x" }));
        Reply::to(patch).await?.refused(404, "PRODUCT_NOT_FOUND");
        Reply::to(shop.ask(Method::DELETE, &path))
            .await?
            .refused(404, "PRODUCT_NOT_FOUND");
    }
    for id in ["x", "1.0", "9223372036854775808", "%00", "1%20"] {
        let reply = shop.get(&format!("/v1/products/{id}")).await?;
        reply.refused(400, "VALIDATION_ERROR");
    }
    Ok(())
}

#[tokio::test]
async fn the_paths_without_version_are_the_same() -> TestResult {
    let shop = Shop::shared().await?;
    let body = json!({ "name": "x", "price": 1, "stock": 3 });
    let created = Reply::to(shop.ask(Method::POST, "/products").json(&body)).await?;
    assert_eq!(created.status, 201, "{created:?}");
    let id = created.body["id"].as_i64().unwrap();
    assert_eq!(
        shop.get(&format!("/products/{id}")).await?.body,
        shop.view(id).await?
    );
    let order = new_order();
    let path = format!("/products/{id}/stock/decrease-by-order");
    let decrease = || {
        shop.ask(Method::PATCH, &path)
            .header("Idempotency-Key", format!("DEC-{order}"))
            .json(&json!({ "orderId": order, "quantity": 1 }))
    };
    assert_eq!(Reply::to(decrease()).await?.remaining(), 2);
    assert!(
        shop.take(id, order, 1).await?.is_replay(),
        "one effect over both paths"
    );
    let movements = shop.get(&format!("/products/{id}/stock/movements")).await?;
    assert_eq!(movements.body["totalElements"], 2);
    let deleted = Reply::to(shop.ask(Method::DELETE, &format!("/products/{id}"))).await?;
    assert_eq!(deleted.status, 204);
    shop.balanced(id).await?;
    Ok(())
}

#[tokio::test]
async fn mistake_discontinued_product_sold() -> TestResult {
    let shop = Shop::shared().await?;
    for strategy in STRATEGIES {
        let product = shop.product(strategy, 5).await?;
        let order = new_order();
        assert_eq!(shop.take(product, order, 2).await?.remaining(), 3);
        let path = format!("/v1/products/{product}");
        for _ in 0..2 {
            let deleted = Reply::to(shop.ask(Method::DELETE, &path)).await?;
            assert_eq!((deleted.status, &deleted.body), (204, &Value::Null));
        }
        assert_eq!(
            shop.view(product).await?["status"],
            "DISCONTINUED",
            "the row stays"
        );

        let refused = shop.take(product, new_order(), 1).await?;
        assert_eq!(refused.refused(400, "PRODUCT_DISCONTINUED")["productId"], product);
        assert!(
            shop.take(product, order, 2).await?.is_replay(),
            "what was sold stays sold"
        );
        assert_eq!(
            shop.give_back(product, order, 2).await?.remaining(),
            5,
            "and can be cancelled"
        );
        shop.take(product, new_order(), 1)
            .await?
            .refused(400, "PRODUCT_DISCONTINUED");

        let back = shop.patch(product, &json!({ "status": "ACTIVE" })).await?;
        assert_eq!(back.status, 200);
        assert_eq!(shop.take(product, new_order(), 1).await?.remaining(), 4);
        shop.balanced(product).await?;
    }
    Ok(())
}

/// More at once than there are connections to Redis: those who wait for their gate leave some to whoever opens it.
#[tokio::test]
async fn hot_products_created_at_once_are_all_loaded_at_once() -> TestResult {
    let shop = Shop::alone().await?;
    let products = try_join_all((0..64).map(|_| shop.product(REDIS_FIRST, 10))).await?;
    for product in products {
        assert_eq!(shop.counter(product).await?, Some(10));
    }
    Ok(())
}

#[tokio::test]
async fn a_change_of_what_the_client_has_not_seen_is_refused() -> TestResult {
    let shop = Shop::shared().await?;
    for strategy in STRATEGIES {
        let product = shop.product(strategy, 10).await?;
        let path = format!("/v1/products/{product}");
        let change = |tag: &str, name: &str| {
            let change = shop.ask(Method::PATCH, &path).header("If-Match", tag);
            Reply::to(change.json(&json!({ "name": name })))
        };
        let seen = shop.get(&path).await?;
        assert_eq!(seen.header("ETag"), "\"1\"");
        // A sale is no change of the product.
        shop.take(product, new_order(), 1).await?.remaining();
        assert_eq!(shop.get(&path).await?.header("ETag"), "\"1\"");
        let first = change(seen.header("ETag"), "first").await?;
        assert_eq!((first.status, first.header("ETag")), (200, "\"2\""), "{first:?}");
        let stale = change(seen.header("ETag"), "second").await?;
        let details = stale.refused(412, "PRECONDITION_FAILED");
        assert_eq!(*details, json!({ "productId": product, "version": 2 }));
        // Tags that are none of a product's, or only like it.
        for tag in ["\"seven\"", "W/\"2\"", "\"1\", \"3\"", "\"\""] {
            change(tag, "never").await?.refused(412, "PRECONDITION_FAILED");
        }
        for tag in ["2", "\"2", "\"2\", 3", "\"2\"\"3\"", ""] {
            change(tag, "never").await?.refused(400, "VALIDATION_ERROR");
        }
        assert_eq!(shop.view(product).await?["name"], "first");
        for (tag, version) in [("\"1\", \"2\"", 3), ("*", 4)] {
            assert_eq!(change(tag, "last").await?.body["version"], version, "{tag}");
        }
        let delete = |tag: &str| shop.ask(Method::DELETE, &path).header("If-Match", tag.to_owned());
        Reply::to(delete("\"3\""))
            .await?
            .refused(412, "PRECONDITION_FAILED");
        assert_eq!(Reply::to(delete("\"4\"")).await?.status, 204);
        shop.balanced(product).await?;
    }
    let nobody = shop
        .ask(Method::PATCH, "/v1/products/999999999")
        .header("If-Match", "\"1\"");
    Reply::to(nobody.json(&json!({ "price": 1 })))
        .await?
        .refused(404, "PRODUCT_NOT_FOUND");
    Ok(())
}

#[tokio::test]
async fn of_many_who_have_seen_the_same_exactly_one_changes_it() -> TestResult {
    let shop = Shop::shared().await?;
    let product = shop.product(DB_ONLY, 10).await?;
    let path = format!("/v1/products/{product}");
    let changes = (0..12).map(|price| {
        let change = shop.ask(Method::PATCH, &path).header("If-Match", "\"1\"");
        Reply::to(change.json(&json!({ "price": price })))
    });
    let replies = try_join_all(changes).await?;
    let count = |status| replies.iter().filter(|reply| reply.status == status).count();
    assert_eq!((count(200), count(412)), (1, 11), "{replies:?}");
    shop.balanced(product).await?;
    Ok(())
}
