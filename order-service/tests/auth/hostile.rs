//! Requests that nobody with good intentions sends: each is refused as the documents say, at once, and nothing moves. Sent
//! as bytes, since no client of HTTP would.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::shop::{ADMIN, PATIENCE, SERVICE, Shop};

/// A request to one service. The body is whatever it is.
struct Raw {
    /// Method and path, as they stand in the first line.
    target: Vec<u8>,
    headers: Vec<Vec<u8>>,
    body: Vec<u8>,
}

/// Status, and the code of the error.
type Answer = (u16, String);

impl Raw {
    fn new(target: &str, body: &[u8]) -> Self {
        Self {
            target: target.as_bytes().to_vec(),
            headers: Vec::new(),
            body: body.to_vec(),
        }
    }

    fn header(mut self, name: &str, value: &[u8]) -> Self {
        self.headers.push([name.as_bytes(), b": ", value].concat());
        self
    }

    async fn send(&self, port: u16) -> Result<Answer> {
        let mut bytes = [
            self.target.as_slice(),
            b" HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n",
        ]
        .concat();
        for header in &self.headers {
            bytes.extend_from_slice(header);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(format!("Content-Length: {}\r\n\r\n", self.body.len()).as_bytes());
        bytes.extend_from_slice(&self.body);
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(&bytes).await?;
        let mut answer = Vec::new();
        timeout(
            PATIENCE.min(Duration::from_secs(20)),
            stream.read_to_end(&mut answer),
        )
        .await
        .context("no answer")??;
        let text = String::from_utf8_lossy(&answer);
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
        let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        let code = body["error"].as_str().unwrap_or_default().to_owned();
        Ok((status.with_context(|| format!("no HTTP: {text}"))?, code))
    }
}

/// A write with a body of JSON, or what stands for it.
fn write(target: &str, key: &[u8], body: &[u8]) -> Raw {
    Raw::new(target, body)
        .header("Content-Type", b"application/json")
        .header("Authorization", format!("Bearer {SERVICE}").as_bytes())
        .header("Idempotency-Key", key)
}

/// Bodies that are no JSON, or not the one that is asked for, around what would be in order.
fn bodies(quantity: impl Fn(&str) -> String) -> Vec<(Vec<u8>, &'static str)> {
    let plain = quantity("1");
    let fields = plain.trim_start_matches('{').trim_end_matches('}').to_owned();
    let mut bodies: Vec<(Vec<u8>, &str)> = [
        "9223372036854775808",
        "-9223372036854775809",
        "1e400",
        "-1e400",
        "NaN",
        "Infinity",
        "-Infinity",
        "-0.0",
        "1.0",
        "\"1\"",
        "[1]",
        "{}",
        "true",
        "null",
        "0x1",
        "01",
        "+1",
    ]
    .iter()
    .map(|number| (quantity(number).into_bytes(), "BAD_REQUEST"))
    .collect();
    for number in ["0", "-0", "-1", "9223372036854775807", "-9223372036854775808"] {
        // Some parsers make a float of a negative zero.
        let code = if number == "-0" {
            "BAD_REQUEST"
        } else {
            "VALIDATION_ERROR"
        };
        bodies.push((quantity(number).into_bytes(), code));
    }
    let unread = [
        Vec::new(),
        b" ".to_vec(),
        [b"\xef\xbb\xbf", plain.as_bytes()].concat(),
        [plain.as_bytes(), b"x"].concat(),
        [plain.as_bytes(), plain.as_bytes()].concat(),
        [plain.as_bytes(), b"\0"].concat(),
        format!("{{{fields},{fields}}}").into_bytes(),
        format!("{{{fields},\"more\":1}}").into_bytes(),
        format!("[{plain}]").into_bytes(),
        [b"\xff\xfe", plain.as_bytes()].concat(),
        [b"{\"buyerId\":\"\xff\xc0\",".as_slice(), fields.as_bytes(), b"}"].concat(),
        [b"{\"buyerId\":\"\\ud800\",".as_slice(), fields.as_bytes(), b"}"].concat(),
        [
            b"{\"buyerId\":\"\\udc00\\ud800\",".as_slice(),
            fields.as_bytes(),
            b"}",
        ]
        .concat(),
        [b"{\"buyerId\":\"a\0b\",".as_slice(), fields.as_bytes(), b"}"].concat(),
        "[".repeat(10_000).into_bytes(),
        "{\"a\":".repeat(2_000).into_bytes(),
        [b"{\"buyerId\":".as_slice(), "[".repeat(10_000).as_bytes()].concat(),
    ];
    bodies.extend(unread.map(|body| (body, "BAD_REQUEST")));
    let named = |buyer: &str| format!("{{\"buyerId\":\"{buyer}\",{fields}}}").into_bytes();
    for buyer in [
        "",
        "a\\u0000b",
        "a\\nb",
        "\\u202e",
        "\\ud83d\\ude00",
        &"b".repeat(65),
    ] {
        bodies.push((named(buyer), "VALIDATION_ERROR"));
    }
    bodies
}

/// Keys that are none.
fn keys() -> Vec<Vec<u8>> {
    let mut keys = vec![
        Vec::new(),
        b"\"\"".to_vec(),
        b"a b".to_vec(),
        b"\"a".to_vec(),
        b"a\tb".to_vec(),
    ];
    keys.extend([b"\xff\xfe".to_vec(), "열쇠".as_bytes().to_vec()]);
    keys.extend([vec![b'k'; 129], vec![b'k'; 4000]]);
    keys
}

/// What is wrong with the answer, if anything is.
async fn wrong(raw: &Raw, port: u16, wanted: (u16, &str)) -> Result<Option<String>> {
    let (status, code) = raw.send(port).await?;
    let said = format!(
        "{} {:?} {}",
        String::from_utf8_lossy(&raw.target),
        raw.headers
            .last()
            .map(|header| String::from_utf8_lossy(header).into_owned()),
        String::from_utf8_lossy(&raw.body)
            .chars()
            .take(80)
            .collect::<String>()
    );
    let is_right = (status, code.as_str()) == wanted;
    Ok((!is_right).then(|| format!("{said}: {status} {code}, not {wanted:?}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_content_is_refused_as_documented_and_moves_nothing() -> Result<()> {
    let shop = Shop::open(&[]).await?;
    let mut all_wrong = Vec::new();
    let product = shop.stocked(10).await?;
    let (stock, orders) = (shop.product.port(), shop.order.port());
    let take = format!("PATCH /v1/products/{product}/stock/decrease-by-order");
    let decrease = |quantity: &str| format!("{{\"orderId\":1,\"quantity\":{quantity}}}");
    let order = |quantity: &str| format!("{{\"productId\":{product},\"quantity\":{quantity}}}");

    for (body, code) in bodies(decrease) {
        all_wrong.extend(wrong(&write(&take, b"DEC-1", &body), stock, (400, code)).await?);
    }
    for (body, code) in bodies(order) {
        for target in ["POST /v1/orders", "POST /v2/orders"] {
            all_wrong.extend(wrong(&write(target, b"key-1", &body), orders, (400, code)).await?);
        }
    }
    let (decrease, order) = (decrease("1"), order("1"));
    for key in keys() {
        let refused = (400, "VALIDATION_ERROR");
        all_wrong.extend(wrong(&write(&take, &key, decrease.as_bytes()), stock, refused).await?);
        all_wrong.extend(wrong(&write("POST /v1/orders", &key, order.as_bytes()), orders, refused).await?);
    }
    for (port, target, body) in [
        (stock, take.as_str(), &decrease),
        (orders, "POST /v2/orders", &order),
    ] {
        let two = write(target, b"DEC-1", body.as_bytes()).header("Idempotency-Key", b"DEC-1");
        all_wrong.extend(wrong(&two, port, (400, "VALIDATION_ERROR")).await?);
        // What ends a header, or cannot be in one, ends the request.
        for key in [b"a\rb".as_slice(), b"a\0b", b"a\x07b", b"a\x7fb"] {
            let (status, _) = write(target, key, body.as_bytes()).send(port).await?;
            ensure!(status == 400, "{key:?}: {status}");
        }
        for kind in [
            "text/plain",
            "application/xml",
            "application/jsonp",
            "",
            "\u{ff}",
            "multipart/form-data",
        ] {
            let mut other = write(target, b"DEC-1", body.as_bytes());
            other.headers[0] = format!("Content-Type: {kind}").into_bytes();
            all_wrong.extend(wrong(&other, port, (415, "UNSUPPORTED_MEDIA_TYPE")).await?);
        }
    }
    assert!(all_wrong.is_empty(), "{}", all_wrong.join("\n"));
    let seen = shop
        .product(reqwest::Method::GET, &format!("/v1/products/{product}"), "", None)
        .await?;
    assert_eq!(seen.body["stock"], 10, "{seen:?}");
    let placed = shop
        .order(reqwest::Method::GET, "/v1/orders", ADMIN, None)
        .await?;
    assert_eq!(placed.body["totalElements"], 0, "{placed:?}");
    shop.settled(product).await
}

/// Port, request line and refusal. What is in order beside them is answered 200.
fn paths_and_queries(stock: u16, orders: u16) -> Vec<(u16, String, (u16, &'static str))> {
    let missing = (404, "NOT_FOUND");
    let invalid = (400, "VALIDATION_ERROR");
    let mut asked = Vec::new();
    for (port, all) in [(stock, "/v1/products"), (orders, "/v1/orders")] {
        for one in ["%2e%2e", "..", "%2F", "1%2F2", "1/..", "%2e%2e/1"] {
            // An escaped slash is part of the id.
            let what = if one.contains('/') { missing } else { invalid };
            asked.push((port, format!("GET {all}/{one}"), what));
        }
        for one in [
            "%00",
            "1%00",
            "%ff",
            "%0d%0a",
            "1%20",
            "+1e3",
            "-",
            "0x1",
            "9223372036854775808",
            "%zz",
            "1.0",
        ] {
            asked.push((port, format!("GET {all}/{one}"), invalid));
        }
        for query in [
            "page=1&page=2",
            "size=10&size=10",
            "more=1",
            "page=2147483648",
            "page=9223372036854775808",
            "page=-1",
            "page=",
            "page=1e3",
            "page=%00",
            "size=0",
            "size=101",
            "size=NaN",
            "status=%ff",
            "status=active%00",
            "PAGE=1",
        ] {
            asked.push((port, format!("GET {all}?{query}"), invalid));
        }
        // The last page there may be is empty, and in order.
        asked.push((port, format!("GET {all}?page=2147483647&size=100"), (200, "")));
        // Written with its host, as a proxy is asked.
        asked.push((port, format!("GET http://elsewhere{all}?page=0"), (200, "")));
        asked.push((port, format!("GET http://elsewhere{all}?page=-1"), invalid));
        for method in ["PUT", "TRACE", "OPTIONS", "PROPFIND", "get", "X-Y"] {
            asked.push((port, format!("{method} {all}"), (405, "METHOD_NOT_ALLOWED")));
        }
    }
    asked.push((stock, "GET /v1/products?query=a%00b".to_owned(), invalid));
    asked.push((orders, "GET /v1/orders?buyerId=a%00b".to_owned(), invalid));
    asked
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_paths_and_queries_are_refused_as_documented() -> Result<()> {
    let shop = Shop::open(&[]).await?;
    let mut all_wrong = Vec::new();
    let product = shop.stocked(10).await?;
    let (stock, orders) = (shop.product.port(), shop.order.port());
    let asked = paths_and_queries(stock, orders);
    for (port, target, wanted) in asked {
        let raw = Raw::new(&target, b"").header("Authorization", format!("Bearer {ADMIN}").as_bytes());
        all_wrong.extend(wrong(&raw, port, wanted).await?);
    }
    assert!(all_wrong.is_empty(), "{}", all_wrong.join("\n"));
    for port in [stock, orders] {
        for path in [
            b"GET /v1/\xff".as_slice(),
            b"GET /v1/orders?page=\xff\xfe",
            b"GET /v1/\x01",
            b"GET /a\0b",
        ] {
            let mut raw = Raw::new("", b"");
            raw.target = path.to_vec();
            let (status, _) = raw.send(port).await?;
            ensure!(
                (400..500).contains(&status),
                "{}: {status}",
                String::from_utf8_lossy(path)
            );
        }
    }
    shop.settled(product).await
}
