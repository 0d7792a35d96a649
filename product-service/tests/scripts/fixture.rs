//! One product's gate in a Redis database of its own.

use std::collections::{BTreeMap, BTreeSet};

use devstack::shared_redis;
use product_service::config::{Config, GateConfig};
use product_service::domain::books::Fact;
use product_service::domain::request::{BuyerId, ProductId, Quantity, RequestId};
use product_service::domain::rules::SaleRules;
use product_service::domain::words::{Admission, LoadStep, Settled};
use product_service::gate::link::Link;
use product_service::gate::load::{Leased, Opening, Remembered};
use product_service::gate::peek::Peek;
use product_service::gate::reserve::{Lease, Reservation, Reserved};
use product_service::gate::settle::Settlement;
use product_service::gate::{Gate, GateError};
use redis::aio::MultiplexedConnection;

pub(crate) const PRODUCT: ProductId = 42;
pub(crate) const COUNTER: &str = "stock:{42}";
pub(crate) const GATE: &str = "stock:{42}:gate";
pub(crate) const SOLD: &str = "stock:{42}:sold";
pub(crate) const BUYERS: &str = "stock:{42}:buyers";

/// The gate as the service uses it, and a second way to the same keys.
pub(crate) struct Fixture {
    pub(crate) gate: Gate,
    pub(crate) link: Link,
    pub(crate) redis: MultiplexedConnection,
    pub(crate) product: ProductId,
    /// What the next load tells the gate.
    pub(crate) rules: SaleRules,
}

impl Fixture {
    /// Product 42, not loaded.
    pub(crate) async fn empty() -> Self {
        Self::with(|_| {}).await
    }

    /// Product 42, not loaded, with settings that a test wants otherwise.
    pub(crate) async fn with(change: impl FnOnce(&mut GateConfig)) -> Self {
        let url = shared_redis().await.unwrap().create_database().unwrap();
        Self::on(&url, change).await
    }

    /// Product 42, not loaded, in the empty Redis database at `url`.
    pub(crate) async fn on(url: &str, change: impl FnOnce(&mut GateConfig)) -> Self {
        let mut config = Config::load(None, &[format!("redis.url={url}")]).unwrap();
        // What is tested here is not patience: the machine may be busy.
        config.redis.timeout_ms = 10_000;
        config.gate.lease_ms = 60_000;
        config.gate.hold_ttl_ms = 60_000;
        change(&mut config.gate);
        let gate = Gate::new(&config).unwrap();
        let client = redis::Client::open(url).unwrap();
        Self {
            link: gate.link(),
            gate,
            redis: client.get_multiplexed_async_connection().await.unwrap(),
            product: PRODUCT,
            rules: SaleRules::default(),
        }
    }

    /// Product 42 with `stock` units as of `version`, loaded.
    pub(crate) async fn loaded(stock: i64, version: i64) -> Self {
        let mut fixture = Self::empty().await;
        fixture.load(stock, version).await;
        fixture
    }

    pub(crate) async fn load(&mut self, stock: i64, version: i64) {
        let lease = self.lease().await;
        assert_eq!(self.open(&lease, stock, version).await, LoadStep::Loaded);
    }

    pub(crate) async fn ask_lease(&mut self) -> Leased {
        let leased = self.gate.lease(&mut self.link, &[self.product]).await.unwrap();
        only(leased)
    }

    /// The lease, which has to be free.
    pub(crate) async fn lease(&mut self) -> Lease {
        match self.ask_lease().await {
            Leased::Ours(lease) => lease,
            other => panic!("no lease: {other:?}"),
        }
    }

    pub(crate) async fn remember(&mut self, lease: &Lease, ids: &[&str]) -> LoadStep {
        self.remember_owned(lease, ids, &[]).await
    }

    /// The same, with what buyers own.
    pub(crate) async fn remember_owned(
        &mut self,
        lease: &Lease,
        ids: &[&str],
        owned: &[(&str, i64)],
    ) -> LoadStep {
        let chunk = Remembered {
            product: self.product,
            lease,
            ids: ids.to_vec(),
            owned: owned.to_vec(),
        };
        only(self.gate.remember(&mut self.link, &[chunk]).await.unwrap())
    }

    pub(crate) async fn open(&mut self, lease: &Lease, stock: i64, version: i64) -> LoadStep {
        let opening = Opening {
            product: self.product,
            lease,
            stock,
            version,
            rules: &self.rules,
        };
        only(self.gate.open(&mut self.link, &[opening]).await.unwrap())
    }

    /// One batch of requests for the product.
    pub(crate) async fn reserve(&mut self, requests: &[(&str, i64)]) -> Reserved {
        self.try_reserve(requests).await.unwrap()
    }

