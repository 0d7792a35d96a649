//! Requests for stock by message: decided like those over HTTP, answered by a result, acknowledged last.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result};
use contracts::error::ErrorCode;
use contracts::messaging::{ORDER_RESULT, STOCK_REQUEST, StockRequest, StockResult, TRACE_CONTEXT, read};
use devstack::{Service, TestStack, catalogue, shared_rabbitmq, wait_for};
use lapin::options::{BasicGetOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};

const PATIENCE: Duration = Duration::from_secs(30);

/// A product-service with a virtual host of its own, and somebody who asks it by message.
struct Shop {
    stack: TestStack,
    service: Service,
    channel: Channel,
    _connection: Connection,
}

impl Shop {
    async fn open() -> Result<Self> {
        Self::open_with("info").await
    }

    /// With a log that says so much.
    async fn open_with(filter: &str) -> Result<Self> {
        let stack = TestStack::shared().await?;
        let url = shared_rabbitmq().await?.create_virtual_host()?;
        let options = stack.service("product-service", env!("CARGO_BIN_EXE_product-service"));
        let options = options.env("HOTSTOCK__LOG__FILTER", filter);
        let service = Service::start(options.amqp_url(&url)).await?;
        let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        platform::amqp::declare(&channel, &[STOCK_REQUEST, ORDER_RESULT], &[]).await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(Self {
            stack,
            service,
            channel,
            _connection: connection,
        })
    }

    async fn product(&self, stock: i64) -> Result<i64> {
        catalogue::create_product(&self.service.url(), "a thing", 4900, stock, false).await
    }

    async fn ask(&self, request: &StockRequest) -> Result<()> {
        self.ask_with(request, FieldTable::default()).await
    }

    async fn ask_with(&self, request: &StockRequest, headers: FieldTable) -> Result<()> {
        let (exchange, key) = (STOCK_REQUEST.exchange.into(), STOCK_REQUEST.key.into());
        let body = request.to_json();
        let properties = BasicProperties::default().with_headers(headers);
        let publish =
            self.channel
                .basic_publish(exchange, key, Default::default(), body.as_bytes(), properties);
        assert!(publish.await?.await?.is_ack());
        Ok(())
    }

    /// The next result.
    async fn result(&self) -> Result<StockResult> {
        Ok(self.result_with_headers().await?.0)
    }

    /// The next result, and what it came with.
    async fn result_with_headers(&self) -> Result<(StockResult, FieldTable)> {
        let options = BasicGetOptions { no_ack: true };
        let got = wait_for("a result", PATIENCE, async || {
            match self.channel.basic_get(ORDER_RESULT.queue.into(), options).await {
                Ok(Some(got)) => Ok(got),
                Ok(None) => Err("there is none".to_owned()),
                Err(error) => Err(error.to_string()),
            }
        })
        .await?;
        let id = got
            .delivery
            .properties
            .message_id()
            .as_ref()
            .map(ToString::to_string);
        let result: StockResult = read(&got.delivery.data).map_err(|error| anyhow::anyhow!(error.0))?;
        assert_eq!(
            id.as_deref(),
            Some(result.request_id.as_str()),
            "the key of the effect"
        );
        let headers = got.delivery.properties.headers().clone().unwrap_or_default();
        Ok((result, headers))
    }

    async fn lying_in(&self, queue: &str) -> Result<u32> {
        let options = QueueDeclareOptions {
            passive: true,
            ..Default::default()
        };
        let queue = self
            .channel
            .queue_declare(queue.into(), options, FieldTable::default())
            .await?;
        Ok(queue.message_count())
    }
}

