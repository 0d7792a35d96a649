//! Random sequences of everything that happens to a gate, step by step beside the reference model.

use std::sync::Mutex;

use product_service::domain::words::LoadStep;
use product_service::gate::reserve::Lease;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::fixture::Fixture;
use crate::model::{GateModel, Ledger};

/// Orders of two buyers, and of nobody known.
const IDS: [&str; 8] = ["ann/1", "ann/2", "ann/3", "bob/1", "bob/2", "bob/3", "c", "d"];

/// One step. Ids are places in [`IDS`]; facts are counted from the newest.
#[derive(Clone, Debug)]
enum Step {
    Reserve(Vec<(usize, i64)>),
    /// Tells old and new facts, and releases, in one batch.
    Settle(Vec<usize>, Vec<usize>),
    /// These three move stock in the database; the gate hears of it when it is told.
    Sell(usize, i64),
    Void(usize),
    Adjust(i64),
    Purge,
    /// The next step of a load: lease; read the balance; sold ids and what buyers own; open the gate.
    Load,
    /// A loader that was left behind by a purge goes on.
    LateLoad,
}

fn step() -> impl Strategy<Value = Step> {
    let id = 0..IDS.len();
    prop_oneof![
        6 => vec((id.clone(), 1_i64..6), 1..6).prop_map(Step::Reserve),
        6 => (vec(0_usize..12, 0..5), vec(id.clone(), 0..3)).prop_map(|(facts, ids)| Step::Settle(facts, ids)),
        4 => (id.clone(), 1_i64..6).prop_map(|(id, quantity)| Step::Sell(id, quantity)),
        2 => id.prop_map(Step::Void),
        1 => (-5_i64..15).prop_map(Step::Adjust),
        1 => Just(Step::Purge),
        4 => Just(Step::Load),
        1 => Just(Step::LateLoad),
    ]
}

#[test]
fn after_every_step_of_any_sequence_the_counter_is_balance_plus_facts_minus_holds() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let fixture = Mutex::new(runtime.block_on(Fixture::empty()));
    let mut runner = TestRunner::new(Config {
        cases: 256,
        failure_persistence: None,
        ..Config::default()
    });
    let played = runner.run(
        &(0_i64..20, option::of(1_i64..9), vec(step(), 1..80)),
        |(stock, limit, steps)| {
            let mut fixture = fixture.lock().unwrap_or_else(|error| error.into_inner());
            fixture.product += 1; // keys of its own for each sequence
            fixture.rules.purchase_limit = limit;
            runtime.block_on(Sequence::new(&mut fixture, stock, limit).play(&steps));
            Ok(())
        },
    );
    played.unwrap_or_else(|error| panic!("{error}"));
}

/// A load under way.
struct Loading {
    number: u32,
    lease: Lease,
    read: Option<(i64, i64)>,
    remembered: bool,
}

struct Sequence<'a> {
    gate: &'a mut Fixture,
    model: GateModel,
    ledger: Ledger,
    leases: u32,
    loading: Option<Loading>,
    left_behind: Option<Loading>,
}

impl<'a> Sequence<'a> {
    fn new(gate: &'a mut Fixture, stock: i64, limit: Option<i64>) -> Self {
        Self {
            gate,
            model: GateModel::new(limit),
            ledger: Ledger::new(stock),
            leases: 0,
            loading: None,
            left_behind: None,
        }
    }

    async fn play(&mut self, steps: &[Step]) {
        for step in steps {
            match step {
                Step::Reserve(requests) => {
                    let requests: Vec<_> = requests.iter().map(|(id, units)| (IDS[*id], *units)).collect();
                    self.reserve(&requests).await;
                }
                Step::Settle(facts, releases) => self.settle(facts, releases).await,
                Step::Sell(id, quantity) => self.ledger.sell(IDS[*id], *quantity),
                Step::Void(id) => self.ledger.void(IDS[*id]),
                Step::Adjust(delta) => self.ledger.adjust(*delta),
                Step::Purge => {
                    self.gate.gate.purge(self.gate.product).await.unwrap();
                    self.model.purge();
                    self.left_behind = self.loading.take().or(self.left_behind.take());
                }
                Step::Load => match self.loading.take() {
                    Some(loading) => self.loading = self.load(loading).await,
                    None => self.reserve(&[]).await,
                },
                Step::LateLoad => {
                    if let Some(loading) = self.left_behind.take() {
                        self.left_behind = self.load(loading).await;
                    }
                }
            }
            self.compare(step).await;
        }
    }

