//! Listing products: filters, order, pages.

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::{Value, json};

use crate::fixture::{DB_ONLY, Reply, Shop, TestResult, new_order};

/// A listing with these parameters, percent-encoded on the way.
async fn list(shop: &Shop, parameters: &[(&str, &str)]) -> Result<Reply> {
    let mut url = url::Url::parse("http://shop/v1/products")?;
    url.query_pairs_mut().extend_pairs(parameters);
    let query = url.query().context("a query")?;
    shop.get(&format!("/v1/products?{query}")).await
}

/// The ids on the page that a listing answers with.
async fn ids(shop: &Shop, parameters: &[(&str, &str)]) -> Result<Vec<i64>> {
    let reply = list(shop, parameters).await?;
    assert_eq!(reply.status, 200, "{parameters:?}: {reply:?}");
    let content = reply.body["content"].as_array().context("content")?.clone();
    Ok(content
        .iter()
        .filter_map(|product| product["id"].as_i64())
        .collect())
}

/// A part of a name that no other test's products have.
fn unique(word: &str) -> String {
    format!("{word}-{}-", new_order())
}

async fn named(shop: &Shop, name: &str, price: i64, stock: i64) -> Result<i64> {
    shop.product_with(DB_ONLY, stock, &json!({ "name": name, "price": price }))
        .await
}

#[tokio::test]
async fn products_are_filtered_by_name_status_and_price() -> TestResult {
    let shop = Shop::shared().await?;
    let mark = unique("Filter");
    let cheap = named(&shop, &format!("Red {mark} shoe"), 100, 1).await?;
    let dear = named(&shop, &format!("blue {mark} SHOE"), 900, 1).await?;
    let gone = named(&shop, &format!("{mark} 모자"), 500, 1).await?;
    Reply::to(shop.ask(Method::DELETE, &format!("/v1/products/{gone}"))).await?;
    let other_case = mark.to_uppercase();
    let hat = format!("{mark} 모");
    let shoe = format!("{mark} sho");
    for (filters, expected) in [
        (vec![("query", mark.as_str())], vec![cheap, dear, gone]),
        (vec![("query", other_case.as_str())], vec![cheap, dear, gone]),
        (vec![("query", shoe.as_str())], vec![cheap, dear]),
        (vec![("query", hat.as_str())], vec![gone]),
        (
            vec![("query", mark.as_str()), ("status", "ACTIVE")],
            vec![cheap, dear],
        ),
        (
            vec![("query", mark.as_str()), ("status", "DISCONTINUED")],
            vec![gone],
        ),
        (
            vec![("query", mark.as_str()), ("minPrice", "100"), ("maxPrice", "500")],
            vec![cheap, gone],
        ),
        (
            vec![("query", mark.as_str()), ("minPrice", "101")],
            vec![dear, gone],
        ),
        (vec![("query", mark.as_str()), ("maxPrice", "99")], vec![]),
        (
            vec![("query", mark.as_str()), ("minPrice", "900"), ("maxPrice", "100")],
            vec![],
        ),
        (
            vec![("query", mark.as_str()), ("maxPrice", "-9223372036854775808")],
            vec![],
        ),
    ] {
        assert_eq!(ids(&shop, &filters).await?, expected, "{filters:?}");
    }
    Ok(())
}

#[tokio::test]
async fn characters_of_a_pattern_stand_for_themselves() -> TestResult {
    let shop = Shop::shared().await?;
    let mark = unique("Literal");
    let mut products = Vec::new();
    for tail in [
        "50% off",
        "50 percent",
        "a_b",
        "aXb",
        "c:\\d",
        "c:d",
        "it's",
        "\"; --",
    ] {
        products.push((tail, named(&shop, &format!("{mark}{tail}"), 1, 1).await?));
    }
    for (text, expected) in [
        ("50%", "50% off"),
        ("%", "50% off"),
        ("a_b", "a_b"),
        ("_", "a_b"),
        ("c:\\d", "c:\\d"),
        ("\\", "c:\\d"),
        ("it's", "it's"),
        ("\"; --", "\"; --"),
    ] {
        let id = products
            .iter()
            .find(|(tail, _)| *tail == expected)
            .map(|(_, id)| *id);
        let query = if text.len() == 1 {
            text.to_owned()
        } else {
            format!("{mark}{text}")
        };
        let mut found = ids(&shop, &[("query", &query), ("size", "100")]).await?;
        found.retain(|id| products.iter().any(|(_, product)| product == id));
        assert_eq!(found, Vec::from_iter(id), "{text}");
    }
    Ok(())
}