fn request(order: i64, product: i64, quantity: i64) -> StockRequest {
    StockRequest::new(format!("DEC-{order}"), order, product, quantity, None)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_decided_like_a_request_and_its_result_says_how() -> Result<()> {
    let shop = Shop::open().await?;
    let product = shop.product(5).await?;
    for (request, refused) in [
        (request(1, product, 2), None),
        // The same again: a replay, with the same result.
        (request(1, product, 2), None),
        (request(1, product, 3), Some(ErrorCode::IdempotencyKeyReused)),
        (request(2, product, 4), Some(ErrorCode::InsufficientStock)),
        (request(3, product + 1_000, 1), Some(ErrorCode::ProductNotFound)),
    ] {
        shop.ask(&request).await?;
        assert_eq!(shop.result().await?, StockResult::new(&request, refused));
    }
    // Over HTTP, the same key is the same request.
    let url = format!(
        "{}/v1/products/{product}/stock/decrease-by-order",
        shop.service.url()
    );
    let body = serde_json::json!({ "orderId": 1, "quantity": 2 });
    let reply = reqwest::Client::new()
        .patch(url)
        .header("Idempotency-Key", "DEC-1")
        .json(&body)
        .send()
        .await?;
    assert_eq!(
        reply.headers().get("idempotency-replayed").context("a replay")?,
        "true"
    );
    let books = shop
        .stack
        .wait_until_balanced(&[product], PATIENCE)
        .await?
        .remove(0);
    assert_eq!((books.stock, books.units_sold), (3, 2));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn many_messages_are_decided_in_few_transactions() -> Result<()> {
    let shop = Shop::open().await?;
    let product = shop.product(10_000).await?;
    futures_util::future::try_join_all((1..=300).map(|order| {
        let shop = &shop;
        async move { shop.ask(&request(order, product, 1)).await }
    }))
    .await?;
    for _ in 0..300 {
        assert!(shop.result().await?.success);
    }
    let metrics = reqwest::get(format!("{}/metrics", shop.service.admin_url()))
        .await?
        .text()
        .await?;
    let batches = metrics
        .lines()
        .find_map(|line| line.strip_prefix("hotstock_decide_batch_size_count "));
    let batches: u64 = batches.context("the series is there")?.parse()?;
    assert!(batches < 200, "{batches} transactions for 300 messages");
    shop.stack.wait_until_balanced(&[product], PATIENCE).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_ends_in_the_middle_leaves_every_message_its_result() -> Result<()> {
    let shop = Shop::open().await?;
    let product = shop.product(10_000).await?;
    let asked = async {
        for order in 1..=200 {
            shop.ask(&request(order, product, 1)).await?;
        }
        anyhow::Ok(())
    };
    let ended = async {
        shop.service.terminate().await?;
        shop.service.restart().await?;
        shop.service.kill()?;
        shop.service.restart().await
    };
    let (asked, ended) = tokio::join!(asked, ended);
    asked?;
    ended?;
    let mut results: HashMap<i64, u32> = HashMap::new();
    while results.len() < 200 {
        let result = shop.result().await?;
        assert!(result.success, "{result:?}");
        *results.entry(result.order_id).or_default() += 1;
    }
    assert_eq!(shop.lying_in(STOCK_REQUEST.dead_queue).await?, 0);
    let books = shop
        .stack
        .wait_until_balanced(&[product], PATIENCE)
        .await?
        .remove(0);
    assert_eq!(books.units_sold, 200, "once each");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trace_context_of_a_message_is_that_of_its_decision_and_of_its_result() -> Result<()> {
    const CONTEXT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let shop = Shop::open_with("info,request=debug,product_service=debug").await?;
    let product = shop.product(5).await?;
    let text = |text: &str| AMQPValue::LongString(text.into());
    for (order, sent, passed_on) in [
        (1, Some(text(CONTEXT)), Some(text(CONTEXT))),
        (2, None, None),
        // None that could be passed on; the message is as good as any.
        (3, Some(text(&"0".repeat(201))), None),
        (4, Some(text("in two words")), None),
        (5, Some(AMQPValue::LongInt(7)), None),
    ] {
        let mut headers = FieldTable::default();
        if let Some(value) = sent {
            headers.insert(TRACE_CONTEXT.into(), value);
        }
        shop.ask_with(&request(order, product, 1), headers).await?;
        let (result, headers) = shop.result_with_headers().await?;
        assert_eq!((result.order_id, result.success), (order, true));
        assert_eq!(
            headers.inner().get(TRACE_CONTEXT),
            passed_on.as_ref(),
            "order {order}"
        );
    }
    let log = std::fs::read_to_string(shop.service.log_path())?;
    let decided: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("a message is decided"))
        .collect();
    assert_eq!(decided.len(), 5, "{log}");
    assert!(
        decided[0].contains("DEC-1") && decided[0].contains(&CONTEXT[3..35]),
        "{decided:?}"
    );
    assert!(
        decided[1].contains("DEC-2") && !decided[1].contains("trace_id"),
        "{decided:?}"
    );
    Ok(())
}