    async fn reserve(&mut self, requests: &[(&str, i64)]) {
        self.leases += 1;
        let (expected, is_ours) = self.model.reserve(self.leases, requests);
        let reserved = self.gate.reserve(requests).await;
        assert_eq!(reserved.loaded, expected.is_some());
        assert_eq!(reserved.lease.is_some(), is_ours);
        if let Some(expected) = expected {
            assert_eq!(reserved.admissions, expected);
        }
        if let Some(lease) = reserved.lease {
            self.loading = Some(Loading {
                number: self.leases,
                lease,
                remembered: false,
                read: None,
            });
        }
    }

    async fn settle(&mut self, facts: &[usize], releases: &[usize]) {
        let facts: Vec<_> = facts.iter().map(|index| self.ledger.fact(*index)).collect();
        let releases: Vec<&str> = releases.iter().map(|id| IDS[*id]).collect();
        let expected = self.model.apply(&facts, &releases);
        assert_eq!(self.gate.settle(&facts, &releases).await, expected);
    }

    /// One step further; `None` once this load is over.
    async fn load(&mut self, mut loading: Loading) -> Option<Loading> {
        let Some((stock, version)) = loading.read else {
            loading.read = Some((self.ledger.stock(), self.ledger.version()));
            return Some(loading);
        };
        if !loading.remembered {
            let ids = self.ledger.sold_ids();
            let owned = self.ledger.owned(version);
            let owned: Vec<_> = owned
                .iter()
                .map(|(buyer, units)| (buyer.as_str(), *units))
                .collect();
            let expected = self.model.remember(loading.number, &ids, &owned);
            let step = self.gate.remember_owned(&loading.lease, &ids, &owned).await;
            assert_eq!(step, expected);
            loading.remembered = true;
            return Some(loading);
        }
        let expected = self.model.load(loading.number, stock, version);
        let step = self.gate.open(&loading.lease, stock, version).await;
        assert_eq!(step, expected);
        assert_ne!(step, LoadStep::Remembered);
        None
    }

    async fn compare(&mut self, after: &Step) {
        let peek = self.gate.try_peek().await.unwrap();
        let Some((peek, open)) = peek.as_ref().zip(self.model.open()) else {
            assert!(
                peek.is_none() && self.model.open().is_none(),
                "{after:?}: {peek:?}"
            );
            return;
        };
        let invariant = self.ledger.balance(peek.version) + peek.facts_units - peek.held_units;
        assert_eq!(peek.counter, invariant, "{after:?}: {peek:?}");
        let facts = self.model.facts();
        let seen = (peek.counter, peek.version, peek.holds, peek.held_units);
        let expected = (
            open.counter,
            open.version,
            i64::try_from(open.holds.len()).unwrap(),
            open.holds.values().sum::<i64>(),
        );
        assert_eq!(seen, expected, "{after:?}");
        assert_eq!(peek.facts, i64::try_from(facts.len()).unwrap(), "{after:?}");
        assert_eq!(
            peek.facts_units,
            facts.values().map(|fact| fact.signed_quantity).sum::<i64>(),
            "{after:?}"
        );
        assert_eq!(
            peek.sold,
            1 + i64::try_from(self.model.sold().len()).unwrap(),
            "{after:?}"
        );
        assert_eq!(peek.sold, peek.sold_expected, "{after:?}");
        assert_eq!(self.gate.buyers().await, self.model.buyers(), "{after:?}");
    }
}