    pub(crate) async fn try_reserve(&mut self, requests: &[(&str, i64)]) -> Result<Reserved, GateError> {
        let ids: Vec<RequestId> = requests.iter().map(|(id, _)| request_id(id)).collect();
        let buyers: Vec<Option<BuyerId>> = requests.iter().map(|(id, _)| buyer_of(id)).collect();
        let quantities = requests.iter().map(|(_, units)| Quantity::new(*units).unwrap());
        let requests = ids.iter().zip(quantities).zip(&buyers);
        let reservation = Reservation {
            product: self.product,
            requests: requests
                .map(|((id, units), buyer)| (id, units, buyer.as_ref()))
                .collect(),
        };
        let mut reserved = self.gate.reserve(&mut self.link, &[reservation]).await.unwrap();
        reserved.pop().unwrap()
    }

    /// What a loaded gate says of one batch.
    pub(crate) async fn admissions(&mut self, requests: &[(&str, i64)]) -> Vec<Admission> {
        let reserved = self.reserve(requests).await;
        assert!(reserved.loaded, "{reserved:?}");
        reserved.admissions
    }

    /// What a loaded gate says of one request.
    pub(crate) async fn admission(&mut self, id: &str, quantity: i64) -> Admission {
        self.admissions(&[(id, quantity)]).await[0]
    }

    pub(crate) async fn settle(&mut self, facts: &[Fact], releases: &[&str]) -> Settled {
        self.try_settle(facts, releases).await.unwrap()
    }

    pub(crate) async fn try_settle(
        &mut self,
        facts: &[Fact],
        releases: &[&str],
    ) -> Result<Settled, GateError> {
        let settlement = Settlement {
            facts: facts.to_vec(),
            releases: releases.iter().map(|id| request_id(id)).collect(),
        };
        let settled = self
            .gate
            .settle(&mut self.link, &[(self.product, settlement)])
            .await;
        settled.unwrap().pop().unwrap()
    }

    pub(crate) async fn try_peek(&mut self) -> Result<Option<Peek>, GateError> {
        let peeks = self.gate.peek(&mut self.link, &[self.product]).await;
        peeks.unwrap().pop().unwrap()
    }

    /// The sums of a loaded product.
    pub(crate) async fn peek(&mut self) -> Peek {
        self.try_peek().await.unwrap().expect("loaded")
    }

    /// `GET` of the counter.
    pub(crate) async fn counter(&mut self) -> Option<String> {
        self.raw(&["GET", COUNTER]).await
    }

    /// The whole hash.
    pub(crate) async fn hash(&mut self) -> BTreeMap<String, String> {
        self.raw(&["HGETALL", GATE]).await
    }

    /// The sold set without its sentinel.
    pub(crate) async fn sold(&mut self) -> BTreeSet<String> {
        let mut sold: BTreeSet<String> = self.raw(&["SMEMBERS", SOLD]).await;
        sold.remove("");
        sold
    }

    /// What buyers own or have on hold; those who have nothing are left out.
    pub(crate) async fn buyers(&mut self) -> BTreeMap<String, i64> {
        let mut buyers: BTreeMap<String, i64> = self
            .raw(&["HGETALL", &format!("stock:{{{}}}:buyers", self.product)])
            .await;
        buyers.retain(|_, units| *units != 0);
        buyers
    }

    /// Every key there is.
    pub(crate) async fn keys(&mut self) -> BTreeSet<String> {
        self.raw(&["KEYS", "*"]).await
    }

    /// Any command of Redis.
    pub(crate) async fn raw<T: redis::FromRedisValue>(&mut self, words: &[&str]) -> T {
        let mut command = redis::cmd(words[0]);
        for word in &words[1..] {
            command.arg(*word);
        }
        command.query_async(&mut self.redis).await.unwrap()
    }
}

pub(crate) fn request_id(id: &str) -> RequestId {
    RequestId::new(id).unwrap()
}

/// An id such as `ann/1` is an order of the buyer `ann`; any other names no buyer.
pub(crate) fn buyer_of(id: &str) -> Option<BuyerId> {
    let (buyer, _) = id.split_once('/')?;
    Some(BuyerId::new(buyer).unwrap())
}

/// A sale.
pub(crate) fn sale(version: i64, quantity: i64, id: &str) -> Fact {
    Fact {
        version,
        signed_quantity: -quantity,
        settles: Some(request_id(id)),
        buyer: buyer_of(id),
    }
}

/// What the void of a sale gives back.
pub(crate) fn give_back(version: i64, quantity: i64, id: &str) -> Fact {
    Fact {
        signed_quantity: quantity,
        ..sale(version, quantity, id)
    }
}

/// Stock corrected by hand.
pub(crate) fn adjustment(version: i64, signed_quantity: i64) -> Fact {
    Fact {
        version,
        signed_quantity,
        settles: None,
        buyer: None,
    }
}

/// The one result of a call for one product.
fn only<T>(results: Vec<Result<T, GateError>>) -> T {
    let [result] = <[_; 1]>::try_from(results).unwrap_or_else(|_| panic!("one product, one result"));
    result.unwrap()
}
