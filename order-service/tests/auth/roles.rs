//! Every operation that is described, as nobody and in every role.

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::{Value, json};

use crate::shop::{ADMIN, CUSTOMER, Reply, SERVICE, Shop, TOKEN};

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_lets_in_whom_its_description_names_and_nobody_else() -> Result<()> {
    let shop = Shop::open(&[]).await?;
    let (product, order) = (&shop.product, &shop.order);
    let mut operations = 0;
    for (base, admin) in [
        (product.url(), false),
        (order.url(), false),
        (product.admin_url(), true),
        (order.admin_url(), true),
    ] {
        let shown = if admin { ADMIN } else { "" };
        let document = Reply::to(shop.request(&base, Method::GET, "/openapi.json", shown)).await?;
        for (path, methods) in document.body["paths"].as_object().context("paths")? {
            for (method, operation) in methods.as_object().context("operations")? {
                let method = Method::from_bytes(method.to_ascii_uppercase().as_bytes())?;
                let path = path.replace("{id}", "987654321");
                lets_in(&shop, &base, &method, &path, &operation["security"], admin).await?;
                operations += 1;
            }
        }
    }
    assert!(operations > 25, "only {operations} operations");
    Ok(())
}

async fn lets_in(
    shop: &Shop,
    base: &str,
    method: &Method,
    path: &str,
    security: &Value,
    admin: bool,
) -> Result<()> {
    let named = security
        .as_array()
        .with_context(|| format!("{method} {path} says not for whom"))?;
    let may = |role: &str| {
        named.is_empty()
            || named[0]["bearer"]
                .as_array()
                .is_some_and(|it| it.contains(&json!(role)))
    };
    for (role, shown) in [
        ("", ""),
        ("", "key-of-nobody"),
        ("customer", CUSTOMER),
        ("customer", TOKEN),
        ("service", SERVICE),
        ("admin", ADMIN),
    ] {
        let reply = Reply::to(shop.request(base, method.clone(), path, shown).body("{}")).await?;
        let what = format!("{method} {base}{path} {role}: {reply:?}");
        if may(role) {
            assert!(![401, 403].contains(&reply.status), "{what}");
        } else if role.is_empty() {
            reply.is(401, "UNAUTHORIZED");
            let challenge = reply.headers["www-authenticate"].to_str()?;
            assert!(
                challenge.starts_with(if admin { "Basic " } else { "Bearer " }),
                "{what}"
            );
            assert!(
                challenge.contains("invalid_token") == (!admin && !shown.is_empty()),
                "{what}"
            );
        } else {
            reply.is(403, "FORBIDDEN");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn ways_around_the_check_lead_nowhere() -> Result<()> {
    let shop = Shop::open(&[]).await?;
    let (product, order) = (shop.product.url(), shop.order.url());
    let id = shop.stocked(5).await?;
    let take = json!({ "orderId": 1, "quantity": 1 });
    for path in [
        format!("/v1/products/{id}/stock/%64ecrease-by-order"),
        format!("/products/{id}/stock/decrease-by-orde%72"),
        format!("/v1//products/{id}/stock/decrease-by-order"),
        format!("/v1/products/{id}/stock/decrease-by-order/"),
        format!("/V1/products/{id}/stock/decrease-by-order"),
        format!("/v1/products/../products/{id}/stock/decrease-by-order"),
    ] {
        for shown in ["", CUSTOMER] {
            let request = shop.request(&product, Method::PATCH, &path, shown).json(&take);
            let reply = Reply::to(request.header("Idempotency-Key", "DEC-1")).await?;
            assert!([401, 403, 404].contains(&reply.status), "{path}: {reply:?}");
        }
    }
    // Two of them: somebody on the way may have looked at the other one.
    let two = shop
        .request(&order, Method::GET, "/v1/orders", CUSTOMER)
        .bearer_auth(ADMIN);
    Reply::to(two).await?.is(401, "UNAUTHORIZED");
    for header in [format!("bearer  {ADMIN}"), format!("BEARER {ADMIN}")] {
        let request = shop
            .request(&order, Method::GET, "/v1/orders", "")
            .header("Authorization", header);
        assert_eq!(Reply::to(request).await?.status, 200);
    }
    for header in [
        ADMIN.to_owned(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        format!("Bearer {}", "a".repeat(5000)),
        format!("Token {ADMIN}"),
        // A password is for the admin listener.
        format!("Basic {}", "b3BzOmtleS1vZi1hbi1hZG1pbi03ZDFj"),
    ] {
        let request = shop
            .request(&order, Method::GET, "/v1/orders", "")
            .header("Authorization", header);
        Reply::to(request).await?.is(401, "UNAUTHORIZED");
    }
    let seen = shop
        .product(Method::GET, &format!("/v1/products/{id}"), "", None)
        .await?;
    assert_eq!(seen.body["stock"], 5, "{seen:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_shows_the_key_as_a_password_and_pages_of_other_sites_change_nothing() -> Result<()> {
    let shop = Shop::open(&[]).await?;
    let admin = shop.product.admin_url();
    let ask = |method: Method, path: &str| {
        shop.request(&admin, method, path, "")
            .basic_auth("ops", Some(ADMIN))
    };
    assert_eq!(Reply::to(ask(Method::GET, "/docs/")).await?.status, 200);
    for (site, status) in [
        ("cross-site", 403),
        ("same-site", 403),
        ("same-origin", 200),
        ("none", 200),
    ] {
        let reply = ask(Method::POST, "/admin/breaker/reset").header("Sec-Fetch-Site", site);
        let reply = Reply::to(reply).await?;
        assert_eq!(reply.status, status, "{site}: {reply:?}");
    }
    let wrong = shop
        .request(&admin, Method::GET, "/docs/", "")
        .basic_auth("ops", Some(SERVICE));
    Reply::to(wrong).await?.is(403, "FORBIDDEN");
    // Health for whoever watches over it; the numbers for who is on this machine, as configured.
    for path in ["/livez", "/readyz", "/metrics"] {
        let reply = Reply::to(shop.request(&admin, Method::GET, path, "")).await?;
        assert_eq!(reply.status, 200, "{path}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_numbers_are_for_admins_where_it_is_said_so() -> Result<()> {
    let shop = Shop::open(&[("HOTSTOCK__AUTH__METRICS", "nobody")]).await?;
    for service in [&shop.product, &shop.order] {
        let metrics = |shown| shop.request(&service.admin_url(), Method::GET, "/metrics", shown);
        Reply::to(metrics("")).await?.is(401, "UNAUTHORIZED");
        assert_eq!(Reply::to(metrics(ADMIN)).await?.status, 200);
    }
    Ok(())
}