#[tokio::test]
async fn sorting_is_stable_in_both_directions() -> TestResult {
    let shop = Shop::shared().await?;
    let mark = unique("Sort");
    let a = named(&shop, &format!("{mark} b"), 20, 1).await?;
    let b = named(&shop, &format!("{mark} a"), 10, 3).await?;
    let c = named(&shop, &format!("{mark} a"), 20, 2).await?;
    let d = named(&shop, &format!("{mark} c"), 10, 2).await?;
    shop.patch(a, &json!({ "price": 20 })).await?;
    for (sort, expected) in [
        ("id", [a, b, c, d]),
        ("id,desc", [d, c, b, a]),
        ("name", [b, c, a, d]),
        ("name,desc", [d, a, b, c]),
        ("price", [b, d, a, c]),
        ("price,asc", [b, d, a, c]),
        ("price,desc", [a, c, b, d]),
        ("stock", [a, c, d, b]),
        ("stock,desc", [b, c, d, a]),
        ("createdAt", [a, b, c, d]),
        ("createdAt,desc", [d, c, b, a]),
        ("updatedAt,desc", [a, d, c, b]),
    ] {
        let found = ids(&shop, &[("query", &mark), ("sort", sort)]).await?;
        assert_eq!(found, expected, "{sort}");
        let mut paged = Vec::new();
        for page in ["0", "1", "2", "3"] {
            paged.extend(
                ids(
                    &shop,
                    &[("query", &mark), ("sort", sort), ("size", "1"), ("page", page)],
                )
                .await?,
            );
        }
        assert_eq!(paged, expected, "{sort}, page by page");
    }
    Ok(())
}

#[tokio::test]
async fn a_page_says_how_many_there_are() -> TestResult {
    let shop = Shop::shared().await?;
    let mark = unique("Page");
    let mut all = Vec::new();
    for _ in 0..5 {
        all.push(named(&shop, &mark, 1, 0).await?);
    }
    for (page, size, expected, pages) in [
        (0, 2, &all[..2], 3),
        (2, 2, &all[4..], 3),
        (3, 2, &all[5..], 3),
        (0, 5, &all[..], 1),
        (0, 100, &all[..], 1),
        (2_147_483_647_i64, 100, &all[5..], 1),
    ] {
        let (page_text, size_text) = (page.to_string(), size.to_string());
        let reply = list(
            &shop,
            &[("query", &mark), ("page", &page_text), ("size", &size_text)],
        )
        .await?;
        assert_eq!(reply.status, 200, "{reply:?}");
        let found = reply.body["content"].as_array().unwrap();
        let found: Vec<i64> = found
            .iter()
            .filter_map(|product| product["id"].as_i64())
            .collect();
        assert_eq!(found, expected, "page {page} of {size}");
        let mut totals = reply.body.clone();
        totals.as_object_mut().unwrap().remove("content");
        let expected = json!({ "page": page, "size": size, "totalElements": 5, "totalPages": pages });
        assert_eq!(totals, expected);
    }
    let defaults = list(&shop, &[("query", &mark)]).await?;
    assert_eq!(
        (&defaults.body["page"], &defaults.body["size"]),
        (&json!(0), &json!(20))
    );
    let none = list(&shop, &[("query", "no product has this name")]).await?;
    assert_eq!(
        (&none.body["totalElements"], &none.body["totalPages"]),
        (&json!(0), &json!(0))
    );
    assert_eq!(none.body["content"], Value::Array(Vec::new()));
    Ok(())
}

#[tokio::test]
async fn parameters_that_make_no_sense_are_refused() -> TestResult {
    let shop = Shop::shared().await?;
    for query in [
        "page=-1",
        "page=x",
        "page=1.5",
        "page=2147483648",
        "page=9223372036854775808",
        "page=",
        "size=0",
        "size=101",
        "size=-1",
        "size=x",
        "sort=colour",
        "sort=id;drop",
        "sort=price,up",
        "sort=price,",
        "sort=",
        "status=active",
        "status=",
        "minPrice=x",
        "minPrice=1.5",
        "maxPrice=9223372036854775808",
        "colour=red",
        "page=1&page=2",
        "query=a%00b",
    ] {
        let reply = shop.get(&format!("/v1/products?{query}")).await?;
        assert_eq!(reply.status, 400, "{query}: {reply:?}");
        reply.refused(400, "VALIDATION_ERROR");
    }
    for query in ["query=", "query=%FF", "query=%F0%9F%91%9F", "query=%27%3B--", ""] {
        let reply = shop.get(&format!("/v1/products?{query}")).await?;
        assert_eq!(reply.status, 200, "{query}: {reply:?}");
    }
    Ok(())
}
