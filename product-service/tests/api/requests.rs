//! Requests that cannot be served: each is refused in the one shape all errors have, and moves nothing.

use reqwest::Method;
use serde_json::{Value, json};

use crate::fixture::{DB_ONLY, REDIS_FIRST, Reply, STRATEGIES, Shop, TestResult, new_order};

/// A stock write with a body as it stands.
async fn write_text(shop: &Shop, product: i64, verb: &str, body: &str) -> anyhow::Result<Reply> {
    let key = format!("INC-{}", new_order());
    let request = shop.writing(product, verb).header("Idempotency-Key", key);
    Reply::to(
        request
            .header("Content-Type", "application/json")
            .body(body.to_owned()),
    )
    .await
}

#[tokio::test]
async fn mistake_negative_quantity_adds_stock() -> TestResult {
    let shop = Shop::shared().await?;
    for strategy in STRATEGIES {
        let product = shop.product(strategy, 10).await?;
        for (quantity, error) in [
            ("0", "VALIDATION_ERROR"),
            ("-1", "VALIDATION_ERROR"),
            ("-9223372036854775808", "VALIDATION_ERROR"),
            ("1000001", "VALIDATION_ERROR"),
            ("9223372036854775807", "VALIDATION_ERROR"),
            ("9223372036854775808", "BAD_REQUEST"),
            ("-9223372036854775809", "BAD_REQUEST"),
            ("1e400", "BAD_REQUEST"),
            ("1.5", "BAD_REQUEST"),
            ("1.0", "BAD_REQUEST"),
            ("1e0", "BAD_REQUEST"),
            ("\"1\"", "BAD_REQUEST"),
            ("null", "BAD_REQUEST"),
            ("true", "BAD_REQUEST"),
            ("[1]", "BAD_REQUEST"),
            ("NaN", "BAD_REQUEST"),
            ("01", "BAD_REQUEST"),
        ] {
            let decrease = format!(r#"{{"orderId":1,"quantity":{quantity}}}"#);
            let increase = format!(r#"{{"orderId":1,"quantity":{quantity},"reason":"ORDER_FAILED"}}"#);
            for (verb, body) in [("decrease-by-order", decrease), ("increase-by-order", increase)] {
                let reply = write_text(&shop, product, verb, &body).await?;
                assert_eq!(reply.body["error"], error, "{body}: {reply:?}");
                reply.refused(400, error);
            }
        }
        let books = shop.balanced(product).await?;
        assert_eq!((books.stock, books.movements), (10, 1));
    }
    Ok(())
}

#[tokio::test]
async fn a_body_that_is_no_stock_write_is_refused() -> TestResult {
    let shop = Shop::shared().await?;
    let product = shop.product(REDIS_FIRST, 10).await?;
    let buyer = "b".repeat(65);
    for (body, error) in [
        (r#"{"orderId":0,"quantity":1}"#, "VALIDATION_ERROR"),
        (r#"{"orderId":-1,"quantity":1}"#, "VALIDATION_ERROR"),
        (r#"{"orderId":9223372036854775808,"quantity":1}"#, "BAD_REQUEST"),
        (r#"{"orderId":"1","quantity":1}"#, "BAD_REQUEST"),
        (r#"{"orderId":1}"#, "BAD_REQUEST"),
        (r#"{"quantity":1}"#, "BAD_REQUEST"),
        (r#"{"orderId":1,"quantity":1,"quantity":1}"#, "BAD_REQUEST"),
        (r#"{"orderId":1,"quantity":1,"productId":1}"#, "BAD_REQUEST"),
        (r#"{"orderid":1,"quantity":1}"#, "BAD_REQUEST"),
        (r#"{"orderId":1,"quantity":1,"requestId":7}"#, "BAD_REQUEST"),
        (r#"{"orderId":1,"quantity":1,"buyerId":7}"#, "BAD_REQUEST"),
        (r#"{"orderId":1,"quantity":1,"buyerId":""}"#, "VALIDATION_ERROR"),
        (
            r#"{"orderId":1,"quantity":1,"buyerId":"a b"}"#,
            "VALIDATION_ERROR",
        ),
        (
            r#"{"orderId":1,"quantity":1,"buyerId":"caf\u00e9"}"#,
            "VALIDATION_ERROR",
        ),
        (
            &format!(r#"{{"orderId":1,"quantity":1,"buyerId":"{buyer}"}}"#),
            "VALIDATION_ERROR",
        ),
        ("[1,1]", "BAD_REQUEST"),
        ("{}", "BAD_REQUEST"),
        ("1", "BAD_REQUEST"),
        ("{\"orderId\":1,\"quantity\":1", "BAD_REQUEST"),
        ("{\"orderId\":1,\"quantity\":1}x", "BAD_REQUEST"),
        (" ", "BAD_REQUEST"),
    ] {
        let reply = write_text(&shop, product, "decrease-by-order", body).await?;
        assert_eq!(reply.body["error"], error, "{body}: {reply:?}");
        reply.refused(400, error);
    }
    for body in [
        r#"{"orderId":1,"quantity":1}"#,
        r#"{"orderId":1,"quantity":1,"reason":"ORDER_LOST"}"#,
        r#"{"orderId":1,"quantity":1,"reason":null}"#,
        r#"{"orderId":1,"quantity":1,"reason":"ORDER_FAILED","buyerId":"ann"}"#,
        r#"[1,1,"ORDER_FAILED"]"#,
    ] {
        write_text(&shop, product, "increase-by-order", body)
            .await?
            .refused(400, "BAD_REQUEST");
    }
    assert_eq!(shop.balanced(product).await?.movements, 1);
    Ok(())
}

#[tokio::test]
async fn stock_of_a_product_that_is_not_there_does_not_move() -> TestResult {
    let shop = Shop::shared().await?;
    for product in [0, -1, 999_999_999] {
        for reply in [
            shop.take(product, new_order(), 1).await?,
            shop.give_back(product, new_order(), 1).await?,
            shop.adjust(product, &format!("ADJ-{}", new_order()), 1).await?,
            shop.gate(product, "load").await?,
            shop.gate(product, "unload").await?,
        ] {
            assert_eq!(reply.refused(404, "PRODUCT_NOT_FOUND")["productId"], product);
        }
    }
    // A void of a product that is not there leaves no mark behind.
    let (product, order) = (shop.product(DB_ONLY, 1).await?, new_order());
    shop.give_back(999_999_999, order, 1)
        .await?
        .refused(404, "PRODUCT_NOT_FOUND");
    assert_eq!(shop.take(product, order, 1).await?.remaining(), 0);
    shop.balanced(product).await?;
    Ok(())
}

#[tokio::test]
async fn an_unknown_path_and_a_wrong_method_are_refused_in_the_same_shape() -> TestResult {
    let shop = Shop::shared().await?;
    for path in [
        "/",
        "/v1",
        "/v2/products",
        "/v1/products/",
        "/v1/product",
        "/v1/products/1/stock",
        "/v1/v1/products",
    ] {
        shop.get(path).await?.refused(404, "NOT_FOUND");
    }
    for (method, path, allowed) in [
        (Method::DELETE, "/v1/products", ["GET", "POST"].as_slice()),
        (Method::PUT, "/v1/products/1", &["GET", "PATCH", "DELETE"]),
        (Method::POST, "/v1/products/1/stock/decrease-by-order", &["PATCH"]),
        (Method::GET, "/v1/products/1/stock/increase-by-order", &["PATCH"]),
        (Method::PATCH, "/v1/products/1/stock/adjust", &["POST"]),
        (Method::POST, "/v1/products/1/stock/movements", &["GET"]),
    ] {
        let reply = Reply::to(shop.ask(method, path)).await?;
        reply.refused(405, "METHOD_NOT_ALLOWED");
        let mut allow: Vec<&str> = reply.header("Allow").split(", ").collect();
        allow.sort_unstable();
        let mut allowed = allowed.to_vec();
        allowed.sort_unstable();
        assert_eq!(allow, allowed, "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn a_body_over_16_kib_or_of_another_type_is_refused() -> TestResult {
    let shop = Shop::shared().await?;
    let product = shop.product(DB_ONLY, 10).await?;
    let body = format!(r#"{{"orderId":1,"quantity":1{}}}"#, " ".repeat(16 * 1024));
    write_text(&shop, product, "decrease-by-order", &body)
        .await?
        .refused(413, "PAYLOAD_TOO_LARGE");
    let name = json!({ "name": "x".repeat(17_000), "price": 1, "stock": 1 });
    shop.create(&name).await?.refused(413, "PAYLOAD_TOO_LARGE");
    shop.patch(product, &name)
        .await?
        .refused(413, "PAYLOAD_TOO_LARGE");

    let json = r#"{"orderId":1,"quantity":1}"#;
    for content_type in [
        None,
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
        Some(""),
    ] {
        let request = shop
            .writing(product, "decrease-by-order")
            .header("Idempotency-Key", "x")
            .body(json);
        let request = match content_type {
            Some(content_type) => request.header("Content-Type", content_type),
            None => request,
        };
        Reply::to(request).await?.refused(415, "UNSUPPORTED_MEDIA_TYPE");
    }
    let request = shop
        .writing(product, "decrease-by-order")
        .header("Idempotency-Key", format!("DEC-{}", new_order()));
    let request = request
        .header("Content-Type", "application/json; charset=utf-8")
        .body(json);
    assert_eq!(Reply::to(request).await?.remaining(), 9);
    shop.balanced(product).await?;
    Ok(())
}

#[tokio::test]
async fn korean_readers_get_korean_messages() -> TestResult {
    let shop = Shop::shared().await?;
    let product = shop.product(REDIS_FIRST, 0).await?;
    let order = new_order();
    let sold_out = || {
        shop.writing(product, "decrease-by-order")
            .header("Idempotency-Key", format!("DEC-{order}"))
            .json(&json!({ "orderId": order, "quantity": 1 }))
    };
    for (request, status, error, korean, english) in [
        (
            sold_out(),
            400,
            "INSUFFICIENT_STOCK",
            "재고가 부족합니다.",
            "Not enough stock is left.",
        ),
        (
            shop.ask(Method::GET, "/v1/products/999999999"),
            404,
            "PRODUCT_NOT_FOUND",
            "상품을 찾을 수 없습니다.",
            "The product does not exist.",
        ),
        (
            shop.ask(Method::GET, "/nowhere"),
            404,
            "NOT_FOUND",
            "요청하신 경로를 찾을 수 없습니다.",
            "There is nothing at this path.",
        ),
        (
            shop.ask(Method::PUT, "/v1/products"),
            405,
            "METHOD_NOT_ALLOWED",
            "이 경로에서 지원하지 않는 메서드입니다.",
            "The path does not support this method.",
        ),
    ] {
        let again = request.try_clone().unwrap();
        let reply = Reply::to(request.header("Accept-Language", "ko-KR,ko;q=0.9,en;q=0.8")).await?;
        reply.refused(status, error);
        assert_eq!(
            (reply.body["message"].as_str(), reply.header("Content-Language")),
            (Some(korean), "ko")
        );
        let reply = Reply::to(again.header("Accept-Language", "fr")).await?;
        reply.refused(status, error);
        assert_eq!(
            (reply.body["message"].as_str(), reply.header("Content-Language")),
            (Some(english), "en")
        );
    }
    let refused = Reply::to(
        shop.ask(Method::GET, "/v1/products?size=0")
            .header("Accept-Language", "ko"),
    )
    .await?;
    refused.refused(400, "VALIDATION_ERROR");
    assert_eq!(refused.body["message"], "요청 값이 올바르지 않습니다.");
    assert_eq!(refused.body["details"], Value::Null);
    shop.balanced(product).await?;
    Ok(())
}
