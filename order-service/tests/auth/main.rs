//! Keys, tokens and roles through both services: who may do what, and that no secret gets into a log.

mod rights;
mod roles;
mod secrets;
mod shop;
mod tls;

use shop::{ADMIN, CUSTOMER, SERVICE, Shop, TOKEN};

use anyhow::Result;
use reqwest::Method;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_sees_places_and_cancels_his_own_orders_only() -> Result<()> {
    let shop = Shop::open(&[]).await?;
    let product = shop.stocked(10).await?;
    let body = json!({ "productId": product, "quantity": 1 });
    let of_bob = json!({ "productId": product, "quantity": 1, "buyerId": "bob" });

    // Both flows, all the way to product-service, which order-service shows its own key.
    let placed = shop
        .order(Method::POST, "/v1/orders", CUSTOMER, Some(&body))
        .await?;
    assert_eq!(
        (placed.status, &placed.body["status"]),
        (201, &json!("CONFIRMED")),
        "{placed:?}"
    );
    assert_eq!(placed.body["buyerId"], "ada");
    let later = shop.order(Method::POST, "/v2/orders", TOKEN, Some(&body)).await?;
    assert_eq!(
        (later.status, &later.body["buyerId"]),
        (202, &json!("ada")),
        "{later:?}"
    );
    shop.confirmed(&later, CUSTOMER).await?;
    let bobs = shop
        .order(Method::POST, "/v1/orders", SERVICE, Some(&of_bob))
        .await?;
    assert_eq!(bobs.status, 201, "{bobs:?}");

    for credential in [CUSTOMER, TOKEN] {
        for (method, path) in [
            (Method::GET, ""),
            (Method::GET, "/events"),
            (Method::POST, "/cancel"),
        ] {
            let path = format!("/v1/orders/{}{path}", bobs.body["id"]);
            let refused = shop.order(method, &path, credential, None).await?;
            refused.is(404, "ORDER_NOT_FOUND");
        }
        for path in ["/v1/orders", "/v2/orders"] {
            let refused = shop.order(Method::POST, path, credential, Some(&of_bob)).await?;
            refused.is(403, "FORBIDDEN");
        }
        let refused = shop
            .order(Method::GET, "/v1/orders?buyerId=bob", credential, None)
            .await?;
        refused.is(403, "FORBIDDEN");
        let listed = shop.order(Method::GET, "/v1/orders", credential, None).await?;
        assert_eq!(listed.body["totalElements"], 2, "{listed:?}");
    }
    let all = shop.order(Method::GET, "/v1/orders", ADMIN, None).await?;
    assert_eq!(all.body["totalElements"], 3, "{all:?}");
    let cancel = format!("/v1/orders/{}/cancel", placed.body["id"]);
    let cancelled = shop.order(Method::POST, &cancel, TOKEN, None).await?;
    assert_eq!(
        (cancelled.status, &cancelled.body["status"]),
        (200, &json!("CANCELLED")),
        "{cancelled:?}"
    );
    shop.settled(product).await
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_is_taken_for_order_services_own_key_and_for_no_other() -> Result<()> {
    let shop = Shop::open(&[("HOTSTOCK__PRODUCT__KEY", CUSTOMER)]).await?;
    let product = shop.stocked(10).await?;
    let body = json!({ "productId": product, "quantity": 1 });
    let placed = shop
        .order(Method::POST, "/v1/orders", CUSTOMER, Some(&body))
        .await?;
    placed.is(424, "DEPENDENCY_FAILED");
    let seen = shop
        .product(Method::GET, &format!("/v1/products/{product}"), "", None)
        .await?;
    assert_eq!(seen.body["stock"], 10, "{seen:?}");
    Ok(())
}
